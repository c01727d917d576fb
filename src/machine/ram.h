/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine's memory, by guest-physical address: [0, low) and, where there is more than fits
 * below the devices, [4 GiB, ...). One mapping of the host's holds both, one after the other; its
 * page n is page n of the snapshot's image. Whatever touches guest memory on the host goes
 * through here; guest addresses are structs that cannot be dereferenced.
 *
 * The guest's other CPUs change memory at any time: copy, then check, then use.
 */
#ifndef MAYFLY_MACHINE_RAM_H
#define MAYFLY_MACHINE_RAM_H

#include <string.h>

#include "core/error.h"
#include "core/util.h"

typedef struct {
	uint64_t v;
} gpa_t;

static inline gpa_t gpa(uint64_t v)
{
	return (gpa_t){v};
}

/* What lies below is at most this; above it, up to 4 GiB, are devices. */
#define RAM_LOW_MAX ((uint64_t)3 << 30)
#define RAM_HIGH ((uint64_t)4 << 30)
#define RAM_MIN ((uint64_t)2 << 20)
#define RAM_MAX ((uint64_t)64 << 30)

struct ram {
	uint8_t *mem; /* borrowed: the machine's */
	uint64_t low; /* bytes at gpa 0 */
	uint64_t len; /* all in all */
};

/*
 * The host's view of [at, at+len), or NULL if it is not memory, in one piece. len 0: not NULL if
 * `at` is in memory or at the end of a piece.
 */
static inline void *ram_span(const struct ram *ram, gpa_t at, uint64_t len)
{
	if (range_within(at.v, len, ram->low))
		return ram->mem + at.v;
	if (at.v >= RAM_HIGH && range_within(at.v - RAM_HIGH, len, ram->len - ram->low))
		return ram->mem + ram->low + (at.v - RAM_HIGH);
	return NULL;
}

/* False, and nothing done, if it is not memory. */
static inline bool ram_read(const struct ram *ram, gpa_t at, void *to, uint64_t len)
{
	const void *from = ram_span(ram, at, len);

	if (!from)
		return false;
	memcpy(to, from, len);
	return true;
}

static inline bool ram_write(const struct ram *ram, gpa_t at, const void *from, uint64_t len)
{
	void *to = ram_span(ram, at, len);

	if (!to)
		return false;
	memcpy(to, from, len);
	return true;
}

#endif

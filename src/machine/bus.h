/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who answers at which port or device address. Two buses per machine: ports, and memory where
 * there is no RAM. Filled before the first vCPU runs and constant from then on, so that look-ups
 * need no lock. Nobody there: reads give all ones, writes go nowhere.
 */
#ifndef MAYFLY_MACHINE_BUS_H
#define MAYFLY_MACHINE_BUS_H

#include "core/error.h"
#include "core/util.h"

#define BUS_MAX_RANGES 64

/*
 * Called on vCPU threads, by several at once: devices lock for themselves. `offset` from the
 * range's base; `len` is 1, 2, 4 or 8 and offset + len within the range. Data is little-endian
 * in the low bytes; a read gives zero-extended data.
 */
struct bus_ops {
	uint64_t (*read)(void *device, uint64_t offset, uint32_t len);
	void (*write)(void *device, uint64_t offset, uint32_t len, uint64_t value);
};

struct bus_range {
	uint64_t base;
	uint64_t len;
	const struct bus_ops *ops;
	void *device;
	const char *name;	 /* static or the device's: for the timeline and messages */
	_Atomic(uint64_t) first; /* CLOCK_MONOTONIC ns of the first access; 0: none */
};

struct bus {
	struct bus_range ranges[BUS_MAX_RANGES]; /* ascending by base, not overlapping */
	uint32_t count;
};

/* Errors: INVALID (overlaps another range), LIMIT. */
int bus_add(struct bus *bus, const struct bus_range *range, mayfly_error *err);
uint64_t bus_read(struct bus *bus, uint64_t at, uint32_t len);
void bus_write(struct bus *bus, uint64_t at, uint32_t len, uint64_t value);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unaligned words and SSE2 vectors, for the memory and string functions. SSE2 is part of
 * x86-64.
 */
#ifndef MAYFLY_GUEST_VECTOR_H
#define MAYFLY_GUEST_VECTOR_H

#include <stdint.h>

typedef uint16_t __attribute__((aligned(1), may_alias)) word16;
typedef uint32_t __attribute__((aligned(1), may_alias)) word32;
typedef uint64_t __attribute__((aligned(1), may_alias)) word64;
typedef char __attribute__((vector_size(16), aligned(1), may_alias)) vector;
/* Bytes in a register; loads through it must be aligned. */
typedef char __attribute__((vector_size(16), may_alias)) lanes;

/*
 * Functions that read whole aligned vectors around a string; no page is touched that it is not
 * in.
 */
#define READS_AROUND __attribute__((no_sanitize_address))

static inline lanes load(const void *p)
{
	return *(const vector *)p;
}

static inline void store(void *p, lanes v)
{
	*(vector *)p = v;
}

static inline lanes spread(int byte)
{
	char c = (char)byte;

	return (lanes){c, c, c, c, c, c, c, c, c, c, c, c, c, c, c, c};
}

/* A bit for each byte that is equal, the first byte's lowest. */
static inline uint32_t equal_mask(lanes a, lanes b)
{
	return (uint32_t)__builtin_ia32_pmovmskb128((lanes)(a == b));
}

#endif

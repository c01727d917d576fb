/* SPDX-License-Identifier: Apache-2.0 */
/* Checked arithmetic, cleanup attributes and bitmaps; no state. */
#ifndef MAYFLY_CORE_UTIL_H
#define MAYFLY_CORE_UTIL_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

/* musl's <limits.h> has one, of type int. */
#undef PAGE_SIZE
#define PAGE_SHIFT 12
#define PAGE_SIZE ((uint64_t)1 << PAGE_SHIFT)
#define PAGE_MASK (PAGE_SIZE - 1)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static inline uint64_t page_down(uint64_t v)
{
	return v & ~PAGE_MASK;
}

/* Only for v <= UINT64_MAX - PAGE_MASK. */
static inline uint64_t page_up(uint64_t v)
{
	return (v + PAGE_MASK) & ~PAGE_MASK;
}

static inline bool add_overflows(uint64_t a, uint64_t b, uint64_t *sum)
{
	return __builtin_add_overflow(a, b, sum);
}

/* Whether [start, start+len) lies within [0, size), without forming start+len. */
static inline bool range_within(uint64_t start, uint64_t len, uint64_t size)
{
	return start <= size && len <= size - start;
}

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

/* One read, of memory that somebody else may be writing: what was read stays what it is. */
#define read_once(x) (*(const volatile __typeof__(x) *)&(x))

#define _cleanup_free_ __attribute__((cleanup(cleanup_free)))
#define _cleanup_close_ __attribute__((cleanup(cleanup_close)))

/* Take a pointer out of a cleanup variable. */
#define take_ptr(p)                                                                            \
	({                                                                                     \
		__typeof__(p) take_ = (p);                                                     \
		(p) = NULL;                                                                    \
		take_;                                                                         \
	})

static inline int take_fd(int *fd)
{
	int r = *fd;
	*fd = -1;
	return r;
}

static inline size_t bitmap_words(uint64_t bits)
{
	return (size_t)((bits + 63) / 64);
}

static inline void bitmap_set(uint64_t *map, uint64_t bit)
{
	map[bit / 64] |= (uint64_t)1 << (bit % 64);
}

static inline void bitmap_clear(uint64_t *map, uint64_t bit)
{
	map[bit / 64] &= ~((uint64_t)1 << (bit % 64));
}

static inline bool bitmap_test(const uint64_t *map, uint64_t bit)
{
	return (map[bit / 64] >> (bit % 64)) & 1;
}

#endif

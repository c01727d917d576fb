/* SPDX-License-Identifier: Apache-2.0 */
/* The heap under load, with results that do not depend on where blocks lie. */
#include "mayfly_guest.h"

#define SLOTS 256

static uint64_t state;

static uint64_t next(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * UINT64_C(0x2545f4914f6cdd1d);
}

struct block {
	uint8_t *p;
	size_t size;
	uint8_t mark;
};

static void expect_whole(const struct block *b)
{
	for (size_t i = 0; i < b->size; i++)
		mayfly_assert(b->p[i] == b->mark);
}

/*
 * `rounds` random allocations, releases and resizings; every block's contents are checked.
 * Gives a checksum of what was done, the same for the same seed wherever it runs.
 */
static uint64_t torture(uint64_t seed, uint32_t rounds)
{
	static struct block blocks[SLOTS];
	uint64_t sum = 0;

	state = seed | 1;
	for (uint32_t i = 0; i < rounds; i++) {
		struct block *b = &blocks[next() % SLOTS];
		size_t size = next() % (next() % 16 ? 500 : 20000);
		uint8_t mark = (uint8_t)next();

		if (b->p && next() % 2) {
			expect_whole(b);
			free(b->p);
			*b = (struct block){0};
			continue;
		}
		if (b->p)
			expect_whole(b);
		b->p = realloc(b->p, size + 1);
		mayfly_assert(b->p);
		memset(b->p, mark, size + 1);
		b->size = size + 1;
		b->mark = mark;
		sum = sum * 31 + size + mark;
	}
	for (int i = 0; i < SLOTS; i++) {
		expect_whole(&blocks[i]);
		free(blocks[i].p);
		blocks[i] = (struct block){0};
	}
	return sum;
}
MAYFLY_EXPORT(torture, u64, u64, u32);

/* Allocates `size` bytes and touches nothing of them. */
static bool can_allocate(uint64_t size)
{
	return malloc(size) != NULL;
}
MAYFLY_EXPORT(can_allocate, bool, u64);

/*
 * Blocks of `size` until there are no more, all given back afterwards. Gives how many there
 * were.
 */
static uint64_t fill_and_free(uint64_t size)
{
	void **last = NULL;
	uint64_t n = 0;

	for (void **p; (p = malloc(size < sizeof(void *) ? sizeof(void *) : size)); n++) {
		*p = last;
		last = p;
	}
	while (last) {
		void **before = *last;

		free(last);
		last = before;
	}
	return n;
}
MAYFLY_EXPORT(fill_and_free, u64, u64);

/* Memory from calloc is zero, also where it was used before. */
static bool calloc_is_zero(uint64_t size)
{
	uint8_t *p = malloc(size), *q;

	if (!p)
		return false;
	memset(p, 0xee, size);
	free(p);
	q = calloc(1, size);
	for (uint64_t i = 0; i < size; i++) {
		if (q[i])
			return false;
	}
	free(q);
	return true;
}
MAYFLY_EXPORT(calloc_is_zero, bool, u64);

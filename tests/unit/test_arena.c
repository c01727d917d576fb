/* SPDX-License-Identifier: Apache-2.0 */
/* Slices of memory for VMs: zero each time, next to each other, from any thread. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/arena.h"
#include "core/util.h"
#include "fail_alloc.h"

#define LEN ((size_t)16 * PAGE_SIZE)
#define MANY 300 /* more than one mapping holds */
#define THREADS 4
#define ROUNDS 200

static bool all_zero(const uint8_t *p, size_t len)
{
	return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

static void slice_is_zero_and_page_aligned(void **state)
{
	uint8_t *p = arena_alloc(LEN);

	(void)state;
	assert_non_null(p);
	assert_int_equal((uintptr_t)p & PAGE_MASK, 0);
	assert_true(all_zero(p, LEN));
	arena_free(p, LEN);
}

/* Another slice stays, so that the mapping does; the freed one is the first to be handed out. */
static void reused_slice_is_zero_again(void **state)
{
	uint8_t *first = arena_alloc(LEN), *second = arena_alloc(LEN), *again;

	(void)state;
	memset(first, 0x5a, LEN);
	arena_free(first, LEN);
	again = arena_alloc(LEN);
	assert_ptr_equal(again, first);
	assert_true(all_zero(again, LEN));
	arena_free(again, LEN);
	arena_free(second, LEN);
}

static void slices_lie_in_one_mapping_without_overlap(void **state)
{
	uint8_t *a = arena_alloc(LEN), *b = arena_alloc(LEN), *c = arena_alloc(LEN);

	(void)state;
	assert_ptr_equal(b, a + LEN);
	assert_ptr_equal(c, b + LEN);
	arena_free(b, LEN);
	assert_ptr_equal(arena_alloc(LEN), b); /* the hole is filled */
	arena_free(a, LEN);
	arena_free(b, LEN);
	arena_free(c, LEN);
}

static int compare(const void *a, const void *b)
{
	const uint8_t *x = *(uint8_t *const *)a, *y = *(uint8_t *const *)b;

	return x < y ? -1 : x > y;
}

static void many_slices_are_all_apart(void **state)
{
	static uint8_t *slices[MANY];

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		slices[i] = arena_alloc(LEN);
		assert_non_null(slices[i]);
		slices[i][0] = slices[i][LEN - 1] = 1;
	}
	qsort(slices, MANY, sizeof(slices[0]), compare);
	for (size_t i = 1; i < MANY; i++)
		assert_true(slices[i] - slices[i - 1] >= (ptrdiff_t)LEN);
	for (size_t i = 0; i < MANY; i++)
		arena_free(slices[(i * 7) % MANY], LEN);
}

static void slices_of_different_lengths_do_not_mix(void **state)
{
	uint8_t *small = arena_alloc(PAGE_SIZE), *large = arena_alloc(LEN);
	uint8_t *small2 = arena_alloc(PAGE_SIZE);

	(void)state;
	assert_ptr_equal(small2, small + PAGE_SIZE);
	assert_true(large >= small2 + PAGE_SIZE || large + LEN <= small);
	memset(large, 1, LEN);
	assert_true(all_zero(small2, PAGE_SIZE));
	arena_free(small, PAGE_SIZE);
	arena_free(large, LEN);
	arena_free(small2, PAGE_SIZE);
}

static void freeing_nothing_is_fine(void **state)
{
	(void)state;
	arena_free(NULL, LEN);
}

static void length_that_no_host_has_gives_null(void **state)
{
	(void)state;
	assert_null(arena_alloc(SIZE_MAX & ~(size_t)PAGE_MASK));
	assert_null(arena_alloc((size_t)1 << 62));
}

/* A slice of 64 TiB is one that does not fit 256 times, but once. */
static void address_space_that_is_short_gives_fewer_slices(void **state)
{
	const size_t len = (size_t)1 << 45;
	uint8_t *p = arena_alloc(len);

	(void)state;
	/* Sanitizers and ulimit -v leave too little even for one. */
	if (!p)
		skip();
	p[len - 1] = 1;
	arena_free(p, len);
}

static void no_memory_for_bookkeeping_gives_null(void **state)
{
	uint8_t *p;

	(void)state;
	fail_alloc_at(1);
	p = arena_alloc(LEN * 3);
	assert_true(fail_alloc_end());
	assert_null(p);
}

/* Each writes a pattern of its own into all it has, and must find it there. */
static void *churn(void *arg)
{
	uint8_t mark = (uint8_t)(uintptr_t)arg;
	uint8_t *held[8] = {0};

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint8_t **slot = &held[i * 5 % 8];

		if (*slot) {
			if (**slot != mark || !(memcmp(*slot, *slot + 1, LEN - 1) == 0))
				return "overwritten";
			arena_free(*slot, LEN);
		}
		*slot = arena_alloc(LEN);
		if (!*slot || !all_zero(*slot, LEN))
			return "not zero";
		memset(*slot, mark, LEN);
	}
	for (size_t i = 0; i < 8; i++)
		arena_free(held[i], LEN);
	return NULL;
}

static void threads_do_not_get_each_other_s_slices(void **state)
{
	pthread_t threads[THREADS];
	void *problem;

	(void)state;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &problem);
		assert_null(problem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slice_is_zero_and_page_aligned),
		cmocka_unit_test(reused_slice_is_zero_again),
		cmocka_unit_test(slices_lie_in_one_mapping_without_overlap),
		cmocka_unit_test(many_slices_are_all_apart),
		cmocka_unit_test(slices_of_different_lengths_do_not_mix),
		cmocka_unit_test(freeing_nothing_is_fine),
		cmocka_unit_test(length_that_no_host_has_gives_null),
		cmocka_unit_test(address_space_that_is_short_gives_fewer_slices),
		cmocka_unit_test(no_memory_for_bookkeeping_gives_null),
		cmocka_unit_test(threads_do_not_get_each_other_s_slices),
	};

	return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}

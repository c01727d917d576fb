/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness and generations. */
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

#include "core/random.h"

#define THREADS 4
#define DRAWS 5000

static bool all_zero(const uint8_t *p, size_t len)
{
	while (len--)
		if (*p++)
			return false;
	return true;
}

static void exactly_the_asked_for_bytes_are_filled(void **state)
{
	uint8_t buffer[96];

	(void)state;
	for (size_t len = 0; len <= 64; len++) {
		memset(buffer, 0, sizeof(buffer));
		random_bytes(buffer + 16, len);
		assert_true(all_zero(buffer, 16));
		assert_true(all_zero(buffer + 16 + len, sizeof(buffer) - 16 - len));
		/* 2^-128 at most that this is chance */
		if (len >= 16)
			assert_false(all_zero(buffer + 16, len));
	}
}

static void draws_differ_and_leave_nothing_behind(void **state)
{
	struct random_stock stock = {.left = 0};
	uint8_t seen[200][32];

	(void)state;
	for (size_t i = 0; i < 200; i++) {
		random_draw(&stock, seen[i], sizeof(seen[i]));
		assert_true(stock.left <= RANDOM_STOCK);
		assert_true(all_zero(stock.bytes + stock.left, RANDOM_STOCK - stock.left));
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(seen[j], seen[i], sizeof(seen[i]));
	}
}

static void draw_of_the_whole_stock_or_of_nothing_works(void **state)
{
	struct random_stock stock = {.left = 0};
	uint8_t buffer[RANDOM_STOCK] = {0};

	(void)state;
	random_draw(&stock, buffer, 0);
	random_draw(&stock, buffer, RANDOM_STOCK);
	assert_int_equal(stock.left, 0);
	assert_false(all_zero(buffer, sizeof(buffer)));
	assert_true(all_zero(stock.bytes, sizeof(stock.bytes)));
}

static void *draw_generations(void *out)
{
	uint64_t *g = out;

	for (size_t i = 0; i < DRAWS; i++)
		g[i] = random_generation();
	return NULL;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void generations_never_come_twice_from_any_thread(void **state)
{
	static uint64_t all[THREADS * DRAWS];
	pthread_t threads[THREADS];

	(void)state;
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, draw_generations, all + i * DRAWS),
			0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	qsort(all, THREADS * DRAWS, sizeof(all[0]), compare);
	assert_int_not_equal(all[0], 0);
	for (size_t i = 1; i < THREADS * DRAWS; i++)
		assert_true(all[i] != all[i - 1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exactly_the_asked_for_bytes_are_filled),
		cmocka_unit_test(draws_differ_and_leave_nothing_behind),
		cmocka_unit_test(draw_of_the_whole_stock_or_of_nothing_works),
		cmocka_unit_test(generations_never_come_twice_from_any_thread),
	};

	return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Points in time and counts of exits, from one thread and from several. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <pthread.h>
#include <string.h>

#include "machine/timeline.h"

static struct timeline *t;

static int setup(void **state)
{
	(void)state;
	return timeline_new(&t, NULL);
}

static int teardown(void **state)
{
	(void)state;
	timeline_free(t);
	return 0;
}

static void points_come_in_the_order_of_time(void **state)
{
	const struct timeline_point *p;

	(void)state;
	timeline_mark(t, "now %d", 1);
	timeline_mark_at(t, 5, "early");
	timeline_mark_at(t, 7, "later");
	assert_int_equal(timeline_points(t, &p), 3);
	assert_string_equal(p[0].name, "early");
	assert_int_equal(p[0].when, 5);
	assert_string_equal(p[1].name, "later");
	assert_string_equal(p[2].name, "now 1");
}

static void points_beyond_the_most_are_dropped(void **state)
{
	const struct timeline_point *p;

	(void)state;
	for (uint64_t i = 0; i < TIMELINE_MAX + 100; i++)
		timeline_mark_at(t, i, "point");
	assert_int_equal(timeline_points(t, &p), TIMELINE_MAX);
	assert_int_equal(p[TIMELINE_MAX - 1].when, TIMELINE_MAX - 1);
}

static void long_names_are_cut_off(void **state)
{
	char name[200];
	const struct timeline_point *p;

	(void)state;
	memset(name, 'n', sizeof(name));
	name[199] = '\0';
	timeline_mark_at(t, 1, name);
	timeline_mark(t, "%s", name);
	assert_int_equal(timeline_points(t, &p), 2);
	assert_int_equal(strlen(p[0].name), TIMELINE_NAME - 1);
	assert_int_equal(strlen(p[1].name), TIMELINE_NAME - 1);
}

static void exits_are_counted_by_kind_and_address(void **state)
{
	enum timeline_exit kind;
	uint64_t address, count;

	(void)state;
	for (int i = 0; i < 3; i++)
		timeline_exit(t, EXIT_PORT_OUT, 0x3f8);
	timeline_exit(t, EXIT_PORT_IN, 0x3f8);
	timeline_exit(t, EXIT_WRITE, 0xfeb00050);
	timeline_exit(t, EXIT_WRITE, 0xfeb00050);
	timeline_exit(t, EXIT_OTHER, 0);
	assert_int_equal(timeline_exits(t, EXIT_PORT_OUT), 3);
	assert_int_equal(timeline_exits(t, EXIT_OTHER), 1);
	assert_true(timeline_address(t, 0, &kind, &address, &count));
	assert_int_equal(kind, EXIT_PORT_OUT);
	assert_int_equal(address, 0x3f8);
	assert_int_equal(count, 3);
	assert_true(timeline_address(t, 1, &kind, &address, &count));
	assert_int_equal(address, 0xfeb00050);
	assert_true(timeline_address(t, 2, &kind, &address, &count));
	assert_int_equal(kind, EXIT_PORT_IN);
	assert_false(timeline_address(t, 3, &kind, &address, &count));
}

static void addresses_beyond_the_most_are_counted_by_kind_only(void **state)
{
	enum timeline_exit kind;
	uint64_t address, count, n = 0;

	(void)state;
	for (uint64_t i = 1; i <= TIMELINE_ADDRESSES + 50; i++)
		timeline_exit(t, EXIT_READ, i * 4096);
	assert_int_equal(timeline_exits(t, EXIT_READ), TIMELINE_ADDRESSES + 50);
	while (timeline_address(t, n, &kind, &address, &count))
		n++;
	assert_int_equal(n, TIMELINE_ADDRESSES);
}

#define ROUNDS 20000

static void *count_on(void *argument)
{
	(void)argument;
	for (uint64_t i = 0; i < ROUNDS; i++) {
		timeline_exit(t, EXIT_READ, 1 + i % 40);
		timeline_mark_at(t, i, "point");
	}
	return NULL;
}

static void threads_lose_no_count(void **state)
{
	pthread_t threads[3];
	enum timeline_exit kind;
	uint64_t address, count, sum = 0;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_on, NULL), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(timeline_exits(t, EXIT_READ), 3 * ROUNDS);
	for (size_t rank = 0; timeline_address(t, rank, &kind, &address, &count); rank++)
		sum += count;
	assert_int_equal(sum, 3 * ROUNDS);
}

static void no_timeline_is_no_trouble(void **state)
{
	const struct timeline_point *p;
	enum timeline_exit kind;
	uint64_t address, count;

	(void)state;
	timeline_mark(NULL, "x");
	timeline_mark_at(NULL, 1, "x");
	timeline_exit(NULL, EXIT_READ, 1);
	assert_int_equal(timeline_points(NULL, &p), 0);
	assert_int_equal(timeline_exits(NULL, EXIT_READ), 0);
	assert_false(timeline_address(NULL, 0, &kind, &address, &count));
	timeline_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(points_come_in_the_order_of_time),
		TEST(points_beyond_the_most_are_dropped),
		TEST(long_names_are_cut_off),
		TEST(exits_are_counted_by_kind_and_address),
		TEST(addresses_beyond_the_most_are_counted_by_kind_only),
		TEST(threads_lose_no_count),
		TEST(no_timeline_is_no_trouble),
	};

	return cmocka_run_group_tests_name("timeline", tests, NULL, NULL);
}

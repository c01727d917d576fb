/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots and restores: chains, forks, both kinds of memory, costs that follow the work. */
#include "support.h"

#include <pthread.h>
#include <string.h>

#include "function/sandbox.h"

/* More than a snapshot that is copied may have. */
#define MANY 100u

static mayfly_snapshot *capture(struct box *b)
{
	mayfly_snapshot *snap;

	assert_ok(mayfly_sandbox_snapshot(b->sb, &snap, &b->err), &b->err);
	return snap;
}

static mayfly_sandbox_stats stats_of(struct box *b)
{
	mayfly_sandbox_stats stats = {.size = sizeof(stats)};

	assert_ok(mayfly_sandbox_get_stats(b->sb, &stats, &b->err), &b->err);
	return stats;
}

static void restore_to(struct box *b, mayfly_snapshot *snap)
{
	assert_ok(mayfly_sandbox_restore(b->sb, snap, &b->err), &b->err);
}

static uint64_t dirtied(struct box *b, uint32_t page)
{
	return must(b, "dirtied", mayfly_u32(page)).as.u64;
}

/* Pages [0, n) hold `times`, the next one 0. */
static void check_pages(struct box *b, uint32_t n, uint64_t times)
{
	for (uint32_t i = 0; i < n; i += 7)
		assert_true(dirtied(b, i) == times);
	if (n)
		assert_true(dirtied(b, n - 1) == times);
	assert_true(dirtied(b, n) == 0);
}

/* --- one snapshot ---------------------------------------------------------------------------- */

static void calls_keep_state_until_a_restore(void **state)
{
	struct box b = box_open("state", NULL);

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (uint64_t i = 1; i <= 5; i++)
			assert_int_equal(must(&b, "count").as.u64, i);
		box_restore(&b);
	}
	box_close(&b);
}

static void a_snapshot_holds_the_state_of_its_moment(void **state)
{
	struct box b = box_open("state", NULL), c;
	mayfly_snapshot *snap;

	(void)state;
	for (int i = 0; i < 5; i++)
		must(&b, "count");
	snap = capture(&b);
	assert_int_equal(must(&b, "count").as.u64, 6);
	c = box_of(snap, NULL);
	assert_int_equal(must(&c, "count").as.u64, 6);
	assert_int_equal(must(&c, "count").as.u64, 7);
	assert_int_equal(must(&b, "count").as.u64, 7);
	box_restore(&c);
	assert_int_equal(must(&c, "count").as.u64, 6);
	box_restore(&b);
	assert_int_equal(must(&b, "count").as.u64, 1);
	box_close(&c);
	box_close(&b);
}

static void a_sandbox_that_never_ran_can_be_captured(void **state)
{
	struct box b = box_open("state", NULL), c;

	(void)state;
	c = box_of(capture(&b), NULL);
	assert_int_equal(must(&c, "count").as.u64, 1);
	assert_int_equal(must(&b, "count").as.u64, 1);
	box_restore(&b);
	/* Nor since its restore. */
	box_close(&c);
	c = box_of(capture(&b), NULL);
	assert_int_equal(must(&c, "count").as.u64, 1);
	box_close(&c);
	box_close(&b);
}

static void a_snapshot_outlives_what_it_was_taken_from(void **state)
{
	struct box b = box_open("state", NULL);
	const mayfly_function *count;
	mayfly_value v;
	mayfly_snapshot *snap;
	mayfly_sandbox *sb;

	(void)state;
	must(&b, "count");
	assert_ok(mayfly_snapshot_function(b.snap, "count", &count, &b.err), &b.err);
	snap = capture(&b);
	box_close(&b);
	assert_ok(new_sandbox(snap, NULL, &sb, &b.err), &b.err);
	mayfly_snapshot_unref(snap);
	/* The handle belongs to the image, of which the sandbox is the last user. */
	assert_ok(mayfly_sandbox_call(sb, count, NULL, 0, &v, &b.err), &b.err);
	assert_int_equal(v.as.u64, 2);
	mayfly_sandbox_free(sb);
}

static void a_snapshot_is_not_changed_by_its_sandboxes(void **state)
{
	struct box a = box_open("dirty", NULL), b, c;
	mayfly_snapshot *snap;

	(void)state;
	must(&a, "dirty", mayfly_u32(MANY));
	snap = capture(&a);
	b = box_of(mayfly_snapshot_ref(snap), NULL);
	c = box_of(snap, NULL);
	for (uint64_t i = 2; i < 5; i++) {
		must(&b, "dirty", mayfly_u32(MANY));
		check_pages(&b, MANY, i);
		check_pages(&c, MANY, 1);
	}
	box_close(&b);
	check_pages(&c, MANY, 1);
	box_close(&c);
	box_close(&a);
}

/* --- several --------------------------------------------------------------------------------- */

static void a_chain_of_snapshots_can_be_gone_through_in_any_order(void **state)
{
	struct box b = box_open("dirty", NULL);
	mayfly_snapshot *chain[12];
	uint64_t random = 42;

	(void)state;
	chain[0] = mayfly_snapshot_ref(b.snap);
	/* Each has more pages than the one before: some are copied, some mapped. */
	for (uint32_t i = 1; i < COUNT_OF(chain); i++) {
		struct box next = box_of(chain[i - 1], NULL);

		must(&next, "dirty", mayfly_u32(6 * i));
		chain[i] = capture(&next);
		mayfly_sandbox_free(next.sb); /* its snapshot is the chain's */
	}
	for (uint32_t start = 0; start < COUNT_OF(chain); start += 5) {
		struct box c = box_of(mayfly_snapshot_ref(chain[start]), NULL);

		for (int i = 0; i < 60; i++) {
			uint32_t to = (uint32_t)(random_next(&random) % COUNT_OF(chain));

			if (i % 3 == 0)
				must(&c, "dirty",
				     mayfly_u32((uint32_t)(random_next(&random) % 90)));
			restore_to(&c, chain[to]);
			/* Page p was written once by each link with more than p / 6. */
			for (uint32_t p = 0; p < 70; p += 11)
				assert_true(dirtied(&c, p) == (to > p / 6 ? to - p / 6 : 0));
			/* NULL is the one last restored to. */
			must(&c, "dirty", mayfly_u32(30));
			box_restore(&c);
			assert_true(dirtied(&c, 5) == to);
		}
		box_close(&c);
	}
	for (size_t i = 0; i < COUNT_OF(chain); i++)
		mayfly_snapshot_unref(chain[i]);
	box_close(&b);
}

static void one_sandboxs_snapshot_is_restored_into_another(void **state)
{
	static const uint32_t sizes[] = {0, 3, MANY};

	(void)state;
	/* From each kind into each kind. */
	for (size_t i = 0; i < COUNT_OF(sizes); i++)
		for (size_t j = 0; j < COUNT_OF(sizes); j++) {
			struct box origin = box_open("dirty", NULL), a, b;
			mayfly_snapshot *to;

			must(&origin, "dirty", mayfly_u32(sizes[i]));
			a = box_of(capture(&origin), NULL);
			assert_int_equal(a.sb->inst.mapped, sizes[i] == MANY);
			box_restore(&origin);
			must(&origin, "dirty", mayfly_u32(sizes[j]));
			must(&origin, "dirty", mayfly_u32(sizes[j]));
			to = capture(&origin);
			b = box_of(mayfly_snapshot_ref(a.snap), NULL);
			must(&b, "dirty", mayfly_u32(50));
			restore_to(&b, to);
			check_pages(&b, sizes[j], 2);
			restore_to(&b, to);
			check_pages(&b, sizes[j], 2);
			must(&b, "dirty", mayfly_u32(MANY + 10));
			box_restore(&b);
			check_pages(&b, sizes[j], 2);
			restore_to(&b, a.snap);
			check_pages(&b, sizes[i], 1);
			check_pages(&a, sizes[i], 1);
			mayfly_snapshot_unref(to);
			box_close(&a);
			box_close(&b);
			box_close(&origin);
		}
}

static void another_guests_snapshot_is_refused(void **state)
{
	struct box a = box_open("state", NULL), b = box_open("state", NULL);

	(void)state;
	must(&a, "count");
	assert_code(mayfly_sandbox_restore(a.sb, b.snap, &a.err), MAYFLY_E_INVALID, &a.err);
	assert_contains(a.err.message, "another guest");
	/* Nothing was done. */
	assert_int_equal(must(&a, "count").as.u64, 2);
	box_close(&a);
	box_close(&b);
}

static void a_snapshot_of_a_snapshot_survives_the_first(void **state)
{
	struct box b = box_open("dirty", NULL);

	(void)state;
	for (uint64_t i = 1; i < 30; i++) {
		mayfly_snapshot *snap;

		must(&b, "dirty", mayfly_u32(i % 2 ? MANY : 5));
		snap = capture(&b);
		box_close(&b);
		b = box_of(snap, NULL);
		assert_true(dirtied(&b, 0) == i);
		assert_true(dirtied(&b, MANY - 1) == (i + 1) / 2);
	}
	box_close(&b);
}

static void pages_that_became_zero_again_are_zero(void **state)
{
	struct box b = box_open("hostile", NULL), c;
	uint64_t heap = must(&b, "heap_start").as.u64;
	mayfly_snapshot *full, *empty;

	(void)state;
	for (uint64_t i = 0; i < 40; i++)
		must(&b, "poke", mayfly_u64(heap + i * 4096), mayfly_u64(i + 1));
	full = capture(&b);
	for (uint64_t i = 0; i < 40; i++)
		must(&b, "poke", mayfly_u64(heap + i * 4096), mayfly_u64(0));
	empty = capture(&b);
	c = box_of(full, NULL);
	assert_true(must(&c, "peek", mayfly_u64(heap + 3 * 4096)).as.u64 == 4);
	restore_to(&c, empty);
	for (uint64_t i = 0; i < 40; i++)
		assert_true(must(&c, "peek", mayfly_u64(heap + i * 4096)).as.u64 == 0);
	restore_to(&c, full);
	for (uint64_t i = 0; i < 40; i++)
		assert_true(must(&c, "peek", mayfly_u64(heap + i * 4096)).as.u64 == i + 1);
	mayfly_snapshot_unref(empty);
	box_close(&c);
	box_close(&b);
}

/* --- what restoring costs -------------------------------------------------------------------- */

static void only_what_was_dirtied_is_put_back(void **state)
{
	struct box b = box_open("dirty", NULL);
	uint64_t base;

	(void)state;
	must(&b, "dirty", mayfly_u32(0));
	box_restore(&b);
	base = stats_of(&b).last_restored;
	assert_in_range(base, 1, 16);
	must(&b, "dirty", mayfly_u32(64));
	box_restore(&b);
	assert_in_range(stats_of(&b).last_restored, 64, 64 + base);
	assert_int_equal(stats_of(&b).restores, 2);
	assert_true(stats_of(&b).pages_restored >= 64 + base);
	check_pages(&b, 0, 0);
	box_close(&b);
}

static void check_sweep(struct box *b)
{
	uint64_t base;

	must(b, "dirty", mayfly_u32(0));
	box_restore(b);
	base = stats_of(b).last_restored;
	/* Many once, then few, again and again: what is no longer written is no longer copied. */
	must(b, "dirty", mayfly_u32(300));
	box_restore(b);
	assert_true(stats_of(b).last_restored >= 300);
	for (int i = 0; i < 40; i++) {
		must(b, "dirty", mayfly_u32(2));
		box_restore(b);
		assert_true(dirtied(b, 0) == dirtied(b, 1));
	}
	assert_in_range(stats_of(b).last_restored, 1, base + 4);
	/* And what is written again is seen again. */
	must(b, "dirty", mayfly_u32(300));
	box_restore(b);
	assert_true(stats_of(b).last_restored >= 300);
	for (uint32_t i = 0; i < 300; i += 13)
		assert_true(dirtied(b, i) == dirtied(b, 299));
	/* So many that every restore sweeps. */
	must(b, "dirty", mayfly_u32(1500));
	box_restore(b);
	box_restore(b);
	box_restore(b);
	assert_in_range(stats_of(b).last_restored, 0, base + 4);
}

static void pages_that_are_no_longer_written_are_no_longer_copied(void **state)
{
	struct box b = box_open("dirty", NULL), c;

	(void)state;
	check_sweep(&b);
	must(&b, "dirty", mayfly_u32(400));
	c = box_of(capture(&b), NULL);
	assert_true(c.sb->inst.mapped);
	check_sweep(&c);
	check_pages(&c, 400, 1);
	box_close(&c);
	box_close(&b);
}

static void repeated_restores_are_right_every_time(void **state)
{
	struct box b = box_open("dirty", NULL);
	uint64_t random = 7;

	(void)state;
	for (int i = 0; i < 300; i++) {
		uint32_t n = (uint32_t)(random_next(&random) % 40);
		uint32_t stride = 1 + (uint32_t)(random_next(&random) % 60);

		must(&b, "dirty_spread", mayfly_u32(n), mayfly_u32(stride));
		if (n)
			assert_true(dirtied(&b, (n - 1) * stride) == 1);
		box_restore(&b);
		for (uint32_t j = 0; j < n; j += 5)
			assert_true(dirtied(&b, j * stride) == 0);
	}
	box_close(&b);
}

static void arguments_and_results_in_the_call_area_are_wiped(void **state)
{
	struct box b = box_of(load("types", 0, 0, 256 << 10), NULL);
	static uint8_t data[200 << 10];

	(void)state;
	memset(data, 0xa7, sizeof(data));
	for (size_t len = 1; len < sizeof(data); len = len * 3 + 1) {
		must(&b, "checksum", mayfly_bytes_of(data, len));
		assert_int_equal(b.sb->area[len - 1], 0xa7);
		box_restore(&b);
		for (size_t i = 0; i < 256 << 10; i++)
			if (b.sb->area[i])
				fail_test("byte %zu of the call area after %zu bytes", i, len);
	}
	box_close(&b);
}

/* --- many ------------------------------------------------------------------------------------ */

static void a_hundred_forks_of_one_snapshot_are_independent(void **state)
{
	struct box b = box_open("dirty", NULL), forks[100];
	mayfly_snapshot *snap;

	(void)state;
	must(&b, "dirty", mayfly_u32(40));
	snap = capture(&b);
	for (uint32_t i = 0; i < COUNT_OF(forks); i++)
		forks[i] = box_of(mayfly_snapshot_ref(snap), NULL);
	for (uint32_t i = 0; i < COUNT_OF(forks); i++)
		must(&forks[i], "dirty", mayfly_u32(i % 50));
	for (uint32_t i = 0; i < COUNT_OF(forks); i++)
		for (uint32_t p = 0; p < 50; p += 7)
			assert_true(dirtied(&forks[i], p) == (p < 40) + (uint64_t)(p < i % 50));
	for (uint32_t i = 0; i < COUNT_OF(forks); i++)
		box_close(&forks[i]);
	mayfly_snapshot_unref(snap);
	box_close(&b);
}

static void *fork_and_check(void *arg)
{
	mayfly_snapshot *snap = arg;
	const mayfly_function *count;
	mayfly_value v;
	intptr_t wrong = 0;

	wrong += mayfly_snapshot_function(snap, "count", &count, NULL) != 0;
	for (int i = 0; i < (in_lab() ? 2 : 8); i++) {
		mayfly_snapshot *mine;
		mayfly_sandbox *sb;

		if (new_sandbox(snap, NULL, &sb, NULL) < 0)
			return (void *)-1;
		wrong +=
			mayfly_sandbox_call(sb, count, NULL, 0, &v, NULL) != 0 || v.as.u64 != 2;
		wrong += mayfly_sandbox_snapshot(sb, &mine, NULL) != 0;
		wrong +=
			mayfly_sandbox_call(sb, count, NULL, 0, &v, NULL) != 0 || v.as.u64 != 3;
		wrong += mayfly_sandbox_restore(sb, snap, NULL) != 0;
		wrong +=
			mayfly_sandbox_call(sb, count, NULL, 0, &v, NULL) != 0 || v.as.u64 != 2;
		wrong += mayfly_sandbox_restore(sb, mine, NULL) != 0;
		wrong +=
			mayfly_sandbox_call(sb, count, NULL, 0, &v, NULL) != 0 || v.as.u64 != 3;
		mayfly_snapshot_unref(mine);
		mayfly_sandbox_free(sb);
	}
	return (void *)wrong;
}

static void one_snapshot_serves_many_threads_at_once(void **state)
{
	struct box b = box_open("state", NULL);
	mayfly_snapshot *snap;
	pthread_t threads[16];

	(void)state;
	must(&b, "count");
	snap = capture(&b);
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fork_and_check, snap), 0);
	for (size_t i = 0; i < COUNT_OF(threads); i++) {
		void *wrong;

		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
	mayfly_snapshot_unref(snap);
	box_close(&b);
}

static void making_and_freeing_leaks_nothing(void **state)
{
	struct box b = box_open("dirty", NULL);
	size_t heap = 0;
	int files = 0, maps = 0;

	(void)state;
	for (int i = 0; i < 30; i++) {
		struct box c, d;

		if (i == 10) {
			files = descriptors_open();
			maps = mappings();
			descriptors_open();
			heap = heap_in_use();
		}
		c = box_of(mayfly_snapshot_ref(b.snap), NULL);
		must(&c, "dirty", mayfly_u32(i % 2 ? 3 : MANY));
		d = box_of(capture(&c), NULL);
		must(&d, "dirty", mayfly_u32(3));
		restore_to(&c, d.snap);
		restore_to(&d, b.snap);
		box_close(&c);
		box_close(&d);
	}
	assert_int_equal(descriptors_open(), files);
	/* Stacks of threads that have ended are kept, and lie beside each other or not. */
	assert_in_range(mappings(), 0, maps + 2);
	assert_true(heap_in_use() <= heap + HEAP_SLACK);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_keep_state_until_a_restore),
		cmocka_unit_test(a_snapshot_holds_the_state_of_its_moment),
		cmocka_unit_test(a_sandbox_that_never_ran_can_be_captured),
		cmocka_unit_test(a_snapshot_outlives_what_it_was_taken_from),
		cmocka_unit_test(a_snapshot_is_not_changed_by_its_sandboxes),
		cmocka_unit_test(a_chain_of_snapshots_can_be_gone_through_in_any_order),
		cmocka_unit_test(one_sandboxs_snapshot_is_restored_into_another),
		cmocka_unit_test(another_guests_snapshot_is_refused),
		cmocka_unit_test(a_snapshot_of_a_snapshot_survives_the_first),
		cmocka_unit_test(pages_that_became_zero_again_are_zero),
		cmocka_unit_test(only_what_was_dirtied_is_put_back),
		cmocka_unit_test(pages_that_are_no_longer_written_are_no_longer_copied),
		cmocka_unit_test(repeated_restores_are_right_every_time),
		cmocka_unit_test(arguments_and_results_in_the_call_area_are_wiped),
		cmocka_unit_test(a_hundred_forks_of_one_snapshot_are_independent),
		cmocka_unit_test(one_snapshot_serves_many_threads_at_once),
		cmocka_unit_test(making_and_freeing_leaks_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

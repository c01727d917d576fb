/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: limits, waiting, filling, restoring what is given back, many threads. */
#include "support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static mayfly_pool *pool_of(mayfly_snapshot *snap, uint32_t limit, uint32_t ready,
			    const mayfly_sandbox_options *sandbox)
{
	mayfly_pool_options o = MAYFLY_POOL_OPTIONS_INIT;
	mayfly_sandbox_options with = MAYFLY_SANDBOX_OPTIONS_INIT;
	mayfly_pool *pool;
	mayfly_error err;

	if (sandbox)
		with = *sandbox;
	with.dispatch = dispatch_under_test();
	o.limit = limit;
	o.ready = ready;
	o.sandbox = &with;
	assert_ok(mayfly_pool_new(snap, &o, &pool, &err), &err);
	return pool;
}

static mayfly_sandbox *acquire(mayfly_pool *pool)
{
	mayfly_sandbox *sb;
	mayfly_error err;

	assert_ok(mayfly_pool_acquire(pool, 0, &sb, &err), &err);
	return sb;
}

static mayfly_pool_stats stats_of(mayfly_pool *pool)
{
	mayfly_pool_stats stats = {.size = sizeof(stats)};
	mayfly_error err;

	assert_ok(mayfly_pool_get_stats(pool, &stats, &err), &err);
	return stats;
}

static uint64_t count(mayfly_snapshot *snap, mayfly_sandbox *sb)
{
	struct box b = {.snap = snap, .sb = sb};

	return must(&b, "count").as.u64;
}

static void check_stats(mayfly_pool *pool, uint32_t ready, uint32_t lent, uint64_t made,
			uint64_t hits)
{
	mayfly_pool_stats s = stats_of(pool);

	assert_int_equal(s.ready, ready);
	assert_int_equal(s.lent, lent);
	assert_int_equal(s.made, made);
	assert_int_equal(s.hits, hits);
}

static void what_is_given_back_is_restored_and_lent_again(void **state)
{
	mayfly_snapshot *snap = load("state", 0, 0, 0);
	mayfly_pool *pool = pool_of(snap, 0, 0, NULL);

	(void)state;
	check_stats(pool, 0, 0, 0, 0);
	for (uint64_t i = 0; i < 10; i++) {
		mayfly_sandbox *sb = acquire(pool);

		check_stats(pool, 0, 1, 1, i);
		for (uint64_t j = 1; j < 4; j++)
			assert_int_equal(count(snap, sb), j);
		mayfly_pool_release(pool, sb);
		check_stats(pool, 1, 0, 1, i);
	}
	assert_int_equal(stats_of(pool).acquired, 10);
	mayfly_pool_free(pool);
	mayfly_snapshot_unref(snap);
}

static void a_pool_of_a_snapshot_begins_with_its_state(void **state)
{
	struct box b = box_open("state", NULL);
	mayfly_snapshot *snap;
	mayfly_sandbox *sb;
	mayfly_pool *pool;

	(void)state;
	must(&b, "count");
	assert_ok(mayfly_sandbox_snapshot(b.sb, &snap, &b.err), &b.err);
	pool = pool_of(snap, 0, 0, NULL);
	mayfly_snapshot_unref(snap); /* the pool has its own count */
	for (int i = 0; i < 3; i++) {
		sb = acquire(pool);
		assert_int_equal(count(b.snap, sb), 2);
		/* Though restored to another snapshot meanwhile. */
		assert_ok(mayfly_sandbox_restore(sb, b.snap, &b.err), &b.err);
		assert_int_equal(count(b.snap, sb), 1);
		mayfly_pool_release(pool, sb);
	}
	mayfly_pool_free(pool);
	box_close(&b);
}

static void a_poisoned_sandbox_is_restored_when_given_back(void **state)
{
	mayfly_snapshot *snap = load("faults", 0, 0, 0);
	mayfly_pool *pool = pool_of(snap, 1, 0, NULL);

	(void)state;
	for (int i = 0; i < 5; i++) {
		struct box b = {.snap = snap, .sb = acquire(pool)};

		assert_false(mayfly_sandbox_is_poisoned(b.sb));
		assert_int_equal(must(&b, "divide", mayfly_i32(6), mayfly_i32(3)).as.i32, 2);
		assert_code(call(&b, "divide_by_zero"), MAYFLY_E_FAULT, &b.err);
		assert_true(mayfly_sandbox_is_poisoned(b.sb));
		mayfly_pool_release(pool, b.sb);
	}
	check_stats(pool, 1, 0, 1, 4);
	mayfly_pool_free(pool);
	mayfly_snapshot_unref(snap);
}

static void the_limit_holds_and_says_so(void **state)
{
	mayfly_snapshot *snap = load("state", 0, 0, 0);
	mayfly_pool *pool = pool_of(snap, 3, 0, NULL);
	mayfly_sandbox *sb[3], *more;
	mayfly_error err;
	uint64_t before;

	(void)state;
	for (int i = 0; i < 3; i++)
		sb[i] = acquire(pool);
	assert_code(mayfly_pool_acquire(pool, 0, &more, &err), MAYFLY_E_LIMIT, &err);
	assert_contains(err.message, "all 3 sandboxes");
	before = now_ns();
	assert_code(mayfly_pool_acquire(pool, 20 * MS, &more, &err), MAYFLY_E_LIMIT, &err);
	assert_true(now_ns() - before >= 20 * MS);
	assert_ok(mayfly_pool_fill(pool, 3, &err),
		  &err); /* as far as the limit allows: not at all */
	check_stats(pool, 0, 3, 3, 0);
	mayfly_pool_release(pool, sb[1]);
	more = acquire(pool);
	assert_ptr_equal(more, sb[1]);
	for (int i = 0; i < 3; i++)
		mayfly_pool_release(pool, sb[i]);
	check_stats(pool, 3, 0, 3, 1);
	mayfly_pool_free(pool);
	mayfly_snapshot_unref(snap);
}

struct giver {
	mayfly_pool *pool;
	mayfly_sandbox *sb;
};

static void *give_back_soon(void *arg)
{
	struct giver *g = arg;

	sleep_ns(20 * MS);
	mayfly_pool_release(g->pool, g->sb);
	return NULL;
}

static void who_waits_gets_what_is_given_back(void **state)
{
	static const uint64_t waits[] = {AGES, UINT64_MAX, UINT64_MAX - 1};
	mayfly_snapshot *snap = load("state", 0, 0, 0);
	mayfly_pool *pool = pool_of(snap, 1, 0, NULL);
	mayfly_error err;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(waits); i++) {
		struct giver g = {pool, acquire(pool)};
		mayfly_sandbox *sb;
		pthread_t thread;

		count(snap, g.sb);
		assert_int_equal(pthread_create(&thread, NULL, give_back_soon, &g), 0);
		assert_ok(mayfly_pool_acquire(pool, waits[i], &sb, &err), &err);
		assert_ptr_equal(sb, g.sb);
		assert_int_equal(count(snap, sb), 1);
		pthread_join(thread, NULL);
		mayfly_pool_release(pool, sb);
	}
	mayfly_pool_free(pool);
	mayfly_snapshot_unref(snap);
}

static void filling_makes_sandboxes_ready(void **state)
{
	mayfly_snapshot *snap = load("state", 0, 0, 0);
	mayfly_pool *pool = pool_of(snap, 5, 0, NULL);
	mayfly_sandbox *sb[5];
	mayfly_error err;

	(void)state;
	assert_ok(mayfly_pool_fill(pool, 3, &err), &err);
	check_stats(pool, 3, 0, 3, 0);
	assert_ok(mayfly_pool_fill(pool, 2, &err), &err);
	check_stats(pool, 3, 0, 3, 0);
	assert_ok(mayfly_pool_fill(pool, 100, &err), &err);
	check_stats(pool, 5, 0, 5, 0);
	for (int i = 0; i < 5; i++) {
		sb[i] = acquire(pool);
		assert_int_equal(count(snap, sb[i]), 1);
	}
	check_stats(pool, 0, 5, 5, 5);
	for (int i = 0; i < 5; i++)
		mayfly_pool_release(pool, sb[i]);
	mayfly_pool_free(pool);
	mayfly_snapshot_unref(snap);
}

/* Whatever the background is making meanwhile. */
static void a_pool_is_full_when_filling_ends(void **state)
{
	mayfly_snapshot *snap = load("state", 0, 0, 0);

	(void)state;
	for (int i = 0; i < 20; i++) {
		mayfly_pool *pool = pool_of(snap, 2, 1, NULL);
		mayfly_sandbox *sb[2];
		mayfly_error err;

		assert_ok(mayfly_pool_fill(pool, 2, &err), &err);
		assert_int_equal(stats_of(pool).ready, 2);
		for (int k = 0; k < 2; k++)
			sb[k] = acquire(pool);
		for (int k = 0; k < 2; k++)
			mayfly_pool_release(pool, sb[k]);
		mayfly_pool_free(pool);
	}
	mayfly_snapshot_unref(snap);
}

static void one_that_is_being_made_is_waited_for(void **state)
{
	mayfly_snapshot *snap = load("state", 0, 0, 0);

	(void)state;
	for (int i = 0; i < 20; i++) {
		mayfly_pool *pool = pool_of(snap, 1, 1, NULL);

		mayfly_pool_release(pool, acquire(pool));
		mayfly_pool_free(pool);
	}
	mayfly_snapshot_unref(snap);
}

static void wait_until_ready(mayfly_pool *pool, uint32_t ready)
{
	uint64_t end = now_ns() + AGES;

	while (stats_of(pool).ready < ready && now_ns() < end)
		sleep_ns(MS);
	assert_int_equal(stats_of(pool).ready, ready);
}

static void the_background_keeps_sandboxes_ready(void **state)
{
	mayfly_snapshot *snap = load("state", 0, 0, 0);
	mayfly_pool *pool = pool_of(snap, 6, 3, NULL);
	mayfly_sandbox *sb[6];

	(void)state;
	wait_until_ready(pool, 3);
	sb[0] = acquire(pool);
	sb[1] = acquire(pool);
	wait_until_ready(pool, 3);
	check_stats(pool, 3, 2, 5, 2);
	/* Not beyond the limit. */
	for (int i = 2; i < 5; i++)
		sb[i] = acquire(pool);
	wait_until_ready(pool, 1);
	check_stats(pool, 1, 5, 6, 5);
	sb[5] = acquire(pool);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(count(snap, sb[i]), 1);
		mayfly_pool_release(pool, sb[i]);
	}
	check_stats(pool, 6, 0, 6, 6);
	mayfly_pool_free(pool);
	mayfly_snapshot_unref(snap);
}

static void a_pool_may_be_freed_while_it_fills(void **state)
{
	mayfly_snapshot *snap = load("state", 0, 0, 0);

	(void)state;
	for (int i = 0; i < 5; i++) {
		mayfly_pool *pool = pool_of(snap, 20, 20, NULL);

		sleep_ns((uint64_t)i * MS);
		mayfly_pool_free(pool);
	}
	mayfly_snapshot_unref(snap);
}

static int add_context(void *context, mayfly_sandbox *sb, const mayfly_value *args,
		       size_t nargs, mayfly_value *result, mayfly_error *err)
{
	(void)sb;
	(void)nargs;
	(void)err;
	result->as.i64 = args[0].as.i64 + args[1].as.i64 + *(int64_t *)context;
	return 0;
}

static void options_apply_to_every_sandbox_of_the_pool(void **state)
{
	int64_t thousand = 1000;
	char name[] = "host_add", signature[] = "i64(i64,i64)";
	mayfly_host_function f = {name, signature, add_context, &thousand};
	mayfly_sandbox_options o = MAYFLY_SANDBOX_OPTIONS_INIT;
	mayfly_snapshot *snap = load("dirty", 0, 0, 0);
	mayfly_sandbox *sb[3];
	mayfly_pool *pool;

	(void)state;
	o.host_functions = &f;
	o.host_function_count = 1;
	o.timeout_ns = AGES;
	pool = pool_of(snap, 3, 0, &o);
	/* Copied, strings too. */
	memset(&f, 0xee, sizeof(f));
	memset(&o, 0xee, sizeof(o));
	memset(name, 'x', sizeof(name) - 1);
	memset(signature, 'x', sizeof(signature) - 1);
	for (int i = 0; i < 3; i++) {
		struct box b = {.snap = snap};

		b.sb = sb[i] = acquire(pool);
		assert_int_equal(must(&b, "add_by_host", mayfly_i64(1), mayfly_i64(2)).as.i64,
				 1003);
	}
	for (int i = 0; i < 3; i++)
		mayfly_pool_release(pool, sb[i]);
	mayfly_pool_free(pool);
	mayfly_snapshot_unref(snap);
}

static void changed_limits_are_changed_back(void **state)
{
	mayfly_snapshot *snap = load("loop", 0, 0, 0);
	mayfly_pool *pool = pool_of(snap, 1, 0, NULL);
	struct box b = {.snap = snap};

	(void)state;
	b.sb = acquire(pool);
	assert_ok(mayfly_sandbox_set_limits(b.sb, 3 * MS, 0, &b.err), &b.err);
	assert_code(call(&b, "infinite_loop"), MAYFLY_E_TIMEOUT, &b.err);
	mayfly_pool_release(pool, b.sb);
	b.sb = acquire(pool);
	/* Longer than 3 ms. */
	must(&b, "spin", mayfly_u64(in_lab() ? 2000000 : 20000000));
	mayfly_pool_release(pool, b.sb);
	mayfly_pool_free(pool);
	mayfly_snapshot_unref(snap);
}

static void host_functions_of_a_borrower_do_not_stay(void **state)
{
	int64_t thousand = 1000;
	mayfly_host_function f = {"host_add", "i64(i64,i64)", add_context, &thousand};
	mayfly_snapshot *snap = load("dirty", 0, 0, 0);
	mayfly_pool *pool = pool_of(snap, 1, 0, NULL);
	struct box b = {.snap = snap};

	(void)state;
	b.sb = acquire(pool);
	assert_ok(mayfly_sandbox_register(b.sb, &f, &b.err), &b.err);
	assert_int_equal(must(&b, "add_by_host", mayfly_i64(1), mayfly_i64(2)).as.i64, 1003);
	mayfly_pool_release(pool, b.sb);
	b.sb = acquire(pool);
	assert_int_equal(must(&b, "add_by_host", mayfly_i64(1), mayfly_i64(2)).as.i64, 0);
	mayfly_pool_release(pool, b.sb);
	mayfly_pool_free(pool);
	mayfly_snapshot_unref(snap);
}

/* --- threads --------------------------------------------------------------------------------- */

struct borrower {
	mayfly_pool *pool;
	mayfly_snapshot *snap;
	pthread_t thread;
	unsigned rounds;
	unsigned wrong;
	bool faults;
};

static void *borrow(void *arg)
{
	struct borrower *w = arg;
	const mayfly_function *count_fn, *ending;
	mayfly_value v, none[2] = {mayfly_u64(0), mayfly_u64(0)};

	w->wrong += mayfly_snapshot_function(w->snap, "count", &count_fn, NULL) < 0;
	w->wrong += mayfly_snapshot_function(w->snap, "plant_then_fault", &ending, NULL) < 0;
	for (unsigned i = 0; i < w->rounds && !w->wrong; i++) {
		mayfly_sandbox *sb;

		if (mayfly_pool_acquire(w->pool, AGES, &sb, NULL) < 0) {
			w->wrong++;
			break;
		}
		for (uint64_t j = 1; j < 4; j++)
			w->wrong += mayfly_sandbox_call(sb, count_fn, NULL, 0, &v, NULL) < 0 ||
				    v.as.u64 != j;
		if (w->faults && i % 2)
			w->wrong += mayfly_sandbox_call(sb, ending, none, 2, NULL, NULL) !=
				    MAYFLY_E_FAULT;
		mayfly_pool_release(w->pool, sb);
	}
	return NULL;
}

static void a_hundred_threads_share_a_pool_of_ten(void **state)
{
	mayfly_snapshot *snap = load("ending", 0, 0, 0);
	mayfly_pool *pool = pool_of(snap, 10, 4, NULL);
	struct borrower workers[100];
	unsigned rounds = in_lab() ? 4 : 30;
	mayfly_pool_stats s;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(workers); i++) {
		workers[i] = (struct borrower){
			.pool = pool, .snap = snap, .rounds = rounds, .faults = i % 3 == 0};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, borrow, &workers[i]),
				 0);
	}
	for (size_t i = 0; i < COUNT_OF(workers); i++) {
		pthread_join(workers[i].thread, NULL);
		assert_int_equal(workers[i].wrong, 0);
	}
	s = stats_of(pool);
	assert_int_equal(s.lent, 0);
	assert_int_equal(s.acquired, COUNT_OF(workers) * rounds);
	assert_true(s.made <= 10);
	assert_true(s.hits >= s.acquired - s.made);
	mayfly_pool_free(pool);
	mayfly_snapshot_unref(snap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_given_back_is_restored_and_lent_again),
		cmocka_unit_test(a_pool_of_a_snapshot_begins_with_its_state),
		cmocka_unit_test(a_poisoned_sandbox_is_restored_when_given_back),
		cmocka_unit_test(the_limit_holds_and_says_so),
		cmocka_unit_test(who_waits_gets_what_is_given_back),
		cmocka_unit_test(filling_makes_sandboxes_ready),
		cmocka_unit_test(a_pool_is_full_when_filling_ends),
		cmocka_unit_test(one_that_is_being_made_is_waited_for),
		cmocka_unit_test(the_background_keeps_sandboxes_ready),
		cmocka_unit_test(a_pool_may_be_freed_while_it_fills),
		cmocka_unit_test(options_apply_to_every_sandbox_of_the_pool),
		cmocka_unit_test(changed_limits_are_changed_back),
		cmocka_unit_test(host_functions_of_a_borrower_do_not_stay),
		cmocka_unit_test(a_hundred_threads_share_a_pool_of_ten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

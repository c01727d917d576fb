/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stopping calls: interrupts, time limits, CPU limits, signals of the host's. Nothing here depends
 * on how fast the machine is; what takes ages has failed.
 */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* --- helpers --------------------------------------------------------------------------------- */

/* A thread that interrupts what it finds running, after `delay`. */
struct interrupter {
	mayfly_sandbox *sb;
	uint64_t delay;
	bool hit;
	pthread_t thread;
};

static void *interrupt(void *arg)
{
	struct interrupter *i = arg;
	uint64_t end = now_ns() + AGES;

	sleep_ns(i->delay);
	while (!(i->hit = mayfly_sandbox_interrupt(i->sb)) && now_ns() < end)
		sleep_ns(MS / 20);
	return NULL;
}

static void start(struct interrupter *i, mayfly_sandbox *sb, uint64_t delay)
{
	*i = (struct interrupter){.sb = sb, .delay = delay};
	assert_int_equal(pthread_create(&i->thread, NULL, interrupt, i), 0);
}

static void finish(struct interrupter *i)
{
	pthread_join(i->thread, NULL);
	assert_true(i->hit);
}

static mayfly_fault check_stopped(struct box *b, int code)
{
	mayfly_fault f;

	f = assert_poisoned(b, code, MAYFLY_FAULT_STOPPED, 0, "add");
	return f;
}

static int tick(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		mayfly_value *result, mayfly_error *err)
{
	(void)sb;
	(void)nargs;
	(void)err;
	if (context)
		__atomic_add_fetch((unsigned *)context, 1, __ATOMIC_RELAXED);
	*result = args[0];
	return 0;
}

static void provide_tick(struct box *b, mayfly_host_fn fn, void *context)
{
	mayfly_host_function f = {"host_tick", "u64(u64)", fn, context};

	assert_ok(mayfly_sandbox_register(b->sb, &f, &b->err), &b->err);
}

static void swallow(void *context, const char *text, size_t len)
{
	(void)text;
	*(size_t *)context += len;
}

static const char *const endless[] = {"infinite_loop", "infinite_pause", "infinite_work",
				      "infinite_hostcalls", "infinite_printing"};

/* --- interrupts ------------------------------------------------------------------------------ */

static void endless_calls_are_interrupted(void **state)
{
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	struct box b;
	size_t printed = 0;

	(void)state;
	options.print = swallow;
	options.print_context = &printed;
	b = box_open("loop", &options);
	provide_tick(&b, tick, NULL);
	for (size_t i = 0; i < COUNT_OF(endless); i++)
		/* At growing distances; until what is printed was once. */
		for (int round = 0;
		     round < 5 || (i + 1 == COUNT_OF(endless) && !printed && round < 1000);
		     round++) {
			struct interrupter in;
			mayfly_fault f;

			start(&in, b.sb, (uint64_t)round * MS / 3);
			call(&b, endless[i]);
			finish(&in);
			assert_contains(b.err.message, "interrupted");
			f = check_stopped(&b, MAYFLY_E_INTERRUPTED);
			assert_true(f.ip != 0);
		}
	assert_true(printed > 0);
	box_close(&b);
}

static void a_call_of_missing_host_functions_without_end_is_interrupted(void **state)
{
	struct box b = box_open("loop", NULL);
	struct interrupter in;

	(void)state;
	start(&in, b.sb, MS);
	call(&b, "infinite_hostcalls");
	finish(&in);
	check_stopped(&b, MAYFLY_E_INTERRUPTED);
	box_close(&b);
}

static void the_function_that_was_interrupted_is_named(void **state)
{
	struct box b = box_open("loop", NULL);
	struct interrupter in;
	mayfly_fault f = {.function = NULL};

	(void)state;
	/* Until it was in the function by then. */
	for (uint64_t delay = 50 * MS; !f.function && delay < AGES; delay *= 4) {
		start(&in, b.sb, delay);
		call(&b, "infinite_loop");
		finish(&in);
		f = check_stopped(&b, MAYFLY_E_INTERRUPTED);
	}
	assert_non_null(f.function);
	assert_string_equal(f.function, "infinite_loop");
	assert_contains(f.message, "infinite_loop");
	box_close(&b);
}

static void without_a_call_nothing_is_interrupted(void **state)
{
	struct box b = box_open("loop", NULL);

	(void)state;
	for (int64_t i = 0; i < 200; i++) {
		assert_false(mayfly_sandbox_interrupt(b.sb));
		assert_int_equal(must(&b, "add", mayfly_i64(i), mayfly_i64(1)).as.i64, i + 1);
		assert_false(mayfly_sandbox_interrupt(b.sb));
		if (i % 10 == 0)
			box_restore(&b);
	}
	box_close(&b);
}

static int interrupt_own_call(void *context, mayfly_sandbox *sb, const mayfly_value *args,
			      size_t nargs, mayfly_value *result, mayfly_error *err)
{
	bool *again = context;

	(void)nargs;
	(void)err;
	*result = args[0];
	assert_true(mayfly_sandbox_interrupt(sb));
	/* It was told once already. */
	*again = mayfly_sandbox_interrupt(sb);
	return 0;
}

static void an_interrupt_during_a_host_function_takes_effect_on_its_return(void **state)
{
	struct box b = box_open("loop", NULL);
	bool again = true;

	(void)state;
	provide_tick(&b, interrupt_own_call, &again);
	call(&b, "tick_then_loop");
	assert_false(again);
	check_stopped(&b, MAYFLY_E_INTERRUPTED);
	box_close(&b);
}

struct nested {
	const mayfly_function *fn;
	mayfly_fault fault;
	int code;
};

static int call_again(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		      mayfly_value *result, mayfly_error *err)
{
	struct nested *n = context;

	(void)nargs;
	*result = args[0];
	n->code = mayfly_sandbox_call(sb, n->fn, NULL, 0, NULL, err);
	return 0; /* swallowed: the outer call ends all the same */
}

static void an_interrupt_of_a_nested_call_ends_all_of_them(void **state)
{
	struct box b = box_open("loop", NULL);
	struct interrupter in;
	struct nested n = {.fn = NULL};

	(void)state;
	assert_ok(mayfly_snapshot_function(b.snap, "infinite_loop", &n.fn, &b.err), &b.err);
	provide_tick(&b, call_again, &n);
	start(&in, b.sb, 10 * MS);
	call(&b, "tick_then_loop");
	finish(&in);
	assert_int_equal(n.code, MAYFLY_E_INTERRUPTED);
	check_stopped(&b, MAYFLY_E_INTERRUPTED);
	box_close(&b);
}

/* --- time limits ----------------------------------------------------------------------------- */

static void endless_calls_reach_their_time_limit(void **state)
{
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	struct box b;
	size_t printed = 0;

	(void)state;
	options.print = swallow;
	options.print_context = &printed;
	options.timeout_ns = 5 * MS;
	b = box_open("loop", &options);
	provide_tick(&b, tick, NULL);
	for (size_t i = 0; i < COUNT_OF(endless); i++) {
		uint64_t before = now_ns();

		call(&b, endless[i]);
		assert_true(now_ns() - before >= 5 * MS);
		assert_contains(b.err.message, "the time limit of 5.000 ms was reached");
		/* The probe that follows has the same limit. */
		assert_ok(mayfly_sandbox_set_limits(b.sb, AGES, 0, &b.err), &b.err);
		check_stopped(&b, MAYFLY_E_TIMEOUT);
		assert_ok(mayfly_sandbox_set_limits(b.sb, 5 * MS, 0, &b.err), &b.err);
	}
	box_close(&b);
}

static void endless_calls_reach_their_cpu_limit(void **state)
{
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	mayfly_sandbox_stats stats = {.size = sizeof(stats)};
	struct box b;
	mayfly_fault f;

	(void)state;
	options.cpu_time_ns = 20 * MS;
	b = box_open("loop", &options);
	for (int i = 0; i < 2; i++) {
		call(&b, "infinite_loop");
		assert_contains(b.err.message, "the CPU time limit of 20.000 ms was reached");
		assert_ok(mayfly_sandbox_get_stats(b.sb, &stats, &b.err), &b.err);
		assert_true(stats.cpu_time_ns >= 20 * MS);
		f = check_stopped(&b, MAYFLY_E_TIMEOUT);
		assert_contains(f.message, "CPU time limit");
		/* Starts anew with the restore. */
		assert_ok(mayfly_sandbox_get_stats(b.sb, &stats, &b.err), &b.err);
		assert_true(stats.cpu_time_ns < 20 * MS);
	}
	box_close(&b);
}

static void the_cpu_limit_counts_all_calls_since_the_restore(void **state)
{
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	mayfly_sandbox_stats stats = {.size = sizeof(stats)};
	uint64_t end = now_ns() + AGES, calls = 0;
	struct box b;

	(void)state;
	options.cpu_time_ns = 30 * MS;
	b = box_open("loop", &options);
	while (call(&b, "spin", mayfly_u64(100000)) == 0 && now_ns() < end)
		calls++;
	assert_code(b.code, MAYFLY_E_TIMEOUT, &b.err);
	assert_true(calls >= 2);
	assert_ok(mayfly_sandbox_get_stats(b.sb, &stats, &b.err), &b.err);
	assert_true(stats.cpu_time_ns >= 30 * MS);
	box_close(&b);
}

static int sleeps(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		  mayfly_value *result, mayfly_error *err)
{
	(void)sb;
	(void)nargs;
	(void)err;
	sleep_ns(*(uint64_t *)context);
	*result = args[0];
	return 0;
}

static void a_host_functions_sleep_counts_as_time_but_not_as_cpu_time(void **state)
{
	uint64_t duration = 50 * MS;
	struct box b = box_open("loop", NULL);

	(void)state;
	provide_tick(&b, sleeps, &duration);
	assert_ok(mayfly_sandbox_set_limits(b.sb, 10 * MS, 0, &b.err), &b.err);
	call(&b, "tick_then_loop");
	assert_code(b.code, MAYFLY_E_TIMEOUT, &b.err);
	box_restore(&b);
	/* 50 ms asleep are no CPU time: the loop behind it is what reaches the limit. */
	assert_ok(mayfly_sandbox_set_limits(b.sb, 0, 20 * MS, &b.err), &b.err);
	call(&b, "tick_then_loop");
	assert_code(b.code, MAYFLY_E_TIMEOUT, &b.err);
	/* In the guest's code, not on the host function's return, which would be in the gate. */
	assert_contains(b.err.message, "tick_then_loop");
	assert_contains(b.err.message, "CPU time limit");
	box_close(&b);
}

static void both_limits_hold_together(void **state)
{
	struct box b = box_open("loop", NULL);

	(void)state;
	assert_ok(mayfly_sandbox_set_limits(b.sb, 10 * MS, AGES, &b.err), &b.err);
	call(&b, "infinite_loop");
	assert_contains(b.err.message, "the time limit");
	box_restore(&b);
	assert_ok(mayfly_sandbox_set_limits(b.sb, AGES, 10 * MS, &b.err), &b.err);
	call(&b, "infinite_loop");
	assert_contains(b.err.message, "the CPU time limit");
	box_close(&b);
}

static void generous_limits_do_not_disturb(void **state)
{
	static const uint64_t limits[] = {AGES, UINT64_MAX, UINT64_MAX / 2, INT64_MAX};
	struct box b = box_open("loop", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(limits); i++)
		for (size_t j = 0; j < COUNT_OF(limits); j++) {
			assert_ok(mayfly_sandbox_set_limits(b.sb, limits[i], limits[j], &b.err),
				  &b.err);
			assert_int_equal(must(&b, "add", mayfly_i64(1), mayfly_i64(2)).as.i64,
					 3);
		}
	assert_ok(mayfly_sandbox_set_limits(b.sb, 0, 0, &b.err), &b.err);
	must(&b, "spin", mayfly_u64(1000));
	box_close(&b);
}

/*
 * A limit that is about as long as the call, which it finds out by itself: whichever wins, the next
 * call is not hit by it.
 */
static void a_limit_that_comes_with_the_end_does_not_hit_the_next_call(void **state)
{
	struct box b = box_open("loop", NULL);
	int rounds = in_lab() ? 200 : 2000, stopped = 0;
	uint64_t limit = 10 * MS;

	(void)state;
	for (int i = 0; i < rounds; i++) {
		assert_ok(mayfly_sandbox_set_limits(b.sb, limit, 0, &b.err), &b.err);
		if (call(&b, "spin", mayfly_u64(20000)) < 0) {
			assert_code(b.code, MAYFLY_E_TIMEOUT, &b.err);
			stopped++;
			box_restore(&b);
			limit += limit / 8;
		} else {
			limit -= limit / 8;
		}
		assert_ok(mayfly_sandbox_set_limits(b.sb, AGES, 0, &b.err), &b.err);
		must(&b, "add", mayfly_i64(1), mayfly_i64(2));
	}
	assert_true(stopped > 0 && stopped < rounds);
	box_close(&b);
}

/* --- many threads ---------------------------------------------------------------------------- */

#define THREADS 100

struct worker {
	struct box b;
	pthread_t thread;
	uint64_t seed;
	unsigned right, interrupted, wrong;
	unsigned told; /* how often the interrupter was told of a hit */
	int last;      /* an unexpected code */
	bool stop;
	bool victim;
};

static void work(struct worker *w, uint64_t v)
{
	mayfly_value args[] = {mayfly_i64((int64_t)v), mayfly_i64(1)};
	bool slow = w->victim && v % 2;
	int r = slow ? box_call(&w->b, "infinite_loop", NULL, 0)
		     : box_call(&w->b, "add", args, 2);

	if (r == 0 && w->b.result.as.i64 == (int64_t)v + 1) {
		w->right++;
	} else if (r == MAYFLY_E_INTERRUPTED && w->victim) {
		w->interrupted++;
		if (mayfly_sandbox_restore(w->b.sb, NULL, NULL) < 0)
			w->wrong++;
	} else {
		w->wrong++;
		w->last = r;
	}
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	/* Victims end when they were hit often enough, others when those have. */
	for (uint64_t i = 0; !__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE); i++) {
		work(w, i);
		if (w->victim && w->interrupted >= 5)
			break;
		if (!w->victim && i >= 30)
			break;
		if (w->wrong)
			break;
	}
	__atomic_store_n(&w->stop, true, __ATOMIC_RELEASE);
	return NULL;
}

static void a_hundred_threads_are_interrupted_without_a_false_hit(void **state)
{
	mayfly_snapshot *snap = load("loop", 0, 0, 0);
	struct worker *all = calloc(THREADS, sizeof(*all));
	uint64_t end = now_ns() + AGES;
	bool busy = true;

	(void)state;
	assert_non_null(all);
	for (size_t i = 0; i < THREADS; i++) {
		all[i].b = box_of(mayfly_snapshot_ref(snap), NULL);
		all[i].victim = i % 2;
	}
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&all[i].thread, NULL, worker_main, &all[i]), 0);
	while (busy && now_ns() < end) {
		busy = false;
		for (size_t i = 1; i < THREADS; i += 2) {
			if (__atomic_load_n(&all[i].stop, __ATOMIC_ACQUIRE))
				continue;
			busy = true;
			all[i].told += mayfly_sandbox_interrupt(all[i].b.sb);
		}
		sleep_ns(MS / 2);
	}
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(all[i].thread, NULL);
		if (all[i].wrong)
			fail_test("thread %zu: %d (%s)", i, all[i].last, all[i].b.err.message);
		if (all[i].victim) {
			assert_true(all[i].interrupted >= 5);
			/* Each was told; told may be one that had just come to its result. */
			assert_true(all[i].interrupted <= all[i].told);
		} else {
			assert_int_equal(all[i].interrupted, 0);
			assert_int_equal(all[i].right, 31);
		}
		box_close(&all[i].b);
	}
	free(all);
	mayfly_snapshot_unref(snap);
}

/* One thread interrupts as fast as it can while another calls: each hit is told, no miss is. */
struct hammer {
	mayfly_sandbox *sb;
	bool stop;
	unsigned told;
};

static void *hammer_main(void *arg)
{
	struct hammer *h = arg;

	while (!__atomic_load_n(&h->stop, __ATOMIC_ACQUIRE)) {
		h->told += mayfly_sandbox_interrupt(h->sb);
		sleep_ns(MS / 50);
	}
	return NULL;
}

static void every_interrupted_call_was_told_of(void **state)
{
	struct box b = box_open("loop", NULL);
	struct hammer h = {.sb = b.sb};
	unsigned interrupted = 0, fine = 0, rounds = in_lab() ? 100 : 1000;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, hammer_main, &h), 0);
	for (unsigned i = 0; i < rounds; i++) {
		call(&b, "spin", mayfly_u64(i % 50 * 100));
		if (b.code == 0) {
			fine++;
			continue;
		}
		assert_code(b.code, MAYFLY_E_INTERRUPTED, &b.err);
		interrupted++;
		box_restore(&b);
	}
	__atomic_store_n(&h.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	assert_int_equal(interrupted + fine, rounds);
	assert_true(interrupted <= h.told);
	/* And nothing is left over. */
	for (int i = 0; i < 50; i++)
		must(&b, "add", mayfly_i64(1), mayfly_i64(i));
	box_close(&b);
}

/* --- the host's signals ---------------------------------------------------------------------- */

static volatile sig_atomic_t alarms;

static void on_alarm(int signal)
{
	(void)signal;
	alarms++;
}

static void a_storm_of_signals_does_not_disturb_calls(void **state)
{
	struct sigaction action = {.sa_handler = on_alarm}, before;
	struct itimerval often = {.it_interval = {.tv_usec = in_lab() ? 5000 : 200},
				  .it_value = {.tv_usec = 200}},
			 off = {.it_value = {.tv_sec = 0}};
	struct box b = box_open("loop", NULL);
	uint64_t expected;
	unsigned ticks = 0;
	uint64_t end;

	(void)state;
	provide_tick(&b, tick, &ticks);
	expected = must(&b, "spin", mayfly_u64(100000)).as.u64;
	alarms = 0;
	assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	end = now_ns() + AGES;
	for (int i = 0; (i < 100 || alarms < 50) && now_ns() < end; i++) {
		assert_true(must(&b, "spin", mayfly_u64(100000)).as.u64 == expected);
		assert_int_equal(must(&b, "add", mayfly_i64(i), mayfly_i64(1)).as.i64, i + 1);
		if (i % 10 == 0)
			box_restore(&b);
		if (i % 20 == 0) {
			struct box c = box_of(mayfly_snapshot_ref(b.snap), NULL);

			assert_int_equal(must(&c, "add", mayfly_i64(i), mayfly_i64(1)).as.i64,
					 i + 1);
			box_close(&c);
		}
	}
	/* Limits and interrupts work in it as well. */
	assert_ok(mayfly_sandbox_set_limits(b.sb, 5 * MS, 0, &b.err), &b.err);
	call(&b, "infinite_loop");
	assert_code(b.code, MAYFLY_E_TIMEOUT, &b.err);
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &before, NULL);
	assert_true(alarms >= 50);
	box_close(&b);
}

static void the_librarys_thread_takes_no_signals_of_the_hosts(void **state)
{
	struct sigaction action = {.sa_handler = on_alarm}, before;
	struct box b = box_open("loop", NULL);
	sigset_t set, old;

	(void)state;
	/* Starts the thread that keeps time limits. */
	assert_ok(mayfly_sandbox_set_limits(b.sb, AGES, 0, &b.err), &b.err);
	must(&b, "add", mayfly_i64(1), mayfly_i64(1));
	alarms = 0;
	sigaction(SIGUSR1, &action, &before);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	kill(getpid(), SIGUSR1);
	must(&b, "spin", mayfly_u64(100000));
	/* Blocked here, and nobody else took it. */
	assert_int_equal(alarms, 0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	assert_int_equal(alarms, 1);
	sigaction(SIGUSR1, &before, NULL);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(endless_calls_are_interrupted),
		cmocka_unit_test(a_call_of_missing_host_functions_without_end_is_interrupted),
		cmocka_unit_test(the_function_that_was_interrupted_is_named),
		cmocka_unit_test(without_a_call_nothing_is_interrupted),
		cmocka_unit_test(
			an_interrupt_during_a_host_function_takes_effect_on_its_return),
		cmocka_unit_test(an_interrupt_of_a_nested_call_ends_all_of_them),
		cmocka_unit_test(endless_calls_reach_their_time_limit),
		cmocka_unit_test(endless_calls_reach_their_cpu_limit),
		cmocka_unit_test(the_cpu_limit_counts_all_calls_since_the_restore),
		cmocka_unit_test(a_host_functions_sleep_counts_as_time_but_not_as_cpu_time),
		cmocka_unit_test(both_limits_hold_together),
		cmocka_unit_test(generous_limits_do_not_disturb),
		cmocka_unit_test(a_limit_that_comes_with_the_end_does_not_hit_the_next_call),
		cmocka_unit_test(a_hundred_threads_are_interrupted_without_a_false_hit),
		cmocka_unit_test(every_interrupted_call_was_told_of),
		cmocka_unit_test(a_storm_of_signals_does_not_disturb_calls),
		cmocka_unit_test(the_librarys_thread_takes_no_signals_of_the_hosts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hot dispatch: what the other tests, which run under it too, do not see. Switching, sleeping, and
 * guests that misuse the mailbox.
 */
#include "support.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "function/hot.h"
#include "function/sandbox.h"

static struct box open_hot(const char *guest, const mayfly_sandbox_options *options)
{
	struct box b = box_open(guest, options);

	assert_ok(mayfly_sandbox_set_dispatch(b.sb, MAYFLY_DISPATCH_HOT, &b.err), &b.err);
	return b;
}

static void set(struct box *b, mayfly_dispatch dispatch)
{
	assert_ok(mayfly_sandbox_set_dispatch(b->sb, dispatch, &b->err), &b->err);
}

/* The vCPU's thread sleeps, sooner or later. */
static void wait_until_asleep(struct box *b)
{
	uint64_t until = now_ns() + AGES;

	while (hot_is_running(b->sb)) {
		assert_true(now_ns() < until);
		sleep_ns(MS / 10);
	}
}

/* --- switching ------------------------------------------------------------------------------- */

static void dispatch_changes_between_any_two_calls(void **state)
{
	struct box b = box_open("batch", NULL);
	uint64_t random = 1;

	(void)state;
	for (int64_t i = 1; i < 500; i++) {
		set(&b,
		    random_next(&random) % 2 ? MAYFLY_DISPATCH_HOT : MAYFLY_DISPATCH_NORMAL);
		must(&b, "add", mayfly_i64(i), mayfly_i64(1));
		if (random_next(&random) % 8 == 0)
			wait_until_asleep(&b);
		assert_int_equal(must(&b, "call_count").as.i64, i);
	}
	box_close(&b);
}

static void dispatch_survives_restores_and_reaches_snapshots_not(void **state)
{
	struct box b = open_hot("batch", NULL), c;
	mayfly_snapshot *snap;

	(void)state;
	must(&b, "count");
	assert_ok(mayfly_sandbox_snapshot(b.sb, &snap, &b.err), &b.err);
	c = box_of(snap, NULL);
	set(&c, MAYFLY_DISPATCH_NORMAL);
	assert_int_equal(must(&c, "call_count").as.i64, 1);
	for (int i = 0; i < 30; i++) {
		must(&b, "count");
		if (i % 3)
			wait_until_asleep(&b);
		assert_ok(mayfly_sandbox_restore(b.sb, i % 2 ? b.snap : snap, &b.err), &b.err);
		assert_true(b.sb->is_hot);
		assert_int_equal(must(&b, "call_count").as.i64, !(i % 2));
	}
	box_close(&c);
	box_close(&b);
}

static int switch_within(void *context, mayfly_sandbox *sb, const mayfly_value *args,
			 size_t nargs, mayfly_value *result, mayfly_error *err)
{
	(void)context;
	(void)args;
	(void)nargs;
	(void)err;
	result->as.i64 = mayfly_sandbox_set_dispatch(sb, MAYFLY_DISPATCH_NORMAL, NULL);
	return MAYFLY_OK;
}

static void dispatch_does_not_change_within_a_call(void **state)
{
	static const mayfly_host_function f = {"host_next", "i64(i64)", switch_within, NULL};
	struct box b = open_hot("batch", NULL);

	(void)state;
	assert_ok(mayfly_sandbox_register(b.sb, &f, &b.err), &b.err);
	assert_int_equal(must(&b, "next", mayfly_i64(0)).as.i64, MAYFLY_E_BUSY);
	must(&b, "count");
	box_close(&b);
}

static void options_that_make_no_sense_are_refused(void **state)
{
	struct box b = box_open("batch", NULL);
	mayfly_sandbox_options o = MAYFLY_SANDBOX_OPTIONS_INIT;
	mayfly_sandbox *sb;

	(void)state;
	assert_code(mayfly_sandbox_set_dispatch(NULL, MAYFLY_DISPATCH_HOT, &b.err),
		    MAYFLY_E_INVALID, &b.err);
	assert_code(mayfly_sandbox_set_dispatch(b.sb, (mayfly_dispatch)2, &b.err),
		    MAYFLY_E_INVALID, &b.err);
	o.dispatch = (mayfly_dispatch)-1;
	assert_code(mayfly_sandbox_new(b.snap, &o, &sb, &b.err), MAYFLY_E_INVALID, &b.err);
	assert_contains(b.err.message, "dispatch");
	o.dispatch = MAYFLY_DISPATCH_HOT;
	o.hot_wait_ns = 1000000001;
	assert_code(mayfly_sandbox_new(b.snap, &o, &sb, &b.err), MAYFLY_E_INVALID, &b.err);
	assert_contains(b.err.message, "hot_wait_ns");
	box_close(&b);
}

/* --- waiting --------------------------------------------------------------------------------- */

static void an_idle_sandbox_falls_asleep_and_wakes(void **state)
{
	struct box b = open_hot("batch", NULL);

	(void)state;
	for (int64_t i = 0; i < 100; i++) {
		must(&b, "count");
		wait_until_asleep(&b);
	}
	assert_int_equal(must(&b, "call_count").as.i64, 100);
	box_close(&b);
}

static void waiting_may_be_short_or_long(void **state)
{
	static const uint64_t waits[] = {1, 1000, 1000000000};
	mayfly_sandbox_options o = MAYFLY_SANDBOX_OPTIONS_INIT;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(waits); i++) {
		struct box b;

		o.hot_wait_ns = waits[i];
		b = open_hot("batch", &o);
		for (int n = 0; n < 50; n++)
			must(&b, "count");
		box_restore(&b);
		must(&b, "count");
		/* A call that takes longer than either side waits. */
		must(&b, "weigh", mayfly_f64(1), mayfly_i64(1), mayfly_f32(1), mayfly_i32(1),
		     mayfly_f64(1), mayfly_u32(1), mayfly_f32(1), mayfly_i64(1), mayfly_f64(1),
		     mayfly_u64(1), mayfly_f32(1), mayfly_bool(1), mayfly_f64(1), mayfly_f64(1),
		     mayfly_i64(1), mayfly_f64(1));
		box_close(&b);
	}
}

static void calls_that_take_long_end(void **state)
{
	struct box b = open_hot("loop", NULL);

	(void)state;
	for (uint64_t rounds = 1; rounds < 20000000; rounds *= 3) {
		uint64_t v = must(&b, "spin", mayfly_u64(rounds)).as.u64;

		set(&b, MAYFLY_DISPATCH_NORMAL);
		assert_true(must(&b, "spin", mayfly_u64(rounds)).as.u64 == v);
		set(&b, MAYFLY_DISPATCH_HOT);
	}
	box_close(&b);
}

static void one_cpu_is_enough(void **state)
{
	cpu_set_t all, one;
	struct box b;

	(void)state;
	need_kvm();
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	for (size_t i = 0; !CPU_COUNT(&one); i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	b = open_hot("batch", NULL);
	for (int64_t i = 0; i < 300; i++)
		assert_int_equal(must(&b, "add", mayfly_i64(i), mayfly_i64(1)).as.i64, i + 1);
	box_restore(&b);
	must(&b, "count");
	/* As well where it had two when it began. */
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	box_close(&b);
	b = open_hot("batch", NULL);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	for (int i = 0; i < 100; i++)
		must(&b, "count");
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	box_close(&b);
}

/* --- several of them ------------------------------------------------------------------------- */

static void *call_for_a_while(void *context)
{
	struct box *b = context;

	for (int64_t i = 0; i < 2000; i++) {
		if (call(b, "add", mayfly_i64(i), mayfly_i64(i)) || b->result.as.i64 != 2 * i ||
		    (i % 500 == 0 && mayfly_sandbox_restore(b->sb, NULL, &b->err) < 0)) {
			print_error("call %d: %d, %s\n", (int)i, b->code, b->err.message);
			return b;
		}
	}
	return NULL;
}

static void more_sandboxes_than_cpus_are_served(void **state)
{
	enum { COUNT = 6 };
	pthread_t threads[COUNT];
	struct box b[COUNT];

	(void)state;
	for (int i = 0; i < COUNT; i++) {
		b[i] = open_hot("batch", NULL);
		assert_int_equal(pthread_create(&threads[i], NULL, call_for_a_while, &b[i]), 0);
	}
	for (int i = 0; i < COUNT; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		assert_null(failed);
		box_close(&b[i]);
	}
}

static void a_sandbox_goes_from_thread_to_thread(void **state)
{
	struct box b = open_hot("batch", NULL);

	(void)state;
	for (int i = 0; i < 10; i++) {
		pthread_t thread;
		void *failed;

		assert_int_equal(pthread_create(&thread, NULL, call_for_a_while, &b), 0);
		pthread_join(thread, &failed);
		assert_null(failed);
	}
	box_close(&b);
}

static void a_forked_child_frees_it_and_the_parent_goes_on(void **state)
{
	struct box b = open_hot("batch", NULL);

	(void)state;
	must(&b, "count");
	for (int i = 0; i < 4; i++) {
		pid_t child = fork();
		int status;

		assert_true(child >= 0);
		if (!child) {
			mayfly_sandbox_free(b.sb);
			_exit(0);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		assert_int_equal(must(&b, "call_count").as.i64, 1);
	}
	box_close(&b);
}

/* --- misuse ---------------------------------------------------------------------------------- */

static struct box open_misuser(void)
{
	mayfly_sandbox_options o = MAYFLY_SANDBOX_OPTIONS_INIT;

	o.timeout_ns = AGES;
	return open_hot("mailbox", &o);
}

static void answers_out_of_turn_break_the_protocol(void **state)
{
	static const int32_t offsets[] = {1, -2, 1000, INT32_MIN, INT32_MAX};
	struct box b = open_misuser();

	(void)state;
	for (size_t i = 0; i < COUNT_OF(offsets); i++) {
		mayfly_fault fault;

		call(&b, "answer_for", mayfly_i32(offsets[i]));
		assert_contains(b.err.message, "out of turn");
		fault = assert_poisoned(&b, MAYFLY_E_PROTOCOL, MAYFLY_FAULT_PROTOCOL, 0,
					"alive");
		assert_string_equal(fault.function, "answer_for");
	}
	box_close(&b);
}

static void a_turn_that_the_guest_changes_breaks_the_protocol(void **state)
{
	static const uint32_t flips[] = {1, 2, 0x40000000, 0x80000001};
	struct box b = open_misuser();

	(void)state;
	for (size_t i = 0; i < COUNT_OF(flips); i++) {
		call(&b, "change_turn", mayfly_u32(flips[i]));
		assert_poisoned(&b, MAYFLY_E_PROTOCOL, MAYFLY_FAULT_PROTOCOL, 0, "alive");
	}
	box_close(&b);
}

static void an_answer_in_advance_breaks_the_protocol(void **state)
{
	struct box b = open_misuser();
	uint64_t until = now_ns() + AGES;
	uint32_t answered;

	(void)state;
	for (int i = 0; i < 5; i++) {
		/* Who comes late sees the second one only. */
		if (call(&b, "answer_twice") == MAYFLY_OK) {
			assert_int_equal(b.result.as.u64, 1);
			answered = *(volatile uint32_t *)&b.sb->call->turn;
			/* It left if the host slept, and goes on with the next call. */
			while (hot_is_running(b.sb) &&
			       *(volatile uint32_t *)&b.sb->call->answer == answered)
				assert_true(now_ns() < until);
			call(&b, "alive");
		}
		assert_contains(b.err.message, "out of turn");
		assert_poisoned(&b, MAYFLY_E_PROTOCOL, MAYFLY_FAULT_PROTOCOL, 0, "alive");
	}
	box_close(&b);
}

static void a_guest_that_stays_is_stopped_and_never_answers_again(void **state)
{
	struct box b = open_hot("mailbox", NULL);

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(must(&b, "answer_and_stay").as.u64, 2);
		if (i)
			wait_until_asleep(&b);
		set_limit(&b, 30 * MS);
		call(&b, "alive");
		/* The probe that follows has all the time that it wants. */
		set_limit(&b, 0);
		assert_poisoned(&b, MAYFLY_E_TIMEOUT, MAYFLY_FAULT_STOPPED, 0, "alive");
	}
	box_close(&b);
}

/* It does not, for once, where the host slept when it answered. */
static void check_stayed(struct box *b)
{
	if (b->code == MAYFLY_OK)
		box_restore(b);
	else
		assert_poisoned(b, MAYFLY_E_PROTOCOL, MAYFLY_FAULT_PROTOCOL, 0, "alive");
}

static void a_guest_that_stays_is_restored_switched_captured_and_freed(void **state)
{
	struct box b = open_misuser();
	mayfly_snapshot *snap;

	(void)state;
	for (int i = 0; i < 6; i++) {
		must(&b, "answer_and_stay");
		if (i % 2)
			wait_until_asleep(&b);
		box_restore(&b);
		assert_int_equal(must(&b, "alive").as.u64, 0x600d);
	}
	must(&b, "answer_and_stay");
	b.code = mayfly_sandbox_set_dispatch(b.sb, MAYFLY_DISPATCH_NORMAL, &b.err);
	check_stayed(&b);
	set(&b, MAYFLY_DISPATCH_HOT);
	must(&b, "answer_and_stay");
	b.code = mayfly_sandbox_snapshot(b.sb, &snap, &b.err);
	if (b.code == MAYFLY_OK)
		mayfly_snapshot_unref(snap);
	check_stayed(&b);
	must(&b, "answer_and_stay");
	box_close(&b);
}

static void what_happens_after_an_answer_is_told_with_the_next_call(void **state)
{
	struct box b = open_misuser();

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_int_equal(must(&b, "answer_and_fault").as.u64, 3);
		if (i % 2) {
			wait_until_asleep(&b);
			call(&b, "alive");
			assert_poisoned(&b, MAYFLY_E_FAULT, MAYFLY_FAULT_EXCEPTION,
					VECTOR_UNDEFINED, "alive");
		} else {
			box_restore(&b);
			assert_int_equal(must(&b, "alive").as.u64, 0x600d);
		}
	}
	box_close(&b);
}

/* --- a guest that changes what it gave -------------------------------------------------------- */

#define LOOKS 3000

static void check_string(const char *data, size_t len)
{
	char copy[512];

	assert_true(len < sizeof(copy));
	memcpy(copy, data, len + 1);
	assert_int_equal(strlen(copy), len);
	for (int i = 0; i < 20; i++)
		assert_memory_equal(data, copy, len + 1);
}

static void check_bytes(const void *data, size_t len)
{
	char copy[512];

	assert_true(len <= sizeof(copy));
	memcpy(copy, data, len);
	for (int i = 0; i < 20; i++)
		assert_memory_equal(data, copy, len);
}

static void a_result_stays_as_it_was_checked(void **state)
{
	struct box b = open_misuser();

	(void)state;
	for (int i = 0; i < LOOKS; i++) {
		mayfly_value v = must(&b, "serve_strings");

		check_string(v.as.string.data, v.as.string.len);
	}
	box_restore(&b);
	for (int i = 0; i < LOOKS; i++) {
		mayfly_value v = must(&b, "serve_bytes");

		assert_int_equal(v.as.bytes.len, 256);
		check_bytes(v.as.bytes.data, v.as.bytes.len);
	}
	box_restore(&b);
	must(&b, "alive");
	box_close(&b);
}

static int look(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		mayfly_value *result, mayfly_error *err)
{
	unsigned *looks = context;

	(void)sb;
	(void)nargs;
	(void)result;
	(void)err;
	(*looks)++;
	check_bytes(args[0].as.bytes.data, args[0].as.bytes.len);
	check_string(args[1].as.string.data, args[1].as.string.len);
	return MAYFLY_OK;
}

static void arguments_of_host_functions_stay_as_they_were_checked(void **state)
{
	unsigned looks = 0;
	mayfly_host_function f = {"host_look", "void(bytes,string)", look, &looks};
	struct box b = open_misuser();

	(void)state;
	assert_ok(mayfly_sandbox_register(b.sb, &f, &b.err), &b.err);
	for (int i = 0; i < LOOKS; i++)
		must(&b, "serve_host_calls");
	assert_true(looks >= LOOKS);
	box_restore(&b);
	must(&b, "alive");
	box_close(&b);
}

static void results_that_are_too_large_to_copy_stay_as_well(void **state)
{
	struct box b = box_of(load("types", (uint64_t)64 << 20, 0, (uint64_t)8 << 20), NULL);
	size_t len = (size_t)3 << 20;
	char *data = malloc(len + 1);

	(void)state;
	set(&b, MAYFLY_DISPATCH_HOT);
	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i % 251 + 1);
	data[len] = '\0';
	for (int i = 0; i < 5; i++) {
		mayfly_value v = must(&b, "echo_bytes", mayfly_bytes_of(data, len));

		assert_false(hot_is_running(b.sb));
		assert_int_equal(v.as.bytes.len, len);
		assert_memory_equal(v.as.bytes.data, data, len);
		v = must(&b, "echo_string", mayfly_string(data));
		assert_false(hot_is_running(b.sb));
		assert_int_equal(v.as.string.len, len);
		assert_memory_equal(v.as.string.data, data, len + 1);
		must(&b, "nothing");
	}
	free(data);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dispatch_changes_between_any_two_calls),
		cmocka_unit_test(dispatch_survives_restores_and_reaches_snapshots_not),
		cmocka_unit_test(dispatch_does_not_change_within_a_call),
		cmocka_unit_test(options_that_make_no_sense_are_refused),
		cmocka_unit_test(an_idle_sandbox_falls_asleep_and_wakes),
		cmocka_unit_test(waiting_may_be_short_or_long),
		cmocka_unit_test(calls_that_take_long_end),
		cmocka_unit_test(one_cpu_is_enough),
		cmocka_unit_test(more_sandboxes_than_cpus_are_served),
		cmocka_unit_test(a_sandbox_goes_from_thread_to_thread),
		cmocka_unit_test(a_forked_child_frees_it_and_the_parent_goes_on),
		cmocka_unit_test(answers_out_of_turn_break_the_protocol),
		cmocka_unit_test(a_turn_that_the_guest_changes_breaks_the_protocol),
		cmocka_unit_test(an_answer_in_advance_breaks_the_protocol),
		cmocka_unit_test(a_guest_that_stays_is_stopped_and_never_answers_again),
		cmocka_unit_test(a_guest_that_stays_is_restored_switched_captured_and_freed),
		cmocka_unit_test(what_happens_after_an_answer_is_told_with_the_next_call),
		cmocka_unit_test(a_result_stays_as_it_was_checked),
		cmocka_unit_test(arguments_of_host_functions_stay_as_they_were_checked),
		cmocka_unit_test(results_that_are_too_large_to_copy_stay_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

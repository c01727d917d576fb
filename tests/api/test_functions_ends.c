/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of programs that do not just return: signals, bad ends, limits, hostile programs. */
#include "program.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "abi/program.h"

#define RESULT_MAX ((uint64_t)16 << 20)

/* In program_gate.S. */
extern const uint8_t program_gate_start[], program_gate_end[];

/* --- What functions do ----------------------------------------------------------------------- */

static void signals_are_handled_within_a_call(void **state)
{
	struct program p = program_ready("static", NULL);

	(void)state;
	assert_int_equal(MUST(&p, "raise_and_catch", mayfly_i32(10)).as.i32, 10);
	/* One from outside, while it is paused: the next call's. */
	assert_ok(mayfly_process_signal(p.process, 10, &p.err), &p.err);
	assert_int_equal(MUST(&p, "signals_caught").as.i32, 20);
	assert_int_equal(MUST(&p, "signals_caught").as.i32, 20);
	program_done(&p);
}

static void ready_within_a_call_returns_at_once(void **state)
{
	struct program p = program_ready("static", NULL);

	(void)state;
	assert_int_equal(MUST(&p, "ready_again").as.i32, 1);
	assert_int_equal(MUST(&p, "ready_again").as.i32, 1);
	program_run_on(&p, "total 1000, vectors kept, thread 100\n");
	program_done(&p);
}

static void an_exit_within_a_call_is_the_programs_end(void **state)
{
	struct program p = program_ready("static", NULL);

	(void)state;
	assert_code(CALL(&p, "leave", mayfly_i32(7)), MAYFLY_E_PROTOCOL, &p.err);
	assert_contains(p.err.message, "exited with status 7 before leave returned");
	program_is_over(&p);
	program_done(&p);
}

static void a_fault_within_a_call_names_signal_and_address(void **state)
{
	struct program p = program_ready("static", NULL);

	(void)state;
	assert_code(CALL(&p, "crash", mayfly_u64(0x123)), MAYFLY_E_FAULT, &p.err);
	assert_contains(p.err.message, "SIGSEGV in crash");
	assert_contains(p.err.message, "0x123");
	program_is_over(&p);
	program_done(&p);
}

static void an_abort_within_a_call_is_one(void **state)
{
	struct program p = program_ready("static", NULL);

	(void)state;
	assert_code(CALL(&p, "give_up"), MAYFLY_E_ABORT, &p.err);
	assert_contains(p.err.message, "SIGABRT in give_up");
	program_is_over(&p);
	program_done(&p);
}

static void an_exhausted_stack_is_a_fault(void **state)
{
	static const char *const arguments[] = {NULL, "thread"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(arguments); i++) {
		struct program p = program_ready("static", arguments[i]);

		assert_code(CALL(&p, "deeper", mayfly_i64(0)), MAYFLY_E_FAULT, &p.err);
		program_is_over(&p);
		program_done(&p);
	}
}

static void a_thread_that_ends_within_a_call_ends_the_process(void **state)
{
	static const char *const arguments[] = {"thread", "threads"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(arguments); i++) {
		struct program p = program_ready("static", arguments[i]);

		assert_code(CALL(&p, "end_thread"), MAYFLY_E_PROTOCOL, &p.err);
		assert_contains(p.err.message, "end_thread");
		program_is_over(&p);
		program_done(&p);
	}
}

static void a_jump_out_of_a_call_goes_on_in_the_program(void **state)
{
	struct program p = program_ready("static", NULL);
	char text[64] = "";

	(void)state;
	assert_code(CALL(&p, "jump_out"), MAYFLY_E_PROTOCOL, &p.err);
	assert_contains(p.err.message, "exited with status 5 before jump_out returned");
	assert_true(read(p.out, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "jumped out\n");
	program_done(&p);
}

static void a_restore_makes_a_process_usable_after_each_bad_end(void **state)
{
	static const struct {
		const char *name;
		int code;
	} ends[] = {
		{"give_up", MAYFLY_E_ABORT},
		{"end_thread", MAYFLY_E_PROTOCOL},
		{"jump_out", MAYFLY_E_PROTOCOL},
		{"leave_vectors", MAYFLY_OK},
	};
	struct program p = program_ready("static", NULL);
	mayfly_snapshot *snap = program_snapshot(&p);

	(void)state;
	program_done(&p);
	p = program_from(snap, "static", MAYFLY_PROCESS_RESTORABLE);
	for (size_t i = 0; i < 3 * COUNT_OF(ends); i++) {
		MUST(&p, "add", mayfly_i64(1));
		assert_code(CALL(&p, ends[i % COUNT_OF(ends)].name),
			    ends[i % COUNT_OF(ends)].code, &p.err);
		assert_ok(mayfly_process_restore(p.process, -1, -1, -1, &p.err), &p.err);
		assert_int_equal(MUST(&p, "add", mayfly_i64(1)).as.i64, 1001);
		assert_ok(mayfly_process_restore(p.process, -1, -1, -1, &p.err), &p.err);
	}
	program_done(&p);
	mayfly_snapshot_unref(snap);
}

/* --- Limits -------------------------------------------------------------------------------- */

static void limits_hold_in_calls(void **state)
{
	static const struct {
		const char *name;
		mayfly_process_options more;
		const char *message;
	} limits[] = {
		{"spin", {.timeout_ns = 1500 * MS}, "the time limit of 1.5 s"},
		{"wait_long", {.timeout_ns = 1500 * MS}, "the time limit of 1.5 s"},
		{"spin", {.cpu_time_ns = 300 * MS}, "the CPU time limit of 0.3 s"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(limits); i++) {
		mayfly_process_options more = limits[i].more;
		struct program p;

		if (in_lab()) {
			print_message("no time to wait for limits\n");
			skip();
		}
		p = program_made("static", NULL, &more);
		program_run_to_ready(&p);
		assert_code(CALL(&p, limits[i].name), MAYFLY_E_TIMEOUT, &p.err);
		assert_contains(p.err.message, limits[i].message);
		program_is_over(&p);
		program_done(&p);
	}
}

static void *interrupter(void *process)
{
	sleep_ns(20 * MS);
	mayfly_process_interrupt(process);
	return NULL;
}

static void a_call_can_be_interrupted(void **state)
{
	struct program p = program_ready("static", NULL);
	mayfly_snapshot *snap = program_snapshot(&p);
	pthread_t thread;

	(void)state;
	program_done(&p);
	p = program_from(snap, "static", MAYFLY_PROCESS_RESTORABLE);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(pthread_create(&thread, NULL, interrupter, p.process), 0);
		/* Before the call, if it comes early: then the process is as it was. */
		assert_code(CALL(&p, i % 2 ? "spin" : "wait_long"), MAYFLY_E_INTERRUPTED,
			    &p.err);
		pthread_join(thread, NULL);
		assert_ok(mayfly_process_restore(p.process, -1, -1, -1, &p.err), &p.err);
		program_is_usable(&p);
	}
	mayfly_process_interrupt(p.process);
	assert_code(CALL(&p, "add", mayfly_i64(1)), MAYFLY_E_INTERRUPTED, &p.err);
	assert_int_equal(MUST(&p, "add", mayfly_i64(1)).as.i64, 1001);
	program_done(&p);
	mayfly_snapshot_unref(snap);
}

static int refuse_files(void *context, const mayfly_syscall *call)
{
	(void)context;
	return !strcmp(call->name, "openat") || !strcmp(call->name, "open") ? -13 : 0;
}

static void the_policy_holds_in_calls_and_does_not_see_their_end(void **state)
{
	const mayfly_process_options more = {.policy = refuse_files};
	struct program p = program_made("static", NULL, &more);

	(void)state;
	program_run_to_ready(&p);
	assert_string_equal(MUST(&p, "library").as.string.data, "Permission denied");
	program_is_usable(&p);
	program_done(&p);
}

static void append(void *context, const char *text, size_t len)
{
	char *all = context;

	if (strlen(all) + len < 20000)
		strncat(all, text, len);
}

static void calls_are_traced(void **state)
{
	static char lines[20000];
	const mayfly_process_options more = {
		.flags = MAYFLY_PROCESS_TRACE, .trace_write = append, .trace_context = lines};
	struct program p = program_made("static", NULL, &more);

	(void)state;
	program_run_to_ready(&p);
	lines[0] = '\0';
	MUST(&p, "library");
	assert_contains(lines, "--- library is called ---");
	assert_contains(lines, "/tmp/notes");
	program_done(&p);
}

/* --- Hostile programs -------------------------------------------------------------------------- */

static void results_that_are_not_there_are_refused(void **state)
{
	static const uint64_t wild[] = {0,
					1,
					PROG_GATE_VA,
					PROG_SUPERVISOR_VA,
					PROG_THREADS_VA,
					0x7ffffffff000,
					0x7fffffffffff,
					0x800000000000,
					0xffff800000000000,
					UINT64_MAX,
					UINT64_MAX - 15};
	struct program p = program_ready("static", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(wild); i++) {
		assert_code(CALL(&p, "string_at", mayfly_u64(wild[i])), MAYFLY_E_PROTOCOL,
			    &p.err);
		assert_contains(p.err.message, "string_at gave string at 0x");
		assert_code(CALL(&p, "bytes_at", mayfly_u64(wild[i]), mayfly_u64(1)),
			    MAYFLY_E_PROTOCOL, &p.err);
		assert_code(CALL(&p, "bytes_at", mayfly_u64(wild[i]), mayfly_u64(UINT64_MAX)),
			    MAYFLY_E_TOO_LARGE, &p.err);
		assert_int_equal(
			MUST(&p, "bytes_at", mayfly_u64(wild[i]), mayfly_u64(0)).as.bytes.len,
			0);
		program_is_usable(&p);
	}
	program_done(&p);
}

static void strings_may_end_where_memory_does(void **state)
{
	struct program p = program_ready("static", NULL);

	(void)state;
	assert_int_equal(MUST(&p, "string_at_end", mayfly_bool(true)).as.string.len, 299);
	assert_code(CALL(&p, "string_at_end", mayfly_bool(false)), MAYFLY_E_PROTOCOL, &p.err);
	assert_int_equal(MUST(&p, "string_at_end", mayfly_bool(true)).as.string.len, 299);
	program_done(&p);
}

static void results_are_copied_up_to_their_limit(void **state)
{
	struct program p = program_ready("static", NULL);
	const char *text;

	(void)state;
	for (uint64_t len = 0; len <= 1100; len += 37) {
		text = MUST(&p, "long_string", mayfly_u64(len)).as.string.data;
		assert_int_equal(p.result.as.string.len, len);
		assert_int_equal(strlen(text), len);
	}
	MUST(&p, "long_string", mayfly_u64(RESULT_MAX - 1));
	assert_int_equal(p.result.as.string.len, RESULT_MAX - 1);
	assert_code(CALL(&p, "long_string", mayfly_u64(RESULT_MAX)), MAYFLY_E_TOO_LARGE,
		    &p.err);
	assert_contains(p.err.message, "16 MiB");
	program_is_usable(&p);
	program_done(&p);
}

static void a_string_that_changes_has_one_end(void **state)
{
	struct program p = program_ready("static", NULL);

	(void)state;
	for (int i = 0; i < 300; i++) {
		mayfly_value v = MUST(&p, "racing_string");

		assert_int_equal(strlen(v.as.string.data), v.as.string.len);
	}
	program_done(&p);
}

static void a_stack_pointer_that_is_none_is_refused(void **state)
{
	struct program p = program_ready("static", "wild");

	(void)state;
	assert_code(CALL(&p, "add", mayfly_i64(1)), MAYFLY_E_PROTOCOL, &p.err);
	assert_contains(p.err.message, "stack pointer");
	program_done(&p);
	/* An address, but of nothing. */
	p = program_ready("static", "unmapped");
	assert_code(CALL(&p, "join", mayfly_string("a"), mayfly_string("b")),
		    MAYFLY_E_TOO_LARGE, &p.err);
	assert_contains(p.err.message, "stack");
	/* Without arguments there, the function finds out. */
	assert_code(CALL(&p, "add", mayfly_i64(1)), MAYFLY_E_FAULT, &p.err);
	program_done(&p);
	p = program_ready("static", "unaligned");
	assert_int_equal(MUST(&p, "entry_state").as.u64, 0);
	assert_string_equal(
		MUST(&p, "join", mayfly_string("a"), mayfly_string("b")).as.string.data,
		"a, b");
	program_done(&p);
}

static void a_function_that_returns_twice_answers_the_call_under_way(void **state)
{
	struct program p = program_ready("static", NULL);

	(void)state;
	assert_int_equal(MUST(&p, "return_again", mayfly_i64(0)).as.i64, 1);
	assert_int_equal(MUST(&p, "return_again", mayfly_i64(1)).as.i64, 2);
	program_is_usable(&p);
	program_run_on(&p, "total 1000, vectors kept, thread 100\n");
	program_done(&p);
}

static void the_return_is_the_gates_alone(void **state)
{
	struct program p = program_ready("static", NULL);
	size_t out = PROG_GATE_CALL - PROG_GATE_VA;

	(void)state;
	assert_int_equal(MUST(&p, "forge_return").as.i64, -1);
	while (program_gate_start[out] != 0xe6 || program_gate_start[out + 1] != 5)
		out++;
	assert_true(out < PROG_GATE_CALL - PROG_GATE_VA + PROG_GATE_CALL_SIZE);
	assert_code(CALL(&p, "enter_gate", mayfly_u64(PROG_GATE_VA + out)), MAYFLY_E_FAULT,
		    &p.err);
	assert_contains(p.err.message, "that was not called");
	program_is_over(&p);
	program_done(&p);
}

static void a_program_may_unmap_its_arguments(void **state)
{
	static uint8_t large[100000];
	struct program p = program_ready("static", NULL);

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(
			MUST(&p, "unmap_argument", mayfly_bytes_of(large, sizeof(large)))
				.as.i32,
			0);
		program_is_usable(&p);
	}
	program_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signals_are_handled_within_a_call),
		cmocka_unit_test(ready_within_a_call_returns_at_once),
		cmocka_unit_test(an_exit_within_a_call_is_the_programs_end),
		cmocka_unit_test(a_fault_within_a_call_names_signal_and_address),
		cmocka_unit_test(an_abort_within_a_call_is_one),
		cmocka_unit_test(an_exhausted_stack_is_a_fault),
		cmocka_unit_test(a_thread_that_ends_within_a_call_ends_the_process),
		cmocka_unit_test(a_jump_out_of_a_call_goes_on_in_the_program),
		cmocka_unit_test(a_restore_makes_a_process_usable_after_each_bad_end),
		cmocka_unit_test(limits_hold_in_calls),
		cmocka_unit_test(a_call_can_be_interrupted),
		cmocka_unit_test(the_policy_holds_in_calls_and_does_not_see_their_end),
		cmocka_unit_test(calls_are_traced),
		cmocka_unit_test(results_that_are_not_there_are_refused),
		cmocka_unit_test(strings_may_end_where_memory_does),
		cmocka_unit_test(results_are_copied_up_to_their_limit),
		cmocka_unit_test(a_string_that_changes_has_one_end),
		cmocka_unit_test(a_stack_pointer_that_is_none_is_refused),
		cmocka_unit_test(a_function_that_returns_twice_answers_the_call_under_way),
		cmocka_unit_test(the_return_is_the_gates_alone),
		cmocka_unit_test(a_program_may_unmap_its_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

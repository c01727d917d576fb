/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of programs, called by the host while the program waits in mayfly_ready(). */
#include "program.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- Values -------------------------------------------------------------------------------- */

static void check_values(const char *how)
{
	static const uint8_t bytes[] = {1, 0, 2, 255};
	static const uint8_t reversed[] = {255, 2, 0, 1};
	struct program p = program_ready(how, NULL);
	mayfly_value v;

	assert_int_equal(MUST(&p, "nothing").type, MAYFLY_VOID);
	assert_false(MUST(&p, "negate", mayfly_bool(true)).as.boolean);
	assert_int_equal(MUST(&p, "add", mayfly_i64(-1)).as.i64, 999);
	assert_int_equal(MUST(&p, "add", mayfly_i64(2)).as.i64, 1001);
	assert_int_equal(MUST(&p, "add_in_thread", mayfly_i64(5)).as.i64, 105);
	v = MUST(&p, "mix", mayfly_i32(-1), mayfly_f32(0.5f), mayfly_u32(4000000000u),
		 mayfly_f64(0.25), mayfly_i64(-8), mayfly_u64(16));
	assert_true(v.as.f64 == 4000000007.75);
	assert_true(MUST(&p, "half", mayfly_f32(-3)).as.f32 == -1.5f);
	v = MUST(&p, "sum", mayfly_f64(1), mayfly_f64(2), mayfly_f64(3), mayfly_f64(4),
		 mayfly_f64(5), mayfly_f64(6), mayfly_f64(7), mayfly_f64(8), mayfly_f64(9),
		 mayfly_f64(10));
	assert_true(v.as.f64 == 385);
	v = MUST(&p, "many", mayfly_i64(1), mayfly_f64(2), mayfly_i64(3), mayfly_f64(4),
		 mayfly_i64(5), mayfly_f64(6), mayfly_i64(7), mayfly_f64(8), mayfly_i64(9),
		 mayfly_f64(10), mayfly_i64(11), mayfly_bytes_of("bytes", 5), mayfly_i64(13),
		 mayfly_string("a string"), mayfly_f64(15), mayfly_f64(16));
	assert_string_equal(v.as.string.data,
			    "1 2 3 4 5 6 7 8 9 10 11 bytes 13 a string 15 16");
	v = MUST(&p, "reverse", mayfly_bytes_of(bytes, sizeof(bytes)));
	assert_int_equal(v.as.bytes.len, sizeof(reversed));
	assert_memory_equal(v.as.bytes.data, reversed, sizeof(reversed));
	assert_int_equal(MUST(&p, "reverse", mayfly_bytes_of(NULL, 0)).as.bytes.len, 0);
	v = MUST(&p, "join", mayfly_string("left"), mayfly_string(""));
	assert_string_equal(v.as.string.data, "left, ");
	assert_int_equal(v.as.string.len, 6);
	assert_int_equal(MUST(&p, "entry_state").as.u64, 0);
	program_done(&p);
}

static void values_cross_as_they_are_to_a_static_program(void **state)
{
	(void)state;
	check_values("static");
}

static void values_cross_as_they_are_to_a_program_with_musl(void **state)
{
	(void)state;
	check_values("musl");
}

static void values_cross_as_they_are_to_a_dynamic_pie(void **state)
{
	(void)state;
	check_values("dynamic");
}

static void a_function_has_a_full_c_library(void **state)
{
	static const char *const ways[] = {"static", "musl", "dynamic"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ways); i++) {
		struct program p = program_ready(ways[i], NULL);

		assert_string_equal(MUST(&p, "library").as.string.data,
				    "1 lines, the last 1.414, process 1000, time is known");
		assert_string_equal(MUST(&p, "library").as.string.data,
				    "2 lines, the last 1.414, process 1000, time is known");
		program_done(&p);
	}
}

static void arguments_may_be_as_large_as_the_programs_memory(void **state)
{
	static const size_t sizes[] = {1, 4000, 4080, 4081, 4096, 65536, 5 << 20};
	struct program p = program_ready("static", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		uint8_t *data = malloc(sizes[i]);
		mayfly_value v;

		assert_non_null(data);
		for (size_t at = 0; at < sizes[i]; at++)
			data[at] = (uint8_t)(at * 7 + i);
		v = MUST(&p, "reverse", mayfly_bytes_of(data, sizes[i]));
		assert_int_equal(v.as.bytes.len, sizes[i]);
		for (size_t at = 0; at < sizes[i]; at++)
			assert_int_equal(((const uint8_t *)v.as.bytes.data)[sizes[i] - 1 - at],
					 data[at]);
		free(data);
	}
	program_done(&p);
}

static void arguments_that_do_not_fit_are_refused(void **state)
{
	const mayfly_process_options small = {.memory = (uint64_t)16 << 20};
	struct program p = program_made("static", NULL, &small);
	static uint8_t data[20 << 20];

	(void)state;
	program_run_to_ready(&p);
	assert_code(CALL(&p, "reverse", mayfly_bytes_of(data, sizeof(data))),
		    MAYFLY_E_TOO_LARGE, &p.err);
	assert_contains(p.err.message, "memory");
	program_is_usable(&p);
	program_done(&p);
}

static void memory_of_large_arguments_is_given_back(void **state)
{
	mayfly_process_stats before = {.size = sizeof(before)}, after = before;
	struct program p = program_ready("static", NULL);
	static uint8_t data[1 << 20];

	(void)state;
	for (int i = 0; i < 40; i++) {
		if (i == 4)
			assert_ok(mayfly_process_get_stats(p.process, &before, &p.err), &p.err);
		MUST(&p, "reverse", mayfly_bytes_of(data, sizeof(data)));
	}
	assert_ok(mayfly_process_get_stats(p.process, &after, &p.err), &p.err);
	assert_int_equal(before.memory, after.memory);
	program_done(&p);
}

static void wrong_arguments_are_refused_as_of_sandboxes(void **state)
{
	struct program p = program_ready("static", NULL);

	(void)state;
	assert_code(CALL(&p, "add"), MAYFLY_E_SIGNATURE, &p.err);
	assert_contains(p.err.message, "add takes 1 argument, 0 given: i64(i64)");
	assert_code(CALL(&p, "add", mayfly_f64(1)), MAYFLY_E_SIGNATURE, &p.err);
	assert_contains(p.err.message, "argument 1 of add is i64, f64 given: i64(i64)");
	assert_code(CALL(&p, "join", mayfly_string("a"), mayfly_string(NULL)), MAYFLY_E_INVALID,
		    &p.err);
	assert_contains(p.err.message, "argument 2 of join is a null pointer");
	assert_code(CALL(&p, "join", mayfly_string("a"),
			 (mayfly_value){.type = MAYFLY_STRING, .as.string = {"b\0c", 3}}),
		    MAYFLY_E_SIGNATURE, &p.err);
	assert_contains(p.err.message, "argument 2 of join: the string has a NUL inside");
	program_is_usable(&p);
	program_done(&p);
}

static void functions_are_found_by_name(void **state)
{
	struct program p = program_ready("static", NULL);
	const mayfly_function *fn;

	(void)state;
	assert_ok(mayfly_process_function(p.process, "mix", &fn, &p.err), &p.err);
	assert_string_equal(mayfly_function_name(fn), "mix");
	assert_string_equal(mayfly_function_signature(fn), "f64(i32,f32,u32,f64,i64,u64)");
	assert_code(mayfly_process_function(p.process, "reverze", &fn, &p.err),
		    MAYFLY_E_NO_FUNCTION, &p.err);
	assert_contains(p.err.message, "reverse");
	program_done(&p);
}

static void a_program_without_exports_says_so(void **state)
{
	const char *const argv[] = {"/bin/true", NULL};
	mayfly_process_options o = MAYFLY_PROCESS_OPTIONS_INIT;
	const mayfly_function *fn;
	mayfly_process *process;
	mayfly_error err;

	(void)state;
	need_kvm();
	if (access(argv[0], X_OK) < 0)
		skip();
	o.program = argv[0];
	o.argv = argv;
	o.flags = MAYFLY_PROCESS_SYSTEM;
	assert_ok(mayfly_process_new(&o, &process, &err), &err);
	assert_code(mayfly_process_function(process, "main", &fn, &err), MAYFLY_E_NO_FUNCTION,
		    &err);
	mayfly_process_free(process);
}

/* --- Before, between, after ---------------------------------------------------------------- */

static void functions_are_called_while_it_is_paused_at_ready_only(void **state)
{
	struct program p = program_made("static", NULL, NULL);
	mayfly_process_end end = {.size = sizeof(end)};

	(void)state;
	assert_code(CALL(&p, "nothing"), MAYFLY_E_PROTOCOL, &p.err);
	assert_contains(p.err.message, "mayfly_ready()");
	assert_ok(mayfly_process_run(p.process, MAYFLY_PAUSE_MAIN, &end, &p.err), &p.err);
	assert_code(CALL(&p, "nothing"), MAYFLY_E_PROTOCOL, &p.err);
	program_run_to_ready(&p);
	MUST(&p, "nothing");
	program_run_on(&p, "total 1000, vectors kept, thread 100\n");
	program_is_over(&p);
	assert_contains(p.err.message, "ended");
	program_done(&p);
}

static void the_program_runs_on_as_if_nothing_had_been_called(void **state)
{
	static const char *const ways[] = {"static", "musl", "dynamic"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ways); i++) {
		struct program p = program_ready(ways[i], NULL);

		MUST(&p, "add", mayfly_i64(23));
		MUST(&p, "add_in_thread", mayfly_i64(11));
		MUST(&p, "leave_vectors");
		MUST(&p, "leave_vectors");
		program_run_on(&p, "total 1023, vectors kept, thread 111\n");
		program_done(&p);
	}
}

static void functions_run_on_the_thread_that_is_ready(void **state)
{
	struct program p = program_ready("static", "thread");

	(void)state;
	MUST(&p, "add_in_thread", mayfly_i64(7));
	MUST(&p, "leave_vectors");
	program_run_on(&p, "total 1000, vectors kept, thread 107\n");
	program_done(&p);
}

static void other_threads_run_during_calls(void **state)
{
	struct program p = program_ready("static", "threads");
	int64_t first, second;

	(void)state;
	first = MUST(&p, "wait_for_count").as.i64;
	second = MUST(&p, "wait_for_count").as.i64;
	assert_true(second > first);
	MUST(&p, "start_counting");
	assert_true(MUST(&p, "wait_for_count").as.i64 > second);
	program_run_on(&p, "total 1000, vectors kept, thread 100\n");
	program_done(&p);
}

static void a_snapshot_after_calls_holds_what_they_left(void **state)
{
	static const char *const ways[] = {"static", "musl", "dynamic"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ways); i++) {
		struct program p = program_ready(ways[i], NULL), copies[2];
		mayfly_snapshot *snap;

		MUST(&p, "add", mayfly_i64(10));
		MUST(&p, "leave_vectors");
		snap = program_snapshot(&p);
		for (size_t c = 0; c < 2; c++)
			copies[c] = program_from(snap, ways[i], 0);
		assert_int_equal(MUST(&copies[0], "add", mayfly_i64(1)).as.i64, 1011);
		assert_int_equal(MUST(&copies[1], "add", mayfly_i64(2)).as.i64, 1012);
		assert_int_equal(MUST(&p, "add", mayfly_i64(3)).as.i64, 1013);
		mayfly_snapshot_unref(snap);
		program_done(&copies[0]);
		program_done(&copies[1]);
		program_run_on(&p, "total 1013, vectors kept, thread 100\n");
		program_done(&p);
	}
}

static void a_call_leaves_nothing_after_a_restore(void **state)
{
	struct program p = program_ready("static", NULL);
	mayfly_snapshot *snap = program_snapshot(&p);
	static uint8_t large[100000];
	int out[2];

	(void)state;
	program_done(&p);
	p = program_from(snap, "static", MAYFLY_PROCESS_RESTORABLE);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(MUST(&p, "add", mayfly_i64(i)).as.i64, 1000 + i);
		assert_int_equal(MUST(&p, "add_in_thread", mayfly_i64(i)).as.i64, 100 + i);
		MUST(&p, "leave_vectors");
		MUST(&p, "reverse", mayfly_bytes_of(large, sizeof(large)));
		assert_contains(MUST(&p, "library").as.string.data, "1 lines");
		assert_ok(mayfly_process_restore(p.process, -1, -1, -1, &p.err), &p.err);
	}
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_ok(mayfly_process_restore(p.process, -1, out[1], -1, &p.err), &p.err);
	close(out[1]);
	p.out = out[0];
	program_run_on(&p, "total 1000, vectors kept, thread 100\n");
	program_done(&p);
	mayfly_snapshot_unref(snap);
}

/* In KVM's log the pages stay dirty. */
static void what_was_mapped_and_written_before_an_earlier_restore_does_no_harm(void **state)
{
	struct program p = program_ready("static", NULL);
	mayfly_snapshot *snap = program_snapshot(&p);
	static uint8_t large[3 << 20];

	(void)state;
	program_done(&p);
	p = program_from(snap, "static", MAYFLY_PROCESS_RESTORABLE);
	for (int i = 0; i < 12; i++) {
		program_is_usable(&p);
		if (i % 4 == 0)
			MUST(&p, "reverse",
			     mayfly_bytes_of(large, sizeof(large) - (size_t)i * 100000));
		assert_ok(mayfly_process_restore(p.process, -1, -1, -1, &p.err), &p.err);
	}
	program_done(&p);
	mayfly_snapshot_unref(snap);
}

static void functions_of_a_saved_snapshot_can_be_called(void **state)
{
	static const char *const ways[] = {"static", "dynamic"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ways); i++) {
		struct program p = program_ready(ways[i], NULL);
		mayfly_snapshot *snap = program_snapshot(&p), *opened;
		mayfly_snapshot_info info = {.size = sizeof(info)};
		const mayfly_function *fn, *old;
		const char *path = temporary_path("functions");

		assert_ok(mayfly_snapshot_save(snap, path, &p.err), &p.err);
		assert_ok(mayfly_snapshot_function(snap, "add", &old, &p.err), &p.err);
		assert_ok(mayfly_process_function(p.process, "add", &fn, &p.err), &p.err);
		assert_ptr_equal(fn, old);
		assert_ptr_equal(mayfly_snapshot_function_at(snap, 2), fn);
		assert_ok(mayfly_snapshot_open(path, &opened, &p.err), &p.err);
		assert_ok(mayfly_snapshot_get_info(opened, &info, &p.err), &p.err);
		assert_true(info.program && info.functions > 20);
		program_done(&p);
		p = program_from(opened, ways[i], 0);
		assert_int_equal(MUST(&p, "add", mayfly_i64(1)).as.i64, 1001);
		/* Those of one load are not those of another. */
		assert_code(mayfly_process_call(p.process, old, VALUES(mayfly_i64(1)), 1, NULL,
						&p.err),
			    MAYFLY_E_INVALID, &p.err);
		assert_contains(p.err.message, "another guest");
		program_done(&p);
		mayfly_snapshot_unref(snap);
		mayfly_snapshot_unref(opened);
		temporary_remove();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_cross_as_they_are_to_a_static_program),
		cmocka_unit_test(values_cross_as_they_are_to_a_program_with_musl),
		cmocka_unit_test(values_cross_as_they_are_to_a_dynamic_pie),
		cmocka_unit_test(a_function_has_a_full_c_library),
		cmocka_unit_test(arguments_may_be_as_large_as_the_programs_memory),
		cmocka_unit_test(arguments_that_do_not_fit_are_refused),
		cmocka_unit_test(memory_of_large_arguments_is_given_back),
		cmocka_unit_test(wrong_arguments_are_refused_as_of_sandboxes),
		cmocka_unit_test(functions_are_found_by_name),
		cmocka_unit_test(a_program_without_exports_says_so),
		cmocka_unit_test(functions_are_called_while_it_is_paused_at_ready_only),
		cmocka_unit_test(the_program_runs_on_as_if_nothing_had_been_called),
		cmocka_unit_test(functions_run_on_the_thread_that_is_ready),
		cmocka_unit_test(other_threads_run_during_calls),
		cmocka_unit_test(a_snapshot_after_calls_holds_what_they_left),
		cmocka_unit_test(a_call_leaves_nothing_after_a_restore),
		cmocka_unit_test(
			what_was_mapped_and_written_before_an_earlier_restore_does_no_harm),
		cmocka_unit_test(functions_of_a_saved_snapshot_can_be_called),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of programs, called by the host while the program waits in mayfly_ready(). */
#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/program.h"
#include "core/util.h"

#define RESULT_MAX ((uint64_t)16 << 20)

/* In program_gate.S. */
extern const uint8_t program_gate_start[], program_gate_end[];

/* --- A program ----------------------------------------------------------------------------- */

struct program {
	mayfly_process *process;
	mayfly_value result;
	mayfly_error err;
	int out; /* the reading end of its standard output */
};

static mayfly_process_options options_for(const char *how, const char *const *argv)
{
	mayfly_process_options o = MAYFLY_PROCESS_OPTIONS_INIT;

	o.program = argv[0];
	o.argv = argv;
	o.timeout_ns = AGES;
	if (!strcmp(how, "dynamic"))
		o.flags |= MAYFLY_PROCESS_SYSTEM;
	return o;
}

static void run_to_ready(struct program *p)
{
	mayfly_process_end end = {.size = sizeof(end)};

	assert_ok(mayfly_process_run(p->process, MAYFLY_PAUSE_READY, &end, &p->err), &p->err);
	assert_int_equal(end.end, MAYFLY_END_PAUSE);
	assert_int_equal(end.status, MAYFLY_PAUSE_READY);
}

/* Linked in this way, with this argument, not run yet. */
static struct program made(const char *how, const char *argument,
			   const mayfly_process_options *more)
{
	char path[512], name[64];
	const char *argv[] = {path, argument, NULL};
	mayfly_process_options o;
	struct program p = {.out = -1};
	int out[2];

	need_kvm();
	snprintf(name, sizeof(name), "functions_%s", how);
	snprintf(path, sizeof(path), "%s", guest_path(name));
	if (access(path, X_OK) < 0 ||
	    (!strcmp(how, "dynamic") && access("/lib64/ld-linux-x86-64.so.2", F_OK) < 0)) {
		print_message("no %s\n", path);
		skip();
	}
	o = options_for(how, argv);
	if (more) {
		o.timeout_ns = more->timeout_ns ? more->timeout_ns : o.timeout_ns;
		o.cpu_time_ns = more->cpu_time_ns;
		o.memory = more->memory;
		o.policy = more->policy;
		o.trace_write = more->trace_write;
		o.trace_context = more->trace_context;
		o.flags |= more->flags;
	}
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	o.streams = true;
	o.stdin_fd = o.stderr_fd = -1;
	o.stdout_fd = out[1];
	assert_ok(mayfly_process_new(&o, &p.process, &p.err), &p.err);
	close(out[1]);
	p.out = out[0];
	return p;
}

static struct program ready(const char *how, const char *argument)
{
	struct program p = made(how, argument, NULL);

	run_to_ready(&p);
	return p;
}

static void done(struct program *p)
{
	mayfly_process_free(p->process);
	if (p->out >= 0)
		close(p->out);
}

static int program_call(struct program *p, const char *name, const mayfly_value *args,
			size_t nargs)
{
	const mayfly_function *fn;

	assert_ok(mayfly_process_function(p->process, name, &fn, &p->err), &p->err);
	return mayfly_process_call(p->process, fn, args, nargs, &p->result, &p->err);
}

static mayfly_value program_must(struct program *p, const char *name, const mayfly_value *args,
				 size_t nargs, const char *file, int line)
{
	check_code(program_call(p, name, args, nargs), MAYFLY_OK, &p->err, file, line);
	return p->result;
}

#define CALL(p, name, ...)                                                                     \
	program_call((p), (name), VALUES(__VA_ARGS__), VALUE_COUNT(__VA_ARGS__))
#define MUST(p, name, ...)                                                                     \
	program_must((p), (name), VALUES(__VA_ARGS__), VALUE_COUNT(__VA_ARGS__), __FILE__,     \
		     __LINE__)

/* The process is paused as before, and its functions can be called. */
static void assert_usable(struct program *p)
{
	assert_true(MUST(p, "negate", mayfly_bool(false)).as.boolean);
}

/* It can neither be called nor run. */
static void assert_over(struct program *p)
{
	mayfly_process_end end = {.size = sizeof(end)};

	assert_code(CALL(p, "nothing"), MAYFLY_E_PROTOCOL, &p->err);
	assert_code(mayfly_process_run(p->process, 0, &end, &p->err), MAYFLY_E_PROTOCOL,
		    &p->err);
}

/* Run it to its end. What it prints tells what was kept. */
static void run_on(struct program *p, const char *output)
{
	mayfly_process_end end = {.size = sizeof(end)};
	char text[200] = "";

	assert_ok(mayfly_process_run(p->process, 0, &end, &p->err), &p->err);
	assert_int_equal(end.end, MAYFLY_END_EXIT);
	assert_int_equal(end.status, 0);
	assert_true(read(p->out, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, output);
}

static mayfly_snapshot *snapshot(struct program *p)
{
	mayfly_snapshot *snap;

	assert_ok(mayfly_process_snapshot(p->process, &snap, &p->err), &p->err);
	return snap;
}

static struct program from(mayfly_snapshot *snap, const char *how, uint32_t flags)
{
	mayfly_process_options o = MAYFLY_PROCESS_OPTIONS_INIT;
	struct program p = {.out = -1};

	o.snapshot = snap;
	o.timeout_ns = AGES;
	o.flags = flags | (!strcmp(how, "dynamic") ? MAYFLY_PROCESS_SYSTEM : 0);
	assert_ok(mayfly_process_new(&o, &p.process, &p.err), &p.err);
	return p;
}

/* --- Values -------------------------------------------------------------------------------- */

static void check_values(const char *how)
{
	static const uint8_t bytes[] = {1, 0, 2, 255};
	static const uint8_t reversed[] = {255, 2, 0, 1};
	struct program p = ready(how, NULL);
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
	done(&p);
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
		struct program p = ready(ways[i], NULL);

		assert_string_equal(MUST(&p, "library").as.string.data,
				    "1 lines, the last 1.414, process 1000, time is known");
		assert_string_equal(MUST(&p, "library").as.string.data,
				    "2 lines, the last 1.414, process 1000, time is known");
		done(&p);
	}
}

static void arguments_may_be_as_large_as_the_programs_memory(void **state)
{
	static const size_t sizes[] = {1, 4000, 4080, 4081, 4096, 65536, 5 << 20};
	struct program p = ready("static", NULL);

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
	done(&p);
}

static void arguments_that_do_not_fit_are_refused(void **state)
{
	const mayfly_process_options small = {.memory = (uint64_t)16 << 20};
	struct program p = made("static", NULL, &small);
	static uint8_t data[20 << 20];

	(void)state;
	run_to_ready(&p);
	assert_code(CALL(&p, "reverse", mayfly_bytes_of(data, sizeof(data))),
		    MAYFLY_E_TOO_LARGE, &p.err);
	assert_contains(p.err.message, "memory");
	assert_usable(&p);
	done(&p);
}

static void memory_of_large_arguments_is_given_back(void **state)
{
	mayfly_process_stats before = {.size = sizeof(before)}, after = before;
	struct program p = ready("static", NULL);
	static uint8_t data[1 << 20];

	(void)state;
	for (int i = 0; i < 40; i++) {
		if (i == 4)
			assert_ok(mayfly_process_get_stats(p.process, &before, &p.err), &p.err);
		MUST(&p, "reverse", mayfly_bytes_of(data, sizeof(data)));
	}
	assert_ok(mayfly_process_get_stats(p.process, &after, &p.err), &p.err);
	assert_int_equal(before.memory, after.memory);
	done(&p);
}

static void wrong_arguments_are_refused_as_of_sandboxes(void **state)
{
	struct program p = ready("static", NULL);

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
	assert_usable(&p);
	done(&p);
}

static void functions_are_found_by_name(void **state)
{
	struct program p = ready("static", NULL);
	const mayfly_function *fn;

	(void)state;
	assert_ok(mayfly_process_function(p.process, "mix", &fn, &p.err), &p.err);
	assert_string_equal(mayfly_function_name(fn), "mix");
	assert_string_equal(mayfly_function_signature(fn), "f64(i32,f32,u32,f64,i64,u64)");
	assert_code(mayfly_process_function(p.process, "reverze", &fn, &p.err),
		    MAYFLY_E_NO_FUNCTION, &p.err);
	assert_contains(p.err.message, "reverse");
	done(&p);
}

static void a_program_without_exports_says_so(void **state)
{
	const char *const argv[] = {"/bin/true", NULL};
	mayfly_process_options o = options_for("dynamic", argv);
	const mayfly_function *fn;
	mayfly_process *process;
	mayfly_error err;

	(void)state;
	need_kvm();
	if (access(argv[0], X_OK) < 0)
		skip();
	assert_ok(mayfly_process_new(&o, &process, &err), &err);
	assert_code(mayfly_process_function(process, "main", &fn, &err), MAYFLY_E_NO_FUNCTION,
		    &err);
	mayfly_process_free(process);
}

/* --- Before, between, after ---------------------------------------------------------------- */

static void functions_are_called_while_it_is_paused_at_ready_only(void **state)
{
	struct program p = made("static", NULL, NULL);
	mayfly_process_end end = {.size = sizeof(end)};

	(void)state;
	assert_code(CALL(&p, "nothing"), MAYFLY_E_PROTOCOL, &p.err);
	assert_contains(p.err.message, "mayfly_ready()");
	assert_ok(mayfly_process_run(p.process, MAYFLY_PAUSE_MAIN, &end, &p.err), &p.err);
	assert_code(CALL(&p, "nothing"), MAYFLY_E_PROTOCOL, &p.err);
	run_to_ready(&p);
	MUST(&p, "nothing");
	run_on(&p, "total 1000, vectors kept, thread 100\n");
	assert_over(&p);
	assert_contains(p.err.message, "ended");
	done(&p);
}

static void the_program_runs_on_as_if_nothing_had_been_called(void **state)
{
	static const char *const ways[] = {"static", "musl", "dynamic"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ways); i++) {
		struct program p = ready(ways[i], NULL);

		MUST(&p, "add", mayfly_i64(23));
		MUST(&p, "add_in_thread", mayfly_i64(11));
		MUST(&p, "leave_vectors");
		MUST(&p, "leave_vectors");
		run_on(&p, "total 1023, vectors kept, thread 111\n");
		done(&p);
	}
}

static void functions_run_on_the_thread_that_is_ready(void **state)
{
	struct program p = ready("static", "thread");

	(void)state;
	MUST(&p, "add_in_thread", mayfly_i64(7));
	MUST(&p, "leave_vectors");
	run_on(&p, "total 1000, vectors kept, thread 107\n");
	done(&p);
}

static void other_threads_run_during_calls(void **state)
{
	struct program p = ready("static", "threads");
	int64_t first, second;

	(void)state;
	first = MUST(&p, "wait_for_count").as.i64;
	second = MUST(&p, "wait_for_count").as.i64;
	assert_true(second > first);
	MUST(&p, "start_counting");
	assert_true(MUST(&p, "wait_for_count").as.i64 > second);
	run_on(&p, "total 1000, vectors kept, thread 100\n");
	done(&p);
}

static void a_snapshot_after_calls_holds_what_they_left(void **state)
{
	static const char *const ways[] = {"static", "musl", "dynamic"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ways); i++) {
		struct program p = ready(ways[i], NULL), copies[2];
		mayfly_snapshot *snap;

		MUST(&p, "add", mayfly_i64(10));
		MUST(&p, "leave_vectors");
		snap = snapshot(&p);
		for (size_t c = 0; c < 2; c++)
			copies[c] = from(snap, ways[i], 0);
		assert_int_equal(MUST(&copies[0], "add", mayfly_i64(1)).as.i64, 1011);
		assert_int_equal(MUST(&copies[1], "add", mayfly_i64(2)).as.i64, 1012);
		assert_int_equal(MUST(&p, "add", mayfly_i64(3)).as.i64, 1013);
		mayfly_snapshot_unref(snap);
		done(&copies[0]);
		done(&copies[1]);
		run_on(&p, "total 1013, vectors kept, thread 100\n");
		done(&p);
	}
}

static void a_call_leaves_nothing_after_a_restore(void **state)
{
	struct program p = ready("static", NULL);
	mayfly_snapshot *snap = snapshot(&p);
	static uint8_t large[100000];
	int out[2];

	(void)state;
	done(&p);
	p = from(snap, "static", MAYFLY_PROCESS_RESTORABLE);
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
	run_on(&p, "total 1000, vectors kept, thread 100\n");
	done(&p);
	mayfly_snapshot_unref(snap);
}

/* In KVM's log the pages stay dirty. */
static void what_was_mapped_and_written_before_an_earlier_restore_does_no_harm(void **state)
{
	struct program p = ready("static", NULL);
	mayfly_snapshot *snap = snapshot(&p);
	static uint8_t large[3 << 20];

	(void)state;
	done(&p);
	p = from(snap, "static", MAYFLY_PROCESS_RESTORABLE);
	for (int i = 0; i < 12; i++) {
		assert_usable(&p);
		if (i % 4 == 0)
			MUST(&p, "reverse",
			     mayfly_bytes_of(large, sizeof(large) - (size_t)i * 100000));
		assert_ok(mayfly_process_restore(p.process, -1, -1, -1, &p.err), &p.err);
	}
	done(&p);
	mayfly_snapshot_unref(snap);
}

static void functions_of_a_saved_snapshot_can_be_called(void **state)
{
	static const char *const ways[] = {"static", "dynamic"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ways); i++) {
		struct program p = ready(ways[i], NULL);
		mayfly_snapshot *snap = snapshot(&p), *opened;
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
		done(&p);
		p = from(opened, ways[i], 0);
		assert_int_equal(MUST(&p, "add", mayfly_i64(1)).as.i64, 1001);
		/* Those of one load are not those of another. */
		assert_code(mayfly_process_call(p.process, old, VALUES(mayfly_i64(1)), 1, NULL,
						&p.err),
			    MAYFLY_E_INVALID, &p.err);
		assert_contains(p.err.message, "another guest");
		done(&p);
		mayfly_snapshot_unref(snap);
		mayfly_snapshot_unref(opened);
		temporary_remove();
	}
}

/* --- What functions do ----------------------------------------------------------------------- */

static void signals_are_handled_within_a_call(void **state)
{
	struct program p = ready("static", NULL);

	(void)state;
	assert_int_equal(MUST(&p, "raise_and_catch", mayfly_i32(10)).as.i32, 10);
	/* One from outside, while it is paused: the next call's. */
	assert_ok(mayfly_process_signal(p.process, 10, &p.err), &p.err);
	assert_int_equal(MUST(&p, "signals_caught").as.i32, 20);
	assert_int_equal(MUST(&p, "signals_caught").as.i32, 20);
	done(&p);
}

static void ready_within_a_call_returns_at_once(void **state)
{
	struct program p = ready("static", NULL);

	(void)state;
	assert_int_equal(MUST(&p, "ready_again").as.i32, 1);
	assert_int_equal(MUST(&p, "ready_again").as.i32, 1);
	run_on(&p, "total 1000, vectors kept, thread 100\n");
	done(&p);
}

static void an_exit_within_a_call_is_the_programs_end(void **state)
{
	struct program p = ready("static", NULL);

	(void)state;
	assert_code(CALL(&p, "leave", mayfly_i32(7)), MAYFLY_E_PROTOCOL, &p.err);
	assert_contains(p.err.message, "exited with status 7 before leave returned");
	assert_over(&p);
	done(&p);
}

static void a_fault_within_a_call_names_signal_and_address(void **state)
{
	struct program p = ready("static", NULL);

	(void)state;
	assert_code(CALL(&p, "crash", mayfly_u64(0x123)), MAYFLY_E_FAULT, &p.err);
	assert_contains(p.err.message, "SIGSEGV in crash");
	assert_contains(p.err.message, "0x123");
	assert_over(&p);
	done(&p);
}

static void an_abort_within_a_call_is_one(void **state)
{
	struct program p = ready("static", NULL);

	(void)state;
	assert_code(CALL(&p, "give_up"), MAYFLY_E_ABORT, &p.err);
	assert_contains(p.err.message, "SIGABRT in give_up");
	assert_over(&p);
	done(&p);
}

static void an_exhausted_stack_is_a_fault(void **state)
{
	static const char *const arguments[] = {NULL, "thread"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(arguments); i++) {
		struct program p = ready("static", arguments[i]);

		assert_code(CALL(&p, "deeper", mayfly_i64(0)), MAYFLY_E_FAULT, &p.err);
		assert_over(&p);
		done(&p);
	}
}

static void a_thread_that_ends_within_a_call_ends_the_process(void **state)
{
	static const char *const arguments[] = {"thread", "threads"};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(arguments); i++) {
		struct program p = ready("static", arguments[i]);

		assert_code(CALL(&p, "end_thread"), MAYFLY_E_PROTOCOL, &p.err);
		assert_contains(p.err.message, "end_thread");
		assert_over(&p);
		done(&p);
	}
}

static void a_jump_out_of_a_call_goes_on_in_the_program(void **state)
{
	struct program p = ready("static", NULL);
	char text[64] = "";

	(void)state;
	assert_code(CALL(&p, "jump_out"), MAYFLY_E_PROTOCOL, &p.err);
	assert_contains(p.err.message, "exited with status 5 before jump_out returned");
	assert_true(read(p.out, text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "jumped out\n");
	done(&p);
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
	struct program p = ready("static", NULL);
	mayfly_snapshot *snap = snapshot(&p);

	(void)state;
	done(&p);
	p = from(snap, "static", MAYFLY_PROCESS_RESTORABLE);
	for (size_t i = 0; i < 3 * COUNT_OF(ends); i++) {
		MUST(&p, "add", mayfly_i64(1));
		assert_code(CALL(&p, ends[i % COUNT_OF(ends)].name),
			    ends[i % COUNT_OF(ends)].code, &p.err);
		assert_ok(mayfly_process_restore(p.process, -1, -1, -1, &p.err), &p.err);
		assert_int_equal(MUST(&p, "add", mayfly_i64(1)).as.i64, 1001);
		assert_ok(mayfly_process_restore(p.process, -1, -1, -1, &p.err), &p.err);
	}
	done(&p);
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
		{"spin", {.timeout_ns = 300 * MS}, "the time limit of 0.3 s"},
		{"wait_long", {.timeout_ns = 300 * MS}, "the time limit of 0.3 s"},
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
		p = made("static", NULL, &more);
		run_to_ready(&p);
		assert_code(CALL(&p, limits[i].name), MAYFLY_E_TIMEOUT, &p.err);
		assert_contains(p.err.message, limits[i].message);
		assert_over(&p);
		done(&p);
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
	struct program p = ready("static", NULL);
	mayfly_snapshot *snap = snapshot(&p);
	pthread_t thread;

	(void)state;
	done(&p);
	p = from(snap, "static", MAYFLY_PROCESS_RESTORABLE);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(pthread_create(&thread, NULL, interrupter, p.process), 0);
		/* Before the call, if it comes early: then the process is as it was. */
		assert_code(CALL(&p, i % 2 ? "spin" : "wait_long"), MAYFLY_E_INTERRUPTED,
			    &p.err);
		pthread_join(thread, NULL);
		assert_ok(mayfly_process_restore(p.process, -1, -1, -1, &p.err), &p.err);
		assert_usable(&p);
	}
	mayfly_process_interrupt(p.process);
	assert_code(CALL(&p, "add", mayfly_i64(1)), MAYFLY_E_INTERRUPTED, &p.err);
	assert_int_equal(MUST(&p, "add", mayfly_i64(1)).as.i64, 1001);
	done(&p);
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
	struct program p = made("static", NULL, &more);

	(void)state;
	run_to_ready(&p);
	assert_string_equal(MUST(&p, "library").as.string.data, "Permission denied");
	assert_usable(&p);
	done(&p);
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
	struct program p = made("static", NULL, &more);

	(void)state;
	run_to_ready(&p);
	lines[0] = '\0';
	MUST(&p, "library");
	assert_contains(lines, "--- library is called ---");
	assert_contains(lines, "/tmp/notes");
	done(&p);
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
	struct program p = ready("static", NULL);

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
		assert_usable(&p);
	}
	done(&p);
}

static void strings_may_end_where_memory_does(void **state)
{
	struct program p = ready("static", NULL);

	(void)state;
	assert_int_equal(MUST(&p, "string_at_end", mayfly_bool(true)).as.string.len, 299);
	assert_code(CALL(&p, "string_at_end", mayfly_bool(false)), MAYFLY_E_PROTOCOL, &p.err);
	assert_int_equal(MUST(&p, "string_at_end", mayfly_bool(true)).as.string.len, 299);
	done(&p);
}

static void results_are_copied_up_to_their_limit(void **state)
{
	struct program p = ready("static", NULL);
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
	assert_usable(&p);
	done(&p);
}

static void a_string_that_changes_has_one_end(void **state)
{
	struct program p = ready("static", NULL);

	(void)state;
	for (int i = 0; i < 300; i++) {
		mayfly_value v = MUST(&p, "racing_string");

		assert_int_equal(strlen(v.as.string.data), v.as.string.len);
	}
	done(&p);
}

static void a_stack_pointer_that_is_none_is_refused(void **state)
{
	struct program p = ready("static", "wild");

	(void)state;
	assert_code(CALL(&p, "add", mayfly_i64(1)), MAYFLY_E_PROTOCOL, &p.err);
	assert_contains(p.err.message, "stack pointer");
	done(&p);
	/* An address, but of nothing. */
	p = ready("static", "unmapped");
	assert_code(CALL(&p, "join", mayfly_string("a"), mayfly_string("b")),
		    MAYFLY_E_TOO_LARGE, &p.err);
	assert_contains(p.err.message, "stack");
	/* Without arguments there, the function finds out. */
	assert_code(CALL(&p, "add", mayfly_i64(1)), MAYFLY_E_FAULT, &p.err);
	done(&p);
	p = ready("static", "unaligned");
	assert_int_equal(MUST(&p, "entry_state").as.u64, 0);
	assert_string_equal(
		MUST(&p, "join", mayfly_string("a"), mayfly_string("b")).as.string.data,
		"a, b");
	done(&p);
}

static void a_function_that_returns_twice_answers_the_call_under_way(void **state)
{
	struct program p = ready("static", NULL);

	(void)state;
	assert_int_equal(MUST(&p, "return_again", mayfly_i64(0)).as.i64, 1);
	assert_int_equal(MUST(&p, "return_again", mayfly_i64(1)).as.i64, 2);
	assert_usable(&p);
	run_on(&p, "total 1000, vectors kept, thread 100\n");
	done(&p);
}

static void the_return_is_the_gates_alone(void **state)
{
	struct program p = ready("static", NULL);
	size_t out = PROG_GATE_CALL - PROG_GATE_VA;

	(void)state;
	assert_int_equal(MUST(&p, "forge_return").as.i64, -1);
	while (program_gate_start[out] != 0xe6 || program_gate_start[out + 1] != 5)
		out++;
	assert_true(out < PROG_GATE_CALL - PROG_GATE_VA + PROG_GATE_CALL_SIZE);
	assert_code(CALL(&p, "enter_gate", mayfly_u64(PROG_GATE_VA + out)), MAYFLY_E_FAULT,
		    &p.err);
	assert_contains(p.err.message, "that was not called");
	assert_over(&p);
	done(&p);
}

static void a_program_may_unmap_its_arguments(void **state)
{
	static uint8_t large[100000];
	struct program p = ready("static", NULL);

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(
			MUST(&p, "unmap_argument", mayfly_bytes_of(large, sizeof(large)))
				.as.i32,
			0);
		assert_usable(&p);
	}
	done(&p);
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

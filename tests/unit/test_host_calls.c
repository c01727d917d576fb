/* SPDX-License-Identifier: Apache-2.0 */
/* Calls out of the guest: host functions, hostile arguments, nesting; and stopping calls. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guest_fixture.h"

static const struct fixture_name exports[] = {{"go", "i64(string)"}, {NULL, NULL}};
static const struct fixture_name imports[] = {
	{"all", "void(bool,i32,u32,i64,u64,f32,f64,string,bytes)"},
	{"text", "string(string)"},
	{"data", "bytes(bytes)"},
	{"flag", "bool()"},
	{"small", "i32()"},
	{"single", "f32()"},
	{"wide", "u64()"},
	{NULL, NULL},
};

static struct mayfly_snapshot *snap;
static mayfly_sandbox *sb;
static struct mock_vm *vm;
static mayfly_error err;
static uint64_t heap;

static int setup(void **state)
{
	(void)state;
	mock_reset();
	memset(&err, 0, sizeof(err));
	snap = fixture_load(&(struct fixture){.exports = exports, .imports = imports});
	sb = fixture_sandbox(snap, NULL);
	vm = fixture_vm(sb);
	heap = fixture_layout(snap)->heap_va;
	alarm(60);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	alarm(0);
	sandbox_free(sb);
	mayfly_snapshot_unref(snap);
	return mock_live() ? -1 : 0;
}

static int go(void)
{
	mayfly_value arg = mayfly_string("argument"), out;

	return sandbox_call(sb, fixture_function(snap, "go"), &arg, 1, &out, &err);
}

/* --- the guest's side: a request, then what it was told, then a result ------------------------ */

struct request {
	uint64_t note;
	uint64_t slots[FN_MAX_SLOTS];
};

static struct fn_call told;

static void put_request(struct mock_vm *of, void *request)
{
	const struct request *r = request;

	guest_put(of, op, FN_OP_HOSTCALL);
	guest_put(of, arg[0], r->note);
	guest_put_slots(of, r->slots);
}

static void be_told(struct mock_vm *of, void *unused)
{
	(void)unused;
	guest_read_call(of, &told);
	guest_put(of, op, FN_OP_RESULT);
}

#define REQUEST(r)                                                                             \
	{                                                                                      \
		.act = put_request, .context = (r), .exit = mock_out(FN_PORT_GATE)             \
	}
#define RETURN                                                                                 \
	{                                                                                      \
		.act = be_told, .exit = mock_out(FN_PORT_GATE)                                 \
	}

static int ask(struct request *r)
{
	const struct mock_step steps[] = {REQUEST(r), RETURN};

	mock_play(steps, 2);
	return go();
}

static struct request request(const char *name)
{
	return (struct request){fixture_import(snap, name), {0}};
}

static int add(const char *name, mayfly_host_fn fn, void *context)
{
	mayfly_host_function f = {name, NULL, fn, context};

	for (size_t i = 0; imports[i].name; i++)
		if (!strcmp(imports[i].name, name))
			f.signature = imports[i].signature;
	return sandbox_register(sb, &f, &err);
}

static void poisoned(int r, int code, const char *words)
{
	if (!strstr(err.message, words))
		print_error("%d: %s\n", r, err.message);
	assert_int_equal(r, code);
	assert_int_equal(err.code, code);
	assert_non_null(strstr(err.message, words));
	assert_true(sb->poisoned);
	assert_int_equal(sandbox_restore(sb, NULL, &err), 0);
}

/* --- arguments ------------------------------------------------------------------------------- */

static unsigned called;

static int check_all(void *context, mayfly_sandbox *of, const mayfly_value *args, size_t nargs,
		     mayfly_value *out, mayfly_error *e)
{
	(void)e;
	assert_ptr_equal(context, &called);
	assert_ptr_equal(of, sb);
	assert_int_equal(nargs, 9);
	for (size_t i = 0; i < 9; i++)
		assert_int_equal(args[i].type, MAYFLY_BOOL + i);
	assert_int_equal(args[0].as.boolean, true);
	assert_int_equal(args[1].as.i32, -2);
	assert_int_equal(args[2].as.u32, 0xfffffffe);
	assert_int_equal(args[3].as.i64, INT64_MIN);
	assert_int_equal(args[4].as.u64, UINT64_MAX);
	assert_int_equal(args[5].as.u32, 0x7fc0dead);
	assert_int_equal(args[6].as.u64, 0x8000000000000000u);
	assert_string_equal(args[7].as.string.data, "text");
	assert_int_equal(args[7].as.string.len, 4);
	assert_int_equal(args[8].as.bytes.len, 3);
	assert_memory_equal(args[8].as.bytes.data, "a\0b", 3);
	assert_int_equal(out->type, MAYFLY_VOID);
	called++;
	return 0;
}

static void arguments_of_each_type_arrive(void **state)
{
	struct request r = request("all");
	const uint64_t slots[] = {1,
				  0xdead0000fffffffe, /* what is above does not count */
				  0xdead0000fffffffe,
				  (uint64_t)INT64_MIN,
				  UINT64_MAX,
				  0xdead00007fc0dead,
				  0x8000000000000000u,
				  heap,
				  heap + 8,
				  3};

	(void)state;
	called = 0;
	memcpy(r.slots, slots, sizeof(slots));
	assert_true(mock_write(vm, heap, "text\0\0\0\0a\0b", 11));
	assert_int_equal(add("all", check_all, &called), 0);
	assert_int_equal(ask(&r), 0);
	assert_int_equal(called, 1);
	assert_int_equal(told.reply, FN_REPLY_RETURN);
	assert_int_equal(told.failed, 0);
	assert_int_equal(sb->host_calls, 1);
}

static int never(void *context, mayfly_sandbox *of, const mayfly_value *args, size_t nargs,
		 mayfly_value *out, mayfly_error *e)
{
	(void)context, (void)of, (void)args, (void)nargs, (void)out, (void)e;
	assert_true(false);
	return 0;
}

static void wild_strings_and_bytes_poison_before_the_host_function_runs(void **state)
{
	const uint64_t end = heap + fixture_layout(snap)->heap_len;
	const uint64_t bytes[][2] = {{0, 1},
				     {heap, UINT64_MAX},
				     {end - 1, 2},
				     {end, 1},
				     {UINT64_MAX, 1},
				     {FN_SUPERVISOR_VA, 4},
				     {heap, UINT64_MAX - heap + 1}};
	const uint64_t strings[] = {0, end, UINT64_MAX, FN_SUPERVISOR_VA, (uint64_t)1 << 47};

	(void)state;
	assert_int_equal(add("data", never, NULL), 0);
	assert_int_equal(add("text", never, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++) {
		struct request r = request("data");

		memcpy(r.slots, bytes[i], sizeof(bytes[i]));
		poisoned(ask(&r), MAYFLY_E_PROTOCOL, "argument 1 of host function data");
	}
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		struct request r = request("text");

		r.slots[0] = strings[i];
		poisoned(ask(&r), MAYFLY_E_PROTOCOL, "argument 1 of host function text");
	}
}

static void unknown_notes_poison(void **state)
{
	const uint64_t good = fixture_import(snap, "flag");
	const uint64_t notes[] = {0, 1, good + 1, good - 1, UINT64_MAX, FN_CALL_VA};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(notes); i++) {
		struct request r = {notes[i], {0}};

		poisoned(ask(&r), MAYFLY_E_PROTOCOL, "no import");
	}
}

/* --- results --------------------------------------------------------------------------------- */

struct answer {
	int code;
	mayfly_value value;
	const char *message;
};

static int answer(void *context, mayfly_sandbox *of, const mayfly_value *args, size_t nargs,
		  mayfly_value *out, mayfly_error *e)
{
	const struct answer *a = context;

	(void)of, (void)args, (void)nargs;
	if (a->message)
		mayfly_error_set(e, MAYFLY_E_HOST_FUNCTION, "%s", a->message);
	*out = a->value;
	return a->code;
}

static void ask_and_answer(const char *name, struct answer *a)
{
	struct request r = request(name);

	r.slots[0] = heap;
	assert_int_equal(add(name, answer, a), 0);
	assert_int_equal(ask(&r), 0);
	assert_int_equal(told.reply, FN_REPLY_RETURN);
}

static void results_of_each_type_arrive(void **state)
{
	char text[16] = {0};
	uint32_t nan = 0x7fc0dead;
	struct answer a = {.value = mayfly_bool(true)};

	(void)state;
	ask_and_answer("flag", &a);
	assert_int_equal(told.ret[0], 1);
	a.value = mayfly_i32(-3);
	ask_and_answer("small", &a);
	assert_int_equal(told.ret[0], (uint64_t)-3);
	a.value = mayfly_u64(UINT64_MAX - 1);
	ask_and_answer("wide", &a);
	assert_int_equal(told.ret[0], UINT64_MAX - 1);
	a.value = mayfly_f32(0);
	memcpy(&a.value.as.f32, &nan, sizeof(nan));
	ask_and_answer("single", &a);
	assert_int_equal(told.ret[0], nan);
	a.value = mayfly_string("an answer");
	ask_and_answer("text", &a);
	assert_true(mock_read(vm, told.ret[0], text, 10));
	assert_string_equal(text, "an answer");
	a.value = mayfly_bytes_of("\0\1\2", 3);
	ask_and_answer("data", &a);
	assert_int_equal(told.ret[1], 3);
	assert_true(mock_read(vm, told.ret[0], text, 3));
	assert_memory_equal(text, "\0\1\2", 3);
	assert_int_equal(told.failed, 0);
}

static void answers_lie_behind_the_arguments_and_do_not_pile_up(void **state)
{
	static const char data[FIXTURE_CALL_AREA - 16]; /* "argument" is in front of it */
	struct answer a = {.value = mayfly_bytes_of(data, sizeof(data))};
	struct request r = request("data");
	const struct mock_step steps[] = {REQUEST(&r), REQUEST(&r), REQUEST(&r), RETURN};
	const uint64_t argument = sb->guest->layout.area_va;
	char text[9];

	(void)state;
	assert_int_equal(add("data", answer, &a), 0);
	for (unsigned i = 0; i < 3; i++) {
		mock_play(steps, 4);
		assert_int_equal(go(), 0);
		assert_int_equal(told.failed, 0);
		assert_true(mock_read(vm, argument, text, 9));
		assert_string_equal(text, "argument");
		assert_true(told.ret[0] >= argument + 9);
		assert_int_equal(sb->area_used, 0);
	}
}

static void failures_reach_the_guest_with_their_message(void **state)
{
	static char huge[MAYFLY_ERROR_MESSAGE_SIZE * 2];
	struct answer a = {.code = MAYFLY_E_HOST_FUNCTION,
			   .message = "not today",
			   .value = mayfly_bool(true)};

	(void)state;
	ask_and_answer("flag", &a);
	assert_int_equal(told.failed, 1);
	assert_int_equal(told.ret[0] | told.ret[1], 0);
	assert_string_equal(told.error, "not today");
	a.message = NULL;
	ask_and_answer("flag", &a);
	assert_string_equal(told.error, mayfly_code_name(MAYFLY_E_HOST_FUNCTION));
	memset(huge, 'x', sizeof(huge) - 1);
	a.message = huge;
	ask_and_answer("flag", &a);
	assert_non_null(memchr(told.error, 0, sizeof(told.error)));
	assert_false(sb->poisoned);
}

static void mistakes_of_the_host_function_are_told_to_the_guest(void **state)
{
	static const char data[FIXTURE_CALL_AREA + 1];
	struct answer a = {.value = mayfly_i32(1)};

	(void)state;
	ask_and_answer("flag", &a);
	assert_non_null(strstr(told.error, "gave i32 instead of bool"));
	a.value = mayfly_bytes_of(data, sizeof(data));
	ask_and_answer("data", &a);
	assert_non_null(strstr(told.error, "call area"));
	a.value = mayfly_bytes_of(NULL, 1);
	ask_and_answer("data", &a);
	assert_non_null(strstr(told.error, "null pointer"));
	a.value = mayfly_string("x");
	a.value.as.string.data = NULL;
	ask_and_answer("text", &a);
	assert_non_null(strstr(told.error, "null pointer"));
	a.value = mayfly_string("a");
	a.value.as.string.len = 2; /* the NUL becomes part of it */
	ask_and_answer("text", &a);
	assert_non_null(strstr(told.error, "NUL"));
	assert_int_equal(told.failed, 1);
	assert_false(sb->poisoned);
}

static void missing_host_function_is_named_to_the_guest(void **state)
{
	struct request r = request("flag");

	(void)state;
	assert_int_equal(ask(&r), 0);
	assert_int_equal(told.failed, 1);
	assert_string_equal(told.error, "host function flag is not provided");
}

/* --- registration ---------------------------------------------------------------------------- */

static void registering_what_does_not_fit_is_refused(void **state)
{
	const mayfly_host_function bad[] = {
		{"flag", "i32()", never, NULL},	   {"flag", "bool(bool", never, NULL},
		{"other", "void(x)", never, NULL}, {NULL, "void()", never, NULL},
		{"flag", NULL, never, NULL},	   {"flag", "bool()", NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int r = sandbox_register(sb, &bad[i], &err);

		assert_int_equal(r, i < 3 ? MAYFLY_E_SIGNATURE : MAYFLY_E_INVALID);
		assert_int_equal(err.code, r);
	}
	assert_int_equal(sb->nfunctions, 0);
}

static void later_registration_replaces_the_earlier(void **state)
{
	struct answer a = {.value = mayfly_bool(true)};

	(void)state;
	assert_int_equal(add("flag", never, NULL), 0);
	ask_and_answer("flag", &a);
	assert_int_equal(told.ret[0], 1);
	assert_int_equal(sb->nfunctions, 1);
}

static int register_many(void *context, mayfly_sandbox *of, const mayfly_value *args,
			 size_t nargs, mayfly_value *out, mayfly_error *e)
{
	(void)context, (void)args, (void)nargs;
	for (int i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(
			sandbox_register(
				of, &(mayfly_host_function){name, "void()", never, NULL}, e),
			0);
	}
	out->as.boolean = true;
	return 0;
}

static void host_function_may_register_others(void **state)
{
	struct request r = request("flag");

	(void)state;
	assert_int_equal(add("flag", register_many, NULL), 0);
	assert_int_equal(ask(&r), 0);
	assert_int_equal(told.ret[0], 1);
	assert_int_equal(ask(&r), 0);
}

/* --- nesting --------------------------------------------------------------------------------- */

static int nested_code;
static mayfly_error nested_error;

static int call_back(void *context, mayfly_sandbox *of, const mayfly_value *args, size_t nargs,
		     mayfly_value *out, mayfly_error *e)
{
	mayfly_value arg = mayfly_string("nested"), result;
	struct mayfly_snapshot *s;

	(void)context, (void)args, (void)nargs;
	nested_code =
		sandbox_call(of, fixture_function(snap, "go"), &arg, 1, &result, &nested_error);
	assert_int_equal(sandbox_restore(of, NULL, e), MAYFLY_E_BUSY);
	assert_int_equal(sandbox_capture(of, &s, e), MAYFLY_E_BUSY);
	out->as.boolean = nested_code == 0;
	return 0;
}

static void host_function_may_call_the_guest_again(void **state)
{
	struct request r = request("flag");
	const struct mock_step steps[] = {REQUEST(&r), RETURN, RETURN};

	(void)state;
	assert_int_equal(add("flag", call_back, NULL), 0);
	mock_play(steps, 3);
	assert_int_equal(go(), 0);
	assert_int_equal(nested_code, 0);
	assert_int_equal(told.reply, FN_REPLY_RETURN);
	assert_int_equal(told.ret[0], 1);
	assert_int_equal(sb->calls, 2);
	assert_int_equal(sb->depth, 0);
	assert_int_equal(sb->area_used, 0);
}

static void nesting_ends_at_the_limit_and_calls_go_on(void **state)
{
	struct request r = request("flag");
	struct mock_step steps[2 * SANDBOX_DEFAULT_DEPTH];

	(void)state;
	for (size_t i = 0; i < SANDBOX_DEFAULT_DEPTH; i++) {
		steps[i] = (struct mock_step)REQUEST(&r);
		steps[SANDBOX_DEFAULT_DEPTH + i] = (struct mock_step)RETURN;
	}
	assert_int_equal(add("flag", call_back, NULL), 0);
	mock_play(steps, ARRAY_SIZE(steps));
	assert_int_equal(go(), 0);
	assert_int_equal(nested_error.code, MAYFLY_E_LIMIT);
	assert_int_equal(mock_left(), 0);
	assert_false(sb->poisoned);
}

static void fault_in_a_nested_call_ends_the_outer_one(void **state)
{
	struct request r = request("flag");
	const struct mock_step steps[] = {REQUEST(&r), {.exit = {.kind = HV_EXIT_SHUTDOWN}}};

	(void)state;
	assert_int_equal(add("flag", call_back, NULL), 0);
	mock_play(steps, 2);
	poisoned(go(), MAYFLY_E_FAULT, "in a call nested in host function flag");
	assert_int_equal(nested_code, MAYFLY_E_FAULT);
	assert_int_equal(sb->depth, 0);
}

/* The guest takes the string's end away while the host function calls it; the host has a copy. */
static void spoil(struct mock_vm *of, void *unused)
{
	(void)unused;
	for (uint64_t i = 0; i < PAGE_SIZE; i += 8)
		assert_true(mock_write(of, heap + i, "xxxxxxxx", 8));
	guest_put(of, op, FN_OP_RESULT);
}

static int echo(void *context, mayfly_sandbox *of, const mayfly_value *args, size_t nargs,
		mayfly_value *out, mayfly_error *e)
{
	call_back(context, of, args, nargs, out, e);
	assert_string_equal(args[0].as.string.data, "text");
	*out = args[0];
	return 0;
}

static void strings_stay_as_they_were_during_nested_calls(void **state)
{
	struct request r = request("text");
	const struct mock_step steps[] = {
		REQUEST(&r), {.act = spoil, .exit = mock_out(FN_PORT_GATE)}, RETURN};
	char text[5];

	(void)state;
	r.slots[0] = heap;
	assert_true(mock_write(vm, heap, "text", 5));
	assert_int_equal(add("text", echo, NULL), 0);
	mock_play(steps, 3);
	assert_int_equal(go(), 0);
	assert_true(mock_read(vm, told.ret[0], text, 5));
	assert_string_equal(text, "text");
}

/* --- stopping -------------------------------------------------------------------------------- */

static void interrupt_without_a_call_does_nothing(void **state)
{
	const struct mock_step step = RETURN;

	(void)state;
	assert_false(sandbox_interrupt(sb));
	mock_play(&step, 1);
	assert_int_equal(go(), 0);
	assert_false(sandbox_interrupt(sb));
	assert_int_equal(vm->kicks, 0);
}

static void *interrupt_soon(void *told_to_stop)
{
	bool *stopped = told_to_stop, waiting = false;

	/* Once the guest waits, so that it is the run that ends. */
	while (!waiting) {
		sched_yield();
		pthread_mutex_lock(&vm->lock);
		waiting = vm->waiting;
		pthread_mutex_unlock(&vm->lock);
	}
	*stopped = sandbox_interrupt(sb);
	return NULL;
}

static void interrupt_ends_the_run_and_nothing_later(void **state)
{
	const struct mock_step steps[] = {{.until_kicked = true}, RETURN, RETURN};
	bool stopped = false;
	pthread_t thread;

	(void)state;
	mock_play(steps, 3);
	assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, &stopped), 0);
	assert_int_equal(go(), MAYFLY_E_INTERRUPTED);
	pthread_join(thread, NULL);
	assert_true(stopped);
	assert_int_equal(sb->fault.kind, MAYFLY_FAULT_STOPPED);
	assert_int_equal(vm->kicks, 1);
	assert_int_equal(vm->unkicks, 1);
	assert_false(vm->kicked);
	assert_int_equal(sandbox_restore(sb, NULL, &err), 0);
	assert_int_equal(go(), 0);
	assert_int_equal(go(), 0);
}

static void kick_self(struct mock_vm *of, void *unused)
{
	(void)unused;
	assert_true(sandbox_interrupt(sb));
	assert_false(sandbox_interrupt(sb)); /* one is enough */
	guest_put(of, op, FN_OP_RESULT);
}

/* The guest was just done: the call ends well, and the kick goes no further. */
static void interrupt_that_comes_too_late_is_forgotten(void **state)
{
	const struct mock_step steps[] = {{.act = kick_self, .exit = mock_out(FN_PORT_GATE)},
					  RETURN};

	(void)state;
	mock_play(steps, 2);
	assert_int_equal(go(), 0);
	assert_false(vm->kicked);
	assert_int_equal(go(), 0);
}

static int interrupt_inside(void *context, mayfly_sandbox *of, const mayfly_value *args,
			    size_t nargs, mayfly_value *out, mayfly_error *e)
{
	(void)context, (void)args, (void)nargs, (void)out, (void)e;
	assert_true(sandbox_interrupt(of));
	return 0;
}

static void interrupt_during_a_host_function_acts_on_its_return(void **state)
{
	struct request r = request("flag");

	(void)state;
	assert_int_equal(add("flag", interrupt_inside, NULL), 0);
	poisoned(ask(&r), MAYFLY_E_INTERRUPTED, "interrupted");
	assert_int_equal(mock_left(), 1);
	assert_int_equal(vm->kicks, vm->unkicks);
}

static void time_limits_stop_a_guest_that_does_not_return(void **state)
{
	const struct mock_step step = {.until_kicked = true};

	(void)state;
	assert_int_equal(sandbox_set_limits(sb, 2000000, 0, &err), 0);
	mock_play(&step, 1);
	poisoned(go(), MAYFLY_E_TIMEOUT, "the time limit of 2.000 ms");
}

static void burn(struct mock_vm *of, void *unused)
{
	volatile uint64_t n = 0;
	bool kicked = false;

	(void)unused;
	while (!kicked) {
		for (int i = 0; i < 1000; i++)
			n++;
		pthread_mutex_lock(&of->lock);
		kicked = of->kicked;
		pthread_mutex_unlock(&of->lock);
	}
}

static void cpu_limit_stops_a_guest_that_computes(void **state)
{
	const struct mock_step step = {.act = burn, .until_kicked = true};

	(void)state;
	assert_int_equal(sandbox_set_limits(sb, 0, 3000000, &err), 0);
	mock_play(&step, 1);
	poisoned(go(), MAYFLY_E_TIMEOUT, "the CPU time limit of 3.000 ms");
}

static void poisoned_sandbox_refuses_all_but_restore(void **state)
{
	const struct mock_step steps[] = {{.exit = {.kind = HV_EXIT_SHUTDOWN}}, RETURN};
	struct mayfly_snapshot *s;

	(void)state;
	mock_play(steps, 2);
	assert_int_equal(go(), MAYFLY_E_FAULT);
	assert_int_equal(go(), MAYFLY_E_POISONED);
	assert_non_null(strstr(err.message, "triple fault"));
	assert_int_equal(sandbox_capture(sb, &s, &err), MAYFLY_E_POISONED);
	assert_false(sandbox_interrupt(sb));
	assert_int_equal(vm->runs, 1);
	assert_int_equal(sandbox_restore(sb, NULL, &err), 0);
	assert_int_equal(vm->resets, 1);
	assert_int_equal(go(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(arguments_of_each_type_arrive),
		TEST(wild_strings_and_bytes_poison_before_the_host_function_runs),
		TEST(unknown_notes_poison),
		TEST(results_of_each_type_arrive),
		TEST(answers_lie_behind_the_arguments_and_do_not_pile_up),
		TEST(failures_reach_the_guest_with_their_message),
		TEST(mistakes_of_the_host_function_are_told_to_the_guest),
		TEST(missing_host_function_is_named_to_the_guest),
		TEST(registering_what_does_not_fit_is_refused),
		TEST(later_registration_replaces_the_earlier),
		TEST(host_function_may_register_others),
		TEST(host_function_may_call_the_guest_again),
		TEST(nesting_ends_at_the_limit_and_calls_go_on),
		TEST(fault_in_a_nested_call_ends_the_outer_one),
		TEST(strings_stay_as_they_were_during_nested_calls),
		TEST(interrupt_without_a_call_does_nothing),
		TEST(interrupt_ends_the_run_and_nothing_later),
		TEST(interrupt_that_comes_too_late_is_forgotten),
		TEST(interrupt_during_a_host_function_acts_on_its_return),
		TEST(time_limits_stop_a_guest_that_does_not_return),
		TEST(cpu_limit_stops_a_guest_that_computes),
		TEST(poisoned_sandbox_refuses_all_but_restore),
	};

	return cmocka_run_group_tests_name("host_calls", tests, NULL, NULL);
}

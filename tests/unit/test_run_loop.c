/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls into the guest as the guest sees them: arguments where a compiled function looks for them,
 * results, and what follows when the guest leaves in any other way. The mock replays the guest.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <stdio.h>
#include <string.h>

#include "guest_fixture.h"

static struct mayfly_snapshot *snap;
static mayfly_sandbox *sb;
static struct mock_vm *vm;
static mayfly_error err;

/* --- what a compiled function receives ------------------------------------------------------- */

struct bytes {
	const void *data;
	size_t len;
};

static struct {
	bool boolean;
	int32_t i32;
	uint32_t u32;
	int64_t i64;
	uint64_t u64;
	float f32;
	double f64;
	const char *string;
	struct bytes bytes;
} result;

static struct {
	mayfly_type type;
	uint64_t bits;
	uint64_t len;
} received[MAYFLY_MAX_ARGS];
static size_t nreceived;

static void take(mayfly_type type, uint64_t bits, uint64_t len)
{
	received[nreceived].type = type;
	received[nreceived].bits = bits;
	received[nreceived].len = len;
	nreceived++;
}

static void take_bool(bool v)
{
	take(MAYFLY_BOOL, v, 0);
}

static void take_i32(int32_t v)
{
	take(MAYFLY_I32, (uint64_t)(int64_t)v, 0);
}

static void take_u32(uint32_t v)
{
	take(MAYFLY_U32, v, 0);
}

static void take_i64(int64_t v)
{
	take(MAYFLY_I64, (uint64_t)v, 0);
}

static void take_u64(uint64_t v)
{
	take(MAYFLY_U64, v, 0);
}

static void take_f32(float v)
{
	uint32_t bits;

	memcpy(&bits, &v, sizeof(bits));
	take(MAYFLY_F32, bits, 0);
}

static void take_f64(double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	take(MAYFLY_F64, bits, 0);
}

static void take_string(const char *v)
{
	take(MAYFLY_STRING, (uintptr_t)v, 0);
}

static void take_bytes(struct bytes v)
{
	take(MAYFLY_BYTES, (uintptr_t)v.data, v.len);
}

#define NOTHING
#define TAKE(a)                                                                                \
	_Generic((a), bool                                                                         \
		 : take_bool, int32_t                                                              \
		 : take_i32, uint32_t                                                              \
		 : take_u32, int64_t                                                               \
		 : take_i64, uint64_t                                                              \
		 : take_u64, float                                                                 \
		 : take_f32, double                                                                \
		 : take_f64, const char *                                                          \
		 : take_string, struct bytes                                                       \
		 : take_bytes)(a);

#define SIGNATURE(n, type, value, text, parameters, takes)                                     \
	static type native_##n parameters                                                      \
	{                                                                                      \
		nreceived = 0;                                                                 \
		takes return value;                                                            \
	}
#include "abi_signatures.inc"
#undef SIGNATURE

#define SIGNATURE(n, type, value, text, parameters, takes) {"f" #n, text},
static const struct fixture_name exports[] = {
#include "abi_signatures.inc"
	{"fail", "void()"}, {NULL, NULL}};
#undef SIGNATURE

#define SIGNATURE(n, type, value, text, parameters, takes) (void (*)(void)) native_##n,
static void (*const natives[])(void) = {
#include "abi_signatures.inc"
};
#undef SIGNATURE

static const struct fixture_name imports[] = {
	{"all", "void(bool,i32,u32,i64,u64,f32,f64,string,bytes)"},
	{"bool_of", "bool()"},
	{"i32_of", "i32()"},
	{"u32_of", "u32()"},
	{"u64_of", "u64()"},
	{"f32_of", "f32()"},
	{"f64_of", "f64()"},
	{"string_of", "string()"},
	{"bytes_of", "bytes(bytes)"},
	{NULL, NULL},
};

/*
 * Loads registers and stack from the call block, as the gate does, and calls: rdi the block, rsi the
 * function.
 */
void trampoline(struct fn_call *call, void (*fn)(void));
__asm__(".text\n"
	".type trampoline, @function\n"
	"trampoline:\n"
	"	pushq %rbp\n"
	"	movq %rsp, %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	movq %rdi, %rbx\n"
	"	movq %rsi, %r12\n"
	"	movzwl 14(%rbx), %ecx\n" /* nstack */
	"	testl %ecx, %ecx\n"
	"	jz 2f\n"
	"1:	pushq 1016(%rbx,%rcx,8)\n" /* stack[rcx - 1] */
	"	decq %rcx\n"
	"	jnz 1b\n"
	"2:	movq 72(%rbx), %xmm0\n"
	"	movq 80(%rbx), %xmm1\n"
	"	movq 88(%rbx), %xmm2\n"
	"	movq 96(%rbx), %xmm3\n"
	"	movq 104(%rbx), %xmm4\n"
	"	movq 112(%rbx), %xmm5\n"
	"	movq 120(%rbx), %xmm6\n"
	"	movq 128(%rbx), %xmm7\n"
	"	movq 24(%rbx), %rdi\n"
	"	movq 32(%rbx), %rsi\n"
	"	movq 40(%rbx), %rdx\n"
	"	movq 48(%rbx), %rcx\n"
	"	movq 56(%rbx), %r8\n"
	"	movq 64(%rbx), %r9\n"
	"	xorl %eax, %eax\n"
	"	call *%r12\n"
	"	movq %rax, 24(%rbx)\n"
	"	movq %rdx, 32(%rbx)\n"
	"	movq %xmm0, 40(%rbx)\n"
	"	leaq -16(%rbp), %rsp\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size trampoline, . - trampoline\n");
_Static_assert(offsetof(struct fn_call, nstack) == 14 &&
		       offsetof(struct fn_call, stack) == 1024,
	       "the trampoline knows them");

/* The step of a called function: its native twin, with what the host put into the call block. */
static void run_native(struct mock_vm *of, void *native)
{
	struct fn_call call;

	guest_read_call(of, &call);
	assert_int_equal(call.reply, FN_REPLY_CALL);
	assert_int_equal(call.nstack % 2, 0);
	assert_true(call.nstack <= FN_MAX_STACK);
	trampoline(&call, *(void (**)(void))native);
	guest_put(of, result[0], call.result[0]);
	guest_put(of, result[1], call.result[1]);
	guest_put(of, result_sse, call.result_sse);
	guest_put(of, op, FN_OP_RESULT);
}

/* --- around each test ------------------------------------------------------------------------ */

static int setup(void **state)
{
	(void)state;
	mock_reset();
	memset(&err, 0, sizeof(err));
	snap = fixture_load(&(struct fixture){.exports = exports, .imports = imports});
	sb = fixture_sandbox(snap, NULL);
	vm = fixture_vm(sb);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sandbox_free(sb);
	mayfly_snapshot_unref(snap);
	return mock_live() ? -1 : 0;
}

static int call_named(const char *name, const mayfly_value *args, size_t nargs,
		      mayfly_value *out)
{
	return sandbox_call(sb, fixture_function(snap, name), args, nargs, out, &err);
}

static int call_fail(void)
{
	return call_named("fail", NULL, 0, NULL);
}

/* One step, and the call of "fail" that runs it. */
static int call_with(void (*act)(struct mock_vm *, void *), void *context, struct hv_exit exit)
{
	struct mock_step step = {.act = act, .context = context, .exit = exit};

	mock_play(&step, 1);
	return call_fail();
}

static void poisoned(int r, int code, mayfly_fault_kind kind, const char *words)
{
	mayfly_fault fault = sb->fault;
	mayfly_error again;

	if (r != code || !strstr(err.message, words))
		print_error("%d: %s\n", r, err.message);
	assert_int_equal(r, code);
	assert_int_equal(err.code, code);
	assert_non_null(strstr(err.message, words));
	assert_true(sb->poisoned);
	assert_int_equal(fault.kind, kind);
	assert_int_equal(sb->depth, 0);
	assert_int_equal(
		sandbox_call(sb, fixture_function(snap, "fail"), NULL, 0, NULL, &again),
		MAYFLY_E_POISONED);
	assert_int_equal(sandbox_restore(sb, NULL, &again), 0);
	assert_false(sb->poisoned);
}

static void usable(int r, int code, const char *words)
{
	assert_int_equal(r, code);
	assert_int_equal(err.code, code);
	if (!strstr(err.message, words))
		print_error("%s\n", err.message);
	assert_non_null(strstr(err.message, words));
	assert_false(sb->poisoned);
}

/* --- arguments and results ------------------------------------------------------------------- */

static uint64_t seed = 0x6d6179666c79;

static uint64_t any(void)
{
	static const uint64_t extreme[] = {
		0,	    1,		INT64_MAX,  (uint64_t)INT64_MIN, UINT64_MAX,
		0x80000000, 0x7fffffff, 0xffffffff, 0x7fc0dead,		 0x7ff8dead00000001};

	seed = seed * 6364136223846793005u + 1442695040888963407u;
	if (seed >> 62 == 0)
		return extreme[(seed >> 32) % ARRAY_SIZE(extreme)];
	return seed ^ seed >> 29;
}

static mayfly_value any_value(mayfly_type type, char *text)
{
	mayfly_value v;
	uint64_t bits = any();

	memset(&v, 0, sizeof(v));
	v.type = type;
	if (type == MAYFLY_STRING) {
		snprintf(text, 64, "%llx", (unsigned long long)bits);
		return mayfly_string(text);
	}
	if (type == MAYFLY_BYTES) {
		memset(text, (int)bits, 64);
		return mayfly_bytes_of(text, bits % 65);
	}
	if (type == MAYFLY_BOOL)
		v.as.boolean = bits & 1;
	else
		v.as.u64 = bits;
	return v;
}

static void check_received(const mayfly_value *v, size_t i)
{
	char text[65] = {0};

	assert_int_equal(received[i].type, v->type);
	switch (v->type) {
	case MAYFLY_BOOL:
		assert_int_equal(received[i].bits, v->as.boolean);
		break;
	case MAYFLY_I32:
		assert_int_equal(received[i].bits, (int64_t)v->as.i32);
		break;
	case MAYFLY_U32:
	case MAYFLY_F32:
		assert_int_equal(received[i].bits, v->as.u32);
		break;
	case MAYFLY_STRING:
		assert_true(mock_read(vm, received[i].bits, text, v->as.string.len + 1));
		assert_string_equal(text, v->as.string.data);
		break;
	case MAYFLY_BYTES:
		assert_int_equal(received[i].len, v->as.bytes.len);
		assert_true(mock_read(vm, received[i].bits, text, v->as.bytes.len));
		assert_memory_equal(text, v->as.bytes.data, v->as.bytes.len);
		break;
	default:
		assert_int_equal(received[i].bits, v->as.u64);
	}
}

static void choose_results(void)
{
	uint64_t bits = any();
	uint32_t half = (uint32_t)bits;

	result.boolean = bits & 1;
	result.i32 = (int32_t)half;
	result.u32 = half;
	result.i64 = (int64_t)bits;
	result.u64 = bits;
	memcpy(&result.f32, &half, sizeof(half));
	memcpy(&result.f64, &bits, sizeof(bits));
	/* The guest's own addresses: "fixture" lies nowhere, so any readable place does. */
	result.string = (const char *)(uintptr_t)(fixture_layout(snap)->heap_va + 16);
	result.bytes = (struct bytes){
		(const void *)(uintptr_t)(fixture_layout(snap)->heap_va + 16), bits % 32};
	assert_true(
		mock_write(vm, fixture_layout(snap)->heap_va + 16, "a result\0 of bytes", 19));
}

static void check_result(const mayfly_value *v)
{
	switch (v->type) {
	case MAYFLY_VOID:
		break;
	case MAYFLY_BOOL:
		assert_int_equal(v->as.boolean, result.boolean);
		break;
	case MAYFLY_I32:
		assert_int_equal(v->as.i32, result.i32);
		break;
	case MAYFLY_U32:
		assert_int_equal(v->as.u32, result.u32);
		break;
	case MAYFLY_F32:
		assert_memory_equal(&v->as.f32, &result.f32, sizeof(float));
		break;
	case MAYFLY_F64:
		assert_memory_equal(&v->as.f64, &result.f64, sizeof(double));
		break;
	case MAYFLY_STRING:
		assert_string_equal(v->as.string.data, "a result");
		assert_int_equal(v->as.string.len, 8);
		break;
	case MAYFLY_BYTES:
		assert_int_equal(v->as.bytes.len, result.bytes.len);
		if (v->as.bytes.len >= 18)
			assert_memory_equal(v->as.bytes.data, "a result\0 of bytes", 18);
		break;
	default:
		assert_int_equal(v->as.u64, result.u64);
	}
}

static void compiled_functions_receive_and_give_what_they_should(void **state)
{
	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(natives); n++) {
		const mayfly_function *fn = fixture_function(snap, exports[n].name);

		assert_string_equal(fn->text, exports[n].signature);
		for (unsigned round = 0; round < 20; round++) {
			struct mock_step step = {.act = run_native,
						 .context = (void *)(uintptr_t)&natives[n],
						 .exit = mock_out(FN_PORT_GATE)};
			char texts[MAYFLY_MAX_ARGS][64];
			mayfly_value args[MAYFLY_MAX_ARGS], out;

			for (size_t i = 0; i < fn->sig.nargs; i++)
				args[i] = any_value((mayfly_type)fn->sig.args[i], texts[i]);
			choose_results();
			mock_play(&step, 1);
			if (sandbox_call(sb, fn, args, fn->sig.nargs, &out, &err) < 0)
				print_error("%s: %s\n", fn->text, err.message);
			assert_false(sb->poisoned);
			assert_int_equal(mock_left(), 0);
			assert_int_equal(nreceived, fn->sig.nargs);
			for (size_t i = 0; i < nreceived; i++)
				check_received(&args[i], i);
			assert_int_equal(out.type, fn->sig.result);
			check_result(&out);
		}
	}
}

static void vm_is_entered_at_the_gate_once(void **state)
{
	struct mock_step steps[2];

	(void)state;
	for (size_t i = 0; i < 2; i++)
		steps[i] = (struct mock_step){.act = run_native,
					      .context = (void *)(uintptr_t)&natives[0],
					      .exit = mock_out(FN_PORT_GATE)};
	mock_play(steps, 2);
	assert_int_equal(call_named("f0", NULL, 0, NULL), 0);
	assert_int_equal(call_named("f0", NULL, 0, NULL), 0);
	assert_int_equal(vm->runs, 2);
	assert_int_equal(vm->nsets, 1);
	assert_memory_equal(
		&vm->sets[0],
		(&(struct cpu_regs){.rip = FN_GATE_ENTER, .rflags = CPU_RFLAGS_START}),
		sizeof(struct cpu_regs));
}

static void wrong_number_and_types_never_reach_the_guest(void **state)
{
	const mayfly_value args[] = {mayfly_i64(1), mayfly_i64(2)};

	(void)state;
	usable(call_named("f4", args, 0, NULL), MAYFLY_E_SIGNATURE,
	       "f4 takes 1 argument, 0 given");
	usable(call_named("f4", args, 2, NULL), MAYFLY_E_SIGNATURE, "i64(i64)");
	usable(call_named("f5", args, 1, NULL), MAYFLY_E_SIGNATURE,
	       "argument 1 of f5 is u64, i64 given");
	assert_int_equal(vm->runs, 0);
}

static void null_pointers_and_inner_nuls_are_refused(void **state)
{
	mayfly_value v = {.type = MAYFLY_STRING};

	(void)state;
	usable(call_named("f8", &v, 1, NULL), MAYFLY_E_INVALID, "null");
	v = mayfly_bytes_of(NULL, 1);
	usable(call_named("f9", &v, 1, NULL), MAYFLY_E_INVALID, "null");
	v.type = MAYFLY_STRING;
	v.as.string.data = "a\0b";
	v.as.string.len = 3;
	usable(call_named("f8", &v, 1, NULL), MAYFLY_E_SIGNATURE, "NUL");
	assert_int_equal(vm->runs, 0);
}

static void function_of_another_guest_is_refused(void **state)
{
	struct mayfly_snapshot *other = fixture_simple();

	(void)state;
	usable(sandbox_call(sb, fixture_function(other, "nothing"), NULL, 0, NULL, &err),
	       MAYFLY_E_INVALID, "another guest");
	mayfly_snapshot_unref(other);
}

static void arguments_may_fill_the_call_area_and_no_more(void **state)
{
	static uint8_t data[FIXTURE_CALL_AREA + 1];
	struct mock_step step = {.act = run_native,
				 .context = (void *)(uintptr_t)&natives[9],
				 .exit = mock_out(FN_PORT_GATE)};
	mayfly_value v = mayfly_bytes_of(data, sizeof(data));

	(void)state;
	choose_results();
	usable(call_named("f9", &v, 1, NULL), MAYFLY_E_TOO_LARGE, "argument 1 of f9");
	assert_int_equal(sb->area_used, 0);
	memset(data, 0x77, sizeof(data));
	v.as.bytes.len = FIXTURE_CALL_AREA;
	mock_play(&step, 1);
	assert_int_equal(call_named("f9", &v, 1, NULL), 0);
	assert_int_equal(received[0].len, FIXTURE_CALL_AREA);
	assert_int_equal(sb->area_used, 0);
	/* A string needs its NUL, too. */
	v = mayfly_bytes_of(data, FIXTURE_CALL_AREA);
	v.type = MAYFLY_STRING;
	usable(call_named("f8", &v, 1, NULL), MAYFLY_E_TOO_LARGE, "call area");
}

/* --- hostile results ------------------------------------------------------------------------- */

struct pair {
	uint64_t va, len;
};

static void give_pair(struct mock_vm *of, void *pair)
{
	guest_put(of, result[0], ((struct pair *)pair)->va);
	guest_put(of, result[1], ((struct pair *)pair)->len);
	guest_put(of, op, FN_OP_RESULT);
}

static int give(const char *name, uint64_t va, uint64_t len, mayfly_value *out)
{
	struct pair pair = {va, len};
	struct mock_step step = {
		.act = give_pair, .context = &pair, .exit = mock_out(FN_PORT_GATE)};
	static const char text[] = "x";
	mayfly_value arg = !strcmp(name, "f8") ? mayfly_string(text) : mayfly_bytes_of(text, 1);

	mock_play(&step, 1);
	return call_named(name, &arg, 1, out);
}

static void wild_results_poison(void **state)
{
	const struct layout *l = fixture_layout(snap);
	uint64_t heap_end = l->heap_va + l->heap_len;
	const struct pair wild[] = {
		{0, 1},
		{8, 8},
		{l->heap_va, l->heap_len + 1},
		{heap_end - 1, 2},
		{heap_end, 1},
		{l->heap_va, UINT64_MAX},
		{l->heap_va, UINT64_MAX - l->heap_va + 1},
		{UINT64_MAX, 1},
		{UINT64_MAX, 2},
		{FN_SUPERVISOR_VA, 1},
		{(uint64_t)1 << 63, 16},
		{l->stack_va - 1, 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
		mayfly_value out = {.type = MAYFLY_BYTES, .as.u64 = 77};

		poisoned(give("f9", wild[i].va, wild[i].len, &out), MAYFLY_E_PROTOCOL,
			 MAYFLY_FAULT_PROTOCOL, "f9 gave");
		assert_int_equal(out.as.u64, 77);
		if (wild[i].va == l->heap_va || wild[i].va == heap_end - 1)
			continue;
		poisoned(give("f8", wild[i].va, 0, &out), MAYFLY_E_PROTOCOL,
			 MAYFLY_FAULT_PROTOCOL, "not readable");
	}
}

static void string_result_without_end_poisons(void **state)
{
	const struct layout *l = fixture_layout(snap);
	mayfly_value out;

	(void)state;
	for (uint64_t at = 0; at < l->heap_len; at += 4)
		assert_true(mock_write(vm, l->heap_va + at, "xxxx", 4));
	poisoned(give("f8", l->heap_va, 0, &out), MAYFLY_E_PROTOCOL, MAYFLY_FAULT_PROTOCOL,
		 "does not end");
	for (uint64_t at = 0; at < 64; at += 4)
		assert_true(mock_write(vm, l->heap_va + l->heap_len - 64 + at, "xxxx", 4));
	poisoned(give("f8", l->heap_va + l->heap_len - 64, 0, &out), MAYFLY_E_PROTOCOL,
		 MAYFLY_FAULT_PROTOCOL, "does not end");
}

static void empty_bytes_may_be_anywhere(void **state)
{
	mayfly_value out;

	(void)state;
	assert_int_equal(give("f9", UINT64_MAX, 0, &out), 0);
	assert_int_equal(out.as.bytes.len, 0);
	assert_non_null(out.as.bytes.data);
	assert_int_equal(give("f9", 0, 0, &out), 0);
}

/* --- other ways out -------------------------------------------------------------------------- */

static void exits_of_other_kinds_poison(void **state)
{
	const struct {
		struct hv_exit exit;
		const char *words;
	} cases[] = {
		{{.kind = HV_EXIT_IO, .io = {0x3f8, 1, true, 1, NULL}}, "port 0x3f8"},
		{{.kind = HV_EXIT_IO, .io = {FN_PORT_GATE, 1, false, 1, NULL}}, "port 0x10"},
		{{.kind = HV_EXIT_IO,
		  .io = {FN_PORT_EXCEPTION + CPU_VECTORS, 1, true, 1, NULL}},
		 "port 0x60"},
		{{.kind = HV_EXIT_MMIO, .mmio = {0xdeadbeef000, 4, true, NULL}},
		 "0xdeadbeef000"},
		{{.kind = HV_EXIT_HALT}, "HLT"},
		{{.kind = HV_EXIT_SHUTDOWN}, "triple fault"},
		{{.kind = HV_EXIT_INTERNAL, .internal = {3}}, "suberror 3"},
		{{.kind = HV_EXIT_UNKNOWN, .unknown = {4711}}, "4711"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		poisoned(call_with(NULL, NULL, cases[i].exit), MAYFLY_E_FAULT,
			 MAYFLY_FAULT_HYPERVISOR, cases[i].words);
	assert_int_equal(vm->resets, ARRAY_SIZE(cases));
}

static void failure_of_the_hypervisor_poisons(void **state)
{
	struct mock_step step = {.failure = MAYFLY_E_HYPERVISOR};

	(void)state;
	mock_play(&step, 1);
	poisoned(call_fail(), MAYFLY_E_HYPERVISOR, MAYFLY_FAULT_HYPERVISOR, "the run fails");
	mock_fail(MOCK_VCPU_RUN, 1, MAYFLY_E_HYPERVISOR);
	assert_int_equal(sandbox_call(sb, fixture_function(snap, "fail"), NULL, 0, NULL, NULL),
			 MAYFLY_E_HYPERVISOR);
	assert_true(sb->poisoned);
}

static void put_op(struct mock_vm *of, void *op_is)
{
	guest_put(of, op, *(uint32_t *)op_is);
}

static void unknown_requests_poison(void **state)
{
	static const uint32_t ops[] = {FN_OP_READY, 7, 8, 255, 0x10001, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		poisoned(call_with(put_op, (void *)(uintptr_t)&ops[i], mock_out(FN_PORT_GATE)),
			 MAYFLY_E_PROTOCOL, MAYFLY_FAULT_PROTOCOL, "unknown request");
}

static void system_call_is_named_as_such(void **state)
{
	uint32_t op = FN_OP_SYSCALL;

	(void)state;
	poisoned(call_with(put_op, &op, mock_out(FN_PORT_GATE)), MAYFLY_E_PROTOCOL,
		 MAYFLY_FAULT_PROTOCOL, "SYSCALL");
}

struct request {
	uint32_t op;
	uint64_t arg[4];
	uint64_t slots[FN_MAX_SLOTS];
};

static void put_request(struct mock_vm *of, void *request)
{
	const struct request *r = request;

	guest_put(of, op, r->op);
	for (size_t i = 0; i < 4; i++)
		guest_put(of, arg[i], r->arg[i]);
	if (r->op == FN_OP_HOSTCALL)
		guest_put_slots(of, r->slots);
}

/* The request, then, if the guest gets that far, what it was told, then a result. */
static struct fn_call told;

static void be_told(struct mock_vm *of, void *unused)
{
	(void)unused;
	guest_read_call(of, &told);
	guest_put(of, op, FN_OP_RESULT);
}

static int ask(struct request *request)
{
	const struct mock_step steps[] = {
		{.act = put_request, .context = request, .exit = mock_out(FN_PORT_GATE)},
		{.act = be_told, .exit = mock_out(FN_PORT_GATE)},
	};

	mock_play(steps, 2);
	return call_fail();
}

static void abort_brings_code_and_message(void **state)
{
	const uint64_t heap = fixture_layout(snap)->heap_va;
	struct request r = {FN_OP_ABORT, {(uint32_t)-7, heap, 11, 0}, {0}};

	(void)state;
	assert_true(mock_write(vm, heap, "out of luck", 11));
	poisoned(ask(&r), MAYFLY_E_ABORT, MAYFLY_FAULT_ABORT, "code -7: out of luck");
	assert_int_equal(sb->fault.abort_code, -7);
}

static void abort_with_a_wild_message_is_still_an_abort(void **state)
{
	const struct layout *l = fixture_layout(snap);
	const struct pair wild[] = {{0, 5},
				    {UINT64_MAX, UINT64_MAX},
				    {l->heap_va, UINT64_MAX},
				    {l->heap_va + l->heap_len - 1, 100},
				    {FN_SUPERVISOR_VA, 10}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
		struct request r = {FN_OP_ABORT, {3, wild[i].va, wild[i].len, 0}, {0}};

		poisoned(ask(&r), MAYFLY_E_ABORT, MAYFLY_FAULT_ABORT, "code 3");
	}
}

static char printed[64];

static void print(void *context, const char *text, size_t len)
{
	assert_ptr_equal(context, printed);
	snprintf(printed, sizeof(printed), "%.*s", (int)len, text);
}

static void printing_is_denied_unless_asked_for(void **state)
{
	const uint64_t heap = fixture_layout(snap)->heap_va;
	struct request r = {FN_OP_PRINT, {heap, 5, 0, 0}, {0}};

	(void)state;
	assert_true(mock_write(vm, heap, "hello", 5));
	assert_int_equal(ask(&r), 0);
	assert_int_equal(told.ret[0], 0);
	assert_int_equal(told.reply, FN_REPLY_RETURN);
	sb->print = print;
	sb->print_context = printed;
	assert_int_equal(ask(&r), 0);
	assert_int_equal(told.ret[0], 1);
	assert_string_equal(printed, "hello");
}

static void printing_what_is_not_readable_poisons(void **state)
{
	struct request r = {FN_OP_PRINT, {0, 5, 0, 0}, {0}};

	(void)state;
	sb->print = print;
	poisoned(ask(&r), MAYFLY_E_PROTOCOL, MAYFLY_FAULT_PROTOCOL, "printed");
	r.arg[0] = fixture_layout(snap)->heap_va;
	r.arg[1] = UINT64_MAX;
	poisoned(ask(&r), MAYFLY_E_PROTOCOL, MAYFLY_FAULT_PROTOCOL, "printed");
}

static void randomness_is_given_up_to_its_limit(void **state)
{
	struct request r = {FN_OP_RANDOM, {FN_MAX_RANDOM, 0, 0, 0}, {0}};
	uint8_t zero[32] = {0};

	(void)state;
	assert_int_equal(ask(&r), 0);
	assert_memory_not_equal((uint8_t *)told.stack + FN_MAX_RANDOM - 32, zero, 32);
	assert_memory_equal((uint8_t *)told.stack + FN_MAX_RANDOM, zero, 32);
	r.arg[0]++;
	poisoned(ask(&r), MAYFLY_E_PROTOCOL, MAYFLY_FAULT_PROTOCOL, "random");
	r.arg[0] = UINT64_MAX;
	poisoned(ask(&r), MAYFLY_E_PROTOCOL, MAYFLY_FAULT_PROTOCOL, "random");
}

/* --- exceptions ------------------------------------------------------------------------------ */

struct exception {
	uint64_t frame[6]; /* error code, rip, cs, rflags, rsp, ss */
	uint64_t cr2;
	uint64_t rsp; /* 0: where the frame is */
};

static void push_frame(struct mock_vm *of, void *exception)
{
	const struct exception *e = exception;
	uint64_t at = fixture_layout(snap)->kernel_stack_top - sizeof(e->frame);

	assert_true(mock_write_ring0(of, at, e->frame, sizeof(e->frame)));
	of->regs.rsp = e->rsp ? e->rsp : at;
	of->control.cr2 = e->cr2;
}

static void page_fault_tells_where_and_what(void **state)
{
	uint64_t text = fixture_function(snap, "f1")->va;
	struct exception e = {
		{4 | 2, text + 3, CPU_SEL_USER_CS, 0x202, 0x1fe000, CPU_SEL_USER_SS}, 0x18, 0};

	(void)state;
	poisoned(call_with(push_frame, &e, mock_out(FN_PORT_EXCEPTION + 14)), MAYFLY_E_FAULT,
		 MAYFLY_FAULT_EXCEPTION, "(f1+0x3): cannot write 0x18, a null pointer");
	assert_int_equal(sb->fault_regs.rip, text + 3);
	assert_int_equal(sb->fault_regs.rsp, 0x1fe000);
}

static void fault_below_the_stack_is_an_overflow(void **state)
{
	uint64_t low = fixture_layout(snap)->stack_va;
	struct exception e = {
		{4 | 2, 0x202000, CPU_SEL_USER_CS, 0x202, low - 8, CPU_SEL_USER_SS},
		low - 8,
		0};

	(void)state;
	poisoned(call_with(push_frame, &e, mock_out(FN_PORT_EXCEPTION + 14)), MAYFLY_E_FAULT,
		 MAYFLY_FAULT_STACK_OVERFLOW, "stack overflow");
}

static void every_vector_has_its_words_even_with_a_wild_stack(void **state)
{
	static const uint64_t stacks[] = {
		0, 1, FN_SUPERVISOR_VA, UINT64_MAX, UINT64_MAX - 7, 0x1ff000 - 4};

	(void)state;
	for (unsigned v = 0; v < CPU_VECTORS; v++) {
		struct exception e = {{0, UINT64_MAX - v, 0, 0, 0, 0}, UINT64_MAX, 0};

		e.rsp = stacks[v % ARRAY_SIZE(stacks)];
		assert_int_equal(
			call_with(push_frame, &e, mock_out((uint16_t)(FN_PORT_EXCEPTION + v))),
			MAYFLY_E_FAULT);
		assert_int_equal(sb->fault.vector, v);
		assert_non_null(
			strstr(err.message, v == 14 ? "page fault" : cpu_vector_name(v)));
		assert_int_equal(sandbox_restore(sb, NULL, &err), 0);
	}
}

static void exception_whose_registers_are_unknown_is_the_hypervisor_s(void **state)
{
	static const enum mock_op ops[] = {MOCK_VCPU_GET_REGS, MOCK_VCPU_GET_CONTROL};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		mock_fail(ops[i], 1, MAYFLY_E_HYPERVISOR);
		poisoned(call_with(NULL, NULL, mock_out(FN_PORT_EXCEPTION + 6)),
			 MAYFLY_E_HYPERVISOR, MAYFLY_FAULT_HYPERVISOR, "told to fail");
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(compiled_functions_receive_and_give_what_they_should),
		TEST(vm_is_entered_at_the_gate_once),
		TEST(wrong_number_and_types_never_reach_the_guest),
		TEST(null_pointers_and_inner_nuls_are_refused),
		TEST(function_of_another_guest_is_refused),
		TEST(arguments_may_fill_the_call_area_and_no_more),
		TEST(wild_results_poison),
		TEST(string_result_without_end_poisons),
		TEST(empty_bytes_may_be_anywhere),
		TEST(exits_of_other_kinds_poison),
		TEST(failure_of_the_hypervisor_poisons),
		TEST(unknown_requests_poison),
		TEST(system_call_is_named_as_such),
		TEST(abort_brings_code_and_message),
		TEST(abort_with_a_wild_message_is_still_an_abort),
		TEST(printing_is_denied_unless_asked_for),
		TEST(printing_what_is_not_readable_poisons),
		TEST(randomness_is_given_up_to_its_limit),
		TEST(page_fault_tells_where_and_what),
		TEST(fault_below_the_stack_is_an_overflow),
		TEST(every_vector_has_its_words_even_with_a_wild_stack),
		TEST(exception_whose_registers_are_unknown_is_the_hypervisor_s),
	};

	return cmocka_run_group_tests_name("run_loop", tests, NULL, NULL);
}

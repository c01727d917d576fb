/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest at the run loop: each run of the mock takes the next few bytes of the input as what the
 * guest wrote, by the rights of its page tables, and how it left. Host functions of every type are there; they
 * look at every byte they are given, call back, fail, register others, interrupt. Under hot dispatch the
 * guest runs on a thread of its own and uses the mailbox, rightly or wrongly.
 *
 * The first byte says how the sandbox is used; then commands follow, see guest_acts().
 */
#include <sched.h>
#include <string.h>

#include "fuzz.h"
#include "guest_fixture.h"

#define MAX_RUNS 200
#define MAX_CALLS 6
#define MEMORY (128 << 10)
/* How often a guest that waits for its turn looks, before it leaves. */
#define LOOKS 300

static const uint8_t *input;
static size_t left;
static unsigned runs;
static volatile uint8_t sink;

static uint64_t take(size_t bytes)
{
	uint64_t v = 0;

	if (bytes > left)
		bytes = left;
	for (size_t i = 0; i < bytes; i++)
		v |= (uint64_t)input[i] << (8 * i);
	input += bytes;
	left -= bytes;
	return v;
}

/* --- the guest's side ------------------------------------------------------------------------ */

/* An address that is worth something, or any. */
static uint64_t take_address(mayfly_sandbox *sb)
{
	const struct gmem_map *map = &sb->inst.guest->map;
	uint64_t choice = take(1);
	const struct gmem_region *r = &map->regions[choice % map->count];

	if (choice >= 0xc0)
		return take(8);
	if (choice >= 0x80)
		return r->va + r->len - take(1);
	return r->va + take(2);
}

static void write_word(struct mock_vm *vm, size_t offset, uint64_t v)
{
	guest_put_at(vm, offset, &v, sizeof(v));
}

static const size_t words[] = {
	offsetof(struct fn_call, result[0]),  offsetof(struct fn_call, result[1]),
	offsetof(struct fn_call, result_sse), offsetof(struct fn_call, arg[0]),
	offsetof(struct fn_call, arg[1]),     offsetof(struct fn_call, arg[2]),
	offsetof(struct fn_call, arg[3]),     offsetof(struct fn_call, arg[4]),
	offsetof(struct fn_call, nstack),     offsetof(struct fn_call, op),
	offsetof(struct fn_call, slots[0]),   offsetof(struct fn_call, slots[1]),
	offsetof(struct fn_call, slots[2]),   offsetof(struct fn_call, slots[3]),
	offsetof(struct fn_call, slots[4]),   offsetof(struct fn_call, arg[5]),
};

/* A sensible request in one go, so that the fuzzer does not have to find it by itself. */
static void host_call(struct mock_vm *vm, mayfly_sandbox *sb)
{
	const struct manifest *m = &sb->guest->manifest;

	guest_put(vm, op, FN_OP_HOSTCALL);
	guest_put(vm, arg[0], m->imports[take(1) % m->nimports].note_va);
}

static void take_exit(struct hv_exit *exit)
{
	exit->kind = (enum hv_exit_kind)(take(1) % (HV_EXIT_UNKNOWN + 1));
	/* Kicks come by hv_vcpu_kick() only: that is the backend's promise. */
	if (exit->kind == HV_EXIT_KICKED)
		exit->kind = HV_EXIT_IO;
	exit->io.port = (uint16_t)take(2);
	exit->io.size = (uint8_t)take(1);
	exit->io.out = take(1) & 1;
	exit->io.count = (uint32_t)take(1);
}

static void raise_exception(struct mock_vm *vm, struct hv_exit *exit)
{
	uint64_t frame[6];

	for (size_t i = 0; i < 6; i++)
		frame[i] = take(3);
	vm->regs.rsp = take(1) & 1 ? FN_SUPERVISOR_VA + 3 * PAGE_SIZE - sizeof(frame) : take(8);
	vm->regs.rip = take(8);
	vm->control.cr2 = take(8);
	mock_write_ring0(vm, vm->regs.rsp, frame, sizeof(frame));
	*exit = mock_out((uint16_t)(FN_PORT_EXCEPTION + take(1) % 40));
}

static uint32_t *word_of(mayfly_sandbox *sb, size_t offset)
{
	return (uint32_t *)(void *)((char *)sb->call + offset);
}

/*
 * The host's turn, by the mailbox: `answer` as it is to be, or not. Input is left alone until it is the
 * guest's again. False: the guest leaves, by *exit.
 */
static bool wait_for_turn(struct mock_vm *vm, mayfly_sandbox *sb, uint32_t wrong,
			  struct hv_exit *exit)
{
	uint32_t *turn = word_of(sb, offsetof(struct fn_call, turn));
	uint32_t seen = __atomic_load_n(turn, __ATOMIC_SEQ_CST), gone = seen | FN_TURN_LEFT;

	__atomic_store_n(word_of(sb, offsetof(struct fn_call, answer)), seen + wrong,
			 __ATOMIC_SEQ_CST);
	for (int i = 0; i < LOOKS && !mock_is_kicked(vm); i++) {
		if (__atomic_load_n(turn, __ATOMIC_SEQ_CST) != seen)
			return true;
		sched_yield();
	}
	if (mock_is_kicked(vm)) {
		exit->kind = HV_EXIT_KICKED;
		return false;
	}
	if (!__atomic_compare_exchange_n(turn, &seen, gone, false, __ATOMIC_SEQ_CST,
					 __ATOMIC_SEQ_CST))
		return true;
	*exit = mock_out(FN_PORT_GATE);
	return false;
}

/* False: the guest leaves. */
static bool use_mailbox(struct mock_vm *vm, mayfly_sandbox *sb, uint64_t command,
			struct hv_exit *exit)
{
	uint32_t wrong = 0;

	switch (command) {
	case 0:
	case 1:
		guest_put(vm, op, FN_OP_RESULT);
		break;
	case 2:
		host_call(vm, sb);
		break;
	case 3:
		guest_put(vm, op, (uint32_t)take(1) % 9);
		break;
	default:
		wrong = (uint32_t)take(1);
		if (wrong & 1)
			__atomic_add_fetch(word_of(sb, offsetof(struct fn_call, turn)),
					   wrong / 2, __ATOMIC_SEQ_CST);
	}
	return wait_for_turn(vm, sb, wrong, exit);
}

/* One run: commands until one says how the guest leaves. */
static int guest_acts(struct mock_vm *vm, void *context, struct hv_exit *exit)
{
	mayfly_sandbox *sb = *(mayfly_sandbox **)context;
	uint8_t bytes[16];

	while (left && ++runs < MAX_RUNS) {
		uint64_t command = take(1);

		if (sb->is_hot && command >= 200 && command < 240) {
			if (!use_mailbox(vm, sb, command % 5, exit))
				return 0;
			continue;
		}
		switch (command % 10) {
		case 0:
			write_word(vm, words[take(1) % ARRAY_SIZE(words)], take(1));
			break;
		case 1:
			write_word(vm, words[take(1) % ARRAY_SIZE(words)], take_address(sb));
			break;
		case 2:
			write_word(vm, take(2) % (PAGE_SIZE - 7), take(8));
			break;
		case 3:
			for (size_t i = 0; i < sizeof(bytes); i++)
				bytes[i] = (uint8_t)take(1);
			mock_write(vm, take_address(sb), bytes, sizeof(bytes));
			break;
		case 4:
			guest_put(vm, op, (uint32_t)take(1) % 9);
			*exit = mock_out(FN_PORT_GATE);
			return 0;
		case 5:
			host_call(vm, sb);
			*exit = mock_out(FN_PORT_GATE);
			return 0;
		case 6:
			guest_put(vm, op, FN_OP_RESULT);
			*exit = mock_out(FN_PORT_GATE);
			return 0;
		case 7:
			take_exit(exit);
			return 0;
		case 8:
			raise_exception(vm, exit);
			return 0;
		default:
			if (command < 240)
				break;
			return MAYFLY_E_HYPERVISOR;
		}
	}
	guest_put(vm, op, FN_OP_RESULT);
	*exit = mock_out(FN_PORT_GATE);
	return runs < 2 * MAX_RUNS ? 0 : MAYFLY_E_HYPERVISOR;
}

/* --- the host's side ------------------------------------------------------------------------- */

static void touch(const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		sink ^= p[i];
}

static void touch_value(const mayfly_value *v)
{
	if (v->type == MAYFLY_STRING) {
		CHECK(strlen(v->as.string.data) == v->as.string.len);
		touch(v->as.string.data, v->as.string.len + 1);
	} else if (v->type == MAYFLY_BYTES) {
		CHECK(v->as.bytes.data);
		touch(v->as.bytes.data, v->as.bytes.len);
	}
}

static void print(void *context, const char *text, size_t len)
{
	(void)context;
	touch(text, len);
}

static const struct fixture_name exports[] = {
	{"r_void", "void()"},
	{"r_bool", "bool()"},
	{"r_i32", "i32()"},
	{"r_u32", "u32()"},
	{"r_i64", "i64()"},
	{"r_u64", "u64()"},
	{"r_f32", "f32()"},
	{"r_f64", "f64()"},
	{"r_string", "string()"},
	{"r_bytes", "bytes()"},
	{"take", "bytes(string,bytes,i32,f64)"},
	{NULL, NULL},
};

static const struct fixture_name imports[] = {
	{"h_void", "void(i64)"},
	{"h_small", "bool(bool,i32,u32,f32)"},
	{"h_wide", "i64(i64,u64,f64)"},
	{"h_string", "string(string)"},
	{"h_bytes", "bytes(bytes)"},
	{"h_mixed", "u32(bytes,string,bytes,i32)"},
	{"h_many",
	 "f64(bytes,bytes,bytes,bytes,bytes,bytes,bytes,bytes,bytes,bytes,bytes,bytes,"
	 "bytes,bytes,bytes,bytes)"},
	{"h_missing", "f32(i64)"},
	{NULL, NULL},
};

static int call(mayfly_sandbox *sb, mayfly_error *err)
{
	const struct manifest *m = &sb->guest->manifest;
	const mayfly_function *fn = &m->exports[take(1) % m->nexports];
	char bytes[300];
	mayfly_value args[4] = {mayfly_string("argument"), mayfly_bytes_of(bytes, take(1)),
				mayfly_i32(-1), mayfly_f64(0.5)};
	mayfly_value result;
	int r;

	memset(bytes, 'b', sizeof(bytes));
	r = sandbox_call(sb, fn, args, fn->sig.nargs, &result, err);
	CHECK(r <= 0);
	if (r == 0) {
		CHECK((uint8_t)result.type == fn->sig.result);
		touch_value(&result);
		CHECK(!sb->poisoned);
	} else {
		CHECK(err->code == r && err->message[0]);
		fuzz_check_text(err->message);
	}
	return r;
}

/* Results are what the guest has written, or not, in their place: any bits. */
static int call_many(mayfly_sandbox *sb, mayfly_error *err)
{
	const struct manifest *m = &sb->guest->manifest;
	const mayfly_function *fn = &m->exports[take(1) % m->nexports];
	mayfly_value args[3][4], results[3];
	mayfly_batch batch = MAYFLY_BATCH_INIT;
	int r;

	for (int i = 0; i < 3; i++) {
		args[i][0] = mayfly_string("argument");
		args[i][1] = mayfly_bytes_of("bytes", 5);
		args[i][2] = mayfly_i32(-1);
		args[i][3] = mayfly_f64(0.5);
	}
	batch.args = args[0];
	batch.nargs = fn->sig.nargs;
	batch.count = 3;
	batch.results = results;
	r = sandbox_call_many(sb, fn, &batch, err);
	CHECK(r <= 0 && batch.done <= 3 && (r < 0 || batch.done == 3));
	for (size_t i = 0; i < batch.done; i++)
		CHECK((uint8_t)results[i].type == fn->sig.result);
	return r;
}

static int host_function(void *context, mayfly_sandbox *sb, const mayfly_value *args,
			 size_t nargs, mayfly_value *result, mayfly_error *err)
{
	const mayfly_host_function *self = context;
	uint64_t mood = take(1);
	struct mayfly_snapshot *snap;

	for (size_t i = 0; i < nargs; i++)
		touch_value(&args[i]);
	CHECK(sandbox_restore(sb, NULL, err) == MAYFLY_E_BUSY);
	CHECK(sandbox_capture(sb, &snap, err) == MAYFLY_E_BUSY);
	if (mood & 1) {
		mayfly_error inner = {.code = 0};

		if (mood & 64)
			call_many(sb, &inner);
		else
			call(sb, &inner);
	}
	if ((mood & 6) == 6)
		sandbox_interrupt(sb);
	if (mood & 8)
		CHECK(sandbox_register(sb, self, err) == 0);
	if (mood & 16)
		return mayfly_error_set(err, MAYFLY_E_HOST_FUNCTION, "%s\n", "no");
	if (mood & 32)
		return MAYFLY_E_HOST_FUNCTION;
	/* Strings were copied; bytes stay readable, also when the guest has run meanwhile. */
	for (size_t i = 0; i < nargs; i++)
		touch_value(&args[i]);
	if (result->type == MAYFLY_STRING)
		*result = args[0];
	else if (result->type == MAYFLY_BYTES)
		*result = args[0];
	else if (result->type != MAYFLY_VOID)
		result->as.u64 = mood;
	if (result->type == MAYFLY_BOOL)
		result->as.boolean = mood & 64;
	if (mood == 128)
		result->type = MAYFLY_VOID;
	return 0;
}

/* --- a life ---------------------------------------------------------------------------------- */

static bool is_fixed(const mayfly_sandbox *sb, uint64_t page)
{
	const struct guest *g = sb->inst.guest;

	return page * PAGE_SIZE < g->tables_len || page == g->state_page ||
	       page == sb->guest->layout.call_gpa / PAGE_SIZE;
}

/* No byte of what a call left is there. */
static void check_restored(mayfly_sandbox *sb)
{
	const struct mayfly_snapshot *snap = sb->inst.snap;

	CHECK(!sb->poisoned && sb->depth == 0 && sb->area_used == 0);
	CHECK(memcmp(sb->inst.gm.private_mem, sb->inst.guest->tables,
		     sb->inst.guest->tables_len) == 0);
	for (uint64_t page = 0; page < sb->inst.guest->map.private_len / PAGE_SIZE; page++) {
		const uint8_t *is = sb->inst.gm.private_mem + page * PAGE_SIZE;

		if (is_fixed(sb, page))
			continue;
		if (bitmap_test(snap->present, page))
			CHECK(memcmp(is, snap->image + page * PAGE_SIZE, PAGE_SIZE) == 0);
		else
			CHECK(page_is_zero(is));
	}
	CHECK(sb->call->failed == 0 && sb->call->ret[0] == 0 && sb->call->slots[0] == 0);
	CHECK(sb->call->error[0] == 0);
}

static void check_fault(const mayfly_sandbox *sb)
{
	const mayfly_fault *f = &sb->fault;

	CHECK(f->kind != MAYFLY_FAULT_NONE);
	CHECK(f->message[0] || f->kind == MAYFLY_FAULT_ABORT);
	CHECK(memchr(f->message, 0, sizeof(f->message)));
	for (const char *c = f->message; *c; c++)
		CHECK((*c >= 0x20 && *c < 0x7f) || *c == '\n' || *c == '\t');
	CHECK(sb->fault_code < 0);
}

/* At rest: captured and restored, to what was before and to what is now. */
static void rest(mayfly_sandbox *sb, struct mayfly_snapshot *snap, uint64_t how)
{
	struct mayfly_snapshot *captured = NULL;
	mayfly_error err = {.code = 0};
	int r;

	if (sb->poisoned) {
		check_fault(sb);
		CHECK(sandbox_capture(sb, &captured, &err) == MAYFLY_E_POISONED);
		CHECK(call(sb, &err) == MAYFLY_E_POISONED);
	} else if (how & 1) {
		r = sandbox_capture(sb, &captured, &err);
		CHECK(r == 0 || sb->poisoned);
		if (r == 0 && (how & 2)) {
			CHECK(sandbox_restore(sb, captured, &err) == 0);
			check_restored(sb);
		}
	}
	if (how & 8)
		sandbox_set_dispatch(
			sb, sb->is_hot ? MAYFLY_DISPATCH_NORMAL : MAYFLY_DISPATCH_HOT, &err);
	CHECK(sandbox_restore(sb, how & 4 ? snap : NULL, &err) == 0);
	check_restored(sb);
	mayfly_snapshot_unref(captured);
}

static struct mayfly_snapshot *guest(void)
{
	static struct mayfly_snapshot *snap;

	if (!snap)
		snap = fixture_load(&(struct fixture){.exports = exports,
						      .imports = imports,
						      .memory = MEMORY,
						      .stack = 4 * PAGE_SIZE,
						      .call_area = PAGE_SIZE});
	return snap;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	mayfly_host_function functions[ARRAY_SIZE(imports) - 2];
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	mayfly_sandbox *sb = NULL;
	mayfly_error err;
	uint64_t how;

	mock_reset();
	input = data;
	left = size;
	runs = 0;
	how = take(1);
	/* All but the last, "h_missing". */
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		functions[i] = (mayfly_host_function){imports[i].name, imports[i].signature,
						      host_function, &functions[i]};
	options.host_functions = functions;
	options.host_function_count = ARRAY_SIZE(functions);
	options.print = how & 1 ? print : NULL;
	options.max_depth = 3;
	options.dispatch = how & 64 ? MAYFLY_DISPATCH_HOT : MAYFLY_DISPATCH_NORMAL;
	options.hot_wait_ns = how & 32 ? 1 : 20000;
	mock_drive(guest_acts, &sb);
	CHECK(sandbox_new(&hv_mock, guest(), &options, &sb, &err) == 0);
	for (int i = 0; i < MAX_CALLS && left; i++) {
		if (how & 16 && take(1) & 1)
			call_many(sb, &err);
		else
			call(sb, &err);
		CHECK(sb->depth == 0);
		if (sb->poisoned || take(1) & 1)
			rest(sb, guest(), take(1));
	}
	sandbox_free(sb);
	CHECK(mock_live() == 0);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls into the guest. Arguments go straight to where the gate loads them into registers and
 * stack by the System V ABI for x86-64 (3.2.3); nothing is serialised or allocated on the way.
 */
#include <string.h>

#include "function/sandbox.h"

/* The ABI's argument registers, filled from the front, then the stack. */
struct marshal {
	struct fn_call *call;
	uint32_t ints;
	uint32_t floats;
	uint32_t stack;
};

static void put_int(struct marshal *m, uint64_t v)
{
	if (m->ints < 6)
		m->call->iregs[m->ints++] = v;
	else
		m->call->stack[m->stack++] = v;
}

static void put_float(struct marshal *m, uint64_t bits)
{
	if (m->floats < 8)
		m->call->sregs[m->floats++] = bits;
	else
		m->call->stack[m->stack++] = bits;
}

/*
 * A structure of two eightbytes goes into two registers or, if only one is left, to the stack
 * whole.
 */
static void put_pair(struct marshal *m, uint64_t first, uint64_t second)
{
	if (m->ints < 5) {
		put_int(m, first);
		put_int(m, second);
		return;
	}
	m->call->stack[m->stack++] = first;
	m->call->stack[m->stack++] = second;
}

int sandbox_push_bytes(mayfly_sandbox *sb, const void *data, uint64_t len, bool terminate,
		       uint64_t *va, mayfly_error *err)
{
	uint64_t start = (sb->area_used + 15) & ~(uint64_t)15;
	uint64_t size = sb->guest->plan.call_area;
	uint64_t need, pages;

	if (add_overflows(len, terminate, &need) || !range_within(start, need, size))
		return fail(err, MAYFLY_E_TOO_LARGE,
			    "%llu bytes do not fit the call area of %llu bytes, of which %llu "
			    "are in "
			    "use: load the guest with a larger call area",
			    (unsigned long long)len, (unsigned long long)size,
			    (unsigned long long)start);
	if (len)
		memcpy(sb->area + start, data, len);
	if (terminate)
		sb->area[start + len] = 0;
	sb->area_used = start + need;
	pages = page_up(sb->area_used) / PAGE_SIZE;
	if (pages > sb->inst.host_wrote[1].count)
		sb->inst.host_wrote[1].count = pages;
	*va = sb->guest->layout.area_va + start;
	return 0;
}

static uint64_t f32_bits(float v)
{
	uint32_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

static uint64_t f64_bits(double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	return bits;
}

static int put_string(struct marshal *m, mayfly_sandbox *sb, const mayfly_value *v,
		      mayfly_error *err)
{
	uint64_t va;
	int r;

	if (v->as.string.len && memchr(v->as.string.data, 0, v->as.string.len))
		return fail(err, MAYFLY_E_SIGNATURE,
			    "the string has a NUL inside: pass it as bytes");
	r = sandbox_push_bytes(sb, v->as.string.data, v->as.string.len, true, &va, err);
	if (r == 0)
		put_int(m, va);
	return r;
}

static int put_value(struct marshal *m, mayfly_sandbox *sb, const mayfly_value *v,
		     mayfly_error *err)
{
	uint64_t va;
	int r;

	switch (v->type) {
	case MAYFLY_BOOL:
		put_int(m, v->as.boolean);
		return 0;
	case MAYFLY_I32:
		put_int(m, (uint64_t)(int64_t)v->as.i32);
		return 0;
	case MAYFLY_U32:
		put_int(m, v->as.u32);
		return 0;
	case MAYFLY_I64:
	case MAYFLY_U64:
		put_int(m, v->as.u64);
		return 0;
	case MAYFLY_F32:
		put_float(m, f32_bits(v->as.f32));
		return 0;
	case MAYFLY_F64:
		put_float(m, f64_bits(v->as.f64));
		return 0;
	case MAYFLY_STRING:
		return put_string(m, sb, v, err);
	case MAYFLY_BYTES:
		r = sandbox_push_bytes(sb, v->as.bytes.data, v->as.bytes.len, false, &va, err);
		if (r == 0)
			put_pair(m, va, v->as.bytes.len);
		return r;
	default:
		return fail(err, MAYFLY_E_SIGNATURE, "no such type");
	}
}

static int check_args(const mayfly_function *fn, const mayfly_value *args, size_t nargs,
		      mayfly_error *err)
{
	if (nargs != fn->sig.nargs)
		return fail(err, MAYFLY_E_SIGNATURE, "%s takes %u argument%s, %zu given: %s",
			    fn->name, fn->sig.nargs, fn->sig.nargs == 1 ? "" : "s", nargs,
			    fn->text);
	for (size_t i = 0; i < nargs; i++) {
		const mayfly_value *v = &args[i];

		if (v->type != (mayfly_type)fn->sig.args[i])
			return fail(err, MAYFLY_E_SIGNATURE,
				    "argument %zu of %s is %s, %s given: %s", i + 1, fn->name,
				    mayfly_type_name((mayfly_type)fn->sig.args[i]),
				    mayfly_type_name(v->type), fn->text);
		if ((v->type == MAYFLY_STRING && !v->as.string.data) ||
		    (v->type == MAYFLY_BYTES && !v->as.bytes.data && v->as.bytes.len))
			return fail(err, MAYFLY_E_INVALID,
				    "argument %zu of %s is a null pointer", i + 1, fn->name);
	}
	return 0;
}

static int put_args(mayfly_sandbox *sb, const mayfly_function *fn, const mayfly_value *args,
		    size_t nargs, mayfly_error *err)
{
	struct marshal m = {.call = sb->call};

	for (size_t i = 0; i < nargs; i++) {
		int r = put_value(&m, sb, &args[i], err);

		if (r < 0) {
			error_prefix(err, "argument %zu of %s", i + 1, fn->name);
			return r;
		}
	}
	/* The stack is to be 16-byte aligned at the call. */
	if (m.stack % 2)
		m.call->stack[m.stack++] = 0;
	m.call->nstack = m.stack;
	m.call->fn = fn->va;
	m.call->reply = FN_REPLY_CALL;
	return 0;
}

/* --- Results ------------------------------------------------------------------------------ */

static int get_string(mayfly_sandbox *sb, const char *what, uint64_t va, mayfly_value *out,
		      mayfly_error *err)
{
	const char *s;
	int64_t len = gmem_string(&sb->inst.gm, gva(va), sb->guest->plan.call_area, &s);

	if (len == -1)
		return fault_protocol(
			sb, err, "%s gave a string at 0x%llx, which is not readable memory",
			what, (unsigned long long)va);
	if (len < 0)
		return fault_protocol(
			sb, err,
			"%s gave a string at 0x%llx that does not end within the %llu bytes "
			"of the call area's size",
			what, (unsigned long long)va,
			(unsigned long long)sb->guest->plan.call_area);
	out->as.string.data = s;
	out->as.string.len = (size_t)len;
	return 0;
}

static int get_bytes(mayfly_sandbox *sb, const char *what, uint64_t va, uint64_t len,
		     mayfly_value *out, mayfly_error *err)
{
	const void *data = len ? gmem_view(&sb->inst.gm, gva(va), len) : "";

	if (!data)
		return fault_protocol(
			sb, err,
			"%s gave %llu bytes at 0x%llx, which do not lie in readable memory",
			what, (unsigned long long)len, (unsigned long long)va);
	out->as.bytes.data = data;
	out->as.bytes.len = len;
	return 0;
}

static int get_result(mayfly_sandbox *sb, const mayfly_function *fn, mayfly_value *out,
		      mayfly_error *err)
{
	uint64_t rax = sb->call->result[0], rdx = sb->call->result[1];
	uint64_t xmm0 = sb->call->result_sse;
	uint32_t half = (uint32_t)xmm0;
	mayfly_value v = {.type = (mayfly_type)fn->sig.result};
	int r = 0;

	switch (v.type) {
	case MAYFLY_BOOL:
		v.as.boolean = rax & 0xff;
		break;
	case MAYFLY_I32:
	case MAYFLY_U32:
		v.as.u32 = (uint32_t)rax;
		break;
	case MAYFLY_I64:
	case MAYFLY_U64:
		v.as.u64 = rax;
		break;
	case MAYFLY_F32:
		memcpy(&v.as.f32, &half, sizeof(half));
		break;
	case MAYFLY_F64:
		memcpy(&v.as.f64, &xmm0, sizeof(xmm0));
		break;
	case MAYFLY_STRING:
		r = get_string(sb, fn->name, rax, &v, err);
		break;
	case MAYFLY_BYTES:
		r = get_bytes(sb, fn->name, rax, rdx, &v, err);
		break;
	default:
		break;
	}
	if (r == 0 && out)
		*out = v;
	return r;
}

/* --- The run loop ------------------------------------------------------------------------- */

static int handle_exit(mayfly_sandbox *sb, const struct hv_exit *exit, uint32_t until,
		       bool *done, mayfly_error *err)
{
	uint32_t op;

	if (exit->kind == HV_EXIT_KICKED && sandbox_stop_requested(sb))
		return fault_stopped(sb, err);
	if (exit->kind != HV_EXIT_IO || !exit->io.out)
		return fault_exit(sb, exit, err);
	if (exit->io.port >= FN_PORT_EXCEPTION &&
	    exit->io.port < FN_PORT_EXCEPTION + CPU_VECTORS)
		return fault_exception(sb, exit->io.port - FN_PORT_EXCEPTION, err);
	if (exit->io.port != FN_PORT_GATE)
		return fault_exit(sb, exit, err);
	/* Read once: the guest owns the block. */
	op = __atomic_load_n(&sb->call->op, __ATOMIC_RELAXED);
	if (op == until) {
		sb->at_gate = true;
		*done = true;
		return 0;
	}
	/* Nobody is in a call: a (crafted) state had the gate run something else than itself. */
	if (until == FN_OP_READY)
		return fault_protocol(sb, err, "it made the request %u before it was called",
				      op);
	return sandbox_serve(sb, op, err);
}

int sandbox_run(mayfly_sandbox *sb, uint32_t until, mayfly_error *err)
{
	bool done = false;

	do {
		struct hv_exit exit;
		int r = hv_vcpu_run(sb->inst.vcpu, &exit, err);

		if (r < 0)
			return fault_hypervisor(sb, r, err);
		r = handle_exit(sb, &exit, until, &done, err);
		if (r < 0)
			return r;
	} while (!done);
	return 0;
}

static int check_call(const mayfly_sandbox *sb, const mayfly_function *fn, mayfly_error *err)
{
	if (sb->poisoned)
		return fail(err, MAYFLY_E_POISONED,
			    "the sandbox is poisoned by an earlier failure (%.200s): restore "
			    "it first",
			    sb->fault.message);
	if (fn->manifest != &sb->guest->manifest)
		return fail(err, MAYFLY_E_INVALID,
			    "%s is a function of another guest than the sandbox's (%s)",
			    fn->name, sb->inst.guest->name);
	if (sb->depth >= sb->max_depth)
		return fail(err, MAYFLY_E_LIMIT,
			    "calls between host and guest nest deeper than %u (max_depth)",
			    sb->max_depth);
	return 0;
}

int sandbox_call(mayfly_sandbox *sb, const mayfly_function *fn, const mayfly_value *args,
		 size_t nargs, mayfly_value *result, mayfly_error *err)
{
	bool outermost = sb->depth == 0;
	uint64_t area_used = sb->area_used, area_base = sb->area_base;
	int r = check_call(sb, fn, err);

	if (r == 0)
		r = check_args(fn, args, nargs, err);
	if (r == 0)
		r = put_args(sb, fn, args, nargs, err);
	if (r < 0) {
		sb->area_used = area_used;
		return r;
	}
	sb->area_base = sb->area_used;
	sb->calls++;
	sb->depth++;
	if (outermost)
		sandbox_run_begin(sb);
	r = sandbox_run(sb, FN_OP_RESULT, err);
	if (outermost)
		sandbox_run_end(sb);
	sb->depth--;
	sb->area_used = area_used;
	sb->area_base = area_base;
	return r < 0 ? r : get_result(sb, fn, result, err);
}

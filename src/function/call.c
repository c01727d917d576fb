/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls into the guest. Arguments go straight to where the gate loads them into registers and
 * stack; nothing is serialised or allocated on the way.
 */
#include <string.h>

#include "function/marshal.h"
#include "function/sandbox.h"

int sandbox_push_bytes(mayfly_sandbox *sb, const void *data, uint64_t len, bool terminate,
		       uint64_t *va, mayfly_error *err)
{
	uint64_t start = (sb->area_used + 15) & ~(uint64_t)15;
	uint64_t size = sb->area_end;
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

int sandbox_push(void *owner, const void *data, uint64_t len, bool terminate, uint64_t *va,
		 mayfly_error *err)
{
	return sandbox_push_bytes(owner, data, len, terminate, va, err);
}

static int put_args(mayfly_sandbox *sb, const mayfly_function *fn, const mayfly_value *args,
		    size_t nargs, mayfly_error *err)
{
	struct fn_call *call = sb->call;
	/* In one go in the end: the gate may be looking at the line they go to. */
	uint64_t iregs[MARSHAL_IREGS];
	struct marshal m = {
		.iregs = iregs,
		.sregs = call->sregs,
		.stack = call->stack,
		.push = sandbox_push,
		.owner = sb,
	};
	int r = marshal_put(&m, fn, args, nargs, err);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < m.ints; i++)
		call->iregs[i] = iregs[i];
	call->fn = fn->va;
	sb->nstack = (uint16_t)m.nstack;
	sb->reply = FN_REPLY_CALL;
	return 0;
}

/* --- Results ------------------------------------------------------------------------------ */

/*
 * A result of `len` bytes so that it stays as it is, with a NUL behind it where it had to be copied.
 * NULL: memory is out.
 */
static const char *keep(mayfly_sandbox *sb, const char *data, uint64_t len)
{
	char *kept;

	if (!hot_is_running(sb))
		return data;
	if (len + 1 > sb->kept_size) {
		kept = realloc(sb->kept, len + 1);
		if (!kept)
			return NULL;
		sb->kept = kept;
		sb->kept_size = len + 1;
	}
	memcpy(sb->kept, data, len);
	sb->kept[len] = '\0';
	return sb->kept;
}

static int result_string(mayfly_sandbox *sb, const char *what, uint64_t va, mayfly_value *out,
			 mayfly_error *err)
{
	uint64_t max = sb->guest->plan.call_area;
	const char *s;
	int64_t len = gmem_string(&sb->inst.gm, gva(va), max, &s);

	if (len > (int64_t)HOT_COPY_MAX && hot_is_running(sb)) {
		hot_park(sb);
		len = gmem_string(&sb->inst.gm, gva(va), max, &s);
	}
	if (len == -1)
		return fault_protocol(
			sb, err, "%s gave a string at 0x%llx, which is not readable memory",
			what, (unsigned long long)va);
	if (len < 0)
		return fault_protocol(
			sb, err,
			"%s gave a string at 0x%llx that does not end within the %llu bytes "
			"of the call area's size",
			what, (unsigned long long)va, (unsigned long long)max);
	s = keep(sb, s, (uint64_t)len);
	if (!s)
		return fault_no_memory(sb, "a result", err);
	out->as.string.data = s;
	out->as.string.len = s == sb->kept ? strlen(s) : (size_t)len;
	return 0;
}

static int result_bytes(mayfly_sandbox *sb, const char *what, uint64_t va, uint64_t len,
			mayfly_value *out, mayfly_error *err)
{
	const void *data = len ? gmem_view(&sb->inst.gm, gva(va), len) : "";

	if (!data)
		return fault_protocol(
			sb, err,
			"%s gave %llu bytes at 0x%llx, which do not lie in readable memory",
			what, (unsigned long long)len, (unsigned long long)va);
	if (len > HOT_COPY_MAX)
		hot_park(sb);
	data = keep(sb, data, len);
	if (!data)
		return fault_no_memory(sb, "a result", err);
	out->as.bytes.data = data;
	out->as.bytes.len = len;
	return 0;
}

static int get_result(mayfly_sandbox *sb, const mayfly_function *fn, mayfly_value *out,
		      mayfly_error *err)
{
	const struct marshal_result words = {
		.rax = read_once(sb->call->result[0]),
		.rdx = read_once(sb->call->result[1]),
		.xmm0 = read_once(sb->call->result_sse),
	};
	mayfly_value v = {.type = MAYFLY_VOID};
	int r = 0;

	if (!marshal_get(fn, &words, &v))
		r = v.type == MAYFLY_STRING
			    ? result_string(sb, fn->name, words.rax, &v, err)
			    : result_bytes(sb, fn->name, words.rax, words.rdx, &v, err);
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

static int enter(mayfly_sandbox *sb, struct hv_exit *exit, mayfly_error *err)
{
	if (sb->is_hot)
		return hot_exchange(sb, exit, err);
	sb->call->reply = sb->reply;
	sb->call->nstack = sb->nstack;
	return hv_vcpu_run(sb->inst.vcpu, exit, err);
}

int sandbox_run(mayfly_sandbox *sb, uint32_t until, mayfly_error *err)
{
	bool done = false;

	do {
		struct hv_exit exit;
		int r = enter(sb, &exit, err);

		if (r < 0)
			return sb->poisoned ? r : fault_hypervisor(sb, r, err);
		r = handle_exit(sb, &exit, until, &done, err);
		if (r < 0)
			return r;
	} while (!done);
	return 0;
}

int sandbox_check_call(const mayfly_sandbox *sb, const mayfly_function *fn, mayfly_error *err)
{
	int r = instance_check_process(&sb->inst, err);

	if (r < 0)
		return r;
	if (sb->poisoned)
		return fail(err, MAYFLY_E_POISONED,
			    "the sandbox is poisoned by an earlier failure (%.200s): restore "
			    "it first",
			    sb->fault.message);
	if (fn->manifest != &sb->guest->manifest)
		return fail(err, MAYFLY_E_INVALID,
			    "%s is a function of another guest than the sandbox's (%s), or of "
			    "another load or open of it: mayfly_snapshot_function() gives the "
			    "sandbox's",
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
	int r;

	sandbox_fetch_line(sb);
	r = sandbox_check_call(sb, fn, err);
	if (r == 0)
		r = marshal_check(fn, args, nargs, err);
	if (r < 0)
		return r;
	/* Before the arguments: its barrier would wait for their line. */
	if (outermost)
		sandbox_run_begin(sb);
	r = put_args(sb, fn, args, nargs, err);
	if (r == 0) {
		sb->area_base = sb->area_used;
		sb->calls++;
		sb->depth++;
		r = sandbox_run(sb, FN_OP_RESULT, err);
		sb->depth--;
	}
	if (outermost)
		sandbox_run_end(sb);
	sb->area_used = area_used;
	sb->area_base = area_base;
	return r < 0 ? r : get_result(sb, fn, result, err);
}

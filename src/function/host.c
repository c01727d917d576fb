/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guests ask of the host: host functions, printing, randomness, the end by abort. Requests
 * lie in the call block; every field is read once, into locals, then checked.
 */
#include <stdio.h>
#include <string.h>

#include "function/sandbox.h"

/* --- Registration ------------------------------------------------------------------------- */

static void bind(mayfly_sandbox *sb)
{
	const struct manifest *m = &sb->guest->manifest;

	for (uint32_t i = 0; i < m->nimports; i++) {
		sb->bound[i] = NULL;
		for (size_t j = 0; j < sb->nfunctions; j++)
			if (!strcmp(sb->functions[j].name, m->imports[i].name))
				sb->bound[i] = &sb->functions[j];
	}
}

static int check_signature(const mayfly_sandbox *sb, const char *name,
			   const struct signature *sig, mayfly_error *err)
{
	const struct manifest_import *import =
		manifest_import_named(&sb->guest->manifest, name);
	char text[SIGNATURE_TEXT_MAX];

	if (!import || signature_equal(&import->sig, sig))
		return 0;
	signature_format(sig, text);
	return fail(err, MAYFLY_E_SIGNATURE,
		    "host function %s is registered as %s, but the guest calls it as %s", name,
		    text, import->text);
}

static struct host_function *find_function(mayfly_sandbox *sb, const char *name)
{
	for (size_t i = 0; i < sb->nfunctions; i++)
		if (!strcmp(sb->functions[i].name, name))
			return &sb->functions[i];
	return NULL;
}

int sandbox_register(mayfly_sandbox *sb, const mayfly_host_function *fn, mayfly_error *err)
{
	struct host_function *entry;
	struct signature sig;
	char *name;
	int r;

	if (!fn->name || !fn->signature || !fn->fn)
		return fail(err, MAYFLY_E_INVALID,
			    "a host function needs name, signature and fn");
	r = signature_parse(fn->signature, strlen(fn->signature), &sig, err);
	if (r < 0) {
		error_prefix(err, "host function %.64s", fn->name);
		return r;
	}
	r = check_signature(sb, fn->name, &sig, err);
	if (r < 0)
		return r;
	entry = find_function(sb, fn->name);
	if (!entry) {
		struct host_function *grown =
			realloc(sb->functions, (sb->nfunctions + 1) * sizeof(sb->functions[0]));

		name = grown ? strdup(fn->name) : NULL;
		if (grown)
			sb->functions = grown;
		if (!name) {
			bind(sb); /* the array may have moved */
			return fail(err, MAYFLY_E_NOMEM, "no memory for a host function");
		}
		entry = &sb->functions[sb->nfunctions++];
		entry->name = name;
	}
	entry->sig = sig;
	entry->fn = fn->fn;
	entry->context = fn->context;
	sb->registered = true;
	bind(sb);
	return 0;
}

int sandbox_reset_functions(mayfly_sandbox *sb, const mayfly_host_function *functions,
			    size_t count, mayfly_error *err)
{
	int r = 0;

	for (size_t i = 0; i < sb->nfunctions; i++)
		free(sb->functions[i].name);
	sb->nfunctions = 0;
	bind(sb);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = sandbox_register(sb, &functions[i], err);
	sb->registered = false;
	return r;
}

void sandbox_free_functions(mayfly_sandbox *sb)
{
	for (size_t i = 0; i < sb->nfunctions; i++)
		free(sb->functions[i].name);
	free(sb->functions);
	free(sb->bound);
	sb->functions = NULL;
	sb->bound = NULL;
	sb->nfunctions = 0;
}

/* --- Calls -------------------------------------------------------------------------------- */

struct host_call {
	mayfly_value args[MAYFLY_MAX_ARGS];
	char *copies[MAYFLY_MAX_ARGS]; /* of strings, and of what the guest could change */
	size_t nargs;
};

static void host_call_fini(struct host_call *c)
{
	for (size_t i = 0; i < c->nargs; i++)
		free(c->copies[i]);
}

/*
 * A copy: the host function may call the guest again, which could then take the terminating NUL
 * away from under it; or the guest is running at this moment.
 */
static int take_string(mayfly_sandbox *sb, const struct manifest_import *import, size_t i,
		       uint64_t va, struct host_call *c, mayfly_error *err)
{
	const char *s;
	int64_t len = gmem_string(&sb->inst.gm, gva(va), sb->guest->plan.call_area, &s);

	if (len < 0)
		return fault_protocol(
			sb, err,
			"argument %zu of host function %s is a string at 0x%llx that is not "
			"readable, or does not end within the call area's size",
			i + 1, import->name, (unsigned long long)va);
	c->copies[i] = malloc((size_t)len + 1);
	if (!c->copies[i])
		return fault_no_memory(sb, "what the guest passes", err);
	memcpy(c->copies[i], s, (size_t)len);
	c->copies[i][len] = '\0';
	c->args[i].as.string.data = c->copies[i];
	c->args[i].as.string.len = strlen(c->copies[i]);
	return 0;
}

/*
 * Bytes of guest memory so that they stay as they are while the guest waits: a copy in *copy, if
 * it does not wait yet. NULL: memory is out.
 */
static const void *hold(mayfly_sandbox *sb, const void *data, uint64_t len, char **copy)
{
	if (!len || !hot_is_running(sb))
		return data;
	if (len > HOT_COPY_MAX) {
		hot_park(sb);
		return data;
	}
	*copy = malloc(len);
	return *copy ? memcpy(*copy, data, len) : NULL;
}

static int take_bytes(mayfly_sandbox *sb, const struct manifest_import *import, size_t i,
		      const uint64_t slots[2], struct host_call *c, mayfly_error *err)
{
	uint64_t va = slots[0], len = slots[1];
	const void *data = len ? gmem_view(&sb->inst.gm, gva(va), len) : "";

	if (!data)
		return fault_protocol(
			sb, err,
			"argument %zu of host function %s is %llu bytes at 0x%llx, which are "
			"not readable memory",
			i + 1, import->name, (unsigned long long)len, (unsigned long long)va);
	data = hold(sb, data, len, &c->copies[i]);
	if (!data)
		return fault_no_memory(sb, "what the guest passes", err);
	c->args[i].as.bytes.data = data;
	c->args[i].as.bytes.len = len;
	return 0;
}

static uint64_t read_slot(const struct fn_call *call, uint32_t n)
{
	return n < FN_NEAR_SLOTS ? read_once(call->arg[1 + n])
				 : read_once(call->slots[n - FN_NEAR_SLOTS]);
}

static int take_args(mayfly_sandbox *sb, const struct manifest_import *import,
		     struct host_call *c, mayfly_error *err)
{
	uint32_t slot = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < import->sig.nargs; i++) {
		mayfly_value *v = &c->args[i];
		uint64_t words[2] = {read_slot(sb->call, slot++), 0};
		uint32_t half = (uint32_t)words[0];

		v->type = (mayfly_type)import->sig.args[i];
		c->copies[i] = NULL;
		c->nargs = i + 1;
		switch (v->type) {
		case MAYFLY_BOOL:
			v->as.boolean = words[0] & 0xff;
			break;
		case MAYFLY_I32:
		case MAYFLY_U32:
			v->as.u32 = half;
			break;
		case MAYFLY_F32:
			memcpy(&v->as.f32, &half, sizeof(half));
			break;
		case MAYFLY_STRING:
			r = take_string(sb, import, i, words[0], c, err);
			break;
		case MAYFLY_BYTES:
			words[1] = read_slot(sb->call, slot++);
			r = take_bytes(sb, import, i, words, c, err);
			break;
		default: /* i64, u64, f64: the bits as they are */
			v->as.u64 = words[0];
		}
	}
	return r;
}

/* The guest's call goes on, with a message. */
static void answer_failure(mayfly_sandbox *sb, const char *message)
{
	struct fn_call *call = sb->call;
	size_t len = strlen(message);

	if (len > FN_ERROR_SIZE - 1)
		len = FN_ERROR_SIZE - 1;
	memcpy(call->error, message, len);
	call->error[len] = '\0';
	call->failed = 1;
	call->ret[0] = call->ret[1] = 0;
	sb->reply = FN_REPLY_RETURN;
}

static int push_result(mayfly_sandbox *sb, const mayfly_value *v, uint64_t ret[2],
		       mayfly_error *err)
{
	bool string = v->type == MAYFLY_STRING;
	const void *data = string ? v->as.string.data : v->as.bytes.data;
	size_t len = string ? v->as.string.len : v->as.bytes.len;

	if (!data && (string || len))
		return fail(err, MAYFLY_E_INVALID, "its result is a null pointer");
	if (string && len && memchr(data, 0, len))
		return fail(err, MAYFLY_E_INVALID, "its result, a string, has a NUL inside");
	sb->area_used = sb->area_base;
	ret[1] = len;
	return sandbox_push_bytes(sb, data, len, string, &ret[0], err);
}

static int encode_result(mayfly_sandbox *sb, const mayfly_value *v, uint64_t ret[2],
			 mayfly_error *err)
{
	uint32_t half;

	ret[0] = ret[1] = 0;
	switch (v->type) {
	case MAYFLY_VOID:
		return 0;
	case MAYFLY_BOOL:
		ret[0] = v->as.boolean;
		return 0;
	case MAYFLY_I32:
		ret[0] = (uint64_t)(int64_t)v->as.i32;
		return 0;
	case MAYFLY_U32:
		ret[0] = v->as.u32;
		return 0;
	case MAYFLY_F32:
		memcpy(&half, &v->as.f32, sizeof(half));
		ret[0] = half;
		return 0;
	case MAYFLY_STRING:
	case MAYFLY_BYTES:
		return push_result(sb, v, ret, err);
	default:
		ret[0] = v->as.u64;
		return 0;
	}
}

/* After the host function: its result, or its failure, into the call block. */
static void answer(mayfly_sandbox *sb, const struct manifest_import *import, int r,
		   const mayfly_value *result, mayfly_error *problem)
{
	uint64_t ret[2];

	if (r == 0 && result->type != (mayfly_type)import->sig.result)
		r = fail(problem, MAYFLY_E_SIGNATURE, "host function %s gave %s instead of %s",
			 import->name, mayfly_type_name(result->type),
			 mayfly_type_name((mayfly_type)import->sig.result));
	else if (r == 0)
		r = encode_result(sb, result, ret, problem);
	/* What is neither success nor a code is a failure, too. */
	if (r != 0) {
		answer_failure(sb,
			       problem->message[0] ? problem->message : mayfly_code_name(r));
		return;
	}
	sb->call->ret[0] = ret[0];
	sb->call->ret[1] = ret[1];
	sb->call->failed = 0;
	sb->reply = FN_REPLY_RETURN;
}

/*
 * The embedder's code ran: it may have called the guest again, and may have been told to stop.
 */
static int after_callback(mayfly_sandbox *sb, const char *name, mayfly_error *err)
{
	if (sb->poisoned)
		return fail(err, sb->fault_code, "in a call nested in host function %s: %s",
			    name, sb->fault.message);
	return sandbox_stop_requested(sb) ? fault_stopped(sb, err) : 0;
}

static int call_host(mayfly_sandbox *sb, const struct manifest_import *import,
		     const struct host_function *fn, mayfly_error *err)
{
	mayfly_value result = {.type = (mayfly_type)import->sig.result};
	mayfly_error problem; /* not all of it, on a hot path */
	struct host_call c;
	/* By value: the function may register others, and so move the table. */
	mayfly_host_fn called = fn->fn;
	void *context = fn->context;
	int r;

	problem.code = problem.sys_errno = 0;
	problem.message[0] = '\0';
	c.nargs = 0; /* the rest of it counts up to there */
	r = take_args(sb, import, &c, err);
	if (r < 0) {
		host_call_fini(&c);
		return r;
	}
	sb->host_calls++;
	sandbox_fetch_line(sb);
	r = called(context, sb, c.args, c.nargs, &result, &problem);
	if (!sb->poisoned && !sandbox_stop_requested(sb))
		answer(sb, import, r, &result, &problem);
	host_call_fini(&c);
	return after_callback(sb, import->name, err);
}

static int serve_host_call(mayfly_sandbox *sb, mayfly_error *err)
{
	uint64_t note = read_once(sb->call->arg[0]);
	const struct manifest_import *import = manifest_import_at(&sb->guest->manifest, note);
	const struct host_function *fn;
	char text[200];

	if (!import)
		return fault_protocol(sb, err,
				      "it called a host function by 0x%llx, which is no import",
				      (unsigned long long)note);
	fn = sb->bound[import - sb->guest->manifest.imports];
	if (fn)
		return call_host(sb, import, fn, err);
	snprintf(text, sizeof(text), "host function %s is not provided", import->name);
	answer_failure(sb, text);
	return 0;
}

static int serve_print(mayfly_sandbox *sb, mayfly_error *err)
{
	uint64_t va = read_once(sb->call->arg[0]), len = read_once(sb->call->arg[1]);
	const char *text = len ? gmem_view(&sb->inst.gm, gva(va), len) : "";
	_cleanup_free_ char *copy = NULL;

	if (!text)
		return fault_protocol(sb, err,
				      "it printed %llu bytes at 0x%llx, which are not readable",
				      (unsigned long long)len, (unsigned long long)va);
	text = hold(sb, text, len, &copy);
	if (!text)
		return fault_no_memory(sb, "what the guest passes", err);
	if (sb->print && len)
		sb->print(sb->print_context, text, len);
	sb->call->ret[0] = sb->print ? 1 : 0;
	sb->reply = FN_REPLY_RETURN;
	return after_callback(sb, "print", err);
}

static int serve_random(mayfly_sandbox *sb, mayfly_error *err)
{
	uint64_t len = read_once(sb->call->arg[0]);

	if (len > FN_MAX_RANDOM)
		return fault_protocol(sb, err,
				      "it asked for %llu random bytes at once, more than %d",
				      (unsigned long long)len, FN_MAX_RANDOM);
	random_bytes(sb->call->stack, len);
	sb->reply = FN_REPLY_RETURN;
	return 0;
}

int sandbox_serve(mayfly_sandbox *sb, uint32_t op, mayfly_error *err)
{
	switch (op) {
	case FN_OP_HOSTCALL:
		return serve_host_call(sb, err);
	case FN_OP_PRINT:
		return serve_print(sb, err);
	case FN_OP_RANDOM:
		return serve_random(sb, err);
	case FN_OP_ABORT:
		return fault_abort(sb, (int32_t)read_once(sb->call->arg[0]),
				   read_once(sb->call->arg[1]), read_once(sb->call->arg[2]),
				   err);
	case FN_OP_SYSCALL:
		return fault_protocol(
			sb, err,
			"it executed the SYSCALL instruction, but a function guest has no "
			"kernel to call (was it built with a C library's system calls?)");
	default:
		return fault_protocol(sb, err, "it left with the unknown request %u", op);
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Strings and bytes among arguments, and what is wrong with arguments. */
#include "function/marshal.h"

#include "core/error.h"

static int put_string(struct marshal *m, const mayfly_value *v, mayfly_error *err)
{
	uint64_t va;
	int r;

	if (v->as.string.len && memchr(v->as.string.data, 0, v->as.string.len))
		return fail(err, MAYFLY_E_SIGNATURE,
			    "the string has a NUL inside: pass it as bytes");
	r = m->push(m->owner, v->as.string.data, v->as.string.len, true, &va, err);
	if (r == 0)
		marshal_put_int(m, va);
	return r;
}

/*
 * A structure of two eightbytes goes into two registers or, if only one is left, to the stack
 * whole.
 */
static int put_bytes(struct marshal *m, const mayfly_value *v, mayfly_error *err)
{
	uint64_t va;
	int r = m->push(m->owner, v->as.bytes.data, v->as.bytes.len, false, &va, err);

	if (r < 0)
		return r;
	if (m->ints < MARSHAL_IREGS - 1) {
		m->iregs[m->ints++] = va;
		m->iregs[m->ints++] = v->as.bytes.len;
	} else {
		m->stack[m->nstack++] = va;
		m->stack[m->nstack++] = v->as.bytes.len;
	}
	return 0;
}

int marshal_put_data(struct marshal *m, const mayfly_value *v, mayfly_error *err)
{
	switch (v->type) {
	case MAYFLY_STRING:
		return put_string(m, v, err);
	case MAYFLY_BYTES:
		return put_bytes(m, v, err);
	default:
		return fail(err, MAYFLY_E_SIGNATURE, "no such type");
	}
}

int marshal_name_argument(const mayfly_function *fn, size_t index, int r, mayfly_error *err)
{
	error_prefix(err, "argument %zu of %s", index + 1, fn->name);
	return r;
}

int marshal_refuse(const mayfly_function *fn, const mayfly_value *args, size_t nargs,
		   mayfly_error *err)
{
	size_t i = 0;

	if (nargs != fn->sig.nargs)
		return fail(err, MAYFLY_E_SIGNATURE, "%s takes %u argument%s, %zu given: %s",
			    fn->name, fn->sig.nargs, fn->sig.nargs == 1 ? "" : "s", nargs,
			    fn->text);
	while (i + 1 < nargs && args[i].type == (mayfly_type)fn->sig.args[i] &&
	       !marshal_is_null(&args[i]))
		i++;
	if (args[i].type != (mayfly_type)fn->sig.args[i])
		return fail(err, MAYFLY_E_SIGNATURE, "argument %zu of %s is %s, %s given: %s",
			    i + 1, fn->name, mayfly_type_name((mayfly_type)fn->sig.args[i]),
			    mayfly_type_name(args[i].type), fn->text);
	return fail(err, MAYFLY_E_INVALID, "argument %zu of %s is a null pointer", i + 1,
		    fn->name);
}

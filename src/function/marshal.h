/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments and results of guests' functions, between values of the public API and the registers
 * and stack of the System V ABI for x86-64 (3.2.3). Of every kind of guest: where strings and
 * bytes are kept, and how a guest's memory is read, is the caller's.
 *
 * Nothing is serialised or allocated on the way. What every call passes through is inline: a
 * call is some hundred instructions beside the entry into the VM.
 */
#ifndef MAYFLY_FUNCTION_MARSHAL_H
#define MAYFLY_FUNCTION_MARSHAL_H

#include <string.h>

#include "function/manifest.h"

#define MARSHAL_IREGS 6 /* rdi, rsi, rdx, rcx, r8, r9 */
#define MARSHAL_SREGS 8 /* low halves of xmm0 to xmm7 */
/* Eightbytes that MAYFLY_MAX_ARGS arguments can take on the stack, padding included. */
#define MARSHAL_STACK (2 * MAYFLY_MAX_ARGS)

/*
 * Keep `len` bytes, and a NUL if `terminate`, where the guest can read them: *va says where.
 * `data` may be NULL if there are none.
 */
typedef int (*marshal_push_fn)(void *owner, const void *data, uint64_t len, bool terminate,
			       uint64_t *va, mayfly_error *err);

/* Where arguments go. The counts begin at 0. */
struct marshal {
	uint64_t *iregs; /* MARSHAL_IREGS */
	uint64_t *sregs; /* MARSHAL_SREGS */
	uint64_t *stack; /* MARSHAL_STACK, lowest address first */
	marshal_push_fn push;
	void *owner;
	uint32_t ints;
	uint32_t floats;
	uint32_t nstack;
};

/* What a function left in registers. */
struct marshal_result {
	uint64_t rax, rdx;
	uint64_t xmm0; /* its low half */
};

/* marshal.c: what the functions below leave to it. */
int marshal_refuse(const mayfly_function *fn, const mayfly_value *args, size_t nargs,
		   mayfly_error *err);
int marshal_put_data(struct marshal *m, const mayfly_value *v, mayfly_error *err);
int marshal_name_argument(const mayfly_function *fn, size_t index, int r, mayfly_error *err);

static inline bool marshal_is_null(const mayfly_value *v)
{
	return (v->type == MAYFLY_STRING && !v->as.string.data) ||
	       (v->type == MAYFLY_BYTES && !v->as.bytes.data && v->as.bytes.len);
}

/* Number and types as the function has them, no null pointers. Errors: SIGNATURE, INVALID. */
static inline int marshal_check(const mayfly_function *fn, const mayfly_value *args,
				size_t nargs, mayfly_error *err)
{
	bool good = nargs == fn->sig.nargs;

	for (size_t i = 0; good && i < nargs; i++)
		good = args[i].type == (mayfly_type)fn->sig.args[i] &&
		       !marshal_is_null(&args[i]);
	return good ? 0 : marshal_refuse(fn, args, nargs, err);
}

static inline void marshal_put_int(struct marshal *m, uint64_t v)
{
	if (m->ints < MARSHAL_IREGS)
		m->iregs[m->ints++] = v;
	else
		m->stack[m->nstack++] = v;
}

static inline void marshal_put_float(struct marshal *m, uint64_t bits)
{
	if (m->floats < MARSHAL_SREGS)
		m->sregs[m->floats++] = bits;
	else
		m->stack[m->nstack++] = bits;
}

static inline int marshal_put_value(struct marshal *m, const mayfly_value *v, mayfly_error *err)
{
	uint32_t half;

	switch (v->type) {
	case MAYFLY_BOOL:
		marshal_put_int(m, v->as.boolean);
		return 0;
	case MAYFLY_I32:
		marshal_put_int(m, (uint64_t)(int64_t)v->as.i32);
		return 0;
	case MAYFLY_U32:
		marshal_put_int(m, v->as.u32);
		return 0;
	case MAYFLY_I64:
	case MAYFLY_U64:
		marshal_put_int(m, v->as.u64);
		return 0;
	case MAYFLY_F32:
		memcpy(&half, &v->as.f32, sizeof(half));
		marshal_put_float(m, half);
		return 0;
	case MAYFLY_F64: /* its bits */
		marshal_put_float(m, v->as.u64);
		return 0;
	default:
		return marshal_put_data(m, v, err);
	}
}

/*
 * What passed marshal_check(), into m. m->nstack comes out even: the stack is to be 16-byte
 * aligned at the call. Errors: SIGNATURE (a NUL in a string), what `push` gives; the argument
 * is named.
 */
static inline int marshal_put(struct marshal *m, const mayfly_function *fn,
			      const mayfly_value *args, size_t nargs, mayfly_error *err)
{
	for (size_t i = 0; i < nargs; i++) {
		int r = marshal_put_value(m, &args[i], err);

		if (r < 0)
			return marshal_name_argument(fn, i, r, err);
	}
	if (m->nstack % 2)
		m->stack[m->nstack++] = 0;
	return 0;
}

/*
 * False: the result is a string at rax, or rdx bytes at rax; only *out's type is set. Otherwise
 * *out is the result.
 */
static inline bool marshal_get(const mayfly_function *fn, const struct marshal_result *words,
			       mayfly_value *out)
{
	uint32_t half = (uint32_t)words->xmm0;

	out->type = (mayfly_type)fn->sig.result;
	switch (out->type) {
	case MAYFLY_BOOL:
		out->as.boolean = words->rax & 0xff;
		return true;
	case MAYFLY_I32:
	case MAYFLY_U32:
		out->as.u32 = (uint32_t)words->rax;
		return true;
	case MAYFLY_I64:
	case MAYFLY_U64:
		out->as.u64 = words->rax;
		return true;
	case MAYFLY_F32:
		memcpy(&out->as.f32, &half, sizeof(half));
		return true;
	case MAYFLY_F64:
		memcpy(&out->as.f64, &words->xmm0, sizeof(words->xmm0));
		return true;
	case MAYFLY_STRING:
	case MAYFLY_BYTES:
		return false;
	default:
		return true;
	}
}

#endif

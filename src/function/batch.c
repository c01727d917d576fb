/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many calls at a time. Argument lists go into the call area, one behind the other, and the gate
 * calls the function with each: one entry into the VM for all of them, or for as many as there is
 * room for. Under hot dispatch the room is divided, so that one part is filled and emptied while
 * the guest works on the other.
 */
#include <string.h>

#include "function/marshal.h"
#include "function/sandbox.h"

/* Under hot dispatch, calls in one part: what the two sides tell each other costs once for all. */
#define HOT_PART 128
/* Where arguments take room of their own, this much of a part is for the calls' registers. */
#define ENTRY_SHARE 4

/* A part of the call area, with calls to be made. */
struct part {
	uint64_t start; /* offset in the call area, of its struct fn_batch */
	size_t first;	/* of the calls */
	size_t count;
	bool large; /* more than a part's room */
};

struct batch {
	mayfly_sandbox *sb;
	const mayfly_function *fn;
	mayfly_batch *calls;
	struct fn_batch head; /* what all parts begin with */
	uint32_t words;	      /* of an entry */
	uint32_t ints, floats;
	bool has_data; /* strings or bytes among the arguments */

	uint64_t start;	    /* where the first part goes; the second, if any, goes behind it */
	uint64_t room;	    /* of a part, in bytes */
	size_t next;	    /* the first call that is in no part yet */
	struct part now;    /* what the guest has */
	struct part ahead;  /* filled meanwhile; count 0: not */
	struct part behind; /* done, the results not taken yet; count 0: none */
};

/* --- What an entry looks like ------------------------------------------------------------- */

/* Where marshal_put() will have arguments go. */
static void plan_argument(struct batch *b, uint32_t *nstack, mayfly_type type)
{
	if (type == MAYFLY_F32 || type == MAYFLY_F64) {
		if (b->floats < MARSHAL_SREGS)
			b->floats++;
		else
			(*nstack)++;
	} else if (type == MAYFLY_BYTES) {
		if (b->ints < MARSHAL_IREGS - 1)
			b->ints += 2;
		else
			*nstack += 2;
	} else if (b->ints < MARSHAL_IREGS) {
		b->ints++;
	} else {
		(*nstack)++;
	}
	b->has_data |= type == MAYFLY_BYTES || type == MAYFLY_STRING;
}

static void plan_entry(struct batch *b)
{
	const struct signature *sig = &b->fn->sig;
	bool sse = sig->result == MAYFLY_F32 || sig->result == MAYFLY_F64;
	uint32_t nstack = 0;

	for (size_t i = 0; i < sig->nargs; i++)
		plan_argument(b, &nstack, (mayfly_type)sig->args[i]);
	nstack += nstack % 2;
	b->words = b->ints + b->floats + nstack;
	if (!b->words)
		b->words = 1; /* for the result */
	b->head = (struct fn_batch){
		.fn = b->fn->va,
		.stride = b->words * sizeof(uint64_t),
		.sregs = b->ints * sizeof(uint64_t),
		.stack = (b->ints + b->floats) * sizeof(uint64_t),
		.nstack = nstack,
		.flags = (b->floats ? FN_BATCH_FLOATS : 0) | (sse ? FN_BATCH_FLOAT : 0),
	};
}

/* --- Parts -------------------------------------------------------------------------------- */

static struct fn_batch *head_of(const struct batch *b, const struct part *p)
{
	return (struct fn_batch *)(void *)(b->sb->area + p->start);
}

static uint64_t *entry_of(const struct batch *b, const struct part *p, size_t index)
{
	return (uint64_t *)(void *)(b->sb->area + p->start + FN_BATCH_SIZE) + index * b->words;
}

/* How many calls fit into `room` bytes; their data not counted. */
static size_t capacity(const struct batch *b, uint64_t room)
{
	size_t left = b->calls->count - b->next, most;

	if (b->has_data)
		room /= ENTRY_SHARE;
	if (room <= FN_BATCH_SIZE + FN_BATCH_TAIL)
		return left ? 1 : 0;
	most = (room - FN_BATCH_SIZE - FN_BATCH_TAIL) / b->head.stride;
	if (b->sb->is_hot && most > HOT_PART)
		most = HOT_PART;
	if (!most)
		most = 1;
	return most < left ? most : left;
}

/* The call area up to `end` is in use, for restores, too. */
static int use_area(mayfly_sandbox *sb, uint64_t start, uint64_t len, mayfly_error *err)
{
	uint64_t size = sb->area_end, pages;

	if (!range_within(start, len, size))
		return fail(
			err, MAYFLY_E_TOO_LARGE,
			"a call of %llu bytes of arguments does not fit the call area of "
			"%llu bytes, of which %llu are in use: load the guest with a larger "
			"call area",
			(unsigned long long)len, (unsigned long long)size,
			(unsigned long long)start);
	sb->area_used = start + len;
	pages = page_up(sb->area_used) / PAGE_SIZE;
	if (pages > sb->inst.host_wrote[1].count)
		sb->inst.host_wrote[1].count = pages;
	return 0;
}

static int fill_entry(struct batch *b, struct part *p, size_t index, mayfly_error *err)
{
	const mayfly_batch *c = b->calls;
	uint64_t *entry = entry_of(b, p, index);
	struct marshal m = {
		.iregs = entry,
		.sregs = entry + b->ints,
		.stack = entry + b->ints + b->floats,
		.push = sandbox_push,
		.owner = b->sb,
	};

	return marshal_put(&m, b->fn, c->args + (p->first + index) * c->nargs, c->nargs, err);
}

/*
 * As many of the calls that are left as fit the part at `start`: none only if none is left, but
 * where it is not `alone`. A part that is may take more than its room.
 */
static int fill(struct batch *b, struct part *p, uint64_t start, bool alone, mayfly_error *err)
{
	mayfly_sandbox *sb = b->sb;
	size_t most = capacity(b, b->room), n = 0;
	int r = 0;

	*p = (struct part){.start = start, .first = b->next};
	if (!most)
		return 0;
	if (!alone)
		sb->area_end = start + b->room; /* the guest has what is behind it */
	r = use_area(sb, start, FN_BATCH_SIZE + most * b->head.stride + FN_BATCH_TAIL, err);
	while (r == 0 && n < most && !p->large) {
		uint64_t used = sb->area_used;

		r = fill_entry(b, p, n, err);
		p->large = sb->area_used - start > b->room;
		if (r == 0 && (!p->large || (n == 0 && alone))) {
			n++;
			continue;
		}
		sb->area_used = used;
		p->large = false;
		break;
	}
	sb->area_end = sb->guest->plan.call_area;
	/* Those before it come first; it will fail again when it is the first. */
	if (r < 0 && !n) {
		error_prefix(err, "call %zu of the batch", b->next + 1);
		return r;
	}
	p->count = n;
	b->next += n;
	b->head.count = n;
	if (n)
		*head_of(b, p) = b->head;
	return 0;
}

/* --- Running ------------------------------------------------------------------------------ */

/* Results of a part's first calls. */
static void take(struct batch *b, const struct part *p, uint64_t done)
{
	mayfly_value *results = b->calls->results;

	if (!p->count)
		return;
	/* The guest says how many; what it left in place of the others are values, too. */
	if (done > p->count)
		done = p->count;
	for (size_t i = 0; results && i < done; i++) {
		struct marshal_result words = {.rax = read_once(*entry_of(b, p, i))};

		words.xmm0 = words.rax;
		results[p->first + i].as.u64 = 0;
		marshal_get(b->fn, &words, &results[p->first + i]);
	}
	b->calls->done = p->first + done;
}

static void take_behind(struct batch *b)
{
	take(b, &b->behind, b->behind.count);
	b->behind.count = 0;
}

/* The guest works on b->now. */
static void meanwhile(void *context)
{
	struct batch *b = context;
	uint64_t other = b->now.start == b->start ? b->start + b->room : b->start;
	uint64_t used = b->sb->area_used;

	take_behind(b);
	/* What is wrong with it is said when its turn comes. */
	if (!b->now.large && fill(b, &b->ahead, other, false, NULL) < 0)
		b->ahead.count = 0;
	b->sb->area_used = used;
}

static int run_part(struct batch *b, mayfly_error *err)
{
	mayfly_sandbox *sb = b->sb;
	uint64_t end = b->start + (sb->is_hot ? 2 : 1) * b->room;
	int r;

	/* Nested calls and results of host functions go behind the parts. */
	if (b->now.large || !sb->is_hot)
		end = sb->area_used;
	sb->area_used = sb->area_base = end;
	sb->call->fn = sb->guest->layout.area_va + b->now.start;
	sb->reply = FN_REPLY_BATCH;
	sb->nstack = 0;
	b->ahead.count = 0;
	sb->meanwhile = sb->is_hot ? meanwhile : NULL;
	sb->meanwhile_context = b;
	r = sandbox_run(sb, FN_OP_RESULT, err);
	sb->meanwhile = NULL;
	take_behind(b);
	if (r < 0)
		take(b, &b->now, read_once(head_of(b, &b->now)->done));
	else
		b->behind = b->now;
	return r;
}

static int run_parts(struct batch *b, mayfly_error *err)
{
	int r = fill(b, &b->now, b->start, true, err);

	while (r == 0 && b->now.count) {
		r = run_part(b, err);
		b->now = b->ahead;
		if (r < 0 || b->now.count)
			continue;
		take_behind(b);
		r = fill(b, &b->now, b->start, true, err);
	}
	take_behind(b);
	return r;
}

static int check(const mayfly_sandbox *sb, const mayfly_function *fn, const mayfly_batch *calls,
		 mayfly_error *err)
{
	int r = sandbox_check_call(sb, fn, err);

	if (r < 0)
		return r;
	if (fn->sig.result == MAYFLY_STRING || fn->sig.result == MAYFLY_BYTES)
		return fail(err, MAYFLY_E_INVALID,
			    "results of calls in a batch cannot be strings or bytes, as those "
			    "of %s are: %s",
			    fn->name, fn->text);
	for (size_t i = 0; r == 0 && i < calls->count; i++) {
		r = marshal_check(fn, calls->args + i * calls->nargs, calls->nargs, err);
		if (r < 0)
			error_prefix(err, "call %zu of the batch", i + 1);
	}
	return r;
}

int sandbox_call_many(mayfly_sandbox *sb, const mayfly_function *fn, mayfly_batch *calls,
		      mayfly_error *err)
{
	struct batch b = {.sb = sb, .fn = fn, .calls = calls};
	uint64_t area_used = sb->area_used, area_base = sb->area_base, unused;
	bool outermost = sb->depth == 0;
	int r = check(sb, fn, calls, err);

	if (r < 0)
		return r;
	plan_entry(&b);
	b.start = (area_used + 63) & ~(uint64_t)63;
	unused = sb->guest->plan.call_area > b.start ? sb->guest->plan.call_area - b.start : 0;
	b.room = unused / (sb->is_hot ? 4 : 2) & ~(uint64_t)63;
	sb->depth++;
	if (outermost)
		sandbox_run_begin(sb);
	r = run_parts(&b, err);
	if (outermost)
		sandbox_run_end(sb);
	sb->depth--;
	sb->calls += calls->done;
	sb->area_used = area_used;
	sb->area_base = area_base;
	return r;
}

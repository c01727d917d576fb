/* SPDX-License-Identifier: Apache-2.0 */
#include "function/layout.h"

#include <stdio.h>
#include <string.h>

#include "abi/function.h"

#define LARGE ((uint64_t)1 << 21)
/* Unmapped addresses between parts: a stray index runs into them. */
#define GAP ((uint64_t)64 << 10)
/* Under a stack that does not lie at the bottom: more than any sane frame. */
#define STACK_GUARD ((uint64_t)1 << 30)
#define MIN_HEAP PAGE_SIZE

#define KERNEL_STACK_VA (FN_SUPERVISOR_VA + 2 * PAGE_SIZE)

struct maker {
	struct layout *l;
	uint64_t gpa;	     /* next free private page */
	uint64_t shared_gpa; /* next free shared page */
};

static int check_plan(const struct layout_plan *p, mayfly_error *err)
{
	uint64_t last = FN_IMAGE_MIN_VA, total = 0;

	if (p->memory > LAYOUT_MAX_MEMORY || (p->memory & PAGE_MASK))
		return fail(err, MAYFLY_E_INVALID,
			    "guest memory of %llu bytes: at most 64 GiB, whole pages",
			    (unsigned long long)p->memory);
	if (!p->stack || p->stack > p->memory || (p->stack & PAGE_MASK))
		return fail(err, MAYFLY_E_INVALID,
			    "a stack of %llu bytes does not fit guest memory of %llu bytes",
			    (unsigned long long)p->stack, (unsigned long long)p->memory);
	if (!p->call_area || p->call_area > p->memory || (p->call_area & PAGE_MASK))
		return fail(err, MAYFLY_E_INVALID,
			    "a call area of %llu bytes does not fit guest memory of %llu bytes",
			    (unsigned long long)p->call_area, (unsigned long long)p->memory);
	if (p->nruns > LAYOUT_MAX_RUNS)
		return fail(err, MAYFLY_E_INVALID, "the image has too many parts");
	for (uint32_t i = 0; i < p->nruns; i++) {
		const struct layout_run *r = &p->runs[i];

		if (r->va < last || !r->len || ((r->va | r->len) & PAGE_MASK) ||
		    !range_within(r->va, r->len, FN_IMAGE_MAX_VA) ||
		    r->len > p->memory - total ||
		    (r->prot & ~(GMEM_READ | GMEM_WRITE | GMEM_EXEC)) ||
		    (r->prot && !(r->prot & GMEM_READ)) ||
		    ((r->prot & GMEM_WRITE) && (r->prot & GMEM_EXEC)))
			return fail(err, MAYFLY_E_INVALID,
				    "part %u of the image is out of place", i);
		last = r->va + r->len;
		/* Before tables are made for it: they cost memory, too. */
		total += r->len;
	}
	return 0;
}

/* Map a region at its place, on the next pages of its part of guest-physical memory. */
static int add(struct maker *m, struct gmem_region region, mayfly_error *err)
{
	uint64_t *next = region.shared ? &m->shared_gpa : &m->gpa;
	uint32_t flags = region.prot ? PAGING_USER : 0;

	/* Ring 0's own: its page is code and tables, the stack is data. */
	if (!region.prot)
		flags |= region.shared ? PAGING_EXEC : PAGING_WRITE;
	if (region.prot & GMEM_WRITE)
		flags |= PAGING_WRITE;
	if (region.prot & GMEM_EXEC)
		flags |= PAGING_EXEC;
	region.gpa = *next;
	*next += region.len;
	gmem_map_add(&m->l->map, &region);
	return paging_map(&m->l->tables, region.va, region.gpa, region.len, flags, err);
}

/* A region as add() takes it; the name is a literal. */
/* NOLINTBEGIN(bugprone-macro-parentheses) */
#define REGION(name_, va_, len_, prot_, shared_)                                               \
	((struct gmem_region){.name = name_,                                                   \
			      .va = (va_),                                                     \
			      .len = (len_),                                                   \
			      .prot = (prot_),                                                 \
			      .shared = (shared_)})
/* NOLINTEND(bugprone-macro-parentheses) */

static int add_image(struct maker *m, const struct layout_plan *p, bool writable,
		     mayfly_error *err)
{
	for (uint32_t i = 0; i < p->nruns; i++) {
		const struct layout_run *r = &p->runs[i];
		struct gmem_region region;
		int e;

		if (!r->prot || !!(r->prot & GMEM_WRITE) != writable)
			continue;
		if (r->prot & GMEM_EXEC)
			region = REGION("code", r->va, r->len, r->prot, !writable);
		else if (writable)
			region = REGION("data", r->va, r->len, r->prot, !writable);
		else
			region = REGION("constants", r->va, r->len, r->prot, !writable);
		e = add(m, region, err);
		if (e < 0)
			return e;
	}
	return 0;
}

static uint64_t image_end(const struct layout_plan *p)
{
	if (!p->nruns)
		return FN_IMAGE_MIN_VA;
	return p->runs[p->nruns - 1].va + p->runs[p->nruns - 1].len;
}

static int add_fixed(struct maker *m, mayfly_error *err)
{
	struct layout *l = m->l;
	int r;

	l->kernel_stack_top = KERNEL_STACK_VA + PAGE_SIZE;
	r = add(m, REGION("gate", FN_GATE_VA, PAGE_SIZE, GMEM_READ | GMEM_EXEC, true), err);
	if (r == 0)
		r = add(m, REGION("ring 0", FN_SUPERVISOR_VA, PAGE_SIZE, 0, true), err);
	if (r == 0)
		r = add(m, REGION("ring 0 stack", KERNEL_STACK_VA, PAGE_SIZE, 0, false), err);
	l->state_gpa = m->gpa;
	if (r == 0)
		r = add(m, REGION("state", FN_FRESH_VA, PAGE_SIZE, GMEM_READ, false), err);
	l->call_gpa = m->gpa;
	if (r == 0)
		r = add(m,
			REGION("call block", FN_CALL_VA, PAGE_SIZE, GMEM_READ | GMEM_WRITE,
			       false),
			err);
	return r;
}

static int too_small(const struct layout_plan *p, uint64_t need, mayfly_error *err)
{
	return fail(err, MAYFLY_E_TOO_LARGE,
		    "the guest does not fit its memory of %llu KiB: image, stack (%llu KiB), "
		    "call area "
		    "(%llu KiB) and tables need %llu KiB without any heap; give it more memory",
		    (unsigned long long)p->memory >> 10, (unsigned long long)p->stack >> 10,
		    (unsigned long long)p->call_area >> 10, (unsigned long long)need >> 10);
}

/*
 * Lay out with room for `tables` pages of page tables; how many it took is in l->tables.used.
 */
static int try_make(const struct layout_plan *p, uint32_t tables, struct layout *l,
		    mayfly_error *err)
{
	struct maker m = {.l = l, .gpa = tables * PAGE_SIZE, .shared_gpa = LAYOUT_SHARED_GPA};
	const uint32_t rw = GMEM_READ | GMEM_WRITE;
	bool low_stack = p->stack <= FN_LOW_STACK_MAX;
	uint64_t need;
	int r;

	memset(l, 0, sizeof(*l));
	r = paging_init(&l->tables, 0, err);
	if (r == 0)
		r = add_fixed(&m, err);
	if (r == 0)
		r = add_image(&m, p, false, err);
	l->stack_gpa = m.gpa;
	m.gpa += p->stack; /* mapped below, where its address is known */
	if (r == 0)
		r = add_image(&m, p, true, err);
	if (r < 0)
		return r;
	need = m.gpa + p->call_area + (m.shared_gpa - LAYOUT_SHARED_GPA);
	if (need + MIN_HEAP > p->memory)
		return too_small(p, need, err);

	/* The heap's pages can be large where both addresses leave the same rest. */
	l->heap_len = p->memory - need;
	l->heap_va = page_up(image_end(p) + GAP);
	if (l->heap_len >= 2 * LARGE)
		l->heap_va += (m.gpa - l->heap_va) % LARGE;
	r = add(&m, REGION("heap", l->heap_va, l->heap_len, rw, false), err);
	l->area_va = l->heap_va + l->heap_len + GAP;
	l->area_gpa = m.gpa;
	if (r == 0)
		r = add(&m, REGION("call area", l->area_va, p->call_area, rw, false), err);
	l->map.private_len = m.gpa;

	l->stack_top = low_stack ? FN_LOW_STACK_TOP
				 : page_up(l->area_va + p->call_area + STACK_GUARD + p->stack);
	l->stack_va = l->stack_top - p->stack;
	m.gpa = l->stack_gpa;
	if (r == 0)
		r = add(&m, REGION("stack", l->stack_va, p->stack, rw, false), err);
	l->map.shared_gpa = LAYOUT_SHARED_GPA;
	l->map.shared_len = m.shared_gpa - LAYOUT_SHARED_GPA;
	return r;
}

int layout_make(const struct layout_plan *plan, struct layout *out, mayfly_error *err)
{
	uint32_t tables = 6;
	int r = check_plan(plan, err);

	if (r < 0)
		return r;
	/*
	 * How many tables there are can depend on where they end; it only grows, and settles.
	 */
	for (;;) {
		r = try_make(plan, tables, out, err);
		if (r < 0 || out->tables.used <= tables)
			break;
		tables = out->tables.used;
		paging_fini(&out->tables);
	}
	if (r < 0) {
		paging_fini(&out->tables);
		return r;
	}
	/*
	 * It can have taken fewer in the end: the rest, which the map has room for, stays zero.
	 */
	r = paging_reserve(&out->tables, tables, err);
	if (r < 0)
		paging_fini(&out->tables);
	else
		out->tables.used = tables;
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where everything of a function guest lies. A pure function of the plan, so that an opened
 * snapshot file gets its ring-0 parts from us, never from the file.
 *
 * Guest-virtual: 0x10000 gate, state, call block, ring-0 page and stack; the stack under 2 MiB
 * (if
 *                 it is small enough); the image; the heap; the call area; a large stack. Gaps,
 *                 which cost nothing, lie between.
 * Guest-physical: private: page tables, ring-0 stack, state, call block, stack, writable image,
 *                 heap, call area. Shared: gate, ring-0 page, read-only image.
 */
#ifndef MAYFLY_FUNCTION_LAYOUT_H
#define MAYFLY_FUNCTION_LAYOUT_H

#include "arch/x86_64/paging.h"
#include "core/gmem.h"

#define LAYOUT_MAX_RUNS 72
#define LAYOUT_SHARED_GPA ((uint64_t)1 << 37)
#define LAYOUT_MAX_MEMORY ((uint64_t)64 << 30)
/* Shared pages made by us: the gate's and ring 0's. */
#define LAYOUT_SYSTEM_LEN (2 * PAGE_SIZE)

/* Pages of the image with the same protection (GMEM_), ascending. */
struct layout_run {
	uint64_t va;
	uint64_t len;
	uint32_t prot;
};

/* What the layout follows from. Sizes in bytes, whole pages. */
struct layout_plan {
	uint64_t memory;
	uint64_t stack;
	uint64_t call_area;
	struct layout_run runs[LAYOUT_MAX_RUNS];
	uint32_t nruns;
};

struct layout {
	struct gmem_map map;
	struct paging tables;
	uint64_t state_gpa;
	uint64_t call_gpa;
	uint64_t stack_va; /* lowest */
	uint64_t stack_top;
	uint64_t stack_gpa;
	uint64_t heap_va;
	uint64_t heap_len;
	uint64_t area_va;
	uint64_t area_gpa;
	uint64_t kernel_stack_top;
};

/*
 * Check the plan (it may come from a file) and lay it out. On success the tables are the
 * caller's: paging_fini(). Errors: TOO_LARGE (says what is needed), INVALID, NOMEM.
 */
int layout_make(const struct layout_plan *plan, struct layout *out, mayfly_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What measurements call: as little as possible, and a given number of pages dirtied. */
#include "abi/function.h"
#include "mayfly_guest.h"

static void nothing(void)
{
}
MAYFLY_EXPORT(nothing, void);

static int64_t add(int64_t a, int64_t b)
{
	return a + b;
}
MAYFLY_EXPORT(add, i64, i64, i64);

MAYFLY_IMPORT(host_add, i64, i64, i64);

static int64_t add_by_host(int64_t a, int64_t b)
{
	return host_add(a, b);
}
MAYFLY_EXPORT(add_by_host, i64, i64, i64);

/*
 * Write one word to each of the heap's first `pages` pages, without the heap's own bookkeeping.
 * Gives how many there were, which is fewer where the heap is smaller.
 */
static uint32_t dirty(uint32_t pages)
{
	const struct fn_call *call = (const struct fn_call *)(uintptr_t)FN_CALL_VA;
	uint64_t at = (call->heap_start + 4095) & ~UINT64_C(4095);
	uint32_t n;

	for (n = 0; n < pages && at + 4096 <= call->heap_end; n++, at += 4096)
		++*(volatile uint64_t *)at;
	return n;
}
MAYFLY_EXPORT(dirty, u32, u32);

/* The same, `stride` pages apart. */
static uint32_t dirty_spread(uint32_t pages, uint32_t stride)
{
	const struct fn_call *call = (const struct fn_call *)(uintptr_t)FN_CALL_VA;
	uint64_t at = (call->heap_start + 4095) & ~UINT64_C(4095);
	uint32_t n;

	for (n = 0; n < pages && at + 4096 <= call->heap_end;
	     n++, at += UINT64_C(4096) * stride)
		++*(volatile uint64_t *)at;
	return n;
}
MAYFLY_EXPORT(dirty_spread, u32, u32, u32);

/* What dirty() left in page `page`: how often it came by since the snapshot. */
static uint64_t dirtied(uint32_t page)
{
	const struct fn_call *call = (const struct fn_call *)(uintptr_t)FN_CALL_VA;
	uint64_t at = (call->heap_start + 4095) & ~UINT64_C(4095);

	return *(volatile uint64_t *)(at + UINT64_C(4096) * page);
}
MAYFLY_EXPORT(dirtied, u64, u32);

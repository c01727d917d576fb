/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plants a pattern in every place that a guest can write, and looks for it: what one call
 * leaves must not be there after a restore. The looking functions are given the pattern
 * inverted, so that their own arguments and frames are never mistaken for it.
 */
#include "state.h"

#include "abi/function.h"
#include "mayfly_guest.h"

/* In state_registers.S. */
uint64_t plant_registers(uint64_t pattern, uint64_t what);
MAYFLY_EXPORT(plant_registers, u64, u64, u64);
mayfly_bytes look_registers(uint64_t what);
MAYFLY_EXPORT(look_registers, bytes, u64);

#define WORDS 512
#define STACK_WORDS 12288 /* 96 KiB */

static volatile uint64_t data[WORDS] = {1};
static volatile uint64_t zeroed[WORDS];
static _Thread_local volatile uint64_t local[8];

static void plant(volatile uint64_t *p, size_t words, uint64_t pattern)
{
	for (size_t i = 0; i < words; i++)
		p[i] = pattern;
}

/* Deep frames are used by calls that need them, then given up. */
static __attribute__((noinline)) void plant_stack(uint64_t pattern)
{
	volatile uint64_t deep[STACK_WORDS];

	plant(deep, STACK_WORDS, pattern);
}

static volatile uint64_t *words_of(mayfly_bytes area, size_t *words)
{
	uintptr_t start = ((uintptr_t)area.data + 7) & ~(uintptr_t)7;
	uintptr_t end = ((uintptr_t)area.data + area.len) & ~(uintptr_t)7;

	*words = end > start ? (end - start) / 8 : 0;
	return (volatile uint64_t *)start;
}

/* `area` is any bytes argument, which is how the call area is found. */
static void plant_memory(uint64_t pattern, mayfly_bytes area)
{
	struct fn_call *call = (struct fn_call *)(uintptr_t)FN_CALL_VA;
	uint64_t *block = malloc(65536);
	size_t words;
	volatile uint64_t *p = words_of(area, &words);

	plant(p, words, pattern);
	mayfly_assert(block);
	plant(block, 65536 / 8, pattern);
	plant((volatile uint64_t *)(call->heap_end - 4096), WORDS, pattern);
	plant(data, WORDS, pattern);
	plant(zeroed, WORDS, pattern);
	plant(local, 8, pattern);
	plant_stack(pattern);
	plant((volatile uint64_t *)(uintptr_t)(FN_CALL_VA + FN_CALL_STACK),
	      WORDS - FN_CALL_STACK / 8, pattern);
}
MAYFLY_EXPORT(plant_memory, void, u64, bytes);

/* Whether the pattern is among the words; it is never formed here, not even in a register. */
static bool holds(const volatile uint64_t *p, size_t words, uint64_t inverted)
{
	for (size_t i = 0; i < words; i++) {
		uint64_t sum = p[i] ^ inverted;

		__asm__("" : "+r"(sum));
		if (sum == UINT64_MAX)
			return true;
	}
	return false;
}

/*
 * As STATE_DATA...: where the inverse of `inverted` is found. `stack` bytes of it are searched.
 */
static uint64_t look_memory(uint64_t inverted, uint64_t stack, mayfly_bytes area)
{
	const struct fn_call *call = (const struct fn_call *)(uintptr_t)FN_CALL_VA;
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)7;
	uint64_t found = 0;
	size_t words;
	volatile uint64_t *p = words_of(area, &words);

	if (holds(p, words, inverted))
		found |= STATE_CALL_AREA;
	if (holds(data, WORDS, inverted))
		found |= STATE_DATA;
	if (holds(zeroed, WORDS, inverted))
		found |= STATE_BSS;
	if (holds(local, 8, inverted))
		found |= STATE_TLS;
	if (holds((const volatile uint64_t *)call->heap_start,
		  (call->heap_end - call->heap_start) / 8, inverted))
		found |= STATE_HEAP;
	if (holds((const volatile uint64_t *)(frame - stack), stack / 8, inverted))
		found |= STATE_STACK;
	if (holds((const volatile uint64_t *)(uintptr_t)FN_CALL_VA, WORDS, inverted))
		found |= STATE_CALL_BLOCK;
	return found;
}
MAYFLY_EXPORT(look_memory, u64, u64, u64, bytes);

/* The stack protector's secret, which is a new one after each restore. */
static uint64_t canary(void)
{
	uint64_t v;

	__asm__ volatile("movq %%fs:0x28, %0" : "=r"(v));
	return v;
}
MAYFLY_EXPORT(canary, u64);

/* --- what stays from call to call, until restored ----------------------------------------- */

static uint64_t counter;

static uint64_t count(void)
{
	return ++counter;
}
MAYFLY_EXPORT(count, u64);

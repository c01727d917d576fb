/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes from the host, and the generation number. */
#include "abi/function.h"
#include "mayfly_guest.h"

static mayfly_bytes random_bytes(uint32_t len)
{
	char *p = calloc(1, len + UINT64_C(16));

	mayfly_assert(p);
	mayfly_random(p, len);
	/* Not a byte more than was asked for. */
	for (uint32_t i = 0; i < 16; i++)
		mayfly_assert(!p[len + i]);
	return (mayfly_bytes){p, len};
}
MAYFLY_EXPORT(random_bytes, bytes, u32);

static uint64_t random_u64(void)
{
	uint64_t v;

	mayfly_random(&v, sizeof(v));
	return v;
}
MAYFLY_EXPORT(random_u64, u64);

static uint64_t generation(void)
{
	return mayfly_generation();
}
MAYFLY_EXPORT(generation, u64);

/* The seed in the call block, which is a new one after each restore. */
static mayfly_bytes seed(void)
{
	const struct fn_call *call = (const struct fn_call *)(uintptr_t)FN_CALL_VA;

	return (mayfly_bytes){call->seed, sizeof(call->seed)};
}
MAYFLY_EXPORT(seed, bytes);

/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that take long, or for ever: for timeouts and interrupts. */
#include "mayfly_guest.h"

static void infinite_loop(void)
{
	for (;;)
		__asm__ volatile("" ::: "memory");
}
MAYFLY_EXPORT(infinite_loop, void);

static void infinite_pause(void)
{
	for (;;)
		__asm__ volatile("pause" ::: "memory");
}
MAYFLY_EXPORT(infinite_pause, void);

/* A loop that enters and leaves memory, vector registers and string instructions. */
static void infinite_work(void)
{
	static char a[8192], b[8192];

	for (;;) {
		memcpy(a, b, sizeof(a));
		memset(b, a[100] + 1, sizeof(b));
		__asm__ volatile("" ::: "memory");
	}
}
MAYFLY_EXPORT(infinite_work, void);

MAYFLY_IMPORT(host_tick, u64, u64);

/* Calls the host until it is stopped. */
static void infinite_hostcalls(void)
{
	for (uint64_t n = 0;; n++)
		host_tick(n);
}
MAYFLY_EXPORT(infinite_hostcalls, void);

static void infinite_printing(void)
{
	for (;;)
		mayfly_print("again\n", 6);
}
MAYFLY_EXPORT(infinite_printing, void);

/* One host function, then for ever: a host function that interrupts its own call. */
static void tick_then_loop(void)
{
	host_tick(0);
	infinite_loop();
}
MAYFLY_EXPORT(tick_then_loop, void);

static uint64_t spin(uint64_t rounds)
{
	uint64_t v = 1;

	for (uint64_t i = 0; i < rounds; i++) {
		v = v * UINT64_C(6364136223846793005) + 1442695040888963407;
		__asm__ volatile("" : "+r"(v));
	}
	return v;
}
MAYFLY_EXPORT(spin, u64, u64);

static int64_t add(int64_t a, int64_t b)
{
	return a + b;
}
MAYFLY_EXPORT(add, i64, i64, i64);

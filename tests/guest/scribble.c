/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes over all of a range of addresses, which the test gives page by page: what is not
 * writable faults, what is must harm nobody but this guest.
 */
#include "mayfly_guest.h"

/* A word that differs from place to place, so that no two pages are alike. */
static void scribble(uint64_t start, uint64_t end, uint64_t seed)
{
	for (uint64_t at = start; at + 8 <= end; at += 8)
		*(volatile uint64_t *)at = (at ^ seed) * UINT64_C(0x9e3779b97f4a7c15);
}
MAYFLY_EXPORT(scribble, void, u64, u64, u64);

/* Whether a page can be read: its first word. */
static uint64_t read_at(uint64_t address)
{
	return *(volatile uint64_t *)address;
}
MAYFLY_EXPORT(read_at, u64, u64);

/* Adds 0 with a write: to find out what is writable without changing it. */
static void touch(uint64_t address)
{
	__asm__ volatile("lock orb $0, (%0)" : : "r"(address) : "memory", "cc");
}
MAYFLY_EXPORT(touch, void, u64);

/* Still in order? */
static uint64_t alive(void)
{
	return 0x600d;
}
MAYFLY_EXPORT(alive, u64);

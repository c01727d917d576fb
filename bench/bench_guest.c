/* SPDX-License-Identifier: Apache-2.0 */
/* The guest of `mayfly bench`, which carries it. */
#include <mayfly_guest.h>

#define PAGE 4096
#define MAX_PAGES 256

MAYFLY_IMPORT(host_add, i64, i64, i64);
MAYFLY_IMPORT(spinning, void);

static char pages[MAX_PAGES][PAGE] __attribute__((aligned(PAGE)));

static int64_t add(int64_t a, int64_t b)
{
	return a + b;
}
MAYFLY_EXPORT(add, i64, i64, i64);

/* Write to so many pages. */
static uint32_t dirty(uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n && i < MAX_PAGES; i++)
		((volatile char *)pages[i])[i] = (char)(i + 1);
	return i;
}
MAYFLY_EXPORT(dirty, u32, u32);

static int64_t call_host(int64_t a)
{
	return host_add(a, 1);
}
MAYFLY_EXPORT(call_host, i64, i64);

/* Say so, then never return. */
static void spin(void)
{
	spinning();
	for (;;)
		__asm__ volatile("pause");
}
MAYFLY_EXPORT(spin, void);

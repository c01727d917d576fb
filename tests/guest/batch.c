/* SPDX-License-Identifier: Apache-2.0 */
/* Functions to be called many times at once: of all registers, and such that fail. */
#include "mayfly_guest.h"

MAYFLY_IMPORT(host_next, i64, i64);
MAYFLY_IMPORT(host_echo, string, string);

static int64_t calls;

static int64_t add(int64_t a, int64_t b)
{
	calls++;
	return (int64_t)((uint64_t)a + (uint64_t)b);
}
MAYFLY_EXPORT(add, i64, i64, i64);

static int64_t call_count(void)
{
	return calls;
}
MAYFLY_EXPORT(call_count, i64);

static void count(void)
{
	calls++;
}
MAYFLY_EXPORT(count, void);

/* Fills both register files; the last ones are on the stack. The digits say what came where. */
static double weigh(double a, int64_t b, float c, int32_t d, double e, uint32_t f, float g,
		    int64_t h, double i, uint64_t j, float k, bool l, double m, double n,
		    int64_t o, double p)
{
	return a + 2 * (double)b + 3 * (double)c + 4 * d + 5 * e + 6 * (double)f +
	       7 * (double)g + 8 * (double)h + 9 * i + 10 * (double)j + 11 * (double)k +
	       12 * l + 13 * m + 14 * n + 15 * (double)o + 16 * p;
}
MAYFLY_EXPORT(weigh, f64, f64, i64, f32, i32, f64, u32, f32, i64, f64, u64, f32, bool, f64, f64,
	      i64, f64);

static float half(float v)
{
	return v / 2;
}
MAYFLY_EXPORT(half, f32, f32);

static bool is_odd(uint32_t v)
{
	return v & 1;
}
MAYFLY_EXPORT(is_odd, bool, u32);

static int32_t negate(int32_t v)
{
	return -v;
}
MAYFLY_EXPORT(negate, i32, i32);

/* Faults where b is 0. */
static int64_t divide(int64_t a, int64_t b)
{
	calls++;
	__asm__("cqto; idivq %1" : "+a"(a) : "r"(b) : "rdx", "cc");
	return a;
}
MAYFLY_EXPORT(divide, i64, i64, i64);

/* For ever where v is 0. */
static int64_t end_or_not(int64_t v)
{
	calls++;
	while (!v)
		__asm__ volatile("pause");
	return v;
}
MAYFLY_EXPORT(end_or_not, i64, i64);

static uint64_t sum(mayfly_bytes v, const char *text)
{
	const uint8_t *p = v.data;
	uint64_t s = strlen(text);

	for (size_t i = 0; i < v.len; i++)
		s += p[i];
	return s;
}
MAYFLY_EXPORT(sum, u64, bytes, string);

static int64_t next(int64_t v)
{
	return host_next(v);
}
MAYFLY_EXPORT(next, i64, i64);

static uint64_t echoed(const char *text)
{
	return strlen(host_echo(text));
}
MAYFLY_EXPORT(echoed, u64, string);

static const char *name(void)
{
	return "batch";
}
MAYFLY_EXPORT(name, string);

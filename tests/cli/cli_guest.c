/* SPDX-License-Identifier: Apache-2.0 */
/* The guest of the command's tests: one function for each thing that can be seen from outside. */
#include <mayfly_guest.h>

MAYFLY_IMPORT(host_word, string, i32);

/* --- Every type there and back --------------------------------------------------------------- */

#define ECHO(type, ctype)                                                                      \
	static ctype echo_##type(ctype v)                                                      \
	{                                                                                      \
		return v;                                                                      \
	}                                                                                      \
	MAYFLY_EXPORT(echo_##type, type, type)

static _Bool echo_bool(_Bool v)
{
	return v;
}
MAYFLY_EXPORT(echo_bool, bool, bool);

ECHO(i32, int32_t);
ECHO(u32, uint32_t);
ECHO(i64, int64_t);
ECHO(u64, uint64_t);
ECHO(f32, float);
ECHO(f64, double);
ECHO(string, const char *);
ECHO(bytes, mayfly_bytes);

static int64_t add(int64_t a, int64_t b)
{
	return a + b;
}
MAYFLY_EXPORT(add, i64, i64, i64);

static void nothing(void)
{
}
MAYFLY_EXPORT(nothing, void);

static uint64_t length(mayfly_bytes b)
{
	return b.len;
}
MAYFLY_EXPORT(length, u64, bytes);

/* --- State ----------------------------------------------------------------------------------- */

static uint32_t calls;

static uint32_t count(void)
{
	return ++calls;
}
MAYFLY_EXPORT(count, u32);

/* --- Text that could command a terminal ------------------------------------------------------ */

static const char *escapes(void)
{
	return "a\033[31mb\177c";
}
MAYFLY_EXPORT(escapes, string);

static int32_t say(const char *text)
{
	return mayfly_puts(text);
}
MAYFLY_EXPORT(say, i32, string);

static const char *missing_host(void)
{
	host_word(1);
	return mayfly_host_error();
}
MAYFLY_EXPORT(missing_host, string);

/* --- Dying ----------------------------------------------------------------------------------- */

static int32_t wild_write(uint64_t address)
{
	*(volatile int32_t *)address = 1;
	return 0;
}
MAYFLY_EXPORT(wild_write, i32, u64);

static int32_t divide(int32_t a, int32_t b)
{
	int32_t quotient;

	/* By the instruction: the compiler may assume that b is not 0. */
	__asm__ volatile("cltd; idivl %2" : "=a"(quotient) : "0"(a), "r"(b) : "edx");
	return quotient;
}
MAYFLY_EXPORT(divide, i32, i32, i32);

static void undefined(void)
{
	__asm__ volatile("ud2");
}
MAYFLY_EXPORT(undefined, void);

static void breakpoint(void)
{
	__asm__ volatile("int3");
}
MAYFLY_EXPORT(breakpoint, void);

static void privileged(void)
{
	__asm__ volatile("cli");
}
MAYFLY_EXPORT(privileged, void);

static void linux_exit(void)
{
	__asm__ volatile("syscall" : : "a"(60), "D"(0) : "rcx", "r11", "memory");
}
MAYFLY_EXPORT(linux_exit, void);

static uint64_t recurse(uint64_t depth)
{
	volatile char frame[256];

	frame[depth % sizeof(frame)] = 1;
	if (!depth)
		return (uint64_t)frame[0];
	return recurse(depth - 1) + (uint64_t)frame[depth % sizeof(frame)];
}
MAYFLY_EXPORT(recurse, u64, u64);

static void give_up(int32_t code, const char *text)
{
	mayfly_abort(code, "%s", text);
}
MAYFLY_EXPORT(give_up, void, i32, string);

static void forever(void)
{
	for (;;)
		__asm__ volatile("pause");
}
MAYFLY_EXPORT(forever, void);

static uint64_t read_tsc(void)
{
	return __builtin_ia32_rdtsc() != 0;
}
MAYFLY_EXPORT(read_tsc, u64);

/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel.h"

#define SERIAL 0x3f8
#define PORT_EXIT 0xf4

const struct start_info *start_info;
const char *command_line;

void kernel_main(void);

/* --- console ------------------------------------------------------------------------------- */

void print(const char *s)
{
	for (; *s; s++)
		out8(SERIAL, (uint8_t)*s);
}

static void print_base(uint64_t v, uint32_t base)
{
	char digits[24];
	uint32_t n = sizeof(digits) - 1;

	digits[n] = '\0';
	do {
		digits[--n] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	print(digits + n);
}

void print_number(uint64_t v)
{
	print_base(v, 10);
}

void print_hex(uint64_t v)
{
	print("0x");
	print_base(v, 16);
}

void leave(uint8_t status)
{
	out32(PORT_EXIT, status);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void wrong(const char *what, const char *file, int line)
{
	print("FAIL ");
	print(file);
	print(":");
	print_number((uint64_t)line);
	print(": ");
	print(what);
	print("\n");
	leave(1);
}

void equal(uint64_t found, uint64_t wanted, const char *what, int line)
{
	if (found == wanted)
		return;
	print("FAIL line ");
	print_number((uint64_t)line);
	print(": ");
	print(what);
	print(" is ");
	print_hex(found);
	print(", not ");
	print_hex(wanted);
	print("\n");
	leave(1);
}

/* --- command line ---------------------------------------------------------------------------- */

bool starts_with(const char *s, const char *prefix)
{
	while (*prefix)
		if (*s++ != *prefix++)
			return false;
	return true;
}

const char *option(const char *key)
{
	const char *s = command_line;

	while (*s) {
		const char *k = key;

		while (*k && *s == *k) {
			s++;
			k++;
		}
		if (!*k && *s == '=')
			return s + 1;
		while (*s && *s != ' ')
			s++;
		while (*s == ' ')
			s++;
	}
	return NULL;
}

static uint64_t number(const char *s)
{
	uint64_t v = 0, base = 10;

	if (s[0] == '0' && s[1] == 'x') {
		base = 16;
		s += 2;
	}
	for (;; s++) {
		uint64_t digit;

		if (*s >= '0' && *s <= '9')
			digit = (uint64_t)(*s - '0');
		else if (base == 16 && *s >= 'a' && *s <= 'f')
			digit = (uint64_t)(*s - 'a') + 10;
		else
			return v;
		v = v * base + digit;
	}
}

uint64_t option_number(const char *key, uint64_t otherwise)
{
	const char *s = option(key);

	return s ? number(s) : otherwise;
}

/* Whether the word at `s` is `name`. */
static bool word_is(const char *s, const char *name)
{
	while (*name)
		if (*s++ != *name++)
			return false;
	return *s == ' ' || *s == '\0';
}

/* --- what the compiler calls -------------------------------------------------------------------- */

void *memcpy(void *to, const void *from, size_t len)
{
	void *d = to;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(len)::"memory");
	return to;
}

void *memset(void *to, int v, size_t len)
{
	void *d = to;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(len) : "a"(v) : "memory");
	return to;
}

/* ------------------------------------------------------------------------------------------------ */

static void run(const char *test, const struct check *checks)
{
	for (; checks->name; checks++) {
		if (!word_is(test, checks->name))
			continue;
		checks->run();
		print("ok ");
		print(checks->name);
		print("\n");
		leave(0);
	}
}

void kernel_main(void)
{
	const char *test;

	start_info = at(entry_state.ebx);
	command_line = at(start_info->cmdline);
	test = option("test");
	if (!test) {
		print("hello from the test kernel\n");
		leave((uint8_t)option_number("status", 0));
	}
	run(test, platform_checks);
	run(test, device_checks);
	run(test, hostile_checks);
	wrong("there is no such test", __FILE__, __LINE__);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Printing to the host's sink. */
#include "mayfly_guest.h"

static int32_t print(const char *text)
{
	return mayfly_printf("%s", text);
}
MAYFLY_EXPORT(print, i32, string);

static int32_t print_bytes(mayfly_bytes v)
{
	return mayfly_print(v.data, v.len);
}
MAYFLY_EXPORT(print_bytes, i32, bytes);

static int32_t print_formats(int32_t i, double d, const char *s)
{
	return printf("[%d] [%08x] [%-6d] [%.3f] [%g] [%e] [%10s] [%.2s] [%c] [%%]\n", i,
		      (unsigned int)i, i, d, d, d, s, s, 'c');
}
MAYFLY_EXPORT(print_formats, i32, i32, f64, string);

/* "line 0\n" and so on, by the C library's names. */
static int32_t print_lines(uint32_t n)
{
	int32_t sum = 0;

	for (uint32_t i = 0; i < n; i++) {
		char line[32];
		int result;

		snprintf(line, sizeof(line), "line %u", i);
		result = puts(line);
		if (result < 0)
			return result;
		sum += result;
	}
	return sum;
}
MAYFLY_EXPORT(print_lines, i32, u32);

static int32_t print_character(int32_t c)
{
	return putchar(c);
}
MAYFLY_EXPORT(print_character, i32, i32);

static const char *format_double(double v)
{
	static char text[400];

	mayfly_snprintf(text, sizeof(text), "%.17g", v);
	return text;
}
MAYFLY_EXPORT(format_double, string, f64);

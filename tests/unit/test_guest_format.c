/* SPDX-License-Identifier: Apache-2.0 */
/* The guest library's formatted printing, held against the C library's. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <limits.h>
#include <math.h>

#include "guest_host.h"

/* Formats are made at run time here. */
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"

static char ours[8192], theirs[8192];

static void expect_same(const char *format, int n, int m)
{
	if (n != m || strcmp(ours, theirs) != 0)
		fail_msg("\"%s\" gave %d \"%s\", the C library %d \"%s\"", format, n, ours, m,
			 theirs);
}

#define SAME(format, ...)                                                                      \
	expect_same(format, mayfly_snprintf(ours, sizeof(ours), format, ##__VA_ARGS__),        \
		    snprintf(theirs, sizeof(theirs), format, ##__VA_ARGS__))

static uint64_t seed;

static int setup(void **state)
{
	(void)state;
	guest_host_reset();
	seed = 88172645463325252u;
	return 0;
}

static uint64_t below(uint64_t n)
{
	return next_random(&seed) % n;
}

/* A random conversion specification with `length` and one of `conversions`. */
static void make_format(char *format, int precision_max, const char *length,
			const char *conversions)
{
	char *p = format;

	*p++ = '<';
	*p++ = '%';
	for (const char *flag = "-+ #0"; *flag; flag++) {
		if (!below(4))
			*p++ = *flag;
	}
	if (!below(3))
		p += sprintf(p, "%d", (int)below(60) + 1);
	if (below(3))
		p += sprintf(p, ".%d", (int)below((uint64_t)precision_max + 1));
	p += sprintf(p, "%s", length);
	*p++ = conversions[below(strlen(conversions))];
	*p++ = '>';
	*p = '\0';
	/*
	 * Where rounding carries into a new digit, glibc 2.36 forgets the zeros that # asks
	 * for.
	 */
	if (strpbrk(format, "gG") && (p = strchr(format, '#')))
		*p = '-';
}

static void integers_agree_with_the_c_library(void **state)
{
	static const struct {
		const char *length;
		unsigned int shift;
	} lengths[] = {{"hh", 56}, {"h", 48}, {"", 32}, {"l", 0},
		       {"ll", 0},  {"j", 0},  {"z", 0}, {"t", 0}};
	char format[64];

	(void)state;
	for (int i = 0; i < 60000; i++) {
		unsigned int which = (unsigned int)below(8);
		uint64_t v = next_random(&seed) >> below(64);

		make_format(format, 40, lengths[which].length, "diuoxX");
		if (below(2))
			v = 0 - v;
		if (lengths[which].shift)
			SAME(format, (int)v);
		else
			SAME(format, v);
	}
}

static void extreme_integers_agree_with_the_c_library(void **state)
{
	const char *volatile narrow = "[%hhd] [%hd] [%hhu] [%hu]"; /* compilers would warn */

	(void)state;
	SAME("%d %d %u %x", INT_MIN, INT_MAX, UINT_MAX, UINT_MAX);
	SAME("%ld %ld %lu %lo", LONG_MIN, LONG_MAX, ULONG_MAX, ULONG_MAX);
	SAME("[%.0d] [%5.0d] [%+.0d] [%#.0o] [%#o] [%#x] [%#.3x]", 0, 0, 0, 0, 0, 0, 1);
	SAME("[%*d] [%-*d] [%*d] [%.*d]", 5, 42, 5, 42, -5, 42, -3, 42);
	SAME(narrow, 511, 65535 + 7, 511, 65535 + 7);
	SAME("[%p] [%20p] [%-20p]", (void *)0x1234, (void *)0x1234, (void *)UINTPTR_MAX);
	SAME("[%p] [%12p]", (void *)0, (void *)0);
}

static void strings_and_characters_agree_with_the_c_library(void **state)
{
	static const char unterminated[3] = {'a', 'b', 'c'};

	(void)state;
	SAME("%s|%10s|%-10s|%.2s|%.0s|%10.2s|%%|%c|%5c|%-5c|", "hello", "hello", "hello",
	     "hello", "hello", "hello", 'x', 'y', 'z');
	SAME("%.3s", unterminated);
	SAME("%s%s", "", "");
}

static double double_of(uint64_t bits)
{
	double v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

static void doubles_of_any_bits_agree_with_the_c_library(void **state)
{
	char format[64];

	(void)state;
	for (int i = 0; i < 40000; i++) {
		double v = double_of(next_random(&seed));

		make_format(format, below(8) ? 25 : 1100, "", "feEgGF");
		SAME(format, v);
	}
}

static void doubles_of_everyday_size_agree_with_the_c_library(void **state)
{
	char format[64];

	(void)state;
	for (int i = 0; i < 60000; i++) {
		double v = (double)(int64_t)next_random(&seed) / 1e12;

		/* Often halves and short fractions, where rounding is a tie. */
		if (below(2))
			v = (double)(int64_t)(below(2000001) - 1000000) /
			    (double)(1u << below(12));
		make_format(format, 12, below(2) ? "l" : "", "feEgGF");
		SAME(format, v);
	}
}

static void special_doubles_agree_with_the_c_library(void **state)
{
	static const double values[] = {0.0,
					-0.0,
					INFINITY,
					-INFINITY,
					NAN,
					DBL_MAX,
					-DBL_MAX,
					DBL_MIN,
					4.9406564584124654e-324,
					0.5,
					1.5,
					2.5,
					0.25,
					0.125,
					9.5,
					99.5,
					999999.5,
					0.0001,
					0.00001,
					0.99999,
					9.9999e22,
					1e15,
					1e16,
					1e17,
					123456.0,
					1234567.0,
					0.05,
					5e-5,
					9.999999999999999e-5};
	static const char *const formats[] = {
		"%f",	  "%e",	    "%g",    "%.0f",	"%.0e", "%.0g", "%#.0f",
		"%#.0e",  "%G",	    "%F",    "%E",	"%+f",	"% f",	"%020f",
		"%-20f|", "%20e",   "%.1f",  "%.2f",	"%.4f", "%.5f", "%.17g",
		"%.30g",  "%.400f", "%+08g", "%.1000g", "%.20e"};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		for (size_t j = 0; j < sizeof(formats) / sizeof(formats[0]); j++)
			SAME(formats[j], values[i]);
	}
}

static void alternate_general_format_keeps_trailing_zeros(void **state)
{
	(void)state;
	mayfly_snprintf(ours, sizeof(ours), "%#g %#g %#g %#.0g %#.3g %#.10g %#g", 999999.5,
			100000.0, 0.0001, 2.0, 1e10, 0.5, 0.0);
	assert_string_equal(ours,
			    "1.00000e+06 100000. 0.000100000 2. 1.00e+10 0.5000000000 0.00000");
}

/* Each power of two, and its neighbours: carries through runs of nines, all exponents. */
static void every_power_of_two_agrees_with_the_c_library(void **state)
{
	(void)state;
	for (int e = 0; e < 2047; e++) {
		uint64_t bits = (uint64_t)e << 52;

		SAME("%.17e %.5g", double_of(bits), double_of(bits));
		SAME("%.1f %.800e", double_of(bits + 1), double_of(bits + 1));
		if (bits)
			SAME("%.15g %g", double_of(bits - 1), double_of(bits - 1));
	}
}

/* Formats that compilers warn of, so they must not see them. */
static int format_hidden(const char *volatile format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = mayfly_vsnprintf(ours, sizeof(ours), format, args);
	va_end(args);
	return n;
}

static void refused_formats_give_minus_one(void **state)
{
	static const char *const formats[] = {
		"%n",  "%a", "%Lf", "%ls", "%lc", "%k", "%1$d",		 "%'d",
		"%hf", "%",  "%5",  "%.",  "%-",  "%l", "%99999999999d", "%.99999999999d"};
	int written = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		char format[40];

		snprintf(format, sizeof(format), "before %s", formats[i]);
		if (format_hidden(format, &written, 1, 2) != -1)
			fail_msg("\"%s\" was not refused", format);
		assert_string_equal(ours, "before ");
	}
	assert_int_equal(written, 77);
}

static void nothing_is_formatted_behind_what_is_refused(void **state)
{
	(void)state;
	assert_int_equal(format_hidden("a%db%kc%d", 1, 2, 3), -1);
	assert_string_equal(ours, "a1b");
}

static void lengths_beyond_int_are_refused(void **state)
{
	(void)state;
	assert_int_equal(format_hidden("%2147483647s%s", "", "x"), -1);
	assert_int_equal(format_hidden("%.2147483647f", 1.0), -1);
	assert_int_equal(format_hidden("%.2147483647g", 1.5), 3);
	assert_int_equal(format_hidden("%*d", INT_MIN, 1), -1);
}

static void a_null_string_is_shown_as_such(void **state)
{
	(void)state;
	assert_int_equal(format_hidden("%s", (const char *)NULL), 6);
	assert_string_equal(ours, "(null)");
}

static void long_text_is_cut_to_the_buffer(void **state)
{
	char small[8];

	(void)state;
	for (size_t size = 0; size <= sizeof(small); size++) {
		memset(small, '#', sizeof(small));
		assert_int_equal(mayfly_snprintf(small, size, "%s-%d", "abcdef", 12345), 12);
		for (size_t i = 0; i < sizeof(small); i++) {
			char want = '#';

			if (i + 1 < size)
				want = "abcdef-12345"[i];
			else if (i + 1 == size)
				want = '\0';
			assert_int_equal(small[i], want);
		}
	}
}

static void printing_a_line_leaves_for_the_host_once(void **state)
{
	(void)state;
	assert_int_equal(mayfly_printf("%d %s %.2f %c\n", 12, "text", 2.5, 'c'), 15);
	assert_int_equal(guest_host.exits, 1);
	assert_int_equal(guest_host.printed_len, 15);
	assert_memory_equal(guest_host.printed, "12 text 2.50 c\n", 15);
	assert_true(mayfly_puts("line") >= 0);
	assert_int_equal(guest_host.exits, 2);
	assert_memory_equal(guest_host.printed + 15, "line\n", 5);
}

static void printing_more_than_the_buffer_keeps_all_in_order(void **state)
{
	static char longer[3000];
	static char want[sizeof(longer) + 100];
	size_t len;

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	len = (size_t)snprintf(want, sizeof(want), "a%50d%s%d%.500s|", 1, "b", 7, longer);
	assert_int_equal(mayfly_printf("a%50d%s%d%.500s|", 1, "b", 7, longer), (int)len);
	assert_memory_equal(guest_host.printed, want, len);
	guest_host_reset();
	len = (size_t)snprintf(want, sizeof(want), "a%sb%d", longer, 5);
	assert_int_equal(guest_printf("a%sb%d", longer, 5), (int)len);
	assert_int_equal(guest_host.printed_len, len);
	assert_memory_equal(guest_host.printed, want, len);
	assert_true(guest_host.exits <= 3);
}

static void denied_printing_fails_without_leaving_for_the_host(void **state)
{
	(void)state;
	guest_test_call_block.flags = 0;
	assert_int_equal(mayfly_printf("%d", 1), -1);
	assert_int_equal(mayfly_puts("x"), -1);
	assert_int_equal(mayfly_print("x", 1), -1);
	assert_int_equal(guest_putchar('x'), -1);
	assert_int_equal(guest_puts("x"), -1);
	assert_int_equal(guest_host.exits, 0);
}

static void sprintf_and_putchar_do_as_the_c_library(void **state)
{
	(void)state;
	assert_int_equal(guest_sprintf(ours, "%s=%d", "x", 5), 3);
	assert_string_equal(ours, "x=5");
	assert_int_equal(guest_putchar(0x1e1), 0xe1);
	assert_int_equal((unsigned char)guest_host.printed[0], 0xe1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(integers_agree_with_the_c_library, setup),
		cmocka_unit_test_setup(extreme_integers_agree_with_the_c_library, setup),
		cmocka_unit_test_setup(strings_and_characters_agree_with_the_c_library, setup),
		cmocka_unit_test_setup(doubles_of_any_bits_agree_with_the_c_library, setup),
		cmocka_unit_test_setup(doubles_of_everyday_size_agree_with_the_c_library,
				       setup),
		cmocka_unit_test_setup(special_doubles_agree_with_the_c_library, setup),
		cmocka_unit_test_setup(alternate_general_format_keeps_trailing_zeros, setup),
		cmocka_unit_test_setup(every_power_of_two_agrees_with_the_c_library, setup),
		cmocka_unit_test_setup(refused_formats_give_minus_one, setup),
		cmocka_unit_test_setup(nothing_is_formatted_behind_what_is_refused, setup),
		cmocka_unit_test_setup(a_null_string_is_shown_as_such, setup),
		cmocka_unit_test_setup(lengths_beyond_int_are_refused, setup),
		cmocka_unit_test_setup(long_text_is_cut_to_the_buffer, setup),
		cmocka_unit_test_setup(printing_a_line_leaves_for_the_host_once, setup),
		cmocka_unit_test_setup(printing_more_than_the_buffer_keeps_all_in_order, setup),
		cmocka_unit_test_setup(denied_printing_fails_without_leaving_for_the_host,
				       setup),
		cmocka_unit_test_setup(sprintf_and_putchar_do_as_the_c_library, setup),
	};

	return cmocka_run_group_tests_name("guest formats", tests, NULL, NULL);
}

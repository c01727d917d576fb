/* SPDX-License-Identifier: Apache-2.0 */
/* Error messages: whole where they fit, marked where cut, one line, never hostile. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"

#define SIZE MAYFLY_ERROR_MESSAGE_SIZE

static char long_text[2 * SIZE];

static int setup(void **state)
{
	(void)state;
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	return 0;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

static int with_text(mayfly_error *err, size_t len)
{
	return fail(err, MAYFLY_E_IO, "%.*s", (int)len, long_text);
}

static void failing_yields_the_code_and_fills_the_error(void **state)
{
	mayfly_error err;

	(void)state;
	memset(&err, 0x5a, sizeof(err));
	assert_int_equal(fail(&err, MAYFLY_E_FORMAT, "%s at %d", "bad", 7), MAYFLY_E_FORMAT);
	assert_int_equal(err.code, MAYFLY_E_FORMAT);
	assert_int_equal(err.sys_errno, 0);
	assert_string_equal(err.message, "bad at 7");
}

static void error_that_nobody_wants_is_no_problem(void **state)
{
	(void)state;
	assert_int_equal(fail((mayfly_error *)NULL, MAYFLY_E_IO, "x"), MAYFLY_E_IO);
	assert_int_equal(fail_errno((mayfly_error *)NULL, MAYFLY_E_IO, ENOENT, "x"),
			 MAYFLY_E_IO);
	error_prefix(NULL, "x");
}

static void message_that_just_fits_is_whole(void **state)
{
	mayfly_error err;

	(void)state;
	with_text(&err, SIZE - 1);
	assert_int_equal(strlen(err.message), SIZE - 1);
	assert_true(ends_with(err.message, "xxxx"));
}

static void message_that_does_not_fit_is_marked_as_cut(void **state)
{
	mayfly_error err;

	(void)state;
	with_text(&err, SIZE);
	assert_int_equal(strlen(err.message), SIZE - 1);
	assert_true(ends_with(err.message, "x..."));
}

static void system_error_is_kept_and_spelled_out(void **state)
{
	mayfly_error err;

	(void)state;
	assert_int_equal(fail_errno(&err, MAYFLY_E_IO, ENOENT, "%s", "a.elf"), MAYFLY_E_IO);
	assert_int_equal(err.sys_errno, ENOENT);
	assert_string_equal(err.message, "a.elf: No such file or directory");
}

static void system_error_of_a_long_message_stays_terminated(void **state)
{
	(void)state;
	for (size_t len = SIZE - 40; len < SIZE + 5; len++) {
		mayfly_error err;

		(void)fail_errno(&err, MAYFLY_E_IO, ENOENT, "%.*s", (int)len, long_text);
		assert_non_null(memchr(err.message, '\0', SIZE));
		assert_int_equal(err.message[0], 'x');
	}
}

static void prefix_comes_first(void **state)
{
	mayfly_error err;

	(void)state;
	(void)fail_errno(&err, MAYFLY_E_IO, EIO, "reading");
	error_prefix(&err, "%s %d", "part", 2);
	assert_string_equal(err.message, "part 2: reading: Input/output error");
	assert_int_equal(err.code, MAYFLY_E_IO);
	assert_int_equal(err.sys_errno, EIO);
}

static void prefix_that_leaves_no_room_cuts_what_follows(void **state)
{
	(void)state;
	for (size_t len = SIZE - 12; len < SIZE + 3; len++) {
		mayfly_error err;

		(void)fail(&err, MAYFLY_E_IO, "what was wrong");
		error_prefix(&err, "%.*s", (int)len, long_text);
		assert_int_equal(strlen(err.message), SIZE - 1);
		assert_int_equal(err.message[0], 'x');
	}
}

/* A guest's abort message, or a path, may have any bytes. */
static void message_is_one_line_whatever_is_in_it(void **state)
{
	mayfly_error err;

	(void)state;
	(void)fail(&err, MAYFLY_E_ABORT, "%s", "a\nb\tc\033[2Jd\177");
	assert_string_equal(err.message, "a?b?c?[2Jd?");
	error_prefix(&err, "%s", "p\nq");
	assert_string_equal(err.message, "p?q: a?b?c?[2Jd?");
	(void)fail_errno(&err, MAYFLY_E_IO, ENOENT, "%s", "x\r\n");
	assert_string_equal(err.message, "x??: No such file or directory");
}

static void printable_text_is_left_alone(void **state)
{
	char buf[64];

	(void)state;
	assert_ptr_equal(error_printable(buf, sizeof(buf), "a b c d~", 8), buf);
	assert_string_equal(buf, "a b c d~");
	assert_string_equal(error_printable(buf, sizeof(buf), "", 0), "");
}

static void every_other_byte_is_escaped(void **state)
{
	(void)state;
	for (int c = 0; c < 256; c++) {
		char byte = (char)c, buf[16], expect[16];

		if (c >= 0x20 && c < 0x7f)
			continue;
		snprintf(expect, sizeof(expect), "\\x%02x", (unsigned)c);
		assert_string_equal(error_printable(buf, sizeof(buf), &byte, 1), expect);
	}
}

/* Never beyond the buffer, always terminated; cut where it does not fit. */
static void printable_text_fits_every_buffer(void **state)
{
	static const char texts[][12] = {"abcdefghij", "\1\2\3\4\5\6\7\1\2\3",
					 "a\1b\2c\3d\4e\5"};

	(void)state;
	for (size_t t = 0; t < 3; t++) {
		for (size_t len = 0; len <= 10; len++) {
			char whole[64];
			size_t need;

			error_printable(whole, sizeof(whole), texts[t], len);
			need = strlen(whole) + 1;
			for (size_t size = 1; size < sizeof(whole); size++) {
				char buf[65];

				memset(buf, '#', sizeof(buf));
				error_printable(buf, size, texts[t], len);
				assert_non_null(memchr(buf, '\0', size));
				assert_int_equal(buf[size], '#');
				/* It may be cut where "..." in its last bytes' stead would not fit. */
				if (size >= need + 3)
					assert_string_equal(buf, whole);
				else if (size >= 4 && strcmp(buf, whole) != 0)
					assert_true(ends_with(buf, "..."));
				if (size < need)
					assert_string_not_equal(buf, whole);
			}
		}
	}
}

static void codes_and_types_have_names_of_their_own(void **state)
{
	(void)state;
	for (int a = MAYFLY_E_NO_PROGRAM; a <= 0; a++) {
		assert_string_not_equal(mayfly_code_name(a), "unknown error");
		for (int b = MAYFLY_E_NO_PROGRAM; b < a; b++)
			assert_string_not_equal(mayfly_code_name(a), mayfly_code_name(b));
	}
	assert_string_equal(mayfly_code_name(1), "unknown error");
	assert_string_equal(mayfly_code_name(MAYFLY_E_NO_PROGRAM - 1), "unknown error");
	assert_string_equal(mayfly_type_name(MAYFLY_VOID), "void");
	assert_string_equal(mayfly_type_name(MAYFLY_BYTES), "bytes");
	assert_string_equal(mayfly_type_name((mayfly_type)10), "?");
	assert_string_equal(mayfly_type_name((mayfly_type)-1), "?");
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(failing_yields_the_code_and_fills_the_error),
		TEST(error_that_nobody_wants_is_no_problem),
		TEST(message_that_just_fits_is_whole),
		TEST(message_that_does_not_fit_is_marked_as_cut),
		TEST(system_error_is_kept_and_spelled_out),
		TEST(system_error_of_a_long_message_stays_terminated),
		TEST(prefix_comes_first),
		TEST(prefix_that_leaves_no_room_cuts_what_follows),
		TEST(message_is_one_line_whatever_is_in_it),
		TEST(printable_text_is_left_alone),
		TEST(every_other_byte_is_escaped),
		TEST(printable_text_fits_every_buffer),
		TEST(codes_and_types_have_names_of_their_own),
	};

	return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures: text to structure and back, and what is said of bad ones. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/util.h"
#include "function/signature.h"

static struct signature parsed(const char *text)
{
	struct signature sig;
	mayfly_error err = {0};

	if (signature_parse(text, strlen(text), &sig, &err) != MAYFLY_OK)
		fail_msg("\"%s\": %s", text, err.message);
	return sig;
}

/* Parse an exact copy, so that reading past its end is caught, and expect `part` in the message. */
static void refuses(const char *text, const char *part)
{
	size_t len = strlen(text);
	char *copy = malloc(len ? len : 1);
	struct signature sig, before;
	mayfly_error err = {0};

	assert_non_null(copy);
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): that is the point. */
	memcpy(copy, text, len);
	memset(&sig, 0x5a, sizeof(sig));
	before = sig;
	assert_int_equal(signature_parse(copy, len, &sig, &err), MAYFLY_E_SIGNATURE);
	assert_int_equal(err.code, MAYFLY_E_SIGNATURE);
	if (!strstr(err.message, part))
		fail_msg("\"%s\" gives: %s", text, err.message);
	assert_memory_equal(&sig, &before, sizeof(sig));
	free(copy);
}

static void assert_formats_as(const char *text, const char *canonical)
{
	struct signature sig = parsed(text);
	char buf[SIGNATURE_TEXT_MAX];

	signature_format(&sig, buf);
	assert_string_equal(buf, canonical);
}

static void signature_with_every_type_is_taken_apart(void **state)
{
	struct signature sig = parsed("bytes(bool,i32,u32,i64,u64,f32,f64,string,bytes)");
	static const uint8_t expected[] = {
		MAYFLY_BOOL, MAYFLY_I32, MAYFLY_U32,	MAYFLY_I64,   MAYFLY_U64,
		MAYFLY_F32,  MAYFLY_F64, MAYFLY_STRING, MAYFLY_BYTES,
	};

	(void)state;
	assert_int_equal(sig.result, MAYFLY_BYTES);
	assert_int_equal(sig.nargs, ARRAY_SIZE(expected));
	assert_memory_equal(sig.args, expected, sizeof(expected));
}

static void signature_without_arguments_has_none(void **state)
{
	struct signature sig = parsed("void()");

	(void)state;
	assert_int_equal(sig.result, MAYFLY_VOID);
	assert_int_equal(sig.nargs, 0);
}

static void signature_needs_no_terminator(void **state)
{
	struct signature sig;

	(void)state;
	assert_int_equal(signature_parse("i64(u32)garbage", 8, &sig, NULL), MAYFLY_OK);
	assert_int_equal(sig.nargs, 1);
	assert_int_equal(sig.args[0], MAYFLY_U32);
}

static void signature_with_blanks_formats_without(void **state)
{
	(void)state;
	assert_formats_as(" i64 ( i64 ,\tstring ) ", "i64(i64,string)");
	assert_formats_as("void( )", "void()");
}

static void signature_of_the_preprocessors_bool_is_bool(void **state)
{
	(void)state;
	assert_formats_as("_Bool(_Bool,bool)", "bool(bool,bool)");
}

static void signature_with_the_most_arguments_of_the_longest_type_fits(void **state)
{
	static const char text[] =
		"string(string,string,string,string,string,string,string,string,"
		"string,string,string,string,string,string,string,string)";

	(void)state;
	assert_true(sizeof(text) <= SIGNATURE_TEXT_MAX);
	assert_formats_as(text, text);
	assert_int_equal(parsed(text).nargs, MAYFLY_MAX_ARGS);
}

static void signature_with_too_many_arguments_is_refused(void **state)
{
	(void)state;
	refuses("void(i32,i32,i32,i32,i32,i32,i32,i32,i32,i32,i32,i32,i32,i32,i32,i32,i32)",
		"more than 16 arguments");
}

static void signature_with_an_unknown_type_names_it_and_its_place(void **state)
{
	(void)state;
	refuses("i64(i46)", "\"i46\" at character 5, where a type");
	refuses("int(i32)", "\"int\" at character 1");
	refuses("i64(i64x)", "\"i64x\" at character 5");
	refuses("i64(I64)", "\"I64\" at character 5");
}

static void signature_with_void_as_argument_is_refused(void **state)
{
	(void)state;
	refuses("i64(void)", "\"void\" at character 5, where the type of an argument");
	refuses("i64(i64, void)", "\"void\" at character 10");
}

static void signature_cut_short_says_what_is_missing(void **state)
{
	(void)state;
	refuses("", "ends at character 1, where a type");
	refuses("  ", "ends at character 3, where a type");
	refuses("i64", "ends at character 4, where \"(\" is missing");
	refuses("i64(", "ends at character 5, where a type");
	refuses("i64(i32", "ends at character 8, where \",\" or \")\" is missing");
	refuses("i64(i32,", "ends at character 9, where a type");
}

static void signature_with_wrong_punctuation_is_refused(void **state)
{
	(void)state;
	refuses("i64)", "\")\" at character 4, where \"(\" should be");
	refuses("(i64)", "\"(\" at character 1");
	refuses("i64(,)", "\",\" at character 5");
	refuses("i64(i32,)", "\")\" at character 9");
	refuses("i64(i32 i32)", "\"i32\" at character 9, where \",\" or \")\" should be");
	refuses("i64(i32)x", "\"x\" at character 9, where the end should be");
	refuses("i64(i32))", "\")\" at character 9");
	refuses("i64\n()", "at character 4");
}

static void signature_of_binary_rubbish_gives_a_printable_message(void **state)
{
	static const char rubbish[] = {'i', '3', '2', '(', 0, (char)0xff, 0x1b, ')'};
	struct signature sig;
	mayfly_error err = {0};

	(void)state;
	assert_int_equal(signature_parse(rubbish, sizeof(rubbish), &sig, &err),
			 MAYFLY_E_SIGNATURE);
	for (const char *s = err.message; *s; s++)
		assert_in_range(*s, 0x20, 0x7e);
	assert_non_null(strstr(err.message, "\"\\x00\" at character 5"));
}

static void signature_of_a_megabyte_of_one_word_is_refused(void **state)
{
	size_t len = 1 << 20;
	char *text = malloc(len);
	struct signature sig;
	mayfly_error err = {0};

	(void)state;
	assert_non_null(text);
	memset(text, 'i', len);
	assert_int_equal(signature_parse(text, len, &sig, &err), MAYFLY_E_SIGNATURE);
	assert_non_null(strstr(err.message, "character 1"));
	free(text);
}

static void signatures_are_equal_only_with_equal_types(void **state)
{
	struct signature a = parsed("i64(i32,string)");
	struct signature b = parsed("i64( i32, string )");
	struct signature result = parsed("u64(i32,string)");
	struct signature argument = parsed("i64(i32,bytes)");
	struct signature fewer = parsed("i64(i32)");

	(void)state;
	assert_true(signature_equal(&a, &b));
	assert_false(signature_equal(&a, &result));
	assert_false(signature_equal(&a, &argument));
	assert_false(signature_equal(&a, &fewer));
	assert_false(signature_equal(&fewer, &a));
}

static void signatures_are_equal_whatever_is_behind_the_arguments(void **state)
{
	struct signature a = parsed("i64(i32)");
	struct signature b = a;

	(void)state;
	b.args[1] = MAYFLY_STRING;
	assert_true(signature_equal(&a, &b));
}

static void types_are_found_by_name_and_length(void **state)
{
	(void)state;
	assert_int_equal(signature_type("void", 4), MAYFLY_VOID);
	assert_int_equal(signature_type("string", 6), MAYFLY_STRING);
	assert_int_equal(signature_type("i64", 3), MAYFLY_I64);
	assert_int_equal(signature_type("i64,", 3), MAYFLY_I64);
	assert_int_equal(signature_type("_Bool", 5), MAYFLY_BOOL);
	assert_int_equal(signature_type("strin", 5), -1);
	assert_int_equal(signature_type("", 0), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signature_with_every_type_is_taken_apart),
		cmocka_unit_test(signature_without_arguments_has_none),
		cmocka_unit_test(signature_needs_no_terminator),
		cmocka_unit_test(signature_with_blanks_formats_without),
		cmocka_unit_test(signature_of_the_preprocessors_bool_is_bool),
		cmocka_unit_test(signature_with_the_most_arguments_of_the_longest_type_fits),
		cmocka_unit_test(signature_with_too_many_arguments_is_refused),
		cmocka_unit_test(signature_with_an_unknown_type_names_it_and_its_place),
		cmocka_unit_test(signature_with_void_as_argument_is_refused),
		cmocka_unit_test(signature_cut_short_says_what_is_missing),
		cmocka_unit_test(signature_with_wrong_punctuation_is_refused),
		cmocka_unit_test(signature_of_binary_rubbish_gives_a_printable_message),
		cmocka_unit_test(signature_of_a_megabyte_of_one_word_is_refused),
		cmocka_unit_test(signatures_are_equal_only_with_equal_types),
		cmocka_unit_test(signatures_are_equal_whatever_is_behind_the_arguments),
		cmocka_unit_test(types_are_found_by_name_and_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

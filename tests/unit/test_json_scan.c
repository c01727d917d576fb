/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON reader of the parser example: what it accepts, refuses and counts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../examples/json_scan.h"

/* Of an allocation of just that length, so that a sanitizer sees each byte read behind it. */
static bool scan(const char *text, size_t len, struct json_summary *out)
{
	char *copy = malloc(len ? len : 1);
	bool good;

	assert_non_null(copy);
	memcpy(copy, text, len);
	good = json_scan(copy, len, out);
	assert_int_equal(good, !out->problem);
	free(copy);
	return good;
}

static void valid_texts_are_accepted(void **state)
{
	static const char *const texts[] = {
		"0",
		"-0",
		"1",
		"-12.5e+10",
		"0.5E-3",
		"1e9",
		"true",
		"false",
		"null",
		"\"\"",
		"[]",
		"{}",
		" \t\r\n[ ] ",
		"[1,2,[3,[]]]",
		"{\"\":{\"a\":[]},\"b\":null}",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"",
		"\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf \x7f\"",
	};
	struct json_summary v;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (!scan(texts[i], strlen(texts[i]), &v))
			fail_msg("%s: %s at %zu", texts[i], v.problem, v.problem_at);
		assert_int_equal(v.bytes, strlen(texts[i]));
	}
}

static void invalid_texts_are_refused_where_they_go_wrong(void **state)
{
	static const struct {
		const char *text;
		size_t at;
	} texts[] = {
		{"", 0},
		{" ", 1},
		{"[", 1},
		{"]", 0},
		{"{", 1},
		{"[1,]", 3},
		{"[,1]", 1},
		{"[1 2]", 3},
		{"{\"a\"}", 4},
		{"{\"a\":}", 5},
		{"{1:2}", 1},
		{"{\"a\":1,}", 7},
		{"[1}", 2},
		{"{\"a\":1]", 6},
		{"01", 1},
		{"-", 1},
		{"-a", 1},
		{"1.", 2},
		{".5", 0},
		{"1e", 2},
		{"1e+", 3},
		{"+1", 0},
		{"1 1", 2},
		{"nul", 0},
		{"nulll", 4},
		{"True", 0},
		{"NaN", 0},
		{"\"", 1},
		{"\"\\", 2},
		{"\"\\x\"", 2},
		{"\"\\u12\"", 3},
		{"\"\\u12g4\"", 3},
		{"\"\\ud800\"", 7},
		{"\"\\udc00\"", 7},
		{"\"\\ud800\\u0041\"", 13},
		{"\"\t\"", 1},
		{"\"\x80\"", 1},
		{"\"\xc0\x80\"", 1},
		{"\"\xe0\x80\x80\"", 1},
		{"\"\xed\xa0\x80\"", 1},
		{"\"\xf0\x80\x80\x80\"", 1},
		{"\"\xf4\x90\x80\x80\"", 1},
		{"\"\xf5\x80\x80\x80\"", 1},
		{"\"\xe2\x82\"", 1},
		{"\"\xe2\x82", 1},
		{"\xef\xbb\xbf[]", 0},
		{"'a'", 0},
		{"// x\n1", 0},
	};
	struct json_summary v;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (scan(texts[i].text, strlen(texts[i].text), &v))
			fail_msg("%s was accepted", texts[i].text);
		if (v.problem_at != texts[i].at)
			fail_msg("%s: %s at %zu, not %zu", texts[i].text, v.problem,
				 v.problem_at, texts[i].at);
	}
}

/* Each byte is looked at: no NUL ends the text. */
static void nul_bytes_are_refused_like_others(void **state)
{
	struct json_summary v;

	(void)state;
	assert_false(scan("1\0", 2, &v));
	assert_false(scan("\"a\0b\"", 5, &v));
}

static void contents_are_counted(void **state)
{
	static const char text[] =
		"{\"a\": [1, 2.5, true, null], \"b\": {\"c\": \"d\"}, \"e\": [[[]]]}";
	struct json_summary v;

	(void)state;
	assert_true(scan(text, sizeof(text) - 1, &v));
	assert_int_equal(v.objects, 2);
	assert_int_equal(v.members, 4);
	assert_int_equal(v.arrays, 4);
	assert_int_equal(v.strings, 1);
	assert_int_equal(v.numbers, 2);
	assert_int_equal(v.booleans, 1);
	assert_int_equal(v.nulls, 1);
	assert_int_equal(v.depth, 4);
}

static uint64_t checksum(const char *text)
{
	struct json_summary v;

	assert_true(scan(text, strlen(text), &v));
	return v.checksum;
}

static void checksum_is_of_contents_not_of_spelling(void **state)
{
	(void)state;
	assert_true(checksum("{\"a\":[1,2]}") == checksum(" { \"\\u0061\" : [ 1 ,\n2 ] } "));
	assert_true(checksum("\"\\ud83d\\ude00\\u00e9\\u20ac\"") ==
		    checksum("\"\xf0\x9f\x98\x80\xc3\xa9\xe2\x82\xac\""));
	assert_true(checksum("[1,2]") != checksum("[2,1]"));
	assert_true(checksum("[12]") != checksum("[1,2]"));
	assert_true(checksum("[\"ab\"]") != checksum("[\"a\",\"b\"]"));
	assert_true(checksum("[[],[]]") != checksum("[[[]]]"));
	assert_true(checksum("\"1\"") != checksum("1"));
}

static void nesting_is_bounded(void **state)
{
	static char text[2 * JSON_DEPTH_MAX + 2];
	struct json_summary v;

	(void)state;
	memset(text, '[', JSON_DEPTH_MAX);
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	assert_true(scan(text, (size_t)2 * JSON_DEPTH_MAX, &v));
	assert_int_equal(v.depth, JSON_DEPTH_MAX);
	memset(text, '[', JSON_DEPTH_MAX + 1);
	assert_false(scan(text, (size_t)2 * JSON_DEPTH_MAX + 1, &v));
	assert_int_equal(v.problem_at, JSON_DEPTH_MAX);
}

/*
 * Every beginning of a text is refused (none of these is complete), and read no further than it
 * is.
 */
static void truncated_texts_are_refused(void **state)
{
	static const char text[] =
		"{\"k\\u00e9\":[-1.5e3,\"\\ud83d\\ude00\xf0\x9f\x98\x80\",true,{}]}";
	struct json_summary v;

	(void)state;
	for (size_t n = 0; n < sizeof(text) - 1; n++)
		assert_false(scan(text, n, &v));
	assert_true(scan(text, sizeof(text) - 1, &v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid_texts_are_accepted),
		cmocka_unit_test(invalid_texts_are_refused_where_they_go_wrong),
		cmocka_unit_test(nul_bytes_are_refused_like_others),
		cmocka_unit_test(contents_are_counted),
		cmocka_unit_test(checksum_is_of_contents_not_of_spelling),
		cmocka_unit_test(nesting_is_bounded),
		cmocka_unit_test(truncated_texts_are_refused),
	};

	return cmocka_run_group_tests_name("JSON reader of the example", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Printing: to the sink that the host gives, and to nowhere without one. */
#include "support.h"

#include <string.h>

struct sink {
	char text[65536];
	size_t len;
	unsigned pieces;
};

static void print_to_sink(void *context, const char *text, size_t len)
{
	struct sink *s = context;

	assert_true(len <= sizeof(s->text) - s->len);
	memcpy(s->text + s->len, text, len);
	s->len += len;
	s->pieces++;
}

static void printing_goes_to_the_sink_whole_and_in_order(void **state)
{
	static struct sink sink;
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	static uint8_t bytes[20000];
	struct box b;

	(void)state;
	options.print = print_to_sink;
	options.print_context = &sink;
	b = box_open("print", &options);
	assert_int_equal(must(&b, "print", mayfly_string("hello \xff\n")).as.i32, 8);
	assert_int_equal(sink.len, 8);
	assert_memory_equal(sink.text, "hello \xff\n", 8);
	assert_int_equal(must(&b, "print", mayfly_string("")).as.i32, 0);
	assert_int_equal(sink.len, 8);
	sink.len = 0;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7);
	assert_int_equal(must(&b, "print_bytes", mayfly_bytes_of(bytes, sizeof(bytes))).as.i32,
			 sizeof(bytes));
	assert_int_equal(sink.len, sizeof(bytes));
	assert_memory_equal(sink.text, bytes, sizeof(bytes));
	sink.len = 0;
	assert_int_equal(must(&b, "print_lines", mayfly_u32(100)).as.i32, 790);
	assert_memory_equal(sink.text, "line 0\nline 1\n", 14);
	assert_int_equal(sink.len, 790);
	/* The sink stays over a restore. */
	box_restore(&b);
	sink.len = 0;
	must(&b, "print", mayfly_string("again"));
	assert_int_equal(sink.len, 5);
	box_close(&b);
}

static void printing_is_denied_by_default_and_says_so(void **state)
{
	struct box b = box_open("print", NULL);

	(void)state;
	assert_int_equal(must(&b, "print", mayfly_string("hello")).as.i32, -1);
	assert_int_equal(must(&b, "print_bytes", mayfly_bytes_of("x", 1)).as.i32, -1);
	assert_int_equal(must(&b, "print_lines", mayfly_u32(3)).as.i32, -1);
	assert_int_equal(must(&b, "print_character", mayfly_i32('x')).as.i32, -1);
	assert_false(mayfly_sandbox_is_poisoned(b.sb));
	box_close(&b);
}

static void formats_are_those_of_c(void **state)
{
	static struct sink sink;
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	static const char want[] = "[-7] [fffffff9] [-7    ] [1.500] [1.5] [1.500000e+00] "
				   "[       abc] [ab] [c] [%]\n";
	struct box b;

	(void)state;
	options.print = print_to_sink;
	options.print_context = &sink;
	b = box_open("print", &options);
	must(&b, "print_formats", mayfly_i32(-7), mayfly_f64(1.5), mayfly_string("abc"));
	assert_int_equal(sink.len, strlen(want));
	assert_memory_equal(sink.text, want, strlen(want));
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(printing_goes_to_the_sink_whole_and_in_order),
		cmocka_unit_test(printing_is_denied_by_default_and_says_so),
		cmocka_unit_test(formats_are_those_of_c),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Functions and values: names, signatures, each type with its extremes, from host to guest and back. */
#include "support.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t f32_patterns[] = {
	0x00000000,			    /* 0 */
	0x80000000,			    /* -0 */
	0x00000001,			    /* the smallest denormal number */
	0x807fffff,			    /* the largest one, negative */
	0x00800000,			    /* FLT_MIN */
	0x7f7fffff,			    /* FLT_MAX */
	0x7f800000,			    /* infinity */
	0xff800000, 0x7fc00000,		    /* quiet NaNs */
	0xffc12345, 0x7fffffff, 0x7f800001, /* signalling NaNs */
	0xffbfffff, 0x3f800000, 0xc2f6e979,
};

static const uint64_t f64_patterns[] = {
	0x0000000000000000, 0x8000000000000000, 0x0000000000000001, 0x800fffffffffffff,
	0x0010000000000000, 0x7fefffffffffffff, 0x7ff0000000000000, 0xfff0000000000000,
	0x7ff8000000000000, 0xfff8dead0000beef, 0x7fffffffffffffff, 0x7ff0000000000001,
	0xfff7ffffffffffff, 0x3ff0000000000000, 0xc05edd2f1a9fbe77,
};

/* Without passing a floating-point register of the host's, where NaNs might turn quiet. */
static mayfly_value f32_of(uint32_t bits)
{
	mayfly_value v = {.type = MAYFLY_F32};

	memcpy(&v.as.f32, &bits, sizeof(bits));
	return v;
}

static mayfly_value f64_of(uint64_t bits)
{
	mayfly_value v = {.type = MAYFLY_F64};

	memcpy(&v.as.f64, &bits, sizeof(bits));
	return v;
}

/* --- names and signatures -------------------------------------------------------------------- */

static void unknown_function_is_an_error_with_near_misses(void **state)
{
	struct box b = box_open("types", NULL);

	(void)state;
	assert_code(call(&b, "echo_i3"), MAYFLY_E_NO_FUNCTION, &b.err);
	assert_contains(b.err.message, "echo_i3");
	assert_contains(b.err.message, "echo_i32");
	assert_code(call(&b, ""), MAYFLY_E_NO_FUNCTION, &b.err);
	assert_false(mayfly_sandbox_is_poisoned(b.sb));
	box_close(&b);
}

static void functions_are_listed_with_their_signatures(void **state)
{
	mayfly_snapshot *snap = load("types", 0, 0, 0);
	mayfly_snapshot_info info = {.size = sizeof(info)};
	const mayfly_function *fn, *found;
	mayfly_error err;
	uint32_t n = 0;

	(void)state;
	while ((fn = mayfly_snapshot_function_at(snap, n))) {
		n++;
		assert_ok(
			mayfly_snapshot_function(snap, mayfly_function_name(fn), &found, &err),
			&err);
		assert_ptr_equal(fn, found);
	}
	assert_ok(mayfly_snapshot_get_info(snap, &info, &err), &err);
	assert_int_equal(info.functions, n);
	assert_ok(mayfly_snapshot_function(snap, "mix12", &fn, &err), &err);
	assert_string_equal(mayfly_function_signature(fn),
			    "string(bool,f32,i32,string,f64,u32,bytes,i64,f32,u64,string,f64)");
	assert_int_equal(mayfly_function_result(fn), MAYFLY_STRING);
	assert_int_equal(mayfly_function_arg_count(fn), 12);
	assert_int_equal(mayfly_function_arg(fn, 0), MAYFLY_BOOL);
	assert_int_equal(mayfly_function_arg(fn, 11), MAYFLY_F64);
	assert_int_equal(mayfly_function_arg(fn, 12), MAYFLY_VOID);
	mayfly_snapshot_unref(snap);
}

static void imports_are_listed_with_their_signatures(void **state)
{
	mayfly_snapshot *snap = load("hostcalls", 0, 0, 0);
	mayfly_snapshot_info info = {.size = sizeof(info)};
	const char *name, *signature;
	bool seen = false;
	mayfly_error err;
	uint32_t n = 0;

	(void)state;
	for (; mayfly_snapshot_import_at(snap, n, &name, &signature); n++)
		if (!strcmp(name, "host_bytes")) {
			assert_string_equal(signature, "bytes(bytes)");
			seen = true;
		}
	assert_true(seen);
	assert_ok(mayfly_snapshot_get_info(snap, &info, &err), &err);
	assert_int_equal(info.imports, n);
	mayfly_snapshot_unref(snap);
}

static void wrong_number_of_arguments_is_an_error_that_says_both(void **state)
{
	struct box b = box_open("types", NULL);
	mayfly_value seventeen[17];

	(void)state;
	assert_code(call(&b, "add", mayfly_i64(1)), MAYFLY_E_SIGNATURE, &b.err);
	assert_contains(b.err.message, "add takes 2 arguments, 1 given");
	assert_contains(b.err.message, "i64(i64,i64)");
	assert_code(call(&b, "add"), MAYFLY_E_SIGNATURE, &b.err);
	assert_code(call(&b, "nothing", mayfly_bool(true)), MAYFLY_E_SIGNATURE, &b.err);
	for (size_t i = 0; i < COUNT_OF(seventeen); i++)
		seventeen[i] = mayfly_i64(0);
	assert_code(box_call(&b, "integers16", seventeen, 17), MAYFLY_E_SIGNATURE, &b.err);
	check_usable(&b, "nothing", __FILE__, __LINE__);
	box_close(&b);
}

static void each_wrong_type_is_an_error_that_names_the_argument(void **state)
{
	static const char *const names[] = {"bool", "i32", "u32",    "i64",  "u64",
					    "f32",  "f64", "string", "bytes"};
	struct box b = box_open("types", NULL);
	mayfly_value values[] = {mayfly_bool(1), mayfly_i32(1),	     mayfly_u32(1),
				 mayfly_i64(1),	 mayfly_u64(1),	     mayfly_f32(1),
				 mayfly_f64(1),	 mayfly_string("x"), mayfly_bytes_of("x", 1)};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		for (size_t j = 0; j < COUNT_OF(values); j++) {
			char name[20], want[80];

			snprintf(name, sizeof(name), "echo_%s", names[i]);
			if (i == j) {
				assert_ok(call(&b, name, values[j]), &b.err);
				continue;
			}
			assert_code(call(&b, name, values[j]), MAYFLY_E_SIGNATURE, &b.err);
			snprintf(want, sizeof(want), "argument 1 of %s is %s, %s given", name,
				 names[i], names[j]);
			assert_contains(b.err.message, want);
		}
	}
	box_close(&b);
}

static void types_that_do_not_exist_are_refused(void **state)
{
	struct box b = box_open("types", NULL);
	mayfly_value v = mayfly_i64(1);

	(void)state;
	v.type = MAYFLY_VOID;
	assert_code(call(&b, "echo_i64", v), MAYFLY_E_SIGNATURE, &b.err);
	v.type = (mayfly_type)10;
	assert_code(call(&b, "echo_i64", v), MAYFLY_E_SIGNATURE, &b.err);
	v.type = (mayfly_type)-1;
	assert_code(call(&b, "echo_i64", v), MAYFLY_E_SIGNATURE, &b.err);
	assert_contains(b.err.message, "? given");
	check_usable(&b, "nothing", __FILE__, __LINE__);
	box_close(&b);
}

static void the_second_wrong_argument_is_named_as_such(void **state)
{
	struct box b = box_open("types", NULL);

	(void)state;
	assert_code(call(&b, "add", mayfly_i64(1), mayfly_i32(1)), MAYFLY_E_SIGNATURE, &b.err);
	assert_contains(b.err.message, "argument 2 of add is i64, i32 given");
	box_close(&b);
}

static void null_data_is_refused_as_such(void **state)
{
	struct box b = box_open("types", NULL);

	(void)state;
	assert_code(call(&b, "echo_string", mayfly_string(NULL)), MAYFLY_E_INVALID, &b.err);
	assert_contains(b.err.message, "null pointer");
	assert_code(call(&b, "echo_bytes", mayfly_bytes_of(NULL, 1)), MAYFLY_E_INVALID, &b.err);
	assert_int_equal(must(&b, "echo_bytes", mayfly_bytes_of(NULL, 0)).as.bytes.len, 0);
	box_close(&b);
}

static void a_string_with_a_nul_inside_is_refused(void **state)
{
	struct box b = box_open("types", NULL);
	mayfly_value v = {.type = MAYFLY_STRING};

	(void)state;
	v.as.string.data = "a\0b";
	v.as.string.len = 3;
	assert_code(call(&b, "echo_string", v), MAYFLY_E_SIGNATURE, &b.err);
	assert_contains(b.err.message, "NUL");
	v.as.string.len = 1;
	assert_string_equal(must(&b, "echo_string", v).as.string.data, "a");
	box_close(&b);
}

static void a_function_of_another_guest_is_refused(void **state)
{
	struct box a = box_open("types", NULL), b = box_open("loop", NULL);
	const mayfly_function *fn;
	mayfly_value args[] = {mayfly_i64(1), mayfly_i64(2)};

	(void)state;
	assert_ok(mayfly_snapshot_function(a.snap, "add", &fn, &a.err), &a.err);
	assert_code(mayfly_sandbox_call(b.sb, fn, args, 2, NULL, &b.err), MAYFLY_E_INVALID,
		    &b.err);
	assert_contains(b.err.message, "another guest");
	assert_int_equal(must(&b, "add", args[0], args[1]).as.i64, 3);
	box_close(&a);
	box_close(&b);
}

static void two_guests_in_one_process_do_not_mix(void **state)
{
	struct box a = box_open("state", NULL), b = box_open("state", NULL),
		   c = box_open("dirty", NULL);

	(void)state;
	for (uint64_t i = 1; i <= 50; i++) {
		assert_int_equal(must(&a, "count").as.u64, 2 * i - 1);
		assert_int_equal(must(&b, "count").as.u64, i);
		assert_int_equal(must(&a, "count").as.u64, 2 * i);
		assert_int_equal(must(&c, "dirty", mayfly_u32(3)).as.u32, 3);
		assert_int_equal(must(&c, "dirtied", mayfly_u32(1)).as.u64, i);
	}
	box_close(&a);
	box_close(&b);
	box_close(&c);
}

/* --- each type ------------------------------------------------------------------------------- */

static void bools_come_back_as_they_are(void **state)
{
	struct box b = box_open("types", NULL);

	(void)state;
	assert_true(must(&b, "echo_bool", mayfly_bool(true)).as.boolean);
	assert_false(must(&b, "echo_bool", mayfly_bool(false)).as.boolean);
	assert_int_equal(b.result.type, MAYFLY_BOOL);
	box_close(&b);
}

static void extreme_integers_come_back_as_they_are(void **state)
{
	static const uint64_t values[] = {
		0,	    1,		UINT64_MAX, INT64_MAX,	1ULL << 63,
		UINT32_MAX, 1ULL << 31, INT32_MAX,  1ULL << 32, 0x0123456789abcdef};
	struct box b = box_open("types", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(values); i++) {
		uint64_t v = values[i];

		assert_true(must(&b, "echo_u64", mayfly_u64(v)).as.u64 == v);
		assert_true(must(&b, "echo_i64", mayfly_i64((int64_t)v)).as.i64 == (int64_t)v);
		assert_true(must(&b, "echo_u32", mayfly_u32((uint32_t)v)).as.u32 ==
			    (uint32_t)v);
		assert_true(must(&b, "echo_i32", mayfly_i32((int32_t)v)).as.i32 == (int32_t)v);
		assert_int_equal(b.result.type, MAYFLY_I32);
	}
	box_close(&b);
}

static void every_bit_of_an_f32_is_kept(void **state)
{
	struct box b = box_open("types", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(f32_patterns); i++) {
		mayfly_value v = must(&b, "echo_f32", f32_of(f32_patterns[i]));

		assert_int_equal(v.type, MAYFLY_F32);
		assert_memory_equal(&v.as.f32, &f32_patterns[i], 4);
	}
	box_close(&b);
}

static void every_bit_of_an_f64_is_kept(void **state)
{
	struct box b = box_open("types", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(f64_patterns); i++) {
		mayfly_value v = must(&b, "echo_f64", f64_of(f64_patterns[i]));

		assert_int_equal(v.type, MAYFLY_F64);
		assert_memory_equal(&v.as.f64, &f64_patterns[i], 8);
	}
	box_close(&b);
}

static void rubbish_above_a_small_result_is_ignored(void **state)
{
	struct box b = box_open("hostile", NULL);
	mayfly_value v = must(&b, "rubbish_bool");

	(void)state;
	assert_true(v.as.boolean);
	assert_int_equal(v.as.u64, 1);
	assert_true(must(&b, "rubbish_u32").as.u32 == 0xcafef00d);
	assert_true(must(&b, "rubbish_i32").as.i32 == (int32_t)0xcafef00d);
	box_close(&b);
}

static void strings_come_back_as_they_are(void **state)
{
	static const char *const values[] = {"", "x", "\xff\x80\x01", "Gr\xc3\xbc\xc3\x9f e",
					     "%s%n\\\"\n"};
	struct box b = box_open("types", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(values); i++) {
		mayfly_value v = must(&b, "echo_string", mayfly_string(values[i]));

		assert_int_equal(v.type, MAYFLY_STRING);
		assert_int_equal(v.as.string.len, strlen(values[i]));
		assert_string_equal(v.as.string.data, values[i]);
		assert_int_equal(must(&b, "length", mayfly_string(values[i])).as.u64,
				 strlen(values[i]));
	}
	assert_string_equal(
		must(&b, "join", mayfly_string("ab"), mayfly_string("cde")).as.string.data,
		"abcde");
	assert_string_equal(
		must(&b, "join", mayfly_string(""), mayfly_string("")).as.string.data, "");
	box_close(&b);
}

static void all_byte_values_come_back_as_they_are(void **state)
{
	struct box b = box_open("types", NULL);
	uint8_t all[1024];
	mayfly_value v;

	(void)state;
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	for (size_t len = 0; len <= sizeof(all); len += len < 20 ? 1 : 251) {
		v = must(&b, "echo_bytes", mayfly_bytes_of(all, len));
		assert_int_equal(v.type, MAYFLY_BYTES);
		assert_int_equal(v.as.bytes.len, len);
		assert_memory_equal(v.as.bytes.data, all, len);
	}
	v = must(&b, "reverse", mayfly_bytes_of(all, 256));
	for (size_t i = 0; i < 256; i++)
		assert_int_equal(((const uint8_t *)v.as.bytes.data)[i], 255 - i);
	assert_int_equal(all[0], 0);
	box_close(&b);
}

static void a_void_result_is_void(void **state)
{
	struct box b = box_open("types", NULL);

	(void)state;
	assert_int_equal(must(&b, "nothing").type, MAYFLY_VOID);
	box_close(&b);
}

static void a_result_need_not_be_wanted(void **state)
{
	struct box b = box_open("types", NULL);
	const mayfly_function *fn;
	mayfly_value args[] = {mayfly_i64(1), mayfly_i64(2)};

	(void)state;
	assert_ok(mayfly_snapshot_function(b.snap, "add", &fn, &b.err), &b.err);
	assert_ok(mayfly_sandbox_call(b.sb, fn, args, 2, NULL, NULL), NULL);
	box_close(&b);
}

static void a_result_is_not_touched_by_failure(void **state)
{
	struct box b = box_open("faults", NULL);

	(void)state;
	b.result = mayfly_i64(4711);
	assert_code(call(&b, "divide_by_zero"), MAYFLY_E_FAULT, &b.err);
	assert_int_equal(b.result.as.i64, 4711);
	box_close(&b);
}

/* --- many ------------------------------------------------------------------------------------ */

static void twelve_mixed_arguments_arrive_in_order(void **state)
{
	struct box b = box_open("types", NULL);
	mayfly_value v =
		must(&b, "mix12", mayfly_bool(true), f32_of(0x7f800001), mayfly_i32(INT32_MIN),
		     mayfly_string("four"), f64_of(0xfff8dead0000beef), mayfly_u32(UINT32_MAX),
		     mayfly_bytes_of("\0\xff", 2), mayfly_i64(INT64_MIN), f32_of(0x80000000),
		     mayfly_u64(UINT64_MAX), mayfly_string(""), f64_of(0x8000000000000000));

	(void)state;
	assert_string_equal(
		v.as.string.data,
		"1 f7f800001 -2147483648 'four' dfff8dead0000beef 4294967295 b2:00ff "
		"-9223372036854775808 f80000000 18446744073709551615 '' "
		"d8000000000000000 ");
	box_close(&b);
}

static void sixteen_mixed_arguments_arrive_in_order(void **state)
{
	struct box b = box_open("types", NULL);
	mayfly_value v = must(&b, "mix16", mayfly_f64(1), mayfly_bool(false), mayfly_f32(2),
			      mayfly_i32(-3), mayfly_f64(4), mayfly_u32(5), mayfly_f32(6),
			      mayfly_i64(-7), mayfly_f64(8), mayfly_u64(9), mayfly_f32(10),
			      mayfly_string("eleven"), mayfly_f64(12), mayfly_bytes_of("13", 2),
			      mayfly_f32(14), mayfly_f64(15));

	(void)state;
	assert_string_equal(v.as.string.data,
			    "d3ff0000000000000 0 f40000000 -3 d4010000000000000 5 f40c00000 -7 "
			    "d4020000000000000 9 f41200000 'eleven' d4028000000000000 b2:3133 "
			    "f41600000 d402e000000000000 ");
	box_close(&b);
}

static void sixteen_integers_arrive_in_order(void **state)
{
	struct box b = box_open("types", NULL);
	mayfly_value v =
		must(&b, "integers16", mayfly_i64(INT64_MIN), mayfly_i32(-2), mayfly_u32(3),
		     mayfly_bool(true), mayfly_u64(5), mayfly_i64(-6), mayfly_i32(-7),
		     mayfly_u32(UINT32_MAX), mayfly_bool(false), mayfly_u64(UINT64_MAX),
		     mayfly_i64(-11), mayfly_i32(INT32_MIN), mayfly_u32(13), mayfly_bool(true),
		     mayfly_u64(15), mayfly_i64(INT64_MAX));

	(void)state;
	assert_string_equal(
		v.as.string.data,
		"-9223372036854775808 -2 3 1 5 -6 -7 4294967295 0 18446744073709551615 -11 "
		"-2147483648 13 1 15 9223372036854775807 ");
	box_close(&b);
}

static void sixteen_floats_arrive_in_order(void **state)
{
	struct box b = box_open("types", NULL);
	mayfly_value args[16];
	char want[600] = "";

	(void)state;
	for (size_t i = 0; i < 8; i++) {
		args[2 * i] = f64_of(f64_patterns[i + 5]);
		args[2 * i + 1] = f32_of(f32_patterns[i + 5]);
		sprintf(want + strlen(want), "d%016llx f%08x ",
			(unsigned long long)f64_patterns[i + 5], f32_patterns[i + 5]);
	}
	assert_ok(box_call(&b, "floats16", args, 16), &b.err);
	assert_string_equal(b.result.as.string.data, want);
	box_close(&b);
}

static void sixteen_byte_arguments_arrive_in_order(void **state)
{
	struct box b = box_open("types", NULL);
	mayfly_value args[16];
	char want[600] = "";
	uint8_t data[16];

	(void)state;
	for (size_t i = 0; i < 16; i++) {
		data[i] = (uint8_t)(0xf0 + i);
		args[i] = mayfly_bytes_of(data, i);
		sprintf(want + strlen(want), "b%zu:", i);
		for (size_t j = 0; j < i; j++)
			sprintf(want + strlen(want), "%02zx", 0xf0 + j);
		strcat(want, " ");
	}
	assert_ok(box_call(&b, "bytes16", args, 16), &b.err);
	assert_string_equal(b.result.as.string.data, want);
	box_close(&b);
}

static void bytes_that_find_one_register_left_go_to_the_stack(void **state)
{
	struct box b = box_open("types", NULL);
	mayfly_value v = must(&b, "split_bytes", mayfly_i64(1), mayfly_i64(2), mayfly_i64(3),
			      mayfly_i64(4), mayfly_i64(5), mayfly_bytes_of("ab", 2),
			      mayfly_i64(6), mayfly_bytes_of("c", 1), mayfly_string("end"));

	(void)state;
	assert_string_equal(v.as.string.data, "1 2 3 4 5 b2:6162 6 b1:63 'end' ");
	box_close(&b);
}

/* --- large ones ------------------------------------------------------------------------------ */

static uint64_t checksum(const uint8_t *p, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 0x100000001b3;
	return hash;
}

static void sixty_four_mebibytes_go_in_and_out(void **state)
{
	const size_t len = (size_t)64 << 20;
	struct box b = box_of(load("types", (uint64_t)256 << 20, 0, len + 4096), NULL);
	uint8_t *data = malloc(len);
	mayfly_value v;

	(void)state;
	assert_non_null(data);
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	assert_true(must(&b, "checksum", mayfly_bytes_of(data, len)).as.u64 ==
		    checksum(data, len));
	v = must(&b, "make_bytes", mayfly_u64(len), mayfly_u32(7));
	assert_int_equal(v.as.bytes.len, len);
	for (size_t i = 0; i < len; i++)
		if (((const uint8_t *)v.as.bytes.data)[i] != (uint8_t)(i * 7))
			fail_test("byte %zu differs", i);
	/* And is gone. */
	box_restore(&b);
	v = must(&b, "echo_bytes", mayfly_bytes_of("", 0));
	box_close(&b);
	free(data);
}

static void arguments_fill_the_call_area_to_the_last_byte(void **state)
{
	struct box b = box_of(load("types", 0, 0, 8192), NULL);
	static uint8_t data[8193];
	static char text[8193];

	(void)state;
	memset(text, 'x', 8192);
	assert_int_equal(must(&b, "echo_bytes", mayfly_bytes_of(data, 8192)).as.bytes.len,
			 8192);
	assert_code(call(&b, "echo_bytes", mayfly_bytes_of(data, 8193)), MAYFLY_E_TOO_LARGE,
		    &b.err);
	assert_contains(b.err.message, "8193 bytes do not fit the call area of 8192");
	assert_code(call(&b, "length", mayfly_string(text)), MAYFLY_E_TOO_LARGE, &b.err);
	text[8191] = 0;
	assert_int_equal(must(&b, "length", mayfly_string(text)).as.u64, 8191);
	/* Both together do not fit; what was begun with them is forgotten. */
	for (int i = 0; i < 10; i++)
		assert_code(call(&b, "join", mayfly_string("12345678"), mayfly_string(text)),
			    MAYFLY_E_TOO_LARGE, &b.err);
	assert_int_equal(must(&b, "echo_bytes", mayfly_bytes_of(data, 8192)).as.bytes.len,
			 8192);
	box_close(&b);
}

static void lengths_near_the_end_of_arithmetic_do_not_fit(void **state)
{
	struct box b = box_open("types", NULL);
	static const size_t lengths[] = {SIZE_MAX,	SIZE_MAX - 1, SIZE_MAX - 15,
					 SIZE_MAX - 16, SIZE_MAX / 2, (size_t)1 << 40};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(lengths); i++) {
		mayfly_value v = mayfly_bytes_of("x", lengths[i]);

		assert_code(call(&b, "echo_bytes", v), MAYFLY_E_TOO_LARGE, &b.err);
	}
	check_usable(&b, "nothing", __FILE__, __LINE__);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unknown_function_is_an_error_with_near_misses),
		cmocka_unit_test(functions_are_listed_with_their_signatures),
		cmocka_unit_test(imports_are_listed_with_their_signatures),
		cmocka_unit_test(wrong_number_of_arguments_is_an_error_that_says_both),
		cmocka_unit_test(each_wrong_type_is_an_error_that_names_the_argument),
		cmocka_unit_test(types_that_do_not_exist_are_refused),
		cmocka_unit_test(the_second_wrong_argument_is_named_as_such),
		cmocka_unit_test(null_data_is_refused_as_such),
		cmocka_unit_test(a_string_with_a_nul_inside_is_refused),
		cmocka_unit_test(a_function_of_another_guest_is_refused),
		cmocka_unit_test(two_guests_in_one_process_do_not_mix),
		cmocka_unit_test(bools_come_back_as_they_are),
		cmocka_unit_test(extreme_integers_come_back_as_they_are),
		cmocka_unit_test(every_bit_of_an_f32_is_kept),
		cmocka_unit_test(every_bit_of_an_f64_is_kept),
		cmocka_unit_test(rubbish_above_a_small_result_is_ignored),
		cmocka_unit_test(strings_come_back_as_they_are),
		cmocka_unit_test(all_byte_values_come_back_as_they_are),
		cmocka_unit_test(a_void_result_is_void),
		cmocka_unit_test(a_result_need_not_be_wanted),
		cmocka_unit_test(a_result_is_not_touched_by_failure),
		cmocka_unit_test(twelve_mixed_arguments_arrive_in_order),
		cmocka_unit_test(sixteen_mixed_arguments_arrive_in_order),
		cmocka_unit_test(sixteen_integers_arrive_in_order),
		cmocka_unit_test(sixteen_floats_arrive_in_order),
		cmocka_unit_test(sixteen_byte_arguments_arrive_in_order),
		cmocka_unit_test(bytes_that_find_one_register_left_go_to_the_stack),
		cmocka_unit_test(sixty_four_mebibytes_go_in_and_out),
		cmocka_unit_test(arguments_fill_the_call_area_to_the_last_byte),
		cmocka_unit_test(lengths_near_the_end_of_arithmetic_do_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

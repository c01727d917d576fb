/* SPDX-License-Identifier: Apache-2.0 */
/* Host functions: values to the host and back, failures, registration, nesting. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the host's side ------------------------------------------------------------------------- */

/* Gives back its argument. */
static int echo(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		mayfly_value *result, mayfly_error *err)
{
	(void)context;
	(void)sb;
	(void)err;
	assert_int_equal(nargs, 1);
	assert_int_equal(args[0].type, result->type);
	*result = args[0];
	return 0;
}

static int nothing(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		   mayfly_value *result, mayfly_error *err)
{
	(void)sb;
	(void)args;
	(void)err;
	assert_int_equal(nargs, 0);
	assert_int_equal(result->type, MAYFLY_VOID);
	if (context)
		++*(unsigned *)context;
	return 0;
}

static int fails(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		 mayfly_value *result, mayfly_error *err)
{
	(void)context;
	(void)sb;
	(void)nargs;
	result->as.i64 = 99; /* not to be seen */
	return mayfly_error_set(err, MAYFLY_E_HOST_FUNCTION, "failed with %lld",
				(long long)args[0].as.i64);
}

static int fails_string(void *context, mayfly_sandbox *sb, const mayfly_value *args,
			size_t nargs, mayfly_value *result, mayfly_error *err)
{
	(void)context;
	(void)sb;
	(void)nargs;
	(void)result;
	return mayfly_error_set(err, MAYFLY_E_HOST_FUNCTION, "%s", args[0].as.string.data);
}

static const mayfly_host_function echoes[] = {
	{"host_bool", "bool(bool)", echo, NULL},
	{"host_i32", "i32(i32)", echo, NULL},
	{"host_u32", "u32(u32)", echo, NULL},
	{"host_i64", "i64(i64)", echo, NULL},
	{"host_u64", "u64(u64)", echo, NULL},
	{"host_f32", "f32(f32)", echo, NULL},
	{"host_f64", "f64(f64)", echo, NULL},
	{"host_string", "string(string)", echo, NULL},
	{"host_bytes", "bytes(bytes)", echo, NULL},
	{"host_nothing", "void()", nothing, NULL},
	{"host_fails", "i64(i64)", fails, NULL},
	{"host_fails_string", "string(string)", fails_string, NULL},
};

static const mayfly_sandbox_options with_echoes = {
	.size = sizeof(mayfly_sandbox_options),
	.host_functions = echoes,
	.host_function_count = COUNT_OF(echoes),
};

static void provide(struct box *b, const char *name, const char *signature, mayfly_host_fn fn,
		    void *context)
{
	mayfly_host_function f = {name, signature, fn, context};

	assert_ok(mayfly_sandbox_register(b->sb, &f, &b->err), &b->err);
}

/* --- values ---------------------------------------------------------------------------------- */

static void integers_pass_through_the_host_as_they_are(void **state)
{
	static const uint64_t values[] = {
		0,	    1,		UINT64_MAX, INT64_MAX,	1ULL << 63,
		UINT32_MAX, 1ULL << 31, INT32_MAX,  1ULL << 32, 0x0123456789abcdef};
	struct box b = box_open("hostcalls", &with_echoes);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(values); i++) {
		uint64_t v = values[i];

		assert_true(must(&b, "through_u64", mayfly_u64(v)).as.u64 == v);
		assert_true(must(&b, "through_i64", mayfly_i64((int64_t)v)).as.i64 ==
			    (int64_t)v);
		assert_true(must(&b, "through_u32", mayfly_u32((uint32_t)v)).as.u32 ==
			    (uint32_t)v);
		assert_true(must(&b, "through_i32", mayfly_i32((int32_t)v)).as.i32 ==
			    (int32_t)v);
		assert_true(must(&b, "through_bool", mayfly_bool(v & 1)).as.boolean == (v & 1));
	}
	box_close(&b);
}

static void every_bit_of_floats_passes_through_the_host(void **state)
{
	static const uint64_t patterns[] = {0,
					    1ULL << 63,
					    1,
					    0x7ff0000000000000,
					    0x7ff0000000000001,
					    0x7ff8000000000000,
					    0xfff8dead0000beef,
					    0xfff7ffffffffffff};
	static const uint32_t small[] = {0,	     1u << 31,	 1,	    0x7f800000,
					 0x7f800001, 0xffbfffff, 0x7fc12345};
	struct box b = box_open("hostcalls", &with_echoes);
	mayfly_value v;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(patterns); i++) {
		v.type = MAYFLY_F64;
		memcpy(&v.as.f64, &patterns[i], 8);
		v = must(&b, "through_f64", v);
		assert_memory_equal(&v.as.f64, &patterns[i], 8);
	}
	for (size_t i = 0; i < COUNT_OF(small); i++) {
		v.type = MAYFLY_F32;
		memcpy(&v.as.f32, &small[i], 4);
		v = must(&b, "through_f32", v);
		assert_memory_equal(&v.as.f32, &small[i], 4);
	}
	box_close(&b);
}

static void strings_and_bytes_pass_through_the_host(void **state)
{
	struct box b = box_open("hostcalls", &with_echoes);
	uint8_t all[256];
	mayfly_value v;

	(void)state;
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	assert_string_equal(must(&b, "through_string", mayfly_string("")).as.string.data, "");
	assert_string_equal(
		must(&b, "through_string", mayfly_string("\xff text")).as.string.data,
		"\xff text");
	v = must(&b, "through_bytes", mayfly_bytes_of(all, sizeof(all)));
	assert_int_equal(v.as.bytes.len, sizeof(all));
	assert_memory_equal(v.as.bytes.data, all, sizeof(all));
	assert_int_equal(must(&b, "through_bytes", mayfly_bytes_of(NULL, 0)).as.bytes.len, 0);
	must(&b, "through_nothing");
	box_close(&b);
}

static void large_bytes_pass_through_the_host(void **state)
{
	const size_t len = (size_t)64 << 20;
	struct box b =
		box_of(load("hostcalls", (uint64_t)256 << 20, 0, 2 * len + 8192), &with_echoes);
	uint8_t *data = malloc(len);
	mayfly_value v;

	(void)state;
	assert_non_null(data);
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 11);
	v = must(&b, "through_bytes", mayfly_bytes_of(data, len));
	assert_int_equal(v.as.bytes.len, len);
	assert_memory_equal(v.as.bytes.data, data, len);
	free(data);
	box_close(&b);
}

static char mixed[1000];

static int mix16(void *context, mayfly_sandbox *sb, const mayfly_value *a, size_t nargs,
		 mayfly_value *result, mayfly_error *err)
{
	const uint8_t *first = a[4].as.bytes.data, *second = a[11].as.bytes.data;

	(void)context;
	(void)sb;
	(void)err;
	assert_int_equal(nargs, 16);
	snprintf(mixed, sizeof(mixed),
		 "%g %d %g %d %zu:%u,%u,%u,%u,%u %u %g %lld %g %llu '%s' %zu:%u,%u %g '%s' %g "
		 "%d",
		 a[0].as.f64, a[1].as.boolean, (double)a[2].as.f32, a[3].as.i32,
		 a[4].as.bytes.len, first[0], first[1], first[2], first[3], first[4],
		 a[5].as.u32, (double)a[6].as.f32, (long long)a[7].as.i64, a[8].as.f64,
		 (unsigned long long)a[9].as.u64, a[10].as.string.data, a[11].as.bytes.len,
		 second[0], second[1], a[12].as.f64, a[13].as.string.data, (double)a[14].as.f32,
		 a[15].as.i32);
	*result = mayfly_string(mixed);
	return 0;
}

static void sixteen_arguments_reach_the_host_in_order(void **state)
{
	struct box b = box_open("hostcalls", &with_echoes);

	(void)state;
	provide(&b, "host_mix16",
		"string(f64,bool,f32,i32,bytes,u32,f32,i64,f64,u64,string,bytes,f64,string,f32,"
		"i32)",
		mix16, NULL);
	assert_string_equal(
		must(&b, "through_mix16").as.string.data,
		"-0 1 1.5 -2147483648 5:0,1,2,254,255 4294967295 -2.5 "
		"-9223372036854775808 1e+300 18446744073709551615 'first' 2:254,255 0.1 "
		"'second' 3.25 -7");
	box_close(&b);
}

static void results_do_not_pile_up_in_the_call_area(void **state)
{
	struct box b = box_of(load("hostcalls", 0, 0, 16384), &with_echoes);

	(void)state;
	assert_true(must(&b, "many_results", mayfly_u32(500), mayfly_u64(8192)).as.boolean);
	assert_true(must(&b, "many_results", mayfly_u32(3), mayfly_u64(16384)).as.boolean);
	box_close(&b);
}

static int gives_too_much(void *context, mayfly_sandbox *sb, const mayfly_value *args,
			  size_t nargs, mayfly_value *result, mayfly_error *err)
{
	static char much[16385];

	(void)context;
	(void)sb;
	(void)args;
	(void)nargs;
	(void)err;
	*result = mayfly_bytes_of(much, sizeof(much));
	return 0;
}

static void a_result_beyond_the_call_area_is_a_failure_for_the_guest(void **state)
{
	struct box b = box_of(load("hostcalls", 0, 0, 16384), &with_echoes);

	(void)state;
	provide(&b, "host_bytes", "bytes(bytes)", gives_too_much, NULL);
	assert_int_equal(must(&b, "through_bytes", mayfly_bytes_of("x", 1)).as.bytes.len, 0);
	provide(&b, "host_bytes", "bytes(bytes)", echo, NULL);
	assert_int_equal(must(&b, "through_bytes", mayfly_bytes_of("x", 1)).as.bytes.len, 1);
	box_close(&b);
}

/* --- failures -------------------------------------------------------------------------------- */

static void a_thousand_failures_leak_nothing(void **state)
{
	struct box b = box_open("hostcalls", &with_echoes);
	size_t before;
	int files;

	(void)state;
	/* What malloc keeps for later is kept from here on. */
	assert_int_equal(must(&b, "fail_many", mayfly_u32(10)).as.u32, 10);
	must(&b, "error_text", mayfly_string("oh"));
	before = heap_in_use();
	files = descriptors_open();
	assert_int_equal(must(&b, "fail_many", mayfly_u32(1000)).as.u32, 1000);
	for (int i = 0; i < 1000; i++)
		assert_string_equal(must(&b, "error_text", mayfly_string("oh")).as.string.data,
				    "oh");
	assert_true(heap_in_use() <= before + HEAP_SLACK);
	assert_int_equal(descriptors_open(), files);
	box_close(&b);
}

static void a_success_clears_the_error(void **state)
{
	struct box b = box_open("hostcalls", &with_echoes);

	(void)state;
	assert_true(must(&b, "error_is_cleared").as.boolean);
	box_close(&b);
}

static void an_over_long_message_is_cut(void **state)
{
	struct box b = box_open("hostcalls", &with_echoes);
	char text[5000];
	const char *got;

	(void)state;
	memset(text, 'm', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	got = must(&b, "error_text", mayfly_string(text)).as.string.data;
	assert_int_equal(strlen(got), MAYFLY_ERROR_MESSAGE_SIZE - 1);
	assert_string_equal(got + strlen(got) - 4, "m...");
	box_close(&b);
}

static int fails_without_a_word(void *context, mayfly_sandbox *sb, const mayfly_value *args,
				size_t nargs, mayfly_value *result, mayfly_error *err)
{
	(void)sb;
	(void)args;
	(void)nargs;
	(void)result;
	(void)err;
	return *(int *)context;
}

static void a_failure_without_message_gets_its_codes_name(void **state)
{
	struct box b = box_open("hostcalls", &with_echoes);
	int code = MAYFLY_E_HOST_FUNCTION;

	(void)state;
	provide(&b, "host_fails_string", "string(string)", fails_without_a_word, &code);
	assert_string_equal(must(&b, "error_text", mayfly_string("")).as.string.data,
			    mayfly_code_name(code));
	box_close(&b);
}

static void an_unprovided_host_function_is_a_failure_for_the_guest(void **state)
{
	struct box b = box_open("hostcalls", NULL);

	(void)state;
	assert_contains(must(&b, "error_of_missing").as.string.data,
			"host function host_missing is not provided");
	assert_int_equal(must(&b, "through_i64", mayfly_i64(5)).as.i64, 0);
	assert_false(mayfly_sandbox_is_poisoned(b.sb));
	box_close(&b);
}

static int gives_another_type(void *context, mayfly_sandbox *sb, const mayfly_value *args,
			      size_t nargs, mayfly_value *result, mayfly_error *err)
{
	(void)context;
	(void)sb;
	(void)args;
	(void)nargs;
	(void)err;
	*result = mayfly_f64(1.0);
	return 0;
}

static int gives_null(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		      mayfly_value *result, mayfly_error *err)
{
	(void)context;
	(void)sb;
	(void)args;
	(void)nargs;
	(void)err;
	result->as.string.data = NULL;
	result->as.string.len = 0;
	return 0;
}

static int gives_a_nul(void *context, mayfly_sandbox *sb, const mayfly_value *args,
		       size_t nargs, mayfly_value *result, mayfly_error *err)
{
	(void)context;
	(void)sb;
	(void)args;
	(void)nargs;
	(void)err;
	result->as.string.data = "a\0b";
	result->as.string.len = 3;
	return 0;
}

static void a_result_that_breaks_the_signature_is_a_failure_for_the_guest(void **state)
{
	struct box b = box_open("hostcalls", &with_echoes);

	(void)state;
	provide(&b, "host_fails_string", "string(string)", gives_another_type, NULL);
	assert_contains(must(&b, "error_text", mayfly_string("")).as.string.data,
			"host_fails_string gave f64 instead of string");
	provide(&b, "host_fails_string", "string(string)", gives_null, NULL);
	assert_contains(must(&b, "error_text", mayfly_string("")).as.string.data,
			"null pointer");
	provide(&b, "host_fails_string", "string(string)", gives_a_nul, NULL);
	assert_contains(must(&b, "error_text", mayfly_string("")).as.string.data, "NUL");
	box_close(&b);
}

/* --- registration ---------------------------------------------------------------------------- */

static int adds_context(void *context, mayfly_sandbox *sb, const mayfly_value *args,
			size_t nargs, mayfly_value *result, mayfly_error *err)
{
	(void)sb;
	(void)nargs;
	(void)err;
	result->as.i64 = args[0].as.i64 + *(int64_t *)context;
	return 0;
}

static void functions_are_registered_before_after_and_anew(void **state)
{
	int64_t ten = 10, hundred = 100;
	mayfly_host_function before = {"host_i64", "i64(i64)", adds_context, &ten};
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	struct box b;

	(void)state;
	options.host_functions = &before;
	options.host_function_count = 1;
	b = box_open("hostcalls", &options);
	before.context = &hundred; /* copied */
	assert_int_equal(must(&b, "through_i64", mayfly_i64(1)).as.i64, 11);
	assert_int_equal(must(&b, "through_u64", mayfly_u64(1)).as.u64, 0);
	provide(&b, "host_u64", "u64(u64)", echo, NULL);
	assert_int_equal(must(&b, "through_u64", mayfly_u64(1)).as.u64, 1);
	provide(&b, "host_i64", "i64(i64)", adds_context, &hundred);
	assert_int_equal(must(&b, "through_i64", mayfly_i64(1)).as.i64, 101);
	/* They stay over a restore. */
	box_restore(&b);
	assert_int_equal(must(&b, "through_i64", mayfly_i64(1)).as.i64, 101);
	/* The same function by two names, neither in the guest's way. */
	provide(&b, "nobody_calls_this", "string(bytes,bytes)", echo, NULL);
	assert_int_equal(must(&b, "through_i64", mayfly_i64(1)).as.i64, 101);
	box_close(&b);
}

static void the_last_of_two_of_one_name_counts(void **state)
{
	int64_t ten = 10, hundred = 100;
	mayfly_host_function both[] = {{"host_i64", "i64(i64)", adds_context, &ten},
				       {"host_i64", "i64(i64)", adds_context, &hundred}};
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	struct box b;

	(void)state;
	options.host_functions = both;
	options.host_function_count = 2;
	b = box_open("hostcalls", &options);
	assert_int_equal(must(&b, "through_i64", mayfly_i64(1)).as.i64, 101);
	box_close(&b);
}

static void sandboxes_have_functions_of_their_own(void **state)
{
	int64_t ten = 10, hundred = 100;
	struct box a = box_open("hostcalls", NULL);
	struct box b = box_of(mayfly_snapshot_ref(a.snap), NULL);

	(void)state;
	provide(&a, "host_i64", "i64(i64)", adds_context, &ten);
	provide(&b, "host_i64", "i64(i64)", adds_context, &hundred);
	assert_int_equal(must(&a, "through_i64", mayfly_i64(1)).as.i64, 11);
	assert_int_equal(must(&b, "through_i64", mayfly_i64(1)).as.i64, 101);
	box_close(&a);
	box_close(&b);
}

static void another_signature_than_the_guests_is_refused_at_both_places(void **state)
{
	mayfly_host_function wrong = {"host_i64", "i64(u64)", echo, NULL};
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	struct box b = box_open("hostcalls", NULL);
	mayfly_sandbox *sb;

	(void)state;
	assert_code(mayfly_sandbox_register(b.sb, &wrong, &b.err), MAYFLY_E_SIGNATURE, &b.err);
	assert_contains(b.err.message, "host_i64");
	assert_contains(b.err.message, "i64(u64)");
	assert_contains(b.err.message, "i64(i64)");
	options.host_functions = &wrong;
	options.host_function_count = 1;
	assert_code(mayfly_sandbox_new(b.snap, &options, &sb, &b.err), MAYFLY_E_SIGNATURE,
		    &b.err);
	box_close(&b);
}

static void a_signature_that_is_none_is_refused(void **state)
{
	static const char *const bad[] = {"",	      "i64",	   "i64(",	"i64(i64",
					  "int(i64)", "i64(void)", "i64(i64,)", "i64(i64)x"};
	struct box b = box_open("hostcalls", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		mayfly_host_function f = {"something", bad[i], echo, NULL};
		int r = mayfly_sandbox_register(b.sb, &f, &b.err);

		if (r != MAYFLY_E_SIGNATURE)
			fail_test("\"%s\" gave %d", bad[i], r);
		assert_contains(b.err.message, "something");
	}
	box_close(&b);
}

struct registering {
	unsigned count;
	mayfly_sandbox *sb;
};

static int registers_others(void *context, mayfly_sandbox *sb, const mayfly_value *args,
			    size_t nargs, mayfly_value *result, mayfly_error *err)
{
	mayfly_host_function f = {NULL, "void()", nothing, NULL};
	char name[20];

	(void)nargs;
	*result = args[0];
	for (int i = 0; i < 50; i++) {
		int r;

		snprintf(name, sizeof(name), "more_%u", (*(unsigned *)context)++);
		f.name = name;
		r = mayfly_sandbox_register(sb, &f, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void a_host_function_may_register_others(void **state)
{
	struct box b = box_open("hostcalls", NULL);
	unsigned count = 0;

	(void)state;
	provide(&b, "host_i64", "i64(i64)", registers_others, &count);
	for (int i = 0; i < 4; i++)
		assert_int_equal(must(&b, "through_i64", mayfly_i64(i)).as.i64, i);
	assert_int_equal(count, 200);
	box_close(&b);
}

/* --- nesting --------------------------------------------------------------------------------- */

struct nesting {
	const mayfly_function *nest;
	unsigned deepest;
	unsigned level;
	int code; /* of the innermost call that failed */
	mayfly_error err;
};

static int nests(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		 mayfly_value *result, mayfly_error *err)
{
	struct nesting *n = context;
	char longer[100];
	mayfly_value inner[3] = {mayfly_u32(args[0].as.u32 - 1),
				 {.type = MAYFLY_VOID},
				 mayfly_f64(args[2].as.f64)};
	int r;

	assert_int_equal(nargs, 3);
	snprintf(longer, sizeof(longer), "%s+", args[1].as.string.data);
	inner[1] = mayfly_string(longer);
	if (++n->level > n->deepest)
		n->deepest = n->level;
	r = mayfly_sandbox_call(sb, n->nest, inner, 3, result, err);
	n->level--;
	/* The strings among the arguments outlive nested calls. */
	assert_int_equal(strlen(args[1].as.string.data) + 1, strlen(longer));
	if (r < 0 && !n->code) {
		n->code = r;
		if (err)
			n->err = *err;
	}
	return r;
}

static struct box open_nesting(uint32_t max_depth, struct nesting *n)
{
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	struct box b;

	options.max_depth = max_depth;
	memset(n, 0, sizeof(*n));
	b = box_open("hostcalls", &options);
	provide(&b, "host_nest", "i64(u32,string,f64)", nests, n);
	assert_ok(mayfly_snapshot_function(b.snap, "nest", &n->nest, &b.err), &b.err);
	return b;
}

static void check_limit(uint32_t max_depth, uint32_t levels)
{
	struct nesting n;
	struct box b = open_nesting(max_depth, &n);
	int64_t sum = (int64_t)levels * (levels - 1) / 2;

	/* As deep as allowed: the outermost call counts. */
	assert_int_equal(
		must(&b, "nest", mayfly_u32(levels - 1), mayfly_string(""), mayfly_f64(1.25))
			.as.i64,
		sum);
	assert_int_equal(n.deepest, levels - 1);
	assert_int_equal(n.code, 0);
	/* One more. */
	assert_int_equal(
		must(&b, "nest", mayfly_u32(levels), mayfly_string(""), mayfly_f64(1.25))
			.as.i64,
		-1);
	assert_int_equal(n.code, MAYFLY_E_LIMIT);
	assert_contains(n.err.message, "max_depth");
	/* And no harm done. */
	assert_false(mayfly_sandbox_is_poisoned(b.sb));
	assert_int_equal(
		must(&b, "nest", mayfly_u32(levels - 1), mayfly_string(""), mayfly_f64(1.25))
			.as.i64,
		sum);
	box_close(&b);
}

static void nesting_goes_to_the_default_limit_and_not_beyond(void **state)
{
	(void)state;
	check_limit(0, 8);
}

static void nesting_goes_to_a_given_limit_and_not_beyond(void **state)
{
	(void)state;
	check_limit(1, 1);
	check_limit(2, 2);
	check_limit(64, 64);
}

struct inside {
	const char *function;
	mayfly_snapshot *snap;
	int code;
	int swallowed; /* what the host function returns whatever happened */
};

static int calls_inside(void *context, mayfly_sandbox *sb, const mayfly_value *args,
			size_t nargs, mayfly_value *result, mayfly_error *err)
{
	struct inside *in = context;
	const mayfly_function *fn;
	mayfly_error mine;
	mayfly_value number = mayfly_u32(2);

	(void)nargs;
	*result = args[0];
	assert_ok(mayfly_snapshot_function(in->snap, in->function, &fn, &mine), &mine);
	in->code =
		mayfly_sandbox_call(sb, fn, &number, mayfly_function_arg_count(fn), NULL, err);
	/* Poisoned, also for what follows within the same host function. */
	if (in->code < 0)
		assert_code(mayfly_sandbox_call(sb, fn, &number, mayfly_function_arg_count(fn),
						NULL, NULL),
			    MAYFLY_E_POISONED, NULL);
	return in->swallowed;
}

static void a_fault_in_a_nested_call_ends_all_of_them(void **state)
{
	struct box b = box_open("hostcalls", NULL);
	struct inside in = {.function = "nest", .snap = b.snap};

	(void)state;
	provide(&b, "host_i64", "i64(i64)", calls_inside, &in);
	in.function = "fail_many";
	assert_int_equal(must(&b, "through_i64", mayfly_i64(3)).as.i64, 3);
	assert_int_equal(in.code, 0);
	/* It gives the error of a function that now succeeds: NULL, which is no string. */
	provide(&b, "host_missing", "i64()", fails_without_a_word, &(int){0});
	in.function = "error_of_missing";
	assert_code(call(&b, "through_i64", mayfly_i64(3)), MAYFLY_E_PROTOCOL, &b.err);
	assert_int_equal(in.code, MAYFLY_E_PROTOCOL);
	assert_contains(b.err.message, "nested in host function host_i64");
	assert_poisoned(&b, MAYFLY_E_PROTOCOL, MAYFLY_FAULT_PROTOCOL, 0, "through_nothing");
	box_close(&b);
}

static int tries_everything(void *context, mayfly_sandbox *sb, const mayfly_value *args,
			    size_t nargs, mayfly_value *result, mayfly_error *err)
{
	mayfly_snapshot *snap;
	mayfly_error mine;

	(void)context;
	(void)nargs;
	(void)err;
	*result = args[0];
	assert_code(mayfly_sandbox_restore(sb, NULL, &mine), MAYFLY_E_BUSY, &mine);
	assert_code(mayfly_sandbox_snapshot(sb, &snap, &mine), MAYFLY_E_BUSY, &mine);
	assert_code(mayfly_sandbox_set_limits(sb, 1, 1, &mine), MAYFLY_E_BUSY, &mine);
	assert_code(mayfly_sandbox_write_core(sb, "/nonexistent/core", &mine), MAYFLY_E_BUSY,
		    &mine);
	return 0;
}

static void what_is_not_for_within_calls_says_busy(void **state)
{
	struct box b = box_open("hostcalls", NULL);

	(void)state;
	provide(&b, "host_i64", "i64(i64)", tries_everything, NULL);
	assert_int_equal(must(&b, "through_i64", mayfly_i64(3)).as.i64, 3);
	box_close(&b);
}

static void calls_of_both_kinds_are_counted(void **state)
{
	struct box b = box_open("hostcalls", &with_echoes);
	mayfly_sandbox_stats stats = {.size = sizeof(stats)};

	(void)state;
	must(&b, "call_many", mayfly_u32(123));
	must(&b, "through_nothing");
	assert_ok(mayfly_sandbox_get_stats(b.sb, &stats, &b.err), &b.err);
	assert_int_equal(stats.calls, 2);
	assert_int_equal(stats.host_calls, 124);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_pass_through_the_host_as_they_are),
		cmocka_unit_test(every_bit_of_floats_passes_through_the_host),
		cmocka_unit_test(strings_and_bytes_pass_through_the_host),
		cmocka_unit_test(large_bytes_pass_through_the_host),
		cmocka_unit_test(sixteen_arguments_reach_the_host_in_order),
		cmocka_unit_test(results_do_not_pile_up_in_the_call_area),
		cmocka_unit_test(a_result_beyond_the_call_area_is_a_failure_for_the_guest),
		cmocka_unit_test(a_thousand_failures_leak_nothing),
		cmocka_unit_test(a_success_clears_the_error),
		cmocka_unit_test(an_over_long_message_is_cut),
		cmocka_unit_test(a_failure_without_message_gets_its_codes_name),
		cmocka_unit_test(an_unprovided_host_function_is_a_failure_for_the_guest),
		cmocka_unit_test(a_result_that_breaks_the_signature_is_a_failure_for_the_guest),
		cmocka_unit_test(functions_are_registered_before_after_and_anew),
		cmocka_unit_test(the_last_of_two_of_one_name_counts),
		cmocka_unit_test(sandboxes_have_functions_of_their_own),
		cmocka_unit_test(another_signature_than_the_guests_is_refused_at_both_places),
		cmocka_unit_test(a_signature_that_is_none_is_refused),
		cmocka_unit_test(a_host_function_may_register_others),
		cmocka_unit_test(nesting_goes_to_the_default_limit_and_not_beyond),
		cmocka_unit_test(nesting_goes_to_a_given_limit_and_not_beyond),
		cmocka_unit_test(a_fault_in_a_nested_call_ends_all_of_them),
		cmocka_unit_test(what_is_not_for_within_calls_says_busy),
		cmocka_unit_test(calls_of_both_kinds_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

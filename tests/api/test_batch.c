/* SPDX-License-Identifier: Apache-2.0 */
/* Many calls at a time: what they give, and what happens when one of them fails. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

static int call_batch(struct box *b, const char *function, mayfly_batch *batch)
{
	const mayfly_function *fn;

	assert_ok(mayfly_snapshot_function(b->snap, function, &fn, &b->err), &b->err);
	b->code = mayfly_sandbox_call_many(b->sb, fn, batch, &b->err);
	return b->code;
}

/* All of it must be done. */
static void must_batch(struct box *b, const char *function, mayfly_batch *batch)
{
	assert_ok(call_batch(b, function, batch), &b->err);
	assert_int_equal(batch->done, batch->count);
}

static mayfly_batch batch_of(const mayfly_value *args, size_t nargs, size_t count,
			     mayfly_value *results)
{
	mayfly_batch batch = MAYFLY_BATCH_INIT;

	batch.args = args;
	batch.nargs = nargs;
	batch.count = count;
	batch.results = results;
	batch.done = 77;
	return batch;
}

/* --- results --------------------------------------------------------------------------------- */

/* Enough for several parts of any call area. */
#define MANY 5000

static void results_are_those_of_single_calls(void **state)
{
	static const size_t counts[] = {0, 1, 2, 127, 128, 129, 300, 1000, MANY};
	mayfly_value *args = calloc(MANY, 2 * sizeof(*args));
	mayfly_value *results = calloc(MANY, sizeof(*results));
	struct box b = box_open("batch", NULL);
	int64_t calls = 0;

	(void)state;
	for (size_t n = 0; n < COUNT_OF(counts); n++) {
		mayfly_batch batch = batch_of(args, 2, counts[n], results);

		for (size_t i = 0; i < MANY; i++) {
			args[2 * i] = mayfly_i64((int64_t)(i * 1000003));
			args[2 * i + 1] = mayfly_i64(-(int64_t)n);
			results[i] = mayfly_i32(-1);
		}
		must_batch(&b, "add", &batch);
		calls += (int64_t)counts[n];
		for (size_t i = 0; i < MANY; i++) {
			bool called = i < counts[n];

			assert_int_equal(results[i].type, called ? MAYFLY_I64 : MAYFLY_I32);
			assert_true(!called ||
				    results[i].as.i64 == (int64_t)(i * 1000003) - (int64_t)n);
		}
		assert_int_equal(must(&b, "call_count").as.i64, calls);
	}
	box_close(&b);
	free(results);
	free(args);
}

static double weighed(const mayfly_value *v)
{
	double sum = 0;

	for (int i = 0; i < 16; i++) {
		const mayfly_value *a = &v[i];
		double x = a->type == MAYFLY_F64    ? a->as.f64
			   : a->type == MAYFLY_F32  ? (double)a->as.f32
			   : a->type == MAYFLY_I32  ? a->as.i32
			   : a->type == MAYFLY_U32  ? a->as.u32
			   : a->type == MAYFLY_BOOL ? a->as.boolean
						    : (double)a->as.i64;

		sum += (i + 1) * x;
	}
	return sum;
}

static void arguments_of_every_register_and_of_the_stack_arrive(void **state)
{
	enum { COUNT = 700 };
	static mayfly_value args[COUNT][16], results[COUNT];
	struct box b = box_open("batch", NULL);
	mayfly_batch batch = batch_of(args[0], 16, COUNT, results);

	(void)state;
	for (int i = 0; i < COUNT; i++) {
		int64_t wide = i;
		const mayfly_value list[] = {
			mayfly_f64(i),		 mayfly_i64(wide + 1), mayfly_f32((float)i),
			mayfly_i32(-i),		 mayfly_f64(i * 2),    mayfly_u32((uint32_t)i),
			mayfly_f32(0.5f),	 mayfly_i64(wide * 3), mayfly_f64(-i),
			mayfly_u64((uint64_t)i), mayfly_f32(1),	       mayfly_bool(i % 2),
			mayfly_f64(i * 5),	 mayfly_f64(i * 7),    mayfly_i64(wide * 11),
			mayfly_f64(i * 13)};

		memcpy(args[i], list, sizeof(list));
	}
	must_batch(&b, "weigh", &batch);
	for (int i = 0; i < COUNT; i++) {
		assert_int_equal(results[i].type, MAYFLY_F64);
		assert_true(results[i].as.f64 == weighed(args[i]));
	}
	box_close(&b);
}

static void results_of_each_size_are_cut_to_it(void **state)
{
	static mayfly_value args[200], results[200];
	struct box b = box_open("batch", NULL);
	mayfly_batch batch = batch_of(args, 1, COUNT_OF(args), results);

	(void)state;
	for (uint32_t i = 0; i < COUNT_OF(args); i++)
		args[i] = mayfly_f32((float)i);
	must_batch(&b, "half", &batch);
	for (uint32_t i = 0; i < COUNT_OF(args); i++)
		assert_true(results[i].type == MAYFLY_F32 && results[i].as.f32 == (float)i / 2);
	for (uint32_t i = 0; i < COUNT_OF(args); i++)
		args[i] = mayfly_u32(i);
	must_batch(&b, "is_odd", &batch);
	for (uint32_t i = 0; i < COUNT_OF(args); i++)
		assert_true(results[i].type == MAYFLY_BOOL && results[i].as.u64 == i % 2);
	for (uint32_t i = 0; i < COUNT_OF(args); i++)
		args[i] = mayfly_i32((int32_t)i);
	must_batch(&b, "negate", &batch);
	for (uint32_t i = 0; i < COUNT_OF(args); i++)
		assert_true(results[i].type == MAYFLY_I32 && results[i].as.i32 == -(int32_t)i);
	box_close(&b);
}

static void functions_without_arguments_or_results_are_called(void **state)
{
	struct box b = box_open("batch", NULL);
	mayfly_batch batch = batch_of(NULL, 0, 300, NULL);

	(void)state;
	must_batch(&b, "count", &batch);
	assert_int_equal(must(&b, "call_count").as.i64, 300);
	must_batch(&b, "call_count", &batch);
	box_close(&b);
}

/* --- strings and bytes ----------------------------------------------------------------------- */

static void strings_and_bytes_of_all_calls_fit_any_call_area(void **state)
{
	static const uint64_t areas[] = {4096, 8192, 65536, 1 << 20};
	static char bytes[3000], text[900];
	enum { COUNT = 400 };
	static mayfly_value args[COUNT][2], results[COUNT];

	(void)state;
	memset(bytes, 1, sizeof(bytes));
	memset(text, 't', sizeof(text));
	for (size_t a = 0; a < COUNT_OF(areas); a++) {
		struct box b = box_of(load("batch", 0, 0, areas[a]), NULL);
		mayfly_batch batch = batch_of(args[0], 2, COUNT, results);
		uint64_t random = a + 1, want[COUNT];

		for (int i = 0; i < COUNT; i++) {
			size_t len = random_next(&random) % (i % 7 ? 40 : sizeof(bytes));

			args[i][0] = mayfly_bytes_of(bytes, len);
			args[i][1].type = MAYFLY_STRING;
			args[i][1].as.string.data = text;
			args[i][1].as.string.len =
				random_next(&random) % (i % 5 ? 40 : sizeof(text));
			want[i] = len + args[i][1].as.string.len;
		}
		must_batch(&b, "sum", &batch);
		for (int i = 0; i < COUNT; i++)
			assert_int_equal(results[i].as.u64, want[i]);
		box_close(&b);
	}
}

static void a_call_that_never_fits_ends_the_batch_before_it(void **state)
{
	static char bytes[8192];
	mayfly_value args[3][2], results[3];
	struct box b = box_of(load("batch", 0, 0, 4096), NULL);
	mayfly_batch batch = batch_of(args[0], 2, 3, results);

	(void)state;
	for (int i = 0; i < 3; i++) {
		args[i][0] = mayfly_bytes_of(bytes, i == 2 ? sizeof(bytes) : 10);
		args[i][1] = mayfly_string("three");
	}
	assert_code(call_batch(&b, "sum", &batch), MAYFLY_E_TOO_LARGE, &b.err);
	assert_contains(b.err.message, "call 3 of the batch");
	assert_int_equal(batch.done, 2);
	assert_int_equal(results[1].as.u64, 5);
	check_usable(&b, "count", __FILE__, __LINE__);
	batch = batch_of(args[2], 2, 1, results);
	assert_code(call_batch(&b, "sum", &batch), MAYFLY_E_TOO_LARGE, &b.err);
	assert_int_equal(batch.done, 0);
	check_usable(&b, "count", __FILE__, __LINE__);
	box_close(&b);
}

static void a_string_with_a_nul_inside_ends_the_batch_before_it(void **state)
{
	mayfly_value args[3][2], results[3];
	struct box b = box_open("batch", NULL);
	mayfly_batch batch = batch_of(args[0], 2, 3, results);

	(void)state;
	for (int i = 0; i < 3; i++) {
		args[i][0] = mayfly_bytes_of("", 0);
		args[i][1] = mayfly_string("abc");
	}
	args[1][1].as.string.data = "a\0c";
	assert_code(call_batch(&b, "sum", &batch), MAYFLY_E_SIGNATURE, &b.err);
	assert_contains(b.err.message, "call 2 of the batch");
	assert_int_equal(batch.done, 1);
	assert_int_equal(results[0].as.u64, 3);
	check_usable(&b, "count", __FILE__, __LINE__);
	box_close(&b);
}

/* --- failures -------------------------------------------------------------------------------- */

static void a_fault_leaves_the_results_before_it(void **state)
{
	enum { COUNT = 1000 };
	static const size_t bad[] = {0, 1, 127, 128, 200, COUNT - 1};
	static mayfly_value args[COUNT][2], results[COUNT];
	struct box b = box_open("batch", NULL);

	(void)state;
	for (size_t n = 0; n < COUNT_OF(bad); n++) {
		mayfly_batch batch = batch_of(args[0], 2, COUNT, results);

		for (size_t i = 0; i < COUNT; i++) {
			args[i][0] = mayfly_i64((int64_t)i * 6);
			args[i][1] = mayfly_i64(i == bad[n] ? 0 : 3);
			results[i].as.i64 = -1;
		}
		call_batch(&b, "divide", &batch);
		assert_int_equal(batch.done, bad[n]);
		for (size_t i = 0; i < COUNT; i++)
			assert_int_equal(results[i].as.i64, i < bad[n] ? (int64_t)i * 2 : -1);
		assert_poisoned(&b, MAYFLY_E_FAULT, MAYFLY_FAULT_EXCEPTION, VECTOR_DIVIDE,
				"count");
		box_restore(&b);
	}
	box_close(&b);
}

static void a_wrong_argument_anywhere_calls_nothing(void **state)
{
	static mayfly_value args[600][2];
	struct box b = box_open("batch", NULL);
	mayfly_batch batch = batch_of(args[0], 2, COUNT_OF(args), NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(args); i++)
		args[i][0] = args[i][1] = mayfly_i64(1);
	args[599][1] = mayfly_i32(1);
	assert_code(call_batch(&b, "add", &batch), MAYFLY_E_SIGNATURE, &b.err);
	assert_contains(b.err.message, "call 600 of the batch: argument 2 of add is i64");
	assert_int_equal(batch.done, 0);
	assert_int_equal(must(&b, "call_count").as.i64, 0);
	batch.nargs = 3;
	batch.count = 2;
	assert_code(call_batch(&b, "add", &batch), MAYFLY_E_SIGNATURE, &b.err);
	assert_int_equal(must(&b, "call_count").as.i64, 0);
	box_close(&b);
}

static void batches_that_make_no_sense_are_refused(void **state)
{
	mayfly_value args[2] = {mayfly_i64(1), mayfly_i64(1)};
	struct box b = box_open("batch", NULL);
	mayfly_batch batch = batch_of(NULL, 2, 1, NULL);

	(void)state;
	assert_code(call_batch(&b, "add", &batch), MAYFLY_E_INVALID, &b.err);
	batch = batch_of(args, SIZE_MAX / 2, 3, NULL);
	assert_code(call_batch(&b, "add", &batch), MAYFLY_E_INVALID, &b.err);
	batch = batch_of(NULL, 0, 1, NULL);
	assert_code(call_batch(&b, "name", &batch), MAYFLY_E_INVALID, &b.err);
	assert_contains(b.err.message, "strings or bytes");
	batch.size = 3;
	assert_code(call_batch(&b, "count", &batch), MAYFLY_E_INVALID, &b.err);
	assert_code(call_batch(&b, "count", NULL), MAYFLY_E_INVALID, &b.err);
	assert_int_equal(must(&b, "call_count").as.i64, 0);
	box_close(&b);
}

static void a_time_limit_is_the_whole_batchs(void **state)
{
	mayfly_value args[4], results[4];
	mayfly_batch batch = batch_of(args, 1, 4, results);
	struct box b = box_open("batch", NULL);

	(void)state;
	for (int i = 0; i < 4; i++)
		args[i] = mayfly_i64(i == 2 ? 0 : i + 1);
	/* The third does not end; a busy machine may be late with the first two. */
	batch.done = 0;
	for (uint64_t limit = 50 * MS; batch.done < 2 && limit < AGES; limit *= 4) {
		box_restore(&b);
		set_limit(&b, limit);
		assert_code(call_batch(&b, "end_or_not", &batch), MAYFLY_E_TIMEOUT, &b.err);
	}
	assert_int_equal(batch.done, 2);
	assert_int_equal(results[1].as.i64, 2);
	/* The probe that follows is not meant. */
	set_limit(&b, 0);
	assert_poisoned(&b, MAYFLY_E_TIMEOUT, MAYFLY_FAULT_STOPPED, 0, "count");
	box_close(&b);
}

static void poisoned_sandboxes_refuse_batches(void **state)
{
	mayfly_value args[2] = {mayfly_i64(1), mayfly_i64(0)};
	struct box b = box_open("batch", NULL);
	mayfly_batch batch = batch_of(args, 2, 1, NULL);

	(void)state;
	assert_code(call_batch(&b, "divide", &batch), MAYFLY_E_FAULT, &b.err);
	batch.done = 1;
	assert_code(call_batch(&b, "divide", &batch), MAYFLY_E_POISONED, &b.err);
	assert_int_equal(batch.done, 0);
	box_close(&b);
}

/* --- host functions -------------------------------------------------------------------------- */

/* Adds one; now and then by way of the guest, with a call, or a batch of its own. */
static int next(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		mayfly_value *result, mayfly_error *err)
{
	int64_t v = args[0].as.i64;
	mayfly_value list[6], sums[3];
	mayfly_batch batch = batch_of(list, 2, 3, sums);
	struct box *b = context;
	const mayfly_function *add;
	int r = mayfly_snapshot_function(b->snap, "add", &add, err);

	(void)nargs;
	for (int i = 0; i < 6; i++)
		list[i] = mayfly_i64(i % 2 ? 1 : v);
	result->as.i64 = v + 1;
	if (r == 0 && v % 3 == 1)
		return mayfly_sandbox_call(sb, add, list, 2, result, err);
	if (r == 0 && v % 3 == 2) {
		r = mayfly_sandbox_call_many(sb, add, &batch, err);
		*result = sums[2];
		assert_true(r < 0 || batch.done == 3);
	}
	return r;
}

static int echo(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		mayfly_value *result, mayfly_error *err)
{
	(void)context;
	(void)sb;
	(void)nargs;
	(void)err;
	*result = args[0];
	return MAYFLY_OK;
}

static void host_functions_serve_each_call_and_call_back(void **state)
{
	enum { COUNT = 400 };
	static mayfly_value args[COUNT], results[COUNT];
	struct box b = box_open("batch", NULL);
	mayfly_host_function f = {"host_next", "i64(i64)", next, &b};
	mayfly_batch batch = batch_of(args, 1, COUNT, results);

	(void)state;
	assert_ok(mayfly_sandbox_register(b.sb, &f, &b.err), &b.err);
	for (int i = 0; i < COUNT; i++)
		args[i] = mayfly_i64(i);
	must_batch(&b, "next", &batch);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(results[i].as.i64, i + 1);
	box_close(&b);
}

static void strings_that_the_host_gives_leave_the_batch_alone(void **state)
{
	static const mayfly_host_function f = {"host_echo", "string(string)", echo, NULL};
	static char text[1500];
	enum { COUNT = 300 };
	static mayfly_value args[COUNT], results[COUNT];
	struct box b = box_of(load("batch", 0, 0, 8192), NULL);
	mayfly_batch batch = batch_of(args, 1, COUNT, results);

	(void)state;
	memset(text, 't', sizeof(text));
	assert_ok(mayfly_sandbox_register(b.sb, &f, &b.err), &b.err);
	for (int i = 0; i < COUNT; i++) {
		args[i].type = MAYFLY_STRING;
		args[i].as.string.data = text;
		args[i].as.string.len = (size_t)i * 5;
	}
	must_batch(&b, "echoed", &batch);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(results[i].as.u64, i * 5);
	box_close(&b);
}

static void a_restore_takes_what_a_batch_left(void **state)
{
	enum { COUNT = 2000 };
	static mayfly_value args[COUNT][2];
	struct box b = box_open("batch", NULL);
	mayfly_batch batch = batch_of(args[0], 2, COUNT, NULL);

	(void)state;
	for (int i = 0; i < COUNT; i++)
		args[i][0] = args[i][1] = mayfly_i64(i);
	for (int i = 0; i < 20; i++) {
		must_batch(&b, "add", &batch);
		assert_int_equal(must(&b, "call_count").as.i64, COUNT);
		box_restore(&b);
		assert_int_equal(must(&b, "call_count").as.i64, 0);
	}
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_are_those_of_single_calls),
		cmocka_unit_test(arguments_of_every_register_and_of_the_stack_arrive),
		cmocka_unit_test(results_of_each_size_are_cut_to_it),
		cmocka_unit_test(functions_without_arguments_or_results_are_called),
		cmocka_unit_test(strings_and_bytes_of_all_calls_fit_any_call_area),
		cmocka_unit_test(a_call_that_never_fits_ends_the_batch_before_it),
		cmocka_unit_test(a_string_with_a_nul_inside_ends_the_batch_before_it),
		cmocka_unit_test(a_fault_leaves_the_results_before_it),
		cmocka_unit_test(a_wrong_argument_anywhere_calls_nothing),
		cmocka_unit_test(batches_that_make_no_sense_are_refused),
		cmocka_unit_test(a_time_limit_is_the_whole_batchs),
		cmocka_unit_test(poisoned_sandboxes_refuse_batches),
		cmocka_unit_test(host_functions_serve_each_call_and_call_back),
		cmocka_unit_test(strings_that_the_host_gives_leave_the_batch_alone),
		cmocka_unit_test(a_restore_takes_what_a_batch_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

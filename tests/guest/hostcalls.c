/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of host functions: each type, many arguments, failures, and recursion through the host.
 */
#include "mayfly_guest.h"

/* The host gives back what it gets. */
MAYFLY_IMPORT(host_bool, bool, bool);
MAYFLY_IMPORT(host_i32, i32, i32);
MAYFLY_IMPORT(host_u32, u32, u32);
MAYFLY_IMPORT(host_i64, i64, i64);
MAYFLY_IMPORT(host_u64, u64, u64);
MAYFLY_IMPORT(host_f32, f32, f32);
MAYFLY_IMPORT(host_f64, f64, f64);
MAYFLY_IMPORT(host_string, string, string);
MAYFLY_IMPORT(host_bytes, bytes, bytes);
MAYFLY_IMPORT(host_nothing, void);

static bool through_bool(bool v)
{
	return host_bool(v);
}
MAYFLY_EXPORT(through_bool, bool, bool);

static int32_t through_i32(int32_t v)
{
	return host_i32(v);
}
MAYFLY_EXPORT(through_i32, i32, i32);

static uint32_t through_u32(uint32_t v)
{
	return host_u32(v);
}
MAYFLY_EXPORT(through_u32, u32, u32);

static int64_t through_i64(int64_t v)
{
	return host_i64(v);
}
MAYFLY_EXPORT(through_i64, i64, i64);

static uint64_t through_u64(uint64_t v)
{
	return host_u64(v);
}
MAYFLY_EXPORT(through_u64, u64, u64);

static float through_f32(float v)
{
	return host_f32(v);
}
MAYFLY_EXPORT(through_f32, f32, f32);

static double through_f64(double v)
{
	return host_f64(v);
}
MAYFLY_EXPORT(through_f64, f64, f64);

static const char *through_string(const char *v)
{
	return host_string(v);
}
MAYFLY_EXPORT(through_string, string, string);

static mayfly_bytes through_bytes(mayfly_bytes v)
{
	return host_bytes(v);
}
MAYFLY_EXPORT(through_bytes, bytes, bytes);

static void through_nothing(void)
{
	host_nothing();
}
MAYFLY_EXPORT(through_nothing, void);

/* The host renders its arguments as text. */
MAYFLY_IMPORT(host_mix16, string, f64, bool, f32, i32, bytes, u32, f32, i64, f64, u64, string,
	      bytes, f64, string, f32, i32);

static const char *through_mix16(void)
{
	static const unsigned char data[] = {0, 1, 2, 254, 255};

	return host_mix16(-0.0, true, 1.5f, INT32_MIN, (mayfly_bytes){data, sizeof(data)},
			  UINT32_MAX, -2.5f, INT64_MIN, 1e300, UINT64_MAX, "first",
			  (mayfly_bytes){data + 3, 2}, 0.1, "second", 3.25f, -7);
}
MAYFLY_EXPORT(through_mix16, string);

/* --- failures ----------------------------------------------------------------------------- */

MAYFLY_IMPORT(host_fails, i64, i64);		  /* always, with the message "failed with N" */
MAYFLY_IMPORT(host_fails_string, string, string); /* always, with its argument as message */
MAYFLY_IMPORT(host_missing, i64);		  /* the test does not provide it */

/* How often, of n times, the host function failed with the right message and a zero result. */
static uint32_t fail_many(uint32_t n)
{
	uint32_t good = 0;

	for (uint32_t i = 0; i < n; i++) {
		char want[40];
		int64_t result = host_fails(i);
		const char *error = mayfly_host_error();

		mayfly_snprintf(want, sizeof(want), "failed with %u", i);
		good += result == 0 && error && strcmp(error, want) == 0;
	}
	return good;
}
MAYFLY_EXPORT(fail_many, u32, u32);

static const char *error_text(const char *message)
{
	const char *result = host_fails_string(message);

	mayfly_assert(!result);
	return mayfly_host_error();
}
MAYFLY_EXPORT(error_text, string, string);

static const char *error_of_missing(void)
{
	mayfly_assert(host_missing() == 0);
	return mayfly_host_error();
}
MAYFLY_EXPORT(error_of_missing, string);

/* True if a success after a failure leaves no error behind. */
static bool error_is_cleared(void)
{
	host_fails(1);
	if (!mayfly_host_error())
		return false;
	host_i64(1);
	return !mayfly_host_error();
}
MAYFLY_EXPORT(error_is_cleared, bool);

/* --- recursion ---------------------------------------------------------------------------- */

/* The host's calls nest(depth, text) of this guest with depth - 1 and gives that result. */
MAYFLY_IMPORT(host_nest, i64, u32, string, f64);

/*
 * depth + what the next level gives; what this level holds must survive: locals, arguments in
 * the call area, and the arguments of the call that overwrote the call block.
 */
static char nest_problem[512];

static int64_t nest(uint32_t depth, const char *text, double factor)
{
	volatile uint64_t local = depth * UINT64_C(0x9e3779b97f4a7c15);
	char copy[64];
	int64_t below = 0;

	mayfly_snprintf(copy, sizeof(copy), "%s", text);
	if (depth) {
		below = host_nest(depth, text, factor);
		if (mayfly_host_error()) {
			mayfly_snprintf(nest_problem, sizeof(nest_problem), "%s",
					mayfly_host_error());
			return -1;
		}
	}
	mayfly_assert(local == depth * UINT64_C(0x9e3779b97f4a7c15));
	mayfly_assert(strcmp(copy, text) == 0);
	mayfly_assert(factor == 1.25);
	return below < 0 ? below : below + depth;
}
MAYFLY_EXPORT(nest, i64, u32, string, f64);

/* Why the innermost host_nest() failed, if ever one did. */
static const char *nest_error(void)
{
	return nest_problem;
}
MAYFLY_EXPORT(nest_error, string);

/* --- many --------------------------------------------------------------------------------- */

/* n calls; the sum of what came back. */
static uint64_t call_many(uint32_t n)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += host_u64(i);
	return sum;
}
MAYFLY_EXPORT(call_many, u64, u32);

/* n results of `len` bytes each: none may stay in the call area. True if all were right. */
static bool many_results(uint32_t n, uint64_t len)
{
	char *data = malloc(len);

	if (!data)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		mayfly_bytes back;

		memset(data, (int)i, len);
		back = host_bytes((mayfly_bytes){data, len});
		if (mayfly_host_error() || back.len != len || memcmp(back.data, data, len) != 0)
			return false;
	}
	free(data);
	return true;
}
MAYFLY_EXPORT(many_results, bool, u32, u64);

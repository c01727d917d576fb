/* SPDX-License-Identifier: Apache-2.0 */
/* Option structures of programs that were built against an older or a newer library. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <string.h>

#include "api/options.h"

/* What this version knows; what a later one might. */
struct known {
	size_t size;
	uint64_t a;
	uint32_t b;
	uint32_t c;
};

struct later {
	struct known old;
	uint64_t d;
	uint64_t e;
};

static mayfly_error err;

static int copy(struct known *to, const void *from)
{
	memset(to, 0x5a, sizeof(*to));
	memset(&err, 0, sizeof(err));
	return options_copy(to, sizeof(*to), from, "known_options", &err);
}

static void no_options_are_all_defaults(void **state)
{
	struct known to;

	(void)state;
	assert_int_equal(copy(&to, NULL), 0);
	assert_int_equal(to.size, sizeof(to));
	assert_int_equal(to.a | to.b | to.c, 0);
}

static void options_of_this_version_are_copied(void **state)
{
	const struct known from = {sizeof(from), 1, 2, 3};
	struct known to;

	(void)state;
	assert_int_equal(copy(&to, &from), 0);
	assert_memory_equal(&to, &from, sizeof(to));
}

static void fields_that_an_older_program_lacks_are_zero(void **state)
{
	/* The memory behind is not part of it. */
	const struct known from = {offsetof(struct known, c), 1, 2, 77};
	struct known to;

	(void)state;
	assert_int_equal(copy(&to, &from), 0);
	assert_int_equal(to.size, sizeof(to));
	assert_int_equal(to.a, 1);
	assert_int_equal(to.b, 2);
	assert_int_equal(to.c, 0);
}

static void newer_program_that_uses_nothing_new_is_served(void **state)
{
	const struct later from = {.old = {sizeof(from), 1, 2, 3}};
	struct known to;

	(void)state;
	assert_int_equal(copy(&to, &from), 0);
	assert_int_equal(to.size, sizeof(to));
	assert_int_equal(to.c, 3);
}

static void newer_program_that_uses_something_new_is_refused(void **state)
{
	(void)state;
	for (size_t at = sizeof(struct known); at < sizeof(struct later); at++) {
		struct later from = {.old = {sizeof(from), 1, 2, 3}};
		struct known to;

		((uint8_t *)&from)[at] = 1;
		assert_int_equal(copy(&to, &from), MAYFLY_E_INVALID);
		assert_non_null(strstr(err.message, "known_options"));
		assert_non_null(strstr(err.message, "offset"));
	}
}

static void size_that_makes_no_sense_is_refused(void **state)
{
	static const size_t sizes[] = {0, 1, sizeof(size_t) - 1, 4097, SIZE_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct known from = {sizes[i], 1, 2, 3}, to;

		assert_int_equal(copy(&to, &from), MAYFLY_E_INVALID);
		assert_non_null(strstr(err.message, "sizeof(known_options)"));
		assert_int_equal(options_give(&from, &to, sizeof(to), "known_options", NULL),
				 MAYFLY_E_INVALID);
		assert_int_equal(from.a, 1);
	}
}

static void what_is_given_fits_the_program_s_structure(void **state)
{
	const struct known from = {sizeof(from), 1, 2, 3};
	struct known older = {offsetof(struct known, b), 9, 9, 9};
	struct known same = {sizeof(same), 9, 9, 9};
	struct later newer = {.old = {sizeof(newer), 9, 9, 9}, .d = 9, .e = 9};

	(void)state;
	assert_int_equal(options_give(&older, &from, sizeof(from), "x", NULL), 0);
	assert_int_equal(older.size, offsetof(struct known, b));
	assert_int_equal(older.a, 1);
	assert_int_equal(older.b, 9); /* not the program's: untouched */
	assert_int_equal(options_give(&same, &from, sizeof(from), "x", NULL), 0);
	assert_int_equal(same.a, 1);
	assert_int_equal(same.c, 3);
	assert_int_equal(options_give(&newer, &from, sizeof(from), "x", NULL), 0);
	assert_int_equal(newer.old.size, sizeof(newer));
	assert_int_equal(newer.old.c, 3);
	assert_int_equal(newer.d | newer.e, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_options_are_all_defaults),
		cmocka_unit_test(options_of_this_version_are_copied),
		cmocka_unit_test(fields_that_an_older_program_lacks_are_zero),
		cmocka_unit_test(newer_program_that_uses_nothing_new_is_served),
		cmocka_unit_test(newer_program_that_uses_something_new_is_refused),
		cmocka_unit_test(size_that_makes_no_sense_is_refused),
		cmocka_unit_test(what_is_given_fits_the_program_s_structure),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Names of instructions for messages. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "arch/x86_64/insn.h"

static char text[128];

static const char *name(const char *bytes, size_t len, bool long_mode)
{
	return insn_name((const uint8_t *)bytes, len, long_mode, text, sizeof(text));
}

static void known_ones_have_their_names(void **state)
{
	(void)state;
	assert_string_equal(name("\x0f\xae\x28", 3, true), "xrstor (0f ae 28)");
	assert_string_equal(name("\x48\x0f\xae\x28", 4, true), "xrstor (48 0f ae 28)");
	assert_string_equal(name("\x0f\xae\xe8", 3, true), "lfence (0f ae e8)");
	assert_string_equal(name("\xf3\x48\x0f\xae\xd0", 5, true), "wrfsbase (f3 48 0f ae d0)");
	assert_string_equal(name("\xf0\x48\x0f\xc7\x0f", 5, true),
			    "cmpxchg8b or cmpxchg16b (f0 48 0f c7 0f)");
	assert_string_equal(name("\x0f\x01\xd1", 3, true), "xsetbv (0f 01 d1)");
	assert_string_equal(name("\x66\x0f\x6f\x00", 4, true), "movdqa (66 0f 6f 00)");
	assert_string_equal(name("\xd9\x00", 2, true), "an x87 instruction (d9 00)");
	assert_string_equal(name("\x66\x0f\x38\x00\x00", 5, true),
			    "a vector instruction (66 0f 38 00 00)");
}

static void vex_is_one_only_where_it_can_be(void **state)
{
	(void)state;
	assert_string_equal(name("\xc5\xf8\x77", 3, true), "an AVX instruction (c5 f8 77)");
	assert_string_equal(name("\xc5\xf8\x77", 3, false), "an AVX instruction (c5 f8 77)");
	assert_string_equal(name("\xc5\x08", 2, false), "(c5 08)"); /* LDS */
	assert_string_equal(name("\x62\xf1\x7c", 3, true), "an AVX-512 instruction (62 f1 7c)");
}

static void unknown_ones_are_their_bytes(void **state)
{
	(void)state;
	assert_string_equal(name("\x90", 1, true), "(90)");
	assert_string_equal(name("\x48\x89\xe5", 3, true), "(48 89 e5)");
	/* In 32-bit code 0x48 is an instruction itself. */
	assert_string_equal(name("\x48\x0f\xae\x28", 4, false), "(48 0f ae 28)");
}

static void ends_at_any_byte_are_survived(void **state)
{
	static const char all[] = "\xf3\x48\x0f\xae\xd0";

	(void)state;
	assert_string_equal(name(all, 0, true), "(its bytes cannot be read)");
	assert_string_equal(name(all, 1, true), "(f3)");
	assert_string_equal(name(all, 2, true), "(f3 48)");
	assert_string_equal(name(all, 3, true), "(f3 48 0f)");
	assert_string_equal(name(all, 4, true), "(f3 48 0f ae)");
	assert_string_equal(name("\x0f\x01", 2, true), "(0f 01)");
	assert_string_equal(name("\xc5", 1, false), "(c5)");
}

static void text_is_cut_to_its_room(void **state)
{
	(void)state;
	for (size_t size = 1; size < 30; size++) {
		memset(text, 'x', sizeof(text));
		insn_name((const uint8_t *)"\x0f\xae\x28", 3, true, text, size);
		assert_true(strlen(text) < size);
		assert_true(text[size] == 'x');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_ones_have_their_names),
		cmocka_unit_test(vex_is_one_only_where_it_can_be),
		cmocka_unit_test(unknown_ones_are_their_bytes),
		cmocka_unit_test(ends_at_any_byte_are_survived),
		cmocka_unit_test(text_is_cut_to_its_room),
	};

	return cmocka_run_group_tests_name("insn", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What guests are told of the CPU, given a CPU that claims to have everything. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "arch/x86_64/cpuid.h"

#define ALL 0xffffffffu
#define XCR0 7u /* x87, SSE, AVX */

static struct cpuid_leaf leaves[32];
static uint32_t features[CPUID_WORDS];
static size_t count;

static void add(uint32_t function, uint32_t index, bool indexed)
{
	leaves[count++] = (struct cpuid_leaf){function, index, indexed, ALL, ALL, ALL, ALL};
}

static const struct cpuid_leaf *find(uint32_t function, uint32_t index)
{
	for (size_t i = 0; i < count; i++)
		if (leaves[i].function == function && leaves[i].index == index)
			return &leaves[i];
	return NULL;
}

/* Every leaf with every bit set, those that must go and those that stay mixed. */
static int setup(void **state)
{
	static const uint32_t plain[] = {0,	     1,		 2,	     3,
					 5,	     6,		 9,	     0xa,
					 0x15,	     0x40000000, 0x40000001, 0x80000000,
					 0x80000001, 0x80000007, 0x80000008, 0x8000001f};

	(void)state;
	count = 0;
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		add(plain[i], 0, false);
	for (uint32_t i = 0; i < 3; i++)
		add(7, i, true);
	for (uint32_t i = 0; i < 4; i++)
		add(0xd, i, true);
	add(0xd, 9, true);
	add(0xd, 63, true);
	add(0xd, 64, true);
	add(0xb, 0, true);
	memset(features, 0x5a, sizeof(features));
	count = cpuid_filter(leaves, count, XCR0, features);
	return 0;
}

static void leaves_that_are_not_named_are_dropped(void **state)
{
	static const uint32_t gone[] = {
		3, 5, 6, 9, 0xa, 0xb, 0x15, 0x40000000, 0x40000001, 0x80000007, 0x8000001f};

	(void)state;
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		assert_null(find(gone[i], 0));
	assert_null(find(7, 2));
	assert_non_null(find(0, 0));
	assert_non_null(find(1, 0));
	assert_non_null(find(7, 1));
	assert_non_null(find(0x80000001, 0));
}

static void highest_leaves_are_lowered(void **state)
{
	(void)state;
	assert_int_equal(find(0, 0)->eax, 0xd);
	assert_int_equal(find(7, 0)->eax, 1);
	assert_int_equal(find(0x80000000, 0)->eax, 0x80000008);
}

static void highest_leaves_of_a_small_cpu_stay(void **state)
{
	struct cpuid_leaf small[] = {{.function = 0, .eax = 7},
				     {.function = 7},
				     {.function = 0x80000000, .eax = 0x80000004}};

	(void)state;
	assert_int_equal(cpuid_filter(small, 3, XCR0, features), 3);
	assert_int_equal(small[0].eax, 7);
	assert_int_equal(small[1].eax, 0);
	assert_int_equal(small[2].eax, 0x80000004);
}

/* Bits that must never be shown: what the host is, and state that restores do not cover. */
static void features_outside_of_ring_3_are_hidden(void **state)
{
	static const struct {
		uint32_t function, index;
		char reg;
		unsigned bit;
		const char *name;
	} hidden[] = {
		{1, 0, 'c', 2, "DTES64"},
		{1, 0, 'c', 3, "MONITOR"},
		{1, 0, 'c', 5, "VMX"},
		{1, 0, 'c', 6, "SMX"},
		{1, 0, 'c', 7, "EIST"},
		{1, 0, 'c', 15, "PDCM"},
		{1, 0, 'c', 17, "PCID"},
		{1, 0, 'c', 21, "x2APIC"},
		{1, 0, 'c', 24, "deadline"},
		{1, 0, 'd', 9, "APIC"},
		{1, 0, 'd', 21, "DS"},
		{1, 0, 'd', 22, "ACPI"},
		{1, 0, 'd', 28, "HTT"},
		{7, 0, 'b', 2, "SGX"},
		{7, 0, 'b', 4, "HLE"},
		{7, 0, 'b', 11, "RTM"},
		{7, 0, 'b', 14, "MPX"},
		{7, 0, 'b', 25, "PT"},
		{7, 0, 'b', 10, "INVPCID"},
		{7, 0, 'c', 3, "PKU"},
		{7, 0, 'c', 4, "OSPKE"},
		{7, 0, 'c', 5, "WAITPKG"},
		{7, 0, 'c', 7, "CET_SS"},
		{7, 0, 'c', 16, "LA57"},
		{7, 0, 'c', 23, "KL"},
		{7, 0, 'd', 20, "CET_IBT"},
		{7, 0, 'd', 22, "AMX-BF16"},
		{7, 0, 'd', 24, "AMX-TILE"},
		{7, 0, 'd', 25, "AMX-INT8"},
		{7, 0, 'd', 26, "IBRS"},
		{7, 0, 'd', 5, "UINTR"},
		{7, 1, 'a', 17, "FRED"},
		{7, 1, 'a', 22, "HRESET"},
		{0x80000001, 0, 'c', 2, "SVM"},
		{0x80000001, 0, 'c', 10, "IBS"},
		{0x80000001, 0, 'c', 15, "LWP"},
		{0x80000001, 0, 'd', 27, "RDTSCP"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		const struct cpuid_leaf *l = find(hidden[i].function, hidden[i].index);
		uint32_t reg;

		assert_non_null(l);
		reg = hidden[i].reg == 'a'   ? l->eax
		      : hidden[i].reg == 'b' ? l->ebx
		      : hidden[i].reg == 'c' ? l->ecx
					     : l->edx;
		if (reg >> hidden[i].bit & 1)
			fail_msg("%s is shown", hidden[i].name);
	}
}

static void features_of_ring_3_are_kept(void **state)
{
	(void)state;
	assert_true(cpuid_has(features, CPUID_1_ECX, CPUID_BIT_XSAVE));
	assert_true(cpuid_has(features, CPUID_1_ECX, 20)); /* SSE4.2 */
	assert_true(cpuid_has(features, CPUID_1_EDX, 26)); /* SSE2 */
	assert_true(cpuid_has(features, CPUID_7_EBX, CPUID_BIT_FSGSBASE));
	assert_true(cpuid_has(features, CPUID_7_EBX, 5)); /* AVX2 */
	assert_true(cpuid_has(features, CPUID_7_ECX, CPUID_BIT_UMIP));
	assert_true(cpuid_has(features, CPUID_8_1_EDX, 29)); /* 64-bit mode */
	assert_true(cpuid_has(features, CPUID_8_1_EDX, 20)); /* NX */
}

static void summary_says_what_the_leaves_say(void **state)
{
	(void)state;
	assert_int_equal(features[CPUID_1_ECX], find(1, 0)->ecx);
	assert_int_equal(features[CPUID_1_EDX], find(1, 0)->edx);
	assert_int_equal(features[CPUID_7_EBX], find(7, 0)->ebx);
	assert_int_equal(features[CPUID_7_ECX], find(7, 0)->ecx);
	assert_int_equal(features[CPUID_7_EDX], find(7, 0)->edx);
	assert_int_equal(features[CPUID_7_1_EAX], find(7, 1)->eax);
	assert_int_equal(features[CPUID_8_1_ECX], find(0x80000001, 0)->ecx);
	assert_int_equal(features[CPUID_8_1_EDX], find(0x80000001, 0)->edx);
}

static void summary_of_missing_leaves_is_zero(void **state)
{
	(void)state;
	memset(features, 0x5a, sizeof(features));
	assert_int_equal(cpuid_filter(leaves, 0, XCR0, features), 0);
	for (size_t i = 0; i < CPUID_WORDS; i++)
		assert_int_equal(features[i], 0);
}

static void filtering_adds_no_feature(void **state)
{
	struct cpuid_leaf none[] = {{.function = 1}, {.function = 7}, {.function = 0x80000001}};

	(void)state;
	assert_int_equal(cpuid_filter(none, 3, XCR0, features), 3);
	for (size_t i = 0; i < CPUID_WORDS; i++)
		assert_int_equal(features[i], 0);
	assert_int_equal(none[0].ecx | none[0].edx | none[1].ebx | none[1].ecx | none[1].edx,
			 0);
}

/* Which of the host's CPUs it is, and how many there are. */
static void number_and_identity_of_host_cpus_are_hidden(void **state)
{
	(void)state;
	assert_int_equal(find(1, 0)->ebx >> 16, 0);
	assert_int_equal(find(0x80000008, 0)->ebx, 0); /* AMD's further features */
	assert_int_equal(find(0x80000008, 0)->ecx, 0); /* AMD: cores */
	assert_int_equal(find(0x80000008, 0)->edx, 0);
}

static void cache_leaves_tell_no_topology(void **state)
{
	struct cpuid_leaf cache = {4, 0, true, ALL, ALL, ALL, ALL};

	(void)state;
	assert_int_equal(cpuid_filter(&cache, 1, XCR0, features), 1);
	assert_int_equal(cache.eax >> 14, 0);
	assert_int_equal(cache.eax & 0x3fff, 0x3fff); /* type, level */
	assert_int_equal(cache.ebx, ALL);
}

static void xsave_leaf_lists_the_components_of_xcr0_only(void **state)
{
	(void)state;
	assert_int_equal(find(0xd, 0)->eax, XCR0);
	assert_int_equal(find(0xd, 0)->edx, 0);
	assert_non_null(find(0xd, 2)); /* AVX */
	assert_null(find(0xd, 3));
	assert_null(find(0xd, 9)); /* PKRU */
	assert_null(find(0xd, 63));
	assert_null(find(0xd, 64));
}

/* XSAVEOPT and XGETBV with ECX = 1; no compaction, no supervisor state (SDM vol. 1, 13.2). */
static void xsave_leaf_offers_no_supervisor_state(void **state)
{
	const struct cpuid_leaf *l = find(0xd, 1);

	(void)state;
	assert_int_equal(l->eax, 5);
	assert_int_equal(l->ebx | l->ecx | l->edx, 0);
}

static void missing_feature_is_named_by_its_word(void **state)
{
	static const char *const names[CPUID_WORDS] = {"1:ECX",	       "1:EDX",	      "7:EBX",
						       "7:ECX",	       "7:EDX",	      "7.1:EAX",
						       "80000001:ECX", "80000001:EDX"};
	uint32_t need[CPUID_WORDS] = {0}, have[CPUID_WORDS];

	(void)state;
	memset(have, 0xff, sizeof(have));
	for (int w = 0; w < CPUID_WORDS; w++) {
		const char *name;

		need[w] = 1u << (w + 3);
		assert_null(cpuid_missing(need, have));
		have[w] = ~need[w];
		name = cpuid_missing(need, have);
		assert_non_null(name);
		assert_non_null(strstr(name, names[w]));
		need[w] = 0;
		have[w] = 0;
		assert_null(cpuid_missing(need, have));
	}
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(leaves_that_are_not_named_are_dropped),
		TEST(highest_leaves_are_lowered),
		TEST(highest_leaves_of_a_small_cpu_stay),
		TEST(features_outside_of_ring_3_are_hidden),
		TEST(features_of_ring_3_are_kept),
		TEST(summary_says_what_the_leaves_say),
		TEST(summary_of_missing_leaves_is_zero),
		TEST(filtering_adds_no_feature),
		TEST(number_and_identity_of_host_cpus_are_hidden),
		TEST(cache_leaves_tell_no_topology),
		TEST(xsave_leaf_lists_the_components_of_xcr0_only),
		TEST(xsave_leaf_offers_no_supervisor_state),
		TEST(missing_feature_is_named_by_its_word),
	};

	return cmocka_run_group_tests_name("cpuid", tests, NULL, NULL);
}

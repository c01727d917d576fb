/* SPDX-License-Identifier: Apache-2.0 */
/* What an operating system is told of the CPU, given a hypervisor that claims to have everything. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "arch/x86_64/cpuid.h"

#define ALL 0xffffffffu

static struct cpuid_leaf leaves[64];
static size_t count;

static void add(uint32_t function, uint32_t index, bool indexed)
{
	leaves[count++] = (struct cpuid_leaf){function, index, indexed, ALL, ALL, ALL, ALL};
}

static const struct cpuid_leaf *find(uint32_t function, uint32_t index)
{
	const struct cpuid_leaf *found = NULL;

	for (size_t i = 0; i < count; i++) {
		if (leaves[i].function != function || leaves[i].index != index)
			continue;
		assert_null(found); /* once only */
		found = &leaves[i];
	}
	return found;
}

static void make(const struct cpuid_machine *m)
{
	static const uint32_t plain[] = {
		0,	    1,		2,	    3,		5,	    6,
		9,	    0xa,	0x12,	    0x14,	0x15,	    0x16,
		0x1f,	    0x40000000, 0x40000001, 0x40000010, 0x80000000, 0x80000001,
		0x80000002, 0x80000007, 0x80000008, 0x8000000a, 0x8000001e, 0x80000021,
	};

	count = 0;
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		add(plain[i], 0, false);
	for (uint32_t i = 0; i < 4; i++) {
		add(7, i, true);
		add(0xb, i, true);
		add(0xd, i, true);
	}
	add(4, 0, true);
	add(4, 3, true);
	leaves[count - 2].eax = 1 << 5 | 1 | 0xffffc000; /* first level, data */
	leaves[count - 1].eax = 3 << 5 | 3 | 0xffffc000;
	add(0xd, 9, true);
	for (size_t i = 0; i < count; i++) {
		struct cpuid_leaf *l = &leaves[i];

		if (l->function == 0xd && l->index > 1)
			*l = (struct cpuid_leaf){0xd, l->index, true, 256, 512 + 64 * l->index,
						 0,   0};
	}
	count = cpuid_machine(leaves, count, sizeof(leaves) / sizeof(leaves[0]), m);
}

static int setup(void **state)
{
	static const struct cpuid_machine m = {
		.cpu = 2, .cpus = 3, .xcr0 = 7, .tsc_khz = 2400000, .tsc_deadline = true};

	(void)state;
	make(&m);
	return 0;
}

static void frequencies_are_published(void **state)
{
	const struct cpuid_leaf *l = find(0x40000010, 0);

	(void)state;
	assert_int_equal(l->eax, 2400000);
	assert_int_equal(l->ebx, 1000000);
	assert_int_equal(find(0x40000000, 0)->eax, 0x40000010);
	assert_int_equal(find(0x80000007, 0)->edx, 0x100);
	assert_int_equal(find(0x80000007, 0)->eax, 0);
}

static void crystal_is_not_claimed(void **state)
{
	const struct cpuid_leaf *l = find(0x15, 0);

	(void)state;
	assert_int_equal(l->eax | l->ebx | l->ecx | l->edx, 0);
	assert_int_equal(find(0, 0)->eax, 0x15);
}

static void kvm_is_named_where_it_does_not_name_itself(void **state)
{
	struct cpuid_leaf few[16] = {{.function = 0, .eax = 1}, {.function = 1}};
	const struct cpuid_machine m = {.cpus = 1, .tsc_khz = 1};
	size_t n = cpuid_machine(few, 2, 16, &m), i = 0;

	(void)state;
	while (i < n && few[i].function != 0x40000000)
		i++;
	assert_true(i < n);
	assert_memory_equal(&few[i].ebx, "KVMK", 4);
	assert_memory_equal(&few[i].ecx, "VMKV", 4);
	assert_int_equal(few[0].eax, 0xb); /* the topology leaf counts */
}

static void kvm_offers_its_clock_and_no_asynchronous_faults(void **state)
{
	uint32_t features = find(0x40000001, 0)->eax;

	(void)state;
	assert_true(features & 1 << 0 && features & 1 << 3 && features & 1 << 24);
	assert_false(features & (1 << 4 | 1 << 10 | 1 << 14 | 1 << 15));
	assert_int_equal(find(0x40000001, 0)->edx, 0);
}

static void leaves_that_guests_cannot_use_are_dropped(void **state)
{
	static const uint32_t gone[] = {3,    5,    9,	  0xa,	      0x12,
					0x14, 0x16, 0x1f, 0x8000000a, 0x8000001e};

	(void)state;
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		assert_null(find(gone[i], 0));
	assert_null(find(7, 3));
	assert_null(find(0xb, 3));
}

static void features_that_guests_cannot_use_are_hidden(void **state)
{
	(void)state;
	assert_false(find(1, 0)->ecx & (1 << 5 | 1 << 3 | 1 << 15)); /* VMX MONITOR PDCM */
	assert_false(find(7, 0)->ebx & (1 << 2 | 1 << 25));	     /* SGX PT */
	assert_false(find(7, 0)->ebx & (1 << 4 | 1 << 11));	     /* HLE RTM */
	assert_false(find(7, 0)->ecx & (1 << 3 | 1 << 7 | 1 << 16)); /* PKU SHSTK LA57 */
	assert_false(find(7, 0)->edx & (1 << 20 | 1 << 24));	     /* IBT AMX */
	assert_false(find(0x80000001, 0)->ecx & (1 << 2 | 1 << 22)); /* SVM TOPOEXT */
	assert_int_equal(find(6, 0)->eax, 4);			     /* ARAT */
}

static void features_of_kernels_are_kept(void **state)
{
	uint32_t c = find(1, 0)->ecx, b = find(7, 0)->ebx, d = find(7, 0)->edx;

	(void)state;
	assert_true(c & 1u << 31 && c & 1 << 21 &&
		    c & 1 << 24);			       /* hypervisor x2APIC deadline */
	assert_true(c & 1 << 17 && find(1, 0)->edx & 1 << 9);  /* PCID APIC */
	assert_true(b & 1 << 7 && b & 1 << 20 && b & 1 << 10); /* SMEP SMAP INVPCID */
	assert_true(d & 1 << 26 && d & 1 << 29 && d & 1u << 31); /* SPEC_CTRL... */
	assert_true(find(0x80000001, 0)->edx & 1 << 20);	 /* NX */
}

static void timer_without_deadlines_is_told_as_that(void **state)
{
	const struct cpuid_machine m = {.cpus = 1, .xcr0 = 7, .tsc_khz = 1};

	(void)state;
	make(&m);
	assert_false(find(1, 0)->ecx & 1 << 24);
}

static void protection_keys_come_with_their_state(void **state)
{
	const struct cpuid_machine m = {.cpus = 1, .xcr0 = 0x207, .tsc_khz = 1};

	(void)state;
	make(&m);
	assert_true(find(7, 0)->ecx & 1 << 3);
	assert_non_null(find(0xd, 9));
}

static void topology_is_one_thread_per_core_in_one_package(void **state)
{
	(void)state;
	assert_int_equal(find(1, 0)->ebx >> 24, 2);
	assert_int_equal(find(1, 0)->ebx >> 16 & 0xff, 4); /* ids, a power of two */
	assert_true(find(1, 0)->edx & 1 << 28);
	assert_int_equal(find(0xb, 0)->ebx, 1);
	assert_int_equal(find(0xb, 0)->ecx, 0x100);
	assert_int_equal(find(0xb, 1)->eax, 2);
	assert_int_equal(find(0xb, 1)->ebx, 3);
	assert_int_equal(find(0xb, 1)->ecx, 0x201);
	assert_int_equal(find(0xb, 2)->ebx, 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(find(0xb, i)->edx, 2);
	assert_int_equal(find(0x80000008, 0)->ecx, 2 << 12 | 2);
	/* The first level is a core's own, the last is all cores'. */
	assert_int_equal(find(4, 0)->eax >> 14 & 0xfff, 0);
	assert_int_equal(find(4, 3)->eax >> 14 & 0xfff, 3);
	assert_int_equal(find(4, 3)->eax >> 26, 3);
}

static void single_cpu_is_alone(void **state)
{
	const struct cpuid_machine m = {.cpus = 1, .xcr0 = 7, .tsc_khz = 1};

	(void)state;
	make(&m);
	assert_int_equal(find(1, 0)->ebx >> 16, 0);
	assert_int_equal(find(0xb, 1)->eax, 0);
	assert_int_equal(find(0xb, 1)->ebx, 1);
	assert_int_equal(find(0x80000008, 0)->ecx, 0);
}

static void vector_state_is_that_of_xcr0(void **state)
{
	const struct cpuid_leaf *l = find(0xd, 0);

	(void)state;
	assert_int_equal(l->eax, 7);
	assert_int_equal(l->edx, 0);
	assert_int_equal(l->ecx, 512 + 64 * 2 + 256);
	assert_int_equal(find(0xd, 1)->eax, 7); /* no XSAVES */
	assert_null(find(0xd, 3));
	assert_null(find(0xd, 9));
}

static void array_that_is_too_small_is_not_overrun(void **state)
{
	struct cpuid_leaf few[4] = {{.function = 0}, {.function = 1}, {.function = 99}};
	const struct cpuid_machine m = {.cpus = 1};

	(void)state;
	few[3].function = 77;
	assert_int_equal(cpuid_machine(few, 2, 3, &m), 3);
	assert_int_equal(few[3].function, 77);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(frequencies_are_published),
		TEST(crystal_is_not_claimed),
		TEST(kvm_is_named_where_it_does_not_name_itself),
		TEST(kvm_offers_its_clock_and_no_asynchronous_faults),
		TEST(leaves_that_guests_cannot_use_are_dropped),
		TEST(features_that_guests_cannot_use_are_hidden),
		TEST(features_of_kernels_are_kept),
		TEST(timer_without_deadlines_is_told_as_that),
		TEST(protection_keys_come_with_their_state),
		TEST(topology_is_one_thread_per_core_in_one_package),
		TEST(single_cpu_is_alone),
		TEST(vector_state_is_that_of_xcr0),
		TEST(array_that_is_too_small_is_not_overrun),
	};

	return cmocka_run_group_tests_name("cpuid_machine", tests, NULL, NULL);
}

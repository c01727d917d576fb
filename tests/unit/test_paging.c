/* SPDX-License-Identifier: Apache-2.0 */
/* Page tables as the CPU reads them (SDM vol. 3, 4.5), by a walk of the tests' own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <string.h>

#include "arch/x86_64/paging.h"
#include "core/util.h"
#include "fail_alloc.h"

#define P 1u
#define RW 2u
#define US 4u
#define A 0x20u
#define D 0x40u
#define PS 0x80u
#define NX ((uint64_t)1 << 63)
#define ADDRESS 0x000ffffffffff000ULL
#define MIB2 ((uint64_t)2 << 20)

static struct paging pg;

static int setup(void **state)
{
	(void)state;
	return paging_init(&pg, 0, NULL);
}

static int teardown(void **state)
{
	(void)state;
	paging_fini(&pg);
	return 0;
}

static void map(uint64_t va, uint64_t gpa, uint64_t len, uint32_t flags)
{
	mayfly_error err;

	assert_int_equal(paging_map(&pg, va, gpa, len, flags, &err), 0);
}

/* The last entry for `va` and its level (0: 4 KiB, 1: 2 MiB), 0 if there is none. */
static uint64_t leaf(uint64_t va, int *level)
{
	uint64_t table = pg.gpa;

	for (int l = 3; l >= 0; l--) {
		uint64_t entry;

		assert_true(table >= pg.gpa && table - pg.gpa < pg.used * PAGE_SIZE);
		memcpy(&entry, pg.mem + (table - pg.gpa) + (va >> (12 + 9 * l)) % 512 * 8, 8);
		if (!(entry & P))
			return 0;
		if (l == 0 || (entry & PS)) {
			*level = l;
			return entry;
		}
		table = entry & ADDRESS;
	}
	return 0;
}

static void page_gets_address_and_rights(void **state)
{
	static const struct {
		uint32_t flags;
		uint64_t bits;
	} cases[] = {
		{0, NX},
		{PAGING_WRITE, RW | NX},
		{PAGING_EXEC, 0},
		{PAGING_USER, US | NX},
		{PAGING_USER | PAGING_WRITE, US | RW | NX},
		{PAGING_USER | PAGING_EXEC, US},
	};
	int level = -1;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t va = 0x10000 + i * PAGE_SIZE, gpa = 0x1234000 + i * 0x5000;

		map(va, gpa, PAGE_SIZE, cases[i].flags);
		assert_int_equal(leaf(va, &level), gpa | P | A | D | cases[i].bits);
		assert_int_equal(level, 0);
	}
}

static void walk_tells_what_was_mapped(void **state)
{
	uint64_t gpa = 0;
	uint32_t flags = 0;

	(void)state;
	map(0x200000, 0x7000, 3 * PAGE_SIZE, PAGING_USER | PAGING_WRITE);
	assert_true(paging_walk(&pg, 0x201abc, &gpa, &flags));
	assert_int_equal(gpa, 0x8abc);
	assert_int_equal(flags, PAGING_USER | PAGING_WRITE);
	map(0x40000000, 0x600000, MIB2, PAGING_EXEC);
	assert_true(paging_walk(&pg, 0x40123456, &gpa, &flags));
	assert_int_equal(gpa, 0x723456);
	assert_int_equal(flags, PAGING_EXEC);
}

static void neighbours_of_a_mapping_are_not_mapped(void **state)
{
	uint64_t gpa;
	uint32_t flags;
	int level;

	(void)state;
	map(0x201000, 0x7000, PAGE_SIZE, PAGING_USER);
	assert_int_equal(leaf(0x200fff, &level), 0);
	assert_int_equal(leaf(0x202000, &level), 0);
	assert_int_equal(leaf(0, &level), 0);
	assert_false(paging_walk(&pg, 0x200fff, &gpa, &flags));
	assert_false(paging_walk(&pg, 0x202000, &gpa, &flags));
	assert_false(paging_walk(&pg, 0, &gpa, &flags));
	assert_false(paging_walk(&pg, (uint64_t)1 << 46, &gpa, &flags));
}

static void aligned_2_mib_become_one_large_page(void **state)
{
	int level = -1;

	(void)state;
	map(MIB2 * 5, MIB2 * 9, 2 * MIB2, PAGING_USER | PAGING_WRITE);
	assert_int_equal(leaf(MIB2 * 5 + 12345, &level),
			 MIB2 * 9 | P | RW | US | A | D | PS | NX);
	assert_int_equal(level, 1);
	assert_int_equal(leaf(MIB2 * 6, &level), MIB2 * 10 | P | RW | US | A | D | PS | NX);
	assert_int_equal(pg.used, 3); /* root, PDPT, PD */
}

static void small_pages_fill_up_to_the_first_and_after_the_last_large_one(void **state)
{
	int level = -1;

	(void)state;
	map(MIB2 - PAGE_SIZE, MIB2 * 3 - PAGE_SIZE, MIB2 + 2 * PAGE_SIZE, PAGING_USER);
	assert_int_equal(leaf(MIB2 - 1, &level) & ADDRESS, MIB2 * 3 - PAGE_SIZE);
	assert_int_equal(level, 0);
	assert_int_equal(leaf(MIB2, &level) & ADDRESS, MIB2 * 3);
	assert_int_equal(level, 1);
	assert_int_equal(leaf(2 * MIB2, &level) & ADDRESS, MIB2 * 4);
	assert_int_equal(level, 0);
	assert_int_equal(leaf(2 * MIB2 + PAGE_SIZE, &level), 0);
}

static void addresses_with_unlike_rests_get_small_pages(void **state)
{
	int level = -1;

	(void)state;
	map(MIB2, PAGE_SIZE, MIB2, PAGING_USER);
	assert_int_equal(leaf(MIB2, &level) & ADDRESS, PAGE_SIZE);
	assert_int_equal(level, 0);
	assert_int_equal(leaf(2 * MIB2 - 1, &level) & ADDRESS, MIB2);
	assert_int_equal(level, 0);
}

/* No walk may write to the tables: the pages that hold them belong to no log. */
static void every_entry_is_accessed_and_every_leaf_dirty(void **state)
{
	size_t entries = 0;

	(void)state;
	map(0x10000, 0x100000, 20 * PAGE_SIZE, PAGING_USER);
	map(MIB2 * 700, 0, 3 * MIB2, PAGING_WRITE);
	for (size_t i = 0; i < pg.used * 512; i++) {
		uint64_t entry;

		memcpy(&entry, pg.mem + i * 8, 8);
		if (!entry)
			continue;
		assert_true(entry & P);
		assert_true(entry & A);
		entries++;
	}
	assert_int_equal(entries, 20 + 3 + (pg.used - 1));
	for (uint64_t va = 0x10000; va < 0x10000 + 20 * PAGE_SIZE; va += PAGE_SIZE) {
		int level;

		assert_true(leaf(va, &level) & D);
	}
}

static void tables_lie_where_they_were_said_to(void **state)
{
	const uint64_t base = 0x555000;
	uint64_t entry;

	(void)state;
	paging_fini(&pg);
	assert_int_equal(paging_init(&pg, base, NULL), 0);
	map(0x10000, 0x1000, PAGE_SIZE, PAGING_USER);
	memcpy(&entry, pg.mem, 8);
	assert_int_equal(entry & ADDRESS, base + PAGE_SIZE);
	assert_int_equal(pg.used, 4);
}

static void tables_beyond_the_used_ones_stay_zero(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 20; i++)
		map(i << 30, i * PAGE_SIZE, PAGE_SIZE, PAGING_USER);
	assert_true(pg.capacity >= pg.used);
	for (uint64_t i = pg.used * PAGE_SIZE; i < pg.capacity * PAGE_SIZE; i++)
		assert_int_equal(pg.mem[i], 0);
}

static void highest_lower_half_page_can_be_mapped(void **state)
{
	uint64_t gpa = 0;
	uint32_t flags = 0;

	(void)state;
	map(0x7ffffffff000, 0xfffffff000, PAGE_SIZE, PAGING_USER);
	assert_true(paging_walk(&pg, 0x7fffffffffff, &gpa, &flags));
	assert_int_equal(gpa, 0xffffffffff);
}

static void running_out_of_memory_is_an_error_each_time(void **state)
{
	size_t n;

	(void)state;
	for (n = 1;; n++) {
		struct paging p;
		mayfly_error err;
		int r;

		fail_alloc_at(n);
		r = paging_init(&p, 0, &err);
		for (uint64_t i = 0; r == 0 && i < 20; i++)
			r = paging_map(&p, i << 30, 0, PAGE_SIZE, 0, &err);
		paging_fini(&p);
		if (!fail_alloc_end())
			break;
		assert_int_equal(r, MAYFLY_E_NOMEM);
		assert_int_equal(err.code, MAYFLY_E_NOMEM);
	}
	assert_true(n > 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(page_gets_address_and_rights),
		TEST(walk_tells_what_was_mapped),
		TEST(neighbours_of_a_mapping_are_not_mapped),
		TEST(aligned_2_mib_become_one_large_page),
		TEST(small_pages_fill_up_to_the_first_and_after_the_last_large_one),
		TEST(addresses_with_unlike_rests_get_small_pages),
		TEST(every_entry_is_accessed_and_every_leaf_dirty),
		TEST(tables_lie_where_they_were_said_to),
		TEST(tables_beyond_the_used_ones_stay_zero),
		TEST(highest_lower_half_page_can_be_mapped),
		TEST(running_out_of_memory_is_an_error_each_time),
	};

	return cmocka_run_group_tests_name("paging", tests, NULL, NULL);
}

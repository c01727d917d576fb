/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: what the host may look at, by address and length, whatever a guest says. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <string.h>

#include "core/gmem.h"

#define LOW 0x10000u
#define SECRET 0x20000u
#define DATA 0x30000u
#define CODE 0x40000u
#define LAST 0x7ffffffff000u

/*
 * Two adjoining readable regions, one of ring 0, one that is shared, one at the top: pages of the
 * private memory in another order than their addresses.
 */
struct world {
	struct gmem_map map;
	struct gmem gm;
	uint8_t private_mem[6 * PAGE_SIZE];
	uint8_t shared_mem[PAGE_SIZE];
};

static struct world w;

static void add(const char *name, uint64_t va, uint64_t gpa, uint64_t pages, uint32_t prot,
		bool shared)
{
	struct gmem_region r = {
		.va = va, .gpa = gpa, .len = pages * PAGE_SIZE, .prot = prot, .shared = shared};

	strncpy(r.name, name, sizeof(r.name) - 1);
	gmem_map_add(&w.map, &r);
}

static int setup(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	w.gm = (struct gmem){&w.map, w.private_mem, w.shared_mem};
	w.map.private_len = sizeof(w.private_mem);
	w.map.shared_gpa = (uint64_t)1 << 37;
	w.map.shared_len = sizeof(w.shared_mem);
	/* Not in order, so that inserting has to sort. */
	add("last", LAST, 5 * PAGE_SIZE, 1, GMEM_READ, false);
	add("data", DATA, 0, 2, GMEM_READ | GMEM_WRITE, false);
	add("low", LOW, 3 * PAGE_SIZE, 1, GMEM_READ | GMEM_WRITE, false);
	add("more", DATA + 2 * PAGE_SIZE, 4 * PAGE_SIZE, 1, GMEM_READ | GMEM_WRITE, false);
	add("code", CODE, w.map.shared_gpa, 1, GMEM_READ | GMEM_EXEC, true);
	add("ring 0", SECRET, 2 * PAGE_SIZE, 1, 0, false);
	return 0;
}

static void regions_are_kept_in_order_of_address(void **state)
{
	(void)state;
	assert_int_equal(w.map.count, 6);
	for (uint32_t i = 1; i < w.map.count; i++)
		assert_true(w.map.regions[i].va > w.map.regions[i - 1].va);
}

static void every_address_of_a_region_finds_it_and_no_other_does(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < w.map.count; i++) {
		const struct gmem_region *r = &w.map.regions[i];

		assert_ptr_equal(gmem_region_at(&w.map, gva(r->va)), r);
		assert_ptr_equal(gmem_region_at(&w.map, gva(r->va + r->len - 1)), r);
		assert_ptr_not_equal(gmem_region_at(&w.map, gva(r->va - 1)), r);
		assert_ptr_not_equal(gmem_region_at(&w.map, gva(r->va + r->len)), r);
	}
	assert_null(gmem_region_at(&w.map, gva(0)));
	assert_null(gmem_region_at(&w.map, gva(LOW - 1)));
	assert_null(gmem_region_at(&w.map, gva(UINT64_MAX)));
}

static void region_of_an_empty_map_is_none(void **state)
{
	static const struct gmem_map empty;

	(void)state;
	assert_null(gmem_region_at(&empty, gva(LOW)));
	assert_int_equal(gmem_readable(&empty, gva(LOW)), 0);
}

static void view_points_into_the_right_memory(void **state)
{
	(void)state;
	assert_ptr_equal(gmem_view(&w.gm, gva(LOW + 5), 1), w.private_mem + 3 * PAGE_SIZE + 5);
	assert_ptr_equal(gmem_view(&w.gm, gva(DATA), 2 * PAGE_SIZE), w.private_mem);
	assert_ptr_equal(gmem_view(&w.gm, gva(CODE + 7), 9), w.shared_mem + 7);
	assert_ptr_equal(gmem_view(&w.gm, gva(LAST), PAGE_SIZE), w.private_mem + 5 * PAGE_SIZE);
}

static void view_that_leaves_its_region_is_refused(void **state)
{
	(void)state;
	assert_non_null(gmem_view(&w.gm, gva(LOW), PAGE_SIZE));
	assert_null(gmem_view(&w.gm, gva(LOW), PAGE_SIZE + 1));
	assert_null(gmem_view(&w.gm, gva(LOW + 1), PAGE_SIZE));
	assert_null(gmem_view(&w.gm, gva(LOW - 1), 2));
	assert_non_null(gmem_view(&w.gm, gva(LOW + PAGE_SIZE - 1), 1));
	assert_null(gmem_view(&w.gm, gva(LOW + PAGE_SIZE), 1));
	assert_null(gmem_view(&w.gm, gva(0), 1));
}

/* They adjoin by address, not in the host's memory. */
static void view_over_two_adjoining_regions_is_refused(void **state)
{
	(void)state;
	assert_null(gmem_view(&w.gm, gva(DATA), 3 * PAGE_SIZE));
	assert_null(gmem_view(&w.gm, gva(DATA + 2 * PAGE_SIZE - 1), 2));
}

static void lengths_near_the_end_of_numbers_are_refused(void **state)
{
	static const uint64_t lengths[] = {
		UINT64_MAX,	     UINT64_MAX - DATA,	      UINT64_MAX - DATA + 1,
		(uint64_t)INT64_MAX, (uint64_t)INT64_MAX + 1, (uint64_t)UINT32_MAX + 1};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		assert_null(gmem_view(&w.gm, gva(DATA), lengths[i]));
		assert_null(gmem_view(&w.gm, gva(DATA + 1), lengths[i]));
		assert_null(gmem_view(&w.gm, gva(LAST), lengths[i]));
		assert_null(gmem_view(&w.gm, gva(UINT64_MAX), lengths[i]));
	}
}

static void memory_of_ring_0_is_not_readable(void **state)
{
	(void)state;
	assert_non_null(gmem_region_at(&w.map, gva(SECRET)));
	assert_null(gmem_view(&w.gm, gva(SECRET), 1));
	assert_null(gmem_view(&w.gm, gva(SECRET), 0));
	assert_int_equal(gmem_readable(&w.map, gva(SECRET)), 0);
}

static void empty_view_is_good_within_and_just_behind_a_region(void **state)
{
	(void)state;
	assert_non_null(gmem_view(&w.gm, gva(LOW), 0));
	assert_non_null(gmem_view(&w.gm, gva(LOW + PAGE_SIZE), 0));
	assert_null(gmem_view(&w.gm, gva(LOW + PAGE_SIZE + 1), 0));
	assert_null(gmem_view(&w.gm, gva(0), 0));
	assert_null(gmem_view(&w.gm, gva(UINT64_MAX), 0));
}

static void readable_counts_to_the_end_of_the_region(void **state)
{
	(void)state;
	assert_int_equal(gmem_readable(&w.map, gva(DATA)), 2 * PAGE_SIZE);
	assert_int_equal(gmem_readable(&w.map, gva(DATA + 2 * PAGE_SIZE - 1)), 1);
	assert_int_equal(gmem_readable(&w.map, gva(LAST + PAGE_SIZE)), 0);
}

static void string_ends_at_its_nul(void **state)
{
	const char *s = NULL;

	(void)state;
	memcpy(w.private_mem + 100, "mayfly\0more", 12);
	assert_int_equal(gmem_string(&w.gm, gva(DATA + 100), 1000, &s), 6);
	assert_ptr_equal(s, w.private_mem + 100);
	assert_int_equal(gmem_string(&w.gm, gva(DATA + 106), 1000, &s), 0);
}

static void string_may_be_as_long_as_the_limit_and_no_longer(void **state)
{
	const char *s = NULL;

	(void)state;
	memset(w.private_mem, 'x', 2 * PAGE_SIZE);
	w.private_mem[10] = 0;
	assert_int_equal(gmem_string(&w.gm, gva(DATA), 10, &s), 10);
	assert_int_equal(gmem_string(&w.gm, gva(DATA), 9, &s), -2);
	assert_int_equal(gmem_string(&w.gm, gva(DATA + 10), 0, &s), 0);
	assert_int_equal(gmem_string(&w.gm, gva(DATA), UINT64_MAX, &s), 10);
}

/* The byte behind the region, which lies in another one, is a NUL: it does not count. */
static void string_must_end_within_its_region(void **state)
{
	const char *s = NULL;

	(void)state;
	memset(w.private_mem, 'x', 2 * PAGE_SIZE);
	assert_int_equal(gmem_string(&w.gm, gva(DATA + PAGE_SIZE), PAGE_SIZE * 8, &s), -2);
	w.private_mem[2 * PAGE_SIZE - 1] = 0;
	assert_int_equal(gmem_string(&w.gm, gva(DATA + PAGE_SIZE), PAGE_SIZE * 8, &s),
			 PAGE_SIZE - 1);
	assert_int_equal(gmem_string(&w.gm, gva(DATA + 2 * PAGE_SIZE - 1), 5, &s), 0);
}

static void string_that_is_not_readable_is_refused(void **state)
{
	const char *s = NULL;

	(void)state;
	assert_int_equal(gmem_string(&w.gm, gva(0), 10, &s), -1);
	assert_int_equal(gmem_string(&w.gm, gva(SECRET), 10, &s), -1);
	assert_int_equal(gmem_string(&w.gm, gva(UINT64_MAX), 10, &s), -1);
	assert_null(s);
}

static void reading_any_includes_ring_0_but_no_hole(void **state)
{
	uint8_t buffer[16];

	(void)state;
	memset(w.private_mem + 2 * PAGE_SIZE, 0xa5, PAGE_SIZE);
	assert_true(gmem_read_any(&w.gm, gva(SECRET + 8), buffer, sizeof(buffer)));
	assert_int_equal(buffer[15], 0xa5);
	assert_true(gmem_read_any(&w.gm, gva(SECRET + PAGE_SIZE - 16), buffer, 16));
	assert_false(gmem_read_any(&w.gm, gva(SECRET + PAGE_SIZE - 15), buffer, 16));
	assert_false(gmem_read_any(&w.gm, gva(SECRET - 1), buffer, 2));
	assert_false(gmem_read_any(&w.gm, gva(0), buffer, 1));
	assert_false(gmem_read_any(&w.gm, gva(UINT64_MAX), buffer, 16));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(regions_are_kept_in_order_of_address, setup),
		cmocka_unit_test_setup(every_address_of_a_region_finds_it_and_no_other_does,
				       setup),
		cmocka_unit_test_setup(region_of_an_empty_map_is_none, setup),
		cmocka_unit_test_setup(view_points_into_the_right_memory, setup),
		cmocka_unit_test_setup(view_that_leaves_its_region_is_refused, setup),
		cmocka_unit_test_setup(view_over_two_adjoining_regions_is_refused, setup),
		cmocka_unit_test_setup(lengths_near_the_end_of_numbers_are_refused, setup),
		cmocka_unit_test_setup(memory_of_ring_0_is_not_readable, setup),
		cmocka_unit_test_setup(empty_view_is_good_within_and_just_behind_a_region,
				       setup),
		cmocka_unit_test_setup(readable_counts_to_the_end_of_the_region, setup),
		cmocka_unit_test_setup(string_ends_at_its_nul, setup),
		cmocka_unit_test_setup(string_may_be_as_long_as_the_limit_and_no_longer, setup),
		cmocka_unit_test_setup(string_must_end_within_its_region, setup),
		cmocka_unit_test_setup(string_that_is_not_readable_is_refused, setup),
		cmocka_unit_test_setup(reading_any_includes_ring_0_but_no_hole, setup),
	};

	return cmocka_run_group_tests_name("gmem", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Where everything of a guest lies: plans at the edges, hostile ones, and many at random. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <stdio.h>
#include <string.h>

#include "abi/function.h"
#include "fail_alloc.h"
#include "function/layout.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define R GMEM_READ
#define RW (GMEM_READ | GMEM_WRITE)
#define RX (GMEM_READ | GMEM_EXEC)

static const struct layout_plan typical = {
	.memory = 16 * MIB,
	.stack = 256 * KIB,
	.call_area = 64 * KIB,
	.runs = {{FN_IMAGE_MIN_VA, 0x1000, R},
		 {FN_IMAGE_MIN_VA + 0x1000, 0x5000, RX},
		 {FN_IMAGE_MIN_VA + 0x6000, 0x3000, RW}},
	.nruns = 3,
};

/* --- what holds for every layout ------------------------------------------------------------- */

static bool overlap(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
	return a < b + blen && b < a + alen;
}

static void check_regions(const struct layout *l, const struct layout_plan *p)
{
	const struct gmem_map *m = &l->map;
	uint64_t tables = l->tables.used * PAGE_SIZE;

	assert_true(m->private_len + m->shared_len <= p->memory);
	assert_true(m->private_len <= m->shared_gpa);
	for (uint32_t i = 0; i < m->count; i++) {
		const struct gmem_region *a = &m->regions[i];

		assert_int_equal((a->va | a->gpa | a->len) & PAGE_MASK, 0);
		assert_true(a->len > 0);
		assert_true(a->va >= FN_GATE_VA);
		assert_true(a->va + a->len <= (uint64_t)1 << 47);
		assert_false((a->prot & GMEM_WRITE) && (a->prot & GMEM_EXEC));
		assert_false(a->shared && (a->prot & GMEM_WRITE));
		if (a->shared)
			assert_true(
				range_within(a->gpa - m->shared_gpa, a->len, m->shared_len));
		else
			assert_true(a->gpa >= tables &&
				    range_within(a->gpa, a->len, m->private_len));
		for (uint32_t j = i + 1; j < m->count; j++) {
			const struct gmem_region *b = &m->regions[j];

			assert_true(a->va + a->len <= b->va); /* in order */
			assert_false(overlap(a->gpa, a->len, b->gpa, b->len));
		}
	}
}

static uint32_t expected_flags(const struct gmem_region *r)
{
	if (!r->prot)
		return r->shared ? PAGING_EXEC : PAGING_WRITE;
	return PAGING_USER | (r->prot & GMEM_WRITE ? PAGING_WRITE : 0) |
	       (r->prot & GMEM_EXEC ? PAGING_EXEC : 0);
}

static void check_page(const struct layout *l, const struct gmem_region *r, uint64_t offset)
{
	uint64_t gpa = 0;
	uint32_t flags = 0;

	assert_true(paging_walk(&l->tables, r->va + offset, &gpa, &flags));
	assert_int_equal(gpa, r->gpa + offset);
	assert_int_equal(flags, expected_flags(r));
}

/* Pages that the tables map, all in all, in units of 4 KiB. */
static uint64_t mapped_pages(const struct layout *l, uint64_t table, int level)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < 512; i++) {
		uint64_t entry;

		memcpy(&entry, l->tables.mem + table + i * 8, 8);
		if (!(entry & 1))
			continue;
		if (level == 0 || (entry & 0x80))
			pages += (uint64_t)1 << (9 * level);
		else
			pages += mapped_pages(l, entry & 0x000ffffffffff000ULL, level - 1);
	}
	return pages;
}

/* The tables map the regions, with their rights, and nothing else. */
static void check_tables(const struct layout *l)
{
	uint64_t pages = 0, gpa;
	uint32_t flags;

	for (uint32_t i = 0; i < l->map.count; i++) {
		const struct gmem_region *r = &l->map.regions[i];
		/* All pages of what is small; of the rest some, the last among them. */
		uint64_t step = r->len > 8 * MIB ? 509 * PAGE_SIZE : PAGE_SIZE;

		for (uint64_t off = 0; off < r->len; off += step)
			check_page(l, r, off);
		check_page(l, r, r->len - PAGE_SIZE);
		pages += r->len / PAGE_SIZE;
	}
	assert_int_equal(mapped_pages(l, 0, 3), pages);
	assert_false(paging_walk(&l->tables, 0, &gpa, &flags));
}

static const struct gmem_region *at(const struct layout *l, uint64_t va, uint64_t len,
				    uint32_t prot)
{
	const struct gmem_region *r = gmem_region_at(&l->map, gva(va));

	assert_non_null(r);
	assert_int_equal(r->va, va);
	assert_int_equal(r->len, len);
	assert_int_equal(r->prot, prot);
	return r;
}

/* What ring 3 must not reach is in no region that it may use: ring 0's page and stack, and the tables. */
static void check_parts(const struct layout *l, const struct layout_plan *p)
{
	assert_int_equal(at(l, FN_GATE_VA, PAGE_SIZE, RX)->shared, true);
	assert_int_equal(at(l, FN_FRESH_VA, PAGE_SIZE, R)->gpa, l->state_gpa);
	assert_int_equal(at(l, FN_CALL_VA, PAGE_SIZE, RW)->gpa, l->call_gpa);
	assert_int_equal(at(l, FN_SUPERVISOR_VA, PAGE_SIZE, 0)->shared, true);
	assert_int_equal(at(l, l->kernel_stack_top - PAGE_SIZE, PAGE_SIZE, 0)->shared, false);
	assert_int_equal(at(l, l->stack_va, p->stack, RW)->gpa, l->stack_gpa);
	assert_int_equal(l->stack_va + p->stack, l->stack_top);
	assert_int_equal(l->stack_top % 16, 0);
	assert_int_equal(at(l, l->area_va, p->call_area, RW)->gpa, l->area_gpa);
	at(l, l->heap_va, l->heap_len, RW);
	assert_true(l->heap_len > 0);
	/* Guards: nothing right below the stack, and nothing at either side of heap and call area. */
	assert_null(gmem_region_at(&l->map, gva(l->stack_va - 1)));
	assert_null(gmem_region_at(&l->map, gva(l->heap_va - 1)));
	assert_null(gmem_region_at(&l->map, gva(l->heap_va + l->heap_len)));
	assert_null(gmem_region_at(&l->map, gva(l->area_va - 1)));
	assert_null(gmem_region_at(&l->map, gva(l->area_va + p->call_area)));
	for (uint32_t i = 0; i < p->nruns; i++)
		if (p->runs[i].prot)
			at(l, p->runs[i].va, p->runs[i].len, p->runs[i].prot);
}

/* Gives the number of pages of tables. */
static uint32_t check(const struct layout_plan *p)
{
	mayfly_error err = {.code = 0};
	static struct layout l;
	uint32_t tables;

	if (layout_make(p, &l, &err) < 0) {
		print_error("refused: %s\n", err.message);
		assert_int_equal(err.code, 0);
	}
	assert_true(l.tables.capacity >= l.tables.used);
	check_regions(&l, p);
	check_parts(&l, p);
	check_tables(&l);
	tables = l.tables.used;
	paging_fini(&l.tables);
	return tables;
}

static void refused(const struct layout_plan *p, int code)
{
	mayfly_error err = {.code = 0};
	static struct layout l;
	int r = layout_make(p, &l, &err);

	if (r == 0)
		paging_fini(&l.tables);
	assert_int_equal(r, code);
	assert_int_equal(err.code, code);
	assert_true(err.message[0]);
}

/* --- plans at the edges ---------------------------------------------------------------------- */

static void typical_guest_is_laid_out(void **state)
{
	(void)state;
	assert_true(check(&typical) <= 8);
}

static void guest_without_an_image_is_laid_out(void **state)
{
	struct layout_plan p = typical;

	(void)state;
	p.nruns = 0;
	check(&p);
}

/* One page less than what is accepted is refused, with the need spelled out. */
static void memory_may_be_as_small_as_the_need_and_no_smaller(void **state)
{
	struct layout_plan p = typical;
	mayfly_error err;
	struct layout l;

	(void)state;
	p.stack = p.call_area = PAGE_SIZE;
	for (p.memory = PAGE_SIZE; layout_make(&p, &l, &err) < 0; p.memory += PAGE_SIZE) {
		assert_true(err.code == MAYFLY_E_TOO_LARGE || err.code == MAYFLY_E_INVALID);
		assert_true(p.memory < MIB);
	}
	assert_int_equal(l.heap_len, PAGE_SIZE);
	assert_int_equal(l.map.private_len + l.map.shared_len, p.memory);
	paging_fini(&l.tables);
	check(&p);
	p.memory -= PAGE_SIZE;
	refused(&p, MAYFLY_E_TOO_LARGE);
}

static void largest_memory_is_laid_out(void **state)
{
	struct layout_plan p = typical;

	(void)state;
	p.memory = LAYOUT_MAX_MEMORY;
	check(&p);
	p.memory += PAGE_SIZE;
	refused(&p, MAYFLY_E_INVALID);
}

static void stack_goes_to_the_top_when_it_is_large(void **state)
{
	struct layout_plan p = typical;
	struct layout l;

	(void)state;
	p.memory = 4 * GIB;
	p.stack = FN_LOW_STACK_MAX;
	assert_int_equal(layout_make(&p, &l, NULL), 0);
	assert_int_equal(l.stack_top, FN_LOW_STACK_TOP);
	paging_fini(&l.tables);
	check(&p);
	p.stack += PAGE_SIZE;
	assert_int_equal(layout_make(&p, &l, NULL), 0);
	assert_true(l.stack_va >= l.area_va + p.call_area + GIB);
	paging_fini(&l.tables);
	check(&p);
	p.stack = 3 * GIB;
	check(&p);
}

static void large_call_area_is_laid_out(void **state)
{
	struct layout_plan p = typical;

	(void)state;
	p.memory = 256 * MIB;
	p.call_area = 64 * MIB;
	check(&p);
}

static void image_at_odd_addresses_is_laid_out(void **state)
{
	struct layout_plan p = typical;

	(void)state;
	p.runs[0] = (struct layout_run){0x7fffff000, PAGE_SIZE, RX};
	p.runs[1] = (struct layout_run){0x800000000, 2 * MIB, RW};
	p.runs[2] = (struct layout_run){FN_IMAGE_MAX_VA - PAGE_SIZE, PAGE_SIZE, R};
	check(&p);
}

static void pages_of_the_image_without_rights_are_not_mapped(void **state)
{
	struct layout_plan p = typical;
	static struct layout l;

	(void)state;
	p.runs[1].prot = 0;
	assert_int_equal(layout_make(&p, &l, NULL), 0);
	assert_null(gmem_region_at(&l.map, gva(p.runs[1].va)));
	paging_fini(&l.tables);
	check(&p);
}

static void as_many_runs_as_allowed_fit_the_map(void **state)
{
	struct layout_plan p = {.memory = 16 * MIB, .stack = 4 * KIB, .call_area = 4 * KIB};

	(void)state;
	for (uint32_t i = 0; i < LAYOUT_MAX_RUNS; i++)
		p.runs[p.nruns++] = (struct layout_run){FN_IMAGE_MIN_VA + i * 2 * PAGE_SIZE,
							PAGE_SIZE, i % 2 ? RW : RX};
	check(&p);
}

/*
 * More room for tables moves the data so that large pages fit it, and fewer tables are needed than
 * before: the layout settles all the same.
 */
static void fewer_tables_than_first_thought_are_fine(void **state)
{
	unsigned settled = 0;

	(void)state;
	for (uint64_t stack = PAGE_SIZE; stack <= 3 * MIB; stack += PAGE_SIZE) {
		struct layout_plan p = {.memory = 64 * MIB, .call_area = 4 * KIB, .nruns = 1};
		struct layout l;
		mayfly_error err;

		p.stack = stack;
		p.runs[0] = (struct layout_run){4 * MIB, 40 * MIB, RW};
		if (layout_make(&p, &l, &err) < 0) {
			print_error("stack of %llu: %s\n", (unsigned long long)stack,
				    err.message);
			assert_int_equal(err.code, 0);
		}
		settled += l.tables.used > 8;
		check_regions(&l, &p);
		paging_fini(&l.tables);
	}
	assert_true(settled > 0);
}

/* --- hostile plans --------------------------------------------------------------------------- */

static void sizes_that_are_no_whole_pages_are_refused(void **state)
{
	struct layout_plan p = typical;

	(void)state;
	p.memory += 1;
	refused(&p, MAYFLY_E_INVALID);
	p = typical;
	p.stack += 16;
	refused(&p, MAYFLY_E_INVALID);
	p = typical;
	p.call_area -= 1;
	refused(&p, MAYFLY_E_INVALID);
}

static void empty_and_endless_sizes_are_refused(void **state)
{
	static const uint64_t sizes[] = {0, (uint64_t)1 << 63, UINT64_MAX & ~PAGE_MASK,
					 (uint64_t)1 << 40};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct layout_plan p = typical;

		p.memory = sizes[i];
		refused(&p, MAYFLY_E_INVALID);
		p = typical;
		p.stack = sizes[i];
		refused(&p, MAYFLY_E_INVALID);
		p = typical;
		p.call_area = sizes[i];
		refused(&p, MAYFLY_E_INVALID);
	}
}

static void parts_that_leave_no_heap_are_refused(void **state)
{
	struct layout_plan p = typical;

	(void)state;
	p.stack = p.memory;
	refused(&p, MAYFLY_E_TOO_LARGE);
	p = typical;
	p.call_area = p.memory;
	refused(&p, MAYFLY_E_TOO_LARGE);
}

static void too_many_runs_are_refused(void **state)
{
	struct layout_plan p = typical;

	(void)state;
	p.nruns = LAYOUT_MAX_RUNS + 1;
	refused(&p, MAYFLY_E_INVALID);
	p.nruns = UINT32_MAX;
	refused(&p, MAYFLY_E_INVALID);
}

static void runs_out_of_place_are_refused(void **state)
{
	static const struct layout_run bad[] = {
		{0, PAGE_SIZE, R},
		{FN_CALL_VA, PAGE_SIZE, RX},
		{FN_IMAGE_MIN_VA - PAGE_SIZE, PAGE_SIZE, R},
		{FN_IMAGE_MIN_VA + 0x1000, PAGE_SIZE, R}, /* within the one before */
		{FN_IMAGE_MIN_VA + 0x10000, 0, R},
		{FN_IMAGE_MIN_VA + 0x10001, PAGE_SIZE, R},
		{FN_IMAGE_MIN_VA + 0x10000, PAGE_SIZE + 1, R},
		{FN_IMAGE_MIN_VA + 0x10000, PAGE_SIZE, RW | GMEM_EXEC},
		{FN_IMAGE_MIN_VA + 0x10000, PAGE_SIZE, 8},
		{FN_IMAGE_MIN_VA + 0x10000, PAGE_SIZE, UINT32_MAX},
		{FN_IMAGE_MIN_VA + 0x10000, 17 * MIB, R}, /* more than all memory */
		{FN_IMAGE_MAX_VA - PAGE_SIZE, 2 * PAGE_SIZE, R},
		{FN_IMAGE_MAX_VA, PAGE_SIZE, R},
		{FN_IMAGE_MIN_VA + 0x10000, UINT64_MAX & ~PAGE_MASK, R},
		{UINT64_MAX & ~PAGE_MASK, PAGE_SIZE, R},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct layout_plan p = typical;

		p.runs[2] = bad[i];
		refused(&p, MAYFLY_E_INVALID);
	}
}

/* Page tables for all of them would take gigabytes of the host. */
static void runs_that_exceed_memory_together_are_refused_at_once(void **state)
{
	struct layout_plan p = {
		.memory = LAYOUT_MAX_MEMORY, .stack = 4 * KIB, .call_area = 4 * KIB};
	struct layout l;

	(void)state;
	for (uint32_t i = 0; i < 4; i++)
		p.runs[p.nruns++] =
			(struct layout_run){GIB + PAGE_SIZE + i * 63 * GIB, 60 * GIB, R};
	fail_alloc_at(1);
	assert_int_equal(layout_make(&p, &l, NULL), MAYFLY_E_INVALID);
	assert_false(fail_alloc_end());
}

static void running_out_of_memory_is_an_error_each_time(void **state)
{
	size_t n;

	(void)state;
	for (n = 1;; n++) {
		struct layout_plan p = typical;
		struct layout l;
		mayfly_error err;
		int r;

		p.runs[2].va = 60 * GIB;
		p.runs[2].len = 9 * MIB;
		fail_alloc_at(n);
		r = layout_make(&p, &l, &err);
		if (!fail_alloc_end()) {
			assert_int_equal(r, 0);
			paging_fini(&l.tables);
			break;
		}
		assert_int_equal(r, MAYFLY_E_NOMEM);
	}
	assert_true(n > 2);
}

/* --- at random ------------------------------------------------------------------------------- */

static uint64_t seed;

/* xorshift64* */
static uint64_t next(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * 2685821657736338717ULL;
}

/* Of all magnitudes alike. */
static uint64_t random_pages(unsigned max_bits)
{
	return (1 + next() % ((uint64_t)1 << (next() % (max_bits + 1)))) * PAGE_SIZE;
}

static void random_plan(struct layout_plan *p)
{
	static const uint32_t prots[] = {R, RW, RX, R, RW,	   RX,
					 R, RW, RX, 0, GMEM_WRITE, GMEM_EXEC};
	uint64_t va = FN_IMAGE_MIN_VA;

	*p = (struct layout_plan){.stack = random_pages(10), .call_area = random_pages(10)};
	p->memory = page_up(random_pages(16) + p->stack + p->call_area);
	p->nruns = (uint32_t)(next() % 9);
	for (uint32_t i = 0; i < p->nruns; i++) {
		uint64_t gap = next() % 3 ? 0 : random_pages(22);

		p->runs[i] = (struct layout_run){va + gap, random_pages(8),
						 prots[next() % ARRAY_SIZE(prots)]};
		if (next() % 4 == 0)
			p->runs[i].va = (p->runs[i].va + 2 * MIB - 1) & ~(2 * MIB - 1);
		va = p->runs[i].va + p->runs[i].len;
	}
}

static void random_plans_keep_every_promise(void **state)
{
	unsigned accepted = 0, rejected = 0;

	(void)state;
	seed = 0x6d6179666c79;
	for (unsigned i = 0; i < 400; i++) {
		struct layout_plan p;
		mayfly_error err;
		static struct layout l;

		random_plan(&p);
		if (layout_make(&p, &l, &err) == 0) {
			paging_fini(&l.tables);
			check(&p);
			accepted++;
		} else {
			assert_true(err.code == MAYFLY_E_TOO_LARGE ||
				    err.code == MAYFLY_E_INVALID);
			rejected++;
		}
	}
	/* Enough of both, or the plans are not what they should be. */
	assert_true(accepted > 100);
	assert_true(rejected > 20);
}

/* A plan with one word replaced by anything: refused, or still all right. */
static void damaged_plans_are_refused_or_harmless(void **state)
{
	static const uint64_t values[] = {0,
					  1,
					  PAGE_SIZE,
					  UINT64_MAX,
					  (uint64_t)1 << 63,
					  1ull << 37,
					  FN_CALL_VA,
					  64 * GIB,
					  0xfffffffffffff000ULL,
					  3 * MIB};

	(void)state;
	for (size_t word = 0; word < (offsetof(struct layout_plan, runs) + 4 * 24) / 8;
	     word++) {
		for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
			struct layout_plan p = typical;
			static struct layout l;

			memcpy((uint8_t *)&p + word * 8, &values[i], 8);
			if (layout_make(&p, &l, NULL) < 0)
				continue;
			paging_fini(&l.tables);
			check(&p);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(typical_guest_is_laid_out),
		cmocka_unit_test(guest_without_an_image_is_laid_out),
		cmocka_unit_test(memory_may_be_as_small_as_the_need_and_no_smaller),
		cmocka_unit_test(largest_memory_is_laid_out),
		cmocka_unit_test(stack_goes_to_the_top_when_it_is_large),
		cmocka_unit_test(large_call_area_is_laid_out),
		cmocka_unit_test(image_at_odd_addresses_is_laid_out),
		cmocka_unit_test(pages_of_the_image_without_rights_are_not_mapped),
		cmocka_unit_test(as_many_runs_as_allowed_fit_the_map),
		cmocka_unit_test(fewer_tables_than_first_thought_are_fine),
		cmocka_unit_test(sizes_that_are_no_whole_pages_are_refused),
		cmocka_unit_test(empty_and_endless_sizes_are_refused),
		cmocka_unit_test(parts_that_leave_no_heap_are_refused),
		cmocka_unit_test(too_many_runs_are_refused),
		cmocka_unit_test(runs_out_of_place_are_refused),
		cmocka_unit_test(runs_that_exceed_memory_together_are_refused_at_once),
		cmocka_unit_test(running_out_of_memory_is_an_error_each_time),
		cmocka_unit_test(random_plans_keep_every_promise),
		cmocka_unit_test(damaged_plans_are_refused_or_harmless),
	};

	return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest library's heap: that blocks never overlap, what it touches, and that misuse is
 * found.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <unistd.h>

#include "guest_host.h"

#define PAGE 4096u
#define HEAP_SIZE (4u << 20)

static char *arena;
static uint64_t seed;

/* A heap of fresh, zero pages; what is beyond is inaccessible. */
static int setup(void **state)
{
	(void)state;
	guest_host_reset();
	seed = 88172645463325252u;
	arena = mmap(NULL, HEAP_SIZE + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena == MAP_FAILED)
		return -1;
	arena += PAGE;
	if (mprotect(arena, HEAP_SIZE, PROT_READ | PROT_WRITE))
		return -1;
	guest_test_call_block.heap_start = (uintptr_t)arena;
	guest_test_call_block.heap_end = (uintptr_t)arena + HEAP_SIZE;
	memset(guest_test_call_block.seed, 0x5a, sizeof(guest_test_call_block.seed));
	guest_test_new_heap();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return munmap(arena - PAGE, HEAP_SIZE + 2 * PAGE);
}

static uint64_t below(uint64_t n)
{
	return next_random(&seed) % n;
}

/* Pages of the heap that were touched. */
static int touched_pages(void)
{
	static unsigned char resident[HEAP_SIZE / PAGE];
	int n = 0;

	assert_int_equal(mincore(arena, HEAP_SIZE, resident), 0);
	for (size_t i = 0; i < sizeof(resident); i++)
		n += resident[i] & 1;
	return n;
}

/* --- what is touched ---------------------------------------------------------------------- */

static void first_small_allocation_touches_one_page(void **state)
{
	(void)state;
	assert_non_null(guest_malloc(100));
	assert_int_equal(touched_pages(), 1);
}

static void large_allocation_touches_only_its_header(void **state)
{
	char *p;

	(void)state;
	p = guest_malloc(1u << 20);
	assert_non_null(p);
	assert_int_equal(touched_pages(), 1);
	guest_free(p);
	assert_int_equal(touched_pages(), 1);
}

static void calloc_of_fresh_memory_touches_only_its_header(void **state)
{
	const char *p;

	(void)state;
	p = guest_calloc(1024, 1024);
	assert_non_null(p);
	assert_int_equal(touched_pages(), 1);
	for (size_t i = 0; i < 1u << 20; i++)
		assert_int_equal(p[i], 0);
}

static void freed_memory_is_used_again_before_fresh_memory(void **state)
{
	int pages;

	(void)state;
	guest_free(guest_malloc(3 * PAGE));
	pages = touched_pages();
	for (int i = 0; i < 1000; i++) {
		char *a = guest_malloc(100), *b = guest_malloc(200);

		guest_free(a);
		guest_free(b);
	}
	assert_int_equal(touched_pages(), pages);
}

static void calloc_of_used_memory_is_zero(void **state)
{
	(void)state;
	for (int round = 0; round < 2000; round++) {
		size_t n = below(3000);
		unsigned char *dirty = guest_malloc(below(5000)), *p;

		memset(dirty, 0xaa, guest_malloc_usable_size(dirty));
		if (below(2))
			guest_free(dirty);
		p = guest_calloc(1, n);
		if (!p)
			break;
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xbb, guest_malloc_usable_size(p));
		if (below(4))
			guest_free(p);
	}
	assert_true(mayfly_p_heap_is_sound());
}

/* --- limits ------------------------------------------------------------------------------- */

static void exhausted_heap_gives_null_and_recovers(void **state)
{
	static void *blocks[HEAP_SIZE / PAGE];
	size_t n = 0;

	(void)state;
	while ((blocks[n] = guest_malloc(PAGE)))
		n++;
	assert_true(n >= HEAP_SIZE / (PAGE + 32) - 1);
	assert_int_equal(*guest_errno_location(), ENOMEM);
	assert_null(guest_malloc(2 * PAGE));
	for (size_t i = 0; i < n; i++)
		guest_free(blocks[i]);
	assert_true(mayfly_p_heap_is_sound());
	/* All of it in one piece again. */
	assert_non_null(guest_malloc(HEAP_SIZE - 64));
}

static void impossible_sizes_give_null(void **state)
{
	volatile size_t huge = SIZE_MAX;
	void *p = guest_malloc(10);

	(void)state;
	assert_null(guest_malloc(huge));
	assert_null(guest_malloc(huge - 4096));
	assert_null(guest_malloc(huge / 2));
	assert_null(guest_calloc(huge / 2, 3));
	assert_null(guest_reallocarray(p, huge / 4, 5));
	assert_null(guest_realloc(p, huge));
	assert_null(guest_aligned_alloc(huge / 2 + 1, 16));
	assert_null(guest_aligned_alloc(64, huge));
	assert_null(guest_aligned_alloc(48, 48));
	assert_null(guest_aligned_alloc(0, 48));
	assert_true(mayfly_p_heap_is_sound());
}

static void a_guest_without_heap_gets_null(void **state)
{
	(void)state;
	guest_test_call_block.heap_end = guest_test_call_block.heap_start;
	assert_null(guest_malloc(1));
	guest_test_new_heap();
	guest_test_call_block.heap_end = guest_test_call_block.heap_start - PAGE;
	assert_null(guest_malloc(1));
}

static void a_heap_of_odd_bounds_stays_within_them(void **state)
{
	(void)state;
	guest_test_call_block.heap_start += 3;
	guest_test_call_block.heap_end = (uintptr_t)arena + HEAP_SIZE - 5;
	for (char *p; (p = guest_malloc(1000));) {
		size_t n = guest_malloc_usable_size(p);

		assert_true(p >= arena + 3 && p + n <= arena + HEAP_SIZE - 5);
		memset(p, 1, n);
	}
	while (guest_malloc(0))
		;
	assert_true(mayfly_p_heap_is_sound());
}

/* --- alignment ---------------------------------------------------------------------------- */

static void every_alignment_is_kept(void **state)
{
	(void)state;
	for (int round = 0; round < 3000; round++) {
		size_t alignment = (size_t)1 << below(17), n = below(600);
		char *p = guest_aligned_alloc(alignment, n);
		void *q = NULL;

		if (!p)
			break;
		assert_int_equal((uintptr_t)p % alignment, 0);
		assert_true(guest_malloc_usable_size(p) >= n);
		memset(p, 1, guest_malloc_usable_size(p));
		if (alignment >= 8)
			assert_int_equal(guest_posix_memalign(&q, alignment, n), 0);
		assert_int_equal((uintptr_t)q % alignment, 0);
		guest_free(p);
		if (below(8))
			guest_free(q);
	}
	assert_true(mayfly_p_heap_is_sound());
	assert_int_equal((uintptr_t)guest_malloc(1) % 16, 0);
	assert_int_equal(guest_posix_memalign(&(void *){NULL}, 4, 10), EINVAL);
	assert_int_equal(guest_posix_memalign(&(void *){NULL}, 24, 10), EINVAL);
}

/* --- everything together ------------------------------------------------------------------ */

struct held {
	unsigned char *p;
	size_t size;
	unsigned char mark;
};

static void expect_whole(const struct held *h)
{
	for (size_t i = 0; i < h->size; i++) {
		if (h->p[i] != h->mark)
			fail_msg("byte %zu of a block of %zu changed", i, h->size);
	}
}

static size_t some_size(void)
{
	switch (below(10)) {
	case 0:
		return below(100000);
	case 1:
	case 2:
		return below(3000);
	default:
		return below(200);
	}
}

static void step(struct held *h)
{
	size_t size = some_size();

	if (!h->p) {
		unsigned int kind = (unsigned int)below(3);

		h->p = kind == 0   ? guest_malloc(size)
		       : kind == 1 ? guest_calloc(1, size)
				   : guest_aligned_alloc((size_t)1 << below(13), size);
		h->mark = kind == 1 ? 0 : (unsigned char)below(256);
		h->size = h->p ? size : 0;
		if (kind == 1)
			expect_whole(h);
		h->mark = (unsigned char)below(256);
	} else if (below(3)) {
		expect_whole(h);
		guest_free(h->p);
		h->p = NULL;
		return;
	} else {
		unsigned char *moved = guest_realloc(h->p, size + 1);

		if (!moved)
			return;
		h->p = moved;
		h->size = size + 1 < h->size ? size + 1 : h->size;
		expect_whole(h);
		h->size = size + 1;
	}
	if (h->p) {
		h->size = guest_malloc_usable_size(h->p);
		memset(h->p, h->mark, h->size);
	}
}

static void blocks_keep_their_contents_through_a_long_random_run(void **state)
{
	static struct held held[400];

	(void)state;
	memset(held, 0, sizeof(held));
	for (int i = 0; i < 60000; i++) {
		step(&held[below(sizeof(held) / sizeof(held[0]))]);
		if (i % 256 == 0)
			assert_true(mayfly_p_heap_is_sound());
	}
	for (size_t i = 0; i < sizeof(held) / sizeof(held[0]); i++) {
		if (held[i].p)
			expect_whole(&held[i]);
		guest_free(held[i].p);
	}
	assert_true(mayfly_p_heap_is_sound());
	assert_non_null(guest_malloc(HEAP_SIZE - 64));
}

static void realloc_grows_in_place_where_there_is_room(void **state)
{
	char *p, *q, *r;

	(void)state;
	p = guest_malloc(100);
	assert_ptr_equal(guest_realloc(p, 50000), p); /* the last block: into fresh memory */
	q = guest_malloc(100);
	r = guest_malloc(100);
	guest_free(q);
	assert_ptr_equal(guest_realloc(p, 50090), p); /* into the free block behind it */
	assert_true(guest_realloc(p, 60000) != p);
	guest_free(r);
	assert_null(guest_realloc(guest_realloc(NULL, 10), 0));
	assert_true(mayfly_p_heap_is_sound());
}

static void strdup_and_strndup_copy(void **state)
{
	char *a, *b;

	(void)state;
	a = guest_strdup("some text");
	b = guest_strndup("some text", 4);
	assert_string_equal(a, "some text");
	assert_string_equal(b, "some");
	guest_free(a);
	guest_free(b);
}

/* --- misuse ------------------------------------------------------------------------------- */

static void expect_heap_abort(const char *word)
{
	assert_int_equal(guest_host.abort_code, MAYFLY_ABORT_HEAP);
	if (!strstr(guest_host.abort_message, word))
		fail_msg("\"%s\" does not say \"%s\"", guest_host.abort_message, word);
}

static void freeing_twice_is_found(void **state)
{
	char *a = guest_malloc(100), *b = guest_malloc(100), *c = guest_malloc(100);

	(void)state;
	guest_free(b);
	assert_true(ABORTS(guest_free(b)));
	expect_heap_abort("free(");
	expect_heap_abort("was freed already");
	guest_free(a); /* a takes b in */
	assert_true(ABORTS(guest_free(b)));
	expect_heap_abort("was freed already");
	assert_true(ABORTS(guest_free(a)));
	expect_heap_abort("was freed already");
	guest_free(c);
	assert_true(ABORTS(guest_free(c)));
	expect_heap_abort("was freed already");
	assert_true(ABORTS(guest_realloc(a, 10)));
	expect_heap_abort("realloc(");
}

static void freeing_what_malloc_did_not_give_is_found(void **state)
{
	char *a = guest_malloc(1000);
	char local[64] __attribute__((aligned(16))) = {0};

	(void)state;
	assert_true(ABORTS(guest_free(a + 16)));
	expect_heap_abort("not an address that malloc gave");
	assert_true(ABORTS(guest_free(a + 1)));
	expect_heap_abort("not an address that malloc gave");
	assert_true(ABORTS(guest_free(local + 32)));
	expect_heap_abort("not an address that malloc gave");
	assert_true(ABORTS(guest_free(arena + HEAP_SIZE)));
	expect_heap_abort("not an address that malloc gave");
	assert_true(ABORTS(guest_free((void *)16)));
	expect_heap_abort("not an address that malloc gave");
	guest_free(a);
}

static void a_write_past_the_end_is_found(void **state)
{
	char *a = guest_malloc(100), *b = guest_malloc(100), *c = guest_malloc(100);

	(void)state;
	memset(a, 'x', guest_malloc_usable_size(a) + 1);
	assert_true(ABORTS(guest_free(b)));
	expect_heap_abort("destroyed its header");
	assert_true(ABORTS(guest_free(a)));
	expect_heap_abort("overwritten");
	(void)c;
}

static void a_write_to_a_free_block_is_found(void **state)
{
	char *a, *b;

	(void)state;
	a = guest_malloc(100);
	b = guest_malloc(100);
	guest_malloc(100);
	guest_free(a);
	memset(a, 'x', 16); /* its list pointers */
	assert_true(ABORTS(guest_free(b)));
	expect_heap_abort("free block was written to");
	memset(b - 16, 'x', 8); /* the free block's size behind it */
	assert_true(ABORTS(guest_free(b)));
	expect_heap_abort("free block was written to");
}

static void a_heap_that_was_never_used_refuses_free(void **state)
{
	char local[64] __attribute__((aligned(16))) = {0};

	(void)state;
	guest_free(NULL);
	assert_true(ABORTS(guest_free(local + 16)));
	expect_heap_abort("not an address that malloc gave");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(first_small_allocation_touches_one_page),
		TEST(large_allocation_touches_only_its_header),
		TEST(calloc_of_fresh_memory_touches_only_its_header),
		TEST(freed_memory_is_used_again_before_fresh_memory),
		TEST(calloc_of_used_memory_is_zero),
		TEST(exhausted_heap_gives_null_and_recovers),
		TEST(impossible_sizes_give_null),
		TEST(a_guest_without_heap_gets_null),
		TEST(a_heap_of_odd_bounds_stays_within_them),
		TEST(every_alignment_is_kept),
		TEST(blocks_keep_their_contents_through_a_long_random_run),
		TEST(realloc_grows_in_place_where_there_is_room),
		TEST(strdup_and_strndup_copy),
		TEST(freeing_twice_is_found),
		TEST(freeing_what_malloc_did_not_give_is_found),
		TEST(a_write_past_the_end_is_found),
		TEST(a_write_to_a_free_block_is_found),
		TEST(a_heap_that_was_never_used_refuses_free),
	};

	return cmocka_run_group_tests_name("guest heap", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtqueues: what a driver may do works, and whatever else it does breaks its own queue only.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <pthread.h>
#include <stdatomic.h>

#include "virtq_fixture.h"

static void entry(uint32_t index, uint64_t at, uint32_t len, uint32_t flags, uint16_t next)
{
	const struct driver_piece p = {at, len, false};

	driver_desc(&f.memory.ram, TABLE, index, &p, flags, next);
}

/* The chain that is offered breaks the queue, with this reason, and nothing was done. */
static void assert_breaks(const char *why)
{
	struct virtq_chain c;

	assert_false(virtq_pop(&f.q, &c));
	assert_non_null(f.q.broken);
	assert_string_equal(f.q.broken, why);
	assert_int_equal(f.q.in_flight, 0);
	assert_int_equal(driver_nused(&f.d), 0);
	assert_false(virtq_pop(&f.q, &c));
	assert_false(virtq_pending(&f.q));
}

/* --- chains ------------------------------------------------------------------------------- */

static void chain_has_the_pieces_that_the_driver_wrote(void **state)
{
	static const struct driver_piece pieces[] = {{DATA, 16, false},
						     {DATA + 0x1000, 3, false},
						     {DATA + 0x2000, 512, true},
						     {RAM_HIGH + 5, 1, true}};
	struct virtq_chain c;

	(void)state;
	assert_int_equal(driver_chain(&f.d, pieces, 4), 0);
	assert_true(virtq_pending(&f.q));
	assert_true(virtq_pop(&f.q, &c));
	assert_int_equal(c.head, 0);
	assert_int_equal(c.nin, 2);
	assert_int_equal(c.nout, 2);
	assert_int_equal(c.in_len, 19);
	assert_int_equal(c.out_len, 513);
	assert_ptr_equal(c.in[0].iov_base, host(DATA));
	assert_int_equal(c.in[1].iov_len, 3);
	assert_ptr_equal(c.out[0].iov_base, host(DATA + 0x2000));
	assert_ptr_equal(c.out[1].iov_base, host(RAM_HIGH + 5));
	assert_false(virtq_pending(&f.q));
}

static void empty_queue_gives_nothing_and_is_not_broken(void **state)
{
	struct virtq_chain c;

	(void)state;
	assert_false(virtq_pop(&f.q, &c));
	assert_null(f.q.broken);
}

static void queue_that_is_not_set_up_does_nothing(void **state)
{
	struct virtq_chain c;

	(void)state;
	driver_chain(&f.d, &(struct driver_piece){DATA, 1, true}, 1);
	virtq_reset(&f.q);
	memset(host(0), 0x55, 4096);
	assert_false(virtq_pop(&f.q, &c));
	assert_false(virtq_pending(&f.q));
	assert_false(virtq_wants_interrupt(&f.q));
	assert_false(virtq_set_notify(&f.q, true));
	virtq_push(&f.q, 0, 1);
	virtq_push_all(&f.q, NULL, 0);
	virtq_unpop(&f.q);
	for (uint64_t i = 0; i < 4096; i++)
		assert_int_equal(*(uint8_t *)host(i), 0x55);
}

static void indirect_table_is_a_chain(void **state)
{
	static const struct driver_piece pieces[] = {
		{DATA, 16, false}, {DATA + 64, 8, true}, {DATA + 128, 1, true}};
	struct virtq_chain c;

	(void)state;
	driver_indirect(&f.d, TABLE, pieces, 3);
	assert_true(virtq_pop(&f.q, &c));
	assert_int_equal(c.nin, 1);
	assert_int_equal(c.nout, 2);
	assert_ptr_equal(c.out[1].iov_base, host(DATA + 128));
}

/* 2.7.5.3.2: a device must take these. */
static void descriptors_may_come_before_an_indirect_table(void **state)
{
	struct virtq_chain c;

	(void)state;
	desc(0, DATA, 4, DESC_F_NEXT, 1);
	desc(1, DATA + 16, 4, DESC_F_NEXT, 2);
	desc(2, TABLE, 32, DESC_F_INDIRECT | DESC_F_WRITE, 0);
	entry(0, DATA + 32, 4, DESC_F_NEXT, 1);
	entry(1, DATA + 48, 4, DESC_F_WRITE, 0);
	driver_offer(&f.d, 0);
	assert_true(virtq_pop(&f.q, &c));
	assert_int_equal(c.nin, 3);
	assert_int_equal(c.nout, 1);
}

static void table_need_not_be_aligned(void **state)
{
	static const struct driver_piece pieces[] = {{DATA, 16, false}, {DATA + 64, 8, true}};
	struct virtq_chain c;

	(void)state;
	driver_indirect(&f.d, TABLE + 3, pieces, 2);
	assert_true(virtq_pop(&f.q, &c));
	assert_int_equal(c.out_len, 8);
}

static void chain_is_the_devices_own_copy(void **state)
{
	struct virtq_chain c;

	(void)state;
	driver_chain(&f.d, &(struct driver_piece){DATA, 100, true}, 1);
	assert_true(virtq_pop(&f.q, &c));
	desc(0, DATA + 0x5000, 0xffffffff, 0, 0);
	assert_ptr_equal(c.out[0].iov_base, host(DATA));
	assert_int_equal(c.out[0].iov_len, 100);
}

static void greatest_chain_fits(void **state)
{
	struct driver_piece pieces[VIRTQ_MAX_IOV];
	struct virtq_chain c;

	(void)state;
	for (uint32_t i = 0; i < VIRTQ_MAX_IOV; i++)
		pieces[i] = (struct driver_piece){DATA + i, 1, i > 0};
	use_queue(BIG, VIRTQ_MAX_SIZE);
	driver_chain(&f.d, pieces, VIRTQ_MAX_IOV);
	driver_indirect(&f.d, TABLE, pieces, VIRTQ_MAX_IOV);
	for (int i = 0; i < 2; i++) {
		assert_true(virtq_pop(&f.q, &c));
		assert_int_equal(c.nin + c.nout, VIRTQ_MAX_IOV);
		virtq_push(&f.q, c.head, 0);
	}
}

static void unpop_gives_the_same_chain_again(void **state)
{
	struct virtq_chain a, b;

	(void)state;
	driver_chain(&f.d, &(struct driver_piece){DATA, 1, true}, 1);
	driver_chain(&f.d, &(struct driver_piece){DATA + 1, 1, true}, 1);
	assert_true(virtq_pop(&f.q, &a));
	virtq_unpop(&f.q);
	assert_int_equal(f.q.in_flight, 0);
	assert_true(virtq_pop(&f.q, &b));
	assert_int_equal(a.head, b.head);
	assert_true(virtq_pop(&f.q, &b));
	assert_int_equal(b.head, 1);
}

/* --- what drivers must not do ------------------------------------------------------------- */

static void chain_that_loops_breaks_the_queue(void **state)
{
	(void)state;
	desc(0, DATA, 1, DESC_F_NEXT, 1);
	desc(1, DATA, 1, DESC_F_NEXT, 0);
	driver_offer(&f.d, 0);
	assert_breaks("a chain of descriptors loops");
}

static void descriptor_that_follows_itself_breaks_the_queue(void **state)
{
	(void)state;
	desc(3, DATA, 1, DESC_F_NEXT, 3);
	driver_offer(&f.d, 3);
	assert_breaks("a chain of descriptors loops");
}

static void indirect_table_that_loops_breaks_the_queue(void **state)
{
	(void)state;
	desc(0, TABLE, 32, DESC_F_INDIRECT, 0);
	entry(0, DATA, 1, DESC_F_NEXT, 1);
	entry(1, DATA, 1, DESC_F_NEXT, 0);
	driver_offer(&f.d, 0);
	assert_breaks("a chain of descriptors loops");
}

/* Much longer than it may be: the number of pieces is what bounds it. */
static void endless_indirect_table_breaks_the_queue(void **state)
{
	(void)state;
	desc(0, 0, DRIVER_LOW, DESC_F_INDIRECT, 0);
	driver_desc(&f.memory.ram, 0, 0, &(struct driver_piece){DATA, 1, false}, DESC_F_NEXT,
		    0);
	driver_offer(&f.d, 0);
	assert_breaks("a chain has too many descriptors");
}

static void table_within_a_table_breaks_the_queue(void **state)
{
	(void)state;
	desc(0, TABLE, 32, DESC_F_INDIRECT, 0);
	entry(0, DATA, 1, DESC_F_NEXT, 1);
	entry(1, TABLE, 32, DESC_F_INDIRECT, 0);
	driver_offer(&f.d, 0);
	assert_breaks("an indirect table within an indirect table");
}

static void table_with_a_successor_breaks_the_queue(void **state)
{
	(void)state;
	desc(0, TABLE, 16, DESC_F_INDIRECT | DESC_F_NEXT, 1);
	entry(0, DATA, 1, 0, 0);
	driver_offer(&f.d, 0);
	assert_breaks("an indirect table with descriptors behind it");
}

static void table_of_a_wrong_length_breaks_the_queue(void **state)
{
	static const uint32_t lengths[] = {0, 1, 15, 17, 31, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		use_queue(AT, SIZE);
		desc(0, TABLE, lengths[i], DESC_F_INDIRECT, 0);
		driver_offer(&f.d, 0);
		assert_breaks("an indirect table is no whole number of descriptors long");
	}
}

static void table_outside_of_memory_breaks_the_queue(void **state)
{
	static const struct driver_piece at[] = {
		{DRIVER_LOW - 16, 32, false}, {DRIVER_LOW, 16, false},
		{RAM_HIGH - 16, 32, false},   {RAM_HIGH + DRIVER_HIGH - 16, 32, false},
		{UINT64_MAX - 15, 16, false}, {UINT64_MAX - 7, 32, false},
		{0, 0xfffffff0u, false},      {UINT64_MAX, 0xfffffff0u, false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		use_queue(AT, SIZE);
		desc(0, at[i].at, at[i].len, DESC_F_INDIRECT, 0);
		driver_offer(&f.d, 0);
		assert_breaks("an indirect table is not in memory");
	}
}

static void successor_beyond_the_table_breaks_the_queue(void **state)
{
	(void)state;
	desc(0, DATA, 1, DESC_F_NEXT, SIZE);
	driver_offer(&f.d, 0);
	assert_breaks("a descriptor's successor does not exist");
	use_queue(AT, SIZE);
	desc(0, TABLE, 32, DESC_F_INDIRECT, 0);
	entry(0, DATA, 1, DESC_F_NEXT, 2);
	driver_offer(&f.d, 0);
	assert_breaks("a descriptor's successor does not exist");
}

static void head_that_does_not_exist_breaks_the_queue(void **state)
{
	(void)state;
	driver_offer(&f.d, SIZE);
	assert_breaks("a chain's head does not exist");
	use_queue(AT, SIZE);
	driver_offer(&f.d, UINT16_MAX);
	assert_breaks("a chain's head does not exist");
}

static void descriptor_without_length_breaks_the_queue(void **state)
{
	(void)state;
	desc(0, DATA, 0, 0, 0);
	driver_offer(&f.d, 0);
	assert_breaks("a descriptor has no length");
}

/* The hole between the two pieces of memory included. */
static void descriptor_outside_of_memory_breaks_the_queue(void **state)
{
	static const struct driver_piece at[] = {
		{DRIVER_LOW, 1, false},
		{DRIVER_LOW - 1, 2, false},
		{0, UINT32_MAX, false},
		{RAM_HIGH - 1, 1, false},
		{RAM_HIGH - 1, 2, false},
		{RAM_HIGH + DRIVER_HIGH, 1, false},
		{RAM_HIGH + DRIVER_HIGH - 1, 2, false},
		{UINT64_MAX, 1, false},
		{UINT64_MAX, UINT32_MAX, false},
		{UINT64_MAX - UINT32_MAX + 1, UINT32_MAX, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(at); i++)
		for (uint32_t flags = 0; flags <= DESC_F_WRITE; flags += DESC_F_WRITE) {
			use_queue(AT, SIZE);
			desc(0, at[i].at, at[i].len, flags, 0);
			driver_offer(&f.d, 0);
			assert_breaks("a descriptor points to what is not memory");
		}
}

static void last_bytes_of_memory_may_be_used(void **state)
{
	static const struct driver_piece pieces[] = {{DRIVER_LOW - 1, 1, false},
						     {RAM_HIGH, (uint32_t)DRIVER_HIGH, true}};
	struct virtq_chain c;

	(void)state;
	driver_chain(&f.d, pieces, 2);
	assert_true(virtq_pop(&f.q, &c));
	assert_int_equal(c.out_len, DRIVER_HIGH);
}

static void reading_behind_writing_breaks_the_queue(void **state)
{
	static const struct driver_piece pieces[] = {{DATA, 1, true}, {DATA, 1, false}};

	(void)state;
	driver_chain(&f.d, pieces, 2);
	assert_breaks("a descriptor to read lies behind one to write");
}

static void index_that_leaps_breaks_the_queue(void **state)
{
	(void)state;
	f.d.avail_idx = SIZE;
	driver_offer(&f.d, 0);
	assert_breaks("more chains than there are descriptors");
}

static void index_that_goes_back_breaks_the_queue(void **state)
{
	struct virtq_chain c;

	(void)state;
	driver_chain(&f.d, &(struct driver_piece){DATA, 1, true}, 1);
	assert_true(virtq_pop(&f.q, &c));
	virtq_push(&f.q, c.head, 0);
	f.d.avail_idx = UINT16_MAX;
	driver_offer(&f.d, 0);
	f.d.avail_idx = UINT16_MAX - 1;
	driver_offer(&f.d, 0);
	assert_false(virtq_pop(&f.q, &c));
	assert_string_equal(f.q.broken, "more chains than there are descriptors");
}

/* A driver that offers one descriptor for ever does not make the device hold more and more. */
static void no_more_chains_are_out_than_there_are_descriptors(void **state)
{
	struct virtq_chain c;

	(void)state;
	desc(0, DATA, 1, 0, 0);
	for (uint32_t i = 0; i < SIZE; i++) {
		driver_offer(&f.d, 0);
		assert_true(virtq_pop(&f.q, &c));
	}
	driver_offer(&f.d, 0);
	assert_false(virtq_pop(&f.q, &c));
	assert_string_equal(f.q.broken, "more chains than there are descriptors");
}

static void broken_queue_works_again_after_a_reset(void **state)
{
	struct virtq_chain c;

	(void)state;
	desc(0, DATA, 0, 0, 0);
	driver_offer(&f.d, 0);
	assert_breaks("a descriptor has no length");
	use_queue(AT, SIZE);
	assert_null(f.q.broken);
	driver_chain(&f.d, &(struct driver_piece){DATA, 1, true}, 1);
	assert_true(virtq_pop(&f.q, &c));
}

static void first_reason_stays(void **state)
{
	(void)state;
	virtq_break(&f.q, "first");
	virtq_break(&f.q, "second");
	assert_string_equal(f.q.broken, "first");
}

/* --- memory that changes while it is read ------------------------------------------------- */

static _Atomic(bool) done;

static void *scribble(void *unused)
{
	static const uint64_t addresses[] = {DATA, DRIVER_LOW - 8, RAM_HIGH - 4,
					     UINT64_MAX - 8};
	static const uint32_t lengths[] = {16, 0, UINT32_MAX, 1};
	uint64_t *addr = host(AT);
	uint32_t *len = host(AT + 8);
	uint16_t *flags = host(AT + 12), *next = host(AT + 14);

	(void)unused;
	for (uint32_t i = 0; !done; i++) {
		__atomic_store_n(addr, addresses[i % 4], __ATOMIC_RELAXED);
		__atomic_store_n(len, lengths[i / 4 % 4], __ATOMIC_RELAXED);
		__atomic_store_n(flags, (uint16_t)(i / 16 % 8), __ATOMIC_RELAXED);
		__atomic_store_n(next, (uint16_t)(i / 7), __ATOMIC_RELAXED);
	}
	return NULL;
}

static void pieces_are_memory_even_if_descriptors_change_meanwhile(void **state)
{
	const struct ram *ram = &f.memory.ram;
	uint32_t good = 0;
	pthread_t thread;

	(void)state;
	done = false;
	assert_int_equal(pthread_create(&thread, NULL, scribble, NULL), 0);
	for (uint32_t i = 0; i < 200000 || !good; i++) {
		struct virtq_chain c;

		f.q.broken = NULL;
		f.q.next_avail = f.d.avail_idx;
		driver_offer(&f.d, 0);
		if (!virtq_pop(&f.q, &c))
			continue;
		good++;
		for (uint32_t k = 0; k < c.nin + c.nout; k++) {
			uint64_t at = (uint64_t)((uint8_t *)c.in[k].iov_base - ram->mem);

			assert_true(range_within(at, c.in[k].iov_len, ram->len));
			assert_int_not_equal(c.in[k].iov_len, 0);
		}
		virtq_push(&f.q, c.head, 0);
	}
	done = true;
	pthread_join(thread, NULL);
	assert_true(good > 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(chain_has_the_pieces_that_the_driver_wrote),
		T(empty_queue_gives_nothing_and_is_not_broken),
		T(queue_that_is_not_set_up_does_nothing),
		T(indirect_table_is_a_chain),
		T(descriptors_may_come_before_an_indirect_table),
		T(table_need_not_be_aligned),
		T(chain_is_the_devices_own_copy),
		T(greatest_chain_fits),
		T(unpop_gives_the_same_chain_again),
		T(chain_that_loops_breaks_the_queue),
		T(descriptor_that_follows_itself_breaks_the_queue),
		T(indirect_table_that_loops_breaks_the_queue),
		T(endless_indirect_table_breaks_the_queue),
		T(table_within_a_table_breaks_the_queue),
		T(table_with_a_successor_breaks_the_queue),
		T(table_of_a_wrong_length_breaks_the_queue),
		T(table_outside_of_memory_breaks_the_queue),
		T(successor_beyond_the_table_breaks_the_queue),
		T(head_that_does_not_exist_breaks_the_queue),
		T(descriptor_without_length_breaks_the_queue),
		T(descriptor_outside_of_memory_breaks_the_queue),
		T(last_bytes_of_memory_may_be_used),
		T(reading_behind_writing_breaks_the_queue),
		T(index_that_leaps_breaks_the_queue),
		T(index_that_goes_back_breaks_the_queue),
		T(no_more_chains_are_out_than_there_are_descriptors),
		T(broken_queue_works_again_after_a_reset),
		T(first_reason_stays),
		T(pieces_are_memory_even_if_descriptors_change_meanwhile),
	};

	return cmocka_run_group_tests_name("virtq", tests, NULL, NULL);
}

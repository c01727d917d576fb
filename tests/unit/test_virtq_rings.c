/* SPDX-License-Identifier: Apache-2.0 */
/* Virtqueues: how they are set up, what goes back to the driver, who is told, what is saved. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include "fail_alloc.h"
#include "virtq_fixture.h"

/* --- setting up --------------------------------------------------------------------------- */

struct layout {
	uint32_t size;
	uint64_t desc, avail, used;
};

static bool enables(const struct layout *l)
{
	bool enabled;

	virtq_reset(&f.q);
	f.q.size = (uint16_t)l->size;
	f.q.desc = l->desc;
	f.q.avail = l->avail;
	f.q.used = l->used;
	enabled = virtq_enable(&f.q);
	assert_int_equal(f.q.broken == NULL, enabled);
	assert_int_equal(f.q.ready, enabled);
	return enabled;
}

static void size_is_a_power_of_two_that_is_offered(void **state)
{
	(void)state;
	for (uint32_t size = 0; size <= UINT16_MAX; size++) {
		const struct layout l = {size, 0, 0x40000, 0x80000};
		bool power = size && (size & (size - 1)) == 0;

		assert_int_equal(enables(&l), power && size <= VIRTQ_MAX_SIZE);
	}
}

static void parts_are_aligned(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 16; i++) {
		assert_int_equal(enables(&(struct layout){8, 0x100 + i, 0x200, 0x300}), i == 0);
		assert_int_equal(enables(&(struct layout){8, 0x100, 0x200 + i, 0x300}),
				 i % 2 == 0);
		assert_int_equal(enables(&(struct layout){8, 0x100, 0x200, 0x300 + i}),
				 i % 4 == 0);
	}
}

static void parts_are_memory(void **state)
{
	static const uint64_t ends[] = {DRIVER_LOW, RAM_HIGH + DRIVER_HIGH};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		uint64_t end = ends[i];

		assert_true(enables(&(struct layout){8, end - 128, 0x200, 0x300}));
		assert_false(enables(&(struct layout){8, end - 112, 0x200, 0x300}));
		assert_true(enables(&(struct layout){8, 0x100, end - 22, 0x300}));
		assert_false(enables(&(struct layout){8, 0x100, end - 20, 0x300}));
		assert_true(enables(&(struct layout){8, 0x100, 0x200, end - 72}));
		assert_false(enables(&(struct layout){8, 0x100, 0x200, end - 68}));
		assert_false(enables(&(struct layout){8, end, 0x200, 0x300}));
	}
	assert_false(enables(&(struct layout){8, RAM_HIGH - 64, 0x200, 0x300}));
	assert_false(enables(&(struct layout){8, UINT64_MAX - 15, 0x200, 0x300}));
	assert_false(enables(&(struct layout){8, 0x100, UINT64_MAX - 1, 0x300}));
	assert_false(enables(&(struct layout){8, 0x100, 0x200, UINT64_MAX - 3}));
}

static void queue_that_is_not_there_cannot_be_enabled(void **state)
{
	struct virtq none;

	(void)state;
	assert_int_equal(virtq_init(&none, &f.memory.ram, 0, NULL), 0);
	none.size = 1;
	none.used = 0x300;
	assert_false(virtq_enable(&none));
	virtq_fini(&none);
}

static void out_of_memory_is_reported(void **state)
{
	struct virtq q;
	mayfly_error err;

	(void)state;
	fail_alloc_at(1);
	assert_int_equal(virtq_init(&q, &f.memory.ram, 8, &err), MAYFLY_E_NOMEM);
	assert_true(fail_alloc_end());
	virtq_fini(&q);
}

/* --- each popped chain is pushed once ----------------------------------------------------- */

/* One-descriptor chains: who is where. */
struct traffic {
	uint8_t state[SIZE]; /* 0 the driver's, 1 offered, 2 popped */
	uint32_t len[SIZE];
	uint32_t popped, pushed, taken;
};

static void offer_one(struct traffic *t)
{
	uint32_t i = draw(SIZE);

	if (t->state[i])
		return;
	t->state[i] = 1;
	t->len[i] = 1 + draw(1000);
	desc(i, DATA, t->len[i], DESC_F_WRITE, 0);
	driver_offer(&f.d, (uint16_t)i);
}

static void pop_one(struct traffic *t)
{
	struct virtq_chain c;
	bool waiting = virtq_pending(&f.q);

	assert_int_equal(virtq_pop(&f.q, &c), waiting);
	if (!waiting)
		return;
	assert_int_equal(t->state[c.head], 1);
	assert_int_equal(c.out_len, t->len[c.head]);
	t->state[c.head] = 2;
	t->popped++;
}

static void push_one(struct traffic *t)
{
	uint32_t i = draw(SIZE);

	if (t->state[i] != 2)
		return;
	virtq_push(&f.q, (uint16_t)i, t->len[i]);
	t->state[i] = 3;
	t->pushed++;
}

static void take_one(struct traffic *t)
{
	uint32_t head, len;

	if (!driver_used(&f.d, &head, &len))
		return;
	assert_in_range(head, 0, SIZE - 1);
	assert_int_equal(t->state[head], 3);
	assert_int_equal(len, t->len[head]);
	t->state[head] = 0;
	t->taken++;
}

/* In any order, and often enough for the indices of 16 bits to wrap. */
static void each_popped_chain_is_pushed_once(void **state)
{
	static void (*const steps[])(struct traffic *) = {offer_one, pop_one, push_one,
							  take_one};
	struct traffic t = {.popped = 0};

	(void)state;
	while (t.taken < 3 * 65536)
		steps[draw(4)](&t);
	assert_null(f.q.broken);
	assert_int_equal(f.q.in_flight, t.popped - t.pushed);
	assert_int_equal(driver_nused(&f.d), t.pushed - t.taken);
}

static void push_all_shows_all_or_nothing(void **state)
{
	const struct virtq_used used[] = {{1, 10}, {0, 20}};
	struct virtq_chain c;
	uint32_t head, len;

	(void)state;
	driver_chain(&f.d, &(struct driver_piece){DATA, 10, true}, 1);
	driver_chain(&f.d, &(struct driver_piece){DATA, 20, true}, 1);
	assert_true(virtq_pop(&f.q, &c));
	assert_true(virtq_pop(&f.q, &c));
	virtq_push_all(&f.q, used, 2);
	assert_int_equal(driver_nused(&f.d), 2);
	assert_true(driver_used(&f.d, &head, &len));
	assert_int_equal(head, 1);
	assert_true(driver_used(&f.d, &head, &len));
	assert_int_equal(len, 20);
	assert_int_equal(f.q.in_flight, 0);
}

static void push_after_a_reset_goes_nowhere(void **state)
{
	struct virtq_chain c;

	(void)state;
	driver_chain(&f.d, &(struct driver_piece){DATA, 1, true}, 1);
	assert_true(virtq_pop(&f.q, &c));
	use_queue(AT, SIZE);
	virtq_push(&f.q, c.head, 1);
	assert_int_equal(driver_nused(&f.d), 0);
	assert_int_equal(f.q.in_flight, 0);
}

/* --- notifications ------------------------------------------------------------------------ */

static void push_some(uint32_t n)
{
	struct virtq_chain c;

	for (uint32_t i = 0; i < n; i++) {
		driver_chain(&f.d, &(struct driver_piece){DATA, 1, true}, 1);
		assert_true(virtq_pop(&f.q, &c));
		virtq_push(&f.q, c.head, 1);
	}
}

static void interrupt_is_wanted_once_for_what_was_pushed(void **state)
{
	(void)state;
	for (int event_idx = 0; event_idx < 2; event_idx++) {
		use_queue(AT, SIZE);
		f.q.event_idx = event_idx;
		assert_false(virtq_wants_interrupt(&f.q));
		push_some(3);
		assert_true(virtq_wants_interrupt(&f.q));
		assert_false(virtq_wants_interrupt(&f.q));
	}
}

static void driver_can_switch_interrupts_off(void **state)
{
	(void)state;
	driver_set_flags(&f.d, 1);
	push_some(1);
	assert_false(virtq_wants_interrupt(&f.q));
	driver_set_flags(&f.d, 0);
	assert_false(virtq_wants_interrupt(&f.q));
	push_some(1);
	assert_true(virtq_wants_interrupt(&f.q));
}

/* 2.7.7.2: when the entry with the driver's number was used, wherever the numbers wrap. */
static void event_index_says_when_to_interrupt(void **state)
{
	uint16_t at = 0;

	(void)state;
	f.q.event_idx = true;
	for (uint32_t round = 0; round < 70000; round++) {
		uint32_t n = 1 + draw(SIZE);
		uint16_t event = (uint16_t)(at + draw(3 * SIZE) - SIZE);
		bool within = (uint16_t)(event - at) < n;

		driver_set_used_event(&f.d, event);
		push_some(n);
		at = (uint16_t)(at + n);
		assert_int_equal(virtq_wants_interrupt(&f.q), within);
	}
}

static void flag_is_ignored_with_event_indices(void **state)
{
	(void)state;
	f.q.event_idx = true;
	driver_set_flags(&f.d, 1);
	push_some(1);
	assert_true(virtq_wants_interrupt(&f.q));
}

static void device_can_switch_notifications_off_by_flag(void **state)
{
	(void)state;
	assert_false(virtq_set_notify(&f.q, false));
	assert_int_equal(driver_used_flags(&f.d), 1);
	assert_false(virtq_set_notify(&f.q, true));
	assert_int_equal(driver_used_flags(&f.d), 0);
}

static void device_asks_for_the_next_notification_by_index(void **state)
{
	(void)state;
	f.q.event_idx = true;
	push_some(5);
	virtq_set_notify(&f.q, false);
	assert_int_equal(driver_avail_event(&f.d), 0);
	assert_false(virtq_set_notify(&f.q, true));
	assert_int_equal(driver_avail_event(&f.d), 5);
	assert_int_equal(driver_used_flags(&f.d), 0);
}

static void what_came_before_switching_on_is_not_missed(void **state)
{
	(void)state;
	for (int event_idx = 0; event_idx < 2; event_idx++) {
		use_queue(AT, SIZE);
		f.q.event_idx = event_idx;
		virtq_set_notify(&f.q, false);
		driver_chain(&f.d, &(struct driver_piece){DATA, 1, true}, 1);
		assert_true(virtq_set_notify(&f.q, true));
	}
}

/* --- snapshots ---------------------------------------------------------------------------- */

static void saved_queue_goes_on_where_it_was(void **state)
{
	struct writer w = {0}, again = {0};
	struct virtq_chain c;
	struct reader r;

	(void)state;
	f.q.event_idx = true;
	push_some(5);
	assert_true(virtq_wants_interrupt(&f.q));
	driver_chain(&f.d, &(struct driver_piece){DATA, 7, true}, 1);
	virtq_save(&f.q, &w);
	virtq_reset(&f.q);
	r = (struct reader){w.data, w.len, false};
	assert_true(virtq_load(&f.q, &r));
	assert_int_equal(r.left, 0);
	virtq_save(&f.q, &again);
	assert_int_equal(again.len, w.len);
	assert_memory_equal(again.data, w.data, w.len);
	assert_true(virtq_pop(&f.q, &c));
	assert_int_equal(c.out_len, 7);
	virtq_push(&f.q, c.head, 7);
	assert_int_equal(driver_nused(&f.d), 6);
	free(w.data);
	free(again.data);
}

/* Drivers may leave anything in registers: that must not keep a machine from going on. */
static void half_set_up_queue_can_be_restored(void **state)
{
	struct writer w = {0};
	struct reader r;

	(void)state;
	virtq_reset(&f.q);
	f.q.size = UINT16_MAX;
	f.q.desc = f.q.avail = f.q.used = UINT64_MAX;
	virtq_save(&f.q, &w);
	r = (struct reader){w.data, w.len, false};
	assert_true(virtq_load(&f.q, &r));
	assert_int_equal(f.q.size, UINT16_MAX);
	assert_false(virtq_enable(&f.q));
	free(w.data);
}

static void broken_queue_is_still_broken_after_a_restore(void **state)
{
	struct writer w = {0};
	struct reader r;

	(void)state;
	virtq_break(&f.q, "test");
	virtq_save(&f.q, &w);
	r = (struct reader){w.data, w.len, false};
	assert_true(virtq_load(&f.q, &r));
	assert_non_null(f.q.broken);
	free(w.data);
}

/* Each byte wrong in turn, and each length too short: never a queue outside of memory. */
static void damaged_state_is_refused_or_valid(void **state)
{
	uint32_t refused = 0;
	struct writer w = {0};

	(void)state;
	virtq_save(&f.q, &w);
	for (size_t i = 0; i < w.len; i++) {
		struct reader cut = {w.data, i, false}, r = {w.data, w.len, false};

		assert_false(virtq_load(&f.q, &cut));
		assert_false(f.q.ready);
		w.data[i] ^= 0xff;
		if (!virtq_load(&f.q, &r))
			refused++;
		else if (f.q.ready)
			assert_true(ram_span(f.q.ram, gpa(f.q.desc), 16 * (uint64_t)f.q.size) &&
				    ram_span(f.q.ram, gpa(f.q.avail), 6) &&
				    ram_span(f.q.ram, gpa(f.q.used), 6));
		w.data[i] ^= 0xff;
	}
	assert_true(refused > 8);
	free(w.data);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(size_is_a_power_of_two_that_is_offered),
		T(parts_are_aligned),
		T(parts_are_memory),
		T(queue_that_is_not_there_cannot_be_enabled),
		T(out_of_memory_is_reported),
		T(each_popped_chain_is_pushed_once),
		T(push_all_shows_all_or_nothing),
		T(push_after_a_reset_goes_nowhere),
		T(interrupt_is_wanted_once_for_what_was_pushed),
		T(driver_can_switch_interrupts_off),
		T(event_index_says_when_to_interrupt),
		T(flag_is_ignored_with_event_indices),
		T(device_can_switch_notifications_off_by_flag),
		T(device_asks_for_the_next_notification_by_index),
		T(what_came_before_switching_on_is_not_missed),
		T(saved_queue_goes_on_where_it_was),
		T(half_set_up_queue_can_be_restored),
		T(broken_queue_is_still_broken_after_a_restore),
		T(damaged_state_is_refused_or_valid),
	};

	return cmocka_run_group_tests_name("virtq_rings", tests, NULL, NULL);
}

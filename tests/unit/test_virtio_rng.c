/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers for guests: some for each request, and not endlessly many. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <linux/virtio_mmio.h>
#include <string.h>

#include "fail_alloc.h"
#include "virtio/rng.h"
#include "virtio_driver.h"

#define QUEUE 0x1000u
#define DATA 0x20000u

static struct driver d;
static struct driver_queue q;

static int setup(void **state)
{
	struct virtio_device *dev;

	(void)state;
	assert_int_equal(rng_new(&dev, NULL), 0);
	driver_init(&d, dev, false);
	driver_queue_init(&q, &d.memory.ram, QUEUE, 64);
	assert_true(driver_negotiate(&d, VIRTIO_VERSION_1));
	driver_set_queue(&d, 0, &q);
	driver_go(&d);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	driver_fini(&d);
	return 0;
}

static uint8_t *memory(uint64_t offset)
{
	return driver_at(&d.memory.ram, DATA + offset, 1);
}

/* The length that was given. */
static uint32_t ask(const struct driver_piece *pieces, uint32_t n)
{
	uint16_t head = driver_chain(&q, pieces, n);
	uint32_t used, len;

	driver_notify(&d, 0);
	assert_true(driver_used(&q, &used, &len));
	assert_int_equal(used, head);
	return len;
}

static void request_is_filled_and_nothing_else(void **state)
{
	static const uint8_t zeroes[64];

	(void)state;
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_DEVICE_ID), 4);
	assert_int_equal(ask(&(struct driver_piece){DATA + 64, 64, true}, 1), 64);
	assert_memory_equal(memory(0), zeroes, 64);
	assert_memory_not_equal(memory(64), zeroes, 64);
	assert_memory_equal(memory(128), zeroes, 64);
}

static void no_two_requests_get_the_same(void **state)
{
	(void)state;
	ask(&(struct driver_piece){DATA, 32, true}, 1);
	ask(&(struct driver_piece){DATA + 32, 32, true}, 1);
	assert_memory_not_equal(memory(0), memory(32), 32);
}

static void pieces_are_filled_one_after_the_other(void **state)
{
	static const struct driver_piece pieces[] = {
		{DATA, 16, true}, {DATA + 100, 16, true}, {DATA + 200, 16, true}};
	static const uint8_t zeroes[16];

	(void)state;
	assert_int_equal(ask(pieces, 3), 48);
	for (uint64_t i = 0; i < 3; i++)
		assert_memory_not_equal(memory(100 * i), zeroes, 16);
}

static void request_is_given_part_of_what_is_too_much(void **state)
{
	static const struct driver_piece pieces[] = {{DATA, 3000, true},
						     {DATA + 3000, 60000, true}};
	static const uint8_t zeroes[60000];

	(void)state;
	assert_int_equal(ask(pieces, 2), 4096);
	assert_memory_equal(memory(4096), zeroes, sizeof(zeroes) - 4096);
}

static void request_without_room_is_given_back(void **state)
{
	(void)state;
	assert_int_equal(ask(&(struct driver_piece){DATA, 16, false}, 1), 0);
	assert_int_equal(ask(&(struct driver_piece){DATA, 16, true}, 1), 16);
}

/* As a driver does that never stops: each turn ends, and all are served. */
static void flood_is_served_in_turns(void **state)
{
	(void)state;
	for (int i = 0; i < 64; i++)
		driver_chain(&q, &(struct driver_piece){DATA, 1, true}, 1);
	driver_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	driver_turn(&d);
	assert_int_equal(driver_nused(&q), 16);
	driver_run(&d);
	assert_int_equal(driver_nused(&q), 64);
}

/*
 * Saved while the device had switched notifications off, and was to look once more: the driver of
 * the restored one would never notify.
 */
static void restored_device_asks_for_notifications(void **state)
{
	struct writer w = {0};
	struct reader r;

	(void)state;
	for (int i = 0; i < 16; i++)
		driver_chain(&q, &(struct driver_piece){DATA, 1, true}, 1);
	driver_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	driver_turn(&d);
	assert_int_equal(driver_used_flags(&q), 1);
	virtio_mmio_save(d.t, &w);
	/* The notification that it has given itself is not part of it. */
	driver_run(&d);
	*(uint16_t *)driver_at(&d.memory.ram, q.used, 2) = 1;
	r = (struct reader){w.data, w.len, false};
	assert_int_equal(virtio_mmio_load(d.t, &r, NULL), 0);
	virtio_mmio_resume(d.t);
	driver_run(&d);
	assert_int_equal(driver_used_flags(&q), 0);
	free(w.data);
}

static void out_of_memory_is_reported(void **state)
{
	struct virtio_device *dev = NULL;
	size_t n;

	(void)state;
	for (n = 1;; n++) {
		int r;

		fail_alloc_at(n);
		r = rng_new(&dev, NULL);
		if (!fail_alloc_end())
			break;
		assert_int_equal(r, MAYFLY_E_NOMEM);
	}
	assert_int_equal(n, 3);
	dev->ops->free(dev);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(request_is_filled_and_nothing_else),
		T(no_two_requests_get_the_same),
		T(pieces_are_filled_one_after_the_other),
		T(request_is_given_part_of_what_is_too_much),
		T(request_without_room_is_given_back),
		T(flood_is_served_in_turns),
		T(restored_device_asks_for_notifications),
		T(out_of_memory_is_reported),
	};

	return cmocka_run_group_tests_name("virtio_rng", tests, NULL, NULL);
}

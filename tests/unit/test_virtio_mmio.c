/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of virtio-mmio, as good drivers, old drivers and hostile ones use them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <linux/virtio_mmio.h>

#include "echo_device.h"

/* --- registers ---------------------------------------------------------------------------- */

static void device_says_what_it_is(void **state)
{
	(void)state;
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_DEVICE_ID), 42);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_VENDOR_ID), 0x4c46594d);
	driver_write(&d, VIRTIO_MMIO_QUEUE_SEL, 1);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_QUEUE_NUM_MAX), 2 * SIZE);
}

static void registers_are_32_bits_wide(void **state)
{
	static const uint32_t widths[] = {1, 2, 8};

	(void)state;
	driver_write(&d, VIRTIO_MMIO_STATUS, 1);
	for (size_t i = 0; i < ARRAY_SIZE(widths); i++) {
		bus_write(&d.bus, DRIVER_BASE + VIRTIO_MMIO_STATUS, widths[i], 2);
		for (uint64_t at = 0; at < VIRTIO_MMIO_CONFIG - 8; at++)
			assert_int_equal(bus_read(&d.bus, DRIVER_BASE + at, widths[i]), 0);
	}
	assert_int_equal(bus_read(&d.bus, DRIVER_BASE + 2, 4), 0);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_STATUS), 1);
}

static void configuration_is_read_in_any_width(void **state)
{
	(void)state;
	assert_int_equal(driver_read_config(&d, 3, 1), 4);
	assert_int_equal(driver_read_config(&d, 2, 2), 0x0403);
	assert_int_equal(driver_read_config(&d, 4, 4), 0x08070605);
	assert_int_equal(driver_read_config(&d, 0, 8), 0x0807060504030201);
	assert_int_equal(driver_read_config(&d, 1, 4), 0x05040302);
}

static void configuration_ends(void **state)
{
	(void)state;
	assert_int_equal(driver_read_config(&d, 10, 4), 0x0c0b);
	assert_int_equal(driver_read_config(&d, 12, 1), 0);
	assert_int_equal(driver_read_config(&d, 0xf8, 8), 0);
	bus_write(&d.bus, DRIVER_BASE + VIRTIO_MMIO_CONFIG + 10, 4, 0xddccbbaa);
	bus_write(&d.bus, DRIVER_BASE + VIRTIO_MMIO_CONFIG + 12, 4, 0x11223344);
	assert_int_equal(echo->config[10], 0xaa);
	assert_int_equal(echo->config[11], 0xbb);
}

/* Early consoles do that. */
static void configuration_is_there_before_the_driver(void **state)
{
	(void)state;
	bus_write(&d.bus, DRIVER_BASE + VIRTIO_MMIO_CONFIG + 4, 4, 'x');
	assert_int_equal(echo->config[4], 'x');
	assert_int_equal(echo->config[5], 0);
}

static void unknown_selectors_read_as_nothing(void **state)
{
	(void)state;
	driver_write(&d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	driver_write(&d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, UINT32_MAX);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	driver_write(&d, VIRTIO_MMIO_QUEUE_SEL, QUEUES);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	driver_write(&d, VIRTIO_MMIO_QUEUE_SEL, UINT32_MAX);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	for (uint32_t reg = 0; reg < VIRTIO_MMIO_CONFIG; reg += 4)
		if (reg != VIRTIO_MMIO_QUEUE_SEL)
			driver_write(&d, reg, 1);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_QUEUE_READY), 0);
	for (uint32_t i = 0; i < QUEUES; i++)
		assert_false(echo->dev.queues[i].ready);
}

static void shared_memory_is_not_there(void **state)
{
	(void)state;
	driver_write(&d, VIRTIO_MMIO_SHM_SEL, 0);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_SHM_LEN_HIGH), UINT32_MAX);
}

/* --- features and status ------------------------------------------------------------------ */

static void features_are_the_devices_and_the_rings(void **state)
{
	(void)state;
	assert_int_equal(driver_features(&d), FEATURE | VIRTIO_VERSION_1 |
						      VIRTIO_RING_EVENT_IDX |
						      VIRTIO_RING_INDIRECT);
}

static void features_that_are_not_offered_are_refused(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 64; i++) {
		uint64_t bit = (uint64_t)1 << i;

		assert_int_equal(driver_negotiate(&d, VIRTIO_VERSION_1 | bit),
				 (driver_features(&d) & bit) != 0);
	}
}

static void version_2_needs_its_feature(void **state)
{
	(void)state;
	assert_false(driver_negotiate(&d, FEATURE));
	driver_go(&d);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_STATUS),
			 VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	assert_int_equal(echo->starts, 0);
}

static void features_stay_once_agreed_on(void **state)
{
	(void)state;
	assert_true(driver_negotiate(&d, VIRTIO_VERSION_1 | FEATURE));
	driver_write(&d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	driver_write(&d, VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
	driver_go(&d);
	assert_int_equal(echo->started_with, VIRTIO_VERSION_1 | FEATURE);
}

static void driver_can_try_other_features(void **state)
{
	(void)state;
	assert_false(driver_negotiate(&d, VIRTIO_VERSION_1 | (uint64_t)1 << 40));
	driver_write(&d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	driver_write(&d, VIRTIO_MMIO_DRIVER_FEATURES, 1);
	driver_write(&d, VIRTIO_MMIO_STATUS, VIRTIO_FEATURES_OK);
	assert_true(driver_read(&d, VIRTIO_MMIO_STATUS) & VIRTIO_FEATURES_OK);
}

static void status_bits_are_added_and_none_is_the_devices(void **state)
{
	(void)state;
	driver_write(&d, VIRTIO_MMIO_STATUS, VIRTIO_ACKNOWLEDGE);
	driver_write(&d, VIRTIO_MMIO_STATUS, VIRTIO_DRIVER);
	driver_write(&d, VIRTIO_MMIO_STATUS, VIRTIO_NEEDS_RESET | VIRTIO_FAILED);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_STATUS),
			 VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FAILED);
}

static void device_starts_once(void **state)
{
	(void)state;
	run_device();
	driver_go(&d);
	driver_write(&d, VIRTIO_MMIO_STATUS, VIRTIO_DRIVER_OK);
	assert_int_equal(echo->starts, 1);
}

static void reset_forgets_everything(void **state)
{
	(void)state;
	run_device();
	chain(0);
	driver_notify(&d, 0);
	assert_true(d.level);
	driver_write(&d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(echo->stops, 1);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_STATUS), 0);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	assert_false(d.level);
	for (uint32_t i = 0; i < QUEUES; i++) {
		driver_write(&d, VIRTIO_MMIO_QUEUE_SEL, i);
		assert_int_equal(driver_read(&d, VIRTIO_MMIO_QUEUE_READY), 0);
		assert_int_equal(echo->dev.queues[i].desc, 0);
	}
	assert_int_equal(echo->dev.features, 0);
	driver_write(&d, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(echo->stops, 1);
	run_device();
	assert_int_equal(echo->starts, 2);
}

/* --- queues ------------------------------------------------------------------------------- */

static void queue_that_is_ready_does_not_change(void **state)
{
	static const uint32_t regs[] = {
		VIRTIO_MMIO_QUEUE_NUM,	      VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_DESC_HIGH,  VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_HIGH, VIRTIO_MMIO_QUEUE_USED_LOW,
		VIRTIO_MMIO_QUEUE_USED_HIGH};
	const struct virtq *q = &echo->dev.queues[0];

	(void)state;
	run_device();
	chain(0);
	driver_notify(&d, 0);
	driver_write(&d, VIRTIO_MMIO_QUEUE_SEL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
		driver_write(&d, regs[i], 2);
	driver_write(&d, VIRTIO_MMIO_QUEUE_READY, 1);
	assert_int_equal(q->size, SIZE);
	assert_int_equal(q->desc, queues[0].desc);
	assert_int_equal(q->avail, queues[0].avail);
	assert_int_equal(q->used, queues[0].used);
	assert_int_equal(q->next_avail, 1);
}

static void queue_can_be_taken_away_and_given_back(void **state)
{
	(void)state;
	run_device();
	driver_write(&d, VIRTIO_MMIO_QUEUE_SEL, 0);
	driver_write(&d, VIRTIO_MMIO_QUEUE_READY, 0);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_QUEUE_READY), 0);
	chain(0);
	driver_notify(&d, 0);
	assert_int_equal(driver_nused(&queues[0]), 0);
	/* What was offered meanwhile is served without another notification. */
	driver_set_queue(&d, 0, &queues[0]);
	driver_run(&d);
	assert_int_equal(driver_nused(&queues[0]), 1);
}

static void wrong_queue_asks_for_a_reset(void **state)
{
	(void)state;
	assert_true(driver_negotiate(&d, VIRTIO_VERSION_1));
	queues[0].desc = DRIVER_LOW;
	driver_set_queue(&d, 0, &queues[0]);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_QUEUE_READY), 0);
	assert_true(driver_read(&d, VIRTIO_MMIO_STATUS) & VIRTIO_NEEDS_RESET);
	/* 2.1.2: the driver is told when it is at work only. */
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

static void queue_larger_than_offered_is_refused(void **state)
{
	static const uint32_t sizes[] = {0, 3, 2 * SIZE, 65536, 65536 + SIZE, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_true(driver_negotiate(&d, VIRTIO_VERSION_1));
		driver_write(&d, VIRTIO_MMIO_QUEUE_SEL, 0);
		driver_write(&d, VIRTIO_MMIO_QUEUE_NUM, sizes[i]);
		driver_write(&d, VIRTIO_MMIO_QUEUE_READY, 1);
		assert_int_equal(driver_read(&d, VIRTIO_MMIO_QUEUE_READY), 0);
	}
}

static void hostile_chain_asks_for_a_reset_and_others_go_on(void **state)
{
	(void)state;
	run_device();
	driver_offer(&queues[0], UINT16_MAX);
	driver_notify(&d, 0);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_STATUS), RUNNING | VIRTIO_NEEDS_RESET);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	assert_non_null(echo->dev.broken);
	chain(1);
	driver_notify(&d, 1);
	assert_int_equal(driver_nused(&queues[1]), 1);
	run_device();
	chain(0);
	driver_notify(&d, 0);
	assert_int_equal(driver_nused(&queues[0]), 1);
}

/* --- notifications ------------------------------------------------------------------------ */

static void notification_serves_its_queue(void **state)
{
	(void)state;
	run_device();
	chain(1);
	driver_notify(&d, 1);
	assert_int_equal(echo->notified[0], 0);
	assert_int_equal(echo->notified[1], 1);
	assert_int_equal(driver_nused(&queues[1]), 1);
}

/* As the hypervisor does it, without an exit. */
static void eventfd_is_a_notification(void **state)
{
	uint64_t one = 1;

	(void)state;
	run_device();
	chain(0);
	assert_int_equal(write(virtio_mmio_notify_fd(d.t, 0), &one, 8), 8);
	driver_run(&d);
	assert_int_equal(driver_nused(&queues[0]), 1);
	assert_int_equal(virtio_mmio_notify_fd(d.t, QUEUES), -1);
}

static void notification_without_a_queue_is_ignored(void **state)
{
	(void)state;
	driver_notify(&d, 0);
	assert_true(driver_negotiate(&d, VIRTIO_VERSION_1));
	driver_go(&d);
	for (uint32_t i = 0; i < 40; i++)
		driver_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, i);
	driver_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	driver_run(&d);
	assert_int_equal(echo->notified[0] + echo->notified[1], 0);
}

static void what_was_offered_before_the_start_is_served(void **state)
{
	(void)state;
	assert_true(driver_negotiate(&d, VIRTIO_VERSION_1));
	driver_set_queue(&d, 0, &queues[0]);
	chain(0);
	driver_notify(&d, 0);
	assert_int_equal(driver_nused(&queues[0]), 0);
	driver_go(&d);
	driver_run(&d);
	assert_int_equal(driver_nused(&queues[0]), 1);
}

/* One turn of the loop for each part: others come in between. */
static void rest_is_served_in_another_turn(void **state)
{
	(void)state;
	run_device();
	echo->most = 2;
	for (int i = 0; i < 5; i++)
		chain(0);
	driver_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	driver_turn(&d);
	assert_int_equal(driver_nused(&queues[0]), 2);
	driver_run(&d);
	assert_int_equal(driver_nused(&queues[0]), 5);
}

/* --- interrupts --------------------------------------------------------------------------- */

static void interrupt_is_a_level_until_acknowledged(void **state)
{
	(void)state;
	run_device();
	chain(0);
	driver_notify(&d, 0);
	chain(0);
	driver_notify(&d, 0);
	assert_true(d.level);
	assert_int_equal(d.changes, 1);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	driver_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, ~(uint32_t)VIRTIO_MMIO_INT_VRING);
	assert_true(d.level);
	driver_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	assert_false(d.level);
	assert_int_equal(d.changes, 2);
}

static void line_stays_up_for_the_other_reason(void **state)
{
	(void)state;
	run_device();
	chain(0);
	driver_notify(&d, 0);
	pthread_mutex_lock(&echo->dev.lock);
	echo->dev.transport->interrupt_config(&echo->dev);
	pthread_mutex_unlock(&echo->dev.lock);
	driver_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	assert_true(d.level);
	driver_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	assert_false(d.level);
}

static void no_interrupt_where_the_driver_wants_none(void **state)
{
	(void)state;
	run_device();
	driver_set_flags(&queues[0], 1);
	chain(0);
	driver_notify(&d, 0);
	assert_int_equal(driver_nused(&queues[0]), 1);
	assert_false(d.level);
}

static void event_indices_are_used_once_agreed_on(void **state)
{
	(void)state;
	assert_true(driver_negotiate(&d, VIRTIO_VERSION_1 | VIRTIO_RING_EVENT_IDX));
	driver_set_queue(&d, 0, &queues[0]);
	driver_go(&d);
	driver_set_used_event(&queues[0], 1);
	chain(0);
	driver_notify(&d, 0);
	assert_false(d.level);
	chain(0);
	driver_notify(&d, 0);
	assert_true(d.level);
}

static void generation_changes_with_the_configuration(void **state)
{
	uint32_t before = driver_read(&d, VIRTIO_MMIO_CONFIG_GENERATION);

	(void)state;
	pthread_mutex_lock(&echo->dev.lock);
	echo->dev.transport->interrupt_config(&echo->dev);
	pthread_mutex_unlock(&echo->dev.lock);
	assert_int_not_equal(driver_read(&d, VIRTIO_MMIO_CONFIG_GENERATION), before);
	/* Nobody is told who is not at work. */
	assert_false(d.level);
}

/* --- version 1 ---------------------------------------------------------------------------- */

#define LEGACY_PAGE 0x1000u

/* 2.7.2, by its formula. */
static void legacy_queue(struct driver_queue *q, uint32_t pfn, uint32_t align)
{
	*q = (struct driver_queue){.ram = &d.memory.ram, .size = SIZE};
	q->desc = (uint64_t)pfn * LEGACY_PAGE;
	q->avail = q->desc + (uint64_t)16 * SIZE;
	q->used = q->desc +
		  ((uint64_t)16 * SIZE + (uint64_t)2 * (3 + SIZE) + align - 1) / align * align;
}

static void legacy_start(uint32_t pfn, uint32_t align)
{
	driver_write(&d, VIRTIO_MMIO_STATUS, 0);
	driver_write(&d, VIRTIO_MMIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	driver_write(&d, VIRTIO_MMIO_DRIVER_FEATURES, FEATURE);
	driver_write(&d, VIRTIO_MMIO_GUEST_PAGE_SIZE, LEGACY_PAGE);
	driver_write(&d, VIRTIO_MMIO_QUEUE_SEL, 0);
	driver_write(&d, VIRTIO_MMIO_QUEUE_NUM, SIZE);
	driver_write(&d, VIRTIO_MMIO_QUEUE_ALIGN, align);
	driver_write(&d, VIRTIO_MMIO_QUEUE_PFN, pfn);
	driver_write(&d, VIRTIO_MMIO_STATUS,
		     VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK);
}

static void legacy_driver_works(void **state)
{
	static const uint32_t aligns[] = {4, 64, 4096};

	(void)state;
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_VERSION), 1);
	for (size_t i = 0; i < ARRAY_SIZE(aligns); i++) {
		memset(driver_at(&d.memory.ram, 0x5000, 0x4000), 0, 0x4000);
		legacy_queue(&queues[0], 5, aligns[i]);
		legacy_start(5, aligns[i]);
		assert_int_equal(driver_read(&d, VIRTIO_MMIO_QUEUE_PFN), 5);
		assert_int_equal(echo->started_with, FEATURE);
		chain(0);
		driver_notify(&d, 0);
		assert_int_equal(driver_nused(&queues[0]), 1);
		assert_true(d.level);
		driver_write(&d, VIRTIO_MMIO_QUEUE_PFN, 0);
		assert_int_equal(driver_read(&d, VIRTIO_MMIO_QUEUE_PFN), 0);
		assert_false(echo->dev.queues[0].ready);
	}
}

static void legacy_features_have_32_bits(void **state)
{
	(void)state;
	assert_int_equal(driver_features(&d), FEATURE | VIRTIO_RING_EVENT_IDX |
						      VIRTIO_RING_INDIRECT | (uint64_t)1 << 27);
	/* What is not offered is not used; there is no FEATURES_OK by which to refuse. */
	driver_write(&d, VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX & ~(uint32_t)FEATURE);
	assert_int_equal(echo->dev.features, driver_features(&d) & ~FEATURE);
}

static void legacy_queue_that_is_wrong_asks_for_a_reset(void **state)
{
	static const struct {
		uint32_t pfn, align;
	} wrong[] = {{5, 0},
		     {5, 1},
		     {5, 3},
		     {5, 0xffffffff},
		     {0xffffffff, 4096},
		     {DRIVER_LOW / LEGACY_PAGE, 4096},
		     {5, 0x80000000}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		legacy_start(wrong[i].pfn, wrong[i].align);
		assert_true(driver_read(&d, VIRTIO_MMIO_STATUS) & VIRTIO_NEEDS_RESET);
		assert_false(echo->dev.queues[0].ready);
	}
}

static void registers_of_the_other_version_do_nothing(void **state)
{
	(void)state;
	driver_set_queue(&d, 0, &queues[0]);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_QUEUE_READY), 0);
	assert_int_equal(echo->dev.queues[0].desc, 0);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_CONFIG_GENERATION), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define LEGACY(name) cmocka_unit_test_setup_teardown(name, setup_legacy, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(device_says_what_it_is),
		T(registers_are_32_bits_wide),
		T(configuration_is_read_in_any_width),
		T(configuration_ends),
		T(configuration_is_there_before_the_driver),
		T(unknown_selectors_read_as_nothing),
		T(shared_memory_is_not_there),
		T(features_are_the_devices_and_the_rings),
		T(features_that_are_not_offered_are_refused),
		T(version_2_needs_its_feature),
		T(features_stay_once_agreed_on),
		T(driver_can_try_other_features),
		T(status_bits_are_added_and_none_is_the_devices),
		T(device_starts_once),
		T(reset_forgets_everything),
		T(queue_that_is_ready_does_not_change),
		T(queue_can_be_taken_away_and_given_back),
		T(wrong_queue_asks_for_a_reset),
		T(queue_larger_than_offered_is_refused),
		T(hostile_chain_asks_for_a_reset_and_others_go_on),
		T(notification_serves_its_queue),
		T(eventfd_is_a_notification),
		T(notification_without_a_queue_is_ignored),
		T(what_was_offered_before_the_start_is_served),
		T(rest_is_served_in_another_turn),
		T(interrupt_is_a_level_until_acknowledged),
		T(line_stays_up_for_the_other_reason),
		T(no_interrupt_where_the_driver_wants_none),
		T(event_indices_are_used_once_agreed_on),
		T(generation_changes_with_the_configuration),
		LEGACY(legacy_driver_works),
		LEGACY(legacy_features_have_32_bits),
		LEGACY(legacy_queue_that_is_wrong_asks_for_a_reset),
		LEGACY(registers_of_the_other_version_do_nothing),
	};

	return cmocka_run_group_tests_name("virtio_mmio", tests, NULL, NULL);
}

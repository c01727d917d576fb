/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio devices: several threads, life and death, snapshots. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <linux/virtio_mmio.h>

#include "echo_device.h"
#include "fail_alloc.h"

/* --- several threads ---------------------------------------------------------------------- */

static void *run_loop(void *unused)
{
	(void)unused;
	loop_run(d.loop);
	return NULL;
}

static void *reset_again_and_again(void *unused)
{
	(void)unused;
	for (int i = 0; i < 200; i++) {
		driver_write(&d, VIRTIO_MMIO_STATUS, 0);
		driver_write(&d, VIRTIO_MMIO_STATUS, VIRTIO_DRIVER);
		driver_write(&d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
		driver_write(&d, VIRTIO_MMIO_DRIVER_FEATURES, 1);
		driver_write(&d, VIRTIO_MMIO_STATUS, VIRTIO_FEATURES_OK);
		driver_set_queue(&d, 0, &queues[0]);
		driver_write(&d, VIRTIO_MMIO_STATUS, VIRTIO_DRIVER_OK);
		driver_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		driver_write(&d, VIRTIO_MMIO_QUEUE_READY, 0);
	}
	return NULL;
}

static void *notify_again_and_again(void *unused)
{
	(void)unused;
	for (int i = 0; i < 5000; i++) {
		driver_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, (uint32_t)i % QUEUES);
		driver_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS);
		driver_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, UINT32_MAX);
		driver_read(&d, VIRTIO_MMIO_STATUS);
	}
	return NULL;
}

/* Two CPUs reset, two notify, and the device thread is at work: all of them come to an end. */
static void resets_from_all_sides_do_not_hang(void **state)
{
	void *(*const vcpus[])(void *) = {reset_again_and_again, reset_again_and_again,
					  notify_again_and_again, notify_again_and_again};
	pthread_t loop, threads[ARRAY_SIZE(vcpus)];

	(void)state;
	/* All of the ring is full of chains, at any index. */
	for (uint16_t i = 0; i < SIZE; i++)
		chain(0);
	assert_int_equal(pthread_create(&loop, NULL, run_loop, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(vcpus); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, vcpus[i], NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(vcpus); i++)
		pthread_join(threads[i], NULL);
	driver_write(&d, VIRTIO_MMIO_STATUS, 0);
	loop_stop(d.loop);
	pthread_join(loop, NULL);
	assert_int_equal(echo->starts, echo->stops);
	assert_true(echo->starts > 0);
	assert_false(d.level);
}

/* Whoever acknowledges, the line is up as long as there is something to see. */
static void line_agrees_with_the_status_in_the_end(void **state)
{
	pthread_t loop, vcpu;

	(void)state;
	run_device();
	assert_int_equal(pthread_create(&loop, NULL, run_loop, NULL), 0);
	assert_int_equal(pthread_create(&vcpu, NULL, notify_again_and_again, NULL), 0);
	for (int i = 0; i < 3000; i++) {
		chain(0);
		driver_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		driver_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
		while (driver_nused(&queues[0]) != 1)
			driver_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS);
		queues[0].used_idx++;
	}
	pthread_join(vcpu, NULL);
	loop_stop(d.loop);
	pthread_join(loop, NULL);
	assert_int_equal(d.level, driver_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS) != 0);
}

/* --- life --------------------------------------------------------------------------------- */

static void device_is_stopped_and_freed_with_its_transport(void **state)
{
	(void)state;
	setup_version(false);
	run_device();
	freed = 0;
	driver_fini(&d);
	assert_int_equal(freed, 1);
}

static void device_is_the_callers_where_there_is_no_room(void **state)
{
	const struct virtio_place place = {.bus = &d.bus, .base = DRIVER_BASE + 4};
	struct virtio_device *dev = echo_new();
	struct virtio_mmio *t = NULL;
	mayfly_error err;

	(void)state;
	freed = 0;
	dev->loop = d.loop;
	dev->ram = &d.memory.ram;
	assert_int_equal(virtio_mmio_new(dev, &place, &t, &err), MAYFLY_E_INVALID);
	assert_int_equal(freed, 0);
	dev->ops->free(dev);
	driver_run(&d);
}

static void out_of_memory_is_reported(void **state)
{
	const struct virtio_place place = {.bus = &d.bus,
					   .base = DRIVER_BASE + VIRTIO_MMIO_LEN};
	struct virtio_device *dev = echo_new();
	struct virtio_mmio *t = NULL;
	size_t n;

	(void)state;
	dev->loop = d.loop;
	dev->ram = &d.memory.ram;
	for (n = 1;; n++) {
		int r;

		fail_alloc_at(n);
		r = virtio_mmio_new(dev, &place, &t, NULL);
		if (!fail_alloc_end())
			break;
		assert_int_equal(r, MAYFLY_E_NOMEM);
	}
	assert_true(n > 2);
	virtio_mmio_free(t);
	for (n = 1;; n++) {
		fail_alloc_at(n);
		dev = echo_new();
		if (!fail_alloc_end())
			break;
		assert_null(dev);
	}
	assert_true(n > QUEUES);
	dev->ops->free(dev);
}

/* --- snapshots ---------------------------------------------------------------------------- */

/* A second machine with the same memory; the first one's device goes away. */
static int go_on(const struct writer *w, bool legacy, mayfly_error *err)
{
	struct reader r = {w->data, w->len, false};
	uint8_t *copy = malloc(d.memory.ram.len);
	int result;

	assert_non_null(copy);
	memcpy(copy, d.memory.ram.mem, d.memory.ram.len);
	driver_fini(&d);
	setup_version(legacy);
	memcpy(d.memory.ram.mem, copy, d.memory.ram.len);
	free(copy);
	result = virtio_mmio_load(d.t, &r, err);
	if (result == 0)
		assert_int_equal(r.left, 0);
	return result;
}

static void restored_device_goes_on(void **state)
{
	struct writer w = {0}, again = {0};
	mayfly_error err;
	struct driver_queue q;

	(void)state;
	run_device();
	chain(0);
	driver_notify(&d, 0);
	chain(0);
	driver_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	echo->saved = 77;
	virtio_mmio_save(d.t, &w);
	q = queues[0];
	/* setup() clears what lies there, and go_on() puts it back. */
	assert_int_equal(go_on(&w, false, &err), 0);
	q.ram = &d.memory.ram;
	assert_int_equal(echo->saved, 77);
	assert_int_equal(echo->starts, 0);
	virtio_mmio_save(d.t, &again);
	assert_int_equal(again.len, w.len);
	assert_memory_equal(again.data, w.data, w.len);
	virtio_mmio_resume(d.t);
	assert_int_equal(echo->starts, 1);
	assert_true(d.level);
	driver_run(&d);
	/* The second chain, whose notification was on its way. */
	assert_int_equal(driver_nused(&q), 2);
	driver_write(&d, VIRTIO_MMIO_INTERRUPT_ACK, 3);
	assert_false(d.level);
	free(w.data);
	free(again.data);
}

static void idle_device_stays_idle_after_a_restore(void **state)
{
	struct writer w = {0};

	(void)state;
	virtio_mmio_save(d.t, &w);
	assert_int_equal(go_on(&w, false, NULL), 0);
	virtio_mmio_resume(d.t);
	assert_int_equal(echo->starts, 0);
	assert_false(d.level);
	free(w.data);
}

static void state_of_another_device_is_refused(void **state)
{
	struct writer w = {0};
	mayfly_error err;

	(void)state;
	virtio_mmio_save(d.t, &w);
	assert_int_equal(go_on(&w, true, &err), MAYFLY_E_INVALID);
	assert_non_null(strstr(err.message, "the same devices"));
	free(w.data);
}

static void damaged_state_is_refused_or_runs(void **state)
{
	uint32_t refused = 0;
	struct writer w = {0};
	mayfly_error err;

	(void)state;
	run_device();
	chain(0);
	virtio_mmio_save(d.t, &w);
	for (size_t i = 0; i < w.len; i++) {
		struct writer cut = {w.data, i, i, false};

		assert_true(go_on(&cut, false, &err) < 0);
		w.data[i] ^= 0xff;
		if (go_on(&w, false, &err) < 0) {
			refused++;
		} else {
			virtio_mmio_resume(d.t);
			driver_run(&d);
		}
		w.data[i] ^= 0xff;
	}
	assert_true(refused > w.len / 2);
	free(w.data);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(resets_from_all_sides_do_not_hang),
		T(line_agrees_with_the_status_in_the_end),
		cmocka_unit_test(device_is_stopped_and_freed_with_its_transport),
		T(device_is_the_callers_where_there_is_no_room),
		T(out_of_memory_is_reported),
		T(restored_device_goes_on),
		T(idle_device_stays_idle_after_a_restore),
		T(state_of_another_device_is_refused),
		T(damaged_state_is_refused_or_runs),
	};

	return cmocka_run_group_tests_name("virtio_life", tests, NULL, NULL);
}

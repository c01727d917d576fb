/* SPDX-License-Identifier: Apache-2.0 */
/* A device that gives each chain back, behind registers. After cmocka.h. */
#ifndef MAYFLY_TESTS_ECHO_DEVICE_H
#define MAYFLY_TESTS_ECHO_DEVICE_H

#include <pthread.h>
#include <stdlib.h>

#include "virtio_driver.h"

#define SIZE 8u
#define QUEUES 2u
#define AT(n) (0x1000u + 0x1000u * (n))
#define DATA 0x20000u
#define FEATURE ((uint64_t)1 << 3)
#define RUNNING (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK)

/* A device that gives each chain back, and counts what it is told. */
struct echo {
	struct virtio_device dev;
	uint8_t config[12];
	uint32_t starts, stops, notified[QUEUES], frees;
	uint64_t started_with;
	uint32_t most; /* chains per notification, 0: any number */
	uint8_t saved;
};

static uint32_t freed;

static inline void echo_config_read(struct virtio_device *dev, uint32_t offset, uint8_t *to,
				    uint32_t len)
{
	assert_true(range_within(offset, len, sizeof(((struct echo *)dev)->config)));
	memcpy(to, ((struct echo *)dev)->config + offset, len);
}

static inline void echo_config_write(struct virtio_device *dev, uint32_t offset,
				     const uint8_t *from, uint32_t len)
{
	assert_true(range_within(offset, len, sizeof(((struct echo *)dev)->config)));
	memcpy(((struct echo *)dev)->config + offset, from, len);
}

static inline void echo_start(struct virtio_device *dev)
{
	((struct echo *)dev)->starts++;
	((struct echo *)dev)->started_with = dev->features;
}

static inline void echo_stop(struct virtio_device *dev)
{
	((struct echo *)dev)->stops++;
}

static inline void echo_notify(struct virtio_device *dev, uint16_t queue)
{
	struct echo *e = (struct echo *)dev;
	struct virtq *q = &dev->queues[queue];
	struct virtq_chain c;
	uint32_t left = e->most ? e->most : UINT32_MAX;

	pthread_mutex_lock(&dev->lock);
	e->notified[queue]++;
	while (left && virtq_pop(q, &c)) {
		left--;
		virtq_push(q, c.head, 0);
	}
	virtio_device_signal(dev, queue);
	if (!left)
		virtio_device_again(dev, queue);
	pthread_mutex_unlock(&dev->lock);
}

static inline void echo_save(const struct virtio_device *dev, struct writer *w)
{
	put_u64(w, ((const struct echo *)dev)->saved);
}

static inline int echo_load(struct virtio_device *dev, struct reader *r, mayfly_error *err)
{
	((struct echo *)dev)->saved = (uint8_t)get_count(r, UINT8_MAX);
	return r->bad ? fail(err, MAYFLY_E_FORMAT, "cut") : 0;
}

static inline void echo_free(struct virtio_device *dev)
{
	freed++;
	virtio_device_fini(dev);
	free(dev);
}

static const struct virtio_ops echo_ops = {
	.name = "echo",
	.type = 42,
	.nqueues = QUEUES,
	.config_read = echo_config_read,
	.config_write = echo_config_write,
	.start = echo_start,
	.stop = echo_stop,
	.notify = echo_notify,
	.save = echo_save,
	.load = echo_load,
	.free = echo_free,
};

static struct driver d;
static struct driver_queue queues[QUEUES];
static struct echo *echo;

static inline struct virtio_device *echo_new(void)
{
	static const uint16_t sizes[QUEUES] = {SIZE, 2 * SIZE};
	struct echo *e = calloc(1, sizeof(*e));

	if (!e || virtio_device_init(&e->dev, &echo_ops, sizes, QUEUES, NULL) < 0) {
		free(e);
		return NULL;
	}
	for (uint8_t i = 0; i < sizeof(e->config); i++)
		e->config[i] = (uint8_t)(i + 1);
	e->dev.config_len = sizeof(e->config);
	e->dev.offered = FEATURE;
	return &e->dev;
}

static inline int setup_version(bool legacy)
{
	struct virtio_device *dev = echo_new();

	assert_non_null(dev);
	echo = (struct echo *)dev;
	driver_init(&d, dev, legacy);
	for (uint32_t i = 0; i < QUEUES; i++)
		driver_queue_init(&queues[i], &d.memory.ram, AT(i), SIZE);
	return 0;
}

static inline int setup(void **state)
{
	(void)state;
	return setup_version(false);
}

static inline int setup_legacy(void **state)
{
	(void)state;
	return setup_version(true);
}

static inline int teardown(void **state)
{
	(void)state;
	driver_fini(&d);
	return 0;
}

/* As a good driver does it. */
static inline void run_device(void)
{
	assert_true(driver_negotiate(&d, VIRTIO_VERSION_1));
	for (uint16_t i = 0; i < QUEUES; i++) {
		driver_queue_init(&queues[i], &d.memory.ram, AT(i), SIZE);
		driver_set_queue(&d, i, &queues[i]);
	}
	driver_go(&d);
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_STATUS), RUNNING);
}

static inline void chain(uint16_t queue)
{
	driver_chain(&queues[queue], &(struct driver_piece){DATA, 1, true}, 1);
}

#endif

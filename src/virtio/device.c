/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/device.h"

#include "core/clock.h"

int virtio_device_init(struct virtio_device *dev, const struct virtio_ops *ops,
		       const uint16_t *queue_sizes, uint16_t nqueues, mayfly_error *err)
{
	dev->ops = ops;
	pthread_mutex_init(&dev->lock, NULL);
	for (uint16_t i = 0; i < nqueues; i++) {
		int r = virtq_init(&dev->queues[i], dev->ram, queue_sizes[i], err);

		if (r < 0) {
			virtio_device_fini(dev);
			return r;
		}
		dev->nqueues++;
	}
	return 0;
}

void virtio_device_fini(struct virtio_device *dev)
{
	for (uint16_t i = 0; i < dev->nqueues; i++)
		virtq_fini(&dev->queues[i]);
	dev->nqueues = 0;
	pthread_mutex_destroy(&dev->lock);
}

void virtio_device_broken(struct virtio_device *dev, const char *why)
{
	if (dev->status & VIRTIO_NEEDS_RESET)
		return;
	dev->broken = why;
	dev->status |= VIRTIO_NEEDS_RESET;
	/* 2.1.2: only a driver that is at work is told. */
	if (dev->status & VIRTIO_DRIVER_OK)
		dev->transport->interrupt_config(dev);
}

void virtio_device_check(struct virtio_device *dev)
{
	for (uint16_t i = 0; i < dev->nqueues; i++)
		if (dev->queues[i].broken)
			virtio_device_broken(dev, dev->queues[i].broken);
}

void virtio_device_signal(struct virtio_device *dev, uint16_t queue)
{
	struct virtq *q = &dev->queues[queue];

	if (virtq_wants_interrupt(q))
		dev->transport->interrupt_queue(dev, queue);
	if (q->broken)
		virtio_device_broken(dev, q->broken);
}

void virtio_device_again(struct virtio_device *dev, uint16_t queue)
{
	dev->transport->notify_again(dev, queue);
}

void virtio_device_requested(struct virtio_device *dev)
{
	if (atomic_fetch_add_explicit(&dev->requests, 1, memory_order_relaxed) == 0)
		atomic_store_explicit(&dev->first_request, clock_now(), memory_order_relaxed);
}

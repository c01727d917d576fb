/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define RNG_QUEUE_SIZE 64
/* A request may be given less than it asks for (virtio 1.2, 5.4.6.1). */
#define RNG_MAX_REQUEST 4096u
#define RNG_MAX_BATCH 16u /* requests, before others have their turn */

/* Gives how many bytes there are now. */
static uint32_t fill(const struct virtq_chain *chain)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < chain->nout && done < RNG_MAX_REQUEST; i++) {
		size_t want = chain->out[i].iov_len, have = 0;

		if (want > RNG_MAX_REQUEST - done)
			want = RNG_MAX_REQUEST - done;
		while (have < want) {
			ssize_t n = getrandom((uint8_t *)chain->out[i].iov_base + have,
					      want - have, GRND_NONBLOCK);

			if (n < 0 && errno == EINTR)
				continue;
			/*
			 * There is no memory at that place, or the host has just been started.
			 */
			if (n <= 0)
				return done + (uint32_t)have;
			have += (size_t)n;
		}
		done += (uint32_t)want;
	}
	return done;
}

static void rng_notify(struct virtio_device *dev, uint16_t queue)
{
	struct virtq *q = &dev->queues[queue];
	struct virtq_chain chain;
	uint32_t left = RNG_MAX_BATCH;

	pthread_mutex_lock(&dev->lock);
	virtq_set_notify(q, false);
	do {
		while (left && virtq_pop(q, &chain)) {
			left--;
			virtio_device_requested(dev);
			virtq_push(q, chain.head, fill(&chain));
		}
	} while (left && virtq_set_notify(q, true));
	virtio_device_signal(dev, queue);
	if (!left)
		virtio_device_again(dev, queue);
	pthread_mutex_unlock(&dev->lock);
}

static void rng_start_stop(struct virtio_device *dev)
{
	(void)dev; /* nothing is ever in flight */
}

static void rng_free(struct virtio_device *dev)
{
	virtio_device_fini(dev);
	free(dev);
}

static const struct virtio_ops rng_ops = {
	.name = "virtio-rng",
	.type = VIRTIO_RNG,
	.nqueues = 1,
	.start = rng_start_stop,
	.stop = rng_start_stop,
	.notify = rng_notify,
	.free = rng_free,
};

int rng_new(struct virtio_device **out, mayfly_error *err)
{
	static const uint16_t size = RNG_QUEUE_SIZE;
	struct virtio_device *dev = calloc(1, sizeof(*dev));
	int r;

	if (!dev)
		return fail(err, MAYFLY_E_NOMEM, "out of memory");
	r = virtio_device_init(dev, &rng_ops, &size, 1, err);
	if (r < 0) {
		free(dev);
		return r;
	}
	*out = dev;
	return 0;
}

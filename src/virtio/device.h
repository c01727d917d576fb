/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtio devices apart from the transport: each is one file with one const table of functions.
 *
 * Threads. Register accesses come on vCPU threads, under `lock`, which the transport takes;
 * notifications and all other work come on the device thread (the machine's loop), and there
 * the device takes `lock` itself, for as long as it touches queues; never while it may wait for
 * the world (a socket, a terminal). InterruptStatus needs no lock.
 */
#ifndef MAYFLY_VIRTIO_DEVICE_H
#define MAYFLY_VIRTIO_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>

#include "machine/loop.h"
#include "virtio/queue.h"

/* Device types (virtio 1.2, 5). */
#define VIRTIO_NET 1
#define VIRTIO_BLK 2
#define VIRTIO_CONSOLE 3
#define VIRTIO_RNG 4

/* Feature bits of all devices (virtio 1.2, 6). */
#define VIRTIO_RING_INDIRECT ((uint64_t)1 << 28)
#define VIRTIO_RING_EVENT_IDX ((uint64_t)1 << 29)
#define VIRTIO_VERSION_1 ((uint64_t)1 << 32)

/* Device status bits (2.1). */
#define VIRTIO_ACKNOWLEDGE 1
#define VIRTIO_DRIVER 2
#define VIRTIO_DRIVER_OK 4
#define VIRTIO_FEATURES_OK 8
#define VIRTIO_NEEDS_RESET 64
#define VIRTIO_FAILED 128

#define VIRTIO_MAX_QUEUES 34 /* a console with 16 ports */

struct virtio_device;

struct virtio_ops {
	const char *name; /* "virtio-blk": for messages and the timeline */
	uint32_t type;
	uint16_t nqueues; /* at most; the device may have fewer: virtio_device.nqueues */
	/* Under `lock`, on a vCPU's thread. Outside of the configuration: not called. */
	void (*config_read)(struct virtio_device *dev, uint32_t offset, uint8_t *to,
			    uint32_t len);
	/* NULL: nothing can be written. */
	void (*config_write)(struct virtio_device *dev, uint32_t offset, const uint8_t *from,
			     uint32_t len);
	/*
	 * On the device thread, with `lock` held: the driver said DRIVER_OK; dev->features are
	 * agreed on. After a restore too.
	 */
	void (*start)(struct virtio_device *dev);
	/*
	 * The same: the driver reset it, or the machine ends. No chain may be in flight
	 * afterwards.
	 */
	void (*stop)(struct virtio_device *dev);
	/*
	 * On the device thread, without `lock`: the driver notified this queue, which is ready,
	 * of a started device. What is done in one call is bounded: virtio_device_again() for
	 * the rest, or a driver that never stops would keep the loop from everything else.
	 */
	void (*notify)(struct virtio_device *dev, uint16_t queue);
	/* State beyond queues, for snapshots; NULL: none. Nothing in flight. `lock` held. */
	void (*save)(const struct virtio_device *dev, struct writer *w);
	/* Of hostile bytes. Errors: FORMAT, and what start() needs. */
	int (*load)(struct virtio_device *dev, struct reader *r, mayfly_error *err);
	/*
	 * What must be the same when a snapshot goes on: checked against save()'s, by load().
	 */
	void (*free)(struct virtio_device *dev);
};

/* What a transport offers to its device. */
struct virtio_transport_ops {
	/*
	 * Queues were pushed to: interrupt, if the driver wants that. Any thread, `lock` held.
	 */
	void (*interrupt_queue)(struct virtio_device *dev, uint16_t queue);
	/* The configuration changed: likewise. */
	void (*interrupt_config)(struct virtio_device *dev);
	/*
	 * Have ops->notify called for the queue once more, after what else is due. Any thread.
	 */
	void (*notify_again)(struct virtio_device *dev, uint16_t queue);
};

/* Embedded at the beginning of each device. */
struct virtio_device {
	const struct virtio_ops *ops;
	const struct virtio_transport_ops *transport; /* set by the transport, like the next */
	void *transport_state;
	/* Borrowed, the machine's: to be set before the device gets its transport. */
	struct loop *loop;
	const struct ram *ram;
	pthread_mutex_t lock;
	uint64_t offered;  /* the device's feature bits; the transport adds those of the ring */
	uint64_t features; /* agreed on */
	uint32_t config_len;
	uint8_t status; /* VIRTIO_ACKNOWLEDGE | ... */
	bool started;
	const char *broken; /* why it asks for a reset: static text, or NULL */
	struct virtq queues[VIRTIO_MAX_QUEUES];
	uint16_t nqueues;
	/* For the timeline and statistics. */
	_Atomic(uint64_t) requests;
	_Atomic(uint64_t) first_request; /* CLOCK_MONOTONIC ns, 0: none */
};

/*
 * Initialise the common part; queues of the given greatest sizes (power of two). Errors: NOMEM.
 * virtio_device_fini() takes a zeroed one.
 */
int virtio_device_init(struct virtio_device *dev, const struct virtio_ops *ops,
		       const uint16_t *queue_sizes, uint16_t nqueues, mayfly_error *err);
void virtio_device_fini(struct virtio_device *dev);

/*
 * For devices, `lock` held. After pushing, and after a pop that gave nothing: interrupt if that
 * is wanted; a queue that broke makes the device ask for a reset.
 */
void virtio_device_signal(struct virtio_device *dev, uint16_t queue);
/* The driver did something it must not: ask for a reset. `why`: static text. */
void virtio_device_broken(struct virtio_device *dev, const char *why);
/* The same with the queues that broke by themselves. For the transport. */
void virtio_device_check(struct virtio_device *dev);

/* Any thread. Have `notify` called once more. */
void virtio_device_again(struct virtio_device *dev, uint16_t queue);
/* Count a request. */
void virtio_device_requested(struct virtio_device *dev);

#endif

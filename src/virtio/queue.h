/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split virtqueues, the device's side (virtio 1.2, 2.7). All that lies in guest memory is
 * hostile: each field is read once, checked, then used. What a driver does wrong breaks its own
 * queue (`broken` says why): the device then asks for a reset, nobody else notices.
 *
 * Each chain that virtq_pop() gives must go to virtq_push() exactly once, in any order.
 * Everything is called under the device's lock or on one thread.
 */
#ifndef MAYFLY_VIRTIO_QUEUE_H
#define MAYFLY_VIRTIO_QUEUE_H

#include <sys/uio.h>

#include "core/codec.h"
#include "machine/ram.h"

#define VIRTQ_MAX_SIZE 1024 /* entries; what devices offer is at most this */
#define VIRTQ_MAX_IOV 1024  /* pieces of one chain, indirect ones included */

struct virtq {
	const struct ram *ram; /* borrowed */
	uint16_t max_size;     /* what is offered; 0: there is no such queue */
	/* What the driver set up; constant while `ready`. */
	uint16_t size;
	bool ready;
	uint64_t desc, avail, used; /* gpa */
	bool event_idx;		    /* VIRTIO_F_EVENT_IDX was agreed on */
	/* How far we are. */
	uint16_t next_avail;
	uint16_t next_used;
	uint16_t signalled; /* next_used when it was last asked whether to interrupt */
	uint32_t in_flight; /* chains popped and not pushed */
	const char *broken; /* static text, or NULL */
	struct iovec *iov;  /* owned: VIRTQ_MAX_IOV, for one chain at a time */
};

/* What the driver wants done. */
struct virtq_chain {
	uint16_t head;
	/*
	 * Readable by the device, then writable; in the queue's own memory, until the next pop.
	 */
	struct iovec *in; /* from the driver */
	uint32_t nin;
	struct iovec *out; /* to the driver */
	uint32_t nout;
	uint64_t in_len, out_len; /* bytes */
};

/* A chain that is done. */
struct virtq_used {
	uint16_t head;
	uint32_t len; /* bytes written to its `out` */
};

/* `ram` may be set later, before the queue is enabled. Errors: NOMEM. */
int virtq_init(struct virtq *q, const struct ram *ram, uint16_t max_size, mayfly_error *err);
/* Takes a zeroed one. */
void virtq_fini(struct virtq *q);
/* As after the device's reset: nothing set up. Chains in flight are forgotten. */
void virtq_reset(struct virtq *q);
/*
 * The driver says that it has set `size` and the three addresses: check them (power of two, in
 * memory, aligned: 2.7). False, and broken, if they are wrong.
 */
bool virtq_enable(struct virtq *q);

/* The next chain; false: there is none, or the queue is broken. */
bool virtq_pop(struct virtq *q, struct virtq_chain *chain);
/*
 * Put the chain popped last back, as if it had not been looked at; again: the one before, and
 * so on. Nothing may have been pushed in between.
 */
void virtq_unpop(struct virtq *q);
/* Done with a chain: `len` bytes were written to its `out`. */
void virtq_push(struct virtq *q, uint16_t head, uint32_t len);
/*
 * Several, in their order, of which the driver sees all or none (5.1.6.4: one frame's buffers).
 */
void virtq_push_all(struct virtq *q, const struct virtq_used *used, uint32_t count);
/* Whether the driver wants an interrupt for what was pushed since this was last asked. */
bool virtq_wants_interrupt(struct virtq *q);
/*
 * Tell the driver whether to notify. After switching on, look for chains once more: true if
 * there are some.
 */
bool virtq_set_notify(struct virtq *q, bool on);
/* Whether chains are waiting. */
bool virtq_pending(const struct virtq *q);
/* The driver broke the rules of the device's own: static text. The first reason stays. */
void virtq_break(struct virtq *q, const char *why);

/* For snapshots; in_flight must be 0. The reader's bytes are hostile. */
void virtq_save(const struct virtq *q, struct writer *w);
bool virtq_load(struct virtq *q, struct reader *r);

#endif

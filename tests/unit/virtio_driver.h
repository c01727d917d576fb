/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of virtio, in memory: rings in a small machine's RAM, registers by the bus,
 * the device thread's loop run by the test. What cannot be set up ends the test program.
 */
#ifndef MAYFLY_TESTS_VIRTIO_DRIVER_H
#define MAYFLY_TESTS_VIRTIO_DRIVER_H

#include "virtio/mmio.h"

/* Memory: two pieces with a hole between them, in an allocation that sanitizers guard. */
#define DRIVER_LOW ((uint64_t)1 << 20)
#define DRIVER_HIGH ((uint64_t)64 << 10)

struct driver_ram {
	struct ram ram;
};

void driver_ram_init(struct driver_ram *m);
void driver_ram_fini(struct driver_ram *m);
/* The host's view of guest memory, which must be there. */
void *driver_at(const struct ram *ram, uint64_t at, uint64_t len);

/* --- queues ------------------------------------------------------------------------------- */

#define DESC_F_NEXT 1u
#define DESC_F_WRITE 2u
#define DESC_F_INDIRECT 4u

struct driver_queue {
	const struct ram *ram;
	uint64_t desc, avail, used;
	uint16_t size;
	uint16_t free;	    /* descriptor that the next chain begins with */
	uint16_t avail_idx; /* what was offered */
	uint16_t used_idx;  /* what was taken back */
};

struct driver_piece {
	uint64_t at;
	uint32_t len;
	bool write; /* by the device */
};

/* Where the parts of a queue at `at` are, which is aligned to 16; zeroed. */
void driver_queue_init(struct driver_queue *q, const struct ram *ram, uint64_t at,
		       uint16_t size);
/* Bytes from `at` on. */
uint64_t driver_queue_len(uint16_t size);
/* Write a descriptor in any table. */
void driver_desc(const struct ram *ram, uint64_t table, uint32_t index,
		 const struct driver_piece *piece, uint32_t flags, uint16_t next);
/* Make a head available. */
void driver_offer(struct driver_queue *q, uint16_t head);
/* Make descriptors of the pieces, one after the other in the ring, and offer them: the head. */
uint16_t driver_chain(struct driver_queue *q, const struct driver_piece *pieces, uint32_t n);
/* The same through an indirect table at `table`. */
uint16_t driver_indirect(struct driver_queue *q, uint64_t table,
			 const struct driver_piece *pieces, uint32_t n);
/* Take the next used chain; false: there is none. */
bool driver_used(struct driver_queue *q, uint32_t *head, uint32_t *len);
/* How many are used and not taken. */
uint16_t driver_nused(const struct driver_queue *q);
/* The driver's part of notifications. */
void driver_set_flags(const struct driver_queue *q, uint16_t flags);
void driver_set_used_event(const struct driver_queue *q, uint16_t event);
uint16_t driver_used_flags(const struct driver_queue *q);
uint16_t driver_avail_event(const struct driver_queue *q);

/* --- a device behind registers ------------------------------------------------------------ */

#define DRIVER_BASE VIRTIO_MMIO_BASE

struct driver {
	struct driver_ram memory;
	struct bus bus;
	struct loop *loop;
	struct loop_source *timer;
	struct virtio_mmio *t;
	struct virtio_device *dev;
	/* The interrupt line. */
	_Atomic(bool) level;
	_Atomic(uint32_t) changes;
};

/* Gives `dev` its transport; driver_fini() frees both. */
void driver_init(struct driver *d, struct virtio_device *dev, bool legacy);
void driver_fini(struct driver *d);
uint32_t driver_read(struct driver *d, uint32_t reg);
void driver_write(struct driver *d, uint32_t reg, uint32_t value);
uint64_t driver_read_config(struct driver *d, uint32_t offset, uint32_t len);
uint64_t driver_features(struct driver *d);
/* Set queue `n` up where `q` says, by version 2's registers. */
void driver_set_queue(struct driver *d, uint16_t n, const struct driver_queue *q);
/* Reset, then up to FEATURES_OK; false: it was not taken. */
bool driver_negotiate(struct driver *d, uint64_t features);
/* DRIVER_OK. */
void driver_go(struct driver *d);
/* Notify queue `n`, and have the device thread do all that there is to do. */
void driver_notify(struct driver *d, uint16_t n);
/* The latter alone. */
void driver_run(struct driver *d);
/* Give the loop one turn. */
void driver_turn(struct driver *d);
/* Whether a queue's notification waits for it. */
bool driver_due(const struct driver *d);

#endif

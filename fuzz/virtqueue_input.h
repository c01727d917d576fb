/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzzer of virtqueues does with its input. The first byte: which device, and how.
 * Then steps, each a byte (modulo STEPS) and its arguments; what is not there is zero.
 */
#ifndef MAYFLY_FUZZ_VIRTQUEUE_INPUT_H
#define MAYFLY_FUZZ_VIRTQUEUE_INPUT_H

#include <stddef.h>
#include <stdint.h>

/* The first byte. */
#define VQ_RNG 1u
#define VQ_LEGACY 2u
#define VQ_OVERLAY 4u
#define VQ_READONLY 8u

/* Addresses: a byte, high nibble below, low nibble added in steps of 512 (of 1: PLACE_EDGE). */
enum vq_place {
	PLACE_RINGS,  /* where STEP_START has the queue */
	PLACE_HEADER, /* block request headers */
	PLACE_STATUS,
	PLACE_TABLE, /* indirect descriptors */
	PLACE_DATA,
	PLACE_EDGE, /* the last bytes below the hole */
	PLACE_HOLE,
	PLACE_HIGH,
	PLACE_END, /* the last bytes of all */
	PLACE_WRAP,
	PLACES
};

enum vq_step {
	STEP_WRITE, /* register (1 byte, of 4), value (4) */
	STEP_READ,  /* address (2), log2 of the width (1) */
	STEP_STORE, /* the same, value (4) */
	STEP_START, /* feature bits that are left out (1): a good driver's start */
	STEP_DESC, /* table (1; 0: the queue's), index (1), place (1), len (2), flags, next (1) */
	STEP_OFFER,  /* head (1) */
	STEP_NOTIFY, /* queue (1), then a turn of the loop */
	STEP_RUN,    /* until nothing is due */
	STEP_POKE,   /* place (1), offset (1), value (4) */
	STEP_HEADER, /* type (1), sector (1; 255: far out) */
	STEP_RANGE,  /* sector (1), number (1), flags (1): for discard, at PLACE_DATA */
	STEP_INDEX,  /* the available index (2) */
	STEP_CHAIN,  /* header, data: sectors (1), status; flags (1): 1 write, 2 indirect */
	STEP_SAVE,   /* a snapshot, and on in a new machine from there */
	STEP_DAMAGE, /* the same, with a byte of it changed: offset (2), value (1) */
	STEPS
};

/* Have the seeds written: seed_virtqueue.c. */
void virtqueue_seeds(void (*write)(const char *kind, const char *name, const void *data,
				   size_t len));

#endif

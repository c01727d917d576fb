/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds for the fuzzer of virtqueues: good drivers, and each hostile thing that has a name. */
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>

#include "virtqueue_input.h"

#define NEXT 1
#define WRITE 2
#define INDIRECT 4
#define LONG 0x80 /* the length counts 65536s */

#define PLACE(place, steps) ((place) << 4 | (steps))
#define LE2(v) (v) & 255, (v) >> 8
#define LE4(v) LE2((v)&0xffff), LE2((v) >> 16)
#define REG(reg, v) STEP_WRITE, (reg) / 4, LE4(v)
#define START STEP_START, 0
#define DESC(i, place, len, flags, next) STEP_DESC, 0, i, place, LE2(len), flags, next
#define ENTRY(i, place, len, flags, next) STEP_DESC, 1, i, place, LE2(len), flags, next
#define OFFER(head) STEP_OFFER, head
#define GO STEP_NOTIFY, 0
#define HEADER(type, sector) STEP_HEADER, type, sector
#define CHAIN(sectors, flags) STEP_CHAIN, sectors, flags
#define RANGE(type, sector, n, flags)                                                          \
	HEADER(type, 0), STEP_RANGE, sector, n, flags,                                         \
		DESC(0, PLACE(PLACE_HEADER, 0), 16, NEXT, 1),                                  \
		DESC(1, PLACE(PLACE_DATA, 0), 16, NEXT, 2),                                    \
		DESC(2, PLACE(PLACE_STATUS, 0), 1, WRITE, 0), OFFER(0), GO

struct seed {
	const char *name;
	const uint8_t *data;
	size_t len;
};

#define SEED(name, ...)                                                                        \
	{                                                                                      \
		name, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})   \
	}

static const struct seed seeds[] = {
	SEED("read", 0, START, HEADER(VIRTIO_BLK_T_IN, 3), CHAIN(8, 0), GO),
	SEED("read-indirect", 0, START, HEADER(VIRTIO_BLK_T_IN, 3), CHAIN(8, 2), GO),
	SEED("write", 0, START, HEADER(VIRTIO_BLK_T_OUT, 3), CHAIN(8, 1), GO),
	SEED("write-readonly", VQ_READONLY, START, HEADER(VIRTIO_BLK_T_OUT, 3), CHAIN(8, 1),
	     GO),
	SEED("write-overlay", VQ_OVERLAY, START, HEADER(VIRTIO_BLK_T_OUT, 3), CHAIN(8, 1), GO,
	     HEADER(VIRTIO_BLK_T_IN, 0), CHAIN(60, 0), GO, HEADER(VIRTIO_BLK_T_OUT, 30),
	     CHAIN(30, 1), GO, HEADER(VIRTIO_BLK_T_OUT, 0), CHAIN(60, 1), GO),
	SEED("flush-and-id", 0, START, HEADER(VIRTIO_BLK_T_FLUSH, 0), CHAIN(0, 0),
	     HEADER(VIRTIO_BLK_T_GET_ID, 0), CHAIN(1, 0), STEP_RUN),
	SEED("discard", 0, START, RANGE(VIRTIO_BLK_T_DISCARD, 8, 16, 0)),
	SEED("discard-overlay", VQ_OVERLAY, START, RANGE(VIRTIO_BLK_T_DISCARD, 3, 50, 0)),
	SEED("zeroes", 0, START, RANGE(VIRTIO_BLK_T_WRITE_ZEROES, 7, 9, 1),
	     RANGE(VIRTIO_BLK_T_WRITE_ZEROES, 50, 10, 0)),
	SEED("zeroes-overlay", VQ_OVERLAY, START, RANGE(VIRTIO_BLK_T_WRITE_ZEROES, 7, 53, 1)),
	SEED("range-wrong", 0, START, RANGE(VIRTIO_BLK_T_DISCARD, 59, 2, 0),
	     RANGE(VIRTIO_BLK_T_DISCARD, 0, 1, 1), RANGE(VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 2)),
	SEED("past-the-end", 0, START, HEADER(VIRTIO_BLK_T_IN, 59), CHAIN(2, 0),
	     HEADER(VIRTIO_BLK_T_OUT, 255), CHAIN(1, 1), STEP_RUN),
	SEED("part-of-a-sector", 0, START, HEADER(VIRTIO_BLK_T_IN, 0),
	     DESC(0, PLACE(PLACE_HEADER, 0), 16, NEXT, 1),
	     DESC(1, PLACE(PLACE_DATA, 0), 100, NEXT | WRITE, 2),
	     DESC(2, PLACE(PLACE_STATUS, 0), 1, WRITE, 0), OFFER(0), GO),
	SEED("unknown-request", 0, START, HEADER(99, 0), CHAIN(1, 0), GO),
	SEED("no-status", 0, START, DESC(0, PLACE(PLACE_HEADER, 0), 16, 0, 0), OFFER(0), GO),
	SEED("header-in-pieces", 0, START, HEADER(VIRTIO_BLK_T_IN, 5),
	     DESC(0, PLACE(PLACE_HEADER, 0), 16, NEXT, 1),
	     DESC(1, PLACE(PLACE_HIGH, 0), 513, WRITE, 0), OFFER(0), GO),
	SEED("loop", 0, START, DESC(0, PLACE(PLACE_DATA, 0), 1, NEXT, 1),
	     DESC(1, PLACE(PLACE_DATA, 0), 1, NEXT, 0), OFFER(0), GO),
	SEED("loop-indirect", 0, START, DESC(0, PLACE(PLACE_TABLE, 0), 32, INDIRECT, 0),
	     ENTRY(0, PLACE(PLACE_DATA, 0), 1, NEXT, 1),
	     ENTRY(1, PLACE(PLACE_DATA, 0), 1, NEXT, 0), OFFER(0), GO),
	SEED("table-in-table", 0, START, DESC(0, PLACE(PLACE_TABLE, 0), 16, INDIRECT, 0),
	     ENTRY(0, PLACE(PLACE_TABLE, 0), 16, INDIRECT, 0), OFFER(0), GO),
	SEED("table-huge", 0, START, DESC(0, PLACE(PLACE_DATA, 0), 1, INDIRECT | LONG, 0),
	     STEP_POKE, PLACE(PLACE_DATA, 0), 8, LE4(1), STEP_POKE, PLACE(PLACE_DATA, 0), 12,
	     LE4(NEXT), OFFER(0), GO),
	SEED("no-length", 0, START, DESC(0, PLACE(PLACE_DATA, 0), 0, 0, 0), OFFER(0), GO),
	SEED("across-the-hole", 0, START, DESC(0, PLACE(PLACE_EDGE, 0), 9, 0, 0), OFFER(0), GO),
	SEED("in-the-hole", 0, START, DESC(0, PLACE(PLACE_HOLE, 0), 1, 0, 0), OFFER(0), GO),
	SEED("beyond-the-end", 0, START, DESC(0, PLACE(PLACE_END, 1), 8, 0, 0), OFFER(0), GO),
	SEED("address-wraps", 0, START, DESC(0, PLACE(PLACE_WRAP, 0), 65535, LONG, 0), OFFER(0),
	     GO),
	SEED("read-behind-write", 0, START, DESC(0, PLACE(PLACE_DATA, 0), 1, NEXT | WRITE, 1),
	     DESC(1, PLACE(PLACE_DATA, 0), 1, 0, 0), OFFER(0), GO),
	SEED("head-unknown", 0, START, OFFER(64), GO),
	SEED("successor-unknown", 0, START, DESC(0, PLACE(PLACE_DATA, 0), 1, NEXT, 64),
	     OFFER(0), GO),
	SEED("index-leaps", 0, START, STEP_INDEX, LE2(1000), GO),
	SEED("ring-over-itself", 0, START, HEADER(VIRTIO_BLK_T_IN, 0),
	     DESC(0, PLACE(PLACE_HEADER, 0), 16, NEXT, 1),
	     DESC(1, PLACE(PLACE_RINGS, 0), 512 * 7, NEXT | WRITE, 2),
	     DESC(2, PLACE(PLACE_RINGS, 2), 1, WRITE, 0), OFFER(0), GO, GO),
	SEED("notify-without-queue", 0, GO, STEP_NOTIFY, 255, START, STEP_NOTIFY, 1),
	SEED("start-twice", 0, START, REG(VIRTIO_MMIO_STATUS, 15), START, GO),
	SEED("ready-twice", 0, START, REG(VIRTIO_MMIO_QUEUE_READY, 1),
	     REG(VIRTIO_MMIO_QUEUE_NUM, 2), REG(VIRTIO_MMIO_QUEUE_READY, 0),
	     REG(VIRTIO_MMIO_QUEUE_NUM, 2), REG(VIRTIO_MMIO_QUEUE_READY, 1), OFFER(1), GO),
	SEED("queue-outside", 0, REG(VIRTIO_MMIO_QUEUE_NUM, 8),
	     REG(VIRTIO_MMIO_QUEUE_DESC_HIGH, 0xffffffff), REG(VIRTIO_MMIO_QUEUE_READY, 1)),
	SEED("selectors-unknown", 0, REG(VIRTIO_MMIO_QUEUE_SEL, 77),
	     REG(VIRTIO_MMIO_QUEUE_READY, 1), REG(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 9),
	     STEP_READ, LE2(0x10), 2, REG(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 9),
	     REG(VIRTIO_MMIO_DRIVER_FEATURES, 1)),
	SEED("configuration", 0, STEP_READ, LE2(0x100), 3, STEP_READ, LE2(0x13a), 2, STEP_STORE,
	     LE2(0x120), 0, LE4(1)),
	SEED("reset-at-work", 0, START, CHAIN(8, 0), CHAIN(8, 0),
	     REG(VIRTIO_MMIO_QUEUE_NOTIFY, 0), REG(VIRTIO_MMIO_STATUS, 0), GO),
	SEED("interrupts", 0, STEP_START, 0xf0, CHAIN(1, 0), GO,
	     REG(VIRTIO_MMIO_INTERRUPT_ACK, 1), STEP_POKE, PLACE(PLACE_RINGS, 2), 0, LE4(1),
	     CHAIN(1, 0), GO),
	SEED("legacy", VQ_LEGACY, START, HEADER(VIRTIO_BLK_T_IN, 3), CHAIN(8, 0), GO,
	     REG(VIRTIO_MMIO_QUEUE_PFN, 0)),
	SEED("legacy-misaligned", VQ_LEGACY, REG(VIRTIO_MMIO_GUEST_PAGE_SIZE, 1),
	     REG(VIRTIO_MMIO_QUEUE_NUM, 8), REG(VIRTIO_MMIO_QUEUE_ALIGN, 3),
	     REG(VIRTIO_MMIO_QUEUE_PFN, 4097)),
	SEED("random", VQ_RNG, START, DESC(0, PLACE(PLACE_DATA, 0), 100, WRITE, 0), OFFER(0),
	     GO),
	SEED("random-too-much", VQ_RNG, START,
	     DESC(0, PLACE(PLACE_DATA, 0), 10, NEXT | WRITE | LONG, 1),
	     DESC(1, PLACE(PLACE_HIGH, 0), 1, WRITE, 0), OFFER(0), OFFER(0), OFFER(0), GO),
	SEED("snapshot", VQ_OVERLAY, START, HEADER(VIRTIO_BLK_T_OUT, 3), CHAIN(20, 1), GO,
	     CHAIN(9, 1), STEP_SAVE, STEP_RUN),
	SEED("snapshot-half-set-up", 0, REG(VIRTIO_MMIO_QUEUE_NUM, 1000),
	     REG(VIRTIO_MMIO_QUEUE_DESC_HIGH, 5), STEP_SAVE, REG(VIRTIO_MMIO_QUEUE_READY, 1),
	     STEP_SAVE),
	SEED("snapshot-damaged", VQ_OVERLAY, START, HEADER(VIRTIO_BLK_T_OUT, 3), CHAIN(20, 1),
	     GO, STEP_DAMAGE, LE2(32), 255, STEP_DAMAGE, LE2(260), 1, STEP_RUN),
};

void virtqueue_seeds(void (*write)(const char *kind, const char *name, const void *data,
				   size_t len))
{
	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++)
		write("virtqueue", seeds[i].name, seeds[i].data, seeds[i].len);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk (virtio 1.2, 5.2) on a raw file or block device. */
#ifndef MAYFLY_VIRTIO_BLK_H
#define MAYFLY_VIRTIO_BLK_H

#include "virtio/device.h"

#define BLK_READONLY 1u
/* Writes go to a private overlay in memory, which ends with the device; not with READONLY. */
#define BLK_OVERLAY 2u

#define BLK_ID_LEN 20 /* 5.2.6 */

struct blk_config {
	const char *path; /* opened here; copied, for messages later */
	uint32_t flags;	  /* BLK_ */
	/*
	 * What the guest is told as the disk's serial, up to BLK_ID_LEN bytes; NULL: "mayfly"
	 */
	const char *id;
	/* Bytes of memory that the overlay may take, then writes fail; 0: the disk's size. */
	uint64_t overlay_limit;
};

/*
 * A request is done when the host's kernel has it; a flush is fdatasync(2). An exclusive lock
 * (of the open file description: fcntl(2), F_OFD_SETLK) for what is written, a shared one else,
 * so that two machines cannot write one disk. Errors: IO, INVALID (a directory, size no
 * multiple of 512), BUSY (locked by another), NOMEM.
 */
int blk_new(const struct blk_config *config, struct virtio_device **out, mayfly_error *err);

#endif

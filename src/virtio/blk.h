/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk (virtio 1.2, 5.2) on a raw file or block device. */
#ifndef MAYFLY_VIRTIO_BLK_H
#define MAYFLY_VIRTIO_BLK_H

#include "virtio/device.h"

#define BLK_READONLY 1u
#define BLK_OVERLAY                                                                            \
	2u /* writes go to a private overlay in memory, which ends with the device */

struct blk_config {
	const char *path; /* opened here; for messages later */
	uint32_t flags;	  /* BLK_ */
};

/*
 * A request is done when the host's kernel has it; a flush is fdatasync(2). An exclusive lock
 * (flock(2) on the open file description: F_OFD_SETLK) for what is written, a shared one else, so
 * that two machines cannot write one disk. Errors: IO, INVALID (a directory, size no multiple of
 * 512), BUSY (locked by another), NOMEM.
 */
int blk_new(const struct blk_config *config, struct virtio_device **out, mayfly_error *err);

#endif

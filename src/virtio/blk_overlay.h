/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest wrote to a disk that itself is only read: a sparse file in memory, as long as
 * the disk, and a bit for each granule that is to be taken from there. One thread at a time.
 */
#ifndef MAYFLY_VIRTIO_BLK_OVERLAY_H
#define MAYFLY_VIRTIO_BLK_OVERLAY_H

#include "core/codec.h"
#include "core/error.h"
#include "virtio/iov.h"

struct blk_overlay;

/*
 * In front of `base` (borrowed), `size` bytes long; writes beyond `limit` bytes of memory fail.
 * Errors: NOMEM, IO.
 */
int blk_overlay_new(int base, uint64_t size, uint64_t limit, struct blk_overlay **out,
		    mayfly_error *err);
/* NULL is allowed. */
void blk_overlay_free(struct blk_overlay *o);

/* The whole list, within the disk. 0 or -errno; -ENOSPC at the limit. */
int blk_overlay_read(struct blk_overlay *o, struct iov *v, uint64_t offset);
int blk_overlay_write(struct blk_overlay *o, struct iov *v, uint64_t offset);
/* Zeroes from now on; where `whole`, those granules only that lie within. */
int blk_overlay_zero(struct blk_overlay *o, uint64_t offset, uint64_t len, bool whole);

void blk_overlay_save(const struct blk_overlay *o, struct writer *w);
/* Of hostile bytes, into a new one. Errors: FORMAT, IO, LIMIT. */
int blk_overlay_load(struct blk_overlay *o, struct reader *r, mayfly_error *err);

#endif

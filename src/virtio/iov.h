/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of pieces of memory that are used up from the front. What is used up is cut off in the
 * array itself, which is the caller's (a chain's, in its queue); the memory is the guest's.
 */
#ifndef MAYFLY_VIRTIO_IOV_H
#define MAYFLY_VIRTIO_IOV_H

#include <sys/uio.h>

#include "core/util.h"

struct iov {
	struct iovec *at;
	uint32_t n;
};

uint64_t iov_len(const struct iov *v);
/* Cut off up to `len` bytes at the front. */
void iov_skip(struct iov *v, uint64_t len);
/*
 * Copy `len` bytes from or to the front and cut them off. False, nothing done: there are fewer.
 */
bool iov_get(struct iov *v, void *to, size_t len);
bool iov_put(struct iov *v, const void *from, size_t len);
/* Cut off the last byte; where it is. The list is not empty. */
uint8_t *iov_last(struct iov *v);
/*
 * Move `len` bytes, which are there, from the front of `from` to the empty list `to`, whose
 * array is as long as `from`'s at least.
 */
void iov_split(struct iov *from, uint64_t len, struct iov *to);

/*
 * Fill all of the list from the file, or write it. 0 or -errno: -EIO where the file ends
 * before.
 */
int iov_read_file(struct iov *v, int fd, uint64_t offset);
int iov_write_file(struct iov *v, int fd, uint64_t offset);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/iov.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

uint64_t iov_len(const struct iov *v)
{
	uint64_t len = 0;

	for (uint32_t i = 0; i < v->n; i++)
		len += v->at[i].iov_len;
	return len;
}

/* Cut `len` bytes, which it has, off the first piece. */
static void cut_first(struct iov *v, size_t len)
{
	v->at->iov_base = (uint8_t *)v->at->iov_base + len;
	v->at->iov_len -= len;
	if (!v->at->iov_len) {
		v->at++;
		v->n--;
	}
}

static size_t first_part(const struct iov *v, uint64_t len)
{
	return len < v->at->iov_len ? (size_t)len : v->at->iov_len;
}

void iov_skip(struct iov *v, uint64_t len)
{
	while (len && v->n) {
		size_t n = first_part(v, len);

		cut_first(v, n);
		len -= n;
	}
}

bool iov_get(struct iov *v, void *to, size_t len)
{
	uint8_t *p = to;

	if (iov_len(v) < len)
		return false;
	while (len) {
		size_t n = first_part(v, len);

		memcpy(p, v->at->iov_base, n);
		cut_first(v, n);
		p += n;
		len -= n;
	}
	/* The guest may write there: the copy is what counts from here on. */
	__asm__ volatile("" : : : "memory");
	return true;
}

bool iov_put(struct iov *v, const void *from, size_t len)
{
	const uint8_t *p = from;

	if (iov_len(v) < len)
		return false;
	while (len) {
		size_t n = first_part(v, len);

		memcpy(v->at->iov_base, p, n);
		cut_first(v, n);
		p += n;
		len -= n;
	}
	return true;
}

uint8_t *iov_last(struct iov *v)
{
	struct iovec *last = &v->at[v->n - 1];
	uint8_t *at = (uint8_t *)last->iov_base + --last->iov_len;

	if (!last->iov_len)
		v->n--;
	return at;
}

void iov_split(struct iov *from, uint64_t len, struct iov *to)
{
	to->n = 0;
	while (len) {
		size_t n = first_part(from, len);

		to->at[to->n++] = (struct iovec){from->at->iov_base, n};
		cut_first(from, n);
		len -= n;
	}
}

static int transfer(struct iov *v, int fd, uint64_t offset, bool write)
{
	while (v->n) {
		int count = v->n < IOV_MAX ? (int)v->n : IOV_MAX;
		ssize_t n = write ? pwritev(fd, v->at, count, (off_t)offset)
				  : preadv(fd, v->at, count, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -EIO;
		iov_skip(v, (uint64_t)n);
		offset += (uint64_t)n;
	}
	return 0;
}

int iov_read_file(struct iov *v, int fd, uint64_t offset)
{
	return transfer(v, fd, offset, false);
}

int iov_write_file(struct iov *v, int fd, uint64_t offset)
{
	return transfer(v, fd, offset, true);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot_bytes.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/io.h"
#include "hv/mock.h"

#define NEED(condition)                                                                        \
	do {                                                                                   \
		if (!(condition)) {                                                            \
			fprintf(stderr, "snapshot_bytes: broken: %s\n", #condition);           \
			abort();                                                               \
		}                                                                              \
	} while (0)

_Static_assert(sizeof(struct snapshot_header) == PAGE_SIZE, "the header is one page");

static void make_fd(struct snapshot_bytes *b)
{
	b->fd = memfd_create("snapshot-bytes", MFD_CLOEXEC);
	NEED(b->fd >= 0);
}

void snapshot_bytes_save(const struct mayfly_snapshot *snap, struct snapshot_bytes *out)
{
	/* Where fsync costs nothing, if there is such a place. */
	char fast[] = "/dev/shm/mayfly-test-XXXXXX", slow[] = "/tmp/mayfly-test-XXXXXX";
	char *path = access("/dev/shm", W_OK) == 0 ? fast : slow;
	mayfly_error err = {0};
	int fd = mkstemp(path);
	off_t len;

	NEED(fd >= 0);
	close(fd);
	NEED(snapshot_save(snap, path, &err) == 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	NEED(fd >= 0);
	unlink(path);
	len = lseek(fd, 0, SEEK_END);
	NEED(len > 0);
	out->len = (size_t)len;
	out->data = malloc(out->len);
	NEED(out->data);
	NEED(read_all(fd, out->data, out->len, 0, &err) == 0);
	close(fd);
	make_fd(out);
}

void snapshot_bytes_copy(const void *data, size_t len, struct snapshot_bytes *out)
{
	out->len = len;
	out->data = malloc(len + 1);
	NEED(out->data);
	if (len)
		memcpy(out->data, data, len);
	make_fd(out);
}

void snapshot_bytes_free(struct snapshot_bytes *b)
{
	free(b->data);
	close(b->fd);
}

static uint64_t hash_body(const struct snapshot_bytes *b, struct snapshot_header *h)
{
	/* On the heap: not every stack keeps its alignment. */
	XXH3_state_t *hash = XXH3_createState();
	uint64_t digest;

	NEED(hash);
	XXH3_64bits_reset(hash);
	XXH3_64bits_update(hash, b->data + PAGE_SIZE, h->description_len);
	h->description_hash = XXH3_64bits_digest(hash);
	XXH3_64bits_update(hash, b->data + h->shared_offset, h->shared_len);
	h->npresent = 0;
	for (uint64_t n = 0; n < h->private_used / PAGE_SIZE; n++) {
		const uint8_t *page = b->data + h->private_offset + n * PAGE_SIZE;

		if (page[0] == 0 && memcmp(page, page + 1, PAGE_SIZE - 1) == 0)
			continue;
		XXH3_64bits_update(hash, &n, sizeof(n));
		XXH3_64bits_update(hash, page, PAGE_SIZE);
		h->npresent++;
	}
	digest = XXH3_64bits_digest(hash);
	XXH3_freeState(hash);
	return digest;
}

bool snapshot_bytes_fix(struct snapshot_bytes *b)
{
	struct snapshot_header h;
	bool whole;

	if (b->len < sizeof(h))
		return false;
	memcpy(&h, b->data, sizeof(h));
	whole = range_within(PAGE_SIZE, h.description_len, b->len) &&
		range_within(h.shared_offset, h.shared_len, b->len) &&
		range_within(h.private_offset, h.private_used, b->len);
	if (whole)
		h.body_hash = hash_body(b, &h);
	h.header_hash = 0;
	h.header_hash = XXH3_64bits(&h, sizeof(h));
	memcpy(b->data, &h, sizeof(h));
	return whole;
}

int snapshot_bytes_open(struct snapshot_bytes *b, struct mayfly_snapshot **out,
			mayfly_error *err)
{
	char path[64];

	/* Empty first: zero pages become holes, as they are in saved files. */
	NEED(ftruncate(b->fd, 0) == 0 && ftruncate(b->fd, (off_t)b->len) == 0);
	for (size_t at = 0; at < b->len; at += PAGE_SIZE) {
		size_t part = b->len - at < PAGE_SIZE ? b->len - at : PAGE_SIZE;
		const uint8_t *p = b->data + at;

		if (p[0] || memcmp(p, p + 1, part - 1) != 0)
			NEED(write_all(b->fd, p, part, at, NULL) == 0);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", b->fd);
	return snapshot_open(path, sandbox_kinds, mock_host(), out, err);
}

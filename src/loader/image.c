/* SPDX-License-Identifier: Apache-2.0 */
#include "loader/image.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/io.h"

/* Mappings of one piece of a file: each costs the host's kernel. */
#define MAX_PIECES 16
#define SEARCHED_AT_ONCE ((uint64_t)64 << 10)

int image_read(const struct image *image, uint64_t offset, void *to, uint64_t len,
	       mayfly_error *err)
{
	if (!range_within(offset, len, image->len))
		return fail(err, MAYFLY_E_FORMAT, "%llu bytes at offset %llu of a file of %llu",
			    (unsigned long long)len, (unsigned long long)offset,
			    (unsigned long long)image->len);
	if (!image->data)
		return read_all(image->fd, to, len, offset, err);
	memcpy(to, image->data + offset, len);
	return MAYFLY_OK;
}

/* Whole pages, of which the file has all. */
static int map(struct image *image, uint64_t offset, uint8_t *to, uint64_t len,
	       mayfly_error *err)
{
	if (mmap(to, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED,
		 image->fd, (off_t)offset) == MAP_FAILED)
		return fail_errno(err, MAYFLY_E_NOMEM, errno, "mapping a file");
	/* As the rest of the memory. */
	madvise(to, len, MADV_DONTFORK);
	if (!image->mapped || to < image->mapped)
		image->mapped = to;
	if (to + len > image->mapped_end)
		image->mapped_end = to + len;
	return MAYFLY_OK;
}

/* The next part of the file, at or after `from`, that is no hole; false: there is none. */
static bool next_data(const struct image *image, uint64_t from, uint64_t end,
		      uint64_t *ret_from, uint64_t *ret_end)
{
	off_t data = lseek(image->fd, (off_t)from, SEEK_DATA), hole;

	if (data < 0 && errno == ENXIO)
		return false;
	/* Where file systems do not tell, all of it is data. */
	if (data < 0)
		data = (off_t)from;
	hole = lseek(image->fd, data, SEEK_HOLE);
	*ret_from = page_down((uint64_t)data) > from ? page_down((uint64_t)data) : from;
	*ret_end = hole < 0 || page_up((uint64_t)hole) > end ? end : page_up((uint64_t)hole);
	return *ret_from < end;
}

/*
 * Holes are left as the zeroes that are there: memory that a kernel clears, or fills, once more,
 * and that can be huge pages of the host's.
 */
static int map_data(struct image *image, uint64_t offset, uint8_t *to, uint64_t len,
		    mayfly_error *err)
{
	uint64_t end = offset + len, at = offset, from, until;
	int r = MAYFLY_OK;

	for (int pieces = 1; r == MAYFLY_OK && next_data(image, at, end, &from, &until);
	     pieces++) {
		if (pieces == MAX_PIECES)
			until = end;
		r = map(image, from, to + (from - offset), until - from, err);
		at = until;
	}
	return r;
}

int image_place(struct image *image, uint64_t offset, uint8_t *to, uint64_t len,
		mayfly_error *err)
{
	uint64_t head = -offset & PAGE_MASK, whole;
	int r;

	if (!image->stays || image->data || ((offset ^ (uintptr_t)to) & PAGE_MASK) ||
	    len < head + PAGE_SIZE || !range_within(offset, len, image->len))
		return image_read(image, offset, to, len, err);
	whole = page_down(len - head);
	if ((r = image_read(image, offset, to, head, err)) ||
	    (r = map_data(image, offset + head, to + head, whole, err)))
		return r;
	head += whole;
	return image_read(image, offset + head, to + head, len - head, err);
}

bool image_contains(const struct image *image, const char *text)
{
	uint64_t n = strlen(text), at = 0, len;
	_cleanup_free_ uint8_t *buffer = NULL;
	bool found;

	if (image->data)
		return memmem(image->data, image->len, text, n);
	buffer = malloc(SEARCHED_AT_ONCE);
	/* Each part begins with the end of the one before, but for a byte less than the text. */
	do {
		len = image->len - at < SEARCHED_AT_ONCE ? image->len - at : SEARCHED_AT_ONCE;
		if (!buffer || image_read(image, at, buffer, len, NULL))
			return false;
		found = memmem(buffer, len, text, n);
		at += len < n ? len : len - n + 1;
	} while (!found && len == SEARCHED_AT_ONCE);
	return found;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/blk_overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/io.h"
#include "virtio/queue.h"

/* A page of the memory file: what most guests write as a whole. */
#define GRANULE PAGE_SIZE

struct blk_overlay {
	int base; /* borrowed */
	int file;
	uint64_t size;
	uint64_t limit; /* granules */
	uint64_t granules;
	/* A bit per granule each. */
	uint64_t *ours; /* to be taken from the file */
	uint64_t *data; /* it takes memory there; ours without data are zero */
	uint64_t used;	/* how many have data */
	struct iovec part[VIRTQ_MAX_IOV];
};

int blk_overlay_new(int base, uint64_t size, uint64_t limit, struct blk_overlay **out,
		    mayfly_error *err)
{
	struct blk_overlay *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return fail(err, MAYFLY_E_NOMEM, "out of memory");
	o->base = base;
	o->size = size;
	o->limit = limit ? limit / GRANULE : UINT64_MAX;
	o->granules = page_up(size) / GRANULE;
	o->file = memfd_create("mayfly-overlay", MFD_CLOEXEC);
	o->ours = calloc(bitmap_words(o->granules), sizeof(uint64_t));
	o->data = calloc(bitmap_words(o->granules), sizeof(uint64_t));
	if (o->file < 0)
		r = fail_errno(err, MAYFLY_E_IO, errno, "memfd_create");
	else if (!o->ours || !o->data)
		r = fail(err, MAYFLY_E_NOMEM, "out of memory");
	else if ((r = set_file_size(o->file, page_up(size))) < 0)
		r = fail_errno(err, MAYFLY_E_IO, -r,
			       "a file in memory of %llu bytes, as long as the disk",
			       (unsigned long long)size);
	if (r < 0) {
		blk_overlay_free(o);
		return r;
	}
	*out = o;
	return 0;
}

void blk_overlay_free(struct blk_overlay *o)
{
	if (!o)
		return;
	if (o->file >= 0)
		close(o->file);
	free(o->ours);
	free(o->data);
	free(o);
}

/* The end of the granules from `first` on, up to `end`, that all have the bit, or have not. */
static uint64_t same_until(const uint64_t *map, uint64_t first, uint64_t end)
{
	bool set = bitmap_test(map, first);
	uint64_t same = set ? UINT64_MAX : 0, i = first + 1;

	while (i < end && bitmap_test(map, i) == set) {
		i++;
		while (i % 64 == 0 && end - i >= 64 && map[i / 64] == same)
			i += 64;
	}
	return i;
}

int blk_overlay_read(struct blk_overlay *o, struct iov *v, uint64_t offset)
{
	uint64_t left = iov_len(v), last = page_up(offset + left) / GRANULE;

	while (left) {
		uint64_t first = offset / GRANULE;
		uint64_t len = same_until(o->ours, first, last) * GRANULE - offset;
		bool ours = bitmap_test(o->ours, first);
		struct iov part = {o->part, 0};
		int r;

		if (len > left)
			len = left;
		iov_split(v, len, &part);
		r = iov_read_file(&part, ours ? o->file : o->base, offset);
		if (r < 0)
			return r;
		offset += len;
		left -= len;
	}
	return 0;
}

/* Have granules take memory, if there is as much. */
static int reserve(struct blk_overlay *o, uint64_t first, uint64_t end)
{
	uint64_t more = 0;

	for (uint64_t i = first; i < end; i++)
		more += !bitmap_test(o->data, i);
	if (!range_within(o->used, more, o->limit))
		return -ENOSPC;
	o->used += more;
	for (uint64_t i = first; i < end; i++)
		bitmap_set(o->data, i);
	return 0;
}

/* Have a granule be ours, with what the disk has there. */
static int fill_granule(struct blk_overlay *o, uint64_t granule)
{
	uint8_t buffer[GRANULE];
	uint64_t at = granule * GRANULE;
	uint64_t len = o->size - at < GRANULE ? o->size - at : GRANULE;
	mayfly_error err;
	int r;

	if (bitmap_test(o->ours, granule))
		return 0;
	r = reserve(o, granule, granule + 1);
	if (r < 0)
		return r;
	if (read_all(o->base, buffer, len, at, &err) < 0 ||
	    write_all(o->file, buffer, len, at, &err) < 0)
		return err.sys_errno ? -err.sys_errno : -EIO;
	bitmap_set(o->ours, granule);
	return 0;
}

/* Those granules that [offset, offset+len), not empty, covers in part only. */
static int fill_ends(struct blk_overlay *o, uint64_t offset, uint64_t len)
{
	uint64_t end = offset + len;
	int r = 0;

	if (offset % GRANULE)
		r = fill_granule(o, offset / GRANULE);
	if (r == 0 && end % GRANULE && end != o->size)
		r = fill_granule(o, end / GRANULE);
	return r;
}

static void set_ours(struct blk_overlay *o, uint64_t first, uint64_t end)
{
	for (uint64_t i = first; i < end; i++)
		bitmap_set(o->ours, i);
}

int blk_overlay_write(struct blk_overlay *o, struct iov *v, uint64_t offset)
{
	uint64_t len = iov_len(v);
	uint64_t first = offset / GRANULE, end = page_up(offset + len) / GRANULE;
	int r;

	if (!len)
		return 0;
	r = reserve(o, first, end);
	if (r == 0)
		r = fill_ends(o, offset, len);
	if (r == 0)
		r = iov_write_file(v, o->file, offset);
	/* After a failure the disk's own blocks still show. */
	if (r == 0)
		set_ours(o, first, end);
	return r;
}

/* Those that lie within [offset, end) as a whole take no memory any more, and are zero. */
static void drop_whole(struct blk_overlay *o, uint64_t offset, uint64_t end)
{
	uint64_t last = end == o->size ? o->granules : end / GRANULE;

	for (uint64_t i = page_up(offset) / GRANULE; i < last; i++) {
		o->used -= bitmap_test(o->data, i);
		bitmap_clear(o->data, i);
		bitmap_set(o->ours, i);
	}
}

int blk_overlay_zero(struct blk_overlay *o, uint64_t offset, uint64_t len, bool whole)
{
	uint64_t end = offset + len;
	int r;

	if (whole) {
		offset = page_up(offset);
		end = end == o->size ? end : page_down(end);
	}
	if (offset >= end)
		return 0;
	r = fill_ends(o, offset, end - offset);
	/*
	 * The kernel zeroes parts of pages and frees whole ones; the last one is whole for it.
	 */
	if (r == 0)
		r = allocate_file(o->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
				  (end == o->size ? page_up(end) : end) - offset);
	if (r == 0)
		drop_whole(o, offset, end);
	return r;
}

/* --- snapshots: runs of granules, each with a kind and, unless zero, its bytes ------------ */

enum run_kind { RUN_END, RUN_ZERO, RUN_DATA };

static void save_data(const struct blk_overlay *o, uint64_t first, uint64_t count,
		      struct writer *w)
{
	uint8_t buffer[GRANULE];

	for (uint64_t i = first; i < first + count && !w->failed; i++) {
		if (read_all(o->file, buffer, GRANULE, i * GRANULE, NULL) < 0)
			w->failed = true;
		put_bytes(w, buffer, GRANULE);
	}
}

void blk_overlay_save(const struct blk_overlay *o, struct writer *w)
{
	uint64_t i = 0;

	while (i < o->granules) {
		uint64_t end = same_until(o->ours, i, o->granules);

		while (bitmap_test(o->ours, i) && i < end) {
			uint64_t next = same_until(o->data, i, end);
			enum run_kind kind = bitmap_test(o->data, i) ? RUN_DATA : RUN_ZERO;

			put_u64(w, kind);
			put_u64(w, i);
			put_u64(w, next - i);
			if (kind == RUN_DATA)
				save_data(o, i, next - i, w);
			i = next;
		}
		i = end;
	}
	put_u64(w, RUN_END);
}

static int load_data(struct blk_overlay *o, struct reader *r, uint64_t first, uint64_t count,
		     mayfly_error *err)
{
	int result;

	if (count > r->left / GRANULE) {
		r->bad = true;
		return 0;
	}
	if (reserve(o, first, first + count) < 0)
		return fail(err, MAYFLY_E_LIMIT,
			    "what was written to the disk is more than its limit");
	result = write_all(o->file, r->data, count * GRANULE, first * GRANULE, err);
	r->data += count * GRANULE;
	r->left -= count * GRANULE;
	return result;
}

int blk_overlay_load(struct blk_overlay *o, struct reader *r, mayfly_error *err)
{
	uint64_t next = 0, kind;

	while ((kind = get_count(r, RUN_DATA)) != RUN_END) {
		uint64_t first = get_u64(r), count = get_u64(r);
		int result = 0;

		if (r->bad || first < next || !count ||
		    !range_within(first, count, o->granules))
			break;
		next = first + count;
		if (kind == RUN_DATA)
			result = load_data(o, r, first, count, err);
		if (result < 0)
			return result;
		set_ours(o, first, next);
	}
	if (r->bad || kind != RUN_END)
		return fail(err, MAYFLY_E_FORMAT, "what was written to the disk is damaged");
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/blk_overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/io.h"
#include "virtio/queue.h"

/* A page of the memory file: what most guests write as a whole. */
#define GRANULE PAGE_SIZE

struct blk_overlay {
	int base; /* borrowed */
	int file;
	uint64_t size;
	uint64_t limit;
	uint64_t granules;
	uint64_t *ours; /* a bit per granule */
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
	o->limit = limit;
	o->granules = page_up(size) / GRANULE;
	o->file = memfd_create("mayfly-overlay", MFD_CLOEXEC);
	o->ours = calloc(bitmap_words(o->granules), sizeof(uint64_t));
	if (o->file < 0)
		r = fail_errno(err, MAYFLY_E_IO, errno, "memfd_create");
	else if (!o->ours)
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
	free(o);
}

/* The end of the granules from `first` on, up to `end`, that all are, or are not, ours. */
static uint64_t same_until(const struct blk_overlay *o, uint64_t first, uint64_t end)
{
	bool ours = bitmap_test(o->ours, first);
	uint64_t same = ours ? UINT64_MAX : 0, i = first + 1;

	while (i < end && bitmap_test(o->ours, i) == ours) {
		i++;
		while (i % 64 == 0 && end - i >= 64 && o->ours[i / 64] == same)
			i += 64;
	}
	return i;
}

int blk_overlay_read(struct blk_overlay *o, struct iov *v, uint64_t offset)
{
	uint64_t left = iov_len(v), last = page_up(offset + left) / GRANULE;

	while (left) {
		uint64_t first = offset / GRANULE;
		uint64_t len = same_until(o, first, last) * GRANULE - offset;
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

/* Have a granule be ours, with what the disk has there. */
static int fill_granule(struct blk_overlay *o, uint64_t granule)
{
	uint8_t buffer[GRANULE];
	uint64_t at = granule * GRANULE;
	uint64_t len = o->size - at < GRANULE ? o->size - at : GRANULE;
	mayfly_error err;

	if (bitmap_test(o->ours, granule))
		return 0;
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

static void set_ours(struct blk_overlay *o, uint64_t offset, uint64_t len)
{
	uint64_t end = page_up(offset + len) / GRANULE;

	for (uint64_t i = offset / GRANULE; i < end; i++)
		bitmap_set(o->ours, i);
}

/* Room for what `len` bytes may take beyond what is taken now. */
static int check_limit(const struct blk_overlay *o, uint64_t len)
{
	uint64_t used;
	struct stat st;

	if (!o->limit)
		return 0;
	if (fstat(o->file, &st) < 0)
		return -errno;
	used = (uint64_t)st.st_blocks * 512; /* stat(2): always units of 512 */
	return range_within(used, len + 2 * GRANULE, o->limit) ? 0 : -ENOSPC;
}

int blk_overlay_write(struct blk_overlay *o, struct iov *v, uint64_t offset)
{
	uint64_t len = iov_len(v);
	int r;

	if (!len)
		return 0;
	r = check_limit(o, len);
	if (r == 0)
		r = fill_ends(o, offset, len);
	if (r == 0)
		r = iov_write_file(v, o->file, offset);
	/* After a failure the disk's blocks show as before. */
	if (r == 0)
		set_ours(o, offset, len);
	return r;
}

int blk_overlay_zero(struct blk_overlay *o, uint64_t offset, uint64_t len, bool whole)
{
	uint64_t end = offset + len;
	int r;

	if (whole) {
		offset = page_up(offset);
		end = end == o->size ? end : page_down(end);
		if (offset >= end)
			return 0;
		len = end - offset;
	}
	if (!len)
		return 0;
	r = check_limit(o, 0);
	if (r == 0)
		r = fill_ends(o, offset, len);
	/* The kernel zeroes parts of pages and frees whole ones. */
	if (r == 0)
		r = allocate_file(o->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
				  len);
	if (r == 0)
		set_ours(o, offset, len);
	return r;
}

/* --- snapshots: runs of granules, each with a kind and, unless zero, its bytes -------------- */

enum run_kind { RUN_END, RUN_ZERO, RUN_DATA };

/* Where the run of `kind` ends that begins at granule `first`, of ours. */
static uint64_t run_of(const struct blk_overlay *o, uint64_t first, enum run_kind *kind)
{
	uint64_t until = same_until(o, first, o->granules);
	off_t data = lseek(o->file, (off_t)(first * GRANULE), SEEK_DATA), hole;
	uint64_t end;

	/* ENXIO: nothing but a hole from here on. */
	*kind = RUN_ZERO;
	if (data < 0)
		return until;
	end = (uint64_t)data / GRANULE;
	if (end <= first) {
		*kind = RUN_DATA;
		hole = lseek(o->file, (off_t)(first * GRANULE), SEEK_HOLE);
		end = hole < 0 ? until : page_up((uint64_t)hole) / GRANULE;
		if (end <= first)
			end = first + 1;
	}
	return end < until ? end : until;
}

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
		enum run_kind kind;
		uint64_t end;

		if (!bitmap_test(o->ours, i)) {
			i = same_until(o, i, o->granules);
			continue;
		}
		end = run_of(o, i, &kind);
		put_u64(w, kind);
		put_u64(w, i);
		put_u64(w, end - i);
		if (kind == RUN_DATA)
			save_data(o, i, end - i, w);
		i = end;
	}
	put_u64(w, RUN_END);
}

int blk_overlay_load(struct blk_overlay *o, struct reader *r, mayfly_error *err)
{
	uint64_t next = 0, kind;

	while ((kind = get_count(r, RUN_DATA)) != RUN_END) {
		uint64_t first = get_u64(r), count = get_u64(r);

		if (r->bad || first < next || !count ||
		    !range_within(first, count, o->granules))
			break;
		next = first + count;
		set_ours(o, first * GRANULE, count * GRANULE);
		if (kind == RUN_ZERO)
			continue;
		if (count > r->left / GRANULE) {
			r->bad = true;
			break;
		}
		if (write_all(o->file, r->data, count * GRANULE, first * GRANULE, err) < 0)
			return err ? err->code : MAYFLY_E_IO;
		r->data += count * GRANULE;
		r->left -= count * GRANULE;
	}
	if (r->bad || kind != RUN_END)
		return fail(err, MAYFLY_E_FORMAT, "what was written to the disk is damaged");
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Address spaces from snapshots, and back to them. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "abi/program.h"
#include "arch/x86_64/paging.h"
#include "linux/files.h"
#include "linux/mm_chunks.h"
#include "snapshot/instance.h"

/* Of a bitmap with a bit for each page of a chunk. */
#define CHUNK_WORDS (MM_CHUNK / PAGE_SIZE / 64)

int mm_track(struct mm *mm)
{
	mm->host_wrote = calloc(bitmap_words(mm->chunks_gpa / PAGE_SIZE +
					     mm->max_chunks * (MM_CHUNK / PAGE_SIZE)),
				sizeof(uint64_t));
	mm->remapped = calloc(bitmap_words(mm->max_chunks), sizeof(uint64_t));
	mm->fixed_chunks = calloc(bitmap_words(mm->max_chunks), sizeof(uint64_t));
	mm->fixed_pages =
		calloc((size_t)mm->max_chunks * CHUNK_WORDS, sizeof(*mm->fixed_pages));
	return mm->host_wrote && mm->remapped && mm->fixed_chunks && mm->fixed_pages ? 0
										     : -ENOMEM;
}

/* Which pages of the piece at `start`, in this chunk, are not to be restored by copying. */
static void note_fixed(struct mm *mm, uint64_t start, uint32_t chunk)
{
	uint64_t *fixed = mm->fixed_pages + (size_t)chunk * CHUNK_WORDS;
	uint64_t end = start + MM_CHUNK;

	bitmap_set(mm->fixed_chunks, chunk);
	memset(fixed, 0xff, CHUNK_WORDS * sizeof(*fixed));
	for (size_t i = area_find(mm, start); i < mm->nareas && mm->areas[i].start < end; i++) {
		const struct area *a = &mm->areas[i];
		uint64_t from = a->start > start ? a->start : start;
		uint64_t to = a->end < end ? a->end : end;

		for (; a->prot & PROT_WRITE && from < to; from += PAGE_SIZE)
			bitmap_clear(fixed, (from - start) / PAGE_SIZE);
	}
}

int mm_adopt_chunk(struct mm *mm, uint64_t va, uint32_t chunk)
{
	uint64_t *entry = mm_directory_entry(mm, va);

	if (!entry || instance_reach(mm->inst, mm_chunk_gpa(mm, chunk) + MM_CHUNK, NULL) < 0)
		return -ENOMEM;
	mm_put_chunk(mm, va, chunk);
	if (chunk >= mm->nchunks)
		mm->nchunks = chunk + 1;
	__atomic_store_n(entry,
			 paging_table_entry(PROG_LEAVES_GPA + (uint64_t)chunk * PAGE_SIZE),
			 __ATOMIC_RELEASE);
	return 0;
}

/*
 * Part of an area, or (NULL) of a hole between areas, in one chunk. The image is mapped there as
 * far as it goes, readable and writable; behind it is nothing.
 */
static int apply_part(struct mm *mm, const struct area *a, uint64_t start, uint64_t end)
{
	uint8_t *host = mm_host_address(mm, start);
	uint8_t *image_end = mm->base + mm->inst->snap->used;
	uint64_t len = end - start, in_image = 0;
	int prot = mm_host_prot(a ? a->prot : 0), r = 0;

	if (host < image_end)
		in_image =
			(uint64_t)(image_end - host) < len ? (uint64_t)(image_end - host) : len;
	if (in_image && prot != (PROT_READ | PROT_WRITE) && mprotect(host, in_image, prot) < 0)
		return -errno;
	if (a && in_image < len)
		r = mm_host_map(mm, a, start + in_image, end);
	if (a && r == 0)
		mm_set_leaf(mm, start, end, a->prot);
	return r;
}

static int apply_piece(struct mm *mm, uint64_t start)
{
	uint64_t end = start + MM_CHUNK, at = start;
	int r = 0;

	if (end > PROG_VA_END)
		end = PROG_VA_END;
	for (size_t i = area_find(mm, start);
	     r == 0 && i < mm->nareas && mm->areas[i].start < end; i++) {
		const struct area *a = &mm->areas[i];
		uint64_t from = a->start > start ? a->start : start;

		if (from > at)
			r = apply_part(mm, NULL, at, from);
		at = a->end < end ? a->end : end;
		if (r == 0)
			r = apply_part(mm, a, from, at);
	}
	return r == 0 && at < end ? apply_part(mm, NULL, at, end) : r;
}

int mm_apply(struct mm *mm, bool again)
{
	uint64_t charge = 0;

	for (size_t i = 0; i < mm->nareas; i++) {
		const struct area *a = &mm->areas[i];

		if (mm_is_charged(a->prot, a))
			charge += mm_backed(mm, a->start, a->end);
	}
	if (!mm_charge(mm, charge))
		return -ENOMEM;
	for (uint32_t i = 0; i <= mm->chunk_mask; i++) {
		uint64_t e = atomic_load_explicit(&mm->chunk_table[i], memory_order_relaxed);

		if (!e || (again && !bitmap_test(mm->remapped, (e & 0xffffff) - 1)))
			continue;
		if (apply_piece(mm, (e >> 24) * MM_CHUNK) < 0)
			return -ENOMEM;
		if (again)
			note_fixed(mm, (e >> 24) * MM_CHUNK, (uint32_t)(e & 0xffffff) - 1);
	}
	if (mm->remapped)
		memset(mm->remapped, 0, bitmap_words(mm->max_chunks) * sizeof(uint64_t));
	return 0;
}

void mm_forget_areas(struct mm *mm)
{
	/* What else is charged, memfs's files, stays. */
	mm_uncharge(mm, mm_charge_of(mm, 0, PROG_VA_END));
	area_remove(mm, 0, PROG_VA_END);
}

int mm_unmap_remapped(struct mm *mm, const struct mayfly_snapshot *snap)
{
	for (uint32_t chunk = 0; chunk < mm->nchunks; chunk++) {
		uint64_t gpa = mm_chunk_gpa(mm, chunk);
		uint64_t in_image = 0;

		if (!bitmap_test(mm->remapped, chunk))
			continue;
		if (snap->used > gpa)
			in_image = snap->used - gpa < MM_CHUNK ? snap->used - gpa : MM_CHUNK;
		memset(mm_leaf(mm, chunk), 0, PAGE_SIZE);
		if (mmap(mm->base + gpa, MM_CHUNK, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
			 0) == MAP_FAILED)
			return -errno;
		if (in_image && mmap(mm->base + gpa, in_image, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, snap->fd,
				     (off_t)(snap->offset + gpa)) == MAP_FAILED)
			return -errno;
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory on the host: one anonymous private mapping, which costs nothing before it is
 * touched. A machine from a snapshot has the snapshot's file mapped over it, privately, where
 * the file holds something; where it holds nothing the mapping stays anonymous, because a page
 * of a file's hole would be there twice, in the file's cache and, once written, in the machine.
 * The loader may map parts of a kernel's file in the same way (loader/image.h).
 */
#include <errno.h>
#include <sys/mman.h>

#include "core/pagemap.h"
#include "machine/machine.h"

/* So that huge pages of the host's can hold the guest's. */
#define ALIGNMENT ((uint64_t)2 << 20)

/*
 * Mappings of the image: at first a gap of this many pages ends one; more where there are many.
 */
#define GAP_PAGES 64
#define MAX_PIECES 256

/* Pages that are looked up in the pagemap at once. */
#define PAGEMAP_RUN 512

/*
 * The next piece from *at on: pages that are present, with less than `gap` others in between.
 */
static bool next_piece(const struct mayfly_snapshot *snap, uint64_t pages, uint64_t gap,
		       uint64_t *at, uint64_t *end)
{
	uint64_t page = *at, absent = 0;

	while (page < pages && !bitmap_test(snap->present, page)) {
		if (page % 64 == 0 && !snap->present[page / 64])
			page += 64;
		else
			page++;
	}
	if (page >= pages)
		return false;
	*at = page;
	for (*end = page; page < pages && absent < gap; page++) {
		if (bitmap_test(snap->present, page)) {
			*end = page + 1;
			absent = 0;
		} else {
			absent++;
		}
	}
	return true;
}

/* The smallest gap with which there are not too many pieces. */
static uint64_t find_gap(const struct mayfly_snapshot *snap, uint64_t pages)
{
	for (uint64_t gap = GAP_PAGES;; gap *= 2) {
		uint64_t at = 0, end, n = 0;

		while (n <= MAX_PIECES && next_piece(snap, pages, gap, &at, &end)) {
			at = end;
			n++;
		}
		if (n <= MAX_PIECES)
			return gap;
	}
}

static int map_image(struct machine *m, const struct mayfly_snapshot *snap, mayfly_error *err)
{
	uint64_t pages = m->ram.len / PAGE_SIZE, gap = find_gap(snap, pages), at = 0, end;

	while (next_piece(snap, pages, gap, &at, &end)) {
		if (mmap(m->ram.mem + at * PAGE_SIZE, (end - at) * PAGE_SIZE,
			 PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED,
			 snap->fd, (off_t)(snap->offset + at * PAGE_SIZE)) == MAP_FAILED)
			return fail_errno(err, MAYFLY_E_NOMEM, errno, "mapping a snapshot");
		at = end;
	}
	return 0;
}

int machine_map_memory(struct machine *m, const struct mayfly_snapshot *snap, mayfly_error *err)
{
	uint64_t len = m->config.memory;
	int r = 0;

	m->mapping_len = len + ALIGNMENT;
	m->mapping = mmap(NULL, m->mapping_len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->mapping == MAP_FAILED) {
		m->mapping = NULL;
		return fail_errno(err, MAYFLY_E_NOMEM, errno,
				  "%llu MiB of memory for a machine",
				  (unsigned long long)(len >> 20));
	}
	m->ram.mem = (uint8_t *)m->mapping + (-(uintptr_t)m->mapping % ALIGNMENT);
	m->ram.len = len;
	m->ram.low = len < RAM_LOW_MAX ? len : RAM_LOW_MAX;
	if (snap)
		r = map_image(m, snap, err);
	madvise(m->mapping, m->mapping_len, MADV_DONTFORK);
	return r;
}

void machine_unmap_memory(struct machine *m)
{
	if (m->mapping)
		munmap(m->mapping, m->mapping_len);
}

int machine_map_slots(struct machine *m, mayfly_error *err)
{
	struct hv_slot low = {.id = 0, .gpa = 0, .host = m->ram.mem, .len = m->ram.low};
	struct hv_slot high = {
		.id = 1,
		.gpa = RAM_HIGH,
		.host = m->ram.mem + m->ram.low,
		.len = m->ram.len - m->ram.low,
	};
	int r = hv_vm_map(m->vm, &low, err);

	return r < 0 || !high.len ? r : hv_vm_map(m->vm, &high, err);
}

/* --- Saving ------------------------------------------------------------------------------- */

uint64_t machine_own_memory(const struct machine *m)
{
	_cleanup_close_ int pagemap = pagemap_open();
	uint64_t pages = m->ram.len / PAGE_SIZE, entries[PAGEMAP_RUN], n = 0;

	for (uint64_t first = 0; first < pages; first += PAGEMAP_RUN) {
		uint64_t count = pages - first < PAGEMAP_RUN ? pages - first : PAGEMAP_RUN;

		if (!pagemap_read(pagemap, m->ram.mem + first * PAGE_SIZE, count, entries))
			break;
		for (uint64_t i = 0; i < count; i++)
			if (pagemap_is_own(entries[i]))
				n++;
	}
	return n * PAGE_SIZE;
}

/* Which of `count` pages from `first` on may hold something. */
static void find_pages(struct machine *m, int pagemap, uint64_t first, uint64_t count,
		       bool *there)
{
	uint64_t entries[PAGEMAP_RUN];
	bool known = pagemap_read(pagemap, m->ram.mem + first * PAGE_SIZE, count, entries);

	for (uint64_t i = 0; i < count; i++)
		there[i] = !known || pagemap_is_there(entries[i]) ||
			   (first + i >= m->mapped_first && first + i < m->mapped_end) ||
			   (m->snap && bitmap_test(m->snap->present, first + i));
}

int machine_save_memory(struct machine *m, struct snapshot_builder *b, mayfly_error *err)
{
	_cleanup_close_ int pagemap = pagemap_open();
	uint64_t pages = m->ram.len / PAGE_SIZE;
	bool there[PAGEMAP_RUN];
	int r = 0;

	for (uint64_t first = 0; r == 0 && first < pages; first += PAGEMAP_RUN) {
		uint64_t count = pages - first < PAGEMAP_RUN ? pages - first : PAGEMAP_RUN;
		uint64_t end = 0;

		find_pages(m, pagemap, first, count, there);
		for (uint64_t at = 0; r == 0 && at < count; at = end + 1) {
			for (end = at; end < count && there[end];)
				end++;
			r = snapshot_builder_put(b, first + at,
						 m->ram.mem + (first + at) * PAGE_SIZE,
						 end - at, err);
		}
	}
	return r;
}

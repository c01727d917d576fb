/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/mm_chunks.h"

#include <errno.h>
#include <linux/mman.h>
#include <string.h>
#include <sys/mman.h>

#include "abi/program.h"
#include "arch/x86_64/paging.h"
#include "linux/files.h"
#include "snapshot/instance.h"

/* Those that will be written up to this size, pages too: a fault costs far more than a page. */
#define EAGER_PAGES ((uint64_t)1 << 20)

#define HASH_MULTIPLIER 0x9e3779b97f4a7c15ULL /* 2^64 / golden ratio */

static uint64_t piece_of(uint64_t va)
{
	return va / MM_CHUNK;
}

/* --- Chunks ------------------------------------------------------------------------------- */

/* Entries: piece << 24 | chunk + 1. A piece has 26 bits. */
int64_t mm_chunk_of(const struct mm *mm, uint64_t va)
{
	uint64_t piece = piece_of(va);
	uint32_t at = (uint32_t)(piece * HASH_MULTIPLIER >> 32) & mm->chunk_mask;

	for (;; at = (at + 1) & mm->chunk_mask) {
		uint64_t e = atomic_load_explicit(&mm->chunk_table[at], memory_order_acquire);

		if (!e)
			return -1;
		if (e >> 24 == piece)
			return (int64_t)(e & 0xffffff) - 1;
	}
}

/* The first of the pieces with chunks that end above `va`; mm->npieces if none. */
static uint32_t find_piece(const struct mm *mm, uint64_t va)
{
	uint32_t low = 0, high = mm->npieces;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (mm->pieces[mid] < piece_of(va))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void mm_put_chunk(struct mm *mm, uint64_t va, uint32_t chunk)
{
	uint64_t piece = piece_of(va);
	uint32_t at = (uint32_t)(piece * HASH_MULTIPLIER >> 32) & mm->chunk_mask;
	uint32_t i = find_piece(mm, va);

	memmove(mm->pieces + i + 1, mm->pieces + i, (mm->npieces - i) * sizeof(*mm->pieces));
	mm->pieces[i] = (uint32_t)piece;
	mm->npieces++;
	while (atomic_load_explicit(&mm->chunk_table[at], memory_order_relaxed))
		at = (at + 1) & mm->chunk_mask;
	atomic_store_explicit(&mm->chunk_table[at], piece << 24 | (chunk + 1),
			      memory_order_release);
}

uint64_t mm_chunk_gpa(const struct mm *mm, int64_t chunk)
{
	return mm->chunks_gpa + (uint64_t)chunk * MM_CHUNK;
}

uint8_t *mm_host_address(const struct mm *mm, uint64_t va)
{
	int64_t chunk;

	if (va < PROG_LOW_VA || va >= PROG_VA_END)
		return NULL;
	chunk = mm_chunk_of(mm, va);
	return chunk < 0 ? NULL : mm->base + mm_chunk_gpa(mm, chunk) + va % MM_CHUNK;
}

/* --- The guest's page tables -------------------------------------------------------------- */

uint64_t *mm_leaf(const struct mm *mm, int64_t chunk)
{
	return (uint64_t *)(void *)(mm->base + PROG_LEAVES_GPA + (uint64_t)chunk * PAGE_SIZE);
}

static uint32_t paging_flags(uint32_t prot)
{
	uint32_t flags = PAGING_USER;

	if (prot & PROT_WRITE)
		flags |= PAGING_WRITE;
	if (prot & PROT_EXEC)
		flags |= PAGING_EXEC;
	return flags;
}

/* Rights of [start, end), which lies in one piece with a chunk. */
void mm_set_leaf(struct mm *mm, uint64_t start, uint64_t end, uint32_t prot)
{
	int64_t chunk = mm_chunk_of(mm, start);
	uint64_t *leaf = mm_leaf(mm, chunk);
	uint64_t gpa = mm_chunk_gpa(mm, chunk) + start % MM_CHUNK;

	for (uint64_t i = start % MM_CHUNK / PAGE_SIZE; start < end; i++) {
		uint64_t entry = prot ? paging_entry(gpa, paging_flags(prot)) : 0;

		__atomic_store_n(&leaf[i], entry, __ATOMIC_RELEASE);
		gpa += PAGE_SIZE;
		start += PAGE_SIZE;
	}
}

/* The entry of the piece in its page directory, with the tables above. NULL: no room. */
uint64_t *mm_directory_entry(struct mm *mm, uint64_t va)
{
	struct paging pg = {
		.mem = mm->base, .used = mm->tables_used, .capacity = PROG_TABLES_PAGES};
	uint64_t *entry = paging_directory_entry(&pg, va);

	mm->tables_used = pg.used;
	return entry;
}

/* A piece that was mapped as a whole gets a table of single pages. */
static void break_huge(struct mm *mm, uint64_t va)
{
	int64_t chunk = mm_chunk_of(mm, va);
	uint64_t *entry = mm_directory_entry(mm, va);
	uint64_t start = va / MM_CHUNK * MM_CHUNK;

	if (!entry || !paging_is_large(*entry))
		return;
	mm_set_leaf(mm, start, start + MM_CHUNK, PROT_READ | PROT_WRITE);
	__atomic_store_n(entry,
			 paging_table_entry(PROG_LEAVES_GPA + (uint64_t)chunk * PAGE_SIZE),
			 __ATOMIC_RELEASE);
}

/* --- Ranges: what has chunks, in runs that are contiguous on the host ---------------------- */

/* The part of piece i that lies in [start, end): whether there is any. */
static bool part_of_piece(const struct mm *mm, uint32_t i, uint64_t *start, uint64_t *end)
{
	uint64_t first = (uint64_t)mm->pieces[i] * MM_CHUNK;

	if (*start < first)
		*start = first;
	if (*end > first + MM_CHUNK)
		*end = first + MM_CHUNK;
	return *start < *end;
}

bool mm_next_run(const struct mm *mm, uint64_t at, uint64_t end, struct mm_run *run)
{
	run->host = NULL;
	for (uint32_t i = find_piece(mm, at); i < mm->npieces; i++) {
		uint64_t from = at, to = end;
		uint8_t *host;

		if (!part_of_piece(mm, i, &from, &to))
			break;
		host = mm_host_address(mm, from);
		if (run->host && (from != run->end || host != run->host + (from - run->start)))
			break;
		if (!run->host) {
			run->start = from;
			run->host = host;
		}
		run->end = to;
	}
	return run->host;
}

uint64_t mm_to_next_piece(const struct mm *mm, uint64_t va)
{
	uint32_t i = find_piece(mm, va);

	return i < mm->npieces ? (uint64_t)mm->pieces[i] * MM_CHUNK - va : PROG_VA_END - va;
}

void mm_set_rights(struct mm *mm, uint64_t start, uint64_t end, uint32_t prot)
{
	for (uint32_t i = find_piece(mm, start); i < mm->npieces; i++) {
		uint64_t from = start, to = end;

		if (!part_of_piece(mm, i, &from, &to))
			break;
		break_huge(mm, from);
		mm_set_leaf(mm, from, to, prot);
	}
}

static void note_remapped(struct mm *mm, uint64_t start, uint64_t end)
{
	if (!mm->remapped)
		return;
	for (uint32_t i = find_piece(mm, start); i < mm->npieces; i++) {
		uint64_t from = start, to = end;

		if (!part_of_piece(mm, i, &from, &to))
			break;
		bitmap_set(mm->remapped, (uint64_t)mm_chunk_of(mm, from));
	}
}

int mm_host_prot(uint32_t prot)
{
	int r = prot ? PROT_READ : PROT_NONE;

	return prot & PROT_WRITE ? r | PROT_WRITE : r;
}

/* Whatever is there: the addresses stay ours, or another mmap(2) could get guest memory. */
static bool reserve(uint8_t *host, uint64_t len)
{
	return mmap(host, len, PROT_NONE,
		    MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		    0) != MAP_FAILED;
}

/*
 * A file's mapping is made elsewhere and then moved: before Linux 6.12 mmap(2) with MAP_FIXED takes
 * away what is there first, and then asks the file, which may refuse (seals, file systems without
 * mappings). In the hole that this leaves other threads' mappings would be the guest's to write.
 */
static int map_file(const struct area *a, const struct mm_run *run)
{
	int flags = MAP_NORESERVE | (a->flags & MAP_SHARED ? MAP_SHARED : MAP_PRIVATE), r;
	off_t offset = (off_t)(a->offset + (run->start - a->start));
	uint64_t len = run->end - run->start;
	void *there = mmap(NULL, len, mm_host_prot(a->prot), flags, a->file->fd, offset);

	if (there == MAP_FAILED)
		return -errno;
	r = mm_host_move(there, run->host, len);
	if (r < 0)
		munmap(there, len);
	return r;
}

static int map_memory(const struct area *a, const struct mm_run *run)
{
	int r;

	if (mmap(run->host, run->end - run->start, mm_host_prot(a->prot),
		 MAP_FIXED | MAP_NORESERVE | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		return 0;
	r = -errno;
	reserve(run->host, run->end - run->start);
	return r;
}

int mm_host_move(void *from, uint8_t *to, uint64_t len)
{
	int r;

	if (mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED)
		return 0;
	r = -errno;
	reserve(to, len);
	return r;
}

/* Host mappings for [start, end) of the area, where there are chunks. 0 or -errno. */
int mm_host_map(struct mm *mm, const struct area *a, uint64_t start, uint64_t end)
{
	struct mm_run run;
	int r = 0;

	note_remapped(mm, start, end);
	for (uint64_t at = start; r == 0 && mm_next_run(mm, at, end, &run); at = run.end)
		r = a->file ? map_file(a, &run) : map_memory(a, &run);
	return r;
}

/* Nothing there any more; the addresses stay ours. */
void mm_host_unmap(struct mm *mm, uint64_t start, uint64_t end)
{
	struct mm_run run;

	note_remapped(mm, start, end);
	for (uint64_t at = start; mm_next_run(mm, at, end, &run); at = run.end)
		if (!reserve(run.host, run.end - run.start))
			madvise(run.host, run.end - run.start, MADV_DONTNEED);
}

void mm_host_protect(struct mm *mm, uint64_t start, uint64_t end, uint32_t prot)
{
	struct mm_run run;

	note_remapped(mm, start, end);
	for (uint64_t at = start; mm_next_run(mm, at, end, &run); at = run.end)
		mprotect(run.host, run.end - run.start, mm_host_prot(prot));
}

/* --- Charging ----------------------------------------------------------------------------- */

bool mm_is_charged(uint32_t prot, const struct area *a)
{
	return ((prot & PROT_WRITE) || (a->flags & AREA_WRITTEN)) &&
	       (!a->file || !(a->flags & MAP_SHARED));
}

/* Bytes of [start, end) in pieces with chunks. */
uint64_t mm_backed(const struct mm *mm, uint64_t start, uint64_t end)
{
	uint64_t sum = 0;
	struct mm_run run;

	for (uint64_t at = start; mm_next_run(mm, at, end, &run); at = run.end)
		sum += run.end - run.start;
	return sum;
}

/* What the areas in [start, end) are charged. */
uint64_t mm_charge_of(const struct mm *mm, uint64_t start, uint64_t end)
{
	uint64_t sum = 0;

	for (size_t i = area_find(mm, start); i < mm->nareas && mm->areas[i].start < end; i++) {
		const struct area *a = &mm->areas[i];

		if (mm_is_charged(a->prot, a))
			sum += mm_backed(mm, a->start > start ? a->start : start,
					 a->end < end ? a->end : end);
	}
	return sum;
}

/* --- Giving chunks ------------------------------------------------------------------------ */

static bool is_huge_candidate(const struct mm *mm, const struct area *a, uint64_t start)
{
	return !mm->remapped && !a->file && a->prot == (PROT_READ | PROT_WRITE) &&
	       !(a->flags & MAP_STACK) && a->end - a->start >= MM_HUGE_AREA &&
	       a->start <= start && a->end >= start + MM_CHUNK;
}

static int fill_chunk(struct mm *mm, uint64_t start)
{
	for (size_t i = area_find(mm, start);
	     i < mm->nareas && mm->areas[i].start < start + MM_CHUNK; i++) {
		const struct area *a = &mm->areas[i];
		uint64_t from = a->start > start ? a->start : start;
		uint64_t to = a->end < start + MM_CHUNK ? a->end : start + MM_CHUNK;
		int r = mm_host_map(mm, a, from, to);

		if (r < 0)
			return r;
		mm_set_leaf(mm, from, to, a->prot);
	}
	return 0;
}

/* Hold the lock for writing. 0, -ENOMEM or another of mmap(2). */
int mm_give_chunk_locked(struct mm *mm, uint64_t va)
{
	uint64_t start = va / MM_CHUNK * MM_CHUNK, charge = 0, *entry;
	uint32_t chunk = mm->nchunks;
	const struct area *a;
	uint64_t leaf;
	int r;

	if (chunk == mm->max_chunks)
		return -ENOMEM;
	for (size_t i = area_find(mm, start);
	     i < mm->nareas && mm->areas[i].start < start + MM_CHUNK; i++) {
		a = &mm->areas[i];
		if (mm_is_charged(a->prot, a))
			charge += (a->end < start + MM_CHUNK ? a->end : start + MM_CHUNK) -
				  (a->start > start ? a->start : start);
	}
	entry = mm_directory_entry(mm, start);
	if (!entry || !mm_charge(mm, charge))
		return -ENOMEM;
	if (instance_reach(mm->inst, mm_chunk_gpa(mm, chunk) + MM_CHUNK, NULL) < 0) {
		mm_uncharge(mm, charge);
		return -ENOMEM;
	}
	mm->nchunks++;
	mm_put_chunk(mm, start, chunk);
	if (mm->remapped)
		bitmap_set(mm->remapped, chunk);
	a = &mm->areas[area_find(mm, va)];
	leaf = PROG_LEAVES_GPA + (uint64_t)chunk * PAGE_SIZE;
	memset(mm_leaf(mm, chunk), 0, PAGE_SIZE);
	r = fill_chunk(mm, start);
	if (r == 0 && is_huge_candidate(mm, a, start)) {
		madvise(mm_host_address(mm, start), MM_CHUNK, MADV_HUGEPAGE);
		__atomic_store_n(
			entry,
			paging_large_entry(mm_chunk_gpa(mm, chunk), paging_flags(a->prot)),
			__ATOMIC_RELEASE);
		return 0;
	}
	__atomic_store_n(entry, paging_table_entry(leaf), __ATOMIC_RELEASE);
	return r;
}

int mm_give_chunk(struct mm *mm, uint64_t va)
{
	int r = 0;
	size_t i;

	if (va < PROG_LOW_VA || va >= PROG_VA_END)
		return -EFAULT;
	pthread_rwlock_wrlock(&mm->lock);
	if (mm_chunk_of(mm, va) < 0) {
		i = area_find(mm, va);
		if (i == mm->nareas || mm->areas[i].start > va || !mm->areas[i].prot)
			r = -EFAULT;
		else
			r = mm_give_chunk_locked(mm, va);
	}
	pthread_rwlock_unlock(&mm->lock);
	return r;
}

/* For a new area: chunks now if it is small, pages too if it is very small. */
int mm_populate(struct mm *mm, const struct area *a, bool with_file)
{
	bool written = mm_is_charged(a->prot, a) && (with_file || !a->file);
	struct mm_run run;

	if (!a->prot || a->end - a->start > MM_EAGER_MAP || (a->flags & MAP_NORESERVE))
		return 0;
	for (uint64_t va = a->start; va < a->end; va = (va / MM_CHUNK + 1) * MM_CHUNK) {
		int r = mm_chunk_of(mm, va) < 0 ? mm_give_chunk_locked(mm, va) : 0;

		if (r < 0)
			return r;
	}
	if (!written || a->end - a->start > EAGER_PAGES)
		return 0;
	for (uint64_t at = a->start; mm_next_run(mm, at, a->end, &run); at = run.end)
		madvise(run.host, run.end - run.start, MADV_POPULATE_WRITE);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The address space: chunks, rights, host mappings. See mm.h for how they hang together. */
#include "linux/mm.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "abi/program.h"
#include "arch/x86_64/paging.h"
#include "linux/files.h"
#include "linux/mm_areas.h"
#include "snapshot/instance.h"

/* Mappings up to this size get their chunks at once: they will be used soon. */
#define EAGER_MAP ((uint64_t)4 << 20)
/* Those that will be written up to this size, pages too: a fault costs far more than a page. */
#define EAGER_PAGES ((uint64_t)1 << 20)
/* Anonymous areas from this size on are backed by huge pages, piece by piece as they are used. */
#define HUGE_AREA ((uint64_t)4 << 20)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4 /* Linux 5.7 */
#endif

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

static void put_chunk(struct mm *mm, uint64_t va, uint32_t chunk)
{
	uint64_t piece = piece_of(va);
	uint32_t at = (uint32_t)(piece * HASH_MULTIPLIER >> 32) & mm->chunk_mask;

	while (atomic_load_explicit(&mm->chunk_table[at], memory_order_relaxed))
		at = (at + 1) & mm->chunk_mask;
	atomic_store_explicit(&mm->chunk_table[at], piece << 24 | (chunk + 1),
			      memory_order_release);
}

static uint64_t chunk_gpa(const struct mm *mm, int64_t chunk)
{
	return mm->chunks_gpa + (uint64_t)chunk * MM_CHUNK;
}

uint8_t *mm_host_address(const struct mm *mm, uint64_t va)
{
	int64_t chunk;

	if (va < PROG_LOW_VA || va >= PROG_VA_END)
		return NULL;
	chunk = mm_chunk_of(mm, va);
	return chunk < 0 ? NULL : mm->base + chunk_gpa(mm, chunk) + va % MM_CHUNK;
}

/* --- The guest's page tables -------------------------------------------------------------- */

static uint64_t *leaf_of(const struct mm *mm, int64_t chunk)
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
static void set_leaf(struct mm *mm, uint64_t start, uint64_t end, uint32_t prot)
{
	int64_t chunk = mm_chunk_of(mm, start);
	uint64_t *leaf = leaf_of(mm, chunk);
	uint64_t gpa = chunk_gpa(mm, chunk) + start % MM_CHUNK;

	for (uint64_t i = start % MM_CHUNK / PAGE_SIZE; start < end; i++) {
		uint64_t entry = prot ? paging_entry(gpa, paging_flags(prot)) : 0;

		__atomic_store_n(&leaf[i], entry, __ATOMIC_RELEASE);
		gpa += PAGE_SIZE;
		start += PAGE_SIZE;
	}
}

/* The entry of the piece in its page directory, with the tables above. NULL: no room. */
static uint64_t *directory_entry(struct mm *mm, uint64_t va)
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
	uint64_t *entry = directory_entry(mm, va);
	uint64_t start = va / MM_CHUNK * MM_CHUNK;

	if (!entry || !paging_is_large(*entry))
		return;
	set_leaf(mm, start, start + MM_CHUNK, PROT_READ | PROT_WRITE);
	__atomic_store_n(entry, paging_table_entry(PROG_LEAVES_GPA +
						   (uint64_t)chunk * PAGE_SIZE),
			 __ATOMIC_RELEASE);
}

/* --- Ranges: what has chunks, in runs that are contiguous on the host ---------------------- */

struct run {
	uint64_t start, end; /* guest */
	uint8_t *host;
};

/* The first run in [at, end) of pieces that have chunks; false: none. */
static bool next_run(const struct mm *mm, uint64_t at, uint64_t end, struct run *run)
{
	run->host = NULL;
	while (at < end) {
		uint64_t next = (at / MM_CHUNK + 1) * MM_CHUNK;
		uint8_t *host = mm_host_address(mm, at);

		if (next > end)
			next = end;
		if (run->host && host != run->host + (at - run->start))
			return true;
		if (host && !run->host) {
			run->start = at;
			run->host = host;
		}
		run->end = next;
		at = next;
	}
	return run->host;
}

static void set_rights(struct mm *mm, uint64_t start, uint64_t end, uint32_t prot)
{
	while (start < end) {
		uint64_t next = (start / MM_CHUNK + 1) * MM_CHUNK;

		if (next > end)
			next = end;
		if (mm_chunk_of(mm, start) >= 0) {
			break_huge(mm, start);
			set_leaf(mm, start, next, prot);
		}
		start = next;
	}
}

static void note_remapped(struct mm *mm, uint64_t start, uint64_t end)
{
	if (!mm->remapped)
		return;
	for (uint64_t va = start; va < end; va = (va / MM_CHUNK + 1) * MM_CHUNK) {
		int64_t chunk = mm_chunk_of(mm, va);

		if (chunk >= 0)
			bitmap_set(mm->remapped, (uint64_t)chunk);
	}
}

static int host_prot(uint32_t prot)
{
	int r = prot ? PROT_READ : PROT_NONE;

	return prot & PROT_WRITE ? r | PROT_WRITE : r;
}

/* Host mappings for [start, end) of the area, where there are chunks. 0 or -errno. */
static int host_map(struct mm *mm, const struct area *a, uint64_t start, uint64_t end)
{
	struct run run;

	note_remapped(mm, start, end);
	for (uint64_t at = start; next_run(mm, at, end, &run); at = run.end) {
		int flags = MAP_FIXED | MAP_NORESERVE;
		int fd = -1;
		off_t offset = 0;

		if (a->file) {
			flags |= a->flags & MAP_SHARED ? MAP_SHARED : MAP_PRIVATE;
			fd = a->file->fd;
			offset = (off_t)(a->offset + (run.start - a->start));
		} else {
			flags |= MAP_PRIVATE | MAP_ANONYMOUS;
		}
		if (mmap(run.host, run.end - run.start, host_prot(a->prot), flags, fd, offset) ==
		    MAP_FAILED)
			return -errno;
	}
	return 0;
}

/* Nothing there any more; the addresses stay ours. */
static void host_unmap(struct mm *mm, uint64_t start, uint64_t end)
{
	struct run run;

	note_remapped(mm, start, end);
	for (uint64_t at = start; next_run(mm, at, end, &run); at = run.end)
		if (mmap(run.host, run.end - run.start, PROT_NONE,
			 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			 0) == MAP_FAILED)
			madvise(run.host, run.end - run.start, MADV_DONTNEED);
}

static void host_protect(struct mm *mm, uint64_t start, uint64_t end, uint32_t prot)
{
	struct run run;

	note_remapped(mm, start, end);
	for (uint64_t at = start; next_run(mm, at, end, &run); at = run.end)
		mprotect(run.host, run.end - run.start, host_prot(prot));
}

/* --- Charging ----------------------------------------------------------------------------- */

static bool is_charged(uint32_t prot, const struct area *a)
{
	return (prot & PROT_WRITE) && (!a->file || !(a->flags & MAP_SHARED));
}

/* Bytes of [start, end) in pieces with chunks. */
static uint64_t backed(const struct mm *mm, uint64_t start, uint64_t end)
{
	uint64_t sum = 0;
	struct run run;

	for (uint64_t at = start; next_run(mm, at, end, &run); at = run.end)
		sum += run.end - run.start;
	return sum;
}

/* What the areas in [start, end) are charged. */
static uint64_t charge_of(const struct mm *mm, uint64_t start, uint64_t end)
{
	uint64_t sum = 0;

	for (size_t i = area_find(mm, start); i < mm->nareas && mm->areas[i].start < end; i++) {
		const struct area *a = &mm->areas[i];

		if (is_charged(a->prot, a))
			sum += backed(mm, a->start > start ? a->start : start,
				      a->end < end ? a->end : end);
	}
	return sum;
}

/* --- Giving chunks ------------------------------------------------------------------------ */

static bool is_huge_candidate(const struct mm *mm, const struct area *a, uint64_t start)
{
	return !mm->remapped && !a->file && a->prot == (PROT_READ | PROT_WRITE) &&
	       !(a->flags & MAP_STACK) && a->end - a->start >= HUGE_AREA && a->start <= start &&
	       a->end >= start + MM_CHUNK;
}

static int fill_chunk(struct mm *mm, uint64_t start)
{
	for (size_t i = area_find(mm, start);
	     i < mm->nareas && mm->areas[i].start < start + MM_CHUNK; i++) {
		const struct area *a = &mm->areas[i];
		uint64_t from = a->start > start ? a->start : start;
		uint64_t to = a->end < start + MM_CHUNK ? a->end : start + MM_CHUNK;
		int r = host_map(mm, a, from, to);

		if (r < 0)
			return r;
		set_leaf(mm, from, to, a->prot);
	}
	return 0;
}

/* Hold the lock for writing. 0, -ENOMEM or another of mmap(2). */
static int give_chunk(struct mm *mm, uint64_t va)
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
		if (is_charged(a->prot, a))
			charge += (a->end < start + MM_CHUNK ? a->end : start + MM_CHUNK) -
				  (a->start > start ? a->start : start);
	}
	entry = directory_entry(mm, start);
	if (!entry || !mm_charge(mm, charge))
		return -ENOMEM;
	if (instance_reach(mm->inst, chunk_gpa(mm, chunk) + MM_CHUNK, NULL) < 0) {
		mm_uncharge(mm, charge);
		return -ENOMEM;
	}
	mm->nchunks++;
	put_chunk(mm, start, chunk);
	if (mm->remapped)
		bitmap_set(mm->remapped, chunk);
	a = &mm->areas[area_find(mm, va)];
	leaf = PROG_LEAVES_GPA + (uint64_t)chunk * PAGE_SIZE;
	memset(leaf_of(mm, chunk), 0, PAGE_SIZE);
	r = fill_chunk(mm, start);
	if (r == 0 && is_huge_candidate(mm, a, start)) {
		madvise(mm_host_address(mm, start), MM_CHUNK, MADV_HUGEPAGE);
		__atomic_store_n(entry,
				 paging_large_entry(chunk_gpa(mm, chunk),
						    paging_flags(a->prot)),
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
			r = give_chunk(mm, va);
	}
	pthread_rwlock_unlock(&mm->lock);
	return r;
}

/* For a new area: chunks now if it is small, pages too if it is very small. */
static int populate(struct mm *mm, const struct area *a, bool with_file)
{
	bool written = is_charged(a->prot, a) && (with_file || !a->file);
	struct run run;

	if (!a->prot || a->end - a->start > EAGER_MAP || (a->flags & MAP_NORESERVE))
		return 0;
	for (uint64_t va = a->start; va < a->end; va = (va / MM_CHUNK + 1) * MM_CHUNK) {
		int r = mm_chunk_of(mm, va) < 0 ? give_chunk(mm, va) : 0;

		if (r < 0)
			return r;
	}
	if (!written || a->end - a->start > EAGER_PAGES)
		return 0;
	for (uint64_t at = a->start; next_run(mm, at, a->end, &run); at = run.end)
		madvise(run.host, run.end - run.start, MADV_POPULATE_WRITE);
	return 0;
}

/* --- mmap, munmap ------------------------------------------------------------------------- */

/* Hold the lock. Everything in [start, end) goes. -ENOMEM: too many areas. */
static int unmap(struct mm *mm, uint64_t start, uint64_t end)
{
	uint64_t charge;
	int r = area_split(mm, start);

	if (r == 0)
		r = area_split(mm, end);
	if (r < 0)
		return r;
	if (area_find(mm, start) == mm->nareas ||
	    mm->areas[area_find(mm, start)].start >= end)
		return 0;
	charge = charge_of(mm, start, end);
	set_rights(mm, start, end, 0);
	host_unmap(mm, start, end);
	area_remove(mm, start, end);
	mm_uncharge(mm, charge);
	return 0;
}

/* The area's place must be free. Takes its file's count. `with_file`: its pages, too, will be
 * written soon. */
static int place(struct mm *mm, const struct area *a, bool with_file)
{
	uint64_t charge = is_charged(a->prot, a) ? backed(mm, a->start, a->end) : 0;
	int r;

	if (!mm_charge(mm, charge)) {
		file_put(a->file);
		return -ENOMEM;
	}
	r = area_insert(mm, a);
	if (r < 0) {
		mm_uncharge(mm, charge);
		return r;
	}
	r = host_map(mm, a, a->start, a->end);
	if (r == 0) {
		set_rights(mm, a->start, a->end, a->prot);
		r = populate(mm, a, with_file);
	}
	if (r < 0)
		unmap(mm, a->start, a->end);
	return r;
}

/* mmap(2) of a file that is not mapped at once must fail at once, all the same. */
static int try_file(const struct file *file, uint32_t prot, uint32_t flags, uint64_t offset)
{
	void *p = mmap(NULL, PAGE_SIZE, host_prot(prot),
		       flags & MAP_SHARED ? MAP_SHARED : MAP_PRIVATE, file->fd, (off_t)offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, PAGE_SIZE);
	return 0;
}

static bool is_guest_range(uint64_t va, uint64_t len)
{
	return va >= PROG_LOW_VA && range_within(va, len, PROG_VA_END);
}

/* Where a mapping goes; 0: nowhere. */
static uint64_t choose(struct mm *mm, uint64_t hint, uint64_t len, uint32_t flags)
{
	/* Large anonymous mappings fill whole pieces, so that huge pages can back them. */
	uint64_t align = len >= HUGE_AREA && (flags & MAP_ANONYMOUS) ? MM_CHUNK : PAGE_SIZE;
	uint64_t va;

	hint = page_down(hint);
	if (hint && is_guest_range(hint, len) &&
	    area_room(mm, hint, hint + len, len, PAGE_SIZE) == hint)
		return hint;
	va = area_room(mm, mm->mmap_base, mm->stack_top, len, align);
	if (!va)
		va = area_room(mm, PROG_LOW_VA, mm->mmap_base, len, align);
	return va;
}

int64_t mm_map(struct mm *mm, uint64_t va, uint64_t len, uint32_t prot, uint32_t flags,
	       struct file *file, uint64_t offset)
{
	struct area a = {.prot = prot, .flags = flags & ~(uint32_t)MAP_FIXED, .offset = offset};
	bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE), populated = flags & MAP_POPULATE;
	int r = 0;

	if (!len || len > PROG_VA_END)
		return len ? -ENOMEM : -EINVAL;
	len = page_up(len);
	if (fixed && (va & PAGE_MASK))
		return -EINVAL;
	if (fixed && !is_guest_range(va, len))
		return va < PROG_LOW_VA ? -EPERM : -ENOMEM;
	if (file && len > EAGER_MAP)
		r = try_file(file, prot, flags, offset);
	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&mm->lock);
	if (!fixed) {
		va = choose(mm, va, len, flags);
		r = va ? 0 : -ENOMEM;
	} else if (flags & MAP_FIXED_NOREPLACE) {
		r = area_room(mm, va, va + len, len, PAGE_SIZE) == va ? 0 : -EEXIST;
	} else {
		r = unmap(mm, va, va + len);
	}
	a.start = va;
	a.end = va + len;
	a.flags &= ~(uint32_t)(MAP_FIXED_NOREPLACE | MAP_POPULATE);
	if (r == 0) {
		a.file = file ? file_get(file) : NULL;
		r = place(mm, &a, populated);
	}
	pthread_rwlock_unlock(&mm->lock);
	return r < 0 ? r : (int64_t)va;
}

int mm_unmap(struct mm *mm, uint64_t va, uint64_t len)
{
	int r;

	if ((va & PAGE_MASK) || !len || len > PROG_VA_END || !range_within(va, len, PROG_VA_END))
		return -EINVAL;
	pthread_rwlock_wrlock(&mm->lock);
	r = unmap(mm, va, va + page_up(len));
	pthread_rwlock_unlock(&mm->lock);
	return r;
}

/* --- mprotect ----------------------------------------------------------------------------- */

static int check_protect(const struct mm *mm, uint64_t start, uint64_t end, uint32_t prot)
{
	for (size_t i = area_find(mm, start); i < mm->nareas && mm->areas[i].start < end; i++) {
		const struct area *a = &mm->areas[i];

		if ((prot & PROT_WRITE) && a->file && (a->flags & MAP_SHARED) &&
		    !file_writable(a->file))
			return -EACCES;
	}
	return 0;
}

static int protect(struct mm *mm, uint64_t start, uint64_t end, uint32_t prot)
{
	uint64_t before, after = 0;
	int r = check_protect(mm, start, end, prot);

	if (r == 0)
		r = area_split(mm, start);
	if (r == 0)
		r = area_split(mm, end);
	if (r < 0)
		return r;
	before = charge_of(mm, start, end);
	for (size_t i = area_find(mm, start); i < mm->nareas && mm->areas[i].start < end; i++)
		if (is_charged(prot, &mm->areas[i]))
			after += backed(mm, mm->areas[i].start, mm->areas[i].end);
	if (after > before && !mm_charge(mm, after - before))
		return -ENOMEM;
	if (before > after)
		mm_uncharge(mm, before - after);
	for (size_t i = area_find(mm, start); i < mm->nareas && mm->areas[i].start < end; i++) {
		struct area *a = &mm->areas[i];

		/* Taken before the host's mapping changes, given after. */
		set_rights(mm, a->start, a->end, a->prot & prot);
		host_protect(mm, a->start, a->end, prot);
		set_rights(mm, a->start, a->end, prot);
		a->prot = prot;
	}
	area_merge(mm, start, end);
	return 0;
}

int mm_protect(struct mm *mm, uint64_t va, uint64_t len, uint32_t prot)
{
	int r;

	if (va & PAGE_MASK)
		return -EINVAL;
	if (!len)
		return 0;
	if (len > PROG_VA_END || !is_guest_range(va, page_up(len)))
		return -ENOMEM;
	len = page_up(len);
	pthread_rwlock_wrlock(&mm->lock);
	r = area_covers(mm, va, va + len) ? protect(mm, va, va + len, prot) : -ENOMEM;
	pthread_rwlock_unlock(&mm->lock);
	return r;
}

/* --- mremap ------------------------------------------------------------------------------- */

/* Move pages from `old` to `new`, both mapped alike, in parts that are contiguous in both. */
static int move_pages(struct mm *mm, uint64_t old, uint64_t new, uint64_t len)
{
	while (len) {
		uint64_t part = MM_CHUNK - old % MM_CHUNK;
		uint64_t other = MM_CHUNK - new % MM_CHUNK;
		uint8_t *from = mm_host_address(mm, old), *to;

		if (part > other)
			part = other;
		if (part > len)
			part = len;
		if (from) {
			if (mm_chunk_of(mm, new) < 0 && give_chunk(mm, new) < 0)
				return -ENOMEM;
			to = mm_host_address(mm, new);
			/* Never a hole, which another mmap(2) of this process could get. */
			if (mremap(from, part, part,
				   MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
				   to) == MAP_FAILED)
				return -errno;
			mm_note_host_write(mm, to, part);
		}
		old += part;
		new += part;
		len -= part;
	}
	return 0;
}

static int64_t move(struct mm *mm, const struct area *from, uint64_t old, uint64_t old_len,
		    uint64_t new, uint64_t new_len)
{
	struct area a = *from;
	uint64_t moved = old_len < new_len ? old_len : new_len;
	int r;

	a.offset += old - a.start;
	a.start = new;
	a.end = new + new_len;
	if (a.file)
		file_get(a.file);
	r = place(mm, &a, false);
	if (r < 0)
		return r;
	/* Huge pages would have to be split one by one. */
	set_rights(mm, old, old + moved, 0);
	set_rights(mm, new, new + moved, 0);
	if (!a.file || !(a.flags & MAP_SHARED))
		r = move_pages(mm, old, new, moved);
	set_rights(mm, new, new + moved, a.prot);
	if (r == 0)
		r = unmap(mm, old, old + old_len);
	return r < 0 ? r : (int64_t)new;
}

/* Longer, at the same place. False: there is no room. */
static int grow(struct mm *mm, const struct area *from, uint64_t old_end, uint64_t new_end)
{
	struct area a = *from;

	if (from->end != old_end || new_end > PROG_VA_END ||
	    area_room(mm, old_end, new_end, new_end - old_end, PAGE_SIZE) != old_end)
		return -ENOMEM;
	a.offset += old_end - a.start;
	a.start = old_end;
	a.end = new_end;
	if (a.file)
		file_get(a.file);
	return place(mm, &a, false);
}

static int64_t remap(struct mm *mm, uint64_t old, uint64_t old_len, uint64_t new_len,
		     uint32_t flags, uint64_t new)
{
	size_t i = area_find(mm, old);
	struct area from;
	int r;

	if (i == mm->nareas || mm->areas[i].start > old || mm->areas[i].end < old + old_len)
		return -EFAULT;
	from = mm->areas[i];
	if (flags & MREMAP_FIXED) {
		r = unmap(mm, new, new + new_len);
		return r < 0 ? r : move(mm, &from, old, old_len, new, new_len);
	}
	if (new_len <= old_len) {
		r = new_len < old_len ? unmap(mm, old + new_len, old + old_len) : 0;
		return r < 0 ? r : (int64_t)old;
	}
	if (grow(mm, &from, old + old_len, old + new_len) == 0)
		return (int64_t)old;
	if (!(flags & MREMAP_MAYMOVE))
		return -ENOMEM;
	new = choose(mm, 0, new_len, from.flags);
	return new ? move(mm, &from, old, old_len, new, new_len) : -ENOMEM;
}

int64_t mm_remap(struct mm *mm, uint64_t old, uint64_t old_len, uint64_t new_len, uint32_t flags,
		 uint64_t new_va)
{
	int64_t r;

	if ((flags & ~(uint32_t)(MREMAP_MAYMOVE | MREMAP_FIXED)) || (old & PAGE_MASK) || !new_len ||
	    new_len > PROG_VA_END || old_len > PROG_VA_END)
		return -EINVAL;
	if ((flags & MREMAP_FIXED) && (!(flags & MREMAP_MAYMOVE) || (new_va & PAGE_MASK)))
		return -EINVAL;
	old_len = page_up(old_len);
	new_len = page_up(new_len);
	/* Length 0 duplicates shared mappings: nobody does. */
	if (!old_len || !is_guest_range(old, old_len))
		return old_len ? -EFAULT : -EINVAL;
	if ((flags & MREMAP_FIXED) &&
	    (!is_guest_range(new_va, new_len) ||
	     (new_va < old + old_len && old < new_va + new_len)))
		return -EINVAL;
	pthread_rwlock_wrlock(&mm->lock);
	r = remap(mm, old, old_len, new_len, flags, new_va);
	pthread_rwlock_unlock(&mm->lock);
	return r;
}

/* --- madvise, brk ------------------------------------------------------------------------- */

/* Anonymous memory starts anew; what a snapshot's image holds must not come back. */
static void discard(struct mm *mm, const struct area *a, uint64_t start, uint64_t end)
{
	struct run run;

	if (mm->remapped && !a->file) {
		host_map(mm, a, start, end);
		return;
	}
	for (uint64_t at = start; next_run(mm, at, end, &run); at = run.end)
		madvise(run.host, run.end - run.start, MADV_DONTNEED);
}

int mm_advise(struct mm *mm, uint64_t va, uint64_t len, int advice)
{
	uint64_t end;

	if ((va & PAGE_MASK) || len > PROG_VA_END)
		return -EINVAL;
	if (!len)
		return 0;
	end = va + page_up(len);
	pthread_rwlock_wrlock(&mm->lock);
	if (!area_covers(mm, va, end)) {
		pthread_rwlock_unlock(&mm->lock);
		return -ENOMEM;
	}
	for (size_t i = area_find(mm, va); i < mm->nareas && mm->areas[i].start < end; i++) {
		const struct area *a = &mm->areas[i];

		if (advice == MADV_DONTNEED || (advice == MADV_FREE && !a->file))
			discard(mm, a, a->start > va ? a->start : va,
				a->end < end ? a->end : end);
	}
	pthread_rwlock_unlock(&mm->lock);
	return 0;
}

uint64_t mm_brk(struct mm *mm, uint64_t brk)
{
	struct area a = {.prot = PROT_READ | PROT_WRITE,
			 .flags = MAP_PRIVATE | MAP_ANONYMOUS,
			 .name = "[heap]"};
	uint64_t old_end, new_end;
	int r = 0;

	pthread_rwlock_wrlock(&mm->lock);
	if (brk >= mm->brk_start && brk < PROG_VA_END - MM_CHUNK) {
		old_end = page_up(mm->brk);
		new_end = page_up(brk);
		a.start = old_end;
		a.end = new_end;
		if (new_end < old_end)
			r = unmap(mm, new_end, old_end);
		else if (new_end > old_end)
			r = area_room(mm, old_end, new_end, new_end - old_end, PAGE_SIZE) ==
					    old_end
				    ? place(mm, &a, false)
				    : -ENOMEM;
		if (r == 0)
			mm->brk = brk;
	}
	brk = mm->brk;
	pthread_rwlock_unlock(&mm->lock);
	return brk;
}

static bool is_code(const struct mm *mm, uint64_t va, const struct area **out)
{
	size_t i = area_find(mm, va);

	*out = &mm->areas[i];
	return i < mm->nareas && mm->areas[i].start <= va && (mm->areas[i].prot & PROT_EXEC) &&
	       (mm->areas[i].flags & MAP_PRIVATE);
}

/* Hold the lock. The page is resident and ours, so nothing here can fault. */
static int overwrite(uint8_t *host, const uint8_t *expect, const uint8_t *bytes, size_t len)
{
	uint16_t both;

	if (expect && memcmp(host, expect, len) != 0)
		return -EFAULT;
	if (len == sizeof(both)) {
		/* At once: another thread may be about to execute it. */
		memcpy(&both, bytes, sizeof(both));
		__atomic_store_n((uint16_t *)(void *)host, both, __ATOMIC_SEQ_CST);
	} else {
		memcpy(host, bytes, len);
	}
	return 0;
}

int mm_poke(struct mm *mm, uint64_t va, const uint8_t *expect, const uint8_t *bytes, size_t len)
{
	const struct area *a;
	uint8_t *host = mm_host_address(mm, va), *page;
	int r = -EFAULT;
	bool image;

	if (!host && mm_give_chunk(mm, va) == 0)
		host = mm_host_address(mm, va);
	if (!host || va % PAGE_SIZE + len > PAGE_SIZE)
		return -EFAULT;
	page = host - (uintptr_t)host % PAGE_SIZE;
	pthread_rwlock_wrlock(&mm->lock);
	/* Where a snapshot's image is mapped, the host may write anyway. */
	image = mm->remapped && !bitmap_test(mm->remapped, (uint64_t)mm_chunk_of(mm, va));
	if (is_code(mm, va, &a) && mm_charge(mm, PAGE_SIZE)) {
		/* A copy of its own first: the file behind it may be cut short at any time. */
		if ((image || mprotect(page, PAGE_SIZE, PROT_READ | PROT_WRITE) == 0) &&
		    madvise(page, PAGE_SIZE, MADV_POPULATE_WRITE) == 0)
			r = overwrite(host, expect, bytes, len);
		if (r == 0)
			mm_note_host_write(mm, host, len);
		if (!image)
			mprotect(page, PAGE_SIZE, host_prot(a->prot));
	}
	pthread_rwlock_unlock(&mm->lock);
	return r;
}

bool mm_mapped(struct mm *mm, uint64_t va, uint64_t len)
{
	uint64_t start = page_down(va);
	bool r;

	if (!range_within(va, len, PROG_VA_END))
		return false;
	pthread_rwlock_rdlock(&mm->lock);
	r = area_covers(mm, start, page_up(va + len));
	pthread_rwlock_unlock(&mm->lock);
	return r;
}

int mm_sync(struct mm *mm, uint64_t va, uint64_t len, int flags)
{
	uint64_t end = va + page_up(len);
	int r = 0;
	struct run run;

	if (len > PROG_VA_END || !mm_mapped(mm, va, len))
		return -ENOMEM;
	pthread_rwlock_rdlock(&mm->lock);
	for (size_t i = area_find(mm, va); i < mm->nareas && mm->areas[i].start < end; i++) {
		const struct area *a = &mm->areas[i];
		uint64_t to = a->end < end ? a->end : end;

		if (!a->file || !(a->flags & MAP_SHARED))
			continue;
		for (uint64_t at = a->start > va ? a->start : va; next_run(mm, at, to, &run);
		     at = run.end)
			if (msync(run.host, run.end - run.start, flags & ~MS_INVALIDATE) < 0)
				r = -errno;
	}
	pthread_rwlock_unlock(&mm->lock);
	return r;
}

int mm_resident(struct mm *mm, uint64_t va, uint64_t len, uint64_t result)
{
	unsigned char pages[512];

	if (va & PAGE_MASK)
		return -EINVAL;
	if (len > PROG_VA_END || !mm_mapped(mm, va, len))
		return -ENOMEM;
	while (len) {
		uint64_t part = MM_CHUNK - va % MM_CHUNK;
		uint8_t *host = mm_host_address(mm, va);

		if (part > page_up(len))
			part = page_up(len);
		memset(pages, 0, sizeof(pages));
		if (host && mincore(host, part, pages) < 0)
			return -errno;
		if (mm_write(mm, result, pages, part / PAGE_SIZE) < 0)
			return -EFAULT;
		result += part / PAGE_SIZE;
		va += part;
		len -= part < len ? part : len;
	}
	return 0;
}

/* --- Faults ------------------------------------------------------------------------------- */

/* Error code of a page fault (SDM vol. 3, 4.7). */
#define FAULT_WRITE 2u
#define FAULT_FETCH 16u

static bool is_allowed(uint32_t prot, uint32_t error_code)
{
	if (error_code & FAULT_WRITE)
		return prot & PROT_WRITE;
	if (error_code & FAULT_FETCH)
		return prot & PROT_EXEC;
	return prot;
}

/* Whether the page is behind the end of the file that is mapped there. */
static bool is_past_end(const struct area *a, uint64_t va)
{
	struct stat st;

	return a->file && fstat(a->file->fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       a->offset + (page_down(va) - a->start) >= (uint64_t)st.st_size;
}

bool mm_fault(struct mm *mm, uint64_t va, uint32_t error_code, int *signal, int *code)
{
	const struct area *a;
	bool good = false;
	size_t i;
	int r;

	pthread_rwlock_wrlock(&mm->lock);
	i = area_find(mm, va);
	a = i < mm->nareas ? &mm->areas[i] : NULL;
	*signal = SIGSEGV;
	if (!a || a->start > va || va < PROG_LOW_VA) {
		*code = SEGV_MAPERR;
	} else if (!is_allowed(a->prot, error_code)) {
		*code = SEGV_ACCERR;
	} else if (is_past_end(a, va)) {
		*signal = SIGBUS;
		*code = BUS_ADRERR;
	} else if (mm_chunk_of(mm, va) >= 0) {
		set_rights(mm, page_down(va), page_down(va) + PAGE_SIZE, a->prot);
		good = true;
	} else {
		r = give_chunk(mm, va);
		good = r == 0;
		if (r < 0)
			*signal = SIGKILL;
		*code = SI_KERNEL;
	}
	pthread_rwlock_unlock(&mm->lock);
	return good;
}

bool mm_revoke_unbacked(struct mm *mm)
{
	bool found = false;

	pthread_rwlock_wrlock(&mm->lock);
	for (size_t i = 0; i < mm->nareas; i++) {
		const struct area *a = &mm->areas[i];
		struct stat st;
		uint64_t start;

		if (!a->file || fstat(a->file->fd, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		start = page_up((uint64_t)st.st_size);
		if (start >= a->offset + (a->end - a->start))
			continue;
		start = start > a->offset ? a->start + (start - a->offset) : a->start;
		set_rights(mm, start, a->end, 0);
		found = true;
	}
	pthread_rwlock_unlock(&mm->lock);
	return found;
}

/* --- Snapshots ---------------------------------------------------------------------------- */

int mm_track(struct mm *mm)
{
	mm->host_wrote = calloc(
		bitmap_words(mm->chunks_gpa / PAGE_SIZE + mm->max_chunks * (MM_CHUNK / PAGE_SIZE)),
		sizeof(uint64_t));
	mm->remapped = calloc(bitmap_words(mm->max_chunks), sizeof(uint64_t));
	return mm->host_wrote && mm->remapped ? 0 : -ENOMEM;
}

int mm_adopt_chunk(struct mm *mm, uint64_t va, uint32_t chunk)
{
	uint64_t *entry = directory_entry(mm, va);

	if (!entry || instance_reach(mm->inst, chunk_gpa(mm, chunk) + MM_CHUNK, NULL) < 0)
		return -ENOMEM;
	put_chunk(mm, va, chunk);
	if (chunk >= mm->nchunks)
		mm->nchunks = chunk + 1;
	__atomic_store_n(entry, paging_table_entry(PROG_LEAVES_GPA + (uint64_t)chunk * PAGE_SIZE),
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
	int prot = host_prot(a ? a->prot : 0), r = 0;

	if (host < image_end)
		in_image = (uint64_t)(image_end - host) < len ? (uint64_t)(image_end - host) : len;
	if (in_image && prot != (PROT_READ | PROT_WRITE) && mprotect(host, in_image, prot) < 0)
		return -errno;
	if (a && in_image < len)
		r = host_map(mm, a, start + in_image, end);
	if (a && r == 0)
		set_leaf(mm, start, end, a->prot);
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

		if (is_charged(a->prot, a))
			charge += backed(mm, a->start, a->end);
	}
	if (!mm_charge(mm, charge))
		return -ENOMEM;
	for (uint32_t i = 0; i <= mm->chunk_mask; i++) {
		uint64_t e = atomic_load_explicit(&mm->chunk_table[i], memory_order_relaxed);

		if (!e || (again && !bitmap_test(mm->remapped, (e & 0xffffff) - 1)))
			continue;
		if (apply_piece(mm, (e >> 24) * MM_CHUNK) < 0)
			return -ENOMEM;
	}
	if (mm->remapped)
		memset(mm->remapped, 0, bitmap_words(mm->max_chunks) * sizeof(uint64_t));
	return 0;
}

void mm_forget_areas(struct mm *mm)
{
	for (size_t i = 0; i < mm->nareas; i++)
		file_put(mm->areas[i].file);
	mm->nareas = 0;
	atomic_store(&mm->charged, 0);
	mm->generation++;
}

int mm_unmap_remapped(struct mm *mm, const struct mayfly_snapshot *snap)
{
	for (uint32_t chunk = 0; chunk < mm->nchunks; chunk++) {
		uint64_t gpa = chunk_gpa(mm, chunk);
		uint64_t in_image = 0;

		if (!bitmap_test(mm->remapped, chunk))
			continue;
		if (snap->used > gpa)
			in_image = snap->used - gpa < MM_CHUNK ? snap->used - gpa : MM_CHUNK;
		memset(leaf_of(mm, chunk), 0, PAGE_SIZE);
		if (mmap(mm->base + gpa, MM_CHUNK, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
			 0) == MAP_FAILED)
			return -errno;
		if (in_image &&
		    mmap(mm->base + gpa, in_image, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, snap->fd,
			 (off_t)(snap->offset + gpa)) == MAP_FAILED)
			return -errno;
	}
	return 0;
}

/* --- The rest ----------------------------------------------------------------------------- */

void mm_for_each(struct mm *mm, void (*fn)(void *context, const struct area *area),
		 void *context)
{
	pthread_rwlock_rdlock(&mm->lock);
	for (size_t i = 0; i < mm->nareas; i++)
		fn(context, &mm->areas[i]);
	pthread_rwlock_unlock(&mm->lock);
}

uint64_t mm_total(struct mm *mm)
{
	uint64_t sum = 0;

	pthread_rwlock_rdlock(&mm->lock);
	for (size_t i = 0; i < mm->nareas; i++)
		sum += mm->areas[i].end - mm->areas[i].start;
	pthread_rwlock_unlock(&mm->lock);
	return sum;
}

int mm_init(struct mm *mm, struct instance *inst, uint64_t limit, mayfly_error *err)
{
	uint32_t slots = 1024;

	memset(mm, 0, sizeof(*mm));
	mm->inst = inst;
	mm->self = getpid();
	mm->base = inst->gm.private_mem;
	mm->chunks_gpa = inst->guest->tables_len;
	mm->max_chunks =
		(uint32_t)((inst->guest->map.private_len - mm->chunks_gpa) / MM_CHUNK);
	mm->limit = limit;
	while (slots < 2 * mm->max_chunks)
		slots *= 2;
	mm->chunk_mask = slots - 1;
	mm->chunk_table = calloc(slots, sizeof(*mm->chunk_table));
	if (!mm->chunk_table)
		return fail(err, MAYFLY_E_NOMEM, "no memory for an address space");
	pthread_rwlock_init(&mm->lock, NULL);
	return 0;
}

void mm_fini(struct mm *mm)
{
	if (!mm->chunk_table)
		return;
	for (size_t i = 0; i < mm->nareas; i++)
		file_put(mm->areas[i].file);
	free(mm->areas);
	free(mm->host_wrote);
	free(mm->remapped);
	free((void *)mm->chunk_table);
	pthread_rwlock_destroy(&mm->lock);
	memset(mm, 0, sizeof(*mm));
}

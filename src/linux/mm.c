/* SPDX-License-Identifier: Apache-2.0 */
/* The address space: mapping, unmapping, faults. See mm.h for how it hangs together. */
#include "linux/mm.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "abi/program.h"
#include "linux/files.h"
#include "linux/mm_chunks.h"
#include "snapshot/instance.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4 /* Linux 5.7 */
#endif

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
	if (area_find(mm, start) == mm->nareas || mm->areas[area_find(mm, start)].start >= end)
		return 0;
	charge = mm_charge_of(mm, start, end);
	mm_set_rights(mm, start, end, 0);
	mm_host_unmap(mm, start, end);
	area_remove(mm, start, end);
	mm_uncharge(mm, charge);
	return 0;
}

/* The area's place must be free. Takes its file's count. `with_file`: its pages, too, will be
 * written soon. */
static int place(struct mm *mm, const struct area *a, bool with_file)
{
	uint64_t charge = mm_is_charged(a->prot, a) ? mm_backed(mm, a->start, a->end) : 0;
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
	r = mm_host_map(mm, a, a->start, a->end);
	if (r == 0) {
		mm_set_rights(mm, a->start, a->end, a->prot);
		r = mm_populate(mm, a, with_file);
	}
	if (r < 0)
		unmap(mm, a->start, a->end);
	return r;
}

/* mmap(2) of a file that is not mapped at once must fail at once, all the same. */
static int try_file(const struct file *file, uint32_t prot, uint32_t flags, uint64_t offset)
{
	void *p = mmap(NULL, PAGE_SIZE, mm_host_prot(prot),
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
	uint64_t align = len >= MM_HUGE_AREA && (flags & MAP_ANONYMOUS) ? MM_CHUNK : PAGE_SIZE;
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
	       const struct mm_source *source)
{
	struct area a = {.prot = prot, .flags = flags & ~(uint32_t)MAP_FIXED};
	struct file *file = source ? source->file : NULL;
	bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE),
	     populated = flags & MAP_POPULATE;
	int r = 0;

	if (!len || len > PROG_VA_END)
		return len ? -ENOMEM : -EINVAL;
	len = page_up(len);
	if (fixed && (va & PAGE_MASK))
		return -EINVAL;
	if (fixed && !is_guest_range(va, len))
		return va < PROG_LOW_VA ? -EPERM : -ENOMEM;
	if (file && len > MM_EAGER_MAP)
		r = try_file(file, prot, flags, source->offset);
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
		a.offset = source ? source->offset : 0;
		r = place(mm, &a, populated);
	}
	pthread_rwlock_unlock(&mm->lock);
	return r < 0 ? r : (int64_t)va;
}

int mm_unmap(struct mm *mm, uint64_t va, uint64_t len)
{
	int r;

	if ((va & PAGE_MASK) || !len || len > PROG_VA_END ||
	    !range_within(va, len, PROG_VA_END))
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
	before = mm_charge_of(mm, start, end);
	for (size_t i = area_find(mm, start); i < mm->nareas && mm->areas[i].start < end; i++) {
		const struct area *a = &mm->areas[i];

		if (mm_is_charged(prot | (a->prot & PROT_WRITE), a))
			after += mm_backed(mm, a->start, a->end);
	}
	/* Never less: what was written stays. */
	if (after > before && !mm_charge(mm, after - before))
		return -ENOMEM;
	for (size_t i = area_find(mm, start); i < mm->nareas && mm->areas[i].start < end; i++) {
		struct area *a = &mm->areas[i];

		/* Taken before the host's mapping changes, given after. */
		mm_set_rights(mm, a->start, a->end, a->prot & prot);
		mm_host_protect(mm, a->start, a->end, prot);
		mm_set_rights(mm, a->start, a->end, prot);
		if (prot & PROT_WRITE)
			a->flags &= ~AREA_WRITTEN;
		else if (a->prot & PROT_WRITE)
			a->flags |= AREA_WRITTEN;
		a->prot = prot;
	}
	area_merge(mm, start, end);
	return 0;
}

/* How far [va, end) is mapped without a hole. */
static uint64_t mapped_until(const struct mm *mm, uint64_t va, uint64_t end)
{
	uint64_t at = va;

	for (size_t i = area_find(mm, va); i < mm->nareas && at < end; i++) {
		if (mm->areas[i].start > at)
			break;
		at = mm->areas[i].end;
	}
	return at < end ? at : end;
}

int mm_protect(struct mm *mm, uint64_t va, uint64_t len, uint32_t prot)
{
	uint64_t end;
	int r;

	if (va & PAGE_MASK)
		return -EINVAL;
	if (!len)
		return 0;
	if (len > PROG_VA_END || !is_guest_range(va, page_up(len)))
		return -ENOMEM;
	len = page_up(len);
	pthread_rwlock_wrlock(&mm->lock);
	/* As Linux: what lies before a hole is changed nevertheless. */
	end = mapped_until(mm, va, va + len);
	r = end > va ? protect(mm, va, end, prot) : 0;
	if (r == 0 && end < va + len)
		r = -ENOMEM;
	pthread_rwlock_unlock(&mm->lock);
	return r;
}

/* --- mremap ------------------------------------------------------------------------------- */

/*
 * Pages of the host, all of one chunk, by way of a place that the kernel chooses: where they cannot be
 * taken away, as they are of several mappings of the host's, nothing is lost, and halves are tried
 * instead. (With MREMAP_FIXED mremap(2) takes away what is at `to`, and then fails: see map_file().)
 */
static int move_host(uint8_t *from, uint8_t *to, uint64_t len)
{
	uint64_t half = len / 2 & ~(uint64_t)PAGE_MASK;
	/* Never a hole here either, which another mmap(2) of this process could get. */
	void *there = mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	int r;

	if (there == MAP_FAILED) {
		r = -errno;
		if (r != -EFAULT || !half)
			return r;
		r = move_host(from, to, half);
		return r < 0 ? r : move_host(from + half, to + half, len - half);
	}
	r = mm_host_move(there, to, len);
	if (r < 0)
		munmap(there, len);
	return r;
}

/* Move pages from `old` to `new`, both mapped alike, in parts that are contiguous in both. */
static int move_pages(struct mm *mm, uint64_t old, uint64_t new, uint64_t len)
{
	while (len) {
		uint64_t part = MM_CHUNK - old % MM_CHUNK;
		uint64_t other = MM_CHUNK - new % MM_CHUNK;
		uint8_t *from = mm_host_address(mm, old), *to;
		int r;

		if (part > other)
			part = other;
		if (!from)
			part = mm_to_next_piece(mm, old);
		if (part > len)
			part = len;
		if (from) {
			if (mm_chunk_of(mm, new) < 0 && mm_give_chunk_locked(mm, new) < 0)
				return -ENOMEM;
			to = mm_host_address(mm, new);
			r = move_host(from, to, part);
			if (r < 0)
				return r;
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
	mm_set_rights(mm, old, old + moved, 0);
	mm_set_rights(mm, new, new + moved, 0);
	if (!a.file || !(a.flags & MAP_SHARED))
		r = move_pages(mm, old, new, moved);
	mm_set_rights(mm, new, new + moved, a.prot);
	if (r == 0)
		r = unmap(mm, old, old + old_len);
	return r < 0 ? r : (int64_t) new;
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

int64_t mm_remap(struct mm *mm, uint64_t old, uint64_t old_len, uint64_t new_len,
		 uint32_t flags, uint64_t new_va)
{
	int64_t r;

	if ((flags & ~(uint32_t)(MREMAP_MAYMOVE | MREMAP_FIXED)) || (old & PAGE_MASK) ||
	    !new_len || new_len > PROG_VA_END || old_len > PROG_VA_END)
		return -EINVAL;
	if ((flags & MREMAP_FIXED) && (!(flags & MREMAP_MAYMOVE) || (new_va & PAGE_MASK)))
		return -EINVAL;
	old_len = page_up(old_len);
	new_len = page_up(new_len);
	/* Length 0 duplicates shared mappings: nobody does. */
	if (!old_len || !is_guest_range(old, old_len))
		return old_len ? -EFAULT : -EINVAL;
	if ((flags & MREMAP_FIXED) && (!is_guest_range(new_va, new_len) ||
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
	struct mm_run run;

	if (mm->remapped && !a->file) {
		mm_host_map(mm, a, start, end);
		return;
	}
	for (uint64_t at = start; mm_next_run(mm, at, end, &run); at = run.end)
		madvise(run.host, run.end - run.start, MADV_DONTNEED);
}

/* Of what was discarded: there is nothing any more that was written before. */
static void forget_written(struct mm *mm, uint64_t start, uint64_t end)
{
	if (area_split(mm, start) < 0 || area_split(mm, end) < 0)
		return;
	for (size_t i = area_find(mm, start); i < mm->nareas && mm->areas[i].start < end; i++) {
		struct area *a = &mm->areas[i];

		if (!(a->flags & AREA_WRITTEN))
			continue;
		mm_uncharge(mm, mm_charge_of(mm, a->start, a->end));
		a->flags &= ~AREA_WRITTEN;
	}
	area_merge(mm, start, end);
}

int mm_advise(struct mm *mm, uint64_t va, uint64_t len, int advice)
{
	bool written = false;
	uint64_t end;
	int r;

	if ((va & PAGE_MASK) || len > PROG_VA_END)
		return -EINVAL;
	if (!len)
		return 0;
	if (!range_within(va, page_up(len), PROG_VA_END))
		return -ENOMEM;
	end = va + page_up(len);
	pthread_rwlock_wrlock(&mm->lock);
	/* As Linux: holes are told at the end, after the rest was done. */
	r = area_covers(mm, va, end) ? 0 : -ENOMEM;
	for (size_t i = area_find(mm, va); i < mm->nareas && mm->areas[i].start < end; i++) {
		const struct area *a = &mm->areas[i];

		if (advice == MADV_DONTNEED || (advice == MADV_FREE && !a->file))
			discard(mm, a, a->start > va ? a->start : va,
				a->end < end ? a->end : end);
		written |= advice == MADV_DONTNEED && (a->flags & AREA_WRITTEN);
	}
	if (written)
		forget_written(mm, va, end);
	pthread_rwlock_unlock(&mm->lock);
	return r;
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
		mm_set_rights(mm, page_down(va), page_down(va) + PAGE_SIZE, a->prot);
		good = true;
	} else {
		r = mm_give_chunk_locked(mm, va);
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
		mm_set_rights(mm, start, a->end, 0);
		found = true;
	}
	pthread_rwlock_unlock(&mm->lock);
	return found;
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
	mm->max_chunks = (uint32_t)((inst->guest->map.private_len - mm->chunks_gpa) / MM_CHUNK);
	mm->limit = limit;
	while (slots < 2 * mm->max_chunks)
		slots *= 2;
	mm->chunk_mask = slots - 1;
	mm->chunk_table = calloc(slots, sizeof(*mm->chunk_table));
	mm->pieces = calloc(mm->max_chunks + 1, sizeof(*mm->pieces));
	if (!mm->chunk_table || !mm->pieces) {
		free((void *)mm->chunk_table);
		free(mm->pieces);
		mm->chunk_table = NULL;
		return fail(err, MAYFLY_E_NOMEM, "no memory for an address space");
	}
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
	free(mm->fixed_chunks);
	free(mm->fixed_pages);
	free(mm->pieces);
	free((void *)mm->chunk_table);
	pthread_rwlock_destroy(&mm->lock);
	memset(mm, 0, sizeof(*mm));
}

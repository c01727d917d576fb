/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "linux/checkpoint.h"
#include "core/codec.h"
#include "core/pagemap.h"
#include "linux/mm_chunks.h"
#include "linux/process.h"

#define RUN_PAGES 64

enum { NAME_NONE, NAME_HEAP, NAME_STACK };

static uint64_t name_number(const char *name)
{
	if (!name)
		return NAME_NONE;
	return strcmp(name, "[heap]") ? NAME_STACK : NAME_HEAP;
}

static const char *name_text(uint64_t number)
{
	if (number == NAME_HEAP)
		return "[heap]";
	return number == NAME_STACK ? "[stack]" : NULL;
}

/* --- Saving ------------------------------------------------------------------------------- */

static int check_area(const struct area *a, mayfly_error *err)
{
	if (a->file && (a->flags & MAP_SHARED) && (a->prot & PROT_WRITE))
		return fail(
			err, MAYFLY_E_INVALID,
			"the file %s is mapped shared and writable, which a snapshot cannot "
			"keep",
			a->file->path ? a->file->path : "?");
	return 0;
}

/* Which of `count` pages at `host` may hold something; all of a file's. */
static void find_pages(int pagemap, const struct area *a, const uint8_t *host, uint64_t count,
		       bool *there)
{
	uint64_t entries[RUN_PAGES];
	bool known = pagemap_read(pagemap, host, count, entries);

	for (uint64_t i = 0; i < count; i++)
		there[i] = a->file || !known || pagemap_is_there(entries[i]);
}

/* One page; where the file behind it has ended there is nothing to save. */
static int save_page(struct process *p, struct snapshot_builder *b, const uint8_t *host,
		     uint8_t *buffer, mayfly_error *err)
{
	struct iovec local = {buffer, PAGE_SIZE};
	struct iovec remote = {(void *)(uintptr_t)host, PAGE_SIZE};
	uint64_t page = (uint64_t)(host - p->mm.base) / PAGE_SIZE;

	if (process_vm_readv(p->mm.self, &local, 1, &remote, 1, 0) != (ssize_t)PAGE_SIZE)
		return 0;
	return snapshot_builder_put(b, page, buffer, 1, err);
}

struct saving {
	struct process *p;
	struct snapshot_builder *b;
	int pagemap;
	uint8_t *buffer;
};

/* The part of an area that lies in one chunk. */
static int save_part(struct saving *s, const struct area *a, uint64_t start, uint64_t end,
		     mayfly_error *err)
{
	uint8_t *host = mm_host_address(&s->p->mm, start);
	uint64_t pages = (end - start) / PAGE_SIZE;
	bool hidden = !a->prot;
	bool there[RUN_PAGES];
	int r = 0;

	if (!host)
		return 0;
	/* What is there may be behind PROT_NONE for now. */
	if (hidden && mprotect(host, end - start, PROT_READ) < 0)
		return 0;
	for (uint64_t at = 0; r == 0 && at < pages; at += RUN_PAGES) {
		uint64_t count = pages - at < RUN_PAGES ? pages - at : RUN_PAGES;

		find_pages(s->pagemap, a, host + at * PAGE_SIZE, count, there);
		for (uint64_t i = 0; r == 0 && i < count; i++)
			if (there[i])
				r = save_page(s->p, s->b, host + (at + i) * PAGE_SIZE,
					      s->buffer, err);
	}
	if (hidden)
		mprotect(host, end - start, PROT_NONE);
	return r;
}

static int save_area(struct saving *s, const struct area *a, mayfly_error *err)
{
	int r = check_area(a, err);

	for (uint64_t at = a->start; r == 0 && at < a->end;) {
		uint64_t next = (at / MM_CHUNK + 1) * MM_CHUNK;

		/* What a file would give later must be in the image as well. */
		if (a->file && a->prot && !mm_host_address(&s->p->mm, at))
			mm_give_chunk(&s->p->mm, at);
		else if (!mm_host_address(&s->p->mm, at))
			next = at + mm_to_next_piece(&s->p->mm, at);
		if (next > a->end)
			next = a->end;
		r = save_part(s, a, at, next, err);
		at = next;
	}
	return r;
}

static void put_numbers(struct writer *w, const struct mm *mm)
{
	const uint64_t numbers[] = {mm->brk_start, mm->brk,	mm->mmap_base, mm->stack_top,
				    mm->arg_start, mm->arg_end, mm->env_start, mm->env_end,
				    mm->entry,	   mm->phdr,	mm->phnum,     mm->interp_base};

	put_bytes(w, numbers, sizeof(numbers));
}

static void put_chunks(struct writer *w, const struct mm *mm)
{
	put_u64(w, mm->nchunks);
	for (uint32_t i = 0; i <= mm->chunk_mask; i++) {
		uint64_t e = atomic_load(&mm->chunk_table[i]);

		if (e)
			put_u64(w, e);
	}
}

int checkpoint_save_mm(struct process *p, struct snapshot_builder *b, struct writer *w,
		       mayfly_error *err)
{
	_cleanup_free_ uint8_t *buffer = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
	_cleanup_close_ int pagemap = pagemap_open();
	struct saving s = {p, b, pagemap, buffer};
	struct mm *mm = &p->mm;
	int r = 0;

	if (!buffer)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a snapshot");
	for (size_t i = 0; r == 0 && i < mm->nareas; i++)
		r = save_area(&s, &mm->areas[i], err);
	if (r < 0)
		return r;
	put_numbers(w, mm);
	put_chunks(w, mm);
	put_u64(w, mm->nareas);
	for (size_t i = 0; i < mm->nareas; i++) {
		const struct area *a = &mm->areas[i];

		put_u64(w, a->start);
		put_u64(w, a->end);
		put_u64(w, a->prot);
		put_u64(w,
			(a->flags & (MAP_STACK | MAP_NORESERVE)) | MAP_PRIVATE | MAP_ANONYMOUS);
		put_u64(w, name_number(a->name));
	}
	return 0;
}

/* --- Loading ------------------------------------------------------------------------------ */

static void get_numbers(struct reader *r, struct mm *mm)
{
	mm->brk_start = get_count(r, PROG_VA_END);
	mm->brk = get_count(r, PROG_VA_END);
	mm->mmap_base = get_count(r, PROG_VA_END);
	mm->stack_top = get_count(r, PROG_VA_END);
	mm->arg_start = get_u64(r);
	mm->arg_end = get_u64(r);
	mm->env_start = get_u64(r);
	mm->env_end = get_u64(r);
	mm->entry = get_u64(r);
	mm->phdr = get_u64(r);
	mm->phnum = (uint16_t)get_count(r, UINT16_MAX);
	mm->interp_base = get_u64(r);
	if (mm->brk < mm->brk_start || mm->brk_start < PROG_LOW_VA ||
	    mm->mmap_base < PROG_LOW_VA || ((mm->mmap_base | mm->stack_top) & PAGE_MASK))
		r->bad = true;
}

static int get_chunks(struct reader *r, struct mm *mm, bool again)
{
	uint64_t n = get_count(r, mm->max_chunks);
	_cleanup_free_ uint64_t *seen = calloc(bitmap_words(n + 1), sizeof(*seen));

	if (!seen)
		r->bad = true;
	for (uint64_t i = 0; i < n && !r->bad; i++) {
		uint64_t e = get_u64(r), piece = e >> 24, chunk = (e & 0xffffff) - 1;

		/* No two pieces have the same; the last piece is not whole. */
		if (piece < PROG_LOW_VA / MM_CHUNK || piece > (PROG_VA_END - 1) / MM_CHUNK ||
		    chunk >= n || bitmap_test(seen, chunk)) {
			r->bad = true;
			break;
		}
		bitmap_set(seen, chunk);
		if (mm_chunk_of(mm, piece * MM_CHUNK) >= 0) {
			/* Chunks are for the life of the VM. */
			if (!again || mm_chunk_of(mm, piece * MM_CHUNK) != (int64_t)chunk)
				r->bad = true;
		} else if (again || mm_adopt_chunk(mm, piece * MM_CHUNK, (uint32_t)chunk) < 0) {
			r->bad = true;
		}
	}
	return r->bad ? -EINVAL : 0;
}

static int get_areas(struct reader *r, struct mm *mm)
{
	uint64_t n = get_count(r, MM_MAX_AREAS), last = PROG_LOW_VA;

	for (uint64_t i = 0; i < n; i++) {
		struct area a = {.start = get_u64(r), .end = get_count(r, PROG_VA_END)};

		a.prot = (uint32_t)get_count(r, PROT_READ | PROT_WRITE | PROT_EXEC);
		a.flags = (uint32_t)get_u64(r) & (MAP_STACK | MAP_NORESERVE);
		a.flags |= MAP_PRIVATE | MAP_ANONYMOUS;
		a.name = name_text(get_u64(r));
		if (r->bad || a.start < last || a.end <= a.start ||
		    ((a.start | a.end) & PAGE_MASK))
			return -EINVAL;
		last = a.end;
		if (area_insert(mm, &a) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* What the program wrote before it will likely write again. */
static void plan_populate(struct process *p)
{
	const struct mayfly_snapshot *snap = p->inst.snap;
	struct mm *mm = &p->mm;

	for (size_t i = 0; i < mm->nareas; i++) {
		const struct area *a = &mm->areas[i];
		uint8_t *host = NULL;

		if (!(a->prot & PROT_WRITE))
			continue;
		for (uint64_t va = a->start; va < a->end; va += PAGE_SIZE) {
			uint64_t page;

			if (!host || va % MM_CHUNK == 0)
				host = mm_host_address(mm, va);
			if (!host) {
				/* Nothing in all of this piece, nor before the next. */
				va += mm_to_next_piece(mm, va) - PAGE_SIZE;
				continue;
			}
			page = (uint64_t)(host - mm->base) / PAGE_SIZE;
			if (page * PAGE_SIZE < snap->used && bitmap_test(snap->present, page))
				populate_add(&p->populate, host, PAGE_SIZE);
			host += PAGE_SIZE;
		}
	}
}

int checkpoint_load_mm(struct process *p, struct reader *r, bool again, mayfly_error *err)
{
	struct mm *mm = &p->mm;
	int e;

	get_numbers(r, mm);
	if (r->bad || get_chunks(r, mm, again) < 0)
		return fail(err, MAYFLY_E_FORMAT, "the snapshot's list of memory is damaged");
	e = get_areas(r, mm);
	if (e == -ENOMEM)
		return fail(err, MAYFLY_E_NOMEM, "no memory for an address space");
	if (e < 0)
		return fail(err, MAYFLY_E_FORMAT, "the snapshot's list of mappings is damaged");
	if (mm_apply(mm, again) < 0)
		return fail(err, MAYFLY_E_NOMEM,
			    "the snapshot needs more than the %llu bytes of memory it may have",
			    (unsigned long long)mm->limit);
	if (!again)
		plan_populate(p);
	return 0;
}

/* --- Going back --------------------------------------------------------------------------- */

int checkpoint_reset_mm(struct process *p, struct mayfly_snapshot *snap, mayfly_error *err)
{
	struct mm *mm = &p->mm;
	int r;

	if (mm_unmap_remapped(mm, snap) < 0)
		return fail(err, MAYFLY_E_NOMEM, "mapping a snapshot's memory again");
	p->inst.host_pages = mm->host_wrote;
	p->inst.skip_chunks = mm->remapped;
	p->inst.fixed_chunks = mm->fixed_chunks;
	p->inst.fixed_pages = mm->fixed_pages;
	r = instance_restore(&p->inst, snap, true, err);
	if (r == 0)
		memset(mm->host_wrote, 0,
		       bitmap_words((mm->chunks_gpa + mm->nchunks * MM_CHUNK) / PAGE_SIZE) *
			       sizeof(uint64_t));
	return r;
}

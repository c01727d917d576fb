/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/x86_64/paging.h"

#include <string.h>

#include "core/util.h"

#define PTE_PRESENT ((uint64_t)1 << 0)
#define PTE_WRITE ((uint64_t)1 << 1)
#define PTE_USER ((uint64_t)1 << 2)
#define PTE_ACCESSED ((uint64_t)1 << 5)
#define PTE_DIRTY ((uint64_t)1 << 6)
#define PTE_LARGE ((uint64_t)1 << 7)
#define PTE_NX ((uint64_t)1 << 63)
#define PTE_ADDRESS 0x000ffffffffff000ULL

#define LARGE_SIZE ((uint64_t)1 << 21)
#define ENTRIES 512
#define ROOT_LEVEL 3 /* 3: PML4, 2: PDPT, 1: PD, 0: PT */

static uint64_t *table_at(const struct paging *pg, uint64_t gpa)
{
	return (uint64_t *)(void *)(pg->mem + (gpa - pg->gpa));
}

static unsigned index_at(uint64_t va, int level)
{
	return (unsigned)(va >> (PAGE_SHIFT + 9 * level)) % ENTRIES;
}

int paging_reserve(struct paging *pg, uint32_t pages, mayfly_error *err)
{
	uint8_t *mem;

	if (pages <= pg->capacity)
		return 0;
	mem = realloc(pg->mem, pages * PAGE_SIZE);
	if (!mem)
		return fail(err, MAYFLY_E_NOMEM, "no memory for page tables");
	memset(mem + pg->capacity * PAGE_SIZE, 0, (pages - pg->capacity) * PAGE_SIZE);
	pg->mem = mem;
	pg->capacity = pages;
	return 0;
}

/*
 * A zero page at the end; gives its gpa, or 0 when memory is out (the root's own is never asked
 * for).
 */
static uint64_t add_table(struct paging *pg)
{
	if (pg->used == pg->capacity && paging_reserve(pg, pg->capacity * 2, NULL) < 0)
		return 0;
	return pg->gpa + pg->used++ * PAGE_SIZE;
}

int paging_init(struct paging *pg, uint64_t gpa, mayfly_error *err)
{
	*pg = (struct paging){.gpa = gpa, .used = 1, .capacity = 8};
	pg->mem = calloc(pg->capacity, PAGE_SIZE);
	return pg->mem ? 0 : fail(err, MAYFLY_E_NOMEM, "no memory for page tables");
}

void paging_fini(struct paging *pg)
{
	free(pg->mem);
	pg->mem = NULL;
}

/* The entry for `va` at `level`, with the tables above it. NULL when memory is out. */
static uint64_t *entry_for(struct paging *pg, uint64_t va, int level)
{
	uint64_t table = pg->gpa;

	for (int l = ROOT_LEVEL; l > level; l--) {
		unsigned i = index_at(va, l);
		uint64_t entry = table_at(pg, table)[i];

		if (!(entry & PTE_PRESENT)) {
			uint64_t next = add_table(pg);

			if (!next)
				return NULL;
			/* Rights are those of the last level. */
			entry = paging_table_entry(next);
			table_at(pg, table)[i] = entry;
		}
		table = entry & PTE_ADDRESS;
	}
	return &table_at(pg, table)[index_at(va, level)];
}

static uint64_t rights(uint32_t flags)
{
	uint64_t bits = PTE_PRESENT | PTE_ACCESSED | PTE_DIRTY;

	if (flags & PAGING_WRITE)
		bits |= PTE_WRITE;
	if (flags & PAGING_USER)
		bits |= PTE_USER;
	if (!(flags & PAGING_EXEC))
		bits |= PTE_NX;
	return bits;
}

uint64_t paging_entry(uint64_t gpa, uint32_t flags)
{
	return gpa | rights(flags);
}

uint64_t paging_large_entry(uint64_t gpa, uint32_t flags)
{
	return gpa | rights(flags) | PTE_LARGE;
}

uint64_t paging_table_entry(uint64_t gpa)
{
	return gpa | PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED;
}

bool paging_is_large(uint64_t entry)
{
	return (entry & (PTE_PRESENT | PTE_LARGE)) == (PTE_PRESENT | PTE_LARGE);
}

uint64_t *paging_directory_entry(struct paging *pg, uint64_t va)
{
	/* At most a PDPT and a PD are missing. */
	if (pg->capacity - pg->used < 2)
		return NULL;
	return entry_for(pg, va, 1);
}

int paging_map(struct paging *pg, uint64_t va, uint64_t gpa, uint64_t len, uint32_t flags,
	       mayfly_error *err)
{
	while (len) {
		bool large = !((va | gpa) % LARGE_SIZE) && len >= LARGE_SIZE;
		uint64_t size = large ? LARGE_SIZE : PAGE_SIZE;
		uint64_t *entry = entry_for(pg, va, large ? 1 : 0);

		if (!entry)
			return fail(err, MAYFLY_E_NOMEM, "no memory for page tables");
		*entry = large ? paging_large_entry(gpa, flags) : paging_entry(gpa, flags);
		va += size;
		gpa += size;
		len -= size;
	}
	return 0;
}

bool paging_walk(const struct paging *pg, uint64_t va, uint64_t *gpa, uint32_t *flags)
{
	uint64_t table = pg->gpa;

	for (int l = ROOT_LEVEL; l >= 0; l--) {
		uint64_t entry = table_at(pg, table)[index_at(va, l)];
		uint64_t size = PAGE_SIZE << (9 * l);

		if (!(entry & PTE_PRESENT))
			return false;
		if (l && !(entry & PTE_LARGE)) {
			table = entry & PTE_ADDRESS;
			continue;
		}
		*gpa = (entry & PTE_ADDRESS) + (va & (size - 1));
		*flags = (entry & PTE_WRITE ? PAGING_WRITE : 0) |
			 (entry & PTE_USER ? PAGING_USER : 0) |
			 (entry & PTE_NX ? 0 : PAGING_EXEC);
		return true;
	}
	return false;
}

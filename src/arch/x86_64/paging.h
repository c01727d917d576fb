/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four-level page tables (SDM vol. 3, 4.5), prebuilt by the host with every accessed and dirty
 * bit set, so that no walk ever writes to them. 2 MiB pages are used where addresses allow.
 */
#ifndef MAYFLY_ARCH_PAGING_H
#define MAYFLY_ARCH_PAGING_H

#include "core/error.h"

#define PAGING_WRITE 1u
#define PAGING_EXEC 2u
#define PAGING_USER 4u

/*
 * Tables under construction: pages of `mem`, which the guest sees from gpa on. mem[0..4096) is
 * the root.
 */
struct paging {
	uint8_t *mem; /* owned, zero beyond what is used */
	uint64_t gpa;
	uint32_t used; /* pages */
	uint32_t capacity;
};

/* With an empty root. paging_fini() frees. Errors: NOMEM. */
int paging_init(struct paging *pg, uint64_t gpa, mayfly_error *err);
void paging_fini(struct paging *pg);
/* Room for so many pages of tables, zero where unused. Errors: NOMEM. */
int paging_reserve(struct paging *pg, uint32_t pages, mayfly_error *err);

/*
 * Map [va, va+len) to [gpa, gpa+len), all page-aligned, not mapped yet. Lower-half addresses.
 * Errors: NOMEM.
 */
int paging_map(struct paging *pg, uint64_t va, uint64_t gpa, uint64_t len, uint32_t flags,
	       mayfly_error *err);

/*
 * Entries for those who keep tables themselves: of a 4 KiB page, of a 2 MiB page, and of a table;
 * accessed and dirty bits set.
 */
uint64_t paging_entry(uint64_t gpa, uint32_t flags);
uint64_t paging_large_entry(uint64_t gpa, uint32_t flags);
uint64_t paging_table_entry(uint64_t gpa);
bool paging_is_large(uint64_t entry);
/*
 * The page directory's entry for `va`, with the tables above it, for which pg->mem must have
 * room: NULL if it has not.
 */
uint64_t *paging_directory_entry(struct paging *pg, uint64_t va);

/* What the tables say of an address; false if it is not mapped. For tests and checks. */
bool paging_walk(const struct paging *pg, uint64_t va, uint64_t *gpa, uint32_t *flags);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks, the guest's page tables, host mappings, charges: what mm.c, mm_inspect.c and mm_image.c
 * are made of. Hold mm->lock for writing, for mm_next_run(), mm_backed() and mm_charge_of() for
 * reading. Ranges are of whole pages; what of them has no chunk is passed over.
 */
#ifndef MAYFLY_LINUX_MM_CHUNKS_H
#define MAYFLY_LINUX_MM_CHUNKS_H

#include "linux/mm_areas.h"

/* Mappings up to this size get their chunks at once: they will be used soon. */
#define MM_EAGER_MAP ((uint64_t)4 << 20)
/* Anonymous areas from this size on are backed by huge pages, piece by piece as they are used. */
#define MM_HUGE_AREA ((uint64_t)4 << 20)

/* Of a range, what is contiguous on the host. */
struct mm_run {
	uint64_t start, end; /* guest */
	uint8_t *host;
};

/* The first run in [at, end) of pieces that have chunks; false: none. */
bool mm_next_run(const struct mm *mm, uint64_t at, uint64_t end, struct mm_run *run);

uint64_t mm_chunk_gpa(const struct mm *mm, int64_t chunk);
/* From `va`, whose piece has no chunk, to the next that has one. */
uint64_t mm_to_next_piece(const struct mm *mm, uint64_t va);
/* Enter a chunk for the piece of `va`, which has none, into the table. */
void mm_put_chunk(struct mm *mm, uint64_t va, uint32_t chunk);
/* The chunk's last-level page table. */
uint64_t *mm_leaf(const struct mm *mm, int64_t chunk);
/* Rights of [start, end), which lies in one piece with a chunk and a leaf in use. */
void mm_set_leaf(struct mm *mm, uint64_t start, uint64_t end, uint32_t prot);
/* The entry of the piece in its page directory, with the tables above. NULL: no room. */
uint64_t *mm_directory_entry(struct mm *mm, uint64_t va);
/* Rights of any range. */
void mm_set_rights(struct mm *mm, uint64_t start, uint64_t end, uint32_t prot);

/* PROT_ of the host's mapping: never executable. */
int mm_host_prot(uint32_t prot);
/* Host mappings for [start, end) of the area. 0 or -errno. */
int mm_host_map(struct mm *mm, const struct area *a, uint64_t start, uint64_t end);
/*
 * A mapping of the host's, all of one kind, to `to`, which stays ours also on failure: `from` may be
 * there still. -errno.
 */
int mm_host_move(void *from, uint8_t *to, uint64_t len);
/* Nothing there any more; the addresses stay ours. */
void mm_host_unmap(struct mm *mm, uint64_t start, uint64_t end);
void mm_host_protect(struct mm *mm, uint64_t start, uint64_t end, uint32_t prot);

/* Whether an area is charged that gets such rights. */
bool mm_is_charged(uint32_t prot, const struct area *a);
/* Bytes of [start, end) in pieces with chunks. */
uint64_t mm_backed(const struct mm *mm, uint64_t start, uint64_t end);
/* What the areas in [start, end) are charged. */
uint64_t mm_charge_of(const struct mm *mm, uint64_t start, uint64_t end);

/* Give the piece of `va`, where an area is, a chunk. 0, -ENOMEM or another of mmap(2). */
int mm_give_chunk_locked(struct mm *mm, uint64_t va);
/*
 * For a new area: chunks now if it is small, pages too if it is very small. `with_file`: private
 * pages of a file as well.
 */
int mm_populate(struct mm *mm, const struct area *a, bool with_file);

#endif

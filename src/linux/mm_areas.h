/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the address space only: mm.c, mm_areas.c, mm_access.c, checkpoint.c. */
#ifndef MAYFLY_LINUX_MM_AREAS_H
#define MAYFLY_LINUX_MM_AREAS_H

#include "linux/mm.h"
#include "snapshot/snapshot.h"

/* The host address of a guest address whose piece has a chunk, else NULL. No lock needed. */
uint8_t *mm_host_address(const struct mm *mm, uint64_t va);
/* Give the piece of `va`, in which an area must be there, a chunk. -EFAULT, -ENOMEM. */
int mm_give_chunk(struct mm *mm, uint64_t va);
/* The number of the chunk of a piece, or -1. */
int64_t mm_chunk_of(const struct mm *mm, uint64_t va);

/*
 * Write over the byte of code at `va`, in a private executable area that the program cannot write,
 * if the `len` bytes there are those of `expect` (NULL: whatever they are). -EFAULT if anything is
 * not so.
 */
int mm_poke(struct mm *mm, uint64_t va, const uint8_t *expect, size_t len, uint8_t byte);

/* --- For checkpoint_mm.c ------------------------------------------------------------------- */

/* From here on what restores need is kept. -ENOMEM. */
int mm_track(struct mm *mm);
/* A fresh address space gets the chunk for the piece of `va`. -ENOMEM. */
int mm_adopt_chunk(struct mm *mm, uint64_t va, uint32_t chunk);
/*
 * Make everything of chunks as the areas say, where host memory is the snapshot's image: rights in
 * the page tables, charges. `again`: only for chunks that were remapped. -ENOMEM.
 */
int mm_apply(struct mm *mm, bool again);
void mm_forget_areas(struct mm *mm);
/* Chunks that were remapped: no rights, and the image's pages again. */
int mm_unmap_remapped(struct mm *mm, const struct mayfly_snapshot *snap);

/* For restores: the host itself wrote there, which KVM's dirty log does not have. */
void mm_note_host_write(struct mm *mm, const uint8_t *host, uint64_t len);

/* mm_areas.c: the sorted array. Hold mm->lock for writing (reading for area_find). */

/* The index of the first area that ends above `va`; mm->nareas if none. */
size_t area_find(const struct mm *mm, uint64_t va);
/* Cut at `va`, if it lies inside an area. -ENOMEM. */
int area_split(struct mm *mm, uint64_t va);
/* Insert where there is room; merged with neighbours that continue it. Takes the file's count,
 * also on failure: -ENOMEM, for too many files as well. */
int area_insert(struct mm *mm, const struct area *area);
/* Take out areas that lie in [start, end), both of which are no inside of one. */
void area_remove(struct mm *mm, uint64_t start, uint64_t end);
/* After rights changed: join what can be joined around [start, end). */
void area_merge(struct mm *mm, uint64_t start, uint64_t end);
/* The lowest room of `len` bytes at or above `from` and below `to`, aligned; 0: none. */
uint64_t area_room(const struct mm *mm, uint64_t from, uint64_t to, uint64_t len,
		   uint64_t align);
/* Whether all of [start, end) is in areas. */
bool area_covers(const struct mm *mm, uint64_t start, uint64_t end);

#endif

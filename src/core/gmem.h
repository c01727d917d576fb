/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory. A guest is a map of regions, fixed for its life: each a range of guest-virtual
 * addresses on a range of guest-physical ones, either *private* to a VM (may be written) or
 * *shared* by all VMs of the guest (read only). Everything on the host that touches guest
 * memory goes through here, by guest-virtual address and length; guest addresses are structs
 * that cannot be dereferenced.
 */
#ifndef MAYFLY_CORE_GMEM_H
#define MAYFLY_CORE_GMEM_H

#include "core/error.h"
#include "core/util.h"

typedef struct {
	uint64_t v;
} gva_t;

static inline gva_t gva(uint64_t v)
{
	return (gva_t){v};
}

#define GMEM_READ 1u
#define GMEM_WRITE 2u
#define GMEM_EXEC 4u

#define GMEM_MAX_REGIONS 96
#define GMEM_MAX_NAME 16

struct gmem_region {
	uint64_t va;
	uint64_t gpa;
	uint64_t len;
	uint32_t prot; /* of ring 3; 0: ring 0 only */
	bool shared;
	char name[GMEM_MAX_NAME]; /* "stack", for messages */
};

/* Ascending by va, not overlapping. */
struct gmem_map {
	struct gmem_region regions[GMEM_MAX_REGIONS];
	uint32_t count;
	uint64_t private_len; /* gpa [0, private_len) */
	uint64_t shared_gpa;  /* gpa [shared_gpa, shared_gpa + shared_len) */
	uint64_t shared_len;
};

/* A VM's view: the map, and where the two parts are in this process. */
struct gmem {
	const struct gmem_map *map;
	uint8_t *private_mem;
	const uint8_t *shared_mem;
};

/* Insert in order. The caller has checked that there is room and no overlap. */
void gmem_map_add(struct gmem_map *map, const struct gmem_region *region);

/* The region that holds `va`, of any kind, or NULL. O(log n) */
const struct gmem_region *gmem_region_at(const struct gmem_map *map, gva_t va);

/*
 * The host's view of [va, va+len), which must lie in one region that ring 3 may read; NULL
 * otherwise. What is there can change whenever the guest runs: copy before checking, or use it
 * only while it cannot. len 0: any pointer that is not NULL, if va is readable or just at a
 * region's end.
 */
const void *gmem_view(const struct gmem *gm, gva_t va, uint64_t len);

/*
 * The length of the NUL-terminated string at `va`, which must end, with its NUL, in the region
 * and within max+1 bytes. -1: not readable, -2: not terminated there.
 */
int64_t gmem_string(const struct gmem *gm, gva_t va, uint64_t max, const char **out);

/* How many bytes from `va` lie in its region, if ring 3 may read it; 0 otherwise. */
uint64_t gmem_readable(const struct gmem_map *map, gva_t va);

/* Any region, ring 0's too: for what the CPU itself wrote. False if not in one region. */
bool gmem_read_any(const struct gmem *gm, gva_t va, void *buffer, uint64_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "core/gmem.h"

#include <string.h>

void gmem_map_add(struct gmem_map *map, const struct gmem_region *region)
{
	uint32_t i = map->count;

	while (i > 0 && map->regions[i - 1].va > region->va) {
		map->regions[i] = map->regions[i - 1];
		i--;
	}
	map->regions[i] = *region;
	map->count++;
}

const struct gmem_region *gmem_region_at(const struct gmem_map *map, gva_t va)
{
	uint32_t low = 0, high = map->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		const struct gmem_region *r = &map->regions[mid];

		if (va.v < r->va)
			high = mid;
		else if (va.v - r->va >= r->len)
			low = mid + 1;
		else
			return r;
	}
	return NULL;
}

static const uint8_t *host_of(const struct gmem *gm, const struct gmem_region *r,
			      uint64_t offset)
{
	if (r->shared)
		return gm->shared_mem + (r->gpa - gm->map->shared_gpa) + offset;
	return gm->private_mem + r->gpa + offset;
}

uint64_t gmem_readable(const struct gmem_map *map, gva_t va)
{
	const struct gmem_region *r = gmem_region_at(map, va);

	if (!r || !(r->prot & GMEM_READ))
		return 0;
	return r->len - (va.v - r->va);
}

const void *gmem_view(const struct gmem *gm, gva_t va, uint64_t len)
{
	const struct gmem_region *r = gmem_region_at(gm->map, va);

	/* An empty range may begin where a region ends. */
	if (!r && !len && va.v)
		r = gmem_region_at(gm->map, gva(va.v - 1));
	if (!r || !(r->prot & GMEM_READ) || !range_within(va.v - r->va, len, r->len))
		return NULL;
	return host_of(gm, r, va.v - r->va);
}

int64_t gmem_string(const struct gmem *gm, gva_t va, uint64_t max, const char **out)
{
	uint64_t left = gmem_readable(gm->map, va);
	const char *s, *end;

	if (!left)
		return -1;
	if (left > max)
		left = max + 1;
	s = gmem_view(gm, va, left);
	end = memchr(s, 0, left);
	if (!end)
		return -2;
	*out = s;
	return end - s;
}

bool gmem_read_any(const struct gmem *gm, gva_t va, void *buffer, uint64_t len)
{
	const struct gmem_region *r = gmem_region_at(gm->map, va);

	if (!r || !range_within(va.v - r->va, len, r->len))
		return false;
	memcpy(buffer, host_of(gm, r, va.v - r->va), len);
	return true;
}

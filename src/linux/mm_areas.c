/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/mm_areas.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "linux/files.h"

size_t area_find(const struct mm *mm, uint64_t va)
{
	size_t low = 0, high = mm->nareas;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (mm->areas[mid].end <= va)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* An area more, or less, of its file. */
static void hold_file(struct mm *mm, struct file *file)
{
	if (file && !file->areas++)
		mm->nfiles++;
}

static void drop_file(struct mm *mm, struct file *file)
{
	if (file && !--file->areas)
		mm->nfiles--;
	file_put(file);
}

/* Mappings of the host's in the guest's memory. */
static size_t host_mappings(const struct mm *mm)
{
	uintptr_t first = (uintptr_t)mm->base;
	uintptr_t end = first + mm->chunks_gpa + (uint64_t)mm->max_chunks * MM_CHUNK;
	_cleanup_free_ char *line = NULL;
	FILE *maps = fopen("/proc/self/maps", "re");
	size_t count = 0, size = 0;

	while (maps && getline(&line, &size, maps) > 0) {
		uintptr_t start = strtoull(line, NULL, 16);

		count += start >= first && start < end;
	}
	if (maps)
		fclose(maps);
	return count;
}

/*
 * Neighbours that are one area need not be one mapping of the host's, which does not join memory that
 * was used before (anon_vma of the kernel): as many as were joined are counted as areas still. When
 * that gets too much the host is asked: each area is one mapping, with a hole behind it, in each
 * chunk.
 */
static bool is_full(struct mm *mm)
{
	size_t explained = mm->nareas + mm->npieces, found;

	if (mm->nareas >= MM_MAX_AREAS || mm->joined < MM_MAX_AREAS - mm->nareas)
		return mm->nareas >= MM_MAX_AREAS;
	found = host_mappings(mm) / 2;
	mm->joined = found > explained ? found - explained : 0;
	return mm->joined >= MM_MAX_AREAS - mm->nareas;
}

static int make_room(struct mm *mm, size_t at)
{
	if (is_full(mm))
		return -ENOMEM;
	if (mm->nareas == mm->capacity) {
		size_t capacity = mm->capacity ? mm->capacity * 2 : 64;
		struct area *areas = realloc(mm->areas, capacity * sizeof(*areas));

		if (!areas)
			return -ENOMEM;
		mm->areas = areas;
		mm->capacity = capacity;
	}
	memmove(mm->areas + at + 1, mm->areas + at, (mm->nareas - at) * sizeof(*mm->areas));
	mm->nareas++;
	return 0;
}

static void take_out(struct mm *mm, size_t at, size_t count)
{
	if (!count)
		return; /* there may be no array yet */
	memmove(mm->areas + at, mm->areas + at + count,
		(mm->nareas - at - count) * sizeof(*mm->areas));
	mm->nareas -= count;
}

int area_split(struct mm *mm, uint64_t va)
{
	size_t i = area_find(mm, va);
	struct area *a;
	int r;

	if (i == mm->nareas || mm->areas[i].start >= va)
		return 0;
	r = make_room(mm, i);
	if (r < 0)
		return r;
	a = &mm->areas[i];
	a[0] = a[1];
	a[0].end = va;
	a[1].start = va;
	a[1].offset += va - a[0].start;
	if (a->file)
		hold_file(mm, file_get(a->file));
	return 0;
}

static bool continues(const struct area *a, const struct area *b)
{
	return a->end == b->start && a->prot == b->prot && a->flags == b->flags &&
	       a->file == b->file && a->name == b->name &&
	       (!a->file || a->offset + (a->end - a->start) == b->offset);
}

static bool merge_at(struct mm *mm, size_t i)
{
	struct area *a = &mm->areas[i];

	if (i + 1 >= mm->nareas || !continues(a, a + 1))
		return false;
	a->end = a[1].end;
	mm->joined++;
	drop_file(mm, a[1].file);
	take_out(mm, i + 1, 1);
	return true;
}

int area_insert(struct mm *mm, const struct area *area)
{
	bool too_many = area->file && !area->file->areas && mm->nfiles >= mm->max_files;
	size_t i = area_find(mm, area->start);
	int r = too_many ? -ENOMEM : make_room(mm, i);

	if (r < 0) {
		file_put(area->file);
		return r;
	}
	mm->areas[i] = *area;
	hold_file(mm, area->file);
	merge_at(mm, i);
	if (i)
		merge_at(mm, i - 1);
	mm->generation++;
	return 0;
}

void area_remove(struct mm *mm, uint64_t start, uint64_t end)
{
	size_t first = area_find(mm, start), last = first;

	while (last < mm->nareas && mm->areas[last].start < end)
		drop_file(mm, mm->areas[last++].file);
	take_out(mm, first, last - first);
	mm->generation++;
}

void area_merge(struct mm *mm, uint64_t start, uint64_t end)
{
	size_t i = area_find(mm, start ? start - 1 : 0);

	while (i + 1 < mm->nareas && mm->areas[i].start <= end)
		if (!merge_at(mm, i))
			i++;
	mm->generation++;
}

uint64_t area_room(const struct mm *mm, uint64_t from, uint64_t to, uint64_t len,
		   uint64_t align)
{
	uint64_t at = (from + align - 1) / align * align;

	for (size_t i = area_find(mm, at);; i++) {
		uint64_t next = i < mm->nareas ? mm->areas[i].start : to;

		if (next > to)
			next = to;
		if (at < next && next - at >= len)
			return at;
		if (i >= mm->nareas || mm->areas[i].end >= to)
			return 0;
		at = (mm->areas[i].end + align - 1) / align * align;
	}
}

bool area_covers(const struct mm *mm, uint64_t start, uint64_t end)
{
	for (size_t i = area_find(mm, start); start < end; i++) {
		if (i == mm->nareas || mm->areas[i].start > start)
			return false;
		start = mm->areas[i].end;
	}
	return true;
}

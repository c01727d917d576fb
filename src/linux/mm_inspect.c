/* SPDX-License-Identifier: Apache-2.0 */
/* The address space looked at, and code written over. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "abi/program.h"
#include "linux/files.h"
#include "linux/mm_chunks.h"
#include "snapshot/instance.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

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
			mprotect(page, PAGE_SIZE, mm_host_prot(a->prot));
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
	struct mm_run run;

	if (len > PROG_VA_END || !mm_mapped(mm, va, len))
		return -ENOMEM;
	pthread_rwlock_rdlock(&mm->lock);
	for (size_t i = area_find(mm, va); i < mm->nareas && mm->areas[i].start < end; i++) {
		const struct area *a = &mm->areas[i];
		uint64_t to = a->end < end ? a->end : end;

		if (!a->file || !(a->flags & MAP_SHARED))
			continue;
		for (uint64_t at = a->start > va ? a->start : va; mm_next_run(mm, at, to, &run);
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

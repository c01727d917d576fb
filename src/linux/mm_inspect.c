/* SPDX-License-Identifier: Apache-2.0 */
/* The address space looked at, and code written over. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "abi/program.h"
#include "linux/files.h"
#include "linux/mm_chunks.h"
#include "snapshot/instance.h"

static bool is_code(const struct mm *mm, uint64_t va)
{
	size_t i = area_find(mm, va);
	const struct area *a = &mm->areas[i];

	return i < mm->nareas && a->start <= va && (a->prot & PROT_EXEC) &&
	       !(a->prot & PROT_WRITE) && (a->flags & MAP_PRIVATE);
}

/*
 * By process_vm_writev(2): the file behind the page may be cut short at any time, even when the
 * page is our copy by now.
 */
static int write_byte(struct mm *mm, uint8_t *host, uint8_t byte)
{
	struct iovec local = {&byte, 1}, remote = {host, 1};

	return process_vm_writev(mm->self, &local, 1, &remote, 1, 0) == 1 ? 0 : -EFAULT;
}

int mm_poke(struct mm *mm, uint64_t va, const uint8_t *expect, size_t len, uint8_t byte)
{
	uint8_t *host = mm_host_address(mm, va);
	uint64_t page = page_down(va);
	uint8_t found[16];
	int r = -EFAULT;

	if (!host && mm_give_chunk(mm, va) == 0)
		host = mm_host_address(mm, va);
	if (!host || len > sizeof(found) || (expect && mm_read(mm, found, va, len) < 0) ||
	    (expect && memcmp(found, expect, len) != 0))
		return -EFAULT;
	pthread_rwlock_wrlock(&mm->lock);
	if (is_code(mm, va) && mm_charge(mm, PAGE_SIZE)) {
		mm_host_protect(mm, page, page + PAGE_SIZE, PROT_READ | PROT_WRITE);
		r = write_byte(mm, host, byte);
		mm_host_protect(mm, page, page + PAGE_SIZE, PROT_READ);
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

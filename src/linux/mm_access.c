/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory for system calls: copies, vectors, charges. See mm.h. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "abi/program.h"
#include "linux/mm_areas.h"
#include "snapshot/instance.h"

/* As the kernel limits one transfer (MAX_RW_COUNT of include/linux/fs.h). */
#define MAX_RW_COUNT ((uint64_t)INT_MAX & ~PAGE_MASK)
/* Pieces of a copy: one each 2 MiB, so this is 32 MiB at a time. */
#define COPY_IOV 16

void mm_note_host_write(struct mm *mm, const uint8_t *host, uint64_t len)
{
	uint64_t first, last;

	if (!mm->host_wrote || !len)
		return;
	first = (uint64_t)(host - mm->base) / PAGE_SIZE;
	last = ((uint64_t)(host - mm->base) + len - 1) / PAGE_SIZE;
	for (uint64_t page = first; page <= last; page++)
		__atomic_fetch_or(&mm->host_wrote[page / 64], (uint64_t)1 << page % 64,
				  __ATOMIC_RELAXED);
}

/* Only what can be written: the rest is as it was, and the host could not write it again. */
static void note_writable(struct mm *mm, uint64_t va, const uint8_t *host, uint64_t len)
{
	pthread_rwlock_rdlock(&mm->lock);
	for (size_t i = area_find(mm, va); i < mm->nareas && mm->areas[i].start < va + len;
	     i++) {
		const struct area *a = &mm->areas[i];
		uint64_t start = a->start > va ? a->start : va;
		uint64_t end = a->end < va + len ? a->end : va + len;

		if (a->prot & PROT_WRITE)
			mm_note_host_write(mm, host + (start - va), end - start);
	}
	pthread_rwlock_unlock(&mm->lock);
}

/* The host's view of [va, va+len), giving chunks where areas have none yet. `write`: will be
 * written to. */
static int view(struct mm *mm, uint64_t va, uint64_t len, struct iovec *iov, int max,
		bool write)
{
	int n = 0;

	if (len > MAX_RW_COUNT)
		len = MAX_RW_COUNT;
	if (!len)
		return 0;
	while (len && n < max) {
		uint64_t part = MM_CHUNK - va % MM_CHUNK;
		uint8_t *host = mm_host_address(mm, va);

		if (part > len)
			part = len;
		if (!host && mm_give_chunk(mm, va) == 0)
			host = mm_host_address(mm, va);
		if (!host)
			break;
		if (write && mm->host_wrote)
			note_writable(mm, va, host, part);
		if (n && (uint8_t *)iov[n - 1].iov_base + iov[n - 1].iov_len == host) {
			iov[n - 1].iov_len += part;
		} else {
			iov[n++] = (struct iovec){host, part};
		}
		va += part;
		len -= part;
	}
	return n ? n : -EFAULT;
}

int mm_iov(struct mm *mm, uint64_t va, uint64_t len, struct iovec *iov, int max, bool write)
{
	return view(mm, va, len, iov, max, write);
}

/*
 * process_vm_readv(2) on ourselves is a copy that gives EFAULT where memcpy() would raise a
 * signal, and that respects the mapping's rights.
 */
static int copy(struct mm *mm, void *buffer, uint64_t va, size_t len, bool write)
{
	uint8_t *at = buffer;

	while (len) {
		struct iovec remote[COPY_IOV], local;
		size_t part = 0;
		ssize_t done;
		int n = view(mm, va, len, remote, COPY_IOV, write);

		if (n < 0)
			return -EFAULT;
		for (int i = 0; i < n; i++)
			part += remote[i].iov_len;
		local = (struct iovec){at, part};
		if (write)
			done = process_vm_writev(mm->self, &local, 1, remote, (unsigned)n, 0);
		else
			done = process_vm_readv(mm->self, &local, 1, remote, (unsigned)n, 0);
		if (done != (ssize_t)part)
			return -EFAULT;
		at += part;
		va += part;
		len -= part;
	}
	return 0;
}

int mm_read(struct mm *mm, void *to, uint64_t va, size_t len)
{
	return copy(mm, to, va, len, false);
}

int mm_write(struct mm *mm, uint64_t va, const void *from, size_t len)
{
	return copy(mm, (void *)(uintptr_t)from, va, len, true);
}

int mm_zero(struct mm *mm, uint64_t va, size_t len)
{
	static const uint8_t zeros[PAGE_SIZE];

	while (len) {
		size_t part = len < sizeof(zeros) ? len : sizeof(zeros);
		int r = mm_write(mm, va, zeros, part);

		if (r < 0)
			return r;
		va += part;
		len -= part;
	}
	return 0;
}

ssize_t mm_read_string(struct mm *mm, char *to, size_t size, uint64_t va)
{
	size_t have = 0;

	while (have < size) {
		/* Not past a page's end: the next one may not be there. */
		size_t part = PAGE_SIZE - (va + have) % PAGE_SIZE;
		const char *end;

		if (part > size - have)
			part = size - have;
		/* Most strings are short. */
		if (part > 256)
			part = 256;
		if (mm_read(mm, to + have, va + have, part) < 0)
			return -EFAULT;
		end = memchr(to + have, 0, part);
		if (end)
			return end - to;
		have += part;
	}
	return -ENAMETOOLONG;
}

uint32_t *mm_word(struct mm *mm, uint64_t va, bool write)
{
	struct iovec iov = {NULL, 0};

	if (va % sizeof(uint32_t) || view(mm, va, sizeof(uint32_t), &iov, 1, write) != 1)
		return NULL;
	return iov.iov_base;
}

bool mm_charge(struct mm *mm, uint64_t bytes)
{
	uint64_t old = atomic_load_explicit(&mm->charged, memory_order_relaxed);

	do {
		if (bytes > mm->limit || old > mm->limit - bytes)
			return false;
	} while (!atomic_compare_exchange_weak(&mm->charged, &old, old + bytes));
	if (old + bytes > mm->peak)
		mm->peak = old + bytes;
	return true;
}

void mm_uncharge(struct mm *mm, uint64_t bytes)
{
	atomic_fetch_sub(&mm->charged, bytes);
}

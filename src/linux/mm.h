/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program's address space.
 *
 * The program's addresses are divided into 2 MiB pieces; each that is used gets a *chunk* of
 * guest-physical memory, for good. Guest-physical memory is one range of the host process's
 * addresses, so every guest address has one fixed host address, and what the program maps is
 * mapped there, by the host's own mmap(2): files, copy-on-write, zero pages, accounting and
 * eviction are the kernel's work, and KVM follows by its MMU notifier. Rights are in both
 * places: in the host mapping (without PROT_EXEC), so that system calls on it fail as they
 * should, and in the guest's page tables, so that the guest gets a page fault with an address.
 *
 * Order matters, because KVM may keep stale translations (PVM does): taking rights away writes
 * the guest's table first and changes the host mapping second, which has KVM drop what it
 * knows; giving rights does the reverse.
 *
 * Charge: `charged` counts bytes of private or anonymous memory that is or was writable, in pieces
 * that have a chunk, whether touched or not: an upper bound of what the host pays. memfs adds its
 * files.
 */
#ifndef MAYFLY_LINUX_MM_H
#define MAYFLY_LINUX_MM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "core/error.h"
#include "core/util.h"

struct instance;
struct file;

#define MM_CHUNK ((uint64_t)2 << 20)
#define MM_MAX_AREAS 16384 /* as vm.max_map_count, smaller: all VMs share the host's */
/* No string or vector of the guest is longer: PATH_MAX, and IOV_MAX. */
#define MM_MAX_IOV 1024

/* It cannot be written now, but could be before: what was written is there still. */
#define AREA_WRITTEN 0x80000000u

/* A mapping (VMA): [start, end), ascending in mm->areas, not overlapping. */
struct area {
	uint64_t start, end;
	uint32_t prot;	 /* PROT_ */
	uint32_t flags;	 /* MAP_SHARED or MAP_PRIVATE, MAP_ANONYMOUS, MAP_STACK, MAP_NORESERVE,
			   MAP_GROWSDOWN; AREA_WRITTEN */
	uint64_t offset; /* in the file, of start */
	struct file *file; /* counted; NULL: anonymous */
	const char *name;  /* "[heap]", "[stack]": static; or NULL */
};

/* What is mapped of a file (borrowed; areas count it). */
struct mm_source {
	struct file *file;
	uint64_t offset;
};

struct mm {
	pthread_rwlock_t lock;
	struct instance *inst; /* borrowed */
	pid_t self;	       /* the host process */
	uint8_t *base;	       /* host address of gpa 0 */
	uint64_t chunks_gpa;   /* gpa of chunk 0 */
	uint32_t nchunks, max_chunks;
	/* Hash table, va >> 21 to chunk number + 1; entries are never taken out; atomic. */
	_Atomic uint64_t *chunk_table;
	uint32_t chunk_mask;
	/* The same by address: pieces that have chunks, ascending. Under `lock`. */
	uint32_t *pieces;
	uint32_t npieces;
	struct area *areas;
	size_t nareas, capacity;
	size_t joined; /* areas that became part of another: see is_full() */
	/* Open files that areas hold, perhaps without a descriptor of the guest's; the most. */
	uint32_t nfiles, max_files;
	uint64_t limit;		   /* bytes that may be charged */
	_Atomic(uint64_t) charged; /* memfs's share included */
	uint64_t peak;
	uint64_t brk_start, brk; /* of the heap */
	uint64_t mmap_base;	 /* where the search for room begins */
	uint64_t stack_top;
	uint64_t arg_start, arg_end, env_start, env_end;
	uint64_t entry, phdr, interp_base; /* for auxv */
	uint16_t phnum;
	uint64_t generation; /* differs after each change of areas */
	/* Page tables above the last level: pages used of PROG_TABLES_PAGES. */
	uint32_t tables_used;
	/*
	 * For restores, else NULL. Bitmaps: private pages that the host wrote; chunks whose host
	 * mappings are no longer just the snapshot's.
	 */
	uint64_t *host_wrote;
	uint64_t *remapped;
	/*
	 * Chunks that were remapped in some run before, and which of their pages the snapshot's
	 * areas do not have writable: see struct instance.
	 */
	uint64_t *fixed_chunks;
	uint64_t *fixed_pages;
};

/* --- For system calls on guest memory ----------------------------------------------------- */

/*
 * Copies that cannot fault the host, whatever the guest does meanwhile. 0 or -EFAULT; on
 * failure a part may have been copied.
 */
int mm_read(struct mm *mm, void *to, uint64_t va, size_t len);
int mm_write(struct mm *mm, uint64_t va, const void *from, size_t len);
int mm_zero(struct mm *mm, uint64_t va, size_t len);
/*
 * A NUL-terminated string into to[size]. Gives its length, -EFAULT, or -ENAMETOOLONG if it does
 * not fit with its NUL.
 */
ssize_t mm_read_string(struct mm *mm, char *to, size_t size, uint64_t va);

/* Whole structures: mm_get(mm, &st, va), mm_put(mm, va, &st). */
#define mm_get(mm, to, va) mm_read((mm), (to), (va), sizeof(*(to)))
#define mm_put(mm, va, from) mm_write((mm), (va), (from), sizeof(*(from)))

/*
 * Host addresses of [va, va+len), for handing to the host's kernel, which checks rights and
 * faults by itself, and for nothing else: memory there may vanish at any time. Fills iov[],
 * at most `max` entries, gives how many; fewer bytes than asked if the range leaves the mapped
 * areas or max is reached; -EFAULT if not even the first byte is mapped. len 0 gives 0. A guest
 * that asks for more than the kernel's MAX_RW_COUNT gets that. `write`: the host will write
 * there, which a restore has to know; not to be said of what is only read, as each page that is
 * written costs it a copy.
 */
int mm_iov(struct mm *mm, uint64_t va, uint64_t len, struct iovec *iov, int max, bool write);

/* The host address of an aligned word in guest memory for futex(2), or NULL. `write`: as above. */
uint32_t *mm_word(struct mm *mm, uint64_t va, bool write);

/* Account for memory that is not mapped, such as memfs's. False: the limit is reached. */
bool mm_charge(struct mm *mm, uint64_t bytes);
void mm_uncharge(struct mm *mm, uint64_t bytes);

/* --- Mapping ------------------------------------------------------------------------------ */

int mm_init(struct mm *mm, struct instance *inst, uint64_t limit, mayfly_error *err);
void mm_fini(struct mm *mm);

/*
 * MAP_POPULATE: private pages of a file are copied at once; else what is written to the file until
 * they are is seen. mmap(2); `source` NULL: anonymous. The address or -errno. */
int64_t mm_map(struct mm *mm, uint64_t va, uint64_t len, uint32_t prot, uint32_t flags,
	       const struct mm_source *source);
int mm_unmap(struct mm *mm, uint64_t va, uint64_t len);
int mm_protect(struct mm *mm, uint64_t va, uint64_t len, uint32_t prot);
int64_t mm_remap(struct mm *mm, uint64_t old, uint64_t old_len, uint64_t new_len,
		 uint32_t flags, uint64_t new_va);
int mm_advise(struct mm *mm, uint64_t va, uint64_t len, int advice);
uint64_t mm_brk(struct mm *mm, uint64_t brk);

/* msync(2), mincore(2) into guest memory at `result`; whether all of a range is mapped. */
int mm_sync(struct mm *mm, uint64_t va, uint64_t len, int flags);
int mm_resident(struct mm *mm, uint64_t va, uint64_t len, uint64_t result);
bool mm_mapped(struct mm *mm, uint64_t va, uint64_t len);

/*
 * A page fault: true if the access is all right now (a chunk was given); false: *signal and
 * *code (si_code) are what Linux would send.
 */
bool mm_fault(struct mm *mm, uint64_t va, uint32_t error_code, int *signal, int *code);
/*
 * KVM could not reach memory behind a mapping (a file that was truncated, memory that is out):
 * have the next access raise a page fault, which mm_fault() then explains. False if there is
 * nothing of that kind.
 */
bool mm_revoke_unbacked(struct mm *mm);

/* For /proc/self/maps: calls fn for each area, under the lock. */
void mm_for_each(struct mm *mm, void (*fn)(void *context, const struct area *area),
		 void *context);
/* Bytes mapped, and charged, for /proc/self/status and statm. */
uint64_t mm_total(struct mm *mm);

#endif

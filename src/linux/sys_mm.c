/* SPDX-License-Identifier: Apache-2.0 */
/* System calls on the address space: arguments are checked here, mm.c does the rest. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "linux/process.h"

#define PROT_KNOWN (PROT_READ | PROT_WRITE | PROT_EXEC)
/* Bits of mprotect(2) for stacks of other architectures; the kernel takes them, too. */
#define PROT_IGNORED 0x18u

/* Not a device: what mapping that means, and what memory it takes, no one knows. */
static bool is_regular(const struct file *file)
{
	struct stat st;

	return fstat(file->fd, &st) == 0 && S_ISREG(st.st_mode);
}

static int64_t map_file(struct task *t, const uint64_t a[6], struct file *file, uint32_t flags)
{
	struct mm *mm = &t->process->mm;
	uint32_t prot = (uint32_t)a[2] & PROT_KNOWN;
	const struct mm_source source = {file, a[5]};
	bool shared = (flags & 0xf) != MAP_PRIVATE;

	if (file->kind == FILE_DEVICE && file->path && !strcmp(file->path, "/dev/zero"))
		return mm_map(mm, a[0], a[1], prot, flags | MAP_ANONYMOUS, NULL);
	if (file->kind != FILE_REGULAR && !(file->kind == FILE_STREAM && is_regular(file)))
		return -ENODEV;
	if (!file_readable(file) || (shared && (prot & PROT_WRITE) && !file_writable(file)))
		return -EACCES;
	return mm_map(mm, a[0], a[1], prot, flags, &source);
}

int64_t sys_mmap(struct task *t, const uint64_t a[6])
{
	uint32_t flags = (uint32_t)a[3], kind = flags & 0xf;
	uint32_t keep = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_STACK | MAP_NORESERVE);
	struct file *file;
	int64_t r;

	if (a[5] & PAGE_MASK)
		return -EINVAL;
	if (kind != MAP_SHARED && kind != MAP_PRIVATE && kind != MAP_SHARED_VALIDATE)
		return -EINVAL;
	if (flags & MAP_HUGETLB)
		return -ENOMEM;
	keep |= kind == MAP_PRIVATE ? MAP_PRIVATE : MAP_SHARED;
	if (flags & MAP_ANONYMOUS)
		return mm_map(&t->process->mm, a[0], a[1], (uint32_t)a[2] & PROT_KNOWN,
			      keep | MAP_ANONYMOUS, NULL);
	if (a[5] > INT64_MAX - PAGE_SIZE - a[1] || a[1] > INT64_MAX)
		return -EOVERFLOW;
	file = files_get(&t->process->files, a[4]);
	if (!file)
		return -EBADF;
	r = map_file(t, a, file, keep);
	file_put(file);
	return r;
}

int64_t sys_munmap(struct task *t, const uint64_t a[6])
{
	return mm_unmap(&t->process->mm, a[0], a[1]);
}

int64_t sys_mprotect(struct task *t, const uint64_t a[6])
{
	if (a[2] & ~(uint64_t)(PROT_KNOWN | PROT_IGNORED))
		return -EINVAL;
	return mm_protect(&t->process->mm, a[0], a[1], (uint32_t)a[2] & PROT_KNOWN);
}

int64_t sys_mremap(struct task *t, const uint64_t a[6])
{
	return mm_remap(&t->process->mm, a[0], a[1], a[2], (uint32_t)a[3], a[4]);
}

int64_t sys_brk(struct task *t, const uint64_t a[6])
{
	return (int64_t)mm_brk(&t->process->mm, a[0]);
}

/* Of what madvise(2) knows; most of it is advice that may be ignored. */
static bool is_known_advice(uint64_t advice)
{
	return advice <= MADV_DONTNEED || advice == MADV_FREE ||
	       (advice >= MADV_DONTFORK && advice <= MADV_KEEPONFORK) ||
	       (advice >= MADV_COLD && advice <= 25 /* MADV_COLLAPSE */);
}

int64_t sys_madvise(struct task *t, const uint64_t a[6])
{
	if (!is_known_advice(a[2]))
		return -EINVAL;
	return mm_advise(&t->process->mm, a[0], a[1], (int)a[2]);
}

/* Private mappings of files need nothing; shared ones are the file already, as all see it. */
int64_t sys_msync(struct task *t, const uint64_t a[6])
{
	if ((a[0] & PAGE_MASK) || (a[2] & ~(uint64_t)(MS_ASYNC | MS_SYNC | MS_INVALIDATE)) ||
	    (a[2] & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
		return -EINVAL;
	return mm_sync(&t->process->mm, a[0], a[1], (int)a[2]);
}

int64_t sys_mincore(struct task *t, const uint64_t a[6])
{
	return mm_resident(&t->process->mm, a[0], a[1], a[2]);
}

/* Memory is never paged out by us, and locking the host's is not the guest's to ask. */
int64_t sys_mlock(struct task *t, const uint64_t a[6])
{
	return mm_mapped(&t->process->mm, a[0], a[1]) ? 0 : -ENOMEM;
}

int64_t sys_mlock2(struct task *t, const uint64_t a[6])
{
	if (a[2] & ~(uint64_t)MLOCK_ONFAULT)
		return -EINVAL;
	return sys_mlock(t, a);
}

int64_t sys_munlock(struct task *t, const uint64_t a[6])
{
	return sys_mlock(t, a);
}

int64_t sys_mlockall(struct task *t, const uint64_t a[6])
{
	(void)t;
	return !a[0] || (a[0] & ~(uint64_t)(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) ? -EINVAL
										     : 0;
}

int64_t sys_munlockall(struct task *t, const uint64_t a[6])
{
	(void)t;
	(void)a;
	return 0;
}

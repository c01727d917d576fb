/* SPDX-License-Identifier: Apache-2.0 */
/* read(2), write(2) and their variants; lseek(2). */
#include <errno.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "linux/process.h"

#define WINDOW 64		/* host addresses handed over at once */
#define MAX_RW_COUNT 0x7ffff000 /* the kernel's: INT_MAX, rounded down to a page */
#define FEW_VECTORS 8

/*
 * What the guest wants transferred: its vector, copied and checked, and how far it is. Turned
 * into host addresses a window at a time, so that the host needs no memory for it.
 */
struct transfer {
	struct mm *mm;
	bool read;	   /* into guest memory */
	struct iovec *vec; /* guest addresses; `few` or allocated */
	int count;
	int index;
	uint64_t skip; /* done of vec[index] */
	struct iovec few[FEW_VECTORS];
};

typedef int64_t transfer_fn(struct task *t, struct file *file, const struct iovec *iov, int n,
			    int64_t offset, int rwf);

static void transfer_fini(struct transfer *x)
{
	if (x->vec != x->few)
		free(x->vec);
}

/* One buffer. As access_ok() of the kernel: a length that is negative is a bad address. */
static int transfer_buffer(struct transfer *x, struct mm *mm, uint64_t va, uint64_t len)
{
	if (len > PROG_VA_END || va > PROG_VA_END - len)
		return -EFAULT;
	if (len > MAX_RW_COUNT)
		len = MAX_RW_COUNT;
	*x = (struct transfer){.mm = mm, .count = 1};
	x->vec = x->few;
	x->few[0] = (struct iovec){.iov_base = (void *)(uintptr_t)va, .iov_len = len};
	return 0;
}

/* As the kernel's import_iovec(). */
static int transfer_check(struct transfer *x)
{
	uint64_t total = 0;
	for (int i = 0; i < x->count; i++) {
		uint64_t va = (uint64_t)(uintptr_t)x->vec[i].iov_base;
		uint64_t len = x->vec[i].iov_len;
		if (len > SSIZE_MAX)
			return -EINVAL;
		if (len > PROG_VA_END || va > PROG_VA_END - len)
			return -EFAULT;
		if (len > MAX_RW_COUNT - total)
			len = MAX_RW_COUNT - total;
		x->vec[i].iov_len = len;
		total += len;
	}
	return 0;
}

static int transfer_vector(struct transfer *x, struct mm *mm, uint64_t va, uint64_t count)
{
	if (count > MM_MAX_IOV)
		return -EINVAL;
	*x = (struct transfer){.mm = mm, .count = (int)count};
	x->vec = x->few;
	if (count > FEW_VECTORS) {
		x->vec = calloc(count, sizeof(*x->vec));
		if (x->vec == NULL)
			return -ENOMEM;
	}
	int r = mm_read(mm, x->vec, va, count * sizeof(*x->vec));
	if (r == 0)
		r = transfer_check(x);
	if (r < 0)
		transfer_fini(x);
	return r;
}

/*
 * The next host addresses: how many; 0 at the end. -EFAULT if there is none where the transfer
 * stands; a window that ends before such a place is shorter.
 */
static int transfer_window(struct transfer *x, struct iovec *iov, int max)
{
	uint64_t skip = x->skip;
	int n = 0;
	for (int i = x->index; i < x->count && n < max; i++, skip = 0) {
		uint64_t len = x->vec[i].iov_len - skip;
		if (len == 0)
			continue;
		uint64_t va = (uint64_t)(uintptr_t)x->vec[i].iov_base + skip;
		int k = mm_iov(x->mm, va, len, iov + n, max - n, x->read);
		if (k <= 0)
			return n > 0 ? n : -EFAULT;
		n += k;
		if (iov_total(iov + n - k, k) < len)
			break;
	}
	return n;
}

static void transfer_advance(struct transfer *x, uint64_t done)
{
	while (x->index < x->count) {
		uint64_t left = x->vec[x->index].iov_len - x->skip;
		if (done < left) {
			x->skip += done;
			return;
		}
		done -= left;
		x->index++;
		x->skip = 0;
	}
}

static uint64_t transfer_left(const struct transfer *x)
{
	return iov_total(x->vec + x->index, x->count - x->index) - x->skip;
}

/* Whether a call may be answered by several transfers, as no one can tell. */
static bool divisible(const struct file *file)
{
	return file->kind == FILE_REGULAR || file->kind == FILE_DEVICE ||
	       (file->kind == FILE_STREAM && file->io == FILE_IO_PLAIN);
}

/* A message goes out, and is received, by one call with all of the guest's memory. */
static int64_t transfer_message(struct task *t, struct file *file, struct transfer *x,
				transfer_fn *fn)
{
	_cleanup_free_ struct iovec *iov = calloc(IOV_MAX, sizeof(*iov));
	if (iov == NULL)
		return -ENOMEM;
	int n = transfer_window(x, iov, IOV_MAX);
	if (n < 0)
		return n;
	if (iov_total(iov, n) < transfer_left(x))
		return n == IOV_MAX ? -EMSGSIZE : -EFAULT;
	return fn(t, file, iov, n, -1, 0);
}

static int64_t transfer_run(struct task *t, struct file *file, struct transfer *x,
			    transfer_fn *fn, int64_t offset, int rwf)
{
	struct iovec iov[WINDOW];
	bool writing = fn == file_write;
	uint64_t done = 0;
	x->read = !writing;
	for (;;) {
		int n = transfer_window(x, iov, WINDOW);
		if (n < 0 || (n == 0 && done > 0))
			return done > 0 ? (int64_t)done : n;
		uint64_t part = iov_total(iov, n);
		if (file->kind == FILE_SOCKET && part < transfer_left(x))
			return transfer_message(t, file, x, fn);

		int64_t at = offset < 0 ? -1 : offset + (int64_t)done;
		int64_t r = fn(t, file, iov, n, at, rwf);
		if (r <= 0)
			return done > 0 ? (int64_t)done : r;
		done += (uint64_t)r;
		transfer_advance(x, (uint64_t)r);
		/* Output goes on where it would have blocked until all was taken. */
		if ((uint64_t)r < part || transfer_left(x) == 0 ||
		    !(divisible(file) || writing))
			return (int64_t)done;
		if (t->process->stopping)
			return (int64_t)done;
	}
}

static int64_t io_buffer(struct task *t, const uint64_t a[6], transfer_fn *fn, int64_t offset)
{
	struct file *file = files_get(&t->process->files, a[0]);
	if (file == NULL)
		return -EBADF;
	struct transfer x;
	int64_t r = -EBADF;
	if (fn == file_read ? file_readable(file) : file_writable(file))
		r = transfer_buffer(&x, &t->process->mm, a[1], a[2]);
	if (r == 0)
		r = transfer_run(t, file, &x, fn, offset, 0);
	file_put(file);
	return r;
}

static int64_t io_vector(struct task *t, const uint64_t a[6], transfer_fn *fn, int64_t offset,
			 int rwf)
{
	struct file *file = files_get(&t->process->files, a[0]);
	if (file == NULL)
		return -EBADF;
	struct transfer x;
	int64_t r = -EBADF;
	if (fn == file_read ? file_readable(file) : file_writable(file))
		r = transfer_vector(&x, &t->process->mm, a[1], (uint32_t)a[2]);
	if (r == 0) {
		r = transfer_run(t, file, &x, fn, offset, rwf);
		transfer_fini(&x);
	}
	file_put(file);
	return r;
}

int64_t sys_read(struct task *t, const uint64_t a[6])
{
	return io_buffer(t, a, file_read, -1);
}

int64_t sys_write(struct task *t, const uint64_t a[6])
{
	return io_buffer(t, a, file_write, -1);
}

int64_t sys_pread64(struct task *t, const uint64_t a[6])
{
	return (int64_t)a[3] < 0 ? -EINVAL : io_buffer(t, a, file_read, (int64_t)a[3]);
}

int64_t sys_pwrite64(struct task *t, const uint64_t a[6])
{
	return (int64_t)a[3] < 0 ? -EINVAL : io_buffer(t, a, file_write, (int64_t)a[3]);
}

int64_t sys_readv(struct task *t, const uint64_t a[6])
{
	return io_vector(t, a, file_read, -1, 0);
}

int64_t sys_writev(struct task *t, const uint64_t a[6])
{
	return io_vector(t, a, file_write, -1, 0);
}

/* The offset is in a[3] alone on x86-64; a[4], its upper half elsewhere, is ignored. */
int64_t sys_preadv(struct task *t, const uint64_t a[6])
{
	return (int64_t)a[3] < 0 ? -EINVAL : io_vector(t, a, file_read, (int64_t)a[3], 0);
}

int64_t sys_pwritev(struct task *t, const uint64_t a[6])
{
	return (int64_t)a[3] < 0 ? -EINVAL : io_vector(t, a, file_write, (int64_t)a[3], 0);
}

/* RWF_HIPRI polls the disk and would burn the host's CPU: it is only a hint, so it is dropped. */
static int64_t io_flags(struct task *t, const uint64_t a[6], transfer_fn *fn)
{
	const int known = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND;
	int rwf = (int)a[5];
	if ((int64_t)a[3] < -1)
		return -EINVAL;
	if ((rwf & ~known) != 0)
		return -EOPNOTSUPP;
	return io_vector(t, a, fn, (int64_t)a[3], rwf & ~RWF_HIPRI);
}

int64_t sys_preadv2(struct task *t, const uint64_t a[6])
{
	return io_flags(t, a, file_read);
}

int64_t sys_pwritev2(struct task *t, const uint64_t a[6])
{
	return io_flags(t, a, file_write);
}

int64_t sys_lseek(struct task *t, const uint64_t a[6])
{
	struct file *file = files_get(&t->process->files, a[0]);
	if (file == NULL)
		return -EBADF;

	int whence = (int)a[2];
	int64_t r;
	if (whence < SEEK_SET || whence > SEEK_HOLE) {
		r = -EINVAL;
	} else if (file->kind == FILE_DIRECTORY) {
		r = vfs_seek(file, (int64_t)a[1], whence);
	} else if (file->kind == FILE_PIPE || file->kind == FILE_SOCKET || file->fd < 0) {
		r = -ESPIPE;
	} else {
		r = lseek(file->fd, (int64_t)a[1], whence);
		if (r < 0)
			r = -errno;
	}
	file_put(file);
	return r;
}

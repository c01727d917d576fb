/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durability and read-ahead. Only files that the guest may change on the host are flushed; the
 * rest is in memory, or not the guest's to have the host busy with.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "linux/process.h"

static int64_t sync_file(struct task *t, uint64_t fd, int (*flush)(int))
{
	struct file *file = files_get(&t->process->files, fd);
	if (file == NULL)
		return -EBADF;
	int64_t r = 0;
	switch (file->kind) {
	case FILE_REGULAR:
	case FILE_DIRECTORY:
		/* EBADF: a directory that is open by O_PATH on the host. */
		if (file_is_hosts(file) && flush(file->fd) < 0 && errno != EBADF)
			r = -errno;
		break;
	case FILE_STREAM:
		r = flush(file->fd) < 0 ? -errno : 0;
		break;
	case FILE_DEVICE:
	case FILE_PIPE:
	case FILE_SOCKET:
	case FILE_EVENT:
	case FILE_TIMER:
	case FILE_SIGNAL:
	case FILE_EPOLL:
	case FILE_PATH:
		r = -EINVAL;
		break;
	}
	file_put(file);
	return r;
}

int64_t sys_fsync(struct task *t, const uint64_t a[6])
{
	return sync_file(t, a[0], fsync);
}

int64_t sys_fdatasync(struct task *t, const uint64_t a[6])
{
	return sync_file(t, a[0], fdatasync);
}

/* The guest's own open files: the host has others, whose writers need not wait for it. */
static void sync_all(struct task *t)
{
	struct files *files = &t->process->files;
	for (uint32_t fd = 0; fd < __atomic_load_n(&files->count, __ATOMIC_RELAXED); fd++) {
		struct file *file = files_get(files, fd);
		if (file != NULL && file_is_hosts(file))
			(void)fsync(file->fd);
		file_put(file);
	}
}

int64_t sys_sync(struct task *t, const uint64_t a[6])
{
	(void)a;
	sync_all(t);
	return 0;
}

int64_t sys_syncfs(struct task *t, const uint64_t a[6])
{
	struct file *file = files_get(&t->process->files, a[0]);
	if (file == NULL)
		return -EBADF;
	file_put(file);
	sync_all(t);
	return 0;
}

static int seekable(const struct file *file)
{
	return file->kind == FILE_PIPE || file->kind == FILE_SOCKET ? -ESPIPE : 0;
}

/* As ksys_sync_file_range() of the kernel checks. */
int64_t sys_sync_file_range(struct task *t, const uint64_t a[6])
{
	int64_t offset = (int64_t)a[1], len = (int64_t)a[2], end;
	unsigned flags = (unsigned)a[3];
	struct file *file = files_get(&t->process->files, a[0]);
	if (file == NULL)
		return -EBADF;
	int r = seekable(file);
	if ((flags & ~(unsigned)(SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
				 SYNC_FILE_RANGE_WAIT_AFTER)) != 0 ||
	    offset < 0 || len < 0 || __builtin_add_overflow(offset, len, &end))
		r = -EINVAL;
	if (r == 0 && file->kind == FILE_REGULAR && file_is_hosts(file) &&
	    sync_file_range(file->fd, offset, len, flags) < 0)
		r = -errno;
	file_put(file);
	return r;
}

/* A hint; the host's cache is shared, so dropping from it is not for guests. */
int64_t sys_fadvise64(struct task *t, const uint64_t a[6])
{
	int64_t len = (int64_t)a[2];
	int advice = (int)a[3];
	struct file *file = files_get(&t->process->files, a[0]);
	if (file == NULL)
		return -EBADF;
	int r = seekable(file);
	if (r == 0 && (len < 0 || advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE))
		r = -EINVAL;
	if (r == 0 && file->kind == FILE_REGULAR && file->node == NULL && file->fd >= 0 &&
	    advice <= POSIX_FADV_SEQUENTIAL)
		(void)posix_fadvise(file->fd, (off_t)a[1], len, advice);
	file_put(file);
	return r;
}

int64_t sys_readahead(struct task *t, const uint64_t a[6])
{
	struct file *file = files_get(&t->process->files, a[0]);
	if (file == NULL)
		return -EBADF;
	int r = 0;
	if (!file_readable(file))
		r = -EBADF;
	else if (file->kind != FILE_REGULAR)
		r = -EINVAL;
	file_put(file);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: close, dup, fcntl, pipe. */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/stat.h>

#include "linux/process.h"

/* What F_SETFL changes; O_ASYNC is ignored: no SIGIO is sent. */
#define SETFL_MASK (O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME)
/* What open(2) is told that is no state of the open file. */
#define NOT_IN_GETFL (O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)
/* The kernel's O_LARGEFILE, which open(2) sets on 64-bit systems. */
#define GETFL_LARGEFILE 0100000

int64_t sys_close(struct task *t, const uint64_t a[6])
{
	return files_close(&t->process->files, a[0]);
}

int64_t sys_close_range(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	uint32_t first = (uint32_t)a[0], last = (uint32_t)a[1], flags = (uint32_t)a[2];
	if ((flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) != 0 || first > last)
		return -EINVAL;
	/* There is one table. With one thread it is not shared anyway. */
	pthread_mutex_lock(&p->tasks_lock);
	bool alone = p->ntasks <= 1;
	pthread_mutex_unlock(&p->tasks_lock);
	if ((flags & CLOSE_RANGE_UNSHARE) != 0 && !alone)
		return -EINVAL;
	files_close_range(&p->files, first, last, (flags & CLOSE_RANGE_CLOEXEC) != 0);
	return 0;
}

/* --- Duplicates --------------------------------------------------------------------------- */

static int64_t duplicate(struct task *t, uint64_t fd, uint32_t from, bool cloexec)
{
	struct files *files = &t->process->files;
	struct file *file = files_get_any(files, fd);
	return file == NULL ? -EBADF : files_install(files, file, from, cloexec);
}

static int64_t duplicate_to(struct task *t, uint64_t old, uint64_t new, bool cloexec)
{
	struct files *files = &t->process->files;
	struct file *file = files_get_any(files, old);
	if (file == NULL)
		return -EBADF;
	int r = files_replace(files, new, file, cloexec);
	return r < 0 ? r : (int64_t)(uint32_t) new;
}

int64_t sys_dup(struct task *t, const uint64_t a[6])
{
	return duplicate(t, a[0], 0, false);
}

int64_t sys_dup2(struct task *t, const uint64_t a[6])
{
	if ((uint32_t)a[0] == (uint32_t)a[1]) {
		int r = files_get_cloexec(&t->process->files, a[0]);
		return r < 0 ? r : (int64_t)(uint32_t)a[0];
	}
	return duplicate_to(t, a[0], a[1], false);
}

int64_t sys_dup3(struct task *t, const uint64_t a[6])
{
	int flags = (int)a[2];
	if ((flags & ~O_CLOEXEC) != 0 || (uint32_t)a[0] == (uint32_t)a[1])
		return -EINVAL;
	return duplicate_to(t, a[0], a[1], (flags & O_CLOEXEC) != 0);
}

/* --- fcntl(2) ----------------------------------------------------------------------------- */

static int64_t fcntl_dup(struct task *t, const uint64_t a[6], bool cloexec)
{
	if (a[2] >= t->process->files.max)
		return -EINVAL;
	return duplicate(t, a[0], (uint32_t)a[2], cloexec);
}

static int64_t fcntl_getfl(const struct file *file)
{
	int flags = file_flags(file) & ~NOT_IN_GETFL;
	if (file->kind == FILE_REGULAR || file->kind == FILE_DIRECTORY ||
	    file->kind == FILE_DEVICE)
		flags |= GETFL_LARGEFILE;
	return flags;
}

/*
 * What the host must know: whether a host file's descriptor appends, whether a pipe keeps packets
 * apart. Not of streams: they are the caller's. memfs's must not append, see files.h: if they
 * went to the end by themselves they would not go where they are charged.
 */
static int setfl_host(const struct file *file, int flags)
{
	int host;
	if (file->kind == FILE_REGULAR && file->fd >= 0)
		host = O_APPEND;
	else if (file->kind == FILE_PIPE)
		host = O_DIRECT;
	else
		return 0;
	if (file->kind == FILE_REGULAR && file->node != NULL)
		flags = 0;
	int now = fcntl(file->fd, F_GETFL);
	if (now < 0)
		return -errno;
	int then = (now & ~host) | (flags & host);
	return then != now && fcntl(file->fd, F_SETFL, then) < 0 ? -errno : 0;
}

static int64_t fcntl_setfl(struct task *t, struct file *file, int flags)
{
	struct files *files = &t->process->files;
	pthread_mutex_lock(&files->lock);
	int r = setfl_host(file, flags);
	if (r == 0)
		__atomic_store_n(&file->flags,
				 (file->flags & ~SETFL_MASK) | (flags & SETFL_MASK),
				 __ATOMIC_RELAXED);
	pthread_mutex_unlock(&files->lock);
	return r;
}

static int64_t fcntl_pipe_size(const struct file *file, int command, uint64_t arg)
{
	struct stat st;
	if ((file->kind != FILE_PIPE && file->kind != FILE_STREAM) ||
	    fstat(file->fd, &st) < 0 || !S_ISFIFO(st.st_mode))
		return -EBADF;
	int r;
	if (command == F_GETPIPE_SZ)
		r = fcntl(file->fd, F_GETPIPE_SZ);
	else if (file->kind == FILE_STREAM || (uint32_t)arg > PIPE_SIZE_MAX)
		return -EPERM;
	else
		r = fcntl(file->fd, F_SETPIPE_SZ, (int)(uint32_t)arg);
	return r < 0 ? -errno : r;
}

static int64_t fcntl_seals(const struct file *file, int command, uint64_t arg)
{
	if (file->kind != FILE_REGULAR || file->node == NULL)
		return -EINVAL;
	if (command == F_ADD_SEALS && !file_writable(file))
		return -EPERM;
	int r = fcntl(file->fd, command, (int)arg);
	return r < 0 ? -errno : r;
}

/* Those that only make sense with I/O on the file: not with O_PATH. */
static int64_t fcntl_file(struct task *t, struct file *file, int command, uint64_t arg)
{
	switch (command) {
	case F_SETFL:
		return fcntl_setfl(t, file, (int)arg);
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return fcntl_lock(t, file, command, arg);
	case F_GETPIPE_SZ:
	case F_SETPIPE_SZ:
		return fcntl_pipe_size(file, command, arg);
	case F_ADD_SEALS:
	case F_GET_SEALS:
		return fcntl_seals(file, command, arg);
	/* Who gets SIGIO: no one, so it is not remembered. */
	case F_SETOWN:
	case F_SETOWN_EX:
	case F_GETOWN:
	case F_GETSIG:
		return 0;
	case F_GETOWN_EX: {
		const int32_t owner[2] = {F_OWNER_PID, 0};
		return mm_put(&t->process->mm, arg, &owner);
	}
	case F_SETSIG:
		return arg <= SIG_COUNT ? 0 : -EINVAL;
	case F_GETLEASE:
		return F_UNLCK;
	default:
		return -EINVAL;
	}
}

int64_t sys_fcntl(struct task *t, const uint64_t a[6])
{
	struct files *files = &t->process->files;
	int command = (int)a[1];
	switch (command) {
	case F_GETFD: {
		int r = files_get_cloexec(files, a[0]);
		return r <= 0 ? r : FD_CLOEXEC;
	}
	case F_SETFD:
		return files_set_cloexec(files, a[0], (a[2] & FD_CLOEXEC) != 0);
	default:
		break;
	}

	struct file *file = files_get_any(files, a[0]);
	if (file == NULL)
		return -EBADF;
	int64_t r;
	if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
		r = fcntl_dup(t, a, command == F_DUPFD_CLOEXEC);
	else if (command == F_GETFL)
		r = fcntl_getfl(file);
	else if (file->kind == FILE_PATH)
		r = -EBADF;
	else
		r = fcntl_file(t, file, command, a[2]);
	file_put(file);
	return r;
}

/* --- Pipes -------------------------------------------------------------------------------- */

/* Both ends of a new pipe of the host. */
static int pipe_files(struct files *files, int flags, struct file *end[2])
{
	int fd[2];
	if (pipe2(fd, O_CLOEXEC | O_NONBLOCK | (flags & O_DIRECT)) < 0)
		return host_error(errno);
	int kept = flags & (O_NONBLOCK | O_DIRECT);
	end[0] = file_new_numbered(files, FILE_PIPE, fd[0], O_RDONLY | kept, "pipe");
	end[1] = end[0] == NULL ? NULL
				: file_new(FILE_PIPE, fd[1], O_WRONLY | kept, end[0]->path);
	if (end[0] == NULL)
		close(fd[1]);
	if (end[1] == NULL) {
		file_put(end[0]);
		return -ENOMEM;
	}
	end[1]->inode = end[0]->inode;
	return 0;
}

static int64_t make_pipe(struct task *t, uint64_t va, int flags)
{
	struct files *files = &t->process->files;
	if ((flags & ~(O_CLOEXEC | O_DIRECT | O_NONBLOCK)) != 0)
		return -EINVAL;
	struct file *end[2] = {NULL, NULL};
	int r = pipe_files(files, flags, end);
	if (r < 0)
		return r;

	bool cloexec = (flags & O_CLOEXEC) != 0;
	int32_t fd[2];
	fd[0] = files_install(files, end[0], 0, cloexec);
	if (fd[0] < 0) {
		file_put(end[1]);
		return fd[0];
	}
	fd[1] = files_install(files, end[1], 0, cloexec);
	if (fd[1] < 0) {
		files_close(files, (uint64_t)fd[0]);
		return fd[1];
	}
	r = mm_put(&t->process->mm, va, &fd);
	if (r < 0) {
		files_close(files, (uint64_t)fd[0]);
		files_close(files, (uint64_t)fd[1]);
	}
	return r;
}

int64_t sys_pipe(struct task *t, const uint64_t a[6])
{
	return make_pipe(t, a[0], 0);
}

int64_t sys_pipe2(struct task *t, const uint64_t a[6])
{
	return make_pipe(t, a[0], (int)a[1]);
}

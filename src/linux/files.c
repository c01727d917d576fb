/* SPDX-License-Identifier: Apache-2.0 */
/* The table of descriptors, and the life of open files. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "linux/files.h"
#include "linux/vfs.h"

#define FIRST_SLOTS 64

/* The kernel's Documentation/admin-guide/devices.txt. */
#define MAJOR_MEMORY 1 /* /dev/null, zero, full, urandom */
#define MAJOR_TTY_AUX 5
#define MINOR_PTMX 2

/* --- Open files --------------------------------------------------------------------------- */

/*
 * Replace the descriptor of a stream by one of our own, to the same pipe or terminal, that is
 * non-blocking. Opening it again is what makes a description that is not shared; F_SETFL would
 * change the caller's.
 */
static bool stream_reopen(struct file *file, const struct stat *st)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file->fd);
	int mode = fcntl(file->fd, F_GETFL);
	if (mode < 0)
		return false;

	int fd = open(path, (mode & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return false;
	struct stat now;
	if (fstat(fd, &now) < 0 || now.st_dev != st->st_dev || now.st_ino != st->st_ino ||
	    now.st_rdev != st->st_rdev) {
		close(fd);
		return false;
	}
	close(file->fd);
	file->fd = fd;
	return true;
}

static enum file_io stream_character_io(struct file *file, const struct stat *st)
{
	if (major(st->st_rdev) == MAJOR_MEMORY)
		return FILE_IO_PLAIN;
	file->tty = isatty(file->fd) == 1;
	/* Opening /dev/ptmx gives another terminal, not this one. */
	bool ptmx = major(st->st_rdev) == MAJOR_TTY_AUX && minor(st->st_rdev) == MINOR_PTMX;
	if (file->tty && !ptmx && stream_reopen(file, st))
		return FILE_IO_NONBLOCK;
	return FILE_IO_POLL;
}

static enum file_io stream_io(struct file *file)
{
	struct stat st;
	if (fstat(file->fd, &st) < 0)
		return FILE_IO_POLL;

	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
	case S_IFBLK:
	case S_IFDIR:
		return FILE_IO_PLAIN;
	case S_IFIFO:
		return stream_reopen(file, &st) ? FILE_IO_NONBLOCK : FILE_IO_POLL;
	case S_IFSOCK: {
		socklen_t len = sizeof(file->type);
		if (getsockopt(file->fd, SOL_SOCKET, SO_TYPE, &file->type, &len) < 0)
			file->type = SOCK_STREAM;
		return FILE_IO_SOCKET;
	}
	case S_IFCHR:
		return stream_character_io(file, &st);
	default:
		return FILE_IO_POLL;
	}
}

static enum file_io kind_io(struct file *file)
{
	switch (file->kind) {
	case FILE_STREAM:
		return stream_io(file);
	case FILE_PIPE:
	case FILE_SOCKET:
	case FILE_EVENT:
	case FILE_TIMER:
	case FILE_SIGNAL:
	case FILE_EPOLL:
		return FILE_IO_NONBLOCK;
	case FILE_REGULAR:
	case FILE_DIRECTORY:
	case FILE_DEVICE:
	case FILE_PATH:
		break;
	}
	return FILE_IO_PLAIN;
}

struct file *file_new(enum file_kind kind, int fd, int flags, const char *path)
{
	struct file *file = calloc(1, sizeof(*file));
	if (file == NULL || (path != NULL && (file->path = strdup(path)) == NULL)) {
		free(file);
		if (fd >= 0)
			close(fd);
		return NULL;
	}

	atomic_init(&file->refs, 1);
	file->kind = kind;
	file->fd = fd;
	file->flags = flags;
	file->io = kind_io(file);
	return file;
}

struct file *file_new_numbered(struct files *files, enum file_kind kind, int fd, int flags,
			       const char *name)
{
	unsigned long long inode = atomic_fetch_add(&files->next_inode, 1);
	char path[64];
	snprintf(path, sizeof(path), "%s:[%llu]", name, inode);
	struct file *file = file_new(kind, fd, flags, path);
	if (file != NULL)
		file->inode = inode;
	return file;
}

void file_put(struct file *file)
{
	if (file == NULL ||
	    atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) != 1)
		return;

	epoll_forget(file);
	file_locks_free(file);
	if (file->release != NULL)
		file->release(file);
	if (file->dir != NULL || file->node != NULL)
		vfs_file_release(file);
	if (file->fd >= 0)
		close(file->fd);
	free(file->path);
	free(file);
}

/* --- The table ---------------------------------------------------------------------------- */

int files_init(struct files *files, uint32_t max)
{
	memset(files, 0, sizeof(*files));
	files->max = max;
	uint32_t count = max < FIRST_SLOTS ? max : FIRST_SLOTS;
	files->slots = calloc(count > 0 ? count : 1, sizeof(*files->slots));
	if (files->slots == NULL)
		return -ENOMEM;

	files->count = count;
	atomic_init(&files->next_inode, 1);
	struct rlimit limit;
	files->host_fsize_limited =
		getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
	pthread_mutex_init(&files->lock, NULL);
	pthread_mutex_init(&files->grow_lock, NULL);
	pthread_mutex_init(&files->stream_lock, NULL);
	pthread_mutex_init(&files->watch_lock, NULL);
	pthread_mutex_init(&files->record_lock, NULL);
	return 0;
}

void files_fini(struct files *files)
{
	if (files->slots == NULL)
		return;

	files_close_range(files, 0, UINT32_MAX, false);
	record_locks_free(files);
	free(files->slots);
	files->slots = NULL;
	files->count = 0;
	pthread_mutex_destroy(&files->record_lock);
	pthread_mutex_destroy(&files->watch_lock);
	pthread_mutex_destroy(&files->stream_lock);
	pthread_mutex_destroy(&files->grow_lock);
	pthread_mutex_destroy(&files->lock);
}

/* Have slots up to `fd`, which is below max. Under the lock. */
static int slots_reach(struct files *files, uint32_t fd)
{
	if (fd < files->count)
		return 0;
	uint32_t count = files->count < FIRST_SLOTS ? FIRST_SLOTS : files->count;
	while (count <= fd)
		count = count > UINT32_MAX / 2 ? UINT32_MAX : count * 2;
	if (count > files->max)
		count = files->max;

	struct file_slot *slots = reallocarray(files->slots, count, sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	memset(slots + files->count, 0, (count - files->count) * sizeof(*slots));
	files->slots = slots;
	files->count = count;
	return 0;
}

/* Under the lock. */
static void slot_fill(struct files *files, uint32_t fd, struct file *file, bool cloexec)
{
	files->slots[fd] = (struct file_slot){.file = file, .cloexec = cloexec};
	files->open++;
	if (fd == files->lowest)
		files->lowest++;
}

/* Under the lock. Gives the file, whose reference is the caller's now, or NULL. */
static struct file *slot_empty(struct files *files, uint32_t fd)
{
	struct file *file = files->slots[fd].file;
	if (file == NULL)
		return NULL;
	files->slots[fd] = (struct file_slot){.file = NULL};
	files->open--;
	if (fd < files->lowest)
		files->lowest = fd;
	return file;
}

/* Under the lock. */
static int slot_find(struct files *files, uint32_t from, uint32_t *fd)
{
	uint32_t i = from > files->lowest ? from : files->lowest;
	while (i < files->count && files->slots[i].file != NULL)
		i++;
	if (from <= files->lowest)
		files->lowest = i;
	*fd = i;
	return i >= files->max ? -EMFILE : slots_reach(files, i);
}

int files_install(struct files *files, struct file *file, uint32_t from, bool cloexec)
{
	uint32_t fd;
	pthread_mutex_lock(&files->lock);
	int r = slot_find(files, from, &fd);
	if (r == 0)
		slot_fill(files, fd, file, cloexec);
	pthread_mutex_unlock(&files->lock);

	if (r < 0) {
		file_put(file);
		return r;
	}
	return (int)fd;
}

/* A descriptor argument is an int: what is above its 32 bits is ignored, as by Linux. */
struct file *files_get_any(struct files *files, uint64_t fd)
{
	uint32_t i = (uint32_t)fd;
	pthread_mutex_lock(&files->lock);
	struct file *file = i < files->count ? files->slots[i].file : NULL;
	if (file != NULL)
		file_get(file);
	pthread_mutex_unlock(&files->lock);
	return file;
}

struct file *files_get(struct files *files, uint64_t fd)
{
	struct file *file = files_get_any(files, fd);
	if (file != NULL && file->kind == FILE_PATH) {
		file_put(file);
		return NULL;
	}
	return file;
}

/* What closing means besides the reference. */
static void closed(struct files *files, struct file *file)
{
	record_locks_closed(files, file);
	file_put(file);
}

int files_close(struct files *files, uint64_t fd)
{
	uint32_t i = (uint32_t)fd;
	pthread_mutex_lock(&files->lock);
	struct file *file = i < files->count ? slot_empty(files, i) : NULL;
	pthread_mutex_unlock(&files->lock);
	if (file == NULL)
		return -EBADF;
	closed(files, file);
	return 0;
}

int files_get_cloexec(struct files *files, uint64_t fd)
{
	uint32_t i = (uint32_t)fd;
	int r = -EBADF;
	pthread_mutex_lock(&files->lock);
	if (i < files->count && files->slots[i].file != NULL)
		r = files->slots[i].cloexec;
	pthread_mutex_unlock(&files->lock);
	return r;
}

int files_set_cloexec(struct files *files, uint64_t fd, bool cloexec)
{
	uint32_t i = (uint32_t)fd;
	int r = -EBADF;
	pthread_mutex_lock(&files->lock);
	if (i < files->count && files->slots[i].file != NULL) {
		files->slots[i].cloexec = cloexec;
		r = 0;
	}
	pthread_mutex_unlock(&files->lock);
	return r;
}

void files_close_range(struct files *files, uint32_t first, uint32_t last, bool cloexec)
{
	pthread_mutex_lock(&files->lock);
	for (uint32_t i = first; i < files->count && i <= last; i++) {
		if (cloexec) {
			files->slots[i].cloexec = true;
			continue;
		}
		struct file *file = slot_empty(files, i);
		if (file == NULL)
			continue;
		/* Closing may take long, and other locks. */
		pthread_mutex_unlock(&files->lock);
		closed(files, file);
		pthread_mutex_lock(&files->lock);
	}
	pthread_mutex_unlock(&files->lock);
}

int files_replace(struct files *files, uint64_t fd, struct file *file, bool cloexec)
{
	uint32_t i = (uint32_t)fd;
	struct file *old = NULL;
	pthread_mutex_lock(&files->lock);
	int r = i >= files->max ? -EBADF : slots_reach(files, i);
	if (r == 0) {
		old = slot_empty(files, i);
		slot_fill(files, i, file, cloexec);
	}
	pthread_mutex_unlock(&files->lock);

	if (r < 0)
		file_put(file);
	else if (old != NULL)
		closed(files, old);
	return r;
}

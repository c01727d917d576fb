/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in memfs's files. While one is open its contents are a memfd, of which each open(2)
 * gets a description of its own through /proc/self/fd; the host's kernel then does reads,
 * writes, mappings. So that many small files do not cost many descriptors of the host, at most
 * VFS_CACHED_MEMFDS that nobody has open stay so; the contents of the others are kept as bytes.
 *
 * Each file's size, in whole pages, is charged before it grows.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

#include "core/io.h"
#include "linux/vfs_internal.h"

#define TRANSFER_SIZE 65536

static int set_charge(struct memnode *node, uint64_t size)
{
	struct vfs *vfs = node->mount->vfs;
	uint64_t charge;

	if (size > INT64_MAX - PAGE_SIZE)
		return -EFBIG;
	charge = page_up(size);
	if (charge > node->charged) {
		if (!vfs_charge(vfs, charge - node->charged))
			return -ENOSPC;
	} else {
		vfs_uncharge(vfs, node->charged - charge);
	}
	node->charged = charge;
	return 0;
}

static int new_memfd(void)
{
	int fd = memfd_create("mayfly", MFD_CLOEXEC);

	return fd >= 0 ? fd : host_error(errno);
}

static int write_whole(int fd, const uint8_t *bytes, uint64_t size, uint64_t offset)
{
	mayfly_error err;

	return write_all(fd, bytes, size, offset, &err) < 0 ? -err.sys_errno : 0;
}

/* As far as there is something: where it was truncated meanwhile the rest stays as it is. */
static int read_whole(int fd, uint8_t *bytes, uint64_t size, uint64_t offset)
{
	mayfly_error err;
	int r = read_all(fd, bytes, size, offset, &err);

	return r < 0 && r != MAYFLY_E_FORMAT ? -err.sys_errno : 0;
}

/* Each is as the one before it. */
static bool is_zero(const uint8_t *bytes, uint64_t size)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Zeros of `bytes` are not worth pages of the memfd. */
static int write_sparse(int fd, const uint8_t *bytes, uint64_t size)
{
	int r = set_file_size(fd, size);

	if (r < 0)
		return r;
	for (uint64_t at = 0; at < size; at += TRANSFER_SIZE) {
		uint64_t n = size - at < TRANSFER_SIZE ? size - at : TRANSFER_SIZE;

		if (size > TRANSFER_SIZE && is_zero(bytes + at, n))
			continue;
		if ((r = write_whole(fd, bytes + at, n, at)) < 0)
			return r;
	}
	return 0;
}

/* Calloc'ed: where the file has holes, pages are not touched. */
static int read_sparse(int fd, uint64_t size, uint8_t **out)
{
	_cleanup_free_ uint8_t *bytes = calloc(size ? size : 1, 1);
	off_t at = 0;
	int r;

	if (!bytes)
		return -ENOMEM;
	while ((uint64_t)at < size) {
		off_t data = lseek(fd, at, SEEK_DATA);
		off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0 || hole < 0)
			return -errno;
		if ((uint64_t)hole > size)
			hole = (off_t)size;
		if (data < hole && (r = read_whole(fd, bytes + data, (uint64_t)(hole - data),
						   (uint64_t)data)) < 0)
			return r;
		at = hole;
	}
	*out = take_ptr(bytes);
	return 0;
}

/* --- memfd and bytes ---------------------------------------------------------------------- */

static void leave_idle(struct memnode *node)
{
	struct vfs *vfs = node->mount->vfs;

	if (!node->idle)
		return;
	if (node->idle_prev)
		node->idle_prev->idle_next = node->idle_next;
	else
		vfs->idle_first = node->idle_next;
	if (node->idle_next)
		node->idle_next->idle_prev = node->idle_prev;
	else
		vfs->idle_last = node->idle_prev;
	node->idle_next = node->idle_prev = NULL;
	node->idle = false;
	vfs->idle--;
}

static void enter_idle(struct memnode *node)
{
	struct vfs *vfs = node->mount->vfs;

	node->idle_prev = vfs->idle_last;
	if (vfs->idle_last)
		vfs->idle_last->idle_next = node;
	else
		vfs->idle_first = node;
	vfs->idle_last = node;
	node->idle = true;
	vfs->idle++;
}

/* From memfd to bytes. If there is no memory for that, it stays. */
static void spill(struct memnode *node)
{
	struct stat st;
	uint8_t *bytes = NULL;

	if (fstat(node->fd, &st) < 0 ||
	    read_sparse(node->fd, (uint64_t)st.st_size, &bytes) < 0 || !bytes)
		return;
	node->bytes = bytes;
	node->size = (uint64_t)st.st_size;
	node->atime = st.st_atim;
	node->mtime = st.st_mtim;
	close(node->fd);
	node->fd = -1;
	leave_idle(node);
}

/* To the memfd `fd`, which goes over, also on failure. */
static int move_to(struct memnode *node, int fd)
{
	int r = write_sparse(fd, node->bytes, node->size);

	if (r < 0) {
		close(fd);
		return r;
	}
	/* Writing is no change that the guest made. */
	(void)futimens(fd, (const struct timespec[2]){node->atime, node->mtime});
	node->fd = fd;
	free(node->bytes);
	node->bytes = NULL;
	return 0;
}

/* To a memfd. */
static int enliven(struct memnode *node)
{
	int fd;

	if (node->fd >= 0)
		return 0;
	fd = new_memfd();
	return fd < 0 ? fd : move_to(node, fd);
}

/*
 * Charged from now on is the file's size, no more: so behind it there must be nothing. Setting the
 * size that it has frees what FALLOC_FL_KEEP_SIZE put there.
 */
static void charge_size(struct memnode *node)
{
	struct stat st;

	if (fstat(node->fd, &st) < 0 || page_up((uint64_t)st.st_size) >= node->charged ||
	    set_file_size(node->fd, (uint64_t)st.st_size) < 0)
		return;
	(void)set_charge(node, (uint64_t)st.st_size);
}

static void settle(struct memnode *node)
{
	struct vfs *vfs = node->mount->vfs;

	if (node->opens > 0 || node->fd < 0 || node->idle)
		return;
	/* What was charged for writes that failed is given back. */
	charge_size(node);
	enter_idle(node);
	while (vfs->idle > VFS_CACHED_MEMFDS) {
		uint32_t before = vfs->idle;

		spill(vfs->idle_first);
		if (vfs->idle == before)
			break;
	}
}

void memdata_free_locked(struct memnode *node)
{
	leave_idle(node);
	if (node->fd >= 0)
		close(node->fd);
	node->fd = -1;
	free(node->bytes);
	node->bytes = NULL;
	vfs_uncharge(node->mount->vfs, node->charged);
	node->charged = 0;
}

static uint64_t data_size(const struct memnode *node)
{
	struct stat st;

	if (node->fd < 0)
		return node->size;
	return fstat(node->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/*
 * Between vfs_will_grow() and the write that it is for, file_write() holds grow_lock: no charge
 * may be given back then.
 */
static void lock_sizes(struct vfs *vfs)
{
	if (vfs->p)
		pthread_mutex_lock(&vfs->p->files.grow_lock);
	pthread_rwlock_wrlock(&vfs->lock);
}

static void unlock_sizes(struct vfs *vfs)
{
	pthread_rwlock_unlock(&vfs->lock);
	if (vfs->p)
		pthread_mutex_unlock(&vfs->p->files.grow_lock);
}

/* --- Opening ------------------------------------------------------------------------------ */

/* A pipe, of which only an O_PATH descriptor is kept: it is then no reader and no writer. */
static int open_fifo(struct memnode *node, int flags)
{
	int ends[2], fd;

	if (node->fd >= 0)
		return host_reopen(node->fd, flags | O_NONBLOCK);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return host_error(errno);
	node->fd = host_reopen(ends[0], O_PATH);
	fd = node->fd < 0 ? node->fd : host_reopen(node->fd, flags | O_NONBLOCK);
	close(ends[0]);
	close(ends[1]);
	if (fd < 0 && node->fd >= 0) {
		close(node->fd);
		node->fd = -1;
	}
	return fd;
}

static int open_file(struct memnode *node, int flags)
{
	int fd, r;

	if ((r = enliven(node)) < 0)
		return r;
	fd = host_reopen(node->fd, flags);
	if (fd >= 0 && (flags & O_TRUNC))
		(void)set_charge(node, 0);
	if (fd >= 0)
		leave_idle(node);
	else
		settle(node);
	return fd;
}

int memdata_open(struct memnode *node, int flags)
{
	struct vfs *vfs = node->mount->vfs;
	int fd;

	lock_sizes(vfs);
	fd = S_ISFIFO(node->mode) ? open_fifo(node, flags) : open_file(node, flags);
	if (fd >= 0) {
		node->opens++;
		node->readers += (flags & O_ACCMODE) != O_WRONLY;
		node->writers += (flags & O_ACCMODE) != O_RDONLY;
	}
	unlock_sizes(vfs);
	return fd;
}

void memdata_closed(struct memnode *node, int flags)
{
	struct vfs *vfs = node->mount->vfs;

	pthread_rwlock_wrlock(&vfs->lock);
	node->opens--;
	node->readers -= (flags & O_ACCMODE) != O_WRONLY;
	node->writers -= (flags & O_ACCMODE) != O_RDONLY;
	if (node->opens == 0 && S_ISFIFO(node->mode)) {
		close(node->fd);
		node->fd = -1;
	} else if (S_ISREG(node->mode) && (node->nlink > 0 || node->linkable)) {
		settle(node);
	}
	pthread_rwlock_unlock(&vfs->lock);
}

int memdata_set_memfd_locked(struct memnode *node, const char *name, bool sealing)
{
	node->fd = memfd_create(name, MFD_CLOEXEC | (sealing ? MFD_ALLOW_SEALING : 0));
	return node->fd >= 0 ? 0 : host_error(errno);
}

int memdata_to_memfd_locked(struct memnode *node, const char *name, int seals)
{
	int r = memdata_set_memfd_locked(node, name, seals != F_SEAL_SEAL), fd = node->fd;

	if (r < 0)
		return r;
	node->fd = -1;
	r = move_to(node, fd);
	if (r == 0 && seals != F_SEAL_SEAL && fcntl(fd, F_ADD_SEALS, seals) < 0)
		r = -errno;
	return r;
}

/* --- Size and times ----------------------------------------------------------------------- */

int memdata_truncate(struct memnode *node, uint64_t size)
{
	struct vfs *vfs = node->mount->vfs;
	int r = 0;

	lock_sizes(vfs);
	if (size > node->charged)
		r = set_charge(node, size);
	if (r == 0 && (r = enliven(node)) == 0) {
		r = set_file_size(node->fd, size);
		charge_size(node);
		settle(node);
	}
	unlock_sizes(vfs);
	return r;
}

int memdata_allocate(struct memnode *node, int mode, uint64_t offset, uint64_t len)
{
	struct vfs *vfs = node->mount->vfs;
	uint64_t end;
	int r = 0;

	if (add_overflows(offset, len, &end) || end > INT64_MAX)
		return -EFBIG;
	lock_sizes(vfs);
	if (!(mode & FALLOC_FL_PUNCH_HOLE) && end > node->charged)
		r = set_charge(node, end);
	if (r == 0 && (r = enliven(node)) == 0) {
		r = allocate_file(node->fd, mode, offset, len);
		settle(node);
	}
	unlock_sizes(vfs);
	return r;
}

int memdata_set_times(struct memnode *node, const struct timespec times[2])
{
	int r = 0;

	if (node->fd >= 0 && S_ISREG(node->mode)) {
		if (futimens(node->fd, times) < 0)
			r = -errno;
	}
	if (r == 0 && times[0].tv_nsec != UTIME_OMIT)
		node->atime = times[0];
	if (r == 0 && times[1].tv_nsec != UTIME_OMIT)
		node->mtime = times[1];
	return r;
}

void memdata_stat(const struct memnode *node, struct stat *st)
{
	struct stat data;

	if (node->fd < 0) {
		st->st_size = (off_t)node->size;
		st->st_blocks = (blkcnt_t)(page_up(node->size) / 512);
		st->st_mtim = node->mtime;
		st->st_atim = node->atime;
		return;
	}
	if (fstat(node->fd, &data) < 0)
		return;
	st->st_size = data.st_size;
	st->st_blocks = data.st_blocks;
	st->st_atim = data.st_atim;
	st->st_mtim = data.st_mtim;
	if (data.st_mtim.tv_sec > st->st_ctim.tv_sec ||
	    (data.st_mtim.tv_sec == st->st_ctim.tv_sec &&
	     data.st_mtim.tv_nsec > st->st_ctim.tv_nsec))
		st->st_ctim = data.st_mtim;
}

int memdata_reserve(struct memnode *node, uint64_t end)
{
	struct vfs *vfs = node->mount->vfs;
	int r = 0;

	pthread_rwlock_wrlock(&vfs->lock);
	if (end > node->charged)
		r = set_charge(node, end);
	pthread_rwlock_unlock(&vfs->lock);
	return r;
}

/* --- Whole contents ----------------------------------------------------------------------- */

int memdata_read_locked(struct memnode *node, uint8_t **out, uint64_t *size)
{
	uint64_t len = data_size(node);
	int r;

	if (node->fd >= 0) {
		r = read_sparse(node->fd, len, out);
	} else {
		*out = malloc(len ? len : 1);
		r = *out ? 0 : -ENOMEM;
		if (*out && len)
			memcpy(*out, node->bytes, len);
	}
	if (r == 0)
		*size = len;
	return r;
}

int memdata_set_locked(struct memnode *node, const uint8_t *bytes, uint64_t size)
{
	int r = set_charge(node, size);

	if (r < 0)
		return r;
	node->bytes = malloc(size ? size : 1);
	if (!node->bytes)
		return -ENOMEM;
	if (size)
		memcpy(node->bytes, bytes, size);
	node->size = size;
	return 0;
}

void memdata_move_locked(struct memnode *to, struct memnode *from)
{
	struct timespec times[2] = {to->atime, to->mtime};

	leave_idle(from);
	to->fd = from->fd;
	to->bytes = from->bytes;
	to->size = from->size;
	to->charged = from->charged;
	from->fd = -1;
	from->bytes = NULL;
	from->size = from->charged = 0;
	(void)memdata_set_times(to, times);
	settle(to);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host directory that is only read, with a tree in memory in front of it.
 *
 * A directory in memory whose `lower` is not NULL shows the names of that host directory where
 * it has none of its own; a whiteout hides one. A node that is made for something in the host
 * directory (a mirror) takes its attributes and contents from there until they are changed; as
 * it knows where its contents are, renaming it, even a whole directory, copies nothing. Mirrors
 * that nothing refers to and nobody changed are forgotten.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

#include "linux/vfs_internal.h"

#define COPY_PIECE ((size_t)1 << 30)
#define LIST_BUFFER 32768

static int join(char to[VFS_PATH_MAX], const char *lower, const char *name)
{
	int n = snprintf(to, VFS_PATH_MAX, "%s%s%s", lower, lower[0] && name[0] ? "/" : "",
			 name);

	return n < VFS_PATH_MAX ? 0 : -ENAMETOOLONG;
}

int overlay_open_lower(const struct vfs_mount *m, const char *lower, const char *name,
		       int flags)
{
	char path[VFS_PATH_MAX];
	int r = join(path, lower, name);

	return r < 0 ? r : host_open_beneath(m->root_fd, path, flags, 0);
}

bool overlay_lower_has(const struct memnode *dir, const char *name)
{
	int fd;

	if (!dir->lower || memdir_removed(dir))
		return false;
	fd = overlay_open_lower(dir->mount, dir->lower, name, O_PATH | O_NOFOLLOW);
	if (fd >= 0)
		close(fd);
	/* What cannot be reached is there all the same. */
	return fd >= 0 || (fd != -ENOENT && fd != -ENOTDIR);
}

static char *read_target(int fd)
{
	char target[VFS_PATH_MAX];
	ssize_t n = readlinkat(fd, "", target, sizeof(target) - 1);

	if (n <= 0)
		return NULL;
	target[n] = '\0';
	return strdup(target);
}

/* A node for what fd (O_PATH) is. */
static int mirror_new(struct memnode *dir, int fd, const char *lower, struct memnode **out)
{
	struct vfs *vfs = dir->mount->vfs;
	struct memnode *node;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -EIO;
	node = memnode_new_locked(dir->mount, st.st_mode & (S_IFMT | 07777));
	if (!node)
		return -ENOSPC;
	vfs_map_stat(dir->mount, &st);
	node->ino = st.st_ino;
	node->uid = st.st_uid;
	node->gid = st.st_gid;
	node->rdev = st.st_rdev;
	node->atime = st.st_atim;
	node->mtime = st.st_mtim;
	node->ctime = st.st_ctim;
	node->lower = strdup(lower);
	if (node->lower && S_ISLNK(node->mode)) {
		node->target = read_target(fd);
		if (node->target && !vfs_charge(vfs, strlen(node->target))) {
			free(node->target);
			node->target = NULL;
		}
	}
	if (!node->lower || (S_ISLNK(node->mode) && !node->target)) {
		memnode_put_locked(node);
		return -ENOMEM;
	}
	*out = node;
	return 0;
}

int overlay_mirror_locked(struct memnode *dir, const char *name, struct memnode **out)
{
	_cleanup_close_ int fd = -1;
	char path[VFS_PATH_MAX];
	struct memnode *node = NULL;
	int r;

	if (!dir->lower || memdir_removed(dir))
		return -ENOENT;
	if ((r = join(path, dir->lower, name)) < 0)
		return r;
	fd = host_open_beneath(dir->mount->root_fd, path, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	if ((r = mirror_new(dir, fd, path, &node)) < 0 || !node)
		return r;
	r = memdir_add_locked(dir, name, node);
	if (r < 0) {
		memnode_put_locked(node);
		return r;
	}
	*out = node;
	return 0;
}

bool overlay_forgettable(const struct memnode *node)
{
	return node->lower && !node->own_attributes && !node->own_data && !node->moved &&
	       !node->xattrs && !node->first && node->opens == 0 && node->nlink <= 2;
}

static int child_of(struct memnode *dir, const char *name, struct memnode **out)
{
	struct mementry *e;

	if (S_ISLNK(dir->mode))
		return -ELOOP;
	if (!S_ISDIR(dir->mode))
		return -ENOTDIR;
	e = memdir_find(dir, name);
	if (!e)
		return overlay_mirror_locked(dir, name, out);
	if (!e->node)
		return -ENOENT;
	*out = memnode_get(e->node);
	return 0;
}

int overlay_materialize(struct memnode *dir, const char *tail, struct memnode **out)
{
	struct vfs *vfs = dir->mount->vfs;
	struct memnode *node = memnode_get(dir), *child;
	char path[VFS_PATH_MAX], *save, *name;
	int r = 0;

	if (strlen(tail) >= sizeof(path)) {
		memnode_put(node);
		return -ENAMETOOLONG;
	}
	memcpy(path, tail, strlen(tail) + 1);
	pthread_rwlock_wrlock(&vfs->lock);
	for (name = strtok_r(path, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
		if ((r = child_of(node, name, &child)) < 0)
			break;
		memnode_put_locked(node);
		node = child;
	}
	if (r < 0)
		memnode_put_locked(node);
	pthread_rwlock_unlock(&vfs->lock);
	if (r == 0)
		*out = node;
	return r;
}

/* --- Changing what is there --------------------------------------------------------------- */

int overlay_own_attributes(struct memnode *node)
{
	struct vfs *vfs = node->mount->vfs;
	struct stat st;

	if (!node->lower || node->own_attributes)
		return 0;
	(void)memnode_stat(node, &st);
	pthread_rwlock_wrlock(&vfs->lock);
	if (!node->own_attributes) {
		node->mode = (node->mode & S_IFMT) | (st.st_mode & 07777);
		node->uid = st.st_uid;
		node->gid = st.st_gid;
		node->atime = st.st_atim;
		node->mtime = st.st_mtim;
		node->ctime = st.st_ctim;
		node->own_attributes = true;
	}
	pthread_rwlock_unlock(&vfs->lock);
	return 0;
}

static int copy_contents(int from, int to, uint64_t size)
{
	while (size > 0) {
		ssize_t n = sendfile(to, from, NULL, size < COPY_PIECE ? size : COPY_PIECE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == ENOSPC || errno == ENOMEM ? -ENOSPC : -errno;
		if (n == 0)
			break;
		size -= (uint64_t)n;
	}
	return 0;
}

/* A node, without a name, with a copy of the contents. */
static int copy_new(struct memnode *node, int from, bool truncate, struct memnode **out)
{
	struct vfs *vfs = node->mount->vfs;
	struct memnode *copy;
	struct stat st;
	int to, r;

	if (fstat(from, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	pthread_rwlock_wrlock(&vfs->lock);
	copy = memnode_new_locked(node->mount, S_IFREG | 0600);
	pthread_rwlock_unlock(&vfs->lock);
	if (!copy)
		return -ENOSPC;
	r = truncate ? 0 : memdata_reserve(copy, (uint64_t)st.st_size);
	to = r < 0 ? r : memdata_open(copy, O_RDWR);
	if (to >= 0) {
		if (!truncate)
			r = copy_contents(from, to, (uint64_t)st.st_size);
		close(to);
		copy->linkable = true; /* it is kept */
		memdata_closed(copy, O_RDWR);
	}
	if (to < 0 || r < 0) {
		memnode_put(copy);
		return to < 0 ? to : r;
	}
	*out = copy;
	return 0;
}

/* The lower file, which was opened by path before, for reading. */
static int open_lower_file(struct memnode *node)
{
	_cleanup_close_ int fd =
		overlay_open_lower(node->mount, node->lower, "", O_PATH | O_NOFOLLOW);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? host_reopen(fd, O_RDONLY) : -EACCES;
}

/* The copying is done without the lock. */
int overlay_copy_up(struct memnode *node, bool truncate)
{
	struct vfs *vfs = node->mount->vfs;
	_cleanup_close_ int from = -1;
	struct memnode *copy = NULL;
	int r;

	if (!node->lower || node->own_data || !S_ISREG(node->mode))
		return 0;
	if ((r = overlay_own_attributes(node)) < 0)
		return r;
	from = open_lower_file(node);
	if (from < 0)
		return from;
	if ((r = copy_new(node, from, truncate, &copy)) < 0)
		return r;
	pthread_rwlock_wrlock(&vfs->lock);
	if (!node->own_data) {
		memdata_move_locked(node, copy);
		node->own_data = true;
	}
	memnode_put_locked(copy);
	pthread_rwlock_unlock(&vfs->lock);
	return 0;
}

/* --- Names of the lower directory --------------------------------------------------------- */

struct dirent64_raw {
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

int overlay_each_lower(const struct memnode *dir, overlay_name_fn *fn, void *context)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *buffer = NULL;
	long n;
	int r = 0;

	if (!dir->lower || memdir_removed(dir))
		return 0;
	if (dir->lower[0]) {
		fd = overlay_open_lower(dir->mount, dir->lower, "", O_RDONLY | O_DIRECTORY);
	} else {
		fd = host_reopen(dir->mount->root_fd, O_RDONLY | O_DIRECTORY);
	}
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? 0 : fd;
	buffer = malloc(LIST_BUFFER);
	if (!buffer)
		return -ENOMEM;
	while (r == 0 && (n = syscall(SYS_getdents64, fd, buffer, LIST_BUFFER)) > 0) {
		for (long at = 0; at < n && r == 0;) {
			const struct dirent64_raw *d = (const void *)(buffer + at);

			if (strcmp(d->name, ".") != 0 && strcmp(d->name, "..") != 0)
				r = fn(context, d->name, d->ino, d->type);
			at += d->reclen;
		}
	}
	return r;
}

static int is_hidden(void *context, const char *name, uint64_t ino, unsigned char type)
{
	(void)ino;
	(void)type;
	return memdir_find(context, name) ? 0 : -ENOTEMPTY;
}

int overlay_empty_locked(const struct memnode *dir)
{
	if (dir->names > 0)
		return -ENOTEMPTY;
	return overlay_each_lower(dir, is_hidden, (void *)(uintptr_t)dir);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening. What the host's kernel has is first opened O_PATH, which does nothing to it; only
 * when it turned out to be a regular file or a directory (a FIFO, in a writable mount) that
 * very inode is opened for good, by /proc/self/fd.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "linux/vfs_internal.h"

/* A name that comes and goes while it is opened: so often. */
#define CREATE_ATTEMPTS 16
#define TMPFILE_BIT (O_TMPFILE & ~O_DIRECTORY)
/* What the host's kernel is told; the rest is done here, or is not for the guest to say. */
#define HOST_FLAGS (O_ACCMODE | O_APPEND | O_TRUNC | O_NONBLOCK | O_SYNC)
/* fcntl(2) F_GETFL does not tell these. */
#define ONCE_FLAGS (O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC)

struct opening {
	int flags;
	mode_t mode; /* with the umask applied */
	struct file **out;
};

static bool writes(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY;
}

static int wanted(int flags)
{
	int want = 0;

	if ((flags & O_ACCMODE) != O_WRONLY)
		want |= R_OK;
	if (writes(flags) || (flags & O_TRUNC))
		want |= W_OK;
	return want;
}

/* Takes fd and node. */
static int give(struct vfs_mount *m, enum file_kind kind, int fd, const struct opening *q,
		const char *path, struct memnode *node)
{
	struct file *file;

	if (fd < -1) {
		memnode_put(node);
		return fd;
	}
	file = vfs_file_new(m, kind, fd, q->flags & ~ONCE_FLAGS, path, node);
	if (!file)
		return -ENOMEM;
	file->writable_mount = m->kind == VFS_HOST && m->writable;
	*q->out = file;
	return 0;
}

/* --- Host files --------------------------------------------------------------------------- */

/* `fd`, O_PATH, is what was asked for, and no link: taken. */
static int open_host_object(struct vfs_mount *m, int fd, const struct stat *st,
			    const struct opening *q, const char *path)
{
	enum file_kind kind = FILE_REGULAR;
	int flags = q->flags & HOST_FLAGS, r = 0;

	if ((q->flags & O_DIRECTORY) && !S_ISDIR(st->st_mode))
		r = -ENOTDIR;
	else if (q->flags & O_PATH)
		return give(m, FILE_PATH, fd, q, path, NULL);
	switch (r ? 0 : st->st_mode & S_IFMT) {
	case S_IFDIR:
		kind = FILE_DIRECTORY;
		if ((wanted(flags) & W_OK) || (q->flags & O_CREAT))
			r = -EISDIR;
		flags = O_RDONLY | O_DIRECTORY;
		break;
	case S_IFREG:
		if ((wanted(flags) & W_OK) && !m->writable)
			r = -EROFS;
		break;
	case S_IFIFO:
		kind = FILE_PIPE;
		flags = (flags & O_ACCMODE) | O_NONBLOCK;
		if (!m->writable)
			r = -EACCES;
		break;
	case S_IFLNK:
		r = -ELOOP;
		break;
	case S_IFSOCK:
		r = -ENXIO;
		break;
	default: /* as on a file system that is mounted nodev */
		r = r ? r : -EACCES;
		break;
	}
	if (r == 0) {
		r = host_reopen(fd, flags);
		if (r >= 0)
			r = give(m, kind, r, q, path, NULL);
	}
	close(fd);
	return r;
}

/* The mode is the guest's business: the umask of this process has no part in it. */
static void fix_mode(int fd, mode_t mode)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && (st.st_mode & 0777) != (mode & 0777))
		(void)fchmod(fd, (st.st_mode & 07000) | (mode & 0777));
}

/* A new file, or -EEXIST: nothing that is there already is opened. */
static int create_on_host(struct walk *w, const struct opening *q)
{
	char path[VFS_PATH_MAX];
	int dir, fd, r;

	if (w->slash)
		return -EISDIR;
	if ((r = walk_host(w, w->len, &dir, path)) < 0)
		return r;
	if (!w->mount->writable)
		return -EROFS;
	if (!path[0])
		return -ENOENT;
	fd = host_open_beneath(dir, path, (q->flags & HOST_FLAGS & ~O_TRUNC) | O_CREAT | O_EXCL,
			       q->mode & 01777);
	if (fd < 0)
		return fd;
	fix_mode(fd, q->mode);
	return give(w->mount, FILE_REGULAR, fd, q, walk_path(w), NULL);
}

/* O_PATH what is there, made if need be: then *done. -ELOOP: a link to follow. */
static int find_or_create(struct walk *w, const struct opening *q, struct stat *st, bool *done)
{
	int fd = -EIO;

	*done = false;
	for (int i = 0; i < CREATE_ATTEMPTS; i++) {
		fd = walk_open(w, O_PATH | O_NOFOLLOW);
		if (fd != -ENOENT || !(q->flags & O_CREAT) || w->mount->kind != VFS_HOST)
			break;
		fd = create_on_host(w, q);
		if (fd != -EEXIST || (q->flags & O_EXCL)) {
			*done = fd == 0;
			return fd;
		}
	}
	if (fd >= 0 && fstat(fd, st) < 0) {
		close(fd);
		return -EIO;
	}
	return fd;
}

static int open_on_host(struct walk *w, const struct opening *q)
{
	struct stat st;
	bool done;
	int fd = find_or_create(w, q, &st, &done), r = 0;

	if (fd < 0 || done)
		return fd;
	if ((q->flags & O_CREAT) && (q->flags & O_EXCL))
		r = -EEXIST;
	else if (S_ISLNK(st.st_mode) && ((w->flags & WALK_FOLLOW) || w->slash))
		r = -ELOOP;
	else if (w->slash && !S_ISDIR(st.st_mode))
		r = q->flags & O_CREAT ? -EISDIR : -ENOTDIR;
	if (r < 0) {
		close(fd);
		return r;
	}
	return open_host_object(w->mount, fd, &st, q, walk_path(w));
}

static int tmpfile_on_host(struct walk *w, const struct opening *q)
{
	char path[VFS_PATH_MAX], link[32];
	int dir, fd, r = walk_host(w, w->len, &dir, path);
	int flags = (q->flags & (HOST_FLAGS | O_EXCL)) | O_TMPFILE;

	if (r < 0)
		return r;
	if (!w->mount->writable)
		return -EROFS;
	if (path[0]) {
		fd = host_open_beneath(dir, path, flags, q->mode & 01777);
	} else {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
		fd = open(link, flags | O_CLOEXEC, q->mode & 01777);
		if (fd < 0)
			fd = -errno;
	}
	if (fd < 0)
		return fd;
	fix_mode(fd, q->mode);
	return give(w->mount, FILE_REGULAR, fd, q, walk_path(w), NULL);
}

/* --- Files in memory ---------------------------------------------------------------------- */

/* The contents that the lower directory has, for reading. */
static int open_lower(struct memnode *node, const struct opening *q, const char *path)
{
	int fd = overlay_open_lower(node->mount, node->lower, "", O_PATH | O_NOFOLLOW), r;
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		fd = -EACCES;
	}
	if (fd < 0) {
		memnode_put(node);
		return fd;
	}
	r = host_reopen(fd, q->flags & HOST_FLAGS);
	close(fd);
	return give(node->mount, FILE_REGULAR, r, q, path, node);
}

/* Takes node. */
static int open_contents(struct memnode *node, const struct opening *q, const char *path)
{
	bool fifo = S_ISFIFO(node->mode);
	int want = wanted(q->flags), fd, r = 0;

	if ((want & W_OK) && !node->mount->writable)
		r = fifo ? 0 : -EROFS;
	if (r == 0 && !fifo && (want & W_OK))
		r = overlay_copy_up(node, q->flags & O_TRUNC);
	if (r < 0) {
		memnode_put(node);
		return r;
	}
	if (!fifo && node->lower && !node->own_data)
		return open_lower(node, q, path);
	fd = memdata_open(node, q->flags & HOST_FLAGS);
	if (fd < 0) {
		memnode_put(node);
		return fd;
	}
	r = give(node->mount, fifo ? FILE_PIPE : FILE_REGULAR, fd, q, path, memnode_get(node));
	if (r == 0)
		(*q->out)->dir->counted = true;
	else
		memdata_closed(node, q->flags & HOST_FLAGS);
	memnode_put(node);
	return r;
}

/* Takes node, which exists. */
static int open_node(struct memnode *node, const struct opening *q, const char *path)
{
	struct vfs *vfs = node->mount->vfs;
	int r = 0;

	if ((q->flags & O_DIRECTORY) && !S_ISDIR(node->mode))
		r = -ENOTDIR;
	else if (q->flags & O_PATH)
		return give(node->mount, FILE_PATH, -1, q, path, node);
	else if (S_ISLNK(node->mode))
		r = -ELOOP;
	else if (S_ISSOCK(node->mode))
		r = -ENXIO;
	else if (S_ISDIR(node->mode) && ((wanted(q->flags) & W_OK) || (q->flags & O_CREAT)))
		r = -EISDIR;
	else if ((S_ISCHR(node->mode) && node->mount->kind != VFS_DEV) || S_ISBLK(node->mode))
		r = -EACCES;
	else if (!node->lower || node->own_attributes)
		r = memnode_permits(node, wanted(q->flags));
	if (r == 0 && S_ISCHR(node->mode))
		r = dev_open(vfs, node->rdev, q->flags, path, q->out);
	else if (r == 0 && S_ISDIR(node->mode))
		return give(node->mount, FILE_DIRECTORY, -1, q, path, node);
	else if (r == 0)
		return open_contents(node, q, path);
	memnode_put(node);
	return r;
}

/* The walk is at the directory, `last` was not there. */
static int create_in_memory(struct walk *w, const struct opening *q)
{
	char path[VFS_PATH_MAX + VFS_NAME_MAX + 2];
	struct opening opened = *q;
	struct memnode *node;
	bool lower;
	int r;

	if (w->slash)
		return -EISDIR;
	snprintf(path, sizeof(path), "%s/%s", w->path, w->last);
	r = mem_make(w->node, w->last, S_IFREG | (q->mode & 07777), NULL, &node);
	if (r == -EEXIST && !(q->flags & O_EXCL)) {
		/* Another thread was faster. */
		r = memdir_lookup(w->node, w->last, &node, &lower);
		return r < 0 ? r : open_node(node, q, path);
	}
	if (r < 0)
		return r;
	/* Whoever makes it may write it, whatever its mode. */
	opened.flags &= ~O_TRUNC;
	return open_contents(node, &opened, path);
}

static int tmpfile_in_memory(struct walk *w, const struct opening *q)
{
	struct memnode *node;
	int r = memdir_writable(w->node);

	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&w->vfs->lock);
	node = memnode_new_locked(w->mount, S_IFREG | (q->mode & 07777));
	if (node)
		node->linkable = !(q->flags & O_EXCL);
	pthread_rwlock_unlock(&w->vfs->lock);
	return node ? open_contents(node, q, walk_path(w)) : -ENOSPC;
}

static int open_in_memory(struct walk *w, const struct opening *q)
{
	if (w->named)
		return create_in_memory(w, q);
	if ((q->flags & O_CREAT) && (q->flags & O_EXCL))
		return -EEXIST;
	if ((q->flags & O_CREAT) && w->slash)
		return -EISDIR;
	return open_node(memnode_get(w->node), q, walk_path(w));
}

/* Beyond the nodes of an overlay: a node is made for what is there, or for what is to be. */
static int open_on_overlay(struct walk *w, const struct opening *q)
{
	struct stat st;
	bool done;
	size_t at;
	int fd = find_or_create(w, q, &st, &done), r;

	if (fd == -ENOENT && (q->flags & O_CREAT)) {
		for (at = w->len; w->path[at - 1] != '/'; at--)
			continue;
		memcpy(w->last, w->path + at, w->len - at + 1);
		w->len = at - 1;
		w->path[w->len] = '\0';
		w->named = true;
	} else if (fd < 0) {
		return fd;
	} else {
		close(fd);
		if ((q->flags & O_CREAT) && (q->flags & O_EXCL))
			return -EEXIST;
		if (S_ISLNK(st.st_mode) && ((w->flags & WALK_FOLLOW) || w->slash))
			return -ELOOP;
		if (w->slash && !S_ISDIR(st.st_mode))
			return q->flags & O_CREAT ? -EISDIR : -ENOTDIR;
	}
	r = walk_materialize(w);
	return r < 0 ? r : open_in_memory(w, q);
}

/* --- /proc, and open files by name -------------------------------------------------------- */

/* What it says now, as a file in memory that only this open file has, and that is charged. */
static int open_proc_text(struct vfs_mount *m, const char *path, const struct proc_entry *entry,
			  const struct opening *q)
{
	struct vfs *vfs = m->vfs;
	struct memnode *node;
	char *text;
	size_t len;
	int r = proc_read(vfs, entry, &text, &len);

	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&vfs->lock);
	node = memnode_new_locked(m, S_IFREG | entry->mode);
	r = node ? memdata_set_locked(node, (const uint8_t *)text, len) : -ENOMEM;
	pthread_rwlock_unlock(&vfs->lock);
	free(text);
	if (r < 0) {
		memnode_put(node);
		return r;
	}
	return open_contents(node, q, path);
}

/* What `path` in /proc is, which is canonical; no link is followed any more. */
static int open_proc(struct vfs_mount *m, const char *path, const struct opening *q)
{
	const char *rel = path + m->guest_len;
	struct proc_entry entry;
	int r = proc_find(m->vfs, *rel == '/' ? rel + 1 : rel, &entry);

	if (r < 0)
		return r == -ENOENT && (q->flags & O_CREAT) ? -EACCES : r;
	if ((q->flags & O_CREAT) && (q->flags & O_EXCL))
		return -EEXIST;
	if ((q->flags & O_DIRECTORY) && entry.type != PROC_DIR)
		return -ENOTDIR;
	if (q->flags & O_PATH)
		return give(m, FILE_PATH, -1, q, path, NULL);
	if (entry.type == PROC_LINK || entry.type == PROC_FD)
		return -ELOOP;
	if (entry.type == PROC_DIR && ((wanted(q->flags) & W_OK) || (q->flags & O_CREAT)))
		return -EISDIR;
	if (wanted(q->flags) & W_OK)
		return -EACCES;
	if (entry.type == PROC_DIR)
		return give(m, FILE_DIRECTORY, -1, q, path, NULL);
	return open_proc_text(m, path, &entry, q);
}

static int open_in_proc(struct walk *w, const struct opening *q)
{
	struct opening as = *q;

	if (w->slash)
		as.flags |= O_DIRECTORY;
	return w->named ? -ENOENT : open_proc(w->mount, walk_path(w), &as);
}

/*
 * A stream is what the caller gave, with the rights that it gave: another descriptor of the
 * same open file description.
 */
static int open_stream(struct file *of, const struct opening *q)
{
	struct file *file;
	int fd;

	if (((wanted(q->flags) & W_OK) && !file_writable(of)) ||
	    ((wanted(q->flags) & R_OK) && !file_readable(of)))
		return -EACCES;
	fd = fcntl(of->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -ENFILE;
	file = file_new(of->kind, fd, file_flags(of), of->path);
	if (!file)
		return -ENOMEM;
	file->counts_output = of->counts_output;
	file->standard_input = of->standard_input;
	*q->out = file;
	return 0;
}

static int open_pipe(struct file *of, const struct opening *q)
{
	int fd = host_reopen(of->fd, (q->flags & O_ACCMODE) | O_NONBLOCK);
	struct file *file;

	if (fd < 0)
		return fd;
	file = file_new(FILE_PIPE, fd, q->flags & ~ONCE_FLAGS, of->path);
	if (!file)
		return -ENOMEM;
	file->inode = of->inode;
	*q->out = file;
	return 0;
}

/* Any open file, for O_PATH only. */
static int open_path_of(struct file *of, const struct opening *q)
{
	struct file *file;
	int fd = of->fd < 0 ? -1 : host_reopen(of->fd, O_PATH);

	if (fd < -1)
		return fd;
	if (of->dir)
		return give(of->dir->mount, FILE_PATH, fd, q, of->path,
			    of->node ? memnode_get(of->node) : NULL);
	file = file_new(FILE_PATH, fd, q->flags & ~ONCE_FLAGS, of->path);
	if (!file)
		return -ENOMEM;
	file->inode = of->inode;
	*q->out = file;
	return 0;
}

/* /proc/self/fd/N: what `of` is open on is opened again. */
static int open_again(struct walk *w, const struct opening *q)
{
	struct file *of = w->magic;
	struct vfs_mount *m = of->dir ? of->dir->mount : NULL;
	struct stat st;
	int fd;

	if ((q->flags & O_CREAT) && (q->flags & O_EXCL))
		return -EEXIST;
	if (q->flags & TMPFILE_BIT)
		return -EOPNOTSUPP;
	if (q->flags & O_PATH)
		return open_path_of(of, q);
	if (m && m->kind == VFS_PROC)
		return open_proc(m, of->path, q);
	if (m && of->node)
		return open_node(memnode_get(of->node), q, of->path);
	if (m && of->fd >= 0) {
		fd = host_reopen(of->fd, O_PATH);
		if (fd < 0)
			return fd;
		if (fstat(fd, &st) < 0) {
			close(fd);
			return -EIO;
		}
		return open_host_object(m, fd, &st, q, of->path);
	}
	if (q->flags & O_DIRECTORY)
		return -ENOTDIR;
	if (of->kind == FILE_STREAM || of->kind == FILE_DEVICE)
		return open_stream(of, q);
	return of->kind == FILE_PIPE ? open_pipe(of, q) : -ENXIO;
}

/* --- open(2) ------------------------------------------------------------------------------ */

static int open_tmpfile(struct walk *w, const struct opening *q)
{
	int r;

	if (w->mount->kind == VFS_HOST)
		return tmpfile_on_host(w, q);
	if ((r = walk_materialize(w)) < 0)
		return r;
	if (!w->node || w->mount->kind == VFS_DEV)
		return -EOPNOTSUPP;
	return S_ISDIR(w->node->mode) ? tmpfile_in_memory(w, q) : -ENOTDIR;
}

static int open_here(struct walk *w, void *context)
{
	const struct opening *q = context;

	if (w->magic)
		return open_again(w, q);
	if (q->flags & TMPFILE_BIT)
		return open_tmpfile(w, q);
	if (w->mount->kind == VFS_HOST)
		return open_on_host(w, q);
	if (w->mount->kind == VFS_PROC)
		return open_in_proc(w, q);
	if (walk_on_host(w))
		return open_on_overlay(w, q);
	return open_in_memory(w, q);
}

/* Linux's build_open_flags(). */
static int check_flags(int *flags)
{
	if (*flags & O_PATH) {
		*flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
		return 0;
	}
	if (*flags & TMPFILE_BIT) {
		if (!(*flags & O_DIRECTORY) || !writes(*flags) || (*flags & O_CREAT))
			return -EINVAL;
	} else if ((*flags & (O_DIRECTORY | O_CREAT)) == (O_DIRECTORY | O_CREAT)) {
		return -EINVAL;
	}
	return 0;
}

int vfs_open_how(struct vfs *vfs, struct file *dir, const char *path, const struct vfs_how *how,
		 struct file **out)
{
	mode_t umask = vfs->p ? vfs->p->umask : 0;
	struct opening q = {how->flags, how->mode & 07777 & ~umask, out};
	unsigned resolve = how->resolve;
	int flags = how->flags, r = check_flags(&q.flags);

	if (r < 0)
		return r;
	if (!(flags & O_NOFOLLOW) && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL))
		resolve |= WALK_FOLLOW;
	if (q.flags & O_CREAT)
		resolve |= WALK_CREATE;
	return walk_do(vfs, dir, path, resolve, open_here, &q);
}

int vfs_open(struct vfs *vfs, struct file *dir, const char *path, int flags, mode_t mode,
	     struct file **out)
{
	return vfs_open_how(vfs, dir, path, &(const struct vfs_how){flags, mode, 0}, out);
}

struct vfs_mount *vfs_memory(const struct vfs *vfs)
{
	for (size_t i = 0; i < vfs->nmounts; i++)
		if (vfs->mounts[i]->kind == VFS_MEMORY && vfs->mounts[i]->writable)
			return vfs->mounts[i];
	return NULL;
}

int vfs_open_unnamed(struct memnode *node, int flags, const char *path, struct file **out)
{
	const struct opening q = {.flags = flags, .out = out};

	return open_contents(node, &q, path);
}

int vfs_open_same(const struct file *file, int flags, const char *path, struct file **out)
{
	return vfs_open_unnamed(memnode_get(file->node), flags, path, out);
}

int vfs_memfd(struct vfs *vfs, const char *name, bool sealing, struct file **out)
{
	struct opening q = {.flags = O_RDWR, .out = out};
	struct vfs_mount *m = vfs_memory(vfs);
	struct memnode *node;
	char path[VFS_PATH_MAX];
	int r;

	if (!m)
		return -ENOSYS;
	pthread_rwlock_wrlock(&vfs->lock);
	node = memnode_new_locked(m, S_IFREG | 0777);
	r = node ? memdata_set_memfd_locked(node, name, sealing) : -ENOMEM;
	pthread_rwlock_unlock(&vfs->lock);
	if (r < 0) {
		memnode_put(node);
		return r;
	}
	snprintf(path, sizeof(path), "/memfd:%s (deleted)", name);
	return open_contents(node, &q, path);
}

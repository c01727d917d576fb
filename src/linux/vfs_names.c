/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making, removing, renaming and linking names, and reading links. On the host each is done by
 * one call on a directory's descriptor with one name, which cannot lead elsewhere.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/io.h"
#include "linux/vfs_internal.h"

/* The name as the host's kernel is to get it: with its slash, which says "a directory". */
static const char *host_name(const struct walk *w, char name[VFS_NAME_MAX + 2])
{
	size_t len = strlen(w->last);

	memcpy(name, w->last, len);
	if (w->slash)
		name[len++] = '/';
	name[len] = '\0';
	return name;
}

static int not_here(const struct walk *w)
{
	/* /proc and /dev have what they have. */
	return w->mount->kind == VFS_PROC ? -EPERM : -EROFS;
}

/* --- mkdir, mknod, symlink ---------------------------------------------------------------- */

struct making {
	mode_t mode; /* with the type */
	const char *target;
};

static int make_on_host(const struct walk *w, const struct making *q)
{
	_cleanup_close_ int dir = walk_open(w, O_PATH | O_DIRECTORY);
	char name[VFS_NAME_MAX + 2];
	struct stat st;
	int r;

	if (dir < 0)
		return dir;
	if (fstatat(dir, w->last, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	if (w->slash && !S_ISDIR(q->mode))
		return -ENOENT;
	if (!w->mount->writable)
		return -EROFS;
	if (S_ISLNK(q->mode))
		return symlinkat(q->target, dir, w->last) < 0 ? -errno : 0;
	if (S_ISDIR(q->mode))
		r = mkdirat(dir, host_name(w, name), q->mode & 01777);
	else
		r = mknodat(dir, w->last, q->mode & (S_IFMT | 01777), 0);
	if (r < 0)
		return -errno;
	/* What this process's umask took away is given back. */
	r = host_open_beneath(dir, w->last, O_PATH | O_NOFOLLOW, 0);
	if (r >= 0) {
		struct vfs_object o = {
			.vfs = w->vfs, .mount = w->mount, .fd = r, .owned = true};

		if (fstat(r, &st) == 0 && (st.st_mode & S_IFMT) == (q->mode & S_IFMT) &&
		    (st.st_mode & 0777) != (q->mode & 0777)) {
			o.type = st.st_mode & S_IFMT;
			(void)vfs_object_chmod(&o, (st.st_mode & 07000) | (q->mode & 0777));
		}
		vfs_object_fini(&o);
	}
	return 0;
}

static int make_here(struct walk *w, void *context)
{
	const struct making *q = context;
	int r;

	if (!w->named || mount_on(w->mount, w->path, w->len, w->last))
		return -EEXIST;
	if (w->mount->kind == VFS_HOST)
		return make_on_host(w, q);
	if ((r = walk_materialize(w)) < 0)
		return r;
	if (!w->node)
		return not_here(w);
	if (w->slash && !S_ISDIR(q->mode)) {
		struct memnode *node;
		bool lower;

		r = memdir_lookup(w->node, w->last, &node, &lower);
		if (r == 0)
			memnode_put(node);
		return r == 0 || (lower && overlay_lower_has(w->node, w->last)) ? -EEXIST
										: -ENOENT;
	}
	return mem_make(w->node, w->last, q->mode, q->target, NULL);
}

static mode_t masked(const struct vfs *vfs, mode_t mode)
{
	return mode & ~(vfs->p ? vfs->p->umask : 0);
}

int vfs_mkdir(struct vfs *vfs, struct file *dir, const char *path, mode_t mode)
{
	struct making q = {S_IFDIR | masked(vfs, mode & 01777), NULL};

	return walk_do(vfs, dir, path, WALK_PARENT, make_here, &q);
}

int vfs_mknod(struct vfs *vfs, struct file *dir, const char *path, mode_t mode)
{
	struct making q = {(mode & S_IFMT) | masked(vfs, mode & 07777), NULL};

	if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode))
		return -EPERM;
	return walk_do(vfs, dir, path, WALK_PARENT, make_here, &q);
}

int vfs_symlink(struct vfs *vfs, const char *target, struct file *dir, const char *path)
{
	struct making q = {S_IFLNK | 0777, target};

	return walk_do(vfs, dir, path, WALK_PARENT, make_here, &q);
}

/* --- unlink, rmdir ------------------------------------------------------------------------ */

static int unlink_on_host(const struct walk *w, bool directory)
{
	_cleanup_close_ int dir = walk_open(w, O_PATH | O_DIRECTORY);
	char name[VFS_NAME_MAX + 2];

	if (dir < 0)
		return dir;
	if (!w->mount->writable)
		return -EROFS;
	return unlinkat(dir, host_name(w, name), directory ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
}

static int unlink_here(struct walk *w, void *context)
{
	bool directory = *(const bool *)context;
	int r;

	/* Linux's do_rmdir() and do_unlinkat(), by the last component's type. */
	if (!w->named && !directory)
		return -EISDIR;
	if (!w->named)
		return w->up ? -ENOTEMPTY : w->len && w->dots ? -EINVAL : -EBUSY;
	if (mount_beneath(w->mount, w->path, w->len, w->last))
		return -EBUSY;
	if (w->mount->kind == VFS_HOST)
		return unlink_on_host(w, directory);
	if ((r = walk_materialize(w)) < 0)
		return r;
	if (!w->node)
		return not_here(w);
	return mem_unlink(w->node, w->last, directory, w->slash);
}

int vfs_unlink(struct vfs *vfs, struct file *dir, const char *path, bool directory)
{
	return walk_do(vfs, dir, path, WALK_PARENT, unlink_here, &directory);
}

/* --- rename ------------------------------------------------------------------------------- */

static int rename_on_host(const struct walk *from, const struct walk *to, unsigned flags)
{
	char name_from[VFS_NAME_MAX + 2], name_to[VFS_NAME_MAX + 2];
	_cleanup_close_ int dir_from = -1, dir_to = -1;

	dir_from = walk_open(from, O_PATH | O_DIRECTORY);
	if (dir_from < 0)
		return dir_from;
	dir_to = walk_open(to, O_PATH | O_DIRECTORY);
	if (dir_to < 0)
		return dir_to;
	if (!from->mount->writable)
		return -EROFS;
	if (syscall(SYS_renameat2, dir_from, host_name(from, name_from), dir_to,
		    host_name(to, name_to), flags) < 0)
		return -errno;
	return 0;
}

static int rename_here(struct walk *from, struct walk *to, unsigned flags)
{
	struct mem_name a, b;
	int r;

	if (from->mount != to->mount)
		return -EXDEV;
	if (!from->named || !to->named)
		return -EBUSY;
	if (mount_beneath(from->mount, from->path, from->len, from->last) ||
	    mount_beneath(to->mount, to->path, to->len, to->last))
		return -EBUSY;
	if (from->mount->kind == VFS_HOST)
		return rename_on_host(from, to, flags);
	if ((r = walk_materialize(from)) < 0 || (r = walk_materialize(to)) < 0)
		return r;
	if (!from->node)
		return not_here(from);
	a = (struct mem_name){from->node, from->last, from->slash};
	b = (struct mem_name){to->node, to->last, to->slash};
	return mem_rename(&a, &b, flags);
}

int vfs_rename(struct vfs *vfs, const struct vfs_name *from, const struct vfs_name *to,
	       unsigned flags)
{
	struct walk a, b;
	int r, s;

	if ((flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) ||
	    flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	r = walk_start(&a, vfs, from->dir, from->path, WALK_PARENT);
	s = walk_start(&b, vfs, to->dir, to->path, WALK_PARENT);
	if (r == 0)
		r = walk_run(&a);
	if (r == 0)
		r = s;
	if (r == 0)
		r = walk_run(&b);
	while (r == 0 && (r = rename_here(&a, &b, flags)) == -ELOOP) {
		struct walk *met = &a;

		s = walk_expand(&a);
		if (s == 0) {
			met = &b;
			s = walk_expand(&b);
		}
		if (s <= 0)
			r = s < 0 ? s : -ELOOP;
		else
			r = walk_run(met);
	}
	walk_fini(&a);
	walk_fini(&b);
	return r;
}

/* --- link --------------------------------------------------------------------------------- */

static int link_on_host(const struct walk *w, const struct vfs_object *o)
{
	_cleanup_close_ int dir = -1;
	struct stat st;
	char path[32];

	/* A second name for a device would be a name for it within the grant. */
	if (!S_ISREG(o->type) && !S_ISLNK(o->type) && !S_ISFIFO(o->type) && !S_ISSOCK(o->type))
		return -EPERM;
	dir = walk_open(w, O_PATH | O_DIRECTORY);
	if (dir < 0)
		return dir;
	if (fstatat(dir, w->last, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	if (w->slash)
		return -ENOENT;
	if (!w->mount->writable)
		return -EROFS;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", o->fd);
	return linkat(AT_FDCWD, path, dir, w->last, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static int link_here(struct walk *w, void *context)
{
	struct vfs_object *o = context;
	int r;

	if (!w->named || mount_on(w->mount, w->path, w->len, w->last))
		return -EEXIST;
	if (o->mount != w->mount)
		return -EXDEV;
	if (w->mount->kind == VFS_HOST)
		return link_on_host(w, o);
	if ((r = walk_materialize(w)) < 0)
		return r;
	if (!w->node || !o->node)
		return w->node ? -EXDEV : not_here(w);
	return w->slash ? -ENOENT : mem_link(o->node, w->node, w->last);
}

int vfs_link(struct vfs *vfs, const struct vfs_name *from, const struct vfs_name *to, int flags)
{
	int how =
		(flags & AT_EMPTY_PATH) | (flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW);
	struct vfs_object o;
	int r = vfs_object_at(vfs, from->dir, from->path, how, &o);

	/* An overlay's file gets a node of its own; elsewhere nothing of it changes. */
	if (r == 0 && o.mount && o.mount->kind == VFS_OVERLAY && !o.node) {
		vfs_object_fini(&o);
		r = vfs_object_at(vfs, from->dir, from->path, how | OBJECT_WRITE, &o);
	}
	if (r == 0 && S_ISDIR(o.type))
		r = -EPERM;
	if (r == 0)
		r = walk_do(vfs, to->dir, to->path, WALK_PARENT, link_here, &o);
	vfs_object_fini(&o);
	return r;
}

/* --- readlink ----------------------------------------------------------------------------- */

struct reading {
	char *to;
	size_t size;
	ssize_t len;
};

static int read_text(struct reading *q, const char *text, size_t len)
{
	q->len = (ssize_t)(len < q->size ? len : q->size);
	memcpy(q->to, text, (size_t)q->len);
	return 0;
}

static int read_from_host(const struct walk *w, struct reading *q)
{
	char path[VFS_PATH_MAX];
	int dir, fd, r = walk_host(w, w->len, &dir, path);

	if (r < 0)
		return r;
	if (path[0] && !strchr(path, '/')) {
		q->len = readlinkat(dir, path, q->to, q->size);
		return q->len < 0 ? -errno : 0;
	}
	fd = walk_open(w, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return fd;
	q->len = readlinkat(fd, "", q->to, q->size);
	r = q->len >= 0 ? 0 : errno == ENOENT ? -EINVAL : -errno;
	close(fd);
	return r;
}

/*
 * What /proc/self/fd shows of it; -ENOENT: the path it was opened by. A directory is where it
 * is now. Programs ask whether a stream is a pipe or a socket.
 */
static ssize_t shown_path(struct file *file, char path[VFS_PATH_MAX])
{
	struct stat st;

	if (file->kind == FILE_DIRECTORY)
		return directory_path(file, path);
	if (file->kind != FILE_STREAM || fstat(file->fd, &st) < 0 ||
	    (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode)))
		return -ENOENT;
	return snprintf(path, VFS_PATH_MAX, "%s:[%ju]",
			S_ISFIFO(st.st_mode) ? "pipe" : "socket", (uintmax_t)st.st_ino);
}

static int read_from_proc(struct walk *w, struct reading *q)
{
	char path[VFS_PATH_MAX];
	struct proc_entry entry;
	struct file *file;
	char *text;
	size_t len;
	ssize_t n;
	int r = proc_find(w->vfs, w->len > w->base ? w->path + w->base + 1 : "", &entry);

	if (r == 0 && entry.type == PROC_LINK) {
		r = proc_read(w->vfs, &entry, &text, &len);
		if (r == 0) {
			read_text(q, text, len);
			free(text);
		}
		return r;
	}
	if (r < 0 || entry.type != PROC_FD)
		return r < 0 ? r : -EINVAL;
	file = files_get_any(&w->vfs->p->files, entry.fd);
	if (!file)
		return -ENOENT;
	n = shown_path(file, path);
	if (n > 0)
		read_text(q, path, (size_t)n);
	else if (n == 0)
		read_text(q, "/", 1);
	else
		read_text(q, file->path ? file->path : "", file->path ? strlen(file->path) : 0);
	file_put(file);
	return 0;
}

static int readlink_here(struct walk *w, void *context)
{
	struct reading *q = context;

	if (w->magic)
		return -EINVAL;
	if (walk_on_host(w))
		return read_from_host(w, q);
	if (w->mount->kind == VFS_PROC)
		return read_from_proc(w, q);
	if (!S_ISLNK(w->node->mode))
		return -EINVAL;
	return read_text(q, w->node->target, strlen(w->node->target));
}

ssize_t vfs_readlink(struct vfs *vfs, struct file *dir, const char *path, char *to, size_t size)
{
	struct reading q = {to, size, 0};
	int r;

	if (!path[0]) {
		if (!dir || dir->kind != FILE_PATH)
			return -ENOENT;
		if (dir->node && S_ISLNK(dir->node->mode)) {
			read_text(&q, dir->node->target, strlen(dir->node->target));
			return q.len;
		}
		if (dir->node || dir->fd < 0)
			return -ENOENT;
		q.len = readlinkat(dir->fd, "", to, size);
		return q.len < 0 ? -errno : q.len;
	}
	r = walk_do(vfs, dir, path, 0, readlink_here, &q);
	return r < 0 ? r : q.len;
}

/* --- Sizes -------------------------------------------------------------------------------- */

int vfs_ftruncate(struct vfs *vfs, struct file *file, uint64_t size)
{
	struct stat st;

	(void)vfs;
	if (size > INT64_MAX)
		return -EINVAL;
	if (!file_writable(file) || (file->kind != FILE_REGULAR && file->kind != FILE_STREAM))
		return -EINVAL;
	if (file->node)
		return memdata_truncate(file->node, size);
	/* A stream may be made shorter; longer only by output, which is counted. */
	if (file->kind == FILE_STREAM &&
	    (fstat(file->fd, &st) < 0 || !S_ISREG(st.st_mode) || size > (uint64_t)st.st_size))
		return -EINVAL;
	return set_file_size(file->fd, size);
}

int vfs_fallocate(struct vfs *vfs, struct file *file, int mode, uint64_t offset, uint64_t len)
{
	/* fallocate(2); others move what is behind, and few file systems can. */
	const int known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;

	(void)vfs;
	if (offset > INT64_MAX || len > INT64_MAX || len == 0)
		return -EINVAL;
	if (mode & ~known)
		return -EOPNOTSUPP;
	if (!file_writable(file))
		return -EBADF;
	switch (file->kind) {
	case FILE_REGULAR:
		break;
	case FILE_DIRECTORY:
		return -EISDIR;
	case FILE_PIPE:
		return -ESPIPE;
	case FILE_STREAM:
		return -EOPNOTSUPP;
	default:
		return -ENODEV;
	}
	if (offset + len > INT64_MAX)
		return -EFBIG;
	if (file->node)
		return memdata_allocate(file->node, mode, offset, len);
	return allocate_file(file->fd, mode, offset, len);
}

int vfs_truncate(struct vfs *vfs, struct file *dir, const char *path, uint64_t size)
{
	struct file *file;
	int r;

	if (size > INT64_MAX)
		return -EINVAL;
	r = vfs_open(vfs, dir, path, O_WRONLY | O_NONBLOCK | (size ? 0 : O_TRUNC), 0, &file);
	if (r < 0)
		return r == -ENXIO ? -EINVAL : r;
	r = size || file->kind != FILE_REGULAR ? vfs_ftruncate(vfs, file, size) : 0;
	file_put(file);
	return r;
}

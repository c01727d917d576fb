/* SPDX-License-Identifier: Apache-2.0 */
/* What a path or a descriptor refers to, and its attributes. */
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux/vfs_internal.h"

#define NAME_MAX_LEN 255
/* The device that files of no mount are on: pipes, sockets, streams. */
#define NO_DEVICE makedev(0, 15)

/* --- Getting one -------------------------------------------------------------------------- */

void vfs_object_fini(struct vfs_object *o)
{
	if (o->owned && o->fd >= 0)
		close(o->fd);
	o->fd = -1;
	memnode_put(take_ptr(o->node));
	file_put(take_ptr(o->file));
}

static int may_change(const struct vfs_object *o, int flags)
{
	if (!(flags & OBJECT_WRITE) || !o->mount)
		return 0;
	return o->mount->writable ? 0 : -EROFS;
}

int vfs_object_of(struct vfs *vfs, struct file *file, int flags, struct vfs_object *o)
{
	struct stat st;

	memset(o, 0, sizeof(*o));
	o->vfs = vfs;
	o->file = file_get(file);
	o->fd = file->fd;
	if (file->dir)
		o->mount = file->dir->mount;
	if (file->node) {
		o->node = memnode_get(file->node);
		o->type = o->node->mode & S_IFMT;
	} else if (o->mount && o->mount->kind == VFS_PROC) {
		snprintf(o->proc, sizeof(o->proc), "%s",
			 file->path + o->mount->guest_len +
				 (file->path[o->mount->guest_len] == '/'));
		o->type = file->kind == FILE_DIRECTORY ? S_IFDIR : S_IFREG;
	} else if (o->fd >= 0 && fstat(o->fd, &st) == 0) {
		o->type = st.st_mode & S_IFMT;
	}
	return may_change(o, flags);
}

struct request {
	int flags;
	struct vfs_object *o;
};

/* What the host's kernel has at the walk's place: O_PATH in o->fd. */
static int host_object(struct walk *w, const struct request *q)
{
	struct vfs_object *o = q->o;
	struct stat st;
	int r;

	o->fd = walk_open(w, O_PATH | O_NOFOLLOW);
	if (o->fd < 0)
		return o->fd;
	o->owned = true;
	if (fstat(o->fd, &st) < 0)
		return -errno;
	o->type = st.st_mode & S_IFMT;
	if (S_ISLNK(st.st_mode) && ((w->flags & WALK_FOLLOW) || w->slash))
		return -ELOOP;
	if (w->slash && !S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if ((r = may_change(o, q->flags)) < 0)
		return r;
	if (w->mount->kind == VFS_OVERLAY && (q->flags & OBJECT_WRITE)) {
		if ((r = walk_materialize(w)) < 0)
			return r;
		o->node = memnode_get(w->node);
	}
	return 0;
}

static int object_here(struct walk *w, void *context)
{
	const struct request *q = context;
	struct vfs_object *o = q->o;
	struct proc_entry entry;
	int r;

	vfs_object_fini(o); /* of an attempt before */
	memset(o, 0, sizeof(*o));
	o->fd = -1;
	o->vfs = w->vfs;
	if (w->magic)
		return vfs_object_of(w->vfs, w->magic, q->flags, o);
	o->mount = w->mount;
	if (walk_on_host(w))
		return host_object(w, q);
	if (w->node) {
		o->node = memnode_get(w->node);
		o->type = o->node->mode & S_IFMT;
		return may_change(o, q->flags);
	}
	snprintf(o->proc, sizeof(o->proc), "%s", w->len > w->base ? w->path + w->base + 1 : "");
	if ((r = proc_find(w->vfs, o->proc, &entry)) < 0)
		return r;
	o->type = entry.type == PROC_DIR    ? S_IFDIR
		  : entry.type == PROC_FILE ? S_IFREG
					    : S_IFLNK;
	if (w->slash && entry.type != PROC_DIR)
		return -ENOTDIR;
	return may_change(o, q->flags);
}

int vfs_object_at(struct vfs *vfs, struct file *dir, const char *path, int flags,
		  struct vfs_object *o)
{
	struct request q = {flags, o};

	memset(o, 0, sizeof(*o));
	o->fd = -1;
	if ((flags & AT_EMPTY_PATH) && !path[0]) {
		if (dir)
			return vfs_object_of(vfs, dir, flags, o);
		path = ".";
	}
	return walk_do(vfs, dir, path, flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW,
		       object_here, &q);
}

/* --- stat --------------------------------------------------------------------------------- */

static void map_unmounted(struct vfs_object *o, struct stat *st)
{
	const struct vfs_mount none = {.vfs = o->vfs, .dev = NO_DEVICE};

	vfs_map_stat(&none, st);
	if (o->file && o->file->inode)
		st->st_ino = o->file->inode;
}

int vfs_object_stat(struct vfs_object *o, struct stat *st)
{
	struct proc_entry entry;
	int r;

	memset(st, 0, sizeof(*st));
	if (o->node && o->mount &&
	    !(o->fd >= 0 && o->node->lower && !o->node->own_attributes && !o->node->own_data)) {
		r = memnode_stat(o->node, st);
		st->st_dev = o->mount->dev;
		return r;
	}
	if (o->mount && o->mount->kind == VFS_PROC) {
		r = proc_find(o->vfs, o->proc, &entry);
		if (r == 0)
			proc_stat(o->vfs, o->proc, &entry, st);
		st->st_dev = o->mount->dev;
		return r;
	}
	if (o->fd < 0)
		return -EBADF;
	if (fstat(o->fd, st) < 0)
		return -errno;
	if (o->mount)
		vfs_map_stat(o->mount, st);
	else
		map_unmounted(o, st);
	return 0;
}

struct stat_request {
	int flags;
	struct stat *st;
};

/*
 * One name directly in a directory that is at hand cannot lead through a link: one call is
 * enough. But for what may be another file system mounted there.
 */
static bool stat_directly(struct walk *w, struct stat *st, int *result)
{
	char path[VFS_PATH_MAX];
	int dir, r = walk_host(w, w->len, &dir, path);

	if (r < 0 || !path[0] || strchr(path, '/'))
		return false;
	if (fstatat(dir, path, st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0) {
		*result = -errno;
		return true;
	}
	if (S_ISDIR(st->st_mode) && st->st_dev != w->mount->host_dev)
		return false;
	if (S_ISLNK(st->st_mode) && ((w->flags & WALK_FOLLOW) || w->slash))
		*result = -ELOOP;
	else if (w->slash && !S_ISDIR(st->st_mode))
		*result = -ENOTDIR;
	else
		*result = 0;
	return true;
}

static int stat_here(struct walk *w, void *context)
{
	const struct stat_request *q = context;
	struct vfs_object o = {.fd = -1};
	struct request want = {q->flags, &o};
	int r;

	if (!w->magic && walk_on_host(w) && stat_directly(w, q->st, &r)) {
		if (r == 0)
			vfs_map_stat(w->mount, q->st);
		return r;
	}
	r = object_here(w, &want);
	if (r == 0)
		r = vfs_object_stat(&o, q->st);
	vfs_object_fini(&o);
	return r;
}

int vfs_stat(struct vfs *vfs, struct file *dir, const char *path, int flags, struct stat *st)
{
	struct stat_request q = {flags & AT_SYMLINK_NOFOLLOW, st};

	if ((flags & AT_EMPTY_PATH) && !path[0]) {
		if (dir)
			return vfs_fstat(vfs, dir, st);
		path = ".";
	}
	return walk_do(vfs, dir, path, flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW, stat_here,
		       &q);
}

int vfs_fstat(struct vfs *vfs, struct file *file, struct stat *st)
{
	struct vfs_object o;
	int r = vfs_object_of(vfs, file, 0, &o);

	if (r == 0)
		r = vfs_object_stat(&o, st);
	vfs_object_fini(&o);
	return r;
}

/* --- statfs ------------------------------------------------------------------------------- */

/* What the guest may still occupy is what its file systems in memory have room for. */
static void memory_statfs(struct vfs_object *o, struct statfs *st)
{
	const struct mm *mm = &o->vfs->p->mm;
	uint64_t charged = atomic_load(&mm->charged);

	st->f_blocks = mm->limit / PAGE_SIZE;
	st->f_bfree = (mm->limit > charged ? mm->limit - charged : 0) / PAGE_SIZE;
	st->f_bavail = st->f_bfree;
	st->f_files = VFS_MAX_NODES;
	st->f_ffree = VFS_MAX_NODES - o->vfs->nodes;
}

int vfs_object_statfs(struct vfs_object *o, struct statfs *st)
{
	memset(st, 0, sizeof(*st));
	st->f_bsize = st->f_frsize = (long)PAGE_SIZE;
	st->f_namelen = NAME_MAX_LEN;
	if (!o->mount) {
		if (o->fd < 0 || fstatfs(o->fd, st) < 0)
			return -EBADF;
	} else if (o->mount->kind == VFS_PROC) {
		st->f_type = PROC_SUPER_MAGIC;
	} else if (o->mount->kind == VFS_HOST) {
		if (fstatfs(o->fd, st) < 0)
			return -errno;
	} else {
		st->f_type =
			o->mount->kind == VFS_OVERLAY ? OVERLAYFS_SUPER_MAGIC : TMPFS_MAGIC;
		memory_statfs(o, st);
	}
	memset(&st->f_fsid, 0, sizeof(st->f_fsid));
	memset(st->f_spare, 0, sizeof(st->f_spare));
	/* Its mount(2) flags: ST_VALID, and read-only or not; nodev always. */
	st->f_flags = 0x20 | ST_NODEV | (o->mount && !o->mount->writable ? ST_RDONLY : 0);
	return 0;
}

/* --- access ------------------------------------------------------------------------------- */

static int host_access(int fd, int mode)
{
	char path[32];

	if (syscall(SYS_faccessat2, fd, "", mode, AT_EMPTY_PATH | AT_EACCESS) == 0)
		return 0;
	if (errno != ENOSYS && errno != EINVAL)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0 ? 0 : -errno;
}

/* Of a file of the lower directory: as the node would have it that is made for a change. */
static int lower_access(struct vfs_object *o, int mode)
{
	struct memnode like = {.mount = o->mount};
	struct stat st;
	int r = vfs_object_stat(o, &st);

	if (r < 0)
		return r;
	like.mode = st.st_mode;
	like.uid = st.st_uid;
	like.gid = st.st_gid;
	if ((r = memnode_permits(&like, mode)) < 0)
		return r;
	/* It is copied by this process, which must be able to read it. */
	return o->fd >= 0 && S_ISREG(st.st_mode) ? host_access(o->fd, R_OK) : 0;
}

int vfs_object_access(struct vfs_object *o, int mode)
{
	struct proc_entry entry;
	struct stat st;
	int r;

	if (mode == F_OK)
		return 0;
	/* Linux's sb_permission(): special files are no part of the file system's contents. */
	if ((mode & W_OK) && o->mount && !o->mount->writable && o->mount->kind != VFS_PROC &&
	    (S_ISREG(o->type) || S_ISDIR(o->type) || S_ISLNK(o->type)))
		return -EROFS;
	if (o->mount && o->mount->kind == VFS_PROC) {
		r = proc_find(o->vfs, o->proc, &entry);
		return r < 0 ? r : ((mode_t)mode & ~(entry.mode >> 6) & 7) ? -EACCES : 0;
	}
	if (o->mount && o->mount->kind == VFS_OVERLAY &&
	    (!o->node || (o->node->lower && !o->node->own_attributes)))
		return S_ISCHR(o->type) || S_ISBLK(o->type) ? -EACCES : lower_access(o, mode);
	if (o->node)
		return memnode_permits(o->node, mode);
	if (o->fd < 0)
		return -EACCES;
	/* Devices of the host cannot be opened. */
	if (o->mount && (S_ISCHR(o->type) || S_ISBLK(o->type)))
		return -EACCES;
	if (o->mount && !o->mount->writable && S_ISFIFO(o->type))
		return -EACCES;
	if (o->mount)
		return host_access(o->fd, mode);
	if ((r = vfs_object_stat(o, &st)) < 0)
		return r;
	return o->file && (((mode & R_OK) && !file_readable(o->file)) ||
			   ((mode & W_OK) && !file_writable(o->file)) || (mode & X_OK))
		       ? -EACCES
		       : 0;
}

/* --- Mode, owner, times ------------------------------------------------------------------- */

/* Of host files: those that the guest may open are those that it may change. */
static int host_changeable(const struct vfs_object *o)
{
	if (!o->mount)
		return -EPERM;
	return S_ISREG(o->type) || S_ISDIR(o->type) || S_ISFIFO(o->type) || S_ISSOCK(o->type) ||
			       S_ISLNK(o->type)
		       ? 0
		       : -EPERM;
}

/* Takes on the node's own attributes and the lock, if the guest's user may change them. */
static int node_change_begin(struct vfs_object *o)
{
	const struct process *p = o->vfs->p;
	int r = overlay_own_attributes(o->node);

	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&o->vfs->lock);
	if (!p || (p->uid != 0 && p->uid != o->node->uid)) {
		pthread_rwlock_unlock(&o->vfs->lock);
		return -EPERM;
	}
	return 0;
}

static void node_change_end(struct vfs_object *o)
{
	memnode_touch(o->node, false);
	pthread_rwlock_unlock(&o->vfs->lock);
}

/*
 * Programs that the guest makes must not run with the rights of the user that runs mayfly: on
 * the host's files the set-user-ID and set-group-ID bits are left out.
 */
static mode_t host_mode(mode_t type, mode_t mode)
{
	mode &= 07777 & ~(mode_t)S_ISUID;
	return S_ISDIR(type) ? mode : mode & ~(mode_t)S_ISGID;
}

int vfs_object_chmod(struct vfs_object *o, mode_t mode)
{
	char path[32];
	int r;

	if (S_ISLNK(o->type))
		return -EOPNOTSUPP;
	if (o->node) {
		if ((r = node_change_begin(o)) < 0)
			return r;
		o->node->mode = (o->node->mode & S_IFMT) | (mode & 07777);
		node_change_end(o);
		return 0;
	}
	if ((r = host_changeable(o)) < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", o->fd);
	return chmod(path, host_mode(o->type, mode)) < 0 ? -errno : 0;
}

int vfs_object_chown(struct vfs_object *o, uint32_t uid, uint32_t gid)
{
	struct stat st;
	bool same;
	int r = vfs_object_stat(o, &st);

	if (r < 0)
		return r;
	same = (uid == UINT32_MAX || uid == st.st_uid) &&
	       (gid == UINT32_MAX || gid == st.st_gid);
	if (!o->node || !o->vfs->p || o->vfs->p->uid != 0)
		return same ? 0 : -EPERM;
	if ((r = node_change_begin(o)) < 0)
		return r;
	if (uid != UINT32_MAX)
		o->node->uid = uid;
	if (gid != UINT32_MAX)
		o->node->gid = gid;
	if (!S_ISDIR(o->type))
		o->node->mode &= ~(mode_t)(S_ISUID | S_ISGID);
	node_change_end(o);
	return 0;
}

static void now_where_asked(const struct timespec from[2], struct timespec to[2])
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	for (int i = 0; i < 2; i++)
		to[i] = from[i].tv_nsec == UTIME_NOW ? now : from[i];
}

int vfs_object_utimens(struct vfs_object *o, const struct timespec times[2])
{
	static const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
	struct timespec set[2];
	char path[32];
	int r;

	if (!times)
		times = now;
	if (o->node) {
		if ((r = node_change_begin(o)) < 0)
			return r;
		now_where_asked(times, set);
		r = memdata_set_times(o->node, set);
		node_change_end(o);
		return r;
	}
	if ((r = host_changeable(o)) < 0)
		return r;
	if (syscall(SYS_utimensat, o->fd, "", times, AT_EMPTY_PATH) == 0)
		return 0;
	if (errno != EINVAL || S_ISLNK(o->type)) /* before Linux 5.8 */
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", o->fd);
	return utimensat(AT_FDCWD, path, times, 0) < 0 ? -errno : 0;
}

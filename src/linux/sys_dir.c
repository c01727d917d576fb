/* SPDX-License-Identifier: Apache-2.0 */
/* System calls on directories: their names, made, removed, renamed, linked and listed. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "linux/vfs_internal.h"
#include "linux/vfs_calls.h"

#define LISTING_MAX 65536 /* bytes of a getdents(2), however large the guest's buffer is */
#define FD_CWD ((uint64_t)AT_FDCWD)

/* --- mkdir, mknod ------------------------------------------------------------------------- */

static int64_t mkdir_at(struct task *t, const uint64_t at[2], uint64_t mode)
{
	struct call_place place;
	int r = call_place(t, at, 0, false, &place);

	if (r == 0)
		r = vfs_mkdir(t->process->vfs, place.dir, place.path, (mode_t)mode & 07777);
	file_put(place.dir);
	return r;
}

int64_t sys_mkdir(struct task *t, const uint64_t a[6])
{
	return mkdir_at(t, (const uint64_t[2]){FD_CWD, a[0]}, a[1]);
}

int64_t sys_mkdirat(struct task *t, const uint64_t a[6])
{
	return mkdir_at(t, a, a[2]);
}

static int64_t mknod_at(struct task *t, const uint64_t at[2], uint64_t mode)
{
	mode_t type = (mode_t)mode & S_IFMT;
	struct call_place place;
	int r;

	if (type == S_IFDIR)
		return -EPERM;
	if (type == 0)
		type = S_IFREG;
	if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK && type != S_IFCHR &&
	    type != S_IFBLK)
		return -EINVAL;
	r = call_place(t, at, 0, false, &place);
	if (r == 0)
		r = vfs_mknod(t->process->vfs, place.dir, place.path,
			      type | ((mode_t)mode & 07777));
	file_put(place.dir);
	return r;
}

int64_t sys_mknod(struct task *t, const uint64_t a[6])
{
	return mknod_at(t, (const uint64_t[2]){FD_CWD, a[0]}, a[1]);
}

int64_t sys_mknodat(struct task *t, const uint64_t a[6])
{
	return mknod_at(t, a, a[2]);
}

/* --- unlink, rmdir ------------------------------------------------------------------------ */

static int64_t unlink_at(struct task *t, const uint64_t at[2], bool directory)
{
	struct call_place place;
	int r = call_place(t, at, 0, false, &place);

	if (r == 0)
		r = vfs_unlink(t->process->vfs, place.dir, place.path, directory);
	file_put(place.dir);
	return r;
}

int64_t sys_unlink(struct task *t, const uint64_t a[6])
{
	return unlink_at(t, (const uint64_t[2]){FD_CWD, a[0]}, false);
}

int64_t sys_rmdir(struct task *t, const uint64_t a[6])
{
	return unlink_at(t, (const uint64_t[2]){FD_CWD, a[0]}, true);
}

int64_t sys_unlinkat(struct task *t, const uint64_t a[6])
{
	if ((uint32_t)a[2] & ~(uint32_t)AT_REMOVEDIR)
		return -EINVAL;
	return unlink_at(t, a, a[2] & AT_REMOVEDIR);
}

/* --- rename, link, symlink ---------------------------------------------------------------- */

struct two_places {
	struct call_place from, to;
};

static int two_places(struct task *t, const uint64_t at[4], bool may_be_empty,
		      struct two_places *two)
{
	int r = call_place(t, at, 0, may_be_empty, &two->from);

	two->to.dir = NULL;
	return r < 0 ? r : call_place(t, at + 2, 1, false, &two->to);
}

static int64_t rename_at(struct task *t, const uint64_t at[4], uint32_t flags)
{
	struct two_places two;
	int r = two_places(t, at, false, &two);

	if (r == 0)
		r = vfs_rename(t->process->vfs,
			       &(const struct vfs_name){two.from.dir, two.from.path},
			       &(const struct vfs_name){two.to.dir, two.to.path}, flags);
	file_put(two.from.dir);
	file_put(two.to.dir);
	return r;
}

int64_t sys_rename(struct task *t, const uint64_t a[6])
{
	return rename_at(t, (const uint64_t[4]){FD_CWD, a[0], FD_CWD, a[1]}, 0);
}

int64_t sys_renameat(struct task *t, const uint64_t a[6])
{
	return rename_at(t, a, 0);
}

int64_t sys_renameat2(struct task *t, const uint64_t a[6])
{
	return rename_at(t, a, (uint32_t)a[4]);
}

static int64_t link_at(struct task *t, const uint64_t at[4], uint32_t flags)
{
	struct two_places two;
	int r;

	if (flags & ~(uint32_t)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	r = two_places(t, at, flags & AT_EMPTY_PATH, &two);
	if (r == 0)
		r = vfs_link(t->process->vfs,
			     &(const struct vfs_name){two.from.dir, two.from.path},
			     &(const struct vfs_name){two.to.dir, two.to.path}, (int)flags);
	file_put(two.from.dir);
	file_put(two.to.dir);
	return r;
}

int64_t sys_link(struct task *t, const uint64_t a[6])
{
	return link_at(t, (const uint64_t[4]){FD_CWD, a[0], FD_CWD, a[1]}, 0);
}

int64_t sys_linkat(struct task *t, const uint64_t a[6])
{
	return link_at(t, a, (uint32_t)a[4]);
}

static int64_t symlink_at(struct task *t, uint64_t target, const uint64_t at[2])
{
	char text[VFS_PATH_MAX];
	struct call_place place;
	int r = call_path(t, 0, target, false, text);

	if (r < 0)
		return r;
	r = call_place(t, at, 1, false, &place);
	if (r == 0)
		r = vfs_symlink(t->process->vfs, text, place.dir, place.path);
	file_put(place.dir);
	return r;
}

int64_t sys_symlink(struct task *t, const uint64_t a[6])
{
	return symlink_at(t, a[0], (const uint64_t[2]){FD_CWD, a[1]});
}

int64_t sys_symlinkat(struct task *t, const uint64_t a[6])
{
	return symlink_at(t, a[0], a + 1);
}

/* --- Listing ------------------------------------------------------------------------------ */

/*
 * From getdents64(2)'s structures to getdents(2)'s, in place: they are as long; the type is in
 * the last byte instead of in front of the name.
 */
static void make_old(uint8_t *buffer, size_t len)
{
	for (size_t at = 0; at + 19 < len;) {
		uint8_t *d = buffer + at, type = d[18];
		uint16_t reclen;

		memcpy(&reclen, d + 16, sizeof(reclen));
		if (reclen < 24 || reclen > len - at)
			return;
		memmove(d + 18, d + 19, (size_t)reclen - 19);
		d[reclen - 1] = type;
		at += reclen;
	}
}

static int64_t getdents(struct task *t, const uint64_t a[6], bool old)
{
	struct file *file = files_get(&t->process->files, (uint32_t)a[0]);
	_cleanup_free_ uint8_t *buffer = NULL;
	size_t size = (uint32_t)a[2];
	ssize_t n = -EBADF;
	int64_t before;

	if (!file)
		return n;
	if (size > LISTING_MAX)
		size = LISTING_MAX;
	before = vfs_seek(file, 0, SEEK_CUR);
	buffer = malloc(size ? size : 1);
	n = buffer ? vfs_getdents(file, buffer, size) : -ENOMEM;
	if (n > 0 && old)
		make_old(buffer, (size_t)n);
	if (n > 0 && mm_write(&t->process->mm, a[1], buffer, (size_t)n) < 0) {
		/* What could not be put anywhere comes again. */
		if (before >= 0)
			vfs_seek(file, before, SEEK_SET);
		n = -EFAULT;
	}
	file_put(file);
	return n;
}

int64_t sys_getdents(struct task *t, const uint64_t a[6])
{
	return getdents(t, a, true);
}

int64_t sys_getdents64(struct task *t, const uint64_t a[6])
{
	return getdents(t, a, false);
}

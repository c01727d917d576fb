/* SPDX-License-Identifier: Apache-2.0 */
/* System calls on extended attributes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "linux/vfs_internal.h"
#include "linux/vfs_calls.h"

#define NAME_BYTES 256	  /* XATTR_NAME_MAX of <linux/limits.h>, and the NUL */
#define VALUE_BYTES 65536 /* XATTR_SIZE_MAX and XATTR_LIST_MAX */

/* How the three calls of each kind say which file they mean. */
enum how { BY_PATH, BY_LINK, BY_DESCRIPTOR };

static int object(struct task *t, enum how how, uint64_t arg, int flags, struct vfs_object *o)
{
	char path[VFS_PATH_MAX];
	struct file *file;
	int r;

	memset(o, 0, sizeof(*o));
	o->fd = -1;
	if (how == BY_DESCRIPTOR) {
		file = files_get(&t->process->files, (uint32_t)arg);
		if (!file)
			return -EBADF;
		r = vfs_object_of(t->process->vfs, file, flags, o);
		file_put(file);
		return r;
	}
	r = call_path(t, 0, arg, false, path);
	return r < 0 ? r
		     : vfs_object_at(t->process->vfs, NULL, path,
				     flags | (how == BY_LINK ? AT_SYMLINK_NOFOLLOW : 0), o);
}

/* The name is the call's path-like argument after the path, or the only one. */
static int name_of(struct task *t, enum how how, uint64_t va, char name[VFS_PATH_MAX])
{
	ssize_t n = task_path(t, how == BY_DESCRIPTOR ? 0 : 1, va, name);

	if (n < 0)
		return n == -ENAMETOOLONG ? -ERANGE : (int)n;
	return n == 0 || n >= NAME_BYTES ? -ERANGE : 0;
}

static int64_t set(struct task *t, const uint64_t a[6], enum how how)
{
	uint64_t size = a[3];
	int flags = (int)a[4], r;
	_cleanup_free_ void *value = NULL;
	char name[VFS_PATH_MAX];
	struct vfs_object o;

	if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	if ((r = name_of(t, how, a[1], name)) < 0)
		return r;
	if (size > VALUE_BYTES)
		return -E2BIG;
	value = malloc(size ? size : 1);
	if (!value)
		return -ENOMEM;
	if (mm_read(&t->process->mm, value, a[2], size) < 0)
		return -EFAULT;
	r = object(t, how, a[0], OBJECT_WRITE, &o);
	if (r == 0)
		r = vfs_object_setxattr(&o, name, value, size, flags);
	vfs_object_fini(&o);
	return r;
}

static int64_t give(struct task *t, uint64_t va, const void *from, ssize_t n, uint64_t size)
{
	if (n > 0 && size && mm_write(&t->process->mm, va, from, (size_t)n) < 0)
		return -EFAULT;
	return n;
}

static int64_t get(struct task *t, const uint64_t a[6], enum how how)
{
	uint64_t size = a[3] > VALUE_BYTES ? VALUE_BYTES : a[3];
	_cleanup_free_ void *value = malloc(size ? size : 1);
	char name[VFS_PATH_MAX];
	struct vfs_object o;
	ssize_t n = name_of(t, how, a[1], name);

	if (n < 0 || !value)
		return n < 0 ? n : -ENOMEM;
	n = object(t, how, a[0], 0, &o);
	if (n == 0)
		n = vfs_object_getxattr(&o, name, value, size);
	vfs_object_fini(&o);
	return give(t, a[2], value, n, size);
}

static int64_t list(struct task *t, const uint64_t a[6], enum how how)
{
	uint64_t size = a[2] > VALUE_BYTES ? VALUE_BYTES : a[2];
	_cleanup_free_ char *names = malloc(size ? size : 1);
	struct vfs_object o;
	ssize_t n;

	if (!names)
		return -ENOMEM;
	n = object(t, how, a[0], 0, &o);
	if (n == 0)
		n = vfs_object_listxattr(&o, names, size);
	vfs_object_fini(&o);
	return give(t, a[1], names, n, size);
}

static int64_t drop(struct task *t, const uint64_t a[6], enum how how)
{
	char name[VFS_PATH_MAX];
	struct vfs_object o;
	int r = name_of(t, how, a[1], name);

	if (r < 0)
		return r;
	r = object(t, how, a[0], OBJECT_WRITE, &o);
	if (r == 0)
		r = vfs_object_removexattr(&o, name);
	vfs_object_fini(&o);
	return r;
}

int64_t sys_setxattr(struct task *t, const uint64_t a[6])
{
	return set(t, a, BY_PATH);
}

int64_t sys_lsetxattr(struct task *t, const uint64_t a[6])
{
	return set(t, a, BY_LINK);
}

int64_t sys_fsetxattr(struct task *t, const uint64_t a[6])
{
	return set(t, a, BY_DESCRIPTOR);
}

int64_t sys_getxattr(struct task *t, const uint64_t a[6])
{
	return get(t, a, BY_PATH);
}

int64_t sys_lgetxattr(struct task *t, const uint64_t a[6])
{
	return get(t, a, BY_LINK);
}

int64_t sys_fgetxattr(struct task *t, const uint64_t a[6])
{
	return get(t, a, BY_DESCRIPTOR);
}

int64_t sys_listxattr(struct task *t, const uint64_t a[6])
{
	return list(t, a, BY_PATH);
}

int64_t sys_llistxattr(struct task *t, const uint64_t a[6])
{
	return list(t, a, BY_LINK);
}

int64_t sys_flistxattr(struct task *t, const uint64_t a[6])
{
	return list(t, a, BY_DESCRIPTOR);
}

int64_t sys_removexattr(struct task *t, const uint64_t a[6])
{
	return drop(t, a, BY_PATH);
}

int64_t sys_lremovexattr(struct task *t, const uint64_t a[6])
{
	return drop(t, a, BY_LINK);
}

int64_t sys_fremovexattr(struct task *t, const uint64_t a[6])
{
	return drop(t, a, BY_DESCRIPTOR);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes: those of users ("user.*"), of regular files and directories. What other
 * name spaces mean is the host's business: capabilities, labels, access lists.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/xattr.h>

#include "linux/vfs_internal.h"

#define USER_PREFIX "user."
#define LIST_MAX 65536	/* XATTR_LIST_MAX of <linux/limits.h> */
#define VALUE_MAX 65536 /* XATTR_SIZE_MAX */
#define COST 64		/* charged beside name and value */

static bool is_user(const char *name)
{
	return strncmp(name, USER_PREFIX, sizeof(USER_PREFIX) - 1) == 0 &&
	       name[sizeof(USER_PREFIX) - 1];
}

static bool has_user(const struct vfs_object *o)
{
	return o->mount && (S_ISREG(o->type) || S_ISDIR(o->type));
}

/* /proc/self/fd/N: getxattr(2) and the like on what an O_PATH descriptor refers to. */
static const char *host_path(const struct vfs_object *o, char path[32])
{
	snprintf(path, 32, "/proc/self/fd/%d", o->fd);
	return path;
}

static bool on_host(const struct vfs_object *o)
{
	return !o->node && o->mount->kind != VFS_PROC && o->fd >= 0;
}

static struct memxattr **find(struct memnode *node, const char *name)
{
	struct memxattr **p = &node->xattrs;

	while (*p && strcmp((*p)->name, name) != 0)
		p = &(*p)->next;
	return p;
}

static ssize_t copy_out(const void *from, size_t len, void *to, size_t size)
{
	if (size == 0)
		return (ssize_t)len;
	if (len > size)
		return -ERANGE;
	memcpy(to, from, len);
	return (ssize_t)len;
}

ssize_t vfs_object_getxattr(struct vfs_object *o, const char *name, void *value, size_t size)
{
	const struct memxattr *x;
	char path[32];
	ssize_t r;

	if (!is_user(name))
		return -EOPNOTSUPP;
	if (!has_user(o))
		return -ENODATA;
	if (on_host(o)) {
		r = getxattr(host_path(o, path), name, value, size);
		return r < 0 ? -errno : r;
	}
	if (!o->node)
		return -EOPNOTSUPP;
	pthread_rwlock_rdlock(&o->vfs->lock);
	x = *find(o->node, name);
	r = x ? copy_out(x->value, x->len, value, size) : -ENODATA;
	pthread_rwlock_unlock(&o->vfs->lock);
	return r;
}

static ssize_t host_list(const struct vfs_object *o, char *list, size_t size)
{
	_cleanup_free_ char *all = malloc(LIST_MAX);
	char path[32];
	size_t used = 0;
	ssize_t n;

	if (!all)
		return -ENOMEM;
	n = listxattr(host_path(o, path), all, LIST_MAX);
	if (n < 0)
		return -errno;
	for (const char *name = all; name < all + n; name += strlen(name) + 1) {
		size_t len = strlen(name) + 1;

		if (!is_user(name))
			continue;
		if (size && used + len > size)
			return -ERANGE;
		if (size)
			memcpy(list + used, name, len);
		used += len;
	}
	return (ssize_t)used;
}

ssize_t vfs_object_listxattr(struct vfs_object *o, char *list, size_t size)
{
	size_t used = 0;

	if (!has_user(o))
		return 0;
	if (on_host(o))
		return host_list(o, list, size);
	if (!o->node)
		return 0;
	pthread_rwlock_rdlock(&o->vfs->lock);
	for (const struct memxattr *x = o->node->xattrs; x; x = x->next) {
		size_t len = strlen(x->name) + 1;

		if (size && used + len <= size)
			memcpy(list + used, x->name, len);
		used += len;
	}
	pthread_rwlock_unlock(&o->vfs->lock);
	return size && used > size ? -ERANGE : (ssize_t)used;
}

static uint64_t cost(const struct memxattr *x)
{
	return COST + strlen(x->name) + x->len;
}

static void drop(struct memnode *node, struct memxattr **p)
{
	struct memxattr *x = *p;

	*p = x->next;
	node->xattr_bytes -= cost(x);
	vfs_uncharge(node->mount->vfs, cost(x));
	free(x->value);
	free(x);
}

static int set_locked(struct memnode *node, const char *name, const void *value, size_t size,
		      int flags)
{
	struct memxattr **p = find(node, name), *x;
	size_t len = strlen(name);

	if (*p && (flags & XATTR_CREATE))
		return -EEXIST;
	if (!*p && (flags & XATTR_REPLACE))
		return -ENODATA;
	/* All names must fit into what listxattr(2) can give. */
	if (node->xattr_bytes + COST + len + size > LIST_MAX + VALUE_MAX)
		return -ENOSPC;
	x = calloc(1, sizeof(*x) + len + 1);
	if (!x)
		return -ENOMEM;
	memcpy(x->name, name, len);
	x->len = size;
	x->value = malloc(size ? size : 1);
	if (!x->value || !vfs_charge(node->mount->vfs, cost(x))) {
		int r = x->value ? -ENOSPC : -ENOMEM;

		free(x->value);
		free(x);
		return r;
	}
	if (size)
		memcpy(x->value, value, size);
	if (*p)
		drop(node, p);
	x->next = *p;
	*p = x;
	node->xattr_bytes += cost(x);
	memnode_touch(node, false);
	return 0;
}

int vfs_object_setxattr(struct vfs_object *o, const char *name, const void *value, size_t size,
			int flags)
{
	char path[32];
	int r;

	if (!is_user(name))
		return -EOPNOTSUPP;
	if (!has_user(o))
		return -EPERM;
	if (size > VALUE_MAX)
		return -E2BIG;
	if (on_host(o))
		return setxattr(host_path(o, path), name, value, size, flags) < 0 ? -errno : 0;
	if (!o->node)
		return -EOPNOTSUPP;
	if ((r = overlay_own_attributes(o->node)) < 0)
		return r;
	pthread_rwlock_wrlock(&o->vfs->lock);
	r = memnode_permits(o->node, W_OK);
	if (r == 0)
		r = set_locked(o->node, name, value, size, flags);
	pthread_rwlock_unlock(&o->vfs->lock);
	return r;
}

int vfs_object_load_xattr_locked(struct vfs_object *o, const char *name, const void *value,
				 size_t size)
{
	int r;

	if (!is_user(name) || !has_user(o) || size > VALUE_MAX)
		return -EINVAL;
	r = set_locked(o->node, name, value, size, XATTR_CREATE);
	return r == -ENOSPC ? -ENOMEM : r;
}

int vfs_object_removexattr(struct vfs_object *o, const char *name)
{
	struct memxattr **p;
	char path[32];
	int r;

	if (!is_user(name))
		return -EOPNOTSUPP;
	if (!has_user(o))
		return -EPERM;
	if (on_host(o))
		return removexattr(host_path(o, path), name) < 0 ? -errno : 0;
	if (!o->node)
		return -EOPNOTSUPP;
	pthread_rwlock_wrlock(&o->vfs->lock);
	r = memnode_permits(o->node, W_OK);
	p = find(o->node, name);
	if (r == 0 && !*p)
		r = -ENODATA;
	if (r == 0) {
		drop(o->node, p);
		memnode_touch(o->node, false);
	}
	pthread_rwlock_unlock(&o->vfs->lock);
	return r;
}

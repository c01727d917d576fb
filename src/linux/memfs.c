/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of a file system in memory: nodes, names, and what is done with names. An overlay is
 * the same tree in front of a host directory (overlay.c); files' contents are in memfs_data.c.
 */
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>

#include "linux/vfs_internal.h"

/* --- Nodes -------------------------------------------------------------------------------- */

struct memnode *memnode_new_locked(struct vfs_mount *m, mode_t mode)
{
	struct vfs *vfs = m->vfs;
	struct memnode *node;

	if (vfs->nodes >= VFS_MAX_NODES || !vfs_charge(vfs, VFS_NODE_COST))
		return NULL;
	node = calloc(1, sizeof(*node));
	if (!node) {
		vfs_uncharge(vfs, VFS_NODE_COST);
		return NULL;
	}
	vfs->nodes++;
	atomic_init(&node->refs, 1);
	node->mount = m;
	node->ino = ++vfs->next_ino;
	node->mode = mode;
	node->fd = -1;
	if (vfs->p) {
		node->uid = vfs->p->uid;
		node->gid = vfs->p->gid;
	}
	clock_gettime(CLOCK_REALTIME, &node->mtime);
	node->atime = node->ctime = node->mtime;
	return node;
}

void memnode_drop_xattrs_locked(struct memnode *node)
{
	struct memxattr *next;

	for (struct memxattr *x = node->xattrs; x; x = next) {
		next = x->next;
		free(x->value);
		free(x);
	}
	vfs_uncharge(node->mount->vfs, node->xattr_bytes);
	node->xattrs = NULL;
	node->xattr_bytes = 0;
}

static void node_free_locked(struct memnode *node)
{
	struct vfs *vfs = node->mount->vfs;

	if (S_ISDIR(node->mode))
		memtree_clear_locked(node);
	memdata_free_locked(node);
	memnode_drop_xattrs_locked(node);
	if (node->target)
		vfs_uncharge(vfs, strlen(node->target));
	free(node->buckets);
	free(node->target);
	free(node->lower);
	free(node);
	vfs->nodes--;
	vfs_uncharge(vfs, VFS_NODE_COST);
}

/*
 * The one count that is left is the name's: a mirror of the lower directory that holds nothing
 * need not be kept, nor directories that were there only for it.
 */
static void forget_locked(struct memnode *node)
{
	while (node && node->parent && atomic_load(&node->refs) == 1 &&
	       overlay_forgettable(node)) {
		struct memnode *parent = node->parent;

		memdir_remove_locked(node->self);
		node = parent;
	}
}

void memnode_put_locked(struct memnode *node)
{
	if (!node)
		return;
	switch (atomic_fetch_sub(&node->refs, 1)) {
	case 1:
		node_free_locked(node);
		break;
	case 2:
		forget_locked(node);
		break;
	default:
		break;
	}
}

void memnode_put(struct memnode *node)
{
	struct vfs *vfs;
	unsigned refs;

	if (!node)
		return;
	/* Without the lock while others certainly remain. */
	refs = atomic_load_explicit(&node->refs, memory_order_relaxed);
	while (refs > 2 || (refs == 2 && !node->lower)) {
		if (atomic_compare_exchange_weak(&node->refs, &refs, refs - 1))
			return;
	}
	vfs = node->mount->vfs;
	pthread_rwlock_wrlock(&vfs->lock);
	memnode_put_locked(node);
	pthread_rwlock_unlock(&vfs->lock);
}

void memnode_touch(struct memnode *node, bool contents)
{
	clock_gettime(CLOCK_REALTIME, &node->ctime);
	if (contents)
		node->mtime = node->ctime;
}

/* --- Names of a directory ----------------------------------------------------------------- */

/* FNV-1a, seeded, so that a guest cannot choose names that collide. */
static uint64_t name_hash(const struct vfs *vfs, const char *name)
{
	uint64_t h = vfs->seed;

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 0x100000001b3;
	return h ^ (h >> 29);
}

struct mementry *memdir_find(const struct memnode *dir, const char *name)
{
	uint64_t hash;

	if (!dir->nbuckets)
		return NULL;
	hash = name_hash(dir->mount->vfs, name);
	for (struct mementry *e = dir->buckets[hash & (dir->nbuckets - 1)]; e; e = e->hash_next)
		if (e->hash == hash && strcmp(e->name, name) == 0)
			return e;
	return NULL;
}

static int grow_buckets(struct memnode *dir)
{
	uint32_t n = dir->nbuckets ? dir->nbuckets * 2 : 8;
	struct mementry **buckets = calloc(n, sizeof(struct mementry *));

	if (!buckets)
		return -ENOMEM;
	for (struct mementry *e = dir->first; e; e = e->next) {
		e->hash_next = buckets[e->hash & (n - 1)];
		buckets[e->hash & (n - 1)] = e;
	}
	free(dir->buckets);
	dir->buckets = buckets;
	dir->nbuckets = n;
	return 0;
}

int memdir_add_locked(struct memnode *dir, const char *name, struct memnode *node)
{
	struct vfs *vfs = dir->mount->vfs;
	size_t len = strlen(name);
	struct mementry *e;

	if (dir->nentries >= dir->nbuckets && grow_buckets(dir) < 0)
		return -ENOSPC;
	if (!vfs_charge(vfs, VFS_NAME_COST + len))
		return -ENOSPC;
	e = calloc(1, sizeof(*e) + len + 1);
	if (!e) {
		vfs_uncharge(vfs, VFS_NAME_COST + len);
		return -ENOSPC;
	}
	memcpy(e->name, name, len);
	e->len = (uint8_t)len;
	e->hash = name_hash(vfs, name);
	e->hash_next = dir->buckets[e->hash & (dir->nbuckets - 1)];
	dir->buckets[e->hash & (dir->nbuckets - 1)] = e;
	e->prev = dir->last;
	if (dir->last)
		dir->last->next = e;
	else
		dir->first = e;
	dir->last = e;
	e->dir = dir;
	dir->nentries++;
	if (!node)
		return 0;
	dir->names++;
	e->node = memnode_get(node);
	node->parent = dir;
	node->self = e;
	if (S_ISDIR(node->mode)) {
		node->nlink = 2;
		dir->nlink++;
	} else {
		node->nlink++;
	}
	return 0;
}

void memdir_remove_locked(struct mementry *entry)
{
	struct memnode *dir = entry->dir, *node = entry->node;
	struct mementry **p = &dir->buckets[entry->hash & (dir->nbuckets - 1)];

	while (*p != entry)
		p = &(*p)->hash_next;
	*p = entry->hash_next;
	if (entry->prev)
		entry->prev->next = entry->next;
	else
		dir->first = entry->next;
	if (entry->next)
		entry->next->prev = entry->prev;
	else
		dir->last = entry->prev;
	dir->nentries--;
	vfs_uncharge(dir->mount->vfs, VFS_NAME_COST + (uint64_t)entry->len);
	free(entry);
	if (!node)
		return;
	dir->names--;
	if (node->self == entry) {
		node->parent = NULL;
		node->self = NULL;
	}
	if (S_ISDIR(node->mode)) {
		node->nlink = 0;
		dir->nlink--;
	} else {
		node->nlink--;
	}
	memnode_put_locked(node);
}

int memdir_lookup(struct memnode *dir, const char *name, struct memnode **out, bool *lower)
{
	struct vfs *vfs = dir->mount->vfs;
	const struct mementry *e;
	int r = -ENOENT;

	*lower = false;
	if (!S_ISDIR(dir->mode))
		return -ENOTDIR;
	pthread_rwlock_rdlock(&vfs->lock);
	e = memdir_find(dir, name);
	if (e && e->node) {
		*out = memnode_get(e->node);
		r = 0;
	} else if (!e) {
		*lower = dir->lower && !memdir_removed(dir);
	}
	pthread_rwlock_unlock(&vfs->lock);
	return r;
}

/* Depth first without recursion: a guest makes trees as deep as it likes. */
void memtree_clear_locked(struct memnode *root)
{
	struct memnode *dir = root;

	while (dir->last || dir != root) {
		struct mementry *e = dir->last;

		if (e && e->node && S_ISDIR(e->node->mode) && e->node->last) {
			dir = e->node;
		} else if (e) {
			/* Or its directory would be forgotten, and freed, with it. */
			memnode_get(dir);
			memdir_remove_locked(e);
			atomic_fetch_sub(&dir->refs, 1);
		} else {
			dir = dir->parent;
		}
	}
}

char *memdir_path(const struct memnode *dir, char *buf, size_t size)
{
	char *p = buf + size - 1;

	*p = '\0';
	while (dir != dir->mount->root) {
		const struct mementry *e = dir->self;

		if (!e || (size_t)(p - buf) < (size_t)e->len + 1)
			return NULL;
		p -= e->len;
		memcpy(p, e->name, e->len);
		*--p = '/';
		dir = dir->parent;
	}
	return p;
}

bool memdir_removed(const struct memnode *dir)
{
	return !dir->parent && dir != dir->mount->root;
}

/* --- Rights ------------------------------------------------------------------------------- */

int memnode_permits(const struct memnode *node, int want)
{
	const struct process *p = node->mount->vfs->p;
	mode_t bits = node->mode & 7;

	if (!p)
		return -EACCES;
	if (p->uid == 0) {
		/* As CAP_DAC_OVERRIDE has it. */
		if ((want & X_OK) && !S_ISDIR(node->mode) && !(node->mode & 0111))
			return -EACCES;
		return 0;
	}
	if (p->uid == node->uid)
		bits = (node->mode >> 6) & 7;
	else if (p->gid == node->gid)
		bits = (node->mode >> 3) & 7;
	return ((mode_t)want & ~bits & 7) ? -EACCES : 0;
}

int memdir_writable(const struct memnode *dir)
{
	if (!S_ISDIR(dir->mode))
		return -ENOTDIR;
	if (!dir->mount->writable)
		return -EROFS;
	if (memdir_removed(dir))
		return -ENOENT;
	return memnode_permits(dir, W_OK | X_OK);
}

int memnode_stat(struct memnode *node, struct stat *st)
{
	struct vfs *vfs = node->mount->vfs;

	memset(st, 0, sizeof(*st));
	if (node->lower) {
		_cleanup_close_ int fd =
			overlay_open_lower(node->mount, node->lower, "", O_PATH | O_NOFOLLOW);

		if (fd >= 0 && fstat(fd, st) == 0)
			vfs_map_stat(node->mount, st);
	}
	pthread_rwlock_rdlock(&vfs->lock);
	st->st_ino = node->ino;
	if (!node->lower || node->own_attributes || !st->st_mode) {
		st->st_mode = node->mode;
		st->st_uid = node->uid;
		st->st_gid = node->gid;
		st->st_atim = node->atime;
		st->st_mtim = node->mtime;
		st->st_ctim = node->ctime;
		st->st_blksize = 4096;
	}
	if (!node->lower) {
		st->st_nlink = node->nlink;
		st->st_rdev = node->rdev;
	}
	if (S_ISDIR(node->mode)) {
		st->st_size = 4096;
	} else if (S_ISLNK(node->mode)) {
		st->st_size = (off_t)strlen(node->target);
	} else if (S_ISREG(node->mode) && (!node->lower || node->own_data)) {
		memdata_stat(node, st);
		if (node->lower)
			st->st_nlink = node->nlink;
	}
	pthread_rwlock_unlock(&vfs->lock);
	return 0;
}

/* --- Making and removing names ------------------------------------------------------------ */

/* What is there, visible: 1 and *out (NULL: only the lower directory has it), or 0. */
static int present(struct memnode *dir, const char *name, struct mementry **out)
{
	struct mementry *e = memdir_find(dir, name);

	*out = e;
	if (e)
		return e->node != NULL;
	return overlay_lower_has(dir, name);
}

/* Give node the name, in place of a whiteout if there is one. */
static int put_name(struct memnode *dir, const char *name, struct memnode *node)
{
	struct mementry *old = memdir_find(dir, name);
	int r;

	if (old) /* of a whiteout; when adding fails it is put back, for which there is room */
		memdir_remove_locked(old);
	r = memdir_add_locked(dir, name, node);
	if (r < 0 && old)
		(void)memdir_add_locked(dir, name, NULL);
	if (r == 0)
		memnode_touch(dir, true);
	return r;
}

/* Take a name away, leaving a whiteout where the lower directory has one. */
static int drop_name(struct mementry *entry)
{
	struct memnode *dir = entry->dir;
	bool whiteout = overlay_lower_has(dir, entry->name);
	char name[VFS_NAME_MAX + 1];

	memcpy(name, entry->name, (size_t)entry->len + 1);
	memnode_get(dir);
	if (entry->node)
		memnode_touch(entry->node, false);
	memdir_remove_locked(entry);
	if (whiteout) {
		/* Charged less than what was just given back. */
		int r = memdir_add_locked(dir, name, NULL);

		if (r < 0) {
			memnode_put_locked(dir);
			return r;
		}
	}
	memnode_touch(dir, true);
	memnode_put_locked(dir);
	return 0;
}

static int make_locked(struct memnode *dir, const char *name, mode_t mode, const char *target,
		       struct memnode **out)
{
	struct vfs *vfs = dir->mount->vfs;
	struct memnode *node;
	struct mementry *e;
	int r;

	if (!S_ISDIR(dir->mode))
		return -ENOTDIR;
	if (present(dir, name, &e))
		return -EEXIST;
	if ((r = memdir_writable(dir)) < 0)
		return r;
	node = memnode_new_locked(dir->mount, mode);
	if (!node)
		return -ENOSPC;
	if (target) {
		size_t len = strlen(target);

		if (!vfs_charge(vfs, len)) {
			memnode_put_locked(node);
			return -ENOSPC;
		}
		node->target = strdup(target);
		if (!node->target) {
			vfs_uncharge(vfs, len);
			memnode_put_locked(node);
			return -ENOMEM;
		}
	}
	if (dir->mode & S_ISGID) {
		node->gid = dir->gid;
		if (S_ISDIR(mode))
			node->mode |= S_ISGID;
	}
	r = put_name(dir, name, node);
	if (r < 0 || !out)
		memnode_put_locked(node);
	else
		*out = node;
	return r;
}

int mem_make(struct memnode *dir, const char *name, mode_t mode, const char *target,
	     struct memnode **out)
{
	struct vfs *vfs = dir->mount->vfs;
	int r;

	pthread_rwlock_wrlock(&vfs->lock);
	r = make_locked(dir, name, mode, target, out);
	pthread_rwlock_unlock(&vfs->lock);
	return r;
}

/* The node that has a name, counted; a mirror is made where only the lower directory has it. */
static int node_of(struct memnode *dir, const char *name, struct memnode **out)
{
	struct mementry *e = memdir_find(dir, name);

	if (e && !e->node)
		return -ENOENT;
	if (e) {
		*out = memnode_get(e->node);
		return 0;
	}
	return overlay_mirror_locked(dir, name, out);
}

static int unlink_locked(struct memnode *dir, const char *name, bool directory, bool slash)
{
	struct memnode *node;
	int r = memdir_writable(dir);

	if (r < 0)
		return r;
	if ((r = node_of(dir, name, &node)) < 0)
		return r;
	if (directory && !S_ISDIR(node->mode))
		r = -ENOTDIR;
	else if (directory)
		r = overlay_empty_locked(node);
	else if (S_ISDIR(node->mode))
		r = -EISDIR;
	else if (slash)
		r = -ENOTDIR;
	/* The sticky bit: the guest is one user, who owns what is in memory. */
	if (r == 0) {
		/* A removed directory shows nothing more, its whiteouts least of all. */
		if (directory)
			memtree_clear_locked(node);
		r = drop_name(memdir_find(dir, name));
	}
	memnode_put_locked(node);
	return r;
}

int mem_unlink(struct memnode *dir, const char *name, bool directory, bool slash)
{
	struct vfs *vfs = dir->mount->vfs;
	int r;

	pthread_rwlock_wrlock(&vfs->lock);
	r = unlink_locked(dir, name, directory, slash);
	pthread_rwlock_unlock(&vfs->lock);
	return r;
}

int mem_link(struct memnode *node, struct memnode *dir, const char *name)
{
	struct vfs *vfs = dir->mount->vfs;
	struct mementry *e;
	int r;

	pthread_rwlock_wrlock(&vfs->lock);
	if (S_ISDIR(node->mode))
		r = -EPERM;
	else if (node->mount != dir->mount)
		r = -EXDEV;
	else if (!S_ISDIR(dir->mode))
		r = -ENOTDIR;
	else if (present(dir, name, &e))
		r = -EEXIST;
	else if ((r = memdir_writable(dir)) == 0) {
		if (node->nlink == 0 && !node->linkable)
			r = -ENOENT;
		else
			r = put_name(dir, name, node);
		if (r == 0) {
			/* With two names it is no longer the mirror of one of them. */
			node->moved = true;
			memnode_touch(node, false);
		}
	}
	pthread_rwlock_unlock(&vfs->lock);
	return r;
}

/* --- Renaming ----------------------------------------------------------------------------- */

static bool is_ancestor(const struct memnode *dir, const struct memnode *of)
{
	for (; of; of = of->parent)
		if (of == dir)
			return true;
	return false;
}

/* Whether `node` may take the place of `old`. */
static int may_replace(const struct memnode *node, const struct memnode *old)
{
	if (S_ISDIR(node->mode) && !S_ISDIR(old->mode))
		return -ENOTDIR;
	if (!S_ISDIR(node->mode) && S_ISDIR(old->mode))
		return -EISDIR;
	return S_ISDIR(old->mode) ? overlay_empty_locked(old) : 0;
}

static int exchange_names(struct mementry *a, struct mementry *b)
{
	struct memnode *x = a->node, *y = b->node;

	/* Counts stay: each keeps one name. */
	a->node = y;
	b->node = x;
	x->parent = b->dir;
	x->self = b;
	y->parent = a->dir;
	y->self = a;
	if (S_ISDIR(x->mode)) {
		a->dir->nlink--;
		b->dir->nlink++;
	}
	if (S_ISDIR(y->mode)) {
		b->dir->nlink--;
		a->dir->nlink++;
	}
	x->moved = y->moved = true;
	memnode_touch(x, false);
	memnode_touch(y, false);
	memnode_touch(a->dir, true);
	memnode_touch(b->dir, true);
	return 0;
}

/* Names are there, rights are checked: `old` (may be NULL) gives way to `node`. */
static int replace_name(const struct mem_name *from, const struct mem_name *to,
			struct memnode *node, struct memnode *old)
{
	struct mementry *e;
	int r;

	if (old) {
		if ((r = may_replace(node, old)) < 0)
			return r;
		if (S_ISDIR(old->mode))
			memtree_clear_locked(old);
		memnode_touch(old, false);
		memdir_remove_locked(memdir_find(to->dir, to->name));
	} else if ((e = memdir_find(to->dir, to->name))) {
		memdir_remove_locked(e); /* a whiteout */
	}
	/*
	 * A directory has one name only: first away from there, then here. The new name is put
	 * where one was freed just now, but may be longer: charge can fail, and then all is put
	 * back but what gave way.
	 */
	node->moved = true;
	r = drop_name(memdir_find(from->dir, from->name));
	if (r == 0)
		r = memdir_add_locked(to->dir, to->name, node);
	if (r < 0) {
		e = memdir_find(from->dir, from->name);
		if (e && !e->node)
			memdir_remove_locked(e);
		if (!memdir_find(from->dir, from->name))
			(void)memdir_add_locked(from->dir, from->name, node);
		return r;
	}
	memnode_touch(node, false);
	memnode_touch(to->dir, true);
	return 0;
}

static int rename_nodes(const struct mem_name *from, const struct mem_name *to, unsigned flags,
			struct memnode *node, struct memnode *old)
{
	if (S_ISDIR(node->mode) && is_ancestor(node, to->dir))
		return -EINVAL;
	if (old && S_ISDIR(old->mode) && is_ancestor(old, from->dir))
		return flags & RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
	if (old && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (!S_ISDIR(node->mode) && (from->slash || (to->slash && !(flags & RENAME_EXCHANGE))))
		return -ENOTDIR;
	if ((flags & RENAME_EXCHANGE) && old && to->slash && !S_ISDIR(old->mode))
		return -ENOTDIR;
	if (node == old)
		return 0;
	if (flags & RENAME_EXCHANGE)
		return old ? exchange_names(memdir_find(from->dir, from->name),
					    memdir_find(to->dir, to->name))
			   : -ENOENT;
	return replace_name(from, to, node, old);
}

int mem_rename(const struct mem_name *from, const struct mem_name *to, unsigned flags)
{
	struct vfs *vfs = from->dir->mount->vfs;
	struct memnode *node = NULL, *old = NULL;
	int r;

	if (from->dir->mount != to->dir->mount)
		return -EXDEV;
	pthread_rwlock_wrlock(&vfs->lock);
	if ((r = memdir_writable(from->dir)) == 0 && (r = memdir_writable(to->dir)) == 0 &&
	    (r = node_of(from->dir, from->name, &node)) == 0) {
		r = node_of(to->dir, to->name, &old);
		if (r == 0 || r == -ENOENT)
			r = rename_nodes(from, to, flags, node, old);
	}
	memnode_put_locked(old);
	memnode_put_locked(node);
	pthread_rwlock_unlock(&vfs->lock);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file systems in memory as bytes, and back. Each tree that is not as it was at first is
 * told by its mount; directories follow their own record, up to an end mark. Bytes that are
 * read are hostile: what is wrong in them is refused, and then the trees are empty.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/codec.h"
#include "linux/vfs_internal.h"

#define SAVE_MAGIC 0x3173667679616dull /* "mayvfs1" */
#define MAX_XATTRS 4096

/* What an entry of a directory is. */
enum { ENTRY_END, ENTRY_WHITEOUT, ENTRY_NODE, ENTRY_LINK };
enum { OWN_ATTRIBUTES = 1, OWN_DATA = 2, MOVED = 4, HAS_LOWER = 8 };

static bool is_saved(const struct vfs_mount *m)
{
	return m->root && m->writable && (m->kind == VFS_MEMORY || m->kind == VFS_OVERLAY);
}

static bool is_empty(const struct memnode *root)
{
	return !root->first && !root->own_attributes && !root->xattrs;
}

/* --- Saving ------------------------------------------------------------------------------- */

static void put_time(struct writer *w, const struct timespec *time)
{
	put_u64(w, (uint64_t)time->tv_sec);
	put_u64(w, (uint64_t)time->tv_nsec);
}

static bool has_contents(const struct memnode *node)
{
	return S_ISREG(node->mode) && (!node->lower || node->own_data);
}

static int put_contents(struct writer *w, struct memnode *node)
{
	uint8_t *bytes;
	uint64_t size;
	int r = memdata_read_locked(node, &bytes, &size);

	if (r < 0)
		return r;
	put_block(w, bytes, size);
	free(bytes);
	return 0;
}

/* `alone`: without the lower directory; it must have all its contents. */
static int put_node(struct writer *w, struct memnode *node, bool alone)
{
	struct stat st = {.st_atim = node->atime, .st_mtim = node->mtime};
	uint64_t xattrs = 0;

	if (has_contents(node))
		memdata_stat(node, &st);
	put_u64(w, node->mode);
	put_u64(w, node->uid);
	put_u64(w, node->gid);
	put_u64(w, node->ino);
	if (alone)
		put_u64(w, 0);
	else
		put_u64(w, (node->own_attributes ? OWN_ATTRIBUTES : 0) |
				   (node->own_data ? OWN_DATA : 0) | (node->moved ? MOVED : 0) |
				   (node->lower ? HAS_LOWER : 0));
	put_time(w, &st.st_atim);
	put_time(w, &st.st_mtim);
	put_time(w, &node->ctime);
	if (node->lower && !alone)
		put_string(w, node->lower);
	for (const struct memxattr *x = node->xattrs; x; x = x->next)
		xattrs++;
	put_u64(w, xattrs);
	for (const struct memxattr *x = node->xattrs; x; x = x->next) {
		put_string(w, x->name);
		put_block(w, x->value, x->len);
	}
	if (S_ISLNK(node->mode))
		put_string(w, node->target);
	return has_contents(node) ? put_contents(w, node) : 0;
}

/* Nodes with several names are told once; they have numbers, in the order of telling. */
static int put_entry(struct writer *w, struct mementry *e, uint64_t *ids)
{
	put_u64(w, !e->node ? ENTRY_WHITEOUT : e->node->mark ? ENTRY_LINK : ENTRY_NODE);
	put_string(w, e->name);
	if (!e->node)
		return 0;
	if (e->node->mark) {
		put_u64(w, e->node->mark);
		return 0;
	}
	e->node->mark = ++*ids;
	return put_node(w, e->node, false);
}

/* Devices in the lower directory cannot be opened; their nodes need not be told. */
static bool is_told(const struct mementry *e)
{
	return !e->node || (!S_ISCHR(e->node->mode) && !S_ISBLK(e->node->mode));
}

/* The next entry of a walk through the whole tree; *dir: where that is. Ends are `put`. */
static struct mementry *next_entry(struct writer *w, struct mementry *e,
				   const struct memnode *dir, const struct memnode *root)
{
	while (!e && dir != root) {
		if (w)
			put_u64(w, ENTRY_END);
		e = dir->self->next;
		dir = dir->parent;
	}
	return e;
}

static struct mementry *after(struct writer *w, struct mementry *e, const struct memnode *root)
{
	if (e->node && S_ISDIR(e->node->mode))
		return next_entry(w, e->node->first, e->node, root);
	return next_entry(w, e->next, e->dir, root);
}

static int put_tree(struct writer *w, const struct vfs_mount *m)
{
	struct memnode *root = m->root;
	struct mementry *e;
	uint64_t ids = 0;
	int r;

	for (e = root->first; e; e = after(NULL, e, root))
		if (e->node)
			e->node->mark = 0;
	put_string(w, m->guest);
	put_u64(w, m->kind);
	r = put_node(w, root, false);
	for (e = root->first; e && r == 0; e = after(w, e, root))
		if (is_told(e))
			r = put_entry(w, e, &ids);
	put_u64(w, ENTRY_END);
	return r;
}

int vfs_save(struct vfs *vfs, uint8_t **out, size_t *len, mayfly_error *err)
{
	char cwd[VFS_PATH_MAX];
	struct writer w = {0};
	uint64_t trees = 0;
	int r = 0;

	if (vfs_getcwd(vfs, cwd) < 0)
		return fail(err, MAYFLY_E_INVALID, "the guest's current directory was removed");
	put_u64(&w, SAVE_MAGIC);
	put_string(&w, cwd);
	put_u64(&w, vfs->p->umask);
	pthread_rwlock_wrlock(&vfs->lock);
	for (size_t i = 0; i < vfs->nmounts; i++)
		trees += is_saved(vfs->mounts[i]) && !is_empty(vfs->mounts[i]->root);
	put_u64(&w, trees);
	for (size_t i = 0; i < vfs->nmounts && r == 0; i++)
		if (is_saved(vfs->mounts[i]) && !is_empty(vfs->mounts[i]->root))
			r = put_tree(&w, vfs->mounts[i]);
	pthread_rwlock_unlock(&vfs->lock);
	if (r < 0 || w.failed) {
		free(w.data);
		return fail(err, MAYFLY_E_NOMEM, "no memory to save the guest's files");
	}
	*out = w.data;
	*len = w.len;
	return MAYFLY_OK;
}

bool vfs_is_unnamed(const struct file *file)
{
	const struct memnode *node = file->node;

	return node && S_ISREG(node->mode) && node->nlink == 0 &&
	       (!node->lower || node->own_data);
}

int vfs_save_unnamed(struct file *file, struct writer *w)
{
	struct memnode *node = file->node;
	int seals = fcntl(file->fd, F_GET_SEALS), r;

	pthread_rwlock_wrlock(&node->mount->vfs->lock);
	put_u64(w, node->linkable);
	put_u64(w, seals < 0 ? F_SEAL_SEAL : (uint64_t)seals);
	r = put_node(w, node, true);
	pthread_rwlock_unlock(&node->mount->vfs->lock);
	return r;
}

/* --- Loading ------------------------------------------------------------------------------ */

struct loading {
	struct reader r;
	struct vfs_mount *mount;
	struct memnode **ids; /* borrowed: of the tree */
	size_t nids, capacity;
	bool no_room; /* limit or memory, not the bytes' fault */
};

/* A string without NUL of 1 (or `min`) to size - 1 bytes. */
static bool get_text(struct reader *r, char *to, size_t size, size_t min)
{
	uint64_t len = get_u64(r);

	if (r->bad || len < min || len >= size) {
		r->bad = true;
		return false;
	}
	get_bytes(r, to, len);
	to[len] = '\0';
	if (!r->bad && strlen(to) != len)
		r->bad = true;
	return !r->bad;
}

static void get_time(struct reader *r, struct timespec *time)
{
	uint64_t sec = get_u64(r), nsec = get_u64(r);

	if (nsec >= 1000000000)
		r->bad = true;
	time->tv_sec = (time_t)sec;
	time->tv_nsec = r->bad ? 0 : (long)nsec;
}

static bool is_name(const char *name)
{
	return !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Beneath the lower directory: no slash at either end, no empty names, no dots. */
static bool is_lower(const char *path)
{
	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 0 || n > VFS_NAME_MAX || (n == 1 && path[0] == '.') ||
		    (n == 2 && path[0] == '.' && path[1] == '.') ||
		    (path[n] == '/' && !path[n + 1]))
			return false;
		path += path[n] ? n + 1 : n;
	}
	return true;
}

static bool get_xattrs(struct loading *l, struct memnode *node)
{
	uint64_t count = get_count(&l->r, MAX_XATTRS);
	size_t len;

	for (uint64_t i = 0; i < count && !l->r.bad; i++) {
		struct vfs_object o = {.vfs = l->mount->vfs, .mount = l->mount, .node = node};
		char name[VFS_NAME_MAX + 1];
		const uint8_t *value;
		int r;

		if (!get_text(&l->r, name, sizeof(name), 1) ||
		    !(value = get_block(&l->r, &len)))
			break;
		o.type = node->mode & S_IFMT;
		r = vfs_object_load_xattr_locked(&o, name, value, len);
		if (r == -ENOMEM)
			l->no_room = true;
		if (r < 0)
			l->r.bad = true;
	}
	return !l->r.bad;
}

static bool get_lower(struct loading *l, struct memnode *node)
{
	char path[VFS_PATH_MAX];

	if (l->mount->kind != VFS_OVERLAY || !get_text(&l->r, path, sizeof(path), 0) ||
	    !is_lower(path)) {
		l->r.bad = true;
		return false;
	}
	free(node->lower);
	node->lower = strdup(path);
	if (!node->lower)
		l->r.bad = l->no_room = true;
	return node->lower != NULL;
}

static bool get_target(struct loading *l, struct memnode *node)
{
	char target[VFS_PATH_MAX];

	if (!get_text(&l->r, target, sizeof(target), 1))
		return false;
	if (vfs_charge(l->mount->vfs, strlen(target))) {
		node->target = strdup(target);
		if (!node->target)
			vfs_uncharge(l->mount->vfs, strlen(target));
	}
	if (!node->target)
		l->r.bad = l->no_room = true;
	return node->target != NULL;
}

static bool get_contents(struct loading *l, struct memnode *node)
{
	size_t size;
	const uint8_t *bytes = get_block(&l->r, &size);

	if (!bytes)
		return false;
	if (memdata_set_locked(node, bytes, size) < 0)
		l->r.bad = l->no_room = true;
	return !l->r.bad;
}

/* Fill a fresh node whose type is in `mode`. */
static bool get_node(struct loading *l, struct memnode *node)
{
	struct timespec changed;
	uint64_t flags;

	node->uid = (uint32_t)get_u64(&l->r);
	node->gid = (uint32_t)get_u64(&l->r);
	node->ino = get_u64(&l->r);
	if (node->ino > l->mount->vfs->next_ino && node->ino < INT64_MAX / 2)
		l->mount->vfs->next_ino = node->ino;
	flags = get_u64(&l->r);
	get_time(&l->r, &node->atime);
	get_time(&l->r, &node->mtime);
	get_time(&l->r, &changed);
	if (l->r.bad || (flags & ~(uint64_t)(OWN_ATTRIBUTES | OWN_DATA | MOVED | HAS_LOWER)) ||
	    (!(flags & HAS_LOWER) && (flags & (OWN_ATTRIBUTES | OWN_DATA)))) {
		l->r.bad = true;
		return false;
	}
	node->own_attributes = flags & OWN_ATTRIBUTES;
	node->moved = flags & MOVED;
	if ((flags & HAS_LOWER) && !get_lower(l, node))
		return false;
	if ((flags & OWN_DATA) && (!S_ISREG(node->mode) || !node->own_attributes)) {
		l->r.bad = true;
		return false;
	}
	node->own_data = flags & OWN_DATA;
	if (!get_xattrs(l, node) || (S_ISLNK(node->mode) && !get_target(l, node)))
		return false;
	node->ctime = changed;
	return !has_contents(node) || get_contents(l, node);
}

static bool is_mode(uint64_t mode)
{
	mode_t m = (mode_t)mode;

	return !(mode & ~(uint64_t)(S_IFMT | 07777)) &&
	       (S_ISREG(m) || S_ISDIR(m) || S_ISLNK(m) || S_ISFIFO(m) || S_ISSOCK(m));
}

static bool remember(struct loading *l, struct memnode *node)
{
	if (l->nids == l->capacity) {
		size_t capacity = l->capacity ? l->capacity * 2 : 64;
		struct memnode **ids = reallocarray(l->ids, capacity, sizeof(struct memnode *));

		if (!ids) {
			l->r.bad = l->no_room = true;
			return false;
		}
		l->ids = ids;
		l->capacity = capacity;
	}
	l->ids[l->nids++] = node;
	return true;
}

/* A node that was told, under this name in dir; *into: a directory, whose entries come next. */
static void get_new(struct loading *l, struct memnode *dir, const char *name,
		    struct memnode **into)
{
	uint64_t mode = get_u64(&l->r);
	struct memnode *node;

	if (l->r.bad || !is_mode(mode)) {
		l->r.bad = true;
		return;
	}
	node = memnode_new_locked(l->mount, (mode_t)mode);
	if (!node || memdir_add_locked(dir, name, node) < 0) {
		l->r.bad = l->no_room = true;
		memnode_put_locked(node);
		return;
	}
	if (get_node(l, node) && remember(l, node) && S_ISDIR(node->mode))
		*into = node;
	/* The name's count keeps it. Not by memnode_put: a mirror would be forgotten. */
	atomic_fetch_sub(&node->refs, 1);
}

static void get_link(struct loading *l, struct memnode *dir, const char *name)
{
	uint64_t id = get_u64(&l->r);
	struct memnode *node;

	if (l->r.bad || id == 0 || id > l->nids || S_ISDIR(l->ids[id - 1]->mode)) {
		l->r.bad = true;
		return;
	}
	node = l->ids[id - 1];
	node->moved = true;
	if (memdir_add_locked(dir, name, node) < 0)
		l->r.bad = l->no_room = true;
}

/* One entry; gives the directory in which the next one is, NULL at the tree's end. */
static struct memnode *get_entry(struct loading *l, struct memnode *dir)
{
	uint64_t what = get_u64(&l->r);
	char name[VFS_NAME_MAX + 1];
	struct memnode *into = dir;

	if (l->r.bad)
		return NULL;
	if (what == ENTRY_END)
		return dir == l->mount->root ? NULL : dir->parent;
	if (what > ENTRY_LINK || !get_text(&l->r, name, sizeof(name), 1) || !is_name(name) ||
	    memdir_find(dir, name) || (what == ENTRY_WHITEOUT && !dir->lower)) {
		l->r.bad = true;
		return NULL;
	}
	if (what == ENTRY_NODE)
		get_new(l, dir, name, &into);
	else if (what == ENTRY_LINK)
		get_link(l, dir, name);
	else if (memdir_add_locked(dir, name, NULL) < 0)
		l->r.bad = l->no_room = true;
	return l->r.bad ? NULL : into;
}

static void get_tree(struct loading *l)
{
	struct memnode *root = l->mount->root, *dir = root;
	uint64_t mode = get_u64(&l->r);
	bool had_lower = root->lower != NULL;

	memtree_clear_locked(root);
	memnode_drop_xattrs_locked(root);
	l->nids = 0;
	if (!is_mode(mode) || !S_ISDIR((mode_t)mode))
		l->r.bad = true;
	if (l->r.bad)
		return;
	root->mode = (mode_t)mode;
	if (get_node(l, root)) {
		/* It shows the directory that is mounted. */
		if (had_lower != (root->lower != NULL) || (root->lower && root->lower[0]))
			l->r.bad = true;
	}
	while (dir && !l->r.bad)
		dir = get_entry(l, dir);
}

static struct vfs_mount *find_mount(struct vfs *vfs, const char *guest, uint64_t kind)
{
	for (size_t i = vfs->nmounts; i-- > 0;) {
		struct vfs_mount *m = vfs->mounts[i];

		if (is_saved(m) && (uint64_t)m->kind == kind && strcmp(m->guest, guest) == 0)
			return m;
	}
	return NULL;
}

/* After a failure nothing half is left, and an overlay shows what is mounted. */
static void clear_all(struct vfs *vfs)
{
	for (size_t i = 0; i < vfs->nmounts; i++) {
		struct vfs_mount *m = vfs->mounts[i];

		if (!is_saved(m))
			continue;
		memtree_clear_locked(m->root);
		memnode_drop_xattrs_locked(m->root);
		if (m->root->lower)
			m->root->lower[0] = '\0';
		m->root->own_attributes = false;
	}
}

static int load_trees(struct vfs *vfs, struct loading *l, mayfly_error *err)
{
	uint64_t trees = get_u64(&l->r), kind;
	char guest[VFS_PATH_MAX], shown[VFS_PATH_MAX];

	if (trees > vfs->nmounts && !l->r.bad)
		return fail(err, MAYFLY_E_INVALID,
			    "the snapshot has files of %llu mounts; grant the same as it had",
			    (unsigned long long)trees);
	for (uint64_t i = 0; i < trees && !l->r.bad; i++) {
		get_text(&l->r, guest, sizeof(guest), 0);
		kind = get_u64(&l->r);
		if (l->r.bad)
			break;
		l->mount = find_mount(vfs, guest, kind);
		if (!l->mount)
			return fail(
				err, MAYFLY_E_INVALID,
				"%s: the snapshot has changes of it; grant it as it was",
				error_printable(shown, sizeof(shown), guest, strlen(guest)));
		get_tree(l);
	}
	if (l->no_room)
		return fail(err, MAYFLY_E_NOMEM,
			    "no room for the files of the snapshot: give more memory");
	if (l->r.bad || l->r.left)
		return fail(err, MAYFLY_E_FORMAT, "the files of the snapshot are damaged");
	return MAYFLY_OK;
}

int vfs_load(struct vfs *vfs, const uint8_t *data, size_t len, mayfly_error *err)
{
	struct loading l = {.r = {.data = data, .left = len}};
	char cwd[VFS_PATH_MAX], shown[VFS_PATH_MAX];
	uint64_t magic = get_u64(&l.r), umask;
	int r;

	get_text(&l.r, cwd, sizeof(cwd), 1);
	umask = get_u64(&l.r);
	if (l.r.bad || magic != SAVE_MAGIC || umask > 0777 || cwd[0] != '/')
		return fail(err, MAYFLY_E_FORMAT, "the files of the snapshot are damaged");
	pthread_rwlock_wrlock(&vfs->lock);
	clear_all(vfs);
	r = load_trees(vfs, &l, err);
	if (r < 0)
		clear_all(vfs);
	pthread_rwlock_unlock(&vfs->lock);
	free(l.ids);
	if (r < 0)
		return r;
	vfs->p->umask = (mode_t)umask;
	r = vfs_chdir(vfs, cwd);
	if (r < 0)
		return fail_errno(err, MAYFLY_E_INVALID, -r,
				  "%s: the program's current directory is not there: grant it",
				  error_printable(shown, sizeof(shown), cwd, strlen(cwd)));
	return MAYFLY_OK;
}

/* "/memfd:NAME (deleted)": memfd_create(2)'s NAME, or NULL. */
static char *memfd_name(const char *path)
{
	static const char before[] = "/memfd:", behind[] = " (deleted)";
	size_t len = strlen(path), ends = sizeof(before) + sizeof(behind) - 2;

	if (len < ends || strncmp(path, before, sizeof(before) - 1) != 0 ||
	    strcmp(path + len - (sizeof(behind) - 1), behind) != 0)
		return NULL;
	return strndup(path + sizeof(before) - 1, len - ends);
}

/* Its contents, and what kind it is. */
static struct memnode *get_unnamed(struct loading *l, const char *path)
{
	bool linkable = get_count(&l->r, 1);
	int seals = (int)get_count(&l->r, INT32_MAX);
	_cleanup_free_ char *name = memfd_name(path);
	uint64_t mode = get_u64(&l->r);
	struct memnode *node;

	if (l->r.bad || !is_mode(mode) || !S_ISREG((mode_t)mode)) {
		l->r.bad = true;
		return NULL;
	}
	node = memnode_new_locked(l->mount, (mode_t)mode);
	if (!node) {
		l->no_room = true;
		return NULL;
	}
	node->linkable = linkable;
	/* What kind of failure it is does not matter: no name, or seals, that cannot be. */
	if (get_node(l, node) && name && memdata_to_memfd_locked(node, name, seals) < 0)
		l->r.bad = true;
	if (!l->r.bad)
		return node;
	memnode_put_locked(node);
	return NULL;
}

int vfs_load_unnamed(struct vfs *vfs, struct reader *r, int flags, const char *path,
		     struct file **out)
{
	struct loading l = {.r = *r, .mount = vfs_memory(vfs)};
	struct memnode *node;

	if (!l.mount)
		return -ENOSYS;
	pthread_rwlock_wrlock(&vfs->lock);
	node = get_unnamed(&l, path);
	pthread_rwlock_unlock(&vfs->lock);
	*r = l.r;
	if (l.no_room)
		return -ENOSPC;
	return node ? vfs_open_unnamed(node, flags, path, out) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The table of mounts, and what belongs to no part of the file system in particular. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "linux/vfs_internal.h"

/* Numbers of nodes in memory are apart from those of host files, for the sake of overlays. */
#define FIRST_INO ((uint64_t)1 << 40)
/* Minors of the unnamed devices (major 0) that mounts pretend to be. */
#define FIRST_MINOR 32

/* --- Life --------------------------------------------------------------------------------- */

struct vfs *vfs_ref(struct vfs *vfs)
{
	atomic_fetch_add_explicit(&vfs->refs, 1, memory_order_relaxed);
	return vfs;
}

static void mount_free(struct vfs_mount *m)
{
	if (m->root_fd >= 0)
		close(m->root_fd);
	free(m->guest);
	free(m);
}

void vfs_unref(struct vfs *vfs)
{
	if (!vfs || atomic_fetch_sub(&vfs->refs, 1) != 1)
		return;
	for (size_t i = 0; i < vfs->nmounts; i++)
		mount_free(vfs->mounts[i]);
	free(vfs->mounts);
	pthread_rwlock_destroy(&vfs->lock);
	pthread_mutex_destroy(&vfs->cwd_lock);
	free(vfs);
}

/* Files that are still open keep what they need of it. */
void vfs_free(struct vfs *vfs)
{
	if (!vfs)
		return;
	file_put(take_ptr(vfs->cwd));
	pthread_rwlock_wrlock(&vfs->lock);
	for (size_t i = 0; i < vfs->nmounts; i++) {
		struct vfs_mount *m = vfs->mounts[i];

		if (!m->root)
			continue;
		memtree_clear_locked(m->root);
		memnode_put_locked(take_ptr(m->root));
	}
	vfs->p = NULL;
	pthread_rwlock_unlock(&vfs->lock);
	vfs_unref(vfs);
}

void vfs_uuid(char out[37])
{
	uint8_t b[16];

	random_bytes(b, sizeof(b));
	b[6] = (b[6] & 0x0f) | 0x40; /* RFC 4122: version 4 */
	b[8] = (b[8] & 0x3f) | 0x80;
	snprintf(out, 37,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
		 b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
		 b[13], b[14], b[15]);
}

static int mount_basics(struct vfs *vfs, mayfly_error *err)
{
	static const struct {
		enum vfs_mount_kind kind;
		const char *guest;
		bool writable;
	} basics[] = {
		{VFS_MEMORY, "/", false},	{VFS_DEV, "/dev", false},
		{VFS_PROC, "/proc", false},	{VFS_MEMORY, "/tmp", true},
		{VFS_MEMORY, "/dev/shm", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(basics); i++) {
		int r = vfs_mount(vfs, basics[i].kind, NULL, basics[i].guest,
				  basics[i].writable, err);
		if (r < 0)
			return r;
	}
	return MAYFLY_OK;
}

int vfs_new(struct process *p, struct vfs **out, mayfly_error *err)
{
	struct vfs *vfs = calloc(1, sizeof(*vfs));
	int r;

	if (!vfs)
		return fail(err, MAYFLY_E_NOMEM, "no memory for the guest's file system");
	atomic_init(&vfs->refs, 1);
	vfs->p = p;
	pthread_rwlock_init(&vfs->lock, NULL);
	pthread_mutex_init(&vfs->cwd_lock, NULL);
	vfs->host_uid = geteuid();
	vfs->host_gid = getegid();
	vfs->next_ino = FIRST_INO;
	random_bytes(&vfs->seed, sizeof(vfs->seed));
	vfs_uuid(vfs->boot_id);
	r = mount_basics(vfs, err);
	if (r < 0) {
		vfs_free(vfs);
		return r;
	}
	*out = vfs;
	return MAYFLY_OK;
}

/* --- Mounting ----------------------------------------------------------------------------- */

static int mount_error(mayfly_error *err, int e, const char *path)
{
	return fail_errno(err, e == -ENOMEM || e == -ENOSPC ? MAYFLY_E_NOMEM : MAYFLY_E_IO, -e,
			  "%s: cannot be mounted in the guest", path);
}

/* Open what is granted: O_PATH, once and for all. */
static int open_root(struct vfs_mount *m, const char *host, mayfly_error *err)
{
	struct stat st;

	m->root_fd = open(host, O_PATH | O_CLOEXEC);
	if (m->root_fd < 0 || fstat(m->root_fd, &st) < 0)
		return fail_errno(err, MAYFLY_E_IO, errno, "%s", host);
	m->host_dev = st.st_dev;
	m->is_file = !S_ISDIR(st.st_mode);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		return fail(err, MAYFLY_E_INVALID, "%s: is a device; devices are not granted",
			    host);
	if (m->is_file && m->kind == VFS_OVERLAY)
		return fail(err, MAYFLY_E_INVALID,
			    "%s: is no directory, so nothing can be laid over it", host);
	return MAYFLY_OK;
}

/* What is mounted, wherever that is. */
struct source {
	enum vfs_mount_kind kind;
	const char *host;
	const char *text; /* MEMORY: of a file, which it then is */
	bool writable;
};

/* A mount that is a file, in memory. */
static int new_file(struct vfs_mount *m, const char *text)
{
	struct vfs *vfs = m->vfs;
	int r = -ENOMEM;

	m->is_file = true;
	pthread_rwlock_wrlock(&vfs->lock);
	m->root = memnode_new_locked(m, S_IFREG | 0644);
	if (m->root) {
		m->root->nlink = 1;
		r = memdata_set_locked(m->root, (const uint8_t *)text, strlen(text));
	}
	pthread_rwlock_unlock(&vfs->lock);
	return r;
}

static int new_root(struct vfs_mount *m)
{
	struct vfs *vfs = m->vfs;
	struct memnode *root;
	struct stat st;

	pthread_rwlock_wrlock(&vfs->lock);
	root = memnode_new_locked(m, S_IFDIR | (m->writable ? 01777 : 0755));
	pthread_rwlock_unlock(&vfs->lock);
	if (!root)
		return -ENOMEM;
	root->nlink = 2;
	m->root = root;
	if (m->kind == VFS_OVERLAY) {
		root->lower = strdup("");
		if (!root->lower || fstat(m->root_fd, &st) < 0)
			return -ENOMEM;
		root->ino = st.st_ino;
		root->mode = st.st_mode & (S_IFMT | 07777);
	}
	return m->kind == VFS_DEV ? dev_populate(m) : 0;
}

static struct vfs_mount *mount_alloc(struct vfs *vfs, enum vfs_mount_kind kind,
				     const char *guest, bool writable)
{
	struct vfs_mount *m, **mounts;

	if (vfs->nmounts >= VFS_MAX_MOUNTS)
		return NULL;
	mounts = realloc(vfs->mounts, (vfs->nmounts + 1) * sizeof(struct vfs_mount *));
	if (!mounts)
		return NULL;
	vfs->mounts = mounts;
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->guest = strdup(guest);
	if (!m->guest) {
		free(m);
		return NULL;
	}
	m->vfs = vfs;
	m->guest_len = strlen(guest);
	m->root_fd = -1;
	m->kind = kind;
	m->writable = writable;
	m->id = (unsigned)vfs->nmounts + 1;
	m->dev = makedev(0, FIRST_MINOR + (unsigned)vfs->nmounts);
	return m;
}

static void mount_attach(struct vfs *vfs, struct vfs_mount *m, struct vfs_mount *parent)
{
	vfs->mounts[vfs->nmounts++] = m;
	if (parent) {
		m->parent = parent;
		m->next = parent->children;
		parent->children = m;
		return;
	}
	/* A new root takes over what is mounted on the old one. */
	if (vfs->root) {
		m->children = take_ptr(vfs->root->children);
		for (struct vfs_mount *c = m->children; c; c = c->next)
			c->parent = m;
	}
	vfs->root = m;
}

/* `guest`: canonical, without a slash at the end; its directory is in `parent`. */
static int mount_at(struct vfs *vfs, struct vfs_mount *parent, const struct source *from,
		    const char *guest, mayfly_error *err)
{
	struct vfs_mount *m = mount_alloc(vfs, from->kind, guest, from->writable);
	int r = MAYFLY_OK;

	if (!m)
		return fail(err, MAYFLY_E_NOMEM, "%s: too many mounts, or no memory", guest);
	if (from->kind == VFS_HOST || from->kind == VFS_OVERLAY)
		r = open_root(m, from->host, err);
	if (r == MAYFLY_OK && from->kind != VFS_HOST && from->kind != VFS_PROC) {
		r = from->text ? new_file(m, from->text) : new_root(m);
		if (r < 0)
			r = mount_error(err, r, guest);
	}
	if (r < 0) {
		memnode_put(m->root);
		mount_free(m);
		return r;
	}
	mount_attach(vfs, m, parent);
	return MAYFLY_OK;
}

/* Where mounting has come to: a directory of the guest. */
struct place {
	struct vfs_mount *mount;
	struct memnode *node; /* counted */
	char path[VFS_PATH_MAX];
	bool is_directory;
};

static int look(struct walk *w, void *context)
{
	struct place *at = context;
	struct stat st;
	int fd;

	at->is_directory = true;
	if (walk_on_host(w)) {
		fd = walk_open(w, O_PATH | O_NOFOLLOW);
		if (fd < 0)
			return fd;
		if (fstat(fd, &st) < 0)
			st.st_mode = 0;
		close(fd);
		if (S_ISLNK(st.st_mode))
			return -ELOOP;
		at->is_directory = S_ISDIR(st.st_mode);
	} else if (w->node) {
		at->is_directory = S_ISDIR(w->node->mode);
	}
	memnode_put(at->node);
	at->node = w->node && w->len == w->base ? memnode_get(w->node) : NULL;
	at->mount = w->mount;
	memcpy(at->path, w->path, w->len + 1);
	return 0;
}

/* Make a directory or link in memory that is not the guest's to write. */
static int force_make(struct memnode *dir, const char *name, mode_t mode, const char *target)
{
	bool writable = dir->mount->writable;
	int r;

	dir->mount->writable = true;
	r = mem_make(dir, name, mode, target, NULL);
	dir->mount->writable = writable;
	return r;
}

/* A directory of that name in the place, and go there. */
static int make_directory(struct vfs *vfs, struct place *at, const char *name,
			  mayfly_error *err)
{
	const struct source nothing = {.kind = VFS_MEMORY};
	char path[VFS_PATH_MAX];
	int r;

	if (snprintf(path, sizeof(path), "%s/%s", at->path, name) >= (int)sizeof(path))
		return mount_error(err, -ENAMETOOLONG, at->path);
	if (at->mount->kind == VFS_OVERLAY && !at->node) {
		struct place here = *at;

		r = overlay_materialize(at->mount->root, at->path + at->mount->guest_len + 1,
					&at->node);
		if (r < 0)
			return mount_error(err, r, here.path);
	}
	if (at->node && at->mount->kind != VFS_DEV) {
		r = force_make(at->node, name, S_IFDIR | 0755, NULL);
		if (r < 0)
			return mount_error(err, r, path);
	} else {
		/* The host is not changed: an empty directory hides that none is there. */
		r = mount_at(vfs, at->mount, &nothing, path, err);
		if (r < 0)
			return r;
	}
	r = walk_do(vfs, NULL, path, WALK_FOLLOW, look, at);
	return r < 0 ? mount_error(err, r, path) : MAYFLY_OK;
}

/* The directory in which guest's last name is, made as needed; *last: that name, in guest. */
static int find_place(struct vfs *vfs, char *guest, struct place *at, char **last,
		      mayfly_error *err)
{
	char path[VFS_PATH_MAX], *save, *name, *next;
	int r = walk_do(vfs, NULL, "/", WALK_FOLLOW, look, at);

	for (name = strtok_r(guest, "/", &save); r == 0; name = next) {
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
		    strlen(name) > VFS_NAME_MAX)
			return fail(err, MAYFLY_E_INVALID, "%s: no name for a mount", name);
		next = strtok_r(NULL, "/", &save);
		if (!next) {
			*last = name;
			return MAYFLY_OK;
		}
		if (snprintf(path, sizeof(path), "%s/%s", at->path, name) >= (int)sizeof(path))
			return mount_error(err, -ENAMETOOLONG, at->path);
		r = walk_do(vfs, NULL, path, WALK_FOLLOW, look, at);
		if (r == -ENOENT)
			r = make_directory(vfs, at, name, err);
		else if (r < 0)
			r = mount_error(err, r, path);
		else if (!at->is_directory)
			r = mount_error(err, -ENOTDIR, path);
	}
	return r;
}

/*
 * A link of the host that leads, in the guest too, to something that is mounted: /bin of hosts
 * with a merged /usr. true: it was made.
 */
static bool make_link(struct vfs *vfs, struct place *at, const char *host, const char *last,
		      const char *guest)
{
	char target[VFS_PATH_MAX];
	struct stat st;
	ssize_t n;

	if (!at->node || at->mount->kind != VFS_MEMORY || strcmp(host, guest) != 0)
		return false;
	n = readlink(host, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = '\0';
	if (force_make(at->node, last, S_IFLNK | 0777, target) < 0)
		return false;
	if (vfs_stat(vfs, NULL, guest, 0, &st) == 0)
		return true;
	pthread_rwlock_wrlock(&vfs->lock);
	memdir_remove_locked(memdir_find(at->node, last));
	pthread_rwlock_unlock(&vfs->lock);
	return false;
}

static int mount_in(struct vfs *vfs, struct place *at, const struct source *from,
		    const char *last, mayfly_error *err)
{
	struct place there = {0};
	char path[VFS_PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", at->path, last) >= (int)sizeof(path))
		return mount_error(err, -ENAMETOOLONG, at->path);
	if (from->host && make_link(vfs, at, from->host, last, path))
		return MAYFLY_OK;
	/* On a link: on what it leads to. */
	if (walk_do(vfs, NULL, path, WALK_FOLLOW, look, &there) == 0 && there.path[0] &&
	    strcmp(there.path, path) != 0) {
		struct vfs_mount *m = there.mount;

		memcpy(path, there.path, strlen(there.path) + 1);
		at->mount = strcmp(m->guest, path) == 0 ? m->parent : m;
	}
	memnode_put(there.node);
	return mount_at(vfs, at->mount, from, path, err);
}

static int mount_source(struct vfs *vfs, const struct source *from, const char *guest,
			mayfly_error *err)
{
	_cleanup_free_ char *copy = strdup(guest);
	struct place at = {0};
	char *last = NULL;
	int r;

	if (!copy)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a mount");
	if (guest[0] != '/' || strlen(guest) >= VFS_PATH_MAX)
		return fail(err, MAYFLY_E_INVALID,
			    "%s: where it is mounted must be an absolute path", guest);
	if (guest[strspn(guest, "/")] == '\0')
		return mount_at(vfs, NULL, from, "", err);
	r = find_place(vfs, copy, &at, &last, err);
	if (r == MAYFLY_OK)
		r = mount_in(vfs, &at, from, last, err);
	memnode_put(at.node);
	return r;
}

int vfs_mount(struct vfs *vfs, enum vfs_mount_kind kind, const char *host, const char *guest,
	      bool writable, mayfly_error *err)
{
	const struct source from = {.kind = kind, .host = host, .writable = writable};

	return mount_source(vfs, &from, guest, err);
}

int vfs_mount_text(struct vfs *vfs, const char *text, const char *guest, mayfly_error *err)
{
	const struct source from = {.kind = VFS_MEMORY, .text = text};

	return mount_source(vfs, &from, guest, err);
}

/* --- Files -------------------------------------------------------------------------------- */

struct file *vfs_file_new(struct vfs_mount *m, enum file_kind kind, int fd, int flags,
			  const char *path, struct memnode *node)
{
	struct directory *dir = calloc(1, sizeof(*dir));
	struct file *file;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		memnode_put(node);
		return NULL;
	}
	file = file_new(kind, fd, flags, path);
	if (!file) {
		free(dir);
		memnode_put(node);
		return NULL;
	}
	dir->vfs = vfs_ref(m->vfs);
	dir->mount = m;
	pthread_mutex_init(&dir->lock, NULL);
	file->dir = dir;
	file->node = node;
	file->release = vfs_file_release;
	return file;
}

void vfs_file_release(struct file *file)
{
	struct directory *dir = take_ptr(file->dir);
	struct memnode *node = take_ptr(file->node);

	if (!dir)
		return;
	if (node && dir->counted)
		memdata_closed(node, file->flags);
	memnode_put(node);
	vfs_list_free(dir->vfs, dir->list);
	pthread_mutex_destroy(&dir->lock);
	vfs_unref(dir->vfs);
	free(dir);
}

bool vfs_is_in_memory(const struct file *file)
{
	return file->node && file->dir && file->dir->counted;
}

int vfs_will_grow(struct file *file, uint64_t end)
{
	if (!file->node || !S_ISREG(file->node->mode))
		return 0;
	return memdata_reserve(file->node, end);
}

/* --- The current directory ---------------------------------------------------------------- */

int vfs_fchdir(struct vfs *vfs, struct file *file)
{
	struct vfs_object o;
	struct file *old;
	int r = vfs_object_of(vfs, file, 0, &o);

	if (r == 0 && (!file->dir || !S_ISDIR(o.type)))
		r = -ENOTDIR;
	if (r == 0)
		r = vfs_object_access(&o, X_OK);
	vfs_object_fini(&o);
	if (r < 0)
		return r;
	pthread_mutex_lock(&vfs->cwd_lock);
	old = vfs->cwd;
	vfs->cwd = file_get(file);
	pthread_mutex_unlock(&vfs->cwd_lock);
	file_put(old);
	return 0;
}

int vfs_chdir(struct vfs *vfs, const char *path)
{
	struct file *file;
	int r = vfs_open(vfs, NULL, path, O_PATH | O_DIRECTORY, 0, &file);

	if (r < 0)
		return r;
	r = vfs_fchdir(vfs, file);
	file_put(file);
	return r;
}

ssize_t vfs_getcwd(struct vfs *vfs, char path[VFS_PATH_MAX])
{
	struct file *cwd;
	ssize_t n = 0;

	pthread_mutex_lock(&vfs->cwd_lock);
	cwd = vfs->cwd ? file_get(vfs->cwd) : NULL;
	pthread_mutex_unlock(&vfs->cwd_lock);
	path[0] = '\0';
	if (cwd)
		n = directory_path(cwd, path);
	file_put(cwd);
	if (n == 0) {
		path[n++] = '/';
		path[n] = '\0';
	}
	return n;
}

/* --- For Unix sockets --------------------------------------------------------------------- */

struct parent {
	int *fd;
	char *name;
};

static int parent_here(struct walk *w, void *context)
{
	const struct parent *out = context;
	int fd;

	if (!w->named || w->slash)
		return -EISDIR;
	if (w->node && w->mount->kind != VFS_DEV)
		return -EOPNOTSUPP;
	if (w->mount->kind != VFS_HOST || !w->mount->writable)
		return -EACCES;
	fd = walk_open(w, O_PATH | O_DIRECTORY);
	if (fd < 0)
		return fd;
	*out->fd = fd;
	memcpy(out->name, w->last, strlen(w->last) + 1);
	return 0;
}

int vfs_parent(struct vfs *vfs, const char *path, int *dir_fd, char name[VFS_NAME_MAX + 1])
{
	struct parent out = {dir_fd, name};

	return walk_do(vfs, NULL, path, WALK_PARENT, parent_here, &out);
}

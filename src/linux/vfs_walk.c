/* SPDX-License-Identifier: Apache-2.0 */
/* From paths to places: see vfs_internal.h. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "linux/vfs_internal.h"

/* --- Standing somewhere ------------------------------------------------------------------- */

static void let_go(struct walk *w)
{
	memnode_put(take_ptr(w->node));
	file_put(take_ptr(w->holder));
}

void walk_fini(struct walk *w)
{
	let_go(w);
	file_put(take_ptr(w->magic));
}

static void stand_on_mount(struct walk *w, struct vfs_mount *m)
{
	let_go(w);
	w->mount = m;
	memcpy(w->path, m->guest, m->guest_len + 1);
	w->len = w->base = m->guest_len;
	if (m->root)
		w->node = memnode_get(m->root);
}

static int stand_on_path(struct walk *w, const char *path)
{
	size_t len = strlen(path);

	if (len == 1) /* "/" is "" here */
		len = 0;
	if (len >= sizeof(w->path))
		return -ENAMETOOLONG;
	memmove(w->path, path, len);
	w->path[len] = '\0';
	w->len = len;
	return 0;
}

/* At an open directory. */
static int stand_on_file(struct walk *w, struct file *file)
{
	struct vfs_mount *m = file->dir ? file->dir->mount : NULL;
	char path[VFS_PATH_MAX];
	int r;

	if (!m)
		return -ENOTDIR;
	let_go(w);
	w->mount = m;
	if (file->node) {
		if (!S_ISDIR(file->node->mode))
			return -ENOTDIR;
		w->node = memnode_get(file->node);
		/* Of a removed directory: that is where it was. Nothing is found in it. */
		r = stand_on_path(w, directory_path(file, path) >= 0 ? path : file->path);
	} else {
		if (m->kind == VFS_HOST)
			w->holder = file_get(file);
		/* Mounts are found by path; else a path that has become wrong does no harm. */
		r = stand_on_path(
			w, m->children && directory_path(file, path) >= 0 ? path : file->path);
	}
	w->base = m->kind == VFS_PROC ? m->guest_len : w->len;
	return r;
}

static int stand_at_start(struct walk *w)
{
	struct vfs *vfs = w->vfs;
	struct file *cwd;
	int r;

	if (w->dir)
		return stand_on_file(w, w->dir);
	pthread_mutex_lock(&vfs->cwd_lock);
	cwd = vfs->cwd ? file_get(vfs->cwd) : NULL;
	pthread_mutex_unlock(&vfs->cwd_lock);
	if (!cwd) {
		stand_on_mount(w, vfs->root);
		return 0;
	}
	r = stand_on_file(w, cwd);
	file_put(cwd);
	return r;
}

static int stand_on_root(struct walk *w)
{
	if (w->flags & WALK_BENEATH)
		return -EXDEV;
	if (w->flags & WALK_IN_ROOT)
		return stand_at_start(w);
	stand_on_mount(w, w->vfs->root);
	return 0;
}

int walk_start(struct walk *w, struct vfs *vfs, struct file *dir, const char *path,
	       unsigned flags)
{
	size_t len = strlen(path);
	int r = 0;

	w->vfs = vfs;
	w->flags = flags;
	w->dir = dir;
	w->mount = NULL;
	w->node = NULL;
	w->holder = w->magic = NULL;
	w->links = 0;
	w->rest_at = 0;
	w->len = w->base = w->top = 0;
	w->path[0] = '\0';
	if (len == 0)
		return -ENOENT;
	if (len >= VFS_PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(w->rest, path, len + 1);
	if (path[0] != '/' || (flags & (WALK_BENEATH | WALK_IN_ROOT))) {
		r = stand_at_start(w);
		w->top = w->len;
		if (r == 0 && path[0] == '/' && (flags & WALK_BENEATH))
			r = -EXDEV;
	} else {
		stand_on_mount(w, vfs->root);
	}
	return r;
}

static int append(struct walk *w, const char *name, size_t len)
{
	if (w->len + 1 + len >= sizeof(w->path))
		return -ENAMETOOLONG;
	w->path[w->len] = '/';
	memcpy(w->path + w->len + 1, name, len);
	w->len += 1 + len;
	w->path[w->len] = '\0';
	return 0;
}

static void pop(struct walk *w)
{
	while (w->len > 0 && w->path[w->len - 1] != '/')
		w->len--;
	if (w->len > 0)
		w->len--;
	w->path[w->len] = '\0';
}

const char *walk_path(const struct walk *w)
{
	return w->len ? w->path : "/";
}

/* --- Mounts ------------------------------------------------------------------------------- */

struct vfs_mount *mount_on(const struct vfs_mount *m, const char *path, size_t len,
			   const char *name)
{
	size_t name_len = strlen(name);

	for (struct vfs_mount *c = m->children; c; c = c->next) {
		if (c->guest_len == len + 1 + name_len && c->guest[len] == '/' &&
		    memcmp(c->guest, path, len) == 0 &&
		    memcmp(c->guest + len + 1, name, name_len) == 0)
			return c;
	}
	return NULL;
}

bool mount_beneath(const struct vfs_mount *m, const char *path, size_t len, const char *name)
{
	size_t name_len = strlen(name), all = len + 1 + name_len;

	for (struct vfs_mount *c = m->children; c; c = c->next) {
		if (c->guest_len >= all && c->guest[len] == '/' &&
		    memcmp(c->guest, path, len) == 0 &&
		    memcmp(c->guest + len + 1, name, name_len) == 0 &&
		    (c->guest[all] == '/' || c->guest[all] == '\0'))
			return true;
	}
	return false;
}

/* --- The host's side ---------------------------------------------------------------------- */

int walk_host(const struct walk *w, size_t len, int *dir, char path[VFS_PATH_MAX])
{
	const char *tail = len > w->base ? w->path + w->base + 1 : "";
	size_t n = len > w->base ? len - w->base - 1 : 0;
	size_t prefix = 0;

	*dir = w->holder ? w->holder->fd : w->mount->root_fd;
	if (w->mount->kind == VFS_OVERLAY) {
		if (!w->node->lower)
			return -ENOENT;
		prefix = strlen(w->node->lower);
		if (prefix + 1 + n >= VFS_PATH_MAX)
			return -ENAMETOOLONG;
		memcpy(path, w->node->lower, prefix);
		if (prefix && n)
			path[prefix++] = '/';
	}
	memcpy(path + prefix, tail, n);
	path[prefix + n] = '\0';
	return 0;
}

static int open_upto(const struct walk *w, size_t len, int flags)
{
	char path[VFS_PATH_MAX];
	int dir, r = walk_host(w, len, &dir, path);

	return r < 0 ? r : host_open_beneath(dir, path, flags, 0);
}

int walk_open(const struct walk *w, int flags)
{
	return open_upto(w, w->len, flags);
}

int walk_materialize(struct walk *w)
{
	struct memnode *node;
	int r;

	if (w->mount->kind != VFS_OVERLAY || w->len == w->base)
		return 0;
	r = overlay_materialize(w->node, w->path + w->base + 1, &node);
	if (r < 0)
		return r;
	memnode_put(w->node);
	w->node = node;
	w->base = w->len;
	return 0;
}

/* --- Links -------------------------------------------------------------------------------- */

/* What is left to walk becomes target + tail + name + the rest. */
static int redirect(struct walk *w, const char *target, const char *tail)
{
	char rest[2 * VFS_PATH_MAX];
	int n;

	if (w->flags & WALK_NO_SYMLINKS)
		return -ELOOP;
	if (++w->links > VFS_MAX_LINKS)
		return -ELOOP;
	if (!target[0])
		return -ENOENT;
	n = snprintf(rest, sizeof(rest), "%s%s%s%s%s%s%s", target, tail, w->named ? "/" : "",
		     w->named ? w->last : "",
		     w->dots	? "/."
		     : w->slash ? "/"
				: "",
		     w->rest[w->rest_at] && w->rest[w->rest_at] != '/' ? "/" : "",
		     w->rest + w->rest_at);
	if (n < 0 || (size_t)n >= sizeof(rest))
		return -ENAMETOOLONG;
	memcpy(w->rest, rest, (size_t)n + 1);
	w->rest_at = 0;
	return target[0] == '/' ? stand_on_root(w) : 0;
}

/* The link at path[0, len): its length; 0: it is none. */
static ssize_t read_link(const struct walk *w, size_t len, char link[VFS_PATH_MAX])
{
	_cleanup_close_ int fd = open_upto(w, len, O_PATH | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", link, VFS_PATH_MAX);
	if (n < 0)
		return errno == ENOENT || errno == EINVAL ? 0 : -errno;
	if (n == VFS_PATH_MAX)
		return -ENAMETOOLONG;
	link[n] = '\0';
	return n;
}

static size_t next_slash(const struct walk *w, size_t from)
{
	while (from < w->len && w->path[from] != '/')
		from++;
	return from;
}

int walk_expand(struct walk *w)
{
	char link[VFS_PATH_MAX], tail[VFS_PATH_MAX];
	bool follow_last = w->named || w->slash || (w->flags & WALK_FOLLOW);
	size_t start, end;
	ssize_t n;

	if (!walk_on_host(w) || w->len == w->base)
		return 0;
	/* Most often it is the last name. */
	end = w->len;
	n = follow_last ? read_link(w, end, link) : -ELOOP;
	if (n <= 0 && n != -ELOOP)
		return (int)n;
	for (start = w->base; n < 0; start = end) {
		end = next_slash(w, start + 1);
		if (end == w->len && !follow_last)
			return 0;
		n = read_link(w, end, link);
		if (n < 0)
			return (int)n;
		if (n == 0 && end == w->len)
			return 0;
		n = n ? n : -ELOOP;
	}
	memcpy(tail, w->path + end, w->len - end);
	tail[w->len - end] = '\0';
	while (w->path[end - 1] != '/')
		end--;
	w->len = end - 1;
	w->path[w->len] = '\0';
	n = redirect(w, link, tail);
	return n < 0 ? (int)n : 1;
}

/*
 * Before ".." and before leaving for a mount: what was strung together must be a directory.
 * 1: a link was found, the walk goes elsewhere.
 */
static int verify(struct walk *w)
{
	int fd, r;

	if (!walk_on_host(w) || w->len == w->base)
		return 0;
	fd = walk_open(w, O_PATH | O_DIRECTORY);
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (fd != -ELOOP)
		return fd;
	w->named = w->dots = false;
	w->slash = true;
	r = walk_expand(w);
	return r == 0 ? -ELOOP : r;
}

/* --- Steps -------------------------------------------------------------------------------- */

static int step_in_memory(struct walk *w, const char *name, bool last)
{
	bool lower, follow = !last || w->slash || (w->flags & WALK_FOLLOW);
	struct memnode *child;
	int r;

	if (!w->node || !S_ISDIR(w->node->mode))
		return -ENOTDIR;
	if ((r = memnode_permits(w->node, X_OK)) < 0)
		return r;
	r = memdir_lookup(w->node, name, &child, &lower);
	if (r == -ENOENT && lower)
		return append(w, name, strlen(name));
	if (r == -ENOENT && last && (w->flags & WALK_CREATE)) {
		memcpy(w->last, name, strlen(name) + 1);
		w->named = true;
		return 0;
	}
	if (r < 0)
		return r;
	if (S_ISLNK(child->mode) && follow) {
		/* The rest has the slash that this one was written with. */
		w->named = w->dots = false;
		r = redirect(w, child->target, "");
		memnode_put(child);
		return r < 0 ? r : 1;
	}
	if ((r = append(w, name, strlen(name))) < 0) {
		memnode_put(child);
		return r;
	}
	memnode_put(w->node);
	w->node = child;
	w->base = w->len;
	return 0;
}

/* The open file behind /proc/self/fd/N. */
static int step_to_file(struct walk *w, uint32_t fd, bool last)
{
	struct file *file;
	int r = 0;

	if (w->flags & (WALK_NO_MAGIC | WALK_NO_SYMLINKS))
		return -ELOOP;
	if (w->flags & (WALK_BENEATH | WALK_IN_ROOT))
		return -EXDEV;
	if (++w->links > VFS_MAX_LINKS)
		return -ELOOP;
	file = files_get_any(&w->vfs->p->files, fd);
	if (!file)
		return -ENOENT;
	if (last && !w->slash) {
		w->magic = file;
		return 0;
	}
	r = file->kind == FILE_DIRECTORY || file->kind == FILE_PATH ? stand_on_file(w, file)
								    : -ENOTDIR;
	file_put(file);
	return r;
}

static int step_in_proc(struct walk *w, const char *name, bool last)
{
	bool follow = !last || w->slash || (w->flags & WALK_FOLLOW);
	struct proc_entry entry;
	char *target;
	size_t len;
	int r;

	if ((r = append(w, name, strlen(name))) < 0 ||
	    (r = proc_find(w->vfs, w->path + w->mount->guest_len + 1, &entry)) < 0)
		return r;
	if (entry.type == PROC_LINK && follow) {
		pop(w);
		if ((r = proc_read(w->vfs, &entry, &target, &len)) < 0)
			return r;
		r = redirect(w, target, "");
		free(target);
		return r < 0 ? r : 1;
	}
	if (entry.type == PROC_FD && follow)
		return step_to_file(w, entry.fd, last);
	return last || entry.type == PROC_DIR ? 0 : -ENOTDIR;
}

/* To `name`, which is no dots. 1: the walk was sent elsewhere; 0: it is there. */
static int step(struct walk *w, const char *name, bool last)
{
	struct vfs_mount *m =
		w->mount->children ? mount_on(w->mount, w->path, w->len, name) : NULL;

	if (m) {
		if (w->flags & WALK_NO_XDEV)
			return -EXDEV;
		stand_on_mount(w, m);
		return 0;
	}
	switch (w->mount->kind) {
	case VFS_HOST:
		return append(w, name, strlen(name));
	case VFS_PROC:
		return step_in_proc(w, name, last);
	case VFS_OVERLAY:
		if (w->len > w->base)
			return append(w, name, strlen(name));
		return step_in_memory(w, name, last);
	default:
		return step_in_memory(w, name, last);
	}
}

/* Where the mount hangs. Its path is canonical: no link can turn up but by a race. */
static int leave_mount(struct walk *w)
{
	char path[VFS_PATH_MAX], *save, *name;
	struct vfs_mount *m = w->mount;
	int r = 0;

	if (!m->parent)
		return 0;
	if (w->flags & WALK_NO_XDEV)
		return -EXDEV;
	memcpy(path, m->guest, m->guest_len + 1);
	*strrchr(path, '/') = '\0';
	stand_on_mount(w, m->parent);
	if (strlen(path) <= w->len)
		return 0;
	for (name = strtok_r(path + w->len, "/", &save); name && r == 0;
	     name = strtok_r(NULL, "/", &save))
		r = w->mount == m->parent ? step(w, name, false) : -ENOENT;
	return r > 0 ? -ENOENT : r;
}

static int step_up_in_memory(struct walk *w)
{
	struct vfs *vfs = w->vfs;
	struct memnode *parent;

	pthread_rwlock_rdlock(&vfs->lock);
	parent = w->node->parent ? memnode_get(w->node->parent) : NULL;
	pthread_rwlock_unlock(&vfs->lock);
	if (!parent)
		return -ENOENT;
	memnode_put(w->node);
	w->node = parent;
	pop(w);
	w->base = w->len;
	return 0;
}

/* After verify(). */
static int step_up(struct walk *w)
{
	char path[VFS_PATH_MAX];

	if ((w->flags & (WALK_BENEATH | WALK_IN_ROOT)) && w->len == w->top)
		return w->flags & WALK_BENEATH ? -EXDEV : 0;
	if (w->len > w->base) {
		pop(w);
		return 0;
	}
	if (w->node && w->node != w->mount->root)
		return S_ISDIR(w->node->mode) ? step_up_in_memory(w) : -ENOTDIR;
	if (w->holder) {
		/* Where it is now: another process, or another name, may have moved it. */
		ssize_t len = directory_path(w->holder, path);

		if (len < 0)
			return (int)len;
		file_put(take_ptr(w->holder));
		memcpy(w->path, path, (size_t)len + 1);
		w->len = (size_t)len;
		w->base = w->mount->guest_len;
		if (w->len > w->base) {
			pop(w);
			return 0;
		}
	}
	if (w->mount->is_file)
		return -ENOTDIR;
	return leave_mount(w);
}

/* The next component of the rest: its length, 0 for none. *last: nothing but slashes behind. */
static size_t next_component(struct walk *w, bool *last, bool *slash)
{
	const char *s, *e;

	while (w->rest[w->rest_at] == '/')
		w->rest_at++;
	e = w->rest + w->rest_at;
	while (*e && *e != '/')
		e++;
	for (*slash = *e == '/', s = e; *s == '/'; s++)
		continue;
	*last = *s == '\0';
	return (size_t)(e - (w->rest + w->rest_at));
}

/* 1: sent elsewhere, go on. */
static int take_component(struct walk *w, size_t n, bool last, bool slash)
{
	char name[VFS_NAME_MAX + 1];
	const char *s = w->rest + w->rest_at;
	bool dots = (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.');
	int r;

	if (n > VFS_NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, s, n);
	name[n] = '\0';
	/* Only this needs to know that what is strung together is there, and no link. */
	if (n == 2 && dots && (r = verify(w)) != 0)
		return r;
	if (w->len > w->base && w->mount->children &&
	    mount_on(w->mount, w->path, w->len, name) && (r = verify(w)) != 0)
		return r;
	w->rest_at += n;
	w->slash = last && (slash || dots);
	w->dots = last && dots;
	w->up = last && dots && n == 2;
	if (dots && w->node && w->len == w->base && !S_ISDIR(w->node->mode))
		return -ENOTDIR;
	if (dots)
		return n == 2 ? step_up(w) : 0;
	if (last && (w->flags & WALK_PARENT)) {
		memcpy(w->last, name, n + 1);
		w->named = true;
		return 0;
	}
	return step(w, name, last);
}

int walk_run(struct walk *w)
{
	bool last = false, slash;
	size_t n;
	int r;

	w->named = w->slash = w->up = false;
	w->dots = true; /* "/" */
	file_put(take_ptr(w->magic));
	while ((n = next_component(w, &last, &slash)) > 0) {
		w->named = false;
		if ((r = take_component(w, n, last, slash)) < 0)
			return r;
		if (r == 0 && last)
			break;
	}
	/* All is walked; but the slashes at the end. */
	w->rest_at = strlen(w->rest);
	if (w->slash && !w->named && !w->magic && w->node && w->len == w->base &&
	    !S_ISDIR(w->node->mode))
		return -ENOTDIR;
	return 0;
}

int walk_do(struct vfs *vfs, struct file *dir, const char *path, unsigned flags, walk_fn *fn,
	    void *context)
{
	struct walk w;
	int r = walk_start(&w, vfs, dir, path, flags);

	if (r == 0)
		r = walk_run(&w);
	while (r == 0) {
		r = fn(&w, context);
		if (r != -ELOOP)
			break;
		r = walk_expand(&w);
		if (r == 0)
			r = -ELOOP;
		if (r > 0)
			r = walk_run(&w);
	}
	walk_fini(&w);
	return r;
}

/* --- Where a directory is ----------------------------------------------------------------- */

static ssize_t fd_path(int fd, char path[VFS_PATH_MAX])
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, VFS_PATH_MAX);
	if (n < 0)
		return -errno;
	if (n == VFS_PATH_MAX)
		return -ENAMETOOLONG;
	path[n] = '\0';
	return n;
}

/* The kernel's word for where it is, checked by looking there. */
static ssize_t host_directory_path(const struct file *dir, char path[VFS_PATH_MAX])
{
	const struct vfs_mount *m = dir->dir->mount;
	char root[VFS_PATH_MAX], now[VFS_PATH_MAX];
	ssize_t root_len = fd_path(m->root_fd, root), len = fd_path(dir->fd, now);
	struct stat a, b;
	const char *rel;
	int fd;

	if (root_len < 0 || len < 0)
		return -ENOENT;
	if (root_len == 1) /* "/" */
		root_len = 0;
	if (len < root_len || memcmp(root, now, (size_t)root_len) != 0 ||
	    (now[root_len] != '/' && now[root_len] != '\0'))
		return -ENOENT;
	rel = now + root_len;
	while (*rel == '/')
		rel++;
	fd = host_open_beneath(m->root_fd, rel, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return -ENOENT;
	if (fstat(fd, &a) < 0 || fstat(dir->fd, &b) < 0 || a.st_ino != b.st_ino ||
	    a.st_dev != b.st_dev) {
		close(fd);
		return -ENOENT;
	}
	close(fd);
	len = snprintf(path, VFS_PATH_MAX, "%s%s%s", m->guest, *rel ? "/" : "", rel);
	return len < VFS_PATH_MAX ? len : -ENAMETOOLONG;
}

ssize_t directory_path(struct file *dir, char path[VFS_PATH_MAX])
{
	const struct vfs_mount *m = dir->dir->mount;
	struct vfs *vfs = m->vfs;
	char *rel;
	int n;

	if (m->kind == VFS_HOST)
		return host_directory_path(dir, path);
	if (!dir->node) {
		n = snprintf(path, VFS_PATH_MAX, "%s", strcmp(dir->path, "/") ? dir->path : "");
		return n < VFS_PATH_MAX ? n : -ENAMETOOLONG;
	}
	pthread_rwlock_rdlock(&vfs->lock);
	rel = memdir_path(dir->node, path, VFS_PATH_MAX);
	pthread_rwlock_unlock(&vfs->lock);
	if (!rel)
		return -ENOENT;
	n = (int)strlen(rel);
	if (m->guest_len + (size_t)n >= VFS_PATH_MAX)
		return -ENAMETOOLONG;
	memmove(path + m->guest_len, rel, (size_t)n + 1);
	memcpy(path, m->guest, m->guest_len);
	return (ssize_t)m->guest_len + n;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What getdents64(2) gives. Of a plain host directory: what the host's kernel gives. Of others,
 * and where a mount hangs in it, the names are collected when the listing begins.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux/vfs_internal.h"

#define ALIGN8(n) (((n) + 7) & ~(size_t)7)
#define HEADER 19 /* offsetof(struct linux_dirent64, d_name): getdents(2) */

struct list_entry {
	uint64_t ino;
	uint32_t name; /* offset in names */
	uint32_t hash_next;
	uint8_t type;
};

struct vfs_list {
	struct vfs *vfs;
	struct list_entry *entries;
	size_t count, capacity;
	char *names;
	size_t names_len, names_capacity;
	uint32_t *buckets; /* entry + 1; to find names twice */
	uint32_t nbuckets;
	uint64_t charged;
};

void vfs_list_free(struct vfs *vfs, struct vfs_list *list)
{
	if (!list)
		return;
	vfs_uncharge(vfs, list->charged);
	free(list->entries);
	free(list->names);
	free(list->buckets);
	free(list);
}

static uint32_t hash(const char *name)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h;
}

static int charge(struct vfs_list *list, uint64_t bytes)
{
	if (!vfs_charge(list->vfs, bytes))
		return -ENOMEM;
	list->charged += bytes;
	return 0;
}

static int grow_entries(struct vfs_list *list)
{
	size_t capacity = list->capacity ? list->capacity * 2 : 32;
	struct list_entry *entries;
	uint32_t *buckets;

	if (capacity > UINT32_MAX / 2 ||
	    charge(list, (capacity - list->capacity) * (sizeof(*entries) + sizeof(*buckets))) <
		    0)
		return -ENOMEM;
	entries = reallocarray(list->entries, capacity, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	list->entries = entries;
	buckets = calloc(capacity, sizeof(*buckets));
	if (!buckets)
		return -ENOMEM;
	free(list->buckets);
	list->buckets = buckets;
	list->nbuckets = (uint32_t)capacity;
	list->capacity = capacity;
	for (size_t i = 0; i < list->count; i++) {
		uint32_t b = hash(list->names + entries[i].name) & (list->nbuckets - 1);

		entries[i].hash_next = buckets[b];
		buckets[b] = (uint32_t)i + 1;
	}
	return 0;
}

static int grow_names(struct vfs_list *list, size_t len)
{
	size_t capacity = list->names_capacity ? list->names_capacity * 2 : 1024;
	char *names;

	if (list->names_len + len <= list->names_capacity)
		return 0;
	if (capacity > UINT32_MAX || charge(list, capacity - list->names_capacity) < 0)
		return -ENOMEM;
	names = realloc(list->names, capacity);
	if (!names)
		return -ENOMEM;
	list->names = names;
	list->names_capacity = capacity;
	return 0;
}

bool vfs_list_has(const struct vfs_list *list, const char *name)
{
	if (!list->nbuckets)
		return false;
	for (uint32_t i = list->buckets[hash(name) & (list->nbuckets - 1)]; i;
	     i = list->entries[i - 1].hash_next)
		if (strcmp(list->names + list->entries[i - 1].name, name) == 0)
			return true;
	return false;
}

int vfs_list_add(struct vfs_list *list, const char *name, uint64_t ino, unsigned char type)
{
	size_t len = strlen(name) + 1;
	struct list_entry *e;
	uint32_t b;

	if (len > VFS_NAME_MAX + 1)
		return 0;
	if ((list->count == list->capacity && grow_entries(list) < 0) ||
	    grow_names(list, len) < 0)
		return -ENOMEM;
	e = &list->entries[list->count];
	e->name = (uint32_t)list->names_len;
	memcpy(list->names + list->names_len, name, len);
	list->names_len += len;
	e->ino = ino;
	e->type = type;
	b = hash(name) & (list->nbuckets - 1);
	e->hash_next = list->buckets[b];
	list->buckets[b] = (uint32_t)++list->count;
	return 0;
}

/* --- Collecting --------------------------------------------------------------------------- */

static int add_unless_there(void *context, const char *name, uint64_t ino, unsigned char type)
{
	struct vfs_list *list = context;

	return vfs_list_has(list, name) ? 0 : vfs_list_add(list, name, ino, type);
}

struct lower_names {
	struct vfs_list *list;
	const struct memnode *dir;
};

static int add_unless_hidden(void *context, const char *name, uint64_t ino, unsigned char type)
{
	const struct lower_names *q = context;

	return memdir_find(q->dir, name) ? 0 : vfs_list_add(q->list, name, ino, type);
}

/* Under the read lock, the lower directory's names too, so that each name comes once. */
static int collect_memory(struct vfs_list *list, struct memnode *dir)
{
	struct vfs *vfs = list->vfs;
	struct lower_names q = {list, dir};
	int r = 0;

	pthread_rwlock_rdlock(&vfs->lock);
	for (const struct mementry *e = dir->first; e && r == 0; e = e->next)
		if (e->node)
			r = vfs_list_add(list, e->name, e->node->ino,
					 (unsigned char)IFTODT(e->node->mode));
	if (r == 0)
		r = overlay_each_lower(dir, add_unless_hidden, &q);
	pthread_rwlock_unlock(&vfs->lock);
	return r;
}

static int collect_host(struct vfs_list *list, int fd)
{
	char buffer[8192] __attribute__((aligned(8)));
	long n;
	int r = 0;

	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	while (r == 0 && (n = syscall(SYS_getdents64, fd, buffer, sizeof(buffer))) != 0) {
		if (n < 0)
			return -errno;
		for (long at = 0; at < n && r == 0;) {
			const struct dirent64 *d = (const void *)(buffer + at);

			if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
				r = add_unless_there(list, d->d_name, d->d_ino, d->d_type);
			at += d->d_reclen;
		}
	}
	return r;
}

/* Mounts directly in the directory at path, that are not there otherwise. */
static int collect_mounts(struct vfs_list *list, const struct vfs_mount *m, const char *path,
			  size_t len)
{
	int r = 0;

	for (const struct vfs_mount *c = m->children; c && r == 0; c = c->next) {
		const char *name = c->guest + len + 1;

		if (c->guest_len > len && memcmp(c->guest, path, len) == 0 &&
		    c->guest[len] == '/' && !strchr(name, '/'))
			r = add_unless_there(list, name, c->root ? c->root->ino : 1,
					     c->is_file ? DT_REG : DT_DIR);
	}
	return r;
}

static bool has_mounts(const struct vfs_mount *m, const char *path, size_t len)
{
	for (const struct vfs_mount *c = m->children; c; c = c->next)
		if (c->guest_len > len && memcmp(c->guest, path, len) == 0 &&
		    c->guest[len] == '/' && !strchr(c->guest + len + 1, '/'))
			return true;
	return false;
}

static int collect(struct file *file, struct vfs_list *list, const char *path, size_t len)
{
	struct vfs_mount *m = file->dir->mount;
	struct proc_entry entry;
	struct stat st;
	int r = vfs_fstat(list->vfs, file, &st);

	if (r < 0 || (r = vfs_list_add(list, ".", st.st_ino, DT_DIR)) < 0 ||
	    (r = vfs_list_add(list, "..", st.st_ino, DT_DIR)) < 0)
		return r;
	if (file->node)
		r = collect_memory(list, file->node);
	else if (m->kind == VFS_PROC)
		r = (r = proc_find(list->vfs, len > m->guest_len ? path + m->guest_len + 1 : "",
				   &entry)) < 0
			    ? r
			    : proc_list(list->vfs, &entry, list);
	else
		r = collect_host(list, file->fd);
	return r < 0 ? r : collect_mounts(list, m, path, len);
}

/* dir->lock is held. *out NULL: the host's kernel lists it. */
static int listing(struct file *file, struct vfs_list **out)
{
	struct directory *dir = file->dir;
	char path[VFS_PATH_MAX];
	struct vfs_list *list;
	ssize_t len;
	int r;

	*out = dir->list;
	if (dir->list)
		return 0;
	if (dir->mount->kind == VFS_HOST && !dir->mount->children)
		return 0;
	len = directory_path(file, path);
	if (len < 0) /* removed: it is empty, as Linux has it */
		path[len = 0] = '\0';
	if (dir->mount->kind == VFS_HOST && !has_mounts(dir->mount, path, (size_t)len))
		return 0;
	list = calloc(1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	list->vfs = dir->vfs;
	r = collect(file, list, path, (size_t)len);
	if (r < 0) {
		vfs_list_free(dir->vfs, list);
		return r;
	}
	*out = dir->list = list;
	return 0;
}

/* --- Giving ------------------------------------------------------------------------------- */

static ssize_t give(struct vfs_list *list, uint64_t *position, uint8_t *buffer, size_t size)
{
	size_t used = 0;

	while (*position < list->count) {
		const struct list_entry *e = &list->entries[*position];
		const char *name = list->names + e->name;
		size_t len = strlen(name) + 1, n = ALIGN8(HEADER + len);
		uint16_t reclen = (uint16_t)n;
		int64_t next = (int64_t)*position + 1;
		uint8_t *d = buffer + used;

		if (n > size - used)
			return used ? (ssize_t)used : -EINVAL;
		memset(d, 0, n);
		memcpy(d, &e->ino, sizeof(e->ino));
		memcpy(d + 8, &next, sizeof(next));
		memcpy(d + 16, &reclen, sizeof(reclen));
		d[18] = e->type;
		memcpy(d + HEADER, name, len);
		used += n;
		++*position;
	}
	return (ssize_t)used;
}

ssize_t vfs_getdents(struct file *file, void *buffer, size_t size)
{
	struct directory *dir = file->dir;
	struct vfs_list *list;
	ssize_t n;

	if (file->kind != FILE_DIRECTORY || !dir)
		return -ENOTDIR;
	pthread_mutex_lock(&dir->lock);
	n = listing(file, &list);
	if (n == 0 && list) {
		n = give(list, &dir->position, buffer, size);
	} else if (n == 0) {
		n = syscall(SYS_getdents64, file->fd, buffer, size);
		if (n < 0)
			n = -errno;
	}
	pthread_mutex_unlock(&dir->lock);
	return n;
}

int64_t vfs_seek(struct file *file, int64_t offset, int whence)
{
	struct directory *dir = file->dir;
	int64_t r;

	if (!dir)
		return -ESPIPE;
	pthread_mutex_lock(&dir->lock);
	if (dir->mount->kind == VFS_HOST && !dir->list) {
		r = lseek(file->fd, offset, whence);
		r = r < 0 ? -errno : r;
	} else {
		r = whence == SEEK_CUR ? (int64_t)dir->position : 0;
		if ((whence != SEEK_SET && whence != SEEK_CUR) ||
		    __builtin_add_overflow(r, offset, &r) || r < 0)
			r = -EINVAL;
		else
			dir->position = (uint64_t)r;
		/* From the beginning: as it is then. */
		if (r == 0) {
			vfs_list_free(dir->vfs, dir->list);
			dir->list = NULL;
		}
	}
	pthread_mutex_unlock(&dir->lock);
	return r;
}

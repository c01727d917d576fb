/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev: the memory devices, which are the host's own and hold no state, the terminal if a
 * standard stream is one, and links to /proc/self/fd.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "linux/vfs_internal.h"

/* Linux's Documentation/admin-guide/devices.txt. */
static const struct {
	const char *name, *host;
	unsigned major, minor;
} devices[] = {
	{"null", "/dev/null", 1, 3},	   {"zero", "/dev/zero", 1, 5},
	{"full", "/dev/full", 1, 7},	   {"random", "/dev/random", 1, 8},
	{"urandom", "/dev/urandom", 1, 9}, {"tty", NULL, 5, 0},
};

static const struct {
	const char *name, *target;
} links[] = {
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
};

static int add(struct vfs_mount *m, const char *name, mode_t mode, const char *target,
	       dev_t rdev)
{
	struct memnode *node;
	int r = mem_make(m->root, name, mode, target, &node);

	if (r < 0)
		return r;
	node->rdev = rdev;
	memnode_put(node);
	return 0;
}

int dev_populate(struct vfs_mount *m)
{
	bool writable = m->writable;
	int r = 0;

	m->writable = true;
	for (size_t i = 0; i < ARRAY_SIZE(devices) && r == 0; i++)
		r = add(m, devices[i].name, S_IFCHR | 0666, NULL,
			makedev(devices[i].major, devices[i].minor));
	for (size_t i = 0; i < ARRAY_SIZE(links) && r == 0; i++)
		r = add(m, links[i].name, S_IFLNK | 0777, links[i].target, 0);
	m->writable = writable;
	return r;
}

/* The first stream that is a terminal: the one that the program has. Counted, or NULL. */
static struct file *find_terminal(struct vfs *vfs)
{
	struct files *files = &vfs->p->files;
	struct file *found = NULL;

	pthread_mutex_lock(&files->lock);
	for (uint32_t i = 0; i < files->count && !found; i++) {
		struct file *file = files->slots[i].file;

		if (file && file->kind == FILE_STREAM && file->tty)
			found = file_get(file);
	}
	pthread_mutex_unlock(&files->lock);
	return found;
}

static int open_terminal(struct vfs *vfs, int flags, const char *path, struct file **out)
{
	struct file *terminal = find_terminal(vfs), *file = NULL;
	int fd = -1, mode = flags & O_ACCMODE, r = -ENXIO;

	if (!terminal)
		return r;
	/* What was given for reading only is for reading only. */
	if ((mode != O_RDONLY && !file_writable(terminal)) ||
	    (mode != O_WRONLY && !file_readable(terminal)))
		r = -EACCES;
	else
		fd = fcntl(terminal->fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0) {
		file = file_new(FILE_STREAM, fd, mode, path);
		r = file ? 0 : -ENOMEM;
	}
	if (file) {
		file->counts_output = true;
		file->standard_input = terminal->standard_input;
		*out = file;
	}
	file_put(terminal);
	return r;
}

int dev_open(struct vfs *vfs, dev_t rdev, int flags, const char *path, struct file **out)
{
	const int kept = O_ACCMODE | O_NONBLOCK | O_APPEND;
	struct stat st;
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		if (makedev(devices[i].major, devices[i].minor) != rdev)
			continue;
		if (!devices[i].host)
			return open_terminal(vfs, flags, path, out);
		fd = open(devices[i].host, (flags & kept) | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return -errno;
		if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != rdev) {
			close(fd);
			return -ENXIO;
		}
		*out = file_new(FILE_DEVICE, fd, flags & kept, path);
		return *out ? 0 : -ENOMEM;
	}
	return -ENXIO;
}

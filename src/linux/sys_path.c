/* SPDX-License-Identifier: Apache-2.0 */
/* System calls with paths: opening, the current directory, links, access. */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <unistd.h>

#include "linux/vfs_internal.h"
#include "linux/vfs_calls.h"

/* A FIFO whose other end nobody has open yet: looked at in such intervals, which grow. */
#define FIFO_FIRST_NS 500000
#define FIFO_LAST_NS 20000000
#define MEMFD_NAME_MAX 249 /* memfd_create(2) */
/* openat2(2): what there was of struct open_how at first. */
#define OPEN_HOW_SIZE 24
/* Linux's VALID_OPEN_FLAGS; 0100000 is its O_LARGEFILE, which glibc has as 0. */
#define KERNEL_O_LARGEFILE 0100000
#define VALID_FLAGS                                                                            \
	(O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC |  \
	 O_ASYNC | O_DIRECT | KERNEL_O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME |      \
	 O_CLOEXEC | O_PATH | O_TMPFILE)

/* --- Paths and directories of calls ------------------------------------------------------- */

int call_directory(struct task *t, uint64_t fd, const char *path, struct file **dir)
{
	struct file *file;

	*dir = NULL;
	if (path[0] == '/' || (int)fd == AT_FDCWD)
		return 0;
	file = files_get_any(&t->process->files, (uint32_t)fd);
	if (!file)
		return -EBADF;
	if (path[0] && file->kind != FILE_DIRECTORY &&
	    (file->kind != FILE_PATH || !file->dir)) {
		file_put(file);
		return -ENOTDIR;
	}
	*dir = file;
	return 0;
}

int call_path(struct task *t, int which, uint64_t va, bool may_be_empty,
	      char path[VFS_PATH_MAX])
{
	ssize_t n = task_path(t, which, va, path);

	if (n < 0)
		return (int)n;
	return n == 0 && !may_be_empty ? -ENOENT : 0;
}

int call_place(struct task *t, const uint64_t at[2], int which, bool may_be_empty,
	       struct call_place *place)
{
	int r = call_path(t, which, at[1], may_be_empty, place->path);

	place->dir = NULL;
	return r < 0 ? r : call_directory(t, at[0], place->path, &place->dir);
}

/* --- open --------------------------------------------------------------------------------- */

static bool waits_for_other_end(const struct file *file)
{
	return file->kind == FILE_PIPE && file->dir && !(file->flags & O_NONBLOCK) &&
	       (file->flags & O_ACCMODE) != O_RDWR;
}

/* fifo(7): opening one end waits for the other. */
static int wait_for_other_end(struct task *t, struct file *file)
{
	bool reads = (file->flags & O_ACCMODE) == O_RDONLY;
	uint64_t pause = FIFO_FIRST_NS;
	struct vfs *vfs = t->process->vfs;
	int r;

	if (!file->node && reads) {
		/* The host's kernel wakes a reader when there was a writer. */
		r = task_wait_fd(t, file->fd, POLLIN, NULL);
		return r < 0 ? r : 0;
	}
	while (file->node) {
		uint32_t others;

		pthread_rwlock_rdlock(&vfs->lock);
		others = reads ? file->node->writers : file->node->readers;
		pthread_rwlock_unlock(&vfs->lock);
		if (others)
			break;
		if ((r = task_pause_longer(t, &pause, FIFO_LAST_NS)) < 0)
			return r;
	}
	return 0;
}

/* ENXIO of a FIFO without a reader: a writer that wants to wait tries again. */
static bool lacks_reader(struct vfs *vfs, const struct call_place *at, int flags)
{
	struct stat st;

	return (flags & O_ACCMODE) == O_WRONLY && !(flags & (O_NONBLOCK | O_PATH)) &&
	       vfs_stat(vfs, at->dir, at->path, 0, &st) == 0 && S_ISFIFO(st.st_mode);
}

static int open_place(struct task *t, const struct call_place *at, const struct open_how *how,
		      unsigned resolve, struct file **out)
{
	uint64_t pause = FIFO_FIRST_NS;
	struct vfs *vfs = t->process->vfs;
	struct vfs_how as = {(int)how->flags, (mode_t)how->mode, resolve};
	int r;

	for (;;) {
		r = vfs_open_how(vfs, at->dir, at->path, &as, out);
		if (r != -ENXIO || !lacks_reader(vfs, at, as.flags))
			break;
		if ((r = task_pause_longer(t, &pause, FIFO_LAST_NS)) < 0)
			break;
	}
	if (r == 0 && waits_for_other_end(*out) && (r = wait_for_other_end(t, *out)) < 0)
		file_put(*out);
	return r == -EINTR ? -ERESTARTSYS : r;
}

static int64_t do_open(struct task *t, const uint64_t at[2], const struct open_how *how,
		       unsigned resolve)
{
	struct call_place place = {.dir = NULL};
	struct file *file;
	int64_t r = call_path(t, 0, at[1], false, place.path);

	/* With these an absolute path begins at the directory, too. */
	if (r == 0)
		r = call_directory(t, at[0],
				   resolve & (WALK_IN_ROOT | WALK_BENEATH) ? "." : place.path,
				   &place.dir);
	if (r == 0)
		r = open_place(t, &place, how, resolve, &file);
	if (r == 0)
		r = files_install(&t->process->files, file, 0, how->flags & O_CLOEXEC);
	file_put(place.dir);
	return r;
}

/* open(2) knows no flag that it refuses, and looks at the mode only where it counts. */
static int64_t open_at(struct task *t, uint64_t dir, uint64_t path, uint64_t flags,
		       uint64_t mode)
{
	struct open_how how = {.flags = flags & VALID_FLAGS, .mode = mode & 07777};

	return do_open(t, (const uint64_t[2]){dir, path}, &how, 0);
}

int64_t sys_open(struct task *t, const uint64_t a[6])
{
	return open_at(t, (uint64_t)AT_FDCWD, a[0], a[1], a[2]);
}

int64_t sys_creat(struct task *t, const uint64_t a[6])
{
	return open_at(t, (uint64_t)AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, a[1]);
}

int64_t sys_openat(struct task *t, const uint64_t a[6])
{
	return open_at(t, a[0], a[1], a[2], a[3]);
}

/* Later kernels' structures are longer; what is not known must be zero. */
static int read_how(struct task *t, uint64_t va, uint64_t size, struct open_how *how)
{
	uint8_t bytes[PAGE_SIZE];

	_Static_assert(sizeof(*how) == OPEN_HOW_SIZE, "openat2(2)");
	if (size < OPEN_HOW_SIZE)
		return -EINVAL;
	if (size > sizeof(bytes))
		return -E2BIG;
	if (mm_read(&t->process->mm, bytes, va, size) < 0)
		return -EFAULT;
	for (size_t i = OPEN_HOW_SIZE; i < size; i++)
		if (bytes[i])
			return -E2BIG;
	memcpy(how, bytes, sizeof(*how));
	return 0;
}

static int check_how(const struct open_how *how)
{
	const uint64_t resolves = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS |
				  RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT |
				  RESOLVE_CACHED;
	const uint64_t makes = O_CREAT | (O_TMPFILE & ~O_DIRECTORY);

	if ((how->flags & ~(uint64_t)VALID_FLAGS) || (how->resolve & ~resolves))
		return -EINVAL;
	if ((how->resolve & RESOLVE_BENEATH) && (how->resolve & RESOLVE_IN_ROOT))
		return -EINVAL;
	if (how->flags & makes ? how->mode & ~(uint64_t)07777 : how->mode)
		return -EINVAL;
	if ((how->flags & O_PATH) &&
	    (how->flags & ~(uint64_t)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)))
		return -EINVAL;
	if ((how->resolve & RESOLVE_CACHED) && (how->flags & (makes | O_TRUNC)))
		return -EAGAIN;
	return 0;
}

int64_t sys_openat2(struct task *t, const uint64_t a[6])
{
	static const struct {
		uint64_t flag;
		unsigned walk;
	} map[] = {
		{RESOLVE_NO_XDEV, WALK_NO_XDEV},	 {RESOLVE_NO_MAGICLINKS, WALK_NO_MAGIC},
		{RESOLVE_NO_SYMLINKS, WALK_NO_SYMLINKS}, {RESOLVE_BENEATH, WALK_BENEATH},
		{RESOLVE_IN_ROOT, WALK_IN_ROOT},
	};
	struct open_how how;
	unsigned resolve = 0;
	int r = read_how(t, a[2], a[3], &how);

	if (r < 0 || (r = check_how(&how)) < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (how.resolve & map[i].flag)
			resolve |= map[i].walk;
	return do_open(t, a, &how, resolve);
}

int64_t sys_memfd_create(struct task *t, const uint64_t a[6])
{
	char name[VFS_PATH_MAX];
	struct file *file;
	int r = call_path(t, 0, a[0], true, name);

	if (r < 0)
		return r == -ENAMETOOLONG ? -EINVAL : r;
	/* Pages of the host's pool of large ones are not the guest's to take. */
	if (strlen(name) > MEMFD_NAME_MAX ||
	    (a[1] & ~(uint64_t)(MFD_CLOEXEC | MFD_ALLOW_SEALING)))
		return -EINVAL;
	r = vfs_memfd(t->process->vfs, name, a[1] & MFD_ALLOW_SEALING, &file);
	return r < 0 ? r : files_install(&t->process->files, file, 0, a[1] & MFD_CLOEXEC);
}

/* --- The current directory ---------------------------------------------------------------- */

int64_t sys_getcwd(struct task *t, const uint64_t a[6])
{
	char path[VFS_PATH_MAX];
	ssize_t n = vfs_getcwd(t->process->vfs, path);

	if (n < 0)
		return n;
	if ((uint64_t)n + 1 > a[1])
		return -ERANGE;
	n++; /* the NUL counts */
	return mm_write(&t->process->mm, a[0], path, (size_t)n) < 0 ? -EFAULT : n;
}

int64_t sys_chdir(struct task *t, const uint64_t a[6])
{
	char path[VFS_PATH_MAX];
	int r = call_path(t, 0, a[0], false, path);

	return r < 0 ? r : vfs_chdir(t->process->vfs, path);
}

int64_t sys_fchdir(struct task *t, const uint64_t a[6])
{
	struct file *file = files_get_any(&t->process->files, (uint32_t)a[0]);
	int r;

	if (!file)
		return -EBADF;
	r = vfs_fchdir(t->process->vfs, file);
	file_put(file);
	return r;
}

/* --- access ------------------------------------------------------------------------------- */

static int64_t access_at(struct task *t, const uint64_t at[2], uint64_t mode, int flags)
{
	struct call_place place;
	struct vfs_object o;
	int r;

	if (mode & ~(uint64_t)(R_OK | W_OK | X_OK))
		return -EINVAL;
	r = call_place(t, at, 0, flags & AT_EMPTY_PATH, &place);
	if (r == 0) {
		r = vfs_object_at(t->process->vfs, place.dir, place.path, flags, &o);
		if (r == 0)
			r = vfs_object_access(&o, (int)mode);
		vfs_object_fini(&o);
	}
	file_put(place.dir);
	return r;
}

int64_t sys_access(struct task *t, const uint64_t a[6])
{
	return access_at(t, (const uint64_t[2]){(uint64_t)AT_FDCWD, a[0]}, (uint32_t)a[1], 0);
}

int64_t sys_faccessat(struct task *t, const uint64_t a[6])
{
	return access_at(t, a, (uint32_t)a[2], 0);
}

int64_t sys_faccessat2(struct task *t, const uint64_t a[6])
{
	uint32_t flags = (uint32_t)a[3];

	if (flags & ~(uint32_t)(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	return access_at(t, a, (uint32_t)a[2],
			 (int)flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
}

/* --- readlink ----------------------------------------------------------------------------- */

static int64_t readlink_at(struct task *t, const uint64_t at[2], uint64_t to, uint64_t size)
{
	struct call_place place;
	char text[VFS_PATH_MAX];
	ssize_t n;

	if ((int)size <= 0)
		return -EINVAL;
	if (size > sizeof(text))
		size = sizeof(text);
	n = call_place(t, at, 0, (int)at[0] != AT_FDCWD, &place);
	if (n == 0)
		n = vfs_readlink(t->process->vfs, place.dir, place.path, text,
				 (size_t)(uint32_t)size);
	file_put(place.dir);
	if (n > 0 && mm_write(&t->process->mm, to, text, (size_t)n) < 0)
		return -EFAULT;
	return n;
}

int64_t sys_readlink(struct task *t, const uint64_t a[6])
{
	return readlink_at(t, (const uint64_t[2]){(uint64_t)AT_FDCWD, a[0]}, a[1],
			   (uint32_t)a[2]);
}

int64_t sys_readlinkat(struct task *t, const uint64_t a[6])
{
	return readlink_at(t, a, a[2], (uint32_t)a[3]);
}

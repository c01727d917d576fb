/* SPDX-License-Identifier: Apache-2.0 */
/* System calls on what files are: stat, mode, owner, times, size, file system. */
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <signal.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <utime.h>

#include "linux/vfs_internal.h"
#include "linux/vfs_calls.h"

#define FD_CWD ((uint64_t)AT_FDCWD)

/* --- stat --------------------------------------------------------------------------------- */

static int stat_place(struct task *t, const uint64_t at[2], int flags, struct stat *st)
{
	struct call_place place;
	int r = call_place(t, at, 0, flags & AT_EMPTY_PATH, &place);

	if (r == 0)
		r = vfs_stat(t->process->vfs, place.dir, place.path, flags, st);
	file_put(place.dir);
	return r;
}

/* struct stat of x86-64 is the kernel's. */
static int64_t stat_at(struct task *t, const uint64_t at[2], uint64_t to, int flags)
{
	struct stat st = {0};
	int r = stat_place(t, at, flags, &st);

	_Static_assert(sizeof(st) == 144, "the kernel's struct stat");
	return r < 0 ? r : mm_put(&t->process->mm, to, &st);
}

int64_t sys_stat(struct task *t, const uint64_t a[6])
{
	return stat_at(t, (const uint64_t[2]){FD_CWD, a[0]}, a[1], 0);
}

int64_t sys_lstat(struct task *t, const uint64_t a[6])
{
	return stat_at(t, (const uint64_t[2]){FD_CWD, a[0]}, a[1], AT_SYMLINK_NOFOLLOW);
}

int64_t sys_newfstatat(struct task *t, const uint64_t a[6])
{
	uint32_t flags = (uint32_t)a[3];

	if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))
		return -EINVAL;
	return stat_at(t, a, a[2], (int)flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
}

int64_t sys_fstat(struct task *t, const uint64_t a[6])
{
	struct file *file = files_get_any(&t->process->files, (uint32_t)a[0]);
	struct stat st;
	int r;

	if (!file)
		return -EBADF;
	r = vfs_fstat(t->process->vfs, file, &st);
	file_put(file);
	return r < 0 ? r : mm_put(&t->process->mm, a[1], &st);
}

static struct statx_timestamp stamp(const struct timespec *time)
{
	return (struct statx_timestamp){.tv_sec = time->tv_sec,
					.tv_nsec = (uint32_t)time->tv_nsec};
}

int64_t sys_statx(struct task *t, const uint64_t a[6])
{
	const uint32_t sync = AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC;
	uint32_t flags = (uint32_t)a[2], mask = (uint32_t)a[3];
	struct statx x = {0};
	struct stat st = {0};
	int r;

	if ((mask & STATX__RESERVED) || (flags & sync) == sync ||
	    (flags & ~(sync | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH)))
		return -EINVAL;
	r = stat_place(t, a, (int)flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH), &st);
	if (r < 0)
		return r;
	x.stx_mask = STATX_BASIC_STATS;
	x.stx_blksize = (uint32_t)st.st_blksize;
	x.stx_nlink = (uint32_t)st.st_nlink;
	x.stx_uid = st.st_uid;
	x.stx_gid = st.st_gid;
	x.stx_mode = (uint16_t)st.st_mode;
	x.stx_ino = st.st_ino;
	x.stx_size = (uint64_t)st.st_size;
	x.stx_blocks = (uint64_t)st.st_blocks;
	x.stx_atime = stamp(&st.st_atim);
	x.stx_mtime = stamp(&st.st_mtim);
	x.stx_ctime = stamp(&st.st_ctim);
	x.stx_dev_major = major(st.st_dev);
	x.stx_dev_minor = minor(st.st_dev);
	x.stx_rdev_major = major(st.st_rdev);
	x.stx_rdev_minor = minor(st.st_rdev);
	return mm_put(&t->process->mm, a[4], &x);
}

static int64_t statfs_of(struct task *t, int found, struct vfs_object *o, uint64_t to)
{
	struct statfs st;
	int r = found < 0 ? found : vfs_object_statfs(o, &st);

	_Static_assert(sizeof(st) == 120, "the kernel's struct statfs");
	vfs_object_fini(o);
	return r < 0 ? r : mm_put(&t->process->mm, to, &st);
}

int64_t sys_statfs(struct task *t, const uint64_t a[6])
{
	char path[VFS_PATH_MAX];
	struct vfs_object o;
	int r = call_path(t, 0, a[0], false, path);

	if (r < 0)
		return r;
	r = vfs_object_at(t->process->vfs, NULL, path, 0, &o);
	return statfs_of(t, r, &o, a[1]);
}

int64_t sys_fstatfs(struct task *t, const uint64_t a[6])
{
	struct file *file = files_get_any(&t->process->files, (uint32_t)a[0]);
	struct vfs_object o;
	int r;

	if (!file)
		return -EBADF;
	r = vfs_object_of(t->process->vfs, file, 0, &o);
	file_put(file);
	return statfs_of(t, r, &o, a[1]);
}

/* --- Objects to change -------------------------------------------------------------------- */

static int change_at(struct task *t, const uint64_t at[2], int flags, struct vfs_object *o)
{
	struct call_place place;
	int r = call_place(t, at, 0, flags & AT_EMPTY_PATH, &place);

	memset(o, 0, sizeof(*o));
	o->fd = -1;
	if (r == 0)
		r = vfs_object_at(t->process->vfs, place.dir, place.path, flags | OBJECT_WRITE,
				  o);
	file_put(place.dir);
	return r;
}

static int change_fd(struct task *t, uint64_t fd, struct vfs_object *o)
{
	struct file *file = files_get(&t->process->files, (uint32_t)fd);
	int r;

	memset(o, 0, sizeof(*o));
	o->fd = -1;
	if (!file)
		return -EBADF;
	r = vfs_object_of(t->process->vfs, file, OBJECT_WRITE, o);
	file_put(file);
	return r;
}

/* --- chmod -------------------------------------------------------------------------------- */

static int64_t chmod_of(int found, struct vfs_object *o, uint64_t mode)
{
	int r = found < 0 ? found : vfs_object_chmod(o, (mode_t)mode & 07777);

	vfs_object_fini(o);
	return r;
}

static int64_t chmod_at(struct task *t, const uint64_t at[2], uint64_t mode, int flags)
{
	struct vfs_object o;

	return chmod_of(change_at(t, at, flags, &o), &o, mode);
}

int64_t sys_chmod(struct task *t, const uint64_t a[6])
{
	return chmod_at(t, (const uint64_t[2]){FD_CWD, a[0]}, a[1], 0);
}

int64_t sys_fchmod(struct task *t, const uint64_t a[6])
{
	struct vfs_object o;

	return chmod_of(change_fd(t, a[0], &o), &o, a[1]);
}

int64_t sys_fchmodat(struct task *t, const uint64_t a[6])
{
	return chmod_at(t, a, a[2], 0);
}

int64_t sys_fchmodat2(struct task *t, const uint64_t a[6])
{
	uint32_t flags = (uint32_t)a[3];

	if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	return chmod_at(t, a, a[2], (int)flags);
}

/* --- chown -------------------------------------------------------------------------------- */

static int64_t chown_of(int found, struct vfs_object *o, const uint64_t ids[2])
{
	int r = found < 0 ? found : vfs_object_chown(o, (uint32_t)ids[0], (uint32_t)ids[1]);

	vfs_object_fini(o);
	return r;
}

int64_t sys_chown(struct task *t, const uint64_t a[6])
{
	struct vfs_object o;

	return chown_of(change_at(t, (const uint64_t[2]){FD_CWD, a[0]}, 0, &o), &o, a + 1);
}

int64_t sys_lchown(struct task *t, const uint64_t a[6])
{
	struct vfs_object o;
	int r = change_at(t, (const uint64_t[2]){FD_CWD, a[0]}, AT_SYMLINK_NOFOLLOW, &o);

	return chown_of(r, &o, a + 1);
}

int64_t sys_fchown(struct task *t, const uint64_t a[6])
{
	struct vfs_object o;

	return chown_of(change_fd(t, a[0], &o), &o, a + 1);
}

int64_t sys_fchownat(struct task *t, const uint64_t a[6])
{
	uint32_t flags = (uint32_t)a[4];
	struct vfs_object o;

	if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	return chown_of(change_at(t, a, (int)flags, &o), &o, a + 2);
}

/* --- Times -------------------------------------------------------------------------------- */

static int64_t utimens_of(int found, struct vfs_object *o, const struct timespec *times)
{
	int r = found < 0 ? found : vfs_object_utimens(o, times);

	vfs_object_fini(o);
	return r;
}

static bool is_time(const struct timespec *time)
{
	return time->tv_nsec == UTIME_NOW || time->tv_nsec == UTIME_OMIT ||
	       (time->tv_nsec >= 0 && time->tv_nsec < 1000000000);
}

int64_t sys_utimensat(struct task *t, const uint64_t a[6])
{
	uint32_t flags = (uint32_t)a[3];
	struct timespec times[2];
	struct vfs_object o;
	int r;

	if (a[2]) {
		if (mm_get(&t->process->mm, &times, a[2]) < 0)
			return -EFAULT;
		/* Nothing to do is done without looking for the file. */
		if (times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT)
			return 0;
		if (!is_time(&times[0]) || !is_time(&times[1]))
			return -EINVAL;
	}
	if (!a[1] && (int)a[0] != AT_FDCWD) {
		if (flags)
			return -EINVAL;
		r = change_fd(t, a[0], &o);
	} else {
		if (flags & ~(uint32_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
			return -EINVAL;
		r = change_at(t, a, (int)flags, &o);
	}
	return utimens_of(r, &o, a[2] ? times : NULL);
}

/* utimes(2): microseconds. */
static int64_t utimes_at(struct task *t, const uint64_t at[2], uint64_t va)
{
	struct timespec times[2];
	struct timeval from[2];
	struct vfs_object o;
	int r;

	if (va) {
		if (mm_get(&t->process->mm, &from, va) < 0)
			return -EFAULT;
		for (int i = 0; i < 2; i++) {
			if (from[i].tv_usec < 0 || from[i].tv_usec >= 1000000)
				return -EINVAL;
			times[i].tv_sec = from[i].tv_sec;
			times[i].tv_nsec = from[i].tv_usec * 1000;
		}
	}
	if (!at[1] && (int)at[0] != AT_FDCWD)
		r = change_fd(t, at[0], &o);
	else
		r = change_at(t, at, 0, &o);
	return utimens_of(r, &o, va ? times : NULL);
}

int64_t sys_utimes(struct task *t, const uint64_t a[6])
{
	return utimes_at(t, (const uint64_t[2]){FD_CWD, a[0]}, a[1]);
}

int64_t sys_futimesat(struct task *t, const uint64_t a[6])
{
	return utimes_at(t, a, a[2]);
}

int64_t sys_utime(struct task *t, const uint64_t a[6])
{
	struct timespec times[2] = {{0}};
	struct utimbuf from;
	struct vfs_object o;
	int r;

	if (a[1]) {
		if (mm_get(&t->process->mm, &from, a[1]) < 0)
			return -EFAULT;
		times[0].tv_sec = from.actime;
		times[1].tv_sec = from.modtime;
	}
	r = change_at(t, (const uint64_t[2]){FD_CWD, a[0]}, 0, &o);
	return utimens_of(r, &o, a[1] ? times : NULL);
}

/* --- Size --------------------------------------------------------------------------------- */

/* RLIMIT_FSIZE, setrlimit(2). */
static int check_size(struct task *t, uint64_t size)
{
	if (size > INT64_MAX || size <= limits_soft(t->process, RLIMIT_FSIZE))
		return 0;
	file_signal(t, SIGXFSZ);
	return -EFBIG;
}

int64_t sys_truncate(struct task *t, const uint64_t a[6])
{
	char path[VFS_PATH_MAX];
	int r;

	if (a[1] > INT64_MAX)
		return -EINVAL;
	r = call_path(t, 0, a[0], false, path);
	if (r == 0)
		r = check_size(t, a[1]);
	return r < 0 ? r : vfs_truncate(t->process->vfs, NULL, path, a[1]);
}

int64_t sys_ftruncate(struct task *t, const uint64_t a[6])
{
	struct file *file;
	int r;

	if (a[1] > INT64_MAX)
		return -EINVAL;
	file = files_get(&t->process->files, (uint32_t)a[0]);
	if (!file)
		return -EBADF;
	r = check_size(t, a[1]);
	if (r == 0)
		r = vfs_ftruncate(t->process->vfs, file, a[1]);
	file_put(file);
	return r;
}

int64_t sys_fallocate(struct task *t, const uint64_t a[6])
{
	struct file *file = files_get(&t->process->files, (uint32_t)a[0]);
	uint64_t end;
	int r;

	if (!file)
		return -EBADF;
	r = add_overflows(a[2], a[3], &end) ? 0 : check_size(t, end);
	if (r == 0)
		r = vfs_fallocate(t->process->vfs, file, (int)a[1], a[2], a[3]);
	file_put(file);
	return r;
}

/* --- umask -------------------------------------------------------------------------------- */

int64_t sys_umask(struct task *t, const uint64_t a[6])
{
	return __atomic_exchange_n(&t->process->umask, (mode_t)a[0] & 0777, __ATOMIC_RELAXED);
}

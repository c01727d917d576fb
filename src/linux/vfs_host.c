/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the host's kernel, so that nothing but what was granted is reached. */
#include <errno.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux/vfs_internal.h"

/* openat2(2) gives EAGAIN when something was renamed meanwhile; only with "..", it says. */
#define OPEN_ATTEMPTS 8
#define OVERFLOW_ID 65534 /* as the kernel shows users that have no number here */

/* EXDEV: another file system is mounted there, which is not part of the grant. */
static int grant_error(int e)
{
	return e == EXDEV ? -EACCES : host_error(e);
}

int host_open_beneath(int dir, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
		.mode = mode,
		.resolve = HOST_RESOLVE,
	};
	long fd = -1;

	if (!path[0]) {
		if (!(flags & O_PATH))
			return -EINVAL;
		fd = fcntl(dir, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? grant_error(errno) : (int)fd;
	}
	if (!(flags & O_PATH))
		how.flags |= O_NOCTTY;
	for (int i = 0; i < OPEN_ATTEMPTS; i++) {
		fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd < 0 ? grant_error(errno) : (int)fd;
}

int host_reopen(int fd, int flags)
{
	char path[32];
	int r;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = open(path, (flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL)) | O_CLOEXEC | O_NOCTTY);
	return r < 0 ? grant_error(errno) : r;
}

/* The user that runs mayfly is the guest's user; who would be mistaken for that is nobody. */
void vfs_map_stat(const struct vfs_mount *m, struct stat *st)
{
	const struct vfs *vfs = m->vfs;
	uint32_t uid = vfs->p ? vfs->p->uid : 0, gid = vfs->p ? vfs->p->gid : 0;

	if (st->st_uid == vfs->host_uid)
		st->st_uid = uid;
	else if (st->st_uid == uid)
		st->st_uid = OVERFLOW_ID;
	if (st->st_gid == vfs->host_gid)
		st->st_gid = gid;
	else if (st->st_gid == gid)
		st->st_gid = OVERFLOW_ID;
	st->st_dev = m->dev;
	if (!S_ISCHR(st->st_mode) && !S_ISBLK(st->st_mode))
		st->st_rdev = 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file system that a program sees: a tree of mounts.
 *
 *   host      a directory (or file) of the host, read-only or writable
 *   overlay   the same, with writes kept in memory
 *   memory    memfs: /tmp, /dev/shm, the directories that lead to mounts, files of our own
 *   dev, proc a fixed few nodes
 *
 * Names are walked here, one component after the other, in the guest's own namespace, so that
 * symbolic links and ".." mean what the guest thinks; what is found is opened by the host's
 * kernel beneath the mount's directory with openat2(2), RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS,
 * RESOLVE_NO_MAGICLINKS and RESOLVE_NO_XDEV, so that whatever else changes the tree meanwhile,
 * nothing outside is reached. Only regular files, directories, and FIFOs and sockets in
 * writable mounts are ever opened for more than O_PATH: no device.
 */
#ifndef MAYFLY_LINUX_VFS_H
#define MAYFLY_LINUX_VFS_H

#include <stdint.h>
#include <sys/stat.h>

#include "core/error.h"
#include "linux/files.h"

struct vfs;
struct process;
struct reader;
struct writer;

#define VFS_PATH_MAX 4096
#define VFS_NAME_MAX 255
#define VFS_MAX_LINKS 40 /* as Linux's MAXSYMLINKS */

enum vfs_mount_kind { VFS_HOST, VFS_OVERLAY, VFS_MEMORY, VFS_DEV, VFS_PROC };

/*
 * The root is memory, empty, with /dev, /proc, /tmp, /dev/shm mounted, unless a mount on "/"
 * replaces it. The process is borrowed: /proc tells of it, memfs charges its mm.
 */
int vfs_new(struct process *p, struct vfs **out, mayfly_error *err);
void vfs_free(struct vfs *vfs);

/*
 * Mount `host` (path on the host; must exist; NULL but for HOST and OVERLAY) on `guest`, an
 * absolute path, whose missing directories are made (never the host's). A file on a file's
 * name. Later mounts cover earlier ones; a mount on "/" keeps what is mounted beneath. Where
 * `host` is a symbolic link, has the same path as `guest`, and leads to something that was
 * mounted before, the guest gets the same link instead: mount /usr before /bin. Errors:
 * INVALID, IO (which names the path), NOMEM.
 */
int vfs_mount(struct vfs *vfs, enum vfs_mount_kind kind, const char *host, const char *guest,
	      bool writable, mayfly_error *err);
/* The same of a file in memory that has this text, and is not to be written to. */
int vfs_mount_text(struct vfs *vfs, const char *text, const char *guest, mayfly_error *err);

/* The current directory. Errors: -ENOENT, ... */
int vfs_chdir(struct vfs *vfs, const char *path);
int vfs_fchdir(struct vfs *vfs, struct file *file);
/* Its path and its length; -ENOENT: it was removed, or moved out of reach. */
ssize_t vfs_getcwd(struct vfs *vfs, char path[VFS_PATH_MAX]);

/*
 * Open as openat(2) does, O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_TMPFILE
 * included. `dir`: where relative paths begin, NULL: the current directory. Counted *out.
 * 0 or -errno.
 */
int vfs_open(struct vfs *vfs, struct file *dir, const char *path, int flags, mode_t mode,
	     struct file **out);

/* As fstatat(2) with AT_SYMLINK_NOFOLLOW in `flags`. What the guest sees: device numbers and
 * owners are not the host's. */
int vfs_stat(struct vfs *vfs, struct file *dir, const char *path, int flags, struct stat *st);
/* The same of an open file. */
int vfs_fstat(struct vfs *vfs, struct file *file, struct stat *st);

/* The host's view of a name, for bind(2) and connect(2) of Unix sockets in writable mounts: an
 * O_PATH descriptor of the directory and the last component. -errno; -EACCES where not
 * writable; -EOPNOTSUPP where names are in memory: vfs_mknod() makes them there. The name may
 * be, or become, a symbolic link: connect(2) is for an O_PATH | O_NOFOLLOW descriptor of it.
 */
int vfs_parent(struct vfs *vfs, const char *path, int *dir_fd, char name[VFS_NAME_MAX + 1]);

/* As mknodat(2), of S_IFREG, S_IFIFO and S_IFSOCK, with the umask applied. */
int vfs_mknod(struct vfs *vfs, struct file *dir, const char *path, mode_t mode);

/* lseek(2) of a FILE_DIRECTORY: to where a listing was, or to 0, its beginning. */
int64_t vfs_seek(struct file *file, int64_t offset, int whence);

/* Change a file's size; -EINVAL where that cannot be. */
int vfs_ftruncate(struct vfs *vfs, struct file *file, uint64_t size);
/* As fallocate(2). */
int vfs_fallocate(struct vfs *vfs, struct file *file, int mode, uint64_t offset, uint64_t len);

/* memfs's and FILE_DIRECTORY's part of file_put(). */
void vfs_file_release(struct file *file);
/* Whether what it is open on is in memory, and not a file of the host that an overlay shows. */
bool vfs_is_in_memory(const struct file *file);
/* Before a memfs file is written up to `end` or gets that size: charge. -ENOSPC. */
int vfs_will_grow(struct file *file, uint64_t end);

/*
 * For checkpoint.c: memfs's and the overlays' contents, the current directory and the umask's
 * worth of state as bytes, and back (hostile bytes). free(*out).
 */
int vfs_save(struct vfs *vfs, uint8_t **out, size_t *len, mayfly_error *err);
int vfs_load(struct vfs *vfs, const uint8_t *data, size_t len, mayfly_error *err);
/*
 * The same of a file in memory that has no name, by unlink(2), O_TMPFILE or memfd_create(2).
 * -errno; bytes that make no sense leave `r` bad.
 */
bool vfs_is_unnamed(const struct file *file);
int vfs_save_unnamed(struct file *file, struct writer *w);
/* Once more the file that `file` is open on. */
int vfs_open_same(const struct file *file, int flags, const char *path, struct file **out);
int vfs_load_unnamed(struct vfs *vfs, struct reader *r, int flags, const char *path,
		     struct file **out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the file system share: mounts, walks, objects, nodes in memory.
 *
 * Mounts are made before the program runs and do not change afterwards. vfs->lock protects the
 * trees in memory (memfs and overlay); host files have no lock but the host kernel's. The lock
 * is never held while mm's is taken or guest memory is touched: file_put() may come from under
 * mm's lock.
 *
 * A walk turns a path into a place. In memory each name is looked up at once. In a host
 * directory names are only strung together, and the host's kernel resolves all of them by one
 * openat2(2) that refuses symbolic links; only when it meets one (ELOOP) the walk looks for it
 * (walk_expand), reads it, and goes on in the guest's namespace. ".." never reaches the host's
 * kernel.
 */
#ifndef MAYFLY_LINUX_VFS_INTERNAL_H
#define MAYFLY_LINUX_VFS_INTERNAL_H

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/statfs.h>
#include <time.h>

#include <linux/openat2.h>

#include "linux/process.h"
#include "linux/vfs.h"

#define VFS_MAX_NODES ((uint32_t)1 << 20) /* in memory, of one program */
#define VFS_CACHED_MEMFDS 64		  /* memfds of files that nobody has open */
#define VFS_MAX_MOUNTS 1024
#define VFS_NODE_COST 512 /* bytes charged for a node, and for a name, beside its length */
#define VFS_NAME_COST 96

struct memnode;
struct vfs_mount;

struct vfs {
	atomic_uint refs;
	struct process *p; /* borrowed; NULL after vfs_free() */
	pthread_rwlock_t lock;
	pthread_mutex_t cwd_lock;
	struct file *cwd;
	struct vfs_mount *root;
	struct vfs_mount **mounts;
	size_t nmounts;
	uid_t host_uid;
	gid_t host_gid;
	uint64_t seed;		    /* of the hash of names */
	uint32_t nodes;		    /* under lock */
	uint64_t next_ino;	    /* under lock */
	struct memnode *idle_first; /* closed files that still have a memfd; oldest first */
	struct memnode *idle_last;
	uint32_t idle;
	char boot_id[37];
};

struct vfs_mount {
	struct vfs *vfs;
	struct vfs_mount *parent;   /* NULL: the root */
	struct vfs_mount *children; /* latest first */
	struct vfs_mount *next;	    /* of the same parent */
	enum vfs_mount_kind kind;
	char *guest; /* canonical, "" for the root */
	size_t guest_len;
	int root_fd; /* HOST and OVERLAY: O_PATH; else -1 */
	dev_t host_dev;
	bool is_file;
	bool writable;
	struct memnode *root; /* all but HOST and PROC; counted */
	dev_t dev;	      /* as the guest sees it */
	unsigned id;
};

/* What vfs_open() hangs on each file it makes. */
struct directory {
	struct vfs *vfs; /* counted */
	struct vfs_mount *mount;
	bool counted;	      /* among file->node's opens */
	pthread_mutex_t lock; /* of what follows */
	struct vfs_list *list;
	uint64_t position;
};

/* --- Nodes in memory (memfs.c, memfs_data.c) ---------------------------------------------- */

struct mementry {
	struct mementry *hash_next;
	struct mementry *next, *prev; /* in order of making */
	struct memnode *dir;
	struct memnode
		*node; /* counted; NULL: a whiteout, the lower directory's name is gone */
	uint64_t hash;
	uint8_t len;
	char name[];
};

struct memxattr {
	struct memxattr *next;
	size_t len;
	char *value;
	char name[];
};

struct memnode {
	atomic_uint refs; /* names, and users */
	struct vfs_mount *mount;
	uint64_t ino;
	mode_t mode; /* with the type */
	uint32_t nlink;
	uint32_t uid, gid; /* the guest's */
	dev_t rdev;
	struct timespec atime, mtime, ctime;
	struct memxattr *xattrs;
	uint64_t xattr_bytes;
	/*
	 * OVERLAY: where beneath the mount's host directory the contents are that this node
	 * does not have itself; "" for the top. NULL: it has all. Never changes.
	 */
	char *lower;
	bool own_attributes; /* else the lower file's count */
	bool own_data;	     /* files with `lower` */
	bool moved;	     /* is elsewhere than `lower`: must be kept */
	bool linkable;	     /* O_TMPFILE without O_EXCL */
	uint64_t mark;	     /* for vfs_save() */
	/* Of a directory its only name, of others the latest; NULL: a root, or removed. */
	struct memnode *parent;
	struct mementry *self;
	/* Directories. */
	struct mementry *first, *last, **buckets;
	uint32_t nbuckets, nentries;
	uint32_t names; /* entries that are no whiteouts */
	/* Files. FIFOs use fd (O_PATH of a pipe) and opens. */
	int fd;			   /* memfd, or -1: contents in `bytes` */
	uint32_t opens;		   /* struct files */
	uint32_t readers, writers; /* FIFOs */
	uint8_t *bytes;
	uint64_t size;	  /* of bytes */
	uint64_t charged; /* for contents */
	bool idle;
	struct memnode *idle_next, *idle_prev;
	char *target; /* symbolic links */
};

/*
 * _locked: the caller holds vfs->lock for writing. The others take it themselves. Names are
 * 1 to VFS_NAME_MAX bytes, without '/' and NUL, not "." or "..".
 */
struct memnode *memnode_new_locked(struct vfs_mount *m, mode_t mode);
static inline struct memnode *memnode_get(struct memnode *node)
{
	atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed);
	return node;
}
void memnode_put(struct memnode *node);
void memnode_put_locked(struct memnode *node);
void memnode_drop_xattrs_locked(struct memnode *node);
/* The entry, or NULL; at least the read lock. */
struct mementry *memdir_find(const struct memnode *dir, const char *name);
/* Give `node` (NULL: whiteout) a name that is not there yet; adds a reference. -ENOSPC. */
int memdir_add_locked(struct memnode *dir, const char *name, struct memnode *node);
void memdir_remove_locked(struct mementry *entry);
/* Counted *out; -ENOENT. *lower: not in memory, but dir->lower may have it. */
int memdir_lookup(struct memnode *dir, const char *name, struct memnode **out, bool *lower);
void memtree_clear_locked(struct memnode *root);
/*
 * The path of a directory within its mount, "" or "/a/b", at the end of buf; NULL: removed or
 * too long. At least the read lock.
 */
char *memdir_path(const struct memnode *dir, char *buf, size_t size);
bool memdir_removed(const struct memnode *dir);
void memnode_touch(struct memnode *node, bool contents);
/* As access(2) would say for the guest's user: 0 or -EACCES. want: R_OK, W_OK, X_OK. */
int memnode_permits(const struct memnode *node, int want);
/* For making or removing a name in it: 0, -EACCES, -EROFS, -ENOENT (removed). */
int memdir_writable(const struct memnode *dir);
/* Raw: mode, owners, times, size; not the device. */
int memnode_stat(struct memnode *node, struct stat *st);

/* Operations with a name in a directory; 0 or -errno. */
int mem_make(struct memnode *dir, const char *name, mode_t mode, const char *target,
	     struct memnode **out);
int mem_unlink(struct memnode *dir, const char *name, bool directory, bool slash);
int mem_link(struct memnode *node, struct memnode *dir, const char *name);
struct mem_name {
	struct memnode *dir;
	const char *name;
	bool slash; /* written with a slash behind: must be a directory */
};
int mem_rename(const struct mem_name *from, const struct mem_name *to, unsigned flags);

/* memfs_data.c: what is in files. */
void memdata_free_locked(struct memnode *node);
/* A descriptor with a position of its own; counts as an open one until memdata_closed(). */
int memdata_open(struct memnode *node, int flags);
void memdata_closed(struct memnode *node, int flags);
/* A memfd of the guest's making, which says so: fresh nodes only. */
int memdata_set_memfd_locked(struct memnode *node, const char *name, bool sealing);
/* The same of a node that has its contents as bytes, with these seals (F_GET_SEALS). */
int memdata_to_memfd_locked(struct memnode *node, const char *name, int seals);
int memdata_truncate(struct memnode *node, uint64_t size);
int memdata_allocate(struct memnode *node, int mode, uint64_t offset, uint64_t len);
int memdata_set_times(struct memnode *node, const struct timespec times[2]);
/* Size, blocks and the times of contents; at least the read lock. */
void memdata_stat(const struct memnode *node, struct stat *st);
/* Charge for a size of `end`. */
int memdata_reserve(struct memnode *node, uint64_t end);
/* Whole contents, for vfs_save(); free(*out). */
int memdata_read_locked(struct memnode *node, uint8_t **out, uint64_t *size);
/* Contents and charge go from one node to another, which has none. */
void memdata_move_locked(struct memnode *to, struct memnode *from);
int memdata_set_locked(struct memnode *node, const uint8_t *bytes, uint64_t size);

/* --- Overlays (overlay.c) ----------------------------------------------------------------- */

/* Open beneath the lower directory: as host_open_beneath(). */
int overlay_open_lower(const struct vfs_mount *m, const char *lower, const char *name,
		       int flags);
/* Whether the lower directory behind `dir` has this name. */
bool overlay_lower_has(const struct memnode *dir, const char *name);
/* The node of a name that only the lower directory has. Counted *out. */
int overlay_mirror_locked(struct memnode *dir, const char *name, struct memnode **out);
/* The node at `tail` ("a/b") beneath dir, made where missing. Counted. */
int overlay_materialize(struct memnode *dir, const char *tail, struct memnode **out);
/* Attributes, contents become the node's own. */
int overlay_own_attributes(struct memnode *node);
int overlay_copy_up(struct memnode *node, bool truncate);
/* 0: nothing in it that the guest sees; -ENOTEMPTY. */
int overlay_empty_locked(const struct memnode *dir);
/* Each name of the lower directory, but the dots; fn's < 0 ends it. */
typedef int overlay_name_fn(void *context, const char *name, uint64_t ino, unsigned char type);
int overlay_each_lower(const struct memnode *dir, overlay_name_fn *fn, void *context);
/* After a node that was a mirror, and nothing else, is no longer used: forget it. */
bool overlay_forgettable(const struct memnode *node);

/* --- Host directories (vfs_host.c) -------------------------------------------------------- */

#define HOST_RESOLVE                                                                           \
	(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)

/*
 * openat2(2) that never leaves `dir` nor follows a link; `path` "" gives a duplicate of dir for
 * O_PATH. -errno: -ELOOP where a link is on the way, -EACCES where another file system is
 * mounted.
 */
int host_open_beneath(int dir, const char *path, int flags, mode_t mode);
/* Another open file description of what fd refers to, which must be known to be no device. */
int host_reopen(int fd, int flags);
/* For a file of this mount: what the guest sees of it. */
void vfs_map_stat(const struct vfs_mount *m, struct stat *st);

/* --- Walks (vfs_walk.c) ------------------------------------------------------------------- */

enum {
	WALK_FOLLOW = 1,      /* a link at the end, too */
	WALK_PARENT = 2,      /* stop at the directory, leaving the name */
	WALK_CREATE = 4,      /* a name that is not there is left, too */
	WALK_NO_SYMLINKS = 8, /* RESOLVE_ flags of openat2(2) */
	WALK_NO_MAGIC = 16,
	WALK_BENEATH = 32,
	WALK_IN_ROOT = 64,
	WALK_NO_XDEV = 128
};

struct walk {
	struct vfs *vfs;
	unsigned flags;
	struct file *dir; /* where it began; borrowed; NULL: the current directory */
	struct vfs_mount *mount;
	struct memnode *node; /* counted: at path[0, base) */
	struct file *holder;  /* counted: host directory at path[0, base); NULL: the mount's */
	struct file *magic;   /* counted: the walk ended at an open file */
	size_t base;
	size_t len;
	size_t top; /* length of path where it began, for WALK_BENEATH and WALK_IN_ROOT */
	/*
	 * Canonical, without a slash at the end. Beyond `base`, in host directories: strung
	 * together, not looked at yet.
	 */
	char path[VFS_PATH_MAX];
	bool named; /* `last` is a name in the directory, else the walk is at the object */
	bool dots;  /* the path ended in "." or ".." or was "/" */
	bool up;    /* in ".." */
	bool slash; /* with slashes at the end */
	char last[VFS_NAME_MAX + 1];
	unsigned links;
	size_t rest_at;
	char rest[2 * VFS_PATH_MAX];
};

typedef int walk_fn(struct walk *w, void *context);

/* Walk and do fn at the place, again where links turn up. */
int walk_do(struct vfs *vfs, struct file *dir, const char *path, unsigned flags, walk_fn *fn,
	    void *context);
int walk_start(struct walk *w, struct vfs *vfs, struct file *dir, const char *path,
	       unsigned flags);
int walk_run(struct walk *w);
void walk_fini(struct walk *w);
/* After -ELOOP: 1: there was a link, now walk_run() again; 0: none. Or -errno. */
int walk_expand(struct walk *w);
/* Host directory and path beneath it of path[0, len), for host_open_beneath(). */
int walk_host(const struct walk *w, size_t len, int *dir, char path[VFS_PATH_MAX]);
/* Open what the walk is at (HOST, or OVERLAY beyond its node); for `named`, the directory. */
int walk_open(const struct walk *w, int flags);
/* Whether the host's kernel is to be asked (HOST, or OVERLAY beyond its node). */
static inline bool walk_on_host(const struct walk *w)
{
	return w->mount->kind == VFS_HOST ||
	       (w->mount->kind == VFS_OVERLAY && w->len > w->base);
}
/* OVERLAY: have the walk stand at a node. */
int walk_materialize(struct walk *w);
/* The mount on path (+ "/" + name) among those on m, or NULL. */
struct vfs_mount *mount_on(const struct vfs_mount *m, const char *path, size_t len,
			   const char *name);
/* Whether something is mounted at or beneath it. */
bool mount_beneath(const struct vfs_mount *m, const char *path, size_t len, const char *name);
/* Where a directory is now, into path[VFS_PATH_MAX]: length; -ENOENT: removed or moved away. */
ssize_t directory_path(struct file *dir, char path[VFS_PATH_MAX]);

/* --- Objects (vfs_object.c) --------------------------------------------------------------- */

/* What calls on attributes work on, got by name or from an open file. */
struct vfs_object {
	struct vfs *vfs;
	struct vfs_mount *mount; /* NULL: no file of a mount: a stream, a pipe, ... */
	struct memnode *node;	 /* counted */
	struct file *file;	 /* counted */
	int fd;			 /* of the host, or -1 */
	bool owned;		 /* fd is closed with it */
	mode_t type;
	char proc[64]; /* PROC: path in it */
};

#define OBJECT_WRITE 0x40000000 /* it is to be changed: -EROFS; copied up */

/* flags: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, OBJECT_WRITE. */
int vfs_object_at(struct vfs *vfs, struct file *dir, const char *path, int flags,
		  struct vfs_object *o);
int vfs_object_of(struct vfs *vfs, struct file *file, int flags, struct vfs_object *o);
void vfs_object_fini(struct vfs_object *o);
int vfs_object_stat(struct vfs_object *o, struct stat *st);
int vfs_object_statfs(struct vfs_object *o, struct statfs *st);
int vfs_object_access(struct vfs_object *o, int mode);
int vfs_object_chmod(struct vfs_object *o, mode_t mode);
int vfs_object_chown(struct vfs_object *o, uint32_t uid, uint32_t gid);
int vfs_object_utimens(struct vfs_object *o, const struct timespec times[2]);
/* 0 or more bytes. size 0 asks for the size. */
ssize_t vfs_object_getxattr(struct vfs_object *o, const char *name, void *value, size_t size);
ssize_t vfs_object_listxattr(struct vfs_object *o, char *list, size_t size);
int vfs_object_setxattr(struct vfs_object *o, const char *name, const void *value, size_t size,
			int flags);
int vfs_object_removexattr(struct vfs_object *o, const char *name);
/* For vfs_load(). */
int vfs_object_load_xattr_locked(struct vfs_object *o, const char *name, const void *value,
				 size_t size);

/* --- Names (vfs_names.c) ------------------------------------------------------------------ */

int vfs_mkdir(struct vfs *vfs, struct file *dir, const char *path, mode_t mode);
int vfs_symlink(struct vfs *vfs, const char *target, struct file *dir, const char *path);
int vfs_unlink(struct vfs *vfs, struct file *dir, const char *path, bool directory);
struct vfs_name {
	struct file *dir;
	const char *path;
};
int vfs_rename(struct vfs *vfs, const struct vfs_name *from, const struct vfs_name *to,
	       unsigned flags);
/* flags: AT_SYMLINK_FOLLOW, AT_EMPTY_PATH. */
int vfs_link(struct vfs *vfs, const struct vfs_name *from, const struct vfs_name *to,
	     int flags);
/* The text of a link; its length, not longer than size. "" : of the open file `dir` itself. */
ssize_t vfs_readlink(struct vfs *vfs, struct file *dir, const char *path, char *to,
		     size_t size);
int vfs_truncate(struct vfs *vfs, struct file *dir, const char *path, uint64_t size);

/* --- Opening (vfs_open.c) ----------------------------------------------------------------- */

/* What openat2(2) is told. */
struct vfs_how {
	int flags;
	mode_t mode;
	unsigned resolve; /* WALK_ flags for RESOLVE_ */
};
int vfs_open_how(struct vfs *vfs, struct file *dir, const char *path, const struct vfs_how *how,
		 struct file **out);
/* memfd_create(2): a file without a name. */
int vfs_memfd(struct vfs *vfs, const char *name, bool sealing, struct file **out);
/* Where files without a name are, or NULL. */
struct vfs_mount *vfs_memory(const struct vfs *vfs);
/* Open a regular file in memory, which has `path` but need not be there; takes node. */
int vfs_open_unnamed(struct memnode *node, int flags, const char *path, struct file **out);
/* What path[] of a walk is to the guest. */
const char *walk_path(const struct walk *w);

/* --- Listings (vfs_list.c) ---------------------------------------------------------------- */

struct vfs_list;
/* One name into a listing that is being made. -ENOMEM. */
int vfs_list_add(struct vfs_list *list, const char *name, uint64_t ino, unsigned char type);
bool vfs_list_has(const struct vfs_list *list, const char *name);
/* As getdents64(2), into host memory. Bytes, or -errno. */
ssize_t vfs_getdents(struct file *file, void *buffer, size_t size);
void vfs_list_free(struct vfs *vfs, struct vfs_list *list);

/* --- /proc and /dev (procfs.c, proc_text.c, proc_system.c, devfs.c) ----------------------- */

enum proc_type { PROC_NONE, PROC_DIR, PROC_FILE, PROC_LINK, PROC_FD };

struct proc_text;
struct proc_entry;
typedef void proc_render(struct vfs *vfs, struct proc_text *text,
			 const struct proc_entry *entry);

/* A name in /proc, or in the directory of a task there. */
struct proc_name {
	const char *path;
	enum proc_type type;
	proc_render *render; /* of files and links */
};

struct proc_entry {
	enum proc_type type;
	const struct proc_name *name;
	bool of_task;  /* name is in a task's directory */
	bool in_group; /* ... of /proc/PID/task */
	int tid;
	uint32_t fd; /* in fd and fdinfo */
	mode_t mode;
};

/* What is at `path` ("" for the top, "self/fd/3") in /proc. -ENOENT, -ENOTDIR. */
int proc_find(struct vfs *vfs, const char *path, struct proc_entry *entry);
void proc_stat(struct vfs *vfs, const char *path, const struct proc_entry *entry,
	       struct stat *st);
/* The text of a file or link, NUL-terminated; free(*out). */
int proc_read(struct vfs *vfs, const struct proc_entry *entry, char **out, size_t *len);
int proc_list(struct vfs *vfs, const struct proc_entry *entry, struct vfs_list *list);
void proc_printf(struct proc_text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void proc_bytes(struct proc_text *text, const void *bytes, size_t len);
/* The files' contents: of a task (proc_text.c), of the system (proc_system.c). */
proc_render proc_cmdline, proc_environ, proc_auxv, proc_maps, proc_status, proc_task_stat,
	proc_statm, proc_limits, proc_comm, proc_mounts, proc_mountinfo, proc_fdinfo, proc_cwd,
	proc_exe, proc_cgroup;
proc_render proc_meminfo, proc_cpuinfo, proc_uptime, proc_loadavg, proc_system_stat,
	proc_version, proc_filesystems, proc_hostname, proc_uuid, proc_boot_id;

#define PROC_OSRELEASE "6.1.0-mayfly" /* as uname(2) says: sys_identity.c */
#define PROC_OSVERSION "#1 SMP"
#define PROC_PID_MAX 32768

/* Fill /dev. */
int dev_populate(struct vfs_mount *m);
/* Open the host's device, if it is one of ours; the terminal that is a stream. */
int dev_open(struct vfs *vfs, dev_t rdev, int flags, const char *path, struct file **out);

/* --- vfs.c -------------------------------------------------------------------------------- */

/* A new random one. */
void vfs_uuid(char out[37]);
struct vfs *vfs_ref(struct vfs *vfs);
void vfs_unref(struct vfs *vfs);
/* A file with its struct directory. Takes fd and one count of node, also on failure. */
struct file *vfs_file_new(struct vfs_mount *m, enum file_kind kind, int fd, int flags,
			  const char *path, struct memnode *node);
static inline bool vfs_charge(struct vfs *vfs, uint64_t bytes)
{
	return !vfs->p || mm_charge(&vfs->p->mm, bytes);
}
static inline void vfs_uncharge(struct vfs *vfs, uint64_t bytes)
{
	if (vfs->p && bytes)
		mm_uncharge(&vfs->p->mm, bytes);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files. A struct file is what Linux calls an open file description; the guest's
 * descriptors are entries of a table that point to it. Each has one host descriptor, on which
 * the host's kernel does the work; directories have entries of their own to list instead.
 *
 * Host descriptors that Mayfly made (sockets, pipes, eventfd, ...) are non-blocking, so that no
 * call on them can block the host thread; whether the guest wants to wait is in `flags`. Those
 * it was given (standard streams) are left as they are: the caller shares them with others.
 */
#ifndef MAYFLY_LINUX_FILES_H
#define MAYFLY_LINUX_FILES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct task;
struct process;
struct directory; /* vfs.h: what is listed, and where the listing stands */
struct memnode;

enum file_kind {
	FILE_REGULAR,	/* the host's or memfs's: never blocks */
	FILE_DIRECTORY, /* `dir`; fd may be -1 */
	FILE_STREAM,	/* given by the caller: stdin, stdout, stderr; anything, may block */
	FILE_DEVICE,	/* /dev/null and the like */
	FILE_PIPE,
	FILE_SOCKET,
	FILE_EVENT, /* eventfd */
	FILE_TIMER, /* timerfd */
	FILE_SIGNAL, /* signalfd */
	FILE_EPOLL,
	FILE_PATH /* O_PATH */
};

struct file {
	atomic_uint refs;
	enum file_kind kind;
	int fd; /* the host's, CLOEXEC; -1: none */
	/*
	 * O_ACCMODE, O_APPEND, O_NONBLOCK, O_PATH, O_DIRECTORY, ... as the guest sees them;
	 * F_SETFL changes it under files->lock.
	 */
	int flags;
	bool counts_output; /* towards max_output */
	char *path;	    /* the guest's, absolute, or "pipe:[7]", "anon_inode:[eventpoll]" */
	uint64_t inode;	    /* of pipes and the like, unique in the process */

	/* FILE_DIRECTORY. */
	struct directory *dir;
	/* Counted; memfs's file that it is open on: its size is charged. */
	struct memnode *node;
	/* FILE_SIGNAL: the set. */
	uint64_t sigmask;
	/* FILE_SOCKET. */
	int domain, type, protocol; /* type without flags */
	bool listening;
	bool connecting;
	void *private_data; /* of the kind's own file; freed by `release` */
	void (*release)(struct file *file);
};

struct file_slot {
	struct file *file; /* counted; NULL: free */
	bool cloexec;
};

struct files {
	pthread_mutex_t lock;
	struct file_slot *slots;
	uint32_t count; /* of slots */
	uint32_t max;	/* descriptors the guest may have (--max-files, RLIMIT_NOFILE) */
	uint32_t open;
	uint32_t lowest; /* no free slot below */
	atomic_ullong next_inode;
};

int files_init(struct files *files, uint32_t max);
void files_fini(struct files *files);

/* Takes `fd` and, on success, nothing else. NULL when memory is out: fd is closed then. */
struct file *file_new(enum file_kind kind, int fd, int flags, const char *path);
static inline struct file *file_get(struct file *file)
{
	atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
	return file;
}
/* The last one closes. NULL is allowed. */
void file_put(struct file *file);

/*
 * The lowest free descriptor >= `from` gets the file: the caller's reference goes over, also on
 * failure. -EMFILE. Gives the descriptor.
 */
int files_install(struct files *files, struct file *file, uint32_t from, bool cloexec);
/* Counted, for file_put(); NULL: no such descriptor (EBADF), also for those open by O_PATH. */
struct file *files_get(struct files *files, uint64_t fd);
/* O_PATH descriptors, too. */
struct file *files_get_any(struct files *files, uint64_t fd);
int files_close(struct files *files, uint64_t fd);
/* Make `fd` refer to `file` (the reference goes over), closing what was there. */
int files_replace(struct files *files, uint64_t fd, struct file *file, bool cloexec);

static inline bool file_readable(const struct file *file)
{
	return (file->flags & 3) != 1;
}

static inline bool file_writable(const struct file *file)
{
	return (file->flags & 3) != 0;
}

/*
 * read(2) and write(2) with everything that is said above, for all kinds: `offset` -1 for the
 * file's own position. Used by all calls that transfer data. `iov` is of host addresses.
 * ERESTARTSYS when interrupted with nothing done.
 */
struct iovec;
int64_t file_read(struct task *t, struct file *file, const struct iovec *iov, int n,
		  int64_t offset, int rwf);
int64_t file_write(struct task *t, struct file *file, const struct iovec *iov, int n,
		   int64_t offset, int rwf);

#endif

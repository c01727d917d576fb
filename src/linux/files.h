/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files. A struct file is what Linux calls an open file description; the guest's
 * descriptors are entries of a table that point to it. Each has one host descriptor, on which
 * the host's kernel does the work; directories have entries of their own to list instead.
 *
 * Host descriptors that Mayfly made (sockets, pipes, eventfd, ...) are non-blocking, so that no
 * call on them can block the host thread; whether the guest wants to wait is in `flags`. Those
 * it was given (standard streams) are left as they are: the caller shares them with others. Pipes
 * and terminals among them are opened once more, by /proc/self/fd, for a description of Mayfly's
 * own that can be non-blocking. Appending is done by file_write(): the host's descriptors of
 * memfs's files do not have O_APPEND.
 */
#ifndef MAYFLY_LINUX_FILES_H
#define MAYFLY_LINUX_FILES_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* A pipe may have the size that it has by default: more would be the host's memory. */
#define PIPE_SIZE_MAX 65536

struct task;
struct process;
struct epoll_watch;  /* sys_epoll.c */
struct locked_inode; /* file_locks.c */
struct lock_ranges;
struct directory; /* vfs.h: what is listed, and where the listing stands */
struct memnode;

enum file_kind {
	FILE_REGULAR,	/* the host's or memfs's: never blocks */
	FILE_DIRECTORY, /* `dir`; fd may be -1 */
	FILE_STREAM,	/* given by the caller: stdin, stdout, stderr; anything, may block */
	FILE_DEVICE,	/* /dev/null and the like */
	FILE_PIPE,
	FILE_SOCKET,
	FILE_EVENT,  /* eventfd */
	FILE_TIMER,  /* timerfd */
	FILE_SIGNAL, /* signalfd */
	FILE_EPOLL,
	FILE_PATH /* O_PATH */
};

/*
 * What a failed call of the host's is to the guest, whose system is full where the host process
 * has all the descriptors it may have.
 */
static inline int host_error(int e)
{
	if (e == EMFILE)
		return -ENFILE;
	return e > 0 ? -e : -EIO;
}

/* How the host descriptor is used so that nothing blocks the host thread for long. */
enum file_io {
	FILE_IO_PLAIN,	  /* as a disk: regular files, /dev/null and the like */
	FILE_IO_NONBLOCK, /* it is non-blocking, and no one else's */
	FILE_IO_SOCKET,	  /* a shared socket: MSG_DONTWAIT */
	FILE_IO_POLL	  /* shared, else: asked by poll(2) first */
};

struct file {
	atomic_uint refs;
	enum file_kind kind;
	enum file_io io; /* set by file_new() */
	bool tty;	 /* FILE_STREAM: a terminal */
	/* FILE_STREAM: the process's original standard input, for MAYFLY_PAUSE_STDIN. */
	bool standard_input;
	/*
	 * FILE_REGULAR, FILE_DIRECTORY: in a mount whose changes go to the host. Set by vfs;
	 * locks and fsync(2) reach the host's file only then.
	 */
	bool writable_mount;
	int fd; /* the host's, CLOEXEC; -1: none */
	/*
	 * O_ACCMODE, O_APPEND, O_NONBLOCK, O_PATH, O_DIRECTORY, ... as the guest sees them;
	 * F_SETFL changes it under files->lock.
	 */
	int flags;
	bool counts_output; /* towards max_output */
	char *path;	    /* the guest's, absolute, or "pipe:[7]", "anon_inode:[eventpoll]" */
	uint64_t inode;	    /* of pipes and the like, unique in the process */
	uint32_t areas;	    /* of the address space that it is mapped in; under mm->lock */

	/* FILE_DIRECTORY. */
	struct directory *dir;
	/* Counted; memfs's file that it is open on: its size is charged. */
	struct memnode *node;
	/* FILE_SIGNAL: the set, atomic; the list of sigstate.h, under its lock. */
	uint64_t sigmask;
	struct file *next_signalfd;
	/* FILE_SOCKET. FILE_EVENT: type is EFD_SEMAPHORE or 0. FILE_TIMER: type is the clock. */
	int domain, type, protocol; /* type without flags */
	bool listening;
	bool connecting;
	void *private_data; /* of the kind's own file; freed by `release` */
	void (*release)(struct file *file);
	struct lock_ranges *locks;   /* F_OFD_SETLK's, file_locks.c */
	struct epoll_watch *watches; /* in epolls, sys_epoll.c */
	/* Whose locks the two above are under; NULL: it never had any. */
	struct files *_Atomic owner;
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

	/*
	 * Held from vfs_will_grow() until what it was asked for is written, and by what makes a
	 * memfs file shorter, so that no byte is written that is not charged.
	 */
	pthread_mutex_t grow_lock;
	/* Held from poll(2) to read(2) of FILE_IO_POLL: no other guest thread takes the input. */
	pthread_mutex_t stream_lock;
	/* The host's RLIMIT_FSIZE is finite: writes may raise SIGXFSZ. */
	bool host_fsize_limited;
	/* Of all epolls: their watches, and how many there are. */
	pthread_mutex_t watch_lock;
	uint32_t watches;
	uint32_t watch_fds; /* host descriptors made for them */
	/* fcntl(2)'s locks, file_locks.c: of the process on inodes; records of all kinds. */
	pthread_mutex_t record_lock;
	struct locked_inode *_Atomic locked_inodes;
	uint32_t lock_records;
	uint32_t locked_count; /* of locked_inodes: each has a host descriptor */
};

int files_init(struct files *files, uint32_t max);
void files_fini(struct files *files);

/* Takes `fd` and, on success, nothing else. NULL when memory is out: fd is closed then. */
struct file *file_new(enum file_kind kind, int fd, int flags, const char *path);
/* The same with a new inode number and the path "name:[inode]", as of pipes and sockets. */
struct file *file_new_numbered(struct files *files, enum file_kind kind, int fd, int flags,
			       const char *name);
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
/* FD_CLOEXEC: gives whether it is set, sets it. -EBADF. */
int files_get_cloexec(struct files *files, uint64_t fd);
int files_set_cloexec(struct files *files, uint64_t fd, bool cloexec);
/* close_range(2) of [first, last]; `cloexec`: only mark them. */
void files_close_range(struct files *files, uint32_t first, uint32_t last, bool cloexec);
/* Make `fd` refer to `file` (the reference goes over), closing what was there. */
int files_replace(struct files *files, uint64_t fd, struct file *file, bool cloexec);

/* O_NONBLOCK and the like now: other threads may change them by F_SETFL. */
static inline int file_flags(const struct file *file)
{
	return __atomic_load_n(&file->flags, __ATOMIC_RELAXED);
}

static inline bool file_readable(const struct file *file)
{
	return (file_flags(file) & 3) != 1;
}

static inline bool file_writable(const struct file *file)
{
	return (file_flags(file) & 3) != 0;
}

/*
 * read(2) and write(2) with everything that is said above, for all kinds: `offset` -1 for the
 * file's own position; rwf: RWF_ flags of preadv2(2). Used by all calls that transfer data. `iov`
 * is of host addresses, at most IOV_MAX of them; to what is not a socket, not all may be written
 * if there are more than 64. ERESTARTSYS when interrupted with nothing done.
 */
struct iovec;
int64_t file_read(struct task *t, struct file *file, const struct iovec *iov, int n,
		  int64_t offset, int rwf);
int64_t file_write(struct task *t, struct file *file, const struct iovec *iov, int n,
		   int64_t offset, int rwf);

/*
 * After an operation gave -EAGAIN: wait until the host's descriptor is ready for `events`. With
 * its limit in time, if a socket has one (SO_RCVTIMEO, SO_SNDTIMEO): -EAGAIN then. -ERESTARTSYS
 * when interrupted; -EINTR if there is such a limit (signal(7)). 0: try again. `w` is zero at
 * first; it is for one operation.
 */
struct file_waiter {
	bool timed, started;
	unsigned spins; /* ready, but then not: not to be tried in a tight loop */
	struct timespec deadline;
};
int file_wait(struct task *t, struct file *file, short events, struct file_waiter *w);

/* FILE_SOCKET's part of file_read() and file_write(): sys_message.c. `flags`: MSG_DONTWAIT. */
int64_t socket_file_read(struct task *t, struct file *file, const struct iovec *iov, int n,
			 int flags);
int64_t socket_file_write(struct task *t, struct file *file, const struct iovec *iov, int n,
			  int flags);
/* How many bytes of what FIONREAD says of the host's descriptor are not the guest's. */
size_t socket_overhead(const struct file *file);

/*
 * Around calls of the host that may raise SIGPIPE or SIGXFSZ on this thread: blocks them where
 * they are not, and takes what was raised. `quick`: nothing can have been raised.
 */
struct file_shield {
	bool up, had_pipe, had_fsize;
	sigset_t old;
};
void file_shield_up(struct task *t, struct file_shield *shield);
void file_shield_down(struct file_shield *shield, bool quick);

/* Send the task one of its own doing: SIGPIPE, SIGXFSZ. */
void file_signal(struct task *t, int signal);
/* The bytes of iov[n], at most INT64_MAX. */
uint64_t iov_total(const struct iovec *iov, int n);
/*
 * Part of iov[n] in to[max]: `len` bytes after `skip`, fewer if there is no more or `max` is too
 * small. Gives the entries.
 */
int iov_window(const struct iovec *iov, int n, uint64_t skip, uint64_t len, struct iovec *to,
	       int max);

/* --- Parts of this: file_locks.c, sys_epoll.c, sys_event.c -------------------------------- */

/* A descriptor of `file` was closed: POSIX record locks on it are gone (fcntl(2)). */
void record_locks_closed(struct files *files, struct file *file);
void record_locks_free(struct files *files);
void file_locks_free(struct file *file);
/* fcntl(2): F_GETLK, F_SETLK, F_SETLKW and the same of F_OFD_. */
int64_t fcntl_lock(struct task *t, struct file *file, int command, uint64_t va);
/* Whether locks on it, and its durability, are the host's business. */
bool file_is_hosts(const struct file *file);

/* The last reference of a watched file is gone: out of all epolls, before fd is closed. */
void epoll_forget(struct file *file);
/* Put another description, fd's, under the number file->fd, for all epolls too. 0 or -errno. */
int epoll_exchange(struct files *files, struct file *file, int fd);
/* For checkpoint.c: each watch of an epoll; stops when `each` does not give 0. */
struct epoll_watch_info {
	int fd;		   /* of the guest, when it was added */
	struct file *file; /* borrowed */
	uint32_t events;
	uint64_t data;
};
int epoll_each(struct file *epoll, int (*each)(void *context, const struct epoll_watch_info *w),
	       void *context);
struct file *epoll_new(struct files *files);
/* EPOLL_CTL_ADD. 0 or -errno. */
int epoll_add(struct files *files, struct file *epoll, const struct epoll_watch_info *w);
/* Whether waiting on it is waiting on standard input. */
bool epoll_has_standard_input(struct file *epoll);

/* FILE_SIGNAL: read(2); and have its descriptor be readable if a signal waits for the task. */
int64_t signalfd_read(struct task *t, struct file *file, const struct iovec *iov, int n,
		      bool nonblocking);
void signalfd_refresh(struct task *t, struct file *file);
struct file *signalfd_new(struct process *p, uint64_t set, int flags);

#endif

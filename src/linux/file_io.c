/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing open files of all kinds.
 *
 * A transfer is a loop of attempts that do not block and waits that a signal ends. What an
 * attempt does depends on file->io.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#include "linux/process.h"

#define WINDOW 64 /* entries of an iovec on the stack */
/* Ready, but then it was not, so often in a row: sleep between the attempts. */
#define SPINS_BEFORE_SLEEP 3
#define SPIN_SLEEP_NS 2000000

/* --- Vectors ------------------------------------------------------------------------------ */

uint64_t iov_total(const struct iovec *iov, int n)
{
	uint64_t total = 0;
	for (int i = 0; i < n; i++) {
		if (add_overflows(total, iov[i].iov_len, &total) || total > INT64_MAX)
			return INT64_MAX;
	}
	return total;
}

int iov_window(const struct iovec *iov, int n, uint64_t skip, uint64_t len, struct iovec *to,
	       int max)
{
	int k = 0;
	for (int i = 0; i < n && k < max && len > 0; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		uint64_t part = iov[i].iov_len - skip;
		if (part > len)
			part = len;
		to[k].iov_base = (uint8_t *)iov[i].iov_base + skip;
		to[k].iov_len = part;
		k++;
		len -= part;
		skip = 0;
	}
	return k;
}

/* --- Signals of the host and of the guest ------------------------------------------------- */

void file_shield_up(struct task *t, struct file_shield *shield)
{
	*shield = (struct file_shield){.up = false};
	/* The library's own threads have all signals blocked; what waits there harms no one. */
	if (!t->main)
		return;

	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	sigaddset(&set, SIGXFSZ);
	if (pthread_sigmask(SIG_BLOCK, &set, &shield->old) != 0)
		return;
	shield->up = true;
	/* Only if the caller had it blocked can one be waiting that is not ours. */
	sigset_t pending;
	if ((sigismember(&shield->old, SIGPIPE) == 1 ||
	     sigismember(&shield->old, SIGXFSZ) == 1) &&
	    sigpending(&pending) == 0) {
		shield->had_pipe = sigismember(&pending, SIGPIPE) == 1;
		shield->had_fsize = sigismember(&pending, SIGXFSZ) == 1;
	}
}

void file_shield_down(struct file_shield *shield, bool quick)
{
	if (!shield->up)
		return;
	int saved = errno;
	if (!quick) {
		sigset_t set;
		sigemptyset(&set);
		if (!shield->had_pipe)
			sigaddset(&set, SIGPIPE);
		if (!shield->had_fsize)
			sigaddset(&set, SIGXFSZ);
		const struct timespec now = {0, 0};
		while (sigtimedwait(&set, NULL, &now) > 0)
			continue;
	}
	pthread_sigmask(SIG_SETMASK, &shield->old, NULL);
	errno = saved;
}

/* As the kernel's send_sig(signal, current, 0): from the process itself. */
void file_signal(struct task *t, int signal)
{
	struct guest_siginfo info = {.signo = signal, .code = SI_USER};
	info.rt.pid = PROCESS_PID;
	info.rt.uid = t->process->uid;
	signal_send(t->process, t, &info);
}

/* --- Waiting ------------------------------------------------------------------------------ */

static void timeval_after(const struct timeval *tv, struct file_waiter *w)
{
	struct timespec relative = {.tv_sec = tv->tv_sec, .tv_nsec = tv->tv_usec * 1000};
	w->timed = deadline_after(&relative, &w->deadline);
}

/* n_tty(4) without ICANON, VMIN 0: the wait ends after VTIME tenths of a second, termios(3). */
static void tty_limit(struct file *file, struct file_waiter *w)
{
	struct termios tio;
	if (tcgetattr(file->fd, &tio) < 0 || (tio.c_lflag & ICANON) != 0 || tio.c_cc[VMIN] != 0)
		return;
	struct timeval tv = {
		.tv_sec = tio.c_cc[VTIME] / 10,
		.tv_usec = tio.c_cc[VTIME] % 10 * 100000L,
	};
	timeval_after(&tv, w);
}

static void waiter_start(struct file *file, short events, struct file_waiter *w)
{
	w->started = true;
	if (file->io == FILE_IO_SOCKET || file->kind == FILE_SOCKET) {
		struct timeval tv = {0, 0};
		socklen_t len = sizeof(tv);
		int option = (events & POLLOUT) != 0 ? SO_SNDTIMEO : SO_RCVTIMEO;
		if (getsockopt(file->fd, SOL_SOCKET, option, &tv, &len) == 0 &&
		    (tv.tv_sec != 0 || tv.tv_usec != 0))
			timeval_after(&tv, w);
	} else if (file->tty && (events & POLLIN) != 0) {
		tty_limit(file, w);
	}
}

int file_wait(struct task *t, struct file *file, short events, struct file_waiter *w)
{
	if (!w->started)
		waiter_start(file, events, w);

	int r;
	if (w->spins++ >= SPINS_BEFORE_SLEEP) {
		/*
		 * A descriptor can be ready and yet not take what is offered: an eventfd that
		 * would overflow, a datagram socket whose peer is full, input that another
		 * process always takes first.
		 */
		r = task_pause(t, SPIN_SLEEP_NS);
		if (r < 0)
			return w->timed ? -EINTR : -ERESTARTSYS;
	}
	r = task_wait_fd(t, file->fd, events, w->timed ? &w->deadline : NULL);
	if (r > 0)
		return 0;
	if (r == 0)
		return -EAGAIN;
	if (r != -EINTR)
		return r;
	return w->timed && !file->tty ? -EINTR : -ERESTARTSYS;
}

/* --- Reading ------------------------------------------------------------------------------ */

static ssize_t host_read(struct file *file, const struct iovec *iov, int n, int64_t offset,
			 int rwf)
{
	if (offset < 0 && rwf == 0)
		return readv(file->fd, iov, n);
	return syscall(SYS_preadv2, file->fd, iov, n, offset, 0L, rwf);
}

/* Input that is there now: of a stream that is shared with other processes. */
static ssize_t polled_read(struct task *t, struct file *file, const struct iovec *iov, int n,
			   int64_t offset, int rwf)
{
	struct files *files = &t->process->files;
	struct pollfd pfd = {.fd = file->fd, .events = POLLIN};
	ssize_t r = -1;
	errno = EAGAIN;
	pthread_mutex_lock(&files->stream_lock);
	if (poll(&pfd, 1, 0) > 0)
		r = host_read(file, iov, n, offset, rwf);
	pthread_mutex_unlock(&files->stream_lock);
	return r;
}

static int64_t attempt_read(struct task *t, struct file *file, const struct iovec *iov, int n,
			    int64_t offset, int rwf)
{
	ssize_t r;
	switch (file->io) {
	case FILE_IO_SOCKET:
		if (offset >= 0)
			return -ESPIPE;
		if (iov_total(iov, n) == 0)
			return 0;
		r = recvmsg(file->fd,
			    &(struct msghdr){.msg_iov = (struct iovec *)(uintptr_t)iov,
					     .msg_iovlen = (size_t)n},
			    MSG_DONTWAIT);
		break;
	case FILE_IO_POLL:
		r = polled_read(t, file, iov, n, offset, rwf);
		break;
	case FILE_IO_PLAIN:
	case FILE_IO_NONBLOCK:
	default:
		r = host_read(file, iov, n, offset, rwf);
		break;
	}
	return r < 0 ? -errno : r;
}

/*
 * A terminal's input, waited for: first poll(2), which knows of VMIN, then read(2). In raw mode
 * with VMIN 0 the end of VTIME is the end of the input, not an error.
 */
static int64_t tty_read(struct task *t, struct file *file, const struct iovec *iov, int n)
{
	struct file_waiter w = {.timed = false};
	for (;;) {
		int r = file_wait(t, file, POLLIN, &w);
		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return r;
		int64_t got = attempt_read(t, file, iov, n, -1, 0);
		if (got != -EAGAIN)
			return got;
	}
}

static int read_check(struct task *t, struct file *file)
{
	if (file->kind == FILE_PATH || !file_readable(file))
		return -EBADF;
	if (file->kind == FILE_DIRECTORY)
		return -EISDIR;
	if (file->kind == FILE_EPOLL)
		return -EINVAL;
	if (file->standard_input && process_pause(t, MAYFLY_PAUSE_STDIN))
		return -ERESTARTNOINTR;
	return 0;
}

int64_t file_read(struct task *t, struct file *file, const struct iovec *iov, int n,
		  int64_t offset, int rwf)
{
	int e = read_check(t, file);
	if (e < 0)
		return e;
	bool nonblocking = (file_flags(file) & O_NONBLOCK) != 0 || (rwf & RWF_NOWAIT) != 0;
	if (file->kind == FILE_SIGNAL)
		return offset >= 0 ? -ESPIPE : signalfd_read(t, file, iov, n, nonblocking);
	if (file->kind == FILE_SOCKET && file->private_data != NULL)
		return offset >= 0 ? -ESPIPE
				   : socket_file_read(t, file, iov, n,
						      nonblocking ? MSG_DONTWAIT : 0);
	if (file->tty && !nonblocking && offset < 0 && iov_total(iov, n) > 0)
		return tty_read(t, file, iov, n);

	struct file_waiter w = {.timed = false};
	for (;;) {
		int64_t r = attempt_read(t, file, iov, n, offset, rwf);
		if (r != -EAGAIN || nonblocking || file->io == FILE_IO_PLAIN)
			return r;
		int waited = file_wait(t, file, POLLIN, &w);
		if (waited < 0)
			return waited;
	}
}

/* --- Writing ------------------------------------------------------------------------------ */

static ssize_t host_write(struct file *file, const struct iovec *iov, int n, int64_t offset,
			  int rwf)
{
	if (offset < 0 && rwf == 0)
		return writev(file->fd, iov, n);
	return syscall(SYS_pwritev2, file->fd, iov, n, offset, 0L, rwf);
}

/*
 * To a stream that is shared: as much as is sure not to block once it is ready for output, a
 * pipe's PIPE_BUF (pipe(7): there is room for a page then).
 */
static ssize_t polled_write(struct file *file, const struct iovec *iov, int n, int64_t offset,
			    int rwf)
{
	struct pollfd pfd = {.fd = file->fd, .events = POLLOUT};
	if (poll(&pfd, 1, 0) <= 0) {
		errno = EAGAIN;
		return -1;
	}
	struct iovec part[WINDOW];
	int k = iov_window(iov, n, 0, PIPE_BUF, part, WINDOW);
	return host_write(file, part, k, offset, rwf);
}

/* A write(2) under way. */
struct request {
	struct task *t;
	struct file *file;
	const struct iovec *iov;
	int n;
	int64_t offset; /* -1: at the file's own position */
	int rwf;
};

static int64_t socket_write(const struct request *q, const struct iovec *iov, int n)
{
	struct msghdr message = {
		.msg_iov = (struct iovec *)(uintptr_t)iov,
		.msg_iovlen = (size_t)n,
	};
	if (q->offset >= 0)
		return -ESPIPE;
	ssize_t r = sendmsg(q->file->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (r >= 0)
		return r;
	int e = errno;
	if (e == EPIPE && q->file->type == SOCK_STREAM)
		file_signal(q->t, SIGPIPE);
	return -e;
}

/* Once, what `iov` has, at `offset`, without waiting. */
static int64_t attempt_write(const struct request *q, const struct iovec *iov, int n,
			     int64_t offset)
{
	struct file *file = q->file;
	if (file->io == FILE_IO_SOCKET || file->kind == FILE_SOCKET)
		return socket_write(q, iov, n);

	bool may_break = file->kind == FILE_PIPE ||
			 (file->kind == FILE_STREAM && file->io != FILE_IO_PLAIN);
	struct file_shield shield = {.up = false};
	if (may_break || q->t->process->files.host_fsize_limited)
		file_shield_up(q->t, &shield);
	ssize_t r = file->io == FILE_IO_POLL ? polled_write(file, iov, n, offset, q->rwf)
					     : host_write(file, iov, n, offset, q->rwf);
	int e = errno;
	file_shield_down(&shield, r >= 0 && (uint64_t)r == iov_total(iov, n));
	if (r >= 0)
		return r;
	if (may_break && e == EPIPE)
		file_signal(q->t, SIGPIPE);
	return -e;
}

/* Where the bytes of a regular file will go. */
static int64_t write_position(const struct request *q)
{
	if ((q->rwf & RWF_APPEND) != 0) {
		struct stat st;
		return fstat(q->file->fd, &st) < 0 ? -errno : st.st_size;
	}
	if (q->offset >= 0)
		return q->offset;
	int64_t at = lseek(q->file->fd, 0, SEEK_CUR);
	return at < 0 ? -errno : at;
}

/*
 * Under grow_lock: exactly where it was charged, whatever other threads do to the position
 * meanwhile.
 */
static int64_t write_charged(const struct request *q, const struct iovec *iov, int n,
			     int64_t at)
{
	uint64_t end;
	if (add_overflows((uint64_t)at, iov_total(iov, n), &end) || end > INT64_MAX)
		return -EFBIG;
	int e = vfs_will_grow(q->file, end);
	if (e < 0)
		return e;
	ssize_t r = host_write(q->file, iov, n, at, q->rwf & ~RWF_APPEND);
	if (r < 0)
		return -errno;
	if (q->offset < 0)
		lseek(q->file->fd, at + r, SEEK_SET);
	return r;
}

static int64_t write_regular(struct request *q)
{
	if ((file_flags(q->file) & O_APPEND) != 0)
		q->rwf |= RWF_APPEND;
	uint64_t limit = limits_soft(q->t->process, RLIMIT_FSIZE);
	if (q->file->node == NULL && limit == RLIM_INFINITY)
		return attempt_write(q, q->iov, q->n, q->offset);

	struct files *files = &q->t->process->files;
	struct iovec part[WINDOW];
	bool too_large = false;
	pthread_mutex_lock(&files->grow_lock);
	int64_t r = write_position(q);
	if (r >= 0 && (uint64_t)r >= limit && iov_total(q->iov, q->n) > 0) {
		too_large = true;
		r = -EFBIG;
	} else if (r >= 0) {
		int64_t at = r;
		int k = iov_window(q->iov, q->n, 0, limit - (uint64_t)at, part, WINDOW);
		r = q->file->node != NULL ? write_charged(q, part, k, at)
					  : attempt_write(q, part, k, q->offset);
	}
	pthread_mutex_unlock(&files->grow_lock);
	if (too_large)
		file_signal(q->t, SIGXFSZ);
	return r;
}

/*
 * `total` bytes, as a blocking descriptor takes them: all, unless an error or a signal comes in
 * between. A message must go out whole, so what fits into one attempt is not divided.
 */
static int64_t write_stream(const struct request *q, uint64_t total)
{
	struct file *file = q->file;
	bool nonblocking = (file_flags(file) & O_NONBLOCK) != 0 || (q->rwf & RWF_NOWAIT) != 0;
	bool whole = total == iov_total(q->iov, q->n);
	struct file_waiter w = {.timed = false};
	struct iovec part[WINDOW];
	uint64_t done = 0;
	int64_t r;
	for (;;) {
		int64_t offset = q->offset < 0 ? -1 : q->offset + (int64_t)done;
		if (done == 0 && whole) {
			r = attempt_write(q, q->iov, q->n, offset);
		} else {
			int k = iov_window(q->iov, q->n, done, total - done, part, WINDOW);
			r = attempt_write(q, part, k, offset);
		}
		if (r > 0) {
			done += (uint64_t)r;
			w.spins = 0;
		}
		if ((r < 0 && r != -EAGAIN) || (r >= 0 && done >= total) || nonblocking)
			break;
		if (file->io == FILE_IO_PLAIN) {
			if (r <= 0)
				break;
			continue;
		}
		int waited = file_wait(q->t, file, POLLOUT, &w);
		if (waited < 0) {
			r = waited;
			break;
		}
	}
	return done > 0 ? (int64_t)done : r;
}

/* Of the output that is still allowed, at most `want` bytes; they count from now on. */
static uint64_t output_reserve(struct process *p, uint64_t want)
{
	unsigned long long used = atomic_load(&p->output);
	uint64_t part;
	do {
		part = want;
		if (p->max_output != 0) {
			uint64_t left = used < p->max_output ? p->max_output - used : 0;
			part = want < left ? want : left;
		}
	} while (!atomic_compare_exchange_weak(&p->output, &used, used + part));
	return part;
}

static int64_t write_output(const struct request *q)
{
	struct process *p = q->t->process;
	uint64_t total = iov_total(q->iov, q->n);
	uint64_t part = output_reserve(p, total);
	int64_t r = part == 0 && total > 0 ? -EFBIG : write_stream(q, part);
	uint64_t done = r > 0 ? (uint64_t)r : 0;
	if (part > done)
		atomic_fetch_sub(&p->output, part - done);
	if (part < total && done == part)
		process_kill(p, SIGXFSZ, "it reached the output limit of %llu bytes",
			     (unsigned long long)p->max_output);
	return r;
}

int64_t file_write(struct task *t, struct file *file, const struct iovec *iov, int n,
		   int64_t offset, int rwf)
{
	struct request q = {
		.t = t, .file = file, .iov = iov, .n = n, .offset = offset, .rwf = rwf};
	if (file->kind == FILE_PATH || file->kind == FILE_DIRECTORY || !file_writable(file))
		return -EBADF;
	if (file->kind == FILE_EPOLL || file->kind == FILE_SIGNAL || file->kind == FILE_TIMER)
		return -EINVAL;
	if (file->kind == FILE_SOCKET && file->private_data != NULL)
		return offset >= 0
			       ? -ESPIPE
			       : socket_file_write(t, file, iov, n,
						   (rwf & RWF_NOWAIT) != 0 ? MSG_DONTWAIT : 0);
	if (file->kind == FILE_REGULAR)
		return write_regular(&q);
	if (file->counts_output)
		return write_output(&q);
	return write_stream(&q, iov_total(iov, n));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one descriptor to another: sendfile(2), copy_file_range(2), splice(2), tee(2).
 *
 * The host's own calls do it where nothing must be counted and no data can be lost half-way;
 * else it goes through a buffer, from an input that is read at an offset and only moved on by
 * what was written.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "linux/process.h"
#include "linux/sockets.h"

#define MAX_RW_COUNT 0x7ffff000 /* the kernel's: INT_MAX, rounded down to a page */
#define BOUNCE_SIZE 65536
/* By one call of the host, which signals do not end early. */
#define HOST_PIECE ((uint64_t)16 << 20)

/* --- Pairs of files ----------------------------------------------------------------------- */

struct pair {
	struct file *in, *out;
	int64_t in_at, out_at; /* -1: their own positions */
};

static int pair_get(struct task *t, uint64_t in, uint64_t out, struct pair *pair)
{
	struct files *files = &t->process->files;
	*pair = (struct pair){.in = files_get(files, in), .in_at = -1, .out_at = -1};
	pair->out = files_get(files, out);
	if (pair->in != NULL && pair->out != NULL && file_readable(pair->in) &&
	    file_writable(pair->out))
		return 0;
	file_put(pair->in);
	file_put(pair->out);
	return -EBADF;
}

static void pair_put(struct pair *pair)
{
	file_put(pair->in);
	file_put(pair->out);
}

/* An offset of the guest's at `va`; 0: none. */
static int offset_get(struct task *t, uint64_t va, int64_t *offset)
{
	if (va == 0)
		return 0;
	int r = mm_get(&t->process->mm, offset, va);
	if (r == 0 && *offset < 0)
		r = -EINVAL;
	return r;
}

static int offset_put(struct task *t, uint64_t va, int64_t offset)
{
	return va == 0 ? 0 : mm_put(&t->process->mm, va, &offset);
}

/*
 * Whether the host's kernel may move bytes of the socket: a stream that goes where it is meant to.
 * What else a socket's host descriptor is, and datagrams' headers, only sockets.h knows.
 */
static bool plain_socket(const struct file *file)
{
	return file->kind == FILE_SOCKET && file->type == SOCK_STREAM &&
	       file->private_data != NULL && socket_of(file)->state == SOCKET_CONNECTED;
}

static bool interrupted(struct task *t)
{
	return atomic_load(&t->kicked) != 0;
}

/* --- Through a buffer --------------------------------------------------------------------- */

/* One piece of at most `len` bytes from the position `at` of the input. */
static int64_t bounce_piece(struct task *t, struct pair *pair, int64_t at, uint64_t len,
			    uint8_t *buffer)
{
	struct iovec iov = {.iov_base = buffer,
			    .iov_len = len < BOUNCE_SIZE ? len : BOUNCE_SIZE};
	int64_t got = file_read(t, pair->in, &iov, 1, at, 0);
	if (got <= 0)
		return got;
	iov.iov_len = (size_t)got;
	return file_write(t, pair->out, &iov, 1, pair->out_at, 0);
}

/* `in` is seekable: what was read but not written stays to be read. */
static int64_t bounce(struct task *t, struct pair *pair, uint64_t len)
{
	int64_t at = pair->in_at < 0 ? lseek(pair->in->fd, 0, SEEK_CUR) : pair->in_at;
	if (at < 0)
		return errno == ESPIPE ? -EINVAL : -errno;
	_cleanup_free_ uint8_t *buffer = malloc(BOUNCE_SIZE);
	if (buffer == NULL)
		return -ENOMEM;

	uint64_t done = 0;
	int64_t r = 0;
	while (done < len && at <= INT64_MAX - BOUNCE_SIZE) {
		r = bounce_piece(t, pair, at, len - done, buffer);
		if (r <= 0)
			break;
		done += (uint64_t)r;
		at += r;
		if (pair->out_at >= 0)
			pair->out_at += r;
		if (interrupted(t))
			break;
	}
	if (pair->in_at < 0)
		lseek(pair->in->fd, at, SEEK_SET);
	else
		pair->in_at = at;
	return done > 0 ? (int64_t)done : r;
}

/* --- sendfile(2) -------------------------------------------------------------------------- */

/* The host's sendfile(2), whose output does not block and needs no accounts. */
static int64_t host_sendfile(struct task *t, struct pair *pair, uint64_t len)
{
	bool nonblocking = (file_flags(pair->out) & O_NONBLOCK) != 0;
	struct file_waiter w = {.timed = false};
	uint64_t done = 0;
	for (;;) {
		uint64_t part = len - done < HOST_PIECE ? len - done : HOST_PIECE;
		struct file_shield shield;
		file_shield_up(t, &shield);
		ssize_t r = sendfile(pair->out->fd, pair->in->fd,
				     pair->in_at < 0 ? NULL : &pair->in_at, part);
		int e = errno;
		file_shield_down(&shield, r >= 0 && (uint64_t)r == part);
		if (r > 0) {
			done += (uint64_t)r;
			w.spins = 0;
		}
		if (r == 0 || done == len || (done > 0 && interrupted(t)))
			return (int64_t)done;
		if (r > 0)
			continue;
		if (e == EPIPE &&
		    (pair->out->kind == FILE_PIPE || pair->out->type == SOCK_STREAM))
			file_signal(t, SIGPIPE);
		if (e != EAGAIN || nonblocking)
			return done > 0 ? (int64_t)done : -e;
		int waited = file_wait(t, pair->out, POLLOUT, &w);
		if (waited < 0)
			return done > 0 ? (int64_t)done : waited;
	}
}

int64_t sys_sendfile(struct task *t, const uint64_t a[6])
{
	uint64_t len = a[3] < MAX_RW_COUNT ? a[3] : MAX_RW_COUNT;
	struct pair pair;
	int64_t r = pair_get(t, a[1], a[0], &pair);
	if (r < 0)
		return r;

	const struct file *in = pair.in, *out = pair.out;
	r = offset_get(t, a[2], &pair.in_at);
	if (r == 0 && (int64_t)a[3] < 0)
		r = -EINVAL;
	if (r == 0 && in->kind != FILE_REGULAR && in->kind != FILE_DEVICE &&
	    !(in->kind == FILE_STREAM && in->io == FILE_IO_PLAIN))
		r = a[2] != 0 ? -ESPIPE : -EINVAL;
	if (r == 0 && ((file_flags(out) & O_APPEND) != 0 || out->kind == FILE_EPOLL))
		r = -EINVAL;
	if (r == 0 && len > 0) {
		bool native = in->kind == FILE_REGULAR &&
			      (plain_socket(out) || out->kind == FILE_PIPE);
		r = native ? host_sendfile(t, &pair, len) : bounce(t, &pair, len);
	}
	if (r > 0 && offset_put(t, a[2], pair.in_at) < 0)
		r = -EFAULT;
	pair_put(&pair);
	return r;
}

/* --- copy_file_range(2) ------------------------------------------------------------------- */

static int copy_check(const struct pair *pair, unsigned flags)
{
	const struct file *in = pair->in, *out = pair->out;
	if (flags != 0)
		return -EINVAL;
	if (in->kind == FILE_DIRECTORY || out->kind == FILE_DIRECTORY)
		return -EISDIR;
	if (in->kind != FILE_REGULAR || out->kind != FILE_REGULAR)
		return -EINVAL;
	return (file_flags(out) & O_APPEND) != 0 ? -EBADF : 0;
}

/* Within one file, source and destination may not overlap. */
static int copy_overlaps(const struct pair *pair, uint64_t len)
{
	struct stat in, out;
	if (fstat(pair->in->fd, &in) < 0 || fstat(pair->out->fd, &out) < 0)
		return -errno;
	if (in.st_dev != out.st_dev || in.st_ino != out.st_ino)
		return 0;
	int64_t from = pair->in_at < 0 ? lseek(pair->in->fd, 0, SEEK_CUR) : pair->in_at;
	int64_t to = pair->out_at < 0 ? lseek(pair->out->fd, 0, SEEK_CUR) : pair->out_at;
	if (from < 0 || to < 0)
		return -EINVAL;
	uint64_t distance = from < to ? (uint64_t)(to - from) : (uint64_t)(from - to);
	return distance < len ? -EINVAL : 0;
}

/*
 * By the host if the copy is all on its file systems, which may then share blocks; one piece,
 * as the call may do less than it was asked.
 */
static int64_t host_copy(struct task *t, struct pair *pair, uint64_t len)
{
	uint64_t part = len < HOST_PIECE ? len : HOST_PIECE;
	struct file_shield shield = {.up = false};
	if (t->process->files.host_fsize_limited)
		file_shield_up(t, &shield);
	ssize_t r = copy_file_range(pair->in->fd, pair->in_at < 0 ? NULL : &pair->in_at,
				    pair->out->fd, pair->out_at < 0 ? NULL : &pair->out_at,
				    part, 0);
	int e = errno;
	file_shield_down(&shield, r >= 0);
	return r < 0 ? -e : r;
}

static int64_t copy(struct task *t, struct pair *pair, uint64_t len)
{
	int64_t r = copy_overlaps(pair, len);
	if (r < 0 || len == 0)
		return r;
	if (pair->in->node == NULL && pair->out->node == NULL &&
	    limits_soft(t->process, RLIMIT_FSIZE) == RLIM_INFINITY) {
		r = host_copy(t, pair, len);
		if (r != -EXDEV && r != -EOPNOTSUPP && r != -ENOSYS && r != -EINVAL)
			return r;
	}
	return bounce(t, pair, len);
}

int64_t sys_copy_file_range(struct task *t, const uint64_t a[6])
{
	uint64_t len = a[4] < MAX_RW_COUNT ? a[4] : MAX_RW_COUNT;
	struct pair pair;
	int64_t r = pair_get(t, a[0], a[2], &pair);
	if (r < 0)
		return r;
	r = offset_get(t, a[1], &pair.in_at);
	if (r == 0)
		r = offset_get(t, a[3], &pair.out_at);
	if (r == 0)
		r = copy_check(&pair, (unsigned)a[5]);
	if (r == 0)
		r = copy(t, &pair, len);
	if (r > 0 &&
	    (offset_put(t, a[1], pair.in_at) < 0 || offset_put(t, a[3], pair.out_at) < 0))
		r = -EFAULT;
	pair_put(&pair);
	return r;
}

/* --- splice(2) and tee(2) ----------------------------------------------------------------- */

static bool is_pipe(const struct file *file)
{
	return file->kind == FILE_PIPE;
}

/*
 * Whether the host's splice(2) can be let loose on it: its descriptor does not block. Shared
 * streams have it refused, as by file systems that do not support it: callers then read and
 * write.
 */
static bool spliceable(const struct file *file)
{
	if (file->kind == FILE_STREAM)
		return file->io == FILE_IO_PLAIN && !file->counts_output &&
		       !file->standard_input;
	return file->kind == FILE_PIPE || plain_socket(file) || file->kind == FILE_REGULAR ||
	       file->kind == FILE_DEVICE;
}

/* Until there is something to move and room for it; which of the two is missing, no one says. */
static int pair_wait(struct task *t, const struct pair *pair, struct file_waiter *w)
{
	struct file *const files[2] = {pair->in, pair->out};
	static const short events[2] = {POLLIN, POLLOUT};
	for (int i = 0; i < 2; i++) {
		if (files[i]->io == FILE_IO_PLAIN)
			continue;
		int r = file_wait(t, files[i], events[i], w);
		if (r < 0)
			return r;
	}
	return 0;
}

/* From a pipe to a memfs file: what is in the pipe is charged before. */
static int64_t splice_charged(struct task *t, struct pair *pair, uint64_t len)
{
	struct files *files = &t->process->files;
	int waiting = 0;
	if (ioctl(pair->in->fd, FIONREAD, &waiting) < 0)
		return -errno;
	if (waiting <= 0)
		waiting = 1; /* nothing can be moved, or the pipe's end is to be seen */
	if (len > (uint64_t)waiting)
		len = (uint64_t)waiting;

	uint64_t limit = limits_soft(t->process, RLIMIT_FSIZE);
	int64_t r;
	pthread_mutex_lock(&files->grow_lock);
	int64_t at = pair->out_at < 0 ? lseek(pair->out->fd, 0, SEEK_CUR) : pair->out_at;
	if (at < 0 || at > INT64_MAX - (int64_t)len || (uint64_t)at + len > limit) {
		r = -EFBIG;
	} else if ((r = pair->out->node == NULL
				? 0
				: vfs_will_grow(pair->out, (uint64_t)at + len)) == 0) {
		int64_t to = at;
		r = splice(pair->in->fd, NULL, pair->out->fd, &to, len, SPLICE_F_NONBLOCK);
		if (r < 0)
			r = -errno;
		else if (pair->out_at < 0)
			lseek(pair->out->fd, to, SEEK_SET);
		else
			pair->out_at = to;
	}
	pthread_mutex_unlock(&files->grow_lock);
	return r;
}

static int64_t splice_once(struct task *t, struct pair *pair, uint64_t len, bool tee_only)
{
	if (pair->out->kind == FILE_REGULAR)
		return splice_charged(t, pair, len);

	struct file_shield shield;
	file_shield_up(t, &shield);
	ssize_t r;
	if (tee_only)
		r = tee(pair->in->fd, pair->out->fd, len, SPLICE_F_NONBLOCK);
	else
		r = splice(pair->in->fd, pair->in_at < 0 ? NULL : &pair->in_at, pair->out->fd,
			   pair->out_at < 0 ? NULL : &pair->out_at, len, SPLICE_F_NONBLOCK);
	int e = errno;
	file_shield_down(&shield, r >= 0 && (uint64_t)r == len);
	if (r >= 0)
		return r;
	if (e == EPIPE && (is_pipe(pair->out) || pair->out->type == SOCK_STREAM))
		file_signal(t, SIGPIPE);
	return -e;
}

/* Once something was moved it is done: less than asked is a proper answer. */
static int64_t splice_loop(struct task *t, struct pair *pair, uint64_t len, unsigned flags,
			   bool tee_only)
{
	bool nonblocking = (flags & SPLICE_F_NONBLOCK) != 0 ||
			   ((file_flags(pair->in) | file_flags(pair->out)) & O_NONBLOCK) != 0;
	struct file_waiter w = {.timed = false};
	if (len > HOST_PIECE)
		len = HOST_PIECE;
	for (;;) {
		int64_t r = splice_once(t, pair, len, tee_only);
		if (r != -EAGAIN || nonblocking)
			return r;
		r = pair_wait(t, pair, &w);
		if (r < 0)
			return r;
	}
}

#define SPLICE_FLAGS (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

static int splice_check(const struct pair *pair, uint64_t in_va, uint64_t out_va)
{
	if (!is_pipe(pair->in) && !is_pipe(pair->out))
		return -EINVAL;
	if ((is_pipe(pair->in) && in_va != 0) || (is_pipe(pair->out) && out_va != 0))
		return -ESPIPE;
	if (!spliceable(pair->in) || !spliceable(pair->out))
		return -EINVAL;
	if (is_pipe(pair->in) && is_pipe(pair->out) && pair->in->inode == pair->out->inode &&
	    pair->in->inode != 0)
		return -EINVAL;
	return !is_pipe(pair->out) && (file_flags(pair->out) & O_APPEND) != 0 ? -EINVAL : 0;
}

int64_t sys_splice(struct task *t, const uint64_t a[6])
{
	uint64_t len = a[4];
	unsigned flags = (unsigned)a[5];
	if (len == 0)
		return 0;
	if ((flags & ~(unsigned)SPLICE_FLAGS) != 0)
		return -EINVAL;
	struct pair pair;
	int64_t r = pair_get(t, a[0], a[2], &pair);
	if (r < 0)
		return r;
	r = splice_check(&pair, a[1], a[3]);
	if (r == 0)
		r = offset_get(t, a[1], &pair.in_at);
	if (r == 0)
		r = offset_get(t, a[3], &pair.out_at);
	if (r == 0)
		r = splice_loop(t, &pair, len, flags, false);
	if (r > 0 &&
	    (offset_put(t, a[1], pair.in_at) < 0 || offset_put(t, a[3], pair.out_at) < 0))
		r = -EFAULT;
	pair_put(&pair);
	return r;
}

int64_t sys_tee(struct task *t, const uint64_t a[6])
{
	unsigned flags = (unsigned)a[3];
	if ((flags & ~(unsigned)SPLICE_FLAGS) != 0)
		return -EINVAL;
	if (a[2] == 0)
		return 0;
	struct pair pair;
	int64_t r = pair_get(t, a[0], a[1], &pair);
	if (r < 0)
		return r;
	if (!is_pipe(pair.in) || !is_pipe(pair.out))
		r = -EINVAL;
	if (r == 0)
		r = splice_loop(t, &pair, a[2], flags, true);
	pair_put(&pair);
	return r;
}

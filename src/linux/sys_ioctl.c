/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioctl(2): descriptors' flags, what is there to read, and terminals: an allow-list, all else
 * fails with ENOTTY, as for a device that does not know it. What types into a terminal (TIOCSTI),
 * takes it over or changes its driver is not on it.
 */
#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

#include "linux/process.h"

/* Before the terminal's settings are changed when its output is out: looked at so often. */
#define DRAIN_PAUSE_NS 5000000

/* The kernel's struct termio (asm-generic/termios.h), of the oldest calls. */
struct old_termio {
	uint16_t iflag, oflag, cflag, lflag;
	uint8_t line;
	uint8_t cc[8];
};

static int host_ioctl(const struct file *file, unsigned long request, void *arg)
{
	return ioctl(file->fd, request, arg) < 0 ? -errno : 0;
}

static int host_ioctl_value(const struct file *file, unsigned long request, uint64_t arg)
{
	return ioctl(file->fd, request, (long)(int)arg) < 0 ? -errno : 0;
}

/* The host fills a structure of `size` bytes, at most 64, which the guest gets. */
static int64_t ioctl_get(struct task *t, struct file *file, unsigned long request, uint64_t va,
			 size_t size)
{
	uint8_t bytes[64] = {0};
	if (size > sizeof(bytes))
		return -ENOTTY;
	int r = host_ioctl(file, request, bytes);
	return r < 0 ? r : mm_write(&t->process->mm, va, bytes, size);
}

/*
 * The same towards the host. Between poll(2) and read(2) of another thread no input may vanish,
 * nor become less than a line.
 */
static int64_t ioctl_set(struct task *t, struct file *file, unsigned long request, uint64_t va,
			 size_t size)
{
	uint8_t bytes[64];
	if (size > sizeof(bytes))
		return -ENOTTY;
	int r = mm_read(&t->process->mm, bytes, va, size);
	if (r < 0)
		return r;
	struct files *files = &t->process->files;
	pthread_mutex_lock(&files->stream_lock);
	r = host_ioctl(file, request, bytes);
	pthread_mutex_unlock(&files->stream_lock);
	return r;
}

/* Until the output is out; the host's own wait could last for ever, with output stopped. */
static int drain(struct task *t, struct file *file)
{
	for (;;) {
		int left = 0;
		if (ioctl(file->fd, TIOCOUTQ, &left) < 0)
			return -errno;
		if (left <= 0)
			return 0;
		if (task_pause(t, DRAIN_PAUSE_NS) < 0)
			return -ERESTARTSYS;
	}
}

static int64_t flush_input(struct task *t, struct file *file, uint64_t queue)
{
	struct files *files = &t->process->files;
	pthread_mutex_lock(&files->stream_lock);
	int r = host_ioctl_value(file, TCFLSH, queue);
	pthread_mutex_unlock(&files->stream_lock);
	return r;
}

/* `now` is the request that neither waits nor flushes. */
static int64_t set_drained(struct task *t, struct file *file, unsigned long now, uint64_t va,
			   size_t size, bool flush)
{
	int64_t r = drain(t, file);
	if (r == 0 && flush)
		r = flush_input(t, file, TCIFLUSH);
	return r < 0 ? r : ioctl_set(t, file, now, va, size);
}

static int64_t ioctl_settings(struct task *t, struct file *file, unsigned request, uint64_t va)
{
	switch (request) {
	case TCGETS:
		return ioctl_get(t, file, TCGETS, va, sizeof(struct termios));
	case TCSETS:
		return ioctl_set(t, file, TCSETS, va, sizeof(struct termios));
	case TCSETSW:
	case TCSETSF:
		return set_drained(t, file, TCSETS, va, sizeof(struct termios),
				   request == TCSETSF);
	case TCGETA:
		return ioctl_get(t, file, TCGETA, va, sizeof(struct old_termio));
	case TCSETA:
		return ioctl_set(t, file, TCSETA, va, sizeof(struct old_termio));
	case TCSETAW:
	case TCSETAF:
		return set_drained(t, file, TCSETA, va, sizeof(struct old_termio),
				   request == TCSETAF);
	case TCGETS2:
		return ioctl_get(t, file, TCGETS2, va, sizeof(struct termios2));
	case TCSETS2:
		return ioctl_set(t, file, TCSETS2, va, sizeof(struct termios2));
	case TCSETSW2:
	case TCSETSF2:
		return set_drained(t, file, TCSETS2, va, sizeof(struct termios2),
				   request == TCSETSF2);
	default:
		return -ENOTTY;
	}
}

/* The guest is alone on its terminal: its process group is the one in front. */
static int64_t ioctl_job_control(struct task *t, unsigned request, uint64_t va)
{
	int32_t id;
	switch (request) {
	case TIOCGPGRP:
		id = PROCESS_PID;
		return mm_put(&t->process->mm, va, &id);
	case TIOCGSID:
		id = PROCESS_SID;
		return mm_put(&t->process->mm, va, &id);
	case TIOCSPGRP: {
		int r = mm_get(&t->process->mm, &id, va);
		if (r < 0)
			return r;
		if (id < 0)
			return -EINVAL;
		return id == PROCESS_PID ? 0 : -ESRCH;
	}
	case TIOCSCTTY:
		return 0;
	default:
		return -ENOTTY;
	}
}

static int64_t ioctl_tty(struct task *t, struct file *file, unsigned request, uint64_t arg)
{
	int64_t r = ioctl_settings(t, file, request, arg);
	if (r != -ENOTTY)
		return r;
	r = ioctl_job_control(t, request, arg);
	if (r != -ENOTTY)
		return r;

	switch (request) {
	case TIOCGWINSZ:
		return ioctl_get(t, file, TIOCGWINSZ, arg, sizeof(struct winsize));
	case TIOCSWINSZ:
		return ioctl_set(t, file, TIOCSWINSZ, arg, sizeof(struct winsize));
	case TIOCOUTQ:
		return ioctl_get(t, file, TIOCOUTQ, arg, sizeof(int));
	case TCSBRK:
	case TCSBRKP:
		/* tcdrain(3), tcsendbreak(3): a break means nothing but on a line with wires. */
		return drain(t, file);
	case TCXONC:
		return host_ioctl_value(file, TCXONC, arg);
	case TCFLSH:
		return flush_input(t, file, arg);
	default:
		return -ENOTTY;
	}
}

/* Datagrams within the process have a header that the guest does not see. */
static int64_t ioctl_unread_socket(struct task *t, struct file *file, uint64_t va)
{
	int32_t bytes = 0;
	if (ioctl(file->fd, FIONREAD, &bytes) < 0)
		return -errno;
	int32_t overhead = (int32_t)socket_overhead(file);
	bytes = bytes > overhead ? bytes - overhead : 0;
	return mm_put(&t->process->mm, va, &bytes);
}

static int64_t ioctl_unread(struct task *t, struct file *file, uint64_t va)
{
	switch (file->kind) {
	case FILE_REGULAR:
	case FILE_STREAM:
	case FILE_PIPE:
		return ioctl_get(t, file, FIONREAD, va, sizeof(int));
	case FILE_SOCKET:
		return ioctl_unread_socket(t, file, va);
	case FILE_DIRECTORY:
	case FILE_DEVICE:
	case FILE_EVENT:
	case FILE_TIMER:
	case FILE_SIGNAL:
	case FILE_EPOLL:
	case FILE_PATH:
		break;
	}
	return -ENOTTY;
}

static int64_t ioctl_nonblocking(struct task *t, struct file *file, uint64_t va)
{
	struct files *files = &t->process->files;
	int32_t on;
	int r = mm_get(&t->process->mm, &on, va);
	if (r < 0)
		return r;
	pthread_mutex_lock(&files->lock);
	int flags = on != 0 ? file->flags | O_NONBLOCK : file->flags & ~O_NONBLOCK;
	__atomic_store_n(&file->flags, flags, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&files->lock);
	return 0;
}

static int64_t ioctl_file(struct task *t, struct file *file, unsigned request, uint64_t arg)
{
	int32_t unused;
	switch (request) {
	case FIONBIO:
		return ioctl_nonblocking(t, file, arg);
	case FIOASYNC: /* no SIGIO is sent */
		return mm_get(&t->process->mm, &unused, arg);
	case FIONREAD:
		return ioctl_unread(t, file, arg);
	case TIOCOUTQ: /* SIOCOUTQ of sockets */
	case SIOCATMARK:
		if (file->kind == FILE_SOCKET)
			return ioctl_get(t, file, request, arg, sizeof(int));
		break;
	default:
		break;
	}
	return file->tty ? ioctl_tty(t, file, request, arg) : -ENOTTY;
}

int64_t sys_ioctl(struct task *t, const uint64_t a[6])
{
	struct files *files = &t->process->files;
	unsigned request = (unsigned)a[1];
	struct file *file = files_get(files, a[0]);
	if (file == NULL)
		return -EBADF;
	int64_t r;
	if (request == FIOCLEX || request == FIONCLEX)
		r = files_set_cloexec(files, a[0], request == FIOCLEX);
	else
		r = ioctl_file(t, file, request, a[2]);
	file_put(file);
	return r;
}

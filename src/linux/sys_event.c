/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors for events: eventfd(2) and timerfd_create(2), which are the host's; signalfd(2),
 * whose signals are the guest's own; inotify(7), of which there is none.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

#include "linux/process.h"
#include "linux/vdso.h"

#define SIGNALS_AT_ONCE 8
#define SIGSET_SIZE 8 /* the kernel's sigset_t */

/* --- eventfd(2) --------------------------------------------------------------------------- */

int64_t sys_eventfd2(struct task *t, const uint64_t a[6])
{
	int flags = (int)a[1];
	if ((flags & ~(EFD_SEMAPHORE | EFD_CLOEXEC | EFD_NONBLOCK)) != 0)
		return -EINVAL;
	int fd = eventfd((unsigned)a[0], EFD_CLOEXEC | EFD_NONBLOCK | (flags & EFD_SEMAPHORE));
	if (fd < 0)
		return host_error(errno);
	struct file *file = file_new(FILE_EVENT, fd, O_RDWR | (flags & EFD_NONBLOCK),
				     "anon_inode:[eventfd]");
	if (file == NULL)
		return -ENOMEM;
	file->type = flags & EFD_SEMAPHORE;
	return files_install(&t->process->files, file, 0, (flags & EFD_CLOEXEC) != 0);
}

int64_t sys_eventfd(struct task *t, const uint64_t a[6])
{
	const uint64_t b[6] = {a[0]};
	return sys_eventfd2(t, b);
}

/* --- timerfd_create(2) -------------------------------------------------------------------- */

int64_t sys_timerfd_create(struct task *t, const uint64_t a[6])
{
	int clock = (int)a[0], flags = (int)a[1];
	if ((flags & ~(TFD_CLOEXEC | TFD_NONBLOCK)) != 0)
		return -EINVAL;
	/* Waking the host from sleep needs CAP_WAKE_ALARM. */
	if (clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM)
		return -EPERM;
	if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)
		return -EINVAL;
	int fd = timerfd_create(clock, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return host_error(errno);
	struct file *file = file_new(FILE_TIMER, fd, O_RDWR | (flags & TFD_NONBLOCK),
				     "anon_inode:[timerfd]");
	if (file == NULL)
		return -ENOMEM;
	file->type = clock;
	return files_install(&t->process->files, file, 0, (flags & TFD_CLOEXEC) != 0);
}

static int timer_get(struct task *t, uint64_t fd, struct file **out)
{
	struct file *file = files_get(&t->process->files, fd);
	if (file == NULL)
		return -EBADF;
	if (file->kind != FILE_TIMER) {
		file_put(file);
		return -EINVAL;
	}
	*out = file;
	return 0;
}

/* An absolute time of the guest's clock; the past must not become zero, which disarms. */
static void to_host_time(struct task *t, const struct file *file, struct timespec *value)
{
	if (value->tv_sec < 0 || (value->tv_sec == 0 && value->tv_nsec == 0))
		return;
	*value = vdso_clock_to_host(&t->process->clock, file->type, value);
	if (value->tv_sec == 0 && value->tv_nsec == 0)
		value->tv_nsec = 1;
}

int64_t sys_timerfd_settime(struct task *t, const uint64_t a[6])
{
	struct itimerspec now, before;
	int flags = (int)a[1];
	if (mm_get(&t->process->mm, &now, a[2]) < 0)
		return -EFAULT;
	struct file *file;
	int r = timer_get(t, a[0], &file);
	if (r < 0)
		return r;
	if ((flags & TFD_TIMER_ABSTIME) != 0)
		to_host_time(t, file, &now.it_value);
	r = timerfd_settime(file->fd, flags, &now, &before) < 0 ? -errno : 0;
	if (r == 0 && a[3] != 0)
		r = mm_put(&t->process->mm, a[3], &before);
	file_put(file);
	return r;
}

int64_t sys_timerfd_gettime(struct task *t, const uint64_t a[6])
{
	struct file *file;
	int r = timer_get(t, a[0], &file);
	if (r < 0)
		return r;
	struct itimerspec now;
	r = timerfd_gettime(file->fd, &now) < 0 ? -errno : 0;
	if (r == 0)
		r = mm_put(&t->process->mm, a[1], &now);
	file_put(file);
	return r;
}

/* --- signalfd(2) -------------------------------------------------------------------------- */

/*
 * A FILE_SIGNAL's host descriptor is an eventfd that is readable when a signal of its set came
 * in, for waiting. What signals there are is known by the queues alone; that it is readable may
 * be out of date, and is put right before each poll(2) and after each read(2).
 */

/* Another thread may change it at any time. */
static uint64_t set_of(const struct file *file)
{
	return __atomic_load_n(&file->sigmask, __ATOMIC_RELAXED);
}

static void wake(const struct file *file)
{
	const uint64_t one = 1;
	/* Fails only when the counter is at its end: it is readable then. */
	if (write(file->fd, &one, sizeof(one)) < 0)
		return;
}

static void unwake(const struct file *file)
{
	uint64_t count;
	if (read(file->fd, &count, sizeof(count)) < 0)
		return; /* it was not readable */
}

bool signalfds_wake(struct sigprocess *sig, int signal)
{
	bool any = false;
	for (const struct file *file = sig->signalfds; file != NULL;
	     file = file->next_signalfd) {
		if ((file->sigmask & SIG_BIT(signal)) != 0) {
			wake(file);
			any = true;
		}
	}
	return any;
}

void signalfd_refresh(struct task *t, struct file *file)
{
	struct process *p = t->process;
	pthread_mutex_lock(&p->sig.lock);
	uint64_t waiting = t->sig.pending.set | p->sig.pending.set;
	unwake(file);
	if ((waiting & file->sigmask) != 0)
		wake(file);
	pthread_mutex_unlock(&p->sig.lock);
}

static void signalfd_release(struct file *file)
{
	struct process *p = file->private_data;
	pthread_mutex_lock(&p->sig.lock);
	struct file **link = &p->sig.signalfds;
	while (*link != NULL && *link != file)
		link = &(*link)->next_signalfd;
	if (*link != NULL)
		*link = file->next_signalfd;
	pthread_mutex_unlock(&p->sig.lock);
}

struct file *signalfd_new(struct process *p, uint64_t set, int flags)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return NULL;
	struct file *file = file_new(FILE_SIGNAL, fd, flags, "anon_inode:[signalfd]");
	if (file == NULL)
		return NULL;
	file->sigmask = set & ~sig_unblockable();
	file->private_data = p;
	file->release = signalfd_release;
	pthread_mutex_lock(&p->sig.lock);
	file->next_signalfd = p->sig.signalfds;
	p->sig.signalfds = file;
	pthread_mutex_unlock(&p->sig.lock);
	return file;
}

enum layout {
	LAYOUT_KILL,
	LAYOUT_RT,
	LAYOUT_TIMER,
	LAYOUT_POLL,
	LAYOUT_FAULT,
	LAYOUT_CHILD,
	LAYOUT_SYS
};

/* siginfo_layout() of the kernel: what si_code says about the rest. */
static enum layout layout_of(const struct guest_siginfo *info)
{
	if (info->code == SI_TIMER)
		return LAYOUT_TIMER;
	if (info->code == SI_SIGIO)
		return LAYOUT_POLL;
	if (info->code < 0)
		return LAYOUT_RT;
	if (info->code == SI_USER || info->code >= SI_KERNEL)
		return LAYOUT_KILL;
	switch (info->signo) {
	case SIGILL:
	case SIGFPE:
	case SIGSEGV:
	case SIGBUS:
	case SIGTRAP:
		return LAYOUT_FAULT;
	case SIGCHLD:
		return LAYOUT_CHILD;
	case SIGPOLL:
		return LAYOUT_POLL;
	case SIGSYS:
		return LAYOUT_SYS;
	default:
		return LAYOUT_KILL;
	}
}

/* As signalfd_copyinfo() of the kernel. */
static struct signalfd_siginfo convert(const struct guest_siginfo *info)
{
	struct signalfd_siginfo s = {
		.ssi_signo = (uint32_t)info->signo,
		.ssi_errno = info->err,
		.ssi_code = info->code,
	};
	switch (layout_of(info)) {
	case LAYOUT_RT:
		s.ssi_ptr = info->rt.value;
		s.ssi_int = (int32_t)info->rt.value;
		s.ssi_pid = (uint32_t)info->rt.pid;
		s.ssi_uid = info->rt.uid;
		break;
	case LAYOUT_KILL:
		s.ssi_pid = (uint32_t)info->rt.pid;
		s.ssi_uid = info->rt.uid;
		break;
	case LAYOUT_TIMER:
		s.ssi_tid = (uint32_t)info->timer.id;
		s.ssi_overrun = (uint32_t)info->timer.overrun;
		s.ssi_ptr = info->timer.value;
		s.ssi_int = (int32_t)info->timer.value;
		break;
	case LAYOUT_POLL: {
		int64_t band;
		memcpy(&band, info->bytes, sizeof(band));
		s.ssi_band = (uint32_t)band;
		memcpy(&s.ssi_fd, info->bytes + sizeof(band), sizeof(s.ssi_fd));
		break;
	}
	case LAYOUT_FAULT:
		s.ssi_addr = info->fault.address;
		break;
	case LAYOUT_CHILD:
		s.ssi_pid = (uint32_t)info->rt.pid;
		s.ssi_uid = info->rt.uid;
		s.ssi_status = (int32_t)info->rt.value;
		break;
	case LAYOUT_SYS:
		s.ssi_call_addr = info->syscall.call_address;
		s.ssi_syscall = info->syscall.number;
		s.ssi_arch = info->syscall.arch;
		break;
	}
	return s;
}

/* The first of the set, waited for. */
static int take_first(struct task *t, struct file *file, bool nonblocking,
		      struct guest_siginfo *info)
{
	while (!signal_take(t, set_of(file), info)) {
		signalfd_refresh(t, file);
		if (signal_take(t, set_of(file), info))
			break;
		if (nonblocking)
			return -EAGAIN;
		int r = task_wait_fd(t, file->fd, POLLIN, NULL);
		if (r < 0)
			return r == -EINTR ? -ERESTARTSYS : r;
	}
	return 0;
}

int64_t signalfd_read(struct task *t, struct file *file, const struct iovec *iov, int n,
		      bool nonblocking)
{
	struct signalfd_siginfo out[SIGNALS_AT_ONCE];
	uint64_t room = iov_total(iov, n) / sizeof(out[0]);
	if (room == 0)
		return -EINVAL;
	struct guest_siginfo info;
	int r = take_first(t, file, nonblocking, &info);
	if (r < 0)
		return r;
	size_t count = 0;
	do {
		out[count++] = convert(&info);
	} while (count < room && count < SIGNALS_AT_ONCE &&
		 signal_take(t, set_of(file), &info));
	signalfd_refresh(t, file);

	/* The host's kernel copies: guest memory may vanish at any time. */
	struct iovec local = {.iov_base = out, .iov_len = count * sizeof(out[0])};
	ssize_t copied = process_vm_writev(getpid(), &local, 1, iov, (unsigned long)n, 0);
	return copied < (ssize_t)sizeof(out[0]) ? -EFAULT : copied;
}

static int64_t signalfd_change(struct task *t, uint64_t fd, uint64_t set)
{
	struct file *file = files_get(&t->process->files, fd);
	if (file == NULL)
		return -EBADF;
	if (file->kind != FILE_SIGNAL) {
		file_put(file);
		return -EINVAL;
	}
	pthread_mutex_lock(&t->process->sig.lock);
	__atomic_store_n(&file->sigmask, set, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&t->process->sig.lock);
	signalfd_refresh(t, file);
	file_put(file);
	return (int64_t)(uint32_t)fd;
}

int64_t sys_signalfd4(struct task *t, const uint64_t a[6])
{
	int flags = (int)a[3];
	uint64_t set;
	if ((flags & ~(SFD_CLOEXEC | SFD_NONBLOCK)) != 0 || a[2] != SIGSET_SIZE)
		return -EINVAL;
	if (mm_get(&t->process->mm, &set, a[1]) < 0)
		return -EFAULT;
	set &= ~sig_unblockable();
	if ((int)a[0] != -1)
		return signalfd_change(t, a[0], set);

	struct file *file = signalfd_new(t->process, set, O_RDWR | (flags & SFD_NONBLOCK));
	if (file == NULL)
		return -ENOMEM;
	signalfd_refresh(t, file);
	return files_install(&t->process->files, file, 0, (flags & SFD_CLOEXEC) != 0);
}

int64_t sys_signalfd(struct task *t, const uint64_t a[6])
{
	const uint64_t b[6] = {a[0], a[1], a[2], 0};
	return sys_signalfd4(t, b);
}

/* --- inotify(7) --------------------------------------------------------------------------- */

/*
 * Refused as on a system where the user's instances are used up (EMFILE, inotify_init(2)): that
 * happens on real systems, so programs are prepared for it and fall back on looking again and
 * again, where some take ENOSYS for a bug.
 */
int64_t sys_inotify_init1(struct task *t, const uint64_t a[6])
{
	(void)t;
	return ((int)a[0] & ~(IN_CLOEXEC | IN_NONBLOCK)) != 0 ? -EINVAL : -EMFILE;
}

int64_t sys_inotify_init(struct task *t, const uint64_t a[6])
{
	(void)t;
	(void)a;
	return -EMFILE;
}

/* No descriptor is an inotify instance. */
static int64_t no_inotify(struct task *t, uint64_t fd)
{
	struct file *file = files_get(&t->process->files, fd);
	file_put(file);
	return file == NULL ? -EBADF : -EINVAL;
}

int64_t sys_inotify_add_watch(struct task *t, const uint64_t a[6])
{
	return no_inotify(t, a[0]);
}

int64_t sys_inotify_rm_watch(struct task *t, const uint64_t a[6])
{
	return no_inotify(t, a[0]);
}

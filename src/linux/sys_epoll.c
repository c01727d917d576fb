/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll(7): an epoll of the host's, with the host's descriptors in it and the guest's data.
 *
 * What is in it is known here as well, for three reasons. Linux knows a watch by the guest's
 * descriptor and open file: two descriptors of one file may both be in an epoll, but have one
 * host descriptor, so the second gets a duplicate. When the last reference of a file is gone its
 * watches must go, though the host's description may live on in the caller's hands (standard
 * streams). And a snapshot must be able to make it again.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "linux/process.h"

#define MAX_EVENTS (INT_MAX / (int)sizeof(struct epoll_event)) /* EP_MAX_EVENTS */
#define BATCH 128
/* As fs.epoll.max_user_watches, for each descriptor that the process may have. */
#define WATCHES_PER_DESCRIPTOR 16
/* EP_MAX_NESTS of the kernel, which refuses deeper ones; and one more. */
#define MAX_NESTED 5

struct epoll_watch {
	struct file *epoll, *file;	  /* not counted: each takes its watches along */
	struct epoll_watch *next, **link; /* of the epoll */
	struct epoll_watch *next_of_file, **link_of_file;
	int fd;	     /* the guest's, when it was added */
	int host_fd; /* file->fd, or a duplicate */
	uint32_t events;
	uint64_t data;
};

struct epoll_state {
	struct files *files;
	struct epoll_watch *first;
};

static struct epoll_state *state_of(struct file *epoll)
{
	return epoll->private_data;
}

/* --- Watches; under watch_lock ------------------------------------------------------------ */

static struct epoll_watch *watch_find(struct file *epoll, struct file *file, int fd)
{
	struct epoll_watch *w = file->watches;
	while (w != NULL && (w->epoll != epoll || w->fd != fd))
		w = w->next_of_file;
	return w;
}

static void watch_link(struct epoll_watch *w)
{
	struct epoll_state *state = state_of(w->epoll);
	w->next = state->first;
	w->link = &state->first;
	if (w->next != NULL)
		w->next->link = &w->next;
	state->first = w;

	w->next_of_file = w->file->watches;
	w->link_of_file = &w->file->watches;
	if (w->next_of_file != NULL)
		w->next_of_file->link_of_file = &w->next_of_file;
	w->file->watches = w;
}

static void watch_free(struct files *files, struct epoll_watch *w)
{
	*w->link = w->next;
	if (w->next != NULL)
		w->next->link = w->link;
	*w->link_of_file = w->next_of_file;
	if (w->next_of_file != NULL)
		w->next_of_file->link_of_file = w->link_of_file;
	files->watches--;
	if (w->host_fd != w->file->fd) {
		close(w->host_fd);
		files->watch_fds--;
	}
	free(w);
}

static int host_control(const struct epoll_watch *w, int operation)
{
	struct epoll_event event = {.events = w->events};
	event.data.u64 = w->data;
	return epoll_ctl(w->epoll->fd, operation, w->host_fd, &event) < 0 ? -errno : 0;
}

/* The host's descriptor is in the epoll by another of the guest's. */
static int add_duplicate(struct files *files, struct epoll_watch *w)
{
	if (files->watch_fds >= files->max)
		return -ENOSPC;
	int fd = fcntl(w->file->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -ENOMEM;
	w->host_fd = fd;
	int r = host_control(w, EPOLL_CTL_ADD);
	if (r < 0)
		close(fd);
	else
		files->watch_fds++;
	return r;
}

static int watch_add(struct files *files, struct file *epoll,
		     const struct epoll_watch_info *info)
{
	if (files->watches / WATCHES_PER_DESCRIPTOR >= files->max)
		return -ENOSPC;
	struct epoll_watch *w = calloc(1, sizeof(*w));
	if (w == NULL)
		return -ENOMEM;
	*w = (struct epoll_watch){
		.epoll = epoll,
		.file = info->file,
		.fd = info->fd,
		.host_fd = info->file->fd,
		.events = info->events,
		.data = info->data,
	};
	int r = host_control(w, EPOLL_CTL_ADD);
	if (r == -EEXIST)
		r = add_duplicate(files, w);
	if (r < 0) {
		free(w);
		return r;
	}
	atomic_store(&info->file->owner, files);
	files->watches++;
	watch_link(w);
	return 0;
}

static int watch_change(struct epoll_watch *w, const struct epoll_watch_info *info)
{
	struct epoll_watch now = *w;
	now.events = info->events;
	now.data = info->data;
	int r = host_control(&now, EPOLL_CTL_MOD);
	if (r == 0) {
		w->events = info->events;
		w->data = info->data;
	}
	return r;
}

/* --- Life --------------------------------------------------------------------------------- */

static void epoll_release(struct file *epoll)
{
	struct epoll_state *state = state_of(epoll);
	pthread_mutex_lock(&state->files->watch_lock);
	while (state->first != NULL)
		watch_free(state->files, state->first);
	pthread_mutex_unlock(&state->files->watch_lock);
	free(state);
}

void epoll_forget(struct file *file)
{
	struct files *files = atomic_load(&file->owner);
	if (files == NULL)
		return;
	pthread_mutex_lock(&files->watch_lock);
	while (file->watches != NULL) {
		(void)host_control(file->watches, EPOLL_CTL_DEL);
		watch_free(files, file->watches);
	}
	pthread_mutex_unlock(&files->watch_lock);
}

int epoll_exchange(struct files *files, struct file *file, int fd)
{
	int r = 0;
	/* Without watches too: another thread may be about to add the first. */
	pthread_mutex_lock(&files->watch_lock);
	/* Before: a description that another thread waits for lives on, with its watches. */
	for (struct epoll_watch *w = file->watches; w != NULL; w = w->next_of_file)
		(void)host_control(w, EPOLL_CTL_DEL);
	if (dup3(fd, file->fd, O_CLOEXEC) < 0)
		r = -errno;
	for (struct epoll_watch *w = file->watches; w != NULL; w = w->next_of_file) {
		if (r == 0 && w->host_fd != file->fd)
			(void)dup3(fd, w->host_fd, O_CLOEXEC);
		(void)host_control(w, EPOLL_CTL_ADD);
	}
	pthread_mutex_unlock(&files->watch_lock);
	return r;
}

struct file *epoll_new(struct files *files)
{
	struct epoll_state *state = calloc(1, sizeof(*state));
	if (state == NULL)
		return NULL;
	int fd = epoll_create1(EPOLL_CLOEXEC);
	struct file *file =
		fd < 0 ? NULL : file_new(FILE_EPOLL, fd, O_RDWR, "anon_inode:[eventpoll]");
	if (file == NULL) {
		free(state);
		return NULL;
	}
	state->files = files;
	file->private_data = state;
	file->release = epoll_release;
	return file;
}

int epoll_add(struct files *files, struct file *epoll, const struct epoll_watch_info *w)
{
	pthread_mutex_lock(&files->watch_lock);
	int r = watch_find(epoll, w->file, w->fd) != NULL ? -EEXIST
							  : watch_add(files, epoll, w);
	pthread_mutex_unlock(&files->watch_lock);
	return r;
}

int epoll_each(struct file *epoll, int (*each)(void *context, const struct epoll_watch_info *w),
	       void *context)
{
	struct epoll_state *state = state_of(epoll);
	int r = 0;
	pthread_mutex_lock(&state->files->watch_lock);
	for (struct epoll_watch *w = state->first; w != NULL && r == 0; w = w->next) {
		const struct epoll_watch_info info = {
			.fd = w->fd, .file = w->file, .events = w->events, .data = w->data};
		r = each(context, &info);
	}
	pthread_mutex_unlock(&state->files->watch_lock);
	return r;
}

/* Under watch_lock. The host's kernel has refused loops, and what is nested deeper. */
static bool has_standard_input(struct file *epoll, int depth)
{
	for (struct epoll_watch *w = state_of(epoll)->first; w != NULL; w = w->next) {
		if (w->file->standard_input && (w->events & EPOLLIN) != 0)
			return true;
		if (w->file->kind == FILE_EPOLL && depth > 0 &&
		    has_standard_input(w->file, depth - 1))
			return true;
	}
	return false;
}

bool epoll_has_standard_input(struct file *epoll)
{
	struct files *files = state_of(epoll)->files;
	pthread_mutex_lock(&files->watch_lock);
	bool has = has_standard_input(epoll, MAX_NESTED);
	pthread_mutex_unlock(&files->watch_lock);
	return has;
}

/* --- System calls ------------------------------------------------------------------------- */

static int64_t create(struct task *t, bool cloexec)
{
	struct file *file = epoll_new(&t->process->files);
	return file == NULL ? -ENOMEM : files_install(&t->process->files, file, 0, cloexec);
}

int64_t sys_epoll_create(struct task *t, const uint64_t a[6])
{
	return (int)a[0] <= 0 ? -EINVAL : create(t, false);
}

int64_t sys_epoll_create1(struct task *t, const uint64_t a[6])
{
	int flags = (int)a[0];
	return (flags & ~EPOLL_CLOEXEC) != 0 ? -EINVAL : create(t, flags != 0);
}

static int control(struct files *files, struct file *epoll, int operation,
		   const struct epoll_watch_info *info)
{
	if (info->file->fd < 0 || info->file->kind == FILE_DIRECTORY)
		return -EPERM;
	if (epoll->kind != FILE_EPOLL || epoll == info->file)
		return -EINVAL;

	pthread_mutex_lock(&files->watch_lock);
	struct epoll_watch *w = watch_find(epoll, info->file, info->fd);
	int r;
	switch (operation) {
	case EPOLL_CTL_ADD:
		r = w != NULL ? -EEXIST : watch_add(files, epoll, info);
		break;
	case EPOLL_CTL_MOD:
		r = w == NULL ? -ENOENT : watch_change(w, info);
		break;
	case EPOLL_CTL_DEL:
		r = w == NULL ? -ENOENT : host_control(w, EPOLL_CTL_DEL);
		if (w != NULL)
			watch_free(files, w);
		break;
	default:
		r = -EINVAL;
		break;
	}
	pthread_mutex_unlock(&files->watch_lock);
	return r;
}

int64_t sys_epoll_ctl(struct task *t, const uint64_t a[6])
{
	struct files *files = &t->process->files;
	int operation = (int)a[1];
	struct epoll_event event = {.events = 0};
	if (operation != EPOLL_CTL_DEL) {
		int e = mm_get(&t->process->mm, &event, a[3]);
		if (e < 0)
			return e;
	}

	struct epoll_watch_info info = {
		.fd = (int)a[2],
		.file = files_get(files, a[2]),
		/* The host shall not be kept awake. */
		.events = event.events & ~(uint32_t)EPOLLWAKEUP,
		.data = event.data.u64,
	};
	struct file *epoll = files_get(files, a[0]);
	int64_t r = -EBADF;
	if (epoll != NULL && info.file != NULL)
		r = control(files, epoll, operation, &info);
	file_put(info.file);
	file_put(epoll);
	return r;
}

/* Until an event is there; -EINTR as it is. */
static int64_t wait_events(struct task *t, struct file *epoll, struct epoll_event *events,
			   int max, const struct timespec *deadline)
{
	for (;;) {
		int n = epoll_wait(epoll->fd, events, max, 0);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			return n;
		if ((signal_pending_set(t) & ~t->sig.mask) != 0)
			return -EINTR;
		/* One that is ready may be another thread's before it is looked at again. */
		int r = task_wait_fd(t, epoll->fd, POLLIN, deadline);
		if (r <= 0)
			return r;
	}
}

static int64_t do_wait(struct task *t, const uint64_t a[6], const struct timespec *deadline)
{
	int max = (int)a[2];
	if (max <= 0 || max > MAX_EVENTS)
		return -EINVAL;
	if (a[1] > PROG_VA_END ||
	    (uint64_t)max * sizeof(struct epoll_event) > PROG_VA_END - a[1])
		return -EFAULT;
	struct file *epoll = files_get(&t->process->files, a[0]);
	if (epoll == NULL)
		return -EBADF;

	struct epoll_event events[BATCH];
	int64_t r;
	if (epoll->kind != FILE_EPOLL)
		r = -EINVAL;
	else if ((t->process->pause_at & MAYFLY_PAUSE_STDIN) != 0 &&
		 epoll_has_standard_input(epoll) && process_pause(t, MAYFLY_PAUSE_STDIN))
		r = -ERESTARTNOINTR;
	else
		r = wait_events(t, epoll, events, max < BATCH ? max : BATCH, deadline);
	if (r > 0 && mm_write(&t->process->mm, a[1], events, (size_t)r * sizeof(events[0])) < 0)
		r = -EFAULT;
	file_put(epoll);
	return r;
}

/*
 * A handler makes epoll_wait(2) fail with EINTR, SA_RESTART or not (signal(7)); what wakes the
 * task and runs none does not.
 */
static int64_t wait_again(struct task *t, const uint64_t a[6])
{
	struct timespec deadline = t->restart.deadline;
	int64_t r = do_wait(t, a, a[3] != 0 ? &deadline : NULL);
	return r == -EINTR ? -ERESTART_RESTARTBLOCK : r;
}

static bool milliseconds(uint64_t arg, struct timespec *deadline)
{
	int timeout = (int)arg;
	struct timespec relative = {
		.tv_sec = timeout / 1000,
		.tv_nsec = timeout % 1000 * 1000000L,
	};
	return timeout >= 0 && deadline_after(&relative, deadline);
}

int64_t sys_epoll_wait(struct task *t, const uint64_t a[6])
{
	struct timespec deadline = {0, 0};
	bool timed = milliseconds(a[3], &deadline);
	int64_t r = do_wait(t, a, timed ? &deadline : NULL);
	if (r != -EINTR)
		return r;
	t->restart = (struct restart){
		.fn = wait_again,
		.arg = {a[0], a[1], a[2], timed},
		.deadline = deadline,
	};
	return -ERESTART_RESTARTBLOCK;
}

static int64_t wait_masked(struct task *t, const uint64_t a[6], const struct timespec *deadline)
{
	int64_t r = signal_mask_push(t, a[4], a[5]);
	if (r < 0)
		return r;
	r = do_wait(t, a, deadline);
	if (r == -EINTR)
		r = -ERESTARTNOHAND;
	if (a[4] != 0)
		signal_mask_pop(t, r == -ERESTARTNOHAND || r == -ERESTARTNOINTR);
	return r;
}

int64_t sys_epoll_pwait(struct task *t, const uint64_t a[6])
{
	if (a[4] == 0)
		return sys_epoll_wait(t, a);
	struct timespec deadline = {0, 0};
	bool timed = milliseconds(a[3], &deadline);
	return wait_masked(t, a, timed ? &deadline : NULL);
}

int64_t sys_epoll_pwait2(struct task *t, const uint64_t a[6])
{
	struct timespec relative, deadline = {0, 0};
	if (a[3] == 0)
		return wait_masked(t, a, NULL);
	int r = mm_get(&t->process->mm, &relative, a[3]);
	if (r < 0)
		return r;
	return deadline_after(&relative, &deadline) ? wait_masked(t, a, &deadline) : -EINVAL;
}

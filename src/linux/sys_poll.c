/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll(2), ppoll(2), select(2), pselect6(2).
 *
 * All become a set of host descriptors for task_poll(). Files stay referenced while they are
 * waited for, so that a host descriptor that another thread closes does not become another's.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "linux/process.h"

#define FEW 32

/* What the guest may ask for and be told (the kernel's EPOLL_* below 0x4000). */
#define POLL_KNOWN                                                                             \
	(POLLIN | POLLPRI | POLLOUT | POLLERR | POLLHUP | POLLNVAL | POLLRDNORM | POLLRDBAND | \
	 POLLWRNORM | POLLWRBAND | POLLMSG | POLLRDHUP)
/* Of files that never block: DEFAULT_POLLMASK of the kernel. */
#define POLL_ALWAYS (POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM)
/* fs/select.c of the kernel. */
#define SELECT_IN (POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR)
#define SELECT_OUT (POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR)
#define SELECT_EX POLLPRI

struct watched {
	struct file *file; /* counted; NULL: none */
	short ready;	   /* known without asking the host */
};

struct poll_set {
	struct pollfd *fds; /* of the host; fd -1: not asked for */
	struct watched *files;
	uint32_t count;
	bool any_ready;	 /* without asking */
	bool stdin_read; /* input from standard input is waited for */
	bool signals;	 /* a signalfd is among them */
	bool pausing;	 /* the caller wants to know of stdin_read */
	struct pollfd few_fds[FEW];
	struct watched few_files[FEW];
};

static int set_init(struct task *t, struct poll_set *s, uint32_t count)
{
	s->count = 0;
	s->pausing = (t->process->pause_at & MAYFLY_PAUSE_STDIN) != 0;
	s->any_ready = s->stdin_read = s->signals = false;
	s->fds = s->few_fds;
	s->files = s->few_files;
	if (count <= FEW)
		return 0;
	s->fds = calloc(count, sizeof(*s->fds));
	s->files = calloc(count, sizeof(*s->files));
	if (s->fds != NULL && s->files != NULL)
		return 0;
	free(s->fds);
	free(s->files);
	return -ENOMEM;
}

static void set_fini(struct poll_set *s)
{
	for (uint32_t i = 0; i < s->count; i++)
		file_put(s->files[i].file);
	if (s->fds != s->few_fds)
		free(s->fds);
	if (s->files != s->few_files)
		free(s->files);
}

/* Takes the reference of file; `ready` for file NULL. */
static void set_add(struct poll_set *s, struct file *file, short events, short ready)
{
	struct pollfd *pfd = &s->fds[s->count];
	*pfd = (struct pollfd){.fd = -1, .events = (short)(events & POLL_KNOWN)};
	if (file != NULL) {
		if (file->fd >= 0)
			pfd->fd = file->fd;
		else
			ready = (short)(events & POLL_ALWAYS);
		if (file->standard_input && (events & SELECT_IN & ~(POLLHUP | POLLERR)) != 0)
			s->stdin_read = true;
		if (s->pausing && file->kind == FILE_EPOLL && epoll_has_standard_input(file))
			s->stdin_read = true;
		if (file->kind == FILE_SIGNAL)
			s->signals = true;
	}
	if (ready != 0)
		s->any_ready = true;
	s->files[s->count++] = (struct watched){.file = file, .ready = ready};
}

static void refresh_signals(struct task *t, struct poll_set *s)
{
	for (uint32_t i = 0; i < s->count && s->signals; i++) {
		struct file *file = s->files[i].file;
		if (file != NULL && file->kind == FILE_SIGNAL)
			signalfd_refresh(t, file);
	}
}

static int count_ready(struct poll_set *s)
{
	int n = 0;
	for (uint32_t i = 0; i < s->count; i++) {
		if (s->fds[i].fd < 0)
			s->fds[i].revents = s->files[i].ready;
		if (s->fds[i].revents != 0)
			n++;
	}
	return n;
}

/*
 * How many are ready, revents filled; -EINTR; -ERESTARTNOINTR before a pause. What is ready is
 * looked at first, so that it is found even when a signal waits.
 */
static int set_wait(struct task *t, struct poll_set *s, const struct timespec *deadline)
{
	if (s->stdin_read && process_pause(t, MAYFLY_PAUSE_STDIN))
		return -ERESTARTNOINTR;
	refresh_signals(t, s);
	int r;
	do {
		r = poll(s->fds, s->count, 0);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (r > 0 || s->any_ready)
		return count_ready(s);
	if ((signal_pending_set(t) & ~t->sig.mask) != 0)
		return -EINTR;
	r = task_poll(t, s->fds, s->count, deadline);
	return r < 0 ? r : count_ready(s);
}

/* --- poll(2) ------------------------------------------------------------------------------ */

static int set_from_pollfds(struct task *t, struct poll_set *s, const struct pollfd *guest,
			    uint32_t count)
{
	int r = set_init(t, s, count);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < count; i++) {
		struct file *file = NULL;
		short ready = 0;
		if (guest[i].fd >= 0) {
			file = files_get(&t->process->files, (uint64_t)guest[i].fd);
			if (file == NULL)
				ready = POLLNVAL;
		}
		set_add(s, file, guest[i].events, ready);
	}
	return 0;
}

static int write_revents(struct task *t, const struct poll_set *s, struct pollfd *guest,
			 uint64_t va)
{
	for (uint32_t i = 0; i < s->count; i++)
		guest[i].revents = s->fds[i].revents;
	/* Only revents: another thread may have changed the rest. */
	for (uint32_t i = 0; i < s->count; i++) {
		uint64_t at = va + i * sizeof(*guest) + offsetof(struct pollfd, revents);
		int r = mm_put(&t->process->mm, at, &guest[i].revents);
		if (r < 0)
			return r;
	}
	return 0;
}

static int64_t do_poll(struct task *t, uint64_t va, uint32_t count,
		       const struct timespec *deadline)
{
	if (count > t->process->files.max)
		return -EINVAL;
	struct pollfd few[FEW], *guest = few;
	_cleanup_free_ struct pollfd *many = NULL;
	if (count > FEW) {
		many = guest = calloc(count, sizeof(*guest));
		if (many == NULL)
			return -ENOMEM;
	}
	int64_t r = mm_read(&t->process->mm, guest, va, count * sizeof(*guest));
	if (r < 0)
		return r;

	struct poll_set set;
	r = set_from_pollfds(t, &set, guest, count);
	if (r < 0)
		return r;
	r = set_wait(t, &set, deadline);
	if (r >= 0 && write_revents(t, &set, guest, va) < 0)
		r = -EFAULT;
	set_fini(&set);
	return r;
}

static int64_t poll_again(struct task *t, const uint64_t a[6])
{
	struct timespec deadline = t->restart.deadline;
	int64_t r = do_poll(t, a[0], (uint32_t)a[1], a[2] != 0 ? &deadline : NULL);
	return r == -EINTR ? -ERESTART_RESTARTBLOCK : r;
}

int64_t sys_poll(struct task *t, const uint64_t a[6])
{
	int timeout = (int)a[2];
	struct timespec deadline = {0, 0};
	if (timeout >= 0) {
		struct timespec relative = {
			.tv_sec = timeout / 1000,
			.tv_nsec = timeout % 1000 * 1000000L,
		};
		deadline_after(&relative, &deadline);
	}
	int64_t r = do_poll(t, a[0], (uint32_t)a[1], timeout >= 0 ? &deadline : NULL);
	if (r != -EINTR)
		return r;
	t->restart = (struct restart){
		.fn = poll_again,
		.arg = {a[0], a[1], timeout >= 0},
		.deadline = deadline,
	};
	return -ERESTART_RESTARTBLOCK;
}

/* --- Timeouts of the others --------------------------------------------------------------- */

/* A relative timeout in guest memory, which what is left of it is written to. */
struct timeout {
	uint64_t va; /* 0: none */
	bool micro;  /* struct timeval; else timespec */
	struct timespec deadline;
};

static int timeout_get(struct task *t, struct timeout *to, uint64_t va, bool micro)
{
	*to = (struct timeout){.va = va, .micro = micro};
	if (va == 0)
		return 0;
	struct timespec relative; /* the same layout as timeval */
	int r = mm_get(&t->process->mm, &relative, va);
	if (r < 0)
		return r;
	if (micro) {
		/* As select(2) of the kernel: microseconds may be more than a second's. */
		if (relative.tv_sec < 0 || relative.tv_nsec < 0)
			return -EINVAL;
		int64_t s = relative.tv_nsec / 1000000;
		relative.tv_nsec = relative.tv_nsec % 1000000 * 1000;
		if (__builtin_add_overflow(relative.tv_sec, s, &relative.tv_sec))
			relative.tv_sec = INT64_MAX;
	}
	return deadline_after(&relative, &to->deadline) ? 0 : -EINVAL;
}

/* As poll_select_finish() of the kernel: a failure to write does not matter. */
static void timeout_put(struct task *t, const struct timeout *to)
{
	if (to->va == 0)
		return;
	struct timespec left = deadline_left(&to->deadline);
	if (to->micro)
		left.tv_nsec /= 1000;
	(void)mm_put(&t->process->mm, to->va, &left);
}

static const struct timespec *timeout_deadline(const struct timeout *to)
{
	return to->va != 0 ? &to->deadline : NULL;
}

int64_t sys_ppoll(struct task *t, const uint64_t a[6])
{
	struct timeout to = {.va = 0};
	int64_t r = timeout_get(t, &to, a[2], false);
	if (r == 0)
		r = signal_mask_push(t, a[3], a[4]);
	if (r < 0)
		return r;
	r = do_poll(t, a[0], (uint32_t)a[1], timeout_deadline(&to));
	if (r == -EINTR)
		r = -ERESTARTNOHAND;
	if (a[3] != 0)
		signal_mask_pop(t, r == -ERESTARTNOHAND || r == -ERESTARTNOINTR);
	timeout_put(t, &to);
	return r;
}

/* --- select(2) ---------------------------------------------------------------------------- */

/* The three sets, read from the guest; words of 64 bits. */
struct select_sets {
	uint64_t va[3];
	uint64_t *word[3];
	uint32_t words;
	uint64_t few[3 * FEW];
};

static const short select_events[3] = {SELECT_IN, SELECT_OUT, SELECT_EX};

static int sets_get(struct task *t, struct select_sets *sets, uint32_t n, const uint64_t va[3])
{
	uint32_t words = (uint32_t)bitmap_words(n);
	uint64_t *memory = sets->few;
	memset(sets->few, 0, sizeof(sets->few));
	if (words > FEW) {
		memory = calloc((size_t)words * 3, sizeof(*memory));
		if (memory == NULL)
			return -ENOMEM;
	}
	sets->words = words;
	int r = 0;
	for (size_t k = 0; k < 3; k++) {
		sets->va[k] = va[k];
		sets->word[k] = memory + k * words;
		if (va[k] != 0 && r == 0)
			r = mm_read(&t->process->mm, sets->word[k], va[k],
				    words * sizeof(uint64_t));
	}
	if (r < 0 && memory != sets->few)
		free(memory);
	return r;
}

static void sets_fini(struct select_sets *sets)
{
	if (sets->word[0] != sets->few)
		free(sets->word[0]);
}

static short events_of(const struct select_sets *sets, uint32_t fd)
{
	short events = 0;
	for (size_t k = 0; k < 3; k++) {
		if (bitmap_test(sets->word[k], fd))
			events = (short)(events | select_events[k]);
	}
	return events;
}

/* One entry of the poll set for each descriptor that is in one of the sets, ascending. */
static int set_from_select(struct task *t, struct poll_set *s, const struct select_sets *sets,
			   uint32_t n)
{
	uint32_t count = 0;
	for (uint32_t fd = 0; fd < n; fd++)
		count += events_of(sets, fd) != 0;
	int r = set_init(t, s, count);
	if (r < 0)
		return r;
	for (uint32_t fd = 0; fd < n; fd++) {
		short events = events_of(sets, fd);
		if (events == 0)
			continue;
		struct file *file = files_get(&t->process->files, fd);
		if (file == NULL) {
			set_fini(s);
			return -EBADF;
		}
		set_add(s, file, events, 0);
	}
	return 0;
}

/* Turn the sets into what is ready; gives the number of bits. */
static int64_t sets_from_ready(const struct poll_set *s, struct select_sets *sets, uint32_t n)
{
	int64_t bits = 0;
	uint32_t i = 0;
	for (uint32_t fd = 0; fd < n; fd++) {
		if (events_of(sets, fd) == 0)
			continue;
		short revents = s->fds[i++].revents;
		for (size_t k = 0; k < 3; k++) {
			if (!bitmap_test(sets->word[k], fd))
				continue;
			if ((revents & select_events[k]) != 0)
				bits++;
			else
				bitmap_clear(sets->word[k], fd);
		}
	}
	return bits;
}

static int64_t do_select(struct task *t, const uint64_t a[6], const struct timespec *deadline)
{
	int nfds = (int)a[0];
	if (nfds < 0)
		return -EINVAL;
	/* The kernel ignores what is beyond the table. */
	uint32_t max = (uint32_t)bitmap_words(t->process->files.max) * 64;
	uint32_t n = (uint32_t)nfds < max ? (uint32_t)nfds : max;

	struct select_sets sets;
	int64_t r = sets_get(t, &sets, n, a + 1);
	if (r < 0)
		return r;
	struct poll_set set;
	r = set_from_select(t, &set, &sets, n);
	if (r == 0) {
		r = set_wait(t, &set, deadline);
		if (r >= 0)
			r = sets_from_ready(&set, &sets, n);
		set_fini(&set);
	}
	for (size_t k = 0; k < 3 && r >= 0; k++) {
		if (sets.va[k] != 0 && mm_write(&t->process->mm, sets.va[k], sets.word[k],
						sets.words * sizeof(uint64_t)) < 0)
			r = -EFAULT;
	}
	sets_fini(&sets);
	return r == -EINTR ? -ERESTARTNOHAND : r;
}

int64_t sys_select(struct task *t, const uint64_t a[6])
{
	struct timeout to = {.va = 0};
	int64_t r = timeout_get(t, &to, a[4], true);
	if (r < 0)
		return r;
	r = do_select(t, a, timeout_deadline(&to));
	timeout_put(t, &to);
	return r;
}

int64_t sys_pselect6(struct task *t, const uint64_t a[6])
{
	/* The sixth argument: address and size of the mask. */
	uint64_t mask[2] = {0, 0};
	struct timeout to = {.va = 0};
	int64_t r = a[5] != 0 ? mm_get(&t->process->mm, &mask, a[5]) : 0;
	if (r == 0)
		r = timeout_get(t, &to, a[4], false);
	if (r == 0)
		r = signal_mask_push(t, mask[0], mask[1]);
	if (r < 0)
		return r;
	r = do_select(t, a, timeout_deadline(&to));
	if (mask[0] != 0)
		signal_mask_pop(t, r == -ERESTARTNOHAND || r == -ERESTARTNOINTR);
	timeout_put(t, &to);
	return r;
}

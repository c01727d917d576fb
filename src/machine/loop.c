/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One epoll instance; a timerfd for the earliest timer; an eventfd that ends a wait. Files that
 * epoll(7) does not take, regular ones, are always ready, as poll(2) has it.
 */
#include "machine/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "core/clock.h"

#define BATCH 16

struct loop_source {
	struct loop *loop;
	struct loop_source *next;
	loop_fn fn;
	void *context;
	int fd; /* -1: a timer */
	uint32_t events;
	bool watched;	   /* epoll has it */
	bool always_ready; /* epoll does not take it */
	bool removed;
	uint64_t deadline; /* of a timer; under the loop's lock */
	uint64_t turn;	   /* in which a timer was last due */
};

/* Somebody waits for `fn` to have been called. */
struct loop_request {
	loop_fn fn;
	void *context;
	bool done;
	struct loop_request *next;
};

struct loop {
	int epoll;
	int wake;	      /* eventfd */
	int timer;	      /* timerfd */
	pthread_mutex_t lock; /* for what follows, and for the list and its deadlines */
	pthread_cond_t changed;
	struct loop_source *sources;
	struct loop_request *requests;
	bool running;
	bool expected;	  /* loop_run() will follow: calls wait for it */
	pthread_t thread; /* while running */
	bool stop;
	uint64_t armed; /* what the timerfd is set to */
	uint64_t turn;
	_Atomic(uint32_t) nalways;
	bool has_removed; /* the loop's thread only */
};

static int watch_own(struct loop *loop, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

	return fd < 0 ? -1 : epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event);
}

int loop_new(struct loop **out, mayfly_error *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a device loop");
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->changed, NULL);
	loop->armed = UINT64_MAX;
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->epoll < 0 || watch_own(loop, loop->wake) < 0 ||
	    watch_own(loop, loop->timer) < 0) {
		int e = errno;

		loop_free(loop);
		return fail_errno(err, MAYFLY_E_NOMEM, e, "a device loop");
	}
	*out = loop;
	return 0;
}

/*
 * Epoll has forgotten one that was removed. The others go with the epoll instance, and not before:
 * a forked child that frees its copy of the loop has the instance in common with the parent.
 */
static void free_source(struct loop_source *s)
{
	if (s->always_ready && s->events)
		atomic_fetch_sub(&s->loop->nalways, 1);
	free(s);
}

void loop_free(struct loop *loop)
{
	const int fds[] = {loop ? loop->epoll : -1, loop ? loop->wake : -1,
			   loop ? loop->timer : -1};

	if (!loop)
		return;
	while (loop->sources) {
		struct loop_source *s = loop->sources;

		loop->sources = s->next;
		free_source(s);
	}
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	pthread_cond_destroy(&loop->changed);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

/* --- Sources ------------------------------------------------------------------------------ */

static struct loop_source *new_source(struct loop *loop, int fd, loop_fn fn, void *context)
{
	struct loop_source *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	*s = (struct loop_source){
		.loop = loop, .fn = fn, .context = context, .fd = fd, .deadline = UINT64_MAX};
	return s;
}

static void link_source(struct loop_source *s)
{
	pthread_mutex_lock(&s->loop->lock);
	s->next = s->loop->sources;
	s->loop->sources = s;
	pthread_mutex_unlock(&s->loop->lock);
}

/* 0 or an errno. Not watched at all with no events: epoll would still tell of errors. */
static int set_events(struct loop_source *s, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = s};
	int op = s->watched ? events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL : EPOLL_CTL_ADD;

	if (s->always_ready) {
		if (!s->events != !events)
			atomic_fetch_add(&s->loop->nalways, events ? 1 : UINT32_MAX);
		s->events = events;
		return 0;
	}
	if (!s->watched && !events)
		return 0;
	if (epoll_ctl(s->loop->epoll, op, s->fd, &event) < 0) {
		if (errno != EPERM || s->watched)
			return errno;
		s->always_ready = true;
		return set_events(s, events);
	}
	s->watched = events != 0;
	s->events = events;
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size): what an event loop has to be told */
int loop_add(struct loop *loop, int fd, uint32_t events, loop_fn fn, void *context,
	     struct loop_source **out, mayfly_error *err)
{
	struct loop_source *s = new_source(loop, fd, fn, context);
	int e;

	if (!s)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a device loop");
	e = set_events(s, events);
	if (e) {
		free(s);
		return fail_errno(err, MAYFLY_E_NOMEM, e, "watching descriptor %d", fd);
	}
	link_source(s);
	*out = s;
	return 0;
}

void loop_change(struct loop_source *source, uint32_t events)
{
	if (source->events == events)
		return;
	/* A descriptor that could be watched before can be so again. */
	(void)set_events(source, events);
}

void loop_remove(struct loop_source *source)
{
	struct loop *loop;

	if (!source)
		return;
	loop = source->loop;
	loop_change(source, 0);
	pthread_mutex_lock(&loop->lock);
	source->removed = true;
	source->deadline = UINT64_MAX;
	loop->has_removed = true;
	pthread_mutex_unlock(&loop->lock);
}

int loop_add_timer(struct loop *loop, loop_fn fn, void *context, struct loop_source **out,
		   mayfly_error *err)
{
	struct loop_source *s = new_source(loop, -1, fn, context);

	if (!s)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a device loop");
	link_source(s);
	*out = s;
	return 0;
}

/* Under the lock: have the timerfd tell of the earliest deadline. */
static void arm(struct loop *loop)
{
	struct itimerspec when = {.it_value = {0, 0}};
	uint64_t earliest = UINT64_MAX;

	for (struct loop_source *s = loop->sources; s; s = s->next)
		if (s->deadline < earliest)
			earliest = s->deadline;
	if (earliest == loop->armed)
		return;
	loop->armed = earliest;
	if (earliest != UINT64_MAX) {
		/* All zero would disarm it. */
		when.it_value = clock_timespec(earliest ? earliest : 1);
	}
	timerfd_settime(loop->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

void loop_set_timer(struct loop_source *source, uint64_t deadline)
{
	struct loop *loop = source->loop;

	pthread_mutex_lock(&loop->lock);
	source->deadline = deadline;
	arm(loop);
	pthread_mutex_unlock(&loop->lock);
}

/* --- Running ------------------------------------------------------------------------------ */

static void wake(struct loop *loop)
{
	const uint64_t one = 1;

	/* Fails only when it is readable already. */
	if (write(loop->wake, &one, sizeof(one)) < 0)
		return;
}

static void drain(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		return;
}

/* The earliest that is due and had no turn yet, or NULL. */
static struct loop_source *next_due(const struct loop *loop, uint64_t now)
{
	struct loop_source *due = NULL;

	for (struct loop_source *s = loop->sources; s; s = s->next)
		if (s->deadline <= now && !s->removed && s->turn != loop->turn &&
		    (!due || s->deadline < due->deadline))
			due = s;
	return due;
}

/*
 * The lock is held, but not in the callback. One that sets its timer anew waits for its turn.
 */
static void run_timers(struct loop *loop)
{
	uint64_t now = clock_now();
	struct loop_source *s;

	loop->turn++;
	while ((s = next_due(loop, now))) {
		s->deadline = UINT64_MAX;
		s->turn = loop->turn;
		pthread_mutex_unlock(&loop->lock);
		s->fn(s->context, 0);
		pthread_mutex_lock(&loop->lock);
	}
	/* The timerfd has expired; whatever is due now must arm it again. */
	loop->armed = UINT64_MAX;
	arm(loop);
}

static void run_requests(struct loop *loop)
{
	while (loop->requests) {
		struct loop_request *request = loop->requests;

		loop->requests = request->next;
		pthread_mutex_unlock(&loop->lock);
		request->fn(request->context, 0);
		pthread_mutex_lock(&loop->lock);
		request->done = true;
		pthread_cond_broadcast(&loop->changed);
	}
}

/* Nothing points to them any more: between two batches. */
static void free_removed(struct loop *loop)
{
	struct loop_source **at = &loop->sources;

	while (*at) {
		struct loop_source *s = *at;

		if (s->removed) {
			*at = s->next;
			free_source(s);
		} else {
			at = &s->next;
		}
	}
	loop->has_removed = false;
}

/* Descriptors for which epoll has no place. */
static void run_always_ready(struct loop *loop)
{
	struct loop_source *s;

	pthread_mutex_lock(&loop->lock);
	s = loop->sources;
	pthread_mutex_unlock(&loop->lock);
	for (; s; s = s->next)
		if (s->always_ready && s->events && !s->removed)
			s->fn(s->context, s->events);
}

/* Wait, and serve what comes. */
static void run_once(struct loop *loop)
{
	struct epoll_event events[BATCH];
	int n = epoll_wait(loop->epoll, events, BATCH, atomic_load(&loop->nalways) ? 0 : -1);
	bool own = n < 0;

	for (int i = 0; i < n; i++) {
		struct loop_source *s = events[i].data.ptr;

		own |= !s;
		if (s && !s->removed &&
		    (events[i].events & (s->events | EPOLLERR | EPOLLHUP)) && s->events)
			s->fn(s->context, events[i].events);
	}
	if (atomic_load(&loop->nalways))
		run_always_ready(loop);
	if (own) {
		drain(loop->wake);
		drain(loop->timer);
	}
}

void loop_run(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->running = true;
	loop->expected = false;
	loop->thread = pthread_self();
	while (!loop->stop) {
		pthread_mutex_unlock(&loop->lock);
		run_once(loop);
		pthread_mutex_lock(&loop->lock);
		if (loop->armed <= clock_now())
			run_timers(loop);
		run_requests(loop);
		if (loop->has_removed)
			free_removed(loop);
	}
	run_requests(loop);
	loop->stop = false;
	loop->running = false;
	pthread_cond_broadcast(&loop->changed);
	pthread_mutex_unlock(&loop->lock);
}

void loop_stop(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->stop = true;
	pthread_mutex_unlock(&loop->lock);
	wake(loop);
}

void loop_expect(struct loop *loop, bool expected)
{
	pthread_mutex_lock(&loop->lock);
	loop->expected = expected;
	/* Those that wait in vain. */
	if (!expected)
		run_requests(loop);
	pthread_mutex_unlock(&loop->lock);
}

void loop_call(struct loop *loop, loop_fn fn, void *context)
{
	struct loop_request request = {.fn = fn, .context = context};
	struct loop_request **end = &loop->requests;

	pthread_mutex_lock(&loop->lock);
	if ((!loop->running && !loop->expected) ||
	    (loop->running && pthread_equal(loop->thread, pthread_self()))) {
		pthread_mutex_unlock(&loop->lock);
		fn(context, 0);
		return;
	}
	while (*end)
		end = &(*end)->next;
	*end = &request;
	wake(loop);
	while (!request.done)
		pthread_cond_wait(&loop->changed, &loop->lock);
	pthread_mutex_unlock(&loop->lock);
}

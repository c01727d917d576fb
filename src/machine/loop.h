/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device thread's loop: descriptors (epoll(7)) and timers, one callback at a time. One loop,
 * with one thread, per machine; all that devices do apart from register accesses happens there.
 */
#ifndef MAYFLY_MACHINE_LOOP_H
#define MAYFLY_MACHINE_LOOP_H

#include <sys/epoll.h>

#include "core/error.h"
#include "core/util.h"

struct loop;
struct loop_source;

typedef void (*loop_fn)(void *context, uint32_t events); /* EPOLLIN | ...; 0: a timer */

/* Errors: NOMEM. */
int loop_new(struct loop **out, mayfly_error *err);
/* The loop must not run. NULL is allowed. Sources that are left are freed too. */
void loop_free(struct loop *loop);

/*
 * Watch `fd` (borrowed) for `events` (EPOLLIN, EPOLLOUT; 0: none yet), level-triggered. Any
 * thread before the loop runs; then only on the loop's thread. Errors: NOMEM.
 */
int loop_add(struct loop *loop, int fd, uint32_t events, loop_fn fn, void *context,
	     struct loop_source **out, mayfly_error *err);
/* Other events from now on. Cannot fail for a source that is watched. The loop's thread. */
void loop_change(struct loop_source *source, uint32_t events);
/* Its callback is not called any more, even if it was due. NULL is allowed. The loop's thread. */
void loop_remove(struct loop_source *source);

/* A timer, not set. Errors: NOMEM. */
int loop_add_timer(struct loop *loop, loop_fn fn, void *context, struct loop_source **out,
		   mayfly_error *err);
/* CLOCK_MONOTONIC ns, UINT64_MAX: off. Any thread. */
void loop_set_timer(struct loop_source *source, uint64_t deadline);

/*
 * Run until loop_stop(); on the calling thread. loop_stop() may come from any thread, also
 * before: then it returns at once. It may be run again.
 */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/*
 * Whether loop_run() will follow, on another thread: loop_call() then waits for it, instead of
 * calling here. False: it will not, after all; calls that wait are made here.
 */
void loop_expect(struct loop *loop, bool expected);

/*
 * From any thread: have `fn` called on the loop's thread, and wait until it returned. Where the
 * loop does not run: call it here.
 */
void loop_call(struct loop *loop, loop_fn fn, void *context);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The life of tasks and of their process, for task.c, process.c, sys_task.c, checkpoint.c. */
#ifndef MAYFLY_LINUX_TASK_H
#define MAYFLY_LINUX_TASK_H

#include "linux/guest.h"
#include "linux/process.h"

/*
 * A task with a vCPU, its registers zero, not running yet; in p->tasks. `fs_base`: thread-local
 * storage. Hold no lock. -EAGAIN at the limit of threads or the host's.
 */
int task_new(struct process *p, uint64_t fs_base, struct task **out, mayfly_error *err);
/* Out of p->tasks, its vCPU free for others. */
void task_free(struct task *t);
/* On a host thread of its own. -EAGAIN. */
int task_start(struct task *t);
/* Until it is over or the process stops; on the calling thread. */
void task_run(struct task *t);
/* The part of exit(2) that the guest sees: clear_child_tid and robust futexes. */
void task_farewell(struct task *t);

/* futex(2) with FUTEX_LOCK_PI, _LOCK_PI2, _TRYLOCK_PI, _UNLOCK_PI. */
int64_t futex_of_owner(struct task *t, const uint64_t a[6]);

/* A failure of the engine ends the process; the first counts. */
void process_fail(struct process *p, const mayfly_error *err);
/* Have all tasks leave; hold tasks_lock. */
void process_stop_all(struct process *p);
/* Have it pause at this MAYFLY_PAUSE_ point, unless it ends already: then false. */
bool process_paused(struct process *p, uint32_t point);
/* A breakpoint was hit: whether it is the one at main(), and the process pauses. */
bool process_at_main(struct task *t);

/* --- The library's functions (process.c, process_new.c); see mayfly.h ----------------------- */

int process_new(const struct hv_backend *hv, const mayfly_process_options *options,
		struct process **out, mayfly_error *err);
void process_free(struct process *p);
int process_set_streams(struct process *p, const int fds[3], mayfly_error *err);
/* For another run from its snapshot: files, file system, signals, limits as they were at first. */
int process_renew(struct process *p, const int fds[3], mayfly_error *err);
int process_run(struct process *p, uint32_t pause_at, mayfly_process_end *end,
		mayfly_error *err);
/*
 * Run until p->state says how it ended or where it paused. Errors: PROTOCOL (it cannot run),
 * INTERRUPTED, NOMEM, what it failed by.
 */
int process_go(struct process *p, uint32_t pause_at, mayfly_error *err);
void process_interrupt(struct process *p);

#endif

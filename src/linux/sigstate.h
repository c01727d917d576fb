/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals, all of them the guest's own: nothing of the host's is sent or handled. Signal n is
 * bit n-1 of a set, as the kernel's ABI has it.
 */
#ifndef MAYFLY_LINUX_SIGSTATE_H
#define MAYFLY_LINUX_SIGSTATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct task;
struct process;

#define SIG_COUNT 64
#define SIG_BIT(n) ((uint64_t)1 << ((n) - 1))

/* The kernel's siginfo_t, x86-64: 128 bytes. */
struct guest_siginfo {
	int32_t signo, err, code, pad;
	union {
		uint8_t bytes[112];
		struct {
			int32_t pid;
			uint32_t uid;
			uint64_t value;
		} rt; /* kill, tgkill, sigqueue */
		struct {
			int32_t id;
			int32_t overrun;
			uint64_t value;
		} timer;
		struct {
			uint64_t address;
		} fault;
		struct {
			uint64_t call_address;
			int32_t number;
			uint32_t arch;
		} syscall;
	};
};

/* The kernel's struct sigaction, x86-64. */
struct guest_sigaction {
	uint64_t handler; /* 0: SIG_DFL, 1: SIG_IGN */
	uint64_t flags;
	uint64_t restorer;
	uint64_t mask;
};

#define SIG_QUEUE_MAX 128 /* waiting in a process, as RLIMIT_SIGPENDING */

struct sig_queued {
	struct sig_queued *next;
	struct guest_siginfo info;
};

/* Waiting signals: at most one of a standard signal, any number of real-time ones. */
struct sig_pending {
	uint64_t set;
	struct sig_queued *first;
};

struct sigtask {
	uint64_t mask;
	uint64_t saved_mask; /* to put back after sigsuspend, ppoll, ... */
	bool has_saved_mask;
	struct sig_pending pending; /* sent to this task; under the process's lock */
	uint64_t alt_base, alt_size;
	uint32_t alt_flags;
	/* In sigtimedwait(2): these end the wait without a handler. Under the lock. */
	uint64_t waiting_for;
};

struct sigprocess {
	pthread_mutex_t lock;
	struct guest_sigaction actions[SIG_COUNT + 1];
	struct sig_pending pending; /* for any task */
	uint32_t queued;
	struct timers *timers; /* itimers and timer_create(2), sys_timer.c */
	struct file **signalfds; /* to wake when something arrives */
};

int signals_init(struct process *p);
void signals_fini(struct process *p);
void signals_task_fini(struct task *t);
/* A new task inherits its parent's mask, nothing else. */
void signals_clone(struct task *child, const struct task *parent);

/*
 * Send: queued, and who can take it is kicked. t NULL: to the process. Ignored signals are
 * dropped. Any thread. 0 or -EAGAIN (too many waiting).
 */
int signal_send(struct process *p, struct task *t, const struct guest_siginfo *info);
/* One that the task's own instruction raised: cannot be blocked or ignored, kills then. */
void signal_force(struct task *t, const struct guest_siginfo *info);

/* Whether one is there that the task would take now. Cheap: called after each system call. */
bool signal_deliverable(struct task *t);

/*
 * Before the guest goes on: take the next signal, act as its action says: make a frame and
 * change t->regs, or end the process. `result` of the system call that was just made, if any
 * (t->syscall != -1): decides about restarting. Gives the value for rax.
 */
int64_t signal_deliver(struct task *t, int64_t result);

#endif

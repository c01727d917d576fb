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
struct reader;
struct writer;

#define SIG_COUNT 64
#define SIG_BIT(n) ((uint64_t)1 << ((n)-1))

/* sigaltstack(2)'s flags, and handlers' (asm/signal.h, signal.h). */
#define GUEST_SS_ONSTACK 1u
#define GUEST_SS_DISABLE 2u
#define GUEST_SS_AUTODISARM (1u << 31)
#define GUEST_SA_NOCLDSTOP 0x1u
#define GUEST_SA_NOCLDWAIT 0x2u
#define GUEST_SA_SIGINFO 0x4u
#define GUEST_SA_RESTORER 0x04000000u
#define GUEST_SA_ONSTACK 0x08000000u
#define GUEST_SA_RESTART 0x10000000u
#define GUEST_SA_NODEFER 0x40000000u
#define GUEST_SA_RESETHAND 0x80000000u

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
	uint64_t timer; /* what signal_timer_taken() is told when it is taken; 0: nothing */
	struct guest_siginfo info;
};

/*
 * Waiting signals, in the order in which they came: at most one of a standard signal, any number
 * of real-time ones. A bit in `set` without an entry: memory was out, only the number is known.
 */
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
	/* Of the last CPU exception, for handlers (REG_TRAPNO, REG_ERR, REG_CR2). */
	uint64_t trap_number, trap_error, trap_cr2;
};

struct sigprocess {
	pthread_mutex_t lock;
	struct guest_sigaction actions[SIG_COUNT + 1];
	struct sig_pending pending; /* for any task */
	uint32_t queued;
	uint32_t xsave_size;	/* of frames; 0: not known yet. Atomic. */
	struct timers *timers;	/* itimers and timer_create(2), sys_timer.c */
	struct file *signalfds; /* by next_signalfd: to wake when something arrives */
};

int signals_init(struct process *p);
void signals_fini(struct process *p);
/*
 * No signal waits, all actions are the default ones, no timers. Without tasks; other threads may
 * send meanwhile.
 */
void signals_reset(struct process *p);
void signals_task_fini(struct task *t);
/* A new task inherits its parent's mask, nothing else. */
void signals_clone(struct task *child, const struct task *parent);

/*
 * Send: queued, and who can take it is kicked. t NULL: to the process. Ignored signals are
 * dropped. Any thread. 0 or -EAGAIN (too many waiting).
 */
int signal_send(struct process *p, struct task *t, const struct guest_siginfo *info);
/* The same to the task that has this tid; -ESRCH. */
int signal_send_tid(struct process *p, int tid, const struct guest_siginfo *info);
/* As kill(2) by somebody outside of the VM. -EINVAL: no signal; -ESRCH: the process has ended. */
int signal_send_outside(struct process *p, int signo);
/*
 * For checkpoint.c: actions, timers and what waits for the process; and what waits for a task, its
 * mask and its alternate stack. signals_loaded(): all is there, signalfds too. As timers_load().
 */
void signals_save(struct process *p, struct writer *w);
int signals_load(struct process *p, struct reader *r);
void signals_save_task(struct task *t, struct writer *w);
int signals_load_task(struct task *t, struct reader *r);
int signals_loaded(struct process *p);
/*
 * One that the task's own instruction raised: cannot be blocked or ignored, kills then. Set
 * sig.trap_* before; signal_deliver() does the rest.
 */
void signal_force(struct task *t, const struct guest_siginfo *info);

/*
 * Whether signal_deliver() has something to do: a signal that the task would take now, or a
 * mask to put back. Cheap: called after each system call.
 */
bool signal_deliverable(struct task *t);

/*
 * Take one of `set` that waits, the task's own first, whether it is blocked or not: for
 * signalfd(2) and rt_sigtimedwait(2). False: there is none.
 */
bool signal_take(struct task *t, uint64_t set, struct guest_siginfo *info);
/*
 * For ppoll(2), pselect6(2) and epoll_pwait(2): read the mask of `size` bytes at `va` (0: none)
 * and have it be the task's until signal_mask_pop(). -EINVAL for another size than 8, -EFAULT.
 * `interrupted`: the call ends with -EINTR or a restart code; then the mask stays until a
 * handler was set up, and signal_deliver() puts the old one back.
 */
int signal_mask_push(struct task *t, uint64_t va, uint64_t size);
void signal_mask_pop(struct task *t, bool interrupted);

/* sys_event.c: `signal` was queued: wake those who wait on a signalfd for it. Whether there is such
 * a signalfd. Under the lock. */
bool signalfds_wake(struct sigprocess *sig, int signal);

/*
 * Before the guest goes on: take the next signal, act as its action says: make a frame and
 * change t->regs, or end the process. `result` of the system call that was just made, if any
 * (t->syscall != -1): decides about restarting. Gives the value for rax. To be called if
 * signal_deliverable(), and always when `result` is a restart code: also without any signal
 * the call has to be made again then.
 */
int64_t signal_deliver(struct task *t, int64_t result);

/* --- Between signals.c, sys_signal.c, sigframe.c and sys_timer.c -------------------------- */

static inline uint64_t sig_unblockable(void)
{
	return SIG_BIT(9) | SIG_BIT(19); /* SIGKILL, SIGSTOP */
}

/* Change the mask; another task is told of signals that this one takes no more. */
void signal_set_mask(struct task *t, uint64_t mask);
/* The pending ones of the task and the process. */
uint64_t signal_pending_set(struct task *t);
/* sigaction(2); `new` and `old` may be NULL. -EINVAL. */
int signal_set_action(struct process *p, int signo, const struct guest_sigaction *new_action,
		      struct guest_sigaction *old_action);
/*
 * Hold sig.lock. As signal_send(), t NULL or tid 0: to the process; `timer` as in struct
 * sig_queued, such signals are queued whatever else waits. 0, 1: ignored, dropped; -ESRCH.
 */
int signal_queue_timer(struct process *p, int tid, const struct guest_siginfo *info,
		       uint64_t timer);
/* Hold sig.lock. Take back what that timer has queued. */
void signal_unqueue_timer(struct process *p, uint64_t timer);

/* sys_timer.c, with sig.lock held: the signal of this timer was taken; adds overruns. */
void signal_timer_taken(struct process *p, uint64_t timer, struct guest_siginfo *info);
/* It was dropped: the timer goes on. tasks_lock may be held, too. */
void signal_timer_dropped(struct process *p, uint64_t timer);
/* A SIGALRM to the process was taken or dropped. */
void signal_alarm_taken(struct process *p);
/*
 * sys_timer.c: timers as bytes and back, into a process without any; hold sig.lock. What is left
 * of the time is kept. -EAGAIN, -ENOMEM; bytes that make no sense leave `r` bad.
 */
void timers_save(struct process *p, struct writer *w);
int timers_load(struct process *p, struct reader *r);
/* Then, when all tasks are there: they go off from now on. -EAGAIN. */
int timers_start(struct process *p);
/* sys_timer.c: ends its thread. */
void timers_fini(struct process *p);

/* Whether the address is on the alternate stack. */
bool signal_on_altstack(const struct sigtask *sig, uint64_t sp);

/* sigframe.c */
/*
 * Have t->regs enter the handler; the frame says that the task went on with t->regs as they are
 * and `mask`. -EFAULT: nothing was changed.
 */
int sigframe_push(struct task *t, const struct guest_sigaction *action,
		  const struct guest_siginfo *info, uint64_t mask);
/* rt_sigreturn: registers, mask and alternate stack back from the frame. -EFAULT: it is bad. */
int sigframe_pop(struct task *t);
/* sys_signal.c. sigaltstack(2) with `sp` the stack pointer; stacks may be NULL. */
struct guest_stack {
	uint64_t sp;
	uint32_t flags;
	uint32_t pad;
	uint64_t size;
};
int signal_altstack(struct sigtask *sig, uint64_t sp, const struct guest_stack *new_stack,
		    struct guest_stack *old_stack);

#endif

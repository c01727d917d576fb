/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program in a VM: one process, its tasks (threads), and what they share. Each task is a vCPU
 * and a host thread that runs it; system calls leave the VM and are answered on that thread.
 *
 * Files of this directory: process.c (life), task.c (run loop, clone, exit), mm*.c (address
 * space), exec.c (ELF, stack), files.c (descriptor table), vfs*.c, memfs.c, procfs.c (paths),
 * sys_*.c (families of system calls), table.c (dispatch), trace.c (--trace), checkpoint.c
 * (snapshots).
 *
 * System calls. One function each, int64_t sys_NAME(struct task *t, const uint64_t a[6]): the
 * result, or -errno. a[] are the guest's registers as they are: hostile. Guest memory is
 * touched only through mm.h. A call that may block waits only in the task_wait functions below.
 *
 * Locks. Process-wide state has a lock of its own, named beside it. Order: files, vfs, mm,
 * signals, tasks. None is held while waiting or while the guest runs.
 */
#ifndef MAYFLY_LINUX_PROCESS_H
#define MAYFLY_LINUX_PROCESS_H

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>

#include "abi/program.h"
#include "core/random.h"
#include "core/util.h"
#include "core/watchdog.h"
#include "linux/files.h"
#include "linux/mm.h"
#include "linux/sigstate.h"
#include "linux/syscalls.h"
#include "linux/vfs.h"
#include "snapshot/instance.h"

/* The one process's identity, as the guest sees it. */
#define PROCESS_PID 1000
#define PROCESS_PPID 1
#define PROCESS_DEFAULT_THREADS 64

/* Not errnos of Linux's ABI: how an interrupted call wants to go on; never seen by guests. */
#define ERESTARTSYS 512		 /* again, if the handler has SA_RESTART or there is none */
#define ERESTARTNOINTR 513	 /* always again */
#define ERESTARTNOHAND 514	 /* again only if no handler ran, else EINTR */
#define ERESTART_RESTARTBLOCK 516 /* as NOHAND, by way of restart_syscall(2) */

struct process;

/* Where a call goes on that ended by ERESTART_RESTARTBLOCK. */
struct restart {
	syscall_fn *fn;
	uint64_t arg[6];
	struct timespec deadline;
};

struct task {
	struct process *process;
	struct task *next; /* process->tasks */
	int tid;
	uint32_t vcpu_number;
	struct hv_vcpu *vcpu;
	pthread_t host;
	bool main; /* runs on the thread that called process_run() */

	/*
	 * The guest's registers while it is out of the VM. rip: after the SYSCALL instruction;
	 * rcx and r11 as the guest had them are gone, as on Linux.
	 */
	struct cpu_regs regs;
	uint64_t syscall; /* the number, while one is being answered; else -1 */
	bool in_ring0;	  /* the vCPU stopped there: it must be put back to ring 3 */
	bool regs_changed; /* whole registers are to be set: signals, sigreturn, clone, restart */

	/* Interrupting it: see task_kick(). */
	atomic_uint kicked; /* a futex word too */
	int kick_fd;	    /* eventfd, readable while kicked */

	struct sigtask sig; /* sigstate.h */
	struct restart restart;

	uint64_t clear_child_tid; /* guest address, 0: none */
	uint64_t robust_list;
	uint64_t rseq;
	char name[16]; /* PR_SET_NAME */
	bool exiting;
	uint64_t traced_at; /* ns, when the call began, for --trace and --stats */
};

/* What ended it, or stopped it for the caller. */
enum process_state {
	PROCESS_NEW,
	PROCESS_RUNNING,
	PROCESS_PAUSED, /* at a point that the caller asked for: it can go on */
	PROCESS_EXITED, /* exit status in `status` */
	PROCESS_KILLED, /* by a signal: in `status` */
	PROCESS_FAILED	/* error */
};

struct process {
	struct guest *guest;
	struct instance inst;
	const struct hv_backend *hv;
	const struct hv_host *host;
	bool syscall_ring0; /* SYSCALL enters ring 0 here; else it stays in ring 3 (PVM) */

	struct mm mm;
	struct files files;
	struct vfs *vfs;
	struct sigprocess sig;
	struct netpolicy *net; /* NULL: no network */

	/* Tasks. */
	pthread_mutex_t tasks_lock;
	pthread_cond_t tasks_changed;
	struct task *tasks;
	uint32_t ntasks;
	uint32_t max_tasks;
	int next_tid;
	uint64_t vcpus_used[(PROG_MAX_VCPUS + 63) / 64]; /* bitmap */
	struct hv_vcpu *vcpus[PROG_MAX_VCPUS];		 /* made; reused by later tasks */

	/* How it goes; under tasks_lock. */
	enum process_state state;
	int status;
	bool stopping; /* all tasks are to leave: exit_group, death, pause */
	bool core_signal;
	char message[MAYFLY_ERROR_MESSAGE_SIZE]; /* why it was killed, or "" */
	mayfly_error error;			 /* PROCESS_FAILED */

	/* Limits. 0: none. */
	struct watchdog_entry watch;
	uint64_t timeout_ns;
	uint64_t cpu_limit_ns;
	uint64_t max_output;
	atomic_ullong output; /* bytes written to the standard streams */
	struct rlimit rlimits[RLIM_NLIMITS]; /* what the guest is told and may lower */

	/* What the program was started with. */
	char *exe; /* guest path of the executable */
	char **argv;
	char **envp;
	char hostname[65];
	mode_t umask;
	uint32_t uid, gid; /* as the guest sees them */
	struct timespec started; /* CLOCK_MONOTONIC */

	/* The caller's hooks. */
	mayfly_policy_fn policy;
	void *policy_context;
	struct trace *trace; /* NULL: neither traced nor counted */
	mayfly_notice_fn notice; /* one line for the user's eyes, e.g. "fork is not supported" */
	void *notice_context;
	atomic_uint noticed; /* bits: what was said once */
	uint32_t pause_at;   /* MAYFLY_PAUSE_: bits */
};

/* --- Waiting (task.c) --------------------------------------------------------------------- */

/*
 * CLOCK_MONOTONIC deadlines; NULL: for ever. All give -EINTR when the task was kicked: a signal
 * wants to be delivered, or the process ends. Callers turn that into the restart code that
 * their call has on Linux (signal(7)).
 */

/* Until one of fds (host descriptors) is ready: as poll(2), revents filled. 0: time is up. */
int task_poll(struct task *t, struct pollfd *fds, nfds_t n, const struct timespec *deadline);
/* For one descriptor: > 0 ready, 0 time is up. */
int task_wait_fd(struct task *t, int fd, short events, const struct timespec *deadline);
/* Until the deadline: 0; else -EINTR. */
int task_sleep(struct task *t, const struct timespec *deadline);
/*
 * While *word (host address of guest memory, which the kernel checks) is `value`, by the host's
 * futex_waitv(2), which a kick ends as well. 0, -EAGAIN, -ETIMEDOUT, -EINTR, -EFAULT.
 * `clock`: of the deadline.
 */
int task_wait_futex(struct task *t, const uint32_t *word, uint32_t value, clockid_t clock,
		    const struct timespec *deadline);
/* deadline = now + relative; false if relative is no valid time. Saturates. */
bool deadline_after(const struct timespec *relative, struct timespec *deadline);

/* Any thread: have the task leave the VM or its wait soon, once, to look at what changed. */
void task_kick(struct task *t);

/* --- Life --------------------------------------------------------------------------------- */

/* The task that has this tid, or NULL; hold tasks_lock. */
struct task *process_task(struct process *p, int tid);

/* End all tasks. The first call decides; from any task's thread, no lock held. */
void process_exit(struct process *p, int status);
/* By a signal that Linux would have sent; `message` (printf) says why if that is not plain. */
void process_kill(struct process *p, int signal, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A line to the user once for each `bit` of the NOTICE_ ones. */
enum { NOTICE_FORK = 1, NOTICE_EXEC = 2, NOTICE_MEMORY = 4, NOTICE_NET = 8 };
void process_notice(struct process *p, unsigned bit, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Pause there if the caller asked for this MAYFLY_PAUSE_ bit; true: give up the call, it is
 * run again when the process goes on. */
bool process_pause(struct task *t, uint32_t bit);

#endif

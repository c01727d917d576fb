/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program in a VM: one process, its tasks (threads), and what they share. Each task is a vCPU
 * and a host thread that runs it; system calls leave the VM and are answered on that thread.
 *
 * Files of this directory: process.c (life), task.c (run loop, clone, exit), mm*.c (address
 * space), exec.c (ELF, stack), files.c (descriptor table), vfs*.c, memfs.c, procfs.c (paths),
 * sys_*.c (families of system calls), table.c (dispatch), trace.c (--trace), checkpoint.c
 * (snapshots), functions.c (calls by the host).
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
#include "linux/populate.h"
#include "linux/sigstate.h"
#include "linux/syscalls.h"
#include "linux/vdso.h"
#include "linux/vfs.h"
#include "snapshot/instance.h"

/* The one process's identity, as the guest sees it. */
#define PROCESS_PID 1000
#define PROCESS_PPID 1
#define PROCESS_TID_MAX                                                                        \
	4000000 /* below Linux's own limit, PID_MAX_LIMIT (pid_max in proc(5)) */
/* It leads its process group; the session is its parent's, as of a shell's job. */
#define PROCESS_SID 1
#define PROCESS_DEFAULT_THREADS 64

/* Not errnos of Linux's ABI: how an interrupted call wants to go on; never seen by guests. */
#define ERESTARTSYS 512		  /* again, if the handler has SA_RESTART or there is none */
#define ERESTARTNOINTR 513	  /* always again */
#define ERESTARTNOHAND 514	  /* again only if no handler ran, else EINTR */
#define ERESTART_RESTARTBLOCK 516 /* as NOHAND, by way of restart_syscall(2) */

struct process;
struct function_call;

#define TASK_NO_SYSCALL UINT64_MAX

/* Where a call goes on that ended by ERESTART_RESTARTBLOCK. */
struct restart {
	syscall_fn *fn;
	uint64_t arg[6];
	struct timespec deadline;
};

/*
 * What a task was told by prctl(2) and the sched_ calls, and tells again; others may set it, so
 * under tasks_lock. All zero at first; a new thread gets its parent's, less pdeath_signal.
 */
struct task_attr {
	uint64_t timer_slack; /* ns; 0: the default */
	uint64_t affinity;    /* CPUs 0 to 63; 0: all */
	uint32_t policy;      /* SCHED_ */
	int nice;
	uint32_t ioprio; /* 0: never set */
	int pdeath_signal;
	bool reset_on_fork;
	bool keep_caps;
};

/* The same of the whole process. */
struct process_attr {
	uint32_t personality;
	bool undumpable;
	bool no_new_privs;
	bool thp_disabled;
	bool subreaper;
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
	uint64_t syscall;  /* the number, while one is being answered; else -1 */
	int64_t result;	   /* of that call */
	bool in_ring0;	   /* the vCPU stopped there: it must be put back to ring 3 */
	bool not_entered;  /* it was kicked before it went into the VM */
	bool pause_passed; /* it goes on from a point at which it was paused: not again there */
	bool call_over; /* the host's call returned: signals wait until the process goes on */
	atomic_bool in_guest;
	/* The last page fault, and how often it came in a row. */
	uint64_t fault_va, fault_rip;
	uint32_t same_faults;
	bool regs_changed; /* whole registers are to be set: signals, sigreturn, clone, restart */

	/* Interrupting it: see task_kick(). */
	atomic_uint kicked; /* a futex word too */
	int kick_fd;	    /* eventfd, readable while kicked */
	/* Of the host, what task_poll() waits for: one, and 1; 0: nothing; UINT_MAX: several. */
	atomic_uint waits_for;

	struct sigtask sig; /* sigstate.h */
	/* Under tasks_lock: see task_cpu_attach(). */
	clockid_t cpu_clock;
	int64_t cpu_offset, cpu_user_offset;
	struct restart restart;

	uint64_t clear_child_tid; /* guest address, 0: none */
	uint64_t robust_list;
	uint64_t rseq;
	char name[16]; /* PR_SET_NAME */
	bool exiting;
	int exit_status;
	uint64_t traced_at;	     /* ns, when the call began, for --trace and --stats */
	struct syscall_paths *paths; /* the call's, once copied: see task_path() */
	struct trace_call *traced;   /* the call's line so far: trace.c */
	struct task_attr attr;
	/* Calls made; written by its own thread, atomically: others may read it. */
	uint64_t syscalls;
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

/* Where SYSCALL is executed, and how often: see task.c. */
struct syscall_site {
	uint64_t va;
	uint32_t count;
};

struct process {
	struct guest *guest;
	struct instance inst;
	const struct hv_backend *hv;
	const struct hv_host *host;
	struct syscall_site sites[256];
	bool syscall_ring0; /* SYSCALL enters ring 0 here; else it stays in ring 3 (PVM) */

	struct mm mm;
	struct populate populate;
	struct files files;
	struct vfs *vfs;
	struct sigprocess sig;
	struct vdso_clock clock;
	struct netpolicy *net;		   /* NULL: no network; outlives `files` */
	struct loopback *_Atomic loopback; /* loopback.h, made at first use: sockets_end() */

	/* Tasks. */
	pthread_mutex_t owners_lock; /* futex_pi.c; comes before mm and tasks */
	pthread_mutex_t tasks_lock;
	pthread_cond_t tasks_changed;
	struct task *tasks;
	uint32_t ntasks;
	uint32_t max_tasks;
	int next_tid;
	uint64_t ended_cpu_ns, ended_user_ns;		 /* CPU time of tasks that ended */
	uint64_t vcpus_used[(PROG_MAX_VCPUS + 63) / 64]; /* bitmap */
	struct hv_vcpu *vcpus[PROG_MAX_VCPUS];		 /* made; reused by later tasks */

	/* How it goes; under tasks_lock. */
	enum process_state state;
	int status;
	atomic_bool stopping; /* all tasks are to leave: exit_group, death, pause */
	bool fixed_layout;    /* addresses are not random */
	/* From a snapshot: where it was taken, and arguments for who asks by mayfly_ready(). */
	bool from_snapshot;
	uint32_t pause_point; /* MAYFLY_PAUSE_ */
	uint64_t new_argc, new_argv;
	uint64_t main_va; /* of main(), 0: not known; and the byte that its breakpoint covers */
	uint8_t main_byte;
	bool main_armed;
	bool interrupted;	 /* before it ran */
	uint64_t ended_syscalls; /* of tasks that ended */
	uint32_t nhosts;	 /* host threads of tasks, but the caller's own */
	int leader_status;
	bool restorable;
	bool core_signal;
	char message[MAYFLY_ERROR_MESSAGE_SIZE]; /* why it was killed, or "" */
	mayfly_error error;			 /* PROCESS_FAILED */

	/* Limits. 0: none. */
	struct watchdog_entry watch;
	uint64_t timeout_ns;
	uint64_t wall_used;	/* in earlier runs */
	uint64_t wall_deadline; /* of this one */
	uint64_t cpu_limit_ns;
	uint64_t max_output;
	atomic_ullong output; /* bytes written to the standard streams */
	/* What the guest is told and may lower; under tasks_lock: see limits_soft(). */
	struct rlimit rlimits[RLIM_NLIMITS];
	struct process_attr attr;
	uint32_t cpus; /* see process_cpus() */

	/* What the program was started with. */
	char *exe; /* guest path of the executable */
	char **argv;
	char **envp;
	char hostname[65];
	mode_t umask;
	uint32_t uid, gid; /* as the guest sees them */
	uint64_t started;  /* CLOCK_MONOTONIC, ns */

	/* Restorable: what files and file system are made of again. Owned. */
	struct {
		uint32_t flags, max_files;
		mayfly_grant *grants; /* host: /proc/self/fd/N, N one of `roots` */
		int *roots;
		size_t ngrants;
		char **argv; /* NULL: none were given */
	} kept;

	/* The caller's hooks. */
	mayfly_policy_fn policy;
	void *policy_context;
	struct trace *trace; /* NULL: neither traced nor counted */
	mayfly_notice_fn
		notice; /* one line for the user's eyes, e.g. "fork is not supported" */
	void *notice_context;
	atomic_uint noticed; /* bits: what was said once */
	uint32_t pause_at;   /* MAYFLY_PAUSE_: bits */

	struct function_call *call; /* functions.c's; NULL: no function was called yet */
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
/* The same, for so long from now on. */
int task_pause(struct task *t, uint64_t ns);
/* And twice as long the next time, while that is less than `last`: for what tells nobody. */
int task_pause_longer(struct task *t, uint64_t *ns, uint64_t last);
/*
 * While *word (host address of guest memory, which the kernel checks) is `value`, by the host's
 * futex_waitv(2), which a kick ends as well. 0, -EAGAIN, -ETIMEDOUT, -EINTR, -EFAULT.
 * `clock`: of the deadline.
 */
int task_wait_futex(struct task *t, const uint32_t *word, uint32_t value, clockid_t clock,
		    const struct timespec *deadline);
/* deadline = now + relative; false if relative is no valid time. Saturates. */
bool deadline_after(const struct timespec *relative, struct timespec *deadline);
/* What is left until then; zero if it has passed. */
struct timespec deadline_left(const struct timespec *deadline);

/* Any thread: have the task leave the VM or its wait soon, once, to look at what changed. */
void task_kick(struct task *t);
/*
 * The same for all that may wait for the host's descriptor `fd`, which is another file description
 * from now on; takes tasks_lock.
 */
void tasks_look_again(struct process *p, int fd);

/* --- CPU time (sys_time.c) ---------------------------------------------------------------- */

/*
 * On the task's own host thread: from now on, until task_cpu_detach() on the same thread, the
 * CPU time of this thread is the task's. They take tasks_lock. When a task is over, its time
 * goes to ended_cpu_ns by task_cpu_end(), which wants tasks_lock held.
 */
void task_cpu_attach(struct task *t);
void task_cpu_detach(struct task *t);
void task_cpu_end(struct task *t);
/* ns. Hold tasks_lock. `user`: without what the host's kernel did for it. */
uint64_t task_cpu_ns(const struct task *t, bool user);
/* Of all tasks, those that ended included. Takes tasks_lock. */
uint64_t process_cpu_ns(struct process *p, bool user);

/* --- Life --------------------------------------------------------------------------------- */

/* The task that has this tid, or NULL; hold tasks_lock. */
struct task *process_task(struct process *p, int tid);

/* End all tasks. The first call decides; from any task's thread, no lock held. */
void process_exit(struct process *p, int status);
/* By a signal that Linux would have sent; `message` (printf) says why if that is not plain. */
void process_kill(struct process *p, int signal, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A line to the user once for each `bit` of the NOTICE_ ones. */
enum { NOTICE_FORK = 1, NOTICE_EXEC = 2, NOTICE_MEMORY = 4, NOTICE_NET = 8, NOTICE_STOP = 16 };
void process_notice(struct process *p, unsigned bit, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* sys_limits.c: the limits at the start, from files.max, mm.limit, max_tasks, cpu_limit_ns; and
 * the number of CPUs. */
void limits_init(struct process *p);
/* The soft limit RLIMIT_`resource` now, RLIM_INFINITY for none. No lock needed. */
uint64_t limits_soft(struct process *p, int resource);
/*
 * sys_sched.c: how many CPUs the program sees, numbered from 0, at most 64: the host's that it
 * may run on, but not more than it may have threads.
 */
uint32_t process_cpus(const struct process *p);
uint32_t sched_count_cpus(uint32_t max_tasks);
/* Whether there is a task `tid`; takes tasks_lock. */
/* Calls made by all tasks so far. */
uint64_t process_syscalls(struct process *p);
bool process_has_task(struct process *p, int tid);

/*
 * socket.c: drop what the process's own network still holds (descriptors in messages that never
 * arrived). After the last task, before files_fini().
 */
void sockets_end(struct process *p);

/* Pause there if the caller asked for this MAYFLY_PAUSE_ bit; true: give up the call, it is
 * run again when the process goes on. */
bool process_pause(struct task *t, uint32_t bit);
/* mayfly_ready(): pause, then give the arguments to the structure at `va`. */
int64_t process_ready(struct task *t, uint64_t va);

#endif

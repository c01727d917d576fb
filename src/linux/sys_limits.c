/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resource limits, and what was used.
 *
 * The limits tell what the caller's options allow. The program may lower them, as on Linux, and
 * soft ones raise again up to the hard ones. Lowering has its effect on NOFILE (files.max),
 * NPROC (max_tasks), DATA and AS (what may be charged: an address space that is reserved but
 * not charged does not count), FSIZE (by limits_soft(), where files are written). CPU, the
 * signal at its soft limit included, and STACK, which is of its size from the start, are only
 * remembered.
 */
#include <errno.h>
#include <limits.h>
#include <linux/sysinfo.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/times.h>

#include "core/clock.h"
#include "linux/process.h"

#define TICKS_PER_S 100 /* USER_HZ: what sysconf(_SC_CLK_TCK) gives on x86 */
#define STACK_LIMIT ((rlim_t)8 << 20)
/* So many files can be mapped for each descriptor: mapped ones are often closed, as libraries are. */
#define MAPPED_FILES 4

/* --- Limits ------------------------------------------------------------------------------- */

static void set_both(struct process *p, int resource, rlim_t value)
{
	p->rlimits[resource] = (struct rlimit){value, value};
}

void limits_init(struct process *p)
{
	for (int i = 0; i < RLIM_NLIMITS; i++)
		set_both(p, i, RLIM_INFINITY);
	set_both(p, RLIMIT_DATA, p->mm.limit);
	set_both(p, RLIMIT_MEMLOCK, p->mm.limit);
	set_both(p, RLIMIT_STACK, STACK_LIMIT);
	set_both(p, RLIMIT_CORE, 0);
	set_both(p, RLIMIT_NPROC, p->max_tasks);
	set_both(p, RLIMIT_NOFILE, p->files.max);
	p->mm.max_files = p->files.max < UINT32_MAX / MAPPED_FILES ? p->files.max * MAPPED_FILES
								   : UINT32_MAX;
	set_both(p, RLIMIT_SIGPENDING, SIG_QUEUE_MAX);
	set_both(p, RLIMIT_MSGQUEUE, 0);
	set_both(p, RLIMIT_NICE, 0);
	set_both(p, RLIMIT_RTPRIO, 0);
	if (p->cpu_limit_ns)
		set_both(p, RLIMIT_CPU, (p->cpu_limit_ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC);
	p->cpus = sched_count_cpus(p->max_tasks);
}

uint64_t limits_soft(struct process *p, int resource)
{
	return __atomic_load_n(&p->rlimits[resource].rlim_cur, __ATOMIC_RELAXED);
}

static uint32_t clamp32(rlim_t value)
{
	return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

/* Hold tasks_lock. */
static void apply_limit(struct process *p, int resource)
{
	rlim_t soft = p->rlimits[resource].rlim_cur;
	rlim_t data = p->rlimits[RLIMIT_DATA].rlim_cur, space = p->rlimits[RLIMIT_AS].rlim_cur;

	switch (resource) {
	case RLIMIT_NPROC:
		p->max_tasks = clamp32(soft);
		break;
	case RLIMIT_DATA:
	case RLIMIT_AS:
		/* The hard limit of DATA is what the caller gave, or less. */
		__atomic_store_n(&p->mm.limit, data < space ? data : space, __ATOMIC_RELAXED);
		break;
	default:
		break;
	}
}

static int set_limit(struct process *p, int resource, const struct rlimit *wanted,
		     struct rlimit *before)
{
	struct rlimit *limit = &p->rlimits[resource];
	int r = 0;

	if (wanted && wanted->rlim_cur > wanted->rlim_max)
		return -EINVAL;
	/* NOFILE in one step with the table's: the order of locks is files, tasks. */
	pthread_mutex_lock(&p->files.lock);
	pthread_mutex_lock(&p->tasks_lock);
	*before = *limit;
	if (wanted && wanted->rlim_max > limit->rlim_max) {
		r = -EPERM;
	} else if (wanted) {
		limit->rlim_max = wanted->rlim_max;
		__atomic_store_n(&limit->rlim_cur, wanted->rlim_cur, __ATOMIC_RELAXED);
		apply_limit(p, resource);
		if (resource == RLIMIT_NOFILE)
			p->files.max = clamp32(wanted->rlim_cur);
	}
	pthread_mutex_unlock(&p->tasks_lock);
	pthread_mutex_unlock(&p->files.lock);
	return r;
}

int64_t sys_prlimit64(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	uint32_t resource = (uint32_t)a[1];
	struct rlimit wanted, before;
	int pid = (int)a[0], r;

	if (resource >= RLIM_NLIMITS)
		return -EINVAL;
	if (a[2] && mm_get(&p->mm, &wanted, a[2]) < 0)
		return -EFAULT;
	if (pid != 0 && pid != t->tid && pid != PROCESS_PID && !process_has_task(p, pid))
		return -ESRCH;
	r = set_limit(p, (int)resource, a[2] ? &wanted : NULL, &before);
	if (r < 0)
		return r;
	return a[3] ? mm_put(&p->mm, a[3], &before) : 0;
}

int64_t sys_getrlimit(struct task *t, const uint64_t a[6])
{
	struct rlimit limit;

	if ((uint32_t)a[0] >= RLIM_NLIMITS)
		return -EINVAL;
	set_limit(t->process, (int)a[0], NULL, &limit);
	return mm_put(&t->process->mm, a[1], &limit);
}

int64_t sys_setrlimit(struct task *t, const uint64_t a[6])
{
	struct rlimit wanted, before;

	if (mm_get(&t->process->mm, &wanted, a[1]) < 0)
		return -EFAULT;
	if ((uint32_t)a[0] >= RLIM_NLIMITS)
		return -EINVAL;
	return set_limit(t->process, (int)a[0], &wanted, &before);
}

/* --- What was used ------------------------------------------------------------------------ */

static struct timeval timeval_of(uint64_t ns)
{
	return (struct timeval){.tv_sec = (time_t)(ns / NSEC_PER_SEC),
				.tv_usec = (suseconds_t)(ns % NSEC_PER_SEC / 1000)};
}

/* As the guest's clocks are, ns. */
static uint64_t guest_clock(struct process *p, clockid_t id)
{
	struct timespec now;

	return vdso_clock_gettime(&p->clock, id, &now) ? clock_ns(&now) : 0;
}

/* User and system time, ns. */
static void cpu_times(struct task *t, bool process, uint64_t *user, uint64_t *system)
{
	struct process *p = t->process;
	uint64_t all;

	if (process) {
		*user = process_cpu_ns(p, true);
		all = process_cpu_ns(p, false);
	} else {
		pthread_mutex_lock(&p->tasks_lock);
		*user = task_cpu_ns(t, true);
		all = task_cpu_ns(t, false);
		pthread_mutex_unlock(&p->tasks_lock);
	}
	*system = all > *user ? all - *user : 0;
}

/* The kernel's struct rusage, x86-64; a C library's may be longer. */
struct guest_rusage {
	struct timeval utime, stime;
	int64_t maxrss;
	int64_t others[13];
};
_Static_assert(sizeof(struct guest_rusage) == 144, "struct rusage");

/* Faults and switches are the host's affair and not told. */
int64_t sys_getrusage(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	struct guest_rusage usage = {0};
	uint64_t user, system;
	int who = (int)a[0];

	if (who != RUSAGE_SELF && who != RUSAGE_CHILDREN && who != RUSAGE_THREAD)
		return -EINVAL;
	if (who != RUSAGE_CHILDREN) {
		cpu_times(t, who == RUSAGE_SELF, &user, &system);
		usage.utime = timeval_of(user);
		usage.stime = timeval_of(system);
		/* KiB; the charge is the nearest to it that is known. */
		usage.maxrss = (int64_t)(p->mm.peak / 1024);
	}
	return mm_put(&p->mm, a[1], &usage);
}

int64_t sys_times(struct task *t, const uint64_t a[6])
{
	const uint64_t tick = NSEC_PER_SEC / TICKS_PER_S;
	struct tms times = {0};
	uint64_t user, system;

	if (a[0]) {
		cpu_times(t, true, &user, &system);
		times.tms_utime = (clock_t)(user / tick);
		times.tms_stime = (clock_t)(system / tick);
		if (mm_put(&t->process->mm, a[0], &times) < 0)
			return -EFAULT;
	}
	return (int64_t)(guest_clock(t->process, CLOCK_MONOTONIC) / tick);
}

/* The machine is the VM: its memory is the limit. The host's load is not told. */
int64_t sys_sysinfo(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	uint64_t charged = atomic_load_explicit(&p->mm.charged, memory_order_relaxed);
	struct sysinfo info = {.mem_unit = 1};
	rlim_t limit;

	pthread_mutex_lock(&p->tasks_lock);
	limit = p->rlimits[RLIMIT_DATA].rlim_max;
	info.procs = (unsigned short)p->ntasks;
	pthread_mutex_unlock(&p->tasks_lock);
	info.uptime = (long)(guest_clock(p, CLOCK_BOOTTIME) / NSEC_PER_SEC);
	info.totalram = limit;
	info.freeram = charged < limit ? limit - charged : 0;
	return mm_put(&p->mm, a[0], &info);
}

/* --- Priorities --------------------------------------------------------------------------- */

/*
 * Kept and told, and of no effect: a host thread's nice value could not be taken back, and the
 * first task's thread is the caller's own.
 */

#define NICE_MIN (-20)
#define NICE_MAX 19

/* Whether getpriority(2)'s and ioprio_get(2)'s which and who mean this task. */
struct whose {
	int tid; /* 0: all tasks, the whole group or user */
};

/* PRIO_PROCESS and IOPRIO_WHO_PROCESS are the first of three, then group, then user. */
static int whose(struct task *t, int which, int who, struct whose *out)
{
	struct process *p = t->process;

	switch (which) {
	case 0:
		out->tid = who ? who : t->tid;
		return process_has_task(p, out->tid) ? 0 : -ESRCH;
	case 1:
		out->tid = 0;
		return who == 0 || who == PROCESS_PID ? 0 : -ESRCH;
	case 2:
		out->tid = 0;
		return who == 0 || (uint32_t)who == p->uid ? 0 : -ESRCH;
	default:
		return -EINVAL;
	}
}

static bool is_meant(const struct task *t, const struct whose *whose)
{
	return whose->tid == 0 || whose->tid == t->tid;
}

/* 20 less the lowest nice value, so that the result is positive. */
int64_t sys_getpriority(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	struct whose them;
	int lowest = NICE_MAX;
	int r = whose(t, (int)a[0], (int)a[1], &them);

	if (r < 0)
		return r;
	pthread_mutex_lock(&p->tasks_lock);
	for (const struct task *each = p->tasks; each; each = each->next) {
		if (is_meant(each, &them) && each->attr.nice < lowest)
			lowest = each->attr.nice;
	}
	pthread_mutex_unlock(&p->tasks_lock);
	return 20 - lowest;
}

int64_t sys_setpriority(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	struct whose them;
	int nice = (int)a[2];
	int r = whose(t, (int)a[0], (int)a[1], &them);

	if (r < 0)
		return r;
	nice = nice < NICE_MIN ? NICE_MIN : nice > NICE_MAX ? NICE_MAX : nice;
	pthread_mutex_lock(&p->tasks_lock);
	for (struct task *each = p->tasks; each; each = each->next) {
		if (!is_meant(each, &them))
			continue;
		if (nice < each->attr.nice)
			r = -EACCES;
		else
			each->attr.nice = nice;
	}
	pthread_mutex_unlock(&p->tasks_lock);
	return r;
}

/* include/uapi/linux/ioprio.h: the class above, the level in the low bits. */
#define IOPRIO_SHIFT 13
#define IOPRIO_LEVELS 8
#define IOPRIO_NORMAL 4
enum { IOPRIO_NONE, IOPRIO_REALTIME, IOPRIO_BEST_EFFORT, IOPRIO_IDLE };

static int check_ioprio(uint32_t ioprio)
{
	uint32_t level = ioprio & ((1u << IOPRIO_SHIFT) - 1);

	switch (ioprio >> IOPRIO_SHIFT) {
	case IOPRIO_NONE:
		return level ? -EINVAL : 0;
	case IOPRIO_REALTIME:
		return -EPERM;
	case IOPRIO_BEST_EFFORT:
		return level >= IOPRIO_LEVELS ? -EINVAL : 0;
	case IOPRIO_IDLE:
		return 0;
	default:
		return -EINVAL;
	}
}

/* IOPRIO_WHO_ begins with 1. */
int64_t sys_ioprio_set(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	struct whose them;
	int r = check_ioprio((uint32_t)a[2]);

	if (r == 0)
		r = whose(t, (int)a[0] - 1, (int)a[1], &them);
	if (r < 0)
		return r;
	pthread_mutex_lock(&p->tasks_lock);
	for (struct task *each = p->tasks; each; each = each->next) {
		if (is_meant(each, &them))
			each->attr.ioprio = (uint32_t)a[2];
	}
	pthread_mutex_unlock(&p->tasks_lock);
	return 0;
}

int64_t sys_ioprio_get(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	struct whose them;
	uint32_t best = UINT32_MAX;
	int r = whose(t, (int)a[0] - 1, (int)a[1], &them);

	if (r < 0)
		return r;
	pthread_mutex_lock(&p->tasks_lock);
	for (const struct task *each = p->tasks; each; each = each->next) {
		uint32_t ioprio = each->attr.ioprio ?: IOPRIO_NORMAL;

		if (is_meant(each, &them) && ioprio < best)
			best = ioprio;
	}
	pthread_mutex_unlock(&p->tasks_lock);
	return best;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scheduling. Host threads are scheduled by the host as it likes: which policy, nice value and
 * CPUs the program asks for is checked, kept and told again, but not handed on. A guest that
 * could pin its threads would choose which of the host's CPUs to be a load on.
 *
 * The program's CPUs are numbered from 0, however the host's are; a task is told to run on the
 * one of those allowed to it that its vCPU's number picks.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <string.h>

#include "linux/process.h"

#define MAX_CPUS 64
/* Threads for each CPU, so that programs that start some for each CPU stay below the limit. */
#define THREADS_PER_CPU 4
#define RT_PRIORITY_MAX 99 /* MAX_RT_PRIO - 1 of the kernel */
#define POLICY_DEADLINE 6  /* SCHED_DEADLINE, which is not in all C libraries' headers */
#define RESET_ON_FORK 0x40000000

_Static_assert(SCHED_OTHER == 0 && SCHED_BATCH == 3 && SCHED_IDLE == 5, "sched(7)");

/* --- CPUs --------------------------------------------------------------------------------- */

uint32_t sched_count_cpus(uint32_t max_tasks)
{
	uint32_t most = max_tasks / THREADS_PER_CPU;
	cpu_set_t *set = CPU_ALLOC(CPU_SETSIZE * 8);
	size_t size = CPU_ALLOC_SIZE(CPU_SETSIZE * 8);
	uint32_t count = 1;

	if (set && sched_getaffinity(0, size, set) == 0)
		count = (uint32_t)CPU_COUNT_S(size, set);
	CPU_FREE(set);
	if (most > MAX_CPUS)
		most = MAX_CPUS;
	if (count > most)
		count = most;
	return count ? count : 1;
}

uint32_t process_cpus(const struct process *p)
{
	return p->cpus ? p->cpus : 1;
}

static uint64_t all_cpus(const struct process *p)
{
	uint32_t count = process_cpus(p);

	return count >= MAX_CPUS ? UINT64_MAX : ((uint64_t)1 << count) - 1;
}

/* Hold tasks_lock. */
static uint64_t affinity(const struct task *t)
{
	return t->attr.affinity ? t->attr.affinity : all_cpus(t->process);
}

/* The task `pid`, 0: the caller. Hold tasks_lock. */
static struct task *find(struct task *t, int pid)
{
	return pid ? process_task(t->process, pid) : t;
}

/* The kernel's part of the mask is a long here: see sched_getaffinity(2), "C library". */
int64_t sys_sched_getaffinity(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	uint32_t len = (uint32_t)a[1];
	struct task *of;
	uint64_t mask = 0;

	if (len % sizeof(mask) || len < sizeof(mask))
		return -EINVAL;
	pthread_mutex_lock(&p->tasks_lock);
	of = find(t, (int)a[0]);
	if (of)
		mask = affinity(of);
	pthread_mutex_unlock(&p->tasks_lock);
	if (!of)
		return -ESRCH;
	return mm_put(&p->mm, a[2], &mask) < 0 ? -EFAULT : (int64_t)sizeof(mask);
}

int64_t sys_sched_setaffinity(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	uint32_t len = (uint32_t)a[1];
	uint64_t mask = 0;
	struct task *of;

	/* Bits beyond the CPUs that there are do not matter. */
	if (mm_read(&p->mm, &mask, a[2], len < sizeof(mask) ? len : sizeof(mask)) < 0)
		return -EFAULT;
	mask &= all_cpus(p);
	pthread_mutex_lock(&p->tasks_lock);
	of = find(t, (int)a[0]);
	if (of && mask)
		of->attr.affinity = mask;
	pthread_mutex_unlock(&p->tasks_lock);
	if (!of)
		return -ESRCH;
	return mask ? 0 : -EINVAL;
}

static uint32_t current_cpu(struct task *t)
{
	uint64_t mask;
	uint32_t nth;

	pthread_mutex_lock(&t->process->tasks_lock);
	mask = affinity(t);
	pthread_mutex_unlock(&t->process->tasks_lock);
	nth = t->vcpu_number % (uint32_t)__builtin_popcountll(mask);
	while (nth--)
		mask &= mask - 1;
	return (uint32_t)__builtin_ctzll(mask);
}

int64_t sys_getcpu(struct task *t, const uint64_t a[6])
{
	const uint32_t cpu = current_cpu(t), node = 0;

	if (a[0] && mm_put(&t->process->mm, a[0], &cpu) < 0)
		return -EFAULT;
	if (a[1] && mm_put(&t->process->mm, a[1], &node) < 0)
		return -EFAULT;
	return 0;
}

int64_t sys_sched_yield(struct task *t, const uint64_t a[6])
{
	(void)t, (void)a;
	sched_yield();
	return 0;
}

/* --- Policies ----------------------------------------------------------------------------- */

/* No privilege, no RLIMIT_RTPRIO: only the policies that share time fairly. */
static int check_policy(uint32_t policy, uint32_t priority)
{
	switch (policy) {
	case SCHED_OTHER:
	case SCHED_BATCH:
	case SCHED_IDLE:
		return priority ? -EINVAL : 0;
	case SCHED_FIFO:
	case SCHED_RR:
		return priority < 1 || priority > RT_PRIORITY_MAX ? -EINVAL : -EPERM;
	case POLICY_DEADLINE:
		return -EPERM;
	default:
		return -EINVAL;
	}
}

struct wanted {
	uint32_t policy;
	bool reset_on_fork;
	bool keep_nice;
	int nice;
};

static int apply(struct task *t, int pid, const struct wanted *wanted)
{
	struct process *p = t->process;
	struct task *of;
	int r = 0;

	pthread_mutex_lock(&p->tasks_lock);
	of = find(t, pid);
	if (!of)
		r = -ESRCH;
	else if (!wanted->keep_nice && wanted->nice < of->attr.nice)
		r = -EPERM;
	/* Out of SCHED_IDLE needs the right to raise the nice value; see sched(7). */
	else if (of->attr.policy == SCHED_IDLE && wanted->policy != SCHED_IDLE)
		r = -EPERM;
	else if (of->attr.reset_on_fork && !wanted->reset_on_fork)
		r = -EPERM;
	if (r == 0) {
		of->attr.policy = wanted->policy;
		of->attr.reset_on_fork = wanted->reset_on_fork;
		if (!wanted->keep_nice)
			of->attr.nice = wanted->nice;
	}
	pthread_mutex_unlock(&p->tasks_lock);
	return r;
}

/* A copy of what others may be setting. -ESRCH. */
static int get_attr(struct task *t, int pid, struct task_attr *attr)
{
	struct process *p = t->process;
	struct task *of;

	pthread_mutex_lock(&p->tasks_lock);
	of = find(t, pid);
	if (of)
		*attr = of->attr;
	pthread_mutex_unlock(&p->tasks_lock);
	return of ? 0 : -ESRCH;
}

int64_t sys_sched_setscheduler(struct task *t, const uint64_t a[6])
{
	uint32_t policy = (uint32_t)a[1];
	struct wanted wanted = {.policy = policy & ~(uint32_t)RESET_ON_FORK,
				.reset_on_fork = policy & RESET_ON_FORK,
				.keep_nice = true};
	int32_t priority;
	int r;

	if ((int)policy < 0 || !a[2] || (int)a[0] < 0)
		return -EINVAL;
	if (mm_get(&t->process->mm, &priority, a[2]) < 0)
		return -EFAULT;
	if ((int)a[0] && !process_has_task(t->process, (int)a[0]))
		return -ESRCH;
	r = check_policy(wanted.policy, (uint32_t)priority);
	return r < 0 ? r : apply(t, (int)a[0], &wanted);
}

int64_t sys_sched_getscheduler(struct task *t, const uint64_t a[6])
{
	struct task_attr attr;

	if ((int)a[0] < 0)
		return -EINVAL;
	if (get_attr(t, (int)a[0], &attr) < 0)
		return -ESRCH;
	return (int64_t)(attr.policy | (attr.reset_on_fork ? RESET_ON_FORK : 0));
}

int64_t sys_sched_setparam(struct task *t, const uint64_t a[6])
{
	struct task_attr attr;
	int32_t priority;

	if (!a[1] || (int)a[0] < 0)
		return -EINVAL;
	if (mm_get(&t->process->mm, &priority, a[1]) < 0)
		return -EFAULT;
	if (get_attr(t, (int)a[0], &attr) < 0)
		return -ESRCH;
	return check_policy(attr.policy, (uint32_t)priority);
}

int64_t sys_sched_getparam(struct task *t, const uint64_t a[6])
{
	const int32_t priority = 0; /* of all policies that one can have here */
	struct task_attr attr;

	if (!a[1] || (int)a[0] < 0)
		return -EINVAL;
	if (get_attr(t, (int)a[0], &attr) < 0)
		return -ESRCH;
	return mm_put(&t->process->mm, a[1], &priority);
}

static int64_t priority_bound(uint32_t policy, int64_t realtime)
{
	switch (policy) {
	case SCHED_FIFO:
	case SCHED_RR:
		return realtime;
	case SCHED_OTHER:
	case SCHED_BATCH:
	case SCHED_IDLE:
	case POLICY_DEADLINE:
		return 0;
	default:
		return -EINVAL;
	}
}

int64_t sys_sched_get_priority_max(struct task *t, const uint64_t a[6])
{
	(void)t;
	return priority_bound((uint32_t)a[0], RT_PRIORITY_MAX);
}

int64_t sys_sched_get_priority_min(struct task *t, const uint64_t a[6])
{
	(void)t;
	return priority_bound((uint32_t)a[0], 1);
}

/* The host's for its own thread, which is scheduled fairly as well. */
int64_t sys_sched_rr_get_interval(struct task *t, const uint64_t a[6])
{
	struct timespec interval = {0};
	struct task_attr attr;

	if ((int)a[0] < 0)
		return -EINVAL;
	if (get_attr(t, (int)a[0], &attr) < 0)
		return -ESRCH;
	if (sched_rr_get_interval(0, &interval) < 0)
		return -errno;
	return mm_put(&t->process->mm, a[1], &interval);
}

/* --- sched_setattr(2) --------------------------------------------------------------------- */

/* include/uapi/linux/sched/types.h. */
struct guest_sched_attr {
	uint32_t size;
	uint32_t policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};
#define ATTR_SIZE_VER0 48 /* without util_ */
#define ATTR_FLAG_RESET_ON_FORK 1u
#define ATTR_FLAG_KEEP_POLICY 8u
#define ATTR_FLAG_KEEP_PARAMS 16u
#define ATTR_FLAGS (ATTR_FLAG_RESET_ON_FORK | ATTR_FLAG_KEEP_POLICY | ATTR_FLAG_KEEP_PARAMS)

_Static_assert(sizeof(struct guest_sched_attr) == 56, "SCHED_ATTR_SIZE_VER1");

/* Of any version: shorter ones are filled up by zeros, what is longer must be zero. */
static int read_attr(struct mm *mm, uint64_t va, struct guest_sched_attr *attr)
{
	const uint32_t known = sizeof(*attr);
	uint8_t bytes[PAGE_SIZE] = {0};
	uint32_t size;

	if (mm_get(mm, &size, va) < 0)
		return -EFAULT;
	if (!size)
		size = ATTR_SIZE_VER0;
	if (size >= ATTR_SIZE_VER0 && size <= PAGE_SIZE) {
		bool unknown = false;

		if (mm_read(mm, bytes, va, size) < 0)
			return -EFAULT;
		for (uint32_t i = known; i < size; i++)
			unknown |= bytes[i] != 0;
		memcpy(attr, bytes, known);
		if (!unknown)
			return 0;
	}
	/* Tell the size that would do. */
	return mm_put(mm, va, &known) < 0 ? -EFAULT : -E2BIG;
}

int64_t sys_sched_setattr(struct task *t, const uint64_t a[6])
{
	struct guest_sched_attr attr;
	struct task_attr before;
	struct wanted wanted;
	int r;

	if (!a[1] || (int)a[0] < 0 || (uint32_t)a[2])
		return -EINVAL;
	r = read_attr(&t->process->mm, a[1], &attr);
	if (r < 0)
		return r;
	if ((int32_t)attr.policy < 0 || attr.flags & ~(uint64_t)ATTR_FLAGS)
		return -EINVAL;
	if (get_attr(t, (int)a[0], &before) < 0)
		return -ESRCH;
	wanted = (struct wanted){
		.policy = attr.flags & ATTR_FLAG_KEEP_POLICY ? before.policy : attr.policy,
		.reset_on_fork = attr.flags & ATTR_FLAG_RESET_ON_FORK,
		.keep_nice = attr.flags & ATTR_FLAG_KEEP_PARAMS,
		.nice = attr.nice < -20	 ? -20
			: attr.nice > 19 ? 19
					 : attr.nice,
	};
	r = check_policy(wanted.policy, attr.priority);
	return r < 0 ? r : apply(t, (int)a[0], &wanted);
}

int64_t sys_sched_getattr(struct task *t, const uint64_t a[6])
{
	uint32_t size = (uint32_t)a[2];
	struct guest_sched_attr attr = {0};
	struct task_attr now;

	if (!a[1] || (int)a[0] < 0 || size > PAGE_SIZE || size < ATTR_SIZE_VER0 ||
	    (uint32_t)a[3])
		return -EINVAL;
	if (get_attr(t, (int)a[0], &now) < 0)
		return -ESRCH;
	attr.size = size < sizeof(attr) ? size : (uint32_t)sizeof(attr);
	attr.policy = now.policy;
	attr.nice = now.nice;
	attr.flags = now.reset_on_fork ? ATTR_FLAG_RESET_ON_FORK : 0;
	return mm_write(&t->process->mm, a[1], &attr, attr.size);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* prctl(2), seccomp(2). Options that are not here do not exist: EINVAL. */
#include <errno.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <signal.h>
#include <string.h>

#include "linux/process.h"

#define DEFAULT_TIMER_SLACK 50000 /* ns: init_task of the kernel */

/* PR_GET_ and the like give a value by address. */
static int64_t put_int(struct task *t, uint64_t va, int value)
{
	return mm_put(&t->process->mm, va, &value);
}

/* A bool of the process: 0 and 1 are all it can be set to. */
static int64_t set_flag(struct process *p, bool *flag, uint64_t value)
{
	if (value > 1)
		return -EINVAL;
	pthread_mutex_lock(&p->tasks_lock);
	*flag = value;
	pthread_mutex_unlock(&p->tasks_lock);
	return 0;
}

static bool get_flag(struct process *p, const bool *flag)
{
	bool value;

	pthread_mutex_lock(&p->tasks_lock);
	value = *flag;
	pthread_mutex_unlock(&p->tasks_lock);
	return value;
}

static bool all_zero(const uint64_t a[6], int from)
{
	for (int i = from; i < 5; i++) {
		if (a[i])
			return false;
	}
	return true;
}

/* --- The thread's ------------------------------------------------------------------------- */

static int64_t set_name(struct task *t, uint64_t va)
{
	char name[sizeof(t->name)] = "";
	ssize_t len = mm_read_string(&t->process->mm, name, sizeof(name), va);

	/* Longer ones are cut. */
	if (len == -ENAMETOOLONG)
		len = mm_read(&t->process->mm, name, va, sizeof(name) - 1);
	if (len < 0)
		return -EFAULT;
	name[sizeof(name) - 1] = '\0';
	/* No bytes of an earlier name behind the end: it is given out whole. */
	for (size_t i = strlen(name); i < sizeof(name); i++)
		name[i] = '\0';
	pthread_mutex_lock(&t->process->tasks_lock);
	memcpy(t->name, name, sizeof(name));
	pthread_mutex_unlock(&t->process->tasks_lock);
	return 0;
}

/* Of no effect: the parent outlives the process. */
static int64_t set_pdeath_signal(struct task *t, uint64_t signal)
{
	if (signal > SIG_COUNT)
		return -EINVAL;
	pthread_mutex_lock(&t->process->tasks_lock);
	t->attr.pdeath_signal = (int)signal;
	pthread_mutex_unlock(&t->process->tasks_lock);
	return 0;
}

/* Of no effect either: waits end as precisely as the host's do. */
static int64_t set_timer_slack(struct task *t, uint64_t ns)
{
	pthread_mutex_lock(&t->process->tasks_lock);
	t->attr.timer_slack = (int64_t)ns <= 0 ? 0 : ns;
	pthread_mutex_unlock(&t->process->tasks_lock);
	return 0;
}

static int64_t task_option(struct task *t, const uint64_t a[6])
{
	switch ((int)a[0]) {
	case PR_SET_NAME:
		return set_name(t, a[1]);
	case PR_GET_NAME:
		return mm_write(&t->process->mm, a[1], t->name, sizeof(t->name));
	case PR_SET_PDEATHSIG:
		return set_pdeath_signal(t, a[1]);
	case PR_GET_PDEATHSIG:
		return put_int(t, a[1], t->attr.pdeath_signal);
	case PR_SET_TIMERSLACK:
		return set_timer_slack(t, a[1]);
	case PR_GET_TIMERSLACK:
		return (int64_t)(t->attr.timer_slack ?: DEFAULT_TIMER_SLACK);
	case PR_SET_KEEPCAPS:
		return set_flag(t->process, &t->attr.keep_caps, a[1]);
	case PR_GET_KEEPCAPS:
		return get_flag(t->process, &t->attr.keep_caps);
	case PR_SET_TSC:
		return (int)a[1] == PR_TSC_ENABLE ? 0 : -EINVAL;
	case PR_GET_TSC:
		return put_int(t, a[1], PR_TSC_ENABLE);
	default:
		return -EINVAL;
	}
}

/* --- The process's ------------------------------------------------------------------------ */

/* As nothing can be gained by execve(2), this is but remembered; it cannot be undone. */
static int64_t set_no_new_privs(struct process *p, const uint64_t a[6])
{
	if (a[1] != 1 || !all_zero(a, 2))
		return -EINVAL;
	return set_flag(p, &p->attr.no_new_privs, 1);
}

static int64_t ambient_capability(const uint64_t a[6])
{
	switch (a[1]) {
	case PR_CAP_AMBIENT_CLEAR_ALL:
		return all_zero(a, 2) ? 0 : -EINVAL;
	case PR_CAP_AMBIENT_IS_SET:
	case PR_CAP_AMBIENT_LOWER:
		return !all_zero(a, 3) || a[2] > CAP_LAST_CAP ? -EINVAL : 0;
	case PR_CAP_AMBIENT_RAISE:
		return !all_zero(a, 3) || a[2] > CAP_LAST_CAP ? -EINVAL : -EPERM;
	default:
		return -EINVAL;
	}
}

static int64_t set_thp_disable(struct process *p, const uint64_t a[6])
{
	return all_zero(a, 2) ? set_flag(p, &p->attr.thp_disabled, a[1] != 0) : -EINVAL;
}

static int64_t process_option(struct process *p, const uint64_t a[6])
{
	switch ((int)a[0]) {
	case PR_SET_DUMPABLE:
		return a[1] > 1 ? -EINVAL : set_flag(p, &p->attr.undumpable, !a[1]);
	case PR_GET_DUMPABLE:
		return !get_flag(p, &p->attr.undumpable);
	case PR_SET_NO_NEW_PRIVS:
		return set_no_new_privs(p, a);
	case PR_GET_NO_NEW_PRIVS:
		return all_zero(a, 1) ? get_flag(p, &p->attr.no_new_privs) : -EINVAL;
	case PR_SET_THP_DISABLE:
		return set_thp_disable(p, a);
	case PR_GET_THP_DISABLE:
		return all_zero(a, 1) ? get_flag(p, &p->attr.thp_disabled) : -EINVAL;
	case PR_SET_CHILD_SUBREAPER:
		return set_flag(p, &p->attr.subreaper, a[1] != 0);
	case PR_CAPBSET_READ:
		return a[1] > CAP_LAST_CAP ? -EINVAL : 0;
	case PR_CAPBSET_DROP:
		return -EPERM;
	case PR_CAP_AMBIENT:
		return ambient_capability(a);
	case PR_GET_SECUREBITS:
	case PR_GET_SECCOMP:
		return 0;
	case PR_SET_SECUREBITS:
		return -EPERM;
	default:
		return -EINVAL;
	}
}

/* Names of anonymous memory are for tools that look from outside: taken, and not kept. */
static int64_t set_vma(const uint64_t a[6])
{
	uint64_t end;

	if (a[1] != PR_SET_VMA_ANON_NAME || a[2] & PAGE_MASK || add_overflows(a[2], a[3], &end))
		return -EINVAL;
	return 0;
}

int64_t sys_prctl(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	int64_t r;

	switch ((int)a[0]) {
	case PR_SET_VMA:
		return set_vma(a);
	case PR_GET_CHILD_SUBREAPER:
		return put_int(t, a[1], get_flag(p, &p->attr.subreaper));
	default:
		r = task_option(t, a);
		return r == -EINVAL ? process_option(p, a) : r;
	}
}

/* As a kernel that has no filters. */
int64_t sys_seccomp(struct task *t, const uint64_t a[6])
{
	(void)t, (void)a;
	return -EINVAL;
}

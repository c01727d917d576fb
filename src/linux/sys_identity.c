/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who the program is: one process, with one user and group and no capability, that leads its
 * process group in a session of its parent's. Nothing of that can be changed to anything else,
 * as for an ordinary user on Linux.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/utsname.h>
#include <linux/capability.h>

#include "linux/process.h"

#define NO_ID UINT32_MAX /* -1: leave it as it is */

bool process_has_task(struct process *p, int tid)
{
	bool found;

	pthread_mutex_lock(&p->tasks_lock);
	found = process_task(p, tid) != NULL;
	pthread_mutex_unlock(&p->tasks_lock);
	return found;
}

/* --- Process, group, session -------------------------------------------------------------- */

int64_t sys_getpid(struct task *t, const uint64_t a[6])
{
	(void)t, (void)a;
	return PROCESS_PID;
}

int64_t sys_getppid(struct task *t, const uint64_t a[6])
{
	(void)t, (void)a;
	return PROCESS_PPID;
}

int64_t sys_gettid(struct task *t, const uint64_t a[6])
{
	(void)a;
	return t->tid;
}

int64_t sys_getpgrp(struct task *t, const uint64_t a[6])
{
	(void)t, (void)a;
	return PROCESS_PID;
}

/* 0 is the caller; else a task's number. */
static bool is_own(struct task *t, int pid)
{
	return pid == 0 || pid == t->tid || pid == PROCESS_PID ||
	       process_has_task(t->process, pid);
}

int64_t sys_getpgid(struct task *t, const uint64_t a[6])
{
	return is_own(t, (int)a[0]) ? PROCESS_PID : -ESRCH;
}

int64_t sys_getsid(struct task *t, const uint64_t a[6])
{
	return is_own(t, (int)a[0]) ? PROCESS_SID : -ESRCH;
}

/* setpgid(2): the only group there is for it to be in is its own. */
int64_t sys_setpgid(struct task *t, const uint64_t a[6])
{
	int pid = (int)a[0], pgid = (int)a[1];

	if (pid == 0)
		pid = PROCESS_PID;
	if (pgid == 0)
		pgid = pid;
	if (pgid < 0)
		return -EINVAL;
	if (pid != PROCESS_PID)
		return process_has_task(t->process, pid) ? -EINVAL : -ESRCH;
	return pgid == PROCESS_PID ? 0 : -EPERM;
}

/* Not for the leader of a process group. */
int64_t sys_setsid(struct task *t, const uint64_t a[6])
{
	(void)t, (void)a;
	return -EPERM;
}

/* --- User and group ----------------------------------------------------------------------- */

int64_t sys_getuid(struct task *t, const uint64_t a[6])
{
	(void)a;
	return t->process->uid;
}

int64_t sys_geteuid(struct task *t, const uint64_t a[6])
{
	(void)a;
	return t->process->uid;
}

int64_t sys_getgid(struct task *t, const uint64_t a[6])
{
	(void)a;
	return t->process->gid;
}

int64_t sys_getegid(struct task *t, const uint64_t a[6])
{
	(void)a;
	return t->process->gid;
}

/* Set `n` ids (real, effective, saved), which are all `own` and so must remain. */
static int64_t set_ids(uint32_t own, const uint64_t a[6], int n)
{
	for (int i = 0; i < n; i++) {
		if ((uint32_t)a[i] != NO_ID && (uint32_t)a[i] != own)
			return -EPERM;
	}
	return 0;
}

int64_t sys_setuid(struct task *t, const uint64_t a[6])
{
	return (uint32_t)a[0] == NO_ID ? -EINVAL : set_ids(t->process->uid, a, 1);
}

int64_t sys_setgid(struct task *t, const uint64_t a[6])
{
	return (uint32_t)a[0] == NO_ID ? -EINVAL : set_ids(t->process->gid, a, 1);
}

int64_t sys_setreuid(struct task *t, const uint64_t a[6])
{
	return set_ids(t->process->uid, a, 2);
}

int64_t sys_setregid(struct task *t, const uint64_t a[6])
{
	return set_ids(t->process->gid, a, 2);
}

int64_t sys_setresuid(struct task *t, const uint64_t a[6])
{
	return set_ids(t->process->uid, a, 3);
}

int64_t sys_setresgid(struct task *t, const uint64_t a[6])
{
	return set_ids(t->process->gid, a, 3);
}

/* setfsuid(2) gives the id before, and has no errors. */
int64_t sys_setfsuid(struct task *t, const uint64_t a[6])
{
	(void)a;
	return t->process->uid;
}

int64_t sys_setfsgid(struct task *t, const uint64_t a[6])
{
	(void)a;
	return t->process->gid;
}

static int64_t put_ids(struct task *t, const uint64_t a[6], uint32_t id)
{
	for (int i = 0; i < 3; i++) {
		if (mm_put(&t->process->mm, a[i], &id) < 0)
			return -EFAULT;
	}
	return 0;
}

int64_t sys_getresuid(struct task *t, const uint64_t a[6])
{
	return put_ids(t, a, t->process->uid);
}

int64_t sys_getresgid(struct task *t, const uint64_t a[6])
{
	return put_ids(t, a, t->process->gid);
}

/* There are no supplementary groups. */
int64_t sys_getgroups(struct task *t, const uint64_t a[6])
{
	(void)t;
	return (int)a[0] < 0 ? -EINVAL : 0;
}

int64_t sys_setgroups(struct task *t, const uint64_t a[6])
{
	(void)t, (void)a;
	return -EPERM;
}

/* --- Capabilities ------------------------------------------------------------------------- */

/* How many structures of 32 bits' sets follow; 0: an unknown version, the header then gets
 * the one that is preferred. */
static int capability_words(struct task *t, uint64_t va,
			    struct __user_cap_header_struct *header, int *words)
{
	struct mm *mm = &t->process->mm;

	if (mm_get(mm, header, va) < 0)
		return -EFAULT;
	switch (header->version) {
	case _LINUX_CAPABILITY_VERSION_1:
		*words = _LINUX_CAPABILITY_U32S_1;
		return 0;
	case _LINUX_CAPABILITY_VERSION_2:
	case _LINUX_CAPABILITY_VERSION_3:
		*words = _LINUX_CAPABILITY_U32S_3;
		return 0;
	default:
		header->version = _LINUX_CAPABILITY_VERSION_3;
		if (mm_put(mm, va, header) < 0)
			return -EFAULT;
		return -EINVAL;
	}
}

int64_t sys_capget(struct task *t, const uint64_t a[6])
{
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
	struct __user_cap_header_struct header;
	int words = 0;
	int r = capability_words(t, a[0], &header, &words);

	/* Without room for data it is a question for the version: kernel/capability.c. */
	if (!a[1])
		return r == -EINVAL ? 0 : r;
	if (r < 0)
		return r;
	if (header.pid < 0)
		return -EINVAL;
	if (!is_own(t, header.pid))
		return -ESRCH;
	return mm_write(&t->process->mm, a[1], none, (size_t)words * sizeof(none[0]));
}

/* There is none to give up, and none can be gained. */
int64_t sys_capset(struct task *t, const uint64_t a[6])
{
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
	struct __user_cap_header_struct header;
	int words = 0;
	int r = capability_words(t, a[0], &header, &words);

	if (r < 0)
		return r;
	if (header.pid != 0 && header.pid != t->tid)
		return -EPERM;
	if (mm_read(&t->process->mm, data, a[1], (size_t)words * sizeof(data[0])) < 0)
		return -EFAULT;
	for (int i = 0; i < words; i++) {
		if (data[i].effective || data[i].permitted || data[i].inheritable)
			return -EPERM;
	}
	return 0;
}

/* --- System ------------------------------------------------------------------------------- */

/*
 * The release tells programs which calls to expect: 6.1 has openat2, futex_waitv, close_range
 * and epoll_pwait2, which are answered, and none of the later ones that are not.
 */
int64_t sys_uname(struct task *t, const uint64_t a[6])
{
	struct utsname name = {
		.sysname = "Linux",
		.release = "6.1.0-mayfly",
		.version = "#1 SMP",
		.machine = "x86_64",
		.domainname = "(none)",
	};

	_Static_assert(sizeof(name) == 390, "the kernel's struct new_utsname");
	memcpy(name.nodename, t->process->hostname, sizeof(name.nodename));
	name.nodename[sizeof(name.nodename) - 1] = '\0';
	return mm_put(&t->process->mm, a[0], &name);
}

/* ADDR_NO_RANDOMIZE would count at the next execve(2); all else would be another system. */
int64_t sys_personality(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	uint32_t wanted = (uint32_t)a[0], before;

	if (wanted != UINT32_MAX && (wanted & ~(uint32_t)ADDR_NO_RANDOMIZE) != PER_LINUX)
		return -EINVAL;
	pthread_mutex_lock(&p->tasks_lock);
	before = p->attr.personality;
	if (wanted != UINT32_MAX)
		p->attr.personality = wanted;
	pthread_mutex_unlock(&p->tasks_lock);
	return before;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Futexes that know their owner (FUTEX_LOCK_PI and its kin): the word holds the owner's TID, 0
 * if there is none, and FUTEX_WAITERS, with which neither locking nor unlocking is done without
 * us. The host's kernel cannot do it: the TIDs are the guest's. Priority is not inherited: guest
 * threads have none.
 *
 * The guest changes the word itself only from 0 to its TID, and from its TID to 0. So once
 * FUTEX_WAITERS is set, atomically, it is ours, under `owners_lock`; a guest that does not keep to
 * that harms its own locks.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>

#include "linux/task.h"
#include "linux/times.h"

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13 /* Linux 5.14 */
#endif

/* Atomically, by the kernel: the address must not be followed here. */
static int set_waiters(uint32_t *word)
{
	uint32_t unused = 0;
	/* Or with 1 << 31; wakes those who wait for it only if it was -1, which it never is. */
	const uint32_t kind = (uint32_t)FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT;
	uint32_t op = FUTEX_OP(kind, 31u, (uint32_t)FUTEX_OP_CMP_EQ, 0xfffu);
	long r =
		syscall(SYS_futex, &unused, FUTEX_WAKE_OP | FUTEX_PRIVATE_FLAG, 0, 0, word, op);

	_Static_assert(FUTEX_WAITERS == 1u << 31, "futex(2)");
	return r < 0 ? -errno : 0;
}

/*
 * 0: it is the task's now; -EAGAIN: another's, *held is the word to wait on; or what Linux says.
 * Hold owners_lock.
 */
static int try_lock(struct task *t, uint64_t va, uint32_t *word, uint32_t *held)
{
	struct process *p = t->process;
	uint32_t owner;
	bool alive;
	int r = set_waiters(word);

	if (r < 0)
		return r;
	if (mm_get(&p->mm, held, va) < 0)
		return -EFAULT;
	owner = *held & FUTEX_TID_MASK;
	if (owner == (uint32_t)t->tid)
		return -EDEADLK;
	if (!owner) {
		*held = (*held & (FUTEX_WAITERS | FUTEX_OWNER_DIED)) | (uint32_t)t->tid;
		return mm_put(&p->mm, va, held);
	}
	pthread_mutex_lock(&p->tasks_lock);
	alive = process_task(p, (int)owner) != NULL;
	pthread_mutex_unlock(&p->tasks_lock);
	return alive ? -EAGAIN : -ESRCH;
}

/* -EAGAIN: *ret_word holds `held`, and may be waited for. */
static int try_once(struct task *t, uint64_t va, uint32_t **ret_word, uint32_t *held)
{
	struct process *p = t->process;
	uint32_t *word = mm_word(&p->mm, va, true);
	int r;

	if (!word)
		return va % sizeof(*word) ? -EINVAL : -EFAULT;
	*held = 0;
	pthread_mutex_lock(&p->owners_lock);
	r = try_lock(t, va, word, held);
	pthread_mutex_unlock(&p->owners_lock);
	*ret_word = word;
	return r;
}

static int64_t lock(struct task *t, uint64_t va, clockid_t clock,
		    const struct timespec *deadline)
{
	for (;;) {
		uint32_t *word, held;
		int r = try_once(t, va, &word, &held);

		if (r != -EAGAIN)
			return r;
		r = task_wait_futex(t, word, held, clock, deadline);
		if (r == -EINTR)
			return -ERESTARTNOINTR;
		if (r < 0 && r != -EAGAIN)
			return r;
	}
}

/* Free for all; who waits longest hears of it first. */
static int64_t unlock(struct task *t, uint64_t va)
{
	struct process *p = t->process;
	uint32_t *word = mm_word(&p->mm, va, true), value;
	int r = 0;

	if (!word)
		return va % sizeof(*word) ? -EINVAL : -EFAULT;
	pthread_mutex_lock(&p->owners_lock);
	if (mm_get(&p->mm, &value, va) < 0)
		r = -EFAULT;
	else if ((value & FUTEX_TID_MASK) != (uint32_t)t->tid)
		r = -EPERM;
	value = 0;
	if (r == 0)
		r = mm_put(&p->mm, va, &value);
	pthread_mutex_unlock(&p->owners_lock);
	if (r == 0)
		syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	return r;
}

int64_t futex_of_owner(struct task *t, const uint64_t a[6])
{
	int op = (int)(a[1] & (uint32_t)FUTEX_CMD_MASK);
	struct timespec limit;
	clockid_t clock = CLOCK_REALTIME;
	uint32_t *word, held;

	if (op == FUTEX_UNLOCK_PI)
		return unlock(t, a[0]);
	if (op == FUTEX_TRYLOCK_PI)
		return try_once(t, a[0], &word, &held);
	if (op == FUTEX_LOCK_PI2 && !(a[1] & FUTEX_CLOCK_REALTIME))
		clock = CLOCK_MONOTONIC;
	if (!a[3])
		return lock(t, a[0], clock, NULL);
	if (mm_get(&t->process->mm, &limit, a[3]) < 0)
		return -EFAULT;
	if (!time_is_valid(&limit))
		return -EINVAL;
	return lock(t, a[0], clock, &limit);
}

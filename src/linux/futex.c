/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Futexes are the host's: the guest's words have fixed host addresses. Waiting is by
 * futex_waitv(2), on the word and on the task's own "kicked", so that signals get through; the
 * rest is handed to the host's kernel. All are private to this process, which is the VM's only
 * one. Those that know their owner: futex_pi.c.
 */
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>

#include "linux/task.h"
#include "linux/times.h"

static int host_futex(uint32_t *word, int op, uint32_t value, uint64_t value2, uint32_t *word2,
		      uint32_t value3)
{
	long r =
		syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, value2, word2, value3);

	return r < 0 ? -errno : (int)r;
}

static int64_t wait_on(struct task *t, uint64_t va, uint32_t value, clockid_t clock,
		       const struct timespec *deadline)
{
	const uint32_t *word = mm_word(&t->process->mm, va, false);
	int r;

	if (!word)
		return va % sizeof(*word) ? -EINVAL : -EFAULT;
	r = task_wait_futex(t, word, value, clock, deadline);
	return r == -EINTR ? -ERESTARTSYS : r;
}

static int64_t restart_wait(struct task *t, const uint64_t a[6])
{
	int64_t r = wait_on(t, a[0], (uint32_t)a[2], CLOCK_MONOTONIC, &t->restart.deadline);

	return r == -ERESTARTSYS ? -ERESTART_RESTARTBLOCK : r;
}

/* FUTEX_WAIT: relative; FUTEX_WAIT_BITSET: absolute, of the monotonic clock if not told. */
static int64_t futex_wait(struct task *t, const uint64_t a[6], bool absolute)
{
	bool realtime = a[1] & FUTEX_CLOCK_REALTIME;
	struct timespec limit;
	int64_t r;

	if (!a[3])
		return wait_on(t, a[0], (uint32_t)a[2], CLOCK_MONOTONIC, NULL);
	if (mm_get(&t->process->mm, &limit, a[3]) < 0)
		return -EFAULT;
	if (absolute) {
		if (!time_is_valid(&limit))
			return -EINVAL;
		return wait_on(t, a[0], (uint32_t)a[2],
			       realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC, &limit);
	}
	if (!deadline_after(&limit, &t->restart.deadline))
		return -EINVAL;
	r = wait_on(t, a[0], (uint32_t)a[2], CLOCK_MONOTONIC, &t->restart.deadline);
	if (r != -ERESTARTSYS)
		return r;
	t->restart.fn = restart_wait;
	memcpy(t->restart.arg, a, sizeof(t->restart.arg));
	return -ERESTART_RESTARTBLOCK;
}

static int64_t futex_on_two(struct task *t, const uint64_t a[6], int op)
{
	uint32_t *first = mm_word(&t->process->mm, a[0], false);
	uint32_t *second = mm_word(&t->process->mm, a[4], op == FUTEX_WAKE_OP);

	if (!first || !second)
		return (a[0] | a[4]) % sizeof(*first) ? -EINVAL : -EFAULT;
	/* The fourth argument is a number here, not an address. */
	return host_futex(first, op, (uint32_t)a[2], (uint32_t)a[3], second, (uint32_t)a[5]);
}

int64_t sys_futex(struct task *t, const uint64_t a[6])
{
	int op = (int)(a[1] & (uint32_t)FUTEX_CMD_MASK);
	uint32_t *word;

	switch (op) {
	case FUTEX_WAIT:
		return futex_wait(t, a, false);
	case FUTEX_WAIT_BITSET:
		/* Of bitsets, all waiters of the host are told: waking too many is allowed. */
		return (uint32_t)a[5] ? futex_wait(t, a, true) : -EINVAL;
	case FUTEX_WAKE:
	case FUTEX_WAKE_BITSET:
		if (op == FUTEX_WAKE_BITSET && !(uint32_t)a[5])
			return -EINVAL;
		word = mm_word(&t->process->mm, a[0], false);
		/* Linux does not look at the memory of a private futex to wake no one. */
		if (!word && a[1] & FUTEX_PRIVATE_FLAG && a[0] % sizeof(*word) == 0 &&
		    a[0] < PROG_VA_END)
			return 0;
		if (!word)
			return a[0] % sizeof(*word) ? -EINVAL : -EFAULT;
		return host_futex(word, FUTEX_WAKE,
				  op == FUTEX_WAKE ? (uint32_t)a[2] : (uint32_t)INT32_MAX, 0,
				  NULL, 0);
	case FUTEX_REQUEUE:
	case FUTEX_CMP_REQUEUE:
	case FUTEX_WAKE_OP:
		return futex_on_two(t, a, op);
	case FUTEX_LOCK_PI:
	case FUTEX_LOCK_PI2:
	case FUTEX_TRYLOCK_PI:
	case FUTEX_UNLOCK_PI:
		return futex_of_owner(t, a);
	default:
		return -ENOSYS;
	}
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other processes, of which there are none; randomness; barriers between threads.
 *
 * fork(2), vfork(2), clone(2) of a process and execve(2) fail with EACCES, as where a policy
 * forbids them. It is what programs handle best: shells give up at once and say so (EAGAIN has
 * bash try again for 15 seconds), Python's subprocess raises PermissionError, node gives an error
 * event (it throws for ENOSYS and EPERM), posix_spawn(3) gives it back, and what looks whether a
 * program can be run takes it for one that cannot. ENOEXEC would have shells read the file as a
 * script.
 */
#include <errno.h>
#include <limits.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/membarrier.h>

#include "linux/process.h"

/* --- Processes ---------------------------------------------------------------------------- */

int64_t sys_fork(struct task *t, const uint64_t a[6])
{
	(void)a;
	process_notice(t->process, NOTICE_FORK,
		       "this program tried to start another process (fork), which is not "
		       "possible yet");
	return -EACCES;
}

int64_t sys_vfork(struct task *t, const uint64_t a[6])
{
	return sys_fork(t, a);
}

int64_t sys_execve(struct task *t, const uint64_t a[6])
{
	(void)a;
	process_notice(t->process, NOTICE_EXEC,
		       "this program tried to become another one (execve), which is not "
		       "possible yet");
	return -EACCES;
}

int64_t sys_execveat(struct task *t, const uint64_t a[6])
{
	return sys_execve(t, a);
}

/* Of children, of which there are none; the checks are in the order of the kernel's. */
int64_t sys_wait4(struct task *t, const uint64_t a[6])
{
	uint32_t options = (uint32_t)a[2];

	(void)t;
	if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL))
		return -EINVAL;
	return (int)a[0] == INT_MIN ? -ESRCH : -ECHILD;
}

int64_t sys_waitid(struct task *t, const uint64_t a[6])
{
	int which = (int)a[0], id = (int)a[1];
	uint32_t options = (uint32_t)a[3];

	(void)t;
	if (options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | __WNOTHREAD |
			__WCLONE | __WALL))
		return -EINVAL;
	if (!(options & (WEXITED | WSTOPPED | WCONTINUED)))
		return -EINVAL;
	switch (which) {
	case P_ALL:
		return -ECHILD;
	case P_PID:
		return id <= 0 ? -EINVAL : -ECHILD;
	case P_PGID:
		return id < 0 ? -EINVAL : -ECHILD;
	case P_PIDFD:
		/* Whatever is open there, a process it is not. */
		return id < 0 ? -EINVAL : -EBADF;
	default:
		return -EINVAL;
	}
}

/* --- Randomness --------------------------------------------------------------------------- */

#define RANDOM_PIECE ((uint64_t)256 << 10) /* between looks at whether a signal is there */

/* The host's kernel writes into guest memory by itself, as far as it can. */
static int64_t random_piece(struct mm *mm, uint64_t va, uint64_t len, unsigned flags)
{
	struct iovec iov[4];
	int64_t done = 0;
	int n = mm_iov(mm, va, len, iov, (int)ARRAY_SIZE(iov), true);

	for (int i = 0; i < n; i++) {
		ssize_t r = getrandom(iov[i].iov_base, iov[i].iov_len, flags);

		if (r < 0)
			return done ? done : -errno;
		done += r;
		if ((size_t)r < iov[i].iov_len)
			break;
	}
	return n < 0 ? n : done;
}

int64_t sys_getrandom(struct task *t, const uint64_t a[6])
{
	unsigned flags = (unsigned)a[2];
	uint64_t len = a[1] < INT_MAX ? a[1] : INT_MAX, done = 0;

	if (flags & ~(unsigned)(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE))
		return -EINVAL;
	if ((flags & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE))
		return -EINVAL;
	/* Only before the host's generator is seeded, at its boot, would it block. */
	flags |= GRND_NONBLOCK;
	while (done < len) {
		uint64_t want = len - done < RANDOM_PIECE ? len - done : RANDOM_PIECE;
		int64_t r = random_piece(&t->process->mm, a[0] + done, want, flags);

		if (r < 0)
			return done ? (int64_t)done : r;
		done += (uint64_t)r;
		if ((uint64_t)r < want)
			break;
		/* Long ones end early for signals: random(7), "Interruption". */
		if (atomic_load_explicit(&t->kicked, memory_order_relaxed))
			break;
	}
	return (int64_t)done;
}

/* --- Barriers ----------------------------------------------------------------------------- */

/*
 * Without those that serialise instructions or restart sequences: what they promise is promised
 * to host threads at their return to user mode, and a vCPU goes on without one.
 */
#define MEMBARRIERS                                                                            \
	(MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED |                             \
	 MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED |         \
	 MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)

static int64_t host_membarrier(int command)
{
	long r = syscall(SYS_membarrier, command, 0, 0);

	return r < 0 ? -errno : r;
}

/*
 * The guest's threads are threads of this process, so the host's barriers are theirs: an
 * interrupt to a CPU that runs a vCPU takes it out of the guest. The guest's registration is
 * not asked for: it may be from before a snapshot, in another process.
 */
int64_t sys_membarrier(struct task *t, const uint64_t a[6])
{
	int command = (int)a[0];
	int64_t r;

	(void)t;
	if ((unsigned)a[1])
		return -EINVAL;
	switch (command) {
	case MEMBARRIER_CMD_QUERY:
		r = host_membarrier(command);
		return r < 0 ? r : r & MEMBARRIERS;
	case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
		r = host_membarrier(command);
		if (r != -EPERM)
			return r;
		r = host_membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
		return r < 0 ? r : host_membarrier(command);
	case MEMBARRIER_CMD_GLOBAL:
	case MEMBARRIER_CMD_GLOBAL_EXPEDITED:
	case MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED:
	case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
		return host_membarrier(command);
	default:
		return -EINVAL;
	}
}

/* The C library does without: restartable sequences need the kernel at every preemption. */
int64_t sys_rseq(struct task *t, const uint64_t a[6])
{
	(void)t, (void)a;
	return -ENOSYS;
}

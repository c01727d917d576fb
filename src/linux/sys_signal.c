/* SPDX-License-Identifier: Apache-2.0 */
/* System calls about signals. There is one process: others are not to be found. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "linux/process.h"

#define MIN_STACK 2048 /* MINSIGSTKSZ of the kernel */

static bool bad_set_size(uint64_t size)
{
	return size != sizeof(uint64_t);
}

int64_t sys_rt_sigaction(struct task *t, const uint64_t a[6])
{
	struct mm *mm = &t->process->mm;
	struct guest_sigaction new_action, old_action;
	int r;

	if (bad_set_size(a[3]))
		return -EINVAL;
	if (a[1] && mm_get(mm, &new_action, a[1]) < 0)
		return -EFAULT;
	r = signal_set_action(t->process, (int)a[0], a[1] ? &new_action : NULL, &old_action);
	if (!r && a[2] && mm_put(mm, a[2], &old_action) < 0)
		return -EFAULT;
	return r;
}

int64_t sys_rt_sigprocmask(struct task *t, const uint64_t a[6])
{
	struct mm *mm = &t->process->mm;
	uint64_t old = t->sig.mask, set;

	if (bad_set_size(a[3]))
		return -EINVAL;
	if (a[1]) {
		if (mm_get(mm, &set, a[1]) < 0)
			return -EFAULT;
		switch ((int)a[0]) {
		case SIG_BLOCK:
			set |= old;
			break;
		case SIG_UNBLOCK:
			set = old & ~set;
			break;
		case SIG_SETMASK:
			break;
		default:
			return -EINVAL;
		}
		signal_set_mask(t, set);
	}
	if (a[2] && mm_put(mm, a[2], &old) < 0)
		return -EFAULT;
	return 0;
}

int64_t sys_rt_sigpending(struct task *t, const uint64_t a[6])
{
	uint64_t set = signal_pending_set(t) & t->sig.mask;

	if (a[1] > sizeof(set))
		return -EINVAL;
	return mm_write(&t->process->mm, a[0], &set, a[1]) < 0 ? -EFAULT : 0;
}

int64_t sys_rt_sigreturn(struct task *t, const uint64_t a[6])
{
	struct guest_siginfo info = {.signo = SIGSEGV, .code = SI_KERNEL};

	(void)a;
	/* No result of this call is one to act upon, whatever rax is now. */
	t->syscall = UINT64_MAX;
	if (sigframe_pop(t) < 0)
		signal_force(t, &info);
	return (int64_t)t->regs.rax;
}

/* --- Waiting ------------------------------------------------------------------------------ */

static void set_waiting(struct task *t, uint64_t set)
{
	pthread_mutex_lock(&t->process->sig.lock);
	t->sig.waiting_for = set;
	pthread_mutex_unlock(&t->process->sig.lock);
}

/* Wait for one of `set`, until `deadline` (NULL: for ever). */
static int64_t wait_for(struct task *t, uint64_t set, const struct timespec *deadline,
			struct guest_siginfo *info)
{
	int r;

	/* From now on they end the wait; those that came before are found by the first look. */
	set_waiting(t, set);
	if (signal_take(t, set, info)) {
		set_waiting(t, 0);
		return info->signo;
	}
	r = task_sleep(t, deadline);
	set_waiting(t, 0);
	if (signal_take(t, set, info))
		return info->signo;
	if (r == 0)
		return -EAGAIN;
	/* A handler's turn, else one that another task was faster to take: wait on. */
	return signal_pending_set(t) & ~t->sig.mask ? -EINTR : -ERESTART_RESTARTBLOCK;
}

/* arg: set, address of the siginfo, whether there is a deadline. */
static int64_t sigtimedwait_again(struct task *t, const uint64_t arg[6])
{
	struct guest_siginfo info;
	int64_t r = wait_for(t, arg[0], arg[2] ? &t->restart.deadline : NULL, &info);

	if (r > 0 && arg[1] && mm_put(&t->process->mm, arg[1], &info) < 0)
		return -EFAULT;
	return r;
}

int64_t sys_rt_sigtimedwait(struct task *t, const uint64_t a[6])
{
	struct mm *mm = &t->process->mm;
	struct timespec time;
	uint64_t set;

	if (bad_set_size(a[3]))
		return -EINVAL;
	if (mm_get(mm, &set, a[0]) < 0 || (a[2] && mm_get(mm, &time, a[2]) < 0))
		return -EFAULT;
	t->restart = (struct restart){
		.fn = sigtimedwait_again,
		.arg = {set & ~sig_unblockable(), a[1], a[2] != 0},
	};
	if (a[2] && !deadline_after(&time, &t->restart.deadline))
		return -EINVAL;
	return sigtimedwait_again(t, t->restart.arg);
}

int64_t sys_restart_syscall(struct task *t, const uint64_t a[6])
{
	uint64_t arg[6];

	(void)a;
	if (!t->restart.fn)
		return -EINTR;
	memcpy(arg, t->restart.arg, sizeof(arg));
	return t->restart.fn(t, arg);
}

int64_t sys_pause(struct task *t, const uint64_t a[6])
{
	(void)a;
	if (!signal_deliverable(t))
		task_sleep(t, NULL);
	return -ERESTARTNOHAND;
}

int64_t sys_rt_sigsuspend(struct task *t, const uint64_t a[6])
{
	int r;

	if (bad_set_size(a[1]))
		return -EINVAL;
	if (!a[0])
		return -EFAULT;
	r = signal_mask_push(t, a[0], a[1]);
	if (r < 0)
		return r;
	if (!(signal_pending_set(t) & ~t->sig.mask))
		task_sleep(t, NULL);
	return -ERESTARTNOHAND;
}

/* --- Sending ------------------------------------------------------------------------------ */

/* pid_t's as the guest passed them. */
static int as_int(uint64_t v)
{
	return (int)v;
}

static struct guest_siginfo sent_by_guest(const struct task *t, int signo, int code)
{
	return (struct guest_siginfo){
		.signo = signo,
		.code = code,
		.rt = {.pid = PROCESS_PID, .uid = t->process->uid},
	};
}

static bool is_signal(int signo)
{
	return signo >= 1 && signo <= SIG_COUNT;
}

/* 0 if `pid` is the process, by any of its tasks, else what kill(2) says. */
static int check_process(struct task *t, int pid)
{
	if (pid == PROCESS_PID || process_has_task(t->process, pid))
		return 0;
	/* The parent is there, but belongs to somebody else. */
	return pid == PROCESS_PPID ? -EPERM : -ESRCH;
}

int64_t sys_kill(struct task *t, const uint64_t a[6])
{
	int pid = as_int(a[0]), signo = as_int(a[1]), r;
	struct guest_siginfo info = sent_by_guest(t, signo, SI_USER);

	/* Its process group is its own; -1 is everybody else. */
	r = pid == 0 || pid == -PROCESS_PID ? 0 : pid < 0 ? -ESRCH : check_process(t, pid);
	if (r < 0)
		return r;
	if (signo == 0)
		return 0;
	return is_signal(signo) ? signal_send(t->process, NULL, &info) : -EINVAL;
}

static int64_t send_to_thread(struct task *t, int tid, int signo,
			      const struct guest_siginfo *info)
{
	if (signo != 0 && !is_signal(signo))
		return process_has_task(t->process, tid) ? -EINVAL : -ESRCH;
	if (signo == 0)
		return process_has_task(t->process, tid) ? 0 : -ESRCH;
	return signal_send_tid(t->process, tid, info);
}

int64_t sys_tkill(struct task *t, const uint64_t a[6])
{
	int tid = as_int(a[0]), signo = as_int(a[1]);
	struct guest_siginfo info = sent_by_guest(t, signo, SI_TKILL);

	return tid <= 0 ? -EINVAL : send_to_thread(t, tid, signo, &info);
}

int64_t sys_tgkill(struct task *t, const uint64_t a[6])
{
	int pid = as_int(a[0]), tid = as_int(a[1]), signo = as_int(a[2]);
	struct guest_siginfo info = sent_by_guest(t, signo, SI_TKILL);

	if (pid <= 0 || tid <= 0)
		return -EINVAL;
	return pid == PROCESS_PID ? send_to_thread(t, tid, signo, &info) : -ESRCH;
}

/* Only to itself may a task pretend that the kernel or kill(2) sent something. */
static bool may_claim(const struct task *t, const struct guest_siginfo *info, int to)
{
	return (info->code < 0 && info->code != SI_TKILL) || to == t->tid;
}

int64_t sys_rt_sigqueueinfo(struct task *t, const uint64_t a[6])
{
	int pid = as_int(a[0]), signo = as_int(a[1]);
	struct guest_siginfo info;
	int r;

	if (mm_get(&t->process->mm, &info, a[2]) < 0)
		return -EFAULT;
	info.signo = signo;
	if (!may_claim(t, &info, pid))
		return -EPERM;
	r = pid > 0 ? check_process(t, pid) : -ESRCH;
	if (r < 0 || signo == 0)
		return r;
	return is_signal(signo) ? signal_send(t->process, NULL, &info) : -EINVAL;
}

int64_t sys_rt_tgsigqueueinfo(struct task *t, const uint64_t a[6])
{
	int pid = as_int(a[0]), tid = as_int(a[1]), signo = as_int(a[2]);
	struct guest_siginfo info;

	if (mm_get(&t->process->mm, &info, a[3]) < 0)
		return -EFAULT;
	info.signo = signo;
	if (pid <= 0 || tid <= 0)
		return -EINVAL;
	if (!may_claim(t, &info, tid))
		return -EPERM;
	return pid == PROCESS_PID ? send_to_thread(t, tid, signo, &info) : -ESRCH;
}

/* --- The alternate stack ------------------------------------------------------------------ */

int signal_altstack(struct sigtask *sig, uint64_t sp, const struct guest_stack *new_stack,
		    struct guest_stack *old_stack)
{
	uint32_t mode;

	if (old_stack) {
		*old_stack = (struct guest_stack){
			.sp = sig->alt_base,
			.flags = sig->alt_flags & GUEST_SS_AUTODISARM,
			.size = sig->alt_size,
		};
		if (!sig->alt_size)
			old_stack->flags |= GUEST_SS_DISABLE;
		else if (signal_on_altstack(sig, sp))
			old_stack->flags |= GUEST_SS_ONSTACK;
	}
	if (!new_stack)
		return 0;
	if (signal_on_altstack(sig, sp))
		return -EPERM;
	mode = new_stack->flags & ~GUEST_SS_AUTODISARM;
	if (mode != GUEST_SS_DISABLE && mode != GUEST_SS_ONSTACK && mode != 0)
		return -EINVAL;
	if (mode == GUEST_SS_DISABLE) {
		sig->alt_base = sig->alt_size = 0;
	} else {
		if (new_stack->size < MIN_STACK)
			return -ENOMEM;
		sig->alt_base = new_stack->sp;
		sig->alt_size = new_stack->size;
	}
	sig->alt_flags = new_stack->flags;
	return 0;
}

int64_t sys_sigaltstack(struct task *t, const uint64_t a[6])
{
	struct mm *mm = &t->process->mm;
	struct guest_stack new_stack, old_stack;
	int r;

	if (a[0] && mm_get(mm, &new_stack, a[0]) < 0)
		return -EFAULT;
	r = signal_altstack(&t->sig, t->regs.rsp, a[0] ? &new_stack : NULL, &old_stack);
	if (!r && a[1] && mm_put(mm, a[1], &old_stack) < 0)
		return -EFAULT;
	return r;
}

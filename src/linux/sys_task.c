/* SPDX-License-Identifier: Apache-2.0 */
/* Threads: clone, exit, and what the kernel does for a thread that ends. */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>

#include "linux/task.h"

#define CLONE_THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
/* Nodes of a robust list that are looked at, as the kernel limits it (ROBUST_LIST_LIMIT). */
#define MAX_ROBUST 2048

/* The kernel's struct clone_args (include/uapi/linux/sched.h). */
struct guest_clone_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal;
	uint64_t stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
#define CLONE_ARGS_FIRST 64 /* bytes of its first version */

/* A thread's vector state is its parent's. */
static int copy_vectors(struct task *to, struct task *from)
{
	uint8_t *xsave = aligned_alloc(64, CPU_XSAVE_BUFFER);
	int r = -ENOMEM;

	if (xsave && hv_vcpu_get_xsave(from->vcpu, xsave, NULL) == 0 &&
	    hv_vcpu_set_xsave(to->vcpu, xsave, NULL) == 0)
		r = 0;
	free(xsave);
	return r;
}

static int64_t start(struct task *child, struct task *parent,
		     const struct guest_clone_args *args)
{
	struct mm *mm = &child->process->mm;
	uint32_t tid = (uint32_t)child->tid;
	int r = copy_vectors(child, parent);

	if (r < 0)
		return r;
	child->regs = parent->regs;
	child->regs.rax = 0;
	child->regs.rsp = args->stack;
	child->regs.rcx = child->regs.rip;
	child->regs.r11 = child->regs.rflags;
	memcpy(child->name, parent->name, sizeof(child->name));
	child->attr = parent->attr;
	child->attr.pdeath_signal = 0;
	signals_clone(child, parent);
	if (args->flags & CLONE_CHILD_CLEARTID)
		child->clear_child_tid = args->child_tid;
	if ((args->flags & CLONE_PARENT_SETTID) && mm_put(mm, args->parent_tid, &tid) < 0)
		return -EFAULT;
	/* Before the child runs; where that fails Linux does not tell either. */
	if (args->flags & CLONE_CHILD_SETTID)
		(void)mm_put(mm, args->child_tid, &tid);
	r = task_start(child);
	return r < 0 ? r : (int64_t)tid;
}

static int64_t clone_thread(struct task *t, const struct guest_clone_args *args)
{
	struct cpu_control control;
	struct task *child;
	int64_t r;

	if (hv_vcpu_get_control(t->vcpu, &control, NULL) < 0)
		return -EAGAIN;
	r = task_new(t->process, args->flags & CLONE_SETTLS ? args->tls : control.fs_base,
		     &child, NULL);
	if (r < 0)
		return r;
	r = start(child, t, args);
	if (r < 0)
		task_free(child);
	return r;
}

static int64_t do_clone(struct task *t, const struct guest_clone_args *args,
			const uint64_t a[6])
{
	if (!(args->flags & CLONE_THREAD))
		return sys_fork(t, a);
	if ((args->flags & CLONE_THREAD_FLAGS) != CLONE_THREAD_FLAGS)
		return -EINVAL;
	if (args->flags &
	    (CLONE_VFORK | CLONE_PIDFD | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC |
	     CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP))
		return -EPERM;
	if (args->flags & CLONE_SETTLS && args->tls >= PROG_VA_END)
		return -EPERM;
	return clone_thread(t, args);
}

int64_t sys_clone(struct task *t, const uint64_t a[6])
{
	struct guest_clone_args args = {
		.flags = a[0] & 0xffffff00u, /* the rest is the exit signal (CSIGNAL) */
		.exit_signal = a[0] & 0xff,
		.stack = a[1] ? a[1] : t->regs.rsp,
		.parent_tid = a[2],
		.child_tid = a[3],
		.tls = a[4],
	};

	return do_clone(t, &args, a);
}

int64_t sys_clone3(struct task *t, const uint64_t a[6])
{
	struct guest_clone_args args = {.flags = 0};

	if (a[1] < CLONE_ARGS_FIRST)
		return -EINVAL;
	/* Longer ones are of a newer kernel: glibc falls back to clone(2) on ENOSYS only. */
	if (a[1] > sizeof(args))
		return -E2BIG;
	if (mm_read(&t->process->mm, &args, a[0], a[1]) < 0)
		return -EFAULT;
	if (args.set_tid_size || args.set_tid || (args.exit_signal & ~(uint64_t)0xff) ||
	    ((args.flags & CLONE_THREAD) && args.exit_signal) ||
	    (!args.stack != !args.stack_size))
		return -EINVAL;
	if (args.stack) {
		if (args.stack >= PROG_VA_END || args.stack_size > PROG_VA_END)
			return -EINVAL;
		args.stack += args.stack_size;
	} else {
		args.stack = t->regs.rsp;
	}
	return do_clone(t, &args, a);
}

int64_t sys_set_tid_address(struct task *t, const uint64_t a[6])
{
	t->clear_child_tid = a[0];
	return t->tid;
}

int64_t sys_set_robust_list(struct task *t, const uint64_t a[6])
{
	if (a[1] != 24) /* sizeof(struct robust_list_head) */
		return -EINVAL;
	t->robust_list = a[0];
	return 0;
}

int64_t sys_get_robust_list(struct task *t, const uint64_t a[6])
{
	uint64_t head, size = 24;
	struct task *other;

	pthread_mutex_lock(&t->process->tasks_lock);
	other = a[0] ? process_task(t->process, (int)a[0]) : t;
	head = other ? other->robust_list : 0;
	pthread_mutex_unlock(&t->process->tasks_lock);
	if (!other)
		return -ESRCH;
	if (mm_put(&t->process->mm, a[1], &head) < 0 ||
	    mm_put(&t->process->mm, a[2], &size) < 0)
		return -EFAULT;
	return 0;
}

static void wake(struct mm *mm, uint64_t va, int waiters)
{
	uint32_t *word = mm_word(mm, va, false);

	if (word)
		syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, waiters, NULL, NULL, 0);
}

/* A lock that the thread holds is marked: its owner died (kernel/futex/core.c). */
static void release_robust(struct task *t, uint64_t va)
{
	struct mm *mm = &t->process->mm;
	uint32_t value;

	if (va % sizeof(value) || mm_get(mm, &value, va) < 0 ||
	    (value & FUTEX_TID_MASK) != (uint32_t)t->tid)
		return;
	value = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
	if (mm_put(mm, va, &value) == 0 && (value & FUTEX_WAITERS))
		wake(mm, va, 1);
}

static void release_robust_list(struct task *t)
{
	struct {
		uint64_t next;
		int64_t offset;
		uint64_t pending;
	} head;
	struct mm *mm = &t->process->mm;
	uint64_t entry;

	if (!t->robust_list || mm_get(mm, &head, t->robust_list) < 0)
		return;
	entry = head.next;
	/* Bit 0 marks locks with priority inheritance, of which there are none. */
	for (int i = 0; i < MAX_ROBUST && (entry & ~1ULL) != t->robust_list; i++) {
		uint64_t next;

		if (mm_get(mm, &next, entry & ~1ULL) < 0)
			return;
		if (entry != head.pending)
			release_robust(t, (entry & ~1ULL) + (uint64_t)head.offset);
		entry = next;
	}
	if (head.pending)
		release_robust(t, (head.pending & ~1ULL) + (uint64_t)head.offset);
}

void task_farewell(struct task *t)
{
	uint32_t zero = 0;

	release_robust_list(t);
	if (!t->clear_child_tid)
		return;
	if (mm_put(&t->process->mm, t->clear_child_tid, &zero) == 0)
		wake(&t->process->mm, t->clear_child_tid, 1);
}

int64_t sys_exit(struct task *t, const uint64_t a[6])
{
	t->exit_status = (int)(a[0] & 0xff);
	t->exiting = true;
	return 0;
}

int64_t sys_exit_group(struct task *t, const uint64_t a[6])
{
	process_exit(t->process, (int)(a[0] & 0xff));
	return 0;
}

#define ARCH_SET_GS 0x1001
#define ARCH_SET_FS 0x1002
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004

/* Segment bases; programs that use FSGSBASE change them by themselves. */
int64_t sys_arch_prctl(struct task *t, const uint64_t a[6])
{
	struct cpu_setup setup;
	struct cpu_control control;

	if (hv_vcpu_get_control(t->vcpu, &control, NULL) < 0)
		return -EINVAL;
	switch (a[0]) {
	case ARCH_GET_FS:
		return mm_put(&t->process->mm, a[1], &control.fs_base);
	case ARCH_GET_GS:
		return mm_put(&t->process->mm, a[1], &control.gs_base);
	case ARCH_SET_FS:
		control.fs_base = a[1];
		break;
	case ARCH_SET_GS:
		control.gs_base = a[1];
		break;
	default:
		return -EINVAL;
	}
	if (a[1] >= PROG_VA_END)
		return -EPERM;
	setup = program_cpu_setup(t->process->guest, t->vcpu_number, t->process->host);
	setup.fs_base = control.fs_base;
	setup.gs_base = control.gs_base;
	if (hv_vcpu_set_ring3(t->vcpu, &setup, NULL) < 0)
		return -EINVAL;
	/* It is in ring 3 now, whatever brought it here. */
	t->in_ring0 = false;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The table of system calls, and the one way to them. */
#include <errno.h>
#include <string.h>

#include "linux/functions.h"
#include "linux/process.h"
#include "linux/trace.h"

static const struct syscall_text texts[SYSCALL_COUNT] = {
#define SYSCALL(number, name, args) [number] = {#name, args},
#define REFUSED(number, name, args) [number] = {#name, args},
#include "linux/syscalls.def"
#undef SYSCALL
#undef REFUSED
};

/* NULL: ENOSYS. There are holes in the numbers: 335 to 423. */
static syscall_fn *const functions[SYSCALL_COUNT] = {
#define SYSCALL(number, name, args) [number] = sys_##name,
#define REFUSED(number, name, args)
#include "linux/syscalls.def"
#undef SYSCALL
#undef REFUSED
};

const char *syscall_name(uint64_t number)
{
	return number < SYSCALL_COUNT && texts[number].name[0] ? texts[number].name : NULL;
}

const char *syscall_args(uint64_t number)
{
	return number < SYSCALL_COUNT ? texts[number].args : "";
}

/*
 * The bounds check again, without a branch that could be predicted: while the check is still
 * being speculated on, the guest's number must not select a function pointer from beyond the
 * table (Documentation/admin-guide/hw-vuln/spectre.rst, variant 1).
 */
static inline uint64_t index_nospec(uint64_t index, uint64_t count)
{
	uint64_t mask;

	/* clang-format off */
	__asm__ volatile("cmp %2, %1\n\t"
			 "sbb %0, %0" : "=r"(mask) : "r"(index), "r"(count) : "cc");
	/* clang-format on */
	return index & mask;
}

static syscall_fn *find(uint64_t number)
{
	return number < SYSCALL_COUNT ? functions[index_nospec(number, SYSCALL_COUNT)] : NULL;
}

static int64_t call(struct task *t, syscall_fn *fn, const uint64_t a[6])
{
	return fn ? fn(t, a) : -ENOSYS;
}

/* --- Paths -------------------------------------------------------------------------------- */

/* The paths and other names of a call as they were when it began. */
struct syscall_paths {
	struct {
		uint64_t va;
		ssize_t len; /* or -errno */
		bool is_path;
		char text[VFS_PATH_MAX];
	} path[2];
};

static void copy_paths(struct task *t, const char *args, const uint64_t a[6],
		       struct syscall_paths *paths)
{
	int n = 0;

	for (int i = 0; i < 6 && args[i]; i++) {
		if ((args[i] != 's' && args[i] != 'n') || n == (int)ARRAY_SIZE(paths->path))
			continue;
		paths->path[n].va = a[i];
		paths->path[n].is_path = args[i] == 's';
		paths->path[n].len = mm_read_string(&t->process->mm, paths->path[n].text,
						    sizeof(paths->path[n].text), a[i]);
		if (paths->path[n].len < 0)
			paths->path[n].text[0] = '\0';
		n++;
	}
	for (; n < (int)ARRAY_SIZE(paths->path); n++) {
		paths->path[n].va = 0;
		paths->path[n].len = -EFAULT;
		paths->path[n].is_path = false;
	}
}

ssize_t task_path(struct task *t, int which, uint64_t va, char *buf)
{
	const struct syscall_paths *paths = t->paths;

	if (!paths)
		return mm_read_string(&t->process->mm, buf, VFS_PATH_MAX, va);
	/* Another address than the policy was shown: a mistake in the table, never let through. */
	if (which < 0 || which >= (int)ARRAY_SIZE(paths->path) || paths->path[which].va != va)
		return -EFAULT;
	if (paths->path[which].len >= 0)
		memcpy(buf, paths->path[which].text, (size_t)paths->path[which].len + 1);
	return paths->path[which].len;
}

/* --- Dispatch ----------------------------------------------------------------------------- */

static int64_t ask_policy(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	mayfly_syscall asked = {
		.size = sizeof(asked),
		.number = t->syscall,
		.name = syscall_name(t->syscall),
		.tid = t->tid,
	};
	int answer;

	memcpy(asked.args, a, sizeof(asked.args));
	for (size_t i = 0; i < ARRAY_SIZE(t->paths->path); i++) {
		if (t->paths->path[i].len < 0 || !t->paths->path[i].is_path)
			continue;
		if (!asked.path)
			asked.path = t->paths->path[i].text;
		else
			asked.path2 = t->paths->path[i].text;
	}
	answer = p->policy(p->policy_context, &asked);
	if (answer == 0)
		return 0;
	/* No errno: the guest would take it for a result, or the call would be made again. */
	return answer > -ERESTARTSYS && answer < 0 ? answer : -EPERM;
}

/* Out of the way of the usual case, which needs none of this room on the stack. */
static __attribute__((noinline)) int64_t dispatch_observed(struct task *t, syscall_fn *fn,
							   const uint64_t a[6])
{
	const uint64_t number = t->syscall; /* rt_sigreturn(2) puts another one there */
	struct process *p = t->process;
	struct syscall_paths paths;
	struct trace_call traced;
	int64_t result = 0;

	if (p->policy || trace_has_lines(p->trace)) {
		copy_paths(t, syscall_args(number), a, &paths);
		t->paths = &paths;
	}
	if (p->trace)
		trace_enter(t, &traced, number, a);
	if (p->policy && fn)
		result = ask_policy(t, a);
	if (result == 0)
		result = call(t, fn, a);
	if (p->trace)
		trace_leave(t, number, a, result);
	t->paths = NULL;
	return result;
}

int64_t syscall_dispatch(struct task *t)
{
	const struct cpu_regs *regs = &t->regs;
	const uint64_t a[6] = {regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9};
	/* As Linux: the number is 32 bits wide. x32's, with bit 30, are beyond the table. */
	uint64_t number = (uint32_t)regs->rax;
	syscall_fn *fn = find(number);

	t->syscall = number;
	__atomic_store_n(&t->syscalls, t->syscalls + 1, __ATOMIC_RELAXED);
	if (number == PROG_SYS_READY)
		return process_ready(t, a[0]);
	if (number == PROG_SYS_RETURN)
		return functions_return(t, a);
	if (t->process->policy || t->process->trace)
		return dispatch_observed(t, fn, a);
	return call(t, fn, a);
}

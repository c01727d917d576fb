/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of Linux system calls (x86-64), by number. table.c has it; sys_*.c and others the
 * functions.
 */
#ifndef MAYFLY_LINUX_SYSCALLS_H
#define MAYFLY_LINUX_SYSCALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct task;

/* a[]: rdi, rsi, rdx, r10, r8, r9. The result or -errno. */
typedef int64_t syscall_fn(struct task *t, const uint64_t a[6]);

/* Without pointers: those of a position-independent program are written at each start. */
struct syscall_text {
	char name[25]; /* empty: no such number */
	/*
	 * A letter an argument: which are paths, and how --trace prints them.
	 *
	 *   d int, l 64-bit, u unsigned, x hex, o octal, p address, S signal
	 *   f descriptor, D directory descriptor
	 *   s path, n other name
	 *   b buffer (length: the next argument), B the same, filled by the call
	 *   i iovec (count: the next argument), I the same, filled; t timespec, T the same, filled
	 *
	 * The others are names of constants: trace_names.c has them.
	 */
	char args[7];
};

#define SYSCALL_COUNT 462

#define SYSCALL(number, name, args) syscall_fn sys_##name;
#define REFUSED(number, name, args)
#include "linux/syscalls.def"
#undef SYSCALL
#undef REFUSED

/* NULL: no such number. */
const char *syscall_name(uint64_t number);
/* Of no such number: "". */
const char *syscall_args(uint64_t number);

/*
 * Answer the call in t->regs: policy, trace, dispatch, result. Gives the result or -errno,
 * ERESTART codes included. No other way to a sys_ function.
 */
int64_t syscall_dispatch(struct task *t);

/*
 * A path, or another name (of an attribute, of a memfd), among the call's arguments, into
 * buf[VFS_PATH_MAX]: `which` is 0 for the first of them, 1 for the second, and `va` where it
 * lies. Its length, -EFAULT or -ENAMETOOLONG; an empty one is the caller's to judge. All calls
 * get their paths by this and read none by themselves: if there is a policy or a trace, they
 * were copied before it was asked, and this gives that copy, so that what was allowed is what is
 * used, whatever the guest's other threads write there.
 */
ssize_t task_path(struct task *t, int which, uint64_t va, char *buf);

#endif

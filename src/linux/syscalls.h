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

struct task;

/* a[]: rdi, rsi, rdx, r10, r8, r9. The result or -errno. */
typedef int64_t syscall_fn(struct task *t, const uint64_t a[6]);

struct syscall_entry {
	const char *name; /* NULL: no such number */
	syscall_fn *fn;	  /* NULL: refused with ENOSYS */
	/*
	 * For --trace, a letter an argument: d int, u unsigned, x hex, o octal, p address,
	 * s path or string, b buffer (length: the next argument), B the same for output, f
	 * descriptor, D directory descriptor, F flags (in hex), t timespec, i iovec, S signal.
	 */
	const char *args;
};

#define SYSCALL_COUNT 462

#define SYSCALL(number, name, args) syscall_fn sys_##name;
#define REFUSED(number, name, args)
#include "linux/syscalls.def"
#undef SYSCALL
#undef REFUSED

extern const struct syscall_entry syscall_table[SYSCALL_COUNT];

/*
 * Answer the call in t->regs: policy, trace, dispatch, result. Gives the result or -errno,
 * ERESTART codes included. No other way to a sys_ function.
 */
int64_t syscall_dispatch(struct task *t);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Loading an executable into a fresh address space: what execve(2) does. */
#ifndef MAYFLY_LINUX_EXEC_H
#define MAYFLY_LINUX_EXEC_H

#include "mayfly.h"

struct file;
struct process;
struct task;

/* "#!" lines that lead to each other, as the kernel counts them (fs/exec.c). */
#define EXEC_MAX_SCRIPTS 5

/*
 * Load `path` (in the guest), its interpreter if it names one, the stack with argv, envp and the
 * auxiliary vector; sets the task's registers to the entry and p->exe. For scripts ("#!") argv is
 * changed as the kernel does.
 * Errors: NO_PROGRAM, FORMAT, UNSUPPORTED, IO, TOO_LARGE, NOMEM: with the path and what to do.
 */
int exec_load(struct process *p, struct task *t, const char *path, const char *const *argv,
	      const char *const *envp, mayfly_error *err);
/* The address of the loaded program's main(), if that can be told; else 0. */
uint64_t exec_find_main(struct process *p);

/* The stack's part (exec_stack.c). Gives the stack pointer at the entry. -ENOMEM, -E2BIG. */
int exec_build_stack(struct process *p, const char *const *argv, const char *const *envp,
		     const char *exe, uint64_t *sp);

#endif

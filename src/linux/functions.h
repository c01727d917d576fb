/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions of programs, called by the host while the program is paused at mayfly_ready(): what
 * it exports (mayfly_export.h) and how one is called.
 */
#ifndef MAYFLY_LINUX_FUNCTIONS_H
#define MAYFLY_LINUX_FUNCTIONS_H

#include "mayfly.h"

struct elf_file;
struct process;
struct program_guest;
struct task;

/*
 * The exports of the program that was just loaded from `fd`, into its guest. What is wrong with
 * them is no reason not to run it: functions_find() says it. Errors: NOMEM.
 */
int functions_load(struct process *p, const struct elf_file *elf, int fd, uint64_t bias,
		   mayfly_error *err);
/* Errors: NO_FUNCTION; FORMAT, UNSUPPORTED of functions_load(). */
int functions_find(const struct program_guest *g, const char *name, const mayfly_function **out,
		   mayfly_error *err);

/* See mayfly_process_call(). */
int functions_call(struct process *p, const mayfly_function *fn, const mayfly_value *args,
		   size_t nargs, mayfly_value *result, mayfly_error *err);
/* PROG_SYS_RETURN: pauses the process, with the task where it was before the call. */
int64_t functions_return(struct task *t, const uint64_t a[6]);
/* A task ends by itself: if a call runs on it, that never returns. */
void functions_task_ends(struct task *t);

/*
 * Before the paused process runs on or is saved: what calls left in registers gives way to what
 * the program had there. Errors: HYPERVISOR.
 */
int functions_settle(struct process *p, mayfly_error *err);
/* Its tasks are gone: nothing is to be put back any more. */
void functions_forget(struct process *p);
void functions_fini(struct process *p);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces and counts of system calls: lines as strace(1) prints them, a table as `strace -c`.
 * Thread-safe; a line is written at once.
 */
#ifndef MAYFLY_LINUX_TRACE_H
#define MAYFLY_LINUX_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "mayfly.h"

struct task;
struct trace;

/* `lines`: trace each call to `write`; else only count. NULL when memory is out. */
struct trace *trace_new(bool lines, mayfly_write_fn write, void *context);
void trace_free(struct trace *trace);

/* Around a call. Arguments that are only known afterwards (buffers) are printed then. */
void trace_enter(struct task *t, uint64_t number, const uint64_t a[6]);
void trace_leave(struct task *t, uint64_t number, const uint64_t a[6], int64_t result);
/* A signal that is delivered, the end: as strace prints "--- SIGSEGV ... ---". */
void trace_note(struct task *t, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The table of counts, times (ns in the host, waiting included) and errors, to `write`. */
void trace_report(struct trace *trace, mayfly_write_fn write, void *context);

/* "ENOENT" for -2; NULL if unknown. Static. */
const char *errno_name(int64_t result);
/* "SIGSEGV". Static; NULL if unknown. */
const char *signal_name(int signal);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Traces and counts of system calls: lines as strace(1) prints them, a table as `strace -c`.
 *
 * A call's line is written when the call is over, so lines are in the order of ends. The one
 * exception tells what a program waits for: a call that has been going on for a while when
 * another thread's line is written gets a line "<unfinished ...>" before that, and another
 * "<... resumed>" at its end, as with strace. Each line is one call of the write callback.
 *
 * Thread-safe. What the guest wrote is shown in printable ASCII only.
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
/* NULL is allowed. */
void trace_free(struct trace *trace);
/* Whether lines are written. `trace` may be NULL. */
bool trace_has_lines(const struct trace *trace);

struct trace_call;

/*
 * Around a call, by the task's own thread, with t->process->trace set; *call must live until
 * then. Arguments that are only known afterwards (buffers) are printed then.
 */
void trace_enter(struct task *t, struct trace_call *call, uint64_t number, const uint64_t a[6]);
void trace_leave(struct task *t, uint64_t number, const uint64_t a[6], int64_t result);
/* A signal that is delivered, the end: "--- SIGSEGV ... ---", without the line's end. */
void trace_note(struct task *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The table of counts, times (ns in the host, waiting included) and errors, to `write`. */
void trace_report(struct trace *trace, mayfly_write_fn write, void *context);

/* "ENOENT" for -2; NULL if unknown. Static. */
const char *errno_name(int64_t result);
/* "SIGSEGV". Static; NULL if unknown. */
const char *signal_name(int signal);

#define TRACE_LINE 4096 /* bytes of one line at most; longer ones are cut */

/* A call whose end is not there yet; on its thread's stack. The members are trace.c's. */
struct trace_call {
	struct trace_call *next, *prev;
	uint64_t number;
	const char *name;  /* NULL: no such call */
	uint64_t began;	   /* ns */
	bool shown;	   /* as unfinished; under the trace's lock */
	bool cut;	   /* `text` did not fit */
	unsigned next_arg; /* the first that is not in `text` */
	size_t prefix;	   /* bytes of "[pid N] " that it begins with */
	size_t len;
	char text[TRACE_LINE];
};

#endif

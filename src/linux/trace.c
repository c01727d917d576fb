/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "core/clock.h"
#include "linux/process.h"
#include "linux/trace.h"
#include "linux/trace_format.h"

#define RESULT_COLUMN 40 /* where results stand, as strace's -a */
/* Kept free for the result and the end of a line; errors' texts are shorter. */
#define RESULT_ROOM 160
/* A call that takes longer is shown as unfinished when another thread's line comes. */
#define UNFINISHED_NS 1000000

struct counter {
	atomic_ullong calls, errors, ns;
};

struct trace {
	bool lines;
	mayfly_write_fn write;
	void *context;
	pthread_mutex_t
		lock; /* running; and held while a line is written, so that they are in order */
	struct trace_call *running, *last;
	struct counter counters[SYSCALL_COUNT + 1]; /* the last: no such numbers */
};

struct trace *trace_new(bool lines, mayfly_write_fn write, void *context)
{
	struct trace *trace = calloc(1, sizeof(*trace));

	if (!trace)
		return NULL;
	if (pthread_mutex_init(&trace->lock, NULL)) {
		free(trace);
		return NULL;
	}
	trace->lines = lines && write;
	trace->write = write;
	trace->context = context;
	return trace;
}

void trace_free(struct trace *trace)
{
	if (!trace)
		return;
	pthread_mutex_destroy(&trace->lock);
	free(trace);
}

bool trace_has_lines(const struct trace *trace)
{
	return trace && trace->lines;
}

/* --- Lines -------------------------------------------------------------------------------- */

/* "[pid 1001] " is always there, and left out where there is one thread only. */
static size_t prefix(char *buf, size_t size, int tid)
{
	int n = snprintf(buf, size, "[pid %d] ", tid);

	return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

static bool several_threads(const struct process *p)
{
	return __atomic_load_n(&p->ntasks, __ATOMIC_RELAXED) > 1;
}

/* A line's text, with room for its end. */
static struct text call_text(struct trace_call *call)
{
	return (struct text){
		.buf = call->text, .size = TRACE_LINE - RESULT_ROOM, .len = call->len};
}

/* The last part of a line: there is always room for it. */
static void finish(struct text *text)
{
	if (text->cut) {
		memcpy(text->buf + text->len, "...", 4);
		text->len += 3;
	}
	text->cut = false;
	text->size = TRACE_LINE;
}

static void call_unlink(struct trace *trace, struct trace_call *call)
{
	if (call->prev)
		call->prev->next = call->next;
	else
		trace->running = call->next;
	if (call->next)
		call->next->prev = call->prev;
	else
		trace->last = call->prev;
}

/* Before a line is written: those that have been waiting for long. Under the lock. */
static void show_unfinished(struct trace *trace, uint64_t now)
{
	for (struct trace_call *call = trace->running; call; call = call->next) {
		struct text text = call_text(call);

		if (call->shown || now < call->began + UNFINISHED_NS)
			continue;
		finish(&text);
		text_print(&text, " <unfinished ...>\n");
		trace->write(trace->context, text.buf, text.len);
		call->shown = true;
	}
}

static void begin_line(struct trace_call *call, struct task *t, const uint64_t a[6])
{
	struct text text = call_text(call);

	call->prefix = text.len = prefix(text.buf, text.size, t->tid);
	if (call->name)
		text_print(&text, "%s(", call->name);
	else
		text_print(&text, "syscall_%#" PRIx64 "(", call->number);
	call->next_arg = format_arguments(&text, t, call->number, a, 0, NULL);
	call->len = text.len;
	call->cut = text.cut;
}

static void write_line(struct trace *trace, const struct trace_call *call,
		       const struct text *text, uint64_t now, bool with_prefix)
{
	size_t from = with_prefix ? 0 : call->prefix;

	pthread_mutex_lock(&trace->lock);
	show_unfinished(trace, now);
	trace->write(trace->context, text->buf + from, text->len - from);
	pthread_mutex_unlock(&trace->lock);
}

static void pad(struct text *text, size_t from)
{
	size_t column = text->len - from;

	text_print(text, "%*s", column < RESULT_COLUMN ? (int)(RESULT_COLUMN - column) : 1, "");
}

/* It was cut off by the end, or the pause, of the process. */
static bool stopped(const struct process *p, int64_t result)
{
	return atomic_load_explicit(&p->stopping, memory_order_relaxed) &&
	       (result == -EINTR ||
		(result <= -ERESTARTSYS && result >= -ERESTART_RESTARTBLOCK));
}

static void end_line(struct task *t, struct trace_call *call, const uint64_t a[6],
		     const int64_t *result, uint64_t now)
{
	struct trace *trace = t->process->trace;
	bool with_prefix = call->shown || several_threads(t->process);
	struct text text = call_text(call);

	text.cut = call->cut;
	if (call->shown) {
		text.cut = false;
		text.len = call->prefix;
		text_print(&text, "<... %s resumed>", call->name ? call->name : "syscall");
	}
	if (result && stopped(t->process, *result)) {
		finish(&text);
		text_print(&text, " <unfinished ...>\n");
	} else {
		if (result)
			format_arguments(&text, t, call->number, a, call->next_arg, result);
		finish(&text);
		text_print(&text, ")");
		pad(&text, with_prefix ? 0 : call->prefix);
		if (result)
			format_result(&text, call->number, *result);
		else
			text_print(&text, "= ?");
		text_print(&text, "\n");
	}
	write_line(trace, call, &text, now, with_prefix);
}

void trace_enter(struct task *t, struct trace_call *call, uint64_t number, const uint64_t a[6])
{
	struct trace *trace = t->process->trace;

	t->traced = NULL;
	t->traced_at = clock_now();
	if (!trace->lines)
		return;
	*call = (struct trace_call){.number = number, .began = t->traced_at};
	call->name = syscall_name(number);
	begin_line(call, t, a);
	/* These do not come back. */
	if (number == SYS_exit || number == SYS_exit_group) {
		end_line(t, call, a, NULL, t->traced_at);
		return;
	}
	t->traced = call;
	pthread_mutex_lock(&trace->lock);
	call->prev = trace->last;
	if (trace->last)
		trace->last->next = call;
	else
		trace->running = call;
	trace->last = call;
	pthread_mutex_unlock(&trace->lock);
}

void trace_leave(struct task *t, uint64_t number, const uint64_t a[6], int64_t result)
{
	struct trace *trace = t->process->trace;
	struct trace_call *call = t->traced;
	struct counter *counter =
		&trace->counters[number < SYSCALL_COUNT ? number : SYSCALL_COUNT];
	uint64_t now = clock_now();

	atomic_fetch_add_explicit(&counter->calls, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&counter->ns, now - t->traced_at, memory_order_relaxed);
	if (errno_name(result))
		atomic_fetch_add_explicit(&counter->errors, 1, memory_order_relaxed);
	if (!call)
		return;
	t->traced = NULL;
	/* From here on nobody else sees it. */
	pthread_mutex_lock(&trace->lock);
	call_unlink(trace, call);
	pthread_mutex_unlock(&trace->lock);
	end_line(t, call, a, &result, now);
}

void trace_note(struct task *t, const char *format, ...)
{
	struct trace *trace = t->process->trace;
	char buf[512];
	size_t from, len;
	va_list args;
	int n;

	if (!trace_has_lines(trace))
		return;
	from = len = prefix(buf, sizeof(buf), t->tid);
	va_start(args, format);
	n = vsnprintf(buf + len, sizeof(buf) - 1 - len, format, args);
	va_end(args);
	if (n < 0)
		return;
	len += (size_t)n < sizeof(buf) - 1 - len ? (size_t)n : sizeof(buf) - 2 - len;
	buf[len++] = '\n';
	if (several_threads(t->process))
		from = 0;
	pthread_mutex_lock(&trace->lock);
	show_unfinished(trace, clock_now());
	trace->write(trace->context, buf + from, len - from);
	pthread_mutex_unlock(&trace->lock);
}

/* --- The table ---------------------------------------------------------------------------- */

struct row {
	const char *name;
	unsigned long long calls, errors, ns;
};

static int by_time(const void *x, const void *y)
{
	const struct row *a = x, *b = y;

	if (a->ns != b->ns)
		return a->ns < b->ns ? 1 : -1;
	return strcmp(a->name, b->name);
}

static size_t collect(struct trace *trace, struct row *rows, struct row *total)
{
	size_t n = 0;

	*total = (struct row){.name = "total"};
	for (size_t i = 0; i <= SYSCALL_COUNT; i++) {
		struct counter *c = &trace->counters[i];
		struct row row = {
			.name = i < SYSCALL_COUNT ? syscall_name(i) : "(unknown)",
			.calls = atomic_load_explicit(&c->calls, memory_order_relaxed),
			.errors = atomic_load_explicit(&c->errors, memory_order_relaxed),
			.ns = atomic_load_explicit(&c->ns, memory_order_relaxed),
		};

		if (!row.calls)
			continue;
		if (!row.name)
			row.name = "(unknown)";
		total->calls += row.calls;
		total->errors += row.errors;
		total->ns += row.ns;
		rows[n++] = row;
	}
	return n;
}

static void write_row(const struct row *row, const struct row *total, mayfly_write_fn write,
		      void *context)
{
	char line[160], errors[24] = "";
	double share = total->ns ? 100.0 * (double)row->ns / (double)total->ns : 0.0;
	int n;

	if (row->errors)
		snprintf(errors, sizeof(errors), "%llu", row->errors);
	n = snprintf(line, sizeof(line), "%6.2f %11.6f %11llu %9llu %9s %s\n", share,
		     (double)row->ns / 1e9, row->calls ? row->ns / row->calls / 1000 : 0,
		     row->calls, errors, row->name);
	if (n > 0 && (size_t)n < sizeof(line))
		write(context, line, (size_t)n);
}

void trace_report(struct trace *trace, mayfly_write_fn write, void *context)
{
	static const char head[] =
		"% time     seconds  usecs/call     calls    errors syscall\n";
	static const char rule[] =
		"------ ----------- ----------- --------- --------- ----------------\n";
	struct row rows[SYSCALL_COUNT + 1], total;
	size_t n = collect(trace, rows, &total);

	qsort(rows, n, sizeof(rows[0]), by_time);
	write(context, head, sizeof(head) - 1);
	write(context, rule, sizeof(rule) - 1);
	for (size_t i = 0; i < n; i++)
		write_row(&rows[i], &total, write, context);
	write(context, rule, sizeof(rule) - 1);
	write_row(&total, &total, write, context);
}

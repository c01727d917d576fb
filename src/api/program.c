/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions on programs: arguments are checked here, src/linux does the rest. */
#include <errno.h>

#include "api/options.h"
#include "linux/checkpoint.h"
#include "linux/functions.h"
#include "linux/guest.h"
#include "linux/netpolicy.h"
#include "linux/task.h"
#include "linux/trace.h"

/* The public name of a process is an opaque one. */
static struct process *process_of(mayfly_process *process)
{
	return (struct process *)process;
}

int mayfly_process_new(const mayfly_process_options *options, mayfly_process **out,
		       mayfly_error *err)
{
	mayfly_process_options o;
	struct process *p;
	int r;

	if (!options || !out)
		return fail(err, MAYFLY_E_INVALID, "options and out must not be NULL");
	r = options_copy(&o, sizeof(o), options, "mayfly_process_options", err);
	if (r == 0)
		r = process_new(&hv_kvm, &o, &p, err);
	if (r != 0)
		return r;
	*out = (mayfly_process *)p;
	return 0;
}

void mayfly_process_free(mayfly_process *process)
{
	process_free(process_of(process));
}

int mayfly_process_run(mayfly_process *process, uint32_t pause_at, mayfly_process_end *end,
		       mayfly_error *err)
{
	const uint32_t known = MAYFLY_PAUSE_STDIN | MAYFLY_PAUSE_MAIN | MAYFLY_PAUSE_READY;
	mayfly_process_end result = {.size = sizeof(result)};
	int r;

	if (!process || !end)
		return fail(err, MAYFLY_E_INVALID, "process and end must not be NULL");
	if (pause_at & ~known)
		return fail(err, MAYFLY_E_INVALID, "unknown points to pause at: 0x%x",
			    pause_at & ~known);
	r = process_run(process_of(process), pause_at, &result, err);
	if (r < 0)
		return r;
	return options_give(end, &result, sizeof(result), "mayfly_process_end", err);
}

int mayfly_process_function(const mayfly_process *process, const char *name,
			    const mayfly_function **out, mayfly_error *err)
{
	const struct process *p = (const struct process *)process;

	if (!process || !name || !out)
		return fail(err, MAYFLY_E_INVALID, "process, name and out must not be NULL");
	return functions_find(program_guest_of(p->guest), name, out, err);
}

int mayfly_process_call(mayfly_process *process, const mayfly_function *fn,
			const mayfly_value *args, size_t nargs, mayfly_value *result,
			mayfly_error *err)
{
	if (!process || !fn || (!args && nargs))
		return fail(err, MAYFLY_E_INVALID,
			    "process and fn must not be NULL, nor args if there are any");
	return functions_call(process_of(process), fn, args, nargs, result, err);
}

void mayfly_process_interrupt(mayfly_process *process)
{
	if (process)
		process_interrupt(process_of(process));
}

int mayfly_process_signal(mayfly_process *process, int signo, mayfly_error *err)
{
	if (!process)
		return fail(err, MAYFLY_E_INVALID, "process must not be NULL");
	switch (signal_send_outside(process_of(process), signo)) {
	case -EINVAL:
		return fail(err, MAYFLY_E_INVALID, "%d is no signal: they are 1 to %d", signo,
			    SIG_COUNT);
	case -ESRCH:
		return fail(err, MAYFLY_E_PROTOCOL, "the process has ended");
	default:
		return 0;
	}
}

int mayfly_process_snapshot(mayfly_process *process, mayfly_snapshot **out, mayfly_error *err)
{
	if (!process || !out)
		return fail(err, MAYFLY_E_INVALID, "process and out must not be NULL");
	return checkpoint_save(process_of(process), out, err);
}

int mayfly_process_restore(mayfly_process *process, int stdin_fd, int stdout_fd, int stderr_fd,
			   mayfly_error *err)
{
	const int fds[3] = {stdin_fd, stdout_fd, stderr_fd};

	if (!process)
		return fail(err, MAYFLY_E_INVALID, "process must not be NULL");
	return checkpoint_restore(process_of(process), fds, err);
}

uint16_t mayfly_process_published(mayfly_process *process, uint16_t guest_port)
{
	struct process *p = process_of(process);

	return p && p->net ? netpolicy_bound_port(p->net, guest_port) : 0;
}

int mayfly_process_report(mayfly_process *process, mayfly_write_fn write, void *context,
			  mayfly_error *err)
{
	if (!process || !write)
		return fail(err, MAYFLY_E_INVALID, "process and write must not be NULL");
	if (!process_of(process)->trace)
		return fail(err, MAYFLY_E_INVALID,
			    "the process was made without MAYFLY_PROCESS_STATS");
	trace_report(process_of(process)->trace, write, context);
	return 0;
}

int mayfly_process_get_stats(mayfly_process *process, mayfly_process_stats *stats,
			     mayfly_error *err)
{
	mayfly_process_stats s = {.size = sizeof(s)};
	struct process *p = process_of(process);

	if (!process || !stats)
		return fail(err, MAYFLY_E_INVALID, "process and stats must not be NULL");
	s.memory = atomic_load(&p->mm.charged);
	s.peak_memory = p->mm.peak;
	s.cpu_time_ns = process_cpu_ns(p, false);
	s.syscalls = process_syscalls(p);
	s.output = atomic_load(&p->output);
	s.threads = p->ntasks;
	s.files = p->files.open;
	return options_give(stats, &s, sizeof(s), "mayfly_process_stats", err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli.h"
#include "ending.h"
#include "fault.h"
#include "message.h"
#include "samples.h"

/* --- What the library calls ------------------------------------------------------------------- */

/* Trace lines: at once, so that they stand among the program's own output where they belong. */
static void write_trace(void *context, const char *text, size_t len)
{
	struct program *p = context;
	int e = write_whole(p->trace_fd, text, len), none = 0;

	if (e)
		atomic_compare_exchange_strong(&p->trace_errno, &none, e);
}

static void write_report(void *context, const char *text, size_t len)
{
	(void)context;
	fwrite(text, 1, len, stderr);
}

static void print_notice(void *context, const char *line)
{
	(void)context;
	print_note(line);
}

/* --- Beginning -------------------------------------------------------------------------------- */

/* Each file that the program has open is one of ours. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int open_trace(struct program *p)
{
	const char *path = p->options->trace;

	p->trace_fd = -1;
	if (!path)
		return STATUS_OK;
	if (strcmp(path, TRACE_TO_STDERR) == 0)
		p->trace_fd = STDERR_FILENO;
	else
		p->trace_fd =
			open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
	if (p->trace_fd >= 0)
		return STATUS_OK;
	complain("cannot write %s: %s", path, strerror(errno));
	return STATUS_FAILED;
}

int program_init(struct program *p, const struct verb *verb, const struct program_options *o)
{
	mayfly_process_options *library = &p->setup.library;
	int status;

	p->options = o;
	if (!streams_are_open())
		return STATUS_FAILED;
	status = program_setup_init(&p->setup, verb, o);
	if (status == STATUS_OK)
		status = open_trace(p);
	if (status != STATUS_OK)
		return status;
	library->streams = true;
	library->stdin_fd = STDIN_FILENO;
	library->stdout_fd = STDOUT_FILENO;
	library->stderr_fd = STDERR_FILENO;
	library->trace_write = write_trace;
	library->trace_context = p;
	library->notice = print_notice;
	raise_file_limit();
	/* The program is told, by EPIPE and a signal of its own. */
	signal(SIGPIPE, SIG_IGN);
	ending_prepare();
	return STATUS_OK;
}

/* --- Making it -------------------------------------------------------------------------------- */

static int new_status(const mayfly_error *err)
{
	switch (err->code) {
	case MAYFLY_E_IO:
		/* What is not found here is a directory that was to be granted. */
		return err->sys_errno == ENOENT ? STATUS_FAILED : error_status(err);
	default:
		return error_status(err);
	}
}

/* Where it could be; of a path that this host does not have there is nothing to say. */
static void advise_program(const struct program *p)
{
	const char *name = p->setup.library.program;
	bool is_here;

	if (!name)
		return;
	is_here = access(name, F_OK) == 0;
	if (is_here && !strchr(name, '/'))
		complain("a name without a slash is looked for in PATH; the file in this "
			 "directory is ./%s",
			 name);
	else if (!p->options->system && !p->options->root && (is_here || !strchr(name, '/')))
		complain("--system grants the host's installed programs and libraries, --dir "
			 "a directory");
}

static int make(struct program *p)
{
	mayfly_error err;
	int r;

	p->began_ns = now_ns();
	r = mayfly_process_new(&p->setup.library, &p->process, &err);
	p->ready_ns = now_ns();
	if (r == MAYFLY_OK)
		return STATUS_OK;
	complain_library(&err);
	if (r == MAYFLY_E_NO_PROGRAM)
		advise_program(p);
	return new_status(&err);
}

int program_new(struct program *p, char **argv)
{
	mayfly_process_options *library = &p->setup.library;
	const struct program_options *o = p->options;

	library->program = argv[0];
	library->argv = (const char *const *)argv;
	/*
	 * ./a.out is the host's, whatever the guest's directory is; unless that was chosen, or all
	 * names are those of another root.
	 */
	if (!o->root && !o->cwd && argv[0][0] != '/' && strchr(argv[0], '/') &&
	    access(argv[0], F_OK) == 0)
		library->program = program_setup_path(&p->setup, argv[0]);
	return make(p);
}

int program_new_from(struct program *p, mayfly_snapshot *snap, char **argv, int argc)
{
	mayfly_process_options *library = &p->setup.library;

	library->snapshot = snap;
	/* These it has already. */
	library->envp = NULL;
	library->cwd = NULL;
	/* argv[0] stands for the program's name, which does not change. */
	library->argv = argc > 1 ? (const char *const *)argv : NULL;
	return make(p);
}

/* --- Running it ------------------------------------------------------------------------------- */

static void send_signal(void *process, int signal)
{
	mayfly_process_signal(process, signal, NULL);
}

static int run_status(const mayfly_error *err)
{
	return err->code == MAYFLY_E_TIMEOUT ? STATUS_TIME_LIMIT : STATUS_FAILED;
}

int program_run(struct program *p, uint32_t pause_at, mayfly_process_end *end)
{
	mayfly_error err;
	int r;

	if (!ending_watch(send_signal, p->process)) {
		complain("no memory for a thread");
		return STATUS_FAILED;
	}
	end->size = sizeof(*end);
	r = mayfly_process_run(p->process, pause_at, end, &err);
	p->ended_ns = now_ns();
	ending_unwatch(r == MAYFLY_OK && end->end == MAYFLY_END_SIGNAL ? end->status : 0);
	ending_restore();
	if (r == MAYFLY_OK)
		return STATUS_OK;
	complain_library(&err);
	return run_status(&err);
}

/* Not strsignal(3), which gives descriptions. Without a name: those of real time. */
static const char *signal_name(int number)
{
	static const char names[][8] = {
		[SIGHUP] = "HUP",	[SIGINT] = "INT",   [SIGQUIT] = "QUIT",
		[SIGILL] = "ILL",	[SIGTRAP] = "TRAP", [SIGABRT] = "ABRT",
		[SIGBUS] = "BUS",	[SIGFPE] = "FPE",   [SIGKILL] = "KILL",
		[SIGUSR1] = "USR1",	[SIGSEGV] = "SEGV", [SIGUSR2] = "USR2",
		[SIGPIPE] = "PIPE",	[SIGALRM] = "ALRM", [SIGTERM] = "TERM",
		[SIGSTKFLT] = "STKFLT", [SIGXCPU] = "XCPU", [SIGXFSZ] = "XFSZ",
		[SIGVTALRM] = "VTALRM", [SIGPROF] = "PROF", [SIGIO] = "IO",
		[SIGPWR] = "PWR",	[SIGSYS] = "SYS",
	};

	return number > 0 && (size_t)number < COUNT_OF(names) && names[number][0]
		       ? names[number]
		       : "RT";
}

int program_status(const mayfly_process_end *end)
{
	const char *name = signal_name(end->status);

	if (end->end == MAYFLY_END_EXIT)
		return end->status & 0xff;
	/* Of a fault the message begins with the signal. */
	if (strncmp(end->message, "SIG", 3) == 0)
		complain("the program died of %s", end->message);
	else if (end->message[0])
		complain("the program died of SIG%s: %s", name, end->message);
	/* As shells have it: these were meant. */
	else if (end->status != SIGINT && end->status != SIGPIPE && end->status != SIGTERM)
		complain("the program died of SIG%s", name);
	return STATUS_SIGNAL + end->status;
}

/* --- Afterwards ------------------------------------------------------------------------------- */

static void report_stats(struct program *p)
{
	mayfly_process_stats s = {.size = sizeof(s)};
	char memory[GROUPED_SIZE], output[GROUPED_SIZE];

	mayfly_process_report(p->process, write_report, NULL, NULL);
	if (mayfly_process_get_stats(p->process, &s, NULL) != MAYFLY_OK)
		return;
	complain("made in %.1f us, ran for %.1f us, CPU time %.1f us",
		 (double)(p->ready_ns - p->began_ns) / 1e3,
		 (double)(p->ended_ns - p->ready_ns) / 1e3, (double)s.cpu_time_ns / 1e3);
	complain("%" PRIu64 " system calls, %s of memory at most, %s of output", s.syscalls,
		 bytes_text(memory, (double)s.peak_memory),
		 bytes_text(output, (double)s.output));
}

int program_finish(struct program *p, int status)
{
	int e = p->trace_fd == STDERR_FILENO ? 0 : atomic_load(&p->trace_errno);

	if (p->process && p->ended_ns && p->options->stats)
		report_stats(p);
	if (e)
		complain("%s is not complete: %s", p->options->trace, strerror(e));
	/*
	 * The command ends now, and what it has goes with it, all at once: to give it back piece by
	 * piece takes a twentieth of a short program's time. Sanitizers want to see it done.
	 */
	if (SANITIZED) {
		mayfly_process_free(p->process);
		if (p->trace_fd > STDERR_FILENO)
			close(p->trace_fd);
		program_setup_fini(&p->setup);
	}
	ending_die_of_signal();
	return e && status == STATUS_OK ? STATUS_FAILED : status;
}

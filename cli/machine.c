/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "ending.h"
#include "fault.h"
#include "kernel_image.h"
#include "message.h"
#include "terminal.h"

/* What a guest that was asked to shut down has for that. */
#define GRACE_SECONDS 10

static void print_notice(void *context, const char *line)
{
	const struct machine *m = context;

	if (!m->options->quiet)
		print_note(line);
}

/* --- Signals ---------------------------------------------------------------------------------- */

static void end_by(struct machine *m, int signal)
{
	int none = 0;

	/* What it was asked for first is what it ended by. */
	atomic_compare_exchange_strong(&m->ended_by, &none, signal);
	mayfly_machine_interrupt(m->machine);
}

/* It may not have been made yet: machine_run() looks at the signal before it begins. */
static void end_by_key(void *context)
{
	end_by(context, SIGINT);
}

static void resize(const struct machine *m)
{
	uint16_t columns, rows;

	if (!m->options->pty && terminal_size(&columns, &rows))
		mayfly_machine_resize(m->machine, columns, rows);
}

/* On the thread that waits for signals. */
static void on_signal(void *context, int signal)
{
	struct machine *m = context;

	switch (signal) {
	case SIGWINCH:
		resize(m);
		break;
	case SIGCONT:
		/* Perhaps it is in the foreground now, for the first time. */
		if (m->console >= 0 && !m->options->pty)
			terminal_raw();
		resize(m);
		break;
	case SIGTERM:
		if (!m->options->shutdown || m->asked) {
			end_by(m, signal);
			break;
		}
		m->asked = true;
		terminal_type(m->options->shutdown);
		terminal_type("\r");
		alarm(GRACE_SECONDS);
		break;
	case SIGALRM:
		end_by(m, m->asked ? SIGTERM : signal);
		break;
	default:
		end_by(m, signal);
	}
}

/* --- The console ------------------------------------------------------------------------------ */

/* The name alone on a line of its own: scripts read it. */
static int open_pty(struct machine *m)
{
	mayfly_machine_options *library = &m->setup.library;
	char name[64];

	m->console = terminal_pty(name, sizeof(name));
	if (m->console < 0)
		return STATUS_FAILED;
	puts(name);
	if (!stdout_is_complete())
		return STATUS_FAILED;
	library->console_in_plus_one = m->console + 1;
	library->console_out_plus_one = m->console + 1;
	return STATUS_OK;
}

/* Standard input goes by way of a thread where there are keys to look for, or to type. */
static int open_console(struct machine *m)
{
	mayfly_machine_options *library = &m->setup.library;
	bool keys = isatty(STDIN_FILENO);

	if (m->options->pty)
		return open_pty(m);
	library->console_in_plus_one = STDIN_FILENO + 1;
	library->console_out_plus_one = STDOUT_FILENO + 1;
	if (!keys && !m->options->shutdown)
		return STATUS_OK;
	if (keys && !m->options->quiet)
		complain("%s", TERMINAL_KEYS);
	/* Before there are threads, and memory of the guest's: a process comes of it. */
	terminal_raw();
	m->console = terminal_relay(keys, end_by_key, m);
	if (m->console < 0)
		return STATUS_FAILED;
	library->console_in_plus_one = m->console + 1;
	return STATUS_OK;
}

/* --- Beginning -------------------------------------------------------------------------------- */

static int open_trace(struct machine *m)
{
	const char *path = m->options->trace;

	if (!path || strcmp(path, TRACE_BOOT_TEXT) == 0)
		return STATUS_OK;
	m->trace_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (m->trace_fd >= 0)
		return STATUS_OK;
	complain("cannot write %s: %s", path, strerror(errno));
	return STATUS_FAILED;
}

/*
 * The thread that waits for signals is started when the machine runs, not before: to start one
 * takes a twentieth of the time to the guest's first instruction.
 */
static void on_event(void *context, const mayfly_event *event)
{
	struct machine *m = context;

	if (strcmp(event->name, "running") != 0 || ending_watch(on_signal, m))
		return;
	complain("no memory for a thread");
	mayfly_machine_interrupt(m->machine);
}

int machine_init(struct machine *m, const struct verb *verb, const struct boot_options *o)
{
	int status;

	m->options = o;
	m->console = m->trace_fd = -1;
	if (o->shutdown && o->pty)
		return usage_error(verb, "--shutdown needs the console that --pty takes away");
	status = boot_setup_init(&m->setup, verb, o);
	if (status == STATUS_OK)
		status = open_trace(m);
	if (status != STATUS_OK)
		return status;
	m->setup.library.notice = print_notice;
	m->setup.library.notice_context = m;
	m->setup.library.event = on_event;
	m->setup.library.event_context = m;
	signal(SIGPIPE, SIG_IGN);
	ending_prepare();
	return STATUS_OK;
}

/*
 * Whether the message names what the library was given as the kernel; then it names `kernel`
 * instead, as which the user knows what was unpacked.
 */
static bool name_kernel(mayfly_error *err, const char *given, const char *kernel)
{
	char message[sizeof(err->message)];
	char *at = given ? strstr(err->message, given) : NULL;

	if (!at)
		return false;
	snprintf(message, sizeof(message), "%.*s%s%s", (int)(at - err->message), err->message,
		 kernel, at + strlen(given));
	memcpy(err->message, message, sizeof(message));
	return true;
}

/* `kernel`: what the user calls it; NULL: there is none, but a snapshot. */
static int make(struct machine *m, const char *kernel)
{
	mayfly_error err;
	int status = open_console(m);
	bool of_kernel;

	if (status != STATUS_OK)
		return status;
	if (mayfly_machine_new(&m->setup.library, &m->machine, &err) == MAYFLY_OK)
		return STATUS_OK;
	of_kernel = name_kernel(&err, m->setup.library.kernel, kernel);
	complain_library(&err);
	/* The kernel is there: what is not is a disk, say. */
	return err.code == MAYFLY_E_FORMAT || (err.code == MAYFLY_E_UNSUPPORTED && of_kernel)
		       ? STATUS_NOT_EXECUTABLE
		       : STATUS_FAILED;
}

static int check_kernel(const char *kernel)
{
	/* Non-blocking: a FIFO must not hang us. */
	int fd = open(kernel, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st = {.st_size = 0};
	int e = fd < 0 ? errno : fstat(fd, &st) != 0 ? errno : S_ISDIR(st.st_mode) ? EISDIR : 0;

	if (fd >= 0)
		close(fd);
	if (e) {
		complain("cannot open %s: %s", kernel, strerror(e));
		return errno_status(e);
	}
	if (S_ISREG(st.st_mode) && st.st_size > 0)
		return STATUS_OK;
	complain("%s is no kernel: %s", kernel,
		 S_ISREG(st.st_mode) ? "the file is empty" : "it is not a regular file");
	return STATUS_NOT_EXECUTABLE;
}

int machine_new(struct machine *m, const char *kernel)
{
	struct kernel_image image;
	char note[192];
	int status = check_kernel(kernel);

	if (status != STATUS_OK)
		return status;
	kernel_image_open(kernel, &image);
	if (image.why[0]) {
		snprintf(note, sizeof(note), "the kernel unpacks itself, which is slow: %s",
			 image.why);
		print_notice(m, note);
	}
	m->setup.library.kernel = image.path;
	/* What was unpacked is ours alone, and is written once. */
	if (image.fd >= 0)
		m->setup.library.flags |= MAYFLY_MACHINE_MAP_KERNEL;
	status = make(m, kernel);
	kernel_image_close(&image);
	return status;
}

int machine_new_from(struct machine *m, const char *path)
{
	mayfly_snapshot_info info = {.size = sizeof(info)};
	mayfly_snapshot *snap;
	mayfly_error err;
	int status;

	if (mayfly_snapshot_open(path, &snap, &err) != MAYFLY_OK) {
		complain_library(&err);
		return error_status(&err);
	}
	m->setup.library.snapshot = snap;
	mayfly_snapshot_get_info(snap, &info, NULL);
	if (info.machine) {
		status = make(m, NULL);
	} else {
		complain("%s is no snapshot of a machine: 'mayfly %s' continues it", path,
			 info.program ? "run --from" : "call");
		status = STATUS_NOT_EXECUTABLE;
	}
	mayfly_snapshot_unref(snap);
	return status;
}

/* --- Running it ------------------------------------------------------------------------------- */

/* What the user would not see otherwise. */
static void report_end(struct machine *m, const mayfly_machine_end *end)
{
	char note[160], at[32] = "";

	if (end->console_errno) {
		complain("cannot write to %s: %s",
			 m->options->pty ? "the pseudoterminal" : "standard output",
			 strerror(end->console_errno));
		m->lost = true;
	}
	if (!end->triple_fault)
		return;
	if (end->fault_has_ip)
		snprintf(at, sizeof(at), " at 0x%llx", (unsigned long long)end->fault_ip);
	snprintf(note, sizeof(note),
		 "the guest faulted thrice (CPU %u%s): a crash, unless that is how it reboots",
		 end->fault_cpu, at);
	print_notice(m, note);
}

int machine_run(struct machine *m, const mayfly_machine_pause *pause, mayfly_machine_end *end)
{
	mayfly_error err;
	int by, r;

	resize(m);
	/* By a key, before there was a machine to interrupt. */
	if (atomic_load(&m->ended_by))
		mayfly_machine_interrupt(m->machine);
	*end = (mayfly_machine_end){.size = sizeof(*end)};
	r = mayfly_machine_run(m->machine, pause, end, &err);
	m->ran = true;
	by = r == MAYFLY_E_INTERRUPTED ? atomic_load(&m->ended_by) : 0;
	ending_unwatch(by);
	terminal_restore();
	report_end(m, end);
	if (r == MAYFLY_OK)
		return STATUS_OK;
	if (by)
		return STATUS_SIGNAL + by;
	complain_library(&err);
	return r == MAYFLY_E_TIMEOUT ? STATUS_TIME_LIMIT : STATUS_FAILED;
}

int machine_status(const mayfly_machine_end *end)
{
	return end->reason == MAYFLY_MACHINE_EXIT ? end->status & 0xff : STATUS_OK;
}

/* --- Afterwards ------------------------------------------------------------------------------- */

static void write_trace(void *context, const char *text, size_t len)
{
	struct machine *m = context;

	if (m->trace_fd < 0)
		fwrite(text, 1, len, stderr);
	else if (!m->trace_errno)
		m->trace_errno = write_whole(m->trace_fd, text, len);
}

static void print_timeline(struct machine *m)
{
	uint32_t format = m->trace_fd < 0 ? MAYFLY_TIMELINE_TEXT : MAYFLY_TIMELINE_CHROME;
	mayfly_error err;

	if (mayfly_machine_timeline(m->machine, format, m->began_ns, write_trace, m, &err) !=
	    MAYFLY_OK) {
		complain_library(&err);
		m->lost = true;
	}
	/* Some file systems tell only now that there was no room: close(2). */
	if (m->trace_fd >= 0 && close(m->trace_fd) != 0 && !m->trace_errno)
		m->trace_errno = errno;
	m->trace_fd = -1;
	if (!m->trace_errno)
		return;
	complain("%s is not complete: %s", m->options->trace, strerror(m->trace_errno));
	m->lost = true;
}

int machine_fini(struct machine *m, int status)
{
	if (m->machine && m->ran && m->options->trace)
		print_timeline(m);
	terminal_restore();
	mayfly_machine_free(m->machine);
	ending_restore();
	if (m->trace_fd >= 0)
		close(m->trace_fd);
	if (m->console >= 0)
		close(m->console);
	boot_setup_fini(&m->setup);
	ending_die_of_signal();
	return m->lost && status == STATUS_OK ? STATUS_FAILED : status;
}

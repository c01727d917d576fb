/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly call: one function of a guest, in a micro-VM of its own. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "fault.h"
#include "mayfly.h"
#include "message.h"
#include "options.h"
#include "samples.h"
#include "value.h"

#define MAX_REPEAT 10000000u		    /* a sample of 8 bytes each */
#define DEFAULT_MEMORY ((uint64_t)16 << 20) /* what the library's default is */
#define AREA_SLACK ((uint64_t)64 << 10)
#define GRANULE ((uint64_t)64 << 10)

struct call_options {
	uint64_t timeout;
	uint64_t cpu_time;
	uint64_t memory;
	uint64_t stack;
	uint64_t call_area;
	uint64_t repeat;
	const char *core;
	const char *print;
	const char *snapshot_out;
	bool fresh;
	bool hex;
	bool list;
	bool stats;
	bool tsc;
};

#define FIELD(f) .offset = offsetof(struct call_options, f)
static const struct option_spec call_options[] = {
	{.name = "timeout",
	 .letter = 't',
	 .type = OPTION_TIME,
	 .argument = "TIME",
	 FIELD(timeout),
	 .help = "Stop a call after this much time has passed; exit status 124. 0: no limit."},
	{.name = "cpu-time",
	 .type = OPTION_TIME,
	 .argument = "TIME",
	 FIELD(cpu_time),
	 .help = "Stop it after this much CPU time, of all calls together or, with --fresh, "
		 "of each; exit status 124. 0: no limit."},
	{.name = "memory",
	 .letter = 'm',
	 .type = OPTION_SIZE,
	 .argument = "SIZE",
	 FIELD(memory),
	 .help = "All that the guest can ever occupy. Default, or 0: 16M."},
	{.name = "stack",
	 .type = OPTION_SIZE,
	 .argument = "SIZE",
	 FIELD(stack),
	 .help = "Its stack. Default 256K."},
	{.name = "call-area",
	 .type = OPTION_SIZE,
	 .argument = "SIZE",
	 FIELD(call_area),
	 .help = "Room for the strings and bytes among the arguments. Default: 64K, or what "
		 "they need."},
	{.name = "repeat",
	 .letter = 'n',
	 .type = OPTION_COUNT,
	 .max = MAX_REPEAT,
	 .argument = "N",
	 FIELD(repeat),
	 .help = "Call N times; print the last result, and how long the calls took to "
		 "standard error."},
	{.name = "fresh",
	 .letter = 'f',
	 .type = OPTION_FLAG,
	 FIELD(fresh),
	 .help = "Restore the guest before each call, so that none sees what another left. "
		 "The restore counts into the time."},
	{.name = "print",
	 .letter = 'p',
	 .type = OPTION_WORD,
	 .fallback = "stderr",
	 .words = "stderr stdout",
	 .argument = "WHERE",
	 FIELD(print),
	 .help = "Let the guest print, to stderr (the default) or stdout. Without this it "
		 "cannot."},
	{.name = "tsc",
	 .type = OPTION_FLAG,
	 FIELD(tsc),
	 .help = "Let the guest read the time-stamp counter."},
	{.name = "hex",
	 .letter = 'x',
	 .type = OPTION_FLAG,
	 FIELD(hex),
	 .help = "Print a result of type bytes as hexadecimal digits."},
	{.name = "core",
	 .type = OPTION_FILE,
	 .argument = "FILE",
	 FIELD(core),
	 .help = "Write a core file for gdb if the call fails in the guest."},
	{.name = "snapshot-out",
	 .type = OPTION_FILE,
	 .argument = "FILE",
	 FIELD(snapshot_out),
	 .help = "Save the guest as it is after the last call. The file can stand for GUEST."},
	{.name = "list",
	 .letter = 'l',
	 .type = OPTION_FLAG,
	 FIELD(list),
	 .help = "Print the functions that the guest exports and imports, call none."},
	{.name = "stats",
	 .type = OPTION_FLAG,
	 FIELD(stats),
	 .help = "Print what was counted to standard error."},
};
#undef FIELD

static const char call_details[] =
	"GUEST is an ELF file made with mayfly_guest.h, or a snapshot saved by "
	"--snapshot-out.\n"
	"The function's signature says how each ARG is read:\n"
	"  bool                 true, false, 1, 0\n"
	"  i32, u32, i64, u64   42, -42, 0x2a, 0b101010\n"
	"  f32, f64             1.5, 1e-3, inf, nan, nan(0xBITS), bits:0x7ff8000000000000\n"
	"  string               as it is\n"
	"  bytes                as it is; @FILE its contents; @- standard input;\n"
	"                       hex:00ff digits; text:... or @@... text that looks like these\n"
	"The type may be written in front, i64:5, and must then be the signature's.\n"
	"\n"
	"The result goes to standard output. Exit status: 0; 124 a time limit was reached;\n"
	"125 mayfly failed; 126 GUEST is not a guest; 127 no such GUEST or FUNCTION;\n"
	"128+n the guest died of what Linux would signal with n.\n";

/* What one run of the verb holds; call_fini() frees it. */
struct call {
	struct call_options options;
	const char *guest;
	const char *function;
	bool is_elf;
	mayfly_snapshot *snap;
	const mayfly_function *fn;
	struct argument args[MAYFLY_MAX_ARGS];
	mayfly_value values[MAYFLY_MAX_ARGS];
	size_t nargs;
	mayfly_sandbox *sb;
	struct samples samples;
	uint64_t load_ns;
	uint64_t spawn_ns;
};

static void call_fini(struct call *c)
{
	mayfly_sandbox_free(c->sb);
	mayfly_snapshot_unref(c->snap);
	arguments_fini(c->args, c->nargs);
	samples_fini(&c->samples);
}

/* --- Loading --------------------------------------------------------------------------------- */

/* Whether the file begins as ELF files do; complains and gives a status if it cannot be read. */
static int look_at_guest(const char *path, bool *ret_is_elf)
{
	struct stat st;
	char magic[4] = "";
	ssize_t n;
	/* Not waiting for anybody at the other end, should it be a pipe. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), e;

	if (fd < 0) {
		e = errno;
		complain("cannot open %s: %s", path, strerror(e));
		return errno_status(e);
	}
	/* The rest is left to the library, which opens the file again, and by its own rules. */
	n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? pread(fd, magic, sizeof(magic), 0)
						       : -1;
	e = S_ISDIR(st.st_mode) ? EISDIR : 0;
	close(fd);
	if (n < 0) {
		complain("%s: %s", path, e ? strerror(e) : "not a file");
		return STATUS_NOT_EXECUTABLE;
	}
	*ret_is_elf = n == sizeof(magic) && memcmp(magic, "\177ELF", sizeof(magic)) == 0;
	return STATUS_OK;
}

static int load(struct call *c)
{
	mayfly_load_options options = MAYFLY_LOAD_OPTIONS_INIT;
	uint64_t start = now_ns();
	mayfly_error err;
	int r;

	options.memory = c->options.memory;
	options.stack = c->options.stack;
	options.call_area = c->options.call_area;
	if (c->is_elf)
		r = mayfly_load_file(c->guest, &options, &c->snap, &err);
	else
		r = mayfly_snapshot_open(c->guest, &c->snap, &err);
	c->load_ns = now_ns() - start;
	if (r == MAYFLY_OK)
		return STATUS_OK;
	if (!c->is_elf && r == MAYFLY_E_FORMAT)
		complain("%s is no ELF file and no whole snapshot: %s", c->guest, err.message);
	else
		complain_library(&err);
	return error_status(&err);
}

static int open_guest(struct call *c)
{
	const struct call_options *o = &c->options;
	int status = look_at_guest(c->guest, &c->is_elf);

	if (status != STATUS_OK)
		return status;
	if (!c->is_elf && (o->memory || o->stack || o->call_area))
		return usage_error(
			&verb_call,
			"%s is no ELF file; --memory, --stack and --call-area are fixed in a "
			"snapshot",
			c->guest);
	return load(c);
}

/* A machine has no functions; a program's cannot be called here, but --list shows them. */
static int check_kind(const struct call *c)
{
	mayfly_snapshot_info info = {.size = sizeof(info)};

	mayfly_snapshot_get_info(c->snap, &info, NULL);
	return info.machine || (info.program && !c->options.list)
		       ? wrong_snapshot(c->guest, &info)
		       : STATUS_OK;
}

static int find_function(struct call *c)
{
	mayfly_error err;

	if (mayfly_snapshot_function(c->snap, c->function, &c->fn, &err) == MAYFLY_OK)
		return STATUS_OK;
	complain("%s: %s", c->guest, err.message);
	return err.code == MAYFLY_E_NO_FUNCTION ? STATUS_NOT_FOUND : STATUS_FAILED;
}

/* Make the call area as large as the arguments need, which the signature had to tell first. */
static int fit_call_area(struct call *c)
{
	uint64_t need = arguments_area(c->args, c->nargs);
	mayfly_snapshot_info info = {.size = sizeof(info)};

	if (mayfly_snapshot_get_info(c->snap, &info, NULL) != MAYFLY_OK ||
	    need <= info.call_area)
		return STATUS_OK;
	if (!c->is_elf || c->options.call_area) {
		complain("the arguments need %" PRIu64
			 " bytes of call area, but there are %" PRIu64 ": %s",
			 need, info.call_area,
			 c->is_elf ? "give a larger --call-area, or none"
				   : "save the snapshot anew with a larger --call-area");
		return STATUS_FAILED;
	}
	c->options.call_area = (need + AREA_SLACK + GRANULE - 1) / GRANULE * GRANULE;
	if (!c->options.memory)
		c->options.memory = DEFAULT_MEMORY + c->options.call_area;
	mayfly_snapshot_unref(c->snap);
	c->snap = NULL;
	if (load(c) != STATUS_OK)
		return STATUS_FAILED;
	return find_function(c);
}

static int list(const struct call *c)
{
	const char *name, *signature;
	const mayfly_function *fn;

	for (uint32_t i = 0; (fn = mayfly_snapshot_function_at(c->snap, i)); i++)
		printf("export %s %s\n", mayfly_function_name(fn),
		       mayfly_function_signature(fn));
	for (uint32_t i = 0; mayfly_snapshot_import_at(c->snap, i, &name, &signature); i++)
		printf("import %s %s\n", name, signature);
	return STATUS_OK;
}

/* --- Calling --------------------------------------------------------------------------------- */

static void print_sink(void *context, const char *text, size_t len)
{
	FILE *out = context;

	if (isatty(fileno(out)))
		print_visible(out, text, len, true);
	else
		fwrite(text, 1, len, out);
	fflush(out);
}

static int spawn(struct call *c)
{
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	const struct call_options *o = &c->options;
	uint64_t start = now_ns();
	mayfly_error err;

	options.timeout_ns = o->timeout;
	options.cpu_time_ns = o->cpu_time;
	options.flags = o->tsc ? MAYFLY_SANDBOX_ALLOW_TSC : 0;
	if (o->print) {
		options.print = print_sink;
		options.print_context = strcmp(o->print, "stdout") == 0 ? stdout : stderr;
	}
	if (mayfly_sandbox_new(c->snap, &options, &c->sb, &err) != MAYFLY_OK) {
		complain_library(&err);
		return STATUS_FAILED;
	}
	c->spawn_ns = now_ns() - start;
	return STATUS_OK;
}

static int call_once(struct call *c, mayfly_value *result, mayfly_error *err)
{
	uint64_t start = now_ns();
	int r = MAYFLY_OK;

	if (c->options.fresh)
		r = mayfly_sandbox_restore(c->sb, NULL, err);
	if (r == MAYFLY_OK)
		r = mayfly_sandbox_call(c->sb, c->fn, c->values, c->nargs, result, err);
	samples_add(&c->samples, now_ns() - start);
	return r;
}

static int call_all(struct call *c)
{
	uint64_t times = c->options.repeat ? c->options.repeat : 1;
	mayfly_value result = {.type = MAYFLY_VOID};
	enum result_form form = RESULT_RAW;
	mayfly_error err;

	for (uint64_t i = 0; i < times; i++) {
		if (call_once(c, &result, &err) == MAYFLY_OK)
			continue;
		if (times > 1)
			complain("call %" PRIu64 " of %" PRIu64 " failed", i + 1, times);
		return fault_report(c->sb, c->guest, c->options.core, &err);
	}
	/* Before the next operation on the sandbox, which ends the life of a string result. */
	if (c->options.hex && result.type == MAYFLY_BYTES)
		form = RESULT_HEX;
	else if (isatty(STDOUT_FILENO))
		form = RESULT_VISIBLE;
	result_print(stdout, &result, form);
	return stdout_is_complete() ? STATUS_OK : STATUS_FAILED;
}

/* --- Afterwards ------------------------------------------------------------------------------ */

static void report_times(struct call *c)
{
	struct distribution d = samples_distribution(&c->samples);
	char n[GROUPED_SIZE];

	complain("%s %s, in us: min %.1f, p50 %.1f, p90 %.1f, p99 %.1f, p99.9 %.1f, max %.1f",
		 grouped(n, d.n), c->options.fresh ? "restores and calls" : "calls",
		 (double)d.min / 1e3, (double)d.p50 / 1e3, (double)d.p90 / 1e3,
		 (double)d.p99 / 1e3, (double)d.p999 / 1e3, (double)d.max / 1e3);
}

static void report_stats(const struct call *c)
{
	mayfly_sandbox_stats s = {.size = sizeof(s)};
	mayfly_snapshot_info info = {.size = sizeof(info)};

	if (mayfly_sandbox_get_stats(c->sb, &s, NULL) != MAYFLY_OK ||
	    mayfly_snapshot_get_info(c->snap, &info, NULL) != MAYFLY_OK)
		return;
	complain("load %.1f us, spawn %.1f us", (double)c->load_ns / 1e3,
		 (double)c->spawn_ns / 1e3);
	complain("memory %" PRIu64 ", stack %" PRIu64 ", call area %" PRIu64 ", heap %" PRIu64
		 " bytes; the snapshot holds %" PRIu64 ", the sandbox %" PRIu64 " of its own",
		 info.memory, info.stack, info.call_area, info.heap, info.resident,
		 s.private_bytes);
	complain("%" PRIu64 " calls, %" PRIu64 " calls of host functions, %" PRIu64
		 " restores, %" PRIu64 " pages restored, the last time %" PRIu64,
		 s.calls, s.host_calls, s.restores, s.pages_restored, s.last_restored);
	if (c->options.cpu_time)
		complain("CPU time %.1f us", (double)s.cpu_time_ns / 1e3);
}

static int save_snapshot(const struct call *c)
{
	mayfly_snapshot *snap = NULL;
	mayfly_error err;
	int r = mayfly_sandbox_snapshot(c->sb, &snap, &err);

	if (r == MAYFLY_OK)
		r = mayfly_snapshot_save(snap, c->options.snapshot_out, &err);
	if (r != MAYFLY_OK)
		complain("no snapshot was saved: %s", err.message);
	mayfly_snapshot_unref(snap);
	return r == MAYFLY_OK ? STATUS_OK : STATUS_FAILED;
}

static int call_function(struct call *c, int argc, char **argv)
{
	mayfly_error err;
	int status;

	c->function = argv[0];
	status = find_function(c);
	if (status != STATUS_OK)
		return status;
	if (arguments_parse(c->fn, argc - 1, argv + 1, c->args, &err) != MAYFLY_OK) {
		complain("%s", err.message);
		return STATUS_FAILED;
	}
	c->nargs = mayfly_function_arg_count(c->fn);
	for (size_t i = 0; i < c->nargs; i++)
		c->values[i] = c->args[i].value;
	status = fit_call_area(c);
	if (status == STATUS_OK)
		status = spawn(c);
	if (status != STATUS_OK)
		return status;
	status = call_all(c);
	if (c->options.repeat && c->samples.n)
		report_times(c);
	if (c->options.stats)
		report_stats(c);
	if (status == STATUS_OK && c->options.snapshot_out)
		status = save_snapshot(c);
	return status;
}

static int run_call(int argc, char **argv)
{
	struct call c = {.guest = NULL};
	int first = options_parse(&verb_call, argc, argv, &c.options);
	int status;

	if (first < 0)
		return first == OPTIONS_SHOWN ? STATUS_OK : STATUS_FAILED;
	argc -= first;
	argv += first;
	if (argc < 1)
		return usage_error(&verb_call, "a GUEST is missing");
	if (c.options.list && argc > 1)
		return usage_error(&verb_call, "--list takes a GUEST and nothing else");
	if (!c.options.list && argc < 2)
		return usage_error(&verb_call,
				   "a FUNCTION is missing; --list shows what there is");
	c.guest = argv[0];
	status = open_guest(&c);
	if (status == STATUS_OK)
		status = check_kind(&c);
	if (status == STATUS_OK)
		status = c.options.list ? list(&c) : call_function(&c, argc - 1, argv + 1);
	call_fini(&c);
	return status;
}

const struct verb verb_call = {
	.name = "call",
	.summary = "One function of a guest, in a micro-VM of its own.",
	.synopsis = "GUEST FUNCTION [ARG...]",
	.details = call_details,
	.operands = OPERANDS_CALL,
	.options = call_options,
	.noptions = COUNT_OF(call_options),
	.run = run_call,
};

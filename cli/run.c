/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly run: a Linux program, in a micro-VM of its own. */
#include "cli.h"
#include "fault.h"
#include "message.h"
#include "options.h"
#include "program.h"

struct run_options {
	struct program_options program;
	const char *from;
};

static const struct option_spec run_options[] = {
	{.name = "from",
	 .letter = 'f',
	 .type = OPTION_FILE,
	 .argument = "FILE",
	 .offset = offsetof(struct run_options, from),
	 .help = "Continue a program that 'mayfly snapshot' saved, with the operands as its "
		 "arguments."},
};

static const char run_details[] =
	"PROGRAM is a path, or a name that is looked for in PATH within what was granted.\n"
	"It sees its own executable, its standard streams, /dev/null, zero, full, random and\n"
	"urandom, an empty /tmp and /dev/shm in memory, a small /proc, and what the options\n"
	"grant.\n"
	"  mayfly run ./a.out                     nothing more\n"
	"  mayfly run --system python3 -c ...     an installed program\n"
	"  mayfly run --system --dir . make.py    and the files of this directory, read-only\n"
	"\n"
	"Exit status: the program's own; 124 a time limit was reached; 125 mayfly failed;\n"
	"126 PROGRAM is not executable; 127 no such PROGRAM; 128+n it died of signal n.\n";

/* What a snapshot has in it cannot be given once more. */
static int check_from(const struct run_options *o)
{
	const struct program_options *p = &o->program;
	const char *option = p->env.n ? "env" : p->env_all ? "env-all" : p->cwd ? "cwd" : NULL;

	if (!option)
		return STATUS_OK;
	return usage_error(&verb_run,
			   "--%s is fixed in a snapshot: give it to 'mayfly snapshot'", option);
}

/* It did not run: because it is a snapshot? */
static void advise_from(const char *file)
{
	mayfly_snapshot_info info = {.size = sizeof(info)};
	mayfly_snapshot *snap;

	if (mayfly_snapshot_open(file, &snap, NULL) != MAYFLY_OK)
		return;
	mayfly_snapshot_get_info(snap, &info, NULL);
	if (info.program)
		complain("%s is a snapshot: 'mayfly run --from %s' continues it", file, file);
	mayfly_snapshot_unref(snap);
}

static int make(struct program *p, const struct run_options *o, int argc, char **argv)
{
	mayfly_snapshot_info info = {.size = sizeof(info)};
	mayfly_snapshot *snap;
	mayfly_error err;
	int status;

	if (!o->from) {
		status = program_new(p, argv);
		if (status == STATUS_NOT_EXECUTABLE || status == STATUS_NOT_FOUND)
			advise_from(argv[0]);
		return status;
	}
	if (mayfly_snapshot_open(o->from, &snap, &err) != MAYFLY_OK) {
		complain_library(&err);
		return error_status(&err);
	}
	mayfly_snapshot_get_info(snap, &info, NULL);
	if (info.program)
		status = program_new_from(p, snap, argv - 1, argc + 1);
	else
		status = wrong_snapshot(o->from, &info);
	mayfly_snapshot_unref(snap);
	return status;
}

static int run(const struct run_options *o, int argc, char **argv)
{
	struct program p = {.trace_fd = -1};
	mayfly_process_end end;
	int status = program_init(&p, &verb_run, &o->program);

	if (status == STATUS_OK)
		status = make(&p, o, argc, argv);
	if (status == STATUS_OK)
		status = program_run(&p, 0, &end);
	if (status == STATUS_OK)
		status = program_status(&end);
	return program_finish(&p, status);
}

static int run_run(int argc, char **argv)
{
	struct run_options options = {.from = NULL};
	int first = options_parse(&verb_run, argc, argv, &options);
	int status;

	if (first < 0)
		status = first == OPTIONS_SHOWN ? STATUS_OK : STATUS_FAILED;
	else if (!options.from && first == argc)
		status = usage_error(&verb_run, "a PROGRAM is missing");
	else if (options.from && check_from(&options) != STATUS_OK)
		status = STATUS_FAILED;
	else
		status = run(&options, argc - first, argv + first);
	program_options_fini(&options.program);
	return status;
}

const struct verb verb_run = {
	.name = "run",
	.summary = "A Linux program, in a micro-VM of its own.",
	.synopsis = "[--] PROGRAM [ARG...]\n"
		    "       mayfly run [options] --from FILE [--] [ARG...]",
	.details = run_details,
	.operands = OPERANDS_PROGRAM,
	.options = run_options,
	.noptions = COUNT_OF(run_options),
	.shared = &program_option_table,
	.run = run_run,
};

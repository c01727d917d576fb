/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly snapshot: run a program, or boot a kernel, up to a point, and save it there. Which of the
 * two it is, the kind of point says; each has options of its own.
 */
#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "fault.h"
#include "message.h"
#include "options.h"
#include "program.h"
#include "snapshot.h"

struct snapshot_options {
	struct program_options program;
	const char *output;
	const char *when;
};

#define FIELD(f) .offset = offsetof(struct snapshot_options, f)
static const struct option_spec snapshot_options[] = {
	{.name = "output",
	 .letter = 'o',
	 .type = OPTION_FILE,
	 .argument = "FILE",
	 FIELD(output),
	 .help = "Where to save it."},
	{.name = "when",
	 .letter = 'w',
	 .type = OPTION_TEXT,
	 .words = "stdin main ready console: port",
	 .argument = "WHEN",
	 FIELD(when),
	 .help = "stdin: before it first reads standard input; main: at the entry of main(); "
		 "ready: when it calls mayfly_ready() of mayfly_program.h. console:TEXT, port "
		 "or "
		 "a TIME: of a kernel, see below."},
};
#undef FIELD

static const char snapshot_details[] =
	"The program runs up to that point, with the standard streams of mayfly and what the\n"
	"options grant, and is saved there. 'mayfly run --from FILE' continues it, as often "
	"as\n"
	"one likes. Files that it had open are opened again: grant them there, too.\n"
	"  mayfly snapshot -o py.snap --when stdin --system -- python3 -c '...' </dev/null\n"
	"  mayfly run --system --from py.snap <input\n"
	"\n"
	"Of a kernel, with the options of 'mayfly boot', which --help shows behind --when:\n"
	"  mayfly snapshot -o FILE --when console:TEXT|port|TIME [options] KERNEL\n"
	"It is saved once its console has shown TEXT, when it writes the snapshot mark to its\n"
	"port, or after TIME. 'mayfly boot --from FILE' continues it.\n"
	"\n"
	"Exit status: 0; 124 a time limit was reached; 125 mayfly failed, or the guest ended\n"
	"before; 126 PROGRAM or KERNEL is none; 127 there is none.\n";

struct point {
	const char *word;
	uint32_t bit;
	const char *text;
};

static const struct point points[] = {
	{"stdin", MAYFLY_PAUSE_STDIN, "it read its standard input"},
	{"main", MAYFLY_PAUSE_MAIN, "main() was entered"},
	{"ready", MAYFLY_PAUSE_READY, "it called mayfly_ready()"},
};

static const struct point *find_point(const char *word)
{
	for (size_t i = 0; i < COUNT_OF(points); i++)
		if (strcmp(points[i].word, word) == 0)
			return &points[i];
	usage_error(&verb_snapshot,
		    "--when: '%.60s' is none of: stdin, main, ready (of a program), "
		    "console:TEXT, port, a TIME such as 5s (of a kernel)",
		    word);
	return NULL;
}

static int ended_early(const mayfly_process_end *end, const struct point *point)
{
	if (end->end == MAYFLY_END_EXIT) {
		complain("the program exited with status %d before %s: nothing was saved",
			 end->status, point->text);
	} else {
		program_status(end);
		complain("the program died of signal %d before %s: nothing was saved",
			 end->status, point->text);
	}
	return STATUS_FAILED;
}

bool snapshot_has_place(const char *path)
{
	size_t len = strlen(path);
	char *beside = xrealloc(NULL, len + 1, 1);
	struct stat st;
	int e = 0;

	memcpy(beside, path, len + 1);
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		e = EISDIR;
	/* May change the copy: dirname(3). */
	else if (access(dirname(beside), W_OK | X_OK) != 0)
		e = errno;
	free(beside);
	if (e)
		complain("no snapshot was saved: %s: %s", path, strerror(e));
	return e == 0;
}

int snapshot_save(int r, mayfly_snapshot *snap, const char *path, mayfly_error *err)
{
	if (r == MAYFLY_OK)
		r = mayfly_snapshot_save(snap, path, err);
	if (r != MAYFLY_OK)
		complain("no snapshot was saved: %s", err->message);
	mayfly_snapshot_unref(snap);
	return r == MAYFLY_OK ? STATUS_OK : STATUS_FAILED;
}

static int save(const struct program *p, const char *path)
{
	mayfly_snapshot *snap = NULL;
	mayfly_error err;
	int r = mayfly_process_snapshot(p->process, &snap, &err);

	return snapshot_save(r, snap, path, &err);
}

static int take(const struct snapshot_options *o, char **argv)
{
	const struct point *point = find_point(o->when);
	struct program p = {.trace_fd = -1};
	mayfly_process_end end;
	int status = point && snapshot_has_place(o->output)
			     ? program_init(&p, &verb_snapshot, &o->program)
			     : STATUS_FAILED;

	if (status == STATUS_OK)
		status = program_new(&p, argv);
	if (status == STATUS_OK)
		status = program_run(&p, point->bit, &end);
	if (status == STATUS_OK)
		status = end.end == MAYFLY_END_PAUSE ? save(&p, o->output)
						     : ended_early(&end, point);
	return program_finish(&p, status);
}

/*
 * --when's argument, before it is known which options there are: its name is the same, and what
 * it is the other table's options are told by. NULL: there is none.
 */
static const char *when_of(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		const char *word = argv[i];
		size_t n = strcspn(word, "=");

		if (n > 2 && n <= strlen("--when") && strncmp(word, "--when", n) == 0)
			return word[n] ? word + n + 1 : argv[i + 1];
		if (word[0] == '-' && word[1] == 'w')
			return word[2] ? word + 2 : argv[i + 1];
	}
	return NULL;
}

static int run_snapshot(int argc, char **argv)
{
	struct snapshot_options options = {.output = NULL};
	const char *when = when_of(argc, argv);
	int first, status;

	if (when && snapshot_is_of_machine(when))
		return verb_snapshot_machine.run(argc, argv);
	first = options_parse(&verb_snapshot, argc, argv, &options);
	if (first < 0)
		status = first == OPTIONS_SHOWN ? STATUS_OK : STATUS_FAILED;
	else if (!options.output)
		status = usage_error(&verb_snapshot, "-o FILE is missing: where to save it");
	else if (!options.when)
		status = usage_error(&verb_snapshot,
				     "--when is missing: stdin, main or ready, or "
				     "console:TEXT, port or a TIME");
	else if (first == argc)
		status = usage_error(&verb_snapshot, "a PROGRAM is missing");
	else
		status = take(&options, argv + first);
	program_options_fini(&options.program);
	return status;
}

const struct verb verb_snapshot = {
	.name = "snapshot",
	.summary = "Run a program or kernel up to a point, and save it there.",
	.synopsis = "-o FILE --when WHEN [--] PROGRAM [ARG...]",
	.details = snapshot_details,
	.operands = OPERANDS_PROGRAM,
	.options = snapshot_options,
	.noptions = COUNT_OF(snapshot_options),
	.shared = &program_option_table,
	.run = run_snapshot,
};

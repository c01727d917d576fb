/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot.h"

#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "machine.h"
#include "message.h"
#include "options.h"
#include "parse.h"
#include "samples.h"

#define CONSOLE "console:"

struct options {
	struct boot_options boot;
	const char *output;
	const char *when;
};

#define FIELD(f) .offset = offsetof(struct options, f)
static const struct option_spec specs[] = {
	{.name = "output",
	 .letter = 'o',
	 .type = OPTION_FILE,
	 .argument = "FILE",
	 FIELD(output),
	 .help = "Where to save it."},
	{.name = "when",
	 .letter = 'w',
	 .type = OPTION_TEXT,
	 .argument = "WHEN",
	 FIELD(when),
	 .help = "console:TEXT: once its console has shown TEXT; port: when it writes the "
		 "snapshot mark to its port; a TIME: after running for so long."},
};
#undef FIELD

static const char details[] = "The kernel is booted, runs up to that point, and is saved "
			      "there: memory, CPUs, devices\n"
			      "and clock. 'mayfly boot --from FILE' continues it, as often as "
			      "one likes. Disks are not\n"
			      "part of it, and must be the same then.\n"
			      "  mayfly snapshot -o up.snap --when console:'login: ' --disk "
			      "root.img,snapshot vmlinuz\n"
			      "  mayfly boot --from up.snap --disk root.img,snapshot\n"
			      "\n"
			      "Exit status: 0; 124 the time limit was reached; 125 mayfly "
			      "failed, or the guest ended\n"
			      "before; 126 KERNEL is none; 127 there is no KERNEL.\n";

bool snapshot_is_of_machine(const char *when)
{
	return strcmp(when, "port") == 0 || strncmp(when, CONSOLE, strlen(CONSOLE)) == 0 ||
	       (when[0] >= '0' && when[0] <= '9');
}

static int parse_when(const char *when, mayfly_machine_pause *pause)
{
	mayfly_error err;

	*pause = (mayfly_machine_pause){.size = sizeof(*pause)};
	if (strcmp(when, "port") == 0) {
		pause->port = true;
		return STATUS_OK;
	}
	if (strncmp(when, CONSOLE, strlen(CONSOLE)) == 0) {
		pause->console = when + strlen(CONSOLE);
		if (!*pause->console)
			return usage_error(&verb_snapshot_machine,
					   "--when: console:TEXT needs a text");
		return STATUS_OK;
	}
	if (parse_time(when, &pause->after_ns, &err) != MAYFLY_OK)
		return usage_error(&verb_snapshot_machine, "--when: %s", err.message);
	if (!pause->after_ns)
		return usage_error(&verb_snapshot_machine,
				   "--when: after no time at all there is nothing to save");
	return STATUS_OK;
}

static int save(struct machine *m, const char *path)
{
	mayfly_snapshot *snap = NULL;
	mayfly_error err;
	int r = mayfly_machine_snapshot(m->machine, &snap, &err);

	return snapshot_save(r, snap, path, &err);
}

static int ended_early(const mayfly_machine_end *end, const char *when)
{
	if (end->reason == MAYFLY_MACHINE_EXIT)
		complain("the guest exited with status %d before '%s': nothing was saved",
			 end->status, when);
	else
		complain("the guest %s before '%s': nothing was saved",
			 end->reason == MAYFLY_MACHINE_OFF ? "powered off"
			 : end->triple_fault		   ? "faulted thrice"
							   : "rebooted",
			 when);
	return STATUS_FAILED;
}

static int take(const struct options *o, const char *kernel, uint64_t began_ns)
{
	struct machine m = {.began_ns = began_ns};
	mayfly_machine_pause pause;
	mayfly_machine_end end;
	int status = machine_init(&m, &verb_snapshot_machine, &o->boot);

	if (status == STATUS_OK)
		status = parse_when(o->when, &pause);
	if (status == STATUS_OK && !snapshot_has_place(o->output))
		status = STATUS_FAILED;
	if (status == STATUS_OK)
		status = machine_new(&m, kernel);
	if (status == STATUS_OK)
		status = machine_run(&m, &pause, &end);
	if (status == STATUS_OK)
		status = end.reason == MAYFLY_MACHINE_PAUSE ? save(&m, o->output)
							    : ended_early(&end, o->when);
	return machine_fini(&m, status);
}

static int run_snapshot(int argc, char **argv)
{
	struct options options = {.output = NULL};
	uint64_t began_ns = now_ns();
	int first = options_parse(&verb_snapshot_machine, argc, argv, &options);
	int status;

	if (first < 0)
		status = first == OPTIONS_SHOWN ? STATUS_OK : STATUS_FAILED;
	else if (!options.output)
		status = usage_error(&verb_snapshot_machine,
				     "-o FILE is missing: where to save it");
	else if (first == argc)
		status = usage_error(&verb_snapshot_machine, "a KERNEL is missing");
	else if (argc - first > 1)
		status = usage_error(&verb_snapshot_machine,
				     "one KERNEL at a time; its command line is "
				     "--cmdline's");
	else
		status = take(&options, argv[first], began_ns);
	boot_options_fini(&options.boot);
	return status;
}

/* The same verb to whoever uses it. */
const struct verb verb_snapshot_machine = {
	.name = "snapshot",
	.summary = "Boot a kernel up to a point, and save it there.",
	.synopsis = "-o FILE --when WHEN KERNEL",
	.details = details,
	.operands = OPERANDS_KERNEL,
	.options = specs,
	.noptions = COUNT_OF(specs),
	.shared = &boot_option_table,
	.run = run_snapshot,
};

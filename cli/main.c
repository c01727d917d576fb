/* SPDX-License-Identifier: Apache-2.0 */
/* The command: finds the verb and hands over to it. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "mayfly.h"
#include "message.h"
#include "options.h"

const struct verb *const verbs[] = {
	&verb_run,    &verb_boot,  &verb_snapshot, &verb_call,
	&verb_doctor, &verb_bench, &verb_help,	   NULL,
};

static void print_overview(FILE *out)
{
	fputs("Usage: mayfly VERB [options] [operands]\n"
	      "Programs, kernels and functions, each in a micro-VM of its own.\n"
	      "\nVerbs:\n",
	      out);
	for (size_t i = 0; verbs[i]; i++)
		fprintf(out, "  %-9s %s\n", verbs[i]->name, verbs[i]->summary);
	fputs("\n'mayfly help VERB' tells more; so do the manual pages, mayfly(1) first.\n"
	      "'mayfly --version' prints the version, 'mayfly --completion bash' what bash is "
	      "to\nknow for completing all this.\n",
	      out);
}

const struct verb *verb_find(const char *name)
{
	const char *names[COUNT_OF(verbs)];
	const char *close;
	size_t n = 0;

	for (size_t i = 0; verbs[i]; i++) {
		if (strcmp(verbs[i]->name, name) == 0)
			return verbs[i];
		names[n++] = verbs[i]->name;
	}
	close = closest_name(name, names, n);
	if (close)
		complain("there is no verb '%.60s'; did you mean '%s'?", name, close);
	else
		complain("there is no verb '%.60s'; 'mayfly help' lists them", name);
	return NULL;
}

static int run_help(int argc, char **argv)
{
	int first = options_parse(&verb_help, argc, argv, NULL);
	const struct verb *verb;

	if (first < 0)
		return first == OPTIONS_SHOWN ? STATUS_OK : STATUS_FAILED;
	if (argc - first > 1)
		return usage_error(&verb_help, "one verb at a time");
	if (first == argc) {
		print_overview(stdout);
		return STATUS_OK;
	}
	verb = verb_find(argv[first]);
	if (!verb)
		return STATUS_FAILED;
	options_help(verb);
	return STATUS_OK;
}

const struct verb verb_help = {
	.name = "help",
	.summary = "What a verb does, and its options.",
	.synopsis = "[VERB]",
	.operands = OPERANDS_VERB,
	.run = run_help,
};

static int dispatch(int argc, char **argv)
{
	const struct verb *verb;

	if (argc < 2) {
		print_overview(stderr);
		return STATUS_FAILED;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("mayfly %s\n", mayfly_version());
		return STATUS_OK;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_overview(stdout);
		return STATUS_OK;
	}
	if (strcmp(argv[1], "--completion") == 0)
		return completion_print(argc > 2 ? argv[2] : "bash");
	if (argv[1][0] == '-') {
		complain("the verb comes first: mayfly VERB [options]; 'mayfly help' lists "
			 "the verbs");
		return STATUS_FAILED;
	}
	verb = verb_find(argv[1]);
	return verb ? verb->run(argc - 1, argv + 1) : STATUS_FAILED;
}

int main(int argc, char **argv)
{
	static char buffer[BUFSIZ];
	int status;

	/*
	 * A message is one write, whole among those of others. musl takes the buffer that it is
	 * given, and makes none.
	 */
	setvbuf(stderr, buffer, _IOLBF, sizeof(buffer));
	status = streams_are_open() ? dispatch(argc, argv) : STATUS_FAILED;
	if (!stdout_is_complete() && status == STATUS_OK)
		status = STATUS_FAILED;
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verbs of the command share. The command depends on the public header of the library
 * and on its own helpers only.
 *
 * A verb is a const structure: its options are one table (see options.h), from which parsing,
 * --help and the shell completion are made. Adding a verb is a file with such a structure and
 * a line in main.c.
 */
#ifndef MAYFLY_CLI_CLI_H
#define MAYFLY_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* Exit statuses, as timeout(1) and container tools have them. */
enum status {
	STATUS_OK = 0,
	STATUS_PROBLEMS = 1, /* doctor found some */
	STATUS_TIME_LIMIT = 124,
	STATUS_FAILED = 125,	     /* mayfly itself: usage, no hypervisor, no memory */
	STATUS_NOT_EXECUTABLE = 126, /* the guest is there, but is none */
	STATUS_NOT_FOUND = 127,	     /* no such guest or function */
	STATUS_SIGNAL = 128	     /* + what Linux would have signalled */
};

/* What a verb's operands are, for completion. */
enum operands {
	OPERANDS_NONE,
	OPERANDS_CALL,	  /* a guest, one of its functions, arguments that may be @FILE */
	OPERANDS_PROGRAM, /* a command or file, and its arguments */
	OPERANDS_KERNEL,  /* a file */
	OPERANDS_VERB	  /* the name of a verb */
};

struct option_spec;
struct option_table;

struct verb {
	const char *name;
	const char *summary;  /* one line, for the list of verbs */
	const char *synopsis; /* operands as usage shows them, or "" */
	const char *details;  /* what --help says after the options, or NULL */
	enum operands operands;
	const struct option_spec *options;
	size_t noptions;
	/*
	 * More of them, which other verbs have, too, or NULL; the structure with their fields is
	 * the first of the verb's.
	 */
	const struct option_table *shared;
	int (*run)(int argc, char **argv); /* argv[0]: the verb. Gives the exit status. */
};

extern const struct verb verb_run;
extern const struct verb verb_boot;
extern const struct verb verb_snapshot;
extern const struct verb verb_call;
extern const struct verb verb_doctor;
extern const struct verb verb_bench;
extern const struct verb verb_help;

/* NULL after the last. */
extern const struct verb *const verbs[];

/* A verb by its name, or NULL after saying that there is none, and what comes close. */
const struct verb *verb_find(const char *name);

/* Print the completion script of `shell` to stdout. Gives the exit status. */
int completion_print(const char *shell);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table per verb says which options there are. From it come parsing, --help and completion.
 * -h and --help belong to every verb and are in no table.
 */
#ifndef MAYFLY_CLI_OPTIONS_H
#define MAYFLY_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct verb;

/* What an option's argument is, and the type of the field that it is put into. */
enum option_type {
	OPTION_FLAG,  /* no argument; bool */
	OPTION_TIME,  /* uint64_t, nanoseconds */
	OPTION_SIZE,  /* uint64_t, bytes */
	OPTION_COUNT, /* uint64_t, from 1 to `max` */
	OPTION_TEXT,  /* const char * */
	OPTION_FILE,  /* const char *, completed as a file's name */
	OPTION_WORD,  /* const char *, one of `words` */
	OPTION_TEXTS, /* struct option_list: may be given several times */
	OPTION_FILES  /* the same, completed as a file's name */
};

/* What was given, in that order. The texts are argv's; free(items). */
struct option_list {
	const char **items;
	size_t n;
};

struct option_spec {
	const char *name; /* long, without dashes */
	char letter;	  /* short, or 0 */
	enum option_type type;
	const char *fallback; /* the argument may be left out, and is then this; or NULL */
	bool hidden;	      /* not in --help, not completed */
	size_t offset;	      /* of the field in the verb's structure */
	uint64_t max;	      /* OPTION_COUNT */
	const char *argument; /* its placeholder in --help, such as "TIME" */
	const char *words;    /* separated by blanks; for OPTION_TEXT, what to complete */
	bool names_file; /* OPTION_TEXTS: NAME=FILE, completed as a file's name behind "=" */
	const char *help;
};

/* Options that several verbs have. */
struct option_table {
	const struct option_spec *specs;
	size_t n;
};

enum {
	OPTIONS_SHOWN = -1, /* --help was asked for and printed */
	OPTIONS_BAD = -2    /* a mistake, already complained about */
};

/*
 * Parse the options before the first operand into *fields, which the caller has preset.
 * Gives the index in argv of the first operand, or OPTIONS_.
 */
int options_parse(const struct verb *verb, int argc, char **argv, void *fields);

/* A verb's options one after the other, the shared ones last; NULL past them. */
const struct option_spec *option_at(const struct verb *verb, size_t index);

/* What `mayfly VERB --help` prints, to stdout. */
void options_help(const struct verb *verb);

/* Complain about wrong operands and name the help. Gives STATUS_FAILED. */
int usage_error(const struct verb *verb, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif

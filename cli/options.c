/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "message.h"
#include "parse.h"

#define MAX_OPTIONS 32
#define HELP_VALUE 'h'
#define FIRST_LONG_ONLY 256 /* getopt's value of option i is FIRST_LONG_ONLY + i */
#define HELP_COLUMN 24

int usage_error(const struct verb *verb, const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	complain("%s: %s; 'mayfly %s --help' shows the usage", verb->name, text, verb->name);
	return STATUS_FAILED;
}

const struct option_spec *option_at(const struct verb *verb, size_t index)
{
	if (index < verb->noptions)
		return &verb->options[index];
	index -= verb->noptions;
	return verb->shared && index < verb->shared->n ? &verb->shared->specs[index] : NULL;
}

/* Whether `word` is one of the blank-separated `words`. */
static bool has_word(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = words; *p; p += strspn(p, " ")) {
		size_t n = strcspn(p, " ");
		if (n == len && memcmp(p, word, n) == 0)
			return true;
		p += n;
	}
	return false;
}

static void append(struct option_list *list, const char *text)
{
	list->items = xrealloc(list->items, list->n + 1, sizeof(list->items[0]));
	list->items[list->n++] = text;
}

static int store(const struct option_spec *spec, const char *text, void *fields,
		 mayfly_error *err)
{
	void *field = (char *)fields + spec->offset;
	bool given = text != NULL;

	if (!given)
		text = spec->fallback;
	switch (spec->type) {
	case OPTION_FLAG:
		*(bool *)field = true;
		return MAYFLY_OK;
	case OPTION_TIME:
		return parse_time(text, field, err);
	case OPTION_SIZE:
		return parse_size(text, field, err);
	case OPTION_COUNT:
		return parse_count(text, spec->max, field, err);
	case OPTION_WORD:
		if (given && !has_word(spec->words, text))
			return mayfly_error_set(err, MAYFLY_E_INVALID, "'%.60s' is none of: %s",
						text, spec->words);
		break;
	case OPTION_TEXTS:
	case OPTION_FILES:
		append(field, text);
		return MAYFLY_OK;
	case OPTION_TEXT:
	case OPTION_FILE:
		break;
	}
	*(const char **)field = text;
	return MAYFLY_OK;
}

static const struct option_spec *spec_of(const struct verb *verb, int value)
{
	const struct option_spec *spec;

	if (value >= FIRST_LONG_ONLY)
		return option_at(verb, (size_t)(value - FIRST_LONG_ONLY));
	for (size_t i = 0; (spec = option_at(verb, i)); i++)
		if (spec->letter == value)
			break;
	return spec;
}

/* The first of at least two names that begin with `start`, or NULL. */
static const char *two_that_begin(const char *const *names, size_t n, const char *start)
{
	const char *first = NULL;

	for (size_t i = 0; i < n; i++) {
		if (strncmp(names[i], start, strlen(start)) != 0)
			continue;
		if (first)
			return first;
		first = names[i];
	}
	return NULL;
}

/* Say what is wrong with the option that getopt_long() gave up on. */
static void complain_unknown(const struct verb *verb, const char *word, int letter)
{
	const struct option_spec *spec;
	const char *names[MAX_OPTIONS];
	const char *close;
	char bare[64];
	size_t n = 0;

	/* Within "-ab", `word` is the one before: only the letter says what it is about. */
	if (letter == HELP_VALUE || letter >= FIRST_LONG_ONLY) {
		usage_error(verb, "--%s takes no argument",
			    letter == HELP_VALUE ? "help" : spec_of(verb, letter)->name);
		return;
	}
	if (letter) {
		usage_error(verb, "there is no option -%c", letter);
		return;
	}
	for (size_t i = 0; (spec = option_at(verb, i)) && n < MAX_OPTIONS; i++)
		if (!spec->hidden)
			names[n++] = spec->name;
	word += 2;
	snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(word, "="), word);
	close = two_that_begin(names, n, bare);
	if (close)
		usage_error(verb, "--%s could be --%s, and others: write more of it", bare,
			    close);
	else if ((close = closest_name(bare, names, n)))
		usage_error(verb, "there is no option --%s (did you mean --%s?)", bare, close);
	else
		usage_error(verb, "there is no option --%s", bare);
}

/* The tables that getopt_long() wants, made from ours; zeroed before. */
struct getopt_tables {
	struct option longs[MAX_OPTIONS + 2];
	char shorts[3 * MAX_OPTIONS + 8];
};

static void make_tables(const struct verb *verb, struct getopt_tables *t)
{
	const struct option_spec *spec;
	char *s = t->shorts;
	size_t i;

	/* Stop at the first operand, so that a guest's argument may look like an option. */
	*s++ = '+';
	*s++ = ':';
	*s++ = HELP_VALUE;
	for (i = 0; (spec = option_at(verb, i)) && i < MAX_OPTIONS; i++) {
		bool takes = spec->type != OPTION_FLAG;

		t->longs[i].name = spec->name;
		t->longs[i].has_arg = !takes	       ? no_argument
				      : spec->fallback ? optional_argument
						       : required_argument;
		t->longs[i].val = FIRST_LONG_ONLY + (int)i;
		if (!spec->letter)
			continue;
		*s++ = spec->letter;
		if (takes)
			*s++ = ':';
		if (takes && spec->fallback)
			*s++ = ':';
	}
	t->longs[i].name = "help";
	t->longs[i].val = HELP_VALUE;
}

int options_parse(const struct verb *verb, int argc, char **argv, void *fields)
{
	struct getopt_tables tables = {.shorts = ""};
	mayfly_error err;
	int value;

	make_tables(verb, &tables);
	opterr = 0;
	optind = 1;
	while ((value = getopt_long(argc, argv, tables.shorts, tables.longs, NULL)) != -1) {
		const struct option_spec *spec;

		if (value == HELP_VALUE) {
			options_help(verb);
			return OPTIONS_SHOWN;
		}
		if (value == ':') {
			usage_error(verb, "--%s needs an argument",
				    spec_of(verb, optopt)->name);
			return OPTIONS_BAD;
		}
		spec = value == '?' ? NULL : spec_of(verb, value);
		if (!spec) {
			complain_unknown(verb, argv[optind - 1], optopt);
			return OPTIONS_BAD;
		}
		if (store(spec, optarg, fields, &err) != MAYFLY_OK) {
			usage_error(verb, "--%s: %s", spec->name, err.message);
			return OPTIONS_BAD;
		}
	}
	return optind;
}

/* "  -t, --timeout TIME", padded to the column where the text begins. */
static void print_option(const struct option_spec *spec)
{
	char left[80];
	int n;

	n = snprintf(left, sizeof(left), "  %c%c%s --%s", spec->letter ? '-' : ' ',
		     spec->letter ? spec->letter : ' ', spec->letter ? "," : " ", spec->name);
	if (spec->argument)
		n += snprintf(left + n, sizeof(left) - (size_t)n,
			      spec->fallback ? "[=%s]" : " %s", spec->argument);
	if (n >= HELP_COLUMN - 1)
		printf("%s\n%*s", left, HELP_COLUMN, "");
	else
		printf("%-*s", HELP_COLUMN, left);
	print_wrapped(stdout, HELP_COLUMN, spec->help);
}

void options_help(const struct verb *verb)
{
	static const struct option_spec help = {
		.name = "help", .letter = 'h', .help = "Print this and exit."};
	const struct option_spec *spec;

	printf("Usage: mayfly %s [options]%s%s\n", verb->name, *verb->synopsis ? " " : "",
	       verb->synopsis);
	print_wrapped(stdout, 0, verb->summary);
	printf("\nOptions:\n");
	for (size_t i = 0; (spec = option_at(verb, i)); i++)
		if (!spec->hidden)
			print_option(spec);
	print_option(&help);
	if (verb->details)
		printf("\n%s", verb->details);
}

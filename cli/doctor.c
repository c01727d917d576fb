/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "hostinfo.h"
#include "message.h"
#include "options.h"

struct doctor_options {
	const char *sysroot;
	bool json;
};

static const struct option_spec doctor_options[] = {
	{.name = "json",
	 .letter = 'j',
	 .type = OPTION_FLAG,
	 .offset = offsetof(struct doctor_options, json),
	 .help = "Print the findings as JSON."},
	{.name = "sysroot",
	 .type = OPTION_FILE,
	 .argument = "DIR",
	 .hidden = true,
	 .offset = offsetof(struct doctor_options, sysroot),
	 .help = "Look at the /dev, /proc and /sys below DIR, and not at the hypervisor "
		 "itself."},
};

static const char doctor_details[] =
	"Each line is ok, a note (works, but is slower or less safe than it could be: with "
	"what to\n"
	"change), or a problem (Mayfly cannot work: with what to do). Nothing is changed.\n"
	"\n"
	"Exit status: 0 no problems; 1 problems; 125 mayfly failed.\n";

void doctor_add(struct doctor *d, enum level level, const char *name, const char *text, ...)
{
	struct finding *f;
	va_list args;

	d->findings = xrealloc(d->findings, d->nfindings + 1, sizeof(d->findings[0]));
	f = &d->findings[d->nfindings++];
	*f = (struct finding){.level = level, .name = name};
	va_start(args, text);
	if (vasprintf(&f->text, text, args) < 0)
		exit(STATUS_FAILED);
	va_end(args);
}

void doctor_advise(struct doctor *d, const char *advice, ...)
{
	struct finding *f = &d->findings[d->nfindings - 1];
	va_list args;

	va_start(args, advice);
	if (vasprintf(&f->advice, advice, args) < 0)
		exit(STATUS_FAILED);
	va_end(args);
}

const char *doctor_path(const struct doctor *d, char *buf, const char *path)
{
	snprintf(buf, PATH_MAX, "%s%s", d->sysroot, path);
	return buf;
}

bool doctor_read(const struct doctor *d, const char *path, char *buf, size_t size)
{
	char full[PATH_MAX];
	FILE *f = fopen(doctor_path(d, full, path), "re");
	size_t n = 0;

	buf[0] = '\0';
	if (!f)
		return false;
	n = fread(buf, 1, size - 1, f);
	fclose(f);
	while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == ' '))
		n--;
	buf[n] = '\0';
	/* It may be shown, and JSON takes UTF-8 only. */
	for (size_t i = 0; i < n; i++)
		if (buf[i] != '\n' && buf[i] != '\t' && (buf[i] < ' ' || buf[i] > '~'))
			buf[i] = '?';
	return true;
}

static size_t count(const struct doctor *d, enum level level)
{
	size_t n = 0;

	for (size_t i = 0; i < d->nfindings; i++)
		n += d->findings[i].level == level;
	return n;
}

static const char *const level_names[] = {"ok", "note", "problem"};

static void print_text(const struct doctor *d)
{
	size_t notes = count(d, LEVEL_NOTE), problems = count(d, LEVEL_PROBLEM);

	for (size_t i = 0; i < d->nfindings; i++) {
		const struct finding *f = &d->findings[i];

		printf("%-9s%-15s ", level_names[f->level], f->name);
		print_wrapped(stdout, 25, f->text);
		if (f->advice) {
			printf("%25s", "");
			print_wrapped(stdout, 25, f->advice);
		}
	}
	printf("%zu problem%s, %zu note%s\n", problems, problems == 1 ? "" : "s", notes,
	       notes == 1 ? "" : "s");
}

static int print_json(const struct doctor *d)
{
	json_t *checks = json_array(), *all;

	for (size_t i = 0; i < d->nfindings; i++) {
		const struct finding *f = &d->findings[i];

		json_array_append_new(checks,
				      json_pack("{s:s, s:s, s:s, s:s?}", "name", f->name,
						"status", level_names[f->level], "text",
						f->text, "advice", f->advice));
	}
	all = json_pack("{s:o, s:o, s:I, s:I}", "host",
			hostinfo_json(d->have_info ? &d->info : NULL), "checks", checks,
			"problems", (json_int_t)count(d, LEVEL_PROBLEM), "notes",
			(json_int_t)count(d, LEVEL_NOTE));
	return json_finish(all);
}

static void doctor_fini(struct doctor *d)
{
	for (size_t i = 0; i < d->nfindings; i++) {
		free(d->findings[i].text);
		free(d->findings[i].advice);
	}
	free(d->findings);
}

static int run_doctor(int argc, char **argv)
{
	struct doctor_options options = {.sysroot = ""};
	struct doctor d = {.have_info = false};
	int first = options_parse(&verb_doctor, argc, argv, &options);
	int status = STATUS_OK;

	if (first < 0)
		return first == OPTIONS_SHOWN ? STATUS_OK : STATUS_FAILED;
	if (first < argc)
		return usage_error(&verb_doctor, "it takes no operands");
	d.sysroot = options.sysroot;
	doctor_check_kvm(&d);
	doctor_check_programs(&d);
	doctor_check_kernels(&d);
	doctor_check_host(&d);
	if (options.json)
		status = print_json(&d);
	else
		print_text(&d);
	if (status == STATUS_OK && count(&d, LEVEL_PROBLEM))
		status = STATUS_PROBLEMS;
	doctor_fini(&d);
	return status;
}

const struct verb verb_doctor = {
	.name = "doctor",
	.summary = "What this host can do for Mayfly, and what to change.",
	.synopsis = "",
	.details = doctor_details,
	.options = doctor_options,
	.noptions = COUNT_OF(doctor_options),
	.run = run_doctor,
};

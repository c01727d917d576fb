/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "message.h"
#include "options.h"

#define MAX_ROWS 64
#define ROUNDS 100
#define QUICK_ROUNDS 10
#define PROGRAM_ROUNDS 20
#define QUICK_PROGRAM_ROUNDS 4
#define BOOT_ROUNDS 50
#define QUICK_BOOT_ROUNDS 5
/* With a kernel, whose boot may take minutes in the lab. */
#define KERNEL_ROUNDS 5
#define QUICK_KERNEL_ROUNDS 1
#define SCALE_MOST 4000
#define QUICK_SCALE_MOST 100

struct bench_options {
	const char *rows;
	struct bench_boot kernel;
	bool json;
	bool quick;
	bool scale;
	bool programs;
	bool boot;
};

#define FIELD(f) .offset = offsetof(struct bench_options, f)
static const struct option_spec bench_options[] = {
	{.name = "boot",
	 .letter = 'b',
	 .type = OPTION_FLAG,
	 FIELD(boot),
	 .help = "Instead: 'mayfly boot' of a kernel that is built in; and of KERNEL, beside "
		 "QEMU's microvm machine, if it is installed."},
	{.name = "cmdline",
	 .letter = 'c',
	 .type = OPTION_TEXT,
	 .argument = "TEXT",
	 FIELD(kernel.cmdline),
	 .help = "KERNEL's command line."},
	{.name = "initrd",
	 .letter = 'i',
	 .type = OPTION_FILE,
	 .argument = "FILE",
	 FIELD(kernel.initrd),
	 .help = "KERNEL's initial RAM disk."},
	{.name = "json",
	 .letter = 'j',
	 .type = OPTION_FLAG,
	 FIELD(json),
	 .help = "Print the figures as JSON."},
	{.name = "quick",
	 .letter = 'q',
	 .type = OPTION_FLAG,
	 FIELD(quick),
	 .help = "A tenth of the samples, with a KERNEL one; with --scale, to 100 sandboxes."},
	{.name = "programs",
	 .letter = 'p',
	 .type = OPTION_FLAG,
	 FIELD(programs),
	 .help = "Instead: programs in VMs beside the same programs without."},
	{.name = "rows",
	 .letter = 'r',
	 .type = OPTION_TEXT,
	 .argument = "LIST",
	 FIELD(rows),
	 .help = "Only these rows, separated by commas, and those that they are compared "
		 "with."},
	{.name = "scale",
	 .letter = 's',
	 .type = OPTION_FLAG,
	 FIELD(scale),
	 .help = "Instead: make 1, 100, 1,000 and 4,000 sandboxes that live at a time; the "
		 "time that one more takes, and the memory that each does."},
	{.name = "until",
	 .letter = 'u',
	 .type = OPTION_TEXT,
	 .argument = "TEXT",
	 FIELD(kernel.until),
	 .help = "What KERNEL's console shows when it has booted: what its init prints."},
};
#undef FIELD

static const char bench_details[] = "The rows are measured in turn, many rounds long, so that "
				    "whatever else the host does meets\n"
				    "all of them alike. bare_ rows are KVM used by hand, the "
				    "least that a micro-VM can cost;\n"
				    "process_ rows are what an operating system has instead. "
				    "mayfly-bench(1) explains each row.\n"
				    "\n"
				    "A limit that was missed does not change the exit status: "
				    "0 measured, 125 mayfly failed.\n";

/* A row under measurement. */
struct entry {
	const struct bench_row *row;
	bool wanted;
	void *state;
	struct samples samples;
};

struct bench {
	struct entry entries[MAX_ROWS];
	size_t n;
	mayfly_host_info info;
	bool have_info;
};

static void add_rows(struct bench *b, const struct bench_row *rows)
{
	for (; rows->name && b->n < MAX_ROWS; rows++)
		b->entries[b->n++] = (struct entry){.row = rows, .wanted = true};
}

static struct entry *find_entry(struct bench *b, const char *name)
{
	for (size_t i = 0; i < b->n; i++)
		if (strcmp(b->entries[i].row->name, name) == 0)
			return &b->entries[i];
	return NULL;
}

/* A row and, as the comparison needs them, its floors and theirs. */
static void want(struct bench *b, const char *name)
{
	struct entry *e = find_entry(b, name);
	const char *floor;

	if (!e || e->wanted)
		return;
	e->wanted = true;
	for (unsigned i = 0; (floor = bench_floor(name, i)); i++)
		want(b, floor);
}

static int complain_row(const struct bench *b, const char *name)
{
	const char *names[MAX_ROWS], *close;

	for (size_t i = 0; i < b->n; i++)
		names[i] = b->entries[i].row->name;
	close = closest_name(name, names, b->n);
	if (close)
		return usage_error(&verb_bench, "there is no row '%.60s' (did you mean '%s'?)",
				   name, close);
	return usage_error(&verb_bench,
			   "there is no row '%.60s'; 'man mayfly-bench' lists them", name);
}

/* Leave only the rows of the list. */
static int select_rows(struct bench *b, const char *list)
{
	char *copy, *rest, *name;
	int status = STATUS_OK;

	if (!list)
		return STATUS_OK;
	for (size_t i = 0; i < b->n; i++)
		b->entries[i].wanted = false;
	copy = xrealloc(NULL, strlen(list) + 1, 1);
	memcpy(copy, list, strlen(list) + 1);
	rest = copy;
	while (status == STATUS_OK && (name = strsep(&rest, ","))) {
		if (find_entry(b, name))
			want(b, name);
		else
			status = complain_row(b, name);
	}
	free(copy);
	return status;
}

/* --- Measuring ------------------------------------------------------------------------------- */

static int begin_all(struct bench *b, mayfly_error *err)
{
	for (size_t i = 0; i < b->n; i++) {
		struct entry *e = &b->entries[i];
		int r = MAYFLY_OK;

		if (e->wanted)
			r = e->row->begin(e->row, &e->state, err);
		if (r == MAYFLY_OK)
			continue;
		complain("%s: %s", e->row->name, err->message);
		return r;
	}
	return MAYFLY_OK;
}

static int take_samples(struct entry *e, mayfly_error *err)
{
	for (uint32_t i = 0; i < e->row->warmup + e->row->batch; i++) {
		uint64_t ns;
		int r = e->row->sample(e->state, &ns, err);

		if (r != MAYFLY_OK)
			return r;
		if (i >= e->row->warmup)
			samples_add(&e->samples, ns);
	}
	return MAYFLY_OK;
}

static int round_of(struct entry *e, mayfly_error *err)
{
	int r = e->row->enter ? e->row->enter(e->state, err) : MAYFLY_OK;

	if (r == MAYFLY_OK)
		r = take_samples(e, err);
	if (e->row->leave)
		e->row->leave(e->state);
	if (r != MAYFLY_OK)
		complain("%s: %s", e->row->name, err->message);
	return r;
}

static int measure_all(struct bench *b, int rounds)
{
	bool show = isatty(STDERR_FILENO);
	mayfly_error err;
	int r = begin_all(b, &err);

	for (int round = 0; r == MAYFLY_OK && round < rounds; round++) {
		if (show)
			fprintf(stderr, "\rmayfly: round %d of %d ", round + 1, rounds);
		for (size_t i = 0; r == MAYFLY_OK && i < b->n; i++)
			if (b->entries[i].wanted)
				r = round_of(&b->entries[i], &err);
	}
	if (show)
		fputs("\r                         \r", stderr);
	for (size_t i = 0; i < b->n; i++)
		if (b->entries[i].wanted)
			b->entries[i].row->end(b->entries[i].state);
	return r == MAYFLY_OK ? STATUS_OK : STATUS_FAILED;
}

static int report(struct bench *b, bool json)
{
	struct bench_result results[MAX_ROWS];
	const mayfly_host_info *info = b->have_info ? &b->info : NULL;
	size_t n = 0;

	for (size_t i = 0; i < b->n; i++)
		if (b->entries[i].wanted)
			results[n++] = (struct bench_result){
				.row = b->entries[i].row,
				.times = samples_distribution(&b->entries[i].samples)};
	if (json)
		return bench_report_json(info, results, n, NULL, 0);
	return bench_report_text(info, results, n);
}

/* --- The verb -------------------------------------------------------------------------------- */

/* Rows about processes can do without a hypervisor. */
static int look_at_host(struct bench *b, bool scale)
{
	bool needed = scale;
	mayfly_error err;

	for (size_t i = 0; i < b->n; i++)
		needed |= b->entries[i].wanted && b->entries[i].row->needs_kvm;
	b->info.size = sizeof(b->info);
	b->have_info = mayfly_host_get_info(&b->info, &err) == MAYFLY_OK;
	if (b->have_info || !needed)
		return STATUS_OK;
	complain("%s", err.message);
	return STATUS_FAILED;
}

static int run_scale(const struct bench *b, const struct bench_options *o)
{
	struct bench_scale scale[BENCH_MAX_SCALE];
	size_t n = bench_scale_run(o->quick ? QUICK_SCALE_MOST : SCALE_MOST, scale);

	if (!n)
		return STATUS_FAILED;
	if (o->json)
		return bench_report_json(&b->info, NULL, 0, scale, n);
	return bench_report_scale(&b->info, scale, n);
}

/* Programs and boots take long, and vary less. */
static int rounds_of(const struct bench_options *o)
{
	if (o->boot && o->kernel.kernel)
		return o->quick ? QUICK_KERNEL_ROUNDS : KERNEL_ROUNDS;
	if (o->boot)
		return o->quick ? QUICK_BOOT_ROUNDS : BOOT_ROUNDS;
	if (o->programs)
		return o->quick ? QUICK_PROGRAM_ROUNDS : PROGRAM_ROUNDS;
	return o->quick ? QUICK_ROUNDS : ROUNDS;
}

static int run_rows(struct bench *b, const struct bench_options *o)
{
	mayfly_error err;
	int status;

	if (bench_processes_start(&err) != MAYFLY_OK) {
		complain("%s", err.message);
		return STATUS_FAILED;
	}
	status = look_at_host(b, false);
	if (status == STATUS_OK)
		status = measure_all(b, rounds_of(o));
	bench_processes_stop();
	if (status == STATUS_OK)
		status = report(b, o->json);
	for (size_t i = 0; i < b->n; i++)
		samples_fini(&b->entries[i].samples);
	return status;
}

/* With --boot, of an operand. */
static int check_kernel(struct bench_options *o, int noperands, char **operands)
{
	if (noperands > 0 && !o->boot)
		return usage_error(&verb_bench, "it takes no operands but --boot's KERNEL");
	if (noperands > 1)
		return usage_error(&verb_bench, "one KERNEL at a time");
	o->kernel.kernel = noperands > 0 ? operands[0] : NULL;
	if (!o->kernel.kernel && (o->kernel.initrd || o->kernel.cmdline || o->kernel.until))
		return usage_error(&verb_bench,
				   "--initrd, --cmdline and --until go with --boot "
				   "and a KERNEL");
	if (!o->kernel.kernel)
		return STATUS_OK;
	if (!o->kernel.until || !*o->kernel.until || strlen(o->kernel.until) > BENCH_UNTIL_MAX)
		return usage_error(&verb_bench,
				   "a KERNEL needs --until TEXT, of at most %d bytes: what its "
				   "init prints first",
				   BENCH_UNTIL_MAX);
	if (access(o->kernel.kernel, R_OK) == 0)
		return STATUS_OK;
	complain("cannot open %s: %s", o->kernel.kernel, strerror(errno));
	return STATUS_FAILED;
}

static int check(struct bench_options *o, int noperands, char **operands)
{
	if (o->scale && o->rows)
		return usage_error(&verb_bench, "--scale has no rows to select");
	if (o->scale + o->programs + o->boot > 1)
		return usage_error(&verb_bench,
				   "--boot, --programs and --scale exclude each other");
	return check_kernel(o, noperands, operands);
}

/* Those of boots, and what they are compared with, but nothing else that is bare. */
static void add_boot_rows(struct bench *b, const struct bench_boot *boot)
{
	size_t own;

	add_rows(b, bench_bare_rows);
	own = b->n;
	for (size_t i = 0; i < own; i++)
		b->entries[i].wanted = false;
	for (const struct bench_row *const *l = bench_boot_rows(boot); *l; l++)
		add_rows(b, *l);
	for (size_t i = own; i < b->n; i++) {
		b->entries[i].wanted = false;
		want(b, b->entries[i].row->name);
	}
}

static void add_all_rows(struct bench *b, const struct bench_options *o)
{
	if (o->boot) {
		add_boot_rows(b, &o->kernel);
		return;
	}
	add_rows(b, bench_bare_rows);
	if (o->programs) {
		for (const struct bench_row *const *l = bench_program_rows(); *l; l++)
			add_rows(b, *l);
	} else {
		add_rows(b, bench_spawn_rows);
		add_rows(b, bench_call_rows);
		add_rows(b, bench_hot_rows);
	}
	add_rows(b, bench_process_rows);
}

static int run_bench(int argc, char **argv)
{
	struct bench_options options = {.rows = NULL};
	struct bench b = {.n = 0};
	int first = options_parse(&verb_bench, argc, argv, &options), status;

	if (first < 0)
		return first == OPTIONS_SHOWN ? STATUS_OK : STATUS_FAILED;
	status = check(&options, argc - first, argv + first);
	if (status != STATUS_OK)
		return status;
	add_all_rows(&b, &options);
	if (options.scale) {
		status = look_at_host(&b, true);
		return status == STATUS_OK ? run_scale(&b, &options) : status;
	}
	status = select_rows(&b, options.rows);
	return status == STATUS_OK ? run_rows(&b, &options) : status;
}

const struct verb verb_bench = {
	.name = "bench",
	.summary = "Start, call and restore, against bare KVM and processes.",
	.synopsis = "[KERNEL]",
	.details = bench_details,
	.operands = OPERANDS_KERNEL,
	.options = bench_options,
	.noptions = COUNT_OF(bench_options),
	.run = run_bench,
};

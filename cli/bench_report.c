/* SPDX-License-Identifier: Apache-2.0 */
/* Floors, targets, and how results are shown. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"
#include "hostinfo.h"
#include "message.h"

/* What a row is compared with: one other, or the sum of two. The first limit of a row is its floor. */
struct limit {
	const char *row;
	const char *floor;
	const char *plus; /* or NULL */
	double at_most;	  /* times the floor; 0: no target, for information */
};

static const struct limit limits[] = {
	{"cold_start", "bare_cold_start", NULL, 1.15},
	{"spawn", "bare_cold_start", NULL, 0},
	{"spawn_pooled", "warm_call", NULL, 2},
	{"destroy", "bare_destroy", NULL, 0},
	{"warm_call", "bare_run", NULL, 1.05},
	{"call_with_host_function", "bare_run", "bare_run", 0},
	{"hot_call", "warm_call", NULL, 1.0 / 80},
	{"hot_call", "bare_mailbox", NULL, 0},
	{"hot_call_host", "bare_mailbox", "bare_mailbox", 0},
	{"hot_wake", "warm_call", NULL, 0},
	{"restore_call_0", "bare_run", NULL, 0},
	{"restore_call_16", "bare_run", "copy_16_pages", 1.15},
	{"restore_call_16", "process_spawn_static", NULL, 1.0 / 5},
	{"restore_call_16", "process_fork", NULL, 1.0 / 3},
	{"restore_call_16_64m", "restore_call_16", NULL, 0},
	{"restore_call_16_1g", "restore_call_16", NULL, 1.2},
	{"run_noop", "bare_cold_start", NULL, 2.5},
	{"syscall", "bare_run", NULL, 1.3},
	{"program_call", "bare_run", NULL, 1.3},
	{"python_run", "python_native", NULL, 0},
	{"python_snapshot", "python_native", NULL, 0.1},
	{"sha256_run", "sha256_native", NULL, 1 / 0.97},
	{"loop_run", "loop_native", NULL, 1 / 0.97},
	{"sqlite_run", "sqlite_native", NULL, 1 / 0.97},
	{"nginx_run", "nginx_native", NULL, 0},
	{"boot_first_instruction", "bare_cold_start", NULL, 3},
	{"boot_mayfly", "boot_guest_share", NULL, 1.05},
	{"boot_mayfly", "boot_qemu", NULL, 1},
	{"boot_mayfly", "boot_qemu_unpacked", NULL, 1},
};

/* What a row is to take at most: in ns (or bytes), beside the median of another row, if any. */
struct aim {
	const char *row;
	bool slowest; /* of a thousand samples the slowest but one; else the median */
	uint64_t at_most_ns;
	const char *plus; /* or NULL */
};

static const struct aim aims[] = {
	{"hot_call", false, 300, NULL},
	{"hot_call", true, 2000, NULL},
	{"hot_call_host", false, 800, NULL},
	{"batch_1000", false, 150000, "bare_run"},
	{"hot_batch_1000", false, 50000, NULL},
	{"hot_idle_50ms", false, 500000, NULL}, /* one part in a hundred */
	{"boot_private_memory", false, 1536 << 10, NULL},
};

#define SCALE_CREATE_AT_MOST 1.5
#define SCALE_LIBRARY_AT_MOST ((uint64_t)64 << 10)

const char *bench_floor(const char *row, unsigned index)
{
	for (size_t i = 0; i < COUNT_OF(limits); i++) {
		if (strcmp(limits[i].row, row) != 0)
			continue;
		if (index-- == 0)
			return limits[i].floor;
		if (limits[i].plus && index-- == 0)
			return limits[i].plus;
	}
	for (size_t i = 0; i < COUNT_OF(aims); i++)
		if (aims[i].plus && strcmp(aims[i].row, row) == 0 && index-- == 0)
			return aims[i].plus;
	return NULL;
}

/* A row's median, or 0 where it was not measured. */
static double median(const struct bench_result *results, size_t n, const char *row)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(results[i].row->name, row) == 0)
			return (double)results[i].times.p50;
	return 0;
}

/* How many times its floor the row takes; 0 if one of them was not measured. */
static double ratio(const struct bench_result *results, size_t n, const struct limit *l)
{
	double row = median(results, n, l->row), floor = median(results, n, l->floor);
	double plus = l->plus ? median(results, n, l->plus) : 0;

	if (floor == 0 || (l->plus && plus == 0))
		return 0;
	return row / (floor + plus);
}

/* In ns; 0 if the row that is added was not measured. */
static double aim_ns(const struct bench_result *results, size_t n, const struct aim *a)
{
	double plus = a->plus ? median(results, n, a->plus) : 0;

	return a->plus && plus == 0 ? 0 : (double)a->at_most_ns + plus;
}

static double aimed_ns(const struct bench_result *r, const struct aim *a)
{
	return (double)(a->slowest ? r->times.p999 : r->times.p50);
}

/* --- Text ------------------------------------------------------------------------------------ */

static void print_host(const mayfly_host_info *info)
{
	struct utsname kernel = {.release = "?"};
	double load;

	uname(&kernel);
	printf("Mayfly %s, Linux %s", mayfly_version(), kernel.release);
	if (info)
		printf(", KVM on %s, %s", info->hypervisor, info->cpu);
	/* Whatever else runs disturbs the figures, the slow percentiles most. */
	if (getloadavg(&load, 1) == 1)
		printf(", load %.2f on %ld CPUs", load, sysconf(_SC_NPROCESSORS_ONLN));
	printf("\n\n");
}

/* us, or KiB of a row that is memory. */
static double in_unit(const struct bench_row *row, uint64_t measured)
{
	return (double)measured / (row->memory_used ? 1024 : 1e3);
}

static void print_value(const struct bench_row *row, uint64_t measured)
{
	double value = in_unit(row, measured);

	printf(" %9.*f", value < 10 ? 2 : 1, value);
}

static void print_limit(const struct limit *l, double times)
{
	printf("  %.3f x %s%s%s", times, l->floor, l->plus ? " + " : "",
	       l->plus ? l->plus : "");
	if (l->at_most > 0)
		printf(" (at most %.3f: %s)", l->at_most,
		       times <= l->at_most ? "reached" : "MISSED");
	putchar('\n');
}

static void print_aim(const struct bench_row *row, const struct aim *a, double at_most,
		      double measured)
{
	printf("  %s at most %.2f %s%s%s: %s\n", a->slowest ? "p99.9" : "p50",
	       in_unit(row, a->at_most_ns), row->memory_used ? "KiB" : "us",
	       a->plus ? " + " : "", a->plus ? a->plus : "",
	       measured <= at_most ? "reached" : "MISSED");
}

/* Each on a line of its own but the first, if `first`. Gives whether there was none. */
static bool print_aims(const struct bench_result *results, size_t n,
		       const struct bench_result *r, bool first)
{
	for (size_t i = 0; i < COUNT_OF(aims); i++) {
		double at_most = aim_ns(results, n, &aims[i]);

		if (strcmp(aims[i].row, r->row->name) != 0 || at_most == 0)
			continue;
		if (!first)
			printf("%*s", 24 + 4 * 10 + 8, "");
		print_aim(r->row, &aims[i], at_most, aimed_ns(r, &aims[i]));
		first = false;
	}
	return first;
}

int bench_report_text(const mayfly_host_info *info, const struct bench_result *results,
		      size_t n)
{
	print_host(info);
	printf("%-24s %9s %9s %9s %9s %7s\n", "times in us", "p50", "p99", "p99.9", "min",
	       "samples");
	for (size_t i = 0; i < n; i++) {
		const struct distribution *d = &results[i].times;
		const struct bench_row *row = results[i].row;
		bool first = true;
		int width = printf("%s%s", row->name, row->memory_used ? ", KiB" : "");

		printf("%*s", width < 24 ? 24 - width : 0, "");
		print_value(row, d->p50);
		print_value(row, d->p99);
		print_value(row, d->p999);
		print_value(row, d->min);
		printf(" %7zu", d->n);
		for (size_t l = 0; l < COUNT_OF(limits); l++) {
			double times = ratio(results, n, &limits[l]);

			if (strcmp(limits[l].row, row->name) != 0 || times == 0)
				continue;
			if (!first)
				printf("%*s", 24 + 4 * 10 + 8, "");
			print_limit(&limits[l], times);
			first = false;
		}
		if (print_aims(results, n, &results[i], first))
			putchar('\n');
	}
	return STATUS_OK;
}

static void print_kib(uint64_t bytes)
{
	printf(" %10.1f", (double)bytes / 1024);
}

int bench_report_scale(const mayfly_host_info *info, const struct bench_scale *scale, size_t n)
{
	print_host(info);
	printf("%9s %10s %8s %10s %10s %32s\n", "sandboxes", "create", "x first", "start",
	       "bare", "memory a sandbox, KiB");
	printf("%9s %10s %8s %10s %10s %10s %10s %10s %10s\n", "", "us", "", "us", "start, us",
	       "process", "written", "library", "kernel");
	for (size_t i = 0; i < n; i++) {
		const struct bench_scale *s = &scale[i];
		char live[GROUPED_SIZE];

		printf("%9s %10.1f %8.2f %10.1f %10.1f", grouped(live, s->live),
		       (double)s->create_ns / 1e3,
		       (double)s->create_ns / (double)scale[0].create_ns,
		       (double)s->start_ns / 1e3, (double)s->bare_ns / 1e3);
		print_kib(s->process_bytes);
		print_kib(s->written_bytes);
		print_kib(s->library_bytes);
		print_kib(s->kernel_bytes);
		putchar('\n');
	}
	if (n > 1) {
		const struct bench_scale *last = &scale[n - 1];
		double times = (double)last->create_ns / (double)scale[0].create_ns;

		printf("\ncreating the last is to take at most %.2f x the first: %s\n"
		       "the library is to add at most %" PRIu64 " KiB a sandbox: %s\n",
		       SCALE_CREATE_AT_MOST,
		       times <= SCALE_CREATE_AT_MOST ? "reached" : "MISSED",
		       SCALE_LIBRARY_AT_MOST / 1024,
		       last->library_bytes <= SCALE_LIBRARY_AT_MOST ? "reached" : "MISSED");
	}
	return STATUS_OK;
}

/* --- JSON ------------------------------------------------------------------------------------ */

static json_t *limit_json(const struct limit *l, double times)
{
	char floor[128];
	json_t *o;

	snprintf(floor, sizeof(floor), "%s%s%s", l->floor, l->plus ? "+" : "",
		 l->plus ? l->plus : "");
	o = json_pack("{s:s, s:f}", "floor", floor, "ratio", times);
	if (l->at_most > 0) {
		json_object_set_new(o, "target", json_real(l->at_most));
		json_object_set_new(o, "reached", json_boolean(times <= l->at_most));
	}
	return o;
}

/* "p50_us": 1.5, or "p50_kib". */
static void set_value(json_t *o, const struct bench_row *row, const char *name,
		      uint64_t measured)
{
	char key[32];

	snprintf(key, sizeof(key), "%s_%s", name, row->memory_used ? "kib" : "us");
	json_object_set_new(o, key, json_real(in_unit(row, measured)));
}

static json_t *distribution_json(const struct bench_row *row, const struct distribution *d)
{
	json_t *o = json_pack("{s:s, s:s}", "name", row->name, "what", row->what);

	set_value(o, row, "p50", d->p50);
	set_value(o, row, "p99", d->p99);
	set_value(o, row, "p999", d->p999);
	set_value(o, row, "min", d->min);
	set_value(o, row, "max", d->max);
	json_object_set_new(o, "samples", json_integer((json_int_t)d->n));
	return o;
}

static json_t *aim_json(const struct bench_row *row, const struct aim *a, double at_most,
			double measured)
{
	json_t *o = json_pack("{s:s}", "percentile", a->slowest ? "p999" : "p50");

	set_value(o, row, "at_most", (uint64_t)at_most);
	json_object_set_new(o, "reached", json_boolean(measured <= at_most));
	return o;
}

static json_t *row_json(const struct bench_result *results, size_t n,
			const struct bench_result *r)
{
	json_t *more = json_array(), *o = distribution_json(r->row, &r->times);
	json_t *reach = json_array();
	bool first = true;

	for (size_t i = 0; i < COUNT_OF(aims); i++) {
		double at_most = aim_ns(results, n, &aims[i]);

		if (strcmp(aims[i].row, r->row->name) == 0 && at_most > 0)
			json_array_append_new(reach, aim_json(r->row, &aims[i], at_most,
							      aimed_ns(r, &aims[i])));
	}
	if (json_array_size(reach))
		json_object_set(o, "aims", reach);
	json_decref(reach);
	for (size_t l = 0; l < COUNT_OF(limits); l++) {
		double times = ratio(results, n, &limits[l]);

		if (strcmp(limits[l].row, r->row->name) != 0 || times == 0)
			continue;
		if (first)
			json_object_update_new(o, limit_json(&limits[l], times));
		else
			json_array_append_new(more, limit_json(&limits[l], times));
		first = false;
	}
	if (json_array_size(more))
		json_object_set(o, "also", more);
	json_decref(more);
	return o;
}

static json_t *scale_json(const struct bench_scale *scale, size_t n)
{
	json_t *steps = json_array();

	for (size_t i = 0; i < n; i++) {
		const struct bench_scale *s = &scale[i];

		json_array_append_new(
			steps,
			json_pack("{s:I, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I}", "live",
				  (json_int_t)s->live, "create_us", (double)s->create_ns / 1e3,
				  "ratio", (double)s->create_ns / (double)scale[0].create_ns,
				  "start_us", (double)s->start_ns / 1e3, "bare_cold_start_us",
				  (double)s->bare_ns / 1e3, "process_bytes",
				  (json_int_t)s->process_bytes, "written_bytes",
				  (json_int_t)s->written_bytes, "library_bytes",
				  (json_int_t)s->library_bytes, "kernel_bytes",
				  (json_int_t)s->kernel_bytes));
	}
	return steps;
}

int bench_report_json(const mayfly_host_info *info, const struct bench_result *results,
		      size_t n, const struct bench_scale *scale, size_t nscale)
{
	json_t *rows = json_array(), *all;

	for (size_t i = 0; i < n; i++)
		json_array_append_new(rows, row_json(results, n, &results[i]));
	all = json_pack("{s:o, s:o}", "host", hostinfo_json(info), "rows", rows);
	if (nscale)
		json_object_set_new(all, "scale", scale_json(scale, nscale));
	return json_finish(all);
}

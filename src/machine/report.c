/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/report.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "machine/machine.h"

/* The most frequent ports and addresses that are listed. */
#define LISTED 16

struct out {
	mayfly_write_fn write;
	void *context;
};

__attribute__((format(printf, 2, 3))) static void put(const struct out *out, const char *format,
						      ...)
{
	char line[256];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n > 0)
		out->write(out->context, line,
			   (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}

/* --- Points: the timeline's, and when each device was first used ----------------------- */

static int by_time(const void *a, const void *b)
{
	const struct timeline_point *x = a, *y = b;

	return (x->when > y->when) - (x->when < y->when);
}

static size_t add_bus(const struct bus *bus, struct timeline_point *points)
{
	size_t n = 0;

	for (uint32_t i = 0; i < bus->count; i++) {
		uint64_t first = atomic_load(&bus->ranges[i].first);

		if (!first)
			continue;
		points[n].when = first;
		snprintf(points[n].name, sizeof(points[n].name), "first access: %s",
			 bus->ranges[i].name);
		n++;
	}
	return n;
}

static size_t add_requests(const struct machine *m, struct timeline_point *points)
{
	size_t n = 0;

	for (uint32_t i = 0; i < m->nvirtio; i++) {
		const struct virtio_device *dev = virtio_mmio_device(m->virtio[i]);
		uint64_t first = atomic_load(&dev->first_request);

		if (!first)
			continue;
		points[n].when = first;
		snprintf(points[n].name, sizeof(points[n].name), "first request: %s %u",
			 dev->ops->name, i);
		n++;
	}
	return n;
}

static size_t collect(const struct machine *m, struct timeline_point *points)
{
	const struct timeline_point *marks = NULL;
	size_t n = timeline_points(m->timeline, &marks);

	if (n)
		memcpy(points, marks, n * sizeof(*points));
	n += add_bus(&m->ports, points + n);
	n += add_bus(&m->memory, points + n);
	n += add_requests(m, points + n);
	qsort(points, n, sizeof(*points), by_time);
	return n;
}

/* --- As a table ------------------------------------------------------------------------ */

static const char *const kind_names[EXIT_KINDS] = {
	[EXIT_PORT_IN] = "port reads",	[EXIT_PORT_OUT] = "port writes",
	[EXIT_READ] = "register reads", [EXIT_WRITE] = "register writes",
	[EXIT_OTHER] = "others",
};

static const char *name_at(const struct bus *bus, uint64_t address)
{
	for (uint32_t i = 0; i < bus->count; i++)
		if (address - bus->ranges[i].base < bus->ranges[i].len)
			return bus->ranges[i].name;
	return "nobody";
}

static void put_exits(const struct machine *m, const struct out *out)
{
	enum timeline_exit kind;
	uint64_t address, count;

	put(out, "\n%12s  exits\n", "count");
	for (int k = 0; k < EXIT_KINDS; k++)
		put(out, "%12llu  %s\n",
		    (unsigned long long)timeline_exits(m->timeline, (enum timeline_exit)k),
		    kind_names[k]);
	for (size_t rank = 0; rank < LISTED; rank++) {
		const struct bus *bus;

		if (!timeline_address(m->timeline, rank, &kind, &address, &count))
			return;
		bus = kind == EXIT_PORT_IN || kind == EXIT_PORT_OUT ? &m->ports : &m->memory;
		if (rank == 0)
			put(out, "\n%12s  most frequent\n", "count");
		put(out, "%12llu  %s at 0x%llx: %s\n", (unsigned long long)count,
		    kind_names[kind], (unsigned long long)address, name_at(bus, address));
	}
}

static double ms(uint64_t from, uint64_t to)
{
	return to >= from ? (double)(to - from) / 1e6 : -(double)(from - to) / 1e6;
}

static void put_table(const struct machine *m, const struct timeline_point *points, size_t n,
		      uint64_t started, const struct out *out)
{
	uint64_t last = started;

	put(out, "%12s %12s  what\n", "ms", "+ms");
	for (size_t i = 0; i < n; i++) {
		put(out, "%12.3f %12.3f  %s\n", ms(started, points[i].when),
		    ms(last, points[i].when), points[i].name);
		last = points[i].when;
	}
	put_exits(m, out);
}

/* --- As JSON: "Trace Event Format" of the Chromium project ----------------------------- */

/* Names are printable; only these two have a meaning. */
static void put_json_text(const struct out *out, const char *text)
{
	for (; *text; text++)
		put(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
}

/* Each point ends a span that began with the one before it. */
static void put_json(const struct machine *m, const struct timeline_point *points, size_t n,
		     uint64_t started, const struct out *out)
{
	uint64_t last = started;

	/* Where the times below count from, on this host's CLOCK_MONOTONIC. */
	put(out, "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"started_ns\":%llu},\n",
	    (unsigned long long)started);
	put(out, "\"traceEvents\":[\n");
	for (size_t i = 0; i < n; i++) {
		put(out, "{\"name\":\"");
		put_json_text(out, points[i].name);
		put(out, "\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":%.3f,\"dur\":%.3f},\n",
		    ms(started, last) * 1e3, ms(last, points[i].when) * 1e3);
		last = points[i].when;
	}
	put(out, "{\"name\":\"exits\",\"ph\":\"C\",\"pid\":1,\"ts\":%.3f,\"args\":{",
	    ms(started, last) * 1e3);
	for (int k = 0; k < EXIT_KINDS; k++)
		put(out, "%s\"%s\":%llu", k ? "," : "", kind_names[k],
		    (unsigned long long)timeline_exits(m->timeline, (enum timeline_exit)k));
	put(out, "}}\n]}\n");
}

int machine_report(const struct machine *m, bool chrome, uint64_t started_ns,
		   mayfly_write_fn write, void *context, mayfly_error *err)
{
	const struct out out = {write, context};
	_cleanup_free_ struct timeline_point *points = calloc(
		TIMELINE_MAX + 2 * BUS_MAX_RANGES + VIRTIO_MMIO_MAX_DEVICES, sizeof(*points));
	size_t n;

	if (!points)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a report");
	n = collect(m, points);
	if (chrome)
		put_json(m, points, n, started_ns, &out);
	else
		put_table(m, points, n, started_ns, &out);
	return 0;
}

void machine_count(const struct machine *m, mayfly_machine_stats *stats)
{
	stats->memory = machine_own_memory(m);
	for (uint32_t i = 0; i < m->ncpus; i++)
		stats->exits += atomic_load(&m->cpus[i].exits);
	for (uint32_t i = 0; i < m->nvirtio; i++) {
		const struct virtio_device *dev = virtio_mmio_device(m->virtio[i]);
		uint64_t requests = atomic_load(&dev->requests);

		if (dev->ops->type == VIRTIO_BLK)
			stats->disk_requests += requests;
		else if (dev->ops->type == VIRTIO_NET)
			stats->packets += requests;
	}
}

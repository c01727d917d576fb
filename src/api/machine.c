/* SPDX-License-Identifier: Apache-2.0 */
/* The public functions on machines: arguments are checked here, src/machine does the rest. */
#include "api/options.h"
#include "machine/machine.h"
#include "machine/report.h"
#include "virtio/blk.h"

#define KNOWN_FLAGS                                                                            \
	(MAYFLY_MACHINE_RNG | MAYFLY_MACHINE_VIRTIO_CONSOLE | MAYFLY_MACHINE_PLAIN_CMDLINE |   \
	 MAYFLY_MACHINE_LEGACY_VIRTIO | MAYFLY_MACHINE_TIMELINE | MAYFLY_MACHINE_NO_SECCOMP |  \
	 MAYFLY_MACHINE_ACPI | MAYFLY_MACHINE_NO_ACPI | MAYFLY_MACHINE_MAP_KERNEL)

/* The public name of a machine is an opaque one. */
static struct machine *machine_of(mayfly_machine *machine)
{
	return (struct machine *)machine;
}

static int check_lists(const mayfly_machine_options *o, mayfly_error *err)
{
	if ((o->ndisks && !o->disks) || (o->nnics && !o->nics) || (o->nports && !o->ports) ||
	    (o->nfw && !o->fw))
		return fail(err, MAYFLY_E_INVALID, "a list with a length but no entries: NULL");
	for (size_t i = 0; i < o->ndisks; i++) {
		const uint32_t known = MAYFLY_DISK_READONLY | MAYFLY_DISK_SNAPSHOT;

		if (!o->disks[i].path || (o->disks[i].flags & ~known))
			return fail(err, MAYFLY_E_INVALID, "disk %zu: no path, or flags 0x%x",
				    i + 1, o->disks[i].flags);
		if (o->disks[i].overlay_limit && !(o->disks[i].flags & MAYFLY_DISK_SNAPSHOT))
			return fail(err, MAYFLY_E_INVALID,
				    "disk %zu: overlay_limit goes with MAYFLY_DISK_SNAPSHOT",
				    i + 1);
		if (o->disks[i].serial && strlen(o->disks[i].serial) > BLK_ID_LEN)
			return fail(err, MAYFLY_E_INVALID,
				    "disk %zu: its serial number has more than %d bytes", i + 1,
				    BLK_ID_LEN);
	}
	for (size_t i = 0; i < o->nnics; i++) {
		const mayfly_nic *nic = &o->nics[i];

		if (nic->user + !!nic->tap + !!nic->fd_plus_one != 1 || nic->fd_plus_one < 0)
			return fail(err, MAYFLY_E_INVALID,
				    "network %zu: exactly one of user, tap and fd_plus_one is "
				    "to be set",
				    i + 1);
		if (!nic->user && (nic->nforwards || nic->host || nic->helper))
			return fail(err, MAYFLY_E_INVALID,
				    "network %zu: forwards, host and helper go with user only",
				    i + 1);
		if (nic->nforwards && !nic->forwards)
			return fail(err, MAYFLY_E_INVALID, "network %zu: forwards is NULL",
				    i + 1);
	}
	for (size_t i = 0; i < o->nports; i++)
		if (!o->ports[i].name || !o->ports[i].path)
			return fail(err, MAYFLY_E_INVALID, "port %zu: no name or no path",
				    i + 1);
	for (size_t i = 0; i < o->nfw; i++)
		if (!o->fw[i].name || (!o->fw[i].data && o->fw[i].len))
			return fail(err, MAYFLY_E_INVALID, "file %zu: no name or no data",
				    i + 1);
	return 0;
}

static int check_options(const mayfly_machine_options *o, mayfly_error *err)
{
	if (!o->kernel == !o->snapshot)
		return fail(err, MAYFLY_E_INVALID,
			    "exactly one of kernel and snapshot is to be set");
	if (o->flags & ~KNOWN_FLAGS)
		return fail(err, MAYFLY_E_INVALID, "unknown flags: 0x%x",
			    o->flags & ~KNOWN_FLAGS);
	if (o->console_in_plus_one < 0 || o->console_out_plus_one < 0)
		return fail(err, MAYFLY_E_INVALID, "the console's descriptors are plus one");
	return check_lists(o, err);
}

int mayfly_machine_new(const mayfly_machine_options *options, mayfly_machine **out,
		       mayfly_error *err)
{
	mayfly_machine_options o;
	struct machine *m;
	int r;

	if (!options || !out)
		return fail(err, MAYFLY_E_INVALID, "options and out must not be NULL");
	r = options_copy(&o, sizeof(o), options, "mayfly_machine_options", err);
	if (r == 0)
		r = check_options(&o, err);
	if (r == 0)
		r = machine_new(&hv_kvm, &o, &m, err);
	if (r != 0)
		return r;
	*out = (mayfly_machine *)m;
	return 0;
}

void mayfly_machine_free(mayfly_machine *machine)
{
	machine_free(machine_of(machine));
}

int mayfly_machine_run(mayfly_machine *machine, const mayfly_machine_pause *pause,
		       mayfly_machine_end *end, mayfly_error *err)
{
	mayfly_machine_end result = {.size = sizeof(result)};
	mayfly_machine_pause p;
	int r;

	if (!machine || !end)
		return fail(err, MAYFLY_E_INVALID, "machine and end must not be NULL");
	r = options_copy(&p, sizeof(p), pause, "mayfly_machine_pause", err);
	if (r == 0 && p.console && !*p.console)
		r = fail(err, MAYFLY_E_INVALID, "the console's text to pause at is empty");
	if (r < 0)
		return r;
	r = machine_run(machine_of(machine), &p, &result, err);
	if (r == 0)
		return options_give(end, &result, sizeof(result), "mayfly_machine_end", err);
	/* What it says of the console; the error is the run's. */
	(void)options_give(end, &result, sizeof(result), "mayfly_machine_end", NULL);
	return r;
}

void mayfly_machine_interrupt(mayfly_machine *machine)
{
	if (machine)
		machine_interrupt(machine_of(machine));
}

void mayfly_machine_resize(mayfly_machine *machine, uint16_t columns, uint16_t rows)
{
	if (machine)
		machine_resize(machine_of(machine), columns, rows);
}

int mayfly_machine_snapshot(mayfly_machine *machine, mayfly_snapshot **out, mayfly_error *err)
{
	if (!machine || !out)
		return fail(err, MAYFLY_E_INVALID, "machine and out must not be NULL");
	return machine_snapshot(machine_of(machine), out, err);
}

int mayfly_machine_timeline(mayfly_machine *machine, uint32_t format, uint64_t started_ns,
			    mayfly_write_fn write, void *context, mayfly_error *err)
{
	if (!machine || !write)
		return fail(err, MAYFLY_E_INVALID, "machine and write must not be NULL");
	if (!machine_of(machine)->timeline)
		return fail(err, MAYFLY_E_INVALID,
			    "the machine was made without MAYFLY_MACHINE_TIMELINE");
	if (format != MAYFLY_TIMELINE_TEXT && format != MAYFLY_TIMELINE_CHROME)
		return fail(err, MAYFLY_E_INVALID, "there is no timeline format %u", format);
	return machine_report(machine_of(machine), format == MAYFLY_TIMELINE_CHROME, started_ns,
			      write, context, err);
}

int mayfly_machine_get_stats(mayfly_machine *machine, mayfly_machine_stats *stats,
			     mayfly_error *err)
{
	mayfly_machine_stats s = {.size = sizeof(s)};

	if (!machine || !stats)
		return fail(err, MAYFLY_E_INVALID, "machine and stats must not be NULL");
	machine_count(machine_of(machine), &s);
	return options_give(stats, &s, sizeof(s), "mayfly_machine_stats", err);
}

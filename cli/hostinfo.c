/* SPDX-License-Identifier: Apache-2.0 */
#include "hostinfo.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli.h"
#include "message.h"

json_t *hostinfo_json(const mayfly_host_info *info)
{
	struct utsname kernel;
	double load = 0;
	json_t *host, *more;

	if (uname(&kernel) != 0)
		return NULL;
	/* Of the last minute: figures from a busy host are worth less. */
	getloadavg(&load, 1);
	host = json_pack("{s:s, s:s, s:I, s:f}", "mayfly", mayfly_version(), "kernel",
			 kernel.release, "cpus", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN),
			 "load", load);
	if (!host || !info)
		return host;
	more = json_pack("{s:s, s:s, s:i, s:I, s:I, s:I}", "hypervisor", info->hypervisor,
			 "cpu", info->cpu, "api_version", info->api_version, "xcr0",
			 (json_int_t)info->xcr0, "max_vcpus", (json_int_t)info->max_vcpus,
			 "max_memslots", (json_int_t)info->max_memslots);
	json_object_update(host, more);
	json_decref(more);
	more = json_pack("{s:b, s:b, s:b, s:b, s:b}", "sync_regs", info->sync_regs,
			 "manual_dirty_log", info->manual_dirty_log, "readonly_memory",
			 info->readonly_memory, "fsgsbase", info->fsgsbase, "ring0_native",
			 info->ring0_native);
	json_object_update(host, more);
	json_decref(more);
	return host;
}

int json_finish(json_t *all)
{
	int r = all ? json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) : -1;

	json_decref(all);
	if (r != 0) {
		complain("no memory for the JSON, or it could not be written");
		return STATUS_FAILED;
	}
	putchar('\n');
	return STATUS_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Each check adds one finding, or none where the host has no such setting. */
#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli.h"
#include "doctor.h"
#include "message.h"

#define FDS_EACH ((rlim_t)2) /* file descriptors a sandbox holds: the VM's and the vCPU's */
#define FEW_SANDBOXES 1000
#define MAPS_EACH 4 /* mappings a sandbox makes, about */

bool doctor_kernel_at_least(const struct doctor *d, unsigned long major, unsigned long minor)
{
	char release[128], *rest;
	unsigned long a, b;

	doctor_read(d, "/proc/sys/kernel/osrelease", release, sizeof(release));
	a = strtoul(release, &rest, 10);
	b = *rest == '.' ? strtoul(rest + 1, NULL, 10) : 0;
	return a > major || (a == major && b >= minor);
}

/* With the mitigation possible, KVM makes a kernel thread for each VM. */
static void check_nx_huge_pages(struct doctor *d)
{
	char value[32], bug[256];
	bool affected;

	if (!doctor_read(d, "/sys/module/kvm/parameters/nx_huge_pages", value, sizeof(value)))
		return;
	doctor_read(d, "/sys/devices/system/cpu/vulnerabilities/itlb_multihit", bug,
		    sizeof(bug));
	affected = bug[0] && strcmp(bug, "Not affected") != 0;
	if (strcmp(value, "never") == 0 && !affected) {
		doctor_add(d, LEVEL_OK, "nx_huge_pages", "never");
	} else if (affected) {
		doctor_add(d, LEVEL_OK, "nx_huge_pages",
			   "%s; this CPU needs the mitigation (itlb_multihit), which makes "
			   "creating VMs slower",
			   value);
	} else if (doctor_kernel_at_least(d, 6, 5)) {
		doctor_add(d, LEVEL_NOTE, "nx_huge_pages",
			   "kvm.nx_huge_pages=%s: KVM keeps a thread per VM for a mitigation "
			   "that this CPU does not need.",
			   value);
		doctor_advise(
			d, "While no VM runs: 'echo never > "
			   "/sys/module/kvm/parameters/nx_huge_pages'; for good: 'options kvm "
			   "nx_huge_pages=never' in /etc/modprobe.d/kvm.conf.");
	} else {
		doctor_add(d, LEVEL_OK, "nx_huge_pages", "%s; 'never' needs Linux 6.5", value);
	}
}

/* Creating a VM moves a thread between control groups, which waits for an RCU grace period. */
static void check_favordynmods(struct doctor *d)
{
	char text[16384];
	char *line, *rest = text;

	doctor_read(d, "/proc/self/mountinfo", text, sizeof(text));
	while ((line = strsep(&rest, "\n"))) {
		/* Fields: id parent dev root MOUNT-POINT options... - TYPE source super-options */
		char *type = strstr(line, " - cgroup2 "), *options, mount[256];

		if (!type || sscanf(line, "%*s %*s %*s %*s %255s", mount) != 1)
			continue;
		options = strrchr(type, ' ');
		if (strstr(options, "favordynmods")) {
			doctor_add(d, LEVEL_OK, "favordynmods", "%s has it", mount);
		} else if (!doctor_kernel_at_least(d, 6, 0)) {
			doctor_add(d, LEVEL_OK, "favordynmods", "this kernel does not need it");
		} else {
			doctor_add(d, LEVEL_NOTE, "favordynmods",
				   "%s is mounted without favordynmods: creating a VM can "
				   "stall for 20 to 70 ms now and then.",
				   mount);
			doctor_advise(d,
				      "'mount -o remount,favordynmods %s' (fork and exit get "
				      "a little slower).",
				      mount);
		}
		return;
	}
}

/* All frequency governors of the host, once each, into a list; how many CPUs have one. */
static size_t list_governors(const struct doctor *d, char *list, size_t size)
{
	char dir[PATH_MAX], path[PATH_MAX], value[32];
	size_t n = 0, len = 0;
	struct dirent *e;
	DIR *cpus = opendir(doctor_path(d, dir, "/sys/devices/system/cpu"));

	list[0] = '\0';
	while (cpus && (e = readdir(cpus))) {
		if (strncmp(e->d_name, "cpu", 3) != 0 ||
		    strspn(e->d_name + 3, "0123456789") == 0)
			continue;
		snprintf(path, sizeof(path),
			 "/sys/devices/system/cpu/%.32s/cpufreq/scaling_governor", e->d_name);
		if (!doctor_read(d, path, value, sizeof(value)) || !value[0])
			continue;
		n++;
		if (!strstr(list, value) && len + strlen(value) + 3 < size)
			len += (size_t)snprintf(list + len, size - len, "%s%s", len ? ", " : "",
						value);
	}
	if (cpus)
		closedir(cpus);
	return n;
}

static void check_governor(struct doctor *d)
{
	char list[128];

	if (!list_governors(d, list, sizeof(list)))
		return;
	if (strcmp(list, "performance") == 0) {
		doctor_add(d, LEVEL_OK, "cpu_governor", "performance");
		return;
	}
	doctor_add(d, LEVEL_NOTE, "cpu_governor",
		   "The CPUs' clock is governed by %s: calls after a pause are slower.", list);
	doctor_advise(d, "For steady figures: 'cpupower frequency-set -g performance'.");
}

static void check_clock(struct doctor *d)
{
	char value[64];

	if (!doctor_read(d, "/sys/devices/system/clocksource/clocksource0/current_clocksource",
			 value, sizeof(value)))
		return;
	if (strcmp(value, "hpet") != 0 && strcmp(value, "acpi_pm") != 0 &&
	    strcmp(value, "jiffies") != 0 && strcmp(value, "refined-jiffies") != 0) {
		doctor_add(d, LEVEL_OK, "clocksource", "%s", value);
		return;
	}
	doctor_add(d, LEVEL_NOTE, "clocksource",
		   "The kernel reads the time from %s, which costs a system call and a slow "
		   "device each time: limits of time make calls slower, and figures are "
		   "coarse.",
		   value);
	doctor_advise(
		d, "The kernel's log says why it gave up tsc ('dmesg | grep -i clocksource').");
}

/* --- Limits ---------------------------------------------------------------------------------- */

static void check_descriptors(struct doctor *d)
{
	struct rlimit limit;
	char soft[GROUPED_SIZE], hard[GROUPED_SIZE], room[GROUPED_SIZE];
	enum level level = LEVEL_OK;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	if (limit.rlim_cur < FEW_SANDBOXES * FDS_EACH)
		level = LEVEL_NOTE;
	doctor_add(d, level, "descriptors",
		   "ulimit -n is %s, room for some %s sandboxes a process",
		   limit.rlim_cur == RLIM_INFINITY ? "unlimited"
						   : grouped(soft, limit.rlim_cur),
		   grouped(room, limit.rlim_cur / FDS_EACH));
	if (level == LEVEL_OK)
		return;
	if (limit.rlim_max > limit.rlim_cur)
		doctor_advise(d, "A process may raise it itself, or its shell: 'ulimit -n %s'.",
			      limit.rlim_max == RLIM_INFINITY ? "unlimited"
							      : grouped(hard, limit.rlim_max));
	else
		doctor_advise(d, "The hard limit is as low: raise nofile in "
				 "/etc/security/limits.conf, or LimitNOFILE of the service.");
}

static void check_maps(struct doctor *d)
{
	char value[32], room[GROUPED_SIZE];
	uint64_t maps;

	if (!doctor_read(d, "/proc/sys/vm/max_map_count", value, sizeof(value)))
		return;
	maps = strtoull(value, NULL, 10);
	doctor_add(d, maps / MAPS_EACH < FEW_SANDBOXES ? LEVEL_NOTE : LEVEL_OK, "mappings",
		   "vm.max_map_count is %s, room for some %s sandboxes a process", value,
		   grouped(room, maps / MAPS_EACH));
	if (maps / MAPS_EACH < FEW_SANDBOXES)
		doctor_advise(d, "'sysctl vm.max_map_count=65530', the usual value, or more.");
}

static void check_overcommit(struct doctor *d)
{
	struct rlimit limit;
	char value[32], size[GROUPED_SIZE];

	doctor_read(d, "/proc/sys/vm/overcommit_memory", value, sizeof(value));
	if (strcmp(value, "2") == 0) {
		doctor_add(d, LEVEL_NOTE, "overcommit",
			   "vm.overcommit_memory is 2: a guest's whole memory is accounted "
			   "for, used or not.");
		doctor_advise(d,
			      "'sysctl vm.overcommit_memory=0', or give guests little memory.");
	}
	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
		doctor_add(d, LEVEL_NOTE, "address_space",
			   "ulimit -v allows %s: guests' memory counts in full, used or not.",
			   bytes_text(size, (double)limit.rlim_cur));
		doctor_advise(d, "'ulimit -v unlimited'.");
	}
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
		doctor_add(d, LEVEL_NOTE, "file_size",
			   "ulimit -f allows %s: larger snapshots and core files cannot be "
			   "written.",
			   bytes_text(size, (double)limit.rlim_cur));
		doctor_advise(d, "'ulimit -f unlimited'.");
	}
}

/* A CPU quota (control groups, version 2) stops all threads for the rest of its period. */
static void check_quota(struct doctor *d)
{
	char group[1024], path[PATH_MAX], value[64], *start, *end;
	double quota, period;

	doctor_read(d, "/proc/self/cgroup", group, sizeof(group));
	start = strstr(group, "0::/");
	if (!start)
		return;
	start += 3;
	end = strchr(start, '\n');
	if (end)
		*end = '\0';
	snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cpu.max", start);
	/* "max PERIOD" without a quota, both in us. */
	if (!doctor_read(d, path, value, sizeof(value)))
		return;
	quota = strtod(value, &end);
	period = strtod(end, NULL);
	if (end == value || quota <= 0 || period <= 0)
		return;
	doctor_add(d, LEVEL_NOTE, "cpu_quota",
		   "The control group gets %.2f CPUs: once used up, calls stall for up to "
		   "%.0f ms.",
		   quota / period, period / 1e3);
	doctor_advise(d, "Raise or remove its cpu.max (%s).", path);
}

/* --- Safety ---------------------------------------------------------------------------------- */

static void check_swap(struct doctor *d)
{
	char text[4096], *line;

	if (!doctor_read(d, "/proc/swaps", text, sizeof(text)))
		return;
	/* The first line is the heading. */
	line = strchr(text, '\n');
	if (!line) {
		doctor_add(d, LEVEL_OK, "swap", "none");
		return;
	}
	line++;
	doctor_add(d, LEVEL_NOTE, "swap",
		   "Guests' memory can go to %.*s: first calls after that are slow, and what "
		   "guests held in memory is then on a disk.",
		   (int)strcspn(line, " \t\n"), line);
	doctor_advise(d, "'swapoff -a', or encrypted swap.");
}

/* CPU bugs that the kernel leaves open: a hostile guest could read other memory by them. */
static void check_vulnerabilities(struct doctor *d)
{
	char dir[PATH_MAX], path[PATH_MAX], value[256], list[512] = "", line[4096];
	size_t len = 0, known = 0;
	const char *option;
	struct dirent *e;
	DIR *bugs = opendir(doctor_path(d, dir, "/sys/devices/system/cpu/vulnerabilities"));

	while (bugs && (e = readdir(bugs))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/vulnerabilities/%.64s",
			 e->d_name);
		if (!doctor_read(d, path, value, sizeof(value)))
			continue;
		known++;
		/* Also where it is a part of the text: "Mitigation: ...; SMT vulnerable". */
		if ((strstr(value, "Vulnerable") || strstr(value, "vulnerable")) &&
		    len + strlen(e->d_name) + 3 < sizeof(list))
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
						len ? ", " : "", e->d_name);
	}
	if (bugs)
		closedir(bugs);
	if (!known)
		return;
	if (!len) {
		doctor_add(d, LEVEL_OK, "mitigations", "none of the %zu known CPU bugs is open",
			   known);
		return;
	}
	doctor_add(d, LEVEL_NOTE, "mitigations",
		   "CPU bugs that the kernel calls vulnerable, wholly or in part: %s. A "
		   "hostile guest might read memory that is not its own.",
		   list);
	doctor_read(d, "/proc/cmdline", line, sizeof(line));
	option = strstr(line, "mitigations=");
	doctor_advise(
		d,
		"%s%.*s%s'grep . /sys/devices/system/cpu/vulnerabilities/*' tells more; new "
		"microcode, a new kernel, or no SMT (nosmt) may help.",
		option ? "The kernel's command line says " : "",
		option ? (int)strcspn(option, " ") : 0, option ? option : "",
		option ? ". " : "");
}

void doctor_check_host(struct doctor *d)
{
	check_nx_huge_pages(d);
	check_favordynmods(d);
	check_governor(d);
	check_clock(d);
	check_quota(d);
	check_descriptors(d);
	check_maps(d);
	check_overcommit(d);
	check_swap(d);
	check_vulnerabilities(d);
}

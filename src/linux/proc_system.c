/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says of the system: one machine with the guest's memory and processors, started
 * with it, that runs nothing else. */
#include <cpuid.h>
#include <inttypes.h>
#include <stdio.h>

#include "arch/x86_64/cpuid.h"
#include "linux/times.h"
#include "linux/vfs_internal.h"

#define TICKS_PER_SEC 100

static uint64_t uptime_ns(const struct vfs *vfs)
{
	return clock_now() - vfs->p->started;
}

void proc_meminfo(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	const struct mm *mm = &vfs->p->mm;
	uint64_t total = mm->limit >> 10, used = atomic_load(&mm->charged) >> 10;
	uint64_t left = total > used ? total - used : 0;
	const struct {
		const char *name;
		uint64_t kib;
	} lines[] = {
		{"MemTotal:", total},	 {"MemFree:", left},
		{"MemAvailable:", left}, {"Buffers:", 0},
		{"Cached:", 0},		 {"SwapCached:", 0},
		{"Active:", used},	 {"Inactive:", 0},
		{"SwapTotal:", 0},	 {"SwapFree:", 0},
		{"Dirty:", 0},		 {"Writeback:", 0},
		{"AnonPages:", used},	 {"Mapped:", 0},
		{"Shmem:", 0},		 {"Slab:", 0},
		{"SReclaimable:", 0},	 {"CommitLimit:", total},
		{"Committed_AS:", used}, {"VmallocTotal:", 0},
		{"HugePages_Total:", 0},
	};

	(void)entry;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		proc_printf(text, "%-15s %8" PRIu64 "%s\n", lines[i].name, lines[i].kib,
			    strncmp(lines[i].name, "Huge", 4) ? " kB" : "");
}

/* The kernel's names (arch/x86/include/asm/cpufeatures.h) of what guests can be shown. */
static const struct {
	enum cpuid_word word;
	unsigned bit;
	const char *name;
} flag_names[] = {
	{CPUID_1_EDX, 0, "fpu"},
	{CPUID_1_EDX, 4, "tsc"},
	{CPUID_1_EDX, 8, "cx8"},
	{CPUID_1_EDX, 11, "sep"},
	{CPUID_1_EDX, 15, "cmov"},
	{CPUID_1_EDX, 19, "clflush"},
	{CPUID_1_EDX, 23, "mmx"},
	{CPUID_1_EDX, 24, "fxsr"},
	{CPUID_1_EDX, 25, "sse"},
	{CPUID_1_EDX, 26, "sse2"},
	{CPUID_8_1_EDX, 11, "syscall"},
	{CPUID_8_1_EDX, 20, "nx"},
	{CPUID_8_1_EDX, 27, "rdtscp"},
	{CPUID_8_1_EDX, 29, "lm"},
	{CPUID_1_ECX, 0, "pni"},
	{CPUID_1_ECX, 1, "pclmulqdq"},
	{CPUID_1_ECX, 9, "ssse3"},
	{CPUID_1_ECX, 12, "fma"},
	{CPUID_1_ECX, 13, "cx16"},
	{CPUID_1_ECX, 19, "sse4_1"},
	{CPUID_1_ECX, 20, "sse4_2"},
	{CPUID_1_ECX, 22, "movbe"},
	{CPUID_1_ECX, 23, "popcnt"},
	{CPUID_1_ECX, 25, "aes"},
	{CPUID_1_ECX, 26, "xsave"},
	{CPUID_1_ECX, 28, "avx"},
	{CPUID_1_ECX, 29, "f16c"},
	{CPUID_1_ECX, 30, "rdrand"},
	{CPUID_1_ECX, 31, "hypervisor"},
	{CPUID_8_1_ECX, 0, "lahf_lm"},
	{CPUID_8_1_ECX, 5, "abm"},
	{CPUID_8_1_ECX, 6, "sse4a"},
	{CPUID_8_1_ECX, 8, "3dnowprefetch"},
	{CPUID_7_EBX, 0, "fsgsbase"},
	{CPUID_7_EBX, 3, "bmi1"},
	{CPUID_7_EBX, 5, "avx2"},
	{CPUID_7_EBX, 8, "bmi2"},
	{CPUID_7_EBX, 9, "erms"},
	{CPUID_7_EBX, 16, "avx512f"},
	{CPUID_7_EBX, 17, "avx512dq"},
	{CPUID_7_EBX, 18, "rdseed"},
	{CPUID_7_EBX, 19, "adx"},
	{CPUID_7_EBX, 21, "avx512ifma"},
	{CPUID_7_EBX, 23, "clflushopt"},
	{CPUID_7_EBX, 24, "clwb"},
	{CPUID_7_EBX, 28, "avx512cd"},
	{CPUID_7_EBX, 29, "sha_ni"},
	{CPUID_7_EBX, 30, "avx512bw"},
	{CPUID_7_EBX, 31, "avx512vl"},
	{CPUID_7_ECX, 1, "avx512vbmi"},
	{CPUID_7_ECX, 2, "umip"},
	{CPUID_7_ECX, 6, "avx512_vbmi2"},
	{CPUID_7_ECX, 8, "gfni"},
	{CPUID_7_ECX, 9, "vaes"},
	{CPUID_7_ECX, 10, "vpclmulqdq"},
	{CPUID_7_ECX, 11, "avx512_vnni"},
	{CPUID_7_ECX, 12, "avx512_bitalg"},
	{CPUID_7_ECX, 14, "avx512_vpopcntdq"},
	{CPUID_7_ECX, 22, "rdpid"},
	{CPUID_7_ECX, 27, "movdiri"},
	{CPUID_7_ECX, 28, "movdir64b"},
	{CPUID_7_EDX, 4, "fsrm"},
};

/* Leaf 0 of the CPUID instruction, which guests see as the host does: twelve letters. */
static void cpu_vendor(char vendor[13])
{
	unsigned eax, ebx = 0, ecx = 0, edx = 0;

	memset(vendor, 0, 13);
	if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx))
		return;
	memcpy(vendor, &ebx, 4);
	memcpy(vendor + 4, &edx, 4);
	memcpy(vendor + 8, &ecx, 4);
}

void proc_cpuinfo(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	const struct hv_host *host = vfs->p->host;
	uint32_t cpus = process_cpus(vfs->p);
	char vendor[13];

	(void)entry;
	cpu_vendor(vendor);
	for (uint32_t i = 0; i < cpus; i++) {
		proc_printf(text,
			    "processor\t: %u\nvendor_id\t: %s\ncpu family\t: 6\nmodel\t\t: 0\n"
			    "model name\t: Virtual CPU\nstepping\t: 0\nphysical id\t: 0\n"
			    "siblings\t: %u\ncore id\t\t: %u\ncpu cores\t: %u\napicid\t\t: %u\n"
			    "fpu\t\t: yes\nfpu_exception\t: yes\nwp\t\t: yes\nflags\t\t:",
			    i, vendor, cpus, i, cpus, i);
		for (size_t k = 0; host && k < ARRAY_SIZE(flag_names); k++)
			if (cpuid_has(host->features, flag_names[k].word, flag_names[k].bit))
				proc_printf(text, " %s", flag_names[k].name);
		proc_printf(text, "\nclflush size\t: 64\ncache_alignment\t: 64\n"
				  "address sizes\t: 46 bits physical, 48 bits virtual\n\n");
	}
}

static void seconds(struct proc_text *text, uint64_t ns)
{
	proc_printf(text, "%" PRIu64 ".%02" PRIu64, ns / NSEC_PER_SEC,
		    ns % NSEC_PER_SEC / (NSEC_PER_SEC / 100));
}

static uint64_t idle_ns(struct vfs *vfs)
{
	uint64_t all = uptime_ns(vfs) * process_cpus(vfs->p);
	uint64_t used = process_cpu_ns(vfs->p, false);

	return all > used ? all - used : 0;
}

void proc_uptime(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	(void)entry;
	seconds(text, uptime_ns(vfs));
	proc_printf(text, " ");
	seconds(text, idle_ns(vfs));
	proc_printf(text, "\n");
}

void proc_loadavg(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	(void)entry;
	proc_printf(text, "0.00 0.00 0.00 1/%u %d\n", vfs->p->ntasks, PROCESS_PID);
}

static void cpu_line(struct proc_text *text, uint64_t user, uint64_t system, uint64_t idle)
{
	const uint64_t tick = NSEC_PER_SEC / TICKS_PER_SEC;

	proc_printf(text, " %" PRIu64 " 0 %" PRIu64 " %" PRIu64 " 0 0 0 0 0 0\n", user / tick,
		    system / tick, idle / tick);
}

void proc_system_stat(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	uint32_t cpus = process_cpus(vfs->p);
	uint64_t user = process_cpu_ns(vfs->p, true);
	uint64_t all = process_cpu_ns(vfs->p, false);
	uint64_t system = all > user ? all - user : 0, idle = idle_ns(vfs);

	(void)entry;
	proc_printf(text, "cpu ");
	cpu_line(text, user, system, idle);
	for (uint32_t i = 0; i < cpus; i++) {
		proc_printf(text, "cpu%u", i);
		cpu_line(text, user / cpus, system / cpus, idle / cpus);
	}
	proc_printf(text,
		    "intr 0\nctxt 0\nbtime %" PRIu64 "\nprocesses %u\nprocs_running 1\n"
		    "procs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
		    (clock_read(CLOCK_REALTIME) - uptime_ns(vfs)) / NSEC_PER_SEC,
		    vfs->p->ntasks);
}

void proc_version(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	(void)vfs;
	(void)entry;
	proc_printf(text, "Linux version " PROC_OSRELEASE " (mayfly) " PROC_OSVERSION "\n");
}

void proc_filesystems(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	(void)vfs;
	(void)entry;
	proc_printf(text, "nodev\tproc\nnodev\ttmpfs\nnodev\tdevtmpfs\nnodev\toverlay\n"
			  "nodev\tmayfly\n");
}

void proc_hostname(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	(void)entry;
	proc_printf(text, "%.64s\n", vfs->p->hostname);
}

void proc_uuid(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	char uuid[37];

	(void)vfs;
	(void)entry;
	vfs_uuid(uuid);
	proc_printf(text, "%s\n", uuid);
}

void proc_boot_id(struct vfs *vfs, struct proc_text *text, const struct proc_entry *entry)
{
	(void)entry;
	proc_printf(text, "%s\n", vfs->boot_id);
}

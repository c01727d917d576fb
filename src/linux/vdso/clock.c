/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vDSO of program guests (vdso(7)): runs in the guest, in ring 3, at PROG_VDSO_VA. Times come
 * from the page at PROG_VVAR_VA; whatever is not there is asked for by the system call. No data,
 * no relocation, no stack protector.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "abi/program.h"
#include "abi/vvar.h"

#define PAGE ((const struct vvar *)PROG_VVAR_VA)

#define NSEC 1000000000u

/* The names of vdso(7), and those without prefix, weak. */
#define EXPORT(result, name, parameters)                                                       \
	result __vdso_##name parameters;                                                       \
	result name parameters __attribute__((weak, alias("__vdso_" #name)));                  \
	result __vdso_##name parameters

static long call(long number, const void *a, const void *b, const void *c)
{
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return result;
}

/* Which of the page's clocks it is, VVAR_CLOCKS for none of them. */
static unsigned page_clock(clockid_t id, uint64_t *grain)
{
	*grain = 1;
	switch (id) {
	case CLOCK_REALTIME:
		return VVAR_REALTIME;
	case CLOCK_MONOTONIC:
		return VVAR_MONOTONIC;
	case CLOCK_BOOTTIME:
		return VVAR_BOOTTIME;
	case CLOCK_MONOTONIC_RAW:
		return VVAR_RAW;
	case CLOCK_REALTIME_COARSE:
		*grain = PAGE->coarse;
		return VVAR_REALTIME;
	case CLOCK_MONOTONIC_COARSE:
		*grain = PAGE->coarse;
		return VVAR_MONOTONIC;
	default:
		return VVAR_CLOCKS;
	}
}

EXPORT(int, clock_gettime, (clockid_t id, struct timespec *out))
{
	uint64_t grain, ns;
	unsigned which = page_clock(id, &grain);

	if (which == VVAR_CLOCKS || !vvar_read(PAGE, which, &ns))
		return (int)call(SYS_clock_gettime, (const void *)(long)id, out, NULL);
	if (grain > 1)
		ns -= ns % grain;
	out->tv_sec = (time_t)(ns / NSEC);
	out->tv_nsec = (long)(ns % NSEC);
	return 0;
}

EXPORT(int, gettimeofday, (struct timeval * out, void *zone))
{
	uint64_t ns;

	if (!vvar_read(PAGE, VVAR_REALTIME, &ns))
		return (int)call(SYS_gettimeofday, out, zone, NULL);
	if (out) {
		out->tv_sec = (time_t)(ns / NSEC);
		out->tv_usec = (suseconds_t)(ns % NSEC / 1000);
	}
	if (zone)
		*(struct timezone *)zone = (struct timezone){0, 0};
	return 0;
}

EXPORT(time_t, time, (time_t * out))
{
	uint64_t ns;
	time_t now;

	if (!vvar_read(PAGE, VVAR_REALTIME, &ns))
		return (time_t)call(SYS_time, out, NULL, NULL);
	now = (time_t)(ns / NSEC);
	if (out)
		*out = now;
	return now;
}

EXPORT(int, clock_getres, (clockid_t id, struct timespec *resolution))
{
	uint64_t grain;

	if (page_clock(id, &grain) == VVAR_CLOCKS || !PAGE->coarse)
		return (int)call(SYS_clock_getres, (const void *)(long)id, resolution, NULL);
	if (resolution) {
		resolution->tv_sec = (time_t)(grain / NSEC);
		resolution->tv_nsec = (long)(grain % NSEC);
	}
	return 0;
}

EXPORT(long, getcpu, (unsigned *cpu, unsigned *node, void *unused))
{
	(void)unused;
	if (PAGE->cpus != 1)
		return call(SYS_getcpu, cpu, node, NULL);
	if (cpu)
		*cpu = 0;
	if (node)
		*node = 0;
	return 0;
}

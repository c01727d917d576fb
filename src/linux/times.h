/* SPDX-License-Identifier: Apache-2.0 */
/* Between sys_time.c and sys_timer.c: clocks of CPU time, and times as numbers. */
#ifndef MAYFLY_LINUX_TIMES_H
#define MAYFLY_LINUX_TIMES_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "core/clock.h"

struct process;
struct task;

/* The low bits of a CPU clock's id (linux/posix-timers.h): which clock, and of whom. */
#define CPU_CLOCK_MASK 3u
#define CPU_CLOCK_VIRTUAL 1u
#define CPU_CLOCK_FD 3u
#define CPU_CLOCK_THREAD 4u

/* A clock of CPU time. */
struct cpu_clock {
	int tid; /* 0: of the whole process */
	bool user;
};

/* What the guest means by `id`, seen from `t`. False: no such clock, or not of CPU time. */
bool cpu_clock_decode(struct task *t, clockid_t id, struct cpu_clock *clock);
/* ns; 0 for a task that is not there any more. Takes tasks_lock. */
uint64_t cpu_clock_read(struct process *p, const struct cpu_clock *clock);

static inline bool time_is_valid(const struct timespec *time)
{
	return time->tv_sec >= 0 && (uint64_t)time->tv_nsec < NSEC_PER_SEC;
}

/* Of a valid time; saturates. */
static inline uint64_t time_to_ns(const struct timespec *time)
{
	if ((uint64_t)time->tv_sec >= INT64_MAX / NSEC_PER_SEC)
		return INT64_MAX;
	return clock_ns(time);
}

#endif

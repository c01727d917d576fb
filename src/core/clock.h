/* SPDX-License-Identifier: Apache-2.0 */
/* The host's clocks in nanoseconds; no state. */
#ifndef MAYFLY_CORE_CLOCK_H
#define MAYFLY_CORE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NSEC_PER_SEC ((uint64_t)1000000000)

/* Of a time that the host's kernel gave, not before 1970. */
static inline uint64_t clock_ns(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * NSEC_PER_SEC + (uint64_t)time->tv_nsec;
}

static inline struct timespec clock_timespec(uint64_t ns)
{
	return (struct timespec){
		.tv_sec = (time_t)(ns / NSEC_PER_SEC),
		.tv_nsec = (long)(ns % NSEC_PER_SEC),
	};
}

/* 0 for a clock that is not there, as that of a thread that has ended. */
static inline uint64_t clock_read(clockid_t id)
{
	struct timespec now;

	return clock_gettime(id, &now) < 0 ? 0 : clock_ns(&now);
}

/* CLOCK_MONOTONIC. */
static inline uint64_t clock_now(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Measured times and their distribution. */
#ifndef MAYFLY_CLI_SAMPLES_H
#define MAYFLY_CLI_SAMPLES_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct samples {
	uint64_t *ns;
	size_t n;
	size_t capacity;
};

/* In ns; all 0 without samples. */
struct distribution {
	size_t n;
	uint64_t min;
	uint64_t p50;
	uint64_t p90;
	uint64_t p99;
	uint64_t p999;
	uint64_t max;
};

void samples_add(struct samples *s, uint64_t ns);
void samples_fini(struct samples *s);

/*
 * Sorts them. A percentile is the smallest sample that at least so many of the samples do not
 * exceed (the nearest rank), so each value was really measured.
 */
struct distribution samples_distribution(struct samples *s);

/* A clock of the host's. */
static inline uint64_t clock_read(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A clock that only goes forward. */
static inline uint64_t now_ns(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

#endif

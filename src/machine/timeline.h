/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the time of a boot goes: points in time by name, and counts of exits. Adding is cheap and
 * from any thread; beyond TIMELINE_MAX points are only counted. Times are CLOCK_MONOTONIC ns.
 */
#ifndef MAYFLY_MACHINE_TIMELINE_H
#define MAYFLY_MACHINE_TIMELINE_H

#include "core/error.h"
#include "core/util.h"

#define TIMELINE_MAX 512
#define TIMELINE_NAME 48
#define TIMELINE_ADDRESSES 256 /* ports and device addresses that are counted apart */

enum timeline_exit {
	EXIT_PORT_IN,
	EXIT_PORT_OUT,
	EXIT_READ,
	EXIT_WRITE,
	EXIT_OTHER,
	EXIT_KINDS
};

struct timeline;

/* Errors: NOMEM. NULL is allowed as a timeline below: nothing happens. */
int timeline_new(struct timeline **out, mayfly_error *err);
void timeline_free(struct timeline *t);
/* printf; hostile parts must be printable already. */
void timeline_mark(struct timeline *t, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* A point in the past or the caller's. */
void timeline_mark_at(struct timeline *t, uint64_t when, const char *name);
/* An exit of a vCPU, at a port or address (0: not counted apart). */
void timeline_exit(struct timeline *t, enum timeline_exit kind, uint64_t address);

struct timeline_point {
	uint64_t when;
	char name[TIMELINE_NAME];
};

/* In the order of time. Not while the machine runs. Gives how many there are. */
size_t timeline_points(const struct timeline *t, const struct timeline_point **points);
uint64_t timeline_exits(const struct timeline *t, enum timeline_exit kind);
/* The most frequent first; false past the last. */
bool timeline_address(const struct timeline *t, size_t rank, enum timeline_exit *kind,
		      uint64_t *address, uint64_t *count);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlines. One thread per process, started when the first deadline is armed, sleeps until the
 * earliest. Arming is a store and a load as long as the thread wakes soon enough anyway, which
 * it mostly does, so that a limit on every call costs next to nothing.
 */
#ifndef MAYFLY_CORE_WATCHDOG_H
#define MAYFLY_CORE_WATCHDOG_H

#include "core/error.h"

#define WATCHDOG_NEVER UINT64_MAX

struct watchdog_entry {
	struct watchdog_entry *next, *prev; /* the watchdog's */
	uint64_t deadline;		    /* CLOCK_MONOTONIC ns; atomic */
	/*
	 * Called by the watchdog's thread when the deadline has passed; gives a later deadline,
	 * or WATCHDOG_NEVER. Quick; must not call the watchdog.
	 */
	uint64_t (*expired)(struct watchdog_entry *entry, uint64_t now);
};

/* Put under watch, unarmed; starts the thread. Errors: NOMEM. */
int watchdog_add(struct watchdog_entry *entry, mayfly_error *err);
/* Afterwards `expired` is not called and not running. */
void watchdog_remove(struct watchdog_entry *entry);

/* Any thread. A deadline in the past is noticed at once. */
void watchdog_arm(struct watchdog_entry *entry, uint64_t deadline);
/* `expired` may still be running when this returns. */
void watchdog_disarm(struct watchdog_entry *entry);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Between the two kinds of mayfly snapshot: that of a kernel is snapshot_machine.c. */
#ifndef MAYFLY_CLI_SNAPSHOT_H
#define MAYFLY_CLI_SNAPSHOT_H

#include <stdbool.h>

#include "cli.h"
#include "mayfly.h"

/* Whether --when's argument is about a kernel: console:TEXT, port, or a time. */
bool snapshot_is_of_machine(const char *when);

/*
 * Whether there is a directory to save it in, and not one in its place, as far as that shows
 * before: nobody should wait for the point in vain. Complains.
 */
bool snapshot_has_place(const char *path);

/* What the verb is with such an argument. */
extern const struct verb verb_snapshot_machine;

/*
 * Save what a function of the library made, with the result r, and let go of it. Complains. Gives
 * the exit status.
 */
int snapshot_save(int r, mayfly_snapshot *snap, const char *path, mayfly_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of processes that are paused; and processes made from them. */
#ifndef MAYFLY_LINUX_CHECKPOINT_H
#define MAYFLY_LINUX_CHECKPOINT_H

#include "snapshot/snapshot.h"

struct process;

/* Errors: INVALID (not paused, or something open that cannot be saved: names it), NOMEM. */
int checkpoint_save(struct process *p, struct mayfly_snapshot **out, mayfly_error *err);
/*
 * Into a process whose VM was made from the snapshot, all else new. The snapshot's own part is
 * hostile bytes. `argv`: see mayfly_process_options. Errors: FORMAT, IO, INVALID, NOMEM.
 */
int checkpoint_load(struct process *p, struct mayfly_snapshot *snap, const char *const *argv,
		    mayfly_error *err);
/* See mayfly_process_restore(). */
int checkpoint_restore(struct process *p, struct mayfly_snapshot *snap, const int fds[3],
		       mayfly_error *err);

#endif

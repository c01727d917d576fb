/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of processes that are paused; and processes made from them. Files: checkpoint.c (the
 * whole, tasks, signals), checkpoint_mm.c (memory), checkpoint_files.c (what is open),
 * checkpoint_sockets.c.
 *
 * Memory goes into the snapshot's image, flattened: it no longer depends on the files that were
 * mapped. Page tables and the rest of what ring 0 needs are made anew from the list of areas.
 */
#ifndef MAYFLY_LINUX_CHECKPOINT_H
#define MAYFLY_LINUX_CHECKPOINT_H

#include "snapshot/snapshot.h"

struct file;
struct process;
struct writer;
struct reader;

/* Errors: INVALID (not paused, or something open that cannot be saved: names it), NOMEM. */
int checkpoint_save(struct process *p, struct mayfly_snapshot **out, mayfly_error *err);
/*
 * Into a process whose VM was made from the snapshot, all else new. The snapshot's own part is
 * hostile bytes. `argv`: see mayfly_process_options. Errors: FORMAT, IO, INVALID, NOMEM.
 */
int checkpoint_load(struct process *p, struct mayfly_snapshot *snap, const char *const *argv,
		    mayfly_error *err);
/* See mayfly_process_restore(). */
int checkpoint_restore(struct process *p, const int fds[3], mayfly_error *err);

/* --- Parts -------------------------------------------------------------------------------- */

/* Areas and chunks as bytes, pages into the image. Errors: INVALID, NOMEM. */
int checkpoint_save_mm(struct process *p, struct snapshot_builder *b, struct writer *w,
		       mayfly_error *err);
/*
 * The reverse: an address space without areas gets them, page tables and all. `again`: the VM
 * had chunks before. Errors: FORMAT, NOMEM.
 */
int checkpoint_load_mm(struct process *p, struct reader *r, bool again, mayfly_error *err);
/* After a run, before checkpoint_load_mm(): no areas, memory as the snapshot has it. */
int checkpoint_reset_mm(struct process *p, struct mayfly_snapshot *snap, mayfly_error *err);

int checkpoint_save_files(struct process *p, struct writer *w, mayfly_error *err);
/* A socket: checkpoint_sockets.c. Errors: INVALID (it cannot be kept: says why), NOMEM. */
int checkpoint_save_socket(const struct file *file, struct writer *w, mayfly_error *err);
/* Both ends of connections, while their sockets are made; zero at first. */
struct socket_pairs {
	struct socket_pair *list;
	size_t count;
};
/* Bytes that make no sense leave `r` bad. Errors: IO (the name is taken), NOMEM. */
int checkpoint_load_socket(struct process *p, struct socket_pairs *pairs, struct reader *r,
			   struct file **out, mayfly_error *err);
void socket_pairs_fini(struct socket_pairs *pairs);

/* Streams are there already, as 0 to 2. Errors: FORMAT, IO (which names the file). */
int checkpoint_load_files(struct process *p, struct reader *r, mayfly_error *err);

#endif

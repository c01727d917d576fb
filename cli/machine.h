/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a kernel, as the verbs boot and snapshot do: from the options to the exit status.
 */
#ifndef MAYFLY_CLI_MACHINE_H
#define MAYFLY_CLI_MACHINE_H

#include <stdatomic.h>

#include "boot_options.h"
#include "mayfly.h"

struct machine {
	const struct boot_options *options;
	struct boot_setup setup;
	mayfly_machine *machine;
	uint64_t began_ns; /* the clock, when the command did */
	int console;	   /* a descriptor that was made for it, or -1 */
	int trace_fd;
	int trace_errno;
	bool ran;
	bool lost;	     /* output, of the console or the timeline */
	atomic_int ended_by; /* the signal, or 0 */
	bool asked;	     /* to shut down; the signals' thread's */
};

/*
 * `m` is zeroed before but for began_ns; machine_fini() frees what it holds, also on failure.
 * These complain, and give STATUS_OK or an exit status.
 */
int machine_init(struct machine *m, const struct verb *verb, const struct boot_options *o);

/* Make the machine: of a kernel, or of a snapshot's file. */
int machine_new(struct machine *m, const char *kernel);
int machine_new_from(struct machine *m, const char *path);

/*
 * Run it to its end or, with `pause`, to there. STATUS_OK: *end says how it ended; else why it
 * could not go on.
 */
int machine_run(struct machine *m, const mayfly_machine_pause *pause, mayfly_machine_end *end);

/* The exit status for an end that is no pause. */
int machine_status(const mayfly_machine_end *end);

/* Gives the exit status: `status`, or STATUS_FAILED for success with something lost. */
int machine_fini(struct machine *m, int status);

#endif

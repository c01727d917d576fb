/* SPDX-License-Identifier: Apache-2.0 */
/* Running a program, as the verbs run and snapshot do: from the options to the exit status. */
#ifndef MAYFLY_CLI_PROGRAM_H
#define MAYFLY_CLI_PROGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#include "mayfly.h"
#include "program_options.h"

struct program {
	const struct program_options *options;
	struct program_setup setup;
	mayfly_process *process;
	int trace_fd;
	atomic_int trace_errno; /* of the first line that could not be written, or 0 */
	uint64_t began_ns;	/* the clock, when making it began, */
	uint64_t ready_ns;	/* when it was made, */
	uint64_t ended_ns;	/* and when it ended */
};

/*
 * `p` is zeroed before, and lives as long as the process does; program_finish() is for the end,
 * also on failure. These complain, and give STATUS_OK or an exit status.
 */
int program_init(struct program *p, const struct verb *verb, const struct program_options *o);

/* Make the process: of argv[0] with its arguments, or by what was put into the setup before. */
int program_new(struct program *p, char **argv);
int program_new_from(struct program *p, mayfly_snapshot *snap, char **argv, int argc);

/*
 * Run it to one of the MAYFLY_PAUSE_ points, or to its end. STATUS_OK: *end says how it ended;
 * else why it could not go on.
 */
int program_run(struct program *p, uint32_t pause_at, mayfly_process_end *end);

/* What there is to say about an end that is no pause; gives the program's exit status. */
int program_status(const mayfly_process_end *end);

/*
 * The last that a command does: reports what there is to report, and dies of the signal that
 * ended the program, if that is what is to be seen. Frees nothing that ends with the command.
 * Gives the exit status: `status`, but STATUS_FAILED for STATUS_OK if the trace is not complete.
 */
int program_finish(struct program *p, int status);

#endif

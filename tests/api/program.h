/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of functions of programs: tests/guest/program_functions.c in a process. */
#ifndef MAYFLY_TESTS_PROGRAM_H
#define MAYFLY_TESTS_PROGRAM_H

#include "support.h"

struct program {
	mayfly_process *process;
	mayfly_value result;
	mayfly_error err;
	int out; /* the reading end of its standard output */
};

/*
 * Linked in this way ("static", "musl", "dynamic"), with this argument (may be NULL), not run yet.
 * Of `more`, which may be NULL, limits, memory, policy, trace and flags are taken. Skips the test
 * where there is no such program.
 */
struct program program_made(const char *how, const char *argument,
			    const mayfly_process_options *more);
/* Until it is paused at mayfly_ready(). */
void program_run_to_ready(struct program *p);
/* Both. */
struct program program_ready(const char *how, const char *argument);
/* From a snapshot. */
struct program program_from(mayfly_snapshot *snap, const char *how, uint32_t flags);
void program_done(struct program *p);
mayfly_snapshot *program_snapshot(struct program *p);

int program_call(struct program *p, const char *name, const mayfly_value *args, size_t nargs);
mayfly_value program_must(struct program *p, const char *name, const mayfly_value *args,
			  size_t nargs, const char *file, int line);

#define CALL(p, name, ...)                                                                     \
	program_call((p), (name), VALUES(__VA_ARGS__), VALUE_COUNT(__VA_ARGS__))
#define MUST(p, name, ...)                                                                     \
	program_must((p), (name), VALUES(__VA_ARGS__), VALUE_COUNT(__VA_ARGS__), __FILE__,     \
		     __LINE__)

/* The process is paused as before, and its functions can be called. */
void program_is_usable(struct program *p);
/* It can neither be called nor run. */
void program_is_over(struct program *p);
/* Run it to its end. What it prints tells what was kept. */
void program_run_on(struct program *p, const char *output);

#endif

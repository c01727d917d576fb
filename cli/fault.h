/* SPDX-License-Identifier: Apache-2.0 */
/* How it ended badly: exit status and report. */
#ifndef MAYFLY_CLI_FAULT_H
#define MAYFLY_CLI_FAULT_H

#include "mayfly.h"

/* The exit status for a file that could not be opened. */
int errno_status(int e);
/* The exit status for a guest that could not be loaded or made. */
int error_status(const mayfly_error *err);
/*
 * Say what a snapshot is that the verb has no use for, and what has. `info` is the library's. Gives
 * the exit status.
 */
int wrong_snapshot(const char *path, const mayfly_snapshot_info *info);
/* Say what the library said, and where to look for what is behind it. */
void complain_library(const mayfly_error *err);

/*
 * The exit status for a call that failed with `code`; `fault` (may be NULL) says what poisoned the
 * sandbox.
 */
int fault_status(int code, const mayfly_fault *fault);

/*
 * Report a failed call on stderr: what happened, where, and how to look into it. Writes a core
 * to `core` unless that is NULL. `guest` is the file's name. Gives the exit status.
 */
int fault_report(mayfly_sandbox *sb, const char *guest, const char *core,
		 const mayfly_error *err);

#endif

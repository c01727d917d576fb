/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to be put right when the command ends, whatever ends it: the terminal, which a program
 * may have left in raw mode, and a program that runs while the command is told to stop.
 *
 * A signal to the command (SIGHUP, SIGINT, SIGQUIT, SIGTERM) ends it by that signal. Those that it
 * was started with ignoring, as nohup(1) does, it goes on ignoring.
 */
#ifndef MAYFLY_CLI_ENDING_H
#define MAYFLY_CLI_ENDING_H

#include "mayfly.h"

/* Keep the terminal's state, if one of the standard streams is a terminal. */
void ending_prepare(void);

/*
 * Before the program runs: a signal to the command is to interrupt it, so that what is left to say
 * can be said. Without this the command ends there and then, which costs nothing to prepare. False
 * without memory for the thread that waits.
 */
bool ending_watch(mayfly_process *process);

/* After ending_watch(), before the process is freed: signals have no effect on it any more. */
void ending_unwatch(void);

/* The program has ended: put the terminal's state back. */
void ending_restore(void);

/* End by the signal that interrupted the program, if one did. */
void ending_die_of_signal(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to be done about the terminal, which a program may leave in raw mode, and about signals
 * to the command, which are meant for the program.
 *
 * While the program runs it gets them, and does as it likes. If it dies of one, so does the
 * command, in the end: then a shell knows what to make of ^C. Those that the command was started
 * with ignoring, as nohup(1) does, it goes on ignoring. ^Z stops the command, program and all,
 * with the terminal as it was before; when the command goes on, the program gets its terminal
 * back, and SIGCONT.
 */
#ifndef MAYFLY_CLI_ENDING_H
#define MAYFLY_CLI_ENDING_H

#include <stdbool.h>

/* Keep the terminal's state, if one of the standard streams is a terminal. */
void ending_prepare(void);

/* Called on a thread of its own, under a lock: one signal at a time. */
typedef void (*ending_fn)(void *context, int signal);

/* From now on signals go to `fn`. False without memory for the thread that waits. */
bool ending_watch(ending_fn fn, void *context);

/*
 * After ending_watch(), before the guest is freed: signals end the command again. `signal`: what
 * the guest died of, 0 if it did not.
 */
void ending_unwatch(int signal);

/* The program has ended: put the terminal's state back. */
void ending_restore(void);

/* End by the signal that the program died of, if it came by way of the command. */
void ending_die_of_signal(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal as a machine's console: raw, so that each key goes to the guest, but for an escape
 * key that is the command's own; and pseudoterminals.
 *
 * While it is raw, a small process looks after it, which puts the terminal back if the command dies
 * in a way that leaves it no time for that.
 */
#ifndef MAYFLY_CLI_TERMINAL_H
#define MAYFLY_CLI_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

/* What is typed after Ctrl-A, in words, for help and messages. */
#define TERMINAL_KEYS                                                                          \
	"Ctrl-A x ends the machine, Ctrl-A z stops mayfly as ^Z does, Ctrl-A a types Ctrl-A, " \
	"Ctrl-A h shows this"

/*
 * Make the terminal on standard input raw, if it is one and ours: from the background that is left
 * to a later call. Terminal output goes on to begin each line at its left.
 */
void terminal_raw(void);
/*
 * Put it back, and let the process go that looks after it. From here on terminal_relay()'s `end`
 * is not called.
 */
void terminal_restore(void);

/* Columns and rows of the terminal on standard output or input; false: neither is one. */
bool terminal_size(uint16_t *ret_columns, uint16_t *ret_rows);

/*
 * Have a thread copy standard input to a pipe, whose read end is given; keys: with the escape
 * key, of which `end` is called for Ctrl-A x. -1 after complaining.
 */
int terminal_relay(bool keys, void (*end)(void *context), void *context);
/* Have text come out of that pipe, too. */
void terminal_type(const char *text);

/* A new pseudoterminal, raw: its master, not blocking. Its name, or -1 after complaining. */
int terminal_pty(char *name, int size);

#endif

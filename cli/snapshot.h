/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly snapshot of a kernel: snapshot_machine.c. */
#ifndef MAYFLY_CLI_SNAPSHOT_H
#define MAYFLY_CLI_SNAPSHOT_H

#include <stdbool.h>

/* Whether --when's argument is about a kernel: console:TEXT, port, or a time. */
bool snapshot_is_of_machine(const char *when);

/* The verb, for such an argument. Gives the exit status. */
int snapshot_machine(int argc, char **argv);

#endif

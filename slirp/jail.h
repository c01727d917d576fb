/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Give up what handling packets does not need, for good: another user where we are root, no
 * capabilities, files of /etc to read and no others (for resolv.conf; where the kernel has
 * Landlock), few descriptors, bounded memory, and of system calls those that jail.c lists.
 */
#ifndef MAYFLY_SLIRP_JAIL_H
#define MAYFLY_SLIRP_JAIL_H

#define JAIL_MAX_FILES 512

/* NULL, or what failed; errno says why. */
const char *jail_enter(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that the guest sends to itself over Unix sockets (SCM_RIGHTS). What travels
 * through the host's kernel is not the guest's descriptors but one token a message: the read
 * end of a pipe, by whose inode the files are found again when it arrives. Where a message is
 * thrown away instead, the kernel closes the token, and the other end of the pipe reports it:
 * so nothing is kept for longer than the message. Files that hold each other in a circle are
 * freed when the process ends; there are at most RIGHTS_MAX messages under way. Thread-safe.
 */
#ifndef MAYFLY_LINUX_SOCKET_RIGHTS_H
#define MAYFLY_LINUX_SOCKET_RIGHTS_H

#include <stdint.h>

struct file;
struct rights;

#define RIGHTS_FILES_MAX 253 /* SCM_MAX_FD: of a message */
#define RIGHTS_MAX 64
/* Files in them together: each may be a host descriptor that is in no table. */
#define RIGHTS_FILES_TOTAL (2 * RIGHTS_FILES_MAX)

struct rights *rights_new(void);
void rights_free(struct rights *rights);
/* Drop all that is under way; the process ends. */
void rights_end(struct rights *rights);

/* How many messages are under way. */
uint32_t rights_count(struct rights *rights);

/*
 * Put `n` files into a message: *token is the descriptor to send, which the caller closes then.
 * The counts of the files go over on success. -ETOOMANYREFS, -ENFILE, -ENOMEM.
 */
int rights_send(struct rights *rights, struct file **files, uint32_t n, int *token);
/*
 * The files of a token that arrived, counted, into files[RIGHTS_FILES_MAX]: how many; 0 for one
 * that is no token. `peek`: they stay in the message. The caller closes the token.
 */
uint32_t rights_receive(struct rights *rights, int token, int peek, struct file **files);

#endif

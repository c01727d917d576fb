/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets that listen for one port of a console each. */
#ifndef MAYFLY_VIRTIO_CONSOLE_SOCKET_H
#define MAYFLY_VIRTIO_CONSOLE_SOCKET_H

#include <sys/types.h>

#include "core/error.h"

struct console_socket {
	int fd;
	char *path;
	dev_t dev; /* of the file at the path: */
	ino_t ino; /* no other one is removed */
};

/*
 * Make a socket at `path` and listen. A socket that nobody listens on any more is replaced,
 * anything else that is there is not. Errors: INVALID (the path is too long), IO, NOMEM.
 */
int console_socket_open(struct console_socket *s, const char *path, mayfly_error *err);
/* Close it and remove its file. Takes one that was not opened: fd < 0, or all zero. */
void console_socket_close(struct console_socket *s);

#endif

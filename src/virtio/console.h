/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console (virtio 1.2, 5.3): port 0 is the console; further ones, by name, are Unix
 * sockets of the host. MULTIPORT is offered only with further ports, EMERG_WRITE and SIZE always.
 */
#ifndef MAYFLY_VIRTIO_CONSOLE_H
#define MAYFLY_VIRTIO_CONSOLE_H

#include "machine/stream.h"
#include "virtio/device.h"

#define CONSOLE_MAX_PORTS 15 /* beside the console */

struct console_port {
	const char *name; /* in /sys/class/virtio-ports of Linux guests; copied */
	const char *path; /* Unix socket that is made and listened on; copied */
};

struct console_config {
	struct stream *stream; /* borrowed; NULL: nobody reads or types */
	const struct console_port *ports;
	size_t nports;
};

/* Errors: NOMEM, IO (a socket could not be made: with its path), INVALID. */
int console_new(const struct console_config *config, struct virtio_device **out,
		mayfly_error *err);

/* The window's size has changed. The loop's thread. */
void console_resize(struct virtio_device *dev, uint16_t columns, uint16_t rows);

#endif

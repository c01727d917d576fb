/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net (virtio 1.2, 5.1), one pair of queues, on a descriptor that carries one Ethernet
 * frame a read or write: a tap device, or a SOCK_SEQPACKET or SOCK_DGRAM socket.
 */
#ifndef MAYFLY_VIRTIO_NET_H
#define MAYFLY_VIRTIO_NET_H

#include "virtio/device.h"

struct net_config {
	int fd;		/* taken on success; not blocking */
	bool tap;	/* a tap device with IFF_VNET_HDR: offloads are passed on */
	uint8_t mac[6]; /* all zero: a random one, locally administered */
	uint16_t mtu;	/* 0: not told */
};

/* Errors: NOMEM. */
int net_new(const struct net_config *config, struct virtio_device **out, mayfly_error *err);

/* Open the tap device `name` (which must be there, and be ours to open). Errors: IO, INVALID. */
int net_open_tap(const char *name, int *fd, mayfly_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What net.c asks of a tap device beside frames. */
#ifndef MAYFLY_VIRTIO_NET_TAP_H
#define MAYFLY_VIRTIO_NET_TAP_H

#include <stdint.h>

/*
 * Have a tap device, opened by net_open_tap(), put headers of 10 bytes before frames. Gives those
 * of `wanted`, virtio-net's GUEST_ features, that its kernel can do. *mtu, if 0: the device's, if
 * that is not the usual one.
 */
uint64_t net_tap_prepare(int fd, uint64_t wanted, uint16_t *mtu);

/* Have it pass frames as these features of virtio-net, of those that are there, allow. */
void net_tap_offload(int fd, uint64_t features);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which frames of the guest reach libslirp. It would connect to whatever address a packet names,
 * those of this host among them: `disable_host_loopback` is about the gateway's address alone,
 * while a packet straight to 127.0.0.1 is connected there.
 *
 * Who has sent something to the guest through a forwarded port may be answered, wherever he is.
 */
#ifndef MAYFLY_SLIRP_FILTER_H
#define MAYFLY_SLIRP_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The guest's network; host byte order. */
#define NET_ADDRESS 0x0a000200u /* 10.0.2.0/24 */
#define NET_MASK 0xffffff00u
#define NET_GATEWAY 0x0a000202u
#define NET_NAMESERVER 0x0a000203u
#define NET_GUEST 0x0a00020fu

#define FILTER_MAX_OWN 1024 /* each network of containers is one */
#define FILTER_PEERS 1024   /* a power of two */

/* Who sent a datagram to the guest lately. */
struct filter_peer {
	uint32_t address;
	uint16_t port;
	uint64_t until; /* ns; 0: nobody */
};

struct filter {
	bool host;		      /* the guest may reach this host */
	uint32_t own[FILTER_MAX_OWN]; /* this host's addresses, host byte order */
	uint32_t nown;
	struct filter_peer peers[FILTER_PEERS]; /* by a hash of address and port */
};

/*
 * Learn this host's addresses. False: errno says why, E2BIG that there are too many: one that is not
 * known would be open.
 */
bool filter_init(struct filter *f, bool host);
/*
 * Whether a frame of the guest may pass. It may be changed for that: an answer to a datagram of
 * this host's loopback is sent there instead of the gateway.
 */
bool filter_from_guest(struct filter *f, uint8_t *frame, size_t len, uint64_t now);
/*
 * Take note of a frame to the guest. It may be changed, too: what comes from this host's loopback
 * comes from the gateway.
 */
void filter_to_guest(struct filter *f, uint8_t *frame, size_t len, uint64_t now);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the network of a program is: which addresses it may connect to and which of its ports
 * are published. Without a policy only what stays within the process exists (loopback.h).
 * Addresses are checked in the copy that the kernel then gets.
 *
 * Rules. `host` is a name, an address, address/bits, "*", or "@dns". IPv6 addresses may stand
 * in brackets. A name stands for all its addresses at the time of netpolicy_new(): a program
 * that looks it up later may be given others, which are refused. "@dns" stands for the name
 * servers of the host's /etc/resolv.conf, which a program needs for looking names up; its port
 * is 53 unless the rule says otherwise. Ports 0, 0 are all; `last_port` 0 with a first one is
 * that one.
 *
 * "*" is everything beyond this host and its links: loopback, link-local (where clouds serve
 * credentials), multicast and broadcast addresses are allowed only by rules that name them: an
 * address, or a network that lies wholly within that kind. IPv4-mapped IPv6 addresses are IPv4.
 *
 * A published guest port is a listening socket on the host's port: the guest's bind(2) and
 * listen(2) on the guest port make it.
 */
#ifndef MAYFLY_LINUX_NETPOLICY_H
#define MAYFLY_LINUX_NETPOLICY_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "mayfly.h"

struct netpolicy;

/*
 * Rules are copied; host names are looked up by this call, once. Errors, which name the rule:
 * INVALID, NOMEM.
 */
int netpolicy_new(const mayfly_net_rule *rules, size_t nrules, const mayfly_publish *publish,
		  size_t npublish, struct netpolicy **out, mayfly_error *err);
void netpolicy_free(struct netpolicy *net);

/* Whether the guest may send to it. Unspecified addresses and other families: never. */
bool netpolicy_allows(const struct netpolicy *net, const struct sockaddr_storage *to);
/* Whether a rule names this host's broadcast address, 255.255.255.255. */
bool netpolicy_allows_broadcast(const struct netpolicy *net);
/* The publication of a guest's port, or NULL. */
const mayfly_publish *netpolicy_published(const struct netpolicy *net, uint16_t guest_port);
/*
 * Where on the host it is: address and port, which is `host_port`, or the one that the guest's
 * live socket of this type (SOCK_STREAM, SOCK_DGRAM) got if that is 0. False: not published.
 */
bool netpolicy_host_address(const struct netpolicy *net, uint16_t guest_port, int type,
			    struct sockaddr_storage *out);

/*
 * A guest socket of this type was bound to the host's `port`; it can be reached now (of
 * datagrams at once); it is gone. Any thread.
 */
void netpolicy_bound(struct netpolicy *net, uint16_t guest_port, int type, uint16_t port);
void netpolicy_ready(struct netpolicy *net, uint16_t guest_port, int type);
void netpolicy_unbound(struct netpolicy *net, uint16_t guest_port, int type);
/* Whether a live socket of the guest has it. */
bool netpolicy_is_bound(const struct netpolicy *net, uint16_t guest_port, int type);
/* The host's port of a published guest port that can be reached now; else 0. */
uint16_t netpolicy_ready_port(const struct netpolicy *net, uint16_t guest_port, int type);
/* The same of either type, TCP's first: for mayfly_process_published(). */
uint16_t netpolicy_bound_port(const struct netpolicy *net, uint16_t guest_port);

#endif

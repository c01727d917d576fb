/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the network of a program is: which addresses it may connect to and which of its ports
 * are published. Without a policy only Unix socket pairs exist. Addresses are checked in the
 * copy that the kernel then gets.
 *
 * A published guest port is a listening socket on the host's port: the guest's bind(2) to the
 * guest port makes it. Other binds are allowed to loopback with port 0 or any, and are invisible
 * outside the process: see sys_socket.c.
 */
#ifndef MAYFLY_LINUX_NETPOLICY_H
#define MAYFLY_LINUX_NETPOLICY_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "mayfly.h"

struct netpolicy;

/* Rules are copied; host names are looked up by this call, once. Errors: INVALID, NOMEM. */
int netpolicy_new(const mayfly_net_rule *rules, size_t nrules, const mayfly_publish *publish,
		  size_t npublish, struct netpolicy **out, mayfly_error *err);
void netpolicy_free(struct netpolicy *net);

/* Whether the guest may send to it. */
bool netpolicy_allows(const struct netpolicy *net, const struct sockaddr_storage *to);
/* The publication of a guest's port, or NULL. */
const mayfly_publish *netpolicy_published(const struct netpolicy *net, uint16_t guest_port);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses as values. Those of guests are hostile until socket_name_check() passed. */
#ifndef MAYFLY_LINUX_SOCKET_NAME_H
#define MAYFLY_LINUX_SOCKET_NAME_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct socket_name {
	struct sockaddr_storage address; /* zero beyond len */
	socklen_t len;			 /* 0: none */
};

static inline int socket_name_family(const struct socket_name *name)
{
	return name->len == 0 ? AF_UNSPEC : name->address.ss_family;
}

/* The address as that of its family; only for names of that family. */
#define name_in(name) ((struct sockaddr_in *)&(name)->address)
#define name_in6(name) ((struct sockaddr_in6 *)&(name)->address)
#define name_un(name) ((struct sockaddr_un *)&(name)->address)

/*
 * Whether it can be one of a socket of `domain`: long enough, the right family. 0, -EINVAL,
 * -EAFNOSUPPORT. The length is cut to what the family has.
 */
int socket_name_check(struct socket_name *name, int domain);

/* AF_INET and AF_INET6, both, from here on. */
void socket_name_any(struct socket_name *name, int domain, uint16_t port);
void socket_name_loopback(struct socket_name *name, int domain, uint16_t port);
uint16_t socket_name_port(const struct socket_name *name);
void socket_name_set_port(struct socket_name *name, uint16_t port);
bool socket_name_is_any(const struct socket_name *name);
/* 127/8, ::1, and the former IPv4-mapped. */
bool socket_name_is_loopback(const struct socket_name *name);
/* The IPv4 address in it, IPv4-mapped included. */
bool socket_name_ipv4(const struct socket_name *name, struct in_addr *out);
/* To Linux the unspecified address is loopback, as a destination. */
void socket_name_normalise(struct socket_name *name);
/*
 * The same in the other family: IPv4 becomes IPv4-mapped; IPv6 that is not mapped has no IPv4
 * address: loopback becomes that, all else 0.0.0.0.
 */
void socket_name_convert(struct socket_name *name, int domain);
/* Address and port, or the bytes of a Unix name. */
bool socket_name_equal(const struct socket_name *a, const struct socket_name *b);

#endif

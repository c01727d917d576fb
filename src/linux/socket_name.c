/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/socket_name.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Up to sin6_flowinfo and address: Linux's SIN6_LEN_RFC2133. */
#define IN6_LEN_MIN offsetof(struct sockaddr_in6, sin6_scope_id)

int socket_name_check(struct socket_name *name, int domain)
{
	size_t min, size;

	switch (domain) {
	case AF_INET:
		min = size = sizeof(struct sockaddr_in);
		break;
	case AF_INET6:
		min = IN6_LEN_MIN;
		size = sizeof(struct sockaddr_in6);
		break;
	case AF_UNIX:
		/* unix_validate_addr() */
		min = sizeof(sa_family_t) + 1;
		size = sizeof(struct sockaddr_un);
		if (name->len > size)
			return -EINVAL;
		break;
	default:
		return -EAFNOSUPPORT;
	}
	if (name->len < min)
		return -EINVAL;
	if (name->address.ss_family != domain)
		return domain == AF_UNIX ? -EINVAL : -EAFNOSUPPORT;
	if (name->len > size) {
		memset((uint8_t *)&name->address + size, 0, sizeof(name->address) - size);
		name->len = (socklen_t)size;
	}
	if (domain == AF_INET6)
		name->len = (socklen_t)size;
	return 0;
}

void socket_name_any(struct socket_name *name, int domain, uint16_t port)
{
	memset(name, 0, sizeof(*name));
	name->address.ss_family = (sa_family_t)domain;
	name->len =
		domain == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	socket_name_set_port(name, port);
}

void socket_name_loopback(struct socket_name *name, int domain, uint16_t port)
{
	socket_name_any(name, domain, port);
	socket_name_normalise(name);
}

uint16_t socket_name_port(const struct socket_name *name)
{
	if (name->address.ss_family == AF_INET)
		return ntohs(name_in(name)->sin_port);
	return ntohs(name_in6(name)->sin6_port);
}

void socket_name_set_port(struct socket_name *name, uint16_t port)
{
	if (name->address.ss_family == AF_INET)
		name_in(name)->sin_port = htons(port);
	else
		name_in6(name)->sin6_port = htons(port);
}

bool socket_name_ipv4(const struct socket_name *name, struct in_addr *out)
{
	if (name->address.ss_family == AF_INET) {
		*out = name_in(name)->sin_addr;
		return true;
	}
	if (!IN6_IS_ADDR_V4MAPPED(&name_in6(name)->sin6_addr))
		return false;
	memcpy(out, &name_in6(name)->sin6_addr.s6_addr[12], sizeof(*out));
	return true;
}

bool socket_name_is_any(const struct socket_name *name)
{
	struct in_addr v4;

	if (socket_name_ipv4(name, &v4))
		return v4.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&name_in6(name)->sin6_addr);
}

bool socket_name_is_loopback(const struct socket_name *name)
{
	struct in_addr v4;

	if (socket_name_ipv4(name, &v4))
		return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&name_in6(name)->sin6_addr);
}

void socket_name_normalise(struct socket_name *name)
{
	const uint32_t loopback = htonl(INADDR_LOOPBACK);

	if (!socket_name_is_any(name))
		return;
	if (name->address.ss_family == AF_INET)
		name_in(name)->sin_addr.s_addr = loopback;
	else if (IN6_IS_ADDR_V4MAPPED(&name_in6(name)->sin6_addr))
		memcpy(&name_in6(name)->sin6_addr.s6_addr[12], &loopback, sizeof(loopback));
	else
		name_in6(name)->sin6_addr = (struct in6_addr)IN6ADDR_LOOPBACK_INIT;
}

void socket_name_convert(struct socket_name *name, int domain)
{
	uint16_t port = socket_name_port(name);
	struct in_addr v4 = {0};
	bool loopback;

	if (name->address.ss_family == domain)
		return;
	loopback = socket_name_is_loopback(name);
	if (!socket_name_ipv4(name, &v4) && loopback)
		v4.s_addr = htonl(INADDR_LOOPBACK);
	socket_name_any(name, domain, port);
	if (domain == AF_INET) {
		name_in(name)->sin_addr = v4;
		return;
	}
	memset(&name_in6(name)->sin6_addr.s6_addr[10], 0xff, 2);
	memcpy(&name_in6(name)->sin6_addr.s6_addr[12], &v4, sizeof(v4));
}

bool socket_name_equal(const struct socket_name *a, const struct socket_name *b)
{
	struct in_addr v4a, v4b;

	if (socket_name_family(a) == AF_UNIX || socket_name_family(b) == AF_UNIX ||
	    socket_name_family(a) == AF_UNSPEC || socket_name_family(b) == AF_UNSPEC)
		return a->len == b->len && memcmp(&a->address, &b->address, a->len) == 0;
	if (socket_name_port(a) != socket_name_port(b))
		return false;
	if (socket_name_ipv4(a, &v4a))
		return socket_name_ipv4(b, &v4b) && v4a.s_addr == v4b.s_addr;
	return !socket_name_ipv4(b, &v4b) &&
	       IN6_ARE_ADDR_EQUAL(&name_in6(a)->sin6_addr, &name_in6(b)->sin6_addr);
}

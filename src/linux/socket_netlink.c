/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtnetlink(7), as far as C libraries ask it for interfaces and addresses (getifaddrs(3),
 * getaddrinfo(3) with AI_ADDRCONFIG): the guest sees a loopback, which is its own, and if it
 * has a network another interface that stands for it, behind which the host's addresses are
 * hidden as behind a router. What is asked is answered at once: by writing to the other end of
 * a private datagram socket.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>

#include "linux/socket_message.h"

/* Requests are a few dozen bytes. */
#define REQUEST_MAX 1024
#define REPLY_MAX 2048
/* The low bits of a request's type: RTM_NEW, _DEL, _GET, _SET in turn, of each family. */
#define KIND_GET 2

struct interface {
	const char *name;
	int index;
	unsigned short type; /* ARPHRD_ */
	unsigned flags;	     /* IFF_ */
	uint32_t mtu;
	uint8_t address[6], broadcast[6];
};

/* The second only with a network. */
static const struct interface interfaces[] = {
	{"lo", 1, ARPHRD_LOOPBACK, IFF_UP | IFF_LOOPBACK | IFF_RUNNING, 65536, {0}, {0}},
	{"eth0",
	 2,
	 ARPHRD_ETHER,
	 IFF_UP | IFF_BROADCAST | IFF_RUNNING,
	 1500,
	 {2, 0, 0, 0, 0, 1},
	 {255, 255, 255, 255, 255, 255}},
};

enum when { ALWAYS, WITH_NETWORK, WITHOUT_NETWORK };

struct interface_address {
	const struct interface *interface;
	enum when when;
	uint8_t family, bits, scope;
	uint8_t bytes[16];
};

/*
 * 10.0.2.15 and a unique local address, as other user networks have them. Without a network two
 * more of the loopback's: to getaddrinfo(3) with AI_ADDRCONFIG a family of which there is only
 * 127.0.0.1 or ::1 does not exist, and programs ask it about these very addresses.
 */
static const struct interface_address addresses[] = {
	{&interfaces[0], ALWAYS, AF_INET, 8, RT_SCOPE_HOST, {127, 0, 0, 1}},
	{&interfaces[0], WITHOUT_NETWORK, AF_INET, 8, RT_SCOPE_HOST, {127, 0, 0, 2}},
	{&interfaces[0], ALWAYS, AF_INET6, 128, RT_SCOPE_HOST, {[15] = 1}},
	{&interfaces[0], WITHOUT_NETWORK, AF_INET6, 64, RT_SCOPE_LINK, {0xfe, 0x80, [15] = 1}},
	{&interfaces[1], WITH_NETWORK, AF_INET, 24, RT_SCOPE_UNIVERSE, {10, 0, 2, 15}},
	{&interfaces[1], WITH_NETWORK, AF_INET6, 64, RT_SCOPE_UNIVERSE, {0xfd, [15] = 0x15}},
};

/* A datagram of replies. */
struct reply {
	const struct nlmsghdr *request;
	uint32_t port;
	size_t len;
	_Alignas(NLMSG_ALIGNTO) uint8_t bytes[REPLY_MAX];
};

static void *reply_room(struct reply *r, size_t len)
{
	void *at = r->bytes + r->len;

	/* All there is to say fits: see the tables. */
	if (NLMSG_ALIGN(len) > sizeof(r->bytes) - r->len)
		return NULL;
	memset(at, 0, NLMSG_ALIGN(len));
	r->len += NLMSG_ALIGN(len);
	return at;
}

/* Begin a message that has `body`; its header, whose length reply_end() sets. */
static struct nlmsghdr *reply_begin(struct reply *r, uint16_t type, const void *body,
				    size_t len)
{
	struct nlmsghdr *h = reply_room(r, NLMSG_LENGTH(len));

	if (h == NULL)
		return NULL;
	h->nlmsg_type = type;
	h->nlmsg_flags = type == NLMSG_ERROR ? 0 : NLM_F_MULTI;
	h->nlmsg_seq = r->request->nlmsg_seq;
	h->nlmsg_pid = r->port;
	memcpy(NLMSG_DATA(h), body, len);
	return h;
}

static void reply_attribute(struct reply *r, uint16_t type, const void *data, size_t len)
{
	struct rtattr *a = reply_room(r, RTA_LENGTH(len));

	if (a == NULL)
		return;
	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(a), data, len);
}

static void reply_end(struct reply *r, struct nlmsghdr *h)
{
	if (h != NULL)
		h->nlmsg_len = (uint32_t)(r->bytes + r->len - (uint8_t *)h);
}

static void tell_interface(struct reply *r, const struct interface *i)
{
	const struct ifinfomsg body = {.ifi_family = AF_UNSPEC,
				       .ifi_type = i->type,
				       .ifi_index = i->index,
				       .ifi_flags = i->flags};
	struct nlmsghdr *h = reply_begin(r, RTM_NEWLINK, &body, sizeof(body));

	reply_attribute(r, IFLA_IFNAME, i->name, strlen(i->name) + 1);
	reply_attribute(r, IFLA_MTU, &i->mtu, sizeof(i->mtu));
	reply_attribute(r, IFLA_ADDRESS, i->address, sizeof(i->address));
	reply_attribute(r, IFLA_BROADCAST, i->broadcast, sizeof(i->broadcast));
	reply_end(r, h);
}

static void tell_address(struct reply *r, const struct interface_address *a)
{
	const struct ifaddrmsg body = {.ifa_family = a->family,
				       .ifa_prefixlen = a->bits,
				       .ifa_flags = IFA_F_PERMANENT,
				       .ifa_scope = a->scope,
				       .ifa_index = (uint32_t)a->interface->index};
	size_t len = a->family == AF_INET ? 4 : 16;
	struct nlmsghdr *h = reply_begin(r, RTM_NEWADDR, &body, sizeof(body));

	reply_attribute(r, IFA_ADDRESS, a->bytes, len);
	if (a->family == AF_INET) {
		reply_attribute(r, IFA_LOCAL, a->bytes, len);
		reply_attribute(r, IFA_LABEL, a->interface->name,
				strlen(a->interface->name) + 1);
	}
	reply_end(r, h);
}

static void tell_error(struct reply *r, int error)
{
	const struct nlmsgerr body = {.error = error, .msg = *r->request};

	reply_end(r, reply_begin(r, NLMSG_ERROR, &body, sizeof(body)));
}

static void answer(struct reply *r, uint8_t family, bool network)
{
	const struct nlmsghdr *request = r->request;
	const int none = 0;

	if ((request->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP ||
	    (request->nlmsg_type != RTM_GETLINK && request->nlmsg_type != RTM_GETADDR)) {
		/* Changes are not the guest's to make; other questions have no answer. */
		tell_error(r, (request->nlmsg_type & 3) == KIND_GET ? -EOPNOTSUPP : -EPERM);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(interfaces) && request->nlmsg_type == RTM_GETLINK;
	     i++) {
		if (i == 0 || network)
			tell_interface(r, &interfaces[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(addresses) && request->nlmsg_type == RTM_GETADDR;
	     i++) {
		if (addresses[i].when != (network ? WITHOUT_NETWORK : WITH_NETWORK) &&
		    (family == AF_UNSPEC || family == addresses[i].family))
			tell_address(r, &addresses[i]);
	}
	reply_end(r, reply_begin(r, NLMSG_DONE, &none, sizeof(none)));
}

/* To the guest, as from the kernel. */
static int deliver(const struct socket *sock, struct reply *r)
{
	struct datagram_header header = {.from.len = sizeof(struct sockaddr_nl)};
	struct iovec iov[2] = {{&header, sizeof(header)}, {r->bytes, r->len}};
	const struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	header.from.address.ss_family = AF_NETLINK;
	if (sendmsg(sock->far, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return errno == EAGAIN ? -ENOBUFS : -errno;
	return 0;
}

static uint32_t port_of(const struct socket *sock)
{
	return ((const struct sockaddr_nl *)&sock->local.address)->nl_pid;
}

/* Under the lock; the request is in request[len]. */
static int handle(struct socket *sock, const uint8_t *request, size_t len)
{
	struct nlmsghdr h;
	size_t at = 0;
	int r = 0;

	while (r == 0 && len - at >= sizeof(h)) {
		struct reply reply = {.request = &h, .port = port_of(sock)};
		uint8_t family = AF_UNSPEC;

		memcpy(&h, request + at, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > len - at)
			break;
		if (h.nlmsg_len > sizeof(h)) /* struct rtgenmsg */
			family = request[at + sizeof(h)];
		if ((h.nlmsg_flags & NLM_F_REQUEST) != 0) {
			answer(&reply, family, sock->net != NULL);
			r = deliver(sock, &reply);
		}
		if (NLMSG_ALIGN(h.nlmsg_len) >= len - at)
			break;
		at += NLMSG_ALIGN(h.nlmsg_len);
	}
	return r;
}

void netlink_init(struct file *file)
{
	struct socket *sock = socket_of(file);

	sock->local.len = sizeof(struct sockaddr_nl);
	sock->local.address.ss_family = AF_NETLINK;
}

int netlink_bind(struct file *file, const struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	struct sockaddr_nl nl;

	memcpy(&nl, &name->address, sizeof(nl));
	if (name->len < sizeof(nl) || nl.nl_family != AF_NETLINK)
		return -EINVAL;
	if (nl.nl_groups != 0) /* nothing changes that it could be told about */
		return -EPERM;
	if (port_of(sock) != 0 && nl.nl_pid != port_of(sock))
		return -EINVAL;
	((struct sockaddr_nl *)&sock->local.address)->nl_pid =
		nl.nl_pid != 0 ? nl.nl_pid : PROCESS_PID;
	return 0;
}

int64_t netlink_send(struct file *file, struct message *m)
{
	struct socket *sock = socket_of(file);
	struct msghdr msg = {.msg_iov = m->iov + 1, .msg_iovlen = (size_t)m->n};
	uint8_t request[REQUEST_MAX];
	ssize_t n;
	int r = 0;

	if (!m->whole)
		return -EFAULT;
	if (m->total > sizeof(request))
		return -EMSGSIZE;
	pthread_mutex_lock(&sock->lock);
	if (port_of(sock) == 0)
		((struct sockaddr_nl *)&sock->local.address)->nl_pid = PROCESS_PID;
	/* The kernel copies it out of the guest's memory: to the other end, and from there. */
	n = sendmsg(file->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n >= 0)
		n = recv(sock->far, request, sizeof(request), MSG_DONTWAIT);
	if (n < 0)
		r = -errno;
	else
		r = handle(sock, request, (size_t)n);
	pthread_mutex_unlock(&sock->lock);
	return r < 0 ? r : (int64_t)m->total;
}

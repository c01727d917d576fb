/* SPDX-License-Identifier: Apache-2.0 */
#include "filter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* Ethernet (RFC 894), ARP (RFC 826), IPv4 (RFC 791), UDP (RFC 768), TCP (RFC 9293). */
#define ETH_TYPE 12
#define ETH_LEN 14
#define TYPE_IP 0x0800
#define TYPE_ARP 0x0806
#define ARP_LEN 28
#define IP_MIN 20
#define IP_TOTAL 2
#define IP_FRAGMENT 6
#define IP_MORE_OR_OFFSET 0x3fff
#define IP_PROTOCOL 9
#define IP_SUM 10
#define IP_SOURCE 12
#define IP_TARGET 16
#define UDP_LEN 8
#define UDP_SUM 6
#define TCP_MIN 20
#define TCP_FLAGS 13
#define TCP_SYN 0x02
#define TCP_ACK 0x10
#define PORT_SOURCE 0
#define PORT_TARGET 2

#define PORT_DNS 53
#define PORT_DHCP_SERVER 67

#define LOOPBACK_MASK 0xff000000u
#define LOOPBACK_NET 0x7f000000u
#define LOOPBACK 0x7f000001u

/* As long as libslirp keeps a socket without an answer: 4 minutes. */
#define PEER_NS (240 * UINT64_C(1000000000))

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

bool filter_init(struct filter *f, bool host)
{
	struct ifaddrs *all;
	bool fits = true;

	*f = (struct filter){.host = host};
	if (getifaddrs(&all) < 0)
		return false;
	for (const struct ifaddrs *a = all; a && fits; a = a->ifa_next) {
		struct sockaddr_in in;

		if (!a->ifa_addr || a->ifa_addr->sa_family != AF_INET)
			continue;
		memcpy(&in, a->ifa_addr, sizeof(in));
		fits = f->nown < FILTER_MAX_OWN;
		if (fits)
			f->own[f->nown++] = ntohl(in.sin_addr.s_addr);
	}
	freeifaddrs(all);
	if (!fits)
		errno = E2BIG;
	return fits;
}

static bool is_own(const struct filter *f, uint32_t address)
{
	for (uint32_t i = 0; i < f->nown; i++)
		if (f->own[i] == address)
			return true;
	return false;
}

/* --- who may be answered ------------------------------------------------------------------------ */

static struct filter_peer *peer_slot(struct filter *f, uint32_t address, uint16_t port)
{
	uint32_t hash = (address ^ (uint32_t)port << 16 ^ port) * 2654435761u;

	return &f->peers[hash >> 22 & (FILTER_PEERS - 1)];
}

static void peer_spoke(struct filter *f, uint32_t address, uint16_t port, uint64_t now)
{
	*peer_slot(f, address, port) = (struct filter_peer){address, port, now + PEER_NS};
}

static bool peer_may_hear(struct filter *f, uint32_t address, uint16_t port, uint64_t now)
{
	const struct filter_peer *p = peer_slot(f, address, port);

	return p->address == address && p->port == port && p->until > now;
}

/* --- packets ------------------------------------------------------------------------------------ */

/* An IPv4 packet, whole: all that is pointed to is there. */
struct packet {
	uint8_t *ip;
	uint8_t *payload; /* behind the header */
	size_t left;	  /* bytes of it */
	uint32_t source, target;
	uint8_t protocol;
};

/*
 * False: it is none, or a fragment. The reassembly of libslirp 4.7 follows wild pointers where
 * fragments are hostile; a guest whose network takes 1500 bytes at once rarely sends any; and they
 * hide ports and flags (RFC 1858).
 */
static bool packet_parse(struct packet *p, uint8_t *frame, size_t len)
{
	size_t header, total;

	if (len < ETH_LEN + IP_MIN || get16(frame + ETH_TYPE) != TYPE_IP)
		return false;
	p->ip = frame + ETH_LEN;
	header = (size_t)(p->ip[0] & 15) * 4;
	total = get16(p->ip + IP_TOTAL);
	if (p->ip[0] >> 4 != 4 || header < IP_MIN || total < header || total > len - ETH_LEN)
		return false;
	if (get16(p->ip + IP_FRAGMENT) & IP_MORE_OR_OFFSET)
		return false;
	p->payload = p->ip + header;
	p->left = total - header;
	p->source = get32(p->ip + IP_SOURCE);
	p->target = get32(p->ip + IP_TARGET);
	p->protocol = p->ip[IP_PROTOCOL];
	return true;
}

/* RFC 1624, equation 3, for an address that is part of what `sum` sums up. */
static void fix_checksum(uint8_t *sum, uint32_t old, uint32_t new)
{
	uint32_t s = (uint16_t)~get16(sum);

	s += (uint16_t) ~(old >> 16) + (uint32_t)(uint16_t)~old;
	s += (new >> 16) + (uint16_t) new;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	put16(sum, (uint16_t)~s);
}

/* Change the address at `offset` of the header of a UDP packet. */
static void readdress(struct packet *p, size_t offset, uint32_t new)
{
	uint32_t old = get32(p->ip + offset);
	uint8_t *udp_sum = p->payload + UDP_SUM;

	put16(p->ip + offset, (uint16_t)(new >> 16));
	put16(p->ip + offset + 2, (uint16_t) new);
	fix_checksum(p->ip + IP_SUM, old, new);
	/* 0: there is none; it is never the result. */
	if (get16(udp_sum) == 0)
		return;
	fix_checksum(udp_sum, old, new);
	if (get16(udp_sum) == 0)
		put16(udp_sum, 0xffff);
}

static bool is_udp_to(const struct packet *p, uint16_t port)
{
	return p->protocol == IPPROTO_UDP && p->left >= UDP_LEN &&
	       get16(p->payload + PORT_TARGET) == port;
}

/*
 * The name server's address stands for the one that this host asks, which may be itself: no other
 * port of it.
 */
static bool may_ask_nameserver(const struct packet *p)
{
	switch (p->protocol) {
	case IPPROTO_ICMP:
		return true; /* libslirp answers itself */
	case IPPROTO_UDP:
	case IPPROTO_TCP:
		return p->left >= UDP_LEN && get16(p->payload + PORT_TARGET) == PORT_DNS;
	default:
		return false;
	}
}

/* To this host: what belongs to a connection that came from there, and answers to datagrams. */
static bool may_answer(struct filter *f, struct packet *p, uint64_t now)
{
	uint16_t port;

	if (p->protocol == IPPROTO_TCP)
		return p->left >= TCP_MIN &&
		       (p->payload[TCP_FLAGS] & (TCP_SYN | TCP_ACK)) != TCP_SYN;
	if (p->protocol != IPPROTO_UDP || p->left < UDP_LEN)
		return false;
	port = get16(p->payload + PORT_TARGET);
	if (!peer_may_hear(f, p->target, port, now))
		return false;
	/* libslirp would not let it out: what the gateway's address stands for is closed. */
	if (p->target == NET_GATEWAY)
		readdress(p, IP_TARGET, LOOPBACK);
	return true;
}

static bool to_gateway(struct filter *f, struct packet *p, uint64_t now)
{
	/* TCP: libslirp refuses new connections there, in a way that the guest understands. */
	if (f->host || p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_TCP ||
	    is_udp_to(p, PORT_DHCP_SERVER))
		return true;
	return may_answer(f, p, now);
}

static bool to_world(struct filter *f, struct packet *p, uint64_t now)
{
	uint32_t to = p->target;

	/* RFC 6890: "this network" (which Linux takes for this host), loopback. */
	if (to >> 24 == 0 || (to & LOOPBACK_MASK) == LOOPBACK_NET)
		return false;
	/* Multicast, and what is reserved. */
	if (to >> 28 >= 14)
		return false;
	if (f->host)
		return true;
	/* Link-local: where clouds tell a machine its secrets. */
	if (to >> 16 == 0xa9fe)
		return false;
	return !is_own(f, to) || may_answer(f, p, now);
}

bool filter_from_guest(struct filter *f, uint8_t *frame, size_t len, uint64_t now)
{
	struct packet p;

	if (len >= ETH_LEN + ARP_LEN && get16(frame + ETH_TYPE) == TYPE_ARP)
		return true;
	if (!packet_parse(&p, frame, len))
		return false;
	if (p.target == INADDR_BROADCAST)
		return is_udp_to(&p, PORT_DHCP_SERVER);
	if (p.target == NET_GATEWAY)
		return to_gateway(f, &p, now);
	if (p.target == NET_NAMESERVER)
		return may_ask_nameserver(&p);
	if ((p.target & NET_MASK) == NET_ADDRESS)
		return false; /* nobody is there */
	return to_world(f, &p, now);
}

void filter_to_guest(struct filter *f, uint8_t *frame, size_t len, uint64_t now)
{
	struct packet p;

	if (f->host || !packet_parse(&p, frame, len) || p.protocol != IPPROTO_UDP ||
	    p.left < UDP_LEN)
		return;
	if ((p.source & LOOPBACK_MASK) == LOOPBACK_NET) {
		readdress(&p, IP_SOURCE, NET_GATEWAY);
		p.source = NET_GATEWAY;
	}
	if (p.source == NET_GATEWAY || is_own(f, p.source))
		peer_spoke(f, p.source, get16(p.payload + PORT_SOURCE), now);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "frames.h"

#include <netinet/in.h>
#include <string.h>

#define ETH 14
#define IP 20

static const uint8_t guest_mac[6] = {0x52, 0x54, 0, 0, 0, 1};

uint16_t frame_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t frame_get32(const uint8_t *p)
{
	return (uint32_t)frame_get16(p) << 16 | frame_get16(p + 2);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

static uint32_t sum(uint32_t start, const uint8_t *p, size_t len)
{
	for (; len > 1; p += 2, len -= 2)
		start += frame_get16(p);
	if (len)
		start += (uint32_t)*p << 8;
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return start;
}

/* Of the pseudo header and all behind IPv4's. */
static uint32_t payload_sum(const struct frame *f)
{
	const uint8_t *ip = f->bytes + ETH;
	size_t len = f->len - ETH - IP;

	return sum(sum((uint32_t)ip[9] + (uint32_t)len, ip + 12, 8), ip + IP, len);
}

static void set_ip_sum(struct frame *f)
{
	uint8_t *ip = f->bytes + ETH;

	put16(ip + 10, 0);
	put16(ip + 10, (uint16_t)~sum(0, ip, IP));
}

static void ethernet(struct frame *f, uint16_t type)
{
	memset(f, 0, sizeof(*f));
	memset(f->bytes, 0xff, 6);
	memcpy(f->bytes + 6, guest_mac, 6);
	put16(f->bytes + 12, type);
}

void frame_ip(struct frame *f, uint32_t target, uint8_t protocol, const void *payload,
	      size_t len)
{
	uint8_t *ip = f->bytes + ETH;

	ethernet(f, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, (uint16_t)(IP + len));
	put16(ip + 4, 0x1234);
	ip[8] = 64;
	ip[9] = protocol;
	put32(ip + 12, GUEST);
	put32(ip + 16, target);
	if (len)
		memcpy(ip + IP, payload, len);
	f->len = ETH + IP + len;
	set_ip_sum(f);
}

void frame_set_fragment(struct frame *f, uint16_t fragment)
{
	put16(f->bytes + ETH + 6, fragment);
	set_ip_sum(f);
}

static void set_sum(struct frame *f, size_t offset)
{
	uint8_t *at = f->bytes + ETH + IP + offset;
	uint16_t s;

	put16(at, 0);
	s = (uint16_t)~payload_sum(f);
	put16(at, s ? s : 0xffff);
}

/* Without a pseudo header. */
static void set_icmp_sum(struct frame *f)
{
	uint8_t *icmp = f->bytes + ETH + IP;

	put16(icmp + 2, 0);
	put16(icmp + 2, (uint16_t)~sum(0, icmp, f->len - ETH - IP));
}

void frame_udp(struct frame *f, uint32_t target, uint16_t from, uint16_t to, const void *data,
	       size_t len)
{
	uint8_t packet[FRAME_MAX - ETH - IP] = {0};

	put16(packet, from);
	put16(packet + 2, to);
	put16(packet + 4, (uint16_t)(8 + len));
	if (len)
		memcpy(packet + 8, data, len);
	frame_ip(f, target, IPPROTO_UDP, packet, 8 + len);
	set_sum(f, 6);
}

void frame_tcp(struct frame *f, const struct frame_tcp *tcp, const void *data, size_t len)
{
	uint8_t packet[FRAME_MAX - ETH - IP] = {0};

	put16(packet, tcp->from);
	put16(packet + 2, tcp->to);
	put32(packet + 4, tcp->seq);
	put32(packet + 8, tcp->ack);
	packet[12] = 5 << 4;
	packet[13] = tcp->flags;
	put16(packet + 14, 0xffff);
	if (len)
		memcpy(packet + 20, data, len);
	frame_ip(f, tcp->target, IPPROTO_TCP, packet, 20 + len);
	set_sum(f, 16);
}

void frame_arp(struct frame *f, bool reply, uint32_t target)
{
	uint8_t *arp = f->bytes + ETH;

	ethernet(f, 0x0806);
	put16(arp, 1);
	put16(arp + 2, 0x0800);
	arp[4] = 6;
	arp[5] = 4;
	put16(arp + 6, reply ? 2 : 1);
	memcpy(arp + 8, guest_mac, 6);
	put32(arp + 14, GUEST);
	put32(arp + 24, target);
	f->len = ETH + 28;
}

void frame_set_source(struct frame *f, uint32_t source)
{
	put32(f->bytes + ETH + 12, source);
	set_ip_sum(f);
	if (frame_protocol(f) == IPPROTO_UDP)
		set_sum(f, 6);
	else if (frame_protocol(f) == IPPROTO_TCP)
		set_sum(f, 16);
	else if (frame_protocol(f) == IPPROTO_ICMP)
		set_icmp_sum(f);
}

uint16_t frame_type(const struct frame *f)
{
	return f->len < ETH + 28 ? 0 : frame_get16(f->bytes + 12);
}

uint8_t frame_protocol(const struct frame *f)
{
	return frame_type(f) == 0x0800 ? f->bytes[ETH + 9] : 0;
}

uint32_t frame_source(const struct frame *f)
{
	return frame_type(f) == 0x0800 ? frame_get32(f->bytes + ETH + 12) : 0;
}

uint32_t frame_target(const struct frame *f)
{
	return frame_type(f) == 0x0800 ? frame_get32(f->bytes + ETH + 16) : 0;
}

const uint8_t *frame_payload(const struct frame *f, size_t len)
{
	return f->len < ETH + IP + len ? NULL : f->bytes + ETH + IP;
}

bool frame_sums_are_right(const struct frame *f)
{
	return sum(0, f->bytes + ETH, IP) == 0xffff && payload_sum(f) == 0xffff;
}

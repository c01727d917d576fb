/* SPDX-License-Identifier: Apache-2.0 */
/* Ethernet frames, as a guest of user networking sends and gets them. */
#ifndef MAYFLY_TESTS_FRAMES_H
#define MAYFLY_TESTS_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MAX 2048

/* Addresses and ports are in host byte order. */
#define GUEST 0x0a00020fu
#define GATEWAY 0x0a000202u
#define NAMESERVER 0x0a000203u
#define LOCALHOST 0x7f000001u

#define TCP_FIN 1u
#define TCP_SYN 2u
#define TCP_RST 4u
#define TCP_ACK 16u

struct frame {
	uint8_t bytes[FRAME_MAX];
	size_t len;
};

/* A packet of any protocol with right checksums; `fragment`: IPv4's flags and offset. */
void frame_ip(struct frame *f, uint32_t target, uint8_t protocol, const void *payload,
	      size_t len);
void frame_set_fragment(struct frame *f, uint16_t fragment);
void frame_udp(struct frame *f, uint32_t target, uint16_t from, uint16_t to, const void *data,
	       size_t len);
struct frame_tcp {
	uint32_t target;
	uint16_t from, to;
	uint32_t seq, ack;
	uint8_t flags;
};
void frame_tcp(struct frame *f, const struct frame_tcp *tcp, const void *data, size_t len);
void frame_arp(struct frame *f, bool reply, uint32_t target);
/* From another address than the guest's. */
void frame_set_source(struct frame *f, uint32_t source);

/* What a frame is, of those above. 0 where it is none of these. */
uint16_t frame_type(const struct frame *f);
uint8_t frame_protocol(const struct frame *f);
uint32_t frame_source(const struct frame *f);
uint32_t frame_target(const struct frame *f);
/* Behind IPv4's header; NULL: there are fewer than `len` bytes. */
const uint8_t *frame_payload(const struct frame *f, size_t len);
/* Whether IPv4's checksum, and UDP's or TCP's, are right. */
bool frame_sums_are_right(const struct frame *f);

uint16_t frame_get16(const uint8_t *p);
uint32_t frame_get32(const uint8_t *p);

#endif

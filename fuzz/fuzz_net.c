/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net between a driver and a network that are both hostile: each chain is pushed once or
 * left where it was, and whatever gets to the network is a frame.
 *
 * Input: a byte of flags (see below), then for each operation a byte that says which, and what it
 * needs: see `operations`.
 */
#include <errno.h>
#include <linux/virtio_net.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "virtio/net.h"
#include "virtio_driver.h"

#define F(bit) ((uint64_t)1 << VIRTIO_NET_F_##bit)

/* Flags. */
#define TAP 1u /* a header of the network's own before each frame, and offloads */
#define LONG 2u
#define EVENTS 4u
#define DATAGRAMS 8u
#define LEGACY_HEADER 16u

#define MAX_OPERATIONS 96
#define QUEUE_SIZE 32
#define QUEUE_LEN 0x1000 /* between the queues */
#define RINGS 0x1000
#define TABLES 0x8000
#define DATA 0x10000
#define DATA_MASK 0xffff0u
#define TAP_HEADER 10
#define MIN_FRAME 14
#define MAX_FRAME 65550

struct input {
	const uint8_t *data;
	size_t left;
};

struct state {
	struct driver d;
	struct driver_queue queues[2];
	int peer;
	uint8_t flags;
	struct input *in;
	uint8_t buffer[70000];
};

static uint8_t next(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->data++;
}

static uint16_t next16(struct input *in)
{
	uint16_t low = next(in);

	return (uint16_t)(low | next(in) << 8);
}

static uint64_t agreed(const struct state *s)
{
	uint64_t features = F(MAC) | F(STATUS);

	if (s->flags & LONG)
		features |= F(MTU) | F(MRG_RXBUF);
	if (s->flags & TAP)
		features |= F(CSUM) | F(HOST_TSO4) | F(GUEST_CSUM) | F(GUEST_TSO4);
	if (s->flags & EVENTS)
		features |= VIRTIO_RING_EVENT_IDX;
	return features | VIRTIO_RING_INDIRECT | VIRTIO_VERSION_1;
}

static void bring_up(struct state *s)
{
	CHECK(driver_negotiate(&s->d, agreed(s)));
	for (uint16_t i = 0; i < 2; i++) {
		driver_queue_init(&s->queues[i], &s->d.memory.ram, RINGS + i * QUEUE_LEN,
				  QUEUE_SIZE);
		driver_set_queue(&s->d, i, &s->queues[i]);
	}
	if (s->flags & LEGACY_HEADER && !(s->flags & LONG))
		s->d.dev->features &= ~VIRTIO_VERSION_1;
	driver_go(&s->d);
	driver_run(&s->d);
}

static void set_up(struct state *s)
{
	struct net_config config = {.tap = s->flags & TAP, .mtu = s->flags & LONG ? 9000 : 0};
	int type = s->flags & DATAGRAMS ? SOCK_DGRAM : SOCK_SEQPACKET, pair[2], small = 1;
	struct virtio_device *dev;

	CHECK(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	/* So that it is full now and then. */
	CHECK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
	config.fd = pair[0];
	s->peer = pair[1];
	CHECK(net_new(&config, &dev, NULL) == 0);
	/* No socket has them: what the device makes of them is looked at all the same. */
	if (s->flags & TAP)
		dev->offered |= F(GUEST_CSUM) | F(GUEST_TSO4);
	driver_init(&s->d, dev, false);
	bring_up(s);
}

/* --- operations --------------------------------------------------------------------------------- */

static void write_anywhere(struct state *s)
{
	uint16_t at = next16(s->in);
	uint8_t len = next(s->in) & 31;

	for (uint8_t i = 0; i < len; i++)
		*(uint8_t *)driver_at(&s->d.memory.ram, RINGS + (at & 0x7fffu) + i, 1) =
			next(s->in);
}

static uint32_t next_pieces(struct state *s, struct driver_piece *pieces)
{
	uint8_t what = next(s->in);
	uint32_t n = 1 + (what & 7);

	for (uint32_t i = 0; i < n; i++) {
		pieces[i].at = DATA + ((uint64_t)next16(s->in) << 4 & DATA_MASK);
		pieces[i].len = next16(s->in);
		pieces[i].write = what >> 3 & 1;
	}
	/* The last may be the other way. */
	if (what & 0x80)
		pieces[n - 1].write = !pieces[n - 1].write;
	return n;
}

static void offer(struct state *s, uint8_t queue)
{
	struct driver_piece pieces[8];
	uint32_t n = next_pieces(s, pieces);

	driver_chain(&s->queues[queue], pieces, n);
}

static void offer_to_receive(struct state *s)
{
	offer(s, 0);
}

static void offer_to_send(struct state *s)
{
	offer(s, 1);
}

static void offer_indirect(struct state *s)
{
	struct driver_piece pieces[8];
	uint8_t which = next(s->in);
	uint32_t n = next_pieces(s, pieces);

	driver_indirect(&s->queues[which & 1], TABLES + (which & 0x70u) * 8, pieces, n);
}

static void notify(struct state *s)
{
	driver_notify(&s->d, next(s->in) & 1);
}

static void come_in(struct state *s)
{
	uint32_t len = next16(s->in);

	for (uint32_t i = 0; i < TAP_HEADER; i++)
		s->buffer[i] = next(s->in);
	(void)send(s->peer, s->buffer, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Look at all that the device sent. */
static void drain(struct state *s)
{
	ssize_t len;

	while ((len = recv(s->peer, s->buffer, sizeof(s->buffer), MSG_DONTWAIT)) > 0) {
		if (s->flags & TAP)
			len -= TAP_HEADER;
		CHECK(len >= MIN_FRAME && len <= MAX_FRAME);
	}
}

static void reset(struct state *s)
{
	bring_up(s);
}

static void run(struct state *s)
{
	driver_run(&s->d);
}

static void hang_up(struct state *s)
{
	(void)shutdown(s->peer, next(s->in) & 1 ? SHUT_WR : SHUT_RDWR);
}

static void configure(struct state *s)
{
	uint16_t value = next16(s->in);

	driver_write(&s->d, value & 0xfcu, next16(s->in));
}

static void save_and_load(struct state *s)
{
	struct virtio_device *dev = s->d.dev;
	struct writer w = {0};
	struct reader r;

	dev->ops->save(dev, &w);
	r = (struct reader){w.data, w.len, false};
	CHECK(dev->ops->load(dev, &r, NULL) == 0 && r.left == 0);
	/* And damaged. */
	w.data[next(s->in) % w.len] ^= next(s->in);
	r = (struct reader){w.data, w.len - next(s->in) % w.len, false};
	(void)dev->ops->load(dev, &r, NULL);
	free(w.data);
}

static void (*const operations[])(struct state *s) = {
	write_anywhere,
	offer_to_receive,
	offer_to_send,
	offer_indirect,
	notify,
	come_in,
	drain,
	reset,
	run,
	hang_up,
	configure,
	save_and_load,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	static struct state s;

	signal(SIGPIPE, SIG_IGN); /* a tap raises none, our socket in its place does */
	s = (struct state){.flags = next(&in), .in = &in};
	set_up(&s);
	for (int i = 0; i < MAX_OPERATIONS && in.left; i++) {
		operations[next(&in) % ARRAY_SIZE(operations)](&s);
		for (int q = 0; q < 2; q++)
			CHECK(s.d.dev->queues[q].in_flight == 0);
	}
	drain(&s);
	driver_fini(&s.d);
	close(s.peer);
	return 0;
}

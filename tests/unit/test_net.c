/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net between a driver in memory and a socket, whose other end the test holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio/net.h"
#include "virtio_driver.h"

#define F(bit) ((uint64_t)1 << VIRTIO_NET_F_##bit)
#define RX 0
#define TX 1
#define RX_QUEUE 0x1000
#define TX_QUEUE 0x4000
#define TABLE 0x7000
#define DATA 0x10000
#define DATA_TX 0x80000
#define HEADER 12u
#define BUFFER 1526u

struct test {
	struct driver d;
	struct driver_queue rx, tx;
	int peer;
};

static const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};

/* SO_SNDBUF of the device's socket; 0: the kernel's default. */
static int send_buffer;

static struct virtio_device *make(int type, uint16_t mtu, int *peer)
{
	struct net_config config = {.mtu = mtu};
	struct virtio_device *dev;
	mayfly_error err;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	if (send_buffer)
		assert_int_equal(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &send_buffer,
					    sizeof(send_buffer)),
				 0);
	memcpy(config.mac, mac, sizeof(mac));
	config.fd = pair[0];
	*peer = pair[1];
	assert_int_equal(net_new(&config, &dev, &err), 0);
	return dev;
}

static void set_queues(struct test *t)
{
	driver_queue_init(&t->rx, &t->d.memory.ram, RX_QUEUE, 64);
	driver_queue_init(&t->tx, &t->d.memory.ram, TX_QUEUE, 64);
	driver_set_queue(&t->d, RX, &t->rx);
	driver_set_queue(&t->d, TX, &t->tx);
}

static void begin_with(struct test *t, int type, uint16_t mtu, uint64_t features)
{
	driver_init(&t->d, make(type, mtu, &t->peer), false);
	assert_true(driver_negotiate(&t->d, VIRTIO_VERSION_1 | features));
	set_queues(t);
	driver_go(&t->d);
	driver_run(&t->d);
}

static void begin(struct test *t)
{
	begin_with(t, SOCK_SEQPACKET, 0, F(MAC) | F(STATUS));
}

static void end(struct test *t)
{
	driver_fini(&t->d);
	if (t->peer >= 0)
		close(t->peer);
}

static uint8_t *data(struct test *t, uint64_t at, uint64_t len)
{
	return driver_at(&t->d.memory.ram, at, len);
}

/* A frame of `len` bytes, each of which `seed` tells. */
static void fill(uint8_t *to, size_t len, uint8_t seed)
{
	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)(seed + i * 7);
}

static bool is_frame(const uint8_t *at, size_t len, uint8_t seed)
{
	for (size_t i = 0; i < len; i++)
		if (at[i] != (uint8_t)(seed + i * 7))
			return false;
	return true;
}

/* A receive buffer of `len` bytes, number `slot`; gives its head. */
static uint16_t offer_buffer(struct test *t, uint32_t slot, uint32_t len)
{
	const struct driver_piece piece = {DATA + (uint64_t)slot * 0x1000, len, true};

	return driver_chain(&t->rx, &piece, 1);
}

/* A frame to send, with a header of zeros. */
static uint16_t offer_frame(struct test *t, uint32_t slot, uint32_t len, uint8_t seed)
{
	const struct driver_piece piece = {DATA_TX + (uint64_t)slot * 0x1000, HEADER + len,
					   false};

	memset(data(t, piece.at, HEADER), 0, HEADER);
	fill(data(t, piece.at + HEADER, len), len, seed);
	return driver_chain(&t->tx, &piece, 1);
}

static void send_frame(const struct test *t, size_t len, uint8_t seed)
{
	uint8_t *frame = malloc(len + 1);

	fill(frame, len, seed);
	assert_int_equal(send(t->peer, frame, len, 0), (ssize_t)len);
	free(frame);
}

/* What the peer gets: the length, or -1 if there is nothing. */
static ssize_t receive(const struct test *t, uint8_t *frame, size_t size)
{
	return recv(t->peer, frame, size, MSG_DONTWAIT);
}

static void assert_sent(const struct test *t, size_t len, uint8_t seed)
{
	static uint8_t frame[70000];

	assert_int_equal(receive(t, frame, sizeof(frame)), (ssize_t)len);
	assert_true(is_frame(frame, len, seed));
}

static void assert_nothing_sent(const struct test *t)
{
	uint8_t frame[64];

	assert_int_equal(receive(t, frame, sizeof(frame)), -1);
	assert_int_equal(errno, EAGAIN);
}

static bool needs_reset(struct test *t)
{
	return driver_read(&t->d, 0x70) & VIRTIO_NEEDS_RESET;
}

/* --- configuration ------------------------------------------------------------------------------ */

static void test_configuration_tells_mac_link_and_mtu(void **state)
{
	struct test t;

	(void)state;
	begin_with(&t, SOCK_SEQPACKET, 9000, F(MAC) | F(STATUS) | F(MTU));
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(driver_read_config(&t.d, i, 1), mac[i]);
	assert_int_equal(driver_read_config(&t.d, 6, 2), VIRTIO_NET_S_LINK_UP);
	assert_int_equal(driver_read_config(&t.d, 10, 2), 9000);
	end(&t);
}

static void test_sockets_offer_no_offloads(void **state)
{
	struct test t;
	uint64_t features;

	(void)state;
	begin(&t);
	features = driver_features(&t.d);
	assert_true(features & F(MAC) && features & F(STATUS));
	assert_false(features & (F(CSUM) | F(GUEST_CSUM) | F(HOST_TSO4) | F(HOST_TSO6) |
				 F(GUEST_TSO4) | F(GUEST_TSO6) | F(MTU) | F(CTRL_VQ)));
	end(&t);
}

static void test_without_a_mac_one_is_chosen_that_is_local(void **state)
{
	struct net_config config = {.fd = -1};
	struct virtio_device *a, *b;
	uint8_t of_a[6], of_b[6];

	(void)state;
	assert_int_equal(net_new(&config, &a, NULL), 0);
	assert_int_equal(net_new(&config, &b, NULL), 0);
	a->ops->config_read(a, 0, of_a, 6);
	b->ops->config_read(b, 0, of_b, 6);
	assert_int_equal(of_a[0] & 3, 2);
	assert_memory_not_equal(of_a, of_b, 6);
	a->ops->free(a);
	b->ops->free(b);
}

static void test_only_legacy_drivers_change_the_mac(void **state)
{
	static const uint8_t other[6] = {0x02, 9, 9, 9, 9, 9};
	struct virtio_device *dev;
	uint8_t now[6];
	int peer;

	(void)state;
	dev = make(SOCK_SEQPACKET, 0, &peer);
	dev->features = VIRTIO_VERSION_1;
	dev->ops->config_write(dev, 0, other, 6);
	dev->ops->config_read(dev, 0, now, 6);
	assert_memory_equal(now, mac, 6);
	dev->features = 0;
	dev->ops->config_write(dev, 0, other, 6);
	dev->ops->config_write(dev, 6, other, 2);
	dev->ops->config_read(dev, 0, now, 6);
	assert_memory_equal(now, other, 6);
	dev->ops->free(dev);
	close(peer);
}

/* --- from the guest ----------------------------------------------------------------------------- */

static void test_a_frame_goes_out_without_its_header(void **state)
{
	struct test t;
	uint32_t head, len;

	(void)state;
	begin(&t);
	offer_frame(&t, 0, 1514, 5);
	driver_notify(&t.d, TX);
	assert_sent(&t, 1514, 5);
	assert_true(driver_used(&t.tx, &head, &len));
	assert_int_equal(len, 0);
	assert_true(t.d.level);
	end(&t);
}

static void test_a_frame_may_be_in_pieces_cut_anywhere(void **state)
{
	struct test t;
	struct driver_piece pieces[40];
	uint32_t n = 0, head, len;

	(void)state;
	begin(&t);
	/* 5 bytes each: the header's end is within one. */
	memset(data(&t, DATA_TX, HEADER), 0, HEADER);
	fill(data(&t, DATA_TX + HEADER, 188), 188, 9);
	for (; n < 40; n++)
		pieces[n] = (struct driver_piece){DATA_TX + n * 5, 5, false};
	driver_indirect(&t.tx, TABLE, pieces, n);
	driver_notify(&t.d, TX);
	assert_sent(&t, 188, 9);
	assert_true(driver_used(&t.tx, &head, &len));
	end(&t);
}

static void test_legacy_frames_have_a_short_header(void **state)
{
	struct test t;
	const struct driver_piece piece = {DATA_TX, 10 + 60, false};
	uint32_t head, len;

	(void)state;
	/* Without VERSION_1, as a legacy driver; the transport's layout does not matter here. */
	driver_init(&t.d, make(SOCK_SEQPACKET, 0, &t.peer), false);
	assert_true(driver_negotiate(&t.d, VIRTIO_VERSION_1));
	t.d.dev->features = 0;
	set_queues(&t);
	driver_go(&t.d);
	memset(data(&t, DATA_TX, 10), 0, 10);
	fill(data(&t, DATA_TX + 10, 60), 60, 3);
	driver_chain(&t.tx, &piece, 1);
	driver_notify(&t.d, TX);
	assert_sent(&t, 60, 3);
	offer_buffer(&t, 0, BUFFER);
	driver_notify(&t.d, RX);
	send_frame(&t, 100, 8);
	driver_run(&t.d);
	assert_true(driver_used(&t.rx, &head, &len));
	assert_int_equal(len, 110);
	assert_true(is_frame(data(&t, DATA + 10, 100), 100, 8));
	end(&t);
}

static void test_frames_too_short_or_long_are_dropped_and_given_back(void **state)
{
	/* Nothing, less than an Ethernet header, more than any offload makes. */
	static const uint32_t lengths[] = {0, 1, 13, 65551, 100000};
	struct test t;
	uint32_t head, len;

	(void)state;
	begin(&t);
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		const struct driver_piece piece = {DATA_TX, HEADER + lengths[i], false};

		memset(data(&t, DATA_TX, HEADER), 0, HEADER);
		driver_chain(&t.tx, &piece, 1);
		driver_notify(&t.d, TX);
		assert_nothing_sent(&t);
		assert_true(driver_used(&t.tx, &head, &len));
	}
	assert_false(needs_reset(&t));
	offer_frame(&t, 0, 14, 1);
	driver_notify(&t.d, TX);
	assert_sent(&t, 14, 1);
	end(&t);
}

static void test_offloads_that_were_not_agreed_on_are_dropped(void **state)
{
	static const struct virtio_net_hdr headers[] = {
		{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16},
		{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		 .csum_start = 65535,
		 .csum_offset = 65535},
		{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448, .hdr_len = 54},
		{.gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 1},
		{.gso_type = 0xff, .gso_size = 65535, .hdr_len = 65535},
	};
	struct test t;
	uint32_t head, len;

	(void)state;
	begin(&t);
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		offer_frame(&t, 0, 100, 1);
		memcpy(data(&t, DATA_TX, HEADER), &headers[i], sizeof(headers[i]));
		driver_notify(&t.d, TX);
		assert_nothing_sent(&t);
		assert_true(driver_used(&t.tx, &head, &len));
	}
	end(&t);
}

static void test_a_chain_too_small_for_a_header_breaks_the_device(void **state)
{
	struct test t;
	const struct driver_piece piece = {DATA_TX, HEADER - 1, false};

	(void)state;
	begin(&t);
	driver_chain(&t.tx, &piece, 1);
	driver_notify(&t.d, TX);
	assert_true(needs_reset(&t));
	assert_nothing_sent(&t);
	end(&t);
}

static void test_a_chain_to_receive_in_the_wrong_queue_breaks_the_device(void **state)
{
	struct test t;
	const struct driver_piece piece = {DATA_TX, BUFFER, true};

	(void)state;
	begin(&t);
	driver_chain(&t.tx, &piece, 1);
	driver_notify(&t.d, TX);
	assert_true(needs_reset(&t));
	end(&t);
}

#define FLOOD 60u

/* Send more frames than the host takes at once. */
static void begin_flooded(struct test *t)
{
	send_buffer = 1; /* the least there is: a few frames */
	begin(t);
	send_buffer = 0;
	for (uint32_t i = 0; i < FLOOD; i++)
		offer_frame(t, i, 1514, (uint8_t)i);
	driver_notify(&t->d, TX);
	assert_in_range(driver_nused(&t->tx), 1, FLOOD - 1);
	assert_int_equal(t->d.dev->queues[TX].in_flight, 0);
}

static void test_what_the_host_does_not_take_waits_and_keeps_its_order(void **state)
{
	struct test t;

	(void)state;
	begin_flooded(&t);
	for (uint32_t i = 0; i < FLOOD; i++) {
		assert_sent(&t, 1514, (uint8_t)i);
		driver_run(&t.d);
	}
	assert_nothing_sent(&t);
	assert_int_equal(driver_nused(&t.tx), FLOOD);
	end(&t);
}

static void test_a_reset_forgets_frames_that_wait(void **state)
{
	struct test t;
	uint8_t frame[2000];
	uint32_t sent = 0;

	(void)state;
	begin_flooded(&t);
	assert_true(driver_negotiate(&t.d, VIRTIO_VERSION_1));
	while (receive(&t, frame, sizeof(frame)) >= 0) {
		sent++;
		driver_run(&t.d);
	}
	assert_in_range(sent, 1, FLOOD - 1);
	/* And on it goes. */
	set_queues(&t);
	driver_go(&t.d);
	offer_frame(&t, 0, 64, 77);
	driver_notify(&t.d, TX);
	assert_sent(&t, 64, 77);
	end(&t);
}

/* --- to the guest ------------------------------------------------------------------------------- */

static void test_a_frame_comes_in_behind_a_header_of_zeros(void **state)
{
	static const uint8_t header[HEADER] = {[10] = 1}; /* num_buffers */
	struct test t;
	uint32_t head, len;

	(void)state;
	begin(&t);
	memset(data(&t, DATA, BUFFER), 0xee, BUFFER);
	offer_buffer(&t, 0, BUFFER);
	driver_notify(&t.d, RX);
	send_frame(&t, 1514, 4);
	driver_run(&t.d);
	assert_true(driver_used(&t.rx, &head, &len));
	assert_int_equal(len, HEADER + 1514);
	assert_memory_equal(data(&t, DATA, HEADER), header, HEADER);
	assert_true(is_frame(data(&t, DATA + HEADER, 1514), 1514, 4));
	assert_true(t.d.level);
	end(&t);
}

static void test_frames_stay_in_the_kernel_until_there_are_buffers(void **state)
{
	struct test t;
	struct pollfd p;
	uint32_t head, len;

	(void)state;
	begin(&t);
	for (uint8_t i = 0; i < 3; i++)
		send_frame(&t, 100, i);
	driver_run(&t.d);
	assert_int_equal(driver_nused(&t.rx), 0);
	p = (struct pollfd){t.peer, POLLOUT, 0};
	assert_int_equal(poll(&p, 1, 0), 1);
	for (uint8_t i = 0; i < 3; i++) {
		offer_buffer(&t, i, BUFFER);
		driver_notify(&t.d, RX);
		assert_true(driver_used(&t.rx, &head, &len));
		assert_true(is_frame(data(&t, DATA + i * 0x1000ull + HEADER, 100), 100, i));
	}
	end(&t);
}

static void test_a_frame_too_long_for_its_buffer_is_dropped(void **state)
{
	struct test t;
	uint32_t head, len;

	(void)state;
	begin(&t);
	offer_buffer(&t, 0, HEADER + 100);
	driver_notify(&t.d, RX);
	send_frame(&t, 101, 1);
	send_frame(&t, 66000, 1);
	send_frame(&t, 100, 2);
	driver_run(&t.d);
	assert_true(driver_used(&t.rx, &head, &len));
	assert_int_equal(len, HEADER + 100);
	assert_true(is_frame(data(&t, DATA + HEADER, 100), 100, 2));
	assert_int_equal(driver_nused(&t.rx), 0);
	end(&t);
}

static void test_messages_that_are_no_frames_are_dropped(void **state)
{
	struct test t;
	uint32_t head, len;

	(void)state;
	begin(&t);
	offer_buffer(&t, 0, BUFFER);
	driver_notify(&t.d, RX);
	send_frame(&t, 0, 1);
	send_frame(&t, 13, 1);
	send_frame(&t, 14, 2);
	driver_run(&t.d);
	assert_true(driver_used(&t.rx, &head, &len));
	assert_int_equal(len, HEADER + 14);
	assert_int_equal(driver_nused(&t.rx), 0);
	end(&t);
}

static void test_a_long_frame_fills_several_buffers_where_that_was_agreed_on(void **state)
{
	struct test t;
	uint32_t head, len, left = 9000, at = 0;
	static uint8_t frame[9000];

	(void)state;
	begin_with(&t, SOCK_SEQPACKET, 9000, F(MTU) | F(MRG_RXBUF));
	for (uint32_t i = 0; i < 10; i++)
		offer_buffer(&t, i, 1000);
	driver_notify(&t.d, RX);
	send_frame(&t, 9000, 6);
	driver_run(&t.d);
	assert_int_equal(driver_nused(&t.rx), 10);
	for (uint32_t i = 0; i < 10; i++) {
		uint32_t header = i ? 0 : HEADER;

		assert_true(driver_used(&t.rx, &head, &len));
		assert_int_equal(head, i);
		assert_in_range(len, header + 1, 1000);
		memcpy(frame + at, data(&t, DATA + i * 0x1000ull + header, len - header),
		       len - header);
		at += len - header;
		left -= len - header;
	}
	assert_int_equal(left, 0);
	assert_true(is_frame(frame, 9000, 6));
	assert_int_equal(data(&t, DATA + 10, 2)[0], 10);
	end(&t);
}

static void test_a_frame_that_finds_too_few_buffers_leaves_them_as_they_were(void **state)
{
	struct test t;
	uint32_t head, len;

	(void)state;
	begin_with(&t, SOCK_SEQPACKET, 9000, F(MTU) | F(MRG_RXBUF));
	for (uint32_t i = 0; i < 3; i++)
		offer_buffer(&t, i, 1000);
	driver_notify(&t.d, RX);
	send_frame(&t, 9000, 6);
	driver_run(&t.d);
	assert_int_equal(driver_nused(&t.rx), 0);
	assert_int_equal(t.d.dev->queues[RX].in_flight, 0);
	for (uint32_t i = 0; i < 3; i++)
		send_frame(&t, 500, (uint8_t)i);
	driver_run(&t.d);
	for (uint32_t i = 0; i < 3; i++) {
		assert_true(driver_used(&t.rx, &head, &len));
		assert_int_equal(head, i);
		assert_true(is_frame(data(&t, DATA + i * 0x1000ull + HEADER, 500), 500,
				     (uint8_t)i));
	}
	end(&t);
}

static void test_a_buffer_too_small_for_a_header_breaks_the_device(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	offer_buffer(&t, 0, HEADER);
	driver_notify(&t.d, RX);
	assert_true(needs_reset(&t));
	send_frame(&t, 100, 1);
	driver_run(&t.d);
	assert_int_equal(driver_nused(&t.rx), 0);
	end(&t);
}

static void test_a_buffer_may_be_in_pieces_cut_anywhere(void **state)
{
	struct test t;
	struct driver_piece pieces[60];
	uint32_t n = 0, head, len;

	(void)state;
	begin(&t);
	for (; n < 60; n++)
		pieces[n] = (struct driver_piece){DATA + n * 5, 5, true};
	driver_indirect(&t.rx, TABLE, pieces, n);
	driver_notify(&t.d, RX);
	send_frame(&t, 288, 4);
	driver_run(&t.d);
	assert_true(driver_used(&t.rx, &head, &len));
	assert_int_equal(len, 300);
	assert_true(is_frame(data(&t, DATA + HEADER, 288), 288, 4));
	end(&t);
}

/* --- the other end ------------------------------------------------------------------------------ */

static void test_the_link_goes_down_with_the_other_end(void **state)
{
	struct test t;
	uint32_t head, len;

	(void)state;
	begin(&t);
	close(t.peer);
	t.peer = -1;
	driver_run(&t.d);
	assert_int_equal(driver_read_config(&t.d, 6, 2), 0);
	/* InterruptStatus: the configuration changed. */
	assert_int_equal(driver_read(&t.d, 0x60) & 2, 2);
	/* As with a cable that is out: the driver gets its frames back. */
	offer_frame(&t, 0, 100, 1);
	driver_notify(&t.d, TX);
	assert_true(driver_used(&t.tx, &head, &len));
	assert_false(needs_reset(&t));
	end(&t);
}

static void test_frames_that_wait_are_given_back_when_the_other_end_is_gone(void **state)
{
	struct test t;

	(void)state;
	begin_flooded(&t);
	close(t.peer);
	t.peer = -1;
	driver_run(&t.d);
	assert_int_equal(driver_nused(&t.tx), FLOOD);
	end(&t);
}

static void test_an_end_that_only_stops_sending_is_an_end(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	assert_int_equal(shutdown(t.peer, SHUT_WR), 0);
	driver_run(&t.d);
	assert_int_equal(driver_read_config(&t.d, 6, 2), 0);
	end(&t);
}

static void test_datagram_sockets_carry_frames_too(void **state)
{
	struct test t;
	uint32_t head, len;

	(void)state;
	begin_with(&t, SOCK_DGRAM, 0, F(MAC));
	offer_buffer(&t, 0, BUFFER);
	driver_notify(&t.d, RX);
	send_frame(&t, 60, 1);
	driver_run(&t.d);
	assert_true(driver_used(&t.rx, &head, &len));
	offer_frame(&t, 0, 60, 2);
	driver_notify(&t.d, TX);
	assert_sent(&t, 60, 2);
	end(&t);
}

/* --- snapshots ---------------------------------------------------------------------------------- */

static int reload(struct virtio_device *from, struct virtio_device *to, size_t cut)
{
	struct writer w = {0};
	struct reader r;
	mayfly_error err;
	int result;

	from->ops->save(from, &w);
	r = (struct reader){w.data, w.len - cut, false};
	result = to->ops->load(to, &r, &err);
	free(w.data);
	return result;
}

static void test_a_restored_card_has_the_same_address(void **state)
{
	struct net_config other = {.fd = -1};
	struct virtio_device *a, *b;
	uint8_t now[6];
	int peer;

	(void)state;
	a = make(SOCK_SEQPACKET, 0, &peer);
	assert_int_equal(net_new(&other, &b, NULL), 0);
	assert_int_equal(reload(a, b, 0), 0);
	b->ops->config_read(b, 0, now, 6);
	assert_memory_equal(now, mac, 6);
	a->ops->free(a);
	b->ops->free(b);
	close(peer);
}

static void test_damaged_state_is_refused(void **state)
{
	struct virtio_device *dev;
	uint8_t now[6];
	int peer;

	(void)state;
	dev = make(SOCK_SEQPACKET, 0, &peer);
	for (size_t cut = 1; cut <= 30; cut++)
		assert_int_equal(reload(dev, dev, cut), MAYFLY_E_FORMAT);
	dev->ops->config_read(dev, 0, now, 6);
	assert_memory_equal(now, mac, 6);
	dev->ops->free(dev);
	close(peer);
}

static void test_another_kind_of_network_is_refused(void **state)
{
	struct virtio_device *a, *b;
	int peers[2];

	(void)state;
	a = make(SOCK_SEQPACKET, 0, &peers[0]);
	b = make(SOCK_SEQPACKET, 9000, &peers[1]);
	assert_int_equal(reload(a, b, 0), MAYFLY_E_INVALID);
	a->ops->free(a);
	b->ops->free(b);
	close(peers[0]);
	close(peers[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_configuration_tells_mac_link_and_mtu),
		cmocka_unit_test(test_sockets_offer_no_offloads),
		cmocka_unit_test(test_without_a_mac_one_is_chosen_that_is_local),
		cmocka_unit_test(test_only_legacy_drivers_change_the_mac),
		cmocka_unit_test(test_a_frame_goes_out_without_its_header),
		cmocka_unit_test(test_a_frame_may_be_in_pieces_cut_anywhere),
		cmocka_unit_test(test_legacy_frames_have_a_short_header),
		cmocka_unit_test(test_frames_too_short_or_long_are_dropped_and_given_back),
		cmocka_unit_test(test_offloads_that_were_not_agreed_on_are_dropped),
		cmocka_unit_test(test_a_chain_too_small_for_a_header_breaks_the_device),
		cmocka_unit_test(test_a_chain_to_receive_in_the_wrong_queue_breaks_the_device),
		cmocka_unit_test(test_what_the_host_does_not_take_waits_and_keeps_its_order),
		cmocka_unit_test(test_a_reset_forgets_frames_that_wait),
		cmocka_unit_test(test_a_frame_comes_in_behind_a_header_of_zeros),
		cmocka_unit_test(test_frames_stay_in_the_kernel_until_there_are_buffers),
		cmocka_unit_test(test_a_frame_too_long_for_its_buffer_is_dropped),
		cmocka_unit_test(test_messages_that_are_no_frames_are_dropped),
		cmocka_unit_test(
			test_a_long_frame_fills_several_buffers_where_that_was_agreed_on),
		cmocka_unit_test(
			test_a_frame_that_finds_too_few_buffers_leaves_them_as_they_were),
		cmocka_unit_test(test_a_buffer_too_small_for_a_header_breaks_the_device),
		cmocka_unit_test(test_a_buffer_may_be_in_pieces_cut_anywhere),
		cmocka_unit_test(test_the_link_goes_down_with_the_other_end),
		cmocka_unit_test(
			test_frames_that_wait_are_given_back_when_the_other_end_is_gone),
		cmocka_unit_test(test_an_end_that_only_stops_sending_is_an_end),
		cmocka_unit_test(test_datagram_sockets_carry_frames_too),
		cmocka_unit_test(test_a_restored_card_has_the_same_address),
		cmocka_unit_test(test_damaged_state_is_refused),
		cmocka_unit_test(test_another_kind_of_network_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net on a tap device, in a network of the test's own; a packet socket is the other end.
 * Where the test may not make these, it is skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frames.h"
#include "virtio/net.h"
#include "virtio_driver.h"

#define F(bit) ((uint64_t)1 << VIRTIO_NET_F_##bit)
#define TAP "mayfly0"
#define PATIENCE_MS 60000
#define HEADER 12u
#define RX_QUEUE 0x1000
#define TX_QUEUE 0x4000
#define DATA 0x10000
#define MSS 1000
#define SEGMENTS 3

static bool have_network;

static int control(unsigned long request, struct ifreq *r)
{
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), result;

	memcpy(r->ifr_name, TAP, sizeof(TAP));
	result = ioctl(s, request, r);
	close(s);
	return result;
}

static int group_set_up(void **state)
{
	struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd;

	(void)state;
	/* As root, or as whoever may be root among his own. */
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return 0;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	memcpy(r.ifr_name, TAP, sizeof(TAP));
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r) < 0 || ioctl(fd, TUNSETPERSIST, 1) < 0) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	close(fd);
	/* Nothing of the host's own is to be sent, as IPv6 would. */
	r.ifr_flags = IFF_UP | IFF_NOARP;
	have_network = control(SIOCSIFFLAGS, &r) == 0;
	return 0;
}

struct test {
	struct driver d;
	struct driver_queue rx, tx;
	int wire;
};

static int open_wire(void)
{
	struct sockaddr_ll ll = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex(TAP)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)), one = 1;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&ll, sizeof(ll)), 0);
	return fd;
}

static struct virtio_device *make(void)
{
	struct net_config config = {.tap = true};
	struct virtio_device *dev;
	mayfly_error err = {0};

	if (net_open_tap(TAP, &config.fd, &err) < 0)
		print_error("%s\n", err.message);
	assert_int_equal(err.code, 0);
	assert_int_equal(net_new(&config, &dev, &err), 0);
	return dev;
}

static void begin(struct test *t, uint64_t features)
{
	driver_init(&t->d, make(), false);
	t->wire = open_wire();
	assert_true(driver_negotiate(&t->d, VIRTIO_VERSION_1 | features));
	driver_queue_init(&t->rx, &t->d.memory.ram, RX_QUEUE, 64);
	driver_queue_init(&t->tx, &t->d.memory.ram, TX_QUEUE, 64);
	driver_set_queue(&t->d, 0, &t->rx);
	driver_set_queue(&t->d, 1, &t->tx);
	driver_go(&t->d);
	driver_run(&t->d);
}

static void end(struct test *t)
{
	driver_fini(&t->d);
	close(t->wire);
}

static uint8_t *data(struct test *t, uint64_t at, uint64_t len)
{
	return driver_at(&t->d.memory.ram, at, len);
}

/* A TCP segment as offloads have it: too long for the wire, its checksum to be completed. */
static size_t large_segment(uint8_t *to, struct virtio_net_hdr *h)
{
	static const uint8_t payload[MSS * SEGMENTS / 2];
	struct frame f;

	frame_tcp(&f, &(struct frame_tcp){0x0a000001, 1000, 2000, 1, 1, TCP_ACK}, payload,
		  sizeof(payload));
	memcpy(to, f.bytes, f.len);
	memset(to + f.len, 0, sizeof(payload));
	*h = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = 14 + 20 + 20,
		.gso_size = MSS,
		.csum_start = 14 + 20,
		.csum_offset = 16,
	};
	return f.len;
}

static void transmit(struct test *t, const struct virtio_net_hdr *h, uint32_t len)
{
	const struct driver_piece piece = {DATA, HEADER + len, false};
	uint32_t head, used;

	memset(data(t, DATA, HEADER), 0, HEADER);
	memcpy(data(t, DATA, HEADER), h, sizeof(*h));
	driver_chain(&t->tx, &piece, 1);
	driver_notify(&t->d, 1);
	assert_true(driver_used(&t->tx, &head, &used));
}

/* What is on the wire next from the guest; -1: nothing. */
static ssize_t on_wire(const struct test *t, struct virtio_net_hdr *h, uint8_t *frame,
		       size_t size)
{
	uint8_t buffer[70000];
	ssize_t len = recv(t->wire, buffer, sizeof(buffer), MSG_DONTWAIT);

	if (len < (ssize_t)sizeof(*h) || (size_t)len > size)
		return -1;
	memcpy(h, buffer, sizeof(*h));
	memcpy(frame, buffer + sizeof(*h), (size_t)len - sizeof(*h));
	return len - (ssize_t)sizeof(*h);
}

static void test_a_frame_goes_out(void **state)
{
	struct test t;
	struct frame f;
	struct virtio_net_hdr h = {0};
	uint8_t out[2000];

	(void)state;
	if (!have_network)
		skip();
	begin(&t, F(MAC));
	frame_udp(&f, 0x0a000001, 1, 2, "hello", 5);
	memcpy(data(&t, DATA + HEADER, f.len), f.bytes, f.len);
	transmit(&t, &h, (uint32_t)f.len);
	assert_int_equal(on_wire(&t, &h, out, sizeof(out)), (ssize_t)f.len);
	assert_memory_equal(out, f.bytes, f.len);
	end(&t);
}

static void test_a_large_segment_goes_out_whole(void **state)
{
	struct test t;
	struct virtio_net_hdr h, seen;
	uint8_t out[70000];
	size_t len;

	(void)state;
	if (!have_network)
		skip();
	begin(&t, F(CSUM) | F(HOST_TSO4));
	len = large_segment(data(&t, DATA + HEADER, 4000), &h);
	transmit(&t, &h, (uint32_t)len);
	assert_int_equal(on_wire(&t, &seen, out, sizeof(out)), (ssize_t)len);
	assert_int_equal(seen.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(seen.gso_size, MSS);
	end(&t);
}

static void test_a_large_segment_that_was_not_agreed_on_is_dropped(void **state)
{
	struct test t;
	struct virtio_net_hdr h;
	uint8_t out[70000];
	size_t len;

	(void)state;
	if (!have_network)
		skip();
	begin(&t, F(CSUM));
	len = large_segment(data(&t, DATA + HEADER, 4000), &h);
	transmit(&t, &h, (uint32_t)len);
	assert_int_equal(on_wire(&t, &h, out, sizeof(out)), -1);
	end(&t);
}

static void test_offloads_are_offered_with_merged_buffers(void **state)
{
	const uint64_t all = F(CSUM) | F(GUEST_CSUM) | F(HOST_TSO4) | F(HOST_TSO6) |
			     F(GUEST_TSO4) | F(GUEST_TSO6) | F(MRG_RXBUF);
	struct test t;

	(void)state;
	if (!have_network)
		skip();
	begin(&t, F(MAC));
	assert_true((driver_features(&t.d) & all) == all);
	end(&t);
}

/* Put a frame on the wire towards the guest. */
static void put(const struct test *t, const struct virtio_net_hdr *h, const uint8_t *frame,
		size_t len)
{
	uint8_t buffer[4000];

	memcpy(buffer, h, sizeof(*h));
	memcpy(buffer + sizeof(*h), frame, len);
	len += sizeof(*h);
	assert_int_equal(send(t->wire, buffer, len, 0), (ssize_t)len);
}

static void wait_for_frames(struct test *t, uint16_t n)
{
	struct pollfd p = {-1, 0, 0};

	for (int i = 0; i < PATIENCE_MS && driver_nused(&t->rx) < n; i++) {
		driver_run(&t->d);
		(void)poll(&p, 1, 1);
	}
	assert_int_equal(driver_nused(&t->rx), n);
}

/* Buffers for what comes in, 4 KiB apart. */
static void offer(struct test *t, uint32_t n, uint32_t size)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct driver_piece piece = {DATA + i * 0x1000ull, size, true};

		driver_chain(&t->rx, &piece, 1);
	}
	driver_notify(&t->d, 0);
}

static void test_a_frame_comes_in(void **state)
{
	struct test t;
	struct frame f;
	const struct virtio_net_hdr none = {0};
	uint32_t head, len;

	(void)state;
	if (!have_network)
		skip();
	begin(&t, F(MAC));
	offer(&t, 1, 2000);
	frame_udp(&f, GUEST, 1, 2, "hello", 5);
	put(&t, &none, f.bytes, f.len);
	wait_for_frames(&t, 1);
	assert_true(driver_used(&t.rx, &head, &len));
	assert_int_equal(len, HEADER + f.len);
	assert_memory_equal(data(&t, DATA + HEADER, f.len), f.bytes, f.len);
	assert_int_equal(data(&t, DATA + 10, 2)[0], 1);
	end(&t);
}

static void test_a_large_segment_comes_in_whole_over_several_buffers(void **state)
{
	struct test t;
	struct virtio_net_hdr h;
	uint8_t segment[4000];
	uint32_t head, used, total = 0;
	size_t len = large_segment(segment, &h);

	(void)state;
	if (!have_network)
		skip();
	begin(&t, F(GUEST_CSUM) | F(GUEST_TSO4) | F(MRG_RXBUF));
	offer(&t, 4, 600);
	put(&t, &h, segment, len);
	wait_for_frames(&t, 3);
	while (driver_used(&t.rx, &head, &used))
		total += used;
	assert_int_equal(total, HEADER + len);
	memcpy(&h, data(&t, DATA, sizeof(h)), sizeof(h));
	assert_int_equal(h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(data(&t, DATA + 10, 2)[0], 3);
	end(&t);
}

static void test_without_offloads_the_kernel_cuts_a_large_segment(void **state)
{
	struct test t;
	struct virtio_net_hdr h;
	uint8_t segment[4000];
	uint32_t head, used, frames = 0;
	size_t len = large_segment(segment, &h);

	(void)state;
	if (!have_network)
		skip();
	begin(&t, F(MAC));
	offer(&t, 4, 1600);
	put(&t, &h, segment, len);
	wait_for_frames(&t, 2);
	while (driver_used(&t.rx, &head, &used)) {
		assert_in_range(used, HEADER + 54, HEADER + 54 + MSS);
		memcpy(&h, data(&t, DATA + frames * 0x1000ull, sizeof(h)), sizeof(h));
		assert_int_equal(h.gso_type, VIRTIO_NET_HDR_GSO_NONE);
		assert_int_equal(h.flags, 0);
		frames++;
	}
	end(&t);
}

static void test_the_devices_mtu_is_told(void **state)
{
	struct virtio_device *dev;
	struct ifreq r = {.ifr_mtu = 4000};
	uint8_t mtu[2];

	(void)state;
	if (!have_network)
		skip();
	assert_int_equal(control(SIOCSIFMTU, &r), 0);
	dev = make();
	assert_true(dev->offered & F(MTU));
	dev->ops->config_read(dev, 10, mtu, 2);
	assert_int_equal(mtu[0] | mtu[1] << 8, 4000);
	dev->ops->free(dev);
	r.ifr_mtu = 1500;
	assert_int_equal(control(SIOCSIFMTU, &r), 0);
	dev = make();
	assert_false(dev->offered & F(MTU));
	dev->ops->free(dev);
}

static void test_what_cannot_be_opened_is_an_error_with_advice(void **state)
{
	static const struct {
		const char *name;
		int code;
		const char *says;
	} cases[] = {
		{"", MAYFLY_E_INVALID, "name"},
		{"a-name-that-is-too-long", MAYFLY_E_INVALID, "name"},
		{"tap%d", MAYFLY_E_INVALID, "name"},
		{"mayfly-none", MAYFLY_E_IO, "ip tuntap add"},
		{"lo", MAYFLY_E_INVALID, "no tap"},
	};
	mayfly_error err;
	int fd = -1;

	(void)state;
	if (!have_network)
		skip();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(net_open_tap(cases[i].name, &fd, &err), cases[i].code);
		assert_non_null(strstr(err.message, cases[i].says));
		assert_int_equal(fd, -1);
	}
}

static void test_a_tap_in_use_is_an_error_that_says_so(void **state)
{
	mayfly_error err;
	int first, second;

	(void)state;
	if (!have_network)
		skip();
	assert_int_equal(net_open_tap(TAP, &first, &err), 0);
	assert_int_equal(net_open_tap(TAP, &second, &err), MAYFLY_E_IO);
	assert_non_null(strstr(err.message, "in use"));
	close(first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_frame_goes_out),
		cmocka_unit_test(test_a_large_segment_goes_out_whole),
		cmocka_unit_test(test_a_large_segment_that_was_not_agreed_on_is_dropped),
		cmocka_unit_test(test_offloads_are_offered_with_merged_buffers),
		cmocka_unit_test(test_a_frame_comes_in),
		cmocka_unit_test(test_a_large_segment_comes_in_whole_over_several_buffers),
		cmocka_unit_test(test_without_offloads_the_kernel_cuts_a_large_segment),
		cmocka_unit_test(test_the_devices_mtu_is_told),
		cmocka_unit_test(test_what_cannot_be_opened_is_an_error_with_advice),
		cmocka_unit_test(test_a_tap_in_use_is_an_error_that_says_so),
	};

	return cmocka_run_group_tests(tests, group_set_up, NULL);
}

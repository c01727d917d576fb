/* SPDX-License-Identifier: Apache-2.0 */
/* Which frames of a guest get through to the network, and to this host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail

#include <dlfcn.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

#include "filter.h"
#include "frames.h"

#define WORLD 0x08080808u    /* 8.8.8.8 */
#define OWN 0xc0000207u	     /* 192.0.2.7 */
#define METADATA 0xa9fea9feu /* 169.254.169.254 */
#define MINUTE (60 * UINT64_C(1000000000))

static struct filter filter;

static int set_up(void **state)
{
	(void)state;
	memset(&filter, 0, sizeof(filter));
	filter.own[0] = LOCALHOST;
	filter.own[1] = OWN;
	filter.nown = 2;
	return 0;
}

static bool passes(struct frame *f)
{
	return filter_from_guest(&filter, f->bytes, f->len, 1);
}

static bool udp_passes(uint32_t target, uint16_t port)
{
	struct frame f;

	frame_udp(&f, target, 5000, port, "data", 4);
	return passes(&f);
}

static bool tcp_passes(uint32_t target, uint16_t port, uint8_t flags)
{
	struct frame f;

	frame_tcp(&f, &(struct frame_tcp){target, 5000, port, 1, 0, flags}, NULL, 0);
	return passes(&f);
}

static bool icmp_passes(uint32_t target)
{
	static const uint8_t echo[8] = {8};
	struct frame f;

	frame_ip(&f, target, IPPROTO_ICMP, echo, sizeof(echo));
	return passes(&f);
}

static void test_the_world_is_open(void **state)
{
	(void)state;
	assert_true(udp_passes(WORLD, 53));
	assert_true(tcp_passes(WORLD, 443, TCP_SYN));
	assert_true(icmp_passes(WORLD));
}

static void test_this_host_is_closed_by_all_its_names(void **state)
{
	static const uint32_t names[] = {LOCALHOST, 0x7f123456, 0, 1, OWN};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_false(udp_passes(names[i], 53));
		assert_false(tcp_passes(names[i], 80, TCP_SYN));
		assert_false(icmp_passes(names[i]));
	}
	assert_false(udp_passes(GATEWAY, 53));
}

static void test_a_gateway_that_is_this_host_is_open_where_that_was_allowed(void **state)
{
	(void)state;
	filter.host = true;
	assert_true(udp_passes(GATEWAY, 53));
	assert_true(tcp_passes(GATEWAY, 80, TCP_SYN));
	assert_true(tcp_passes(OWN, 80, TCP_SYN));
	/* These are addresses within this host, and never of a cable. */
	assert_false(tcp_passes(LOCALHOST, 80, TCP_SYN));
	assert_false(tcp_passes(0, 80, TCP_SYN));
}

static void test_secrets_of_clouds_are_closed(void **state)
{
	(void)state;
	assert_false(tcp_passes(METADATA, 80, TCP_SYN));
	assert_false(tcp_passes(METADATA, 80, TCP_ACK));
	assert_false(udp_passes(METADATA, 53));
}

static void test_addresses_of_nobody_are_closed(void **state)
{
	(void)state;
	/* The guest's own network, multicast, reserved, broadcast. */
	assert_false(udp_passes(0x0a000204, 53));
	assert_false(udp_passes(0x0a0002ff, 53));
	assert_false(udp_passes(0xe0000001, 53));
	assert_false(udp_passes(0xf0000001, 53));
	assert_false(udp_passes(INADDR_BROADCAST, 53));
}

static void test_dhcp_is_open(void **state)
{
	(void)state;
	assert_true(udp_passes(INADDR_BROADCAST, 67));
	assert_true(udp_passes(GATEWAY, 67));
}

static void test_the_name_server_is_open_for_names_only(void **state)
{
	struct frame f;

	(void)state;
	assert_true(udp_passes(NAMESERVER, 53));
	assert_true(tcp_passes(NAMESERVER, 53, TCP_SYN));
	assert_true(icmp_passes(NAMESERVER));
	assert_false(udp_passes(NAMESERVER, 80));
	assert_false(tcp_passes(NAMESERVER, 80, TCP_SYN));
	frame_ip(&f, NAMESERVER, IPPROTO_UDP, "\0\0", 2);
	assert_false(passes(&f));
	frame_ip(&f, NAMESERVER, 47, "12345678", 8);
	assert_false(passes(&f));
}

static void test_connections_that_came_from_this_host_are_answered(void **state)
{
	(void)state;
	assert_true(tcp_passes(OWN, 40000, TCP_SYN | TCP_ACK));
	assert_true(tcp_passes(OWN, 40000, TCP_ACK));
	assert_true(tcp_passes(OWN, 40000, TCP_RST));
	assert_true(tcp_passes(GATEWAY, 40000, TCP_SYN | TCP_ACK));
}

static void test_fragments_are_dropped(void **state)
{
	static const uint16_t kinds[] = {0x2000, 0x2001, 0x0001, 0x1fff};
	struct frame f;

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		frame_udp(&f, WORLD, 5000, 53, "data", 4);
		frame_set_fragment(&f, kinds[i]);
		assert_false(passes(&f));
	}
	/* "Don't fragment" is none. */
	frame_set_fragment(&f, 0x4000);
	assert_true(passes(&f));
}

static void test_a_segment_without_flags_does_not_pass_to_this_host(void **state)
{
	struct frame f;

	(void)state;
	frame_ip(&f, OWN, IPPROTO_TCP, "12345678", 8);
	assert_false(passes(&f));
}

/* A datagram from `source` comes to the guest. */
static void hear(struct frame *f, uint32_t source, uint16_t port, uint64_t now)
{
	frame_udp(f, GUEST, port, 7, "hello", 5);
	frame_set_source(f, source);
	filter_to_guest(&filter, f->bytes, f->len, now);
}

static void test_who_sent_a_datagram_is_answered_for_a_while(void **state)
{
	struct frame f;

	(void)state;
	hear(&f, OWN, 4000, 0);
	assert_true(udp_passes(OWN, 4000));
	assert_false(udp_passes(OWN, 4001));
	frame_udp(&f, OWN, 7, 4000, "late", 4);
	assert_false(filter_from_guest(&filter, f.bytes, f.len, 5 * MINUTE));
}

static void test_an_answer_by_way_of_the_gateway_goes_to_the_loopback(void **state)
{
	struct frame f;

	(void)state;
	hear(&f, GATEWAY, 4000, 0);
	frame_udp(&f, GATEWAY, 7, 4000, "answer", 6);
	assert_true(passes(&f));
	assert_int_equal(frame_target(&f), LOCALHOST);
	assert_true(frame_sums_are_right(&f));
}

static void test_what_comes_from_the_loopback_comes_from_the_gateway(void **state)
{
	struct frame f;

	(void)state;
	hear(&f, LOCALHOST, 4000, 0);
	assert_int_equal(frame_source(&f), GATEWAY);
	assert_true(frame_sums_are_right(&f));
	assert_true(udp_passes(GATEWAY, 4000));
}

static void test_checksums_stay_right_for_any_data(void **state)
{
	struct frame f;

	(void)state;
	for (uint32_t i = 0; i < 70000; i++) {
		uint8_t data[4] = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16), 1};

		frame_udp(&f, GUEST, (uint16_t)(i * 3 + 1), 7, data, 4);
		frame_set_source(&f, LOCALHOST);
		filter_to_guest(&filter, f.bytes, f.len, 1);
		assert_int_equal(frame_source(&f), GATEWAY);
		assert_true(frame_sums_are_right(&f));
	}
}

static void test_a_datagram_without_a_checksum_gets_none(void **state)
{
	struct frame f;

	(void)state;
	frame_udp(&f, GUEST, 4000, 7, "x", 1);
	frame_set_source(&f, LOCALHOST);
	f.bytes[14 + 20 + 6] = f.bytes[14 + 20 + 7] = 0;
	filter_to_guest(&filter, f.bytes, f.len, 1);
	assert_int_equal(frame_source(&f), GATEWAY);
	assert_int_equal(frame_get16(f.bytes + 14 + 20 + 6), 0);
}

static void test_frames_that_are_no_packets_are_dropped(void **state)
{
	struct frame good, f;

	(void)state;
	frame_udp(&good, WORLD, 1, 2, "data", 4);
	for (size_t len = 0; len < good.len; len++) {
		f = good;
		f.len = len;
		assert_false(passes(&f));
	}
	f = good;
	f.bytes[14] = 0x65; /* version */
	assert_false(passes(&f));
	f = good;
	f.bytes[14] = 0x44; /* a header that is too short */
	assert_false(passes(&f));
	f = good;
	f.bytes[14] = 0x4f; /* and one longer than the packet */
	assert_false(passes(&f));
	f = good;
	f.bytes[12] = 0x86; /* IPv6, NC-SI */
	f.bytes[13] = 0xdd;
	assert_false(passes(&f));
	f.bytes[12] = 0x88;
	f.bytes[13] = 0xf8;
	assert_false(passes(&f));
	frame_arp(&f, false, GATEWAY);
	assert_true(passes(&f));
	f.len--;
	assert_false(passes(&f));
}

static void test_this_hosts_addresses_are_found(void **state)
{
	static struct filter found;
	bool loopback = false;

	(void)state;
	assert_true(filter_init(&found, false));
	for (uint32_t i = 0; i < found.nown; i++)
		loopback |= found.own[i] == LOCALHOST;
	/* Where there is a network at all. */
	assert_true(loopback || found.nown == 0);
}

/* In the place of the C library's: so many addresses, 10.0.0.1 and up; 0: the true ones. */
static size_t many;

int getifaddrs(struct ifaddrs **out)
{
	static struct ifaddrs list[FILTER_MAX_OWN + 1];
	static struct sockaddr_in addresses[FILTER_MAX_OWN + 1];
	int (*true_one)(struct ifaddrs **);

	if (!many) {
		*(void **)&true_one = dlsym(RTLD_NEXT, "getifaddrs");
		return true_one(out);
	}
	for (size_t i = 0; i < many; i++) {
		addresses[i].sin_family = AF_INET;
		addresses[i].sin_addr.s_addr = htonl(0x0a000001u + (uint32_t)i);
		list[i] = (struct ifaddrs){.ifa_addr = (struct sockaddr *)&addresses[i],
					   .ifa_next = i + 1 < many ? &list[i + 1] : NULL};
	}
	*out = list;
	return 0;
}

void freeifaddrs(struct ifaddrs *list)
{
	void (*true_one)(struct ifaddrs *);

	if (many)
		return;
	*(void **)&true_one = dlsym(RTLD_NEXT, "freeifaddrs");
	true_one(list);
}

/* One that is not known would be open. */
static void test_all_of_this_hosts_addresses_are_found_or_it_fails(void **state)
{
	static struct filter found;

	(void)state;
	many = 300;
	assert_true(filter_init(&found, false));
	assert_int_equal(found.nown, 300);
	many = FILTER_MAX_OWN;
	assert_true(filter_init(&found, false));
	many++;
	assert_false(filter_init(&found, false));
	assert_int_equal(errno, E2BIG);
	many = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_the_world_is_open, set_up),
		cmocka_unit_test_setup(test_this_host_is_closed_by_all_its_names, set_up),
		cmocka_unit_test_setup(
			test_a_gateway_that_is_this_host_is_open_where_that_was_allowed,
			set_up),
		cmocka_unit_test_setup(test_secrets_of_clouds_are_closed, set_up),
		cmocka_unit_test_setup(test_addresses_of_nobody_are_closed, set_up),
		cmocka_unit_test_setup(test_dhcp_is_open, set_up),
		cmocka_unit_test_setup(test_the_name_server_is_open_for_names_only, set_up),
		cmocka_unit_test_setup(test_connections_that_came_from_this_host_are_answered,
				       set_up),
		cmocka_unit_test_setup(test_fragments_are_dropped, set_up),
		cmocka_unit_test_setup(test_a_segment_without_flags_does_not_pass_to_this_host,
				       set_up),
		cmocka_unit_test_setup(test_who_sent_a_datagram_is_answered_for_a_while,
				       set_up),
		cmocka_unit_test_setup(
			test_an_answer_by_way_of_the_gateway_goes_to_the_loopback, set_up),
		cmocka_unit_test_setup(test_what_comes_from_the_loopback_comes_from_the_gateway,
				       set_up),
		cmocka_unit_test_setup(test_checksums_stay_right_for_any_data, set_up),
		cmocka_unit_test_setup(test_a_datagram_without_a_checksum_gets_none, set_up),
		cmocka_unit_test_setup(test_frames_that_are_no_packets_are_dropped, set_up),
		cmocka_unit_test_setup(test_this_hosts_addresses_are_found, set_up),
		cmocka_unit_test_setup(test_all_of_this_hosts_addresses_are_found_or_it_fails,
				       set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

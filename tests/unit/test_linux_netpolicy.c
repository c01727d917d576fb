/* SPDX-License-Identifier: Apache-2.0 */
/* Which addresses the rules of a program's network allow. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

#include "fail_alloc.h"
#include "linux/netpolicy.h"

static mayfly_error err;

/* A policy of one rule, or NULL. */
static struct netpolicy *with_rule(const char *host, uint16_t first, uint16_t last)
{
	const mayfly_net_rule rule = {host, first, last};
	struct netpolicy *net = NULL;

	memset(&err, 0, sizeof(err));
	return netpolicy_new(&rule, 1, NULL, 0, &net, &err) == 0 ? net : NULL;
}

static bool allows(const struct netpolicy *net, const char *address, uint16_t port)
{
	struct sockaddr_storage to = {0};
	struct sockaddr_in *in = (struct sockaddr_in *)&to;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&to;

	if (strchr(address, ':') != NULL) {
		to.ss_family = AF_INET6;
		in6->sin6_port = htons(port);
		assert_int_equal(inet_pton(AF_INET6, address, &in6->sin6_addr), 1);
	} else {
		to.ss_family = AF_INET;
		in->sin_port = htons(port);
		assert_int_equal(inet_pton(AF_INET, address, &in->sin_addr), 1);
	}
	return netpolicy_allows(net, &to);
}

/* Whether a rule for `host` allows `address`. */
static bool rule_allows(const char *host, const char *address)
{
	struct netpolicy *net = with_rule(host, 0, 0);
	bool r;

	assert_non_null(net);
	r = allows(net, address, 80);
	netpolicy_free(net);
	return r;
}

/* Those beyond its loopback and its links, of which a host may have none. */
static void the_hosts_own_addresses_have_to_be_named(void **state)
{
	struct ifaddrs *all;
	unsigned found = 0;

	(void)state;
	assert_int_equal(getifaddrs(&all), 0);
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
		char own[INET6_ADDRSTRLEN];
		struct sockaddr_in in;
		struct sockaddr_in6 in6;

		if ((i->ifa_flags & IFF_LOOPBACK) || (family != AF_INET && family != AF_INET6))
			continue;
		memcpy(&in, i->ifa_addr, sizeof(in));
		if (family == AF_INET6)
			memcpy(&in6, i->ifa_addr, sizeof(in6));
		inet_ntop(family, family == AF_INET ? (void *)&in.sin_addr : &in6.sin6_addr,
			  own, sizeof(own));
		assert_false(rule_allows("*", own));
		assert_true(rule_allows(own, own));
		found++;
	}
	freeifaddrs(all);
	if (!found)
		skip();
}

static void no_rule_allows_nothing(void **state)
{
	struct netpolicy *net = NULL;

	(void)state;
	assert_int_equal(netpolicy_new(NULL, 0, NULL, 0, &net, &err), 0);
	assert_false(allows(net, "192.0.2.1", 80));
	assert_false(allows(net, "2001:db8::1", 80));
	netpolicy_free(net);
	assert_false(allows(NULL, "192.0.2.1", 80));
}

static void an_address_is_that_address_only(void **state)
{
	(void)state;
	assert_true(rule_allows("192.0.2.1", "192.0.2.1"));
	assert_false(rule_allows("192.0.2.1", "192.0.2.2"));
	assert_false(rule_allows("192.0.2.1", "2001:db8::1"));
	assert_true(rule_allows("2001:db8::1", "2001:db8::1"));
	assert_false(rule_allows("2001:db8::1", "2001:db8::2"));
}

static void ipv6_may_stand_in_brackets(void **state)
{
	(void)state;
	assert_true(rule_allows("[2001:db8::1]", "2001:db8::1"));
	assert_true(rule_allows("[2001:db8::]/32", "2001:db8:1::1"));
	assert_null(with_rule("[192.0.2.1]", 0, 0));
}

static void a_network_ends_at_its_last_bit(void **state)
{
	(void)state;
	assert_true(rule_allows("10.0.0.0/8", "10.0.0.0"));
	assert_true(rule_allows("10.0.0.0/8", "10.255.255.255"));
	assert_false(rule_allows("10.0.0.0/8", "9.255.255.255"));
	assert_false(rule_allows("10.0.0.0/8", "11.0.0.0"));
	assert_true(rule_allows("192.0.2.128/25", "192.0.2.255"));
	assert_false(rule_allows("192.0.2.128/25", "192.0.2.127"));
	assert_true(rule_allows("192.0.2.254/31", "192.0.2.255"));
	assert_false(rule_allows("192.0.2.254/31", "192.0.2.253"));
	assert_false(rule_allows("192.0.2.1/32", "192.0.2.0"));
	assert_true(rule_allows("2001:db8:8000::/33", "2001:db8:ffff::1"));
	assert_false(rule_allows("2001:db8:8000::/33", "2001:db8:7fff::1"));
}

static void no_bits_are_all_of_the_family_beyond_the_host(void **state)
{
	(void)state;
	assert_true(rule_allows("0.0.0.0/0", "192.0.2.1"));
	assert_false(rule_allows("0.0.0.0/0", "2001:db8::1"));
	assert_false(rule_allows("0.0.0.0/0", "127.0.0.1"));
	assert_true(rule_allows("::/0", "2001:db8::1"));
	assert_false(rule_allows("::/0", "::1"));
}

static void mapped_addresses_are_ipv4(void **state)
{
	(void)state;
	assert_true(rule_allows("192.0.2.1", "::ffff:192.0.2.1"));
	assert_false(rule_allows("192.0.2.1", "::ffff:192.0.2.2"));
	assert_false(rule_allows("::/0", "::ffff:192.0.2.1"));
	assert_true(rule_allows("::ffff:192.0.2.1", "192.0.2.1"));
	assert_true(rule_allows("::ffff:10.0.0.0/104", "10.1.2.3"));
	assert_false(rule_allows("::ffff:10.0.0.0/104", "11.1.2.3"));
	assert_false(rule_allows("*", "::ffff:127.0.0.1"));
	assert_true(rule_allows("127.0.0.0/8", "::ffff:127.0.0.1"));
}

static void any_is_what_lies_beyond_the_host(void **state)
{
	static const char *const beyond[] = {"192.0.2.1", "10.0.0.1", "2001:db8::1", "fd00::1"};
	static const char *const here[] = {
		"0.0.0.0",   "127.0.0.1", "127.255.255.255", "169.254.169.254",
		"224.0.0.1", "239.1.1.1", "255.255.255.255", "::",
		"::1",	     "fe80::1",	  "ff02::1",	     "::ffff:169.254.169.254",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++)
		assert_true(rule_allows("*", beyond[i]));
	for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++)
		assert_false(rule_allows("*", here[i]));
}

static void what_is_near_is_allowed_by_name(void **state)
{
	(void)state;
	assert_true(rule_allows("127.0.0.1", "127.0.0.1"));
	assert_true(rule_allows("169.254.0.0/16", "169.254.1.1"));
	assert_true(rule_allows("224.0.0.0/4", "239.255.255.250"));
	assert_true(rule_allows("ff02::/16", "ff02::fb"));
	assert_true(rule_allows("255.255.255.255", "255.255.255.255"));
	/* A network around it does not name it. */
	assert_false(rule_allows("128.0.0.0/1", "224.0.0.1"));
	assert_false(rule_allows("126.0.0.0/7", "127.0.0.1"));
	assert_false(rule_allows("::/64", "::1"));
}

static void broadcast_needs_a_rule(void **state)
{
	struct netpolicy *net = with_rule("*", 0, 0);

	(void)state;
	assert_false(netpolicy_allows_broadcast(net));
	netpolicy_free(net);
	net = with_rule("255.255.255.255", 0, 0);
	assert_true(netpolicy_allows_broadcast(net));
	netpolicy_free(net);
	assert_false(netpolicy_allows_broadcast(NULL));
}

static void ports_are_a_range(void **state)
{
	struct netpolicy *net = with_rule("192.0.2.1", 80, 90);

	(void)state;
	assert_false(allows(net, "192.0.2.1", 79));
	assert_true(allows(net, "192.0.2.1", 80));
	assert_true(allows(net, "192.0.2.1", 90));
	assert_false(allows(net, "192.0.2.1", 91));
	netpolicy_free(net);
	net = with_rule("192.0.2.1", 443, 0);
	assert_true(allows(net, "192.0.2.1", 443));
	assert_false(allows(net, "192.0.2.1", 444));
	netpolicy_free(net);
	net = with_rule("192.0.2.1", 0, 0);
	assert_true(allows(net, "192.0.2.1", 1));
	assert_true(allows(net, "192.0.2.1", 65535));
	netpolicy_free(net);
	assert_null(with_rule("192.0.2.1", 90, 80));
	assert_non_null(strstr(err.message, "192.0.2.1"));
}

static void any_rule_of_several_will_do(void **state)
{
	const mayfly_net_rule rules[] = {
		{"192.0.2.1", 80, 80}, {"192.0.2.1", 443, 443}, {"2001:db8::/32", 0, 0}};
	struct netpolicy *net = NULL;

	(void)state;
	assert_int_equal(netpolicy_new(rules, 3, NULL, 0, &net, &err), 0);
	assert_true(allows(net, "192.0.2.1", 80));
	assert_true(allows(net, "192.0.2.1", 443));
	assert_false(allows(net, "192.0.2.1", 81));
	assert_true(allows(net, "2001:db8::1", 81));
	netpolicy_free(net);
}

static void names_are_their_addresses(void **state)
{
	(void)state;
	assert_true(rule_allows("localhost", "127.0.0.1"));
	assert_false(rule_allows("localhost", "192.0.2.1"));
}

static void name_servers_are_at_port_53(void **state)
{
	struct netpolicy *net = with_rule("@dns", 0, 0);

	(void)state;
	assert_non_null(net);
	assert_false(allows(net, "127.0.0.1", 80));
	assert_false(allows(net, "192.0.2.1", 53));
	netpolicy_free(net);
}

static void errors_name_the_rule(void **state)
{
	static const char *const wrong[] = {
		"10.0.0.0/33", "10.0.0.1/8", "2001:db8::/129", "10.0.0.0/", "10.0.0.0/8x",
		"name/8",      "1.2.3.4:80", "[::1",	       "a b",	    "10.0.0.0/+8",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_null(with_rule(wrong[i], 0, 0));
		assert_int_equal(err.code, MAYFLY_E_INVALID);
		assert_non_null(strstr(err.message, wrong[i]));
	}
	assert_null(with_rule("", 0, 0));
	assert_null(with_rule(NULL, 0, 0));
	assert_null(with_rule("0.0.0.0", 0, 0));
	assert_null(with_rule("::", 0, 0));
}

/* --- Published ports ---------------------------------------------------------------------- */

static struct netpolicy *with_publish(const mayfly_publish *publish, size_t n)
{
	struct netpolicy *net = NULL;

	memset(&err, 0, sizeof(err));
	return netpolicy_new(NULL, 0, publish, n, &net, &err) == 0 ? net : NULL;
}

static void publications_are_found_by_the_guests_port(void **state)
{
	const mayfly_publish publish[] = {{NULL, 8080, 80}, {"::", 0, 443}};
	struct netpolicy *net = with_publish(publish, 2);
	struct sockaddr_storage host;

	(void)state;
	assert_non_null(net);
	assert_int_equal(netpolicy_published(net, 80)->host_port, 8080);
	assert_null(netpolicy_published(net, 8080));
	assert_null(netpolicy_published(NULL, 80));
	assert_true(netpolicy_host_address(net, 80, SOCK_STREAM, &host));
	assert_int_equal(host.ss_family, AF_INET);
	assert_int_equal(((struct sockaddr_in *)&host)->sin_addr.s_addr,
			 htonl(INADDR_LOOPBACK));
	assert_true(netpolicy_host_address(net, 443, SOCK_STREAM, &host));
	assert_int_equal(host.ss_family, AF_INET6);
	/* To be reached is not to be allowed to reach. */
	assert_false(allows(net, "127.0.0.1", 8080));
	netpolicy_free(net);
}

static void a_port_is_told_once_it_listens(void **state)
{
	const mayfly_publish publish = {NULL, 0, 80};
	struct netpolicy *net = with_publish(&publish, 1);
	struct sockaddr_storage host;

	(void)state;
	netpolicy_bound(net, 80, SOCK_STREAM, 41000);
	assert_int_equal(netpolicy_bound_port(net, 80), 0);
	assert_true(netpolicy_is_bound(net, 80, SOCK_STREAM));
	assert_false(netpolicy_is_bound(net, 80, SOCK_DGRAM));
	netpolicy_ready(net, 80, SOCK_STREAM);
	assert_int_equal(netpolicy_bound_port(net, 80), 41000);
	assert_int_equal(netpolicy_bound_port(net, 81), 0);
	/* A second socket of the guest shares it. */
	assert_true(netpolicy_host_address(net, 80, SOCK_STREAM, &host));
	assert_int_equal(ntohs(((struct sockaddr_in *)&host)->sin_port), 41000);
	netpolicy_bound(net, 80, SOCK_STREAM, 41000);
	netpolicy_unbound(net, 80, SOCK_STREAM);
	assert_int_equal(netpolicy_bound_port(net, 80), 41000);
	netpolicy_unbound(net, 80, SOCK_STREAM);
	assert_int_equal(netpolicy_bound_port(net, 80), 0);
	netpolicy_unbound(net, 80, SOCK_STREAM);
	/* Datagrams are there at once. */
	netpolicy_bound(net, 80, SOCK_DGRAM, 42000);
	assert_int_equal(netpolicy_bound_port(net, 80), 42000);
	netpolicy_free(net);
}

static void wrong_publications_are_refused(void **state)
{
	const mayfly_publish twice[] = {{NULL, 1, 80}, {NULL, 2, 80}};
	const mayfly_publish named = {"localhost", 1, 80}, none = {NULL, 1, 0};

	(void)state;
	assert_null(with_publish(twice, 2));
	assert_non_null(strstr(err.message, "80"));
	assert_null(with_publish(&named, 1));
	assert_non_null(strstr(err.message, "localhost"));
	assert_null(with_publish(&none, 1));
}

static void out_of_memory_is_an_error(void **state)
{
	const mayfly_net_rule rules[] = {{"192.0.2.1", 0, 0}, {"10.0.0.0/8", 0, 0}};
	const mayfly_publish publish = {NULL, 8080, 80};

	(void)state;
	for (size_t n = 1;; n++) {
		struct netpolicy *net = NULL;
		int r;

		fail_alloc_at(n);
		r = netpolicy_new(rules, 2, &publish, 1, &net, &err);
		if (!fail_alloc_end()) {
			assert_int_equal(r, 0);
			netpolicy_free(net);
			break;
		}
		assert_int_equal(r, MAYFLY_E_NOMEM);
		assert_null(net);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_hosts_own_addresses_have_to_be_named),
		cmocka_unit_test(no_rule_allows_nothing),
		cmocka_unit_test(an_address_is_that_address_only),
		cmocka_unit_test(ipv6_may_stand_in_brackets),
		cmocka_unit_test(a_network_ends_at_its_last_bit),
		cmocka_unit_test(no_bits_are_all_of_the_family_beyond_the_host),
		cmocka_unit_test(mapped_addresses_are_ipv4),
		cmocka_unit_test(any_is_what_lies_beyond_the_host),
		cmocka_unit_test(what_is_near_is_allowed_by_name),
		cmocka_unit_test(broadcast_needs_a_rule),
		cmocka_unit_test(ports_are_a_range),
		cmocka_unit_test(any_rule_of_several_will_do),
		cmocka_unit_test(names_are_their_addresses),
		cmocka_unit_test(name_servers_are_at_port_53),
		cmocka_unit_test(errors_name_the_rule),
		cmocka_unit_test(publications_are_found_by_the_guests_port),
		cmocka_unit_test(a_port_is_told_once_it_listens),
		cmocka_unit_test(wrong_publications_are_refused),
		cmocka_unit_test(out_of_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

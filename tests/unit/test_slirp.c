/* SPDX-License-Identifier: Apache-2.0 */
/* The helper mayfly-slirp, started as machines do, with the test in the guest's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/sanitized.h"
#include "frames.h"
#include "machine/slirp.h"

#define PATIENCE_MS 60000 /* far more than anything here takes */
#define DHCP_MAGIC 0x63825363u

struct net {
	struct slirp *helper;
	int fd;
};

static const char *helper_path;

static void begin(struct net *n, const struct slirp_config *config)
{
	struct slirp_config with = *config;
	mayfly_error err = {0};

	with.helper = helper_path;
	if (slirp_start(&with, &n->helper, &err) < 0 ||
	    slirp_ready(n->helper, &n->fd, &err) < 0)
		print_error("%s\n", err.message);
	assert_int_equal(err.code, 0);
}

static void end(struct net *n)
{
	close(n->fd);
	slirp_free(n->helper);
	/* No process is left behind. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static void put(const struct net *n, const struct frame *f)
{
	struct pollfd p = {n->fd, POLLOUT, 0};

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(send(n->fd, f->bytes, f->len, MSG_NOSIGNAL), (ssize_t)f->len);
}

/* The next frame to the guest, which may take its time. */
static void get(const struct net *n, struct frame *f)
{
	struct pollfd p = {n->fd, POLLIN, 0};
	ssize_t len;

	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	len = recv(n->fd, f->bytes, sizeof(f->bytes), MSG_DONTWAIT);
	assert_true(len > 0);
	f->len = (size_t)len;
}

static bool is_arp(const struct frame *f, uint16_t operation)
{
	return frame_type(f) == 0x0806 && frame_get16(f->bytes + 14 + 6) == operation;
}

/* Until a packet of `protocol` comes; the helper's own questions are answered. */
static void get_protocol(const struct net *n, uint8_t protocol, struct frame *f)
{
	struct frame reply;

	for (;;) {
		get(n, f);
		if (frame_protocol(f) == protocol)
			return;
		if (is_arp(f, 1)) {
			frame_arp(&reply, true, frame_get32(f->bytes + 14 + 14));
			put(n, &reply);
		}
	}
}

/*
 * Have the helper see all that was sent before: it takes frames in order. What it sends until then
 * is looked at: whether there was TCP with these flags.
 */
static bool settle(const struct net *n, uint8_t flags)
{
	bool seen = false;
	struct frame f;

	frame_arp(&f, false, GATEWAY);
	put(n, &f);
	for (;;) {
		const uint8_t *tcp;

		get(n, &f);
		if (is_arp(&f, 2))
			return seen;
		tcp = frame_protocol(&f) == IPPROTO_TCP ? frame_payload(&f, 20) : NULL;
		seen = seen || (tcp && (tcp[13] & flags) == flags);
	}
}

static int listen_on(uint32_t address, uint16_t *port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*port = ntohs(in.sin_port);
	return fd;
}

static bool has_visitor(int listener, int ms)
{
	struct pollfd p = {listener, POLLIN, 0};

	return poll(&p, 1, ms) == 1;
}

/* A port that nobody has at the moment. */
static uint16_t free_port(int type)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	close(fd);
	return ntohs(in.sin_port);
}

static int connect_to(int type, uint16_t port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				 .sin_port = htons(port)};
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

static void send_tcp(const struct net *n, const struct frame_tcp *tcp, const char *text)
{
	struct frame f;

	frame_tcp(&f, tcp, text, strlen(text));
	put(n, &f);
}

/* --- the guest's network ------------------------------------------------------------------------ */

static void test_the_gateway_answers_arp(void **state)
{
	struct net n;
	struct frame f;

	(void)state;
	begin(&n, &(struct slirp_config){0});
	frame_arp(&f, false, GATEWAY);
	put(&n, &f);
	get(&n, &f);
	assert_true(is_arp(&f, 2));
	assert_int_equal(frame_get32(f.bytes + 14 + 14), GATEWAY);
	end(&n);
}

/* RFC 2131: a DISCOVER. */
static size_t discover(uint8_t *packet)
{
	static const uint8_t fixed[4] = {1, 1, 6, 0};
	static const uint8_t options[] = {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255};

	memset(packet, 0, 300);
	memcpy(packet, fixed, sizeof(fixed));
	packet[4] = 0x77; /* transaction */
	packet[28] = 0x52;
	memcpy(packet + 236, options, sizeof(options));
	return 300;
}

/* An option of a DHCP packet; NULL: it is not there. */
static const uint8_t *dhcp_option(const uint8_t *packet, size_t len, uint8_t which)
{
	for (size_t i = 240; i + 1 < len && packet[i] != 255; i += 2u + packet[i + 1])
		if (packet[i] == which && i + 2 + packet[i + 1] <= len)
			return packet + i + 2;
	return NULL;
}

static void test_dhcp_offers_address_gateway_and_name_server(void **state)
{
	struct net n;
	struct frame f;
	uint8_t packet[300];
	const uint8_t *dhcp;
	size_t len = discover(packet);

	(void)state;
	begin(&n, &(struct slirp_config){0});
	frame_udp(&f, INADDR_BROADCAST, 68, 67, packet, len);
	frame_set_source(&f, 0);
	put(&n, &f);
	get_protocol(&n, IPPROTO_UDP, &f);
	dhcp = frame_payload(&f, 8 + 250);
	assert_non_null(dhcp);
	dhcp += 8;
	len = f.len - 14 - 20 - 8;
	assert_int_equal(dhcp[4], 0x77);
	assert_int_equal(frame_get32(dhcp + 16), GUEST);
	assert_int_equal(frame_get32(dhcp + 236), DHCP_MAGIC);
	assert_int_equal(dhcp_option(dhcp, len, 53)[0], 2); /* OFFER */
	assert_int_equal(frame_get32(dhcp_option(dhcp, len, 1)), 0xffffff00);
	assert_int_equal(frame_get32(dhcp_option(dhcp, len, 3)), GATEWAY);
	assert_int_equal(frame_get32(dhcp_option(dhcp, len, 6)), NAMESERVER);
	end(&n);
}

static void test_the_host_is_reached_by_the_gateway_where_that_was_allowed(void **state)
{
	struct net n;
	struct frame f;
	struct frame_tcp tcp = {.target = GATEWAY, .from = 5000, .seq = 100, .flags = TCP_SYN};
	const uint8_t *reply;
	int listener, visitor;
	char text[16] = "";

	(void)state;
	listener = listen_on(INADDR_LOOPBACK, &tcp.to);
	begin(&n, &(struct slirp_config){.host = true});
	settle(&n, 0);
	send_tcp(&n, &tcp, "");
	get_protocol(&n, IPPROTO_TCP, &f);
	reply = frame_payload(&f, 20);
	assert_non_null(reply);
	assert_int_equal(reply[13], TCP_SYN | TCP_ACK);
	assert_int_equal(frame_get32(reply + 8), 101);
	tcp.seq = 101;
	tcp.ack = frame_get32(reply + 4) + 1;
	tcp.flags = TCP_ACK;
	send_tcp(&n, &tcp, "hello");
	assert_true(has_visitor(listener, PATIENCE_MS));
	visitor = accept(listener, NULL, NULL);
	assert_int_equal(recv(visitor, text, 5, MSG_WAITALL), 5);
	assert_string_equal(text, "hello");
	close(visitor);
	close(listener);
	end(&n);
}

/* Whether a connection to `target` gets to somebody who listens on `address`. */
static bool is_reached(uint32_t address, uint32_t target)
{
	struct net n;
	struct frame_tcp tcp = {.target = target, .from = 5000, .flags = TCP_SYN};
	int listener = listen_on(address, &tcp.to);
	bool answered, visited;

	begin(&n, &(struct slirp_config){0});
	settle(&n, 0);
	send_tcp(&n, &tcp, "");
	answered = settle(&n, TCP_SYN | TCP_ACK);
	visited = has_visitor(listener, 0);
	close(listener);
	end(&n);
	return answered || visited;
}

static void test_the_hosts_loopback_is_closed_by_all_its_names(void **state)
{
	(void)state;
	assert_false(is_reached(INADDR_LOOPBACK, GATEWAY));
	assert_false(is_reached(INADDR_LOOPBACK, LOCALHOST));
	assert_false(is_reached(INADDR_LOOPBACK, 0));
	assert_false(is_reached(INADDR_LOOPBACK, NAMESERVER));
	assert_false(is_reached(INADDR_LOOPBACK, INADDR_BROADCAST));
}

static void test_the_hosts_other_addresses_are_closed(void **state)
{
	struct ifaddrs *all;
	uint32_t own = 0;

	(void)state;
	assert_int_equal(getifaddrs(&all), 0);
	for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
		struct sockaddr_in in;

		if (!a->ifa_addr || a->ifa_addr->sa_family != AF_INET)
			continue;
		memcpy(&in, a->ifa_addr, sizeof(in));
		if (ntohl(in.sin_addr.s_addr) >> 24 != 127)
			own = ntohl(in.sin_addr.s_addr);
	}
	freeifaddrs(all);
	if (!own)
		skip(); /* a host without a network */
	assert_false(is_reached(INADDR_ANY, own));
}

/* --- forwards ----------------------------------------------------------------------------------- */

static void test_a_forwarded_port_leads_to_the_guest(void **state)
{
	const mayfly_forward forward = {.host_port = free_port(SOCK_STREAM), .guest_port = 80};
	struct net n;
	struct frame f;
	struct frame_tcp tcp = {.target = GATEWAY, .from = 80, .flags = TCP_SYN | TCP_ACK};
	const uint8_t *syn, *data;
	int client;

	(void)state;
	begin(&n, &(struct slirp_config){.forwards = &forward, .nforwards = 1});
	client = connect_to(SOCK_STREAM, forward.host_port);
	get_protocol(&n, IPPROTO_TCP, &f);
	syn = frame_payload(&f, 20);
	assert_non_null(syn);
	assert_int_equal(syn[13], TCP_SYN);
	assert_int_equal(frame_target(&f), GUEST);
	assert_int_equal(frame_get16(syn + 2), 80);
	tcp.to = frame_get16(syn);
	tcp.ack = frame_get32(syn + 4) + 1;
	send_tcp(&n, &tcp, "");
	assert_int_equal(send(client, "hello", 5, 0), 5);
	do {
		get_protocol(&n, IPPROTO_TCP, &f);
		data = frame_payload(&f, 25);
	} while (!data);
	assert_memory_equal(data + (size_t)(data[12] >> 4) * 4, "hello", 5);
	close(client);
	end(&n);
}

static void expect_datagram(const struct net *n, const char *text, uint16_t *port)
{
	struct frame f;
	const uint8_t *udp;

	get_protocol(n, IPPROTO_UDP, &f);
	udp = frame_payload(&f, 8 + strlen(text));
	assert_non_null(udp);
	assert_int_equal(frame_source(&f), GATEWAY);
	assert_true(frame_sums_are_right(&f));
	assert_int_equal(frame_get16(udp + 2), 7);
	assert_memory_equal(udp + 8, text, strlen(text));
	*port = frame_get16(udp);
}

static void test_a_forwarded_datagram_is_answered_more_than_once(void **state)
{
	const mayfly_forward forward = {
		.host_port = free_port(SOCK_DGRAM), .guest_port = 7, .udp = true};
	struct net n;
	struct frame f;
	uint16_t port;
	char text[16];
	int client;

	(void)state;
	begin(&n, &(struct slirp_config){.forwards = &forward, .nforwards = 1});
	client = connect_to(SOCK_DGRAM, forward.host_port);
	for (int i = 0; i < 3; i++) {
		struct pollfd p = {client, POLLIN, 0};

		assert_int_equal(send(client, "ping", 4, 0), 4);
		expect_datagram(&n, "ping", &port);
		frame_udp(&f, GATEWAY, 7, port, "pong", 4);
		put(&n, &f);
		assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
		assert_int_equal(recv(client, text, sizeof(text), 0), 4);
		assert_memory_equal(text, "pong", 4);
	}
	close(client);
	end(&n);
}

static void test_an_empty_datagram_does_not_stop_the_helper(void **state)
{
	const mayfly_forward forward = {
		.host_port = free_port(SOCK_DGRAM), .guest_port = 7, .udp = true};
	struct net n;
	uint16_t port;
	int client;

	(void)state;
	begin(&n, &(struct slirp_config){.forwards = &forward, .nforwards = 1});
	client = connect_to(SOCK_DGRAM, forward.host_port);
	assert_int_equal(send(client, "first", 5, 0), 5);
	expect_datagram(&n, "first", &port);
	assert_int_equal(send(client, "", 0, 0), 0);
	settle(&n, 0);
	close(client);
	end(&n);
}

static void test_a_port_in_use_is_an_error_that_names_it(void **state)
{
	mayfly_forward forward = {.guest_port = 80};
	struct slirp_config config = {
		.helper = helper_path, .forwards = &forward, .nforwards = 1};
	int listener = listen_on(INADDR_LOOPBACK, &forward.host_port), fd;
	struct slirp *s;
	mayfly_error err;
	char port[8];

	(void)state;
	assert_int_equal(slirp_start(&config, &s, &err), 0);
	assert_int_equal(slirp_ready(s, &fd, &err), MAYFLY_E_IO);
	assert_int_equal(err.sys_errno, EADDRINUSE);
	snprintf(port, sizeof(port), "%u", forward.host_port);
	assert_non_null(strstr(err.message, port));
	assert_non_null(strstr(err.message, "another program"));
	slirp_free(s);
	close(listener);
}

static void test_forwards_that_make_no_sense_are_refused(void **state)
{
	static const mayfly_forward bad[] = {
		{.host_port = 0, .guest_port = 80},
		{.host_port = 80, .guest_port = 0},
		{.address = "localhost", .host_port = 8080, .guest_port = 80},
		{.address = "::1", .host_port = 8080, .guest_port = 80},
		{.address = "", .host_port = 8080, .guest_port = 80},
	};
	struct slirp *s = NULL;
	mayfly_error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct slirp_config config = {
			.helper = helper_path, .forwards = &bad[i], .nforwards = 1};

		assert_int_equal(slirp_start(&config, &s, &err), MAYFLY_E_INVALID);
		assert_null(s);
	}
}

/* --- the process -------------------------------------------------------------------------------- */

static void test_a_helper_that_is_not_there_is_an_error_with_advice(void **state)
{
	const struct slirp_config config = {.helper = "/nowhere/mayfly-slirp"};
	struct slirp *s;
	mayfly_error err;

	(void)state;
	assert_int_equal(slirp_start(&config, &s, &err), MAYFLY_E_IO);
	assert_int_equal(err.sys_errno, ENOENT);
	assert_non_null(strstr(err.message, "install"));
}

static void test_a_program_that_is_no_helper_is_an_error(void **state)
{
	const struct slirp_config config = {.helper = "/bin/true"};
	struct slirp *s;
	mayfly_error err;
	int fd;

	(void)state;
	assert_int_equal(slirp_start(&config, &s, &err), 0);
	assert_int_equal(slirp_ready(s, &fd, &err), MAYFLY_E_IO);
	assert_non_null(strstr(err.message, "status 0"));
	slirp_free(s);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* The only child of this process; 0: the kernel does not tell (CONFIG_PROC_CHILDREN). */
static pid_t child(void)
{
	char path[64], text[32] = "";
	ssize_t len = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		len = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	return len > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

static void note_end(void *context, uint32_t events)
{
	(void)events;
	loop_stop(context);
}

static void test_a_dead_helper_is_noticed_and_reaped(void **state)
{
	struct net n;
	struct loop *loop;
	struct loop_source *source;
	struct pollfd p;
	char byte;
	pid_t pid;

	(void)state;
	begin(&n, &(struct slirp_config){0});
	pid = child();
	if (!pid)
		skip();
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(slirp_watch(n.helper, loop, NULL), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	p = (struct pollfd){n.fd, POLLIN, 0};
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(recv(n.fd, &byte, 1, 0), 0);
	/* The loop's turn: let it run until it has nothing to do but to stop. */
	while (waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOHANG | WNOWAIT) == 0) {
		assert_int_equal(loop_add_timer(loop, note_end, loop, &source, NULL), 0);
		loop_set_timer(source, 0);
		loop_run(loop);
		loop_remove(source);
	}
	assert_int_equal(errno, ECHILD);
	close(n.fd);
	slirp_free(n.helper);
	loop_free(loop);
}

static bool file_has(pid_t pid, const char *line)
{
	char path[64], text[4096];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	assert_true(len > 0);
	text[len] = '\0';
	return strstr(text, line);
}

static void test_the_helper_has_no_rights(void **state)
{
	struct net n;
	pid_t pid;

	(void)state;
	begin(&n, &(struct slirp_config){0});
	pid = child();
	if (!pid)
		skip();
	assert_true(file_has(pid, "\nNoNewPrivs:\t1\n"));
	assert_true(file_has(pid, "\nCapEff:\t0000000000000000\n"));
	assert_true(file_has(pid, "\nCapPrm:\t0000000000000000\n"));
	if (geteuid() == 0)
		assert_true(file_has(pid, "\nUid:\t65534\t65534\t65534\t65534\n"));
	/* The sanitizers do what its filter forbids. */
	if (!SANITIZED)
		assert_true(file_has(pid, "\nSeccomp:\t2\n"));
	end(&n);
}

/* It inherits none of our descriptors, those without FD_CLOEXEC either. */
static void test_the_helper_keeps_nothing_of_ours_open(void **state)
{
	struct net n;
	struct pollfd p;
	int pipe_fds[2];

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	begin(&n, &(struct slirp_config){0});
	close(pipe_fds[1]);
	p = (struct pollfd){pipe_fds[0], POLLIN, 0};
	/* The last writer is gone. */
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_true(p.revents & POLLHUP);
	close(pipe_fds[0]);
	end(&n);
}

static void test_it_starts_where_standard_streams_are_closed(void **state)
{
	struct net n;
	int saved = dup(0);

	(void)state;
	close(0);
	begin(&n, &(struct slirp_config){0});
	settle(&n, 0);
	end(&n);
	if (saved >= 0) {
		dup2(saved, 0);
		close(saved);
	}
}

/* --- hostile guests ----------------------------------------------------------------------------- */

static uint32_t random_state = 1;

static uint32_t some(uint32_t below)
{
	random_state = random_state * 1664525u + 1013904223u;
	return (random_state >> 8) % below;
}

/* A frame that is nearly right. */
static void spoil(struct frame *f)
{
	static const uint32_t targets[] = {GATEWAY, NAMESERVER, INADDR_BROADCAST};
	uint8_t data[600];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)some(256);
	switch (some(5)) {
	case 0:
		frame_udp(f, targets[some(3)], 68, 67, data, discover(data));
		break;
	case 1:
		frame_tcp(f, &(struct frame_tcp){GATEWAY, 1, 2, 3, 4, (uint8_t)some(64)}, data,
			  some(600));
		break;
	case 2:
		frame_arp(f, some(2), targets[some(3)]);
		break;
	case 3:
		frame_ip(f, targets[some(3)], IPPROTO_ICMP, data, some(600));
		break;
	default:
		frame_ip(f, targets[some(3)], (uint8_t)some(256), data, some(600));
		frame_set_fragment(f, (uint16_t)some(0x10000));
		break;
	}
	for (uint32_t i = some(4); i; i--)
		f->bytes[12 + some(80)] = (uint8_t)some(256);
	if (some(4) == 0)
		f->len = some((uint32_t)f->len);
	/* Right sums get further. */
	if (some(4) != 0 && f->len > 60)
		frame_set_source(f, GUEST);
}

static void test_frames_that_make_no_sense_do_not_stop_the_helper(void **state)
{
	struct net n;
	struct frame f;

	(void)state;
	begin(&n, &(struct slirp_config){0});
	for (int i = 0; i < 20000; i++) {
		spoil(&f);
		if (f.len)
			(void)send(n.fd, f.bytes, f.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (i % 64 == 0)
			settle(&n, 0);
	}
	settle(&n, 0);
	end(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_gateway_answers_arp),
		cmocka_unit_test(test_dhcp_offers_address_gateway_and_name_server),
		cmocka_unit_test(
			test_the_host_is_reached_by_the_gateway_where_that_was_allowed),
		cmocka_unit_test(test_the_hosts_loopback_is_closed_by_all_its_names),
		cmocka_unit_test(test_the_hosts_other_addresses_are_closed),
		cmocka_unit_test(test_a_forwarded_port_leads_to_the_guest),
		cmocka_unit_test(test_a_forwarded_datagram_is_answered_more_than_once),
		cmocka_unit_test(test_an_empty_datagram_does_not_stop_the_helper),
		cmocka_unit_test(test_a_port_in_use_is_an_error_that_names_it),
		cmocka_unit_test(test_forwards_that_make_no_sense_are_refused),
		cmocka_unit_test(test_a_helper_that_is_not_there_is_an_error_with_advice),
		cmocka_unit_test(test_a_program_that_is_no_helper_is_an_error),
		cmocka_unit_test(test_a_dead_helper_is_noticed_and_reaped),
		cmocka_unit_test(test_the_helper_has_no_rights),
		cmocka_unit_test(test_the_helper_keeps_nothing_of_ours_open),
		cmocka_unit_test(test_it_starts_where_standard_streams_are_closed),
		cmocka_unit_test(test_frames_that_make_no_sense_do_not_stop_the_helper),
	};

	helper_path = getenv("MAYFLY_SLIRP");
	if (!helper_path) {
		fputs("MAYFLY_SLIRP: the helper's path\n", stderr);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

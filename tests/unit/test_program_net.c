/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program's UDP sockets may hear from the host's network, and whom they reach. On the mock
 * hypervisor, with sockets of the host's loopback.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "linux/netpolicy.h"
#include "program_fixture.h"

#undef fail /* core/error.h has its own */
#include <cmocka.h>

#define PUBLISHED 7000
/* In the program's memory: names, and their length. */
#define PEER (PROGRAM_DATA + 0x100)
#define OWN (PROGRAM_DATA + 0x200)
#define NONE (PROGRAM_DATA + 0x300)
#define LEN (PROGRAM_DATA + 0x3f0)
#define TEXT (PROGRAM_DATA + 0x400)
#define GOT (PROGRAM_DATA + 0x500)

enum { SOCKET = 3, OTHER };

static struct tree tree;

static struct process *made(const mayfly_net_rule *rule, const mayfly_publish *publish)
{
	mayfly_process_options o = program_options(&tree);
	const uint32_t len = sizeof(struct sockaddr_in);
	struct process *p;

	o.net = rule;
	o.nnet = rule != NULL;
	o.publish = publish;
	o.npublish = publish != NULL;
	assert_int_equal(process_new(&hv_mock, &o, &p, NULL), 0);
	mm_put(&p->mm, LEN, &len);
	mm_write(&p->mm, TEXT, "hello", 6);
	return p;
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* Of the host, bound to *name. */
static int host_socket(struct sockaddr_in *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*name);

	*name = loopback(0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)name, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)name, &len), 0);
	return fd;
}

static void runs(struct process *p, const uint64_t (*calls)[7], size_t count, int end)
{
	assert_int_equal(program_run(p, calls, count).end, end);
}

#define RUN(p, end, ...)                                                                       \
	do {                                                                                   \
		const uint64_t calls[][7] = {__VA_ARGS__};                                     \
		runs((p), calls, ARRAY_SIZE(calls), (end));                                    \
	} while (0)

static void what_strangers_sent_is_not_heard_after_connecting_either(void **state)
{
	struct sockaddr_in friend_name, stranger_name, from;
	int friend = host_socket(&friend_name), stranger = host_socket(&stranger_name);
	const mayfly_net_rule rule = {"127.0.0.1", ntohs(friend_name.sin_port),
				      ntohs(friend_name.sin_port)};
	struct process *p = made(&rule, NULL);
	socklen_t len = sizeof(from);
	char text[8];

	(void)state;
	mm_put(&p->mm, PEER, &friend_name);
	RUN(p, MAYFLY_END_PAUSE, {SYS_socket, AF_INET, SOCK_DGRAM, 0},
	    {SYS_sendto, SOCKET, TEXT, 6, 0, PEER, sizeof(friend_name)}, {PROG_SYS_READY, 0});
	assert_int_equal(
		recvfrom(friend, text, 8, MSG_DONTWAIT, (struct sockaddr *)&from, &len), 6);
	assert_int_equal(sendto(stranger, "no", 3, 0, (struct sockaddr *)&from, len), 3);
	assert_int_equal(sendto(friend, "yes", 4, 0, (struct sockaddr *)&from, len), 4);
	RUN(p, MAYFLY_END_EXIT, {SYS_connect, SOCKET, PEER, sizeof(friend_name)},
	    {SYS_recvfrom, SOCKET, GOT, 8, MSG_DONTWAIT, 0, 0},
	    {SYS_recvfrom, SOCKET, GOT + 0x10, 8, MSG_DONTWAIT, 0, 0});
	assert_true(program_holds(p, GOT, "yes"));
	assert_true(program_holds(p, GOT + 0x10, ""));
	process_free(p);
	close(friend);
	close(stranger);
}

static void leaving_a_publication_leaves_whom_it_served(void **state)
{
	const mayfly_publish publish = {.guest_port = PUBLISHED};
	struct sockaddr_in name, to,
		any = {.sin_family = AF_INET, .sin_port = htons(PUBLISHED)};
	const struct sockaddr_in own = loopback(4000), none = {.sin_family = AF_UNSPEC};
	struct process *p = made(NULL, &publish);
	int fd = host_socket(&name);
	char text[8];

	(void)state;
	mm_put(&p->mm, PEER, &any);
	mm_put(&p->mm, OWN, &own);
	mm_put(&p->mm, NONE, &none);
	RUN(p, MAYFLY_END_PAUSE, {SYS_socket, AF_INET, SOCK_DGRAM, 0},
	    {SYS_bind, SOCKET, PEER, sizeof(any)}, {PROG_SYS_READY, 0});
	to = loopback(netpolicy_bound_port(p->net, PUBLISHED));
	assert_int_equal(sendto(fd, "hi", 3, 0, (struct sockaddr *)&to, sizeof(to)), 3);
	/* The call that paused is made again. */
	RUN(p, MAYFLY_END_PAUSE, {PROG_SYS_READY, 0},
	    {SYS_recvfrom, SOCKET, GOT, 8, 0, PEER, LEN}, {SYS_socket, AF_INET, SOCK_DGRAM, 0},
	    {SYS_bind, OTHER, OWN, sizeof(own)}, {SYS_connect, SOCKET, OWN, sizeof(own)},
	    {SYS_connect, SOCKET, NONE, sizeof(none)},
	    {SYS_sendto, SOCKET, TEXT, 6, 0, PEER, sizeof(name)}, {PROG_SYS_READY, 0});
	assert_true(program_holds(p, GOT, "hi"));
	assert_false(netpolicy_is_bound(p->net, PUBLISHED, SOCK_DGRAM));
	assert_int_equal(recv(fd, text, sizeof(text), MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	process_free(p);
	close(fd);
}

static int set_up(void **state)
{
	(void)state;
	mock_reset();
	tree_make(&tree);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tree_remove(&tree);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_strangers_sent_is_not_heard_after_connecting_either),
		cmocka_unit_test(leaving_a_publication_leaves_whom_it_served),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The network within a process: names, listeners, datagrams, descriptors in messages. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "linux/sockets.h"
#include "linux_fixture.h"

static struct loopback *lb;

static int set_up(void **state)
{
	(void)state;
	lb = loopback_new();
	return lb == NULL;
}

static int tear_down(void **state)
{
	(void)state;
	loopback_put(lb);
	return 0;
}

static struct socket_name name_of(const char *address, uint16_t port)
{
	struct socket_name name;

	if (strchr(address, ':') != NULL) {
		socket_name_any(&name, AF_INET6, port);
		assert_int_equal(inet_pton(AF_INET6, address, &name_in6(&name)->sin6_addr), 1);
	} else {
		socket_name_any(&name, AF_INET, port);
		assert_int_equal(inet_pton(AF_INET, address, &name_in(&name)->sin_addr), 1);
	}
	return name;
}

static struct endpoint wish(int type, const char *address, uint16_t port)
{
	struct endpoint want = {.type = type, .name = name_of(address, port), .inject = -1};

	want.domain = want.name.address.ss_family;
	return want;
}

static struct endpoint *bound(int type, const char *address, uint16_t port)
{
	const struct endpoint want = wish(type, address, port);
	struct endpoint *ep = NULL;

	return loopback_bind(lb, &want, &ep) == 0 ? ep : NULL;
}

static int listen_on(struct endpoint *ep, int backlog)
{
	int fd;

	assert_int_equal(endpoint_listen(lb, ep, backlog, &fd), 0);
	return fd;
}

/* Connect to it; the client's end, or -errno. */
static int connect_to(const char *address, uint16_t port)
{
	const struct loopback_target to = {SOCK_STREAM, name_of(address, port), 0, 0};
	const struct socket_name from = name_of("127.0.0.1", 40000);
	int fds[2], r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	r = loopback_connect(lb, &to, &from, fds[1], 0);
	if (r == 0)
		return fds[0];
	close(fds[0]);
	close(fds[1]);
	return r;
}

/* Whether a listener there is found by `to`. */
static bool reaches(const char *at, bool v6only, const char *to)
{
	struct endpoint want = wish(SOCK_STREAM, at, 5000), *ep;
	const struct loopback_target target = {SOCK_STREAM, name_of(to, 5000), 0, 0};
	bool found;
	int fd;

	want.v6only = v6only;
	assert_int_equal(loopback_bind(lb, &want, &ep), 0);
	fd = listen_on(ep, 1);
	found = loopback_listens(lb, &target);
	endpoint_close(lb, ep);
	close(fd);
	return found;
}

static void listeners_are_found_by_their_address(void **state)
{
	(void)state;
	assert_true(reaches("127.0.0.1", false, "127.0.0.1"));
	assert_false(reaches("127.0.0.1", false, "127.0.0.2"));
	assert_false(reaches("127.0.0.1", false, "::1"));
	assert_true(reaches("0.0.0.0", false, "127.0.0.2"));
	assert_true(reaches("0.0.0.0", false, "::ffff:127.0.0.1"));
	assert_true(reaches("::1", false, "::1"));
	assert_false(reaches("::1", false, "127.0.0.1"));
	assert_true(reaches("::", false, "::1"));
	assert_true(reaches("::", false, "127.0.0.1"));
	assert_true(reaches("::", true, "::1"));
	assert_false(reaches("::", true, "127.0.0.1"));
	assert_true(reaches("::ffff:127.0.0.1", false, "127.0.0.1"));
}

static void a_port_is_taken_once(void **state)
{
	struct endpoint *ep = bound(SOCK_STREAM, "127.0.0.1", 5000), *other;

	(void)state;
	assert_non_null(ep);
	assert_null(bound(SOCK_STREAM, "127.0.0.1", 5000));
	assert_null(bound(SOCK_STREAM, "0.0.0.0", 5000));
	assert_null(bound(SOCK_STREAM, "::", 5000));
	other = bound(SOCK_DGRAM, "127.0.0.1", 5000);
	assert_non_null(other);
	endpoint_close(lb, other);
	other = bound(SOCK_STREAM, "127.0.0.2", 5000);
	assert_non_null(other);
	endpoint_close(lb, other);
	other = bound(SOCK_STREAM, "::1", 5000);
	assert_non_null(other);
	endpoint_close(lb, other);
	endpoint_close(lb, ep);
	ep = bound(SOCK_STREAM, "127.0.0.1", 5000);
	assert_non_null(ep);
	endpoint_close(lb, ep);
}

static void an_address_may_be_reused_while_nobody_listens(void **state)
{
	struct endpoint want = wish(SOCK_STREAM, "127.0.0.1", 5000), *a, *b;
	int fd, none;

	(void)state;
	want.reuse_address = true;
	assert_int_equal(loopback_bind(lb, &want, &a), 0);
	assert_int_equal(loopback_bind(lb, &want, &b), 0);
	fd = listen_on(a, 1);
	assert_int_equal(endpoint_listen(lb, b, 1, &none), -EADDRINUSE);
	endpoint_close(lb, b);
	assert_int_equal(loopback_bind(lb, &want, &b), -EADDRINUSE);
	endpoint_close(lb, a);
	close(fd);
}

static void a_shared_port_serves_who_waits_least(void **state)
{
	struct endpoint want = wish(SOCK_STREAM, "127.0.0.1", 5000), *a, *b;
	int fds[2], clients[4];

	(void)state;
	want.reuse_port = true;
	assert_int_equal(loopback_bind(lb, &want, &a), 0);
	assert_int_equal(loopback_bind(lb, &want, &b), 0);
	fds[0] = listen_on(a, 8);
	fds[1] = listen_on(b, 8);
	for (int i = 0; i < 4; i++)
		clients[i] = connect_to("127.0.0.1", 5000);
	assert_int_equal(a->npending, 2);
	assert_int_equal(b->npending, 2);
	for (int i = 0; i < 4; i++)
		close(clients[i]);
	endpoint_close(lb, a);
	endpoint_close(lb, b);
	close(fds[0]);
	close(fds[1]);
}

static void port_zero_is_a_free_one(void **state)
{
	struct endpoint *ep[100];

	(void)state;
	for (int i = 0; i < 100; i++) {
		ep[i] = bound(SOCK_STREAM, i % 2 ? "127.0.0.1" : "0.0.0.0", 0);
		assert_non_null(ep[i]);
		assert_in_range(socket_name_port(&ep[i]->name), LOOPBACK_PORT_FIRST,
				LOOPBACK_PORT_LAST);
		for (int j = 0; j < i; j++)
			assert_int_not_equal(socket_name_port(&ep[i]->name),
					     socket_name_port(&ep[j]->name));
	}
	for (int i = 0; i < 100; i++)
		endpoint_close(lb, ep[i]);
}

static void who_connects_is_told_and_heard(void **state)
{
	struct endpoint *ep = bound(SOCK_STREAM, "::", 5000);
	int fd = listen_on(ep, 1), client = connect_to("127.0.0.1", 5000);
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	struct loopback_accepted accepted;
	struct socket_name mapped = name_of("::ffff:127.0.0.1", 5000);
	char byte = 0;

	(void)state;
	assert_true(client >= 0);
	assert_int_equal(poll(&ready, 1, 0), 1);
	assert_int_equal(endpoint_accept(lb, ep, fd, &accepted), 0);
	assert_true(socket_name_equal(&accepted.local, &mapped));
	assert_int_equal(accepted.local.address.ss_family, AF_INET6);
	assert_int_equal(socket_name_port(&accepted.peer), 40000);
	assert_int_equal(write(client, "x", 1), 1);
	assert_int_equal(read(accepted.fd, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	assert_int_equal(poll(&ready, 1, 0), 0);
	assert_int_equal(endpoint_accept(lb, ep, fd, &accepted), -EAGAIN);
	close(accepted.fd);
	close(client);
	endpoint_close(lb, ep);
	close(fd);
}

static void nobody_there_is_refused(void **state)
{
	struct endpoint *ep = bound(SOCK_STREAM, "127.0.0.1", 5000);

	(void)state;
	assert_int_equal(connect_to("127.0.0.1", 5001), -ECONNREFUSED);
	/* Bound is not listening. */
	assert_int_equal(connect_to("127.0.0.1", 5000), -ECONNREFUSED);
	endpoint_close(lb, ep);
}

static void a_queue_has_an_end(void **state)
{
	struct endpoint *ep = bound(SOCK_STREAM, "127.0.0.1", 5000);
	int fd = listen_on(ep, 1), clients[LOOPBACK_BACKLOG_MIN];
	char byte;

	(void)state;
	for (int i = 0; i < LOOPBACK_BACKLOG_MIN; i++) {
		clients[i] = connect_to("127.0.0.1", 5000);
		assert_true(clients[i] >= 0);
	}
	assert_int_equal(connect_to("127.0.0.1", 5000), -EAGAIN);
	/* Those that wait see the end of a listener that goes away. */
	endpoint_close(lb, ep);
	for (int i = 0; i < LOOPBACK_BACKLOG_MIN; i++) {
		assert_int_equal(read(clients[i], &byte, 1), 0);
		close(clients[i]);
	}
	assert_int_equal(connect_to("127.0.0.1", 5000), -ECONNREFUSED);
	close(fd);
}

static void all_queues_together_have_an_end(void **state)
{
	enum { LISTENERS = LOOPBACK_PENDING_MAX / LOOPBACK_BACKLOG_MIN };
	struct endpoint *ep[LISTENERS + 1];
	int fds[LISTENERS + 1], clients[LOOPBACK_PENDING_MAX];

	(void)state;
	for (int i = 0; i <= LISTENERS; i++) {
		ep[i] = bound(SOCK_STREAM, "127.0.0.1", (uint16_t)(5000 + i));
		fds[i] = listen_on(ep[i], LOOPBACK_BACKLOG_MIN);
	}
	for (int i = 0; i < LOOPBACK_PENDING_MAX; i++) {
		clients[i] =
			connect_to("127.0.0.1", (uint16_t)(5000 + i / LOOPBACK_BACKLOG_MIN));
		assert_true(clients[i] >= 0);
	}
	assert_int_equal(connect_to("127.0.0.1", 5000 + LISTENERS), -EAGAIN);
	endpoint_close(lb, ep[0]);
	close(fds[0]);
	close(connect_to("127.0.0.1", 5000 + LISTENERS));
	for (int i = 1; i <= LISTENERS; i++) {
		endpoint_close(lb, ep[i]);
		close(fds[i]);
	}
	for (int i = 0; i < LOOPBACK_PENDING_MAX; i++)
		close(clients[i]);
}

static void a_stopped_listener_hangs_up(void **state)
{
	struct endpoint *ep = bound(SOCK_STREAM, "127.0.0.1", 5000);
	int fd = listen_on(ep, 1);
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	struct loopback_accepted accepted;

	(void)state;
	endpoint_stop(lb, ep);
	assert_int_equal(poll(&ready, 1, 0), 1);
	assert_true(ready.revents & POLLHUP);
	assert_int_equal(endpoint_accept(lb, ep, fd, &accepted), -EINVAL);
	assert_int_equal(connect_to("127.0.0.1", 5000), -ECONNREFUSED);
	endpoint_close(lb, ep);
	close(fd);
}

static void datagram_endpoints_outlive_their_finder(void **state)
{
	const struct loopback_target to = {SOCK_DGRAM, name_of("127.0.0.1", 5000), 0, 0};
	struct endpoint want = wish(SOCK_DGRAM, "0.0.0.0", 5000), *ep, *found;
	int fds[2];
	char byte;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	want.inject = fds[1];
	assert_int_equal(loopback_bind(lb, &want, &ep), 0);
	found = loopback_find(lb, &to);
	assert_ptr_equal(found, ep);
	endpoint_close(lb, ep);
	assert_null(loopback_find(lb, &to));
	assert_int_equal(write(found->inject, "x", 1), 1);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	endpoint_put(found);
	close(fds[0]);
}

static void unix_names_are_bytes_or_inodes(void **state)
{
	struct endpoint want = {.domain = AF_UNIX, .type = SOCK_STREAM, .inject = -1};
	struct loopback_target to = {.type = SOCK_STREAM};
	struct endpoint *abstract, *path;
	int fds[2];

	(void)state;
	want.name.len = sizeof(sa_family_t) + 3;
	want.name.address.ss_family = AF_UNIX;
	memcpy(name_un(&want.name)->sun_path, "\0ab", 3);
	assert_int_equal(loopback_bind(lb, &want, &abstract), 0);
	fds[0] = listen_on(abstract, 1);
	to.name = want.name;
	assert_true(loopback_listens(lb, &to));
	to.name.len++; /* one more NUL is another name */
	assert_false(loopback_listens(lb, &to));
	assert_int_equal(loopback_bind(lb, &want, &path), -EADDRINUSE);
	want.device = 1;
	want.inode = 7;
	assert_int_equal(loopback_bind(lb, &want, &path), 0);
	fds[1] = listen_on(path, 1);
	memcpy(name_un(&to.name)->sun_path, "xyz", 3);
	to.device = 1;
	to.inode = 7;
	assert_true(loopback_listens(lb, &to));
	to.inode = 8;
	assert_false(loopback_listens(lb, &to));
	endpoint_close(lb, abstract);
	endpoint_close(lb, path);
	close(fds[0]);
	close(fds[1]);
}

/* --- Descriptors in messages -------------------------------------------------------------- */

static struct file *some_file(void)
{
	struct file *file = file_new(FILE_DEVICE, open("/dev/null", O_RDWR | O_CLOEXEC), O_RDWR,
				     "/dev/null");

	assert_non_null(file);
	return file;
}

static void files_travel_by_their_token(void **state)
{
	struct rights *rights = loopback_rights(lb);
	struct file *files[2] = {some_file(), some_file()}, *got[RIGHTS_FILES_MAX];
	int token;

	(void)state;
	assert_int_equal(rights_send(rights, files, 2, &token), 0);
	assert_int_equal(rights_receive(rights, token, true, got), 2);
	assert_int_equal(files[0]->refs, 2);
	file_put(got[0]);
	file_put(got[1]);
	assert_int_equal(rights_receive(rights, token, false, got), 2);
	assert_ptr_equal(got[0], files[0]);
	assert_ptr_equal(got[1], files[1]);
	assert_int_equal(got[0]->refs, 1);
	assert_int_equal(rights_receive(rights, token, false, got), 0);
	file_put(files[0]);
	file_put(files[1]);
	close(token);
}

static void a_lost_message_drops_its_files(void **state)
{
	struct rights *rights = loopback_rights(lb);
	struct file *lost = file_get(some_file()), *other = some_file();
	struct file *got[RIGHTS_FILES_MAX];
	int token;

	(void)state;
	assert_int_equal(rights_send(rights, &lost, 1, &token), 0);
	close(token);
	assert_int_equal(lost->refs, 2);
	assert_int_equal(rights_send(rights, &other, 1, &token), 0);
	assert_int_equal(lost->refs, 1);
	assert_int_equal(rights_receive(rights, token, false, got), 1);
	file_put(lost);
	file_put(other);
	close(token);
}

static void other_descriptors_are_no_tokens(void **state)
{
	struct file *got[RIGHTS_FILES_MAX];
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(rights_receive(loopback_rights(lb), fds[0], false, got), 0);
	assert_int_equal(rights_receive(loopback_rights(lb), -1, false, got), 0);
	close(fds[0]);
	close(fds[1]);
}

static void files_under_way_have_an_end(void **state)
{
	struct rights *rights = loopback_rights(lb);
	struct file *file = some_file(), *files[RIGHTS_FILES_MAX], *got[RIGHTS_FILES_MAX];
	const int most = RIGHTS_FILES_TOTAL / RIGHTS_FILES_MAX;
	int tokens[RIGHTS_MAX], token;

	(void)state;
	for (int i = 0; i <= most; i++) {
		for (size_t k = 0; k < ARRAY_SIZE(files); k++)
			files[k] = i < most ? file_get(file) : file;
		assert_int_equal(rights_send(rights, files, RIGHTS_FILES_MAX, &tokens[i]),
				 i < most ? 0 : -ETOOMANYREFS);
	}
	/* What arrived makes room. */
	assert_int_equal(rights_receive(rights, tokens[0], false, got), RIGHTS_FILES_MAX);
	assert_int_equal(rights_send(rights, got, RIGHTS_FILES_MAX, &token), 0);
	rights_end(rights);
	assert_int_equal(file->refs, 1);
	file_put(file);
	close(token);
	for (int i = 0; i < most; i++)
		close(tokens[i]);
}

/* It would wait for the peer, in the host's kernel, where nothing can have it end. */
static void closing_a_socket_of_the_host_does_not_wait(void **state)
{
	const mayfly_net_rule rule = {.host = "127.0.0.1"};
	struct process *p = fake_process_new();
	int *guest = fake_memory(p, 0), host[2];
	socklen_t len = sizeof(host);
	uint64_t fd;

	(void)state;
	assert_int_equal(netpolicy_new(&rule, 1, NULL, 0, &p->net, NULL), 0);
	fd = (uint64_t)sys_socket(p->tasks, (const uint64_t[6]){AF_INET, SOCK_STREAM, 0});
	for (int seconds = 0; seconds < 2; seconds++) {
		struct file *file = files_get(&p->files, fd);
		const uint64_t args[6] = {fd, SOL_SOCKET, SO_LINGER, FAKE_VA, sizeof(host)};
		const uint64_t asked[6] = {fd, SOL_SOCKET, SO_LINGER, FAKE_VA, FAKE_VA + 8};

		guest[0] = 1;
		guest[1] = seconds;
		assert_int_equal(sys_setsockopt(p->tasks, args), 0);
		assert_int_equal(getsockopt(file->fd, SOL_SOCKET, SO_LINGER, host, &len), 0);
		assert_int_equal(host[0], seconds == 0);
		assert_int_equal(host[1], 0);
		/* The guest is told what it set. */
		guest[0] = guest[1] = -1;
		guest[2] = sizeof(host);
		assert_int_equal(sys_getsockopt(p->tasks, asked), 0);
		assert_int_equal(guest[0], 1);
		assert_int_equal(guest[1], seconds);
		file_put(file);
	}
	assert_int_equal(sys_close(p->tasks, (const uint64_t[6]){fd}), 0);
	sockets_end(p);
	netpolicy_free(p->net);
	fake_process_free(p);
}

static void messages_under_way_have_an_end(void **state)
{
	struct rights *rights = loopback_rights(lb);
	struct file *file = some_file();
	int tokens[RIGHTS_MAX], token;

	(void)state;
	for (int i = 0; i < RIGHTS_MAX; i++) {
		struct file *one = file_get(file);

		assert_int_equal(rights_send(rights, &one, 1, &tokens[i]), 0);
	}
	assert_int_equal(rights_send(rights, &file, 1, &token), -ETOOMANYREFS);
	rights_end(rights);
	assert_int_equal(file->refs, 1);
	file_put(file);
	for (int i = 0; i < RIGHTS_MAX; i++)
		close(tokens[i]);
}

/* --- Names -------------------------------------------------------------------------------- */

static void names_of_guests_are_checked(void **state)
{
	struct socket_name name = name_of("127.0.0.1", 80);

	(void)state;
	assert_int_equal(socket_name_check(&name, AF_INET), 0);
	assert_int_equal(socket_name_check(&name, AF_INET6), -EINVAL);
	name.len = 15;
	assert_int_equal(socket_name_check(&name, AF_INET), -EINVAL);
	name.len = sizeof(name.address);
	assert_int_equal(socket_name_check(&name, AF_INET), 0);
	assert_int_equal(name.len, sizeof(struct sockaddr_in));
	name = name_of("::1", 80);
	assert_int_equal(socket_name_check(&name, AF_INET), -EAFNOSUPPORT);
	name.len = 24; /* without a scope, as RFC 2133 had it */
	assert_int_equal(socket_name_check(&name, AF_INET6), 0);
	name.len = 23;
	assert_int_equal(socket_name_check(&name, AF_INET6), -EINVAL);
	name.address.ss_family = AF_UNIX;
	name.len = 2;
	assert_int_equal(socket_name_check(&name, AF_UNIX), -EINVAL);
	name.len = sizeof(struct sockaddr_un) + 1;
	assert_int_equal(socket_name_check(&name, AF_UNIX), -EINVAL);
}

static void unspecified_destinations_are_loopback(void **state)
{
	static const char *const any[] = {"0.0.0.0", "::", "::ffff:0.0.0.0"};
	static const char *const loopback[] = {"127.0.0.1", "::1", "::ffff:127.0.0.1"};

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct socket_name name = name_of(any[i], 80), want = name_of(loopback[i], 80);

		assert_true(socket_name_is_any(&name));
		socket_name_normalise(&name);
		assert_true(socket_name_is_loopback(&name));
		assert_memory_equal(&name, &want, sizeof(name));
	}
}

static void names_are_converted_between_families(void **state)
{
	struct socket_name name = name_of("192.0.2.1", 80), mapped, v6;

	(void)state;
	mapped = name;
	socket_name_convert(&mapped, AF_INET6);
	assert_true(socket_name_equal(&name, &mapped));
	assert_int_equal(mapped.len, sizeof(struct sockaddr_in6));
	socket_name_convert(&mapped, AF_INET);
	assert_memory_equal(&name, &mapped, sizeof(name));
	v6 = name_of("2001:db8::1", 80);
	socket_name_convert(&v6, AF_INET);
	assert_true(socket_name_is_any(&v6));
	assert_int_equal(socket_name_port(&v6), 80);
}

#define WITH_LOOPBACK(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LOOPBACK(listeners_are_found_by_their_address),
		WITH_LOOPBACK(a_port_is_taken_once),
		WITH_LOOPBACK(an_address_may_be_reused_while_nobody_listens),
		WITH_LOOPBACK(a_shared_port_serves_who_waits_least),
		WITH_LOOPBACK(port_zero_is_a_free_one),
		WITH_LOOPBACK(who_connects_is_told_and_heard),
		WITH_LOOPBACK(nobody_there_is_refused),
		WITH_LOOPBACK(a_queue_has_an_end),
		WITH_LOOPBACK(all_queues_together_have_an_end),
		WITH_LOOPBACK(a_stopped_listener_hangs_up),
		WITH_LOOPBACK(datagram_endpoints_outlive_their_finder),
		WITH_LOOPBACK(unix_names_are_bytes_or_inodes),
		WITH_LOOPBACK(files_travel_by_their_token),
		WITH_LOOPBACK(a_lost_message_drops_its_files),
		WITH_LOOPBACK(other_descriptors_are_no_tokens),
		WITH_LOOPBACK(files_under_way_have_an_end),
		cmocka_unit_test(closing_a_socket_of_the_host_does_not_wait),
		WITH_LOOPBACK(messages_under_way_have_an_end),
		cmocka_unit_test(names_of_guests_are_checked),
		cmocka_unit_test(unspecified_destinations_are_loopback),
		cmocka_unit_test(names_are_converted_between_families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

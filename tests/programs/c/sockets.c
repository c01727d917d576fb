/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets that talk within the process: TCP, UDP and Unix, as their manual pages say. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "report.h"

#define LONG 60000 /* ms until what has to come is there: never, unless the test fails */

static struct sockaddr_in at(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = port};

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	NEED(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	return ((struct sockaddr_in *)&a)->sin_port; /* IPv6 has it in the same place */
}

static int listener(uint16_t *port)
{
	struct sockaddr_in a = at(0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	NEED(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 8) == 0);
	*port = port_of(fd);
	return fd;
}

/* The two ends of a TCP connection. */
static void connection(int ends[2])
{
	uint16_t port;
	int fd = listener(&port);
	struct sockaddr_in a = at(port);

	ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	NEED(connect(ends[0], (struct sockaddr *)&a, sizeof(a)) == 0);
	ends[1] = accept(fd, NULL, NULL);
	NEED(ends[1] >= 0);
	close(fd);
}

static void show_address(const char *what, const struct sockaddr_storage *a, socklen_t len)
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (a->ss_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, text,
			  sizeof(text));
	else if (a->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, text,
			  sizeof(text));
	printf("%s: family %d, length %u, %s\n", what, a->ss_family, len, text);
}

static void addresses(void)
{
	struct sockaddr_storage a = {0};
	socklen_t len = sizeof(a);
	struct sockaddr_in in = at(0);
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	uint16_t port;
	int ends[2], fd;

	connection(ends);
	NEED(getpeername(ends[0], (struct sockaddr *)&a, &len) == 0);
	show_address("peer of the client", &a, len);
	port = ((struct sockaddr_in *)&a)->sin_port;
	CHECK(port == port_of(ends[1]));
	len = 4; /* cut, and told how long it is */
	memset(&a, 0x55, sizeof(a));
	REPORT(getpeername(ends[1], (struct sockaddr *)&a, &len));
	printf("length %u, %x\n", len, ((unsigned char *)&a)[4]);
	close(ends[0]);
	close(ends[1]);

	fd = socket(AF_INET, SOCK_STREAM, 0);
	len = sizeof(a);
	REPORT(getsockname(fd, (struct sockaddr *)&a, &len));
	show_address("of a new socket", &a, len);
	REPORT(getpeername(fd, (struct sockaddr *)&a, &len));
	REPORT(bind(fd, (struct sockaddr *)&in, 8));
	REPORT(bind(fd, (struct sockaddr *)&six, sizeof(six)));
	REPORT(bind(fd, (struct sockaddr *)&in, sizeof(in)));
	REPORT(bind(fd, (struct sockaddr *)&in, sizeof(in)));
	in.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1 */
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	REPORT(bind(fd, (struct sockaddr *)&in, sizeof(in)));
	close(fd);

	/* [::] gets IPv4, too. */
	fd = socket(AF_INET6, SOCK_STREAM, 0);
	NEED(bind(fd, (struct sockaddr *)&six, sizeof(six)) == 0 && listen(fd, 1) == 0);
	in = at(port_of(fd));
	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	REPORT(connect(ends[0], (struct sockaddr *)&in, sizeof(in)));
	len = sizeof(a);
	ends[1] = accept(fd, (struct sockaddr *)&a, &len);
	show_address("accepted", &a, len);
	close(ends[0]);
	close(ends[1]);
	close(fd);
}

static void states(void)
{
	struct sockaddr_in a;
	uint16_t port;
	int fd = listener(&port), ends[2], value;
	socklen_t len = sizeof(value);
	char byte = 0;

	a = at(port);
	REPORT(read(fd, &byte, 1));
	REPORT(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	REPORT(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &len));
	printf("listening: %d\n", value);
	NEED(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	REPORT(accept(fd, NULL, NULL));
	REPORT(accept4(fd, NULL, NULL, 0x10));
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	REPORT(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	REPORT(accept(fd, NULL, NULL));
	REPORT(recv(fd, &byte, 1, 0));
	REPORT(send(fd, &byte, 1, MSG_NOSIGNAL));
	REPORT(shutdown(fd, SHUT_RD));
	close(fd);

	connection(ends);
	REPORT(connect(ends[0], (struct sockaddr *)&a, sizeof(a)));
	REPORT(listen(ends[0], 1));
	REPORT(shutdown(ends[0], 3));
	REPORT(send(ends[0], "abc", 3, 0));
	REPORT(recv(ends[1], &byte, 1, MSG_PEEK));
	REPORT(ioctl(ends[1], FIONREAD, &value));
	printf("unread: %d\n", value);
	REPORT(shutdown(ends[0], SHUT_WR));
	signal(SIGPIPE, SIG_IGN);
	REPORT(send(ends[0], "x", 1, 0));
	char rest[8];
	REPORT(recv(ends[1], rest, sizeof(rest), MSG_WAITALL));
	REPORT(recv(ends[1], rest, sizeof(rest), 0));
	REPORT(recv(ends[1], rest, sizeof(rest), MSG_DONTWAIT));
	close(ends[0]);
	REPORT(send(ends[1], "x", 1, 0)); /* answered by a reset */
	REPORT(poll(&(struct pollfd){.fd = ends[1]}, 1, LONG));
	REPORT(send(ends[1], "x", 1, 0));
	close(ends[1]);
	REPORT(socket(AF_INET, 77, 0));
	REPORT(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
	REPORT(socket(AF_UNIX, SOCK_STREAM, 7));
	REPORT(socket(99, SOCK_STREAM, 0));
	REPORT(socketpair(AF_INET, SOCK_STREAM, 0, ends));
	REPORT(listen(0x7fffffff, 1));
	fd = open("/dev/null", O_RDWR);
	REPORT(listen(fd, 1));
	close(fd);
}

static volatile int pipes;

static void on_pipe(int signal)
{
	(void)signal;
	pipes++;
}

static void broken_pipes(void)
{
	int fds[2];

	signal(SIGPIPE, on_pipe);
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	close(fds[1]);
	REPORT(send(fds[0], "x", 1, MSG_NOSIGNAL));
	CHECK(pipes == 0);
	REPORT(send(fds[0], "x", 1, 0));
	CHECK(pipes == 1);
	REPORT(write(fds[0], "x", 1));
	CHECK(pipes == 2);
	close(fds[0]);
	signal(SIGPIPE, SIG_IGN);
}

static void timeouts(void)
{
	struct timeval tv = {0, 40000}, wrong = {0, 1000000};
	socklen_t len = sizeof(tv);
	struct timespec begin, end;
	uint16_t port;
	int fds[2], fd = listener(&port);
	char byte;

	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	REPORT(setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &wrong, sizeof(wrong)));
	REPORT(setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &tv, 4));
	REPORT(setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	REPORT(getsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
	printf("%ld.%06ld\n", (long)tv.tv_sec, (long)tv.tv_usec);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	REPORT(read(fds[0], &byte, 1));
	clock_gettime(CLOCK_MONOTONIC, &end);
	/* Linux counts this one in ticks, of at most 10 ms, and the first is not a whole one. */
	CHECK((end.tv_sec - begin.tv_sec) * 1000000000L + end.tv_nsec - begin.tv_nsec >=
	      30000000);
	NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
	REPORT(accept(fd, NULL, NULL));
	NEED(setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) == 0);
	static char much[4 << 20];
	CHECK(send(fds[0], much, sizeof(much), 0) > 0);
	REPORT(send(fds[0], much, sizeof(much), 0));
	close(fds[0]);
	close(fds[1]);
	close(fd);
}

static void *reader(void *arg)
{
	int fd = *(int *)arg;
	static char buffer[100000];
	uint64_t total = 0;
	ssize_t n;

	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		total += (uint64_t)n;
	return (void *)total;
}

/* A blocking send takes all. */
static void much_data(void)
{
	static char much[8 << 20];
	pthread_t thread;
	void *total;
	int ends[2];

	connection(ends);
	NEED(pthread_create(&thread, NULL, reader, &ends[1]) == 0);
	CHECK(send(ends[0], much, sizeof(much), 0) == (ssize_t)sizeof(much));
	CHECK(write(ends[0], much, sizeof(much)) == (ssize_t)sizeof(much));
	close(ends[0]);
	pthread_join(thread, &total);
	printf("%lu bytes arrived\n", (unsigned long)total);
	close(ends[1]);
}

static void datagrams(void)
{
	struct sockaddr_in a = at(0), b;
	struct sockaddr_storage from = {0};
	socklen_t len;
	char text[16] = "";
	int to = socket(AF_INET, SOCK_DGRAM, 0), fd = socket(AF_INET, SOCK_DGRAM, 0), value;
	struct pollfd ready = {.fd = to, .events = POLLIN | POLLOUT};

	NEED(bind(to, (struct sockaddr *)&a, sizeof(a)) == 0);
	a = at(port_of(to));
	REPORT(send(fd, "x", 1, 0));
	REPORT(sendto(fd, "datagram", 8, 0, (struct sockaddr *)&a, sizeof(a)));
	REPORT(sendto(fd, "", 0, 0, (struct sockaddr *)&a, sizeof(a)));
	REPORT(sendto(fd, "x", 1, 0, (struct sockaddr *)&a, 5));
	REPORT(poll(&ready, 1, LONG));
	printf("ready for %x\n", ready.revents);
	REPORT(ioctl(to, FIONREAD, &value));
	printf("unread: %d\n", value);
	len = sizeof(from);
	REPORT(recvfrom(to, text, 4, MSG_PEEK | MSG_TRUNC, (struct sockaddr *)&from, &len));
	show_address("from", &from, len);
	CHECK(((struct sockaddr_in *)&from)->sin_port == port_of(fd));
	REPORT(recvfrom(to, text, 4, 0, NULL, NULL));
	printf("'%.4s'\n", text);
	REPORT(recv(to, text, sizeof(text), 0)); /* the empty one */
	REPORT(recv(to, text, sizeof(text), MSG_DONTWAIT));
	/* Answered, and then only by the peer. */
	b = at(port_of(fd));
	REPORT(sendto(to, "answer", 6, 0, (struct sockaddr *)&b, sizeof(b)));
	REPORT(recv(fd, text, sizeof(text), 0));
	REPORT(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	len = sizeof(from);
	REPORT(getsockname(fd, (struct sockaddr *)&from, &len));
	show_address("connected from", &from, len);
	int other = socket(AF_INET, SOCK_DGRAM, 0);
	REPORT(sendto(other, "stranger", 8, 0, (struct sockaddr *)&b, sizeof(b)));
	REPORT(sendto(to, "peer", 4, 0, (struct sockaddr *)&b, sizeof(b)));
	memset(text, 0, sizeof(text));
	REPORT(recv(fd, text, sizeof(text), 0));
	printf("'%s'\n", text);
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	REPORT(connect(fd, &none, sizeof(none)));
	REPORT(getpeername(fd, (struct sockaddr *)&from, &len));
	REPORT(send(fd, "x", 1, 0));
	static char large[65508];
	REPORT(sendto(fd, large, sizeof(large), 0, (struct sockaddr *)&a, sizeof(a)));
	REPORT(sendto(fd, large, sizeof(large) - 1, 0, (struct sockaddr *)&a, sizeof(a)));
	REPORT(recv(to, large, sizeof(large), 0));
	REPORT(listen(to, 1));
	REPORT(accept(to, NULL, NULL));
	close(fd);
	close(to);
	close(other);
}

static void messages(void)
{
	struct sockaddr_in a = at(0);
	int to = socket(AF_INET, SOCK_DGRAM, 0), fd = socket(AF_INET, SOCK_DGRAM, 0);
	char parts[3][4] = {"one", "two", "six"}, text[3][8] = {"", "", ""}, control[64];
	struct iovec iov[3] = {{parts[0], 3}, {parts[1], 3}, {parts[2], 3}};
	struct iovec in[3] = {{text[0], 2}, {text[1], 2}, {text[2], 2}};
	struct sockaddr_storage from;
	struct msghdr out = {
		.msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = iov, .msg_iovlen = 3};
	struct msghdr got = {.msg_name = &from,
			     .msg_namelen = sizeof(from),
			     .msg_iov = in,
			     .msg_iovlen = 3,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};

	NEED(bind(to, (struct sockaddr *)&a, sizeof(a)) == 0);
	a = at(port_of(to));
	REPORT(sendmsg(fd, &out, 0));
	REPORT(recvmsg(to, &got, 0));
	printf("%s %s %s, flags %x, name %u, control %lu\n", text[0], text[1], text[2],
	       (unsigned)got.msg_flags, got.msg_namelen, (unsigned long)got.msg_controllen);
	out.msg_iovlen = 1025;
	REPORT(sendmsg(fd, &out, 0));
	out.msg_iovlen = 1;

	struct mmsghdr many[4];
	memset(many, 0, sizeof(many));
	for (int i = 0; i < 4; i++)
		many[i].msg_hdr = out;
	REPORT(sendmmsg(fd, many, 3, 0));
	printf("%u %u %u\n", many[0].msg_len, many[1].msg_len, many[2].msg_len);
	for (int i = 0; i < 4; i++) {
		many[i].msg_hdr = got;
		many[i].msg_hdr.msg_iovlen = 1;
		many[i].msg_hdr.msg_namelen = sizeof(from);
	}
	REPORT(recvmmsg(to, many, 3, 0, NULL));
	printf("%u %u %u, flags %x\n", many[0].msg_len, many[1].msg_len, many[2].msg_len,
	       (unsigned)many[0].msg_hdr.msg_flags);
	REPORT(sendmsg(fd, &out, 0));
	REPORT(recvmmsg(to, many, 4, MSG_WAITFORONE, NULL));
	REPORT(recvmmsg(to, many, 1, MSG_DONTWAIT, NULL));
	struct timespec wrong = {0, 1000000000};
	REPORT(recvmmsg(to, many, 1, MSG_DONTWAIT, &wrong));
	close(fd);
	close(to);
}

static struct sockaddr_un unix_name(const char *path, size_t len)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	memcpy(un.sun_path, path, len);
	return un;
}

static void unix_names(void)
{
	static const char path[] = "unix.socket";
	struct sockaddr_un un = unix_name(path, sizeof(path));
	struct sockaddr_un got = {0};
	socklen_t len;
	char text[32] = "";

	for (int type = SOCK_STREAM; type <= SOCK_SEQPACKET; type += SOCK_SEQPACKET - 1) {
		int fd = socket(AF_UNIX, type, 0), client = socket(AF_UNIX, type, 0);

		printf("type %d\n", type);
		REPORT(connect(client, (struct sockaddr *)&un, sizeof(un)));
		REPORT(listen(fd, 1));
		REPORT(bind(fd, (struct sockaddr *)&un, sizeof(un)));
		REPORT(connect(client, (struct sockaddr *)&un, sizeof(un)));
		REPORT(listen(fd, 1));
		REPORT(connect(client, (struct sockaddr *)&un, sizeof(un)));
		REPORT(connect(client, (struct sockaddr *)&un, sizeof(un)));
		int end = accept(fd, NULL, NULL);
		NEED(end >= 0);
		len = sizeof(got);
		REPORT(getpeername(client, (struct sockaddr *)&got, &len));
		printf("'%s'\n", got.sun_path);
		len = sizeof(got);
		REPORT(getsockname(client, (struct sockaddr *)&got, &len));
		printf("length %u\n", len);
		REPORT(send(client, "one", 3, 0));
		REPORT(send(client, "two", 3, 0));
		memset(text, 0, sizeof(text));
		REPORT(recv(end, text, sizeof(text), 0));
		printf("'%s'\n", text);
		int again = socket(AF_UNIX, type, 0);
		REPORT(bind(again, (struct sockaddr *)&un, sizeof(un)));
		close(again);
		close(end);
		close(client);
		close(fd);
		client = socket(AF_UNIX, type, 0);
		REPORT(connect(client, (struct sockaddr *)&un, sizeof(un)));
		close(client);
		REPORT(unlink(path));
	}

	/* Abstract, and of the system's choice. */
	un = unix_name("\0abstract of the test", 21);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
	REPORT(bind(fd, (struct sockaddr *)&un, 2 + 21));
	REPORT(listen(fd, 2));
	REPORT(connect(client, (struct sockaddr *)&un, 2 + 20));
	REPORT(connect(client, (struct sockaddr *)&un, 2 + 21));
	close(client);
	/* One that did not get a name in a directory. */
	struct sockaddr_un taken = unix_name("taken", 6);
	close(open("taken", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	REPORT(bind(client, (struct sockaddr *)&taken, sizeof(taken)));
	REPORT(connect(client, (struct sockaddr *)&un, 2 + 21));
	REPORT(unlink("taken"));
	close(fd);
	close(client);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	REPORT(bind(fd, (struct sockaddr *)&un, 2));
	len = sizeof(got);
	REPORT(getsockname(fd, (struct sockaddr *)&got, &len));
	printf("length %u\n", len);
	client = socket(AF_UNIX, SOCK_DGRAM, 0);
	REPORT(sendto(client, "to the abstract", 15, 0, (struct sockaddr *)&got, len));
	REPORT(recv(fd, text, sizeof(text), 0));
	REPORT(send(client, "x", 1, 0));
	REPORT(connect(client, (struct sockaddr *)&got, len));
	REPORT(send(client, "x", 1, 0));
	close(fd);
	REPORT(send(client, "x", 1, 0));
	close(client);
}

/* A message with `n` descriptors. */
static ssize_t send_fds(int fd, const int *fds, size_t n)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	char byte = 'x';
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = CMSG_SPACE(n * sizeof(int))};

	control.header.cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
	return sendmsg(fd, &m, 0);
}

static ssize_t receive_fds(int fd, int *fds, size_t room, int flags)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control;
	char byte;
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = room};
	ssize_t r = recvmsg(fd, &m, flags);

	printf("flags %x, control %lu", (unsigned)m.msg_flags, (unsigned long)m.msg_controllen);
	if (r >= 0 && m.msg_controllen >= sizeof(control.header)) {
		printf(", length %lu", (unsigned long)control.header.cmsg_len);
		memcpy(fds, CMSG_DATA(&control.header),
		       control.header.cmsg_len - sizeof(control.header));
	}
	printf("\n");
	return r;
}

static void rights(void)
{
	int pair[2], pipe_fds[2], got[16] = {-1, -1};
	char text[8] = "";

	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && pipe(pipe_fds) == 0);
	REPORT(send_fds(pair[0], pipe_fds, 2));
	REPORT(receive_fds(pair[1], got, CMSG_SPACE(16 * sizeof(int)), MSG_CMSG_CLOEXEC));
	CHECK((fcntl(got[0], F_GETFD) & FD_CLOEXEC) != 0);
	/* It is the same open file. */
	NEED(fcntl(got[0], F_SETFL, O_NONBLOCK) == 0);
	CHECK((fcntl(pipe_fds[0], F_GETFL) & O_NONBLOCK) != 0);
	REPORT(write(got[1], "through", 7));
	REPORT(read(pipe_fds[0], text, 7));
	close(got[0]);
	close(got[1]);
	/* Room for one. */
	REPORT(send_fds(pair[0], pipe_fds, 2));
	REPORT(receive_fds(pair[1], got, CMSG_LEN(sizeof(int)), 0));
	close(got[0]);
	/* None at all: they are gone. */
	REPORT(send_fds(pair[0], pipe_fds, 2));
	REPORT(receive_fds(pair[1], got, 0, 0));
	REPORT(send_fds(pair[0], pipe_fds, 2));
	REPORT(read(pair[1], text, 1));
	/* Looked at, they come twice. */
	REPORT(send_fds(pair[0], pipe_fds, 1));
	REPORT(receive_fds(pair[1], got, CMSG_SPACE(sizeof(int)), MSG_PEEK));
	close(got[0]);
	REPORT(receive_fds(pair[1], got, CMSG_SPACE(sizeof(int)), 0));
	close(got[0]);
	got[0] = 12345;
	REPORT(send_fds(pair[0], got, 1));
	/* Bytes around a message with descriptors are not glued to it from before. */
	REPORT(send(pair[0], "ab", 2, 0));
	REPORT(send_fds(pair[0], pipe_fds, 1));
	REPORT(read(pair[1], text, sizeof(text)));
	close(pair[0]);
	close(pair[1]);

	/* With the last sender and receiver gone, the pipe has no writer any more. */
	NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
	REPORT(send_fds(pair[0], pipe_fds, 2));
	REPORT(receive_fds(pair[1], got, CMSG_SPACE(2 * sizeof(int)), 0));
	close(got[0]);
	close(got[1]);
	close(pipe_fds[1]);
	NEED(fcntl(pipe_fds[0], F_SETFL, 0) == 0);
	REPORT(read(pipe_fds[0], text, 1));
	close(pipe_fds[0]);
	close(pair[0]);
	close(pair[1]);
}

static void credentials(void)
{
	int pair[2], on = 1;
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);
	char byte, control[CMSG_SPACE(sizeof(cred))];
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct cmsghdr *c;

	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	REPORT(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &cred, &len));
	CHECK(cred.pid == getpid() && cred.uid == getuid() && cred.gid == getgid());
	REPORT(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	REPORT(send(pair[0], "x", 1, 0));
	REPORT(recvmsg(pair[1], &m, 0));
	c = CMSG_FIRSTHDR(&m);
	NEED(c != NULL && c->cmsg_len == CMSG_LEN(sizeof(cred)));
	memcpy(&cred, CMSG_DATA(c), sizeof(cred));
	printf("type %d, %lu\n", c->cmsg_type, (unsigned long)m.msg_controllen);
	CHECK(cred.pid == getpid() && cred.uid == getuid() && cred.gid == getgid());
	close(pair[0]);
	close(pair[1]);
}

static void options(void)
{
	static const struct {
		int level, name, value;
	} known[] = {
		{SOL_SOCKET, SO_REUSEADDR, 1},	       {SOL_SOCKET, SO_KEEPALIVE, 1},
		{SOL_SOCKET, SO_REUSEPORT, 1},	       {IPPROTO_TCP, TCP_NODELAY, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, 33},       {IPPROTO_TCP, TCP_KEEPINTVL, 7},
		{IPPROTO_TCP, TCP_KEEPCNT, 4},	       {IPPROTO_IP, IP_TOS, 16},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, 5000},
	};
	int fd = socket(AF_INET, SOCK_STREAM, 0), value;
	struct linger linger = {1, 5}, got = {0, 0};
	socklen_t len;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		len = sizeof(value);
		int set = setsockopt(fd, known[i].level, known[i].name, &known[i].value, 4);
		int r = getsockopt(fd, known[i].level, known[i].name, &value, &len);
		printf("%d %d: %d %d, %d, length %u\n", known[i].level, known[i].name, set, r,
		       value, len);
	}
	REPORT(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	len = sizeof(got);
	REPORT(getsockopt(fd, SOL_SOCKET, SO_LINGER, &got, &len));
	printf("%d %d\n", got.l_onoff, got.l_linger);
	REPORT(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 3));
	REPORT(setsockopt(fd, SOL_SOCKET, 9999, &value, 4));
	REPORT(setsockopt(fd, IPPROTO_TCP, 9999, &value, 4));
	len = 2;
	REPORT(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &len));
	printf("length %u\n", len);
	len = sizeof(value);
	REPORT(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &len));
	printf("%d\n", value);
	REPORT(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &len));
	printf("%d\n", value);
	REPORT(getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len));
	printf("%d\n", value);
	close(fd);
}

/* Without waiting: connect, then epoll tells. It is in the epoll before it connects. */
static void events(void)
{
	uint16_t port;
	int fd = listener(&port), client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int epoll = epoll_create1(0), error;
	struct sockaddr_in a = at(port);
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = 1}, got[4];
	socklen_t len = sizeof(error);

	NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0);
	e.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
	e.data.u32 = 2;
	NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, client, &e) == 0);
	int r = connect(client, (struct sockaddr *)&a, sizeof(a));
	CHECK(r == 0 || errno == EINPROGRESS);
	unsigned seen = 0;
	for (int i = 0; i < 100 && seen != 3; i++) {
		int n = epoll_wait(epoll, got, 4, LONG);
		for (int j = 0; j < n; j++)
			if (got[j].data.u32 == 1 || (got[j].events & EPOLLOUT) != 0)
				seen |= got[j].data.u32;
	}
	CHECK(seen == 3);
	REPORT(getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &len));
	printf("%d\n", error);
	int end = accept(fd, NULL, NULL);
	REPORT(send(end, "hello", 5, 0));
	NEED(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL) == 0);
	REPORT(epoll_wait(epoll, got, 4, LONG));
	CHECK(got[0].data.u32 == 2 && (got[0].events & EPOLLIN) != 0);
	close(end);
	REPORT(epoll_wait(epoll, got, 4, LONG));
	CHECK(got[0].data.u32 == 2 && (got[0].events & EPOLLRDHUP) != 0);
	close(client);
	REPORT(epoll_wait(epoll, got, 4, 0));
	close(epoll);
	close(fd);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	addresses();
	states();
	broken_pipes();
	timeouts();
	much_data();
	datagrams();
	messages();
	unix_names();
	rights();
	credentials();
	options();
	events();
	printf("sockets done\n");
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Socket calls with arguments that no honest program passes; threads that pull them apart. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "report.h"

#define THREADS 6
#define TURNS 3000

static char *edge; /* the last bytes before memory ends */
static void *const nowhere = (void *)8;
static void *const kernel = (void *)0xffff800000000000;

static void pointers(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	int pair[2], fd = socket(AF_INET, SOCK_STREAM, 0), value = 1;
	socklen_t len = sizeof(a), negative = (socklen_t)-1;

	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	REPORT(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, nowhere));
	REPORT(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, edge - 4));
	REPORT(syscall(SYS_bind, fd, nowhere, 16));
	REPORT(syscall(SYS_bind, fd, kernel, 16));
	REPORT(syscall(SYS_bind, fd, edge - 8, 16));
	REPORT(syscall(SYS_bind, fd, &a, -1));
	REPORT(syscall(SYS_bind, fd, &a, 129));
	REPORT(syscall(SYS_bind, fd, &a, 0));
	REPORT(syscall(SYS_connect, fd, nowhere, 16));
	REPORT(syscall(SYS_connect, fd, &a, INT_MIN));
	REPORT(syscall(SYS_getsockname, fd, &a, nowhere));
	REPORT(syscall(SYS_getsockname, fd, nowhere, &len));
	REPORT(syscall(SYS_getsockname, fd, &a, &negative));
	REPORT(syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_KEEPALIVE, nowhere, 4));
	REPORT(syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_KEEPALIVE, &value, -1));
	REPORT(syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, nowhere, &len));
	REPORT(syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &value, nowhere));
	REPORT(syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &value, &negative));
	REPORT(syscall(SYS_sendto, pair[0], nowhere, 4, 0, NULL, 0));
	REPORT(syscall(SYS_sendto, pair[0], kernel, 4, 0, NULL, 0));
	REPORT(syscall(SYS_sendto, pair[0], edge - 4, 8, MSG_DONTWAIT, NULL, 0) <= 4);
	NEED(send(pair[0], "x", 1, 0) == 1);
	REPORT(syscall(SYS_recvfrom, pair[1], nowhere, 4, MSG_DONTWAIT, NULL, NULL));
	REPORT(syscall(SYS_sendmsg, pair[0], nowhere, 0));
	REPORT(syscall(SYS_sendmsg, pair[0], edge - 16, 0));
	REPORT(syscall(SYS_recvmsg, pair[1], nowhere, MSG_DONTWAIT));
	REPORT(syscall(SYS_sendmmsg, pair[0], nowhere, 5, 0));
	REPORT(syscall(SYS_recvmmsg, pair[1], nowhere, 5, MSG_DONTWAIT, NULL));
	REPORT(syscall(SYS_recvmmsg, pair[1], nowhere, 0, MSG_DONTWAIT, NULL));
	REPORT(syscall(SYS_sendmmsg, pair[0], nowhere, 0, 0));
	REPORT(syscall(SYS_accept, pair[0], nowhere, nowhere));
	close(fd);
	close(pair[0]);
	close(pair[1]);
}

static void headers(void)
{
	int pair[2];
	char byte = 'x', control[64] = "";
	struct iovec iov = {&byte, 1}, wild[2] = {{nowhere, 1}, {&byte, (size_t)-1}};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c = (struct cmsghdr *)control;

	NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
	m.msg_iovlen = SIZE_MAX;
	REPORT(sendmsg(pair[0], &m, 0));
	m.msg_iovlen = 1025;
	REPORT(recvmsg(pair[1], &m, MSG_DONTWAIT));
	m.msg_iov = nowhere;
	m.msg_iovlen = 1;
	REPORT(sendmsg(pair[0], &m, 0));
	m.msg_iov = wild;
	REPORT(sendmsg(pair[0], &m, 0));
	m.msg_iov = wild + 1;
	REPORT(sendmsg(pair[0], &m, 0));
	m.msg_iov = &iov;
	m.msg_control = nowhere;
	m.msg_controllen = 64;
	REPORT(sendmsg(pair[0], &m, 0));
	m.msg_control = control;
	m.msg_controllen = SIZE_MAX;
	REPORT(sendmsg(pair[0], &m, 0));
	m.msg_controllen = sizeof(control);
	/* Lengths of control messages: too short, too long, at the end. */
	*c = (struct cmsghdr){.cmsg_len = 0, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	REPORT(sendmsg(pair[0], &m, 0));
	c->cmsg_len = sizeof(control) + 1;
	REPORT(sendmsg(pair[0], &m, 0));
	c->cmsg_len = SIZE_MAX;
	REPORT(sendmsg(pair[0], &m, 0));
	c->cmsg_len = CMSG_LEN(3);
	m.msg_controllen = CMSG_SPACE(3);
	REPORT(sendmsg(pair[0], &m, 0)); /* less than a descriptor: none */
	c->cmsg_len = CMSG_LEN(4);
	memset(CMSG_DATA(c), 0xff, 4);
	REPORT(sendmsg(pair[0], &m, 0));
	c->cmsg_type = 99;
	REPORT(sendmsg(pair[0], &m, 0));
	c->cmsg_type = SCM_CREDENTIALS;
	REPORT(sendmsg(pair[0], &m, 0));
	m.msg_controllen = 8;
	REPORT(sendmsg(pair[0], &m, 0));
	m.msg_control = NULL;
	m.msg_controllen = 0;
	m.msg_name = control;
	m.msg_namelen = (socklen_t)-1;
	REPORT(sendmsg(pair[0], &m, 0));
	REPORT(recvmsg(pair[1], &m, MSG_DONTWAIT));
	close(pair[0]);
	close(pair[1]);
}

/* 254 descriptors are one too many. */
static void many_rights(void)
{
	static union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(254 * sizeof(int))];
	} control;
	static int fds[254];
	int pair[2];
	char byte = 'x';
	struct iovec iov = {&byte, 1};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control};

	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	for (int n = 254; n >= 253; n--) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
		m.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, (size_t)n * sizeof(int));
		REPORT(sendmsg(pair[0], &m, 0));
	}
	/* A socket that is sent over itself, and one that is closed with it under way. */
	fds[0] = pair[1];
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	m.msg_controllen = CMSG_SPACE(sizeof(int));
	memcpy(CMSG_DATA(&control.header), fds, sizeof(int));
	REPORT(sendmsg(pair[0], &m, 0));
	close(pair[0]);
	close(pair[1]);
}

/* --- All at once -------------------------------------------------------------------------- */

static int shared[8];
static struct sockaddr_in name;
static volatile bool stop;

static unsigned next(unsigned *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 16;
}

static void turn(unsigned *seed)
{
	unsigned i = next(seed) % 8;
	int fd = shared[i], value = 1, fresh;
	char buffer[256] = "";
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	switch (next(seed) % 16) {
	case 0:
		fresh = socket(AF_INET,
			       (next(seed) % 2 ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0);
		dup2(fresh, fd);
		close(fresh);
		break;
	case 1:
		a.sin_port = htons((uint16_t)(5000 + next(seed) % 4));
		bind(fd, (struct sockaddr *)&a, sizeof(a));
		break;
	case 2:
		listen(fd, (int)(next(seed) % 3));
		break;
	case 3:
	case 4:
		connect(fd, (struct sockaddr *)&name, sizeof(name));
		break;
	case 5:
		connect(fd, &none, sizeof(none));
		break;
	case 6:
		fresh = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
		if (fresh >= 0) {
			dup2(fresh, shared[next(seed) % 8]);
			close(fresh);
		}
		break;
	case 7:
	case 8:
		send(fd, buffer, sizeof(buffer), MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 9:
	case 10:
		recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		break;
	case 11:
		sendto(fd, buffer, 10, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&name,
		       sizeof(name));
		break;
	case 12:
		shutdown(fd, (int)(next(seed) % 3));
		break;
	case 13:
		getsockname(fd, (struct sockaddr *)&name, &len);
		break;
	case 14:
		setsockopt(fd, SOL_SOCKET, next(seed) % 2 ? SO_REUSEADDR : SO_REUSEPORT, &value,
			   sizeof(value));
		break;
	default:
		getpeername(fd, (struct sockaddr *)&a, &len);
		break;
	}
}

static void *pull(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (int i = 0; i < TURNS; i++)
		turn(&seed);
	return NULL;
}

/* Changes what the others' calls read. */
static void *scribble(void *arg)
{
	unsigned seed = 77;

	(void)arg;
	while (!stop) {
		name.sin_family = next(&seed) % 8 ? AF_INET : (sa_family_t)next(&seed);
		name.sin_port = htons((uint16_t)(5000 + next(&seed) % 4));
		name.sin_addr.s_addr = next(&seed) % 4 ? htonl(INADDR_LOOPBACK) : next(&seed);
		usleep(10);
	}
	return NULL;
}

static void all_at_once(void)
{
	pthread_t threads[THREADS], scribbler;

	for (int i = 0; i < 8; i++)
		shared[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	NEED(pthread_create(&scribbler, NULL, scribble, NULL) == 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		NEED(pthread_create(&threads[i], NULL, pull, (void *)(i + 1)) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	stop = true;
	pthread_join(scribbler, NULL);
	for (int i = 0; i < 8; i++)
		close(shared[i]);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(edge != MAP_FAILED && munmap(edge + 4096, 4096) == 0);
	edge += 4096;
	pointers();
	headers();
	many_rights();
	if (argc > 1 && strcmp(argv[1], "threads") == 0)
		all_at_once();
	printf("still here\n");
	return 0;
}

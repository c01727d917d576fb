/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sockets_outside ADDRESS PORT: UDP with a server outside, which sends back what it gets, from
 * several threads. In a VM a socket becomes one of the host's when it first sends to there.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include "report.h"

#define LONG 60000 /* ms until what has to come is there: never, unless the test fails */
#define ROUNDS 300

static struct sockaddr_in server;
static int fd;
static atomic_int asked, sent;

static int bound(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	NEED(s >= 0 && bind(s, (struct sockaddr *)&any, sizeof(any)) == 0);
	return s;
}

static ssize_t ask(int s)
{
	return sendto(s, "hello", 5, 0, (struct sockaddr *)&server, sizeof(server));
}

static void *wait_by_recv(void *context)
{
	char text[8];

	(void)context;
	return (void *)(intptr_t)recvfrom(fd, text, sizeof(text), 0, NULL, NULL);
}

static void *wait_by_select(void *context)
{
	struct timeval limit = {.tv_sec = LONG / 1000};
	fd_set set;

	(void)context;
	FD_ZERO(&set);
	FD_SET(fd, &set);
	return (void *)(intptr_t)select(fd + 1, &set, NULL, NULL, &limit);
}

/* Most likely it waits already: whether it does or not, the answer is for it. */
static void a_thread_that_waits_hears_the_answer(const char *how, void *(*wait)(void *))
{
	pthread_t thread;
	void *result;

	fd = bound();
	NEED(pthread_create(&thread, NULL, wait, NULL) == 0);
	usleep(50000);
	NEED(ask(fd) == 5);
	NEED(pthread_join(thread, &result) == 0);
	printf("%s: %d\n", how, (int)(intptr_t)result);
	close(fd);
}

static void *send_when_told(void *context)
{
	(void)context;
	for (int last = 0; last < ROUNDS; last++) {
		while (atomic_load(&asked) == last)
			sched_yield();
		NEED(ask(fd) == 5);
		atomic_store(&sent, last + 1);
	}
	return NULL;
}

static void a_socket_is_watched_while_it_first_sends(void)
{
	struct epoll_event event = {.events = EPOLLIN}, got;
	int heard = 0;
	pthread_t thread;

	NEED(pthread_create(&thread, NULL, send_when_told, NULL) == 0);
	for (int round = 1; round <= ROUNDS; round++) {
		int epoll = epoll_create1(0);

		fd = bound();
		atomic_store(&asked, round);
		for (volatile int delay = 0; delay < round % 64 * 20; delay++)
			;
		NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
		while (atomic_load(&sent) != round)
			sched_yield();
		heard += epoll_wait(epoll, &got, 1, LONG) == 1;
		close(fd);
		close(epoll);
	}
	NEED(pthread_join(thread, NULL) == 0);
	CHECK(heard == ROUNDS);
}

int main(int argc, char **argv)
{
	NEED(argc == 3);
	server = (struct sockaddr_in){.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)atoi(argv[2]))};
	NEED(inet_pton(AF_INET, argv[1], &server.sin_addr) == 1);
	a_thread_that_waits_hears_the_answer("recv", wait_by_recv);
	a_thread_that_waits_hears_the_answer("select", wait_by_select);
	a_socket_is_watched_while_it_first_sends();
	printf("sockets outside done\n");
	return 0;
}

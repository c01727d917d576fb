/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that wait with a signal mask of their own, and what interrupts what. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

static atomic_int seen;

static void note(int number)
{
	(void)number;
	seen++;
}

static void on(int number, int flags)
{
	struct sigaction action = {.sa_handler = note, .sa_flags = flags};

	NEED(!sigaction(number, &action, NULL));
}

static sigset_t only(int number)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, number);
	return set;
}

static int blocked(int number)
{
	sigset_t now;

	sigprocmask(SIG_BLOCK, NULL, &now);
	return sigismember(&now, number);
}

static int waits(int number)
{
	sigset_t now;

	sigpending(&now);
	return sigismember(&now, number);
}

static void after(const char *what)
{
	printf("%s: seen %d, blocked %d, waits %d\n", what, seen, blocked(SIGUSR1),
	       waits(SIGUSR1));
	seen = 0;
}

/* A signal that is blocked but for the time of the call. */
static void masks_of_calls(void)
{
	struct timespec soon = {0, 20000000}, none = {0, 0};
	sigset_t usr1 = only(SIGUSR1), empty;
	struct epoll_event event;
	int epoll = epoll_create1(0), fd = eventfd(1, 0);
	struct pollfd one = {.fd = fd, .events = POLLIN};

	on(SIGUSR1, SA_RESTART);
	sigemptyset(&empty);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	raise(SIGUSR1);
	after("blocked");
	REPORT(sigsuspend(&empty));
	after("sigsuspend");
	raise(SIGUSR1);
	REPORT(ppoll(NULL, 0, &soon, &empty));
	after("ppoll");
	raise(SIGUSR1);
	REPORT(pselect(0, NULL, NULL, NULL, &soon, &empty));
	after("pselect");
	raise(SIGUSR1);
	REPORT(epoll_pwait(epoll, &event, 1, 20, &empty));
	after("epoll_pwait");
	/* One that ends without being interrupted leaves the signal alone, or may. */
	REPORT(ppoll(NULL, 0, &none, &empty));
	after("ppoll, nothing");
	REPORT(ppoll(&one, 1, NULL, &empty));
	after("ppoll, ready");
	REPORT(syscall(SYS_ppoll, NULL, 0, &none, &empty, 4));
	REPORT(syscall(SYS_ppoll, NULL, 0, &none, (void *)8, 8));
	after("bad masks");
	sigprocmask(SIG_UNBLOCK, &usr1, NULL);
	/* And the reverse: it comes when the call is over. */
	sigaddset(&empty, SIGUSR1);
	REPORT(ppoll(NULL, 0, &soon, &empty));
	after("ppoll, blocking");
	close(fd);
	close(epoll);
}

static pthread_t main_thread;
static atomic_int over, sent;

/*
 * Again and again: a signal that comes before the call that it is for does not interrupt it. Ever
 * more seldom, lest a slow machine has nothing but signals to handle.
 */
static void *kick_main(void *unused)
{
	useconds_t rest = 5000;

	do {
		usleep(rest);
		rest = rest < 500000 ? rest * 2 : rest;
		sent++;
		pthread_kill(main_thread, SIGUSR1);
	} while (!over);
	return unused;
}

/* Each blocking call, interrupted by a handler with or without SA_RESTART (signal(7)). */
#define INTERRUPTED(call)                                                                      \
	do {                                                                                   \
		pthread_t thread;                                                              \
		over = sent = 0;                                                               \
		NEED(!pthread_create(&thread, NULL, kick_main, NULL));                         \
		REPORT(call);                                                                  \
		over = 1;                                                                      \
		pthread_join(thread, NULL);                                                    \
		CHECK(seen >= 1 && seen <= sent);                                              \
		seen = 0;                                                                      \
	} while (0)

static void interruptions(int flags)
{
	struct timespec minute = {60, 0};
	struct timeval select_time = {60, 0};
	struct epoll_event event;
	struct pollfd none = {.fd = -1};
	sigset_t usr2 = only(SIGUSR2);
	int pipes[2], epoll = epoll_create1(0), counter = eventfd(0, 0);
	uint64_t value;
	char byte;
	siginfo_t info;

	NEED(!pipe(pipes));
	on(SIGUSR1, flags);
	printf("flags %x\n", (unsigned)flags);
	INTERRUPTED(poll(&none, 1, 60000));
	INTERRUPTED(select(0, NULL, NULL, NULL, &select_time));
	INTERRUPTED(ppoll(NULL, 0, &minute, NULL));
	INTERRUPTED(epoll_wait(epoll, &event, 1, 60000));
	INTERRUPTED(nanosleep(&minute, NULL));
	INTERRUPTED(clock_nanosleep(CLOCK_MONOTONIC, 0, &minute, NULL));
	INTERRUPTED(sigtimedwait(&usr2, &info, &minute));
	INTERRUPTED(pause());
	if (!(flags & SA_RESTART)) {
		INTERRUPTED(read(pipes[0], &byte, 1));
		INTERRUPTED(read(counter, &value, sizeof(value)));
	} else {
		/* Never restarted, whatever the flag says. */
		INTERRUPTED(poll(&(struct pollfd){.fd = pipes[0], .events = POLLIN}, 1, 60000));
	}
	INTERRUPTED(clock_nanosleep(CLOCK_REALTIME, 0, &minute, NULL));
	close(pipes[0]);
	close(pipes[1]);
	close(epoll);
	close(counter);
}

static int pipes_of_restart[2];
static atomic_int about_to_read;

/* Each signal when the one before it was handled, lest two of them become one. */
static void *kick_and_write(void *unused)
{
	while (!about_to_read)
		usleep(1000);
	for (int i = 1; i <= 3; i++) {
		usleep(10000);
		pthread_kill(main_thread, SIGUSR1);
		for (int wait = 0; wait < 60000 && seen < i; wait++)
			usleep(1000);
	}
	usleep(10000);
	NEED(write(pipes_of_restart[1], "x", 1) == 1);
	return unused;
}

static void restarted_read(void)
{
	pthread_t thread;
	char byte = 0;

	NEED(!pipe(pipes_of_restart));
	on(SIGUSR1, SA_RESTART);
	NEED(!pthread_create(&thread, NULL, kick_and_write, NULL));
	about_to_read = 1;
	REPORT(read(pipes_of_restart[0], &byte, 1));
	pthread_join(thread, NULL);
	printf("read %c behind %d signals\n", byte, seen);
	seen = 0;
}

static long long ns(const struct timespec *t)
{
	return t->tv_sec * 1000000000LL + t->tv_nsec;
}

static long long now(void)
{
	struct timespec t;

	NEED(!clock_gettime(CLOCK_MONOTONIC, &t));
	return ns(&t);
}

/* What is left of a sleep, and that signals without a handler do not shorten it. */
static void sleeps(void)
{
	struct timespec request = {60, 0}, left = {99, 9};
	long long start, slept;
	pthread_t thread;

	on(SIGUSR1, 0);
	over = 0;
	start = now();
	NEED(!pthread_create(&thread, NULL, kick_main, NULL));
	REPORT(nanosleep(&request, &left));
	slept = now() - start;
	over = 1;
	pthread_join(thread, NULL);
	CHECK(ns(&left) < ns(&request) && ns(&left) + slept >= ns(&request));
	signal(SIGUSR1, SIG_IGN);
	request = (struct timespec){0, 100000000};
	over = 0;
	start = now();
	NEED(!pthread_create(&thread, NULL, kick_main, NULL));
	REPORT(nanosleep(&request, NULL));
	slept = now() - start;
	over = 1;
	pthread_join(thread, NULL);
	CHECK(slept >= ns(&request));
	signal(SIGUSR1, SIG_DFL);
	/* Nor does one that is ignored by default. */
	signal(SIGCHLD, SIG_DFL);
	REPORT(raise(SIGCHLD));
	seen = 0;
}

static void descriptors(void)
{
	sigset_t usr1 = only(SIGUSR1);
	struct signalfd_siginfo infos[4];
	struct pollfd one = {.events = POLLIN};

	sigaddset(&usr1, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	one.fd = signalfd(-1, &usr1, SFD_NONBLOCK);
	NEED(one.fd >= 0);
	REPORT(poll(&one, 1, 0));
	REPORT(read(one.fd, infos, sizeof(infos)));
	kill(getpid(), SIGUSR1);
	for (int i = 0; i < 2; i++)
		sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 5 + i});
	REPORT(poll(&one, 1, 1000));
	NEED(read(one.fd, infos, sizeof(infos)) == 3 * sizeof(infos[0]));
	for (int i = 0; i < 3; i++)
		printf("signalfd: %u, code %d, value %d, from me %d\n", infos[i].ssi_signo,
		       infos[i].ssi_code, infos[i].ssi_int, (int)infos[i].ssi_pid == getpid());
	REPORT(poll(&one, 1, 0));
	REPORT(waits(SIGUSR1));
	close(one.fd);
	sigprocmask(SIG_UNBLOCK, &usr1, NULL);
}

int main(void)
{
	main_thread = pthread_self();
	masks_of_calls();
	interruptions(0);
	interruptions(SA_RESTART);
	restarted_read();
	sleeps();
	descriptors();
	return 0;
}

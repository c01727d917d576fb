/* SPDX-License-Identifier: Apache-2.0 */
/* Which thread takes a signal; a storm of them against one that computes. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

static atomic_int taken_by_main, taken_by_other, waited_for, stop;
static pid_t main_tid;

static void note(int number)
{
	(void)number;
	if (syscall(SYS_gettid) == main_tid)
		taken_by_main++;
	else
		taken_by_other++;
}

static void on(int number)
{
	struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};

	NEED(!sigaction(number, &action, NULL));
}

static void wait_for(atomic_int *value, int n)
{
	for (int i = 0; i < 60000 && *value < n; i++)
		usleep(1000);
	if (*value < n)
		printf("%d of %d only\n", *value, n);
}

static void *idle(void *unused)
{
	while (!stop)
		usleep(1000);
	return unused;
}

static void *spin(void *unused)
{
	while (!stop)
		__builtin_ia32_pause();
	return unused;
}

/* What the process gets goes to a thread that does not block it, computing or waiting. */
static void to_the_one_that_can(void *(*what)(void *))
{
	sigset_t set;
	pthread_t thread;

	stop = taken_by_main = taken_by_other = 0;
	on(SIGUSR1);
	pthread_create(&thread, NULL, what, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int i = 1; i <= 20; i++) {
		kill(getpid(), SIGUSR1);
		wait_for(&taken_by_other, i);
	}
	stop = 1;
	pthread_join(thread, NULL);
	kill(getpid(), SIGUSR1);
	printf("other %d, main %d\n", taken_by_other, taken_by_main);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	printf("then main %d\n", taken_by_main);
}

/* A thread that blocks what another can take hands it over. */
static void *waiter(void *unused)
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	for (int i = 0; i < 3; i++) {
		NEED(!sigwait(&set, &number));
		printf("sigwait: %d\n", number);
		waited_for++;
	}
	return unused;
}

static void waiting(void)
{
	sigset_t set;
	pthread_t thread;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&thread, NULL, waiter, NULL);
	kill(getpid(), SIGUSR2);
	wait_for(&waited_for, 1);
	kill(getpid(), SIGUSR2);
	wait_for(&waited_for, 2);
	pthread_kill(thread, SIGUSR2);
	pthread_join(thread, NULL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void *shoot(void *target)
{
	for (int i = 0; i < 2000; i++)
		pthread_kill(*(pthread_t *)target, SIGUSR1 + 2 * (i & 1));
	return NULL;
}

/* Registers, flags and vectors of a loop that is interrupted anywhere. */
static void storm(void)
{
	pthread_t self = pthread_self(), threads[2];
	uint64_t sum = 0, again = 0;
	double product = 1, product_again = 1;

	on(SIGUSR1);
	on(SIGUSR2);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, shoot, &self);
	for (int round = 0; round < 2; round++) {
		uint64_t s = 0;
		double p = 1;

		for (uint64_t i = 1; i < 30000000; i++) {
			s += i * i ^ (s >> 7);
			p = p * 1.0000001 + (double)(i & 3) * 1e-9;
		}
		if (round) {
			again = s;
			product_again = p;
		} else {
			sum = s;
			product = p;
		}
	}
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	CHECK(sum == again && product == product_again);
	CHECK(taken_by_main > 2);
}

static void *raise_own(void *unused)
{
	for (int i = 0; i < 500; i++)
		raise(SIGUSR1);
	return unused;
}

static void many(void)
{
	pthread_t threads[8];

	taken_by_main = taken_by_other = 0;
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, raise_own, NULL);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	printf("eight threads: %d %d\n", taken_by_other, taken_by_main);
}

static void no_such(void)
{
	REPORT(syscall(SYS_tgkill, getpid(), 0x3fffffff, 0));
	REPORT(syscall(SYS_tgkill, getpid(), -1, 0));
	REPORT(syscall(SYS_tkill, 0x3fffffff, SIGTERM));
	REPORT(syscall(SYS_tgkill, getpid(), main_tid, 65));
	REPORT(syscall(SYS_tgkill, getpid(), main_tid, 0));
	REPORT(kill(0x3fffffff, 0));
}

int main(void)
{
	main_tid = (pid_t)syscall(SYS_gettid);
	to_the_one_that_can(idle);
	to_the_one_that_can(spin);
	waiting();
	storm();
	many();
	no_such();
	return 0;
}

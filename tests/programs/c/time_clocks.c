/* SPDX-License-Identifier: Apache-2.0 */
/* What clocks and sleeps refuse, CPU clocks of threads, and that time passes as it says. */
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

static long long ns(const struct timespec *t)
{
	return t->tv_sec * 1000000000LL + t->tv_nsec;
}

static long long now(clockid_t clock)
{
	struct timespec t;

	NEED(!clock_gettime(clock, &t));
	return ns(&t);
}

static void resolutions(void)
{
	struct timespec t;

	for (int clock = -3; clock < 14; clock++) {
		errno = 0;
		if (syscall(SYS_clock_getres, clock, &t))
			printf("clock %d: %s\n", clock, error_name(errno));
		else
			printf("clock %d: %ld %ld\n", clock, t.tv_sec, t.tv_nsec);
		if (clock == 8 || clock == 9)
			continue; /* there are machines without an alarm clock */
		errno = 0;
		if (syscall(SYS_clock_gettime, clock, &t))
			printf("clock %d: %s\n", clock, error_name(errno));
	}
	REPORT(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, (void *)8));
	REPORT(syscall(SYS_clock_getres, CLOCK_MONOTONIC, (void *)0));
	REPORT(syscall(SYS_gettimeofday, (void *)0, (void *)0));
	REPORT(syscall(SYS_gettimeofday, (void *)8, (void *)0));
	REPORT(syscall(SYS_time, (void *)8));
}

static void refusals(void)
{
	struct timespec t = {0, 1000000}, bad = {0, -1}, negative = {-1, 0};
	struct timex tx = {.modes = ADJ_TICK, .tick = 10000};

	REPORT(syscall(SYS_nanosleep, (void *)8, NULL));
	REPORT(syscall(SYS_nanosleep, &bad, NULL));
	REPORT(syscall(SYS_nanosleep, &negative, NULL));
	for (int clock = -1; clock < 13; clock++) {
		/* Nobody would drive the process's clock. */
		if (clock == 8 || clock == 9 || clock == CLOCK_PROCESS_CPUTIME_ID)
			continue;
		errno = 0;
		long r = syscall(SYS_clock_nanosleep, clock, 0, &t, NULL);
		printf("sleep on %d: %s\n", clock, r ? error_name(errno) : "slept");
	}
	REPORT(syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &negative, NULL));
	REPORT(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &t));
	REPORT(syscall(SYS_clock_settime, CLOCK_REALTIME, &bad));
	REPORT(syscall(SYS_clock_settime, CLOCK_REALTIME, (void *)8));
	REPORT(syscall(SYS_clock_settime, 77, &t));
	REPORT(syscall(SYS_clock_adjtime, CLOCK_MONOTONIC, &tx));
	REPORT(syscall(SYS_clock_adjtime, 77, &tx));
	REPORT(syscall(SYS_clock_adjtime, CLOCK_REALTIME, (void *)8));
}

static volatile unsigned long work;
static volatile int stop;
static long long other_cpu;

static void *busy(void *unused)
{
	while (!stop)
		work++;
	other_cpu = now(CLOCK_THREAD_CPUTIME_ID);
	return unused;
}

/* A thread's clock, read by another, and the process's, which is of all. */
static void cpu_clocks(void)
{
	pthread_t thread;
	clockid_t clock;
	long long first, second, process = now(CLOCK_PROCESS_CPUTIME_ID);
	struct timespec ms30 = {0, 30000000}, ms300 = {0, 300000000};

	pthread_create(&thread, NULL, busy, NULL);
	NEED(!pthread_getcpuclockid(thread, &clock));
	second = first = now(clock);
	for (int i = 0; i < 1000 && second <= first; i++) {
		nanosleep(&ms30, NULL);
		second = now(clock);
	}
	CHECK(second > first);
	CHECK(now(CLOCK_PROCESS_CPUTIME_ID) - process >= second - first);
	/* Sleeping on the process's clock, which the other thread drives. */
	process = now(CLOCK_PROCESS_CPUTIME_ID);
	REPORT(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &ms30, NULL));
	CHECK(now(CLOCK_PROCESS_CPUTIME_ID) - process >= 30000000);
	stop = 1;
	pthread_join(thread, NULL);
	CHECK(other_cpu >= second);
	/* And what ended is not forgotten. */
	CHECK(now(CLOCK_PROCESS_CPUTIME_ID) >= other_cpu);
	NEED(!clock_getcpuclockid(0, &clock));
	CHECK(now(clock) >= other_cpu);
	first = now(CLOCK_THREAD_CPUTIME_ID);
	nanosleep(&ms300, NULL);
	CHECK(now(CLOCK_THREAD_CPUTIME_ID) - first < 300000000);
}

/* By the vDSO, which must agree with sleeping: no sleep is over before its time. */
static void sleeps(void)
{
	static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME,
					   CLOCK_TAI};
	int early = 0;

	for (int i = 0; i < 40; i++) {
		clockid_t clock = clocks[i % 4];
		long long end = now(clock) + 1000000 + i * 100000;
		struct timespec at = {end / 1000000000, end % 1000000000};

		NEED(!clock_nanosleep(clock, TIMER_ABSTIME, &at, NULL));
		early += now(clock) < end;
	}
	printf("early: %d\n", early);
}

/* An hour's worth of reading would be better; this is enough for several renewals. */
static void *read_clocks(void *unused)
{
	static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_RAW,
					   CLOCK_MONOTONIC_COARSE};
	long long before[4] = {0}, end = now(CLOCK_MONOTONIC) + 400000000;
	long back = 0;

	(void)unused;
	do {
		for (int i = 0; i < 4; i++) {
			long long t = now(clocks[i]);

			back += t < before[i];
			before[i] = t;
		}
	} while (before[0] < end);
	return (void *)back;
}

int main(void)
{
	pthread_t threads[2];

	resolutions();
	refusals();
	cpu_clocks();
	sleeps();
	for (int i = 0; i < 2; i++)
		NEED(!pthread_create(&threads[i], NULL, read_clocks, NULL));
	for (int i = 0; i < 2; i++) {
		void *back;

		pthread_join(threads[i], &back);
		printf("went back: %ld\n", (long)back);
	}
	return 0;
}

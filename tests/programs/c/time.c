/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks, by the vDSO and by system call; sleeping; that none goes backwards. */
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

/* What reading a clock twice may take, on a machine that has other things to do. */
#define CLOSE 30000000000LL

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

static long long by_kernel(clockid_t clock)
{
	struct timespec t;

	NEED(!syscall(SYS_clock_gettime, clock, &t));
	return ns(&t);
}

static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME,
				   CLOCK_MONOTONIC_RAW, CLOCK_TAI};

static void *watch(void *argument)
{
	long long before = now(CLOCK_MONOTONIC);

	for (int i = 0; i < 200000; i++) {
		long long after = now(CLOCK_MONOTONIC);

		if (after < before)
			return "backwards";
		before = after;
	}
	return argument;
}

static void agreement(void)
{
	for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		long long a = by_kernel(clocks[i]), b = now(clocks[i]),
			  c = by_kernel(clocks[i]);

		/* Raw and TAI need no vDSO; all must lie between two by the kernel. */
		printf("clock %d: in order %d, close %d\n", clocks[i], a <= b && b <= c,
		       c - a < CLOSE);
	}
	struct timeval tv;
	long long before = by_kernel(CLOCK_REALTIME);

	NEED(!gettimeofday(&tv, NULL));
	CHECK(tv.tv_sec * 1000000LL + tv.tv_usec - before / 1000 < CLOSE / 1000);
	CHECK(time(NULL) - tv.tv_sec <= CLOSE / 1000000000);
	CHECK(now(CLOCK_REALTIME_COARSE) - before < CLOSE);
	CHECK(now(CLOCK_PROCESS_CPUTIME_ID) > 0 && now(CLOCK_THREAD_CPUTIME_ID) > 0);
	REPORT(clock_gettime(99, &(struct timespec){0, 0}));
	REPORT(clock_getres(CLOCK_MONOTONIC, &(struct timespec){0, 0}));
	REPORT(clock_settime(CLOCK_MONOTONIC, &(struct timespec){0, 0}));
}

static void sleeping(void)
{
	struct timespec left = {0, 0}, ms20 = {0, 20000000}, bad = {0, 1000000000};
	long long start = now(CLOCK_MONOTONIC), end;
	struct itimerspec each = {{0, 10000000}, {0, 10000000}};
	unsigned long long ticks;
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	REPORT(nanosleep(&ms20, &left));
	CHECK(now(CLOCK_MONOTONIC) - start >= 20000000);
	end = now(CLOCK_REALTIME) + 20000000;
	struct timespec until = {end / 1000000000, end % 1000000000};
	REPORT(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL));
	CHECK(now(CLOCK_REALTIME) >= end);
	REPORT(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL));
	REPORT(nanosleep(&bad, NULL));
	CHECK(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &ms20, NULL) == EINVAL);
	NEED(timer >= 0 && !timerfd_settime(timer, 0, &each, NULL));
	for (int i = 0; i < 3; i++)
		NEED(read(timer, &ticks, sizeof(ticks)) == sizeof(ticks) && ticks > 0);
	CHECK(now(CLOCK_MONOTONIC) - start >= 60000000);
	close(timer);
}

int main(void)
{
	pthread_t threads[3];
	void *result;

	agreement();
	sleeping();
	for (int i = 0; i < 3; i++)
		NEED(!pthread_create(&threads[i], NULL, watch, "forwards"));
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &result);
		printf("thread: %s\n", (char *)result);
	}
	return 0;
}

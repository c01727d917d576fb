/* SPDX-License-Identifier: Apache-2.0 */
/* Timers that send signals: interval timers, POSIX timers with overruns, CPU time. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

static volatile sig_atomic_t seen;
static siginfo_t last;

static void note(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	last = *info;
	seen = seen + 1;
}

static void on(int number)
{
	struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART};

	NEED(!sigaction(number, &action, NULL));
	seen = 0;
}

static void until_seen(int n)
{
	for (int i = 0; i < 60000 && seen < n; i++)
		usleep(1000);
	if (seen < n)
		printf("only %d of %d\n", seen, n);
}

static void interval_timers(void)
{
	struct itimerval each = {{0, 10000}, {0, 10000}}, off = {{0, 0}, {0, 0}}, old;

	on(SIGALRM);
	REPORT(setitimer(ITIMER_REAL, &each, NULL));
	until_seen(3);
	printf("SIGALRM: code %d\n", last.si_code);
	REPORT(getitimer(ITIMER_REAL, &old));
	CHECK(old.it_interval.tv_usec == 10000 && old.it_value.tv_sec == 0 &&
	      old.it_value.tv_usec <= 10000);
	REPORT(setitimer(ITIMER_REAL, &off, &old));
	CHECK(old.it_interval.tv_usec == 10000);
	REPORT(getitimer(ITIMER_REAL, &old));
	CHECK(!old.it_value.tv_sec && !old.it_value.tv_usec);
	each.it_value.tv_usec = 1000000;
	REPORT(setitimer(ITIMER_REAL, &each, NULL));
	REPORT(syscall(SYS_setitimer, 3, &off, NULL));
	REPORT(alarm(1000));
	unsigned left = alarm(0);
	CHECK(left > 900 && left <= 1000);
	REPORT(alarm(0));
	/* Blocked but for the wait: it may be over before that begins. */
	sigset_t set, before;
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_BLOCK, &set, &before);
	seen = 0;
	REPORT(alarm(1));
	REPORT(sigsuspend(&before));
	sigprocmask(SIG_SETMASK, &before, NULL);
	printf("alarm: %d\n", seen);
}

static volatile unsigned long work;

static void cpu_timers(void)
{
	struct itimerval each = {{0, 10000}, {0, 10000}}, off = {{0, 0}, {0, 0}};
	static const int which[] = {ITIMER_VIRTUAL, ITIMER_PROF};
	static const int signals[] = {SIGVTALRM, SIGPROF};
	struct timespec before, after;

	for (int i = 0; i < 2; i++) {
		on(signals[i]);
		NEED(!setitimer((__itimer_which_t)which[i], &each, NULL));
		while (seen < 3)
			work++;
		NEED(!setitimer((__itimer_which_t)which[i], &off, NULL));
		printf("timer %d: signal %d, code %d\n", which[i], last.si_signo, last.si_code);
	}
	NEED(!clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before));
	for (int i = 0; i < 30000000; i++)
		work++;
	NEED(!clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after));
	CHECK(after.tv_sec > before.tv_sec || after.tv_nsec - before.tv_nsec > 1000000);
}

static long long monotonic_ns(void)
{
	struct timespec t;

	NEED(!clock_gettime(CLOCK_MONOTONIC, &t));
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Blocked signals: one waits, the others are counted. */
static void overruns(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	struct itimerspec each = {{0, 1000000}, {0, 1000000}}, now;
	struct timespec ms50 = {0, 50000000};
	long long start;
	sigset_t set;
	siginfo_t info;
	timer_t timer;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	event.sigev_value.sival_ptr = &timer;
	NEED(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	start = monotonic_ns();
	NEED(!timer_settime(timer, 0, &each, NULL));
	nanosleep(&ms50, NULL);
	NEED(sigwaitinfo(&set, &info) == SIGRTMIN);
	CHECK(info.si_overrun >= 30);
	CHECK(info.si_overrun <= (monotonic_ns() - start) / 1000000);
	CHECK(timer_getoverrun(timer) == info.si_overrun);
	CHECK(info.si_value.sival_ptr == &timer && info.si_code == SI_TIMER);
	NEED(!timer_gettime(timer, &now));
	CHECK(now.it_interval.tv_nsec == 1000000 && now.it_value.tv_nsec <= 1000000);
	NEED(!timer_delete(timer));
	REPORT(timer_delete(timer) == -1 && errno == EINVAL);
	while (sigtimedwait(&set, &info, &(struct timespec){0, 0}) > 0)
		continue;
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void absolute(clockid_t clock)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct itimerspec at = {{0, 0}, {0, 0}}, left;
	struct timespec end;
	timer_t timer;

	on(SIGUSR1);
	NEED(!timer_create(clock, &event, &timer));
	NEED(!clock_gettime(clock, &at.it_value));
	at.it_value.tv_nsec += 20000000;
	if (at.it_value.tv_nsec >= 1000000000) {
		at.it_value.tv_nsec -= 1000000000;
		at.it_value.tv_sec++;
	}
	NEED(!timer_settime(timer, TIMER_ABSTIME, &at, NULL));
	if (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID)
		while (!seen)
			work++;
	else
		until_seen(1);
	NEED(!clock_gettime(clock, &end));
	printf("clock %d: not before %d", clock,
	       end.tv_sec > at.it_value.tv_sec || (end.tv_sec == at.it_value.tv_sec &&
						   end.tv_nsec >= at.it_value.tv_nsec));
	NEED(!timer_gettime(timer, &left));
	printf(", then %ld %ld\n", left.it_value.tv_sec, left.it_value.tv_nsec);
	/* In the past: at once. */
	seen = 0;
	at.it_value = (struct timespec){0, 1};
	NEED(!timer_settime(timer, TIMER_ABSTIME, &at, NULL));
	until_seen(1);
	NEED(!timer_delete(timer));
}

static sem_t called;
static void call(union sigval value)
{
	printf("SIGEV_THREAD: %d\n", value.sival_int);
	sem_post(&called);
}

static void others(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = call};
	struct itimerspec soon = {{0, 0}, {0, 5000000}}, left;
	timer_t timer, none;

	sem_init(&called, 0, 0);
	event.sigev_value.sival_int = 7;
	REPORT(timer_create(CLOCK_MONOTONIC, &event, &timer));
	REPORT(timer_settime(timer, 0, &soon, NULL));
	sem_wait(&called);
	REPORT(timer_delete(timer));
	event = (struct sigevent){.sigev_notify = SIGEV_NONE};
	REPORT(timer_create(CLOCK_REALTIME, &event, &none));
	soon.it_value.tv_sec = 1000;
	REPORT(timer_settime(none, 0, &soon, NULL));
	REPORT(timer_gettime(none, &left));
	CHECK(left.it_value.tv_sec >= 900 && left.it_value.tv_sec <= 1000);
	event.sigev_notify = 77;
	REPORT(syscall(SYS_timer_create, CLOCK_REALTIME, &event, &none));
	event = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 0};
	REPORT(syscall(SYS_timer_create, CLOCK_REALTIME, &event, &none));
	REPORT(syscall(SYS_timer_create, CLOCK_MONOTONIC_RAW, NULL, &none));
	REPORT(syscall(SYS_timer_settime, 12345, 0, &soon, NULL));
	REPORT(syscall(SYS_timer_gettime, 12345, &soon));
	REPORT(syscall(SYS_timer_getoverrun, 12345));
}

/* To one thread, by its number. */
static void *worker(void *unused)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
	struct itimerspec soon = {{0, 0}, {0, 5000000}};
	sigset_t set;
	siginfo_t info;
	timer_t timer;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	event._sigev_un._tid = (int)syscall(SYS_gettid);
	NEED(!timer_create(CLOCK_MONOTONIC, &event, &timer));
	NEED(!timer_settime(timer, 0, &soon, NULL));
	NEED(sigwaitinfo(&set, &info) == SIGUSR2);
	printf("to a thread: code %d\n", info.si_code);
	NEED(!timer_delete(timer));
	event._sigev_un._tid = 0x3fffffff;
	REPORT(timer_create(CLOCK_MONOTONIC, &event, &timer));
	return unused;
}

int main(void)
{
	pthread_t thread;

	interval_timers();
	cpu_timers();
	overruns();
	absolute(CLOCK_REALTIME);
	absolute(CLOCK_MONOTONIC);
	absolute(CLOCK_BOOTTIME);
	absolute(CLOCK_PROCESS_CPUTIME_ID);
	absolute(CLOCK_THREAD_CPUTIME_ID);
	others();
	pthread_create(&thread, NULL, worker, NULL);
	pthread_join(thread, NULL);
	return 0;
}

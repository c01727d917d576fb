/* SPDX-License-Identifier: Apache-2.0 */
/* Timers of program guests: setitimer(2), alarm(2) and timer_create(2). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "signals_fixture.h"

static bool comes(struct sigtest *f, int signo)
{
	for (int i = 0; i < 60000 && !sigtest_pending(f, signo); i++)
		usleep(1000);
	return sigtest_pending(f, signo);
}

static void setitimer_sends_alarms(void **state)
{
	struct sigtest *f = *state;
	struct itimerval value = {.it_value = {0, 5000}, .it_interval = {0, 5000}}, left;

	f->t->sig.mask = SIG_BIT(SIGALRM);
	memcpy(fake_memory(f->p, ARGUMENTS), &value, sizeof(value));
	assert_int_equal(sigtest_call(f, sys_setitimer, ITIMER_REAL, FAKE_VA + ARGUMENTS, 0, 0),
			 0);
	for (int i = 0; i < 3; i++) {
		assert_true(comes(f, SIGALRM));
		assert_int_equal(sigtest_take(f), SIGALRM);
	}
	assert_int_equal(sigtest_call(f, sys_getitimer, ITIMER_REAL, FAKE_VA + RESULTS, 0, 0),
			 0);
	memcpy(&left, fake_memory(f->p, RESULTS), sizeof(left));
	assert_int_equal(left.it_interval.tv_usec, 5000);
	assert_in_range(left.it_value.tv_usec, 1, 5000);
	assert_int_equal(sigtest_call(f, sys_alarm, 1000, 0, 0, 0), 1);
	assert_in_range(sigtest_call(f, sys_alarm, 0, 0, 0, 0), 900, 1000);
	assert_int_equal(sigtest_call(f, sys_alarm, 0, 0, 0, 0), 0);
	assert_int_equal(sigtest_call(f, sys_setitimer, 3, FAKE_VA + ARGUMENTS, 0, 0), -EINVAL);
}

/* Gives its id. */
static int create_timer(struct sigtest *f, int signo, uint64_t value)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signo};
	int id;

	event.sigev_value.sival_ptr = (void *)(uintptr_t)value;
	memcpy(fake_memory(f->p, ARGUMENTS), &event, sizeof(event));
	assert_int_equal(sigtest_call(f, sys_timer_create, CLOCK_MONOTONIC, FAKE_VA + ARGUMENTS,
				      FAKE_VA + RESULTS, 0),
			 0);
	memcpy(&id, fake_memory(f->p, RESULTS), sizeof(id));
	return id;
}

static void start_timer(struct sigtest *f, int id, long value, long interval)
{
	struct itimerspec spec = {.it_value.tv_nsec = value, .it_interval.tv_nsec = interval};

	memcpy(fake_memory(f->p, ARGUMENTS), &spec, sizeof(spec));
	assert_int_equal(
		sigtest_call(f, sys_timer_settime, (uint64_t)id, 0, FAKE_VA + ARGUMENTS, 0), 0);
}

static void a_timer_counts_what_it_missed(void **state)
{
	struct sigtest *f = *state;
	int id = create_timer(f, 40, 0xabcdef);
	struct guest_siginfo info;

	uint64_t start = clock_now();

	f->t->sig.mask = SIG_BIT(40);
	start_timer(f, id, 1000000, 1000000);
	usleep(30000);
	assert_true(comes(f, 40));
	assert_int_equal(sigtest_queued(f), 1);
	assert_true(signal_take(f->t, SIG_BIT(40), &info));
	assert_int_equal(info.code, SI_TIMER);
	assert_int_equal(info.timer.id, id);
	assert_int_equal(info.timer.value, 0xabcdef);
	assert_in_range(info.timer.overrun, 20, (clock_now() - start) / 1000000);
	assert_int_equal(sigtest_call(f, sys_timer_getoverrun, (uint64_t)id, 0, 0, 0),
			 info.timer.overrun);
	/* And it goes on. */
	assert_true(comes(f, 40));
}

static void a_deleted_timer_takes_its_signal_back(void **state)
{
	struct sigtest *f = *state;
	int id = create_timer(f, 40, 1);

	f->t->sig.mask = SIG_BIT(40);
	start_timer(f, id, 1000, 0);
	assert_true(comes(f, 40));
	assert_int_equal(sigtest_call(f, sys_timer_delete, (uint64_t)id, 0, 0, 0), 0);
	assert_false(sigtest_pending(f, 40));
	assert_int_equal(sigtest_call(f, sys_timer_delete, (uint64_t)id, 0, 0, 0), -EINVAL);
}

static void setting_a_timer_again_and_again_fills_no_queue(void **state)
{
	struct sigtest *f = *state;
	int id = create_timer(f, 40, 1);

	f->t->sig.mask = SIG_BIT(40);
	for (int i = 0; i < 50; i++) {
		start_timer(f, id, 1, 0);
		usleep(500);
		assert_true(sigtest_queued(f) <= 1);
	}
}

static void a_timer_whose_signal_is_ignored_goes_on(void **state)
{
	struct sigtest *f = *state;
	int id = create_timer(f, 40, 1);

	f->t->sig.mask = SIG_BIT(40);
	start_timer(f, id, 1000000, 1000000);
	assert_true(comes(f, 40));
	sigtest_set_handler(f, 40, 1);
	assert_false(sigtest_pending(f, 40));
	sigtest_set_handler(f, 40, HANDLER);
	assert_true(comes(f, 40));
}

static void timers_are_bounded(void **state)
{
	struct sigtest *f = *state;
	int64_t r = 0;
	int n = 0;

	while (n < 10000 && !r) {
		r = sigtest_call(f, sys_timer_create, CLOCK_MONOTONIC, 0, FAKE_VA + RESULTS, 0);
		n += !r;
	}
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(n, 128);
}

static void timers_check_their_arguments(void **state)
{
	struct sigtest *f = *state;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65};
	const uint64_t at = FAKE_VA + ARGUMENTS, out = FAKE_VA + RESULTS;

	memcpy(fake_memory(f->p, ARGUMENTS), &event, sizeof(event));
	assert_int_equal(sigtest_call(f, sys_timer_create, CLOCK_MONOTONIC, at, out, 0),
			 -EINVAL);
	assert_int_equal(sigtest_call(f, sys_timer_create, 99, 0, out, 0), -EINVAL);
	assert_int_equal(sigtest_call(f, sys_timer_create, CLOCK_MONOTONIC_RAW, 0, out, 0),
			 -EOPNOTSUPP);
	assert_int_equal(sigtest_call(f, sys_timer_create, CLOCK_MONOTONIC, FAKE_WILD, out, 0),
			 -EFAULT);
	assert_int_equal(sigtest_call(f, sys_timer_create, CLOCK_MONOTONIC, 0, FAKE_WILD, 0),
			 -EFAULT);
	assert_int_equal(sigtest_call(f, sys_timer_settime, 0, 0, at, 0), -EINVAL);
	assert_int_equal(sigtest_call(f, sys_timer_gettime, 1u << 31, out, 0, 0), -EINVAL);
	assert_int_equal(sigtest_call(f, sys_timer_getoverrun, (uint64_t)-1, 0, 0, 0), -EINVAL);
}

static void a_timer_without_signal_tells_the_time(void **state)
{
	struct sigtest *f = *state;
	struct sigevent event = {.sigev_notify = SIGEV_NONE};
	struct itimerspec spec = {.it_value.tv_nsec = 1000, .it_interval.tv_sec = 1000}, left;

	memcpy(fake_memory(f->p, ARGUMENTS), &event, sizeof(event));
	assert_int_equal(sigtest_call(f, sys_timer_create, CLOCK_MONOTONIC, FAKE_VA + ARGUMENTS,
				      FAKE_VA + RESULTS, 0),
			 0);
	memcpy(fake_memory(f->p, ARGUMENTS), &spec, sizeof(spec));
	assert_int_equal(sigtest_call(f, sys_timer_settime, 0, 0, FAKE_VA + ARGUMENTS, 0), 0);
	usleep(2000);
	assert_int_equal(sigtest_call(f, sys_timer_gettime, 0, FAKE_VA + RESULTS, 0, 0), 0);
	memcpy(&left, fake_memory(f->p, RESULTS), sizeof(left));
	assert_in_range(left.it_value.tv_sec, 900, 1000);
	assert_int_equal(left.it_interval.tv_sec, 1000);
	assert_int_equal(signal_pending_set(f->t), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, sigtest_set_up, sigtest_tear_down)
	const struct CMUnitTest tests[] = {
		T(setitimer_sends_alarms),
		T(a_timer_counts_what_it_missed),
		T(a_deleted_timer_takes_its_signal_back),
		T(setting_a_timer_again_and_again_fills_no_queue),
		T(a_timer_whose_signal_is_ignored_goes_on),
		T(timers_are_bounded),
		T(timers_check_their_arguments),
		T(a_timer_without_signal_tells_the_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

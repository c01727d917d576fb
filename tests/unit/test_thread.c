/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the library's own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <semaphore.h>
#include <signal.h>

#include "core/thread.h"

static sem_t done;

static void *note_mask(void *mask)
{
	pthread_sigmask(SIG_SETMASK, NULL, mask);
	sem_post(&done);
	return NULL;
}

static void a_thread_has_all_signals_blocked_and_the_caller_none_more(void **state)
{
	sigset_t before, inside, after;
	pthread_t thread;

	(void)state;
	sigemptyset(&inside);
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	assert_int_equal(thread_start(&thread, 0, note_mask, &inside), 0);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_int_equal(pthread_join(thread, NULL), 0);
	sem_wait(&done);
	for (int signal = 1; signal < SIGSYS; signal++) {
		assert_int_equal(sigismember(&before, signal), sigismember(&after, signal));
		if (signal != SIGKILL && signal != SIGSTOP)
			assert_true(sigismember(&inside, signal));
	}
}

static void a_thread_that_nobody_joins_runs_too(void **state)
{
	sigset_t inside;

	(void)state;
	assert_int_equal(thread_start(NULL, (size_t)64 << 10, note_mask, &inside), 0);
	sem_wait(&done);
	assert_true(sigismember(&inside, SIGTERM));
}

static void a_stack_that_cannot_be_is_an_error(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(thread_start(&thread, 1, note_mask, NULL), EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thread_has_all_signals_blocked_and_the_caller_none_more),
		cmocka_unit_test(a_thread_that_nobody_joins_runs_too),
		cmocka_unit_test(a_stack_that_cannot_be_is_an_error),
	};
	int failed;

	sem_init(&done, 0, 0);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	sem_destroy(&done);
	return failed;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlines. Nothing is said here of how late one may be noticed: a test waits as long as it takes, and
 * only a hang ends it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/watchdog.h"

#define MS 1000000u
#define SOME 8
#define HANG_SECONDS 60

struct watched {
	struct watchdog_entry entry; /* first */
	uint64_t next;		     /* what expired() gives */
	uint32_t fired;		     /* atomic */
	uint32_t order;		     /* when, among all */
	uint64_t early;		     /* atomic: called before its deadline */
	bool inside, hold;	     /* atomic */
};

static uint32_t order;
static struct watched watched[SOME];

static uint64_t expired(struct watchdog_entry *entry, uint64_t now)
{
	struct watched *w = (struct watched *)entry;
	uint64_t next = w->next;

	if (now < __atomic_load_n(&entry->deadline, __ATOMIC_SEQ_CST))
		__atomic_add_fetch(&w->early, 1, __ATOMIC_SEQ_CST);
	w->order = __atomic_add_fetch(&order, 1, __ATOMIC_SEQ_CST);
	w->next = WATCHDOG_NEVER;
	__atomic_store_n(&w->inside, true, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&w->hold, __ATOMIC_SEQ_CST))
		sched_yield();
	__atomic_store_n(&w->inside, false, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&w->fired, 1, __ATOMIC_SEQ_CST);
	return next;
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = MS}, NULL);
}

static uint32_t fired(size_t i)
{
	return __atomic_load_n(&watched[i].fired, __ATOMIC_SEQ_CST);
}

static void wait_for(size_t i, uint32_t times)
{
	while (fired(i) < times)
		nap();
}

static int setup(void **state)
{
	(void)state;
	alarm(HANG_SECONDS);
	order = 0;
	memset(watched, 0, sizeof(watched));
	for (size_t i = 0; i < SOME; i++) {
		watched[i].entry.expired = expired;
		watched[i].next = WATCHDOG_NEVER;
		if (watchdog_add(&watched[i].entry, NULL) < 0)
			return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < SOME; i++)
		watchdog_remove(&watched[i].entry);
	alarm(0);
	return 0;
}

static void passed_deadline_is_noticed(void **state)
{
	(void)state;
	watchdog_arm(&watched[0].entry, 1);
	wait_for(0, 1);
}

static void deadline_is_noticed_once_and_not_before_it_has_passed(void **state)
{
	(void)state;
	watchdog_arm(&watched[0].entry, clock_now() + 20 * MS);
	wait_for(0, 1);
	watchdog_arm(&watched[1].entry, clock_now() + 2 * MS);
	wait_for(1, 1); /* the thread looked again meanwhile */
	assert_int_equal(fired(0), 1);
	assert_int_equal(watched[0].early + watched[1].early, 0);
}

static void earlier_deadline_armed_later_comes_first(void **state)
{
	uint64_t now = clock_now();

	(void)state;
	watchdog_arm(&watched[0].entry, now + 400 * MS);
	watchdog_arm(&watched[1].entry, now + 200 * MS);
	watchdog_arm(&watched[2].entry, now + 1 * MS);
	for (size_t i = 0; i < 3; i++)
		wait_for(i, 1);
	/* If this thread was held up for so long that all were due at once, order means nothing. */
	if (watched[2].order > watched[0].order || watched[1].order > watched[0].order)
		assert_true(clock_now() > now + 400 * MS);
	else
		assert_true(watched[2].order < watched[0].order);
}

static void deadline_that_the_callback_gives_is_kept(void **state)
{
	(void)state;
	watched[0].next = clock_now() + 5 * MS;
	watchdog_arm(&watched[0].entry, 1);
	wait_for(0, 2);
	assert_int_equal(watched[0].early, 0);
}

static void disarmed_deadline_does_not_fire(void **state)
{
	uint64_t now = clock_now();

	(void)state;
	watchdog_arm(&watched[0].entry, now + (uint64_t)3600 * 1000 * MS);
	watchdog_disarm(&watched[0].entry);
	watchdog_arm(&watched[1].entry, 1);
	wait_for(1, 1);
	assert_int_equal(fired(0), 0);
}

/* Armed anew while its callback runs: the new deadline holds, not what the callback gives. */
static void rearming_while_firing_wins(void **state)
{
	struct watched *w = &watched[0];

	(void)state;
	__atomic_store_n(&w->hold, true, __ATOMIC_SEQ_CST);
	watchdog_arm(&w->entry, 1);
	while (!__atomic_load_n(&w->inside, __ATOMIC_SEQ_CST))
		nap();
	/* watchdog_arm() may wait for the thread's lock, so only the deadline is stored here. */
	__atomic_store_n(&w->entry.deadline, (uint64_t)2, __ATOMIC_SEQ_CST);
	__atomic_store_n(&w->hold, false, __ATOMIC_SEQ_CST);
	wait_for(0, 2);
}

static void *remove_first(void *done)
{
	watchdog_remove(&watched[0].entry);
	__atomic_store_n((bool *)done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void removing_waits_for_the_callback(void **state)
{
	struct watched *w = &watched[0];
	pthread_t thread;
	bool done = false;

	(void)state;
	__atomic_store_n(&w->hold, true, __ATOMIC_SEQ_CST);
	watchdog_arm(&w->entry, 1);
	while (!__atomic_load_n(&w->inside, __ATOMIC_SEQ_CST))
		nap();
	assert_int_equal(pthread_create(&thread, NULL, remove_first, &done), 0);
	for (int i = 0; i < 20; i++)
		nap();
	assert_false(__atomic_load_n(&done, __ATOMIC_SEQ_CST));
	__atomic_store_n(&w->hold, false, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	assert_int_equal(fired(0), 1);
	assert_false(w->inside);
	/* For teardown. */
	assert_int_equal(watchdog_add(&w->entry, NULL), 0);
}

static void entries_can_be_removed_from_any_place_of_the_list(void **state)
{
	static const size_t places[] = {0, SOME - 1, 3};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		watchdog_remove(&watched[places[i]].entry);
		watchdog_arm(&watched[1].entry, 1);
		wait_for(1, (uint32_t)i + 1);
	}
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(watchdog_add(&watched[places[i]].entry, NULL), 0);
	for (size_t i = 0; i < SOME; i++)
		watchdog_arm(&watched[i].entry, 1);
	for (size_t i = 0; i < SOME; i++)
		wait_for(i, i == 1 ? 4 : 1);
}

/* Every deadline armed by a storm of threads is noticed. */
static void *storm(void *arg)
{
	struct watched *w = arg;

	for (uint32_t i = 0; i < 50; i++) {
		watchdog_arm(&w->entry, clock_now() + (i % 3) * MS / 4);
		while (__atomic_load_n(&w->fired, __ATOMIC_SEQ_CST) <= i)
			sched_yield();
	}
	return NULL;
}

static void no_deadline_is_lost_among_threads(void **state)
{
	pthread_t threads[SOME];

	(void)state;
	for (size_t i = 0; i < SOME; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, storm, &watched[i]), 0);
	for (size_t i = 0; i < SOME; i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < SOME; i++)
		assert_int_equal(fired(i), 50);
}

/* The thread is not there in a child: a new one is started. */
static void deadlines_work_in_a_forked_child(void **state)
{
	int status = 0;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		static struct watched w = {.entry = {.expired = expired},
					   .next = WATCHDOG_NEVER};

		alarm(HANG_SECONDS);
		if (watchdog_add(&w.entry, NULL) < 0)
			_exit(1);
		watchdog_arm(&w.entry, 1);
		while (!__atomic_load_n(&w.fired, __ATOMIC_SEQ_CST))
			nap();
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(passed_deadline_is_noticed),
		TEST(deadline_is_noticed_once_and_not_before_it_has_passed),
		TEST(earlier_deadline_armed_later_comes_first),
		TEST(deadline_that_the_callback_gives_is_kept),
		TEST(disarmed_deadline_does_not_fire),
		TEST(rearming_while_firing_wins),
		TEST(removing_waits_for_the_callback),
		TEST(entries_can_be_removed_from_any_place_of_the_list),
		TEST(no_deadline_is_lost_among_threads),
		TEST(deadlines_work_in_a_forked_child),
	};

	return cmocka_run_group_tests_name("watchdog", tests, NULL, NULL);
}

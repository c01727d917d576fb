/* SPDX-License-Identifier: Apache-2.0 */
#include "core/watchdog.h"

#include <pthread.h>

#include "core/clock.h"
#include "core/thread.h"

static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool running;
	struct watchdog_entry *entries;
	uint64_t next; /* when the thread will look again at the latest; atomic */
} dog = {.lock = PTHREAD_MUTEX_INITIALIZER, .next = WATCHDOG_NEVER};

/* The earliest deadline, after calling those that have passed. */
static uint64_t scan(uint64_t now)
{
	uint64_t earliest = WATCHDOG_NEVER;

	for (struct watchdog_entry *e = dog.entries; e; e = e->next) {
		uint64_t deadline = __atomic_load_n(&e->deadline, __ATOMIC_SEQ_CST);

		if (deadline <= now) {
			uint64_t later = e->expired(e, now);

			/* Unless it was armed anew meanwhile. */
			if (__atomic_compare_exchange_n(&e->deadline, &deadline, later, false,
							__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
				deadline = later;
		}
		if (deadline < earliest)
			earliest = deadline;
	}
	return earliest;
}

static void sleep_until(uint64_t when)
{
	struct timespec t = clock_timespec(when);

	if (when == WATCHDOG_NEVER)
		pthread_cond_wait(&dog.wake, &dog.lock);
	else
		pthread_cond_timedwait(&dog.wake, &dog.lock, &t);
}

static void *run(void *unused)
{
	(void)unused;
	pthread_mutex_lock(&dog.lock);
	for (;;) {
		uint64_t earliest;

		/*
		 * First claim to sleep for ever, then look: whoever arms a deadline that the
		 * look misses sees the claim and takes the lock to wake us.
		 */
		__atomic_store_n(&dog.next, WATCHDOG_NEVER, __ATOMIC_SEQ_CST);
		earliest = scan(clock_now());
		__atomic_store_n(&dog.next, earliest, __ATOMIC_SEQ_CST);
		if (earliest > clock_now())
			sleep_until(earliest);
	}
	return NULL;
}

/* A forked child has no thread, and no sandbox that could be run. */
static void forget_in_child(void)
{
	pthread_mutex_init(&dog.lock, NULL);
	dog.running = false;
	dog.entries = NULL;
	dog.next = WATCHDOG_NEVER;
}

/* With the lock held. */
static int start(mayfly_error *err)
{
	static bool once;
	pthread_condattr_t attr;
	int r;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&dog.wake, &attr);
	pthread_condattr_destroy(&attr);
	if (!once)
		pthread_atfork(NULL, NULL, forget_in_child);
	once = true;
	r = thread_start(NULL, 0, run, NULL);
	if (r)
		return fail_errno(err, MAYFLY_E_NOMEM, r,
				  "starting the thread that keeps time limits");
	dog.running = true;
	return 0;
}

int watchdog_add(struct watchdog_entry *entry, mayfly_error *err)
{
	int r = 0;

	entry->deadline = WATCHDOG_NEVER;
	pthread_mutex_lock(&dog.lock);
	if (!dog.running)
		r = start(err);
	if (r == 0) {
		entry->prev = NULL;
		entry->next = dog.entries;
		if (dog.entries)
			dog.entries->prev = entry;
		dog.entries = entry;
	}
	pthread_mutex_unlock(&dog.lock);
	return r;
}

void watchdog_remove(struct watchdog_entry *entry)
{
	pthread_mutex_lock(&dog.lock);
	if (entry->prev)
		entry->prev->next = entry->next;
	else if (dog.entries == entry)
		dog.entries = entry->next;
	if (entry->next)
		entry->next->prev = entry->prev;
	pthread_mutex_unlock(&dog.lock);
}

void watchdog_arm(struct watchdog_entry *entry, uint64_t deadline)
{
	__atomic_store_n(&entry->deadline, deadline, __ATOMIC_SEQ_CST);
	if (deadline >= __atomic_load_n(&dog.next, __ATOMIC_SEQ_CST))
		return;
	pthread_mutex_lock(&dog.lock);
	if (deadline < dog.next)
		__atomic_store_n(&dog.next, deadline, __ATOMIC_SEQ_CST);
	pthread_cond_signal(&dog.wake);
	pthread_mutex_unlock(&dog.lock);
}

void watchdog_disarm(struct watchdog_entry *entry)
{
	__atomic_store_n(&entry->deadline, WATCHDOG_NEVER, __ATOMIC_SEQ_CST);
}

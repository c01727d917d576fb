/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX threads: each kind of lock, waiting with time limits, cancellation, thread-local data. */
#include <pthread.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

#define THREADS 8
#define ROUNDS 5000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_spinlock_t spin;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t semaphore;
static long by_mutex, by_spin, by_rwlock, turn;
static __thread long mine = 7;
static pthread_key_t key;
static int destroyed;

static void destroy(void *value)
{
	__atomic_fetch_add(&destroyed, (int)(long)value, __ATOMIC_SEQ_CST);
}

static void *count(void *argument)
{
	pthread_setspecific(key, (void *)1L);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&mutex);
		by_mutex++;
		pthread_mutex_unlock(&mutex);
		if (i % 10)
			continue;
		pthread_spin_lock(&spin);
		by_spin++;
		pthread_spin_unlock(&spin);
		pthread_rwlock_wrlock(&rwlock);
		by_rwlock++;
		pthread_rwlock_unlock(&rwlock);
	}
	mine += (long)argument;
	pthread_barrier_wait(&barrier);
	return (void *)mine;
}

static void *take_turns(void *argument)
{
	for (int i = 0; i < 100; i++) {
		pthread_mutex_lock(&mutex);
		while (turn % THREADS != (long)argument)
			pthread_cond_wait(&changed, &mutex);
		turn++;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&mutex);
	}
	sem_post(&semaphore);
	return NULL;
}

static void all(void *(*function)(void *), const char *name)
{
	pthread_t threads[THREADS];
	long sum = 0;
	void *value;

	for (long i = 0; i < THREADS; i++)
		NEED(!pthread_create(&threads[i], NULL, function, (void *)i));
	for (int i = 0; i < THREADS; i++) {
		NEED(!pthread_join(threads[i], &value));
		sum += (long)value;
	}
	printf("%s: %ld\n", name, sum);
}

static struct timespec in_ms(clockid_t clock, long ms)
{
	struct timespec t;

	clock_gettime(clock, &t);
	t.tv_nsec += ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

static void *lock_and_die(void *argument)
{
	pthread_mutex_lock(argument);
	return NULL;
}

static void *sleep_long(void *argument)
{
	(void)argument;
	sleep(1000);
	return NULL;
}

static void *spin_until_cancelled(void *argument)
{
	(void)argument;
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;)
		;
	return NULL;
}

static void time_limits(void)
{
	struct timespec soon = in_ms(CLOCK_REALTIME, 20);
	pthread_mutex_t timed = PTHREAD_MUTEX_INITIALIZER;
	pthread_mutexattr_t attributes;
	sem_t empty;

	pthread_mutex_lock(&timed);
	printf("timed lock: %s\n", error_name(pthread_mutex_timedlock(&timed, &soon)));
	pthread_mutex_lock(&mutex);
	soon = in_ms(CLOCK_REALTIME, 20);
	printf("timed wait: %s\n", error_name(pthread_cond_timedwait(&changed, &mutex, &soon)));
	pthread_mutex_unlock(&mutex);
	sem_init(&empty, 0, 0);
	soon = in_ms(CLOCK_REALTIME, 20);
	REPORT(sem_timedwait(&empty, &soon));
	REPORT(sem_trywait(&empty));
	pthread_rwlock_rdlock(&rwlock);
	soon = in_ms(CLOCK_REALTIME, 20);
	printf("timed write lock: %s\n",
	       error_name(pthread_rwlock_timedwrlock(&rwlock, &soon)));
	pthread_rwlock_unlock(&rwlock);

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&timed, &attributes);
	pthread_mutex_lock(&timed);
	printf("twice: %s\n", error_name(pthread_mutex_lock(&timed)));
}

static pthread_mutex_t owned;
static long by_owned;

static void *count_owned(void *argument)
{
	struct timespec soon;

	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&owned);
		by_owned++;
		if (i % 500 == (long)argument)
			usleep(100);
		pthread_mutex_unlock(&owned);
	}
	if (!pthread_mutex_trylock(&owned))
		pthread_mutex_unlock(&owned);
	pthread_barrier_wait(&barrier);
	if (argument) {
		long result;

		pthread_barrier_wait(&barrier);
		soon = in_ms(CLOCK_REALTIME, 30);
		result = pthread_mutex_timedlock(&owned, &soon);
		pthread_barrier_wait(&barrier);
		return (void *)result;
	}
	pthread_mutex_lock(&owned);
	pthread_barrier_wait(&barrier);
	/* Held until the others' time limits are over. */
	pthread_barrier_wait(&barrier);
	pthread_mutex_unlock(&owned);
	return NULL;
}

/* Locks whose word holds their owner. */
static void owners(void)
{
	pthread_mutexattr_t attributes;

	pthread_mutexattr_init(&attributes);
	NEED(!pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT));
	pthread_mutex_init(&owned, &attributes);
	all(count_owned, "results of 7 that were too late");
	printf("counted %ld, last state %d\n", by_owned, pthread_mutex_trylock(&owned));
}

static void robust(void)
{
	pthread_mutexattr_t attributes;
	pthread_mutex_t lock;
	pthread_t thread;

	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&lock, &attributes);
	NEED(!pthread_create(&thread, NULL, lock_and_die, &lock));
	pthread_join(thread, NULL);
	printf("owner died: %s\n", error_name(pthread_mutex_lock(&lock)));
	printf("consistent: %d\n", pthread_mutex_consistent(&lock));
	pthread_mutex_unlock(&lock);
	printf("again: %d\n", pthread_mutex_lock(&lock));

	pthread_mutexattr_init(&attributes);
	if (!pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT)) {
		pthread_mutex_init(&lock, &attributes);
		printf("priority inheritance: %d\n", pthread_mutex_lock(&lock));
		pthread_mutex_unlock(&lock);
	}
}

static void cancellation(void)
{
	void *(*functions[])(void *) = {sleep_long, spin_until_cancelled};
	pthread_attr_t attributes;
	pthread_t thread;
	void *value;

	for (size_t i = 0; i < 2; i++) {
		NEED(!pthread_create(&thread, NULL, functions[i], NULL));
		usleep(20000);
		pthread_cancel(thread);
		pthread_join(thread, &value);
		printf("cancelled: %s\n", value == PTHREAD_CANCELED ? "yes" : "no");
	}
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 16 << 20);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	for (long i = 0; i < THREADS; i++)
		NEED(!pthread_create(&thread, &attributes, take_turns, (void *)i));
	for (int i = 0; i < THREADS; i++)
		sem_wait(&semaphore);
	printf("detached: %ld turns\n", turn);
}

static void many(void)
{
	pthread_t thread;

	for (int i = 0; i < 1000; i++) {
		NEED(!pthread_create(&thread, NULL, lock_and_die, &mutex));
		pthread_join(thread, NULL);
		NEED(pthread_mutex_trylock(&mutex) == EBUSY);
		/* The owner is gone, so this is undefined for POSIX; a futex does not care. */
		memset(&mutex, 0, sizeof(mutex));
	}
	printf("a thousand, one after the other\n");
}

int main(void)
{
	pthread_barrier_init(&barrier, NULL, THREADS);
	pthread_spin_init(&spin, 0);
	sem_init(&semaphore, 0, 0);
	pthread_key_create(&key, destroy);
	all(count, "counted");
	printf("%ld %ld %ld, own %ld, destroyed %d\n", by_mutex, by_spin, by_rwlock, mine,
	       destroyed);
	all(take_turns, "turns");
	for (int i = 0; i < THREADS; i++)
		sem_wait(&semaphore);
	printf("%ld turns\n", turn);
	turn = 0;
	time_limits();
	robust();
	owners();
	cancellation();
	many();
	return 0;
}

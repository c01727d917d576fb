/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads that begin, wait for each other, are signalled, cancelled, and end, at once. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "report.h"

#define WAVES 40
#define WAVE 24

static __thread int own[100];
static __thread int own_set = 5;

static void *brief(void *argument)
{
	long n = (long)argument, bad = own_set != 5;

	for (int i = 0; i < 100; i++)
		bad += own[i] != 0;
	for (int i = 0; i < 100; i++)
		own[i] = (int)n + i;
	own_set = (int)n;
	if (n % 3 == 0)
		sched_yield();
	for (int i = 0; i < 100; i++)
		bad += own[i] != (int)n + i;
	return (void *)bad;
}

/* Waves of short threads, joined in odd orders. */
static void waves(void)
{
	long bad = 0;

	for (int wave = 0; wave < WAVES; wave++) {
		pthread_t threads[WAVE];
		void *value;

		for (long i = 0; i < WAVE; i++)
			NEED(!pthread_create(&threads[i], NULL, brief, (void *)i));
		for (int i = 0; i < WAVE; i++) {
			pthread_join(threads[i * 7 % WAVE], &value);
			bad += (long)value;
		}
	}
	printf("threads whose own data was wrong: %ld\n", bad);
}

/* --- Queue -------------------------------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER;
static pthread_cond_t not_full = PTHREAD_COND_INITIALIZER;
static long queue[8], head, tail;

static void put(long value)
{
	pthread_mutex_lock(&lock);
	while (head - tail == 8)
		pthread_cond_wait(&not_full, &lock);
	queue[head++ % 8] = value;
	pthread_cond_signal(&not_empty);
	pthread_mutex_unlock(&lock);
}

static long take(void)
{
	long value;

	pthread_mutex_lock(&lock);
	while (head == tail)
		pthread_cond_wait(&not_empty, &lock);
	value = queue[tail++ % 8];
	pthread_cond_signal(&not_full);
	pthread_mutex_unlock(&lock);
	return value;
}

static void *producer(void *argument)
{
	for (long i = 1; i <= 2000; i++)
		put(i);
	return argument;
}

static void *consumer(void *argument)
{
	long sum = 0, value;

	(void)argument;
	while ((value = take()))
		sum += value;
	return (void *)sum;
}

static void producers_and_consumers(void)
{
	pthread_t producers[4], consumers[4];
	long sum = 0;
	void *value;

	for (int i = 0; i < 4; i++) {
		NEED(!pthread_create(&producers[i], NULL, producer, NULL));
		NEED(!pthread_create(&consumers[i], NULL, consumer, NULL));
	}
	for (int i = 0; i < 4; i++)
		pthread_join(producers[i], NULL);
	for (int i = 0; i < 4; i++)
		put(0);
	for (int i = 0; i < 4; i++) {
		pthread_join(consumers[i], &value);
		sum += (long)value;
	}
	printf("taken: %ld\n", sum);
}

/* --- Barrier, readers and writers --------------------------------------------------------- */

static pthread_barrier_t barrier;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static long phase[6], first, second;

static void *in_step(void *argument)
{
	long me = (long)argument, bad = 0;

	for (long i = 0; i < 300; i++) {
		phase[me] = i;
		pthread_barrier_wait(&barrier);
		for (int j = 0; j < 6; j++)
			bad += phase[j] != i;
		pthread_barrier_wait(&barrier);
	}
	return (void *)bad;
}

static void *read_or_write(void *argument)
{
	long bad = 0;

	for (int i = 0; i < 2000; i++) {
		if ((long)argument < 2) {
			pthread_rwlock_wrlock(&rwlock);
			first++;
			second++;
		} else {
			pthread_rwlock_rdlock(&rwlock);
			bad += first != second;
		}
		pthread_rwlock_unlock(&rwlock);
	}
	return (void *)bad;
}

static void six(void *(*function)(void *), const char *what)
{
	pthread_t threads[6];
	long bad = 0;
	void *value;

	for (long i = 0; i < 6; i++)
		NEED(!pthread_create(&threads[i], NULL, function, (void *)i));
	for (int i = 0; i < 6; i++) {
		pthread_join(threads[i], &value);
		bad += (long)value;
	}
	printf("%s: %ld\n", what, bad);
}

/* --- Signals and cancellation ------------------------------------------------------------- */

static volatile int handled, wrong_thread;
static __thread volatile int awaited;
static sem_t ready;

static void handler(int signal)
{
	(void)signal;
	if (!awaited)
		__atomic_fetch_add(&wrong_thread, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&handled, 1, __ATOMIC_SEQ_CST);
}

static void *signalled(void *argument)
{
	volatile int *stop = argument;

	awaited = 1;
	sem_post(&ready);
	while (!__atomic_load_n(stop, __ATOMIC_SEQ_CST))
		;
	return NULL;
}

/* To one that only computes: it must be interrupted for them. */
static void signals_to_one(void)
{
	struct sigaction action = {.sa_handler = handler};
	int stop = 0;
	pthread_t thread;

	NEED(!sigaction(SIGUSR1, &action, NULL));
	NEED(!pthread_create(&thread, NULL, signalled, &stop));
	sem_wait(&ready);
	for (int i = 1; i <= 200; i++) {
		NEED(!pthread_kill(thread, SIGUSR1));
		while (__atomic_load_n(&handled, __ATOMIC_SEQ_CST) < i)
			sched_yield();
	}
	__atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	printf("handled: %d, elsewhere %d\n", handled, wrong_thread);
}

static int cleaned;

static void clean(void *argument)
{
	(void)argument;
	__atomic_fetch_add(&cleaned, 1, __ATOMIC_SEQ_CST);
}

static void *wait_in_some_call(void *argument)
{
	static int pipes[2];
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
	sem_t sem;
	char c;

	(void)once;
	pthread_mutex_lock(&mutex);
	if (!pipes[1] && pipe(pipes))
		exit(97);
	pthread_mutex_unlock(&mutex);
	pthread_cleanup_push(clean, NULL);
	sem_post(&ready);
	switch ((long)argument % 4) {
	case 0:
		if (read(pipes[0], &c, 1) < 0)
			exit(96);
		break;
	case 1:
		sem_init(&sem, 0, 0);
		sem_wait(&sem);
		break;
	case 2:
		pthread_mutex_lock(&mutex);
		pthread_cleanup_push((void (*)(void *))(void *)pthread_mutex_unlock, &mutex);
		pthread_cond_wait(&never, &mutex);
		pthread_cleanup_pop(1);
		break;
	default:
		pause();
		break;
	}
	pthread_cleanup_pop(1);
	return NULL;
}

static void cancelled_in_calls(void)
{
	pthread_t threads[16];
	int cancelled = 0;
	void *value;

	for (long i = 0; i < 16; i++)
		NEED(!pthread_create(&threads[i], NULL, wait_in_some_call, (void *)i));
	for (int i = 0; i < 16; i++)
		sem_wait(&ready);
	for (int i = 0; i < 16; i++)
		pthread_cancel(threads[i]);
	for (int i = 0; i < 16; i++) {
		pthread_join(threads[i], &value);
		cancelled += value == PTHREAD_CANCELED;
	}
	printf("cancelled: %d, cleaned up: %d\n", cancelled, cleaned);
}

/* --- The end ------------------------------------------------------------------------------ */

static void *forever(void *argument)
{
	sem_post(&ready);
	if (argument)
		for (;;)
			;
	for (;;)
		pause();
	return NULL;
}

/* exit(3) by a thread that is not the first, while others wait and compute. */
static void *end_all(void *argument)
{
	(void)argument;
	printf("the end\n");
	exit(7);
}

int main(void)
{
	pthread_t thread;

	pthread_barrier_init(&barrier, NULL, 6);
	sem_init(&ready, 0, 0);
	waves();
	producers_and_consumers();
	six(in_step, "out of step");
	six(read_or_write, "torn");
	signals_to_one();
	cancelled_in_calls();
	for (long i = 0; i < 6; i++)
		NEED(!pthread_create(&thread, NULL, forever, (void *)(i % 2)));
	for (int i = 0; i < 6; i++)
		sem_wait(&ready);
	fflush(stdout);
	NEED(!pthread_create(&thread, NULL, end_all, NULL));
	for (;;)
		pause();
}

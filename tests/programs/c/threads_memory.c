/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads and the address space that they share: no CPU may go on with rights that another
 * thread took away, and mappings may come and go under system calls.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "report.h"

#define PAGE 4096UL
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static volatile uint64_t *shared;
static volatile int stop;
static __thread sigjmp_buf back;
static int faults; /* of all threads */

static void fault(int signal)
{
	(void)signal;
	__atomic_fetch_add(&faults, 1, __ATOMIC_SEQ_CST);
	siglongjmp(back, 1);
}

static int faults_now(void)
{
	return __atomic_load_n(&faults, __ATOMIC_SEQ_CST);
}

/* Writes as fast as it can, and begins again after each fault. */
static void *writer(void *argument)
{
	volatile uint64_t *mine = shared + (long)argument * 8;

	while (!stop) {
		if (!sigsetjmp(back, 1)) {
			for (int i = 0; i < 1000 && !stop; i++)
				(*mine)++;
		} else {
			sched_yield();
		}
	}
	return NULL;
}

/* After mprotect(2) is back, nobody writes any more. */
static void rights_are_taken_from_all(void)
{
	pthread_t threads[3];
	int changed = 0;

	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);
	NEED(shared != MAP_FAILED);
	for (long i = 0; i < 3; i++)
		NEED(!pthread_create(&threads[i], NULL, writer, (void *)i));
	for (int round = 0; round < 300; round++) {
		uint64_t before[3];
		int faults_before = faults_now();

		NEED(!mprotect((void *)(uintptr_t)shared, PAGE, PROT_READ));
		for (int i = 0; i < 3; i++)
			before[i] = shared[i * 8];
		for (volatile int i = 0; i < 20000; i++)
			;
		/* Now and then until it has stopped somebody. */
		while (round % 30 == 0 && faults_now() == faults_before)
			sched_yield();
		for (int i = 0; i < 3; i++)
			changed += before[i] != shared[i * 8];
		NEED(!mprotect((void *)(uintptr_t)shared, PAGE, PROT_READ | PROT_WRITE));
		usleep(100);
	}
	/* None may have been kept from its CPU all the time. */
	while (!shared[0] || !shared[8] || !shared[16])
		usleep(100);
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	printf("written while read-only: %d\n", changed);
	CHECK(faults_now() >= 10);
	stop = 0;
	munmap((void *)(uintptr_t)shared, PAGE);
}

/* What is mapped anew is empty, whatever others had there a moment ago. */
static void *remapper(void *argument)
{
	long bad = 0;

	(void)argument;
	for (int i = 0; i < 1000; i++) {
		char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);

		if (p == MAP_FAILED)
			return (void *)-1L;
		for (size_t j = 0; j < 4; j++) {
			bad += p[j * PAGE] != 0;
			p[j * PAGE] = 'x';
		}
		if (i % 3)
			munmap(p, 4 * PAGE);
		else if (munmap(p, 2 * PAGE) || munmap(p + 2 * PAGE, 2 * PAGE))
			bad++;
	}
	return (void *)bad;
}

static void mappings_come_and_go(void)
{
	pthread_t threads[4];
	long bad = 0;
	void *value;

	for (long i = 0; i < 4; i++)
		NEED(!pthread_create(&threads[i], NULL, remapper, NULL));
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &value);
		bad += (long)value;
	}
	printf("not empty: %ld\n", bad);
}

static char *volatile target;

/* Reads into memory that comes and goes: the whole, a part, or EFAULT. */
static void *reader(void *argument)
{
	int zero = open("/dev/zero", O_RDONLY);
	long bad = 0;

	(void)argument;
	while (!stop) {
		ssize_t n = read(zero, target, 8 * PAGE);

		if (n < 0 ? errno != EFAULT : n > (ssize_t)(8 * PAGE))
			bad++;
	}
	close(zero);
	return (void *)bad;
}

static void memory_goes_under_system_calls(void)
{
	pthread_t threads[2];
	long bad = 0;
	void *value;

	target = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);
	NEED(target != MAP_FAILED);
	for (int i = 0; i < 2; i++)
		NEED(!pthread_create(&threads[i], NULL, reader, NULL));
	for (int i = 0; i < 1000; i++) {
		NEED(!munmap(target + 2 * PAGE, 4 * PAGE));
		NEED(mmap(target + 2 * PAGE, 4 * PAGE, PROT_READ | PROT_WRITE, ANON | MAP_FIXED,
			  -1, 0) == target + 2 * PAGE);
		NEED(!mprotect(target, 8 * PAGE, i % 2 ? PROT_READ | PROT_WRITE : PROT_NONE));
	}
	stop = 1;
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], &value);
		bad += (long)value;
	}
	stop = 0;
	printf("odd results: %ld\n", bad);
	NEED(!mprotect(target, 8 * PAGE, PROT_READ | PROT_WRITE));
	target[0] = target[8 * PAGE - 1] = 1;
	munmap(target, 8 * PAGE);
}

static void *filler(void *argument)
{
	char *p = argument;

	for (size_t i = 0; i < 256; i++)
		memset(p + i * PAGE, (int)i, PAGE);
	return NULL;
}

/* All touch the same fresh memory for the first time. */
static void first_touch_by_all(void)
{
	size_t size = 256 * PAGE;
	long wrong = 0;

	for (int round = 0; round < 20; round++) {
		char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, ANON, -1, 0);
		pthread_t threads[4];

		NEED(p != MAP_FAILED);
		for (int i = 0; i < 4; i++)
			NEED(!pthread_create(&threads[i], NULL, filler, p));
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		for (size_t i = 0; i < size; i++)
			wrong += p[i] != (char)(i / PAGE);
		munmap(p, size);
	}
	printf("wrong bytes: %ld\n", wrong);
}

int main(void)
{
	struct sigaction action = {.sa_handler = fault};

	NEED(!sigaction(SIGSEGV, &action, NULL));
	rights_are_taken_from_all();
	mappings_come_and_go();
	memory_goes_under_system_calls();
	first_touch_by_all();
	return 0;
}

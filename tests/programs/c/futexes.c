/* SPDX-License-Identifier: Apache-2.0 */
/* Futexes by system call: waiting, waking, moving, bit sets, time limits, what is refused. */
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

static uint32_t word, other;

static long futex(uint32_t *at, int operation, uint32_t value, const void *time, uint32_t *at2,
		  uint32_t value3)
{
	return syscall(SYS_futex, at, operation, value, time, at2, value3);
}

struct waiter {
	pthread_t thread;
	int operation;
	uint32_t bits;
	long result;
};

static void *wait_(void *argument)
{
	struct waiter *w = argument;

	w->result = futex(&word, w->operation, 0, NULL, NULL, w->bits);
	return NULL;
}

/* How many wait for `word`: moved to where they are, they are counted, and sleep on. */
static long waiting(int operation)
{
	return futex(&word, FUTEX_CMP_REQUEUE | (operation & FUTEX_PRIVATE_FLAG), 0,
		     (void *)100, &word, 0);
}

/* n threads that wait for `word`, each with a bit of its own. */
static void start(struct waiter *waiters, uint32_t n, int operation)
{
	for (uint32_t i = 0; i < n; i++) {
		waiters[i] = (struct waiter){.operation = operation, .bits = 1u << i};
		NEED(!pthread_create(&waiters[i].thread, NULL, wait_, &waiters[i]));
	}
	while (waiting(operation) < n)
		usleep(1000);
}

static void finish(struct waiter *waiters, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		pthread_join(waiters[i].thread, NULL);
		NEED(waiters[i].result == 0);
	}
	printf("all woken\n");
}

static void refusals(void)
{
	struct timespec soon = {0, 10000000}, bad = {0, -1}, now;
	uint32_t *misaligned = (uint32_t *)((char *)&word + 1);
	uint32_t *shared =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	REPORT(futex(&word, FUTEX_WAIT, 1, NULL, NULL, 0));
	REPORT(futex(&word, FUTEX_WAIT, 0, &soon, NULL, 0));
	REPORT(futex(&word, FUTEX_WAIT, 0, &bad, NULL, 0));
	REPORT(futex(misaligned, FUTEX_WAIT, 0, &soon, NULL, 0));
	REPORT(futex(NULL, FUTEX_WAIT, 0, &soon, NULL, 0));
	REPORT(futex(&word, FUTEX_WAIT_BITSET, 0, &soon, NULL, 0));
	REPORT(futex(&word, FUTEX_WAIT_BITSET, 0, &soon, NULL, 1));
	clock_gettime(CLOCK_REALTIME, &now);
	REPORT(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &now, NULL, 1));
	REPORT(futex(&word, FUTEX_WAKE, 10, NULL, NULL, 0));
	REPORT(futex(&word, FUTEX_WAKE_BITSET, 10, NULL, NULL, 0));
	REPORT(futex(&word, 99, 0, NULL, NULL, 0));
	REPORT(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &other, 5));
	REPORT(futex(&word, FUTEX_WAKE_OP, 1, (void *)1, &other,
		     FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 0)));
	printf("by WAKE_OP: %u\n", other);
	NEED(shared != MAP_FAILED);
	REPORT(futex(shared, FUTEX_WAIT, 0, &soon, NULL, 0));
	REPORT(syscall(SYS_set_robust_list, NULL, 1));
	REPORT(syscall(SYS_get_robust_list, 12345678, &other, &word));
	other = 0;
}

int main(void)
{
	struct waiter waiters[4];

	refusals();
	start(waiters, 4, FUTEX_WAIT);
	REPORT(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0));
	REPORT(futex(&word, FUTEX_WAKE, 2, NULL, NULL, 0));
	REPORT(futex(&word, FUTEX_WAKE, 100, NULL, NULL, 0));
	REPORT(futex(&word, FUTEX_WAKE, 100, NULL, NULL, 0));
	finish(waiters, 4);
	start(waiters, 4, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG);
	/* More than those with the bits may be woken, so how many it were says nothing. */
	NEED(futex(&word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, 100, NULL, NULL, 0x5) >= 2);
	NEED(futex(&word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, 100, NULL, NULL, 0xfa) >= 0);
	finish(waiters, 4);
	start(waiters, 4, FUTEX_WAIT | FUTEX_PRIVATE_FLAG);
	REPORT(futex(&word, FUTEX_CMP_REQUEUE | FUTEX_PRIVATE_FLAG, 1, (void *)100, &other, 0));
	REPORT(futex(&word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 100, NULL, NULL, 0));
	REPORT(futex(&other, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 100, NULL, NULL, 0));
	finish(waiters, 4);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "core/forks.h"

#include <pthread.h>

uint32_t forks_count;

static void count_in_child(void)
{
	forks_count++;
}

static void watch(void)
{
	pthread_atfork(NULL, NULL, count_in_child);
}

uint32_t forks_mark(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, watch);
	return forks_count;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "core/thread.h"

#include <signal.h>

int thread_start(pthread_t *out, size_t stack, void *(*fn)(void *arg), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all;
	int r;

	sigfillset(&all);
	r = pthread_attr_init(&attr);
	if (r)
		return r;
	if (!out)
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (stack)
		r = pthread_attr_setstacksize(&attr, stack);
	if (!r)
		r = pthread_attr_setsigmask_np(&attr, &all);
	if (!r)
		r = pthread_create(out ? out : &thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "core/thread.h"

#include <signal.h>

#define DEFAULT_STACK ((size_t)1 << 20)

int thread_start(pthread_t *out, size_t stack, void *(*fn)(void *arg), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, before;
	int r;

	r = pthread_attr_init(&attr);
	if (r)
		return r;
	if (!out)
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* Given always: the default is 8 MiB with one C library, 128 KiB with another. */
	r = pthread_attr_setstacksize(&attr, stack ? stack : DEFAULT_STACK);
	if (!r) {
		sigfillset(&all);
		pthread_sigmask(SIG_BLOCK, &all, &before);
		r = pthread_create(out ? out : &thread, &attr, fn, arg);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	pthread_attr_destroy(&attr);
	return r;
}

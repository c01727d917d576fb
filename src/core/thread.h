/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the library's own. */
#ifndef MAYFLY_CORE_THREAD_H
#define MAYFLY_CORE_THREAD_H

#include <pthread.h>
#include <stddef.h>

/*
 * pthread_create(3) of a thread with all signals blocked: the host's are none of its business.
 * `out` NULL: detached. `stack`: its size in bytes; 0: 1 MiB. 0 or an error number.
 */
int thread_start(pthread_t *out, size_t stack, void *(*fn)(void *arg), void *arg);

#endif

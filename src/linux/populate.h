/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of a process from a snapshot, made writable ahead of use. The first write to a page of
 * the image costs an exit, a copy, and KVM's forgetting and learning again what is there; under
 * PVM that is twenty times the copy alone. A thread of the host makes the copies while the
 * program already runs.
 */
#ifndef MAYFLY_LINUX_POPULATE_H
#define MAYFLY_LINUX_POPULATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct populate_range {
	uint8_t *host;
	size_t len;
};

struct populate {
	struct populate_range *ranges; /* owned */
	size_t count, capacity;
	size_t bytes;
	pthread_t thread;
	bool running;
	atomic_bool stop;
};

/* Another range. Without memory for it, it is left out. */
void populate_add(struct populate *populate, uint8_t *host, size_t len);
/* The first few pages at once, the others by a thread, if they are worth one. */
void populate_start(struct populate *populate);
/* Ends the thread; no more is populated. */
void populate_stop(struct populate *populate);

#endif

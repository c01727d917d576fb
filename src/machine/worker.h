/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine's thread that gets ready, confines itself, and then waits for its work. To install a
 * filter of system calls takes longer than to start a thread: started early, it does so while
 * the machine is being made.
 */
#ifndef MAYFLY_MACHINE_WORKER_H
#define MAYFLY_MACHINE_WORKER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

#include "core/error.h"
#include "jail/jail.h"

/* `failure`: why it is not confined; NULL: it is, or need not be. */
typedef void worker_fn(void *context, const mayfly_error *failure);

struct worker_plan {
	enum jail_kind kind;
	bool confined;			/* it is to be */
	void (*prepare)(void *context); /* what it does before; or NULL */
	void *context;			/* prepare()'s */
};

/* Zeroed: not started. */
struct worker {
	pthread_t thread;
	bool started;
	struct worker_plan plan;
	sem_t go;
	worker_fn *fn; /* NULL when it is to go: to end */
	void *context; /* fn()'s */
};

/* Nothing if it is started. Errors: NOMEM. */
int worker_start(struct worker *w, const struct worker_plan *plan, mayfly_error *err);
/* Its work, once. */
void worker_give(struct worker *w, worker_fn *fn, void *context);
/* Wait until it has done its work; or, without any, let it end. Then it is not started again. */
void worker_join(struct worker *w);

#endif

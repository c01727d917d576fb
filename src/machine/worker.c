/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/worker.h"

#include "core/thread.h"

static void *run(void *argument)
{
	struct worker *w = argument;
	mayfly_error err;
	int r = 0;

	if (w->plan.prepare)
		w->plan.prepare(w->plan.context);
	if (w->plan.confined)
		r = jail_enter(w->plan.kind, &err);
	while (sem_wait(&w->go) < 0)
		; /* EINTR */
	if (w->fn)
		w->fn(w->context, r < 0 ? &err : NULL);
	return NULL;
}

int worker_start(struct worker *w, const struct worker_plan *plan, mayfly_error *err)
{
	int r;

	if (w->started)
		return 0;
	w->plan = *plan;
	w->fn = NULL;
	sem_init(&w->go, 0, 0);
	r = thread_start(&w->thread, 0, run, w);
	if (r) {
		sem_destroy(&w->go);
		return fail_errno(err, MAYFLY_E_NOMEM, r, "a thread for a machine");
	}
	w->started = true;
	return 0;
}

void worker_give(struct worker *w, worker_fn *fn, void *context)
{
	w->fn = fn;
	w->context = context;
	sem_post(&w->go);
}

void worker_join(struct worker *w)
{
	if (!w->started)
		return;
	if (!w->fn)
		sem_post(&w->go);
	pthread_join(w->thread, NULL);
	sem_destroy(&w->go);
	w->started = false;
}

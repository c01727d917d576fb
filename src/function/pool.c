/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock guards counts and the stack of ready sandboxes only: making, warming and restoring a
 * VM happens outside of it. A sandbox that is being made or restored counts as live, so the
 * limit holds.
 */
#include "function/pool.h"

#include <errno.h>
#include <string.h>

#include "core/clock.h"
#include "core/thread.h"

#define DEFAULT_LIMIT 64

struct mayfly_pool {
	const struct hv_backend *hv;
	struct mayfly_snapshot *snap;
	mayfly_sandbox_options options;
	mayfly_host_function *functions; /* the options' copy */
	uint32_t limit;
	uint32_t keep; /* how many the thread keeps ready */

	pthread_mutex_t lock;
	pthread_cond_t freed;	/* a sandbox became ready, or the live ones fewer */
	pthread_cond_t wanted;	/* the thread has something to do */
	mayfly_sandbox **ready; /* a stack of `limit` places: the last used is warmest */
	uint32_t nready;
	uint32_t live;	 /* ready, lent, being made or restored */
	uint32_t coming; /* of these, being made to be ready */
	uint32_t lent;
	uint64_t made;
	uint64_t acquired;
	uint64_t hits;
	bool has_thread;
	bool stopping;
	pthread_t thread;
};

static int make(mayfly_pool *pool, mayfly_sandbox **out, mayfly_error *err)
{
	mayfly_sandbox *sb;
	int r = sandbox_new(pool->hv, pool->snap, &pool->options, &sb, err);

	if (r < 0)
		return r;
	r = sandbox_warm(sb, err);
	if (r < 0) {
		sandbox_free(sb);
		return r;
	}
	*out = sb;
	return 0;
}

/* With the lock held. */
static void put_ready(mayfly_pool *pool, mayfly_sandbox *sb)
{
	pool->ready[pool->nready++] = sb;
	pthread_cond_broadcast(&pool->freed);
}

/* With the lock held, which it drops meanwhile. */
static int make_one_more(mayfly_pool *pool, mayfly_sandbox **out, mayfly_error *err)
{
	int r;

	pool->live++;
	pthread_mutex_unlock(&pool->lock);
	r = make(pool, out, err);
	pthread_mutex_lock(&pool->lock);
	if (r < 0) {
		pool->live--;
		pthread_cond_broadcast(&pool->freed);
	} else {
		pool->made++;
	}
	return r;
}

/* Likewise. */
static int make_ready(mayfly_pool *pool, mayfly_error *err)
{
	mayfly_sandbox *sb;
	int r;

	pool->coming++;
	r = make_one_more(pool, &sb, err);
	pool->coming--;
	if (r == 0)
		put_ready(pool, sb);
	return r;
}

static bool wants_more(const mayfly_pool *pool)
{
	return pool->nready < pool->keep && pool->live < pool->limit;
}

static void *keep_ready(void *arg)
{
	mayfly_pool *pool = arg;

	pthread_mutex_lock(&pool->lock);
	while (!pool->stopping) {
		if (!wants_more(pool)) {
			pthread_cond_wait(&pool->wanted, &pool->lock);
			continue;
		}
		/*
		 * Out of something: acquire will report it; try again when somebody takes one.
		 */
		if (make_ready(pool, NULL) < 0 && !pool->stopping)
			pthread_cond_wait(&pool->wanted, &pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static int start_thread(mayfly_pool *pool, mayfly_error *err)
{
	int r = thread_start(&pool->thread, 0, keep_ready, pool);

	if (r)
		return fail_errno(err, MAYFLY_E_NOMEM, r, "starting the pool's thread");
	pool->has_thread = true;
	return 0;
}

/*
 * The strings in the host functions need to live as long as the pool. They are copied behind
 * the array, in one allocation.
 */
static int copy_functions(mayfly_pool *pool, mayfly_error *err)
{
	const mayfly_host_function *from = pool->options.host_functions;
	size_t n = pool->options.host_function_count, size = n * sizeof(*from);
	char *text;

	if (!n)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (!from[i].name || !from[i].signature)
			return fail(err, MAYFLY_E_INVALID,
				    "host function %zu lacks name or signature", i);
		size += strlen(from[i].name) + strlen(from[i].signature) + 2;
	}
	pool->functions = malloc(size);
	if (!pool->functions)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a pool");
	text = (char *)(pool->functions + n);
	for (size_t i = 0; i < n; i++) {
		pool->functions[i] = from[i];
		pool->functions[i].name = text;
		text = stpcpy(text, from[i].name) + 1;
		pool->functions[i].signature = text;
		text = stpcpy(text, from[i].signature) + 1;
	}
	pool->options.host_functions = pool->functions;
	return 0;
}

static void init_locks(mayfly_pool *pool)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&pool->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&pool->freed, &attr);
	pthread_cond_init(&pool->wanted, &attr);
	pthread_condattr_destroy(&attr);
}

int pool_new(const struct hv_backend *hv, struct mayfly_snapshot *snap,
	     const mayfly_pool_options *options, mayfly_pool **out, mayfly_error *err)
{
	mayfly_pool *pool = calloc(1, sizeof(*pool));
	int r = 0;

	if (!pool)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a pool");
	init_locks(pool);
	pool->hv = hv;
	pool->snap = mayfly_snapshot_ref(snap);
	pool->limit = options->limit ? options->limit : DEFAULT_LIMIT;
	pool->keep = options->ready;
	if (options->sandbox)
		pool->options = *options->sandbox;
	pool->ready = calloc(pool->limit, sizeof(pool->ready[0]));
	if (!pool->ready)
		r = fail(err, MAYFLY_E_NOMEM, "no memory for a pool of %u sandboxes",
			 pool->limit);
	if (r == 0)
		r = copy_functions(pool, err);
	if (r == 0 && pool->keep)
		r = start_thread(pool, err);
	if (r < 0) {
		pool_free(pool);
		return r;
	}
	*out = pool;
	return 0;
}

void pool_free(mayfly_pool *pool)
{
	if (!pool)
		return;
	if (pool->has_thread) {
		pthread_mutex_lock(&pool->lock);
		pool->stopping = true;
		pthread_cond_signal(&pool->wanted);
		pthread_mutex_unlock(&pool->lock);
		pthread_join(pool->thread, NULL);
	}
	for (uint32_t i = 0; pool->ready && i < pool->nready; i++)
		sandbox_free(pool->ready[i]);
	free(pool->ready);
	free(pool->functions);
	mayfly_snapshot_unref(pool->snap);
	pthread_cond_destroy(&pool->freed);
	pthread_cond_destroy(&pool->wanted);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

int pool_fill(mayfly_pool *pool, uint32_t count, mayfly_error *err)
{
	int r = 0;

	pthread_mutex_lock(&pool->lock);
	while (r == 0 && pool->nready < count && (pool->live < pool->limit || pool->coming)) {
		if (pool->live < pool->limit)
			r = make_ready(pool, err);
		else
			pthread_cond_wait(&pool->freed, &pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return r;
}

static int wait_for_one(mayfly_pool *pool, uint64_t wait_ns, mayfly_error *err)
{
	uint64_t until;

	if (add_overflows(clock_now(), wait_ns, &until))
		until = UINT64_MAX;
	while (!pool->nready && pool->live >= pool->limit) {
		struct timespec t = clock_timespec(until);

		/* One that is about to be ready is no more a release than a new one. */
		if (pool->coming) {
			pthread_cond_wait(&pool->freed, &pool->lock);
			continue;
		}
		if (!wait_ns || clock_now() >= until)
			return fail(err, MAYFLY_E_LIMIT,
				    "all %u sandboxes of the pool are lent out", pool->limit);
		if (until == UINT64_MAX)
			pthread_cond_wait(&pool->freed, &pool->lock);
		else
			pthread_cond_timedwait(&pool->freed, &pool->lock, &t);
	}
	return 0;
}

int pool_acquire(mayfly_pool *pool, uint64_t wait_ns, mayfly_sandbox **out, mayfly_error *err)
{
	mayfly_sandbox *sb = NULL;
	int r;

	pthread_mutex_lock(&pool->lock);
	r = wait_for_one(pool, wait_ns, err);
	if (r == 0 && pool->nready) {
		sb = pool->ready[--pool->nready];
		pool->hits++;
	} else if (r == 0) {
		r = make_one_more(pool, &sb, err);
	}
	if (r == 0) {
		pool->lent++;
		pool->acquired++;
		*out = sb;
	}
	if (pool->has_thread && wants_more(pool))
		pthread_cond_signal(&pool->wanted);
	pthread_mutex_unlock(&pool->lock);
	return r;
}

void pool_release(mayfly_pool *pool, mayfly_sandbox *sb)
{
	int r;

	/* From within a call in it: it cannot be restored, and must not be freed. */
	if (sb->depth)
		return;
	/* Before anybody else can have it, and on the time of who used it. */
	r = sandbox_restore(sb, pool->snap, NULL);
	if (r == 0)
		r = sandbox_set_limits(sb, pool->options.timeout_ns, pool->options.cpu_time_ns,
				       NULL);
	if (r == 0)
		r = sandbox_set_dispatch(sb, pool->options.dispatch, NULL);
	/* Those of the borrower may be about what is gone by now. */
	if (r == 0 && sb->registered)
		r = sandbox_reset_functions(sb, pool->options.host_functions,
					    pool->options.host_function_count, NULL);
	if (r < 0)
		sandbox_free(sb);
	pthread_mutex_lock(&pool->lock);
	pool->lent--;
	if (r < 0) {
		pool->live--;
		pthread_cond_broadcast(&pool->freed);
		pthread_cond_signal(&pool->wanted);
	} else {
		put_ready(pool, sb);
	}
	pthread_mutex_unlock(&pool->lock);
}

void pool_stats(mayfly_pool *pool, mayfly_pool_stats *stats)
{
	pthread_mutex_lock(&pool->lock);
	stats->ready = pool->nready;
	stats->lent = pool->lent;
	stats->made = pool->made;
	stats->acquired = pool->acquired;
	stats->hits = pool->hits;
	pthread_mutex_unlock(&pool->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool under many threads: each request borrows a sandbox, calls, and gives it back; the pool
 * restores it, so that no request sees what another left.
 *
 *	pool GUEST [THREADS [REQUESTS]]     (hello_guest; 32 threads, 200 requests each)
 */
#include <inttypes.h>
#include <mayfly.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_THREADS 1000

struct worker {
	pthread_t thread;
	mayfly_pool *pool;
	const mayfly_function *add;
	uint32_t requests;
	uint32_t wrong;
	mayfly_error err; /* the last failure */
};

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int request(struct worker *w, int64_t a, int64_t b)
{
	mayfly_value args[] = {mayfly_i64(a), mayfly_i64(b)}, sum;
	mayfly_sandbox *sandbox;
	int r = mayfly_pool_acquire(w->pool, UINT64_MAX, &sandbox, &w->err);

	if (r < 0)
		return r;
	r = mayfly_sandbox_call(sandbox, w->add, args, 2, &sum, &w->err);
	if (r == 0 && sum.as.i64 != a + b)
		r = mayfly_error_set(&w->err, MAYFLY_E_PROTOCOL, "a wrong sum");
	/* Poisoned or not: the pool sees to it. */
	mayfly_pool_release(w->pool, sandbox);
	return r;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (uint32_t i = 0; i < w->requests; i++)
		w->wrong += request(w, i, (int64_t)w->requests << 32) < 0;
	return NULL;
}

static uint32_t run(struct worker *workers, uint32_t threads)
{
	uint32_t wrong = 0;

	for (uint32_t i = 0; i < threads; i++)
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			abort();
	for (uint32_t i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		wrong += workers[i].wrong;
		if (workers[i].wrong)
			fprintf(stderr, "pool: %s\n", workers[i].err.message);
	}
	return wrong;
}

int main(int argc, char **argv)
{
	uint32_t threads = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 32;
	uint32_t requests = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 200;
	mayfly_pool_options options = MAYFLY_POOL_OPTIONS_INIT;
	mayfly_pool_stats stats = {.size = sizeof(stats)};
	mayfly_snapshot *guest = NULL;
	mayfly_pool *pool = NULL;
	const mayfly_function *add;
	struct worker *workers;
	mayfly_error err;
	uint32_t wrong;
	double start;

	if (argc < 2 || argc > 4 || !threads || threads > MAX_THREADS || !requests) {
		fprintf(stderr, "usage: pool GUEST [THREADS [REQUESTS]]\n");
		return 2;
	}
	options.limit = 8; /* fewer machines than threads: the others wait their turn */
	options.ready = 4;
	workers = calloc(threads, sizeof(workers[0]));
	if (!workers || mayfly_load_file(argv[1], NULL, &guest, &err) < 0 ||
	    mayfly_snapshot_function(guest, "add", &add, &err) < 0 ||
	    mayfly_pool_new(guest, &options, &pool, &err) < 0 ||
	    mayfly_pool_fill(pool, 4, &err) < 0) {
		fprintf(stderr, "pool: %s\n", workers ? err.message : "no memory");
		return 1;
	}
	for (uint32_t i = 0; i < threads; i++)
		workers[i] = (struct worker){.pool = pool, .add = add, .requests = requests};
	start = now_us();
	wrong = run(workers, threads);
	mayfly_pool_get_stats(pool, &stats, NULL);
	printf("%u threads, %u requests: %.0f requests/s, %" PRIu64
	       " machines made, %u failures\n",
	       threads, threads * requests, 1e6 * threads * requests / (now_us() - start),
	       stats.made, wrong);
	mayfly_pool_free(pool);
	mayfly_snapshot_unref(guest);
	free(workers);
	return wrong != 0;
}

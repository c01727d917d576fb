/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slow start paid once: warm a guest up, take a snapshot, and answer each request in a
 * sandbox of its own that begins with everything warm.
 *
 *	forks GUEST [COUNT]     (fork_guest; 2000 forks)
 */
#include <inttypes.h>
#include <mayfly.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TABLE 1000000u

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Load, warm up, capture. The sandbox that was warmed up is not needed any more. */
static int make_warm(const char *path, mayfly_snapshot **warm, mayfly_error *err)
{
	mayfly_load_options load = MAYFLY_LOAD_OPTIONS_INIT;
	const mayfly_function *warm_up;
	mayfly_snapshot *cold = NULL;
	mayfly_sandbox *sandbox = NULL;
	mayfly_value below = mayfly_u32(TABLE), primes;
	double start;
	int r;

	load.memory = 16u << 20;
	if ((r = mayfly_load_file(path, &load, &cold, err)) < 0 ||
	    (r = mayfly_snapshot_function(cold, "warm_up", &warm_up, err)) < 0 ||
	    (r = mayfly_sandbox_new(cold, NULL, &sandbox, err)) < 0)
		goto out;
	start = now_us();
	r = mayfly_sandbox_call(sandbox, warm_up, &below, 1, &primes, err);
	if (r == 0)
		printf("warm-up: a table of %u numbers, %" PRIu32 " of them prime: %.0f us\n",
		       TABLE, primes.as.u32, now_us() - start);
	start = now_us();
	if (r == 0)
		r = mayfly_sandbox_snapshot(sandbox, warm, err);
	if (r == 0)
		printf("snapshot: %.0f us\n", now_us() - start);
out:
	mayfly_sandbox_free(sandbox);
	mayfly_snapshot_unref(cold);
	return r;
}

/* One request in a virtual machine made for it. */
static int one_fork(mayfly_snapshot *warm, uint32_t number, bool show, mayfly_error *err)
{
	const mayfly_function *factorise;
	mayfly_sandbox *sandbox = NULL;
	mayfly_value arg = mayfly_u32(number), result;
	int r;

	if ((r = mayfly_snapshot_function(warm, "factorise", &factorise, err)) < 0 ||
	    (r = mayfly_sandbox_new(warm, NULL, &sandbox, err)) < 0)
		return r;
	r = mayfly_sandbox_call(sandbox, factorise, &arg, 1, &result, err);
	if (r == 0 && show)
		printf("  %u = %s\n", number, result.as.string.data);
	mayfly_sandbox_free(sandbox);
	return r;
}

/* The same with one virtual machine, put back to the snapshot before each. */
static int restored(mayfly_snapshot *warm, uint32_t count, mayfly_error *err)
{
	const mayfly_function *factorise;
	mayfly_sandbox *sandbox = NULL;
	double start;
	int r;

	if ((r = mayfly_snapshot_function(warm, "factorise", &factorise, err)) < 0 ||
	    (r = mayfly_sandbox_new(warm, NULL, &sandbox, err)) < 0)
		return r;
	start = now_us();
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		mayfly_value arg = mayfly_u32(i * 499u % TABLE), result;

		r = mayfly_sandbox_restore(sandbox, NULL, err);
		if (r == 0)
			r = mayfly_sandbox_call(sandbox, factorise, &arg, 1, &result, err);
	}
	if (r == 0)
		printf("%u requests in one machine, restored before each: %.1f us each\n",
		       count, (now_us() - start) / count);
	mayfly_sandbox_free(sandbox);
	return r;
}

int main(int argc, char **argv)
{
	uint32_t count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 2000;
	mayfly_snapshot *warm = NULL;
	mayfly_error err;
	double start;
	int r;

	if (argc < 2 || argc > 3 || !count) {
		fprintf(stderr, "usage: forks GUEST [COUNT]\n");
		return 2;
	}
	r = make_warm(argv[1], &warm, &err);
	start = now_us();
	for (uint32_t i = 0; r == 0 && i < count; i++)
		r = one_fork(warm, i * 499u % TABLE, i >= count - 3, &err);
	if (r == 0)
		printf("%u requests, each in a machine of its own, forked and freed: %.0f us "
		       "each\n",
		       count, (now_us() - start) / count);
	if (r == 0)
		r = restored(warm, count, &err);
	if (r < 0)
		fprintf(stderr, "forks: %s\n", err.message);
	mayfly_snapshot_unref(warm);
	return r < 0;
}

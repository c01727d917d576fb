/* SPDX-License-Identifier: Apache-2.0 */
/* Rows about how sandboxes come and go. */
#include <stdlib.h>

#include "bench.h"
#include "cli.h"
#include "message.h"

/* Pages that the captured guest of `spawn` wrote before. */
#define CAPTURED_PAGES 16
#define POOL_READY 4

struct source {
	struct bench_guest guest;
	mayfly_snapshot *snap; /* what sandboxes are made from */
	mayfly_pool *pool;
};

static void end(void *state)
{
	struct source *s = state;

	if (!s)
		return;
	mayfly_snapshot_unref(s->snap);
	bench_guest_fini(&s->guest);
	free(s);
}

/* From the image as it was loaded. */
static int begin_loaded(const struct bench_row *row, void **state, mayfly_error *err)
{
	struct source *s = xrealloc(NULL, 1, sizeof(*s));
	int r;

	(void)row;
	*s = (struct source){.snap = NULL};
	r = bench_guest_load(&s->guest, BENCH_MEMORY, err);
	if (r != MAYFLY_OK) {
		free(s);
		return r;
	}
	s->snap = mayfly_snapshot_ref(s->guest.snap);
	*state = s;
	return MAYFLY_OK;
}

/* From the state of a sandbox that has run. */
static int begin_captured(const struct bench_row *row, void **state, mayfly_error *err)
{
	mayfly_snapshot *captured;
	mayfly_sandbox *sb = NULL;
	struct source *s;
	int r = begin_loaded(row, state, err);

	if (r != MAYFLY_OK)
		return r;
	s = *state;
	r = mayfly_sandbox_new(s->snap, NULL, &sb, err);
	if (r == MAYFLY_OK)
		r = bench_guest_dirty(&s->guest, sb, CAPTURED_PAGES, err);
	if (r == MAYFLY_OK)
		r = mayfly_sandbox_snapshot(sb, &captured, err);
	mayfly_sandbox_free(sb);
	if (r != MAYFLY_OK) {
		end(s);
		*state = NULL;
		return r;
	}
	mayfly_snapshot_unref(s->snap);
	s->snap = captured;
	return MAYFLY_OK;
}

static int sample_spawn(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct source *s = state;
	mayfly_sandbox *sb = NULL;
	uint64_t start = now_ns();
	int r = mayfly_sandbox_new(s->snap, NULL, &sb, err);

	if (r == MAYFLY_OK)
		r = bench_guest_add(&s->guest, sb, err);
	*ret_ns = now_ns() - start;
	mayfly_sandbox_free(sb);
	return r;
}

static int sample_destroy(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct source *s = state;
	mayfly_sandbox *sb = NULL;
	int r = mayfly_sandbox_new(s->snap, NULL, &sb, err);
	uint64_t start;

	if (r == MAYFLY_OK)
		r = bench_guest_add(&s->guest, sb, err);
	start = now_ns();
	mayfly_sandbox_free(sb);
	*ret_ns = now_ns() - start;
	return r;
}

static int enter_pool(void *state, mayfly_error *err)
{
	mayfly_pool_options options = MAYFLY_POOL_OPTIONS_INIT;
	struct source *s = state;
	int r;

	/* No thread of the pool's, which would run beside what is measured. */
	options.limit = POOL_READY;
	r = mayfly_pool_new(s->snap, &options, &s->pool, err);
	return r == MAYFLY_OK ? mayfly_pool_fill(s->pool, POOL_READY, err) : r;
}

static void leave_pool(void *state)
{
	struct source *s = state;

	mayfly_pool_free(s->pool);
	s->pool = NULL;
}

static int pooled(struct source *s, bool with_release, uint64_t *ret_ns, mayfly_error *err)
{
	uint64_t start = now_ns();
	mayfly_sandbox *sb;
	int r = mayfly_pool_acquire(s->pool, 0, &sb, err);

	if (r != MAYFLY_OK)
		return r;
	r = bench_guest_add(&s->guest, sb, err);
	*ret_ns = now_ns() - start;
	mayfly_pool_release(s->pool, sb);
	if (with_release)
		*ret_ns = now_ns() - start;
	return r;
}

static int sample_pooled(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	return pooled(state, false, ret_ns, err);
}

static int sample_pool_cycle(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	return pooled(state, true, ret_ns, err);
}

const struct bench_row bench_spawn_rows[] = {
	{.name = "cold_start",
	 .what = "a sandbox from a loaded image, to its first result",
	 .batch = 10,
	 .warmup = 2,
	 .needs_kvm = true,
	 .begin = begin_loaded,
	 .sample = sample_spawn,
	 .end = end},
	{.name = "spawn",
	 .what = "the same from a snapshot of a guest that has run",
	 .batch = 10,
	 .warmup = 2,
	 .needs_kvm = true,
	 .begin = begin_captured,
	 .sample = sample_spawn,
	 .end = end},
	{.name = "spawn_pooled",
	 .what = "a sandbox out of a pool, to its first result",
	 .batch = 50,
	 .warmup = 20,
	 .needs_kvm = true,
	 .begin = begin_captured,
	 .enter = enter_pool,
	 .sample = sample_pooled,
	 .leave = leave_pool,
	 .end = end},
	{.name = "pool_cycle",
	 .what = "the same, and back into the pool",
	 .batch = 50,
	 .warmup = 20,
	 .needs_kvm = true,
	 .begin = begin_captured,
	 .enter = enter_pool,
	 .sample = sample_pool_cycle,
	 .leave = leave_pool,
	 .end = end},
	{.name = "destroy",
	 .what = "free a sandbox",
	 .batch = 10,
	 .warmup = 2,
	 .needs_kvm = true,
	 .begin = begin_loaded,
	 .sample = sample_destroy,
	 .end = end},
	{.name = NULL},
};

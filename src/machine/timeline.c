/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/timeline.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"

/* Kind and address of what is counted, in one word: addresses have 52 bits at most. */
#define KIND_SHIFT 56
#define ADDRESS_MASK (((uint64_t)1 << KIND_SHIFT) - 1)

struct counter {
	_Atomic(uint64_t) key; /* 0: free; else kind + 1 and address */
	_Atomic(uint64_t) count;
};

struct timeline {
	_Atomic(uint64_t) npoints; /* claimed, also beyond what there is room for */
	struct timeline_point *points;
	_Atomic(uint64_t) exits[EXIT_KINDS];
	struct counter counters[TIMELINE_ADDRESSES]; /* open addressing; never removed from */
};

int timeline_new(struct timeline **out, mayfly_error *err)
{
	struct timeline *t = calloc(1, sizeof(*t));

	if (!t)
		return fail(err, MAYFLY_E_NOMEM, "no memory for the timeline");
	t->points = calloc(TIMELINE_MAX, sizeof(*t->points));
	if (!t->points) {
		free(t);
		return fail(err, MAYFLY_E_NOMEM, "no memory for the timeline");
	}
	*out = t;
	return MAYFLY_OK;
}

void timeline_free(struct timeline *t)
{
	if (!t)
		return;
	free(t->points);
	free(t);
}

/* A point of its own, or NULL. */
static struct timeline_point *claim(struct timeline *t)
{
	uint64_t n = atomic_fetch_add(&t->npoints, 1);

	return n < TIMELINE_MAX ? &t->points[n] : NULL;
}

void timeline_mark_at(struct timeline *t, uint64_t when, const char *name)
{
	struct timeline_point *p = t ? claim(t) : NULL;

	if (!p)
		return;
	p->when = when;
	snprintf(p->name, sizeof(p->name), "%s", name);
}

void timeline_mark(struct timeline *t, const char *format, ...)
{
	struct timeline_point *p = t ? claim(t) : NULL;
	va_list args;

	if (!p)
		return;
	p->when = clock_now();
	va_start(args, format);
	vsnprintf(p->name, sizeof(p->name), format, args);
	va_end(args);
}

/* The counter of `key`, made if there is room; else NULL. */
static struct counter *find(struct timeline *t, uint64_t key)
{
	uint64_t at = (key * 0x9e3779b97f4a7c15u) >> 56;

	_Static_assert(TIMELINE_ADDRESSES == 256, "the hash has 8 bits");
	for (uint32_t i = 0; i < TIMELINE_ADDRESSES; i++) {
		struct counter *c = &t->counters[(at + i) % TIMELINE_ADDRESSES];
		uint64_t was = atomic_load_explicit(&c->key, memory_order_relaxed);

		if (was == 0 && atomic_compare_exchange_strong(&c->key, &was, key))
			return c;
		if (was == key)
			return c;
	}
	return NULL;
}

void timeline_exit(struct timeline *t, enum timeline_exit kind, uint64_t address)
{
	struct counter *c;

	if (!t)
		return;
	atomic_fetch_add_explicit(&t->exits[kind], 1, memory_order_relaxed);
	if (address == 0 || address > ADDRESS_MASK)
		return;
	c = find(t, ((uint64_t)kind + 1) << KIND_SHIFT | address);
	if (c)
		atomic_fetch_add_explicit(&c->count, 1, memory_order_relaxed);
}

static int by_time(const void *a, const void *b)
{
	const struct timeline_point *x = a, *y = b;

	return (x->when > y->when) - (x->when < y->when);
}

size_t timeline_points(const struct timeline *t, const struct timeline_point **points)
{
	uint64_t n = t ? atomic_load(&t->npoints) : 0;

	if (n == 0)
		return 0;
	if (n > TIMELINE_MAX)
		n = TIMELINE_MAX;
	qsort(t->points, (size_t)n, sizeof(t->points[0]), by_time);
	*points = t->points;
	return (size_t)n;
}

uint64_t timeline_exits(const struct timeline *t, enum timeline_exit kind)
{
	return t ? atomic_load(&t->exits[kind]) : 0;
}

/* How many counters come before this one. */
static size_t rank_of(const struct timeline *t, const struct counter *c)
{
	uint64_t count = atomic_load(&c->count);
	size_t rank = 0;

	for (const struct counter *o = t->counters; o < t->counters + TIMELINE_ADDRESSES; o++) {
		uint64_t other = atomic_load(&o->count);

		if (other > count || (other == count && o < c))
			rank++;
	}
	return rank;
}

bool timeline_address(const struct timeline *t, size_t rank, enum timeline_exit *kind,
		      uint64_t *address, uint64_t *count)
{
	for (uint32_t i = 0; t && i < TIMELINE_ADDRESSES; i++) {
		const struct counter *c = &t->counters[i];
		uint64_t key = atomic_load(&c->key);

		if (key == 0 || rank_of(t, c) != rank)
			continue;
		*kind = (enum timeline_exit)((key >> KIND_SHIFT) - 1);
		*address = key & ADDRESS_MASK;
		*count = atomic_load(&c->count);
		return true;
	}
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/populate.h"

#include <linux/mman.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/thread.h"

/* So much costs no more than a thread does. */
#define AT_ONCE ((size_t)256 << 10)
/* One madvise(2) holds the address space's lock for so many bytes. */
#define STEP ((size_t)128 << 10)
#define THREAD_STACK ((size_t)64 << 10)

void populate_add(struct populate *p, uint8_t *host, size_t len)
{
	struct populate_range *last = p->count ? &p->ranges[p->count - 1] : NULL;

	if (last && last->host + last->len == host) {
		last->len += len;
		p->bytes += len;
		return;
	}
	if (p->count == p->capacity || !p->ranges) {
		size_t capacity = p->capacity ? p->capacity * 2 : 64;
		struct populate_range *ranges = realloc(p->ranges, capacity * sizeof(*ranges));

		if (!ranges)
			return;
		p->ranges = ranges;
		p->capacity = capacity;
	}
	p->ranges[p->count++] = (struct populate_range){host, len};
	p->bytes += len;
}

/* Up to `limit` bytes. Gives false when all is done. */
static bool work(struct populate *p, size_t limit)
{
	for (size_t i = 0; p->ranges && i < p->count; i++) {
		struct populate_range *range = &p->ranges[i];

		while (range->len) {
			size_t part = range->len < STEP ? range->len : STEP;

			if (!limit || atomic_load_explicit(&p->stop, memory_order_relaxed))
				return true;
			if (part > limit)
				part = limit;
			/*
			 * What the program unmapped or protected meanwhile is left alone. EINVAL
			 * before Linux 5.14: the pages come when used.
			 */
			madvise(range->host, part, MADV_POPULATE_WRITE);
			range->host += part;
			range->len -= part;
			limit -= part;
		}
	}
	return false;
}

static void *run(void *argument)
{
	struct populate *p = argument;

	work(p, SIZE_MAX);
	return NULL;
}

void populate_start(struct populate *p)
{
	if (!p->count || p->running || !work(p, AT_ONCE))
		return;
	atomic_store(&p->stop, false);
	p->running = !thread_start(&p->thread, THREAD_STACK, run, p);
}

void populate_stop(struct populate *p)
{
	if (p->running) {
		atomic_store(&p->stop, true);
		pthread_join(p->thread, NULL);
	}
	p->running = false;
	free(p->ranges);
	p->ranges = NULL;
	p->count = p->capacity = p->bytes = 0;
}

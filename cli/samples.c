/* SPDX-License-Identifier: Apache-2.0 */
#include "samples.h"

#include <stdlib.h>

#include "message.h"

void samples_add(struct samples *s, uint64_t ns)
{
	if (s->n == s->capacity) {
		s->capacity = s->capacity ? 2 * s->capacity : 1024;
		s->ns = xrealloc(s->ns, s->capacity, sizeof(s->ns[0]));
	}
	s->ns[s->n++] = ns;
}

void samples_fini(struct samples *s)
{
	free(s->ns);
	*s = (struct samples){0};
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* `mille` of a thousand. */
static uint64_t percentile(const struct samples *s, size_t mille)
{
	size_t rank = (s->n * mille + 999) / 1000;

	return s->ns[rank ? rank - 1 : 0];
}

struct distribution samples_distribution(struct samples *s)
{
	if (!s->n)
		return (struct distribution){0};
	qsort(s->ns, s->n, sizeof(s->ns[0]), compare);
	return (struct distribution){
		.n = s->n,
		.min = s->ns[0],
		.p50 = percentile(s, 500),
		.p90 = percentile(s, 900),
		.p99 = percentile(s, 990),
		.p999 = percentile(s, 999),
		.max = s->ns[s->n - 1],
	};
}

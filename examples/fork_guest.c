/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of the fork example: one slow warm-up, then quick look-ups. The host calls
 * warm_up() once, takes a snapshot, and makes thousands of sandboxes of that: each has the
 * table without having computed or copied it.
 */
#include <mayfly_guest.h>

/* The smallest prime factor of each number below `limit`. */
static uint32_t *factors;
static uint32_t limit;

/* How many look-ups were made here: in a fork it starts from the snapshot's. */
static uint32_t lookups;

/* Gives how many primes there are below `below`. */
static uint32_t warm_up(uint32_t below)
{
	uint32_t primes = 0;

	free(factors);
	factors = calloc(below, sizeof(factors[0]));
	if (!factors)
		mayfly_abort(1, "no memory for a table of %u numbers: load with more memory",
			     below);
	limit = below;
	for (uint64_t n = 2; n < below; n++) {
		if (factors[n])
			continue;
		primes++;
		factors[n] = (uint32_t)n;
		for (uint64_t m = n * n; m < below; m += n) {
			if (!factors[m])
				factors[m] = (uint32_t)n;
		}
	}
	return primes;
}
MAYFLY_EXPORT(warm_up, u32, u32);

/* A number's prime factors in order, such as "2 * 2 * 3 * 7". */
static const char *factorise(uint32_t n)
{
	static char text[200];
	size_t used = 0;

	if (n >= limit)
		mayfly_abort(2, "%u is not below %u, which the table was made for", n, limit);
	lookups++;
	if (n < 2)
		return n ? "1" : "0";
	for (; n > 1; n /= factors[n])
		used += (size_t)mayfly_snprintf(text + used, sizeof(text) - used, "%s%u",
						used ? " * " : "", factors[n]);
	return text;
}
MAYFLY_EXPORT(factorise, string, u32);

static uint32_t lookup_count(void)
{
	return lookups;
}
MAYFLY_EXPORT(lookup_count, u32);

/* SPDX-License-Identifier: Apache-2.0 */
#include "core/random.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

void random_bytes(void *buffer, size_t len)
{
	uint8_t *p = buffer;

	while (len) {
		ssize_t n = getrandom(p, len, 0);

		/* EINTR is the only failure with these arguments (getrandom(2)). */
		if (n < 0)
			continue;
		p += n;
		len -= (size_t)n;
	}
}

void random_draw(struct random_stock *stock, void *buffer, size_t len)
{
	if (stock->left < len) {
		random_bytes(stock->bytes, RANDOM_STOCK);
		stock->left = RANDOM_STOCK;
	}
	stock->left -= (uint32_t)len;
	memcpy(buffer, stock->bytes + stock->left, len);
	memset(stock->bytes + stock->left, 0, len);
}

static uint64_t next_generation;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start_generations(void)
{
	uint64_t start;

	random_bytes(&start, sizeof(start));
	__atomic_store_n(&next_generation, start, __ATOMIC_RELAXED);
}

uint64_t random_generation(void)
{
	uint64_t g;

	pthread_once(&once, start_generations);
	do
		g = __atomic_add_fetch(&next_generation, 1, __ATOMIC_RELAXED);
	while (!g);
	return g;
}

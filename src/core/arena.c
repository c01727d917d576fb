/* SPDX-License-Identifier: Apache-2.0 */
#include "core/arena.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "core/util.h"

#define CHUNK_SLICES 256

struct chunk {
	struct chunk *next;
	uint8_t *mem;
	size_t slice;
	uint32_t slices;
	uint32_t used;
	uint64_t busy[CHUNK_SLICES / 64];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct chunk *chunks;

/*
 * A forked child has none of the memory (see chunk_new), and other things may come to lie
 * there.
 */
static void forget_in_child(void)
{
	pthread_mutex_init(&lock, NULL);
	chunks = NULL;
}

static void register_fork(void)
{
	pthread_atfork(NULL, NULL, forget_in_child);
}

/*
 * Address space only; where that is short, ever smaller. A forked child has no use for it (VMs
 * do not survive a fork), and huge pages would make the first touch of a sandbox cost 2 MiB.
 */
static struct chunk *chunk_new(size_t slice)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct chunk *c = calloc(1, sizeof(*c));

	pthread_once(&once, register_fork);

	if (!c)
		return NULL;
	c->slice = slice;
	for (c->slices = CHUNK_SLICES; c->slices; c->slices /= 4) {
		size_t len;

		if (__builtin_mul_overflow(slice, (size_t)c->slices, &len))
			continue;
		c->mem = mmap(NULL, len, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (c->mem == MAP_FAILED)
			continue;
		madvise(c->mem, len, MADV_NOHUGEPAGE);
		madvise(c->mem, len, MADV_DONTFORK);
		c->next = chunks;
		chunks = c;
		return c;
	}
	free(c);
	return NULL;
}

static void chunk_free(struct chunk *c)
{
	struct chunk **at = &chunks;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	munmap(c->mem, c->slice * c->slices);
	free(c);
}

static uint32_t free_slice(const struct chunk *c)
{
	uint32_t i = 0;

	while (bitmap_test(c->busy, i))
		i++;
	return i;
}

uint8_t *arena_alloc(size_t len)
{
	uint8_t *mem = NULL;
	struct chunk *c;

	pthread_mutex_lock(&lock);
	for (c = chunks; c; c = c->next)
		if (c->slice == len && c->used < c->slices)
			break;
	if (!c)
		c = chunk_new(len);
	if (c) {
		uint32_t i = free_slice(c);

		bitmap_set(c->busy, i);
		c->used++;
		mem = c->mem + (size_t)i * len;
	}
	pthread_mutex_unlock(&lock);
	return mem;
}

static struct chunk *chunk_of(const uint8_t *slice)
{
	struct chunk *c = chunks;

	while (c && !(slice >= c->mem && slice < c->mem + c->slice * c->slices))
		c = c->next;
	return c;
}

void arena_free(uint8_t *slice, size_t len)
{
	struct chunk *c;

	if (!slice)
		return;
	pthread_mutex_lock(&lock);
	c = chunk_of(slice);
	pthread_mutex_unlock(&lock);
	if (!c)
		return;
	/*
	 * Outside the lock, as it may take long. A failure would hand a later VM old data:
	 * unmap.
	 */
	if (madvise(slice, len, MADV_DONTNEED) < 0)
		(void)mmap(slice, len, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	pthread_mutex_lock(&lock);
	bitmap_clear(c->busy, (uint64_t)(slice - c->mem) / len);
	if (!--c->used)
		chunk_free(c);
	pthread_mutex_unlock(&lock);
}

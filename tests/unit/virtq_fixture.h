/* SPDX-License-Identifier: Apache-2.0 */
/* A queue in a small memory, with the driver's side of it. After cmocka.h. */
#ifndef MAYFLY_TESTS_VIRTQ_FIXTURE_H
#define MAYFLY_TESTS_VIRTQ_FIXTURE_H

#include "virtio_driver.h"

#define SIZE 8u
#define AT 0x1000u
#define TABLE 0x8000u
#define DATA 0x20000u
#define BIG 0x40000u /* a queue of the greatest size */

struct fixture {
	struct driver_ram memory;
	struct virtq q;
	struct driver_queue d;
};

static struct fixture f;

static inline void use_queue(uint64_t at, uint16_t size)
{
	virtq_reset(&f.q);
	driver_queue_init(&f.d, &f.memory.ram, at, size);
	f.q.size = size;
	f.q.desc = f.d.desc;
	f.q.avail = f.d.avail;
	f.q.used = f.d.used;
	assert_true(virtq_enable(&f.q));
}

static inline int setup(void **state)
{
	(void)state;
	driver_ram_init(&f.memory);
	assert_int_equal(virtq_init(&f.q, &f.memory.ram, VIRTQ_MAX_SIZE, NULL), 0);
	use_queue(AT, SIZE);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	virtq_fini(&f.q);
	driver_ram_fini(&f.memory);
	return 0;
}

static inline void *host(uint64_t at)
{
	return driver_at(&f.memory.ram, at, 1);
}

static inline void desc(uint32_t index, uint64_t at, uint32_t len, uint32_t flags,
			uint16_t next)
{
	const struct driver_piece p = {at, len, false};

	driver_desc(&f.memory.ram, f.q.desc, index, &p, flags, next);
}

static uint32_t seed = 1;

static inline uint32_t draw(uint32_t n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

#endif

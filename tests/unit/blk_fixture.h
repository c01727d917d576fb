/* SPDX-License-Identifier: Apache-2.0 */
/* A disk in a file and its driver. After cmocka.h. */
#ifndef MAYFLY_TESTS_BLK_FIXTURE_H
#define MAYFLY_TESTS_BLK_FIXTURE_H

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <stdio.h>
#include <stdlib.h>

#include "virtio/blk.h"
#include "virtio_driver.h"

#define SECTORS 100u /* no multiple of a page */
#define BYTES(sectors) ((uint64_t)(sectors)*512)
#define DISK BYTES(SECTORS)
#define QUEUE 0x1000u
#define HEADER 0x8000u
#define STATUS 0x9000u
#define TABLE 0xa000u
#define DATA 0x20000u
#define FEATURE(n) ((uint64_t)1 << VIRTIO_BLK_F_##n)
#define ALL_GOOD (VIRTIO_VERSION_1 | FEATURE(FLUSH))

static struct driver d;
static struct driver_queue q;
static char path[] = "/tmp/mayfly-disk-XXXXXX";
static int disk; /* the test's own view */

static inline void *host(uint64_t at)
{
	return driver_at(&d.memory.ram, at, 1);
}

static inline uint8_t *memory(uint64_t offset)
{
	return host(DATA + offset);
}

/* What the disk holds at first, everywhere different. */
static inline uint8_t original(uint64_t offset)
{
	return (uint8_t)(offset * 7 + offset / 512 * 31 + 1);
}

static inline uint8_t on_disk(uint64_t offset)
{
	uint8_t byte;

	assert_int_equal(pread(disk, &byte, 1, (off_t)offset), 1);
	return byte;
}

static inline void assert_original(uint64_t offset, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(on_disk(offset + i), original(offset + i));
}

static inline void start(uint32_t flags, uint64_t features, uint64_t overlay_limit)
{
	const struct blk_config config = {
		.path = path, .flags = flags, .id = "disk-1", .overlay_limit = overlay_limit};
	struct virtio_device *dev;

	assert_int_equal(blk_new(&config, &dev, NULL), 0);
	driver_init(&d, dev, false);
	driver_queue_init(&q, &d.memory.ram, QUEUE, 64);
	assert_true(driver_negotiate(&d, features));
	driver_set_queue(&d, 0, &q);
	driver_go(&d);
}

static inline void restart(uint32_t flags, uint64_t features, uint64_t overlay_limit)
{
	driver_fini(&d);
	start(flags, features, overlay_limit);
}

static inline int make_disk(void)
{
	uint8_t bytes[DISK];

	for (uint64_t i = 0; i < DISK; i++)
		bytes[i] = original(i);
	stpcpy(path, "/tmp/mayfly-disk-XXXXXX");
	disk = mkostemp(path, O_CLOEXEC);
	return disk < 0 || pwrite(disk, bytes, DISK, 0) != (ssize_t)DISK;
}

static inline int remove_disk(void)
{
	close(disk);
	return unlink(path);
}

static inline int setup(void **state)
{
	(void)state;
	if (make_disk())
		return -1;
	start(0, ALL_GOOD, 0);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	driver_fini(&d);
	return remove_disk();
}

static inline void put_header(uint32_t type, uint64_t sector)
{
	const struct virtio_blk_outhdr header = {.type = type, .sector = sector};

	memcpy(host(HEADER), &header, sizeof(header));
}

/* The chain that was made: notified, done, its status; *len as the device said. */
static inline uint8_t finish(uint16_t head, uint32_t *len)
{
	uint32_t used, n;

	*(uint8_t *)host(STATUS) = 0xee;
	driver_notify(&d, 0);
	assert_true(driver_used(&q, &used, &n));
	assert_int_equal(used, head);
	assert_int_equal(driver_nused(&q), 0);
	assert_int_equal(d.dev->queues[0].in_flight, 0);
	if (len)
		*len = n;
	return *(uint8_t *)host(STATUS);
}

/* One piece of data at `at`, or none if len is 0. */
static inline uint8_t request_at(uint32_t type, uint64_t sector, uint64_t at, uint32_t len,
				 uint32_t *written)
{
	const bool to_driver = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	const struct driver_piece pieces[] = {
		{HEADER, 16, false}, {at, len, to_driver}, {STATUS, 1, true}};
	const struct driver_piece short_one[] = {{HEADER, 16, false}, {STATUS, 1, true}};

	put_header(type, sector);
	return finish(len ? driver_chain(&q, pieces, 3) : driver_chain(&q, short_one, 2),
		      written);
}

static inline uint8_t request(uint32_t type, uint64_t sector, uint32_t len)
{
	return request_at(type, sector, DATA, len, NULL);
}

static inline uint8_t read_sectors(uint64_t sector, uint32_t n)
{
	memset(memory(0), 0xcc, n * 512u);
	return request(VIRTIO_BLK_T_IN, sector, n * 512u);
}

static inline uint8_t write_sectors(uint64_t sector, uint32_t n, uint8_t with)
{
	memset(memory(0), with, n * 512u);
	return request(VIRTIO_BLK_T_OUT, sector, n * 512u);
}

static inline void assert_memory_is_original(uint64_t offset, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(*memory(i), original(offset + i));
}

static inline void assert_memory_is(uint64_t from, uint64_t len, uint8_t what)
{
	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(*memory(from + i), what);
}

static inline uint8_t ranges(uint32_t type, const struct virtio_blk_discard_write_zeroes *r,
			     uint32_t n)
{
	memcpy(memory(0), r, n * sizeof(*r));
	return request(type, 0, n * (uint32_t)sizeof(*r));
}

static inline uint8_t range(uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	const struct virtio_blk_discard_write_zeroes r = {
		.sector = sector, .num_sectors = n, .flags = flags};

	return ranges(type, &r, 1);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Disks with an overlay in memory, and disks in snapshots. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <sys/stat.h>

#include "blk_fixture.h"

static int setup_overlay(void **state)
{
	(void)state;
	if (make_disk())
		return -1;
	start(BLK_OVERLAY, ALL_GOOD, 0);
	return 0;
}

/* --- overlays ----------------------------------------------------------------------------- */

static void overlay_takes_writes_and_the_disk_stays(void **state)
{
	(void)state;
	assert_int_equal(write_sectors(10, 5, 0xab), VIRTIO_BLK_S_OK);
	assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 0, DISK), VIRTIO_BLK_S_OK);
	assert_memory_is_original(0, BYTES(10));
	assert_memory_is(BYTES(10), BYTES(5), 0xab);
	for (uint64_t i = BYTES(15); i < DISK; i++)
		assert_int_equal(*memory(i), original(i));
	assert_original(0, DISK);
	restart(BLK_OVERLAY, ALL_GOOD, 0);
	assert_int_equal(read_sectors(10, 5), VIRTIO_BLK_S_OK);
	assert_memory_is_original(BYTES(10), BYTES(5));
}

static uint32_t seed = 3;

static uint32_t draw(uint32_t n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

/* Reads, writes, zeroes and discards of any place and length, against an array. */
static void overlay_is_like_a_disk(void **state)
{
	uint8_t expected[DISK];
	uint64_t zeroed = 0;

	(void)state;
	for (uint64_t i = 0; i < DISK; i++)
		expected[i] = original(i);
	for (int round = 0; round < 3000; round++) {
		uint32_t sector = draw(SECTORS), n = 1 + draw(SECTORS - sector);
		uint64_t at = (uint64_t)sector * 512, len = (uint64_t)n * 512;

		switch (draw(4)) {
		case 0:
			assert_int_equal(write_sectors(sector, n, (uint8_t)round),
					 VIRTIO_BLK_S_OK);
			memset(expected + at, (uint8_t)round, len);
			break;
		case 1:
			assert_int_equal(range(VIRTIO_BLK_T_WRITE_ZEROES, sector, n, draw(2)),
					 VIRTIO_BLK_S_OK);
			memset(expected + at, 0, len);
			zeroed++;
			break;
		case 2:
			/* Whole pages within become zero, the rest is as it was. */
			assert_int_equal(range(VIRTIO_BLK_T_DISCARD, sector, n, 0),
					 VIRTIO_BLK_S_OK);
			for (uint64_t p = page_up(at); p < at + len; p += PAGE_SIZE)
				if (p + PAGE_SIZE <= at + len || at + len == DISK)
					memset(expected + p, 0,
					       DISK - p < PAGE_SIZE ? DISK - p : PAGE_SIZE);
			break;
		default:
			assert_int_equal(read_sectors(sector, n), VIRTIO_BLK_S_OK);
			assert_memory_equal(memory(0), expected + at, len);
			break;
		}
	}
	assert_true(zeroed > 0);
	assert_original(0, DISK);
}

static void overlay_has_a_limit(void **state)
{
	(void)state;
	restart(BLK_OVERLAY, ALL_GOOD, 5 * PAGE_SIZE);
	assert_int_equal(write_sectors(0, 16, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(write_sectors(40, 40, 2), VIRTIO_BLK_S_IOERR);
	assert_int_equal(read_sectors(40, 40), VIRTIO_BLK_S_OK);
	assert_memory_is_original(BYTES(40), BYTES(40));
	/* What is given back can be used again. */
	assert_int_equal(range(VIRTIO_BLK_T_DISCARD, 0, 16, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(write_sectors(40, 24, 2), VIRTIO_BLK_S_OK);
	/* At the limit, what is there can be written again. */
	assert_int_equal(write_sectors(0, 16, 3), VIRTIO_BLK_S_OK);
	assert_int_equal(write_sectors(16, 1, 3), VIRTIO_BLK_S_IOERR);
	assert_int_equal(write_sectors(40, 24, 4), VIRTIO_BLK_S_OK);
	assert_int_equal(read_sectors(40, 24), VIRTIO_BLK_S_OK);
	assert_memory_is(0, BYTES(24), 4);
}

static void overlay_of_a_disk_that_was_cut_off_gives_errors(void **state)
{
	(void)state;
	assert_int_equal(ftruncate(disk, BYTES(10)), 0);
	assert_int_equal(write_sectors(50, 1, 1), VIRTIO_BLK_S_IOERR);
	assert_int_equal(write_sectors(48, 8, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(read_sectors(48, 8), VIRTIO_BLK_S_OK);
	assert_memory_is(0, BYTES(8), 1);
	assert_int_equal(read_sectors(56, 8), VIRTIO_BLK_S_IOERR);
}

/* --- snapshots ---------------------------------------------------------------------------- */

static int load(const struct writer *w, mayfly_error *err)
{
	struct reader r = {w->data, w->len, false};
	int result;

	pthread_mutex_lock(&d.dev->lock);
	result = d.dev->ops->load(d.dev, &r, err);
	pthread_mutex_unlock(&d.dev->lock);
	if (result == 0)
		assert_int_equal(r.left, 0);
	return result;
}

static void save(struct writer *w)
{
	*w = (struct writer){0};
	d.dev->ops->save(d.dev, w);
	assert_false(w->failed);
}

static void saved_overlay_is_there_after_a_restore(void **state)
{
	uint8_t before[DISK];
	struct writer w, again;

	(void)state;
	assert_int_equal(write_sectors(10, 5, 0xab), VIRTIO_BLK_S_OK);
	assert_int_equal(range(VIRTIO_BLK_T_WRITE_ZEROES, 32, 24, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(write_sectors(SECTORS - 1, 1, 0xcd), VIRTIO_BLK_S_OK);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 0, DISK), VIRTIO_BLK_S_OK);
	memcpy(before, memory(0), DISK);
	save(&w);
	/* Three pages with data at most; zeroes take no room. */
	assert_true(w.len < 4 * PAGE_SIZE);
	restart(BLK_OVERLAY, ALL_GOOD, 0);
	assert_int_equal(load(&w, NULL), 0);
	assert_int_equal(request(VIRTIO_BLK_T_IN, 0, DISK), VIRTIO_BLK_S_OK);
	assert_memory_equal(memory(0), before, DISK);
	save(&again);
	assert_int_equal(again.len, w.len);
	assert_memory_equal(again.data, w.data, w.len);
	free(w.data);
	free(again.data);
}

static void damaged_overlay_is_refused_or_valid(void **state)
{
	uint32_t refused = 0;
	struct writer w;
	mayfly_error err;

	(void)state;
	assert_int_equal(write_sectors(10, 5, 0xab), VIRTIO_BLK_S_OK);
	save(&w);
	for (size_t i = 0; i < w.len; i += i < 100 ? 1 : 97) {
		const struct writer cut = {w.data, i, i, false};

		restart(BLK_OVERLAY, ALL_GOOD, 0);
		assert_int_equal(load(&cut, &err), MAYFLY_E_FORMAT);
		w.data[i] ^= 0xff;
		restart(BLK_OVERLAY, ALL_GOOD, 0);
		if (load(&w, &err) < 0)
			refused++;
		assert_int_equal(request(VIRTIO_BLK_T_IN, 0, DISK), VIRTIO_BLK_S_OK);
		w.data[i] ^= 0xff;
	}
	assert_true(refused > 48);
	free(w.data);
}

static void restored_machine_needs_the_same_disk(void **state)
{
	const struct timespec later[2] = {{1000, 0}, {2000, 5}};
	struct writer w;
	mayfly_error err;
	int old;

	(void)state;
	save(&w);
	assert_int_equal(load(&w, &err), 0);
	assert_int_equal(futimens(disk, later), 0);
	assert_int_equal(load(&w, &err), MAYFLY_E_INVALID);
	assert_non_null(strstr(err.message, "written to after the snapshot"));
	free(w.data);
	save(&w);
	restart(BLK_READONLY, ALL_GOOD, 0);
	assert_int_equal(load(&w, &err), MAYFLY_E_INVALID);
	assert_non_null(strstr(err.message, "read-only"));
	driver_fini(&d);
	/*
	 * Another one at the same place, alike but for its inode, as the old one is still
	 * there.
	 */
	old = disk;
	unlink(path);
	assert_int_equal(make_disk(), 0);
	assert_int_equal(futimens(disk, later), 0);
	start(0, ALL_GOOD, 0);
	close(old);
	assert_int_equal(load(&w, &err), MAYFLY_E_INVALID);
	assert_non_null(strstr(err.message, "not the disk"));
	assert_non_null(strstr(err.message, path));
	free(w.data);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define OVERLAY(name) cmocka_unit_test_setup_teardown(name, setup_overlay, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		OVERLAY(overlay_takes_writes_and_the_disk_stays),
		OVERLAY(overlay_is_like_a_disk),
		OVERLAY(overlay_has_a_limit),
		OVERLAY(overlay_of_a_disk_that_was_cut_off_gives_errors),
		OVERLAY(saved_overlay_is_there_after_a_restore),
		OVERLAY(damaged_overlay_is_refused_or_valid),
		T(restored_machine_needs_the_same_disk),
	};

	return cmocka_run_group_tests_name("virtio_overlay", tests, NULL, NULL);
}

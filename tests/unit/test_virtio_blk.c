/* SPDX-License-Identifier: Apache-2.0 */
/* Disks: what is on them after requests of all kinds, good and hostile. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_mmio.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "blk_fixture.h"
#include "fail_alloc.h"

static int setup_file(void **state)
{
	(void)state;
	return make_disk();
}

static int teardown_file(void **state)
{
	(void)state;
	return remove_disk();
}

static void configuration_describes_the_disk(void **state)
{
	(void)state;
	assert_int_equal(driver_read(&d, VIRTIO_MMIO_DEVICE_ID), 2);
	assert_int_equal(driver_read_config(&d, 0, 8), SECTORS);
	assert_int_equal(driver_read_config(&d, 8, 4), 1u << 20);
	assert_int_equal(driver_read_config(&d, 12, 4), 254);
	assert_int_equal(driver_read_config(&d, 20, 4), 512);
	assert_int_equal(driver_read_config(&d, 24, 1), 3);
	assert_int_equal(driver_features(&d) & 0xffffff,
			 FEATURE(SIZE_MAX) | FEATURE(SEG_MAX) | FEATURE(BLK_SIZE) |
				 FEATURE(FLUSH) | FEATURE(TOPOLOGY) | FEATURE(DISCARD) |
				 FEATURE(WRITE_ZEROES));
	/* What of the space of registers is behind the configuration reads as nothing. */
	assert_int_equal(driver_read_config(&d, 60, 4), 0);
	assert_int_equal(driver_read_config(&d, 0xf8, 8), 0);
}

static void read_gives_what_is_on_the_disk(void **state)
{
	uint32_t len;

	(void)state;
	for (uint64_t sector = 0; sector < SECTORS; sector += 9) {
		assert_int_equal(read_sectors(sector, 1), VIRTIO_BLK_S_OK);
		assert_memory_is_original(sector * 512, 512);
	}
	assert_int_equal(request_at(VIRTIO_BLK_T_IN, 0, DATA, DISK, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, DISK + 1);
	assert_memory_is_original(0, DISK);
}

static void write_changes_what_it_names_and_nothing_else(void **state)
{
	uint32_t len;

	(void)state;
	memset(memory(0), 0x5a, 1024);
	assert_int_equal(request_at(VIRTIO_BLK_T_OUT, 3, DATA, 1024, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 1);
	assert_original(0, BYTES(3));
	for (uint64_t i = 0; i < 1024; i++)
		assert_int_equal(on_disk(BYTES(3) + i), 0x5a);
	assert_original(BYTES(5), DISK - BYTES(5));
}

static void requests_beyond_the_end_fail_as_a_whole(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
	} beyond[] = {
		{SECTORS, 512},	   {SECTORS - 1, 1024},		{0, DISK + 512},
		{UINT64_MAX, 512}, {UINT64_MAX / 512 + 1, 512}, {((uint64_t)1 << 55) + 1, 512},
		{SECTORS + 1, 512}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(beyond); i++) {
		uint32_t len;

		memset(memory(0), 0x5a, beyond[i].len);
		assert_int_equal(request_at(VIRTIO_BLK_T_OUT, beyond[i].sector, DATA,
					    beyond[i].len, NULL),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(request_at(VIRTIO_BLK_T_IN, beyond[i].sector, DATA,
					    beyond[i].len, &len),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(len, 0);
		assert_memory_is(0, beyond[i].len, 0x5a);
	}
	assert_original(0, DISK);
	assert_int_equal(lseek(disk, 0, SEEK_END), DISK);
}

static void parts_of_sectors_are_refused(void **state)
{
	static const uint32_t lengths[] = {1, 511, 513, 1023};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		assert_int_equal(request(VIRTIO_BLK_T_OUT, 0, lengths[i]), VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(VIRTIO_BLK_T_IN, 0, lengths[i]), VIRTIO_BLK_S_IOERR);
	}
	assert_original(0, DISK);
}

/* Pages of memory are few, so the same ones again and again: more than a driver may ask for. */
static void requests_larger_than_the_limit_are_refused(void **state)
{
	struct driver_piece pieces[600] = {{HEADER, 16, false}};

	(void)state;
	assert_int_equal(ftruncate(disk, (off_t)1 << 30), 0);
	restart(0, ALL_GOOD, 0);
	for (uint32_t i = 1; i < 599; i++)
		pieces[i] = (struct driver_piece){DATA, 512u << 10, true};
	pieces[599] = (struct driver_piece){STATUS, 1, true};
	put_header(VIRTIO_BLK_T_IN, 0);
	assert_int_equal(finish(driver_indirect(&q, TABLE, pieces, 600), NULL),
			 VIRTIO_BLK_S_IOERR);
}

static void header_and_status_may_be_anywhere(void **state)
{
	/*
	 * A header in three parts, the last with data behind it; data with the status behind.
	 */
	static const struct driver_piece write_pieces[] = {{HEADER, 1, false},
							   {HEADER + 1, 14, false},
							   {DATA - 1, 1 + 100, false},
							   {DATA + 100, 412, false},
							   {STATUS, 1, true}};
	static const struct driver_piece read_pieces[] = {
		{HEADER, 16, false}, {DATA, 300, true}, {STATUS - 212, 213, true}};
	static const struct driver_piece only_tail[] = {{HEADER, 16, false},
							{STATUS - 512, 513, true}};

	(void)state;
	put_header(VIRTIO_BLK_T_OUT, 7);
	memset(memory(0), 0x77, 512);
	memory(0)[-1] = *(uint8_t *)host(HEADER + 15);
	assert_int_equal(finish(driver_chain(&q, write_pieces, 5), NULL), VIRTIO_BLK_S_OK);
	for (uint64_t i = 0; i < 512; i++)
		assert_int_equal(on_disk(BYTES(7) + i), 0x77);
	assert_original(BYTES(8), 512);
	put_header(VIRTIO_BLK_T_IN, 9);
	assert_int_equal(finish(driver_chain(&q, read_pieces, 3), NULL), VIRTIO_BLK_S_OK);
	for (uint64_t i = 0; i < 512; i++)
		assert_int_equal(*(i < 300 ? memory(i) : (uint8_t *)host(STATUS - 512 + i)),
				 original(BYTES(9) + i));
	assert_int_equal(finish(driver_chain(&q, only_tail, 2), NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(*(uint8_t *)host(STATUS - 1), original(BYTES(9) + 511));
}

static void data_in_as_many_pieces_as_are_offered(void **state)
{
	struct driver_piece pieces[256] = {{HEADER, 16, false}};

	(void)state;
	/* Last things first: 1 byte each but for the last one. */
	for (uint32_t i = 0; i < 254; i++)
		pieces[1 + i] =
			(struct driver_piece){DATA + 1000 - i, i < 253 ? 1 : 512 - 253, true};
	pieces[254].at = DATA + 2000;
	pieces[255] = (struct driver_piece){STATUS, 1, true};
	put_header(VIRTIO_BLK_T_IN, 11);
	assert_int_equal(finish(driver_indirect(&q, TABLE, pieces, 256), NULL),
			 VIRTIO_BLK_S_OK);
	for (uint32_t i = 0; i < 512; i++)
		assert_int_equal(*memory(i < 253 ? 1000 - i : 2000 + i - 253),
				 original(BYTES(11) + i));
}

static void request_without_room_for_its_status_breaks_the_queue(void **state)
{
	(void)state;
	put_header(VIRTIO_BLK_T_FLUSH, 0);
	driver_chain(&q, &(struct driver_piece){HEADER, 16, false}, 1);
	driver_notify(&d, 0);
	assert_string_equal(d.dev->broken, "a block request has no room for its status");
	assert_true(driver_read(&d, VIRTIO_MMIO_STATUS) & VIRTIO_NEEDS_RESET);
	assert_int_equal(driver_nused(&q), 1);
	assert_int_equal(d.dev->queues[0].in_flight, 0);
}

static void request_with_a_short_header_fails(void **state)
{
	static const struct driver_piece pieces[] = {{HEADER, 15, false}, {STATUS, 1, true}};

	(void)state;
	assert_int_equal(finish(driver_chain(&q, pieces, 2), NULL), VIRTIO_BLK_S_IOERR);
	assert_int_equal(finish(driver_chain(&q, pieces + 1, 1), NULL), VIRTIO_BLK_S_IOERR);
}

static void unknown_requests_are_not_supported(void **state)
{
	static const uint32_t types[] = {2, 3, 5, 7, 10, 14, 15, 16, 0x80000000u, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		assert_int_equal(request(types[i], 0, 512), VIRTIO_BLK_S_UNSUPP);
	assert_original(0, DISK);
}

static void empty_requests_do_nothing(void **state)
{
	uint32_t len;

	(void)state;
	assert_int_equal(request_at(VIRTIO_BLK_T_IN, 5, 0, 0, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 1);
	assert_int_equal(request(VIRTIO_BLK_T_OUT, SECTORS, 0), VIRTIO_BLK_S_OK);
	assert_original(0, DISK);
}

static void serial_number_is_given(void **state)
{
	uint32_t len;

	(void)state;
	memset(memory(0), 0xcc, 64);
	assert_int_equal(request_at(VIRTIO_BLK_T_GET_ID, 0, DATA, 20, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 21);
	assert_memory_equal(memory(0), "disk-1\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	assert_int_equal(*memory(20), 0xcc);
	/* Into less and more than it is long. */
	assert_int_equal(request_at(VIRTIO_BLK_T_GET_ID, 0, DATA + 100, 4, NULL),
			 VIRTIO_BLK_S_OK);
	assert_memory_equal(memory(100), "disk", 4);
	assert_int_equal(request_at(VIRTIO_BLK_T_GET_ID, 0, DATA, 64, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 20);
}

static void flush_succeeds(void **state)
{
	(void)state;
	assert_int_equal(write_sectors(0, 1, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
}

static void driver_that_cannot_flush_can_write(void **state)
{
	(void)state;
	restart(0, VIRTIO_VERSION_1, 0);
	assert_int_equal(write_sectors(2, 1, 0x42), VIRTIO_BLK_S_OK);
	assert_int_equal(on_disk(BYTES(2)), 0x42);
}

static void many_requests_at_once_are_each_done_once(void **state)
{
	uint32_t seen = 0, head, len;

	(void)state;
	put_header(VIRTIO_BLK_T_IN, 1);
	for (uint32_t round = 0; round < 40; round++) {
		for (uint32_t i = 0; i < 16; i++) {
			const struct driver_piece pieces[] = {{HEADER, 16, false},
							      {DATA + i * 512, 512, true},
							      {STATUS + i, 1, true}};

			driver_chain(&q, pieces, 3);
		}
		memset(host(STATUS), 0xee, 16);
		driver_notify(&d, 0);
		while (driver_used(&q, &head, &len)) {
			assert_int_equal(len, 513);
			seen++;
		}
		for (uint32_t i = 0; i < 16; i++)
			assert_int_equal(*(uint8_t *)host(STATUS + i), VIRTIO_BLK_S_OK);
	}
	assert_int_equal(seen, 640);
	assert_int_equal(d.dev->requests, 640);
}

/* The header, the data and the status in the same place: whatever comes of it stays there. */
static void overlapping_pieces_are_the_drivers_own_affair(void **state)
{
	static const struct driver_piece pieces[] = {
		{HEADER, 16, false}, {HEADER, 512, true}, {HEADER, 1, true}};

	(void)state;
	put_header(VIRTIO_BLK_T_IN, 4);
	driver_chain(&q, pieces, 3);
	driver_notify(&d, 0);
	assert_int_equal(driver_nused(&q), 1);
	assert_int_equal(*(uint8_t *)host(HEADER), VIRTIO_BLK_S_OK);
	assert_int_equal(*(uint8_t *)host(HEADER + 1), original(BYTES(4) + 1));
}

/* --- discard and write zeroes ------------------------------------------------------------- */

static void zeroes_are_written_with_and_without_unmapping(void **state)
{
	(void)state;
	for (uint32_t flags = 0; flags < 2; flags++) {
		assert_int_equal(write_sectors(8, 24, 0x99), VIRTIO_BLK_S_OK);
		assert_int_equal(range(VIRTIO_BLK_T_WRITE_ZEROES, 9, 21, flags),
				 VIRTIO_BLK_S_OK);
		assert_int_equal(on_disk(BYTES(9) - 1), 0x99);
		for (uint64_t i = BYTES(9); i < BYTES(30); i++)
			assert_int_equal(on_disk(i), 0);
		assert_int_equal(on_disk(BYTES(30)), 0x99);
	}
	assert_int_equal(lseek(disk, 0, SEEK_END), DISK);
}

static void last_sectors_can_be_zeroed(void **state)
{
	(void)state;
	for (uint32_t flags = 0; flags < 2; flags++) {
		assert_int_equal(write_sectors(SECTORS - 3, 3, 1), VIRTIO_BLK_S_OK);
		assert_int_equal(range(VIRTIO_BLK_T_WRITE_ZEROES, SECTORS - 2, 2, flags),
				 VIRTIO_BLK_S_OK);
		assert_int_equal(read_sectors(SECTORS - 3, 3), VIRTIO_BLK_S_OK);
		assert_memory_is(0, 512, 1);
		assert_memory_is(512, 1024, 0);
	}
}

static void discard_touches_nothing_but_its_range(void **state)
{
	const struct virtio_blk_discard_write_zeroes two[] = {
		{.sector = 8, .num_sectors = 8}, {.sector = 40, .num_sectors = 16}};

	(void)state;
	assert_int_equal(ranges(VIRTIO_BLK_T_DISCARD, two, 2), VIRTIO_BLK_S_OK);
	assert_original(0, BYTES(8));
	assert_original(BYTES(16), BYTES(24));
	assert_original(BYTES(56), DISK - BYTES(56));
	assert_int_equal(lseek(disk, 0, SEEK_END), DISK);
}

static void wrong_ranges_are_refused_before_anything_is_done(void **state)
{
	const struct virtio_blk_discard_write_zeroes two[] = {
		{.sector = 0, .num_sectors = 8}, {.sector = SECTORS, .num_sectors = 1}};
	struct virtio_blk_discard_write_zeroes many[17] = {{.num_sectors = 1}};
	static const uint32_t types[] = {VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		uint32_t t = types[i];

		assert_int_equal(ranges(t, two, 2), VIRTIO_BLK_S_IOERR);
		assert_int_equal(ranges(t, many, 17), VIRTIO_BLK_S_IOERR);
		assert_int_equal(range(t, SECTORS, 1, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(range(t, 0, SECTORS + 1, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(range(t, UINT64_MAX, 8, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(range(t, 0, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(range(t, 0, 8, 2), VIRTIO_BLK_S_UNSUPP);
		assert_int_equal(range(t, 0, 8, 0x80000001), VIRTIO_BLK_S_UNSUPP);
		assert_int_equal(request(t, 0, 15), VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(t, 0, 24), VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(t, 0, 0), VIRTIO_BLK_S_IOERR);
		assert_int_equal(range(t, 0, 0, 0), VIRTIO_BLK_S_OK);
	}
	/* 5.2.6.2: only write zeroes has the flag. */
	assert_int_equal(range(VIRTIO_BLK_T_DISCARD, 0, 8, 1), VIRTIO_BLK_S_UNSUPP);
	assert_original(0, DISK);
}

/* --- read-only and failing disks ---------------------------------------------------------- */

static void readonly_disk_is_not_written(void **state)
{
	(void)state;
	restart(BLK_READONLY, ALL_GOOD, 0);
	assert_true(driver_features(&d) & FEATURE(RO));
	assert_false(driver_features(&d) & (FEATURE(DISCARD) | FEATURE(WRITE_ZEROES)));
	assert_int_equal(write_sectors(0, 1, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(range(VIRTIO_BLK_T_DISCARD, 0, 8, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(range(VIRTIO_BLK_T_WRITE_ZEROES, 0, 8, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(VIRTIO_BLK_T_FLUSH, 0, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(read_sectors(0, 1), VIRTIO_BLK_S_OK);
	assert_memory_is_original(0, 512);
	assert_original(0, DISK);
}

static void file_that_was_cut_off_gives_errors(void **state)
{
	uint32_t len;

	(void)state;
	assert_int_equal(ftruncate(disk, BYTES(10)), 0);
	assert_int_equal(read_sectors(9, 1), VIRTIO_BLK_S_OK);
	assert_int_equal(request_at(VIRTIO_BLK_T_IN, 9, DATA, 1024, &len), VIRTIO_BLK_S_IOERR);
	assert_int_equal(len, 0);
	assert_int_equal(read_sectors(50, 1), VIRTIO_BLK_S_IOERR);
}

/* As when the host's disk is full: writes fail, the guest is told, and reads go on. */
static void write_that_the_host_refuses_is_an_error(void **state)
{
	struct rlimit old, less;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	less = (struct rlimit){BYTES(8), old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
	assert_int_equal(write_sectors(0, 1, 0x11), VIRTIO_BLK_S_OK);
	assert_int_equal(write_sectors(20, 1, 0x11), VIRTIO_BLK_S_IOERR);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_original(BYTES(20), 512);
	assert_int_equal(read_sectors(20, 1), VIRTIO_BLK_S_OK);
}

/* --- opening ------------------------------------------------------------------------------ */

static int open_disk(const char *name, uint32_t flags, mayfly_error *err)
{
	const struct blk_config config = {.path = name, .flags = flags};
	struct virtio_device *dev;
	int r = blk_new(&config, &dev, err);

	if (r == 0)
		dev->ops->free(dev);
	else
		assert_non_null(strstr(err->message, name));
	return r;
}

static void what_is_no_disk_is_refused(void **state)
{
	mayfly_error err;

	(void)state;
	assert_int_equal(open_disk("/tmp", 0, &err), MAYFLY_E_INVALID);
	assert_int_equal(open_disk("/tmp", BLK_READONLY, &err), MAYFLY_E_INVALID);
	assert_int_equal(open_disk("/no/such/disk", 0, &err), MAYFLY_E_IO);
	assert_int_equal(err.sys_errno, ENOENT);
	assert_int_equal(open_disk("/dev/null", BLK_READONLY, &err), MAYFLY_E_INVALID);
	assert_int_equal(ftruncate(disk, 1000), 0);
	assert_int_equal(open_disk(path, 0, &err), MAYFLY_E_INVALID);
	assert_int_equal(ftruncate(disk, 0), 0);
	assert_int_equal(open_disk(path, BLK_OVERLAY, &err), MAYFLY_E_INVALID);
}

static void fifo_is_refused_without_waiting(void **state)
{
	char name[sizeof(path) + 8];
	mayfly_error err;

	(void)state;
	snprintf(name, sizeof(name), "%s.fifo", path);
	assert_int_equal(mkfifo(name, 0600), 0);
	assert_int_equal(open_disk(name, BLK_READONLY, &err), MAYFLY_E_INVALID);
	assert_int_equal(open_disk(name, 0, &err), MAYFLY_E_INVALID);
	unlink(name);
}

static void two_machines_do_not_write_one_disk(void **state)
{
	static const uint32_t ways[] = {0, BLK_READONLY, BLK_OVERLAY};
	mayfly_error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		const struct blk_config config = {.path = path, .flags = ways[i]};
		struct virtio_device *dev;

		assert_int_equal(blk_new(&config, &dev, NULL), 0);
		for (size_t k = 0; k < ARRAY_SIZE(ways); k++) {
			bool both_read = ways[i] && ways[k];

			assert_int_equal(open_disk(path, ways[k], &err),
					 both_read ? 0 : MAYFLY_E_BUSY);
		}
		dev->ops->free(dev);
	}
	assert_int_equal(open_disk(path, 0, &err), 0);
}

static void no_descriptor_is_left_or_inherited(void **state)
{
	const struct blk_config config = {.path = path, .flags = BLK_OVERLAY};
	struct virtio_device *dev;
	int first = dup(0), now;

	(void)state;
	close(first);
	assert_int_equal(blk_new(&config, &dev, NULL), 0);
	assert_int_equal(fcntl(first, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(first + 1, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(first, F_GETFL) & O_NONBLOCK, 0);
	dev->ops->free(dev);
	now = dup(0);
	assert_int_equal(now, first);
	close(now);
}

static void out_of_memory_is_reported(void **state)
{
	const struct blk_config config = {.path = path, .flags = BLK_OVERLAY};
	struct virtio_device *dev = NULL;
	int first = dup(0), now;
	size_t n;

	(void)state;
	close(first);
	for (n = 1;; n++) {
		int r;

		fail_alloc_at(n);
		r = blk_new(&config, &dev, NULL);
		if (!fail_alloc_end())
			break;
		assert_int_equal(r, MAYFLY_E_NOMEM);
	}
	assert_true(n > 4);
	dev->ops->free(dev);
	now = dup(0);
	assert_int_equal(now, first);
	close(now);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define FILE_ONLY(name) cmocka_unit_test_setup_teardown(name, setup_file, teardown_file)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(configuration_describes_the_disk),
		T(read_gives_what_is_on_the_disk),
		T(write_changes_what_it_names_and_nothing_else),
		T(requests_beyond_the_end_fail_as_a_whole),
		T(parts_of_sectors_are_refused),
		T(requests_larger_than_the_limit_are_refused),
		T(header_and_status_may_be_anywhere),
		T(data_in_as_many_pieces_as_are_offered),
		T(request_without_room_for_its_status_breaks_the_queue),
		T(request_with_a_short_header_fails),
		T(unknown_requests_are_not_supported),
		T(empty_requests_do_nothing),
		T(serial_number_is_given),
		T(flush_succeeds),
		T(driver_that_cannot_flush_can_write),
		T(many_requests_at_once_are_each_done_once),
		T(overlapping_pieces_are_the_drivers_own_affair),
		T(zeroes_are_written_with_and_without_unmapping),
		T(last_sectors_can_be_zeroed),
		T(discard_touches_nothing_but_its_range),
		T(wrong_ranges_are_refused_before_anything_is_done),
		T(readonly_disk_is_not_written),
		T(file_that_was_cut_off_gives_errors),
		T(write_that_the_host_refuses_is_an_error),
		FILE_ONLY(what_is_no_disk_is_refused),
		FILE_ONLY(fifo_is_refused_without_waiting),
		FILE_ONLY(two_machines_do_not_write_one_disk),
		FILE_ONLY(no_descriptor_is_left_or_inherited),
		FILE_ONLY(out_of_memory_is_reported),
	};

	return cmocka_run_group_tests_name("virtio_blk", tests, NULL, NULL);
}

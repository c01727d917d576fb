/* SPDX-License-Identifier: Apache-2.0 */
/* Who answers at which address, and what those get that nobody answers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <string.h>

#include "machine/bus.h"

struct device {
	uint64_t offset, value;
	uint32_t len;
	uint32_t reads, writes;
	uint64_t answer;
};

static struct bus bus;

static uint64_t read_device(void *context, uint64_t offset, uint32_t len)
{
	struct device *d = context;

	d->offset = offset;
	d->len = len;
	d->reads++;
	return d->answer;
}

static void write_device(void *context, uint64_t offset, uint32_t len, uint64_t value)
{
	struct device *d = context;

	d->offset = offset;
	d->len = len;
	d->value = value;
	d->writes++;
}

static const struct bus_ops ops = {.read = read_device, .write = write_device};

static int add(uint64_t base, uint64_t len, struct device *device, mayfly_error *err)
{
	struct bus_range range = {
		.base = base, .len = len, .ops = &ops, .device = device, .name = "device"};

	return bus_add(&bus, &range, err);
}

static int setup(void **state)
{
	(void)state;
	memset(&bus, 0, sizeof(bus));
	return 0;
}

static void each_range_gets_its_own_accesses(void **state)
{
	struct device d[3] = {{.answer = 1}, {.answer = 2}, {.answer = 3}};

	(void)state;
	/* Not in their order. */
	assert_int_equal(add(0x300, 8, &d[2], NULL), 0);
	assert_int_equal(add(0x100, 8, &d[0], NULL), 0);
	assert_int_equal(add(0x108, 4, &d[1], NULL), 0);
	assert_int_equal(bus_read(&bus, 0x107, 1), 1);
	assert_int_equal(bus_read(&bus, 0x108, 4), 2);
	assert_int_equal(bus_read(&bus, 0x304, 2), 3);
	assert_int_equal(d[2].offset, 4);
	assert_int_equal(d[2].len, 2);
	bus_write(&bus, 0x10a, 2, 0x12345678);
	assert_int_equal(d[1].offset, 2);
	assert_int_equal(d[1].value, 0x5678);
	for (uint32_t i = 0; i < bus.count; i++)
		assert_true(bus.ranges[i].first > 0);
}

static void nobody_gives_ones(void **state)
{
	struct device d = {.answer = 0};

	(void)state;
	assert_int_equal(add(0x100, 8, &d, NULL), 0);
	assert_int_equal(bus_read(&bus, 0xff, 1), 0xff);
	assert_int_equal(bus_read(&bus, 0x108, 2), 0xffff);
	assert_int_equal(bus_read(&bus, 0, 4), 0xffffffff);
	assert_true(bus_read(&bus, UINT64_MAX, 8) == UINT64_MAX);
	bus_write(&bus, 0x200, 1, 0);
	assert_int_equal(bus.ranges[0].first, 0);
	assert_int_equal(d.reads + d.writes, 0);
}

static void access_across_an_end_reaches_nobody(void **state)
{
	struct device d[2] = {{.answer = 1}, {.answer = 2}};

	(void)state;
	assert_int_equal(add(0x100, 6, &d[0], NULL), 0);
	assert_int_equal(add(0x106, 6, &d[1], NULL), 0);
	assert_int_equal(bus_read(&bus, 0x104, 4), 0xffffffff);
	assert_int_equal(bus_read(&bus, 0xfe, 4), 0xffffffff);
	bus_write(&bus, 0x105, 2, 0);
	assert_int_equal(d[0].reads + d[0].writes + d[1].reads + d[1].writes, 0);
	assert_int_equal(bus_read(&bus, 0x104, 2), 1);
}

static void answers_are_cut_to_their_width(void **state)
{
	struct device d = {.answer = 0x1122334455667788};

	(void)state;
	assert_int_equal(add(0x100, 8, &d, NULL), 0);
	assert_int_equal(bus_read(&bus, 0x100, 1), 0x88);
	assert_int_equal(bus_read(&bus, 0x100, 4), 0x55667788);
	assert_true(bus_read(&bus, 0x100, 8) == 0x1122334455667788);
}

static void range_at_the_end_of_addresses_works(void **state)
{
	struct device d = {.answer = 7};

	(void)state;
	assert_int_equal(add(UINT64_MAX - 7, 8, &d, NULL), 0);
	assert_int_equal(bus_read(&bus, UINT64_MAX, 1), 7);
	assert_int_equal(bus_read(&bus, UINT64_MAX, 2), 0xffff);
}

static void ranges_that_overlap_or_are_nothing_are_refused(void **state)
{
	struct device d = {.answer = 0};
	mayfly_error err;

	(void)state;
	assert_int_equal(add(0x100, 0x10, &d, NULL), 0);
	assert_int_equal(add(0x100, 0x10, &d, &err), MAYFLY_E_INVALID);
	assert_int_equal(add(0x10f, 1, &d, &err), MAYFLY_E_INVALID);
	assert_int_equal(add(0xf8, 9, &d, &err), MAYFLY_E_INVALID);
	assert_int_equal(add(0, 0x1000, &d, &err), MAYFLY_E_INVALID);
	assert_int_equal(add(0x200, 0, &d, &err), MAYFLY_E_INVALID);
	assert_int_equal(add(UINT64_MAX, 2, &d, &err), MAYFLY_E_INVALID);
	assert_int_equal(bus.count, 1);
	assert_int_equal(add(0xf8, 8, &d, &err), 0);
	assert_int_equal(add(0x110, 1, &d, &err), 0);
}

static void full_bus_takes_no_more(void **state)
{
	struct device d = {.answer = 0};
	mayfly_error err;

	(void)state;
	for (uint64_t i = 0; i < BUS_MAX_RANGES; i++)
		assert_int_equal(add(i * 16, 16, &d, NULL), 0);
	assert_int_equal(add(0x10000, 1, &d, &err), MAYFLY_E_LIMIT);
	assert_int_equal(bus_read(&bus, (uint64_t)(BUS_MAX_RANGES - 1) * 16, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(each_range_gets_its_own_accesses, setup),
		cmocka_unit_test_setup(nobody_gives_ones, setup),
		cmocka_unit_test_setup(access_across_an_end_reaches_nobody, setup),
		cmocka_unit_test_setup(answers_are_cut_to_their_width, setup),
		cmocka_unit_test_setup(range_at_the_end_of_addresses_works, setup),
		cmocka_unit_test_setup(ranges_that_overlap_or_are_nothing_are_refused, setup),
		cmocka_unit_test_setup(full_bus_takes_no_more, setup),
	};

	return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}

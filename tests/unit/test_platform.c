/* SPDX-License-Identifier: Apache-2.0 */
/* Clock, keyboard controller, reset ports, fw_cfg and Mayfly's own ports, by their bus. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <endian.h>
#include <string.h>
#include <time.h>

#include "machine/machine.h"
#include "machine/platform.h"

#define MEMORY 65536

static struct machine machine;
static struct bus bus;
static struct ram ram;
static uint8_t memory[MEMORY];
static mayfly_error err;
static struct rtc *rtc;
static struct i8042 *i8042;
static struct fwcfg *fwcfg;
static struct ports *ports;

static int setup(void **state)
{
	static const struct fwcfg_file files[] = {{"opt/one", "first", 5}, {"opt/none", "", 0}};

	(void)state;
	memset(&machine, 0, sizeof(machine));
	memset(&bus, 0, sizeof(bus));
	memset(memory, 0x5a, sizeof(memory));
	ram = (struct ram){.mem = memory, .low = MEMORY, .len = MEMORY};
	pthread_mutex_init(&machine.lock, NULL);
	pthread_cond_init(&machine.changed, NULL);
	return rtc_new(&bus, &rtc, &err) || i8042_new(&bus, &machine, &i8042, &err) ||
	       fwcfg_new(&bus, &ram, files, 2, &fwcfg, &err) ||
	       ports_new(&bus, &machine, &ports, &err);
}

static int teardown(void **state)
{
	(void)state;
	rtc_free(rtc);
	i8042_free(i8042);
	fwcfg_free(fwcfg);
	ports_free(ports);
	pthread_cond_destroy(&machine.changed);
	pthread_mutex_destroy(&machine.lock);
	return 0;
}

static uint8_t in8(uint16_t port)
{
	return (uint8_t)bus_read(&bus, port, 1);
}

static void out8(uint16_t port, uint8_t v)
{
	bus_write(&bus, port, 1, v);
}

/* --- clock ------------------------------------------------------------------------------------ */

static uint8_t cmos(uint8_t index)
{
	out8(0x70, index);
	return in8(0x71);
}

static int bcd(uint8_t v)
{
	return (v >> 4) * 10 + (v & 0xf);
}

static time_t read_clock(bool binary)
{
	uint8_t v[7];
	static const uint8_t index[] = {0, 2, 4, 7, 8, 9, 0x32};
	struct tm tm;

	for (int i = 0; i < 7; i++)
		v[i] = binary ? cmos(index[i]) : (uint8_t)bcd(cmos(index[i]));
	tm = (struct tm){.tm_sec = v[0],
			 .tm_min = v[1],
			 .tm_hour = v[2],
			 .tm_mday = v[3],
			 .tm_mon = v[4] - 1,
			 .tm_year = v[6] * 100 + v[5] - 1900};
	return timegm(&tm);
}

/* Read until nothing changed meanwhile. */
static time_t clock_now(bool binary)
{
	time_t once = read_clock(binary), again;

	while ((again = read_clock(binary)) != once)
		once = again;
	return once;
}

/* Not by time(2), which lags behind this by up to a tick. */
static time_t host_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec;
}

static void clock_is_the_hosts_in_utc(void **state)
{
	time_t before = host_seconds(), now = clock_now(false);

	(void)state;
	assert_true(before <= now && now <= host_seconds());
	out8(0x70, 0x0b);
	out8(0x71, 0x06); /* binary */
	before = host_seconds();
	now = clock_now(true);
	assert_true(before <= now && now <= host_seconds());
}

static void clock_shows_twelve_hours_if_asked(void **state)
{
	time_t before, now;
	struct tm tm;
	uint8_t hour;

	(void)state;
	out8(0x70, 0x0b);
	out8(0x71, 0x04); /* binary, 12 hours */
	do {
		before = host_seconds();
		hour = cmos(4);
		now = host_seconds();
	} while (before / 3600 != now / 3600);
	gmtime_r(&now, &tm);
	assert_int_equal(hour & 0x80, tm.tm_hour >= 12 ? 0x80 : 0);
	assert_int_equal(hour & 0x7f, tm.tm_hour % 12 ? tm.tm_hour % 12 : 12);
	assert_int_equal(cmos(6), tm.tm_wday + 1);
}

static void clock_is_not_updating_for_ever(void **state)
{
	unsigned updating = 0;

	(void)state;
	for (int i = 0; i < 100; i++)
		updating += cmos(0x0a) >> 7;
	assert_true(updating < 100);
	assert_int_equal(cmos(0x0a) & 0x7f, 0x26);
}

static void diagnostics_and_validity_cannot_be_written(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 128; i++) {
		out8(0x70, (uint8_t)i);
		out8(0x71, 0xff);
	}
	assert_int_equal(cmos(0x0e), 0);
	assert_int_equal(cmos(0x0d), 0x80);
	assert_int_equal(cmos(0x0c), 0);
	assert_int_equal(cmos(0x0b), 0x86);
	assert_int_equal(cmos(0x50), 0xff);
	assert_int_equal(cmos(0x80 | 0x50), 0xff); /* NMI masked: the same register */
}

static void clock_survives_being_saved(void **state)
{
	struct writer w = {0};
	struct reader r;

	(void)state;
	out8(0x70, 0x40);
	out8(0x71, 0x77);
	rtc_save(rtc, &w);
	out8(0x71, 0x11);
	out8(0x70, 0);
	r = (struct reader){w.data, w.len, false};
	assert_true(rtc_load(rtc, &r));
	assert_int_equal(in8(0x71), 0x77);
	for (size_t cut = 0; cut < w.len; cut++) {
		r = (struct reader){w.data, cut, false};
		assert_false(rtc_load(rtc, &r));
	}
	w.data[0] = 0x80; /* an index that cannot be */
	r = (struct reader){w.data, w.len, false};
	assert_false(rtc_load(rtc, &r));
	free(w.data);
}

/* --- keyboard controller -------------------------------------------------------------------------- */

static void controller_answers_what_it_is_asked(void **state)
{
	static const struct {
		uint8_t command, answer;
	} asked[] = {{0xaa, 0x55}, {0xab, 0},	 {0xa9, 1},
		     {0xc0, 0x80}, {0xd0, 0xcf}, {0x20, 0x30}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		assert_int_equal(in8(0x64) & 1, 0);
		out8(0x64, asked[i].command);
		assert_int_equal(in8(0x64) & 0x21, 1);
		assert_int_equal(in8(0x60), asked[i].answer);
		assert_int_equal(in8(0x64) & 3, 0);
	}
	assert_int_equal(machine.stop, STOP_NONE);
}

static void keyboard_and_mouse_are_not_there_at_once(void **state)
{
	(void)state;
	out8(0x60, 0xf2);
	assert_int_equal(in8(0x64) & 0x21, 0x01);
	assert_int_equal(in8(0x60), 0xfe);
	out8(0x64, 0xd4);
	out8(0x60, 0xf2);
	assert_int_equal(in8(0x64) & 0x21, 0x21);
	assert_int_equal(in8(0x60), 0xfe);
	out8(0x64, 0xd3); /* what a mouse's port would give back */
	out8(0x60, 0x5a);
	assert_int_not_equal(in8(0x60), 0x5a);
}

static void every_byte_of_controller_ram_is_kept(void **state)
{
	(void)state;
	for (uint8_t i = 0; i < 32; i++) {
		out8(0x64, (uint8_t)(0x60 + i));
		out8(0x60, (uint8_t)(i * 3));
	}
	for (uint8_t i = 0; i < 32; i++) {
		out8(0x64, (uint8_t)(0x20 + i));
		assert_int_equal(in8(0x60), i * 3);
	}
}

static void each_reset_port_resets(void **state)
{
	static const struct {
		uint16_t port;
		uint8_t value;
		bool resets;
	} writes[] = {
		{0x64, 0xfe, true}, {0x64, 0xf0, true}, {0x64, 0xff, false}, {0xcf9, 2, false},
		{0xcf9, 6, true},   {0xcf9, 4, true},	{0x92, 2, false},    {0x92, 1, true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(writes); i++) {
		machine.stop = STOP_NONE;
		out8(writes[i].port, writes[i].value);
		assert_int_equal(machine.stop, writes[i].resets ? STOP_RESET : STOP_NONE);
	}
	machine.stop = STOP_NONE;
	out8(0x64, 0xd1);
	out8(0x60, 0xdf);
	assert_int_equal(machine.stop, STOP_NONE);
	out8(0x64, 0xd1);
	out8(0x60, 0xde);
	assert_int_equal(machine.stop, STOP_RESET);
	machine.stop = STOP_NONE;
	/* A PCI address beside the port is none of it. */
	bus_write(&bus, 0xcf8, 4, 0x80000600);
	assert_int_equal(machine.stop, STOP_NONE);
	assert_int_equal(bus_read(&bus, 0xcf8, 4), 0xffffffff);
}

static void controller_survives_being_saved(void **state)
{
	struct writer w = {0};
	struct reader r;

	(void)state;
	out8(0x64, 0x61); /* a byte is still to come */
	i8042_save(i8042, &w);
	out8(0x60, 1);
	r = (struct reader){w.data, w.len, false};
	assert_true(i8042_load(i8042, &r));
	out8(0x60, 0x42);
	out8(0x64, 0x21);
	assert_int_equal(in8(0x60), 0x42);
	for (size_t cut = 0; cut < w.len; cut++) {
		r = (struct reader){w.data, cut, false};
		assert_false(i8042_load(i8042, &r));
	}
	for (unsigned command = 0; command < 256; command++) {
		w.data[32] = (uint8_t)command;
		r = (struct reader){w.data, w.len, false};
		if (i8042_load(i8042, &r)) /* then the byte has a place to go to */
			out8(0x60, 0xff);
	}
	w.data[33] = 1; /* beyond a byte */
	r = (struct reader){w.data, w.len, false};
	assert_false(i8042_load(i8042, &r));
	free(w.data);
}

/* --- fw_cfg ------------------------------------------------------------------------------------------ */

static void select_item(uint16_t item)
{
	bus_write(&bus, 0x510, 2, item);
}

static void assert_reads(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(in8(0x511), (uint8_t)bytes[i]);
}

static bool dma_of(uint32_t control, uint32_t len, uint64_t address)
{
	uint32_t c = htobe32(control), l = htobe32(len), result;
	uint64_t a = htobe64(address);

	memcpy(memory, &c, 4);
	memcpy(memory + 4, &l, 4);
	memcpy(memory + 8, &a, 8);
	bus_write(&bus, 0x514, 4, 0);
	bus_write(&bus, 0x518, 4, 0);
	memcpy(&result, memory, 4);
	assert_true(result == 0 || result == htobe32(1));
	return result == 0;
}

static void signature_and_files_are_read_byte_by_byte(void **state)
{
	(void)state;
	select_item(0);
	assert_reads("QEMU\0\0", 6);
	select_item(1);
	assert_reads("\3\0\0\0", 4);
	select_item(0x19);
	assert_reads("\0\0\0\2\0\0\0\5\0\x20\0\0opt/one\0", 20);
	select_item(0x20);
	assert_reads("first\0\0", 7);
	select_item(0x21);
	assert_reads("\0\0", 2);
	select_item(0x22);
	assert_reads("\0\0", 2);
	select_item(0xffff);
	assert_reads("\0\0", 2);
}

static void dma_reads_selects_and_skips(void **state)
{
	(void)state;
	assert_int_equal(bus_read(&bus, 0x514, 4), 0x554d4551);
	assert_int_equal(bus_read(&bus, 0x518, 4), 0x47464320);
	assert_true(dma_of(0x20000a, 3, 0x1000));
	assert_memory_equal(memory + 0x1000, "fir\x5a", 4);
	assert_true(dma_of(4, 1, 0));
	assert_true(dma_of(2, 3, 0x1000));
	assert_memory_equal(memory + 0x1000, "t\0\0\x5a", 4);
	assert_true(dma_of(0x200008, 0, 0));
	assert_true(dma_of(4, UINT32_MAX, 0));
	assert_int_equal(in8(0x511), 0);
}

static void dma_that_cannot_be_is_an_error(void **state)
{
	(void)state;
	assert_false(dma_of(0x20000a, 16, MEMORY - 15));
	assert_false(dma_of(0x20000a, 16, UINT64_MAX - 3));
	assert_false(dma_of(0x20000a, UINT32_MAX, 0));
	assert_false(dma_of(0x200018, 4, 0x1000)); /* a write */
	assert_memory_equal(memory + 0x1000, "\x5a\x5a\x5a\x5a", 4);
	/* A request that is not in memory cannot even be told that. */
	bus_write(&bus, 0x514, 4, htobe32(0xffffffff));
	bus_write(&bus, 0x518, 4, htobe32(0xfffffff8));
	bus_write(&bus, 0x514, 4, 0);
	bus_write(&bus, 0x518, 4, htobe32(MEMORY - 8));
}

static void other_widths_do_nothing(void **state)
{
	(void)state;
	select_item(0x20);
	assert_int_equal(bus_read(&bus, 0x511, 2), 0);
	assert_int_equal(bus_read(&bus, 0x510, 4), 0);
	bus_write(&bus, 0x511, 1, 7);
	assert_reads("first", 5);
}

static void files_that_cannot_be_are_refused(void **state)
{
	static const char long_name[] =
		"12345678901234567890123456789012345678901234567890123456";
	struct fwcfg_file files[] = {{"a", "", 0}, {"a", "", 0}};
	struct bus other = {.count = 0};
	struct fwcfg *f;

	(void)state;
	assert_int_equal(fwcfg_new(&other, &ram, files, 2, &f, &err), MAYFLY_E_INVALID);
	files[1].name = "";
	assert_int_equal(fwcfg_new(&other, &ram, files, 2, &f, &err), MAYFLY_E_INVALID);
	files[1].name = long_name;
	assert_int_equal(fwcfg_new(&other, &ram, files, 2, &f, &err), MAYFLY_E_INVALID);
	files[1].name = long_name + 1;
	assert_int_equal(fwcfg_new(&other, &ram, files, 2, &f, &err), MAYFLY_OK);
	fwcfg_free(f);
}

static void place_in_a_file_survives_being_saved(void **state)
{
	struct writer w = {0};
	struct reader r;

	(void)state;
	select_item(0x20);
	assert_reads("fi", 2);
	fwcfg_save(fwcfg, &w);
	assert_reads("rst", 3);
	r = (struct reader){w.data, w.len, false};
	assert_true(fwcfg_load(fwcfg, &r));
	assert_reads("rst", 3);
	memset(w.data + 8, 0xff, 4); /* past the end: no further than it */
	r = (struct reader){w.data, w.len, false};
	assert_true(fwcfg_load(fwcfg, &r));
	assert_reads("\0", 1);
	assert_true(dma_of(2, 4, 0x1000));
	r = (struct reader){w.data, w.len - 1, false};
	assert_false(fwcfg_load(fwcfg, &r));
	free(w.data);
}

/* --- Mayfly's own ------------------------------------------------------------------------------------- */

static void exit_port_ends_with_the_status(void **state)
{
	(void)state;
	bus_write(&bus, PORT_EXIT, 4, 0x107);
	assert_int_equal(machine.stop, STOP_EXIT);
	assert_int_equal(machine.exit_status, 7);
	bus_write(&bus, PORT_EXIT, 1, 9); /* the first counts */
	assert_int_equal(machine.exit_status, 7);
}

static void mark_port_does_not_end_it(void **state)
{
	(void)state;
	out8(PORT_MARK, 3);
	assert_int_equal(machine.stop, STOP_NONE);
}

static void generation_is_read_in_all_widths(void **state)
{
	(void)state;
	for (uint8_t i = 0; i < 16; i++)
		machine.generation[i] = i;
	assert_int_equal(bus_read(&bus, PORT_GENERATION, 4), 0x03020100);
	assert_int_equal(bus_read(&bus, PORT_GENERATION + 12, 4), 0x0f0e0d0c);
	assert_int_equal(bus_read(&bus, PORT_GENERATION + 15, 1), 0x0f);
	assert_int_equal(bus_read(&bus, PORT_GENERATION + 14, 4), 0xffffffff); /* half of it */
	bus_write(&bus, PORT_GENERATION, 4, 0);
	assert_int_equal(bus_read(&bus, PORT_GENERATION, 4), 0x03020100);
}

/* Every port, width and value: nobody reads or writes where nothing is. The sanitizers look. */
static void no_access_does_harm(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < bus.count; i++) {
		const struct bus_range range = {.base = bus.ranges[i].base,
						.len = bus.ranges[i].len};

		for (uint64_t at = range.base; at < range.base + range.len; at++) {
			for (uint32_t len = 1; len <= 8; len *= 2) {
				for (unsigned v = 0; v < 256; v++)
					bus_write(&bus, at, len,
						  v * UINT64_C(0x0101010101010101));
				assert_true(len == 8 ||
					    bus_read(&bus, at, len) >> len * 8 == 0);
			}
		}
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(clock_is_the_hosts_in_utc),
		TEST(clock_shows_twelve_hours_if_asked),
		TEST(clock_is_not_updating_for_ever),
		TEST(diagnostics_and_validity_cannot_be_written),
		TEST(clock_survives_being_saved),
		TEST(controller_answers_what_it_is_asked),
		TEST(keyboard_and_mouse_are_not_there_at_once),
		TEST(every_byte_of_controller_ram_is_kept),
		TEST(each_reset_port_resets),
		TEST(controller_survives_being_saved),
		TEST(signature_and_files_are_read_byte_by_byte),
		TEST(dma_reads_selects_and_skips),
		TEST(dma_that_cannot_be_is_an_error),
		TEST(other_widths_do_nothing),
		TEST(files_that_cannot_be_are_refused),
		TEST(place_in_a_file_survives_being_saved),
		TEST(exit_port_ends_with_the_status),
		TEST(mark_port_does_not_end_it),
		TEST(generation_is_read_in_all_widths),
		TEST(no_access_does_harm),
	};

	return cmocka_run_group_tests_name("platform", tests, NULL, NULL);
}

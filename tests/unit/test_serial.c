/* SPDX-License-Identifier: Apache-2.0 */
/* The serial port, register by register, as drivers of 16550As use it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <fcntl.h>
#include <string.h>

#include "machine/platform.h"

#define DATA 0
#define IER 1
#define IIR 2
#define FCR 2
#define LCR 3
#define MCR 4
#define LSR 5
#define MSR 6
#define SCRATCH 7

#define EMPTY 0x60 /* LSR: nothing waits to be sent */

static struct bus bus;
static struct loop *loop;
static struct stream *stream;
static struct serial *serial;
static int to_guest, from_guest;
static bool level;
static uint32_t changes;
static struct loop_source *turn_timer;

static void set_line(void *context, uint32_t irq, bool on)
{
	assert_ptr_equal(context, &bus);
	assert_int_equal(irq, SERIAL_IRQ);
	assert_int_not_equal(level, on);
	level = on;
	changes++;
}

static const struct irq_line line = {.set = set_line, .context = &bus, .irq = SERIAL_IRQ};

static uint8_t in(uint16_t reg)
{
	return (uint8_t)bus_read(&bus, SERIAL_PORT + reg, 1);
}

static void out(uint16_t reg, uint8_t value)
{
	bus_write(&bus, SERIAL_PORT + reg, 1, value);
}

static void stop_turn(void *context, uint32_t events)
{
	(void)events;
	loop_stop(context);
}

/* Have the loop do what is due: what it does may make more due. */
static void turn(void)
{
	for (int i = 0; i < 4; i++) {
		loop_set_timer(turn_timer, 2);
		loop_run(loop);
	}
}

static void make(int host_in, int host_out)
{
	memset(&bus, 0, sizeof(bus));
	level = false;
	changes = 0;
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(loop_add_timer(loop, stop_turn, loop, &turn_timer, NULL), 0);
	assert_int_equal(stream_new(loop, host_in, host_out, &stream, NULL), 0);
	assert_int_equal(serial_new(&bus, stream, &line, &serial, NULL), 0);
}

static int setup(void **state)
{
	int input[2], output[2];

	(void)state;
	assert_int_equal(pipe2(input, O_CLOEXEC), 0);
	assert_int_equal(pipe2(output, O_CLOEXEC | O_NONBLOCK), 0);
	make(input[0], output[1]);
	close(input[0]);
	close(output[1]);
	to_guest = input[1];
	from_guest = output[0];
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	serial_free(serial);
	stream_free(stream);
	loop_free(loop);
	close(to_guest);
	close(from_guest);
	return 0;
}

static void type(const char *text)
{
	assert_int_equal(write(to_guest, text, strlen(text)), strlen(text));
	turn();
}

static void expect_output(const char *text)
{
	char buffer[256];
	ssize_t n;

	stream_drain(stream, UINT64_MAX);
	n = read(from_guest, buffer, sizeof(buffer));
	assert_int_equal(n, strlen(text));
	assert_memory_equal(buffer, text, strlen(text));
}

static void after_reset_it_is_idle_and_asks_for_nothing(void **state)
{
	(void)state;
	assert_int_equal(in(IER), 0);
	assert_int_equal(in(IIR), 0x01);
	assert_int_equal(in(LCR), 0);
	assert_int_equal(in(MCR), 0);
	assert_int_equal(in(LSR), EMPTY);
	assert_int_equal(in(MSR), 0xb0);
	assert_int_equal(in(SCRATCH), 0);
	assert_false(level);
}

static void the_scratch_register_keeps_any_byte(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 256; i++) {
		out(SCRATCH, (uint8_t)i);
		assert_int_equal(in(SCRATCH), i);
	}
}

static void only_four_interrupts_can_be_enabled(void **state)
{
	(void)state;
	out(IER, 0xff);
	assert_int_equal(in(IER), 0x0f);
	out(IER, 0);
	assert_int_equal(in(IER), 0);
}

static void the_divisor_latch_hides_two_registers(void **state)
{
	(void)state;
	out(IER, 0x01);
	out(LCR, 0x83);
	assert_int_equal(in(DATA), 12);
	assert_int_equal(in(IER), 0);
	out(DATA, 0x34);
	out(IER, 0x12);
	assert_int_equal(in(DATA), 0x34);
	assert_int_equal(in(IER), 0x12);
	out(LCR, 0x03);
	assert_int_equal(in(LCR), 0x03);
	assert_int_equal(in(IER), 0x01);
}

/* What Linux's 8250 driver tells an 8250, 16450, 16550, 16550A, 16750 and others apart by. */
static void drivers_take_it_for_a_16550a(void **state)
{
	(void)state;
	out(FCR, 0x01);
	assert_int_equal(in(IIR) >> 6, 3);
	/* No enhanced features, behind neither value of the LCR; no 64-byte FIFO. */
	out(LCR, 0x80);
	assert_int_not_equal(in(IIR), 0);
	out(LCR, 0xbf);
	assert_int_not_equal(in(IIR), 0);
	out(LCR, 0x80);
	out(FCR, 0x21);
	assert_int_equal(in(IIR) >> 5, 6);
	out(LCR, 0);
	out(FCR, 0);
	assert_int_equal(in(IIR) >> 6, 0);
}

static void output_goes_out_in_order(void **state)
{
	static const char text[] = "login: ";

	(void)state;
	for (const char *p = text; *p; p++) {
		assert_int_equal(in(LSR), EMPTY);
		out(DATA, (uint8_t)*p);
	}
	expect_output(text);
}

static void the_first_byte_is_out_at_once(void **state)
{
	char c;

	(void)state;
	out(DATA, '!');
	assert_int_equal(read(from_guest, &c, 1), 1);
	assert_int_equal(c, '!');
	assert_int_not_equal(stream_first_output(stream), 0);
}

static void a_wide_write_is_several_of_a_byte(void **state)
{
	(void)state;
	bus_write(&bus, SERIAL_PORT + LCR, 2, 0x0a83);
	assert_int_equal(in(LCR), 0x83);
	assert_int_equal(in(MCR), 0x0a);
	assert_int_equal(bus_read(&bus, SERIAL_PORT + LCR, 2), 0x0a83);
}

static void enabling_the_transmitters_interrupt_raises_it(void **state)
{
	(void)state;
	out(IER, 0x02);
	assert_true(level);
	assert_int_equal(in(IIR), 0x02);
	/* Reading which one it is acknowledges it. */
	assert_false(level);
	assert_int_equal(in(IIR), 0x01);
	/* Once more, as drivers test for chips that do not. */
	out(IER, 0);
	out(IER, 0x02);
	assert_int_equal(in(IIR), 0x02);
}

static void a_byte_sent_interrupts_again(void **state)
{
	(void)state;
	out(IER, 0x02);
	in(IIR);
	out(DATA, 'x');
	assert_true(level);
	assert_int_equal(in(IIR), 0x02);
	expect_output("x");
}

static void input_waits_until_the_guest_listens(void **state)
{
	(void)state;
	type("root\n");
	assert_int_equal(in(LSR), EMPTY);
	/* As drivers do that set a port up: none of it may be lost. */
	out(FCR, 0x07);
	in(DATA);
	out(IER, 0x01);
	turn();
	for (const char *p = "root\n"; *p; p++) {
		assert_int_equal(in(LSR), EMPTY | 0x01);
		assert_int_equal(in(DATA), *p);
	}
	assert_int_equal(in(LSR), EMPTY);
}

static void polling_for_input_is_listening(void **state)
{
	(void)state;
	type("y");
	for (int i = 0; i < 1000 && !(in(LSR)&0x01); i++)
		turn();
	assert_int_equal(in(DATA), 'y');
}

static void polling_for_output_is_not(void **state)
{
	(void)state;
	type("y");
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(in(LSR), EMPTY);
		out(DATA, '.');
		turn();
	}
}

static void received_bytes_interrupt_until_they_are_read(void **state)
{
	(void)state;
	out(FCR, 0x81); /* the trigger at 8 */
	out(IER, 0x01);
	type("abc");
	assert_true(level);
	assert_int_equal(in(IIR), 0xcc); /* fewer than that, and none to come: timeout */
	for (int i = 0; i < 3; i++) {
		assert_true(level);
		in(DATA);
	}
	assert_false(level);
	type("0123456789");
	assert_int_equal(in(IIR), 0xc4);
	in(DATA);
	in(DATA);
	in(DATA);
	assert_int_equal(in(IIR), 0xcc);
}

static void without_fifos_one_byte_is_there_at_a_time(void **state)
{
	(void)state;
	out(IER, 0x01);
	type("abc");
	for (const char *p = "abc"; *p; p++) {
		assert_int_equal(in(IIR), 0x04);
		assert_int_equal(in(DATA), *p);
		assert_int_equal(in(LSR), EMPTY);
		turn();
	}
}

static void more_than_a_fifo_is_kept_and_not_overrun(void **state)
{
	char text[101] = "";

	(void)state;
	memset(text, 'a', 100);
	for (int i = 0; i < 100; i++)
		text[i] = (char)('!' + i % 90);
	out(FCR, 0x01);
	out(IER, 0x01);
	type(text);
	for (int i = 0; i < 100; i++) {
		if (!(in(LSR)&0x01))
			turn();
		assert_int_equal(in(LSR), EMPTY | 0x01);
		assert_int_equal(in(DATA), text[i]);
	}
}

static void receiving_is_more_urgent_than_sending(void **state)
{
	(void)state;
	out(FCR, 0x01);
	out(IER, 0x03);
	type("a");
	assert_int_equal(in(IIR), 0xc4);
	in(DATA);
	assert_int_equal(in(IIR), 0xc2);
	assert_int_equal(in(IIR), 0xc1);
}

static void clearing_the_receiver_forgets_what_is_in_it(void **state)
{
	(void)state;
	out(FCR, 0x01);
	out(IER, 0x01);
	type("abc");
	out(FCR, 0x03);
	assert_int_equal(in(LSR), EMPTY);
	assert_false(level);
}

static void loopback_gives_back_lines_and_bytes(void **state)
{
	(void)state;
	/* Linux's test of whether a port is there: RTS and OUT2 come back as CTS and DCD. */
	out(MCR, 0x1a);
	assert_int_equal(in(MSR)&0xf0, 0x90);
	out(MCR, 0x15);
	assert_int_equal(in(MSR)&0xf0, 0x60);
	out(FCR, 0x01);
	out(IER, 0x01);
	out(DATA, 'q');
	assert_int_equal(in(DATA), 'q');
	out(MCR, 0);
	assert_int_equal(in(MSR)&0xf0, 0xb0);
	/* Nothing of that was on the line. */
	out(DATA, 'z');
	expect_output("z");
}

static void input_from_outside_waits_during_loopback(void **state)
{
	(void)state;
	out(IER, 0x01);
	out(MCR, 0x10);
	type("a");
	assert_int_equal(in(LSR), EMPTY);
	out(MCR, 0);
	turn();
	assert_int_equal(in(DATA), 'a');
}

static void changes_of_lines_interrupt_once(void **state)
{
	(void)state;
	out(IER, 0x08);
	assert_false(level);
	out(MCR, 0x10); /* CTS, DSR and DCD drop */
	assert_true(level);
	assert_int_equal(in(IIR), 0x00);
	assert_int_equal(in(MSR), 0x0b);
	assert_false(level);
	assert_int_equal(in(MSR), 0x00);
	/* The ring indicator tells of its end only. */
	out(MCR, 0x14);
	assert_int_equal(in(MSR), 0x40);
	out(MCR, 0x10);
	assert_int_equal(in(MSR), 0x04);
}

static void status_registers_cannot_be_written(void **state)
{
	(void)state;
	out(LSR, 0xff);
	out(MSR, 0xff);
	assert_int_equal(in(LSR), EMPTY);
	assert_int_equal(in(MSR), 0xb0);
}

static void the_line_changes_only_when_it_must(void **state)
{
	(void)state;
	out(IER, 0x02);
	for (int i = 0; i < 50; i++)
		out(DATA, 'x');
	assert_int_equal(changes, 1);
}

/* Fill stream and transmitter: gives how many bytes went in. */
static size_t stall(void)
{
	size_t n = 0;

	while (in(LSR)&0x20) {
		out(DATA, (uint8_t)('a' + n % 26));
		n++;
	}
	return n;
}

static void a_host_that_does_not_read_stalls_the_transmitter(void **state)
{
	char buffer[4096];
	size_t sent, got = 0;

	(void)state;
	out(FCR, 0x01);
	sent = stall();
	out(IER, 0x02);
	assert_false(level);
	/* A driver that sends a FIFO's worth at an interrupt may still have some under way. */
	for (int i = 0; i < 15; i++, sent++)
		out(DATA, (uint8_t)('a' + sent % 26));
	assert_int_equal(in(LSR)&EMPTY, 0);
	while (got < sent) {
		ssize_t n = read(from_guest, buffer, sizeof(buffer));

		if (n < 0)
			turn();
		for (ssize_t i = 0; i < n; i++, got++)
			assert_int_equal(buffer[i], 'a' + got % 26);
	}
	turn();
	assert_int_equal(in(LSR), EMPTY);
	assert_true(level);
	assert_int_equal(in(IIR)&0x0f, 0x02);
}

static void a_reader_that_is_gone_does_not_stall_it(void **state)
{
	(void)state;
	close(from_guest);
	from_guest = -1;
	for (int i = 0; i < 300000; i++) {
		out(DATA, 'x');
		assert_int_equal(in(LSR), EMPTY);
	}
}

static void reload(struct writer *w)
{
	struct reader r = {.data = w->data, .left = w->len};

	serial_free(serial);
	memset(&bus, 0, sizeof(bus));
	level = false;
	assert_int_equal(serial_new(&bus, stream, &line, &serial, NULL), 0);
	assert_true(serial_load(serial, &r));
	assert_int_equal(r.left, 0);
	free(w->data);
}

static void saved_state_goes_on(void **state)
{
	struct writer w = {.data = NULL};

	(void)state;
	out(LCR, 0x80);
	out(DATA, 1);
	out(LCR, 0x03);
	out(FCR, 0xc1);
	out(MCR, 0x0b);
	out(SCRATCH, 0x5a);
	out(IER, 0x05);
	type("ab");
	serial_save(serial, &w);
	reload(&w);
	assert_true(level);
	assert_int_equal(in(LCR), 0x03);
	assert_int_equal(in(MCR), 0x0b);
	assert_int_equal(in(SCRATCH), 0x5a);
	assert_int_equal(in(IER), 0x05);
	assert_int_equal(in(IIR), 0xcc);
	assert_int_equal(in(DATA), 'a');
	assert_int_equal(in(DATA), 'b');
	assert_false(level);
	type("c");
	assert_int_equal(in(DATA), 'c');
	out(LCR, 0x80);
	assert_int_equal(in(DATA), 1);
}

static void damaged_state_is_refused_at_each_length(void **state)
{
	struct writer w = {.data = NULL};

	(void)state;
	out(FCR, 0x01);
	out(IER, 0x01);
	type("abc");
	serial_save(serial, &w);
	for (size_t len = 0; len < w.len; len++) {
		struct reader r = {.data = w.data, .left = len};

		assert_false(serial_load(serial, &r));
	}
	/* And each byte of it may be anything: then it is another state, or none. */
	for (size_t i = 0; i < w.len; i++) {
		uint8_t old = w.data[i];
		struct reader r = {.data = w.data, .left = w.len};

		w.data[i] = 0xff;
		serial_load(serial, &r);
		in(LSR);
		in(IIR);
		in(DATA);
		w.data[i] = old;
	}
	free(w.data);
}

static void more_than_one_byte_without_fifos_is_refused(void **state)
{
	struct writer w = {.data = NULL};
	const uint64_t off = 0;
	struct reader r;

	(void)state;
	out(FCR, 0x01);
	out(IER, 0x01);
	type("abc");
	serial_save(serial, &w);
	/* Six registers before, and the divisor. */
	memcpy(w.data + 6 * sizeof(uint64_t) + 2, &off, sizeof(off));
	r = (struct reader){.data = w.data, .left = w.len};
	assert_false(serial_load(serial, &r));
	free(w.data);
}

static void without_a_stream_output_goes_nowhere(void **state)
{
	struct serial *silent;
	struct bus own;

	(void)state;
	memset(&own, 0, sizeof(own));
	assert_int_equal(serial_new(&own, NULL, &line, &silent, NULL), 0);
	bus_write(&own, SERIAL_PORT, 1, 'x');
	assert_int_equal(bus_read(&own, SERIAL_PORT + LSR, 1), EMPTY);
	bus_write(&own, SERIAL_PORT + IER, 1, 0x01);
	assert_int_equal(bus_read(&own, SERIAL_PORT + DATA, 1), 0);
	serial_free(silent);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(after_reset_it_is_idle_and_asks_for_nothing),
		TEST(the_scratch_register_keeps_any_byte),
		TEST(only_four_interrupts_can_be_enabled),
		TEST(the_divisor_latch_hides_two_registers),
		TEST(drivers_take_it_for_a_16550a),
		TEST(output_goes_out_in_order),
		TEST(the_first_byte_is_out_at_once),
		TEST(a_wide_write_is_several_of_a_byte),
		TEST(enabling_the_transmitters_interrupt_raises_it),
		TEST(a_byte_sent_interrupts_again),
		TEST(input_waits_until_the_guest_listens),
		TEST(polling_for_input_is_listening),
		TEST(polling_for_output_is_not),
		TEST(received_bytes_interrupt_until_they_are_read),
		TEST(without_fifos_one_byte_is_there_at_a_time),
		TEST(more_than_a_fifo_is_kept_and_not_overrun),
		TEST(receiving_is_more_urgent_than_sending),
		TEST(clearing_the_receiver_forgets_what_is_in_it),
		TEST(loopback_gives_back_lines_and_bytes),
		TEST(input_from_outside_waits_during_loopback),
		TEST(changes_of_lines_interrupt_once),
		TEST(status_registers_cannot_be_written),
		TEST(the_line_changes_only_when_it_must),
		TEST(a_host_that_does_not_read_stalls_the_transmitter),
		TEST(a_reader_that_is_gone_does_not_stall_it),
		TEST(saved_state_goes_on),
		TEST(damaged_state_is_refused_at_each_length),
		TEST(more_than_one_byte_without_fifos_is_refused),
		TEST(without_a_stream_output_goes_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio console and its ports, driven through registers and rings. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "virtio/console.h"
#include "virtio_driver.h"

/* Features and control events (virtio 1.2, 5.3). */
#define SIZE ((uint64_t)1 << 0)
#define MULTIPORT ((uint64_t)1 << 1)
#define EMERG_WRITE ((uint64_t)1 << 2)
#define READY 0
#define ADD 1
#define PORT_READY 3
#define CONSOLE_PORT 4
#define RESIZE 5
#define OPEN 6
#define NAME 7

#define RX 0
#define TX 1
#define CONTROL_RX 2
#define CONTROL_TX 3
#define PORT_RX 4
#define PORT_TX 5
#define NQUEUES 6

#define RING 64
#define QUEUE_AT(n) (0x10000 + 0x2000 * (uint64_t)(n))
#define BUFFER_AT(n) (0x80000 + 0x4000 * (uint64_t)(n))
#define BUFFER 256

static struct driver driver;
static struct driver_queue queues[NQUEUES];
static struct stream *stream;
static struct loop *stream_loop;
static struct virtio_device *dev;
static int to_guest, from_guest;
static char dir[64], path[96];
static uint32_t buffers[NQUEUES]; /* how many the queue was given */

struct message {
	uint32_t id;
	uint16_t event;
	uint16_t value;
	char rest[64];
	size_t nrest;
};

static void make_stream(void)
{
	int in[2], out[2];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(loop_new(&stream_loop, NULL), 0);
	assert_int_equal(stream_new(stream_loop, in[0], out[1], &stream, NULL), 0);
	close(in[0]);
	close(out[1]);
	to_guest = in[1];
	from_guest = out[0];
}

static void stop_turn(void *context, uint32_t events)
{
	(void)events;
	loop_stop(context);
}

/* Have both loops do what is due: the stream has one of its own here. */
static void turn(void)
{
	struct loop_source *timer;

	assert_int_equal(loop_add_timer(stream_loop, stop_turn, stream_loop, &timer, NULL), 0);
	for (int i = 0; i < 4; i++) {
		loop_set_timer(timer, 2);
		loop_run(stream_loop);
		driver_run(&driver);
	}
	loop_remove(timer);
}

static void make_console(const struct console_port *ports, size_t nports)
{
	const struct console_config config = {
		.stream = stream, .ports = ports, .nports = nports};

	assert_int_equal(console_new(&config, &dev, NULL), 0);
	driver_init(&driver, dev, false);
}

/* With a stream on pipes, and one port. */
static int setup(void **state)
{
	const struct console_port port = {.name = "agent", .path = path};

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/mayfly-console-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/agent", dir);
	make_stream();
	make_console(&port, 1);
	return 0;
}

static void fini(void)
{
	driver_fini(&driver);
	stream_free(stream);
	loop_free(stream_loop);
	close(to_guest);
	close(from_guest);
}

static int teardown(void **state)
{
	(void)state;
	fini();
	assert_int_equal(rmdir(dir), 0); /* its socket is gone */
	return 0;
}

static void start(uint64_t features, uint16_t nqueues)
{
	assert_true(driver_negotiate(&driver, features | VIRTIO_VERSION_1));
	for (uint16_t i = 0; i < nqueues; i++) {
		driver_queue_init(&queues[i], &driver.memory.ram, QUEUE_AT(i), RING);
		driver_set_queue(&driver, i, &queues[i]);
		buffers[i] = 0;
	}
	driver_go(&driver);
	turn();
}

/* Give a queue for input one more buffer: its address. */
static uint64_t give(uint16_t queue, uint32_t len)
{
	struct driver_piece piece = {.at = BUFFER_AT(queue) +
					   BUFFER * (uint64_t)(buffers[queue]++ % RING),
				     .len = len,
				     .write = true};

	driver_chain(&queues[queue], &piece, 1);
	driver_notify(&driver, queue);
	turn();
	return piece.at;
}

static void put(uint16_t queue, const void *data, uint32_t len)
{
	struct driver_piece piece = {.at = BUFFER_AT(queue) +
					   BUFFER * (uint64_t)(buffers[queue]++ % RING),
				     .len = len};

	memcpy(driver_at(&driver.memory.ram, piece.at, len), data, len);
	driver_chain(&queues[queue], &piece, 1);
	driver_notify(&driver, queue);
	turn();
}

static void expect_used(uint16_t queue, uint32_t expected_len)
{
	uint32_t head, len;

	assert_true(driver_used(&queues[queue], &head, &len));
	assert_int_equal(len, expected_len);
}

static void expect_none_used(uint16_t queue)
{
	assert_int_equal(driver_nused(&queues[queue]), 0);
}

static void expect_read(int fd, const char *text)
{
	char buffer[512];
	size_t got = 0;

	while (got < strlen(text)) {
		ssize_t n = read(fd, buffer + got, strlen(text) - got);

		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			turn();
			continue;
		}
		assert_true(n > 0);
		got += (size_t)n;
	}
	assert_memory_equal(buffer, text, got);
}

/* --- Control messages ------------------------------------------------------------------------- */

static void say(uint32_t id, uint16_t event, uint16_t value)
{
	const struct {
		uint32_t id;
		uint16_t event, value;
	} m = {id, event, value};

	put(CONTROL_TX, &m, sizeof(m));
	expect_used(CONTROL_TX, 0);
}

/* The next message, in the order of the buffers given. */
static struct message next_message(void)
{
	static uint32_t taken;
	struct message m = {.id = 0};
	uint32_t head, len;
	uint8_t *at;

	if (buffers[CONTROL_RX] <= RING && queues[CONTROL_RX].used_idx == 0)
		taken = 0;
	assert_true(driver_used(&queues[CONTROL_RX], &head, &len));
	assert_in_range(len, 8, 8 + sizeof(m.rest));
	at = driver_at(&driver.memory.ram,
		       BUFFER_AT(CONTROL_RX) + BUFFER * (uint64_t)(taken++ % RING), BUFFER);
	memcpy(&m.id, at, 4);
	memcpy(&m.event, at + 4, 2);
	memcpy(&m.value, at + 6, 2);
	m.nrest = len - 8;
	memcpy(m.rest, at + 8, m.nrest);
	return m;
}

static void expect_message(uint32_t id, uint16_t event, uint16_t value)
{
	struct message m = next_message();

	assert_int_equal(m.id, id);
	assert_int_equal(m.event, event);
	assert_int_equal(m.value, value);
}

/* A driver that knows of ports, with plenty of buffers for messages, and port 1 open. */
static void start_multiport(void)
{
	start(SIZE | MULTIPORT, NQUEUES);
	for (int i = 0; i < RING / 2; i++)
		give(CONTROL_RX, BUFFER);
	say(0, READY, 1);
	expect_message(0, ADD, 1);
	expect_message(1, ADD, 1);
	say(1, PORT_READY, 1);
	expect_message(1, NAME, 1);
	say(1, OPEN, 1);
	expect_none_used(CONTROL_RX);
}

static int dial(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	turn();
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

/* --- Tests: the console ----------------------------------------------------------------------- */

static void ports_are_offered(void **state)
{
	(void)state;
	assert_int_equal(driver_features(&driver) & (SIZE | MULTIPORT | EMERG_WRITE),
			 SIZE | MULTIPORT | EMERG_WRITE);
	assert_int_equal(driver_read_config(&driver, 4, 4), 2);
	fini();
	make_stream();
	make_console(NULL, 0);
	assert_int_equal(driver_features(&driver) & (SIZE | MULTIPORT | EMERG_WRITE),
			 SIZE | MULTIPORT | EMERG_WRITE);
	assert_int_equal(driver_read_config(&driver, 4, 4), 1);
	assert_int_equal(dev->nqueues, 4);
}

static void output_reaches_the_stream(void **state)
{
	(void)state;
	start(0, 2);
	put(TX, "hello\n", 6);
	expect_used(TX, 0);
	expect_read(from_guest, "hello\n");
}

static void output_in_pieces_is_put_together(void **state)
{
	struct driver_piece pieces[3] = {{.at = BUFFER_AT(TX), .len = 2},
					 {.at = BUFFER_AT(TX) + 1000, .len = 3},
					 {.at = BUFFER_AT(TX) + 2000, .len = 1}};

	(void)state;
	start(0, 2);
	memcpy(driver_at(&driver.memory.ram, pieces[0].at, 2), "ab", 2);
	memcpy(driver_at(&driver.memory.ram, pieces[1].at, 3), "cde", 3);
	memcpy(driver_at(&driver.memory.ram, pieces[2].at, 1), "\n", 1);
	driver_chain(&queues[TX], pieces, 3);
	driver_notify(&driver, TX);
	turn();
	expect_used(TX, 0);
	expect_read(from_guest, "abcde\n");
}

static void input_fills_buffers(void **state)
{
	uint64_t at;

	(void)state;
	start(0, 2);
	assert_int_equal(write(to_guest, "root\n", 5), 5);
	turn();
	expect_none_used(RX);
	at = give(RX, 3);
	expect_used(RX, 3);
	assert_memory_equal(driver_at(&driver.memory.ram, at, 3), "roo", 3);
	at = give(RX, 100);
	expect_used(RX, 2);
	assert_memory_equal(driver_at(&driver.memory.ram, at, 2), "t\n", 2);
	/* The next is there before there is input. */
	give(RX, 100);
	expect_none_used(RX);
	assert_int_equal(write(to_guest, "x", 1), 1);
	turn();
	expect_used(RX, 1);
	assert_true(atomic_load(&driver.level));
}

static void a_byte_can_be_put_out_without_queues(void **state)
{
	(void)state;
	bus_write(&driver.bus, DRIVER_BASE + 0x108, 4, 'E');
	bus_write(&driver.bus, DRIVER_BASE + 0x108, 4, 0xffffff00u | '!');
	stream_drain(stream, UINT64_MAX);
	expect_read(from_guest, "E!");
	/* The rest of the configuration cannot be written. */
	bus_write(&driver.bus, DRIVER_BASE + 0x104, 4, 77);
	assert_int_equal(driver_read_config(&driver, 4, 4), 2);
}

static void the_size_is_in_the_configuration_and_changes(void **state)
{
	(void)state;
	console_resize(dev, 80, 24);
	start(SIZE, 2);
	assert_int_equal(driver_read_config(&driver, 0, 2), 80);
	assert_int_equal(driver_read_config(&driver, 2, 2), 24);
	assert_false(atomic_load(&driver.level));
	console_resize(dev, 132, 43);
	assert_true(atomic_load(&driver.level));
	assert_int_equal(driver_read_config(&driver, 0, 4), 43 << 16 | 132);
}

static void a_host_that_does_not_read_leaves_output_in_the_queue(void **state)
{
	char text[BUFFER], got[BUFFER];
	size_t sent = 0, done = 0, seen = 0;
	uint32_t head, len;

	(void)state;
	start(0, 2);
	for (;;) {
		for (size_t i = 0; i < BUFFER; i++)
			text[i] = (char)((sent + i) % 127);
		put(TX, text, BUFFER);
		sent += BUFFER;
		if (!driver_used(&queues[TX], &head, &len))
			break;
		done += BUFFER;
	}
	assert_true(done >= STREAM_BUFFER);
	while (seen < sent) {
		ssize_t n = read(from_guest, got, sizeof(got));

		if (n < 0)
			turn();
		for (ssize_t i = 0; i < n; i++, seen++)
			assert_int_equal(got[i], seen % 127);
	}
	turn();
	expect_used(TX, 0);
	expect_none_used(TX);
}

static void odd_chains_are_given_back(void **state)
{
	struct driver_piece in = {.at = BUFFER_AT(RX), .len = 8};
	struct driver_piece out = {.at = BUFFER_AT(TX), .len = 8, .write = true};

	(void)state;
	start(0, 2);
	driver_chain(&queues[TX], &out, 1);
	driver_notify(&driver, TX);
	turn();
	expect_used(TX, 0);
	/* A buffer for input that cannot be written. */
	driver_chain(&queues[RX], &in, 1);
	driver_notify(&driver, RX);
	assert_int_equal(write(to_guest, "x", 1), 1);
	turn();
	expect_used(RX, 0);
	give(RX, 8);
	expect_used(RX, 1);
}

/* As Linux has it: the buffers are there long before the console is. */
static void input_waits_until_the_console_is_opened(void **state)
{
	uint64_t at;

	(void)state;
	start_multiport();
	assert_int_equal(write(to_guest, "root\n", 5), 5);
	at = give(RX, 8);
	turn();
	expect_none_used(RX);
	say(0, PORT_READY, 1);
	turn();
	expect_none_used(RX);
	say(0, OPEN, 1);
	turn();
	expect_used(RX, 5);
	assert_memory_equal(driver_at(&driver.memory.ram, at, 5), "root\n", 5);
}

/* --- Tests: ports ----------------------------------------------------------------------------- */

static void the_driver_is_told_of_each_port(void **state)
{
	struct message m;

	(void)state;
	console_resize(dev, 80, 25);
	start(SIZE | MULTIPORT, NQUEUES);
	/* One buffer at a time: nothing is lost that has to wait. */
	say(0, READY, 1);
	expect_none_used(CONTROL_RX);
	give(CONTROL_RX, BUFFER);
	expect_message(0, ADD, 1);
	give(CONTROL_RX, BUFFER);
	expect_message(1, ADD, 1);
	say(0, PORT_READY, 1);
	give(CONTROL_RX, BUFFER);
	expect_message(0, CONSOLE_PORT, 1);
	give(CONTROL_RX, BUFFER);
	m = next_message();
	assert_int_equal(m.event, RESIZE);
	assert_int_equal(m.nrest, 4);
	assert_memory_equal(m.rest, "\x50\0\x19\0", 4);
	give(CONTROL_RX, BUFFER);
	expect_message(0, OPEN, 1);
	say(1, PORT_READY, 1);
	give(CONTROL_RX, BUFFER);
	m = next_message();
	assert_int_equal(m.id, 1);
	assert_int_equal(m.event, NAME);
	assert_int_equal(m.nrest, 5);
	assert_memory_equal(m.rest, "agent", 5);
	give(CONTROL_RX, BUFFER);
	expect_none_used(CONTROL_RX);
	console_resize(dev, 100, 30);
	expect_message(0, RESIZE, 1);
}

static void a_port_carries_bytes_both_ways(void **state)
{
	uint64_t at;
	int fd;

	(void)state;
	start_multiport();
	fd = dial();
	expect_message(1, OPEN, 1);
	put(PORT_TX, "from guest", 10);
	expect_used(PORT_TX, 0);
	expect_read(fd, "from guest");
	assert_int_equal(write(fd, "to guest", 8), 8);
	turn();
	expect_none_used(PORT_RX);
	at = give(PORT_RX, 100);
	expect_used(PORT_RX, 8);
	assert_memory_equal(driver_at(&driver.memory.ram, at, 8), "to guest", 8);
	close(fd);
	give(PORT_RX, 100);
	expect_message(1, OPEN, 0);
	expect_none_used(PORT_RX);
}

static void input_waits_until_the_port_is_opened(void **state)
{
	int fd;

	(void)state;
	start_multiport();
	say(1, OPEN, 0);
	give(PORT_RX, 100);
	fd = dial();
	expect_message(1, OPEN, 1);
	assert_int_equal(write(fd, "abc", 3), 3);
	turn();
	expect_none_used(PORT_RX);
	/* Even after the writer has left. */
	close(fd);
	turn();
	say(1, OPEN, 1);
	expect_used(PORT_RX, 3);
	give(PORT_RX, 100);
	expect_message(1, OPEN, 0);
}

static void output_without_a_client_is_dropped(void **state)
{
	int fd;

	(void)state;
	start_multiport();
	put(PORT_TX, "lost", 4);
	expect_used(PORT_TX, 0);
	fd = dial();
	put(PORT_TX, "found", 5);
	expect_read(fd, "found");
	close(fd);
}

static void a_client_that_leaves_in_the_middle_does_not_stall_the_port(void **state)
{
	static char text[BUFFER];
	uint32_t head, len;
	int fd;

	(void)state;
	start_multiport();
	give(PORT_RX, 100);
	fd = dial();
	expect_message(1, OPEN, 1);
	memset(text, 'x', sizeof(text));
	do {
		put(PORT_TX, text, sizeof(text));
	} while (driver_used(&queues[PORT_TX], &head, &len));
	close(fd);
	turn();
	expect_used(PORT_TX, 0);
	expect_message(1, OPEN, 0);
	fd = dial();
	expect_message(1, OPEN, 1);
	put(PORT_TX, "new", 3);
	expect_used(PORT_TX, 0);
	expect_read(fd, "new");
	close(fd);
}

static void a_second_client_waits_for_its_turn(void **state)
{
	int first, second;

	(void)state;
	start_multiport();
	give(PORT_RX, 100);
	give(PORT_RX, 100);
	first = dial();
	second = dial();
	assert_int_equal(write(second, "2", 1), 1);
	turn();
	expect_none_used(PORT_RX);
	close(first);
	turn();
	turn();
	expect_used(PORT_RX, 1);
	close(second);
}

static void messages_that_mean_nothing_are_ignored(void **state)
{
	uint8_t bytes[8];

	(void)state;
	start_multiport();
	say(UINT32_MAX, PORT_READY, 1);
	say(2, OPEN, 1);
	say(1, 0xffff, 0xffff);
	say(1, PORT_READY, 0);
	say(0x10001, READY, 0);
	for (uint32_t len = 1; len < 8; len++) {
		memset(bytes, 0, sizeof(bytes));
		put(CONTROL_TX, bytes, len);
		expect_used(CONTROL_TX, 0);
	}
	expect_none_used(CONTROL_RX);
	assert_null(dev->broken);
	/* Without MULTIPORT there are no control queues, and no port's. */
	start(0, NQUEUES);
	give(CONTROL_RX, BUFFER);
	say(0, READY, 1);
	expect_none_used(CONTROL_RX);
	assert_null(dev->broken);
}

static void buffers_too_small_for_a_message_get_none(void **state)
{
	(void)state;
	start(MULTIPORT, NQUEUES);
	give(CONTROL_RX, 7);
	say(0, READY, 1);
	expect_used(CONTROL_RX, 0);
	give(CONTROL_RX, 8);
	expect_used(CONTROL_RX, 8);
}

static void a_reset_closes_what_was_connected(void **state)
{
	char c;
	int fd;

	(void)state;
	start_multiport();
	fd = dial();
	driver_write(&driver, 0x70, 0);
	turn();
	assert_int_equal(read(fd, &c, 1), 0);
	close(fd);
	start_multiport();
	fd = dial();
	expect_message(1, OPEN, 1);
	close(fd);
}

/* In the place of the C library's: so many calls find no descriptor. */
static uint32_t refusals, refused;

int accept4(int fd, struct sockaddr *name, socklen_t *len, int flags)
{
	if (refused == refusals)
		return (int)syscall(SYS_accept4, fd, name, len, flags);
	refused++;
	errno = EMFILE;
	return -1;
}

static void connecting_waits_for_a_descriptor_without_haste(void **state)
{
	int fd;

	(void)state;
	start_multiport();
	refusals = UINT32_MAX;
	fd = dial();
	for (int i = 0; i < 200; i++)
		turn();
	/* It may have been asked again after a while, but not each turn. */
	assert_in_range(refused, 1, 100);
	refusals = refused;
	while (driver_nused(&queues[CONTROL_RX]) == 0)
		turn();
	expect_message(1, OPEN, 1);
	close(fd);
}

/* --- Tests: sockets --------------------------------------------------------------------------- */

static int make_second(const struct console_port *ports, size_t nports, mayfly_error *err)
{
	const struct console_config config = {.ports = ports, .nports = nports};
	struct virtio_device *second = NULL;
	int r = console_new(&config, &second, err);

	if (r == MAYFLY_OK)
		second->ops->free(second);
	return r;
}

static void a_socket_in_use_is_not_taken_over(void **state)
{
	const struct console_port port = {.name = "agent", .path = path};
	mayfly_error err;
	int fd;

	(void)state;
	assert_int_equal(make_second(&port, 1, &err), MAYFLY_E_IO);
	assert_non_null(strstr(err.message, path));
	assert_int_equal(access(path, F_OK), 0);
	fd = dial();
	close(fd);
}

static void a_socket_left_over_is_replaced(void **state)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	const struct console_port port = {.name = "agent", .path = name.sun_path};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	snprintf(name.sun_path, sizeof(name.sun_path), "%s/old", dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	close(fd);
	assert_int_equal(make_second(&port, 1, NULL), MAYFLY_OK);
	assert_int_equal(access(name.sun_path, F_OK), -1);
}

static void a_file_is_not_replaced(void **state)
{
	char file[96];
	const struct console_port port = {.name = "agent", .path = file};
	mayfly_error err;

	(void)state;
	snprintf(file, sizeof(file), "%s/file", dir);
	close(open(file, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(make_second(&port, 1, &err), MAYFLY_E_IO);
	assert_non_null(strstr(err.message, file));
	assert_int_equal(unlink(file), 0);
}

static void another_file_at_its_path_stays(void **state)
{
	(void)state;
	assert_int_equal(unlink(path), 0);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	driver_fini(&driver);
	assert_int_equal(unlink(path), 0);
	make_console(NULL, 0);
}

static void names_and_paths_are_checked(void **state)
{
	char long_name[65], long_path[120];
	struct console_port ports[2] = {{.name = "", .path = "x"}, {.name = "b", .path = "y"}};

	(void)state;
	assert_int_equal(make_second(ports, 1, NULL), MAYFLY_E_INVALID);
	ports[0].name = "a/b";
	assert_int_equal(make_second(ports, 1, NULL), MAYFLY_E_INVALID);
	memset(long_name, 'n', 64);
	long_name[64] = '\0';
	ports[0].name = long_name;
	assert_int_equal(make_second(ports, 1, NULL), MAYFLY_E_INVALID);
	memset(long_path, 'p', 119);
	long_path[119] = '\0';
	ports[0] = (struct console_port){.name = "a", .path = long_path};
	assert_int_equal(make_second(ports, 1, NULL), MAYFLY_E_INVALID);
	ports[0] = (struct console_port){.name = "b", .path = "/nonexistent/x"};
	assert_int_equal(make_second(ports, 1, NULL), MAYFLY_E_IO);
	snprintf(long_path, sizeof(long_path), "%s/one", dir);
	ports[0].path = long_path;
	assert_int_equal(make_second(ports, 2, NULL), MAYFLY_E_INVALID); /* twice */
	assert_int_equal(access(long_path, F_OK), -1);
	assert_int_equal(make_second(ports, CONSOLE_MAX_PORTS + 1, NULL), MAYFLY_E_INVALID);
}

/* --- Tests: snapshots ------------------------------------------------------------------------- */

static void saved_state_goes_on(void **state)
{
	struct writer w = {.data = NULL};
	struct reader r;
	int fd;

	(void)state;
	start_multiport();
	fd = dial();
	expect_message(1, OPEN, 1);
	console_resize(dev, 90, 40);
	pthread_mutex_lock(&dev->lock);
	dev->ops->save(dev, &w);
	dev->ops->stop(dev);
	r = (struct reader){.data = w.data, .left = w.len};
	assert_int_equal(dev->ops->load(dev, &r, NULL), MAYFLY_OK);
	assert_int_equal(r.left, 0);
	dev->ops->start(dev);
	pthread_mutex_unlock(&dev->lock);
	/* The client of then is not there any more. */
	expect_message(1, OPEN, 0);
	assert_int_equal(driver_read_config(&driver, 0, 4), 40 << 16 | 90);
	close(fd);
	fd = dial();
	expect_message(1, OPEN, 1);
	put(PORT_TX, "again", 5);
	expect_read(fd, "again");
	close(fd);
	free(w.data);
}

static void damaged_state_is_refused_at_each_length(void **state)
{
	struct writer w = {.data = NULL};

	(void)state;
	dev->ops->save(dev, &w);
	for (size_t len = 0; len < w.len; len++) {
		struct reader r = {.data = w.data, .left = len};

		assert_int_not_equal(dev->ops->load(dev, &r, NULL), MAYFLY_OK);
	}
	for (size_t i = 0; i < w.len; i++) {
		uint8_t old = w.data[i];
		struct reader r = {.data = w.data, .left = w.len};

		w.data[i] ^= 0xff;
		dev->ops->load(dev, &r, NULL);
		w.data[i] = old;
	}
	free(w.data);
}

static void state_of_other_ports_is_refused(void **state)
{
	const struct console_port port = {.name = "other", .path = path};
	struct writer w = {.data = NULL};
	struct reader r;
	mayfly_error err;

	(void)state;
	dev->ops->save(dev, &w);
	fini();
	make_stream();
	make_console(&port, 1);
	r = (struct reader){.data = w.data, .left = w.len};
	assert_int_equal(dev->ops->load(dev, &r, &err), MAYFLY_E_INVALID);
	assert_non_null(strstr(err.message, "agent"));
	fini();
	make_stream();
	make_console(NULL, 0);
	r = (struct reader){.data = w.data, .left = w.len};
	assert_int_equal(dev->ops->load(dev, &r, &err), MAYFLY_E_INVALID);
	free(w.data);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ports_are_offered),
		TEST(output_reaches_the_stream),
		TEST(output_in_pieces_is_put_together),
		TEST(input_fills_buffers),
		TEST(input_waits_until_the_console_is_opened),
		TEST(a_byte_can_be_put_out_without_queues),
		TEST(the_size_is_in_the_configuration_and_changes),
		TEST(a_host_that_does_not_read_leaves_output_in_the_queue),
		TEST(odd_chains_are_given_back),
		TEST(the_driver_is_told_of_each_port),
		TEST(a_port_carries_bytes_both_ways),
		TEST(input_waits_until_the_port_is_opened),
		TEST(output_without_a_client_is_dropped),
		TEST(a_client_that_leaves_in_the_middle_does_not_stall_the_port),
		TEST(a_second_client_waits_for_its_turn),
		TEST(messages_that_mean_nothing_are_ignored),
		TEST(buffers_too_small_for_a_message_get_none),
		TEST(a_reset_closes_what_was_connected),
		TEST(connecting_waits_for_a_descriptor_without_haste),
		TEST(a_socket_in_use_is_not_taken_over),
		TEST(a_socket_left_over_is_replaced),
		TEST(a_file_is_not_replaced),
		TEST(another_file_at_its_path_stays),
		TEST(names_and_paths_are_checked),
		TEST(saved_state_goes_on),
		TEST(damaged_state_is_refused_at_each_length),
		TEST(state_of_other_ports_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

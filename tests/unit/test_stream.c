/* SPDX-License-Identifier: Apache-2.0 */
/* The host's end of a console, on all that a standard stream may be. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

#include "machine/stream.h"

#define MAX_ROOM 100000
#define PTY_NAME 64

static struct loop *loop;
static struct loop_source *turn_timer;
static struct stream *stream;

/* What the user of the stream has seen. */
static struct {
	char got[MAX_ROOM];
	size_t len;
	size_t room; /* how much more it takes */
	uint32_t writable;
	uint32_t seen;
} user;

static size_t take_input(void *context, const uint8_t *data, size_t len)
{
	size_t n = len < user.room ? len : user.room;

	assert_ptr_equal(context, &user);
	assert_in_range(user.len + n, 0, sizeof(user.got));
	memcpy(user.got + user.len, data, n);
	user.len += n;
	user.room -= n;
	return n;
}

static void count_writable(void *context)
{
	assert_ptr_equal(context, &user);
	user.writable++;
}

static const struct stream_ops ops = {.input = take_input, .writable = count_writable};

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

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* As long as it takes; a hang ends the test. */
static void wait_for_input(size_t len)
{
	while (user.len < len) {
		nap();
		turn();
	}
	assert_int_equal(user.len, len);
}

static int setup(void **state)
{
	(void)state;
	memset(&user, 0, sizeof(user));
	user.room = MAX_ROOM;
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(loop_add_timer(loop, stop_turn, loop, &turn_timer, NULL), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	stream_free(stream);
	stream = NULL;
	loop_free(loop);
	return 0;
}

static void make(int in, int out)
{
	assert_int_equal(stream_new(loop, in, out, &stream, NULL), 0);
	stream_set_user(stream, &ops, &user);
}

static size_t put(const char *text)
{
	return stream_write(stream, (const uint8_t *)text, strlen(text));
}

static void expect_read(int fd, const char *text)
{
	char buffer[256];
	size_t got = 0;

	while (got < strlen(text)) {
		ssize_t n = read(fd, buffer + got, strlen(text) - got);

		assert_true(n > 0);
		got += (size_t)n;
	}
	assert_memory_equal(buffer, text, got);
}

static void expect_nothing(int fd)
{
	char c;

	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(fd, &c, 1), -1);
}

static void output_without_a_descriptor_goes_nowhere(void **state)
{
	(void)state;
	make(-1, -1);
	assert_int_equal(put("text"), 4);
	stream_drain(stream, UINT64_MAX);
	stream_want_input(stream);
	turn();
	assert_int_equal(user.len, 0);
	assert_int_not_equal(stream_first_output(stream), 0);
}

static void a_bad_descriptor_is_an_error(void **state)
{
	mayfly_error err;

	(void)state;
	assert_int_equal(stream_new(loop, -1, 1000000, &stream, &err), MAYFLY_E_IO);
	assert_non_null(strstr(err.message, "1000000"));
	stream = NULL;
}

static void the_first_byte_is_out_at_once_and_lines_are_whole(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	make(-1, fd[1]);
	assert_int_equal(put("l"), 1);
	expect_read(fd[0], "l");
	put("ine\n");
	expect_read(fd[0], "ine\n");
	close(fd[0]);
	close(fd[1]);
}

static void what_is_held_back_comes_without_more(void **state)
{
	int fd[2];
	char c;

	(void)state;
	assert_int_equal(pipe2(fd, O_NONBLOCK), 0);
	make(-1, fd[1]);
	put("a");
	put("b");
	put("c");
	expect_read(fd[0], "a");
	while (read(fd[0], &c, 1) != 1)
		turn();
	assert_int_equal(c, 'b');
	expect_read(fd[0], "c");
	close(fd[0]);
	close(fd[1]);
}

static void drain_puts_out_what_is_held_back(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	make(-1, fd[1]);
	for (const char *p = "prompt> "; *p; p++)
		assert_int_equal(stream_write(stream, (const uint8_t *)p, 1), 1);
	stream_drain(stream, UINT64_MAX);
	expect_read(fd[0], "prompt> ");
	close(fd[0]);
	close(fd[1]);
}

static void drain_gives_up_when_its_time_is_over(void **state)
{
	static uint8_t much[2 * STREAM_BUFFER];
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	make(-1, fd[1]);
	while (stream_write(stream, much, sizeof(much)) == sizeof(much))
		;
	stream_drain(stream, 1000000);
	close(fd[0]);
	close(fd[1]);
}

/* Bytes that count up, so that a lost or doubled one shows. */
static void fill(uint8_t *to, size_t len, size_t from)
{
	for (size_t i = 0; i < len; i++)
		to[i] = (uint8_t)((from + i) % 251);
}

/* A reader that does not come in time, then reads all: nothing is lost, and writing goes on. */
static void check_slow_reader(int out, int reader)
{
	uint8_t chunk[1000], got[5000];
	size_t sent = 0, n, seen = 0;

	make(-1, out);
	for (;;) {
		fill(chunk, sizeof(chunk), sent);
		n = stream_write(stream, chunk, sizeof(chunk));
		sent += n;
		if (n < sizeof(chunk))
			break;
	}
	assert_true(sent >= STREAM_BUFFER);
	assert_int_equal(stream_write(stream, chunk, 1), 0);
	turn();
	assert_int_equal(user.writable, 0);
	assert_int_equal(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
	while (seen < sent) {
		ssize_t r = read(reader, got, sizeof(got));

		if (r < 0)
			turn();
		for (ssize_t i = 0; i < r; i++, seen++)
			assert_int_equal(got[i], seen % 251);
	}
	turn();
	assert_int_equal(user.writable, 1);
	assert_int_equal(put("on\n"), 3);
	expect_read(reader, "on\n");
}

static void a_slow_reader_of_a_pipe_loses_nothing(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	check_slow_reader(fd[1], fd[0]);
	assert_int_equal(fcntl(fd[1], F_GETFL) & O_NONBLOCK, 0);
	close(fd[0]);
	close(fd[1]);
}

static void a_slow_reader_of_a_socket_loses_nothing(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	check_slow_reader(fd[1], fd[0]);
	assert_int_equal(fcntl(fd[1], F_GETFL) & O_NONBLOCK, 0);
	close(fd[0]);
	close(fd[1]);
}

/* A pseudoterminal in raw mode: the master, and what to open it by. */
static int open_pty(char *name)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	char path[PTY_NAME];
	struct termios t;

	assert_true(master >= 0);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	assert_int_equal(ptsname_r(master, path, sizeof(path)), 0);
	memcpy(name, path, sizeof(path));
	slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0);
	assert_int_equal(tcgetattr(slave, &t), 0);
	cfmakeraw(&t);
	assert_int_equal(tcsetattr(slave, TCSANOW, &t), 0);
	close(slave);
	return master;
}

static void a_slow_reader_of_a_terminal_loses_nothing(void **state)
{
	char name[PTY_NAME];
	int master = open_pty(name), slave = open(name, O_RDWR | O_NOCTTY);

	(void)state;
	check_slow_reader(slave, master);
	assert_int_equal(fcntl(slave, F_GETFL) & O_NONBLOCK, 0);
	close(slave);
	close(master);
}

static void a_slow_reader_behind_a_blocking_master_loses_nothing(void **state)
{
	char name[PTY_NAME];
	int master = open_pty(name), slave = open(name, O_RDWR | O_NOCTTY);

	(void)state;
	check_slow_reader(master, slave);
	close(slave);
	close(master);
}

static void output_waits_for_whoever_opens_the_terminal(void **state)
{
	char name[PTY_NAME];
	int master = open_pty(name), slave;

	(void)state;
	make(master, master);
	stream_want_input(stream);
	put("boot\n");
	turn();
	/* Not for ever in memory: the latest counts. */
	for (int i = 0; i < 100000; i++)
		assert_int_equal(put("x\n"), 2);
	assert_int_equal(put("login: "), 7);
	slave = open(name, O_RDWR | O_NOCTTY);
	assert_int_equal(fcntl(slave, F_SETFL, O_NONBLOCK), 0);
	for (size_t seen = 0; seen < STREAM_BUFFER;) {
		char buffer[4096];
		ssize_t n = read(slave, buffer, sizeof(buffer));

		turn();
		if (n < 0) {
			nap();
			continue;
		}
		seen += (size_t)n;
		if (seen == STREAM_BUFFER)
			assert_memory_equal(buffer + n - 7, "login: ", 7);
	}
	assert_int_equal(write(slave, "root", 4), 4);
	wait_for_input(4);
	/* It may be closed, and opened again. */
	close(slave);
	turn();
	slave = open(name, O_RDWR | O_NOCTTY);
	assert_int_equal(write(slave, "!", 1), 1);
	wait_for_input(5);
	assert_memory_equal(user.got, "root!", 5);
	close(slave);
	close(master);
}

static void output_to_a_file_is_complete(void **state)
{
	char name[] = "/tmp/mayfly-stream-XXXXXX", buffer[16];
	int fd = mkstemp(name);

	(void)state;
	assert_true(fd >= 0);
	unlink(name);
	make(-1, fd);
	put("one\n");
	put("two");
	stream_drain(stream, UINT64_MAX);
	assert_int_equal(pread(fd, buffer, sizeof(buffer), 0), 7);
	assert_memory_equal(buffer, "one\ntwo", 7);
	close(fd);
}

static void input_of_a_file_comes_in_order_to_its_end(void **state)
{
	static uint8_t bytes[10000];
	char name[] = "/tmp/mayfly-stream-XXXXXX";
	int fd = mkstemp(name);

	(void)state;
	assert_true(fd >= 0);
	unlink(name);
	fill(bytes, sizeof(bytes), 0);
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	make(fd, -1);
	user.room = 10;
	stream_want_input(stream);
	while (user.len < sizeof(bytes)) {
		turn();
		user.room = 777;
		stream_want_input(stream);
	}
	turn();
	assert_int_equal(user.len, sizeof(bytes));
	assert_memory_equal(user.got, bytes, sizeof(bytes));
	close(fd);
}

static void devices_that_are_no_terminals_will_do(void **state)
{
	int fd = open("/dev/null", O_RDWR);

	(void)state;
	make(fd, fd);
	stream_want_input(stream);
	turn();
	assert_int_equal(put("text\n"), 5);
	assert_int_equal(user.len, 0);
	close(fd);
}

static void nothing_is_read_before_it_is_asked_for(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	make(fd[0], -1);
	assert_int_equal(write(fd[1], "text", 4), 4);
	turn();
	assert_int_equal(user.len, 0);
	expect_read(fd[0], "text");
	assert_int_equal(write(fd[1], "more", 4), 4);
	stream_want_input(stream);
	wait_for_input(4);
	assert_memory_equal(user.got, "more", 4);
	close(fd[0]);
	close(fd[1]);
}

static void input_that_is_not_taken_is_kept(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	make(fd[0], -1);
	user.room = 3;
	assert_int_equal(write(fd[1], "abcdef", 6), 6);
	stream_want_input(stream);
	wait_for_input(3);
	user.room = 1;
	turn();
	assert_int_equal(user.len, 3);
	stream_want_input(stream);
	wait_for_input(4);
	user.room = 100;
	stream_want_input(stream);
	wait_for_input(6);
	assert_memory_equal(user.got, "abcdef", 6);
	/* And what comes later comes by itself. */
	assert_int_equal(write(fd[1], "g", 1), 1);
	wait_for_input(7);
	close(fd[0]);
	close(fd[1]);
}

static void input_of_a_socket_and_a_terminal_comes(void **state)
{
	char name[PTY_NAME];
	int fd[2], master = open_pty(name), slave = open(name, O_RDWR | O_NOCTTY);

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	make(fd[0], fd[0]);
	stream_want_input(stream);
	assert_int_equal(write(fd[1], "abc", 3), 3);
	wait_for_input(3);
	stream_free(stream);
	make(slave, slave);
	stream_want_input(stream);
	assert_int_equal(write(master, "def", 3), 3);
	wait_for_input(6);
	assert_memory_equal(user.got, "abcdef", 6);
	close(fd[0]);
	close(fd[1]);
	close(slave);
	close(master);
}

/* The loop's own look at the descriptors: whether anything is to be served without end. */
static void ends_that_are_over_leave_the_loop_alone(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	make(fd[0], fd[1]);
	stream_want_input(stream);
	turn();
	put("x");
	wait_for_input(1);
	stream_free(stream);
	/* Both of its peers are gone: end of input, broken pipe. */
	assert_int_equal(pipe(fd), 0);
	make(fd[0], -1);
	close(fd[1]);
	close(fd[0]);
	stream_want_input(stream);
	turn();
	assert_int_equal(user.len, 1);
	/* Asking again changes nothing. */
	stream_want_input(stream);
	turn();
	assert_int_equal(user.len, 1);
}

static void a_reader_that_is_gone_raises_no_signal(void **state)
{
	int fd[2], status;
	pid_t child;

	(void)state;
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		sigset_t pending;

		signal(SIGPIPE, SIG_DFL);
		if (pipe(fd) != 0 || stream_new(loop, -1, fd[1], &stream, NULL) != 0)
			_exit(2);
		close(fd[0]);
		if (put("text\n") != 5 || put("more\n") != 5 || stream_lost(stream))
			_exit(3);
		stream_free(stream);
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) != 0 ||
		    stream_new(loop, -1, fd[1], &stream, NULL) != 0)
			_exit(4);
		close(fd[0]);
		if (put("text\n") != 5 || put("more\n") != 5 || stream_lost(stream))
			_exit(5);
		sigpending(&pending);
		_exit(sigismember(&pending, SIGPIPE) ? 6 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void a_full_file_raises_no_signal(void **state)
{
	char name[] = "/tmp/mayfly-stream-XXXXXX";
	int fd = mkstemp(name), status;
	pid_t child;

	(void)state;
	assert_true(fd >= 0);
	unlink(name);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		const struct rlimit limit = {4, 4};

		signal(SIGXFSZ, SIG_DFL);
		if (setrlimit(RLIMIT_FSIZE, &limit) != 0 ||
		    stream_new(loop, -1, fd, &stream, NULL) != 0)
			_exit(2);
		put("12345678\n");
		put("12345678\n");
		_exit(stream_lost(stream) == EFBIG ? 0 : 3);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	close(fd);
}

/* Of a descriptor that takes nothing: the first error stays, and writers go on. */
static void output_that_is_lost_is_told_with_its_reason(void **state)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC),
	    other = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct stat st;

	(void)state;
	if (full < 0 || fstat(full, &st) != 0 || !S_ISCHR(st.st_mode))
		skip();
	make(-1, full);
	assert_int_equal(stream_lost(stream), 0);
	assert_int_equal(put("text\n"), 5);
	assert_int_equal(stream_lost(stream), ENOSPC);
	assert_int_equal(put("more\n"), 5);
	stream_drain(stream, 0);
	assert_int_equal(stream_lost(stream), ENOSPC);
	stream_free(stream);
	make(-1, other);
	assert_int_equal(put("text\n"), 5);
	assert_int_equal(stream_lost(stream), EBADF);
	close(full);
	close(other);
}

static void count_seen(void *context)
{
	assert_ptr_equal(context, &user);
	user.seen++;
}

static void a_text_is_seen_once_however_it_comes(void **state)
{
	(void)state;
	make(-1, -1);
	assert_int_equal(stream_watch(stream, "aabaac", count_seen, &user, NULL), 0);
	for (const char *p = "aabaabaa"; *p; p++)
		stream_write(stream, (const uint8_t *)p, 1);
	assert_int_equal(user.seen, 0);
	put("cd");
	assert_int_equal(user.seen, 1);
	put("aabaac");
	assert_int_equal(user.seen, 1);
	assert_int_equal(stream_watch(stream, "login: ", count_seen, &user, NULL), 0);
	put("debian login: ");
	assert_int_equal(user.seen, 2);
}

static void a_watch_can_be_called_off(void **state)
{
	(void)state;
	make(-1, -1);
	assert_int_equal(stream_watch(stream, "text", count_seen, &user, NULL), 0);
	assert_int_equal(stream_watch(stream, NULL, NULL, NULL, NULL), 0);
	put("text");
	assert_int_equal(user.seen, 0);
}

static void *run_loop(void *unused)
{
	(void)unused;
	loop_run(loop);
	return NULL;
}

#define WRITERS 2
#define LINES 2000

static void *write_lines(void *letter)
{
	char line[16];

	memset(line, *(char *)letter, sizeof(line));
	line[sizeof(line) - 1] = '\n';
	for (int i = 0; i < LINES;) {
		size_t n = stream_write(stream, (const uint8_t *)line, sizeof(line));

		/* All or nothing of so little, as long as writers wait for room. */
		if (n == 0) {
			nap();
			continue;
		}
		assert_int_equal(n, sizeof(line));
		i++;
	}
	return NULL;
}

static void writers_on_threads_do_not_mix_within_a_write(void **state)
{
	static char letters[WRITERS] = {'a', 'b'};
	pthread_t runner, writers[WRITERS];
	char line[16];
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	make(-1, fd[1]);
	assert_int_equal(pthread_create(&runner, NULL, run_loop, NULL), 0);
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i], NULL, write_lines, &letters[i]),
				 0);
	for (int i = 0; i < WRITERS * LINES; i++) {
		size_t got = 0;

		while (got < sizeof(line)) {
			ssize_t n = read(fd[0], line + got, sizeof(line) - got);

			assert_true(n > 0);
			got += (size_t)n;
		}
		for (size_t k = 1; k < sizeof(line) - 1; k++)
			assert_int_equal(line[k], line[0]);
		assert_int_equal(line[sizeof(line) - 1], '\n');
	}
	for (int i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	loop_stop(loop);
	pthread_join(runner, NULL);
	expect_nothing(fd[0]);
	close(fd[0]);
	close(fd[1]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(output_without_a_descriptor_goes_nowhere),
		TEST(a_bad_descriptor_is_an_error),
		TEST(the_first_byte_is_out_at_once_and_lines_are_whole),
		TEST(what_is_held_back_comes_without_more),
		TEST(drain_puts_out_what_is_held_back),
		TEST(drain_gives_up_when_its_time_is_over),
		TEST(a_slow_reader_of_a_pipe_loses_nothing),
		TEST(a_slow_reader_of_a_socket_loses_nothing),
		TEST(a_slow_reader_of_a_terminal_loses_nothing),
		TEST(a_slow_reader_behind_a_blocking_master_loses_nothing),
		TEST(output_waits_for_whoever_opens_the_terminal),
		TEST(output_to_a_file_is_complete),
		TEST(input_of_a_file_comes_in_order_to_its_end),
		TEST(devices_that_are_no_terminals_will_do),
		TEST(nothing_is_read_before_it_is_asked_for),
		TEST(input_that_is_not_taken_is_kept),
		TEST(input_of_a_socket_and_a_terminal_comes),
		TEST(ends_that_are_over_leave_the_loop_alone),
		TEST(a_reader_that_is_gone_raises_no_signal),
		TEST(a_full_file_raises_no_signal),
		TEST(output_that_is_lost_is_told_with_its_reason),
		TEST(a_text_is_seen_once_however_it_comes),
		TEST(a_watch_can_be_called_off),
		TEST(writers_on_threads_do_not_mix_within_a_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

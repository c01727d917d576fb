/* SPDX-License-Identifier: Apache-2.0 */
/* Reading, writing and moving bytes between open files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>

#include "linux_fixture.h"

static struct process *p;
static struct task *t;

static int set_up(void **state)
{
	(void)state;
	p = fake_process_new();
	p->state = PROCESS_RUNNING;
	t = p->tasks;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	struct guest_siginfo info;
	while (signal_take(t, UINT64_MAX, &info))
		continue;
	fake_process_free(p);
	return 0;
}

#define SYS(name, ...) sys_##name(t, (const uint64_t[6]){__VA_ARGS__})
#define NEG(n) ((uint64_t)(int64_t)(n))
#define BUFFER (FAKE_VA + 0x10000)
#define VECTOR (FAKE_VA + 0x1000)

static int64_t install(enum file_kind kind, int fd, int flags)
{
	struct file *file = file_new(kind, fd, flags, NULL);
	assert_non_null(file);
	return files_install(&p->files, file, 0, false);
}

/* An empty file of the host, open for reading and writing. */
static int64_t install_regular(int flags)
{
	return install(FILE_REGULAR, memfd_create("test", MFD_CLOEXEC), O_RDWR | flags);
}

static struct file *file_at(int64_t fd)
{
	return p->files.slots[fd].file;
}

static uint64_t text(const char *s)
{
	return fake_string(p, BUFFER - FAKE_VA, s);
}

static void put_vector(size_t i, uint64_t va, uint64_t len)
{
	uint64_t *vector = fake_memory(p, VECTOR - FAKE_VA);
	vector[2 * i] = va;
	vector[2 * i + 1] = len;
}

static bool got_signal(int signal)
{
	return (t->sig.pending.set & SIG_BIT(signal)) != 0;
}

/* --- Regular files ------------------------------------------------------------------------ */

static void what_is_written_is_read_back(void **state)
{
	(void)state;
	assert_int_equal(install_regular(0), 0);
	assert_int_equal(SYS(write, 0, text("hello world"), 11), 11);
	assert_int_equal(SYS(lseek, 0, 6, SEEK_SET), 6);
	assert_int_equal(SYS(read, 0, BUFFER + 100, 100), 5);
	assert_memory_equal(fake_memory(p, BUFFER - FAKE_VA + 100), "world", 5);
	assert_int_equal(SYS(read, 0, BUFFER + 100, 100), 0);
	assert_int_equal(SYS(pread64, 0, BUFFER + 100, 5, 0), 5);
	assert_memory_equal(fake_memory(p, BUFFER - FAKE_VA + 100), "hello", 5);
	assert_int_equal(SYS(lseek, 0, 0, SEEK_CUR), 11);
	assert_int_equal(SYS(lseek, 0, 0, 99), -EINVAL);
	assert_int_equal(SYS(lseek, 0, NEG(-1), SEEK_SET), -EINVAL);
}

static void appending_goes_to_the_end_wherever_the_position_is(void **state)
{
	(void)state;
	assert_int_equal(install_regular(O_APPEND), 0);
	assert_int_equal(SYS(write, 0, text("abc"), 3), 3);
	assert_int_equal(SYS(lseek, 0, 0, SEEK_SET), 0);
	assert_int_equal(SYS(write, 0, text("def"), 3), 3);
	assert_int_equal(SYS(pwrite64, 0, text("ghi"), 3, 0), 3);
	assert_int_equal(SYS(fcntl, 0, F_SETFL, 0), 0);
	assert_int_equal(SYS(pwrite64, 0, text("ABC"), 3, 0), 3);
	assert_int_equal(SYS(pread64, 0, BUFFER, 100, 0), 9);
	assert_memory_equal(fake_memory(p, BUFFER - FAKE_VA), "ABCdefghi", 9);
}

static void wild_addresses_give_efault(void **state)
{
	(void)state;
	const uint64_t wild[] = {
		0,	     1,	      FAKE_VA - 1, FAKE_END,	     FAKE_WILD, PROG_VA_END - 1,
		PROG_VA_END, NEG(-1), NEG(-4096),  (uint64_t)1 << 63};
	assert_int_equal(install_regular(0), 0);
	assert_int_equal(SYS(write, 0, text("0123456789"), 10), 10);
	for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
		assert_int_equal(SYS(write, 0, wild[i], 10), -EFAULT);
		assert_int_equal(SYS(pread64, 0, wild[i], 10, 0), -EFAULT);
		assert_int_equal(SYS(readv, 0, wild[i], 2), -EFAULT);
	}
	assert_int_equal(SYS(write, 0, BUFFER, NEG(-1)), -EFAULT);
	assert_int_equal(SYS(read, 0, BUFFER, (uint64_t)1 << 62), -EFAULT);
}

static void a_buffer_that_ends_too_early_is_used_as_far_as_it_goes(void **state)
{
	(void)state;
	assert_int_equal(install_regular(0), 0);
	assert_int_equal(SYS(write, 0, FAKE_END - 100, 4096), 100);
	assert_int_equal(SYS(pread64, 0, FAKE_END - 40, 4096, 0), 40);
	assert_int_equal(SYS(write, 0, FAKE_END, 4096), -EFAULT);
}

static void memory_without_rights_gives_efault(void **state)
{
	(void)state;
	assert_int_equal(install_regular(0), 0);
	fake_protect(p, 0x20000);
	assert_int_equal(SYS(write, 0, FAKE_VA + 0x20000, 10), -EFAULT);
	assert_int_equal(SYS(write, 0, FAKE_VA + 0x20000 - 10, 20), 10);
	assert_int_equal(SYS(pread64, 0, FAKE_VA + 0x20000, 10, 0), -EFAULT);
}

static void vectors_are_checked_before_anything_is_done(void **state)
{
	(void)state;
	assert_int_equal(install_regular(0), 0);
	put_vector(0, BUFFER, 10);
	put_vector(1, BUFFER, NEG(-1));
	assert_int_equal(SYS(writev, 0, VECTOR, 2), -EINVAL);
	put_vector(1, PROG_VA_END, 10);
	assert_int_equal(SYS(writev, 0, VECTOR, 2), -EFAULT);
	assert_int_equal(SYS(writev, 0, VECTOR, 1025), -EINVAL);
	assert_int_equal(SYS(writev, 0, VECTOR, NEG(-1)), -EINVAL);
	assert_int_equal(SYS(writev, 0, FAKE_END - 16, 2), -EFAULT);
	assert_int_equal(SYS(writev, 0, VECTOR, 0), 0);
	assert_int_equal(SYS(lseek, 0, 0, SEEK_END), 0);
}

static void long_vectors_are_transferred_whole(void **state)
{
	(void)state;
	uint8_t *memory = fake_memory(p, BUFFER - FAKE_VA);
	assert_int_equal(install_regular(0), 0);
	/* Every other byte, so that no two entries become one. */
	for (size_t i = 0; i < 1024; i++) {
		memory[2 * i] = (uint8_t)(i % 251);
		put_vector(i, BUFFER + 2 * i, 1);
	}
	assert_int_equal(SYS(writev, 0, VECTOR, 1024), 1024);
	assert_int_equal(SYS(pread64, 0, BUFFER + 0x10000, 2000, 0), 1024);
	for (size_t i = 0; i < 1024; i++)
		assert_int_equal(memory[0x10000 + i], i % 251);
	memset(memory, 0, 2048);
	assert_int_equal(SYS(preadv, 0, VECTOR, 1024, 0), 1024);
	for (size_t i = 0; i < 1024; i++)
		assert_int_equal(memory[2 * i], i % 251);
}

static void offsets_are_checked(void **state)
{
	(void)state;
	assert_int_equal(install_regular(0), 0);
	put_vector(0, text("abc"), 3);
	assert_int_equal(SYS(pread64, 0, BUFFER, 1, NEG(-1)), -EINVAL);
	assert_int_equal(SYS(pwrite64, 0, BUFFER, 1, (uint64_t)1 << 63), -EINVAL);
	assert_int_equal(SYS(pwritev, 0, VECTOR, 1, NEG(-1)), -EINVAL);
	assert_int_equal(SYS(pwritev2, 0, VECTOR, 1, NEG(-2), 0, 0), -EINVAL);
	assert_int_equal(SYS(pwritev2, 0, VECTOR, 1, 0, 0, 0x1000), -EOPNOTSUPP);
	assert_int_equal(SYS(pwritev2, 0, VECTOR, 1, NEG(-1), 0, 0), 3);
	assert_int_equal(SYS(pwritev2, 0, VECTOR, 1, 0, 0, 0x10 /* RWF_APPEND */), 3);
	assert_int_equal(SYS(lseek, 0, 0, SEEK_END), 6);
}

static void the_file_size_limit_cuts_then_signals(void **state)
{
	(void)state;
	p->rlimits[RLIMIT_FSIZE].rlim_cur = 8;
	assert_int_equal(install_regular(0), 0);
	assert_int_equal(SYS(write, 0, text("0123456789"), 10), 8);
	assert_false(got_signal(SIGXFSZ));
	assert_int_equal(SYS(write, 0, BUFFER, 1), -EFBIG);
	assert_true(got_signal(SIGXFSZ));
	assert_int_equal(SYS(pwrite64, 0, BUFFER, 10, 5), 3);
	assert_int_equal(SYS(lseek, 0, 0, SEEK_END), 8);
}

static void the_access_mode_is_the_guests(void **state)
{
	(void)state;
	assert_int_equal(install(FILE_REGULAR, memfd_create("t", MFD_CLOEXEC), O_RDONLY), 0);
	assert_int_equal(install(FILE_REGULAR, memfd_create("t", MFD_CLOEXEC), O_WRONLY), 1);
	assert_int_equal(SYS(write, 0, BUFFER, 1), -EBADF);
	assert_int_equal(SYS(read, 1, BUFFER, 1), -EBADF);
	assert_int_equal(SYS(write, 0, FAKE_WILD, 1), -EBADF);
}

/* --- Streams and pipes -------------------------------------------------------------------- */

struct later {
	pthread_t thread;
	int fd;
	const char *bytes;
};

static void *write_later(void *context)
{
	const struct later *l = context;
	usleep(20000);
	assert_int_equal(write(l->fd, l->bytes, strlen(l->bytes)), strlen(l->bytes));
	return NULL;
}

static void a_blocking_read_waits_for_input(void **state)
{
	(void)state;
	int host[2];
	assert_int_equal(pipe2(host, O_CLOEXEC), 0);
	assert_int_equal(install(FILE_STREAM, host[0], O_RDONLY), 0);
	struct later l = {.fd = host[1], .bytes = "late"};
	assert_int_equal(pthread_create(&l.thread, NULL, write_later, &l), 0);
	assert_int_equal(SYS(read, 0, BUFFER, 100), 4);
	pthread_join(l.thread, NULL);
	close(host[1]);
	assert_int_equal(SYS(read, 0, BUFFER, 100), 0);
}

static void a_kick_ends_a_read_that_waits(void **state)
{
	(void)state;
	assert_int_equal(SYS(pipe, FAKE_VA), 0);
	atomic_store(&t->kicked, 1);
	assert_int_equal(SYS(read, 0, BUFFER, 1), -ERESTARTSYS);
	assert_int_equal(SYS(write, 1, text("x"), 1), 1);
	assert_int_equal(SYS(read, 0, BUFFER, 1), 1);
}

static void a_non_blocking_pipe_never_waits(void **state)
{
	(void)state;
	assert_int_equal(SYS(pipe2, FAKE_VA, O_NONBLOCK), 0);
	assert_int_equal(SYS(read, 0, BUFFER, 1), -EAGAIN);
	assert_int_equal(SYS(write, 1, FAKE_VA, 1 << 20), 65536);
	assert_int_equal(SYS(write, 1, FAKE_VA, 1), -EAGAIN);
}

static void *drain(void *context)
{
	const struct later *l = context;
	static char buffer[7000];
	size_t sum = 0;
	ssize_t n;
	while ((n = read(l->fd, buffer, sizeof(buffer))) > 0)
		sum += (size_t)n;
	return (void *)sum;
}

static void a_blocking_write_to_a_stream_writes_all(void **state)
{
	(void)state;
	int host[2];
	assert_int_equal(pipe2(host, O_CLOEXEC), 0);
	assert_int_equal(install(FILE_STREAM, host[1], O_WRONLY), 0);
	struct later l = {.fd = host[0]};
	assert_int_equal(pthread_create(&l.thread, NULL, drain, &l), 0);
	assert_int_equal(SYS(write, 0, FAKE_VA, 1000000), 1000000);
	assert_int_equal(SYS(close, 0), 0);
	void *sum;
	pthread_join(l.thread, &sum);
	assert_int_equal((size_t)sum, 1000000);
	close(host[0]);
}

static void a_shared_pipe_is_asked_before_it_is_used(void **state)
{
	(void)state;
	int in[2], out[2];
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	/* As where it cannot be opened again: blocking descriptors. */
	assert_int_equal(install(FILE_DEVICE, in[0], O_RDONLY), 0);
	assert_int_equal(install(FILE_DEVICE, out[1], O_WRONLY), 1);
	for (int i = 0; i < 2; i++) {
		file_at(i)->kind = FILE_STREAM;
		file_at(i)->io = FILE_IO_POLL;
	}
	atomic_store(&t->kicked, 1);
	assert_int_equal(SYS(read, 0, BUFFER, 10), -ERESTARTSYS);
	assert_int_equal(write(in[1], "abc", 3), 3);
	assert_int_equal(SYS(read, 0, BUFFER, 10), 3);
	assert_int_equal(SYS(fcntl, 0, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(SYS(read, 0, BUFFER, 10), -EAGAIN);
	atomic_store(&t->kicked, 0);

	struct later l = {.fd = out[0]};
	assert_int_equal(pthread_create(&l.thread, NULL, drain, &l), 0);
	assert_int_equal(SYS(write, 1, FAKE_VA, 300000), 300000);
	assert_int_equal(SYS(close, 1), 0);
	void *sum;
	pthread_join(l.thread, &sum);
	assert_int_equal((size_t)sum, 300000);
	close(in[1]);
	close(out[0]);
}

static void a_full_stream_gives_what_was_written_when_kicked(void **state)
{
	(void)state;
	assert_int_equal(SYS(pipe, FAKE_VA), 0);
	atomic_store(&t->kicked, 1);
	assert_int_equal(SYS(write, 1, FAKE_VA, 100000), 65536);
	assert_int_equal(SYS(write, 1, FAKE_VA, 10), -ERESTARTSYS);
}

static void a_broken_pipe_signals_the_guest_not_the_host(void **state)
{
	(void)state;
	struct sigaction act;
	assert_int_equal(sigaction(SIGPIPE, NULL, &act), 0);
	assert_ptr_equal(act.sa_handler, SIG_DFL);
	t->main = true;
	int host[2];
	assert_int_equal(pipe2(host, O_CLOEXEC), 0);
	assert_int_equal(install(FILE_STREAM, host[1], O_WRONLY), 0);
	close(host[0]);
	assert_int_equal(SYS(write, 0, text("x"), 1), -EPIPE);
	assert_true(got_signal(SIGPIPE));
	sigset_t set;
	assert_int_equal(sigpending(&set), 0);
	assert_int_equal(sigismember(&set, SIGPIPE), 0);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &set), 0);
	assert_int_equal(sigismember(&set, SIGPIPE), 0);
}

static void a_sigpipe_that_was_waiting_stays(void **state)
{
	(void)state;
	sigset_t set, old;
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	pthread_kill(pthread_self(), SIGPIPE);
	t->main = true;
	assert_int_equal(SYS(pipe, FAKE_VA), 0);
	assert_int_equal(SYS(close, 0), 0);
	assert_int_equal(SYS(write, 1, text("x"), 1), -EPIPE);
	assert_int_equal(sigpending(&set), 0);
	assert_int_equal(sigismember(&set, SIGPIPE), 1);
	int taken;
	sigwait(&set, &taken);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void a_stream_that_is_a_socket_is_used_without_changing_it(void **state)
{
	(void)state;
	int host[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, host), 0);
	t->main = true;
	assert_int_equal(install(FILE_STREAM, host[0], O_RDWR), 0);
	atomic_store(&t->kicked, 1);
	assert_int_equal(SYS(read, 0, BUFFER, 1), -ERESTARTSYS);
	assert_int_equal(write(host[1], "abc", 3), 3);
	assert_int_equal(SYS(read, 0, BUFFER, 10), 3);
	assert_int_equal(fcntl(host[0], F_GETFL) & O_NONBLOCK, 0);
	close(host[1]);
	assert_int_equal(SYS(write, 0, text("x"), 1), -EPIPE);
	assert_true(got_signal(SIGPIPE));
}

static void output_ends_at_its_limit(void **state)
{
	(void)state;
	p->max_output = 10;
	assert_int_equal(install(FILE_STREAM, memfd_create("out", MFD_CLOEXEC), O_RDWR), 0);
	file_at(0)->counts_output = true;
	assert_int_equal(SYS(write, 0, text("0123456"), 7), 7);
	assert_int_equal(p->state, PROCESS_RUNNING);
	assert_int_equal(SYS(write, 0, text("789abcdef"), 9), 3);
	assert_int_equal(p->state, PROCESS_KILLED);
	assert_int_equal(p->status, SIGXFSZ);
	assert_int_equal(atomic_load(&p->output), 10);
	assert_int_equal(SYS(pwrite64, 0, text("x"), 1, 50), -EFBIG);
	struct stat st;
	assert_int_equal(fstat(file_at(0)->fd, &st), 0);
	assert_int_equal(st.st_size, 10);
}

static void output_that_was_not_written_does_not_count(void **state)
{
	(void)state;
	p->max_output = 1000000;
	assert_int_equal(SYS(pipe2, FAKE_VA, O_NONBLOCK), 0);
	file_at(1)->counts_output = true;
	assert_int_equal(SYS(write, 1, FAKE_VA, 100000), 65536);
	assert_int_equal(atomic_load(&p->output), 65536);
	assert_int_equal(SYS(write, 1, FAKE_VA, 100000), -EAGAIN);
	assert_int_equal(atomic_load(&p->output), 65536);
}

static void reading_standard_input_pauses_first(void **state)
{
	(void)state;
	int host[2];
	assert_int_equal(pipe2(host, O_CLOEXEC), 0);
	assert_int_equal(install(FILE_STREAM, host[0], O_RDONLY), 0);
	file_at(0)->standard_input = true;
	assert_int_equal(write(host[1], "x", 1), 1);
	p->pause_at = MAYFLY_PAUSE_STDIN;
	assert_int_equal(SYS(read, 0, BUFFER, 10), -ERESTARTNOINTR);
	assert_int_equal(p->state, PROCESS_PAUSED);
	p->state = PROCESS_RUNNING;
	p->pause_at = 0;
	assert_int_equal(SYS(read, 0, BUFFER, 10), 1);
	close(host[1]);
}

static void an_eventfd_that_would_overflow_waits_without_spinning(void **state)
{
	(void)state;
	assert_int_equal(SYS(eventfd2, 0, 0), 0);
	uint64_t *value = fake_memory(p, BUFFER - FAKE_VA);
	*value = UINT64_MAX - 16;
	assert_int_equal(SYS(write, 0, BUFFER, 8), 8);
	*value = 100;
	struct timespec before, after;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	assert_int_equal(SYS(fcntl, 0, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(SYS(write, 0, BUFFER, 8), -EAGAIN);
	/* Waiting for it, ready as poll(2) finds it, takes time but no work. */
	struct file_waiter w = {.timed = false};
	for (int i = 0; i < 20; i++)
		assert_int_equal(file_wait(t, file_at(0), POLLOUT, &w), 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
	assert_true(w.spins == 20);
	assert_true(after.tv_sec - before.tv_sec < 1);
}

/* --- Terminals ---------------------------------------------------------------------------- */

static int install_terminal(struct termios *tio)
{
	int master, slave;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	assert_int_equal(tcgetattr(slave, tio), 0);
	int copy = fcntl(slave, F_DUPFD_CLOEXEC, 0);
	assert_int_equal(install(FILE_STREAM, copy, O_RDWR), 0);
	assert_int_equal(fcntl(slave, F_GETFL) & O_NONBLOCK, 0);
	close(slave);
	return master;
}

static void a_terminal_gives_lines_then_in_raw_mode_bytes(void **state)
{
	(void)state;
	struct termios tio;
	int master = install_terminal(&tio);
	assert_true(file_at(0)->tty);
	atomic_store(&t->kicked, 1);
	assert_int_equal(write(master, "ab", 2), 2);
	assert_int_equal(SYS(read, 0, BUFFER, 10), -ERESTARTSYS);
	assert_int_equal(write(master, "c\n", 2), 2);
	atomic_store(&t->kicked, 0);
	assert_int_equal(SYS(read, 0, BUFFER, 10), 4);
	assert_memory_equal(fake_memory(p, BUFFER - FAKE_VA), "abc\n", 4);

	/* TCGETS, raw, TCSETSW, as cfmakeraw(3) and tcsetattr(3) do. */
	assert_int_equal(SYS(ioctl, 0, 0x5401, BUFFER), 0);
	uint32_t *flags = fake_memory(p, BUFFER - FAKE_VA);
	flags[3] &= ~(uint32_t)(ICANON | ECHO);
	assert_int_equal(SYS(ioctl, 0, 0x5403, BUFFER), 0);
	assert_int_equal(write(master, "x", 1), 1);
	assert_int_equal(SYS(read, 0, BUFFER, 10), 1);
	close(master);
}

static void raw_mode_with_vtime_ends_the_wait(void **state)
{
	(void)state;
	struct termios tio;
	int master = install_terminal(&tio);
	tio.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tio.c_cc[VMIN] = 0;
	tio.c_cc[VTIME] = 1;
	assert_int_equal(tcsetattr(file_at(0)->fd, TCSANOW, &tio), 0);
	assert_int_equal(SYS(read, 0, BUFFER, 10), 0);
	tio.c_cc[VTIME] = 0;
	assert_int_equal(tcsetattr(file_at(0)->fd, TCSANOW, &tio), 0);
	assert_int_equal(SYS(read, 0, BUFFER, 10), 0);
	close(master);
}

static void a_terminal_answers_what_shells_ask(void **state)
{
	(void)state;
	struct termios tio;
	int master = install_terminal(&tio);
	struct winsize size = {.ws_row = 50, .ws_col = 132};
	assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
	assert_int_equal(SYS(ioctl, 0, TIOCGWINSZ, BUFFER), 0);
	assert_memory_equal(fake_memory(p, BUFFER - FAKE_VA), &size, sizeof(size));
	const int32_t *id = fake_memory(p, BUFFER - FAKE_VA);
	assert_int_equal(SYS(ioctl, 0, TIOCGPGRP, BUFFER), 0);
	assert_int_equal(*id, PROCESS_PID);
	assert_int_equal(SYS(ioctl, 0, TIOCSPGRP, BUFFER), 0);
	assert_int_equal(SYS(ioctl, 0, TIOCGWINSZ, FAKE_WILD), -EFAULT);
	assert_int_equal(SYS(ioctl, 0, TCSBRK, 1), 0);
	assert_int_equal(SYS(ioctl, 0, TCFLSH, TCIFLUSH), 0);
	assert_int_equal(SYS(ioctl, 0, TCFLSH, 77), -EINVAL);
	close(master);
}

static void a_terminal_cannot_be_typed_into_or_taken(void **state)
{
	(void)state;
	const unsigned refused[] = {TIOCSTI,   TIOCSETD,    TIOCEXCL,	TIOCCONS, TIOCNOTTY,
				    TIOCLINUX, TIOCVHANGUP, TIOCSPTLCK, 0x5600};
	struct termios tio;
	int master = install_terminal(&tio);
	text("x");
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		assert_int_equal(SYS(ioctl, 0, refused[i], BUFFER), -ENOTTY);
	close(master);
}

static void what_is_no_terminal_says_so(void **state)
{
	(void)state;
	assert_int_equal(install_regular(0), 0);
	assert_int_equal(SYS(pipe, FAKE_VA), 0);
	for (uint64_t fd = 0; fd < 3; fd++) {
		assert_int_equal(SYS(ioctl, fd, 0x5401, BUFFER), -ENOTTY);
		assert_int_equal(SYS(ioctl, fd, TIOCGWINSZ, BUFFER), -ENOTTY);
		assert_int_equal(SYS(ioctl, fd, 0x12345678, BUFFER), -ENOTTY);
	}
}

static void ioctl_sets_flags_and_counts_input(void **state)
{
	(void)state;
	assert_int_equal(SYS(pipe, FAKE_VA), 0);
	int32_t *value = fake_memory(p, BUFFER - FAKE_VA);
	*value = 1;
	assert_int_equal(SYS(ioctl, 0, FIONBIO, BUFFER), 0);
	assert_int_equal(SYS(read, 0, BUFFER, 1), -EAGAIN);
	*value = 0;
	assert_int_equal(SYS(ioctl, 0, FIONBIO, BUFFER), 0);
	assert_int_equal(SYS(fcntl, 0, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(SYS(ioctl, 0, FIOCLEX, 0), 0);
	assert_int_equal(SYS(fcntl, 0, F_GETFD), FD_CLOEXEC);
	assert_int_equal(SYS(ioctl, 0, FIONCLEX, 0), 0);
	assert_int_equal(SYS(fcntl, 0, F_GETFD), 0);
	assert_int_equal(SYS(write, 1, FAKE_VA, 77), 77);
	assert_int_equal(SYS(ioctl, 0, FIONREAD, BUFFER), 0);
	assert_int_equal(*value, 77);
}

/* --- Between files ------------------------------------------------------------------------ */

static void fill(int64_t fd, size_t len)
{
	uint8_t *memory = fake_memory(p, 0x80000);
	for (size_t i = 0; i < len; i++)
		memory[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(SYS(pwrite64, (uint64_t)fd, FAKE_VA + 0x80000, len, 0), len);
}

static void assert_filled(int64_t fd, size_t from, size_t len)
{
	assert_int_equal(SYS(pread64, (uint64_t)fd, FAKE_VA + 0x100000, len + 1, 0), len);
	assert_memory_equal(fake_memory(p, 0x100000), fake_memory(p, 0x80000 + from), len);
}

static void sendfile_copies_between_files(void **state)
{
	(void)state;
	assert_int_equal(install_regular(0), 0);
	assert_int_equal(install_regular(0), 1);
	fill(0, 200000);
	uint64_t *offset = fake_memory(p, BUFFER - FAKE_VA);
	*offset = 1000;
	assert_int_equal(SYS(sendfile, 1, 0, BUFFER, 150000), 150000);
	assert_int_equal(*offset, 151000);
	assert_filled(1, 1000, 150000);
	assert_int_equal(SYS(lseek, 0, 0, SEEK_CUR), 0);
	/* At the file's own position, and not beyond its end. */
	assert_int_equal(SYS(lseek, 0, 199990, SEEK_SET), 199990);
	assert_int_equal(SYS(sendfile, 1, 0, 0, 1000), 10);
	assert_int_equal(SYS(lseek, 0, 0, SEEK_CUR), 200000);
}

static void sendfile_to_a_full_pipe_loses_nothing(void **state)
{
	(void)state;
	assert_int_equal(install_regular(0), 0);
	assert_int_equal(SYS(pipe2, BUFFER, O_NONBLOCK), 0);
	fill(0, 200000);
	assert_int_equal(SYS(sendfile, 2, 0, 0, 200000), 65536);
	assert_int_equal(SYS(lseek, 0, 0, SEEK_CUR), 65536);
	assert_int_equal(SYS(sendfile, 2, 0, 0, 1), -EAGAIN);
	assert_int_equal(SYS(read, 1, FAKE_VA + 0x100000, 65536), 65536);
	assert_memory_equal(fake_memory(p, 0x100000), fake_memory(p, 0x80000), 65536);
}

static void sendfile_checks_its_arguments(void **state)
{
	(void)state;
	assert_int_equal(install_regular(0), 0);
	assert_int_equal(install_regular(O_APPEND), 1);
	assert_int_equal(SYS(pipe, BUFFER), 0);
	uint64_t *offset = fake_memory(p, BUFFER - FAKE_VA);
	*offset = NEG(-1);
	assert_int_equal(SYS(sendfile, 1, 0, BUFFER, 10), -EINVAL);
	*offset = 0;
	assert_int_equal(SYS(sendfile, 1, 0, BUFFER, 10), -EINVAL);
	assert_int_equal(SYS(sendfile, 0, 2, 0, 10), -EINVAL);
	assert_int_equal(SYS(sendfile, 0, 2, BUFFER, 10), -ESPIPE);
	assert_int_equal(SYS(sendfile, 0, 9, 0, 10), -EBADF);
	assert_int_equal(SYS(sendfile, 3, 0, FAKE_WILD, 10), -EFAULT);
	assert_int_equal(SYS(sendfile, 3, 0, 0, NEG(-1)), -EINVAL);
}

static void sendfile_to_output_counts(void **state)
{
	(void)state;
	assert_int_equal(install_regular(0), 0);
	assert_int_equal(install(FILE_STREAM, memfd_create("out", MFD_CLOEXEC), O_RDWR), 1);
	file_at(1)->counts_output = true;
	p->max_output = 1000;
	fill(0, 5000);
	assert_int_equal(SYS(sendfile, 1, 0, 0, 5000), 1000);
	assert_int_equal(p->state, PROCESS_KILLED);
}

static void copy_file_range_copies_and_checks(void **state)
{
	(void)state;
	assert_int_equal(install_regular(0), 0);
	assert_int_equal(install_regular(0), 1);
	fill(0, 100000);
	uint64_t *offsets = fake_memory(p, BUFFER - FAKE_VA);
	offsets[0] = 500;
	offsets[1] = 0;
	assert_int_equal(SYS(copy_file_range, 0, BUFFER, 1, BUFFER + 8, 90000, 0), 90000);
	assert_int_equal(offsets[0], 90500);
	assert_int_equal(offsets[1], 90000);
	assert_filled(1, 500, 90000);
	assert_int_equal(SYS(copy_file_range, 0, BUFFER, 1, BUFFER + 8, 1, 1), -EINVAL);
	/* Overlapping, in one file. */
	offsets[0] = 0;
	offsets[1] = 10;
	assert_int_equal(SYS(copy_file_range, 0, BUFFER, 0, BUFFER + 8, 11, 0), -EINVAL);
	assert_int_equal(SYS(copy_file_range, 0, BUFFER, 0, BUFFER + 8, 10, 0), 10);
	assert_int_equal(SYS(fcntl, 1, F_SETFL, O_APPEND), 0);
	assert_int_equal(SYS(copy_file_range, 0, 0, 1, 0, 1, 0), -EBADF);
}

static void splice_moves_through_pipes(void **state)
{
	(void)state;
	assert_int_equal(install_regular(0), 0);
	assert_int_equal(install_regular(0), 1);
	assert_int_equal(SYS(pipe, BUFFER), 0);
	fill(0, 10000);
	assert_int_equal(SYS(splice, 0, 0, 3, 0, 10000, 0), 10000);
	assert_int_equal(SYS(splice, 2, 0, 1, 0, 20000, 0), 10000);
	assert_filled(1, 0, 10000);
	assert_int_equal(SYS(splice, 2, 0, 1, 0, 20000, SPLICE_F_NONBLOCK), -EAGAIN);
	assert_int_equal(SYS(close, 3), 0);
	assert_int_equal(SYS(splice, 2, 0, 1, 0, 20000, 0), 0);
}

static void splice_checks_its_arguments(void **state)
{
	(void)state;
	assert_int_equal(install_regular(0), 0);
	assert_int_equal(install_regular(O_APPEND), 1);
	assert_int_equal(SYS(pipe, BUFFER), 0);
	assert_int_equal(SYS(splice, 0, 0, 1, 0, 10, 0), -EINVAL);
	assert_int_equal(SYS(splice, 2, BUFFER, 0, 0, 10, 0), -ESPIPE);
	assert_int_equal(SYS(splice, 2, 0, 3, 0, 10, 0), -EINVAL);
	assert_int_equal(SYS(splice, 2, 0, 1, 0, 10, 0), -EINVAL);
	assert_int_equal(SYS(splice, 2, 0, 0, 0, 10, 0x80), -EINVAL);
	assert_int_equal(SYS(splice, 9, 0, 0, 0, 10, 0), -EBADF);
	assert_int_equal(SYS(splice, 9, 0, 0, 0, 0, 0), 0);
	assert_int_equal(SYS(tee, 2, 0, 10, 0), -EINVAL);
}

static void splice_respects_the_file_size_limit(void **state)
{
	(void)state;
	p->rlimits[RLIMIT_FSIZE].rlim_cur = 100;
	assert_int_equal(install_regular(0), 0);
	assert_int_equal(SYS(pipe, BUFFER), 0);
	assert_int_equal(SYS(write, 2, FAKE_VA, 200), 200);
	assert_int_equal(SYS(splice, 1, 0, 0, 0, 200, 0), -EFBIG);
	assert_int_equal(SYS(splice, 1, 0, 0, 0, 100, 0), 100);
}

static void tee_duplicates(void **state)
{
	(void)state;
	assert_int_equal(SYS(pipe, BUFFER), 0);
	assert_int_equal(SYS(pipe, BUFFER), 0);
	assert_int_equal(SYS(write, 1, text("twice"), 5), 5);
	assert_int_equal(SYS(tee, 0, 3, 100, 0), 5);
	assert_int_equal(SYS(read, 0, BUFFER, 100), 5);
	assert_int_equal(SYS(read, 2, BUFFER, 100), 5);
	assert_memory_equal(fake_memory(p, BUFFER - FAKE_VA), "twice", 5);
}

/* --- Files in memory ---------------------------------------------------------------------- */

static void make_vfs(void)
{
	mayfly_error err;
	assert_int_equal(vfs_new(p, &p->vfs, &err), 0);
}

static void drop_vfs(void)
{
	files_close_range(&p->files, 0, UINT32_MAX, false);
	vfs_free(p->vfs);
	p->vfs = NULL;
}

static int64_t open_in_memory(const char *path, int flags)
{
	struct file *file;
	assert_int_equal(vfs_open(p->vfs, NULL, path, flags, 0600, &file), 0);
	return files_install(&p->files, file, 0, false);
}

static void files_in_memory_are_charged_before_they_grow(void **state)
{
	(void)state;
	make_vfs();
	assert_int_equal(open_in_memory("/tmp/f", O_RDWR | O_CREAT), 0);
	uint64_t before = atomic_load(&p->mm.charged);
	assert_int_equal(SYS(write, 0, FAKE_VA, 100000), 100000);
	uint64_t charged = atomic_load(&p->mm.charged);
	assert_in_range(charged - before, 100000, 110000);
	/* Over what is there: no more. */
	assert_int_equal(SYS(pwrite64, 0, FAKE_VA, 100000, 0), 100000);
	assert_int_equal(atomic_load(&p->mm.charged), charged);
	p->mm.limit = charged + 10000;
	assert_int_equal(SYS(write, 0, FAKE_VA, 100000), -ENOSPC);
	assert_int_equal(SYS(pwrite64, 0, FAKE_VA, 1, (uint64_t)1 << 40), -ENOSPC);
	assert_int_equal(SYS(pwrite64, 0, FAKE_VA, 100, INT64_MAX - 10), -EFBIG);
	assert_int_equal(SYS(write, 0, FAKE_VA, 1000), 1000);
	drop_vfs();
}

static void appending_in_memory_ends_when_the_flag_does(void **state)
{
	(void)state;
	make_vfs();
	assert_int_equal(open_in_memory("/tmp/f", O_RDWR | O_CREAT | O_APPEND), 0);
	assert_int_equal(SYS(pwrite64, 0, text("abc"), 3, 0), 3);
	assert_int_equal(SYS(pwrite64, 0, BUFFER, 3, 0), 3);
	assert_int_equal(SYS(fcntl, 0, F_SETFL, 0), 0);
	assert_int_equal(SYS(pwrite64, 0, text("def"), 3, 1), 3);
	assert_int_equal(SYS(lseek, 0, 0, SEEK_END), 6);
	assert_int_equal(SYS(fcntl, 0, F_SETFL, O_APPEND), 0);
	assert_int_equal(SYS(pwrite64, 0, text("ghi"), 3, 0), 3);
	assert_int_equal(SYS(pread64, 0, BUFFER, 100, 0), 9);
	assert_memory_equal(fake_memory(p, BUFFER - FAKE_VA), "adefbcghi", 9);
	drop_vfs();
}

static void splicing_into_memory_is_charged(void **state)
{
	(void)state;
	make_vfs();
	assert_int_equal(open_in_memory("/tmp/f", O_RDWR | O_CREAT), 0);
	assert_int_equal(SYS(pipe, BUFFER), 0);
	assert_int_equal(SYS(write, 2, FAKE_VA, 50000), 50000);
	uint64_t before = atomic_load(&p->mm.charged);
	p->mm.limit = before + 20000;
	assert_int_equal(SYS(splice, 1, 0, 0, 0, 50000, 0), -ENOSPC);
	p->mm.limit = before + 60000;
	assert_int_equal(SYS(splice, 1, 0, 0, 0, 50000, 0), 50000);
	assert_in_range(atomic_load(&p->mm.charged) - before, 50000, 60000);
	drop_vfs();
}

/* --- Durability --------------------------------------------------------------------------- */

static void syncing_knows_what_it_is_for(void **state)
{
	(void)state;
	assert_int_equal(install_regular(0), 0);
	assert_int_equal(SYS(pipe, BUFFER), 0);
	assert_int_equal(SYS(fsync, 0), 0);
	assert_int_equal(SYS(fdatasync, 0), 0);
	assert_int_equal(SYS(fsync, 1), -EINVAL);
	assert_int_equal(SYS(fsync, 9), -EBADF);
	assert_int_equal(SYS(sync, 0), 0);
	assert_int_equal(SYS(syncfs, 9), -EBADF);
	assert_int_equal(SYS(sync_file_range, 0, 0, NEG(-1), 0), -EINVAL);
	assert_int_equal(SYS(sync_file_range, 1, 0, 0, 0), -ESPIPE);
	assert_int_equal(SYS(fadvise64, 0, 0, 0, 4), 0);
	assert_int_equal(SYS(fadvise64, 0, 0, 0, 6), -EINVAL);
	assert_int_equal(SYS(fadvise64, 1, 0, 0, 0), -ESPIPE);
	assert_int_equal(SYS(readahead, 1, 0, 10), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_is_read_back),
		TEST(appending_goes_to_the_end_wherever_the_position_is),
		TEST(wild_addresses_give_efault),
		TEST(a_buffer_that_ends_too_early_is_used_as_far_as_it_goes),
		TEST(memory_without_rights_gives_efault),
		TEST(vectors_are_checked_before_anything_is_done),
		TEST(long_vectors_are_transferred_whole),
		TEST(offsets_are_checked),
		TEST(the_file_size_limit_cuts_then_signals),
		TEST(the_access_mode_is_the_guests),
		TEST(a_blocking_read_waits_for_input),
		TEST(a_kick_ends_a_read_that_waits),
		TEST(a_non_blocking_pipe_never_waits),
		TEST(a_blocking_write_to_a_stream_writes_all),
		TEST(a_shared_pipe_is_asked_before_it_is_used),
		TEST(a_full_stream_gives_what_was_written_when_kicked),
		TEST(a_broken_pipe_signals_the_guest_not_the_host),
		TEST(a_sigpipe_that_was_waiting_stays),
		TEST(a_stream_that_is_a_socket_is_used_without_changing_it),
		TEST(output_ends_at_its_limit),
		TEST(output_that_was_not_written_does_not_count),
		TEST(reading_standard_input_pauses_first),
		TEST(an_eventfd_that_would_overflow_waits_without_spinning),
		TEST(a_terminal_gives_lines_then_in_raw_mode_bytes),
		TEST(raw_mode_with_vtime_ends_the_wait),
		TEST(a_terminal_answers_what_shells_ask),
		TEST(a_terminal_cannot_be_typed_into_or_taken),
		TEST(what_is_no_terminal_says_so),
		TEST(ioctl_sets_flags_and_counts_input),
		TEST(sendfile_copies_between_files),
		TEST(sendfile_to_a_full_pipe_loses_nothing),
		TEST(sendfile_checks_its_arguments),
		TEST(sendfile_to_output_counts),
		TEST(copy_file_range_copies_and_checks),
		TEST(splice_moves_through_pipes),
		TEST(splice_checks_its_arguments),
		TEST(splice_respects_the_file_size_limit),
		TEST(tee_duplicates),
		TEST(files_in_memory_are_charged_before_they_grow),
		TEST(appending_in_memory_ends_when_the_flag_does),
		TEST(splicing_into_memory_is_charged),
		TEST(syncing_knows_what_it_is_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

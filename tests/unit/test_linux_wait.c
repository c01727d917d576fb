/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for descriptors: poll, select, epoll, eventfd, timerfd, signalfd. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>

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
#define EVENTS (FAKE_VA + 0x1000)

static void *buffer(void)
{
	return fake_memory(p, BUFFER - FAKE_VA);
}

/* Descriptors r and r + 1. */
static void make_pipe(uint64_t r)
{
	assert_int_equal(SYS(pipe, FAKE_VA), 0);
	assert_int_equal(*(int32_t *)fake_memory(p, 0), r);
}

static void send_byte(uint64_t fd)
{
	assert_int_equal(SYS(write, fd, FAKE_VA, 1), 1);
}

static void send_signal(int signo, uint64_t value)
{
	struct guest_siginfo info = {.signo = signo, .code = SI_QUEUE};
	info.rt.pid = PROCESS_PID;
	info.rt.uid = 1000;
	info.rt.value = value;
	assert_int_equal(signal_send(p, NULL, &info), 0);
}

static void block(uint64_t set)
{
	t->sig.mask = set;
}

static uint64_t ms_of(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * 1000 + (uint64_t)time->tv_nsec / 1000000;
}

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return ms_of(&now);
}

/* --- poll(2) ------------------------------------------------------------------------------ */

static int64_t poll_for(size_t n, const struct pollfd *fds, int timeout)
{
	memcpy(buffer(), fds, n * sizeof(*fds));
	return SYS(poll, BUFFER, n, NEG(timeout));
}

static short revents(size_t i)
{
	return ((struct pollfd *)buffer())[i].revents;
}

static void poll_tells_what_is_ready(void **state)
{
	(void)state;
	make_pipe(0);
	const struct pollfd fds[] = {
		{.fd = 0, .events = POLLIN}, {.fd = 1, .events = POLLOUT},
		{.fd = 7, .events = POLLIN}, {.fd = -1, .events = POLLIN},
		{.fd = 1, .events = POLLIN},
	};
	assert_int_equal(poll_for(5, fds, 0), 2);
	assert_int_equal(revents(0), 0);
	assert_int_equal(revents(1), POLLOUT);
	assert_int_equal(revents(2), POLLNVAL);
	assert_int_equal(revents(3), 0);
	assert_int_equal(revents(4), 0);
	send_byte(1);
	assert_int_equal(poll_for(1, fds, -1), 1);
	assert_int_equal(revents(0), POLLIN);
	assert_int_equal(SYS(close, 1), 0);
	assert_int_equal(poll_for(1, fds, 0), 1);
	assert_int_equal(revents(0), POLLIN | POLLHUP);
}

static void poll_takes_its_time(void **state)
{
	(void)state;
	make_pipe(0);
	const struct pollfd fds[] = {{.fd = 0, .events = POLLIN}};
	uint64_t before = now_ms();
	assert_int_equal(poll_for(1, fds, 30), 0);
	assert_true(now_ms() - before >= 29);
	assert_int_equal(SYS(poll, 0, 0, 10), 0);
}

static void files_that_never_block_are_always_ready(void **state)
{
	(void)state;
	struct file *file =
		file_new(FILE_REGULAR, memfd_create("t", MFD_CLOEXEC), O_RDWR, NULL);
	assert_int_equal(files_install(&p->files, file, 0, false), 0);
	file = file_new(FILE_DIRECTORY, -1, O_RDONLY, "/");
	assert_int_equal(files_install(&p->files, file, 0, false), 1);
	const struct pollfd fds[] = {{.fd = 0, .events = POLLIN | POLLOUT},
				     {.fd = 1, .events = POLLIN}};
	assert_int_equal(poll_for(2, fds, -1), 2);
	assert_int_equal(revents(0), POLLIN | POLLOUT);
	assert_int_equal(revents(1), POLLIN);
}

static void poll_checks_its_arguments(void **state)
{
	(void)state;
	assert_int_equal(SYS(poll, BUFFER, 65, 0), -EINVAL);
	assert_int_equal(SYS(poll, BUFFER, NEG(-1), 0), -EINVAL);
	assert_int_equal(SYS(poll, FAKE_WILD, 1, 0), -EFAULT);
	assert_int_equal(SYS(poll, FAKE_END - 4, 1, 0), -EFAULT);
	struct timespec *ts = buffer();
	*ts = (struct timespec){.tv_nsec = 1000000000};
	assert_int_equal(SYS(ppoll, 0, 0, BUFFER, 0, 0), -EINVAL);
	*ts = (struct timespec){.tv_sec = -1};
	assert_int_equal(SYS(ppoll, 0, 0, BUFFER, 0, 0), -EINVAL);
	*ts = (struct timespec){0, 0};
	assert_int_equal(SYS(ppoll, 0, 0, BUFFER, FAKE_WILD, 8), -EFAULT);
	assert_int_equal(SYS(ppoll, 0, 0, BUFFER, EVENTS, 4), -EINVAL);
}

static void a_kicked_poll_goes_on_with_its_deadline(void **state)
{
	(void)state;
	make_pipe(0);
	const struct pollfd fds[] = {{.fd = 0, .events = POLLIN}};
	atomic_store(&t->kicked, 1);
	uint64_t before = now_ms();
	assert_int_equal(poll_for(1, fds, 100), -ERESTART_RESTARTBLOCK);
	uint64_t after = now_ms();
	struct timespec deadline = t->restart.deadline;
	assert_in_range(ms_of(&deadline), before + 100, after + 100);
	/* Kicked again, it keeps it. */
	usleep(10000);
	assert_int_equal(t->restart.fn(t, t->restart.arg), -ERESTART_RESTARTBLOCK);
	assert_memory_equal(&t->restart.deadline, &deadline, sizeof(deadline));
	atomic_store(&t->kicked, 0);
	assert_int_equal(t->restart.fn(t, t->restart.arg), 0);
	assert_true(now_ms() >= ms_of(&deadline));
}

static void what_is_ready_is_found_although_a_signal_waits(void **state)
{
	(void)state;
	make_pipe(0);
	send_byte(1);
	atomic_store(&t->kicked, 1);
	const struct pollfd fds[] = {{.fd = 0, .events = POLLIN}};
	assert_int_equal(poll_for(1, fds, -1), 1);
}

static void ppoll_with_a_mask_that_lets_a_signal_in_is_interrupted(void **state)
{
	(void)state;
	block(SIG_BIT(SIGUSR1));
	send_signal(SIGUSR1, 0);
	atomic_store(&t->kicked, 0);
	uint64_t *mask = fake_memory(p, EVENTS - FAKE_VA);
	*mask = 0;
	assert_int_equal(SYS(ppoll, 0, 0, 0, EVENTS, 8), -ERESTARTNOHAND);
	assert_true(t->sig.has_saved_mask);
	assert_int_equal(t->sig.saved_mask, SIG_BIT(SIGUSR1));
	t->sig.has_saved_mask = false;
	block(SIG_BIT(SIGUSR1));
	struct timespec *ts = buffer();
	*ts = (struct timespec){.tv_nsec = 5000000};
	*mask = SIG_BIT(SIGUSR1);
	assert_int_equal(SYS(ppoll, 0, 0, BUFFER, EVENTS, 8), 0);
	assert_false(t->sig.has_saved_mask);
	assert_int_equal(ts->tv_sec, 0);
	assert_int_equal(ts->tv_nsec, 0);
}

static void waiting_for_standard_input_pauses(void **state)
{
	(void)state;
	make_pipe(0);
	p->files.slots[0].file->standard_input = true;
	p->pause_at = MAYFLY_PAUSE_STDIN;
	const struct pollfd fds[] = {{.fd = 0, .events = POLLOUT}, {.fd = 0, .events = POLLIN}};
	assert_int_equal(poll_for(1, fds, 0), 0);
	assert_int_equal(p->state, PROCESS_RUNNING);
	assert_int_equal(poll_for(2, fds, 0), -ERESTARTNOINTR);
	assert_int_equal(p->state, PROCESS_PAUSED);
}

/* --- select(2) ---------------------------------------------------------------------------- */

static void select_tells_what_is_ready(void **state)
{
	(void)state;
	make_pipe(0);
	make_pipe(2);
	send_byte(3);
	uint64_t *sets = buffer();
	sets[0] = 0x5; /* in: 0 and 2 */
	sets[1] = 0xa; /* out: 1 and 3 */
	sets[2] = 0xf;
	assert_int_equal(SYS(select, 4, BUFFER, BUFFER + 8, BUFFER + 16, 0), 3);
	assert_int_equal(sets[0], 0x4);
	assert_int_equal(sets[1], 0xa);
	assert_int_equal(sets[2], 0);
}

static void select_writes_what_is_left_of_the_time(void **state)
{
	(void)state;
	make_pipe(0);
	send_byte(1);
	uint64_t *sets = buffer();
	struct timeval *tv = fake_memory(p, EVENTS - FAKE_VA);
	sets[0] = 1;
	*tv = (struct timeval){.tv_sec = 1000};
	assert_int_equal(SYS(select, 1, BUFFER, 0, 0, EVENTS), 1);
	assert_in_range(tv->tv_sec, 900, 999);
	assert_in_range(tv->tv_usec, 1, 999999);
	assert_int_equal(SYS(read, 0, FAKE_VA, 1), 1);
	*tv = (struct timeval){.tv_usec = 10000};
	assert_int_equal(SYS(select, 1, BUFFER, 0, 0, EVENTS), 0);
	assert_int_equal(sets[0], 0);
	assert_int_equal(tv->tv_usec, 0);
}

static void select_checks_its_arguments(void **state)
{
	(void)state;
	uint64_t *sets = buffer();
	sets[0] = 2;
	assert_int_equal(SYS(select, NEG(-1), 0, 0, 0, 0), -EINVAL);
	assert_int_equal(SYS(select, 2, BUFFER, 0, 0, 0), -EBADF);
	assert_int_equal(SYS(select, 2, FAKE_WILD, 0, 0, 0), -EFAULT);
	/* What is beyond the table is ignored. */
	sets[0] = 0;
	memset(sets + 1, 0xff, 128);
	struct timeval *tv = fake_memory(p, EVENTS - FAKE_VA);
	*tv = (struct timeval){.tv_usec = 1000};
	assert_int_equal(SYS(select, INT32_MAX, BUFFER, 0, 0, EVENTS), 0);
	*tv = (struct timeval){.tv_usec = -1};
	assert_int_equal(SYS(select, 0, 0, 0, 0, EVENTS), -EINVAL);
	atomic_store(&t->kicked, 1);
	assert_int_equal(SYS(select, 0, 0, 0, 0, 0), -ERESTARTNOHAND);
	assert_int_equal(SYS(pselect6, 0, 0, 0, 0, 0, FAKE_WILD), -EFAULT);
}

/* --- epoll(7) ----------------------------------------------------------------------------- */

static int64_t epoll_do(uint64_t ep, int operation, uint64_t fd, uint32_t events, uint64_t data)
{
	struct epoll_event *event = buffer();
	event->events = events;
	event->data.u64 = data;
	return SYS(epoll_ctl, ep, (uint64_t)operation, fd, BUFFER);
}

static const struct epoll_event *event_at(size_t i)
{
	return (struct epoll_event *)fake_memory(p, EVENTS - FAKE_VA) + i;
}

static void epoll_gives_the_guests_data(void **state)
{
	(void)state;
	make_pipe(0);
	assert_int_equal(SYS(epoll_create1, EPOLL_CLOEXEC), 2);
	assert_int_equal(SYS(fcntl, 2, F_GETFD), FD_CLOEXEC);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 0, EPOLLIN, 0x1122334455667788), 0);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 1, EPOLLIN, 1), 0);
	assert_int_equal(SYS(epoll_wait, 2, EVENTS, 10, 0), 0);
	send_byte(1);
	assert_int_equal(SYS(epoll_wait, 2, EVENTS, 10, NEG(-1)), 1);
	assert_int_equal(event_at(0)->events, EPOLLIN);
	assert_int_equal(event_at(0)->data.u64, 0x1122334455667788);
	assert_int_equal(epoll_do(2, EPOLL_CTL_MOD, 1, EPOLLOUT, 2), 0);
	assert_int_equal(SYS(epoll_wait, 2, EVENTS, 10, NEG(-1)), 2);
	assert_int_equal(SYS(epoll_wait, 2, EVENTS, 1, NEG(-1)), 1);
	assert_int_equal(epoll_do(2, EPOLL_CTL_DEL, 0, 0, 0), 0);
	assert_int_equal(epoll_do(2, EPOLL_CTL_DEL, 1, 0, 0), 0);
	assert_int_equal(SYS(epoll_wait, 2, EVENTS, 10, 5), 0);
}

static void epoll_checks_its_arguments(void **state)
{
	(void)state;
	make_pipe(0);
	assert_int_equal(SYS(epoll_create, 1), 2);
	assert_int_equal(SYS(epoll_create, 0), -EINVAL);
	assert_int_equal(SYS(epoll_create1, 1), -EINVAL);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 2, EPOLLIN, 0), -EINVAL);
	assert_int_equal(epoll_do(0, EPOLL_CTL_ADD, 1, EPOLLIN, 0), -EINVAL);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 9, EPOLLIN, 0), -EBADF);
	assert_int_equal(epoll_do(9, EPOLL_CTL_ADD, 0, EPOLLIN, 0), -EBADF);
	assert_int_equal(epoll_do(2, EPOLL_CTL_MOD, 0, EPOLLIN, 0), -ENOENT);
	assert_int_equal(epoll_do(2, EPOLL_CTL_DEL, 0, EPOLLIN, 0), -ENOENT);
	assert_int_equal(epoll_do(2, 77, 0, EPOLLIN, 0), -EINVAL);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 0, EPOLLIN, 0), 0);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 0, EPOLLIN, 0), -EEXIST);
	assert_int_equal(SYS(epoll_ctl, 2, EPOLL_CTL_ADD, 1, FAKE_WILD), -EFAULT);
	assert_int_equal(SYS(epoll_wait, 2, EVENTS, 0, 0), -EINVAL);
	assert_int_equal(SYS(epoll_wait, 2, EVENTS, NEG(-1), 0), -EINVAL);
	assert_int_equal(SYS(epoll_wait, 0, EVENTS, 1, 0), -EINVAL);
	assert_int_equal(SYS(epoll_wait, 9, EVENTS, 1, 0), -EBADF);
	send_byte(1);
	assert_int_equal(SYS(epoll_wait, 2, FAKE_WILD, 1, 0), -EFAULT);
}

static void regular_files_cannot_be_in_an_epoll(void **state)
{
	(void)state;
	struct file *file =
		file_new(FILE_REGULAR, memfd_create("t", MFD_CLOEXEC), O_RDWR, NULL);
	assert_int_equal(files_install(&p->files, file, 0, false), 0);
	file = file_new(FILE_DIRECTORY, -1, O_RDONLY, "/");
	assert_int_equal(files_install(&p->files, file, 0, false), 1);
	assert_int_equal(SYS(epoll_create1, 0), 2);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 0, EPOLLIN, 0), -EPERM);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 1, EPOLLIN, 0), -EPERM);
}

static void edges_and_one_shots_are_told_once(void **state)
{
	(void)state;
	make_pipe(0);
	make_pipe(2);
	assert_int_equal(SYS(epoll_create1, 0), 4);
	assert_int_equal(epoll_do(4, EPOLL_CTL_ADD, 0, EPOLLIN | EPOLLET, 10), 0);
	assert_int_equal(epoll_do(4, EPOLL_CTL_ADD, 2, EPOLLIN | EPOLLONESHOT, 20), 0);
	send_byte(1);
	send_byte(3);
	assert_int_equal(SYS(epoll_wait, 4, EVENTS, 10, NEG(-1)), 2);
	assert_int_equal(SYS(epoll_wait, 4, EVENTS, 10, 0), 0);
	send_byte(1);
	send_byte(3);
	assert_int_equal(SYS(epoll_wait, 4, EVENTS, 10, 0), 1);
	assert_int_equal(event_at(0)->data.u64, 10);
	assert_int_equal(epoll_do(4, EPOLL_CTL_MOD, 2, EPOLLIN, 21), 0);
	assert_int_equal(SYS(epoll_wait, 4, EVENTS, 10, 0), 1);
	assert_int_equal(event_at(0)->data.u64, 21);
}

static void epolls_nest_but_not_in_circles(void **state)
{
	(void)state;
	make_pipe(0);
	assert_int_equal(SYS(epoll_create1, 0), 2);
	assert_int_equal(SYS(epoll_create1, 0), 3);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 0, EPOLLIN, 1), 0);
	assert_int_equal(epoll_do(3, EPOLL_CTL_ADD, 2, EPOLLIN, 2), 0);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 3, EPOLLIN, 3), -ELOOP);
	send_byte(1);
	assert_int_equal(SYS(epoll_wait, 3, EVENTS, 10, NEG(-1)), 1);
	assert_int_equal(event_at(0)->data.u64, 2);
	assert_int_equal(SYS(close, 2), 0);
	assert_int_equal(SYS(epoll_wait, 3, EVENTS, 10, 0), 0);
	assert_int_equal(p->files.watches, 0);
}

static void two_descriptors_of_one_file_are_two_watches(void **state)
{
	(void)state;
	make_pipe(0);
	assert_int_equal(SYS(epoll_create1, 0), 2);
	assert_int_equal(SYS(dup, 0), 3);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 0, EPOLLIN, 100), 0);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 3, EPOLLIN, 103), 0);
	send_byte(1);
	assert_int_equal(SYS(epoll_wait, 2, EVENTS, 10, NEG(-1)), 2);
	assert_int_equal(event_at(0)->data.u64 + event_at(1)->data.u64, 203);
	assert_int_equal(epoll_do(2, EPOLL_CTL_DEL, 0, 0, 0), 0);
	assert_int_equal(SYS(epoll_wait, 2, EVENTS, 10, NEG(-1)), 1);
	assert_int_equal(event_at(0)->data.u64, 103);
	/* As on Linux: open by another descriptor, it stays. */
	assert_int_equal(SYS(close, 3), 0);
	assert_int_equal(SYS(epoll_wait, 2, EVENTS, 10, NEG(-1)), 1);
	assert_int_equal(SYS(close, 0), 0);
	assert_int_equal(SYS(epoll_wait, 2, EVENTS, 10, 0), 0);
	assert_int_equal(p->files.watches, 0);
	assert_int_equal(p->files.watch_fds, 0);
}

static void a_closed_stream_leaves_although_the_caller_has_it_open(void **state)
{
	(void)state;
	int host[2];
	assert_int_equal(pipe2(host, O_CLOEXEC), 0);
	struct file *file =
		file_new(FILE_STREAM, fcntl(host[0], F_DUPFD_CLOEXEC, 0), O_RDONLY, NULL);
	/* Not reopened: as where there is no /proc. */
	close(file->fd);
	file->fd = fcntl(host[0], F_DUPFD_CLOEXEC, 0);
	assert_int_equal(files_install(&p->files, file, 0, false), 0);
	assert_int_equal(SYS(epoll_create1, 0), 1);
	assert_int_equal(epoll_do(1, EPOLL_CTL_ADD, 0, EPOLLIN, 1), 0);
	assert_int_equal(write(host[1], "x", 1), 1);
	assert_int_equal(SYS(epoll_wait, 1, EVENTS, 10, 0), 1);
	assert_int_equal(SYS(close, 0), 0);
	assert_int_equal(SYS(epoll_wait, 1, EVENTS, 10, 0), 0);
	close(host[0]);
	close(host[1]);
}

static void watches_are_limited(void **state)
{
	(void)state;
	p->files.max = 8;
	make_pipe(0);
	int64_t r = 0;
	uint64_t made = 0;
	assert_int_equal(SYS(epoll_create1, 0), 2);
	/* The same file, again and again by another descriptor that is closed then. */
	for (int i = 0; i < 1000 && r == 0; i++) {
		uint64_t fd = 3 + (uint64_t)i % 5;
		(void)SYS(close, fd);
		assert_int_equal(SYS(dup2, 0, fd), fd);
		r = epoll_do(2, EPOLL_CTL_ADD, fd, EPOLLIN, 0);
		made += r == 0;
		if (r == -EEXIST)
			break;
	}
	assert_int_equal(r, -EEXIST);
	assert_int_equal(made, 5);
	for (uint64_t fd = 3; fd < 8; fd++)
		assert_int_equal(SYS(close, fd), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(SYS(epoll_create1, 0), 3 + i);
	for (uint64_t ep = 2; ep < 8; ep++)
		(void)epoll_do(ep, EPOLL_CTL_ADD, 0, EPOLLIN, 0);
	assert_true(p->files.watch_fds <= 8);
	assert_true(p->files.watches <= 8 * 16);
}

static void epoll_wait_ends_by_kick_and_goes_on(void **state)
{
	(void)state;
	make_pipe(0);
	assert_int_equal(SYS(epoll_create1, 0), 2);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 0, EPOLLIN, 1), 0);
	atomic_store(&t->kicked, 1);
	assert_int_equal(SYS(epoll_wait, 2, EVENTS, 10, 20), -ERESTART_RESTARTBLOCK);
	atomic_store(&t->kicked, 0);
	assert_int_equal(t->restart.fn(t, t->restart.arg), 0);
	block(SIG_BIT(SIGUSR1));
	send_signal(SIGUSR1, 0);
	atomic_store(&t->kicked, 0);
	*(uint64_t *)buffer() = 0;
	assert_int_equal(SYS(epoll_pwait, 2, EVENTS, 10, NEG(-1), BUFFER, 8), -ERESTARTNOHAND);
}

static void epoll_pwait2_takes_nanoseconds(void **state)
{
	(void)state;
	make_pipe(0);
	assert_int_equal(SYS(epoll_create1, 0), 2);
	struct timespec *ts = buffer();
	*ts = (struct timespec){.tv_nsec = 100};
	assert_int_equal(SYS(epoll_pwait2, 2, EVENTS, 10, BUFFER, 0, 0), 0);
	*ts = (struct timespec){.tv_nsec = -1};
	assert_int_equal(SYS(epoll_pwait2, 2, EVENTS, 10, BUFFER, 0, 0), -EINVAL);
	assert_int_equal(SYS(epoll_pwait2, 2, EVENTS, 10, FAKE_WILD, 0, 0), -EFAULT);
}

static void an_epoll_with_standard_input_pauses(void **state)
{
	(void)state;
	make_pipe(0);
	p->files.slots[0].file->standard_input = true;
	assert_int_equal(SYS(epoll_create1, 0), 2);
	assert_int_equal(SYS(epoll_create1, 0), 3);
	assert_int_equal(epoll_do(3, EPOLL_CTL_ADD, 2, EPOLLIN, 1), 0);
	p->pause_at = MAYFLY_PAUSE_STDIN;
	assert_int_equal(SYS(epoll_wait, 3, EVENTS, 10, 0), 0);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 0, EPOLLIN, 1), 0);
	assert_int_equal(SYS(epoll_wait, 3, EVENTS, 10, 0), -ERESTARTNOINTR);
	assert_int_equal(p->state, PROCESS_PAUSED);
}

static int count_watch(void *context, const struct epoll_watch_info *w)
{
	uint64_t *sum = context;
	*sum += w->data + w->events + (uint64_t)w->fd;
	return 0;
}

static void an_epoll_can_be_made_again_from_what_it_tells(void **state)
{
	(void)state;
	make_pipe(0);
	assert_int_equal(SYS(epoll_create1, 0), 2);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 0, EPOLLIN, 1000), 0);
	assert_int_equal(epoll_do(2, EPOLL_CTL_ADD, 1, EPOLLOUT, 2000), 0);
	uint64_t sum = 0;
	assert_int_equal(epoll_each(p->files.slots[2].file, count_watch, &sum), 0);
	assert_int_equal(sum, 3000 + EPOLLIN + EPOLLOUT + 1);
	struct file *again = epoll_new(&p->files);
	struct epoll_watch_info info = {
		.fd = 1, .file = p->files.slots[1].file, .events = EPOLLOUT, .data = 5};
	assert_int_equal(epoll_add(&p->files, again, &info), 0);
	assert_int_equal(epoll_add(&p->files, again, &info), -EEXIST);
	assert_int_equal(files_install(&p->files, again, 0, false), 3);
	assert_int_equal(SYS(epoll_wait, 3, EVENTS, 10, 0), 1);
	assert_int_equal(event_at(0)->data.u64, 5);
}

/* --- eventfd(2), timerfd(2) --------------------------------------------------------------- */

static void eventfd_counts(void **state)
{
	(void)state;
	uint64_t *value = buffer();
	assert_int_equal(SYS(eventfd, 3), 0);
	assert_int_equal(SYS(eventfd2, 2, EFD_SEMAPHORE | EFD_NONBLOCK), 1);
	assert_int_equal(SYS(eventfd2, 0, 4), -EINVAL);
	*value = 4;
	assert_int_equal(SYS(write, 0, BUFFER, 8), 8);
	assert_int_equal(SYS(read, 0, BUFFER, 8), 8);
	assert_int_equal(*value, 7);
	assert_int_equal(SYS(read, 0, BUFFER, 7), -EINVAL);
	assert_int_equal(SYS(read, 1, BUFFER, 8), 8);
	assert_int_equal(*value, 1);
	assert_int_equal(SYS(read, 1, BUFFER, 8), 8);
	assert_int_equal(SYS(read, 1, BUFFER, 8), -EAGAIN);
	*value = UINT64_MAX;
	assert_int_equal(SYS(write, 1, BUFFER, 8), -EINVAL);
	atomic_store(&t->kicked, 1);
	assert_int_equal(SYS(read, 0, BUFFER, 8), -ERESTARTSYS);
}

static void timerfd_expires(void **state)
{
	(void)state;
	struct itimerspec *its = buffer();
	assert_int_equal(SYS(timerfd_create, CLOCK_MONOTONIC, TFD_CLOEXEC), 0);
	*its = (struct itimerspec){.it_value = {.tv_nsec = 5000000}};
	assert_int_equal(SYS(timerfd_settime, 0, 0, BUFFER, BUFFER + 100), 0);
	assert_int_equal(SYS(read, 0, EVENTS, 8), 8);
	assert_int_equal(*(uint64_t *)fake_memory(p, EVENTS - FAKE_VA), 1);
	/* A time that has passed, absolute: at once. */
	*its = (struct itimerspec){.it_value = {.tv_nsec = 1}};
	assert_int_equal(SYS(timerfd_settime, 0, TFD_TIMER_ABSTIME, BUFFER, 0), 0);
	assert_int_equal(SYS(read, 0, EVENTS, 8), 8);
	assert_int_equal(SYS(timerfd_gettime, 0, BUFFER), 0);
	assert_int_equal(its->it_value.tv_nsec, 0);
	assert_int_equal(SYS(write, 0, BUFFER, 8), -EINVAL);
}

static void timerfd_checks_its_arguments(void **state)
{
	(void)state;
	make_pipe(0);
	struct itimerspec *its = buffer();
	*its = (struct itimerspec){.it_value = {.tv_nsec = 1000000000}};
	assert_int_equal(SYS(timerfd_create, CLOCK_THREAD_CPUTIME_ID, 0), -EINVAL);
	assert_int_equal(SYS(timerfd_create, CLOCK_REALTIME_ALARM, 0), -EPERM);
	assert_int_equal(SYS(timerfd_create, CLOCK_REALTIME, 1), -EINVAL);
	assert_int_equal(SYS(timerfd_create, CLOCK_REALTIME, 0), 2);
	assert_int_equal(SYS(timerfd_settime, 2, 0, BUFFER, 0), -EINVAL);
	assert_int_equal(SYS(timerfd_settime, 2, 0, FAKE_WILD, 0), -EFAULT);
	assert_int_equal(SYS(timerfd_settime, 0, 0, BUFFER, 0), -EINVAL);
	assert_int_equal(SYS(timerfd_gettime, 0, BUFFER), -EINVAL);
	assert_int_equal(SYS(timerfd_gettime, 2, FAKE_WILD), -EFAULT);
}

/* --- signalfd(2) -------------------------------------------------------------------------- */

static int64_t make_signalfd(uint64_t fd, uint64_t set, int flags)
{
	*(uint64_t *)buffer() = set;
	return SYS(signalfd4, fd, BUFFER, 8, (uint64_t)flags);
}

static const struct signalfd_siginfo *info_at(size_t i)
{
	return (struct signalfd_siginfo *)fake_memory(p, EVENTS - FAKE_VA) + i;
}

static void signalfd_gives_the_signals_of_its_set(void **state)
{
	(void)state;
	block(SIG_BIT(SIGUSR1) | SIG_BIT(SIGUSR2) | SIG_BIT(SIGTERM));
	assert_int_equal(
		make_signalfd(NEG(-1), SIG_BIT(SIGUSR1) | SIG_BIT(SIGUSR2), SFD_NONBLOCK), 0);
	assert_int_equal(SYS(read, 0, EVENTS, 128), -EAGAIN);
	send_signal(SIGUSR2, 77);
	send_signal(SIGTERM, 1);
	send_signal(SIGUSR1, 66);
	assert_int_equal(SYS(read, 0, EVENTS, 127), -EINVAL);
	assert_int_equal(SYS(read, 0, EVENTS, 1000), 256);
	assert_int_equal(info_at(0)->ssi_signo, SIGUSR1);
	assert_int_equal(info_at(0)->ssi_ptr, 66);
	assert_int_equal(info_at(0)->ssi_code, SI_QUEUE);
	assert_int_equal(info_at(0)->ssi_pid, PROCESS_PID);
	assert_int_equal(info_at(0)->ssi_uid, 1000);
	assert_int_equal(info_at(1)->ssi_signo, SIGUSR2);
	assert_int_equal(SYS(read, 0, EVENTS, 128), -EAGAIN);
	/* Another set, with what waits. */
	assert_int_equal(make_signalfd(0, SIG_BIT(SIGTERM), 0), 0);
	assert_int_equal(SYS(read, 0, EVENTS, 128), 128);
	assert_int_equal(info_at(0)->ssi_signo, SIGTERM);
}

static void signalfd_is_ready_when_a_signal_waits(void **state)
{
	(void)state;
	block(SIG_BIT(SIGUSR1));
	send_signal(SIGUSR1, 0);
	assert_int_equal(make_signalfd(NEG(-1), SIG_BIT(SIGUSR1), SFD_NONBLOCK), 0);
	const struct pollfd fds[] = {{.fd = 0, .events = POLLIN}};
	assert_int_equal(poll_for(1, fds, 0), 1);
	assert_int_equal(SYS(read, 0, EVENTS, 128), 128);
	assert_int_equal(poll_for(1, fds, 0), 0);
	/* In an epoll, by the signal that comes. */
	assert_int_equal(SYS(epoll_create1, 0), 1);
	assert_int_equal(epoll_do(1, EPOLL_CTL_ADD, 0, EPOLLIN, 9), 0);
	assert_int_equal(SYS(epoll_wait, 1, EVENTS, 10, 0), 0);
	send_signal(SIGUSR1, 0);
	assert_int_equal(SYS(epoll_wait, 1, EVENTS, 10, 0), 1);
	/* Taken otherwise: no longer ready. */
	struct guest_siginfo info;
	assert_true(signal_take(t, SIG_BIT(SIGUSR1), &info));
	assert_int_equal(poll_for(1, fds, 0), 0);
	assert_int_equal(SYS(epoll_wait, 1, EVENTS, 10, 0), 0);
}

static void *signal_later(void *context)
{
	(void)context;
	usleep(20000);
	send_signal(SIGUSR1, 5);
	return NULL;
}

static void a_blocking_signalfd_waits(void **state)
{
	(void)state;
	pthread_t thread;
	block(SIG_BIT(SIGUSR1));
	assert_int_equal(make_signalfd(NEG(-1), SIG_BIT(SIGUSR1), 0), 0);
	assert_int_equal(pthread_create(&thread, NULL, signal_later, NULL), 0);
	assert_int_equal(SYS(read, 0, EVENTS, 128), 128);
	pthread_join(thread, NULL);
	assert_int_equal(info_at(0)->ssi_int, 5);
}

static void signalfd_checks_its_arguments(void **state)
{
	(void)state;
	make_pipe(0);
	assert_int_equal(SYS(signalfd4, NEG(-1), BUFFER, 4, 0), -EINVAL);
	assert_int_equal(SYS(signalfd4, NEG(-1), BUFFER, 8, 1), -EINVAL);
	assert_int_equal(SYS(signalfd4, NEG(-1), FAKE_WILD, 8, 0), -EFAULT);
	assert_int_equal(SYS(signalfd4, 0, BUFFER, 8, 0), -EINVAL);
	assert_int_equal(SYS(signalfd4, 9, BUFFER, 8, 0), -EBADF);
	assert_int_equal(make_signalfd(NEG(-1), UINT64_MAX, SFD_CLOEXEC), 2);
	assert_int_equal(p->files.slots[2].file->sigmask & SIG_BIT(SIGKILL), 0);
	assert_int_equal(SYS(fcntl, 2, F_GETFD), FD_CLOEXEC);
	assert_int_equal(SYS(write, 2, BUFFER, 8), -EINVAL);
	assert_int_equal(SYS(close, 2), 0);
	assert_null(p->sig.signalfds);
}

/* --- inotify(7) --------------------------------------------------------------------------- */

static void inotify_is_used_up(void **state)
{
	(void)state;
	make_pipe(0);
	assert_int_equal(SYS(inotify_init, 0), -EMFILE);
	assert_int_equal(SYS(inotify_init1, IN_CLOEXEC | IN_NONBLOCK), -EMFILE);
	assert_int_equal(SYS(inotify_init1, 1), -EINVAL);
	assert_int_equal(SYS(inotify_add_watch, 0, BUFFER, 1), -EINVAL);
	assert_int_equal(SYS(inotify_rm_watch, 9, 1), -EBADF);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(poll_tells_what_is_ready),
		TEST(poll_takes_its_time),
		TEST(files_that_never_block_are_always_ready),
		TEST(poll_checks_its_arguments),
		TEST(a_kicked_poll_goes_on_with_its_deadline),
		TEST(what_is_ready_is_found_although_a_signal_waits),
		TEST(ppoll_with_a_mask_that_lets_a_signal_in_is_interrupted),
		TEST(waiting_for_standard_input_pauses),
		TEST(select_tells_what_is_ready),
		TEST(select_writes_what_is_left_of_the_time),
		TEST(select_checks_its_arguments),
		TEST(epoll_gives_the_guests_data),
		TEST(epoll_checks_its_arguments),
		TEST(regular_files_cannot_be_in_an_epoll),
		TEST(edges_and_one_shots_are_told_once),
		TEST(epolls_nest_but_not_in_circles),
		TEST(two_descriptors_of_one_file_are_two_watches),
		TEST(a_closed_stream_leaves_although_the_caller_has_it_open),
		TEST(watches_are_limited),
		TEST(epoll_wait_ends_by_kick_and_goes_on),
		TEST(epoll_pwait2_takes_nanoseconds),
		TEST(an_epoll_with_standard_input_pauses),
		TEST(an_epoll_can_be_made_again_from_what_it_tells),
		TEST(eventfd_counts),
		TEST(timerfd_expires),
		TEST(timerfd_checks_its_arguments),
		TEST(signalfd_gives_the_signals_of_its_set),
		TEST(signalfd_is_ready_when_a_signal_waits),
		TEST(a_blocking_signalfd_waits),
		TEST(signalfd_checks_its_arguments),
		TEST(inotify_is_used_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

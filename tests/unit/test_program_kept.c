/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What snapshots of programs keep besides memory: pipes, events, sockets within the program, files
 * without names, signals that wait, timers that run. On the mock hypervisor.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>

#include "linux/checkpoint.h"
#include "linux/mm_areas.h"
#include "program_fixture.h"

#undef fail /* core/error.h has its own */
#include <cmocka.h>

static struct tree tree;
static struct mayfly_snapshot *snap;

static struct process *opened(void)
{
	mayfly_process_options o = program_options(&tree);
	struct process *p;

	assert_int_equal(process_new(&hv_mock, &o, &p, NULL), 0);
	program_open_much(p);
	return p;
}

/* After these calls "hello" is in RESULT, in a process made from it, and in one restored. */
static void says_hello(const uint64_t (*calls)[7], size_t count)
{
	struct process *p = program_continued(&tree, snap);

	for (int i = 0; i < 2; i++) {
		if (i)
			program_restore(p);
		assert_int_equal(program_run(p, calls, count).status, 7);
		assert_true(program_holds(p, RESULT, "hello"));
	}
	process_free(p);
}

static void pipes_are_kept_whose_writer_comes_first(void **state)
{
	static const uint64_t calls[][7] = {{SYS_read, PIPE_READ, RESULT, 10}};

	(void)state;
	says_hello(calls, ARRAY_SIZE(calls));
}

static void pairs_are_kept(void **state)
{
	/* The end is one, too: the last read leaves what was there. */
	static const uint64_t calls[][7] = {
		{SYS_read, PAIR_B, RESULT, 10},
		{SYS_read, PAIR_B, RESULT, 10},
	};

	(void)state;
	says_hello(calls, ARRAY_SIZE(calls));
}

static void both_ends_of_a_pair_are_connected_again(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_write, PAIR_B, HELLO, 6},
		{SYS_read, PAIR_A, RESULT, 10},
	};

	(void)state;
	says_hello(calls, ARRAY_SIZE(calls));
}

static void listeners_are_kept_with_who_waits(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_accept, LISTENER, 0, 0},
		{SYS_read, ACCEPTED, RESULT + 0x100, 10},
		{SYS_write, ACCEPTED, RESULT + 0x100, 6},
		{SYS_read, CLIENT, RESULT, 10},
	};

	(void)state;
	says_hello(calls, ARRAY_SIZE(calls));
}

static void names_are_taken_again(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_accept, LISTENER, 0, 0},
		{SYS_socket, AF_UNIX, SOCK_STREAM, 0},
		{SYS_connect, ACCEPTED + 1, UNIX_NAME, UNIX_NAME_LEN},
		{SYS_write, ACCEPTED + 1, HELLO, 6},
		{SYS_accept, LISTENER, 0, 0},
		{SYS_read, ACCEPTED + 2, RESULT, 10},
	};

	(void)state;
	says_hello(calls, ARRAY_SIZE(calls));
}

static void datagrams_are_kept_one_by_one(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_read, DATAGRAMS, RESULT, 10},
		{SYS_read, DATAGRAMS, RESULT + 3, 10},
	};

	(void)state;
	says_hello(calls, ARRAY_SIZE(calls));
}

static void files_without_names_are_kept(void **state)
{
	static const uint64_t calls[][7] = {{SYS_pread64, MEMFD, RESULT, 10, 0}};

	(void)state;
	says_hello(calls, ARRAY_SIZE(calls));
}

static void a_semaphore_of_any_value_is_kept(void **state)
{
	static const uint64_t calls[][7] = {{SYS_read, SEMAPHORE, RESULT, 8}};
	struct process *p = program_continued(&tree, snap);
	uint64_t value = 0;

	(void)state;
	program_run(p, calls, ARRAY_SIZE(calls));
	mm_get(&p->mm, &value, RESULT);
	assert_int_equal(value, 1);
	process_free(p);
}

static void signals_that_wait_are_kept(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_rt_sigpending, RESULT, 8},
		{SYS_epoll_wait, EPOLL, RESULT + 8, 1, 0},
	};
	struct process *p = program_continued(&tree, snap);
	struct epoll_event event = {.events = 0};
	struct guest_siginfo info;
	uint64_t set = 0;

	(void)state;
	assert_true(p->sig.pending.set & SIG_BIT(SIGUSR1));
	assert_true(p->tasks->sig.pending.set & SIG_BIT(SIGUSR2));
	program_run(p, calls, ARRAY_SIZE(calls));
	mm_get(&p->mm, &set, RESULT);
	assert_int_equal(set, SIG_BIT(SIGUSR1) | SIG_BIT(SIGUSR2));
	mm_get(&p->mm, &event, RESULT + 8);
	assert_int_equal(event.data.u64, 77);
	assert_true(signal_take(p->tasks, SIG_BIT(SIGUSR1), &info));
	assert_int_equal(info.rt.pid, PROCESS_PID);
	process_free(p);
}

static void timers_go_on_with_what_was_left(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_getitimer, ITIMER_REAL, RESULT},
		{SYS_timer_gettime, 1, RESULT + 0x100},
		{SYS_timer_gettime, 0, RESULT + 0x200},
	};
	const struct itimerspec untouched = {.it_value.tv_sec = 12345};
	struct process *p = program_continued(&tree, snap);
	struct itimerspec spec = {.it_value.tv_sec = 0}, none = spec;
	struct itimerval itimer = {.it_value.tv_sec = 0};

	(void)state;
	mm_put(&p->mm, RESULT + 0x200, &untouched);
	program_run(p, calls, ARRAY_SIZE(calls));
	mm_get(&p->mm, &itimer, RESULT);
	mm_get(&p->mm, &spec, RESULT + 0x100);
	mm_get(&p->mm, &none, RESULT + 0x200);
	assert_in_range(itimer.it_value.tv_sec, 500, 1000);
	assert_in_range(spec.it_value.tv_sec, 400, 900);
	assert_int_equal(spec.it_interval.tv_sec, 5);
	assert_int_equal(none.it_value.tv_sec, 12345); /* it had been deleted */
	process_free(p);
}

static void signals_from_before_a_restore_are_gone(void **state)
{
	struct process *p = program_continued(&tree, snap);

	(void)state;
	assert_int_equal(signal_send_outside(p, SIGTERM), 0);
	program_restore(p);
	assert_int_equal(p->sig.pending.set, SIG_BIT(SIGUSR1));
	assert_int_equal(program_run(p, NULL, 0).status, 7);
	assert_int_equal(signal_send_outside(p, SIGTERM), -ESRCH);
	process_free(p);
}

static void saving_changes_nothing(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_read, PAIR_B, RESULT, 3},		 {SYS_read, PIPE_READ, RESULT + 3, 1},
		{SYS_read, PIPE_READ, RESULT + 3, 2},	 {SYS_read, DATAGRAMS, RESULT + 5, 3},
		{SYS_read, SEMAPHORE, RESULT + 0x10, 8},
	};
	struct mayfly_snapshot *other = NULL;
	struct process *p = opened();
	char text[9] = "";

	(void)state;
	assert_int_equal(checkpoint_save(p, &other, NULL), 0);
	program_run(p, calls, ARRAY_SIZE(calls));
	mm_read(&p->mm, text, RESULT, 8);
	assert_string_equal(text, "helelhel");
	process_free(p);
	mayfly_snapshot_unref(other);
}

static void what_cannot_be_kept_is_named(void **state)
{
	static const uint64_t fifo[][7] = {
		{SYS_mknod, PROGRAM_DATA, S_IFIFO | 0600, 0},
		{SYS_open, PROGRAM_DATA, 2 /* O_RDWR */, 0},
		{PROG_SYS_READY, 0},
	};
	mayfly_process_options o = program_options(&tree);
	struct mayfly_snapshot *made = NULL;
	mayfly_error err = {.code = 0};
	struct process *p;

	(void)state;
	assert_int_equal(process_new(&hv_mock, &o, &p, NULL), 0);
	mm_write(&p->mm, PROGRAM_DATA, "/tmp/fifo", 10);
	assert_int_equal(program_run(p, fifo, ARRAY_SIZE(fifo)).end, MAYFLY_END_PAUSE);
	assert_int_equal(checkpoint_save(p, &made, &err), MAYFLY_E_INVALID);
	assert_non_null(strstr(err.message, "/tmp/fifo"));
	process_free(p);
}

/* --- What a restore has to know --------------------------------------------------------------- */

static bool noted(const struct process *p, uint64_t va)
{
	uint64_t page = (uint64_t)(mm_host_address(&p->mm, va) - p->mm.base) / PAGE_SIZE;

	return bitmap_test(p->mm.host_wrote, page);
}

static void only_what_the_host_writes_is_noted(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_write, PAIR_B, PROGRAM_DATA + 0x4000, 10},
		{SYS_read, PAIR_A, PROGRAM_DATA + 0x5000, 10},
		{SYS_sendto, SENDER, PROGRAM_DATA + 0x6000, 3, 0, INET_NAME,
		 sizeof(struct sockaddr_in)},
		{SYS_recvfrom, DATAGRAMS, PROGRAM_DATA + 0x7000, 3, 0, 0, 0},
		{SYS_futex, PROGRAM_DATA + 0x8000, 1 /* FUTEX_WAKE */, 1},
	};
	struct process *p = program_continued(&tree, snap);

	(void)state;
	program_run(p, calls, ARRAY_SIZE(calls));
	assert_false(noted(p, PROGRAM_DATA + 0x4000));
	assert_true(noted(p, PROGRAM_DATA + 0x5000));
	assert_false(noted(p, PROGRAM_DATA + 0x6000));
	assert_true(noted(p, PROGRAM_DATA + 0x7000));
	assert_false(noted(p, PROGRAM_DATA + 0x8000));
	process_free(p);
}

/* --- What a life leaves to the next ------------------------------------------------------------- */

static void mapped_files_are_paid_for_in_one_life_only(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_memfd_create, NAME, 0},
		{SYS_ftruncate, ACCEPTED, 1 << 20},
		{SYS_mmap, 0, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, ACCEPTED, 0},
	};
	struct process *p = program_continued(&tree, snap);
	uint64_t charged = p->mm.charged;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(program_run(p, calls, ARRAY_SIZE(calls)).status, 7);
		assert_true(p->mm.charged >= charged + (1 << 20));
		program_restore(p);
		assert_int_equal(p->mm.charged, charged);
	}
	process_free(p);
}

/* A message that holds the socket that it waits in, an epoll, a listener, a file of 1 MiB. */
static void put_message(struct process *p)
{
	const uint64_t control[] = {
		CMSG_LEN(4 * sizeof(int)), SOL_SOCKET | (uint64_t)SCM_RIGHTS << 32,
		PAIR_A | (uint64_t)EPOLL << 32, LISTENER | (uint64_t)ACCEPTED << 32};
	const uint64_t header[] = {0, 0, RESULT + 0x40, 1, RESULT + 0x80, sizeof(control), 0};
	const uint64_t iov[] = {HELLO, 6};

	mm_write(&p->mm, RESULT, header, sizeof(header));
	mm_write(&p->mm, RESULT + 0x40, iov, sizeof(iov));
	mm_write(&p->mm, RESULT + 0x80, control, sizeof(control));
}

static void files_in_messages_end_with_their_life(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_memfd_create, NAME, 0},
		{SYS_ftruncate, ACCEPTED, 1 << 20},
		{SYS_sendmsg, PAIR_B, RESULT, 0},
	};
	struct process *p = program_continued(&tree, snap);
	uint64_t charged = p->mm.charged;
	uint32_t watches = p->files.watches;
	unsigned fds = program_open_fds();

	(void)state;
	for (int i = 0; i < 3; i++) {
		put_message(p);
		assert_int_equal(program_run(p, calls, ARRAY_SIZE(calls)).status, 7);
		program_restore(p);
		assert_int_equal(p->mm.charged, charged);
		assert_int_equal(p->files.watches, watches);
		assert_int_equal(program_open_fds(), fds);
	}
	process_free(p);
}

static void a_restore_gives_the_arguments_again(void **state)
{
	static const char *const argv[] = {"kept", "argument", NULL};
	static const uint64_t calls[][7] = {{PROG_SYS_READY, RESULT}};
	mayfly_process_options o = program_options(&tree);
	uint64_t told[2], argument;
	struct process *p;

	(void)state;
	o.program = o.cwd = NULL;
	o.snapshot = snap;
	o.argv = argv;
	o.flags |= MAYFLY_PROCESS_RESTORABLE;
	assert_int_equal(process_new(&hv_mock, &o, &p, NULL), 0);
	for (int i = 0; i < 2; i++) {
		if (i)
			program_restore(p);
		assert_int_equal(program_run(p, calls, ARRAY_SIZE(calls)).status, 7);
		assert_int_equal(mm_get(&p->mm, &told, RESULT), 0);
		assert_int_equal(told[0], 2);
		assert_int_equal(mm_get(&p->mm, &argument, told[1] + 8), 0);
		assert_true(program_holds(p, argument, "argument"));
	}
	process_free(p);
}

static void what_one_life_was_told_the_next_does_not_know(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0},
		{SYS_mmap, 0, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		 UINT64_MAX, 0},
	};
	struct process *p = program_continued(&tree, snap);
	const uint64_t peak = p->mm.peak;

	(void)state;
	assert_int_equal(program_run(p, calls, ARRAY_SIZE(calls)).status, 7);
	assert_true(p->attr.no_new_privs);
	program_restore(p);
	assert_false(p->attr.no_new_privs);
	assert_int_equal(p->mm.peak, peak);
	process_free(p);
}

static void a_restore_grants_what_was_granted_at_first(void **state)
{
	static const uint64_t first[][7] = {
		{SYS_rename, PROGRAM_DATA + 0x3000, PROGRAM_DATA + 0x3040},
		{SYS_symlink, PROGRAM_DATA + 0x3100, PROGRAM_DATA + 0x3000},
	};
	static const uint64_t second[][7] = {
		{SYS_open, PROGRAM_DATA + 0x30c0, 0},
		{SYS_read, ACCEPTED, RESULT + 0x100, 10},
		{SYS_open, PROGRAM_DATA + 0x3080, 0},
		{SYS_read, ACCEPTED, RESULT, 10},
	};
	mayfly_process_options o = program_options(&tree);
	mayfly_grant grants[4];
	char inner[128], outside[128];
	struct process *p;

	(void)state;
	snprintf(inner, sizeof(inner), "%s/directory", tree.granted);
	snprintf(outside, sizeof(outside), "%s/outside", tree.root);
	memcpy(grants, tree.grants, sizeof(tree.grants));
	grants[3] = (mayfly_grant){inner, "/inner", 0};
	o.program = o.cwd = NULL;
	o.snapshot = snap;
	o.flags |= MAYFLY_PROCESS_RESTORABLE;
	o.grants = grants;
	o.ngrants = ARRAY_SIZE(grants);
	assert_int_equal(process_new(&hv_mock, &o, &p, NULL), 0);
	for (int i = 0; i < 2; i++) {
		if (i)
			program_restore(p);
		mm_write(&p->mm, PROGRAM_DATA + 0x3000, "/rw/directory", 14);
		mm_write(&p->mm, PROGRAM_DATA + 0x3040, "/rw/moved", 10);
		mm_write(&p->mm, PROGRAM_DATA + 0x3080, "/inner/file", 12);
		mm_write(&p->mm, PROGRAM_DATA + 0x30c0, "/inner/secret", 14);
		mm_write(&p->mm, PROGRAM_DATA + 0x3100, outside, strlen(outside) + 1);
		if (i)
			program_run(p, second, ARRAY_SIZE(second));
		else
			program_run(p, first, ARRAY_SIZE(first));
	}
	assert_true(program_holds(p, RESULT, "0123456789"));
	assert_true(program_holds(p, RESULT + 0x100, ""));
	process_free(p);
	tree_reset(&tree);
}

/* --- Saved while signals come ------------------------------------------------------------------- */

static atomic_bool over;

/* As timers of the program's do, and whoever sends it signals from outside. */
static void *send_signals(void *context)
{
	const struct guest_siginfo stop = {.signo = SIGTSTP, .code = SI_TIMER};
	struct process *p = context;

	while (!atomic_load(&over)) {
		signal_send_tid(p, PROCESS_PID, &stop);
		signal_send_outside(p, SIGCONT);
	}
	return NULL;
}

static void signals_may_come_while_a_process_is_saved(void **state)
{
	struct process *p = opened(), *again;
	mayfly_error err;
	pthread_t thread;

	(void)state;
	atomic_store(&over, false);
	assert_int_equal(pthread_create(&thread, NULL, send_signals, p), 0);
	for (int i = 0; i < 20; i++) {
		struct mayfly_snapshot *made = NULL;

		assert_int_equal(checkpoint_save(p, &made, &err), 0);
		if (program_continue(&tree, made, &again, &err) < 0)
			fail_msg("%s", err.message);
		process_free(again);
		mayfly_snapshot_unref(made);
	}
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	process_free(p);
}

/* --- Spoiled ---------------------------------------------------------------------------------- */

/* Whatever becomes of it: refused with a reason, or run to some end. */
static void use_state(const uint8_t *data, size_t len)
{
	static const uint64_t calls[][7] = {
		{SYS_read, PIPE_READ, RESULT, 10},
		{SYS_accept, LISTENER, FDS, FDS + 8},
		{SYS_recvfrom, DATAGRAMS, RESULT, 10, 0, FDS, FDS + 8},
		{SYS_recvfrom, PAIR_B, RESULT, 10, 0, FDS, FDS + 8},
		{SYS_getsockname, CLIENT, FDS, FDS + 8},
		{SYS_getpeername, CLIENT, FDS, FDS + 8},
		{SYS_sendto, SENDER, HELLO, 3, 0, INET_NAME, sizeof(struct sockaddr_in)},
		{SYS_epoll_wait, EPOLL, RESULT, 1, 0},
		{SYS_timer_gettime, 1, RESULT},
		{SYS_getitimer, ITIMER_REAL, RESULT},
		{SYS_rt_sigprocmask, SIG_SETMASK, LARGE + 0x20, 0, 8},
	};
	struct mayfly_snapshot *made = NULL;
	struct snapshot_builder b;
	struct process *p = NULL;
	mayfly_error err = {.code = 0};

	assert_int_equal(snapshot_builder_init(&b, snap->guest, NULL), 0);
	for (uint64_t page = 0; page < snap->used / PAGE_SIZE; page++)
		if (bitmap_test(snap->present, page))
			snapshot_builder_put(&b, page, snap->image + page * PAGE_SIZE, 1, NULL);
	b.extra = malloc(len + 1);
	assert_non_null(b.extra);
	memcpy(b.extra, data, len);
	b.extra_len = len;
	assert_int_equal(snapshot_builder_finish(&b, &made, NULL), 0);
	snapshot_builder_fini(&b);
	if (program_continue(&tree, made, &p, &err) == 0) {
		program_run(p, calls, ARRAY_SIZE(calls));
		process_free(p);
	} else {
		assert_true(err.message[0] != '\0');
	}
	mayfly_snapshot_unref(made);
}

/* The vector state is long, and comes last. */
static size_t interesting(void)
{
	return snap->extra_len > CPU_XSAVE_BUFFER ? snap->extra_len - CPU_XSAVE_BUFFER
						  : snap->extra_len;
}

static void each_spoiled_byte_is_survived(void **state)
{
	static const uint8_t flips[] = {1, 0x80, 0xff, 2, 0x10};
	uint8_t *copy = malloc(snap->extra_len);
	unsigned fds = program_open_fds();

	(void)state;
	assert_non_null(copy);
	memcpy(copy, snap->extra, snap->extra_len);
	/* Strings of any length are among the numbers: not by words. */
	for (size_t at = 0; at < interesting(); at++) {
		copy[at] ^= flips[at % sizeof(flips)];
		use_state(copy, snap->extra_len);
		copy[at] ^= flips[at % sizeof(flips)];
	}
	assert_int_equal(program_open_fds(), fds);
	free(copy);
}

static void each_shorter_state_is_survived(void **state)
{
	unsigned fds = program_open_fds();

	(void)state;
	for (size_t len = 0; len < interesting(); len += 5)
		use_state(snap->extra, len);
	assert_int_equal(program_open_fds(), fds);
}

/* --- States that no program comes to ---------------------------------------------------------- */

/* The process as it is, saved and continued; it is freed. *out: with MAYFLY_OK. */
static int continue_as_it_is(struct process *p, struct process **out, mayfly_error *err)
{
	struct mayfly_snapshot *made;
	int r;

	assert_int_equal(checkpoint_save(p, &made, err), 0);
	process_free(p);
	r = program_continue(&tree, made, out, err);
	mayfly_snapshot_unref(made);
	return r;
}

static void a_heap_below_the_programs_addresses_is_refused(void **state)
{
	struct process *p = opened();
	mayfly_error err;

	(void)state;
	p->mm.brk_start = p->mm.brk = PROG_LOW_VA - PAGE_SIZE;
	assert_int_equal(continue_as_it_is(p, &p, &err), MAYFLY_E_FORMAT);
}

static void numbers_of_threads_beyond_the_last_are_refused(void **state)
{
	struct process *p = opened();
	mayfly_error err;

	(void)state;
	p->next_tid = INT32_MAX;
	assert_int_equal(continue_as_it_is(p, &p, &err), MAYFLY_E_FORMAT);
}

static void a_number_that_a_thread_has_is_not_given_again(void **state)
{
	struct process *p = opened();
	uint32_t one = mock_host()->max_vcpus;
	struct task *t;

	(void)state;
	mock_host()->max_vcpus = 4;
	p->next_tid = PROCESS_TID_MAX;
	assert_int_equal(task_new(p, 0, &t, NULL), 0);
	assert_int_equal(t->tid, PROCESS_TID_MAX);
	task_free(t);
	p->tasks->tid = PROCESS_PID + 1;
	p->next_tid = PROCESS_TID_MAX;
	assert_int_equal(task_new(p, 0, &t, NULL), 0);
	task_free(t);
	assert_int_equal(p->next_tid, PROCESS_PID + 2);
	process_free(p);
	mock_host()->max_vcpus = one;
}

static void a_pipe_larger_than_programs_may_have_is_refused(void **state)
{
	struct process *p = opened();
	struct file *pipe = files_get(&p->files, PIPE_WRITE);
	mayfly_error err;

	(void)state;
	assert_true(fcntl(pipe->fd, F_SETPIPE_SZ, 1 << 20) > PIPE_SIZE_MAX);
	file_put(pipe);
	assert_int_equal(continue_as_it_is(p, &p, &err), MAYFLY_E_FORMAT);
}

static void no_program_keeps_sigkill_from_ending_it(void **state)
{
	struct process *p = opened();
	mayfly_process_end end = {.size = sizeof(end)};
	mayfly_error err;

	(void)state;
	p->sig.actions[SIGKILL].handler = 1; /* SIG_IGN */
	p->sig.actions[SIGSTOP].handler = PROGRAM_TEXT;
	assert_int_equal(continue_as_it_is(p, &p, &err), 0);
	assert_int_equal(p->sig.actions[SIGSTOP].handler, 0);
	assert_int_equal(signal_send_outside(p, SIGKILL), 0);
	assert_int_equal(process_run(p, 0, &end, &err), 0);
	assert_int_equal(end.end, MAYFLY_END_SIGNAL);
	assert_int_equal(end.status, SIGKILL);
	process_free(p);
}

static int set_up(void **state)
{
	struct process *p;
	mayfly_error err;

	(void)state;
	mock_reset();
	tree_make(&tree);
	p = opened();
	if (checkpoint_save(p, &snap, &err) < 0)
		fail_msg("%s", err.message);
	process_free(p);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mayfly_snapshot_unref(snap);
	tree_remove(&tree);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pipes_are_kept_whose_writer_comes_first),
		cmocka_unit_test(pairs_are_kept),
		cmocka_unit_test(both_ends_of_a_pair_are_connected_again),
		cmocka_unit_test(listeners_are_kept_with_who_waits),
		cmocka_unit_test(names_are_taken_again),
		cmocka_unit_test(datagrams_are_kept_one_by_one),
		cmocka_unit_test(files_without_names_are_kept),
		cmocka_unit_test(a_semaphore_of_any_value_is_kept),
		cmocka_unit_test(signals_that_wait_are_kept),
		cmocka_unit_test(timers_go_on_with_what_was_left),
		cmocka_unit_test(signals_from_before_a_restore_are_gone),
		cmocka_unit_test(mapped_files_are_paid_for_in_one_life_only),
		cmocka_unit_test(files_in_messages_end_with_their_life),
		cmocka_unit_test(a_restore_gives_the_arguments_again),
		cmocka_unit_test(what_one_life_was_told_the_next_does_not_know),
		cmocka_unit_test(a_restore_grants_what_was_granted_at_first),
		cmocka_unit_test(saving_changes_nothing),
		cmocka_unit_test(signals_may_come_while_a_process_is_saved),
		cmocka_unit_test(what_cannot_be_kept_is_named),
		cmocka_unit_test(only_what_the_host_writes_is_noted),
		cmocka_unit_test(a_heap_below_the_programs_addresses_is_refused),
		cmocka_unit_test(numbers_of_threads_beyond_the_last_are_refused),
		cmocka_unit_test(a_number_that_a_thread_has_is_not_given_again),
		cmocka_unit_test(a_pipe_larger_than_programs_may_have_is_refused),
		cmocka_unit_test(no_program_keeps_sigkill_from_ending_it),
		cmocka_unit_test(each_spoiled_byte_is_survived),
		cmocka_unit_test(each_shorter_state_is_survived),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

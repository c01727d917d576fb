/* SPDX-License-Identifier: Apache-2.0 */
/* Lines and tables of system calls, as strace(1) prints them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <linux/futex.h>

#include "linux/trace.h"
#include "linux/trace_format.h"
#include "linux_fixture.h"

static struct process *p;
static struct task *t;

/* What was written, a line a call. */
static char lines[32][TRACE_LINE + 1];
static size_t nlines;

static void keep_line(void *context, const char *text, size_t len)
{
	assert_ptr_equal(context, lines);
	assert_in_range(nlines, 0, ARRAY_SIZE(lines) - 1);
	assert_in_range(len, 1, TRACE_LINE);
	memcpy(lines[nlines], text, len);
	lines[nlines++][len] = '\0';
}

static int set_up(void **state)
{
	(void)state;
	p = fake_process_new();
	t = p->tasks;
	p->trace = trace_new(true, keep_line, lines);
	assert_non_null(p->trace);
	nlines = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	trace_free(p->trace);
	fake_process_free(p);
	return 0;
}

/* One call, whose end is `result`; gives its line. */
static const char *line_of(uint64_t number, const uint64_t a[6], int64_t result)
{
	struct trace_call call;

	nlines = 0;
	trace_enter(t, &call, number, a);
	trace_leave(t, number, a, result);
	assert_int_equal(nlines, 1);
	return lines[0];
}

#define ARGS(...) ((const uint64_t[6]){__VA_ARGS__})
#define NEG(n) ((uint64_t)(int64_t)(n))

/* --- Text --------------------------------------------------------------------------------- */

static const char *quoted(const char *bytes, size_t len, bool cut)
{
	static char buf[256];
	struct text text = {.buf = buf, .size = sizeof(buf)};

	text_quote(&text, bytes, len, cut);
	return buf;
}

static void quotes_are_those_of_c(void **state)
{
	(void)state;
	assert_string_equal(quoted("plain", 5, false), "\"plain\"");
	assert_string_equal(quoted("a\"b\\c", 5, false), "\"a\\\"b\\\\c\"");
	assert_string_equal(quoted("\t\n\v\f\r", 5, false), "\"\\t\\n\\v\\f\\r\"");
	assert_string_equal(quoted("cut", 3, true), "\"cut\"...");
}

static void octal_escapes_end_where_a_digit_follows(void **state)
{
	(void)state;
	assert_string_equal(quoted("\0x", 2, false), "\"\\0x\"");
	assert_string_equal(quoted("\0"
				   "7",
				   2, false),
			    "\"\\0007\"");
	assert_string_equal(quoted("\0338", 2, false), "\"\\0338\"");
	assert_string_equal(quoted("\033[", 2, false), "\"\\33[\"");
	assert_string_equal(quoted("\xff", 1, false), "\"\\377\"");
}

static void text_that_does_not_fit_is_left_out(void **state)
{
	char buf[8];
	struct text text = {.buf = buf, .size = sizeof(buf)};

	(void)state;
	text_print(&text, "%s", "1234567");
	assert_false(text.cut);
	text_print(&text, "8");
	assert_true(text.cut);
	text_quote(&text, "x", 1, false);
	assert_int_equal(text.len, 7);
	assert_string_equal(buf, "1234567");
}

/* --- Calls -------------------------------------------------------------------------------- */

static void open_as_strace_prints_it(void **state)
{
	uint64_t path = fake_string(p, 64, "/etc/ld.so.cache");

	(void)state;
	assert_string_equal(
		line_of(SYS_openat, ARGS(NEG(AT_FDCWD), path, O_RDONLY | O_CLOEXEC, 0), 3),
		"openat(AT_FDCWD, \"/etc/ld.so.cache\", O_RDONLY|O_CLOEXEC) = 3\n");
	assert_string_equal(
		line_of(SYS_open, ARGS(path, O_WRONLY | O_CREAT | O_TRUNC, 0644), 3),
		"open(\"/etc/ld.so.cache\", O_WRONLY|O_CREAT|O_TRUNC, 0644) = 3\n");
}

static void results_stand_in_column_40(void **state)
{
	(void)state;
	assert_string_equal(line_of(SYS_close, ARGS(3), 0),
			    "close(3)                                = 0\n");
}

static void errors_have_name_and_text(void **state)
{
	uint64_t path = fake_string(p, 0, "/x");

	(void)state;
	assert_string_equal(line_of(SYS_access, ARGS(path, 4), -ENOENT),
			    "access(\"/x\", R_OK)                      = -1 ENOENT "
			    "(No such file or directory)\n");
}

static void restarts_are_told_as_such(void **state)
{
	(void)state;
	assert_string_equal(line_of(SYS_close, ARGS(3), -ERESTARTSYS),
			    "close(3)                                = ? ERESTARTSYS "
			    "(To be restarted if SA_RESTART is set)\n");
}

static void flags_are_decoded(void **state)
{
	(void)state;
	assert_string_equal(line_of(SYS_mmap,
				    ARGS(0, 8192, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, NEG(-1), 0),
				    0x7f0000001000),
			    "mmap(NULL, 8192, PROT_READ|PROT_WRITE, "
			    "MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000001000\n");
	assert_string_equal(line_of(SYS_mprotect, ARGS(FAKE_VA, 4096, PROT_NONE), 0),
			    "mprotect(0x400000, 4096, PROT_NONE)     = 0\n");
	assert_string_equal(
		line_of(SYS_futex, ARGS(FAKE_VA, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1), 1),
		"futex(0x400000, FUTEX_WAKE_PRIVATE, 1)  = 1\n");
	assert_string_equal(
		line_of(SYS_socket, ARGS(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), 4),
		"socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0) = 4\n");
	assert_non_null(strstr(line_of(SYS_clone, ARGS(CLONE_VM | CLONE_THREAD), -EINVAL),
			       "clone(CLONE_VM|CLONE_THREAD, NULL, "));
}

static void unknown_bits_are_hexadecimal(void **state)
{
	(void)state;
	assert_non_null(strstr(line_of(SYS_mprotect, ARGS(0, 0, PROT_READ | 0x40000000), 0),
			       "PROT_READ|0x40000000"));
	assert_non_null(strstr(line_of(SYS_socket, ARGS(77, 0, 0), -EINVAL), "(0x4d, 0, 0)"));
}

static void buffers_are_cut_at_32_bytes(void **state)
{
	uint64_t text = fake_string(p, 0, "0123456789abcdef0123456789abcdefX");

	(void)state;
	assert_string_equal(line_of(SYS_write, ARGS(1, text, 32), 32),
			    "write(1, \"0123456789abcdef0123456789abcdef\", 32) = 32\n");
	assert_string_equal(line_of(SYS_write, ARGS(1, text, 33), 33),
			    "write(1, \"0123456789abcdef0123456789abcdef\"..., 33) = 33\n");
}

static void what_was_read_is_printed_as_far_as_it_goes(void **state)
{
	uint64_t text = fake_string(p, 0, "hello, world");

	(void)state;
	assert_string_equal(line_of(SYS_read, ARGS(0, text, 100), 5),
			    "read(0, \"hello\", 100)                   = 5\n");
	assert_string_equal(line_of(SYS_read, ARGS(0, text, 100), -EAGAIN),
			    "read(0, 0x400000, 100)                  = -1 EAGAIN "
			    "(Resource temporarily unavailable)\n");
}

static void vectors_and_times_are_taken_apart(void **state)
{
	struct {
		uint64_t base, len;
	} *iov = fake_memory(p, 0);
	struct timespec *ts = fake_memory(p, 128);

	(void)state;
	iov[0].base = fake_string(p, 256, "one");
	iov[0].len = 3;
	iov[1].base = fake_string(p, 300, "two");
	iov[1].len = 3;
	*ts = (struct timespec){5, 7};
	assert_string_equal(line_of(SYS_writev, ARGS(1, FAKE_VA, 2), 6),
			    "writev(1, [{iov_base=\"one\", iov_len=3}, "
			    "{iov_base=\"two\", iov_len=3}], 2) = 6\n");
	assert_string_equal(line_of(SYS_readv, ARGS(0, FAKE_VA, 2), 4),
			    "readv(0, [{iov_base=\"one\", iov_len=3}, "
			    "{iov_base=\"t\", iov_len=3}], 2) = 4\n");
	assert_non_null(strstr(line_of(SYS_nanosleep, ARGS(FAKE_VA + 128, 0), 0),
			       "nanosleep({tv_sec=5, tv_nsec=7}, NULL)"));
	assert_non_null(strstr(line_of(SYS_clock_gettime, ARGS(1, FAKE_VA + 128), 0),
			       "clock_gettime(CLOCK_MONOTONIC, {tv_sec=5, tv_nsec=7})"));
}

static void wild_pointers_are_printed_as_addresses(void **state)
{
	(void)state;
	assert_non_null(strstr(line_of(SYS_write, ARGS(1, FAKE_WILD, UINT64_MAX), -EFAULT),
			       "write(1, 0x7f0000000000, 18446744073709551615)"));
	assert_non_null(strstr(line_of(SYS_writev, ARGS(1, FAKE_END - 8, UINT64_MAX), -EINVAL),
			       "writev(1, 0x5ffff8, 18446744073709551615)"));
	assert_non_null(
		strstr(line_of(SYS_chdir, ARGS(FAKE_WILD), -EFAULT), "chdir(0x7f0000000000)"));
	assert_non_null(strstr(line_of(SYS_nanosleep, ARGS(FAKE_END - 4), -EFAULT),
			       "nanosleep(0x5ffffc, NULL)"));
}

static void hostile_paths_stay_on_their_line(void **state)
{
	char *path = fake_memory(p, 0);
	const char *line;

	(void)state;
	memset(path, '\n', VFS_PATH_MAX - 1);
	path[VFS_PATH_MAX - 1] = '\0';
	line = line_of(SYS_rename, ARGS(FAKE_VA, FAKE_VA), -ENOENT);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	assert_in_range(strlen(line), 100, TRACE_LINE - 1);
	assert_non_null(strstr(line, "= -1 ENOENT"));
}

static void unknown_calls_are_named_by_number(void **state)
{
	(void)state;
	assert_non_null(strstr(line_of(5000, ARGS(1, 2), -ENOSYS),
			       "syscall_0x1388(0x1, 0x2, 0, 0, 0, 0)"));
}

static void exit_is_printed_before_it_happens(void **state)
{
	struct trace_call call;

	(void)state;
	trace_enter(t, &call, SYS_exit_group, ARGS(3));
	assert_int_equal(nlines, 1);
	assert_string_equal(lines[0], "exit_group(3)                           = ?\n");
	trace_leave(t, SYS_exit_group, ARGS(3), 0);
	assert_int_equal(nlines, 1);
}

static void notes_get_a_line(void **state)
{
	(void)state;
	trace_note(t, "--- %s ---", signal_name(SIGSEGV));
	assert_string_equal(lines[0], "--- SIGSEGV ---\n");
	fake_task(p, PROCESS_PID + 1);
	trace_note(t, "+++ exited with %d +++", 0);
	assert_string_equal(lines[1], "[pid 1000] +++ exited with 0 +++\n");
}

/* --- Threads ------------------------------------------------------------------------------ */

static void lines_of_threads_have_their_number(void **state)
{
	(void)state;
	fake_task(p, PROCESS_PID + 1);
	assert_string_equal(line_of(SYS_close, ARGS(3), 0),
			    "[pid 1000] close(3)                     = 0\n");
}

static void wait_past_the_limit(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
}

static void a_call_that_waits_is_shown_when_others_go_on(void **state)
{
	struct task *other = fake_task(p, PROCESS_PID + 1);
	uint64_t text = fake_string(p, 0, "in");
	struct trace_call waiting, quick;

	(void)state;
	trace_enter(t, &waiting, SYS_read, ARGS(0, text, 10));
	wait_past_the_limit();
	trace_enter(other, &quick, SYS_close, ARGS(3));
	trace_leave(other, SYS_close, ARGS(3), 0);
	trace_leave(t, SYS_read, ARGS(0, text, 10), 2);
	assert_int_equal(nlines, 3);
	assert_string_equal(lines[0], "[pid 1000] read(0,  <unfinished ...>\n");
	assert_string_equal(lines[1], "[pid 1001] close(3)                     = 0\n");
	assert_string_equal(lines[2], "[pid 1000] <... read resumed>\"in\", 10)  = 2\n");
}

static void it_is_shown_once(void **state)
{
	struct task *other = fake_task(p, PROCESS_PID + 1);
	struct trace_call waiting, quick;

	(void)state;
	trace_enter(t, &waiting, SYS_pause, ARGS(0));
	wait_past_the_limit();
	for (int i = 0; i < 3; i++) {
		trace_enter(other, &quick, SYS_close, ARGS(3));
		trace_leave(other, SYS_close, ARGS(3), 0);
	}
	assert_int_equal(nlines, 4);
	trace_leave(t, SYS_pause, ARGS(0), -EINTR);
	assert_string_equal(lines[4], "[pid 1000] <... pause resumed>)         = -1 EINTR "
				      "(Interrupted system call)\n");
}

static void calls_that_the_end_cuts_off_are_unfinished(void **state)
{
	struct trace_call call;

	(void)state;
	trace_enter(t, &call, SYS_pause, ARGS(0));
	p->stopping = true;
	trace_leave(t, SYS_pause, ARGS(0), -ERESTARTNOHAND);
	assert_string_equal(lines[0], "pause( <unfinished ...>\n");
}

static void *trace_many(void *arg)
{
	struct task *task = arg;

	for (int i = 0; i < 2000; i++) {
		struct trace_call call;

		trace_enter(task, &call, SYS_close, ARGS(3));
		trace_leave(task, SYS_close, ARGS(3), i % 2 ? -EBADF : 0);
	}
	return NULL;
}

static atomic_int whole_lines;

static void count_line(void *context, const char *text, size_t len)
{
	(void)context;
	if (len > 11 && text[0] == '[' && memchr(text, '\n', len) == text + len - 1)
		atomic_fetch_add(&whole_lines, 1);
}

static void threads_write_whole_lines_and_count_them_all(void **state)
{
	struct task *tasks[4] = {t};
	pthread_t threads[4];

	(void)state;
	trace_free(p->trace);
	p->trace = trace_new(true, count_line, NULL);
	for (int i = 1; i < 4; i++)
		tasks[i] = fake_task(p, PROCESS_PID + i);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, trace_many, tasks[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_in_range(atomic_load(&whole_lines), 8000, 24000);
	trace_report(p->trace, keep_line, lines);
	assert_non_null(strstr(lines[2], "     8000      4000 close\n"));
}

/* --- The table ---------------------------------------------------------------------------- */

/* As if each call had begun `seconds` earlier: far more than any machine takes for the test. */
static void count(uint64_t number, int times, uint64_t seconds, int64_t result)
{
	struct trace_call call;

	for (int i = 0; i < times; i++) {
		trace_enter(t, &call, number, ARGS(0));
		t->traced_at -= seconds * 1000000000;
		trace_leave(t, number, ARGS(0), result);
	}
}

static void the_table_is_sorted_by_time(void **state)
{
	(void)state;
	trace_free(p->trace);
	p->trace = trace_new(false, NULL, NULL);
	count(SYS_getpid, 3, 100, 1000);
	count(SYS_read, 1, 5000, 0);
	count(SYS_openat, 2, 1000, -ENOENT);
	count(99999, 1, 0, -ENOSYS);
	trace_report(p->trace, keep_line, lines);
	assert_int_equal(nlines, 8);
	assert_string_equal(lines[0],
			    "% time     seconds  usecs/call     calls    errors syscall\n");
	assert_non_null(strstr(lines[2], "         1           read\n"));
	assert_non_null(strstr(lines[3], "         2         2 openat\n"));
	assert_non_null(strstr(lines[4], "         3           getpid\n"));
	assert_non_null(strstr(lines[5], "         1         1 (unknown)\n"));
	assert_non_null(strstr(lines[7], "         7         3 total\n"));
	assert_memory_equal(lines[7], "100.00 ", 7);
}

static void restarted_calls_are_no_errors(void **state)
{
	(void)state;
	count(SYS_pause, 1, 0, -ERESTARTNOHAND);
	nlines = 0;
	trace_report(p->trace, keep_line, lines);
	assert_non_null(strstr(lines[2], "         1           pause\n"));
}

static void counting_alone_writes_no_lines(void **state)
{
	(void)state;
	trace_free(p->trace);
	p->trace = trace_new(false, keep_line, lines);
	count(SYS_getpid, 1, 0, 0);
	trace_note(t, "+++");
	assert_int_equal(nlines, 0);
	assert_false(trace_has_lines(p->trace));
	assert_false(trace_has_lines(NULL));
}

/* --- Names -------------------------------------------------------------------------------- */

static void errors_and_signals_have_names(void **state)
{
	(void)state;
	assert_string_equal(errno_name(-EPERM), "EPERM");
	assert_string_equal(errno_name(-EHWPOISON), "EHWPOISON");
	assert_null(errno_name(0));
	assert_null(errno_name(-41));
	assert_null(errno_name(-EHWPOISON - 1));
	assert_null(errno_name(INT64_MIN));
	assert_string_equal(signal_name(SIGKILL), "SIGKILL");
	assert_string_equal(signal_name(33), "SIGRT_1");
	assert_string_equal(signal_name(64), "SIGRT_32");
	assert_null(signal_name(0));
	assert_null(signal_name(65));
	assert_null(signal_name(-1));
}

/* Letters that mean nothing would be printed as numbers, unnoticed. */
static void the_table_uses_letters_that_there_are(void **state)
{
	(void)state;
	for (size_t i = 0; i < SYSCALL_COUNT; i++) {
		const char *args = syscall_args(i);

		assert_in_range(strlen(args), 0, 6);
		for (; *args; args++)
			assert_true(strchr("dluxopSfDsnbBiItT", *args) ||
				    constants_find(*args));
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(quotes_are_those_of_c),
		TEST(octal_escapes_end_where_a_digit_follows),
		TEST(text_that_does_not_fit_is_left_out),
		TEST(open_as_strace_prints_it),
		TEST(results_stand_in_column_40),
		TEST(errors_have_name_and_text),
		TEST(restarts_are_told_as_such),
		TEST(flags_are_decoded),
		TEST(unknown_bits_are_hexadecimal),
		TEST(buffers_are_cut_at_32_bytes),
		TEST(what_was_read_is_printed_as_far_as_it_goes),
		TEST(vectors_and_times_are_taken_apart),
		TEST(wild_pointers_are_printed_as_addresses),
		TEST(hostile_paths_stay_on_their_line),
		TEST(unknown_calls_are_named_by_number),
		TEST(exit_is_printed_before_it_happens),
		TEST(notes_get_a_line),
		TEST(lines_of_threads_have_their_number),
		TEST(a_call_that_waits_is_shown_when_others_go_on),
		TEST(it_is_shown_once),
		TEST(calls_that_the_end_cuts_off_are_unfinished),
		TEST(threads_write_whole_lines_and_count_them_all),
		TEST(the_table_is_sorted_by_time),
		TEST(restarted_calls_are_no_errors),
		TEST(counting_alone_writes_no_lines),
		TEST(errors_and_signals_have_names),
		TEST(the_table_uses_letters_that_there_are),
	};

	return cmocka_run_group_tests_name("linux_trace", tests, NULL, NULL);
}

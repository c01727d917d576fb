/* SPDX-License-Identifier: Apache-2.0 */
/* From registers to the function that answers, past the caller's policy. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "linux_fixture.h"

static struct process *p;
static struct task *t;

/* What the policy saw last, and what it is to say. */
static struct {
	int calls;
	int answer;
	mayfly_syscall call;
	char path[64], path2[64];
	bool has_path, has_path2;
	void (*meanwhile)(void);
} seen;

static int set_up(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof(seen));
	p = fake_process_new();
	t = p->tasks;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_process_free(p);
	return 0;
}

static int policy(void *context, const mayfly_syscall *call)
{
	assert_ptr_equal(context, &seen);
	seen.calls++;
	seen.call = *call;
	seen.has_path = call->path;
	seen.has_path2 = call->path2;
	if (call->path)
		strncpy(seen.path, call->path, sizeof(seen.path) - 1);
	if (call->path2)
		strncpy(seen.path2, call->path2, sizeof(seen.path2) - 1);
	if (seen.meanwhile)
		seen.meanwhile();
	return seen.answer;
}

static void set_policy(int answer)
{
	p->policy = policy;
	p->policy_context = &seen;
	seen.answer = answer;
}

static int64_t dispatch(uint64_t number, const uint64_t a[6])
{
	t->regs = (struct cpu_regs){.rax = number,
				    .rdi = a[0],
				    .rsi = a[1],
				    .rdx = a[2],
				    .r10 = a[3],
				    .r8 = a[4],
				    .r9 = a[5],
				    .rcx = 0xbad};
	return syscall_dispatch(t);
}

#define ARGS(...) ((const uint64_t[6]){__VA_ARGS__})
#define NEG(n) ((uint64_t)(int64_t)(n))

/* --- The table ---------------------------------------------------------------------------- */

static void numbers_find_their_function(void **state)
{
	(void)state;
	assert_int_equal(dispatch(SYS_getpid, ARGS(0)), PROCESS_PID);
	assert_int_equal(t->syscall, SYS_getpid);
	assert_int_equal(t->syscalls, 1);
	assert_int_equal(dispatch(SYS_getppid, ARGS(0)), PROCESS_PPID);
	assert_int_equal(t->syscalls, 2);
}

static void numbers_beyond_the_table_do_not_exist(void **state)
{
	(void)state;
	assert_int_equal(dispatch(SYSCALL_COUNT, ARGS(0)), -ENOSYS);
	assert_int_equal(dispatch(UINT32_MAX, ARGS(0)), -ENOSYS);
	assert_int_equal(dispatch(335, ARGS(0)), -ENOSYS);
	/* x32's getpid. */
	assert_int_equal(dispatch(0x40000000 | SYS_getpid, ARGS(0)), -ENOSYS);
}

static void only_32_bits_of_rax_are_the_number(void **state)
{
	(void)state;
	assert_int_equal(dispatch((uint64_t)7 << 32 | SYS_getpid, ARGS(0)), PROCESS_PID);
}

static void refused_calls_do_not_exist(void **state)
{
	(void)state;
	assert_int_equal(dispatch(SYS_ptrace, ARGS(0)), -ENOSYS);
	assert_int_equal(dispatch(425 /* io_uring_setup */, ARGS(8, FAKE_VA)), -ENOSYS);
	set_policy(-EACCES);
	assert_int_equal(dispatch(SYS_ptrace, ARGS(0)), -ENOSYS);
	assert_int_equal(seen.calls, 0);
}

static void the_fourth_argument_is_r10(void **state)
{
	struct rlimit *limit = fake_memory(p, 0);

	(void)state;
	assert_int_equal(dispatch(SYS_prlimit64, ARGS(0, RLIMIT_NOFILE, 0, FAKE_VA)), 0);
	assert_int_equal(limit->rlim_cur, 64);
}

static void entries_have_the_numbers_of_linux(void **state)
{
	(void)state;
	assert_string_equal(syscall_name(SYS_read), "read");
	assert_string_equal(syscall_name(SYS_openat), "openat");
	assert_string_equal(syscall_name(SYS_futex_waitv), "futex_waitv");
	assert_string_equal(syscall_name(SYS_set_mempolicy_home_node),
			    "set_mempolicy_home_node");
	assert_int_equal(dispatch(SYS_ptrace, ARGS(0)), -ENOSYS);
	assert_null(syscall_name(335));
}

/* --- Policy ------------------------------------------------------------------------------- */

static void the_policy_is_shown_the_call(void **state)
{
	(void)state;
	set_policy(0);
	assert_int_equal(dispatch(SYS_getpid, ARGS(1, 2, 3, 4, 5, 6)), PROCESS_PID);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.call.size, sizeof(seen.call));
	assert_int_equal(seen.call.number, SYS_getpid);
	assert_string_equal(seen.call.name, "getpid");
	assert_int_equal(seen.call.tid, PROCESS_PID);
	assert_memory_equal(seen.call.args, ARGS(1, 2, 3, 4, 5, 6), sizeof(seen.call.args));
	assert_false(seen.has_path);
	assert_false(seen.has_path2);
}

static void what_it_answers_the_guest_gets(void **state)
{
	(void)state;
	fake_string(p, 0, "changed");
	set_policy(-EACCES);
	assert_int_equal(dispatch(SYS_prctl, ARGS(PR_SET_NAME, FAKE_VA)), -EACCES);
	assert_string_equal(t->name, "");
	seen.answer = 0;
	assert_int_equal(dispatch(SYS_prctl, ARGS(PR_SET_NAME, FAKE_VA)), 0);
	assert_string_equal(t->name, "changed");
}

static void answers_that_are_no_errors_refuse(void **state)
{
	(void)state;
	set_policy(5);
	assert_int_equal(dispatch(SYS_getpid, ARGS(0)), -EPERM);
	seen.answer = -ERESTARTSYS;
	assert_int_equal(dispatch(SYS_getpid, ARGS(0)), -EPERM);
}

/* --- Paths -------------------------------------------------------------------------------- */

static char given[VFS_PATH_MAX];
static ssize_t given_len;

static void change_then_take_path(void)
{
	fake_string(p, 0, "/etc/shadow");
	given_len = task_path(t, 0, FAKE_VA, given);
}

/* The policy is asked about one path; the guest then writes another one there. */
static void what_was_checked_is_what_is_used(void **state)
{
	fake_string(p, 0, "/tmp/harmless");
	(void)state;
	set_policy(-EACCES);
	seen.meanwhile = change_then_take_path;
	dispatch(SYS_openat, ARGS(NEG(AT_FDCWD), FAKE_VA, O_RDONLY));
	assert_string_equal(seen.path, "/tmp/harmless");
	assert_string_equal(given, "/tmp/harmless");
	assert_int_equal(given_len, strlen("/tmp/harmless"));
}

static void both_paths_are_shown(void **state)
{
	uint64_t to = fake_string(p, 100, "/to");

	(void)state;
	fake_string(p, 0, "/from");
	set_policy(-EACCES);
	dispatch(SYS_renameat2, ARGS(3, FAKE_VA, 4, to, 0));
	assert_string_equal(seen.path, "/from");
	assert_string_equal(seen.path2, "/to");
}

static void take_name(void)
{
	given_len = task_path(t, 1, FAKE_VA + 100, given);
}

static void names_that_are_no_paths_are_not_shown(void **state)
{
	uint64_t name = fake_string(p, 100, "user.name");

	(void)state;
	fake_string(p, 0, "/file");
	set_policy(-EACCES);
	seen.meanwhile = take_name;
	dispatch(SYS_getxattr, ARGS(FAKE_VA, name, 0, 0));
	assert_string_equal(seen.path, "/file");
	assert_false(seen.has_path2);
	assert_string_equal(given, "user.name");
	dispatch(SYS_memfd_create, ARGS(name, 0));
	assert_false(seen.has_path);
}

static ssize_t taken;

static void take_path(void)
{
	taken = task_path(t, 0, t->regs.rdi, given);
}

/* No path is shown then, and the call cannot get one later. */
static void paths_that_cannot_be_read_stay_so(void **state)
{
	(void)state;
	set_policy(-EACCES);
	seen.meanwhile = take_path;
	dispatch(SYS_chdir, ARGS(FAKE_WILD));
	assert_false(seen.has_path);
	assert_int_equal(taken, -EFAULT);
	memset(fake_memory(p, 0), 'x', VFS_PATH_MAX);
	dispatch(SYS_chdir, ARGS(FAKE_VA));
	assert_false(seen.has_path);
	assert_int_equal(taken, -ENAMETOOLONG);
	((char *)fake_memory(p, 0))[VFS_PATH_MAX - 1] = '\0';
	dispatch(SYS_chdir, ARGS(FAKE_VA));
	assert_int_equal(taken, VFS_PATH_MAX - 1);
}

static void take_other_paths(void)
{
	assert_int_equal(task_path(t, 0, FAKE_VA + 1, given), -EFAULT);
	assert_int_equal(task_path(t, 1, FAKE_VA, given), -EFAULT);
	assert_int_equal(task_path(t, 2, FAKE_VA, given), -EFAULT);
	assert_int_equal(task_path(t, -1, FAKE_VA, given), -EFAULT);
}

static void no_other_path_than_the_one_shown_is_given(void **state)
{
	fake_string(p, 0, "/file");
	(void)state;
	set_policy(-EACCES);
	seen.meanwhile = take_other_paths;
	dispatch(SYS_chdir, ARGS(FAKE_VA));
	assert_int_equal(seen.calls, 1);
}

static void without_a_policy_paths_are_read_when_needed(void **state)
{
	fake_string(p, 0, "/file");
	(void)state;
	assert_int_equal(task_path(t, 0, FAKE_VA, given), 5);
	assert_string_equal(given, "/file");
	assert_int_equal(task_path(t, 0, FAKE_WILD, given), -EFAULT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(numbers_find_their_function),
		TEST(numbers_beyond_the_table_do_not_exist),
		TEST(only_32_bits_of_rax_are_the_number),
		TEST(refused_calls_do_not_exist),
		TEST(the_fourth_argument_is_r10),
		TEST(entries_have_the_numbers_of_linux),
		TEST(the_policy_is_shown_the_call),
		TEST(what_it_answers_the_guest_gets),
		TEST(answers_that_are_no_errors_refuse),
		TEST(what_was_checked_is_what_is_used),
		TEST(both_paths_are_shown),
		TEST(names_that_are_no_paths_are_not_shown),
		TEST(paths_that_cannot_be_read_stay_so),
		TEST(no_other_path_than_the_one_shown_is_given),
		TEST(without_a_policy_paths_are_read_when_needed),
	};

	return cmocka_run_group_tests_name("linux_dispatch", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Who a program is, what it can ask for and change of itself, and what it is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <linux/capability.h>
#include <linux/membarrier.h>

#include "linux_fixture.h"

static struct process *p;
static struct task *t;

static int set_up(void **state)
{
	(void)state;
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

#define SYS(name, ...) sys_##name(t, (const uint64_t[6]){__VA_ARGS__})
#define ID (uint64_t)1000
#define OTHER (uint64_t)0
#define KEEP (uint64_t) UINT32_MAX

/* --- Ids ---------------------------------------------------------------------------------- */

static void ids_are_the_process_s(void **state)
{
	(void)state;
	assert_int_equal(SYS(getpid, 0), PROCESS_PID);
	assert_int_equal(SYS(getppid, 0), PROCESS_PPID);
	assert_int_equal(SYS(gettid, 0), PROCESS_PID);
	p->uid = 12;
	p->gid = 34;
	assert_int_equal(SYS(getuid, 0), 12);
	assert_int_equal(SYS(geteuid, 0), 12);
	assert_int_equal(SYS(getgid, 0), 34);
	assert_int_equal(SYS(getegid, 0), 34);
	t = fake_task(p, 1001);
	assert_int_equal(SYS(getpid, 0), PROCESS_PID);
	assert_int_equal(SYS(gettid, 0), 1001);
}

static void ids_can_be_set_to_what_they_are(void **state)
{
	(void)state;
	assert_int_equal(SYS(setuid, ID), 0);
	assert_int_equal(SYS(setgid, ID), 0);
	assert_int_equal(SYS(setreuid, ID, KEEP), 0);
	assert_int_equal(SYS(setregid, KEEP, ID), 0);
	assert_int_equal(SYS(setresuid, ID, ID, ID), 0);
	assert_int_equal(SYS(setresgid, KEEP, KEEP, KEEP), 0);
}

static void ids_cannot_be_set_to_others(void **state)
{
	(void)state;
	assert_int_equal(SYS(setuid, OTHER), -EPERM);
	assert_int_equal(SYS(setgid, OTHER), -EPERM);
	assert_int_equal(SYS(setreuid, ID, OTHER), -EPERM);
	assert_int_equal(SYS(setregid, OTHER, ID), -EPERM);
	assert_int_equal(SYS(setresuid, ID, ID, OTHER), -EPERM);
	assert_int_equal(SYS(setresgid, KEEP, OTHER, KEEP), -EPERM);
	assert_int_equal(SYS(setgroups, 0, 0), -EPERM);
	assert_int_equal(SYS(setuid, KEEP), -EINVAL);
	assert_int_equal(SYS(setgid, KEEP), -EINVAL);
	assert_int_equal(SYS(setfsuid, OTHER), 1000);
	assert_int_equal(SYS(setfsuid, OTHER), 1000);
}

static void getresuid_fills_three_words(void **state)
{
	uint32_t *ids = fake_memory(p, 0);

	(void)state;
	assert_int_equal(SYS(getresuid, FAKE_VA, FAKE_VA + 4, FAKE_VA + 8), 0);
	assert_int_equal(ids[0], 1000);
	assert_int_equal(ids[1], 1000);
	assert_int_equal(ids[2], 1000);
	assert_int_equal(SYS(getresgid, FAKE_VA, FAKE_VA + 4, FAKE_WILD), -EFAULT);
	assert_int_equal(SYS(getresgid, FAKE_END - 2, FAKE_VA, FAKE_VA), -EFAULT);
}

static void getgroups_has_none(void **state)
{
	(void)state;
	assert_int_equal(SYS(getgroups, 0, 0), 0);
	assert_int_equal(SYS(getgroups, 100, FAKE_WILD), 0);
	assert_int_equal(SYS(getgroups, (uint64_t)-1, 0), -EINVAL);
}

static void it_leads_its_group_in_its_parents_session(void **state)
{
	(void)state;
	fake_task(p, 1001);
	assert_int_equal(SYS(getpgrp, 0), PROCESS_PID);
	assert_int_equal(SYS(getpgid, 0), PROCESS_PID);
	assert_int_equal(SYS(getpgid, 1001), PROCESS_PID);
	assert_int_equal(SYS(getpgid, 5), -ESRCH);
	assert_int_equal(SYS(getsid, 0), PROCESS_SID);
	assert_int_equal(SYS(setsid, 0), -EPERM);
	assert_int_equal(SYS(setpgid, 0, 0), 0);
	assert_int_equal(SYS(setpgid, PROCESS_PID, PROCESS_PID), 0);
	assert_int_equal(SYS(setpgid, 0, 1), -EPERM);
	assert_int_equal(SYS(setpgid, 0, (uint64_t)-1), -EINVAL);
	assert_int_equal(SYS(setpgid, 1001, 0), -EINVAL);
	assert_int_equal(SYS(setpgid, 5, 0), -ESRCH);
}

/* --- Capabilities ------------------------------------------------------------------------- */

static void there_are_no_capabilities(void **state)
{
	struct __user_cap_header_struct *header = fake_memory(p, 0);
	struct __user_cap_data_struct *data = fake_memory(p, 64);
	const struct __user_cap_data_struct none[2] = {0};

	(void)state;
	*header = (struct __user_cap_header_struct){_LINUX_CAPABILITY_VERSION_3, 0};
	memset(data, 0xff, 3 * sizeof(*data));
	assert_int_equal(SYS(capget, FAKE_VA, FAKE_VA + 64), 0);
	assert_memory_equal(data, none, sizeof(none));
	assert_int_equal(data[2].effective, UINT32_MAX);
	header->version = _LINUX_CAPABILITY_VERSION_1;
	memset(data, 0xff, 2 * sizeof(*data));
	assert_int_equal(SYS(capget, FAKE_VA, FAKE_VA + 64), 0);
	assert_int_equal(data[0].permitted, 0);
	assert_int_equal(data[1].permitted, UINT32_MAX);
}

static void the_version_of_capabilities_can_be_asked_for(void **state)
{
	struct __user_cap_header_struct *header = fake_memory(p, 0);

	(void)state;
	header->version = 7;
	assert_int_equal(SYS(capget, FAKE_VA, 0), 0);
	assert_int_equal(header->version, _LINUX_CAPABILITY_VERSION_3);
	header->version = 7;
	assert_int_equal(SYS(capget, FAKE_VA, FAKE_VA + 64), -EINVAL);
	header->pid = 4711;
	assert_int_equal(SYS(capget, FAKE_VA, FAKE_VA + 64), -ESRCH);
	header->pid = -1;
	assert_int_equal(SYS(capget, FAKE_VA, FAKE_VA + 64), -EINVAL);
	assert_int_equal(SYS(capget, FAKE_WILD, 0), -EFAULT);
}

static void no_capability_can_be_gained(void **state)
{
	struct __user_cap_header_struct *header = fake_memory(p, 0);
	struct __user_cap_data_struct *data = fake_memory(p, 64);

	(void)state;
	*header = (struct __user_cap_header_struct){_LINUX_CAPABILITY_VERSION_3, 0};
	assert_int_equal(SYS(capset, FAKE_VA, FAKE_VA + 64), 0);
	data[1].inheritable = 1;
	assert_int_equal(SYS(capset, FAKE_VA, FAKE_VA + 64), -EPERM);
	data[1].inheritable = 0;
	header->pid = 1;
	assert_int_equal(SYS(capset, FAKE_VA, FAKE_VA + 64), -EPERM);
	header->pid = 0;
	assert_int_equal(SYS(capset, FAKE_VA, FAKE_WILD), -EFAULT);
}

/* --- System ------------------------------------------------------------------------------- */

static void uname_tells_a_linux(void **state)
{
	const struct utsname *name = fake_memory(p, 0);

	(void)state;
	assert_int_equal(SYS(uname, FAKE_VA), 0);
	assert_string_equal(name->sysname, "Linux");
	assert_string_equal(name->nodename, "mayfly");
	assert_string_equal(name->machine, "x86_64");
	assert_memory_equal(name->release, "6.1.", 4);
	assert_int_equal(SYS(uname, FAKE_END - sizeof(*name) + 1), -EFAULT);
}

static void personality_is_that_of_linux(void **state)
{
	(void)state;
	assert_int_equal(SYS(personality, UINT32_MAX), PER_LINUX);
	assert_int_equal(SYS(personality, ADDR_NO_RANDOMIZE), PER_LINUX);
	assert_int_equal(SYS(personality, UINT32_MAX), ADDR_NO_RANDOMIZE);
	assert_int_equal(SYS(personality, PER_LINUX32), -EINVAL);
	assert_int_equal(SYS(personality, READ_IMPLIES_EXEC), -EINVAL);
}

/* --- prctl -------------------------------------------------------------------------------- */

static void names_are_cut_at_fifteen_bytes(void **state)
{
	char *back = fake_memory(p, 512);

	(void)state;
	fake_string(p, 0, "a name that is too long");
	assert_int_equal(SYS(prctl, PR_SET_NAME, FAKE_VA), 0);
	assert_int_equal(SYS(prctl, PR_GET_NAME, FAKE_VA + 512), 0);
	assert_string_equal(back, "a name that is ");
	fake_string(p, 0, "short");
	assert_int_equal(SYS(prctl, PR_SET_NAME, FAKE_VA), 0);
	assert_int_equal(SYS(prctl, PR_GET_NAME, FAKE_VA + 512), 0);
	assert_memory_equal(back, "short\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_int_equal(SYS(prctl, PR_SET_NAME, FAKE_WILD), -EFAULT);
	assert_int_equal(SYS(prctl, PR_GET_NAME, FAKE_END - 8), -EFAULT);
	assert_string_equal(t->name, "short");
}

/* At the end of memory, without its end. */
static void a_name_without_end_is_a_fault(void **state)
{
	(void)state;
	memset(fake_memory(p, FAKE_SIZE - 4), 'x', 4);
	assert_int_equal(SYS(prctl, PR_SET_NAME, FAKE_END - 4), -EFAULT);
}

static void options_are_kept_and_told(void **state)
{
	const int *value = fake_memory(p, 0);

	(void)state;
	assert_int_equal(SYS(prctl, PR_SET_PDEATHSIG, SIGTERM), 0);
	assert_int_equal(SYS(prctl, PR_GET_PDEATHSIG, FAKE_VA), 0);
	assert_int_equal(*value, SIGTERM);
	assert_int_equal(SYS(prctl, PR_SET_PDEATHSIG, 65), -EINVAL);
	assert_int_equal(SYS(prctl, PR_GET_DUMPABLE), 1);
	assert_int_equal(SYS(prctl, PR_SET_DUMPABLE, 0), 0);
	assert_int_equal(SYS(prctl, PR_GET_DUMPABLE), 0);
	assert_int_equal(SYS(prctl, PR_SET_DUMPABLE, 2), -EINVAL);
	assert_int_equal(SYS(prctl, PR_GET_TIMERSLACK), 50000);
	assert_int_equal(SYS(prctl, PR_SET_TIMERSLACK, 77), 0);
	assert_int_equal(SYS(prctl, PR_GET_TIMERSLACK), 77);
	assert_int_equal(SYS(prctl, PR_SET_TIMERSLACK, 0), 0);
	assert_int_equal(SYS(prctl, PR_GET_TIMERSLACK), 50000);
	assert_int_equal(SYS(prctl, PR_SET_CHILD_SUBREAPER, 1), 0);
	assert_int_equal(SYS(prctl, PR_GET_CHILD_SUBREAPER, FAKE_VA), 0);
	assert_int_equal(*value, 1);
	assert_int_equal(SYS(prctl, PR_GET_CHILD_SUBREAPER, FAKE_WILD), -EFAULT);
}

static void no_new_privs_cannot_be_undone(void **state)
{
	(void)state;
	assert_int_equal(SYS(prctl, PR_GET_NO_NEW_PRIVS), 0);
	assert_int_equal(SYS(prctl, PR_SET_NO_NEW_PRIVS, 1, 1), -EINVAL);
	assert_int_equal(SYS(prctl, PR_SET_NO_NEW_PRIVS, 1), 0);
	assert_int_equal(SYS(prctl, PR_SET_NO_NEW_PRIVS, 0), -EINVAL);
	assert_int_equal(SYS(prctl, PR_GET_NO_NEW_PRIVS), 1);
	assert_int_equal(SYS(prctl, PR_GET_NO_NEW_PRIVS, 1), -EINVAL);
}

static void capability_options_have_nothing_to_give(void **state)
{
	(void)state;
	assert_int_equal(SYS(prctl, PR_CAPBSET_READ, CAP_SYS_ADMIN), 0);
	assert_int_equal(SYS(prctl, PR_CAPBSET_READ, CAP_LAST_CAP + 1), -EINVAL);
	assert_int_equal(SYS(prctl, PR_CAPBSET_DROP, CAP_SYS_ADMIN), -EPERM);
	assert_int_equal(SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 1), 0);
	assert_int_equal(SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 1), -EPERM);
	assert_int_equal(SYS(prctl, PR_CAP_AMBIENT, 99), -EINVAL);
}

static void unknown_options_are_invalid(void **state)
{
	(void)state;
	assert_int_equal(SYS(prctl, 0), -EINVAL);
	assert_int_equal(SYS(prctl, 0x7fffffff), -EINVAL);
	assert_int_equal(SYS(prctl, PR_SET_SECCOMP, 2, FAKE_VA), -EINVAL);
	assert_int_equal(SYS(seccomp, 1, 0, FAKE_VA), -EINVAL);
	assert_int_equal(SYS(prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, FAKE_VA, 4096, 0), 0);
	assert_int_equal(SYS(prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, FAKE_VA + 1, 1), -EINVAL);
	assert_int_equal(SYS(prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, FAKE_VA, UINT64_MAX),
			 -EINVAL);
}

/* --- Processes ---------------------------------------------------------------------------- */

static char noticed[4][128];
static size_t nnoticed;

static void keep_notice(void *context, const char *line)
{
	(void)context;
	assert_in_range(nnoticed, 0, 3);
	strncpy(noticed[nnoticed++], line, sizeof(noticed[0]) - 1);
}

static void fork_and_exec_fail_and_say_so_once(void **state)
{
	(void)state;
	nnoticed = 0;
	p->notice = keep_notice;
	assert_int_equal(SYS(fork, 0), -EACCES);
	assert_int_equal(SYS(vfork, 0), -EACCES);
	assert_int_equal(nnoticed, 1);
	assert_non_null(strstr(noticed[0], "tried to start another process (fork)"));
	assert_int_equal(SYS(execve, 0), -EACCES);
	assert_int_equal(SYS(execveat, 0), -EACCES);
	assert_int_equal(nnoticed, 2);
	assert_non_null(strstr(noticed[1], "(execve)"));
}

static void there_are_no_children_to_wait_for(void **state)
{
	(void)state;
	assert_int_equal(SYS(wait4, (uint64_t)-1, 0, 0, 0), -ECHILD);
	assert_int_equal(SYS(wait4, 5, 0, WNOHANG, 0), -ECHILD);
	assert_int_equal(SYS(wait4, 5, 0, 0x100, 0), -EINVAL);
	assert_int_equal(SYS(wait4, (uint64_t)(int64_t)INT_MIN, 0, 0, 0), -ESRCH);
	assert_int_equal(SYS(waitid, P_ALL, 0, 0, WEXITED), -ECHILD);
	assert_int_equal(SYS(waitid, P_ALL, 0, 0, 0), -EINVAL);
	assert_int_equal(SYS(waitid, P_PID, 0, 0, WEXITED), -EINVAL);
	assert_int_equal(SYS(waitid, P_PID, 7, 0, WEXITED), -ECHILD);
	assert_int_equal(SYS(waitid, 3 /* P_PIDFD */, 0, 0, WEXITED), -EBADF);
	assert_int_equal(SYS(waitid, 9, 0, 0, WEXITED), -EINVAL);
}

/* --- Randomness --------------------------------------------------------------------------- */

static void random_bytes_fill_what_was_asked_for(void **state)
{
	const uint8_t *bytes = fake_memory(p, 0);
	uint8_t zeros[4096] = {0};
	unsigned set = 0;

	(void)state;
	assert_int_equal(SYS(getrandom, FAKE_VA, 4096, 0), 4096);
	for (int i = 0; i < 4096; i++)
		set += (unsigned)__builtin_popcount(bytes[i]);
	/* Of 32768 bits a half; 100 are more than a standard deviation. */
	assert_in_range(set, 16384 - 1000, 16384 + 1000);
	assert_memory_equal(bytes + 4096, zeros, 4096);
	assert_int_equal(SYS(getrandom, FAKE_VA, 0, 0), 0);
}

static void random_ends_where_memory_ends(void **state)
{
	(void)state;
	assert_int_equal(SYS(getrandom, FAKE_WILD, 16, 0), -EFAULT);
	assert_int_equal(SYS(getrandom, FAKE_END - 16, 64, 0), 16);
	assert_int_equal(SYS(getrandom, FAKE_VA, UINT64_MAX, 0), FAKE_SIZE);
	fake_protect(p, 8192);
	assert_int_equal(SYS(getrandom, FAKE_VA + 8192, 16, 0), -EFAULT);
}

static void random_flags_are_checked(void **state)
{
	(void)state;
	assert_int_equal(SYS(getrandom, FAKE_VA, 1, GRND_NONBLOCK | GRND_RANDOM), 1);
	assert_int_equal(SYS(getrandom, FAKE_VA, 1, 8), -EINVAL);
	assert_int_equal(SYS(getrandom, FAKE_VA, 1, GRND_RANDOM | 4), -EINVAL);
}

static void long_randomness_ends_for_signals(void **state)
{
	(void)state;
	atomic_store(&t->kicked, 1);
	assert_in_range(SYS(getrandom, FAKE_VA, FAKE_SIZE, 0), 256, FAKE_SIZE - 1);
}

/* --- Barriers ----------------------------------------------------------------------------- */

static void barriers_that_are_offered_work(void **state)
{
	int64_t offered = SYS(membarrier, MEMBARRIER_CMD_QUERY, 0);

	(void)state;
	if (offered == -ENOSYS)
		skip();
	assert_in_range(offered, 0, 31);
	for (int command = 1; command <= 16; command *= 2) {
		if (offered & command)
			assert_int_equal(SYS(membarrier, (uint64_t)command, 0), 0);
	}
	assert_int_equal(SYS(membarrier, MEMBARRIER_CMD_QUERY, 1), -EINVAL);
	assert_int_equal(SYS(membarrier, 32, 0), -EINVAL);
	assert_int_equal(SYS(membarrier, 3, 0), -EINVAL);
	assert_int_equal(SYS(rseq, FAKE_VA, 32, 0, 0), -ENOSYS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ids_are_the_process_s),
		TEST(ids_can_be_set_to_what_they_are),
		TEST(ids_cannot_be_set_to_others),
		TEST(getresuid_fills_three_words),
		TEST(getgroups_has_none),
		TEST(it_leads_its_group_in_its_parents_session),
		TEST(there_are_no_capabilities),
		TEST(the_version_of_capabilities_can_be_asked_for),
		TEST(no_capability_can_be_gained),
		TEST(uname_tells_a_linux),
		TEST(personality_is_that_of_linux),
		TEST(names_are_cut_at_fifteen_bytes),
		TEST(a_name_without_end_is_a_fault),
		TEST(options_are_kept_and_told),
		TEST(no_new_privs_cannot_be_undone),
		TEST(capability_options_have_nothing_to_give),
		TEST(unknown_options_are_invalid),
		TEST(fork_and_exec_fail_and_say_so_once),
		TEST(there_are_no_children_to_wait_for),
		TEST(random_bytes_fill_what_was_asked_for),
		TEST(random_ends_where_memory_ends),
		TEST(random_flags_are_checked),
		TEST(long_randomness_ends_for_signals),
		TEST(barriers_that_are_offered_work),
	};

	return cmocka_run_group_tests_name("linux_identity", tests, NULL, NULL);
}

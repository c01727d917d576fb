/* SPDX-License-Identifier: Apache-2.0 */
/* What the helper cannot do any more. Each test enters the jail in a process of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jail.h"

/* How a process ends that does `fn` in the jail: its status as wait(2) gives it. */
static int in_jail(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		const char *failed = jail_enter();

		if (failed) {
			perror(failed);
			_exit(99);
		}
		_exit(fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void assert_killed(int (*fn)(void))
{
	int status = in_jail(fn);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

/* `fn` gives an errno, 0 for success. */
static void assert_gives(int (*fn)(void), int expected)
{
	int status = in_jail(fn);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), expected);
}

static int run_a_program(void)
{
	static char *const argv[] = {NULL};

	execve("/bin/true", argv, argv);
	return errno;
}

static int make_a_process(void)
{
	return fork() < 0 ? errno : 0;
}

static int signal_another(void)
{
	return kill(getppid(), 0) < 0 ? errno : 0;
}

static void test_whoever_starts_programs_or_reaches_for_processes_is_killed(void **state)
{
	(void)state;
	assert_killed(run_a_program);
	assert_killed(make_a_process);
	assert_killed(signal_another);
}

static int open_unix_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0;
}

static int open_raw_socket(void)
{
	return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) < 0 ? errno : 0;
}

static int open_inet_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0;
}

static int listen_anew(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return listen(fd, 1) < 0 ? errno : 0;
}

static void test_of_sockets_just_those_of_the_guest_are_left(void **state)
{
	(void)state;
	assert_gives(open_unix_socket, EPERM);
	assert_gives(open_raw_socket, EPERM);
	assert_gives(listen_anew, EPERM);
	assert_gives(open_inet_socket, 0);
}

static int write_a_file(void)
{
	return open("/tmp/mayfly-slirp-was-here", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0
		       ? errno
		       : 0;
}

static int read_resolv_conf(void)
{
	return open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC) < 0 ? errno : 0;
}

static char outside[] = "/tmp/mayfly-jail-XXXXXX";

static int read_outside(void)
{
	return open(outside, O_RDONLY | O_CLOEXEC) < 0 ? errno : 0;
}

static void test_no_file_is_written(void **state)
{
	(void)state;
	assert_gives(write_a_file, EPERM);
}

static void test_of_files_those_that_tell_the_name_server_are_left(void **state)
{
	struct stat status;
	int fd = mkstemp(outside), result;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0644), 0);
	close(fd);
	result = in_jail(read_outside);
	unlink(outside);
	if (stat("/etc/resolv.conf", &status) == 0)
		assert_gives(read_resolv_conf, 0);
	assert_true(WIFEXITED(result));
	if (WEXITSTATUS(result) == 0)
		skip(); /* a kernel without Landlock */
	assert_int_equal(WEXITSTATUS(result), EACCES);
}

static int make_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return 99;
	return mprotect(p, 4096, PROT_READ | PROT_EXEC) < 0 ? errno : 0;
}

static void test_no_code_is_made(void **state)
{
	(void)state;
	assert_gives(make_code, EPERM);
}

static int take_memory(void)
{
	for (int i = 0; i < 1024; i++)
		if (mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		    MAP_FAILED)
			return errno;
	return 0;
}

static int take_descriptors(void)
{
	for (int i = 0; i < JAIL_MAX_FILES; i++)
		if (socket(AF_INET, SOCK_DGRAM, 0) < 0)
			return errno;
	return 0;
}

static void test_memory_and_descriptors_end(void **state)
{
	(void)state;
	assert_gives(take_memory, ENOMEM);
	assert_gives(take_descriptors, EMFILE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_whoever_starts_programs_or_reaches_for_processes_is_killed),
		cmocka_unit_test(test_of_sockets_just_those_of_the_guest_are_left),
		cmocka_unit_test(test_no_file_is_written),
		cmocka_unit_test(test_of_files_those_that_tell_the_name_server_are_left),
		cmocka_unit_test(test_no_code_is_made),
		cmocka_unit_test(test_memory_and_descriptors_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

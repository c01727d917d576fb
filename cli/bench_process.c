/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What processes cost, for comparison. They are started by a small process of their own, forked off
 * before this one has grown: fork() copies page tables, and a measure of ours against a fork of
 * a process full of VMs would flatter us. It takes one byte, which row, and answers with
 * nanoseconds, or a negative errno.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"

/* bench_blobs.S: the ELF file of bench/noop.c. */
extern const unsigned char bench_noop_elf[];
extern const uint64_t bench_noop_elf_size;

extern char **environ;

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

enum process_kind { PROCESS_STATIC, PROCESS_TRUE, PROCESS_FORK };

static struct {
	pid_t pid;
	int fd;
} server = {.fd = -1};

/* --- In the small process -------------------------------------------------------------------- */

/* The no-op program in a memory file; gives its descriptor or a negative errno. */
static int make_noop(void)
{
	size_t len = bench_noop_elf_size;
	int fd = memfd_create("mayfly-noop", MFD_CLOEXEC | MFD_EXEC);

	/* Linux before 6.3 knows no MFD_EXEC, and makes all executable. */
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("mayfly-noop", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, bench_noop_elf, len) != (ssize_t)len || fchmod(fd, 0755) != 0) {
		close(fd);
		return -EIO;
	}
	return fd;
}

static int64_t wait_for(pid_t pid, uint64_t start)
{
	int64_t ns;
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	ns = (int64_t)(now_ns() - start);
	/* 127: the program could not be executed. */
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? ns : -ENOEXEC;
}

static int64_t measure_spawn(const char *path)
{
	char *argv[] = {(char *)(uintptr_t)path, NULL};
	uint64_t start = now_ns();
	pid_t pid;
	int e = posix_spawn(&pid, path, NULL, NULL, argv, environ);

	return e ? -e : wait_for(pid, start);
}

static int64_t measure_fork(void)
{
	uint64_t start = now_ns();
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid < 0 ? -errno : wait_for(pid, start);
}

__attribute__((noreturn)) static void serve(int fd)
{
	int noop = make_noop();
	char path[64];
	uint8_t kind;

	/* Not to outlive a bench that was killed. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", noop);
	while (read(fd, &kind, 1) == 1) {
		int64_t answer;

		if (kind == PROCESS_STATIC)
			answer = noop < 0 ? noop : measure_spawn(path);
		else if (kind == PROCESS_TRUE)
			answer = measure_spawn("/bin/true");
		else
			answer = measure_fork();
		if (write(fd, &answer, sizeof(answer)) != sizeof(answer))
			break;
	}
	_exit(0);
}

/* --- In the bench ---------------------------------------------------------------------------- */

int bench_processes_start(mayfly_error *err)
{
	int fds[2];

	fflush(NULL);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
		return mayfly_error_set(err, MAYFLY_E_NOMEM, "socketpair: %s", strerror(errno));
	server.pid = fork();
	if (server.pid == 0) {
		close(fds[0]);
		serve(fds[1]);
	}
	close(fds[1]);
	if (server.pid < 0) {
		close(fds[0]);
		return mayfly_error_set(err, MAYFLY_E_NOMEM, "fork: %s", strerror(errno));
	}
	server.fd = fds[0];
	return MAYFLY_OK;
}

void bench_processes_stop(void)
{
	if (server.fd < 0)
		return;
	close(server.fd);
	server.fd = -1;
	while (waitpid(server.pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* --- Commands ------------------------------------------------------------------------------- */

static void set_stream(posix_spawn_file_actions_t *actions, int number, int fd)
{
	int mode = number == STDIN_FILENO ? O_RDONLY : O_WRONLY;

	if (fd >= 0)
		posix_spawn_file_actions_adddup2(actions, fd, number);
	else
		posix_spawn_file_actions_addopen(actions, number, "/dev/null", mode, 0);
}

pid_t bench_command_start(char *const argv[], int in, int out, int err)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int e;

	posix_spawn_file_actions_init(&actions);
	set_stream(&actions, STDIN_FILENO, in);
	set_stream(&actions, STDOUT_FILENO, out);
	set_stream(&actions, STDERR_FILENO, err);
	e = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return e ? -e : pid;
}

/* --- Rows ------------------------------------------------------------------------------------ */

static int begin(const struct bench_row *row, void **state, mayfly_error *err)
{
	uint8_t *kind = malloc(1);

	if (!kind)
		return mayfly_error_set(err, MAYFLY_E_NOMEM, "out of memory");
	/* The parameter of these rows. */
	*kind = (uint8_t)row->pages;
	*state = kind;
	return MAYFLY_OK;
}

static int sample(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	int64_t answer;

	if (send(server.fd, state, 1, MSG_NOSIGNAL) != 1 ||
	    recv(server.fd, &answer, sizeof(answer), 0) != sizeof(answer))
		return mayfly_error_set(err, MAYFLY_E_IO,
					"the process that starts processes is gone");
	if (answer < 0)
		return mayfly_error_set(err, MAYFLY_E_IO, "starting a process: %s",
					strerror((int)-answer));
	*ret_ns = (uint64_t)answer;
	return MAYFLY_OK;
}

#define PROCESS(kind)                                                                          \
	.batch = 10, .warmup = 2, .pages = (kind), .begin = begin, .sample = sample, .end = free

const struct bench_row bench_process_rows[] = {
	{.name = "process_spawn_static",
	 .what = "posix_spawn a static program that does nothing, wait",
	 PROCESS(PROCESS_STATIC)},
	{.name = "process_spawn_true",
	 .what = "posix_spawn /bin/true, wait",
	 PROCESS(PROCESS_TRUE)},
	{.name = "process_fork", .what = "fork, exit at once, wait", PROCESS(PROCESS_FORK)},
	{.name = NULL},
};

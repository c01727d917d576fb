/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls with pointers and lengths that no honest program passes. What Linux answers, the
 * VM has to answer; and neither may come to harm.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	const char *name;
	uint64_t value;
} wild[] = {
	{"null", 0},
	{"one", 1},
	{"low", 0x1000},
	{"hole", 0x123456789000},
	{"last page", 0x7ffffffff000},
	{"end of user space", 0x800000000000},
	{"not canonical", 0x8000000000000000},
	{"kernel", 0xffffffff81000000},
	{"minus one", UINT64_MAX},
};

static int file, directory, reader, writer, left, right, epoll, null;
static char buffer[65536];
static char *edge; /* the last bytes of a page before a hole */
static char *read_only;

static long call6(long number, const uint64_t a[6])
{
	errno = 0;
	return syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* A call with each wild value from `first` on as one of its arguments. */
static void try_from(size_t first, const char *name, long number, unsigned which,
		     const uint64_t given[6])
{
	printf("%s argument %u:", name, which);
	for (size_t i = first; i < ELEMENTS(wild); i++) {
		uint64_t a[6];
		long result;

		memset(buffer, 0, 4096);
		memcpy(a, given, sizeof(a));
		a[which] = wild[i].value;
		lseek(file, 0, SEEK_SET);
		result = call6(number, a);
		if (result == -1)
			printf(" %s", error_name(errno));
		else if (result < 0 || result > 65536)
			printf(" address");
		else
			printf(" %ld", result);
	}
	printf("\n");
}

#define TRY(name, which, ...)                                                                  \
	try_from(0, #name, SYS_##name, which, (const uint64_t[6]){__VA_ARGS__})
/* Where null is a time limit, and means none. */
#define TRY_NOT_NULL(name, which, ...)                                                         \
	try_from(1, #name, SYS_##name, which, (const uint64_t[6]){__VA_ARGS__})

static void pointers(void)
{
	uint64_t f = (uint64_t)file, b = (uint64_t)buffer, at = (uint64_t)AT_FDCWD;
	uint64_t d = (uint64_t)directory, l = (uint64_t)left, e = (uint64_t)epoll;
	uint64_t path = (uint64_t) "file";

	TRY(read, 1, f, 0, 100);
	TRY(write, 1, f, 0, 100);
	TRY(pread64, 1, f, 0, 100, 0);
	TRY(pwrite64, 1, f, 0, 100, 0);
	TRY(readv, 1, f, 0, 1);
	TRY(writev, 1, f, 0, 1);
	TRY(open, 0, 0, O_RDONLY);
	TRY(openat, 1, at, 0, O_RDONLY);
	TRY(stat, 0, 0, b);
	TRY(stat, 1, path, 0);
	TRY(fstat, 1, f, 0);
	TRY(lstat, 1, path, 0);
	TRY(newfstatat, 1, at, 0, b, 0);
	TRY(newfstatat, 2, at, path, 0, 0);
	TRY(statx, 4, at, path, 0, 0x7ff, 0);
	TRY(statfs, 1, path, 0);
	TRY(access, 0, 0, 0);
	TRY(readlink, 0, 0, b, 10);
	TRY(readlink, 1, (uint64_t) "link", 0, 10);
	TRY(getdents64, 1, d, 0, 1000);
	TRY(getcwd, 0, 0, 1000);
	TRY(mkdir, 0, 0, 0700);
	TRY(rename, 1, path, 0);
	TRY(link, 1, path, 0);
	TRY(symlink, 0, 0, (uint64_t) "new");
	TRY(chmod, 0, 0, 0600);
	TRY(utimensat, 2, at, path, 0, 0);
	TRY(poll, 0, 0, 1, 0);
	TRY_NOT_NULL(ppoll, 2, b, 0, 0, 0, 8);
	TRY(select, 1, 64, 0, 0, 0, b);
	TRY_NOT_NULL(pselect6, 4, 0, 0, 0, 0, 0, 0);
	TRY(epoll_ctl, 3, e, EPOLL_CTL_ADD, l, 0);
	TRY(epoll_wait, 1, e, 0, 10, 0);
	TRY(pipe, 0, 0);
	TRY(pipe2, 0, 0, 0);
	TRY(socketpair, 3, AF_UNIX, SOCK_STREAM, 0, 0);
	TRY(bind, 1, l, 0, 16);
	TRY(getsockname, 1, l, 0, b);
	TRY(getsockname, 2, l, b, 0);
	TRY(sendmsg, 1, l, 0, MSG_DONTWAIT);
	TRY(recvmsg, 1, l, 0, MSG_DONTWAIT);
	TRY(getsockopt, 3, l, SOL_SOCKET, SO_TYPE, 0, b);
	TRY(getsockopt, 4, l, SOL_SOCKET, SO_TYPE, b, 0);
	TRY(setsockopt, 3, l, SOL_SOCKET, SO_REUSEADDR, 0, 4);
	TRY(rt_sigaction, 1, SIGUSR1, 0, 0, 8);
	TRY(rt_sigaction, 2, SIGUSR1, 0, 0, 8);
	TRY(rt_sigprocmask, 1, SIG_BLOCK, 0, 0, 8);
	TRY(rt_sigprocmask, 2, SIG_BLOCK, 0, 0, 8);
	TRY(rt_sigpending, 0, 0, 8);
	TRY(rt_sigqueueinfo, 2, (uint64_t)getpid(), SIGURG, 0);
	TRY(sigaltstack, 0, 0, 0);
	TRY(sigaltstack, 1, 0, 0);
	TRY(clock_gettime, 1, CLOCK_MONOTONIC, 0);
	TRY(clock_nanosleep, 2, CLOCK_MONOTONIC, 0, 0, 0);
	TRY(nanosleep, 0, 0, 0);
	TRY(gettimeofday, 0, 0, 0);
	TRY(getrusage, 1, RUSAGE_SELF, 0);
	TRY(getrlimit, 1, RLIMIT_NOFILE, 0);
	TRY(prlimit64, 3, 0, RLIMIT_NOFILE, 0, 0);
	TRY(uname, 0, 0);
	TRY(sysinfo, 0, 0);
	TRY(getrandom, 0, 0, 100, 0);
	TRY(sched_getaffinity, 2, 0, 128, 0);
	TRY(futex, 0, 0, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 77, 0);
	TRY(timer_create, 2, CLOCK_MONOTONIC, 0, 0);
	TRY(timerfd_settime, 2, f, 0, 0, 0);
	TRY(mprotect, 0, 0, 4096, PROT_NONE);
	TRY(madvise, 0, 0, 4096, MADV_WILLNEED);
	TRY(mincore, 0, 0, 4096, b);
	TRY(sendfile, 2, (uint64_t)null, f, 0, 10);
	TRY(copy_file_range, 1, f, 0, (uint64_t)null, 0, 10, 0);
	TRY(setxattr, 2, path, (uint64_t) "user.x", 0, 10, 0);
	TRY(memfd_create, 0, 0, 0);
	TRY(prctl, 1, 15 /* PR_SET_NAME */, 0);
	TRY(prctl, 1, 16 /* PR_GET_NAME */, 0);
}

static void lengths(void)
{
	uint64_t f = (uint64_t)file, n = (uint64_t)null, b = (uint64_t)buffer;
	uint64_t l = (uint64_t)left, e = (uint64_t)epoll;

	TRY(write, 2, n, b, 0);
	TRY(read, 2, n, b, 0);
	TRY(readv, 2, n, b, 0);
	TRY(writev, 2, n, b, 0);
	TRY(pread64, 3, f, b, 1, 0);
	TRY(lseek, 1, f, 0, SEEK_SET);
	TRY(ftruncate, 1, (uint64_t)reader, 0);
	TRY(getcwd, 1, b, 0);
	TRY(poll, 1, b, 0, 0);
	TRY(select, 0, 0, 0, 0, 0, b);
	TRY(epoll_wait, 2, e, b, 0, 0);
	TRY(rt_sigaction, 3, SIGUSR1, 0, 0, 0);
	TRY(rt_sigprocmask, 3, SIG_BLOCK, 0, 0, 0);
	TRY(bind, 2, l, b, 0);
	TRY(setsockopt, 4, l, SOL_SOCKET, SO_REUSEADDR, b, 0);
	TRY(listen, 1, f, 0);
	TRY(mmap, 1, 0, 0, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, ~0ULL, 0);
	TRY(munmap, 1, 0x100000000000, 0);
	TRY(fadvise64, 3, f, 0, 0, 0);
	TRY(getrandom, 2, b, 10, 0);
	TRY(fallocate, 3, f, 0, 0, 0);
}

/* Structures and texts that end where memory does, or are not to be written. */
static void edges(void)
{
	struct iovec vector[] = {{buffer, 10}, {edge, 100}, {buffer, 10}};
	struct iovec huge[] = {{buffer, 10}, {buffer, SSIZE_MAX}};
	struct msghdr message = {.msg_iov = vector, .msg_iovlen = 3};

	memset(edge, 'x', 4);
	REPORT(write(writer, edge, 4));
	REPORT(write(writer, edge, 5));
	REPORT(read(reader, buffer, 100));
	REPORT(writev(writer, vector, 3));
	REPORT(read(reader, buffer, 100));
	REPORT(writev(writer, huge, 2));
	REPORT(readv(reader, huge, 2));
	REPORT(sendmsg(left, &message, MSG_DONTWAIT));
	REPORT(recv(right, buffer, sizeof(buffer), MSG_DONTWAIT));
	message.msg_iovlen = SIZE_MAX;
	REPORT(sendmsg(left, &message, MSG_DONTWAIT));
	message.msg_iovlen = 1;
	message.msg_control = edge;
	message.msg_controllen = 4;
	REPORT(sendmsg(left, &message, MSG_DONTWAIT));
	message.msg_controllen = SIZE_MAX;
	REPORT(sendmsg(left, &message, MSG_DONTWAIT));
	REPORT(recv(right, buffer, sizeof(buffer), MSG_DONTWAIT));
	REPORT(write(writer, "12345678", 8));
	REPORT(read(reader, edge, 8));
	REPORT(read(reader, read_only, 8));
	while (read(reader, buffer, sizeof(buffer)) > 0)
		;
	REPORT(stat("file", (struct stat *)read_only));
	REPORT(stat("file", (struct stat *)edge));
	REPORT(stat(edge, (struct stat *)buffer));
	memcpy(edge, "file", 4);
	REPORT_WORKS(open(edge, O_RDONLY));
	memcpy(edge, "/.\0", 3);
	REPORT_WORKS(open(edge, O_RDONLY));
	REPORT(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, edge - 8));
	REPORT(syscall(SYS_getrandom, edge, 100, 0));
	REPORT(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, edge, 8));
	REPORT(syscall(SYS_futex, edge + 1, FUTEX_WAIT, 0, NULL));
	REPORT(syscall(SYS_futex, read_only, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1));
	memset(buffer, 'x', PATH_MAX + 10);
	buffer[PATH_MAX + 10] = '\0';
	REPORT(access(buffer, F_OK));
	buffer[PATH_MAX - 1] = '\0';
	REPORT(access(buffer, F_OK));
}

int main(void)
{
	int pipes[2], sockets[2];
	char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			   -1, 0);

	NEED(!setrlimit(RLIMIT_NOFILE, &(struct rlimit){64, 64}));
	file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
	directory = open("directory", O_RDONLY);
	null = open("/dev/null", O_RDWR);
	epoll = epoll_create1(0);
	NEED(pages != MAP_FAILED && file >= 0 && directory >= 0 && null >= 0 && epoll >= 0);
	NEED(write(file, "0123456789", 10) == 10 && !symlink("target", "link"));
	NEED(!pipe2(pipes, O_NONBLOCK) && !socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets));
	reader = pipes[0], writer = pipes[1], left = sockets[0], right = sockets[1];
	NEED(!munmap(pages + 4096, 4096));
	edge = pages + 4096 - 4;
	read_only = pages + 2 * 4096;
	NEED(!mprotect(read_only, 4096, PROT_READ));
	pointers();
	lengths();
	edges();
	return 0;
}

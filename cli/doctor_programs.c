/* SPDX-License-Identifier: Apache-2.0 */
/* System calls of the host that running programs is built on; functions do without them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cli.h"
#include "doctor.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* include/uapi/asm-generic/unistd.h */
#endif

/* Each makes the call so that it does nothing: 0, or what it failed with. */

static int try_openat2(void)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH};
	long fd = syscall(SYS_openat2, AT_FDCWD, ".", &how, sizeof(how));

	if (fd < 0)
		return errno;
	close((int)fd);
	return 0;
}

static int try_futex_waitv(void)
{
	/* Waiting for no futex is refused, where the call is there. */
	if (syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) >= 0 || errno == EINVAL)
		return 0;
	return errno;
}

static int try_memfd_create(void)
{
	int fd = memfd_create("doctor", MFD_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int try_process_vm_readv(void)
{
	char from = 1, to = 0;
	struct iovec local = {&to, 1}, remote = {&from, 1};

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1 ? 0 : errno;
}

struct call {
	const char *name;
	int (*try)(void);
	unsigned long major, minor; /* the Linux that first had it: its manual page */
};

static const struct call calls[] = {
	{"openat2", try_openat2, 5, 6},
	{"futex_waitv", try_futex_waitv, 5, 16},
	{"memfd_create", try_memfd_create, 3, 17},
	{"process_vm_readv", try_process_vm_readv, 3, 2},
};

/* Below a sysroot only the kernel's version is known. */
static int try_call(const struct doctor *d, const struct call *c)
{
	if (*d->sysroot)
		return doctor_kernel_at_least(d, c->major, c->minor) ? 0 : ENOSYS;
	return c->try();
}

void doctor_check_programs(struct doctor *d)
{
	bool ok = true;

	for (size_t i = 0; i < COUNT_OF(calls); i++) {
		const struct call *c = &calls[i];
		int e = try_call(d, c);

		if (!e)
			continue;
		ok = false;
		doctor_add(d, LEVEL_PROBLEM, "programs",
			   "'mayfly run' needs the system call %s, which fails: %s. Functions "
			   "do without it.",
			   c->name, strerror(e));
		if (e == ENOSYS)
			doctor_advise(d,
				      "Linux %lu.%lu or newer has it; in a container its "
				      "seccomp filter may be what takes it away.",
				      c->major, c->minor);
		else
			doctor_advise(d, "A seccomp filter (container) or security module "
					 "forbids it: allow it there.");
	}
	if (ok)
		doctor_add(d, LEVEL_OK, "programs",
			   "openat2, futex_waitv, memfd_create and process_vm_readv are there");
}

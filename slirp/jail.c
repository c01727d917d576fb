/* SPDX-License-Identifier: Apache-2.0 */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/sanitized.h"

#define NOBODY 65534 /* Debian's base-passwd, and the kernel's overflow ID */
#define RESOLV_CONF "/etc/resolv.conf"
/* What a call that opens a file just to read it does not ask for. */
#define NOT_READING ((scmp_datum_t)(O_ACCMODE | O_CREAT | O_TRUNC | O_DIRECTORY | O_PATH))

/*
 * A TCP connection has buffers of 256 KiB in libslirp, a file descriptor each: room for all of
 * them, and for what waits to be sent. libslirp ends where malloc fails.
 */
#define MAX_MEMORY ((rlim_t)512 << 20)

static const char *limit(void)
{
	static const struct {
		__rlimit_resource_t resource;
		rlim_t max;
	} limits[] = {
		{RLIMIT_NOFILE, JAIL_MAX_FILES},
		{RLIMIT_CORE, 0},
		{RLIMIT_FSIZE, 0},
		{RLIMIT_MEMLOCK, 0},
		{RLIMIT_MSGQUEUE, 0},
		{RLIMIT_AS, MAX_MEMORY},
	};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct rlimit now;

		if (SANITIZED && limits[i].resource == RLIMIT_AS)
			continue;
		if (getrlimit(limits[i].resource, &now) < 0)
			return "getrlimit";
		if (now.rlim_max > limits[i].max)
			now.rlim_max = limits[i].max;
		if (now.rlim_cur > now.rlim_max)
			now.rlim_cur = now.rlim_max;
		if (setrlimit(limits[i].resource, &now) < 0)
			return "setrlimit";
	}
	return NULL;
}

static const char *drop_user(void)
{
	const struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	/* In a user namespace without these users, or where it is forbidden, we stay who we are. */
	if (geteuid() == 0) {
		if (setgroups(0, NULL) < 0 && errno != EPERM)
			return "setgroups";
		if (setresgid(NOBODY, NOBODY, NOBODY) < 0 && errno != EINVAL && errno != EPERM)
			return "setresgid";
		if (setresuid(NOBODY, NOBODY, NOBODY) < 0 && errno != EINVAL && errno != EPERM)
			return "setresuid";
	}
	if (syscall(SYS_capset, &header, none) < 0)
		return "capset";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return "prctl";
	/* Nobody of the same user may look into us, nor we at what another one's memory holds. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return "prctl";
	return NULL;
}

/* --- files -------------------------------------------------------------------------------------- */

static void let_read(int rules, const char *directory)
{
	struct landlock_path_beneath_attr beneath = {
		.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE,
		.parent_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC),
	};

	/* What cannot be allowed is denied. */
	if (beneath.parent_fd < 0)
		return;
	(void)syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0);
	close(beneath.parent_fd);
}

/*
 * libslirp reads resolv.conf anew when it was changed, which often means replaced: so its
 * directory may be read from, and that of the file it is a link to.
 */
static const char *confine_files(void)
{
	/* All rights that version 1 knows (landlock(7)). */
	struct landlock_ruleset_attr attr = {
		.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1,
	};
	char *real = realpath(RESOLV_CONF, NULL);
	char *slash = real ? strrchr(real, '/') : NULL;
	long version, rules;
	const char *failed = NULL;

	version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	/* ENOSYS, EOPNOTSUPP: this kernel has none. */
	if (version < 0) {
		free(real);
		return NULL;
	}
#ifdef LANDLOCK_ACCESS_FS_REFER
	if (version >= 2)
		attr.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
#endif
#ifdef LANDLOCK_ACCESS_FS_TRUNCATE
	if (version >= 3)
		attr.handled_access_fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
#endif
	rules = syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (rules < 0) {
		free(real);
		return "landlock_create_ruleset";
	}
	let_read((int)rules, "/etc");
	if (slash && slash != real) {
		*slash = '\0';
		let_read((int)rules, real);
	}
	if (syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		failed = "landlock_restrict_self";
	close((int)rules);
	free(real);
	return failed;
}

/* --- system calls ------------------------------------------------------------------------------- */

/* With any arguments. */
static const int allowed[] = {
	/* Frames, and connections that exist. */
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmsg),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(connect),
	SCMP_SYS(shutdown),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(close),
	/* To wait for them, by all names that the C library may use. */
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(restart_syscall),
	/* To read resolv.conf, which openat below opens. */
	SCMP_SYS(read),
	SCMP_SYS(stat),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(lseek),
	/* GLib's warnings, to standard error. */
	SCMP_SYS(write),
	SCMP_SYS(writev),
	/* malloc; mmap is below. */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	/* Locks of the C library and GLib. */
	SCMP_SYS(futex),
	/* Where the vDSO does not answer itself. */
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	/* Hash seeds of GLib. */
	SCMP_SYS(getrandom),
	/* Signals have no handlers, but abort() masks them. */
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	/* The end. */
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

/* What no part of us ever does: whoever tries has taken us over. All else gives EPERM. */
static const int deadly[] = {
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(fork),
	SCMP_SYS(vfork),
	SCMP_SYS(clone),
	SCMP_SYS(clone3),
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(kill),
	SCMP_SYS(tkill),
	SCMP_SYS(rt_sigqueueinfo),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(mount),
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(keyctl),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(memfd_create),
	SCMP_SYS(personality),
	SCMP_SYS(setuid),
	SCMP_SYS(setresuid),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(shmget),
	SCMP_SYS(chroot),
};

/* Calls of which an argument, as far as `mask` goes, has a certain value. */
static const struct {
	int call;
	unsigned argument;
	scmp_datum_t mask, value;
} allowed_if[] = {
	/* Connections of the guest: IPv4. Raw ones need a capability that is gone. */
	{SCMP_SYS(socket), 0, UINT64_MAX, AF_INET},
	/* Of descriptors, whether they block. */
	{SCMP_SYS(fcntl), 1, UINT64_MAX, F_GETFL},
	{SCMP_SYS(fcntl), 1, UINT64_MAX, F_SETFL},
	{SCMP_SYS(fcntl), 1, UINT64_MAX, F_GETFD},
	{SCMP_SYS(fcntl), 1, UINT64_MAX, F_SETFD},
	{SCMP_SYS(ioctl), 1, UINT64_MAX, FIONBIO},
	/* How long the next datagram is. */
	{SCMP_SYS(ioctl), 1, UINT64_MAX, FIONREAD},
	/* To read a file; Landlock says which. */
	{SCMP_SYS(openat), 2, NOT_READING, O_RDONLY},
	{SCMP_SYS(open), 1, NOT_READING, O_RDONLY},
	/* Memory, but no code. */
	{SCMP_SYS(mmap), 2, PROT_EXEC, 0},
	{SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
};

/* 0, or -errno. */
static int allow_some(scmp_filter_ctx filter)
{
	int r = 0;

	for (size_t i = 0; i < sizeof(allowed_if) / sizeof(allowed_if[0]) && !r; i++) {
		const struct scmp_arg_cmp is = {
			.arg = allowed_if[i].argument,
			.op = SCMP_CMP_MASKED_EQ,
			.datum_a = allowed_if[i].mask,
			.datum_b = allowed_if[i].value,
		};

		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, allowed_if[i].call, 1, &is);
	}
	return r;
}

static const char *confine_calls(void)
{
	scmp_filter_ctx filter;
	int r = 0;

	if (SANITIZED)
		return NULL;
	filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!filter) {
		errno = ENOMEM;
		return "seccomp_init";
	}
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && !r; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]) && !r; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
	if (!r)
		r = allow_some(filter);
	if (!r)
		r = seccomp_load(filter);
	seccomp_release(filter);
	if (r < 0) {
		errno = -r;
		return "seccomp";
	}
	return NULL;
}

const char *jail_enter(void)
{
	const char *failed = limit();

	if (!failed)
		failed = drop_user();
	if (!failed)
		failed = confine_files();
	if (!failed)
		failed = confine_calls();
	return failed;
}

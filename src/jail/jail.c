/* SPDX-License-Identifier: Apache-2.0 */
#include "jail/jail.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/sanitized.h"
#include "core/util.h"

#define C (1u << JAIL_CPU)
#define D (1u << JAIL_DEVICES)

/* A call that is allowed; where `value` is not ANY, only with that in argument `arg`. */
#define ANY UINT32_MAX
#define SELF (UINT32_MAX - 1)	    /* this process's id */
#define NO_POINTER (UINT32_MAX - 2) /* null, all of it */
struct rule {
	uint32_t number;
	uint32_t threads; /* C, D */
	uint32_t arg;
	uint32_t value; /* the low 32 bits */
};

/* One reason each. */
static const struct rule rules[] = {
	/* the vCPU itself */
	{SYS_ioctl, C, 1, (uint32_t)KVM_RUN},
	/* interrupt lines of devices; on the device thread when a queue was served */
	{SYS_ioctl, C | D, 1, (uint32_t)KVM_IRQ_LINE},
	/* waiting for descriptors: two names of one call, by the C library's version */
	{SYS_epoll_wait, D, 0, ANY},
	{SYS_epoll_pwait, D, 0, ANY},
	/* network cards and consoles; eventfds: notifications that came by an exit, wake-ups */
	{SYS_read, C | D, 0, ANY},
	{SYS_write, C | D, 0, ANY},
	/* disks; and their overlays */
	{SYS_preadv, D, 0, ANY},
	{SYS_pwritev, D, 0, ANY},
	{SYS_pread64, D, 0, ANY},
	{SYS_pwrite64, D, 0, ANY},
	/* disks: flushes */
	{SYS_fdatasync, D, 0, ANY},
	/* disks: discard and write zeroes; within the file size limit, which is asked for */
	{SYS_fallocate, D, 0, ANY},
	{SYS_prlimit64, D, 2, NO_POINTER}, /* no new limit */
	/* network cards */
	{SYS_readv, D, 0, ANY},
	{SYS_writev, D, 0, ANY},
	{SYS_recvmsg, D, 0, ANY},
	{SYS_sendmsg, D, 0, ANY},
	/* why a network's socket failed */
	{SYS_getsockopt, D, 0, ANY},
	/* a tap device's offloads, when the driver agrees on them */
	{SYS_ioctl, D, 1, (uint32_t)TUNSETOFFLOAD},
	/* consoles that are sockets */
	{SYS_recvfrom, D, 0, ANY},
	{SYS_sendto, C | D, 0, ANY},
	/* a console's descriptor: does it take more just now? two names of one call */
	{SYS_poll, C | D, 0, ANY},
	{SYS_ppoll, C | D, 0, ANY},
	/* a console's broken pipe: SIGPIPE is blocked, and taken back */
	{SYS_rt_sigpending, C | D, 0, ANY},
	{SYS_rt_sigtimedwait, C | D, 0, ANY}, /* kicks, too */
	/* sockets of console ports: who connects is accepted, and let go */
	{SYS_accept4, D, 0, ANY},
	{SYS_close, D, 0, ANY},
	/* which descriptors are waited for, and when timers end */
	{SYS_epoll_ctl, D, 0, ANY},
	{SYS_timerfd_settime, C | D, 0, ANY},
	/* the helper of a network has ended: its status is taken */
	{SYS_waitid, D, 0, ANY},
	/* locks, and waiting for other threads of the machine */
	{SYS_futex, C | D, 0, ANY},
	/* where the vDSO has no clock */
	{SYS_clock_gettime, C | D, 0, ANY},
	/* random numbers for the guest */
	{SYS_getrandom, D, 0, ANY},
	/* kicks: the signal to a thread of this process */
	{SYS_tgkill, C | D, 0, SELF},
	{SYS_getpid, C | D, 0, ANY},
	{SYS_gettid, C | D, 0, ANY},
	/* what a message on a failure says of the vCPU */
	{SYS_ioctl, C, 1, (uint32_t)KVM_GET_REGS},
	{SYS_ioctl, C, 1, (uint32_t)KVM_GET_SREGS},
	/* memory of the C library's; never executable: see below */
	{SYS_brk, C | D, 0, ANY},
	{SYS_munmap, C | D, 0, ANY},
	{SYS_mremap, C | D, 0, ANY},
	{SYS_madvise, C | D, 0, ANY},
	/* a thread's end: blocks signals, frees its stack, goes */
	{SYS_rt_sigprocmask, C | D, 0, ANY},
	{SYS_exit, C | D, 0, ANY},
	/* the kernel's own, after a stop by a debugger or a freezer */
	{SYS_restart_syscall, C | D, 0, ANY},
};

/*
 * Mappings of memory: for the C library's allocator. PROT_EXEC is what an attacker would want
 * of them.
 */
static const uint32_t mapping_calls[] = {SYS_mmap, SYS_mprotect};
#define MAPPING_PROT_ARG 2

#define MAX_CALLS (ARRAY_SIZE(rules) + ARRAY_SIZE(mapping_calls))
/* 4 at the beginning; for each call 3, and 4 where the search for it branches and ends. */
#define MAX_INSNS (4 + 7 * MAX_CALLS)

#define DATA_ARCH offsetof(struct seccomp_data, arch)
#define DATA_NUMBER offsetof(struct seccomp_data, nr)
/* The low half, on a little-endian machine. */
#define DATA_ARG(n) (offsetof(struct seccomp_data, args) + 8 * (size_t)(n))

struct program {
	struct sock_filter insns[MAX_INSNS];
	uint16_t n;
	bool too_long; /* for a jump: a mistake in the tables above */
};

static void add(struct program *p, uint16_t code, uint8_t if_true, uint8_t if_false, uint32_t k)
{
	p->insns[p->n++] = (struct sock_filter){code, if_true, if_false, k};
}

static void load(struct program *p, size_t offset)
{
	add(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void give(struct program *p, uint32_t action)
{
	add(p, BPF_RET | BPF_K, 0, 0, action);
}

static void jump_if_equal(struct program *p, uint32_t value, uint8_t if_true, uint8_t if_false)
{
	add(p, BPF_JMP | BPF_JEQ | BPF_K, if_true, if_false, value);
}

/* How far a jump at `from` has to go to what comes next. */
static uint8_t distance(struct program *p, uint16_t from)
{
	int n = p->n - from - 1;

	p->too_long |= n > UINT8_MAX;
	return (uint8_t)n;
}

/* What is allowed of one call: its number was found, and need not be kept. */
static void build_call(struct program *p, enum jail_kind kind, uint32_t number)
{
	for (size_t i = 0; i < ARRAY_SIZE(mapping_calls); i++) {
		if (mapping_calls[i] != number)
			continue;
		load(p, DATA_ARG(MAPPING_PROT_ARG));
		add(p, BPF_JMP | BPF_JSET | BPF_K, 1, 0, PROT_EXEC);
		give(p, SECCOMP_RET_ALLOW);
	}
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		const struct rule *r = &rules[i];

		if (r->number != number || !(r->threads & 1u << kind))
			continue;
		if (r->value == NO_POINTER) {
			load(p, DATA_ARG(r->arg));
			jump_if_equal(p, 0, 0, 3);
			load(p, DATA_ARG(r->arg) + 4);
			jump_if_equal(p, 0, 0, 1);
		} else if (r->value != ANY) {
			load(p, DATA_ARG(r->arg));
			jump_if_equal(p, r->value == SELF ? (uint32_t)getpid() : r->value, 0,
				      1);
		}
		give(p, SECCOMP_RET_ALLOW);
	}
	give(p, SECCOMP_RET_KILL_PROCESS);
}

/*
 * By halves: when a filter is installed the kernel tries it on every number that there is, which
 * takes longer than all else that a thread's start does if each is compared with each. The
 * accumulator holds the number.
 */
static void build_calls(struct program *p, enum jail_kind kind, const uint32_t *numbers,
			size_t n)
{
	uint16_t at = p->n;

	if (n == 1) {
		jump_if_equal(p, numbers[0], 1, 0);
		give(p, SECCOMP_RET_KILL_PROCESS);
		build_call(p, kind, numbers[0]);
		return;
	}
	add(p, BPF_JMP | BPF_JGE | BPF_K, 0, 0, numbers[n / 2]);
	build_calls(p, kind, numbers, n / 2);
	p->insns[at].jt = distance(p, at);
	build_calls(p, kind, numbers + n / 2, n - n / 2);
}

/* Into what is sorted, unless it is there. */
static size_t insert(uint32_t *numbers, size_t n, uint32_t number)
{
	size_t at = n;

	while (at > 0 && numbers[at - 1] > number)
		at--;
	if (at > 0 && numbers[at - 1] == number)
		return n;
	memmove(numbers + at + 1, numbers + at, (n - at) * sizeof(numbers[0]));
	numbers[at] = number;
	return n + 1;
}

/* A call of the x32 way has a number of its own, which no rule knows. */
static void build(struct program *p, enum jail_kind kind)
{
	uint32_t numbers[MAX_CALLS];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if (rules[i].threads & 1u << kind)
			n = insert(numbers, n, rules[i].number);
	for (size_t i = 0; i < ARRAY_SIZE(mapping_calls); i++)
		n = insert(numbers, n, mapping_calls[i]);
	p->n = 0;
	p->too_long = false;
	load(p, DATA_ARCH);
	jump_if_equal(p, AUDIT_ARCH_X86_64, 1, 0);
	give(p, SECCOMP_RET_KILL_PROCESS);
	load(p, DATA_NUMBER);
	build_calls(p, kind, numbers, n);
}

#ifdef __GLIBC__
/* More than glibc keeps for later (mallopt(3), M_TRIM_THRESHOLD), in parts that heaps hold. */
#define HEAP_PARTS 12
#define HEAP_PART ((size_t)32 << 10)

/*
 * The first time that glibc gives a part of a thread's heap back it reads
 * /proc/sys/vm/overcommit_memory, and remembers what that says; which it could not afterwards.
 */
static void give_back(void)
{
	void *volatile parts[HEAP_PARTS];

	for (size_t i = 0; i < HEAP_PARTS; i++)
		parts[i] = malloc(HEAP_PART);
	for (size_t i = 0; i < HEAP_PARTS; i++)
		free(parts[i]);
}
#else
static void give_back(void)
{
}
#endif

/*
 * The C library gives a thread its heap with the first allocation. When there are many it asks the
 * kernel first how many CPUs there are, which it could not afterwards.
 */
static void take_heap(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	void *volatile any = malloc(1);

	free(any);
	pthread_once(&once, give_back);
}

int jail_enter(enum jail_kind kind, mayfly_error *err)
{
	struct program p;
	struct sock_fprog program = {.filter = p.insns};

	if (SANITIZED)
		return 0;
	take_heap();
	build(&p, kind);
	if (p.too_long)
		return fail(err, MAYFLY_E_HYPERVISOR, "the filter of system calls is too long");
	program.len = p.n;
	/* Of this thread only; without it the next needs privileges. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "PR_SET_NO_NEW_PRIVS");
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0)
		return 0;
	if (errno == ENOSYS || errno == EINVAL)
		return 0;
	return fail_errno(err, errno == ENOMEM ? MAYFLY_E_NOMEM : MAYFLY_E_HYPERVISOR, errno,
			  "seccomp");
}

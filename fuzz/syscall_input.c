/* SPDX-License-Identifier: Apache-2.0 */
#include "syscall_input.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

/* --- Paths ------------------------------------------------------------------------------------ */

static const char *const paths[] = {
	"file",
	"/rw/file",
	"/rw/new",
	"/rw/new2",
	"/rw/directory",
	"/rw/directory/file",
	"/rw/link",
	"/rw/large",
	"/ro/file",
	"/ro/new",
	"/ro/large",
	"/ro/directory",
	"/ov/file",
	"/ov/new",
	"/ov/new2",
	"/ov/directory",
	"/ov/directory/file",
	"/ov/link",
	"/ov/large",
	"/tmp",
	"/tmp/a",
	"/tmp/b",
	"/tmp/d",
	"/tmp/d/e",
	"/tmp/l",
	"/dev/shm/s",
	"/dev/null",
	"/dev/zero",
	"/dev/full",
	"/dev/random",
	"/dev/urandom",
	"/dev/tty",
	"/dev/fd/0",
	"/dev",
	"/dev/fd/20",
	"/dev/stdin",
	"/proc",
	"/proc/self",
	"/proc/self/exe",
	"/proc/self/maps",
	"/proc/self/fd",
	"/proc/self/fd/0",
	"/proc/self/fd/3",
	"/proc/self/fd/99999999999",
	"/proc/self/root",
	"/proc/self/cwd",
	"/proc/self/status",
	"/proc/self/stat",
	"/proc/self/task",
	"/proc/self/task/1000/stat",
	"/proc/self/mem",
	"/proc/1/root",
	"/proc/self/environ",
	"/proc/self/cmdline",
	"/proc/cpuinfo",
	"/proc/meminfo",
	"/proc/sys/kernel/osrelease",
	"/proc/thread-self",
	"/proc/1000/fdinfo/0",
	"/",
	".",
	"..",
	"",
	"//",
	"/.",
	"/..",
	"./.././../..//rw/./file",
	/* Ways out. */
	"/rw/../../../../etc/passwd",
	"/rw/out/secret",
	"/rw/far-out/passwd",
	"/rw/root/etc/passwd",
	"/rw/secret",
	"/rw/loop",
	"/rw/loop/x",
	"/rw/proc-root/rw/file",
	"/ov/out/secret",
	"/ov/secret",
	"/ro/out/secret",
	"/ro/../outside/secret",
	"out/secret",
	"../outside/secret",
	"/proc/self/fd/3/../../outside/secret",
	"/proc/self/cwd/../outside/secret",
	"/rw/file/..",
	"/rw/file/",
	"/rw/link/",
	"/rw/directory/../file",
	"/rw/nothing/../file",
	"/etc/passwd",
	"/rw/\xff\xfe",
	"/tmp/./",
	"/rw/sock",
	"user.a",
	"trusted.a",
	"system.posix_acl_access",
	"security.capability",
};
_Static_assert(ARRAY_SIZE(paths) <= PATHS, "room for the paths");

static void plant_paths(uint8_t *data)
{
	uint8_t *at = data + (PATHS_VA - PROGRAM_DATA);

	for (size_t i = 0; i < PATHS; i++)
		snprintf((char *)at + i * PATH_SIZE, PATH_SIZE, "%s",
			 i < ARRAY_SIZE(paths) ? paths[i] : "/rw/file");
}

/* --- Structures ------------------------------------------------------------------------------- */

struct planter {
	uint8_t *data;
	uint32_t slot;
};

static uint64_t slot_va(uint32_t slot)
{
	return PROGRAM_DATA + slot * SLOT_SIZE;
}

static uint64_t plant(struct planter *p, const void *bytes, size_t len)
{
	uint64_t va = slot_va(p->slot);

	memcpy(p->data + p->slot * SLOT_SIZE, bytes, len < SLOT_SIZE ? len : SLOT_SIZE);
	p->slot++;
	return va;
}

/* The value of a compound literal, in a slot of its own. */
#define PLANT(p, type, ...) plant((p), &(type){__VA_ARGS__}, sizeof(type))

static void *guest(uint64_t va)
{
	return (void *)(uintptr_t)va;
}

struct four_vectors {
	struct iovec v[4];
};

static uint64_t plant_vectors(struct planter *p)
{
	uint64_t first = PLANT(p, struct four_vectors,
			       .v = {{guest(ROOM_VA), 10},
				     {guest(ROOM_VA + 100), 0},
				     {guest(ROOM_VA + 200), 5000},
				     {guest(ROOM_VA + 300), 1}});

	PLANT(p, struct four_vectors,
	      .v = {{guest(ROOM_VA), 10},
		    {guest(PROGRAM_DATA_END - 4), 100},
		    {guest(PROGRAM_NONE), 1},
		    {guest(UINT64_MAX), 1}});
	PLANT(p, struct four_vectors,
	      .v = {{guest(ROOM_VA), SSIZE_MAX},
		    {guest(ROOM_VA), SSIZE_MAX},
		    {guest(ROOM_VA), UINT64_MAX},
		    {guest(PROGRAM_READ_ONLY), 8}});
	PLANT(p, struct four_vectors,
	      .v = {{guest(PROGRAM_READ_ONLY), 4096},
		    {guest(0x200000), UINT32_MAX},
		    {NULL, 0},
		    {NULL, 4}});
	return first;
}

/* Descriptors 0, 3 and one that is not there; credentials. */
static uint64_t plant_control(struct planter *p)
{
	struct {
		struct cmsghdr rights;
		int32_t fd[4];
		struct cmsghdr credentials;
		struct ucred ucred;
	} control = {
		.rights = {CMSG_LEN(8), SOL_SOCKET, SCM_RIGHTS},
		.fd = {0, 3, -1, -1},
		.credentials = {CMSG_LEN(sizeof(struct ucred)), SOL_SOCKET, SCM_CREDENTIALS},
		.ucred = {PROCESS_PID, 0, 0},
	};
	uint64_t va;

	control.rights.cmsg_len = CMSG_LEN(2 * sizeof(int32_t));
	va = plant(p, &control, sizeof(control));
	control.rights.cmsg_len = UINT64_MAX;
	plant(p, &control, sizeof(control));
	control.rights.cmsg_len = 3;
	plant(p, &control, sizeof(control));
	return va;
}

static void plant_sockets(struct planter *p)
{
	uint64_t vectors = plant_vectors(p), control = plant_control(p);
	struct sockaddr_un named = {AF_UNIX, "/rw/sock"}, hidden = {AF_UNIX, "\0name"};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = 0xa00f};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_port = 0xa00f,
				   .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct msghdr plain = {.msg_iov = guest(vectors), .msg_iovlen = 2},
		      full = {.msg_iov = guest(vectors),
			      .msg_iovlen = 4,
			      .msg_control = guest(control),
			      .msg_controllen = CMSG_SPACE(8)};
	uint64_t name = plant(p, &named, sizeof(named));

	plant(p, &hidden, sizeof(hidden));
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	plant(p, &in, sizeof(in));
	plant(p, &in6, sizeof(in6));
	in.sin_addr.s_addr = htonl(0x08080808);
	plant(p, &in, sizeof(in));
	PLANT(p, int32_t, 16);
	PLANT(p, int32_t, 110);
	PLANT(p, int32_t, -1);
	plant(p, &plain, sizeof(plain));
	plant(p, &full, sizeof(full));
	full.msg_name = guest(name);
	full.msg_namelen = sizeof(named);
	plant(p, &full, sizeof(full));
	full.msg_iovlen = 1025;
	full.msg_namelen = UINT32_MAX;
	full.msg_controllen = SIZE_MAX;
	plant(p, &full, sizeof(full));
	struct mmsghdr two[2] = {{.msg_hdr = plain}, {.msg_hdr = plain}};

	plant(p, two, sizeof(two));
}

static void plant_times(struct planter *p)
{
	struct itimerspec timer = {{0, 100000}, {0, 100000}};
	struct itimerval old = {{0, 100}, {0, 100}};

	PLANT(p, struct timespec, 0, 0);
	PLANT(p, struct timespec, 0, 1000000);
	PLANT(p, struct timespec, -1, 0);
	PLANT(p, struct timespec, INT64_MAX, 999999999);
	PLANT(p, struct timespec, 1000000000, 1000000000);
	plant(p, &timer, sizeof(timer));
	timer.it_interval.tv_nsec = 1;
	plant(p, &timer, sizeof(timer));
	plant(p, &old, sizeof(old));
	PLANT(p, struct rlimit, 8, 16);
	PLANT(p, struct rlimit, RLIM_INFINITY, RLIM_INFINITY);
}

static void plant_signals(struct planter *p)
{
	struct guest_sigaction action = {.handler = PROGRAM_TEXT + 0x800,
					 .flags = GUEST_SA_SIGINFO};
	struct guest_siginfo info = {.signo = 10, .code = -1};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	uint64_t masked = PLANT(p, uint64_t, UINT64_MAX);
	uint64_t size_and_set[2] = {masked, 8};

	PLANT(p, uint64_t, SIG_BIT(SIGUSR1) | SIG_BIT(SIGALRM));
	PLANT(p, uint64_t, 0);
	plant(p, size_and_set, sizeof(size_and_set));
	plant(p, &action, sizeof(action));
	action.flags |= GUEST_SA_ONSTACK | GUEST_SA_NODEFER | GUEST_SA_RESTART;
	plant(p, &action, sizeof(action));
	action.handler = 0x8000000000000000;
	plant(p, &action, sizeof(action));
	action.handler = 1;
	plant(p, &action, sizeof(action));
	plant(p, &info, sizeof(info));
	plant(p, &event, sizeof(event));
	event.sigev_notify = SIGEV_THREAD_ID;
	event._sigev_un._tid = PROCESS_PID;
	plant(p, &event, sizeof(event));
	event.sigev_notify = SIGEV_NONE;
	plant(p, &event, sizeof(event));
	PLANT(p, struct guest_stack, ROOM_VA + 0x1000, 0, 0, 0x4000);
	PLANT(p, struct guest_stack, PROGRAM_READ_ONLY, GUEST_SS_AUTODISARM, 0, 0x1000);
	PLANT(p, struct guest_stack, UINT64_MAX - 0x1000, 0, 0, 0x2000);
	PLANT(p, struct guest_stack, 0, GUEST_SS_DISABLE, 0, 0);
}

static void plant_files(struct planter *p)
{
	struct pollfd fds[8] = {{0, POLLIN, 0},	 {3, POLLIN | POLLOUT, 0}, {4, -1, 0},
				{-1, POLLIN, 0}, {99, POLLIN, 0},	   {5, POLLIN, 0}};
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
	struct epoll_event events[2] = {{EPOLLIN, {.u64 = 1}},
					{EPOLLOUT | EPOLLET, {.u64 = 2}}};
	struct open_how how = {.flags = O_RDWR | O_CREAT, .mode = 0644};
	struct clone_args thread = {.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
					     CLONE_THREAD | CLONE_PARENT_SETTID |
					     CLONE_CHILD_CLEARTID,
				    .child_tid = ROOM_VA,
				    .parent_tid = ROOM_VA + 8,
				    .stack = ROOM_VA,
				    .stack_size = 0x2000};

	plant(p, fds, sizeof(fds));
	plant(p, &lock, sizeof(lock));
	lock.l_type = F_RDLCK;
	lock.l_len = 0;
	plant(p, &lock, sizeof(lock));
	lock.l_start = INT64_MAX;
	lock.l_len = INT64_MAX;
	plant(p, &lock, sizeof(lock));
	plant(p, &events[0], sizeof(events[0]));
	plant(p, &events[1], sizeof(events[1]));
	plant(p, &how, sizeof(how));
	how = (struct open_how){.flags = O_PATH,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	plant(p, &how, sizeof(how));
	plant(p, &thread, sizeof(thread));
	thread.flags |= CLONE_SETTLS;
	thread.tls = UINT64_MAX;
	plant(p, &thread, sizeof(thread));
	PLANT(p, uint64_t, 0);
	PLANT(p, uint64_t, 5);
	PLANT(p, uint64_t, INT64_MAX);
	PLANT(p, uint64_t, UINT64_MAX);
	PLANT(p, int32_t, 1);
	PLANT(p, struct winsize, 24, 80, 0, 0);
	/* A set of descriptors for select(2), and a robust list that leads to itself. */
	PLANT(p, uint64_t, 0x3f);
	uint64_t self = slot_va(p->slot), list[3] = {self, 0, self};

	plant(p, list, sizeof(list));
	uint64_t strings[4] = {PATHS_VA, PATHS_VA + PATH_SIZE, 0, 0};

	plant(p, strings, sizeof(strings));
	/* Capabilities: header of version 3, data. */
	PLANT(p, uint64_t, 0x20080522);
	uint64_t cpu[6] = {48, 0, 0, 0, 0, 0};

	plant(p, cpu, sizeof(cpu)); /* struct sched_attr */
}

void input_plant(struct mm *mm)
{
	static uint8_t data[PROGRAM_DATA_SIZE];

	if (!data[PATHS_VA - PROGRAM_DATA]) {
		struct planter p = {data, 1}; /* slot 0 is zero */

		plant_sockets(&p);
		plant_times(&p);
		plant_signals(&p);
		plant_files(&p);
		if (p.slot > SLOTS) {
			fprintf(stderr, "%u slots\n", p.slot);
			abort();
		}
		plant_paths(data);
	}
	mm_write(mm, PROGRAM_DATA, data, sizeof(data));
}

/* --- Arguments -------------------------------------------------------------------------------- */

static const uint64_t specials[] = {
	UINT64_MAX,
	INT64_MAX,
	(uint64_t)INT64_MIN,
	INT32_MAX,
	(uint64_t)INT32_MIN,
	UINT32_MAX,
	(uint64_t)AT_FDCWD,
	PROG_VA_END,
	PROG_VA_END - 1,
	PROG_VA_END - PAGE_SIZE,
	PROG_LOW_VA,
	PROG_LOW_VA - 1,
	PROG_GATE_VA,
	PROG_SUPERVISOR_VA,
	PROG_VDSO_VA,
	PROG_VVAR_VA,
	PROG_THREADS_VA,
	0x800000000000,
	0xffff800000000000,
	0xffffffff80000000,
	PAGE_SIZE,
	PAGE_SIZE - 1,
	MM_CHUNK,
	MM_CHUNK - 1,
	(uint64_t)4 << 20,
	(uint64_t)16 << 20,
	(uint64_t)1 << 30,
	(uint64_t)1 << 32,
	(uint64_t)1 << 40,
	(uint64_t)1 << 46,
	INT32_MAX - 4095,
	PROGRAM_TEXT,
	PROGRAM_DATA,
	PROGRAM_READ_ONLY,
	0x10000000,
	0x7f0000000000,
	PROCESS_PID,
	PROCESS_PID + 1,
	0x541b /* FIONREAD */,
	0x5421 /* FIONBIO */,
	0x5401 /* TCGETS */,
	0x5413 /* TIOCGWINSZ */,
	0x5450,
	0x5451,
	0x1001,
	0x1002,
	0x1003,
	0x1004,
	1024,
	1025,
	4096,
	65536,
	0x22 /* MAP_PRIVATE | MAP_ANONYMOUS */,
	0x4022,
	0x32,
	0x100022,
	0x21,
	0x3d0f00,
	0x7d0f00,
	2052 /* SOCK_DGRAM | SOCK_NONBLOCK */,
	0x80801,
	0x4000 | 0x40,
	AT_EMPTY_PATH,
	AT_SYMLINK_NOFOLLOW,
	FUTEX_WAIT | FUTEX_PRIVATE_FLAG,
	FUTEX_WAKE_OP,
	O_RDWR | O_CREAT,
	O_RDWR | O_CREAT | O_EXCL,
	O_DIRECTORY,
	O_PATH,
	O_TMPFILE | O_RDWR,
	O_RDWR | O_TRUNC,
	O_WRONLY | O_APPEND,
	O_NONBLOCK | O_CLOEXEC,
	PROG_SYS_READY,
};

static const uint64_t sizes[] = {0,    1,    2,	    4,	     8,	       12,	 16,  24,
				 28,   32,   40,    48,	     56,       64,	 100, 128,
				 255,  256,  1024,  1025,    4095,     4096,	 88,  110,
				 4097, 8192, 65536, 0x20000, 0x100000, 0x1000000};

static uint64_t general(struct input *in, uint64_t selector)
{
	switch (selector % 16) {
	case 0:
		return input_take(in, 1);
	case 1:
		return input_take(in, 2);
	case 2:
		return input_take(in, 4);
	case 3:
		return input_take(in, 8);
	case 4:
		return PROGRAM_DATA_END - input_take(in, 1);
	case 5:
		return PROGRAM_READ_ONLY + input_take(in, 1);
	case 6:
		return PROGRAM_NONE + input_take(in, 1);
	case 7:
		return specials[input_take(in, 1) % ARRAY_SIZE(specials)];
	case 8:
		return in->last;
	case 9:
		return in->last + (uint64_t)(int8_t)input_take(in, 1) * PAGE_SIZE;
	case 10:
		return ((uint64_t)1 << input_take(in, 1) % 64) |
		       ((uint64_t)1 << input_take(in, 1) % 64);
	case 11:
		return ROOM_VA + input_take(in, 2);
	case 12:
		return (input_take(in, 2) * PAGE_SIZE) + 0x10000000;
	case 13:
		return -input_take(in, 1);
	case 14:
		return PATHS_VA + input_take(in, 1) % PATHS * PATH_SIZE;
	default:
		return slot_va((uint32_t)(input_take(in, 1) % SLOTS));
	}
}

uint64_t input_argument(struct input *in, char kind)
{
	uint64_t s = input_take(in, 1);

	if (s >= 0xd0 || !kind)
		return general(in, s);
	switch (kind) {
	case 'D':
		return s >= 0x80 ? (uint64_t)AT_FDCWD : s % 24;
	case 'f':
		return s % 24;
	case 's':
	case 'n':
		return PATHS_VA + s % PATHS * PATH_SIZE;
	case 'p':
	case 'i':
	case 'I':
	case 't':
	case 'T':
		return s < SLOTS  ? slot_va((uint32_t)s)
		       : s < 0xb0 ? ROOM_VA + (s - SLOTS) * 64
				  : 0;
	case 'b':
	case 'B':
		return ROOM_VA + s * 16;
	case 'u':
		return sizes[s % ARRAY_SIZE(sizes)];
	case 'd':
	case 'l':
	case 'S':
		return s < 0x90 ? s : (uint64_t)(int64_t)(int8_t)s;
	default: /* constants: small ones, flags, what is usual */
		if (s < 0x40)
			return s;
		if (s < 0x80)
			return (uint64_t)1 << (s - 0x40);
		return specials[(s - 0x80) % ARRAY_SIZE(specials)];
	}
}

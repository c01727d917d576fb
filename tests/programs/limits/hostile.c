/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes as much as it gets of what its argument names, then says how much that was, and stays:
 * tests/programs/limits/run looks at what it costs its host. It refuses to run outside of a VM.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MANY 1000000UL
#define MIB ((size_t)1 << 20)

static char block[MIB];

/* Says how many it got, and why no more; the standard output may be closed by now. */
static void had(const char *what, unsigned long count)
{
	char line[128];
	int error = errno;
	int length = snprintf(line, sizeof(line), "%s: %lu, then %s\n", what, count,
			      count == MANY ? "enough" : strerror(error));

	if (write(STDOUT_FILENO, line, (size_t)length) < 0)
		_exit(3);
}

static void *stay(void *argument)
{
	for (;;)
		pause();
	return argument;
}

static void *spin(void *argument)
{
	for (;;)
		;
	return argument;
}

static void threads(void)
{
	pthread_attr_t attributes;
	pthread_t thread;
	unsigned long n = 0;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 65536);
	while (n < MANY && !(errno = pthread_create(&thread, &attributes, stay, NULL)))
		n++;
	had("threads", n);
}

static pthread_attr_t bombs;

/* Each thread tries to make more. */
static void *bomb(void *argument)
{
	pthread_t thread;

	for (int i = 0; i < 20000; i++)
		pthread_create(&thread, &bombs, bomb, argument);
	return NULL;
}

static void thread_bomb(void)
{
	pthread_attr_init(&bombs);
	pthread_attr_setstacksize(&bombs, 65536);
	pthread_attr_setdetachstate(&bombs, PTHREAD_CREATE_DETACHED);
	bomb(NULL);
	had("bombs", MANY);
}

static void spinners(void)
{
	pthread_t thread;
	unsigned long n = 0;

	while (n < 8 && !(errno = pthread_create(&thread, NULL, spin, NULL)))
		n++;
	spin(NULL);
}

static void anonymous(void)
{
	unsigned long n = 0;
	char *p;

	while (n < MANY && (p = mmap(NULL, MIB, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED) {
		memset(p, 'x', MIB);
		n++;
	}
	had("MiB of memory", n);
}

/* Reserved without end, then touched. */
static void sparse(void)
{
	size_t size = (size_t)1 << 44;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	unsigned long n = 0;

	if (p == MAP_FAILED) {
		had("reserved", 0);
		return;
	}
	for (; n < MANY; n++)
		p[n * (size >> 20)] = 1;
	had("pages touched", n);
}

static void shared(void)
{
	unsigned long n = 0;
	char *p;

	while (n < MANY && (p = mmap(NULL, MIB, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED) {
		memset(p, 'x', MIB);
		n++;
	}
	had("MiB of shared memory", n);
}

/* What was written stays, whatever may be done with it afterwards. */
static void read_only(void)
{
	unsigned long n = 0;
	char *p;

	while (n < MANY && (p = mmap(NULL, MIB, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED) {
		memset(p, 'x', MIB);
		if (mprotect(p, MIB, n % 2 ? PROT_READ : PROT_NONE) < 0)
			break;
		n++;
	}
	had("MiB of read-only memory", n);
}

/* Memory behind the ends of files. */
static void behind_ends(void)
{
	char path[64];
	unsigned long n = 0;
	int fd;

	for (; n < 200; n++) {
		snprintf(path, sizeof(path), "/tmp/%lu", n);
		fd = open(path, O_RDWR | O_CREAT, 0600);
		if (fd < 0 || fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 8 * MIB) < 0)
			break;
		if (n % 2 && ftruncate(fd, 1) < 0)
			break;
		if (n % 4 < 2)
			close(fd);
	}
	had("files of 8 MiB behind the end", n);
}

/* Open files that have no descriptor. */
static void mapped_files(void)
{
	unsigned long n = 0;
	int fd;

	while (n < MANY && (fd = open("/proc/self/exe", O_RDONLY)) >= 0 &&
	       mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) != MAP_FAILED) {
		close(fd);
		n++;
	}
	had("files that are mapped", n);
}

static void memory_files(void)
{
	unsigned long n = 0;
	int fd = memfd_create("fill", 0);

	while (fd >= 0 && n < MANY && write(fd, block, MIB) == (ssize_t)MIB)
		n++;
	had("MiB in a memfd", n);
	n = 0;
	while (n < MANY && (fd = memfd_create("many", 0)) >= 0 && !ftruncate(fd, 1L << 40)) {
		if (pwrite(fd, block, 4096, 1L << 39) != 4096)
			break;
		n++;
	}
	had("memfds", n);
}

static void fill(const char *directory)
{
	char path[256];
	unsigned long n = 0, files = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/big", directory);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	while (fd >= 0 && n < MANY && write(fd, block, MIB) == (ssize_t)MIB)
		n++;
	had("MiB in a file", n);
	unlink(path);
	close(fd);
	for (; files < MANY; files++) {
		snprintf(path, sizeof(path), "%s/%lu", directory, files);
		fd = open(path, O_WRONLY | O_CREAT, 0600);
		if (fd < 0 || write(fd, block, 1) != 1)
			break;
		close(fd);
	}
	had("small files", files);
	for (n = 0; n < MANY; n++) {
		snprintf(path, sizeof(path), "%s/d%lu", directory, n);
		if (mkdir(path, 0700) < 0)
			break;
	}
	had("directories", n);
}

static void tmp(void)
{
	fill("/tmp");
}

static void shm(void)
{
	fill("/dev/shm");
}

/* One directory in another, as long as it goes. */
static void deep(void)
{
	unsigned long n = 0;

	if (chdir("/tmp") < 0)
		return;
	while (n < MANY && !mkdir("d", 0700) && !chdir("d"))
		n++;
	had("levels", n);
}

static void links(void)
{
	char path[64], *target = block;
	unsigned long n = 0;

	memset(target, 'x', 4000);
	target[4000] = '\0';
	for (; n < MANY; n++) {
		snprintf(path, sizeof(path), "/tmp/l%lu", n);
		if (symlink(target, path) < 0)
			break;
	}
	had("symbolic links", n);
}

static void attributes(void)
{
	char name[64];
	unsigned long n = 0;
	int fd = open("/tmp/file", O_RDWR | O_CREAT, 0600);

	for (; fd >= 0 && n < MANY; n++) {
		snprintf(name, sizeof(name), "user.a%lu", n);
		if (syscall(SYS_fsetxattr, fd, name, block, 60000, 0) < 0)
			break;
	}
	had("extended attributes", n);
}

static void descriptors(void)
{
	unsigned long n = 0;

	while (n < MANY && open("/dev/null", O_RDONLY) >= 0)
		n++;
	had("descriptors", n);
	for (n = 0; n < 1000; n++)
		close((int)n + 3);
	for (n = 0; n < MANY && epoll_create1(0) >= 0; n++)
		;
	had("epolls", n);
	for (n = 0; n < 1000; n++)
		close((int)n + 3);
	for (n = 0; n < MANY && eventfd(0, 0) >= 0 && timerfd_create(CLOCK_MONOTONIC, 0) >= 0;
	     n++)
		;
	had("events", n);
}

/* Full pipes and sockets occupy the host's kernel. */
static void buffers(void)
{
	unsigned long n = 0;
	uint64_t bytes = 0;
	int p[2], size = 1 << 30;

	while (n < MANY && !pipe2(p, O_NONBLOCK)) {
		for (int wanted = 1 << 30; wanted > 1 << 16; wanted /= 2)
			if (fcntl(p[1], F_SETPIPE_SZ, wanted) >= 0)
				break;
		for (ssize_t done; (done = write(p[1], block, MIB)) > 0;)
			bytes += (uint64_t)done;
		n++;
	}
	had("pipes", n);
	for (n = 0; n < 1000; n++)
		close((int)n + 3);
	n = 0;
	while (n < MANY && !socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p)) {
		setsockopt(p[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		for (ssize_t done; (done = write(p[0], block, MIB)) > 0;)
			bytes += (uint64_t)done;
		n++;
	}
	had("socket pairs", n);
	had("MiB in them", (unsigned long)(bytes / MIB));
}

/* As many in a message as there can be. */
static void many_in_flight(void)
{
	enum { EACH = 30 };
	char control[CMSG_SPACE(EACH * sizeof(int))];
	struct iovec byte = {block, 1};
	unsigned long n = 0;
	int p[2], fds[EACH];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p) < 0)
		return;
	for (ssize_t sent = 0; sent >= 0; n += EACH) {
		struct msghdr message = {.msg_iov = &byte,
					 .msg_iovlen = 1,
					 .msg_control = control,
					 .msg_controllen = sizeof(control)};
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);

		for (int i = 0; i < EACH; i++)
			fds[i] = open("/dev/null", O_RDONLY);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(fds));
		memcpy(CMSG_DATA(header), fds, sizeof(fds));
		sent = sendmsg(p[0], &message, 0);
		for (int i = 0; i < EACH; i++)
			close(fds[i]);
	}
	had("descriptors in flight", n - EACH);
}

/* Descriptors in messages that nobody receives are open, but in no table. */
static void in_flight(void)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec byte = {block, 1};
	unsigned long n = 0;
	int p[2], fd;

	for (;;) {
		struct msghdr message = {.msg_iov = &byte,
					 .msg_iovlen = 1,
					 .msg_control = control,
					 .msg_controllen = sizeof(control)};
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);

		if (n % 100 == 0 && socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, p) < 0)
			break;
		fd = open("/dev/null", O_RDONLY);
		if (fd < 0)
			break;
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
		if (sendmsg(p[0], &message, 0) < 0 && errno != EAGAIN) {
			close(fd);
			break;
		}
		close(fd);
		if (++n == 100000)
			break;
	}
	had("descriptors in flight", n);
}

/* Mappings that cannot be merged. */
static void mappings(void)
{
	unsigned long n = 0;
	char *p = mmap(NULL, MANY * 4096, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		had("reserved", 0);
	while (p != MAP_FAILED && n < MANY / 2 && !mprotect(p + n * 8192, 4096, PROT_READ))
		n++;
	had("mappings", n);
}

static void far_apart(void)
{
	unsigned long n = 0;

	for (; n < MANY; n++)
		if (mmap((void *)((n + 16) << 30), 4096, PROT_READ,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
			 0) == MAP_FAILED &&
		    errno != EEXIST)
			break;
	had("mappings far apart", n);
}

static void timers(void)
{
	struct sigevent none = {.sigev_notify = SIGEV_NONE};
	unsigned long n = 0;
	timer_t timer;

	while (n < MANY && !timer_create(CLOCK_MONOTONIC, &none, &timer))
		n++;
	had("timers", n);
}

static void signals(void)
{
	sigset_t all;
	unsigned long n = 0;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	while (n < MANY && !sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 1}))
		n++;
	had("queued signals", n);
}

static void locks(void)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
	int fd = open("/tmp/locked", O_RDWR | O_CREAT, 0600);
	unsigned long n = 0;

	for (; fd >= 0 && n < 20000; n++) {
		lock.l_start = (off_t)n * 2;
		if (fcntl(fd, F_SETLK, &lock) < 0)
			break;
	}
	had("locks", n);
}

static void watches(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	unsigned long n = 0;
	int outer;

	for (; n < 100; n++) {
		outer = epoll_create1(0);
		if (outer < 0)
			break;
		for (int fd = 0; fd < outer; fd++)
			epoll_ctl(outer, EPOLL_CTL_ADD, fd, &event);
	}
	had("epolls of all", n);
}

static void flood(void)
{
	for (;;)
		if (write(STDOUT_FILENO, block, MIB) < 0 && errno != EAGAIN)
			_exit(4);
}

static void flood_errors(void)
{
	struct iovec vector[4] = {{block, 1000}, {block, 1}, {block, 70000}, {block, MIB}};

	for (;;)
		if (writev(STDERR_FILENO, vector, 4) < 0 && errno != EAGAIN)
			_exit(4);
}

static void sleeper(void)
{
	struct timespec forever = {1000000000, 0};

	for (;;)
		nanosleep(&forever, NULL);
}

static void poller(void)
{
	for (;;)
		poll(NULL, 0, -1);
}

/* All signals blocked or ignored: it is no business of the guest's when it ends. */
static void stubborn(void)
{
	sigset_t all;

	for (int i = 1; i < 65; i++)
		signal(i, SIG_IGN);
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (;;)
		;
}

static void busy_calls(void)
{
	for (;;)
		syscall(SYS_getppid);
}

static void faults_in_handler(void)
{
	for (;;)
		*(volatile int *)8 = 1;
}

static void on_segv(int number)
{
	(void)number;
}

static void endless_faults(void)
{
	struct sigaction action = {.sa_handler = on_segv, .sa_flags = SA_NODEFER};

	sigaction(SIGSEGV, &action, NULL);
	faults_in_handler();
}

static const struct {
	const char *name;
	void (*function)(void);
} attacks[] = {
	{"threads", threads},
	{"thread-bomb", thread_bomb},
	{"spinners", spinners},
	{"anonymous", anonymous},
	{"sparse", sparse},
	{"shared", shared},
	{"read-only", read_only},
	{"memory-files", memory_files},
	{"behind-ends", behind_ends},
	{"mapped-files", mapped_files},
	{"tmp", tmp},
	{"shm", shm},
	{"deep", deep},
	{"links", links},
	{"attributes", attributes},
	{"descriptors", descriptors},
	{"buffers", buffers},
	{"in-flight", in_flight},
	{"many-in-flight", many_in_flight},
	{"mappings", mappings},
	{"far-apart", far_apart},
	{"timers", timers},
	{"signals", signals},
	{"locks", locks},
	{"watches", watches},
	{"flood", flood},
	{"flood-errors", flood_errors},
	{"sleeper", sleeper},
	{"poller", poller},
	{"stubborn", stubborn},
	{"busy-calls", busy_calls},
	{"endless-faults", endless_faults},
};

int main(int argc, char **argv)
{
	const char *place = getenv("HOSTILE_IN");

	if (!place || strcmp(place, "vm") || getpid() != 1000 || getppid() != 1) {
		fprintf(stderr, "hostile: only for a VM\n");
		return 2;
	}
	memset(block, 'x', sizeof(block) - 1);
	for (size_t i = 0; argc > 1 && i < sizeof(attacks) / sizeof(attacks[0]); i++)
		if (!strcmp(attacks[i].name, argv[1])) {
			attacks[i].function();
			had("done", MANY);
			for (;;)
				pause();
		}
	fprintf(stderr, "hostile: which attack?\n");
	return 2;
}

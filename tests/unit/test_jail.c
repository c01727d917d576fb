/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine's threads may ask of the kernel. Each test is a child process whose one thread
 * enters the jail; the kernel's verdict is how the child ends.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/sanitized.h" /* jail_enter() does nothing then */
#include "jail/jail.h"

struct inmate {
	enum jail_kind kind;
	void (*act)(void);
};

static void *live(void *context)
{
	const struct inmate *inmate = context;

	if (jail_enter(inmate->kind, NULL) < 0)
		_exit(99);
	inmate->act();
	return NULL;
}

/* How a process ends whose thread does `act` there: waitpid(2)'s status. */
static int end_of(enum jail_kind kind, void (*act)(void))
{
	struct inmate inmate = {kind, act};
	pthread_t thread;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_DUMPABLE, 0);
		alarm(60);
		if (pthread_create(&thread, NULL, live, &inmate) || pthread_join(thread, NULL))
			_exit(98);
		/* The others are as free as ever. */
		_exit(open("/dev/null", O_RDONLY | O_CLOEXEC) < 0 ? 97 : 0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void assert_killed(enum jail_kind kind, void (*act)(void))
{
	int status = end_of(kind, act);

	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void assert_lives(enum jail_kind kind, void (*act)(void))
{
	assert_int_equal(end_of(kind, act), 0);
}

static void do_nothing(void)
{
}

static void open_a_file(void)
{
	(void)open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void make_a_socket(void)
{
	(void)socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void make_a_process(void)
{
	syscall(SYS_fork);
}

static void execute(void)
{
	char *const none[] = {NULL};

	execve("/bin/true", none, none);
}

static void map_code(void)
{
	(void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void make_code(void)
{
	void *page =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page != MAP_FAILED)
		mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static void signal_another_process(void)
{
	syscall(SYS_tgkill, 1, 1, 0);
}

static void make_a_vm(void)
{
	(void)ioctl(-1, KVM_CREATE_VM, 0);
}

static void change_memory_slots(void)
{
	(void)ioctl(-1, KVM_SET_USER_MEMORY_REGION, NULL);
}

/* By mappings of the allocator's. */
static void use_memory(void)
{
	void *volatile memory = malloc((size_t)1 << 20);

	if (!memory)
		_exit(96);
	free(memory);
}

/*
 * More than an allocator keeps for later. glibc's first looks in a file whether it may give memory
 * back.
 */
static void give_memory_back(void)
{
	void *parts[200];

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		parts[i] = malloc(4000);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		free(parts[i]);
}

/* Nobody is behind the descriptors: what counts is that the kernel is asked. */
static void work_as_a_cpu(void)
{
	const struct timespec none = {0, 0};
	uint64_t value = 1;
	sigset_t set;

	if (ioctl(-1, KVM_RUN, 0) == 0 || errno != EBADF || ioctl(-1, KVM_IRQ_LINE, NULL) == 0)
		_exit(96);
	(void)!write(-1, &value, sizeof(value));
	(void)!read(-1, &value, sizeof(value));
	sigemptyset(&set);
	sigaddset(&set, SIGURG);
	sigtimedwait(&set, NULL, &none);
	use_memory();
	syscall(SYS_tgkill, getpid(), (int)syscall(SYS_gettid), 0);
}

static void work_as_devices(void)
{
	if (fdatasync(-1) == 0 || fallocate(-1, 0, 0, 1) == 0)
		_exit(96);
	use_memory();
}

static void run_a_cpu(void)
{
	(void)ioctl(-1, KVM_RUN, 0);
}

static void write_a_disk(void)
{
	(void)!pwrite(-1, "", 1, 0);
}

static void threads_do_their_work_and_end(void **state)
{
	(void)state;
	assert_lives(JAIL_CPU, do_nothing);
	assert_lives(JAIL_CPU, work_as_a_cpu);
	assert_lives(JAIL_DEVICES, do_nothing);
	assert_lives(JAIL_DEVICES, work_as_devices);
}

static void threads_may_give_memory_back(void **state)
{
	(void)state;
	assert_lives(JAIL_CPU, give_memory_back);
	assert_lives(JAIL_DEVICES, give_memory_back);
}

static void set_a_limit(void)
{
	struct rlimit limit = {1 << 20, 1 << 20};

	setrlimit(RLIMIT_CORE, &limit);
}

static void anything_else_kills_the_process(void **state)
{
	static void (*const acts[])(void) = {
		open_a_file,
		make_a_socket,
		make_a_process,
		execute,
		map_code,
		make_code,
		make_a_vm,
		signal_another_process,
		change_memory_slots,
		set_a_limit,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		assert_killed(JAIL_CPU, acts[i]);
		assert_killed(JAIL_DEVICES, acts[i]);
	}
}

static void each_kind_has_its_own_work(void **state)
{
	(void)state;
	assert_killed(JAIL_CPU, write_a_disk);
	assert_killed(JAIL_DEVICES, run_a_cpu);
}

/* More than the C library makes heaps for without asking how many CPUs there are. */
#define MANY 24

static pthread_barrier_t all_have_memory;

static void *allocate_beside_others(void *unused)
{
	void *volatile memory;

	if (jail_enter(JAIL_DEVICES, NULL) < 0)
		_exit(99);
	memory = malloc(64);
	pthread_barrier_wait(&all_have_memory);
	free(memory);
	return unused;
}

static void many_threads_have_memory(void **state)
{
	pthread_t threads[MANY];
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0) {
		prctl(PR_SET_DUMPABLE, 0);
		alarm(60);
		pthread_barrier_init(&all_have_memory, NULL, MANY);
		for (size_t i = 0; i < MANY; i++)
			if (pthread_create(&threads[i], NULL, allocate_beside_others, NULL))
				_exit(98);
		for (size_t i = 0; i < MANY; i++)
			pthread_join(threads[i], NULL);
		_exit(0);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_do_their_work_and_end),
		cmocka_unit_test(threads_may_give_memory_back),
		cmocka_unit_test(anything_else_kills_the_process),
		cmocka_unit_test(each_kind_has_its_own_work),
		cmocka_unit_test(many_threads_have_memory),
	};
	const struct CMUnitTest sanitized[] = {
		cmocka_unit_test(threads_do_their_work_and_end),
	};

	if (SANITIZED)
		return cmocka_run_group_tests_name("jail", sanitized, NULL, NULL);
	return cmocka_run_group_tests_name("jail", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Signals: faults with their siginfo, alternate stacks, masks, queues, timers, restarts. */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "report.h"

static sigjmp_buf back;
static volatile sig_atomic_t seen;
static siginfo_t last;
static volatile uintptr_t last_stack;
static char alternate[65536] __attribute__((aligned(16)));

static void note(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	last = *info;
	seen = seen + 1;
}

static void leave(int number, siginfo_t *info, void *context)
{
	char here;

	note(number, info, context);
	last_stack = (uintptr_t)&here;
	siglongjmp(back, 1);
}

/* Goes on behind the instruction that faulted, of `length` bytes. */
static size_t length;
static void skip(int number, siginfo_t *info, void *context)
{
	note(number, info, context);
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += (greg_t)length;
}

static void on(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	NEED(!sigaction(number, &action, NULL));
}

int main(int argc, char **argv);

#define FAULT(what, expected_address)                                                          \
	do {                                                                                   \
		if (!sigsetjmp(back, 1)) {                                                     \
			what;                                                                  \
			printf(#what ": nothing happened\n");                                  \
		} else {                                                                       \
			printf("%s: signal %d, code %d, address %s\n", #what, last.si_signo,   \
			       last.si_code,                                                   \
			       (uintptr_t)last.si_addr == (uintptr_t)(expected_address)        \
				       ? "right"                                               \
				       : "WRONG");                                             \
		}                                                                              \
	} while (0)

static volatile int zero, sink;
static volatile char *pointer;

static void recurse(volatile char *above)
{
	volatile char frame[4096];

	frame[0] = above[0];
	if (!zero)
		recurse(frame);
	sink = frame[1];
}

static void faults(void)
{
	long page = sysconf(_SC_PAGESIZE);
	char *map = mmap(NULL, (size_t)page * 3, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	FILE *file = tmpfile();
	char *of_file;

	on(SIGSEGV, leave, 0);
	on(SIGBUS, leave, 0);
	on(SIGFPE, leave, 0);
	on(SIGILL, leave, 0);
	on(SIGTRAP, skip, 0);
	FAULT(sink = *(volatile int *)NULL, 0);
	FAULT(*(volatile int *)8 = 1, 8);
	mprotect(map, (size_t)page, PROT_READ);
	FAULT(map[5] = 1, map + 5);
	munmap(map + page, (size_t)page);
	FAULT(sink = map[page + 7], map + page + 7);
	mprotect(map + 2 * page, (size_t)page, PROT_NONE);
	FAULT(sink = map[2 * page], map + 2 * page);
	FAULT(((void (*)(void))(uintptr_t)map)(), map);
	FAULT(*(volatile char *)(uintptr_t)0x8000000000000000 = 1, 0);
	FAULT(*(char *)(uintptr_t)main = 1, main);
	NEED(file && !ftruncate(fileno(file), 100));
	of_file = mmap(NULL, (size_t)page * 2, PROT_READ, MAP_SHARED, fileno(file), 0);
	NEED(of_file != MAP_FAILED && of_file[page - 1] == 0);
	pointer = of_file + page + 3;
	FAULT(sink = *pointer, pointer);
	if (!sigsetjmp(back, 1))
		sink = 1 / zero;
	printf("division: signal %d, code %d\n", last.si_signo, last.si_code);
	if (!sigsetjmp(back, 1))
		__asm__ volatile("ud2");
	printf("ud2: signal %d, code %d\n", last.si_signo, last.si_code);
	if (!sigsetjmp(back, 1))
		__asm__ volatile("hlt");
	printf("hlt: signal %d, code %d\n", last.si_signo, last.si_code);
	if (!sigsetjmp(back, 1))
		__asm__ volatile("mov %%cr3, %%rax" : : : "rax");
	printf("mov from cr3: signal %d\n", last.si_signo);
	length = 0;
	seen = 0;
	__asm__ volatile("int3");
	printf("int3: %d, signal %d, code %d\n", seen, last.si_signo, last.si_code);
	on(SIGSEGV, skip, 0);
	length = 2; /* mov (%rax), %eax */
	__asm__ volatile("xor %%eax, %%eax\n\tmov (%%rax), %%eax" : : : "rax");
	printf("went on behind a fault\n");
}

static void alternate_stack(void)
{
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)}, old;

	REPORT(sigaltstack(&stack, NULL));
	on(SIGSEGV, leave, SA_ONSTACK);
	if (!sigsetjmp(back, 1))
		recurse("");
	printf("stack overflow: signal %d, handler on the alternate stack: %d\n", last.si_signo,
	       last_stack - (uintptr_t)alternate < sizeof(alternate));
	REPORT(sigaltstack(NULL, &old));
	CHECK(old.ss_sp == alternate && old.ss_size == sizeof(alternate));
	stack.ss_size = 100;
	REPORT(sigaltstack(&stack, NULL));
	stack.ss_flags = SS_DISABLE;
	REPORT(sigaltstack(&stack, NULL));
}

static void masks(void)
{
	sigset_t set, old, pending;
	siginfo_t info;
	struct timespec soon = {0, 20000000};

	on(SIGUSR1, note, 0);
	on(SIGRTMIN, note, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, &old);
	seen = 0;
	for (int i = 0; i < 3; i++) {
		kill(getpid(), SIGUSR1);
		sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 100 + i});
	}
	sigpending(&pending);
	printf("pending: %d %d, seen %d\n", sigismember(&pending, SIGUSR1),
	       sigismember(&pending, SIGRTMIN), seen);
	NEED(sigwaitinfo(&set, &info) == SIGUSR1);
	printf("code %d, from %s\n", info.si_code, info.si_pid == getpid() ? "me" : "others");
	NEED(sigwaitinfo(&set, &info) == SIGRTMIN);
	printf("code %d, value %d\n", info.si_code, info.si_value.sival_int);
	sigprocmask(SIG_SETMASK, &old, NULL);
	printf("seen %d, the last with %d\n", seen, last.si_value.sival_int);
	sigprocmask(SIG_BLOCK, &set, NULL);
	REPORT(sigtimedwait(&set, &info, &soon));
	sigprocmask(SIG_SETMASK, &old, NULL);
	REPORT(kill(getpid(), 65));
	REPORT(kill(getpid(), 0));
	REPORT(sigaction(SIGKILL, &(struct sigaction){.sa_handler = SIG_IGN}, NULL));
}

static volatile int interrupted;

/* Until it has been: the first signal may come before the call that it is for. */
static void *interrupt_main(void *thread)
{
	do {
		usleep(30000);
		pthread_kill(*(pthread_t *)thread, SIGUSR2);
	} while (!interrupted);
	return NULL;
}

static volatile int about_to_read;

static void *interrupt_main_twice(void *thread)
{
	while (!about_to_read)
		usleep(1000);
	usleep(30000);
	pthread_kill(*(pthread_t *)thread, SIGUSR2);
	while (!seen)
		usleep(1000);
	usleep(30000);
	pthread_kill(*(pthread_t *)thread, SIGALRM);
	return NULL;
}

/* A read that a signal interrupts fails, or goes on, as SA_RESTART says. */
static void restarts(void)
{
	const struct timespec minute = {60, 0};
	pthread_t self = pthread_self(), thread;
	int pipes[2];
	char byte;

	NEED(!pipe(pipes));
	on(SIGUSR2, note, 0);
	pthread_create(&thread, NULL, interrupt_main, &self);
	REPORT(read(pipes[0], &byte, 1));
	interrupted = 1;
	pthread_join(thread, NULL);
	on(SIGUSR2, note, SA_RESTART);
	on(SIGALRM, leave, 0);
	seen = 0;
	if (!sigsetjmp(back, 1)) {
		pthread_create(&thread, NULL, interrupt_main_twice, &self);
		about_to_read = 1;
		read(pipes[0], &byte, 1);
		printf("read returned\n");
	}
	printf("restarted, then left by signal %d after %d\n", last.si_signo, seen);
	pthread_join(thread, NULL);
	interrupted = 0;
	pthread_create(&thread, NULL, interrupt_main, &self);
	REPORT(nanosleep(&minute, NULL));
	interrupted = 1;
	pthread_join(thread, NULL);
}

static void timers(void)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1};
	struct itimerspec each = {{0, 5000000}, {0, 5000000}};
	sigset_t set;
	siginfo_t info;
	timer_t timer;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	event.sigev_value.sival_int = 42;
	REPORT(timer_create(CLOCK_MONOTONIC, &event, &timer));
	REPORT(timer_settime(timer, 0, &each, NULL));
	for (int i = 0; i < 3; i++)
		NEED(sigwaitinfo(&set, &info) == SIGRTMIN + 1);
	printf("timer: code %d, value %d\n", info.si_code, info.si_value.sival_int);
	REPORT(timer_delete(timer));
	REPORT(timer_create(12345, &event, &timer));
	on(SIGVTALRM, leave, 0);
	struct itimerval soon = {.it_value = {0, 20000}};
	if (!sigsetjmp(back, 1)) {
		setitimer(ITIMER_VIRTUAL, &soon, NULL);
		for (;;)
			;
	}
	printf("CPU time: signal %d\n", last.si_signo);
}

/* Vector registers and flags survive a handler that spoils them. */
static void spoil(int number)
{
	(void)number;
	__asm__ volatile("pcmpeqb %%xmm0, %%xmm0\n\tpcmpeqb %%xmm7, %%xmm7\n\tstd\n\tcld"
			 :
			 :
			 : "xmm0", "xmm7");
	seen = seen + 1;
}

static void state(void)
{
	double values[2] = {3.25, -1.5}, after[2];
	long result, number = SYS_kill, r12 = 0x1212, r8 = 0x88;

	signal(SIGUSR1, spoil);
	__asm__ volatile("movupd %[in], %%xmm7\n\t"
			 "mov %[r12], %%r12\n\t"
			 "mov %[r8], %%r8\n\t"
			 "syscall\n\t"
			 "movupd %%xmm7, %[out]\n\t"
			 "mov %%r12, %[r12]\n\t"
			 "mov %%r8, %[r8]\n\t"
			 : "=a"(result), [out] "=m"(after), [r12] "+m"(r12), [r8] "+m"(r8)
			 : "a"(number), "D"((long)getpid()),
			   "S"((long)SIGUSR1), [in] "m"(values)
			 : "rcx", "r11", "r12", "r8", "xmm7", "memory");
	printf("state: %ld, %g %g, %lx %lx\n", result, after[0], after[1], r12, r8);
}

int main(int argc, char **argv)
{
	faults();
	alternate_stack();
	masks();
	restarts();
	timers();
	state();
	fflush(stdout);
	if (argc > 1)
		kill(getpid(), atoi(argv[1]));
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access that is not allowed: what a handler is told, what it can repair, and what system calls
 * make of such memory.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "report.h"

#define PAGE 4096UL
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static sigjmp_buf back;
static volatile sig_atomic_t last_signal, last_code;
static char *volatile last_address;
static char *base;

static void jump_back(int signal, siginfo_t *info, void *context)
{
	(void)context;
	last_signal = signal;
	last_code = info->si_code;
	last_address = info->si_addr;
	siglongjmp(back, 1);
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	NEED(!sigaction(signal, &action, NULL));
}

static void tell(const char *what)
{
	const char *code = "other";

	if (last_signal == SIGSEGV)
		code = last_code == SEGV_MAPERR	  ? "MAPERR"
		       : last_code == SEGV_ACCERR ? "ACCERR"
						  : "other";
	else if (last_signal == SIGBUS)
		code = last_code == BUS_ADRERR ? "ADRERR" : "other";
	printf("%s: %s %s at %ld\n", what,
	       last_signal == SIGSEGV  ? "SIGSEGV"
	       : last_signal == SIGBUS ? "SIGBUS"
				       : "?",
	       code, last_address ? (long)(last_address - base) : -1L);
}

#define FAULTS(what, access)                                                                   \
	do {                                                                                   \
		if (!sigsetjmp(back, 1)) {                                                     \
			access;                                                                \
			printf("%s: no fault\n", what);                                        \
		} else {                                                                       \
			tell(what);                                                            \
		}                                                                              \
	} while (0)

static void kinds(void)
{
	volatile char *p;
	int fd;

	base = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);
	NEED(base != MAP_FAILED);
	p = base;
	NEED(!mprotect(base + PAGE, PAGE, PROT_NONE));
	NEED(!mprotect(base + 2 * PAGE, PAGE, PROT_READ));
	NEED(!munmap(base + 3 * PAGE, PAGE));
	FAULTS("read of nothing", (void)p[PAGE + 5]);
	FAULTS("write to nothing", p[PAGE + 6] = 1);
	FAULTS("write to read-only", p[2 * PAGE + 7] = 1);
	FAULTS("read of read-only", (void)p[2 * PAGE]);
	FAULTS("read of a hole", (void)p[3 * PAGE + 8]);
	FAULTS("write to a hole", p[3 * PAGE + 9] = 1);
	FAULTS("across a page's end", *(volatile uint64_t *)(uintptr_t)(p + PAGE - 4) = 1);
	FAULTS("execution of data", ((void (*)(void))(uintptr_t)(p + 4 * PAGE))());
	base = NULL;
	FAULTS("address zero", *(volatile char *)8 = 1);
	FAULTS("no address at all", *(volatile char *)0x8000000000000000 = 1);
	base = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);
	NEED(base != MAP_FAILED);

	fd = open("short", O_RDWR | O_CREAT | O_TRUNC, 0644);
	NEED(fd >= 0 && !ftruncate(fd, 100));
	base = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	NEED(base != MAP_FAILED);
	p = base;
	FAULTS("within a file's last page", p[PAGE - 1] = 1);
	FAULTS("behind a file's end", p[PAGE + 1] = 1);
	FAULTS("read behind a file's end", (void)p[2 * PAGE]);
	NEED(!ftruncate(fd, 3 * PAGE));
	FAULTS("after it grew", p[2 * PAGE] = 1);
	NEED(!ftruncate(fd, PAGE));
	FAULTS("after it shrank", (void)p[2 * PAGE]);
	NEED(!munmap(base, 3 * PAGE));
	base = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	NEED(base != MAP_FAILED);
	p = base;
	FAULTS("private, within", p[10] = 1);
	FAULTS("private, behind the end", p[PAGE + 10] = 1);
	close(fd);
	unlink("short");
}

/* System calls see the same memory, and give an error instead. */
static void system_calls(void)
{
	struct iovec iov[2];
	int pipes[2], zero = open("/dev/zero", O_RDONLY);
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, ANON, -1, 0);

	NEED(zero >= 0 && p != MAP_FAILED && !pipe(pipes));
	NEED(!mprotect(p + PAGE, PAGE, PROT_NONE) && !mprotect(p + 2 * PAGE, PAGE, PROT_READ));
	REPORT(write(pipes[1], p + PAGE, 10));
	REPORT(write(pipes[1], p + PAGE - 10, 20));
	REPORT(write(pipes[1], p + 2 * PAGE, 10));
	REPORT(read(pipes[0], p, 5));
	REPORT(read(pipes[0], p + 2 * PAGE, 5));
	REPORT(read(pipes[0], p + PAGE, 5));
	REPORT(read(zero, p + 2 * PAGE, 10));
	REPORT(read(zero, p + PAGE - 10, 20));
	REPORT(open(p + PAGE, O_RDONLY));
	memset(p, 'x', PAGE);
	REPORT(open(p + PAGE - 10, O_RDONLY));
	iov[0] = (struct iovec){p, 4};
	iov[1] = (struct iovec){p + PAGE, 4};
	REPORT(writev(pipes[1], iov, 2));
	REPORT(readv(zero, (struct iovec *)(uintptr_t)(p + PAGE), 2));
	REPORT(munmap(p, 4 * PAGE));
	REPORT(write(pipes[1], p, 1));
	close(zero);
	close(pipes[0]);
	close(pipes[1]);
}

/* A handler that repairs what was wrong; then the access is made again. */
static volatile int repaired;

static void repair(int signal, siginfo_t *info, void *context)
{
	char *page = (char *)((uintptr_t)info->si_addr & ~(PAGE - 1));

	(void)signal;
	(void)context;
	repaired++;
	if (mprotect(page, PAGE, PROT_READ | PROT_WRITE))
		_exit(98);
}

static void demand_paging(void)
{
	char *p = mmap(NULL, 512 * PAGE, PROT_NONE, ANON, -1, 0);
	size_t sum = 0;

	NEED(p != MAP_FAILED);
	handle(SIGSEGV, repair, 0);
	for (size_t i = 0; i < 512; i++)
		p[(i * 37 % 512) * PAGE + i] = 1;
	for (size_t i = 0; i < 512; i++)
		sum += (size_t)p[(i * 37 % 512) * PAGE + i];
	printf("paged in: %d, sum %zu\n", repaired, sum);
	repaired = 0;
	for (int round = 0; round < 200; round++) {
		NEED(!mprotect(p, 2 * PAGE, PROT_READ));
		p[0]++;
		p[PAGE]++;
	}
	printf("write barriers: %d, counted %d %d\n", repaired, (unsigned char)p[0],
	       (unsigned char)p[PAGE]);
	handle(SIGSEGV, jump_back, 0);
	munmap(p, 512 * PAGE);
}

/* --- The stack ---------------------------------------------------------------------------- */

static volatile int depth;

static __attribute__((noinline)) int overflow(int n)
{
	volatile char frame[1024];

	frame[0] = (char)n;
	depth = n;
	return n < 1 << 30 ? overflow(n + 1) + frame[0] : 0;
}

static void stack_overflow(void)
{
	static char alternate[64 << 10];
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};

	NEED(!sigaltstack(&stack, NULL));
	handle(SIGSEGV, jump_back, SA_ONSTACK);
	for (int i = 0; i < 3; i++) {
		if (!sigsetjmp(back, 1))
			overflow(0);
		CHECK(last_signal == SIGSEGV && depth > 2000);
	}
	handle(SIGSEGV, jump_back, 0);
}

static void many_faults(void)
{
	volatile char *p = mmap(NULL, PAGE, PROT_NONE, ANON, -1, 0);
	volatile int count = 0;

	for (volatile int i = 0; i < 2000; i++) {
		if (!sigsetjmp(back, 1))
			p[i] = 1;
		else
			count += last_address == p + i;
	}
	printf("faults: %d\n", count);
}

int main(void)
{
	handle(SIGSEGV, jump_back, 0);
	handle(SIGBUS, jump_back, 0);
	kinds();
	system_calls();
	demand_paging();
	stack_overflow();
	many_faults();
	return 0;
}

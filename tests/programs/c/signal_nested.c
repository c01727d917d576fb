/* SPDX-License-Identifier: Apache-2.0 */
/* Handlers in handlers, their flags, masks and stacks; what they may change of where they return. */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "report.h"

static volatile int depth, deepest, calls;
static char stack_memory[65536] __attribute__((aligned(16)));

static void on(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	NEED(!sigaction(number, &action, NULL));
}

static void descend(int number, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	calls++;
	if (++depth > deepest)
		deepest = depth;
	if (calls < 10)
		raise(number);
	depth--;
}

/* With SA_NODEFER at once, without it after the handler. */
static void nesting(void)
{
	on(SIGUSR1, descend, SA_NODEFER);
	raise(SIGUSR1);
	printf("nodefer: %d calls, %d deep\n", calls, deepest);
	calls = deepest = 0;
	on(SIGUSR1, descend, 0);
	raise(SIGUSR1);
	printf("deferred: %d calls, %d deep\n", calls, deepest);
}

static int order[16], count;

static void note(int number, siginfo_t *info, void *context)
{
	sigset_t now;

	(void)info;
	(void)context;
	sigprocmask(SIG_BLOCK, NULL, &now);
	order[count++] =
		number * 10 + sigismember(&now, SIGUSR2) * 2 + sigismember(&now, SIGUSR1);
}

static void print_order(const char *what)
{
	printf("%s:", what);
	for (int i = 0; i < count; i++)
		printf(" %d", order[i]);
	printf("\n");
	count = 0;
}

/* Several that wait are taken by number, each handler in the one before it, so it seems. */
static void several(void)
{
	struct sigaction action = {.sa_sigaction = note, .sa_flags = SA_SIGINFO};
	sigset_t all, old;

	on(SIGUSR1, note, 0);
	on(SIGHUP, note, 0);
	on(SIGTERM, note, 0);
	on(SIGRTMIN + 3, note, 0);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	raise(SIGTERM);
	raise(SIGRTMIN + 3);
	raise(SIGRTMIN + 3);
	raise(SIGUSR1);
	raise(SIGHUP);
	raise(SIGHUP);
	sigprocmask(SIG_SETMASK, &old, NULL);
	print_order("several");
	sigaddset(&action.sa_mask, SIGUSR2);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
	print_order("with a mask");
}

static void flags(void)
{
	struct sigaction action;

	on(SIGUSR1, note, SA_RESETHAND);
	raise(SIGUSR1);
	sigaction(SIGUSR1, NULL, &action);
	CHECK(action.sa_handler == SIG_DFL);
	count = 0;
	signal(SIGUSR1, SIG_IGN);
	raise(SIGUSR1);
	signal(SIGCHLD, SIG_DFL);
	raise(SIGCHLD);
	raise(SIGURG);
	raise(SIGWINCH);
	raise(SIGCONT);
	printf("ignored\n");
}

static void *volatile where;

static void look_at_stack(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	stack_t now;
	char here;

	(void)number;
	(void)info;
	where = &here;
	sigaltstack(NULL, &now);
	printf("in the handler: flags %d, context's %d, size right %d\n", now.ss_flags,
	       uc->uc_stack.ss_flags, uc->uc_stack.ss_size == sizeof(stack_memory));
	REPORT(sigaltstack(&now, NULL));
}

static void stacks(void)
{
	stack_t stack = {.ss_sp = stack_memory, .ss_size = sizeof(stack_memory)}, now;

	NEED(!sigaltstack(&stack, NULL));
	on(SIGUSR1, look_at_stack, SA_ONSTACK);
	raise(SIGUSR1);
	CHECK((char *)where >= stack_memory &&
	      (char *)where < stack_memory + sizeof(stack_memory));
	on(SIGUSR1, look_at_stack, 0);
	raise(SIGUSR1);
	CHECK((char *)where < stack_memory ||
	      (char *)where >= stack_memory + sizeof(stack_memory));
	stack.ss_flags = (int)(1u << 31); /* SS_AUTODISARM */
	NEED(!sigaltstack(&stack, NULL));
	on(SIGUSR1, look_at_stack, SA_ONSTACK);
	raise(SIGUSR1);
	sigaltstack(NULL, &now);
	printf("autodisarm: afterwards %x, size right %d\n", (unsigned)now.ss_flags,
	       now.ss_size == sizeof(stack_memory));
}

/* The red zone below the stack pointer is the interrupted function's. */
static void red_zone(void)
{
	long result, kept;

	on(SIGUSR1, descend, 0);
	calls = 10;
	__asm__ volatile("movq $0x1234, -128(%%rsp)\n\t"
			 "syscall\n\t"
			 "movq -128(%%rsp), %1"
			 : "=a"(result), "=r"(kept)
			 : "0"((long)SYS_kill), "D"((long)getpid()), "S"((long)SIGUSR1)
			 : "rcx", "r11", "memory");
	printf("red zone: %ld %lx\n", result, kept);
}

static void set_registers(int number, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)number;
	(void)info;
	r[REG_RAX] = 0x1111;
	r[REG_R13] = 0x2222;
	r[REG_EFL] |= 1 | 0x400;
	r[REG_EFL] |= 0x3000; /* IOPL, which is not to be had */
}

static void registers(void)
{
	long rax, r13, fl;

	on(SIGUSR1, set_registers, 0);
	__asm__ volatile("xor %%r13, %%r13\n\t"
			 "syscall\n\t"
			 "pushfq\n\tpop %2\n\tcld\n\t"
			 "mov %%r13, %1"
			 : "=a"(rax), "=&r"(r13), "=&r"(fl)
			 : "0"((long)SYS_kill), "D"((long)getpid()), "S"((long)SIGUSR1)
			 : "rcx", "r11", "r13", "memory");
	printf("registers: %lx %lx, flags %lx\n", rax, r13, fl & 0x3401);
}

/* Values of rax that mean something to the kernel only in calls that were interrupted. */
static volatile int ticks;
static void tick(int number)
{
	(void)number;
	ticks++;
}

static void no_restart(void)
{
	long values[] = {-512, -513, -514, -516, -4};

	signal(SIGTRAP, tick);
	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		long rax = values[i];

		__asm__ volatile("int3" : "+a"(rax) : : "memory");
		printf("%ld stays %ld\n", values[i], rax);
	}
	printf("ticks %d\n", ticks);
}

static sigjmp_buf back;

static void leave(int number, siginfo_t *info, void *context)
{
	(void)context;
	printf("signal %d, code %d\n", number, info->si_code);
	siglongjmp(back, 1);
}

/* Frames that nobody can return to: a SIGSEGV, which can be handled. */
static void bad_returns(void)
{
	stack_t stack = {.ss_sp = stack_memory, .ss_size = sizeof(stack_memory)};
	static uint64_t frame[200];

	NEED(!sigaltstack(&stack, NULL));
	on(SIGSEGV, leave, SA_ONSTACK);
	frame[21] = ~(uint64_t)0; /* rip, no address at all; flags and mask are zero */
	if (!sigsetjmp(back, 1))
		__asm__ volatile("mov %0, %%rsp\n\tmov $15, %%eax\n\tsyscall"
				 :
				 : "r"(frame)
				 : "memory");
	if (!sigsetjmp(back, 1))
		__asm__ volatile("mov $64, %%esp\n\tmov $15, %%eax\n\tsyscall" : : : "memory");
	printf("came back from both\n");
}

int main(void)
{
	nesting();
	several();
	flags();
	stacks();
	red_zone();
	registers();
	no_restart();
	bad_returns();
	return 0;
}

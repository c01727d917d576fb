/* SPDX-License-Identifier: Apache-2.0 */
/* Stack pointers, signal frames, code and handlers where they should not be. */
#include <ucontext.h>

#include "wrong.h"

#define PLACE 0x10000000
#define HOLE (PLACE + 4096)
#define LAST_PAGE 0x7fffffffe000 /* of user addresses */

static const uint64_t wild[] = {
	0,
	8,
	0x1000,
	0x10000,
	0x14000,
	HOLE,
	HOLE - 8,
	0x7ffffffff000,
	0x7fffffffeff8,
	0x800000000000,
	0x8000000000000000,
	0xffff800000000000,
	0xfffffffffffffff8,
};

/* --- Stack pointers --------------------------------------------------------------------------- */

static void push_at(uint64_t sp)
{
	SHOW(__asm__ volatile(
		"mov %%rsp, %%rbx; mov %0, %%rsp; push %%rax; mov %%rbx, %%rsp" ::"r"(sp)
		: "rbx", "memory"));
}

static void pushes(void)
{
	static size_t i;

	pages_at(PLACE, 1, PROT_READ);
	for (i = 0; i < COUNT(wild); i++)
		push_at(wild[i]);
}

static void calls_on_wild_stacks(void)
{
	for (size_t i = 0; i < COUNT(wild); i++) {
		long result = SYS_getppid;

		__asm__ volatile("mov %%rsp, %%rbx; mov %1, %%rsp; syscall; mov %%rbx, %%rsp"
				 : "+a"(result)
				 : "r"(wild[i])
				 : "rbx", "rcx", "r11", "memory");
		printf("0x%lx: %s\n", wild[i], result > 0 ? "works" : "fails");
	}
}

/* A handler without a stack to run on: SIGSEGV kills, whoever handles it. */
static void fault_without_a_stack(void)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};

	sigaction(SIGSEGV, &action, NULL);
	__asm__ volatile("mov %0, %%rsp; push %%rax" ::"r"(8L) : "memory");
}

static void signal_without_a_stack(void)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
	long result = SYS_kill;

	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	__asm__ volatile("mov %1, %%rsp; syscall"
			 : "+a"(result)
			 : "r"(0x8000000000000000), "D"((long)getpid()), "S"((long)SIGUSR1)
			 : "rcx", "r11", "memory");
}

static void stack_at_the_end_of_memory(void)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
	long result = SYS_kill;

	pages_at(PLACE, 1, PROT_READ | PROT_WRITE);
	sigaction(SIGUSR1, &action, NULL);
	/* The frame is larger than what is left. */
	__asm__ volatile("mov %1, %%rsp; syscall"
			 : "+a"(result)
			 : "r"(PLACE + 200L), "D"((long)getpid()), "S"((long)SIGUSR1)
			 : "rcx", "r11", "memory");
}

/* --- Alternate stacks ------------------------------------------------------------------------- */

static void stack_calls(void)
{
	stack_t s = {.ss_sp = (void *)PLACE, .ss_size = 100};
	uint64_t size = 65536;

	CALL(sigaltstack(&s, NULL));
	s.ss_size = size;
	s.ss_flags = 77;
	CALL(sigaltstack(&s, NULL));
	s.ss_flags = SS_ONSTACK;
	CALL(sigaltstack(&s, NULL));
	s.ss_flags = 0;
	s.ss_sp = (void *)0xffff800000000000;
	CALL(sigaltstack(&s, NULL));
	s.ss_sp = (void *)UINT64_MAX;
	CALL(sigaltstack(&s, NULL));
	s.ss_size = SIZE_MAX;
	CALL(sigaltstack(&s, NULL));
	s.ss_flags = SS_DISABLE;
	CALL(sigaltstack(&s, NULL));
	CALL(sigaltstack((stack_t *)HOLE, NULL));
	CALL(sigaltstack(NULL, (stack_t *)HOLE));
}

static void use_alternate(void *sp, size_t size)
{
	stack_t s = {.ss_sp = sp, .ss_size = size};
	struct sigaction action = {.sa_sigaction = on_trap,
				   .sa_flags = SA_SIGINFO | SA_ONSTACK};

	CALL(sigaltstack(&s, NULL));
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	raise(SIGUSR1);
	printf("not reached\n");
}

static void alternate_nowhere(void)
{
	use_alternate((void *)0x20000000, 65536);
}

static void alternate_in_the_kernel(void)
{
	use_alternate((void *)0xffff800000000000, 65536);
}

static void alternate_read_only(void)
{
	use_alternate(pages_at(PLACE, 16, PROT_READ), 65536);
}

static void alternate_too_small_for_the_frame(void)
{
	/* The most that sigaltstack(2) takes and no frame fits in, whatever the vector state. */
	char *p = pages_at(PLACE, 4, PROT_READ | PROT_WRITE);

	NEED(!munmap(p + 4096, 4096));
	use_alternate(p + 4096, 8192);
}

/* --- Handlers --------------------------------------------------------------------------------- */

static void raise_to(void *where)
{
	struct sigaction action = {.sa_handler = (void (*)(int))where};

	NEED(!sigaction(SIGUSR1, &action, NULL));
	raise(SIGUSR1);
}

static void handler_at(void *where)
{
	SHOW(raise_to(where));
}

static void handler_nowhere(void)
{
	handler_at((void *)0x20000000);
}

static void handler_in_the_kernel(void)
{
	SHOW_ANY(raise_to((void *)0xffffffff81000000));
}

static void handler_not_canonical(void)
{
	SHOW_ANY(raise_to((void *)0x8000000000000000));
}

static void handler_at_the_end(void)
{
	SHOW_ANY(raise_to((void *)0x7ffffffff000));
}

static void handler_in_data(void)
{
	handler_at(pages_at(PLACE, 1, PROT_READ | PROT_WRITE));
}

/* The kernel's structure: C libraries set a restorer of their own. */
struct kernel_action {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};

static void nothing(int number)
{
	(void)number;
}

static void restorer_at(uint64_t where)
{
	struct kernel_action action = {(void *)nothing, 0x04000000, (void *)where, 0};

	catch_traps();
	NEED(!syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 8));
	if (TRAPS(raise(SIGUSR1)))
		print_trap();
}

static void restorer_nowhere(void)
{
	restorer_at(0x20000000);
	restorer_at(0xffffffff81000000);
}

static void on_fault_fault(int number)
{
	*(volatile int *)(uint64_t)(number + 1) = 1;
}

static void faults_in_faults(void)
{
	struct sigaction action = {.sa_handler = on_fault_fault, .sa_flags = SA_NODEFER};

	/* Until the stack is full. */
	sigaction(SIGSEGV, &action, NULL);
	*(volatile int *)8 = 1;
}

/* --- rt_sigreturn ----------------------------------------------------------------------------- */

static void (*spoil)(ucontext_t *);

static void on_user(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	spoil(context);
}

/* The handler changes its frame; then it is returned from. */
static void raise_with(void (*how)(ucontext_t *))
{
	struct sigaction action = {.sa_sigaction = on_user, .sa_flags = SA_SIGINFO};

	spoil = how;
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
}

static void frame(void (*how)(ucontext_t *))
{
	SHOW(raise_with(how));
}

#define SPOIL(name, ...)                                                                       \
	static void spoil_##name(ucontext_t *uc)                                               \
	{                                                                                      \
		__VA_ARGS__;                                                                   \
	}                                                                                      \
	static void frame_##name(void)                                                         \
	{                                                                                      \
		frame(spoil_##name);                                                           \
	}

#define REG(n) uc->uc_mcontext.gregs[n]
SPOIL(rip_null, REG(REG_RIP) = 0)
SPOIL(rip_in_data, REG(REG_RIP) = (long long)&spoil)
SPOIL(all_flags, REG(REG_EFL) = (long long)0xfffffffffffffeff)
SPOIL(no_flags, REG(REG_EFL) = 0)
SPOIL(step, REG(REG_EFL) |= 0x100)
SPOIL(no_vectors, uc->uc_mcontext.fpregs = NULL)
SPOIL(vectors_nowhere, uc->uc_mcontext.fpregs = (void *)0x20000000)
SPOIL(vectors_in_the_kernel, uc->uc_mcontext.fpregs = (void *)0xffff800000000000)
SPOIL(no_features, memset((char *)uc->uc_mcontext.fpregs + 464, 0, 48))
SPOIL(all_components, memset((char *)uc->uc_mcontext.fpregs + 512, 0xff, 8))
SPOIL(compacted, *((uint64_t *)(void *)uc->uc_mcontext.fpregs + 65) = (uint64_t)1 << 63)
SPOIL(reserved, *((uint64_t *)(void *)uc->uc_mcontext.fpregs + 66) = 1)
SPOIL(old_stack, memset(&uc->uc_stack, 0xff, sizeof(uc->uc_stack)))
SPOIL(all_signals_blocked, memset(&uc->uc_sigmask, 0xff, 8))
SPOIL(wild_link, uc->uc_link = (void *)0xffff800000000000)
SPOIL(wild_size, *(uint32_t *)((char *)uc->uc_mcontext.fpregs + 480) = UINT32_MAX)

/* Who refuses these registers, and where it is said to be, differs. */
static void spoil_rip_in_the_kernel(ucontext_t *uc)
{
	REG(REG_RIP) = (long long)0xffffffff81000000;
}

static void frame_rip_in_the_kernel(void)
{
	SHOW_ANY(raise_with(spoil_rip_in_the_kernel));
}

static void spoil_rip_not_canonical(ucontext_t *uc)
{
	REG(REG_RIP) = (long long)0x8000000000000000;
}

static void frame_rip_not_canonical(void)
{
	SHOW_ANY(raise_with(spoil_rip_not_canonical));
}

static void spoil_segments(ucontext_t *uc)
{
	REG(REG_CSGSFS) = -1;
}

/* Segment registers are the VM's business: the frame's are not taken. */
static void frame_segments(void)
{
	SURVIVE(raise_with(spoil_segments));
}

static void spoil_mxcsr(ucontext_t *uc)
{
	uc->uc_mcontext.fpregs->mxcsr = UINT32_MAX;
}

static void frame_mxcsr(void)
{
	SURVIVE(raise_with(spoil_mxcsr));
}

static void sigreturn_from_nowhere(void)
{
	for (size_t i = 0; i < COUNT(wild); i++)
		SHOW_ANY(({
			long result = SYS_rt_sigreturn;

			__asm__ volatile("mov %1, %%rsp; syscall"
					 : "+a"(result)
					 : "r"(wild[i])
					 : "rcx", "r11", "memory");
		}));
}

/* Each word of a frame of zeros, ones, or addresses, taken as it is. */
static void sigreturn_from_garbage(void)
{
	static uint64_t garbage[600];
	static int round;

	for (round = 0; round < 64; round++) {
		for (size_t i = 0; i < COUNT(garbage); i++)
			garbage[i] = (uint64_t)(round + 1) * 0x9e3779b97f4a7c15 * (i + 1) >>
				     (round % 4 ? 17 * (i % 3) : 0);
		if (round % 2)
			garbage[5 + 23] = 0; /* no vector state, so that registers are taken */
		garbage[37] = 0;	     /* no signal is blocked */
		SURVIVE(({
			long result = SYS_rt_sigreturn;

			__asm__ volatile("mov %1, %%rsp; syscall"
					 : "+a"(result)
					 : "r"(garbage)
					 : "rcx", "r11", "memory");
		}));
	}
}

/* --- Code ------------------------------------------------------------------------------------- */

static void jump(uint64_t va)
{
	__asm__ volatile("jmp *%0" ::"r"(va) : "memory");
}

static void jumps(void)
{
	static const uint64_t places[] = {
		0, 8, 0x20000000, 0x7ffffffff000, 0xffff800000000000, 0xffffffff81000000,
	};
	static size_t i;

	for (i = 0; i < COUNT(places); i++)
		SHOW(jump(places[i]));
}

static void jumps_not_canonical(void)
{
	SHOW_ANY(jump(0x800000000000));
	SHOW_ANY(jump(0x8000000000000000));
}

/* What the host has in the first 2 MiB, byte by byte; it may end the program for it. */
static void jumps_into_the_hosts_pages(void)
{
	static uint64_t zeros[1024], va;

	/* What it takes from the stack, or calls by chance, gets zeros. */
	for (va = 0x10000; va < 0x10100; va++)
		SURVIVE(__asm__ volatile(
			"mov %1, %%rsp; mov $39, %%eax; xor %%edi, %%edi; xor %%esi, %%esi; "
			"xor %%edx, %%edx; jmp *%0" ::"b"(va),
			"c"(zeros + 512)
			: "rax", "rdi", "rsi", "rdx", "r11", "memory"));
}

static void host_pages(void)
{
	static const uint64_t places[] = {0x10000, 0x14000,  0x1e000,
					  0x20000, 0x100000, 0x1ff000};
	static size_t i;

	for (i = 0; i < COUNT(places); i++) {
		void *p = (void *)places[i];

		SHOW(*(volatile int *)places[i] = 1);
		CALL(syscall(SYS_getrandom, p, 8, 0));
		CALL(syscall(SYS_write, 1, p, 8));
		CALL(mprotect(p, 4096, PROT_READ | PROT_WRITE));
		CALL(munmap(p, 4096));
		CALL((long)mmap(p, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
				0));
		CALL((long)mremap(p, 4096, 8192, MREMAP_MAYMOVE));
		CALL(madvise(p, 4096, MADV_DONTNEED));
		CALL(syscall(SYS_futex, p, 0x81, 1));
	}
}

#define OF_HOST_PAGES(place)                                                                   \
	"SIGSEGV, code 1, at " place "\n"                                                      \
	"syscall(SYS_getrandom, p, 8, 0): EFAULT\n"                                            \
	"syscall(SYS_write, 1, p, 8): EFAULT\n"                                                \
	"mprotect(p, 4096, PROT_READ | PROT_WRITE): ENOMEM\n"                                  \
	"munmap(p, 4096): 0\n"                                                                 \
	"(long)mmap(p, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0): "     \
	"EPERM\n"                                                                              \
	"(long)mremap(p, 4096, 8192, MREMAP_MAYMOVE): EFAULT\n"                                \
	"madvise(p, 4096, MADV_DONTNEED): ENOMEM\n"                                            \
	"syscall(SYS_futex, p, 0x81, 1): 0\n"

static void put_syscall(char *at)
{
	at[0] = 0x0f;
	at[1] = 0x05;
}

static void run_from(char *at, long number)
{
	__asm__ volatile("jmp *%1" ::"a"(number), "r"(at) : "rcx", "r11", "memory");
}

static void syscall_before_a_hole(void)
{
	char *p = pages_at(PLACE, 1, PROT_READ | PROT_WRITE | PROT_EXEC);

	put_syscall(p + 4094);
	SHOW(run_from(p + 4094, SYS_getppid));
}

static void instruction_into_a_hole(void)
{
	char *p = pages_at(PLACE, 1, PROT_READ | PROT_WRITE | PROT_EXEC);

	p[4095] = 0x0f;
	SHOW(run_from(p + 4095, SYS_getppid));
}

static void syscall_at_the_end_of_memory(void)
{
	char *p = pages_at(LAST_PAGE, 1, PROT_READ | PROT_WRITE | PROT_EXEC);

	put_syscall(p + 4094);
	SHOW(run_from(p + 4094, SYS_getppid));
}

static void syscall_that_unmaps_itself(void)
{
	char *p = pages_at(PLACE, 1, PROT_READ | PROT_WRITE | PROT_EXEC);

	put_syscall(p);
	SHOW(__asm__ volatile("jmp *%1" ::"a"((long)SYS_munmap), "r"(p), "D"(p), "S"(4096L)
			      : "rcx", "r11", "memory"));
}

static void syscall_that_makes_itself_data(void)
{
	char *p = pages_at(PLACE, 1, PROT_READ | PROT_WRITE | PROT_EXEC);

	put_syscall(p);
	/* Which signal depends on what else of it is executed. */
	SHOW_ANY(__asm__ volatile("jmp *%1" ::"a"((long)SYS_mprotect), "r"(p), "D"(p),
				  "S"(4096L), "d"((long)(PROT_READ | PROT_WRITE))
				  : "rcx", "r11", "memory"));
}

static const struct test tests[] = {
	{"pushes", pushes, NULL},
	{"calls-on-wild-stacks", calls_on_wild_stacks, NULL},
	{"fault-without-a-stack", fault_without_a_stack, NULL},
	{"signal-without-a-stack", signal_without_a_stack, NULL},
	{"stack-at-the-end-of-memory", stack_at_the_end_of_memory, NULL},
	{"stack-calls", stack_calls, NULL},
	{"alternate-nowhere", alternate_nowhere, NULL},
	{"alternate-in-the-kernel", alternate_in_the_kernel, NULL},
	{"alternate-read-only", alternate_read_only, NULL},
	{"alternate-too-small-for-the-frame", alternate_too_small_for_the_frame, NULL},
	{"handler-nowhere", handler_nowhere, NULL},
	{"handler-in-the-kernel", handler_in_the_kernel, NULL},
	{"handler-not-canonical", handler_not_canonical, NULL},
	{"handler-at-the-end", handler_at_the_end, NULL},
	{"handler-in-data", handler_in_data, NULL},
	{"restorer-nowhere", restorer_nowhere, NULL},
	{"faults-in-faults", faults_in_faults, NULL},
	{"frame-rip-null", frame_rip_null, NULL},
	{"frame-rip-in-the-kernel", frame_rip_in_the_kernel, NULL},
	{"frame-rip-in-data", frame_rip_in_data, NULL},
	{"frame-rip-not-canonical", frame_rip_not_canonical, NULL},
	{"frame-all-flags", frame_all_flags, NULL},
	{"frame-no-flags", frame_no_flags, NULL},
	{"frame-step", frame_step, NULL},
	{"frame-no-vectors", frame_no_vectors, NULL},
	{"frame-vectors-nowhere", frame_vectors_nowhere, NULL},
	{"frame-vectors-in-the-kernel", frame_vectors_in_the_kernel, NULL},
	{"frame-no-features", frame_no_features, NULL},
	{"frame-all-components", frame_all_components, NULL},
	{"frame-compacted", frame_compacted, NULL},
	{"frame-reserved", frame_reserved, NULL},
	{"frame-old-stack", frame_old_stack, NULL},
	{"frame-all-signals-blocked", frame_all_signals_blocked, NULL},
	{"frame-wild-link", frame_wild_link, NULL},
	{"frame-wild-size", frame_wild_size, NULL},
	{"frame-segments", frame_segments, NULL},
	{"frame-mxcsr", frame_mxcsr, NULL},
	{"sigreturn-from-nowhere", sigreturn_from_nowhere, NULL},
	{"sigreturn-from-garbage", sigreturn_from_garbage, NULL},
	{"jumps", jumps, NULL},
	{"jumps-not-canonical", jumps_not_canonical, NULL},
	{"jumps-into-the-hosts-pages", jumps_into_the_hosts_pages, ANY},
	{"host-pages", host_pages,
	 OF_HOST_PAGES("0x10000") OF_HOST_PAGES("0x14000") OF_HOST_PAGES("0x1e000")
		 OF_HOST_PAGES("0x20000") OF_HOST_PAGES("0x100000") OF_HOST_PAGES("0x1ff000")},
	{"syscall-before-a-hole", syscall_before_a_hole, NULL},
	{"instruction-into-a-hole", instruction_into_a_hole, NULL},
	{"syscall-at-the-end-of-memory", syscall_at_the_end_of_memory, NULL},
	{"syscall-that-unmaps-itself", syscall_that_unmaps_itself, NULL},
	{"syscall-that-makes-itself-data", syscall_that_makes_itself_data, NULL},
};

MAIN(tests)

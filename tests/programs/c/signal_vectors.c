/* SPDX-License-Identifier: Apache-2.0 */
/* x87, SSE and AVX state across handlers, and the image of it that a handler finds. */
#include <immintrin.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "report.h"

static volatile int avx, control_in_handler, mxcsr_in_handler, clean;

static void on(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	NEED(!sigaction(number, &action, NULL));
}

__attribute__((target("avx"))) static void fill_avx(int value)
{
	__m256i v = _mm256_set1_epi32(value);

	__asm__ volatile("vmovdqa %0, %%ymm6\n\tvmovdqa %0, %%ymm15"
			 :
			 : "x"(v)
			 : "xmm6", "xmm15");
}

static uint32_t magic(const ucontext_t *uc, int offset)
{
	uint32_t value;

	memcpy(&value, (const char *)uc->uc_mcontext.fpregs + offset, 4);
	return value;
}

/* Handlers begin with a fresh state; they may spoil it. */
static void spoil(int number, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;
	uint16_t control;
	uint64_t xmm[2];

	(void)number;
	(void)info;
	__asm__ volatile("fnstcw %0" : "=m"(control));
	__asm__ volatile("movups %%xmm6, %0" : "=m"(xmm));
	control_in_handler = control;
	mxcsr_in_handler = (int)_mm_getcsr();
	clean = !xmm[0] && !xmm[1];
	__asm__ volatile("fninit\n\tfldpi\n\tfldpi");
	_mm_setcsr(0x1f80 | 0x6000);
	__asm__ volatile("pcmpeqb %%xmm6, %%xmm6" : : : "xmm6");
	if (avx)
		fill_avx(0x55555555);
	/* What libraries that unwind rely on (asm/sigcontext.h). */
	printf("image: magic %x, behind it %x, aligned %d, flags %lx\n", magic(uc, 464),
	       magic(uc, (int)magic(uc, 480)), !((uintptr_t)uc->uc_mcontext.fpregs & 63),
	       uc->uc_flags & 1);
	printf("image: sizes agree %d, x87 control %x, mxcsr %x\n",
	       magic(uc, 468) == magic(uc, 480) + 4, uc->uc_mcontext.fpregs->cwd,
	       uc->uc_mcontext.fpregs->mxcsr);
}

static void kill_self(void)
{
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"((long)SYS_kill), "D"((long)getpid()), "S"((long)SIGUSR1)
			 : "rcx", "r11", "memory");
}

static void preserved(void)
{
	uint64_t values[2] = {0x1122334455667788, 0x99aabbccddeeff00}, after[2];
	uint16_t control = 0x27f, after_control;
	double top;

	on(SIGUSR1, spoil, 0);
	__asm__ volatile("fninit\n\tfldcw %0\n\tfld1" : : "m"(control));
	_mm_setcsr(0x1f80 | 0x2000);
	__asm__ volatile("movups %0, %%xmm6" : : "m"(values) : "xmm6");
	kill_self();
	__asm__ volatile("movups %%xmm6, %0" : "=m"(after));
	__asm__ volatile("fnstcw %0\n\tfstpl %1" : "=m"(after_control), "=m"(top));
	printf("after: %lx %lx, control %x, top %g, mxcsr %x\n", after[0], after[1],
	       after_control, top, _mm_getcsr() & 0xffc0);
	printf("in the handler: control %x, mxcsr %x, xmm clean %d\n",
	       (unsigned)control_in_handler, (unsigned)mxcsr_in_handler, clean);
	_mm_setcsr(0x1f80);
	__asm__ volatile("fninit");
}

__attribute__((target("avx"))) static void preserved_avx(void)
{
	uint32_t low[8], high[8];

	avx = 1;
	fill_avx(0x12345678);
	kill_self();
	__asm__ volatile("vmovdqu %%ymm6, %0\n\tvmovdqu %%ymm15, %1" : "=m"(low), "=m"(high));
	printf("ymm: %x %x %x %x\n", low[0], low[7], high[0], high[7]);
}

/* What a handler writes into the image is what there is afterwards. */
static void change(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)number;
	(void)info;
	uc->uc_mcontext.fpregs->_xmm[3].element[0] = 0xdeadbeef;
	uc->uc_mcontext.fpregs->mxcsr = 0x1f80 | 0x4000;
}

static void changed(void)
{
	uint32_t xmm[4];

	on(SIGUSR1, change, 0);
	__asm__ volatile("pxor %%xmm3, %%xmm3" : : : "xmm3");
	kill_self();
	__asm__ volatile("movups %%xmm3, %0" : "=m"(xmm));
	printf("changed: %x %x, mxcsr %x\n", xmm[0], xmm[1], _mm_getcsr() & 0xffc0);
	_mm_setcsr(0x1f80);
}

static sigjmp_buf back;

static void leave(int number, siginfo_t *info, void *context)
{
	(void)context;
	printf("signal %d, code %d\n", number, info->si_code);
	siglongjmp(back, 1);
}

static void bad_mxcsr(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	((ucontext_t *)context)->uc_mcontext.fpregs->mxcsr = 0xffffffff;
}

static void bad_header(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	memset((char *)((ucontext_t *)context)->uc_mcontext.fpregs + 512, 0xff, 64);
}

static void no_pointer(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	((ucontext_t *)context)->uc_mcontext.fpregs = NULL;
}

static void wild_pointer(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	((ucontext_t *)context)->uc_mcontext.fpregs = (void *)0x40;
}

static void refused(void)
{
	static void (*const handlers[])(int, siginfo_t *, void *) = {bad_mxcsr, bad_header,
								     wild_pointer};

	on(SIGSEGV, leave, 0);
	for (unsigned i = 0; i < 3; i++) {
		on(SIGUSR1, handlers[i], 0);
		if (!sigsetjmp(back, 1)) {
			kill_self();
			printf("%u: taken\n", i);
		}
	}
	on(SIGUSR1, no_pointer, 0);
	_mm_setcsr(0x1f80 | 0x2000);
	kill_self();
	printf("without image: mxcsr %x\n", _mm_getcsr());
}

/* Exceptions of the vector units are signals with a code of their own. */
static void arithmetic(void)
{
	volatile double zero = 0, one = 1, sink;

	on(SIGFPE, leave, 0);
	if (!sigsetjmp(back, 1)) {
		_mm_setcsr(0x1f80 & ~0x200u);
		sink = one / zero;
		printf("no exception: %g\n", sink);
	}
	_mm_setcsr(0x1f80);
	if (!sigsetjmp(back, 1)) {
		_mm_setcsr(0x1f80 & ~0x80u);
		sink = zero / zero;
		printf("no exception: %g\n", sink);
	}
	_mm_setcsr(0x1f80);
	if (!sigsetjmp(back, 1)) {
		uint16_t control = 0x37f & ~4;

		__asm__ volatile("fninit\n\tfldcw %0\n\tfld1\n\tfldz\n\tfdivrp\n\tfwait"
				 :
				 : "m"(control));
	}
	__asm__ volatile("fninit");
}

int main(void)
{
	preserved();
	if (__builtin_cpu_supports("avx"))
		preserved_avx();
	else
		printf("ymm: 12345678 12345678 12345678 12345678\n");
	changed();
	refused();
	arithmetic();
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program whose functions the host calls (tests/api/test_functions.c), with a full C library;
 * some of them behave badly.
 *
 * Arguments: "thread" says ready from a thread, "threads" with one that counts meanwhile; "wild",
 * "unmapped" and "unaligned" with a stack pointer like that.
 */
#include <mayfly_program.h>

#include <errno.h>
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RETURN_CALL 0x4d590001L /* PROG_SYS_RETURN, which only the gate may make */

static long total;
static _Thread_local long in_thread = 100;
static atomic_long counted;
static jmp_buf before_ready, in_call;

/* --- Values ------------------------------------------------------------------------------- */

static void nothing(void)
{
}
MAYFLY_EXPORT(nothing, void);

static bool negate(bool v)
{
	return !v;
}
MAYFLY_EXPORT(negate, bool, bool);

static int64_t add(int64_t v)
{
	return total += v;
}
MAYFLY_EXPORT(add, i64, i64);

static int64_t add_in_thread(int64_t v)
{
	return in_thread += v;
}
MAYFLY_EXPORT(add_in_thread, i64, i64);

static double mix(int32_t a, float b, uint32_t c, double d, int64_t e, uint64_t f)
{
	return a + (double)b + c + d + (double)e + (double)f;
}
MAYFLY_EXPORT(mix, f64, i32, f32, u32, f64, i64, u64);

static float half(float v)
{
	return v / 2;
}
MAYFLY_EXPORT(half, f32, f32);

/* More than the registers take: ints, vectors and a pair on the stack. */
/* NOLINTNEXTLINE(readability-function-size) */
static const char *many(int64_t a, double b, int64_t c, double d, int64_t e, double f,
			int64_t g, double h, int64_t i, double j, int64_t k, mayfly_bytes l,
			int64_t m, const char *n, double o, double p)
{
	static char text[512];

	snprintf(text, sizeof(text), "%ld %g %ld %g %ld %g %ld %g %ld %g %ld %.*s %ld %s %g %g",
		 (long)a, b, (long)c, d, (long)e, f, (long)g, h, (long)i, j, (long)k,
		 (int)l.len, (const char *)l.data, (long)m, n, o, p);
	return text;
}
MAYFLY_EXPORT(many, string, i64, f64, i64, f64, i64, f64, i64, f64, i64, f64, i64, bytes, i64,
	      string, f64, f64);

/* Ten vector arguments: two on the stack. */
/* NOLINTNEXTLINE(readability-function-size) */
static double sum(double a, double b, double c, double d, double e, double f, double g,
		  double h, double i, double j)
{
	return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j;
}
MAYFLY_EXPORT(sum, f64, f64, f64, f64, f64, f64, f64, f64, f64, f64, f64);

static mayfly_bytes reverse(mayfly_bytes in)
{
	static unsigned char *out;
	mayfly_bytes result = {NULL, in.len};

	free(out);
	out = malloc(in.len ? in.len : 1);
	for (size_t i = 0; out && i < in.len; i++)
		out[i] = ((const unsigned char *)in.data)[in.len - 1 - i];
	result.data = out;
	return result;
}
MAYFLY_EXPORT(reverse, bytes, bytes);

static const char *join(const char *a, const char *b)
{
	static char *text;

	free(text);
	if (asprintf(&text, "%s, %s", a, b) < 0)
		text = NULL;
	return text;
}
MAYFLY_EXPORT(join, string, string, string);

/* What a C library can do: files, the heap, formats, time. */
static const char *library(void)
{
	static char text[200];
	FILE *f = fopen("/tmp/notes", "a+");
	char line[64] = "";
	long lines = 0;

	if (!f)
		return strerror(errno);
	fprintf(f, "%.3f\n", sqrt(2));
	rewind(f);
	while (fgets(line, sizeof(line), f))
		lines++;
	fclose(f);
	snprintf(text, sizeof(text), "%ld lines, the last %.5s, process %ld, time %s", lines,
		 line, (long)getpid(), time(NULL) > 1600000000 ? "is known" : "is not");
	return text;
}
MAYFLY_EXPORT(library, string);

/* How the stack is aligned, and that the direction flag is clear, at a function's entry. */
__attribute__((noinline)) static uint64_t entry_state(void)
{
	uint64_t flags, frame = (uint64_t)__builtin_frame_address(0);

	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags));
	return (frame % 16) | (flags & 0x400);
}
MAYFLY_EXPORT(entry_state, u64);

/* --- What is left behind ------------------------------------------------------------------ */

static void leave_vectors(void)
{
	__asm__ volatile("pcmpeqd %%xmm0, %%xmm0\n\tmovdqa %%xmm0, %%xmm7\n\t"
			 "movdqa %%xmm0, %%xmm15"
			 :
			 :
			 : "xmm0", "xmm7", "xmm15");
}
MAYFLY_EXPORT(leave_vectors, void);

static void start_counting(void);
MAYFLY_EXPORT(start_counting, void);

static void *count(void *unused)
{
	for (;;) {
		const struct timespec while_ = {0, 100000};

		counted++;
		nanosleep(&while_, NULL);
	}
	return unused;
}

static void start_counting(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, count, NULL))
		abort();
}

/* Until a thread that counts has counted on. */
static int64_t wait_for_count(void)
{
	long now = counted;

	while (counted < now + 3)
		usleep(100);
	return counted;
}
MAYFLY_EXPORT(wait_for_count, i64);

static atomic_int caught;

static void on_signal(int signo)
{
	caught += signo;
}

static int32_t raise_and_catch(int32_t signo)
{
	caught = 0;
	signal(signo, on_signal);
	raise(signo);
	return caught;
}
MAYFLY_EXPORT(raise_and_catch, i32, i32);

static int32_t signals_caught(void)
{
	return caught;
}
MAYFLY_EXPORT(signals_caught, i32);

static int32_t ready_again(void)
{
	return mayfly_ready(NULL, NULL);
}
MAYFLY_EXPORT(ready_again, i32);

/* --- Bad ends ------------------------------------------------------------------------------ */

static void leave(int32_t status)
{
	exit(status);
}
MAYFLY_EXPORT(leave, void, i32);

static void crash(uint64_t address)
{
	*(volatile char *)address = 1;
}
MAYFLY_EXPORT(crash, void, u64);

static void give_up(void)
{
	abort();
}
MAYFLY_EXPORT(give_up, void);

static void spin(void)
{
	for (;;)
		__asm__ volatile("pause");
}
MAYFLY_EXPORT(spin, void);

static void wait_long(void)
{
	for (;;)
		pause();
}
MAYFLY_EXPORT(wait_long, void);

__attribute__((noinline)) static int64_t deeper(int64_t n)
{
	volatile char room[4096];

	room[0] = (char)n;
	return n < 0 ? 0 : deeper(n + 1) + room[0];
}
MAYFLY_EXPORT(deeper, i64, i64);

static void end_thread(void)
{
	pthread_exit(NULL);
}
MAYFLY_EXPORT(end_thread, void);

static void jump_out(void)
{
	longjmp(before_ready, 1);
}
MAYFLY_EXPORT(jump_out, void);

/* Returns; and again from within a later call, by the stack that was. */
__attribute__((noinline)) static int64_t return_again(int64_t which)
{
	if (which == 0) {
		if (setjmp(in_call))
			return 2;
		return 1;
	}
	longjmp(in_call, 1);
}
MAYFLY_EXPORT(return_again, i64, i64);

/* The gate's system call, made by somebody else: with what the kernel does not know. */
static int64_t forge_return(void)
{
	return syscall(RETURN_CALL, 1, 2, 3);
}
MAYFLY_EXPORT(forge_return, i64);

/* Into the middle of the gate, on a stack of its own: as if a function had returned. */
static void enter_gate(uint64_t address)
{
	__asm__ volatile("subq $4096, %%rsp\n\tmovl $0x4d590001, %%eax\n\tjmp *%0"
			 :
			 : "r"(address)
			 : "rax");
}
MAYFLY_EXPORT(enter_gate, void, u64);

/* --- Bad results --------------------------------------------------------------------------- */

static const char *string_at(uint64_t address)
{
	return (const char *)address;
}
MAYFLY_EXPORT(string_at, string, u64);

static mayfly_bytes bytes_at(uint64_t address, uint64_t len)
{
	mayfly_bytes bytes = {(const void *)address, len};

	return bytes;
}
MAYFLY_EXPORT(bytes_at, bytes, u64, u64);

/* At the end of memory: with its NUL, or without. */
static const char *string_at_end(bool terminated)
{
	static char *page;

	if (!page) {
		page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);
		munmap(page + 4096, 4096);
	}
	memset(page, 'e', 4096);
	page[4095] = terminated ? '\0' : 'e';
	return page + 4096 - 300;
}
MAYFLY_EXPORT(string_at_end, string, bool);

/* Of so many bytes. */
static const char *long_string(uint64_t len)
{
	static char *text;

	free(text);
	text = malloc(len + 1);
	if (!text)
		return "no memory";
	memset(text, 'l', len);
	text[len] = '\0';
	return text;
}
MAYFLY_EXPORT(long_string, string, u64);

static char racing[300];

static void *race(void *unused)
{
	for (;;) {
		memset(racing, 'r', sizeof(racing) - 1);
		memset(racing, 0, sizeof(racing) - 1);
	}
	return unused;
}

/* A string that another thread changes all the time. */
static const char *racing_string(void)
{
	static bool started;
	pthread_t thread;

	if (!started && pthread_create(&thread, NULL, race, NULL))
		abort();
	started = true;
	return racing;
}
MAYFLY_EXPORT(racing_string, string);

/* Its arguments' memory, away. */
static int32_t unmap_argument(mayfly_bytes bytes)
{
	return munmap((void *)((uint64_t)bytes.data & ~(uint64_t)4095), bytes.len);
}
MAYFLY_EXPORT(unmap_argument, i32, bytes);

/* --- The program --------------------------------------------------------------------------- */

/* Ready with values in vector registers that a call must not change. */
__attribute__((noinline)) static int ready_with_vectors(void)
{
	uint64_t before[3] = {0x1111111111111111, 0x7777777777777777, 0xfefefefefefefefe};
	uint64_t after[3] = {0, 0, 0};
	uint64_t given[2] = {0, 0};
	long result;

	__asm__ volatile("movq 0(%2), %%xmm0\n\tmovq 8(%2), %%xmm7\n\tmovq 16(%2), %%xmm15\n\t"
			 "syscall\n\t"
			 "movq %%xmm0, 0(%3)\n\tmovq %%xmm7, 8(%3)\n\tmovq %%xmm15, 16(%3)"
			 : "=a"(result)
			 : "0"(MAYFLY_SYSCALL_READY), "r"(before), "r"(after), "D"(given)
			 : "rcx", "r11", "memory", "xmm0", "xmm7", "xmm15");
	return result == 0 && !memcmp(before, after, sizeof(before));
}

static int say_ready(void)
{
	bool kept;

	if (setjmp(before_ready)) {
		printf("jumped out\n");
		return 5;
	}
	kept = ready_with_vectors();
	printf("total %ld, vectors %s, thread %ld\n", total, kept ? "kept" : "lost", in_thread);
	return 0;
}

static void *ready_thread(void *status)
{
	*(int *)status = say_ready();
	return NULL;
}

/* With the stack pointer there; it never comes back. */
static void ready_on(uint64_t sp)
{
	__asm__ volatile("movq %0, %%rsp\n1:\tsyscall\n\tjmp 1b"
			 :
			 : "r"(sp), "a"(MAYFLY_SYSCALL_READY), "D"(0)
			 : "memory");
	__builtin_unreachable();
}

int main(int argc, char **argv)
{
	static char stack[65536] __attribute__((aligned(16)));
	const char *how = argc > 1 ? argv[1] : "";
	pthread_t thread;
	int status = 0;

	total = 1000;
	if (!strcmp(how, "wild"))
		ready_on(UINT64_MAX - 3);
	if (!strcmp(how, "unmapped"))
		ready_on((uint64_t)0x5123 << 32);
	if (!strcmp(how, "unaligned"))
		ready_on((uint64_t)stack + sizeof(stack) - 2047);
	if (!strcmp(how, "threads"))
		start_counting();
	if (strcmp(how, "thread") != 0)
		return say_ready();
	if (pthread_create(&thread, NULL, ready_thread, &status))
		return 4;
	pthread_join(thread, NULL);
	return status;
}

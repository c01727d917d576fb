/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For programs that do what no honest one does, one thing for each name on the command line. What
 * they print and how they end has to be the same natively and in a VM, or, for what only makes
 * sense there, what the table says. run.sh runs them.
 *
 *   --list         the names, each with "both", "vm", or "any"
 *   --expect NAME  of "vm": what it has to print, and its status, where that is not as natively
 */
#ifndef WRONG_H
#define WRONG_H

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define ANY "*"

struct test {
	const char *name;
	void (*function)(void);
	/*
	 * What it prints in a VM, and "status N" if it does not exit with 0; NULL: what it prints
	 * natively, and how it ends there. ANY: that the host survives is all.
	 */
	const char *vm;
};

static sigjmp_buf trap_return;
static volatile siginfo_t trapped;

static inline const char *signal_name(int number)
{
	static const char *const names[] = {
		[SIGILL] = "SIGILL", [SIGTRAP] = "SIGTRAP", [SIGBUS] = "SIGBUS",
		[SIGFPE] = "SIGFPE", [SIGSEGV] = "SIGSEGV", [SIGSYS] = "SIGSYS"};

	return names[number];
}

static void on_trap(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	*(siginfo_t *)&trapped = *info;
	/* Whatever an instruction left in the segment registers, flags and stack pointer. */
	siglongjmp(trap_return, 1);
}

/* Handlers for everything that an instruction can raise, on a stack of their own. */
static inline void catch_traps(void)
{
	static char stack[65536] __attribute__((aligned(64)));
	const int numbers[] = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS};
	struct sigaction action = {.sa_sigaction = on_trap,
				   .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};

	sigaltstack(&alternate, NULL);
	for (size_t i = 0; i < COUNT(numbers); i++)
		sigaction(numbers[i], &action, NULL);
}

/* Whether the statement raised a signal, which is in `trapped` then. */
#define TRAPS(...)                                                                             \
	({                                                                                     \
		volatile bool traps_ = true;                                                   \
		if (!sigsetjmp(trap_return, 1)) {                                              \
			__VA_ARGS__;                                                           \
			traps_ = false;                                                        \
		}                                                                              \
		traps_;                                                                        \
	})

/* Addresses of the image and constants are the same everywhere; those of stacks are not. */
static inline void print_trap(void)
{
	uint64_t address = (uint64_t)trapped.si_addr;

	printf("%s, code %d", signal_name(trapped.si_signo), trapped.si_code);
	if (trapped.si_code != SI_KERNEL && trapped.si_code != SI_TKILL)
		printf(", at 0x%lx", address);
	printf("\n");
}

#define SHOW(...)                                                                              \
	do {                                                                                   \
		catch_traps();                                                                 \
		if (TRAPS(__VA_ARGS__))                                                        \
			print_trap();                                                          \
		else                                                                           \
			printf("no signal\n");                                                 \
	} while (0)

/* For what hypervisors differ in: which signal it is. */
#define SHOW_ANY(...)                                                                          \
	do {                                                                                   \
		catch_traps();                                                                 \
		printf("%s\n", TRAPS(__VA_ARGS__) ? "a signal" : "no signal");                 \
	} while (0)

/* For what CPUs differ in: that it does no harm is all. */
#define SURVIVE(...)                                                                           \
	do {                                                                                   \
		catch_traps();                                                                 \
		(void)TRAPS(__VA_ARGS__);                                                      \
		printf("survived\n");                                                          \
	} while (0)

static inline const char *error_text(long result)
{
	static char text[32];

	if (result != -1)
		snprintf(text, sizeof(text), "%ld", result);
	else
		return strerrorname_np(errno);
	return text;
}

/* The result of a call: its value, or the error's name. */
#define CALL(call)                                                                             \
	do {                                                                                   \
		errno = 0;                                                                     \
		printf("%s: %s\n", #call, error_text((long)(call)));                           \
	} while (0)

#define NEED(condition)                                                                        \
	do {                                                                                   \
		if (!(condition)) {                                                            \
			printf("line %d: %s: %s\n", __LINE__, #condition, strerror(errno));    \
			exit(99);                                                              \
		}                                                                              \
	} while (0)

/* Pages of memory, at a place that is the same everywhere. */
static inline char *pages_at(uint64_t va, size_t count, int prot)
{
	char *p = mmap((void *)va, count * 4096, prot,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	NEED(p == (char *)va);
	return p;
}

static inline int run_test(const struct test *tests, size_t count, int argc, char **argv)
{
	bool expect = argc == 3 && !strcmp(argv[1], "--expect");

	setvbuf(stdout, NULL, _IONBF, 0);
	for (size_t i = 0; i < count; i++) {
		const struct test *t = &tests[i];

		if (argc == 2 && !strcmp(argv[1], "--list")) {
			printf("%s %s\n", t->name,
			       !t->vm			 ? "both"
			       : strcmp(t->vm, ANY) == 0 ? "any"
							 : "vm");
		} else if (expect && !strcmp(argv[2], t->name)) {
			const char *text = t->vm ? t->vm : "";

			printf("%s%s", text, strstr(text, "status ") ? "" : "status 0\n");
			return 0;
		} else if (argc >= 2 && !strcmp(argv[1], t->name)) {
			t->function();
			return 0;
		}
	}
	return argc == 2 && !strcmp(argv[1], "--list") ? 0 : 2;
}

#define MAIN(tests)                                                                            \
	int main(int argc, char **argv)                                                        \
	{                                                                                      \
		return run_test(tests, COUNT(tests), argc, argv);                              \
	}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that does nothing, for `mayfly bench`: no C library, one system call. What a process
 * costs at the least. Each argument adds a thousand system calls that do nothing either; by the name
 * of "ready" it lets the host call its function first. Build: -static -nostdlib -ffreestanding.
 */
#include <mayfly_program.h>
#include <sys/syscall.h>

#define CALLS 1000

static int64_t add(int64_t a, int64_t b)
{
	return a + b;
}
MAYFLY_EXPORT(add, i64, i64, i64);

/* What _start finds at the stack's top: argc (System V ABI, AMD64 supplement, 3.4.1). */
__attribute__((noreturn, used)) static void run(const long *stack)
{
	const char *name = (const char *)stack[1];

	if (stack[0] && name[0] == 'r')
		mayfly_ready(0, 0);
	for (long i = 0; i < (stack[0] - 1) * CALLS; i++) {
		long result;

		__asm__ volatile("syscall"
				 : "=a"(result)
				 : "a"(SYS_getppid)
				 : "rcx", "r11", "memory");
	}
	for (;;)
		__asm__ volatile("syscall"
				 :
				 : "a"(SYS_exit_group), "D"(0)
				 : "rcx", "r11", "memory");
}

__asm__(".globl _start\n"
	"_start:\n"
	"	movq %rsp, %rdi\n"
	"	andq $-16, %rsp\n"
	"	call run\n");

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that does nothing, for `mayfly bench`: no C library, one system call. What a process
 * costs at the least. Build: -static -nostdlib -ffreestanding.
 */
#include <sys/syscall.h>

__attribute__((noreturn)) void _start(void);

void _start(void)
{
	for (;;)
		__asm__ volatile("syscall"
				 :
				 : "a"(SYS_exit_group), "D"(0)
				 : "rcx", "r11", "memory");
}

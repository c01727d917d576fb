/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate of program guests: read-only to the guest, at PROG_GATE_VA. On a CPU with hardware
 * virtualisation the code at PROG_GATE_SYSCALL runs in ring 0, on the program's stack pointer,
 * which it does not use; under PVM in ring 3. The host answers, and sets RIP to where the program
 * goes on: directly where the gate ran in ring 3, by PROG_GATE_SYSRET otherwise.
 *
 * Nothing here guards anything: a program may jump anywhere into it, or run OUT by itself.
 */
#include "abi/program.h"

	.section .rodata.program_gate, "a", @progbits
	.balign 64
	.globl program_gate_start
	.hidden program_gate_start
	.globl program_gate_end
	.hidden program_gate_end

program_gate_start:
/* In: a system call, by Linux's convention; rcx: where it came from, r11: its RFLAGS. */
	outb	%al, $PROG_PORT_SYSCALL
	ud2					/* the host never lets it go on here */

/* PROG_GATE_SYSRET. In: rcx: RIP, r11: RFLAGS of ring 3, all else as ring 3 is to have it. */
	.org	program_gate_start + (PROG_GATE_SYSRET - PROG_GATE_VA), 0xcc
	sysretq

/* PROG_GATE_SIGRETURN: what a signal handler returns to. In: rsp: the frame, as Linux has it. */
	.org	program_gate_start + (PROG_GATE_SIGRETURN - PROG_GATE_VA), 0xcc
	movl	$15, %eax			/* rt_sigreturn */
	syscall
	ud2
program_gate_end:

	.section .note.GNU-stack, "", @progbits

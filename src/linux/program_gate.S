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

/*
 * PROG_GATE_CALL. In: rax: the function; rdi, rsi, rdx, r10, r8, r9: its arguments, with r10 for
 * rcx, which SYSRET takes; rbx: address of those for xmm0 to xmm7, or 0; rsp: further ones, 16-byte
 * aligned. Out, by OUT with PROG_SYS_RETURN: rdi, rsi, rdx: what it left in rax, rdx, xmm0; rsp as
 * it was.
 */
	.org	program_gate_start + (PROG_GATE_CALL - PROG_GATE_VA), 0xcc
	movq	%r10, %rcx			/* the fourth argument */
	testq	%rbx, %rbx			/* are there any for vector registers? */
	jz	1f
	movq	0(%rbx), %xmm0
	movq	8(%rbx), %xmm1
	movq	16(%rbx), %xmm2
	movq	24(%rbx), %xmm3
	movq	32(%rbx), %xmm4
	movq	40(%rbx), %xmm5
	movq	48(%rbx), %xmm6
	movq	56(%rbx), %xmm7
1:	call	*%rax				/* rsp is 16-byte aligned before it */
	movq	%rax, %rdi			/* the result, whatever its type is */
	movq	%rdx, %rsi
	movq	%xmm0, %rdx
	movl	$PROG_SYS_RETURN, %eax
	outb	%al, $PROG_PORT_SYSCALL		/* as SYSCALL, without ring 0 */
	ud2					/* the host goes on elsewhere */
	.org	program_gate_start + (PROG_GATE_CALL - PROG_GATE_VA) + PROG_GATE_CALL_SIZE, 0xcc
program_gate_end:

	.section .note.GNU-stack, "", @progbits

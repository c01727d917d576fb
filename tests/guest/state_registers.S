/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two functions of the guest `state` that a compiler cannot write: one leaves a pattern in
 * every register, against all calling conventions, one records all registers as they are on entry.
 */
#include "state.h"

	.text

/*
 * How wide the vector registers are that may be used.
 * out: eax 0 XMM, 1 YMM, 2 ZMM; r11d CPUID 7.0 EBX (0 if there is none), r10d CPUID 7.0 ECX
 * clobbers: rbx, rcx, rdx. No stack but the return address.
 */
	.type	vector_level, @function
vector_level:
	xorl	%r11d, %r11d
	xorl	%r10d, %r10d
	xorl	%eax, %eax
	xorl	%ecx, %ecx
	cpuid				# eax: highest leaf
	cmpl	$7, %eax
	jb	1f
	movl	$7, %eax
	xorl	%ecx, %ecx
	cpuid
	movl	%ebx, %r11d		# AVX-512F is bit 16, AVX-512BW bit 30
	movl	%ecx, %r10d		# OSPKE is bit 4
1:	movl	$1, %eax
	xorl	%ecx, %ecx
	cpuid
	andl	$0x18000000, %ecx	# OSXSAVE and AVX
	cmpl	$0x18000000, %ecx
	jne	2f
	xorl	%ecx, %ecx
	xgetbv				# eax: XCR0
	movl	%eax, %edx
	andl	$0x06, %edx		# XMM and YMM state
	cmpl	$0x06, %edx
	jne	2f
	btl	$16, %r11d
	jnc	3f
	andl	$0xe6, %eax		# and opmask, ZMM_Hi256, Hi16_ZMM
	cmpl	$0xe6, %eax
	jne	3f
	movl	$2, %eax
	ret
2:	xorl	%eax, %eax
	ret
3:	movl	$1, %eax
	ret
	.size	vector_level, . - vector_level

/*
 * uint64_t plant_registers(uint64_t pattern, uint64_t what)
 * Leaves `pattern` in the registers that `what` (STATE_...) names, among them those that the
 * caller believes preserved. Gives the pattern.
 */
	.globl	plant_registers
	.type	plant_registers, @function
plant_registers:
	.cfi_startproc
	call	vector_level
	movl	%eax, %r8d		# r8d: level, rdi: pattern, rsi: what

	testl	$STATE_X87, %esi
	jz	1f
	fninit
	pushq	%rdi
	fildll	(%rsp)			# leaves the addresses of instruction and data behind
	movl	$0x0e7f, (%rsp)
	fldcw	(%rsp)			# precision 53 bits, rounding to zero
	popq	%rax
	movq	%rdi, %mm0
	movq	%rdi, %mm1
	movq	%rdi, %mm2
	movq	%rdi, %mm3
	movq	%rdi, %mm4
	movq	%rdi, %mm5
	movq	%rdi, %mm6
	movq	%rdi, %mm7

1:	testl	$STATE_MXCSR, %esi
	jz	2f
	pushq	$0xffff			# all flags, all masked, flush to zero, denormals are zero
	ldmxcsr	(%rsp)
	popq	%rax

2:	testl	$STATE_VECTOR, %esi
	jz	5f
	movq	%rdi, %xmm0
	punpcklqdq %xmm0, %xmm0
	cmpl	$1, %r8d
	je	3f
	ja	4f
	.irp	n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movaps	%xmm0, %xmm\n
	.endr
	jmp	5f
3:	vinsertf128 $1, %xmm0, %ymm0, %ymm0
	.irp	n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vmovaps	%ymm0, %ymm\n
	.endr
	jmp	5f
4:	vpbroadcastq %rdi, %zmm0
	.irp	n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vmovdqa64 %zmm0, %zmm\n
	.endr
	.irp	n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	vmovdqa64 %zmm0, %zmm\n
	.endr
	btl	$30, %r11d
	jc	6f
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7
	kmovw	%edi, %k\n
	.endr
	jmp	5f
6:	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7
	kmovq	%rdi, %k\n
	.endr

5:	testl	$STATE_PKRU, %esi
	jz	7f
	btl	$4, %r10d
	jnc	7f
	movl	%edi, %eax
	andl	$~3, %eax		# this memory has key 0
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	wrpkru

7:	testl	$STATE_SELECTORS, %esi
	jz	8f
	movl	%ss, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
8:	testl	$STATE_NULL_SELECTORS, %esi
	jz	9f
	xorl	%eax, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
9:	testl	$STATE_BASES, %esi
	jz	10f
	movq	%rdi, %rax
	shlq	$18, %rax		# canonical: the low 46 bits
	shrq	$18, %rax
	wrfsbase %rax
	wrgsbase %rax

10:	pushfq				# the value to leave in RFLAGS
	testl	$STATE_FLAGS, %esi
	jz	11f
	orl	$0xcd5, (%rsp)		# CF PF AF ZF SF DF OF
11:	testl	$STATE_SYSTEM_FLAGS, %esi
	jz	12f
	orl	$0x244000, (%rsp)	# NT AC ID
12:	movq	%rdi, %rax
	testl	$STATE_FRAME_POINTER, %esi
	jz	14f
	movq	%rdi, %rbp
14:	testl	$STATE_GENERAL, %esi
	jz	13f
	movq	%rdi, %rbx
	movq	%rdi, %rcx
	movq	%rdi, %rdx
	movq	%rdi, %rsi
	movq	%rdi, %r8
	movq	%rdi, %r9
	movq	%rdi, %r10
	movq	%rdi, %r11
	movq	%rdi, %r12
	movq	%rdi, %r13
	movq	%rdi, %r14
	movq	%rdi, %r15
13:	popfq
	ret
	.cfi_endproc
	.size	plant_registers, . - plant_registers

/*
 * mayfly_bytes look_registers(uint64_t what)
 * Gives a struct state_registers with all registers as they were on entry. FS and GS base are
 * only read if `what` has STATE_BASES, because the instructions may be denied.
 */
	.globl	look_registers
	.type	look_registers, @function
look_registers:
	.cfi_startproc
	movq	%rax, registers + 0(%rip)
	movq	%rbx, registers + 8(%rip)
	movq	%rcx, registers + 16(%rip)
	movq	%rdx, registers + 24(%rip)
	movq	%rsi, registers + 32(%rip)
	movq	%rdi, registers + 40(%rip)
	movq	%rbp, registers + 48(%rip)
	movq	%rsp, registers + 56(%rip)
	movq	%r8, registers + 64(%rip)
	movq	%r9, registers + 72(%rip)
	movq	%r10, registers + 80(%rip)
	movq	%r11, registers + 88(%rip)
	movq	%r12, registers + 96(%rip)
	movq	%r13, registers + 104(%rip)
	movq	%r14, registers + 112(%rip)
	movq	%r15, registers + 120(%rip)
	pushfq
	popq	registers + STATE_AT_RFLAGS(%rip)
	cld
	movw	%ds, registers + STATE_AT_SELECTORS + 0(%rip)
	movw	%es, registers + STATE_AT_SELECTORS + 2(%rip)
	movw	%fs, registers + STATE_AT_SELECTORS + 4(%rip)
	movw	%gs, registers + STATE_AT_SELECTORS + 6(%rip)
	movw	%ss, registers + STATE_AT_SELECTORS + 8(%rip)
	movw	%cs, registers + STATE_AT_SELECTORS + 10(%rip)
	fxsave64 registers + STATE_AT_FXSAVE(%rip)

	testl	$STATE_BASES, %edi
	jz	1f
	rdfsbase %rax
	movq	%rax, registers + STATE_AT_FS_BASE(%rip)
	rdgsbase %rax
	movq	%rax, registers + STATE_AT_GS_BASE(%rip)

1:	call	vector_level		# rbx is recorded
	movq	%rax, registers + STATE_AT_LEVEL(%rip)
	leaq	registers + STATE_AT_VECTOR(%rip), %rcx
	cmpl	$1, %eax
	jb	4f
	ja	2f
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vmovups	%ymm\n, \n * 64(%rcx)
	.endr
	jmp	4f
2:	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	vmovdqu64 %zmm\n, \n * 64(%rcx)
	.endr
	.irp	n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	vmovdqu64 %zmm\n, \n * 64(%rcx)
	.endr
	leaq	registers + STATE_AT_OPMASK(%rip), %rcx
	btl	$30, %r11d
	jc	3f
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7
	kmovw	%k\n, \n * 8(%rcx)
	.endr
	jmp	4f
3:	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7
	kmovq	%k\n, \n * 8(%rcx)
	.endr

4:	btl	$4, %r10d
	jnc	5f
	xorl	%ecx, %ecx
	rdpkru
	movl	%eax, registers + STATE_AT_PKRU(%rip)

5:	movq	registers + 8(%rip), %rbx
	leaq	registers(%rip), %rax
	movl	$STATE_SIZE, %edx
	ret
	.cfi_endproc
	.size	look_registers, . - look_registers

	.bss
	.balign	64
	.type	registers, @object
registers:
	.zero	STATE_SIZE
	.size	registers, STATE_SIZE

	.section .note.GNU-stack, "", @progbits

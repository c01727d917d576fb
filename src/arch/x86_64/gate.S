/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate: the code through which function guests are entered and left, in ring 3, read-only
 * to the guest, at FN_GATE_VA. Position-dependent only by the constants of abi/function.h, all
 * below 2 GiB. The host copies [gate_start, gate_end) into the guest's gate page.
 *
 * Nothing here guards anything: a guest may jump anywhere into it, or run OUT by itself. What
 * the host relies on is only that this code, entered at FN_GATE_ENTER, cannot be altered.
 */
#include "abi/function.h"

	.section .rodata.gate, "a", @progbits
	.balign 64
	.globl gate_start
	.hidden gate_start
	.globl gate_end
	.hidden gate_end

/* Where a guest that made a request waits, with rbx and the return address on its stack. */
	.globl gate_hostcall_wait
	.hidden gate_hostcall_wait
	.globl gate_hostcall_answered
	.hidden gate_hostcall_answered

/*
 * The host's turn: to it by the mailbox or by OUT. In: rbx: struct fn_call. Comes out when it is
 * the guest's turn again. Clobbers rax, rcx.
 */
	.macro	host_turn
	movl	FN_CALL_TURN(%rbx), %eax	/* eax: the turn that ends */
	movl	%eax, %ecx
	xchgl	%ecx, FN_CALL_ANSWER(%rbx)	/* all that was written is seen before it; */
	movl	FN_FRESH_VA+FN_FRESH_SPIN, %ecx	/* and it before this is read: a host that sleeps says so */
	testl	%ecx, %ecx
	jz	9f
7:	pause
	cmpl	%eax, FN_CALL_TURN(%rbx)
	jne	10f				/* here it is */
	decl	%ecx
	jnz	7b
	movl	%eax, %ecx
	orl	$FN_TURN_LEFT, %ecx
	lock cmpxchgl %ecx, FN_CALL_TURN(%rbx)
	jne	10f				/* it came in time */
9:	outb	%al, $FN_PORT_GATE		/* rax means nothing */
10:
	.endm

gate_start:

/*
 * FN_GATE_ENTER. In: RIP, RFLAGS by the host, other general registers zero. Replaces whatever
 * else ring 3 can change: segment selectors and bases, vector state. Never returns.
 *
 * CS cannot change: the one ring-3 code segment is 64-bit, and PVM, which runs ring 3 on the
 * host's descriptor table, takes the 32-bit one away. Should a guest be in 32-bit mode all the
 * same, WRFSBASE decodes as an undefined instruction there, before anything of the guest's
 * runs.
 */
	movl	$FN_FRESH_VA, %ebp		/* rbp: struct fn_fresh */
	movl	$FN_CALL_VA, %ebx		/* rbx: struct fn_call */
	xorl	%eax, %eax			/* null selectors, as the host sets them */
	movl	%eax, %ds
	movl	%eax, %es
	testl	$FN_FRESH_FSGSBASE, FN_FRESH_FLAGS(%rbp)
	jz	1f				/* else the host set the bases, and loads would clear them */
	movl	%eax, %fs
	movl	%eax, %gs
	movq	FN_FRESH_FS_BASE(%rbp), %rcx
	wrfsbase %rcx				/* thread-local storage */
	movq	FN_FRESH_GS_BASE(%rbp), %rdx
	wrgsbase %rdx
1:	testl	$FN_FRESH_HAVE_XSAVE, FN_FRESH_FLAGS(%rbp)
	jz	2f
	movl	$FN_FRESH_COMPONENTS, %eax	/* edx:eax: those of them that XCR0 enables */
	xorl	%edx, %edx
	xrstor64 FN_FRESH_XSAVE(%rbp)		/* x87, MXCSR, XMM, YMM, ZMM, opmasks, PKRU */
	jmp	3f
2:	fxrstor64 FN_FRESH_XSAVE(%rbp)
3:	movq	FN_FRESH_STACK_TOP(%rbp), %rsp
	movq	FN_CALL_SEED(%rbx), %rax	/* the stack protector's canary: fresh, */
	xorb	%al, %al			/* its first byte zero, so that strings stop there */
	cmpq	$0, FN_FRESH_FS_BASE(%rbp)
	je	4f				/* no thread-local storage, no place for it */
	movq	%rax, %fs:0x28			/* where the System V ABI has it */
4:	xorl	%eax, %eax			/* leave nothing of it behind */
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	xorl	%ebp, %ebp			/* backtraces end here */
5:	call	gate_perform
	host_turn
	jmp	5b

/*
 * Do what the host wants, then come back to leave again. In: nothing. Keeps rbx, rbp as the
 * System V ABI does. Stack: 16-byte aligned before the call here.
 */
gate_perform:
	pushq	%rbp
	movq	%rsp, %rbp
	pushq	%rbx
	pushq	%rbx				/* alignment */
	movl	$FN_CALL_VA, %ebx		/* rbx: struct fn_call */
	movzwl	FN_CALL_REPLY(%rbx), %eax
	cmpl	$FN_REPLY_BATCH, %eax
	je	gate_batch
	cmpl	$FN_REPLY_CALL, %eax
	jne	gate_park
	movzwl	FN_CALL_NSTACK(%rbx), %ecx	/* eightbytes on the stack, an even number */
	testl	%ecx, %ecx
	jz	2f
1:	pushq	FN_CALL_STACK-8(%rbx,%rcx,8)	/* the last one first */
	decq	%rcx
	jnz	1b
2:	movq	FN_CALL_SREGS+0(%rbx), %xmm0
	movq	FN_CALL_SREGS+8(%rbx), %xmm1
	movq	FN_CALL_SREGS+16(%rbx), %xmm2
	movq	FN_CALL_SREGS+24(%rbx), %xmm3
	movq	FN_CALL_SREGS+32(%rbx), %xmm4
	movq	FN_CALL_SREGS+40(%rbx), %xmm5
	movq	FN_CALL_SREGS+48(%rbx), %xmm6
	movq	FN_CALL_SREGS+56(%rbx), %xmm7
	movq	FN_CALL_IREGS+0(%rbx), %rdi
	movq	FN_CALL_IREGS+8(%rbx), %rsi
	movq	FN_CALL_IREGS+16(%rbx), %rdx
	movq	FN_CALL_IREGS+24(%rbx), %rcx
	movq	FN_CALL_IREGS+32(%rbx), %r8
	movq	FN_CALL_IREGS+40(%rbx), %r9
	xorl	%eax, %eax			/* no variable arguments */
	call	*FN_CALL_FN(%rbx)
	movl	$FN_CALL_VA, %ebx
	movq	%rax, FN_CALL_RESULT(%rbx)
	movq	%rdx, FN_CALL_RESULT+8(%rbx)
	movq	%xmm0, FN_CALL_RESULT_SSE(%rbx)
	movl	$FN_OP_RESULT, FN_CALL_OP(%rbx)
gate_done:
	leaq	-16(%rbp), %rsp
	popq	%rbx
	popq	%rbx
	popq	%rbp
	ret

/* FN_REPLY_PARK, and anything unknown: touch the listed pages. In: rbx. Clobbers rax, rcx, rdx. */
gate_park:
	xorl	%ecx, %ecx
	movzwl	FN_CALL_NSTACK(%rbx), %edx
1:	cmpl	%edx, %ecx
	jae	3f
	movq	FN_CALL_STACK(%rbx,%rcx,8), %rax
	incq	%rcx
	btrq	$0, %rax			/* FN_TOUCH_WRITE */
	jc	2f
	testb	$0, (%rax)
	jmp	1b
2:	lock orb $0, (%rax)			/* writes what is there */
	jmp	1b
3:	movl	$FN_OP_READY, FN_CALL_OP(%rbx)
	jmp	gate_done

/*
 * FN_REPLY_BATCH. In: rbx, rbp as gate_perform has them. What is read of the batch anew for each
 * call is the guest's to spoil.
 */
gate_batch:
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r14				/* alignment */
	movq	FN_CALL_FN(%rbx), %r14		/* r14: struct fn_batch */
	leaq	FN_BATCH_SIZE(%r14), %r12	/* r12: the entry */
	xorl	%r13d, %r13d			/* r13: how many are done */
1:	cmpq	FN_BATCH_COUNT(%r14), %r13
	jae	7f
	movq	FN_BATCH_NSTACK(%r14), %rcx
	testq	%rcx, %rcx
	jz	3f
	movq	FN_BATCH_STACK(%r14), %rax
	addq	%r12, %rax
2:	pushq	-8(%rax,%rcx,8)			/* the last one first */
	decq	%rcx
	jnz	2b
3:	testl	$FN_BATCH_FLOATS, FN_BATCH_FLAGS(%r14)
	jz	4f
	movq	FN_BATCH_SREGS(%r14), %rax
	movq	0(%r12,%rax), %xmm0
	movq	8(%r12,%rax), %xmm1
	movq	16(%r12,%rax), %xmm2
	movq	24(%r12,%rax), %xmm3
	movq	32(%r12,%rax), %xmm4
	movq	40(%r12,%rax), %xmm5
	movq	48(%r12,%rax), %xmm6
	movq	56(%r12,%rax), %xmm7
4:	movq	0(%r12), %rdi
	movq	8(%r12), %rsi
	movq	16(%r12), %rdx
	movq	24(%r12), %rcx
	movq	32(%r12), %r8
	movq	40(%r12), %r9
	xorl	%eax, %eax			/* no variable arguments */
	call	*FN_BATCH_FN(%r14)
	leaq	-48(%rbp), %rsp			/* stack arguments are done with */
	testl	$FN_BATCH_FLOAT, FN_BATCH_FLAGS(%r14)
	jz	5f
	movq	%xmm0, %rax
5:	movq	%rax, (%r12)
	incq	%r13
	movq	%r13, FN_BATCH_DONE(%r14)
	addq	FN_BATCH_STRIDE(%r14), %r12
	jmp	1b
7:	movl	$FN_CALL_VA, %ebx
	movl	$FN_OP_RESULT, FN_CALL_OP(%rbx)
	movq	-24(%rbp), %r12
	movq	-32(%rbp), %r13
	movq	-40(%rbp), %r14
	jmp	gate_done

/*
 * FN_GATE_HOSTCALL. Called by the guest with `op` and its arguments in the call block; returns
 * when the host has answered with FN_REPLY_RETURN. Clobbers what a C function may.
 */
	.org	gate_start + (FN_GATE_HOSTCALL - FN_GATE_VA), 0xcc
	pushq	%rbx				/* alignment, too */
gate_hostcall_wait:
	movl	$FN_CALL_VA, %ebx
1:	host_turn
gate_hostcall_answered:
	cmpw	$FN_REPLY_RETURN, FN_CALL_REPLY(%rbx)
	je	2f
	call	gate_perform			/* a call nested in this one */
	jmp	1b
2:	popq	%rbx
	ret

/*
 * FN_GATE_SYSCALL: where SYSCALL lands, in ring 0 on a CPU with hardware virtualisation, in
 * ring 3 under PVM. Function guests have no kernel: say so, never to come back.
 */
	.org	gate_start + (FN_GATE_SYSCALL - FN_GATE_VA), 0xcc
	movl	$FN_OP_SYSCALL, FN_CALL_VA+FN_CALL_OP
	outb	%al, $FN_PORT_GATE
	ud2
gate_end:

	.section .note.GNU-stack, "", @progbits

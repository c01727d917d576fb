/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test kernel's beginning: PVH's 32-bit entry, the way to 64-bit mode, exceptions and interrupts,
 * and the beginning of a second CPU. Guest-virtual is guest-physical: 4 GiB, by tables that are
 * part of the file, since code runs slowly where ring 0 is interpreted.
 */
#define CODE64 0x08
#define DATA 0x10
#define CODE32 0x18

#define CR0_PG_PE 0x80000001
#define CR4_PAE 0x20
#define EFER 0xc0000080
#define EFER_LME 0x100

#define AP_PAGE 0x20000 /* where a second CPU begins: SIPI's vector is 0x20 */

	.section .note.pvh, "a", @note
	.align 4
	.long 4, 4, 18 /* PHYS32_ENTRY (xen/include/public/elfnote.h) */
	.asciz "Xen"
	.long entry

	.text
	.code32
	.globl entry
/*
 * In: EBX = hvm_start_info. All else is kept in entry_state first: struct entry_state of kernel.h.
 */
entry:
	movl	%ebx, entry_state
	movl	%cr0, %eax
	movl	%eax, entry_state + 4
	movl	%cr4, %eax
	movl	%eax, entry_state + 8
	movl	$stack_top, %esp
	pushfl
	popl	entry_state + 12
	movw	%cs, entry_state + 16
	movw	%ds, entry_state + 18
	movw	%es, entry_state + 20
	movw	%ss, entry_state + 22
	str	%ax
	movw	%ax, entry_state + 24
	movl	$EFER, %ecx
	rdmsr
	movl	%eax, entry_state + 28
	lgdt	gdt_pointer
	call	long_mode
	ljmp	$CODE64, $entry64

/* Paging and long mode on; still in a 32-bit segment. Clobbers EAX, ECX, EDX. */
long_mode:
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	%cr4, %eax
	orl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	$EFER, %ecx
	rdmsr
	orl	$EFER_LME, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$CR0_PG_PE, %eax
	movl	%eax, %cr0
	ret

	.code64
entry64:
	movl	$DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$stack_top, %esp
	call	kernel_main
1:	hlt
	jmp	1b

/* --- exceptions and interrupts --------------------------------------------------------------- */

/*
 * One stub of 16 bytes per vector, all of them alike: they push the vector's number. Exceptions
 * push an error code or not; both end in a report that leaves the kernel, so that it does not matter.
 */
	.align 16
	.globl vectors
vectors:
	vector = 0
	.rept 80
	.align 16
	pushq	$vector
	jmp	common
	vector = vector + 1
	.endr

/* In: the vector's number on the stack. All registers but RSP are kept. */
common:
	pushq	%rax
	pushq	%rcx
	pushq	%rdx
	pushq	%rsi
	pushq	%rdi
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	movq	72(%rsp), %rdi /* the vector */
	leaq	80(%rsp), %rsi /* what the CPU pushed */
	cld
	call	interrupt
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rdi
	popq	%rsi
	popq	%rdx
	popq	%rcx
	popq	%rax
	addq	$8, %rsp
	iretq

/* --- a second CPU ------------------------------------------------------------------------------ */

/* Copied to AP_PAGE; begins in real mode there, with CS = AP_PAGE >> 4. */
	.globl ap_start, ap_end
	.code16
ap_start:
	cli
	movw	%cs, %ax
	movw	%ax, %ds
	lgdtl	ap_gdt_pointer - ap_start
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$CODE32, $ap_protected
	.align 4
ap_gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
ap_end:

	.code32
ap_protected:
	movl	$DATA, %eax
	movl	%eax, %ds
	movl	%eax, %ss
	movl	$ap_stack_top, %esp
	call	long_mode
	ljmp	$CODE64, $ap_long
	.code64
ap_long:
	movl	$DATA, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$ap_stack_top, %esp
	call	ap_main
1:	cli
	hlt
	jmp	1b

/* --- data -------------------------------------------------------------------------------------- */

	.data
	.align 8
gdt:
	.quad	0
	.quad	0x00af9b000000ffff /* CODE64 */
	.quad	0x00cf93000000ffff /* DATA */
	.quad	0x00cf9b000000ffff /* CODE32 */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
	.align 4
	.globl entry_state
entry_state:
	.fill	8, 4, 0

/* Present, writable, accessed; the large ones dirty too. */
	.align 4096
pml4:
	.quad	pdpt + 0x23
	.fill	511, 8, 0
pdpt:
	.quad	page_directories + 0x0023
	.quad	page_directories + 0x1023
	.quad	page_directories + 0x2023
	.quad	page_directories + 0x3023
	.fill	508, 8, 0
page_directories:
	page = 0
	.rept 2048
	.quad	page + 0xe3
	page = page + 0x200000
	.endr

	.bss
	.align 16
	.skip	16384
stack_top:
	.skip	4096
ap_stack_top:
	.section .note.GNU-stack, "", @progbits

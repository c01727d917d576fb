/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel for the tests of `mayfly boot`: PVH, 32-bit, nothing but the serial port. It says
 * "ready> ", and then does what each byte that comes in says: a digit is the status to exit with,
 * c prints the command line, r resets, t faults thrice, s makes the snapshot mark; any other byte,
 * and s, is sent back.
 */
#define SERIAL 0x3f8
#define LSR (SERIAL + 5)
#define LSR_RECEIVED 0x01
#define LSR_EMPTY 0x20
#define PORT_EXIT 0xf4
#define PORT_MARK 0xf5
#define MARK_SNAPSHOT 0xff
/* struct hvm_start_info of Xen's public/arch-x86/hvm/start_info.h */
#define INFO_CMDLINE 24

	.section .note.pvh, "a", @note
	.long	4, 4, 18		/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	entry

	.text
	.code32
	.globl	entry
entry:					/* ebx: the start information */
	movl	$stack_end, %esp
	movl	$greeting, %esi
	call	print
next:	call	get			/* al: what came in */
	cmpb	$'0', %al
	jb	echo
	cmpb	$'9', %al
	jbe	leave
	cmpb	$'c', %al
	je	cmdline
	cmpb	$'r', %al
	je	reset
	cmpb	$'t', %al
	je	fault
	cmpb	$'s', %al
	jne	echo
	movb	$MARK_SNAPSHOT, %al
	outb	%al, $PORT_MARK
	movb	$'s', %al
echo:	call	put
	jmp	next

leave:	subb	$'0', %al
	movzbl	%al, %eax
	outl	%eax, $PORT_EXIT
stay:	cli
	hlt
	jmp	stay

cmdline:
	movl	INFO_CMDLINE(%ebx), %esi
	call	print
	movl	$newline, %esi
	call	print
	jmp	next

reset:	movb	$0xfe, %al		/* the 8042's command to pulse the reset line */
	outb	%al, $0x64
	jmp	stay

fault:	lidt	no_idt			/* nothing handles the fault, nor the fault of that */
	ud2

/* In: esi, text up to a zero byte. Clobbers eax, ecx, edx, esi. */
print:	lodsb
	testb	%al, %al
	jz	1f
	call	put
	jmp	print
1:	ret

/* In: al. Clobbers ecx, edx. */
put:	movb	%al, %cl
	movw	$LSR, %dx
1:	inb	%dx, %al
	testb	$LSR_EMPTY, %al
	jz	1b
	movb	%cl, %al
	movw	$SERIAL, %dx
	outb	%al, %dx
	ret

/* Out: al. Clobbers edx. */
get:	movw	$LSR, %dx
1:	inb	%dx, %al
	testb	$LSR_RECEIVED, %al
	jz	1b
	movw	$SERIAL, %dx
	inb	%dx, %al
	ret

	.section .rodata
greeting:
	.ascii	"hello\r\n"
	.asciz	"ready> "
newline:
	.asciz	"\r\n"
no_idt:	.word	0
	.long	0

	.bss
	.balign	16
	.skip	256
stack_end:

	.section .note.GNU-stack, "", @progbits

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel of `mayfly bench --boot`: entered by PVH, it says one byte on the serial port, and then
 * ends the machine by the exit port; with a command line that begins with "w" it waits for ever.
 */
#define SERIAL 0x3f8
#define PORT_EXIT 0xf4		/* docs/kernels.md */
#define INFO_CMDLINE 24		/* struct hvm_start_info of Xen's hvm/start_info.h */

	.section .note.pvh, "a", @note
	.balign	4
	.long	4, 4, 18		/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	entry

	.text
	.code32
	.globl	entry
entry:					/* ebx: the start information */
	movl	$SERIAL, %edx
	movb	$'>', %al
	outb	%al, %dx
	movl	INFO_CMDLINE(%ebx), %esi
	cmpb	$'w', (%esi)
	je	wait
	xorl	%eax, %eax
	outb	%al, $PORT_EXIT
wait:	cli				/* nothing wakes it but the end */
	hlt
	jmp	wait

	.section .note.GNU-stack, "", @progbits

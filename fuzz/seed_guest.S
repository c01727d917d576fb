/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that is linked in several ways to be a seed of fuzz_elf (see make-seeds): exports, an
 * import, pointers that need relocations, thread-local data, zeroed data. It is never run.
 */
#include "abi/function.h"

/* A note of `type`; its descriptor follows up to note_end. */
	.macro	note type
	.pushsection .note.mayfly, "a", @note
	.balign	4
	.long	7, 2f - 1f, \type	/* sizes of name and descriptor */
	.asciz	FN_NOTE_NAME
	.balign	4
1:
	.endm

	.macro	note_end
2:	.balign	4
	.popsection
	.endm

	.macro	export name, signature
	note	FN_NOTE_EXPORT
	.quad	\name - .
	.asciz	"\name"
	.asciz	"\signature"
	note_end
	.globl	\name
	.type	\name, @function
	.endm

	.macro	import name, signature
	note	FN_NOTE_IMPORT
	.quad	0
	.asciz	"\name"
	.asciz	"\signature"
	note_end
	.endm

	note	FN_NOTE_ABI
	.long	FN_ABI_VERSION
	note_end

	.text
	export	add, "i32(i32,i32)"
add:					/* in: edi, esi; out: eax */
	lea	(%rdi, %rsi), %eax
	ret
	.size	add, . - add

	export	first, "string()"
first:					/* out: rax, an address from the table */
	mov	table(%rip), %rax
	ret
	.size	first, . - first

	export	many, "void(bool,i32,u32,i64,u64,f32,f64,string,bytes)"
many:
	ret
	.size	many, . - many

	.type	helper, @function	/* local, without a size */
helper:
	ret

	import	log, "void(string)"
	import	now, "u64()"

	.section .data.rel.ro, "aw", @progbits
	.balign	8
table:
	.quad	text, table, add, helper

	.section .rodata
text:	.asciz	"hello"

	.section .tdata, "awT", @progbits
	.balign	16
	.quad	1, 2

	.section .tbss, "awT", @nobits
	.skip	24

	.bss
	.balign	64
	.skip	5000

	.section .note.GNU-stack, "", @progbits

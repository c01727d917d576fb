/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that the command carries, so that `mayfly bench` needs nothing beside it. The build gives their
 * paths: BENCH_GUEST_PATH (bench/bench_guest.c) and BENCH_NOOP_PATH (bench/noop.c).
 */
	.section .rodata
	.balign 16
	.globl bench_guest_elf, bench_guest_elf_size
	.hidden bench_guest_elf, bench_guest_elf_size
bench_guest_elf:			/* the guest of the rows */
	.incbin BENCH_GUEST_PATH
1:
	.balign 16
bench_guest_elf_size:			/* its length */
	.quad 1b - bench_guest_elf

	.balign 16
	.globl bench_noop_elf, bench_noop_elf_size
	.hidden bench_noop_elf, bench_noop_elf_size
bench_noop_elf:				/* the smallest static program, for comparison */
	.incbin BENCH_NOOP_PATH
1:
	.balign 16
bench_noop_elf_size:			/* its length */
	.quad 1b - bench_noop_elf

	.section .note.GNU-stack, "", @progbits

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that the command carries, so that `mayfly bench` needs nothing beside it. The build gives their
 * paths: BENCH_GUEST_PATH (bench/bench_guest.c), BENCH_NOOP_PATH (bench/noop.c) and
 * BENCH_BOOT_KERNEL_PATH (bench/boot_kernel.S).
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

	.balign 16
	.globl bench_boot_kernel, bench_boot_kernel_size
	.hidden bench_boot_kernel, bench_boot_kernel_size
bench_boot_kernel:			/* the smallest kernel */
	.incbin BENCH_BOOT_KERNEL_PATH
1:
	.balign 16
bench_boot_kernel_size:			/* its length */
	.quad 1b - bench_boot_kernel

	.section .note.GNU-stack, "", @progbits

/* SPDX-License-Identifier: Apache-2.0 */
/* The state of an x86-64 CPU, as far as guests can have any, without a hypervisor's types. */
#ifndef MAYFLY_ARCH_CPU_H
#define MAYFLY_ARCH_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpu_regs {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
};

/*
 * RFLAGS (SDM vol. 1, 3.4.3): bit 1 is always set; IF has an exit be possible at any
 * instruction.
 */
#define CPU_RFLAGS_START 0x202u
/* What ring 3 may change: the arithmetic flags, TF, DF, NT, RF, AC, ID. */
#define CPU_RFLAGS_USER 0x254dd5u

/*
 * How a vCPU starts: ring 3, 64-bit mode, paging on. Addresses are guest-virtual, except cr3.
 */
struct cpu_setup {
	uint64_t cr3;
	uint64_t gdt;
	uint16_t gdt_limit;
	uint64_t idt;
	uint16_t idt_limit;
	uint64_t tss;
	uint32_t tss_limit;
	uint64_t syscall_entry; /* where SYSCALL goes (MSR LSTAR) */
	uint64_t fs_base;
	uint64_t gs_base;
	bool allow_tsc; /* RDTSC in ring 3 */
	bool host_tsc;	/* and it gives what it gives on the host */
	bool sync_regs; /* each exit brings the general registers along: get_regs is free then */
};

/* How a machine's first vCPU enters its kernel. Addresses are guest-physical. */
enum cpu_boot_mode {
	/*
	 * 32-bit protected mode, no paging, flat segments, EBX = info
	 * (xen/docs/misc/pvh.pandoc; Linux's Documentation/arch/x86/boot.rst calls it
	 * hvm_start_info).
	 */
	CPU_BOOT_PVH,
	/* 64-bit mode, identity-mapped by cr3, RSI = info (boot.rst, "64-bit boot protocol") */
	CPU_BOOT_LINUX64
};

/*
 * Selectors of a cpu_boot's GDT: flat segments, the code one of the mode's width (Linux wants
 * these numbers, boot.rst: __BOOT_CS and __BOOT_DS), and a busy TSS with base 0 and limit 0x67.
 */
#define CPU_BOOT_CS 0x10
#define CPU_BOOT_DS 0x18
#define CPU_BOOT_TSS 0x20

struct cpu_boot {
	enum cpu_boot_mode mode;
	uint64_t entry;
	uint64_t info;
	uint64_t cr3; /* CPU_BOOT_LINUX64 */
	uint64_t gdt; /* of flat segments, and a TSS, in guest memory */
	uint16_t gdt_limit;
	uint32_t cpus; /* of the machine: for CPUID's topology leaves */
};

/* What else a fault report needs. */
struct cpu_control {
	uint64_t cr0;
	uint64_t cr2;
	uint64_t cr3;
	uint64_t cr4;
	uint64_t efer;
	uint64_t cs_base;
	uint64_t fs_base;
	uint64_t gs_base;
	uint16_t cs;
	uint16_t ss;
};

/* Selectors of descriptors_build()'s GDT, fixed by SYSCALL's arithmetic (SDM vol. 3, 5.8.8). */
#define CPU_SEL_KERNEL_CS 0x08
#define CPU_SEL_KERNEL_SS 0x10
#define CPU_SEL_USER_SS 0x23
#define CPU_SEL_USER_CS 0x2b
#define CPU_SEL_TSS 0x30

/* Control register bits (SDM vol. 3, 2.5). */
#define CPU_CR0_PE (1u << 0)
#define CPU_CR0_MP (1u << 1)
#define CPU_CR0_ET (1u << 4)
#define CPU_CR0_NE (1u << 5)
#define CPU_CR0_WP (1u << 16)
#define CPU_CR0_PG (1u << 31)
#define CPU_CR4_TSD (1u << 2)
#define CPU_CR4_PAE (1u << 5)
#define CPU_CR4_OSFXSR (1u << 9)
#define CPU_CR4_OSXMMEXCPT (1u << 10)
#define CPU_CR4_UMIP (1u << 11)
#define CPU_CR4_FSGSBASE (1u << 16)
#define CPU_CR4_OSXSAVE (1u << 18)
#define CPU_EFER_SCE (1u << 0)
#define CPU_EFER_LME (1u << 8)
#define CPU_EFER_LMA (1u << 10)
#define CPU_EFER_NXE (1u << 11)

/* XCR0: x87, SSE, AVX, opmask, ZMM_Hi256, Hi16_ZMM (SDM vol. 1, 13.3): what guests may use. */
#define CPU_XCR0_ALLOWED 0xe7u
/*
 * The standard-format XSAVE image of these ends at 2688 (13.5); what KVM exchanges is one page.
 */
#define CPU_XSAVE_SIZE 2696u
#define CPU_XSAVE_BUFFER 4096u

/* Exception numbers (SDM vol. 3, 6.15) that are told apart. */
enum cpu_vector {
	CPU_DIVIDE = 0,
	CPU_DEBUG = 1,
	CPU_BREAKPOINT = 3,
	CPU_INVALID_OPCODE = 6,
	CPU_DOUBLE_FAULT = 8,
	CPU_STACK_SEGMENT = 12,
	CPU_PROTECTION = 13,
	CPU_PAGE_FAULT = 14,
	CPU_ALIGNMENT = 17,
	CPU_VECTORS = 32
};

/* "page fault", for messages; never NULL. */
const char *cpu_vector_name(uint32_t vector);
bool cpu_vector_has_error_code(uint32_t vector);

/* This CPU's brand string, or its vendor's name; always terminated. */
void cpu_brand(char *buffer, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/x86_64/descriptors.h"

#include <string.h>

/* 64-bit TSS (SDM vol. 3, 8.7): RSP0, and where the I/O bitmap begins. */
#define TSS_RSP0 4
#define TSS_IOMAP_BASE 102
#define TSS_SIZE 104
/* The bitmap covers ports below 0x80; ports past its end are refused (SDM vol. 1, 19.5.2). */
#define IOMAP_SIZE 16
#define TSS_LIMIT (TSS_SIZE + IOMAP_SIZE) /* with the byte of ones that must follow */

#define GATE_INTERRUPT 0x8e
#define GATE_DPL3 0x60

/* Each stub: out %al, $port (2 bytes); hlt. */
#define STUB_SIZE 8

static void put16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
	memcpy(p, &v, sizeof(v));
}

static void build_gdt(uint8_t *gdt, uint64_t tss)
{
	/* SDM vol. 3, 3.4.5: flat segments, accessed. There is no 32-bit code segment. */
	put64(gdt + CPU_SEL_KERNEL_CS, 0x00af9b000000ffffULL);
	put64(gdt + CPU_SEL_KERNEL_SS, 0x00cf93000000ffffULL);
	put64(gdt + (CPU_SEL_USER_SS & ~3), 0x00cff3000000ffffULL);
	put64(gdt + (CPU_SEL_USER_CS & ~3), 0x00affb000000ffffULL);
	/* Busy 64-bit TSS (7.2.3) */
	put64(gdt + CPU_SEL_TSS, 0x00008b0000000000ULL | TSS_LIMIT | (tss & 0xffffff) << 16 |
					 (tss >> 24 & 0xff) << 56);
	put64(gdt + CPU_SEL_TSS + 8, tss >> 32);
}

void descriptors_build_tss(uint8_t *tss, uint64_t stack_top, uint16_t user_port)
{
	put64(tss + TSS_RSP0, stack_top);
	put16(tss + TSS_IOMAP_BASE, TSS_SIZE);
	memset(tss + TSS_SIZE, 0xff, IOMAP_SIZE + 1);
	tss[TSS_SIZE + user_port / 8] &= (uint8_t) ~(1u << (user_port % 8));
}

static void build_gate(uint8_t *gate, uint64_t target, uint8_t type)
{
	put16(gate, (uint16_t)target);
	put16(gate + 2, CPU_SEL_KERNEL_CS);
	gate[5] = type;
	put16(gate + 6, (uint16_t)(target >> 16));
	put64(gate + 8, target >> 32);
}

void descriptors_build(uint8_t *page, uint64_t va, uint64_t stack_top, uint16_t exception_port,
		       uint16_t user_port)
{
	build_gdt(page + DESCRIPTORS_GDT, va + DESCRIPTORS_TSS);
	descriptors_build_tss(page + DESCRIPTORS_TSS, stack_top, user_port);
	for (size_t v = 0; v < CPU_VECTORS; v++) {
		uint8_t *stub = page + DESCRIPTORS_STUBS + v * STUB_SIZE;
		/* INT3 and INTO may be used by ring 3, so that they arrive as what they are. */
		bool user = v == CPU_BREAKPOINT || v == 4;

		stub[0] = 0xe6; /* out %al, $imm8 */
		stub[1] = (uint8_t)(exception_port + v);
		stub[2] = 0xf4; /* hlt: the host never comes back here */
		build_gate(page + DESCRIPTORS_IDT + v * 16,
			   va + DESCRIPTORS_STUBS + v * STUB_SIZE,
			   user ? GATE_INTERRUPT | GATE_DPL3 : GATE_INTERRUPT);
	}
}

void descriptors_setup(struct cpu_setup *setup, uint64_t va)
{
	setup->gdt = va + DESCRIPTORS_GDT;
	setup->gdt_limit = DESCRIPTORS_GDT_SIZE - 1;
	setup->idt = va + DESCRIPTORS_IDT;
	setup->idt_limit = CPU_VECTORS * 16 - 1;
	setup->tss = va + DESCRIPTORS_TSS;
	setup->tss_limit = TSS_LIMIT;
}

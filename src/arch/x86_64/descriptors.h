/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one page that ring 0 needs: GDT, TSS with I/O permission bitmap, IDT and a stub for each
 * exception, all prebuilt, with every accessed and busy bit set so that the CPU never writes to
 * it.
 */
#ifndef MAYFLY_ARCH_DESCRIPTORS_H
#define MAYFLY_ARCH_DESCRIPTORS_H

#include "arch/x86_64/cpu.h"

/* Where things lie in the page. */
#define DESCRIPTORS_GDT 0x000
#define DESCRIPTORS_GDT_SIZE 64
#define DESCRIPTORS_TSS 0x100
#define DESCRIPTORS_IDT 0x400
#define DESCRIPTORS_STUBS 0x800

/*
 * Fill `page` (4096 zero bytes), which guests see at `va`. Exceptions switch to `stack_top` and
 * leave by a write to port exception_port + vector; ring 3 may write `user_port` and no other.
 */
void descriptors_build(uint8_t *page, uint64_t va, uint64_t stack_top, uint16_t exception_port,
		       uint16_t user_port);

/*
 * A TSS alone, for a vCPU of its own, at the beginning of `tss`: stack and ports as above.
 */
void descriptors_build_tss(uint8_t *tss, uint64_t stack_top, uint16_t user_port);

/* The setup's gdt, idt and tss for such a page at `va`. */
void descriptors_setup(struct cpu_setup *setup, uint64_t va);

#endif

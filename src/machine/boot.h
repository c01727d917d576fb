/* SPDX-License-Identifier: Apache-2.0 */
/* Memory as a kernel finds it at its entry; one way for each protocol. No hypervisor here. */
#ifndef MAYFLY_MACHINE_BOOT_H
#define MAYFLY_MACHINE_BOOT_H

#include "loader/kernel.h"
#include "machine/ram.h"

/* A device for the command line: virtio_mmio.device=512@0xfeb00000:5 */
struct boot_device {
	uint64_t base;
	uint32_t irq;
};

struct boot_config {
	const uint8_t *kernel;
	size_t kernel_len;
	const uint8_t *initrd; /* may be NULL */
	size_t initrd_len;
	const char *cmdline; /* never NULL */
	const struct boot_device *devices;
	uint32_t ndevices;
	bool bare; /* the command line as it is: nothing added */
	uint32_t cpus;
};

/*
 * Load the kernel, place the initrd, write start information, memory map, command line, MP table,
 * GDT, and for Linux's 64-bit protocol the zero page and page tables. `ram` is all zero. Errors:
 * those of kernel_load(), TOO_LARGE (command line, initrd), NOMEM.
 */
int boot_prepare(const struct boot_config *config, const struct ram *ram, struct cpu_boot *out,
		 mayfly_error *err);

/* The command line with the devices', as `system` wants it. `size` of `to` bytes. Errors: TOO_LARGE. */
int boot_cmdline(const struct boot_config *config, enum kernel_system system, char *to,
		 size_t size, mayfly_error *err);

/* Intel MP specification 1.4: floating pointer and configuration table, at 639 KiB. */
#define MPTABLE_SIZE 1024
void mptable_build(uint8_t table[MPTABLE_SIZE], uint32_t address, uint32_t cpus);

#endif

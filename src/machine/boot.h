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

/* Where the kernel's console is to be: for the command line. */
enum boot_console { BOOT_CONSOLE_UNSAID, BOOT_CONSOLE_SERIAL, BOOT_CONSOLE_VIRTIO };

/*
 * ACPI tables: with AUTO only for Linux, and only with devices or several CPUs, which
 * distributions' kernels find by nothing else.
 */
enum boot_acpi { BOOT_ACPI_AUTO, BOOT_ACPI_ON, BOOT_ACPI_OFF };

struct boot_config {
	struct image *kernel;
	struct image *initrd; /* may be NULL, or empty */
	const char *cmdline;  /* never NULL */
	const struct boot_device *devices;
	uint32_t ndevices;
	enum boot_console console;
	bool bare; /* the command line as it is: nothing added */
	uint32_t cpus;
	enum boot_acpi acpi;
};

/*
 * Load the kernel, place the initrd, write start information, memory map, command line, MP table,
 * GDT, and for Linux's 64-bit protocol the zero page and page tables. `ram` is all zero. Errors:
 * those of kernel_load(), TOO_LARGE (command line, initrd), INVALID (too many CPUs).
 */
int boot_prepare(const struct boot_config *config, const struct ram *ram, struct cpu_boot *out,
		 mayfly_error *err);

/*
 * The command line as `system` wants it, in `size` bytes of `to`: the user's, then what makes such
 * a kernel's start quick and its console be ours, unless the user says otherwise, then the
 * devices. NetBSD's console comes first, since it reads some things from the beginning only; what
 * is after Linux's " -- " stays last. docs/kernels.md lists the words. Errors: TOO_LARGE.
 */
int boot_cmdline(const struct boot_config *config, enum kernel_system system, char *to,
		 size_t size, mayfly_error *err);

/*
 * Intel MP specification 1.4: floating pointer and configuration table, for the guest-physical
 * `address`. Interrupts from MACHINE_FIRST_IRQ on are levels, active high, but the clock's.
 */
#define MPTABLE_SIZE 1024
#define MPTABLE_MAX_CPUS 32
void mptable_build(uint8_t table[MPTABLE_SIZE], uint32_t address, uint32_t cpus);

#endif

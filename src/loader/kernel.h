/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel files as hostile bytes: an ELF file with the PVH note (Xen's note 18, PHYS32_ENTRY), a
 * Linux vmlinux without it, a bzImage. No policy, no platform: what the file is, where its parts
 * go, where to enter.
 *
 * A bzImage unpacks itself in the guest. That takes long, and decompressors are not what a library
 * for VMs should bring along: the command unpacks it beforehand (cli/kernel_image.c), and keeps
 * the result; other users of the library may do the same with Linux's scripts/extract-vmlinux.
 */
#ifndef MAYFLY_LOADER_KERNEL_H
#define MAYFLY_LOADER_KERNEL_H

#include "arch/x86_64/cpu.h"
#include "loader/image.h"
#include "machine/ram.h"

enum kernel_kind {
	KERNEL_PVH,	/* enter at the note's address */
	KERNEL_LINUX64, /* 64-bit boot protocol */
};

enum kernel_system { KERNEL_OTHER, KERNEL_LINUX, KERNEL_NETBSD };

/* Kernels lie at or above this: below are boot.c's tables, and the legacy hole. */
#define KERNEL_LOWEST ((uint64_t)1 << 20)

#define KERNEL_SETUP 0x1f1    /* where the setup header begins, in the file and the zero page */
#define KERNEL_MAX_SETUP 0x7f /* bytes: up to 0x270, where the zero page goes on */

struct kernel {
	enum kernel_kind kind;
	enum kernel_system system; /* as far as it shows: for the command line's additions */
	uint64_t entry;
	uint64_t start, end; /* guest-physical: all of it lies within, zeroed memory included */
	uint64_t initrd_max; /* an initrd ends at or below this address */
	uint32_t cmdline_max; /* bytes, without the terminating zero; 0: not said */
	/* KERNEL_LINUX64: a bzImage's setup header (boot.rst), from KERNEL_SETUP on; len 0: none */
	uint8_t setup[KERNEL_MAX_SETUP];
	uint32_t setup_len;
};

/*
 * Put the kernel into memory, whose bytes above KERNEL_LOWEST are zero, and say how it is entered.
 * Errors: FORMAT (what in the file is wrong), UNSUPPORTED (not for this CPU, no way in), TOO_LARGE
 * (does not fit `ram`, with how much is needed), IO, NOMEM.
 */
int kernel_load(struct image *image, const struct ram *ram, struct kernel *out,
		mayfly_error *err);

#endif

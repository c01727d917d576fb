/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel files as hostile bytes: an ELF file with the PVH note (Xen's note 18, PHYS32_ENTRY), a
 * Linux vmlinux without it, a bzImage. No policy, no platform: what the file is, where its parts
 * go, where to enter.
 */
#ifndef MAYFLY_LOADER_KERNEL_H
#define MAYFLY_LOADER_KERNEL_H

#include "arch/x86_64/cpu.h"
#include "machine/ram.h"

enum kernel_kind {
	KERNEL_PVH,	/* enter at the note's address */
	KERNEL_LINUX64, /* 64-bit boot protocol */
};

enum kernel_system { KERNEL_OTHER, KERNEL_LINUX, KERNEL_NETBSD };

#define KERNEL_MAX_SETUP 4096 /* bytes of a bzImage's setup header that are kept */

struct kernel {
	enum kernel_kind kind;
	enum kernel_system system; /* as far as it shows: for the command line's additions */
	uint64_t entry;
	uint64_t start, end; /* guest-physical: all of it lies within, zeroed memory included */
	/* KERNEL_LINUX64: the setup header (boot.rst) as the file has it, from offset 0x1f1 */
	uint8_t setup[KERNEL_MAX_SETUP];
	uint32_t setup_len;
};

/*
 * Put the kernel into memory, whose bytes above are zero, and say how it is entered. A bzImage
 * whose payload is compressed by a method that can be unpacked here (see kernel_unpack()) is
 * loaded from its ELF payload; else it unpacks itself in the guest. Errors: FORMAT (what in the
 * file is wrong), UNSUPPORTED (32-bit, not x86-64, no way in), TOO_LARGE (does not fit `ram`,
 * with how much is needed), NOMEM.
 */
int kernel_load(const uint8_t *data, size_t len, const struct ram *ram, struct kernel *out,
		mayfly_error *err);

/*
 * The ELF file inside a bzImage: *out owned by the caller (free()), or NULL if the file is no
 * bzImage or its compression is not known. Errors: FORMAT, NOMEM.
 */
int kernel_unpack(const uint8_t *data, size_t len, uint8_t **out, size_t *out_len,
		  mayfly_error *err);

#endif

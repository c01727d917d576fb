/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel files for tests: small, valid, and then damaged by the test. */
#ifndef MAYFLY_TESTS_KERNEL_BUILDER_H
#define MAYFLY_TESTS_KERNEL_BUILDER_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL_FILE_MAX 8192
#define KERNEL_ADDRESS 0x200000u
#define KERNEL_CODE_OFFSET 0x1000u /* in the ELF file */
#define KERNEL_CODE_LEN 64u
#define KERNEL_MEMSZ 0x3000u

/* A file; headers can be changed in place. */
struct kernel_file {
	_Alignas(8) uint8_t data[KERNEL_FILE_MAX];
	size_t len;
	Elf64_Ehdr *header;
	Elf64_Phdr *load, *note; /* the only two */
	uint8_t *notes;		 /* where the PVH note is */
};

/* ELF64 with a PVH note; its code is the bytes 1, 2, 3... */
void kernel_file_elf(struct kernel_file *f);
/* The same in ELF32: `header`, `load` and `note` are NULL. */
void kernel_file_elf32(struct kernel_file *f);
/* A bzImage of boot protocol 2.15 without payload; setup part of four sectors. */
void kernel_file_bzimage(struct kernel_file *f);
void kernel_put16(uint8_t *at, uint16_t v);
void kernel_put32(uint8_t *at, uint32_t v);
void kernel_put64(uint8_t *at, uint64_t v);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of the ELF loader only: the hostile file, from which every structure is
 * copied before it is looked at, so that neither alignment nor aliasing matters.
 */
#ifndef MAYFLY_LOADER_ELF_FILE_H
#define MAYFLY_LOADER_ELF_FILE_H

#include <elf.h>
#include <string.h>

#include "loader/elf.h"

struct elf_file {
	const uint8_t *data;
	uint64_t len;
	Elf64_Ehdr eh; /* checked: class, byte order, type, machine, program header table */
};

/* What is known of the dynamic section: the values by tag, 0 where a tag is absent. */
#define ELF_DYNAMIC_TAGS 40
struct elf_dynamic {
	bool present;
	uint64_t seen; /* bit per tag */
	uint64_t value[ELF_DYNAMIC_TAGS];
	uint64_t flags_1;
};

/* Copy `size` bytes at `offset` to dst, or false where the file does not have them. */
static inline bool elf_file_read(const struct elf_file *file, uint64_t offset, void *dst,
				 size_t size)
{
	if (!range_within(offset, size, file->len))
		return false;
	memcpy(dst, file->data + offset, size);
	return true;
}

/* Check the ELF header and that the program headers are there. Errors as elf_parse(). */
int elf_file_open(struct elf_file *file, const void *data, size_t len, mayfly_error *err);

/* Program header `index`, below e_phnum of an opened file. */
Elf64_Phdr elf_file_phdr(const struct elf_file *file, uint32_t index);

/* The segment that holds all of [va, va + len), or NULL. O(log n) */
const struct elf_segment *elf_segment_at(const struct elf_image *image, uint64_t va,
					 uint64_t len);

/* Read the dynamic section if there is one. Errors: FORMAT. */
int elf_dynamic_read(const struct elf_file *file, struct elf_dynamic *out, mayfly_error *err);

/* Apply the dynamic section's relocations in `mem`, see elf_load(). */
int elf_dynamic_relocate(const struct elf_image *image, const struct elf_dynamic *dyn,
			 uint8_t *mem, mayfly_error *err);

/*
 * Fill in image->symbols, nsymbols, names; segments and bias must be there already. The only
 * error is NOMEM. Neither array takes more memory than the file has bytes.
 */
int elf_symbols_read(const struct elf_file *file, struct elf_image *image, mayfly_error *err);

#endif

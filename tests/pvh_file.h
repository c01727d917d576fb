/* SPDX-License-Identifier: Apache-2.0 */
/* A kernel of a few bytes: an ELF file with the PVH note, for tests of machines. */
#ifndef MAYFLY_TESTS_PVH_FILE_H
#define MAYFLY_TESTS_PVH_FILE_H

#include <elf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PVH_ENTRY 0x100000u
#define PVH_CODE 0x1000u /* offset in the file */
#define PVH_NOTE 0x200u
#define PVH_MAX_CODE 0xf000u
#define PVH_MEMORY 0x20000u /* bytes from PVH_ENTRY on that are the kernel's */
#define PVH_PHYS32_ENTRY 18

struct pvh_file {
	uint8_t bytes[PVH_CODE + PVH_MAX_CODE];
	size_t len;
};

/* 32-bit code that is entered at its first byte. */
static inline void pvh_build(struct pvh_file *f, const void *code, size_t len)
{
	Elf64_Ehdr header = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			    EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = PVH_ENTRY,
		.e_phoff = sizeof(header),
		.e_ehsize = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
	};
	struct {
		Elf64_Nhdr header;
		char name[4];
		uint32_t entry;
	} note = {{4, 4, PVH_PHYS32_ENTRY}, {'X', 'e', 'n', 0}, PVH_ENTRY};
	Elf64_Phdr parts[2] = {
		{.p_type = PT_LOAD,
		 .p_flags = PF_R | PF_W | PF_X,
		 .p_offset = PVH_CODE,
		 .p_vaddr = PVH_ENTRY,
		 .p_paddr = PVH_ENTRY,
		 .p_filesz = len,
		 .p_memsz = PVH_MEMORY,
		 .p_align = 0x1000},
		{.p_type = PT_NOTE,
		 .p_flags = PF_R,
		 .p_offset = PVH_NOTE,
		 .p_filesz = sizeof(note),
		 .p_memsz = sizeof(note),
		 .p_align = 4},
	};

	memset(f, 0, sizeof(*f));
	memcpy(f->bytes, &header, sizeof(header));
	memcpy(f->bytes + sizeof(header), parts, sizeof(parts));
	memcpy(f->bytes + PVH_NOTE, &note, sizeof(note));
	memcpy(f->bytes + PVH_CODE, code, len);
	f->len = PVH_CODE + len;
}

/* The same as a file; `path` ends with XXXXXX, which becomes its name. -1: it cannot be. */
static inline int pvh_write(char *path, const void *code, size_t len)
{
	struct pvh_file *f = malloc(sizeof(*f));
	int fd = f && len <= PVH_MAX_CODE ? mkstemp(path) : -1, r = -1;

	if (fd >= 0) {
		pvh_build(f, code, len);
		r = write(fd, f->bytes, f->len) == (ssize_t)f->len ? 0 : -1;
		close(fd);
	}
	free(f);
	return r;
}

#endif

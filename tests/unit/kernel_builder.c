/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_builder.h"

#include <string.h>

#define NOTES_OFFSET 0x800u

void kernel_put16(uint8_t *at, uint16_t v)
{
	memcpy(at, &v, sizeof(v));
}

void kernel_put32(uint8_t *at, uint32_t v)
{
	memcpy(at, &v, sizeof(v));
}

void kernel_put64(uint8_t *at, uint64_t v)
{
	memcpy(at, &v, sizeof(v));
}

/* Name "Xen", type 18, four bytes: the entry. Gives the length. */
static uint32_t put_note(uint8_t *at)
{
	kernel_put32(at, 4);
	kernel_put32(at + 4, 4);
	kernel_put32(at + 8, 18);
	memcpy(at + 12, "Xen", 4);
	kernel_put32(at + 16, KERNEL_ADDRESS + 4);
	return 20;
}

static void put_code(struct kernel_file *f)
{
	for (uint32_t i = 0; i < KERNEL_CODE_LEN; i++)
		f->data[KERNEL_CODE_OFFSET + i] = (uint8_t)(i + 1);
	f->len = KERNEL_CODE_OFFSET + KERNEL_CODE_LEN;
	f->notes = f->data + NOTES_OFFSET;
}

void kernel_file_elf(struct kernel_file *f)
{
	memset(f, 0, sizeof(*f));
	put_code(f);
	f->header = (Elf64_Ehdr *)f->data;
	f->load = (Elf64_Phdr *)(f->data + sizeof(Elf64_Ehdr));
	f->note = f->load + 1;
	*f->header = (Elf64_Ehdr){.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1},
				  .e_type = ET_EXEC,
				  .e_machine = EM_X86_64,
				  .e_version = 1,
				  .e_entry = KERNEL_ADDRESS,
				  .e_phoff = sizeof(Elf64_Ehdr),
				  .e_ehsize = sizeof(Elf64_Ehdr),
				  .e_phentsize = sizeof(Elf64_Phdr),
				  .e_phnum = 2};
	*f->load = (Elf64_Phdr){.p_type = PT_LOAD,
				.p_offset = KERNEL_CODE_OFFSET,
				.p_vaddr = 0xffffffff80200000,
				.p_paddr = KERNEL_ADDRESS,
				.p_filesz = KERNEL_CODE_LEN,
				.p_memsz = KERNEL_MEMSZ};
	*f->note = (Elf64_Phdr){.p_type = PT_NOTE,
				.p_offset = NOTES_OFFSET,
				.p_filesz = put_note(f->notes),
				.p_align = 4};
}

void kernel_file_elf32(struct kernel_file *f)
{
	Elf32_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, 1},
			     .e_type = ET_EXEC,
			     .e_machine = EM_386,
			     .e_version = 1,
			     .e_entry = KERNEL_ADDRESS,
			     .e_phoff = sizeof(Elf32_Ehdr),
			     .e_ehsize = sizeof(Elf32_Ehdr),
			     .e_phentsize = sizeof(Elf32_Phdr),
			     .e_phnum = 2};
	Elf32_Phdr load = {.p_type = PT_LOAD,
			   .p_offset = KERNEL_CODE_OFFSET,
			   .p_paddr = KERNEL_ADDRESS,
			   .p_filesz = KERNEL_CODE_LEN,
			   .p_memsz = KERNEL_MEMSZ};
	Elf32_Phdr note = {.p_type = PT_NOTE, .p_offset = NOTES_OFFSET, .p_align = 4};

	memset(f, 0, sizeof(*f));
	put_code(f);
	note.p_filesz = put_note(f->notes);
	memcpy(f->data, &header, sizeof(header));
	memcpy(f->data + sizeof(header), &load, sizeof(load));
	memcpy(f->data + sizeof(header) + sizeof(load), &note, sizeof(note));
}

/* boot.rst: "The real-mode kernel header". */
void kernel_file_bzimage(struct kernel_file *f)
{
	uint8_t *d = f->data;

	memset(f, 0, sizeof(*f));
	d[0x1f1] = 4;			     /* setup_sects */
	kernel_put32(d + 0x1f4, 0x400 / 16); /* syssize */
	kernel_put16(d + 0x1fe, 0xaa55);
	d[0x200] = 0xeb;
	d[0x201] = 0x270 - 0x202;
	memcpy(d + 0x202, "HdrS", 4);
	kernel_put16(d + 0x206, 0x20f);
	d[0x211] = 1;			     /* loadflags: high */
	kernel_put32(d + 0x22c, 0x7fffffff); /* initrd_addr_max */
	kernel_put16(d + 0x236, 1);	     /* xloadflags: 64-bit entry */
	kernel_put32(d + 0x238, 2047);	     /* cmdline_size */
	kernel_put64(d + 0x258, KERNEL_ADDRESS);
	kernel_put32(d + 0x260, 0x10000); /* init_size */
	f->len = 5 * 512 + 0x400;
	for (uint32_t i = 0; i < 0x400; i++)
		d[5 * 512 + i] = (uint8_t)(i + 1);
}

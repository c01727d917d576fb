/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds of fuzz_kernel: a byte that says how the machine is, and a kernel. */
#include <string.h>

#include "kernel_builder.h"
#include "seed_kernel.h"

static void write_kernel(seed_writer write, const char *name, uint8_t first,
			 const struct kernel_file *file)
{
	static uint8_t bytes[KERNEL_FILE_MAX + 1];

	bytes[0] = first;
	memcpy(bytes + 1, file->data, file->len);
	write("kernel", name, bytes, file->len + 1);
}

void kernel_seeds(seed_writer write)
{
	static struct kernel_file file;

	kernel_file_elf(&file);
	write_kernel(write, "elf", 0, &file);
	file.note->p_type = PT_NULL;
	memcpy(file.data + KERNEL_CODE_OFFSET + 8, "Linux version 6", 15);
	write_kernel(write, "vmlinux", 4, &file);
	kernel_file_elf(&file);
	file.load->p_paddr = UINT64_MAX - KERNEL_MEMSZ + 1;
	write_kernel(write, "segment-at-the-end", 0, &file);
	kernel_file_elf(&file);
	kernel_put32(file.notes, UINT32_MAX - 3);
	write_kernel(write, "note-name-huge", 0, &file);
	kernel_file_elf(&file);
	file.note->p_align = 8;
	write_kernel(write, "note-aligned-to-8", 8, &file);
	kernel_file_elf32(&file);
	write_kernel(write, "elf32", 17, &file);
	kernel_file_bzimage(&file);
	write_kernel(write, "bzimage", 5, &file);
	kernel_put32(file.data + 0x260, UINT32_MAX);
	write_kernel(write, "bzimage-needs-much", 0, &file);
	kernel_file_bzimage(&file);
	file.data[0x201] = 0xff;
	write_kernel(write, "bzimage-header-long", 0, &file);
}

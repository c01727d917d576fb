/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel files: what is loaded where, and that each damage is an error that names it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail

#include <stdlib.h>
#include <string.h>

#include "kernel_builder.h"
#include "loader/kernel.h"

#define MEMORY ((uint64_t)8 << 20)

static struct kernel_file file;
static struct kernel kernel;
static mayfly_error err;
static struct ram ram;

static int setup(void **state)
{
	(void)state;
	ram = (struct ram){.mem = calloc(1, MEMORY), .low = MEMORY, .len = MEMORY};
	memset(&kernel, 0x5a, sizeof(kernel));
	memset(&err, 0, sizeof(err));
	return ram.mem ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	free(ram.mem);
	return 0;
}

static int load(void)
{
	struct image image = {.data = file.data, .len = file.len};

	return kernel_load(&image, &ram, &kernel, &err);
}

/* Refused with this code, a message that contains `text`, and *out untouched. */
static void assert_refused(int code, const char *text)
{
	assert_int_equal(load(), code);
	assert_int_equal(err.code, code);
	if (!strstr(err.message, text)) {
		print_error("'%s' does not say '%s'\n", err.message, text);
		assert_true(false);
	}
	assert_int_equal(*(const uint8_t *)&kernel, 0x5a);
}

static void assert_code_loaded(void)
{
	for (uint32_t i = 0; i < KERNEL_CODE_LEN; i++)
		assert_int_equal(ram.mem[KERNEL_ADDRESS + i], i + 1);
	for (uint32_t i = KERNEL_CODE_LEN; i < KERNEL_MEMSZ; i++)
		assert_int_equal(ram.mem[KERNEL_ADDRESS + i], 0);
}

/* --- ELF ----------------------------------------------------------------------------------- */

static void elf_is_loaded_at_its_physical_address(void **state)
{
	(void)state;
	kernel_file_elf(&file);
	assert_int_equal(load(), MAYFLY_OK);
	assert_int_equal(kernel.kind, KERNEL_PVH);
	assert_int_equal(kernel.system, KERNEL_OTHER);
	assert_int_equal(kernel.entry, KERNEL_ADDRESS + 4);
	assert_int_equal(kernel.start, KERNEL_ADDRESS);
	assert_int_equal(kernel.end, KERNEL_ADDRESS + KERNEL_MEMSZ);
	assert_code_loaded();
}

static void elf32_is_loaded_likewise(void **state)
{
	(void)state;
	kernel_file_elf32(&file);
	assert_int_equal(load(), MAYFLY_OK);
	assert_int_equal(kernel.kind, KERNEL_PVH);
	assert_int_equal(kernel.entry, KERNEL_ADDRESS + 4);
	assert_code_loaded();
}

static void note_among_others_is_found_and_tells_the_system(void **state)
{
	static const uint8_t more[] = {7,   0,	 0,   0,   4,	0,   0, 0, 1, 0, 0, 0,
				       'N', 'e', 't', 'B', 'S', 'D', 0, 0, 1, 2, 3, 4};

	(void)state;
	kernel_file_elf(&file);
	memmove(file.notes + sizeof(more), file.notes, 20);
	memcpy(file.notes, more, sizeof(more));
	file.note->p_filesz += sizeof(more);
	assert_int_equal(load(), MAYFLY_OK);
	assert_int_equal(kernel.entry, KERNEL_ADDRESS + 4);
	assert_int_equal(kernel.system, KERNEL_NETBSD);
}

/* A property note, which compilers put into what they link: its descriptor lies at 16. */
static void notes_of_a_segment_aligned_to_8_are_read(void **state)
{
	static const uint8_t property[32] = {4, 0, 0, 0, 16,  0,   0,  0,
					     5, 0, 0, 0, 'G', 'N', 'U'};

	(void)state;
	kernel_file_elf(&file);
	memmove(file.notes + sizeof(property), file.notes, 20);
	memcpy(file.notes, property, sizeof(property));
	file.note->p_filesz += sizeof(property);
	file.note->p_align = 8;
	assert_int_equal(load(), MAYFLY_OK);
	assert_int_equal(kernel.entry, KERNEL_ADDRESS + 4);
}

static void vmlinux_without_note_is_entered_in_64_bit_mode(void **state)
{
	(void)state;
	kernel_file_elf(&file);
	file.note->p_type = PT_NULL;
	memcpy(file.data + KERNEL_CODE_OFFSET + 8, "Linux version 6", 15);
	assert_int_equal(load(), MAYFLY_OK);
	assert_int_equal(kernel.kind, KERNEL_LINUX64);
	assert_int_equal(kernel.system, KERNEL_LINUX);
	assert_int_equal(kernel.entry, KERNEL_ADDRESS);
	assert_int_equal(kernel.setup_len, 0);
}

static void elf_without_a_way_in_is_refused(void **state)
{
	(void)state;
	kernel_file_elf(&file);
	file.note->p_type = PT_NULL;
	assert_refused(MAYFLY_E_UNSUPPORTED, "PHYS32_ENTRY");
}

static void other_files_are_refused(void **state)
{
	(void)state;
	kernel_file_elf(&file);
	file.data[0] = 'x';
	assert_refused(MAYFLY_E_FORMAT, "neither an ELF file nor a Linux bzImage");
	file.len = 0;
	assert_refused(MAYFLY_E_FORMAT, "neither");
}

static void other_machines_and_kinds_are_refused(void **state)
{
	(void)state;
	kernel_file_elf(&file);
	file.header->e_machine = EM_AARCH64;
	assert_refused(MAYFLY_E_UNSUPPORTED, "not for x86");
	kernel_file_elf(&file);
	file.header->e_type = ET_REL;
	assert_refused(MAYFLY_E_UNSUPPORTED, "no executable");
	kernel_file_elf(&file);
	file.header->e_ident[EI_DATA] = ELFDATA2MSB;
	assert_refused(MAYFLY_E_UNSUPPORTED, "big-endian");
	kernel_file_elf(&file);
	file.header->e_ident[EI_CLASS] = 3;
	assert_refused(MAYFLY_E_FORMAT, "class");
}

static void damaged_program_headers_are_refused(void **state)
{
	(void)state;
	kernel_file_elf(&file);
	file.len = 40;
	assert_refused(MAYFLY_E_FORMAT, "cut off");
	kernel_file_elf(&file);
	file.header->e_phoff = UINT64_MAX - 8;
	assert_refused(MAYFLY_E_FORMAT, "cut off");
	kernel_file_elf(&file);
	file.header->e_phentsize = 8;
	assert_refused(MAYFLY_E_FORMAT, "8 bytes");
	kernel_file_elf(&file);
	file.header->e_phnum = 0;
	assert_refused(MAYFLY_E_FORMAT, "0 ELF program headers");
	kernel_file_elf(&file);
	file.header->e_phnum = 0xffff;
	assert_refused(MAYFLY_E_FORMAT, "65535");
}

static void damaged_notes_are_refused(void **state)
{
	(void)state;
	kernel_file_elf(&file);
	file.note->p_offset = UINT64_MAX;
	assert_refused(MAYFLY_E_FORMAT, "notes");
	kernel_file_elf(&file);
	kernel_put32(file.notes, UINT32_MAX);
	assert_refused(MAYFLY_E_FORMAT, "cut off");
	kernel_file_elf(&file);
	kernel_put32(file.notes + 4, UINT32_MAX);
	assert_refused(MAYFLY_E_FORMAT, "cut off");
	kernel_file_elf(&file);
	file.note->p_filesz = 19;
	assert_refused(MAYFLY_E_FORMAT, "cut off");
}

static void segments_outside_of_the_file_are_refused(void **state)
{
	(void)state;
	kernel_file_elf(&file);
	file.load->p_filesz = file.len;
	file.load->p_memsz = file.len;
	assert_refused(MAYFLY_E_FORMAT, "segment 0");
	kernel_file_elf(&file);
	file.load->p_offset = UINT64_MAX - 4;
	assert_refused(MAYFLY_E_FORMAT, "segment 0");
	kernel_file_elf(&file);
	file.load->p_filesz = KERNEL_CODE_LEN;
	file.load->p_memsz = KERNEL_CODE_LEN - 1;
	assert_refused(MAYFLY_E_FORMAT, "segment 0");
}

static void segments_outside_of_memory_are_refused(void **state)
{
	(void)state;
	kernel_file_elf(&file);
	file.load->p_paddr = MEMORY - KERNEL_MEMSZ + 1;
	assert_refused(MAYFLY_E_TOO_LARGE, "9 MiB, and the machine has 8");
	kernel_file_elf(&file);
	file.load->p_paddr = UINT64_MAX - 16;
	assert_refused(MAYFLY_E_FORMAT, "first MiB");
	kernel_file_elf(&file);
	file.load->p_memsz = UINT64_MAX - KERNEL_ADDRESS;
	assert_refused(MAYFLY_E_FORMAT, "devices");
	kernel_file_elf(&file);
	file.load->p_paddr = 0xff000;
	assert_refused(MAYFLY_E_FORMAT, "first MiB");
}

static void segments_that_overlap_are_refused(void **state)
{
	(void)state;
	kernel_file_elf(&file);
	file.header->e_phnum = 3;
	file.note[1] = *file.load;
	file.note[1].p_paddr += KERNEL_MEMSZ - 1;
	assert_refused(MAYFLY_E_FORMAT, "overlap");
	file.note[1].p_paddr++;
	assert_int_equal(load(), MAYFLY_OK);
	assert_int_equal(kernel.end, KERNEL_ADDRESS + 2 * KERNEL_MEMSZ);
}

static void entry_outside_of_what_is_loaded_is_refused(void **state)
{
	(void)state;
	kernel_file_elf(&file);
	kernel_put32(file.notes + 16, KERNEL_ADDRESS + KERNEL_MEMSZ);
	assert_refused(MAYFLY_E_FORMAT, "entry");
	kernel_file_elf(&file);
	file.load->p_type = PT_NULL;
	assert_refused(MAYFLY_E_FORMAT, "nothing to load");
}

/* --- bzImage --------------------------------------------------------------------------------- */

static void bzimage_is_loaded_at_its_preferred_address(void **state)
{
	(void)state;
	kernel_file_bzimage(&file);
	assert_int_equal(load(), MAYFLY_OK);
	assert_int_equal(kernel.kind, KERNEL_LINUX64);
	assert_int_equal(kernel.system, KERNEL_LINUX);
	assert_int_equal(kernel.entry, KERNEL_ADDRESS + 0x200);
	assert_int_equal(kernel.end, KERNEL_ADDRESS + 0x10000);
	assert_int_equal(kernel.initrd_max, 0x80000000);
	assert_int_equal(kernel.cmdline_max, 2047);
	assert_memory_equal(ram.mem + KERNEL_ADDRESS, file.data + 5 * 512, 0x400);
	assert_int_equal(kernel.setup_len, 0x270 - 0x1f1);
	assert_memory_equal(kernel.setup, file.data + 0x1f1, kernel.setup_len);
}

static void bzimage_without_number_of_sectors_has_four(void **state)
{
	(void)state;
	kernel_file_bzimage(&file);
	file.data[0x1f1] = 0;
	assert_int_equal(load(), MAYFLY_OK);
	assert_memory_equal(ram.mem + KERNEL_ADDRESS, file.data + 5 * 512, 0x400);
}

static void bzimages_that_cannot_be_entered_are_refused(void **state)
{
	(void)state;
	kernel_file_bzimage(&file);
	kernel_put16(file.data + 0x206, 0x20b);
	assert_refused(MAYFLY_E_UNSUPPORTED, "boot protocol 2.11");
	kernel_file_bzimage(&file);
	file.data[0x211] = 0;
	assert_refused(MAYFLY_E_UNSUPPORTED, "zImage");
	kernel_file_bzimage(&file);
	file.data[0x236] = 0;
	assert_refused(MAYFLY_E_UNSUPPORTED, "64-bit entry");
}

static void bzimages_that_are_cut_off_are_refused(void **state)
{
	(void)state;
	kernel_file_bzimage(&file);
	file.len = 5 * 512 + 0x200;
	assert_refused(MAYFLY_E_FORMAT, "cut off");
	file.data[0x1f1] = 0xff;
	assert_refused(MAYFLY_E_FORMAT, "cut off");
	file.len = 0x26f;
	assert_refused(MAYFLY_E_FORMAT, "neither");
}

/* What it unpacks would not be all there: it would crash, at whatever comes of that. */
static void bzimages_shorter_than_their_header_says_are_refused(void **state)
{
	(void)state;
	kernel_file_bzimage(&file);
	file.len--;
	assert_refused(MAYFLY_E_FORMAT, "its parts have 3584 bytes, the file 3583");
	kernel_file_bzimage(&file);
	kernel_put32(file.data + 0x1f4, 0x400 / 16 + 1);
	assert_refused(MAYFLY_E_FORMAT, "its parts have 3600 bytes, the file 3584");
	kernel_file_bzimage(&file);
	kernel_put32(file.data + 0x1f4, UINT32_MAX);
	assert_refused(MAYFLY_E_FORMAT, "its parts have 68719479280 bytes, the file 3584");
}

/* Signatures and padding may follow. */
static void bzimages_longer_than_their_header_says_are_loaded(void **state)
{
	(void)state;
	kernel_file_bzimage(&file);
	file.len += 1000;
	assert_int_equal(load(), MAYFLY_OK);
	assert_memory_equal(ram.mem + KERNEL_ADDRESS, file.data + 5 * 512, 0x400);
}

static void bzimages_outside_of_memory_are_refused(void **state)
{
	(void)state;
	kernel_file_bzimage(&file);
	kernel_put32(file.data + 0x260, MEMORY - KERNEL_ADDRESS + 1);
	assert_refused(MAYFLY_E_TOO_LARGE, "needs memory");
	kernel_file_bzimage(&file);
	kernel_put64(file.data + 0x258, UINT64_MAX - 5);
	assert_refused(MAYFLY_E_FORMAT, "first MiB");
	kernel_file_bzimage(&file);
	kernel_put64(file.data + 0x258, 0);
	assert_refused(MAYFLY_E_FORMAT, "first MiB");
}

/* Whatever a byte of the header says, nothing is read or written outside: the sanitizers look. */
static void every_byte_of_a_header_may_be_anything(void **state)
{
	static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
	size_t parts[] = {sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr), 0x270};

	(void)state;
	for (size_t kind = 0; kind < 2; kind++) {
		for (size_t i = 0; i < parts[kind]; i++) {
			for (size_t v = 0; v < sizeof(values); v++) {
				int r;

				if (kind == 0)
					kernel_file_elf(&file);
				else
					kernel_file_bzimage(&file);
				file.data[i] = values[v];
				r = load();
				assert_true(r == MAYFLY_OK || r == MAYFLY_E_FORMAT ||
					    r == MAYFLY_E_UNSUPPORTED ||
					    r == MAYFLY_E_TOO_LARGE);
			}
		}
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(elf_is_loaded_at_its_physical_address),
		TEST(elf32_is_loaded_likewise),
		TEST(note_among_others_is_found_and_tells_the_system),
		TEST(notes_of_a_segment_aligned_to_8_are_read),
		TEST(vmlinux_without_note_is_entered_in_64_bit_mode),
		TEST(elf_without_a_way_in_is_refused),
		TEST(other_files_are_refused),
		TEST(other_machines_and_kinds_are_refused),
		TEST(damaged_program_headers_are_refused),
		TEST(damaged_notes_are_refused),
		TEST(segments_outside_of_the_file_are_refused),
		TEST(segments_outside_of_memory_are_refused),
		TEST(segments_that_overlap_are_refused),
		TEST(entry_outside_of_what_is_loaded_is_refused),
		TEST(bzimage_is_loaded_at_its_preferred_address),
		TEST(bzimage_without_number_of_sectors_has_four),
		TEST(bzimages_that_cannot_be_entered_are_refused),
		TEST(bzimages_that_are_cut_off_are_refused),
		TEST(bzimages_shorter_than_their_header_says_are_refused),
		TEST(bzimages_longer_than_their_header_says_are_loaded),
		TEST(bzimages_outside_of_memory_are_refused),
		TEST(every_byte_of_a_header_may_be_anything),
	};

	return cmocka_run_group_tests_name("kernel", tests, NULL, NULL);
}

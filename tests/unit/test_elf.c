/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing ELF files: what is taken, what is refused and with which words, pages and symbols. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "abi/function.h"
#include "elf_builder.h"
#include "fail_alloc.h"
#include "loader/elf.h"

#define BASE FN_IMAGE_MIN_VA
#define MAX_SPAN (1u << 20)

static const struct elf_limits limits = {
	.pie_base = BASE,
	.min_va = FN_IMAGE_MIN_VA,
	.max_va = FN_IMAGE_MAX_VA,
	.max_span = MAX_SPAN,
};

static void build(struct elfb *b, uint16_t type)
{
	elfb_init(b, type);
	elfb_abi(b, FN_ABI_VERSION);
	elfb_export(b, "add", "i32(i32,i32)", 0x10);
	elfb_symbol(b, "add", b->text_va + 0x10, 0x10, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC));
	elfb_finish(b);
}

/* From an exact copy, so that a sanitizer sees what reads past the end. */
static int parse_copy(const void *data, size_t len, struct elf_image *out, mayfly_error *err)
{
	uint8_t *copy = malloc(len ? len : 1);
	int r;

	assert_non_null(copy);
	if (len > 0)
		memcpy(copy, data, len);
	r = elf_parse(copy, len, &limits, out, err);
	free(copy);
	return r;
}

static void refuses_bytes(const void *data, size_t len, int code, const char *part)
{
	struct elf_image img, before;
	mayfly_error err = {0};

	memset(&img, 0x5a, sizeof(img));
	before = img;
	assert_int_equal(parse_copy(data, len, &img, &err), code);
	assert_int_equal(err.code, code);
	if (!strstr(err.message, part))
		fail_msg("expected \"%s\" in: %s", part, err.message);
	assert_memory_equal(&img, &before, sizeof(img));
}

/* Expect a refusal, and free. */
static void refuses(struct elfb *b, int code, const char *part)
{
	refuses_bytes(b->data, b->len, code, part);
	elfb_free(b);
}

static void parses(struct elfb *b, struct elf_image *out)
{
	mayfly_error err = {0};

	if (parse_copy(b->data, b->len, out, &err) != MAYFLY_OK)
		fail_msg("%s", err.message);
}

/* --- what is taken ---------------------------------------------------------------------------- */

static void executable_keeps_its_addresses(void **state)
{
	struct elf_image img;
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	parses(&b, &img);
	assert_false(img.pie);
	assert_int_equal(img.bias, 0);
	assert_int_equal(img.entry, b.text_va);
	assert_int_equal(img.nsegments, 3);
	assert_int_equal(img.segments[0].va, ELFB_EXEC_BASE);
	assert_int_equal(img.segments[0].prot, ELF_READ);
	assert_int_equal(img.segments[1].va, b.text_va);
	assert_int_equal(img.segments[1].offset, b.text);
	assert_int_equal(img.segments[1].prot, ELF_READ | ELF_EXEC);
	assert_int_equal(img.segments[2].filesz, ELFB_DATA_FILESZ);
	assert_int_equal(img.segments[2].memsz, ELFB_DATA_MEMSZ);
	assert_int_equal(img.segments[2].prot, ELF_READ | ELF_WRITE);
	assert_int_equal(img.start_va, ELFB_EXEC_BASE);
	assert_int_equal(img.end_va, page_up(b.data_va + ELFB_DATA_MEMSZ));
	elf_image_fini(&img);
	elfb_free(&b);
}

static void static_pie_is_moved_to_its_base(void **state)
{
	struct elf_image img;
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	parses(&b, &img);
	assert_true(img.pie);
	assert_int_equal(img.bias, BASE);
	assert_int_equal(img.entry, BASE + b.text_va);
	assert_int_equal(img.start_va, BASE);
	assert_int_equal(img.segments[1].va, BASE + b.text_va);
	assert_int_equal(img.phnum, ELFB_PHNUM);
	assert_int_equal(img.phdr_va, BASE + sizeof(Elf64_Ehdr));
	assert_int_equal(img.tls.va, BASE + b.data_va);
	assert_int_equal(img.tls.filesz, ELFB_TLS_FILESZ);
	assert_int_equal(img.tls.memsz, ELFB_TLS_MEMSZ);
	assert_int_equal(img.tls.align, 8);
	elf_image_fini(&img);
	elfb_free(&b);
}

static void program_headers_that_are_not_loaded_have_no_address(void **state)
{
	struct elf_image img;
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_more_phdrs(&b, ELFB_PHNUM);
	parses(&b, &img);
	assert_int_equal(img.phdr_va, 0);
	elf_image_fini(&img);
	elfb_free(&b);
}

static void segments_without_memory_are_left_out(void **state)
{
	struct elf_image img;
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_DATA)->p_filesz = 0;
	elfb_phdr(&b, ELFB_DATA)->p_memsz = 0;
	elfb_phdr(&b, ELFB_TLS)->p_type = PT_NULL;
	parses(&b, &img);
	assert_int_equal(img.nsegments, 2);
	elf_image_fini(&img);
	elfb_free(&b);
}

static void segment_without_file_bytes_may_have_any_offset(void **state)
{
	struct elf_image img;
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_DATA)->p_filesz = 0;
	elfb_phdr(&b, ELFB_DATA)->p_offset = UINT64_MAX - 5;
	parses(&b, &img);
	assert_int_equal(img.segments[2].offset, 0);
	elf_image_fini(&img);
	elfb_free(&b);
}

static void file_without_an_entry_point_has_entry_0(void **state)
{
	struct elf_image img;
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_ehdr(&b)->e_entry = 0;
	parses(&b, &img);
	assert_int_equal(img.entry, 0);
	elf_image_fini(&img);
	elfb_free(&b);
}

static void headers_need_no_alignment(void **state)
{
	struct elf_image img;
	struct elfb b;
	uint8_t *moved;

	(void)state;
	build(&b, ET_DYN);
	moved = malloc(b.len + 1);
	assert_non_null(moved);
	memcpy(moved + 1, b.data, b.len);
	assert_int_equal(elf_parse(moved + 1, b.len, &limits, &img, NULL), MAYFLY_OK);
	elf_image_fini(&img);
	free(moved);
	elfb_free(&b);
}

/* --- the ELF header --------------------------------------------------------------------------- */

static void what_is_no_elf_file_is_refused(void **state)
{
	(void)state;
	refuses_bytes("", 0, MAYFLY_E_FORMAT, "empty");
	refuses_bytes("\x7f", 1, MAYFLY_E_FORMAT, "begins with \"\\x7f\"");
	refuses_bytes("#!/bin/sh\n", 10, MAYFLY_E_FORMAT, "a script");
	refuses_bytes("MZ\x90\x00", 4, MAYFLY_E_FORMAT, "begins with \"MZ\\x90\\x00\"");
	refuses_bytes("\x7f"
		      "ELF\2\1\1",
		      7, MAYFLY_E_FORMAT, "cut off after 7 of 64 bytes");
}

static void elf_with_a_spoilt_ident_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_ehdr(&b)->e_ident[EI_CLASS] = ELFCLASS32;
	refuses(&b, MAYFLY_E_UNSUPPORTED, "32-bit");
	build(&b, ET_DYN);
	elfb_ehdr(&b)->e_ident[EI_CLASS] = 3;
	refuses(&b, MAYFLY_E_FORMAT, "class 3");
	build(&b, ET_DYN);
	elfb_ehdr(&b)->e_ident[EI_DATA] = ELFDATA2MSB;
	refuses(&b, MAYFLY_E_UNSUPPORTED, "big-endian");
	build(&b, ET_DYN);
	elfb_ehdr(&b)->e_ident[EI_DATA] = 0;
	refuses(&b, MAYFLY_E_FORMAT, "byte order 0");
	build(&b, ET_DYN);
	elfb_ehdr(&b)->e_ident[EI_VERSION] = 2;
	refuses(&b, MAYFLY_E_FORMAT, "version 2");
}

static void elf_for_another_machine_is_refused_by_name(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_ehdr(&b)->e_machine = EM_AARCH64;
	refuses(&b, MAYFLY_E_UNSUPPORTED, "machine 183 (AArch64), not x86-64");
}

static void elf_that_is_no_executable_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_REL);
	refuses(&b, MAYFLY_E_UNSUPPORTED, "not linked; link it with -static or -static-pie");
	build(&b, ET_CORE);
	refuses(&b, MAYFLY_E_UNSUPPORTED, "core file");
	build(&b, 9);
	refuses(&b, MAYFLY_E_FORMAT, "unknown type of file 9");
}

static void elf_without_program_headers_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_ehdr(&b)->e_phnum = 0;
	refuses(&b, MAYFLY_E_FORMAT, "no program headers");
}

static void elf_with_program_headers_of_another_size_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_ehdr(&b)->e_phentsize = 55;
	refuses(&b, MAYFLY_E_FORMAT, "program headers of 55 bytes each; they have 56");
	build(&b, ET_DYN);
	elfb_ehdr(&b)->e_phentsize = 0;
	refuses(&b, MAYFLY_E_FORMAT, "program headers of 0 bytes");
}

static void elf_with_truncated_program_headers_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	b.len = sizeof(Elf64_Ehdr) + ELFB_PHNUM * sizeof(Elf64_Phdr) - 1;
	refuses(&b, MAYFLY_E_FORMAT, "program headers run past the end of the file");
	build(&b, ET_DYN);
	elfb_ehdr(&b)->e_phoff = UINT64_MAX - 8;
	refuses(&b, MAYFLY_E_FORMAT, "program headers run past the end of the file");
}

static void elf_with_65535_program_headers_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_more_phdrs(&b, PN_XNUM);
	refuses(&b, MAYFLY_E_TOO_LARGE, "65535 program headers; at most 512");
}

static void elf_with_an_entry_point_outside_of_the_code_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_ehdr(&b)->e_entry = b.data_va;
	refuses(&b, MAYFLY_E_FORMAT, "entry point 0x3000 lies in no executable segment");
	build(&b, ET_DYN);
	elfb_ehdr(&b)->e_entry = UINT64_MAX;
	refuses(&b, MAYFLY_E_FORMAT, "entry point 0xffffffffffffffff");
}

/* --- linkage ---------------------------------------------------------------------------------- */

static void elf_with_an_interpreter_is_refused_with_what_to_do(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_STACK)->p_type = PT_INTERP;
	elfb_phdr(&b, ELFB_STACK)->p_offset = elfb_append(&b, "/lib/ld\xff.so", 11, 1);
	elfb_phdr(&b, ELFB_STACK)->p_filesz = 11;
	refuses(&b, MAYFLY_E_UNSUPPORTED,
		"dynamically linked (it asks for the interpreter \"/lib/ld\\xff.so\"); link "
		"with "
		"-static or -static-pie");
}

static void interpreter_outside_of_the_file_is_not_read(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_STACK)->p_type = PT_INTERP;
	elfb_phdr(&b, ELFB_STACK)->p_offset = b.len - 1;
	elfb_phdr(&b, ELFB_STACK)->p_filesz = UINT64_MAX;
	refuses(&b, MAYFLY_E_UNSUPPORTED, "the interpreter \"\")");
}

static void this_test_program_is_refused_as_dynamically_linked(void **state)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct elf_image img;
	mayfly_error err = {0};
	struct stat st;
	void *p;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(elf_parse(p, (size_t)st.st_size, &limits, &img, &err),
			 MAYFLY_E_UNSUPPORTED);
	assert_non_null(strstr(err.message, "ld-linux"));
	assert_non_null(strstr(err.message, "link with -static or -static-pie"));
	munmap(p, (size_t)st.st_size);
	close(fd);
}

static void elf_that_needs_libraries_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	elfb_init(&b, ET_DYN);
	elfb_relr(&b, b.text_va);
	elfb_finish(&b);
	elfb_dyn(&b, 36 /* DT_RELR */)->d_tag = DT_NEEDED;
	refuses(&b, MAYFLY_E_UNSUPPORTED, "needs shared libraries");
}

static void shared_library_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_dyn(&b, DT_FLAGS_1)->d_un.d_val = DF_1_NOW;
	refuses(&b, MAYFLY_E_UNSUPPORTED, "a shared library, not an executable");
}

static void elf_with_a_truncated_dynamic_section_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_DYNAMIC)->p_filesz = b.len;
	refuses(&b, MAYFLY_E_FORMAT,
		"program header 4: the dynamic section runs past the end of the file");
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_DYNAMIC)->p_offset = UINT64_MAX;
	refuses(&b, MAYFLY_E_FORMAT, "the dynamic section runs past the end of the file");
}

static void elf_with_two_dynamic_sections_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	*elfb_phdr(&b, ELFB_STACK) = *elfb_phdr(&b, ELFB_DYNAMIC);
	refuses(&b, MAYFLY_E_FORMAT, "program header 6: a second dynamic section");
}

/* --- segments --------------------------------------------------------------------------------- */

static void segment_past_the_end_of_the_file_is_refused_with_the_numbers(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	elfb_append(&b, NULL, 0x2800 - b.len, 1);
	elfb_phdr(&b, ELFB_DATA)->p_offset = 0x1000;
	elfb_phdr(&b, ELFB_DATA)->p_filesz = 0x2000;
	elfb_phdr(&b, ELFB_DATA)->p_memsz = 0x2000;
	refuses(&b, MAYFLY_E_FORMAT,
		"program header 2: segment at 0x403000 runs past the end of the file (offset "
		"0x1000 + size 0x2000 > 0x2800); the file is truncated or damaged");
}

static void segment_whose_file_range_overflows_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	elfb_phdr(&b, ELFB_DATA)->p_offset = UINT64_MAX - 0xff;
	refuses(&b, MAYFLY_E_FORMAT, "runs past the end of the file");
}

static void segment_with_more_in_the_file_than_in_memory_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	elfb_phdr(&b, ELFB_DATA)->p_memsz = ELFB_DATA_FILESZ - 1;
	refuses(&b, MAYFLY_E_FORMAT, "more bytes in the file than in memory (0x100 > 0xff)");
	build(&b, ET_EXEC);
	elfb_phdr(&b, ELFB_DATA)->p_memsz = 0;
	refuses(&b, MAYFLY_E_FORMAT, "more bytes in the file than in memory");
}

static void segment_past_the_address_space_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	elfb_phdr(&b, ELFB_DATA)->p_memsz = UINT64_MAX;
	refuses(&b, MAYFLY_E_FORMAT, "runs past the end of the address space");
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_DATA)->p_vaddr = UINT64_MAX - BASE + 1;
	refuses(&b, MAYFLY_E_FORMAT, "runs past the end of the address space");
}

static void segment_outside_of_the_limits_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	elfb_phdr(&b, ELFB_HEADERS)->p_vaddr = FN_IMAGE_MIN_VA - 1;
	refuses(&b, MAYFLY_E_TOO_LARGE, "program header 0: segment at 0x1fffff to ");
	build(&b, ET_EXEC);
	elfb_phdr(&b, ELFB_HEADERS)->p_vaddr = 0;
	refuses(&b, MAYFLY_E_TOO_LARGE, "link with -static-pie");
	build(&b, ET_EXEC);
	elfb_phdr(&b, ELFB_DATA)->p_vaddr = FN_IMAGE_MAX_VA - ELFB_DATA_MEMSZ + 1;
	refuses(&b, MAYFLY_E_TOO_LARGE, "lies outside of 0x200000 to 0x4000000000");
}

static void image_that_spans_more_than_is_allowed_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	elfb_phdr(&b, ELFB_DATA)->p_memsz = MAX_SPAN - (b.data_va - ELFB_EXEC_BASE) + 1;
	refuses(&b, MAYFLY_E_TOO_LARGE, "room for 0x100000: give it more");
	build(&b, ET_EXEC);
	elfb_phdr(&b, ELFB_DATA)->p_vaddr = 0x3000000000;
	refuses(&b, MAYFLY_E_TOO_LARGE, "from 0x400000 to 0x3000002000");
}

static void image_of_just_the_allowed_span_is_taken(void **state)
{
	struct elf_image img;
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	elfb_phdr(&b, ELFB_DATA)->p_memsz = MAX_SPAN - (b.data_va - ELFB_EXEC_BASE);
	parses(&b, &img);
	assert_int_equal(img.end_va - img.start_va, MAX_SPAN);
	elf_image_fini(&img);
	elfb_free(&b);
}

static void segments_that_overlap_are_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	elfb_phdr(&b, ELFB_DATA)->p_vaddr = b.text_va + ELFB_TEXT_SIZE - 1;
	refuses(&b, MAYFLY_E_FORMAT,
		"program headers 1 and 2: the segment at 0x40207f begins before");
}

static void segments_out_of_order_are_refused(void **state)
{
	struct elfb b;
	Elf64_Phdr ph;

	(void)state;
	build(&b, ET_EXEC);
	ph = *elfb_phdr(&b, ELFB_TEXT);
	*elfb_phdr(&b, ELFB_TEXT) = *elfb_phdr(&b, ELFB_DATA);
	*elfb_phdr(&b, ELFB_DATA) = ph;
	refuses(&b, MAYFLY_E_FORMAT, "program headers 1 and 2");
}

static void segments_beyond_the_most_are_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	elfb_more_phdrs(&b, ELFB_PHNUM + ELF_MAX_SEGMENTS);
	for (size_t i = ELFB_PHNUM; i < ELFB_PHNUM + ELF_MAX_SEGMENTS; i++) {
		*elfb_phdr(&b, i) = *elfb_phdr(&b, ELFB_DATA);
		elfb_phdr(&b, i)->p_vaddr = b.data_va + 0x2000 * i;
	}
	refuses(&b, MAYFLY_E_TOO_LARGE, "more than 64 segments");
}

static void elf_with_nothing_to_load_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	for (size_t i = 0; i <= ELFB_DATA; i++)
		elfb_phdr(&b, i)->p_type = PT_NULL;
	refuses(&b, MAYFLY_E_FORMAT, "no segment (PT_LOAD)");
}

static void segment_with_an_alignment_that_cannot_be_kept_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_DATA)->p_align = 0x1001;
	refuses(&b, MAYFLY_E_FORMAT, "aligned to 0x1001, which is no power of two");
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_DATA)->p_align = UINT64_C(2) * BASE;
	refuses(&b, MAYFLY_E_UNSUPPORTED, "wants an alignment of 0x400000");
}

/* --- thread-local data ------------------------------------------------------------------------ */

static void thread_local_data_that_is_malformed_is_refused(void **state)
{
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_TLS)->p_align = 24;
	refuses(&b, MAYFLY_E_FORMAT, "no power of two");
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_TLS)->p_align = 8192;
	refuses(&b, MAYFLY_E_UNSUPPORTED, "alignment of 0x2000; at most 4096");
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_TLS)->p_filesz = ELFB_TLS_MEMSZ + 1;
	refuses(&b, MAYFLY_E_FORMAT, "more bytes in the file than in memory");
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_TLS)->p_memsz = UINT64_MAX;
	refuses(&b, MAYFLY_E_TOO_LARGE, "thread-local data of 0xffffffffffffffff bytes");
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_TLS)->p_vaddr = UINT64_MAX - BASE;
	refuses(&b, MAYFLY_E_FORMAT, "lies in no segment");
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_TLS)->p_vaddr = b.data_va + ELFB_DATA_MEMSZ - 1;
	refuses(&b, MAYFLY_E_FORMAT, "lies in no segment");
	build(&b, ET_DYN);
	*elfb_phdr(&b, ELFB_STACK) = *elfb_phdr(&b, ELFB_TLS);
	refuses(&b, MAYFLY_E_FORMAT, "program header 6: a second one");
}

static void thread_local_data_without_size_is_none(void **state)
{
	struct elf_image img;
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	elfb_phdr(&b, ELFB_TLS)->p_filesz = 0;
	elfb_phdr(&b, ELFB_TLS)->p_memsz = 0;
	parses(&b, &img);
	assert_int_equal(img.tls.va, 0);
	assert_int_equal(img.tls.align, 0);
	elf_image_fini(&img);
	elfb_free(&b);
}

/* --- pages ------------------------------------------------------------------------------------ */

static void pages_have_their_segments_protection(void **state)
{
	struct elf_image img;
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	parses(&b, &img);
	assert_int_equal(elf_page_prot(&img, ELFB_EXEC_BASE), ELF_READ);
	assert_int_equal(elf_page_prot(&img, ELFB_EXEC_BASE + 0x1000), 0);
	assert_int_equal(elf_page_prot(&img, b.text_va), ELF_READ | ELF_EXEC);
	assert_int_equal(elf_page_prot(&img, b.data_va), ELF_READ | ELF_WRITE);
	assert_int_equal(elf_page_prot(&img, b.data_va + 0x1000), ELF_READ | ELF_WRITE);
	assert_int_equal(elf_page_prot(&img, b.data_va + 0x2000), 0);
	assert_int_equal(elf_page_prot(&img, ELFB_EXEC_BASE - 0x1000), 0);
	assert_int_equal(elf_page_prot(&img, UINT64_MAX - 0xfff), 0);
	assert_int_equal(elf_find_wx_page(&img), 0);
	elf_image_fini(&img);
	elfb_free(&b);
}

static void page_shared_by_code_and_data_is_found(void **state)
{
	struct elf_image img;
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	elfb_phdr(&b, ELFB_DATA)->p_vaddr = b.text_va + ELFB_TEXT_SIZE;
	elfb_phdr(&b, ELFB_TLS)->p_type = PT_NULL;
	parses(&b, &img);
	assert_int_equal(elf_page_prot(&img, b.text_va), ELF_READ | ELF_WRITE | ELF_EXEC);
	assert_int_equal(elf_find_wx_page(&img), b.text_va);
	elf_image_fini(&img);
	elfb_free(&b);
}

static void last_page_shared_with_code_is_found(void **state)
{
	struct elf_image img;
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	/* Data of three pages, the last of which the code begins in. */
	elfb_phdr(&b, ELFB_TEXT)->p_flags = PF_R | PF_W;
	elfb_phdr(&b, ELFB_TEXT)->p_memsz = 0x2010;
	elfb_phdr(&b, ELFB_DATA)->p_flags = PF_R | PF_X;
	elfb_phdr(&b, ELFB_DATA)->p_vaddr = b.text_va + 0x2010;
	elfb_phdr(&b, ELFB_TLS)->p_type = PT_NULL;
	elfb_ehdr(&b)->e_entry = 0;
	parses(&b, &img);
	assert_int_equal(elf_find_wx_page(&img), b.text_va + 0x2000);
	elf_image_fini(&img);
	elfb_free(&b);
}

static void segment_that_is_writable_code_is_found(void **state)
{
	struct elf_image img;
	struct elfb b;

	(void)state;
	build(&b, ET_EXEC);
	elfb_phdr(&b, ELFB_DATA)->p_flags = PF_W | PF_X;
	parses(&b, &img);
	assert_int_equal(elf_find_wx_page(&img), b.data_va);
	elf_image_fini(&img);
	elfb_free(&b);
}

/* --- damage everywhere ------------------------------------------------------------------------ */

static void file_cut_at_any_length_is_refused_or_parsed(void **state)
{
	struct elf_image img;
	struct elfb b;
	size_t needed;

	(void)state;
	build(&b, ET_DYN);
	needed = elfb_phdr(&b, ELFB_DATA)->p_offset + ELFB_DATA_FILESZ;
	for (size_t len = 0; len < b.len; len++) {
		mayfly_error err = {0};
		int r = parse_copy(b.data, len, &img, &err);

		assert_int_equal(r, len < needed ? MAYFLY_E_FORMAT : MAYFLY_OK);
		assert_true((r == 0) == (err.message[0] == '\0'));
		if (r == 0)
			elf_image_fini(&img);
	}
	elfb_free(&b);
}

static void running_out_of_memory_is_an_error_and_leaks_nothing(void **state)
{
	struct elf_image img;
	struct elfb b;
	size_t n;

	(void)state;
	build(&b, ET_DYN);
	for (n = 1;; n++) {
		mayfly_error err = {0};
		int r;

		fail_alloc_at(n);
		r = elf_parse(b.data, b.len, &limits, &img, &err);
		if (!fail_alloc_end()) {
			assert_int_equal(r, MAYFLY_OK);
			break;
		}
		assert_int_equal(r, MAYFLY_E_NOMEM);
		assert_int_equal(err.code, MAYFLY_E_NOMEM);
	}
	assert_true(n > 2);
	elf_image_fini(&img);
	elfb_free(&b);
}

static void a_released_image_can_be_released_again(void **state)
{
	struct elf_image img;
	struct elfb b;

	(void)state;
	build(&b, ET_DYN);
	parses(&b, &img);
	elf_image_fini(&img);
	elf_image_fini(&img);
	assert_null(img.symbols);
	elfb_free(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(executable_keeps_its_addresses),
		cmocka_unit_test(static_pie_is_moved_to_its_base),
		cmocka_unit_test(program_headers_that_are_not_loaded_have_no_address),
		cmocka_unit_test(segments_without_memory_are_left_out),
		cmocka_unit_test(segment_without_file_bytes_may_have_any_offset),
		cmocka_unit_test(file_without_an_entry_point_has_entry_0),
		cmocka_unit_test(headers_need_no_alignment),
		cmocka_unit_test(what_is_no_elf_file_is_refused),
		cmocka_unit_test(elf_with_a_spoilt_ident_is_refused),
		cmocka_unit_test(elf_for_another_machine_is_refused_by_name),
		cmocka_unit_test(elf_that_is_no_executable_is_refused),
		cmocka_unit_test(elf_without_program_headers_is_refused),
		cmocka_unit_test(elf_with_program_headers_of_another_size_is_refused),
		cmocka_unit_test(elf_with_truncated_program_headers_is_refused),
		cmocka_unit_test(elf_with_65535_program_headers_is_refused),
		cmocka_unit_test(elf_with_an_entry_point_outside_of_the_code_is_refused),
		cmocka_unit_test(elf_with_an_interpreter_is_refused_with_what_to_do),
		cmocka_unit_test(interpreter_outside_of_the_file_is_not_read),
		cmocka_unit_test(this_test_program_is_refused_as_dynamically_linked),
		cmocka_unit_test(elf_that_needs_libraries_is_refused),
		cmocka_unit_test(shared_library_is_refused),
		cmocka_unit_test(elf_with_a_truncated_dynamic_section_is_refused),
		cmocka_unit_test(elf_with_two_dynamic_sections_is_refused),
		cmocka_unit_test(segment_past_the_end_of_the_file_is_refused_with_the_numbers),
		cmocka_unit_test(segment_whose_file_range_overflows_is_refused),
		cmocka_unit_test(segment_with_more_in_the_file_than_in_memory_is_refused),
		cmocka_unit_test(segment_past_the_address_space_is_refused),
		cmocka_unit_test(segment_outside_of_the_limits_is_refused),
		cmocka_unit_test(image_that_spans_more_than_is_allowed_is_refused),
		cmocka_unit_test(image_of_just_the_allowed_span_is_taken),
		cmocka_unit_test(segments_that_overlap_are_refused),
		cmocka_unit_test(segments_out_of_order_are_refused),
		cmocka_unit_test(segments_beyond_the_most_are_refused),
		cmocka_unit_test(elf_with_nothing_to_load_is_refused),
		cmocka_unit_test(segment_with_an_alignment_that_cannot_be_kept_is_refused),
		cmocka_unit_test(thread_local_data_that_is_malformed_is_refused),
		cmocka_unit_test(thread_local_data_without_size_is_none),
		cmocka_unit_test(pages_have_their_segments_protection),
		cmocka_unit_test(page_shared_by_code_and_data_is_found),
		cmocka_unit_test(last_page_shared_with_code_is_found),
		cmocka_unit_test(segment_that_is_writable_code_is_found),
		cmocka_unit_test(file_cut_at_any_length_is_refused_or_parsed),
		cmocka_unit_test(running_out_of_memory_is_an_error_and_leaks_nothing),
		cmocka_unit_test(a_released_image_can_be_released_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

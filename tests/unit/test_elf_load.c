/* SPDX-License-Identifier: Apache-2.0 */
/* ELF files put into memory: segments, relocations, notes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "abi/function.h"
#include "elf_builder.h"
#include "loader/elf.h"

#define BASE FN_IMAGE_MIN_VA
#define RELR 36 /* DT_RELR, which older C libraries' elf.h lacks */
#define RELRSZ 35
#define RELRENT 37

static const struct elf_limits limits = {
	.pie_base = BASE,
	.min_va = FN_IMAGE_MIN_VA,
	.max_va = FN_IMAGE_MAX_VA,
	.max_span = 16u << 20,
};

/* A guest, what became of it, and its memory: exactly as large as it must be. */
struct loaded {
	struct elfb b;
	struct elf_image img;
	uint8_t *mem;
};

static void begin(struct loaded *l, uint16_t type)
{
	memset(l, 0, sizeof(*l));
	elfb_init(&l->b, type);
}

static void end(struct loaded *l)
{
	elf_image_fini(&l->img);
	free(l->mem);
	elfb_free(&l->b);
}

static void parse(struct loaded *l)
{
	mayfly_error err = {0};

	if (elf_parse(l->b.data, l->b.len, &limits, &l->img, &err) != MAYFLY_OK)
		fail_msg("%s", err.message);
	l->mem = calloc(1, l->img.end_va - l->img.start_va);
	assert_non_null(l->mem);
}

static void load(struct loaded *l)
{
	mayfly_error err = {0};

	parse(l);
	if (elf_load(&l->img, l->b.data, l->b.len, l->mem, &err) != MAYFLY_OK)
		fail_msg("%s", err.message);
}

/* Expect that loading fails, and free. */
static void load_refuses(struct loaded *l, int code, const char *part)
{
	mayfly_error err = {0};

	parse(l);
	assert_int_equal(elf_load(&l->img, l->b.data, l->b.len, l->mem, &err), code);
	assert_int_equal(err.code, code);
	if (!strstr(err.message, part))
		fail_msg("expected \"%s\" in: %s", part, err.message);
	end(l);
}

/* Memory at an address before biasing. */
static uint8_t *at(struct loaded *l, uint64_t va)
{
	return l->mem + (va + l->img.bias - l->img.start_va);
}

static uint64_t word_at(struct loaded *l, uint64_t va)
{
	uint64_t v;

	memcpy(&v, at(l, va), sizeof(v));
	return v;
}

/* --- segments --------------------------------------------------------------------------------- */

static void segments_are_copied_and_the_rest_stays_zero(void **state)
{
	struct loaded l;
	uint64_t data_end;

	(void)state;
	begin(&l, ET_EXEC);
	elfb_finish(&l.b);
	load(&l);
	assert_memory_equal(at(&l, l.b.base), l.b.data, l.img.segments[0].filesz);
	assert_memory_equal(at(&l, l.b.text_va), l.b.data + l.b.text, ELFB_TEXT_SIZE);
	assert_int_equal(*at(&l, l.b.data_va), 1);
	data_end = l.b.data_va + ELFB_DATA_FILESZ;
	for (uint64_t va = data_end; va < l.img.end_va; va++)
		assert_int_equal(*at(&l, va), 0);
	for (uint64_t va = l.b.text_va + ELFB_TEXT_SIZE; va < l.b.data_va; va++)
		assert_int_equal(*at(&l, va), 0);
	end(&l);
}

static void file_that_became_shorter_is_refused(void **state)
{
	struct loaded l;
	mayfly_error err = {0};

	(void)state;
	begin(&l, ET_EXEC);
	elfb_finish(&l.b);
	parse(&l);
	assert_int_equal(elf_load(&l.img, l.b.data, l.b.text, l.mem, &err), MAYFLY_E_FORMAT);
	assert_non_null(strstr(err.message, "became shorter"));
	end(&l);
}

/* --- relocations with addends ----------------------------------------------------------------- */

static void relative_relocations_hold_the_biased_addend(void **state)
{
	struct loaded l;
	uint64_t data;

	(void)state;
	begin(&l, ET_DYN);
	data = l.b.text_va + 0x1000;
	elfb_rela(&l.b, data, R_X86_64_RELATIVE, 0x1234);
	elfb_rela(&l.b, data + 0x11, R_X86_64_RELATIVE, -8);		   /* unaligned */
	elfb_rela(&l.b, data + ELFB_DATA_MEMSZ - 8, R_X86_64_RELATIVE, 0); /* the last word */
	elfb_finish(&l.b);
	load(&l);
	assert_int_equal(word_at(&l, data), BASE + 0x1234);
	assert_int_equal(word_at(&l, data + 0x11), BASE - 8);
	assert_int_equal(word_at(&l, data + ELFB_DATA_MEMSZ - 8), BASE);
	end(&l);
}

static void relocations_of_no_type_do_nothing(void **state)
{
	struct loaded l;

	(void)state;
	begin(&l, ET_DYN);
	elfb_rela(&l.b, UINT64_MAX, R_X86_64_NONE, 5);
	elfb_finish(&l.b);
	load(&l);
	assert_int_equal(*at(&l, l.b.data_va), 1);
	end(&l);
}

static void relocations_of_the_procedure_linkage_table_are_applied(void **state)
{
	struct loaded l;

	(void)state;
	begin(&l, ET_DYN);
	elfb_rela(&l.b, l.b.text_va + 0x1000, R_X86_64_RELATIVE, 0x77);
	elfb_finish(&l.b);
	elfb_dyn(&l.b, DT_RELA)->d_tag = DT_JMPREL;
	elfb_dyn(&l.b, DT_RELASZ)->d_tag = DT_PLTRELSZ;
	*elfb_dyn(&l.b, DT_RELAENT) = (Elf64_Dyn){DT_PLTREL, {DT_RELA}};
	load(&l);
	assert_int_equal(word_at(&l, l.b.data_va), BASE + 0x77);
	end(&l);
}

static void relocation_type_refused(uint32_t type, const char *part)
{
	struct loaded l;

	begin(&l, ET_DYN);
	elfb_rela(&l.b, l.b.text_va + 0x1000, R_X86_64_RELATIVE, 0);
	elfb_rela(&l.b, l.b.text_va + 0x1008, ELF64_R_INFO(1, type), 0);
	elfb_finish(&l.b);
	load_refuses(&l, MAYFLY_E_UNSUPPORTED, part);
}

static void relocations_of_other_types_are_refused_with_what_to_do(void **state)
{
	(void)state;
	relocation_type_refused(R_X86_64_IRELATIVE,
				"relocation 1 of DT_RELA at 0x3008 is type 37, "
				"R_X86_64_IRELATIVE, an indirect function");
	relocation_type_refused(R_X86_64_GLOB_DAT, "against a symbol");
	relocation_type_refused(R_X86_64_TPOFF64, "-ftls-model=local-exec");
	relocation_type_refused(0xffffffff, "type 4294967295, of a type unknown");
}

static void relocation_target_refused(uint64_t va)
{
	struct loaded l;

	begin(&l, ET_DYN);
	elfb_rela(&l.b, va, R_X86_64_RELATIVE, 0);
	elfb_finish(&l.b);
	load_refuses(&l, MAYFLY_E_FORMAT,
		     "relocation 0 of DT_RELA: its target, the 8 bytes at 0x");
}

static void relocations_that_do_not_hit_a_segment_are_refused(void **state)
{
	(void)state;
	relocation_target_refused(0x1ff8);			/* between segments */
	relocation_target_refused(0x2000 + ELFB_TEXT_SIZE - 7); /* across the end of one */
	relocation_target_refused(0x2ffc);			/* into the beginning of one */
	relocation_target_refused(0x3000 + ELFB_DATA_MEMSZ - 4);
	relocation_target_refused(UINT64_MAX - 7); /* wraps around with the bias */
	relocation_target_refused(UINT64_MAX - BASE - 3);
	relocation_target_refused(1ull << 40);
}

static void relocation_across_two_adjacent_segments_is_refused(void **state)
{
	struct loaded l;

	(void)state;
	begin(&l, ET_DYN);
	elfb_rela(&l.b, l.b.text_va + 0xffc, R_X86_64_RELATIVE, 0);
	elfb_finish(&l.b);
	elfb_phdr(&l.b, ELFB_TEXT)->p_memsz = 0x1000;
	load_refuses(&l, MAYFLY_E_FORMAT, "does not lie within a segment");
}

/* One relocation, its dynamic entry `tag` set to `value`. */
static void dynamic_value_refused(int64_t tag, uint64_t value, int code, const char *part)
{
	struct loaded l;

	begin(&l, ET_DYN);
	elfb_rela(&l.b, l.b.text_va + 0x1000, R_X86_64_RELATIVE, 0);
	elfb_relr(&l.b, l.b.text_va + 0x1000);
	elfb_finish(&l.b);
	elfb_dyn(&l.b, tag)->d_un.d_val = value;
	load_refuses(&l, code, part);
}

static void relocation_tables_outside_of_the_file_are_refused(void **state)
{
	static const char part[] = "does not lie in what is loaded from the file";

	(void)state;
	dynamic_value_refused(DT_RELA, 0x1000, MAYFLY_E_FORMAT, part);
	dynamic_value_refused(DT_RELA, 0x3000 + ELFB_DATA_FILESZ - 8, MAYFLY_E_FORMAT, part);
	dynamic_value_refused(DT_RELA, UINT64_MAX, MAYFLY_E_FORMAT, part);
	dynamic_value_refused(DT_RELA, UINT64_MAX - BASE, MAYFLY_E_FORMAT, part);
	dynamic_value_refused(RELR, 0x2ffc, MAYFLY_E_FORMAT, part);
	/* Memory that is not in the file: a flood of relocations would cost nothing. */
	dynamic_value_refused(DT_RELA, 0x3000 + ELFB_DATA_FILESZ, MAYFLY_E_FORMAT, part);
}

static void relocation_tables_of_absurd_sizes_are_refused(void **state)
{
	(void)state;
	dynamic_value_refused(
		DT_RELASZ, 25, MAYFLY_E_FORMAT,
		"DT_RELA has 0x19 bytes, which is no multiple of its entries' 24");
	dynamic_value_refused(DT_RELASZ, 24ull << 40, MAYFLY_E_FORMAT, "does not lie in");
	dynamic_value_refused(DT_RELASZ, UINT64_MAX / 24 * 24, MAYFLY_E_FORMAT,
			      "does not lie in");
	dynamic_value_refused(RELRSZ, UINT64_MAX - 7, MAYFLY_E_FORMAT, "does not lie in");
	dynamic_value_refused(RELRSZ, 7, MAYFLY_E_FORMAT, "no multiple");
	dynamic_value_refused(DT_RELAENT, 16, MAYFLY_E_FORMAT, "DT_RELAENT is 16, not 24");
	dynamic_value_refused(RELRENT, 0, MAYFLY_E_FORMAT, "DT_RELRENT is 0, not 8");
}

static void relocation_table_without_an_address_is_refused(void **state)
{
	struct loaded l;

	(void)state;
	begin(&l, ET_DYN);
	elfb_rela(&l.b, l.b.text_va, R_X86_64_RELATIVE, 0);
	elfb_finish(&l.b);
	elfb_dyn(&l.b, DT_RELA)->d_tag = DT_DEBUG;
	load_refuses(&l, MAYFLY_E_FORMAT, "DT_RELA, 0x18 bytes at 0x0, does not lie in");
}

static void relocations_without_addends_are_refused(void **state)
{
	struct loaded l;

	(void)state;
	begin(&l, ET_DYN);
	elfb_rela(&l.b, l.b.text_va, R_X86_64_RELATIVE, 0);
	elfb_finish(&l.b);
	elfb_dyn(&l.b, DT_RELASZ)->d_tag = DT_RELSZ;
	load_refuses(&l, MAYFLY_E_UNSUPPORTED, "without addends");
}

static void relocations_that_rewrite_their_own_table_stay_inside(void **state)
{
	struct loaded l;
	uint64_t table;

	(void)state;
	begin(&l, ET_DYN);
	/* The first turns the second's offset into one that lies nowhere. */
	elfb_rela(&l.b, 0, R_X86_64_RELATIVE, 0x7000000000);
	elfb_rela(&l.b, l.b.text_va + 0x1000, R_X86_64_RELATIVE, 0);
	elfb_finish(&l.b);
	table = l.b.rela_at;
	memcpy(l.b.data + table, &(uint64_t){table + sizeof(Elf64_Rela)}, 8);
	load_refuses(&l, MAYFLY_E_FORMAT, "relocation 1 of DT_RELA: its target");
}

/* --- packed relative relocations -------------------------------------------------------------- */

static void packed_relocations_add_the_bias(void **state)
{
	struct loaded l;
	uint64_t data, before[3];

	(void)state;
	begin(&l, ET_DYN);
	data = l.b.text_va + 0x1000;
	elfb_relr(&l.b, data);
	elfb_relr(&l.b, 1 | (1ull << 2) | (1ull << 63)); /* words 2 and 63 */
	elfb_relr(&l.b, 1 | (1ull << 1));		 /* word 64 */
	elfb_finish(&l.b);
	memcpy(&before[0], l.b.data + elfb_phdr(&l.b, ELFB_DATA)->p_offset, 24);
	load(&l);
	assert_int_equal(word_at(&l, data), before[0] + BASE);
	assert_int_equal(word_at(&l, data + 8), before[1]);
	assert_int_equal(word_at(&l, data + 16), before[2] + BASE);
	assert_int_equal(word_at(&l, data + UINT64_C(62) * 8), 0);
	assert_int_equal(word_at(&l, data + UINT64_C(63) * 8), BASE);
	assert_int_equal(word_at(&l, data + UINT64_C(64) * 8), BASE);
	assert_int_equal(word_at(&l, data + UINT64_C(65) * 8), 0);
	end(&l);
}

static void packed_relocations_that_begin_with_a_bitmap_are_refused(void **state)
{
	struct loaded l;

	(void)state;
	begin(&l, ET_DYN);
	elfb_relr(&l.b, 3);
	elfb_finish(&l.b);
	load_refuses(&l, MAYFLY_E_FORMAT, "DT_RELR begins with a bitmap");
}

static void packed_relocations_outside_of_segments_are_refused(void **state)
{
	struct loaded l;

	(void)state;
	begin(&l, ET_DYN);
	elfb_relr(&l.b, l.b.text_va + 0x1000 + ELFB_DATA_MEMSZ - 8);
	elfb_relr(&l.b, 3); /* the word behind the segment */
	elfb_finish(&l.b);
	load_refuses(&l, MAYFLY_E_FORMAT, "relocation 1 of DT_RELR");
	begin(&l, ET_DYN);
	elfb_relr(&l.b, UINT64_MAX - 1);
	elfb_finish(&l.b);
	load_refuses(&l, MAYFLY_E_FORMAT, "relocation 0 of DT_RELR");
}

static void flood_of_packed_relocations_is_refused(void **state)
{
	struct loaded l;

	(void)state;
	begin(&l, ET_DYN);
	/* The image of 0x5000 bytes has 2560 words; these relocate the same 64 again and again. */
	for (int i = 0; i < 100; i++) {
		elfb_relr(&l.b, l.b.text_va + 0x1000);
		elfb_relr(&l.b, UINT64_MAX);
	}
	elfb_finish(&l.b);
	load_refuses(&l, MAYFLY_E_FORMAT, "more than the image has room for");
}

/* --- notes ------------------------------------------------------------------------------------ */

struct seen {
	size_t count;
	uint32_t types[8];
	uint64_t va;
	char desc[32];
	size_t len;
	int result;
};

static int note_seen(void *context, uint32_t type, const uint8_t *desc, size_t len,
		     uint64_t desc_va, mayfly_error *err)
{
	struct seen *s = context;

	(void)err;
	if (s->count < 8)
		s->types[s->count] = type;
	s->count++;
	s->va = desc_va;
	s->len = len;
	memcpy(s->desc, desc, len < sizeof(s->desc) ? len : sizeof(s->desc));
	return s->result;
}

static int walk(struct loaded *l, struct seen *s, mayfly_error *err)
{
	return elf_walk_notes(&l->img, l->b.data, l->b.len, l->mem, "Test", note_seen, s, err);
}

static void walk_refuses(struct loaded *l, int code, const char *part)
{
	struct seen s = {0};
	mayfly_error err = {0};

	load(l);
	assert_int_equal(walk(l, &s, &err), code);
	assert_int_equal(err.code, code);
	if (!strstr(err.message, part))
		fail_msg("expected \"%s\" in: %s", part, err.message);
	end(l);
}

static void notes_of_the_name_are_walked_in_order(void **state)
{
	struct loaded l;
	struct seen s = {0};

	(void)state;
	begin(&l, ET_DYN);
	elfb_note(&l.b, "Test", 7, "abcde", 5);
	elfb_note(&l.b, "Tes", 8, "x", 1);
	elfb_note(&l.b, "Test2", 9, "x", 1);
	elfb_note(&l.b, "", 10, "", 0);
	elfb_note(&l.b, "Test", 11, "vwx", 3);
	elfb_finish(&l.b);
	load(&l);
	assert_int_equal(walk(&l, &s, NULL), MAYFLY_OK);
	assert_int_equal(s.count, 2);
	assert_int_equal(s.types[0], 7);
	assert_int_equal(s.types[1], 11);
	assert_int_equal(s.len, 3);
	assert_memory_equal(s.desc, "vwx", 3);
	assert_memory_equal(at(&l, s.va - BASE), "vwx", 3);
	end(&l);
}

static void walking_notes_ends_with_the_first_result(void **state)
{
	struct loaded l;
	struct seen s = {.result = 42};

	(void)state;
	begin(&l, ET_DYN);
	elfb_note(&l.b, "Test", 1, "a", 1);
	elfb_note(&l.b, "Test", 2, "b", 1);
	elfb_finish(&l.b);
	load(&l);
	assert_int_equal(walk(&l, &s, NULL), 42);
	assert_int_equal(s.count, 1);
	end(&l);
}

static void notes_aligned_to_8_are_walked(void **state)
{
	struct loaded l;
	struct seen s = {0};

	(void)state;
	begin(&l, ET_DYN);
	/* Header and name take 17 bytes: the descriptor comes at 24, the next note at 32. */
	elfb_append(&l.b, &(Elf64_Nhdr){5, 4, 1}, sizeof(Elf64_Nhdr), 8);
	elfb_append(&l.b, "Test", 5, 1);
	elfb_append(&l.b, "1234", 4, 8);
	elfb_append(&l.b, &(Elf64_Nhdr){5, 4, 2}, sizeof(Elf64_Nhdr), 8);
	elfb_append(&l.b, "Test", 5, 1);
	elfb_append(&l.b, "5678", 4, 8);
	elfb_finish(&l.b);
	elfb_phdr(&l.b, ELFB_NOTES)->p_align = 8;
	load(&l);
	assert_int_equal(walk(&l, &s, NULL), MAYFLY_OK);
	assert_int_equal(s.count, 2);
	assert_memory_equal(s.desc, "5678", 4);
	end(&l);
}

static void last_note_needs_no_padding(void **state)
{
	struct loaded l;
	struct seen s = {0};

	(void)state;
	begin(&l, ET_DYN);
	elfb_note(&l.b, "Test", 1, "abcde", 5);
	elfb_finish(&l.b);
	elfb_phdr(&l.b, ELFB_NOTES)->p_filesz -= 3;
	load(&l);
	assert_int_equal(walk(&l, &s, NULL), MAYFLY_OK);
	assert_int_equal(s.count, 1);
	end(&l);
}

static void note_without_a_descriptor_is_walked(void **state)
{
	struct loaded l;
	struct seen s = {.len = 9};

	(void)state;
	begin(&l, ET_DYN);
	elfb_note(&l.b, "Test", 3, NULL, 0);
	elfb_finish(&l.b);
	elfb_phdr(&l.b, ELFB_NOTES)->p_filesz = 17; /* the name's padding is missing */
	load(&l);
	assert_int_equal(walk(&l, &s, NULL), MAYFLY_OK);
	assert_int_equal(s.count, 1);
	assert_int_equal(s.len, 0);
	end(&l);
}

static void notes_that_are_not_loaded_are_passed_over(void **state)
{
	struct loaded l;
	struct seen s = {0};

	(void)state;
	begin(&l, ET_DYN);
	elfb_note(&l.b, "Test", 1, "a", 1);
	elfb_finish(&l.b);
	elfb_phdr(&l.b, ELFB_NOTES)->p_vaddr = 0x1000;
	load(&l);
	assert_int_equal(walk(&l, &s, NULL), MAYFLY_OK);
	assert_int_equal(s.count, 0);
	end(&l);
}

static void note_size_refused(uint32_t namesz, uint32_t descsz)
{
	struct loaded l;
	Elf64_Nhdr nh = {namesz, descsz, 1};

	begin(&l, ET_DYN);
	elfb_append(&l.b, &nh, sizeof(nh), 1);
	elfb_append(&l.b, "Test\0\0\0\0abcd", 12, 1);
	elfb_finish(&l.b);
	walk_refuses(&l, MAYFLY_E_FORMAT,
		     "program header 3: note at offset 0x0 with a name of 0x");
}

static void notes_with_sizes_that_run_past_their_end_are_refused(void **state)
{
	(void)state;
	note_size_refused(5, 5);
	note_size_refused(5, UINT32_MAX);
	note_size_refused(UINT32_MAX, 4);
	note_size_refused(UINT32_MAX, UINT32_MAX);
	note_size_refused(13, 0);
}

static void notes_with_a_cut_off_header_are_refused(void **state)
{
	struct loaded l;

	(void)state;
	begin(&l, ET_DYN);
	elfb_note(&l.b, "Test", 1, "abcd", 4);
	elfb_append(&l.b, "\5\0\0\0\4\0\0\0", 8, 1);
	elfb_finish(&l.b);
	walk_refuses(&l, MAYFLY_E_FORMAT, "note at offset 0x18 is cut off after 0x8 bytes");
}

static void notes_that_run_out_of_loaded_bytes_are_refused(void **state)
{
	struct loaded l;

	(void)state;
	begin(&l, ET_DYN);
	elfb_finish(&l.b);
	elfb_phdr(&l.b, ELFB_NOTES)->p_filesz = 1ull << 40;
	walk_refuses(&l, MAYFLY_E_FORMAT, "run past the end of what is loaded there");
	begin(&l, ET_DYN);
	elfb_finish(&l.b);
	/* In the part of the data that is not in the file: endless empty notes for free. */
	elfb_phdr(&l.b, ELFB_NOTES)->p_vaddr = l.b.data_va + ELFB_DATA_FILESZ;
	elfb_phdr(&l.b, ELFB_NOTES)->p_filesz = 0x100;
	walk_refuses(&l, MAYFLY_E_FORMAT, "run past the end of what is loaded there");
}

static void notes_of_an_undefined_alignment_are_refused(void **state)
{
	struct loaded l;

	(void)state;
	begin(&l, ET_DYN);
	elfb_note(&l.b, "Test", 1, "abcd", 4);
	elfb_finish(&l.b);
	elfb_phdr(&l.b, ELFB_NOTES)->p_align = 16;
	walk_refuses(&l, MAYFLY_E_FORMAT, "aligned to 0x10; only 4 and 8");
}

static void many_headers_of_the_same_notes_are_refused(void **state)
{
	struct loaded l;

	(void)state;
	begin(&l, ET_DYN);
	l.b.text_va += 1 << 20;
	elfb_append(&l.b, NULL, 1 << 20, 4);
	elfb_finish(&l.b);
	elfb_more_phdrs(&l.b, 40);
	for (size_t i = ELFB_PHNUM; i < 40; i++)
		*elfb_phdr(&l.b, i) = *elfb_phdr(&l.b, ELFB_NOTES);
	walk_refuses(&l, MAYFLY_E_TOO_LARGE, "more than 0x1000000 bytes of notes");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_are_copied_and_the_rest_stays_zero),
		cmocka_unit_test(file_that_became_shorter_is_refused),
		cmocka_unit_test(relative_relocations_hold_the_biased_addend),
		cmocka_unit_test(relocations_of_no_type_do_nothing),
		cmocka_unit_test(relocations_of_the_procedure_linkage_table_are_applied),
		cmocka_unit_test(relocations_of_other_types_are_refused_with_what_to_do),
		cmocka_unit_test(relocations_that_do_not_hit_a_segment_are_refused),
		cmocka_unit_test(relocation_across_two_adjacent_segments_is_refused),
		cmocka_unit_test(relocation_tables_outside_of_the_file_are_refused),
		cmocka_unit_test(relocation_tables_of_absurd_sizes_are_refused),
		cmocka_unit_test(relocation_table_without_an_address_is_refused),
		cmocka_unit_test(relocations_without_addends_are_refused),
		cmocka_unit_test(relocations_that_rewrite_their_own_table_stay_inside),
		cmocka_unit_test(packed_relocations_add_the_bias),
		cmocka_unit_test(packed_relocations_that_begin_with_a_bitmap_are_refused),
		cmocka_unit_test(packed_relocations_outside_of_segments_are_refused),
		cmocka_unit_test(flood_of_packed_relocations_is_refused),
		cmocka_unit_test(notes_of_the_name_are_walked_in_order),
		cmocka_unit_test(walking_notes_ends_with_the_first_result),
		cmocka_unit_test(notes_aligned_to_8_are_walked),
		cmocka_unit_test(last_note_needs_no_padding),
		cmocka_unit_test(note_without_a_descriptor_is_walked),
		cmocka_unit_test(notes_that_are_not_loaded_are_passed_over),
		cmocka_unit_test(notes_with_sizes_that_run_past_their_end_are_refused),
		cmocka_unit_test(notes_with_a_cut_off_header_are_refused),
		cmocka_unit_test(notes_that_run_out_of_loaded_bytes_are_refused),
		cmocka_unit_test(notes_of_an_undefined_alignment_are_refused),
		cmocka_unit_test(many_headers_of_the_same_notes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The functions' names of ELF files: which are taken, and how they are found by address. */
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

#define FUNC ELF64_ST_INFO(STB_GLOBAL, STT_FUNC)
#define LOCAL_FUNC ELF64_ST_INFO(STB_LOCAL, STT_FUNC)

static const struct elf_limits limits = {
	.pie_base = FN_IMAGE_MIN_VA,
	.min_va = FN_IMAGE_MIN_VA,
	.max_va = FN_IMAGE_MAX_VA,
	.max_span = 16u << 20,
};

struct parsed {
	struct elfb b;
	struct elf_image img;
};

static void begin(struct parsed *l)
{
	memset(l, 0, sizeof(*l));
	elfb_init(&l->b, ET_DYN);
}

static void end(struct parsed *l)
{
	elf_image_fini(&l->img);
	elfb_free(&l->b);
}

/* From an exact copy, so that a sanitizer sees what reads past the end. */
static void parse(struct parsed *l)
{
	uint8_t *copy = malloc(l->b.len);
	mayfly_error err = {0};

	assert_non_null(copy);
	memcpy(copy, l->b.data, l->b.len);
	if (elf_parse(copy, l->b.len, &limits, &l->img, &err) != MAYFLY_OK)
		fail_msg("%s", err.message);
	free(copy);
}

static void assert_symbol(struct parsed *l, size_t i, const char *name, uint64_t va,
			  uint64_t size)
{
	assert_true(i < l->img.nsymbols);
	assert_string_equal(l->img.symbols[i].name, name);
	assert_int_equal(l->img.symbols[i].va, va + l->img.bias);
	assert_int_equal(l->img.symbols[i].size, size);
}

static void symbols_are_sorted_and_biased(void **state)
{
	struct parsed l;

	(void)state;
	begin(&l);
	elfb_symbol(&l.b, "third", l.b.text_va + 0x40, 0x10, FUNC);
	elfb_symbol(&l.b, "first", l.b.text_va, 0x10, LOCAL_FUNC);
	elfb_symbol(&l.b, "second", l.b.text_va + 0x20, 0, FUNC);
	elfb_finish(&l.b);
	parse(&l);
	assert_int_equal(l.img.nsymbols, 3);
	assert_symbol(&l, 0, "first", l.b.text_va, 0x10);
	assert_symbol(&l, 1, "second", l.b.text_va + 0x20, 0x20); /* to the next one */
	assert_symbol(&l, 2, "third", l.b.text_va + 0x40, 0x10);
	end(&l);
}

static void symbols_that_are_no_functions_of_the_image_are_left_out(void **state)
{
	struct parsed l;

	(void)state;
	begin(&l);
	elfb_symbol(&l.b, "object", l.b.text_va, 8, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT));
	elfb_symbol(&l.b, "undefined", l.b.text_va, 8, FUNC);
	l.b.syms[l.b.nsyms - 1].st_shndx = SHN_UNDEF;
	elfb_symbol(&l.b, "absolute", l.b.text_va, 8, FUNC);
	l.b.syms[l.b.nsyms - 1].st_shndx = SHN_ABS;
	elfb_symbol(&l.b, "outside", l.b.text_va - 1, 8, FUNC);
	elfb_symbol(&l.b, "wraps", UINT64_MAX, 8, FUNC);
	elfb_symbol(&l.b, "", l.b.text_va, 8, FUNC);
	elfb_symbol(&l.b, "esc\x1b[31m", l.b.text_va, 8, FUNC);
	elfb_symbol(&l.b, "kept", l.b.text_va + 1, 8, FUNC);
	elfb_finish(&l.b);
	parse(&l);
	assert_int_equal(l.img.nsymbols, 1);
	assert_symbol(&l, 0, "kept", l.b.text_va + 1, 8);
	end(&l);
}

static void symbols_at_one_address_become_one(void **state)
{
	struct parsed l;

	(void)state;
	begin(&l);
	elfb_symbol(&l.b, "local", l.b.text_va, 0x10, LOCAL_FUNC);
	elfb_symbol(&l.b, "small", l.b.text_va, 0x8, FUNC);
	elfb_symbol(&l.b, "global", l.b.text_va, 0x10, FUNC);
	elfb_finish(&l.b);
	parse(&l);
	assert_int_equal(l.img.nsymbols, 1);
	assert_symbol(&l, 0, "global", l.b.text_va, 0x10);
	end(&l);
}

static void symbol_sizes_end_with_the_segment(void **state)
{
	struct parsed l;

	(void)state;
	begin(&l);
	elfb_symbol(&l.b, "huge", l.b.text_va, UINT64_MAX, FUNC);
	elfb_symbol(&l.b, "open", l.b.text_va + 0x70, 0, FUNC);
	elfb_symbol(&l.b, "data", l.b.text_va + 0x1000, 8, FUNC);
	elfb_finish(&l.b);
	parse(&l);
	assert_symbol(&l, 0, "huge", l.b.text_va, ELFB_TEXT_SIZE);
	assert_symbol(&l, 1, "open", l.b.text_va + 0x70, ELFB_TEXT_SIZE - 0x70);
	end(&l);
}

static void long_symbol_names_are_cut(void **state)
{
	char name[ELF_MAX_SYMBOL_NAME + 10];
	struct parsed l;

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	begin(&l);
	elfb_symbol(&l.b, name, l.b.text_va, 8, FUNC);
	elfb_finish(&l.b);
	parse(&l);
	assert_int_equal(l.img.nsymbols, 1);
	assert_int_equal(strlen(l.img.symbols[0].name), ELF_MAX_SYMBOL_NAME);
	end(&l);
}

/* Parse `b` with one symbol after spoiling its tables: there are none, and no error. */
static void no_symbols(struct parsed *l)
{
	parse(l);
	assert_int_equal(l->img.nsymbols, 0);
	assert_null(l->img.symbols);
	end(l);
}

static void with_one_symbol(struct parsed *l)
{
	begin(l);
	elfb_symbol(&l->b, "one", l->b.text_va, 8, FUNC);
	elfb_finish(&l->b);
}

static void damaged_symbol_tables_give_no_symbols(void **state)
{
	struct parsed l;

	(void)state;
	with_one_symbol(&l);
	elfb_ehdr(&l.b)->e_shoff = UINT64_MAX;
	no_symbols(&l);
	with_one_symbol(&l);
	elfb_ehdr(&l.b)->e_shoff = 0;
	no_symbols(&l);
	with_one_symbol(&l);
	elfb_ehdr(&l.b)->e_shentsize = 63;
	no_symbols(&l);
	with_one_symbol(&l);
	elfb_ehdr(&l.b)->e_shnum = 0xffff;
	no_symbols(&l);
	with_one_symbol(&l);
	elfb_ehdr(&l.b)->e_shnum = 0;
	elfb_shdr(&l.b, 0)->sh_size = UINT64_MAX / 64 + 4;
	no_symbols(&l);
	with_one_symbol(&l);
	elfb_shdr(&l.b, 1)->sh_entsize = 0;
	no_symbols(&l);
	with_one_symbol(&l);
	elfb_shdr(&l.b, 1)->sh_size = UINT64_MAX / 24 * 24;
	no_symbols(&l);
	with_one_symbol(&l);
	elfb_shdr(&l.b, 1)->sh_link = 3;
	no_symbols(&l);
	with_one_symbol(&l);
	elfb_shdr(&l.b, 2)->sh_type = SHT_PROGBITS;
	no_symbols(&l);
	with_one_symbol(&l);
	elfb_shdr(&l.b, 2)->sh_offset = l.b.len;
	no_symbols(&l);
	with_one_symbol(&l);
	elfb_shdr(&l.b, 2)->sh_size = 4; /* cuts the name before its terminator */
	no_symbols(&l);
}

static void symbol_names_outside_of_the_strings_are_left_out(void **state)
{
	struct parsed l;
	Elf64_Sym *syms;

	(void)state;
	begin(&l);
	elfb_symbol(&l.b, "one", l.b.text_va, 8, FUNC);
	elfb_symbol(&l.b, "two", l.b.text_va + 8, 8, FUNC);
	elfb_finish(&l.b);
	syms = (Elf64_Sym *)(l.b.data + l.b.symtab);
	syms[1].st_name = UINT32_MAX;
	parse(&l);
	assert_int_equal(l.img.nsymbols, 1);
	assert_symbol(&l, 0, "two", l.b.text_va + 8, 8);
	end(&l);
}

static void section_count_beyond_65279_is_read_from_the_first_section(void **state)
{
	struct parsed l;

	(void)state;
	with_one_symbol(&l);
	elfb_ehdr(&l.b)->e_shnum = 0;
	elfb_shdr(&l.b, 0)->sh_size = 3;
	parse(&l);
	assert_int_equal(l.img.nsymbols, 1);
	end(&l);
}

static void dynamic_symbols_stand_in_for_missing_ones(void **state)
{
	struct parsed l;

	(void)state;
	with_one_symbol(&l);
	elfb_shdr(&l.b, 1)->sh_type = SHT_DYNSYM;
	parse(&l);
	assert_int_equal(l.img.nsymbols, 1);
	end(&l);
}

static void names_that_overlap_take_no_more_memory_than_the_file(void **state)
{
	struct parsed l;
	char name[200];
	size_t total = 0;

	(void)state;
	begin(&l);
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (uint64_t i = 0; i < 100; i++) {
		elfb_symbol(&l.b, i == 0 ? name : "", l.b.text_va + i, 1, FUNC);
		l.b.syms[l.b.nsyms - 1].st_name = 1;
	}
	elfb_finish(&l.b);
	parse(&l);
	for (size_t i = 0; i < l.img.nsymbols; i++)
		total += strlen(l.img.symbols[i].name) + 1;
	assert_true(total <= l.b.len);
	assert_true(l.img.nsymbols > 1 && l.img.nsymbols < 100);
	end(&l);
}

static void symbol_is_found_by_any_address_in_it(void **state)
{
	static const struct elf_symbol symbols[] = {
		{100, 10, "a"}, {110, 0, "b"}, {200, 50, "c"}, {300, 0, "d"}};

	(void)state;
	assert_null(elf_symbol_at(symbols, 4, 99));
	assert_string_equal(elf_symbol_at(symbols, 4, 100)->name, "a");
	assert_string_equal(elf_symbol_at(symbols, 4, 109)->name, "a");
	assert_string_equal(elf_symbol_at(symbols, 4, 110)->name, "b");
	assert_string_equal(elf_symbol_at(symbols, 4, 199)->name, "b");
	assert_string_equal(elf_symbol_at(symbols, 4, 249)->name, "c");
	assert_null(elf_symbol_at(symbols, 4, 250));
	assert_string_equal(elf_symbol_at(symbols, 4, UINT64_MAX)->name, "d");
	assert_null(elf_symbol_at(symbols, 0, 100));
	assert_null(elf_symbol_at(NULL, 0, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(symbols_are_sorted_and_biased),
		cmocka_unit_test(symbols_that_are_no_functions_of_the_image_are_left_out),
		cmocka_unit_test(symbols_at_one_address_become_one),
		cmocka_unit_test(symbol_sizes_end_with_the_segment),
		cmocka_unit_test(long_symbol_names_are_cut),
		cmocka_unit_test(damaged_symbol_tables_give_no_symbols),
		cmocka_unit_test(symbol_names_outside_of_the_strings_are_left_out),
		cmocka_unit_test(section_count_beyond_65279_is_read_from_the_first_section),
		cmocka_unit_test(dynamic_symbols_stand_in_for_missing_ones),
		cmocka_unit_test(names_that_overlap_take_no_more_memory_than_the_file),
		cmocka_unit_test(symbol_is_found_by_any_address_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

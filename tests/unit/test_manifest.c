/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests: made from a guest's notes, and searched. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/function.h"
#include "elf_builder.h"
#include "fail_alloc.h"
#include "function/manifest.h"

#define BASE FN_IMAGE_MIN_VA
#define FUNC ELF64_ST_INFO(STB_GLOBAL, STT_FUNC)

static const struct elf_limits limits = {
	.pie_base = BASE,
	.min_va = FN_IMAGE_MIN_VA,
	.max_va = FN_IMAGE_MAX_VA,
	.max_span = 16u << 20,
};

/* A guest under construction, loaded, and its manifest. */
struct guest {
	struct elfb b;
	struct elf_image img;
	uint8_t *mem;
	struct manifest m;
};

static void begin(struct guest *g)
{
	memset(g, 0, sizeof(*g));
	elfb_init(&g->b, ET_DYN);
}

static void begin_with_abi(struct guest *g)
{
	begin(g);
	elfb_abi(&g->b, FN_ABI_VERSION);
}

static void end(struct guest *g)
{
	manifest_fini(&g->m);
	elf_image_fini(&g->img);
	free(g->mem);
	elfb_free(&g->b);
}

static void load(struct guest *g)
{
	mayfly_error err = {0};

	/* Some have spoilt the finished file. */
	if (g->b.data_va == 0)
		elfb_finish(&g->b);
	if (elf_parse(g->b.data, g->b.len, &limits, &g->img, &err) != MAYFLY_OK)
		fail_msg("%s", err.message);
	g->mem = calloc(1, g->img.end_va - g->img.start_va);
	assert_non_null(g->mem);
	if (elf_load(&g->img, g->b.data, g->b.len, g->mem, &err) != MAYFLY_OK)
		fail_msg("%s", err.message);
}

static int make(struct guest *g, mayfly_error *err)
{
	return manifest_from_elf(&g->img, g->b.data, g->b.len, g->mem, &g->m, err);
}

static void made(struct guest *g)
{
	mayfly_error err = {0};

	load(g);
	if (make(g, &err) != MAYFLY_OK)
		fail_msg("%s", err.message);
}

/* Expect that there will be no manifest, that nothing was touched, and free. */
static void refuses(struct guest *g, int code, const char *part)
{
	struct manifest zero = {0};
	mayfly_error err = {0};
	size_t nsymbols;

	load(g);
	nsymbols = g->img.nsymbols;
	assert_int_equal(make(g, &err), code);
	assert_int_equal(err.code, code);
	if (!strstr(err.message, part))
		fail_msg("expected \"%s\" in: %s", part, err.message);
	assert_memory_equal(&g->m, &zero, sizeof(zero));
	assert_int_equal(g->img.nsymbols, nsymbols);
	end(g);
}

/* --- from notes ------------------------------------------------------------------------------- */

static void exports_have_name_signature_and_address(void **state)
{
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	elfb_export(&g.b, "zeta", "i32(_Bool, string)", 0x10);
	elfb_export(&g.b, "alpha", "void()", 0x20);
	made(&g);
	assert_int_equal(g.m.nexports, 2);
	assert_string_equal(g.m.exports[0].name, "zeta");
	assert_string_equal(g.m.exports[0].text, "i32(bool,string)");
	assert_int_equal(g.m.exports[0].va, BASE + g.b.text_va + 0x10);
	assert_int_equal(g.m.exports[0].sig.nargs, 2);
	assert_ptr_equal(g.m.exports[0].manifest, &g.m);
	assert_string_equal(g.m.exports[1].name, "alpha");
	assert_int_equal(g.m.exports[1].va, BASE + g.b.text_va + 0x20);
	end(&g);
}

static void imports_are_found_by_address_and_by_name(void **state)
{
	const struct manifest_import *im;
	uint64_t first, second, other;
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	first = BASE + elfb_import(&g.b, "log", "void(string)");
	other = BASE + elfb_import(&g.b, "now", "u64()");
	second = BASE + elfb_import(&g.b, "log", "void( string )");
	made(&g);
	assert_int_equal(g.m.nimports, 3);
	im = manifest_import_at(&g.m, first);
	assert_non_null(im);
	assert_string_equal(im->name, "log");
	assert_string_equal(im->text, "void(string)");
	assert_string_equal(manifest_import_at(&g.m, second)->name, "log");
	assert_string_equal(manifest_import_at(&g.m, other)->name, "now");
	assert_ptr_equal(manifest_import_named(&g.m, "log"), im);
	assert_null(manifest_import_named(&g.m, "lo"));
	assert_null(manifest_import_at(&g.m, first + 1));
	assert_null(manifest_import_at(&g.m, 0));
	assert_null(manifest_import_at(&g.m, UINT64_MAX));
	end(&g);
}

static void symbols_move_from_the_image(void **state)
{
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	elfb_symbol(&g.b, "main", g.b.text_va, 0x10, FUNC);
	elfb_symbol(&g.b, "helper", g.b.text_va + 0x10, 0x10, FUNC);
	made(&g);
	assert_int_equal(g.m.nsymbols, 2);
	assert_int_equal(g.m.symbol_names_len, sizeof("main") + sizeof("helper"));
	assert_string_equal(g.m.symbols[1].name, "helper");
	assert_null(g.img.symbols);
	assert_int_equal(g.img.nsymbols, 0);
	end(&g);
}

static void guest_without_notes_is_told_how_to_get_them(void **state)
{
	struct guest g;

	(void)state;
	begin(&g);
	elfb_note(&g.b, "GNU", 3, "build-id", 8);
	refuses(&g, MAYFLY_E_UNSUPPORTED, "no \"Mayfly\" notes; build it with mayfly_guest.h");
}

static void guest_without_an_abi_note_is_refused(void **state)
{
	struct guest g;

	(void)state;
	begin(&g);
	elfb_export(&g.b, "f", "void()", 0);
	refuses(&g, MAYFLY_E_UNSUPPORTED, "version of the function ABI is missing");
}

static void guest_of_another_abi_version_is_refused(void **state)
{
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	elfb_abi(&g.b, FN_ABI_VERSION + 1);
	refuses(&g, MAYFLY_E_UNSUPPORTED, "built for version 2 of the function ABI");
	begin(&g);
	elfb_note(&g.b, FN_NOTE_NAME, FN_NOTE_ABI, "\1\0\0", 3);
	refuses(&g, MAYFLY_E_FORMAT, "ABI note of 3 bytes");
}

static void a_linux_program_is_told_from_a_guest(void **state)
{
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	elfb_note(&g.b, FN_NOTE_NAME, FN_NOTE_PROGRAM, "\0\0\0", 4);
	refuses(&g, MAYFLY_E_UNSUPPORTED, "a Linux program, not a function guest");
}

static void notes_of_unknown_types_are_passed_over(void **state)
{
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	elfb_note(&g.b, FN_NOTE_NAME, 77, "?", 1);
	made(&g);
	assert_int_equal(g.m.nexports, 0);
	end(&g);
}

static void function_exported_twice_is_refused(void **state)
{
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	elfb_export(&g.b, "twin", "void()", 0);
	elfb_export(&g.b, "other", "void()", 0);
	elfb_export(&g.b, "twin", "void()", 0);
	refuses(&g, MAYFLY_E_FORMAT, "\"twin\" is exported twice");
}

static void import_of_two_signatures_is_refused(void **state)
{
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	elfb_import(&g.b, "log", "void(string)");
	elfb_import(&g.b, "now", "u64()");
	elfb_import(&g.b, "log", "void(bytes)");
	refuses(&g, MAYFLY_E_FORMAT,
		"\"log\" is imported both as void(string) and as void(bytes)");
}

static void import_with_a_reserved_field_in_use_is_refused(void **state)
{
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	elfb_note(&g.b, FN_NOTE_NAME, FN_NOTE_IMPORT, "\1\0\0\0\0\0\0\0f\0i32()", 16);
	refuses(&g, MAYFLY_E_FORMAT, "import \"f\": a field that is reserved holds 0x1");
}

static void notes_that_are_read_twice_are_refused(void **state)
{
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	elfb_import(&g.b, "log", "void(string)");
	elfb_finish(&g.b);
	*elfb_phdr(&g.b, ELFB_STACK) = *elfb_phdr(&g.b, ELFB_NOTES);
	refuses(&g, MAYFLY_E_FORMAT, "imports both \"log\" and \"log\"");
}

static void export_address_refused(int64_t offset)
{
	struct guest g;

	begin_with_abi(&g);
	elfb_export(&g.b, "f", "void()", (uint64_t)offset);
	refuses(&g, MAYFLY_E_FORMAT, "export \"f\": its address 0x");
}

static void exports_outside_of_the_code_are_refused(void **state)
{
	(void)state;
	export_address_refused(0x1000);	 /* data */
	export_address_refused(-0x1000); /* nothing there */
	export_address_refused(-0x2000); /* headers */
	export_address_refused(INT64_MAX);
	export_address_refused(INT64_MIN);
}

static void export_name_refused(const char *name, const char *part)
{
	struct guest g;

	begin_with_abi(&g);
	elfb_export(&g.b, name, "void()", 0);
	refuses(&g, MAYFLY_E_FORMAT, part);
}

static void names_that_are_no_identifiers_are_refused(void **state)
{
	char longest[MANIFEST_MAX_NAME + 2];

	(void)state;
	export_name_refused("", "\"\" is no C identifier");
	export_name_refused("2nd", "\"2nd\" is no C identifier");
	export_name_refused("a-b", "\"a-b\" is no C identifier");
	export_name_refused("caf\xc3\xa9", "\"caf\\xc3\\xa9\" is no C identifier");
	memset(longest, 'n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	export_name_refused(longest, "of at most 127 letters");
}

static void longest_name_is_taken(void **state)
{
	char longest[MANIFEST_MAX_NAME + 1];
	const mayfly_function *fn;
	struct guest g;

	(void)state;
	memset(longest, 'n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	begin_with_abi(&g);
	elfb_export(&g.b, longest, "void()", 0);
	made(&g);
	assert_int_equal(manifest_find(&g.m, longest, &fn, NULL), MAYFLY_OK);
	end(&g);
}

static void malformed_signature_in_a_guest_is_a_fault_of_the_file(void **state)
{
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	elfb_export(&g.b, "f", "i32(int)", 0);
	refuses(&g, MAYFLY_E_FORMAT,
		"export \"f\": signature \"i32(int)\": \"int\" at character 5");
}

static void descriptor_refused(const char *desc, size_t len, const char *part)
{
	struct guest g;

	begin_with_abi(&g);
	elfb_note(&g.b, FN_NOTE_NAME, FN_NOTE_IMPORT, desc, len);
	refuses(&g, MAYFLY_E_FORMAT, part);
}

static void descriptors_that_end_too_soon_or_late_are_refused(void **state)
{
	static const char desc[] = "\0\0\0\0\0\0\0\0"
				   "f\0i32()\0\0x";

	(void)state;
	descriptor_refused(desc, 7, "only 7 bytes");
	descriptor_refused(desc, 8, "the name does not end");
	descriptor_refused(desc, 9, "the name does not end");
	descriptor_refused(desc, 10, "import \"f\": the signature does not end");
	descriptor_refused(desc, 15, "import \"f\": the signature does not end");
	descriptor_refused(desc, 18, "there is more behind its signature");
}

static void descriptor_may_be_padded(void **state)
{
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	elfb_note(&g.b, FN_NOTE_NAME, FN_NOTE_IMPORT, "\0\0\0\0\0\0\0\0f\0i32()\0\0\0", 18);
	made(&g);
	assert_int_equal(g.m.nimports, 1);
	end(&g);
}

/* A guest of `n` functions or imports, f0 and so on, that is not finished. */
static void begin_large(struct guest *g, uint32_t n, bool imports)
{
	char name[32];

	begin_with_abi(g);
	g->b.text_va += 1 << 20;
	for (uint32_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		if (imports)
			elfb_import(&g->b, name, "void()");
		else
			elfb_export(&g->b, name, "void()", i % ELFB_TEXT_SIZE);
	}
}

static void most_exports_are_taken_and_one_more_refused(void **state)
{
	const mayfly_function *fn;
	struct guest g;

	(void)state;
	begin_large(&g, MANIFEST_MAX_FUNCTIONS, false);
	made(&g);
	assert_int_equal(g.m.nexports, MANIFEST_MAX_FUNCTIONS);
	assert_int_equal(manifest_find(&g.m, "f4095", &fn, NULL), MAYFLY_OK);
	assert_ptr_equal(fn, &g.m.exports[4095]);
	end(&g);
	begin_large(&g, MANIFEST_MAX_FUNCTIONS + 1, false);
	refuses(&g, MAYFLY_E_TOO_LARGE, "more than 4096 exports");
}

static void imports_beyond_the_most_are_refused(void **state)
{
	struct guest g;

	(void)state;
	begin_large(&g, MANIFEST_MAX_FUNCTIONS + 1, true);
	refuses(&g, MAYFLY_E_TOO_LARGE, "more than 4096 imports");
}

/* --- finding ---------------------------------------------------------------------------------- */

static void every_export_is_found_by_name(void **state)
{
	static const char *const names[] = {"mul", "add", "sub", "a", "zz", "_", "ADD"};
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		elfb_export(&g.b, names[i], "void()", i);
	made(&g);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const mayfly_function *fn = NULL;

		assert_int_equal(manifest_find(&g.m, names[i], &fn, NULL), MAYFLY_OK);
		assert_ptr_equal(fn, &g.m.exports[i]);
	}
	end(&g);
}

static void not_found(struct guest *g, const char *name, const char *message)
{
	const mayfly_function *fn = NULL;
	mayfly_error err = {0};

	assert_int_equal(manifest_find(&g->m, name, &fn, &err), MAYFLY_E_NO_FUNCTION);
	assert_int_equal(err.code, MAYFLY_E_NO_FUNCTION);
	assert_null(fn);
	assert_string_equal(err.message, message);
}

static void misspelt_name_is_answered_with_near_ones_best_first(void **state)
{
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	elfb_export(&g.b, "parse_files", "void()", 0);
	elfb_export(&g.b, "parse_lines", "void()", 0);
	elfb_export(&g.b, "parse_file", "void()", 0);
	elfb_export(&g.b, "unrelated", "void()", 0);
	made(&g);
	not_found(&g, "parsefile",
		  "no function \"parsefile\"; did you mean \"parse_file\" or \"parse_files\"?");
	not_found(
		&g, "parse_fixes",
		"no function \"parse_fixes\"; did you mean \"parse_files\", \"parse_lines\" or "
		"\"parse_file\"?");
	not_found(&g, "Unrelated", "no function \"Unrelated\"; did you mean \"unrelated\"?");
	end(&g);
}

static void no_more_than_three_near_names_are_given(void **state)
{
	struct guest g;

	(void)state;
	begin_large(&g, 6, false);
	made(&g);
	not_found(&g, "f", "no function \"f\"; did you mean \"f0\", \"f1\" or \"f2\"?");
	end(&g);
}

static void unknown_name_is_answered_with_the_few_exports(void **state)
{
	struct guest g;

	(void)state;
	begin_with_abi(&g);
	elfb_export(&g.b, "add", "void()", 0);
	made(&g);
	not_found(&g, "frobnicate", "no function \"frobnicate\"; the guest exports \"add\"");
	end(&g);
	begin_with_abi(&g);
	elfb_export(&g.b, "sub", "void()", 0);
	elfb_export(&g.b, "add", "void()", 0);
	made(&g);
	not_found(&g, "", "no function \"\"; the guest exports \"sub\" and \"add\"");
	end(&g);
}

static void unknown_name_among_many_or_none_is_answered_briefly(void **state)
{
	struct guest g;

	(void)state;
	begin_large(&g, 9, false);
	made(&g);
	not_found(&g, "frobnicate",
		  "no function \"frobnicate\", and no name like it among the 9 that the guest "
		  "exports");
	end(&g);
	begin_with_abi(&g);
	made(&g);
	not_found(&g, "f", "no function \"f\": the guest exports none (see MAYFLY_EXPORT)");
	end(&g);
}

static void unknown_name_of_any_length_is_answered(void **state)
{
	const mayfly_function *fn;
	mayfly_error err = {0};
	char name[1000];
	struct guest g;

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	begin_large(&g, 3, false);
	made(&g);
	for (size_t len = sizeof(name) - 1; len > 100; len--) {
		name[len] = '\0';
		assert_int_equal(manifest_find(&g.m, name, &fn, &err), MAYFLY_E_NO_FUNCTION);
	}
	end(&g);
}

/* --- out of memory ---------------------------------------------------------------------------- */

static void making_a_manifest_without_memory_fails_cleanly(void **state)
{
	struct guest g;
	size_t n;

	(void)state;
	begin_large(&g, 40, false);
	elfb_import(&g.b, "log", "void()");
	load(&g);
	for (n = 1;; n++) {
		mayfly_error err = {0};
		int r;

		fail_alloc_at(n);
		r = make(&g, &err);
		if (!fail_alloc_end()) {
			assert_int_equal(r, MAYFLY_OK);
			break;
		}
		assert_int_equal(r, MAYFLY_E_NOMEM);
		assert_int_equal(err.code, MAYFLY_E_NOMEM);
		assert_null(g.m.exports);
	}
	assert_true(n > 5);
	end(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exports_have_name_signature_and_address),
		cmocka_unit_test(imports_are_found_by_address_and_by_name),
		cmocka_unit_test(symbols_move_from_the_image),
		cmocka_unit_test(guest_without_notes_is_told_how_to_get_them),
		cmocka_unit_test(guest_without_an_abi_note_is_refused),
		cmocka_unit_test(guest_of_another_abi_version_is_refused),
		cmocka_unit_test(a_linux_program_is_told_from_a_guest),
		cmocka_unit_test(notes_of_unknown_types_are_passed_over),
		cmocka_unit_test(function_exported_twice_is_refused),
		cmocka_unit_test(import_of_two_signatures_is_refused),
		cmocka_unit_test(import_with_a_reserved_field_in_use_is_refused),
		cmocka_unit_test(notes_that_are_read_twice_are_refused),
		cmocka_unit_test(exports_outside_of_the_code_are_refused),
		cmocka_unit_test(names_that_are_no_identifiers_are_refused),
		cmocka_unit_test(longest_name_is_taken),
		cmocka_unit_test(malformed_signature_in_a_guest_is_a_fault_of_the_file),
		cmocka_unit_test(descriptors_that_end_too_soon_or_late_are_refused),
		cmocka_unit_test(descriptor_may_be_padded),
		cmocka_unit_test(most_exports_are_taken_and_one_more_refused),
		cmocka_unit_test(imports_beyond_the_most_are_refused),
		cmocka_unit_test(every_export_is_found_by_name),
		cmocka_unit_test(misspelt_name_is_answered_with_near_ones_best_first),
		cmocka_unit_test(no_more_than_three_near_names_are_given),
		cmocka_unit_test(unknown_name_is_answered_with_the_few_exports),
		cmocka_unit_test(unknown_name_among_many_or_none_is_answered_briefly),
		cmocka_unit_test(unknown_name_of_any_length_is_answered),
		cmocka_unit_test(making_a_manifest_without_memory_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

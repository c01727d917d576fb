/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests as bytes of a snapshot file, which are hostile. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "abi/function.h"
#include "fail_alloc.h"
#include "function/manifest.h"

#define BASE FN_IMAGE_MIN_VA

static struct mayfly_function exports[] = {
	{.va = BASE + 0x2010,
	 .sig = {MAYFLY_I64, 2, {MAYFLY_BYTES, MAYFLY_BOOL}},
	 .name = "parse",
	 .text = "i64(bytes,bool)"},
	{.va = BASE + 0x2020,
	 .sig = {MAYFLY_I32, 2, {MAYFLY_I32, MAYFLY_I32}},
	 .name = "add",
	 .text = "i32(i32,i32)"},
};

static struct manifest_import imports[] = {
	{BASE + 0x100, {MAYFLY_VOID, 1, {MAYFLY_STRING}}, "log", "void(string)"},
	{BASE + 0x180, {MAYFLY_VOID, 1, {MAYFLY_STRING}}, "log", "void(string)"},
};

static struct elf_symbol symbols[] = {
	{BASE + 0x2010, 0x10, "parse"},
	{BASE + 0x2020, 0x10, "add"},
};

static const struct manifest typical = {
	.exports = exports,
	.nexports = 2,
	.imports = imports,
	.nimports = 2,
	.symbols = symbols,
	.nsymbols = 2,
};

static int decode(const uint8_t *data, size_t len, struct manifest *out, mayfly_error *err)
{
	return manifest_decode(data, len, FN_IMAGE_MIN_VA, FN_IMAGE_MAX_VA, out, err);
}

static void encoded_manifest_decodes_to_the_same(void **state)
{
	const mayfly_function *fn;
	struct manifest m = {0};
	uint8_t *bytes, *again;
	size_t len, again_len;

	(void)state;
	assert_int_equal(manifest_encode(&typical, &bytes, &len, NULL), MAYFLY_OK);
	assert_int_equal(decode(bytes, len, &m, NULL), MAYFLY_OK);
	assert_int_equal(m.nexports, 2);
	assert_string_equal(m.exports[0].name, "parse");
	assert_string_equal(m.exports[0].text, "i64(bytes,bool)");
	assert_int_equal(m.exports[0].va, exports[0].va);
	assert_true(signature_equal(&m.exports[0].sig, &typical.exports[0].sig));
	assert_ptr_equal(m.exports[1].manifest, &m);
	assert_int_equal(manifest_find(&m, "add", &fn, NULL), MAYFLY_OK);
	assert_ptr_equal(fn, &m.exports[1]);
	assert_int_equal(m.nimports, 2);
	assert_int_equal(m.imports[1].note_va, imports[1].note_va);
	assert_int_equal(m.nsymbols, 2);
	assert_string_equal(elf_symbol_at(m.symbols, 2, symbols[1].va + 5)->name, "add");
	assert_int_equal(manifest_encode(&m, &again, &again_len, NULL), MAYFLY_OK);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, bytes, len);
	free(again);
	free(bytes);
	manifest_fini(&m);
}

static void empty_manifest_encodes_and_decodes(void **state)
{
	struct manifest m = {0}, out = {0};
	uint8_t *bytes;
	size_t len;

	(void)state;
	assert_int_equal(manifest_encode(&m, &bytes, &len, NULL), MAYFLY_OK);
	assert_int_equal(len, 12);
	assert_int_equal(decode(bytes, len, &out, NULL), MAYFLY_OK);
	assert_int_equal(out.nexports, 0);
	manifest_fini(&out);
	free(bytes);
}

static void encoded_manifest_of_any_other_length_is_refused(void **state)
{
	struct manifest m, before;
	uint8_t *bytes, *copy;
	size_t size;

	(void)state;
	assert_int_equal(manifest_encode(&typical, &bytes, &size, NULL), MAYFLY_OK);
	memset(&m, 0x5a, sizeof(m));
	before = m;
	for (size_t len = 0; len <= size + 8; len++) {
		mayfly_error err = {0};

		if (len == size)
			continue;
		copy = calloc(1, len ? len : 1);
		assert_non_null(copy);
		memcpy(copy, bytes, len < size ? len : size);
		assert_int_equal(decode(copy, len, &m, &err), MAYFLY_E_FORMAT);
		assert_non_null(strstr(err.message, len < size ? "cut off" : "bytes too many"));
		assert_memory_equal(&m, &before, sizeof(m));
		free(copy);
	}
	free(bytes);
}

static void damaged_bytes_are_refused_or_mean_what_they_say(void **state)
{
	static const uint8_t flips[] = {0x01, 0x20, 0x80, 0xff};
	uint8_t *bytes, *again;
	size_t len, again_len, refused = 0;

	(void)state;
	assert_int_equal(manifest_encode(&typical, &bytes, &len, NULL), MAYFLY_OK);
	for (size_t i = 0; i < len * ARRAY_SIZE(flips); i++) {
		struct manifest m = {0};
		uint8_t flip = flips[i % ARRAY_SIZE(flips)];
		int r;

		bytes[i / ARRAY_SIZE(flips)] ^= flip;
		r = decode(bytes, len, &m, NULL);
		if (r == MAYFLY_OK) {
			assert_int_equal(manifest_encode(&m, &again, &again_len, NULL), 0);
			assert_int_equal(again_len, len);
			assert_memory_equal(again, bytes, len);
			free(again);
		} else {
			assert_int_equal(r, MAYFLY_E_FORMAT);
			refused++;
		}
		manifest_fini(&m);
		bytes[i / ARRAY_SIZE(flips)] ^= flip;
	}
	assert_true(refused > len);
	free(bytes);
}

static void decode_refuses(const uint8_t *bytes, size_t len, const char *part)
{
	struct manifest m = {0};
	mayfly_error err = {0};

	assert_int_equal(decode(bytes, len, &m, &err), MAYFLY_E_FORMAT);
	if (!strstr(err.message, part))
		fail_msg("expected \"%s\" in: %s", part, err.message);
}

static void absurd_counts_are_refused_before_memory_is_taken(void **state)
{
	static const uint8_t more_exports[12] = {0x01, 0x10}; /* 4097 */
	static const uint8_t more_imports[12] = {0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff};
	static const uint8_t missing_symbols[12] = {0, 0, 0, 0, 0,    0,
						    0, 0, 0, 0, 0x10, 0}; /* 1 << 20 */
	static const uint8_t more_symbols[12] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0x10, 0};

	(void)state;
	fail_alloc_at(1);
	decode_refuses(more_exports, 12, "4097 exports");
	decode_refuses(more_imports, 12, "4294967295 imports");
	decode_refuses(missing_symbols, 12, "cut off");
	decode_refuses(more_symbols, 12, "1048577 symbols");
	assert_false(fail_alloc_end());
}

/* A manifest's bytes, written by hand. */
struct bytes {
	uint8_t data[512];
	size_t len;
};

static void number(struct bytes *b, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		b->data[b->len++] = (uint8_t)(value >> (8 * i));
}

static void text(struct bytes *b, const char *s)
{
	number(b, strlen(s), 1);
	memcpy(b->data + b->len, s, strlen(s));
	b->len += strlen(s);
}

static void counts(struct bytes *b, uint32_t nexports, uint32_t nimports, uint32_t nsymbols)
{
	b->len = 0;
	number(b, nexports, 4);
	number(b, nimports, 4);
	number(b, nsymbols, 4);
}

static void function(struct bytes *b, uint64_t va, const char *name, const char *signature)
{
	number(b, va, 8);
	text(b, name);
	text(b, signature);
}

static void symbol(struct bytes *b, uint64_t va, uint64_t size, const char *name)
{
	number(b, va, 8);
	number(b, size, 8);
	text(b, name);
}

static void decoded_exports_are_checked_like_those_of_notes(void **state)
{
	struct bytes b;

	(void)state;
	counts(&b, 1, 0, 0);
	function(&b, FN_IMAGE_MIN_VA - 1, "f", "void()");
	decode_refuses(b.data, b.len, "address of export 0, 0x1fffff, is outside");
	counts(&b, 1, 0, 0);
	function(&b, FN_IMAGE_MAX_VA, "f", "void()");
	decode_refuses(b.data, b.len, "is outside of the guest");
	counts(&b, 1, 0, 0);
	function(&b, BASE, "f g", "void()");
	decode_refuses(b.data, b.len, "no C identifier");
	counts(&b, 1, 0, 0);
	function(&b, BASE, "f", "void(void)");
	decode_refuses(b.data, b.len, "signature of export \"f\" is malformed");
	counts(&b, 1, 0, 0);
	function(&b, BASE, "f", "void( )");
	decode_refuses(b.data, b.len, "signature of export \"f\" is malformed");
	counts(&b, 2, 0, 0);
	function(&b, BASE, "f", "void()");
	function(&b, BASE, "f", "void()");
	decode_refuses(b.data, b.len, "\"f\" is exported twice");
}

static void decoded_imports_are_checked_like_those_of_notes(void **state)
{
	struct bytes b;

	(void)state;
	counts(&b, 0, 2, 0);
	function(&b, BASE + 1, "f", "void()");
	function(&b, BASE, "f", "void()");
	decode_refuses(b.data, b.len, "import 1 is out of order");
	counts(&b, 0, 2, 0);
	function(&b, BASE, "f", "void()");
	function(&b, BASE, "g", "void()");
	decode_refuses(b.data, b.len, "import 1 is out of order");
	counts(&b, 0, 2, 0);
	function(&b, BASE, "f", "void()");
	function(&b, BASE + 1, "f", "bool()");
	decode_refuses(b.data, b.len, "imported both as void() and as bool()");
}

static void decoded_symbols_are_checked(void **state)
{
	struct bytes b;

	(void)state;
	counts(&b, 0, 0, 1);
	symbol(&b, BASE - 1, 0, "s");
	decode_refuses(b.data, b.len, "symbol 0 is outside");
	counts(&b, 0, 0, 1);
	symbol(&b, BASE, FN_IMAGE_MAX_VA - BASE + 1, "s");
	decode_refuses(b.data, b.len, "symbol 0 is outside");
	counts(&b, 0, 0, 1);
	symbol(&b, BASE, 8, "\n");
	decode_refuses(b.data, b.len, "name of symbol 0 is malformed");
	counts(&b, 0, 0, 2);
	symbol(&b, BASE, 8, "s");
	symbol(&b, BASE, 8, "t");
	decode_refuses(b.data, b.len, "symbol 1 is out of order");
}

static void coding_a_manifest_without_memory_fails_cleanly(void **state)
{
	struct manifest m = {0};
	uint8_t *bytes = NULL;
	size_t n, len;
	int r;

	(void)state;
	fail_alloc_at(1);
	r = manifest_encode(&typical, &bytes, &len, NULL);
	assert_true(fail_alloc_end());
	assert_int_equal(r, MAYFLY_E_NOMEM);
	assert_int_equal(manifest_encode(&typical, &bytes, &len, NULL), MAYFLY_OK);
	for (n = 1;; n++) {
		fail_alloc_at(n);
		r = decode(bytes, len, &m, NULL);
		if (!fail_alloc_end()) {
			assert_int_equal(r, MAYFLY_OK);
			break;
		}
		assert_int_equal(r, MAYFLY_E_NOMEM);
		assert_null(m.exports);
	}
	assert_true(n > 5);
	manifest_fini(&m);
	free(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encoded_manifest_decodes_to_the_same),
		cmocka_unit_test(empty_manifest_encodes_and_decodes),
		cmocka_unit_test(encoded_manifest_of_any_other_length_is_refused),
		cmocka_unit_test(damaged_bytes_are_refused_or_mean_what_they_say),
		cmocka_unit_test(absurd_counts_are_refused_before_memory_is_taken),
		cmocka_unit_test(decoded_exports_are_checked_like_those_of_notes),
		cmocka_unit_test(decoded_imports_are_checked_like_those_of_notes),
		cmocka_unit_test(decoded_symbols_are_checked),
		cmocka_unit_test(coding_a_manifest_without_memory_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

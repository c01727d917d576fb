/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <string.h>

void fuzz_check_text(const char *text)
{
	for (const char *c = text; *c; c++)
		CHECK(*c >= 0x20 && *c <= 0x7e);
}

void fuzz_check_error(int code, const mayfly_error *err)
{
	CHECK(code == MAYFLY_E_FORMAT || code == MAYFLY_E_UNSUPPORTED ||
	      code == MAYFLY_E_TOO_LARGE);
	CHECK(err->code == code);
	CHECK(memchr(err->message, '\0', sizeof(err->message)));
	CHECK(err->message[0]);
	fuzz_check_text(err->message);
}

static void check_signature(const struct signature *sig, const char *text)
{
	struct signature again;
	char buf[SIGNATURE_TEXT_MAX];

	CHECK(sig->nargs <= MAYFLY_MAX_ARGS);
	CHECK(signature_parse(text, strlen(text), &again, NULL) == MAYFLY_OK);
	CHECK(signature_equal(sig, &again));
	signature_format(sig, buf);
	CHECK(strcmp(buf, text) == 0);
}

static void check_functions(const struct manifest *m, uint64_t min_va, uint64_t max_va)
{
	CHECK(m->nexports <= MANIFEST_MAX_FUNCTIONS && m->nimports <= MANIFEST_MAX_FUNCTIONS);
	for (uint32_t i = 0; i < m->nexports; i++) {
		const struct mayfly_function *fn = &m->exports[i], *found = NULL;

		CHECK(fn->manifest == m);
		CHECK(fn->va >= min_va && fn->va < max_va);
		check_signature(&fn->sig, fn->text);
		CHECK(manifest_find(m, fn->name, &found, NULL) == MAYFLY_OK && found == fn);
	}
	for (uint32_t i = 0; i < m->nimports; i++) {
		const struct manifest_import *im = &m->imports[i];

		CHECK(im->note_va >= min_va && im->note_va < max_va);
		CHECK(i == 0 || im->note_va > m->imports[i - 1].note_va);
		check_signature(&im->sig, im->text);
		CHECK(manifest_import_at(m, im->note_va) == im);
		CHECK(strcmp(manifest_import_named(m, im->name)->text, im->text) == 0);
	}
}

static void check_misses(const struct manifest *m)
{
	const mayfly_function *fn = NULL;
	mayfly_error err;

	CHECK(manifest_find(m, "no-such\nfunction", &fn, &err) == MAYFLY_E_NO_FUNCTION);
	CHECK(err.code == MAYFLY_E_NO_FUNCTION && !fn);
	fuzz_check_text(err.message);
	CHECK(!manifest_import_at(m, 0));
}

void fuzz_check_manifest(const struct manifest *m, uint64_t min_va, uint64_t max_va)
{
	struct manifest decoded = {0};
	uint8_t *bytes, *again;
	size_t len, again_len;

	check_functions(m, min_va, max_va);
	check_misses(m);
	for (size_t i = 0; i < m->nsymbols; i++) {
		const char *name = m->symbols[i].name;

		CHECK(name >= m->symbol_names &&
		      (size_t)(name - m->symbol_names) + strlen(name) < m->symbol_names_len);
	}
	CHECK(manifest_encode(m, &bytes, &len, NULL) == MAYFLY_OK);
	CHECK(manifest_decode(bytes, len, min_va, max_va, &decoded, NULL) == MAYFLY_OK);
	check_functions(&decoded, min_va, max_va);
	CHECK(manifest_encode(&decoded, &again, &again_len, NULL) == MAYFLY_OK);
	CHECK(again_len == len && memcmp(again, bytes, len) == 0);
	free(again);
	free(bytes);
	manifest_fini(&decoded);
}

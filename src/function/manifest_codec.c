/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Manifests as bytes, little-endian:
 *   u32 exports, u32 imports, u32 symbols;
 *   each export: u64 address, name, signature;
 *   each import: u64 address of its note, name, signature; ascending by address;
 *   each symbol: u64 address, u64 size, name; ascending by address, one per address;
 * where names and signatures are a length byte and that many letters. A manifest has one
 * encoding only: what decodes encodes to the same bytes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "function/manifest_build.h"

/* The least one takes, so that no count makes more be allocated than there are bytes for. */
#define MIN_FUNCTION_BYTES (8 + 1 + 1 + 1 + 5)

/*
 * --- encoding
 * ---------------------------------------------------------------------------------
 */

static void put(uint8_t **at, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		*(*at)++ = (uint8_t)(value >> (8 * i));
}

static void put_text(uint8_t **at, const char *text)
{
	size_t len = strlen(text);

	put(at, len, 1);
	memcpy(*at, text, len);
	*at += len;
}

static size_t encoded_size(const struct manifest *m)
{
	size_t size = 12;

	for (uint32_t i = 0; i < m->nexports; i++)
		size += 8 + 1 + strlen(m->exports[i].name) + 1 + strlen(m->exports[i].text);
	for (uint32_t i = 0; i < m->nimports; i++)
		size += 8 + 1 + strlen(m->imports[i].name) + 1 + strlen(m->imports[i].text);
	for (size_t i = 0; i < m->nsymbols; i++)
		size += 8 + 8 + 1 + strlen(m->symbols[i].name);
	return size;
}

int manifest_encode(const struct manifest *m, uint8_t **out, size_t *len, mayfly_error *err)
{
	size_t size = encoded_size(m);
	uint8_t *buf = malloc(size);
	uint8_t *at = buf;

	if (!buf)
		return fail(err, MAYFLY_E_NOMEM,
			    "out of memory for the table of the guest's functions");
	put(&at, m->nexports, 4);
	put(&at, m->nimports, 4);
	put(&at, m->nsymbols, 4);
	for (uint32_t i = 0; i < m->nexports; i++) {
		put(&at, m->exports[i].va, 8);
		put_text(&at, m->exports[i].name);
		put_text(&at, m->exports[i].text);
	}
	for (uint32_t i = 0; i < m->nimports; i++) {
		put(&at, m->imports[i].note_va, 8);
		put_text(&at, m->imports[i].name);
		put_text(&at, m->imports[i].text);
	}
	for (size_t i = 0; i < m->nsymbols; i++) {
		put(&at, m->symbols[i].va, 8);
		put(&at, m->symbols[i].size, 8);
		put_text(&at, m->symbols[i].name);
	}
	*out = buf;
	*len = size;
	return MAYFLY_OK;
}

/*
 * --- decoding
 * ---------------------------------------------------------------------------------
 */

/* Hostile bytes and how far they were read, with what addresses in them may be. */
struct reader {
	const uint8_t *data;
	size_t len;
	size_t at;
	uint64_t min_va;
	uint64_t max_va;
};

static int cut_off(const struct reader *rd, mayfly_error *err)
{
	return fail(err, MAYFLY_E_FORMAT, "the table of functions is cut off after %zu bytes",
		    rd->len);
}

static bool get(struct reader *rd, size_t bytes, uint64_t *value)
{
	uint64_t v = 0;

	if (rd->len - rd->at < bytes)
		return false;
	for (size_t i = 0; i < bytes; i++)
		v |= (uint64_t)rd->data[rd->at + i] << (8 * i);
	rd->at += bytes;
	*value = v;
	return true;
}

/* A text within the data, not terminated. */
static bool get_text(struct reader *rd, const char **text, size_t *len)
{
	uint64_t n;

	if (!get(rd, 1, &n) || rd->len - rd->at < n)
		return false;
	*text = (const char *)rd->data + rd->at;
	*len = n;
	rd->at += n;
	return true;
}

/* An export or import, which `kind` says. */
static int get_function(struct reader *rd, const char *kind, uint32_t index,
			struct declaration *out, mayfly_error *err)
{
	const char *name, *text;
	size_t name_len, text_len;

	if (!get(rd, 8, &out->va) || !get_text(rd, &name, &name_len) ||
	    !get_text(rd, &text, &text_len))
		return cut_off(rd, err);
	if (out->va < rd->min_va || out->va >= rd->max_va)
		return fail(err, MAYFLY_E_FORMAT,
			    "table of functions: the address of %s %" PRIu32 ", 0x%" PRIx64
			    ", is outside of the guest",
			    kind, index, out->va);
	if (!manifest_is_identifier(name, name_len))
		return fail(err, MAYFLY_E_FORMAT,
			    "table of functions: the name of %s %" PRIu32 " is no C identifier",
			    kind, index);
	memcpy(out->name, name, name_len);
	out->name[name_len] = '\0';
	if (signature_parse(text, text_len, &out->sig, NULL) == MAYFLY_OK) {
		signature_format(&out->sig, out->text);
		if (strlen(out->text) == text_len && memcmp(out->text, text, text_len) == 0)
			return MAYFLY_OK;
	}
	return fail(err, MAYFLY_E_FORMAT,
		    "table of functions: the signature of %s \"%s\" is malformed", kind,
		    out->name);
}

static int get_exports(struct reader *rd, struct manifest *m, uint32_t count, mayfly_error *err)
{
	if (count == 0)
		return MAYFLY_OK;
	m->exports = calloc(count, sizeof(*m->exports));
	if (!m->exports)
		return fail(err, MAYFLY_E_NOMEM, "out of memory for %" PRIu32 " functions",
			    count);
	for (; m->nexports < count; m->nexports++) {
		struct declaration decl;
		int r = get_function(rd, "export", m->nexports, &decl, err);

		if (r < 0)
			return r;
		manifest_set_export(&m->exports[m->nexports], &decl);
	}
	return MAYFLY_OK;
}

static int get_imports(struct reader *rd, struct manifest *m, uint32_t count, mayfly_error *err)
{
	uint64_t previous = 0;

	if (count == 0)
		return MAYFLY_OK;
	m->imports = calloc(count, sizeof(*m->imports));
	if (!m->imports)
		return fail(err, MAYFLY_E_NOMEM, "out of memory for %" PRIu32 " functions",
			    count);
	for (; m->nimports < count; m->nimports++) {
		struct declaration decl;
		int r = get_function(rd, "import", m->nimports, &decl, err);

		if (r < 0)
			return r;
		if (m->nimports > 0 && decl.va <= previous)
			return fail(err, MAYFLY_E_FORMAT,
				    "table of functions: import %" PRIu32 " is out of order",
				    m->nimports);
		previous = decl.va;
		manifest_set_import(&m->imports[m->nimports], &decl);
	}
	return MAYFLY_OK;
}

/* A symbol: its name stays where it is in the data, *ret_len letters at *ret_name. */
static int get_symbol(struct reader *rd, uint64_t index, struct elf_symbol *out,
		      size_t *ret_len, mayfly_error *err)
{
	if (!get(rd, 8, &out->va) || !get(rd, 8, &out->size) ||
	    !get_text(rd, &out->name, ret_len))
		return cut_off(rd, err);
	if (out->va < rd->min_va || out->va >= rd->max_va || out->size > rd->max_va - out->va)
		return fail(err, MAYFLY_E_FORMAT,
			    "table of functions: symbol %" PRIu64 " is outside of the guest",
			    index);
	for (size_t i = 0; i < *ret_len; i++) {
		if (out->name[i] < 0x20 || out->name[i] > 0x7e)
			*ret_len = 0;
	}
	if (*ret_len == 0)
		return fail(err, MAYFLY_E_FORMAT,
			    "table of functions: the name of symbol %" PRIu64 " is malformed",
			    index);
	return MAYFLY_OK;
}

/* Check all symbols that are left, and give the size of their names. */
static int check_symbols(struct reader rd, uint64_t count, size_t *ret_names_len,
			 mayfly_error *err)
{
	struct elf_symbol sym;
	uint64_t previous = 0;
	size_t total = 0, len;

	for (uint64_t i = 0; i < count; i++) {
		int r = get_symbol(&rd, i, &sym, &len, err);

		if (r < 0)
			return r;
		if (i > 0 && sym.va <= previous)
			return fail(err, MAYFLY_E_FORMAT,
				    "table of functions: symbol %" PRIu64 " is out of order",
				    i);
		previous = sym.va;
		total += len + 1;
	}
	*ret_names_len = total;
	return MAYFLY_OK;
}

static int get_symbols(struct reader *rd, struct manifest *m, uint64_t count, mayfly_error *err)
{
	size_t len;
	char *name;
	int r;

	r = check_symbols(*rd, count, &m->symbol_names_len, err);
	if (r < 0 || count == 0)
		return r;
	m->symbols = calloc(count, sizeof(*m->symbols));
	m->symbol_names = malloc(m->symbol_names_len);
	if (!m->symbols || !m->symbol_names)
		return fail(err, MAYFLY_E_NOMEM, "out of memory for %" PRIu64 " symbols",
			    count);
	name = m->symbol_names;
	for (; m->nsymbols < count; m->nsymbols++) {
		struct elf_symbol *sym = &m->symbols[m->nsymbols];

		r = get_symbol(rd, m->nsymbols, sym, &len, err);
		if (r < 0)
			return r;
		memcpy(name, sym->name, len);
		name[len] = '\0';
		sym->name = name;
		name += len + 1;
	}
	return MAYFLY_OK;
}

/* The counts at the beginning, each one believable for the bytes that follow. */
static int get_counts(struct reader *rd, uint64_t *exports, uint64_t *imports,
		      uint64_t *symbols, mayfly_error *err)
{
	size_t left;

	if (!get(rd, 4, exports) || !get(rd, 4, imports) || !get(rd, 4, symbols))
		return cut_off(rd, err);
	left = rd->len - rd->at;
	if (*exports > MANIFEST_MAX_FUNCTIONS || *imports > MANIFEST_MAX_FUNCTIONS ||
	    *symbols > ELF_MAX_SYMBOLS)
		return fail(err, MAYFLY_E_FORMAT,
			    "table of functions: %" PRIu64 " exports, %" PRIu64
			    " imports, %" PRIu64 " symbols are more than can be",
			    *exports, *imports, *symbols);
	if ((*exports + *imports) * MIN_FUNCTION_BYTES > left)
		return cut_off(rd, err);
	return MAYFLY_OK;
}

static int decode(struct reader *rd, struct manifest *m, mayfly_error *err)
{
	uint64_t exports, imports, symbols;
	int r;

	r = get_counts(rd, &exports, &imports, &symbols, err);
	if (r == 0)
		r = get_exports(rd, m, (uint32_t)exports, err);
	if (r == 0)
		r = get_imports(rd, m, (uint32_t)imports, err);
	if (r == 0)
		r = get_symbols(rd, m, symbols, err);
	if (r == 0 && rd->at != rd->len)
		r = fail(err, MAYFLY_E_FORMAT, "table of functions: %zu bytes too many",
			 rd->len - rd->at);
	return r;
}

int manifest_decode(const uint8_t *data, size_t len, uint64_t min_va, uint64_t max_va,
		    struct manifest *out, mayfly_error *err)
{
	struct reader rd = {.data = data, .len = len, .min_va = min_va, .max_va = max_va};
	struct manifest m = {0};
	int r;

	r = decode(&rd, &m, err);
	if (r == 0)
		r = manifest_finish(&m, out, err);
	if (r < 0)
		manifest_fini(&m);
	return r;
}

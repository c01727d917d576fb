/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest declares, from its ELF notes; and finding it by name or address. */
#include "function/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "abi/function.h"
#include "core/error.h"
#include "function/manifest_build.h"

/* As many exports as are listed in full where one is not found. */
#define FEW_EXPORTS 8
#define MAX_NEAR_MISSES 3
#define MAX_DISTANCE 3

#define X64 "0x%" PRIx64

/*
 * --- checks that every manifest passes, however it was made
 * -----------------------------------
 */

bool manifest_is_identifier(const char *name, size_t len)
{
	if (len == 0 || len > MANIFEST_MAX_NAME || (name[0] >= '0' && name[0] <= '9'))
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = name[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') || c == '_'))
			return false;
	}
	return true;
}

struct named {
	const char *name;
	uint32_t index;
};

static int compare_named(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	if (r != 0)
		return r;
	return x->index < y->index ? -1 : x->index > y->index;
}

static int compare_imports(const void *a, const void *b)
{
	const struct manifest_import *x = a, *y = b;

	return x->note_va < y->note_va ? -1 : x->note_va > y->note_va;
}

static int out_of_memory(mayfly_error *err)
{
	return fail(err, MAYFLY_E_NOMEM,
		    "out of memory for the table of the guest's functions");
}

/* `sorted` has room for all exports. */
static int check_exports(struct manifest *m, struct named *sorted, mayfly_error *err)
{
	for (uint32_t i = 0; i < m->nexports; i++)
		sorted[i] = (struct named){m->exports[i].name, i};
	qsort(sorted, m->nexports, sizeof(*sorted), compare_named);
	for (uint32_t i = 0; i < m->nexports; i++) {
		if (i > 0 && strcmp(sorted[i].name, sorted[i - 1].name) == 0)
			return fail(err, MAYFLY_E_FORMAT, "function \"%s\" is exported twice",
				    sorted[i].name);
		m->by_name[i] = sorted[i].index;
	}
	return MAYFLY_OK;
}

/* `sorted` has room for all imports. */
static int check_imports(struct manifest *m, struct named *sorted, mayfly_error *err)
{
	for (uint32_t i = 0; i < m->nimports; i++) {
		if (i > 0 && m->imports[i].note_va == m->imports[i - 1].note_va)
			return fail(err, MAYFLY_E_FORMAT,
				    "the note at " X64 " imports both \"%s\" and \"%s\"",
				    m->imports[i].note_va, m->imports[i - 1].name,
				    m->imports[i].name);
		sorted[i] = (struct named){m->imports[i].name, i};
	}
	qsort(sorted, m->nimports, sizeof(*sorted), compare_named);
	for (uint32_t i = 1; i < m->nimports; i++) {
		const struct manifest_import *x = &m->imports[sorted[i - 1].index];
		const struct manifest_import *y = &m->imports[sorted[i].index];

		if (strcmp(x->name, y->name) == 0 && !signature_equal(&x->sig, &y->sig))
			return fail(
				err, MAYFLY_E_FORMAT,
				"host function \"%s\" is imported both as %s and as %s; give "
				"it one MAYFLY_IMPORT in a header",
				x->name, x->text, y->text);
	}
	return MAYFLY_OK;
}

void manifest_set_export(struct mayfly_function *fn, const struct declaration *decl)
{
	*fn = (struct mayfly_function){.va = decl->va, .sig = decl->sig};
	stpcpy(fn->name, decl->name);
	stpcpy(fn->text, decl->text);
}

void manifest_set_import(struct manifest_import *import, const struct declaration *decl)
{
	*import = (struct manifest_import){.note_va = decl->va, .sig = decl->sig};
	stpcpy(import->name, decl->name);
	stpcpy(import->text, decl->text);
}

int manifest_finish(struct manifest *m, struct manifest *out, mayfly_error *err)
{
	/* One more than needed, so that no size is 0. */
	struct named *sorted = calloc((size_t)m->nexports + m->nimports + 1, sizeof(*sorted));
	int r;

	m->by_name = calloc((size_t)m->nexports + 1, sizeof(*m->by_name));
	if (m->nimports > 0)
		qsort(m->imports, m->nimports, sizeof(*m->imports), compare_imports);
	if (!sorted || !m->by_name)
		r = out_of_memory(err);
	else
		r = check_exports(m, sorted, err);
	if (r == 0)
		r = check_imports(m, sorted, err);
	free(sorted);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < m->nexports; i++)
		m->exports[i].manifest = out;
	*out = *m;
	*m = (struct manifest){0};
	return MAYFLY_OK;
}

void manifest_fini(struct manifest *m)
{
	free(m->exports);
	free(m->by_name);
	free(m->imports);
	free(m->symbols);
	free(m->symbol_names);
	*m = (struct manifest){0};
}

/*
 * --- from notes
 * -------------------------------------------------------------------------------
 */

struct builder {
	bool (*is_code)(const void *context, uint64_t va);
	const void *context;
	struct manifest m;
	uint32_t exports_capacity;
	uint32_t imports_capacity;
	bool any;
	bool abi;
};

static int check_count(uint32_t count, const char *kind, mayfly_error *err)
{
	if (count < MANIFEST_MAX_FUNCTIONS)
		return MAYFLY_OK;
	return fail(err, MAYFLY_E_TOO_LARGE, "the guest has more than %d %ss", count, kind);
}

/* `array` of `count` entries of `size` bytes with room for one more; NULL: out of memory. */
static void *with_room(void *array, uint32_t count, uint32_t *capacity, size_t size)
{
	uint32_t wanted = *capacity ? *capacity * 2 : 16;

	if (count < *capacity)
		return array;
	array = realloc(array, wanted * size);
	if (array)
		*capacity = wanted;
	return array;
}

static int parse_declared_signature(const char *kind, struct declaration *decl,
				    const char *text, size_t len, mayfly_error *err)
{
	int r = signature_parse(text, len, &decl->sig, err);

	if (r < 0) {
		error_prefix(err, "%s \"%s\"", kind, decl->name);
		/* That is how a host's own mistakes are called; this one is in the file. */
		if (err)
			err->code = MAYFLY_E_FORMAT;
		return MAYFLY_E_FORMAT;
	}
	signature_format(&decl->sig, decl->text);
	return MAYFLY_OK;
}

/*
 * A descriptor of FN_NOTE_EXPORT or FN_NOTE_IMPORT: i64, name, NUL, signature, NUL, and perhaps
 * more NULs for alignment. Leaves out->va alone.
 */
static int parse_declaration(const char *kind, const uint8_t *desc, size_t len, uint64_t va,
			     struct declaration *out, mayfly_error *err)
{
	const char *text = (const char *)desc + sizeof(int64_t);
	size_t left, name_len, sig_len;
	char shown[64];

	if (len < sizeof(int64_t))
		return fail(err, MAYFLY_E_FORMAT, "%s note at " X64 ": only %zu bytes", kind,
			    va, len);
	left = len - sizeof(int64_t);
	name_len = strnlen(text, left);
	if (name_len == left)
		return fail(err, MAYFLY_E_FORMAT, "%s note at " X64 ": the name does not end",
			    kind, va);
	if (!manifest_is_identifier(text, name_len))
		return fail(err, MAYFLY_E_FORMAT,
			    "%s note at " X64
			    ": \"%s\" is no C identifier of at most %d letters",
			    kind, va, error_printable(shown, sizeof(shown), text, name_len),
			    MANIFEST_MAX_NAME);
	memcpy(out->name, text, name_len + 1);
	text += name_len + 1;
	left -= name_len + 1;
	sig_len = strnlen(text, left);
	if (sig_len == left)
		return fail(err, MAYFLY_E_FORMAT, "%s \"%s\": the signature does not end", kind,
			    out->name);
	for (size_t i = sig_len; i < left; i++) {
		if (text[i] != '\0')
			return fail(err, MAYFLY_E_FORMAT,
				    "%s \"%s\": there is more behind its signature", kind,
				    out->name);
	}
	return parse_declared_signature(kind, out, text, sig_len, err);
}

static int add_export(struct builder *b, const uint8_t *desc, size_t len, uint64_t desc_va,
		      mayfly_error *err)
{
	struct mayfly_function *exports;
	struct declaration decl;
	int64_t offset;
	int r;

	r = parse_declaration("export", desc, len, desc_va, &decl, err);
	if (r < 0)
		return r;
	memcpy(&offset, desc, sizeof(offset));
	/* Any sum is fine: it wraps, and is looked at as an address only. */
	decl.va = desc_va + (uint64_t)offset;
	if (!b->is_code(b->context, decl.va))
		return fail(err, MAYFLY_E_FORMAT,
			    "export \"%s\": its address " X64 " is not in executable memory",
			    decl.name, decl.va);
	r = check_count(b->m.nexports, "export", err);
	if (r < 0)
		return r;
	exports =
		with_room(b->m.exports, b->m.nexports, &b->exports_capacity, sizeof(*exports));
	if (!exports)
		return out_of_memory(err);
	b->m.exports = exports;
	manifest_set_export(&exports[b->m.nexports++], &decl);
	return MAYFLY_OK;
}

static int add_import(struct builder *b, const uint8_t *desc, size_t len, uint64_t desc_va,
		      mayfly_error *err)
{
	struct manifest_import *imports;
	struct declaration decl;
	uint64_t reserved;
	int r;

	r = parse_declaration("import", desc, len, desc_va, &decl, err);
	if (r < 0)
		return r;
	memcpy(&reserved, desc, sizeof(reserved));
	if (reserved != 0)
		return fail(err, MAYFLY_E_FORMAT,
			    "import \"%s\": a field that is reserved holds " X64, decl.name,
			    reserved);
	decl.va = desc_va;
	r = check_count(b->m.nimports, "import", err);
	if (r < 0)
		return r;
	imports =
		with_room(b->m.imports, b->m.nimports, &b->imports_capacity, sizeof(*imports));
	if (!imports)
		return out_of_memory(err);
	b->m.imports = imports;
	manifest_set_import(&imports[b->m.nimports++], &decl);
	return MAYFLY_OK;
}

static int check_abi(struct builder *b, const uint8_t *desc, size_t len, mayfly_error *err)
{
	uint32_t version;

	if (len != sizeof(version))
		return fail(err, MAYFLY_E_FORMAT, "ABI note of %zu bytes, not %zu", len,
			    sizeof(version));
	memcpy(&version, desc, sizeof(version));
	if (version != FN_ABI_VERSION)
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "built for version %" PRIu32 " of the function ABI, but this is "
			    "version %d; rebuild the guest with this version's headers",
			    version, FN_ABI_VERSION);
	b->abi = true;
	return MAYFLY_OK;
}

static int take_note(void *context, uint32_t type, const uint8_t *desc, size_t len,
		     uint64_t desc_va, mayfly_error *err)
{
	struct builder *b = context;

	b->any = true;
	switch (type) {
	case FN_NOTE_ABI:
		return check_abi(b, desc, len, err);
	case FN_NOTE_EXPORT:
		return add_export(b, desc, len, desc_va, err);
	case FN_NOTE_IMPORT:
		return add_import(b, desc, len, desc_va, err);
	case FN_NOTE_PROGRAM:
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "a Linux program, not a function guest: run it as a process; its "
			    "functions can be called while it is paused at mayfly_ready()");
	default:
		/* What changes the meaning of the others comes with another ABI version. */
		return MAYFLY_OK;
	}
}

static int build(struct builder *b, const void *data, size_t len, const uint8_t *mem,
		 struct manifest *out, mayfly_error *err)
{
	int r;

	r = elf_walk_notes(b->context, data, len, mem, FN_NOTE_NAME, take_note, b, err);
	if (r < 0)
		return r;
	if (!b->abi && !b->any)
		return fail(
			err, MAYFLY_E_UNSUPPORTED,
			"no function guest: it has no \"" FN_NOTE_NAME
			"\" notes; build it with mayfly_guest.h, and keep its notes where a "
			"linker script or strip would drop them");
	if (!b->abi)
		return fail(
			err, MAYFLY_E_UNSUPPORTED,
			"the note with the version of the function ABI is missing; build the "
			"guest with mayfly_guest.h");
	return manifest_finish(&b->m, out, err);
}

static bool is_code_of_image(const void *context, uint64_t va)
{
	return elf_page_prot(context, page_down(va)) & ELF_EXEC;
}

int manifest_from_elf(struct elf_image *image, const void *data, size_t len, const uint8_t *mem,
		      struct manifest *out, mayfly_error *err)
{
	struct builder b = {.is_code = is_code_of_image, .context = image};
	int r;

	r = build(&b, data, len, mem, out, err);
	if (r < 0) {
		manifest_fini(&b.m);
		return r;
	}
	for (size_t i = 0; i < image->nsymbols; i++) {
		const char *name = image->symbols[i].name;
		size_t end = (size_t)(name - image->names) + strlen(name) + 1;

		if (end > out->symbol_names_len)
			out->symbol_names_len = end;
	}
	out->symbols = take_ptr(image->symbols);
	out->symbol_names = take_ptr(image->names);
	out->nsymbols = image->nsymbols;
	image->nsymbols = 0;
	return MAYFLY_OK;
}

/* A note of a program's; without mayfly_guest.h there is nothing to import by. */
static int take_program_note(void *context, uint32_t type, const uint8_t *desc, size_t len,
			     uint64_t desc_va, mayfly_error *err)
{
	if (type == FN_NOTE_IMPORT || type == FN_NOTE_PROGRAM)
		return MAYFLY_OK;
	return take_note(context, type, desc, len, desc_va, err);
}

int manifest_from_notes(const struct elf_notes *notes, size_t count,
			bool (*is_code)(const void *context, uint64_t va), const void *context,
			struct manifest *out, mayfly_error *err)
{
	struct builder b = {.is_code = is_code, .context = context};
	int r = MAYFLY_OK;

	for (size_t i = 0; i < count && r == 0; i++)
		r = elf_walk_note_segment(&notes[i], FN_NOTE_NAME, take_program_note, &b, err);
	if (r == 0 && b.any && !b.abi)
		r = fail(err, MAYFLY_E_UNSUPPORTED,
			 "the note with the version of the function ABI is missing; build the "
			 "program with mayfly_program.h");
	if (r == 0 && b.any)
		r = manifest_finish(&b.m, out, err);
	else if (r == 0)
		*out = (struct manifest){0};
	if (r < 0)
		manifest_fini(&b.m);
	return r;
}

/*
 * --- finding
 * ----------------------------------------------------------------------------------
 */

/*
 * How many letters have to be inserted, removed or replaced to make `b` of `a` (Levenshtein),
 * or `limit` + 1 if more than `limit`. Only the band of the table that can stay below is
 * computed. Both are at most MANIFEST_MAX_NAME long.
 */
static size_t distance(const char *a, size_t na, const char *b, size_t nb, size_t limit)
{
	size_t rows[2][MANIFEST_MAX_NAME + 2] = {{0}};

	if (na > nb + limit || nb > na + limit)
		return limit + 1;
	for (size_t j = 0; j <= nb; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= na; i++) {
		const size_t *above = rows[(i - 1) % 2];
		size_t *row = rows[i % 2];
		size_t first = i > limit ? i - limit : 1;
		size_t last = i + limit < nb ? i + limit : nb;

		row[first - 1] = first == 1 ? i : limit + 1;
		for (size_t j = first; j <= last; j++) {
			size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			/* Outside of the band of the row above. */
			if ((j < i + limit || i == 1) && above[j] + 1 < best)
				best = above[j] + 1;
			row[j] = best;
		}
	}
	return rows[na % 2][nb] <= limit ? rows[na % 2][nb] : limit + 1;
}

/* The exports whose names are nearest to `name`, best first; how many. */
static size_t near_misses(const struct manifest *m, const char *name,
			  const char *near[MAX_NEAR_MISSES])
{
	size_t len = strlen(name), limit = len / 3 < MAX_DISTANCE ? len / 3 : MAX_DISTANCE;
	size_t best[MAX_NEAR_MISSES];
	size_t n = 0;

	if (limit == 0)
		limit = 1;
	for (uint32_t i = 0; i < m->nexports && len <= MANIFEST_MAX_NAME; i++) {
		const char *other = m->exports[i].name;
		size_t d = distance(name, len, other, strlen(other), limit);
		size_t at = n;

		if (d > limit)
			continue;
		while (at > 0 && best[at - 1] > d)
			at--;
		if (at == MAX_NEAR_MISSES)
			continue;
		if (n < MAX_NEAR_MISSES)
			n++;
		for (size_t k = n - 1; k > at; k--) {
			best[k] = best[k - 1];
			near[k] = near[k - 1];
		}
		best[at] = d;
		near[at] = other;
	}
	return n;
}

/* Names as "a", "b" <last> "c", cut where `size` is reached. */
static void list_names(char *dst, size_t size, const char *const *names, size_t n,
		       const char *last)
{
	size_t used = 0;

	dst[0] = '\0';
	for (size_t i = 0; i < n && used < size; i++) {
		const char *between = i == 0 ? "" : i + 1 < n ? ", " : last;
		int r = snprintf(dst + used, size - used, "%s\"%s\"", between, names[i]);

		used += r > 0 ? (size_t)r : 0;
	}
}

static int not_found(const struct manifest *m, const char *name, mayfly_error *err)
{
	const char *names[FEW_EXPORTS];
	char shown[160], list[MAYFLY_ERROR_MESSAGE_SIZE];
	size_t n;

	error_printable(shown, sizeof(shown), name, strlen(name));
	if (m->nexports == 0)
		return fail(err, MAYFLY_E_NO_FUNCTION,
			    "no function \"%s\": the guest exports none (see MAYFLY_EXPORT)",
			    shown);
	n = near_misses(m, name, names);
	if (n > 0) {
		list_names(list, sizeof(list), names, n, " or ");
		return fail(err, MAYFLY_E_NO_FUNCTION, "no function \"%s\"; did you mean %s?",
			    shown, list);
	}
	if (m->nexports > FEW_EXPORTS)
		return fail(err, MAYFLY_E_NO_FUNCTION,
			    "no function \"%s\", and no name like it among the %" PRIu32
			    " that the guest exports",
			    shown, m->nexports);
	for (uint32_t i = 0; i < m->nexports; i++)
		names[i] = m->exports[i].name;
	list_names(list, sizeof(list), names, m->nexports, " and ");
	return fail(err, MAYFLY_E_NO_FUNCTION, "no function \"%s\"; the guest exports %s",
		    shown, list);
}

int manifest_find(const struct manifest *m, const char *name, const mayfly_function **out,
		  mayfly_error *err)
{
	size_t low = 0, high = m->nexports;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct mayfly_function *fn = &m->exports[m->by_name[mid]];
		int r = strcmp(name, fn->name);

		if (r == 0) {
			*out = fn;
			return MAYFLY_OK;
		}
		if (r < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return not_found(m, name, err);
}

const struct manifest_import *manifest_import_at(const struct manifest *m, uint64_t note_va)
{
	size_t low = 0, high = m->nimports;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (m->imports[mid].note_va == note_va)
			return &m->imports[mid];
		if (m->imports[mid].note_va > note_va)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

const struct manifest_import *manifest_import_named(const struct manifest *m, const char *name)
{
	for (uint32_t i = 0; i < m->nimports; i++) {
		if (strcmp(m->imports[i].name, name) == 0)
			return &m->imports[i];
	}
	return NULL;
}

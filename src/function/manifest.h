/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a function guest declares: its exports, its imports (host functions it names), and the
 * names of its functions for messages. Immutable once made; part of the guest that all its
 * snapshots share; saved with them.
 */
#ifndef MAYFLY_FUNCTION_MANIFEST_H
#define MAYFLY_FUNCTION_MANIFEST_H

#include "function/signature.h"
#include "loader/elf.h"

#define MANIFEST_MAX_FUNCTIONS 4096
#define MANIFEST_MAX_NAME 127

/* mayfly_function of the public API. */
struct mayfly_function {
	const struct manifest
		*manifest; /* identity: handles are only good for their own guest */
	uint64_t va;
	struct signature sig;
	char name[MANIFEST_MAX_NAME + 1]; /* a C identifier */
	char text[SIGNATURE_TEXT_MAX];	  /* canonical signature */
};

struct manifest_import {
	uint64_t
		note_va; /* what the guest passes to name it: address of the note's descriptor */
	struct signature sig;
	char name[MANIFEST_MAX_NAME + 1];
	char text[SIGNATURE_TEXT_MAX];
};

struct manifest {
	struct mayfly_function *exports; /* in file order */
	uint32_t nexports;
	uint32_t *by_name;		 /* indices into exports, sorted by name */
	struct manifest_import *imports; /* ascending by note_va */
	uint32_t nimports;
	struct elf_symbol *symbols; /* ascending, owned; names in symbol_names */
	size_t nsymbols;
	char *symbol_names;
	size_t symbol_names_len;
};

/*
 * From a loaded image (see elf_walk_notes); takes the symbols out of `image`. Checks names (C
 * identifiers), signatures, that each export lies in an executable page, no name is exported
 * twice, the same import name has one signature everywhere, the ABI note is there and of our
 * version. Errors: FORMAT, UNSUPPORTED (no ABI note: "not built with mayfly_guest.h"...),
 * TOO_LARGE, NOMEM. manifest_fini() takes a zeroed or half-built one.
 */
int manifest_from_elf(struct elf_image *image, const void *data, size_t len, const uint8_t *mem,
		      struct manifest *out, mayfly_error *err);
void manifest_fini(struct manifest *m);

/*
 * Of a Linux program: the exports that copies of its notes declare; `is_code` says whether an
 * address is in executable memory. No notes are no error, imports and symbols are left out.
 * Errors: FORMAT, UNSUPPORTED, TOO_LARGE, NOMEM.
 */
int manifest_from_notes(const struct elf_notes *notes, size_t count,
			bool (*is_code)(const void *context, uint64_t va), const void *context,
			struct manifest *out, mayfly_error *err);

/* Errors: NO_FUNCTION, naming up to three near misses, or the exports if they are few. */
int manifest_find(const struct manifest *m, const char *name, const mayfly_function **out,
		  mayfly_error *err);
/* NULL if there is none at this (hostile) address. O(log n) */
const struct manifest_import *manifest_import_at(const struct manifest *m, uint64_t note_va);
/*
 * The first import of this name, or NULL. Several notes may carry one name (one per object
 * file).
 */
const struct manifest_import *manifest_import_named(const struct manifest *m, const char *name);

/*
 * To and from bytes, for snapshot files: little-endian, self-delimiting, versioned by the file.
 * manifest_encode allocates *out (free()). manifest_decode takes hostile bytes, does every
 * check of manifest_from_elf that does not need the image (addresses must lie in [min_va,
 * max_va)), and must be told exactly `len`. Errors: FORMAT, NOMEM.
 */
int manifest_encode(const struct manifest *m, uint8_t **out, size_t *len, mayfly_error *err);
int manifest_decode(const uint8_t *data, size_t len, uint64_t min_va, uint64_t max_va,
		    struct manifest *out, mayfly_error *err);

#endif

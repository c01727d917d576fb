/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the makers of manifests: manifest.c from notes, manifest_codec.c from bytes. */
#ifndef MAYFLY_FUNCTION_MANIFEST_BUILD_H
#define MAYFLY_FUNCTION_MANIFEST_BUILD_H

#include "function/manifest.h"

/* An export or import taken apart. */
struct declaration {
	uint64_t va; /* of the export's function, or of the import's note */
	struct signature sig;
	char name[MANIFEST_MAX_NAME + 1];
	char text[SIGNATURE_TEXT_MAX];
};

void manifest_set_export(struct mayfly_function *fn, const struct declaration *decl);
void manifest_set_import(struct manifest_import *import, const struct declaration *decl);

/* Whether the `len` bytes are a C identifier of at most MANIFEST_MAX_NAME letters. */
bool manifest_is_identifier(const char *name, size_t len);

/*
 * Sort, refuse contradictions, and move *m, which is left empty, to its final place *out. On
 * failure *m is still the caller's. Errors: FORMAT, NOMEM.
 */
int manifest_finish(struct manifest *m, struct manifest *out, mayfly_error *err);

#endif

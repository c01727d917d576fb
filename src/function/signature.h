/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures as text, "i64(i64,string)", and taken apart. Text is hostile where it comes from a
 * guest.
 */
#ifndef MAYFLY_FUNCTION_SIGNATURE_H
#define MAYFLY_FUNCTION_SIGNATURE_H

#include "mayfly.h"

/* Longest text: 17 type names of at most 6 letters and punctuation, terminated. */
#define SIGNATURE_TEXT_MAX 128

struct signature {
	uint8_t result; /* mayfly_type; MAYFLY_VOID allowed */
	uint8_t nargs;	/* <= MAYFLY_MAX_ARGS */
	uint8_t args[MAYFLY_MAX_ARGS];
};

/*
 * `text` of `len` bytes, no NUL needed. "void" only as result; "i64()" has no arguments; blanks
 * are allowed between tokens. Errors: SIGNATURE, naming the bad token and its place.
 */
int signature_parse(const char *text, size_t len, struct signature *out, mayfly_error *err);
/* The canonical text, without blanks, into a buffer of SIGNATURE_TEXT_MAX. */
void signature_format(const struct signature *sig, char *text);
bool signature_equal(const struct signature *a, const struct signature *b);
/* A type by its name of `len` bytes; -1 if there is none. "_Bool" is bool. */
int signature_type(const char *name, size_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors are values: a negative MAYFLY_E_ code and, where the caller wants it, a filled
 * mayfly_error. fail() is an expression that yields the code, so that `return fail(err, ...)`
 * is all it takes and analysers see the failure. mayfly_error_set() itself is public.
 */
#ifndef MAYFLY_CORE_ERROR_H
#define MAYFLY_CORE_ERROR_H

#include "mayfly.h"

/* Fill *err (may be NULL) by printf; sys_errno = 0. Yields `code`. */
#define fail(err, code, ...) (mayfly_error_set((err), (code), __VA_ARGS__), (code))
/* The same for a failed system call: keeps `errnum` and appends ": " and its text. */
#define fail_errno(err, code, errnum, ...)                                                     \
	(error_set_errno((err), (code), (errnum), __VA_ARGS__), (code))

void error_set_errno(mayfly_error *err, int code, int errnum, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Put "prefix: " in front of the message of *err (may be NULL), as errors travel up. */
void error_prefix(mayfly_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Copy hostile bytes for display on one line: at most size-1 characters, everything but
 * printable ASCII shown as \xNN, "..." at the end if cut. Gives dst.
 */
char *error_printable(char *dst, size_t size, const char *s, size_t len);

#endif

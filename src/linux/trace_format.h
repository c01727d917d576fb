/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the trace only: text of limited length, arguments, constants' names. */
#ifndef MAYFLY_LINUX_TRACE_FORMAT_H
#define MAYFLY_LINUX_TRACE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct task;

/* Text in a buffer that ends with its last byte; what does not fit is left out, for good. */
struct text {
	char *buf;
	size_t size; /* > 0 */
	size_t len;
	bool cut;
};

void text_print(struct text *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* "bytes" in quotes, as C has them, and "..." behind if `cut`. */
void text_quote(struct text *text, const char *bytes, size_t len, bool cut);

/*
 * Arguments from number `from` on, with commas between. `result` NULL: before the call, as far
 * as they are known then. Gives the number of the first one that is left.
 */
unsigned format_arguments(struct text *out, struct task *t, uint64_t number,
			  const uint64_t a[6], unsigned from, const int64_t *result);
/* " = 3", " = -1 ENOENT (No such file or directory)", without what is before the " ". */
void format_result(struct text *out, uint64_t number, int64_t result);

/* --- trace_names.c ------------------------------------------------------------------------ */

struct constant {
	uint32_t value;
	char name[32]; /* see struct syscall_text; empty: the end */
};

/* How an argument is put together of constants. */
struct constants {
	char letter;		       /* in struct syscall_text.args */
	const char *zero;	       /* the name of 0, or NULL */
	uint32_t mask;		       /* these bits are one of `values` */
	const struct constant *values; /* or NULL */
	const struct constant *bits;
};

/* NULL: the letter means something else. */
const struct constants *constants_find(char letter);
void format_constants(struct text *out, const struct constants *of, uint32_t value);
/* "No such file or directory" for -2; NULL if unknown. */
const char *errno_text(int64_t result);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments from the command line by the function's signature, and results as text.
 *
 * bool            true, false, 1, 0
 * i32 u32 i64 u64 decimal, 0x hexadecimal, 0b binary, with a sign; the range is checked
 * f32 f64         as strtod() takes them, inf, nan, nan(0xBITS) with the significand's bits,
 *                 bits:0x... for the whole pattern
 * string          as it is; "string:" in front is taken off
 * bytes           as it is, but @FILE is a file's contents, @- standard input, @@... text that
 *                 begins with one @, hex:... pairs of hexadecimal digits, text:... as it is
 * A type's name and a colon may stand in front ("i64:5") and must then be the signature's. In front
 * of a string only "string:" counts, so that "string:$X" is $X whatever is in it.
 */
#ifndef MAYFLY_CLI_VALUE_H
#define MAYFLY_CLI_VALUE_H

#include <stdio.h>

#include "mayfly.h"

/* An argument with the memory behind it. */
struct argument {
	mayfly_value value;
	void *owned; /* free(), or NULL */
};

/*
 * Parse argc texts as the arguments of `fn` into args[MAYFLY_MAX_ARGS]. Errors: SIGNATURE (their
 * number, or an explicit type), INVALID, IO; the message names function and argument. On success
 * arguments_fini() frees what they own.
 */
int arguments_parse(const mayfly_function *fn, int argc, char **argv, struct argument *args,
		    mayfly_error *err);
void arguments_fini(struct argument *args, size_t n);

/* Bytes of call area that they need, with slack for alignment. */
uint64_t arguments_area(const struct argument *args, size_t n);

enum result_form {
	RESULT_RAW = 0,
	RESULT_VISIBLE = 1, /* strings and bytes made safe for a terminal */
	RESULT_HEX = 2	    /* bytes as hexadecimal digits */
};

/* One line; raw bytes get no newline. void prints nothing. */
void result_print(FILE *out, const mayfly_value *value, enum result_form form);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the files of libmayfly_guest.a. They are compiled freestanding, without stack
 * protector (mayfly_abort() runs when it has fired) and without turning loops into calls of
 * memcpy and the like, which are these very loops.
 *
 * State is in .bss, no page of which is touched before it is needed: what a call dirties, a
 * restore has to copy.
 */
#ifndef MAYFLY_GUEST_INTERNAL_H
#define MAYFLY_GUEST_INTERNAL_H

#include "abi/function.h"
#include "mayfly_guest.h"

#define EXPECT_NOT(condition) __builtin_expect(!!(condition), 0)

/* errno.h's, which Linux has made part of its binary interface. */
#define ERROR_NOMEM 12
#define ERROR_INVALID 22
#define ERROR_RANGE 34

/* Where the native unit tests stand in for the host. */
#ifdef MAYFLY_GUEST_NATIVE
extern struct fn_call guest_test_call_block;
void guest_test_gate(void);
/* The next allocation begins a new heap, where the call block then says. */
void guest_test_new_heap(void);
#endif

static inline struct fn_call *call_block(void)
{
#ifdef MAYFLY_GUEST_NATIVE
	return &guest_test_call_block;
#else
	return (struct fn_call *)(uintptr_t)FN_CALL_VA;
#endif
}

/*
 * Leave for the host with call_block()->op set; back when it has answered. Meanwhile the host
 * may have called other functions of this guest, and the whole call block may be different.
 */
static inline void gate(void)
{
#ifdef MAYFLY_GUEST_NATIVE
	guest_test_gate();
#else
	((void (*)(void))(uintptr_t)FN_GATE_HOSTCALL)();
#endif
}

/* Where formatted text goes: piece by piece to `write`. */
struct text_sink {
	void (*write)(struct text_sink *sink, const char *text, size_t len);
};

/* The length of the text, or -1: the format was refused, or the text is longer than INT_MAX. */
int mayfly_p_format(struct text_sink *sink, const char *format, va_list args);

/* Enough for every digit of any double, which are at most 767. */
#define TEXT_DIGITS_MAX 800

/* |v| = 0.d[0]d[1]... * 10^point; count is 0 for zero. The digits are exact and ASCII. */
struct text_decimal {
	int point;
	int count;
	char digits[TEXT_DIGITS_MAX];
};

/* Every digit of a finite v. */
void mayfly_p_decimal(struct text_decimal *d, double v);
/* Keep the first `count` digits (which may be 0 or less), rounding half to even. */
void mayfly_p_decimal_round(struct text_decimal *d, int count);

/* Send text to the host's sink; false where it is denied. */
bool mayfly_p_print(const char *text, size_t len);

/* Whether the heap's blocks and lists are consistent, for tests; walks the whole heap. */
bool mayfly_p_heap_is_sound(void);

/* Set errno, for callers that look. */
int *__errno_location(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host for the guest library compiled natively: answers what leaves through the gate, and
 * keeps a record of it. Names the library's functions that have been renamed (guest_names.h).
 */
#ifndef MAYFLY_TESTS_GUEST_HOST_H
#define MAYFLY_TESTS_GUEST_HOST_H

#include <ctype.h>
#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/internal.h"

extern __typeof__(memcpy) guest_memcpy;
extern __typeof__(mempcpy) guest_mempcpy;
extern __typeof__(memmove) guest_memmove;
extern __typeof__(memset) guest_memset;
extern __typeof__(memcmp) guest_memcmp;
extern __typeof__(memccpy) guest_memccpy;
extern void *guest_memchr(const void *in, int byte, size_t len);
extern void *guest_memrchr(const void *in, int byte, size_t len);
extern void *guest_rawmemchr(const void *in, int byte);
extern __typeof__(memmem) guest_memmem;
extern char *guest_strchr(const char *in, int byte);
extern char *guest_strrchr(const char *in, int byte);
extern char *guest_strchrnul(const char *in, int byte);
extern char *guest_strstr(const char *in, const char *what);
extern char *guest_strpbrk(const char *in, const char *accept);
extern __typeof__(strlen) guest_strlen;
extern __typeof__(strnlen) guest_strnlen;
extern __typeof__(strcmp) guest_strcmp;
extern __typeof__(strncmp) guest_strncmp;
extern __typeof__(strcasecmp) guest_strcasecmp;
extern __typeof__(strncasecmp) guest_strncasecmp;
extern __typeof__(strcpy) guest_strcpy;
extern __typeof__(stpcpy) guest_stpcpy;
extern __typeof__(strncpy) guest_strncpy;
extern __typeof__(stpncpy) guest_stpncpy;
extern __typeof__(strcat) guest_strcat;
extern __typeof__(strncat) guest_strncat;
extern __typeof__(strspn) guest_strspn;
extern __typeof__(strcspn) guest_strcspn;
extern __typeof__(strsep) guest_strsep;
extern __typeof__(strtok_r) guest_strtok_r;
extern char *guest_strdup(const char *s);
extern char *guest_strndup(const char *s, size_t max);
extern void *guest_malloc(size_t size);
extern void *guest_calloc(size_t count, size_t size);
extern void *guest_realloc(void *p, size_t size);
extern void *guest_reallocarray(void *p, size_t count, size_t size);
extern void guest_free(void *p);
extern void *guest_aligned_alloc(size_t alignment, size_t size);
extern int guest_posix_memalign(void **out, size_t alignment, size_t size);
extern size_t guest_malloc_usable_size(void *p);
extern __typeof__(strtol) guest_strtol;
extern __typeof__(strtoul) guest_strtoul;
extern __typeof__(strtoll) guest_strtoll;
extern __typeof__(strtoull) guest_strtoull;
extern __typeof__(atoi) guest_atoi;
extern __typeof__(abs) guest_abs;
extern __typeof__(labs) guest_labs;
extern __typeof__(qsort) guest_qsort;
extern __typeof__(bsearch) guest_bsearch;
extern int guest_isalnum(int c), guest_isalpha(int c), guest_isblank(int c),
	guest_iscntrl(int c), guest_isdigit(int c), guest_isgraph(int c), guest_islower(int c),
	guest_isprint(int c), guest_ispunct(int c), guest_isspace(int c), guest_isupper(int c),
	guest_isxdigit(int c), guest_tolower(int c), guest_toupper(int c);
extern int guest_puts(const char *text);
extern int guest_putchar(int c);
extern int guest_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern int guest_sprintf(char *to, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
extern void guest_abort(void) __attribute__((noreturn));
extern void guest_assert_fail(const char *expression, const char *file, unsigned int line,
			      const char *function) __attribute__((noreturn));
extern void guest_stack_chk_fail(void) __attribute__((noreturn));
extern int *guest_errno_location(void);
extern const uint16_t **guest_ctype_b_loc(void);
extern const int32_t **guest_ctype_tolower_loc(void);
extern const int32_t **guest_ctype_toupper_loc(void);

/* What the library did at the gate since guest_host_reset(). */
struct guest_host {
	int exits;
	char printed[8192];
	size_t printed_len;
	uint64_t random_calls;
	const void *import; /* of the last call of a host function */
	uint64_t slots[FN_MAX_SLOTS];
	int32_t abort_code;
	char abort_message[4096];
	jmp_buf *on_abort; /* where an abort leads */
	/* What a host function answers; NULL: zero. */
	void (*host_function)(struct fn_call *call);
};
extern struct guest_host guest_host;

/* Forget everything; printing is allowed. */
void guest_host_reset(void);

/* Whether `statement` aborts; code and message are in guest_host then. */
#define ABORTS(statement)                                                                      \
	({                                                                                     \
		jmp_buf here;                                                                  \
		volatile bool aborted = true;                                                  \
		guest_host.on_abort = &here;                                                   \
		if (!setjmp(here)) {                                                           \
			statement;                                                             \
			aborted = false;                                                       \
		}                                                                              \
		guest_host.on_abort = NULL;                                                    \
		aborted;                                                                       \
	})

/* A deterministic sequence (xorshift64*), the same in each run. */
static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's side of Mayfly: C functions that a host calls, each guest in a virtual machine of
 * its own, without kernel, process or C library below.
 *
 *	#include <mayfly_guest.h>
 *
 *	MAYFLY_IMPORT(host_name, string);
 *
 *	static const char *greet(const char *who)
 *	{
 *		static char text[100];
 *		mayfly_snprintf(text, sizeof(text), "Hello %s from %s", who, host_name());
 *		return text;
 *	}
 *	MAYFLY_EXPORT(greet, string, string);
 *
 * Exports and the types of what crosses are described in mayfly_export.h.
 *
 * Build with gcc or clang, statically, with the flags of `pkg-config mayfly-guest` or of
 * mayfly-guest.mk, and link with libmayfly_guest.a. It has no `main`, and nothing runs before
 * the first call: no constructors, no _start; the ELF entry point is not used. Initialised
 * data, zeroed data and thread-local variables (of the one thread) are as usual.
 *
 * Memory persists from call to call until the host restores the guest to a snapshot. There are
 * no signals, no files, no time and no other thread: what the host's functions do not give is
 * not there.
 */
#ifndef MAYFLY_GUEST_H
#define MAYFLY_GUEST_H

#include "mayfly_export.h"

#include <stdarg.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MAYFLY_GUEST_NORETURN __attribute__((__noreturn__, __cold__))
#define MAYFLY_GUEST_FORMAT(string, first)                                                     \
	__attribute__((__format__(__printf__, string, first)))

/* --- Imports ------------------------------------------------------------------------------ */

/*
 * MAYFLY_IMPORT(name, result, argument...);
 *
 * Define a C function `name` that calls the host's function of that name. Stands in any file or
 * header at file scope; what is not used leaves nothing in the guest, if that is optimised.
 *
 *	MAYFLY_IMPORT(lookup, bytes, string, u32);
 *
 * is mayfly_bytes lookup(const char *, uint32_t).
 *
 * Strings and bytes that it gives are there until the next call of a host function.
 *
 * Where the host does not provide the function, or the function fails, the result is zero
 * (NULL, no bytes), and mayfly_host_error() says why. The host's function may call into this
 * guest again before it returns.
 */
#define MAYFLY_IMPORT(name, ...)                                                               \
	MAYFLY_P_IMPORT(#name, MAYFLY_P_COUNT(__VA_ARGS__), name, __VA_ARGS__)

/*
 * Why the most recent call of a host function failed, in the host's words; NULL if it did not.
 * The text stays until the next call of a host function.
 */
const char *mayfly_host_error(void);

/* --- Giving up ---------------------------------------------------------------------------- */

/* The codes of aborts that the SDK raises; those of mayfly_abort() are free to choose. */
#define MAYFLY_ABORT_CALLED 134	    /* abort(), as a shell shows a process that did */
#define MAYFLY_ABORT_ASSERTION (-1) /* mayfly_assert(), assert() */
#define MAYFLY_ABORT_STACK (-2)	    /* the stack protector found a stack frame overwritten */
#define MAYFLY_ABORT_HEAP (-3) /* the heap was misused: freed twice, a header overwritten */

/*
 * End the call: the host's mayfly_sandbox_call() fails with MAYFLY_E_ABORT and gets code and
 * message. The guest is not called again before it is restored. Messages of over 2047 bytes are
 * cut here, and the host keeps fewer.
 */
MAYFLY_GUEST_NORETURN MAYFLY_GUEST_FORMAT(2, 3) void mayfly_abort(int32_t code,
								  const char *format, ...);
MAYFLY_GUEST_NORETURN MAYFLY_GUEST_FORMAT(2, 0) void mayfly_vabort(int32_t code,
								   const char *format,
								   va_list args);

/*
 * Abort with "file:line: function: assertion `expression' failed" unless it holds. Always
 * compiled in.
 */
#define mayfly_assert(expression)                                                              \
	(__builtin_expect(!(expression), 0)                                                    \
		 ? mayfly_assert_failed(#expression, __FILE__, __LINE__, __func__)             \
		 : (void)0)

MAYFLY_GUEST_NORETURN void mayfly_assert_failed(const char *expression, const char *file,
						unsigned int line, const char *function);

/* --- Printing ----------------------------------------------------------------------------- */

/*
 * Print to where the host wants it. Where the host denies printing, which is the default, these
 * do nothing, at no cost, and give -1; otherwise the number of bytes printed. A call is mostly
 * one trip to the host, so print whole lines, or larger.
 *
 * Formats: %d %i %u %o %x %X %c %s %p %e %E %f %F %g %G %%, with the flags "-+ #0", width and
 * precision (also `*`), and the lengths hh h l ll z t j. Floating point is exact and
 * correctly rounded. Refused, with -1 and nothing printed of it and what follows: %n, %a, %lc,
 * %ls, long double, positional arguments, all others.
 */
MAYFLY_GUEST_FORMAT(1, 2) int mayfly_printf(const char *format, ...);
MAYFLY_GUEST_FORMAT(1, 0) int mayfly_vprintf(const char *format, va_list args);
/* Prints a newline after it, too. */
int mayfly_puts(const char *text);
/* Prints bytes as they are. */
int mayfly_print(const void *text, size_t len);

/*
 * Format into a buffer: at most size - 1 bytes and a NUL (none if size is 0). Gives the length
 * that the whole would have; -1 for a refused format.
 */
MAYFLY_GUEST_FORMAT(3, 4)
int mayfly_snprintf(char *buffer, size_t size, const char *format, ...);
MAYFLY_GUEST_FORMAT(3, 0)
int mayfly_vsnprintf(char *buffer, size_t size, const char *format, va_list args);

/* --- Randomness --------------------------------------------------------------------------- */

/*
 * Fill with random bytes from the host's generator, fit for keys. One trip to the host per KiB.
 */
void mayfly_random(void *buffer, size_t len);

/*
 * A number that is another one after each spawn and each restore of this guest: state that must
 * not be used twice (a random generator's, unique numbers) is stale when it has changed.
 */
uint64_t mayfly_generation(void);

/* --- What plain C code expects ------------------------------------------------------------ */

/*
 * Functions of the C library, with its names and meanings, so that ordinary code links. They
 * may be declared here or by a C library's own headers (<string.h>, <stdlib.h>, <stdio.h>,
 * <ctype.h>, <assert.h>, <errno.h>). Differences are noted.
 */

void *(memcpy)(void *__restrict to, const void *__restrict from, size_t len);
void *(mempcpy)(void *__restrict to, const void *__restrict from, size_t len);
void *(memmove)(void *to, const void *from, size_t len);
void *(memset)(void *to, int byte, size_t len);
int(memcmp)(const void *a, const void *b, size_t len);
int(bcmp)(const void *a, const void *b, size_t len);
void(bzero)(void *to, size_t len);
/* memset that the compiler does not leave out, for secrets. */
void(explicit_bzero)(void *to, size_t len);
void *(memccpy)(void *__restrict to, const void *__restrict from, int last, size_t len);
#ifndef __cplusplus /* whose headers declare these twice, for const */
void *(memchr)(const void *in, int byte, size_t len);
void *(memrchr)(const void *in, int byte, size_t len);
void *(rawmemchr)(const void *in, int byte);
void *(memmem)(const void *in, size_t len, const void *what, size_t what_len);
char *(strchr)(const char *in, int byte);
char *(strrchr)(const char *in, int byte);
char *(strchrnul)(const char *in, int byte);
char *(strstr)(const char *in, const char *what);
char *(strpbrk)(const char *in, const char *accept);
#endif

size_t(strlen)(const char *s);
size_t(strnlen)(const char *s, size_t max);
int(strcmp)(const char *a, const char *b);
int(strncmp)(const char *a, const char *b, size_t max);
/* ASCII letters only are folded. */
int(strcasecmp)(const char *a, const char *b);
int(strncasecmp)(const char *a, const char *b, size_t max);
char *(strcpy)(char *__restrict to, const char *__restrict from);
char *(stpcpy)(char *__restrict to, const char *__restrict from);
char *(strncpy)(char *__restrict to, const char *__restrict from, size_t max);
char *(stpncpy)(char *__restrict to, const char *__restrict from, size_t max);
char *(strcat)(char *__restrict to, const char *__restrict from);
char *(strncat)(char *__restrict to, const char *__restrict from, size_t max);
size_t(strspn)(const char *s, const char *accept);
size_t(strcspn)(const char *s, const char *reject);
char *(strsep)(char **__restrict s, const char *__restrict separators);
char *(strtok_r)(char *__restrict s, const char *__restrict separators,
		 char **__restrict state);
char *(strdup)(const char *s);
char *(strndup)(const char *s, size_t max);

/*
 * The heap takes what the guest's memory leaves and touches no page before it is needed. NULL
 * when it is exhausted. What is visibly misuse (freeing twice, freeing what malloc did not
 * give, a header overwritten) aborts with MAYFLY_ABORT_HEAP. Alignment is 16 bytes.
 */
void *(malloc)(size_t size);
void *(calloc)(size_t count, size_t size);
void *(realloc)(void *p, size_t size);
void *(reallocarray)(void *p, size_t count, size_t size);
void(free)(void *p);
/* Any power of two; `size` need not be a multiple of it. */
void *(aligned_alloc)(size_t alignment, size_t size);
int(posix_memalign)(void **out, size_t alignment, size_t size);
size_t(malloc_usable_size)(void *p);

/* Numbers in the C locale. Out of range: the nearest value, and errno is ERANGE. */
long(strtol)(const char *__restrict s, char **__restrict end, int base);
unsigned long(strtoul)(const char *__restrict s, char **__restrict end, int base);
#if !defined(__STRICT_ANSI__) || !defined(__cplusplus) || __cplusplus >= 201103L
__extension__ long long(strtoll)(const char *__restrict s, char **__restrict end, int base);
__extension__ unsigned long long(strtoull)(const char *__restrict s, char **__restrict end,
					   int base);
__extension__ long long(atoll)(const char *s);
__extension__ long long(llabs)(long long v);
#endif
int(atoi)(const char *s);
long(atol)(const char *s);
int(abs)(int v);
long(labs)(long v);

/* Not stable; O(n log n) in every case, no allocation. */
void(qsort)(void *base, size_t count, size_t size, int (*compare)(const void *, const void *));
void *(bsearch)(const void *key, const void *base, size_t count, size_t size,
		int (*compare)(const void *, const void *));

/* The C locale's; any int is allowed. */
int(isalnum)(int c);
int(isalpha)(int c);
int(isblank)(int c);
int(iscntrl)(int c);
int(isdigit)(int c);
int(isgraph)(int c);
int(islower)(int c);
int(isprint)(int c);
int(ispunct)(int c);
int(isspace)(int c);
int(isupper)(int c);
int(isxdigit)(int c);
int(tolower)(int c);
int(toupper)(int c);

/* As mayfly_printf() and its family. */
MAYFLY_GUEST_FORMAT(1, 2) int(printf)(const char *__restrict format, ...);
MAYFLY_GUEST_FORMAT(1, 0) int(vprintf)(const char *__restrict format, va_list args);
int(puts)(const char *text);
int(putchar)(int c);
MAYFLY_GUEST_FORMAT(2, 3) int(sprintf)(char *__restrict to, const char *__restrict format, ...);
MAYFLY_GUEST_FORMAT(2, 0)
int(vsprintf)(char *__restrict to, const char *__restrict format, va_list args);
MAYFLY_GUEST_FORMAT(3, 4)
int(snprintf)(char *__restrict buffer, size_t size, const char *__restrict format, ...);
MAYFLY_GUEST_FORMAT(3, 0)
int(vsnprintf)(char *__restrict buffer, size_t size, const char *__restrict format,
	       va_list args);

/* mayfly_abort() with MAYFLY_ABORT_CALLED. */
__attribute__((__noreturn__)) void(abort)(void);

/* --- Private: how the macros above are made ----------------------------------------------- */

struct mayfly_p_words {
	uint64_t word[2];
};

/* Leave for the host function whose import note's descriptor is at `note`. In the library. */
struct mayfly_p_words mayfly_p_hostcall(const void *note, const uint64_t *slots, size_t nslots);

/* Values as slots: each one eightbyte, bytes two. */
#define MAYFLY_P_PUT_bool(v) mayfly_slots[mayfly_used++] = (v) ? 1 : 0;
#define MAYFLY_P_PUT__Bool(v) mayfly_slots[mayfly_used++] = (v) ? 1 : 0;
#define MAYFLY_P_PUT_i32(v) mayfly_slots[mayfly_used++] = (uint64_t)(int64_t)(v);
#define MAYFLY_P_PUT_u32(v) mayfly_slots[mayfly_used++] = (v);
#define MAYFLY_P_PUT_i64(v) mayfly_slots[mayfly_used++] = (uint64_t)(v);
#define MAYFLY_P_PUT_u64(v) mayfly_slots[mayfly_used++] = (v);
#define MAYFLY_P_PUT_f32(v)                                                                    \
	mayfly_slots[mayfly_used] = 0;                                                         \
	__builtin_memcpy(&mayfly_slots[mayfly_used++], &(v), sizeof(float));
#define MAYFLY_P_PUT_f64(v)                                                                    \
	__builtin_memcpy(&mayfly_slots[mayfly_used++], &(v), sizeof(double));
#define MAYFLY_P_PUT_string(v) mayfly_slots[mayfly_used++] = (uint64_t)(uintptr_t)(v);
#define MAYFLY_P_PUT_bytes(v)                                                                  \
	mayfly_slots[mayfly_used++] = (uint64_t)(uintptr_t)(v).data;                           \
	mayfly_slots[mayfly_used++] = (v).len;

/* What the host gave, as the result of the importing function. */
#define MAYFLY_P_GIVE_void(words) (void)(words);
#define MAYFLY_P_GIVE_bool(words) return (words).word[0] != 0;
#define MAYFLY_P_GIVE__Bool(words) return (words).word[0] != 0;
#define MAYFLY_P_GIVE_i32(words) return (int32_t)(words).word[0];
#define MAYFLY_P_GIVE_u32(words) return (uint32_t)(words).word[0];
#define MAYFLY_P_GIVE_i64(words) return (int64_t)(words).word[0];
#define MAYFLY_P_GIVE_u64(words) return (words).word[0];
#define MAYFLY_P_GIVE_f32(words)                                                               \
	float value;                                                                           \
	__builtin_memcpy(&value, &(words).word[0], sizeof(value));                             \
	return value;
#define MAYFLY_P_GIVE_f64(words)                                                               \
	double value;                                                                          \
	__builtin_memcpy(&value, &(words).word[0], sizeof(value));                             \
	return value;
#define MAYFLY_P_GIVE_string(words) return (const char *)(uintptr_t)(words).word[0];
#define MAYFLY_P_GIVE_bytes(words)                                                             \
	mayfly_bytes value = {(const void *)(uintptr_t)(words).word[0], (words).word[1]};      \
	return value;

#define MAYFLY_P_NOTHING()
#define MAYFLY_P_PARAMETER(i, type) MAYFLY_P_ARGUMENT_##type mayfly_##i
#define MAYFLY_P_PUT(i, type) MAYFLY_P_PUT_##type(mayfly_##i)

/* Not inlined: each copy would bring a note of its own. */
#define MAYFLY_P_IMPORT(text, n, name, ...) MAYFLY_P_IMPORT_(text, n, name, __VA_ARGS__, ~)
#define MAYFLY_P_IMPORT_(text, n, name, result, ...)                                           \
	__attribute__((__noinline__, __unused__)) static MAYFLY_P_RESULT_##result name(        \
		MAYFLY_P_LIST(n, MAYFLY_P_PARAMETER, __VA_ARGS__))                             \
	{                                                                                      \
		uint64_t mayfly_slots[2 * n + 1];                                              \
		size_t mayfly_used = 0;                                                        \
		struct mayfly_p_words mayfly_words;                                            \
		mayfly_slots[0] = 0;                                                           \
		MAYFLY_P_EACH_##n(MAYFLY_P_PUT, MAYFLY_P_NOTHING, __VA_ARGS__);                \
		mayfly_words = mayfly_p_hostcall(                                              \
			MAYFLY_P_IMPORT_NOTE(text,                                             \
					     MAYFLY_P_SIGNATURE(n, result, __VA_ARGS__)),      \
			mayfly_slots, mayfly_used);                                            \
		MAYFLY_P_GIVE_##result(mayfly_words)                                           \
	}                                                                                      \
	struct mayfly_p_words

/* Makes the note, and gives the address of its descriptor. */
#define MAYFLY_P_IMPORT_NOTE(text, signature)                                                  \
	__extension__({                                                                        \
		const void *mayfly_note;                                                       \
		__asm__(MAYFLY_P_NOTE(3, ".quad 0" MAYFLY_P_NAMES(                             \
						 text, signature)) "\n\tleaq 991b(%%rip), %0"  \
			: "=r"(mayfly_note));                                                  \
		mayfly_note;                                                                   \
	})

#ifdef __cplusplus
}
#endif

#endif

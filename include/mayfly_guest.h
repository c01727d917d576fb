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

#if !defined(__x86_64__) || defined(__ILP32__)
#error "mayfly_guest.h: function guests are x86-64 programs; compile for that (-m64)"
#endif
#if !defined(__GNUC__)
#error "mayfly_guest.h: needs gcc, clang or another compiler with GNU extensions"
#endif

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MAYFLY_GUEST_NORETURN __attribute__((__noreturn__, __cold__))
#define MAYFLY_GUEST_FORMAT(string, first)                                                     \
	__attribute__((__format__(__printf__, string, first)))

/* --- Types -------------------------------------------------------------------------------- */

/*
 * What may cross between host and guest, and what it is in C:
 *
 *	bool   bool	   i64	 int64_t	string	const char *, NUL-terminated
 *	i32    int32_t	   u64	 uint64_t	bytes	mayfly_bytes, any bytes
 *	u32    uint32_t	   f32	 float		void	as a result only: none
 *			   f64	 double
 *
 * Strings and bytes that the guest receives lie in the call area: arguments until the function
 * returns, results of host functions until the next call of a host function. Copy what must
 * last longer. Those that the guest gives away (as arguments of host functions, as results) may
 * lie anywhere in its memory, except in a stack frame that is gone. NULL is not a string; it is
 * bytes where the length is 0.
 */
typedef struct mayfly_bytes {
	const void *data;
	size_t len;
} mayfly_bytes;

/* --- Exports ------------------------------------------------------------------------------ */

/*
 * MAYFLY_EXPORT(function, result, argument...);
 *
 * Let the host call `function`, which is defined (or declared) above and may be static. Result
 * and up to 16 arguments are given as types of the table above; their C types are checked:
 *
 *	static double scale(const char *unit, float by) { ... }
 *	MAYFLY_EXPORT(scale, f64, string, f32);
 */
#define MAYFLY_EXPORT(function, ...)                                                           \
	MAYFLY_P_EXPORT(#function, MAYFLY_P_COUNT(__VA_ARGS__), function, __VA_ARGS__)

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

/* C types, and their names in signatures. <stdbool.h> may have made _Bool of bool. */
#define MAYFLY_P_ARGUMENT_bool _Bool
#define MAYFLY_P_ARGUMENT__Bool _Bool
#define MAYFLY_P_ARGUMENT_i32 int32_t
#define MAYFLY_P_ARGUMENT_u32 uint32_t
#define MAYFLY_P_ARGUMENT_i64 int64_t
#define MAYFLY_P_ARGUMENT_u64 uint64_t
#define MAYFLY_P_ARGUMENT_f32 float
#define MAYFLY_P_ARGUMENT_f64 double
#define MAYFLY_P_ARGUMENT_string const char *
#define MAYFLY_P_ARGUMENT_bytes mayfly_bytes

#define MAYFLY_P_RESULT_void void
#define MAYFLY_P_RESULT_bool _Bool
#define MAYFLY_P_RESULT__Bool _Bool
#define MAYFLY_P_RESULT_i32 int32_t
#define MAYFLY_P_RESULT_u32 uint32_t
#define MAYFLY_P_RESULT_i64 int64_t
#define MAYFLY_P_RESULT_u64 uint64_t
#define MAYFLY_P_RESULT_f32 float
#define MAYFLY_P_RESULT_f64 double
#define MAYFLY_P_RESULT_string const char *
#define MAYFLY_P_RESULT_bytes mayfly_bytes

#define MAYFLY_P_TEXT_void "void"
#define MAYFLY_P_TEXT_bool "bool"
#define MAYFLY_P_TEXT__Bool "bool"
#define MAYFLY_P_TEXT_i32 "i32"
#define MAYFLY_P_TEXT_u32 "u32"
#define MAYFLY_P_TEXT_i64 "i64"
#define MAYFLY_P_TEXT_u64 "u64"
#define MAYFLY_P_TEXT_f32 "f32"
#define MAYFLY_P_TEXT_f64 "f64"
#define MAYFLY_P_TEXT_string "string"
#define MAYFLY_P_TEXT_bytes "bytes"

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

/* How many arguments follow the first. */
#define MAYFLY_P_COUNT(...)                                                                    \
	MAYFLY_P_COUNT_(__VA_ARGS__, too_many_arguments, too_many_arguments,                   \
			too_many_arguments, too_many_arguments, 16, 15, 14, 13, 12, 11, 10, 9, \
			8, 7, 6, 5, 4, 3, 2, 1, 0, 0)
#define MAYFLY_P_COUNT_(r, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15,   \
			a16, a17, a18, a19, a20, n, ...)                                       \
	n

/*
 * MAYFLY_P_EACH_n(f, separator, a, ...): f(n, a) separator() f(n-1, b) ... for n arguments; one
 * more is there to be ignored, so that no variable argument list is ever empty.
 */
#define MAYFLY_P_EACH_0(f, s, ...)
#define MAYFLY_P_EACH_1(f, s, a, ...) f(1, a)
#define MAYFLY_P_EACH_2(f, s, a, ...) f(2, a) s() MAYFLY_P_EACH_1(f, s, __VA_ARGS__)
#define MAYFLY_P_EACH_3(f, s, a, ...) f(3, a) s() MAYFLY_P_EACH_2(f, s, __VA_ARGS__)
#define MAYFLY_P_EACH_4(f, s, a, ...) f(4, a) s() MAYFLY_P_EACH_3(f, s, __VA_ARGS__)
#define MAYFLY_P_EACH_5(f, s, a, ...) f(5, a) s() MAYFLY_P_EACH_4(f, s, __VA_ARGS__)
#define MAYFLY_P_EACH_6(f, s, a, ...) f(6, a) s() MAYFLY_P_EACH_5(f, s, __VA_ARGS__)
#define MAYFLY_P_EACH_7(f, s, a, ...) f(7, a) s() MAYFLY_P_EACH_6(f, s, __VA_ARGS__)
#define MAYFLY_P_EACH_8(f, s, a, ...) f(8, a) s() MAYFLY_P_EACH_7(f, s, __VA_ARGS__)
#define MAYFLY_P_EACH_9(f, s, a, ...) f(9, a) s() MAYFLY_P_EACH_8(f, s, __VA_ARGS__)
#define MAYFLY_P_EACH_10(f, s, a, ...) f(10, a) s() MAYFLY_P_EACH_9(f, s, __VA_ARGS__)
#define MAYFLY_P_EACH_11(f, s, a, ...) f(11, a) s() MAYFLY_P_EACH_10(f, s, __VA_ARGS__)
#define MAYFLY_P_EACH_12(f, s, a, ...) f(12, a) s() MAYFLY_P_EACH_11(f, s, __VA_ARGS__)
#define MAYFLY_P_EACH_13(f, s, a, ...) f(13, a) s() MAYFLY_P_EACH_12(f, s, __VA_ARGS__)
#define MAYFLY_P_EACH_14(f, s, a, ...) f(14, a) s() MAYFLY_P_EACH_13(f, s, __VA_ARGS__)
#define MAYFLY_P_EACH_15(f, s, a, ...) f(15, a) s() MAYFLY_P_EACH_14(f, s, __VA_ARGS__)
#define MAYFLY_P_EACH_16(f, s, a, ...) f(16, a) s() MAYFLY_P_EACH_15(f, s, __VA_ARGS__)

#define MAYFLY_P_COMMA() ,
#define MAYFLY_P_COMMA_TEXT() ","
#define MAYFLY_P_NOTHING()
#define MAYFLY_P_TYPE(i, type) MAYFLY_P_ARGUMENT_##type
#define MAYFLY_P_PARAMETER(i, type) MAYFLY_P_ARGUMENT_##type mayfly_##i
#define MAYFLY_P_PUT(i, type) MAYFLY_P_PUT_##type(mayfly_##i)
#define MAYFLY_P_TEXT(i, type) MAYFLY_P_TEXT_##type

/* A parameter list, where none is "void". */
#define MAYFLY_P_LIST(n, f, ...) MAYFLY_P_LIST_(n, f, __VA_ARGS__)
#define MAYFLY_P_LIST_(n, f, ...) MAYFLY_P_LIST_##n(n, f, __VA_ARGS__)
#define MAYFLY_P_LIST_0(n, f, ...) void
#define MAYFLY_P_LIST_MANY(n, f, ...) MAYFLY_P_EACH_##n(f, MAYFLY_P_COMMA, __VA_ARGS__)
#define MAYFLY_P_LIST_1 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_2 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_3 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_4 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_5 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_6 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_7 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_8 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_9 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_10 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_11 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_12 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_13 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_14 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_15 MAYFLY_P_LIST_MANY
#define MAYFLY_P_LIST_16 MAYFLY_P_LIST_MANY

#define MAYFLY_P_SIGNATURE(n, result, ...)                                                     \
	MAYFLY_P_TEXT_##result                                                                 \
		"(" MAYFLY_P_EACH_##n(MAYFLY_P_TEXT, MAYFLY_P_COMMA_TEXT, __VA_ARGS__) ")"

/* An ELF note: name "Mayfly", this type, the descriptor between the labels 991 and 992. */
#define MAYFLY_P_NOTE(type, descriptor)                                                        \
	".pushsection .note.mayfly,\"a\",@note\n\t"                                            \
	".balign 4\n\t"                                                                        \
	".long 7, 992f-991f, " #type "\n\t"                                                    \
	".asciz \"Mayfly\"\n\t"                                                                \
	".balign 4\n"                                                                          \
	"991:\t" descriptor "\n"                                                               \
	"992:\t.balign 4\n\t"                                                                  \
	".popsection"

/* The names in such a descriptor. */
#define MAYFLY_P_NAMES(text, signature) "\n\t.asciz \"" text "\"\n\t.asciz \"" signature "\""

/*
 * The note names the function as the assembler knows it; a function that is never called holds
 * the note and tells the compiler that the exported one is used. Nothing here needs a
 * relocation at run time.
 */
#define MAYFLY_P_EXPORT(text, n, function, ...)                                                \
	MAYFLY_P_EXPORT_(text, n, function, __VA_ARGS__, ~)
#define MAYFLY_P_EXPORT_(text, n, function, result, ...)                                       \
	MAYFLY_P_EXPORT_AS(                                                                    \
		text, function,                                                                \
		MAYFLY_P_RESULT_##result(MAYFLY_P_LIST(n, MAYFLY_P_TYPE, __VA_ARGS__)),        \
		MAYFLY_P_SIGNATURE(n, result, __VA_ARGS__))
#define MAYFLY_P_EXPORT_AS(text, function, type, signature)                                    \
	_Static_assert(__builtin_types_compatible_p(__typeof__(function), type),               \
		       "MAYFLY_EXPORT: the C function " text " is not of the type " signature  \
		       "; see mayfly_guest.h for the C types");                                \
	__attribute__((__used__)) static void mayfly_p_export_##function(void)                 \
	{                                                                                      \
		__asm__(MAYFLY_P_NOTE(2, ".quad " text " - ." MAYFLY_P_NAMES(text, signature)) \
			:                                                                      \
			: "X"(function));                                                      \
	}                                                                                      \
	struct mayfly_p_words

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

/* Which version of the agreement with the host this was compiled for. */
__asm__(MAYFLY_P_NOTE(1, ".long 1"));

#ifdef __cplusplus
}
#endif

#endif

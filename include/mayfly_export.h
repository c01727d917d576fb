/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Functions that the host calls: what mayfly_guest.h (function guests) and mayfly_program.h (Linux
 * programs) have in common. Include one of those. C; nothing of a C library is used.
 */
#ifndef MAYFLY_EXPORT_H
#define MAYFLY_EXPORT_H

#if !defined(__x86_64__) || defined(__ILP32__)
#error "Mayfly's guests are x86-64 programs; compile for that (-m64)"
#endif
#if !defined(__GNUC__)
#error "Mayfly's headers for guests need gcc, clang or another compiler with GNU extensions"
#endif

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- Types -------------------------------------------------------------------------------- */

/*
 * What may cross between host and guest, and what it is in C:
 *
 *	bool   bool	   i64	 int64_t	string	const char *, NUL-terminated
 *	i32    int32_t	   u64	 uint64_t	bytes	mayfly_bytes, any bytes
 *	u32    uint32_t	   f32	 float		void	as a result only: none
 *			   f64	 double
 *
 * Strings and bytes among the arguments are there until the function returns: copy what must
 * last longer. Those that the guest gives away may lie anywhere in its memory, except in a stack
 * frame that is gone. NULL is not a string; it is bytes where the length is 0.
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

/* --- Private: how that is made -------------------------------------------------------------- */

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
#define MAYFLY_P_TYPE(i, type) MAYFLY_P_ARGUMENT_##type
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
		       "; see mayfly_export.h for the C types");                               \
	__attribute__((__used__)) static void mayfly_p_export_##function(void)                 \
	{                                                                                      \
		__asm__(MAYFLY_P_NOTE(2, ".quad " text " - ." MAYFLY_P_NAMES(text, signature)) \
			:                                                                      \
			: "X"(function));                                                      \
	}                                                                                      \
	struct mayfly_bytes

/* Which version of the agreement with the host this was compiled for. */
__asm__(MAYFLY_P_NOTE(1, ".long 1"));

#ifdef __cplusplus
}
#endif

#endif

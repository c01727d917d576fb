/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the public API share: guests by name, a sandbox with its snapshot and the last
 * call's outcome, and checks that say what was found instead.
 *
 * Guests are files in the directory MAYFLY_GUESTS (default build/guests). A test that opens a box is skipped where
 * no hypervisor is, and only there.
 */
#ifndef MAYFLY_TESTS_SUPPORT_H
#define MAYFLY_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#undef fail /* the library has one of its own, which tests of its inside see */

#include "mayfly.h"

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* Nanoseconds, for guards against hanging: far more than anything takes, in the lab too. */
#define AGES UINT64_C(60000000000)
#define MS UINT64_C(1000000)

/* The exceptions that are told apart here. */
#define VECTOR_DIVIDE 0
#define VECTOR_DEBUG 1
#define VECTOR_BREAKPOINT 3
#define VECTOR_UNDEFINED 6
#define VECTOR_STACK_SEGMENT 12
#define VECTOR_PROTECTION 13
#define VECTOR_PAGE_FAULT 14
#define VECTOR_X87 16
#define VECTOR_ALIGNMENT 17
#define VECTOR_SIMD 19

/* --- guests ---------------------------------------------------------------------------------- */

/* Skips the test, by its name, where there is no /dev/kvm. */
void need_kvm(void);
/* Whether ring 0 runs on the CPU, as with hardware virtualisation. */
bool on_hardware(void);
/* In the emulated PC, where everything takes several times longer. */
bool in_lab(void);

/* Static storage, good until the call after next. */
const char *guest_path(const char *name);

/* 0: the default. */
mayfly_snapshot *load(const char *guest, uint64_t memory, uint64_t stack, uint64_t call_area);

/* --- boxes ----------------------------------------------------------------------------------- */

struct box {
	mayfly_snapshot *snap;
	mayfly_sandbox *sb;
	mayfly_value result; /* of the last call that succeeded */
	mayfly_error err;    /* of the last failure */
	int code;	     /* of the last call */
};

/*
 * How calls get into the VM in this run of the tests: by the environment's MAYFLY_DISPATCH, "hot" or
 * nothing.
 */
mayfly_dispatch dispatch_under_test(void);
/* mayfly_sandbox_new() with that dispatch; `options` may be NULL. */
int new_sandbox(mayfly_snapshot *snap, const mayfly_sandbox_options *options,
		mayfly_sandbox **out, mayfly_error *err);

/* With the default sizes; `options` may be NULL. */
struct box box_open(const char *guest, const mayfly_sandbox_options *options);
/* Of this snapshot, of which the box takes the caller's count. */
struct box box_of(mayfly_snapshot *snap, const mayfly_sandbox_options *options);
void box_close(struct box *b);

int box_call(struct box *b, const char *function, const mayfly_value *args, size_t nargs);
/* The same, but a failure fails the test. */
mayfly_value box_must(struct box *b, const char *function, const mayfly_value *args,
		      size_t nargs, const char *file, int line);
void box_restore(struct box *b);

#define VALUES(...) (&((mayfly_value[]){{.type = MAYFLY_VOID}, ##__VA_ARGS__})[1])
#define VALUE_COUNT(...)                                                                       \
	(sizeof((mayfly_value[]){{.type = MAYFLY_VOID}, ##__VA_ARGS__}) /                      \
		 sizeof(mayfly_value) -                                                        \
	 1)

/* call(&b, "add", mayfly_i64(1), mayfly_i64(2)): its code. */
#define call(b, function, ...)                                                                 \
	box_call((b), (function), VALUES(__VA_ARGS__), VALUE_COUNT(__VA_ARGS__))
/* Its result. */
#define must(b, function, ...)                                                                 \
	box_must((b), (function), VALUES(__VA_ARGS__), VALUE_COUNT(__VA_ARGS__), __FILE__,     \
		 __LINE__)

/* --- checks ---------------------------------------------------------------------------------- */

void check_code(int code, int expected, const mayfly_error *err, const char *file, int line);
#define assert_code(code, expected, err)                                                       \
	check_code((code), (expected), (err), __FILE__, __LINE__)
#define assert_ok(code, err) check_code((code), MAYFLY_OK, (err), __FILE__, __LINE__)

/* Ends the test. */
#define fail_test(...)                                                                         \
	do {                                                                                   \
		print_error(__VA_ARGS__);                                                      \
		print_error("\n");                                                             \
		_fail(__FILE__, __LINE__);                                                     \
	} while (0)

void check_contains(const char *text, const char *part, const char *file, int line);
#define assert_contains(text, part) check_contains((text), (part), __FILE__, __LINE__)

/* The box is usable: a call of its guest's function `probe`, with any arguments, succeeds. */
void check_usable(struct box *b, const char *probe, const char *file, int line);

/*
 * The last call ended with `code` and poisoned the box with a fault of this kind (and vector, for exceptions); it
 * refuses calls and snapshots, but not restore, after which `probe` works. Gives the fault.
 */
mayfly_fault check_poisoned(struct box *b, int code, mayfly_fault_kind kind, uint32_t vector,
			    const char *probe, const char *file, int line);
#define assert_poisoned(b, code, kind, vector, probe)                                          \
	check_poisoned((b), (code), (kind), (vector), (probe), __FILE__, __LINE__)

/* --- the process ----------------------------------------------------------------------------- */

/*
 * Bytes that malloc has given and not got back; 0 under the address sanitizer. Blocks that it keeps
 * in its caches are among them, so that HEAP_SLACK may come and go.
 */
size_t heap_in_use(void);
#define HEAP_SLACK 2048
/* Open descriptors. */
int descriptors_open(void);
/* Mappings of this process; 0 with sanitizers, whose own come and go. */
int mappings(void);

/* A directory of the test's own, removed with its files by temporary_remove(). */
const char *temporary_directory(void);
/* A path in it; static storage, good until the call after next. */
const char *temporary_path(const char *name);
void temporary_remove(void);

void *read_whole_file(const char *path, size_t *len);
void write_whole_file(const char *path, const void *data, size_t len);

/* Of each call's time, from the next one on; 0: none. */
void set_limit(struct box *b, uint64_t ns);

uint64_t now_ns(void);
void sleep_ns(uint64_t ns);

/* Reproducible pseudo-random numbers. */
uint64_t random_next(uint64_t *state);

#endif

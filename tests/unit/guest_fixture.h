/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small guests for tests that drive sandboxes with the mock hypervisor: an ELF file made in memory and
 * loaded for mock_host(). Nothing in them is ever executed; what the guest "does" is up to the
 * script. A failure ends the test program.
 */
#ifndef MAYFLY_TESTS_GUEST_FIXTURE_H
#define MAYFLY_TESTS_GUEST_FIXTURE_H

#include "abi/function.h"
#include "function/sandbox.h"
#include "hv/mock.h"

struct fixture_name {
	const char *name;
	const char *signature;
};

/* Lists end with a NULL name; NULL lists are empty. Zero sizes: FIXTURE_ ones. */
struct fixture {
	const struct fixture_name *exports;
	const struct fixture_name *imports;
	uint64_t memory;
	uint64_t stack;
	uint64_t call_area;
};

#define FIXTURE_MEMORY (256 << 10)
#define FIXTURE_STACK (16 << 10)
#define FIXTURE_CALL_AREA (8 << 10)

/* mayfly_snapshot_unref() frees. */
struct mayfly_snapshot *fixture_load(const struct fixture *fixture);

/* The guest of most tests: exports "add" i64(i64,i64), "nothing" void(); imports "lookup" bytes(string). */
struct mayfly_snapshot *fixture_simple(void);

/* A sandbox on the mock; options NULL: defaults. */
mayfly_sandbox *fixture_sandbox(struct mayfly_snapshot *snap,
				const mayfly_sandbox_options *options);

const mayfly_function *fixture_function(const struct mayfly_snapshot *snap, const char *name);
uint64_t fixture_import(const struct mayfly_snapshot *snap, const char *name);
struct mock_vm *fixture_vm(mayfly_sandbox *sb);
const struct layout *fixture_layout(const struct mayfly_snapshot *snap);

/* Where the region of this name begins, and what it is. */
const struct gmem_region *fixture_region(const struct mayfly_snapshot *snap, const char *name);

/* How many file descriptors the process has open. */
unsigned fixture_open_fds(void);

/* --- what guests do, for steps: all through the page tables, as ring 3 --- */

void guest_read_call(struct mock_vm *vm, struct fn_call *out);
/* Write one field of the call block. */
#define guest_put(vm, field, ...)                                                              \
	do {                                                                                   \
		__typeof__(((struct fn_call *)0)->field) value_ = __VA_ARGS__;                 \
		guest_put_at((vm), offsetof(struct fn_call, field), &value_, sizeof(value_));  \
	} while (0)
void guest_put_at(struct mock_vm *vm, size_t offset, const void *value, size_t len);
/* The arguments of a host function, where they belong. */
void guest_put_slots(struct mock_vm *vm, const uint64_t slots[FN_MAX_SLOTS]);

#endif

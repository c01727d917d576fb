/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest may not do, each with its precise error: kind, vector, address, function. Every time
 * the sandbox is poisoned, refuses calls and snapshots, is restored and works.
 */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "abi/function.h"
#include "function/sandbox.h"

/* A function of the guest that succeeds. */
#define PROBE "divide"

static void check_function(const mayfly_fault *f, const char *function)
{
	assert_non_null(f->function);
	assert_string_equal(f->function, function);
	assert_contains(f->message, function);
}

static mayfly_fault fault_of(struct box *b, uint32_t vector, const char *function)
{
	mayfly_fault f =
		assert_poisoned(b, MAYFLY_E_FAULT, MAYFLY_FAULT_EXCEPTION, vector, PROBE);

	check_function(&f, function);
	return f;
}

/* The guest's own page-table view: which regions there are. Host-side, from the sandbox. */
static const struct gmem_region *region_named(struct box *b, const char *name)
{
	const struct gmem_map *map = &b->sb->inst.guest->map;

	for (uint32_t i = 0; i < map->count; i++)
		if (!strcmp(map->regions[i].name, name))
			return &map->regions[i];
	fail_test("no region %s", name);
	return NULL;
}

/* --- page faults ----------------------------------------------------------------------------- */

static void null_pointers_fault_at_zero(void **state)
{
	struct box b = box_open("faults", NULL);
	mayfly_fault f;

	(void)state;
	call(&b, "null_read");
	f = fault_of(&b, VECTOR_PAGE_FAULT, "null_read");
	assert_int_equal(f.address, 0);
	assert_int_equal(f.error_code, 4);
	assert_contains(f.message, "cannot read 0x0, a null pointer");
	call(&b, "null_write");
	f = fault_of(&b, VECTOR_PAGE_FAULT, "null_write");
	assert_int_equal(f.error_code, 6);
	assert_contains(f.message, "cannot write 0x0");
	call(&b, "null_call");
	f = assert_poisoned(&b, MAYFLY_E_FAULT, MAYFLY_FAULT_EXCEPTION, VECTOR_PAGE_FAULT,
			    PROBE);
	assert_int_equal(f.ip, 0);
	assert_null(f.function);
	assert_contains(f.message, "cannot execute 0x0");
	box_close(&b);
}

static void wild_pointers_fault_where_they_point(void **state)
{
	static const uint64_t addresses[] = {
		1,
		0xfff,
		0x1000,
		0xffff,
		0x15000,
		0x100000,
		0x7fff0000,
		(uint64_t)1 << 40,
		0x7fffffffe000,
		0x00007ffffffff000,
		0xffff800000000000,
		0xffffffff81000000,
		0xfffffffffffff000,
	};
	struct box b = box_open("faults", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(addresses); i++) {
		mayfly_fault f;

		call(&b, "wild_read", mayfly_u64(addresses[i]));
		f = fault_of(&b, VECTOR_PAGE_FAULT, "wild_read");
		assert_true(f.address == addresses[i]);
		call(&b, "wild_write", mayfly_u64(addresses[i]));
		f = fault_of(&b, VECTOR_PAGE_FAULT, "wild_write");
		assert_true(f.address == addresses[i]);
		assert_true(f.error_code & 2);
	}
	box_close(&b);
}

static void wild_jumps_fault_where_they_lead(void **state)
{
	static const uint64_t addresses[] = {0x1000, 0x20000, 0x7fff0000, (uint64_t)1 << 40};
	struct box b = box_open("faults", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(addresses); i++) {
		mayfly_fault f;

		call(&b, "wild_call", mayfly_u64(addresses[i]));
		f = assert_poisoned(&b, MAYFLY_E_FAULT, MAYFLY_FAULT_EXCEPTION,
				    VECTOR_PAGE_FAULT, PROBE);
		assert_true(f.ip == addresses[i]);
		assert_true(f.address == addresses[i]);
	}
	box_close(&b);
}

static void non_canonical_addresses_are_protection_faults(void **state)
{
	struct box b = box_open("faults", NULL);

	(void)state;
	call(&b, "non_canonical_read");
	fault_of(&b, VECTOR_PROTECTION, "non_canonical_read");
	call(&b, "non_canonical_stack");
	/* #SS on a CPU; QEMU's has a #GP there. */
	fault_of(&b, in_lab() ? VECTOR_PROTECTION : VECTOR_STACK_SEGMENT,
		 "non_canonical_stack");
	box_close(&b);
}

static void code_and_constants_cannot_be_written(void **state)
{
	struct box b = box_open("faults", NULL);
	mayfly_fault f;

	(void)state;
	call(&b, "write_code");
	f = fault_of(&b, VECTOR_PAGE_FAULT, "write_code");
	assert_int_equal(f.error_code, 7);
	assert_contains(f.message, "in the code, which is readable and executable only");
	call(&b, "write_constant");
	f = fault_of(&b, VECTOR_PAGE_FAULT, "write_constant");
	assert_int_equal(f.error_code, 7);
	assert_contains(f.message, "in the constants, which is read-only");
	box_close(&b);
}

static void what_is_writable_cannot_be_executed(void **state)
{
	static const struct {
		const char *function, *region;
	} cases[] = {{"execute_data", "data"},
		     {"execute_stack", "stack"},
		     {"execute_heap", "heap"},
		     {"execute_argument", "call area"}};
	struct box b = box_open("faults", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const struct gmem_region *r = region_named(&b, cases[i].region);
		mayfly_fault f;

		if (i == 3)
			call(&b, cases[i].function, mayfly_bytes_of("\xc3", 1));
		else
			call(&b, cases[i].function);
		f = assert_poisoned(&b, MAYFLY_E_FAULT, MAYFLY_FAULT_EXCEPTION,
				    VECTOR_PAGE_FAULT, PROBE);
		assert_true(f.address == f.ip);
		assert_true(f.ip - r->va < r->len);
		assert_int_equal(f.error_code, 0x15);
		assert_contains(f.message, "cannot execute");
		assert_contains(f.message, cases[i].region);
	}
	box_close(&b);
}

/* Every page up to 4 MiB and around each region: accessible where and as the map says, else a fault. */
static void check_page(struct box *b, uint64_t va)
{
	const struct gmem_region *r = gmem_region_at(&b->sb->inst.guest->map, gva(va));
	bool readable = r && (r->prot & GMEM_READ), writable = r && (r->prot & GMEM_WRITE);
	mayfly_fault f = {.size = sizeof(f)};

	for (int write = 0; write < 2; write++) {
		bool fine = write ? writable : readable;

		call(b, write ? "touch" : "read_at", mayfly_u64(va));
		assert_code(b->code, fine ? MAYFLY_OK : MAYFLY_E_FAULT, &b->err);
		if (fine)
			continue;
		assert_ok(mayfly_sandbox_fault(b->sb, &f, &b->err), &b->err);
		assert_int_equal(f.vector, VECTOR_PAGE_FAULT);
		assert_true(f.address == va);
		box_restore(b);
	}
}

static void only_what_the_map_grants_can_be_accessed(void **state)
{
	struct box b = box_open("scribble", NULL);
	const struct gmem_map *map = &b.sb->inst.guest->map;
	uint64_t step = in_lab() ? 0x10000 : 0x1000;

	(void)state;
	for (uint64_t va = 0; va < 0x400000; va += va < 0x20000 ? 0x1000 : step)
		check_page(&b, va);
	for (uint32_t i = 0; i < map->count; i++) {
		const struct gmem_region *r = &map->regions[i];

		check_page(&b, r->va - PAGE_SIZE);
		check_page(&b, r->va);
		check_page(&b, r->va + r->len - PAGE_SIZE);
		check_page(&b, r->va + r->len);
	}
	assert_int_equal(must(&b, "alive").as.u64, 0x600d);
	box_close(&b);
}

/* --- the stack ------------------------------------------------------------------------------- */

static void check_overflow(struct box *b, const char *function)
{
	mayfly_fault f = assert_poisoned(b, MAYFLY_E_FAULT, MAYFLY_FAULT_STACK_OVERFLOW,
					 VECTOR_PAGE_FAULT, PROBE);
	uint64_t low = b->sb->guest->layout.stack_va;

	assert_true(f.address < low);
	check_function(&f, function);
	assert_contains(f.message, "stack overflow");
}

static void recursion_overflows_the_stack(void **state)
{
	struct box b = box_open("faults", NULL);

	(void)state;
	call(&b, "recurse_forever");
	check_overflow(&b, "recurse");
	box_close(&b);
}

static void one_large_frame_overflows_the_stack(void **state)
{
	struct box b = box_open("faults", NULL);

	(void)state;
	call(&b, "one_large_frame");
	check_overflow(&b, "one_large_frame");
	/* A frame that jumps over the page below the stack without probing it. */
	call(&b, "jump_down_stack", mayfly_u64(1 << 20));
	check_overflow(&b, "jump_down_stack");
	must(&b, "jump_down_stack", mayfly_u64(200 << 10));
	box_close(&b);
}

static void a_stack_beyond_the_low_ones_has_its_guard_too(void **state)
{
	struct box b = box_of(load("faults", (uint64_t)64 << 20, (uint64_t)16 << 20, 0), NULL);

	(void)state;
	must(&b, "one_large_frame");
	must(&b, "jump_down_stack", mayfly_u64(15 << 20));
	call(&b, "jump_down_stack", mayfly_u64(17 << 20));
	check_overflow(&b, "jump_down_stack");
	call(&b, "jump_down_stack", mayfly_u64(500 << 20));
	check_overflow(&b, "jump_down_stack");
	call(&b, "recurse_forever");
	check_overflow(&b, "recurse");
	box_close(&b);
}

static void exceptions_are_reported_wherever_the_stack_pointer_is(void **state)
{
	static const uint64_t stacks[] = {0,
					  8,
					  0x1000,
					  FN_GATE_VA + 0x100,
					  FN_SUPERVISOR_VA + 0x800,
					  (uint64_t)1 << 40,
					  0x8000000000000000,
					  UINT64_MAX,
					  FN_CALL_VA + 0x800};
	struct box b = box_open("faults", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(stacks); i++) {
		mayfly_fault f;

		call(&b, "fault_with_stack_at", mayfly_u64(stacks[i]));
		f = fault_of(&b, VECTOR_UNDEFINED, "fault_with_stack_at");
		assert_true(f.sp == stacks[i]);
	}
	box_close(&b);
}

static void a_smashed_stack_frame_aborts(void **state)
{
	struct box b = box_open("faults", NULL);
	mayfly_fault f;

	(void)state;
	call(&b, "smash_stack", mayfly_u32(64));
	f = assert_poisoned(&b, MAYFLY_E_ABORT, MAYFLY_FAULT_ABORT, 0, PROBE);
	assert_int_equal(f.abort_code, -2);
	assert_contains(f.message, "stack smashing");
	box_close(&b);
}

/* --- instructions ---------------------------------------------------------------------------- */

static void division_errors_are_told_as_such(void **state)
{
	struct box b = box_open("faults", NULL);
	mayfly_fault f;

	(void)state;
	call(&b, "divide_by_zero");
	f = assert_poisoned(&b, MAYFLY_E_FAULT, MAYFLY_FAULT_EXCEPTION, VECTOR_DIVIDE, PROBE);
	assert_contains(f.message, "division error");
	assert_non_null(f.function);
	call(&b, "divide", mayfly_i32(INT32_MIN), mayfly_i32(-1));
	f = assert_poisoned(&b, MAYFLY_E_FAULT, MAYFLY_FAULT_EXCEPTION, VECTOR_DIVIDE, PROBE);
	assert_int_equal(must(&b, "divide", mayfly_i32(-7), mayfly_i32(2)).as.i32, -3);
	box_close(&b);
}

static void an_undefined_instruction_is_told_with_its_bytes(void **state)
{
	struct box b = box_open("faults", NULL);
	mayfly_fault f;

	(void)state;
	call(&b, "undefined_instruction");
	f = fault_of(&b, VECTOR_UNDEFINED, "undefined_instruction");
	assert_contains(f.message, "invalid opcode");
	assert_contains(f.message, "0f 0b");
	box_close(&b);
}

static void privileged_instructions_are_told_by_name(void **state)
{
	static const struct {
		const char *function, *text;
	} cases[] = {
		{"privileged_hlt", "HLT"},
		{"privileged_cli", "CLI"},
		{"privileged_sti", "STI"},
		{"privileged_wbinvd", "WBINVD"},
		{"privileged_lgdt", "system instruction"},
		{"privileged_lidt", "system instruction"},
		{"privileged_ltr", "system instruction"},
		{"privileged_invlpg", "system instruction"},
		{"privileged_swapgs", "system instruction"},
		{"privileged_sysretq", "SYSRET"},
		{"privileged_xsetbv", "XSETBV"},
		{"mov_to_cr0", "control register"},
		{"mov_from_cr0", "control register"},
		{"mov_to_cr3", "control register"},
		{"mov_from_cr3", "control register"},
		{"mov_to_cr4", "control register"},
		{"mov_to_cr8", "control register"},
		{"mov_to_dr0", "debug register"},
		{"mov_to_dr7", "debug register"},
		{"mov_from_dr7", "debug register"},
		{"read_pmc", "RDPMC"},
	};
	struct box b = box_open("faults", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		mayfly_fault f = {.size = sizeof(f)};

		call(&b, cases[i].function);
		if (b.code != MAYFLY_E_FAULT)
			fail_test("%s gave %d: %s", cases[i].function, b.code, b.err.message);
		assert_ok(mayfly_sandbox_fault(b.sb, &f, &b.err), &b.err);
		/* Which of the two is the CPU's and the hypervisor's choice. */
		if (f.vector != VECTOR_PROTECTION && f.vector != VECTOR_UNDEFINED)
			fail_test("%s: vector %u: %s", cases[i].function, f.vector, f.message);
		f = fault_of(&b, f.vector, cases[i].function);
		assert_contains(f.message, cases[i].text);
	}
	box_close(&b);
}

static void undeclared_ports_are_told_by_number(void **state)
{
	static const uint32_t ports[] = {0,
					 FN_PORT_GATE - 1,
					 FN_PORT_GATE + 1,
					 FN_PORT_EXCEPTION,
					 FN_PORT_EXCEPTION + 14,
					 0x60,
					 0x80,
					 0x3f8,
					 0xcf8,
					 0xffff};
	struct box b = box_open("faults", NULL);
	char want[40];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ports); i++) {
		mayfly_fault f;

		call(&b, "port_out", mayfly_u32(ports[i]));
		f = fault_of(&b, VECTOR_PROTECTION, "port_out");
		snprintf(want, sizeof(want), "OUT to port 0x%x is", ports[i]);
		assert_contains(f.message, want);
		call(&b, "port_in", mayfly_u32(ports[i]));
		f = fault_of(&b, VECTOR_PROTECTION, "port_in");
		snprintf(want, sizeof(want), "IN from port 0x%x is", ports[i]);
		assert_contains(f.message, want);
	}
	box_close(&b);
}

static void msrs_are_told_by_number(void **state)
{
	static const uint32_t msrs[] = {0x10,	    0x1b,	0xfe,	    0x174,
					0x277,	    0x40000000, 0xc0000080, 0xc0000082,
					0xc0000100, 0xffffffff};
	struct box b = box_open("faults", NULL);
	char want[40];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(msrs); i++) {
		mayfly_fault f;

		call(&b, "rdmsr", mayfly_u32(msrs[i]));
		f = fault_of(&b, VECTOR_PROTECTION, "rdmsr");
		snprintf(want, sizeof(want), "RDMSR 0x%x is", msrs[i]);
		assert_contains(f.message, want);
		call(&b, "wrmsr", mayfly_u32(msrs[i]), mayfly_u64(UINT64_MAX));
		f = fault_of(&b, VECTOR_PROTECTION, "wrmsr");
		snprintf(want, sizeof(want), "WRMSR 0x%x is", msrs[i]);
		assert_contains(f.message, want);
	}
	box_close(&b);
}

/* PVM runs ring 3 with the host's CR4 and cannot deny it. */
static void the_time_stamp_counter_is_denied_on_hardware(void **state)
{
	struct box b = box_open("faults", NULL);
	mayfly_fault f;

	(void)state;
	call(&b, "read_tsc");
	if (on_hardware() || b.code) {
		f = fault_of(&b, VECTOR_PROTECTION, "read_tsc");
		assert_contains(f.message, "RDTSC");
	}
	call(&b, "read_tscp");
	if (on_hardware() || b.code) {
		f = fault_of(&b, VECTOR_PROTECTION, "read_tscp");
		assert_contains(f.message, "RDTSCP");
	}
	box_close(&b);
}

static void the_time_stamp_counter_can_be_allowed(void **state)
{
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	struct box b;

	(void)state;
	options.flags = MAYFLY_SANDBOX_ALLOW_TSC;
	b = box_open("faults", &options);
	must(&b, "read_tsc");
	/* Also after a fault, which resets the CPU. */
	call(&b, "undefined_instruction");
	fault_of(&b, VECTOR_UNDEFINED, "undefined_instruction");
	must(&b, "read_tsc");
	box_close(&b);
}

static void software_interrupts_do_nothing_but_fault(void **state)
{
	static const struct {
		const char *function;
		uint32_t vectors; /* bits */
	} cases[] = {
		{"int3", 1u << VECTOR_BREAKPOINT},
		{"int80", 1u << VECTOR_PROTECTION | 1u << VECTOR_UNDEFINED},
		{"int_double_fault", 1u << VECTOR_PROTECTION | 1u << VECTOR_UNDEFINED},
		{"int_page_fault", 1u << VECTOR_PROTECTION | 1u << VECTOR_UNDEFINED},
		/* QEMU's CPU does not know it. */
		{"int1", 1u << VECTOR_DEBUG | 1u << VECTOR_PROTECTION | 1u << VECTOR_UNDEFINED},
		/* KVM may try to write the instruction that the CPU has, which the code's pages forbid. */
		{"vmcall",
		 1u << VECTOR_UNDEFINED | 1u << VECTOR_PROTECTION | 1u << VECTOR_PAGE_FAULT},
		{"vmmcall",
		 1u << VECTOR_UNDEFINED | 1u << VECTOR_PROTECTION | 1u << VECTOR_PAGE_FAULT},
		{"sysenter", 1u << VECTOR_UNDEFINED | 1u << VECTOR_PROTECTION},
		{"privileged_iretq", 1u << VECTOR_PROTECTION | 1u << VECTOR_PAGE_FAULT},
		{"far_call_null", 1u << VECTOR_PROTECTION},
	};
	struct box b = box_open("faults", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		mayfly_fault f = {.size = sizeof(f)};

		call(&b, cases[i].function);
		/* A hypercall may be answered, with an error: nothing has happened then. */
		if (b.code == 0 && !strncmp(cases[i].function, "vm", 2))
			continue;
		if (b.code != MAYFLY_E_FAULT)
			fail_test("%s gave %d: %s", cases[i].function, b.code, b.err.message);
		assert_ok(mayfly_sandbox_fault(b.sb, &f, &b.err), &b.err);
		if (f.kind != MAYFLY_FAULT_EXCEPTION || !(cases[i].vectors >> f.vector & 1))
			fail_test("%s: kind %d, vector %u: %s", cases[i].function, f.kind,
				  f.vector, f.message);
		assert_poisoned(&b, MAYFLY_E_FAULT, MAYFLY_FAULT_EXCEPTION, f.vector, PROBE);
	}
	box_close(&b);
}

static void the_syscall_instruction_breaks_the_protocol(void **state)
{
	struct box b = box_open("faults", NULL);
	mayfly_fault f;

	(void)state;
	for (uint64_t number = 0; number < 3; number++) {
		call(&b, "syscall_instruction", mayfly_u64(number * 60));
		f = assert_poisoned(&b, MAYFLY_E_PROTOCOL, MAYFLY_FAULT_PROTOCOL, 0, PROBE);
		assert_contains(f.message, "SYSCALL instruction");
	}
	box_close(&b);
}

/* On PVM the host's descriptor table counts, which has other code of ring 3 for data to be read by. */
static void selectors_of_system_segments_cannot_be_loaded(void **state)
{
	static const uint32_t selectors[] = {0x08, 0x10, 0x30, 0x3b, 0xfff8, 0x07, 0x1f};
	struct box b = box_open("faults", NULL);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(selectors); i++) {
		call(&b, "load_ds", mayfly_u32(selectors[i]));
		if (on_hardware() || b.code)
			fault_of(&b, VECTOR_PROTECTION, "load_ds");
	}
	must(&b, "load_ds", mayfly_u32(0));
	must(&b, "load_ds", mayfly_u32(0x23));
	box_close(&b);
}

/* --- flags ----------------------------------------------------------------------------------- */

static void single_stepping_is_a_debug_exception(void **state)
{
	struct box b = box_open("faults", NULL);

	(void)state;
	call(&b, "set_tf");
	fault_of(&b, VECTOR_DEBUG, "set_tf");
	box_close(&b);
}

/* CR0.AM is clear; but PVM's guests run with the host's CR0, in which Linux sets it. */
static void alignment_checks_do_nothing_or_fault(void **state)
{
	struct box b = box_open("faults", NULL);

	(void)state;
	if (call(&b, "unaligned_with_ac") == 0)
		assert_true(b.result.as.u64 == 0x1601020304050607);
	else
		fault_of(&b, VECTOR_ALIGNMENT, "unaligned_with_ac");
	box_close(&b);
}

static void unmasked_floating_point_exceptions_are_faults(void **state)
{
	struct box b = box_open("faults", NULL);
	mayfly_fault f;

	(void)state;
	/* QEMU's CPU has none of those of the vector unit. */
	if (!in_lab()) {
		call(&b, "unmasked_sse_division", mayfly_f32(1), mayfly_f32(0));
		f = fault_of(&b, VECTOR_SIMD, "unmasked_sse_division");
		assert_contains(f.message, "SIMD floating-point");
	}
	call(&b, "unmasked_x87_division");
	fault_of(&b, VECTOR_X87, "unmasked_x87_division");
	box_close(&b);
}

/* --- aborts ---------------------------------------------------------------------------------- */

static void aborts_arrive_with_code_and_message(void **state)
{
	static const int32_t codes[] = {0, 1, -1, INT32_MAX, INT32_MIN, 4711};
	struct box b = box_open("faults", NULL);
	mayfly_fault f;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(codes); i++) {
		char want[60];

		call(&b, "abort_with", mayfly_i32(codes[i]), mayfly_string("the reason"));
		snprintf(want, sizeof(want), "aborted with code %d: the reason", codes[i]);
		assert_contains(b.err.message, want);
		f = assert_poisoned(&b, MAYFLY_E_ABORT, MAYFLY_FAULT_ABORT, 0, PROBE);
		assert_int_equal(f.abort_code, codes[i]);
		assert_string_equal(f.message, "the reason");
	}
	call(&b, "abort_with", mayfly_i32(1), mayfly_string(""));
	f = assert_poisoned(&b, MAYFLY_E_ABORT, MAYFLY_FAULT_ABORT, 0, PROBE);
	assert_string_equal(f.message, "");
	box_close(&b);
}

static void unprintable_abort_messages_are_made_printable(void **state)
{
	struct box b = box_open("faults", NULL);
	mayfly_fault f;

	(void)state;
	call(&b, "abort_with", mayfly_i32(1), mayfly_string("a\x1b[2J\xff\nb"));
	f = assert_poisoned(&b, MAYFLY_E_ABORT, MAYFLY_FAULT_ABORT, 0, PROBE);
	assert_string_equal(f.message, "a\\x1b[2J\\xff\\x0ab");
	box_close(&b);
}

static void over_long_abort_messages_are_cut(void **state)
{
	struct box b = box_open("faults", NULL);
	mayfly_fault f;

	(void)state;
	call(&b, "abort_long");
	assert_true(strlen(b.err.message) == MAYFLY_ERROR_MESSAGE_SIZE - 1);
	f = assert_poisoned(&b, MAYFLY_E_ABORT, MAYFLY_FAULT_ABORT, 0, PROBE);
	assert_int_equal(f.abort_code, 7);
	assert_true(strlen(f.message) > 900);
	assert_memory_equal(f.message, "abcdef", 6);
	assert_string_equal(f.message + strlen(f.message) - 3, "...");
	box_close(&b);
}

static void assertions_and_plain_aborts_say_what_they_are(void **state)
{
	struct box b = box_open("faults", NULL);
	mayfly_fault f;

	(void)state;
	assert_int_equal(must(&b, "assert_fails", mayfly_i32(1234)).as.i32, 1234);
	call(&b, "assert_fails", mayfly_i32(1));
	f = assert_poisoned(&b, MAYFLY_E_ABORT, MAYFLY_FAULT_ABORT, 0, PROBE);
	assert_int_equal(f.abort_code, -1);
	assert_contains(f.message, "assert_fails: assertion `v == 1234' failed");
	call(&b, "abort_plain");
	f = assert_poisoned(&b, MAYFLY_E_ABORT, MAYFLY_FAULT_ABORT, 0, PROBE);
	assert_int_equal(f.abort_code, 134);
	box_close(&b);
}

/* --- the heap -------------------------------------------------------------------------------- */

static void an_exhausted_heap_gives_null_and_no_fault(void **state)
{
	struct box b = box_open("faults", NULL);
	mayfly_snapshot_info info = {.size = sizeof(info)};
	uint64_t mib;

	(void)state;
	assert_ok(mayfly_snapshot_get_info(b.snap, &info, &b.err), &b.err);
	mib = must(&b, "exhaust_heap").as.u64;
	assert_true(mib <= info.heap >> 20 && mib + 2 >= info.heap >> 20);
	assert_int_equal(must(&b, "exhaust_heap").as.u64, 0);
	box_restore(&b);
	assert_int_equal(must(&b, "exhaust_heap").as.u64, mib);
	box_close(&b);
}

static void a_misused_heap_aborts(void **state)
{
	struct box b = box_open("faults", NULL);
	mayfly_fault f;

	(void)state;
	call(&b, "double_free");
	f = assert_poisoned(&b, MAYFLY_E_ABORT, MAYFLY_FAULT_ABORT, 0, PROBE);
	assert_int_equal(f.abort_code, -3);
	call(&b, "heap_overrun");
	f = assert_poisoned(&b, MAYFLY_E_ABORT, MAYFLY_FAULT_ABORT, 0, PROBE);
	assert_int_equal(f.abort_code, -3);
	box_close(&b);
}

/* --- afterwards ------------------------------------------------------------------------------ */

static void a_fault_is_told_only_while_it_lasts(void **state)
{
	struct box b = box_open("faults", NULL);
	mayfly_fault f = {.size = sizeof(f)};

	(void)state;
	assert_code(mayfly_sandbox_fault(b.sb, &f, &b.err), MAYFLY_E_INVALID, &b.err);
	call(&b, "undefined_instruction");
	assert_ok(mayfly_sandbox_fault(b.sb, &f, &b.err), &b.err);
	assert_ok(mayfly_sandbox_fault(b.sb, &f, &b.err), &b.err);
	box_restore(&b);
	assert_code(mayfly_sandbox_fault(b.sb, &f, &b.err), MAYFLY_E_INVALID, &b.err);
	box_close(&b);
}

static void a_poisoned_sandbox_says_why_when_called(void **state)
{
	struct box b = box_open("faults", NULL);

	(void)state;
	call(&b, "undefined_instruction");
	assert_code(call(&b, "divide", mayfly_i32(4), mayfly_i32(2)), MAYFLY_E_POISONED,
		    &b.err);
	assert_contains(b.err.message, "invalid opcode");
	assert_contains(b.err.message, "restore");
	/* It may be freed as it is. */
	box_close(&b);
}

static void a_thousand_faults_leak_nothing(void **state)
{
	struct box b = box_open("faults", NULL);
	int files, maps, rounds = in_lab() ? 100 : 1000;
	size_t heap = 0;

	(void)state;
	for (int i = 0; i < rounds; i++) {
		if (i == 10) {
			files = descriptors_open();
			maps = mappings();
			heap = heap_in_use();
		}
		call(&b, i % 3 ? "null_read" : "abort_plain");
		assert_true(b.code == (i % 3 ? MAYFLY_E_FAULT : MAYFLY_E_ABORT));
		box_restore(&b);
	}
	assert_int_equal(descriptors_open(), files);
	assert_int_equal(mappings(), maps);
	assert_true(heap_in_use() <= heap + HEAP_SLACK);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(null_pointers_fault_at_zero),
		cmocka_unit_test(wild_pointers_fault_where_they_point),
		cmocka_unit_test(wild_jumps_fault_where_they_lead),
		cmocka_unit_test(non_canonical_addresses_are_protection_faults),
		cmocka_unit_test(code_and_constants_cannot_be_written),
		cmocka_unit_test(what_is_writable_cannot_be_executed),
		cmocka_unit_test(only_what_the_map_grants_can_be_accessed),
		cmocka_unit_test(recursion_overflows_the_stack),
		cmocka_unit_test(one_large_frame_overflows_the_stack),
		cmocka_unit_test(a_stack_beyond_the_low_ones_has_its_guard_too),
		cmocka_unit_test(exceptions_are_reported_wherever_the_stack_pointer_is),
		cmocka_unit_test(a_smashed_stack_frame_aborts),
		cmocka_unit_test(division_errors_are_told_as_such),
		cmocka_unit_test(an_undefined_instruction_is_told_with_its_bytes),
		cmocka_unit_test(privileged_instructions_are_told_by_name),
		cmocka_unit_test(undeclared_ports_are_told_by_number),
		cmocka_unit_test(msrs_are_told_by_number),
		cmocka_unit_test(the_time_stamp_counter_is_denied_on_hardware),
		cmocka_unit_test(the_time_stamp_counter_can_be_allowed),
		cmocka_unit_test(software_interrupts_do_nothing_but_fault),
		cmocka_unit_test(the_syscall_instruction_breaks_the_protocol),
		cmocka_unit_test(selectors_of_system_segments_cannot_be_loaded),
		cmocka_unit_test(single_stepping_is_a_debug_exception),
		cmocka_unit_test(alignment_checks_do_nothing_or_fault),
		cmocka_unit_test(unmasked_floating_point_exceptions_are_faults),
		cmocka_unit_test(aborts_arrive_with_code_and_message),
		cmocka_unit_test(unprintable_abort_messages_are_made_printable),
		cmocka_unit_test(over_long_abort_messages_are_cut),
		cmocka_unit_test(assertions_and_plain_aborts_say_what_they_are),
		cmocka_unit_test(an_exhausted_heap_gives_null_and_no_fault),
		cmocka_unit_test(a_misused_heap_aborts),
		cmocka_unit_test(a_fault_is_told_only_while_it_lasts),
		cmocka_unit_test(a_poisoned_sandbox_says_why_when_called),
		cmocka_unit_test(a_thousand_faults_leak_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guests that break the calling protocol in every way they can: each ends with a precise error of its
 * own sandbox, and nothing else happens.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "abi/function.h"
#include "function/sandbox.h"

static const uint64_t wild[] = {
	0, /* null */
	1,
	0x1000,
	FN_GATE_VA - 1,
	FN_SUPERVISOR_VA, /* ring 0's */
	FN_SUPERVISOR_VA + 0x2000,
	0x7fff0000,
	(uint64_t)1 << 40,
	(uint64_t)1 << 47,
	0x00007fffffffffff,
	0xffff800000000000,
	UINT64_MAX - 4095,
	UINT64_MAX,
	(uint64_t)1 << 63,
};

static unsigned sunk;

static int sink(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		mayfly_value *result, mayfly_error *err)
{
	const uint8_t *p = args[1].as.bytes.data;
	uint64_t sum = args[2].as.u64;

	(void)context;
	(void)sb;
	(void)err;
	assert_int_equal(nargs, 3);
	assert_int_equal(strlen(args[0].as.string.data), args[0].as.string.len);
	/* All of what it is given can be read. */
	for (size_t i = 0; i < args[1].as.bytes.len; i += 512)
		sum += p[i];
	if (args[1].as.bytes.len)
		sum += p[args[1].as.bytes.len - 1];
	sunk++;
	result->as.u64 = sum;
	return 0;
}

static int again(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		 mayfly_value *result, mayfly_error *err)
{
	struct box *b = context;
	const mayfly_function *fn;
	int r = mayfly_snapshot_function(b->snap, "again", &fn, err);

	return r < 0 ? r : mayfly_sandbox_call(sb, fn, args, nargs, result, err);
}

static void swallow(void *context, const char *text, size_t len)
{
	uint64_t *sum = context;

	for (size_t i = 0; i < len; i += 256)
		*sum += (uint8_t)text[i];
}

static uint64_t printed;

static struct box open_hostile(const char *guest, uint64_t timeout_ns)
{
	static const mayfly_host_function f = {"host_sink", "u64(string,bytes,u64)", sink,
					       NULL};
	mayfly_sandbox_options o = MAYFLY_SANDBOX_OPTIONS_INIT;

	o.host_functions = &f;
	o.host_function_count = 1;
	o.print = swallow;
	o.print_context = &printed;
	o.timeout_ns = timeout_ns;
	return box_open(guest, &o);
}

static mayfly_fault check_protocol(struct box *b, const char *text)
{
	mayfly_fault f =
		assert_poisoned(b, MAYFLY_E_PROTOCOL, MAYFLY_FAULT_PROTOCOL, 0, "heap_start");

	assert_contains(f.message, "broke the calling protocol");
	assert_contains(f.message, text);
	return f;
}

/* --- requests -------------------------------------------------------------------------------- */

static void unknown_requests_break_the_protocol(void **state)
{
	static const uint32_t ops[] = {7,	8,	    255,	256,
				       0x10000, 0x7fffffff, 0x80000000, UINT32_MAX};
	struct box b = open_hostile("hostile", 0);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(ops); i++) {
		call(&b, "raw_leave", mayfly_u32(ops[i]), mayfly_u64(0), mayfly_u64(0),
		     mayfly_u64(0));
		check_protocol(&b, "unknown request");
	}
	/* To say that it is ready is no answer to a call. */
	call(&b, "raw_leave", mayfly_u32(FN_OP_READY), mayfly_u64(0), mayfly_u64(0),
	     mayfly_u64(0));
	check_protocol(&b, "unknown request 0");
	box_close(&b);
}

static void host_calls_by_wild_notes_break_the_protocol(void **state)
{
	struct box b = open_hostile("hostile", 0);
	uint64_t note = must(&b, "note_address").as.u64;

	(void)state;
	assert_int_equal(must(&b, "raw_hostcall", mayfly_u64(note),
			      mayfly_u64(FN_CALL_VA + 0xff8), mayfly_u64(0), mayfly_u64(0))
				 .as.u64,
			 0);
	for (size_t i = 0; i < COUNT_OF(wild); i++) {
		call(&b, "raw_hostcall", mayfly_u64(wild[i]), mayfly_u64(0), mayfly_u64(0),
		     mayfly_u64(0));
		check_protocol(&b, "which is no import");
	}
	for (int64_t off = -16; off <= 16; off += 4) {
		if (!off)
			continue;
		call(&b, "raw_hostcall", mayfly_u64(note + (uint64_t)off), mayfly_u64(0),
		     mayfly_u64(0), mayfly_u64(0));
		check_protocol(&b, "which is no import");
	}
	box_close(&b);
}

static void wild_arguments_of_host_functions_break_the_protocol(void **state)
{
	struct box b = open_hostile("hostile", 0);
	uint64_t note = must(&b, "note_address").as.u64;
	uint64_t text = FN_CALL_VA + 0xff8; /* zeros */

	(void)state;
	sunk = 0;
	for (size_t i = 0; i < COUNT_OF(wild); i++) {
		mayfly_fault f;

		call(&b, "raw_hostcall", mayfly_u64(note), mayfly_u64(wild[i]), mayfly_u64(0),
		     mayfly_u64(0));
		f = check_protocol(&b, "argument 1 of host function host_sink");
		assert_contains(f.message, "string");
		call(&b, "raw_hostcall", mayfly_u64(note), mayfly_u64(text),
		     mayfly_u64(wild[i]), mayfly_u64(8));
		f = check_protocol(&b, "argument 2 of host function host_sink");
		assert_contains(f.message, "8 bytes");
		/* A good address, but a wild length. */
		if (wild[i] > 0x1000) {
			call(&b, "raw_hostcall", mayfly_u64(note), mayfly_u64(text),
			     mayfly_u64(FN_CALL_VA), mayfly_u64(wild[i]));
			check_protocol(&b, "argument 2");
		}
		/* Nothing of nothing is fine wherever it lies. */
		must(&b, "raw_hostcall", mayfly_u64(note), mayfly_u64(text),
		     mayfly_u64(wild[i]), mayfly_u64(0));
	}
	assert_int_equal(sunk, COUNT_OF(wild));
	box_close(&b);
}

static void wild_texts_to_print_break_the_protocol(void **state)
{
	struct box b = open_hostile("hostile", 0);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(wild); i++) {
		call(&b, "raw_leave", mayfly_u32(FN_OP_PRINT), mayfly_u64(wild[i]),
		     mayfly_u64(8), mayfly_u64(0));
		check_protocol(&b, "printed");
		if (wild[i] <= 0x1000)
			continue;
		call(&b, "raw_leave", mayfly_u32(FN_OP_PRINT), mayfly_u64(FN_CALL_VA),
		     mayfly_u64(wild[i]), mayfly_u64(0));
		check_protocol(&b, "printed");
	}
	/* The gate's code and the state page may be read, hence printed. */
	must(&b, "raw_leave", mayfly_u32(FN_OP_PRINT), mayfly_u64(FN_GATE_VA), mayfly_u64(4096),
	     mayfly_u64(0));
	must(&b, "raw_leave", mayfly_u32(FN_OP_PRINT), mayfly_u64(FN_FRESH_VA),
	     mayfly_u64(4096), mayfly_u64(0));
	box_close(&b);
}

static void too_many_random_bytes_break_the_protocol(void **state)
{
	static const uint64_t lengths[] = {FN_MAX_RANDOM + 1, 1 << 20, UINT64_MAX,
					   (uint64_t)1 << 63};
	struct box b = open_hostile("hostile", 0);

	(void)state;
	must(&b, "raw_leave", mayfly_u32(FN_OP_RANDOM), mayfly_u64(FN_MAX_RANDOM),
	     mayfly_u64(0), mayfly_u64(0));
	for (size_t i = 0; i < COUNT_OF(lengths); i++) {
		call(&b, "raw_leave", mayfly_u32(FN_OP_RANDOM), mayfly_u64(lengths[i]),
		     mayfly_u64(0), mayfly_u64(0));
		check_protocol(&b, "random bytes");
	}
	box_close(&b);
}

static void aborts_with_wild_messages_are_aborts(void **state)
{
	struct box b = open_hostile("hostile", 0);
	mayfly_fault f;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(wild); i++) {
		call(&b, "raw_leave", mayfly_u32(FN_OP_ABORT), mayfly_u64(5),
		     mayfly_u64(wild[i]), mayfly_u64(100));
		f = assert_poisoned(&b, MAYFLY_E_ABORT, MAYFLY_FAULT_ABORT, 0, "heap_start");
		assert_int_equal(f.abort_code, 5);
		assert_string_equal(f.message, "");
		/* As much as there is of an endless one. */
		call(&b, "raw_leave", mayfly_u32(FN_OP_ABORT), mayfly_u64(UINT64_MAX),
		     mayfly_u64(FN_CALL_VA + 4000), mayfly_u64(wild[i] | 1 << 20));
		f = assert_poisoned(&b, MAYFLY_E_ABORT, MAYFLY_FAULT_ABORT, 0, "heap_start");
		assert_int_equal(f.abort_code, -1);
		assert_contains(f.message, "\\x00");
	}
	box_close(&b);
}

/* --- results --------------------------------------------------------------------------------- */

static void wild_results_break_the_protocol(void **state)
{
	struct box b = open_hostile("hostile", 0);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(wild); i++) {
		call(&b, "string_at", mayfly_u64(wild[i]));
		check_protocol(&b, "string_at gave a string");
		call(&b, "bytes_at", mayfly_u64(wild[i]), mayfly_u64(1));
		check_protocol(&b, "bytes_at gave 1 bytes");
		assert_int_equal(
			must(&b, "bytes_at", mayfly_u64(wild[i]), mayfly_u64(0)).as.bytes.len,
			0);
		if (wild[i] <= 0x1000)
			continue;
		call(&b, "bytes_at", mayfly_u64(FN_CALL_VA), mayfly_u64(wild[i]));
		check_protocol(&b, "not lie in readable memory");
	}
	/* Up to the last byte of a region, and one more. */
	must(&b, "bytes_at", mayfly_u64(FN_CALL_VA), mayfly_u64(4096));
	call(&b, "bytes_at", mayfly_u64(FN_CALL_VA), mayfly_u64(4097));
	check_protocol(&b, "not lie in readable memory");
	call(&b, "unterminated_string");
	check_protocol(&b, "does not end");
	box_close(&b);
}

/* --- leaving by other ways ------------------------------------------------------------------- */

static void leaving_without_the_gate_is_as_leaving_by_it(void **state)
{
	struct box b = open_hostile("hostile", 0);
	uint64_t heap = must(&b, "heap_start").as.u64;

	(void)state;
	for (int i = 0; i < 3; i++) {
		must(&b, "raw_out8", mayfly_u32(FN_OP_RESULT));
		/* It waits in its own code now; the next call is that code's to answer, or not. */
		call(&b, "heap_start");
		box_restore(&b);
		assert_true(must(&b, "heap_start").as.u64 == heap);
		/* Four ports wide, of which one is allowed. */
		call(&b, "raw_out32", mayfly_u32(FN_OP_RESULT));
		assert_poisoned(&b, MAYFLY_E_FAULT, MAYFLY_FAULT_EXCEPTION, VECTOR_PROTECTION,
				"heap_start");
	}
	box_close(&b);
}

/* Whichever way a port is used: an error or an answer; then a restore, and all is as before. */
static void check_after_port(struct box *b, const char *function, uint64_t count)
{
	uint64_t seen = 0;

	call(b, function, mayfly_u64(count));
	if (b->code != 0 && b->code != MAYFLY_E_FAULT && b->code != MAYFLY_E_PROTOCOL)
		fail_test("%s gave %d: %s", function, b->code, b->err.message);
	for (int i = 0; i < 3; i++) {
		const uint64_t *p = (const uint64_t *)(const void *)b->sb->inst.gm.private_mem;

		box_restore(b);
		/* What the instruction had under way must not come to its end now. */
		if (call(b, "alive") < 0)
			fail_test("after %s (%llu) and a restore: %s", function,
				  (unsigned long long)count, b->err.message);
		if (b->result.as.u64 != 0x600d)
			fail_test("after %s (%llu) and a restore: 0x%llx", function,
				  (unsigned long long)count,
				  (unsigned long long)b->result.as.u64);
		for (size_t at = 0; at < b->sb->inst.guest->map.private_len / 8; at++)
			seen += p[at] == UINT64_C(0x5ec3e75ec3e75ec3);
		assert_int_equal(seen, 0);
	}
}

static void port_instructions_of_each_kind_leave_nothing_behind(void **state)
{
	static const char *const functions[] = {"in8",	     "in16",	  "in32",      "ins8",
						"ins32",     "rep_ins8",  "rep_ins32", "outs8",
						"rep_outs8", "rep_outs32"};
	static const uint64_t counts[] = {0, 1, 2, 100, 1024};
	struct box b = open_hostile("rogue", AGES);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(functions); i++)
		for (size_t j = 0; j < COUNT_OF(counts); j++)
			check_after_port(&b, functions[i], counts[j]);
	box_close(&b);
}

static void jumps_into_the_gate_do_no_harm(void **state)
{
	struct box b = open_hostile("hostile", (in_lab() ? 300 : 20) * MS);
	uint64_t heap = must(&b, "heap_start").as.u64;
	uint64_t step = in_lab() ? 211 : 61;

	(void)state;
	for (uint64_t off = 0; off < 4096;) {
		/* Each byte of the code, some of what lies between. */
		bool code = off < 0x140 || (off & ~UINT64_C(0x1f)) == 0x400 ||
			    (off & ~UINT64_C(0x1f)) == 0x800;

		call(&b, "jump_to", mayfly_u64(FN_GATE_VA + off));
		if (b.code != MAYFLY_OK && b.code != MAYFLY_E_FAULT &&
		    b.code != MAYFLY_E_PROTOCOL && b.code != MAYFLY_E_TIMEOUT)
			fail_test("offset 0x%llx gave %d: %s", (unsigned long long)off, b.code,
				  b.err.message);
		box_restore(&b);
		assert_true(must(&b, "heap_start").as.u64 == heap);
		off += code ? 1 : step;
	}
	box_close(&b);
}

static void syscall_with_any_flags_and_stack_does_no_harm(void **state)
{
	static const uint64_t flags[] = {0, 0x100, 0x400, 0x4000, 0x40000, 0x200000, 0x244fd5};
	static const uint64_t stacks[] = {0,
					  0x1000,
					  FN_SUPERVISOR_VA,
					  FN_SUPERVISOR_VA + 0x800,
					  FN_SUPERVISOR_VA + 0x3000,
					  FN_GATE_VA + 0x800,
					  FN_FRESH_VA + 0x800,
					  0x8000000000000000,
					  UINT64_MAX,
					  FN_CALL_VA + 0x1000};
	struct box b = open_hostile("rogue", AGES);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(flags); i++) {
		call(&b, "syscall_with_flags", mayfly_u64(flags[i]));
		assert_true(b.code == MAYFLY_E_PROTOCOL || b.code == MAYFLY_E_FAULT);
		box_restore(&b);
		assert_int_equal(must(&b, "alive").as.u64, 0x600d);
	}
	for (size_t i = 0; i < COUNT_OF(stacks) * 2; i++) {
		const char *function =
			i % 2 ? "syscall_with_stack_at" : "stepped_syscall_with_stack_at";

		call(&b, function, mayfly_u64(stacks[i / 2]));
		if (b.code != MAYFLY_E_PROTOCOL && b.code != MAYFLY_E_FAULT)
			fail_test("%s 0x%llx gave %d: %s", function,
				  (unsigned long long)stacks[i / 2], b.code, b.err.message);
		box_restore(&b);
		assert_int_equal(must(&b, "alive").as.u64, 0x600d);
	}
	/* What ring 0 runs by is as it was. */
	call(&b, "syscall_with_flags", mayfly_u64(0));
	assert_poisoned(&b, MAYFLY_E_PROTOCOL, MAYFLY_FAULT_PROTOCOL, 0, "alive");
	box_close(&b);
}

/* --- the whole block ------------------------------------------------------------------------- */

/* A block with rubbish in it, or with fields that are nearly right. */
static void make_block(struct fn_call *block, uint64_t *random, uint64_t note)
{
	uint64_t *words = (uint64_t *)block;
	uint64_t kind = random_next(random) % 4;

	for (size_t i = 0; i < sizeof(*block) / 8; i++)
		words[i] = kind == 0   ? random_next(random)
			   : kind == 1 ? wild[i % COUNT_OF(wild)]
				       : 0;
	if (kind == 0)
		return;
	block->op = (uint32_t)(random_next(random) % 8);
	if (random_next(random) % 4)
		block->turn = 0; /* the mailbox stays as it is */
	block->reply = (uint16_t)(random_next(random) % 4);
	block->arg[0] = random_next(random) % 2 ? wild[random_next(random) % COUNT_OF(wild)]
						: random_next(random) % 5000;
	for (size_t i = 1; i < COUNT_OF(block->arg); i++)
		block->arg[i] =
			random_next(random) % 2	  ? wild[random_next(random) % COUNT_OF(wild)]
			: random_next(random) % 2 ? FN_CALL_VA + random_next(random) % 4200
						  : random_next(random) % 5000;
	block->nstack = (uint16_t)(random_next(random) % 2 ? random_next(random)
							   : random_next(random) % 300);
	if (block->op == FN_OP_HOSTCALL && random_next(random) % 4)
		block->arg[0] = note;
}

static void call_blocks_of_any_content_do_no_harm(void **state)
{
	struct box b = open_hostile("rogue", (in_lab() ? 300 : 20) * MS);
	struct box bystander = box_of(mayfly_snapshot_ref(b.snap), NULL);
	uint64_t note = must(&b, "note_of_sink").as.u64, random = 99;
	unsigned codes[32] = {0}, rounds = in_lab() ? 200 : 3000;

	(void)state;
	sunk = 0;
	for (unsigned i = 0; i < rounds; i++) {
		struct fn_call block;

		make_block(&block, &random, note);
		call(&b, "leave_with", mayfly_bytes_of(&block, sizeof(block)));
		switch (b.code) {
		case MAYFLY_OK:
		case MAYFLY_E_PROTOCOL:
		case MAYFLY_E_ABORT:
		case MAYFLY_E_FAULT:
		case MAYFLY_E_TIMEOUT:
			codes[-b.code]++;
			break;
		default:
			fail_test("round %u gave %d: %s", i, b.code, b.err.message);
		}
		/* Now and then go on with what is left of it. */
		if (b.code || i % 3) {
			box_restore(&b);
			assert_int_equal(must(&b, "alive").as.u64, 0x600d);
		}
	}
	/* Each of those happens, given the rounds. */
	assert_true(codes[0] && codes[-MAYFLY_E_PROTOCOL]);
	assert_true(in_lab() || (codes[-MAYFLY_E_ABORT] && sunk));
	assert_int_equal(must(&bystander, "alive").as.u64, 0x600d);
	box_close(&bystander);
	box_close(&b);
}

static void a_scribbled_call_block_does_no_harm(void **state)
{
	struct box b = open_hostile("hostile", AGES);
	/* The mailbox is a part of it, and is noticed there and then, or at the next call. */
	bool hot = dispatch_under_test() == MAYFLY_DISPATCH_HOT;

	(void)state;
	for (uint32_t byte = 0; byte < 256; byte += 15) {
		/* Returns as if nothing had happened: the gate then writes its result. */
		call(&b, "scribble_call_block", mayfly_u32(byte));
		if (!hot || b.code != MAYFLY_E_PROTOCOL) {
			assert_ok(b.code, &b.err);
			call(&b, "heap_start");
			assert_code(b.code, hot ? MAYFLY_E_PROTOCOL : MAYFLY_OK, &b.err);
		}
		box_restore(&b);
		call(&b, "scribble_and_leave", mayfly_u32(byte));
		if (hot)
			assert_code(b.code, MAYFLY_E_PROTOCOL, &b.err);
		else
			check_protocol(&b, byte ? "unknown request" : "unknown request 0");
		box_restore(&b);
	}
	box_close(&b);
}

static void lies_about_the_end_of_nested_calls_do_no_harm(void **state)
{
	struct box b = open_hostile("rogue", AGES);
	mayfly_host_function f = {"host_again", "u64(u64)", again, &b};

	(void)state;
	assert_ok(mayfly_sandbox_register(b.sb, &f, &b.err), &b.err);
	assert_int_equal(must(&b, "again", mayfly_u64(5)).as.u64, 5);
	for (uint64_t op = 0; op < 8; op++) {
		call(&b, "claim_result", mayfly_u64(op));
		assert_true(b.code == 0 || b.code == MAYFLY_E_PROTOCOL ||
			    b.code == MAYFLY_E_ABORT || b.code == MAYFLY_E_FAULT);
		call(&b, "again", mayfly_u64(3));
		box_restore(&b);
		assert_int_equal(must(&b, "again", mayfly_u64(5)).as.u64, 5);
	}
	box_close(&b);
}

/* --- all that is writable -------------------------------------------------------------------- */

static void a_guest_that_writes_over_all_it_can_harms_nobody(void **state)
{
	mayfly_sandbox_options o = MAYFLY_SANDBOX_OPTIONS_INIT;
	struct box b, bystander;

	(void)state;
	o.timeout_ns = AGES;
	b = box_open("scribble", &o);
	bystander = box_of(mayfly_snapshot_ref(b.snap), NULL);
	for (uint64_t seed = 1; seed < 4; seed++) {
		const struct gmem_map *map = &b.sb->inst.guest->map;

		for (uint32_t i = 0; i < map->count; i++) {
			const struct gmem_region *r = &map->regions[i];

			/* From below to beyond: the ends fault, if the stack is not already gone. */
			call(&b, "scribble", mayfly_u64(r->va), mayfly_u64(r->va + r->len),
			     mayfly_u64(seed));
			if (!(r->prot & GMEM_WRITE))
				assert_code(b.code, MAYFLY_E_FAULT, &b.err);
			else
				assert_true(b.code == 0 || b.code == MAYFLY_E_FAULT ||
					    b.code == MAYFLY_E_PROTOCOL ||
					    b.code == MAYFLY_E_ABORT);
			if (seed == 2 && b.code == 0)
				continue; /* on top of each other */
			assert_int_equal(must(&bystander, "alive").as.u64, 0x600d);
			box_restore(&b);
			assert_int_equal(must(&b, "alive").as.u64, 0x600d);
		}
		box_restore(&b);
		assert_int_equal(must(&b, "alive").as.u64, 0x600d);
		/* The tables and ring 0's pages are as they were made. */
		assert_memory_equal(b.sb->inst.gm.private_mem, b.sb->inst.guest->tables,
				    b.sb->inst.guest->tables_len);
	}
	box_close(&bystander);
	box_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unknown_requests_break_the_protocol),
		cmocka_unit_test(host_calls_by_wild_notes_break_the_protocol),
		cmocka_unit_test(wild_arguments_of_host_functions_break_the_protocol),
		cmocka_unit_test(wild_texts_to_print_break_the_protocol),
		cmocka_unit_test(too_many_random_bytes_break_the_protocol),
		cmocka_unit_test(aborts_with_wild_messages_are_aborts),
		cmocka_unit_test(wild_results_break_the_protocol),
		cmocka_unit_test(leaving_without_the_gate_is_as_leaving_by_it),
		cmocka_unit_test(port_instructions_of_each_kind_leave_nothing_behind),
		cmocka_unit_test(jumps_into_the_gate_do_no_harm),
		cmocka_unit_test(syscall_with_any_flags_and_stack_does_no_harm),
		cmocka_unit_test(call_blocks_of_any_content_do_no_harm),
		cmocka_unit_test(a_scribbled_call_block_does_no_harm),
		cmocka_unit_test(lies_about_the_end_of_nested_calls_do_no_harm),
		cmocka_unit_test(a_guest_that_writes_over_all_it_can_harms_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* How the guest library speaks to the host: imports, exports, random bytes, aborts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <elf.h>
#include <link.h>

#include "guest_host.h"

MAYFLY_IMPORT(host_nothing, void);
MAYFLY_IMPORT(host_bool, bool, bool);
MAYFLY_IMPORT(host_i32, i32, i32);
MAYFLY_IMPORT(host_u32, u32, u32);
MAYFLY_IMPORT(host_i64, i64, i64);
MAYFLY_IMPORT(host_u64, u64, u64);
MAYFLY_IMPORT(host_f32, f32, f32);
MAYFLY_IMPORT(host_f64, f64, f64);
MAYFLY_IMPORT(host_string, string, string);
MAYFLY_IMPORT(host_bytes, bytes, bytes);
MAYFLY_IMPORT(host_all, void, bytes, bool, f32, string, i32, u32, bytes, f64, i64, u64, bytes,
	      bytes, bool, f64, string, bytes);
MAYFLY_IMPORT(host_unused, void, i32);

static mayfly_bytes exported(bool a, int32_t b, uint32_t c, int64_t d, uint64_t e, float f,
			     double g, const char *h, mayfly_bytes i)
{
	(void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
	return i;
}
MAYFLY_EXPORT(exported, bytes, bool, i32, u32, i64, u64, f32, f64, string, bytes);

static void exported_too(void)
{
}
MAYFLY_EXPORT(exported_too, void);

static int setup(void **state)
{
	(void)state;
	guest_host_reset();
	return 0;
}

/* Gives back the first two slots. */
static void echo(struct fn_call *call)
{
	call->ret[0] = guest_host.slots[0];
	call->ret[1] = guest_host.slots[1];
}

/* --- host functions ----------------------------------------------------------------------- */

static void values_cross_to_the_host_and_back(void **state)
{
	const char *text = "text";
	mayfly_bytes bytes = {text, 3}, back;

	(void)state;
	guest_host.host_function = echo;
	assert_true(host_bool(true));
	assert_int_equal(guest_host.slots[0], 1);
	assert_false(host_bool(false));
	assert_int_equal(host_i32(INT32_MIN), INT32_MIN);
	assert_true(guest_host.slots[0] == UINT64_C(0xffffffff80000000));
	assert_int_equal(host_u32(UINT32_MAX), UINT32_MAX);
	assert_true(guest_host.slots[0] == UINT32_MAX);
	assert_true(host_i64(INT64_MIN) == INT64_MIN);
	assert_true(host_u64(UINT64_MAX) == UINT64_MAX);
	assert_ptr_equal(host_string(text), text);
	back = host_bytes(bytes);
	assert_ptr_equal(back.data, text);
	assert_int_equal(back.len, 3);
	assert_int_equal(guest_host.slots[1], 3);
	host_nothing();
}

static void floating_point_keeps_every_bit(void **state)
{
	static const uint32_t singles[] = {0x80000000, 0x7fa00001, 0xffc12345, 1, 0x7f800000};
	static const uint64_t doubles[] = {UINT64_C(1) << 63, UINT64_C(0x7ff4000000000001),
					   UINT64_C(0xfff8123456789abc), 1};

	(void)state;
	guest_host.host_function = echo;
	for (size_t i = 0; i < sizeof(singles) / sizeof(singles[0]); i++) {
		float v;
		uint32_t bits;

		memcpy(&v, &singles[i], sizeof(v));
		v = host_f32(v);
		memcpy(&bits, &v, sizeof(v));
		assert_int_equal(bits, singles[i]);
		assert_true(guest_host.slots[0] == singles[i]);
	}
	for (size_t i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++) {
		double v;
		uint64_t bits;

		memcpy(&v, &doubles[i], sizeof(v));
		v = host_f64(v);
		memcpy(&bits, &v, sizeof(v));
		assert_true(bits == doubles[i]);
		assert_true(guest_host.slots[0] == doubles[i]);
	}
}

static void sixteen_arguments_keep_their_order(void **state)
{
	static const char data[8];
	mayfly_bytes b[5] = {
		{data, 1}, {data + 1, 2}, {data + 2, 3}, {data + 3, 4}, {data + 4, 5}};
	const uint64_t want[] = {(uintptr_t)data,
				 1,
				 1,
				 0x3fc00000,
				 (uintptr_t) "s",
				 UINT64_MAX,
				 7,
				 (uintptr_t)data + 1,
				 2,
				 UINT64_C(0x4004000000000000),
				 UINT64_MAX - 1,
				 9,
				 (uintptr_t)data + 2,
				 3,
				 (uintptr_t)data + 3,
				 4,
				 0,
				 UINT64_C(0xbff0000000000000),
				 (uintptr_t)data + 5,
				 (uintptr_t)data + 4,
				 5};

	(void)state;
	host_all(b[0], true, 1.5f, (const char *)(uintptr_t)want[4], -1, 7, b[1], 2.5, -2, 9,
		 b[2], b[3], false, -1.0, data + 5, b[4]);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
		assert_true(guest_host.slots[i] == want[i]);
}

static void fail_with_text(struct fn_call *call)
{
	call->failed = 1;
	call->ret[0] = call->ret[1] = 12345; /* not to be taken for a result */
	snprintf(call->error, sizeof(call->error), "no such thing");
}

static void failed_host_function_gives_zero_and_its_message(void **state)
{
	mayfly_bytes bytes;

	(void)state;
	assert_null(mayfly_host_error());
	guest_host.host_function = fail_with_text;
	assert_int_equal(host_i64(5), 0);
	assert_string_equal(mayfly_host_error(), "no such thing");
	assert_null(host_string("x"));
	bytes = host_bytes((mayfly_bytes){"x", 1});
	assert_null(bytes.data);
	assert_int_equal(bytes.len, 0);
	/* A later call overwrites the call block, not the message. */
	memset(guest_test_call_block.error, 'z', sizeof(guest_test_call_block.error));
	assert_string_equal(mayfly_host_error(), "no such thing");
	guest_host.host_function = echo;
	assert_int_equal(host_i64(5), 5);
	assert_null(mayfly_host_error());
}

static void fail_without_terminator(struct fn_call *call)
{
	call->failed = 1;
	memset(call->error, 'e', sizeof(call->error));
}

static void fail_without_text(struct fn_call *call)
{
	call->failed = 1;
	call->error[0] = '\0';
}

static void host_error_text_is_bounded_and_never_empty(void **state)
{
	(void)state;
	guest_host.host_function = fail_without_terminator;
	host_nothing();
	assert_int_equal(strlen(mayfly_host_error()), FN_ERROR_SIZE - 1);
	guest_host.host_function = fail_without_text;
	host_nothing();
	assert_string_equal(mayfly_host_error(), "the host function failed");
	guest_host.host_function = echo;
	host_nothing();
	assert_null(mayfly_host_error());
}

/* --- notes -------------------------------------------------------------------------------- */

struct found {
	int abi, exports, imports;
	const void *exported_va, *exported_too_va;
	const void *import_all;
	bool unused;
};

static const Elf64_Nhdr *take_note(const Elf64_Nhdr *note, struct found *found)
{
	const char *name = (const char *)(note + 1);
	const char *desc = name + ((note->n_namesz + 3) & ~3u);
	const char *text = desc + 8;
	int64_t offset;

	if (note->n_namesz == sizeof(FN_NOTE_NAME) && !strcmp(name, FN_NOTE_NAME)) {
		const char *signature = text + strlen(text) + 1;

		memcpy(&offset, desc, sizeof(offset));
		if (note->n_type == FN_NOTE_ABI)
			found->abi++;
		if (note->n_type == FN_NOTE_EXPORT && !strcmp(text, "exported") &&
		    !strcmp(signature, "bytes(bool,i32,u32,i64,u64,f32,f64,string,bytes)"))
			found->exported_va = desc + offset;
		if (note->n_type == FN_NOTE_EXPORT && !strcmp(text, "exported_too") &&
		    !strcmp(signature, "void()"))
			found->exported_too_va = desc + offset;
		if (note->n_type == FN_NOTE_IMPORT && !strcmp(text, "host_all") && !offset &&
		    !strcmp(signature,
			    "void(bytes,bool,f32,string,i32,u32,bytes,f64,i64,u64,bytes,"
			    "bytes,bool,f64,string,bytes)"))
			found->import_all = desc;
		if (note->n_type == FN_NOTE_IMPORT && !strcmp(text, "host_unused"))
			found->unused = true;
	}
	return (const Elf64_Nhdr *)(const void *)(desc + ((note->n_descsz + 3) & ~3u));
}

/* The program itself comes first: look at its notes, and at no other object's. */
static int walk_own_notes(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const Elf64_Phdr *ph = &info->dlpi_phdr[i];
		const char *end = (const char *)(info->dlpi_addr + ph->p_vaddr + ph->p_memsz);
		const Elf64_Nhdr *note = (const void *)(info->dlpi_addr + ph->p_vaddr);

		while (ph->p_type == PT_NOTE && ph->p_align == 4 && (const char *)note < end)
			note = take_note(note, context);
	}
	return 1;
}

static void notes_declare_exports_and_imports(void **state)
{
	struct found found = {0};

	(void)state;
	dl_iterate_phdr(walk_own_notes, &found);
	assert_true(found.abi >= 1);
	assert_ptr_equal(found.exported_va, (const void *)(uintptr_t)exported);
	assert_ptr_equal(found.exported_too_va, (const void *)(uintptr_t)exported_too);
	assert_non_null(found.import_all);
	host_all((mayfly_bytes){0}, 0, 0, "", 0, 0, (mayfly_bytes){0}, 0, 0, 0,
		 (mayfly_bytes){0}, (mayfly_bytes){0}, 0, 0, "", (mayfly_bytes){0});
	assert_ptr_equal(guest_host.import, found.import_all);
#ifdef __OPTIMIZE__
	assert_false(found.unused);
#endif
}

/* --- randomness --------------------------------------------------------------------------- */

static void random_bytes_come_in_pieces_the_host_accepts(void **state)
{
	static unsigned char buffer[2 * FN_MAX_RANDOM + 12];

	(void)state;
	mayfly_random(buffer, 0);
	assert_int_equal(guest_host.exits, 0);
	mayfly_random(buffer, sizeof(buffer) - 2);
	assert_int_equal(guest_host.random_calls, 3);
	assert_int_equal(buffer[0], 1);
	assert_int_equal(buffer[FN_MAX_RANDOM], 2);
	assert_int_equal(buffer[sizeof(buffer) - 3], 3);
	assert_int_equal(buffer[sizeof(buffer) - 2], 0);
	/* Nothing of them stays where they crossed. */
	for (size_t i = 0; i < FN_MAX_RANDOM / 8; i++)
		assert_int_equal(guest_test_call_block.stack[i], 0);
}

static void generation_is_the_hosts(void **state)
{
	(void)state;
	guest_test_call_block.generation = 42;
	assert_int_equal(mayfly_generation(), 42);
	guest_test_call_block.generation = UINT64_MAX;
	assert_true(mayfly_generation() == UINT64_MAX);
}

/* --- aborts ------------------------------------------------------------------------------- */

static void abort_hands_over_code_and_message(void **state)
{
	(void)state;
	assert_true(ABORTS(mayfly_abort(-77, "cannot %s %d", "count", 5)));
	assert_int_equal(guest_host.abort_code, -77);
	assert_string_equal(guest_host.abort_message, "cannot count 5");
	assert_true(ABORTS(guest_abort()));
	assert_int_equal(guest_host.abort_code, MAYFLY_ABORT_CALLED);
}

static void over_long_abort_message_is_cut(void **state)
{
	(void)state;
	assert_true(ABORTS(mayfly_abort(1, "%05000d", 7)));
	assert_int_equal(strlen(guest_host.abort_message), 2047);
}

static void abort_with_a_refused_format_hands_over_what_there_is(void **state)
{
	const char *volatile format = "so far %k";

	(void)state;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
	assert_true(ABORTS(mayfly_abort(2, format)));
#pragma GCC diagnostic pop
	assert_int_equal(guest_host.abort_code, 2);
	assert_string_equal(guest_host.abort_message, "so far ");
}

static void failed_assertion_names_its_place(void **state)
{
	volatile int one = 1;
	char want[600];
	volatile int line = 0;

	(void)state;
	mayfly_assert(one == 1);
	assert_true(ABORTS(line = __LINE__; mayfly_assert(one == 2)));
	snprintf(want, sizeof(want),
		 "%s:%d: failed_assertion_names_its_place: assertion `one == 2' failed",
		 __FILE__, line);
	assert_int_equal(guest_host.abort_code, MAYFLY_ABORT_ASSERTION);
	assert_string_equal(guest_host.abort_message, want);
	assert_true(ABORTS(guest_assert_fail("x > 0", "file.c", 12, "f")));
	assert_string_equal(guest_host.abort_message, "file.c:12: f: assertion `x > 0' failed");
}

static void stack_protector_has_a_code_of_its_own(void **state)
{
	(void)state;
	assert_true(ABORTS(guest_stack_chk_fail()));
	assert_int_equal(guest_host.abort_code, MAYFLY_ABORT_STACK);
	assert_non_null(strstr(guest_host.abort_message, "stack smashing detected"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(values_cross_to_the_host_and_back, setup),
		cmocka_unit_test_setup(floating_point_keeps_every_bit, setup),
		cmocka_unit_test_setup(sixteen_arguments_keep_their_order, setup),
		cmocka_unit_test_setup(failed_host_function_gives_zero_and_its_message, setup),
		cmocka_unit_test_setup(host_error_text_is_bounded_and_never_empty, setup),
		cmocka_unit_test_setup(notes_declare_exports_and_imports, setup),
		cmocka_unit_test_setup(random_bytes_come_in_pieces_the_host_accepts, setup),
		cmocka_unit_test_setup(generation_is_the_hosts, setup),
		cmocka_unit_test_setup(abort_hands_over_code_and_message, setup),
		cmocka_unit_test_setup(over_long_abort_message_is_cut, setup),
		cmocka_unit_test_setup(abort_with_a_refused_format_hands_over_what_there_is,
				       setup),
		cmocka_unit_test_setup(failed_assertion_names_its_place, setup),
		cmocka_unit_test_setup(stack_protector_has_a_code_of_its_own, setup),
	};

	return cmocka_run_group_tests_name("guest and host", tests, NULL, NULL);
}

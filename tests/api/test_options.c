/* SPDX-License-Identifier: Apache-2.0 */
/* Option structures of every size, null pointers, limits of options, names of codes and types. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Longer than any structure of this version. */
struct later {
	uint64_t words[300];
};

static void *zeroed_with_size(size_t size)
{
	struct later *l = calloc(1, sizeof(*l) > size ? sizeof(*l) : size);

	assert_non_null(l);
	memcpy(l, &size, sizeof(size));
	return l;
}

/* --- sizes ----------------------------------------------------------------------------------- */

/* Try a structure with `size`; of it only the size is set, and the byte `at` where that is not 0. */
typedef int (*try_fn)(mayfly_snapshot *snap, void *options, mayfly_error *err);

static int try_load(mayfly_snapshot *snap, void *options, mayfly_error *err)
{
	mayfly_snapshot *out;
	int r = mayfly_load_file(guest_path("types"), options, &out, err);

	(void)snap;
	if (r == 0)
		mayfly_snapshot_unref(out);
	return r;
}

static int try_sandbox(mayfly_snapshot *snap, void *options, mayfly_error *err)
{
	mayfly_sandbox *out;
	int r = mayfly_sandbox_new(snap, options, &out, err);

	if (r == 0)
		mayfly_sandbox_free(out);
	return r;
}

static int try_pool(mayfly_snapshot *snap, void *options, mayfly_error *err)
{
	mayfly_pool *out;
	int r = mayfly_pool_new(snap, options, &out, err);

	if (r == 0)
		mayfly_pool_free(out);
	return r;
}

static int try_pool_sandbox(mayfly_snapshot *snap, void *options, mayfly_error *err)
{
	mayfly_pool_options o = MAYFLY_POOL_OPTIONS_INIT;

	o.sandbox = options;
	return try_pool(snap, &o, err);
}

static const struct {
	try_fn try;
	const char *name;
	size_t size;
} inputs[] = {
	{try_load, "mayfly_load_options", sizeof(mayfly_load_options)},
	{try_sandbox, "mayfly_sandbox_options", sizeof(mayfly_sandbox_options)},
	{try_pool, "mayfly_pool_options", sizeof(mayfly_pool_options)},
	{try_pool_sandbox, "mayfly_sandbox_options", sizeof(mayfly_sandbox_options)},
};

static void option_structures_of_older_versions_are_taken(void **state)
{
	mayfly_snapshot *snap = load("types", 0, 0, 0);
	mayfly_error err;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(inputs); i++)
		for (size_t size = sizeof(size_t); size <= inputs[i].size; size += 4) {
			void *o = zeroed_with_size(size);
			uint8_t *tail = (uint8_t *)o + size;

			/* What lies behind is none of the structure. */
			memset(tail, 0xff, 64);
			assert_ok(inputs[i].try(snap, o, &err), &err);
			free(o);
		}
	mayfly_snapshot_unref(snap);
}

static void option_structures_of_later_versions_must_end_in_zeros(void **state)
{
	mayfly_snapshot *snap = load("types", 0, 0, 0);
	mayfly_error err;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(inputs); i++) {
		size_t size = inputs[i].size + 40;
		uint8_t *o = zeroed_with_size(size);

		assert_ok(inputs[i].try(snap, o, &err), &err);
		for (size_t at = inputs[i].size; at < size; at += 13) {
			char want[80];

			o[at] = 1;
			assert_code(inputs[i].try(snap, o, &err), MAYFLY_E_INVALID, &err);
			snprintf(want, sizeof(want), "%s has a field at offset %zu",
				 inputs[i].name, at);
			assert_contains(err.message, want);
			o[at] = 0;
		}
		free(o);
	}
	mayfly_snapshot_unref(snap);
}

static void sizes_that_are_none_are_refused(void **state)
{
	static const size_t sizes[] = {0, 1, 7, 4097, 1 << 20, SIZE_MAX};
	mayfly_snapshot *snap = load("types", 0, 0, 0);
	mayfly_error err;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(inputs); i++)
		for (size_t j = 0; j < COUNT_OF(sizes); j++) {
			uint8_t *o = zeroed_with_size(5000);

			memcpy(o, &sizes[j], sizeof(size_t));
			assert_code(inputs[i].try(snap, o, &err), MAYFLY_E_INVALID, &err);
			assert_contains(err.message, inputs[i].name);
			assert_contains(err.message, "sizeof");
			free(o);
		}
	mayfly_snapshot_unref(snap);
}

/* What fills a structure writes `size` bytes of it: zeros where it knows no field. */
static void check_output(const uint8_t *full, const uint8_t *got, size_t known, size_t size)
{
	size_t common = size < known ? size : known;
	size_t given;

	memcpy(&given, got, sizeof(given));
	assert_int_equal(given, size);
	if (full)
		assert_memory_equal(got + 8, full + 8, common - 8);
	for (size_t i = known; i < size; i++)
		assert_int_equal(got[i], 0);
	for (size_t i = size; i < size + 64; i++)
		assert_int_equal(got[i], 0xee);
}

typedef int (*fill_fn)(struct box *b, mayfly_pool *pool, void *out, mayfly_error *err);

static int fill_snapshot_info(struct box *b, mayfly_pool *pool, void *out, mayfly_error *err)
{
	(void)pool;
	return mayfly_snapshot_get_info(b->snap, out, err);
}

static int fill_stats(struct box *b, mayfly_pool *pool, void *out, mayfly_error *err)
{
	(void)pool;
	return mayfly_sandbox_get_stats(b->sb, out, err);
}

static int fill_fault(struct box *b, mayfly_pool *pool, void *out, mayfly_error *err)
{
	(void)pool;
	return mayfly_sandbox_fault(b->sb, out, err);
}

static int fill_pool_stats(struct box *b, mayfly_pool *pool, void *out, mayfly_error *err)
{
	(void)b;
	return mayfly_pool_get_stats(pool, out, err);
}

static int fill_host_info(struct box *b, mayfly_pool *pool, void *out, mayfly_error *err)
{
	(void)b;
	(void)pool;
	return mayfly_host_get_info(out, err);
}

static void results_are_cut_or_padded_to_the_size_that_is_asked_for(void **state)
{
	static const struct {
		fill_fn fill;
		size_t size;
	} outputs[] = {
		{fill_snapshot_info, sizeof(mayfly_snapshot_info)},
		{fill_stats, sizeof(mayfly_sandbox_stats)},
		{fill_fault, sizeof(mayfly_fault)},
		{fill_pool_stats, sizeof(mayfly_pool_stats)},
		{fill_host_info, sizeof(mayfly_host_info)},
	};
	static const size_t bad[] = {0, 7, 4097, SIZE_MAX};
	struct box b = box_open("faults", NULL);
	mayfly_pool *pool;

	(void)state;
	assert_ok(mayfly_pool_new(b.snap, NULL, &pool, &b.err), &b.err);
	call(&b, "divide_by_zero");
	for (size_t i = 0; i < COUNT_OF(outputs); i++) {
		size_t known = outputs[i].size;
		uint8_t *full = zeroed_with_size(known);

		assert_ok(outputs[i].fill(&b, pool, full, &b.err), &b.err);
		for (size_t size = 8; size <= known + 64; size += 8) {
			uint8_t *got = zeroed_with_size(sizeof(struct later));

			memset(got + 8, 0xee, sizeof(struct later) - 8);
			memcpy(got, &size, sizeof(size));
			assert_ok(outputs[i].fill(&b, pool, got, &b.err), &b.err);
			check_output(full, got, known, size);
			free(got);
		}
		for (size_t j = 0; j < COUNT_OF(bad); j++) {
			memcpy(full, &bad[j], sizeof(size_t));
			assert_code(outputs[i].fill(&b, pool, full, &b.err), MAYFLY_E_INVALID,
				    &b.err);
		}
		free(full);
	}
	mayfly_pool_free(pool);
	box_close(&b);
}

/* --- null pointers --------------------------------------------------------------------------- */

static int never_called(void *context, mayfly_sandbox *sb, const mayfly_value *args,
			size_t nargs, mayfly_value *result, mayfly_error *err)
{
	(void)context;
	(void)sb;
	(void)args;
	(void)nargs;
	(void)result;
	(void)err;
	return MAYFLY_E_HOST_FUNCTION;
}

#define REFUSED(expression)                                                                    \
	do {                                                                                   \
		memset(&err, 0, sizeof(err));                                                  \
		assert_code((expression), MAYFLY_E_INVALID, &err);                             \
		assert_contains(err.message, "null pointer");                                  \
		assert_int_equal(err.code, MAYFLY_E_INVALID);                                  \
	} while (0)

static void null_pointers_are_refused_when_loading(void **state)
{
	mayfly_snapshot *snap = load("types", 0, 0, 0), *out = (void *)&out;
	mayfly_snapshot_info info = {.size = sizeof(info)};
	const mayfly_function *fn = (const void *)&fn;
	mayfly_error err;

	(void)state;
	REFUSED(mayfly_load_file(NULL, NULL, &out, &err));
	REFUSED(mayfly_load_file(guest_path("types"), NULL, NULL, &err));
	REFUSED(mayfly_load_memory(NULL, 5, NULL, NULL, &out, &err));
	REFUSED(mayfly_load_memory("x", 1, NULL, NULL, NULL, &err));
	REFUSED(mayfly_snapshot_save(NULL, "x", &err));
	REFUSED(mayfly_snapshot_save(snap, NULL, &err));
	REFUSED(mayfly_snapshot_open(NULL, &out, &err));
	REFUSED(mayfly_snapshot_open("x", NULL, &err));
	REFUSED(mayfly_snapshot_get_info(NULL, &info, &err));
	REFUSED(mayfly_snapshot_get_info(snap, NULL, &err));
	REFUSED(mayfly_snapshot_function(NULL, "add", &fn, &err));
	REFUSED(mayfly_snapshot_function(snap, NULL, &fn, &err));
	REFUSED(mayfly_snapshot_function(snap, "add", NULL, &err));
	REFUSED(mayfly_host_get_info(NULL, &err));
	/* Untouched by failure. */
	assert_ptr_equal(out, &out);
	assert_ptr_equal(fn, &fn);
	assert_null(mayfly_snapshot_ref(NULL));
	mayfly_snapshot_unref(NULL);
	mayfly_snapshot_unref(snap);
}

static void null_pointers_are_refused_by_sandboxes(void **state)
{
	struct box b = box_open("types", NULL);
	mayfly_host_function whole = {"f", "void()", never_called, NULL}, f;
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	mayfly_sandbox_stats stats = {.size = sizeof(stats)};
	mayfly_fault fault = {.size = sizeof(fault)};
	mayfly_sandbox *sb = (void *)&sb;
	mayfly_snapshot *snap;
	const mayfly_function *fn;
	mayfly_error err;

	(void)state;
	assert_ok(mayfly_snapshot_function(b.snap, "add", &fn, &err), &err);
	REFUSED(mayfly_sandbox_new(NULL, NULL, &sb, &err));
	REFUSED(mayfly_sandbox_new(b.snap, NULL, NULL, &err));
	options.host_function_count = 1;
	REFUSED(mayfly_sandbox_new(b.snap, &options, &sb, &err));
	assert_ptr_equal(sb, &sb);
	REFUSED(mayfly_sandbox_register(NULL, &whole, &err));
	REFUSED(mayfly_sandbox_register(b.sb, NULL, &err));
	f = whole;
	f.name = NULL;
	assert_code(mayfly_sandbox_register(b.sb, &f, &err), MAYFLY_E_INVALID, &err);
	f = whole;
	f.signature = NULL;
	assert_code(mayfly_sandbox_register(b.sb, &f, &err), MAYFLY_E_INVALID, &err);
	f = whole;
	f.fn = NULL;
	assert_code(mayfly_sandbox_register(b.sb, &f, &err), MAYFLY_E_INVALID, &err);
	REFUSED(mayfly_sandbox_call(NULL, fn, NULL, 0, NULL, &err));
	REFUSED(mayfly_sandbox_call(b.sb, NULL, NULL, 0, NULL, &err));
	REFUSED(mayfly_sandbox_call(b.sb, fn, NULL, 2, NULL, &err));
	assert_false(mayfly_sandbox_interrupt(NULL));
	REFUSED(mayfly_sandbox_restore(NULL, NULL, &err));
	REFUSED(mayfly_sandbox_snapshot(NULL, &snap, &err));
	REFUSED(mayfly_sandbox_snapshot(b.sb, NULL, &err));
	REFUSED(mayfly_sandbox_set_limits(NULL, 0, 0, &err));
	assert_false(mayfly_sandbox_is_poisoned(NULL));
	REFUSED(mayfly_sandbox_get_stats(NULL, &stats, &err));
	REFUSED(mayfly_sandbox_get_stats(b.sb, NULL, &err));
	REFUSED(mayfly_sandbox_fault(NULL, &fault, &err));
	REFUSED(mayfly_sandbox_fault(b.sb, NULL, &err));
	REFUSED(mayfly_sandbox_write_core(NULL, "x", &err));
	REFUSED(mayfly_sandbox_write_core(b.sb, NULL, &err));
	mayfly_sandbox_free(NULL);
	check_usable(&b, "nothing", __FILE__, __LINE__);
	box_close(&b);
}

static void null_pointers_are_refused_by_pools(void **state)
{
	struct box b = box_open("types", NULL);
	mayfly_sandbox_options so = MAYFLY_SANDBOX_OPTIONS_INIT;
	mayfly_pool_options o = MAYFLY_POOL_OPTIONS_INIT;
	mayfly_host_function f = {NULL, "void()", never_called, NULL};
	mayfly_pool_stats stats = {.size = sizeof(stats)};
	mayfly_pool *pool;
	mayfly_sandbox *sb;
	mayfly_error err;

	(void)state;
	REFUSED(mayfly_pool_new(NULL, NULL, &pool, &err));
	REFUSED(mayfly_pool_new(b.snap, NULL, NULL, &err));
	o.sandbox = &so;
	so.host_function_count = 1;
	REFUSED(mayfly_pool_new(b.snap, &o, &pool, &err));
	so.host_functions = &f;
	assert_code(mayfly_pool_new(b.snap, &o, &pool, &err), MAYFLY_E_INVALID, &err);
	REFUSED(mayfly_pool_fill(NULL, 1, &err));
	REFUSED(mayfly_pool_acquire(NULL, 0, &sb, &err));
	REFUSED(mayfly_pool_get_stats(NULL, &stats, &err));
	assert_ok(mayfly_pool_new(b.snap, NULL, &pool, &err), &err);
	REFUSED(mayfly_pool_acquire(pool, 0, NULL, &err));
	REFUSED(mayfly_pool_get_stats(pool, NULL, &err));
	mayfly_pool_release(pool, NULL);
	mayfly_pool_free(pool);
	mayfly_pool_free(NULL);
	box_close(&b);
}

static void errors_need_not_be_wanted(void **state)
{
	struct box b = box_open("faults", NULL);
	const mayfly_function *fn;
	mayfly_snapshot *snap;

	(void)state;
	assert_code(mayfly_load_file("/nonexistent", NULL, &snap, NULL), MAYFLY_E_IO, NULL);
	assert_code(mayfly_load_memory("junk", 4, NULL, NULL, &snap, NULL), MAYFLY_E_FORMAT,
		    NULL);
	assert_code(mayfly_snapshot_function(b.snap, "nope", &fn, NULL), MAYFLY_E_NO_FUNCTION,
		    NULL);
	assert_ok(mayfly_snapshot_function(b.snap, "divide_by_zero", &fn, NULL), NULL);
	assert_code(mayfly_sandbox_call(b.sb, fn, NULL, 0, NULL, NULL), MAYFLY_E_FAULT, NULL);
	assert_code(mayfly_sandbox_call(b.sb, fn, NULL, 0, NULL, NULL), MAYFLY_E_POISONED,
		    NULL);
	assert_ok(mayfly_sandbox_restore(b.sb, NULL, NULL), NULL);
	assert_ok(mayfly_snapshot_function(b.snap, "abort_plain", &fn, NULL), NULL);
	assert_code(mayfly_sandbox_call(b.sb, fn, NULL, 0, NULL, NULL), MAYFLY_E_ABORT, NULL);
	box_close(&b);
}

static void success_leaves_the_error_alone(void **state)
{
	mayfly_error err, before;
	mayfly_snapshot *snap;
	mayfly_sandbox *sb;

	(void)state;
	need_kvm();
	memset(&err, 0x5a, sizeof(err));
	before = err;
	assert_int_equal(mayfly_load_file(guest_path("types"), NULL, &snap, &err), 0);
	assert_int_equal(mayfly_sandbox_new(snap, NULL, &sb, &err), 0);
	assert_int_equal(mayfly_sandbox_restore(sb, NULL, &err), 0);
	assert_memory_equal(&err, &before, sizeof(err));
	mayfly_sandbox_free(sb);
	mayfly_snapshot_unref(snap);
}

/* --- limits ---------------------------------------------------------------------------------- */

static void flags_and_depths_that_do_not_exist_are_refused(void **state)
{
	mayfly_snapshot *snap = load("types", 0, 0, 0);
	mayfly_sandbox_options o = MAYFLY_SANDBOX_OPTIONS_INIT;
	mayfly_pool_options po = MAYFLY_POOL_OPTIONS_INIT;
	mayfly_sandbox *sb;
	mayfly_pool *pool;
	mayfly_error err;

	(void)state;
	o.flags = 2;
	assert_code(mayfly_sandbox_new(snap, &o, &sb, &err), MAYFLY_E_INVALID, &err);
	assert_contains(err.message, "flags");
	po.sandbox = &o;
	assert_code(mayfly_pool_new(snap, &po, &pool, &err), MAYFLY_E_INVALID, &err);
	o.flags = 0;
	o.max_depth = 65;
	assert_code(mayfly_sandbox_new(snap, &o, &sb, &err), MAYFLY_E_INVALID, &err);
	assert_contains(err.message, "max_depth");
	po.sandbox = NULL;
	po.limit = 3;
	po.ready = 4;
	assert_code(mayfly_pool_new(snap, &po, &pool, &err), MAYFLY_E_INVALID, &err);
	mayfly_snapshot_unref(snap);
}

static void sizes_of_memory_that_make_no_sense_are_refused(void **state)
{
	static const struct {
		uint64_t memory, stack, call_area;
		int code;
	} cases[] = {
		{UINT64_MAX, 0, 0, MAYFLY_E_INVALID},
		{(uint64_t)65 << 30, 0, 0, MAYFLY_E_INVALID},
		{1 << 20, 2 << 20, 0, MAYFLY_E_INVALID},
		{1 << 20, 0, 2 << 20, MAYFLY_E_INVALID},
		{1 << 20, UINT64_MAX, 0, MAYFLY_E_INVALID},
		{1 << 20, 0, UINT64_MAX - 4095, MAYFLY_E_INVALID},
		{1 << 20, 600 << 10, 600 << 10, MAYFLY_E_TOO_LARGE},
		{4096, 4096, 4096, MAYFLY_E_TOO_LARGE},
		{64 << 10, 4096, 4096, MAYFLY_E_TOO_LARGE},
	};
	mayfly_snapshot *snap;
	mayfly_error err;

	(void)state;
	need_kvm();
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		mayfly_load_options o = MAYFLY_LOAD_OPTIONS_INIT;
		int r;

		o.memory = cases[i].memory;
		o.stack = cases[i].stack;
		o.call_area = cases[i].call_area;
		r = mayfly_load_file(guest_path("types"), &o, &snap, &err);
		if (r != cases[i].code)
			fail_test("case %zu: %d instead of %d", i, r, cases[i].code);
	}
}

static void sizes_are_rounded_up_to_pages_and_told(void **state)
{
	mayfly_snapshot *snap = load("types", ((uint64_t)8 << 20) + 1, 4097, 1);
	mayfly_snapshot_info info = {.size = sizeof(info)};
	mayfly_error err;

	(void)state;
	assert_ok(mayfly_snapshot_get_info(snap, &info, &err), &err);
	assert_int_equal(info.memory, (8 << 20) + 4096);
	assert_int_equal(info.stack, 8192);
	assert_int_equal(info.call_area, 4096);
	assert_true(info.heap > 4 << 20 && info.heap < 8 << 20);
	assert_true(info.resident > 0 && info.resident < 1 << 20);
	mayfly_snapshot_unref(snap);
}

static void the_smallest_and_a_large_guest_work(void **state)
{
	static const uint64_t sizes[][3] = {
		{256 << 10, 4096 * 2, 4096},
		{(uint64_t)1 << 30, 64 << 20, (uint64_t)128 << 20},
		{(uint64_t)64 << 30, (uint64_t)1 << 30, (uint64_t)1 << 30},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		struct box b =
			box_of(load("dirty", sizes[i][0], sizes[i][1], sizes[i][2]), NULL);

		assert_int_equal(must(&b, "add", mayfly_i64(40), mayfly_i64(2)).as.i64, 42);
		assert_int_equal(must(&b, "dirty", mayfly_u32(5)).as.u32, 5);
		box_restore(&b);
		assert_int_equal(must(&b, "dirtied", mayfly_u32(4)).as.u64, 0);
		box_close(&b);
	}
}

/* --- files that are no guests ---------------------------------------------------------------- */

static void files_that_are_no_guests_are_refused_by_name(void **state)
{
	mayfly_snapshot *snap;
	mayfly_error err;

	(void)state;
	need_kvm();
	assert_code(mayfly_load_file("", NULL, &snap, &err), MAYFLY_E_IO, &err);
	assert_contains(err.message, "name of the guest's file is empty");
	assert_code(mayfly_load_memory("MAYFLY\r\n", 8, NULL, NULL, &snap, &err),
		    MAYFLY_E_FORMAT, &err);
	assert_contains(err.message, "mayfly_snapshot_open()");
	assert_code(mayfly_load_file("/nonexistent/guest", NULL, &snap, &err), MAYFLY_E_IO,
		    &err);
	assert_contains(err.message, "/nonexistent/guest");
	assert_int_equal(err.sys_errno, 2);
	assert_code(mayfly_load_file("/tmp", NULL, &snap, &err), MAYFLY_E_FORMAT, &err);
	assert_contains(err.message, "/tmp");
	assert_code(mayfly_load_file("/dev/null", NULL, &snap, &err), MAYFLY_E_FORMAT, &err);
	assert_int_equal(mkfifo(temporary_path("fifo"), 0600), 0);
	assert_code(mayfly_load_file(temporary_path("fifo"), NULL, &snap, &err),
		    MAYFLY_E_FORMAT, &err);
	write_whole_file(temporary_path("empty"), "", 0);
	assert_code(mayfly_load_file(temporary_path("empty"), NULL, &snap, &err),
		    MAYFLY_E_FORMAT, &err);
	temporary_remove();
}

static void a_guest_is_loaded_from_memory_as_from_a_file(void **state)
{
	mayfly_snapshot *snap;
	mayfly_error err;
	struct box b;
	size_t len;
	void *elf;

	(void)state;
	need_kvm();
	elf = read_whole_file(guest_path("types"), &len);
	assert_ok(mayfly_load_memory(elf, len, NULL, NULL, &snap, &err), &err);
	memset(elf, 0xee, len); /* copied */
	free(elf);
	b = box_of(snap, NULL);
	assert_int_equal(must(&b, "add", mayfly_i64(40), mayfly_i64(2)).as.i64, 42);
	box_close(&b);
	assert_code(mayfly_load_memory("junk", 4, "my guest", NULL, &snap, &err),
		    MAYFLY_E_FORMAT, &err);
	assert_contains(err.message, "my guest");
}

/* --- names ----------------------------------------------------------------------------------- */

static void codes_and_types_have_names_and_others_too(void **state)
{
	static const int codes[] = {1, -20, 12345, -12345};

	(void)state;
	for (int code = MAYFLY_OK; code >= MAYFLY_E_NO_PROGRAM; code--) {
		assert_string_not_equal(mayfly_code_name(code), "unknown error");
		for (int other = code - 1; other >= MAYFLY_E_NO_PROGRAM; other--)
			assert_string_not_equal(mayfly_code_name(code),
						mayfly_code_name(other));
	}
	for (size_t i = 0; i < COUNT_OF(codes); i++)
		assert_string_equal(mayfly_code_name(codes[i]), "unknown error");
	assert_string_equal(mayfly_type_name(MAYFLY_VOID), "void");
	assert_string_equal(mayfly_type_name(MAYFLY_BYTES), "bytes");
	assert_string_equal(mayfly_type_name((mayfly_type)10), "?");
	assert_string_equal(mayfly_type_name((mayfly_type)-1), "?");
	assert_string_equal(mayfly_version(), "0.1.0");
}

static void messages_that_do_not_fit_are_cut_and_marked(void **state)
{
	char text[2000];
	mayfly_error err;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	assert_int_equal(mayfly_error_set(&err, MAYFLY_E_IO, "%s", text), MAYFLY_E_IO);
	assert_int_equal(strlen(err.message), MAYFLY_ERROR_MESSAGE_SIZE - 1);
	assert_string_equal(err.message + MAYFLY_ERROR_MESSAGE_SIZE - 5, "x...");
	assert_int_equal(err.code, MAYFLY_E_IO);
	text[MAYFLY_ERROR_MESSAGE_SIZE - 1] = 0;
	mayfly_error_set(&err, MAYFLY_E_IO, "%s", text);
	assert_string_equal(err.message, text);
	assert_int_equal(mayfly_error_set(NULL, -77, "%s", text), -77);
}

static void the_host_tells_what_it_is(void **state)
{
	mayfly_host_info info = {.size = sizeof(info)};
	mayfly_error err;

	(void)state;
	need_kvm();
	assert_ok(mayfly_host_get_info(&info, &err), &err);
	assert_true(!strcmp(info.hypervisor, "pvm") || !strcmp(info.hypervisor, "svm") ||
		    !strcmp(info.hypervisor, "vmx") || !strcmp(info.hypervisor, "kvm"));
	assert_int_equal(info.api_version, 12);
	assert_int_equal(info.xcr0 & ~UINT64_C(0xe7), 0);
	assert_true(info.max_memslots >= 2 && info.max_vcpus >= 1);
	assert_true(info.cpu[0]);
	assert_int_equal(info.ring0_native, strcmp(info.hypervisor, "pvm") != 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(option_structures_of_older_versions_are_taken),
		cmocka_unit_test(option_structures_of_later_versions_must_end_in_zeros),
		cmocka_unit_test(sizes_that_are_none_are_refused),
		cmocka_unit_test(results_are_cut_or_padded_to_the_size_that_is_asked_for),
		cmocka_unit_test(null_pointers_are_refused_when_loading),
		cmocka_unit_test(null_pointers_are_refused_by_sandboxes),
		cmocka_unit_test(null_pointers_are_refused_by_pools),
		cmocka_unit_test(errors_need_not_be_wanted),
		cmocka_unit_test(success_leaves_the_error_alone),
		cmocka_unit_test(flags_and_depths_that_do_not_exist_are_refused),
		cmocka_unit_test(sizes_of_memory_that_make_no_sense_are_refused),
		cmocka_unit_test(sizes_are_rounded_up_to_pages_and_told),
		cmocka_unit_test(the_smallest_and_a_large_guest_work),
		cmocka_unit_test(files_that_are_no_guests_are_refused_by_name),
		cmocka_unit_test(a_guest_is_loaded_from_memory_as_from_a_file),
		cmocka_unit_test(codes_and_types_have_names_and_others_too),
		cmocka_unit_test(messages_that_do_not_fit_are_cut_and_marked),
		cmocka_unit_test(the_host_tells_what_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

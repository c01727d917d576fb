/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshot files: what was saved opens to the same, whatever is damaged or crafted is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fail_alloc.h"
#include "guest_fixture.h"
#include "snapshot_bytes.h"

/* Where the description has what: the plan, then entry, phdr_va, phnum..., name, then the manifest. */
#define PLAN(field) (PAGE_SIZE + offsetof(struct layout_plan, field))
#define RUN(n, field)                                                                          \
	(PLAN(runs) + (n) * sizeof(struct layout_run) + offsetof(struct layout_run, field))
#define NAME (PAGE_SIZE + sizeof(struct layout_plan) + 24)
#define MANIFEST (NAME + 64)

static struct mayfly_snapshot *snap;
static struct snapshot_bytes good; /* of snap */
static struct snapshot_bytes b;	   /* a copy to spoil */

static bool grows; /* the file, as soon as somebody asks for what is in it */

/* Of the C library: where the file's data is. */
off_t lseek(int fd, off_t offset, int whence)
{
	const off_t far = (off_t)1 << 30;

	if (grows && whence == SEEK_DATA) {
		grows = false;
		assert_int_equal(ftruncate(b.fd, 2 * far), 0);
		assert_int_equal(pwrite(b.fd, "more", 4, far), 4);
	}
	return syscall(SYS_lseek, fd, offset, whence);
}

static int setup(void **state)
{
	(void)state;
	mock_reset();
	snap = fixture_simple();
	snapshot_bytes_save(snap, &good);
	snapshot_bytes_copy(good.data, good.len, &b);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	snapshot_bytes_free(&good);
	snapshot_bytes_free(&b);
	mayfly_snapshot_unref(snap);
	return mock_live() ? -1 : 0;
}

static void put(size_t offset, uint64_t value, size_t len)
{
	memcpy(b.data + offset, &value, len);
}

static void again(void)
{
	memcpy(b.data, good.data, good.len);
	b.len = good.len;
}

static void gate_ready(struct mock_vm *vm, void *context)
{
	(void)context;
	guest_put(vm, op, FN_OP_READY);
}

/* An opened file is of use: a VM, a run, a restore, a capture, another file. */
static void use(struct mayfly_snapshot *s)
{
	const struct mock_step park = {.act = gate_ready, .exit = mock_out(FN_PORT_GATE)};
	mayfly_sandbox_options none = MAYFLY_SANDBOX_OPTIONS_INIT;
	struct mayfly_snapshot *captured = NULL;
	struct snapshot_bytes saved;
	mayfly_sandbox *sb;
	mayfly_error err = {0};

	assert_int_equal(sandbox_new(&hv_mock, s, &none, &sb, &err), 0);
	mock_play(&park, 1);
	assert_int_equal(sandbox_capture(sb, &captured, &err), 0);
	assert_int_equal(sandbox_restore(sb, captured, &err), 0);
	snapshot_bytes_save(captured, &saved);
	snapshot_bytes_free(&saved);
	sandbox_free(sb);
	mayfly_snapshot_unref(captured);
}

/* With one of the codes, and in words; `word` NULL: any. */
static void refused(int code, const char *word)
{
	struct mayfly_snapshot *before = snap, *s = before;
	mayfly_error err = {0};
	int r = snapshot_bytes_open(&b, &s, &err);

	if (r == 0)
		mayfly_snapshot_unref(s);
	if (r != code || (word && !strstr(err.message, word)))
		print_error("%d: %s\n", r, r ? err.message : "opened");
	assert_int_equal(r, code);
	assert_int_equal(err.code, code);
	assert_ptr_equal(s, before);
	assert_non_null(strstr(err.message, "/proc/self/fd/"));
	if (word)
		assert_non_null(strstr(err.message, word));
}

static void refused_or_useful(void)
{
	struct mayfly_snapshot *s;
	mayfly_error err = {0};
	int r = snapshot_bytes_open(&b, &s, &err);

	if (r == 0) {
		use(s);
		mayfly_snapshot_unref(s);
		return;
	}
	assert_true(r == MAYFLY_E_FORMAT || r == MAYFLY_E_UNSUPPORTED);
	assert_int_equal(err.code, r);
	assert_true(err.message[0]);
}

/* --- the way there and back ------------------------------------------------------------------ */

static void saved_snapshot_opens_to_the_same(void **state)
{
	const struct guest *g = snap->guest, *h;
	struct mayfly_snapshot *s = NULL;
	mayfly_error err = {0};

	(void)state;
	assert_int_equal(snapshot_bytes_open(&b, &s, &err), 0);
	h = s->guest;
	assert_memory_equal(&h->map, &g->map, sizeof(g->map));
	assert_int_equal(h->tables_len, g->tables_len);
	assert_memory_equal(h->tables, g->tables, g->tables_len);
	assert_memory_equal(h->shared, g->shared, g->map.shared_len);
	assert_memory_equal(&h->setup, &g->setup, sizeof(g->setup));
	assert_memory_equal(h->features, g->features, sizeof(g->features));
	assert_int_equal(h->xcr0, g->xcr0);
	assert_string_equal(h->name, g->name);
	assert_memory_equal(s->state, snap->state, PAGE_SIZE);
	assert_int_equal(s->npresent, snap->npresent);
	for (uint64_t page = 0; page < g->map.private_len / PAGE_SIZE; page++) {
		assert_int_equal(bitmap_test(s->present, page),
				 bitmap_test(snap->present, page));
		if (bitmap_test(s->present, page))
			assert_memory_equal(s->image + page * PAGE_SIZE,
					    snap->image + page * PAGE_SIZE, PAGE_SIZE);
	}
	assert_int_equal(fixture_import(s, "lookup"), fixture_import(snap, "lookup"));
	assert_string_equal(fixture_function(s, "add")->text, "i64(i64,i64)");
	use(s);
	mayfly_snapshot_unref(s);
}

static void saving_what_was_opened_gives_the_same_bytes(void **state)
{
	struct mayfly_snapshot *s = NULL;
	struct snapshot_bytes second;

	(void)state;
	assert_int_equal(snapshot_bytes_open(&b, &s, NULL), 0);
	snapshot_bytes_save(s, &second);
	assert_int_equal(second.len, good.len);
	assert_memory_equal(second.data, good.data, good.len);
	snapshot_bytes_free(&second);
	mayfly_snapshot_unref(s);
}

/* The tests' own idea of the format agrees, or crafted files would fail for the wrong reason. */
static void hashes_are_what_they_are_said_to_be(void **state)
{
	(void)state;
	assert_true(snapshot_bytes_fix(&b));
	assert_memory_equal(b.data, good.data, good.len);
}

static void saved_file_is_for_its_owner_only(void **state)
{
	char path[] = "/tmp/mayfly-test-XXXXXX";
	int fd = mkstemp(path);
	struct stat st;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(snapshot_save(snap, path, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, good.len);
	assert_int_equal(st.st_mode & 07777, 0600); /* memory may hold secrets */
	unlink(path);
}

/* --- damage ---------------------------------------------------------------------------------- */

static void damage_of_each_byte_of_the_header_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < PAGE_SIZE; i++) {
		b.data[i] ^= (uint8_t)(1u << (i % 8));
		refused(i >= 8 && i < 12 ? MAYFLY_E_UNSUPPORTED : MAYFLY_E_FORMAT, NULL);
		b.data[i] ^= (uint8_t)(1u << (i % 8));
	}
}

static void damage_of_the_body_is_found(void **state)
{
	(void)state;
	for (size_t i = PAGE_SIZE; i < good.len; i += 61) {
		b.data[i] ^= (uint8_t)(1u << (i % 8));
		refused(MAYFLY_E_FORMAT, "damaged");
		b.data[i] ^= (uint8_t)(1u << (i % 8));
	}
}

static void swapped_pages_are_found(void **state)
{
	uint64_t at = snapshot_bytes_header(&b)->private_offset;
	uint8_t page[PAGE_SIZE];
	uint64_t n = 0;

	(void)state;
	while (!bitmap_test(snap->present, n))
		n++;
	memcpy(page, b.data + at + n * PAGE_SIZE, PAGE_SIZE);
	memset(b.data + at + n * PAGE_SIZE, 0, PAGE_SIZE);
	while (bitmap_test(snap->present, n))
		n++;
	memcpy(b.data + at + n * PAGE_SIZE, page, PAGE_SIZE);
	refused(MAYFLY_E_FORMAT, "damaged");
}

static void file_cut_off_anywhere_is_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < good.len; len += len < 64 ? 1 : 331) {
		b.len = len;
		refused(MAYFLY_E_FORMAT, "truncated");
	}
	b.len = good.len - 1;
	refused(MAYFLY_E_FORMAT, "truncated");
}

static void file_with_something_behind_it_is_refused(void **state)
{
	(void)state;
	snapshot_bytes_free(&b);
	snapshot_bytes_copy(good.data, good.len, &b);
	b.data = realloc(b.data, b.len + PAGE_SIZE);
	assert_non_null(b.data);
	memset(b.data + b.len, 0, PAGE_SIZE);
	b.len += PAGE_SIZE;
	refused(MAYFLY_E_FORMAT, "too long");
}

/* Somebody else may write to it: what is behind the end that it had is not memory of the guest. */
static void file_that_grows_while_it_is_opened_is_read_as_it_was(void **state)
{
	struct mayfly_snapshot *large = fixture_load(&(struct fixture){.memory = 4 << 20});
	struct mayfly_snapshot *s = NULL;
	mayfly_error err = {0};

	(void)state;
	snapshot_bytes_free(&b);
	snapshot_bytes_save(large, &b);
	grows = true;
	assert_int_equal(snapshot_bytes_open(&b, &s, &err), 0);
	assert_false(grows);
	assert_int_equal(s->npresent, large->npresent);
	mayfly_snapshot_unref(s);
	mayfly_snapshot_unref(large);
}

/* --- other versions, kinds, CPUs ------------------------------------------------------------- */

static void other_files_are_told_apart_from_damage(void **state)
{
	(void)state;
	memcpy(b.data, "\177ELF\2\1\1", 8);
	refused(MAYFLY_E_FORMAT, "an ELF file, not a snapshot: mayfly_load_file()");
	memcpy(b.data, "whatever", 8);
	refused(MAYFLY_E_FORMAT, "not a snapshot file");
}

static void other_version_is_named(void **state)
{
	(void)state;
	snapshot_bytes_header(&b)->version = 77;
	snapshot_bytes_fix(&b);
	refused(MAYFLY_E_UNSUPPORTED, "77");
}

static void unknown_kind_of_guest_is_refused(void **state)
{
	(void)state;
	snapshot_bytes_header(&b)->kind = 4711;
	snapshot_bytes_fix(&b);
	refused(MAYFLY_E_UNSUPPORTED, "4711");
}

static void feature_that_the_cpu_lacks_is_refused(void **state)
{
	(void)state;
	for (size_t w = 0; w < CPUID_WORDS; w++) {
		uint32_t lacking = ~mock_host()->features[w];

		again();
		snapshot_bytes_header(&b)->features[w] |= lacking & -lacking;
		snapshot_bytes_fix(&b);
		refused(MAYFLY_E_UNSUPPORTED, "CPU");
	}
}

static void vector_state_that_the_cpu_lacks_is_refused(void **state)
{
	(void)state;
	snapshot_bytes_header(&b)->xcr0 |= 0xe0;
	snapshot_bytes_fix(&b);
	refused(MAYFLY_E_UNSUPPORTED, "XCR0");
}

/* They decide whether the gate wipes registers. */
static void state_flags_of_another_cpu_are_refused(void **state)
{
	uint64_t flags = snapshot_bytes_header(&b)->private_offset +
			 snap->guest->state_page * PAGE_SIZE + offsetof(struct fn_fresh, flags);

	(void)state;
	for (uint32_t bit = 0; bit < 32; bit++) {
		again();
		b.data[flags + bit / 8] ^= (uint8_t)(1u << (bit % 8));
		snapshot_bytes_fix(&b);
		refused(MAYFLY_E_UNSUPPORTED, "flags");
	}
}

static void cpu_with_more_than_needed_is_fine(void **state)
{
	struct mayfly_snapshot *s;

	(void)state;
	for (size_t w = 0; w < CPUID_WORDS; w++)
		mock_host()->features[w] = UINT32_MAX;
	mock_host()->xcr0 = CPU_XCR0_ALLOWED;
	assert_int_equal(snapshot_bytes_open(&b, &s, NULL), 0);
	mayfly_snapshot_unref(s);
}

/* --- crafted files: right hashes, hostile contents ------------------------------------------- */

static const uint64_t wild[] = {
	0,
	1,
	8,
	PAGE_SIZE - 1,
	PAGE_SIZE,
	0x10000,
	0x7ffff000,
	0xffffffff,
	(uint64_t)1 << 32,
	(uint64_t)1 << 37,
	1ull << 46,
	INT64_MAX - 4095,
	INT64_MAX,
	(uint64_t)1 << 63,
	UINT64_MAX & ~PAGE_MASK,
	UINT64_MAX,
};

static void wild_numbers_in_the_header_are_refused(void **state)
{
	(void)state;
	for (size_t at = 16; at < offsetof(struct snapshot_header, npresent); at += 8) {
		for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
			again();
			put(at, wild[i], 8);
			/* Only the header's hash: the body's may be right or not. */
			snapshot_bytes_fix(&b);
			if (memcmp(b.data, good.data, PAGE_SIZE) != 0)
				refused(MAYFLY_E_FORMAT, NULL);
		}
	}
}

/* Sums that wrap around to the right length. */
static void lengths_that_overflow_are_refused(void **state)
{
	struct snapshot_header *h = snapshot_bytes_header(&b);

	(void)state;
	h->shared_len = (uint64_t)1 << 63;
	h->private_len += (uint64_t)1 << 63;
	h->private_used = h->private_len;
	h->private_offset = h->shared_offset + h->shared_len;
	snapshot_bytes_fix(&b);
	refused(MAYFLY_E_FORMAT, "lengths");
	again();
	h->private_len -= PAGE_SIZE;
	h->private_used -= PAGE_SIZE;
	h->shared_len += PAGE_SIZE;
	h->private_offset += PAGE_SIZE;
	snapshot_bytes_fix(&b);
	refused(MAYFLY_E_FORMAT, "do not fit the description");
}

static void plan_that_breaks_w_xor_x_is_refused(void **state)
{
	(void)state;
	put(RUN(0, prot), GMEM_READ | GMEM_WRITE | GMEM_EXEC, 4);
	snapshot_bytes_fix(&b);
	refused(MAYFLY_E_FORMAT, "out of place");
}

/* The CPU has no such pages, and the host would see none where the guest has some. */
static void plan_with_parts_that_cannot_be_read_is_refused(void **state)
{
	const struct layout_plan *plan = &function_guest_of(snap->guest)->plan;

	(void)state;
	for (uint32_t i = 0; i < plan->nruns; i++) {
		/* Those of no protection at all are left out. */
		if (plan->runs[i].prot == GMEM_READ)
			continue;
		again();
		put(RUN(i, prot), plan->runs[i].prot & ~GMEM_READ, 4);
		snapshot_bytes_fix(&b);
		refused(MAYFLY_E_FORMAT, "out of place");
	}
}

/* Over the gate, the call block, ring 0's page, or each other. */
static void plan_that_puts_the_image_elsewhere_is_refused(void **state)
{
	static const uint64_t places[] = {0,
					  FN_GATE_VA,
					  FN_FRESH_VA,
					  FN_CALL_VA,
					  FN_SUPERVISOR_VA,
					  FN_IMAGE_MIN_VA - PAGE_SIZE,
					  FN_IMAGE_MAX_VA,
					  (uint64_t)1 << 47,
					  UINT64_MAX & ~PAGE_MASK};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		again();
		put(RUN(0, va), places[i], 8);
		snapshot_bytes_fix(&b);
		refused(MAYFLY_E_FORMAT, "out of place");
	}
	again();
	put(RUN(1, va), FN_IMAGE_MIN_VA, 8);
	snapshot_bytes_fix(&b);
	refused(MAYFLY_E_FORMAT, "out of place");
}

static void wild_numbers_in_the_plan_are_refused_or_harmless(void **state)
{
	(void)state;
	for (size_t at = PAGE_SIZE; at < RUN(4, va); at += 8) {
		for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
			again();
			put(at, wild[i], 8);
			snapshot_bytes_fix(&b);
			refused_or_useful();
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
		again();
		put(PLAN(nruns), wild[i], 4);
		snapshot_bytes_fix(&b);
		refused_or_useful();
	}
}

/* The host's parts need more than a plan of such sizes has: no tables are built for it. */
static void plan_of_huge_parts_costs_no_memory(void **state)
{
	(void)state;
	put(PLAN(memory), LAYOUT_MAX_MEMORY, 8);
	for (uint32_t i = 0; i < LAYOUT_MAX_RUNS; i++) {
		put(RUN(i, va), FN_IMAGE_MIN_VA + PAGE_SIZE + i * ((uint64_t)3 << 30), 8);
		put(RUN(i, len), (uint64_t)2 << 30, 8);
		put(RUN(i, prot), GMEM_READ, 4);
	}
	put(PLAN(nruns), LAYOUT_MAX_RUNS, 4);
	snapshot_bytes_fix(&b);
	refused(MAYFLY_E_FORMAT, "out of place");
}

static void description_that_is_cut_short_is_refused(void **state)
{
	struct snapshot_header *h = snapshot_bytes_header(&b);
	size_t whole = h->description_len;

	(void)state;
	for (size_t len = 0; len < whole; len += len < MANIFEST - PAGE_SIZE - 4 ? 97 : 1) {
		again();
		h->description_len = len;
		memset(b.data + PAGE_SIZE + len, 0, page_up(whole) - len);
		snapshot_bytes_fix(&b);
		if (page_up(len) == page_up(whole))
			refused(MAYFLY_E_FORMAT, "cut");
		else
			refused(MAYFLY_E_FORMAT, NULL);
	}
}

static void hidden_bytes_behind_the_description_are_refused(void **state)
{
	(void)state;
	b.data[PAGE_SIZE + snapshot_bytes_header(&b)->description_len] = 1;
	refused(MAYFLY_E_FORMAT, "padding");
}

static void wild_counts_in_the_manifest_are_refused(void **state)
{
	(void)state;
	for (size_t at = MANIFEST; at < MANIFEST + 12; at += 4) {
		for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
			again();
			put(at, wild[i], 4);
			snapshot_bytes_fix(&b);
			if (memcmp(b.data + at, good.data + at, 4) != 0)
				refused(MAYFLY_E_FORMAT, "table of functions");
		}
	}
}

static void every_damaged_byte_of_the_manifest_is_refused_or_harmless(void **state)
{
	size_t end = PAGE_SIZE + snapshot_bytes_header(&b)->description_len;

	(void)state;
	for (size_t at = MANIFEST; at < end; at++) {
		again();
		b.data[at] ^= 0x80;
		snapshot_bytes_fix(&b);
		refused_or_useful();
	}
}

static void name_of_the_guest_is_made_printable(void **state)
{
	struct mayfly_snapshot *s = NULL;

	(void)state;
	memset(b.data + NAME, 0x1b, 64); /* not terminated either */
	snapshot_bytes_fix(&b);
	assert_int_equal(snapshot_bytes_open(&b, &s, NULL), 0);
	for (const char *c = s->guest->name; *c; c++)
		assert_in_range(*c, 0x20, 0x7e);
	use(s);
	mayfly_snapshot_unref(s);
}

/* Page tables and ring 0's stack in the file are never those of a VM. */
static void page_tables_in_the_file_are_not_used(void **state)
{
	const struct mock_step park = {.act = gate_ready, .exit = mock_out(FN_PORT_GATE)};
	uint64_t at = snapshot_bytes_header(&b)->private_offset;
	struct mayfly_snapshot *s = NULL, *captured = NULL;
	uint64_t tables = snap->guest->tables_len;
	mayfly_sandbox *sb;
	struct mock_vm *vm;

	(void)state;
	/* Every page mapped everywhere, for ring 3, writable; enough pages that the file gets mapped. */
	for (uint64_t i = 0; i < tables; i += 8)
		put(at + i, 0x67, 8);
	for (uint64_t i = tables; i < snapshot_bytes_header(&b)->private_len; i += PAGE_SIZE)
		if (i / PAGE_SIZE != snap->guest->state_page)
			put(at + i, 0x55, 1);
	snapshot_bytes_fix(&b);
	assert_int_equal(snapshot_bytes_open(&b, &s, NULL), 0);
	sb = fixture_sandbox(s, NULL);
	assert_true(sb->inst.mapped);
	vm = fixture_vm(sb);
	assert_memory_equal(mock_physical(vm, 0, tables), s->guest->tables, tables);
	assert_false(mock_write(vm, 0, "x", 1));
	mock_play(&park, 1);
	assert_int_equal(sandbox_capture(sb, &captured, NULL), 0);
	for (uint64_t page = 0; page < tables / PAGE_SIZE; page++)
		assert_false(bitmap_test(captured->present, page));
	assert_int_equal(sandbox_restore(sb, captured, NULL), 0);
	assert_int_equal(sandbox_restore(sb, s, NULL), 0);
	assert_memory_equal(mock_physical(vm, 0, tables), s->guest->tables, tables);
	sandbox_free(sb);
	mayfly_snapshot_unref(captured);
	mayfly_snapshot_unref(s);
}

/* What a call block in the file says, the host overwrites where it means something. */
static void call_block_in_the_file_means_nothing(void **state)
{
	const struct layout *l = fixture_layout(snap);
	uint64_t at = snapshot_bytes_header(&b)->private_offset + l->call_gpa;
	struct mayfly_snapshot *s = NULL;
	struct fn_call call;
	mayfly_sandbox *sb;

	(void)state;
	memset(b.data + at, 0xff, PAGE_SIZE);
	snapshot_bytes_fix(&b);
	assert_int_equal(snapshot_bytes_open(&b, &s, NULL), 0);
	sb = fixture_sandbox(s, NULL);
	guest_read_call(fixture_vm(sb), &call);
	assert_int_equal(call.heap_start, l->heap_va);
	assert_int_equal(call.heap_end, l->heap_va + l->heap_len);
	assert_int_equal(call.flags, 0);
	assert_int_not_equal(call.generation, UINT64_MAX);
	sandbox_free(sb);
	mayfly_snapshot_unref(s);
}

/* --- files that are none --------------------------------------------------------------------- */

static int open_path(const char *path, mayfly_error *err)
{
	struct mayfly_snapshot *s;

	return snapshot_open(path, sandbox_kinds, mock_host(), &s, err);
}

static void missing_file_is_an_io_error(void **state)
{
	mayfly_error err = {0};

	(void)state;
	assert_int_equal(open_path("/nonexistent/snapshot", &err), MAYFLY_E_IO);
	assert_int_equal(err.sys_errno, ENOENT);
	assert_non_null(strstr(err.message, "/nonexistent/snapshot"));
}

static void directories_devices_and_fifos_are_refused_without_waiting(void **state)
{
	char dir[] = "/tmp/mayfly-test-XXXXXX", fifo[64];
	mayfly_error err = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	alarm(60);
	assert_int_equal(open_path(fifo, &err), MAYFLY_E_FORMAT);
	alarm(0);
	assert_non_null(strstr(err.message, "not a regular file"));
	assert_int_equal(open_path(dir, &err), MAYFLY_E_FORMAT);
	assert_int_equal(open_path("/dev/null", &err), MAYFLY_E_FORMAT);
	unlink(fifo);
	rmdir(dir);
}

/* Such as /dev/null, which root may rename over. */
static void saving_replaces_nothing_but_files(void **state)
{
	char dir[] = "/tmp/mayfly-test-XXXXXX", fifo[64];
	mayfly_error err = {0};
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(snapshot_save(snap, fifo, &err), MAYFLY_E_IO);
	assert_non_null(strstr(err.message, fifo));
	assert_non_null(strstr(err.message, "not a regular file"));
	assert_int_equal(stat(fifo, &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_int_equal(unlink(fifo), 0);
	assert_int_equal(rmdir(dir), 0);
}

static unsigned entries_of(const char *path)
{
	DIR *dir = opendir(path);
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

static void failed_save_leaves_nothing_behind(void **state)
{
	char dir[] = "/tmp/mayfly-test-XXXXXX", path[64];
	mayfly_error err = {0};

	(void)state;
	assert_int_equal(snapshot_save(snap, "/nonexistent/snapshot", &err), MAYFLY_E_IO);
	assert_non_null(strstr(err.message, "/nonexistent/snapshot"));
	assert_non_null(mkdtemp(dir));
	/* A directory in the way: renaming fails at the very end. */
	snprintf(path, sizeof(path), "%s/taken", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(snapshot_save(snap, path, &err), MAYFLY_E_IO);
	assert_int_equal(entries_of(dir), 1);
	rmdir(path);
	rmdir(dir);
}

static void saving_replaces_a_file_that_is_open(void **state)
{
	char dir[] = "/tmp/mayfly-test-XXXXXX", path[64];
	struct mayfly_snapshot *s = NULL;
	mayfly_error err = {0};

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/snapshot", dir);
	assert_int_equal(snapshot_save(snap, path, &err), 0);
	assert_int_equal(snapshot_open(path, sandbox_kinds, mock_host(), &s, &err), 0);
	assert_int_equal(snapshot_save(s, path, &err), 0);
	assert_int_equal(entries_of(dir), 1);
	use(s);
	mayfly_snapshot_unref(s);
	unlink(path);
	rmdir(dir);
}

static void running_out_of_memory_while_opening_leaks_nothing(void **state)
{
	unsigned fds;
	size_t n;

	(void)state;
	fds = fixture_open_fds();
	for (n = 1;; n++) {
		struct mayfly_snapshot *s = NULL;
		mayfly_error err = {0};
		int r;

		fail_alloc_at(n);
		r = snapshot_bytes_open(&b, &s, &err);
		if (!fail_alloc_end()) {
			assert_int_equal(r, 0);
			mayfly_snapshot_unref(s);
			break;
		}
		assert_int_equal(r, MAYFLY_E_NOMEM);
		assert_int_equal(err.code, MAYFLY_E_NOMEM);
		assert_int_equal(fixture_open_fds(), fds);
	}
	assert_true(n > 5);
	assert_int_equal(fixture_open_fds(), fds);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(saved_snapshot_opens_to_the_same),
		TEST(saving_what_was_opened_gives_the_same_bytes),
		TEST(hashes_are_what_they_are_said_to_be),
		TEST(saved_file_is_for_its_owner_only),
		TEST(damage_of_each_byte_of_the_header_is_found),
		TEST(damage_of_the_body_is_found),
		TEST(swapped_pages_are_found),
		TEST(file_cut_off_anywhere_is_refused),
		TEST(file_with_something_behind_it_is_refused),
		TEST(file_that_grows_while_it_is_opened_is_read_as_it_was),
		TEST(other_files_are_told_apart_from_damage),
		TEST(other_version_is_named),
		TEST(unknown_kind_of_guest_is_refused),
		TEST(feature_that_the_cpu_lacks_is_refused),
		TEST(vector_state_that_the_cpu_lacks_is_refused),
		TEST(state_flags_of_another_cpu_are_refused),
		TEST(cpu_with_more_than_needed_is_fine),
		TEST(wild_numbers_in_the_header_are_refused),
		TEST(lengths_that_overflow_are_refused),
		TEST(plan_that_breaks_w_xor_x_is_refused),
		TEST(plan_with_parts_that_cannot_be_read_is_refused),
		TEST(plan_that_puts_the_image_elsewhere_is_refused),
		TEST(wild_numbers_in_the_plan_are_refused_or_harmless),
		TEST(plan_of_huge_parts_costs_no_memory),
		TEST(description_that_is_cut_short_is_refused),
		TEST(hidden_bytes_behind_the_description_are_refused),
		TEST(wild_counts_in_the_manifest_are_refused),
		TEST(every_damaged_byte_of_the_manifest_is_refused_or_harmless),
		TEST(name_of_the_guest_is_made_printable),
		TEST(page_tables_in_the_file_are_not_used),
		TEST(call_block_in_the_file_means_nothing),
		TEST(missing_file_is_an_io_error),
		TEST(directories_devices_and_fifos_are_refused_without_waiting),
		TEST(saving_replaces_nothing_but_files),
		TEST(failed_save_leaves_nothing_behind),
		TEST(saving_replaces_a_file_that_is_open),
		TEST(running_out_of_memory_while_opening_leaks_nothing),
	};

	return cmocka_run_group_tests_name("snapshot_file", tests, NULL, NULL);
}

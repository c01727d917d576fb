/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot files: what is saved comes back; what is damaged, cut, of another version or for another
 * CPU is refused; and what was crafted, with checksums that are right, does no harm.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* --- the format ------------------------------------------------------------------------------ */

/* Of the header, as the library has it; the rest of the page is zero. */
struct header {
	char magic[8];
	uint32_t version;
	uint32_t kind;
	uint64_t file_len;
	uint64_t description_len;
	uint64_t shared_offset;
	uint64_t shared_len;
	uint64_t private_offset;
	uint64_t private_len;
	uint64_t private_used;
	uint64_t npresent;
	uint64_t xcr0;
	uint32_t features[8];
	uint64_t extra_len;
	uint64_t description_hash;
	uint64_t body_hash;
	uint64_t header_hash;
};

#define PAGE 4096u

static bool page_is_all_zero(const uint8_t *p)
{
	for (size_t i = 0; i < PAGE; i++)
		if (p[i])
			return false;
	return true;
}

static struct header header_of(const uint8_t *file)
{
	struct header h;

	memcpy(&h, file, sizeof(h));
	return h;
}

static void put_header(uint8_t *file, struct header *h)
{
	h->header_hash = 0;
	memcpy(file, h, sizeof(*h));
	h->header_hash = XXH3_64bits(file, PAGE);
	memcpy(file, h, sizeof(*h));
}

/* Makes the checksums right again, as far as the header's lengths make sense. */
static void seal(uint8_t *file, size_t len)
{
	struct header h = header_of(file);
	XXH3_state_t *hash = XXH3_createState();

	assert_non_null(hash);
	XXH3_64bits_reset(hash);
	if (h.description_len < len - PAGE)
		XXH3_64bits_update(hash, file + PAGE, h.description_len);
	h.description_hash = XXH3_64bits_digest(hash);
	if (h.shared_offset < len && h.shared_len <= len - h.shared_offset)
		XXH3_64bits_update(hash, file + h.shared_offset, h.shared_len);
	h.npresent = 0;
	if (h.private_offset < len && h.private_used <= len - h.private_offset)
		for (uint64_t n = 0; n < h.private_used / PAGE; n++) {
			const uint8_t *p = file + h.private_offset + n * PAGE;

			if (page_is_all_zero(p))
				continue;
			h.npresent++;
			XXH3_64bits_update(hash, &n, sizeof(n));
			XXH3_64bits_update(hash, p, PAGE);
		}
	h.body_hash = XXH3_64bits_digest(hash);
	XXH3_freeState(hash);
	put_header(file, &h);
}

/* --- helpers --------------------------------------------------------------------------------- */

/* Small, so that it is read quickly, with a count of 3 and some pages written. */
static struct box open_counted(void)
{
	struct box b = box_of(load("state", 1 << 20, 128 << 10, 8192), NULL);

	for (int i = 0; i < 3; i++)
		must(&b, "count");
	return b;
}

static void save(struct box *b, const char *path)
{
	mayfly_snapshot *snap;

	assert_ok(mayfly_sandbox_snapshot(b->sb, &snap, &b->err), &b->err);
	assert_ok(mayfly_snapshot_save(snap, path, &b->err), &b->err);
	mayfly_snapshot_unref(snap);
}

static uint8_t *saved_file(size_t *len)
{
	struct box b = open_counted();
	uint8_t *file;

	save(&b, temporary_path("saved"));
	box_close(&b);
	file = read_whole_file(temporary_path("saved"), len);
	return file;
}

static int open_bytes(const uint8_t *file, size_t len, mayfly_snapshot **out, mayfly_error *err)
{
	write_whole_file(temporary_path("crafted"), file, len);
	return mayfly_snapshot_open(temporary_path("crafted"), out, err);
}

static void check_refused(const uint8_t *file, size_t len, int code, const char *text)
{
	mayfly_snapshot *snap = (void *)&snap;
	mayfly_error err;

	assert_code(open_bytes(file, len, &snap, &err), code, &err);
	assert_ptr_equal(snap, &snap);
	assert_contains(err.message, temporary_path("crafted"));
	assert_contains(err.message, text);
}

/* Poke one byte in the file on disk, open it, put it back. */
static int open_flipped(int fd, size_t at, uint8_t mask, mayfly_snapshot **out,
			mayfly_error *err)
{
	uint8_t byte, flipped;
	int r;

	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	flipped = byte ^ mask;
	assert_int_equal(pwrite(fd, &flipped, 1, (off_t)at), 1);
	r = mayfly_snapshot_open(temporary_path("saved"), out, err);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	return r;
}

/* --- round trips ----------------------------------------------------------------------------- */

static void what_is_saved_comes_back(void **state)
{
	struct box b = box_open("state", NULL), c;
	mayfly_snapshot *snap;

	(void)state;
	for (int i = 0; i < 3; i++)
		must(&b, "count");
	save(&b, temporary_path("saved"));
	assert_int_equal(must(&b, "count").as.u64, 4);
	box_close(&b);
	assert_ok(mayfly_snapshot_open(temporary_path("saved"), &snap, &b.err), &b.err);
	c = box_of(snap, NULL);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(must(&c, "count").as.u64, 4);
		assert_int_equal(must(&c, "count").as.u64, 5);
		box_restore(&c);
	}
	/* As it came from the file it can be saved again, and is the same. */
	save(&c, temporary_path("again"));
	box_close(&c);
	assert_ok(mayfly_snapshot_open(temporary_path("again"), &snap, &b.err), &b.err);
	c = box_of(snap, NULL);
	assert_int_equal(must(&c, "count").as.u64, 4);
	box_close(&c);
	temporary_remove();
}

static void a_fresh_guest_can_be_saved(void **state)
{
	mayfly_snapshot *snap = load("types", 0, 0, 128 << 10), *back;
	mayfly_snapshot_info before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	const mayfly_function *fn;
	const char *name, *signature;
	mayfly_error err;
	struct box b;

	(void)state;
	assert_ok(mayfly_snapshot_save(snap, temporary_path("fresh"), &err), &err);
	assert_ok(mayfly_snapshot_open(temporary_path("fresh"), &back, &err), &err);
	assert_ok(mayfly_snapshot_get_info(snap, &before, &err), &err);
	assert_ok(mayfly_snapshot_get_info(back, &after, &err), &err);
	assert_memory_equal(&before, &after, sizeof(before));
	for (uint32_t i = 0; (fn = mayfly_snapshot_function_at(snap, i)); i++) {
		const mayfly_function *same = mayfly_snapshot_function_at(back, i);

		assert_string_equal(mayfly_function_name(fn), mayfly_function_name(same));
		assert_string_equal(mayfly_function_signature(fn),
				    mayfly_function_signature(same));
	}
	assert_false(mayfly_snapshot_import_at(back, 0, &name, &signature));
	b = box_of(back, NULL);
	assert_int_equal(must(&b, "add", mayfly_i64(40), mayfly_i64(2)).as.i64, 42);
	/* Another load is another guest, though of the same file. */
	assert_code(mayfly_sandbox_restore(b.sb, snap, &err), MAYFLY_E_INVALID, &err);
	box_close(&b);
	mayfly_snapshot_unref(snap);
	temporary_remove();
}

static int give_seven(void *context, mayfly_sandbox *sb, const mayfly_value *args, size_t nargs,
		      mayfly_value *result, mayfly_error *err)
{
	(void)context;
	(void)sb;
	(void)args;
	(void)nargs;
	(void)err;
	result->as.i64 = 7;
	return 0;
}

static void imports_symbols_and_faults_work_from_a_file(void **state)
{
	struct box b = box_open("hostcalls", NULL);
	mayfly_host_function f = {"host_i64", "i64(i64)", give_seven, NULL};
	mayfly_fault fault;
	mayfly_snapshot *snap;

	(void)state;
	save(&b, temporary_path("saved"));
	box_close(&b);
	assert_ok(mayfly_snapshot_open(temporary_path("saved"), &snap, &b.err), &b.err);
	b = box_of(snap, NULL);
	assert_ok(mayfly_sandbox_register(b.sb, &f, &b.err), &b.err);
	assert_int_equal(must(&b, "through_i64", mayfly_i64(1)).as.i64, 7);
	f.signature = "i64(u64)";
	assert_code(mayfly_sandbox_register(b.sb, &f, &b.err), MAYFLY_E_SIGNATURE, &b.err);
	box_close(&b);

	b = box_open("faults", NULL);
	save(&b, temporary_path("saved"));
	box_close(&b);
	assert_ok(mayfly_snapshot_open(temporary_path("saved"), &snap, &b.err), &b.err);
	b = box_of(snap, NULL);
	call(&b, "null_read");
	fault = assert_poisoned(&b, MAYFLY_E_FAULT, MAYFLY_FAULT_EXCEPTION, VECTOR_PAGE_FAULT,
				"divide");
	assert_string_equal(fault.function, "null_read");
	call(&b, "write_code");
	assert_poisoned(&b, MAYFLY_E_FAULT, MAYFLY_FAULT_EXCEPTION, VECTOR_PAGE_FAULT,
			"divide");
	box_close(&b);
	temporary_remove();
}

static void a_large_snapshot_comes_back_page_by_page(void **state)
{
	struct box b = box_of(load("dirty", (uint64_t)64 << 20, 0, 0), NULL);
	mayfly_snapshot *snap;
	struct stat st;

	(void)state;
	must(&b, "dirty_spread", mayfly_u32(200), mayfly_u32(50));
	save(&b, temporary_path("saved"));
	box_close(&b);
	assert_int_equal(stat(temporary_path("saved"), &st), 0);
	/* Holes where nothing was written. */
	assert_true(st.st_size > 60 << 20);
	assert_true(st.st_blocks * 512 < 8 << 20);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_ok(mayfly_snapshot_open(temporary_path("saved"), &snap, &b.err), &b.err);
	b = box_of(snap, NULL);
	for (uint32_t i = 0; i < 200; i++) {
		assert_true(must(&b, "dirtied", mayfly_u32(i * 50)).as.u64 == 1);
		assert_true(must(&b, "dirtied", mayfly_u32(i * 50 + 1)).as.u64 == 0);
	}
	must(&b, "dirty_spread", mayfly_u32(100), mayfly_u32(50));
	box_restore(&b);
	assert_true(must(&b, "dirtied", mayfly_u32(50)).as.u64 == 1);
	box_close(&b);
	temporary_remove();
}

static void control_words_come_back_from_a_file(void **state)
{
	struct box b = box_open("ending", NULL);
	mayfly_snapshot *snap;

	(void)state;
	must(&b, "set_mxcsr", mayfly_u32(0x5f80));
	must(&b, "set_x87_control", mayfly_u32(0xb7f));
	save(&b, temporary_path("saved"));
	box_close(&b);
	assert_ok(mayfly_snapshot_open(temporary_path("saved"), &snap, &b.err), &b.err);
	b = box_of(snap, NULL);
	assert_int_equal(must(&b, "get_mxcsr").as.u32, 0x5f80);
	assert_int_equal(must(&b, "get_x87_control").as.u32, 0xb7f);
	box_close(&b);
	temporary_remove();
}

/* --- saving ---------------------------------------------------------------------------------- */

static void saving_replaces_the_file_in_one_step(void **state)
{
	struct box b = open_counted(), c;
	mayfly_snapshot *first, *second;
	struct stat before, after;

	(void)state;
	save(&b, temporary_path("saved"));
	assert_int_equal(stat(temporary_path("saved"), &before), 0);
	assert_ok(mayfly_snapshot_open(temporary_path("saved"), &first, &b.err), &b.err);
	must(&b, "count");
	save(&b, temporary_path("saved"));
	assert_int_equal(stat(temporary_path("saved"), &after), 0);
	assert_true(before.st_ino != after.st_ino);
	/* The one that was open goes on with what it opened. */
	assert_ok(mayfly_snapshot_open(temporary_path("saved"), &second, &b.err), &b.err);
	c = box_of(first, NULL);
	assert_int_equal(must(&c, "count").as.u64, 4);
	box_close(&c);
	c = box_of(second, NULL);
	assert_int_equal(must(&c, "count").as.u64, 5);
	box_close(&c);
	box_close(&b);
	temporary_remove();
}

static void a_save_that_fails_leaves_nothing_behind(void **state)
{
	struct box b = open_counted();

	(void)state;
	assert_code(mayfly_snapshot_save(b.snap, "/nonexistent/saved", &b.err), MAYFLY_E_IO,
		    &b.err);
	assert_contains(b.err.message, "/nonexistent/saved");
	assert_int_equal(b.err.sys_errno, ENOENT);
	/* A directory cannot be replaced by a file. */
	assert_int_equal(mkdir(temporary_path("directory"), 0700), 0);
	assert_code(mayfly_snapshot_save(b.snap, temporary_path("directory"), &b.err),
		    MAYFLY_E_IO, &b.err);
	assert_int_equal(rmdir(temporary_path("directory")), 0);
	assert_int_equal(rmdir(temporary_directory()), 0);
	temporary_remove();
	box_close(&b);
}

/* --- refusals -------------------------------------------------------------------------------- */

static void what_is_no_snapshot_is_refused_by_name(void **state)
{
	mayfly_snapshot *snap;
	mayfly_error err;

	(void)state;
	need_kvm();
	assert_code(mayfly_snapshot_open("/nonexistent", &snap, &err), MAYFLY_E_IO, &err);
	assert_contains(err.message, "/nonexistent");
	assert_code(mayfly_snapshot_open("/tmp", &snap, &err), MAYFLY_E_FORMAT, &err);
	assert_code(mayfly_snapshot_open("/dev/zero", &snap, &err), MAYFLY_E_FORMAT, &err);
	assert_int_equal(mkfifo(temporary_path("fifo"), 0600), 0);
	assert_code(mayfly_snapshot_open(temporary_path("fifo"), &snap, &err), MAYFLY_E_FORMAT,
		    &err);
	assert_contains(err.message, "not a regular file");
	assert_code(mayfly_snapshot_open(guest_path("types"), &snap, &err), MAYFLY_E_FORMAT,
		    &err);
	assert_contains(err.message, "not a snapshot");
	temporary_remove();
}

static void every_flipped_byte_of_the_header_is_noticed(void **state)
{
	size_t len, step = in_lab() ? 16 : 1;
	uint8_t *file;
	mayfly_snapshot *snap;
	mayfly_error err;
	int fd;

	(void)state;
	need_kvm();
	file = saved_file(&len);
	free(file);
	fd = open(temporary_path("saved"), O_RDWR);
	for (size_t at = 0; at < PAGE; at += at < 128 ? 1 : step)
		for (unsigned mask = 1; mask < 256; mask = at < 128 ? mask << 1 : 256) {
			int r = open_flipped(fd, at, (uint8_t)mask, &snap, &err);

			if (r != MAYFLY_E_FORMAT && r != MAYFLY_E_UNSUPPORTED)
				fail_test("byte %zu: %d", at, r);
		}
	close(fd);
	temporary_remove();
}

static void flipped_bytes_of_the_body_are_noticed(void **state)
{
	size_t len, samples = in_lab() ? 60 : 600;
	uint64_t random = 3;
	struct header h;
	uint8_t *file;
	mayfly_snapshot *snap;
	mayfly_error err;
	int fd;

	(void)state;
	need_kvm();
	file = saved_file(&len);
	h = header_of(file);
	fd = open(temporary_path("saved"), O_RDWR);
	for (size_t i = 0; i < samples; i++) {
		/* Of the description and its padding, the code, the memory, in turn. */
		uint64_t start = i % 3 == 0   ? PAGE
				 : i % 3 == 1 ? h.shared_offset
					      : h.private_offset;
		uint64_t end = i % 3 == 0   ? h.shared_offset
			       : i % 3 == 1 ? h.private_offset
					    : len;
		uint64_t at = start + random_next(&random) % (end - start);
		int r = open_flipped(fd, at, (uint8_t)(1u << i % 8), &snap, &err);

		if (r != MAYFLY_E_FORMAT)
			fail_test("byte %llu of %zu: %d", (unsigned long long)at, len, r);
	}
	/* Undamaged again. */
	assert_ok(mayfly_snapshot_open(temporary_path("saved"), &snap, &err), &err);
	mayfly_snapshot_unref(snap);
	close(fd);
	free(file);
	temporary_remove();
}

static void truncated_and_extended_files_are_refused(void **state)
{
	mayfly_snapshot *snap;
	mayfly_error err;
	uint8_t *file;
	size_t len;

	(void)state;
	need_kvm();
	file = saved_file(&len);
	for (size_t cut = len; cut-- > 0;) {
		size_t step = cut > PAGE + 200 ? 4093 : cut > 200 && cut < PAGE - 200 ? 97 : 1;

		assert_int_equal(truncate(temporary_path("saved"), (off_t)cut), 0);
		assert_code(mayfly_snapshot_open(temporary_path("saved"), &snap, &err),
			    MAYFLY_E_FORMAT, &err);
		assert_contains(err.message, "truncated");
		cut -= cut > step ? step - 1 : 0;
	}
	file = realloc(file, len + PAGE);
	memset(file + len, 0, PAGE);
	check_refused(file, len + 1, MAYFLY_E_FORMAT, "too long");
	check_refused(file, len + PAGE, MAYFLY_E_FORMAT, "too long");
	free(file);
	temporary_remove();
}

static void pages_that_changed_places_are_noticed(void **state)
{
	uint64_t first = 0, second = 0;
	uint8_t page[PAGE];
	struct header h;
	uint8_t *file;
	size_t len;

	(void)state;
	need_kvm();
	file = saved_file(&len);
	h = header_of(file);
	for (uint64_t at = h.private_offset; at < len; at += PAGE)
		if (!page_is_all_zero(file + at)) {
			first = second;
			second = at;
		}
	assert_true(first && second);
	memcpy(page, file + first, PAGE);
	memcpy(file + first, file + second, PAGE);
	memcpy(file + second, page, PAGE);
	check_refused(file, len, MAYFLY_E_FORMAT, "damaged");
	free(file);
	temporary_remove();
}

static void other_versions_kinds_and_cpus_are_not_supported(void **state)
{
	mayfly_snapshot *snap;
	mayfly_error err;
	struct header h;
	uint8_t *file;
	size_t len;

	(void)state;
	need_kvm();
	file = saved_file(&len);
	/* The test's checksums are the library's. */
	h = header_of(file);
	seal(file, len);
	assert_memory_equal(&h, file, sizeof(h));
	assert_ok(open_bytes(file, len, &snap, &err), &err);
	mayfly_snapshot_unref(snap);

	h.version = 3;
	put_header(file, &h);
	check_refused(file, len, MAYFLY_E_UNSUPPORTED, "format version 3");
	h.version = 2;
	h.kind = 77;
	put_header(file, &h);
	check_refused(file, len, MAYFLY_E_UNSUPPORTED, "kind of guest (77)");
	h.kind = 1;
	for (size_t i = 0; i < COUNT_OF(h.features); i++) {
		uint32_t had = h.features[i];

		h.features[i] = UINT32_MAX;
		put_header(file, &h);
		check_refused(file, len, MAYFLY_E_UNSUPPORTED, "CPUID");
		h.features[i] = had;
	}
	h.xcr0 |= 1u << 18;
	put_header(file, &h);
	check_refused(file, len, MAYFLY_E_UNSUPPORTED, "XCR0");
	free(file);
	temporary_remove();
}

static void headers_that_make_no_sense_are_refused(void **state)
{
	static const size_t fields[] = {
		offsetof(struct header, file_len),
		offsetof(struct header, description_len),
		offsetof(struct header, shared_offset),
		offsetof(struct header, shared_len),
		offsetof(struct header, private_offset),
		offsetof(struct header, private_len),
		offsetof(struct header, npresent),
	};
	static const uint64_t values[] = {0,
					  1,
					  4095,
					  4096,
					  8192,
					  1 << 20,
					  INT64_MAX,
					  1ULL << 63,
					  UINT64_MAX,
					  UINT64_MAX - 4095,
					  UINT64_MAX / 4096};
	struct header good;
	uint8_t *file;
	size_t len;

	(void)state;
	need_kvm();
	file = saved_file(&len);
	good = header_of(file);
	for (size_t i = 0; i < COUNT_OF(fields); i++)
		for (size_t j = 0; j < COUNT_OF(values); j++) {
			struct header h = good;
			mayfly_snapshot *snap;
			mayfly_error err;
			int r;

			if (!memcmp((char *)&h + fields[i], &values[j], 8))
				continue;
			memcpy((char *)&h + fields[i], &values[j], 8);
			put_header(file, &h);
			r = open_bytes(file, len, &snap, &err);
			if (r != MAYFLY_E_FORMAT && r != MAYFLY_E_NOMEM)
				fail_test("field at %zu, value %zu: %d", fields[i], j, r);
		}
	free(file);
	temporary_remove();
}

/* --- crafted files --------------------------------------------------------------------------- */

/* Whatever is in it: opened or refused, it runs or faults. */
static unsigned use(const uint8_t *file, size_t len)
{
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	mayfly_snapshot *snap;
	mayfly_sandbox *sb;
	mayfly_error err;

	if (open_bytes(file, len, &snap, &err) < 0)
		return 0;
	options.timeout_ns = (in_lab() ? 500 : 50) * MS;
	if (new_sandbox(snap, &options, &sb, &err) == 0) {
		const mayfly_function *fn;

		for (uint32_t i = 0; i < 4 && (fn = mayfly_snapshot_function_at(snap, i));
		     i++) {
			mayfly_value args[MAYFLY_MAX_ARGS];

			for (size_t a = 0; a < mayfly_function_arg_count(fn); a++) {
				args[a] = mayfly_bytes_of("xyz", 3);
				args[a].type = mayfly_function_arg(fn, a);
				if (args[a].type != MAYFLY_STRING &&
				    args[a].type != MAYFLY_BYTES)
					args[a].as.u64 = 1;
			}
			mayfly_sandbox_call(sb, fn, args, mayfly_function_arg_count(fn), NULL,
					    &err);
			mayfly_sandbox_restore(sb, NULL, &err);
		}
		mayfly_sandbox_free(sb);
	}
	mayfly_snapshot_unref(snap);
	return 1;
}

static void crafted_descriptions_do_no_harm(void **state)
{
	uint64_t random = 11;
	unsigned opened = 0, rounds = in_lab() ? 15 : 120;
	struct header h;
	uint8_t *file, *copy;
	size_t len;

	(void)state;
	need_kvm();
	file = saved_file(&len);
	h = header_of(file);
	copy = malloc(len);
	assert_non_null(copy);
	for (unsigned i = 0; i < rounds; i++) {
		unsigned changes = 1 + (unsigned)(random_next(&random) % 3);

		memcpy(copy, file, len);
		for (unsigned c = 0; c < changes; c++) {
			/* Half of them in the layout and the exports, which come first. */
			uint64_t span = c % 2 ? h.description_len : 512;
			uint64_t at = PAGE + random_next(&random) % span;

			if (random_next(&random) % 2)
				copy[at] = (uint8_t)random_next(&random);
			else
				copy[at] ^= (uint8_t)(1u << i % 8);
		}
		seal(copy, len);
		opened += use(copy, len);
	}
	/* Some changes matter little (a name), most are refused. */
	print_message("%u of %u crafted descriptions were opened\n", opened, rounds);
	free(copy);
	free(file);
	temporary_remove();
}

static void crafted_memory_does_no_harm(void **state)
{
	uint64_t random = 12;
	unsigned opened = 0, rounds = in_lab() ? 12 : 72;
	struct header h;
	uint8_t *file, *copy;
	size_t len;

	(void)state;
	need_kvm();
	file = saved_file(&len);
	h = header_of(file);
	copy = malloc(len);
	assert_non_null(copy);
	for (unsigned i = 0; i < rounds; i++) {
		/* The first pages are where tables, ring 0's stack, CPU state, call block lie. */
		uint64_t page =
			i % 3 == 2 ? random_next(&random) % (h.private_len / PAGE) : i % 24;
		uint64_t *words = (uint64_t *)(void *)(copy + h.private_offset + page * PAGE);

		memcpy(copy, file, len);
		if (i % 4 == 0)
			memset(words, 0xff, PAGE);
		else
			for (unsigned c = 0; c < 64; c++)
				words[random_next(&random) % (PAGE / 8)] = random_next(&random);
		seal(copy, len);
		opened += use(copy, len);
	}
	assert_true(opened > 0);
	free(copy);
	free(file);
	temporary_remove();
}

static void a_crafted_cpu_state_does_no_harm(void **state)
{
	uint64_t random = 13, page = 0;
	unsigned rounds = in_lab() ? 12 : 90;
	struct header h;
	uint8_t *file, *copy;
	size_t len;

	(void)state;
	need_kvm();
	file = saved_file(&len);
	h = header_of(file);
	/* The page with MXCSR and control word where struct fn_fresh has them. */
	for (uint64_t p = 0; p < 24 && !page; p++) {
		const uint8_t *at = file + h.private_offset + p * PAGE;

		if (at[64] == 0x7f && at[65] == 0x03 && at[64 + 24] == 0x80 &&
		    at[64 + 25] == 0x1f)
			page = p;
	}
	assert_true(page != 0);
	copy = malloc(len);
	assert_non_null(copy);
	for (unsigned i = 0; i < rounds; i++) {
		uint8_t *p = copy + h.private_offset + page * PAGE;

		memcpy(copy, file, len);
		/* Segment bases, stack, flags; the XSAVE image and its header. */
		for (unsigned c = 0; c < 4; c++) {
			uint64_t at = i % 3 == 0   ? random_next(&random) % 64
				      : i % 3 == 1 ? 64 + 512 + random_next(&random) % 64
						   : 64 + random_next(&random) % 2696;

			p[at] = (uint8_t)random_next(&random);
		}
		seal(copy, len);
		use(copy, len);
	}
	free(copy);
	free(file);
	temporary_remove();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_saved_comes_back),
		cmocka_unit_test(a_fresh_guest_can_be_saved),
		cmocka_unit_test(imports_symbols_and_faults_work_from_a_file),
		cmocka_unit_test(a_large_snapshot_comes_back_page_by_page),
		cmocka_unit_test(control_words_come_back_from_a_file),
		cmocka_unit_test(saving_replaces_the_file_in_one_step),
		cmocka_unit_test(a_save_that_fails_leaves_nothing_behind),
		cmocka_unit_test(what_is_no_snapshot_is_refused_by_name),
		cmocka_unit_test(every_flipped_byte_of_the_header_is_noticed),
		cmocka_unit_test(flipped_bytes_of_the_body_are_noticed),
		cmocka_unit_test(truncated_and_extended_files_are_refused),
		cmocka_unit_test(pages_that_changed_places_are_noticed),
		cmocka_unit_test(other_versions_kinds_and_cpus_are_not_supported),
		cmocka_unit_test(headers_that_make_no_sense_are_refused),
		cmocka_unit_test(crafted_descriptions_do_no_harm),
		cmocka_unit_test(crafted_memory_does_no_harm),
		cmocka_unit_test(a_crafted_cpu_state_does_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

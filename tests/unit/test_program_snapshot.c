/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of programs: spoiled ones, and what a program may do to memory that came from one. On
 * the mock hypervisor.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/io.h"
#include "linux/checkpoint.h"
#include "core/codec.h"
#include "linux/functions.h"
#include "linux/guest.h"
#include "linux/mm_areas.h"
#include "program_fixture.h"
#include "snapshot_bytes.h"

#undef fail /* core/error.h has its own */
#include <cmocka.h>

#define HEAP 0x10000000u /* what the program maps before it is saved, and touches */
#define HEAP_SIZE 0x4000u
#define HOLE (PROGRAM_DATA_END + 0x1000)

static struct tree tree;
static struct mayfly_snapshot *snap;

static void make_snapshot(void)
{
	static const uint64_t calls[][7] = {
		{SYS_mmap, HEAP, HEAP_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, UINT64_MAX, 0},
		{SYS_pipe, PROGRAM_DATA},
		{SYS_eventfd2, 1, 0},
		{PROG_SYS_READY, 0},
	};
	mayfly_process_options o = program_options(&tree);
	struct process *p;

	assert_int_equal(process_new(&hv_mock, &o, &p, NULL), 0);
	mm_write(&p->mm, PROGRAM_DATA + 0x3000, "kept", 5);
	assert_int_equal(program_run(p, calls, ARRAY_SIZE(calls)).end, MAYFLY_END_PAUSE);
	mm_write(&p->mm, HEAP, "heap", 5);
	assert_int_equal(checkpoint_save(p, &snap, NULL), 0);
	process_free(p);
}

/* --- Memory ----------------------------------------------------------------------------------- */

static void memory_is_as_it_was(void **state)
{
	struct process *p = program_continued(&tree, snap);

	(void)state;
	assert_true(program_holds(p, PROGRAM_DATA + 0x3000, "kept"));
	assert_true(program_holds(p, HEAP, "heap"));
	assert_int_equal(program_run(p, NULL, 0).status, 7);
	process_free(p);
}

static void what_could_not_be_written_cannot_be(void **state)
{
	struct process *p = program_continued(&tree, snap);

	(void)state;
	for (int again = 0; again < 2; again++) {
		assert_int_equal(mm_write(&p->mm, PROGRAM_READ_ONLY, "x", 1), -EFAULT);
		assert_int_equal(mm_write(&p->mm, PROGRAM_TEXT, "x", 1), -EFAULT);
		assert_int_equal(mm_write(&p->mm, PROGRAM_NONE, "x", 1), -EFAULT);
		assert_int_equal(mm_write(&p->mm, PROGRAM_DATA, "x", 1), 0);
		program_restore(p);
	}
	process_free(p);
}

static void holes_between_mappings_are_not_there(void **state)
{
	struct process *p = program_continued(&tree, snap);
	char byte;

	(void)state;
	for (int again = 0; again < 2; again++) {
		assert_int_equal(mm_write(&p->mm, HOLE, "x", 1), -EFAULT);
		assert_int_equal(mm_read(&p->mm, &byte, HOLE, 1), -EFAULT);
		assert_int_equal(mm_write(&p->mm, HEAP + HEAP_SIZE, "x", 1), -EFAULT);
		assert_int_equal(mm_read(&p->mm, &byte, PROGRAM_NONE, 1), -EFAULT);
		program_restore(p);
	}
	process_free(p);
}

static void calls_that_point_anywhere_do_not_spoil_a_restore(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_write, 1, PROGRAM_READ_ONLY, 100},
		{SYS_write, 1, PROGRAM_TEXT, 4096},
		{SYS_read, 3, PROGRAM_READ_ONLY, 100},
		{SYS_read, 3, PROGRAM_NONE, 100},
		{SYS_read, 3, HOLE, 100},
		{SYS_getrandom, HOLE, 4096},
		{SYS_read, 0, 0x7ffffff00000, 100},
		{SYS_read, 0, 0x7fffffffe000, 100},
		{SYS_write, 1, HEAP + HEAP_SIZE, 0x1000},
		{SYS_write, 1, 0x5fffff, 100},
		{SYS_getrandom, PROGRAM_DATA, 0x10000},
		{SYS_futex, HOLE, 1, 1},
	};
	struct process *p = program_continued(&tree, snap);

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(program_run(p, calls, ARRAY_SIZE(calls)).status, 7);
		program_restore(p);
		assert_true(program_holds(p, PROGRAM_DATA + 0x3000, "kept"));
	}
	process_free(p);
}

static void rights_that_were_changed_are_back_after_a_restore(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_mprotect, PROGRAM_READ_ONLY, 0x1000, PROT_READ | PROT_WRITE},
		{SYS_getrandom, PROGRAM_READ_ONLY, 100},
		{SYS_mprotect, PROGRAM_NONE, 0x1000, PROT_READ | PROT_WRITE},
		{SYS_getrandom, PROGRAM_NONE, 100},
		{SYS_mprotect, PROGRAM_DATA, 0x1000, PROT_NONE},
		{SYS_munmap, HEAP, HEAP_SIZE},
		{SYS_mmap, HOLE, 0x1000, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, UINT64_MAX, 0},
		{SYS_getrandom, HOLE, 100},
	};
	struct process *p = program_continued(&tree, snap);
	char byte;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(program_run(p, calls, ARRAY_SIZE(calls)).status, 7);
		program_restore(p);
		assert_int_equal(mm_write(&p->mm, PROGRAM_READ_ONLY, "x", 1), -EFAULT);
		assert_int_equal(mm_read(&p->mm, &byte, PROGRAM_READ_ONLY, 1), 0);
		assert_int_equal(byte, 0x7f);
		assert_int_equal(mm_read(&p->mm, &byte, PROGRAM_NONE, 1), -EFAULT);
		assert_int_equal(mm_read(&p->mm, &byte, HOLE, 1), -EFAULT);
		assert_true(program_holds(p, HEAP, "heap"));
	}
	process_free(p);
}

static void all_that_was_unmapped_is_back_after_a_restore(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_munmap, PROG_LOW_VA, PROG_VA_END - PROG_LOW_VA},
		{SYS_mmap, HEAP, 0x1000, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, UINT64_MAX, 0},
	};
	struct process *p = program_continued(&tree, snap);

	(void)state;
	for (int i = 0; i < 3; i++) {
		program_run(p, calls, ARRAY_SIZE(calls));
		program_restore(p);
		assert_true(program_holds(p, HEAP, "heap"));
		assert_true(program_holds(p, PROGRAM_DATA + 0x3000, "kept"));
	}
	process_free(p);
}

/* The first processes tell the snapshot what they write, which then is written ahead. */
static void memory_written_behind_the_image_is_no_trap_for_the_next(void **state)
{
	static const uint64_t calls[][7] = {
		{SYS_mmap, 0x20000000, 0x40000, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, UINT64_MAX, 0},
		{SYS_getrandom, 0x20000000, 0x40000},
		{SYS_getrandom, HEAP + 0x2000, 0x1000},
	};

	(void)state;
	for (int i = 0; i < 6; i++) {
		struct process *p = program_continued(&tree, snap);

		assert_int_equal(program_run(p, calls, ARRAY_SIZE(calls)).status, 7);
		if (i % 2)
			program_restore(p);
		process_free(p);
	}
}

static void charges_are_those_of_the_mappings(void **state)
{
	struct process *p = program_continued(&tree, snap);
	uint64_t charged = atomic_load(&p->mm.charged);

	(void)state;
	assert_true(charged > 0 && charged <= p->mm.limit);
	program_restore(p);
	assert_int_equal(atomic_load(&p->mm.charged), charged);
	process_free(p);
}

/* --- Spoiled state ---------------------------------------------------------------------------- */

/* The same memory with other state. */
static struct mayfly_snapshot *with_state(const uint8_t *data, size_t len)
{
	struct mayfly_snapshot *made = NULL;
	struct snapshot_builder b;

	assert_int_equal(snapshot_builder_init(&b, snap->guest, NULL), 0);
	for (uint64_t page = 0; page < snap->used / PAGE_SIZE; page++)
		if (bitmap_test(snap->present, page))
			assert_int_equal(snapshot_builder_put(&b, page,
							      snap->image + page * PAGE_SIZE, 1,
							      NULL),
					 0);
	b.extra = malloc(len + 1);
	assert_non_null(b.extra);
	memcpy(b.extra, data, len);
	b.extra_len = len;
	assert_int_equal(snapshot_builder_finish(&b, &made, NULL), 0);
	snapshot_builder_fini(&b);
	return made;
}

static void state_refused(const uint8_t *data, size_t len, const char *reason)
{
	struct mayfly_snapshot *made = with_state(data, len);
	struct process *p = NULL;
	mayfly_error err = {.code = 0};
	int r = program_continue(&tree, made, &p, &err);

	if (r == 0)
		process_free(p);
	if (r != MAYFLY_E_FORMAT || !strstr(err.message, reason))
		fail_msg("%d: %s; not: ...%s...", r, err.message, reason);
	mayfly_snapshot_unref(made);
}

/* A copy of the state, in 8-byte words; free() it. */
static uint64_t *copy_state(void)
{
	uint64_t *copy = malloc(snap->extra_len + 8);

	assert_non_null(copy);
	memcpy(copy, snap->extra, snap->extra_len);
	return copy;
}

/* Indices of words: the version, 12 numbers, then counted lists (checkpoint_mm.c). */
#define AT_CHUNKS 13
#define AREA_WORDS 5

static size_t at_areas(const uint64_t *words)
{
	return AT_CHUNKS + 1 + words[AT_CHUNKS];
}

static void each_truncation_is_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < snap->extra_len; len += len < 1000 ? 8 : 61) {
		struct mayfly_snapshot *made = with_state(snap->extra, len);
		struct process *p = NULL;
		mayfly_error err = {.code = 0};

		assert_int_equal(program_continue(&tree, made, &p, &err), MAYFLY_E_FORMAT);
		assert_true(err.message[0] != '\0');
		mayfly_snapshot_unref(made);
	}
}

static void another_version_is_refused(void **state)
{
	uint64_t *words = copy_state();

	(void)state;
	words[0]++;
	state_refused((uint8_t *)words, snap->extra_len, "no program's state");
	free(words);
}

static void two_pieces_with_one_chunk_are_refused(void **state)
{
	uint64_t *words = copy_state();

	(void)state;
	assert_true(words[AT_CHUNKS] >= 2);
	words[AT_CHUNKS + 1] =
		(words[AT_CHUNKS + 1] & ~0xffffffULL) | (words[AT_CHUNKS + 2] & 0xffffff);
	state_refused((uint8_t *)words, snap->extra_len, "list of memory");
	free(words);
}

static void chunks_that_cannot_be_are_refused(void **state)
{
	/* Piece, and the chunk's number + 1. */
	const uint64_t wrong[] = {
		0,
		(uint64_t)3 << 24,
		(uint64_t)3 << 24 | 0xffffff,
		(uint64_t)0 << 24 | 1,
		(PROG_VA_END / MM_CHUNK + 1) << 24 | 1,
		(uint64_t)0xffffffffff << 24 | 1,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		uint64_t *words = copy_state();

		words[AT_CHUNKS + 1] = wrong[i];
		state_refused((uint8_t *)words, snap->extra_len, "list of memory");
		free(words);
	}
}

static void counts_that_cannot_be_are_refused(void **state)
{
	uint64_t *words = copy_state();
	size_t areas = at_areas(words);

	(void)state;
	words[AT_CHUNKS] = UINT64_MAX;
	state_refused((uint8_t *)words, snap->extra_len, "list of memory");
	words[AT_CHUNKS] = areas - AT_CHUNKS - 1;
	words[areas] = MM_MAX_AREAS + 1;
	state_refused((uint8_t *)words, snap->extra_len, "damaged");
	words[areas] = MM_MAX_AREAS;
	state_refused((uint8_t *)words, snap->extra_len, "list of mappings");
	free(words);
}

static void mappings_that_cannot_be_are_refused(void **state)
{
	static const struct {
		size_t field; /* of the second area */
		uint64_t value;
	} wrong[] = {
		{0, 0},
		{0, PROG_LOW_VA - PAGE_SIZE},
		{0, PROGRAM_DATA + 1},
		{0, UINT64_MAX - PAGE_MASK},
		{1, 0},
		{1, PROG_VA_END + PAGE_SIZE},
		{1, PROGRAM_DATA + 1},
		{1, UINT64_MAX},
		{2, 8},
		{2, UINT64_MAX},
		{0, PROGRAM_TEXT},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		uint64_t *words = copy_state();
		uint64_t *area = words + at_areas(words) + 1 + AREA_WORDS;

		area[wrong[i].field] = wrong[i].value;
		state_refused((uint8_t *)words, snap->extra_len, "list of mappings");
		free(words);
	}
}

/* The thread's program counter, before its flags; strings of any length come before. */
static uint8_t *find_rip(uint8_t *data)
{
	/* It is to make the call again. */
	const uint64_t regs[2] = {PROGRAM_TEXT + 0x802 - 2, CPU_RFLAGS_START};
	uint8_t *at = memmem(data, snap->extra_len, regs, sizeof(regs));

	assert_non_null(at);
	return at;
}

static void threads_outside_of_user_addresses_are_refused(void **state)
{
	static const uint64_t wild[] = {PROG_VA_END, (uint64_t)1 << 63, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wild); i++) {
		uint64_t *words = copy_state();

		memcpy(find_rip((uint8_t *)words), &wild[i], sizeof(wild[i]));
		state_refused((uint8_t *)words, snap->extra_len, "state of the program");
		free(words);
	}
}

/* --- Spoiled files ---------------------------------------------------------------------------- */

static int open_bytes(struct snapshot_bytes *b, struct mayfly_snapshot **out, mayfly_error *err)
{
	const struct guest_kind *const kinds[] = {&program_guest_kind, NULL};
	char path[64];

	assert_int_equal(ftruncate(b->fd, 0), 0);
	assert_int_equal(ftruncate(b->fd, (off_t)b->len), 0);
	for (size_t at = 0; at < b->len; at += PAGE_SIZE) {
		size_t part = b->len - at < PAGE_SIZE ? b->len - at : PAGE_SIZE;

		if (part < PAGE_SIZE || !page_is_zero(b->data + at))
			assert_int_equal(write_all(b->fd, b->data + at, part, at, err), 0);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", b->fd);
	return snapshot_open(path, kinds, mock_host(), out, err);
}

static void a_saved_program_goes_on(void **state)
{
	struct mayfly_snapshot *opened = NULL;
	struct snapshot_bytes b;
	mayfly_error err = {.code = 0};
	struct process *p;

	(void)state;
	snapshot_bytes_save(snap, &b);
	if (open_bytes(&b, &opened, &err) < 0)
		fail_msg("%s", err.message);
	p = program_continued(&tree, opened);
	assert_true(program_holds(p, HEAP, "heap"));
	assert_int_equal(program_run(p, NULL, 0).status, 7);
	process_free(p);
	mayfly_snapshot_unref(opened);
	snapshot_bytes_free(&b);
}

/* Whatever it becomes: refused with a reason, or run to some end. */
static void open_and_run(struct snapshot_bytes *b)
{
	static const uint64_t calls[][7] = {
		{SYS_read, 3, PROGRAM_DATA, 10},
		{SYS_read, 5, PROGRAM_DATA, 10},
		{SYS_getcwd, PROGRAM_DATA, 100},
		{SYS_kill, PROCESS_PID, 23},
		{SYS_mmap, 0, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, UINT64_MAX, 0},
		{SYS_write, 1, HEAP, HEAP_SIZE},
		{SYS_brk, 0},
	};
	struct mayfly_snapshot *opened = NULL;
	struct process *p = NULL;
	mayfly_error err = {.code = 0};
	int r = open_bytes(b, &opened, &err);

	if (r == 0)
		r = program_continue(&tree, opened, &p, &err);
	if (r == 0) {
		program_run(p, calls, ARRAY_SIZE(calls));
		process_free(p);
	} else {
		assert_true(err.message[0] != '\0');
	}
	mayfly_snapshot_unref(opened);
	assert_int_equal(mock_live(), 0);
}

static void what_it_exports_is_saved_with_it(void **state)
{
	struct mayfly_snapshot *opened = NULL;
	const mayfly_function *run;
	struct snapshot_bytes b;
	mayfly_error err;

	(void)state;
	snapshot_bytes_save(snap, &b);
	assert_int_equal(open_bytes(&b, &opened, &err), 0);
	assert_int_equal(functions_find(program_guest_of(opened->guest), "run", &run, &err), 0);
	assert_int_equal(run->va, PROGRAM_TEXT + 0x800);
	assert_string_equal(run->text, "u64(string)");
	mayfly_snapshot_unref(opened);
	snapshot_bytes_free(&b);
}

static void each_flipped_word_of_the_description_is_survived(void **state)
{
	static const uint64_t flips[] = {1, (uint64_t)1 << 63, UINT64_MAX};
	struct snapshot_bytes b;
	uint64_t len, word, flipped;

	(void)state;
	snapshot_bytes_save(snap, &b);
	len = snapshot_bytes_header(&b)->description_len;
	assert_true(len > snap->extra_len);
	for (uint64_t at = 0; at + 8 <= len; at += 8) {
		uint8_t *place = b.data + PAGE_SIZE + at;

		memcpy(&word, place, sizeof(word));
		/* The vector state is long, and all alike. */
		if (!word && at % 64)
			continue;
		flipped = word ^ flips[at / 8 % ARRAY_SIZE(flips)];
		memcpy(place, &flipped, sizeof(flipped));
		assert_true(snapshot_bytes_fix(&b));
		open_and_run(&b);
		memcpy(place, &word, sizeof(word));
	}
	snapshot_bytes_free(&b);
}

static void lengths_in_the_header_are_checked(void **state)
{
	static const uint64_t wrong[] = {
		0, 1, 8, 4095, 1 << 20, (uint64_t)1 << 40, UINT64_MAX - 7};
	struct snapshot_bytes b;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		snapshot_bytes_save(snap, &b);
		snapshot_bytes_header(&b)->extra_len = wrong[i];
		snapshot_bytes_fix(&b);
		open_and_run(&b);
		snapshot_bytes_free(&b);
		snapshot_bytes_save(snap, &b);
		snapshot_bytes_header(&b)->private_used = wrong[i];
		snapshot_bytes_fix(&b);
		open_and_run(&b);
		snapshot_bytes_free(&b);
	}
}

/* --- Limits ----------------------------------------------------------------------------------- */

static void a_host_limit_on_files_is_an_error(void **state)
{
	struct rlimit old, small = {1 << 20, RLIM_INFINITY};
	mayfly_process_options o = program_options(&tree);
	struct process *p = NULL;
	mayfly_error err = {.code = 0};
	int r;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	r = process_new(&hv_mock, &o, &p, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(r, MAYFLY_E_NOMEM);
	assert_non_null(strstr(err.message, "ulimit -f"));
}

static int set_up(void **state)
{
	(void)state;
	mock_reset();
	tree_make(&tree);
	make_snapshot();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	mayfly_snapshot_unref(snap);
	tree_remove(&tree);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_as_it_was),
		cmocka_unit_test(what_could_not_be_written_cannot_be),
		cmocka_unit_test(holes_between_mappings_are_not_there),
		cmocka_unit_test(calls_that_point_anywhere_do_not_spoil_a_restore),
		cmocka_unit_test(rights_that_were_changed_are_back_after_a_restore),
		cmocka_unit_test(all_that_was_unmapped_is_back_after_a_restore),
		cmocka_unit_test(memory_written_behind_the_image_is_no_trap_for_the_next),
		cmocka_unit_test(charges_are_those_of_the_mappings),
		cmocka_unit_test(each_truncation_is_refused),
		cmocka_unit_test(another_version_is_refused),
		cmocka_unit_test(two_pieces_with_one_chunk_are_refused),
		cmocka_unit_test(chunks_that_cannot_be_are_refused),
		cmocka_unit_test(counts_that_cannot_be_are_refused),
		cmocka_unit_test(mappings_that_cannot_be_are_refused),
		cmocka_unit_test(threads_outside_of_user_addresses_are_refused),
		cmocka_unit_test(a_saved_program_goes_on),
		cmocka_unit_test(what_it_exports_is_saved_with_it),
		cmocka_unit_test(each_flipped_word_of_the_description_is_survived),
		cmocka_unit_test(lengths_in_the_header_are_checked),
		cmocka_unit_test(a_host_limit_on_files_is_an_error),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

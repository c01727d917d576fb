/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Address spaces: what stays of the host's mappings where a call fails, and what is charged. On the
 * mock hypervisor; nothing of the program runs.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux/mm_areas.h"
#include "program_fixture.h"

#undef fail /* core/error.h has its own */
#include <cmocka.h>

#define RW ((uint32_t)(PROT_READ | PROT_WRITE))
#define PRIVATE ((uint32_t)(MAP_PRIVATE | MAP_ANONYMOUS))
#define AT 0x10000000u

static struct tree tree;
static struct process *p;

static int set_up(void **state)
{
	mayfly_process_options o;
	mayfly_error err;

	(void)state;
	mock_reset();
	tree_make(&tree);
	o = program_options(&tree);
	if (process_new(&hv_mock, &o, &p, &err) == 0)
		return 0;
	fprintf(stderr, "%s\n", err.message);
	return -1;
}

static int tear_down(void **state)
{
	(void)state;
	process_free(p);
	tree_remove(&tree);
	return 0;
}

/* --- The host's kernel, as it was before Linux 6.12 ------------------------------------------- */

static bool is_old;

/* The end of what is mapped without a hole at `start`; of one mapping, or of several. */
static uintptr_t mapped_until(uintptr_t start, bool one)
{
	unsigned long from, to;
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "re");

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx", &from, &to) != 2 || from > start || to <= start)
			continue;
		start = to;
		if (one)
			break;
	}
	fclose(maps);
	return start;
}

/* With MAP_FIXED what is there goes first, and then the file is asked. */
void *mmap(void *address, size_t len, int prot, int flags, int fd, off_t offset)
{
	if (is_old && (flags & MAP_FIXED) && fd >= 0)
		syscall(SYS_munmap, address, len);
	return (void *)syscall(SYS_mmap, address, len, prot, flags, fd, offset);
}

/* The same of MREMAP_FIXED; and it takes part of one mapping only. */
void *mremap(void *old, size_t old_len, size_t new_len, int flags, ...)
{
	void *address = NULL;
	va_list args;

	va_start(args, flags);
	if (flags & MREMAP_FIXED)
		address = va_arg(args, void *);
	va_end(args);
	if (is_old && (flags & MREMAP_FIXED))
		syscall(SYS_munmap, address, new_len);
	if (is_old && mapped_until((uintptr_t)old, true) < (uintptr_t)old + old_len) {
		errno = EFAULT;
		return MAP_FAILED;
	}
	return (void *)syscall(SYS_mremap, old, old_len, new_len, flags, address);
}

/* Whether all addresses of the guest's memory are its own: no other mapping can get there. */
static bool is_whole(void)
{
	uintptr_t base = (uintptr_t)p->mm.base;

	return mapped_until(base, false) >= base + p->guest->map.private_len;
}

/* --- Mappings of the host --------------------------------------------------------------------- */

static struct file *memory_file(uint64_t size)
{
	int fd = memfd_create("mapped", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct file *file;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	file = file_new(FILE_REGULAR, fd, O_RDWR, "/mapped");
	assert_non_null(file);
	return file;
}

static void no_hole_is_left_where_a_file_refuses_its_mapping(void **state)
{
	struct file *file = memory_file(MM_CHUNK);
	const struct mm_source source = {file, 0};
	int64_t va;

	(void)state;
	is_old = true;
	/* Not mapped on the host before it is used; until then there is no writer to the kernel. */
	va = mm_map(&p->mm, AT, MM_CHUNK, RW, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, &source);
	assert_int_equal(va, AT);
	assert_int_equal(fcntl(file->fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(mm_zero(&p->mm, AT, 1), -EFAULT);
	is_old = false;
	assert_true(mm_chunk_of(&p->mm, AT) >= 0);
	assert_true(is_whole());
	file_put(file);
}

static void memory_of_several_host_mappings_is_moved(void **state)
{
	const uint64_t order[] = {0, 2, 4, 1, 3};
	char text[8];

	(void)state;
	is_old = true;
	/* The kernel does not join neighbours that each had pages before. */
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		uint64_t va = AT + order[i] * PAGE_SIZE;

		assert_int_equal(mm_map(&p->mm, va, PAGE_SIZE, RW, PRIVATE | MAP_FIXED, NULL),
				 va);
		snprintf(text, sizeof(text), "page %d", (int)order[i]);
		assert_int_equal(mm_write(&p->mm, va, text, sizeof(text)), 0);
	}
	assert_true(mapped_until((uintptr_t)mm_host_address(&p->mm, AT), true) <
		    (uintptr_t)mm_host_address(&p->mm, AT) + 5 * PAGE_SIZE);
	assert_int_equal(mm_remap(&p->mm, AT, 5 * PAGE_SIZE, 5 * PAGE_SIZE,
				  MREMAP_MAYMOVE | MREMAP_FIXED, 2 * AT),
			 2 * AT);
	is_old = false;
	assert_true(is_whole());
	for (uint64_t i = 0; i < 5; i++) {
		char is[8];

		snprintf(text, sizeof(text), "page %d", (int)i);
		assert_int_equal(mm_read(&p->mm, is, 2 * AT + i * PAGE_SIZE, sizeof(is)), 0);
		assert_string_equal(is, text);
	}
	assert_int_equal(mm_read(&p->mm, text, AT, 1), -EFAULT);
}

static size_t host_mappings(void)
{
	unsigned long from, base = (uintptr_t)p->mm.base;
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "re");
	size_t count = 0;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		count += sscanf(line, "%lx-", &from) == 1 && from >= base &&
			 from - base < p->guest->map.private_len;
	fclose(maps);
	return count;
}

/* Pages that are used one by one, and then those between them. */
static void areas_that_the_host_does_not_join_are_limited(void **state)
{
	uint64_t va = AT + PAGE_SIZE;
	int64_t r = 0;

	(void)state;
	p->mm.limit = (uint64_t)1 << 40;
	for (int i = 0; r >= 0 && i < 50000; i++, va += 2 * PAGE_SIZE) {
		r = mm_map(&p->mm, va + PAGE_SIZE, PAGE_SIZE, RW, PRIVATE | MAP_FIXED, NULL);
		if (r >= 0)
			r = mm_zero(&p->mm, va + PAGE_SIZE, 1);
		if (r >= 0)
			r = mm_map(&p->mm, va, PAGE_SIZE, RW, PRIVATE | MAP_FIXED, NULL);
	}
	assert_int_equal(r, -ENOMEM);
	assert_true(p->mm.nareas < 100);
	assert_true(host_mappings() <= 2 * (MM_MAX_AREAS + p->mm.npieces));
	/* Without them there is room again. */
	assert_int_equal(mm_unmap(&p->mm, AT, va - AT), 0);
	assert_int_equal(mm_map(&p->mm, AT, PAGE_SIZE, RW, PRIVATE | MAP_FIXED, NULL), AT);
}

static void areas_that_the_host_joins_do_not_count(void **state)
{
	uint64_t va = AT;

	(void)state;
	p->mm.limit = (uint64_t)1 << 40;
	for (int i = 0; i < 2 * MM_MAX_AREAS; i++, va += PAGE_SIZE)
		assert_int_equal(
			mm_map(&p->mm, va, PAGE_SIZE, PROT_NONE, PRIVATE | MAP_FIXED, NULL),
			va);
	assert_true(p->mm.nareas < 100);
}

/* --- Charges ---------------------------------------------------------------------------------- */

static uint64_t charged(void)
{
	return atomic_load(&p->mm.charged);
}

static void what_was_written_is_charged_when_it_is_read_only(void **state)
{
	uint64_t before = charged(), len = MM_CHUNK;

	(void)state;
	assert_int_equal(mm_map(&p->mm, AT, len, RW, PRIVATE | MAP_FIXED, NULL), AT);
	assert_int_equal(charged(), before + len);
	assert_int_equal(mm_protect(&p->mm, AT, len / 2, PROT_READ), 0);
	assert_int_equal(charged(), before + len);
	assert_int_equal(mm_protect(&p->mm, AT, len, PROT_NONE), 0);
	assert_int_equal(charged(), before + len);
	assert_int_equal(mm_protect(&p->mm, AT, len, RW), 0);
	assert_int_equal(charged(), before + len);
	assert_int_equal(mm_unmap(&p->mm, AT, len), 0);
	assert_int_equal(charged(), before);
}

static void what_is_discarded_behind_no_rights_is_not_charged(void **state)
{
	uint64_t before = charged(), len = MM_CHUNK;
	uint8_t byte = 1;

	(void)state;
	assert_int_equal(mm_map(&p->mm, AT, len, RW, PRIVATE | MAP_FIXED, NULL), AT);
	assert_int_equal(mm_write(&p->mm, AT, &byte, 1), 0);
	assert_int_equal(mm_protect(&p->mm, AT, len, PROT_NONE), 0);
	assert_int_equal(mm_advise(&p->mm, AT, len / 4, MADV_DONTNEED), 0);
	assert_int_equal(charged(), before + len / 4 * 3);
	assert_int_equal(mm_advise(&p->mm, AT, len, MADV_DONTNEED), 0);
	assert_int_equal(charged(), before);
	assert_int_equal(mm_protect(&p->mm, AT, len, RW), 0);
	assert_int_equal(charged(), before + len);
	assert_int_equal(mm_read(&p->mm, &byte, AT, 1), 0);
	assert_int_equal(byte, 0);
	assert_int_equal(mm_unmap(&p->mm, AT, len), 0);
	assert_int_equal(charged(), before);
}

static void writing_and_taking_the_right_away_ends_at_the_limit(void **state)
{
	uint64_t va = AT, made = 0;
	int64_t r;

	(void)state;
	for (;; va += MM_CHUNK, made += MM_CHUNK) {
		r = mm_map(&p->mm, va, MM_CHUNK, RW, PRIVATE | MAP_FIXED, NULL);
		if (r < 0)
			break;
		assert_int_equal(mm_protect(&p->mm, va, MM_CHUNK, PROT_READ), 0);
	}
	assert_int_equal(r, -ENOMEM);
	assert_true(made <= p->mm.limit);
	assert_true(made > p->mm.limit / 2);
}

/* --- Files ------------------------------------------------------------------------------------ */

static void files_that_are_only_mapped_are_limited(void **state)
{
	uint32_t before = p->mm.nfiles, made = 0;
	int64_t r = 0;

	(void)state;
	p->mm.max_files = before + 5;
	for (; r >= 0 && made < 100; made++) {
		struct file *file = memory_file(2 * PAGE_SIZE);
		const struct mm_source source = {file, 0};
		uint64_t va = AT + made * MM_CHUNK;

		r = mm_map(&p->mm, va, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_FIXED, &source);
		/* Once more counts once. */
		if (r >= 0)
			assert_int_equal(mm_map(&p->mm, va + 2 * PAGE_SIZE, 2 * PAGE_SIZE,
						PROT_READ, MAP_PRIVATE | MAP_FIXED, &source),
					 va + 2 * PAGE_SIZE);
		file_put(file);
	}
	assert_int_equal(r, -ENOMEM);
	assert_int_equal(made, 5 + 1);
	/* Cut in two, it is one file still. */
	assert_int_equal(mm_protect(&p->mm, AT + 3 * PAGE_SIZE, PAGE_SIZE, PROT_NONE), 0);
	assert_int_equal(p->mm.nfiles, before + 5);
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(mm_unmap(&p->mm, AT + i * MM_CHUNK, MM_CHUNK), 0);
	assert_int_equal(p->mm.nfiles, before);
}

static void a_stream_that_is_a_device_is_not_mapped(void **state)
{
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	struct file *file = file_new(FILE_STREAM, fd, O_RDWR, "/dev/stdin");
	const uint64_t args[6] = {0, PAGE_SIZE, PROT_READ, MAP_SHARED, 0, 0};

	(void)state;
	assert_non_null(file);
	assert_int_equal(files_replace(&p->files, 0, file, false), 0);
	assert_int_equal(sys_mmap(p->tasks, args), -ENODEV);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(no_hole_is_left_where_a_file_refuses_its_mapping),
		TEST(memory_of_several_host_mappings_is_moved),
		TEST(areas_that_the_host_does_not_join_are_limited),
		TEST(areas_that_the_host_joins_do_not_count),
		TEST(what_was_written_is_charged_when_it_is_read_only),
		TEST(what_is_discarded_behind_no_rights_is_not_charged),
		TEST(writing_and_taking_the_right_away_ends_at_the_limit),
		TEST(files_that_are_only_mapped_are_limited),
		TEST(a_stream_that_is_a_device_is_not_mapped),
	};

	return cmocka_run_group_tests_name("linux_mm", tests, NULL, NULL);
}

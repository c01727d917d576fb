/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are loaded from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "loader/image.h"

#define PAGES 4
#define LEN ((size_t)(PAGES * PAGE_SIZE + 100))
#define MEMORY ((size_t)(8 * PAGE_SIZE))

static uint8_t content[LEN];
static uint8_t *memory;
static struct image image;
static mayfly_error err;

static int setup(void **state)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	(void)state;
	for (size_t i = 0; i < LEN; i++)
		content[i] = (uint8_t)(i % 251 + 1);
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	image = (struct image){.fd = fd, .len = LEN};
	if (fd < 0 || memory == MAP_FAILED)
		return -1;
	return write(fd, content, LEN) == (ssize_t)LEN ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	close(image.fd);
	return munmap(memory, MEMORY);
}

static void assert_zero(const uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal(at[i], 0);
}

static void file_is_copied(void **state)
{
	(void)state;
	assert_int_equal(image_place(&image, 0, memory, LEN, &err), 0);
	assert_memory_equal(memory, content, LEN);
	assert_zero(memory + LEN, MEMORY - LEN);
	assert_null(image.mapped);
}

static void whole_pages_of_a_file_that_stays_are_mapped(void **state)
{
	(void)state;
	image.stays = true;
	assert_int_equal(image_place(&image, 0, memory, LEN, &err), 0);
	assert_memory_equal(memory, content, LEN);
	/* What is behind the last whole page of the file is not the file's. */
	assert_zero(memory + LEN, MEMORY - LEN);
	assert_ptr_equal(image.mapped, memory);
	assert_ptr_equal(image.mapped_end, memory + PAGES * PAGE_SIZE);
}

static void pages_that_are_not_whole_are_copied(void **state)
{
	size_t from = 100, len = 2 * PAGE_SIZE;

	(void)state;
	image.stays = true;
	assert_int_equal(image_place(&image, from, memory + from, len, &err), 0);
	assert_zero(memory, from);
	assert_memory_equal(memory + from, content + from, len);
	assert_zero(memory + from + len, MEMORY - from - len);
	assert_ptr_equal(image.mapped, memory + PAGE_SIZE);
	assert_ptr_equal(image.mapped_end, memory + 2 * PAGE_SIZE);
}

static void pages_that_lie_otherwise_are_copied(void **state)
{
	(void)state;
	image.stays = true;
	assert_int_equal(image_place(&image, 1, memory, 2 * PAGE_SIZE, &err), 0);
	assert_memory_equal(memory, content + 1, 2 * PAGE_SIZE);
	assert_null(image.mapped);
}

static void holes_are_not_mapped(void **state)
{
	(void)state;
	image.stays = true;
	assert_int_equal(fallocate(image.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   2 * PAGE_SIZE, 2 * PAGE_SIZE),
			 0);
	assert_int_equal(image_place(&image, 0, memory, LEN, &err), 0);
	assert_memory_equal(memory, content, 2 * PAGE_SIZE);
	assert_zero(memory + 2 * PAGE_SIZE, 2 * PAGE_SIZE);
	assert_memory_equal(memory + PAGES * PAGE_SIZE, content + PAGES * PAGE_SIZE,
			    LEN - PAGES * PAGE_SIZE);
	assert_ptr_equal(image.mapped, memory);
	assert_ptr_equal(image.mapped_end, memory + 2 * PAGE_SIZE);
}

static void file_of_many_holes_is_loaded_all_the_same(void **state)
{
	static uint8_t expected[64 * PAGE_SIZE];
	int fd = memfd_create("holes", MFD_CLOEXEC);
	struct image holes = {.fd = fd, .len = sizeof(expected), .stays = true};
	uint8_t *to = mmap(NULL, sizeof(expected), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_ptr_not_equal(to, MAP_FAILED);
	assert_int_equal(ftruncate(fd, sizeof(expected)), 0);
	for (size_t i = 1; i < 64; i += 2) {
		expected[i * PAGE_SIZE] = (uint8_t)i;
		assert_int_equal(
			pwrite(fd, &expected[i * PAGE_SIZE], 1, (off_t)(i * PAGE_SIZE)), 1);
	}
	assert_int_equal(image_place(&holes, 0, to, sizeof(expected), &err), 0);
	assert_memory_equal(to, expected, sizeof(expected));
	munmap(to, sizeof(expected));
	close(fd);
}

static void writing_to_a_mapped_page_leaves_the_file_alone(void **state)
{
	uint8_t byte;

	(void)state;
	image.stays = true;
	assert_int_equal(image_place(&image, 0, memory, PAGE_SIZE, &err), 0);
	assert_non_null(image.mapped);
	memory[0] = 0xff;
	assert_int_equal(image_read(&image, 0, &byte, 1, &err), 0);
	assert_int_equal(byte, content[0]);
}

static void file_that_became_shorter_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(ftruncate(image.fd, 100), 0);
	assert_int_equal(image_place(&image, 0, memory, LEN, &err), MAYFLY_E_FORMAT);
	assert_non_null(strstr(err.message, "ends at offset 100"));
}

static void what_is_beyond_the_end_is_refused(void **state)
{
	(void)state;
	image.stays = true;
	assert_int_equal(image_place(&image, PAGE_SIZE, memory, LEN, &err), MAYFLY_E_FORMAT);
	assert_int_equal(image_place(&image, UINT64_MAX, memory, 2, &err), MAYFLY_E_FORMAT);
	assert_int_equal(image_read(&image, LEN, content, 1, &err), MAYFLY_E_FORMAT);
	assert_zero(memory, MEMORY);
}

/* At `at` of a long file, of which parts are read at a time. */
static void assert_found_at(off_t at)
{
	static const char text[] = "Linux version ";
	int fd = memfd_create("long", MFD_CLOEXEC);
	struct image file = {.fd = fd, .len = 200000};

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 200000), 0);
	assert_false(image_contains(&file, text));
	assert_int_equal(pwrite(fd, text, strlen(text), at), strlen(text));
	assert_true(image_contains(&file, text));
	close(fd);
}

static void text_is_found_wherever_it_is(void **state)
{
	(void)state;
	assert_found_at(0);
	assert_found_at(65536 - 7); /* across what is read at once */
	assert_found_at(65536);
	assert_found_at(200000 - 14);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(file_is_copied),
		TEST(whole_pages_of_a_file_that_stays_are_mapped),
		TEST(pages_that_are_not_whole_are_copied),
		TEST(pages_that_lie_otherwise_are_copied),
		TEST(holes_are_not_mapped),
		TEST(file_of_many_holes_is_loaded_all_the_same),
		TEST(writing_to_a_mapped_page_leaves_the_file_alone),
		TEST(file_that_became_shorter_is_an_error),
		TEST(what_is_beyond_the_end_is_refused),
		TEST(text_is_found_wherever_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

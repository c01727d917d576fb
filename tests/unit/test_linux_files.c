/* SPDX-License-Identifier: Apache-2.0 */
/* The table of descriptors: numbers, duplicates, flags, closing, pipes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "linux_fixture.h"

static struct process *p;
static struct task *t;

static int set_up(void **state)
{
	(void)state;
	p = fake_process_new();
	t = p->tasks;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_process_free(p);
	return 0;
}

#define SYS(name, ...) sys_##name(t, (const uint64_t[6]){__VA_ARGS__})
#define NEG(n) ((uint64_t)(int64_t)(n))

static int host_null(void)
{
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

static int64_t install_null(void)
{
	return files_install(&p->files, file_new(FILE_DEVICE, host_null(), O_RDWR, "/dev/null"),
			     0, false);
}

static bool host_is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* --- Numbers ------------------------------------------------------------------------------ */

static void the_lowest_free_number_is_taken(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++)
		assert_int_equal(install_null(), i);
	assert_int_equal(SYS(close, 1), 0);
	assert_int_equal(SYS(close, 3), 0);
	assert_int_equal(install_null(), 1);
	assert_int_equal(install_null(), 3);
	assert_int_equal(install_null(), 5);
}

static void a_full_table_gives_emfile_and_takes_the_reference(void **state)
{
	(void)state;
	for (int i = 0; i < 64; i++)
		assert_int_equal(install_null(), i);
	int host = host_null();
	struct file *file = file_new(FILE_DEVICE, host, O_RDWR, NULL);
	assert_int_equal(files_install(&p->files, file, 0, false), -EMFILE);
	assert_false(host_is_open(host));
	assert_int_equal(SYS(dup, 0), -EMFILE);
	assert_int_equal(SYS(close, 40), 0);
	assert_int_equal(SYS(dup, 0), 40);
}

static void the_table_grows_to_its_limit(void **state)
{
	(void)state;
	struct files files;
	assert_int_equal(files_init(&files, 1000), 0);
	struct file *file = file_new(FILE_DEVICE, host_null(), O_RDWR, NULL);
	assert_int_equal(files_install(&files, file, 999, false), 999);
	assert_int_equal(files_install(&files, file_get(file), 999, false), -EMFILE);
	assert_int_equal(files_install(&files, file_get(file), 500, false), 500);
	assert_int_equal(files_replace(&files, 1000, file_get(file), false), -EBADF);
	assert_int_equal(files.open, 2);
	files_fini(&files);
}

static void descriptors_that_are_not_there_are_refused(void **state)
{
	(void)state;
	const uint64_t wrong[] = {0, 5, 63, 64, 65, UINT32_MAX, NEG(-1), INT64_MAX};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(SYS(close, wrong[i]), -EBADF);
		assert_int_equal(SYS(dup, wrong[i]), -EBADF);
		assert_int_equal(SYS(dup2, wrong[i], 2), -EBADF);
		assert_int_equal(SYS(dup2, wrong[i], wrong[i]), -EBADF);
		assert_int_equal(SYS(fcntl, wrong[i], F_GETFD), -EBADF);
		assert_int_equal(SYS(fcntl, wrong[i], F_GETFL), -EBADF);
		assert_int_equal(SYS(read, wrong[i], FAKE_VA, 1), -EBADF);
		assert_int_equal(SYS(write, wrong[i], FAKE_VA, 1), -EBADF);
		assert_int_equal(SYS(lseek, wrong[i], 0, SEEK_SET), -EBADF);
		assert_int_equal(SYS(ioctl, wrong[i], 0x5401, FAKE_VA), -EBADF);
	}
}

static void the_upper_half_of_a_descriptor_is_ignored(void **state)
{
	(void)state;
	assert_int_equal(install_null(), 0);
	assert_int_equal(SYS(fcntl, (uint64_t)7 << 32, F_GETFD), 0);
}

/* --- Duplicates --------------------------------------------------------------------------- */

static void duplicates_share_the_file_not_the_cloexec_flag(void **state)
{
	(void)state;
	assert_int_equal(install_null(), 0);
	assert_int_equal(SYS(fcntl, 0, F_SETFD, FD_CLOEXEC), 0);
	assert_int_equal(SYS(dup, 0), 1);
	assert_int_equal(SYS(fcntl, 1, F_GETFD), 0);
	assert_int_equal(SYS(fcntl, 0, F_GETFD), FD_CLOEXEC);
	assert_int_equal(SYS(fcntl, 0, F_SETFL, O_NONBLOCK), 0);
	assert_true((SYS(fcntl, 1, F_GETFL) & O_NONBLOCK) != 0);
}

static void dup2_closes_what_was_there(void **state)
{
	(void)state;
	int host = host_null();
	assert_int_equal(install_null(), 0);
	assert_int_equal(
		files_install(&p->files, file_new(FILE_DEVICE, host, O_RDWR, NULL), 0, false),
		1);
	assert_int_equal(SYS(dup2, 0, 1), 1);
	assert_false(host_is_open(host));
	assert_int_equal(SYS(dup2, 0, 40), 40);
	assert_int_equal(SYS(dup2, 0, 0), 0);
	assert_int_equal(SYS(dup2, 0, 64), -EBADF);
	assert_int_equal(SYS(dup2, 0, NEG(-1)), -EBADF);
}

static void dup3_refuses_what_dup2_lets_pass(void **state)
{
	(void)state;
	assert_int_equal(install_null(), 0);
	assert_int_equal(SYS(dup3, 0, 0, 0), -EINVAL);
	assert_int_equal(SYS(dup3, 0, 1, O_NONBLOCK), -EINVAL);
	assert_int_equal(SYS(dup3, 0, 1, O_CLOEXEC), 1);
	assert_int_equal(SYS(fcntl, 1, F_GETFD), FD_CLOEXEC);
}

static void f_dupfd_begins_at_its_argument(void **state)
{
	(void)state;
	assert_int_equal(install_null(), 0);
	assert_int_equal(SYS(fcntl, 0, F_DUPFD, 10), 10);
	assert_int_equal(SYS(fcntl, 0, F_DUPFD_CLOEXEC, 10), 11);
	assert_int_equal(SYS(fcntl, 11, F_GETFD), FD_CLOEXEC);
	assert_int_equal(SYS(fcntl, 0, F_DUPFD, 64), -EINVAL);
	assert_int_equal(SYS(fcntl, 0, F_DUPFD, NEG(-1)), -EINVAL);
	assert_int_equal(install_null(), 1);
}

static void the_last_duplicate_closes_the_host_descriptor(void **state)
{
	(void)state;
	int host = host_null();
	assert_int_equal(
		files_install(&p->files, file_new(FILE_DEVICE, host, O_RDWR, NULL), 0, false),
		0);
	assert_int_equal(SYS(dup, 0), 1);
	assert_int_equal(SYS(close, 0), 0);
	assert_true(host_is_open(host));
	assert_int_equal(SYS(close, 1), 0);
	assert_false(host_is_open(host));
}

/* --- close_range(2) ----------------------------------------------------------------------- */

static void close_range_closes_or_marks(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++)
		assert_int_equal(install_null(), i);
	assert_int_equal(SYS(close_range, 3, 2, 0), -EINVAL);
	assert_int_equal(SYS(close_range, 3, 4, 1), -EINVAL);
	assert_int_equal(SYS(close_range, 4, NEG(-1), CLOSE_RANGE_CLOEXEC), 0);
	assert_int_equal(SYS(fcntl, 3, F_GETFD), 0);
	assert_int_equal(SYS(fcntl, 4, F_GETFD), FD_CLOEXEC);
	assert_int_equal(SYS(close_range, 3, UINT32_MAX, 0), 0);
	assert_int_equal(p->files.open, 3);
	assert_int_equal(install_null(), 3);
}

static void close_range_unshares_only_what_is_not_shared(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(install_null(), i);
	assert_int_equal(SYS(close_range, 3, 3, CLOSE_RANGE_UNSHARE), 0);
	fake_task(p, PROCESS_PID + 1);
	assert_int_equal(SYS(close_range, 2, 2, CLOSE_RANGE_UNSHARE), -EINVAL);
	assert_int_equal(p->files.open, 3);
}

/* --- Flags -------------------------------------------------------------------------------- */

static void setfl_changes_no_more_than_it_may(void **state)
{
	(void)state;
	assert_int_equal(install_null(), 0);
	assert_int_equal(SYS(fcntl, 0, F_SETFL, O_WRONLY | O_NONBLOCK | O_CREAT | O_DIRECTORY),
			 0);
	int64_t flags = SYS(fcntl, 0, F_GETFL);
	assert_int_equal(flags & (O_ACCMODE | O_NONBLOCK | O_CREAT | O_DIRECTORY),
			 O_RDWR | O_NONBLOCK);
	assert_int_equal(SYS(fcntl, 0, F_SETFL, 0), 0);
	assert_int_equal(SYS(fcntl, 0, F_GETFL) & O_NONBLOCK, 0);
}

static void the_callers_stream_never_becomes_non_blocking(void **state)
{
	(void)state;
	int host[2];
	assert_int_equal(pipe2(host, O_CLOEXEC), 0);
	int copy = fcntl(host[0], F_DUPFD_CLOEXEC, 0);
	assert_int_equal(files_install(&p->files,
				       file_new(FILE_STREAM, copy, O_RDONLY, "/dev/stdin"), 0,
				       false),
			 0);
	assert_int_equal(SYS(fcntl, 0, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(SYS(read, 0, FAKE_VA, 1), -EAGAIN);
	assert_int_equal(fcntl(host[0], F_GETFL) & O_NONBLOCK, 0);
	close(host[0]);
	close(host[1]);
}

static void path_descriptors_are_for_few_calls(void **state)
{
	(void)state;
	struct file *file =
		file_new(FILE_PATH, open("/dev/null", O_PATH | O_CLOEXEC), O_PATH, "/dev/null");
	assert_int_equal(files_install(&p->files, file, 0, false), 0);
	assert_int_equal(SYS(read, 0, FAKE_VA, 1), -EBADF);
	assert_int_equal(SYS(fcntl, 0, F_SETFL, O_NONBLOCK), -EBADF);
	assert_int_equal(SYS(ioctl, 0, 0x541b, FAKE_VA), -EBADF);
	assert_true((SYS(fcntl, 0, F_GETFL) & O_PATH) != 0);
	assert_int_equal(SYS(dup, 0), 1);
	assert_int_equal(SYS(fcntl, 0, F_SETFD, FD_CLOEXEC), 0);
	assert_int_equal(SYS(close, 0), 0);
}

static void unknown_fcntl_commands_are_invalid(void **state)
{
	(void)state;
	assert_int_equal(install_null(), 0);
	assert_int_equal(SYS(fcntl, 0, 9999), -EINVAL);
	assert_int_equal(SYS(fcntl, 0, NEG(-1)), -EINVAL);
	assert_int_equal(SYS(fcntl, 0, F_GETOWN_EX, FAKE_WILD), -EFAULT);
	assert_int_equal(SYS(fcntl, 0, F_ADD_SEALS, F_SEAL_SEAL), -EINVAL);
	assert_int_equal(SYS(fcntl, 0, F_GETPIPE_SZ), -EBADF);
}

/* --- Pipes -------------------------------------------------------------------------------- */

static void a_pipe_carries_bytes(void **state)
{
	(void)state;
	assert_int_equal(SYS(pipe, FAKE_VA), 0);
	const int32_t *fd = fake_memory(p, 0);
	assert_int_equal(fd[0], 0);
	assert_int_equal(fd[1], 1);
	uint64_t text = fake_string(p, 100, "hello");
	assert_int_equal(SYS(write, 1, text, 5), 5);
	assert_int_equal(SYS(write, 0, text, 5), -EBADF);
	assert_int_equal(SYS(read, 1, text, 5), -EBADF);
	assert_int_equal(SYS(read, 0, FAKE_VA + 200, 100), 5);
	assert_memory_equal(fake_memory(p, 200), "hello", 5);
	assert_int_equal(SYS(close, 1), 0);
	assert_int_equal(SYS(read, 0, FAKE_VA + 200, 100), 0);
	assert_int_equal(SYS(lseek, 0, 0, SEEK_CUR), -ESPIPE);
	assert_int_equal(SYS(pread64, 0, FAKE_VA, 1, 0), -ESPIPE);
}

static void both_ends_of_a_pipe_have_one_inode_number(void **state)
{
	(void)state;
	assert_int_equal(SYS(pipe2, FAKE_VA, O_CLOEXEC), 0);
	assert_int_equal(SYS(pipe2, FAKE_VA, 0), 0);
	struct file_slot *slot = p->files.slots;
	assert_string_equal(slot[0].file->path, slot[1].file->path);
	assert_int_equal(slot[0].file->inode, slot[1].file->inode);
	assert_int_not_equal(slot[0].file->inode, slot[2].file->inode);
	assert_true(slot[0].cloexec && slot[1].cloexec && !slot[2].cloexec);
}

static void a_pipe_that_cannot_be_told_is_closed(void **state)
{
	(void)state;
	assert_int_equal(SYS(pipe2, FAKE_WILD, 0), -EFAULT);
	assert_int_equal(SYS(pipe2, FAKE_VA, O_TRUNC), -EINVAL);
	assert_int_equal(p->files.open, 0);
	p->files.max = 1;
	assert_int_equal(SYS(pipe2, FAKE_VA, 0), -EMFILE);
	assert_int_equal(p->files.open, 0);
}

static void a_pipe_does_not_grow_beyond_its_default(void **state)
{
	(void)state;
	assert_int_equal(SYS(pipe, FAKE_VA), 0);
	assert_int_equal(SYS(fcntl, 0, F_GETPIPE_SZ), 65536);
	assert_int_equal(SYS(fcntl, 0, F_SETPIPE_SZ, 4096), 4096);
	assert_int_equal(SYS(fcntl, 0, F_SETPIPE_SZ, 1 << 20), -EPERM);
	assert_int_equal(SYS(fcntl, 0, F_SETPIPE_SZ, NEG(-1)), -EPERM);
	assert_int_equal(SYS(fcntl, 0, F_GETPIPE_SZ), 4096);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_lowest_free_number_is_taken),
		TEST(a_full_table_gives_emfile_and_takes_the_reference),
		TEST(the_table_grows_to_its_limit),
		TEST(descriptors_that_are_not_there_are_refused),
		TEST(the_upper_half_of_a_descriptor_is_ignored),
		TEST(duplicates_share_the_file_not_the_cloexec_flag),
		TEST(dup2_closes_what_was_there),
		TEST(dup3_refuses_what_dup2_lets_pass),
		TEST(f_dupfd_begins_at_its_argument),
		TEST(the_last_duplicate_closes_the_host_descriptor),
		TEST(close_range_closes_or_marks),
		TEST(close_range_unshares_only_what_is_not_shared),
		TEST(setfl_changes_no_more_than_it_may),
		TEST(the_callers_stream_never_becomes_non_blocking),
		TEST(path_descriptors_are_for_few_calls),
		TEST(unknown_fcntl_commands_are_invalid),
		TEST(a_pipe_carries_bytes),
		TEST(both_ends_of_a_pipe_have_one_inode_number),
		TEST(a_pipe_that_cannot_be_told_is_closed),
		TEST(a_pipe_does_not_grow_beyond_its_default),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

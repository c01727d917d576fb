/* SPDX-License-Identifier: Apache-2.0 */
/* Record locks of the process and of open files, flock(2). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>

#include "linux_fixture.h"

static struct process *p;
static struct task *t;
static int host; /* the file, as another process of the host has it open */

static int set_up(void **state)
{
	(void)state;
	p = fake_process_new();
	t = p->tasks;
	host = memfd_create("locked", MFD_CLOEXEC);
	return host < 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_process_free(p);
	close(host);
	return 0;
}

#define SYS(name, ...) sys_##name(t, (const uint64_t[6]){__VA_ARGS__})
#define NEG(n) ((uint64_t)(int64_t)(n))

/* Another open file description of the host's file, in the guest. */
static int64_t install(int flags)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", host);
	struct file *file = file_new(FILE_REGULAR, open(path, flags | O_CLOEXEC), flags, NULL);
	assert_non_null(file);
	assert_true(file->fd >= 0);
	return files_install(&p->files, file, 0, false);
}

static struct flock *lock_memory(void)
{
	return fake_memory(p, 0);
}

static int64_t lock(uint64_t fd, int command, short type, int64_t start, int64_t len)
{
	*lock_memory() = (struct flock){
		.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	return SYS(fcntl, fd, (uint64_t)command, FAKE_VA);
}

/* What is in the way of a write lock, as the host sees it: its start, or -1. */
static int64_t host_conflict(int64_t start, int64_t len)
{
	struct flock fl = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	assert_int_equal(fcntl(host, F_OFD_GETLK, &fl), 0);
	return fl.l_type == F_UNLCK ? -1 : fl.l_start;
}

static int host_lock(short type, int64_t start, int64_t len)
{
	struct flock fl = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	return fcntl(host, F_OFD_SETLK, &fl) < 0 ? -errno : 0;
}

/* --- Locks of the process ----------------------------------------------------------------- */

static void a_lock_excludes_others_on_the_host(void **state)
{
	(void)state;
	assert_int_equal(install(O_RDWR), 0);
	assert_int_equal(lock(0, F_SETLK, F_WRLCK, 10, 5), 0);
	assert_int_equal(host_conflict(0, 10), -1);
	assert_int_equal(host_conflict(14, 1), 10);
	assert_int_equal(host_lock(F_RDLCK, 12, 1), -EAGAIN);
	assert_int_equal(lock(0, F_SETLK, F_UNLCK, 0, 0), 0);
	assert_int_equal(host_conflict(0, 0), -1);
}

static void others_locks_are_seen_without_their_pid(void **state)
{
	(void)state;
	assert_int_equal(install(O_RDWR), 0);
	assert_int_equal(host_lock(F_WRLCK, 100, 10), 0);
	assert_int_equal(lock(0, F_SETLK, F_RDLCK, 105, 1), -EAGAIN);
	assert_int_equal(lock(0, F_GETLK, F_RDLCK, 105, 1), 0);
	assert_int_equal(lock_memory()->l_type, F_WRLCK);
	assert_int_equal(lock_memory()->l_start, 100);
	assert_int_equal(lock_memory()->l_len, 10);
	assert_true(lock_memory()->l_pid <= 0);
	assert_int_equal(lock(0, F_GETLK, F_RDLCK, 0, 100), 0);
	assert_int_equal(lock_memory()->l_type, F_UNLCK);
}

static void a_process_is_never_in_its_own_way(void **state)
{
	(void)state;
	assert_int_equal(install(O_RDWR), 0);
	assert_int_equal(install(O_RDWR), 1);
	assert_int_equal(lock(0, F_SETLK, F_RDLCK, 0, 10), 0);
	assert_int_equal(lock(1, F_SETLK, F_WRLCK, 0, 10), 0);
	assert_int_equal(lock(0, F_GETLK, F_WRLCK, 0, 10), 0);
	assert_int_equal(lock_memory()->l_type, F_UNLCK);
	assert_int_equal(lock(0, F_SETLK, F_UNLCK, 0, 10), 0);
	assert_int_equal(host_conflict(0, 0), -1);
}

static void closing_any_descriptor_drops_the_locks(void **state)
{
	(void)state;
	assert_int_equal(install(O_RDWR), 0);
	assert_int_equal(install(O_RDWR), 1);
	assert_int_equal(lock(0, F_SETLK, F_WRLCK, 0, 10), 0);
	assert_int_equal(host_conflict(0, 0), 0);
	assert_int_equal(SYS(close, 1), 0);
	assert_int_equal(host_conflict(0, 0), -1);
	assert_int_equal(p->files.lock_records, 0);
}

static void a_lock_needs_the_access_it_is_for(void **state)
{
	(void)state;
	assert_int_equal(install(O_RDONLY), 0);
	assert_int_equal(install(O_WRONLY), 1);
	p->files.slots[0].file->writable_mount = true;
	assert_int_equal(lock(0, F_SETLK, F_WRLCK, 0, 1), -EBADF);
	assert_int_equal(lock(1, F_SETLK, F_RDLCK, 0, 1), -EBADF);
	assert_int_equal(lock(0, F_SETLK, F_RDLCK, 0, 1), 0);
	assert_int_equal(host_conflict(0, 1), 0);
}

static void locks_in_read_only_grants_stay_inside(void **state)
{
	(void)state;
	assert_int_equal(install(O_RDONLY), 0);
	assert_int_equal(lock(0, F_SETLK, F_RDLCK, 0, 0), 0);
	assert_int_equal(lock(0, F_OFD_SETLK, F_RDLCK, 0, 0), 0);
	assert_int_equal(SYS(flock, 0, LOCK_EX), 0);
	assert_int_equal(host_conflict(0, 0), -1);
	assert_int_equal(flock(host, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(lock(0, F_GETLK, F_WRLCK, 0, 0), 0);
	assert_int_equal(lock_memory()->l_type, F_UNLCK);
}

static void ranges_are_checked(void **state)
{
	(void)state;
	assert_int_equal(install(O_RDWR), 0);
	assert_int_equal(lock(0, F_SETLK, F_WRLCK, -1, 1), -EINVAL);
	assert_int_equal(lock(0, F_SETLK, F_WRLCK, 5, -6), -EINVAL);
	assert_int_equal(lock(0, F_SETLK, F_WRLCK, INT64_MAX, 2), -EOVERFLOW);
	assert_int_equal(lock(0, F_SETLK, F_WRLCK, 0, INT64_MIN), -EINVAL);
	assert_int_equal(lock(0, F_SETLK, 77, 0, 1), -EINVAL);
	assert_int_equal(lock(0, F_GETLK, F_UNLCK, 0, 1), -EINVAL);
	assert_int_equal(SYS(fcntl, 0, F_SETLK, FAKE_WILD), -EFAULT);
	assert_int_equal(lock(0, F_SETLK, F_WRLCK, 10, -5), 0);
	assert_int_equal(host_conflict(0, 5), -1);
	assert_int_equal(host_conflict(9, 1), 5);
	*lock_memory() = (struct flock){.l_type = F_WRLCK, .l_whence = 9, .l_len = 1};
	assert_int_equal(SYS(fcntl, 0, F_SETLK, FAKE_VA), -EINVAL);
}

static void positions_and_the_end_can_be_where_it_begins(void **state)
{
	(void)state;
	assert_int_equal(ftruncate(host, 1000), 0);
	assert_int_equal(install(O_RDWR), 0);
	assert_int_equal(SYS(lseek, 0, 300, SEEK_SET), 300);
	*lock_memory() = (struct flock){
		.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 5, .l_len = 1};
	assert_int_equal(SYS(fcntl, 0, F_SETLK, FAKE_VA), 0);
	assert_int_equal(host_conflict(0, 0), 305);
	assert_int_equal(lock(0, F_SETLK, F_UNLCK, 0, 0), 0);
	*lock_memory() = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -1};
	assert_int_equal(SYS(fcntl, 0, F_SETLK, FAKE_VA), 0);
	assert_int_equal(host_conflict(0, 0), 999);
}

static void the_records_of_a_guest_are_counted_and_limited(void **state)
{
	(void)state;
	assert_int_equal(install(O_RDWR), 0);
	int64_t r = 0;
	int made = 0;
	while (r == 0 && made < 5000) {
		r = lock(0, F_SETLK, F_WRLCK, 2 * (int64_t)made, 1);
		made += r == 0;
	}
	assert_int_equal(r, -ENOLCK);
	assert_int_equal(made, 4096);
	assert_int_equal(p->files.lock_records, 4096);
	/* Splitting one needs another; joining all leaves one. */
	assert_int_equal(lock(0, F_SETLK, F_WRLCK, 0, 9000), 0);
	assert_int_equal(p->files.lock_records, 1);
	assert_int_equal(lock(0, F_SETLK, F_UNLCK, 100, 1), 0);
	assert_int_equal(p->files.lock_records, 2);
	assert_int_equal(lock(0, F_SETLK, F_RDLCK, 10, 10), 0);
	assert_int_equal(p->files.lock_records, 4);
	assert_int_equal(lock(0, F_SETLK, F_UNLCK, 0, 0), 0);
	assert_int_equal(p->files.lock_records, 0);
}

static void the_own_ranges_are_the_kernels(void **state)
{
	(void)state;
	/* Many locks, then each byte must be locked on the host as a simple model says. */
	enum { BYTES = 64 };
	short model[BYTES];
	uint32_t seed = 12345;
	for (size_t i = 0; i < BYTES; i++)
		model[i] = F_UNLCK;
	assert_int_equal(install(O_RDWR), 0);
	for (int i = 0; i < 500; i++) {
		seed = seed * 1103515245 + 12345;
		static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK};
		short type = types[(seed >> 16) % 3];
		size_t start = (seed >> 18) % BYTES;
		size_t len = 1 + (seed >> 24) % (BYTES - start);
		assert_int_equal(lock(0, F_SETLK, type, (int64_t)start, (int64_t)len), 0);
		for (size_t k = start; k < start + len; k++)
			model[k] = type;
		uint32_t records = 0;
		for (size_t k = 0; k < BYTES; k++)
			records += model[k] != F_UNLCK && (k == 0 || model[k - 1] != model[k]);
		assert_int_equal(p->files.lock_records, records);
	}
	for (size_t k = 0; k < BYTES; k++)
		assert_int_equal(host_conflict((int64_t)k, 1) >= 0, model[k] != F_UNLCK);
}

/* --- Waiting ------------------------------------------------------------------------------ */

static void *unlock_later(void *context)
{
	(void)context;
	usleep(20000);
	assert_int_equal(host_lock(F_UNLCK, 0, 0), 0);
	assert_int_equal(flock(host, LOCK_UN), 0);
	return NULL;
}

static void setlkw_waits_until_the_lock_is_free(void **state)
{
	(void)state;
	pthread_t thread;
	assert_int_equal(install(O_RDWR), 0);
	assert_int_equal(host_lock(F_WRLCK, 0, 0), 0);
	atomic_store(&t->kicked, 1);
	assert_int_equal(lock(0, F_SETLKW, F_WRLCK, 0, 1), -ERESTARTSYS);
	assert_int_equal(lock(0, F_OFD_SETLKW, F_WRLCK, 0, 1), -ERESTARTSYS);
	atomic_store(&t->kicked, 0);
	assert_int_equal(pthread_create(&thread, NULL, unlock_later, NULL), 0);
	assert_int_equal(lock(0, F_SETLKW, F_WRLCK, 0, 1), 0);
	pthread_join(thread, NULL);
}

static void flock_excludes_and_waits(void **state)
{
	(void)state;
	pthread_t thread;
	assert_int_equal(install(O_RDWR), 0);
	assert_int_equal(install(O_RDWR), 1);
	assert_int_equal(SYS(flock, 0, LOCK_EX), 0);
	assert_int_equal(SYS(flock, 1, LOCK_SH | LOCK_NB), -EWOULDBLOCK);
	assert_int_equal(SYS(flock, 0, LOCK_UN), 0);
	assert_int_equal(flock(host, LOCK_EX), 0);
	atomic_store(&t->kicked, 1);
	assert_int_equal(SYS(flock, 1, LOCK_SH), -ERESTARTSYS);
	atomic_store(&t->kicked, 0);
	assert_int_equal(pthread_create(&thread, NULL, unlock_later, NULL), 0);
	assert_int_equal(SYS(flock, 1, LOCK_SH), 0);
	pthread_join(thread, NULL);
	assert_int_equal(SYS(flock, 1, 0), -EINVAL);
	assert_int_equal(SYS(flock, 9, LOCK_SH), -EBADF);
}

/* --- Locks of open files ------------------------------------------------------------------ */

static void open_files_exclude_each_other(void **state)
{
	(void)state;
	assert_int_equal(install(O_RDWR), 0);
	assert_int_equal(install(O_RDWR), 1);
	assert_int_equal(SYS(dup, 0), 2);
	assert_int_equal(lock(0, F_OFD_SETLK, F_WRLCK, 0, 10), 0);
	assert_int_equal(lock(1, F_OFD_SETLK, F_RDLCK, 5, 1), -EAGAIN);
	assert_int_equal(lock(1, F_OFD_GETLK, F_RDLCK, 5, 1), 0);
	assert_int_equal(lock_memory()->l_type, F_WRLCK);
	assert_int_equal(lock_memory()->l_pid, -1);
	assert_int_equal(SYS(close, 2), 0);
	assert_int_equal(lock(1, F_OFD_SETLK, F_RDLCK, 5, 1), -EAGAIN);
	assert_int_equal(SYS(close, 0), 0);
	assert_int_equal(lock(1, F_OFD_SETLK, F_RDLCK, 5, 1), 0);
	assert_int_equal(p->files.lock_records, 1);
	*lock_memory() = (struct flock){.l_type = F_WRLCK, .l_pid = 1};
	assert_int_equal(SYS(fcntl, 1, F_OFD_SETLK, FAKE_VA), -EINVAL);
}

static void locks_on_what_is_no_file_are_harmless(void **state)
{
	(void)state;
	assert_int_equal(SYS(pipe, FAKE_VA + 100), 0);
	assert_int_equal(lock(0, F_SETLK, F_RDLCK, 0, 1), 0);
	assert_int_equal(lock(0, F_OFD_SETLK, F_RDLCK, 0, 1), 0);
	assert_int_equal(SYS(flock, 0, LOCK_EX), 0);
	assert_int_equal(lock(9, F_SETLK, F_RDLCK, 0, 1), -EBADF);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_lock_excludes_others_on_the_host),
		TEST(others_locks_are_seen_without_their_pid),
		TEST(a_process_is_never_in_its_own_way),
		TEST(closing_any_descriptor_drops_the_locks),
		TEST(a_lock_needs_the_access_it_is_for),
		TEST(locks_in_read_only_grants_stay_inside),
		TEST(ranges_are_checked),
		TEST(positions_and_the_end_can_be_where_it_begins),
		TEST(the_records_of_a_guest_are_counted_and_limited),
		TEST(the_own_ranges_are_the_kernels),
		TEST(setlkw_waits_until_the_lock_is_free),
		TEST(flock_excludes_and_waits),
		TEST(open_files_exclude_each_other),
		TEST(locks_on_what_is_no_file_are_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

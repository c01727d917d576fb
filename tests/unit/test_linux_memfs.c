/* SPDX-License-Identifier: Apache-2.0 */
/* Files in memory, alone and in front of a host directory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vfs_tree.h"

#define DATA_AT (1u << 20)
#define MANY 500

static int64_t make_dir(const char *path)
{
	return SYS(mkdir, tree_path(path), 0755);
}

static int64_t move(const char *from, const char *to)
{
	return SYS(rename, tree_path(from), tree_path(to));
}

static int64_t move2(const char *from, const char *to, uint64_t flags)
{
	return SYS(renameat2, CWD, tree_path(from), CWD, tree_path(to), flags);
}

static int64_t gone(const char *path)
{
	return SYS(unlink, tree_path(path));
}

static int64_t gone_dir(const char *path)
{
	return SYS(rmdir, tree_path(path));
}

static uint64_t charged(void)
{
	return atomic_load(&tree_p->mm.charged);
}

static uint64_t size_of(const char *path)
{
	struct stat st = {.st_size = -1};

	(void)tree_stat(path, &st);
	return (uint64_t)st.st_size;
}

static int host_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* --- memfs -------------------------------------------------------------------------------- */

static void each_open_has_its_own_position(void **state)
{
	int64_t a, b;

	(void)state;
	assert_int_equal(tree_put("/tmp/f", "0123456789"), 0);
	a = tree_open("/tmp/f", O_RDONLY);
	b = tree_open("/tmp/f", O_RDONLY);
	assert_int_equal(SYS(read, (uint64_t)a, FAKE_VA + DATA_AT, 5), 5);
	assert_int_equal(SYS(read, (uint64_t)b, FAKE_VA + DATA_AT, 3), 3);
	assert_memory_equal(fake_memory(tree_p, DATA_AT), "012", 3);
	assert_int_equal(SYS(read, (uint64_t)a, FAKE_VA + DATA_AT, 5), 5);
	assert_memory_equal(fake_memory(tree_p, DATA_AT), "56789", 5);
}

static void a_removed_file_lives_until_it_is_closed(void **state)
{
	uint64_t before = charged();
	int64_t fd;
	struct stat st;

	(void)state;
	assert_int_equal(tree_put("/tmp/f", "still there"), 0);
	fd = tree_open("/tmp/f", O_RDWR);
	assert_int_equal(gone("/tmp/f"), 0);
	assert_int_equal(tree_stat("/tmp/f", &st), -ENOENT);
	assert_int_equal(SYS(fstat, (uint64_t)fd, FAKE_VA + DATA_AT), 0);
	memcpy(&st, fake_memory(tree_p, DATA_AT), sizeof(st));
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(st.st_size, 11);
	assert_string_equal(tree_read("/proc/self/fd/0"), "still there");
	assert_true(charged() > before);
	tree_close(fd);
	assert_int_equal(charged(), before);
}

static void hard_links_are_one_file(void **state)
{
	struct stat a, b;

	(void)state;
	assert_int_equal(tree_put("/tmp/a", "one"), 0);
	assert_int_equal(SYS(link, tree_path("/tmp/a"), tree_path("/tmp/b")), 0);
	assert_int_equal(SYS(link, tree_path("/tmp/a"), tree_path("/tmp/b")), -EEXIST);
	assert_int_equal(SYS(link, tree_path("/tmp"), tree_path("/tmp/c")), -EPERM);
	assert_int_equal(tree_put("/tmp/b", "other"), 0);
	assert_string_equal(tree_read("/tmp/a"), "other");
	assert_int_equal(tree_stat("/tmp/a", &a), 0);
	assert_int_equal(tree_stat("/tmp/b", &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(a.st_nlink, 2);
	assert_int_equal(move("/tmp/a", "/tmp/b"), 0); /* the same file: nothing happens */
	assert_int_equal(gone("/tmp/a"), 0);
	assert_int_equal(tree_stat("/tmp/b", &b), 0);
	assert_int_equal(b.st_nlink, 1);
}

static void renames_follow_posix(void **state)
{
	(void)state;
	assert_int_equal(tree_put("/tmp/a", "a"), 0);
	assert_int_equal(tree_put("/tmp/b", "b"), 0);
	assert_int_equal(make_dir("/tmp/d"), 0);
	assert_int_equal(make_dir("/tmp/d/e"), 0);
	assert_int_equal(make_dir("/tmp/g"), 0);
	assert_int_equal(move2("/tmp/a", "/tmp/b", RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(move2("/tmp/a", "/tmp/b", RENAME_EXCHANGE), 0);
	assert_string_equal(tree_read("/tmp/a"), "b");
	assert_int_equal(move2("/tmp/a", "/tmp/x", RENAME_EXCHANGE), -ENOENT);
	assert_int_equal(move2("/tmp/a", "/tmp/x", RENAME_EXCHANGE | RENAME_NOREPLACE),
			 -EINVAL);
	assert_int_equal(move2("/tmp/a", "/tmp/x", RENAME_WHITEOUT), -EINVAL);
	assert_int_equal(move("/tmp/a", "/tmp/d"), -EISDIR);
	assert_int_equal(move("/tmp/d", "/tmp/a"), -ENOTDIR);
	assert_int_equal(move("/tmp/d", "/tmp/d/e/f"), -EINVAL);
	assert_int_equal(move("/tmp/g", "/tmp/d"), -ENOTEMPTY);
	assert_int_equal(move("/tmp/d/e", "/tmp/d"), -ENOTEMPTY);
	assert_int_equal(move("/tmp/d", "/tmp/g"), 0);
	assert_string_equal(tree_list("/tmp"), "a b g ");
	assert_string_equal(tree_list("/tmp/g"), "e ");
	assert_int_equal(move2("/tmp/g/e", "/tmp/a", RENAME_EXCHANGE), 0);
	assert_string_equal(tree_list("/tmp/a"), "");
	assert_string_equal(tree_read("/tmp/g/e"), "b");
}

static void a_removed_directory_is_empty_for_good(void **state)
{
	int64_t fd;

	(void)state;
	assert_int_equal(make_dir("/tmp/d"), 0);
	fd = tree_open("/tmp/d", O_RDONLY | O_DIRECTORY);
	assert_int_equal(SYS(chdir, tree_path("/tmp/d")), 0);
	assert_int_equal(gone_dir("/tmp/d"), 0);
	assert_int_equal(SYS(openat, (uint64_t)fd, tree_path("f"), O_CREAT | O_RDWR, 0600),
			 -ENOENT);
	assert_int_equal(SYS(mkdirat, (uint64_t)fd, tree_path("f"), 0700), -ENOENT);
	assert_int_equal(tree_open("..", O_RDONLY), -ENOENT);
	assert_int_equal(SYS(getcwd, FAKE_VA + DATA_AT, 100), -ENOENT);
	assert_int_equal(SYS(getdents64, (uint64_t)fd, FAKE_VA + DATA_AT, 1000), 48);
	assert_string_equal(tree_list("/tmp"), "");
}

static void directories_count_their_links(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(make_dir("/tmp/d"), 0);
	assert_int_equal(make_dir("/tmp/d/a"), 0);
	assert_int_equal(make_dir("/tmp/d/b"), 0);
	assert_int_equal(tree_put("/tmp/d/f", ""), 0);
	assert_int_equal(tree_stat("/tmp/d", &st), 0);
	assert_int_equal(st.st_nlink, 4);
	assert_int_equal(move("/tmp/d/a", "/tmp/a"), 0);
	assert_int_equal(tree_stat("/tmp/d", &st), 0);
	assert_int_equal(st.st_nlink, 3);
}

static void a_listing_survives_changes(void **state)
{
	char name[32];
	int64_t fd, n, seen = 0;

	(void)state;
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "/tmp/%d", i);
		assert_int_equal(tree_put(name, ""), 0);
	}
	fd = tree_open("/tmp", O_RDONLY | O_DIRECTORY);
	assert_int_equal(SYS(getdents64, (uint64_t)fd, FAKE_VA + DATA_AT, 10), -EINVAL);
	assert_int_equal(SYS(getdents64, (uint64_t)fd, FAKE_WILD, 1000), -EFAULT);
	/* As rm -r does: each part is removed before the next is asked for. */
	while ((n = SYS(getdents, (uint64_t)fd, FAKE_VA + DATA_AT, 512)) > 0) {
		char part[512];

		memcpy(part, fake_memory(tree_p, DATA_AT), (size_t)n);
		for (int64_t at = 0; at < n;) {
			uint16_t reclen;

			memcpy(&reclen, part + at + 16, 2);
			snprintf(name, sizeof(name), "/tmp/%s", part + at + 18);
			if (part[at + 18] != '.') {
				assert_int_equal(part[at + reclen - 1], 8); /* DT_REG */
				assert_int_equal(gone(name), 0);
				seen++;
			}
			at += reclen;
		}
	}
	assert_int_equal(n, 0);
	assert_int_equal(seen, MANY);
	assert_int_equal(SYS(lseek, (uint64_t)fd, 0, SEEK_SET), 0);
	assert_int_equal(SYS(getdents64, (uint64_t)fd, FAKE_VA + DATA_AT, 4096), 48);
	assert_int_equal(gone_dir("/tmp"), -EBUSY);
}

static void closed_files_cost_no_descriptors(void **state)
{
	int before = host_descriptors();
	char name[32], text[32];

	(void)state;
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "/tmp/%d", i);
		snprintf(text, sizeof(text), "text %d", i);
		assert_int_equal(tree_put(name, text), 0);
	}
	assert_true(host_descriptors() <= before + VFS_CACHED_MEMFDS);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "/tmp/%d", i);
		snprintf(text, sizeof(text), "text %d", i);
		assert_string_equal(tree_read(name), text);
		assert_int_equal(size_of(name), strlen(text));
	}
	assert_true(host_descriptors() <= before + VFS_CACHED_MEMFDS);
}

static void times_are_kept(void **state)
{
	struct timespec times[2] = {{1000, 5}, {2000, 7}};
	char name[32];
	struct stat st;

	(void)state;
	assert_int_equal(tree_put("/tmp/f", "x"), 0);
	memcpy(fake_memory(tree_p, DATA_AT), times, sizeof(times));
	assert_int_equal(SYS(utimensat, CWD, tree_path("/tmp/f"), FAKE_VA + DATA_AT, 0), 0);
	/* Enough others that it is no memfd any more. */
	for (int i = 0; i < 2 * VFS_CACHED_MEMFDS; i++) {
		snprintf(name, sizeof(name), "/tmp/%d", i);
		assert_int_equal(tree_put(name, "y"), 0);
	}
	for (int i = 0; i < 2; i++) {
		assert_int_equal(tree_stat("/tmp/f", &st), 0);
		assert_int_equal(st.st_atim.tv_sec, 1000);
		assert_int_equal(st.st_mtim.tv_sec, 2000);
		assert_int_equal(st.st_mtim.tv_nsec, 7);
		tree_close(tree_open("/tmp/f", O_RDONLY));
	}
	times[0].tv_nsec = UTIME_OMIT;
	times[1].tv_nsec = 1000000000;
	memcpy(fake_memory(tree_p, DATA_AT), times, sizeof(times));
	assert_int_equal(SYS(utimensat, CWD, tree_path("/tmp/f"), FAKE_VA + DATA_AT, 0),
			 -EINVAL);
}

static void modes_keep_the_owner_out(void **state)
{
	(void)state;
	assert_int_equal(tree_put("/tmp/f", "x"), 0);
	assert_int_equal(SYS(chmod, tree_path("/tmp/f"), 0400), 0);
	assert_int_equal(tree_open("/tmp/f", O_RDWR), -EACCES);
	assert_int_equal(SYS(access, tree_path("/tmp/f"), W_OK), -EACCES);
	assert_int_equal(SYS(access, tree_path("/tmp/f"), R_OK), 0);
	assert_int_equal(make_dir("/tmp/d"), 0);
	assert_int_equal(SYS(chmod, tree_path("/tmp/d"), 0), 0);
	assert_int_equal(tree_put("/tmp/d/f", "x"), -EACCES);
	assert_int_equal(tree_open("/tmp/d", O_RDONLY | O_DIRECTORY), -EACCES);
	/* Who makes a file has it open as asked, whatever the mode. */
	assert_true(SYS(openat, CWD, tree_path("/tmp/g"), O_CREAT | O_RDWR, 0) >= 0);
}

static void what_is_kept_is_charged(void **state)
{
	uint64_t before = charged();
	int64_t fd;

	(void)state;
	fd = tree_open("/tmp/f", O_RDWR | O_CREAT);
	assert_int_equal(SYS(ftruncate, (uint64_t)fd, 32 << 20), 0);
	assert_true(charged() >= before + (32 << 20));
	assert_int_equal(SYS(ftruncate, (uint64_t)fd, 65 << 20), -ENOSPC);
	assert_int_equal(SYS(ftruncate, (uint64_t)fd, (uint64_t)1 << 62), -ENOSPC);
	assert_int_equal(SYS(ftruncate, (uint64_t)fd, INT64_MAX), -EFBIG);
	assert_int_equal(SYS(ftruncate, (uint64_t)fd, UINT64_MAX), -EINVAL);
	assert_int_equal(SYS(fallocate, (uint64_t)fd, 0, 0, 65 << 20), -ENOSPC);
	assert_int_equal(SYS(fallocate, (uint64_t)fd, 0, INT64_MAX, INT64_MAX), -EFBIG);
	assert_int_equal(SYS(lseek, (uint64_t)fd, 64 << 20, SEEK_SET), 64 << 20);
	assert_int_equal(tree_write_fd(fd, "beyond"), -ENOSPC);
	assert_int_equal(SYS(truncate, tree_path("/tmp/f"), 0), 0);
	assert_true(charged() < before + (1 << 20));
	tree_close(fd);
	assert_int_equal(gone("/tmp/f"), 0);
	assert_int_equal(charged(), before);
}

/* FALLOC_FL_KEEP_SIZE: memory behind the file's end. */
static void what_is_kept_behind_the_end_is_charged_or_freed(void **state)
{
	uint64_t before = charged();
	const uint64_t len = 32 << 20;
	struct stat st;
	int64_t fd;

	(void)state;
	fd = tree_open("/tmp/f", O_RDWR | O_CREAT);
	assert_int_equal(SYS(fallocate, (uint64_t)fd, FALLOC_FL_KEEP_SIZE, 0, len), 0);
	assert_true(charged() >= before + len);
	assert_int_equal(SYS(ftruncate, (uint64_t)fd, 4096), 0);
	assert_int_equal(tree_stat("/tmp/f", &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 <= charged() - before);
	assert_int_equal(SYS(fallocate, (uint64_t)fd, FALLOC_FL_KEEP_SIZE, 0, len), 0);
	tree_close(fd);
	assert_int_equal(tree_stat("/tmp/f", &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 <= charged() - before);
	assert_int_equal(st.st_size, 4096);
	assert_true(charged() < before + (1 << 20));
	assert_int_equal(gone("/tmp/f"), 0);
	assert_int_equal(charged(), before);
}

/* Those of the host who use it are not kept from it. */
static void locks_on_a_file_behind_an_overlay_do_not_reach_the_host(void **state)
{
	struct flock *lock = fake_memory(tree_p, DATA_AT);
	int64_t fd, other;
	int host;

	(void)state;
	tree_write(tree_host("lower/locked"), "text");
	host = open(tree_host("lower/locked"), O_RDWR | O_CLOEXEC);
	assert_true(host >= 0);
	fd = tree_open("/o/locked", O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(SYS(flock, (uint64_t)fd, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(flock(host, LOCK_EX | LOCK_NB), 0);
	*lock = (struct flock){.l_type = F_RDLCK};
	assert_int_equal(SYS(fcntl, (uint64_t)fd, F_OFD_SETLK, FAKE_VA + DATA_AT), 0);
	*lock = (struct flock){.l_type = F_WRLCK};
	assert_int_equal(fcntl(host, F_OFD_SETLK, lock), 0);
	/* Once it is a copy, they hold. */
	other = tree_open("/o/locked", O_RDWR);
	assert_int_equal(SYS(flock, (uint64_t)other, LOCK_EX | LOCK_NB), 0);
	tree_close(fd);
	fd = tree_open("/o/locked", O_RDONLY);
	assert_int_equal(SYS(flock, (uint64_t)fd, LOCK_SH | LOCK_NB), -EWOULDBLOCK);
	tree_close(fd);
	tree_close(other);
	close(host);
}

static void names_are_charged_too(void **state)
{
	char path[300] = "/tmp/", *at = path + 5;
	int made = 0;

	(void)state;
	tree_p->mm.limit = charged() + (1 << 20);
	memset(at, 'n', 250);
	for (made = 0; made < 100000; made++) {
		snprintf(at + 240, 16, "%08d", made);
		if (make_dir(path) < 0)
			break;
	}
	assert_in_range(made, 500, 2000);
	assert_int_equal(make_dir(path), -ENOSPC);
	/* With room again, it goes on. */
	tree_p->mm.limit += 1 << 20;
	assert_int_equal(make_dir(path), 0);
}

/* Deeper than any path can say, so each is made from the one before. */
static void deep_trees_end_cleanly(void **state)
{
	uint64_t before = charged();
	int64_t dir = tree_open("/tmp", O_PATH | O_DIRECTORY), next;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		if (SYS(mkdirat, (uint64_t)dir, tree_path("d"), 0755) < 0)
			break;
		next = SYS(openat, (uint64_t)dir, tree_path("d"), O_PATH, 0);
		if (next < 0)
			break;
		tree_close(dir);
		dir = next;
	}
	tree_close(dir);
	assert_true(charged() > before + (1 << 20));
	pthread_rwlock_wrlock(&tree_p->vfs->lock);
	for (size_t i = 0; i < tree_p->vfs->nmounts; i++)
		if (tree_p->vfs->mounts[i]->root)
			memtree_clear_locked(tree_p->vfs->mounts[i]->root);
	pthread_rwlock_unlock(&tree_p->vfs->lock);
	assert_true(charged() < before);
}

static void fifos_work_between_descriptors(void **state)
{
	int64_t in, out;

	(void)state;
	assert_int_equal(SYS(mknod, tree_path("/tmp/p"), S_IFIFO | 0600, 0), 0);
	in = tree_open("/tmp/p", O_RDONLY | O_NONBLOCK);
	out = tree_open("/tmp/p", O_WRONLY | O_NONBLOCK);
	assert_true(in >= 0 && out >= 0);
	assert_int_equal(tree_write_fd(out, "through"), 7);
	assert_int_equal(SYS(read, (uint64_t)in, FAKE_VA + DATA_AT, 100), 7);
	assert_memory_equal(fake_memory(tree_p, DATA_AT), "through", 7);
	tree_close(out);
	assert_int_equal(SYS(read, (uint64_t)in, FAKE_VA + DATA_AT, 100), 0);
}

static void memfds_can_be_sealed_and_charged(void **state)
{
	uint64_t before = charged();
	int64_t fd = SYS(memfd_create, tree_path("x"), MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	assert_int_equal(fd, 0);
	assert_int_equal(tree_write_fd(0, "sealed"), 6);
	assert_true(charged() > before);
	assert_int_equal(SYS(fcntl, 0, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW), 0);
	assert_int_equal(tree_write_fd(0, "no"), -EPERM);
	assert_int_equal(SYS(ftruncate, 0, 100), -EPERM);
	assert_string_equal(tree_read("/proc/self/fd/0"), "sealed");
	tree_close(fd);
	assert_int_equal(charged(), before);
	assert_int_equal(SYS(memfd_create, tree_path("x"), MFD_HUGETLB), -EINVAL);
}

static void attributes_of_users_are_kept(void **state)
{
	char *at = fake_memory(tree_p, DATA_AT);

	(void)state;
	assert_int_equal(tree_put("/tmp/f", "x"), 0);
	memcpy(at, "value", sizeof("value"));
	assert_int_equal(SYS(setxattr, tree_path("/tmp/f"), tree_path("user.a"),
			     FAKE_VA + DATA_AT, 5, 0),
			 0);
	assert_int_equal(SYS(setxattr, tree_path("/tmp/f"), tree_path("user.a"),
			     FAKE_VA + DATA_AT, 5, 1 /* XATTR_CREATE */),
			 -EEXIST);
	memset(at, 0, 5);
	assert_int_equal(
		SYS(getxattr, tree_path("/tmp/f"), tree_path("user.a"), FAKE_VA + DATA_AT, 100),
		5);
	assert_memory_equal(at, "value", 5);
	assert_int_equal(
		SYS(getxattr, tree_path("/tmp/f"), tree_path("user.a"), FAKE_VA + DATA_AT, 4),
		-ERANGE);
	assert_int_equal(SYS(listxattr, tree_path("/tmp/f"), FAKE_VA + DATA_AT, 100), 7);
	assert_int_equal(SYS(removexattr, tree_path("/tmp/f"), tree_path("user.a")), 0);
	assert_int_equal(SYS(removexattr, tree_path("/tmp/f"), tree_path("user.a")), -ENODATA);
	assert_int_equal(SYS(setxattr, tree_path("/tmp/f"), tree_path("trusted.a"),
			     FAKE_VA + DATA_AT, 5, 0),
			 -EOPNOTSUPP);
}

/* --- Overlay ------------------------------------------------------------------------------ */

static void changes_leave_the_host_alone(void **state)
{
	(void)state;
	assert_int_equal(tree_put("/o/file", "changed"), 0);
	assert_int_equal(tree_put("/o/dir/new", "new"), 0);
	assert_int_equal(gone("/o/dir/file"), 0);
	assert_int_equal(SYS(chmod, tree_path("/o/dir/sub/file"), 0600), 0);
	assert_string_equal(tree_read("/o/file"), "changed");
	assert_string_equal(tree_list("/o/dir"), "new sub ");
	assert_int_equal(tree_open("/o/dir/file", O_RDONLY), -ENOENT);
	assert_string_equal(tree_read("/o/dir/sub/file"), "lowest");
	assert_int_equal(access(tree_host("lower/dir/file"), F_OK), 0);
	assert_int_equal(access(tree_host("lower/dir/new"), F_OK), -1);
	/* By another name on the host nothing changed either. */
	assert_true(tree_outside_is_whole());
}

static void appending_copies_up(void **state)
{
	int64_t reader = tree_open("/o/dir/file", O_RDONLY);
	int64_t fd = tree_open("/o/dir/file", O_WRONLY | O_APPEND);
	struct stat st;

	(void)state;
	assert_int_equal(reader, 0);
	assert_int_equal(tree_write_fd(fd, "!"), 1);
	tree_close(fd);
	assert_string_equal(tree_read("/o/dir/file"), "lower too!");
	assert_int_equal(tree_stat("/o/dir/file", &st), 0);
	assert_int_equal(st.st_size, 10);
	assert_int_equal(st.st_nlink, 1);
	tree_close(reader);
}

static void a_removed_name_can_be_made_again(void **state)
{
	(void)state;
	assert_int_equal(gone("/o/file"), 0);
	assert_int_equal(gone("/o/file"), -ENOENT);
	assert_int_equal(make_dir("/o/file"), 0);
	assert_string_equal(tree_list("/o/file"), "");
	assert_int_equal(gone_dir("/o/file"), 0);
	assert_int_equal(tree_open("/o/file", O_RDONLY), -ENOENT);
	assert_int_equal(tree_put("/o/file", "again"), 0);
	assert_string_equal(tree_read("/o/file"), "again");
}

static void a_removed_directory_does_not_come_back(void **state)
{
	(void)state;
	assert_int_equal(gone_dir("/o/dir"), -ENOTEMPTY);
	assert_int_equal(gone("/o/dir/file"), 0);
	assert_int_equal(gone("/o/dir/sub/file"), 0);
	assert_int_equal(gone_dir("/o/dir/sub"), 0);
	assert_int_equal(gone_dir("/o/dir"), 0);
	assert_int_equal(tree_open("/o/dir/file", O_RDONLY), -ENOENT);
	assert_int_equal(make_dir("/o/dir"), 0);
	assert_string_equal(tree_list("/o/dir"), "");
	assert_int_equal(tree_open("/o/dir/file", O_RDONLY), -ENOENT);
}

static void directories_of_the_host_can_be_renamed(void **state)
{
	int64_t fd = tree_open("/o/dir/sub", O_RDONLY | O_DIRECTORY);

	(void)state;
	assert_int_equal(SYS(chdir, tree_path("/o/dir/sub")), 0);
	assert_int_equal(move("/o/dir", "/o/empty/moved"), 0);
	assert_string_equal(tree_read("/o/empty/moved/file"), "lower too");
	assert_string_equal(tree_read("/o/empty/moved/sub/file"), "lowest");
	assert_int_equal(tree_open("/o/dir", O_RDONLY), -ENOENT);
	assert_string_equal(tree_list("/o/empty"), "moved ");
	assert_string_equal(tree_read("file"), "lowest");
	assert_string_equal(tree_read("../file"), "lower too");
	assert_true(SYS(openat, (uint64_t)fd, tree_path("new"), O_CREAT | O_RDWR, 0600) >= 0);
	assert_string_equal(tree_list("/o/empty/moved/sub"), "file new ");
	assert_int_equal(SYS(getcwd, FAKE_VA + DATA_AT, 4096), 19);
	assert_string_equal(fake_memory(tree_p, DATA_AT), "/o/empty/moved/sub");
	assert_int_equal(access(tree_host("lower/dir/sub/new"), F_OK), -1);
}

static void files_of_the_host_can_be_exchanged_and_linked(void **state)
{
	(void)state;
	assert_int_equal(move2("/o/file", "/o/dir", RENAME_EXCHANGE), 0);
	assert_string_equal(tree_read("/o/dir"), "lower");
	assert_string_equal(tree_read("/o/file/file"), "lower too");
	assert_int_equal(SYS(link, tree_path("/o/dir"), tree_path("/o/link")), 0);
	assert_int_equal(tree_put("/o/link", "one file"), 0);
	assert_string_equal(tree_read("/o/dir"), "one file");
	assert_int_equal(gone("/o/dir"), 0);
	assert_string_equal(tree_read("/o/link"), "one file");
}

static void looking_at_an_overlay_leaves_nothing(void **state)
{
	uint64_t before = charged();
	uint32_t nodes = tree_p->vfs->nodes;
	struct stat st;

	(void)state;
	for (int i = 0; i < 20; i++) {
		assert_string_equal(tree_read("/o/dir/sub/file"), "lowest");
		assert_string_equal(tree_list("/o/dir"), "file sub ");
		assert_int_equal(tree_stat("/o/dir/sub", &st), 0);
		tree_close(tree_open("/o/dir/sub", O_PATH | O_DIRECTORY));
	}
	assert_int_equal(tree_p->vfs->nodes, nodes);
	assert_int_equal(charged(), before);
}

static void numbers_of_files_stay(void **state)
{
	struct stat before, after;

	(void)state;
	assert_int_equal(tree_stat("/o/dir/file", &before), 0);
	assert_int_equal(tree_put("/o/dir/file", "changed"), 0);
	assert_int_equal(tree_stat("/o/dir/file", &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(before.st_dev, after.st_dev);
}

/* --- Saving and loading ------------------------------------------------------------------- */

static void make_state(void)
{
	assert_int_equal(tree_put("/tmp/a", "text"), 0);
	assert_int_equal(make_dir("/tmp/d"), 0);
	assert_int_equal(make_dir("/tmp/d/e"), 0);
	assert_int_equal(tree_put("/tmp/d/e/f", "deep"), 0);
	assert_int_equal(SYS(link, tree_path("/tmp/a"), tree_path("/tmp/d/b")), 0);
	assert_int_equal(SYS(symlink, tree_path("d/e"), tree_path("/tmp/l")), 0);
	assert_int_equal(SYS(chmod, tree_path("/tmp/a"), 0640), 0);
	assert_int_equal(SYS(setxattr, tree_path("/tmp/a"), tree_path("user.x"), FAKE_VA, 9, 0),
			 0);
	assert_int_equal(tree_put("/o/file", "changed"), 0);
	assert_int_equal(gone("/o/dir/file"), 0);
	assert_int_equal(move("/o/dir", "/o/moved"), 0);
	assert_int_equal(tree_put("/dev/shm/s", "shared"), 0);
	assert_int_equal(SYS(chdir, tree_path("/tmp/d")), 0);
	tree_p->umask = 027;
}

static void check_state(void)
{
	struct stat a, b;

	assert_string_equal(tree_read("/tmp/a"), "text");
	assert_string_equal(tree_read("/tmp/l/f"), "deep");
	assert_int_equal(tree_stat("/tmp/a", &a), 0);
	assert_int_equal(tree_stat("b", &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(a.st_nlink, 2);
	assert_int_equal(a.st_mode & 07777, 0640);
	assert_int_equal(SYS(getxattr, tree_path("/tmp/a"), tree_path("user.x"), 0, 0), 9);
	assert_string_equal(tree_list("/tmp"), "a d l ");
	assert_string_equal(tree_read("/o/file"), "changed");
	assert_string_equal(tree_list("/o/moved"), "sub ");
	assert_string_equal(tree_read("/o/moved/sub/file"), "lowest");
	assert_int_equal(tree_stat("/o/dir", &a), -ENOENT);
	assert_string_equal(tree_read("/dev/shm/s"), "shared");
	assert_int_equal(tree_p->umask, 027);
}

static void what_is_saved_is_loaded(void **state)
{
	mayfly_error err;
	uint8_t *bytes, *again;
	size_t len, len_again;

	(void)state;
	make_state();
	assert_int_equal(vfs_save(tree_p->vfs, &bytes, &len, &err), MAYFLY_OK);
	tree_tear_down(NULL);
	tree_set_up(NULL);
	assert_int_equal(tree_put("/tmp/other", "goes away"), 0);
	assert_int_equal(vfs_load(tree_p->vfs, bytes, len, &err), MAYFLY_OK);
	assert_int_equal(vfs_save(tree_p->vfs, &again, &len_again, &err), MAYFLY_OK);
	assert_int_equal(len, len_again);
	assert_memory_equal(bytes, again, len);
	check_state();
	free(bytes);
	free(again);
}

static void damaged_bytes_are_refused_and_leave_nothing(void **state)
{
	mayfly_error err;
	uint8_t *bytes, *damaged;
	uint32_t nodes;
	size_t len;

	(void)state;
	make_state();
	assert_int_equal(vfs_save(tree_p->vfs, &bytes, &len, &err), MAYFLY_OK);
	damaged = malloc(len);
	assert_non_null(damaged);
	memset(damaged, 0, len);
	assert_int_equal(vfs_load(tree_p->vfs, damaged, len, &err), MAYFLY_E_FORMAT);
	for (size_t i = 0; i < len; i++) {
		memcpy(damaged, bytes, len);
		damaged[i] ^= (uint8_t)(1 + i * 7 % 255);
		(void)vfs_load(tree_p->vfs, damaged, len, &err);
		/* Whatever it was taken for: nothing of the host is reached or changed. */
		assert_string_not_equal(tree_read("/o/moved/../outside/secret"), TREE_SECRET);
	}
	for (size_t i = 0; i < len; i += 5)
		assert_true(vfs_load(tree_p->vfs, bytes, i, &err) < 0);
	nodes = tree_p->vfs->nodes;
	assert_true(vfs_load(tree_p->vfs, bytes, len - 1, &err) < 0);
	assert_int_equal(tree_p->vfs->nodes, nodes);
	assert_true(tree_outside_is_whole());
	assert_int_equal(vfs_load(tree_p->vfs, bytes, len, &err), MAYFLY_OK);
	check_state();
	free(bytes);
	free(damaged);
}

/* Names that no call can make must not come from bytes either. */
static void names_with_slashes_or_nul_are_not_loaded(void **state)
{
	static const char *const bad[] = {"..", "a/", "\0b", "./"};
	mayfly_error err;
	uint8_t *bytes;
	size_t len;

	(void)state;
	assert_int_equal(tree_put("/tmp/QZ", ""), 0);
	assert_int_equal(vfs_save(tree_p->vfs, &bytes, &len, &err), MAYFLY_OK);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t *name = memmem(bytes, len, i ? bad[i - 1] : "QZ", 2);

		assert_non_null(name);
		memcpy(name, bad[i], 2);
		assert_int_equal(vfs_load(tree_p->vfs, bytes, len, &err), MAYFLY_E_FORMAT);
		assert_string_equal(tree_list("/tmp"), "");
	}
	free(bytes);
}

static void descriptors_outlive_the_file_system(void **state)
{
	(void)state;
	assert_int_equal(tree_put("/tmp/f", "x"), 0);
	assert_true(tree_open("/tmp/f", O_RDWR) >= 0);
	assert_true(tree_open("/tmp", O_RDONLY) >= 0);
	assert_true(tree_open("/o/dir/file", O_RDONLY) >= 0);
	assert_true(tree_open("/o/dir", O_PATH) >= 0);
	/* tree_tear_down() frees the file system first; the sanitizer looks on. */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tree_set_up, tree_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(each_open_has_its_own_position),
		TEST(a_removed_file_lives_until_it_is_closed),
		TEST(hard_links_are_one_file),
		TEST(renames_follow_posix),
		TEST(a_removed_directory_is_empty_for_good),
		TEST(directories_count_their_links),
		TEST(a_listing_survives_changes),
		TEST(closed_files_cost_no_descriptors),
		TEST(times_are_kept),
		TEST(modes_keep_the_owner_out),
		TEST(what_is_kept_is_charged),
		TEST(what_is_kept_behind_the_end_is_charged_or_freed),
		TEST(locks_on_a_file_behind_an_overlay_do_not_reach_the_host),
		TEST(names_are_charged_too),
		TEST(deep_trees_end_cleanly),
		TEST(fifos_work_between_descriptors),
		TEST(memfds_can_be_sealed_and_charged),
		TEST(attributes_of_users_are_kept),
		TEST(changes_leave_the_host_alone),
		TEST(appending_copies_up),
		TEST(a_removed_name_can_be_made_again),
		TEST(a_removed_directory_does_not_come_back),
		TEST(directories_of_the_host_can_be_renamed),
		TEST(files_of_the_host_can_be_exchanged_and_linked),
		TEST(looking_at_an_overlay_leaves_nothing),
		TEST(numbers_of_files_stay),
		TEST(what_is_saved_is_loaded),
		TEST(damaged_bytes_are_refused_and_leave_nothing),
		TEST(names_with_slashes_or_nul_are_not_loaded),
		TEST(descriptors_outlive_the_file_system),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

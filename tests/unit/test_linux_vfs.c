/* SPDX-License-Identifier: Apache-2.0 */
/* Attempts to leave what was granted, by every call that takes a path. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vfs_tree.h"

#define FLIPS 3000
#define DATA_AT (1u << 20)

enum op {
	READ,
	WRITE,
	CREATE,
	EXCLUSIVE,
	TRUNCATE,
	STAT,
	CHDIR,
	MKDIR,
	RMDIR,
	UNLINK,
	RENAME,
	EXCHANGE,
	LINK,
	LINK_FOLLOW,
	SYMLINK,
	CHMOD,
	CHOWN,
	UTIMES,
	SETXATTR,
	MKNOD,
	MKFIFO,
	TMPFILE,
	PATH,
	LIST
};

static int64_t attempt(enum op op, const char *path, const char *other)
{
	uint64_t a = tree_path(path), b = other ? tree_path(other) : 0;
	struct stat st;

	switch (op) {
	case READ:
		return tree_open(path, O_RDONLY | O_NONBLOCK);
	case WRITE:
		return tree_open(path, O_RDWR | O_TRUNC | O_NONBLOCK);
	case CREATE:
		return tree_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK);
	case EXCLUSIVE:
		return tree_open(path, O_WRONLY | O_CREAT | O_EXCL);
	case TRUNCATE:
		return SYS(truncate, a, 1);
	case STAT:
		return tree_stat(path, &st);
	case CHDIR:
		return SYS(chdir, a);
	case MKDIR:
		return SYS(mkdir, a, 0755);
	case RMDIR:
		return SYS(rmdir, a);
	case UNLINK:
		return SYS(unlink, a);
	case RENAME:
		return SYS(rename, a, b);
	case EXCHANGE:
		return SYS(renameat2, CWD, a, CWD, b, RENAME_EXCHANGE);
	case LINK:
		return SYS(link, a, b);
	case LINK_FOLLOW:
		return SYS(linkat, CWD, a, CWD, b, AT_SYMLINK_FOLLOW);
	case SYMLINK:
		return SYS(symlink, b, a);
	case CHMOD:
		return SYS(chmod, a, 0600);
	case CHOWN:
		return SYS(chown, a, 1000, 1000);
	case UTIMES:
		memset(fake_memory(tree_p, DATA_AT), 0, 32);
		return SYS(utimensat, CWD, a, FAKE_VA + DATA_AT, 0);
	case SETXATTR:
		return SYS(setxattr, a, tree_path("user.x"), FAKE_VA, 1, 0);
	case MKNOD:
		return SYS(mknod, a, S_IFCHR | 0666, makedev(1, 3));
	case MKFIFO:
		return SYS(mknod, a, S_IFIFO | 0666, 0);
	case TMPFILE:
		return tree_open(path, O_TMPFILE | O_RDWR);
	case PATH:
		return tree_open(path, O_PATH);
	case LIST:
		return tree_open(path, O_RDONLY | O_DIRECTORY);
	}
	return 0;
}

/* Which must all fail, so. */
static const struct row {
	enum op op;
	const char *path, *other;
	int error;
} rows[] = {
	/* ".." */
	{READ, "/g/../outside/secret", NULL, ENOENT},
	{READ, "/g/../../../../../..@/outside/secret", NULL, ENOENT},
	{READ, "/g/dir/deep/../../../outside/secret", NULL, ENOENT},
	{READ, "/../..@/outside/secret", NULL, ENOENT},
	{READ, "@/outside/secret", NULL, ENOENT},
	{CHDIR, "/g/../outside", NULL, ENOENT},
	{STAT, "/g/nothing/../file", NULL, ENOENT},
	{STAT, "/g/file/../file", NULL, ENOTDIR},
	{STAT, "/g/file/.", NULL, ENOTDIR},
	{STAT, "/o/../outside/secret", NULL, ENOENT},
	/* Links of the host. */
	{READ, "/g/abs/secret", NULL, ENOENT},
	{READ, "/g/abs_file", NULL, ENOENT},
	{READ, "/g/rel/secret", NULL, ENOENT},
	{READ, "/g/rel_file", NULL, ENOENT},
	{READ, "/g/dir/up", NULL, ENOENT},
	{READ, "/g/dir/deep/../up", NULL, ENOENT},
	{READ, "/g/chain1", NULL, ENOENT},
	{READ, "/g/loop1", NULL, ELOOP},
	{READ, "/g/self", NULL, ELOOP},
	{READ, "/g/self_dir/y", NULL, ELOOP},
	{READ, "/g/proc_root", NULL, ENOENT},
	{READ, "/g/proc_cwd", NULL, ENOENT},
	{READ, "/g/host_root@/outside/secret", NULL, ENOENT},
	{STAT, "/g/rel_file", NULL, ENOENT},
	{STAT, "/g/rel/", NULL, ENOENT},
	{STAT, "/g/rel/sub/..", NULL, ENOENT},
	{LIST, "/g/rel", NULL, ENOENT},
	{LIST, "/g/abs/", NULL, ENOENT},
	{PATH, "/g/rel", NULL, ENOENT},
	{CHDIR, "/g/abs", NULL, ENOENT},
	{READ, "/o/rel_file", NULL, ENOENT},
	{LIST, "/o/abs", NULL, ENOENT},
	{WRITE, "/g/rel_file", NULL, ENOENT},
	{WRITE, "/o/rel_file", NULL, ENOENT},
	{CREATE, "/g/rel/new", NULL, ENOENT},
	{CREATE, "/o/abs/new", NULL, ENOENT},
	{EXCLUSIVE, "/g/new_outside", NULL, EEXIST},
	{TRUNCATE, "/g/rel_file", NULL, ENOENT},
	{CHMOD, "/g/rel_file", NULL, ENOENT},
	{CHOWN, "/g/rel_file", NULL, ENOENT},
	{UTIMES, "/g/rel_file", NULL, ENOENT},
	{SETXATTR, "/g/rel_file", NULL, ENOENT},
	{MKDIR, "/g/rel/new", NULL, ENOENT},
	{MKDIR, "/g/new_outside", NULL, EEXIST},
	{RMDIR, "/g/rel/sub", NULL, ENOENT},
	{UNLINK, "/g/rel/secret", NULL, ENOENT},
	{MKFIFO, "/g/abs/fifo", NULL, ENOENT},
	{SYMLINK, "/g/rel/link", "x", ENOENT},
	{TMPFILE, "/g/rel", NULL, ENOENT},
	{RENAME, "/g/file", "/g/rel/file", ENOENT},
	{RENAME, "/g/rel/secret", "/g/secret", ENOENT},
	{EXCHANGE, "/g/file", "/g/rel/secret", ENOENT},
	{LINK, "/g/file", "/g/rel/link", ENOENT},
	{LINK, "/g/rel/secret", "/g/link", ENOENT},
	{LINK_FOLLOW, "/g/rel_file", "/g/link", ENOENT},
	/* Magic links, which are the guest's own. */
	{READ, "/proc/self/root@/outside/secret", NULL, ENOENT},
	{READ, "/proc/self/cwd/..@/outside/secret", NULL, ENOENT},
	{READ, "/proc/self/fd/99/../secret", NULL, ENOENT},
	{READ, "/proc/1/root/etc/passwd", NULL, ENOENT},
	{READ, "/proc/self/task/1/root/etc/passwd", NULL, ENOENT},
	{READ, "/proc/self/map_files", NULL, ENOENT},
	{READ, "/proc/self/mem", NULL, ENOENT},
	{READ, "/dev/fd/99", NULL, ENOENT},
	{WRITE, "/proc/self/exe/", NULL, ENOTDIR},
	{WRITE, "/proc/self/status", NULL, EACCES},
	{MKDIR, "/proc/new", NULL, EPERM},
	{UNLINK, "/proc/self", NULL, EPERM},
	/* What is no file. */
	{READ, "/g/socket", NULL, ENXIO},
	{READ, "/r/fifo", NULL, EACCES},
	{MKNOD, "/g/null", NULL, EPERM},
	{MKNOD, "/tmp/null", NULL, EPERM},
	/* Other mounts. */
	{RENAME, "/g/file", "/r/new", EXDEV},
	{RENAME, "/g/file", "/tmp/new", EXDEV},
	{RENAME, "/tmp", "/g/new", EXDEV},
	{EXCHANGE, "/g/file", "/r/dir", EXDEV},
	{LINK, "/r/file", "/g/link", EXDEV},
	{LINK, "/g/file", "/tmp/link", EXDEV},
	{LINK, "/o/file", "/g/link", EXDEV},
	{RMDIR, "/g", NULL, EBUSY},
	{UNLINK, "/g", NULL, EBUSY},
	{RENAME, "/g", "/h", EBUSY},
	{RMDIR, "/", NULL, EBUSY},
	{RMDIR, "/g/..", NULL, ENOTEMPTY},
	{RMDIR, "/g/empty/.", NULL, EINVAL},
	/* Read-only. */
	{WRITE, "/r/file", NULL, EROFS},
	{CREATE, "/r/new", NULL, EROFS},
	{CREATE, "/r/file", NULL, EROFS},
	{TRUNCATE, "/r/file", NULL, EROFS},
	{MKDIR, "/r/new", NULL, EROFS},
	{MKDIR, "/r/dir", NULL, EEXIST},
	{RMDIR, "/r/empty", NULL, EROFS},
	{UNLINK, "/r/file", NULL, EROFS},
	{RENAME, "/r/file", "/r/new", EROFS},
	{EXCHANGE, "/r/file", "/r/dir", EROFS},
	{LINK, "/r/file", "/r/new", EROFS},
	{SYMLINK, "/r/new", "x", EROFS},
	{CHMOD, "/r/file", NULL, EROFS},
	{CHOWN, "/r/file", NULL, EROFS},
	{UTIMES, "/r/file", NULL, EROFS},
	{SETXATTR, "/r/file", NULL, EROFS},
	{MKFIFO, "/r/new", NULL, EROFS},
	{TMPFILE, "/r", NULL, EROFS},
	{TMPFILE, "/r/dir", NULL, EROFS},
	{MKDIR, "/new", NULL, EROFS},
	{CREATE, "/new", NULL, EROFS},
	{UNLINK, "/dev/null", NULL, EROFS},
	{CHMOD, "/dev/null", NULL, EROFS},
	/* Odd paths. */
	{READ, "", NULL, ENOENT},
	{READ, "/g/file/", NULL, ENOTDIR},
	{READ, "/g/good/", NULL, ENOTDIR},
	{CREATE, "/g/new/", NULL, EISDIR},
	{CREATE, "/tmp/new/", NULL, EISDIR},
	{UNLINK, "/g/file/", NULL, ENOTDIR},
	{UNLINK, "/g/dir", NULL, EISDIR},
	{UNLINK, "/g/dir/", NULL, EISDIR},
	{SYMLINK, "/g/new/", "x", ENOENT},
	{SYMLINK, "/g/new", "", ENOENT},
	{RMDIR, "/g/dir", NULL, ENOTEMPTY},
	{RENAME, "/g/dir", "/g/dir/deep/dir", EINVAL},
	{RENAME, "/g/file", "/g/new/", ENOTDIR},
};

static void no_call_leaves_what_was_granted(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t r = attempt(rows[i].op, rows[i].path, rows[i].other);

		if (r != -rows[i].error)
			print_error("row %zu: op %d of %s: %lld instead of %d\n", i,
				    (int)rows[i].op, rows[i].path, (long long)r,
				    -rows[i].error);
		assert_int_equal(r, -rows[i].error);
		if (!tree_outside_is_whole())
			print_error("row %zu: op %d of %s changed what is outside\n", i,
				    (int)rows[i].op, rows[i].path);
		assert_true(tree_outside_is_whole());
	}
	assert_string_equal(tree_read("/g/file"), "inside");
}

static void links_inside_lead_where_they_say(void **state)
{
	struct stat st;

	(void)state;
	assert_string_equal(tree_read("/g/good"), "deep");
	assert_string_equal(tree_read("/r/good"), "deep");
	assert_string_equal(tree_read("/g/good_dir/file"), "deep");
	assert_string_equal(tree_read("/g/good_dir/../deep/file"), "deep");
	assert_string_equal(tree_read("/g/abs_good"), "deep");
	assert_string_equal(tree_read("/r/abs_good"), "deep");
	assert_string_equal(tree_read("/g/host_root/g/file"), "inside");
	assert_string_equal(tree_read("/g/dir/.././/good_dir/./file"), "deep");
	assert_string_equal(tree_read("/o/good"), "lower too");
	assert_int_equal(tree_put("/tmp/there", "in memory"), 0);
	assert_string_equal(tree_read("/g/tmp/there"), "in memory");
	assert_int_equal(tree_stat("/g/tmp/", &st), 0);
	assert_true(S_ISDIR(st.st_mode));
}

static void creating_through_a_link_stays_inside(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(tree_put("/g/dangling", "made"), 0);
	assert_int_equal(lstat(tree_host("grant/nothing"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	/* Up from /g is the guest's root, where nothing can be made. */
	assert_int_equal(tree_put("/g/new_outside", "x"), -ENOENT);
	assert_true(tree_outside_is_whole());
}

static void links_of_the_guest_stay_in_its_namespace(void **state)
{
	(void)state;
	assert_int_equal(SYS(symlink, tree_path("@/outside/secret"), tree_path("/tmp/a")), 0);
	assert_int_equal(SYS(symlink, tree_path("../outside/secret"), tree_path("/g/b")), 0);
	assert_int_equal(SYS(symlink, tree_path("../../../..@/outside"), tree_path("/o/c")), 0);
	assert_int_equal(tree_open("/tmp/a", O_RDONLY), -ENOENT);
	assert_int_equal(tree_open("/g/b", O_RDONLY), -ENOENT);
	assert_int_equal(tree_open("/g/b", O_WRONLY | O_CREAT), -ENOENT);
	assert_int_equal(tree_open("/o/c/secret", O_RDONLY), -ENOENT);
	assert_true(tree_outside_is_whole());
}

static void devices_in_a_grant_cannot_be_opened(void **state)
{
	int64_t fd;

	(void)state;
	if (access(tree_host("grant/device"), F_OK) != 0)
		skip();
	assert_int_equal(tree_open("/g/device", O_RDWR), -EACCES);
	assert_int_equal(tree_open("/g/device2", O_RDONLY), -EACCES);
	assert_int_equal(tree_open("/r/device", O_RDONLY), -EACCES);
	assert_int_equal(SYS(truncate, tree_path("/g/device"), 0), -EACCES);
	assert_int_equal(SYS(chmod, tree_path("/g/device"), 0777), -EPERM);
	assert_int_equal(SYS(link, tree_path("/g/device"), tree_path("/g/device3")), -EPERM);
	assert_int_equal(SYS(access, tree_path("/g/device"), R_OK), -EACCES);
	/* A descriptor that only names it gives no more. */
	fd = tree_open("/g/device", O_PATH);
	assert_true(fd >= 0);
	assert_int_equal(tree_open("/proc/self/fd/0", O_RDWR), -EACCES);
	tree_close(fd);
}

static void an_open_file_gives_no_more_rights_than_its_mount(void **state)
{
	int64_t fd = tree_open("/r/file", O_RDONLY), dir;

	(void)state;
	assert_int_equal(fd, 0);
	assert_int_equal(tree_open("/proc/self/fd/0", O_RDWR), -EROFS);
	assert_int_equal(tree_open("/dev/fd/0", O_WRONLY), -EROFS);
	assert_int_equal(tree_open("/dev/stdin", O_RDONLY | O_TRUNC), -EROFS);
	assert_int_equal(SYS(fchmod, 0, 0600), -EROFS);
	assert_int_equal(SYS(ftruncate, 0, 0), -EINVAL);
	assert_int_equal(SYS(linkat, 0, tree_path(""), CWD, tree_path("/g/x"), AT_EMPTY_PATH),
			 -EXDEV);
	assert_int_equal(SYS(linkat, CWD, tree_path("/proc/self/fd/0"), CWD, tree_path("/g/x"),
			     AT_SYMLINK_FOLLOW),
			 -EXDEV);
	tree_close(fd);
	dir = tree_open("/r/dir", O_PATH);
	assert_int_equal(dir, 0);
	assert_int_equal(SYS(openat, 0, tree_path("new"), O_CREAT | O_WRONLY, 0644), -EROFS);
	assert_int_equal(tree_open("/proc/self/fd/0/deep/../../file", O_WRONLY), -EROFS);
	assert_string_equal(tree_read("/proc/self/fd/0/deep/../../file"), "inside");
}

static void a_stream_is_not_opened_with_more_rights(void **state)
{
	int host = open(tree_host("outside/secret"), O_RDONLY | O_CLOEXEC);
	struct file *file = file_new(FILE_STREAM, host, O_RDONLY, "/dev/stdin");

	(void)state;
	assert_int_equal(files_install(&tree_p->files, file, 0, false), 0);
	assert_int_equal(tree_open("/dev/stdin", O_RDWR), -EACCES);
	assert_int_equal(tree_open("/proc/self/fd/0", O_RDONLY | O_TRUNC), -EACCES);
	assert_int_equal(SYS(ftruncate, 0, 0), -EINVAL);
	assert_int_equal(SYS(fchmod, 0, 0), -EPERM);
	assert_int_equal(SYS(linkat, 0, tree_path(""), CWD, tree_path("/g/x"), AT_EMPTY_PATH),
			 -EXDEV);
	assert_int_equal(tree_open("/dev/stdin", O_RDONLY), 1);
	assert_true(tree_outside_is_whole());
}

static void a_directory_that_was_moved_out_is_no_way_out(void **state)
{
	int64_t fd = tree_open("/g/dir", O_RDONLY | O_DIRECTORY);

	(void)state;
	assert_int_equal(fd, 0);
	assert_int_equal(SYS(chdir, tree_path("/g/dir")), 0);
	assert_int_equal(rename(tree_host("grant/dir"), tree_host("outside/moved")), 0);
	assert_int_equal(SYS(openat, 0, tree_path("../secret"), O_RDONLY, 0), -ENOENT);
	assert_int_equal(SYS(openat, 0, tree_path("deep/../../secret"), O_RDONLY, 0), -ENOENT);
	assert_int_equal(SYS(openat, 0, tree_path(".."), O_RDONLY, 0), -ENOENT);
	assert_int_equal(tree_open("../secret", O_RDONLY), -ENOENT);
	assert_int_equal(SYS(unlinkat, 0, tree_path("../secret"), 0), -ENOENT);
	assert_int_equal(SYS(getcwd, FAKE_VA + DATA_AT, 4096), -ENOENT);
	assert_int_equal(rename(tree_host("outside/moved"), tree_host("grant/dir")), 0);
	assert_true(tree_outside_is_whole());
}

static void a_directory_that_was_renamed_is_followed(void **state)
{
	int64_t fd = tree_open("/g/dir/deep", O_RDONLY | O_DIRECTORY);

	(void)state;
	assert_int_equal(fd, 0);
	assert_int_equal(SYS(chdir, tree_path("/g/dir/deep")), 0);
	assert_int_equal(SYS(rename, tree_path("/g/dir"), tree_path("/g/empty/there")), 0);
	assert_int_equal(SYS(openat, 0, tree_path("../deep/file"), O_RDONLY, 0), 1);
	assert_int_equal(SYS(openat, 0, tree_path("../../../file"), O_RDONLY, 0), 2);
	assert_int_equal(SYS(getcwd, FAKE_VA + DATA_AT, 4096),
			 strlen("/g/empty/there/deep") + 1);
	assert_string_equal(fake_memory(tree_p, DATA_AT), "/g/empty/there/deep");
}

/* --- Races -------------------------------------------------------------------------------- */

static _Atomic bool flipping;

static void exchange(const char *a, const char *b)
{
	renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

/* A link that leads out takes a directory's place, again and again; and the directory moves. */
static void *flip(void *context)
{
	char dir[128], link[128], out[128];

	(void)context;
	snprintf(dir, sizeof(dir), "%s", tree_host("grant/dir"));
	snprintf(link, sizeof(link), "%s", tree_host("grant/rel"));
	snprintf(out, sizeof(out), "%s", tree_host("outside/moved"));
	while (flipping) {
		exchange(dir, link);
		exchange(dir, link);
		(void)rename(dir, out);
		(void)rename(out, dir);
	}
	return NULL;
}

static void a_thread_that_swaps_directories_finds_no_gap(void **state)
{
	static const char *const paths[] = {
		"/g/dir/secret",	 "/g/dir/deep/../../outside/secret",
		"/g/dir/deep/../secret", "/g/dir/../secret",
		"/g/rel/secret",	 "/g/rel/../outside/secret",
	};
	pthread_t thread;

	(void)state;
	flipping = true;
	assert_int_equal(pthread_create(&thread, NULL, flip, NULL), 0);
	for (int i = 0; i < FLIPS; i++) {
		const char *path = paths[(size_t)i % ARRAY_SIZE(paths)];
		struct stat st;

		assert_string_not_equal(tree_read(path), TREE_SECRET);
		assert_int_not_equal(tree_stat(path, &st), 0);
		assert_int_not_equal(tree_open(path, O_WRONLY | O_TRUNC), 0);
		assert_int_not_equal(SYS(unlink, tree_path(path)), 0);
		(void)SYS(rename, tree_path("/g/file"), tree_path("/g/dir/file"));
		(void)SYS(rename, tree_path("/g/dir/file"), tree_path("/g/file"));
	}
	flipping = false;
	pthread_join(thread, NULL);
	assert_true(tree_outside_is_whole());
}

/* --- Names -------------------------------------------------------------------------------- */

static void long_names_and_paths_are_refused(void **state)
{
	char path[5000];

	(void)state;
	memset(path, 'x', sizeof(path));
	memcpy(path, "/g/", 3);
	path[3 + 256] = '\0';
	assert_int_equal(tree_open(path, O_RDONLY), -ENAMETOOLONG);
	memset(path, 'x', sizeof(path));
	memcpy(path, "/tmp/", 5);
	path[5 + 256] = '\0';
	assert_int_equal(tree_open(path, O_WRONLY | O_CREAT), -ENAMETOOLONG);
	assert_int_equal(SYS(mkdir, tree_path(path), 0755), -ENAMETOOLONG);
	path[5 + 255] = '\0';
	assert_int_equal(SYS(mkdir, tree_path(path), 0755), 0);
	for (size_t i = 0; i < sizeof(path); i++)
		path[i] = i % 2 ? '.' : '/';
	path[4095] = '\0';
	assert_int_equal(tree_open(path, O_RDONLY | O_DIRECTORY), 0);
	path[4095] = '/';
	path[4096] = '\0';
	assert_int_equal(tree_open(path, O_RDONLY), -ENAMETOOLONG);
}

static void a_name_ends_at_its_nul(void **state)
{
	uint64_t va = tree_path("/g/fileXnone");
	char *text = fake_memory(tree_p, va - FAKE_VA);

	(void)state;
	text[7] = '\0';
	assert_int_equal(SYS(open, va, O_RDONLY, 0), 0);
}

static void wild_addresses_are_efault(void **state)
{
	uint64_t end = FAKE_END - 3;

	(void)state;
	memcpy(fake_memory(tree_p, FAKE_SIZE - 3), "/gg", 3);
	assert_int_equal(SYS(open, FAKE_WILD, O_RDONLY, 0), -EFAULT);
	assert_int_equal(SYS(open, end, O_RDONLY, 0), -EFAULT);
	assert_int_equal(SYS(stat, tree_path("/g"), FAKE_END - 100), -EFAULT);
	assert_int_equal(SYS(rename, tree_path("/g/file"), UINT64_MAX), -EFAULT);
	assert_int_equal(SYS(readlink, tree_path("/g/good"), FAKE_WILD, 10), -EFAULT);
	assert_int_equal(SYS(openat2, CWD, tree_path("/g"), FAKE_WILD, 24), -EFAULT);
	assert_int_equal(SYS(utimensat, CWD, tree_path("/g"), FAKE_END - 8, 0), -EFAULT);
	assert_int_equal(SYS(setxattr, tree_path("/g"), tree_path("user.x"), FAKE_WILD, 1, 0),
			 -EFAULT);
}

/* --- The guest's own openat2(2) ----------------------------------------------------------- */

static int64_t open_how(int64_t dir, const char *path, uint64_t resolve)
{
	struct open_how how = {.flags = O_RDONLY, .resolve = resolve};

	memcpy(fake_memory(tree_p, DATA_AT), &how, sizeof(how));
	return SYS(openat2, (uint64_t)dir, tree_path(path), FAKE_VA + DATA_AT, sizeof(how));
}

static void openat2_keeps_to_what_it_was_told(void **state)
{
	static const struct {
		const char *path;
		uint64_t resolve;
		int error;
	} tries[] = {
		{"deep/file", RESOLVE_BENEATH, 0},
		{"deep/../deep/file", RESOLVE_BENEATH, 0},
		{"../file", RESOLVE_BENEATH, EXDEV},
		{"deep/../../file", RESOLVE_BENEATH, EXDEV},
		{"/g/file", RESOLVE_BENEATH, EXDEV},
		{"up", RESOLVE_BENEATH, EXDEV},
		{"../file", RESOLVE_IN_ROOT, ENOENT},
		{"../deep/file", RESOLVE_IN_ROOT, 0},
		{"/deep/file", RESOLVE_IN_ROOT, 0},
		{"/../../deep/file", RESOLVE_IN_ROOT, 0},
		{"/g/dir/deep/file", RESOLVE_IN_ROOT, ENOENT},
		{"../good", RESOLVE_NO_SYMLINKS, ELOOP},
		{"../good_dir/file", RESOLVE_NO_SYMLINKS, ELOOP},
		{"../../tmp", RESOLVE_NO_XDEV, EXDEV},
		{"/proc/self/fd/0", RESOLVE_NO_MAGICLINKS, ELOOP},
		{"/proc/self/fd/0", RESOLVE_BENEATH, EXDEV},
		{"deep/file", 0x8000, EINVAL},
		{"deep/file", RESOLVE_BENEATH | RESOLVE_IN_ROOT, EINVAL},
	};

	(void)state;
	assert_int_equal(tree_open("/g/dir", O_PATH | O_DIRECTORY), 0);
	for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
		int64_t r = open_how(0, tries[i].path, tries[i].resolve);

		if ((r < 0 ? -r : 0) != tries[i].error)
			print_error("%s with %llx: %lld\n", tries[i].path,
				    (unsigned long long)tries[i].resolve, (long long)r);
		assert_int_equal(r < 0 ? -r : 0, tries[i].error);
		tree_close(r);
	}
}

static void openat2_checks_its_structure(void **state)
{
	struct open_how how = {.flags = O_RDONLY};
	uint8_t *at = fake_memory(tree_p, DATA_AT);

	(void)state;
	memset(at, 0, 4096);
	memcpy(at, &how, sizeof(how));
	assert_int_equal(SYS(openat2, CWD, tree_path("/g"), FAKE_VA + DATA_AT, 23), -EINVAL);
	assert_int_equal(SYS(openat2, CWD, tree_path("/g"), FAKE_VA + DATA_AT, 5000), -E2BIG);
	assert_int_equal(SYS(openat2, CWD, tree_path("/g"), FAKE_VA + DATA_AT, 32), 0);
	at[31] = 1;
	assert_int_equal(SYS(openat2, CWD, tree_path("/g"), FAKE_VA + DATA_AT, 32), -E2BIG);
	how.mode = 0644; /* without O_CREAT */
	memcpy(at, &how, sizeof(how));
	assert_int_equal(SYS(openat2, CWD, tree_path("/g"), FAKE_VA + DATA_AT, 24), -EINVAL);
	how.mode = 0;
	how.flags = (uint64_t)1 << 40;
	memcpy(at, &how, sizeof(how));
	assert_int_equal(SYS(openat2, CWD, tree_path("/g"), FAKE_VA + DATA_AT, 24), -EINVAL);
}

/* --- Modes and owners --------------------------------------------------------------------- */

static void the_host_gets_no_set_user_id_files(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(SYS(chmod, tree_path("/g/file"), 06755), 0);
	assert_int_equal(stat(tree_host("grant/file"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(SYS(openat, CWD, tree_path("/g/new"), O_CREAT | O_WRONLY, 06777), 0);
	assert_int_equal(SYS(mknod, tree_path("/g/new2"), S_IFREG | 06777, 0), 0);
	assert_int_equal(stat(tree_host("grant/new"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(stat(tree_host("grant/new2"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(SYS(setxattr, tree_path("/g/file"), tree_path("security.capability"),
			     FAKE_VA, 8, 0),
			 -EOPNOTSUPP);
}

static void modes_are_the_guests_umasks_not_ours(void **state)
{
	mode_t ours = umask(077);
	struct stat st;

	(void)state;
	tree_p->umask = 002;
	assert_int_equal(SYS(openat, CWD, tree_path("/g/f"), O_CREAT | O_WRONLY, 0666), 0);
	assert_int_equal(SYS(mkdir, tree_path("/g/d"), 0777), 0);
	umask(ours);
	assert_int_equal(stat(tree_host("grant/f"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0664);
	assert_int_equal(stat(tree_host("grant/d"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0775);
}

static void files_of_our_user_are_the_guests(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(tree_stat("/g/file", &st), 0);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_gid, 1000);
	assert_int_equal(SYS(chown, tree_path("/g/file"), 0, UINT32_MAX), -EPERM);
	assert_int_equal(SYS(chown, tree_path("/g/file"), 1000, UINT32_MAX), 0);
	assert_int_equal(stat(tree_host("grant/file"), &st), 0);
	assert_int_equal(st.st_uid, geteuid());
}

static void access_says_what_open_does(void **state)
{
	(void)state;
	assert_int_equal(SYS(access, tree_path("/g/file"), R_OK | W_OK), 0);
	assert_int_equal(SYS(access, tree_path("/r/file"), R_OK), 0);
	assert_int_equal(SYS(access, tree_path("/r/file"), W_OK), -EROFS);
	assert_int_equal(SYS(access, tree_path("/r"), W_OK), -EROFS);
	assert_int_equal(SYS(access, tree_path("/"), W_OK), -EROFS);
	assert_int_equal(SYS(access, tree_path("/tmp"), R_OK | W_OK | X_OK), 0);
	assert_int_equal(SYS(access, tree_path("/o/file"), W_OK), 0);
	assert_int_equal(SYS(access, tree_path("/g/none"), F_OK), -ENOENT);
	assert_int_equal(SYS(access, tree_path("/g/file"), 8), -EINVAL);
	assert_int_equal(SYS(access, tree_path("/dev/null"), R_OK | W_OK), 0);
	assert_int_equal(SYS(access, tree_path("/proc/self/status"), W_OK), -EACCES);
}

static void a_file_without_a_name_gets_one_in_its_mount_only(void **state)
{
	(void)state;
	assert_int_equal(tree_open("/g", O_TMPFILE | O_RDWR), 0);
	assert_int_equal(tree_open("/tmp", O_TMPFILE | O_RDWR), 1);
	assert_int_equal(tree_open("/tmp", O_TMPFILE | O_RDWR | O_EXCL), 2);
	assert_int_equal(tree_write_fd(0, "one"), 3);
	assert_int_equal(tree_write_fd(1, "two"), 3);
	assert_int_equal(SYS(linkat, CWD, tree_path("/proc/self/fd/0"), CWD,
			     tree_path("/tmp/n"), AT_SYMLINK_FOLLOW),
			 -EXDEV);
	assert_int_equal(SYS(linkat, CWD, tree_path("/proc/self/fd/0"), CWD, tree_path("/g/n"),
			     AT_SYMLINK_FOLLOW),
			 0);
	assert_int_equal(SYS(linkat, 1, tree_path(""), CWD, tree_path("/tmp/n"), AT_EMPTY_PATH),
			 0);
	assert_int_equal(SYS(linkat, 2, tree_path(""), CWD, tree_path("/tmp/m"), AT_EMPTY_PATH),
			 -ENOENT);
	assert_string_equal(tree_read("/g/n"), "one");
	assert_string_equal(tree_read("/tmp/n"), "two");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tree_set_up, tree_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(no_call_leaves_what_was_granted),
		TEST(links_inside_lead_where_they_say),
		TEST(creating_through_a_link_stays_inside),
		TEST(links_of_the_guest_stay_in_its_namespace),
		TEST(devices_in_a_grant_cannot_be_opened),
		TEST(an_open_file_gives_no_more_rights_than_its_mount),
		TEST(a_stream_is_not_opened_with_more_rights),
		TEST(a_directory_that_was_moved_out_is_no_way_out),
		TEST(a_directory_that_was_renamed_is_followed),
		TEST(a_thread_that_swaps_directories_finds_no_gap),
		TEST(long_names_and_paths_are_refused),
		TEST(a_name_ends_at_its_nul),
		TEST(wild_addresses_are_efault),
		TEST(openat2_keeps_to_what_it_was_told),
		TEST(openat2_checks_its_structure),
		TEST(the_host_gets_no_set_user_id_files),
		TEST(modes_are_the_guests_umasks_not_ours),
		TEST(files_of_our_user_are_the_guests),
		TEST(access_says_what_open_does),
		TEST(a_file_without_a_name_gets_one_in_its_mount_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

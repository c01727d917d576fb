/* SPDX-License-Identifier: Apache-2.0 */
/* The table of mounts, /proc and /dev. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fail_alloc.h"
#include "vfs_tree.h"

#define DATA_AT (1u << 20)
#define THREADS 4
#define ROUNDS 300

static int mount_host(const char *host, const char *guest, bool writable)
{
	mayfly_error err;

	return vfs_mount(tree_p->vfs, VFS_HOST, tree_expand(host), guest, writable, &err);
}

static const char *link_of(const char *path)
{
	char *text = fake_memory(tree_p, DATA_AT);
	int64_t n = SYS(readlink, tree_path(path), FAKE_VA + DATA_AT, 4095);

	if (n < 0)
		return "(none)";
	text[n] = '\0';
	return text;
}

/* --- Mounts ------------------------------------------------------------------------------- */

static void a_guest_starts_with_nearly_nothing(void **state)
{
	(void)state;
	assert_string_equal(tree_list("/"), "dev g o proc r tmp ");
	assert_string_equal(tree_list("/tmp"), "");
	assert_string_equal(tree_list("/dev"),
			    "fd full null random shm stderr stdin stdout tty urandom zero ");
}

static void missing_directories_are_made_in_memory(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(mount_host("@/lower", "/a/b/c", false), MAYFLY_OK);
	assert_string_equal(tree_read("/a/b/c/file"), "lower");
	assert_string_equal(tree_list("/a"), "b ");
	/* Not on the host, where the place is in a granted directory. */
	assert_int_equal(mount_host("@/lower", "/r/new/place", false), MAYFLY_OK);
	assert_string_equal(tree_read("/r/new/place/file"), "lower");
	assert_string_equal(tree_list("/r/new"), "place ");
	assert_non_null(strstr(tree_list("/r"), "new "));
	assert_null(strstr(tree_list("/g"), "new "));
	assert_int_equal(lstat(tree_host("grant/new"), &st), -1);
	assert_int_equal(SYS(mkdir, tree_path("/r/new/x"), 0755), -EROFS);
	assert_string_equal(tree_read("/r/new/place/../../file"), "inside");
	assert_int_equal(SYS(chdir, tree_path("/r/new/place/dir")), 0);
	assert_string_equal(tree_read("../../../file"), "inside");
}

static void one_file_can_be_granted(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(mount_host("@/outside/secret", "/etc/one", false), MAYFLY_OK);
	assert_string_equal(tree_read("/etc/one"), TREE_SECRET);
	assert_int_equal(tree_open("/etc/one", O_WRONLY), -EROFS);
	assert_int_equal(tree_open("/etc/one/..", O_RDONLY), -ENOTDIR);
	assert_int_equal(tree_open("/etc/one/../secret", O_RDONLY), -ENOTDIR);
	assert_int_equal(tree_open("/etc/one/x", O_RDONLY), -ENOTDIR);
	assert_int_equal(tree_open("/etc/secret", O_RDONLY), -ENOENT);
	assert_int_equal(tree_stat("/etc/one", &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_string_equal(tree_list("/etc"), "one ");
}

static void a_root_keeps_what_is_mounted(void **state)
{
	mayfly_error err;

	(void)state;
	assert_int_equal(
		vfs_mount(tree_p->vfs, VFS_OVERLAY, tree_host("lower"), "/", true, &err),
		MAYFLY_OK);
	assert_string_equal(tree_read("/file"), "lower");
	assert_string_equal(tree_read("/g/file"), "inside");
	assert_string_equal(tree_list("/"),
			    "abs dev dir empty file g good o proc r rel_file tmp ");
	assert_int_equal(tree_put("/new", "in memory"), 0);
	assert_int_equal(tree_put("/tmp/new", "in memory"), 0);
	assert_string_equal(tree_list("/tmp"), "new ");
	assert_int_equal(SYS(rename, tree_path("/dir"), tree_path("/moved")), 0);
	assert_string_equal(tree_read("/moved/sub/../file"), "lower too");
	assert_int_equal(SYS(rename, tree_path("/tmp"), tree_path("/moved/tmp")), -EBUSY);
	assert_int_equal(SYS(rmdir, tree_path("/proc")), -EBUSY);
	assert_int_equal(tree_open("/../../outside/secret", O_RDONLY), -ENOENT);
	assert_int_equal(access(tree_host("lower/new"), F_OK), -1);
}

static void later_mounts_cover_earlier_ones(void **state)
{
	(void)state;
	assert_int_equal(mount_host("@/lower", "/g", false), MAYFLY_OK);
	assert_string_equal(tree_read("/g/file"), "lower");
	assert_int_equal(tree_put("/g/file", "x"), -EROFS);
}

static void a_link_to_what_is_mounted_stays_a_link(void **state)
{
	char place[128], link[128];

	(void)state;
	/* As /usr and /bin are, in directories that have the same path in the guest. */
	snprintf(place, sizeof(place), "%s/lower", tree_base);
	snprintf(link, sizeof(link), "%s/link", tree_base);
	assert_int_equal(symlink("lower/dir", link), 0);
	assert_int_equal(mount_host(place, place, false), MAYFLY_OK);
	assert_int_equal(mount_host(link, link, false), MAYFLY_OK);
	assert_string_equal(link_of(link), "lower/dir");
	assert_string_equal(tree_read(tree_host("link/file")), "lower too");
	/* One that leads to nothing granted is mounted as what it leads to. */
	unlink(link);
	assert_int_equal(symlink("grant/dir/deep", link), 0);
	snprintf(link, sizeof(link), "%s/./link", tree_base);
	assert_int_equal(mount_host(link, "/elsewhere", false), MAYFLY_OK);
	assert_string_equal(tree_read("/elsewhere/file"), "deep");
	assert_string_equal(tree_list("/elsewhere"), "file ");
	unlink(link);
}

static void what_cannot_be_mounted_is_said(void **state)
{
	mayfly_error err;

	(void)state;
	assert_int_equal(vfs_mount(tree_p->vfs, VFS_HOST, tree_host("none"), "/x", false, &err),
			 MAYFLY_E_IO);
	assert_non_null(strstr(err.message, "none"));
	assert_int_equal(vfs_mount(tree_p->vfs, VFS_HOST, "/dev/null", "/x", false, &err),
			 MAYFLY_E_INVALID);
	assert_int_equal(vfs_mount(tree_p->vfs, VFS_HOST, tree_base, "x", false, &err),
			 MAYFLY_E_INVALID);
	assert_int_equal(vfs_mount(tree_p->vfs, VFS_HOST, tree_base, "/x/../y", false, &err),
			 MAYFLY_E_INVALID);
	assert_int_equal(
		vfs_mount(tree_p->vfs, VFS_OVERLAY, tree_host("grant/file"), "/x", true, &err),
		MAYFLY_E_INVALID);
}

static void each_mount_is_a_device_of_its_own(void **state)
{
	struct stat g, r, host;

	(void)state;
	assert_int_equal(tree_stat("/g/file", &g), 0);
	assert_int_equal(tree_stat("/r/file", &r), 0);
	assert_int_equal(stat(tree_host("grant/file"), &host), 0);
	assert_int_equal(g.st_ino, r.st_ino);
	assert_int_not_equal(g.st_dev, r.st_dev);
	assert_int_not_equal(g.st_dev, host.st_dev);
}

/* --- /proc -------------------------------------------------------------------------------- */

static void proc_tells_of_the_guest_alone(void **state)
{
	char name[256] = "?";
	FILE *f = fopen("/proc/version", "r");

	(void)state;
	assert_non_null(f);
	assert_non_null(fgets(name, sizeof(name), f));
	fclose(f);
	assert_string_not_equal(tree_read("/proc/version"), name);
	assert_string_equal(tree_read("/proc/sys/kernel/hostname"), "mayfly\n");
	assert_string_equal(tree_read("/proc/sys/kernel/ostype"), "Linux\n");
	assert_non_null(strstr(tree_read("/proc/self/status"), "Pid:\t1000\n"));
	assert_non_null(strstr(tree_read("/proc/meminfo"), "MemTotal:          65536 kB\n"));
	assert_null(strstr(tree_read("/proc/self/mountinfo"), tree_base));
	assert_null(strstr(tree_read("/proc/mounts"), tree_base));
	assert_non_null(strstr(tree_read("/proc/mounts"), " /g "));
	assert_int_equal(strlen(tree_read("/proc/sys/kernel/random/uuid")), 37);
	assert_string_not_equal(tree_read("/proc/sys/kernel/random/uuid"),
				tree_read("/proc/sys/kernel/random/uuid"));
	assert_string_equal(tree_read("/proc/sys/kernel/random/boot_id"),
			    tree_read("/proc/sys/kernel/random/boot_id"));
}

static void proc_has_one_process(void **state)
{
	struct stat st;

	(void)state;
	assert_string_equal(link_of("/proc/self"), "1000");
	assert_string_equal(link_of("/proc/thread-self"), "1000/task/1000");
	assert_string_equal(link_of("/proc/self/exe"), "/g/file");
	assert_string_equal(link_of("/proc/self/root"), "/");
	assert_string_equal(tree_read("/proc/self/exe"), "inside");
	assert_int_equal(SYS(chdir, tree_path("/g/dir")), 0);
	assert_string_equal(link_of("/proc/self/cwd"), "/g/dir");
	assert_string_equal(tree_read("/proc/self/cwd/deep/file"), "deep");
	assert_string_equal(tree_list("/proc/self/task"), "1000 ");
	assert_int_equal(tree_stat("/proc/1000/task/1000/status", &st), 0);
	assert_int_equal(tree_stat("/proc/1000/task/1000/task", &st), -ENOENT);
	assert_int_equal(tree_stat("/proc/1", &st), -ENOENT);
	assert_int_equal(tree_stat("/proc/01000", &st), -ENOENT);
	assert_int_equal(tree_stat("/proc/99999999999999999999", &st), -ENOENT);
	assert_int_equal(tree_stat("/proc/self/status/x", &st), -ENOTDIR);
}

static void proc_lists_descriptors(void **state)
{
	int64_t fd = tree_open("/g/dir/deep/file", O_RDONLY);

	(void)state;
	assert_int_equal(fd, 0);
	assert_string_equal(link_of("/proc/self/fd/0"), "/g/dir/deep/file");
	assert_string_equal(tree_list("/proc/self/fd"), "0 1 ");
	assert_string_equal(link_of("/proc/self/fd/7"), "(none)");
	assert_non_null(strstr(tree_read("/proc/self/fdinfo/0"), "pos:\t0\n"));
	/* It is a file, not a path: another of that name is not what is open. */
	assert_int_equal(SYS(rename, tree_path("/g/dir/deep/file"), tree_path("/g/x")), 0);
	assert_string_equal(tree_read("/proc/self/fd/0"), "deep");
	assert_string_equal(tree_read("/dev/fd/0"), "deep");
}

static void a_descriptor_of_itself_leads_nowhere(void **state)
{
	struct stat st;
	int64_t fd;

	(void)state;
	assert_int_equal(tree_open("/g/file", O_RDONLY), 0);
	fd = tree_open("/proc/self/fd/0", O_PATH | O_NOFOLLOW);
	assert_int_equal(fd, 1);
	assert_int_equal(SYS(dup2, 1, 0), 0);
	assert_int_equal(tree_open("/proc/self/fd/0", O_RDONLY), -ELOOP);
	assert_int_equal(tree_open("/proc/self/fd/0/x", O_RDONLY), -ENOTDIR);
	assert_int_equal(tree_stat("/proc/self/fd/0", &st), 0);
	assert_string_equal(link_of("/proc/self/fd/0"), "/proc/1000/fd/0");
}

static void texts_of_proc_are_charged_while_open(void **state)
{
	uint64_t before = atomic_load(&tree_p->mm.charged);
	int64_t fd = tree_open("/proc/cpuinfo", O_RDONLY);

	(void)state;
	assert_true(fd >= 0);
	assert_true(atomic_load(&tree_p->mm.charged) >= before + 4096);
	tree_close(fd);
	assert_int_equal(atomic_load(&tree_p->mm.charged), before);
	tree_p->mm.limit = before;
	assert_int_equal(tree_open("/proc/cpuinfo", O_RDONLY), -ENOMEM);
}

/* --- /dev --------------------------------------------------------------------------------- */

static void devices_do_what_they_are_for(void **state)
{
	int64_t fd = tree_open("/dev/zero", O_RDWR);
	uint8_t *at = fake_memory(tree_p, DATA_AT);
	struct stat st;

	(void)state;
	at[0] = 1;
	assert_int_equal(SYS(read, (uint64_t)fd, FAKE_VA + DATA_AT, 8), 8);
	assert_int_equal(at[0], 0);
	fd = tree_open("/dev/full", O_WRONLY);
	assert_int_equal(tree_write_fd(fd, "x"), -ENOSPC);
	fd = tree_open("/dev/null", O_WRONLY | O_CREAT | O_TRUNC);
	assert_int_equal(tree_write_fd(fd, "x"), 1);
	fd = tree_open("/dev/urandom", O_RDONLY);
	assert_int_equal(SYS(read, (uint64_t)fd, FAKE_VA + DATA_AT, 8), 8);
	assert_int_equal(tree_stat("/dev/null", &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	assert_int_equal(st.st_rdev, makedev(1, 3));
	assert_int_equal(tree_open("/dev/tty", O_RDWR), -ENXIO);
	assert_int_equal(tree_open("/dev/kvm", O_RDWR), -ENOENT);
}

/* --- Threads ------------------------------------------------------------------------------ */

/* A mixture of everything on a few names, so that they meet. */
static void *mix(void *context)
{
	unsigned seed = (unsigned)(uintptr_t)context * 7919 + 1;
	static const char *const names[] = {
		"/tmp/a",   "/tmp/b", "/tmp/b/c", "/o/file",  "/o/dir",	      "/o/dir/file",
		"/o/dir/x", "/g/y",   "/g/dir",	  "/g/dir/z", "/dev/shm/a/b", "/o/dir/sub/file",
	};
	struct vfs *vfs = tree_p->vfs;

	for (int i = 0; i < ROUNDS; i++) {
		const char *a =
			names[(seed = seed * 1103515245 + 12345) / 65536 % ARRAY_SIZE(names)];
		const char *b =
			names[(seed = seed * 1103515245 + 12345) / 65536 % ARRAY_SIZE(names)];
		const struct vfs_name from = {NULL, a}, to = {NULL, b};
		struct file *file;
		struct stat st;

		switch ((seed / 65536) % 8) {
		case 0:
			(void)vfs_mkdir(vfs, NULL, a, 0755);
			break;
		case 1:
			(void)vfs_unlink(vfs, NULL, a, i % 2);
			break;
		case 2:
			(void)vfs_rename(vfs, &from, &to, i % 3 ? 0 : RENAME_EXCHANGE);
			break;
		case 3:
			(void)vfs_link(vfs, &from, &to, 0);
			break;
		case 4:
			(void)vfs_stat(vfs, NULL, a, 0, &st);
			break;
		case 5:
			(void)vfs_chdir(vfs, a);
			break;
		default:
			if (vfs_open(vfs, NULL, a, O_RDWR | O_CREAT, 0644, &file) == 0) {
				(void)vfs_ftruncate(vfs, file, (uint64_t)i);
				file_put(file);
			}
			if (vfs_open(vfs, NULL, a, O_RDONLY | O_DIRECTORY, 0, &file) == 0) {
				char buffer[512];

				(void)vfs_getdents(file, buffer, sizeof(buffer));
				file_put(file);
			}
		}
	}
	return NULL;
}

static void threads_that_meet_leave_a_whole_tree(void **state)
{
	pthread_t threads[THREADS];
	mayfly_error err;
	uint8_t *bytes;
	size_t len;

	(void)state;
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, mix, (void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(SYS(chdir, tree_path("/")), 0);
	assert_int_equal(vfs_save(tree_p->vfs, &bytes, &len, &err), MAYFLY_OK);
	assert_int_equal(vfs_load(tree_p->vfs, bytes, len, &err), MAYFLY_OK);
	free(bytes);
	assert_true(tree_outside_is_whole());
}

static void clear_trees(void)
{
	file_put(take_ptr(tree_p->vfs->cwd));
	pthread_rwlock_wrlock(&tree_p->vfs->lock);
	for (size_t i = 0; i < tree_p->vfs->nmounts; i++) {
		struct vfs_mount *m = tree_p->vfs->mounts[i];

		if (!m->root)
			continue;
		memtree_clear_locked(m->root);
		memnode_drop_xattrs_locked(m->root);
	}
	pthread_rwlock_unlock(&tree_p->vfs->lock);
}

/* The roots of /, /dev, /tmp, /dev/shm and /o are left, and nothing else. */
static void check_nothing_is_left(void)
{
	clear_trees();
	assert_int_equal(tree_p->vfs->nodes, 5);
	assert_int_equal(atomic_load(&tree_p->mm.charged), 5 * VFS_NODE_COST);
}

static void nothing_stays_charged(void **state)
{
	(void)state;
	mix(NULL);
	check_nothing_is_left();
}

/* Something of all; the results are not looked at. */
static void do_everything(void)
{
	const struct vfs_name from = {NULL, "/o/dir"}, to = {NULL, "/o/empty/d"};
	const struct vfs_name file_name = {NULL, "/tmp/f"}, link_name = {NULL, "/tmp/l"};
	struct vfs *vfs = tree_p->vfs;
	struct file *file;
	mayfly_error err;
	struct vfs_object o;
	uint8_t *bytes;
	char buffer[512];
	size_t len;

	for (int i = 0; i < 2; i++) {
		if (vfs_open(vfs, NULL, i ? "/o/file" : "/tmp/f", O_RDWR | O_CREAT, 0644,
			     &file) < 0)
			continue;
		(void)vfs_ftruncate(vfs, file, 100);
		file_put(file);
	}
	if (vfs_object_at(vfs, NULL, "/tmp/f", OBJECT_WRITE, &o) == 0)
		(void)vfs_object_setxattr(&o, "user.x", "y", 1, 0);
	vfs_object_fini(&o);
	(void)vfs_link(vfs, &file_name, &link_name, 0);
	(void)vfs_symlink(vfs, "f", NULL, "/tmp/s");
	(void)vfs_mkdir(vfs, NULL, "/tmp/d", 0755);
	(void)vfs_unlink(vfs, NULL, "/o/dir/file", false);
	(void)vfs_rename(vfs, &from, &to, 0);
	(void)vfs_chdir(vfs, "/o/empty");
	if (vfs_open(vfs, NULL, "/o", O_RDONLY | O_DIRECTORY, 0, &file) == 0) {
		(void)vfs_getdents(file, buffer, sizeof(buffer));
		file_put(file);
	}
	if (vfs_open(vfs, NULL, "/proc/self/status", O_RDONLY, 0, &file) == 0)
		file_put(file);
	if (vfs_memfd(vfs, "m", true, &file) == 0)
		file_put(file);
	if (vfs_save(vfs, &bytes, &len, &err) == 0) {
		(void)vfs_load(vfs, bytes, len, &err);
		free(bytes);
	}
}

static void memory_that_runs_out_leaves_a_whole_tree(void **state)
{
	bool failed = true;
	size_t n;

	(void)state;
	for (n = 1; failed; n++) {
		fail_alloc_at(n);
		do_everything();
		failed = fail_alloc_end();
		check_nothing_is_left();
		tree_tear_down(NULL);
		tree_set_up(NULL);
	}
	assert_true(n > 50);
}

/* The same with the guest's limit: each call that needs room is refused, and only that. */
static void a_limit_that_is_reached_leaves_a_whole_tree(void **state)
{
	(void)state;
	for (uint64_t room = 0; room < 24000; room += 97) {
		tree_p->mm.limit = atomic_load(&tree_p->mm.charged) + room;
		do_everything();
		assert_true(atomic_load(&tree_p->mm.charged) <= tree_p->mm.limit);
		tree_p->mm.limit = 64 << 20;
		if (room % 5 == 0) {
			check_nothing_is_left();
			tree_tear_down(NULL);
			tree_set_up(NULL);
		}
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tree_set_up, tree_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_guest_starts_with_nearly_nothing),
		TEST(missing_directories_are_made_in_memory),
		TEST(one_file_can_be_granted),
		TEST(a_root_keeps_what_is_mounted),
		TEST(later_mounts_cover_earlier_ones),
		TEST(a_link_to_what_is_mounted_stays_a_link),
		TEST(what_cannot_be_mounted_is_said),
		TEST(each_mount_is_a_device_of_its_own),
		TEST(proc_tells_of_the_guest_alone),
		TEST(proc_has_one_process),
		TEST(proc_lists_descriptors),
		TEST(a_descriptor_of_itself_leads_nowhere),
		TEST(texts_of_proc_are_charged_while_open),
		TEST(devices_do_what_they_are_for),
		TEST(threads_that_meet_leave_a_whole_tree),
		TEST(nothing_stays_charged),
		TEST(memory_that_runs_out_leaves_a_whole_tree),
		TEST(a_limit_that_is_reached_leaves_a_whole_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

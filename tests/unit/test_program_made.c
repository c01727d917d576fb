/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a program's process: the limits that are refused, and the files by which it looks up
 * localhost. On the mock hypervisor.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux/checkpoint.h"
#include "program_fixture.h"

#undef fail /* core/error.h has its own */
#include <cmocka.h>

#define HOSTS "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
#define HOSTS_LINE 20 /* the length of its first */
#define ORDER "hosts: files dns\n"
#define PATH (PROGRAM_DATA + 0x100)
#define FIRST_FILE 3

static struct tree tree;

/* --- Making them ------------------------------------------------------------------------------ */

static struct process *made(const mayfly_process_options *o)
{
	struct process *p = NULL;
	mayfly_error err;

	mock_reset();
	if (process_new(&hv_mock, o, &p, &err) < 0)
		fail_msg("%s", err.message);
	return p;
}

static mayfly_process_options with_system(void)
{
	mayfly_process_options o = program_options(&tree);

	o.flags |= MAYFLY_PROCESS_SYSTEM;
	return o;
}

/* The tree's program, with one grant: of `host` within the tree. */
static struct process *made_with(mayfly_grant *grant, const char *host)
{
	mayfly_process_options o = with_system();
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", tree.root, host);
	grant->host = path;
	o.grants = grant;
	o.ngrants = 1;
	o.cwd = NULL;
	return made(&o);
}

static bool reads(struct process *p, const char *path, const char *text)
{
	char got[200] = "";
	struct file *file;
	int r = vfs_open(p->vfs, NULL, path, O_RDONLY, 0, &file);

	if (r < 0)
		return false;
	assert_true(pread(file->fd, got, sizeof(got) - 1, 0) >= 0);
	file_put(file);
	return strcmp(got, text) == 0;
}

static void make_directory(const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", tree.root, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static void make_file(const char *name, const char *text)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", tree.root, name);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* --- localhost -------------------------------------------------------------------------------- */

static void localhost_is_there_with_the_systems_files(void **state)
{
	mayfly_process_options o = with_system();
	struct process *p = made(&o);
	struct stat st;

	(void)state;
	assert_true(reads(p, "/etc/hosts", HOSTS));
	assert_true(reads(p, "/etc/nsswitch.conf", ORDER));
	assert_int_equal(vfs_stat(p->vfs, NULL, "/etc/hosts", 0, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0644);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(st.st_size, strlen(HOSTS));
	process_free(p);
}

static void it_is_not_there_without_them(void **state)
{
	mayfly_process_options o = program_options(&tree);
	struct process *p = made(&o);
	struct stat st;

	(void)state;
	assert_int_equal(vfs_stat(p->vfs, NULL, "/etc/hosts", 0, &st), -ENOENT);
	process_free(p);
}

static void it_cannot_be_written_to(void **state)
{
	static const int flags[] = {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_WRONLY | O_CREAT};
	mayfly_process_options o = with_system();
	struct process *p = made(&o);
	struct file *file;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		assert_int_equal(vfs_open(p->vfs, NULL, "/etc/hosts", flags[i], 0644, &file),
				 -EROFS);
	assert_int_equal(vfs_open(p->vfs, NULL, "/etc/hosts/x", O_RDONLY, 0, &file), -ENOTDIR);
	assert_int_equal(vfs_open(p->vfs, NULL, "/etc/hosts/..", O_RDONLY, 0, &file), -ENOTDIR);
	assert_true(reads(p, "/etc/hosts", HOSTS));
	process_free(p);
}

static void a_file_that_is_granted_there_wins(void **state)
{
	mayfly_grant grant = {.guest = "/etc/hosts"};
	struct process *p;

	(void)state;
	make_file("names", "192.0.2.1 granted\n");
	p = made_with(&grant, "names");
	assert_true(reads(p, "/etc/hosts", "192.0.2.1 granted\n"));
	assert_true(reads(p, "/etc/nsswitch.conf", ORDER));
	process_free(p);
}

static void the_one_of_a_root_wins(void **state)
{
	static const uint32_t kinds[] = {0, MAYFLY_GRANT_WRITE, MAYFLY_GRANT_OVERLAY};

	(void)state;
	make_directory("whole");
	make_directory("whole/etc");
	make_file("whole/etc/hosts", "192.0.2.1 root\n");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		mayfly_grant grant = {.guest = "/", .flags = kinds[i]};
		struct process *p = made_with(&grant, "whole");

		assert_true(reads(p, "/etc/hosts", "192.0.2.1 root\n"));
		process_free(p);
	}
}

static void a_root_without_one_is_given_one_and_not_changed(void **state)
{
	static const uint32_t kinds[] = {0, MAYFLY_GRANT_WRITE, MAYFLY_GRANT_OVERLAY};
	char path[160];

	(void)state;
	make_directory("bare");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		mayfly_grant grant = {.guest = "/", .flags = kinds[i]};
		struct process *p = made_with(&grant, "bare");

		assert_true(reads(p, "/etc/hosts", HOSTS));
		process_free(p);
	}
	snprintf(path, sizeof(path), "%s/bare/etc", tree.root);
	assert_int_equal(access(path, F_OK), -1);
}

static void snapshots_and_restores_keep_it_open(void **state)
{
	static const uint64_t opening[][7] = {
		{SYS_open, PATH, O_RDONLY},
		{SYS_read, FIRST_FILE, RESULT + 0x100, HOSTS_LINE},
		{PROG_SYS_READY, 0},
	};
	static const uint64_t reading[][7] = {{SYS_read, FIRST_FILE, RESULT, 13}};
	mayfly_process_options o = with_system();
	struct process *p = made(&o);
	struct mayfly_snapshot *snap;

	(void)state;
	mm_write(&p->mm, PATH, "/etc/hosts", sizeof("/etc/hosts"));
	assert_int_equal(program_run(p, opening, ARRAY_SIZE(opening)).end, MAYFLY_END_PAUSE);
	assert_int_equal(checkpoint_save(p, &snap, NULL), 0);
	process_free(p);
	o.program = o.cwd = NULL;
	o.snapshot = snap;
	o.flags |= MAYFLY_PROCESS_RESTORABLE;
	p = made(&o);
	for (int again = 0; again < 3; again++) {
		assert_true(reads(p, "/etc/hosts", HOSTS));
		assert_int_equal(program_run(p, reading, 1).status, 7);
		assert_true(program_holds(p, RESULT, "::1 localhost"));
		program_restore(p);
	}
	process_free(p);
	mayfly_snapshot_unref(snap);
}

/* --- Limits ----------------------------------------------------------------------------------- */

static void fewer_files_than_the_standard_streams_are_refused(void **state)
{
	mayfly_process_options o = program_options(&tree);
	struct process *p;
	mayfly_error err;

	(void)state;
	for (o.max_files = 1; o.max_files < 3; o.max_files++) {
		assert_int_equal(process_new(&hv_mock, &o, &p, &err), MAYFLY_E_INVALID);
		assert_non_null(strstr(err.message, "the standard streams alone are 3"));
	}
	process_free(made(&o));
}

static int set_up(void **state)
{
	(void)state;
	tree_make(&tree);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tree_remove(&tree);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(localhost_is_there_with_the_systems_files),
		cmocka_unit_test(it_is_not_there_without_them),
		cmocka_unit_test(it_cannot_be_written_to),
		cmocka_unit_test(a_file_that_is_granted_there_wins),
		cmocka_unit_test(the_one_of_a_root_wins),
		cmocka_unit_test(a_root_without_one_is_given_one_and_not_changed),
		cmocka_unit_test(snapshots_and_restores_keep_it_open),
		cmocka_unit_test(fewer_files_than_the_standard_streams_are_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of calls with paths, over a small tree of which parts are granted: the guest's file
 * system must neither leave what was granted nor come apart.
 *
 * Input: for each call a byte that says which, its paths, a byte of flags. A path: a byte, its
 * low 3 bits how many names, its high bits where it begins; then a byte a name.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "vfs_tree.h"

#define MAX_CALLS 64
#define DATA_AT (1u << 20)

static const char *const names[] = {
	"..",	  "g",	    "r",	"o",	"tmp",	 "dir",	  "deep",   "sub",
	"file",	  "a",	    "b",	"c",	"empty", "rel",	  "abs",    "rel_file",
	"chain1", "loop1",  "self",	"proc", "fd",	 "0",	  "1",	    "2",
	"cwd",	  "root",   "good_dir", "dev",	"shm",	 "stdin", "1000",   "task",
	"fdinfo", "secret", "outside",	".",	"",	 "fifo",  "device", "new_outside",
};

struct input {
	const uint8_t *data;
	size_t left;
};

static uint8_t next(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->data++;
}

/* Gives the address of the path, *dir: the descriptor that goes with it. */
static uint64_t next_path(struct input *in, uint64_t *dir)
{
	uint8_t head = next(in);
	char path[1024];
	size_t len = 0;

	*dir = head & 0x10 ? (uint64_t)(head >> 5) : CWD;
	if (head & 8)
		path[len++] = '/';
	for (int i = 0; i < (head & 7); i++) {
		uint8_t name = next(in);

		len += (size_t)snprintf(path + len, sizeof(path) - len, "%s%s", i ? "/" : "",
					names[name % ARRAY_SIZE(names)]);
		if (name >= 0xf0)
			path[len++] = '/';
	}
	path[len] = '\0';
	return tree_path(path);
}

/* What was opened is read, listed and written to. */
static void use(int64_t fd)
{
	struct file *file;
	char text[16] = "";

	if (fd < 0)
		return;
	file = files_get(&tree_p->files, (uint64_t)fd);
	if (file && file->kind == FILE_REGULAR &&
	    pread(file->fd, text, sizeof(text) - 1, 0) > 0)
		CHECK(strcmp(text, TREE_SECRET) != 0);
	if (file && file->kind == FILE_DIRECTORY)
		(void)SYS(getdents64, (uint64_t)fd, FAKE_VA + DATA_AT, 256);
	else if (file && file->kind == FILE_REGULAR && file_writable(file))
		(void)tree_write_fd(fd, "written");
	file_put(file);
	/* A few stay open, for paths that begin there. */
	if (fd > 5)
		tree_close(fd);
}

static void open_one(uint64_t dir, uint64_t path, uint8_t flags)
{
	static const int ways[] = {
		O_RDONLY,
		O_RDWR,
		O_WRONLY | O_CREAT,
		O_RDWR | O_CREAT | O_EXCL,
		O_RDWR | O_TRUNC,
		O_PATH,
		O_RDONLY | O_DIRECTORY,
		O_RDWR | O_TMPFILE,
		O_RDONLY | O_NOFOLLOW,
		O_PATH | O_NOFOLLOW,
		O_WRONLY | O_APPEND,
	};
	struct open_how how = {
		.flags = (unsigned)ways[flags % ARRAY_SIZE(ways)],
		.resolve = flags >= 0xc0 ? flags & 0x1f : 0,
	};

	if (how.flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))
		how.mode = 0644;
	if (!(how.flags & O_PATH))
		how.flags |= O_NONBLOCK;
	memcpy(fake_memory(tree_p, DATA_AT), &how, sizeof(how));
	use(SYS(openat2, dir, path, FAKE_VA + DATA_AT, sizeof(how)));
}

static void change_one(uint8_t op, uint64_t dir, uint64_t path, uint8_t flags)
{
	switch (op) {
	case 0:
		(void)SYS(mkdirat, dir, path, 0755);
		break;
	case 1:
		(void)SYS(unlinkat, dir, path, flags & 1 ? AT_REMOVEDIR : 0);
		break;
	case 2:
		(void)SYS(mknodat, dir, path, flags & 1 ? S_IFIFO | 0600 : S_IFREG | 0600, 0);
		break;
	case 3:
		(void)SYS(fchmodat2, dir, path, 0600 | (flags & 077u), AT_EMPTY_PATH);
		break;
	case 4:
		(void)SYS(truncate, path, flags);
		break;
	case 5:
		(void)SYS(chdir, path);
		break;
	case 6:
		(void)SYS(setxattr, path, tree_path("user.x"), FAKE_VA, flags, 0);
		break;
	case 7:
		(void)SYS(utimensat, dir, path, 0, flags & 1 ? AT_SYMLINK_NOFOLLOW : 0);
		break;
	case 8:
		(void)SYS(newfstatat, dir, path, FAKE_VA + DATA_AT, AT_EMPTY_PATH);
		break;
	case 9:
		(void)SYS(readlinkat, dir, path, FAKE_VA + DATA_AT, flags);
		break;
	case 10:
		(void)SYS(statfs, path, FAKE_VA + DATA_AT);
		break;
	case 11:
		(void)SYS(faccessat2, dir, path, flags & 7u, 0);
		break;
	case 12:
		(void)SYS(fchownat, dir, path, 1000, 1000, 0);
		break;
	default:
		tree_close(flags % 8);
		break;
	}
}

static void call(struct input *in)
{
	uint8_t op = next(in) % 24, flags;
	uint64_t dir, other = 0, path = next_path(in, &dir), to = 0;

	if (op < 4)
		to = next_path(in, &other);
	flags = next(in);
	if (op < 2)
		(void)SYS(renameat2, dir, path, other, to, flags & 3u);
	else if (op == 2)
		(void)SYS(linkat, dir, path, other, to, flags & 1 ? AT_SYMLINK_FOLLOW : 0);
	else if (op == 3)
		(void)SYS(symlinkat, path, other, to);
	else if (op < 10)
		open_one(dir, path, flags);
	else
		change_one(op - 10, dir, path, flags);
}

/* Saved and loaded, it is the same again. */
static void check_round_trip(void)
{
	uint8_t *bytes, *again;
	size_t len, len_again;
	mayfly_error err;

	if (SYS(chdir, tree_path("/")) < 0)
		return;
	CHECK(vfs_save(tree_p->vfs, &bytes, &len, &err) == MAYFLY_OK);
	CHECK(vfs_load(tree_p->vfs, bytes, len, &err) == MAYFLY_OK);
	CHECK(vfs_save(tree_p->vfs, &again, &len_again, &err) == MAYFLY_OK);
	CHECK(len == len_again && memcmp(bytes, again, len) == 0);
	free(bytes);
	free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	/* A file system in memory is many times faster. */
	if (access("/dev/shm", W_OK) == 0)
		tree_where = "/dev/shm";
	tree_set_up(NULL);
	for (int i = 0; i < MAX_CALLS && in.left; i++)
		call(&in);
	CHECK(tree_outside_is_whole());
	check_round_trip();
	files_close_range(&tree_p->files, 0, UINT32_MAX, false);
	CHECK(atomic_load(&tree_p->mm.charged) <= tree_p->mm.limit);
	tree_tear_down(NULL);
	return 0;
}

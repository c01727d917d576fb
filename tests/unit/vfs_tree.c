/* SPDX-License-Identifier: Apache-2.0 */
#include "vfs_tree.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/clock.h"

#define PATHS 8	       /* that are good at once */
#define PATH_ROOM 8192 /* in guest memory, each */
#define DATA_AT (1u << 20)

struct process *tree_p;
struct task *tree_t;
char tree_base[64];
const char *tree_where = "/tmp";

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static char *next_buffer(void)
{
	static char buffers[PATHS][PATH_ROOM];
	static unsigned turn;

	return buffers[turn++ % PATHS];
}

const char *tree_host(const char *format, ...)
{
	char *path = next_buffer();
	int n = snprintf(path, PATH_ROOM, "%s/", tree_base);
	va_list args;

	va_start(args, format);
	vsnprintf(path + n, PATH_ROOM - (size_t)n, format, args);
	va_end(args);
	return path;
}

const char *tree_expand(const char *path)
{
	char *out = next_buffer(), *to = out;

	for (; *path && to < out + PATH_ROOM - sizeof(tree_base) - 1; path++) {
		if (*path != '@') {
			*to++ = *path;
			continue;
		}
		memcpy(to, tree_base, strlen(tree_base));
		to += strlen(tree_base);
	}
	*to = '\0';
	return out;
}

void tree_write(const char *host_path, const char *text)
{
	FILE *f = fopen(host_path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		die(host_path);
}

static void link_to(const char *name, const char *target)
{
	if (symlink(tree_expand(target), tree_host("%s", name)) < 0)
		die(name);
}

static void make_dir(const char *name)
{
	if (mkdir(tree_host("%s", name), 0755) < 0)
		die(name);
}

static void make_links(void)
{
	link_to("grant/abs", "@/outside");
	link_to("grant/abs_file", "@/outside/secret");
	link_to("grant/rel", "../outside");
	link_to("grant/rel_file", "../outside/secret");
	link_to("grant/dir/up", "../../outside/secret");
	link_to("grant/chain1", "chain2");
	link_to("grant/chain2", "dir/../chain3");
	link_to("grant/chain3", "../outside/secret");
	link_to("grant/loop1", "loop2");
	link_to("grant/loop2", "loop1");
	link_to("grant/self", "self");
	link_to("grant/self_dir", "self_dir/x");
	link_to("grant/proc_root", "/proc/self/root@/outside/secret");
	link_to("grant/proc_cwd", "/proc/self/cwd/../outside/secret");
	link_to("grant/host_root", "/");
	link_to("grant/good", "dir/deep/file");
	link_to("grant/good_dir", "./dir/deep");
	link_to("grant/abs_good", "/g/dir/deep/file");
	link_to("grant/dangling", "nothing");
	link_to("grant/new_outside", "../outside/new");
	link_to("grant/tmp", "/tmp");
	link_to("lower/rel_file", "../outside/secret");
	link_to("lower/abs", "@/outside");
	link_to("lower/good", "dir/file");
}

static void make_specials(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (mkfifo(tree_host("grant/fifo"), 0644) < 0)
		die("fifo");
	snprintf(name.sun_path, sizeof(name.sun_path), "%s", tree_host("grant/socket"));
	if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0)
		die("socket");
	close(fd);
	/* Needs root; the tests that use it skip where it is not there. */
	if (mknod(tree_host("grant/device"), S_IFCHR | 0666, makedev(1, 3)) == 0 &&
	    link(tree_host("grant/device"), tree_host("grant/device2")) < 0)
		die("device");
}

static void make_tree(void)
{
	snprintf(tree_base, sizeof(tree_base), "%s/mayfly-vfs-XXXXXX", tree_where);
	if (!mkdtemp(tree_base))
		die("mkdtemp");
	make_dir("outside");
	make_dir("outside/sub");
	make_dir("grant");
	make_dir("grant/dir");
	make_dir("grant/dir/deep");
	make_dir("grant/empty");
	make_dir("lower");
	make_dir("lower/dir");
	make_dir("lower/dir/sub");
	make_dir("lower/empty");
	tree_write(tree_host("outside/secret"), TREE_SECRET);
	tree_write(tree_host("outside/sub/secret"), TREE_SECRET);
	tree_write(tree_host("grant/file"), "inside");
	tree_write(tree_host("grant/dir/deep/file"), "deep");
	tree_write(tree_host("lower/file"), "lower");
	tree_write(tree_host("lower/dir/file"), "lower too");
	tree_write(tree_host("lower/dir/sub/file"), "lowest");
	make_links();
	make_specials();
}

static void mount(enum vfs_mount_kind kind, const char *host, const char *guest, bool writable)
{
	mayfly_error err;

	if (vfs_mount(tree_p->vfs, kind, tree_host("%s", host), guest, writable, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		exit(1);
	}
}

int tree_set_up(void **state)
{
	mayfly_error err;

	(void)state;
	make_tree();
	tree_p = fake_process_new();
	tree_t = tree_p->tasks;
	tree_t->host = pthread_self();
	tree_p->umask = 022;
	tree_p->exe = strdup("/g/file");
	tree_p->started = clock_now();
	if (vfs_new(tree_p, &tree_p->vfs, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		exit(1);
	}
	mount(VFS_HOST, "grant", "/g", true);
	mount(VFS_HOST, "grant", "/r", false);
	mount(VFS_OVERLAY, "lower", "/o", true);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int tree_tear_down(void **state)
{
	(void)state;
	vfs_free(tree_p->vfs);
	free(tree_p->exe);
	fake_process_free(tree_p);
	nftw(tree_base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return 0;
}

static bool is_secret(const char *path)
{
	char text[16] = "";
	struct stat st;
	FILE *f = fopen(path, "r");
	bool right = f && fgets(text, sizeof(text), f) && strcmp(text, TREE_SECRET) == 0;

	if (f)
		fclose(f);
	return right && stat(path, &st) == 0 && (st.st_mode & 07777) == 0644 &&
	       st.st_nlink == 1 && st.st_mtime > 1000000;
}

static int count(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

bool tree_outside_is_whole(void)
{
	struct stat st;

	return is_secret(tree_host("outside/secret")) &&
	       is_secret(tree_host("outside/sub/secret")) && count(tree_host("outside")) == 4 &&
	       count(tree_host("outside/sub")) == 3 && count(tree_base) == 5 &&
	       stat(tree_host("outside"), &st) == 0 && (st.st_mode & 07777) == 0755;
}

/* --- As the guest ------------------------------------------------------------------------- */

uint64_t tree_path(const char *path)
{
	static unsigned turn;

	return fake_string(tree_p, (size_t)PATH_ROOM * (turn++ % PATHS), tree_expand(path));
}

int64_t tree_open(const char *path, int flags)
{
	return SYS(openat, CWD, tree_path(path), (unsigned)flags, 0644);
}

int64_t tree_stat(const char *path, struct stat *st)
{
	int64_t r = SYS(newfstatat, CWD, tree_path(path), FAKE_VA + DATA_AT, 0);

	if (r == 0)
		memcpy(st, fake_memory(tree_p, DATA_AT), sizeof(*st));
	return r;
}

const char *tree_read(const char *path)
{
	int64_t fd = tree_open(path, O_RDONLY | O_NONBLOCK), n = -1;
	char *text = next_buffer();
	struct file *file;

	text[0] = '\0';
	if (fd < 0)
		return text;
	file = files_get(&tree_p->files, (uint64_t)fd);
	if (file && file->fd >= 0)
		n = pread(file->fd, text, PATH_ROOM - 1, 0);
	file_put(file);
	text[n > 0 ? n : 0] = '\0';
	tree_close(fd);
	return text;
}

int64_t tree_write_fd(int64_t fd, const char *text)
{
	return SYS(write, (uint64_t)fd, fake_string(tree_p, DATA_AT, text), strlen(text));
}

int64_t tree_put(const char *path, const char *text)
{
	int64_t fd = tree_open(path, O_WRONLY | O_CREAT | O_TRUNC), n;

	if (fd < 0)
		return fd;
	n = tree_write_fd(fd, text);
	tree_close(fd);
	return n < 0 ? n : 0;
}

void tree_close(int64_t fd)
{
	if (fd >= 0)
		files_close(&tree_p->files, (uint64_t)fd);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

const char *tree_list(const char *path)
{
	int64_t fd = tree_open(path, O_RDONLY | O_DIRECTORY), n;
	char *names[256], *out = next_buffer();
	size_t count_names = 0, used = 0;

	out[0] = '\0';
	if (fd < 0)
		return "(none)";
	/* A small buffer: several calls. */
	while ((n = SYS(getdents64, (uint64_t)fd, FAKE_VA + DATA_AT, 200)) > 0) {
		for (int64_t at = 0; at < n;) {
			const struct dirent64 *d =
				(const void *)((char *)fake_memory(tree_p, DATA_AT) + at);

			at += d->d_reclen;
			if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 &&
			    count_names < 256)
				names[count_names++] = strdup(d->d_name);
		}
	}
	tree_close(fd);
	qsort(names, count_names, sizeof(names[0]), by_name);
	for (size_t i = 0; i < count_names; i++) {
		used += (size_t)snprintf(out + used, PATH_ROOM - used, "%s ", names[i]);
		free(names[i]);
	}
	return out;
}

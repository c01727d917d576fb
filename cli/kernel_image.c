/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HELPER "mayfly-unpack"

/* Linux's Documentation/arch/x86/boot.rst: offsets in the file. */
#define SETUP_SECTS 0x1f1
#define SYSSIZE 0x1f4 /* of what follows the setup part, in units of 16 bytes */
#define BOOT_FLAG 0x1fe
#define HEADER 0x202
#define VERSION 0x206
#define PAYLOAD_OFFSET 0x248 /* from the end of the setup part */
#define PAYLOAD_LENGTH 0x24c
#define VERSION_2_08 0x208
#define SECTOR 512u
#define PAYLOAD_MIN 16 /* nothing is packed into less */

/* Exit statuses of the helper (unpack/main.c). */
enum { HELPER_DAMAGED = 1, HELPER_UNKNOWN = 2, HELPER_FAILED = 3 };

/* Kernels with all drivers and debugging aids built in stay below a tenth of this. */
#define SIZE_MAX_UNPACKED ((size_t)1 << 30)

#define SETTLE_SECONDS 2
#define HOLE ((size_t)256 << 10)
#define NAME_SIZE 128
#define SUFFIX ".kernel"
#define TEMPORARY ".new."
/* Longer than unpacking takes: whoever did it was killed. */
#define STALE_SECONDS 3600

static uint32_t get32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static uint64_t setup_len(const uint8_t header[KERNEL_IMAGE_HEADER])
{
	return ((uint64_t)(header[SETUP_SECTS] ? header[SETUP_SECTS] : 4) + 1) * SECTOR;
}

/* Before boot protocol 2.04 two bytes of the size were something else: PAYLOAD_LENGTH is younger. */
bool kernel_image_is_whole(const uint8_t header[KERNEL_IMAGE_HEADER], uint64_t len)
{
	return len >= setup_len(header) + 16 * (uint64_t)get32(header + SYSSIZE);
}

bool kernel_image_payload(const uint8_t header[KERNEL_IMAGE_HEADER], uint64_t len,
			  struct kernel_payload *out)
{
	uint64_t offset, length;

	if (memcmp(header + BOOT_FLAG, "\x55\xaa", 2) != 0 ||
	    memcmp(header + HEADER, "HdrS", 4) != 0 ||
	    (header[VERSION] | header[VERSION + 1] << 8) < VERSION_2_08)
		return false;
	offset = setup_len(header) + get32(header + PAYLOAD_OFFSET);
	length = get32(header + PAYLOAD_LENGTH);
	if (length < PAYLOAD_MIN || offset > len || length > len - offset)
		return false;
	*out = (struct kernel_payload){.offset = (size_t)offset, .len = (size_t)length};
	return true;
}

/* --- where images are kept -------------------------------------------------------------------- */

static bool is_private(const struct stat *st)
{
	return st->st_uid == geteuid() && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* A directory of ours, made if need be; -1: there is none. */
static int cache_open(void)
{
	const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char *path = NULL;
	struct stat st;
	int fd = -1, n;

	if (base && base[0] == '/') {
		mkdir(base, 0700);
		n = asprintf(&path, "%s/mayfly", base);
	} else if (home && home[0] == '/') {
		n = asprintf(&path, "%s/.cache", home);
		if (n >= 0) {
			mkdir(path, 0700);
			free(path);
			n = asprintf(&path, "%s/.cache/mayfly", home);
		}
	} else {
		return -1;
	}
	if (n < 0)
		return -1;
	mkdir(path, 0700);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	free(path);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !is_private(&st))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* What becomes of the file's content changes at least its time of change. */
static void cache_name(const struct stat *st, char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, "%llx-%llx-%llx-%llx.%lx-%llx.%lx" SUFFIX,
		 (unsigned long long)st->st_dev, (unsigned long long)st->st_ino,
		 (unsigned long long)st->st_size, (unsigned long long)st->st_mtim.tv_sec,
		 (unsigned long)st->st_mtim.tv_nsec, (unsigned long long)st->st_ctim.tv_sec,
		 (unsigned long)st->st_ctim.tv_nsec);
}

/* A file that was kept; -1: there is none that may be used. */
static int cache_find(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !is_private(&st) || st.st_size == 0) {
		close(fd);
		return -1;
	}
	futimens(fd, NULL); /* used just now: see cache_trim() */
	return fd;
}

static bool has_suffix(const char *name)
{
	size_t len = strlen(name);

	return len > strlen(SUFFIX) && strcmp(name + len - strlen(SUFFIX), SUFFIX) == 0;
}

static bool is_stale(const char *name, const struct stat *st)
{
	return strncmp(name, TEMPORARY, strlen(TEMPORARY)) == 0 &&
	       time(NULL) - st->st_mtim.tv_sec >= STALE_SECONDS;
}

/*
 * Remove the one that was not used for longest, if there are too many, and what was left behind
 * half unpacked.
 */
static void cache_trim(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	char oldest[NAME_SIZE] = "";
	time_t when = 0;
	unsigned count = 0;

	if (!list) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (struct dirent *e; (e = readdir(list));) {
		struct stat st;

		if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (is_stale(e->d_name, &st))
			unlinkat(dir, e->d_name, 0);
		if (!has_suffix(e->d_name) || strlen(e->d_name) >= sizeof(oldest))
			continue;
		count++;
		if (!oldest[0] || st.st_mtim.tv_sec < when) {
			when = st.st_mtim.tv_sec;
			memcpy(oldest, e->d_name, strlen(e->d_name) + 1);
		}
	}
	closedir(list);
	if (count > KERNEL_IMAGE_KEPT)
		unlinkat(dir, oldest, 0);
}

/* --- unpacking ----------------------------------------------------------------------------------- */

/*
 * The helper beside the running executable, as in a build directory, else where it is installed.
 * Not the former if somebody else than the executable's owner, or root, may have put it there.
 */
static const char *helper_path(char *path, size_t size)
{
	struct stat program, helper;
	ssize_t len = readlink("/proc/self/exe", path, size);
	char *slash = len > 0 && (size_t)len < size ? memrchr(path, '/', (size_t)len) : NULL;

	if (!slash || (size_t)(slash + 1 - path) + sizeof(HELPER) > size)
		return MAYFLY_LIBEXECDIR "/" HELPER;
	memcpy(slash + 1, HELPER, sizeof(HELPER));
	if (stat("/proc/self/exe", &program) < 0 || stat(path, &helper) < 0 ||
	    !S_ISREG(helper.st_mode) || (helper.st_uid != program.st_uid && helper.st_uid != 0))
		return MAYFLY_LIBEXECDIR "/" HELPER;
	return path;
}

/* Run the helper, without environment; gives its exit status, or -1 if there is none to run. */
static int run_helper(int kernel, int to, const struct kernel_payload *p)
{
	static char name[] = HELPER;
	char beside[4096], offset[24], len[24], size[24];
	char *argv[] = {name, offset, len, size, NULL}, *envp[] = {NULL};
	posix_spawn_file_actions_t files;
	pid_t pid;
	int status, r;

	snprintf(offset, sizeof(offset), "%zu", p->offset);
	snprintf(len, sizeof(len), "%zu", p->len);
	snprintf(size, sizeof(size), "%zu", p->size);
	if (posix_spawn_file_actions_init(&files))
		return -1;
	r = posix_spawn_file_actions_adddup2(&files, kernel, STDIN_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&files, to, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null",
						     O_WRONLY, 0);
	if (r == 0)
		r = posix_spawn(&pid, helper_path(beside, sizeof(beside)), &files, NULL, argv,
				envp);
	posix_spawn_file_actions_destroy(&files);
	if (r)
		return -1;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : HELPER_FAILED;
}

/*
 * Zeroes become holes, as far as the file system can: they need not be read, and a guest's memory
 * that only looks like the file's is the host's, not a copy.
 */
static void punch_holes(int fd, size_t size)
{
	uint8_t *buffer = malloc(HOLE);

	for (size_t at = 0; buffer && at + HOLE <= size; at += HOLE)
		/* All are as the one before, and the first is zero. */
		if (pread(fd, buffer, HOLE, (off_t)at) == (ssize_t)HOLE && !buffer[0] &&
		    memcmp(buffer, buffer + 1, HOLE - 1) == 0)
			(void)fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)at, HOLE);
	free(buffer);
}

/* Into an empty file; false, with the reason in image->why. */
static bool unpack_to(int fd, int kernel, const struct kernel_payload *p,
		      struct kernel_image *image)
{
	static const char *const reasons[] = {
		[HELPER_DAMAGED] = "what is packed in it is damaged",
		[HELPER_UNKNOWN] = "it is packed by a method that " HELPER " cannot unpack",
		[HELPER_FAILED] = HELPER " failed",
	};
	char magic[4];
	int r = posix_fallocate(fd, 0, (off_t)p->size);

	if (r) {
		snprintf(image->why, sizeof(image->why),
			 "no room for its %zu bytes when unpacked", p->size);
		return false;
	}
	r = run_helper(kernel, fd, p);
	if (r == 0 && (pread(fd, magic, sizeof(magic), 0) != (ssize_t)sizeof(magic) ||
		       memcmp(magic,
			      "\x7f"
			      "ELF",
			      sizeof(magic)) != 0))
		r = HELPER_DAMAGED;
	if (r)
		snprintf(image->why, sizeof(image->why), "%s",
			 r < 0		      ? HELPER " is not installed"
			 : r <= HELPER_FAILED ? reasons[r]
					      : reasons[HELPER_FAILED]);
	else
		punch_holes(fd, p->size);
	return r == 0;
}

/*
 * Under a name of its own first, and synced, so that it is there as a whole or not at all: not
 * the process's id, which another one has, too, in a container with the same home directory. -1:
 * it cannot be kept, or not be unpacked.
 */
static int unpack_kept(int dir, const char *name, int kernel, const struct kernel_payload *p,
		       struct kernel_image *image)
{
	char temporary[64];
	uint64_t any;
	int fd;

	if (getrandom(&any, sizeof(any), GRND_NONBLOCK) != (ssize_t)sizeof(any))
		return -1;
	snprintf(temporary, sizeof(temporary), TEMPORARY "%llx", (unsigned long long)any);
	fd = openat(dir, temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	if (unpack_to(fd, kernel, p, image) && fdatasync(fd) == 0 &&
	    renameat(dir, temporary, dir, name) == 0) {
		cache_trim(dir);
		return fd;
	}
	unlinkat(dir, temporary, 0);
	close(fd);
	return -1;
}

static int unpack_memory(int kernel, const struct kernel_payload *p, struct kernel_image *image)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	if (fd >= 0 && !unpack_to(fd, kernel, p, image)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/*
 * Read what is needed of a file: the header, and the payload's last bytes. A file that is cut off
 * the library refuses, with a message that says so: no reason is given here.
 */
static bool read_payload(int kernel, const struct stat *st, struct kernel_payload *p,
			 struct kernel_image *image)
{
	uint8_t header[KERNEL_IMAGE_HEADER], size[4];

	if (pread(kernel, header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
	    !kernel_image_is_whole(header, (uint64_t)st->st_size))
		return false;
	if (!kernel_image_payload(header, (uint64_t)st->st_size, p) ||
	    pread(kernel, size, sizeof(size), (off_t)(p->offset + p->len - sizeof(size))) !=
		    (ssize_t)sizeof(size)) {
		snprintf(image->why, sizeof(image->why),
			 "its header does not say what is packed in it");
		return false;
	}
	p->size = get32(size);
	return true;
}

static int unpack_file(int kernel, const struct stat *st, int dir, const char *name,
		       struct kernel_image *image)
{
	struct kernel_payload p;
	int fd = -1;

	if (!read_payload(kernel, st, &p, image))
		return -1;
	if (p.size == 0 || p.size > SIZE_MAX_UNPACKED) {
		snprintf(image->why, sizeof(image->why),
			 "it says to be %zu bytes when unpacked", p.size);
		return -1;
	}
	if (dir >= 0)
		fd = unpack_kept(dir, name, kernel, &p, image);
	if (fd < 0)
		fd = unpack_memory(kernel, &p, image);
	if (fd >= 0)
		image->why[0] = '\0';
	return fd;
}

static bool is_bzimage(int fd)
{
	uint8_t head[HEADER + 4];

	return pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
	       memcmp(head + HEADER, "HdrS", 4) == 0;
}

/* A file that was changed just now may change again with the same time of change. */
static bool settled(const struct stat *st)
{
	return time(NULL) - st->st_ctim.tv_sec >= SETTLE_SECONDS;
}

static int find_or_unpack(int fd, const struct stat *st, struct kernel_image *image)
{
	char name[NAME_SIZE];
	int dir = settled(st) ? cache_open() : -1, found;

	cache_name(st, name);
	found = dir >= 0 ? cache_find(dir, name) : -1;
	image->kept = found >= 0;
	if (found < 0)
		found = unpack_file(fd, st, dir, name, image);
	if (dir >= 0)
		close(dir);
	return found;
}

void kernel_image_open(const char *path, struct kernel_image *image)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	*image = (struct kernel_image){.fd = -1, .path = path};
	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && is_bzimage(fd))
		image->fd = find_or_unpack(fd, &st, image);
	close(fd);
	if (image->fd < 0)
		return;
	snprintf(image->fd_path, sizeof(image->fd_path), "/proc/self/fd/%d", image->fd);
	image->path = image->fd_path;
}

void kernel_image_close(struct kernel_image *image)
{
	if (image->fd >= 0)
		close(image->fd);
	image->fd = -1;
}

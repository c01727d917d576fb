/* SPDX-License-Identifier: Apache-2.0 */
/* Files and directories, in what standard libraries leave out: the calls with many flags. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "report.h"

#define CREATE (O_RDWR | O_CREAT)

static int make(const char *path, const char *text)
{
	int fd = open(path, CREATE | O_TRUNC, 0644);

	NEED(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

static void opening(void)
{
	int fd = make("file", "0123456789"), path;
	char buffer[32] = "";

	REPORT_WORKS(open("file", O_RDONLY | O_CREAT | O_EXCL, 0644));
	REPORT_WORKS(open("nothing", O_RDWR));
	REPORT_WORKS(open("file/x", O_RDONLY));
	REPORT_WORKS(open(".", O_RDWR));
	REPORT_WORKS(open(".", O_RDONLY | O_DIRECTORY));
	REPORT_WORKS(open("file", O_RDONLY | O_DIRECTORY));
	REPORT_WORKS(open("", O_RDONLY));
	REPORT_WORKS(open("link", O_RDONLY | O_NOFOLLOW));
	REPORT_WORKS(symlink("file", "link"));
	REPORT_WORKS(open("link", O_RDONLY | O_NOFOLLOW));
	REPORT_WORKS(open("link", O_RDONLY));
	REPORT_WORKS(open("dangling/", CREATE, 0644));
	REPORT(symlink("created", "dangling"));
	REPORT_WORKS(open("dangling", CREATE, 0640));
	path = open("file", O_PATH);
	CHECK(path >= 0);
	REPORT(read(path, buffer, 1));
	REPORT(fchmod(path, 0600));
	REPORT_WORKS(openat(path, "", O_RDONLY));
	REPORT(fcntl(path, F_GETFL) & O_PATH);
	close(path);
	path = open(".", O_TMPFILE | O_RDWR, 0600);
	if (path >= 0) {
		REPORT(write(path, "temporary", 9));
		snprintf(buffer, sizeof(buffer), "/proc/self/fd/%d", path);
		REPORT(linkat(AT_FDCWD, buffer, AT_FDCWD, "linked", AT_SYMLINK_FOLLOW));
		close(path);
	}
	REPORT(fcntl(fd, F_GETFL) & O_ACCMODE);
	REPORT(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
	REPORT(fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK));
	REPORT(fcntl(fd, F_DUPFD_CLOEXEC, 100));
	REPORT(fcntl(100, F_GETFD));
	REPORT(dup2(fd, 100));
	REPORT(fcntl(100, F_GETFD));
	REPORT(dup3(fd, fd, 0));
	REPORT(dup2(fd, fd));
	REPORT(dup2(999, 3));
	REPORT(close(100));
	REPORT(close(100));
	REPORT(syscall(SYS_close_range, 200U, 300U, 0));
	close(fd);
}

static void reading(void)
{
	int fd = make("data", "abcdefghij"), other = make("copy", "");
	char a[4] = "", b[4] = "";
	struct iovec vector[2] = {{a, 3}, {b, 3}}, empty = {NULL, 0};
	volatile int too_few = -1, too_many = 1025;
	off_t offset = 2;

	REPORT(lseek(fd, 0, SEEK_SET));
	REPORT(readv(fd, vector, 2));
	printf("%s %s\n", a, b);
	REPORT(preadv(fd, vector, 2, 8));
	REPORT(pread(fd, a, 3, -1));
	REPORT(pread(fd, a, 3, 100));
	REPORT(readv(fd, vector, 0));
	REPORT(readv(fd, &empty, 1));
	REPORT(readv(fd, vector, too_few));
	REPORT(readv(fd, vector, too_many));
	REPORT(lseek(fd, -1, SEEK_SET));
	REPORT(lseek(fd, -3, SEEK_END));
	REPORT(lseek(fd, 5, SEEK_CUR));
	REPORT(lseek(fd, 0, 99));
	REPORT(pwrite(fd, "XY", 2, 4));
	REPORT(ftruncate(fd, 5000));
	REPORT(ftruncate(fd, -1));
	REPORT(truncate("data", 20));
	REPORT(truncate(".", 20));
	REPORT(lseek(fd, 0, SEEK_DATA));
	REPORT(lseek(fd, 50, SEEK_HOLE));
	REPORT(sendfile(other, fd, &offset, 5));
	REPORT(offset);
	REPORT(copy_file_range(fd, NULL, other, NULL, 100, 0));
	REPORT(fallocate(fd, 0, 0, 8192));
	REPORT(fallocate(fd, 0, 0, 0));
	REPORT(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
	REPORT(posix_fadvise(fd, 0, 0, 99));
	REPORT(fsync(fd));
	REPORT(fdatasync(fd));
	REPORT(sync_file_range(fd, 0, 0, 0));
	REPORT(flock(fd, LOCK_EX));
	REPORT(flock(other, LOCK_UN));
	REPORT(flock(fd, 0));
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 5, .l_len = 5};
	REPORT(fcntl(fd, F_SETLK, &lock));
	REPORT(fcntl(fd, F_GETLK, &lock));
	REPORT(lock.l_type == F_UNLCK);
	lock.l_type = F_RDLCK;
	lock.l_pid = 0;
	REPORT(fcntl(fd, F_OFD_SETLK, &lock));
	int again = open("data", O_RDWR);
	lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
	REPORT(fcntl(again, F_OFD_SETLK, &lock));
	REPORT(fcntl(again, F_OFD_GETLK, &lock));
	printf("%d %ld %ld\n", lock.l_type, (long)lock.l_start, (long)lock.l_len);
	close(again);
	close(fd);
	close(other);
}

static void naming(void)
{
	char long_name[300], text[16];

	memset(long_name, 'x', 299);
	long_name[299] = '\0';
	REPORT(mkdir("directory", 0750));
	REPORT(mkdir("directory", 0750));
	REPORT(mkdir("directory/", 0750));
	REPORT(mkdir("a/b", 0750));
	REPORT(mkdir(long_name, 0750));
	close(make("directory/one", "1"));
	close(make("two", "2"));
	REPORT(rmdir("directory"));
	REPORT(rmdir("two"));
	REPORT(rmdir("."));
	REPORT(unlink("directory"));
	REPORT(unlink("nothing"));
	REPORT(rename("two", "directory"));
	REPORT(rename("directory", "two"));
	REPORT(rename("directory", "directory/inside"));
	REPORT(rename("nothing", "else"));
	REPORT(renameat2(AT_FDCWD, "two", AT_FDCWD, "directory/one", RENAME_NOREPLACE));
	REPORT(renameat2(AT_FDCWD, "two", AT_FDCWD, "directory/one", RENAME_EXCHANGE));
	REPORT(renameat2(AT_FDCWD, "two", AT_FDCWD, "directory/one", 0x80));
	REPORT(link("two", "three"));
	REPORT(link("two", "three"));
	REPORT(link("directory", "four"));
	REPORT(link("link", "hard-link-to-link"));
	REPORT(symlink("", "empty"));
	REPORT(symlink("x", "two"));
	REPORT(readlink("link", text, 2));
	REPORT(readlink("two", text, 2));
	REPORT(readlink("link", text, 0));
	REPORT(unlinkat(AT_FDCWD, "directory", 0));
	REPORT(unlinkat(AT_FDCWD, "two", AT_REMOVEDIR));
	REPORT(mknod("pipe", S_IFIFO | 0600, 0));
	REPORT(mknod("plain", S_IFREG | 0600, 0));
	REPORT(access("two", X_OK));
	REPORT(access("two", R_OK | W_OK));
	REPORT(access("two", 99));
	REPORT(faccessat(AT_FDCWD, "link", F_OK, AT_SYMLINK_NOFOLLOW));
	REPORT(chmod("two", 0444));
	REPORT(chmod("nothing", 0444));
	REPORT(fchmodat(AT_FDCWD, "directory", 01777, 0));
	REPORT(chdir("two"));
	REPORT(chdir("directory"));
	REPORT(chdir(".."));
	REPORT_WORKS(openat(12345, "two", O_RDONLY));
	int file = open("two", O_RDONLY);
	REPORT_WORKS(openat(file, "two", O_RDONLY));
	REPORT(fchdir(file));
	close(file);
}

static void attributes(void)
{
	struct timespec times[2] = {{1000000000, 5}, {0, UTIME_OMIT}};
	struct statx extended;
	struct stat info, link;
	struct statfs system;
	char value[64];

	REPORT(utimensat(AT_FDCWD, "data", times, 0));
	times[1] = (struct timespec){1000000001, 999999999};
	REPORT(utimensat(AT_FDCWD, "data", times, 0));
	times[1].tv_nsec = 1000000000;
	REPORT(utimensat(AT_FDCWD, "data", times, 0));
	REPORT(utimensat(AT_FDCWD, "nothing", NULL, 0));
	REPORT(stat("data", &info));
	printf("%ld.%09ld %ld.%09ld\n", info.st_atim.tv_sec, info.st_atim.tv_nsec,
	       info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
	REPORT(statx(AT_FDCWD, "data", 0, STATX_BASIC_STATS, &extended));
	CHECK(extended.stx_size == (unsigned long long)info.st_size &&
	      extended.stx_ino == info.st_ino && extended.stx_mode == info.st_mode &&
	      extended.stx_blocks == (unsigned long long)info.st_blocks);
	REPORT(statx(AT_FDCWD, "data", 0x80000, STATX_BASIC_STATS, &extended));
	REPORT(statx(AT_FDCWD, "", 0, STATX_BASIC_STATS, &extended));
	REPORT(lstat("link", &link));
	printf("%o %ld\n", link.st_mode, (long)link.st_size);
	REPORT(fstatat(AT_FDCWD, "link", &info, AT_SYMLINK_NOFOLLOW));
	CHECK(info.st_ino == link.st_ino && info.st_dev == link.st_dev);
	REPORT(fstatat(1, "", &info, AT_EMPTY_PATH));
	REPORT(fstatat(999, "", &info, AT_EMPTY_PATH));
	REPORT(statfs(".", &system));
	CHECK(system.f_bsize > 0 && system.f_namelen == NAME_MAX);
	REPORT(statfs("nothing", &system));
	REPORT(setxattr("data", "user.mayfly", "value", 5, 0));
	REPORT(setxattr("data", "user.mayfly", "value", 5, XATTR_CREATE));
	REPORT(setxattr("data", "user.other", "value", 5, XATTR_REPLACE));
	REPORT(getxattr("data", "user.mayfly", value, sizeof(value)));
	REPORT(getxattr("data", "user.mayfly", value, 2));
	REPORT(getxattr("data", "user.mayfly", NULL, 0));
	REPORT(listxattr("data", value, sizeof(value)));
	REPORT(removexattr("data", "user.mayfly"));
	REPORT(getxattr("data", "user.mayfly", value, sizeof(value)));
	REPORT(umask(027));
	close(make("masked", ""));
	REPORT(umask(022));
}

static void directory(void)
{
	char name[32];
	int count = 0;
	long middle = 0, sum = 0;
	struct dirent *entry;
	DIR *dir;

	REPORT(mkdir("many", 0755));
	for (int i = 0; i < 1500; i++) {
		snprintf(name, sizeof(name), "many/entry number %d", i);
		close(make(name, ""));
	}
	dir = opendir("many");
	NEED(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == 'e') {
			count++;
			sum += atoi(entry->d_name + 13);
			CHECK(entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN);
		}
		if (count == 700)
			middle = telldir(dir);
	}
	printf("%d entries, sum %ld\n", count, sum);
	seekdir(dir, middle);
	for (count = 0; readdir(dir); count++)
		;
	CHECK(count > 0 && count <= 802);
	rewinddir(dir);
	for (count = 0; (entry = readdir(dir)); count++)
		if (entry->d_name[0] == 'e')
			NEED(!unlinkat(dirfd(dir), entry->d_name, 0));
	printf("%d with . and ..\n", count);
	closedir(dir);
	REPORT(rmdir("many"));
	REPORT(syscall(SYS_getdents64, 0, name, sizeof(name)));
	dir = opendir(".");
	REPORT(syscall(SYS_getdents64, dirfd(dir), name, 3));
	closedir(dir);
}

/* A file that has no name any more lives on. */
static void unlinked(void)
{
	int fd = make("going", "still here");
	char buffer[16] = "", path[64];
	struct stat info;

	REPORT(unlink("going"));
	REPORT(pread(fd, buffer, 10, 0));
	printf("%s\n", buffer);
	REPORT(fstat(fd, &info));
	printf("%ld links\n", (long)info.st_nlink);
	REPORT(mkdir("left", 0755));
	REPORT(chdir("left"));
	REPORT(rmdir("../left"));
	CHECK(!getcwd(path, sizeof(path)) || strchr(path, '('));
	REPORT_WORKS(open("x", CREATE, 0644));
	REPORT(chdir(getenv("HOME")));
	close(fd);
}

int main(void)
{
	umask(022);
	opening();
	reading();
	naming();
	attributes();
	directory();
	unlinked();
	return 0;
}

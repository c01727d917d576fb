/* SPDX-License-Identifier: Apache-2.0 */
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

int write_all(int fd, const void *data, uint64_t len, uint64_t offset, mayfly_error *err)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail_errno(err, MAYFLY_E_IO, n ? errno : ENOSPC,
					  "writing at offset %llu", (unsigned long long)offset);
		p += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

int read_all(int fd, void *buffer, uint64_t len, uint64_t offset, mayfly_error *err)
{
	uint8_t *p = buffer;

	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_errno(err, MAYFLY_E_IO, errno, "reading at offset %llu",
					  (unsigned long long)offset);
		if (!n)
			return fail(err, MAYFLY_E_FORMAT,
				    "the file ends at offset %llu, too early",
				    (unsigned long long)offset);
		p += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* As the kernel's inode_newsize_ok(): only what becomes longer is limited. */
static int check_size(int fd, uint64_t size)
{
	struct rlimit limit;
	struct stat st;

	if (size > INT64_MAX)
		return -EFBIG;
	if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || size <= limit.rlim_cur)
		return 0;
	return fstat(fd, &st) == 0 && size <= (uint64_t)st.st_size ? 0 : -EFBIG;
}

int set_file_size(int fd, uint64_t size)
{
	int r = check_size(fd, size);

	if (r < 0)
		return r;
	return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

int allocate_file(int fd, int mode, uint64_t offset, uint64_t len)
{
	int r = 0;

	if (offset > INT64_MAX || len > INT64_MAX)
		return -EFBIG;
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		r = check_size(fd, offset + len);
	if (r < 0)
		return r;
	return fallocate(fd, mode, (off_t)offset, (off_t)len) < 0 ? -errno : 0;
}

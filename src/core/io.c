/* SPDX-License-Identifier: Apache-2.0 */
#include "core/io.h"

#include <errno.h>
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

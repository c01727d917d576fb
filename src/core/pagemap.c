/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pagemap.h"

#include <fcntl.h>
#include <unistd.h>

#include "core/util.h"

#define PRESENT ((uint64_t)1 << 63)
#define SWAPPED ((uint64_t)1 << 62)
#define OF_FILE ((uint64_t)1 << 61)

int pagemap_open(void)
{
	return open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

bool pagemap_read(int pagemap, const void *host, uint64_t count, uint64_t *entries)
{
	uint64_t number = (uint64_t)(uintptr_t)host / PAGE_SIZE;
	ssize_t want = (ssize_t)(count * sizeof(entries[0]));

	return pagemap >= 0 && pread(pagemap, entries, (size_t)want,
				     (off_t)(number * sizeof(entries[0]))) == want;
}

bool pagemap_is_there(uint64_t entry)
{
	return entry & (PRESENT | SWAPPED);
}

bool pagemap_is_own(uint64_t entry)
{
	return pagemap_is_there(entry) && !(entry & OF_FILE);
}

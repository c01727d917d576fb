/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of the process there are: /proc/self/pagemap, a word for each
 * (Documentation/admin-guide/mm/pagemap.rst).
 */
#ifndef MAYFLY_CORE_PAGEMAP_H
#define MAYFLY_CORE_PAGEMAP_H

#include <stdbool.h>
#include <stdint.h>

/* Its descriptor, or -1, for which nothing is known of any page. */
int pagemap_open(void);
/* The entries of the `count` pages from `host` on. False: not known. */
bool pagemap_read(int pagemap, const void *host, uint64_t count, uint64_t *entries);
/* In memory or swapped out. */
bool pagemap_is_there(uint64_t entry);
/* And not a file's. */
bool pagemap_is_own(uint64_t entry);

#endif

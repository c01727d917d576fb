/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the kernel loader. */
#ifndef MAYFLY_LOADER_KERNEL_FILE_H
#define MAYFLY_LOADER_KERNEL_FILE_H

#include "loader/kernel.h"

/* The header ends here at the latest (boot.rst: the zero page goes on with something else). */
#define BZIMAGE_HEADER 0x270

/* Whether it says to be one: Linux's magic numbers at their places in the file's first bytes. */
bool bzimage_is(const uint8_t *data, size_t len);
/* kernel_load() for a file whose first bytes bzimage_is(). `out` is all zero. */
int bzimage_load(struct image *image, const uint8_t data[BZIMAGE_HEADER], const struct ram *ram,
		 struct kernel *out, mayfly_error *err);

/* Where [at, at+len) of a kernel goes. Errors: FORMAT, TOO_LARGE. */
int kernel_place(const struct ram *ram, uint64_t at, uint64_t len, uint8_t **out,
		 mayfly_error *err);

#endif

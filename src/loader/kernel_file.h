/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the kernel loader. */
#ifndef MAYFLY_LOADER_KERNEL_FILE_H
#define MAYFLY_LOADER_KERNEL_FILE_H

#include "loader/kernel.h"

/* Whether it says to be one: Linux's magic numbers at their places. */
bool bzimage_is(const uint8_t *data, size_t len);
/* kernel_load() for a file that bzimage_is(). `out` is all zero. */
int bzimage_load(const uint8_t *data, size_t len, const struct ram *ram, struct kernel *out,
		 mayfly_error *err);

/* Where [at, at+len) of a kernel goes. Errors: FORMAT, TOO_LARGE. */
int kernel_place(const struct ram *ram, uint64_t at, uint64_t len, uint8_t **out,
		 mayfly_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes at an offset; sizes of files. */
#ifndef MAYFLY_CORE_IO_H
#define MAYFLY_CORE_IO_H

#include "core/error.h"

/* Errors: IO. */
int write_all(int fd, const void *data, uint64_t len, uint64_t offset, mayfly_error *err);
/* Errors: IO; FORMAT where the file ends before. */
int read_all(int fd, void *buffer, uint64_t len, uint64_t offset, mayfly_error *err);

/*
 * ftruncate(2) and fallocate(2), but where the process's RLIMIT_FSIZE would have the kernel raise
 * SIGXFSZ as well: just -EFBIG. 0 or -errno.
 */
int set_file_size(int fd, uint64_t size);
int allocate_file(int fd, int mode, uint64_t offset, uint64_t len);

#endif

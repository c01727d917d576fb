/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes at an offset. */
#ifndef MAYFLY_CORE_IO_H
#define MAYFLY_CORE_IO_H

#include "core/error.h"

/* Errors: IO. */
int write_all(int fd, const void *data, uint64_t len, uint64_t offset, mayfly_error *err);
/* Errors: IO; FORMAT where the file ends before. */
int read_all(int fd, void *buffer, uint64_t len, uint64_t offset, mayfly_error *err);

#endif

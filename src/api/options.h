/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structures of callers built against another version of the library. They begin with their
 * size; fields that we know and they do not are zero, fields that they know and we do not must
 * be.
 */
#ifndef MAYFLY_API_OPTIONS_H
#define MAYFLY_API_OPTIONS_H

#include "core/error.h"

/*
 * Copy *from (NULL: all defaults), whose first field is its size, into `to` of `size` bytes,
 * size field included. `name` for messages. Errors: INVALID.
 */
int options_copy(void *to, size_t size, const void *from, const char *name, mayfly_error *err);

/* The reverse: fill as much of the caller's structure as it has room for. Errors: INVALID. */
int options_give(void *to, const void *from, size_t size, const char *name, mayfly_error *err);

#endif

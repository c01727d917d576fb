/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed bytes, which are hostile, unpacked by whichever libraries this was built with:
 * the methods that Linux's kernels are packed by (its scripts/Makefile.lib).
 */
#ifndef MAYFLY_UNPACK_UNPACK_H
#define MAYFLY_UNPACK_UNPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The method by which [from, from + len) is packed, by its magic number: "gzip", "xz"... Static
 * storage; NULL: none that is known.
 */
const char *unpack_method(const uint8_t *from, size_t len);
/* Whether this was built with what `method` needs. */
bool unpack_possible(const char *method);

/*
 * Unpack into exactly `size` bytes of `to`. Bytes after the packed data are not looked at, since
 * Linux puts the size there. False: damaged, of another size, or not possible.
 */
bool unpack(const uint8_t *from, size_t len, uint8_t *to, size_t size);

#endif

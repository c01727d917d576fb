/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MAYFLY_FUZZ_SEED_KERNEL_H
#define MAYFLY_FUZZ_SEED_KERNEL_H

#include <stddef.h>

typedef void (*seed_writer)(const char *kind, const char *name, const void *data, size_t len);

void kernel_seeds(seed_writer write);

#endif

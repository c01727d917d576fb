/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slices of anonymous memory for VMs. All slices of one length come out of few large mappings,
 * because the price of creating a VM grows with the number of mappings of the process that hold
 * written pages (KVM registers with each process under the locks of all of them). Thread-safe.
 */
#ifndef MAYFLY_CORE_ARENA_H
#define MAYFLY_CORE_ARENA_H

#include <stddef.h>
#include <stdint.h>

/* Zeroed, page-aligned; `len` a multiple of the page size. NULL when memory is out. */
uint8_t *arena_alloc(size_t len);
/* The pages go back to the host at once. NULL is allowed. */
void arena_free(uint8_t *slice, size_t len);

#endif

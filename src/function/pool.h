/* SPDX-License-Identifier: Apache-2.0 */
/* Ready sandboxes of one snapshot. Thread-safe. */
#ifndef MAYFLY_FUNCTION_POOL_H
#define MAYFLY_FUNCTION_POOL_H

#include "function/sandbox.h"

int pool_new(const struct hv_backend *hv, struct mayfly_snapshot *snap,
	     const mayfly_pool_options *options, mayfly_pool **out, mayfly_error *err);
void pool_free(mayfly_pool *pool);
int pool_fill(mayfly_pool *pool, uint32_t count, mayfly_error *err);
int pool_acquire(mayfly_pool *pool, uint64_t wait_ns, mayfly_sandbox **out, mayfly_error *err);
void pool_release(mayfly_pool *pool, mayfly_sandbox *sb);
void pool_stats(mayfly_pool *pool, mayfly_pool_stats *stats);

#endif

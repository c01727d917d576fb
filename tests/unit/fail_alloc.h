/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes memory run out at the n-th allocation of the calling thread. The test must be linked with
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc. A sweep:
 *
 *   for (size_t n = 1;; n++) {
 *           fail_alloc_at(n);
 *           r = function_under_test(...);
 *           if (!fail_alloc_end())
 *                   break;                      (all n - 1 allocations had their turn)
 *           assert_int_equal(r, MAYFLY_E_NOMEM);
 *   }
 *   assert_true(n > 1);                         (false too where the link options are missing)
 */
#ifndef MAYFLY_TESTS_FAIL_ALLOC_H
#define MAYFLY_TESTS_FAIL_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* From now on count allocations, and let the n-th (from 1) and it alone fail. */
void fail_alloc_at(size_t n);
/* Count no more. Whether one was made to fail. */
bool fail_alloc_end(void);

#endif

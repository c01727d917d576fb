/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that is built against an installed Mayfly only, by tests/check-install.sh. */
#include <mayfly_guest.h>

static int64_t add(int64_t a, int64_t b)
{
	return a + b;
}
MAYFLY_EXPORT(add, i64, i64, i64);

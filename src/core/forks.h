/* SPDX-License-Identifier: Apache-2.0 */
/* Whether fork(2) has made another process of this one, without a system call. */
#ifndef MAYFLY_CORE_FORKS_H
#define MAYFLY_CORE_FORKS_H

#include <stdbool.h>
#include <stdint.h>

/* One more in each child, if it was made by the C library's fork(). */
extern uint32_t forks_count;

/* For what is made now. Any thread. */
uint32_t forks_mark(void);

/* Whether another process made what has this mark. */
static inline bool forks_since(uint32_t mark)
{
	return mark != forks_count;
}

#endif

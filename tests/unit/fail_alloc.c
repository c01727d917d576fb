/* SPDX-License-Identifier: Apache-2.0 */
#include "fail_alloc.h"

#include <errno.h>
#include <stdlib.h>

/* The linker's names for what calls of malloc end up in, and for malloc itself. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

/* Only the caller's allocations: other threads' come in any order. */
static _Thread_local bool counting;
static _Thread_local size_t left;
static _Thread_local bool failed;

static bool should_fail(void)
{
	if (!counting || --left != 0)
		return false;
	counting = false;
	failed = true;
	errno = ENOMEM;
	return true;
}

void fail_alloc_at(size_t n)
{
	left = n;
	failed = false;
	counting = true;
}

bool fail_alloc_end(void)
{
	counting = false;
	return failed;
}

void *__wrap_malloc(size_t size)
{
	return should_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return should_fail() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return should_fail() ? NULL : __real_realloc(p, size);
}

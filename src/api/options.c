/* SPDX-License-Identifier: Apache-2.0 */
#include "api/options.h"

#include <string.h>

/* Larger than any version will ever be: what is there instead is not a size. */
#define MAX_SIZE 4096

static int check_size(size_t size, const char *name, mayfly_error *err)
{
	if (size >= sizeof(size_t) && size <= MAX_SIZE)
		return 0;
	return fail(err, MAYFLY_E_INVALID, "%s.size is %zu: set it to sizeof(%s)", name, size,
		    name);
}

int options_copy(void *to, size_t size, const void *from, const char *name, mayfly_error *err)
{
	size_t given;
	int r;

	memset(to, 0, size);
	memcpy(to, &size, sizeof(size));
	if (!from)
		return 0;
	memcpy(&given, from, sizeof(given));
	r = check_size(given, name, err);
	if (r < 0)
		return r;
	for (size_t i = size; i < given; i++)
		if (((const unsigned char *)from)[i])
			return fail(err, MAYFLY_E_INVALID,
				    "%s has a field at offset %zu that this version (%s) does "
				    "not know",
				    name, i, mayfly_version());
	memcpy(to, from, given < size ? given : size);
	memcpy(to, &size, sizeof(size));
	return 0;
}

int options_give(void *to, const void *from, size_t size, const char *name, mayfly_error *err)
{
	size_t given;
	int r;

	memcpy(&given, to, sizeof(given));
	r = check_size(given, name, err);
	if (r < 0)
		return r;
	memset((char *)to + sizeof(given), 0, given - sizeof(given));
	if (given > size)
		given = size;
	memcpy((char *)to + sizeof(size_t), (const char *)from + sizeof(size_t),
	       given - sizeof(size_t));
	return 0;
}

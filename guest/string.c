/* SPDX-License-Identifier: Apache-2.0 */
/* The string functions that measure, compare and copy. Those that search are in search.c. */
#include "guest/internal.h"
#include "guest/vector.h"

#define PAGE 4096

/* --- length ------------------------------------------------------------------------------- */

READS_AROUND size_t strlen(const char *s)
{
	return (size_t)((const char *)rawmemchr(s, 0) - s);
}

size_t strnlen(const char *s, size_t max)
{
	const char *end = memchr(s, 0, max);

	return end ? (size_t)(end - s) : max;
}

/* --- comparison --------------------------------------------------------------------------- */

static inline bool vector_in_page(const char *p)
{
	return ((uintptr_t)p & (PAGE - 1)) <= PAGE - 16;
}

/*
 * At most `max` bytes; both strings are read 16 bytes at a time, past their ends, where that
 * stays within their pages.
 */
READS_AROUND static inline int compare(const char *a, const char *b, size_t max)
{
	while (max) {
		if (max >= 16 && vector_in_page(a) && vector_in_page(b)) {
			lanes x = *(const vector *)a, y = *(const vector *)b;
			uint32_t stop = (equal_mask(x, y) ^ 0xffff) | equal_mask(x, spread(0));

			if (stop) {
				int at = __builtin_ctz(stop);

				return (uint8_t)a[at] - (uint8_t)b[at];
			}
			a += 16;
			b += 16;
			max -= 16;
			continue;
		}
		if (*a != *b || !*a)
			return (uint8_t)*a - (uint8_t)*b;
		a++;
		b++;
		max--;
	}
	return 0;
}

int strcmp(const char *a, const char *b)
{
	return compare(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t max)
{
	return compare(a, b, max);
}

static inline int fold(char c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : (uint8_t)c;
}

int strncasecmp(const char *a, const char *b, size_t max)
{
	for (; max; max--, a++, b++) {
		int order = fold(*a) - fold(*b);

		if (order || !*a)
			return order;
	}
	return 0;
}

int strcasecmp(const char *a, const char *b)
{
	return strncasecmp(a, b, SIZE_MAX);
}

/* --- copying ------------------------------------------------------------------------------ */

void *memccpy(void *restrict to, const void *restrict from, int last, size_t len)
{
	const char *found = memchr(from, last, len);

	if (!found) {
		memcpy(to, from, len);
		return NULL;
	}
	return mempcpy(to, from, (size_t)(found - (const char *)from) + 1);
}

char *stpcpy(char *restrict to, const char *restrict from)
{
	size_t n = strlen(from);

	memcpy(to, from, n + 1);
	return to + n;
}

char *strcpy(char *restrict to, const char *restrict from)
{
	stpcpy(to, from);
	return to;
}

char *stpncpy(char *restrict to, const char *restrict from, size_t max)
{
	size_t n = strnlen(from, max);

	memcpy(to, from, n);
	memset(to + n, 0, max - n);
	return to + n;
}

char *strncpy(char *restrict to, const char *restrict from, size_t max)
{
	stpncpy(to, from, max);
	return to;
}

char *strcat(char *restrict to, const char *restrict from)
{
	stpcpy(to + strlen(to), from);
	return to;
}

char *strncat(char *restrict to, const char *restrict from, size_t max)
{
	char *end = to + strlen(to);
	size_t n = strnlen(from, max);

	memcpy(end, from, n);
	end[n] = '\0';
	return to;
}

char *strndup(const char *s, size_t max)
{
	size_t n = strnlen(s, max);
	char *copy = malloc(n + 1);

	if (!copy)
		return NULL;
	memcpy(copy, s, n);
	copy[n] = '\0';
	return copy;
}

char *strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *copy = malloc(n);

	return copy ? memcpy(copy, s, n) : NULL;
}

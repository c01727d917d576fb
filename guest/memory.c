/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory functions. Short lengths by a few overlapping loads and stores, all loads first,
 * so that they serve memmove too; long ones by the CPU's own string instructions.
 */
#include "guest/internal.h"
#include "guest/vector.h"

/* From this length on REP MOVSB and REP STOSB are faster than a loop. */
#define STRING_INSTRUCTION_MIN 2048

/* --- copying ------------------------------------------------------------------------------ */

/* At most 16 bytes, overlapping or not. */
static inline void copy_16(char *to, const char *from, size_t n)
{
	if (n >= 8) {
		uint64_t a = *(const word64 *)from, b = *(const word64 *)(from + n - 8);

		*(word64 *)to = a;
		*(word64 *)(to + n - 8) = b;
	} else if (n >= 4) {
		uint32_t a = *(const word32 *)from, b = *(const word32 *)(from + n - 4);

		*(word32 *)to = a;
		*(word32 *)(to + n - 4) = b;
	} else if (n >= 2) {
		uint16_t a = *(const word16 *)from, b = *(const word16 *)(from + n - 2);

		*(word16 *)to = a;
		*(word16 *)(to + n - 2) = b;
	} else if (n) {
		*to = *from;
	}
}

/* At most 64 bytes, overlapping or not. */
static inline void copy_64(char *to, const char *from, size_t n)
{
	lanes a, b, c, d;

	if (n <= 16) {
		copy_16(to, from, n);
		return;
	}
	a = load(from);
	d = load(from + n - 16);
	if (n > 32) {
		b = load(from + 16);
		c = load(from + n - 32);
		store(to + 16, b);
		store(to + n - 32, c);
	}
	store(to, a);
	store(to + n - 16, d);
}

/* More than 64 bytes; may overlap if `to` is the lower one. */
static inline void copy_up(char *to, const char *from, size_t n)
{
	if (n >= STRING_INSTRUCTION_MIN) {
		__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
		return;
	}
	for (; n > 64; n -= 64) {
		lanes a = load(from), b = load(from + 16);
		lanes c = load(from + 32), d = load(from + 48);

		store(to, a);
		store(to + 16, b);
		store(to + 32, c);
		store(to + 48, d);
		to += 64;
		from += 64;
	}
	copy_64(to, from, n);
}

/* More than 64 bytes; may overlap if `to` is the higher one. */
static void copy_down(char *to, const char *from, size_t n)
{
	while (n > 64) {
		n -= 32;

		lanes a = load(from + n), b = load(from + n + 16);

		store(to + n, a);
		store(to + n + 16, b);
	}
	copy_64(to, from, n);
}

void *memcpy(void *restrict to, const void *restrict from, size_t len)
{
	if (len <= 64)
		copy_64(to, from, len);
	else
		copy_up(to, from, len);
	return to;
}

void *mempcpy(void *restrict to, const void *restrict from, size_t len)
{
	return (char *)memcpy(to, from, len) + len;
}

void *memmove(void *to, const void *from, size_t len)
{
	if (len <= 64)
		copy_64(to, from, len);
	else if ((uintptr_t)to - (uintptr_t)from >= len) /* also if `to` is the lower one */
		copy_up(to, from, len);
	else
		copy_down(to, from, len);
	return to;
}

/* --- filling ------------------------------------------------------------------------------ */

void *memset(void *to, int byte, size_t len)
{
	char *p = to;
	lanes v = spread(byte);

	if (len < 16) {
		uint64_t word = (uint8_t)byte * UINT64_C(0x0101010101010101);

		if (len >= 8) {
			*(word64 *)p = word;
			*(word64 *)(p + len - 8) = word;
		} else if (len >= 4) {
			*(word32 *)p = (uint32_t)word;
			*(word32 *)(p + len - 4) = (uint32_t)word;
		} else if (len >= 2) {
			*(word16 *)p = (uint16_t)word;
			*(word16 *)(p + len - 2) = (uint16_t)word;
		} else if (len) {
			*p = (char)byte;
		}
		return to;
	}
	if (len >= STRING_INSTRUCTION_MIN) {
		__asm__ volatile("rep stosb" : "+D"(p), "+c"(len) : "a"(byte) : "memory");
		return to;
	}
	store(p + len - 16, v);
	for (; len > 16; len -= 16, p += 16)
		store(p, v);
	return to;
}

void bzero(void *to, size_t len)
{
	memset(to, 0, len);
}

void explicit_bzero(void *to, size_t len)
{
	memset(to, 0, len);
	__asm__ volatile("" ::"r"(to) : "memory");
}

/* --- comparing ---------------------------------------------------------------------------- */

static inline int compare_words(uint64_t a, uint64_t b)
{
	a = __builtin_bswap64(a);
	b = __builtin_bswap64(b);
	return (a > b) - (a < b);
}

int memcmp(const void *a, const void *b, size_t len)
{
	const char *p = a, *q = b;

	for (; len >= 16; len -= 16, p += 16, q += 16) {
		uint32_t differ = equal_mask(load(p), load(q)) ^ 0xffff;

		if (differ) {
			int at = __builtin_ctz(differ);

			return (uint8_t)p[at] - (uint8_t)q[at];
		}
	}
	if (len >= 8) {
		int order = compare_words(*(const word64 *)p, *(const word64 *)q);

		if (order)
			return order;
		return compare_words(*(const word64 *)(p + len - 8),
				     *(const word64 *)(q + len - 8));
	}
	for (; len; len--, p++, q++) {
		if (*p != *q)
			return (uint8_t)*p - (uint8_t)*q;
	}
	return 0;
}

/* What compilers make of a memcmp that only asks for equality. */
int bcmp(const void *a, const void *b, size_t len)
{
	return memcmp(a, b, len);
}

/* --- searching ---------------------------------------------------------------------------- */

READS_AROUND void *memchr(const void *in, int byte, size_t len)
{
	const char *p = in;
	size_t before = (uintptr_t)p & 15;
	lanes want = spread(byte);
	uint32_t found;

	if (!len)
		return NULL;
	found = equal_mask(*(const lanes *)(p - before), want) >> before;
	if (found) {
		size_t at = (size_t)__builtin_ctz(found);

		return at < len ? (char *)(uintptr_t)p + at : NULL;
	}
	for (size_t at = 16 - before; at < len; at += 16) {
		found = equal_mask(*(const lanes *)(p + at), want);
		if (found) {
			at += (size_t)__builtin_ctz(found);
			return at < len ? (char *)(uintptr_t)p + at : NULL;
		}
	}
	return NULL;
}

READS_AROUND void *rawmemchr(const void *in, int byte)
{
	const char *p = in;
	size_t before = (uintptr_t)p & 15;
	lanes want = spread(byte);
	uint32_t found = equal_mask(*(const lanes *)(p - before), want) >> before;

	if (found)
		return (char *)(uintptr_t)p + __builtin_ctz(found);
	for (p += 16 - before;; p += 16) {
		found = equal_mask(*(const lanes *)p, want);
		if (found)
			return (char *)(uintptr_t)p + __builtin_ctz(found);
	}
}

void *memrchr(const void *in, int byte, size_t len)
{
	const char *p = in;

	for (; len >= 16; len -= 16) {
		uint32_t found = equal_mask(load(p + len - 16), spread(byte));

		if (found)
			return (char *)(uintptr_t)p + len - 16 + 31 - __builtin_clz(found);
	}
	while (len--) {
		if (p[len] == (char)byte)
			return (char *)(uintptr_t)p + len;
	}
	return NULL;
}

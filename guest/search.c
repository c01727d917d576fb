/* SPDX-License-Identifier: Apache-2.0 */
/* Looking for characters, sets of characters and strings in strings. */
#include "guest/internal.h"
#include "guest/vector.h"

/* --- one character ------------------------------------------------------------------------ */

READS_AROUND char *strchrnul(const char *in, int byte)
{
	const char *p = in;
	size_t before = (uintptr_t)p & 15;
	lanes want = spread(byte), zero = spread(0);
	lanes v = *(const lanes *)(p - before);
	uint32_t found = (equal_mask(v, want) | equal_mask(v, zero)) >> before;

	if (found)
		return (char *)(uintptr_t)p + __builtin_ctz(found);
	for (p += 16 - before;; p += 16) {
		v = *(const lanes *)p;
		found = equal_mask(v, want) | equal_mask(v, zero);
		if (found)
			return (char *)(uintptr_t)p + __builtin_ctz(found);
	}
}

char *strchr(const char *in, int byte)
{
	char *at = strchrnul(in, byte);

	return *at == (char)byte ? at : NULL;
}

char *strrchr(const char *in, int byte)
{
	return memrchr(in, byte, strlen(in) + 1);
}

/* --- sets --------------------------------------------------------------------------------- */

struct byte_set {
	uint64_t bits[4];
};

static struct byte_set set_of(const char *members)
{
	struct byte_set set = {{0}};

	for (const uint8_t *p = (const uint8_t *)members; *p; p++)
		set.bits[*p / 64] |= UINT64_C(1) << (*p % 64);
	return set;
}

static inline bool set_has(const struct byte_set *set, char c)
{
	return set->bits[(uint8_t)c / 64] >> ((uint8_t)c % 64) & 1;
}

size_t strspn(const char *s, const char *accept)
{
	struct byte_set set = set_of(accept); /* without NUL: that ends the loop */
	size_t n = 0;

	while (set_has(&set, s[n]))
		n++;
	return n;
}

size_t strcspn(const char *s, const char *reject)
{
	struct byte_set set = set_of(reject);
	size_t n = 0;

	set.bits[0] |= 1; /* NUL */
	while (!set_has(&set, s[n]))
		n++;
	return n;
}

char *strpbrk(const char *in, const char *accept)
{
	const char *at = in + strcspn(in, accept);

	return *at ? (char *)(uintptr_t)at : NULL;
}

char *strsep(char **restrict s, const char *restrict separators)
{
	char *token = *s;
	char *end;

	if (!token)
		return NULL;
	end = token + strcspn(token, separators);
	*s = *end ? end + 1 : NULL;
	*end = '\0';
	return token;
}

char *strtok_r(char *restrict s, const char *restrict separators, char **restrict state)
{
	char *end;

	if (!s)
		s = *state;
	s += strspn(s, separators);
	end = s + strcspn(s, separators);
	*state = *end ? end + 1 : end;
	if (!*s)
		return NULL;
	*end = '\0';
	return s;
}

/* --- strings ------------------------------------------------------------------------------ */

/*
 * The two-way algorithm (Crochemore and Perrin, "Two-way string-matching", 1991): linear in
 * every case, no memory but a few numbers. What is sought is split at a critical point; its
 * right part is compared upwards, then its left part downwards.
 */
struct split {
	size_t at;
	size_t period;
};

/*
 * Where the greatest suffix begins, by the order of bytes or its reverse, and that suffix's
 * period.
 */
static struct split greatest_suffix(const uint8_t *what, size_t len, bool reverse)
{
	size_t start = 0, rival = 1, matched = 0, period = 1;

	while (rival + matched < len) {
		uint8_t a = what[rival + matched], b = what[start + matched];

		if (a == b) {
			if (++matched == period) {
				rival += period;
				matched = 0;
			}
		} else if ((a < b) != reverse) {
			rival += matched + 1;
			matched = 0;
			period = rival - start;
		} else {
			start = rival++;
			matched = 0;
			period = 1;
		}
	}
	return (struct split){start, period};
}

/* len and what_len are at least 1. */
static const uint8_t *two_way(const uint8_t *in, size_t len, const uint8_t *what,
			      size_t what_len)
{
	struct split s = greatest_suffix(what, what_len, false);
	struct split r = greatest_suffix(what, what_len, true);
	size_t known = 0; /* bytes at the beginning that are known to match */
	bool periodic;

	if (r.at > s.at)
		s = r;
	periodic = memcmp(what, what + s.period, s.at) == 0;
	if (!periodic)
		s.period = (s.at > what_len - s.at ? s.at : what_len - s.at) + 1;
	while (len >= what_len) {
		size_t right = s.at > known ? s.at : known;
		size_t left = s.at;
		size_t shift;

		while (right < what_len && what[right] == in[right])
			right++;
		if (right < what_len) {
			shift = right - s.at + 1;
			known = 0;
		} else {
			while (left > known && what[left - 1] == in[left - 1])
				left--;
			if (left <= known)
				return in;
			shift = s.period;
			known = periodic ? what_len - s.period : 0;
		}
		if (shift > len)
			break;
		in += shift;
		len -= shift;
	}
	return NULL;
}

void *memmem(const void *in, size_t len, const void *what, size_t what_len)
{
	const uint8_t *first;

	if (!what_len)
		return (void *)(uintptr_t)in;
	if (what_len > len)
		return NULL;
	/* The common case: it begins rarely, and where it begins it is. */
	first = memchr(in, *(const uint8_t *)what, len);
	if (!first || what_len == 1)
		return (void *)(uintptr_t)first;
	len -= (size_t)(first - (const uint8_t *)in);
	return (void *)(uintptr_t)two_way(first, len, what, what_len);
}

/*
 * In windows that grow, so that a match near the beginning of a long string is found at once.
 */
char *strstr(const char *in, const char *what)
{
	size_t what_len = strlen(what);
	size_t window = what_len < 512 ? 1024 : what_len * 2;

	if (!what_len)
		return (char *)(uintptr_t)in;
	for (;;) {
		size_t len = strnlen(in, window);
		char *found = memmem(in, len, what, what_len);

		if (found || len < window)
			return found;
		in += len - (what_len - 1);
		window *= 2;
	}
}

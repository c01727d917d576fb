/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of characters, numbers from text, absolute values, errno. The C locale throughout. */
#include "guest/internal.h"

/* --- errno -------------------------------------------------------------------------------- */

static int error_number;

/* What glibc's and musl's <errno.h> make errno of. */
int *__errno_location(void)
{
	return &error_number;
}

/* --- characters --------------------------------------------------------------------------- */

static inline bool between(int c, int first, int last)
{
	return c >= first && c <= last;
}

int isdigit(int c)
{
	return between(c, '0', '9');
}

int islower(int c)
{
	return between(c, 'a', 'z');
}

int isupper(int c)
{
	return between(c, 'A', 'Z');
}

int isalpha(int c)
{
	return islower(c) || isupper(c);
}

int isalnum(int c)
{
	return isalpha(c) || isdigit(c);
}

int isxdigit(int c)
{
	return isdigit(c) || between(c, 'a', 'f') || between(c, 'A', 'F');
}

int isblank(int c)
{
	return c == ' ' || c == '\t';
}

int isspace(int c)
{
	return c == ' ' || between(c, '\t', '\r');
}

int iscntrl(int c)
{
	return between(c, 0, 31) || c == 127;
}

int isprint(int c)
{
	return between(c, 32, 126);
}

int isgraph(int c)
{
	return between(c, 33, 126);
}

int ispunct(int c)
{
	return isgraph(c) && !isalnum(c);
}

int tolower(int c)
{
	return isupper(c) ? c + ('a' - 'A') : c;
}

int toupper(int c)
{
	return islower(c) ? c - ('a' - 'A') : c;
}

/*
 * What glibc's <ctype.h> makes of the functions above: tables of classes and conversions, to be
 * indexed from -128 (signed characters) to 255. The bits are as glibc defines them for
 * little-endian machines.
 */
#define IN(condition, bit) ((condition) ? (bit) : 0)
#define CLASS_OF(c)                                                                            \
	(IN((c) >= 'A' && (c) <= 'Z', 0x0100 | 0x0400 | 0x8000 | 0x4000 | 0x0008) |            \
	 IN((c) >= 'a' && (c) <= 'z', 0x0200 | 0x0400 | 0x8000 | 0x4000 | 0x0008) |            \
	 IN((c) >= '0' && (c) <= '9', 0x0800 | 0x1000 | 0x8000 | 0x4000 | 0x0008) |            \
	 IN(((c) >= 'A' && (c) <= 'F') || ((c) >= 'a' && (c) <= 'f'), 0x1000) |                \
	 IN((c) == ' ', 0x2000 | 0x4000 | 0x0001) |                                            \
	 IN((c) == '\t', 0x2000 | 0x0001 | 0x0002) |                                           \
	 IN((c) >= '\n' && (c) <= '\r', 0x2000 | 0x0002) |                                     \
	 IN(((c) >= 0 && (c) < '\t') || ((c) > '\r' && (c) < ' ') || (c) == 127, 0x0002) |     \
	 IN(((c) > ' ' && (c) < '0') || ((c) > '9' && (c) < 'A') ||                            \
		    ((c) > 'Z' && (c) < 'a') || ((c) > 'z' && (c) < 127),                      \
	    0x8000 | 0x4000 | 0x0004))
#define LOWER_OF(c) ((c) >= 'A' && (c) <= 'Z' ? (c) + 32 : (c))
#define UPPER_OF(c) ((c) >= 'a' && (c) <= 'z' ? (c)-32 : (c))
#define FOUR(f, c) f(c), f((c) + 1), f((c) + 2), f((c) + 3)
#define SIXTEEN(f, c) FOUR(f, c), FOUR(f, (c) + 4), FOUR(f, (c) + 8), FOUR(f, (c) + 12)
#define SIXTY_FOUR(f, c)                                                                       \
	SIXTEEN(f, c), SIXTEEN(f, (c) + 16), SIXTEEN(f, (c) + 32), SIXTEEN(f, (c) + 48)
#define TABLE(f)                                                                               \
	SIXTY_FOUR(f, -128), SIXTY_FOUR(f, -64), SIXTY_FOUR(f, 0), SIXTY_FOUR(f, 64),          \
		SIXTY_FOUR(f, 128), SIXTY_FOUR(f, 192)

static const uint16_t classes[384] = {TABLE(CLASS_OF)};
/* Negative characters are converted as the unsigned ones of the same byte, except EOF. */
#define BYTE_OF(c) ((c) < -1 ? (c) + 256 : (c))
#define TO_LOWER(c) LOWER_OF(BYTE_OF(c))
#define TO_UPPER(c) UPPER_OF(BYTE_OF(c))
static const int32_t lowers[384] = {TABLE(TO_LOWER)};
static const int32_t uppers[384] = {TABLE(TO_UPPER)};

const uint16_t **__ctype_b_loc(void);
const int32_t **__ctype_tolower_loc(void);
const int32_t **__ctype_toupper_loc(void);

/* The pointers are filled in when asked for: a constant one would need a relocation. */
const uint16_t **__ctype_b_loc(void)
{
	static const uint16_t *table;

	if (!table)
		table = classes + 128;
	return &table;
}

const int32_t **__ctype_tolower_loc(void)
{
	static const int32_t *table;

	if (!table)
		table = lowers + 128;
	return &table;
}

const int32_t **__ctype_toupper_loc(void)
{
	static const int32_t *table;

	if (!table)
		table = uppers + 128;
	return &table;
}

/* --- numbers from text -------------------------------------------------------------------- */

static inline unsigned int digit_value(char c)
{
	if (isdigit(c))
		return (unsigned int)(c - '0');
	if (isalpha(c))
		return (unsigned int)((c | 0x20) - 'a') + 10;
	return 99;
}

struct number {
	uint64_t magnitude;
	bool negative;
	bool too_large; /* magnitude is meaningless then */
};

/* What strtol and its family accept: blanks, a sign, a prefix, digits. */
static struct number parse_number(const char *s, const char **end, int base)
{
	struct number number = {0, false, false};
	const char *p = s;
	bool any = false;

	*end = s;
	if (base < 0 || base == 1 || base > 36) {
		*__errno_location() = ERROR_INVALID;
		return number;
	}
	while (isspace(*p))
		p++;
	if (*p == '+' || *p == '-')
		number.negative = *p++ == '-';
	if ((base == 0 || base == 16) && *p == '0' && (p[1] | 0x20) == 'x' && isxdigit(p[2])) {
		base = 16;
		p += 2;
	} else if (base == 0) {
		base = *p == '0' ? 8 : 10;
	}
	for (; digit_value(*p) < (unsigned int)base; p++) {
		any = true;
		if (__builtin_mul_overflow(number.magnitude, (uint64_t)base,
					   &number.magnitude) ||
		    __builtin_add_overflow(number.magnitude, digit_value(*p),
					   &number.magnitude))
			number.too_large = true;
	}
	if (any)
		*end = p;
	else
		number = (struct number){0, false, false};
	return number;
}

long strtol(const char *restrict s, char **restrict end, int base)
{
	const char *after;
	struct number number = parse_number(s, &after, base);
	uint64_t limit = number.negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;

	if (end)
		*end = (char *)(uintptr_t)after;
	if (number.too_large || number.magnitude > limit) {
		*__errno_location() = ERROR_RANGE;
		return number.negative ? INT64_MIN : INT64_MAX;
	}
	return (long)(number.negative ? 0 - number.magnitude : number.magnitude);
}

unsigned long strtoul(const char *restrict s, char **restrict end, int base)
{
	const char *after;
	struct number number = parse_number(s, &after, base);

	if (end)
		*end = (char *)(uintptr_t)after;
	if (number.too_large) {
		*__errno_location() = ERROR_RANGE;
		return UINT64_MAX;
	}
	return number.negative ? 0 - number.magnitude : number.magnitude;
}

long long strtoll(const char *restrict s, char **restrict end, int base)
{
	return strtol(s, end, base);
}

unsigned long long strtoull(const char *restrict s, char **restrict end, int base)
{
	return strtoul(s, end, base);
}

int atoi(const char *s)
{
	return (int)strtol(s, NULL, 10);
}

long atol(const char *s)
{
	return strtol(s, NULL, 10);
}

long long atoll(const char *s)
{
	return strtol(s, NULL, 10);
}

/* --- absolute values ---------------------------------------------------------------------- */

int abs(int v)
{
	return v < 0 ? (int)(0 - (unsigned int)v) : v;
}

long labs(long v)
{
	return v < 0 ? (long)(0 - (unsigned long)v) : v;
}

long long llabs(long long v)
{
	return labs(v);
}

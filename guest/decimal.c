/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Floating point to decimal, exactly. A double is m * 2^e with integer m. For e >= 0 that is an
 * integer; for e < 0 it is m * 5^-e / 10^-e, so its digits are those of the integer m * 5^-e
 * with the point moved. Either integer has at most 767 digits.
 */
#include "guest/internal.h"

#define LIMB 1000000000u /* each limb holds nine digits */
#define LIMB_DIGITS 9
#define LIMBS_MAX 88 /* 2^1024 needs 35, 2^53 * 5^1074 needs 86 */

struct big {
	size_t used;
	uint32_t limbs[LIMBS_MAX]; /* least significant first */
};

static void multiply(struct big *b, uint32_t by)
{
	uint64_t carry = 0;

	for (size_t i = 0; i < b->used; i++) {
		carry += (uint64_t)b->limbs[i] * by;
		b->limbs[i] = (uint32_t)(carry % LIMB);
		carry /= LIMB;
	}
	for (; carry; carry /= LIMB)
		b->limbs[b->used++] = (uint32_t)(carry % LIMB);
}

static void multiply_by_power(struct big *b, uint32_t base, uint32_t largest, unsigned int step,
			      unsigned int exponent)
{
	uint32_t rest = 1;

	for (; exponent >= step; exponent -= step)
		multiply(b, largest);
	while (exponent--)
		rest *= base;
	multiply(b, rest);
}

/* Digits of the integer, most significant first, without leading and trailing zeros. */
static void to_digits(const struct big *b, struct text_decimal *d)
{
	char *to = d->digits;
	size_t first = b->used - 1;
	uint32_t top = b->limbs[first];
	int top_digits = 0;

	for (uint32_t v = top; v; v /= 10)
		top_digits++;
	for (int i = top_digits; i-- > 0; top /= 10)
		to[i] = (char)('0' + top % 10);
	to += top_digits;
	while (first--) {
		uint32_t v = b->limbs[first];

		for (int i = LIMB_DIGITS; i-- > 0; v /= 10)
			to[i] = (char)('0' + v % 10);
		to += LIMB_DIGITS;
	}
	d->point = (int)(to - d->digits);
	while (to[-1] == '0')
		to--;
	d->count = (int)(to - d->digits);
}

void mayfly_p_decimal(struct text_decimal *d, double v)
{
	struct big b;
	uint64_t bits, m;
	int e;

	memcpy(&bits, &v, sizeof(bits));
	m = bits & ((UINT64_C(1) << 52) - 1);
	e = (int)(bits >> 52 & 0x7ff);
	d->point = 0;
	d->count = 0;
	if (!m && !e)
		return;
	if (e)
		m |= UINT64_C(1) << 52;
	else
		e = 1;
	e -= 1075;
	/* The fewer factors, the less work. */
	e += __builtin_ctzll(m);
	m >>= __builtin_ctzll(m);

	b.used = 0;
	do
		b.limbs[b.used++] = (uint32_t)(m % LIMB);
	while (m /= LIMB);
	if (e > 0)
		multiply_by_power(&b, 2, UINT32_C(1) << 31, 31, (unsigned int)e);
	else if (e < 0)
		multiply_by_power(&b, 5, 1220703125, 13, (unsigned int)-e);
	to_digits(&b, d);
	if (e < 0)
		d->point += e;
}

void mayfly_p_decimal_round(struct text_decimal *d, int count)
{
	bool up;

	if (count >= d->count)
		return;
	if (count < 0) {
		d->count = 0;
		return;
	}
	/* The last digit is not zero, so what follows a 5 is more than nothing. */
	if (d->digits[count] == '5' && count + 1 == d->count)
		up = count && (d->digits[count - 1] & 1);
	else
		up = d->digits[count] >= '5';
	while (up && count && d->digits[count - 1] == '9')
		count--;
	if (!up) {
		while (count && d->digits[count - 1] == '0')
			count--;
	} else if (count) {
		d->digits[count - 1]++;
	} else {
		d->digits[0] = '1';
		d->point++;
		count = 1;
	}
	d->count = count;
}

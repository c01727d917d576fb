/* SPDX-License-Identifier: Apache-2.0 */
/* printf's formats (C11, 7.21.6.1), as far as mayfly_guest.h promises them. */
#include "guest/internal.h"

#include <limits.h>

struct spec {
	bool left, plus, space, alternate, zero; /* - + blank # 0 */
	int width;				 /* 0 if none */
	int precision;				 /* -1 if none */
	char length;				 /* h l j z t, H for hh, L for ll, 0 if none */
	char conversion;
};

struct output {
	struct text_sink *sink;
	size_t total; /* <= INT_MAX */
	bool failed;
	va_list args;
};

/* --- output ------------------------------------------------------------------------------- */

static bool has_room(struct output *o, size_t n)
{
	if (n > (size_t)INT_MAX - o->total)
		o->failed = true;
	return !o->failed;
}

static void emit(struct output *o, const char *text, size_t n)
{
	if (!n || !has_room(o, n))
		return;
	o->total += n;
	o->sink->write(o->sink, text, n);
}

static void repeat(struct output *o, char c, size_t n)
{
	char run[64];

	if (!has_room(o, n))
		return;
	memset(run, c, n < sizeof(run) ? n : sizeof(run));
	for (; n > sizeof(run); n -= sizeof(run))
		emit(o, run, sizeof(run));
	emit(o, run, n);
}

/* What stands before a field's `body` bytes: blanks, the prefix (a sign, 0x), zeros. */
static void begin_field(struct output *o, const struct spec *spec, const char *prefix,
			size_t body)
{
	size_t used = strlen(prefix) + body;
	size_t fill = used < (size_t)spec->width ? (size_t)spec->width - used : 0;

	if (!spec->left && !spec->zero)
		repeat(o, ' ', fill);
	emit(o, prefix, strlen(prefix));
	if (!spec->left && spec->zero)
		repeat(o, '0', fill);
}

static void end_field(struct output *o, const struct spec *spec, const char *prefix,
		      size_t body)
{
	size_t used = strlen(prefix) + body;

	if (spec->left && used < (size_t)spec->width)
		repeat(o, ' ', (size_t)spec->width - used);
}

static void emit_text(struct output *o, struct spec *spec, const char *text, size_t n)
{
	spec->zero = false;
	begin_field(o, spec, "", n);
	emit(o, text, n);
	end_field(o, spec, "", n);
}

/* --- integers ----------------------------------------------------------------------------- */

static void emit_integer(struct output *o, struct spec *spec, uint64_t v, const char *prefix)
{
	static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
	const char *digits = spec->conversion == 'X' ? upper : lower;
	char text[24]; /* 22 octal digits at most */
	char *end = text + sizeof(text), *p = end;
	size_t n, zeros = 0;

	switch (spec->conversion) {
	case 'o':
		for (; v; v >>= 3)
			*--p = digits[v & 7];
		break;
	case 'x':
	case 'X':
	case 'p':
		for (; v; v >>= 4)
			*--p = digits[v & 15];
		break;
	default:
		for (; v; v /= 10)
			*--p = digits[v % 10];
		break;
	}
	n = (size_t)(end - p);
	if (spec->precision >= 0)
		spec->zero = false;
	else if (!n)
		*--p = '0', n = 1;
	if (spec->precision > 0 && (size_t)spec->precision > n)
		zeros = (size_t)spec->precision - n;
	if (spec->conversion == 'o' && spec->alternate && !zeros && (!n || *p != '0'))
		zeros = 1;
	begin_field(o, spec, prefix, n + zeros);
	repeat(o, '0', zeros);
	emit(o, p, n);
	end_field(o, spec, prefix, n + zeros);
}

static const char *sign_of(const struct spec *spec, bool negative)
{
	if (negative)
		return "-";
	return spec->plus ? "+" : spec->space ? " " : "";
}

static void format_signed(struct output *o, struct spec *spec)
{
	int64_t v;

	switch (spec->length) {
	case 'H':
		/* A number, not a character: its sign is meant. */
		/* NOLINTNEXTLINE(bugprone-signed-char-misuse,cert-str34-c) */
		v = (signed char)va_arg(o->args, int);
		break;
	case 'h':
		v = (short)va_arg(o->args, int);
		break;
	case 0:
		v = va_arg(o->args, int);
		break;
	default: /* l ll j z t: all of 64 bits */
		v = va_arg(o->args, int64_t);
		break;
	}
	emit_integer(o, spec, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, sign_of(spec, v < 0));
}

static void format_unsigned(struct output *o, struct spec *spec)
{
	const char *prefix = "";
	uint64_t v;

	switch (spec->length) {
	case 'H':
		v = (unsigned char)va_arg(o->args, unsigned int);
		break;
	case 'h':
		v = (unsigned short)va_arg(o->args, unsigned int);
		break;
	case 0:
		v = va_arg(o->args, unsigned int);
		break;
	default:
		v = va_arg(o->args, uint64_t);
		break;
	}
	if (spec->alternate && v && (spec->conversion == 'x' || spec->conversion == 'X'))
		prefix = spec->conversion == 'x' ? "0x" : "0X";
	emit_integer(o, spec, v, prefix);
}

static void format_pointer(struct output *o, struct spec *spec)
{
	uintptr_t v = (uintptr_t)va_arg(o->args, void *);

	if (v)
		emit_integer(o, spec, v, "0x");
	else
		emit_text(o, spec, "(nil)", 5);
}

/* --- floating point ----------------------------------------------------------------------- */

/* Digits [first, first + n), zeros on either side of those that there are. */
static void emit_digits(struct output *o, const struct text_decimal *d, int first, int n)
{
	int before = first < 0 ? (-first < n ? -first : n) : 0;
	int there = 0;

	repeat(o, '0', (size_t)before);
	first += before;
	n -= before;
	if (n > 0 && first < d->count) {
		there = d->count - first < n ? d->count - first : n;
		emit(o, d->digits + first, (size_t)there);
	}
	repeat(o, '0', (size_t)(n - there));
}

/* 123.456; rounded already. */
static void emit_fixed(struct output *o, const struct spec *spec, const struct text_decimal *d,
		       int precision, const char *sign)
{
	int whole = d->count && d->point > 0 ? d->point : 1;
	bool point = precision > 0 || spec->alternate;
	size_t body = (size_t)whole + (point ? 1 : 0) + (size_t)precision;
	/* The place of the first digit after the point; no digit at all for a zero. */
	int fraction = d->count ? d->point : 0;

	begin_field(o, spec, sign, body);
	emit_digits(o, d, fraction - whole, whole);
	emit(o, ".", point ? 1 : 0);
	emit_digits(o, d, fraction, precision);
	end_field(o, spec, sign, body);
}

/* 1.23456e+02; rounded already. */
static void emit_exponential(struct output *o, const struct spec *spec,
			     const struct text_decimal *d, int precision, const char *sign)
{
	bool point = precision > 0 || spec->alternate;
	int exponent = d->count ? d->point - 1 : 0;
	unsigned int size = (unsigned int)(exponent < 0 ? -exponent : exponent);
	char text[5];
	size_t n = 0;
	size_t body;

	text[n++] = spec->conversion & 0x20 ? 'e' : 'E';
	text[n++] = exponent < 0 ? '-' : '+';
	if (size >= 100)
		text[n++] = (char)('0' + size / 100);
	text[n++] = (char)('0' + size / 10 % 10);
	text[n++] = (char)('0' + size % 10);

	body = (size_t)1 + (point ? 1 : 0) + (size_t)precision + n;
	begin_field(o, spec, sign, body);
	emit_digits(o, d, 0, 1);
	emit(o, ".", point ? 1 : 0);
	emit_digits(o, d, 1, precision);
	emit(o, text, n);
	end_field(o, spec, sign, body);
}

/* Whichever is shorter, by C11 7.21.6.1 p8. */
static void emit_general(struct output *o, const struct spec *spec, struct text_decimal *d,
			 int precision, const char *sign)
{
	int exponent;

	if (!precision)
		precision = 1;
	if (precision > INT_MAX - 8)
		precision = INT_MAX - 8; /* so that 1 + exponent can be taken from it */
	mayfly_p_decimal_round(d, precision);
	exponent = d->count ? d->point - 1 : 0;
	if (exponent < -4 || exponent >= precision) {
		precision--;
		if (!spec->alternate && precision >= d->count)
			precision = d->count ? d->count - 1 : 0;
		emit_exponential(o, spec, d, precision, sign);
		return;
	}
	precision -= 1 + exponent;
	if (!spec->alternate && precision > d->count - (exponent + 1))
		precision = d->count > exponent + 1 ? d->count - (exponent + 1) : 0;
	emit_fixed(o, spec, d, precision, sign);
}

static void format_double(struct output *o, struct spec *spec)
{
	double v = va_arg(o->args, double);
	const char *sign = sign_of(spec, __builtin_signbit(v));
	int precision = spec->precision < 0 ? 6 : spec->precision;
	struct text_decimal d;

	if (!__builtin_isfinite(v)) {
		bool lower = spec->conversion & 0x20;

		spec->zero = false;
		begin_field(o, spec, sign, 3);
		if (__builtin_isnan(v))
			emit(o, lower ? "nan" : "NAN", 3);
		else
			emit(o, lower ? "inf" : "INF", 3);
		end_field(o, spec, sign, 3);
		return;
	}
	mayfly_p_decimal(&d, v);
	switch (spec->conversion | 0x20) {
	case 'f':
		/* No double has a digit so far behind the point that this limit cuts it off. */
		mayfly_p_decimal_round(&d, d.point + (precision < 2000 ? precision : 2000));
		emit_fixed(o, spec, &d, precision, sign);
		break;
	case 'e':
		mayfly_p_decimal_round(&d, 1 + (precision < 2000 ? precision : 2000));
		emit_exponential(o, spec, &d, precision, sign);
		break;
	default:
		emit_general(o, spec, &d, precision, sign);
		break;
	}
}

/* --- formats ------------------------------------------------------------------------------ */

/* A number, or an argument in its place. False if it is out of range. */
static bool parse_number(struct output *o, const char **format, int *number)
{
	const char *p = *format;
	int v = 0;

	if (*p == '*') {
		*number = va_arg(o->args, int);
		*format = p + 1;
		return true;
	}
	for (; isdigit(*p); p++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, *p - '0', &v))
			return false;
	}
	*number = v;
	*format = p;
	return true;
}

static const char *parse_length(const char *p, char *length)
{
	*length = 0;
	if (p[0] && p[0] == p[1] && (*p == 'h' || *p == 'l')) {
		*length = (char)(*p & ~0x20);
		return p + 2;
	}
	if (*p == 'h' || *p == 'l' || *p == 'j' || *p == 'z' || *p == 't')
		*length = *p++;
	return p;
}

/* `*format` is behind the %, and afterwards behind the conversion. False if it is refused. */
static bool parse_spec(struct output *o, const char **format, struct spec *spec)
{
	const char *p = *format;

	*spec = (struct spec){.precision = -1};
	for (;; p++) {
		if (*p == '-')
			spec->left = true;
		else if (*p == '+')
			spec->plus = true;
		else if (*p == ' ')
			spec->space = true;
		else if (*p == '#')
			spec->alternate = true;
		else if (*p == '0')
			spec->zero = true;
		else
			break;
	}
	if (!parse_number(o, &p, &spec->width))
		return false;
	if (spec->width < 0) {
		if (spec->width == INT_MIN)
			return false;
		spec->left = true;
		spec->width = -spec->width;
	}
	if (*p == '.') {
		p++;
		if (!parse_number(o, &p, &spec->precision))
			return false;
		if (spec->precision < 0)
			spec->precision = -1;
	}
	p = parse_length(p, &spec->length);
	spec->conversion = *p;
	*format = p + 1;
	return *p;
}

static void format_string(struct output *o, struct spec *spec)
{
	const char *s = va_arg(o->args, const char *);

	if (!s)
		s = "(null)";
	emit_text(o, spec, s,
		  strnlen(s, spec->precision < 0 ? SIZE_MAX : (size_t)spec->precision));
}

static void format_character(struct output *o, struct spec *spec)
{
	char c = (char)va_arg(o->args, int);

	emit_text(o, spec, &c, 1);
}

static void format_one(struct output *o, struct spec *spec)
{
	bool plain = !spec->length;

	switch (spec->conversion) {
	case 'd':
	case 'i':
		format_signed(o, spec);
		return;
	case 'u':
	case 'o':
	case 'x':
	case 'X':
		format_unsigned(o, spec);
		return;
	case 'f':
	case 'F':
	case 'e':
	case 'E':
	case 'g':
	case 'G':
		if (!plain && spec->length != 'l')
			break;
		format_double(o, spec);
		return;
	case 's':
		if (!plain)
			break;
		format_string(o, spec);
		return;
	case 'c':
		if (!plain)
			break;
		format_character(o, spec);
		return;
	case 'p':
		if (!plain)
			break;
		format_pointer(o, spec);
		return;
	case '%':
		emit(o, "%", 1);
		return;
	default:
		break;
	}
	o->failed = true;
}

int mayfly_p_format(struct text_sink *sink, const char *format, va_list args)
{
	struct output o = {.sink = sink};

	va_copy(o.args, args);
	while (*format && !o.failed) {
		const char *percent = strchrnul(format, '%');
		struct spec spec;

		emit(&o, format, (size_t)(percent - format));
		if (!*percent)
			break;
		format = percent + 1;
		if (parse_spec(&o, &format, &spec))
			format_one(&o, &spec);
		else
			o.failed = true;
	}
	va_end(o.args);
	return o.failed ? -1 : (int)o.total;
}

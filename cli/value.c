/* SPDX-License-Identifier: Apache-2.0 */
#include "value.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "message.h"

#define SLACK 64		   /* per string or bytes argument, for alignment */
#define MAX_FILE ((size_t)8 << 30) /* more cannot be meant */
#define SHOWN 40		   /* of a wrong argument, in the message */

#define F32_FRACTION 0x7fffffu
#define F32_EXPONENT 0x7f800000u
#define F64_FRACTION 0xfffffffffffffull
#define F64_EXPONENT 0x7ff0000000000000ull

/* The text of one argument and where it is, for messages. */
struct source {
	const char *text;
	bool *stdin_used;
};

/* --- Integers -------------------------------------------------------------------------------- */

/* Sign and magnitude; false if it is no number. A magnitude beyond 64 bits sets *ret_huge. */
static bool parse_integer(const char *p, bool *ret_negative, uint64_t *ret, bool *ret_huge)
{
	unsigned base = 10;
	uint64_t v = 0;
	bool huge = false;

	*ret_negative = *p == '-';
	if (*p == '-' || *p == '+')
		p++;
	if (p[0] == '0' && (p[1] | 0x20) == 'x')
		base = 16;
	else if (p[0] == '0' && (p[1] | 0x20) == 'b')
		base = 2;
	if (base != 10)
		p += 2;
	if (!*p)
		return false;
	for (; *p; p++) {
		unsigned digit = 99;

		if (*p >= '0' && *p <= '9')
			digit = (unsigned)(*p - '0');
		else if ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'f')
			digit = (unsigned)((*p | 0x20) - 'a') + 10;
		if (digit >= base)
			return false;
		huge |= __builtin_mul_overflow(v, base, &v);
		huge |= __builtin_add_overflow(v, digit, &v);
	}
	*ret = v;
	*ret_huge = huge;
	return true;
}

struct range {
	uint64_t below; /* the magnitude of the least value */
	uint64_t above; /* the greatest value */
};

static int set_integer(const char *text, mayfly_type type, mayfly_value *ret, mayfly_error *err)
{
	static const struct range ranges[] = {
		[MAYFLY_I32] = {(uint64_t)INT32_MAX + 1, INT32_MAX},
		[MAYFLY_U32] = {0, UINT32_MAX},
		[MAYFLY_I64] = {(uint64_t)INT64_MAX + 1, INT64_MAX},
		[MAYFLY_U64] = {0, UINT64_MAX},
	};
	const struct range *r = &ranges[type];
	bool negative, huge;
	uint64_t v;

	if (!parse_integer(text, &negative, &v, &huge))
		return mayfly_error_set(err, MAYFLY_E_INVALID,
					"'%.*s' is not an integer (decimal, 0x... or 0b...)",
					SHOWN, text);
	if (huge || v > (negative ? r->below : r->above))
		return mayfly_error_set(
			err, MAYFLY_E_INVALID, "%.*s does not fit %s (%s%llu to %llu)", SHOWN,
			text, mayfly_type_name(type), r->below ? "-" : "",
			(unsigned long long)r->below, (unsigned long long)r->above);
	if (negative)
		v = -v;
	switch (type) {
	case MAYFLY_I32:
		*ret = mayfly_i32((int32_t)v);
		break;
	case MAYFLY_U32:
		*ret = mayfly_u32((uint32_t)v);
		break;
	case MAYFLY_I64:
		*ret = mayfly_i64((int64_t)v);
		break;
	default:
		*ret = mayfly_u64(v);
		break;
	}
	return MAYFLY_OK;
}

static int set_bool(const char *text, mayfly_value *ret, mayfly_error *err)
{
	bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;

	if (!yes && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
		return mayfly_error_set(err, MAYFLY_E_INVALID,
					"'%.*s' is not a bool (true, false, 1 or 0)", SHOWN,
					text);
	*ret = mayfly_bool(yes);
	return MAYFLY_OK;
}

/* --- Floating point -------------------------------------------------------------------------- */

static mayfly_value f32_of_bits(uint32_t bits)
{
	mayfly_value v = mayfly_u32(bits);

	/* The union holds the pattern already; no conversion may touch a signalling NaN. */
	v.type = MAYFLY_F32;
	return v;
}

static mayfly_value f64_of_bits(uint64_t bits)
{
	mayfly_value v = mayfly_u64(bits);

	v.type = MAYFLY_F64;
	return v;
}

/*
 * "nan(0x...)" and "bits:0x...", either sign before nan. Gives false if `text` is neither;
 * *ret_fits says whether the number in it does.
 */
static bool parse_pattern(const char *text, bool wide, uint64_t *ret_bits, bool *ret_fits)
{
	uint64_t fraction = wide ? F64_FRACTION : F32_FRACTION;
	uint64_t all = wide ? UINT64_MAX : UINT32_MAX;
	uint64_t sign = wide ? (uint64_t)1 << 63 : (uint64_t)1 << 31;
	bool minus = *text == '-', negative, huge;
	char digits[32];
	size_t len;

	*ret_bits = 0;
	if (strncmp(text, "bits:", 5) == 0) {
		*ret_fits = parse_integer(text + 5, &negative, ret_bits, &huge) && !negative &&
			    !huge && *ret_bits <= all;
		return true;
	}
	if (strncmp(text + minus, "nan(", 4) != 0)
		return false;
	text += minus + 4;
	len = strcspn(text, ")");
	*ret_fits = false;
	if (len >= sizeof(digits) || strcmp(text + len, ")") != 0)
		return true;
	memcpy(digits, text, len);
	digits[len] = '\0';
	/* A significand of 0 would be an infinity. */
	*ret_fits = parse_integer(digits, &negative, ret_bits, &huge) && !negative && !huge &&
		    *ret_bits > 0 && *ret_bits <= fraction;
	*ret_bits |= (wide ? F64_EXPONENT : F32_EXPONENT) | (minus ? sign : 0);
	return true;
}

static int set_float(const char *text, mayfly_type type, mayfly_value *ret, mayfly_error *err)
{
	bool wide = type == MAYFLY_F64, fits, zero, infinite;
	uint64_t bits;
	double d = 0;
	float f = 0;
	char *end;

	if (parse_pattern(text, wide, &bits, &fits)) {
		if (!fits)
			return mayfly_error_set(err, MAYFLY_E_INVALID,
						"'%.*s' does not fit %s: %s", SHOWN, text,
						mayfly_type_name(type),
						wide ? "nan(...) takes 0x1 to "
						       "0xfffffffffffff, bits: takes 64 bits"
						     : "nan(...) takes 0x1 to 0x7fffff, bits: "
						       "takes 32 bits");
		*ret = wide ? f64_of_bits(bits) : f32_of_bits((uint32_t)bits);
		return MAYFLY_OK;
	}
	errno = 0;
	/* strtof() rounds once; strtod() and a conversion would round twice. */
	if (wide)
		d = strtod(text, &end);
	else
		f = strtof(text, &end);
	if (end == text || *end || strchr(" \t\n\v\f\r", *text))
		return mayfly_error_set(err, MAYFLY_E_INVALID, "'%.*s' is not a number", SHOWN,
					text);
	/* Not every C library gives a NaN its sign. */
	if (*text == '-') {
		d = copysign(d, -1);
		f = copysignf(f, -1);
	}
	zero = wide ? d == 0 : f == 0;
	infinite = wide ? isinf(d) : isinf(f);
	if (errno == ERANGE && (zero || infinite))
		return mayfly_error_set(err, MAYFLY_E_INVALID, "%.*s does not fit %s: too %s",
					SHOWN, text, mayfly_type_name(type),
					infinite ? "large (inf is written inf)" : "close to 0");
	*ret = wide ? mayfly_f64(d) : mayfly_f32(f);
	return MAYFLY_OK;
}

/* --- Strings and bytes ----------------------------------------------------------------------- */

static int read_all(int fd, const char *name, struct argument *ret, mayfly_error *err)
{
	size_t len = 0, size = 4096;
	struct stat st;
	char *data;

	/* One byte more than the file has, so that the read that finds the end needs no growth. */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
	    (uint64_t)st.st_size < MAX_FILE)
		size = (size_t)st.st_size + 1;
	data = xrealloc(NULL, size, 1);
	for (;;) {
		ssize_t n = read(fd, data + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			free(data);
			return mayfly_error_set(err, MAYFLY_E_IO, "cannot read %.200s: %s",
						name, strerror(errno));
		}
		if (n == 0)
			break;
		len += (size_t)n;
		if (len < size)
			continue;
		if (size >= MAX_FILE) {
			free(data);
			return mayfly_error_set(err, MAYFLY_E_TOO_LARGE,
						"%.200s is too large for an argument", name);
		}
		size *= 2;
		data = xrealloc(data, size, 1);
	}
	ret->owned = data;
	ret->value = mayfly_bytes_of(data, len);
	return MAYFLY_OK;
}

static int set_file(const struct source *src, const char *name, struct argument *ret,
		    mayfly_error *err)
{
	int fd, r;

	if (strcmp(name, "-") == 0) {
		if (*src->stdin_used)
			return mayfly_error_set(
				err, MAYFLY_E_INVALID,
				"@- stands twice, but standard input can be read once");
		*src->stdin_used = true;
		return read_all(STDIN_FILENO, "standard input", ret, err);
	}
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return mayfly_error_set(
			err, MAYFLY_E_IO,
			"cannot open %.200s: %s (text that begins with @ is written with @@, "
			"or text: in front)",
			name, strerror(errno));
	r = read_all(fd, name, ret, err);
	close(fd);
	return r;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

static int set_hex(const char *digits, struct argument *ret, mayfly_error *err)
{
	size_t len = strlen(digits);
	unsigned char *data;

	if (len % 2)
		return mayfly_error_set(err, MAYFLY_E_INVALID,
					"hex: takes pairs of digits, but there are %zu", len);
	data = xrealloc(NULL, len / 2, 1);
	for (size_t i = 0; i < len; i += 2) {
		int high = hex_digit(digits[i]), low = hex_digit(digits[i + 1]);

		if (high < 0 || low < 0) {
			free(data);
			return mayfly_error_set(
				err, MAYFLY_E_INVALID,
				"'%.2s' at digit %zu after hex: is not hexadecimal", digits + i,
				i + 1);
		}
		data[i / 2] = (unsigned char)(high << 4 | low);
	}
	ret->owned = data;
	ret->value = mayfly_bytes_of(data, len / 2);
	return MAYFLY_OK;
}

static int set_bytes(const struct source *src, struct argument *ret, mayfly_error *err)
{
	const char *text = src->text;

	if (strncmp(text, "hex:", 4) == 0)
		return set_hex(text + 4, ret, err);
	if (strncmp(text, "text:", 5) == 0)
		text += 5;
	else if (text[0] == '@' && text[1] == '@')
		text++;
	else if (text[0] == '@')
		return set_file(src, text + 1, ret, err);
	ret->value = mayfly_bytes_of(text, strlen(text));
	return MAYFLY_OK;
}

/* --- All arguments --------------------------------------------------------------------------- */

/* The type whose name and a colon `text` begins with, or MAYFLY_VOID. */
static mayfly_type explicit_type(const char *text)
{
	for (int t = MAYFLY_BOOL; t <= MAYFLY_BYTES; t++) {
		const char *name = mayfly_type_name((mayfly_type)t);
		size_t n = strlen(name);

		if (strncmp(text, name, n) == 0 && text[n] == ':')
			return (mayfly_type)t;
	}
	return MAYFLY_VOID;
}

static int argument_parse(struct source src, mayfly_type type, struct argument *ret,
			  mayfly_error *err)
{
	mayfly_type prefix = explicit_type(src.text);

	ret->owned = NULL;
	if (prefix == type)
		src.text += strlen(mayfly_type_name(prefix)) + 1;
	else if (prefix != MAYFLY_VOID && type != MAYFLY_STRING)
		return mayfly_error_set(err, MAYFLY_E_SIGNATURE, "is %s, not %s",
					mayfly_type_name(type), mayfly_type_name(prefix));
	switch (type) {
	case MAYFLY_BOOL:
		return set_bool(src.text, &ret->value, err);
	case MAYFLY_I32:
	case MAYFLY_U32:
	case MAYFLY_I64:
	case MAYFLY_U64:
		return set_integer(src.text, type, &ret->value, err);
	case MAYFLY_F32:
	case MAYFLY_F64:
		return set_float(src.text, type, &ret->value, err);
	case MAYFLY_STRING:
		ret->value = mayfly_string(src.text);
		return MAYFLY_OK;
	case MAYFLY_BYTES:
		return set_bytes(&src, ret, err);
	case MAYFLY_VOID:
		break;
	}
	return mayfly_error_set(err, MAYFLY_E_UNSUPPORTED,
				"has a type that mayfly does not know");
}

int arguments_parse(const mayfly_function *fn, int argc, char **argv, struct argument *args,
		    mayfly_error *err)
{
	size_t wanted = mayfly_function_arg_count(fn);
	const char *name = mayfly_function_name(fn);
	bool stdin_used = false;

	if ((size_t)argc != wanted || wanted > MAYFLY_MAX_ARGS) {
		bool option = (size_t)argc > wanted && strncmp(argv[wanted], "--", 2) == 0;
		return mayfly_error_set(
			err, MAYFLY_E_SIGNATURE,
			"%s takes %zu argument%s, but %d %s given; its signature is %s%s", name,
			wanted, wanted == 1 ? "" : "s", argc, argc == 1 ? "is" : "are",
			mayfly_function_signature(fn),
			option ? " (options go before GUEST)" : "");
	}
	for (size_t i = 0; i < wanted; i++) {
		struct source src = {argv[i], &stdin_used};
		mayfly_error why;
		int r = argument_parse(src, mayfly_function_arg(fn, i), &args[i], &why);

		if (r != MAYFLY_OK) {
			arguments_fini(args, i);
			return mayfly_error_set(err, r, "argument %zu of %s: %s", i + 1, name,
						why.message);
		}
	}
	return MAYFLY_OK;
}

void arguments_fini(struct argument *args, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(args[i].owned);
}

uint64_t arguments_area(const struct argument *args, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		if (args[i].value.type == MAYFLY_STRING)
			sum += args[i].value.as.string.len + SLACK;
		else if (args[i].value.type == MAYFLY_BYTES)
			sum += args[i].value.as.bytes.len + SLACK;
	}
	return sum;
}

/* --- Results --------------------------------------------------------------------------------- */

/* Shortest text that strtof() or strtod() takes back to the same value; -0 and inf included. */
static void print_float(FILE *out, const mayfly_value *v)
{
	bool wide = v->type == MAYFLY_F64;
	uint64_t bits = wide ? v->as.u64 : v->as.u32;
	uint64_t fraction = bits & (wide ? F64_FRACTION : F32_FRACTION);
	uint64_t quiet = wide ? (uint64_t)1 << 51 : (uint64_t)1 << 22;
	bool minus = bits >> (wide ? 63 : 31);
	char text[40];

	if (fraction && (wide ? isnan(v->as.f64) : isnan(v->as.f32))) {
		fputs(minus ? "-nan" : "nan", out);
		if (fraction != quiet)
			fprintf(out, "(0x%llx)", (unsigned long long)fraction);
		fputc('\n', out);
		return;
	}
	for (int digits = 1; digits <= (wide ? 17 : 9); digits++) {
		snprintf(text, sizeof(text), "%.*g", digits,
			 wide ? v->as.f64 : (double)v->as.f32);
		if (wide ? strtod(text, NULL) == v->as.f64 : strtof(text, NULL) == v->as.f32)
			break;
	}
	fprintf(out, "%s\n", text);
}

static void print_bytes(FILE *out, const mayfly_value *v, enum result_form form)
{
	const unsigned char *p = v->as.bytes.data;

	if (form == RESULT_RAW) {
		fwrite(p, 1, v->as.bytes.len, out);
		return;
	}
	if (form == RESULT_VISIBLE)
		print_visible(out, v->as.bytes.data, v->as.bytes.len, true);
	else
		for (size_t i = 0; i < v->as.bytes.len; i++)
			fprintf(out, "%02x", p[i]);
	fputc('\n', out);
}

void result_print(FILE *out, const mayfly_value *v, enum result_form form)
{
	switch (v->type) {
	case MAYFLY_VOID:
		break;
	case MAYFLY_BOOL:
		fprintf(out, "%s\n", v->as.boolean ? "true" : "false");
		break;
	case MAYFLY_I32:
		fprintf(out, "%d\n", v->as.i32);
		break;
	case MAYFLY_U32:
		fprintf(out, "%u\n", v->as.u32);
		break;
	case MAYFLY_I64:
		fprintf(out, "%lld\n", (long long)v->as.i64);
		break;
	case MAYFLY_U64:
		fprintf(out, "%llu\n", (unsigned long long)v->as.u64);
		break;
	case MAYFLY_F32:
	case MAYFLY_F64:
		print_float(out, v);
		break;
	case MAYFLY_STRING:
		if (form == RESULT_VISIBLE)
			print_visible(out, v->as.string.data, v->as.string.len, true);
		else
			fwrite(v->as.string.data, 1, v->as.string.len, out);
		fputc('\n', out);
		break;
	case MAYFLY_BYTES:
		print_bytes(out, v, form);
		break;
	}
}

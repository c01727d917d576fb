/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of each type, in and out: alone, many at once, and in orders that fill every register.
 */
#include "mayfly_guest.h"

#define ECHO(type, c_type)                                                                     \
	static c_type echo_##type(c_type v)                                                    \
	{                                                                                      \
		return v;                                                                      \
	}                                                                                      \
	MAYFLY_EXPORT(echo_##type, type, type)

ECHO(i32, int32_t);
ECHO(u32, uint32_t);
ECHO(i64, int64_t);
ECHO(u64, uint64_t);
ECHO(f32, float);
ECHO(f64, double);
ECHO(string, const char *);
ECHO(bytes, mayfly_bytes);

static bool echo_bool(bool v)
{
	return v;
}
MAYFLY_EXPORT(echo_bool, bool, bool);

static void nothing(void)
{
}
MAYFLY_EXPORT(nothing, void);

static int64_t add(int64_t a, int64_t b)
{
	return (int64_t)((uint64_t)a + (uint64_t)b);
}
MAYFLY_EXPORT(add, i64, i64, i64);

/* --- rendering ---------------------------------------------------------------------------- */

/* What the functions below saw, as text that the test can predict. */
static char text[4096];
static size_t used;

static void begin(void)
{
	used = 0;
}

static __attribute__((format(printf, 1, 2))) void put(const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = mayfly_vsnprintf(text + used, sizeof(text) - used, format, args);
	va_end(args);
	mayfly_assert(n >= 0 && (size_t)n < sizeof(text) - used);
	used += (size_t)n;
}

/* Bits, not digits: a NaN has more to tell than "nan". */
static void put_f32(float v)
{
	uint32_t bits;

	memcpy(&bits, &v, sizeof(bits));
	put("f%08x ", bits);
}

static void put_f64(double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	put("d%016lx ", bits);
}

static void put_bytes(mayfly_bytes v)
{
	const unsigned char *p = v.data;

	put("b%zu:", v.len);
	for (size_t i = 0; i < v.len; i++)
		put("%02x", p[i]);
	put(" ");
}

/* --- many arguments ----------------------------------------------------------------------- */

/* Fills the integer registers with the bytes; what is integer behind them is on the stack. */
static const char *mix12(bool a, float b, int32_t c, const char *d, double e, uint32_t f,
			 mayfly_bytes g, int64_t h, float i, uint64_t j, const char *k,
			 double l)
{
	begin();
	put("%d ", a);
	put_f32(b);
	put("%d '%s' ", c, d);
	put_f64(e);
	put("%u ", f);
	put_bytes(g);
	put("%ld ", h);
	put_f32(i);
	put("%lu '%s' ", j, k);
	put_f64(l);
	return text;
}
MAYFLY_EXPORT(mix12, string, bool, f32, i32, string, f64, u32, bytes, i64, f32, u64, string,
	      f64);

/* Both register files are full before the end. */
static const char *mix16(double a, bool b, float c, int32_t d, double e, uint32_t f, float g,
			 int64_t h, double i, uint64_t j, float k, const char *l, double m,
			 mayfly_bytes n, float o, double p)
{
	begin();
	put_f64(a);
	put("%d ", b);
	put_f32(c);
	put("%d ", d);
	put_f64(e);
	put("%u ", f);
	put_f32(g);
	put("%ld ", h);
	put_f64(i);
	put("%lu ", j);
	put_f32(k);
	put("'%s' ", l);
	put_f64(m);
	put_bytes(n);
	put_f32(o);
	put_f64(p);
	return text;
}
MAYFLY_EXPORT(mix16, string, f64, bool, f32, i32, f64, u32, f32, i64, f64, u64, f32, string,
	      f64, bytes, f32, f64);

/*
 * One register is left when the bytes come: they go to the stack, the next integer to that
 * register.
 */
static const char *split_bytes(int64_t a, int64_t b, int64_t c, int64_t d, int64_t e,
			       mayfly_bytes f, int64_t g, mayfly_bytes h, const char *i)
{
	begin();
	put("%ld %ld %ld %ld %ld ", a, b, c, d, e);
	put_bytes(f);
	put("%ld ", g);
	put_bytes(h);
	put("'%s' ", i);
	return text;
}
MAYFLY_EXPORT(split_bytes, string, i64, i64, i64, i64, i64, bytes, i64, bytes, string);

static const char *integers16(int64_t a, int32_t b, uint32_t c, bool d, uint64_t e, int64_t f,
			      int32_t g, uint32_t h, bool i, uint64_t j, int64_t k, int32_t l,
			      uint32_t m, bool n, uint64_t o, int64_t p)
{
	begin();
	put("%ld %d %u %d %lu %ld %d %u ", a, b, c, d, e, f, g, h);
	put("%d %lu %ld %d %u %d %lu %ld ", i, j, k, l, m, n, o, p);
	return text;
}
MAYFLY_EXPORT(integers16, string, i64, i32, u32, bool, u64, i64, i32, u32, bool, u64, i64, i32,
	      u32, bool, u64, i64);

static const char *floats16(double a, float b, double c, float d, double e, float f, double g,
			    float h, double i, float j, double k, float l, double m, float n,
			    double o, float p)
{
	const double doubles[] = {a, c, e, g, i, k, m, o};
	const float floats[] = {b, d, f, h, j, l, n, p};

	begin();
	for (int at = 0; at < 8; at++) {
		put_f64(doubles[at]);
		put_f32(floats[at]);
	}
	return text;
}
MAYFLY_EXPORT(floats16, string, f64, f32, f64, f32, f64, f32, f64, f32, f64, f32, f64, f32, f64,
	      f32, f64, f32);

static const char *bytes16(mayfly_bytes a, mayfly_bytes b, mayfly_bytes c, mayfly_bytes d,
			   mayfly_bytes e, mayfly_bytes f, mayfly_bytes g, mayfly_bytes h,
			   mayfly_bytes i, mayfly_bytes j, mayfly_bytes k, mayfly_bytes l,
			   mayfly_bytes m, mayfly_bytes n, mayfly_bytes o, mayfly_bytes p)
{
	const mayfly_bytes all[] = {a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p};

	begin();
	for (int at = 0; at < 16; at++)
		put_bytes(all[at]);
	return text;
}
MAYFLY_EXPORT(bytes16, string, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes,
	      bytes, bytes, bytes, bytes, bytes, bytes, bytes);

/* --- long ones ---------------------------------------------------------------------------- */

/* FNV-1a, so that each byte counts and its place too. */
static uint64_t checksum(mayfly_bytes v)
{
	const unsigned char *p = v.data;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < v.len; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return hash;
}
MAYFLY_EXPORT(checksum, u64, bytes);

/* `len` bytes on the heap: byte i is i * factor. */
static mayfly_bytes make_bytes(uint64_t len, uint32_t factor)
{
	unsigned char *p = malloc(len);

	if (!p)
		mayfly_abort(1, "no memory for %lu bytes", len);
	for (uint64_t i = 0; i < len; i++)
		p[i] = (unsigned char)(i * factor);
	return (mayfly_bytes){p, len};
}
MAYFLY_EXPORT(make_bytes, bytes, u64, u32);

static const char *join(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	char *joined = malloc(n + m + 1);

	if (!joined)
		mayfly_abort(1, "no memory for %zu bytes", n + m + 1);
	strcpy(stpcpy(joined, a), b);
	return joined;
}
MAYFLY_EXPORT(join, string, string, string);

static uint64_t length(const char *s)
{
	return strlen(s);
}
MAYFLY_EXPORT(length, u64, string);

/* Whether the arguments may be written to, which is the guest's right: they are its copies. */
static mayfly_bytes reverse(mayfly_bytes v)
{
	char *p = (char *)(uintptr_t)v.data;

	for (size_t i = 0; i < v.len / 2; i++) {
		char byte = p[i];

		p[i] = p[v.len - 1 - i];
		p[v.len - 1 - i] = byte;
	}
	return v;
}
MAYFLY_EXPORT(reverse, bytes, bytes);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A strict reader of JSON (RFC 8259) that counts what it sees and keeps nothing: for hostile
 * data. One pass, no allocation, no recursion; time linear in the length, memory constant,
 * nesting bounded.
 *
 * Refused beyond the grammar: text that is not UTF-8, unpaired surrogates in escapes (which no
 * UTF-8 text can hold), nesting deeper than JSON_DEPTH_MAX.
 *
 * Compiled into the guest of the parser example and, to compare, into its host program:
 * includes only what exists in both, and wants snprintf declared by whoever includes it.
 */
#ifndef JSON_SCAN_H
#define JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 1024

struct json_summary {
	const char *problem; /* NULL: valid. Static storage */
	size_t problem_at;   /* byte offset */
	size_t bytes;	     /* looked at */
	uint64_t objects, members, arrays, strings, numbers, booleans, nulls;
	uint32_t depth;	   /* deepest nesting */
	uint64_t checksum; /* of the contents: blanks and ways of escaping make no difference */
};

struct json_scanner {
	const uint8_t *start, *p, *end;
	struct json_summary *out;
	uint32_t depth;
	uint64_t in_object[JSON_DEPTH_MAX / 64]; /* a bit for each open bracket */
};

enum json_expects {
	JSON_VALUE,
	JSON_VALUE_OR_END, /* behind [ */
	JSON_KEY,
	JSON_KEY_OR_END, /* behind { */
	JSON_AFTER_VALUE
};

static inline bool json_fail(struct json_scanner *s, const char *problem)
{
	s->out->problem = problem;
	s->out->problem_at = (size_t)(s->p - s->start);
	return false;
}

static inline void json_mix(struct json_scanner *s, uint8_t byte)
{
	s->out->checksum = (s->out->checksum ^ byte) * UINT64_C(0x100000001b3); /* FNV-1a */
}

static inline void json_skip_blanks(struct json_scanner *s)
{
	while (s->p < s->end &&
	       (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r'))
		s->p++;
}

/* --- strings ------------------------------------------------------------------------------ */

static inline void json_mix_code_point(struct json_scanner *s, uint32_t c)
{
	if (c < 0x80) {
		json_mix(s, (uint8_t)c);
		return;
	}
	if (c < 0x800) {
		json_mix(s, (uint8_t)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			json_mix(s, (uint8_t)(0xe0 | c >> 12));
		} else {
			json_mix(s, (uint8_t)(0xf0 | c >> 18));
			json_mix(s, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
		}
		json_mix(s, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
	}
	json_mix(s, (uint8_t)(0x80 | (c & 0x3f)));
}

/* Four hexadecimal digits; -1 if there are none. */
static inline int32_t json_hex4(struct json_scanner *s)
{
	int32_t v = 0;

	if (s->end - s->p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		uint8_t c = s->p[i], low = c | 0x20;

		if (c >= '0' && c <= '9')
			v = v * 16 + (c - '0');
		else if (low >= 'a' && low <= 'f')
			v = v * 16 + (low - 'a' + 10);
		else
			return -1;
	}
	s->p += 4;
	return v;
}

/* Behind \u. */
static inline bool json_unicode_escape(struct json_scanner *s)
{
	int32_t c = json_hex4(s), low;

	if (c < 0)
		return json_fail(s, "\\u without four hexadecimal digits");
	if (c >= 0xd800 && c < 0xe000) {
		if (c >= 0xdc00 || s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u')
			return json_fail(s, "unpaired surrogate");
		s->p += 2;
		low = json_hex4(s);
		if (low < 0xdc00 || low >= 0xe000)
			return json_fail(s, "unpaired surrogate");
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	json_mix_code_point(s, (uint32_t)c);
	return true;
}

/* Behind the backslash. */
static inline bool json_escape(struct json_scanner *s)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";

	if (s->p == s->end)
		return json_fail(s, "the text ends within a string");
	if (*s->p == 'u') {
		s->p++;
		return json_unicode_escape(s);
	}
	for (size_t i = 0; i < sizeof(from) - 1; i++) {
		if (*s->p == (uint8_t)from[i]) {
			json_mix(s, (uint8_t)to[i]);
			s->p++;
			return true;
		}
	}
	return json_fail(s, "unknown escape");
}

/*
 * A character of two to four bytes (RFC 3629): no overlong ones, no surrogates, none past
 * U+10FFFF.
 */
static inline bool json_utf8(struct json_scanner *s)
{
	uint8_t first = *s->p, least = 0x80, most = 0xbf;
	int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;

	if (first < 0xc2 || first > 0xf4 || s->end - s->p <= more)
		return json_fail(s, "not UTF-8");
	if (first == 0xe0)
		least = 0xa0;
	else if (first == 0xed)
		most = 0x9f;
	else if (first == 0xf0)
		least = 0x90;
	else if (first == 0xf4)
		most = 0x8f;
	if (s->p[1] < least || s->p[1] > most)
		return json_fail(s, "not UTF-8");
	for (int i = 2; i <= more; i++) {
		if ((s->p[i] & 0xc0) != 0x80)
			return json_fail(s, "not UTF-8");
	}
	for (int i = 0; i <= more; i++)
		json_mix(s, s->p[i]);
	s->p += more + 1;
	return true;
}

/* At the opening quotation mark. */
static inline bool json_string(struct json_scanner *s)
{
	s->p++;
	json_mix(s, '"');
	while (s->p < s->end && *s->p != '"') {
		if (*s->p < 0x20)
			return json_fail(s, "control character in a string");
		if (*s->p >= 0x80) {
			if (!json_utf8(s))
				return false;
		} else if (*s->p == '\\') {
			s->p++;
			if (!json_escape(s))
				return false;
		} else {
			json_mix(s, *s->p++);
		}
	}
	if (s->p == s->end)
		return json_fail(s, "the text ends within a string");
	s->p++;
	json_mix(s, 0xff); /* occurs in no UTF-8: "a" "b" differs from "ab" */
	return true;
}

/* --- numbers and literals ----------------------------------------------------------------- */

static inline bool json_digits(struct json_scanner *s)
{
	const uint8_t *first = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		json_mix(s, *s->p++);
	return s->p > first || json_fail(s, "a digit is missing");
}

static inline bool json_number(struct json_scanner *s)
{
	json_mix(s, '#');
	if (*s->p == '-')
		json_mix(s, *s->p++);
	if (s->p < s->end && *s->p == '0')
		json_mix(s, *s->p++);
	else if (!json_digits(s))
		return false;
	if (s->p < s->end && *s->p == '.') {
		json_mix(s, *s->p++);
		if (!json_digits(s))
			return false;
	}
	if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
		json_mix(s, 'e');
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			json_mix(s, *s->p++);
		if (!json_digits(s))
			return false;
	}
	s->out->numbers++;
	return true;
}

static inline bool json_literal(struct json_scanner *s, const char *word)
{
	const uint8_t *p = s->p;

	for (const char *w = word; *w; w++, p++) {
		if (p == s->end || *p != (uint8_t)*w)
			return json_fail(s, "unknown word");
	}
	json_mix(s, (uint8_t)word[0]);
	s->p = p;
	return true;
}

/* --- structure ---------------------------------------------------------------------------- */

static inline bool json_open(struct json_scanner *s, bool object)
{
	uint64_t bit = UINT64_C(1) << (s->depth % 64);

	if (s->depth == JSON_DEPTH_MAX)
		return json_fail(s, "nested too deeply");
	json_mix(s, *s->p++);
	if (object) {
		s->in_object[s->depth / 64] |= bit;
		s->out->objects++;
	} else {
		s->in_object[s->depth / 64] &= ~bit;
		s->out->arrays++;
	}
	if (++s->depth > s->out->depth)
		s->out->depth = s->depth;
	return true;
}

static inline void json_close(struct json_scanner *s)
{
	json_mix(s, *s->p++);
	s->depth--;
}

static inline bool json_within_object(const struct json_scanner *s)
{
	return s->in_object[(s->depth - 1) / 64] >> ((s->depth - 1) % 64) & 1;
}

static inline bool json_value(struct json_scanner *s, enum json_expects *next)
{
	uint8_t c = *s->p;

	*next = JSON_AFTER_VALUE;
	switch (c) {
	case '{':
		*next = JSON_KEY_OR_END;
		return json_open(s, true);
	case '[':
		*next = JSON_VALUE_OR_END;
		return json_open(s, false);
	case '"':
		s->out->strings++;
		return json_string(s);
	case 't':
		s->out->booleans++;
		return json_literal(s, "true");
	case 'f':
		s->out->booleans++;
		return json_literal(s, "false");
	case 'n':
		s->out->nulls++;
		return json_literal(s, "null");
	default:
		if (c == '-' || (c >= '0' && c <= '9'))
			return json_number(s);
		return json_fail(s, "a value is missing");
	}
}

/* A member's name and the colon. */
static inline bool json_key(struct json_scanner *s, enum json_expects *next)
{
	if (*s->p != '"')
		return json_fail(s, "a member's name is missing");
	if (!json_string(s))
		return false;
	json_skip_blanks(s);
	if (s->p == s->end || *s->p != ':')
		return json_fail(s, "a colon is missing");
	s->p++;
	s->out->members++;
	*next = JSON_VALUE;
	return true;
}

static inline bool json_after_value(struct json_scanner *s, enum json_expects *next)
{
	bool object;

	if (!s->depth)
		return json_fail(s, "more text behind the value");
	object = json_within_object(s);
	if (*s->p == ',') {
		s->p++;
		*next = object ? JSON_KEY : JSON_VALUE;
		return true;
	}
	if (*s->p != (object ? '}' : ']'))
		return json_fail(s, object ? "a comma or } is missing"
					   : "a comma or ] is missing");
	json_close(s);
	return true;
}

static inline bool json_step(struct json_scanner *s, enum json_expects *state)
{
	uint8_t c = *s->p;

	if ((*state == JSON_VALUE_OR_END && c == ']') ||
	    (*state == JSON_KEY_OR_END && c == '}')) {
		json_close(s);
		*state = JSON_AFTER_VALUE;
		return true;
	}
	switch (*state) {
	case JSON_VALUE:
	case JSON_VALUE_OR_END:
		return json_value(s, state);
	case JSON_KEY:
	case JSON_KEY_OR_END:
		return json_key(s, state);
	default:
		return json_after_value(s, state);
	}
}

/* Read all of it. True if it is valid; `out` says what was seen up to the problem. */
static inline bool json_scan(const void *data, size_t len, struct json_summary *out)
{
	const uint8_t *start = (const uint8_t *)data;
	struct json_scanner s = {start, start, start + len, out, 0, {0}};
	enum json_expects state = JSON_VALUE;
	bool good = true;

	*out = (struct json_summary){0};
	out->checksum = UINT64_C(0xcbf29ce484222325);
	for (json_skip_blanks(&s); good && s.p < s.end; json_skip_blanks(&s))
		good = json_step(&s, &state);
	if (good && (state != JSON_AFTER_VALUE || s.depth))
		good = json_fail(&s, "the text ends too early");
	out->bytes = (size_t)(s.p - s.start);
	return good;
}

/* One line about it, without a newline. As snprintf. */
static inline int json_describe(char *text, size_t size, const struct json_summary *v)
{
	if (v->problem)
		return snprintf(text, size, "invalid at byte %zu: %s", v->problem_at,
				v->problem);
	return snprintf(text, size,
			"valid: %zu bytes, depth %u, %lu objects, %lu members, %lu arrays, "
			"%lu strings, %lu numbers, %lu booleans, %lu nulls, checksum %016lx",
			v->bytes, v->depth, (unsigned long)v->objects,
			(unsigned long)v->members, (unsigned long)v->arrays,
			(unsigned long)v->strings, (unsigned long)v->numbers,
			(unsigned long)v->booleans, (unsigned long)v->nulls,
			(unsigned long)v->checksum);
}

#endif

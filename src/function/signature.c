/* SPDX-License-Identifier: Apache-2.0 */
#include "function/signature.h"

#include <string.h>

#include "core/error.h"
#include "core/util.h"

_Static_assert(SIGNATURE_TEXT_MAX >= (MAYFLY_MAX_ARGS + 1) * sizeof("string") + sizeof("()"),
	       "the longest signature does not fit");

int signature_type(const char *name, size_t len)
{
	for (int type = MAYFLY_VOID; type <= MAYFLY_BYTES; type++) {
		const char *known = mayfly_type_name((mayfly_type)type);

		if (strlen(known) == len && memcmp(known, name, len) == 0)
			return type;
	}
	/* What the preprocessor makes of `bool` in a guest's declaration. */
	if (len == 5 && memcmp(name, "_Bool", 5) == 0)
		return MAYFLY_BOOL;
	return -1;
}

/* What is parsed, and how far it was. */
struct cursor {
	const char *text;
	size_t len;
	size_t at;
};

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

static void skip_blanks(struct cursor *c)
{
	while (c->at < c->len && (c->text[c->at] == ' ' || c->text[c->at] == '\t'))
		c->at++;
}

/* The length of the token that begins here: a word, else one character; 0 at the end. */
static size_t token_length(const struct cursor *c)
{
	size_t end = c->at;

	while (end < c->len && is_word(c->text[end]))
		end++;
	if (end == c->at && end < c->len)
		end++;
	return end - c->at;
}

static int unexpected(const struct cursor *c, const char *wanted, mayfly_error *err)
{
	char whole[160], token[48];

	error_printable(whole, sizeof(whole), c->text, c->len);
	if (c->at == c->len)
		return fail(err, MAYFLY_E_SIGNATURE,
			    "signature \"%s\" ends at character %zu, where %s is missing",
			    whole, c->at + 1, wanted);
	error_printable(token, sizeof(token), c->text + c->at, token_length(c));
	return fail(err, MAYFLY_E_SIGNATURE,
		    "signature \"%s\": \"%s\" at character %zu, where %s should be", whole,
		    token, c->at + 1, wanted);
}

static int parse_type(struct cursor *c, bool result, uint8_t *out, mayfly_error *err)
{
	size_t len;
	int type;

	skip_blanks(c);
	len = token_length(c);
	type = signature_type(c->text + c->at, len);
	if (type < 0)
		return unexpected(
			c,
			"a type (bool, i32, u32, i64, u64, f32, f64, string, bytes, or "
			"void as result)",
			err);
	if (type == MAYFLY_VOID && !result)
		return unexpected(c, "the type of an argument (no arguments are written ())",
				  err);
	*out = (uint8_t)type;
	c->at += len;
	return MAYFLY_OK;
}

/* Take `wanted` if it is next. */
static bool take(struct cursor *c, char wanted)
{
	skip_blanks(c);
	if (c->at == c->len || c->text[c->at] != wanted)
		return false;
	c->at++;
	return true;
}

/* What is between the parentheses, and the closing one. */
static int parse_args(struct cursor *c, struct signature *sig, mayfly_error *err)
{
	int r;

	if (take(c, ')'))
		return MAYFLY_OK;
	do {
		if (sig->nargs == MAYFLY_MAX_ARGS) {
			char whole[160];

			return fail(err, MAYFLY_E_SIGNATURE,
				    "signature \"%s\" has more than %d arguments",
				    error_printable(whole, sizeof(whole), c->text, c->len),
				    MAYFLY_MAX_ARGS);
		}
		r = parse_type(c, false, &sig->args[sig->nargs], err);
		if (r < 0)
			return r;
		sig->nargs++;
	} while (take(c, ','));
	if (!take(c, ')'))
		return unexpected(c, "\",\" or \")\"", err);
	return MAYFLY_OK;
}

int signature_parse(const char *text, size_t len, struct signature *out, mayfly_error *err)
{
	struct cursor c = {.text = text, .len = len};
	struct signature sig = {0};
	int r;

	r = parse_type(&c, true, &sig.result, err);
	if (r < 0)
		return r;
	if (!take(&c, '('))
		return unexpected(&c, "\"(\"", err);
	r = parse_args(&c, &sig, err);
	if (r < 0)
		return r;
	skip_blanks(&c);
	if (c.at != c.len)
		return unexpected(&c, "the end", err);
	*out = sig;
	return MAYFLY_OK;
}

void signature_format(const struct signature *sig, char *text)
{
	char *end = stpcpy(text, mayfly_type_name((mayfly_type)sig->result));

	end = stpcpy(end, "(");
	for (size_t i = 0; i < sig->nargs; i++) {
		if (i > 0)
			end = stpcpy(end, ",");
		end = stpcpy(end, mayfly_type_name((mayfly_type)sig->args[i]));
	}
	stpcpy(end, ")");
}

bool signature_equal(const struct signature *a, const struct signature *b)
{
	return a->result == b->result && a->nargs == b->nargs &&
	       memcmp(a->args, b->args, a->nargs) == 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	int code;
	const char *name;
} code_names[] = {
	{MAYFLY_OK, "success"},
	{MAYFLY_E_INVALID, "invalid argument"},
	{MAYFLY_E_NOMEM, "out of resources"},
	{MAYFLY_E_IO, "input/output error"},
	{MAYFLY_E_FORMAT, "malformed or damaged file"},
	{MAYFLY_E_UNSUPPORTED, "not supported"},
	{MAYFLY_E_HYPERVISOR, "no usable hypervisor"},
	{MAYFLY_E_NO_FUNCTION, "no such function"},
	{MAYFLY_E_SIGNATURE, "wrong number or type of arguments"},
	{MAYFLY_E_TOO_LARGE, "too large"},
	{MAYFLY_E_FAULT, "guest fault"},
	{MAYFLY_E_ABORT, "guest aborted"},
	{MAYFLY_E_TIMEOUT, "time limit reached"},
	{MAYFLY_E_INTERRUPTED, "interrupted"},
	{MAYFLY_E_POISONED, "poisoned"},
	{MAYFLY_E_BUSY, "busy"},
	{MAYFLY_E_LIMIT, "limit reached"},
	{MAYFLY_E_PROTOCOL, "protocol broken by the guest"},
	{MAYFLY_E_HOST_FUNCTION, "host function failed"},
	{MAYFLY_E_NO_PROGRAM, "no such program"},
};

const char *mayfly_code_name(int code)
{
	for (size_t i = 0; i < sizeof(code_names) / sizeof(code_names[0]); i++)
		if (code_names[i].code == code)
			return code_names[i].name;
	return "unknown error";
}

const char *mayfly_type_name(mayfly_type type)
{
	static const char *const names[] = {"void", "bool", "i32", "u32",    "i64",
					    "u64",  "f32",  "f64", "string", "bytes"};

	if ((unsigned)type >= sizeof(names) / sizeof(names[0]))
		return "?";
	return names[type];
}

/* Messages are one line, whatever the guest's, file's or caller's text in them is. */
static void flatten(char *message)
{
	for (char *c = message; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

/* Mark a cut message: its last characters become "...". */
static void mark_cut(char *message, size_t size)
{
	memcpy(message + size - 4, "...", 4);
}

static void set(mayfly_error *err, int code, int errnum, const char *format, va_list ap)
{
	int n;

	err->code = code;
	err->sys_errno = errnum;
	n = vsnprintf(err->message, sizeof(err->message), format, ap);
	if (n < 0)
		err->message[0] = '\0';
	else if ((size_t)n >= sizeof(err->message))
		mark_cut(err->message, sizeof(err->message));
	flatten(err->message);
}

int mayfly_error_set(mayfly_error *err, int code, const char *format, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, format);
	set(err, code, 0, format, ap);
	va_end(ap);
	return code;
}

void error_set_errno(mayfly_error *err, int code, int errnum, const char *format, ...)
{
	/*
	 * Not glibc's strerror(3): it may open a catalogue of messages, which a jailed thread must
	 * not. musl's has no catalogues and the text of no call is another's.
	 */
#ifdef __GLIBC__
	const char *text = strerrordesc_np(errnum);
#else
	const char *text = strerror(errnum);
#endif
	size_t used;
	va_list ap;

	if (!err)
		return;
	va_start(ap, format);
	set(err, code, errnum, format, ap);
	va_end(ap);
	used = strlen(err->message);
	if (text)
		snprintf(err->message + used, sizeof(err->message) - used, ": %s", text);
	else
		snprintf(err->message + used, sizeof(err->message) - used, ": error %d",
			 errnum);
}

void error_prefix(mayfly_error *err, const char *format, ...)
{
	char old[MAYFLY_ERROR_MESSAGE_SIZE];
	va_list ap;
	int n;

	if (!err)
		return;
	memcpy(old, err->message, sizeof(old));
	va_start(ap, format);
	n = vsnprintf(err->message, sizeof(err->message), format, ap);
	va_end(ap);
	flatten(err->message);
	if (n < 0 || (size_t)n >= sizeof(err->message))
		return;
	n = snprintf(err->message + n, sizeof(err->message) - (size_t)n, ": %s", old);
	if (n >= 0 && strlen(err->message) == sizeof(err->message) - 1)
		mark_cut(err->message, sizeof(err->message));
}

char *error_printable(char *dst, size_t size, const char *s, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	size_t used = 0, i;

	for (i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];
		bool plain = c >= 0x20 && c < 0x7f;
		size_t need = plain ? 1 : 4;

		if (used + need + 4 > size && !(i + 1 == len && used + need < size))
			break;
		if (plain) {
			dst[used++] = (char)c;
			continue;
		}
		dst[used++] = '\\';
		dst[used++] = 'x';
		dst[used++] = hex[c >> 4];
		dst[used++] = hex[c & 15];
	}
	if (i < len && used + 4 <= size) {
		memcpy(dst + used, "...", 3);
		used += 3;
	}
	dst[used] = '\0';
	return dst;
}

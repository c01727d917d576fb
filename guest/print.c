/* SPDX-License-Identifier: Apache-2.0 */
/* Formatted text to the host's sink and into buffers, under our names and the C library's. */
#include "guest/internal.h"

/* --- to the host -------------------------------------------------------------------------- */

/* On the stack: a page that is dirty already. */
struct host_sink {
	struct text_sink sink;
	bool denied;
	size_t used;
	char buffer[1024];
};

static void flush(struct host_sink *h)
{
	if (h->used && !mayfly_p_print(h->buffer, h->used))
		h->denied = true;
	h->used = 0;
}

/* What does not fit the buffer goes straight from where it is. */
static void write_to_host(struct text_sink *sink, const char *text, size_t len)
{
	struct host_sink *h = (struct host_sink *)sink;

	if (len > sizeof(h->buffer) - h->used)
		flush(h);
	if (len > sizeof(h->buffer)) {
		if (!mayfly_p_print(text, len))
			h->denied = true;
		return;
	}
	memcpy(h->buffer + h->used, text, len);
	h->used += len;
}

int mayfly_vprintf(const char *format, va_list args)
{
	struct host_sink h;
	int n;

	/* Denied: not worth formatting. */
	if (!mayfly_p_print("", 0))
		return -1;
	h.sink.write = write_to_host;
	h.denied = false;
	h.used = 0;
	n = mayfly_p_format(&h.sink, format, args);
	flush(&h);
	return h.denied ? -1 : n;
}

int mayfly_printf(const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = mayfly_vprintf(format, args);
	va_end(args);
	return n;
}

int mayfly_print(const void *text, size_t len)
{
	if (!mayfly_p_print(text, len))
		return -1;
	return len > INT32_MAX ? INT32_MAX : (int)len;
}

int mayfly_puts(const char *text)
{
	return mayfly_printf("%s\n", text);
}

int printf(const char *restrict format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = mayfly_vprintf(format, args);
	va_end(args);
	return n;
}

int vprintf(const char *restrict format, va_list args)
{
	return mayfly_vprintf(format, args);
}

int puts(const char *text)
{
	return mayfly_puts(text);
}

int putchar(int c)
{
	char byte = (char)c;

	return mayfly_p_print(&byte, 1) ? (unsigned char)byte : -1;
}

/* --- into a buffer ------------------------------------------------------------------------ */

struct buffer_sink {
	struct text_sink sink;
	char *to;
	size_t left;
};

static void write_to_buffer(struct text_sink *sink, const char *text, size_t len)
{
	struct buffer_sink *b = (struct buffer_sink *)sink;
	size_t n = len < b->left ? len : b->left;

	memcpy(b->to, text, n);
	b->to += n;
	b->left -= n;
}

int mayfly_vsnprintf(char *buffer, size_t size, const char *format, va_list args)
{
	struct buffer_sink b = {{write_to_buffer}, buffer, size ? size - 1 : 0};
	int n = mayfly_p_format(&b.sink, format, args);

	if (size)
		*b.to = '\0';
	return n;
}

int mayfly_snprintf(char *buffer, size_t size, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = mayfly_vsnprintf(buffer, size, format, args);
	va_end(args);
	return n;
}

int vsnprintf(char *restrict buffer, size_t size, const char *restrict format, va_list args)
{
	return mayfly_vsnprintf(buffer, size, format, args);
}

int snprintf(char *restrict buffer, size_t size, const char *restrict format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = mayfly_vsnprintf(buffer, size, format, args);
	va_end(args);
	return n;
}

int vsprintf(char *restrict to, const char *restrict format, va_list args)
{
	return mayfly_vsnprintf(to, SIZE_MAX, format, args);
}

int sprintf(char *restrict to, const char *restrict format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = mayfly_vsnprintf(to, SIZE_MAX, format, args);
	va_end(args);
	return n;
}

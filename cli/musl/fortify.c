/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Debian's libjansson.a was compiled with -D_FORTIFY_SOURCE=2 and glibc's headers: it calls these
 * for functions of the standard library that write to a buffer whose size the compiler knows
 * (Linux Standard Base Core 5.0, "Interface Definitions for libc": the names and their meaning).
 * musl has none of them.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int __snprintf_chk(char *to, size_t len, int flag, size_t size, const char *format, ...);
int __vsnprintf_chk(char *to, size_t len, int flag, size_t size, const char *format,
		    va_list ap);
char *__strncpy_chk(char *to, const char *from, size_t len, size_t size);

int __vsnprintf_chk(char *to, size_t len, int flag, size_t size, const char *format, va_list ap)
{
	(void)flag;
	if (len > size)
		abort();
	return vsnprintf(to, len, format, ap);
}

int __snprintf_chk(char *to, size_t len, int flag, size_t size, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = __vsnprintf_chk(to, len, flag, size, format, ap);
	va_end(ap);
	return r;
}

char *__strncpy_chk(char *to, const char *from, size_t len, size_t size)
{
	if (len > size)
		abort();
	return strncpy(to, from, len);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of the hello example: a function that the host calls, and a host function that it
 * calls in turn.
 *
 *	mayfly call hello_guest add 40 2
 *	mayfly call hello_guest greet world
 */
#include <mayfly_guest.h>

/* Whom the greeting is from; the host decides. */
MAYFLY_IMPORT(host_name, string);

static const char *greet(const char *who)
{
	static char greeting[200];
	const char *from = host_name();

	if (!from) {
		mayfly_printf("no name: %s\n", mayfly_host_error());
		from = "a guest whose host gives no name";
	}
	mayfly_snprintf(greeting, sizeof(greeting), "Hello %s, this is %s.", who, from);
	return greeting;
}
MAYFLY_EXPORT(greet, string, string);

static int64_t add(int64_t a, int64_t b)
{
	return a + b;
}
MAYFLY_EXPORT(add, i64, i64, i64);

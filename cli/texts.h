/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that live as long as what they were made for. */
#ifndef MAYFLY_CLI_TEXTS_H
#define MAYFLY_CLI_TEXTS_H

#include <stddef.h>

/* Zeroed before; texts_free() at the end. */
struct texts {
	char **items;
	size_t n;
};

/* Room for `size` bytes. */
char *texts_new(struct texts *t, size_t size);
/* A copy, with a NUL behind it. */
char *texts_copy(struct texts *t, const char *text, size_t len);
void texts_free(struct texts *t);

#endif

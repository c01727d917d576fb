/* SPDX-License-Identifier: Apache-2.0 */
#include "texts.h"

#include <stdlib.h>
#include <string.h>

#include "message.h"

char *texts_new(struct texts *t, size_t size)
{
	char *text = xrealloc(NULL, size, 1);

	t->items = xrealloc(t->items, t->n + 1, sizeof(t->items[0]));
	t->items[t->n++] = text;
	return text;
}

char *texts_copy(struct texts *t, const char *text, size_t len)
{
	char *copy = texts_new(t, len + 1);

	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

void texts_free(struct texts *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->items[i]);
	free(t->items);
}

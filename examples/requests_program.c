/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program like many: it takes long to start, then answers the lines on its standard input. It
 * knows nothing of virtual machines but the call that says when it has started, and which function
 * may be called from then on.
 */
#include <mayfly_program.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE 2000000u

static char *composite;

static const char *answer(const char *line)
{
	static char text[64];
	unsigned long n = strtoul(line, NULL, 10);

	if (n < 2 || n >= TABLE)
		snprintf(text, sizeof(text), "%lu is not in the table\n", n);
	else
		snprintf(text, sizeof(text), "%lu is %s\n", n,
			 composite[n] ? "composite" : "prime");
	return text;
}
MAYFLY_EXPORT(answer, string, string);

int main(void)
{
	char line[64];

	composite = calloc(TABLE, 1);
	if (!composite)
		return 1;
	for (unsigned long i = 2; i * i < TABLE; i++)
		for (unsigned long j = i * i; !composite[i] && j < TABLE; j += i)
			composite[j] = 1;
	mayfly_ready(NULL, NULL);
	while (fgets(line, sizeof(line), stdin)) {
		fputs(answer(line), stdout);
		fflush(stdout);
	}
	return 0;
}

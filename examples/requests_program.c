/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program like many: it takes long to start, then answers the lines on its standard input. It
 * knows nothing of virtual machines but the one call that says when it has started.
 */
#include <mayfly_program.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE 2000000u

int main(void)
{
	char *composite = calloc(TABLE, 1), line[64];

	if (!composite)
		return 1;
	for (unsigned long i = 2; i * i < TABLE; i++)
		for (unsigned long j = i * i; !composite[i] && j < TABLE; j += i)
			composite[j] = 1;
	mayfly_ready(NULL, NULL);
	while (fgets(line, sizeof(line), stdin)) {
		unsigned long n = strtoul(line, NULL, 10);

		if (n < 2 || n >= TABLE)
			printf("%lu is not in the table\n", n);
		else
			printf("%lu is %s\n", n, composite[n] ? "composite" : "prime");
		fflush(stdout);
	}
	return 0;
}

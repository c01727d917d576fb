/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In a Linux guest: Mayfly's ports (docs/kernels.md).
 *
 *   ports exit STATUS     ends the machine
 *   ports mark NUMBER     a point on the timeline
 *   ports snapshot        the mark that a snapshot can be taken at
 *   ports generation      prints the machine's generation, 32 hexadecimal digits
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>

#define PORT_EXIT 0xf4
#define PORT_MARK 0xf5
#define PORT_GENERATION 0x4d50

static int usage(void)
{
	fprintf(stderr, "usage: ports exit STATUS | mark NUMBER | snapshot | generation\n");
	return 2;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return usage();
	if (iopl(3) < 0) {
		perror("iopl");
		return 1;
	}
	if (!strcmp(argv[1], "exit") && argc == 3) {
		outl((unsigned)strtoul(argv[2], NULL, 0), PORT_EXIT);
	} else if (!strcmp(argv[1], "mark") && argc == 3) {
		outb((unsigned char)strtoul(argv[2], NULL, 0), PORT_MARK);
	} else if (!strcmp(argv[1], "snapshot") && argc == 2) {
		outb(0xff, PORT_MARK);
	} else if (!strcmp(argv[1], "generation") && argc == 2) {
		for (unsigned short i = 0; i < 16; i += 4)
			printf("%08x", inl((unsigned short)(PORT_GENERATION + i)));
		printf("\n");
	} else {
		return usage();
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests that boot Linux: Mayfly's ports (docs/kernels.md), in the guest; and, on the host,
 * the other end of a virtio console's port.
 *
 *   ports exit STATUS     ends the machine
 *   ports mark NUMBER     a point on the timeline
 *   ports snapshot        the mark that a snapshot can be taken at
 *   ports generation      prints the machine's generation, 32 hexadecimal digits
 *   ports talk PATH TEXT  sends a line to a Unix socket, and prints what comes, up to a line's end
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PORT_EXIT 0xf4
#define PORT_MARK 0xf5
#define PORT_GENERATION 0x4d50

static int usage(void)
{
	fprintf(stderr, "usage: ports exit STATUS | mark NUMBER | snapshot | generation | "
			"talk PATH TEXT\n");
	return 2;
}

static int talk(const char *path, const char *text)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char c = 0;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    dprintf(fd, "%s\n", text) < 0) {
		perror(path);
		return 1;
	}
	while (c != '\n' && read(fd, &c, 1) == 1)
		putchar(c);
	close(fd);
	return c == '\n' ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return usage();
	if (!strcmp(argv[1], "talk"))
		return argc == 4 ? talk(argv[2], argv[3]) : usage();
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly-unpack OFFSET LENGTH SIZE: the command's helper that takes the ELF file out of a Linux
 * kernel. Standard input is the kernel, of which LENGTH bytes at OFFSET are the packed file;
 * standard output a file of SIZE bytes, which are replaced. A program of its own, since the bytes
 * are hostile and the libraries large; it cannot open anything.
 *
 * Exit status: 0; 1: damaged, or of another size; 2: a method that is not known, whose name is
 * written to standard error if there is one; 3: anything else.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "unpack.h"

enum status { DONE, DAMAGED, UNKNOWN_METHOD, FAILED };

/* Enough for the largest dictionaries beside both files. */
#define MEMORY ((rlim_t)4 << 30)
#define SECONDS 60

static bool restrict_self(void)
{
	const struct rlimit none = {0, 0}, memory = {MEMORY, MEMORY}, time = {SECONDS, SECONDS};

	return setrlimit(RLIMIT_NOFILE, &none) == 0 && setrlimit(RLIMIT_CORE, &none) == 0 &&
	       setrlimit(RLIMIT_AS, &memory) == 0 && setrlimit(RLIMIT_CPU, &time) == 0;
}

/*
 * From here on memory, a word to standard error and the end; for anything else the kernel kills
 * the process. libseccomp sets no_new_privs, too.
 */
static bool allow_few_calls(void)
{
	static const int calls[] = {
		SCMP_SYS(brk),	   SCMP_SYS(mmap),  SCMP_SYS(munmap),	  SCMP_SYS(mremap),
		SCMP_SYS(madvise), SCMP_SYS(write), SCMP_SYS(exit_group),
	};
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	bool done = filter != NULL;

	for (size_t i = 0; done && i < sizeof(calls) / sizeof(calls[0]); i++)
		done = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0) == 0;
	done = done && seccomp_load(filter) == 0;
	seccomp_release(filter);
	return done;
}

static bool parse(const char *text, size_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno;
}

int main(int argc, char **argv)
{
	size_t offset, len, size, start;
	const char *method;
	uint8_t *from, *to;

	if (argc != 4 || !parse(argv[1], &offset) || !parse(argv[2], &len) ||
	    !parse(argv[3], &size) || len == 0 || size == 0) {
		fputs("usage: mayfly-unpack OFFSET LENGTH SIZE <KERNEL 1<>IMAGE\n", stderr);
		return FAILED;
	}
	start = offset & ((size_t)sysconf(_SC_PAGESIZE) - 1);
	from = mmap(NULL, start + len, PROT_READ, MAP_PRIVATE, STDIN_FILENO,
		    (off_t)(offset - start));
	to = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, STDOUT_FILENO, 0);
	if (from == MAP_FAILED || to == MAP_FAILED || !restrict_self() || !allow_few_calls())
		return FAILED;
	from += start;
	method = unpack_method(from, len);
	if (!method || !unpack_possible(method)) {
		if (method)
			fputs(method, stderr);
		return UNKNOWN_METHOD;
	}
	return unpack(from, len, to, size) ? DONE : DAMAGED;
}

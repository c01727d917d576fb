/* SPDX-License-Identifier: Apache-2.0 */
/* What a program finds when it starts: arguments, environment, auxiliary vector, descriptors. */
#include <fcntl.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "report.h"

extern char **environ;
static int constructed;
static __thread int thread_local_data = 77;
static __thread char thread_local_zero[100];

__attribute__((constructor)) static void construct(void)
{
	constructed = 5;
}

static void at_end(void)
{
	printf("at exit\n");
}

static void auxiliary(void)
{
	CHECK(getauxval(AT_PAGESZ) == 4096);
	CHECK(getauxval(AT_SECURE) == 0);
	CHECK(getauxval(AT_CLKTCK) == 100);
	CHECK(getauxval(AT_UID) == getuid() && getauxval(AT_EGID) == getegid());
	CHECK(getauxval(AT_RANDOM) && *(uint64_t *)getauxval(AT_RANDOM) != 0);
	CHECK(getauxval(AT_PHDR) && getauxval(AT_PHNUM) > 3 && getauxval(AT_ENTRY));
	CHECK(getauxval(AT_SYSINFO_EHDR) != 0);
	CHECK(getauxval(AT_HWCAP) != 0);
	CHECK(!strcmp((char *)getauxval(AT_PLATFORM), "x86_64"));
	printf("executed as %s\n", strrchr((char *)getauxval(AT_EXECFN), '/') + 1);
}

static void descriptors(void)
{
	struct stat info;

	for (int fd = 0; fd < 10; fd++)
		if (!fstat(fd, &info))
			printf("descriptor %d: flags %d\n", fd, fcntl(fd, F_GETFD));
	REPORT(open("/dev/null", O_RDWR));
	REPORT(dup(0));
}

int main(int argc, char **argv)
{
	struct utsname name;
	struct rlimit limit;
	uintptr_t stack = (uintptr_t)__builtin_frame_address(0);
	char title[16];

	atexit(at_end);
	printf("%d arguments:", argc);
	for (int i = 1; i < argc; i++)
		printf(" [%s]", argv[i]);
	printf("\n");
	for (char **e = environ; *e; e++)
		if (strncmp(*e, "HOME=", 5))
			printf("%s\n", *e);
	printf("%d %d %d\n", constructed, thread_local_data, thread_local_zero[99]);
	CHECK(stack % 16 == 0);
	CHECK(argv[argc] == NULL && (char **)environ == argv + argc + 1);
	auxiliary();
	descriptors();
	NEED(!uname(&name));
	printf("%s %s\n", name.sysname, name.machine);
	CHECK(getpid() == syscall(SYS_gettid) && getppid() != getpid());
	NEED(!getrlimit(RLIMIT_STACK, &limit));
	printf("stack: %lu\n", (unsigned long)limit.rlim_cur);
	NEED(!prctl(PR_GET_NAME, title));
	printf("name: %s\n", title);
	REPORT(syscall(10000));
	REPORT(syscall(-1));
	REPORT(syscall(SYS_getpid | 0x40000000));
	printf("the rest is buffered");
	return 23;
}

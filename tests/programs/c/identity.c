/* SPDX-License-Identifier: Apache-2.0 */
/* Who the process is, prctl(2), what it may not do, randomness: in what any user can see. */
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/membarrier.h>

#include "report.h"

static void ids(void)
{
	uid_t real, effective, saved;
	gid_t groups[64];

	CHECK(getuid() == geteuid());
	CHECK(getgid() == getegid());
	REPORT(getresuid(&real, &effective, &saved));
	CHECK(real == getuid() && effective == real && saved == real);
	REPORT(setuid(getuid()));
	REPORT(setgid(getgid()));
	REPORT(setreuid((uid_t)-1, getuid()));
	REPORT(setresgid(getgid(), (gid_t)-1, getgid()));
	REPORT(syscall(SYS_setuid, -1));
	REPORT(syscall(SYS_setgid, -1));
	CHECK((uid_t)syscall(SYS_setfsuid, -1) == getuid());
	CHECK(getgroups(0, NULL) >= 0);
	CHECK(getgroups(64, groups) >= 0);
	REPORT(syscall(SYS_getgroups, -1, groups));
	REPORT(syscall(SYS_getresuid, &real, &effective, 8));
}

static void processes(void)
{
	CHECK(getpid() > 0 && getppid() >= 0);
	CHECK(getpid() == (pid_t)syscall(SYS_gettid));
	CHECK(getpgrp() == getpgid(0));
	CHECK(getsid(0) >= 0);
	REPORT(getpgid(0x7ffffff0));
	REPORT(getsid(0x7ffffff0));
	REPORT(setpgid(0, -5));
	REPORT(setpgid(0x7ffffff0, 0));
	REPORT(wait4(-1, NULL, 0, NULL));
	REPORT(waitpid(0x7ffffff0, NULL, WNOHANG));
	REPORT(waitpid(-1, NULL, 0x10000));
	REPORT(waitid(P_ALL, 0, NULL, WEXITED));
	REPORT(waitid(P_ALL, 0, NULL, 0));
	REPORT(waitid(P_PID, 0, NULL, WEXITED));
	REPORT(waitid((idtype_t)77, 0, NULL, WEXITED));
	REPORT(kill(getpid(), 0));
	REPORT(kill(0x7ffffff0, 0));
	REPORT(kill(getpid(), 65));
}

static void system_(void)
{
	struct utsname name;

	REPORT(uname(&name));
	printf("%s %s\n", name.sysname, name.machine);
	CHECK(strlen(name.nodename) > 0 && strlen(name.release) > 3);
	REPORT(syscall(SYS_uname, 8));
	CHECK((personality(0xffffffff) & PER_MASK) == PER_LINUX);
	CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
	CHECK(sysconf(_SC_PHYS_PAGES) > 1000);
	REPORT(sysconf(_SC_PAGESIZE));
	REPORT(sysconf(_SC_CLK_TCK));
}

static void options(void)
{
	char name[16];
	int value = -1;

	REPORT(prctl(PR_SET_NAME, "a name that is longer than that"));
	REPORT(prctl(PR_GET_NAME, name));
	printf("name: %s\n", name);
	REPORT(prctl(PR_SET_NAME, 8));
	REPORT(prctl(PR_SET_PDEATHSIG, SIGUSR1));
	REPORT(prctl(PR_GET_PDEATHSIG, &value));
	CHECK(value == SIGUSR1);
	REPORT(prctl(PR_SET_PDEATHSIG, 100));
	REPORT(prctl(PR_SET_PDEATHSIG, 0));
	REPORT(prctl(PR_GET_DUMPABLE));
	REPORT(prctl(PR_SET_DUMPABLE, 0));
	REPORT(prctl(PR_GET_DUMPABLE));
	REPORT(prctl(PR_SET_DUMPABLE, 7));
	REPORT(prctl(PR_SET_KEEPCAPS, 1));
	REPORT(prctl(PR_GET_KEEPCAPS));
	REPORT(prctl(PR_SET_KEEPCAPS, 2));
	REPORT(prctl(PR_GET_TIMERSLACK));
	REPORT(prctl(PR_SET_TIMERSLACK, 1234));
	REPORT(prctl(PR_GET_TIMERSLACK));
	REPORT(prctl(PR_SET_TIMERSLACK, 0));
	REPORT(prctl(PR_GET_TIMERSLACK));
	REPORT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	REPORT(prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0));
	REPORT(prctl(PR_SET_NO_NEW_PRIVS, 2, 0, 0, 0));
	REPORT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	REPORT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	REPORT(prctl(PR_SET_CHILD_SUBREAPER, 1));
	REPORT(prctl(PR_GET_CHILD_SUBREAPER, &value));
	CHECK(value == 1);
	REPORT(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
	REPORT(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
	REPORT(prctl(PR_SET_THP_DISABLE, 0, 1, 0, 0));
	REPORT(prctl(PR_GET_TSC, &value));
	CHECK(value == PR_TSC_ENABLE);
	REPORT(prctl(PR_CAPBSET_READ, 1000));
	REPORT(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 0, 0, 0));
	REPORT(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	REPORT(prctl(PR_CAP_AMBIENT, 55, 0, 0, 0));
	REPORT(prctl(123456));
}

static void capabilities(void)
{
	struct __user_cap_header_struct header = {7, 0};
	struct __user_cap_data_struct data[2];

	REPORT(syscall(SYS_capget, &header, NULL));
	printf("version: %x\n", header.version);
	header.version = 7;
	REPORT(syscall(SYS_capget, &header, data));
	REPORT(syscall(SYS_capget, &header, data));
	header.pid = 0x7ffffff0;
	REPORT(syscall(SYS_capget, &header, data));
	header.pid = -1;
	REPORT(syscall(SYS_capget, &header, data));
	REPORT(syscall(SYS_capget, 8, NULL));
}

static void randomness(void)
{
	static unsigned char big[1 << 20];
	unsigned char a[16], b[16];
	size_t zeros = 0;

	REPORT(getrandom(a, sizeof(a), 0));
	REPORT(getrandom(b, sizeof(b), GRND_NONBLOCK));
	CHECK(memcmp(a, b, sizeof(a)) != 0);
	REPORT(getrandom(a, 0, 0));
	REPORT(getrandom(a, 1, 0x80));
	REPORT(getrandom(a, 1, GRND_RANDOM | 4));
	REPORT(syscall(SYS_getrandom, 8, 16, 0));
	CHECK(getrandom(big, sizeof(big), 0) == sizeof(big));
	for (size_t i = 0; i < sizeof(big); i++)
		zeros += big[i] == 0;
	CHECK(zeros > 3000 && zeros < 5200);
}

static void barriers(void)
{
	long offered = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	CHECK(offered > 0 && offered & MEMBARRIER_CMD_PRIVATE_EXPEDITED);
	REPORT(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
	REPORT(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
	REPORT(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0));
	REPORT(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 8, 0));
	REPORT(syscall(SYS_membarrier, 3, 0, 0));
}

int main(void)
{
	ids();
	processes();
	system_();
	options();
	capabilities();
	randomness();
	barriers();
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits that are lowered, usage, priorities, scheduling, CPUs. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

#define GONE 0x7ffffff0 /* no process of that number */

static int set(int resource, rlim_t soft, rlim_t hard)
{
	struct rlimit limit = {soft, hard};

	return setrlimit(resource, &limit);
}

static void descriptors(void)
{
	struct rlimit limit;
	int fd, opened = 0;

	REPORT(getrlimit(RLIMIT_NOFILE, &limit));
	CHECK(limit.rlim_cur <= limit.rlim_max && limit.rlim_cur > 20);
	REPORT(set(RLIMIT_NOFILE, 10, limit.rlim_max));
	while ((fd = open("/dev/null", O_RDONLY)) >= 0)
		opened = fd;
	printf("open: up to %d, then %s\n", opened, error_name(errno));
	REPORT(dup(0));
	REPORT(dup2(0, 10));
	REPORT(fcntl(0, F_DUPFD, 10));
	REPORT(fcntl(0, F_DUPFD, 9));
	for (fd = 3; fd <= opened; fd++)
		close(fd);
	REPORT(set(RLIMIT_NOFILE, limit.rlim_max, limit.rlim_max));
	REPORT(dup2(0, 15));
	REPORT(close(15));
}

static void file_size(void)
{
	int fd = open("limited", O_RDWR | O_CREAT | O_TRUNC, 0644);
	struct rlimit limit;

	NEED(fd >= 0);
	REPORT(set(RLIMIT_FSIZE, 1 << 20, RLIM_INFINITY));
	REPORT(getrlimit(RLIMIT_FSIZE, &limit));
	printf("file size: %ld\n", (long)limit.rlim_cur);
	REPORT(pwrite(fd, "1234", 4, (1 << 20) - 2));
	REPORT(lseek(fd, 0, SEEK_END));
	REPORT(set(RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY));
	close(fd);
	unlink("limited");
}

static void rules(void)
{
	struct rlimit limit = {0, 0};

	REPORT(set(RLIMIT_CORE, 1, 0));
	REPORT(set(RLIMIT_CORE, 0, 0));
	REPORT(getrlimit(RLIMIT_CORE, &limit));
	printf("core: %ld %ld\n", (long)limit.rlim_cur, (long)limit.rlim_max);
	REPORT(getrlimit((enum __rlimit_resource)16, &limit));
	REPORT(set(16, 0, 0));
	REPORT(syscall(SYS_prlimit64, GONE, RLIMIT_CORE, NULL, &limit));
	REPORT(syscall(SYS_prlimit64, 0, 16, NULL, &limit));
	REPORT(syscall(SYS_prlimit64, 0, -1, NULL, &limit));
	REPORT(syscall(SYS_prlimit64, 0, RLIMIT_CORE, 8, NULL));
	REPORT(syscall(SYS_prlimit64, 0, RLIMIT_CORE, NULL, 8));
	REPORT(syscall(SYS_prlimit64, getpid(), RLIMIT_CORE, NULL, NULL));
	REPORT(getrlimit(RLIMIT_STACK, &limit));
	CHECK(limit.rlim_cur >= 1 << 20);
}

static long used_ms(int who)
{
	struct rusage usage;

	NEED(!getrusage(who, &usage));
	return usage.ru_utime.tv_sec * 1000 + usage.ru_utime.tv_usec / 1000 +
	       usage.ru_stime.tv_sec * 1000 + usage.ru_stime.tv_usec / 1000;
}

static void usage(void)
{
	long before = used_ms(RUSAGE_SELF), thread = used_ms(RUSAGE_THREAD);
	clock_t ticks = times(NULL);
	struct timespec end;
	struct rusage all;
	struct tms tms;

	do {
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	} while (end.tv_sec * 1000 + end.tv_nsec / 1000000 < before + 150);
	CHECK(used_ms(RUSAGE_SELF) >= before + 140);
	CHECK(used_ms(RUSAGE_THREAD) >= thread + 140);
	CHECK(times(&tms) >= ticks + 13);
	CHECK(tms.tms_utime + tms.tms_stime >= 13);
	CHECK(used_ms(RUSAGE_SELF) < 60000);
	printf("children: %ld\n", used_ms(RUSAGE_CHILDREN));
	NEED(!getrusage(RUSAGE_SELF, &all));
	CHECK(all.ru_maxrss > 0);
	REPORT(syscall(SYS_getrusage, 5, &all));
	REPORT(syscall(SYS_getrusage, 0, 8));
	REPORT(syscall(SYS_times, 8));
}

static void memory(void)
{
	struct sysinfo info;

	REPORT(sysinfo(&info));
	CHECK(info.totalram * info.mem_unit >= 1 << 20);
	CHECK(info.freeram <= info.totalram);
	CHECK(info.procs >= 1);
	REPORT(syscall(SYS_sysinfo, 8));
}

static void priorities(void)
{
	CHECK(getpriority(PRIO_PROCESS, 0) < 15);
	REPORT(setpriority(PRIO_PROCESS, 0, 15));
	REPORT(getpriority(PRIO_PROCESS, 0));
	REPORT(getpriority(PRIO_PROCESS, getpid()));
	REPORT(setpriority(PRIO_PROCESS, 0, 1000));
	REPORT(getpriority(PRIO_PROCESS, 0));
	REPORT(syscall(SYS_getpriority, PRIO_PROCESS, 0));
	REPORT(getpriority(PRIO_PROCESS, GONE));
	REPORT(setpriority(7, 0, 0));
	REPORT(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6));
	REPORT(syscall(SYS_ioprio_get, 1, 0));
	REPORT(syscall(SYS_ioprio_set, 1, 0, 7 << 13));
	REPORT(syscall(SYS_ioprio_get, 9, 0));
}

static void policies(void)
{
	struct sched_param param = {0};
	struct timespec interval;
	char attr[100] = {0};

	REPORT(sched_getscheduler(0));
	REPORT(sched_getparam(0, &param));
	printf("priority: %d\n", param.sched_priority);
	REPORT(sched_setscheduler(0, SCHED_BATCH, &param));
	REPORT(sched_getscheduler(0));
	param.sched_priority = 1;
	REPORT(sched_setscheduler(0, SCHED_OTHER, &param));
	REPORT(sched_setparam(0, &param));
	REPORT(sched_setscheduler(0, 1234, &param));
	REPORT(sched_getscheduler(-1));
	REPORT(sched_getscheduler(GONE));
	REPORT(sched_get_priority_max(SCHED_FIFO));
	REPORT(sched_get_priority_min(SCHED_FIFO));
	REPORT(sched_get_priority_max(SCHED_OTHER));
	REPORT(sched_get_priority_min(99));
	REPORT(sched_rr_get_interval(0, &interval));
	REPORT(sched_rr_get_interval(-4, &interval));
	REPORT(sched_yield());
	REPORT(syscall(SYS_sched_getattr, 0, attr, sizeof(attr), 0));
	printf("attributes: %d bytes\n", *(int *)(void *)attr);
	REPORT(syscall(SYS_sched_getattr, 0, attr, 47, 0));
	REPORT(syscall(SYS_sched_getattr, 0, attr, 48, 1));
	*(int *)(void *)attr = 20;
	REPORT(syscall(SYS_sched_setattr, 0, attr, 0));
	*(int *)(void *)attr = 90;
	attr[80] = 1;
	REPORT(syscall(SYS_sched_setattr, 0, attr, 0));
}

static void cpus(void)
{
	cpu_set_t all, one, back;
	unsigned cpu = 99, node = 99;
	int first = 0;

	CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
	CHECK(CPU_COUNT(&all) >= 1);
	CHECK(sysconf(_SC_NPROCESSORS_ONLN) >= 1);
	while (!CPU_ISSET(first, &all))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	REPORT(sched_setaffinity(0, sizeof(one), &one));
	REPORT(sched_getaffinity(0, sizeof(back), &back));
	CHECK(CPU_EQUAL(&one, &back));
	REPORT(syscall(SYS_getcpu, &cpu, &node, NULL));
	CHECK((int)cpu == first);
	CHECK(sched_getcpu() == first);
	CPU_ZERO(&one);
	REPORT(sched_setaffinity(0, sizeof(one), &one));
	REPORT(syscall(SYS_sched_getaffinity, 0, 1, &back));
	REPORT(syscall(SYS_sched_getaffinity, GONE, 128, &back));
	REPORT(syscall(SYS_sched_setaffinity, 0, 8, 8));
	REPORT(sched_setaffinity(0, sizeof(all), &all));
}

int main(void)
{
	descriptors();
	file_size();
	rules();
	usage();
	memory();
	priorities();
	policies();
	cpus();
	return 0;
}

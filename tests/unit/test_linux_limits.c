/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits, usage, priorities, scheduling: what is told, what can be lowered. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/times.h>

#include "linux_fixture.h"

static struct process *p;
static struct task *t;

static int set_up(void **state)
{
	(void)state;
	p = fake_process_new();
	t = p->tasks;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_process_free(p);
	return 0;
}

#define SYS(name, ...) sys_##name(t, (const uint64_t[6]){__VA_ARGS__})
#define NEG(n) ((uint64_t)(int64_t)(n))

/* --- Limits ------------------------------------------------------------------------------- */

static struct rlimit limit_of(int resource)
{
	const struct rlimit *limit = fake_memory(p, 0);

	assert_int_equal(SYS(prlimit64, 0, (uint64_t)resource, 0, FAKE_VA), 0);
	return *limit;
}

static int64_t set_limit(int resource, rlim_t soft, rlim_t hard)
{
	struct rlimit *limit = fake_memory(p, 0);

	*limit = (struct rlimit){soft, hard};
	return SYS(prlimit64, 0, (uint64_t)resource, FAKE_VA, 0);
}

static void limits_tell_what_the_caller_gave(void **state)
{
	(void)state;
	assert_int_equal(limit_of(RLIMIT_NOFILE).rlim_cur, 64);
	assert_int_equal(limit_of(RLIMIT_NOFILE).rlim_max, 64);
	assert_int_equal(limit_of(RLIMIT_NPROC).rlim_max, 16);
	assert_int_equal(limit_of(RLIMIT_DATA).rlim_max, 64 << 20);
	assert_int_equal(limit_of(RLIMIT_STACK).rlim_cur, 8 << 20);
	assert_int_equal(limit_of(RLIMIT_CORE).rlim_max, 0);
	assert_int_equal(limit_of(RLIMIT_FSIZE).rlim_max, RLIM_INFINITY);
	assert_int_equal(limit_of(RLIMIT_CPU).rlim_max, RLIM_INFINITY);
	p->cpu_limit_ns = 1500000000;
	limits_init(p);
	assert_int_equal(limit_of(RLIMIT_CPU).rlim_cur, 2);
}

static void limits_can_be_lowered_and_soft_ones_raised_again(void **state)
{
	(void)state;
	assert_int_equal(set_limit(RLIMIT_FSIZE, 100, 1000), 0);
	assert_int_equal(limits_soft(p, RLIMIT_FSIZE), 100);
	assert_int_equal(set_limit(RLIMIT_FSIZE, 1000, 1000), 0);
	assert_int_equal(limits_soft(p, RLIMIT_FSIZE), 1000);
	assert_int_equal(set_limit(RLIMIT_FSIZE, 10, 1001), -EPERM);
	assert_int_equal(set_limit(RLIMIT_FSIZE, 1001, 1000), -EINVAL);
	assert_int_equal(limit_of(RLIMIT_FSIZE).rlim_cur, 1000);
}

static void fewer_descriptors_take_effect(void **state)
{
	(void)state;
	assert_int_equal(set_limit(RLIMIT_NOFILE, 3, 64), 0);
	for (int i = 0; i < 4; i++) {
		struct file *file = file_new(FILE_DEVICE, open("/dev/null", O_RDWR | O_CLOEXEC),
					     O_RDWR, "/dev/null");

		assert_non_null(file);
		assert_int_equal(files_install(&p->files, file, 0, false), i < 3 ? i : -EMFILE);
	}
	assert_int_equal(set_limit(RLIMIT_NOFILE, 65, 65), -EPERM);
}

static void fewer_threads_and_less_memory_take_effect(void **state)
{
	(void)state;
	assert_int_equal(set_limit(RLIMIT_NPROC, 2, 16), 0);
	assert_int_equal(p->max_tasks, 2);
	assert_int_equal(set_limit(RLIMIT_NPROC, 16, 16), 0);
	assert_int_equal(p->max_tasks, 16);
	assert_int_equal(set_limit(RLIMIT_AS, 1 << 20, RLIM_INFINITY), 0);
	assert_true(mm_charge(&p->mm, 1 << 20));
	assert_false(mm_charge(&p->mm, 4096));
	assert_int_equal(set_limit(RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY), 0);
	assert_int_equal(p->mm.limit, 64 << 20);
}

static void prlimit_is_for_the_process_itself(void **state)
{
	(void)state;
	fake_task(p, 1001);
	assert_int_equal(SYS(prlimit64, PROCESS_PID, RLIMIT_CORE, 0, FAKE_VA), 0);
	assert_int_equal(SYS(prlimit64, 1001, RLIMIT_CORE, 0, FAKE_VA), 0);
	assert_int_equal(SYS(prlimit64, 1, RLIMIT_CORE, 0, FAKE_VA), -ESRCH);
	assert_int_equal(SYS(prlimit64, 0, RLIM_NLIMITS, 0, FAKE_VA), -EINVAL);
	assert_int_equal(SYS(prlimit64, 0, UINT64_MAX, 0, FAKE_VA), -EINVAL);
	assert_int_equal(SYS(prlimit64, 0, RLIMIT_CORE, FAKE_WILD, 0), -EFAULT);
	assert_int_equal(SYS(prlimit64, 0, RLIMIT_CORE, 0, FAKE_WILD), -EFAULT);
	assert_int_equal(SYS(prlimit64, 0, RLIMIT_CORE, 0, 0), 0);
}

static void the_old_calls_do_the_same(void **state)
{
	struct rlimit *limit = fake_memory(p, 0);

	(void)state;
	assert_int_equal(SYS(getrlimit, RLIMIT_NOFILE, FAKE_VA), 0);
	assert_int_equal(limit->rlim_cur, 64);
	limit->rlim_cur = 32;
	assert_int_equal(SYS(setrlimit, RLIMIT_NOFILE, FAKE_VA), 0);
	assert_int_equal(limits_soft(p, RLIMIT_NOFILE), 32);
	assert_int_equal(SYS(getrlimit, 16, FAKE_VA), -EINVAL);
	assert_int_equal(SYS(setrlimit, 16, FAKE_VA), -EINVAL);
	assert_int_equal(SYS(setrlimit, 16, FAKE_WILD), -EFAULT);
	assert_int_equal(SYS(getrlimit, RLIMIT_NOFILE, FAKE_WILD), -EFAULT);
}

/* --- Usage -------------------------------------------------------------------------------- */

static void cpu_time_is_the_process_s(void **state)
{
	const struct rusage *usage = fake_memory(p, 0);
	const struct tms *times = fake_memory(p, 512);

	(void)state;
	p->ended_cpu_ns = 2345678901;
	p->mm.peak = 5 << 20;
	assert_int_equal(SYS(getrusage, RUSAGE_SELF, FAKE_VA), 0);
	assert_int_equal(usage->ru_utime.tv_sec * 1000000 + usage->ru_utime.tv_usec +
				 usage->ru_stime.tv_sec * 1000000 + usage->ru_stime.tv_usec,
			 2345678);
	assert_int_equal(usage->ru_maxrss, 5 << 10);
	assert_true(SYS(times, FAKE_VA + 512) >= 0);
	assert_in_range(times->tms_utime + times->tms_stime, 233, 234);
	assert_int_equal(SYS(getrusage, NEG(RUSAGE_CHILDREN), FAKE_VA), 0);
	assert_int_equal(usage->ru_utime.tv_sec, 0);
	assert_int_equal(SYS(getrusage, 2, FAKE_VA), -EINVAL);
	assert_int_equal(SYS(getrusage, RUSAGE_SELF, FAKE_WILD), -EFAULT);
	assert_int_equal(SYS(times, FAKE_WILD), -EFAULT);
}

static void the_machine_is_as_large_as_the_limit(void **state)
{
	const struct sysinfo *info = fake_memory(p, 0);

	(void)state;
	assert_true(mm_charge(&p->mm, 1 << 20));
	fake_task(p, 1001);
	assert_int_equal(SYS(sysinfo, FAKE_VA), 0);
	assert_int_equal(info->totalram, 64 << 20);
	assert_int_equal(info->freeram, 63 << 20);
	assert_int_equal(info->mem_unit, 1);
	assert_int_equal(info->procs, 2);
	assert_int_equal(SYS(sysinfo, FAKE_WILD), -EFAULT);
}

/* --- Priorities --------------------------------------------------------------------------- */

static void nice_values_can_only_rise(void **state)
{
	(void)state;
	fake_task(p, 1001);
	assert_int_equal(SYS(getpriority, PRIO_PROCESS, 0), 20);
	assert_int_equal(SYS(setpriority, PRIO_PROCESS, 0, 5), 0);
	assert_int_equal(SYS(getpriority, PRIO_PROCESS, PROCESS_PID), 15);
	assert_int_equal(SYS(getpriority, PRIO_PROCESS, 1001), 20);
	assert_int_equal(SYS(getpriority, PRIO_PGRP, 0), 20);
	assert_int_equal(SYS(setpriority, PRIO_PROCESS, 0, 4), -EACCES);
	assert_int_equal(SYS(setpriority, PRIO_USER, 0, 100), 0);
	assert_int_equal(SYS(getpriority, PRIO_USER, 1000), 1);
	assert_int_equal(SYS(getpriority, PRIO_PROCESS, 7), -ESRCH);
	assert_int_equal(SYS(getpriority, 3, 0), -EINVAL);
}

static void io_priorities_are_kept(void **state)
{
	(void)state;
	assert_int_equal(SYS(ioprio_get, 1, 0), 4);
	assert_int_equal(SYS(ioprio_set, 1, 0, 2 << 13 | 7), 0);
	assert_int_equal(SYS(ioprio_get, 1, 0), 2 << 13 | 7);
	assert_int_equal(SYS(ioprio_set, 1, 0, 2 << 13 | 8), -EINVAL);
	assert_int_equal(SYS(ioprio_set, 1, 0, 1 << 13), -EPERM);
	assert_int_equal(SYS(ioprio_set, 1, 0, 4 << 13), -EINVAL);
	assert_int_equal(SYS(ioprio_set, 0, 0, 0), -EINVAL);
	assert_int_equal(SYS(ioprio_get, 1, 99), -ESRCH);
}

/* --- CPUs --------------------------------------------------------------------------------- */

static void there_are_no_more_cpus_than_threads_to_use_them(void **state)
{
	uint32_t all = sched_count_cpus(UINT32_MAX);

	(void)state;
	assert_in_range(all, 1, 64);
	assert_int_equal(sched_count_cpus(0), 1);
	assert_int_equal(sched_count_cpus(4), 1);
	assert_in_range(sched_count_cpus(8), 1, 2);
	assert_true(sched_count_cpus(64) <= all);
}

static void affinity_is_kept_within_the_cpus(void **state)
{
	uint64_t *mask = fake_memory(p, 0);

	(void)state;
	p->cpus = 4;
	assert_int_equal(SYS(sched_getaffinity, 0, 128, FAKE_VA), 8);
	assert_int_equal(*mask, 15);
	*mask = 0xf0 | 6;
	assert_int_equal(SYS(sched_setaffinity, 0, 8, FAKE_VA), 0);
	assert_int_equal(SYS(sched_getaffinity, PROCESS_PID, 8, FAKE_VA), 8);
	assert_int_equal(*mask, 6);
	*mask = 0xf0;
	assert_int_equal(SYS(sched_setaffinity, 0, 8, FAKE_VA), -EINVAL);
	assert_int_equal(SYS(sched_setaffinity, 0, 0, FAKE_VA), -EINVAL);
	*mask = 2;
	assert_int_equal(SYS(sched_setaffinity, 0, 1, FAKE_VA), 0);
	assert_int_equal(SYS(sched_setaffinity, 99, 8, FAKE_VA), -ESRCH);
	assert_int_equal(SYS(sched_setaffinity, 0, 8, FAKE_WILD), -EFAULT);
	assert_int_equal(SYS(sched_getaffinity, 0, 4, FAKE_VA), -EINVAL);
	assert_int_equal(SYS(sched_getaffinity, 0, 12, FAKE_VA), -EINVAL);
	assert_int_equal(SYS(sched_getaffinity, 99, 8, FAKE_VA), -ESRCH);
}

static void a_task_runs_on_a_cpu_of_its_own(void **state)
{
	const uint32_t *cpu = fake_memory(p, 0), *node = fake_memory(p, 4);

	(void)state;
	p->cpus = 4;
	t->vcpu_number = 6;
	assert_int_equal(SYS(getcpu, FAKE_VA, FAKE_VA + 4, 0), 0);
	assert_int_equal(*cpu, 2);
	assert_int_equal(*node, 0);
	t->attr.affinity = 0xa;
	t->vcpu_number = 5;
	assert_int_equal(SYS(getcpu, FAKE_VA, 0, 0), 0);
	assert_int_equal(*cpu, 3);
	assert_int_equal(SYS(getcpu, FAKE_WILD, 0, 0), -EFAULT);
	assert_int_equal(SYS(getcpu, 0, 0, 0), 0);
}

/* --- Policies ----------------------------------------------------------------------------- */

static int64_t set_policy(int policy, int priority)
{
	*(int *)fake_memory(p, 0) = priority;
	return SYS(sched_setscheduler, 0, (uint64_t)policy, FAKE_VA);
}

static void only_fair_policies_can_be_had(void **state)
{
	(void)state;
	assert_int_equal(SYS(sched_getscheduler, 0), SCHED_OTHER);
	assert_int_equal(set_policy(SCHED_BATCH, 0), 0);
	assert_int_equal(SYS(sched_getscheduler, 0), SCHED_BATCH);
	assert_int_equal(set_policy(SCHED_BATCH, 1), -EINVAL);
	assert_int_equal(set_policy(SCHED_FIFO, 1), -EPERM);
	assert_int_equal(set_policy(SCHED_RR, 0), -EINVAL);
	assert_int_equal(set_policy(4, 0), -EINVAL);
	assert_int_equal(set_policy(SCHED_IDLE, 0), 0);
	assert_int_equal(set_policy(SCHED_OTHER, 0), -EPERM);
	assert_int_equal(SYS(sched_setscheduler, 0, SCHED_OTHER, 0), -EINVAL);
	assert_int_equal(SYS(sched_setscheduler, 0, SCHED_OTHER, FAKE_WILD), -EFAULT);
	assert_int_equal(SYS(sched_getscheduler, NEG(-1)), -EINVAL);
	assert_int_equal(SYS(sched_getscheduler, 99), -ESRCH);
}

static void reset_on_fork_stays(void **state)
{
	(void)state;
	assert_int_equal(set_policy(SCHED_OTHER | SCHED_RESET_ON_FORK, 0), 0);
	assert_int_equal(SYS(sched_getscheduler, 0), SCHED_OTHER | SCHED_RESET_ON_FORK);
	assert_int_equal(set_policy(SCHED_OTHER, 0), -EPERM);
}

static void priorities_have_bounds(void **state)
{
	(void)state;
	assert_int_equal(SYS(sched_get_priority_max, SCHED_FIFO), 99);
	assert_int_equal(SYS(sched_get_priority_min, SCHED_RR), 1);
	assert_int_equal(SYS(sched_get_priority_max, SCHED_OTHER), 0);
	assert_int_equal(SYS(sched_get_priority_max, 77), -EINVAL);
	assert_int_equal(SYS(sched_getparam, 0, FAKE_VA), 0);
	assert_int_equal(SYS(sched_getparam, 0, 0), -EINVAL);
	*(int *)fake_memory(p, 0) = 1;
	assert_int_equal(SYS(sched_setparam, 0, FAKE_VA), -EINVAL);
	assert_int_equal(SYS(sched_rr_get_interval, 0, FAKE_VA), 0);
}

static void attributes_are_of_any_size(void **state)
{
	uint32_t *attr = fake_memory(p, 0);

	(void)state;
	assert_int_equal(SYS(sched_getattr, 0, FAKE_VA, 48, 0), 0);
	assert_int_equal(attr[0], 48);
	assert_int_equal(SYS(sched_getattr, 0, FAKE_VA, 4096, 0), 0);
	assert_int_equal(attr[0], 56);
	assert_int_equal(SYS(sched_getattr, 0, FAKE_VA, 47, 0), -EINVAL);
	assert_int_equal(SYS(sched_getattr, 0, FAKE_VA, 4097, 0), -EINVAL);
	attr[4] = 3; /* nice */
	attr[0] = 0;
	assert_int_equal(SYS(sched_setattr, 0, FAKE_VA, 0), 0);
	assert_int_equal(t->attr.nice, 3);
	attr[0] = 100;
	assert_int_equal(SYS(sched_setattr, 0, FAKE_VA, 0), 0);
	attr[0] = 100;
	attr[20] = 1;
	assert_int_equal(SYS(sched_setattr, 0, FAKE_VA, 0), -E2BIG);
	assert_int_equal(attr[0], 56);
	attr[0] = 40;
	assert_int_equal(SYS(sched_setattr, 0, FAKE_VA, 0), -E2BIG);
	attr[0] = 48;
	attr[4] = 2;
	assert_int_equal(SYS(sched_setattr, 0, FAKE_VA, 0), -EPERM);
	attr[1] = SCHED_FIFO;
	attr[5] = 10;
	assert_int_equal(SYS(sched_setattr, 0, FAKE_VA, 0), -EPERM);
	assert_int_equal(SYS(sched_setattr, 0, FAKE_WILD, 0), -EFAULT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(limits_tell_what_the_caller_gave),
		TEST(limits_can_be_lowered_and_soft_ones_raised_again),
		TEST(fewer_descriptors_take_effect),
		TEST(fewer_threads_and_less_memory_take_effect),
		TEST(prlimit_is_for_the_process_itself),
		TEST(the_old_calls_do_the_same),
		TEST(cpu_time_is_the_process_s),
		TEST(the_machine_is_as_large_as_the_limit),
		TEST(nice_values_can_only_rise),
		TEST(io_priorities_are_kept),
		TEST(there_are_no_more_cpus_than_threads_to_use_them),
		TEST(affinity_is_kept_within_the_cpus),
		TEST(a_task_runs_on_a_cpu_of_its_own),
		TEST(only_fair_policies_can_be_had),
		TEST(reset_on_fork_stays),
		TEST(priorities_have_bounds),
		TEST(attributes_are_of_any_size),
	};

	return cmocka_run_group_tests_name("linux_limits", tests, NULL, NULL);
}

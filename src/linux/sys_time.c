/* SPDX-License-Identifier: Apache-2.0 */
/* System calls that tell the time or wait for it, and CPU time. */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/timex.h>

#include "linux/process.h"
#include "linux/times.h"

/* --- CPU time ----------------------------------------------------------------------------- */

/* What a CPU clock of the host says; its kernel's CPUCLOCK_VIRT is the same without stime. */
static int64_t cpu_clock_ns(clockid_t id, bool user)
{
	if (user)
		id = (clockid_t)(((unsigned)id & ~CPU_CLOCK_MASK) | CPU_CLOCK_VIRTUAL);
	return (int64_t)clock_read(id);
}

void task_cpu_attach(struct task *t)
{
	struct process *p = t->process;
	clockid_t id;

	if (pthread_getcpuclockid(pthread_self(), &id))
		return;
	pthread_mutex_lock(&p->tasks_lock);
	t->cpu_clock = id;
	t->cpu_offset -= cpu_clock_ns(id, false);
	t->cpu_user_offset -= cpu_clock_ns(id, true);
	pthread_mutex_unlock(&p->tasks_lock);
}

static void detach(struct task *t)
{
	if (!t->cpu_clock)
		return;
	t->cpu_offset += cpu_clock_ns(t->cpu_clock, false);
	t->cpu_user_offset += cpu_clock_ns(t->cpu_clock, true);
	t->cpu_clock = 0;
}

void task_cpu_detach(struct task *t)
{
	pthread_mutex_lock(&t->process->tasks_lock);
	detach(t);
	pthread_mutex_unlock(&t->process->tasks_lock);
}

void task_cpu_end(struct task *t)
{
	detach(t);
	t->process->ended_cpu_ns += task_cpu_ns(t, false);
	t->process->ended_user_ns += task_cpu_ns(t, true);
	t->cpu_offset = t->cpu_user_offset = 0;
}

uint64_t task_cpu_ns(const struct task *t, bool user)
{
	int64_t ns = user ? t->cpu_user_offset : t->cpu_offset;

	/* Clock id 0 is CLOCK_REALTIME: no CPU clock has it. */
	if (t->cpu_clock)
		ns += cpu_clock_ns(t->cpu_clock, user);
	return ns > 0 ? (uint64_t)ns : 0;
}

uint64_t process_cpu_ns(struct process *p, bool user)
{
	uint64_t ns;

	pthread_mutex_lock(&p->tasks_lock);
	ns = user ? p->ended_user_ns : p->ended_cpu_ns;
	for (const struct task *t = p->tasks; t; t = t->next)
		ns += task_cpu_ns(t, user);
	pthread_mutex_unlock(&p->tasks_lock);
	return ns;
}

/*
 * A clock of CPU time by the kernel's encoding (linux/posix-timers.h): ~pid << 3, thread or
 * process, which of its clocks; pid 0: the caller's.
 */
bool cpu_clock_decode(struct task *t, clockid_t id, struct cpu_clock *clock)
{
	int pid;

	if (id == CLOCK_PROCESS_CPUTIME_ID || id == CLOCK_THREAD_CPUTIME_ID) {
		*clock = (struct cpu_clock){
			.tid = id == CLOCK_THREAD_CPUTIME_ID ? t->tid : 0,
		};
		return true;
	}
	if (id >= 0 || ((unsigned)id & CPU_CLOCK_MASK) == CPU_CLOCK_FD)
		return false;
	pid = ~(id >> 3);
	clock->user = ((unsigned)id & CPU_CLOCK_MASK) == CPU_CLOCK_VIRTUAL;
	if (((unsigned)id & CPU_CLOCK_THREAD) == 0) {
		clock->tid = 0;
		return pid == 0 || pid == PROCESS_PID;
	}
	clock->tid = pid ? pid : t->tid;
	return process_has_task(t->process, clock->tid);
}

uint64_t cpu_clock_read(struct process *p, const struct cpu_clock *clock)
{
	struct task *t;
	uint64_t ns = 0;

	if (!clock->tid)
		return process_cpu_ns(p, clock->user);
	pthread_mutex_lock(&p->tasks_lock);
	t = process_task(p, clock->tid);
	if (t)
		ns = task_cpu_ns(t, clock->user);
	pthread_mutex_unlock(&p->tasks_lock);
	return ns;
}

/* --- Telling ------------------------------------------------------------------------------ */

int64_t sys_clock_gettime(struct task *t, const uint64_t a[6])
{
	clockid_t id = (clockid_t)a[0];
	struct cpu_clock cpu;
	struct timespec time;

	if (cpu_clock_decode(t, id, &cpu))
		time = clock_timespec(cpu_clock_read(t->process, &cpu));
	else if (!vdso_clock_gettime(&t->process->clock, id, &time))
		return -EINVAL;
	return mm_put(&t->process->mm, a[1], &time) < 0 ? -EFAULT : 0;
}

int64_t sys_clock_getres(struct task *t, const uint64_t a[6])
{
	clockid_t id = (clockid_t)a[0];
	struct timespec time;
	struct cpu_clock cpu;

	/* Those that count by ticks tell how long these are: the same for all. */
	if (cpu_clock_decode(t, id, &cpu))
		id = id < 0 ? (clockid_t)(((unsigned)id & CPU_CLOCK_MASK) | ~7u) : id;
	else if (id < 0)
		return -EINVAL;
	if (clock_getres(id, &time) < 0)
		return -EINVAL;
	return a[1] && mm_put(&t->process->mm, a[1], &time) < 0 ? -EFAULT : 0;
}

/* The host's clock is not the guest's to set. */
int64_t sys_clock_settime(struct task *t, const uint64_t a[6])
{
	struct timespec time;

	if ((clockid_t)a[0] != CLOCK_REALTIME)
		return -EINVAL;
	if (mm_get(&t->process->mm, &time, a[1]) < 0)
		return -EFAULT;
	return time_is_valid(&time) ? -EPERM : -EINVAL;
}

/* Reading is allowed, but how the host keeps its time is not told: "not synchronised". */
int64_t sys_clock_adjtime(struct task *t, const uint64_t a[6])
{
	struct timespec now;
	struct timex tx;

	if (mm_get(&t->process->mm, &tx, a[1]) < 0)
		return -EFAULT;
	if ((clockid_t)a[0] != CLOCK_REALTIME)
		return (clockid_t)a[0] < 0 || a[0] > CLOCK_TAI ? -EINVAL : -EOPNOTSUPP;
	if (tx.modes)
		return -EPERM;
	vdso_clock_gettime(&t->process->clock, CLOCK_REALTIME, &now);
	/* As the kernel starts with (its kernel/time/ntp.c). */
	memset(&tx, 0, sizeof(tx));
	tx.status = STA_UNSYNC;
	tx.maxerror = tx.esterror = 16000000;
	tx.constant = 2;
	tx.precision = 1;
	tx.tolerance = 32768000;
	tx.tick = 10000;
	tx.time.tv_sec = now.tv_sec;
	tx.time.tv_usec = now.tv_nsec / 1000;
	return mm_put(&t->process->mm, a[1], &tx) < 0 ? -EFAULT : TIME_ERROR;
}

int64_t sys_gettimeofday(struct task *t, const uint64_t a[6])
{
	struct mm *mm = &t->process->mm;
	struct timezone zone = {0, 0};
	struct timespec now;
	struct timeval time;

	vdso_clock_gettime(&t->process->clock, CLOCK_REALTIME, &now);
	time = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
	if ((a[0] && mm_put(mm, a[0], &time) < 0) || (a[1] && mm_put(mm, a[1], &zone) < 0))
		return -EFAULT;
	return 0;
}

int64_t sys_time(struct task *t, const uint64_t a[6])
{
	struct timespec now;

	vdso_clock_gettime(&t->process->clock, CLOCK_REALTIME, &now);
	if (a[0] && mm_put(&t->process->mm, a[0], &now.tv_sec) < 0)
		return -EFAULT;
	return now.tv_sec;
}

/* --- Waiting ------------------------------------------------------------------------------ */

/* What is left until t->restart.deadline, for the guest's struct timespec at `va`, if any. */
static int put_remaining(struct task *t, uint64_t va)
{
	struct timespec left;

	if (!va)
		return 0;
	left = deadline_left(&t->restart.deadline);
	return mm_put(&t->process->mm, va, &left) < 0 ? -EFAULT : 0;
}

/* arg: where what is left goes. */
static int64_t sleep_again(struct task *t, const uint64_t arg[6])
{
	int r = task_sleep(t, &t->restart.deadline);

	if (r == 0)
		return 0;
	r = put_remaining(t, arg[0]);
	return r < 0 ? r : -ERESTART_RESTARTBLOCK;
}

static int64_t sleep_for(struct task *t, const struct timespec *time, uint64_t remaining)
{
	t->restart = (struct restart){.fn = sleep_again, .arg = {remaining}};
	if (!deadline_after(time, &t->restart.deadline))
		return -EINVAL;
	return sleep_again(t, t->restart.arg);
}

/* By a timer of the host's, which follows when the clock is set. */
static int64_t sleep_until(struct task *t, clockid_t id, const struct timespec *time)
{
	struct itimerspec at = {.it_value = vdso_clock_to_host(&t->process->clock, id, time)};
	_cleanup_close_ int fd = -1;
	int r;

	if (id == CLOCK_MONOTONIC)
		return task_sleep(t, &at.it_value) < 0 ? -ERESTARTNOHAND : 0;
	if (!at.it_value.tv_sec && !at.it_value.tv_nsec)
		return 0; /* which would disarm it */
	/* It does not have CLOCK_TAI, which differs by leap seconds. */
	if (id == CLOCK_TAI) {
		struct timespec tai, utc;

		clock_gettime(CLOCK_TAI, &tai);
		clock_gettime(CLOCK_REALTIME, &utc);
		at.it_value.tv_sec -= tai.tv_sec - utc.tv_sec;
		id = CLOCK_REALTIME;
		if (at.it_value.tv_sec < 0)
			return 0;
	}
	fd = timerfd_create(id, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return errno == EINVAL ? -EINVAL : -ENOMEM;
	if (timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL) < 0)
		return -errno;
	r = task_wait_fd(t, fd, POLLIN, NULL);
	return r < 0 ? -ERESTARTNOHAND : 0;
}

/* Until the clock of CPU time says `until`: no sooner than if all tasks used a CPU each. */
static int64_t sleep_cpu_time(struct task *t, const struct cpu_clock *clock, uint64_t until)
{
	struct process *p = t->process;
	struct timespec wait, deadline;
	uint64_t now, left;

	while ((now = cpu_clock_read(p, clock)) < until) {
		left = (until - now) / (p->ntasks ? p->ntasks : 1);
		wait = clock_timespec(left > 1000000 ? left : 1000000);
		if (!deadline_after(&wait, &deadline))
			return -EINVAL;
		if (task_sleep(t, &deadline) < 0)
			return -ERESTART_RESTARTBLOCK;
	}
	return 0;
}

/* arg: task, whether user time only, until when. */
static int64_t sleep_cpu_again(struct task *t, const uint64_t arg[6])
{
	struct cpu_clock clock = {.tid = (int)arg[0], .user = arg[1]};

	return sleep_cpu_time(t, &clock, arg[2]);
}

int64_t sys_nanosleep(struct task *t, const uint64_t a[6])
{
	struct timespec time;

	if (mm_get(&t->process->mm, &time, a[0]) < 0)
		return -EFAULT;
	return sleep_for(t, &time, a[1]);
}

/* CPU clocks: kernel/time/posix-cpu-timers.c. */
static int64_t sleep_on_cpu_clock(struct task *t, const struct cpu_clock *clock, bool absolute,
				  const struct timespec *time)
{
	uint64_t now = cpu_clock_read(t->process, clock), until = time_to_ns(time);

	if (clock->tid == t->tid)
		return -EINVAL; /* it would never end */
	if (!absolute && add_overflows(now, until, &until))
		until = UINT64_MAX;
	t->restart = (struct restart){
		.fn = sleep_cpu_again,
		.arg = {(uint64_t)clock->tid, clock->user, until},
	};
	return sleep_cpu_again(t, t->restart.arg);
}

int64_t sys_clock_nanosleep(struct task *t, const uint64_t a[6])
{
	clockid_t id = (clockid_t)a[0];
	bool absolute = a[1] & TIMER_ABSTIME;
	struct cpu_clock cpu = {0};
	bool is_cpu = cpu_clock_decode(t, id, &cpu);
	struct timespec time;

	if (!is_cpu && (id < 0 || id > CLOCK_TAI || id == 10)) /* CLOCK_SGI_CYCLE was 10 */
		return -EINVAL;
	if (id == CLOCK_THREAD_CPUTIME_ID || id == CLOCK_MONOTONIC_RAW ||
	    id == CLOCK_REALTIME_COARSE || id == CLOCK_MONOTONIC_COARSE)
		return -EOPNOTSUPP;
	if (mm_get(&t->process->mm, &time, a[2]) < 0)
		return -EFAULT;
	if (!time_is_valid(&time))
		return -EINVAL;
	if (is_cpu)
		return sleep_on_cpu_clock(t, &cpu, absolute, &time);
	/* Waking a sleeping machine takes CAP_WAKE_ALARM. */
	if (id == CLOCK_REALTIME_ALARM || id == CLOCK_BOOTTIME_ALARM)
		return -EPERM;
	return absolute ? sleep_until(t, id, &time) : sleep_for(t, &time, a[3]);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timers that send signals: getitimer(2), alarm(2), timer_create(2). A thread of the process,
 * made with the first timer, sleeps until the next is due. All state is under sig.lock.
 *
 * As on Linux a periodic timer whose signal waits is at rest until that is taken, and then makes
 * up for what it missed by its overrun count. So no program floods its process with signals,
 * and every timer has at most one in the queues.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#include "core/codec.h"
#include "core/thread.h"
#include "linux/process.h"
#include "linux/times.h"

#define TIMERS_MAX 128 /* of timer_create(2): the kernel's limit is RLIMIT_SIGPENDING */

#define ITIMERS 3

/* A timer does not go off more often: it would cost the host more than it does the guest. */
#define PERIOD_MIN_NS 20000
/* Nor if its signal is ignored (as the kernel's posix_timer_fn(): once a tick). */
#define IGNORED_NS 4000000
/* How exact timers of CPU time are, at best, and while the process does nothing. */
#define CPU_GRAIN_NS 1000000
#define CPU_IDLE_NS 64000000
/* How soon a timer on another clock than CLOCK_MONOTONIC finds that the clock was set. */
#define STEP_LOOK_NS NSEC_PER_SEC

struct timer {
	clockid_t clock; /* the host's, if not is_cpu */
	bool is_cpu;
	struct cpu_clock cpu;
	uint64_t deadline; /* ns on its clock */
	uint64_t interval; /* ns; 0: once */
	bool armed;
	bool fired;	   /* its signal waits: goes on when that is taken */
	uint64_t earliest; /* not to go off before, CLOCK_MONOTONIC */
};

struct posix_timer {
	struct timer timer;
	clockid_t clock; /* the guest's */
	int notify, signo, tid;
	uint64_t value;
	uint64_t key; /* of what it queues, other for each timer_settime(2) */
	uint64_t overrun;
};

struct timers {
	pthread_t thread;
	pthread_cond_t changed;
	bool started, stop;
	struct timer itimer[ITIMERS]; /* ITIMER_ */
	struct posix_timer *posix[TIMERS_MAX];
	uint64_t last_key;
	uint64_t cpu_seen, cpu_wait; /* ns: at the last look; until the next */
};

static const int itimer_signal[] = {
	[ITIMER_REAL] = SIGALRM,
	[ITIMER_VIRTUAL] = SIGVTALRM,
	[ITIMER_PROF] = SIGPROF,
};

static uint64_t now_of(struct process *p, const struct timer *timer)
{
	return timer->is_cpu ? cpu_clock_read(p, &timer->cpu) : clock_read(timer->clock);
}

/* The deadline to the next after `now`. Gives how many periods were left out. */
static uint64_t forward(struct timer *timer, uint64_t now)
{
	uint64_t missed = 0, span;

	if (now > timer->deadline)
		missed = (now - timer->deadline) / timer->interval;
	if (__builtin_mul_overflow(missed + 1, timer->interval, &span) ||
	    add_overflows(timer->deadline, span, &timer->deadline))
		timer->deadline = INT64_MAX;
	return missed;
}

/* --- The thread --------------------------------------------------------------------------- */

/* Its signal was sent (r 0): if it `rests`, until that is taken. Or it was not: go on. */
static void went_off(struct process *p, struct timer *timer, int r, bool rests,
		     uint64_t monotonic)
{
	if (!timer->interval)
		timer->armed = false;
	else if (r == 0 && rests)
		timer->fired = true;
	else
		forward(timer, now_of(p, timer));
	timer->earliest = monotonic + (r == 0 ? PERIOD_MIN_NS : IGNORED_NS);
}

static void fire_itimer(struct process *p, unsigned which, uint64_t monotonic)
{
	struct guest_siginfo info = {.signo = itimer_signal[which], .code = SI_KERNEL};
	int r = signal_queue_timer(p, 0, &info, 0);

	went_off(p, &p->sig.timers->itimer[which], r, which == ITIMER_REAL, monotonic);
}

static void fire_posix(struct process *p, int id, uint64_t monotonic)
{
	struct posix_timer *timer = p->sig.timers->posix[id];
	struct guest_siginfo info = {
		.signo = timer->signo,
		.code = SI_TIMER,
		.timer = {.id = id, .value = timer->value},
	};
	int r = signal_queue_timer(p, timer->tid, &info, timer->key);

	went_off(p, &timer->timer, r, true, monotonic);
}

/* When to look at it again, CLOCK_MONOTONIC; `monotonic` if it is due. */
static uint64_t look_at(struct process *p, const struct timer *timer, uint64_t monotonic)
{
	uint32_t ntasks = __atomic_load_n(&p->ntasks, __ATOMIC_RELAXED);
	uint64_t now = now_of(p, timer), wait, at;

	if (now >= timer->deadline)
		return timer->earliest > monotonic ? timer->earliest : monotonic;
	wait = timer->deadline - now;
	if (timer->is_cpu) {
		wait /= ntasks ? ntasks : 1; /* as if each used a CPU of its own */
		if (wait < p->sig.timers->cpu_wait)
			wait = p->sig.timers->cpu_wait;
	} else if (timer->clock != CLOCK_MONOTONIC && wait > STEP_LOOK_NS) {
		wait = STEP_LOOK_NS;
	}
	if (add_overflows(monotonic, wait, &at))
		at = UINT64_MAX;
	return at < timer->earliest ? timer->earliest : at;
}

/* While the process does nothing, CPU timers are looked at less and less often. */
static void note_cpu_use(struct process *p)
{
	struct timers *timers = p->sig.timers;
	uint64_t used = process_cpu_ns(p, false);

	if (used - timers->cpu_seen > CPU_GRAIN_NS / 4)
		timers->cpu_wait = CPU_GRAIN_NS;
	else if (timers->cpu_wait < CPU_IDLE_NS)
		timers->cpu_wait *= 2;
	timers->cpu_seen = used;
}

static bool is_running(const struct timer *timer)
{
	return timer->armed && !timer->fired;
}

/* Those that send signals, by number: setitimer(2)'s first. NULL: there is none. */
static struct timer *timer_at(struct timers *timers, int i)
{
	struct posix_timer *posix;

	if (i < ITIMERS)
		return &timers->itimer[i];
	posix = timers->posix[i - ITIMERS];
	return posix && posix->notify != SIGEV_NONE ? &posix->timer : NULL;
}

/* Let it go off if it is due. Gives when to look again, UINT64_MAX for never. */
static uint64_t look_at_one(struct process *p, struct timer *timer, int i, uint64_t monotonic)
{
	uint64_t at = look_at(p, timer, monotonic);

	if (at > monotonic)
		return at;
	if (i < ITIMERS)
		fire_itimer(p, (unsigned)i, monotonic);
	else
		fire_posix(p, i - ITIMERS, monotonic);
	return is_running(timer) ? look_at(p, timer, monotonic) : UINT64_MAX;
}

/* Gives when the next is due, UINT64_MAX for none. */
static uint64_t look_at_all(struct process *p, struct timers *timers)
{
	uint64_t monotonic = clock_now(), next = UINT64_MAX;
	bool cpu_noted = false;

	for (int i = 0; i < ITIMERS + TIMERS_MAX; i++) {
		struct timer *timer = timer_at(timers, i);
		uint64_t at;

		if (!timer || !is_running(timer))
			continue;
		if (timer->is_cpu && !cpu_noted) {
			note_cpu_use(p);
			cpu_noted = true;
		}
		at = look_at_one(p, timer, i, monotonic);
		if (at < next)
			next = at;
	}
	return next;
}

static void *run(void *arg)
{
	struct process *p = arg;
	struct timers *timers = p->sig.timers;
	struct timespec until;
	uint64_t next;

	pthread_mutex_lock(&p->sig.lock);
	while (!timers->stop) {
		next = look_at_all(p, timers);
		if (next == UINT64_MAX) {
			pthread_cond_wait(&timers->changed, &p->sig.lock);
			continue;
		}
		until = clock_timespec(next);
		pthread_cond_timedwait(&timers->changed, &p->sig.lock, &until);
	}
	pthread_mutex_unlock(&p->sig.lock);
	return NULL;
}

static int start_thread(struct process *p)
{
	struct timers *timers = p->sig.timers;

	timers->started = thread_start(&timers->thread, 0, run, p) == 0;
	return timers->started ? 0 : -EAGAIN;
}

/* Hold sig.lock. */
static int timers_get(struct process *p, struct timers **out)
{
	pthread_condattr_t attr;
	struct timers *timers = p->sig.timers;

	if (!timers) {
		timers = calloc(1, sizeof(*timers));
		if (!timers)
			return -EAGAIN;
		pthread_condattr_init(&attr);
		pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
		pthread_cond_init(&timers->changed, &attr);
		pthread_condattr_destroy(&attr);
		timers->itimer[ITIMER_REAL].clock = CLOCK_MONOTONIC;
		timers->itimer[ITIMER_VIRTUAL].is_cpu = true;
		timers->itimer[ITIMER_VIRTUAL].cpu.user = true;
		timers->itimer[ITIMER_PROF].is_cpu = true;
		timers->cpu_wait = CPU_GRAIN_NS;
		p->sig.timers = timers;
	}
	*out = timers;
	return 0;
}

/* Something was armed. Hold sig.lock. */
static int poke(struct process *p)
{
	if (!p->sig.timers->started)
		return start_thread(p);
	pthread_cond_signal(&p->sig.timers->changed);
	return 0;
}

void timers_fini(struct process *p)
{
	struct timers *timers = p->sig.timers;

	if (!timers)
		return;
	pthread_mutex_lock(&p->sig.lock);
	timers->stop = true;
	pthread_cond_signal(&timers->changed);
	pthread_mutex_unlock(&p->sig.lock);
	if (timers->started)
		pthread_join(timers->thread, NULL);
	/* Who sends a signal may look for the timer of one that he drops. */
	pthread_mutex_lock(&p->sig.lock);
	p->sig.timers = NULL;
	pthread_mutex_unlock(&p->sig.lock);
	for (int i = 0; i < TIMERS_MAX; i++)
		free(timers->posix[i]);
	pthread_cond_destroy(&timers->changed);
	free(timers);
}

/* --- Signals that were taken -------------------------------------------------------------- */

void signal_alarm_taken(struct process *p)
{
	struct timer *timer;

	if (!p->sig.timers)
		return;
	timer = &p->sig.timers->itimer[ITIMER_REAL];
	if (!timer->fired)
		return;
	timer->fired = false;
	forward(timer, clock_now());
	poke(p);
}

static struct posix_timer *by_key(struct process *p, uint64_t key)
{
	struct timers *timers = p->sig.timers;

	for (int i = 0; timers && i < TIMERS_MAX; i++)
		if (timers->posix[i] && timers->posix[i]->key == key)
			return timers->posix[i];
	return NULL;
}

void signal_timer_taken(struct process *p, uint64_t key, struct guest_siginfo *info)
{
	struct posix_timer *timer = by_key(p, key);

	if (!timer)
		return;
	timer->overrun = 0;
	if (timer->timer.fired) {
		timer->timer.fired = false;
		timer->overrun = forward(&timer->timer, now_of(p, &timer->timer));
		if (timer->overrun > INT_MAX)
			timer->overrun = INT_MAX;
		poke(p);
	}
	info->timer.overrun = (int)timer->overrun;
}

void signal_timer_dropped(struct process *p, uint64_t key)
{
	struct posix_timer *timer = by_key(p, key);

	if (!timer || !timer->timer.fired)
		return;
	timer->timer.fired = false;
	timer->timer.earliest = clock_now() + IGNORED_NS;
	poke(p);
}

/* --- Setting and asking ------------------------------------------------------------------- */

/* ns until it goes off next; 0: it does not. `quiet`: it sends no signal, none waits. */
static uint64_t remaining(struct process *p, const struct timer *timer, bool quiet)
{
	struct timer t = *timer;
	uint64_t now;

	if (!t.armed)
		return 0;
	now = now_of(p, &t);
	if (now < t.deadline)
		return t.deadline - now;
	if ((t.fired || quiet) && t.interval) {
		forward(&t, now);
		return t.deadline - now;
	}
	return quiet ? 0 : 1;
}

/* `value` ns from now, or if `absolute` on its clock; 0 and not absolute: disarm. */
static void arm(struct process *p, struct timer *timer, uint64_t value, uint64_t interval,
		bool absolute)
{
	timer->armed = timer->fired = false;
	timer->earliest = 0;
	timer->interval = interval;
	timer->deadline = value;
	if (!absolute && (!value || add_overflows(now_of(p, timer), value, &timer->deadline)))
		timer->deadline = INT64_MAX;
	timer->armed = value || absolute;
}

static uint64_t timeval_ns(const struct timeval *time)
{
	struct timespec t = {.tv_sec = time->tv_sec, .tv_nsec = time->tv_usec * 1000};

	return time_to_ns(&t);
}

/* A time that is not over is not shown as 0. */
static struct timeval to_timeval(uint64_t ns)
{
	ns = (ns + 999) / 1000;
	return (struct timeval){
		.tv_sec = (time_t)(ns / 1000000),
		.tv_usec = (suseconds_t)(ns % 1000000),
	};
}

static bool timeval_is_valid(const struct timeval *time)
{
	return time->tv_sec >= 0 && (uint64_t)time->tv_usec < 1000000;
}

/* new_value NULL: only ask. */
static int itimer_exchange(struct process *p, unsigned which, const struct itimerval *new_value,
			   struct itimerval *old_value)
{
	struct timers *timers;
	struct timer *timer;
	int r;

	pthread_mutex_lock(&p->sig.lock);
	r = timers_get(p, &timers);
	if (r == 0) {
		timer = &timers->itimer[which];
		old_value->it_interval = to_timeval(timer->interval);
		old_value->it_value = to_timeval(remaining(p, timer, false));
	}
	if (r == 0 && new_value) {
		arm(p, timer, timeval_ns(&new_value->it_value),
		    timeval_ns(&new_value->it_interval), false);
		if (timer->armed)
			r = poke(p);
	}
	pthread_mutex_unlock(&p->sig.lock);
	return r;
}

int64_t sys_getitimer(struct task *t, const uint64_t a[6])
{
	unsigned which = (unsigned)a[0];
	struct itimerval value;
	int r;

	if (which > ITIMER_PROF)
		return -EINVAL;
	r = itimer_exchange(t->process, which, NULL, &value);
	if (r < 0)
		return r;
	return mm_put(&t->process->mm, a[1], &value) < 0 ? -EFAULT : 0;
}

int64_t sys_setitimer(struct task *t, const uint64_t a[6])
{
	struct mm *mm = &t->process->mm;
	struct itimerval new_value = {0}, old_value;
	unsigned which = (unsigned)a[0];
	int r;

	if (a[1] && mm_get(mm, &new_value, a[1]) < 0)
		return -EFAULT;
	if (which > ITIMER_PROF || !timeval_is_valid(&new_value.it_value) ||
	    !timeval_is_valid(&new_value.it_interval))
		return -EINVAL;
	r = itimer_exchange(t->process, which, &new_value, &old_value);
	if (!r && a[2] && mm_put(mm, a[2], &old_value) < 0)
		return -EFAULT;
	return r;
}

int64_t sys_alarm(struct task *t, const uint64_t a[6])
{
	struct itimerval new_value = {.it_value.tv_sec = (unsigned)a[0]}, old_value;
	int r = itimer_exchange(t->process, ITIMER_REAL, &new_value, &old_value);

	if (r < 0)
		return r;
	/* Rounded, but not to 0, which says that there was none. */
	if ((!old_value.it_value.tv_sec && old_value.it_value.tv_usec) ||
	    old_value.it_value.tv_usec >= 500000)
		old_value.it_value.tv_sec++;
	return old_value.it_value.tv_sec;
}

/* --- timer_create(2) ---------------------------------------------------------------------- */

/* struct sigevent, asm-generic/siginfo.h: 64 bytes. */
struct guest_sigevent {
	uint64_t value;
	int32_t signo;
	int32_t notify;
	int32_t tid;
	uint8_t padding[44];
};
_Static_assert(sizeof(struct guest_sigevent) == 64, "struct sigevent");

static int check_event(struct task *t, const struct guest_sigevent *event)
{
	switch (event->notify) {
	case SIGEV_NONE:
		return 0;
	case SIGEV_THREAD_ID:
		if (!process_has_task(t->process, event->tid))
			return -EINVAL;
		break;
	case SIGEV_SIGNAL:
	case SIGEV_THREAD:
		break;
	default:
		return -EINVAL;
	}
	return event->signo >= 1 && event->signo <= SIG_COUNT ? 0 : -EINVAL;
}

static int check_clock(clockid_t id, bool is_cpu)
{
	switch (id) {
	case CLOCK_REALTIME:
	case CLOCK_MONOTONIC:
	case CLOCK_BOOTTIME:
	case CLOCK_TAI:
		return 0;
	case CLOCK_REALTIME_ALARM:
	case CLOCK_BOOTTIME_ALARM:
		return -EPERM; /* CAP_WAKE_ALARM */
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_MONOTONIC_COARSE:
		return -EOPNOTSUPP;
	default:
		return is_cpu ? 0 : -EINVAL;
	}
}

static int install(struct process *p, struct posix_timer *timer)
{
	struct timers *timers;
	int id, r;

	pthread_mutex_lock(&p->sig.lock);
	r = timers_get(p, &timers);
	for (id = 0; r == 0 && id < TIMERS_MAX && timers->posix[id];)
		id++;
	if (r == 0 && id == TIMERS_MAX)
		r = -EAGAIN;
	if (r == 0) {
		timer->key = ++timers->last_key;
		timers->posix[id] = timer;
	}
	pthread_mutex_unlock(&p->sig.lock);
	return r < 0 ? r : id;
}

static int timer_remove(struct process *p, uint64_t id)
{
	struct timers *timers;
	struct posix_timer *timer = NULL;

	pthread_mutex_lock(&p->sig.lock);
	timers = p->sig.timers;
	if (timers && id < TIMERS_MAX)
		timer = timers->posix[id];
	if (timer) {
		timers->posix[id] = NULL;
		signal_unqueue_timer(p, timer->key);
	}
	pthread_mutex_unlock(&p->sig.lock);
	free(timer);
	return timer ? 0 : -EINVAL;
}

int64_t sys_timer_create(struct task *t, const uint64_t a[6])
{
	struct mm *mm = &t->process->mm;
	clockid_t id = (clockid_t)a[0];
	struct guest_sigevent event = {.signo = SIGALRM, .notify = SIGEV_SIGNAL};
	struct cpu_clock cpu = {0};
	bool is_cpu = cpu_clock_decode(t, id, &cpu);
	struct posix_timer *timer;
	int r;

	if (a[1] && mm_get(mm, &event, a[1]) < 0)
		return -EFAULT;
	r = check_clock(id, is_cpu);
	if (!r)
		r = check_event(t, &event);
	if (r < 0)
		return r;
	timer = calloc(1, sizeof(*timer));
	if (!timer)
		return -EAGAIN;
	*timer = (struct posix_timer){
		.timer = {.is_cpu = is_cpu, .cpu = cpu},
		.clock = id,
		.notify = event.notify,
		.signo = event.signo,
		.tid = event.notify == SIGEV_THREAD_ID ? event.tid : 0,
		.value = event.value,
	};
	r = install(t->process, timer);
	if (r < 0) {
		free(timer);
		return r;
	}
	/* Its value, if nothing else is said, is its id: nobody else has it yet. */
	if (!a[1])
		timer->value = (uint64_t)r;
	if (mm_put(mm, a[2], &r) < 0) {
		timer_remove(t->process, (uint64_t)r);
		return -EFAULT;
	}
	return 0;
}

/* Hold sig.lock. NULL: there is none. */
static struct posix_timer *find(struct process *p, uint64_t id)
{
	return p->sig.timers && id < TIMERS_MAX ? p->sig.timers->posix[id] : NULL;
}

static void ask(struct process *p, const struct posix_timer *timer, struct itimerspec *value)
{
	value->it_interval = clock_timespec(timer->timer.interval);
	value->it_value =
		clock_timespec(remaining(p, &timer->timer, timer->notify == SIGEV_NONE));
}

static int set(struct process *p, struct posix_timer *timer, bool absolute,
	       const struct itimerspec *value)
{
	bool zero = !value->it_value.tv_sec && !value->it_value.tv_nsec;
	struct timespec at = value->it_value;

	signal_unqueue_timer(p, timer->key);
	timer->key = ++p->sig.timers->last_key;
	timer->overrun = 0;
	if (absolute && !zero)
		at = vdso_clock_to_host(&p->clock, timer->clock, &at);
	/* What is relative does not follow when the clock is set. */
	timer->timer.clock =
		!absolute && timer->clock != CLOCK_BOOTTIME ? CLOCK_MONOTONIC : timer->clock;
	arm(p, &timer->timer, time_to_ns(&at), zero ? 0 : time_to_ns(&value->it_interval),
	    absolute && !zero);
	return timer->timer.armed && timer->notify != SIGEV_NONE ? poke(p) : 0;
}

int64_t sys_timer_settime(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	struct itimerspec value, old;
	struct posix_timer *timer;
	int r = -EINVAL;

	if (!a[2])
		return -EINVAL;
	if (mm_get(&p->mm, &value, a[2]) < 0)
		return -EFAULT;
	if (!time_is_valid(&value.it_value) || !time_is_valid(&value.it_interval))
		return -EINVAL;
	pthread_mutex_lock(&p->sig.lock);
	timer = find(p, (uint32_t)a[0]);
	if (timer) {
		ask(p, timer, &old);
		r = set(p, timer, a[1] & TIMER_ABSTIME, &value);
	}
	pthread_mutex_unlock(&p->sig.lock);
	if (!r && a[3] && mm_put(&p->mm, a[3], &old) < 0)
		return -EFAULT;
	return r;
}

int64_t sys_timer_gettime(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	struct itimerspec value;
	struct posix_timer *timer;

	pthread_mutex_lock(&p->sig.lock);
	timer = find(p, (uint32_t)a[0]);
	if (timer)
		ask(p, timer, &value);
	pthread_mutex_unlock(&p->sig.lock);
	if (!timer)
		return -EINVAL;
	return mm_put(&p->mm, a[1], &value) < 0 ? -EFAULT : 0;
}

int64_t sys_timer_getoverrun(struct task *t, const uint64_t a[6])
{
	struct process *p = t->process;
	const struct posix_timer *timer;
	int64_t r = -EINVAL;

	pthread_mutex_lock(&p->sig.lock);
	timer = find(p, (uint32_t)a[0]);
	if (timer)
		r = (int64_t)timer->overrun;
	pthread_mutex_unlock(&p->sig.lock);
	return r;
}

int64_t sys_timer_delete(struct task *t, const uint64_t a[6])
{
	return timer_remove(t->process, (uint32_t)a[0]);
}

/* --- Snapshots ---------------------------------------------------------------------------- */

enum { ARMED = 1, FIRED = 2, IS_CPU = 4, CPU_USER = 8, ALL_BITS = 15 };

/* What a deadline is told from: times of day as they are, others by what is left. */
static uint64_t origin(struct process *p, const struct timer *timer)
{
	if (!timer->is_cpu && (timer->clock == CLOCK_REALTIME || timer->clock == CLOCK_TAI))
		return 0;
	return now_of(p, timer);
}

static void put_timer(struct process *p, struct writer *w, const struct timer *timer)
{
	put_u64(w, (timer->armed ? ARMED : 0) | (timer->fired ? FIRED : 0) |
			   (timer->is_cpu ? IS_CPU : 0) | (timer->cpu.user ? CPU_USER : 0));
	put_u64(w, (uint64_t)timer->clock);
	put_u64(w, (uint64_t)timer->cpu.tid);
	put_u64(w, timer->interval);
	/* Negative if it is over. */
	put_u64(w, timer->armed ? timer->deadline - origin(p, timer) : 0);
}

static bool is_host_clock(uint64_t clock)
{
	return clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ||
	       clock == CLOCK_TAI;
}

static void get_timer(struct process *p, struct reader *r, struct timer *timer)
{
	uint64_t flags = get_count(r, ALL_BITS), clock = get_u64(r);
	int64_t left;

	*timer = (struct timer){
		.is_cpu = flags & IS_CPU,
		.cpu = {.tid = (int)get_count(r, INT32_MAX), .user = flags & CPU_USER},
		.interval = get_count(r, INT64_MAX),
	};
	left = (int64_t)get_u64(r);
	/* Only what repeats rests until its signal is taken. */
	if ((!timer->is_cpu && !is_host_clock(clock)) ||
	    (flags & FIRED && (!(flags & ARMED) || !timer->interval)))
		r->bad = true;
	if (r->bad)
		return;
	timer->clock = timer->is_cpu ? CLOCK_REALTIME : (clockid_t)clock;
	timer->armed = flags & ARMED;
	timer->fired = flags & FIRED;
	if (__builtin_add_overflow(origin(p, timer), left, &timer->deadline) ||
	    timer->deadline > INT64_MAX)
		timer->deadline = left < 0 ? 0 : INT64_MAX;
}

static void put_posix(struct process *p, struct writer *w, const struct posix_timer *timer)
{
	put_timer(p, w, &timer->timer);
	put_u64(w, (uint64_t)(uint32_t)timer->clock);
	put_u64(w, (uint64_t)timer->notify);
	/* Who is not to be told may have named any. */
	put_u64(w, timer->notify == SIGEV_NONE ? 1 : (uint64_t)timer->signo);
	put_u64(w, (uint64_t)timer->tid);
	put_u64(w, timer->value);
	put_u64(w, timer->key);
	put_u64(w, timer->overrun);
}

static void get_posix(struct process *p, struct reader *r, struct posix_timer *timer)
{
	get_timer(p, r, &timer->timer);
	timer->clock = (clockid_t)get_count(r, UINT32_MAX);
	timer->notify = (int)get_count(r, SIGEV_THREAD_ID);
	timer->signo = (int)get_count(r, SIG_COUNT);
	timer->tid = (int)get_count(r, INT32_MAX);
	timer->value = get_u64(r);
	timer->key = get_u64(r);
	timer->overrun = get_count(r, INT_MAX);
	if (!timer->signo || (!timer->timer.is_cpu && !is_host_clock((uint64_t)timer->clock)))
		r->bad = true;
}

void timers_save(struct process *p, struct writer *w)
{
	const struct timers *timers = p->sig.timers;
	uint64_t count = 0;

	put_u64(w, timers != NULL);
	if (!timers)
		return;
	for (int i = 0; i < ITIMERS; i++)
		put_timer(p, w, &timers->itimer[i]);
	put_u64(w, timers->last_key);
	for (int i = 0; i < TIMERS_MAX; i++)
		count += timers->posix[i] != NULL;
	put_u64(w, count);
	for (uint64_t i = 0; i < TIMERS_MAX; i++) {
		if (!timers->posix[i])
			continue;
		put_u64(w, i);
		put_posix(p, w, timers->posix[i]);
	}
}

static int get_all(struct process *p, struct reader *r, struct timers *timers)
{
	uint64_t count;

	for (int i = 0; i < ITIMERS; i++) {
		struct timer now = timers->itimer[i], *timer = &timers->itimer[i];

		get_timer(p, r, timer);
		/* Which clock they have is theirs. */
		if (timer->is_cpu != now.is_cpu || timer->clock != now.clock ||
		    timer->cpu.tid || timer->cpu.user != now.cpu.user)
			r->bad = true;
	}
	timers->last_key = get_u64(r);
	count = get_count(r, TIMERS_MAX);
	for (uint64_t i = 0; i < count && !r->bad; i++) {
		uint64_t id = get_count(r, TIMERS_MAX - 1);

		if (r->bad || timers->posix[id]) {
			r->bad = true;
			break;
		}
		timers->posix[id] = calloc(1, sizeof(*timers->posix[id]));
		if (!timers->posix[id])
			return -ENOMEM;
		get_posix(p, r, timers->posix[id]);
	}
	return 0;
}

int timers_load(struct process *p, struct reader *r)
{
	struct timers *timers;
	int e;

	if (!get_count(r, 1) || r->bad)
		return 0;
	e = timers_get(p, &timers);
	return e < 0 ? e : get_all(p, r, timers);
}

int timers_start(struct process *p)
{
	for (int i = 0; p->sig.timers && i < ITIMERS + TIMERS_MAX; i++) {
		const struct timer *timer = timer_at(p->sig.timers, i);

		if (timer && timer->armed)
			return poke(p);
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/vdso.h"

#include <cpuid.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "abi/program.h"
#include "core/clock.h"
#include "core/util.h"

/* How far a line may stray within its window. */
#define STRAY_NS 250
/* A line is never used for longer: the host's clocks may be stepped or change their rate. */
#define WINDOW_NS (NSEC_PER_SEC / 10)
/* From less than this no rate is derived. */
#define BASELINE_MIN_NS 50000
/* A line from further back than this, twice over, is of no interest. */
#define BASELINE_NS NSEC_PER_SEC
/* CLOCK_REALTIME that is off by more was set, and is followed at once. */
#define STEP_NS (NSEC_PER_SEC / 100)

static const clockid_t host_clock[VVAR_CLOCKS] = {
	[VVAR_REALTIME] = CLOCK_REALTIME,
	[VVAR_MONOTONIC] = CLOCK_MONOTONIC,
	[VVAR_BOOTTIME] = CLOCK_BOOTTIME,
	[VVAR_RAW] = CLOCK_MONOTONIC_RAW,
};

/* Whether the kernel found the counters of all CPUs to agree; true if it does not tell. */
static bool kernel_trusts_tsc(void)
{
	static const char path[] = "/sys/devices/system/clocksource/clocksource0/"
				   "current_clocksource";
	static atomic_int known; /* 1: no, 2: yes */
	_cleanup_close_ int fd = -1;
	char name[32] = "";
	bool trusted = true;
	ssize_t n;

	if (atomic_load(&known))
		return atomic_load(&known) == 2;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, name, sizeof(name) - 1);
	if (n > 0)
		trusted = !strcmp(name, "tsc\n") || !strcmp(name, "kvm-clock\n") ||
			  !strcmp(name, "hyperv_clocksource_tsc_page\n");
	atomic_store(&known, trusted ? 2 : 1);
	return trusted;
}

/* Constant rate in all states of the CPU: CPUID 0x80000007 EDX bit 8 (SDM vol. 3, 18.17.1). */
static bool tsc_is_invariant(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(0x80000007u, &a, &b, &c, &d) && d & (1u << 8);
}

/* Of three readings the one that took the least time. */
static void take_sample(struct vdso_sample *sample)
{
	for (unsigned k = 0; k < VVAR_CLOCKS; k++) {
		sample->error[k] = UINT64_MAX;
		for (int i = 0; i < 3; i++) {
			uint64_t before = vvar_tsc();
			uint64_t ns = clock_read(host_clock[k]);
			uint64_t took = vvar_tsc() - before;

			/* This is moved to another CPU in the middle, whose counter differs. */
			if ((int64_t)took <= 0)
				took = 1;
			if (took >= sample->error[k])
				continue;
			sample->error[k] = took;
			sample->tsc[k] = before + took / 2;
			sample->ns[k] = ns;
		}
	}
}

/*
 * The rate of clock k between two samples, as vvar_clock.mult, and how many ticks a line of
 * that rate may be used. False: they are too close, or make no sense.
 */
static bool measure_rate(const struct vdso_sample *from, const struct vdso_sample *to,
			 unsigned k, uint64_t *mult, uint64_t *window)
{
	uint64_t ticks = to->tsc[k] - from->tsc[k];
	uint64_t ns = to->ns[k] - from->ns[k];
	uint64_t error = (from->error[k] + to->error[k]) / 2 + 1;
	unsigned __int128 wide;
	uint64_t stray;

	/* Counters of 100 MHz to 16 GHz. */
	if ((int64_t)ticks <= 0 || (int64_t)ns < BASELINE_MIN_NS || ns / 10 > ticks ||
	    ticks / 16 > ns)
		return false;
	*mult = (uint64_t)(((unsigned __int128)ns << VVAR_SHIFT) / ticks);
	stray = (uint64_t)(((unsigned __int128)STRAY_NS << VVAR_SHIFT) / *mult);
	wide = (unsigned __int128)ticks * stray / error;
	*window = (uint64_t)(((unsigned __int128)WINDOW_NS << VVAR_SHIFT) / *mult);
	if (wide < *window)
		*window = (uint64_t)wide;
	return true;
}

/* What clock k was at most seen to be until `tsc`. */
static uint64_t latest_seen(const struct vvar *old, unsigned k, uint64_t tsc)
{
	uint64_t delta = tsc - old->tsc;

	if (!old->window || (int64_t)delta < 0)
		delta = 0;
	return vvar_scale(&old->clock[k], delta < old->window ? delta : old->window);
}

/* Where clock k goes on from: at `value` on the host, never before `seen`, at the rate `mult`. */
static void lay_line(struct vvar *now, unsigned k, uint64_t value, uint64_t seen, uint64_t mult)
{
	struct vvar_clock *line = &now->clock[k];
	uint64_t ahead = seen > value ? seen - value : 0;
	uint64_t span;

	line->mult = mult;
	line->base = value;
	if (!ahead || (k == VVAR_REALTIME && ahead > STEP_NS))
		return;
	/* Meet the host's clock at the window's end, at no less than half its speed. */
	line->base = seen;
	span = (uint64_t)((unsigned __int128)now->window * mult >> VVAR_SHIFT);
	if (ahead > span / 2)
		line->mult = mult / 2;
	else
		line->mult -= (uint64_t)((unsigned __int128)mult * ahead / span);
}

static void write_page(struct vdso_clock *clock)
{
	struct vvar *page = clock->page;
	const struct vvar *now = &clock->now;

	__atomic_store_n(&page->cpus, now->cpus, __ATOMIC_RELAXED);
	__atomic_store_n(&page->tsc, now->tsc, __ATOMIC_RELAXED);
	__atomic_store_n(&page->window, now->window, __ATOMIC_RELAXED);
	__atomic_store_n(&page->coarse, now->coarse, __ATOMIC_RELAXED);
	for (unsigned k = 0; k < VVAR_CLOCKS; k++) {
		__atomic_store_n(&page->clock[k].base, now->clock[k].base, __ATOMIC_RELAXED);
		__atomic_store_n(&page->clock[k].mult, now->clock[k].mult, __ATOMIC_RELAXED);
	}
}

/* Choose the sample from which the next lines are laid. */
static void move_origin(struct vdso_clock *clock, const struct vdso_sample *s, bool measured)
{
	uint64_t age = s->ns[VVAR_MONOTONIC] - clock->next.ns[VVAR_MONOTONIC];

	if (!measured && (int64_t)(s->ns[VVAR_MONOTONIC] - clock->origin.ns[VVAR_MONOTONIC]) >
				 BASELINE_MIN_NS)
		clock->origin = clock->next = *s; /* the counter was set, or its rate changed */
	else if ((int64_t)age > (int64_t)BASELINE_NS) {
		clock->origin = clock->next;
		clock->next = *s;
	}
}

/* New lines. Hold the lock. */
static void renew(struct vdso_clock *clock)
{
	const struct vvar old = clock->now;
	struct vvar *now = &clock->now;
	uint64_t mult[VVAR_CLOCKS], raw_window = 0;
	struct vdso_sample s;
	bool measured;

	/*
	 * The sequence is odd before the counter is read here, so that no reader gets away with
	 * the old lines and a counter beyond the one at which the new ones take over.
	 */
	now->sequence = (old.sequence | 1) + 2;
	__atomic_store_n(&clock->page->sequence, now->sequence, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	take_sample(&s);
	now->tsc = vvar_tsc();
	measured = measure_rate(&clock->origin, &s, VVAR_MONOTONIC, &mult[VVAR_MONOTONIC],
				&now->window) &&
		   measure_rate(&clock->origin, &s, VVAR_RAW, &mult[VVAR_RAW], &raw_window);
	if (!measured)
		now->window = mult[VVAR_MONOTONIC] = mult[VVAR_RAW] = 0;
	else if (raw_window < now->window)
		now->window = raw_window;
	/* They tick as CLOCK_MONOTONIC does, and differ by what is set and was slept. */
	mult[VVAR_REALTIME] = mult[VVAR_BOOTTIME] = mult[VVAR_MONOTONIC];
	for (unsigned k = 0; k < VVAR_CLOCKS; k++) {
		struct vvar_clock at = {.base = s.ns[k], .mult = mult[k]};
		uint64_t value = vvar_scale(&at, now->tsc - s.tsc[k]);

		if (k != VVAR_REALTIME)
			value += (uint64_t)clock->offset;
		lay_line(now, k, value, latest_seen(&old, k, now->tsc), mult[k]);
	}
	write_page(clock);
	now->sequence++;
	__atomic_store_n(&clock->page->sequence, now->sequence, __ATOMIC_RELEASE);
	move_origin(clock, &s, measured);
}

void vdso_clock_init(struct vdso_clock *clock)
{
	memset(clock, 0, sizeof(*clock));
	pthread_mutex_init(&clock->lock, NULL);
	clock->tsc = tsc_is_invariant() && kernel_trusts_tsc();
	if (clock->tsc)
		take_sample(&clock->origin);
	clock->next = clock->origin;
}

void vdso_clock_fini(struct vdso_clock *clock)
{
	pthread_mutex_destroy(&clock->lock);
}

void vdso_clock_start(struct vdso_clock *clock, struct vvar *page, bool host_tsc, uint32_t cpus,
		      int64_t offset)
{
	struct timespec grain = {.tv_nsec = 4000000};

	pthread_mutex_lock(&clock->lock);
	clock->page = page;
	clock->offset = offset;
	clock->tsc = clock->tsc && host_tsc;
	/* A thread that was saved in the midst of reading must find that it has changed. */
	clock->now = (struct vvar){.sequence = (page->sequence | 1) + 1, .cpus = cpus};
	clock_getres(CLOCK_MONOTONIC_COARSE, &grain);
	clock->now.coarse = (uint64_t)grain.tv_nsec;
	if (clock->tsc) {
		renew(clock);
	} else {
		write_page(clock);
		__atomic_store_n(&page->sequence, clock->now.sequence, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&clock->lock);
}

void vdso_clock_renew(struct vdso_clock *clock)
{
	pthread_mutex_lock(&clock->lock);
	if (clock->tsc && clock->page)
		renew(clock);
	pthread_mutex_unlock(&clock->lock);
}

static unsigned page_clock(clockid_t id, bool *coarse)
{
	*coarse = id == CLOCK_REALTIME_COARSE || id == CLOCK_MONOTONIC_COARSE;
	if (id == CLOCK_REALTIME_COARSE)
		return VVAR_REALTIME;
	if (id == CLOCK_MONOTONIC_COARSE)
		return VVAR_MONOTONIC;
	for (unsigned k = 0; k < VVAR_CLOCKS; k++)
		if (host_clock[k] == id)
			return k;
	return VVAR_CLOCKS;
}

/* Clocks that stand still while the host does not run count from its start: they are shifted. */
static bool is_shifted(clockid_t id)
{
	return id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_RAW ||
	       id == CLOCK_MONOTONIC_COARSE || id == CLOCK_BOOTTIME ||
	       id == CLOCK_BOOTTIME_ALARM;
}

bool vdso_clock_gettime(struct vdso_clock *clock, clockid_t id, struct timespec *time)
{
	bool coarse, from_page;
	unsigned k = page_clock(id, &coarse);
	uint64_t ns = 0;

	pthread_mutex_lock(&clock->lock);
	from_page = clock->tsc && clock->page && k < VVAR_CLOCKS;
	if (from_page && !vvar_read(&clock->now, k, &ns)) {
		renew(clock);
		ns = clock->now.clock[k].base;
	}
	if (from_page && coarse)
		ns -= ns % clock->now.coarse;
	pthread_mutex_unlock(&clock->lock);
	if (from_page) {
		*time = clock_timespec(ns);
		return true;
	}
	if (id < 0 || id == CLOCK_PROCESS_CPUTIME_ID || id == CLOCK_THREAD_CPUTIME_ID ||
	    clock_gettime(id, time) < 0)
		return false;
	if (is_shifted(id) && clock->offset)
		*time = clock_timespec(clock_ns(time) + (uint64_t)clock->offset);
	return true;
}

struct timespec vdso_clock_to_host(const struct vdso_clock *clock, clockid_t id,
				   const struct timespec *time)
{
	struct timespec t = *time;

	if (!is_shifted(id) || !clock->offset)
		return t;
	t.tv_sec -= (time_t)(clock->offset / (int64_t)NSEC_PER_SEC);
	t.tv_nsec -= (long)(clock->offset % (int64_t)NSEC_PER_SEC);
	if (t.tv_nsec < 0) {
		t.tv_sec--;
		t.tv_nsec += (long)NSEC_PER_SEC;
	} else if (t.tv_nsec >= (long)NSEC_PER_SEC) {
		t.tv_sec++;
		t.tv_nsec -= (long)NSEC_PER_SEC;
	}
	if (t.tv_sec < 0)
		t = (struct timespec){0};
	return t;
}

/* The vDSO is linked for what these say. */
_Static_assert(PROG_VDSO_PAGES == 2, "as vdso.lds has it");

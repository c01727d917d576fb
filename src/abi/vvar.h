/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page at PROG_VVAR_VA, which the host writes and the vDSO reads: what makes times of the
 * time-stamp counter.
 *
 * While `sequence` is odd the rest is being changed. A time is
 *
 *	base + ((tsc - vvar.tsc) * mult >> VVAR_SHIFT) nanoseconds
 *
 * for tsc - vvar.tsc up to `window`, beyond which the parameters are too old and the host must
 * be asked, who then renews them. `window` 0: always ask, the counter is of no use.
 *
 * vvar_read() is the only code that calculates it, in the guest and in the host, so that system
 * calls and the vDSO never disagree.
 */
#ifndef MAYFLY_ABI_VVAR_H
#define MAYFLY_ABI_VVAR_H

#include <stdbool.h>
#include <stdint.h>

#define VVAR_SHIFT 32

enum { VVAR_REALTIME, VVAR_MONOTONIC, VVAR_BOOTTIME, VVAR_RAW, VVAR_CLOCKS };

struct vvar_clock {
	uint64_t base; /* ns, at vvar.tsc */
	uint64_t mult; /* ns for 2^VVAR_SHIFT ticks */
};

struct vvar {
	uint32_t sequence;
	uint32_t cpus; /* 1: there is one CPU, number 0, on node 0 */
	uint64_t tsc;
	uint64_t window; /* ticks */
	uint64_t coarse; /* ns: coarse clocks are multiples of it */
	struct vvar_clock clock[VVAR_CLOCKS];
};

/* How often to look again while the host is at it, before asking. */
#define VVAR_SPINS 128

static inline uint64_t vvar_tsc(void)
{
	uint32_t low, high;

	/* LFENCE: RDTSC is not ordered with the loads before it (SDM vol. 2, RDTSC). */
	__asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (uint64_t)high << 32 | low;
}

/* What the clock says after `delta` ticks. */
static inline uint64_t vvar_scale(const struct vvar_clock *clock, uint64_t delta)
{
	return clock->base + (uint64_t)((unsigned __int128)delta * clock->mult >> VVAR_SHIFT);
}

/* The time of clock `which` in ns; false: ask. */
static inline bool vvar_read(const struct vvar *page, unsigned which, uint64_t *ns)
{
	for (int i = 0; i < VVAR_SPINS; i++) {
		uint32_t sequence = __atomic_load_n(&page->sequence, __ATOMIC_ACQUIRE);
		struct vvar_clock clock;
		uint64_t base, window, delta;

		if (sequence & 1) {
			__builtin_ia32_pause();
			continue;
		}
		base = __atomic_load_n(&page->tsc, __ATOMIC_RELAXED);
		window = __atomic_load_n(&page->window, __ATOMIC_RELAXED);
		clock.base = __atomic_load_n(&page->clock[which].base, __ATOMIC_RELAXED);
		clock.mult = __atomic_load_n(&page->clock[which].mult, __ATOMIC_RELAXED);
		delta = window ? vvar_tsc() - base : 0;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (__atomic_load_n(&page->sequence, __ATOMIC_RELAXED) != sequence)
			continue;
		/* Another CPU's counter may be a little behind the one that `tsc` is of. */
		if ((int64_t)delta < 0 && -delta < window)
			delta = 0;
		if (delta >= window)
			return false;
		*ns = vvar_scale(&clock, delta);
		return true;
	}
	return false;
}

#endif

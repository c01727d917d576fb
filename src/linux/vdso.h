/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program's clocks: the vDSO's image, and the page of parameters by which it turns the
 * time-stamp counter into times (abi/vvar.h).
 *
 * The host's clocks are the model: pairs of counter and time are taken, and a line is laid
 * through them. It is good for a *window*, chosen so that it strays by less than a quarter of a
 * microsecond, a tenth of a second at most; a program that reads a clock after that comes out of
 * the VM by a system call, which renews the page. So there is no thread and no timer for it, and
 * nothing is paid for by programs that don't ask.
 *
 * All of CLOCK_MONOTONIC, BOOTTIME, MONOTONIC_RAW, and REALTIME but for steps of the host's,
 * never go back, whoever reads: where a line proves to have run ahead the next one is less
 * steep, instead of lower.
 */
#ifndef MAYFLY_LINUX_VDSO_H
#define MAYFLY_LINUX_VDSO_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "abi/vvar.h"

/* The image, an ELF shared object of at most PROG_VDSO_PAGES pages. */
extern const uint8_t vdso_start[], vdso_end[];

/* For each clock a moment, on the counter and on the clock. */
struct vdso_sample {
	uint64_t tsc[VVAR_CLOCKS];
	uint64_t ns[VVAR_CLOCKS];
	uint64_t error[VVAR_CLOCKS]; /* ticks: how far apart the two readings may be */
};

struct vdso_clock {
	pthread_mutex_t lock;
	struct vvar *page; /* in guest memory; NULL: there is none yet. Only ever written. */
	struct vvar now;   /* what is in it */
	bool tsc;	   /* the counter is of use */
	/* The line's slope is measured from `origin` on, later from `next`, a second younger. */
	struct vdso_sample origin, next;
	/* The guest's MONOTONIC, BOOTTIME and RAW are the host's plus this, ns. */
	int64_t offset;
};

/* Once per process, early: the longer before the first vdso_clock_start(), the better the rate. */
void vdso_clock_init(struct vdso_clock *clock);
void vdso_clock_fini(struct vdso_clock *clock);
/*
 * From now on `page` is kept; also after it was restored to older contents. `host_tsc`: the
 * guest's counter is the host's. `offset`: see above; 0, or what keeps a program's clocks from
 * going back that was saved before the host was booted. Not while the guest runs.
 */
void vdso_clock_start(struct vdso_clock *clock, struct vvar *page, bool host_tsc, uint32_t cpus,
		      int64_t offset);

/* Have the page follow the host's clocks now, not only when it is old. Any thread. */
void vdso_clock_renew(struct vdso_clock *clock);

/*
 * clock_gettime(2) of the clocks that are not of CPU time, as the guest is to see them. False:
 * no such clock. Any thread.
 */
bool vdso_clock_gettime(struct vdso_clock *clock, clockid_t id, struct timespec *time);
/* The guest's absolute time on such a clock, as the host's. Saturates. */
struct timespec vdso_clock_to_host(const struct vdso_clock *clock, clockid_t id,
				   const struct timespec *time);

#endif

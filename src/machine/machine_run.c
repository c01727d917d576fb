/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting and stopping. Each run has threads of its own, one for each vCPU and one for
 * devices; when it is over, by whatever reason, they have ended, and nothing of the machine
 * moves.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "core/clock.h"
#include "machine/machine.h"
#include "virtio/console.h"

#define NEVER UINT64_MAX
/* For the console's last words. */
#define DRAIN_NS NSEC_PER_SEC

/* --- Reasons to stop ------------------------------------------------------------------- */

/*
 * The first reason counts. But what a guest that is to pause does before all of its vCPUs have
 * left, it would not do again afterwards: its end comes before the pause.
 */
static bool counts(const struct machine *m, enum machine_stop why)
{
	if (m->stop != STOP_PAUSE)
		return m->stop == STOP_NONE;
	return why == STOP_RESET || why == STOP_OFF || why == STOP_EXIT || why == STOP_FAILED;
}

/*
 * Under the lock. vCPUs are kicked, so that each comes back to its thread with nothing half
 * done; a kick of its own ends a vCPU's next entry before it begins.
 */
static void stop_locked(struct machine *m, enum machine_stop why)
{
	if (!counts(m, why))
		return;
	m->stop = why;
	for (uint32_t i = 0; i < m->ncpus; i++)
		hv_vcpu_kick(m->cpus[i].vcpu);
	pthread_cond_broadcast(&m->changed);
}

void machine_stop(struct machine *m, enum machine_stop why)
{
	pthread_mutex_lock(&m->lock);
	stop_locked(m, why);
	pthread_mutex_unlock(&m->lock);
}

void machine_exit(struct machine *m, int status)
{
	pthread_mutex_lock(&m->lock);
	if (counts(m, STOP_EXIT))
		m->exit_status = status;
	stop_locked(m, STOP_EXIT);
	pthread_mutex_unlock(&m->lock);
}

void machine_triple_fault(struct machine *m, const struct machine_fault *fault)
{
	pthread_mutex_lock(&m->lock);
	if (counts(m, STOP_RESET))
		m->fault = *fault;
	stop_locked(m, STOP_RESET);
	pthread_mutex_unlock(&m->lock);
}

void machine_fail(struct machine *m, const mayfly_error *failure)
{
	pthread_mutex_lock(&m->lock);
	if (counts(m, STOP_FAILED))
		m->failure = *failure;
	stop_locked(m, STOP_FAILED);
	pthread_mutex_unlock(&m->lock);
}

void machine_interrupt(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	m->interrupted = true;
	if (m->state == MACHINE_RUNNING)
		stop_locked(m, STOP_INTERRUPTED);
	pthread_mutex_unlock(&m->lock);
}

void machine_mark(struct machine *m, uint8_t value)
{
	char name[16];

	snprintf(name, sizeof(name), "mark %u", value);
	machine_event(m, name);
	if (value == MACHINE_MARK_SNAPSHOT && m->pause_at_mark)
		machine_stop(m, STOP_PAUSE);
}

/* The console has shown the text that was waited for. */
static void text_shown(void *context)
{
	machine_stop(context, STOP_PAUSE);
}

struct new_size {
	struct machine *machine;
	uint16_t columns, rows;
};

static void resize(void *context, uint32_t events)
{
	const struct new_size *size = context;

	(void)events;
	pthread_mutex_lock(&size->machine->save_lock);
	console_resize(size->machine->virtio_console, size->columns, size->rows);
	pthread_mutex_unlock(&size->machine->save_lock);
}

void machine_resize(struct machine *m, uint16_t columns, uint16_t rows)
{
	struct new_size size = {m, columns, rows};

	if (m->virtio_console)
		loop_call(m->loop, resize, &size);
}

/* --- Threads ------------------------------------------------------------------------------ */

static void devices_main(void *context, const mayfly_error *failure)
{
	struct machine *m = context;

	if (failure) {
		machine_fail(m, failure);
		loop_expect(m->loop, false);
	} else {
		loop_run(m->loop);
	}
}

/* Threads that could not be started are as those that have ended. */
static void run_threads(struct machine *m, uint64_t deadline, enum machine_stop at_deadline)
{
	struct timespec until = clock_timespec(deadline);
	const struct worker_plan cpu = {.kind = JAIL_CPU, .confined = !m->no_seccomp};
	const struct worker_plan devices = {.kind = JAIL_DEVICES, .confined = !m->no_seccomp};
	mayfly_error err;
	int r = 0;

	/* vCPUs first: they have the longer way to go. Devices' work waits for their thread. */
	loop_expect(m->loop, true);
	for (uint32_t i = 0; r == 0 && i < m->ncpus; i++) {
		r = worker_start(&m->workers[i], &cpu, &err);
		if (r == 0)
			worker_give(&m->workers[i], machine_cpu_main, &m->cpus[i]);
	}
	if (r == 0)
		r = worker_start(&m->loop_worker, &devices, &err);
	if (r == 0) {
		worker_give(&m->loop_worker, devices_main, m);
		machine_event(m, "running");
	} else {
		machine_fail(m, &err);
		loop_expect(m->loop, false);
	}
	pthread_mutex_lock(&m->lock);
	while (m->stop == STOP_NONE) {
		if (deadline == NEVER)
			pthread_cond_wait(&m->changed, &m->lock);
		else if (pthread_cond_timedwait(&m->changed, &m->lock, &until) == ETIMEDOUT)
			stop_locked(m, at_deadline);
	}
	pthread_mutex_unlock(&m->lock);
	for (uint32_t i = 0; i < m->ncpus; i++)
		worker_join(&m->workers[i]);
	if (m->loop_worker.started)
		loop_stop(m->loop);
	worker_join(&m->loop_worker);
}

/* --- Runs --------------------------------------------------------------------------------- */

/* Whether it may run now; then it does. */
static int begin(struct machine *m, mayfly_error *err)
{
	int r = 0;

	pthread_mutex_lock(&m->lock);
	if (m->owner != getpid())
		r = fail(err, MAYFLY_E_PROTOCOL,
			 "the machine was made by another process, which forked this one");
	else if (m->state == MACHINE_RUNNING)
		r = fail(err, MAYFLY_E_BUSY, "the machine is running");
	else if (m->state == MACHINE_ENDED)
		r = fail(err, MAYFLY_E_PROTOCOL, "the machine has ended");
	if (r == 0) {
		m->state = MACHINE_RUNNING;
		m->stop = STOP_NONE;
		for (uint32_t i = 0; i < m->ncpus; i++)
			hv_vcpu_unkick(m->cpus[i].vcpu);
		if (m->interrupted)
			stop_locked(m, STOP_INTERRUPTED);
	}
	pthread_mutex_unlock(&m->lock);
	return r;
}

static int finish(struct machine *m, mayfly_machine_end *end, mayfly_error *err)
{
	enum machine_stop why;

	pthread_mutex_lock(&m->lock);
	why = m->stop;
	m->state = why == STOP_PAUSE ? MACHINE_PAUSED : MACHINE_ENDED;
	pthread_mutex_unlock(&m->lock);
	switch (why) {
	case STOP_PAUSE:
		end->reason = MAYFLY_MACHINE_PAUSE;
		break;
	case STOP_RESET:
		end->reason = MAYFLY_MACHINE_RESET;
		end->triple_fault = m->fault.happened;
		end->fault_cpu = m->fault.cpu;
		end->fault_has_ip = m->fault.has_ip;
		end->fault_ip = m->fault.ip;
		break;
	case STOP_OFF:
		end->reason = MAYFLY_MACHINE_OFF;
		break;
	case STOP_EXIT:
		end->reason = MAYFLY_MACHINE_EXIT;
		end->status = m->exit_status;
		break;
	case STOP_TIMEOUT:
		return fail(err, MAYFLY_E_TIMEOUT,
			    "the machine's time limit of %llu ms is over",
			    (unsigned long long)(m->timeout / 1000000));
	case STOP_INTERRUPTED:
		return fail(err, MAYFLY_E_INTERRUPTED, "the machine was interrupted");
	case STOP_FAILED:
	case STOP_NONE:
		if (err)
			*err = m->failure;
		return m->failure.code;
	}
	return 0;
}

/* The earlier of the pause's time and the limit's. */
static uint64_t deadline_of(const struct machine *m, uint64_t now, uint64_t after,
			    enum machine_stop *at_deadline)
{
	uint64_t left = m->timeout > m->used ? m->timeout - m->used : 0;

	*at_deadline = STOP_PAUSE;
	if (m->timeout && (!after || left <= after)) {
		*at_deadline = STOP_TIMEOUT;
		after = left;
	} else if (!after) {
		return NEVER;
	}
	return add_overflows(now, after, &after) ? NEVER : after;
}

int machine_run(struct machine *m, const mayfly_machine_pause *pause, mayfly_machine_end *end,
		mayfly_error *err)
{
	const char *text = pause ? pause->console : NULL;
	uint64_t start = clock_now(), deadline;
	enum machine_stop at_deadline;
	int r = begin(m, err);

	if (r < 0)
		return r;
	m->pause_at_mark = pause && pause->port;
	if (text)
		r = stream_watch(m->console, text, text_shown, m, err);
	if (r < 0) {
		m->state = m->ran ? MACHINE_PAUSED : MACHINE_NEW;
		return r;
	}
	deadline = deadline_of(m, start, pause ? pause->after_ns : 0, &at_deadline);
	run_threads(m, deadline, at_deadline);
	m->ran = true;
	m->used += clock_now() - start;
	if (text)
		(void)stream_watch(m->console, NULL, NULL, NULL, NULL);
	stream_drain(m->console, DRAIN_NS);
	end->console_errno = stream_lost(m->console);
	r = finish(m, end, err);
	machine_event(m, r == 0 && end->reason == MAYFLY_MACHINE_PAUSE ? "pause" : "end");
	return r;
}

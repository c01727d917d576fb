/* SPDX-License-Identifier: Apache-2.0 */
/* Rows about one sandbox that lives on: calls, restores, interruption. */
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#include "bench.h"
#include "cli.h"
#include "message.h"

/* Ends a call that was not interrupted, so that the bench says so instead of hanging. */
#define RESCUE_NS ((uint64_t)5000000000)
/* From the moment that the guest calls the host until it surely spins again. */
#define SETTLE_NS 300000

/* The state of a row: a guest and, within a round, a sandbox. */
struct subject {
	struct bench_guest guest;
	mayfly_sandbox *sb;
	uint32_t pages;
};

static int begin(const struct bench_row *row, void **state, mayfly_error *err)
{
	struct subject *s = xrealloc(NULL, 1, sizeof(*s));
	int r;

	*s = (struct subject){.pages = row->pages};
	r = bench_guest_load(&s->guest, row->memory ? row->memory : BENCH_MEMORY, err);
	if (r != MAYFLY_OK)
		free(s);
	else
		*state = s;
	return r;
}

static int enter(void *state, mayfly_error *err)
{
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	struct subject *s = state;

	options.host_functions = &bench_host_add;
	options.host_function_count = 1;
	return mayfly_sandbox_new(s->guest.snap, &options, &s->sb, err);
}

static void leave(void *state)
{
	struct subject *s = state;

	mayfly_sandbox_free(s->sb);
	s->sb = NULL;
}

static void end(void *state)
{
	struct subject *s = state;

	if (s)
		bench_guest_fini(&s->guest);
	free(s);
}

static int sample_call(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct subject *s = state;

	return bench_sample_add(&s->guest, s->sb, ret_ns, err);
}

static int sample_call_host(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct subject *s = state;

	return bench_sample_call_host(&s->guest, s->sb, ret_ns, err);
}

static int sample_restore(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct subject *s = state;
	uint64_t start = now_ns();
	int r = mayfly_sandbox_restore(s->sb, NULL, err);

	if (r == MAYFLY_OK)
		r = bench_guest_dirty(&s->guest, s->sb, s->pages, err);
	*ret_ns = now_ns() - start;
	return r;
}

/* --- Interruption ---------------------------------------------------------------------------- */

/* A thread that is inside the call while this one interrupts it. */
struct runner {
	struct bench_guest guest;
	mayfly_sandbox *sb;
	pthread_t thread;
	bool running;
	bool quit;
	sem_t go;	/* to the runner: call */
	sem_t spinning; /* from the guest, by its host function */
	sem_t done;	/* from the runner: the call has ended */
	int result;
	mayfly_error error;
	uint64_t ended;
};

static int host_spinning(void *context, mayfly_sandbox *sb, const mayfly_value *args,
			 size_t nargs, mayfly_value *result, mayfly_error *err)
{
	struct runner *r = context;

	(void)sb;
	(void)args;
	(void)nargs;
	(void)result;
	(void)err;
	sem_post(&r->spinning);
	return MAYFLY_OK;
}

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem) != 0)
		;
}

static void *run_spin(void *context)
{
	struct runner *r = context;

	for (;;) {
		wait_for(&r->go);
		if (r->quit)
			return NULL;
		r->result = mayfly_sandbox_call(r->sb, r->guest.spin, NULL, 0, NULL, &r->error);
		r->ended = now_ns();
		/* Wakes the other thread also where the guest never came to spin. */
		if (r->result != MAYFLY_E_INTERRUPTED)
			sem_post(&r->spinning);
		sem_post(&r->done);
	}
}

static int begin_interrupt(const struct bench_row *row, void **state, mayfly_error *err)
{
	struct runner *r = xrealloc(NULL, 1, sizeof(*r));
	int e;

	*r = (struct runner){.running = false};
	e = bench_guest_load(&r->guest, row->memory ? row->memory : BENCH_MEMORY, err);
	if (e != MAYFLY_OK) {
		free(r);
		return e;
	}
	sem_init(&r->go, 0, 0);
	sem_init(&r->spinning, 0, 0);
	sem_init(&r->done, 0, 0);
	*state = r;
	return MAYFLY_OK;
}

static int enter_interrupt(void *state, mayfly_error *err)
{
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	struct runner *r = state;
	const mayfly_host_function function = {
		.name = "spinning", .signature = "void()", .fn = host_spinning, .context = r};
	int e;

	options.timeout_ns = RESCUE_NS;
	options.host_functions = &function;
	options.host_function_count = 1;
	e = mayfly_sandbox_new(r->guest.snap, &options, &r->sb, err);
	if (e != MAYFLY_OK)
		return e;
	r->quit = false;
	r->running = pthread_create(&r->thread, NULL, run_spin, r) == 0;
	if (!r->running)
		return mayfly_error_set(err, MAYFLY_E_NOMEM, "no second thread can be started");
	return MAYFLY_OK;
}

static int sample_interrupt(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	const struct timespec settle = {.tv_nsec = SETTLE_NS};
	struct runner *r = state;
	uint64_t start;

	sem_post(&r->go);
	wait_for(&r->spinning);
	clock_nanosleep(CLOCK_MONOTONIC, 0, &settle, NULL);
	start = now_ns();
	mayfly_sandbox_interrupt(r->sb);
	wait_for(&r->done);
	if (r->result != MAYFLY_E_INTERRUPTED) {
		while (sem_trywait(&r->spinning) == 0)
			;
		return mayfly_error_set(err, MAYFLY_E_PROTOCOL,
					"an endless call that was interrupted ended with: %s",
					r->result == MAYFLY_OK ? "success" : r->error.message);
	}
	*ret_ns = r->ended - start;
	return mayfly_sandbox_restore(r->sb, NULL, err);
}

static void leave_interrupt(void *state)
{
	struct runner *r = state;

	if (r->running) {
		r->quit = true;
		sem_post(&r->go);
		pthread_join(r->thread, NULL);
		r->running = false;
	}
	mayfly_sandbox_free(r->sb);
	r->sb = NULL;
}

static void end_interrupt(void *state)
{
	struct runner *r = state;

	if (!r)
		return;
	bench_guest_fini(&r->guest);
	sem_destroy(&r->go);
	sem_destroy(&r->spinning);
	sem_destroy(&r->done);
	free(r);
}

#define WARM                                                                                   \
	.batch = 50, .warmup = 20, .needs_kvm = true, .begin = begin, .enter = enter,          \
	.leave = leave, .end = end

#define MIB ((uint64_t)1 << 20)

const struct bench_row bench_call_rows[] = {
	{.name = "warm_call",
	 .what = "call a function of two integers",
	 WARM,
	 .sample = sample_call},
	{.name = "call_with_host_function",
	 .what = "call one that calls the host once",
	 WARM,
	 .sample = sample_call_host},
	{.name = "restore_call_0",
	 .what = "restore, call one that writes no page",
	 WARM,
	 .pages = 0,
	 .sample = sample_restore},
	{.name = "restore_call_16",
	 .what = "restore, call one that writes 16 pages",
	 WARM,
	 .pages = 16,
	 .sample = sample_restore},
	{.name = "restore_call_64",
	 .what = "the same with 64 pages",
	 WARM,
	 .pages = 64,
	 .sample = sample_restore},
	{.name = "restore_call_256",
	 .what = "the same with 256 pages",
	 WARM,
	 .pages = 256,
	 .sample = sample_restore},
	{.name = "restore_call_16_64m",
	 .what = "16 pages in a guest of 64 MiB",
	 WARM,
	 .pages = 16,
	 .memory = 64 * MIB,
	 .sample = sample_restore},
	{.name = "restore_call_16_1g",
	 .what = "16 pages in a guest of 1 GiB",
	 WARM,
	 .pages = 16,
	 .memory = 1024 * MIB,
	 .sample = sample_restore},
	{.name = "interrupt",
	 .what = "from the interruption of an endless call to its end",
	 .batch = 10,
	 .warmup = 2,
	 .needs_kvm = true,
	 .begin = begin_interrupt,
	 .enter = enter_interrupt,
	 .sample = sample_interrupt,
	 .leave = leave_interrupt,
	 .end = end_interrupt},
	{.name = NULL},
};

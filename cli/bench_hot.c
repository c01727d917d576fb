/* SPDX-License-Identifier: Apache-2.0 */
/* Rows about calls without an exit, and about many calls at a time. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "bench.h"
#include "cli.h"
#include "message.h"

#define BATCH 1000
#define MOST_THREADS 2
/* Longer than a hot sandbox waits; then it sleeps. */
#define ASLEEP_NS 500000
#define IDLE_NS 50000000

/* A thread that calls its own sandbox. */
struct caller {
	struct hot_subject *subject;
	mayfly_sandbox *sb;
	pthread_t thread;
	uint64_t started, ended;
	int result;
	mayfly_error error;
};

struct hot_subject {
	struct bench_guest guest;
	mayfly_dispatch dispatch;
	uint32_t threads;
	struct caller callers[MOST_THREADS];
	mayfly_value args[2 * BATCH];
	mayfly_value results[BATCH];
	pthread_barrier_t start;
};

static int begin_subject(const struct bench_row *row, mayfly_dispatch dispatch, void **state,
			 mayfly_error *err)
{
	struct hot_subject *s = xrealloc(NULL, 1, sizeof(*s));
	int r;

	*s = (struct hot_subject){.dispatch = dispatch};
	s->threads = row->threads ? row->threads : 1;
	for (int64_t i = 0; i < BATCH; i++) {
		s->args[2 * i] = mayfly_i64(i);
		s->args[2 * i + 1] = mayfly_i64(1);
	}
	r = bench_guest_load(&s->guest, BENCH_MEMORY, err);
	if (r != MAYFLY_OK)
		free(s);
	else
		*state = s;
	return r;
}

static int begin_hot(const struct bench_row *row, void **state, mayfly_error *err)
{
	return begin_subject(row, MAYFLY_DISPATCH_HOT, state, err);
}

static int begin_normal(const struct bench_row *row, void **state, mayfly_error *err)
{
	return begin_subject(row, MAYFLY_DISPATCH_NORMAL, state, err);
}

static int enter(void *state, mayfly_error *err)
{
	mayfly_sandbox_options options = MAYFLY_SANDBOX_OPTIONS_INIT;
	struct hot_subject *s = state;
	int r = MAYFLY_OK;

	options.host_functions = &bench_host_add;
	options.host_function_count = 1;
	options.dispatch = s->dispatch;
	for (uint32_t i = 0; r == MAYFLY_OK && i < s->threads; i++) {
		s->callers[i].subject = s;
		r = mayfly_sandbox_new(s->guest.snap, &options, &s->callers[i].sb, err);
		if (r == MAYFLY_OK)
			r = bench_guest_add(&s->guest, s->callers[i].sb, err);
	}
	return r;
}

static void leave(void *state)
{
	struct hot_subject *s = state;

	for (uint32_t i = 0; i < s->threads; i++) {
		mayfly_sandbox_free(s->callers[i].sb);
		s->callers[i].sb = NULL;
	}
}

static void end(void *state)
{
	struct hot_subject *s = state;

	if (s)
		bench_guest_fini(&s->guest);
	free(s);
}

static int sample_call(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct hot_subject *s = state;

	return bench_sample_add(&s->guest, s->callers[0].sb, ret_ns, err);
}

static int sample_call_host(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct hot_subject *s = state;

	return bench_sample_call_host(&s->guest, s->callers[0].sb, ret_ns, err);
}

static int sample_batch(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct hot_subject *s = state;
	mayfly_batch batch = MAYFLY_BATCH_INIT;
	uint64_t start;
	int r;

	batch.args = s->args;
	batch.nargs = 2;
	batch.count = BATCH;
	batch.results = s->results;
	start = now_ns();
	r = mayfly_sandbox_call_many(s->callers[0].sb, s->guest.add, &batch, err);
	*ret_ns = now_ns() - start;
	for (int64_t i = 0; r == MAYFLY_OK && i < BATCH; i++)
		if (s->results[i].as.i64 != i + 1)
			return mayfly_error_set(err, MAYFLY_E_PROTOCOL,
						"call %d of a batch gave a wrong result",
						(int)i);
	return r;
}

static void pass_time(uint64_t ns)
{
	const struct timespec t = {.tv_nsec = (long)ns};

	clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

static int sample_wake(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	pass_time(ASLEEP_NS);
	return sample_call(state, ret_ns, err);
}

/* CPU time of the process, not time. */
static int sample_idle(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	uint64_t unused, start;
	int r = sample_call(state, &unused, err);

	pass_time(ASLEEP_NS);
	start = clock_read(CLOCK_PROCESS_CPUTIME_ID);
	pass_time(IDLE_NS);
	*ret_ns = clock_read(CLOCK_PROCESS_CPUTIME_ID) - start;
	return r;
}

/* --- Throughput ------------------------------------------------------------------------------ */

static void *call_often(void *context)
{
	struct caller *c = context;

	pthread_barrier_wait(&c->subject->start);
	c->result = MAYFLY_OK;
	c->started = now_ns();
	for (int i = 0; c->result == MAYFLY_OK && i < BATCH; i++)
		c->result = bench_guest_add(&c->subject->guest, c->sb, &c->error);
	c->ended = now_ns();
	return NULL;
}

/* Time that passes for each call, of all threads together. */
static int sample_throughput(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct hot_subject *s = state;
	uint64_t started = UINT64_MAX, ended = 0;
	int r = MAYFLY_OK;

	pthread_barrier_init(&s->start, NULL, s->threads);
	for (uint32_t i = 0; i < s->threads; i++) {
		struct caller *c = &s->callers[i];

		if (pthread_create(&c->thread, NULL, call_often, c) != 0) {
			/* The others wait for it for ever. */
			complain("no thread can be started");
			exit(STATUS_FAILED);
		}
	}
	for (uint32_t i = 0; i < s->threads; i++) {
		struct caller *c = &s->callers[i];

		pthread_join(c->thread, NULL);
		started = c->started < started ? c->started : started;
		ended = c->ended > ended ? c->ended : ended;
		if (c->result != MAYFLY_OK) {
			r = c->result;
			*err = c->error;
		}
	}
	pthread_barrier_destroy(&s->start);
	*ret_ns = (ended - started) / ((uint64_t)s->threads * BATCH);
	return r;
}

/* --- The floor: two threads and a word of memory --------------------------------------------- */

struct mailbox {
	_Alignas(64) uint64_t turn; /* one line for both, as the call block has it */
	uint64_t answer;
	_Alignas(64) pthread_t thread;
	bool running;
};

static void *answer(void *context)
{
	struct mailbox *m = context;
	uint64_t last = 0;

	while (last != UINT64_MAX) {
		uint64_t turn;

		while ((turn = __atomic_load_n(&m->turn, __ATOMIC_ACQUIRE)) == last)
			__builtin_ia32_pause();
		last = turn;
		__atomic_store_n(&m->answer, turn, __ATOMIC_RELEASE);
	}
	return NULL;
}

static int begin_mailbox(const struct bench_row *row, void **state, mayfly_error *err)
{
	struct mailbox *m = aligned_alloc(64, sizeof(*m));

	(void)row;
	if (!m)
		return mayfly_error_set(err, MAYFLY_E_NOMEM, "no memory");
	*m = (struct mailbox){.turn = 0};
	*state = m;
	return MAYFLY_OK;
}

static int enter_mailbox(void *state, mayfly_error *err)
{
	struct mailbox *m = state;

	m->turn = m->answer = 0;
	m->running = pthread_create(&m->thread, NULL, answer, m) == 0;
	if (!m->running)
		return mayfly_error_set(err, MAYFLY_E_NOMEM, "no second thread can be started");
	return MAYFLY_OK;
}

static int sample_mailbox(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct mailbox *m = state;
	uint64_t start = now_ns(), turn = m->turn + 1;

	(void)err;
	__atomic_store_n(&m->turn, turn, __ATOMIC_RELEASE);
	while (__atomic_load_n(&m->answer, __ATOMIC_ACQUIRE) != turn)
		__builtin_ia32_pause();
	*ret_ns = now_ns() - start;
	return MAYFLY_OK;
}

static void leave_mailbox(void *state)
{
	struct mailbox *m = state;

	if (!m->running)
		return;
	__atomic_store_n(&m->turn, UINT64_MAX, __ATOMIC_RELEASE);
	pthread_join(m->thread, NULL);
	m->running = false;
}

#define SUBJECT .needs_kvm = true, .enter = enter, .leave = leave, .end = end

const struct bench_row bench_hot_rows[] = {
	{.name = "bare_mailbox",
	 .what = "a word of memory to another CPU's thread and back, both polling",
	 .batch = 1000,
	 .warmup = 200,
	 .begin = begin_mailbox,
	 .enter = enter_mailbox,
	 .sample = sample_mailbox,
	 .leave = leave_mailbox,
	 .end = free},
	{.name = "hot_call",
	 .what = "warm_call under hot dispatch",
	 SUBJECT,
	 .batch = 1000,
	 .warmup = 200,
	 .begin = begin_hot,
	 .sample = sample_call},
	{.name = "hot_call_host",
	 .what = "call_with_host_function under hot dispatch",
	 SUBJECT,
	 .batch = 1000,
	 .warmup = 200,
	 .begin = begin_hot,
	 .sample = sample_call_host},
	{.name = "batch_1000",
	 .what = "1,000 calls in a batch",
	 SUBJECT,
	 .batch = 10,
	 .warmup = 4,
	 .begin = begin_normal,
	 .sample = sample_batch},
	{.name = "hot_batch_1000",
	 .what = "the same under hot dispatch",
	 SUBJECT,
	 .batch = 20,
	 .warmup = 4,
	 .begin = begin_hot,
	 .sample = sample_batch},
	{.name = "hot_wake",
	 .what = "a hot call after half a millisecond without one",
	 SUBJECT,
	 .batch = 10,
	 .warmup = 2,
	 .begin = begin_hot,
	 .sample = sample_wake},
	{.name = "hot_throughput_1",
	 .what = "time for each call of 1,000 without a pause, one thread",
	 SUBJECT,
	 .batch = 4,
	 .warmup = 1,
	 .threads = 1,
	 .begin = begin_hot,
	 .sample = sample_throughput},
	{.name = "hot_throughput_2",
	 .what = "the same, two threads with a sandbox each: for each call of both",
	 SUBJECT,
	 .batch = 2,
	 .warmup = 1,
	 .threads = 2,
	 .begin = begin_hot,
	 .sample = sample_throughput},
	{.name = "hot_idle_50ms",
	 .what = "CPU time, not time, that a hot sandbox uses in 50 idle milliseconds",
	 SUBJECT,
	 .batch = 1,
	 .begin = begin_hot,
	 .sample = sample_idle},
	{.name = NULL},
};

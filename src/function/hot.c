/* SPDX-License-Identifier: Apache-2.0 */
#include "function/hot.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/thread.h"
#include "function/sandbox.h"

/* A guest that is to leave gets so long, busy hosts considered, before it is stopped. */
#define REST_NS 20000000u
#define MUST_REST_NS 2000000000u
/* One that stays in the VM without a call, although the gate would have left, is stopped. */
#define OVERSTAY_NS 20000000u
/* Of the vCPU's thread: KVM_RUN, and words for its errors. */
#define STACK ((size_t)256 << 10)

/*
 * Whose the vCPU is. Written by the owner of the sandbox, but for RUNNING to PARKED by the vCPU's
 * thread: with the exit beside it.
 */
enum hot_state { HOT_PARKED, HOT_RUNNING, HOT_QUIT };

struct hot {
	uint32_t state;	   /* atomic, a futex: hot_state */
	uint32_t sleeping; /* atomic: the owner is about to wait for PARKED in the kernel */
	struct hv_exit exit;
	int result; /* of hv_vcpu_run() */
	mayfly_error error;

	/* The owner's. */
	_Alignas(64) uint32_t turn; /* what it made `turn` of the call block */
	uint32_t answered;	    /* the last `answer` that it took */
	uint32_t spins;		    /* PAUSEs before it sleeps */
	uint32_t guest_spins;	    /* the gate's */
	struct hv_vcpu *vcpu;
	pthread_t thread;
	clockid_t clock;

	/* The watchdog's. */
	struct watchdog_entry watch;
	mayfly_sandbox *sandbox;
	uint64_t overstay_ns;
	uint64_t seen_state; /* of the sandbox's run_state, when it looked last */
	uint32_t armed;	     /* atomic */
};

static void futex_wait(uint32_t *word, uint32_t value, const struct timespec *timeout)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout, NULL, 0);
}

static void futex_wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static inline void cpu_pause(void)
{
	__builtin_ia32_pause();
}

static inline uint32_t state_of(const struct hot *hot)
{
	return __atomic_load_n(&hot->state, __ATOMIC_ACQUIRE);
}

/* --- The vCPU's thread -------------------------------------------------------------------- */

static void *run_vcpu(void *arg)
{
	struct hot *hot = arg;

	for (;;) {
		uint32_t state = state_of(hot);

		if (state == HOT_PARKED) {
			futex_wait(&hot->state, HOT_PARKED, NULL);
			continue;
		}
		if (state == HOT_QUIT)
			return NULL;
		hot->result = hv_vcpu_run(hot->vcpu, &hot->exit, &hot->error);
		__atomic_store_n(&hot->state, HOT_PARKED, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&hot->sleeping, __ATOMIC_SEQ_CST))
			futex_wake(&hot->state);
	}
}

static int start_thread(struct hot *hot, mayfly_error *err)
{
	int r = thread_start(&hot->thread, STACK, run_vcpu, hot);

	if (r)
		return fail_errno(err, MAYFLY_E_NOMEM, r, "starting the thread of a vCPU");
	if (pthread_getcpuclockid(hot->thread, &hot->clock))
		hot->clock = 0;
	return 0;
}

/* --- How long is how many PAUSEs ---------------------------------------------------------- */

/* PAUSEs in a millisecond: 10 to 140 cycles each, by the CPU's kind. */
static uint64_t pause_rate(void)
{
	static uint64_t known; /* atomic */
	uint64_t rate = __atomic_load_n(&known, __ATOMIC_RELAXED);
	const uint64_t count = 512;

	/* The quickest of some: whatever else runs makes it slower only. */
	for (int i = 0; !rate || i < 4; i++) {
		uint64_t start = clock_now(), took, found;

		if (rate && !i)
			return rate;
		for (uint64_t n = 0; n < count; n++)
			cpu_pause();
		took = clock_now() - start;
		found = count * 1000000u / (took ? took : 1);
		if (found > rate)
			rate = found ? found : 1;
	}
	__atomic_store_n(&known, rate, __ATOMIC_RELAXED);
	return rate;
}

/* With one CPU, waiting for the other side keeps it from running. */
static bool has_two_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) > 1;
}

static void set_waiting(struct hot *hot, uint64_t wait_ns)
{
	uint64_t spins = has_two_cpus() ? pause_rate() * wait_ns / 1000000u : 0;

	hot->spins = spins > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)spins;
	hot->guest_spins = hot->spins ? hot->spins : 1;
	hot->overstay_ns = wait_ns * 2 > OVERSTAY_NS ? wait_ns * 2 : OVERSTAY_NS;
}

/* --- Overstaying -------------------------------------------------------------------------- */

/*
 * On the watchdog's thread, now and then while the vCPU runs: the gate leaves by itself when no
 * call comes, but nobody can make a guest stay in the gate.
 */
static uint64_t hot_overstays(struct watchdog_entry *entry, uint64_t now)
{
	struct hot *hot = (struct hot *)(void *)((char *)entry - offsetof(struct hot, watch));
	uint64_t state;

	if (state_of(hot) != HOT_RUNNING) {
		__atomic_store_n(&hot->armed, 0, __ATOMIC_SEQ_CST);
		/* Either this sees that it runs again, or release() sees that nobody looks. */
		if (__atomic_load_n(&hot->state, __ATOMIC_SEQ_CST) != HOT_RUNNING)
			return WATCHDOG_NEVER;
		__atomic_store_n(&hot->armed, 1, __ATOMIC_SEQ_CST);
	}
	state = __atomic_load_n(&hot->sandbox->run_state, __ATOMIC_ACQUIRE);
	if (state == hot->seen_state && state % RUN_STATES == RUN_IDLE)
		sandbox_stop_idle(hot->sandbox, state);
	hot->seen_state = state;
	return now + hot->overstay_ns;
}

/* --- The vCPU goes and stops -------------------------------------------------------------- */

static void release(struct hot *hot)
{
	__atomic_store_n(&hot->state, HOT_RUNNING, __ATOMIC_SEQ_CST);
	futex_wake(&hot->state);
	if (__atomic_load_n(&hot->armed, __ATOMIC_SEQ_CST))
		return;
	__atomic_store_n(&hot->armed, 1, __ATOMIC_SEQ_CST);
	watchdog_arm(&hot->watch, clock_now() + hot->overstay_ns);
}

/* In the kernel, until the vCPU is parked or `timeout`, if any, is over. */
static void sleep_until_parked(struct hot *hot, const struct timespec *timeout)
{
	__atomic_store_n(&hot->sleeping, 1, __ATOMIC_SEQ_CST);
	futex_wait(&hot->state, HOT_RUNNING, timeout);
	__atomic_store_n(&hot->sleeping, 0, __ATOMIC_RELAXED);
}

static void wait_until_parked(struct hot *hot)
{
	uint32_t left = hot->spins;

	while (state_of(hot) == HOT_RUNNING) {
		if (left) {
			left--;
			cpu_pause();
		} else {
			sleep_until_parked(hot, NULL);
		}
	}
}

bool hot_is_running(const mayfly_sandbox *sb)
{
	return sb->hot && state_of(sb->hot) == HOT_RUNNING;
}

void hot_park(mayfly_sandbox *sb)
{
	if (!hot_is_running(sb))
		return;
	hv_vcpu_kick(sb->hot->vcpu);
	wait_until_parked(sb->hot);
	/* Whoever else kicks at this moment has said so in run_state, and that is looked at. */
	hv_vcpu_unkick(sb->hot->vcpu);
}

/* --- Turns -------------------------------------------------------------------------------- */

/* Somebody told the call to end: the vCPU is not to go on. */
static bool is_stopped(const mayfly_sandbox *sb)
{
	uint64_t state = __atomic_load_n(&sb->run_state, __ATOMIC_SEQ_CST) % RUN_STATES;

	return state == RUN_STOPPING || state == RUN_STOPPED;
}

static bool is_gate_exit(const struct hot *hot)
{
	return hot->result == 0 && hot->exit.kind == HV_EXIT_IO && hot->exit.io.out &&
	       hot->exit.io.port == FN_PORT_GATE;
}

/* A kick that was for something else: parked, overstayed, or for a call that ended all the same. */
static bool is_idle_kick(const struct hot *hot)
{
	return hot->result == 0 && hot->exit.kind == HV_EXIT_KICKED;
}

static int give_exit(const struct hot *hot, struct hv_exit *exit, mayfly_error *err)
{
	*exit = hot->exit;
	if (hot->result < 0 && err)
		*err = hot->error;
	return hot->result;
}

static int give_gate_exit(struct hv_exit *exit)
{
	*exit = (struct hv_exit){
		.kind = HV_EXIT_IO,
		.io = {.port = FN_PORT_GATE, .size = 1, .out = true, .count = 1}};
	return 0;
}

static int out_of_turn(mayfly_sandbox *sb, mayfly_error *err)
{
	return fault_protocol(sb, err, "it wrote to the mailbox out of turn");
}

/* Let a parked vCPU go on. False: *exit says what to do instead, and *r what to give. */
static bool resume(mayfly_sandbox *sb, struct hv_exit *exit, int *r, mayfly_error *err)
{
	struct hot *hot = sb->hot;

	if (!is_gate_exit(hot) && !is_idle_kick(hot)) {
		*r = give_exit(hot, exit, err);
		return false;
	}
	if (is_stopped(sb)) {
		exit->kind = HV_EXIT_KICKED;
		*r = 0;
		return false;
	}
	release(hot);
	return true;
}

/* It was about to leave when its turn came: have that behind us, then resume. */
static bool resume_left(mayfly_sandbox *sb, struct hv_exit *exit, int *r, mayfly_error *err)
{
	struct hot *hot = sb->hot;

	for (;;) {
		wait_until_parked(hot);
		if (is_gate_exit(hot))
			return resume(sb, exit, r, err);
		if (!resume(sb, exit, r, err))
			return false;
	}
}

/* Nothing for long: sleep, after telling the gate to leave as soon as it has an answer. */
static void sleep_for_answer(mayfly_sandbox *sb)
{
	struct hot *hot = sb->hot;

	__atomic_store_n(&sb->fresh->spin, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&sb->call->answer, __ATOMIC_SEQ_CST) == hot->answered)
		sleep_until_parked(hot, NULL);
	__atomic_store_n(&sb->fresh->spin, hot->guest_spins, __ATOMIC_RELAXED);
}

static uint32_t turn_of(const mayfly_sandbox *sb)
{
	return __atomic_load_n(&sb->call->turn, __ATOMIC_RELAXED) & ~FN_TURN_LEFT;
}

static int wait_for_answer(mayfly_sandbox *sb, struct hv_exit *exit, mayfly_error *err)
{
	struct hot *hot = sb->hot;
	uint32_t left = hot->spins;
	int r;

	for (;;) {
		bool parked = state_of(hot) == HOT_PARKED; /* before what it wrote last */
		uint32_t answer = __atomic_load_n(&sb->call->answer, __ATOMIC_ACQUIRE);

		if (__builtin_expect(answer == hot->turn, true)) {
			hot->answered = answer;
			return give_gate_exit(exit);
		}
		if (answer != hot->answered)
			return out_of_turn(sb, err);
		if (parked) {
			if (is_gate_exit(hot) && turn_of(sb) != hot->turn)
				return out_of_turn(sb, err);
			if (!is_idle_kick(hot))
				return give_exit(hot, exit, err);
			if (!resume(sb, exit, &r, err))
				return r;
		} else if (left) {
			left--;
			cpu_pause();
		} else {
			sleep_for_answer(sb);
		}
	}
}

/* Gives what `turn` was. */
static uint32_t hand_over(mayfly_sandbox *sb)
{
	struct hot *hot = sb->hot;

	hot->turn = (hot->turn + 1) & ~FN_TURN_LEFT;
	sb->call->reply = sb->reply;
	sb->call->nstack = sb->nstack;
	return __atomic_exchange_n(&sb->call->turn, hot->turn, __ATOMIC_SEQ_CST);
}

int hot_exchange(mayfly_sandbox *sb, struct hv_exit *exit, mayfly_error *err)
{
	struct hot *hot = sb->hot;
	/* Before its turn comes: what stops from then on may have had it already. */
	bool parked = state_of(hot) == HOT_PARKED;
	uint32_t last = hot->turn, was;
	int r;

	/* It went astray after its last answer. */
	if (parked && !is_gate_exit(hot) && !is_idle_kick(hot))
		return give_exit(hot, exit, err);
	if (__atomic_load_n(&sb->call->answer, __ATOMIC_RELAXED) != hot->answered)
		return out_of_turn(sb, err);
	was = hand_over(sb);
	if ((was & ~FN_TURN_LEFT) != last)
		return out_of_turn(sb, err);
	if (was & FN_TURN_LEFT) {
		if (!resume_left(sb, exit, &r, err))
			return r;
	} else if (parked && !resume(sb, exit, &r, err)) {
		return r;
	}
	if (sb->meanwhile) {
		void (*meanwhile)(void *) = sb->meanwhile;

		sb->meanwhile = NULL;
		meanwhile(sb->meanwhile_context);
	}
	return wait_for_answer(sb, exit, err);
}

/* --- Rest --------------------------------------------------------------------------------- */

/* Tell a guest that waits in the gate to leave; one that is leaving anyway does not hear of it. */
static void send_out(mayfly_sandbox *sb)
{
	sb->reply = FN_REPLY_PARK;
	sb->nstack = 0;
	__atomic_store_n(&sb->fresh->spin, 1, __ATOMIC_RELAXED);
	hand_over(sb);
}

/* Outside of calls. */
static bool rest(mayfly_sandbox *sb, uint64_t patience_ns)
{
	const struct timespec part = {.tv_nsec = 1000000};
	struct hot *hot = sb->hot;
	uint32_t left = hot->spins;
	uint64_t until;

	if (state_of(hot) == HOT_PARKED)
		return is_gate_exit(hot);
	send_out(sb);
	until = clock_now() + patience_ns;
	while (state_of(hot) == HOT_RUNNING && clock_now() < until) {
		if (left) {
			left--;
			cpu_pause();
		} else {
			sleep_until_parked(hot, &part);
		}
	}
	hot_park(sb);
	__atomic_store_n(&sb->fresh->spin, hot->guest_spins, __ATOMIC_RELAXED);
	if (__atomic_load_n(&sb->call->answer, __ATOMIC_RELAXED) == hot->turn)
		hot->answered = hot->turn;
	return is_gate_exit(hot);
}

bool hot_rest(mayfly_sandbox *sb, bool must)
{
	return !sb->is_hot || rest(sb, must ? MUST_REST_NS : REST_NS);
}

void hot_begin_anew(mayfly_sandbox *sb)
{
	struct hot *hot = sb->hot;

	sb->fresh->spin = 0;
	if (!sb->is_hot)
		return;
	hot->result = give_gate_exit(&hot->exit);
	sb->call->turn = sb->call->answer = hot->turn = hot->answered = 0;
	sb->fresh->spin = hot->guest_spins;
}

/* --- Life --------------------------------------------------------------------------------- */

static int make(mayfly_sandbox *sb, struct hot **out, mayfly_error *err)
{
	struct hot *hot = aligned_alloc(_Alignof(struct hot), sizeof(*hot));
	int r;

	if (!hot)
		return fail(err, MAYFLY_E_NOMEM, "no memory for hot dispatch");
	memset(hot, 0, sizeof(*hot));
	hot->sandbox = sb;
	hot->vcpu = sb->inst.vcpu;
	hot->watch.expired = hot_overstays;
	r = watchdog_add(&hot->watch, err);
	if (r == 0) {
		r = start_thread(hot, err);
		if (r < 0)
			watchdog_remove(&hot->watch);
	}
	if (r < 0)
		free(hot);
	else
		*out = hot;
	return r;
}

int hot_start(mayfly_sandbox *sb, uint64_t wait_ns, mayfly_error *err)
{
	int r = sb->hot ? 0 : make(sb, &sb->hot, err);

	if (r < 0)
		return r;
	set_waiting(sb->hot, wait_ns);
	sb->is_hot = true;
	hot_begin_anew(sb);
	return 0;
}

bool hot_stop(mayfly_sandbox *sb)
{
	bool good = rest(sb, MUST_REST_NS);

	sb->is_hot = false;
	sb->fresh->spin = 0;
	return good;
}

void hot_free(mayfly_sandbox *sb)
{
	struct hot *hot = sb->hot;

	if (!hot)
		return;
	/* A forked child has the memory, but not the thread. */
	if (sb->inst.owner == getpid()) {
		watchdog_remove(&hot->watch);
		hot_park(sb);
		__atomic_store_n(&hot->state, HOT_QUIT, __ATOMIC_SEQ_CST);
		futex_wake(&hot->state);
		pthread_join(hot->thread, NULL);
	}
	free(hot);
	sb->hot = NULL;
}

clockid_t hot_clock(const mayfly_sandbox *sb)
{
	return sb->is_hot ? sb->hot->clock : 0;
}

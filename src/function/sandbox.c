/* SPDX-License-Identifier: Apache-2.0 */
#include "function/sandbox.h"

#include <sched.h>
#include <string.h>

#include "core/clock.h"

/* How many read-only pages a warm-up reads; each costs KVM some microseconds. */
#define WARM_SHARED_PAGES 96

const struct guest_kind *const sandbox_kinds[] = {&function_guest_kind, NULL};

static struct mayfly_sandbox *sandbox_of(struct watchdog_entry *entry)
{
	return (struct mayfly_sandbox *)((char *)entry -
					 offsetof(struct mayfly_sandbox, watch));
}

/* --- Stopping a call ---------------------------------------------------------------------- */

static uint64_t load_state(const mayfly_sandbox *sb)
{
	return __atomic_load_n(&sb->run_state, __ATOMIC_ACQUIRE);
}

bool sandbox_stop(mayfly_sandbox *sb, uint64_t seen, int code, const char *reason)
{
	uint64_t call = seen - seen % RUN_STATES;

	if (seen % RUN_STATES != RUN_RUNNING ||
	    !__atomic_compare_exchange_n(&sb->run_state, &seen, call + RUN_STOPPING, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return false;
	sb->stop_code = code;
	sb->stop_reason = reason;
	hv_vcpu_kick(sb->inst.vcpu);
	__atomic_store_n(&sb->run_state, call + RUN_STOPPED, __ATOMIC_RELEASE);
	return true;
}

void sandbox_stop_idle(mayfly_sandbox *sb, uint64_t seen)
{
	uint64_t call = seen - seen % RUN_STATES;

	if (!__atomic_compare_exchange_n(&sb->run_state, &seen, call + RUN_STOPPING, false,
					 __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return;
	hv_vcpu_kick(sb->inst.vcpu);
	__atomic_store_n(&sb->run_state, call + RUN_STOPPED, __ATOMIC_RELEASE);
}

bool sandbox_interrupt(mayfly_sandbox *sb)
{
	return sandbox_stop(sb, load_state(sb), MAYFLY_E_INTERRUPTED, "interrupt");
}

bool sandbox_stop_requested(const mayfly_sandbox *sb)
{
	return load_state(sb) % RUN_STATES != RUN_RUNNING;
}

/*
 * How long it takes at the least to use so much CPU time: two threads do in half of it, and are
 * looked at again then; not forever closer.
 */
static uint64_t soonest(uint64_t cpu_ns, clockid_t hot)
{
	return hot ? cpu_ns / 2 + 20000 : cpu_ns;
}

/* CPU time of the threads that a call uses. On the calling thread. */
static uint64_t call_cpu_ns(clockid_t hot)
{
	return clock_read(CLOCK_THREAD_CPUTIME_ID) + (hot ? clock_read(hot) : 0);
}

/* On the watchdog's thread. A CPU limit cannot be reached sooner than in the same wall time. */
static uint64_t limit_expired(struct watchdog_entry *entry, uint64_t now)
{
	struct mayfly_sandbox *sb = sandbox_of(entry);
	/*
	 * First of all: what is read below belongs to this call, or the stop comes to nothing.
	 */
	uint64_t seen = load_state(sb);
	uint64_t deadline = __atomic_load_n(&sb->call_deadline, __ATOMIC_RELAXED);
	uint64_t limit = __atomic_load_n(&sb->cpu_limit_ns, __ATOMIC_RELAXED);
	uint64_t used, left;
	clockid_t hot;

	if (now >= deadline) {
		sandbox_stop(sb, seen, MAYFLY_E_TIMEOUT, "time limit");
		return WATCHDOG_NEVER;
	}
	if (!limit)
		return deadline;
	hot = __atomic_load_n(&sb->call_hot_clock, __ATOMIC_RELAXED);
	used = clock_read(__atomic_load_n(&sb->call_clock, __ATOMIC_RELAXED)) +
	       (hot ? clock_read(hot) : 0) -
	       __atomic_load_n(&sb->call_cpu_start, __ATOMIC_RELAXED);
	if (used >= limit) {
		sandbox_stop(sb, seen, MAYFLY_E_TIMEOUT, "CPU time limit");
		return WATCHDOG_NEVER;
	}
	left = soonest(limit - used, hot);
	return left < deadline - now ? now + left : deadline;
}

/* Before the call is RUNNING, so that the watchdog finds it whole. Gives when to look first. */
static uint64_t set_deadline(mayfly_sandbox *sb)
{
	uint64_t now = clock_now(), deadline, left;
	clockid_t clock = 0, hot = hot_clock(sb);

	if (!sb->timeout_ns || add_overflows(now, sb->timeout_ns, &deadline))
		deadline = WATCHDOG_NEVER;
	__atomic_store_n(&sb->call_deadline, deadline, __ATOMIC_RELAXED);
	if (!sb->cpu_limit_ns)
		return deadline;
	/* The clock as if it had begun with what earlier calls used. */
	pthread_getcpuclockid(pthread_self(), &clock);
	__atomic_store_n(&sb->call_clock, clock, __ATOMIC_RELAXED);
	__atomic_store_n(&sb->call_hot_clock, hot, __ATOMIC_RELAXED);
	__atomic_store_n(&sb->call_cpu_start, call_cpu_ns(hot) - sb->cpu_used_ns,
			 __ATOMIC_RELAXED);
	left = sb->cpu_limit_ns > sb->cpu_used_ns ? sb->cpu_limit_ns - sb->cpu_used_ns : 0;
	left = left ? soonest(left, hot) : 0;
	return left < deadline - now ? now + left : deadline;
}

/*
 * Outside of calls: after somebody stopped the vCPU, or is about to, let it run again. Gives
 * run_state, which is IDLE unless somebody stops it anew.
 */
static uint64_t settle(mayfly_sandbox *sb)
{
	uint64_t seen = load_state(sb);

	if (__builtin_expect(seen % RUN_STATES == RUN_IDLE, true))
		return seen;
	while (load_state(sb) % RUN_STATES != RUN_STOPPED)
		sched_yield();
	hv_vcpu_unkick(sb->inst.vcpu);
	seen -= seen % RUN_STATES;
	__atomic_store_n(&sb->run_state, seen + RUN_IDLE, __ATOMIC_RELEASE);
	return seen;
}

void sandbox_run_begin(mayfly_sandbox *sb)
{
	bool limited = sb->timeout_ns || sb->cpu_limit_ns;
	uint64_t first = limited ? set_deadline(sb) : WATCHDOG_NEVER, seen;

	do
		seen = settle(sb);
	while (!__atomic_compare_exchange_n(&sb->run_state, &seen,
					    seen + RUN_STATES + RUN_RUNNING, false,
					    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	if (limited)
		watchdog_arm(&sb->watch, first);
}

void sandbox_run_end(mayfly_sandbox *sb)
{
	uint64_t seen = load_state(sb), call = seen - seen % RUN_STATES;

	if (sb->timeout_ns || sb->cpu_limit_ns) {
		watchdog_disarm(&sb->watch);
		if (sb->cpu_limit_ns)
			sb->cpu_used_ns = call_cpu_ns(sb->call_hot_clock) - sb->call_cpu_start;
	}
	seen = call + RUN_RUNNING;
	if (__atomic_compare_exchange_n(&sb->run_state, &seen, call + RUN_IDLE, false,
					__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return;
	/* Somebody is about to kick: wait for it, so that it cannot hit a later call. */
	settle(sb);
}

int sandbox_set_limits(mayfly_sandbox *sb, uint64_t timeout_ns, uint64_t cpu_time_ns,
		       mayfly_error *err)
{
	if ((timeout_ns || cpu_time_ns) && !sb->watched) {
		int r;

		sb->watch.expired = limit_expired;
		r = watchdog_add(&sb->watch, err);
		if (r < 0)
			return r;
		sb->watched = true;
	}
	sb->timeout_ns = timeout_ns;
	/* The watchdog may still be looking at the call before. */
	__atomic_store_n(&sb->cpu_limit_ns, cpu_time_ns, __ATOMIC_RELAXED);
	return 0;
}

/* --- Life --------------------------------------------------------------------------------- */

/* What the guest finds in the call block of a VM that begins anew. */
static void begin_anew(mayfly_sandbox *sb)
{
	struct fn_call *call = sb->call;
	const struct layout *l = &sb->guest->layout;
	struct cpu_regs regs = {.rip = FN_GATE_ENTER, .rflags = CPU_RFLAGS_START};

	sb->generation = random_generation();
	call->generation = sb->generation;
	call->heap_start = l->heap_va;
	call->heap_end = l->heap_va + l->heap_len;
	call->flags = sb->print ? FN_FLAG_PRINT : 0;
	random_draw(&sb->random, call->seed, sizeof(call->seed));
	sb->inst.host_wrote[0].count = 1;
	sb->area_used = sb->area_base = 0;
	sb->cpu_used_ns = 0;
	sb->at_gate = false;
	sb->left_ring3 = false;
	sb->poisoned = false;
	hot_begin_anew(sb);
	hv_vcpu_set_regs(sb->inst.vcpu, &regs);
}

/* Segment bases, where the gate cannot set them by itself; they come from a checked copy. */
static void set_bases(struct cpu_setup *setup, const struct mayfly_snapshot *snap)
{
	const struct fn_fresh *fresh = (const struct fn_fresh *)(const void *)snap->state;
	const uint64_t user_end = (uint64_t)1 << 47;

	setup->fs_base = fresh->fs_base < user_end ? fresh->fs_base : 0;
	setup->gs_base = fresh->gs_base < user_end ? fresh->gs_base : 0;
}

static int apply_options(mayfly_sandbox *sb, const mayfly_sandbox_options *o, mayfly_error *err)
{
	int r;

	sb->hot_wait_ns = o->hot_wait_ns ? o->hot_wait_ns : HOT_DEFAULT_WAIT_NS;
	sb->max_depth = o->max_depth ? o->max_depth : SANDBOX_DEFAULT_DEPTH;
	sb->print = o->print;
	sb->print_context = o->print_context;
	r = sandbox_set_limits(sb, o->timeout_ns, o->cpu_time_ns, err);
	for (size_t i = 0; r == 0 && i < o->host_function_count; i++)
		r = sandbox_register(sb, &o->host_functions[i], err);
	sb->registered = false;
	return r;
}

int sandbox_new(const struct hv_backend *hv, struct mayfly_snapshot *snap,
		const mayfly_sandbox_options *options, mayfly_sandbox **out, mayfly_error *err)
{
	struct cpu_setup setup = snap->guest->setup;
	const struct hv_host *host;
	mayfly_sandbox *sb;
	int r = hv_host(hv, &host, err);

	if (r < 0)
		return r;
	sb = calloc(1, sizeof(*sb));
	if (!sb)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a sandbox");
	sb->always_reset = !host->ring3_resets;
	sb->guest = function_guest_of(snap->guest);
	setup.allow_tsc = options->flags & MAYFLY_SANDBOX_ALLOW_TSC;
	set_bases(&setup, snap);
	r = instance_new(hv, snap, &setup, &sb->inst, err);
	if (r < 0) {
		free(sb);
		return r;
	}
	sb->call = (struct fn_call *)(void *)(sb->inst.gm.private_mem +
					      sb->guest->layout.call_gpa);
	sb->fresh = (struct fn_fresh *)(void *)(sb->inst.gm.private_mem +
						sb->guest->layout.state_gpa);
	sb->area = sb->inst.gm.private_mem + sb->guest->layout.area_gpa;
	sb->area_end = sb->guest->plan.call_area;
	sb->bound = calloc(sb->guest->manifest.nimports + 1, sizeof(sb->bound[0]));
	if (!sb->bound)
		r = fail(err, MAYFLY_E_NOMEM, "no memory for a sandbox");
	else
		r = apply_options(sb, options, err);
	if (r < 0) {
		sandbox_free(sb);
		return r;
	}
	begin_anew(sb);
	r = sandbox_set_dispatch(sb, options->dispatch, err);
	if (r < 0) {
		sandbox_free(sb);
		return r;
	}
	*out = sb;
	return 0;
}

int sandbox_set_dispatch(mayfly_sandbox *sb, mayfly_dispatch dispatch, mayfly_error *err)
{
	int r = instance_check_process(&sb->inst, err);

	if (r < 0 || sb->is_hot == (dispatch == MAYFLY_DISPATCH_HOT))
		return r;
	if (!sb->is_hot)
		return hot_start(sb, sb->hot_wait_ns, err);
	if (hot_stop(sb) || sb->poisoned)
		return 0;
	return fault_protocol(sb, err, "it did not leave the VM between calls");
}

void sandbox_free(mayfly_sandbox *sb)
{
	/* Within a call its stack would be pulled away under the caller: rather a leak. */
	if (!sb || sb->depth)
		return;
	if (sb->watched)
		watchdog_remove(&sb->watch);
	hot_free(sb);
	free(sb->kept);
	sandbox_free_functions(sb);
	instance_fini(&sb->inst);
	explicit_bzero(&sb->random, sizeof(sb->random));
	free(sb);
}

int sandbox_restore(mayfly_sandbox *sb, struct mayfly_snapshot *snap, mayfly_error *err)
{
	int r = instance_check_process(&sb->inst, err);

	if (r < 0)
		return r;
	if (sb->depth)
		return fail(err, MAYFLY_E_BUSY,
			    "a sandbox cannot be restored from within a call in it");
	if (snap && snap->guest != sb->inst.guest)
		return fail(err, MAYFLY_E_INVALID,
			    "the snapshot is of another guest (%s), or of another load or "
			    "open of it, than the sandbox (%s): spawn a new sandbox from it",
			    snap->guest->name, sb->inst.guest->name);
	if (snap)
		set_bases(&sb->inst.setup, snap);
	sb->left_ring3 |= !hot_rest(sb, false);
	r = instance_restore(&sb->inst, snap, sb->left_ring3 || sb->always_reset, err);
	if (r < 0) {
		sb->poisoned = true;
		sb->left_ring3 = true;
		return r;
	}
	begin_anew(sb);
	return 0;
}

int sandbox_capture(mayfly_sandbox *sb, struct mayfly_snapshot **out, mayfly_error *err)
{
	int r = instance_check_process(&sb->inst, err);

	if (r < 0)
		return r;
	if (sb->depth)
		return fail(err, MAYFLY_E_BUSY,
			    "no snapshot can be taken from within a call in the sandbox");
	if (sb->poisoned)
		return fail(err, MAYFLY_E_POISONED, "a poisoned sandbox cannot be captured");
	/* A VM that never ran has no CPU state of its own yet: bring it to the gate. */
	if (!sb->at_gate)
		r = sandbox_warm(sb, err);
	if (r == 0 && !hot_rest(sb, true))
		r = fault_protocol(sb, err, "it did not leave the VM between calls");
	return r < 0 ? r : instance_capture(&sb->inst, out, err);
}

/* --- Warming up --------------------------------------------------------------------------- */

static void add_touch(mayfly_sandbox *sb, uint64_t va)
{
	if (sb->nstack < FN_MAX_TOUCH)
		sb->call->stack[sb->nstack++] = va;
}

static bool is_hot(const struct mayfly_snapshot *snap, uint64_t page)
{
	return __atomic_load_n(&snap->hot[page / 64], __ATOMIC_RELAXED) >> (page % 64) & 1;
}

/* Pages that earlier VMs wrote, and copies of the snapshot's that this one has anyway. */
static void list_private(mayfly_sandbox *sb, const struct gmem_region *r)
{
	const struct mayfly_snapshot *snap = sb->inst.snap;

	for (uint64_t off = 0; off < r->len; off += PAGE_SIZE) {
		uint64_t page = (r->gpa + off) / PAGE_SIZE;

		if (!__atomic_load_n(&snap->hot[page / 64], __ATOMIC_RELAXED) &&
		    !snap->present[page / 64]) {
			off += (63 - page % 64) * PAGE_SIZE; /* large regions are mostly cold */
			continue;
		}
		if (is_hot(snap, page))
			add_touch(sb,
				  (r->va + off) | (r->prot & GMEM_WRITE ? FN_TOUCH_WRITE : 0));
		else if (!sb->inst.mapped && bitmap_test(snap->present, page))
			add_touch(sb, r->va + off);
	}
}

/* What calls are likely to need: of a huge image only the beginning. */
static void list_pages(mayfly_sandbox *sb)
{
	const struct gmem_map *map = &sb->inst.guest->map;
	uint64_t shared = 0;

	sb->nstack = 0;
	for (uint32_t i = 0; i < map->count; i++) {
		const struct gmem_region *r = &map->regions[i];

		if (!r->prot)
			continue;
		if (!r->shared)
			list_private(sb, r);
		for (uint64_t off = 0; r->shared && off < r->len && shared < WARM_SHARED_PAGES;
		     off += PAGE_SIZE, shared++)
			add_touch(sb, r->va + off);
	}
}

int sandbox_warm(mayfly_sandbox *sb, mayfly_error *err)
{
	int r;

	list_pages(sb);
	sb->reply = FN_REPLY_PARK;
	sandbox_run_begin(sb);
	r = sandbox_run(sb, FN_OP_READY, err);
	sandbox_run_end(sb);
	return r;
}

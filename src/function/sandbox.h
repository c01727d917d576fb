/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Function sandboxes: an instance with calls in and out. Files: sandbox.c (life, restore,
 * stopping), call.c (arguments, run loop, results), batch.c (many calls at a time), hot.c (calls
 * without an exit), host.c (host functions and the gate's other requests), fault.c (what went
 * wrong), core_file.c.
 */
#ifndef MAYFLY_FUNCTION_SANDBOX_H
#define MAYFLY_FUNCTION_SANDBOX_H

#include <pthread.h>

#include "core/random.h"
#include "core/watchdog.h"
#include "function/guest.h"
#include "function/hot.h"
#include "snapshot/instance.h"

#define SANDBOX_DEFAULT_DEPTH 8
#define SANDBOX_MAX_DEPTH 64

/*
 * Whether a call may be stopped from outside: the low bits of run_state; the rest counts calls.
 * Only who moves RUNNING to STOPPING may kick the vCPU, and the owner does not leave the call
 * before STOPPED: so no kick outlives the call it was for. Who decides by what belongs to a
 * call (its deadline) makes the move from the very value of run_state that it read before.
 *
 * A guest that runs although no call does (hot.h) is stopped in the same way, from IDLE.
 */
enum { RUN_IDLE, RUN_RUNNING, RUN_STOPPING, RUN_STOPPED, RUN_STATES };

struct host_function {
	char *name;
	struct signature sig;
	mayfly_host_fn fn;
	void *context;
};

struct mayfly_sandbox {
	struct instance inst;
	const struct function_guest *guest;
	struct fn_call *call; /* the call block, in guest memory */
	struct fn_fresh
		*fresh;	 /* what the gate loads, in guest memory; the guest cannot write */
	uint16_t reply;	 /* what the next entry tells the gate: FN_REPLY_ */
	uint16_t nstack; /* and how many eightbytes of call->stack go with it */
	struct hot *hot; /* NULL: it never was */
	bool is_hot;	 /* calls go through the mailbox */
	uint64_t hot_wait_ns;
	/* Under hot dispatch: once, when the next turn is the guest's. NULL: nothing. */
	void (*meanwhile)(void *context);
	void *meanwhile_context;
	uint8_t *area;	    /* the call area, in guest memory */
	uint64_t area_used; /* bytes of it that the calls under way occupy */
	uint64_t area_end;  /* where it ends, or what may be used of it now */
	uint64_t area_base; /* of them, arguments; behind are results of host functions */

	/* Limits and stopping. */
	uint64_t run_state; /* atomic */
	int stop_code;	    /* MAYFLY_E_TIMEOUT or _INTERRUPTED; written in RUN_STOPPING */
	const char *stop_reason;
	struct watchdog_entry watch;
	bool watched;
	uint64_t timeout_ns;
	uint64_t cpu_limit_ns;
	uint64_t cpu_used_ns;
	uint64_t call_deadline;	 /* wall clock, of the call under way */
	uint64_t call_cpu_start; /* its thread's CPU clock when it began */
	clockid_t call_clock;
	clockid_t call_hot_clock; /* of the vCPU's thread, which counts too; 0: none */

	/* State. */
	bool poisoned;
	bool at_gate; /* the vCPU waits behind the gate's OUT: the next entry needs no registers */
	bool left_ring3; /* or was stopped elsewhere: the next restore resets the whole vCPU */
	bool always_reset; /* every restore does: the gate cannot, on this host */
	uint32_t depth;	   /* of mayfly_sandbox_call()s under way */
	uint32_t max_depth;
	mayfly_fault fault;	    /* why it is poisoned; strings in it live as the guest */
	int fault_code;		    /* what calls that end by it give */
	struct cpu_regs fault_regs; /* the guest's own, for core files */

	/* Host functions: by name, and for each of the guest's imports. */
	struct host_function *functions;
	size_t nfunctions;
	bool registered;		    /* some since it was made */
	const struct host_function **bound; /* manifest.nimports; NULL: not provided */
	mayfly_print_fn print;
	void *print_context;

	char *kept;	    /* a result that the guest could still change, copied */
	uint64_t kept_size; /* bytes of it */
	struct random_stock random;
	uint64_t generation;
	uint64_t calls;
	uint64_t host_calls;
};

extern const struct guest_kind *const sandbox_kinds[];

int sandbox_new(const struct hv_backend *hv, struct mayfly_snapshot *snap,
		const mayfly_sandbox_options *options, mayfly_sandbox **out, mayfly_error *err);
void sandbox_free(mayfly_sandbox *sb);
int sandbox_restore(mayfly_sandbox *sb, struct mayfly_snapshot *snap, mayfly_error *err);
int sandbox_capture(mayfly_sandbox *sb, struct mayfly_snapshot **out, mayfly_error *err);
int sandbox_set_limits(mayfly_sandbox *sb, uint64_t timeout_ns, uint64_t cpu_time_ns,
		       mayfly_error *err);
/* How calls get into the VM from now on. Errors: NOMEM; PROTOCOL, the sandbox poisoned. */
int sandbox_set_dispatch(mayfly_sandbox *sb, mayfly_dispatch dispatch, mayfly_error *err);
/* Enter the VM once, to the gate and back, touching the pages that calls are known to need. */
int sandbox_warm(mayfly_sandbox *sb, mayfly_error *err);

/*
 * Any thread. Stop the call that is running when run_state is `seen`; true if there is one and
 * it still is. `reason` is static text.
 */
bool sandbox_stop(mayfly_sandbox *sb, uint64_t seen, int code, const char *reason);
/* The same, for a guest that runs outside of calls when run_state is `seen`. */
void sandbox_stop_idle(mayfly_sandbox *sb, uint64_t seen);
/* The call that is running now. */
bool sandbox_interrupt(mayfly_sandbox *sb);
bool sandbox_stop_requested(const mayfly_sandbox *sb);
/* Around the outermost call. */
void sandbox_run_begin(mayfly_sandbox *sb);
void sandbox_run_end(mayfly_sandbox *sb);

/*
 * The call block's first line will be written soon. Under hot dispatch it is with the gate's CPU,
 * which looks at it, and gets here while other things are done. (PREFETCHW: AMD64 vol. 3; a hint.)
 */
static inline void sandbox_fetch_line(const mayfly_sandbox *sb)
{
	__asm__ volatile("prefetchw %0" : : "m"(sb->call->op));
}

/* batch.c: mayfly_sandbox_call_many(). */
int sandbox_call_many(mayfly_sandbox *sb, const mayfly_function *fn, mayfly_batch *batch,
		      mayfly_error *err);

/* call.c */
int sandbox_call(mayfly_sandbox *sb, const mayfly_function *fn, const mayfly_value *args,
		 size_t nargs, mayfly_value *result, mayfly_error *err);
/* Whether `fn` can be called now. Errors: POISONED, INVALID, LIMIT. */
int sandbox_check_call(const mayfly_sandbox *sb, const mayfly_function *fn, mayfly_error *err);
/* Enter with `reply` set, serve the guest's requests, until `until` (FN_OP_) is reached. */
int sandbox_run(mayfly_sandbox *sb, uint32_t until, mayfly_error *err);
/* Copy into the call area: *va says where. Errors: TOO_LARGE. */
int sandbox_push_bytes(mayfly_sandbox *sb, const void *data, uint64_t len, bool terminate,
		       uint64_t *va, mayfly_error *err);

/* As marshal_push_fn has it; the owner is the sandbox. */
int sandbox_push(void *owner, const void *data, uint64_t len, bool terminate, uint64_t *va,
		 mayfly_error *err);

/* host.c */
int sandbox_register(mayfly_sandbox *sb, const mayfly_host_function *fn, mayfly_error *err);
/* Serve the request `op` that the guest left in the call block. Errors end the call. */
int sandbox_serve(mayfly_sandbox *sb, uint32_t op, mayfly_error *err);
/* Only these from now on. After a failure there may be fewer. */
int sandbox_reset_functions(mayfly_sandbox *sb, const mayfly_host_function *functions,
			    size_t count, mayfly_error *err);
void sandbox_free_functions(mayfly_sandbox *sb);

/* fault.c: each fills sb->fault, poisons, and yields the error code for the call. */
int fault_exception(mayfly_sandbox *sb, uint32_t vector, mayfly_error *err);
int fault_abort(mayfly_sandbox *sb, int32_t code, uint64_t message_va, uint64_t len,
		mayfly_error *err);
int fault_stopped(mayfly_sandbox *sb, mayfly_error *err);
int fault_protocol(mayfly_sandbox *sb, mayfly_error *err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int fault_exit(mayfly_sandbox *sb, const struct hv_exit *exit, mayfly_error *err);
/* A failure of KVM_RUN itself, already in *err. */
int fault_hypervisor(mayfly_sandbox *sb, int code, mayfly_error *err);
/* NOMEM, where a call cannot go on without it. */
int fault_no_memory(mayfly_sandbox *sb, const char *what, mayfly_error *err);

/*
 * The registers of the guest's own code: as the vCPU has them or, after an exception on
 * hardware, as the exception's frame on ring 0's stack has them. *error_code of the exception
 * (0 without).
 */
int fault_guest_regs(mayfly_sandbox *sb, uint32_t vector, struct cpu_regs *regs,
		     uint32_t *error_code, mayfly_error *err);

/* core_file.c */
int sandbox_write_core(mayfly_sandbox *sb, const char *path, mayfly_error *err);

#endif

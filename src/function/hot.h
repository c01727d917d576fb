/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hot dispatch: calls without an exit. The vCPU runs on a thread of the sandbox's own, and the
 * gate waits inside the VM for `turn` of the call block to change; so the guest is running while
 * the host reads what it has written. Whoever waits in vain for a set time gives the CPU back:
 * the gate leaves the VM, and its thread sleeps until the next call; the caller sleeps until the
 * guest leaves, which the gate does at once for a caller that sleeps.
 *
 * For the thread that uses the sandbox, but for hot_overstays().
 */
#ifndef MAYFLY_FUNCTION_HOT_H
#define MAYFLY_FUNCTION_HOT_H

#include <time.h>

#include "core/error.h"
#include "hv/hv.h"

struct hot;
struct mayfly_sandbox;

/* How long either side waits in vain. */
#define HOT_DEFAULT_WAIT_NS 50000u
#define HOT_MAX_WAIT_NS 1000000000u
/*
 * What is seen while the guest runs is copied, up to so much; for more the guest is stopped, which
 * costs less than the copy.
 */
#define HOT_COPY_MAX ((uint64_t)64 << 10)

/*
 * Let calls go through the mailbox from now on; starts the thread, once. `wait_ns`: as above.
 * Errors: NOMEM.
 */
int hot_start(struct mayfly_sandbox *sb, uint64_t wait_ns, mayfly_error *err);
/* Enter by the caller's own thread again. False: the guest did not come to the gate. */
bool hot_stop(struct mayfly_sandbox *sb);
/* End the thread; the vCPU is the caller's. Takes a sandbox that never had one. */
void hot_free(struct mayfly_sandbox *sb);

/*
 * It is the guest's turn, with sb->reply and sb->nstack and what goes with them; until it is the
 * host's: *exit is then an OUT to the gate's port, by the mailbox or in truth, or another exit.
 * The guest that was heard by the mailbox goes on running. Errors: those of hv_vcpu_run();
 * PROTOCOL, the sandbox poisoned.
 */
int hot_exchange(struct mayfly_sandbox *sb, struct hv_exit *exit, mayfly_error *err);

/* Whether what the host sees of the guest's memory may change under its hands. */
bool hot_is_running(const struct mayfly_sandbox *sb);
/* Stop the guest where it is: until the next exchange the vCPU is the caller's. */
void hot_park(struct mayfly_sandbox *sb);
/*
 * The same, but behind the gate's OUT, where calls end without hot dispatch. False: it did not
 * come there, and was stopped elsewhere; if it `must`, it gets much time for it.
 */
bool hot_rest(struct mayfly_sandbox *sb, bool must);
/* The call block is a new one, and the vCPU at the gate's beginning. */
void hot_begin_anew(struct mayfly_sandbox *sb);

/* The clock of the CPU time of the vCPU's thread; 0: without hot dispatch. */
clockid_t hot_clock(const struct mayfly_sandbox *sb);

#endif

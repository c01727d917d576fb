/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM made from a snapshot: its private memory, hypervisor objects, and the way back. Guest
 * kinds run their loops on it. For one thread at a time.
 */
#ifndef MAYFLY_SNAPSHOT_INSTANCE_H
#define MAYFLY_SNAPSHOT_INSTANCE_H

#include <sys/types.h>

#include "core/forks.h"
#include "snapshot/snapshot.h"

#define INSTANCE_SLOT_PRIVATE 0
#define INSTANCE_SLOT_SHARED 1
#define INSTANCE_SLOT_MORE 2 /* and on: private memory behind the first slot */

struct instance {
	struct mayfly_snapshot *snap; /* counted; what restore goes back to */
	struct guest *guest;	      /* borrowed from it */
	struct hv_vm *vm;
	struct hv_vcpu *vcpu;
	struct gmem gm;
	struct cpu_setup setup;
	pid_t owner;   /* the process that made it */
	uint32_t mark; /* the same, of core/forks.h */
	bool mapped; /* private memory maps the snapshot's file; else it is a slice with copies */
	bool logs;   /* what the guest writes: restore and capture need it */
	uint64_t reached; /* bytes of private memory that KVM has in slots */
	/*
	 * Transient pages that the host wrote since the last restore; KVM's log does not have
	 * those. The user of the instance keeps `count` up to date.
	 */
	struct guest_pages host_wrote[2];
	/*
	 * Kinds that map memory themselves: pages that the host wrote since then; and pieces of
	 * 2 MiB, behind the tables, that need no copying because they were mapped anew. Borrowed,
	 * may be NULL.
	 */
	uint64_t *host_pages;
	const uint64_t *skip_chunks;
	/*
	 * And pages that cannot be written after a restore, or are not there, in the pieces in which
	 * there are such: KVM's log may still have them of an earlier run. 8 words a piece.
	 */
	const uint64_t *fixed_chunks;
	const uint64_t *fixed_pages;
	uint64_t *log;	 /* bitmap: scratch for the dirty log */
	uint64_t *stale; /* bitmap: scratch */
	uint32_t *words; /* of the log: those that are not zero */
	size_t nwords;
	bool lost; /* a restore failed and took the memory: only good for another, and fini */
	uint32_t since_sweep;
	uint64_t restores;
	uint64_t pages_restored;
	uint64_t last_restored;
};

/*
 * A VM in the snapshot's state, registers apart. Without out->logs, to be set before, it can
 * neither be restored nor captured; KVM then maps several pages at a time. Errors: HYPERVISOR,
 * NOMEM.
 */
int instance_new(const struct hv_backend *hv, struct mayfly_snapshot *snap,
		 const struct cpu_setup *setup, struct instance *out, mayfly_error *err);
/* Have [0, end) of private memory in slots. Any thread, one at a time. */
int instance_reach(struct instance *inst, uint64_t end, mayfly_error *err);
/* Takes a zeroed or half-built one. */
void instance_fini(struct instance *inst);

/*
 * Memory back to `snap` (of the same guest), which becomes the current one. With `full` the
 * vCPU is reset too, in every register class: needed when the guest left ring 3 or was stopped
 * anywhere but at the gate. Registers are then the kind's to set. Errors: HYPERVISOR, NOMEM;
 * the instance is then of no more use.
 */
int instance_restore(struct instance *inst, struct mayfly_snapshot *snap, bool full,
		     mayfly_error *err);

/* A new snapshot of the present state. Errors: NOMEM, HYPERVISOR. */
int instance_capture(struct instance *inst, struct mayfly_snapshot **out, mayfly_error *err);

int instance_refuse_child(mayfly_error *err);

/* PROTOCOL in a child of fork(2), which has neither VM nor memory: both are its parent's. */
static inline int instance_check_process(const struct instance *inst, mayfly_error *err)
{
	return __builtin_expect(forks_since(inst->mark), false) ? instance_refuse_child(err)
								: 0;
}

/* Bytes of host memory that are this VM's own, by its logs and copies; an upper bound. */
uint64_t instance_private_bytes(const struct instance *inst);

#endif

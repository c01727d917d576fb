/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hypervisor that runs nothing: a script says what "the guest" does and which exit follows.
 * For tests and fuzzers only; no part of the installed library.
 *
 * The guest's accesses go through the guest's own page tables with the rights of ring 3, and
 * its writes into the dirty log, so that a script can do what a guest could and no more.
 *
 * One script for the process: mock_reset(), then mock_play() or mock_drive(), then use
 * &hv_mock. VMs may be run on several threads if the script allows it; the counters are atomic.
 */
#ifndef MAYFLY_HV_MOCK_H
#define MAYFLY_HV_MOCK_H

#include <pthread.h>

#include "hv/hv.h"

#define MOCK_SLOTS 4
#define MOCK_MAX_SETS 64
#define MOCK_MAX_NOTIFIES 64

/* What can be made to fail and is counted. */
enum mock_op {
	MOCK_HOST,
	MOCK_VM_NEW,
	MOCK_VM_MAP,
	MOCK_VM_DIRTY,
	MOCK_VM_CLEAN,
	MOCK_VCPU_NEW,
	MOCK_VCPU_RESET,
	MOCK_VCPU_GET_REGS,
	MOCK_VCPU_GET_CONTROL,
	MOCK_VCPU_GET_XSAVE,
	MOCK_VCPU_RUN,
	MOCK_PLATFORM,
	MOCK_IRQ,
	MOCK_NOTIFY,
	MOCK_SAVE, /* of VM or vCPU */
	MOCK_LOAD,
	MOCK_BIND,
	MOCK_OPS
};

struct mock_slot {
	struct hv_slot slot; /* len 0: none */
	uint64_t *dirty;     /* bitmap, owned; NULL without a log */
};

/*
 * The VM with its vCPU. Tests may read everything, and write what is marked "state". Where
 * mock_host() says that there may be more than one, each further vCPU is such a structure by
 * itself, whose memory is that of `owner`.
 */
struct mock_vm {
	struct hv_vm base;     /* first */
	struct hv_vcpu vcpu;   /* see mock_vm_of() */
	struct mock_vm *owner; /* NULL: itself */
	uint32_t number;       /* of the vCPU */
	bool has_vcpu;
	struct mock_slot slots[MOCK_SLOTS];
	struct cpu_setup setup;		     /* of the last vcpu_new or vcpu_reset */
	struct cpu_regs regs;		     /* state: what get_regs gives; set_regs sets it */
	struct cpu_control control;	     /* state */
	uint8_t xsave[CPU_XSAVE_BUFFER];     /* state */
	struct cpu_regs sets[MOCK_MAX_SETS]; /* what set_regs was given, the first ones */
	uint64_t nsets;
	uint64_t runs;
	uint64_t resets;
	uint64_t cleaned; /* pages that vm_clean took out of a log, all in all */
	/* Of machines. */
	bool platform;
	uint64_t levels; /* bitmap: interrupt lines that are asserted; atomic */
	struct hv_notify notifies[MOCK_MAX_NOTIFIES];
	uint32_t nnotifies;
	struct cpu_boot boot;
	bool bound;	      /* to a thread, which runs it */
	uint64_t saved_state; /* state: what vm_save and vcpu_save keep, beside registers */
	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t changed;
	bool kicked;
	bool waiting; /* a step waits to be kicked */
	uint64_t kicks;
	uint64_t unkicks;
};

/* One run: `act`, if any, then the exit. */
struct mock_step {
	void (*act)(struct mock_vm *vm,
		    void *context); /* as the guest, and to check the host */
	void *context;
	struct hv_exit exit;
	int failure;	   /* MAYFLY_E_: vcpu_run fails with it instead */
	bool until_kicked; /* after `act` wait for hv_vcpu_kick(), from another thread or `act` */
};

extern const struct hv_backend hv_mock;

/* Forget script, failures and counts; hv_host as at first. All VMs must have been freed. */
void mock_reset(void);

/* The steps of the runs to come; borrowed until the next mock_play() or mock_reset(). */
void mock_play(const struct mock_step *steps, size_t count);
/* How many steps have not been run. */
size_t mock_left(void);

/*
 * Asked for the exit where there is no step (left). Gives 0, or a negative code with which the
 * run fails. Without one the run fails with HYPERVISOR, "the script has ended".
 */
typedef int (*mock_driver)(struct mock_vm *vm, void *context, struct hv_exit *exit);
void mock_drive(mock_driver driver, void *context);

/* Let the nth call of `op` from now on (from 1), and it alone, fail with `code`. */
void mock_fail(enum mock_op op, uint64_t nth, int code);
/* How often `op` was called since mock_reset(), failures included. */
uint64_t mock_count(enum mock_op op);
/* VMs and vCPUs that exist. */
uint64_t mock_live(void);
/* What hv_host() tells; a test may change it before VMs are made. */
struct hv_host *mock_host(void);

/* Between hv_vcpu_kick() and hv_vcpu_unkick(): a driver that waits for the host is to leave. */
bool mock_is_kicked(struct mock_vm *vm);

static inline struct mock_vm *mock_vm_of(struct hv_vcpu *vcpu)
{
	return (struct mock_vm *)(void *)((char *)vcpu - offsetof(struct mock_vm, vcpu));
}

static inline struct hv_exit mock_out(uint16_t port)
{
	return (struct hv_exit){.kind = HV_EXIT_IO, .io = {port, 1, true, 1, NULL}};
}

/*
 * As the guest's 4-byte write: true, and its eventfd is readable, if somebody is to be
 * notified.
 */
bool mock_notify(struct mock_vm *vm, uint64_t gpa, uint32_t value);

/*
 * Guest memory as ring 3 reaches it by virtual address, in part or whole not: then false (a
 * page fault), and what lies before the first bad page was done. Writes enter the dirty log.
 */
bool mock_read(struct mock_vm *vm, uint64_t va, void *buffer, uint64_t len);
bool mock_write(struct mock_vm *vm, uint64_t va, const void *data, uint64_t len);
bool mock_may_execute(struct mock_vm *vm, uint64_t va);
/* The same with the rights of ring 0, for what exceptions push. */
bool mock_write_ring0(struct mock_vm *vm, uint64_t va, const void *data, uint64_t len);

/* Guest-physical memory, all of it in one slot; NULL otherwise. No log, no rights. */
void *mock_physical(struct mock_vm *vm, uint64_t gpa, uint64_t len);
/* Whether the page is in its slot's log. */
bool mock_is_dirty(const struct mock_vm *vm, uint64_t gpa);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hypervisor backend: VM, memory slots, vCPU, run, a decoded exit. No type of a hypervisor
 * leaves a backend. A backend is a const table of functions; the objects carry it, so that
 * callers use the hv_ functions below.
 *
 * Threading: a VM and its vCPUs are for one thread at a time, but hv_vcpu_kick() and
 * hv_vcpu_unkick(), which may come from any.
 */
#ifndef MAYFLY_HV_H
#define MAYFLY_HV_H

#include "arch/x86_64/cpu.h"
#include "core/error.h"

struct hv_vm;
struct hv_vcpu;
struct reader; /* core/codec.h */
struct writer;

enum hv_exit_kind {
	HV_EXIT_IO,	  /* a port was read or written */
	HV_EXIT_MMIO,	  /* memory outside of any slot, or a write to a read-only slot */
	HV_EXIT_HALT,	  /* HLT */
	HV_EXIT_KICKED,	  /* hv_vcpu_kick(); guest state is between two instructions */
	HV_EXIT_SHUTDOWN, /* triple fault */
	HV_EXIT_MEMORY, /* the host has nothing behind an address of a slot, or not that right */
	HV_EXIT_INTERNAL, /* the hypervisor cannot go on, e.g. an instruction it cannot emulate */
	HV_EXIT_UNKNOWN
};

struct hv_exit {
	enum hv_exit_kind kind;
	union {
		struct {
			uint16_t port;
			uint8_t size; /* bytes an access */
			bool out;
			uint32_t count;
			/* size * count bytes; of a read: to be filled before the next run */
			void *data;
		} io;
		struct {
			uint64_t gpa;
			uint32_t len;
			bool write;
			uint8_t *data; /* len bytes; likewise */
		} mmio;
		struct {
			uint32_t suberror;
			uint8_t insn[15]; /* that cannot be emulated, if known */
			uint8_t insn_len;
		} internal;
		struct {
			uint32_t reason;
		} unknown;
	};
};

struct hv_slot {
	uint32_t id;
	uint64_t gpa;
	void *host; /* page-aligned, mapped for as long as the VM lives */
	uint64_t len;
	bool readonly;	/* the guest may not write */
	bool log_dirty; /* hv_vm_dirty() tells what the guest wrote */
};

/* A write of `value`, 4 bytes, to `gpa` makes `fd`, an eventfd, readable; there is no exit. */
struct hv_notify {
	uint64_t gpa;
	uint32_t value;
	int fd;
};

/* What a host offers; a const per process. */
struct hv_host {
	char kind[16]; /* "pvm", "svm", "vmx", "kvm", "mock" */
	bool ring0_native;
	bool fsgsbase;
	bool xsave;
	/*
	 * Ring-3 code can put back every register that ring 3 can change, so that a guest that
	 * never left ring 3 needs no hv_vcpu_reset().
	 */
	bool ring3_resets;
	bool host_tsc;	      /* setup.host_tsc can be had */
	uint64_t xcr0;	      /* of CPU_XCR0_ALLOWED */
	uint32_t features[8]; /* CPUID words as guests see them, see cpuid.h */
	int api_version;
	uint32_t max_vcpus;
	uint32_t max_slots;
};

/*
 * For machines: VMs in which an operating system runs, with interrupt controllers (two 8259, an
 * IOAPIC, a LAPIC per vCPU) and an 8254 timer of the hypervisor's own. See the functions below.
 */
struct hv_machine_ops {
	int (*platform)(struct hv_vm *vm, mayfly_error *err);
	int (*irq)(struct hv_vm *vm, uint32_t irq, bool level, mayfly_error *err);
	int (*notify)(struct hv_vm *vm, const struct hv_notify *notify, mayfly_error *err);
	int (*vm_save)(struct hv_vm *vm, struct writer *w, mayfly_error *err);
	int (*vm_load)(struct hv_vm *vm, struct reader *r, mayfly_error *err);
	int (*vcpu_new)(struct hv_vm *vm, uint32_t number, const struct cpu_boot *boot,
			struct hv_vcpu **out, mayfly_error *err);
	int (*vcpu_bind)(struct hv_vcpu *vcpu, mayfly_error *err);
	void (*vcpu_unbind)(struct hv_vcpu *vcpu);
	int (*vcpu_save)(struct hv_vcpu *vcpu, struct writer *w, mayfly_error *err);
	int (*vcpu_load)(struct hv_vcpu *vcpu, struct reader *r, mayfly_error *err);
};

struct hv_backend {
	const char *name;
	const struct hv_machine_ops *machine; /* NULL: none */
	/* *out: static storage, of both the same. */
	int (*host_early)(const struct hv_host **out, mayfly_error *err);
	int (*host)(const struct hv_host **out, mayfly_error *err);
	int (*vm_new)(struct hv_vm **out, mayfly_error *err);
	void (*vm_free)(struct hv_vm *vm);
	int (*vm_map)(struct hv_vm *vm, const struct hv_slot *slot, mayfly_error *err);
	int (*vm_dirty)(struct hv_vm *vm, uint32_t slot, uint64_t *bitmap, mayfly_error *err);
	int (*vm_clean)(struct hv_vm *vm, uint32_t slot, uint64_t pages, uint64_t *bitmap,
			mayfly_error *err);
	int (*vcpu_new)(struct hv_vm *vm, uint32_t number, const struct cpu_setup *setup,
			struct hv_vcpu **out, mayfly_error *err);
	void (*vcpu_free)(struct hv_vcpu *vcpu);
	int (*vcpu_reset)(struct hv_vcpu *vcpu, const struct cpu_setup *setup,
			  mayfly_error *err);
	void (*vcpu_set_regs)(struct hv_vcpu *vcpu, const struct cpu_regs *regs);
	int (*vcpu_get_regs)(struct hv_vcpu *vcpu, struct cpu_regs *regs, mayfly_error *err);
	int (*vcpu_get_control)(struct hv_vcpu *vcpu, struct cpu_control *out,
				mayfly_error *err);
	int (*vcpu_set_ring3)(struct hv_vcpu *vcpu, const struct cpu_setup *setup,
			      mayfly_error *err);
	int (*vcpu_get_xsave)(struct hv_vcpu *vcpu, void *buffer, mayfly_error *err);
	int (*vcpu_set_xsave)(struct hv_vcpu *vcpu, const void *buffer, mayfly_error *err);
	int (*vcpu_run)(struct hv_vcpu *vcpu, struct hv_exit *exit, mayfly_error *err);
	void (*vcpu_kick)(struct hv_vcpu *vcpu);
	void (*vcpu_unkick)(struct hv_vcpu *vcpu);
};

struct hv_vm {
	const struct hv_backend *ops;
};

struct hv_vcpu {
	const struct hv_backend *ops;
};

extern const struct hv_backend hv_kvm;

/*
 * What is known of the host at once: its kind, ring0_native and the limits. Errors: HYPERVISOR,
 * with what to do about it.
 */
static inline int hv_host_early(const struct hv_backend *hv, const struct hv_host **out,
				mayfly_error *err)
{
	return hv->host_early(out, err);
}

/*
 * All of it. The first time takes a while, in which another thread can make a VM, but no vCPU.
 * Errors: HYPERVISOR, NOMEM.
 */
static inline int hv_host(const struct hv_backend *hv, const struct hv_host **out,
			  mayfly_error *err)
{
	return hv->host(out, err);
}

/* Free with hv_vm_free(). Errors: HYPERVISOR, NOMEM. */
static inline int hv_vm_new(const struct hv_backend *hv, struct hv_vm **out, mayfly_error *err)
{
	return hv->vm_new(out, err);
}

/* The vCPUs must have been freed. Takes NULL. */
static inline void hv_vm_free(struct hv_vm *vm)
{
	if (vm)
		vm->ops->vm_free(vm);
}

static inline int hv_vm_map(struct hv_vm *vm, const struct hv_slot *slot, mayfly_error *err)
{
	return vm->ops->vm_map(vm, slot, err);
}

/*
 * Fill the bitmap, a bit per page of the slot, with the pages that the guest wrote since the
 * slot was mapped or they were last cleaned. Pages stay in the log, writable without an exit,
 * until hv_vm_clean() names them.
 */
static inline int hv_vm_dirty(struct hv_vm *vm, uint32_t slot, uint64_t *bitmap,
			      mayfly_error *err)
{
	return vm->ops->vm_dirty(vm, slot, bitmap, err);
}

/*
 * Take the bitmap's pages, of `pages` in the slot, out of the log: the next write puts them
 * back.
 */
static inline int hv_vm_clean(struct hv_vm *vm, uint32_t slot, uint64_t pages, uint64_t *bitmap,
			      mayfly_error *err)
{
	return vm->ops->vm_clean(vm, slot, pages, bitmap, err);
}

/*
 * A vCPU, `number` its APIC id, unique in the VM and below info.max_vcpus; set up, general
 * registers zero. Free with hv_vcpu_free(); the number cannot be used again.
 */
static inline int hv_vcpu_new(struct hv_vm *vm, uint32_t number, const struct cpu_setup *setup,
			      struct hv_vcpu **out, mayfly_error *err)
{
	return vm->ops->vcpu_new(vm, number, setup, out, err);
}

static inline void hv_vcpu_free(struct hv_vcpu *vcpu)
{
	if (vcpu)
		vcpu->ops->vcpu_free(vcpu);
}

/* Back to what hv_vcpu_new() made: every register class, MSRs, pending events. */
static inline int hv_vcpu_reset(struct hv_vcpu *vcpu, const struct cpu_setup *setup,
				mayfly_error *err)
{
	return vcpu->ops->vcpu_reset(vcpu, setup, err);
}

/* From the next run on; drops exceptions that are pending. */
static inline void hv_vcpu_set_regs(struct hv_vcpu *vcpu, const struct cpu_regs *regs)
{
	vcpu->ops->vcpu_set_regs(vcpu, regs);
}

static inline int hv_vcpu_get_regs(struct hv_vcpu *vcpu, struct cpu_regs *regs,
				   mayfly_error *err)
{
	return vcpu->ops->vcpu_get_regs(vcpu, regs, err);
}

static inline int hv_vcpu_get_control(struct hv_vcpu *vcpu, struct cpu_control *out,
				      mayfly_error *err)
{
	return vcpu->ops->vcpu_get_control(vcpu, out, err);
}

/*
 * Segments, tables and control registers as `setup` has them: from wherever the guest was, it
 * goes on in ring 3. Vector state, MSRs and general registers stay.
 */
static inline int hv_vcpu_set_ring3(struct hv_vcpu *vcpu, const struct cpu_setup *setup,
				    mayfly_error *err)
{
	return vcpu->ops->vcpu_set_ring3(vcpu, setup, err);
}

/* The vector state in the standard format, CPU_XSAVE_BUFFER bytes. */
static inline int hv_vcpu_get_xsave(struct hv_vcpu *vcpu, void *buffer, mayfly_error *err)
{
	return vcpu->ops->vcpu_get_xsave(vcpu, buffer, err);
}

/* The reverse. Errors: INVALID, for a state that the CPU cannot have. */
static inline int hv_vcpu_set_xsave(struct hv_vcpu *vcpu, const void *buffer, mayfly_error *err)
{
	return vcpu->ops->vcpu_set_xsave(vcpu, buffer, err);
}

/* Until the next exit. Signals of the host thread are no exit. Errors: HYPERVISOR. */
static inline int hv_vcpu_run(struct hv_vcpu *vcpu, struct hv_exit *exit, mayfly_error *err)
{
	return vcpu->ops->vcpu_run(vcpu, exit, err);
}

/*
 * Make the run that is under way, and any that begins before hv_vcpu_unkick(), end with
 * HV_EXIT_KICKED. An exit of another kind may come first.
 */
static inline void hv_vcpu_kick(struct hv_vcpu *vcpu)
{
	vcpu->ops->vcpu_kick(vcpu);
}

static inline void hv_vcpu_unkick(struct hv_vcpu *vcpu)
{
	vcpu->ops->vcpu_unkick(vcpu);
}

/* --- Machines ----------------------------------------------------------------------------- */

/*
 * Interrupt controllers and timer; before the first vCPU, and after the memory slots: KVM may
 * take milliseconds for slots once there are devices. Errors: HYPERVISOR.
 */
static inline int hv_vm_platform(struct hv_vm *vm, mayfly_error *err)
{
	return vm->ops->machine->platform(vm, err);
}

/*
 * Put the interrupt line `irq` (a pin of the IOAPIC, 0-15 of the 8259s too) at a level. Any
 * thread.
 */
static inline int hv_vm_irq(struct hv_vm *vm, uint32_t irq, bool level, mayfly_error *err)
{
	return vm->ops->machine->irq(vm, irq, level, err);
}

/* For as long as the VM lives. Errors: HYPERVISOR, NOMEM. */
static inline int hv_vm_notify(struct hv_vm *vm, const struct hv_notify *notify,
			       mayfly_error *err)
{
	return vm->ops->machine->notify(vm, notify, err);
}

/*
 * A machine's vCPU: number 0 starts as `boot` says, the others wait for it to start them (INIT,
 * SIPI). A thread of its own must run it, with all signals blocked, between hv_vcpu_bind() and
 * hv_vcpu_unbind(): kicks then reach it even while it is halted. No kick is under way when the
 * thread ends. Free with hv_vcpu_free().
 */
static inline int hv_machine_vcpu_new(struct hv_vm *vm, uint32_t number,
				      const struct cpu_boot *boot, struct hv_vcpu **out,
				      mayfly_error *err)
{
	return vm->ops->machine->vcpu_new(vm, number, boot, out, err);
}

static inline int hv_vcpu_bind(struct hv_vcpu *vcpu, mayfly_error *err)
{
	return vcpu->ops->machine->vcpu_bind(vcpu, err);
}

static inline void hv_vcpu_unbind(struct hv_vcpu *vcpu)
{
	vcpu->ops->machine->vcpu_unbind(vcpu);
}

/*
 * All state: of interrupt controllers, timer and clock; of a vCPU, its LAPIC included. No vCPU
 * runs. Loading takes hostile bytes, into new objects, all vCPUs before the VM; the guest's
 * clocks have then gone on with the real time, TSCs of all vCPUs alike. Errors: HYPERVISOR,
 * NOMEM; FORMAT, UNSUPPORTED (of another CPU).
 */
static inline int hv_vm_save(struct hv_vm *vm, struct writer *w, mayfly_error *err)
{
	return vm->ops->machine->vm_save(vm, w, err);
}

static inline int hv_vm_load(struct hv_vm *vm, struct reader *r, mayfly_error *err)
{
	return vm->ops->machine->vm_load(vm, r, err);
}

static inline int hv_vcpu_save(struct hv_vcpu *vcpu, struct writer *w, mayfly_error *err)
{
	return vcpu->ops->machine->vcpu_save(vcpu, w, err);
}

static inline int hv_vcpu_load(struct hv_vcpu *vcpu, struct reader *r, mayfly_error *err)
{
	return vcpu->ops->machine->vcpu_load(vcpu, r, err);
}

#endif

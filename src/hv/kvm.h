/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the KVM backend only. */
#ifndef MAYFLY_HV_KVM_H
#define MAYFLY_HV_KVM_H

#include <linux/kvm.h>
#include <pthread.h>

#include "arch/x86_64/cpuid.h"
#include "hv/hv.h"

/* Types of segments (SDM vol. 3, 3.4.5.1 and 3.5). */
#define SEGMENT_CODE 11 /* execute, read, accessed */
#define SEGMENT_DATA 3	/* read, write, accessed */
#define SEGMENT_TSS_AVAILABLE 9
#define SEGMENT_TSS_BUSY 11 /* VMX demands it (SDM vol. 3, 27.3.1.2) */

struct kvm_host {
	struct hv_host info;
	int fd;		 /* /dev/kvm */
	size_t run_size; /* of a vCPU's shared page and what follows it */
	bool membarrier; /* membarrier(2) is there to hurry kicks */
	/* From here on, and info's features: known later. */
	bool has_features; /* atomic */
	struct kvm_cpuid2 *cpuid;
	struct cpuid_leaf *supported; /* as KVM gave them: for machines */
	size_t nsupported;
};

struct kvm_vm {
	struct hv_vm base;
	struct kvm_host *host;
	int fd;
	bool machine;		/* hv_vm_platform() was called */
	struct kvm_vcpu *vcpus; /* of a machine */
};

struct kvm_vcpu {
	struct hv_vcpu base;
	struct kvm_host *host;
	int fd;
	struct kvm_run *run;
	struct kvm_vm *vm;     /* NULL: no machine's */
	struct kvm_vcpu *next; /* of the machine's */
	uint32_t number;       /* likewise */
	bool bound;	       /* atomic: `thread` runs it */
	pid_t thread;
	uint64_t tsc_deadline; /* loaded, to be set after the TSC */
};

extern const struct hv_machine_ops kvm_machine_ops; /* kvm_machine.c */

/* A vCPU without any state of ours; kvm_vcpu_free() frees it. Errors: NOMEM, HYPERVISOR. */
int kvm_vcpu_open(struct kvm_vm *vm, uint32_t number, struct kvm_vcpu **out, mayfly_error *err);
void kvm_vcpu_free(struct hv_vcpu *vcpu);

/* The signal by which vCPUs of machines are kicked, see kvm_machine.c. */
void kvm_machine_kick(struct kvm_vcpu *vcpu);
void kvm_machine_drain(void);
void kvm_machine_forget(struct kvm_vcpu *vcpu);

/* kvm_state.c */
int kvm_vm_save(struct hv_vm *vm, struct writer *w, mayfly_error *err);
int kvm_vm_load(struct hv_vm *vm, struct reader *r, mayfly_error *err);
int kvm_vcpu_save(struct hv_vcpu *vcpu, struct writer *w, mayfly_error *err);
int kvm_vcpu_load(struct hv_vcpu *vcpu, struct reader *r, mayfly_error *err);

/* kvm_x86_64.c: what depends on the CPU's architecture. */

void kvm_arch_host_kind(struct kvm_host *host);
/* Fill host->cpuid and the info's CPU fields. Errors: HYPERVISOR, NOMEM. */
int kvm_arch_host_features(struct kvm_host *host, mayfly_error *err);
/* A new vCPU's registers: CPUID, XCR0, MSRs at once; the rest is left for the first run. */
int kvm_arch_vcpu_init(struct kvm_vcpu *vcpu, const struct cpu_setup *setup, mayfly_error *err);

/* Of all addresses; code is for 64-bit mode or, as all else then, 32-bit. */
struct kvm_segment kvm_flat_segment(uint16_t selector, uint8_t type, uint8_t dpl,
				    bool long_mode);
void kvm_put_leaf(struct kvm_cpuid_entry2 *entry, const struct cpuid_leaf *leaf);
int kvm_vcpu_reset(struct hv_vcpu *vcpu, const struct cpu_setup *setup, mayfly_error *err);
void kvm_vcpu_set_regs(struct hv_vcpu *vcpu, const struct cpu_regs *regs);
int kvm_vcpu_get_regs(struct hv_vcpu *vcpu, struct cpu_regs *regs, mayfly_error *err);
int kvm_vcpu_get_control(struct hv_vcpu *vcpu, struct cpu_control *out, mayfly_error *err);
int kvm_vcpu_set_ring3(struct hv_vcpu *vcpu, const struct cpu_setup *setup, mayfly_error *err);
int kvm_vcpu_set_xsave(struct hv_vcpu *vcpu, const void *buffer, mayfly_error *err);
int kvm_vcpu_get_xsave(struct hv_vcpu *vcpu, void *buffer, mayfly_error *err);

#endif

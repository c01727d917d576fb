/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of the KVM backend only. */
#ifndef MAYFLY_HV_KVM_H
#define MAYFLY_HV_KVM_H

#include <linux/kvm.h>

#include "hv/hv.h"

struct kvm_host {
	struct hv_host info;
	int fd;		 /* /dev/kvm */
	size_t run_size; /* of a vCPU's shared page and what follows it */
	bool membarrier; /* membarrier(2) is there to hurry kicks */
	struct kvm_cpuid2 *cpuid;
};

struct kvm_vm {
	struct hv_vm base;
	struct kvm_host *host;
	int fd;
};

struct kvm_vcpu {
	struct hv_vcpu base;
	struct kvm_host *host;
	int fd;
	struct kvm_run *run;
};

/* kvm_x86_64.c: what depends on the CPU's architecture. */

/* Fill host->cpuid and the info's CPU fields. Errors: HYPERVISOR, NOMEM. */
int kvm_arch_host_init(struct kvm_host *host, mayfly_error *err);
/* A new vCPU's registers: CPUID, XCR0, MSRs at once; the rest is left for the first run. */
int kvm_arch_vcpu_init(struct kvm_vcpu *vcpu, const struct cpu_setup *setup, mayfly_error *err);

int kvm_vcpu_reset(struct hv_vcpu *vcpu, const struct cpu_setup *setup, mayfly_error *err);
void kvm_vcpu_set_regs(struct hv_vcpu *vcpu, const struct cpu_regs *regs);
int kvm_vcpu_get_regs(struct hv_vcpu *vcpu, struct cpu_regs *regs, mayfly_error *err);
int kvm_vcpu_get_control(struct hv_vcpu *vcpu, struct cpu_control *out, mayfly_error *err);
int kvm_vcpu_set_ring3(struct hv_vcpu *vcpu, const struct cpu_setup *setup, mayfly_error *err);
int kvm_vcpu_set_xsave(struct hv_vcpu *vcpu, const void *buffer, mayfly_error *err);
int kvm_vcpu_get_xsave(struct hv_vcpu *vcpu, void *buffer, mayfly_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guests are told of the CPU: for functions and programs user-mode features only, nothing
 * that names the host's parts; for machines what a kernel needs (cpuid_machine.c).
 */
#ifndef MAYFLY_ARCH_CPUID_H
#define MAYFLY_ARCH_CPUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpuid_leaf {
	uint32_t function;
	uint32_t index;
	bool indexed; /* `index` matters */
	uint32_t eax, ebx, ecx, edx;
};

/* Words of a feature summary: what a snapshot needs of the CPU that it is opened on. */
enum cpuid_word {
	CPUID_1_ECX,
	CPUID_1_EDX,
	CPUID_7_EBX,
	CPUID_7_ECX,
	CPUID_7_EDX,
	CPUID_7_1_EAX,
	CPUID_8_1_ECX, /* leaf 0x80000001 */
	CPUID_8_1_EDX,
	CPUID_WORDS
};

/*
 * Filter what the hypervisor supports, in place, for guests whose XCR0 is xcr0. Gives the new
 * number of leaves and fills the summary.
 */
size_t cpuid_filter(struct cpuid_leaf *leaves, size_t n, uint64_t xcr0,
		    uint32_t features[CPUID_WORDS]);

/* A vCPU of a machine: what its operating system is told. */
struct cpuid_machine {
	uint32_t cpu;	   /* its number, and its APIC id */
	uint32_t cpus;	   /* of the machine; one thread per core, one package */
	uint64_t xcr0;	   /* what the guest may set */
	uint32_t tsc_khz;  /* KVM_GET_TSC_KHZ */
	bool tsc_deadline; /* KVM_CAP_TSC_DEADLINE_TIMER: not among the supported leaves */
};

/* So many leaves may have to be added to those of the hypervisor. */
#define CPUID_MACHINE_ADDED 8

/*
 * The same for operating systems: rewrite in place what the hypervisor supports (KVM's own leaves
 * included) for one vCPU of a machine with KVM's interrupt controllers. Frequencies are published
 * so that no kernel has to measure. Hidden is what guests here cannot use, or what a snapshot would
 * not keep: nested virtualisation, performance counters, power states, supervisor state
 * components, asynchronous page faults. `max` is the array's size, at least n +
 * CPUID_MACHINE_ADDED. Gives the new number of leaves.
 */
size_t cpuid_machine(struct cpuid_leaf *leaves, size_t n, size_t max,
		     const struct cpuid_machine *m);

bool cpuid_has(const uint32_t features[CPUID_WORDS], enum cpuid_word word, unsigned bit);

#define CPUID_BIT_XSAVE 26   /* 1 ECX */
#define CPUID_BIT_FSGSBASE 0 /* 7 EBX */
#define CPUID_BIT_UMIP 2     /* 7 ECX */

/* Names one feature of `need` that `have` lacks, such as "7:EBX bit 16", or NULL. */
const char *cpuid_missing(const uint32_t need[CPUID_WORDS], const uint32_t have[CPUID_WORDS]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guests are told of the CPU: user-mode features only, nothing that names the host's
 * parts.
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

bool cpuid_has(const uint32_t features[CPUID_WORDS], enum cpuid_word word, unsigned bit);

#define CPUID_BIT_XSAVE 26   /* 1 ECX */
#define CPUID_BIT_FSGSBASE 0 /* 7 EBX */
#define CPUID_BIT_UMIP 2     /* 7 ECX */

/* Names one feature of `need` that `have` lacks, such as "7:EBX bit 16", or NULL. */
const char *cpuid_missing(const uint32_t need[CPUID_WORDS], const uint32_t have[CPUID_WORDS]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/x86_64/cpuid.h"

#include <string.h>

#define BIT(n) ((uint32_t)1 << (n))

/*
 * Features that ring 3 can use and that the gate's state switch covers (SDM vol. 2, CPUID). A
 * feature that is not named is hidden, so that a CPU with new state never shows it before it is
 * handled.
 */
static const uint32_t allowed[CPUID_WORDS] = {
	/* SSE3 PCLMULQDQ SSSE3 FMA CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE OSXSAVE AVX F16C
	   RDRAND hypervisor */
	[CPUID_1_ECX] = BIT(0) | BIT(1) | BIT(9) | BIT(12) | BIT(13) | BIT(19) | BIT(20) |
			BIT(22) | BIT(23) | BIT(25) | BIT(26) | BIT(27) | BIT(28) | BIT(29) |
			BIT(30) | BIT(31),
	/*
	 * FPU VME DE PSE TSC MSR PAE MCE CX8 SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE
	 * SSE2
	 */
	[CPUID_1_EDX] = 0x0783fbffu & ~BIT(9),
	/* FSGSBASE BMI1 AVX2 BMI2 ERMS AVX512F AVX512DQ RDSEED ADX AVX512IFMA CLFLUSHOPT CLWB
	   AVX512CD SHA AVX512BW AVX512VL */
	[CPUID_7_EBX] = BIT(0) | BIT(3) | BIT(5) | BIT(8) | BIT(9) | BIT(16) | BIT(17) |
			BIT(18) | BIT(19) | BIT(21) | BIT(23) | BIT(24) | BIT(28) | BIT(29) |
			BIT(30) | BIT(31),
	/*
	 * AVX512VBMI UMIP AVX512VBMI2 GFNI VAES VPCLMULQDQ VNNI BITALG VPOPCNTDQ RDPID MOVDIRI
	 * MOVDIR64B
	 */
	[CPUID_7_ECX] = BIT(1) | BIT(2) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) |
			BIT(12) | BIT(14) | BIT(22) | BIT(27) | BIT(28),
	/* FSRM AVX512_VP2INTERSECT SERIALIZE AVX512_FP16 */
	[CPUID_7_EDX] = BIT(4) | BIT(8) | BIT(14) | BIT(23),
	/* AVX_VNNI AVX512_BF16 FZRM FSRS FSRC AVX_IFMA */
	[CPUID_7_1_EAX] = BIT(4) | BIT(5) | BIT(10) | BIT(11) | BIT(12) | BIT(23),
	/* LAHF64 ABM SSE4A PREFETCHW */
	[CPUID_8_1_ECX] = BIT(0) | BIT(5) | BIT(6) | BIT(8),
	/* The copies of 1 EDX, SYSCALL NX PDPE1GB LM */
	[CPUID_8_1_EDX] = 0x0183fbffu | BIT(11) | BIT(20) | BIT(26) | BIT(29),
};

static const char *const word_names[CPUID_WORDS] = {
	"1:ECX", "1:EDX",   "7:EBX",	      "7:ECX",
	"7:EDX", "7.1:EAX", "0x80000001:ECX", "0x80000001:EDX",
};

/* Leaves that are kept: identification, features, caches, XSAVE layout, address sizes. */
static bool leaf_kept(uint32_t function)
{
	return function == 0 || function == 1 || function == 2 || function == 4 ||
	       function == 7 || function == 0xd ||
	       (function >= 0x80000000u && function <= 0x80000006u) || function == 0x80000008u;
}

static void filter_features(struct cpuid_leaf *l, uint32_t features[CPUID_WORDS])
{
	if (l->function == 1) {
		l->ebx &= 0x0000ffffu; /* brand index and CLFLUSH size; no APIC id */
		l->ecx = features[CPUID_1_ECX] = l->ecx & allowed[CPUID_1_ECX];
		l->edx = features[CPUID_1_EDX] = l->edx & allowed[CPUID_1_EDX];
	} else if (l->function == 7 && l->index == 0) {
		l->eax = l->eax ? 1 : 0; /* subleaf 1 is the last that is kept */
		l->ebx = features[CPUID_7_EBX] = l->ebx & allowed[CPUID_7_EBX];
		l->ecx = features[CPUID_7_ECX] = l->ecx & allowed[CPUID_7_ECX];
		l->edx = features[CPUID_7_EDX] = l->edx & allowed[CPUID_7_EDX];
	} else if (l->function == 7) {
		l->eax = features[CPUID_7_1_EAX] = l->eax & allowed[CPUID_7_1_EAX];
		l->ebx = l->ecx = l->edx = 0;
	} else if (l->function == 0x80000001u) {
		l->ecx = features[CPUID_8_1_ECX] = l->ecx & allowed[CPUID_8_1_ECX];
		l->edx = features[CPUID_8_1_EDX] = l->edx & allowed[CPUID_8_1_EDX];
	} else if (l->function == 4) {
		l->eax &=
			0x3fffu; /* the cache's kind; not how many threads and cores share it */
	} else if (l->function == 0x80000008u) {
		l->ebx = l->ecx = l->edx =
			0; /* address sizes only; AMD has features and cores here */
	}
}

/*
 * Leaf 0xd: only the state components of xcr0; no supervisor state, no compaction (SDM vol. 1,
 * 13.2).
 */
static bool filter_xsave(struct cpuid_leaf *l, uint64_t xcr0)
{
	if (l->index == 0) {
		l->eax &= (uint32_t)xcr0;
		l->edx = 0;
		return true;
	}
	if (l->index == 1) {
		l->eax &= BIT(0) | BIT(2); /* XSAVEOPT, XGETBV with ECX = 1 */
		l->ebx = l->ecx = l->edx = 0;
		return true;
	}
	return l->index < 64 && (xcr0 >> l->index) & 1;
}

size_t cpuid_filter(struct cpuid_leaf *leaves, size_t n, uint64_t xcr0,
		    uint32_t features[CPUID_WORDS])
{
	size_t kept = 0;

	memset(features, 0, CPUID_WORDS * sizeof(features[0]));
	for (size_t i = 0; i < n; i++) {
		struct cpuid_leaf *l = &leaves[i];

		if (!leaf_kept(l->function) || (l->function == 7 && l->index > 1))
			continue;
		if (l->function == 0)
			l->eax = l->eax > 0xd ? 0xd : l->eax;
		if (l->function == 0x80000000u && l->eax > 0x80000008u)
			l->eax = 0x80000008u;
		if (l->function == 0xd && !filter_xsave(l, xcr0))
			continue;
		filter_features(l, features);
		leaves[kept++] = *l;
	}
	return kept;
}

bool cpuid_has(const uint32_t features[CPUID_WORDS], enum cpuid_word word, unsigned bit)
{
	return (features[word] >> bit) & 1;
}

const char *cpuid_missing(const uint32_t need[CPUID_WORDS], const uint32_t have[CPUID_WORDS])
{
	for (int w = 0; w < CPUID_WORDS; w++)
		if (need[w] & ~have[w])
			return word_names[w];
	return NULL;
}

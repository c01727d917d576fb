/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/x86_64/cpuid.h"

#define BIT(n) ((uint32_t)1 << (n))

#define LEAF_LAST 0x15u /* the highest basic leaf shown */
#define LEAF_TOPOLOGY 0xbu
#define LEAF_EXTENDED 0x80000000u
#define LEAF_INVARIANT_TSC 0x80000007u
#define LEAF_ADDRESS_SIZES 0x80000008u
#define LEAF_AMD_FEATURES_2 0x80000021u
/* KVM's (Documentation/virt/kvm/x86/cpuid.rst), and the frequencies that others put after them. */
#define LEAF_KVM 0x40000000u
#define LEAF_KVM_FEATURES 0x40000001u
#define LEAF_FREQUENCIES 0x40000010u

/* KVM's LAPIC timer counts nanoseconds (APIC_BUS_CYCLE_NS in arch/x86/kvm/lapic.h). */
#define LAPIC_KHZ 1000000u

#define XSAVE_AREA 576u /* legacy area and header (SDM vol. 1, 13.4) */
#define XCR0_PKRU 9

/*
 * Which bits a kernel sees of those that the hypervisor supports (SDM vol. 2, CPUID; AMD's APM
 * vol. 3, E). As in cpuid.c, a feature that is not named is hidden.
 */
static const struct {
	uint32_t function, index;
	uint32_t eax, ebx, ecx, edx;
} allowed[] = {
	/*
	 * ECX: SSE3 PCLMULQDQ SSSE3 FMA CX16 PCID SSE4.1 SSE4.2 x2APIC MOVBE POPCNT deadline AES
	 * XSAVE OSXSAVE AVX F16C RDRAND hypervisor. EDX: all up to SSE2 but DS and ACPI.
	 */
	{1, 0, ~0u, 0x0000ff00u,
	 BIT(0) | BIT(1) | BIT(9) | BIT(12) | BIT(13) | BIT(17) | BIT(19) | BIT(20) | BIT(21) |
		 BIT(22) | BIT(23) | BIT(24) | BIT(25) | BIT(26) | BIT(27) | BIT(28) | BIT(29) |
		 BIT(30) | BIT(31),
	 0x0783fbffu},
	/* ARAT: the LAPIC's timer does not stop */
	{6, 0, BIT(2), 0, 0, 0},
	/*
	 * EBX: FSGSBASE TSC_ADJUST BMI1 AVX2 FDP SMEP BMI2 ERMS INVPCID FCS AVX512F AVX512DQ
	 * RDSEED ADX SMAP AVX512IFMA CLFLUSHOPT CLWB AVX512CD SHA AVX512BW AVX512VL.
	 * ECX: AVX512VBMI UMIP PKU OSPKE AVX512VBMI2 GFNI VAES VPCLMULQDQ VNNI BITALG VPOPCNTDQ
	 * RDPID MOVDIRI MOVDIR64B.
	 * EDX: FSRM AVX512_VP2INTERSECT MD_CLEAR SERIALIZE AVX512_FP16 SPEC_CTRL STIBP L1D_FLUSH
	 * ARCH_CAPABILITIES SSBD.
	 */
	{7, 0, 3,
	 BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) | BIT(10) |
		 BIT(13) | BIT(16) | BIT(17) | BIT(18) | BIT(19) | BIT(20) | BIT(21) | BIT(23) |
		 BIT(24) | BIT(28) | BIT(29) | BIT(30) | BIT(31),
	 BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(6) | BIT(8) | BIT(9) | BIT(10) | BIT(11) |
		 BIT(12) | BIT(14) | BIT(22) | BIT(27) | BIT(28),
	 BIT(4) | BIT(8) | BIT(10) | BIT(14) | BIT(23) | BIT(26) | BIT(27) | BIT(28) | BIT(29) |
		 BIT(31)},
	/* AVX_VNNI AVX512_BF16 FZRM FSRS FSRC AVX_IFMA */
	{7, 1, BIT(4) | BIT(5) | BIT(10) | BIT(11) | BIT(12) | BIT(23), 0, 0, 0},
	/* PSFD IPRED_CTRL RRSBA_CTRL DDPD_U BHI_CTRL MCDT_NO */
	{7, 2, 0, 0, 0, 0x3f},
	/* XSAVEOPT XSAVEC XGETBV with ECX = 1; no supervisor state, so no XSAVES */
	{0xd, 1, 7, ~0u, 0, 0},
	/*
	 * Clock at its new MSRs (and the old), no delay at ports, end of interrupt, kick, TLB flush
	 * and IPI by hypercall, stolen time, stable clock.
	 */
	{LEAF_KVM_FEATURES, 0,
	 BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(9) | BIT(11) | BIT(24), 0, 0,
	 0},
	/*
	 * ECX: LAHF64 CR8 ABM SSE4A MISALIGNSSE PREFETCHW. EDX: the copies of leaf 1's, SYSCALL NX
	 * MMXEXT FXSR_OPT PDPE1GB RDTSCP LM.
	 */
	{0x80000001u, 0, ~0u, ~0u, BIT(0) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8),
	 0x0183fbffu | BIT(11) | BIT(20) | BIT(22) | BIT(25) | BIT(26) | BIT(27) | BIT(29)},
	/*
	 * EBX: CLZERO, FP pointers, IBPB IBRS STIBP, IBRS and STIBP preferred, same mode, SSBD,
	 * SSB_NO, PSFD
	 */
	{LEAF_ADDRESS_SIZES, 0, ~0u,
	 BIT(0) | BIT(2) | BIT(12) | BIT(14) | BIT(15) | BIT(16) | BIT(17) | BIT(18) | BIT(19) |
		 BIT(24) | BIT(26) | BIT(28),
	 0, 0},
	/*
	 * NO_NESTED_DATA_BP, LFENCE serialises, NULL_SEL_CLR_BASE, AUTOIBRS, SBPB, IBPB_BRTYPE,
	 * SRSO_NO, SRSO_USER_KERNEL_NO
	 */
	{LEAF_AMD_FEATURES_2, 0,
	 BIT(0) | BIT(2) | BIT(6) | BIT(8) | BIT(27) | BIT(28) | BIT(29) | BIT(30), 0, 0, 0},
};

/* Leaves of which everything may be seen: identification, caches, the brand. */
static bool leaf_plain(const struct cpuid_leaf *l)
{
	return l->function == 0 || l->function == 2 || l->function == 4 ||
	       l->function == LEAF_KVM ||
	       (l->function >= LEAF_EXTENDED && l->function <= LEAF_EXTENDED + 6 &&
		l->function != LEAF_EXTENDED + 1);
}

static uint32_t clamp(uint32_t v, uint32_t low, uint32_t high)
{
	return v < low ? low : v > high ? high : v;
}

/* False: not for guests. */
static bool filter(struct cpuid_leaf *l, uint64_t xcr0)
{
	if (leaf_plain(l))
		return true;
	if (l->function == 0xd && l->index == 0) {
		l->eax &= (uint32_t)xcr0;
		l->edx = (uint32_t)(xcr0 >> 32) & l->edx;
		return true;
	}
	/* Components that live in XCR0 only: those of IA32_XSS have bit 0 of ECX set. */
	if (l->function == 0xd && l->index > 1)
		return l->index < 64 && (xcr0 >> l->index & 1) && !(l->ecx & 1);
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
		if (l->function != allowed[i].function || l->index != allowed[i].index)
			continue;
		l->eax &= allowed[i].eax;
		l->ebx &= allowed[i].ebx;
		l->ecx &= allowed[i].ecx;
		l->edx &= allowed[i].edx;
		return true;
	}
	return false;
}

/* Bits of an APIC id that number `cpus` of them. */
static uint32_t id_bits(uint32_t cpus)
{
	uint32_t bits = 0;

	while (((uint64_t)1 << bits) < cpus)
		bits++;
	return bits;
}

/* One package; each CPU a core with one thread (SDM vol. 3, 9.9). */
static void set_topology(struct cpuid_leaf *l, const struct cpuid_machine *m)
{
	uint32_t ids = (uint32_t)1 << id_bits(m->cpus);
	uint32_t level = l->eax >> 5 & 7, type = l->eax & 0x1f;

	if (l->function == 1) {
		l->ebx |= (m->cpu & 0xff) << 24;
		if (m->cpus > 1) {
			l->ebx |= clamp(ids, 1, 0xff) << 16;
			l->edx |= BIT(28); /* HTT: the count above holds */
		}
	} else if (l->function == 4) {
		l->eax &= 0x3fffu;
		if (type) /* 0: no more caches */
			l->eax |= clamp(ids - 1, 0, 63) << 26 |
				  (level > 2 ? clamp(ids - 1, 0, 0xfff) << 14 : 0);
	} else if (l->function == LEAF_ADDRESS_SIZES) {
		l->ecx = m->cpus > 1 ? id_bits(m->cpus) << 12 | ((m->cpus - 1) & 0xff) : 0;
	}
}

static void set_features(struct cpuid_leaf *l, const struct cpuid_machine *m)
{
	if (l->function == 1) {
		l->ecx = (l->ecx & ~BIT(24)) | BIT(21) | BIT(31);
		l->ecx |= m->tsc_deadline ? BIT(24) : 0;
		l->edx |= BIT(9);
	} else if (l->function == 7 && l->index == 0) {
		l->eax = clamp(l->eax, 0, 2);
		if (!(m->xcr0 >> XCR0_PKRU & 1))
			l->ecx &= ~(BIT(3) | BIT(4));
	} else if (l->function == 0) {
		l->eax = clamp(l->eax, LEAF_TOPOLOGY, LEAF_LAST);
	} else if (l->function == LEAF_EXTENDED) {
		l->eax = clamp(l->eax, LEAF_ADDRESS_SIZES, LEAF_AMD_FEATURES_2);
	} else if (l->function == LEAF_KVM) {
		l->eax = LEAF_FREQUENCIES;
	}
}

/* Leaf 0xd says how large the area for all components is: of those that are left. */
static void set_xsave_size(struct cpuid_leaf *leaves, size_t n)
{
	struct cpuid_leaf *main = NULL;
	uint32_t end = XSAVE_AREA;

	for (size_t i = 0; i < n; i++) {
		if (leaves[i].function != 0xd)
			continue;
		if (leaves[i].index == 0)
			main = &leaves[i];
		else if (leaves[i].index > 1 && leaves[i].ebx + leaves[i].eax > end)
			end = leaves[i].ebx + leaves[i].eax;
	}
	if (main)
		main->ecx = end;
}

static size_t add(struct cpuid_leaf *leaves, size_t n, size_t max, struct cpuid_leaf leaf)
{
	if (n < max)
		leaves[n++] = leaf;
	return n;
}

static bool has(const struct cpuid_leaf *leaves, size_t n, uint32_t function)
{
	for (size_t i = 0; i < n; i++)
		if (leaves[i].function == function)
			return true;
	return false;
}

/*
 * Leaf 0xb; 0x1f, which says the same with more levels, is left out: then kernels take this one.
 * Leaf 0x15 is shown as zero, so that nobody takes its crystal for the truth, and so that leaves
 * past the last, which Intel's CPUs answer like the last, are zero too.
 */
static size_t add_leaves(struct cpuid_leaf *leaves, size_t n, size_t max,
			 const struct cpuid_machine *m)
{
	n = add(leaves, n, max,
		(struct cpuid_leaf){LEAF_TOPOLOGY, 0, true, 0, 1, 1 << 8, m->cpu});
	n = add(leaves, n, max,
		(struct cpuid_leaf){LEAF_TOPOLOGY, 1, true, id_bits(m->cpus), m->cpus,
				    2 << 8 | 1, m->cpu});
	n = add(leaves, n, max, (struct cpuid_leaf){LEAF_TOPOLOGY, 2, true, 0, 0, 2, m->cpu});
	n = add(leaves, n, max, (struct cpuid_leaf){.function = LEAF_LAST});
	n = add(leaves, n, max,
		(struct cpuid_leaf){.function = LEAF_INVARIANT_TSC,
				    .edx = m->tsc_khz ? BIT(8) : 0});
	if (!has(leaves, n, LEAF_KVM)) /* "KVMKVMKVM" */
		n = add(leaves, n, max,
			(struct cpuid_leaf){LEAF_KVM, 0, false, LEAF_FREQUENCIES, 0x4b4d564bu,
					    0x564b4d56u, 0x4du});
	return add(leaves, n, max,
		   (struct cpuid_leaf){
			   .function = LEAF_FREQUENCIES, .eax = m->tsc_khz, .ebx = LAPIC_KHZ});
}

size_t cpuid_machine(struct cpuid_leaf *leaves, size_t n, size_t max,
		     const struct cpuid_machine *m)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct cpuid_leaf *l = &leaves[i];

		if (!filter(l, m->xcr0))
			continue;
		set_features(l, m);
		set_topology(l, m);
		leaves[kept++] = *l;
	}
	set_xsave_size(leaves, kept);
	return add_leaves(leaves, kept, max, m);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "arch/x86_64/cpuid.h"
#include "core/util.h"
#include "hv/kvm.h"

#define MAX_CPUID 256

/* MSRs (SDM vol. 4, 2.1). */
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_SFMASK 0xc0000084u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX 0xc0000103u

_Static_assert(sizeof(struct kvm_xsave) == CPU_XSAVE_BUFFER, "KVM's XSAVE image is one page");

void kvm_put_leaf(struct kvm_cpuid_entry2 *e, const struct cpuid_leaf *l)
{
	*e = (struct kvm_cpuid_entry2){
		.function = l->function,
		.index = l->index,
		.flags = l->indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
		.eax = l->eax,
		.ebx = l->ebx,
		.ecx = l->ecx,
		.edx = l->edx,
	};
}

/*
 * PVM runs ring 3 on the CPU itself, whatever guests are told, and lists hardly any feature as
 * supported: there the CPU's own features count.
 */
static void add_native_features(struct cpuid_leaf *l)
{
	unsigned eax, ebx, ecx, edx;

	if (l->function != 1 && l->function != 7 && l->function != 0x80000001u)
		return;
	if (!__get_cpuid_count(l->function, l->index, &eax, &ebx, &ecx, &edx))
		return;
	l->ecx |= ecx;
	l->edx |= edx;
	if (l->function == 7 && l->index == 0)
		l->ebx |= ebx;
	else if (l->function == 7)
		l->eax |= eax;
}

/* XCR0's supported bits: leaf 0xd, EDX:EAX. */
static uint64_t supported_xcr0(const struct cpuid_leaf *leaves, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (leaves[i].function == 0xd && leaves[i].index == 0)
			return leaves[i].eax & CPU_XCR0_ALLOWED;
	return 0;
}

static const char *host_kind(void)
{
	unsigned eax, ebx, ecx, edx;

	if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & (1u << 5)))
		return "vmx";
	if (__get_cpuid(0x80000001u, &eax, &ebx, &ecx, &edx) && (ecx & (1u << 2)))
		return "svm";
	if (!access("/sys/module/kvm_pvm", F_OK))
		return "pvm";
	return "kvm";
}

static bool host_tsc_can_be_set(const struct kvm_host *host)
{
	return ioctl(host->fd, KVM_CHECK_EXTENSION, KVM_CAP_VCPU_ATTRIBUTES) > 0;
}

void kvm_arch_host_kind(struct kvm_host *host)
{
	snprintf(host->info.kind, sizeof(host->info.kind), "%s", host_kind());
	host->info.ring0_native = strcmp(host->info.kind, "pvm") != 0;
}

int kvm_arch_host_features(struct kvm_host *host, mayfly_error *err)
{
	_cleanup_free_ struct cpuid_leaf *leaves = calloc(MAX_CPUID, sizeof(*leaves));
	_cleanup_free_ struct cpuid_leaf *supported = calloc(MAX_CPUID, sizeof(*leaves));
	_cleanup_free_ struct kvm_cpuid2 *cpuid =
		calloc(1, sizeof(*cpuid) + MAX_CPUID * sizeof(cpuid->entries[0]));
	struct hv_host *info = &host->info;
	size_t n;

	if (!cpuid || !leaves || !supported)
		return fail(err, MAYFLY_E_NOMEM, "no memory for the CPUID table");
	cpuid->nent = MAX_CPUID;
	if (ioctl(host->fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_GET_SUPPORTED_CPUID");
	n = cpuid->nent;
	for (size_t i = 0; i < n; i++) {
		const struct kvm_cpuid_entry2 *e = &cpuid->entries[i];

		leaves[i] = (struct cpuid_leaf){
			.function = e->function,
			.index = e->index,
			.indexed = e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = e->eax,
			.ebx = e->ebx,
			.ecx = e->ecx,
			.edx = e->edx,
		};
	}
	memcpy(supported, leaves, n * sizeof(*leaves));
	host->nsupported = n;
	for (size_t i = 0; i < n && !info->ring0_native; i++)
		add_native_features(&leaves[i]);
	info->xcr0 = supported_xcr0(leaves, n);
	n = cpuid_filter(leaves, n, info->xcr0, info->features);
	for (size_t i = 0; i < n; i++)
		kvm_put_leaf(&cpuid->entries[i], &leaves[i]);
	cpuid->nent = (uint32_t)n;

	host->cpuid = take_ptr(cpuid);
	host->supported = take_ptr(supported);
	info->fsgsbase = cpuid_has(info->features, CPUID_7_EBX, CPUID_BIT_FSGSBASE);
	info->ring3_resets = info->fsgsbase;
	info->host_tsc = !info->ring0_native || host_tsc_can_be_set(host);
	info->xsave = info->xcr0 && cpuid_has(info->features, CPUID_1_ECX, CPUID_BIT_XSAVE);
	return 0;
}

struct kvm_segment kvm_flat_segment(uint16_t selector, uint8_t type, uint8_t dpl,
				    bool long_mode)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.dpl = dpl,
		.s = 1,
		.g = 1,
		.db = type == SEGMENT_DATA || !long_mode,
		.l = type == SEGMENT_CODE && long_mode,
	};
}

static void build_sregs(const struct kvm_host *host, const struct cpu_setup *setup,
			struct kvm_sregs *s)
{
	const struct hv_host *info = &host->info;

	memset(s, 0, sizeof(*s));
	s->cs = kvm_flat_segment(CPU_SEL_USER_CS, SEGMENT_CODE, 3, true);
	s->ss = kvm_flat_segment(CPU_SEL_USER_SS, SEGMENT_DATA, 3, true);
	/* Null selectors, which 64-bit mode does not mind, and which PVM loads much faster. */
	s->ds = s->es = s->fs = s->gs = (struct kvm_segment){.unusable = 1};
	s->fs.base = setup->fs_base;
	s->gs.base = setup->gs_base;
	s->tr = (struct kvm_segment){
		.base = setup->tss,
		.limit = setup->tss_limit,
		.selector = CPU_SEL_TSS,
		/*
		 * AMD does not show the busy bit there, and QEMU's emulation of SVM honours the
		 * I/O bitmap of an available one only.
		 */
		.type = strcmp(info->kind, "svm") ? SEGMENT_TSS_BUSY : SEGMENT_TSS_AVAILABLE,
		.present = 1,
	};
	s->ldt = (struct kvm_segment){.unusable = 1, .type = 2};
	s->gdt.base = setup->gdt;
	s->gdt.limit = setup->gdt_limit;
	s->idt.base = setup->idt;
	s->idt.limit = setup->idt_limit;
	s->cr0 = CPU_CR0_PE | CPU_CR0_MP | CPU_CR0_ET | CPU_CR0_NE | CPU_CR0_WP | CPU_CR0_PG;
	s->cr3 = setup->cr3;
	s->cr4 = CPU_CR4_PAE | CPU_CR4_OSFXSR | CPU_CR4_OSXMMEXCPT;
	if (info->xsave)
		s->cr4 |= CPU_CR4_OSXSAVE;
	if (info->fsgsbase)
		s->cr4 |= CPU_CR4_FSGSBASE;
	if (cpuid_has(info->features, CPUID_7_ECX, CPUID_BIT_UMIP))
		s->cr4 |= CPU_CR4_UMIP;
	if (!setup->allow_tsc)
		s->cr4 |= CPU_CR4_TSD;
	s->efer = CPU_EFER_SCE | CPU_EFER_LME | CPU_EFER_LMA | CPU_EFER_NXE;
	s->apic_base = 0xfee00900u; /* enabled, boot processor: as KVM starts it */
}

static int set_xcr0(struct kvm_vcpu *vcpu, mayfly_error *err)
{
	struct kvm_xcrs xcrs = {.nr_xcrs = 1,
				.xcrs = {{.xcr = 0, .value = vcpu->host->info.xcr0}}};

	if (vcpu->host->info.xsave && ioctl(vcpu->fd, KVM_SET_XCRS, &xcrs) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_SET_XCRS to 0x%llx",
				  (unsigned long long)xcrs.xcrs[0].value);
	return 0;
}

/* `all`: also those that a new vCPU has at zero anyway. */
static int set_msrs(struct kvm_vcpu *vcpu, const struct cpu_setup *setup, bool all,
		    mayfly_error *err)
{
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entries[9];
	} msrs = {
		.entries =
			{
				{.index = MSR_STAR,
				 /*
			  * SYSRET takes CS from bits 63:48 + 16, SS from + 8 (SDM vol. 2,
			  * SYSRET)
			  */
				 .data = (uint64_t)(CPU_SEL_USER_CS - 16) << 48 |
					 (uint64_t)CPU_SEL_KERNEL_CS << 32},
				{.index = MSR_LSTAR, .data = setup->syscall_entry},
				{.index = MSR_SFMASK},
				{.index = MSR_CSTAR},
				{.index = MSR_KERNEL_GS_BASE},
				{.index = MSR_SYSENTER_CS},
				{.index = MSR_SYSENTER_ESP},
				{.index = MSR_SYSENTER_EIP},
			},
	};
	int done;

	msrs.header.nmsrs = all ? 8 : 2;
	done = ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);
	if (done != (int)msrs.header.nmsrs)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno,
				  "KVM_SET_MSRS stopped at 0x%x",
				  done < 0 ? 0 : msrs.entries[done].index);
	return 0;
}

/*
 * Take KVM's offset off the guest's TSC (Documentation/virt/kvm/devices/vcpu.rst 4.1). PVM has
 * none: ring 3 executes RDTSC itself.
 */
static int set_host_tsc(struct kvm_vcpu *vcpu, mayfly_error *err)
{
	uint64_t offset = 0;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uint64_t)(uintptr_t)&offset,
	};

	if (!vcpu->host->info.ring0_native || !vcpu->host->info.host_tsc)
		return 0;
	if (ioctl(vcpu->fd, KVM_SET_DEVICE_ATTR, &attr) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_VCPU_TSC_OFFSET");
	return 0;
}

int kvm_arch_vcpu_init(struct kvm_vcpu *vcpu, const struct cpu_setup *setup, mayfly_error *err)
{
	int r;

	if (ioctl(vcpu->fd, KVM_SET_CPUID2, vcpu->host->cpuid) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_SET_CPUID2");
	build_sregs(vcpu->host, setup, &vcpu->run->s.regs.sregs);
	vcpu->run->kvm_dirty_regs = KVM_SYNC_X86_SREGS;
	vcpu->run->kvm_valid_regs = setup->sync_regs ? KVM_SYNC_X86_REGS : 0;
	if (setup->host_tsc) {
		r = set_host_tsc(vcpu, err);
		if (r < 0)
			return r;
	}
	/* CR4.OSXSAVE comes with the first run; KVM lets XCR0 be set before. */
	r = set_xcr0(vcpu, err);
	return r < 0 ? r : set_msrs(vcpu, setup, false, err);
}

/*
 * KVM completes an instruction that left for the host, such as IN, at the next entry: registers
 * and memory that are new by then would be written. So let it do that now, without going on.
 */
static int finish_instruction(struct kvm_vcpu *vcpu, mayfly_error *err)
{
	struct kvm_run *run = vcpu->run;
	bool out = run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_OUT;
	int r = 0;

	if (out || (run->exit_reason != KVM_EXIT_IO && run->exit_reason != KVM_EXIT_MMIO))
		return 0;
	/* One entry is enough; a few, in case that parts of an instruction leave again. */
	for (int i = 0; i < 8 && r == 0; i++) {
		run->immediate_exit = 1;
		r = ioctl(vcpu->fd, KVM_RUN, 0);
		run->immediate_exit = 0;
	}
	if (r < 0 && errno == EINTR)
		return 0;
	return fail_errno(err, MAYFLY_E_HYPERVISOR, r < 0 ? errno : EIO,
			  "KVM_RUN to end an instruction");
}

int kvm_vcpu_reset(struct hv_vcpu *base, const struct cpu_setup *setup, mayfly_error *err)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;
	_cleanup_free_ struct kvm_xsave *xsave = calloc(1, sizeof(*xsave));
	struct kvm_vcpu_events events = {.flags = 0};
	/* Power-up values (SDM vol. 3, table 10-1). */
	struct kvm_debugregs debug = {.dr6 = 0xffff0ff0u, .dr7 = 0x400};
	struct kvm_regs regs = {.rflags = CPU_RFLAGS_START};
	struct kvm_sregs sregs;
	int r;

	if (!xsave)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a vCPU reset");
	r = finish_instruction(vcpu, err);
	if (r < 0)
		return r;
	build_sregs(vcpu->host, setup, &sregs);
	/*
	 * XSTATE_BV = 0: every component in its initial state (SDM vol. 1, 13.6); MXCSR is
	 * apart.
	 */
	xsave->region[6] = 0x1f80;
	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_SET_REGS");
	if (ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_SET_VCPU_EVENTS");
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_SET_SREGS");
	if (ioctl(vcpu->fd, KVM_SET_XSAVE, xsave) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_SET_XSAVE");
	if (ioctl(vcpu->fd, KVM_SET_DEBUGREGS, &debug) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_SET_DEBUGREGS");
	vcpu->run->kvm_dirty_regs = 0;
	r = set_xcr0(vcpu, err);
	return r < 0 ? r : set_msrs(vcpu, setup, true, err);
}

void kvm_vcpu_set_regs(struct hv_vcpu *base, const struct cpu_regs *r)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;

	vcpu->run->s.regs.regs = (struct kvm_regs){
		.rax = r->rax,
		.rbx = r->rbx,
		.rcx = r->rcx,
		.rdx = r->rdx,
		.rsi = r->rsi,
		.rdi = r->rdi,
		.rsp = r->rsp,
		.rbp = r->rbp,
		.r8 = r->r8,
		.r9 = r->r9,
		.r10 = r->r10,
		.r11 = r->r11,
		.r12 = r->r12,
		.r13 = r->r13,
		.r14 = r->r14,
		.r15 = r->r15,
		.rip = r->rip,
		.rflags = r->rflags,
	};
	vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_REGS;
}

int kvm_vcpu_get_regs(struct hv_vcpu *base, struct cpu_regs *r, mayfly_error *err)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;
	struct kvm_regs k;

	if (vcpu->run->kvm_valid_regs & KVM_SYNC_X86_REGS)
		k = vcpu->run->s.regs.regs;
	else if (ioctl(vcpu->fd, KVM_GET_REGS, &k) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_GET_REGS");
	*r = (struct cpu_regs){
		.rax = k.rax,
		.rbx = k.rbx,
		.rcx = k.rcx,
		.rdx = k.rdx,
		.rsi = k.rsi,
		.rdi = k.rdi,
		.rsp = k.rsp,
		.rbp = k.rbp,
		.r8 = k.r8,
		.r9 = k.r9,
		.r10 = k.r10,
		.r11 = k.r11,
		.r12 = k.r12,
		.r13 = k.r13,
		.r14 = k.r14,
		.r15 = k.r15,
		.rip = k.rip,
		.rflags = k.rflags,
	};
	return 0;
}

int kvm_vcpu_get_control(struct hv_vcpu *base, struct cpu_control *out, mayfly_error *err)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;
	struct kvm_sregs s;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &s) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_GET_SREGS");
	*out = (struct cpu_control){
		.cr0 = s.cr0,
		.cr2 = s.cr2,
		.cr3 = s.cr3,
		.cr4 = s.cr4,
		.efer = s.efer,
		.cs_base = s.cs.base,
		.fs_base = s.fs.base,
		.gs_base = s.gs.base,
		.cs = s.cs.selector,
		.ss = s.ss.selector,
	};
	return 0;
}

int kvm_vcpu_set_ring3(struct hv_vcpu *base, const struct cpu_setup *setup, mayfly_error *err)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;

	(void)err;
	build_sregs(vcpu->host, setup, &vcpu->run->s.regs.sregs);
	vcpu->run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
	return 0;
}

int kvm_vcpu_set_xsave(struct hv_vcpu *base, const void *buffer, mayfly_error *err)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;

	if (ioctl(vcpu->fd, KVM_SET_XSAVE, buffer) < 0)
		return fail_errno(err, errno == EINVAL ? MAYFLY_E_INVALID : MAYFLY_E_HYPERVISOR,
				  errno, "KVM_SET_XSAVE");
	return 0;
}

int kvm_vcpu_get_xsave(struct hv_vcpu *base, void *buffer, mayfly_error *err)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;

	if (ioctl(vcpu->fd, KVM_GET_XSAVE, buffer) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_GET_XSAVE");
	return 0;
}

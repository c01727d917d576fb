/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM backend for machines: interrupt controllers, timer and clock in the kernel, vCPUs
 * that run an operating system from its first instruction on.
 *
 * Kicks. A halted vCPU sleeps in the kernel, where only a signal wakes it. Its thread has all
 * signals blocked; KVM_SET_SIGNAL_MASK unblocks one while KVM_RUN lasts, which then ends with
 * EINTR and leaves the signal pending, to be taken by sigtimedwait(2). So no handler is
 * installed and nothing of the host process is interrupted. The signal is SIGSTKFLT, which
 * nothing on this architecture ever sends.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/util.h"
#include "hv/kvm.h"

#define KICK_SIGNAL SIGSTKFLT
#define KERNEL_SIGSET_SIZE 8 /* as KVM_SET_SIGNAL_MASK wants it */

/*
 * Three pages for VMX's real mode, and one for its page table, where nothing else of a machine
 * is (api.rst 4.36, 4.41): QEMU's and Firecracker's choice, below the place of a PC's firmware.
 */
#define TSS_ADDRESS 0xfffbd000u
#define IDENTITY_MAP_ADDRESS 0xfffbc000u

/* MSRs (SDM vol. 4, 2.1). */
#define MSR_MISC_ENABLE 0x1a0
#define MSR_MTRR_DEFAULT 0x2ff
#define MISC_ENABLE_FAST_STRINGS 1u
#define MTRR_ENABLE_WRITE_BACK 0xc06u /* MTRRs and fixed ranges on, type write-back */

/* Local vector table entries of LINT0 and 1 (SDM vol. 3, 11.5.1). */
#define LAPIC_LINT0 0x350
#define LAPIC_LINT1 0x360
#define LAPIC_EXTINT 0x700u
#define LAPIC_NMI 0x400u

#define RFLAGS_FIXED 2u

/* --- The VM ------------------------------------------------------------------------------- */

static int kvm_platform(struct hv_vm *base, mayfly_error *err)
{
	struct kvm_vm *vm = (struct kvm_vm *)base;
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
	struct kvm_enable_cap report = {.cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE, .args = {1}};
	uint64_t identity = IDENTITY_MAP_ADDRESS;
	const char *kind = vm->host->info.kind;
	bool real_mode = strcmp(kind, "svm") != 0 && strcmp(kind, "pvm") != 0;

	if (real_mode && ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_SET_IDENTITY_MAP_ADDR");
	if (real_mode && ioctl(vm->fd, KVM_SET_TSS_ADDR, (unsigned long)TSS_ADDRESS) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_SET_TSS_ADDR");
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno,
				  "this KVM makes no interrupt controllers "
				  "(KVM_CREATE_IRQCHIP)");
	if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno,
				  "this KVM makes no timer (KVM_CREATE_PIT2)");
	/* Errors then say which instruction it was; older kernels cannot. */
	(void)ioctl(vm->fd, KVM_ENABLE_CAP, &report);
	vm->machine = true;
	return 0;
}

static int kvm_irq(struct hv_vm *base, uint32_t irq, bool level, mayfly_error *err)
{
	struct kvm_vm *vm = (struct kvm_vm *)base;
	struct kvm_irq_level line = {.irq = irq, .level = level};

	if (ioctl(vm->fd, KVM_IRQ_LINE, &line) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_IRQ_LINE");
	return 0;
}

static int kvm_notify(struct hv_vm *base, const struct hv_notify *notify, mayfly_error *err)
{
	struct kvm_vm *vm = (struct kvm_vm *)base;
	struct kvm_ioeventfd event = {
		.datamatch = notify->value,
		.addr = notify->gpa,
		.len = 4,
		.fd = notify->fd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	if (ioctl(vm->fd, KVM_IOEVENTFD, &event) < 0)
		return fail_errno(err,
				  errno == ENOMEM || errno == ENOSPC ? MAYFLY_E_NOMEM
								     : MAYFLY_E_HYPERVISOR,
				  errno, "KVM_IOEVENTFD");
	return 0;
}

/* --- vCPUs -------------------------------------------------------------------------------- */

static uint32_t tsc_khz(const struct kvm_vcpu *vcpu)
{
	int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);

	return khz > 0 ? (uint32_t)khz : 0;
}

/* What the guest may have in XCR0: what machines' CPUID knows of it, protection keys too. */
static uint64_t machine_xcr0(const struct kvm_host *host)
{
	for (size_t i = 0; i < host->nsupported; i++)
		if (host->supported[i].function == 0xd && host->supported[i].index == 0)
			return host->supported[i].eax & (CPU_XCR0_ALLOWED | 1u << 9);
	return 0;
}

static int set_cpuid(struct kvm_vcpu *vcpu, uint32_t cpus, mayfly_error *err)
{
	const struct kvm_host *host = vcpu->host;
	size_t max = host->nsupported + CPUID_MACHINE_ADDED, n;
	_cleanup_free_ struct cpuid_leaf *leaves = calloc(max, sizeof(*leaves));
	_cleanup_free_ struct kvm_cpuid2 *table =
		calloc(1, sizeof(*table) + max * sizeof(table->entries[0]));
	struct cpuid_machine m = {
		.cpu = vcpu->number,
		.cpus = cpus,
		.xcr0 = machine_xcr0(host),
		.tsc_khz = tsc_khz(vcpu),
		.tsc_deadline =
			ioctl(host->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
	};

	if (!leaves || !table)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a vCPU");
	memcpy(leaves, host->supported, host->nsupported * sizeof(*leaves));
	n = cpuid_machine(leaves, host->nsupported, max, &m);
	for (size_t i = 0; i < n; i++)
		kvm_put_leaf(&table->entries[i], &leaves[i]);
	table->nent = (uint32_t)n;
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, table) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_SET_CPUID2");
	return 0;
}

/* What a PC's firmware leaves behind. */
static int set_firmware_msrs(struct kvm_vcpu *vcpu, mayfly_error *err)
{
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entries[2];
	} msrs = {
		.header.nmsrs = 2,
		.entries = {{.index = MSR_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRINGS},
			    {.index = MSR_MTRR_DEFAULT, .data = MTRR_ENABLE_WRITE_BACK}},
	};

	if (ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_SET_MSRS");
	return 0;
}

/* LINT0 leads to the 8259s, LINT1 is the NMI: as the MP table says. */
static int set_local_interrupts(struct kvm_vcpu *vcpu, mayfly_error *err)
{
	struct kvm_lapic_state lapic;
	uint32_t lint0 = LAPIC_EXTINT, lint1 = LAPIC_NMI;

	if (ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_GET_LAPIC");
	memcpy(lapic.regs + LAPIC_LINT0, &lint0, sizeof(lint0));
	memcpy(lapic.regs + LAPIC_LINT1, &lint1, sizeof(lint1));
	if (ioctl(vcpu->fd, KVM_SET_LAPIC, &lapic) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_SET_LAPIC");
	return 0;
}

/*
 * The state at the entry (pvh.pandoc; boot.rst, "64-bit boot protocol"), to be loaded by the
 * first run.
 */
static void set_entry(struct kvm_vcpu *vcpu, const struct cpu_boot *boot)
{
	bool long_mode = boot->mode == CPU_BOOT_LINUX64;
	struct kvm_regs *regs = &vcpu->run->s.regs.regs;
	struct kvm_sregs *s = &vcpu->run->s.regs.sregs;

	memset(regs, 0, sizeof(*regs));
	memset(s, 0, sizeof(*s));
	s->cs = kvm_flat_segment(CPU_BOOT_CS, SEGMENT_CODE, 0, long_mode);
	s->ds = kvm_flat_segment(CPU_BOOT_DS, SEGMENT_DATA, 0, long_mode);
	s->es = s->fs = s->gs = s->ss = s->ds;
	s->tr = (struct kvm_segment){.limit = 0x67,
				     .selector = CPU_BOOT_TSS,
				     .type = SEGMENT_TSS_BUSY,
				     .present = 1};
	s->ldt = (struct kvm_segment){.unusable = 1, .type = 2};
	s->gdt.base = boot->gdt;
	s->gdt.limit = boot->gdt_limit;
	s->cr0 = CPU_CR0_PE | CPU_CR0_ET;
	s->apic_base = 0xfee00900u; /* enabled, boot processor: as KVM starts it */
	if (long_mode) {
		s->cr0 |= CPU_CR0_PG;
		s->cr3 = boot->cr3;
		s->cr4 = CPU_CR4_PAE;
		s->efer = CPU_EFER_LME | CPU_EFER_LMA;
		regs->rsi = boot->info;
	} else {
		regs->rbx = boot->info;
	}
	regs->rip = boot->entry;
	regs->rflags = RFLAGS_FIXED;
	vcpu->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
}

static int unblock_kicks(struct kvm_vcpu *vcpu, mayfly_error *err)
{
	struct {
		struct kvm_signal_mask header;
		uint8_t set[KERNEL_SIGSET_SIZE];
	} mask = {.header.len = KERNEL_SIGSET_SIZE};
	uint64_t blocked = ~((uint64_t)1 << (KICK_SIGNAL - 1));

	memcpy((uint8_t *)&mask + offsetof(struct kvm_signal_mask, sigset), &blocked,
	       sizeof(blocked));
	if (ioctl(vcpu->fd, KVM_SET_SIGNAL_MASK, &mask) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_SET_SIGNAL_MASK");
	return 0;
}

static int kvm_machine_vcpu_new(struct hv_vm *base, uint32_t number,
				const struct cpu_boot *boot, struct hv_vcpu **out,
				mayfly_error *err)
{
	struct kvm_vm *vm = (struct kvm_vm *)base;
	struct kvm_vcpu *vcpu;
	int r = kvm_vcpu_open(vm, number, &vcpu, err);

	if (r < 0)
		return r;
	vcpu->vm = vm;
	vcpu->next = vm->vcpus;
	vm->vcpus = vcpu;
	r = set_cpuid(vcpu, boot->cpus, err);
	if (r == 0)
		r = set_firmware_msrs(vcpu, err);
	if (r == 0 && number == 0)
		r = set_local_interrupts(vcpu, err);
	if (r == 0)
		r = unblock_kicks(vcpu, err);
	if (r < 0) {
		kvm_vcpu_free(&vcpu->base);
		return r;
	}
	if (number == 0)
		set_entry(vcpu, boot);
	*out = &vcpu->base;
	return 0;
}

void kvm_machine_forget(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu **at = &vcpu->vm->vcpus;

	while (*at && *at != vcpu)
		at = &(*at)->next;
	if (*at)
		*at = vcpu->next;
}

static int kvm_vcpu_bind(struct hv_vcpu *base, mayfly_error *err)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;

	(void)err;
	vcpu->thread = gettid();
	__atomic_store_n(&vcpu->bound, true, __ATOMIC_SEQ_CST);
	return 0;
}

static void kvm_vcpu_unbind(struct hv_vcpu *base)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;

	__atomic_store_n(&vcpu->bound, false, __ATOMIC_SEQ_CST);
	kvm_machine_drain();
}

/*
 * Either the thread is bound already, and the signal ends its KVM_RUN; or it will look at the
 * flag after having been bound.
 */
void kvm_machine_kick(struct kvm_vcpu *vcpu)
{
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&vcpu->bound, __ATOMIC_SEQ_CST))
		(void)syscall(SYS_tgkill, getpid(), vcpu->thread, KICK_SIGNAL);
}

void kvm_machine_drain(void)
{
	static const struct timespec at_once = {0, 0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, KICK_SIGNAL);
	while (sigtimedwait(&set, NULL, &at_once) > 0 || errno == EINTR)
		;
}

const struct hv_machine_ops kvm_machine_ops = {
	.platform = kvm_platform,
	.irq = kvm_irq,
	.notify = kvm_notify,
	.vm_save = kvm_vm_save,
	.vm_load = kvm_vm_load,
	.vcpu_new = kvm_machine_vcpu_new,
	.vcpu_bind = kvm_vcpu_bind,
	.vcpu_unbind = kvm_vcpu_unbind,
	.vcpu_save = kvm_vcpu_save,
	.vcpu_load = kvm_vcpu_load,
};

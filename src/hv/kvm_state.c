/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of machines under KVM as bytes, for snapshots: KVM's own structures, one block
 * each, in an order that Documentation/virt/kvm/api.rst allows. KVM takes them from any user as
 * hostile; here they are checked to be whole.
 *
 * Time. The saved clock and TSC go on by what the host's real time did meanwhile, so that a
 * guest that goes by either has the right time, whoever clones it whenever. vCPUs get one TSC
 * offset, so they agree to the cycle (devices/vcpu.rst, 4.1).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <x86intrin.h>

#include "core/clock.h"
#include "core/codec.h"
#include "hv/kvm.h"

#define IRQCHIPS 3 /* two 8259s and the IOAPIC */
#define MAX_MSRS 512
/* Frequencies that differ by less are two measurements of one (KVM's tsc_tolerance_ppm). */
#define TSC_TOLERANCE_PPM 250u
/* More than this nobody was away. */
#define MAX_ELAPSED ((uint64_t)100 * 365 * 86400 * NSEC_PER_SEC)

#define MSR_TSC 0x10
#define MSR_TSC_DEADLINE 0x6e0

/* MTRRs (SDM vol. 3, 12.11), which KVM_GET_MSR_INDEX_LIST leaves out. */
static const uint32_t more_msrs[] = {
	0x2ff, 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d,
	0x26e, 0x26f, 0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207,
	0x208, 0x209, 0x20a, 0x20b, 0x20c, 0x20d, 0x20e, 0x20f,
};

struct one_msr {
	struct kvm_msrs header;
	struct kvm_msr_entry entry;
};

static int fail_ioctl(mayfly_error *err, const char *name)
{
	return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "%s", name);
}

static int fail_damaged(mayfly_error *err, const char *what)
{
	return fail(err, MAYFLY_E_FORMAT, "the snapshot's state of the %s is damaged", what);
}

/* A block of exactly this size. */
static bool get_exactly(struct reader *r, void *to, size_t len)
{
	size_t there;
	const uint8_t *at = get_block(r, &there);

	if (!at || there != len) {
		r->bad = true;
		return false;
	}
	memcpy(to, at, len);
	return true;
}

/* --- vCPUs -------------------------------------------------------------------------------- */

struct state_class {
	const char *name;
	size_t size;
	unsigned long get, set;
};

/*
 * In the order of setting. Getting the MP state first: it may bring pending INITs about, which
 * show in the rest.
 */
#define CLASS(type, name)                                                                      \
	{                                                                                      \
		"KVM_SET_" #name, sizeof(struct type), KVM_GET_##name, KVM_SET_##name          \
	}
static const struct state_class classes[] = {
	CLASS(kvm_mp_state, MP_STATE), CLASS(kvm_regs, REGS),	CLASS(kvm_sregs, SREGS),
	CLASS(kvm_xcrs, XCRS),	       CLASS(kvm_xsave, XSAVE), CLASS(kvm_debugregs, DEBUGREGS),
	CLASS(kvm_lapic_state, LAPIC),
};

static int list_msrs(struct kvm_vcpu *vcpu, struct kvm_msr_list **out, mayfly_error *err)
{
	struct kvm_msr_list *list = calloc(
		1, sizeof(*list) + (MAX_MSRS + ARRAY_SIZE(more_msrs)) * sizeof(uint32_t));

	if (!list)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a vCPU's state");
	list->nmsrs = MAX_MSRS;
	if (ioctl(vcpu->host->fd, KVM_GET_MSR_INDEX_LIST, list) < 0) {
		free(list);
		return fail_ioctl(err, "KVM_GET_MSR_INDEX_LIST");
	}
	memcpy(list->indices + list->nmsrs, more_msrs, sizeof(more_msrs));
	list->nmsrs += (uint32_t)ARRAY_SIZE(more_msrs);
	*out = list;
	return 0;
}

static bool read_msr(struct kvm_vcpu *vcpu, uint32_t index, uint64_t *value)
{
	struct one_msr msr = {.header.nmsrs = 1, .entry.index = index};

	if (ioctl(vcpu->fd, KVM_GET_MSRS, &msr) != 1)
		return false;
	*value = msr.entry.data;
	return true;
}

static bool write_msr(struct kvm_vcpu *vcpu, uint32_t index, uint64_t value)
{
	struct one_msr msr = {.header.nmsrs = 1, .entry.index = index, .entry.data = value};

	return ioctl(vcpu->fd, KVM_SET_MSRS, &msr) == 1;
}

/* Those that can be read; index and value. */
static int save_msrs(struct kvm_vcpu *vcpu, struct writer *w, mayfly_error *err)
{
	_cleanup_free_ struct kvm_msr_list *list = NULL;
	int r = list_msrs(vcpu, &list, err);

	for (uint32_t i = 0; r == 0 && i < list->nmsrs; i++) {
		uint64_t value;

		if (list->indices[i] == MSR_TSC || !read_msr(vcpu, list->indices[i], &value))
			continue;
		put_u64(w, list->indices[i]);
		put_u64(w, value);
	}
	put_u64(w, UINT64_MAX);
	return r;
}

static bool is_listed(const struct kvm_msr_list *list, uint64_t index)
{
	for (uint32_t i = 0; i < list->nmsrs; i++)
		if (list->indices[i] == index)
			return true;
	return false;
}

static int load_msr(struct kvm_vcpu *vcpu, const struct kvm_msr_list *list, uint64_t index,
		    uint64_t value, mayfly_error *err)
{
	uint64_t now;

	if (index == MSR_TSC_DEADLINE) {
		vcpu->tsc_deadline = value;
		return 0;
	}
	if (index != MSR_TSC && is_listed(list, index) &&
	    write_msr(vcpu, (uint32_t)index, value))
		return 0;
	/* Some are for reading only; then they must be alike. */
	if (index <= UINT32_MAX && read_msr(vcpu, (uint32_t)index, &now) && now == value)
		return 0;
	return fail(err, MAYFLY_E_UNSUPPORTED,
		    "the snapshot was made on another CPU: here MSR 0x%llx cannot be 0x%llx",
		    (unsigned long long)index, (unsigned long long)value);
}

static int load_msrs(struct kvm_vcpu *vcpu, struct reader *r, mayfly_error *err)
{
	_cleanup_free_ struct kvm_msr_list *list = NULL;
	int e = list_msrs(vcpu, &list, err);

	vcpu->tsc_deadline = 0;
	while (e == 0) {
		uint64_t index = get_u64(r), value;

		if (index == UINT64_MAX)
			return 0;
		value = get_u64(r);
		if (r->bad)
			return fail_damaged(err, "CPUs");
		e = load_msr(vcpu, list, index, value, err);
	}
	return e;
}

int kvm_vcpu_save(struct hv_vcpu *base, struct writer *w, mayfly_error *err)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;
	_cleanup_free_ struct kvm_xsave *buffer = calloc(1, sizeof(*buffer));
	struct kvm_vcpu_events events;
	int r;

	_Static_assert(sizeof(struct kvm_xsave) >= sizeof(struct kvm_lapic_state) &&
			       sizeof(struct kvm_xsave) >= sizeof(struct kvm_xcrs),
		       "the buffer holds each class");
	if (!buffer)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a vCPU's state");
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		memset(buffer, 0, classes[i].size);
		if (ioctl(vcpu->fd, classes[i].get, buffer) < 0)
			return fail_ioctl(err, classes[i].name);
		put_block(w, buffer, classes[i].size);
	}
	r = save_msrs(vcpu, w, err);
	if (r < 0)
		return r;
	if (ioctl(vcpu->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return fail_ioctl(err, "KVM_GET_VCPU_EVENTS");
	put_block(w, &events, sizeof(events));
	return 0;
}

/*
 * KVM on SVM says that the guest's TSS is busy whatever it is (svm_get_segment()). It has to be
 * set as available, as that of programs, for QEMU's emulation to honour its I/O bitmap.
 */
static void correct_tss(const struct kvm_vcpu *vcpu, struct kvm_sregs *s)
{
	if (strcmp(vcpu->host->info.kind, "svm") == 0 && s->tr.type == SEGMENT_TSS_BUSY)
		s->tr.type = SEGMENT_TSS_AVAILABLE;
}

int kvm_vcpu_load(struct hv_vcpu *base, struct reader *r, mayfly_error *err)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;
	_cleanup_free_ struct kvm_xsave *buffer = calloc(1, sizeof(*buffer));
	struct kvm_vcpu_events events;
	int e;

	if (!buffer)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a vCPU's state");
	vcpu->run->kvm_dirty_regs = 0; /* the entry's registers */
	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		if (!get_exactly(r, buffer, classes[i].size))
			return fail_damaged(err, "CPUs");
		if (classes[i].set == KVM_SET_SREGS)
			correct_tss(vcpu, (struct kvm_sregs *)buffer);
		if (ioctl(vcpu->fd, classes[i].set, buffer) < 0)
			return fail_errno(err,
					  errno == EINVAL ? MAYFLY_E_UNSUPPORTED
							  : MAYFLY_E_HYPERVISOR,
					  errno,
					  "the snapshot's state of a CPU does not fit this "
					  "one: %s",
					  classes[i].name);
	}
	e = load_msrs(vcpu, r, err);
	if (e < 0)
		return e;
	if (!get_exactly(r, &events, sizeof(events)))
		return fail_damaged(err, "CPUs");
	if (ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events) < 0)
		return fail_errno(err, MAYFLY_E_UNSUPPORTED, errno,
				  "the snapshot's state of a CPU does not fit this one: "
				  "KVM_SET_VCPU_EVENTS");
	return 0;
}

/* --- The VM ------------------------------------------------------------------------------- */

struct saved_time {
	uint64_t realtime; /* CLOCK_REALTIME, ns, when the others were read */
	uint64_t clock;	   /* kvmclock, ns */
	uint64_t tsc;
	uint64_t tsc_khz;
};

static uint64_t khz_of(struct kvm_vcpu *vcpu)
{
	int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);

	return khz > 0 ? (uint64_t)khz : 0;
}

static int save_time(struct kvm_vm *vm, struct writer *w, mayfly_error *err)
{
	struct kvm_clock_data clock = {.clock = 0};
	struct saved_time t = {.realtime = clock_read(CLOCK_REALTIME)};

	if (ioctl(vm->fd, KVM_GET_CLOCK, &clock) < 0)
		return fail_ioctl(err, "KVM_GET_CLOCK");
	if (!read_msr(vm->vcpus, MSR_TSC, &t.tsc))
		return fail_ioctl(err, "KVM_GET_MSRS of the TSC");
	t.clock = clock.clock;
	t.tsc_khz = khz_of(vm->vcpus);
	put_block(w, &t, sizeof(t));
	return 0;
}

int kvm_vm_save(struct hv_vm *base, struct writer *w, mayfly_error *err)
{
	struct kvm_vm *vm = (struct kvm_vm *)base;
	struct kvm_pit_state2 pit;

	if (!vm->vcpus)
		return fail(err, MAYFLY_E_INVALID, "a machine without CPUs has no state");
	for (uint32_t i = 0; i < IRQCHIPS; i++) {
		struct kvm_irqchip chip = {.chip_id = i};

		if (ioctl(vm->fd, KVM_GET_IRQCHIP, &chip) < 0)
			return fail_ioctl(err, "KVM_GET_IRQCHIP");
		put_block(w, &chip, sizeof(chip));
	}
	memset(&pit, 0, sizeof(pit));
	if (ioctl(vm->fd, KVM_GET_PIT2, &pit) < 0)
		return fail_ioctl(err, "KVM_GET_PIT2");
	put_block(w, &pit, sizeof(pit));
	return save_time(vm, w, err);
}

/* The guest's TSC frequency must be the saved one. 1: by KVM's scaling; 0: it is. */
static int set_frequency(struct kvm_vcpu *vcpu, uint64_t khz, mayfly_error *err)
{
	uint64_t now = khz_of(vcpu);
	uint64_t apart = now > khz ? now - khz : khz - now;

	if (apart * 1000000 <= now * TSC_TOLERANCE_PPM)
		return 0;
	if (ioctl(vcpu->fd, KVM_SET_TSC_KHZ, (unsigned long)khz) == 0)
		return 1;
	return fail(err, MAYFLY_E_UNSUPPORTED,
		    "the snapshot's time-stamp counter runs at %llu kHz, this CPU's at %llu "
		    "kHz, and KVM cannot scale it",
		    (unsigned long long)khz, (unsigned long long)now);
}

/* ns * kHz / 10^6 without overflow. */
static uint64_t cycles_of(uint64_t ns, uint64_t khz)
{
	return (uint64_t)((unsigned __int128)ns * khz / 1000000);
}

/*
 * Scaled, the guest's TSC is no fixed distance from the host's: then KVM matches what is
 * written to each vCPU.
 */
static int set_tsc(struct kvm_vcpu *vcpu, uint64_t tsc, uint64_t host_tsc, bool scaled,
		   mayfly_error *err)
{
	uint64_t offset = tsc - host_tsc;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uint64_t)(uintptr_t)&offset,
	};

	/* PVM has none: ring 3 executes RDTSC itself. */
	if (!vcpu->host->info.ring0_native)
		return 0;
	if (!scaled && ioctl(vcpu->fd, KVM_SET_DEVICE_ATTR, &attr) == 0)
		return 0;
	return write_msr(vcpu, MSR_TSC, tsc) ? 0 : fail_ioctl(err, "KVM_SET_MSRS of the TSC");
}

static int load_time(struct kvm_vm *vm, const struct saved_time *t, mayfly_error *err)
{
	uint64_t real = clock_read(CLOCK_REALTIME),
		 elapsed = real > t->realtime ? real - t->realtime : 0;
	struct kvm_clock_data clock = {.clock = t->clock};
	uint64_t host_tsc = __rdtsc(), tsc;
	int r = 0;

	if (elapsed > MAX_ELAPSED)
		elapsed = 0;
	clock.clock += elapsed;
	tsc = t->tsc + cycles_of(elapsed, t->tsc_khz);
	for (struct kvm_vcpu *v = vm->vcpus; r >= 0 && v; v = v->next) {
		r = set_frequency(v, t->tsc_khz, err);
		if (r >= 0)
			r = set_tsc(v, tsc, host_tsc, r == 1, err);
		if (r >= 0 && v->tsc_deadline &&
		    !write_msr(v, MSR_TSC_DEADLINE, v->tsc_deadline))
			r = fail_ioctl(err, "KVM_SET_MSRS of the TSC's deadline");
	}
	if (r < 0)
		return r;
	if (ioctl(vm->fd, KVM_SET_CLOCK, &clock) < 0)
		return fail_ioctl(err, "KVM_SET_CLOCK");
	/*
	 * "You were paused": no watchdog of the guest's is to bark. Fails where it has no
	 * clock.
	 */
	for (struct kvm_vcpu *v = vm->vcpus; v; v = v->next)
		(void)ioctl(v->fd, KVM_KVMCLOCK_CTRL, 0);
	return 0;
}

int kvm_vm_load(struct hv_vm *base, struct reader *r, mayfly_error *err)
{
	struct kvm_vm *vm = (struct kvm_vm *)base;
	struct kvm_pit_state2 pit;
	struct saved_time t;

	if (!vm->vcpus)
		return fail(err, MAYFLY_E_INVALID, "a machine without CPUs has no state");
	for (uint32_t i = 0; i < IRQCHIPS; i++) {
		struct kvm_irqchip chip;

		if (!get_exactly(r, &chip, sizeof(chip)) || chip.chip_id != i)
			return fail_damaged(err, "interrupt controllers");
		if (ioctl(vm->fd, KVM_SET_IRQCHIP, &chip) < 0)
			return fail_ioctl(err, "KVM_SET_IRQCHIP");
	}
	if (!get_exactly(r, &pit, sizeof(pit)))
		return fail_damaged(err, "timer");
	if (ioctl(vm->fd, KVM_SET_PIT2, &pit) < 0)
		return fail_ioctl(err, "KVM_SET_PIT2");
	if (!get_exactly(r, &t, sizeof(t)) || !t.tsc_khz || t.tsc_khz > UINT32_MAX)
		return fail_damaged(err, "clocks");
	return load_time(vm, &t, err);
}

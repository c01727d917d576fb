/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM backend. One struct kvm_host per process, made at first use and kept.
 *
 * A kick needs neither signals nor masks. Another thread sets two flags in the vCPU's shared
 * page: immediate_exit makes the next KVM_RUN return at once; request_interrupt_window makes
 * KVM leave the running guest at its next exit to the kernel, because no interrupt controller
 * is in the kernel and the guest, in ring 3 with IF set, could always take an interrupt. That
 * next exit is forced by membarrier(2), which interrupts every CPU that runs a thread of this
 * process. Without membarrier it is the timer tick. Machines, whose vCPUs sleep in the kernel
 * while they are halted, are kicked otherwise: see kvm_machine.c.
 */
#include "hv/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/util.h"

static int open_device(mayfly_error *err)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
		return fail_errno(
			err, MAYFLY_E_HYPERVISOR, ENOENT,
			"/dev/kvm is missing: load KVM's module (modprobe kvm_intel, kvm_amd "
			"or kvm_pvm), switch virtualisation on in the firmware, or pass the "
			"device into the container (--device /dev/kvm)");
	case EACCES:
	case EPERM:
		return fail_errno(
			err, MAYFLY_E_HYPERVISOR, errno,
			"no permission for /dev/kvm: it is for its group, where it has one "
			"(usermod -aG kvm USER, then log in again); 'mayfly doctor' says "
			"what is the case here");
	default:
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "cannot open /dev/kvm");
	}
}

static const struct {
	int cap;
	const char *name;
} required[] = {
	{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
	{KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM"},
	{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
	{KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
	{KVM_CAP_XCRS, "KVM_CAP_XCRS"},
};

static int check_capabilities(struct kvm_host *host, mayfly_error *err)
{
	int sync = ioctl(host->fd, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS);
	int log = ioctl(host->fd, KVM_CHECK_EXTENSION, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	int need = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;

	host->info.api_version = ioctl(host->fd, KVM_GET_API_VERSION, 0);
	if (host->info.api_version < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno,
				  "/dev/kvm is not KVM's device");
	if (host->info.api_version != KVM_API_VERSION)
		return fail(err, MAYFLY_E_HYPERVISOR, "/dev/kvm speaks API version %d, not %d",
			    host->info.api_version, KVM_API_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(required); i++)
		if (ioctl(host->fd, KVM_CHECK_EXTENSION, required[i].cap) <= 0)
			return fail(err, MAYFLY_E_HYPERVISOR,
				    "this KVM lacks %s; Linux 5.1 or newer has it",
				    required[i].name);
	if (sync < 0 || (sync & need) != need)
		return fail(err, MAYFLY_E_HYPERVISOR,
			    "this KVM lacks KVM_CAP_SYNC_REGS; Linux 4.17 or newer has it");
	if (log < 0 || !(log & (int)KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE))
		return fail(
			err, MAYFLY_E_HYPERVISOR,
			"this KVM lacks KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2; Linux 5.1 or newer "
			"has it");
	return 0;
}

static int init_host(struct kvm_host *host, mayfly_error *err)
{
	int size, r;

	host->fd = open_device(err);
	if (host->fd < 0)
		return host->fd;
	r = check_capabilities(host, err);
	if (r < 0)
		return r;
	size = ioctl(host->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno,
				  "KVM_GET_VCPU_MMAP_SIZE gave %d", size);
	host->run_size = (size_t)size;
	r = ioctl(host->fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	host->info.max_vcpus = r > 0 ? (uint32_t)r : 1;
	r = ioctl(host->fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
	host->info.max_slots = r > 0 ? (uint32_t)r : 32;
	host->membarrier =
		!syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	kvm_arch_host_kind(host);
	return 0;
}

static void fini_host(struct kvm_host *host)
{
	if (host->fd >= 0)
		close(host->fd);
}

/* Made at the first success; a failure (permissions, say) may be mended and tried again. */
static int get_host(struct kvm_host **out, mayfly_error *err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct kvm_host storage;
	static struct kvm_host *ready;
	int r = 0;

	*out = __atomic_load_n(&ready, __ATOMIC_ACQUIRE);
	if (*out)
		return 0;
	pthread_mutex_lock(&lock);
	if (!ready) {
		memset(&storage, 0, sizeof(storage));
		storage.fd = -1;
		r = init_host(&storage, err);
		if (r < 0)
			fini_host(&storage);
		else
			__atomic_store_n(&ready, &storage, __ATOMIC_RELEASE);
	}
	*out = ready;
	pthread_mutex_unlock(&lock);
	return r;
}

/* Once, too. */
static int get_features(struct kvm_host *host, mayfly_error *err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	int r = 0;

	if (__atomic_load_n(&host->has_features, __ATOMIC_ACQUIRE))
		return 0;
	pthread_mutex_lock(&lock);
	if (!host->has_features)
		r = kvm_arch_host_features(host, err);
	if (r == 0)
		__atomic_store_n(&host->has_features, true, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&lock);
	return r;
}

static int kvm_host_early(const struct hv_host **out, mayfly_error *err)
{
	struct kvm_host *host;
	int r = get_host(&host, err);

	if (r == 0)
		*out = &host->info;
	return r;
}

static int kvm_host_all(const struct hv_host **out, mayfly_error *err)
{
	struct kvm_host *host;
	int r = get_host(&host, err);

	if (r == 0)
		r = get_features(host, err);
	if (r == 0)
		*out = &host->info;
	return r;
}

static void kvm_vm_free(struct hv_vm *base)
{
	struct kvm_vm *vm = (struct kvm_vm *)base;

	if (vm->fd >= 0)
		close(vm->fd);
	free(vm);
}

/* KVM_CREATE_VM and KVM_CREATE_VCPU fail like this when limits of the host are reached. */
static int fail_resources(mayfly_error *err, const char *what)
{
	int e = errno;

	if (e == EMFILE || e == ENFILE)
		return fail_errno(err, MAYFLY_E_NOMEM, e,
				  "%s: a sandbox needs two file descriptors: raise ulimit -n",
				  what);
	if (e == ENOMEM || e == ENOSPC || e == EAGAIN)
		return fail_errno(err, MAYFLY_E_NOMEM, e, "%s", what);
	return fail_errno(err, MAYFLY_E_HYPERVISOR, e, "%s", what);
}

static int kvm_vm_new(struct hv_vm **out, mayfly_error *err)
{
	struct kvm_enable_cap log = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
				     .args = {KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE}};
	struct kvm_host *host;
	struct kvm_vm *vm;
	int r = get_host(&host, err);

	if (r < 0)
		return r;
	vm = malloc(sizeof(*vm));
	if (!vm)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a VM");
	*vm = (struct kvm_vm){.base.ops = &hv_kvm, .host = host};
	do
		vm->fd = ioctl(host->fd, KVM_CREATE_VM, 0);
	while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0)
		r = fail_resources(err, "KVM_CREATE_VM");
	else if (ioctl(vm->fd, KVM_ENABLE_CAP, &log) < 0)
		r = fail_errno(err, MAYFLY_E_HYPERVISOR, errno,
			       "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
	if (r < 0) {
		kvm_vm_free(&vm->base);
		return r;
	}
	*out = &vm->base;
	return 0;
}

static int kvm_vm_map(struct hv_vm *base, const struct hv_slot *slot, mayfly_error *err)
{
	struct kvm_vm *vm = (struct kvm_vm *)base;
	struct kvm_userspace_memory_region region = {
		.slot = slot->id,
		.flags = (slot->readonly ? KVM_MEM_READONLY : 0) |
			 (slot->log_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0),
		.guest_phys_addr = slot->gpa,
		.memory_size = slot->len,
		.userspace_addr = (uint64_t)(uintptr_t)slot->host,
	};

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return fail_resources(err, "KVM_SET_USER_MEMORY_REGION");
	return 0;
}

static int kvm_vm_dirty(struct hv_vm *base, uint32_t slot, uint64_t *bitmap, mayfly_error *err)
{
	struct kvm_vm *vm = (struct kvm_vm *)base;
	struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = bitmap};

	if (ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) < 0)
		return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_GET_DIRTY_LOG");
	return 0;
}

static int kvm_vm_clean(struct hv_vm *base, uint32_t slot, uint64_t pages, uint64_t *bitmap,
			mayfly_error *err)
{
	struct kvm_vm *vm = (struct kvm_vm *)base;
	/*
	 * num_pages: a multiple of 64, or up to the slot's end (Documentation/virt/kvm/api.rst
	 * 4.117)
	 */
	struct kvm_clear_dirty_log clear = {.slot = slot, .dirty_bitmap = bitmap};

	for (uint64_t first = 0; first < pages; first += clear.num_pages) {
		uint64_t left = pages - first;

		clear.first_page = first;
		clear.num_pages = left > (1u << 30) ? 1u << 30 : (uint32_t)left;
		clear.dirty_bitmap = bitmap + first / 64;
		if (ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear) < 0)
			return fail_errno(err, MAYFLY_E_HYPERVISOR, errno,
					  "KVM_CLEAR_DIRTY_LOG");
	}
	return 0;
}

void kvm_vcpu_free(struct hv_vcpu *base)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;

	if (vcpu->vm)
		kvm_machine_forget(vcpu);
	if (vcpu->run != MAP_FAILED)
		munmap(vcpu->run, vcpu->host->run_size);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	free(vcpu);
}

int kvm_vcpu_open(struct kvm_vm *vm, uint32_t number, struct kvm_vcpu **out, mayfly_error *err)
{
	int r = get_features(vm->host, err);
	struct kvm_vcpu *vcpu;

	if (r < 0)
		return r;
	vcpu = malloc(sizeof(*vcpu));
	if (!vcpu)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a vCPU");
	*vcpu = (struct kvm_vcpu){
		.base.ops = &hv_kvm, .host = vm->host, .run = MAP_FAILED, .number = number};
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)number);
	if (vcpu->fd < 0) {
		r = fail_resources(err, "KVM_CREATE_VCPU");
	} else {
		vcpu->run = mmap(NULL, vm->host->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
				 vcpu->fd, 0);
		if (vcpu->run == MAP_FAILED)
			r = fail_errno(err, MAYFLY_E_NOMEM, errno, "mapping a vCPU's run page");
	}
	if (r < 0) {
		kvm_vcpu_free(&vcpu->base);
		return r;
	}
	*out = vcpu;
	return 0;
}

static int kvm_vcpu_new(struct hv_vm *base, uint32_t number, const struct cpu_setup *setup,
			struct hv_vcpu **out, mayfly_error *err)
{
	struct kvm_vcpu *vcpu;
	int r = kvm_vcpu_open((struct kvm_vm *)base, number, &vcpu, err);

	if (r < 0)
		return r;
	r = kvm_arch_vcpu_init(vcpu, setup, err);
	if (r < 0) {
		kvm_vcpu_free(&vcpu->base);
		return r;
	}
	*out = &vcpu->base;
	return 0;
}

/* With KVM_CAP_EXIT_ON_EMULATION_FAILURE the instruction comes along (api.rst, 5 and 7.24). */
static void decode_internal(const struct kvm_run *run, struct hv_exit *exit)
{
	uint8_t len = run->emulation_failure.insn_size;

	exit->kind = HV_EXIT_INTERNAL;
	exit->internal.suberror = run->internal.suberror;
	exit->internal.insn_len = 0;
	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION || run->internal.ndata < 3 ||
	    !(run->emulation_failure.flags &
	      KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
		return;
	if (len > sizeof(exit->internal.insn))
		len = sizeof(exit->internal.insn);
	memcpy(exit->internal.insn, run->emulation_failure.insn_bytes, len);
	exit->internal.insn_len = len;
}

static void decode_exit(struct kvm_run *run, struct hv_exit *exit)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		exit->kind = HV_EXIT_IO;
		exit->io.port = run->io.port;
		exit->io.size = run->io.size;
		exit->io.out = run->io.direction == KVM_EXIT_IO_OUT;
		exit->io.count = run->io.count;
		exit->io.data = (uint8_t *)run + run->io.data_offset;
		return;
	case KVM_EXIT_MMIO:
		exit->kind = HV_EXIT_MMIO;
		exit->mmio.gpa = run->mmio.phys_addr;
		exit->mmio.len = run->mmio.len;
		exit->mmio.write = run->mmio.is_write;
		exit->mmio.data = run->mmio.data;
		return;
	case KVM_EXIT_HLT:
		exit->kind = HV_EXIT_HALT;
		return;
	case KVM_EXIT_SHUTDOWN:
		exit->kind = HV_EXIT_SHUTDOWN;
		return;
	case KVM_EXIT_INTERNAL_ERROR:
		decode_internal(run, exit);
		return;
	default:
		exit->kind = HV_EXIT_UNKNOWN;
		exit->unknown.reason = run->exit_reason;
	}
}

static bool is_kicked(const struct kvm_run *run)
{
	return __atomic_load_n(&run->immediate_exit, __ATOMIC_ACQUIRE);
}

static int kvm_vcpu_run(struct hv_vcpu *base, struct hv_exit *exit, mayfly_error *err)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;

	for (;;) {
		int r = ioctl(vcpu->fd, KVM_RUN, 0);
		/*
		 * EINTR: a signal of the host's, or a kick. Both windows are benign without
		 * one.
		 */
		bool benign = r < 0 ? errno == EINTR || errno == EAGAIN
				    : vcpu->run->exit_reason == KVM_EXIT_IRQ_WINDOW_OPEN ||
					      vcpu->run->exit_reason == KVM_EXIT_INTR;

		if (r >= 0 && !benign) {
			decode_exit(vcpu->run, exit);
			return 0;
		}
		if (r < 0 && errno == EFAULT) {
			exit->kind = HV_EXIT_MEMORY;
			return 0;
		}
		if (!benign)
			return fail_errno(err, MAYFLY_E_HYPERVISOR, errno, "KVM_RUN");
		if (vcpu->vm)
			kvm_machine_drain();
		if (is_kicked(vcpu->run)) {
			exit->kind = HV_EXIT_KICKED;
			return 0;
		}
	}
}

static void kvm_vcpu_kick(struct hv_vcpu *base)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;

	if (vcpu->vm) {
		kvm_machine_kick(vcpu);
		return;
	}
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&vcpu->run->request_interrupt_window, 1, __ATOMIC_RELEASE);
	if (vcpu->host->membarrier)
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

static void kvm_vcpu_unkick(struct hv_vcpu *base)
{
	struct kvm_vcpu *vcpu = (struct kvm_vcpu *)base;

	__atomic_store_n(&vcpu->run->request_interrupt_window, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_RELEASE);
}

const struct hv_backend hv_kvm = {
	.name = "kvm",
	.machine = &kvm_machine_ops,
	.host_early = kvm_host_early,
	.host = kvm_host_all,
	.vm_new = kvm_vm_new,
	.vm_free = kvm_vm_free,
	.vm_map = kvm_vm_map,
	.vm_dirty = kvm_vm_dirty,
	.vm_clean = kvm_vm_clean,
	.vcpu_new = kvm_vcpu_new,
	.vcpu_free = kvm_vcpu_free,
	.vcpu_reset = kvm_vcpu_reset,
	.vcpu_set_regs = kvm_vcpu_set_regs,
	.vcpu_get_regs = kvm_vcpu_get_regs,
	.vcpu_get_control = kvm_vcpu_get_control,
	.vcpu_set_ring3 = kvm_vcpu_set_ring3,
	.vcpu_get_xsave = kvm_vcpu_get_xsave,
	.vcpu_set_xsave = kvm_vcpu_set_xsave,
	.vcpu_run = kvm_vcpu_run,
	.vcpu_kick = kvm_vcpu_kick,
	.vcpu_unkick = kvm_vcpu_unkick,
};

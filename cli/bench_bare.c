/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: the least that any user of KVM must do to have a ring-3 program leave a new VM once,
 * by hand. The same system calls as the library makes (one VM, a memory slot with a dirty log and a
 * read-only one, one vCPU; CPUID, XCR0, two MSRs; the registers with the first run), and nothing
 * else: no loader, no call, no limits, no bookkeeping. Knowingly the only file of the command
 * that speaks to KVM itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "cli.h"
#include "message.h"

#define PAGE ((size_t)4096)
#define MAX_CPUID 256

/* Guest-physical. Slot 0, from 0: the page tables, then memory. Slot 1: what is never written. */
#define PML4 0x0000
#define PDPT 0x1000
#define PD 0x2000
#define PT 0x3000
#define TABLES (4 * PAGE)
#define CODE_GPA ((uint64_t)1 << 37)
#define CODE_LEN (2 * PAGE)

/* Guest-virtual: the two pages of slot 1. */
#define CODE_VA 0x10000
#define SYSTEM_VA 0x14000
#define GDT SYSTEM_VA
#define TSS (SYSTEM_VA + 0x100)
#define TSS_SIZE 104
/*
 * Bytes of the I/O permission bitmap: ports 0 to 23, and one more, all ones, because the CPU always
 * reads two (SDM vol. 1, 19.5.2).
 */
#define IO_BITMAP 4

#define PORT 0x10
#define PRESENT 0x01ull
#define WRITABLE 0x02ull
#define USER 0x04ull
#define USED 0x60ull /* accessed and dirty: nothing is left to write in the tables */
#define NO_EXECUTE ((uint64_t)1 << 63)

static struct {
	int kvm;
	size_t run_size;
	uint64_t xcr0;
	uint8_t tss_type;
	struct kvm_cpuid2 *cpuid;
	uint8_t *tables; /* what the VM's memory begins with */
	uint8_t *code;	 /* slot 1 of every VM */
} host = {.kvm = -1};

struct bare_vm {
	int vm;
	int vcpu;
	struct kvm_run *run;
	uint8_t *memory;
};

static int fail(mayfly_error *err, const char *what)
{
	return mayfly_error_set(err, MAYFLY_E_HYPERVISOR, "bare KVM: %s: %s", what,
				strerror(errno));
}

static void build_tables(uint8_t *p)
{
	uint64_t *pml4 = (uint64_t *)(void *)(p + PML4), *pdpt = (uint64_t *)(void *)(p + PDPT);
	uint64_t *pd = (uint64_t *)(void *)(p + PD), *pt = (uint64_t *)(void *)(p + PT);

	pml4[0] = PDPT | PRESENT | WRITABLE | USER | USED;
	pdpt[0] = PD | PRESENT | WRITABLE | USER | USED;
	pd[0] = PT | PRESENT | WRITABLE | USER | USED;
	pt[CODE_VA / PAGE] = CODE_GPA | PRESENT | USER | USED;
	pt[SYSTEM_VA / PAGE] = (CODE_GPA + PAGE) | PRESENT | USED | NO_EXECUTE;
}

static void build_code(uint8_t *p)
{
	/* 0: out %al, $PORT; jmp 0 */
	static const uint8_t loop[] = {0xe6, PORT, 0xeb, 0xfc};
	/* null, ring-0 code and data, null, ring-3 data and code; then the TSS (SDM vol. 3, 3.4.5) */
	static const uint64_t gdt[] = {0,
				       0x00af9b000000ffff,
				       0x00cf93000000ffff,
				       0,
				       0x00cff3000000ffff,
				       0x00affb000000ffff,
				       0x00008b0000000000 | (TSS_SIZE + IO_BITMAP - 1) |
					       (uint64_t)(TSS & 0xffffff) << 16,
				       0};
	uint16_t bitmap = TSS_SIZE;
	uint8_t *system = p + PAGE, *tss = system + (TSS - SYSTEM_VA);

	memcpy(p, loop, sizeof(loop));
	memcpy(system, gdt, sizeof(gdt));
	memcpy(tss + 102, &bitmap, sizeof(bitmap));
	memset(tss + TSS_SIZE, 0xff, IO_BITMAP);
	tss[TSS_SIZE + PORT / 8] &= (uint8_t) ~(1u << PORT % 8);
}

static int host_open(mayfly_error *err)
{
	mayfly_host_info info = {.size = sizeof(info)};
	int size;

	if (host.kvm >= 0)
		return MAYFLY_OK;
	if (mayfly_host_get_info(&info, err) != MAYFLY_OK)
		return MAYFLY_E_HYPERVISOR;
	host.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (host.kvm < 0)
		return fail(err, "/dev/kvm");
	size = ioctl(host.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size <= 0)
		return fail(err, "KVM_GET_VCPU_MMAP_SIZE");
	host.run_size = (size_t)size;
	host.cpuid = xrealloc(
		NULL, 1, sizeof(*host.cpuid) + MAX_CPUID * sizeof(struct kvm_cpuid_entry2));
	memset(host.cpuid, 0, sizeof(*host.cpuid));
	host.cpuid->nent = MAX_CPUID;
	if (ioctl(host.kvm, KVM_GET_SUPPORTED_CPUID, host.cpuid) < 0)
		return fail(err, "KVM_GET_SUPPORTED_CPUID");
	/* As guests of the library have it: switching it is a part of each entry. */
	host.xcr0 = info.xcr0;
	/*
	 * Busy: VMX demands it (SDM vol. 3, 26.3.1.2). Available on SVM: QEMU's emulation of it looks at
	 * the I/O bitmap of such a TSS only.
	 */
	host.tss_type = strcmp(info.hypervisor, "svm") == 0 ? 9 : 11;
	host.tables = mmap(NULL, TABLES + CODE_LEN, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (host.tables == MAP_FAILED)
		return fail(err, "memory");
	host.code = host.tables + TABLES;
	build_tables(host.tables);
	build_code(host.code);
	return MAYFLY_OK;
}

static struct kvm_segment segment(uint16_t selector, bool code)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = code ? 11 : 3,
		.present = 1,
		.dpl = 3,
		.s = 1,
		.g = 1,
		.l = code,
		.db = !code,
	};
}

static void build_registers(struct kvm_run *run)
{
	struct kvm_sregs *s = &run->s.regs.sregs;

	memset(s, 0, sizeof(*s));
	s->cs = segment(0x2b, true);
	s->ds = s->es = s->fs = s->gs = s->ss = segment(0x23, false);
	s->tr = (struct kvm_segment){.base = TSS,
				     .limit = TSS_SIZE + IO_BITMAP - 1,
				     .selector = 0x30,
				     .type = host.tss_type,
				     .present = 1};
	s->ldt = (struct kvm_segment){.unusable = 1, .type = 2};
	s->gdt.base = GDT;
	s->gdt.limit = 63;
	s->cr0 = 0x80010033; /* PG WP NE ET MP PE */
	s->cr3 = PML4;
	s->cr4 = 0x620 | (host.xcr0 ? 0x40000u : 0); /* OSXMMEXCPT OSFXSR PAE, OSXSAVE */
	s->efer = 0xd01;			     /* NXE LMA LME SCE */
	s->apic_base = 0xfee00900u;
	run->s.regs.regs = (struct kvm_regs){.rip = CODE_VA, .rflags = 0x202};
	run->kvm_dirty_regs = KVM_SYNC_X86_SREGS | KVM_SYNC_X86_REGS;
}

static int set_slots(struct bare_vm *v)
{
	struct kvm_userspace_memory_region memory = {
		.slot = 0,
		.flags = KVM_MEM_LOG_DIRTY_PAGES,
		.memory_size = BENCH_MEMORY,
		.userspace_addr = (uint64_t)(uintptr_t)v->memory,
	};
	struct kvm_userspace_memory_region code = {
		.slot = 1,
		.flags = KVM_MEM_READONLY,
		.guest_phys_addr = CODE_GPA,
		.memory_size = CODE_LEN,
		.userspace_addr = (uint64_t)(uintptr_t)host.code,
	};

	if (ioctl(v->vm, KVM_SET_USER_MEMORY_REGION, &memory) < 0)
		return -1;
	return ioctl(v->vm, KVM_SET_USER_MEMORY_REGION, &code);
}

static int set_vcpu(struct bare_vm *v)
{
	struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.value = host.xcr0}}};
	/* struct kvm_msrs ends in an array without a length: room for two entries. */
	_Alignas(struct kvm_msrs)
		uint8_t buffer[sizeof(struct kvm_msrs) + 2 * sizeof(struct kvm_msr_entry)] = {
			0};
	struct kvm_msrs *msrs = (struct kvm_msrs *)(void *)buffer;

	msrs->nmsrs = 2;
	/* STAR: the selectors of SYSCALL and SYSRET. LSTAR: where SYSCALL goes. */
	msrs->entries[0] = (struct kvm_msr_entry){.index = 0xc0000081u,
						  .data = (uint64_t)0x001b0008 << 32};
	msrs->entries[1] = (struct kvm_msr_entry){.index = 0xc0000082u, .data = CODE_VA};
	if (ioctl(v->vcpu, KVM_SET_CPUID2, host.cpuid) < 0)
		return -1;
	if (host.xcr0 && ioctl(v->vcpu, KVM_SET_XCRS, &xcrs) < 0)
		return -1;
	return ioctl(v->vcpu, KVM_SET_MSRS, msrs) == 2 ? 0 : -1;
}

static void vm_free(struct bare_vm *v)
{
	if (v->run != MAP_FAILED)
		munmap(v->run, host.run_size);
	if (v->vcpu >= 0)
		close(v->vcpu);
	if (v->vm >= 0)
		close(v->vm);
	if (v->memory != MAP_FAILED)
		munmap(v->memory, BENCH_MEMORY);
	*v = (struct bare_vm){.vm = -1, .vcpu = -1, .run = MAP_FAILED, .memory = MAP_FAILED};
}

static int vm_run(struct bare_vm *v, mayfly_error *err)
{
	while (ioctl(v->vcpu, KVM_RUN, 0) < 0)
		if (errno != EINTR)
			return fail(err, "KVM_RUN");
	if (v->run->exit_reason != KVM_EXIT_IO || v->run->io.port != PORT)
		return mayfly_error_set(
			err, MAYFLY_E_HYPERVISOR,
			"bare KVM: the guest left for reason %u, not by its port",
			v->run->exit_reason);
	return MAYFLY_OK;
}

/* From nothing to the guest's first exit. vm_free() is due whatever comes of it. */
static int vm_start(struct bare_vm *v, mayfly_error *err)
{
	struct kvm_enable_cap log = {.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
				     .args = {KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE}};

	*v = (struct bare_vm){.vm = -1, .vcpu = -1, .run = MAP_FAILED};
	v->memory = mmap(NULL, BENCH_MEMORY, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (v->memory == MAP_FAILED)
		return fail(err, "memory");
	/* Else the first touch could cost zeroing 2 MiB. */
	madvise(v->memory, BENCH_MEMORY, MADV_NOHUGEPAGE);
	memcpy(v->memory, host.tables, TABLES);
	v->vm = ioctl(host.kvm, KVM_CREATE_VM, 0);
	if (v->vm < 0)
		return fail(err, "KVM_CREATE_VM");
	if (ioctl(v->vm, KVM_ENABLE_CAP, &log) < 0)
		return fail(err, "KVM_ENABLE_CAP");
	if (set_slots(v) < 0)
		return fail(err, "KVM_SET_USER_MEMORY_REGION");
	v->vcpu = ioctl(v->vm, KVM_CREATE_VCPU, 0);
	if (v->vcpu < 0)
		return fail(err, "KVM_CREATE_VCPU");
	v->run = mmap(NULL, host.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->vcpu, 0);
	if (v->run == MAP_FAILED)
		return fail(err, "the vCPU's run page");
	if (set_vcpu(v) < 0)
		return fail(err, "setting the vCPU up");
	build_registers(v->run);
	return vm_run(v, err);
}

int bench_bare_cold_start(uint64_t *ret_ns, mayfly_error *err)
{
	struct bare_vm v;
	uint64_t start;
	int r = host_open(err);

	if (r != MAYFLY_OK)
		return r;
	start = now_ns();
	r = vm_start(&v, err);
	*ret_ns = now_ns() - start;
	vm_free(&v);
	return r;
}

/* --- Rows ------------------------------------------------------------------------------------ */

static int begin(const struct bench_row *row, void **state, mayfly_error *err)
{
	struct bare_vm *v;
	int r = host_open(err);

	(void)row;
	if (r != MAYFLY_OK)
		return r;
	v = xrealloc(NULL, 1, sizeof(*v));
	*v = (struct bare_vm){.vm = -1, .vcpu = -1, .run = MAP_FAILED, .memory = MAP_FAILED};
	*state = v;
	return MAYFLY_OK;
}

static int enter_running(void *state, mayfly_error *err)
{
	return vm_start(state, err);
}

static void leave_running(void *state)
{
	vm_free(state);
}

static void end(void *state)
{
	free(state);
}

static int sample_cold_start(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	(void)state;
	return bench_bare_cold_start(ret_ns, err);
}

static int sample_destroy(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	int r = vm_start(state, err);
	uint64_t start = now_ns();

	vm_free(state);
	*ret_ns = now_ns() - start;
	return r;
}

static int sample_run(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	uint64_t start = now_ns();
	int r = vm_run(state, err);

	*ret_ns = now_ns() - start;
	return r;
}

/* What restoring costs at the least: so many pages into memory that is there. */
struct copier {
	uint8_t *from;
	uint8_t *to;
	uint32_t pages;
};

/* Apart from each other, as written pages mostly are. */
#define COPY_STRIDE (2 * PAGE)

static int begin_copy(const struct bench_row *row, void **state, mayfly_error *err)
{
	size_t len = (size_t)row->pages * COPY_STRIDE;
	struct copier *c = xrealloc(NULL, 1, sizeof(*c));

	c->pages = row->pages;
	c->from = aligned_alloc(PAGE, 2 * len);
	if (!c->from) {
		free(c);
		return mayfly_error_set(err, MAYFLY_E_NOMEM, "no memory for %u pages",
					row->pages);
	}
	c->to = c->from + len;
	memset(c->from, 1, 2 * len);
	*state = c;
	return MAYFLY_OK;
}

static int sample_copy(void *state, uint64_t *ret_ns, mayfly_error *err)
{
	struct copier *c = state;
	uint64_t start = now_ns();

	(void)err;
	for (size_t i = 0; i < c->pages; i++)
		memcpy(c->to + i * COPY_STRIDE, c->from + i * COPY_STRIDE, PAGE);
	/* Someone might look: the copies must be made. */
	__asm__ volatile("" : : "r"(c->to) : "memory");
	*ret_ns = now_ns() - start;
	return MAYFLY_OK;
}

static void end_copy(void *state)
{
	struct copier *c = state;

	if (c)
		free(c->from);
	free(c);
}

const struct bench_row bench_bare_rows[] = {
	{.name = "bare_cold_start",
	 .what = "KVM alone: create a VM, run to its first exit",
	 .batch = 10,
	 .warmup = 2,
	 .needs_kvm = true,
	 .begin = begin,
	 .sample = sample_cold_start,
	 .end = end},
	{.name = "bare_destroy",
	 .what = "KVM alone: destroy it",
	 .batch = 10,
	 .warmup = 2,
	 .needs_kvm = true,
	 .begin = begin,
	 .sample = sample_destroy,
	 .end = end},
	{.name = "bare_run",
	 .what = "KVM alone: enter a warm VM and come back",
	 .batch = 50,
	 .warmup = 20,
	 .needs_kvm = true,
	 .begin = begin,
	 .enter = enter_running,
	 .sample = sample_run,
	 .leave = leave_running,
	 .end = end},
	{.name = "copy_16_pages",
	 .what = "copy 16 pages, scattered, into memory that is there",
	 .batch = 50,
	 .warmup = 20,
	 .pages = 16,
	 .begin = begin_copy,
	 .sample = sample_copy,
	 .end = end_copy},
	{.name = NULL},
};

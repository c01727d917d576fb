/* SPDX-License-Identifier: Apache-2.0 */
#include "hv/mock.h"

#include <string.h>

#include "core/codec.h"

#define PTE_PRESENT ((uint64_t)1 << 0)
#define PTE_WRITE ((uint64_t)1 << 1)
#define PTE_USER ((uint64_t)1 << 2)
#define PTE_LARGE ((uint64_t)1 << 7)
#define PTE_NX ((uint64_t)1 << 63)
#define PTE_ADDRESS 0x000ffffffffff000ULL

static const struct hv_host first_host = {
	.kind = "mock",
	.ring0_native = true,
	.fsgsbase = true,
	.ring3_resets = true,
	.xsave = true,
	.xcr0 = 7,
	.features = {0x7ed8320b, 0x0783f9ff, 0x00000129, 0x4, 0, 0, 0x21, 0x2183f9ff},
	.api_version = 12,
	.max_vcpus = 1,
	.max_slots = MOCK_SLOTS,
};

static struct {
	struct hv_host host;
	const struct mock_step *steps;
	size_t count;
	size_t next;
	mock_driver driver;
	void *context;
	uint64_t calls[MOCK_OPS];   /* atomic */
	uint64_t fail_at[MOCK_OPS]; /* the count at which to fail; 0: never */
	int code[MOCK_OPS];
	uint64_t live; /* atomic */
} mock;

void mock_reset(void)
{
	memset(&mock, 0, sizeof(mock));
	mock.host = first_host;
}

void mock_play(const struct mock_step *steps, size_t count)
{
	mock.steps = steps;
	mock.count = count;
	mock.next = 0;
}

size_t mock_left(void)
{
	return mock.count - mock.next;
}

void mock_drive(mock_driver driver, void *context)
{
	mock.driver = driver;
	mock.context = context;
}

void mock_fail(enum mock_op op, uint64_t nth, int code)
{
	mock.fail_at[op] = mock_count(op) + nth;
	mock.code[op] = code;
}

uint64_t mock_count(enum mock_op op)
{
	return __atomic_load_n(&mock.calls[op], __ATOMIC_RELAXED);
}

uint64_t mock_live(void)
{
	return __atomic_load_n(&mock.live, __ATOMIC_RELAXED);
}

struct hv_host *mock_host(void)
{
	return &mock.host;
}

/* At the beginning of each operation: counts it; negative: it is to fail. */
static int enter(enum mock_op op, mayfly_error *err)
{
	uint64_t n = __atomic_add_fetch(&mock.calls[op], 1, __ATOMIC_RELAXED);

	if (n != mock.fail_at[op])
		return 0;
	return fail(err, mock.code[op], "the mock was told to fail (operation %d, call %llu)",
		    (int)op, (unsigned long long)n);
}

/* --- VMs ---------------------------------------------------------------------------------- */

static int vm_host(const struct hv_host **out, mayfly_error *err)
{
	int r = enter(MOCK_HOST, err);

	if (r == 0)
		*out = &mock.host;
	return r;
}

static int vm_new(struct hv_vm **out, mayfly_error *err)
{
	struct mock_vm *vm;
	int r = enter(MOCK_VM_NEW, err);

	if (r < 0)
		return r;
	vm = calloc(1, sizeof(*vm));
	if (!vm)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a mock VM");
	vm->base.ops = &hv_mock;
	vm->vcpu.ops = &hv_mock;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->changed, NULL);
	__atomic_add_fetch(&mock.live, 1, __ATOMIC_RELAXED);
	*out = &vm->base;
	return 0;
}

static void vm_free(struct hv_vm *base)
{
	struct mock_vm *vm = (struct mock_vm *)base;

	for (size_t i = 0; i < MOCK_SLOTS; i++)
		free(vm->slots[i].dirty);
	pthread_cond_destroy(&vm->changed);
	pthread_mutex_destroy(&vm->lock);
	/* One whose vCPU was forgotten stays counted. */
	if (!vm->has_vcpu)
		__atomic_sub_fetch(&mock.live, 1, __ATOMIC_RELAXED);
	free(vm);
}

static int vm_map(struct hv_vm *base, const struct hv_slot *slot, mayfly_error *err)
{
	struct mock_vm *vm = (struct mock_vm *)base;
	struct mock_slot *s;
	uint64_t *dirty = NULL;
	int r = enter(MOCK_VM_MAP, err);

	if (r < 0)
		return r;
	if (slot->id >= MOCK_SLOTS || !slot->len ||
	    ((slot->gpa | slot->len | (uint64_t)(uintptr_t)slot->host) & PAGE_MASK))
		return fail(err, MAYFLY_E_HYPERVISOR, "slot %u makes no sense", slot->id);
	if (slot->log_dirty) {
		dirty = calloc(bitmap_words(slot->len / PAGE_SIZE), sizeof(*dirty));
		if (!dirty)
			return fail(err, MAYFLY_E_NOMEM, "no memory for a mock dirty log");
	}
	s = &vm->slots[slot->id];
	free(s->dirty);
	s->slot = *slot;
	s->dirty = dirty;
	return 0;
}

/* NULL with an error if the slot has no log. */
static struct mock_slot *logged_slot(struct hv_vm *base, uint32_t id, mayfly_error *err)
{
	struct mock_vm *vm = (struct mock_vm *)base;

	if (id < MOCK_SLOTS && vm->slots[id].dirty)
		return &vm->slots[id];
	mayfly_error_set(err, MAYFLY_E_HYPERVISOR, "slot %u has no dirty log", id);
	return NULL;
}

static int vm_dirty(struct hv_vm *base, uint32_t id, uint64_t *bitmap, mayfly_error *err)
{
	struct mock_slot *s;
	int r = enter(MOCK_VM_DIRTY, err);

	if (r < 0)
		return r;
	s = logged_slot(base, id, err);
	if (!s)
		return MAYFLY_E_HYPERVISOR;
	memcpy(bitmap, s->dirty, bitmap_words(s->slot.len / PAGE_SIZE) * sizeof(*bitmap));
	return 0;
}

static int vm_clean(struct hv_vm *base, uint32_t id, uint64_t pages, uint64_t *bitmap,
		    mayfly_error *err)
{
	struct mock_vm *vm = (struct mock_vm *)base;
	struct mock_slot *s;
	int r = enter(MOCK_VM_CLEAN, err);

	if (r < 0)
		return r;
	s = logged_slot(base, id, err);
	if (!s)
		return MAYFLY_E_HYPERVISOR;
	if (pages != s->slot.len / PAGE_SIZE)
		return fail(err, MAYFLY_E_HYPERVISOR, "slot %u has not %llu pages", id,
			    (unsigned long long)pages);
	for (size_t i = 0; i < bitmap_words(pages); i++) {
		vm->cleaned += (uint64_t)__builtin_popcountll(s->dirty[i] & bitmap[i]);
		s->dirty[i] &= ~bitmap[i];
	}
	return 0;
}

/* --- vCPUs -------------------------------------------------------------------------------- */

/* The first is the VM's own. NULL: memory is out. */
static struct mock_vm *further_vcpu(struct mock_vm *owner, uint32_t number)
{
	struct mock_vm *vm = calloc(1, sizeof(*vm));

	if (!vm)
		return NULL;
	vm->vcpu.ops = &hv_mock;
	vm->owner = owner;
	vm->number = number;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->changed, NULL);
	return vm;
}

static int vcpu_new(struct hv_vm *base, uint32_t number, const struct cpu_setup *setup,
		    struct hv_vcpu **out, mayfly_error *err)
{
	struct mock_vm *vm = (struct mock_vm *)base;
	int r = enter(MOCK_VCPU_NEW, err);

	if (r < 0)
		return r;
	if (number >= mock.host.max_vcpus || (vm->has_vcpu && !number))
		return fail(err, MAYFLY_E_HYPERVISOR, "a second vCPU");
	if (number)
		vm = further_vcpu(vm, number);
	if (!vm)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a mock vCPU");
	vm->has_vcpu = true;
	vm->setup = *setup;
	vm->control.fs_base = setup->fs_base;
	vm->control.gs_base = setup->gs_base;
	__atomic_add_fetch(&mock.live, 1, __ATOMIC_RELAXED);
	*out = &vm->vcpu;
	return 0;
}

static void vcpu_free(struct hv_vcpu *vcpu)
{
	struct mock_vm *vm = mock_vm_of(vcpu);

	vm->has_vcpu = false;
	__atomic_sub_fetch(&mock.live, 1, __ATOMIC_RELAXED);
	if (!vm->owner)
		return;
	pthread_cond_destroy(&vm->changed);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

static int vcpu_reset(struct hv_vcpu *vcpu, const struct cpu_setup *setup, mayfly_error *err)
{
	struct mock_vm *vm = mock_vm_of(vcpu);
	int r = enter(MOCK_VCPU_RESET, err);

	if (r < 0)
		return r;
	vm->resets++;
	vm->setup = *setup;
	vm->regs = (struct cpu_regs){.rflags = CPU_RFLAGS_START};
	vm->control =
		(struct cpu_control){.fs_base = setup->fs_base, .gs_base = setup->gs_base};
	memset(vm->xsave, 0, sizeof(vm->xsave));
	return 0;
}

static void vcpu_set_regs(struct hv_vcpu *vcpu, const struct cpu_regs *regs)
{
	struct mock_vm *vm = mock_vm_of(vcpu);

	vm->regs = *regs;
	if (vm->nsets < MOCK_MAX_SETS)
		vm->sets[vm->nsets] = *regs;
	vm->nsets++;
}

static int vcpu_get_regs(struct hv_vcpu *vcpu, struct cpu_regs *regs, mayfly_error *err)
{
	int r = enter(MOCK_VCPU_GET_REGS, err);

	if (r == 0)
		*regs = mock_vm_of(vcpu)->regs;
	return r;
}

static int vcpu_get_control(struct hv_vcpu *vcpu, struct cpu_control *out, mayfly_error *err)
{
	int r = enter(MOCK_VCPU_GET_CONTROL, err);

	if (r == 0)
		*out = mock_vm_of(vcpu)->control;
	return r;
}

static int vcpu_set_ring3(struct hv_vcpu *vcpu, const struct cpu_setup *setup,
			  mayfly_error *err)
{
	struct mock_vm *vm = mock_vm_of(vcpu);

	(void)err;
	vm->setup = *setup;
	vm->control.fs_base = setup->fs_base;
	vm->control.gs_base = setup->gs_base;
	return 0;
}

static int vcpu_set_xsave(struct hv_vcpu *vcpu, const void *buffer, mayfly_error *err)
{
	(void)err;
	memcpy(mock_vm_of(vcpu)->xsave, buffer, CPU_XSAVE_BUFFER);
	return 0;
}

static int vcpu_get_xsave(struct hv_vcpu *vcpu, void *buffer, mayfly_error *err)
{
	int r = enter(MOCK_VCPU_GET_XSAVE, err);

	if (r == 0)
		memcpy(buffer, mock_vm_of(vcpu)->xsave, CPU_XSAVE_BUFFER);
	return r;
}

bool mock_is_kicked(struct mock_vm *vm)
{
	bool kicked;

	pthread_mutex_lock(&vm->lock);
	kicked = vm->kicked;
	pthread_mutex_unlock(&vm->lock);
	return kicked;
}

static void wait_for_kick(struct mock_vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->waiting = true;
	while (!vm->kicked)
		pthread_cond_wait(&vm->changed, &vm->lock);
	vm->waiting = false;
	pthread_mutex_unlock(&vm->lock);
}

static int play(struct mock_vm *vm, const struct mock_step *step, struct hv_exit *exit,
		mayfly_error *err)
{
	if (step->act)
		step->act(vm, step->context);
	if (step->failure)
		return fail(err, step->failure, "the script says that the run fails");
	*exit = step->exit;
	if (step->until_kicked) {
		wait_for_kick(vm);
		exit->kind = HV_EXIT_KICKED;
	}
	return 0;
}

static int vcpu_run(struct hv_vcpu *vcpu, struct hv_exit *exit, mayfly_error *err)
{
	struct mock_vm *vm = mock_vm_of(vcpu);
	int r = enter(MOCK_VCPU_RUN, err);

	if (r < 0)
		return r;
	vm->runs++;
	if (mock_is_kicked(vm)) {
		exit->kind = HV_EXIT_KICKED;
		return 0;
	}
	if (mock.next < mock.count)
		return play(vm, &mock.steps[mock.next++], exit, err);
	if (!mock.driver)
		return fail(err, MAYFLY_E_HYPERVISOR, "the script has ended");
	r = mock.driver(vm, mock.context, exit);
	return r < 0 ? fail(err, r, "the driver says that the run fails") : 0;
}

static void vcpu_kick(struct hv_vcpu *vcpu)
{
	struct mock_vm *vm = mock_vm_of(vcpu);

	pthread_mutex_lock(&vm->lock);
	vm->kicked = true;
	vm->kicks++;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
}

static void vcpu_unkick(struct hv_vcpu *vcpu)
{
	struct mock_vm *vm = mock_vm_of(vcpu);

	pthread_mutex_lock(&vm->lock);
	vm->kicked = false;
	vm->unkicks++;
	pthread_mutex_unlock(&vm->lock);
}

/* --- Machines ----------------------------------------------------------------------------- */

static int vm_platform(struct hv_vm *base, mayfly_error *err)
{
	int r = enter(MOCK_PLATFORM, err);

	if (r == 0)
		((struct mock_vm *)base)->platform = true;
	return r;
}

static int vm_irq(struct hv_vm *base, uint32_t irq, bool level, mayfly_error *err)
{
	struct mock_vm *vm = (struct mock_vm *)base;
	uint64_t line = (uint64_t)1 << (irq % 64);
	int r = enter(MOCK_IRQ, err);

	if (r < 0)
		return r;
	if (level)
		__atomic_or_fetch(&vm->levels, line, __ATOMIC_SEQ_CST);
	else
		__atomic_and_fetch(&vm->levels, ~line, __ATOMIC_SEQ_CST);
	return 0;
}

static int vm_notify(struct hv_vm *base, const struct hv_notify *notify, mayfly_error *err)
{
	struct mock_vm *vm = (struct mock_vm *)base;
	int r = enter(MOCK_NOTIFY, err);

	if (r < 0)
		return r;
	if (vm->nnotifies == MOCK_MAX_NOTIFIES)
		return fail(err, MAYFLY_E_NOMEM, "the mock has no room for notifications");
	vm->notifies[vm->nnotifies++] = *notify;
	return 0;
}

bool mock_notify(struct mock_vm *vm, uint64_t gpa, uint32_t value)
{
	const struct mock_vm *owner = vm->owner ? vm->owner : vm;
	const uint64_t one = 1;

	for (uint32_t i = 0; i < owner->nnotifies; i++) {
		const struct hv_notify *n = &owner->notifies[i];

		if (n->gpa == gpa && n->value == value)
			return write(n->fd, &one, sizeof(one)) == sizeof(one);
	}
	return false;
}

static int vm_save(struct hv_vm *base, struct writer *w, mayfly_error *err)
{
	int r = enter(MOCK_SAVE, err);

	if (r == 0)
		put_u64(w, ((struct mock_vm *)base)->levels);
	return r;
}

static int vm_load(struct hv_vm *base, struct reader *r, mayfly_error *err)
{
	int e = enter(MOCK_LOAD, err);

	if (e < 0)
		return e;
	((struct mock_vm *)base)->levels = get_u64(r);
	return r->bad ? fail(err, MAYFLY_E_FORMAT, "the mock VM's state is damaged") : 0;
}

static int machine_vcpu_new(struct hv_vm *base, uint32_t number, const struct cpu_boot *boot,
			    struct hv_vcpu **out, mayfly_error *err)
{
	const struct cpu_setup setup = {.cr3 = 0};
	int r;

	if (!((struct mock_vm *)base)->platform)
		return fail(err, MAYFLY_E_HYPERVISOR, "a machine's vCPU before its platform");
	r = vcpu_new(base, number, &setup, out, err);
	if (r == 0)
		mock_vm_of(*out)->boot = *boot;
	return r;
}

static int vcpu_bind(struct hv_vcpu *vcpu, mayfly_error *err)
{
	int r = enter(MOCK_BIND, err);

	if (r == 0)
		mock_vm_of(vcpu)->bound = true;
	return r;
}

static void vcpu_unbind(struct hv_vcpu *vcpu)
{
	mock_vm_of(vcpu)->bound = false;
}

static int vcpu_save(struct hv_vcpu *vcpu, struct writer *w, mayfly_error *err)
{
	struct mock_vm *vm = mock_vm_of(vcpu);
	int r = enter(MOCK_SAVE, err);

	if (r < 0)
		return r;
	put_block(w, &vm->regs, sizeof(vm->regs));
	put_u64(w, vm->saved_state);
	return 0;
}

static int vcpu_load(struct hv_vcpu *vcpu, struct reader *r, mayfly_error *err)
{
	struct mock_vm *vm = mock_vm_of(vcpu);
	int e = enter(MOCK_LOAD, err);
	const uint8_t *regs;
	size_t len;

	if (e < 0)
		return e;
	regs = get_block(r, &len);
	vm->saved_state = get_u64(r);
	if (r->bad || !regs || len != sizeof(vm->regs))
		return fail(err, MAYFLY_E_FORMAT, "the mock vCPU's state is damaged");
	memcpy(&vm->regs, regs, sizeof(vm->regs));
	return 0;
}

static const struct hv_machine_ops machine_ops = {
	.platform = vm_platform,
	.irq = vm_irq,
	.notify = vm_notify,
	.vm_save = vm_save,
	.vm_load = vm_load,
	.vcpu_new = machine_vcpu_new,
	.vcpu_bind = vcpu_bind,
	.vcpu_unbind = vcpu_unbind,
	.vcpu_save = vcpu_save,
	.vcpu_load = vcpu_load,
};

/* --- The guest's memory ------------------------------------------------------------------- */

static struct mock_slot *slot_at(const struct mock_vm *vm, uint64_t gpa)
{
	if (vm->owner)
		vm = vm->owner;
	for (size_t i = 0; i < MOCK_SLOTS; i++) {
		const struct hv_slot *s = &vm->slots[i].slot;

		if (gpa >= s->gpa && gpa - s->gpa < s->len)
			return (struct mock_slot *)&vm->slots[i];
	}
	return NULL;
}

void *mock_physical(struct mock_vm *vm, uint64_t gpa, uint64_t len)
{
	struct mock_slot *s = slot_at(vm, gpa);

	if (!s || !range_within(gpa - s->slot.gpa, len, s->slot.len))
		return NULL;
	return (uint8_t *)s->slot.host + (gpa - s->slot.gpa);
}

bool mock_is_dirty(const struct mock_vm *vm, uint64_t gpa)
{
	const struct mock_slot *s = slot_at(vm, gpa);

	return s && s->dirty && bitmap_test(s->dirty, (gpa - s->slot.gpa) / PAGE_SIZE);
}

/*
 * The CPU's walk (SDM vol. 3, 4.5 and 4.6): rights are those that every level gives. `need` are
 * the PTE bits that must be set everywhere.
 */
static bool walk(struct mock_vm *vm, uint64_t va, uint64_t need, bool execute, uint64_t *gpa)
{
	uint64_t table = vm->setup.cr3;

	if (va >> 47)
		return false;
	for (int level = 3; level >= 0; level--) {
		unsigned shift = PAGE_SHIFT + 9 * (unsigned)level;
		const uint64_t *entries = mock_physical(vm, table & PTE_ADDRESS, PAGE_SIZE);
		uint64_t entry;

		if (!entries)
			return false;
		entry = entries[(va >> shift) % 512];
		if ((entry & (need | PTE_PRESENT)) != (need | PTE_PRESENT) ||
		    (execute && (entry & PTE_NX)))
			return false;
		if (level == 0 || (entry & PTE_LARGE)) {
			uint64_t mask = ((uint64_t)1 << shift) - 1;

			*gpa = (entry & PTE_ADDRESS & ~mask) | (va & mask);
			return true;
		}
		table = entry & PTE_ADDRESS;
	}
	return false;
}

/* One page's worth at most. */
static bool access_page(struct mock_vm *vm, uint64_t va, uint8_t *buffer, uint64_t len,
			uint64_t need)
{
	struct mock_slot *s;
	uint8_t *at;
	uint64_t gpa;

	if (!walk(vm, va, need, false, &gpa))
		return false;
	s = slot_at(vm, gpa);
	at = mock_physical(vm, gpa, len);
	if (!s || !at)
		return false;
	if (!(need & PTE_WRITE)) {
		memcpy(buffer, at, len);
		return true;
	}
	if (s->slot.readonly)
		return false;
	memcpy(at, buffer, len);
	if (s->dirty)
		bitmap_set(s->dirty, (gpa - s->slot.gpa) / PAGE_SIZE);
	return true;
}

static bool access_range(struct mock_vm *vm, uint64_t va, uint8_t *buffer, uint64_t len,
			 uint64_t need)
{
	while (len) {
		uint64_t part = PAGE_SIZE - (va & PAGE_MASK);

		if (part > len)
			part = len;
		if (!access_page(vm, va, buffer, part, need))
			return false;
		va += part;
		buffer += part;
		len -= part;
	}
	return true;
}

bool mock_read(struct mock_vm *vm, uint64_t va, void *buffer, uint64_t len)
{
	return access_range(vm, va, buffer, len, PTE_USER);
}

bool mock_write(struct mock_vm *vm, uint64_t va, const void *data, uint64_t len)
{
	return access_range(vm, va, (uint8_t *)(uintptr_t)data, len, PTE_USER | PTE_WRITE);
}

bool mock_write_ring0(struct mock_vm *vm, uint64_t va, const void *data, uint64_t len)
{
	return access_range(vm, va, (uint8_t *)(uintptr_t)data, len, PTE_WRITE);
}

bool mock_may_execute(struct mock_vm *vm, uint64_t va)
{
	uint64_t gpa;

	return walk(vm, va, PTE_USER, true, &gpa) && slot_at(vm, gpa);
}

const struct hv_backend hv_mock = {
	.name = "mock",
	.machine = &machine_ops,
	.host_early = vm_host,
	.host = vm_host,
	.vm_new = vm_new,
	.vm_free = vm_free,
	.vm_map = vm_map,
	.vm_dirty = vm_dirty,
	.vm_clean = vm_clean,
	.vcpu_new = vcpu_new,
	.vcpu_free = vcpu_free,
	.vcpu_reset = vcpu_reset,
	.vcpu_set_regs = vcpu_set_regs,
	.vcpu_get_regs = vcpu_get_regs,
	.vcpu_get_control = vcpu_get_control,
	.vcpu_set_ring3 = vcpu_set_ring3,
	.vcpu_get_xsave = vcpu_get_xsave,
	.vcpu_set_xsave = vcpu_set_xsave,
	.vcpu_run = vcpu_run,
	.vcpu_kick = vcpu_kick,
	.vcpu_unkick = vcpu_unkick,
};

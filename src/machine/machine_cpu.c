/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <stdio.h>

#include "arch/x86_64/insn.h"
#include "machine/machine.h"

/* --- Accesses -------------------------------------------------------------------------- */

/* The largest piece of an access that devices know. */
static uint32_t piece_of(uint32_t left)
{
	if (left >= 8)
		return 8;
	if (left >= 4)
		return 4;
	return left >= 2 ? 2 : 1;
}

static void transfer(struct bus *bus, uint64_t at, uint8_t *data, uint32_t len, bool write)
{
	while (len) {
		uint32_t piece = piece_of(len);
		uint64_t value = 0;

		if (write) {
			memcpy(&value, data, piece);
			bus_write(bus, at, piece, value);
		} else {
			value = bus_read(bus, at, piece);
			memcpy(data, &value, piece);
		}
		at += piece;
		data += piece;
		len -= piece;
	}
}

/* String instructions leave with many accesses to the one port. */
static void handle_io(struct machine *m, const struct hv_exit *exit)
{
	uint8_t *data = exit->io.data;

	timeline_exit(m->timeline, exit->io.out ? EXIT_PORT_OUT : EXIT_PORT_IN, exit->io.port);
	for (uint32_t i = 0; i < exit->io.count; i++, data += exit->io.size)
		transfer(&m->ports, exit->io.port, data, exit->io.size, exit->io.out);
}

static void handle_mmio(struct machine *m, const struct hv_exit *exit)
{
	timeline_exit(m->timeline, exit->mmio.write ? EXIT_WRITE : EXIT_READ, exit->mmio.gpa);
	transfer(&m->memory, exit->mmio.gpa, exit->mmio.data, exit->mmio.len, exit->mmio.write);
}

/* --- What cannot go on ----------------------------------------------------------------- */

#define PTE_PRESENT ((uint64_t)1 << 0)
#define PTE_LARGE ((uint64_t)1 << 7)
#define PTE_ADDRESS 0x000ffffffffff000u
#define CR4_LA57 ((uint64_t)1 << 12)

/* Guest-physical, by the guest's own tables (SDM vol. 3, 4); false: not mapped. */
static bool translate(const struct ram *ram, const struct cpu_control *c, uint64_t va,
		      uint64_t *out)
{
	bool wide = c->efer & CPU_EFER_LMA, pae = c->cr4 & CPU_CR4_PAE;
	uint32_t bits = pae ? 9 : 10, size = pae ? 8 : 4;
	uint32_t shift = !pae ? 22 : !wide ? 30 : c->cr4 & CR4_LA57 ? 48 : 39;
	uint64_t table = c->cr3 & (pae && !wide ? ~(uint64_t)0x1f : PTE_ADDRESS), entry;

	*out = va;
	if (!(c->cr0 & CPU_CR0_PG))
		return true;
	for (;; shift -= bits) {
		uint64_t index = va >> shift & (((uint64_t)1 << bits) - 1);

		entry = 0;
		if (pae && !wide && shift == 30)
			index &= 3;
		if (!ram_read(ram, gpa(table + index * size), &entry, size) ||
		    !(entry & PTE_PRESENT))
			return false;
		if (shift == 12 ||
		    ((entry & PTE_LARGE) && shift <= 30 && (wide || shift <= 22)))
			break;
		table = entry & PTE_ADDRESS;
	}
	entry &= PTE_ADDRESS & ~(((uint64_t)1 << shift) - 1);
	*out = entry | (va & (((uint64_t)1 << shift) - 1));
	return true;
}

/* The bytes of the instruction at RIP, as far as they can be had. */
static uint32_t fetch(struct machine *m, const struct cpu_control *c, uint64_t rip,
		      uint8_t insn[15])
{
	uint64_t base = c->efer & CPU_EFER_LMA ? 0 : c->cs_base, at;
	uint32_t n = 0;

	while (n < 15 && translate(&m->ram, c, base + rip + n, &at) &&
	       ram_read(&m->ram, gpa(at), insn + n, 1))
		n++;
	return n;
}

/* "0x1000: xrstor (0f ae 28 ...)" */
static void describe_insn(struct machine_cpu *cpu, const struct hv_exit *exit, char *text,
			  size_t size)
{
	struct cpu_regs regs = {.rip = 0};
	struct cpu_control control = {.cr0 = 0};
	uint8_t insn[15];
	uint32_t n = exit->kind == HV_EXIT_INTERNAL ? exit->internal.insn_len : 0;
	size_t used;

	if (hv_vcpu_get_regs(cpu->vcpu, &regs, NULL) < 0 ||
	    hv_vcpu_get_control(cpu->vcpu, &control, NULL) < 0) {
		snprintf(text, size, "an unknown address");
		return;
	}
	if (n)
		memcpy(insn, exit->internal.insn, n);
	else
		n = fetch(cpu->machine, &control, regs.rip, insn);
	used = (size_t)snprintf(text, size, "0x%llx: ", (unsigned long long)regs.rip);
	insn_name(insn, n, control.efer & CPU_EFER_LMA, text + used, size - used);
}

static void fail_exit(struct machine_cpu *cpu, const struct hv_exit *exit)
{
	char where[160];
	mayfly_error err;

	describe_insn(cpu, exit, where, sizeof(where));
	switch (exit->kind) {
	case HV_EXIT_INTERNAL:
		mayfly_error_set(
			&err, MAYFLY_E_HYPERVISOR,
			"KVM cannot emulate the instruction at %s (CPU %u, internal "
			"error %u); on a host whose KVM runs ring 0 on the CPU it would",
			where, cpu->number, exit->internal.suberror);
		break;
	case HV_EXIT_MEMORY:
		mayfly_error_set(&err, MAYFLY_E_HYPERVISOR,
				 "the host has no memory left for the guest, or its image was "
				 "truncated (CPU %u at %s)",
				 cpu->number, where);
		break;
	default:
		mayfly_error_set(&err, MAYFLY_E_HYPERVISOR,
				 "KVM cannot go on: exit reason %u, CPU %u at %s",
				 exit->kind == HV_EXIT_UNKNOWN ? exit->unknown.reason : 0,
				 cpu->number, where);
	}
	machine_fail(cpu->machine, &err);
}

/*
 * As it is after INIT (SDM vol. 3, table 10-1): with SVM, where the state that a shutdown leaves is
 * undefined, KVM puts a vCPU there before it tells of it (AMD APM vol. 2, 15.14.3).
 */
#define RESET_IP 0xfff0u
#define RESET_CS_BASE 0xffff0000u

static void triple_fault(struct machine_cpu *cpu)
{
	struct machine_fault fault = {.happened = true, .cpu = cpu->number};
	struct cpu_regs regs = {.rip = 0};
	struct cpu_control control = {.cr0 = 0};

	if (hv_vcpu_get_regs(cpu->vcpu, &regs, NULL) == 0 &&
	    hv_vcpu_get_control(cpu->vcpu, &control, NULL) == 0)
		fault.has_ip = regs.rip != RESET_IP || control.cs_base != RESET_CS_BASE;
	fault.ip = fault.has_ip ? regs.rip : 0;
	machine_event(cpu->machine, "triple fault");
	machine_triple_fault(cpu->machine, &fault);
}

/* --- The loop -------------------------------------------------------------------------- */

static void handle_exit(struct machine_cpu *cpu, const struct hv_exit *exit)
{
	struct machine *m = cpu->machine;

	switch (exit->kind) {
	case HV_EXIT_IO:
		handle_io(m, exit);
		return;
	case HV_EXIT_MMIO:
		handle_mmio(m, exit);
		return;
	case HV_EXIT_HALT:
	case HV_EXIT_KICKED:
		timeline_exit(m->timeline, EXIT_OTHER, 0);
		return;
	case HV_EXIT_SHUTDOWN:
		triple_fault(cpu);
		return;
	case HV_EXIT_MEMORY:
	case HV_EXIT_INTERNAL:
	case HV_EXIT_UNKNOWN:
		fail_exit(cpu, exit);
	}
}

/* The first sign of life; virtio consoles write on another thread. */
static void look_for_output(struct machine *m)
{
	uint64_t when = stream_first_output(m->console);

	if (when && !atomic_exchange(&m->console_seen, true))
		machine_event(m, "console");
}

static bool stopping(struct machine *m)
{
	bool stop;

	pthread_mutex_lock(&m->lock);
	stop = m->stop != STOP_NONE;
	pthread_mutex_unlock(&m->lock);
	return stop;
}

/*
 * Until stopped, and then until the vCPU says that it was kicked: with that entry KVM has
 * completed what was left of the last instruction.
 */
static void run(struct machine_cpu *cpu)
{
	struct machine *m = cpu->machine;
	struct hv_exit exit;
	mayfly_error err;

	for (;;) {
		if (hv_vcpu_run(cpu->vcpu, &exit, &err) < 0) {
			machine_fail(m, &err);
			return;
		}
		atomic_fetch_add_explicit(&cpu->exits, 1, memory_order_relaxed);
		if (exit.kind == HV_EXIT_KICKED && stopping(m))
			return;
		handle_exit(cpu, &exit);
		if (exit.kind > HV_EXIT_KICKED)
			return;
		if (!atomic_load_explicit(&m->console_seen, memory_order_relaxed))
			look_for_output(m);
	}
}

void machine_cpu_main(void *context, const mayfly_error *failure)
{
	struct machine_cpu *cpu = context;
	struct machine *m = cpu->machine;
	mayfly_error err;
	int r = hv_vcpu_bind(cpu->vcpu, &err);

	if (r == 0 && failure) {
		err = *failure;
		r = err.code;
	}
	if (r < 0)
		machine_fail(m, &err);
	if (r == 0 && !m->ran && !cpu->number)
		machine_event(m, "first instruction");
	if (r == 0)
		run(cpu);
	/* Under the lock: no kick is under way when the thread ends. */
	pthread_mutex_lock(&m->lock);
	hv_vcpu_unbind(cpu->vcpu);
	pthread_mutex_unlock(&m->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The core of machines on the mock hypervisor: exits, ends, pauses, snapshots, failures. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../pvh_file.h"
#include "fail_alloc.h"
#include "hv/mock.h"
#include "machine/machine.h"
#include "machine/platform.h"
#include "machine/report.h"

#define HANG_SECONDS 60
#define MIB ((uint64_t)1 << 20)
#define SERIAL_LSR 5 /* line status */
#define MAX_EVENTS 16

#define broken(...)                                                                            \
	do {                                                                                   \
		print_error(__VA_ARGS__);                                                      \
		assert_true(false);                                                            \
	} while (0)

static char kernel[] = "/tmp/mayfly-machine-XXXXXX";
static int console[2];
static struct machine *m;
static struct {
	char names[MAX_EVENTS][32];
	uint32_t n;
} events;

static void note_event(void *context, const mayfly_event *event)
{
	(void)context;
	if (events.n < MAX_EVENTS)
		snprintf(events.names[events.n++], sizeof(events.names[0]), "%s", event->name);
}

static bool had_event(const char *name)
{
	for (uint32_t i = 0; i < events.n; i++)
		if (!strcmp(events.names[i], name))
			return true;
	return false;
}

static mayfly_machine_options options(void)
{
	mayfly_machine_options o = MAYFLY_MACHINE_OPTIONS_INIT;

	o.kernel = kernel;
	o.memory = 16 * MIB;
	o.console_out_plus_one = console[1] + 1;
	o.event = note_event;
	o.flags = MAYFLY_MACHINE_TIMELINE;
	return o;
}

static void make(void)
{
	mayfly_machine_options o = options();

	assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), 0);
}

static int run(mayfly_machine_end *end, mayfly_error *err)
{
	*end = (mayfly_machine_end){.size = sizeof(*end)};
	return machine_run(m, NULL, end, err);
}

static int setup(void **state)
{
	(void)state;
	alarm(HANG_SECONDS);
	mock_reset();
	mock_host()->max_vcpus = 4;
	memset(&events, 0, sizeof(events));
	m = NULL;
	return pipe2(console, O_CLOEXEC | O_NONBLOCK);
}

static int teardown(void **state)
{
	(void)state;
	machine_free(m);
	close(console[0]);
	close(console[1]);
	assert_int_equal(mock_live(), 0);
	return 0;
}

static struct hv_exit port(uint16_t number, uint8_t size, bool out, uint32_t count, void *data)
{
	return (struct hv_exit){.kind = HV_EXIT_IO, .io = {number, size, out, count, data}};
}

static uint32_t status_seven = 7;

static struct mock_step exit_seven(void)
{
	return (struct mock_step){.exit = port(PORT_EXIT, 4, true, 1, &status_seven)};
}

static void assert_ends(mayfly_machine_reason reason, int status)
{
	mayfly_machine_end end;
	mayfly_error err;
	int r = run(&end, &err);

	if (r < 0)
		broken("%s", err.message);
	assert_int_equal(end.reason, reason);
	assert_int_equal(end.status, status);
}

static void exit_port_gives_the_status(void **state)
{
	struct mock_step steps[] = {exit_seven()};

	(void)state;
	make();
	mock_play(steps, 1);
	assert_ends(MAYFLY_MACHINE_EXIT, 7);
	assert_true(had_event("first instruction"));
	assert_true(had_event("end"));
}

static void triple_fault_is_a_reset(void **state)
{
	struct mock_step steps[] = {{.exit = {.kind = HV_EXIT_SHUTDOWN}}};

	(void)state;
	make();
	mock_play(steps, 1);
	assert_ends(MAYFLY_MACHINE_RESET, 0);
}

static void keyboard_controller_resets(void **state)
{
	uint8_t reset = 0xfe;
	struct mock_step steps[] = {{.exit = port(0x64, 1, true, 1, &reset)}};

	(void)state;
	make();
	mock_play(steps, 1);
	assert_ends(MAYFLY_MACHINE_RESET, 0);
}

static void ended_machine_does_not_run_again(void **state)
{
	struct mock_step steps[] = {exit_seven(), exit_seven()};
	mayfly_machine_end end;
	mayfly_error err;

	(void)state;
	make();
	mock_play(steps, 2);
	assert_ends(MAYFLY_MACHINE_EXIT, 7);
	assert_int_equal(run(&end, &err), MAYFLY_E_PROTOCOL);
	assert_int_equal(mock_left(), 1);
}

static void string_output_reaches_the_console_whole(void **state)
{
	char text[] = "many bytes at once\n", got[64] = "";
	struct mock_step steps[] = {
		{.exit = port(SERIAL_PORT, 1, true, (uint32_t)strlen(text), text)},
		exit_seven()};

	(void)state;
	make();
	mock_play(steps, 2);
	assert_ends(MAYFLY_MACHINE_EXIT, 7);
	assert_int_equal(read(console[0], got, sizeof(got)), strlen(text));
	assert_string_equal(got, text);
	assert_true(had_event("console"));
}

static void string_input_is_filled_whole(void **state)
{
	uint8_t data[4] = {0, 0, 0, 0};
	struct mock_step steps[] = {{.exit = port(SERIAL_PORT + SERIAL_LSR, 1, false, 4, data)},
				    exit_seven()};

	(void)state;
	make();
	mock_play(steps, 2);
	assert_ends(MAYFLY_MACHINE_EXIT, 7);
	assert_int_not_equal(data[0], 0);
	for (size_t i = 1; i < 4; i++)
		assert_int_equal(data[i], data[0]);
}

static void memory_that_is_not_there_reads_as_ones(void **state)
{
	uint8_t data[8];
	struct mock_step steps[9];

	(void)state;
	memset(data, 0, sizeof(data));
	for (uint32_t len = 1; len <= 8; len++)
		steps[len - 1] = (struct mock_step){
			.exit = {.kind = HV_EXIT_MMIO, .mmio = {0xc0000001, len, false, data}}};
	steps[8] = exit_seven();
	make();
	mock_play(steps, 9);
	assert_ends(MAYFLY_MACHINE_EXIT, 7);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(data[i], 0xff);
}

static void in_long_mode(struct mock_vm *vm, void *context)
{
	const uint64_t flags = 3;
	uint64_t pml4 = 0x200000, pdpt = 0x201000, pd = 0x202000, pt = 0x203000;
	uint64_t entry;

	(void)context;
	/* 0xffffffff80000000 is 0x100000, with a page of 4 KiB. */
	entry = pdpt | flags;
	memcpy(mock_physical(vm, pml4 + 0xff8, 8), &entry, 8);
	entry = pd | flags;
	memcpy(mock_physical(vm, pdpt + 0xff0, 8), &entry, 8);
	entry = pt | flags;
	memcpy(mock_physical(vm, pd, 8), &entry, 8);
	entry = PVH_ENTRY | flags;
	memcpy(mock_physical(vm, pt, 8), &entry, 8);
	vm->regs.rip = 0xffffffff80000004;
	vm->control = (struct cpu_control){.cr0 = CPU_CR0_PE | CPU_CR0_PG,
					   .cr3 = pml4,
					   .cr4 = CPU_CR4_PAE,
					   .efer = CPU_EFER_LME | CPU_EFER_LMA};
	memcpy(mock_physical(vm, PVH_ENTRY + 4, 3), "\x0f\xae\x28", 3);
}

static void in_protected_mode(struct mock_vm *vm, void *context)
{
	(void)context;
	vm->regs.rip = 0x500;
	vm->control = (struct cpu_control){.cr0 = CPU_CR0_PE, .cs_base = PVH_ENTRY};
	memcpy(mock_physical(vm, PVH_ENTRY + 0x500, 3), "\x0f\x01\xd1", 3);
}

static void lost(struct mock_vm *vm, void *context)
{
	(void)context;
	vm->regs.rip = 0xffffffff90000000;
	vm->control = (struct cpu_control){.cr0 = CPU_CR0_PE | CPU_CR0_PG,
					   .cr3 = 0x7ffffffff000,
					   .cr4 = CPU_CR4_PAE,
					   .efer = CPU_EFER_LME | CPU_EFER_LMA};
}

static void assert_fails(void (*act)(struct mock_vm *, void *), struct hv_exit exit,
			 const char *where)
{
	struct mock_step steps[] = {{.act = act, .exit = exit}};
	mayfly_machine_end end;
	mayfly_error err;

	make();
	mock_play(steps, 1);
	assert_int_equal(run(&end, &err), MAYFLY_E_HYPERVISOR);
	if (!strstr(err.message, where))
		broken("no \"%s\" in: %s", where, err.message);
	machine_free(m);
	m = NULL;
}

static void failure_names_instruction_and_address(void **state)
{
	const struct hv_exit internal = {.kind = HV_EXIT_INTERNAL, .internal = {.suberror = 1}};
	const struct hv_exit known = {
		.kind = HV_EXIT_INTERNAL,
		.internal = {.suberror = 1, .insn = {0x0f, 0xc7, 0x0f}, .insn_len = 3}};

	(void)state;
	assert_fails(in_long_mode, internal, "0xffffffff80000004: xrstor (0f ae 28");
	assert_fails(in_protected_mode, internal, "0x500: xsetbv");
	assert_fails(lost, internal, "0xffffffff90000000: (its bytes cannot be read)");
	assert_fails(lost, known, "0xffffffff90000000: cmpxchg8b or cmpxchg16b (0f c7 0f)");
	assert_fails(lost, (struct hv_exit){.kind = HV_EXIT_MEMORY}, "memory");
	assert_fails(lost, (struct hv_exit){.kind = HV_EXIT_UNKNOWN, .unknown = {77}}, "77");
}

static void run_that_fails_says_why(void **state)
{
	struct mock_step steps[] = {{.failure = MAYFLY_E_HYPERVISOR}};
	mayfly_machine_end end;
	mayfly_error err;

	(void)state;
	make();
	mock_play(steps, 1);
	assert_int_equal(run(&end, &err), MAYFLY_E_HYPERVISOR);
	assert_non_null(strstr(err.message, "the run fails"));
}

static void interrupt_it(struct mock_vm *vm, void *context)
{
	(void)vm;
	(void)context;
	machine_interrupt(m);
}

static void interrupt_ends_the_run(void **state)
{
	struct mock_step steps[] = {{.act = interrupt_it, .until_kicked = true}};
	mayfly_machine_end end;
	mayfly_error err;

	(void)state;
	make();
	mock_play(steps, 1);
	assert_int_equal(run(&end, &err), MAYFLY_E_INTERRUPTED);
}

static void interrupt_before_a_run_ends_it_at_once(void **state)
{
	struct mock_step steps[] = {exit_seven()};
	mayfly_machine_end end;
	mayfly_error err;

	(void)state;
	make();
	mock_play(steps, 1);
	machine_interrupt(m);
	assert_int_equal(run(&end, &err), MAYFLY_E_INTERRUPTED);
	assert_int_equal(mock_left(), 1);
}

static void time_limit_ends_the_run(void **state)
{
	struct mock_step steps[] = {{.until_kicked = true}};
	mayfly_machine_options o = options();
	mayfly_machine_end end;
	mayfly_error err;

	(void)state;
	o.timeout_ns = 1000000;
	assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), 0);
	mock_play(steps, 1);
	assert_int_equal(run(&end, &err), MAYFLY_E_TIMEOUT);
}

/* The first vCPU exits; each other waits until it is kicked. */
static int one_exits(struct mock_vm *vm, void *context, struct hv_exit *exit)
{
	bool kicked;

	(void)context;
	if (!vm->number) {
		*exit = port(PORT_EXIT, 4, true, 1, &status_seven);
		return 0;
	}
	pthread_mutex_lock(&vm->lock);
	while (!vm->kicked)
		pthread_cond_wait(&vm->changed, &vm->lock);
	kicked = vm->kicked;
	pthread_mutex_unlock(&vm->lock);
	exit->kind = kicked ? HV_EXIT_KICKED : HV_EXIT_UNKNOWN;
	return 0;
}

static void end_stops_all_vcpus(void **state)
{
	mayfly_machine_options o = options();

	(void)state;
	o.cpus = 4;
	assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), 0);
	mock_drive(one_exits, NULL);
	assert_ends(MAYFLY_MACHINE_EXIT, 7);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(mock_vm_of(m->cpus[i].vcpu)->boot.cpus, 4);
		assert_false(mock_vm_of(m->cpus[i].vcpu)->bound);
	}
}

static uint8_t mark_snapshot = MACHINE_MARK_SNAPSHOT;

static int run_to_mark(mayfly_machine_end *end)
{
	mayfly_machine_pause pause = {.size = sizeof(pause), .port = true};

	*end = (mayfly_machine_end){.size = sizeof(*end)};
	return machine_run(m, &pause, end, NULL);
}

static void pause_at_the_mark_and_go_on(void **state)
{
	struct mock_step steps[] = {{.exit = port(PORT_MARK, 1, true, 1, &mark_snapshot)},
				    exit_seven()};
	mayfly_machine_end end;

	(void)state;
	make();
	mock_play(steps, 2);
	assert_int_equal(run_to_mark(&end), 0);
	assert_int_equal(end.reason, MAYFLY_MACHINE_PAUSE);
	assert_true(had_event("mark 255"));
	assert_true(had_event("pause"));
	/* The kick was taken, and the next step is there still. */
	assert_int_equal(mock_left(), 1);
	assert_ends(MAYFLY_MACHINE_EXIT, 7);
}

static void mark_does_not_pause_unasked(void **state)
{
	struct mock_step steps[] = {{.exit = port(PORT_MARK, 1, true, 1, &mark_snapshot)},
				    exit_seven()};

	(void)state;
	make();
	mock_play(steps, 2);
	assert_ends(MAYFLY_MACHINE_EXIT, 7);
}

static void pause_at_a_console_text(void **state)
{
	char text[] = "login: ";
	struct mock_step steps[] = {
		{.exit = port(SERIAL_PORT, 1, true, (uint32_t)strlen(text), text)},
		{.until_kicked = true},
		exit_seven()};
	mayfly_machine_pause pause = {.size = sizeof(pause), .console = "login:"};
	mayfly_machine_end end = {.size = sizeof(end)};

	(void)state;
	make();
	mock_play(steps, 3);
	assert_int_equal(machine_run(m, &pause, &end, NULL), 0);
	assert_int_equal(end.reason, MAYFLY_MACHINE_PAUSE);
	/* Whether the second step began depends on when the console put the text out. */
	while (mock_left() > 1)
		mock_play(steps + 2, 1);
	assert_ends(MAYFLY_MACHINE_EXIT, 7);
}

static void pause_after_some_time(void **state)
{
	struct mock_step steps[] = {{.until_kicked = true}, exit_seven()};
	mayfly_machine_pause pause = {.size = sizeof(pause), .after_ns = 1000000};
	mayfly_machine_end end = {.size = sizeof(end)};

	(void)state;
	make();
	mock_play(steps, 2);
	assert_int_equal(machine_run(m, &pause, &end, NULL), 0);
	assert_int_equal(end.reason, MAYFLY_MACHINE_PAUSE);
	if (mock_left() == 2) /* it was over before the vCPU's thread began */
		mock_play(steps + 1, 1);
	assert_ends(MAYFLY_MACHINE_EXIT, 7);
}

static void put_state(struct mock_vm *vm, void *context)
{
	(void)context;
	memcpy(mock_physical(vm, 0x300000, 6), "hello", 6);
	memcpy(mock_physical(vm, 15 * MIB, 6), "there", 6);
	vm->regs.rip = 0x1234;
	vm->saved_state = 99;
}

static void check_state(struct mock_vm *vm, void *context)
{
	uint32_t *checked = context;

	assert_string_equal(mock_physical(vm, 0x300000, 6), "hello");
	assert_string_equal(mock_physical(vm, 15 * MIB, 6), "there");
	assert_int_equal(*(uint8_t *)mock_physical(vm, 14 * MIB, 1), 0);
	assert_int_equal(vm->regs.rip, 0x1234);
	assert_int_equal(vm->saved_state, 99);
	(*checked)++;
	memcpy(mock_physical(vm, 0x300000, 6), "other", 6);
}

static mayfly_snapshot *take_snapshot(void)
{
	struct mock_step steps[] = {
		{.act = put_state, .exit = port(PORT_MARK, 1, true, 1, &mark_snapshot)}};
	mayfly_snapshot *snap;
	mayfly_machine_end end;

	make();
	mock_play(steps, 1);
	assert_int_equal(run_to_mark(&end), 0);
	assert_int_equal(machine_snapshot(m, &snap, NULL), 0);
	machine_free(m);
	m = NULL;
	return snap;
}

static void clones_go_on_where_the_snapshot_was(void **state)
{
	uint8_t generations[2][16];
	uint32_t checked = 0;
	mayfly_snapshot *snap = take_snapshot();

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		struct mock_step steps[] = {{.act = check_state,
					     .context = &checked,
					     .exit = {.kind = HV_EXIT_HALT}},
					    exit_seven()};
		mayfly_machine_options o = options();

		o.kernel = NULL;
		o.memory = 0;
		o.snapshot = snap;
		assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), 0);
		mock_play(steps, 2);
		assert_ends(MAYFLY_MACHINE_EXIT, 7);
		assert_int_equal(checked, i + 1);
		memcpy(generations[i], m->generation, 16);
		machine_free(m);
		m = NULL;
	}
	assert_memory_not_equal(generations[0], generations[1], 16);
	mayfly_snapshot_unref(snap);
}

static void snapshot_of_a_clone_has_what_neither_touched(void **state)
{
	struct mock_step steps[] = {{.exit = port(PORT_MARK, 1, true, 1, &mark_snapshot)}};
	uint32_t checked = 0;
	struct mock_step last[] = {
		{.act = check_state, .context = &checked, .exit = {.kind = HV_EXIT_HALT}},
		exit_seven()};
	mayfly_snapshot *first = take_snapshot(), *second;
	mayfly_machine_options o = options();
	mayfly_machine_end end;

	(void)state;
	o.kernel = NULL;
	o.snapshot = first;
	assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), 0);
	mock_play(steps, 1);
	assert_int_equal(run_to_mark(&end), 0);
	assert_int_equal(machine_snapshot(m, &second, NULL), 0);
	machine_free(m);
	mayfly_snapshot_unref(first);
	o.snapshot = second;
	assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), 0);
	mock_play(last, 2);
	assert_ends(MAYFLY_MACHINE_EXIT, 7);
	assert_int_equal(checked, 1);
	mayfly_snapshot_unref(second);
}

static void other_machine_than_the_snapshots_is_refused(void **state)
{
	mayfly_snapshot *snap = take_snapshot();
	mayfly_disk disk = {.path = kernel};
	mayfly_error err;

	(void)state;
	for (int i = 0; i < 4; i++) {
		mayfly_machine_options o = options();

		o.kernel = NULL;
		o.snapshot = snap;
		if (i == 0)
			o.memory = 32 * MIB;
		else if (i == 1)
			o.cpus = 2;
		else if (i == 2)
			o.cmdline = "quiet";
		else
			o.disks = &disk, o.ndisks = 1;
		assert_int_equal(machine_new(&hv_mock, &o, &m, &err), MAYFLY_E_INVALID);
	}
	mayfly_snapshot_unref(snap);
}

/*
 * Each byte of the state, changed, is refused or harmless; the state, cut anywhere, is refused.
 */
static void damaged_state_is_survived(void **state)
{
	mayfly_snapshot *snap = take_snapshot();
	uint8_t *saved = snap->extra;
	size_t len = snap->extra_len;
	mayfly_machine_options o = options();

	(void)state;
	o.kernel = NULL;
	o.memory = 0;
	o.snapshot = snap;
	for (size_t i = 0; i < len; i++) {
		snap->extra_len = i;
		assert_true(machine_new(&hv_mock, &o, &m, NULL) < 0);
	}
	snap->extra_len = len;
	for (size_t i = 0; i < len; i++) {
		saved[i] ^= 0xff;
		if (machine_new(&hv_mock, &o, &m, NULL) == 0)
			machine_free(m);
		saved[i] ^= 0xff;
	}
	m = NULL;
	mayfly_snapshot_unref(snap);
}

static void running_or_new_machine_cannot_be_saved(void **state)
{
	mayfly_snapshot *snap;
	mayfly_error err;

	(void)state;
	make();
	assert_int_equal(machine_snapshot(m, &snap, &err), MAYFLY_E_INVALID);
}

static void entry_state_is_the_kernels(void **state)
{
	(void)state;
	make();
	assert_int_equal(mock_vm_of(m->cpus[0].vcpu)->boot.entry, PVH_ENTRY);
	assert_int_equal(mock_vm_of(m->cpus[0].vcpu)->boot.mode, CPU_BOOT_PVH);
	assert_true(((struct mock_vm *)m->vm)->platform);
}

static void memory_above_the_hole_is_at_4_gib(void **state)
{
	mayfly_machine_options o = options();
	struct mock_vm *vm;

	(void)state;
	o.memory = RAM_LOW_MAX + 64 * MIB;
	assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), 0);
	vm = (struct mock_vm *)m->vm;
	assert_non_null(mock_physical(vm, RAM_LOW_MAX - PAGE_SIZE, PAGE_SIZE));
	assert_null(mock_physical(vm, RAM_LOW_MAX, 1));
	assert_null(mock_physical(vm, RAM_HIGH - 1, 1));
	assert_non_null(mock_physical(vm, RAM_HIGH, 64 * MIB));
	assert_null(mock_physical(vm, RAM_HIGH + 64 * MIB, 1));
	/* It has cost nothing. */
	assert_true(machine_own_memory(m) < MIB);
}

static void sizes_that_make_no_sense_are_refused(void **state)
{
	static const uint64_t memory[] = {1, MIB, 2 * MIB + 1, RAM_MAX + PAGE_SIZE, UINT64_MAX};
	mayfly_machine_options o = options();
	mayfly_error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(memory); i++) {
		o.memory = memory[i];
		assert_int_equal(machine_new(&hv_mock, &o, &m, &err), MAYFLY_E_INVALID);
	}
	o = options();
	o.cpus = 5;
	assert_int_equal(machine_new(&hv_mock, &o, &m, &err), MAYFLY_E_INVALID);
	o = options();
	o.kernel = "/nowhere/kernel";
	assert_int_equal(machine_new(&hv_mock, &o, &m, &err), MAYFLY_E_IO);
	assert_non_null(strstr(err.message, "/nowhere/kernel"));
	o.kernel = "/dev/null";
	assert_int_equal(machine_new(&hv_mock, &o, &m, &err), MAYFLY_E_IO);
}

/* A pipe knows no frames, and the device thread would never rest. */
static void network_needs_a_socket_of_messages(void **state)
{
	mayfly_machine_options o = options();
	mayfly_nic nic = {.fd_plus_one = console[0] + 1};
	mayfly_error err;

	(void)state;
	o.nics = &nic;
	o.nnics = 1;
	assert_int_equal(machine_new(&hv_mock, &o, &m, &err), MAYFLY_E_INVALID);
	assert_non_null(strstr(err.message, "SOCK_SEQPACKET"));
}

static void too_many_devices_are_refused(void **state)
{
	char path[] = "/tmp/mayfly-disk-XXXXXX";
	int fd = mkstemp(path);
	mayfly_disk disks[VIRTIO_MMIO_MAX_DEVICES + 1];
	mayfly_machine_options o = options();
	mayfly_error err;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	close(fd);
	for (size_t i = 0; i <= VIRTIO_MMIO_MAX_DEVICES; i++)
		disks[i] = (mayfly_disk){.path = path, .flags = MAYFLY_DISK_READONLY};
	o.disks = disks;
	o.ndisks = VIRTIO_MMIO_MAX_DEVICES;
	assert_int_equal(machine_new(&hv_mock, &o, &m, &err), 0);
	/* Each queue's notifications have a descriptor. */
	assert_int_equal(((struct mock_vm *)m->vm)->nnotifies, VIRTIO_MMIO_MAX_DEVICES);
	machine_free(m);
	m = NULL;
	o.ndisks++;
	assert_int_equal(machine_new(&hv_mock, &o, &m, &err), MAYFLY_E_LIMIT);
	unlink(path);
}

static void each_failure_of_the_hypervisor_leaves_nothing(void **state)
{
	static const enum mock_op ops[] = {MOCK_HOST,	  MOCK_VM_NEW, MOCK_VM_MAP,
					   MOCK_PLATFORM, MOCK_NOTIFY, MOCK_VCPU_NEW};
	mayfly_machine_options o = options();

	(void)state;
	o.flags |= MAYFLY_MACHINE_RNG;
	o.cpus = 2;
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		mock_fail(ops[i], 1, MAYFLY_E_HYPERVISOR);
		assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), MAYFLY_E_HYPERVISOR);
		assert_int_equal(mock_live(), 0);
	}
	mock_fail(MOCK_VCPU_NEW, 2, MAYFLY_E_NOMEM);
	assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), MAYFLY_E_NOMEM);
	assert_int_equal(mock_live(), 0);
}

static void failure_to_bind_ends_the_run(void **state)
{
	mayfly_machine_end end;
	mayfly_error err;

	(void)state;
	make();
	mock_fail(MOCK_BIND, 1, MAYFLY_E_HYPERVISOR);
	assert_int_equal(run(&end, &err), MAYFLY_E_HYPERVISOR);
}

static void failure_while_saving_or_loading_leaves_nothing(void **state)
{
	mayfly_snapshot *snap = take_snapshot(), *none;
	struct mock_step steps[] = {{.exit = port(PORT_MARK, 1, true, 1, &mark_snapshot)}};
	mayfly_machine_options o = options();
	mayfly_machine_end end;

	(void)state;
	o.kernel = NULL;
	o.snapshot = snap;
	for (uint64_t n = 1; n <= 2; n++) {
		mock_fail(MOCK_LOAD, n, MAYFLY_E_HYPERVISOR);
		assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), MAYFLY_E_HYPERVISOR);
		assert_int_equal(mock_live(), 0);
	}
	assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), 0);
	mock_play(steps, 1);
	assert_int_equal(run_to_mark(&end), 0);
	for (uint64_t n = 1; n <= 2; n++) {
		mock_fail(MOCK_SAVE, n, MAYFLY_E_HYPERVISOR);
		assert_int_equal(machine_snapshot(m, &none, NULL), MAYFLY_E_HYPERVISOR);
	}
	mayfly_snapshot_unref(snap);
}

static void memory_that_is_out_is_reported(void **state)
{
	mayfly_machine_options o = options();
	size_t n;

	(void)state;
	o.flags |= MAYFLY_MACHINE_RNG;
	for (n = 1;; n++) {
		int r;

		fail_alloc_at(n);
		r = machine_new(&hv_mock, &o, &m, NULL);
		if (!fail_alloc_end())
			break;
		assert_int_equal(r, MAYFLY_E_NOMEM);
		assert_int_equal(mock_live(), 0);
	}
	assert_true(n > 8);
}

static char report[8192];

static void add_text(void *context, const char *text, size_t len)
{
	size_t used = strlen(report);

	(void)context;
	assert_true(used + len < sizeof(report));
	memcpy(report + used, text, len);
	report[used + len] = '\0';
}

static void timeline_tells_of_points_and_exits(void **state)
{
	char text[] = "x\n";
	uint8_t mark = 3;
	struct mock_step steps[] = {{.exit = port(SERIAL_PORT, 1, true, 2, text)},
				    {.exit = port(PORT_MARK, 1, true, 1, &mark)},
				    exit_seven()};
	static const char *const words[] = {"VM created",
					    "images loaded",
					    "first instruction",
					    "first access: ",
					    "mark 3",
					    "console",
					    "end",
					    "0x3f8"};
	mayfly_machine_stats stats = {.size = sizeof(stats)};

	(void)state;
	make();
	mock_play(steps, 3);
	assert_ends(MAYFLY_MACHINE_EXIT, 7);
	for (int i = 0; i < 2; i++) { /* the second time nothing is there twice */
		report[0] = '\0';
		assert_int_equal(machine_report(m, false, 0, add_text, NULL, NULL), 0);
		for (size_t w = 0; w < ARRAY_SIZE(words); w++)
			if (!strstr(report, words[w]))
				broken("no \"%s\" in:\n%s", words[w], report);
		assert_null(strstr(strstr(report, "mark 3") + 1, "mark 3"));
	}
	report[0] = '\0';
	assert_int_equal(machine_report(m, true, 0, add_text, NULL, NULL), 0);
	assert_memory_equal(report, "{\"displayTimeUnit\"", 18);
	assert_non_null(strstr(report, "\"name\":\"mark 3\""));
	machine_count(m, &stats);
	assert_int_equal(stats.exits, 4);
	assert_true(stats.memory > 0 && stats.memory < 16 * MIB);
}

static int make_kernel(void **state)
{
	(void)state;
	return pvh_write(kernel, "\xf4", 1);
}

static int remove_kernel(void **state)
{
	(void)state;
	return unlink(kernel);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(exit_port_gives_the_status),
		TEST(triple_fault_is_a_reset),
		TEST(keyboard_controller_resets),
		TEST(ended_machine_does_not_run_again),
		TEST(string_output_reaches_the_console_whole),
		TEST(string_input_is_filled_whole),
		TEST(memory_that_is_not_there_reads_as_ones),
		TEST(failure_names_instruction_and_address),
		TEST(run_that_fails_says_why),
		TEST(interrupt_ends_the_run),
		TEST(interrupt_before_a_run_ends_it_at_once),
		TEST(time_limit_ends_the_run),
		TEST(end_stops_all_vcpus),
		TEST(pause_at_the_mark_and_go_on),
		TEST(mark_does_not_pause_unasked),
		TEST(pause_at_a_console_text),
		TEST(pause_after_some_time),
		TEST(clones_go_on_where_the_snapshot_was),
		TEST(snapshot_of_a_clone_has_what_neither_touched),
		TEST(other_machine_than_the_snapshots_is_refused),
		TEST(damaged_state_is_survived),
		TEST(running_or_new_machine_cannot_be_saved),
		TEST(entry_state_is_the_kernels),
		TEST(memory_above_the_hole_is_at_4_gib),
		TEST(sizes_that_make_no_sense_are_refused),
		TEST(network_needs_a_socket_of_messages),
		TEST(too_many_devices_are_refused),
		TEST(each_failure_of_the_hypervisor_leaves_nothing),
		TEST(failure_to_bind_ends_the_run),
		TEST(failure_while_saving_or_loading_leaves_nothing),
		TEST(memory_that_is_out_is_reported),
		TEST(timeline_tells_of_points_and_exits),
	};

	return cmocka_run_group_tests_name("machine", tests, make_kernel, remove_kernel);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines on the real hypervisor, with kernels of a few instructions: 32-bit code in protected
 * mode without paging, entered at its first byte.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pvh_file.h"

#define MIB ((uint64_t)1 << 20)

/* --- Kernels --------------------------------------------------------------------------- */

struct code {
	uint8_t bytes[512];
	size_t len;
};

static void emit(struct code *c, const char *bytes, size_t len)
{
	assert_true(c->len + len <= sizeof(c->bytes));
	memcpy(c->bytes + c->len, bytes, len);
	c->len += len;
}

#define EMIT(c, text) emit(c, text, sizeof(text) - 1)

static void emit32(struct code *c, const char *opcode, size_t len, uint32_t value)
{
	emit(c, opcode, len);
	emit(c, (const char *)&value, sizeof(value));
}

/* mov value, %eax */
static void load_eax(struct code *c, uint32_t value)
{
	emit32(c, "\xb8", 1, value);
}

/* out %eax, the exit port; then nothing more. */
static void exit_by_eax(struct code *c)
{
	EMIT(c, "\xe7\xf4");	     /* out %eax, $0xf4 */
	EMIT(c, "\xfa\xf4\xeb\xfd"); /* cli; 1: hlt; jmp 1b */
}

static void exit_with(struct code *c, uint32_t status)
{
	load_eax(c, status);
	exit_by_eax(c);
}

static void put_char(struct code *c, char text)
{
	EMIT(c, "\x66\xba\xf8\x03\xb0"); /* mov $0x3f8, %dx; mov $text, %al */
	emit(c, &text, 1);
	EMIT(c, "\xee"); /* out %al, %dx */
}

static void put_text(struct code *c, const char *text)
{
	for (; *text; text++)
		put_char(c, *text);
}

/* The snapshot mark. */
static void mark(struct code *c)
{
	EMIT(c, "\xb0\xff\xe6\xf5"); /* mov $0xff, %al; out %al, $0xf5 */
}

/* --- Machines -------------------------------------------------------------------------- */

struct rig {
	mayfly_machine *machine;
	mayfly_error err;
	mayfly_machine_end end;
	int to_guest[2], from_guest[2];
	char path[32];
};

static mayfly_machine_options rig_options(struct rig *r)
{
	mayfly_machine_options o = MAYFLY_MACHINE_OPTIONS_INIT;

	o.memory = 16 * MIB;
	o.timeout_ns = AGES;
	o.console_in_plus_one = r->to_guest[0] + 1;
	o.console_out_plus_one = r->from_guest[1] + 1;
	return o;
}

static void rig_begin(struct rig *r, const struct code *c)
{
	need_kvm();
	memset(r, 0, sizeof(*r));
	r->end.size = sizeof(r->end);
	strcpy(r->path, "/tmp/mayfly-kernel-XXXXXX");
	assert_int_equal(pvh_write(r->path, c->bytes, c->len), 0);
	assert_int_equal(pipe2(r->to_guest, O_CLOEXEC), 0);
	assert_int_equal(pipe2(r->from_guest, O_CLOEXEC | O_NONBLOCK), 0);
}

static void rig_make(struct rig *r, const mayfly_machine_options *options)
{
	mayfly_machine_options o = options ? *options : rig_options(r);

	if (!o.snapshot)
		o.kernel = r->path;
	if (mayfly_machine_new(&o, &r->machine, &r->err) < 0)
		fail_test("mayfly_machine_new: %s", r->err.message);
}

static void rig_open(struct rig *r, const struct code *c)
{
	rig_begin(r, c);
	rig_make(r, NULL);
}

static void rig_close(struct rig *r)
{
	mayfly_machine_free(r->machine);
	unlink(r->path);
	for (int i = 0; i < 2; i++) {
		close(r->to_guest[i]);
		close(r->from_guest[i]);
	}
}

static int rig_run(struct rig *r, const mayfly_machine_pause *pause)
{
	return mayfly_machine_run(r->machine, pause, &r->end, &r->err);
}

static void assert_ends(struct rig *r, mayfly_machine_reason reason, int status)
{
	if (rig_run(r, NULL) < 0)
		fail_test("mayfly_machine_run: %s", r->err.message);
	assert_int_equal(r->end.reason, reason);
	assert_int_equal(r->end.status, status);
}

static void run_to_mark(struct rig *r)
{
	mayfly_machine_pause pause = {.size = sizeof(pause), .port = true};

	if (rig_run(r, &pause) < 0)
		fail_test("mayfly_machine_run: %s", r->err.message);
	assert_int_equal(r->end.reason, MAYFLY_MACHINE_PAUSE);
}

/* --- Events ---------------------------------------------------------------------------- */

struct seen {
	struct rig *rig;
	pthread_t caller;
	int running, elsewhere;
	bool interrupt;
};

static void see(void *context, const mayfly_event *event)
{
	struct seen *seen = context;

	if (strcmp(event->name, "running") != 0)
		return;
	seen->running++;
	seen->elsewhere += !pthread_equal(pthread_self(), seen->caller);
	if (seen->interrupt)
		mayfly_machine_interrupt(seen->rig->machine);
}

static void open_seen(struct rig *r, const struct code *c, struct seen *seen)
{
	mayfly_machine_options o;

	rig_begin(r, c);
	o = rig_options(r);
	o.event = see;
	o.event_context = seen;
	seen->rig = r;
	seen->caller = pthread_self();
	rig_make(r, &o);
}

static void each_run_says_that_it_runs_on_its_callers_thread(void **state)
{
	struct code c = {.len = 0};
	struct seen seen = {.running = 0};
	struct rig r;

	(void)state;
	mark(&c);
	exit_with(&c, 4);
	open_seen(&r, &c, &seen);
	assert_int_equal(seen.running, 0);
	run_to_mark(&r);
	assert_int_equal(seen.running, 1);
	assert_ends(&r, MAYFLY_MACHINE_EXIT, 4);
	assert_int_equal(seen.running, 2);
	assert_int_equal(seen.elsewhere, 0);
	rig_close(&r);
}

static void a_machine_can_be_interrupted_as_soon_as_it_runs(void **state)
{
	struct code c = {.len = 0};
	struct seen seen = {.interrupt = true};
	struct rig r;

	(void)state;
	EMIT(&c, "\xeb\xfe"); /* jmp to itself */
	open_seen(&r, &c, &seen);
	assert_int_equal(rig_run(&r, NULL), MAYFLY_E_INTERRUPTED);
	rig_close(&r);
}

/* --- Ends ------------------------------------------------------------------------------ */

static void exit_port_gives_the_status(void **state)
{
	static const uint32_t statuses[] = {0, 1, 7, 255};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(statuses); i++) {
		struct code c = {.len = 0};
		struct rig r;

		exit_with(&c, statuses[i]);
		rig_open(&r, &c);
		assert_ends(&r, MAYFLY_MACHINE_EXIT, (int)statuses[i]);
		assert_int_equal(rig_run(&r, NULL), MAYFLY_E_PROTOCOL);
		rig_close(&r);
	}
}

static void triple_fault_is_a_reset(void **state)
{
	struct code c = {.len = 0};
	struct rig r;

	(void)state;
	EMIT(&c, "\x90\x0f\x0b"); /* nop; ud2, without any IDT */
	rig_open(&r, &c);
	assert_ends(&r, MAYFLY_MACHINE_RESET, 0);
	assert_true(r.end.triple_fault);
	assert_int_equal(r.end.fault_cpu, 0);
	/* With SVM the hardware does not tell. */
	if (r.end.fault_has_ip)
		assert_int_equal(r.end.fault_ip, PVH_ENTRY + 1);
	rig_close(&r);
}

static void reset_that_was_asked_for_is_no_fault(void **state)
{
	struct code c = {.len = 0};
	struct rig r;

	(void)state;
	EMIT(&c, "\xb0\xfe\xe6\x64"); /* mov $0xfe, %al; out %al, $0x64 */
	EMIT(&c, "\xfa\xf4\xeb\xfd"); /* cli; 1: hlt; jmp 1b */
	rig_open(&r, &c);
	assert_ends(&r, MAYFLY_MACHINE_RESET, 0);
	assert_false(r.end.triple_fault);
	rig_close(&r);
}

static void *interrupt_soon(void *context)
{
	nanosleep(&(struct timespec){.tv_nsec = 20 * (long)MS}, NULL);
	mayfly_machine_interrupt(context);
	return NULL;
}

/* Whether the guest sleeps in the kernel or never leaves its code. */
static void assert_interruptible(const struct code *c, uint32_t cpus)
{
	mayfly_machine_options o;
	pthread_t thread;
	struct rig r;

	rig_begin(&r, c);
	o = rig_options(&r);
	o.cpus = cpus;
	rig_make(&r, &o);
	assert_int_equal(pthread_create(&thread, NULL, interrupt_soon, r.machine), 0);
	assert_int_equal(rig_run(&r, NULL), MAYFLY_E_INTERRUPTED);
	pthread_join(thread, NULL);
	rig_close(&r);
}

static void halted_machine_can_be_interrupted(void **state)
{
	struct code c = {.len = 0};

	(void)state;
	EMIT(&c, "\xfa\xf4\xeb\xfd"); /* cli; 1: hlt; jmp 1b */
	assert_interruptible(&c, 1);
	/* The others wait to be started. */
	assert_interruptible(&c, 4);
}

static void busy_machine_can_be_interrupted(void **state)
{
	struct code c = {.len = 0};

	(void)state;
	EMIT(&c, "\xeb\xfe"); /* 1: jmp 1b */
	assert_interruptible(&c, 1);
}

static void time_limit_ends_it(void **state)
{
	struct code c = {.len = 0};
	mayfly_machine_options o;
	struct rig r;

	(void)state;
	EMIT(&c, "\xfa\xf4\xeb\xfd");
	rig_begin(&r, &c);
	o = rig_options(&r);
	o.timeout_ns = 10 * MS;
	rig_make(&r, &o);
	assert_int_equal(rig_run(&r, NULL), MAYFLY_E_TIMEOUT);
	rig_close(&r);
}

static void failure_names_the_instruction(void **state)
{
	struct code c = {.len = 0};
	struct rig r;

	(void)state;
	need_kvm();
	if (on_hardware())
		skip();		      /* it can do all of them */
	EMIT(&c, "\x90\x0f\xae\x28"); /* nop; xrstor (%eax) */
	rig_open(&r, &c);
	assert_int_equal(rig_run(&r, NULL), MAYFLY_E_HYPERVISOR);
	if (!strstr(r.err.message, "0x100001: xrstor (0f ae 28"))
		fail_test("%s", r.err.message);
	rig_close(&r);
}

/* --- Devices --------------------------------------------------------------------------- */

static void assert_output(struct rig *r, const char *text)
{
	char got[256];
	ssize_t n = read(r->from_guest[0], got, sizeof(got));

	assert_int_equal(n, strlen(text));
	assert_memory_equal(got, text, strlen(text));
}

static void console_shows_what_is_written(void **state)
{
	struct code c = {.len = 0};
	struct rig r;

	(void)state;
	put_text(&c, "Hello, world\n");
	exit_with(&c, 3);
	rig_open(&r, &c);
	assert_ends(&r, MAYFLY_MACHINE_EXIT, 3);
	assert_output(&r, "Hello, world\n");
	rig_close(&r);
}

/* Whether it is told that its output got nowhere, at every kind of end. */
static void assert_loss(int to, int expected)
{
	struct code c = {.len = 0};
	mayfly_machine_options o;
	struct rig r;

	put_text(&c, "lost\n");
	mark(&c);
	exit_with(&c, 3);
	rig_begin(&r, &c);
	o = rig_options(&r);
	o.console_out_plus_one = to + 1;
	rig_make(&r, &o);
	run_to_mark(&r);
	assert_int_equal(r.end.console_errno, expected);
	assert_ends(&r, MAYFLY_MACHINE_EXIT, 3);
	assert_int_equal(r.end.console_errno, expected);
	mayfly_machine_free(r.machine);
	rig_make(&r, &o);
	run_to_mark(&r);
	mayfly_machine_interrupt(r.machine);
	assert_int_equal(rig_run(&r, NULL), MAYFLY_E_INTERRUPTED);
	assert_int_equal(r.end.console_errno, expected);
	rig_close(&r);
}

static void output_that_is_lost_is_told(void **state)
{
	int wrong = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(wrong >= 0);
	assert_loss(wrong, EBADF);
	close(wrong);
}

static void reader_that_has_left_is_no_loss(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	close(ends[0]);
	assert_loss(ends[1], 0);
	close(ends[1]);
}

static void string_output_is_one_text(void **state)
{
	static const char text[] = "0123456789";
	struct code c = {.len = 0};
	struct rig r;

	(void)state;
	/* mov $text, %esi; mov $10, %ecx; mov $0x3f8, %dx; cld; rep outsb */
	emit32(&c, "\xbe", 1, PVH_ENTRY + 256);
	emit32(&c, "\xb9", 1, (uint32_t)strlen(text));
	EMIT(&c, "\x66\xba\xf8\x03\xfc\xf3\x6e");
	exit_with(&c, 0);
	while (c.len < 256)
		EMIT(&c, "\x90");
	emit(&c, text, strlen(text));
	rig_open(&r, &c);
	assert_ends(&r, MAYFLY_MACHINE_EXIT, 0);
	assert_output(&r, text);
	rig_close(&r);
}

static void typed_bytes_reach_the_guest(void **state)
{
	struct code c = {.len = 0};
	struct rig r;

	(void)state;
	EMIT(&c, "\x66\xba\xfd\x03");	  /* mov $0x3fd, %dx */
	EMIT(&c, "\xec\xa8\x01\x74\xfb"); /* 1: in %dx, %al; test $1, %al; jz 1b */
	EMIT(&c, "\x66\xba\xf8\x03\xec"); /* mov $0x3f8, %dx; in %dx, %al */
	EMIT(&c, "\x0f\xb6\xc0");	  /* movzx %al, %eax */
	exit_by_eax(&c);
	rig_open(&r, &c);
	assert_int_equal(write(r.to_guest[1], "A", 1), 1);
	assert_ends(&r, MAYFLY_MACHINE_EXIT, 'A');
	rig_close(&r);
}

static void virtio_registers_are_where_the_command_line_says(void **state)
{
	struct code c = {.len = 0};
	mayfly_machine_options o;
	struct rig r;

	(void)state;
	EMIT(&c, "\xa1\x00\x00\xb0\xfe"); /* mov 0xfeb00000, %eax: "virt" */
	exit_by_eax(&c);
	rig_begin(&r, &c);
	o = rig_options(&r);
	o.flags = MAYFLY_MACHINE_RNG;
	rig_make(&r, &o);
	assert_ends(&r, MAYFLY_MACHINE_EXIT, 'v');
	rig_close(&r);
}

static void memory_has_the_size_it_was_given(void **state)
{
	struct code c = {.len = 0};
	struct rig r;

	(void)state;
	/* The last page is there and zero, the one behind it is not: all ones. */
	emit32(&c, "\xa1", 1, (uint32_t)(16 * MIB - 4)); /* mov 0xfffffc, %eax */
	emit32(&c, "\x2b\x05", 2, (uint32_t)(16 * MIB)); /* sub 0x1000000, %eax */
	exit_by_eax(&c);
	rig_open(&r, &c);
	assert_ends(&r, MAYFLY_MACHINE_EXIT, 1);
	rig_close(&r);
}

static void second_cpu_can_be_started(void **state)
{
	/* At 0x8000, in real mode: mov $0x1234, %ax; mov %ax, %cs:0x100; 1: hlt; jmp 1b */
	static const uint8_t second[] = {0xb8, 0x34, 0x12, 0x2e, 0xa3,
					 0x00, 0x01, 0xf4, 0xeb, 0xfd};
	struct code c = {.len = 0};
	mayfly_machine_options o;
	struct rig r;

	(void)state;
	/* Copy it: mov $src, %esi; mov $0x10000, %edi; mov $len, %ecx; cld; rep movsb */
	emit32(&c, "\xbe", 1, PVH_ENTRY + 256);
	emit32(&c, "\xbf", 1, 0x10000);
	emit32(&c, "\xb9", 1, sizeof(second));
	EMIT(&c, "\xfc\xf3\xa4");
	/*
	 * The LAPIC on (spurious vector register); INIT and SIPI to APIC 1 (SDM vol. 3, 11.6)
	 */
	emit32(&c, "\xc7\x05\xf0\x00\xe0\xfe", 6, 0x1ff);
	emit32(&c, "\xc7\x05\x10\x03\xe0\xfe", 6, 1u << 24);
	emit32(&c, "\xc7\x05\x00\x03\xe0\xfe", 6, 0x4500);
	emit32(&c, "\xc7\x05\x00\x03\xe0\xfe", 6, 0x4610);
	/* 1: mov 0x10100, %ax; cmp $0x1234, %ax; jne 1b */
	EMIT(&c, "\x66\xa1\x00\x01\x01\x00\x66\x3d\x34\x12\x75\xf4");
	exit_with(&c, 12);
	while (c.len < 256)
		EMIT(&c, "\x90");
	emit(&c, (const char *)second, sizeof(second));
	rig_begin(&r, &c);
	o = rig_options(&r);
	o.cpus = 2;
	rig_make(&r, &o);
	assert_ends(&r, MAYFLY_MACHINE_EXIT, 12);
	rig_close(&r);
}

/* --- Snapshots ------------------------------------------------------------------------- */

/* A general register, an MSR, memory and a vector register, before the mark and after it. */
static void keep_state(struct code *c)
{
	emit32(c, "\xbb", 1, 0x11223344); /* mov $0x11223344, %ebx */
	emit32(c, "\xb9", 1, 0x174);	  /* mov SYSENTER_CS, %ecx */
	EMIT(c, "\x31\xd2");		  /* xor %edx, %edx */
	load_eax(c, 0x5678);
	EMIT(c, "\x0f\x30");		/* wrmsr */
	emit32(c, "\xa3", 1, 0x400000); /* mov %eax, 0x400000 */
	mark(c);
	emit32(c, "\x81\xfb", 2, 0x11223344); /* cmp $0x11223344, %ebx */
	EMIT(c, "\x75\x19");		      /* jne bad */
	EMIT(c, "\x0f\x32");		      /* rdmsr */
	emit32(c, "\x3b\x05", 2, 0x400000);   /* cmp 0x400000, %eax */
	EMIT(c, "\x75\x0f");		      /* jne bad */
	emit32(c, "\x3d", 1, 0x5678);	      /* cmp $0x5678, %eax */
	EMIT(c, "\x75\x08");		      /* jne bad */
	emit32(c, "\xb8", 1, 21);	      /* mov $21, %eax */
	EMIT(c, "\xe7\xf4\xf4");	      /* out; hlt */
	load_eax(c, 1);			      /* bad: */
	exit_by_eax(c);
}

static mayfly_snapshot *snapshot_of(struct rig *r)
{
	mayfly_snapshot *snap;

	if (mayfly_machine_snapshot(r->machine, &snap, &r->err) < 0)
		fail_test("mayfly_machine_snapshot: %s", r->err.message);
	return snap;
}

static void run_clone(struct rig *r, mayfly_snapshot *snap, int status)
{
	mayfly_machine *first = r->machine;
	mayfly_machine_options o = rig_options(r);

	o.memory = 0;
	o.snapshot = snap;
	rig_make(r, &o);
	assert_ends(r, MAYFLY_MACHINE_EXIT, status);
	mayfly_machine_free(r->machine);
	r->machine = first;
}

static void clones_and_the_original_go_on_alike(void **state)
{
	struct code c = {.len = 0};
	mayfly_snapshot *snap;
	struct rig r;

	(void)state;
	keep_state(&c);
	rig_open(&r, &c);
	run_to_mark(&r);
	snap = snapshot_of(&r);
	for (int i = 0; i < 3; i++)
		run_clone(&r, snap, 21);
	assert_ends(&r, MAYFLY_MACHINE_EXIT, 21);
	mayfly_snapshot_unref(snap);
	rig_close(&r);
}

static void snapshot_goes_through_a_file(void **state)
{
	char path[] = "/tmp/mayfly-machine-snapshot-XXXXXX";
	mayfly_snapshot_info info = {.size = sizeof(info)};
	int fd = mkstemp(path);
	struct code c = {.len = 0};
	mayfly_snapshot *snap;
	struct rig r;

	(void)state;
	close(fd);
	keep_state(&c);
	rig_open(&r, &c);
	run_to_mark(&r);
	snap = snapshot_of(&r);
	assert_int_equal(mayfly_snapshot_save(snap, path, NULL), 0);
	mayfly_snapshot_unref(snap);
	if (mayfly_snapshot_open(path, &snap, &r.err) < 0)
		fail_test("mayfly_snapshot_open: %s", r.err.message);
	assert_int_equal(mayfly_snapshot_get_info(snap, &info, NULL), 0);
	assert_true(info.machine && !info.program);
	assert_int_equal(info.memory, 16 * MIB);
	assert_true(info.resident < MIB);
	run_clone(&r, snap, 21);
	run_clone(&r, snap, 21);
	mayfly_snapshot_unref(snap);
	unlink(path);
	rig_close(&r);
}

static void snapshot_of_a_machine_has_no_functions(void **state)
{
	mayfly_process_options options = MAYFLY_PROCESS_OPTIONS_INIT;
	struct code c = {.len = 0};
	const mayfly_function *fn;
	const char *name, *signature;
	mayfly_process *process;
	mayfly_sandbox *sb;
	mayfly_snapshot *snap;
	struct rig r;

	(void)state;
	mark(&c);
	rig_open(&r, &c);
	run_to_mark(&r);
	snap = snapshot_of(&r);
	assert_int_equal(mayfly_snapshot_function(snap, "f", &fn, NULL), MAYFLY_E_NO_FUNCTION);
	assert_null(mayfly_snapshot_function_at(snap, 0));
	assert_false(mayfly_snapshot_import_at(snap, 0, &name, &signature));
	assert_int_equal(mayfly_sandbox_new(snap, NULL, &sb, NULL), MAYFLY_E_INVALID);
	options.snapshot = snap;
	assert_int_equal(mayfly_process_new(&options, &process, NULL), MAYFLY_E_INVALID);
	mayfly_snapshot_unref(snap);
	rig_close(&r);
}

/* Its generation, read after the mark: one byte of sixteen, in each of several clones. */
static void clones_differ_by_their_generation(void **state)
{
	enum { CLONES = 8 };
	struct code c = {.len = 0};
	mayfly_snapshot *snap;
	uint32_t seen[256] = {0}, different = 0;
	struct rig r;

	(void)state;
	mark(&c);
	EMIT(&c, "\x66\xba\x50\x4d\xec\x0f\xb6\xc0"); /* mov $0x4d50, %dx; in; movzx */
	exit_by_eax(&c);
	rig_open(&r, &c);
	run_to_mark(&r);
	snap = snapshot_of(&r);
	for (int i = 0; i < CLONES; i++) {
		mayfly_machine_options o = rig_options(&r);
		mayfly_machine *first = r.machine;

		o.memory = 0;
		o.snapshot = snap;
		rig_make(&r, &o);
		assert_int_equal(rig_run(&r, NULL), 0);
		different += !seen[r.end.status]++;
		mayfly_machine_free(r.machine);
		r.machine = first;
	}
	/* All alike by chance: once in 2^56. */
	assert_true(different > 1);
	mayfly_snapshot_unref(snap);
	rig_close(&r);
}

/* --- Manners --------------------------------------------------------------------------- */

static void many_machines_run_at_once(void **state)
{
	enum { MACHINES = 8 };
	struct rig r[MACHINES];
	pthread_t threads[MACHINES];
	struct code c = {.len = 0};

	(void)state;
	EMIT(&c, "\xfa\xf4\xeb\xfd");
	for (int i = 0; i < MACHINES; i++)
		rig_open(&r[i], &c);
	for (int i = 0; i < MACHINES; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, interrupt_soon, r[i].machine), 0);
	for (int i = 0; i < MACHINES; i++)
		assert_int_equal(rig_run(&r[i], NULL), MAYFLY_E_INTERRUPTED);
	for (int i = 0; i < MACHINES; i++) {
		pthread_join(threads[i], NULL);
		rig_close(&r[i]);
	}
}

/* In a forked child, which must end with status 0. */
static void in_child(struct rig *r, int (*deed)(struct rig *r))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(60);
		_exit(deed(r));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int free_machine(struct rig *r)
{
	mayfly_machine_free(r->machine);
	return 0;
}

static int cannot_run(struct rig *r)
{
	return rig_run(r, NULL) == MAYFLY_E_PROTOCOL ? 0 : 1;
}

/* Other ways to run are of no use any more, but freeing. */
static void child_may_free_it(void **state)
{
	struct code c = {.len = 0};
	struct rig r;

	(void)state;
	exit_with(&c, 4);
	rig_open(&r, &c);
	in_child(&r, free_machine);
	assert_ends(&r, MAYFLY_MACHINE_EXIT, 4);
	rig_close(&r);
}

static void child_cannot_run_it(void **state)
{
	struct code c = {.len = 0};
	struct rig r;

	(void)state;
	exit_with(&c, 4);
	rig_open(&r, &c);
	in_child(&r, cannot_run);
	rig_close(&r);
}

static void callers_signals_stay_as_they_are(void **state)
{
	struct code c = {.len = 0};
	sigset_t before, after;
	struct rig r;

	(void)state;
	exit_with(&c, 0);
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	rig_open(&r, &c);
	assert_ends(&r, MAYFLY_MACHINE_EXIT, 0);
	rig_close(&r);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	for (int i = 1; i < SIGRTMAX; i++)
		assert_int_equal(sigismember(&before, i), sigismember(&after, i));
}

static void options_that_make_no_sense_are_refused(void **state)
{
	static const mayfly_nic no_nic = {.user = false};
	mayfly_disk no_path = {.path = NULL};
	mayfly_machine_options o = MAYFLY_MACHINE_OPTIONS_INIT;
	mayfly_machine *m;

	(void)state;
	need_kvm();
	assert_int_equal(mayfly_machine_new(&o, &m, NULL), MAYFLY_E_INVALID);
	o.kernel = "/nowhere";
	assert_int_equal(mayfly_machine_new(&o, &m, NULL), MAYFLY_E_IO);
	o.flags = 1u << 31;
	assert_int_equal(mayfly_machine_new(&o, &m, NULL), MAYFLY_E_INVALID);
	o.flags = 0;
	o.disks = &no_path;
	o.ndisks = 1;
	assert_int_equal(mayfly_machine_new(&o, &m, NULL), MAYFLY_E_INVALID);
	o.ndisks = 0;
	o.nics = &no_nic;
	o.nnics = 1;
	assert_int_equal(mayfly_machine_new(&o, &m, NULL), MAYFLY_E_INVALID);
	o.nics = NULL;
	assert_int_equal(mayfly_machine_new(&o, &m, NULL), MAYFLY_E_INVALID);
	o.nnics = 0;
	o.console_in_plus_one = -1;
	assert_int_equal(mayfly_machine_new(&o, &m, NULL), MAYFLY_E_INVALID);
	mayfly_machine_free(NULL);
	mayfly_machine_interrupt(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exit_port_gives_the_status),
		cmocka_unit_test(triple_fault_is_a_reset),
		cmocka_unit_test(reset_that_was_asked_for_is_no_fault),
		cmocka_unit_test(halted_machine_can_be_interrupted),
		cmocka_unit_test(busy_machine_can_be_interrupted),
		cmocka_unit_test(time_limit_ends_it),
		cmocka_unit_test(failure_names_the_instruction),
		cmocka_unit_test(console_shows_what_is_written),
		cmocka_unit_test(output_that_is_lost_is_told),
		cmocka_unit_test(reader_that_has_left_is_no_loss),
		cmocka_unit_test(string_output_is_one_text),
		cmocka_unit_test(typed_bytes_reach_the_guest),
		cmocka_unit_test(virtio_registers_are_where_the_command_line_says),
		cmocka_unit_test(memory_has_the_size_it_was_given),
		cmocka_unit_test(second_cpu_can_be_started),
		cmocka_unit_test(clones_and_the_original_go_on_alike),
		cmocka_unit_test(snapshot_goes_through_a_file),
		cmocka_unit_test(snapshot_of_a_machine_has_no_functions),
		cmocka_unit_test(clones_differ_by_their_generation),
		cmocka_unit_test(many_machines_run_at_once),
		cmocka_unit_test(each_run_says_that_it_runs_on_its_callers_thread),
		cmocka_unit_test(a_machine_can_be_interrupted_as_soon_as_it_runs),
		cmocka_unit_test(child_may_free_it),
		cmocka_unit_test(child_cannot_run_it),
		cmocka_unit_test(callers_signals_stay_as_they_are),
		cmocka_unit_test(options_that_make_no_sense_are_refused),
	};

	return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hostile part of a program's snapshot that is not memory: the input is what checkpoint_save()
 * writes of threads, signals, mappings, files. A process is made of it, and where that works it
 * looks at all that it has: reads every mapping, every descriptor, waits, changes its memory; then
 * it is restored, and looks again. The image is that of the fixture's program.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "fuzz.h"
#include "linux/checkpoint.h"
#include "program_fixture.h"

#define MAX_VCPUS 4
#define DESCRIPTORS 22
#define ROOM (PROGRAM_DATA + 0x8000)

static struct tree tree;
static struct mayfly_snapshot *first;
static struct process *process;
static unsigned step;

/* --- What the program does ------------------------------------------------------------------- */

struct call {
	uint64_t number;
	uint64_t a[6];
};

/* On each descriptor. */
static const struct call on_descriptor[] = {
	{SYS_fstat, {0, ROOM}},
	{SYS_read, {0, ROOM, 4096}},
	{SYS_lseek, {0, 1, 1}},
	{SYS_getdents64, {0, ROOM, 1000}},
	{SYS_fcntl, {0, 3}},
	{SYS_write, {0, ROOM, 10}},
	{SYS_epoll_wait, {0, ROOM, 8, 0}},
	{SYS_timerfd_gettime, {0, ROOM}},
	{SYS_mmap, {0, 4096, 1, MAP_PRIVATE, 0, 0}},
	{SYS_ioctl, {0, 0x541b, ROOM}},
	{SYS_accept, {0, ROOM, ROOM + 0x800}},
	{SYS_recvfrom, {0, ROOM, 4096, 0, ROOM, ROOM + 0x800}},
	{SYS_getsockname, {0, ROOM, ROOM + 0x800}},
	{SYS_getpeername, {0, ROOM, ROOM + 0x800}},
	{SYS_sendto, {0, ROOM, 10, 0, INET_NAME, 16}},
	{SYS_shutdown, {0, 2}},
};

static const struct call once[] = {
	{SYS_getcwd, {ROOM, 4096}},
	{SYS_brk, {0}},
	{SYS_mmap, {0, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, ~0ULL, 0}},
	{SYS_sigaltstack, {0, ROOM}},
	{SYS_kill, {PROCESS_PID, 10}},
	{SYS_rt_sigreturn, {0}},
	{SYS_getrlimit, {7, ROOM}},
	{SYS_rt_sigpending, {ROOM, 8}},
	{SYS_getitimer, {0, ROOM}},
	{SYS_timer_gettime, {1, ROOM}},
	{SYS_timer_settime, {1, 0, TIMERSPEC, 0}},
	{SYS_rt_sigprocmask, {2, PROGRAM_DATA + 0x6000, 0, 8}},
	{SYS_clone, {CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, ROOM}},
	{SYS_open, {ROOM, 0}},
	{SYS_readlink, {ROOM, ROOM, 100}},
	{SYS_clock_gettime, {1, ROOM}},
	{SYS_mprotect, {PROGRAM_TEXT, 4096, PROT_READ | PROT_WRITE}},
	{SYS_munmap, {PROG_LOW_VA, PROG_VA_END - PROG_LOW_VA}},
	{SYS_close_range, {0, ~0U, 0}},
};

static struct call next_call(unsigned n)
{
	const unsigned files = DESCRIPTORS * ARRAY_SIZE(on_descriptor);
	struct call c = {.number = SYS_exit_group};

	if (n < files) {
		c = on_descriptor[n % ARRAY_SIZE(on_descriptor)];
		c.a[c.number == SYS_mmap ? 4 : 0] = n / ARRAY_SIZE(on_descriptor);
	} else if (n - files < ARRAY_SIZE(once)) {
		c = once[n - files];
	}
	return c;
}

static int program_acts(struct mock_vm *vm, void *context, struct hv_exit *exit)
{
	struct call c = next_call(step++);

	(void)context;
	CHECK((vm->regs.rip == PROG_GATE_SYSRET ? vm->regs.rcx : vm->regs.rip) < PROG_VA_END);
	CHECK(vm->control.fs_base < PROG_VA_END && vm->control.gs_base < PROG_VA_END);
	/* Whatever waits is woken. */
	pthread_mutex_lock(&process->tasks_lock);
	for (struct task *t = process->tasks; t; t = t->next)
		task_kick(t);
	pthread_mutex_unlock(&process->tasks_lock);
	vm->regs.rax = c.number;
	vm->regs.rdi = c.a[0];
	vm->regs.rsi = c.a[1];
	vm->regs.rdx = c.a[2];
	vm->regs.r10 = c.a[3];
	vm->regs.r8 = c.a[4];
	vm->regs.r9 = c.a[5];
	vm->regs.rcx = PROGRAM_TEXT + 0x802;
	vm->regs.r11 = CPU_RFLAGS_START;
	vm->regs.rip = PROG_GATE_SYSCALL + 2;
	*exit = mock_out(PROG_PORT_SYSCALL);
	return 0;
}

/* --- The snapshot ---------------------------------------------------------------------------- */

static void make_first(void)
{
	mayfly_process_options o = program_options(&tree);
	struct process *p;

	CHECK(process_new(&hv_mock, &o, &p, NULL) == 0);
	program_open_much(p);
	CHECK(checkpoint_save(p, &first, NULL) == 0);
	process_free(p);
}

/* The same memory with other state. */
static struct mayfly_snapshot *snapshot_of(const uint8_t *state, size_t len)
{
	struct mayfly_snapshot *snap = NULL;
	struct snapshot_builder b;

	CHECK(snapshot_builder_init(&b, first->guest, NULL) == 0);
	for (uint64_t page = 0; page < first->used / PAGE_SIZE; page++)
		if (bitmap_test(first->present, page))
			CHECK(snapshot_builder_put(&b, page, first->image + page * PAGE_SIZE, 1,
						   NULL) == 0);
	b.extra = malloc(len + 1);
	CHECK(b.extra);
	memcpy(b.extra, state, len);
	b.extra_len = len;
	CHECK(snapshot_builder_finish(&b, &snap, NULL) == 0);
	snapshot_builder_fini(&b);
	return snap;
}

/* --- A life ----------------------------------------------------------------------------------- */

static void check_process(struct process *p)
{
	const struct mm *mm = &p->mm;
	uint64_t last = PROG_LOW_VA;

	CHECK(atomic_load(&mm->charged) <= mm->limit && mm->peak <= mm->limit);
	for (size_t i = 0; i < mm->nareas; i++) {
		const struct area *a = &mm->areas[i];

		CHECK(a->start >= last && a->start < a->end && a->end <= PROG_VA_END);
		last = a->end;
	}
	CHECK(p->ntasks <= MAX_VCPUS);
}

/* Each mapping, and what is around it: nothing of it may hurt the host. */
static void touch_memory(struct process *p)
{
	static uint8_t page[4096];

	for (size_t i = 0; i < p->mm.nareas && i < 100; i++) {
		uint64_t start = p->mm.areas[i].start, end = p->mm.areas[i].end;

		mm_read(&p->mm, page, start, sizeof(page));
		mm_read(&p->mm, page, end - 8, 16);
		mm_write(&p->mm, start - 8, "0123456789abcdef", 16);
		mm_write(&p->mm, end - 8, "0123456789abcdef", 16);
	}
}

static void live(struct process *p)
{
	mayfly_process_end end = {.size = sizeof(end)};
	mayfly_error err;

	check_process(p);
	touch_memory(p);
	step = 0;
	if (process_run(p, 0, &end, &err) < 0)
		fuzz_check_text(err.message);
	check_process(p);
}

static void check_failure(int r, const mayfly_error *err)
{
	bool known = r == MAYFLY_E_FORMAT || r == MAYFLY_E_IO || r == MAYFLY_E_NOMEM ||
		     r == MAYFLY_E_LIMIT || r == MAYFLY_E_INVALID;

	if (!known)
		fprintf(stderr, "%d: %s\n", r, err->message);
	CHECK(known && err->code == r && err->message[0]);
	fuzz_check_text(err->message);
}

static void use(struct mayfly_snapshot *snap)
{
	mayfly_process_options o = program_options(&tree);
	mayfly_error err;
	int r;

	o.program = NULL;
	o.cwd = NULL;
	o.snapshot = snap;
	o.max_threads = MAX_VCPUS;
	o.max_files = 64;
	o.flags |= MAYFLY_PROCESS_RESTORABLE;
	r = process_new(&hv_mock, &o, &process, &err);
	if (r < 0) {
		check_failure(r, &err);
		return;
	}
	live(process);
	r = checkpoint_restore(process, (const int[3]){-1, -1, -1}, &err);
	if (r < 0)
		check_failure(r, &err);
	else
		live(process);
	process_free(process);
}

static void clean_up(void)
{
	mayfly_snapshot_unref(first);
	tree_remove(&tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mayfly_snapshot *snap;
	unsigned fds;

	mock_reset();
	mock_host()->max_vcpus = MAX_VCPUS;
	if (!first) {
		tree_make(&tree);
		atexit(clean_up);
		make_first();
		/* For the corpus: what an honest snapshot holds. */
		if (getenv("FUZZ_WRITE_SEED")) {
			FILE *file = fopen(getenv("FUZZ_WRITE_SEED"), "wb");

			CHECK(file && fwrite(first->extra, 1, first->extra_len, file) ==
					      first->extra_len);
			fclose(file);
		}
	}
	mock_drive(program_acts, NULL);
	fds = program_open_fds();
	snap = snapshot_of(data, size);
	use(snap);
	/* What the first one wrote is written ahead of the second. */
	if (size % 2)
		use(snap);
	mayfly_snapshot_unref(snap);
	CHECK(mock_live() == 0);
	CHECK(program_open_fds() == fds);
	CHECK(tree_is_sound(&tree));
	tree_reset(&tree);
	return 0;
}

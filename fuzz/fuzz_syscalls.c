/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile program at the system calls: each time the mock's vCPU runs, the next few bytes of the
 * input say what the program wrote to its memory and which call it made, or which exception it ran
 * into, with every other register. All that follows is the real thing: the task's loop, dispatch,
 * signals, threads, files in a temporary directory.
 *
 * The first byte is of OPTION_ bits; then operations follow, see program_acts(). A thread that the
 * program makes gets the input from another place on. A thread that does nothing for a while is
 * kicked, as a time limit would do.
 *
 * With FUZZ_TRACE in the environment it prints each call, to see what an input does.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "fuzz.h"
#include "linux/checkpoint.h"
#include "linux/trace.h"
#include "syscall_input.h"

#define OPTION_TRACE 1
#define OPTION_POLICY 2
#define OPTION_STATS 4
#define OPTION_RING3 8 /* as under PVM: SYSCALL stays in ring 3 */
#define OPTION_PAUSE 16
#define OPTION_AGAIN 32 /* where it paused, go on in another process, too */
#define OPTION_LIMITS 64
#define OPTION_PUBLISH 128

#define MAX_OPERATIONS 300
#define MAX_VCPUS 4
#define MAX_FILES 48
#define MAX_PAUSES 3
/* Above what the library itself needs: what has holes may be large. */
#define MAX_FILE ((rlim_t)8 << 30)
/* Without holes: the host's disk is not part of the test. */
#define MAX_ALLOCATED ((uint64_t)16 << 20)
#define KICK_AFTER_US 2000

#define NUMBER_SIGRETURN 15
#define NUMBER_EXIT 60
#define NUMBER_EXIT_GROUP 231
#define NUMBER_FALLOCATE 285
#define NO_NUMBER UINT64_MAX

struct stream {
	struct input in;
	unsigned operations;
	uint64_t number; /* of the call whose result is to come */
	uint64_t args[6];
	uint64_t out_rip; /* of the next call, if it is not by SYSCALL */
};

static const uint8_t *all;
static size_t all_len;
static struct stream streams[MAX_VCPUS];
static struct tree tree;
static volatile uint8_t sink;
static bool show;

/* Who runs, for the thread that kicks; and how many operations there were. */
static pthread_mutex_t running_lock = PTHREAD_MUTEX_INITIALIZER;
static struct process *running;
static atomic_uint operations;

/* --- The program ------------------------------------------------------------------------------ */

static struct task *task_of(struct process *p, const struct mock_vm *vm)
{
	struct task *t;

	pthread_mutex_lock(&p->tasks_lock);
	for (t = p->tasks; t->vcpu != &vm->vcpu;)
		t = t->next;
	pthread_mutex_unlock(&p->tasks_lock);
	return t;
}

/* What the program goes on with, which the host must have made sure of. */
static void check_entry(struct stream *s, struct mock_vm *vm)
{
	int64_t result = (int64_t)vm->regs.rax;
	uint64_t rip = vm->regs.rip, rflags = vm->regs.rflags;

	if (rip == PROG_GATE_SYSRET) {
		rip = vm->regs.rcx;
		rflags = vm->regs.r11;
	}
	CHECK(rip < PROG_VA_END);
	CHECK(!(rflags & ~(uint64_t)(CPU_RFLAGS_USER | CPU_RFLAGS_START)));
	CHECK(vm->control.fs_base < PROG_VA_END && vm->control.gs_base < PROG_VA_END);
	if (s->number == NO_NUMBER)
		return;
	CHECK(result >= -4095);
	CHECK(result > -ERESTARTSYS || result < -ERESTART_RESTARTBLOCK);
	s->in.last = (uint64_t)result;
	s->number = NO_NUMBER;
}

static void make_call(struct stream *s, struct mock_vm *vm, uint64_t number,
		      const uint64_t a[6], struct hv_exit *exit)
{
	vm->regs.rax = number;
	vm->regs.rdi = a[0];
	vm->regs.rsi = a[1];
	vm->regs.rdx = a[2];
	vm->regs.r10 = number == NUMBER_FALLOCATE ? a[3] % MAX_ALLOCATED : a[3];
	vm->regs.r8 = a[4];
	vm->regs.r9 = a[5];
	vm->regs.rcx = PROGRAM_TEXT + 0x802;
	vm->regs.r11 = CPU_RFLAGS_START;
	/* By the gate; or by an OUT of its own, which the host may have put there. */
	vm->regs.rip = s->out_rip ? s->out_rip : PROG_GATE_SYSCALL + 2;
	s->out_rip = 0;
	if (number == NUMBER_SIGRETURN)
		vm->regs.rsp += 8; /* the handler's RET */
	s->number = number == NUMBER_SIGRETURN ? NO_NUMBER : number;
	memcpy(s->args, a, sizeof(s->args));
	*exit = mock_out(PROG_PORT_SYSCALL);
}

static void known_call(struct stream *s, struct mock_vm *vm, struct hv_exit *exit)
{
	uint64_t number = input_take(&s->in, 2) % SYSCALL_COUNT, a[6] = {0};
	const char *kinds = syscall_args(number);

	for (int i = 0; i < 6 && kinds[i]; i++)
		a[i] = input_argument(&s->in, kinds[i]);
	make_call(s, vm, number, a, exit);
}

static void any_call(struct stream *s, struct mock_vm *vm, struct hv_exit *exit)
{
	uint64_t number = input_take(&s->in, 2), a[6];

	if (number == 0xffff)
		number = PROG_SYS_READY;
	for (int i = 0; i < 6; i++)
		a[i] = input_argument(&s->in, 0);
	make_call(s, vm, number, a, exit);
}

/* Once more, with one argument changed. */
static void same_call(struct stream *s, struct mock_vm *vm, uint64_t number,
		      struct hv_exit *exit)
{
	uint64_t which = input_take(&s->in, 1), a[6];

	memcpy(a, s->args, sizeof(a));
	a[which % 6] = input_argument(&s->in, 0);
	make_call(s, vm, number, a, exit);
}

static void poke(struct stream *s, struct process *p)
{
	uint64_t va = input_argument(&s->in, 'p');
	uint64_t len = input_take(&s->in, 1) % 33;
	uint8_t bytes[32];

	va += input_take(&s->in, 1);
	for (uint64_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)input_take(&s->in, 1);
	mm_write(&p->mm, va, bytes, len);
}

/* What a CPU pushes on the vCPU's stack of ring 0, and what its stub says then. */
static void raise_exception(struct stream *s, struct process *p, struct mock_vm *vm,
			    struct hv_exit *exit)
{
	uint64_t vector = input_take(&s->in, 1) % 34, frame[6];
	uint8_t *top = p->inst.gm.private_mem + PROG_THREADS_GPA +
		       (uint64_t)(vm->number + 1) * PAGE_SIZE;

	frame[0] = input_take(&s->in, 1);
	frame[1] = input_argument(&s->in, 'p');
	frame[2] = frame[0] & 0x80 ? 0x08 : 0x33;
	frame[3] = CPU_RFLAGS_START | (input_take(&s->in, 1) & 0xd5);
	frame[4] = input_argument(&s->in, 'b');
	frame[5] = 0x2b;
	vm->control.cr2 = input_argument(&s->in, 'p');
	memcpy(top - sizeof(frame), frame, sizeof(frame));
	*exit = mock_out((uint16_t)(PROG_PORT_EXCEPTION + vector));
}

/* How else it may leave. */
static bool other(struct stream *s, struct mock_vm *vm, struct hv_exit *exit)
{
	uint64_t what = input_take(&s->in, 1);

	switch (what) {
	case 0:
		exit->kind = HV_EXIT_MEMORY;
		return true;
	case 1:
		exit->kind = (enum hv_exit_kind)(input_take(&s->in, 1) % (HV_EXIT_UNKNOWN + 1));
		return exit->kind != HV_EXIT_KICKED && exit->kind != HV_EXIT_IO;
	case 2:
		*exit = mock_out((uint16_t)input_take(&s->in, 2));
		exit->io.out = input_take(&s->in, 1) & 1;
		return true;
	case 3:
		vm->regs.rsp = input_argument(&s->in, 0);
		return false;
	case 4:
		s->out_rip = input_argument(&s->in, 0);
		return false;
	case 5:
		s->out_rip = PROGRAM_TEXT + 0x800 + input_take(&s->in, 1) % 8;
		return false;
	default:
		vm->regs.rsp = ROOM_VA + 0x4000 + what * 8;
		return false;
	}
}

static struct stream *stream_of(const struct mock_vm *vm)
{
	struct stream *s = &streams[vm->number];

	if (vm->number && !s->in.at) {
		s->in.at = all + all_len / MAX_VCPUS * vm->number;
		s->in.left = all_len - all_len / MAX_VCPUS * vm->number;
		s->number = NO_NUMBER;
	}
	return s;
}

static int program_acts(struct mock_vm *vm, void *context, struct hv_exit *exit)
{
	struct process *p = *(struct process **)context;
	struct stream *s = stream_of(vm);

	check_entry(s, vm);
	atomic_fetch_add(&operations, 1);
	while (s->in.left && ++s->operations < MAX_OPERATIONS) {
		uint64_t operation = input_take(&s->in, 1);

		/* Whoever waits is woken at once. */
		if (operation & 0x80)
			task_kick(task_of(p, vm));
		switch (operation % 16) {
		case 0:
			poke(s, p);
			break;
		case 1:
			any_call(s, vm, exit);
			return 0;
		case 2:
			same_call(s, vm, vm->regs.rax % SYSCALL_COUNT, exit);
			return 0;
		case 3:
			raise_exception(s, p, vm, exit);
			return 0;
		case 4:
			if (other(s, vm, exit))
				return 0;
			break;
		default:
			known_call(s, vm, exit);
			return 0;
		}
	}
	make_call(s, vm, vm->number ? NUMBER_EXIT : NUMBER_EXIT_GROUP, (const uint64_t[6]){0},
		  exit);
	return 0;
}

/* --- The host --------------------------------------------------------------------------------- */

/* Only what does nothing for some milliseconds: it waits. */
static void *kick(void *context)
{
	unsigned last = 0;

	for (;;) {
		unsigned now = atomic_load(&operations);

		pthread_mutex_lock(&running_lock);
		if (running && now == last) {
			pthread_mutex_lock(&running->tasks_lock);
			for (struct task *t = running->tasks; t; t = t->next)
				task_kick(t);
			pthread_mutex_unlock(&running->tasks_lock);
		}
		pthread_mutex_unlock(&running_lock);
		last = now;
		usleep(KICK_AFTER_US);
	}
	return context;
}

static void set_running(struct process *p)
{
	pthread_mutex_lock(&running_lock);
	running = p;
	pthread_mutex_unlock(&running_lock);
}

static void touch(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sink ^= (uint8_t)text[i];
}

static void trace(void *context, const char *text, size_t len)
{
	(void)context;
	if (show)
		fwrite(text, 1, len, stderr);
	for (size_t i = 0; i < len; i++)
		CHECK(text[i] == '\n' || (text[i] >= 0x20 && text[i] <= 0x7e));
}

static void notice(void *context, const char *line)
{
	(void)context;
	fuzz_check_text(line);
}

static int ask(void *context, const mayfly_syscall *call)
{
	(void)context;
	CHECK(call->size == sizeof(*call) && call->name);
	if (call->path)
		touch(call->path, strlen(call->path));
	if (call->path2)
		touch(call->path2, strlen(call->path2));
	/* A few of them denied, one with nonsense. */
	if ((call->args[0] ^ call->number) % 29 == 3)
		return -EACCES;
	return (call->args[1] ^ call->number) % 31 == 5 ? 12345 : 0;
}

/* What a library must leave alone. */
struct surroundings {
	char cwd[256];
	mode_t mask;
	sigset_t blocked;
	int nice;
	cpu_set_t cpus;
	struct rlimit limits[RLIM_NLIMITS];
	struct sigaction actions[32];
	unsigned fds;
};

static void look_around(struct surroundings *s)
{
	memset(s, 0, sizeof(*s));
	CHECK(getcwd(s->cwd, sizeof(s->cwd)));
	s->mask = umask(0);
	umask(s->mask);
	pthread_sigmask(SIG_SETMASK, NULL, &s->blocked);
	s->nice = getpriority(PRIO_PROCESS, 0);
	sched_getaffinity(0, sizeof(s->cpus), &s->cpus);
	for (int i = 0; i < RLIM_NLIMITS; i++)
		getrlimit((__rlimit_resource_t)i, &s->limits[i]);
	for (int i = 1; i < 32; i++)
		sigaction(i, NULL, &s->actions[i]);
	s->fds = program_open_fds();
}

static void print_descriptors(void)
{
	for (int fd = 0; fd < 1024; fd++) {
		char path[32], target[256] = "";

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (readlink(path, target, sizeof(target) - 1) > 0)
			fprintf(stderr, "descriptor %d: %s\n", fd, target);
	}
}

static void check_surroundings(const struct surroundings *before)
{
	struct surroundings now;

	look_around(&now);
	CHECK(strcmp(now.cwd, before->cwd) == 0);
	CHECK(now.mask == before->mask && now.nice == before->nice);
	CHECK(CPU_EQUAL(&now.cpus, &before->cpus));
	CHECK(memcmp(now.limits, before->limits, sizeof(now.limits)) == 0);
	for (int i = 1; i < NSIG; i++)
		CHECK(sigismember(&now.blocked, i) == sigismember(&before->blocked, i));
	for (size_t i = 0; i < ARRAY_SIZE(now.actions); i++)
		CHECK(now.actions[i].sa_handler == before->actions[i].sa_handler);
	if (now.fds != before->fds)
		print_descriptors();
	CHECK(now.fds == before->fds);
}

static void check_memory(struct process *p)
{
	static uint8_t data[PROGRAM_DATA_SIZE];

	uint64_t memory = ((struct program_guest *)p->guest)->memory;

	/* It may have lowered the limit itself since. */
	CHECK(atomic_load(&p->mm.charged) <= memory && p->mm.peak <= memory);
	CHECK(p->mm.nareas <= MM_MAX_AREAS);
	CHECK(p->files.open <= MAX_FILES);
	/* Nothing of what is outside of the grants came in. */
	if (mm_read(&p->mm, data, PROGRAM_DATA, sizeof(data)) == 0)
		CHECK(!memmem(data, sizeof(data), TREE_SECRET, strlen(TREE_SECRET)));
}

/* --- A life ----------------------------------------------------------------------------------- */

static void run(struct process *p, uint8_t options, struct mayfly_snapshot **snap)
{
	mayfly_process_end end = {.size = sizeof(end)};
	uint32_t pause = options & OPTION_PAUSE ? MAYFLY_PAUSE_STDIN | MAYFLY_PAUSE_READY : 0;
	mayfly_error err = {.code = 0};

	for (int i = 0; i <= MAX_PAUSES; i++) {
		int r;

		set_running(p);
		r = process_run(p, i < MAX_PAUSES ? pause : 0, &end, &err);
		set_running(NULL);
		if (r < 0) {
			CHECK(err.code == r && err.message[0]);
			fuzz_check_text(err.message);
			return;
		}
		CHECK(end.end != MAYFLY_END_SIGNAL ||
		      (end.status > 0 && end.status <= SIG_COUNT));
		if (end.end != MAYFLY_END_PAUSE)
			return;
		if (*snap)
			continue;
		r = checkpoint_save(p, snap, &err);
		CHECK(r == 0 || r == MAYFLY_E_INVALID || r == MAYFLY_E_NOMEM);
		if (r < 0)
			fuzz_check_text(err.message);
	}
}

static void prepare(mayfly_process_options *o, uint8_t options)
{
	static const mayfly_publish publish = {NULL, 0, 4000};

	o->flags |= show || (options & OPTION_TRACE) ? MAYFLY_PROCESS_TRACE : 0;
	o->flags |= options & OPTION_STATS ? MAYFLY_PROCESS_STATS : 0;
	o->trace_write = trace;
	o->policy = options & OPTION_POLICY ? ask : NULL;
	o->notice = notice;
	o->max_threads = MAX_VCPUS;
	o->max_files = MAX_FILES;
	if (options & OPTION_LIMITS) {
		o->max_output = 100;
		o->max_files = 8;
		o->memory = (uint64_t)4 << 20;
		o->cpu_time_ns = 1000000000;
	}
	if (options & OPTION_PUBLISH) {
		o->publish = &publish;
		o->npublish = 1;
	}
}

/* From where it paused on, with what is left of the input; and that again. */
static void run_again(struct mayfly_snapshot *snap, const mayfly_process_options *first,
		      struct process **current)
{
	mayfly_process_options o = *first;
	struct mayfly_snapshot *none = NULL;
	mayfly_error err = {.code = 0};
	struct process *p = NULL;
	int r;

	o.program = NULL;
	o.cwd = NULL;
	o.snapshot = snap;
	o.flags |= MAYFLY_PROCESS_RESTORABLE;
	r = process_new(&hv_mock, &o, &p, &err);
	/* Files may have changed since; what it had open may be more than it may have. */
	if (r < 0) {
		if (r != MAYFLY_E_IO && r != MAYFLY_E_NOMEM && r != MAYFLY_E_LIMIT)
			fprintf(stderr, "%d: %s\n", r, err.message);
		CHECK(r == MAYFLY_E_IO || r == MAYFLY_E_NOMEM || r == MAYFLY_E_LIMIT);
		fuzz_check_text(err.message);
		return;
	}
	*current = p;
	run(p, 0, &none);
	check_memory(p);
	r = checkpoint_restore(p, (const int[3]){-1, -1, -1}, &err);
	if (r == 0)
		run(p, 0, &none);
	process_free(p);
}

static void live(uint8_t options, const int fds[3])
{
	mayfly_process_options o = program_options(&tree);
	struct mayfly_snapshot *snap = NULL;
	struct process *p = NULL;
	mayfly_error err;

	prepare(&o, options);
	o.streams = true;
	o.stdin_fd = fds[0];
	o.stdout_fd = fds[1];
	o.stderr_fd = fds[2];
	mock_drive(program_acts, &p);
	if (process_new(&hv_mock, &o, &p, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		abort();
	}
	input_plant(&p->mm);
	run(p, options, &snap);
	check_memory(p);
	if (options & OPTION_STATS)
		trace_report(p->trace, trace, NULL);
	process_free(p);
	/* The first one tells the snapshot what is written, for the next. */
	for (int i = 0; i < 2 && snap && (options & OPTION_AGAIN); i++)
		run_again(snap, &o, &p);
	mayfly_snapshot_unref(snap);
}

static void first_time(void)
{
	struct rlimit small = {MAX_FILE, MAX_FILE};
	pthread_t thread;
	sigset_t everything, old;

	show = getenv("FUZZ_TRACE");
	tree_make(&tree);
	CHECK(tree_is_sound(&tree));
	setrlimit(RLIMIT_FSIZE, &small);
	sigfillset(&everything);
	pthread_sigmask(SIG_SETMASK, &everything, &old);
	CHECK(pthread_create(&thread, NULL, kick, NULL) == 0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_detach(thread);
}

static void remove_tree(void)
{
	tree_remove(&tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct surroundings before;
	static bool warming_up;
	int fds[3], in[2];

	if (!tree.root[0]) {
		first_time();
		atexit(remove_tree);
		/* Once around, so that what is made at first use is there. */
		warming_up = true;
		LLVMFuzzerTestOneInput((const uint8_t *)"\xff", 1);
		warming_up = false;
	}
	if (!size)
		return 0;
	look_around(&before);
	mock_reset();
	mock_host()->max_vcpus = MAX_VCPUS;
	mock_host()->ring0_native = !(data[0] & OPTION_RING3);
	memset(streams, 0, sizeof(streams));
	for (int i = 0; i < MAX_VCPUS; i++)
		streams[i].number = NO_NUMBER;
	all = data + 1;
	all_len = size - 1;
	streams[0].in = (struct input){.at = all, .left = all_len};
	CHECK(pipe2(in, O_CLOEXEC) == 0 && write(in[1], "some input\n", 11) == 11);
	close(in[1]);
	fds[0] = in[0];
	fds[1] = memfd_create("output", MFD_CLOEXEC);
	fds[2] = -1;
	live(data[0], fds);
	close(fds[0]);
	close(fds[1]);
	CHECK(mock_live() == 0);
	CHECK(tree_is_sound(&tree));
	tree_reset(&tree);
	if (!warming_up)
		check_surroundings(&before);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A task: the loop around its vCPU, waiting, and being kicked out of either. */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "linux/guest.h"
#include "linux/mm_areas.h"
#include "linux/task.h"
#include "linux/times.h"
#include "linux/trace.h"

/* Descriptors that poll(2) is given without allocating. */
#define FEW_FDS 16
/* A page fault at the same instruction and address so often in a row is no progress. */
#define MAX_SAME_FAULT 4096

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
#ifndef FUTEX_32
#define FUTEX_32 2
#endif
/* The kernel's struct futex_waitv (include/uapi/linux/futex.h, Linux 5.16). */
struct futex_word {
	uint64_t value;
	uint64_t address;
	uint32_t flags;
	uint32_t reserved;
};

/* --- Being kicked -------------------------------------------------------------------------- */

/*
 * `kicked` says that there is something to look at. A task in a wait is woken by its eventfd, or
 * by `kicked` itself, which is a futex word; one in the VM by hv_vcpu_kick(). The task sets
 * in_guest before it looks at `kicked` for the last time, the other looks at in_guest after it has
 * set `kicked`: one of the two sees the other.
 */
void task_kick(struct task *t)
{
	uint64_t one = 1;

	if (atomic_exchange(&t->kicked, 1))
		return;
	if (atomic_load(&t->in_guest))
		hv_vcpu_kick(t->vcpu);
	/* Cannot fail: the counter is 0 or 1. */
	if (write(t->kick_fd, &one, sizeof(one)) < 0)
		return;
	syscall(SYS_futex, &t->kicked, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void drain_kicks(struct task *t)
{
	uint64_t count;

	/* EAGAIN: there are none. */
	if (read(t->kick_fd, &count, sizeof(count)) < 0)
		return;
}

/*
 * What there is to look at is looked at from here on. The other thread may still be on its way
 * from setting `kicked` to the rest: what of it comes late is taken where it is noticed, in
 * task_poll() and after_kick().
 */
static void take_kick(struct task *t)
{
	if (!atomic_load(&t->kicked))
		return;
	hv_vcpu_unkick(t->vcpu);
	drain_kicks(t);
	atomic_store(&t->kicked, 0);
}

/* --- Waiting ------------------------------------------------------------------------------ */

bool deadline_after(const struct timespec *relative, struct timespec *deadline)
{
	if (!time_is_valid(relative))
		return false;
	clock_gettime(CLOCK_MONOTONIC, deadline);
	deadline->tv_nsec += relative->tv_nsec;
	if (__builtin_add_overflow(deadline->tv_sec, relative->tv_sec, &deadline->tv_sec))
		deadline->tv_sec = INT64_MAX - 1;
	if (deadline->tv_nsec >= (long)NSEC_PER_SEC) {
		deadline->tv_nsec -= (long)NSEC_PER_SEC;
		if (deadline->tv_sec < INT64_MAX - 1)
			deadline->tv_sec++;
	}
	return true;
}

struct timespec deadline_left(const struct timespec *deadline)
{
	struct timespec now, left;

	clock_gettime(CLOCK_MONOTONIC, &now);
	left.tv_sec = deadline->tv_sec - now.tv_sec;
	left.tv_nsec = deadline->tv_nsec - now.tv_nsec;
	if (left.tv_nsec < 0) {
		left.tv_nsec += (long)NSEC_PER_SEC;
		left.tv_sec--;
	}
	if (left.tv_sec < 0)
		left = (struct timespec){0, 0};
	return left;
}

/* Until one of all[n] is ready, or all[n], which is what a kick writes to: -EINTR. */
static int poll_all(struct task *t, struct pollfd *all, nfds_t n,
		    const struct timespec *deadline)
{
	for (;;) {
		struct timespec left;
		int r;

		if (deadline)
			left = deadline_left(deadline);
		if (atomic_load(&t->kicked))
			return -EINTR;
		r = ppoll(all, n + 1, deadline ? &left : NULL, NULL);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (!all[n].revents)
			return r;
		if (--r > 0)
			return r;
		if (atomic_load(&t->kicked))
			return -EINTR;
		drain_kicks(t); /* of a kick that was taken before */
	}
}

int task_poll(struct task *t, struct pollfd *fds, nfds_t n, const struct timespec *deadline)
{
	_cleanup_free_ struct pollfd *many = n > FEW_FDS ? calloc(n + 1, sizeof(*many)) : NULL;
	struct pollfd few[FEW_FDS + 1], *all = n > FEW_FDS ? many : few;
	int r;

	if (!all)
		return -ENOMEM;
	if (n)
		memcpy(all, fds, n * sizeof(*fds));
	all[n] = (struct pollfd){.fd = t->kick_fd, .events = POLLIN};
	/* Before ppoll(2) looks up what the descriptors are: see tasks_look_again(). */
	if (n)
		atomic_store(&t->waits_for, n == 1 ? (unsigned)fds[0].fd + 1 : UINT_MAX);
	r = poll_all(t, all, n, deadline);
	if (n)
		atomic_store(&t->waits_for, 0);
	if (n && r >= 0)
		memcpy(fds, all, n * sizeof(*fds));
	return r;
}

void tasks_look_again(struct process *p, int fd)
{
	pthread_mutex_lock(&p->tasks_lock);
	for (struct task *t = p->tasks; t; t = t->next) {
		unsigned waits_for = atomic_load(&t->waits_for);

		if (waits_for == (unsigned)fd + 1 || waits_for == UINT_MAX)
			task_kick(t);
	}
	pthread_mutex_unlock(&p->tasks_lock);
}

int task_wait_fd(struct task *t, int fd, short events, const struct timespec *deadline)
{
	struct pollfd one = {.fd = fd, .events = events};

	return task_poll(t, &one, 1, deadline);
}

int task_sleep(struct task *t, const struct timespec *deadline)
{
	return task_poll(t, NULL, 0, deadline);
}

int task_pause(struct task *t, uint64_t ns)
{
	struct timespec end = clock_timespec(clock_now() + ns);

	return task_sleep(t, &end);
}

int task_pause_longer(struct task *t, uint64_t *ns, uint64_t last)
{
	uint64_t now = *ns;

	if (now < last)
		*ns *= 2;
	return task_pause(t, now);
}

int task_wait_futex(struct task *t, const uint32_t *word, uint32_t value, clockid_t clock,
		    const struct timespec *deadline)
{
	struct futex_word words[2] = {
		{.value = value,
		 .address = (uint64_t)(uintptr_t)word,
		 .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG},
		{.value = 0,
		 .address = (uint64_t)(uintptr_t)&t->kicked,
		 .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG},
	};

	for (;;) {
		long r;

		if (atomic_load(&t->kicked))
			return -EINTR;
		r = syscall(SYS_futex_waitv, words, 2, 0, deadline, clock);
		if (r == 0)
			return 0;
		if (r > 0)
			return -EINTR;
		if (errno == EINTR)
			continue; /* a signal of the host's */
		if (errno == EAGAIN && atomic_load(&t->kicked))
			return -EINTR;
		return -errno;
	}
}

/* --- Exceptions --------------------------------------------------------------------------- */

/* x87 status and MXCSR exception flags: invalid, denormal, zero divide, overflow, underflow,
 * precision (SDM vol. 1, 8.1.3, 10.2.3); as the kernel's fpu__exception_code(). */
static int fpu_code(uint32_t raised)
{
	if (raised & 0x01)
		return FPE_FLTINV;
	if (raised & 0x04)
		return FPE_FLTDIV;
	if (raised & 0x08)
		return FPE_FLTOVF;
	if (raised & 0x12)
		return FPE_FLTUND;
	if (raised & 0x20)
		return FPE_FLTRES;
	return FPE_FLTINV;
}

static int float_code(struct task *t, uint32_t vector)
{
	uint32_t control, status;
	uint8_t *xsave = aligned_alloc(64, CPU_XSAVE_BUFFER);
	uint16_t cw, sw;
	int code = FPE_FLTINV;

	if (xsave && hv_vcpu_get_xsave(t->vcpu, xsave, NULL) == 0) {
		/* The legacy region (SDM vol. 1, table 13-1). */
		memcpy(&cw, xsave, 2);
		memcpy(&sw, xsave + 2, 2);
		memcpy(&control, xsave + 24, 4);
		status = vector == 19 ? control & ~(control >> 7) : sw & ~(uint32_t)cw;
		code = fpu_code(status & 0x3f);
	}
	free(xsave);
	return code;
}

/* What Linux sends for a vector other than a page fault (arch/x86/kernel/traps.c). */
static void signal_of(struct task *t, uint32_t vector, struct guest_siginfo *info)
{
	info->code = SI_KERNEL;
	switch (vector) {
	case CPU_DIVIDE:
		info->signo = SIGFPE;
		info->code = FPE_INTDIV;
		info->fault.address = t->regs.rip;
		return;
	case CPU_DEBUG:
		info->signo = SIGTRAP;
		info->code = TRAP_TRACE;
		info->fault.address = t->regs.rip;
		return;
	case CPU_BREAKPOINT:
		info->signo = SIGTRAP;
		return;
	case CPU_INVALID_OPCODE:
		info->signo = SIGILL;
		info->code = ILL_ILLOPN;
		info->fault.address = t->regs.rip;
		return;
	case CPU_STACK_SEGMENT:
		info->signo = SIGBUS;
		return;
	case CPU_ALIGNMENT:
		info->signo = SIGBUS;
		info->code = BUS_ADRALN;
		return;
	case 16: /* x87 */
	case 19: /* SIMD */
		info->signo = SIGFPE;
		info->code = float_code(t, vector);
		info->fault.address = t->regs.rip;
		return;
	default:
		info->signo = SIGSEGV;
	}
}

static void page_fault(struct task *t, uint64_t va, uint32_t error_code)
{
	struct guest_siginfo info = {.fault.address = va};

	if (t->fault_va == va && t->fault_rip == t->regs.rip)
		t->same_faults++;
	else
		t->same_faults = 0;
	t->fault_va = va;
	t->fault_rip = t->regs.rip;
	if (mm_fault(&t->process->mm, va, error_code, &info.signo, &info.code)) {
		if (t->same_faults < MAX_SAME_FAULT)
			return;
		process_kill(t->process, SIGSEGV,
			     "the access to 0x%llx at 0x%llx faults again and again",
			     (unsigned long long)va, (unsigned long long)t->regs.rip);
		return;
	}
	if (info.signo == SIGKILL) {
		process_kill(t->process, SIGKILL,
			     "out of memory: it may have %llu MiB (--memory)",
			     (unsigned long long)(t->process->mm.limit >> 20));
		return;
	}
	t->sig.trap_number = CPU_PAGE_FAULT;
	t->sig.trap_error = error_code;
	t->sig.trap_cr2 = va;
	signal_force(t, &info);
}

/*
 * What the CPU pushed: at the top of ring 0's stack of this vCPU, which ring 3 cannot reach.
 * False: the exception was not raised by ring 3.
 */
static bool read_frame(struct task *t, uint32_t vector, uint64_t *error_code)
{
	struct {
		uint64_t rip, cs, rflags, rsp, ss;
	} frame;
	const uint8_t *top = t->process->inst.gm.private_mem + PROG_THREADS_GPA +
			     ((uint64_t)t->vcpu_number + 1) * PAGE_SIZE;

	memcpy(&frame, top - sizeof(frame), sizeof(frame));
	*error_code = 0;
	if (cpu_vector_has_error_code(vector))
		memcpy(error_code, top - sizeof(frame) - sizeof(*error_code),
		       sizeof(*error_code));
	if ((frame.cs & 3) != 3)
		return false;
	t->regs.rip = frame.rip;
	t->regs.rsp = frame.rsp;
	t->regs.rflags = frame.rflags;
	return true;
}

/* Gives false if the hypervisor failed. */
static bool handle_exception(struct task *t, uint32_t vector, mayfly_error *err)
{
	struct guest_siginfo info = {.signo = 0};
	struct cpu_control control;
	uint64_t error_code;

	t->syscall = TASK_NO_SYSCALL;
	t->in_ring0 = true;
	t->regs_changed = true;
	if (!read_frame(t, vector, &error_code)) {
		process_kill(t->process, SIGSEGV, "an exception (%s) in ring 0, at 0x%llx",
			     cpu_vector_name(vector), (unsigned long long)t->regs.rip);
		return true;
	}
	if (vector == CPU_PAGE_FAULT) {
		if (hv_vcpu_get_control(t->vcpu, &control, err) < 0)
			return false;
		page_fault(t, control.cr2, (uint32_t)error_code);
		return true;
	}
	if (vector == CPU_BREAKPOINT && process_at_main(t))
		return true;
	t->sig.trap_number = vector;
	t->sig.trap_error = error_code;
	signal_of(t, vector, &info);
	signal_force(t, &info);
	return true;
}

/* --- Shorter ways out ---------------------------------------------------------------------- */

/*
 * Under PVM, SYSCALL goes by way of the hypervisor before the gate's OUT does so again: a third
 * more than OUT alone. The two differ in one byte, so a SYSCALL that is executed often becomes the
 * OUT, whatever other threads execute meanwhile. Only in code that the program cannot write:
 * whatever makes code at run time may look at it, too.
 */
#define PATCH_AFTER 16

static void count_site(struct task *t, uint64_t va)
{
	static const uint8_t syscall_insn[] = {0x0f, 0x05};
	static const uint8_t out_opcode = 0xe6;
	struct process *p = t->process;
	struct syscall_site *site = &p->sites[(va ^ va >> 8) % ARRAY_SIZE(p->sites)];

	_Static_assert(PROG_PORT_SYSCALL == 0x05, "it is SYSCALL's second byte");
	/* Threads may disturb each other here: then it counts a little longer. */
	if (__atomic_load_n(&site->va, __ATOMIC_RELAXED) != va) {
		__atomic_store_n(&site->va, va, __ATOMIC_RELAXED);
		__atomic_store_n(&site->count, 0, __ATOMIC_RELAXED);
		return;
	}
	if (__atomic_add_fetch(&site->count, 1, __ATOMIC_RELAXED) == PATCH_AFTER)
		mm_poke(&p->mm, va, syscall_insn, sizeof(syscall_insn), out_opcode);
}

/*
 * The program's own OUT, such as count_site() makes: is RIP behind it already? On SVM it is not,
 * and there snapshots of PVM's may have brought it.
 */
static void skip_out(struct task *t)
{
	uint8_t insn[2];

	if (t->process->syscall_ring0 &&
	    mm_read(&t->process->mm, insn, t->regs.rip, sizeof(insn)) == 0 && insn[0] == 0xe6 &&
	    insn[1] == PROG_PORT_SYSCALL)
		t->regs.rip += 2;
}

/* --- The loop ----------------------------------------------------------------------------- */

static void handle_syscall(struct task *t)
{
	if (t->regs.rip - PROG_GATE_SYSCALL <= 2) {
		/* SYSCALL put them there (SDM vol. 2). */
		t->regs.rip = t->regs.rcx;
		t->regs.rflags = (t->regs.r11 & CPU_RFLAGS_USER) | CPU_RFLAGS_START;
		t->in_ring0 = t->process->syscall_ring0;
		/* A restore would undo it each time. */
		if (!t->process->syscall_ring0 && !t->process->restorable)
			count_site(t, t->regs.rip - 2);
	} else {
		skip_out(t);
		t->regs.rcx = t->regs.rip;
		t->regs.r11 = t->regs.rflags;
	}
	/* Sets t->syscall; rt_sigreturn(2) takes it back: its result is rax, whatever that is. */
	t->result = syscall_dispatch(t);
}

/* Whatever it left for. False: the hypervisor failed, *err says how. */
static bool handle_exit(struct task *t, const struct hv_exit *exit, mayfly_error *err)
{
	t->syscall = TASK_NO_SYSCALL;
	if (t->not_entered) {
		t->not_entered = false;
		return true;
	}
	if (exit->kind != HV_EXIT_KICKED)
		t->in_ring0 = false;
	switch (exit->kind) {
	case HV_EXIT_IO:
		if (exit->io.port == PROG_PORT_SYSCALL && exit->io.out) {
			handle_syscall(t);
			return true;
		}
		if (exit->io.out && exit->io.port >= PROG_PORT_EXCEPTION &&
		    exit->io.port < PROG_PORT_EXCEPTION + CPU_VECTORS)
			return handle_exception(t, exit->io.port - PROG_PORT_EXCEPTION, err);
		process_kill(t->process, SIGSEGV, "it used port 0x%x", exit->io.port);
		return true;
	case HV_EXIT_KICKED:
		return true;
	case HV_EXIT_MEMORY:
		if (!mm_revoke_unbacked(&t->process->mm) || ++t->same_faults > MAX_SAME_FAULT)
			process_kill(t->process, SIGBUS,
				     "memory that the host could not provide, at 0x%llx",
				     (unsigned long long)t->regs.rip);
		return true;
	case HV_EXIT_SHUTDOWN:
		process_kill(t->process, SIGSEGV, "a triple fault at 0x%llx",
			     (unsigned long long)t->regs.rip);
		return true;
	case HV_EXIT_INTERNAL:
		(void)fail(
			err, MAYFLY_E_HYPERVISOR,
			"KVM cannot go on at 0x%llx (internal error %u, an instruction that it "
			"cannot emulate?)",
			(unsigned long long)t->regs.rip, exit->internal.suberror);
		return false;
	case HV_EXIT_MMIO:
	case HV_EXIT_HALT:
	case HV_EXIT_UNKNOWN:
		break;
	}
	(void)fail(err, MAYFLY_E_HYPERVISOR,
		   "an exit of kind %d that no program can cause, at 0x%llx", (int)exit->kind,
		   (unsigned long long)t->regs.rip);
	return false;
}

/* Registers for the next entry. */
static int load_regs(struct task *t, mayfly_error *err)
{
	struct cpu_regs regs = t->regs;
	struct cpu_setup setup;
	struct cpu_control control;
	int r;

	if (t->in_ring0 && !t->regs_changed) {
		/* SYSRET takes them from there; rip was the guest's own, so it is canonical. */
		regs.rcx = regs.rip;
		regs.r11 = regs.rflags;
		regs.rip = PROG_GATE_SYSRET;
	} else if (t->in_ring0) {
		r = hv_vcpu_get_control(t->vcpu, &control, err);
		if (r < 0)
			return r;
		setup = program_cpu_setup(t->process->guest, t->vcpu_number, t->process->host);
		setup.fs_base = control.fs_base;
		setup.gs_base = control.gs_base;
		r = hv_vcpu_set_ring3(t->vcpu, &setup, err);
		if (r < 0)
			return r;
	}
	hv_vcpu_set_regs(t->vcpu, &regs);
	t->in_ring0 = false;
	t->regs_changed = false;
	return 0;
}

/*
 * Ring 0 must not be made to return there (SDM vol. 2, SYSRET): the signal that the CPU's fetch
 * would cause, a page fault or, of an address that is not canonical, a general protection fault.
 */
static void refuse_rip(struct task *t)
{
	bool canonical = t->regs.rip < (uint64_t)1 << 47 || t->regs.rip >> 47 == 0x1ffff;
	struct guest_siginfo info = {.signo = SIGSEGV, .code = SI_KERNEL, .fault.address = 0};

	t->sig.trap_number = CPU_PROTECTION;
	t->sig.trap_error = 0;
	if (canonical) {
		info.code = SEGV_MAPERR;
		info.fault.address = t->regs.rip;
		t->sig.trap_number = CPU_PAGE_FAULT;
		t->sig.trap_error = 0x14; /* ring 3, a fetch (SDM vol. 3, 4.7) */
		t->sig.trap_cr2 = t->regs.rip;
	}
	t->regs.rip = 0;
	signal_force(t, &info);
}

/* Signals, restarts, the result: everything between a system call or exception and the entry. */
static void settle(struct task *t)
{
	bool called = t->syscall != TASK_NO_SYSCALL;
	bool restart =
		called && t->result <= -ERESTARTSYS && t->result >= -ERESTART_RESTARTBLOCK;
	int64_t result = t->result;

	if (restart || (!t->call_over && signal_deliverable(t)))
		result = signal_deliver(t, result);
	if (called)
		t->regs.rax = (uint64_t)result;
	t->syscall = TASK_NO_SYSCALL;
	if (t->regs.rip >= PROG_VA_END)
		refuse_rip(t);
}

static bool is_in(uint64_t va, uint64_t start, uint64_t len)
{
	return va - start < len;
}

/*
 * Where a kick found it, which may be on the way between ring 3 and the host: in the stub of an
 * exception, or before the gate's OUT. Then what it was about to say is heard first; it takes one
 * instruction. Before SYSRET it is as good as not entered.
 */
static int after_kick(struct task *t, struct hv_exit *exit, mayfly_error *err)
{
	int r = hv_vcpu_get_regs(t->vcpu, &t->regs, err);

	/* take_kick() has no reason to, if this came late. */
	hv_vcpu_unkick(t->vcpu);
	if (r < 0)
		return r;
	if (t->regs.rip == PROG_GATE_SYSRET) {
		t->regs.rip = t->regs.rcx;
		t->regs.rflags = (t->regs.r11 & CPU_RFLAGS_USER) | CPU_RFLAGS_START;
		t->in_ring0 = t->process->syscall_ring0;
		return 0;
	}
	if (t->regs.rip != PROG_GATE_SYSCALL &&
	    !is_in(t->regs.rip, PROG_SUPERVISOR_VA, PAGE_SIZE))
		return 0;
	r = hv_vcpu_run(t->vcpu, exit, err);
	return r < 0 ? r : hv_vcpu_get_regs(t->vcpu, &t->regs, err);
}

static int enter(struct task *t, struct hv_exit *exit, mayfly_error *err)
{
	bool in_ring0 = t->in_ring0, regs_changed = t->regs_changed;
	int r = load_regs(t, err);

	if (r < 0)
		return r;
	atomic_store(&t->in_guest, true);
	if (atomic_load(&t->kicked)) {
		atomic_store(&t->in_guest, false);
		t->in_ring0 = in_ring0;
		t->regs_changed = regs_changed;
		t->same_faults = 0;
		exit->kind = HV_EXIT_KICKED;
		t->not_entered = true;
		return 0;
	}
	r = hv_vcpu_run(t->vcpu, exit, err);
	atomic_store(&t->in_guest, false);
	if (r < 0)
		return r;
	if (exit->kind == HV_EXIT_KICKED)
		return after_kick(t, exit, err);
	return hv_vcpu_get_regs(t->vcpu, &t->regs, err);
}

void task_run(struct task *t)
{
	struct process *p = t->process;
	mayfly_error err;

	t->call_over = false;
	task_cpu_attach(t);
	while (!t->exiting) {
		struct hv_exit exit;

		take_kick(t);
		settle(t);
		if (atomic_load(&p->stopping))
			break;
		if (enter(t, &exit, &err) < 0 || !handle_exit(t, &exit, &err)) {
			process_fail(p, &err);
			break;
		}
	}
	task_cpu_detach(t);
}

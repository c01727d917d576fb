/* SPDX-License-Identifier: Apache-2.0 */
/* Signals of program guests, with a vCPU that has nothing but vector state. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#undef fail /* core/error.h has its own */

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "hv/hv.h"
#include "linux/process.h"
#include "linux_fixture.h"

#define CODE 0x401000u
#define HANDLER 0x402000u
#define RESTORER 0x403000u
#define STACK (FAKE_VA + 0x80000)
#define ALT_STACK (FAKE_VA + 0xc0000)
#define ALT_SIZE 0x4000u
#define ARGUMENTS 0x1000u /* offset in the memory: what calls are given */
#define RESULTS 0x2000u

/* --- A vCPU of vector state --------------------------------------------------------------- */

struct fake_vcpu {
	struct hv_vcpu base;
	uint8_t xsave[CPU_XSAVE_BUFFER];
	int refused; /* the next states are */
};

static int get_xsave(struct hv_vcpu *vcpu, void *buffer, mayfly_error *err)
{
	(void)err;
	memcpy(buffer, ((struct fake_vcpu *)vcpu)->xsave, CPU_XSAVE_BUFFER);
	return 0;
}

static int set_xsave(struct hv_vcpu *vcpu, const void *buffer, mayfly_error *err)
{
	struct fake_vcpu *v = (struct fake_vcpu *)vcpu;

	(void)err;
	if (v->refused)
		return MAYFLY_E_INVALID;
	memcpy(v->xsave, buffer, CPU_XSAVE_BUFFER);
	return 0;
}

static const struct hv_backend fake_backend = {
	.name = "fake",
	.vcpu_get_xsave = get_xsave,
	.vcpu_set_xsave = set_xsave,
};
static const struct hv_host fake_host = {.kind = "fake", .xsave = true, .xcr0 = 3};

struct fixture {
	struct process *p;
	struct task *t;
	struct fake_vcpu vcpu;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->vcpu.base.ops = &fake_backend;
	/* FCW, MXCSR, XSTATE_BV, and something in XMM0. */
	f->vcpu.xsave[0] = 0x7f;
	f->vcpu.xsave[1] = 0x03;
	f->vcpu.xsave[24] = 0x80;
	f->vcpu.xsave[25] = 0x1f;
	f->vcpu.xsave[160] = 0xab;
	f->vcpu.xsave[512] = 3;
	f->p = fake_process_new();
	f->p->state = PROCESS_RUNNING;
	f->p->host = &fake_host;
	f->t = f->p->tasks;
	f->t->main = true;
	f->t->vcpu = &f->vcpu.base;
	f->t->regs.rip = CODE;
	f->t->regs.rsp = STACK;
	f->t->regs.rflags = 0x202;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (struct task *t = f->p->tasks; t; t = t->next)
		signals_task_fini(t);
	signals_fini(f->p);
	pthread_mutex_init(&f->p->sig.lock, NULL); /* the fixture destroys it, too */
	fake_process_free(f->p);
	free(f);
	return 0;
}

/* --- Shorthands --------------------------------------------------------------------------- */

static struct guest_siginfo user_info(int signo)
{
	return (struct guest_siginfo){
		.signo = signo, .code = SI_USER, .rt = {.pid = 77, .uid = 88}};
}

static int send_process(struct fixture *f, int signo)
{
	struct guest_siginfo info = user_info(signo);

	return signal_send(f->p, NULL, &info);
}

static int send_task(struct fixture *f, struct task *t, int signo)
{
	struct guest_siginfo info = user_info(signo);

	return signal_send(f->p, t, &info);
}

static void handle(struct fixture *f, int signo, uint64_t flags, uint64_t mask)
{
	struct guest_sigaction action = {
		.handler = HANDLER,
		.flags = flags | GUEST_SA_RESTORER,
		.restorer = RESTORER,
		.mask = mask,
	};

	assert_int_equal(signal_set_action(f->p, signo, &action, NULL), 0);
}

static void set_handler(struct fixture *f, int signo, uint64_t handler)
{
	struct guest_sigaction action = {.handler = handler};

	assert_int_equal(signal_set_action(f->p, signo, &action, NULL), 0);
}

static int take(struct fixture *f)
{
	struct guest_siginfo info;

	return signal_take(f->t, ~(uint64_t)0, &info) ? info.signo : 0;
}

static bool pending(struct fixture *f, int signo)
{
	return signal_pending_set(f->t) & SIG_BIT(signo);
}

static uint32_t queued(struct fixture *f)
{
	uint32_t n;

	pthread_mutex_lock(&f->p->sig.lock);
	n = f->p->sig.queued;
	pthread_mutex_unlock(&f->p->sig.lock);
	return n;
}

/* The top of the guest's stack as glibc's types, which are not ours. */
static const ucontext_t *context_of(struct fixture *f)
{
	return fake_memory(f->p, f->t->regs.rdx - FAKE_VA);
}

static const siginfo_t *siginfo_of(struct fixture *f)
{
	return fake_memory(f->p, f->t->regs.rsi - FAKE_VA);
}

static int64_t call1(struct fixture *f, syscall_fn *fn, uint64_t a0, uint64_t a1, uint64_t a2,
		     uint64_t a3)
{
	const uint64_t a[6] = {a0, a1, a2, a3};

	return fn(f->t, a);
}

/* A call that was interrupted with `result`. Gives rax afterwards. */
static int64_t finish_call(struct fixture *f, uint64_t number, int64_t result)
{
	f->t->syscall = number;
	result = signal_deliver(f->t, result);
	f->t->syscall = UINT64_MAX;
	f->t->regs.rax = (uint64_t)result;
	return result;
}

/* As a handler's RET has it. */
static int64_t return_from(struct fixture *f)
{
	f->t->regs.rsp += 8;
	return call1(f, sys_rt_sigreturn, 0, 0, 0, 0);
}

/* --- Queues ------------------------------------------------------------------------------- */

static void a_standard_signal_waits_once(void **state)
{
	struct fixture *f = *state;

	f->t->sig.mask = SIG_BIT(SIGUSR1);
	assert_int_equal(send_process(f, SIGUSR1), 0);
	assert_int_equal(send_process(f, SIGUSR1), 0);
	assert_int_equal(take(f), SIGUSR1);
	assert_int_equal(take(f), 0);
}

static void realtime_signals_queue_in_order(void **state)
{
	struct fixture *f = *state;
	struct guest_siginfo info = {.signo = 40, .code = SI_QUEUE};

	f->t->sig.mask = ~(uint64_t)0;
	for (uint64_t i = 0; i < 3; i++) {
		info.rt.value = i;
		assert_int_equal(signal_send(f->p, NULL, &info), 0);
	}
	for (uint64_t i = 0; i < 3; i++) {
		assert_true(signal_take(f->t, SIG_BIT(40), &info));
		assert_int_equal(info.rt.value, i);
	}
	assert_false(pending(f, 40));
}

static void the_lowest_number_comes_first_but_for_faults(void **state)
{
	static const int order[] = {SIGILL, SIGSEGV, SIGHUP, SIGTERM, 34, 64};
	static const int sent[] = {64, SIGTERM, SIGSEGV, 34, SIGHUP, SIGILL};
	struct fixture *f = *state;

	f->t->sig.mask = ~(uint64_t)0;
	for (size_t i = 0; i < ARRAY_SIZE(sent); i++)
		assert_int_equal(send_task(f, f->t, sent[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		assert_int_equal(take(f), order[i]);
}

static void ignored_signals_are_dropped_unless_blocked(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(send_process(f, SIGCHLD), 0);
	assert_int_equal(take(f), 0);
	set_handler(f, SIGTERM, 1);
	assert_int_equal(send_process(f, SIGTERM), 0);
	assert_int_equal(take(f), 0);
	f->t->sig.mask = SIG_BIT(SIGTERM) | SIG_BIT(SIGCHLD);
	assert_int_equal(send_process(f, SIGCHLD), 0);
	assert_int_equal(send_process(f, SIGTERM), 0);
	assert_int_equal(take(f), SIGTERM);
	assert_int_equal(take(f), SIGCHLD);
}

static void ignoring_drops_what_waits(void **state)
{
	struct fixture *f = *state;

	f->t->sig.mask = ~(uint64_t)0;
	send_process(f, SIGTERM);
	send_task(f, f->t, SIGTERM);
	send_process(f, 40);
	set_handler(f, SIGTERM, 1);
	assert_int_equal(take(f), 40);
	assert_int_equal(take(f), 0);
}

static void the_queue_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct guest_siginfo info = {.signo = 40, .code = SI_QUEUE};
	int sent = 0;

	f->t->sig.mask = ~(uint64_t)0;
	while (sent < 100000 && !signal_send(f->p, NULL, &info))
		sent++;
	assert_int_equal(sent, SIG_QUEUE_MAX);
	assert_int_equal(signal_send(f->p, NULL, &info), -EAGAIN);
	/* What kill(2) sends arrives, and so do standard signals. */
	assert_int_equal(send_process(f, 41), 0);
	assert_int_equal(send_process(f, SIGTERM), 0);
	assert_int_equal(take(f), SIGTERM);
	for (int i = 0; i < sent; i++)
		assert_int_equal(take(f), 40);
	assert_int_equal(take(f), 41);
	assert_int_equal(take(f), 0);
	assert_int_equal(queued(f), 0);
}

static void stop_and_continue_take_each_other_back(void **state)
{
	struct fixture *f = *state;

	f->t->sig.mask = ~sig_unblockable();
	send_process(f, SIGTSTP);
	send_process(f, SIGCONT);
	assert_int_equal(take(f), SIGCONT);
	assert_int_equal(take(f), 0);
}

/* --- Who takes it ------------------------------------------------------------------------- */

static void a_task_that_does_not_block_it_is_kicked(void **state)
{
	struct fixture *f = *state;
	struct task *other = fake_task(f->p, PROCESS_PID + 1);

	f->t->sig.mask = SIG_BIT(SIGUSR1);
	send_process(f, SIGUSR1);
	assert_int_equal(f->t->kicked, 0);
	assert_int_equal(other->kicked, 1);
	assert_false(signal_deliverable(f->t));
	assert_true(signal_deliverable(other));
}

static void blocking_hands_it_over(void **state)
{
	struct fixture *f = *state;
	struct task *other = fake_task(f->p, PROCESS_PID + 1);

	send_process(f, SIGUSR1);
	assert_int_equal(f->t->kicked, 1);
	assert_int_equal(other->kicked, 0);
	signal_set_mask(f->t, SIG_BIT(SIGUSR1));
	assert_int_equal(other->kicked, 1);
}

static void a_task_that_ends_hands_it_over(void **state)
{
	struct fixture *f = *state;
	struct task *other = fake_task(f->p, PROCESS_PID + 1);

	send_process(f, SIGUSR1);
	assert_int_equal(other->kicked, 0);
	signals_task_fini(f->t);
	assert_int_equal(other->kicked, 1);
}

static void a_signal_to_a_task_is_its_own(void **state)
{
	struct fixture *f = *state;
	struct task *other = fake_task(f->p, PROCESS_PID + 1);
	struct guest_siginfo info = user_info(SIGUSR1);

	assert_int_equal(signal_send_tid(f->p, PROCESS_PID + 1, &info), 0);
	assert_false(signal_deliverable(f->t));
	assert_true(signal_deliverable(other));
	assert_int_equal(signal_send_tid(f->p, 4711, &info), -ESRCH);
}

/* --- Default actions ---------------------------------------------------------------------- */

static void default_action_ends_the_process(void **state)
{
	struct fixture *f = *state;

	send_process(f, SIGTERM);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->state, PROCESS_KILLED);
	assert_int_equal(f->p->status, SIGTERM);
	assert_string_equal(f->p->message, "");
}

static void a_fault_that_nobody_handles_says_where(void **state)
{
	struct fixture *f = *state;
	struct guest_siginfo info = {
		.signo = SIGSEGV, .code = SEGV_MAPERR, .fault = {.address = 0x1234}};

	signal_force(f->t, &info);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->state, PROCESS_KILLED);
	assert_int_equal(f->p->status, SIGSEGV);
	assert_non_null(strstr(f->p->message, "0x1234"));
	assert_non_null(strstr(f->p->message, "0x401000"));
}

static void a_forced_signal_cannot_be_blocked_or_ignored(void **state)
{
	struct fixture *f = *state;
	struct guest_siginfo info = {.signo = SIGSEGV, .code = SEGV_MAPERR};

	handle(f, SIGSEGV, 0, 0);
	f->t->sig.mask = SIG_BIT(SIGSEGV);
	signal_force(f->t, &info);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->state, PROCESS_KILLED);
}

static void kill_cannot_be_caught_or_blocked(void **state)
{
	struct guest_sigaction action = {.handler = HANDLER};
	struct fixture *f = *state;

	assert_int_equal(signal_set_action(f->p, SIGKILL, &action, NULL), -EINVAL);
	assert_int_equal(signal_set_action(f->p, SIGSTOP, &action, NULL), -EINVAL);
	assert_int_equal(signal_set_action(f->p, 65, NULL, NULL), -EINVAL);
	assert_int_equal(signal_set_action(f->p, 0, NULL, NULL), -EINVAL);
	signal_set_mask(f->t, ~(uint64_t)0);
	send_process(f, SIGKILL);
	assert_true(signal_deliverable(f->t));
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->status, SIGKILL);
}

static void stops_do_nothing(void **state)
{
	struct fixture *f = *state;

	send_process(f, SIGSTOP);
	send_process(f, SIGTSTP);
	assert_int_equal(signal_deliver(f->t, 0), 0);
	assert_int_equal(f->p->state, PROCESS_RUNNING);
	assert_false(signal_deliverable(f->t));
	assert_int_equal(f->t->regs.rip, CODE);
}

/* --- Frames ------------------------------------------------------------------------------- */

static void a_frame_is_what_libc_expects(void **state)
{
	struct fixture *f = *state;
	const ucontext_t *uc;
	const siginfo_t *si;
	uint64_t sp;

	handle(f, SIGUSR1, GUEST_SA_SIGINFO, 0);
	f->t->sig.mask = SIG_BIT(SIGHUP);
	f->t->regs.rbx = 0x1111;
	f->t->regs.r15 = 0x2222;
	f->t->regs.rax = 0x3333;
	f->t->regs.rflags = 0x202 | 0x400 | 1;
	f->t->sig.trap_number = 14;
	send_process(f, SIGUSR1);
	assert_int_equal(signal_deliver(f->t, 0), 0);
	assert_true(f->t->regs_changed);
	sp = f->t->regs.rsp;
	assert_int_equal(f->t->regs.rip, HANDLER);
	assert_int_equal(f->t->regs.rdi, SIGUSR1);
	assert_int_equal(sp % 16, 8);
	assert_int_equal(*(uint64_t *)fake_memory(f->p, sp - FAKE_VA), RESTORER);
	/* Without direction flag. */
	assert_int_equal(f->t->regs.rflags & 0x400, 0);
	si = siginfo_of(f);
	assert_int_equal(si->si_signo, SIGUSR1);
	assert_int_equal(si->si_pid, 77);
	assert_int_equal(si->si_uid, 88);
	uc = context_of(f);
	assert_int_equal(f->t->regs.rdx, sp + 8);
	assert_int_equal(uc->uc_mcontext.gregs[REG_RIP], CODE);
	assert_int_equal(uc->uc_mcontext.gregs[REG_RSP], STACK);
	assert_int_equal(uc->uc_mcontext.gregs[REG_RBX], 0x1111);
	assert_int_equal(uc->uc_mcontext.gregs[REG_R15], 0x2222);
	assert_int_equal(uc->uc_mcontext.gregs[REG_RAX], 0x3333);
	assert_int_equal(uc->uc_mcontext.gregs[REG_EFL], 0x202 | 0x400 | 1);
	assert_int_equal(uc->uc_mcontext.gregs[REG_TRAPNO], 14);
	assert_int_equal(uc->uc_mcontext.gregs[REG_CSGSFS] & 0xffff, 0x33);
	assert_true(sigismember(&uc->uc_sigmask, SIGHUP));
	assert_false(sigismember(&uc->uc_sigmask, SIGUSR1));
	assert_int_equal(f->t->sig.mask, SIG_BIT(SIGHUP) | SIG_BIT(SIGUSR1));
}

static void a_frame_has_the_vector_state(void **state)
{
	struct fixture *f = *state;
	const struct _xstate *x;
	const uint8_t *bytes;
	uint64_t va;

	handle(f, SIGUSR1, 0, 0);
	f->vcpu.xsave[513] = 2; /* PKRU, which the guest does not have */
	send_process(f, SIGUSR1);
	signal_deliver(f->t, 0);
	va = (uint64_t)(uintptr_t)context_of(f)->uc_mcontext.fpregs;
	assert_int_equal(va % 64, 0);
	assert_true(va + 576 + 4 <= STACK - 128);
	assert_true(f->t->regs.rsi + 128 <= va);
	bytes = fake_memory(f->p, va - FAKE_VA);
	x = (const void *)bytes;
	assert_int_equal(bytes[160], 0xab);
	assert_int_equal(*(const uint32_t *)(bytes + 464), FP_XSTATE_MAGIC1);
	assert_int_equal(*(const uint32_t *)(bytes + 468), 576 + 4);
	assert_int_equal(*(const uint64_t *)(bytes + 472), 3);
	assert_int_equal(*(const uint32_t *)(bytes + 480), 576);
	assert_int_equal(*(const uint32_t *)(bytes + 576), FP_XSTATE_MAGIC2);
	assert_int_equal(x->xstate_hdr.xstate_bv, 3);
	assert_int_equal(context_of(f)->uc_flags & 1, 1);
	/* The handler has a fresh one. */
	assert_int_equal(f->vcpu.xsave[160], 0);
	assert_int_equal(f->vcpu.xsave[25], 0x1f);
}

static void returning_restores_everything(void **state)
{
	struct fixture *f = *state;
	struct cpu_regs before;
	uint8_t vectors[CPU_XSAVE_BUFFER];

	handle(f, SIGUSR1, 0, SIG_BIT(SIGUSR2));
	for (size_t i = 0; i < sizeof(before) / 8; i++)
		((uint64_t *)&f->t->regs)[i] = 0x1000 + i;
	f->t->regs.rip = CODE;
	f->t->regs.rsp = STACK;
	f->t->regs.rflags = 0x202 | 0x8d5;
	f->t->sig.mask = SIG_BIT(SIGHUP);
	before = f->t->regs;
	memcpy(vectors, f->vcpu.xsave, sizeof(vectors));
	send_process(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_not_equal(f->t->sig.mask, SIG_BIT(SIGHUP));
	f->t->regs.rbx = f->t->regs.r12 = 0;
	f->t->regs_changed = false;
	f->t->syscall = 15;
	assert_int_equal(return_from(f), (int64_t)before.rax);
	assert_memory_equal(&f->t->regs, &before, sizeof(before));
	assert_memory_equal(f->vcpu.xsave, vectors, sizeof(vectors));
	assert_int_equal(f->t->sig.mask, SIG_BIT(SIGHUP));
	assert_true(f->t->regs_changed);
	/* So that no value of rax is taken for an interrupted call. */
	assert_int_equal(f->t->syscall, UINT64_MAX);
}

/* Enters a handler, gives its frame's context for damage. */
static ucontext_t *enter(struct fixture *f)
{
	handle(f, SIGUSR1, 0, 0);
	send_process(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->t->regs.rip, HANDLER);
	return (ucontext_t *)(uintptr_t)context_of(f);
}

static void assert_refused(struct fixture *f)
{
	return_from(f);
	assert_true(pending(f, SIGSEGV));
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->status, SIGSEGV);
}

static void returning_to_the_upper_half_is_refused(void **state)
{
	struct fixture *f = *state;

	enter(f)->uc_mcontext.gregs[REG_RIP] = (greg_t)0xffffffff80000000;
	assert_refused(f);
}

static void returning_to_no_canonical_address_is_refused(void **state)
{
	struct fixture *f = *state;

	enter(f)->uc_mcontext.gregs[REG_RIP] = 0x800000000000;
	assert_refused(f);
}

static void returning_to_a_stack_in_the_upper_half_is_refused(void **state)
{
	struct fixture *f = *state;

	enter(f)->uc_mcontext.gregs[REG_RSP] = -8;
	assert_refused(f);
}

static void a_vector_state_of_other_components_is_refused(void **state)
{
	struct fixture *f = *state;
	ucontext_t *uc = enter(f);
	uint8_t *x = fake_memory(f->p, (uint64_t)(uintptr_t)uc->uc_mcontext.fpregs - FAKE_VA);

	x[512] |= 4; /* AVX, which this host does not give */
	assert_refused(f);
}

static void a_compacted_vector_state_is_refused(void **state)
{
	struct fixture *f = *state;
	ucontext_t *uc = enter(f);
	uint8_t *x = fake_memory(f->p, (uint64_t)(uintptr_t)uc->uc_mcontext.fpregs - FAKE_VA);

	x[527] = 0x80; /* XCOMP_BV bit 63 */
	assert_refused(f);
}

static void a_vector_state_that_the_cpu_refuses_is_a_fault(void **state)
{
	struct fixture *f = *state;

	enter(f);
	f->vcpu.refused = true;
	assert_refused(f);
}

static void a_frame_that_is_not_there_is_a_fault(void **state)
{
	struct fixture *f = *state;

	enter(f);
	f->t->regs.rsp = FAKE_WILD;
	assert_refused(f);
}

static void an_xstate_size_of_the_guests_own_is_not_followed(void **state)
{
	struct fixture *f = *state;
	ucontext_t *uc = enter(f);
	uint8_t *x = fake_memory(f->p, (uint64_t)(uintptr_t)uc->uc_mcontext.fpregs - FAKE_VA);
	uint32_t huge = 0xfffffff0;

	memcpy(x + 468, &huge, 4);
	memcpy(x + 480, &huge, 4);
	x[576] = 0xff;
	return_from(f);
	/* As on Linux, x87 and SSE are what is left then. */
	assert_false(pending(f, SIGSEGV));
	assert_int_equal(f->vcpu.xsave[160], 0xab);
	assert_int_equal(f->vcpu.xsave[512], 3);
}

static void a_frame_without_vector_state_gives_a_fresh_one(void **state)
{
	struct fixture *f = *state;

	enter(f)->uc_mcontext.fpregs = NULL;
	f->vcpu.xsave[160] = 1;
	return_from(f);
	assert_false(pending(f, SIGSEGV));
	assert_int_equal(f->vcpu.xsave[160], 0);
}

static void returning_sets_flags_of_users_only(void **state)
{
	struct fixture *f = *state;

	enter(f)->uc_mcontext.gregs[REG_EFL] = (greg_t)0xffffffffffffffff;
	return_from(f);
	/* IF and bit 1 stay; IOPL, NT, VM, VIF, VIP, ID and the rest do not come. */
	assert_int_equal(f->t->regs.rflags, 0x202 | 0x50dd5);
}

static void an_unwritable_stack_kills(void **state)
{
	struct fixture *f = *state;

	handle(f, SIGUSR1, 0, 0);
	f->t->regs.rsp = FAKE_WILD;
	send_process(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->state, PROCESS_KILLED);
	assert_int_equal(f->p->status, SIGSEGV);
}

static void an_unwritable_stack_is_handled_on_another(void **state)
{
	struct fixture *f = *state;

	handle(f, SIGUSR1, 0, 0);
	handle(f, SIGSEGV, GUEST_SA_ONSTACK, 0);
	f->t->sig.alt_base = ALT_STACK;
	f->t->sig.alt_size = ALT_SIZE;
	f->t->regs.rsp = FAKE_WILD;
	send_process(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->state, PROCESS_RUNNING);
	assert_int_equal(f->t->regs.rdi, SIGSEGV);
	assert_true(f->t->regs.rsp > ALT_STACK && f->t->regs.rsp < ALT_STACK + ALT_SIZE);
	assert_int_equal(context_of(f)->uc_mcontext.gregs[REG_RSP], (greg_t)FAKE_WILD);
}

static void a_full_alternate_stack_kills(void **state)
{
	struct fixture *f = *state;

	handle(f, SIGUSR1, GUEST_SA_ONSTACK, 0);
	f->t->sig.alt_base = ALT_STACK;
	f->t->sig.alt_size = ALT_SIZE;
	f->t->regs.rsp = ALT_STACK + 600;
	send_process(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->status, SIGSEGV);
}

static void a_handler_in_the_upper_half_is_a_fault(void **state)
{
	struct fixture *f = *state;

	set_handler(f, SIGUSR1, 0xffffffff81000000);
	send_process(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->status, SIGSEGV);
}

static void without_restorer_the_gate_returns(void **state)
{
	struct fixture *f = *state;

	set_handler(f, SIGUSR1, HANDLER);
	send_process(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(*(uint64_t *)fake_memory(f->p, f->t->regs.rsp - FAKE_VA),
			 PROG_GATE_SIGRETURN);
}

static void several_signals_make_frames_on_each_other(void **state)
{
	struct fixture *f = *state;

	handle(f, SIGUSR1, 0, 0);
	handle(f, SIGUSR2, 0, 0);
	send_process(f, SIGUSR1);
	send_process(f, SIGUSR2);
	signal_deliver(f->t, 0);
	assert_int_equal(f->t->regs.rdi, SIGUSR2);
	assert_int_equal(context_of(f)->uc_mcontext.gregs[REG_RIP], HANDLER);
	return_from(f);
	assert_int_equal(f->t->regs.rdi, SIGUSR1);
	return_from(f);
	assert_int_equal(f->t->regs.rip, CODE);
	assert_int_equal(f->t->regs.rsp, STACK);
}

static void resethand_and_nodefer_do_what_they_say(void **state)
{
	struct fixture *f = *state;

	handle(f, SIGUSR1, GUEST_SA_RESETHAND | GUEST_SA_NODEFER, 0);
	send_process(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->t->regs.rip, HANDLER);
	assert_int_equal(f->t->sig.mask, 0);
	assert_int_equal(f->p->sig.actions[SIGUSR1].handler, 0);
	send_process(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->status, SIGUSR1);
}

static void autodisarm_disarms_and_the_frame_knows(void **state)
{
	struct fixture *f = *state;

	handle(f, SIGUSR1, GUEST_SA_ONSTACK, 0);
	f->t->sig.alt_base = ALT_STACK;
	f->t->sig.alt_size = ALT_SIZE;
	f->t->sig.alt_flags = GUEST_SS_AUTODISARM;
	send_process(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->t->sig.alt_size, 0);
	return_from(f);
	assert_int_equal(f->t->sig.alt_base, ALT_STACK);
	assert_int_equal(f->t->sig.alt_size, ALT_SIZE);
	assert_int_equal(f->t->sig.alt_flags, GUEST_SS_AUTODISARM);
}

/* --- Restarting --------------------------------------------------------------------------- */

static void check_restart(struct fixture *f, uint64_t flags, int64_t result, int64_t expected)
{
	bool again = expected == 35;

	handle(f, SIGUSR1, flags, 0);
	send_process(f, SIGUSR1);
	finish_call(f, 35, result);
	assert_int_equal(f->t->regs.rip, HANDLER);
	assert_int_equal(context_of(f)->uc_mcontext.gregs[REG_RAX], expected);
	assert_int_equal(context_of(f)->uc_mcontext.gregs[REG_RIP], again ? CODE - 2 : CODE);
}

static void a_call_restarts_behind_a_handler_that_says_so(void **state)
{
	check_restart(*state, GUEST_SA_RESTART, -ERESTARTSYS, 35);
}

static void a_call_fails_behind_a_handler_that_does_not(void **state)
{
	check_restart(*state, 0, -ERESTARTSYS, -EINTR);
}

static void nohand_never_restarts_behind_a_handler(void **state)
{
	check_restart(*state, GUEST_SA_RESTART, -ERESTARTNOHAND, -EINTR);
}

static void nointr_always_restarts(void **state)
{
	check_restart(*state, 0, -ERESTARTNOINTR, 35);
}

static void a_restart_block_ends_behind_a_handler(void **state)
{
	check_restart(*state, GUEST_SA_RESTART, -ERESTART_RESTARTBLOCK, -EINTR);
}

static void results_are_left_alone(void **state)
{
	check_restart(*state, GUEST_SA_RESTART, 17, 17);
}

static void without_handler_calls_are_made_again(void **state)
{
	static const int codes[] = {ERESTARTSYS, ERESTARTNOHAND, ERESTARTNOINTR};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		f->t->regs.rip = CODE;
		f->t->regs_changed = false;
		assert_int_equal(finish_call(f, 7, -codes[i]), 7);
		assert_int_equal(f->t->regs.rip, CODE - 2);
		assert_true(f->t->regs_changed);
	}
	f->t->regs.rip = CODE;
	assert_int_equal(finish_call(f, 35, -ERESTART_RESTARTBLOCK), 219);
	assert_int_equal(f->t->regs.rip, CODE - 2);
}

/* --- Calls -------------------------------------------------------------------------------- */

static uint64_t put64(struct fixture *f, size_t offset, uint64_t value)
{
	memcpy(fake_memory(f->p, offset), &value, sizeof(value));
	return FAKE_VA + offset;
}

static void sigsuspend_puts_the_mask_back(void **state)
{
	struct fixture *f = *state;

	handle(f, SIGUSR1, 0, 0);
	f->t->sig.mask = SIG_BIT(SIGUSR1);
	send_process(f, SIGUSR1);
	assert_false(signal_deliverable(f->t));
	assert_int_equal(
		call1(f, sys_rt_sigsuspend, put64(f, ARGUMENTS, SIG_BIT(SIGHUP)), 8, 0, 0),
		-ERESTARTNOHAND);
	assert_true(signal_deliverable(f->t));
	assert_int_equal(finish_call(f, 130, -ERESTARTNOHAND), 0);
	assert_int_equal(f->t->regs.rip, HANDLER);
	assert_int_equal(f->t->sig.mask, SIG_BIT(SIGHUP) | SIG_BIT(SIGUSR1));
	f->t->regs.rsp += 8;
	assert_int_equal(call1(f, sys_rt_sigreturn, 0, 0, 0, 0), -EINTR);
	assert_int_equal(f->t->sig.mask, SIG_BIT(SIGUSR1));
}

static void a_mask_of_a_call_that_succeeds_is_over_before_signals(void **state)
{
	struct fixture *f = *state;

	handle(f, SIGUSR1, 0, 0);
	f->t->sig.mask = SIG_BIT(SIGUSR1);
	assert_int_equal(signal_mask_push(f->t, put64(f, ARGUMENTS, 0), 8), 0);
	send_process(f, SIGUSR1);
	assert_true(signal_deliverable(f->t));
	assert_int_equal(finish_call(f, 271, 1), 1);
	assert_int_equal(f->t->regs.rip, CODE);
	assert_int_equal(f->t->sig.mask, SIG_BIT(SIGUSR1));
	assert_true(pending(f, SIGUSR1));
}

static void a_signal_that_the_calls_mask_kept_away_comes_after_it(void **state)
{
	struct fixture *f = *state;

	handle(f, SIGUSR1, 0, 0);
	assert_int_equal(signal_mask_push(f->t, put64(f, ARGUMENTS, SIG_BIT(SIGUSR1)), 8), 0);
	send_process(f, SIGUSR1);
	finish_call(f, 271, -EINTR);
	assert_int_equal(f->t->regs.rip, HANDLER);
	assert_int_equal(context_of(f)->uc_mcontext.gregs[REG_RAX], -EINTR);
}

static void sigtimedwait_takes_what_waits(void **state)
{
	struct fixture *f = *state;
	uint64_t set = put64(f, ARGUMENTS, SIG_BIT(SIGUSR1));
	siginfo_t info;

	f->t->sig.mask = SIG_BIT(SIGUSR1);
	send_process(f, SIGUSR1);
	assert_int_equal(call1(f, sys_rt_sigtimedwait, set, FAKE_VA + RESULTS, 0, 8), SIGUSR1);
	memcpy(&info, fake_memory(f->p, RESULTS), sizeof(info));
	assert_int_equal(info.si_signo, SIGUSR1);
	assert_int_equal(info.si_pid, 77);
	assert_int_equal(f->t->sig.waiting_for, 0);
}

static void sigtimedwait_checks_its_arguments(void **state)
{
	struct fixture *f = *state;
	uint64_t set = put64(f, ARGUMENTS, SIG_BIT(SIGUSR1)), time = set + 8;

	put64(f, ARGUMENTS + 8, 0);
	put64(f, ARGUMENTS + 16, 1000000000);
	assert_int_equal(call1(f, sys_rt_sigtimedwait, set, 0, time, 4), -EINVAL);
	assert_int_equal(call1(f, sys_rt_sigtimedwait, set, 0, time, 8), -EINVAL);
	assert_int_equal(call1(f, sys_rt_sigtimedwait, FAKE_WILD, 0, time, 8), -EFAULT);
	put64(f, ARGUMENTS + 16, 0);
	assert_int_equal(call1(f, sys_rt_sigtimedwait, set, 0, time, 8), -EAGAIN);
}

static void kill_knows_one_process(void **state)
{
	struct fixture *f = *state;

	f->t->sig.mask = ~(uint64_t)0;
	assert_int_equal(call1(f, sys_kill, PROCESS_PID, 0, 0, 0), 0);
	assert_int_equal(call1(f, sys_kill, PROCESS_PID, 65, 0, 0), -EINVAL);
	assert_int_equal(call1(f, sys_kill, 4711, SIGTERM, 0, 0), -ESRCH);
	assert_int_equal(call1(f, sys_kill, (uint64_t)-1, SIGTERM, 0, 0), -ESRCH);
	assert_int_equal(call1(f, sys_kill, (uint64_t)INT32_MIN, SIGTERM, 0, 0), -ESRCH);
	assert_int_equal(call1(f, sys_kill, PROCESS_PPID, SIGTERM, 0, 0), -EPERM);
	assert_int_equal(take(f), 0);
	assert_int_equal(call1(f, sys_kill, 0, SIGTERM, 0, 0), 0);
	assert_int_equal(take(f), SIGTERM);
	assert_int_equal(call1(f, sys_kill, (uint64_t)-PROCESS_PID, SIGHUP, 0, 0), 0);
	assert_int_equal(take(f), SIGHUP);
	assert_int_equal(call1(f, sys_tgkill, PROCESS_PID, PROCESS_PID, SIGHUP, 0), 0);
	assert_int_equal(take(f), SIGHUP);
	assert_int_equal(call1(f, sys_tgkill, 5, PROCESS_PID, SIGHUP, 0), -ESRCH);
	assert_int_equal(call1(f, sys_tkill, 0, SIGHUP, 0, 0), -EINVAL);
	assert_int_equal(call1(f, sys_tkill, 4711, SIGHUP, 0, 0), -ESRCH);
}

static void only_to_itself_may_a_task_send_what_the_kernel_sends(void **state)
{
	struct fixture *f = *state;
	struct guest_siginfo info = {.code = SI_KERNEL};

	f->t->sig.mask = ~(uint64_t)0;
	fake_task(f->p, PROCESS_PID + 1);
	memcpy(fake_memory(f->p, ARGUMENTS), &info, sizeof(info));
	assert_int_equal(call1(f, sys_rt_tgsigqueueinfo, PROCESS_PID, PROCESS_PID + 1, SIGHUP,
			       FAKE_VA + ARGUMENTS),
			 -EPERM);
	assert_int_equal(
		call1(f, sys_rt_sigqueueinfo, PROCESS_PID, SIGHUP, FAKE_VA + ARGUMENTS, 0), 0);
	assert_true(signal_take(f->t, SIG_BIT(SIGHUP), &info));
	assert_int_equal(info.code, SI_KERNEL);
	assert_int_equal(info.signo, SIGHUP);
}

static void sigprocmask_never_blocks_kill(void **state)
{
	struct fixture *f = *state;
	uint64_t set = put64(f, ARGUMENTS, ~(uint64_t)0), old;

	assert_int_equal(call1(f, sys_rt_sigprocmask, SIG_SETMASK, set, 0, 8), 0);
	assert_int_equal(f->t->sig.mask, ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP)));
	put64(f, ARGUMENTS, SIG_BIT(SIGHUP));
	assert_int_equal(call1(f, sys_rt_sigprocmask, SIG_UNBLOCK, set, FAKE_VA + RESULTS, 8),
			 0);
	memcpy(&old, fake_memory(f->p, RESULTS), sizeof(old));
	assert_int_equal(old, ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP)));
	assert_int_equal(f->t->sig.mask & SIG_BIT(SIGHUP), 0);
	assert_int_equal(call1(f, sys_rt_sigprocmask, 3, set, 0, 8), -EINVAL);
	assert_int_equal(call1(f, sys_rt_sigprocmask, SIG_BLOCK, set, 0, 16), -EINVAL);
}

static void sigaction_clears_flags_that_it_does_not_know(void **state)
{
	struct fixture *f = *state;
	struct guest_sigaction action = {.handler = HANDLER,
					 .flags = ~(uint64_t)0,
					 .restorer = RESTORER,
					 .mask = ~(uint64_t)0};

	memcpy(fake_memory(f->p, ARGUMENTS), &action, sizeof(action));
	assert_int_equal(
		call1(f, sys_rt_sigaction, SIGUSR1, FAKE_VA + ARGUMENTS, FAKE_VA + RESULTS, 8),
		0);
	assert_int_equal(call1(f, sys_rt_sigaction, SIGUSR1, 0, FAKE_VA + RESULTS, 8), 0);
	memcpy(&action, fake_memory(f->p, RESULTS), sizeof(action));
	/* SA_UNSUPPORTED (0x400) is how programs ask whether flags are cleared. */
	assert_int_equal(action.flags & 0x400, 0);
	assert_int_equal(action.flags & GUEST_SA_RESTART, GUEST_SA_RESTART);
	assert_int_equal(action.mask & sig_unblockable(), 0);
	assert_int_equal(call1(f, sys_rt_sigaction, SIGUSR1, 0, 0, 4), -EINVAL);
	assert_int_equal(call1(f, sys_rt_sigaction, SIGUSR1, FAKE_WILD, 0, 8), -EFAULT);
}

static void sigaltstack_checks_as_linux_does(void **state)
{
	struct fixture *f = *state;
	struct guest_stack stack = {.sp = ALT_STACK, .size = 2047};
	struct sigtask *sig = &f->t->sig;

	assert_int_equal(signal_altstack(sig, STACK, &stack, NULL), -ENOMEM);
	stack.size = ALT_SIZE;
	stack.flags = 8;
	assert_int_equal(signal_altstack(sig, STACK, &stack, NULL), -EINVAL);
	stack.flags = 0;
	assert_int_equal(signal_altstack(sig, STACK, &stack, NULL), 0);
	assert_int_equal(signal_altstack(sig, ALT_STACK + 64, &stack, NULL), -EPERM);
	assert_int_equal(signal_altstack(sig, ALT_STACK + 64, NULL, &stack), 0);
	assert_int_equal(stack.flags, GUEST_SS_ONSTACK);
	stack.flags = GUEST_SS_DISABLE;
	assert_int_equal(signal_altstack(sig, STACK, &stack, NULL), 0);
	assert_int_equal(signal_altstack(sig, STACK, NULL, &stack), 0);
	assert_int_equal(stack.flags, GUEST_SS_DISABLE);
	assert_int_equal(stack.size, 0);
}

/* --- Timers ------------------------------------------------------------------------------- */

static bool comes(struct fixture *f, int signo)
{
	for (int i = 0; i < 2000 && !pending(f, signo); i++)
		usleep(1000);
	return pending(f, signo);
}

static void setitimer_sends_alarms(void **state)
{
	struct fixture *f = *state;
	struct itimerval value = {.it_value = {0, 5000}, .it_interval = {0, 5000}}, left;

	f->t->sig.mask = SIG_BIT(SIGALRM);
	memcpy(fake_memory(f->p, ARGUMENTS), &value, sizeof(value));
	assert_int_equal(call1(f, sys_setitimer, ITIMER_REAL, FAKE_VA + ARGUMENTS, 0, 0), 0);
	for (int i = 0; i < 3; i++) {
		assert_true(comes(f, SIGALRM));
		assert_int_equal(take(f), SIGALRM);
	}
	assert_int_equal(call1(f, sys_getitimer, ITIMER_REAL, FAKE_VA + RESULTS, 0, 0), 0);
	memcpy(&left, fake_memory(f->p, RESULTS), sizeof(left));
	assert_int_equal(left.it_interval.tv_usec, 5000);
	assert_in_range(left.it_value.tv_usec, 1, 5000);
	assert_int_equal(call1(f, sys_alarm, 100, 0, 0, 0), 1);
	assert_int_equal(call1(f, sys_alarm, 0, 0, 0, 0), 100);
	assert_int_equal(call1(f, sys_alarm, 0, 0, 0, 0), 0);
	assert_int_equal(call1(f, sys_setitimer, 3, FAKE_VA + ARGUMENTS, 0, 0), -EINVAL);
}

/* Gives its id. */
static int create_timer(struct fixture *f, int signo, uint64_t value)
{
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signo};
	int id;

	event.sigev_value.sival_ptr = (void *)(uintptr_t)value;
	memcpy(fake_memory(f->p, ARGUMENTS), &event, sizeof(event));
	assert_int_equal(call1(f, sys_timer_create, CLOCK_MONOTONIC, FAKE_VA + ARGUMENTS,
			       FAKE_VA + RESULTS, 0),
			 0);
	memcpy(&id, fake_memory(f->p, RESULTS), sizeof(id));
	return id;
}

static void start_timer(struct fixture *f, int id, long value, long interval)
{
	struct itimerspec spec = {.it_value.tv_nsec = value, .it_interval.tv_nsec = interval};

	memcpy(fake_memory(f->p, ARGUMENTS), &spec, sizeof(spec));
	assert_int_equal(call1(f, sys_timer_settime, (uint64_t)id, 0, FAKE_VA + ARGUMENTS, 0),
			 0);
}

static void a_timer_counts_what_it_missed(void **state)
{
	struct fixture *f = *state;
	int id = create_timer(f, 40, 0xabcdef);
	struct guest_siginfo info;

	f->t->sig.mask = SIG_BIT(40);
	start_timer(f, id, 1000000, 1000000);
	usleep(30000);
	assert_true(comes(f, 40));
	assert_int_equal(queued(f), 1);
	assert_true(signal_take(f->t, SIG_BIT(40), &info));
	assert_int_equal(info.code, SI_TIMER);
	assert_int_equal(info.timer.id, id);
	assert_int_equal(info.timer.value, 0xabcdef);
	assert_in_range(info.timer.overrun, 20, 5000);
	assert_int_equal(call1(f, sys_timer_getoverrun, (uint64_t)id, 0, 0, 0),
			 info.timer.overrun);
	/* And it goes on. */
	assert_true(comes(f, 40));
}

static void a_deleted_timer_takes_its_signal_back(void **state)
{
	struct fixture *f = *state;
	int id = create_timer(f, 40, 1);

	f->t->sig.mask = SIG_BIT(40);
	start_timer(f, id, 1000, 0);
	assert_true(comes(f, 40));
	assert_int_equal(call1(f, sys_timer_delete, (uint64_t)id, 0, 0, 0), 0);
	assert_false(pending(f, 40));
	assert_int_equal(call1(f, sys_timer_delete, (uint64_t)id, 0, 0, 0), -EINVAL);
}

static void setting_a_timer_again_and_again_fills_no_queue(void **state)
{
	struct fixture *f = *state;
	int id = create_timer(f, 40, 1);

	f->t->sig.mask = SIG_BIT(40);
	for (int i = 0; i < 50; i++) {
		start_timer(f, id, 1, 0);
		usleep(500);
		assert_true(queued(f) <= 1);
	}
}

static void a_timer_whose_signal_is_ignored_goes_on(void **state)
{
	struct fixture *f = *state;
	int id = create_timer(f, 40, 1);

	f->t->sig.mask = SIG_BIT(40);
	start_timer(f, id, 1000000, 1000000);
	assert_true(comes(f, 40));
	set_handler(f, 40, 1);
	assert_false(pending(f, 40));
	set_handler(f, 40, HANDLER);
	assert_true(comes(f, 40));
}

static void timers_are_bounded(void **state)
{
	struct fixture *f = *state;
	int64_t r = 0;
	int n = 0;

	while (n < 10000 && !r) {
		r = call1(f, sys_timer_create, CLOCK_MONOTONIC, 0, FAKE_VA + RESULTS, 0);
		n += !r;
	}
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(n, 128);
}

static void timers_check_their_arguments(void **state)
{
	struct fixture *f = *state;
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65};
	const uint64_t at = FAKE_VA + ARGUMENTS, out = FAKE_VA + RESULTS;

	memcpy(fake_memory(f->p, ARGUMENTS), &event, sizeof(event));
	assert_int_equal(call1(f, sys_timer_create, CLOCK_MONOTONIC, at, out, 0), -EINVAL);
	assert_int_equal(call1(f, sys_timer_create, 99, 0, out, 0), -EINVAL);
	assert_int_equal(call1(f, sys_timer_create, CLOCK_MONOTONIC_RAW, 0, out, 0),
			 -EOPNOTSUPP);
	assert_int_equal(call1(f, sys_timer_create, CLOCK_MONOTONIC, FAKE_WILD, out, 0),
			 -EFAULT);
	assert_int_equal(call1(f, sys_timer_create, CLOCK_MONOTONIC, 0, FAKE_WILD, 0), -EFAULT);
	assert_int_equal(call1(f, sys_timer_settime, 0, 0, at, 0), -EINVAL);
	assert_int_equal(call1(f, sys_timer_gettime, 1u << 31, out, 0, 0), -EINVAL);
	assert_int_equal(call1(f, sys_timer_getoverrun, (uint64_t)-1, 0, 0, 0), -EINVAL);
}

static void a_timer_without_signal_tells_the_time(void **state)
{
	struct fixture *f = *state;
	struct sigevent event = {.sigev_notify = SIGEV_NONE};
	struct itimerspec spec = {.it_value.tv_nsec = 1000, .it_interval.tv_sec = 1000}, left;

	memcpy(fake_memory(f->p, ARGUMENTS), &event, sizeof(event));
	assert_int_equal(call1(f, sys_timer_create, CLOCK_MONOTONIC, FAKE_VA + ARGUMENTS,
			       FAKE_VA + RESULTS, 0),
			 0);
	memcpy(fake_memory(f->p, ARGUMENTS), &spec, sizeof(spec));
	assert_int_equal(call1(f, sys_timer_settime, 0, 0, FAKE_VA + ARGUMENTS, 0), 0);
	usleep(2000);
	assert_int_equal(call1(f, sys_timer_gettime, 0, FAKE_VA + RESULTS, 0, 0), 0);
	memcpy(&left, fake_memory(f->p, RESULTS), sizeof(left));
	assert_in_range(left.it_value.tv_sec, 990, 1000);
	assert_int_equal(left.it_interval.tv_sec, 1000);
	assert_int_equal(signal_pending_set(f->t), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_standard_signal_waits_once),
		T(realtime_signals_queue_in_order),
		T(the_lowest_number_comes_first_but_for_faults),
		T(ignored_signals_are_dropped_unless_blocked),
		T(ignoring_drops_what_waits),
		T(the_queue_is_bounded),
		T(stop_and_continue_take_each_other_back),
		T(a_task_that_does_not_block_it_is_kicked),
		T(blocking_hands_it_over),
		T(a_task_that_ends_hands_it_over),
		T(a_signal_to_a_task_is_its_own),
		T(default_action_ends_the_process),
		T(a_fault_that_nobody_handles_says_where),
		T(a_forced_signal_cannot_be_blocked_or_ignored),
		T(kill_cannot_be_caught_or_blocked),
		T(stops_do_nothing),
		T(a_frame_is_what_libc_expects),
		T(a_frame_has_the_vector_state),
		T(returning_restores_everything),
		T(returning_to_the_upper_half_is_refused),
		T(returning_to_no_canonical_address_is_refused),
		T(returning_to_a_stack_in_the_upper_half_is_refused),
		T(a_vector_state_of_other_components_is_refused),
		T(a_compacted_vector_state_is_refused),
		T(a_vector_state_that_the_cpu_refuses_is_a_fault),
		T(a_frame_that_is_not_there_is_a_fault),
		T(an_xstate_size_of_the_guests_own_is_not_followed),
		T(a_frame_without_vector_state_gives_a_fresh_one),
		T(returning_sets_flags_of_users_only),
		T(an_unwritable_stack_kills),
		T(an_unwritable_stack_is_handled_on_another),
		T(a_full_alternate_stack_kills),
		T(a_handler_in_the_upper_half_is_a_fault),
		T(without_restorer_the_gate_returns),
		T(several_signals_make_frames_on_each_other),
		T(resethand_and_nodefer_do_what_they_say),
		T(autodisarm_disarms_and_the_frame_knows),
		T(a_call_restarts_behind_a_handler_that_says_so),
		T(a_call_fails_behind_a_handler_that_does_not),
		T(nohand_never_restarts_behind_a_handler),
		T(nointr_always_restarts),
		T(a_restart_block_ends_behind_a_handler),
		T(results_are_left_alone),
		T(without_handler_calls_are_made_again),
		T(sigsuspend_puts_the_mask_back),
		T(a_mask_of_a_call_that_succeeds_is_over_before_signals),
		T(a_signal_that_the_calls_mask_kept_away_comes_after_it),
		T(sigtimedwait_takes_what_waits),
		T(sigtimedwait_checks_its_arguments),
		T(kill_knows_one_process),
		T(only_to_itself_may_a_task_send_what_the_kernel_sends),
		T(sigprocmask_never_blocks_kill),
		T(sigaction_clears_flags_that_it_does_not_know),
		T(sigaltstack_checks_as_linux_does),
		T(setitimer_sends_alarms),
		T(a_timer_counts_what_it_missed),
		T(a_deleted_timer_takes_its_signal_back),
		T(setting_a_timer_again_and_again_fills_no_queue),
		T(a_timer_whose_signal_is_ignored_goes_on),
		T(timers_are_bounded),
		T(timers_check_their_arguments),
		T(a_timer_without_signal_tells_the_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of signal handlers, and the return from them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "signals_fixture.h"

static const siginfo_t *siginfo_of(struct sigtest *f)
{
	return fake_memory(f->p, f->t->regs.rsi - FAKE_VA);
}

/* As a handler's RET has it. */
static int64_t return_from(struct sigtest *f)
{
	f->t->regs.rsp += 8;
	return sigtest_call(f, sys_rt_sigreturn, 0, 0, 0, 0);
}

static void a_frame_is_what_libc_expects(void **state)
{
	struct sigtest *f = *state;
	const ucontext_t *uc;
	const siginfo_t *si;
	uint64_t sp;

	sigtest_handle(f, SIGUSR1, GUEST_SA_SIGINFO, 0);
	f->t->sig.mask = SIG_BIT(SIGHUP);
	f->t->regs.rbx = 0x1111;
	f->t->regs.r15 = 0x2222;
	f->t->regs.rax = 0x3333;
	f->t->regs.rflags = 0x202 | 0x400 | 1;
	f->t->sig.trap_number = 14;
	sigtest_send(f, SIGUSR1);
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
	uc = sigtest_context(f);
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
	struct sigtest *f = *state;
	const struct _xstate *x;
	const uint8_t *bytes;
	uint64_t va;

	sigtest_handle(f, SIGUSR1, 0, 0);
	f->vcpu.xsave[513] = 2; /* PKRU, which the guest does not have */
	sigtest_send(f, SIGUSR1);
	signal_deliver(f->t, 0);
	va = (uint64_t)(uintptr_t)sigtest_context(f)->uc_mcontext.fpregs;
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
	assert_int_equal(sigtest_context(f)->uc_flags & 1, 1);
	/* The handler has a fresh one. */
	assert_int_equal(f->vcpu.xsave[160], 0);
	assert_int_equal(f->vcpu.xsave[25], 0x1f);
}

static void returning_restores_everything(void **state)
{
	struct sigtest *f = *state;
	struct cpu_regs before;
	uint8_t vectors[CPU_XSAVE_BUFFER];

	sigtest_handle(f, SIGUSR1, 0, SIG_BIT(SIGUSR2));
	for (size_t i = 0; i < sizeof(before) / 8; i++)
		((uint64_t *)&f->t->regs)[i] = 0x1000 + i;
	f->t->regs.rip = CODE;
	f->t->regs.rsp = STACK;
	f->t->regs.rflags = 0x202 | 0x8d5;
	f->t->sig.mask = SIG_BIT(SIGHUP);
	before = f->t->regs;
	memcpy(vectors, f->vcpu.xsave, sizeof(vectors));
	sigtest_send(f, SIGUSR1);
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
static ucontext_t *enter(struct sigtest *f)
{
	sigtest_handle(f, SIGUSR1, 0, 0);
	sigtest_send(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->t->regs.rip, HANDLER);
	return (ucontext_t *)(uintptr_t)sigtest_context(f);
}

static void assert_refused(struct sigtest *f)
{
	return_from(f);
	assert_true(sigtest_pending(f, SIGSEGV));
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->status, SIGSEGV);
}

static void returning_to_the_upper_half_is_refused(void **state)
{
	struct sigtest *f = *state;

	enter(f)->uc_mcontext.gregs[REG_RIP] = (greg_t)0xffffffff80000000;
	assert_refused(f);
}

static void returning_to_no_canonical_address_is_refused(void **state)
{
	struct sigtest *f = *state;

	enter(f)->uc_mcontext.gregs[REG_RIP] = 0x800000000000;
	assert_refused(f);
}

static void returning_to_a_stack_in_the_upper_half_is_refused(void **state)
{
	struct sigtest *f = *state;

	enter(f)->uc_mcontext.gregs[REG_RSP] = -8;
	assert_refused(f);
}

static void a_vector_state_of_other_components_is_refused(void **state)
{
	struct sigtest *f = *state;
	ucontext_t *uc = enter(f);
	uint8_t *x = fake_memory(f->p, (uint64_t)(uintptr_t)uc->uc_mcontext.fpregs - FAKE_VA);

	x[512] |= 4; /* AVX, which this host does not give */
	assert_refused(f);
}

static void a_compacted_vector_state_is_refused(void **state)
{
	struct sigtest *f = *state;
	ucontext_t *uc = enter(f);
	uint8_t *x = fake_memory(f->p, (uint64_t)(uintptr_t)uc->uc_mcontext.fpregs - FAKE_VA);

	x[527] = 0x80; /* XCOMP_BV bit 63 */
	assert_refused(f);
}

static void a_vector_state_that_the_cpu_refuses_is_a_fault(void **state)
{
	struct sigtest *f = *state;

	enter(f);
	f->vcpu.refused = true;
	assert_refused(f);
}

static void a_frame_that_is_not_there_is_a_fault(void **state)
{
	struct sigtest *f = *state;

	enter(f);
	f->t->regs.rsp = FAKE_WILD;
	assert_refused(f);
}

static void an_xstate_size_of_the_guests_own_is_not_followed(void **state)
{
	struct sigtest *f = *state;
	ucontext_t *uc = enter(f);
	uint8_t *x = fake_memory(f->p, (uint64_t)(uintptr_t)uc->uc_mcontext.fpregs - FAKE_VA);
	uint32_t huge = 0xfffffff0;

	memcpy(x + 468, &huge, 4);
	memcpy(x + 480, &huge, 4);
	x[576] = 0xff;
	return_from(f);
	/* As on Linux, x87 and SSE are what is left then. */
	assert_false(sigtest_pending(f, SIGSEGV));
	assert_int_equal(f->vcpu.xsave[160], 0xab);
	assert_int_equal(f->vcpu.xsave[512], 3);
}

static void a_frame_without_vector_state_gives_a_fresh_one(void **state)
{
	struct sigtest *f = *state;

	enter(f)->uc_mcontext.fpregs = NULL;
	f->vcpu.xsave[160] = 1;
	return_from(f);
	assert_false(sigtest_pending(f, SIGSEGV));
	assert_int_equal(f->vcpu.xsave[160], 0);
}

static void returning_sets_flags_of_users_only(void **state)
{
	struct sigtest *f = *state;

	enter(f)->uc_mcontext.gregs[REG_EFL] = (greg_t)0xffffffffffffffff;
	return_from(f);
	/* IF and bit 1 stay; IOPL, NT, VM, VIF, VIP, ID and the rest do not come. */
	assert_int_equal(f->t->regs.rflags, 0x202 | 0x50dd5);
}

static void an_unwritable_stack_kills(void **state)
{
	struct sigtest *f = *state;

	sigtest_handle(f, SIGUSR1, 0, 0);
	f->t->regs.rsp = FAKE_WILD;
	sigtest_send(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->state, PROCESS_KILLED);
	assert_int_equal(f->p->status, SIGSEGV);
}

static void an_unwritable_stack_is_handled_on_another(void **state)
{
	struct sigtest *f = *state;

	sigtest_handle(f, SIGUSR1, 0, 0);
	sigtest_handle(f, SIGSEGV, GUEST_SA_ONSTACK, 0);
	f->t->sig.alt_base = ALT_STACK;
	f->t->sig.alt_size = ALT_SIZE;
	f->t->regs.rsp = FAKE_WILD;
	sigtest_send(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->state, PROCESS_RUNNING);
	assert_int_equal(f->t->regs.rdi, SIGSEGV);
	assert_true(f->t->regs.rsp > ALT_STACK && f->t->regs.rsp < ALT_STACK + ALT_SIZE);
	assert_int_equal(sigtest_context(f)->uc_mcontext.gregs[REG_RSP], (greg_t)FAKE_WILD);
}

static void a_full_alternate_stack_kills(void **state)
{
	struct sigtest *f = *state;

	sigtest_handle(f, SIGUSR1, GUEST_SA_ONSTACK, 0);
	f->t->sig.alt_base = ALT_STACK;
	f->t->sig.alt_size = ALT_SIZE;
	f->t->regs.rsp = ALT_STACK + 600;
	sigtest_send(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->status, SIGSEGV);
}

static void a_handler_in_the_upper_half_is_a_fault(void **state)
{
	struct sigtest *f = *state;

	sigtest_set_handler(f, SIGUSR1, 0xffffffff81000000);
	sigtest_send(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->status, SIGSEGV);
}

static void without_restorer_the_gate_returns(void **state)
{
	struct sigtest *f = *state;

	sigtest_set_handler(f, SIGUSR1, HANDLER);
	sigtest_send(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(*(uint64_t *)fake_memory(f->p, f->t->regs.rsp - FAKE_VA),
			 PROG_GATE_SIGRETURN);
}

static void several_signals_make_frames_on_each_other(void **state)
{
	struct sigtest *f = *state;

	sigtest_handle(f, SIGUSR1, 0, 0);
	sigtest_handle(f, SIGUSR2, 0, 0);
	sigtest_send(f, SIGUSR1);
	sigtest_send(f, SIGUSR2);
	signal_deliver(f->t, 0);
	assert_int_equal(f->t->regs.rdi, SIGUSR2);
	assert_int_equal(sigtest_context(f)->uc_mcontext.gregs[REG_RIP], HANDLER);
	return_from(f);
	assert_int_equal(f->t->regs.rdi, SIGUSR1);
	return_from(f);
	assert_int_equal(f->t->regs.rip, CODE);
	assert_int_equal(f->t->regs.rsp, STACK);
}

static void resethand_and_nodefer_do_what_they_say(void **state)
{
	struct sigtest *f = *state;

	sigtest_handle(f, SIGUSR1, GUEST_SA_RESETHAND | GUEST_SA_NODEFER, 0);
	sigtest_send(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->t->regs.rip, HANDLER);
	assert_int_equal(f->t->sig.mask, 0);
	assert_int_equal(f->p->sig.actions[SIGUSR1].handler, 0);
	sigtest_send(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->status, SIGUSR1);
}

static void autodisarm_disarms_and_the_frame_knows(void **state)
{
	struct sigtest *f = *state;

	sigtest_handle(f, SIGUSR1, GUEST_SA_ONSTACK, 0);
	f->t->sig.alt_base = ALT_STACK;
	f->t->sig.alt_size = ALT_SIZE;
	f->t->sig.alt_flags = GUEST_SS_AUTODISARM;
	sigtest_send(f, SIGUSR1);
	signal_deliver(f->t, 0);
	assert_int_equal(f->t->sig.alt_size, 0);
	return_from(f);
	assert_int_equal(f->t->sig.alt_base, ALT_STACK);
	assert_int_equal(f->t->sig.alt_size, ALT_SIZE);
	assert_int_equal(f->t->sig.alt_flags, GUEST_SS_AUTODISARM);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, sigtest_set_up, sigtest_tear_down)
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Signals of program guests: queues, who takes them, actions, restarts and the calls. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "signals_fixture.h"

static int send_task(struct sigtest *f, struct task *t, int signo)
{
	struct guest_siginfo info = sigtest_info(signo);

	return signal_send(f->p, t, &info);
}

/* A call that was interrupted with `result`. Gives rax afterwards. */
static int64_t finish_call(struct sigtest *f, uint64_t number, int64_t result)
{
	f->t->syscall = number;
	result = signal_deliver(f->t, result);
	f->t->syscall = UINT64_MAX;
	f->t->regs.rax = (uint64_t)result;
	return result;
}

/* --- Queues ------------------------------------------------------------------------------- */

static void a_standard_signal_waits_once(void **state)
{
	struct sigtest *f = *state;

	f->t->sig.mask = SIG_BIT(SIGUSR1);
	assert_int_equal(sigtest_send(f, SIGUSR1), 0);
	assert_int_equal(sigtest_send(f, SIGUSR1), 0);
	assert_int_equal(sigtest_take(f), SIGUSR1);
	assert_int_equal(sigtest_take(f), 0);
}

static void realtime_signals_queue_in_order(void **state)
{
	struct sigtest *f = *state;
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
	assert_false(sigtest_pending(f, 40));
}

static void the_lowest_number_comes_first_but_for_faults(void **state)
{
	static const int order[] = {SIGILL, SIGSEGV, SIGHUP, SIGTERM, 34, 64};
	static const int sent[] = {64, SIGTERM, SIGSEGV, 34, SIGHUP, SIGILL};
	struct sigtest *f = *state;

	f->t->sig.mask = ~(uint64_t)0;
	for (size_t i = 0; i < ARRAY_SIZE(sent); i++)
		assert_int_equal(send_task(f, f->t, sent[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		assert_int_equal(sigtest_take(f), order[i]);
}

static void ignored_signals_are_dropped_unless_blocked(void **state)
{
	struct sigtest *f = *state;

	assert_int_equal(sigtest_send(f, SIGCHLD), 0);
	assert_int_equal(sigtest_take(f), 0);
	sigtest_set_handler(f, SIGTERM, 1);
	assert_int_equal(sigtest_send(f, SIGTERM), 0);
	assert_int_equal(sigtest_take(f), 0);
	f->t->sig.mask = SIG_BIT(SIGTERM) | SIG_BIT(SIGCHLD);
	assert_int_equal(sigtest_send(f, SIGCHLD), 0);
	assert_int_equal(sigtest_send(f, SIGTERM), 0);
	assert_int_equal(sigtest_take(f), SIGTERM);
	assert_int_equal(sigtest_take(f), SIGCHLD);
}

static void ignoring_drops_what_waits(void **state)
{
	struct sigtest *f = *state;

	f->t->sig.mask = ~(uint64_t)0;
	sigtest_send(f, SIGTERM);
	send_task(f, f->t, SIGTERM);
	sigtest_send(f, 40);
	sigtest_set_handler(f, SIGTERM, 1);
	assert_int_equal(sigtest_take(f), 40);
	assert_int_equal(sigtest_take(f), 0);
}

static void the_queue_is_bounded(void **state)
{
	struct sigtest *f = *state;
	struct guest_siginfo info = {.signo = 40, .code = SI_QUEUE};
	int sent = 0;

	f->t->sig.mask = ~(uint64_t)0;
	while (sent < 100000 && !signal_send(f->p, NULL, &info))
		sent++;
	assert_int_equal(sent, SIG_QUEUE_MAX);
	assert_int_equal(signal_send(f->p, NULL, &info), -EAGAIN);
	/* What kill(2) sends arrives, and so do standard signals. */
	assert_int_equal(sigtest_send(f, 41), 0);
	assert_int_equal(sigtest_send(f, SIGTERM), 0);
	assert_int_equal(sigtest_take(f), SIGTERM);
	for (int i = 0; i < sent; i++)
		assert_int_equal(sigtest_take(f), 40);
	assert_int_equal(sigtest_take(f), 41);
	assert_int_equal(sigtest_take(f), 0);
	assert_int_equal(sigtest_queued(f), 0);
}

static void stop_and_continue_take_each_other_back(void **state)
{
	struct sigtest *f = *state;

	f->t->sig.mask = ~sig_unblockable();
	sigtest_send(f, SIGTSTP);
	sigtest_send(f, SIGCONT);
	assert_int_equal(sigtest_take(f), SIGCONT);
	assert_int_equal(sigtest_take(f), 0);
}

/* --- Who takes it ------------------------------------------------------------------------- */

static void a_task_that_does_not_block_it_is_kicked(void **state)
{
	struct sigtest *f = *state;
	struct task *other = fake_task(f->p, PROCESS_PID + 1);

	f->t->sig.mask = SIG_BIT(SIGUSR1);
	sigtest_send(f, SIGUSR1);
	assert_int_equal(f->t->kicked, 0);
	assert_int_equal(other->kicked, 1);
	assert_false(signal_deliverable(f->t));
	assert_true(signal_deliverable(other));
}

static void blocking_hands_it_over(void **state)
{
	struct sigtest *f = *state;
	struct task *other = fake_task(f->p, PROCESS_PID + 1);

	sigtest_send(f, SIGUSR1);
	assert_int_equal(f->t->kicked, 1);
	assert_int_equal(other->kicked, 0);
	signal_set_mask(f->t, SIG_BIT(SIGUSR1));
	assert_int_equal(other->kicked, 1);
}

static void a_task_that_ends_hands_it_over(void **state)
{
	struct sigtest *f = *state;
	struct task *other = fake_task(f->p, PROCESS_PID + 1);

	sigtest_send(f, SIGUSR1);
	assert_int_equal(other->kicked, 0);
	signals_task_fini(f->t);
	assert_int_equal(other->kicked, 1);
}

static void a_signal_to_a_task_is_its_own(void **state)
{
	struct sigtest *f = *state;
	struct task *other = fake_task(f->p, PROCESS_PID + 1);
	struct guest_siginfo info = sigtest_info(SIGUSR1);

	assert_int_equal(signal_send_tid(f->p, PROCESS_PID + 1, &info), 0);
	assert_false(signal_deliverable(f->t));
	assert_true(signal_deliverable(other));
	assert_int_equal(signal_send_tid(f->p, 4711, &info), -ESRCH);
}

/* It may wait on a signalfd, which another one that does so may find readable and put right. */
static void a_task_whose_signal_a_signalfd_takes_is_kicked(void **state)
{
	struct sigtest *f = *state;
	struct task *other = fake_task(f->p, PROCESS_PID + 1);
	struct guest_siginfo info = sigtest_info(SIGUSR1);
	struct file *file = signalfd_new(f->p, SIG_BIT(SIGUSR1), 0);

	assert_non_null(file);
	f->t->sig.mask = other->sig.mask = SIG_BIT(SIGUSR1) | SIG_BIT(SIGUSR2);
	info.signo = SIGUSR2;
	assert_int_equal(signal_send_tid(f->p, PROCESS_PID + 1, &info), 0);
	assert_int_equal(other->kicked, 0);
	info.signo = SIGUSR1;
	assert_int_equal(signal_send_tid(f->p, PROCESS_PID + 1, &info), 0);
	assert_int_equal(other->kicked, 1);
	assert_int_equal(f->t->kicked, 0);
	file_put(file);
}

/* --- Default actions ---------------------------------------------------------------------- */

static void default_action_ends_the_process(void **state)
{
	struct sigtest *f = *state;

	sigtest_send(f, SIGTERM);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->state, PROCESS_KILLED);
	assert_int_equal(f->p->status, SIGTERM);
	assert_string_equal(f->p->message, "");
}

static void a_fault_that_nobody_handles_says_where(void **state)
{
	struct sigtest *f = *state;
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
	struct sigtest *f = *state;
	struct guest_siginfo info = {.signo = SIGSEGV, .code = SEGV_MAPERR};

	sigtest_handle(f, SIGSEGV, 0, 0);
	f->t->sig.mask = SIG_BIT(SIGSEGV);
	signal_force(f->t, &info);
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->state, PROCESS_KILLED);
}

static void kill_cannot_be_caught_or_blocked(void **state)
{
	struct guest_sigaction action = {.handler = HANDLER};
	struct sigtest *f = *state;

	assert_int_equal(signal_set_action(f->p, SIGKILL, &action, NULL), -EINVAL);
	assert_int_equal(signal_set_action(f->p, SIGSTOP, &action, NULL), -EINVAL);
	assert_int_equal(signal_set_action(f->p, 65, NULL, NULL), -EINVAL);
	assert_int_equal(signal_set_action(f->p, 0, NULL, NULL), -EINVAL);
	signal_set_mask(f->t, ~(uint64_t)0);
	sigtest_send(f, SIGKILL);
	assert_true(signal_deliverable(f->t));
	signal_deliver(f->t, 0);
	assert_int_equal(f->p->status, SIGKILL);
}

static void stops_do_nothing(void **state)
{
	struct sigtest *f = *state;

	sigtest_send(f, SIGSTOP);
	sigtest_send(f, SIGTSTP);
	assert_int_equal(signal_deliver(f->t, 0), 0);
	assert_int_equal(f->p->state, PROCESS_RUNNING);
	assert_false(signal_deliverable(f->t));
	assert_int_equal(f->t->regs.rip, CODE);
}

/* --- Restarting --------------------------------------------------------------------------- */

static void check_restart(struct sigtest *f, uint64_t flags, int64_t result, int64_t expected)
{
	bool again = expected == 35;

	sigtest_handle(f, SIGUSR1, flags, 0);
	sigtest_send(f, SIGUSR1);
	finish_call(f, 35, result);
	assert_int_equal(f->t->regs.rip, HANDLER);
	assert_int_equal(sigtest_context(f)->uc_mcontext.gregs[REG_RAX], expected);
	assert_int_equal(sigtest_context(f)->uc_mcontext.gregs[REG_RIP],
			 again ? CODE - 2 : CODE);
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
	struct sigtest *f = *state;

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

static uint64_t put64(struct sigtest *f, size_t offset, uint64_t value)
{
	memcpy(fake_memory(f->p, offset), &value, sizeof(value));
	return FAKE_VA + offset;
}

static void sigsuspend_puts_the_mask_back(void **state)
{
	struct sigtest *f = *state;

	sigtest_handle(f, SIGUSR1, 0, 0);
	f->t->sig.mask = SIG_BIT(SIGUSR1);
	sigtest_send(f, SIGUSR1);
	assert_false(signal_deliverable(f->t));
	assert_int_equal(sigtest_call(f, sys_rt_sigsuspend,
				      put64(f, ARGUMENTS, SIG_BIT(SIGHUP)), 8, 0, 0),
			 -ERESTARTNOHAND);
	assert_true(signal_deliverable(f->t));
	assert_int_equal(finish_call(f, 130, -ERESTARTNOHAND), 0);
	assert_int_equal(f->t->regs.rip, HANDLER);
	assert_int_equal(f->t->sig.mask, SIG_BIT(SIGHUP) | SIG_BIT(SIGUSR1));
	f->t->regs.rsp += 8;
	assert_int_equal(sigtest_call(f, sys_rt_sigreturn, 0, 0, 0, 0), -EINTR);
	assert_int_equal(f->t->sig.mask, SIG_BIT(SIGUSR1));
}

static void a_mask_of_a_call_that_succeeds_is_over_before_signals(void **state)
{
	struct sigtest *f = *state;

	sigtest_handle(f, SIGUSR1, 0, 0);
	f->t->sig.mask = SIG_BIT(SIGUSR1);
	assert_int_equal(signal_mask_push(f->t, put64(f, ARGUMENTS, 0), 8), 0);
	sigtest_send(f, SIGUSR1);
	assert_true(signal_deliverable(f->t));
	assert_int_equal(finish_call(f, 271, 1), 1);
	assert_int_equal(f->t->regs.rip, CODE);
	assert_int_equal(f->t->sig.mask, SIG_BIT(SIGUSR1));
	assert_true(sigtest_pending(f, SIGUSR1));
}

static void a_signal_that_the_calls_mask_kept_away_comes_after_it(void **state)
{
	struct sigtest *f = *state;

	sigtest_handle(f, SIGUSR1, 0, 0);
	assert_int_equal(signal_mask_push(f->t, put64(f, ARGUMENTS, SIG_BIT(SIGUSR1)), 8), 0);
	sigtest_send(f, SIGUSR1);
	finish_call(f, 271, -EINTR);
	assert_int_equal(f->t->regs.rip, HANDLER);
	assert_int_equal(sigtest_context(f)->uc_mcontext.gregs[REG_RAX], -EINTR);
}

static void from_outside_it_is_sent_by_process_0(void **state)
{
	struct sigtest *f = *state;
	struct guest_siginfo info;

	signal_set_mask(f->t, SIG_BIT(SIGTERM));
	assert_int_equal(mayfly_process_signal((mayfly_process *)f->p, SIGTERM, NULL), 0);
	assert_true(signal_take(f->t, SIG_BIT(SIGTERM), &info));
	assert_int_equal(info.code, SI_USER);
	assert_int_equal(info.rt.pid, 0);
}

static void from_outside_it_waits_while_the_process_does_not_run(void **state)
{
	static const enum process_state states[] = {PROCESS_NEW, PROCESS_PAUSED};
	struct sigtest *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		f->p->state = states[i];
		assert_int_equal(mayfly_process_signal((mayfly_process *)f->p, SIGINT, NULL),
				 0);
		assert_int_equal(sigtest_take(f), SIGINT);
	}
}

static void from_outside_an_ended_process_gets_none(void **state)
{
	static const enum process_state states[] = {PROCESS_EXITED, PROCESS_KILLED,
						    PROCESS_FAILED};
	struct sigtest *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		f->p->state = states[i];
		assert_int_equal(mayfly_process_signal((mayfly_process *)f->p, SIGINT, NULL),
				 MAYFLY_E_PROTOCOL);
		assert_int_equal(sigtest_take(f), 0);
	}
}

static void from_outside_numbers_are_checked(void **state)
{
	static const int wrong[] = {0, -1, 65, INT32_MAX, INT32_MIN};
	struct sigtest *f = *state;
	mayfly_error err;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(mayfly_process_signal((mayfly_process *)f->p, wrong[i], &err),
				 MAYFLY_E_INVALID);
		assert_non_null(strstr(err.message, "is no signal"));
	}
	assert_int_equal(mayfly_process_signal(NULL, SIGINT, NULL), MAYFLY_E_INVALID);
	assert_int_equal(sigtest_take(f), 0);
}

static void sigtimedwait_takes_what_waits(void **state)
{
	struct sigtest *f = *state;
	uint64_t set = put64(f, ARGUMENTS, SIG_BIT(SIGUSR1));
	siginfo_t info;

	f->t->sig.mask = SIG_BIT(SIGUSR1);
	sigtest_send(f, SIGUSR1);
	assert_int_equal(sigtest_call(f, sys_rt_sigtimedwait, set, FAKE_VA + RESULTS, 0, 8),
			 SIGUSR1);
	memcpy(&info, fake_memory(f->p, RESULTS), sizeof(info));
	assert_int_equal(info.si_signo, SIGUSR1);
	assert_int_equal(info.si_pid, 77);
	assert_int_equal(f->t->sig.waiting_for, 0);
}

static void sigtimedwait_checks_its_arguments(void **state)
{
	struct sigtest *f = *state;
	uint64_t set = put64(f, ARGUMENTS, SIG_BIT(SIGUSR1)), time = set + 8;

	put64(f, ARGUMENTS + 8, 0);
	put64(f, ARGUMENTS + 16, 1000000000);
	assert_int_equal(sigtest_call(f, sys_rt_sigtimedwait, set, 0, time, 4), -EINVAL);
	assert_int_equal(sigtest_call(f, sys_rt_sigtimedwait, set, 0, time, 8), -EINVAL);
	assert_int_equal(sigtest_call(f, sys_rt_sigtimedwait, FAKE_WILD, 0, time, 8), -EFAULT);
	put64(f, ARGUMENTS + 16, 0);
	assert_int_equal(sigtest_call(f, sys_rt_sigtimedwait, set, 0, time, 8), -EAGAIN);
}

static void kill_knows_one_process(void **state)
{
	struct sigtest *f = *state;

	f->t->sig.mask = ~(uint64_t)0;
	assert_int_equal(sigtest_call(f, sys_kill, PROCESS_PID, 0, 0, 0), 0);
	assert_int_equal(sigtest_call(f, sys_kill, PROCESS_PID, 65, 0, 0), -EINVAL);
	assert_int_equal(sigtest_call(f, sys_kill, 4711, SIGTERM, 0, 0), -ESRCH);
	assert_int_equal(sigtest_call(f, sys_kill, (uint64_t)-1, SIGTERM, 0, 0), -ESRCH);
	assert_int_equal(sigtest_call(f, sys_kill, (uint64_t)INT32_MIN, SIGTERM, 0, 0), -ESRCH);
	assert_int_equal(sigtest_call(f, sys_kill, PROCESS_PPID, SIGTERM, 0, 0), -EPERM);
	assert_int_equal(sigtest_take(f), 0);
	assert_int_equal(sigtest_call(f, sys_kill, 0, SIGTERM, 0, 0), 0);
	assert_int_equal(sigtest_take(f), SIGTERM);
	assert_int_equal(sigtest_call(f, sys_kill, (uint64_t)-PROCESS_PID, SIGHUP, 0, 0), 0);
	assert_int_equal(sigtest_take(f), SIGHUP);
	assert_int_equal(sigtest_call(f, sys_tgkill, PROCESS_PID, PROCESS_PID, SIGHUP, 0), 0);
	assert_int_equal(sigtest_take(f), SIGHUP);
	assert_int_equal(sigtest_call(f, sys_tgkill, 5, PROCESS_PID, SIGHUP, 0), -ESRCH);
	assert_int_equal(sigtest_call(f, sys_tkill, 0, SIGHUP, 0, 0), -EINVAL);
	assert_int_equal(sigtest_call(f, sys_tkill, 4711, SIGHUP, 0, 0), -ESRCH);
}

static void only_to_itself_may_a_task_send_what_the_kernel_sends(void **state)
{
	struct sigtest *f = *state;
	struct guest_siginfo info = {.code = SI_KERNEL};

	f->t->sig.mask = ~(uint64_t)0;
	fake_task(f->p, PROCESS_PID + 1);
	memcpy(fake_memory(f->p, ARGUMENTS), &info, sizeof(info));
	assert_int_equal(sigtest_call(f, sys_rt_tgsigqueueinfo, PROCESS_PID, PROCESS_PID + 1,
				      SIGHUP, FAKE_VA + ARGUMENTS),
			 -EPERM);
	assert_int_equal(sigtest_call(f, sys_rt_sigqueueinfo, PROCESS_PID, SIGHUP,
				      FAKE_VA + ARGUMENTS, 0),
			 0);
	assert_true(signal_take(f->t, SIG_BIT(SIGHUP), &info));
	assert_int_equal(info.code, SI_KERNEL);
	assert_int_equal(info.signo, SIGHUP);
}

static void sigprocmask_never_blocks_kill(void **state)
{
	struct sigtest *f = *state;
	uint64_t set = put64(f, ARGUMENTS, ~(uint64_t)0), old;

	assert_int_equal(sigtest_call(f, sys_rt_sigprocmask, SIG_SETMASK, set, 0, 8), 0);
	assert_int_equal(f->t->sig.mask, ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP)));
	put64(f, ARGUMENTS, SIG_BIT(SIGHUP));
	assert_int_equal(
		sigtest_call(f, sys_rt_sigprocmask, SIG_UNBLOCK, set, FAKE_VA + RESULTS, 8), 0);
	memcpy(&old, fake_memory(f->p, RESULTS), sizeof(old));
	assert_int_equal(old, ~(SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP)));
	assert_int_equal(f->t->sig.mask & SIG_BIT(SIGHUP), 0);
	assert_int_equal(sigtest_call(f, sys_rt_sigprocmask, 3, set, 0, 8), -EINVAL);
	assert_int_equal(sigtest_call(f, sys_rt_sigprocmask, SIG_BLOCK, set, 0, 16), -EINVAL);
}

static void sigaction_clears_flags_that_it_does_not_know(void **state)
{
	struct sigtest *f = *state;
	struct guest_sigaction action = {.handler = HANDLER,
					 .flags = ~(uint64_t)0,
					 .restorer = RESTORER,
					 .mask = ~(uint64_t)0};

	memcpy(fake_memory(f->p, ARGUMENTS), &action, sizeof(action));
	assert_int_equal(sigtest_call(f, sys_rt_sigaction, SIGUSR1, FAKE_VA + ARGUMENTS,
				      FAKE_VA + RESULTS, 8),
			 0);
	assert_int_equal(sigtest_call(f, sys_rt_sigaction, SIGUSR1, 0, FAKE_VA + RESULTS, 8),
			 0);
	memcpy(&action, fake_memory(f->p, RESULTS), sizeof(action));
	/* SA_UNSUPPORTED (0x400) is how programs ask whether flags are cleared. */
	assert_int_equal(action.flags & 0x400, 0);
	assert_int_equal(action.flags & GUEST_SA_RESTART, GUEST_SA_RESTART);
	assert_int_equal(action.mask & sig_unblockable(), 0);
	assert_int_equal(sigtest_call(f, sys_rt_sigaction, SIGUSR1, 0, 0, 4), -EINVAL);
	assert_int_equal(sigtest_call(f, sys_rt_sigaction, SIGUSR1, FAKE_WILD, 0, 8), -EFAULT);
}

static void sigaltstack_checks_as_linux_does(void **state)
{
	struct sigtest *f = *state;
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

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, sigtest_set_up, sigtest_tear_down)
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
		T(a_task_whose_signal_a_signalfd_takes_is_kicked),
		T(default_action_ends_the_process),
		T(a_fault_that_nobody_handles_says_where),
		T(a_forced_signal_cannot_be_blocked_or_ignored),
		T(kill_cannot_be_caught_or_blocked),
		T(stops_do_nothing),
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
		T(from_outside_it_is_sent_by_process_0),
		T(from_outside_it_waits_while_the_process_does_not_run),
		T(from_outside_an_ended_process_gets_none),
		T(from_outside_numbers_are_checked),
		T(sigtimedwait_takes_what_waits),
		T(sigtimedwait_checks_its_arguments),
		T(kill_knows_one_process),
		T(only_to_itself_may_a_task_send_what_the_kernel_sends),
		T(sigprocmask_never_blocks_kill),
		T(sigaction_clears_flags_that_it_does_not_know),
		T(sigaltstack_checks_as_linux_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

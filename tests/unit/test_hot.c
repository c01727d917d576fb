/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hot dispatch with the mock for a hypervisor: the guest is a driver that runs on the vCPU's thread and
 * uses the mailbox as the gate does, so that what leaves the VM can be counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guest_fixture.h"

/* What the guest does with its turns. */
enum behaviour { ADDS, FAULTS, FAILS, NEVER_ANSWERS };

static struct mayfly_snapshot *snap;
static mayfly_sandbox *sb;
static mayfly_error err;
static enum behaviour behaviour;
static uint32_t looks; /* before it leaves the VM */

/* As gate.S has it: the answer, and the next turn, or an OUT. True: here it is. */
static bool host_turn(struct mock_vm *vm, struct hv_exit *exit)
{
	uint32_t seen = __atomic_load_n(&sb->call->turn, __ATOMIC_SEQ_CST);
	uint32_t left = looks;

	__atomic_store_n(&sb->call->answer, seen, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&sb->fresh->spin, __ATOMIC_SEQ_CST) <= 1)
		left = 1;
	while (left-- && !mock_is_kicked(vm)) {
		if (__atomic_load_n(&sb->call->turn, __ATOMIC_SEQ_CST) != seen)
			return true;
		sched_yield();
	}
	if (mock_is_kicked(vm)) {
		exit->kind = HV_EXIT_KICKED;
		return false;
	}
	*exit = mock_out(FN_PORT_GATE);
	return !__atomic_compare_exchange_n(&sb->call->turn, &seen, seen | FN_TURN_LEFT, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static int guest(struct mock_vm *vm, void *context, struct hv_exit *exit)
{
	(void)context;
	do {
		switch (behaviour) {
		case FAULTS:
			*exit = mock_out(FN_PORT_EXCEPTION + 6);
			return 0;
		case FAILS:
			return MAYFLY_E_HYPERVISOR;
		case NEVER_ANSWERS:
			while (!mock_is_kicked(vm))
				sched_yield();
			exit->kind = HV_EXIT_KICKED;
			return 0;
		case ADDS:
			break;
		}
		if (sb->call->reply == FN_REPLY_CALL) {
			sb->call->result[0] = sb->call->iregs[0] + sb->call->iregs[1];
			sb->call->op = FN_OP_RESULT;
		} else {
			sb->call->op = FN_OP_READY;
		}
	} while (host_turn(vm, exit));
	return 0;
}

static int setup(void **state)
{
	mayfly_sandbox_options o = MAYFLY_SANDBOX_OPTIONS_INIT;

	(void)state;
	mock_reset();
	memset(&err, 0, sizeof(err));
	behaviour = ADDS;
	looks = UINT32_MAX;
	snap = fixture_simple();
	mock_drive(guest, NULL);
	o.dispatch = MAYFLY_DISPATCH_HOT;
	sb = fixture_sandbox(snap, &o);
	alarm(300);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	alarm(0);
	sandbox_free(sb);
	mayfly_snapshot_unref(snap);
	return mock_live() ? -1 : 0;
}

static int add(int64_t a, int64_t b, int64_t *sum)
{
	mayfly_value args[] = {mayfly_i64(a), mayfly_i64(b)}, result = mayfly_i64(-1);
	int r = sandbox_call(sb, fixture_function(snap, "add"), args, 2, &result, &err);

	*sum = result.as.i64;
	return r;
}

static void must_add(int64_t a, int64_t b)
{
	int64_t sum;

	assert_int_equal(add(a, b, &sum), 0);
	assert_int_equal(sum, a + b);
}

static void wait_until_asleep(void)
{
	while (hot_is_running(sb))
		sched_yield();
}

/* --- tests ----------------------------------------------------------------------------------- */

static void calls_are_made_without_leaving(void **state)
{
	(void)state;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	uint64_t without = 0;

	/*
	 * Where the host fell asleep over it, the guest left; and runs again. On a busy machine
	 * that may be so for long: alarm(2) is what gives up.
	 */
	for (int64_t i = 0; i < 2000 || !without; i++) {
		uint64_t runs = mock_count(MOCK_VCPU_RUN);

		must_add(i, i);
		without += mock_count(MOCK_VCPU_RUN) == runs;
	}
}

static void a_guest_that_waited_in_vain_is_entered_again(void **state)
{
	uint64_t runs;

	(void)state;
	looks = 1;
	for (int64_t i = 0; i < 200; i++) {
		must_add(i, 1);
		wait_until_asleep();
		runs = mock_count(MOCK_VCPU_RUN);
		must_add(i, 2);
		assert_true(mock_count(MOCK_VCPU_RUN) > runs);
	}
}

static void leaving_at_the_moment_of_a_call_loses_neither(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 4000; i++) {
		looks = 1 + i % 5;
		must_add(i, i);
	}
}

static void an_exception_is_one(void **state)
{
	int64_t sum;

	(void)state;
	must_add(1, 1);
	wait_until_asleep();
	behaviour = FAULTS;
	assert_int_equal(add(1, 1, &sum), MAYFLY_E_FAULT);
	assert_int_equal(sb->fault.vector, 6);
	behaviour = ADDS;
	assert_int_equal(sandbox_restore(sb, NULL, &err), 0);
	must_add(2, 2);
}

static void a_failure_of_the_hypervisor_is_told_to_the_caller(void **state)
{
	int64_t sum;

	(void)state;
	behaviour = FAILS;
	assert_int_equal(add(1, 1, &sum), MAYFLY_E_HYPERVISOR);
	assert_non_null(strstr(err.message, "the driver says that the run fails"));
	assert_int_equal(sb->fault.kind, MAYFLY_FAULT_HYPERVISOR);
	behaviour = ADDS;
	assert_int_equal(sandbox_restore(sb, NULL, &err), 0);
	must_add(2, 2);
}

static void *interrupt(void *unused)
{
	const struct timespec pause = {.tv_nsec = 3000000};

	(void)unused;
	nanosleep(&pause, NULL);
	while (!sandbox_interrupt(sb))
		sched_yield();
	return NULL;
}

static void an_interrupt_ends_a_call_whose_caller_sleeps(void **state)
{
	pthread_t thread;
	int64_t sum;

	(void)state;
	for (int i = 0; i < 5; i++) {
		behaviour = NEVER_ANSWERS;
		assert_int_equal(pthread_create(&thread, NULL, interrupt, NULL), 0);
		assert_int_equal(add(1, 1, &sum), MAYFLY_E_INTERRUPTED);
		pthread_join(thread, NULL);
		behaviour = ADDS;
		assert_int_equal(sandbox_restore(sb, NULL, &err), 0);
		must_add(3, 4);
	}
}

static void a_restore_resets_a_vcpu_that_was_not_at_the_gate(void **state)
{
	struct mock_vm *vm = fixture_vm(sb);

	(void)state;
	must_add(1, 1);
	assert_int_equal(sandbox_restore(sb, NULL, &err), 0);
	assert_int_equal(vm->resets, 0);
	must_add(1, 1);
	hot_park(sb);
	assert_int_equal(sandbox_restore(sb, NULL, &err), 0);
	/* Unless it had just left by itself. */
	assert_true(vm->resets == 1 || vm->kicks == 0);
	must_add(1, 1);
}

static void a_captured_state_knows_nothing_of_dispatch(void **state)
{
	struct mayfly_snapshot *captured;
	const struct fn_fresh *fresh;

	(void)state;
	must_add(1, 1);
	assert_int_equal(sandbox_capture(sb, &captured, &err), 0);
	fresh = (const struct fn_fresh *)(const void *)captured->state;
	assert_int_equal(fresh->spin, 0);
	assert_true(sb->fresh->spin > 0);
	must_add(1, 1);
	mayfly_snapshot_unref(captured);
}

static void the_caller_enters_by_itself_after_a_switch_back(void **state)
{
	(void)state;
	must_add(1, 1);
	assert_int_equal(sandbox_set_dispatch(sb, MAYFLY_DISPATCH_NORMAL, &err), 0);
	for (int64_t i = 0; i < 20; i++) {
		uint64_t runs = mock_count(MOCK_VCPU_RUN);

		must_add(i, 1);
		assert_int_equal(mock_count(MOCK_VCPU_RUN), runs + 1);
	}
	assert_int_equal(sandbox_set_dispatch(sb, MAYFLY_DISPATCH_HOT, &err), 0);
	must_add(1, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(calls_are_made_without_leaving),
		TEST(a_guest_that_waited_in_vain_is_entered_again),
		TEST(leaving_at_the_moment_of_a_call_loses_neither),
		TEST(an_exception_is_one),
		TEST(a_failure_of_the_hypervisor_is_told_to_the_caller),
		TEST(an_interrupt_ends_a_call_whose_caller_sleeps),
		TEST(a_restore_resets_a_vcpu_that_was_not_at_the_gate),
		TEST(a_captured_state_knows_nothing_of_dispatch),
		TEST(the_caller_enters_by_itself_after_a_switch_back),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

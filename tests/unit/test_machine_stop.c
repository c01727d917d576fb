/* SPDX-License-Identifier: Apache-2.0 */
/* Which of several reasons a run of a machine ends for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include "machine/machine.h"

/* One without CPUs: nobody is to be kicked. */
static struct machine m;

static int setup(void **state)
{
	(void)state;
	m = (struct machine){.lock = PTHREAD_MUTEX_INITIALIZER,
			     .changed = PTHREAD_COND_INITIALIZER,
			     .state = MACHINE_RUNNING};
	return 0;
}

static void first_reason_counts(void **state)
{
	static const mayfly_error failure = {.code = MAYFLY_E_HYPERVISOR};

	(void)state;
	machine_exit(&m, 7);
	machine_stop(&m, STOP_RESET);
	machine_exit(&m, 8);
	machine_fail(&m, &failure);
	machine_stop(&m, STOP_PAUSE);
	machine_interrupt(&m);
	assert_int_equal(m.stop, STOP_EXIT);
	assert_int_equal(m.exit_status, 7);
	assert_int_equal(m.failure.code, 0);
}

/* It has written the port, and would not do so again after the pause. */
static void exit_while_a_pause_begins_is_not_lost(void **state)
{
	(void)state;
	machine_stop(&m, STOP_PAUSE);
	machine_exit(&m, 7);
	machine_stop(&m, STOP_PAUSE);
	assert_int_equal(m.stop, STOP_EXIT);
	assert_int_equal(m.exit_status, 7);
}

static void reset_and_power_off_while_a_pause_begins_are_not_lost(void **state)
{
	static const enum machine_stop ends[] = {STOP_RESET, STOP_OFF};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		setup(state);
		machine_stop(&m, STOP_PAUSE);
		machine_stop(&m, ends[i]);
		assert_int_equal(m.stop, ends[i]);
	}
}

/* Another CPU's fault, while all are being stopped, is not what ended it. */
static void fault_that_ends_it_is_the_first(void **state)
{
	const struct machine_fault first = {
		.happened = true, .cpu = 1, .has_ip = true, .ip = 5};
	const struct machine_fault second = {.happened = true, .cpu = 2};

	(void)state;
	machine_triple_fault(&m, &first);
	machine_triple_fault(&m, &second);
	assert_int_equal(m.stop, STOP_RESET);
	assert_int_equal(m.fault.cpu, 1);
	assert_int_equal(m.fault.ip, 5);
	setup(state);
	machine_stop(&m, STOP_OFF);
	machine_triple_fault(&m, &first);
	assert_int_equal(m.stop, STOP_OFF);
	assert_false(m.fault.happened);
}

/* What is left of that machine must not be saved as if it were whole. */
static void failure_while_a_pause_begins_is_not_lost(void **state)
{
	static const mayfly_error failure = {.code = MAYFLY_E_HYPERVISOR};

	(void)state;
	machine_stop(&m, STOP_PAUSE);
	machine_fail(&m, &failure);
	assert_int_equal(m.stop, STOP_FAILED);
	assert_int_equal(m.failure.code, MAYFLY_E_HYPERVISOR);
}

/* It is for the next run, then. */
static void interrupt_while_a_pause_begins_lets_it_pause(void **state)
{
	(void)state;
	machine_stop(&m, STOP_PAUSE);
	machine_interrupt(&m);
	assert_int_equal(m.stop, STOP_PAUSE);
	assert_true(m.interrupted);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(first_reason_counts),
		TEST(exit_while_a_pause_begins_is_not_lost),
		TEST(reset_and_power_off_while_a_pause_begins_are_not_lost),
		TEST(fault_that_ends_it_is_the_first),
		TEST(failure_while_a_pause_begins_is_not_lost),
		TEST(interrupt_while_a_pause_begins_lets_it_pause),
	};

	return cmocka_run_group_tests_name("machine_stop", tests, NULL, NULL);
}

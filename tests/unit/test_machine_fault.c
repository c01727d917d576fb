/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of a triple fault, on the mock hypervisor: which CPU, where. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <string.h>
#include <unistd.h>

#include "../pvh_file.h"
#include "hv/mock.h"
#include "machine/machine.h"

#define HANG_SECONDS 60

static char kernel[] = "/tmp/mayfly-machine-fault-XXXXXX";
static struct machine *m;
static mayfly_machine_end end;
static bool told; /* the event */

/* Which CPU faults, and where. */
static struct {
	uint32_t cpu;
	uint64_t ip, cs_base;
} fault;

static void note_event(void *context, const mayfly_event *event)
{
	(void)context;
	if (!strcmp(event->name, "triple fault"))
		told = true;
}

/* The others wait until they are kicked. */
static int one_faults(struct mock_vm *vm, void *context, struct hv_exit *exit)
{
	(void)context;
	if (vm->number == fault.cpu && !mock_is_kicked(vm)) {
		vm->regs.rip = fault.ip;
		vm->control.cs_base = fault.cs_base;
		exit->kind = HV_EXIT_SHUTDOWN;
		return 0;
	}
	pthread_mutex_lock(&vm->lock);
	while (!vm->kicked)
		pthread_cond_wait(&vm->changed, &vm->lock);
	pthread_mutex_unlock(&vm->lock);
	exit->kind = HV_EXIT_KICKED;
	return 0;
}

static int write_kernel(void **state)
{
	(void)state;
	return pvh_write(kernel, "\xf4", 1);
}

static int remove_kernel(void **state)
{
	(void)state;
	return unlink(kernel);
}

static int setup(void **state)
{
	(void)state;
	alarm(HANG_SECONDS);
	mock_reset();
	mock_host()->max_vcpus = 4;
	told = false;
	m = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	machine_free(m);
	assert_int_equal(mock_live(), 0);
	return 0;
}

/* Run a machine with CPUs of which this one faults here. */
static void run_to_fault(uint32_t cpu, uint64_t ip, uint64_t cs_base)
{
	mayfly_machine_options o = MAYFLY_MACHINE_OPTIONS_INIT;

	fault.cpu = cpu;
	fault.ip = ip;
	fault.cs_base = cs_base;
	o.kernel = kernel;
	o.memory = (uint64_t)16 << 20;
	o.cpus = 4;
	o.event = note_event;
	assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), 0);
	mock_drive(one_faults, NULL);
	end = (mayfly_machine_end){.size = sizeof(end)};
	assert_int_equal(machine_run(m, NULL, &end, NULL), 0);
	assert_int_equal(end.reason, MAYFLY_MACHINE_RESET);
	assert_true(end.triple_fault);
	assert_int_equal(end.fault_cpu, cpu);
}

static void fault_tells_its_cpu_and_instruction(void **state)
{
	(void)state;
	run_to_fault(2, 0xffffffff81000123, 0);
	assert_true(end.fault_has_ip);
	assert_int_equal(end.fault_ip, 0xffffffff81000123);
}

static void fault_at_address_0_is_told_as_well(void **state)
{
	(void)state;
	run_to_fault(0, 0, 0);
	assert_true(end.fault_has_ip);
	assert_int_equal(end.fault_ip, 0);
}

/* KVM with SVM has reset the CPU by then: that it is at its first instruction says nothing. */
static void address_after_a_reset_is_none(void **state)
{
	(void)state;
	run_to_fault(1, 0xfff0, 0xffff0000);
	assert_false(end.fault_has_ip);
	assert_int_equal(end.fault_ip, 0);
}

static void fault_is_an_event(void **state)
{
	(void)state;
	run_to_fault(0, 0x100000, 0);
	assert_true(told);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(fault_tells_its_cpu_and_instruction),
		TEST(fault_at_address_0_is_told_as_well),
		TEST(address_after_a_reset_is_none),
		TEST(fault_is_an_event),
	};

	return cmocka_run_group_tests_name("machine_fault", tests, write_kernel, remove_kernel);
}

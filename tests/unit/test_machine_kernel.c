/* SPDX-License-Identifier: Apache-2.0 */
/* How kernels and initrds come into machines on the mock hypervisor: mapped, or by a thread. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "hv/mock.h"
#include "kernel_builder.h"
#include "machine/machine.h"
#include "machine/platform.h"

#define HANG_SECONDS 60
#define MIB ((uint64_t)1 << 20)
#define INITRD_LEN (2 * MIB)

static char kernel[] = "/tmp/mayfly-machine-kernel-XXXXXX";
static char initrd[] = "/tmp/mayfly-machine-initrd-XXXXXX";
static uint8_t initrd_bytes[INITRD_LEN];
static struct machine *m;

static int write_file(char *path, const void *data, size_t len)
{
	_cleanup_close_ int fd = mkostemp(path, O_CLOEXEC);

	return fd >= 0 && write(fd, data, len) == (ssize_t)len ? 0 : -1;
}

/* A kernel with one whole page of its own, all 0xaa; and an initrd, all 0x55. */
static int write_files(void **state)
{
	struct kernel_file file;

	(void)state;
	kernel_file_elf(&file);
	file.load->p_filesz = PAGE_SIZE;
	memset(file.data + KERNEL_CODE_OFFSET, 0xaa, PAGE_SIZE);
	memset(initrd_bytes, 0x55, INITRD_LEN);
	if (write_file(kernel, file.data, KERNEL_CODE_OFFSET + PAGE_SIZE) < 0)
		return -1;
	return write_file(initrd, initrd_bytes, INITRD_LEN);
}

static int remove_files(void **state)
{
	(void)state;
	unlink(kernel);
	unlink(initrd);
	return 0;
}

static mayfly_machine_options options(void)
{
	mayfly_machine_options o = MAYFLY_MACHINE_OPTIONS_INIT;

	o.kernel = kernel;
	o.memory = 16 * MIB;
	return o;
}

static int setup(void **state)
{
	(void)state;
	alarm(HANG_SECONDS);
	mock_reset();
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

static struct mock_step write_port(uint16_t number, uint8_t *value)
{
	return (struct mock_step){
		.exit = {.kind = HV_EXIT_IO, .io = {number, 1, true, 1, value}}};
}

static void check_kernel(struct mock_vm *vm, void *context)
{
	uint32_t *checked = context;

	for (uint32_t i = 0; i < PAGE_SIZE; i++)
		assert_int_equal(*(uint8_t *)mock_physical(vm, KERNEL_ADDRESS + i, 1), 0xaa);
	(*checked)++;
}

static void snapshot_has_what_nobody_touched_of_a_mapped_kernel(void **state)
{
	uint8_t mark = MACHINE_MARK_SNAPSHOT, status = 7;
	uint32_t checked = 0;
	struct mock_step first[] = {write_port(PORT_MARK, &mark)};
	struct mock_step last[] = {
		{.act = check_kernel, .context = &checked, .exit = {.kind = HV_EXIT_HALT}},
		write_port(PORT_EXIT, &status)};
	mayfly_machine_pause pause = {.size = sizeof(pause), .port = true};
	mayfly_machine_end end = {.size = sizeof(end)};
	mayfly_machine_options o = options();
	mayfly_snapshot *snap;

	(void)state;
	o.flags = MAYFLY_MACHINE_MAP_KERNEL;
	assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), 0);
	assert_int_equal(m->mapped_first, KERNEL_ADDRESS / PAGE_SIZE);
	assert_int_equal(m->mapped_end, KERNEL_ADDRESS / PAGE_SIZE + 1);
	mock_play(first, 1);
	assert_int_equal(machine_run(m, &pause, &end, NULL), 0);
	assert_int_equal(machine_snapshot(m, &snap, NULL), 0);
	machine_free(m);
	o = (mayfly_machine_options){.size = sizeof(o), .snapshot = snap};
	assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), 0);
	mock_play(last, 2);
	assert_int_equal(machine_run(m, NULL, &end, NULL), 0);
	assert_int_equal(end.status, 7);
	assert_int_equal(checked, 1);
	mayfly_snapshot_unref(snap);
}

static void kernel_is_copied_unless_it_may_be_mapped(void **state)
{
	mayfly_machine_options o = options();

	(void)state;
	assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), 0);
	assert_int_equal(m->mapped_end, 0);
	assert_int_equal(m->ram.mem[KERNEL_ADDRESS], 0xaa);
}

static void large_initrd_is_there_in_the_end(void **state)
{
	mayfly_machine_options o = options();

	(void)state;
	o.initrd = initrd;
	assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), 0);
	assert_memory_equal(m->ram.mem + o.memory - INITRD_LEN, initrd_bytes, INITRD_LEN);
}

static void failure_while_a_large_initrd_is_loaded_leaves_nothing(void **state)
{
	static const enum mock_op ops[] = {MOCK_VM_NEW, MOCK_VM_MAP, MOCK_PLATFORM};
	mayfly_machine_options o = options();

	(void)state;
	o.initrd = initrd;
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		mock_fail(ops[i], 1, MAYFLY_E_HYPERVISOR);
		assert_int_equal(machine_new(&hv_mock, &o, &m, NULL), MAYFLY_E_HYPERVISOR);
		assert_int_equal(mock_live(), 0);
	}
}

static void large_initrd_that_does_not_fit_is_refused(void **state)
{
	mayfly_machine_options o = options();
	mayfly_error err;

	(void)state;
	o.initrd = initrd;
	o.memory = 3 * MIB;
	assert_int_equal(machine_new(&hv_mock, &o, &m, &err), MAYFLY_E_TOO_LARGE);
	assert_non_null(strstr(err.message, "initrd"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(snapshot_has_what_nobody_touched_of_a_mapped_kernel),
		TEST(kernel_is_copied_unless_it_may_be_mapped),
		TEST(large_initrd_is_there_in_the_end),
		TEST(failure_while_a_large_initrd_is_loaded_leaves_nothing),
		TEST(large_initrd_that_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, write_files, remove_files);
}

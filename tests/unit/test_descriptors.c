/* SPDX-License-Identifier: Apache-2.0 */
/* Ring 0's page, byte for byte as the SDM (vol. 3, chapters 3, 5 to 8) has it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "arch/x86_64/descriptors.h"

#define VA 0x123456789000ULL
#define STACK_TOP 0x7654321000ULL
#define EXCEPTION_PORT 0x40
#define USER_PORT 0x10

static _Alignas(4096) uint8_t page[4096];
static struct cpu_setup cpu;

static int setup(void **state)
{
	(void)state;
	memset(page, 0, sizeof(page));
	memset(&cpu, 0xff, sizeof(cpu));
	descriptors_build(page, VA, STACK_TOP, EXCEPTION_PORT, USER_PORT);
	descriptors_setup(&cpu, VA);
	return 0;
}

static uint64_t get(size_t offset, size_t len)
{
	uint64_t v = 0;

	memcpy(&v, page + offset, len);
	return v;
}

/* A segment descriptor's fields (3.4.5). */
struct segment {
	uint64_t base;
	uint32_t limit;
	unsigned type, s, dpl, p, l, db, g;
};

static struct segment segment(uint16_t selector)
{
	uint64_t d = get(DESCRIPTORS_GDT + (selector & ~7u), 8);

	return (struct segment){
		.base = (d >> 16 & 0xffffff) | (d >> 56 & 0xff) << 24,
		.limit = (uint32_t)((d & 0xffff) | (d >> 48 & 0xf) << 16),
		.type = d >> 40 & 0xf,
		.s = d >> 44 & 1,
		.dpl = d >> 45 & 3,
		.p = d >> 47 & 1,
		.l = d >> 53 & 1,
		.db = d >> 54 & 1,
		.g = d >> 55 & 1,
	};
}

static void null_descriptor_is_zero(void **state)
{
	(void)state;
	assert_int_equal(get(DESCRIPTORS_GDT, 8), 0);
}

static void code_segments_are_64_bit_and_accessed(void **state)
{
	static const struct {
		uint16_t selector;
		unsigned dpl;
	} codes[] = {{CPU_SEL_KERNEL_CS, 0}, {CPU_SEL_USER_CS, 3}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct segment s = segment(codes[i].selector);

		assert_int_equal(s.type, 11); /* execute, read, accessed */
		assert_int_equal(s.s, 1);
		assert_int_equal(s.p, 1);
		assert_int_equal(s.dpl, codes[i].dpl);
		assert_int_equal(s.l, 1);
		assert_int_equal(s.db, 0); /* L and D together are reserved */
	}
}

static void data_segments_are_writable_and_accessed(void **state)
{
	static const struct {
		uint16_t selector;
		unsigned dpl;
	} datas[] = {{CPU_SEL_KERNEL_SS, 0}, {CPU_SEL_USER_SS, 3}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct segment s = segment(datas[i].selector);

		assert_int_equal(s.type, 3); /* read, write, accessed */
		assert_int_equal(s.s, 1);
		assert_int_equal(s.p, 1);
		assert_int_equal(s.dpl, datas[i].dpl);
	}
}

/* 5.8.8: CS from STAR[47:32], SS 8 above; for SYSRET SS 8 and CS 16 above STAR[63:48]. */
static void selectors_are_in_the_order_of_syscall(void **state)
{
	(void)state;
	assert_int_equal(CPU_SEL_KERNEL_SS, CPU_SEL_KERNEL_CS + 8);
	assert_int_equal(CPU_SEL_USER_CS, CPU_SEL_USER_SS + 8);
	assert_int_equal(CPU_SEL_USER_CS & 3, 3);
	assert_int_equal(CPU_SEL_USER_SS & 3, 3);
}

static void no_entry_of_the_gdt_is_for_anything_else(void **state)
{
	size_t used = 0;

	(void)state;
	for (size_t i = 0; i < DESCRIPTORS_GDT_SIZE; i += 8)
		if (get(DESCRIPTORS_GDT + i, 8))
			used++;
	assert_int_equal(used, 6); /* four segments and two halves of the TSS's */
	assert_int_equal(cpu.gdt_limit, DESCRIPTORS_GDT_SIZE - 1);
	assert_true(CPU_SEL_TSS + 16 <= DESCRIPTORS_GDT_SIZE);
}

/* 8.2.3: a system descriptor of 16 bytes. */
static void tss_descriptor_is_busy_and_points_to_the_tss(void **state)
{
	struct segment s = segment(CPU_SEL_TSS);
	uint64_t high = get(DESCRIPTORS_GDT + CPU_SEL_TSS + 8, 8);

	(void)state;
	assert_int_equal(s.type, 11);
	assert_int_equal(s.s, 0);
	assert_int_equal(s.p, 1);
	assert_int_equal(s.dpl, 0);
	assert_int_equal(s.g, 0);
	assert_int_equal(s.base | high << 32, VA + DESCRIPTORS_TSS);
	assert_int_equal(high >> 32, 0);
	assert_int_equal(cpu.tss, VA + DESCRIPTORS_TSS);
	assert_int_equal(s.limit, cpu.tss_limit);
}

/* 8.7: RSP0 at 4; all else but the I/O map base at 102 is zero. */
static void tss_holds_the_stack_of_ring_0_and_nothing_else(void **state)
{
	(void)state;
	assert_int_equal(get(DESCRIPTORS_TSS, 4), 0);
	assert_int_equal(get(DESCRIPTORS_TSS + 4, 8), STACK_TOP);
	for (size_t i = 12; i < 102; i++)
		assert_int_equal(page[DESCRIPTORS_TSS + i], 0);
}

/* SDM vol. 1, 19.5.2: an access is allowed if the bits of all its ports are zero and within the limit. */
static bool port_allowed(uint32_t port, unsigned size)
{
	size_t map = (size_t)get(DESCRIPTORS_TSS + 102, 2);
	size_t at = map + port / 8;
	unsigned bits;

	if (at + 1 > cpu.tss_limit)
		return false;
	bits = (unsigned)get(DESCRIPTORS_TSS + at, 2) >> (port % 8);
	return !(bits & ((1u << size) - 1));
}

static void only_the_gates_port_is_allowed(void **state)
{
	(void)state;
	assert_true(port_allowed(USER_PORT, 1));
	for (uint32_t port = 0; port < 0x10000; port++) {
		if (port != USER_PORT)
			assert_false(port_allowed(port, 1));
		assert_false(port_allowed(port, 2));
		assert_false(port_allowed(port, 4));
	}
}

static void other_gate_ports_work_as_well(void **state)
{
	static const uint16_t ports[] = {0, 7, 8, 0x3f, 0x7f};

	(void)state;
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		memset(page, 0, sizeof(page));
		descriptors_build(page, VA, STACK_TOP, EXCEPTION_PORT, ports[i]);
		for (uint32_t port = 0; port < 0x200; port++)
			assert_int_equal(port_allowed(port, 1), port == ports[i]);
	}
}

/* 6.14.1 */
static void gates_lead_to_their_stubs(void **state)
{
	(void)state;
	assert_int_equal(cpu.idt, VA + DESCRIPTORS_IDT);
	assert_int_equal(cpu.idt_limit, CPU_VECTORS * 16 - 1);
	for (unsigned v = 0; v < CPU_VECTORS; v++) {
		size_t gate = DESCRIPTORS_IDT + v * 16;
		uint64_t target = get(gate, 2) | get(gate + 6, 6) << 16;
		const uint8_t *stub;

		assert_int_equal(get(gate + 2, 2), CPU_SEL_KERNEL_CS);
		assert_int_equal(page[gate + 4], 0);	       /* no interrupt stack */
		assert_int_equal(page[gate + 5] & 0x9f, 0x8e); /* present interrupt gate */
		assert_int_equal(get(gate + 12, 4), 0);
		assert_in_range(target, VA + DESCRIPTORS_STUBS, VA + sizeof(page) - 3);
		stub = page + (target - VA);
		assert_int_equal(stub[0], 0xe6); /* OUT imm8, AL */
		assert_int_equal(stub[1], EXCEPTION_PORT + v);
		assert_int_equal(stub[2], 0xf4); /* HLT */
	}
}

static void ring_3_may_only_raise_breakpoint_and_overflow(void **state)
{
	(void)state;
	for (unsigned v = 0; v < CPU_VECTORS; v++) {
		unsigned dpl = page[DESCRIPTORS_IDT + v * 16 + 5] >> 5 & 3;

		assert_int_equal(dpl, v == 3 || v == 4 ? 3 : 0);
	}
}

static void parts_of_the_page_do_not_overlap(void **state)
{
	(void)state;
	assert_true(DESCRIPTORS_GDT + cpu.gdt_limit < DESCRIPTORS_TSS);
	assert_true(DESCRIPTORS_TSS + cpu.tss_limit < DESCRIPTORS_IDT);
	assert_true(DESCRIPTORS_IDT + cpu.idt_limit < DESCRIPTORS_STUBS);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(null_descriptor_is_zero),
		TEST(code_segments_are_64_bit_and_accessed),
		TEST(data_segments_are_writable_and_accessed),
		TEST(selectors_are_in_the_order_of_syscall),
		TEST(no_entry_of_the_gdt_is_for_anything_else),
		TEST(tss_descriptor_is_busy_and_points_to_the_tss),
		TEST(tss_holds_the_stack_of_ring_0_and_nothing_else),
		TEST(only_the_gates_port_is_allowed),
		TEST(other_gate_ports_work_as_well),
		TEST(gates_lead_to_their_stubs),
		TEST(ring_3_may_only_raise_breakpoint_and_overflow),
		TEST(parts_of_the_page_do_not_overlap),
	};

	return cmocka_run_group_tests_name("descriptors", tests, NULL, NULL);
}

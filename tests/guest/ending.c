/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest `state` with calls that end abruptly, all registers full of a pattern; and settings of
 * the floating-point units, which outlive calls. Linked with state_registers.S.
 */
#include "state.c"

#define PLANT_THEN(name, before, end)                                                          \
	void name(uint64_t pattern, uint64_t what);                                            \
	__asm__(".pushsection .text\n\t"                                                       \
		".type " #name ", @function\n" #name ":\n\t" before "leaq 1f(%rip), %rax\n\t"  \
		"pushq %rax\n\t"                                                               \
		"jmp plant_registers\n"                                                        \
		"1:\t" end "\n\t"                                                              \
		".size " #name ", . - " #name "\n\t"                                           \
		".popsection");                                                                \
	MAYFLY_EXPORT(name, void, u64, u64)

/* By an exception, by never ending, and by leaving for the host as if by the gate. */
PLANT_THEN(plant_then_fault, "", "ud2");
PLANT_THEN(plant_then_touch_null, "", "movb 0, %al");
PLANT_THEN(plant_then_spin, "", "jmp 1b");
PLANT_THEN(plant_then_leave, "movl $1, 0x12000\n\t", "outb %al, $0x10\n\tjmp 1b");
_Static_assert(FN_OP_RESULT == 1 && FN_CALL_VA == 0x12000 && FN_PORT_GATE == 0x10,
	       "in the text");

static void set_mxcsr(uint32_t value)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(value));
}
MAYFLY_EXPORT(set_mxcsr, void, u32);

static uint32_t get_mxcsr(void)
{
	uint32_t value;

	__asm__ volatile("stmxcsr %0" : "=m"(value));
	return value;
}
MAYFLY_EXPORT(get_mxcsr, u32);

static void set_x87_control(uint32_t value)
{
	uint16_t control = (uint16_t)value;

	__asm__ volatile("fldcw %0" : : "m"(control));
}
MAYFLY_EXPORT(set_x87_control, void, u32);

static uint32_t get_x87_control(void)
{
	uint16_t control;

	__asm__ volatile("fnstcw %0" : "=m"(control));
	return control;
}
MAYFLY_EXPORT(get_x87_control, u32);

/* Depends on the rounding mode. */
static double quotient(double a, double b)
{
	__asm__ volatile("divsd %1, %0" : "+x"(a) : "x"(b));
	return a;
}
MAYFLY_EXPORT(quotient, f64, f64, f64);

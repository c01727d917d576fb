/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that do what no guest may do, each one thing; and ends that the SDK provides. */
#include "mayfly_guest.h"

/* --- memory ------------------------------------------------------------------------------- */

static uint64_t wild_read(uint64_t address)
{
	return *(volatile uint8_t *)address;
}
MAYFLY_EXPORT(wild_read, u64, u64);

static void wild_write(uint64_t address)
{
	*(volatile uint8_t *)address = 0xa5;
}
MAYFLY_EXPORT(wild_write, void, u64);

static void wild_call(uint64_t address)
{
	((void (*)(void))address)();
}
MAYFLY_EXPORT(wild_call, void, u64);

/* The null pointer, by way of a variable that the compiler cannot see through. */
static void *volatile null;

static uint64_t null_read(void)
{
	return *(volatile uint8_t *)null;
}
MAYFLY_EXPORT(null_read, u64);

static void null_write(void)
{
	*(volatile uint8_t *)null = 1;
}
MAYFLY_EXPORT(null_write, void);

static void null_call(void)
{
	((void (*)(void))null)();
}
MAYFLY_EXPORT(null_call, void);

/* To its own code. */
static void write_code(void)
{
	*(volatile uint8_t *)(uintptr_t)write_code = 0x90;
}
MAYFLY_EXPORT(write_code, void);

static const uint8_t constant[16] = {1, 2, 3};

static void write_constant(void)
{
	*(volatile uint8_t *)(uintptr_t)constant = 9;
}
MAYFLY_EXPORT(write_constant, void);

#define RET 0xc3

static volatile uint8_t data_code[16] = {1};

static void execute_data(void)
{
	data_code[0] = RET;
	((void (*)(void))(uintptr_t)data_code)();
}
MAYFLY_EXPORT(execute_data, void);

static void execute_stack(void)
{
	volatile uint8_t code[16];

	code[0] = RET;
	__asm__ volatile("" : : "r"(code) : "memory");
	((void (*)(void))(uintptr_t)code)();
}
MAYFLY_EXPORT(execute_stack, void);

static void execute_heap(void)
{
	uint8_t *code = malloc(16);

	mayfly_assert(code);
	*(volatile uint8_t *)code = RET;
	((void (*)(void))(uintptr_t)code)();
}
MAYFLY_EXPORT(execute_heap, void);

static void execute_argument(mayfly_bytes code)
{
	((void (*)(void))(uintptr_t)code.data)();
}
MAYFLY_EXPORT(execute_argument, void, bytes);

/* --- the stack ---------------------------------------------------------------------------- */

static volatile bool for_ever = true;

static __attribute__((noinline)) uint64_t recurse(uint64_t depth)
{
	volatile uint64_t frame[8] = {depth};

	if (!for_ever)
		return depth;
	return recurse(depth + 1) + frame[0];
}

static uint64_t recurse_forever(void)
{
	return recurse(0);
}
MAYFLY_EXPORT(recurse_forever, u64);

/* One frame of 8 MiB, which the compiler probes page by page (-fstack-clash-protection). */
static uint64_t one_large_frame(void)
{
	volatile uint8_t frame[8u << 20];

	frame[0] = 1;
	frame[sizeof(frame) - 1] = 2;
	__asm__ volatile("" : : "r"(frame) : "memory"); /* all of it is there */
	return (uint64_t)frame[0] + frame[sizeof(frame) - 1];
}
MAYFLY_EXPORT(one_large_frame, u64);

/* Uses the stack `bytes` deeper, without touching what is between. */
static void jump_down_stack(uint64_t bytes)
{
	__asm__ volatile("movq %%rsp, %%rbx\n\t"
			 "subq %0, %%rsp\n\t"
			 "movq $0, (%%rsp)\n\t"
			 "movq %%rbx, %%rsp"
			 :
			 : "r"(bytes)
			 : "rbx", "memory");
}
MAYFLY_EXPORT(jump_down_stack, void, u64);

/* An exception with the stack pointer anywhere. */
static void fault_with_stack_at(uint64_t address)
{
	__asm__ volatile("movq %0, %%rsp\n\tud2" : : "r"(address));
}
MAYFLY_EXPORT(fault_with_stack_at, void, u64);

static __attribute__((noinline)) void overrun(volatile char *p, size_t n)
{
	while (n--)
		*p++ = 'x';
}

/* Returns through an overwritten canary. */
static uint32_t smash_stack(uint32_t beyond)
{
	char buffer[16];

	overrun(buffer, sizeof(buffer) + beyond);
	return (uint8_t)buffer[3];
}
MAYFLY_EXPORT(smash_stack, u32, u32);

/* --- instructions ------------------------------------------------------------------------- */

/* The CPU's division: a compiler may know better than to divide by zero. */
static int32_t divide(int32_t a, int32_t b)
{
	int32_t quotient, rest;

	__asm__ volatile("cltd\n\tidivl %3" : "=a"(quotient), "=&d"(rest) : "0"(a), "r"(b));
	return quotient;
}
MAYFLY_EXPORT(divide, i32, i32, i32);

static int32_t divide_by_zero(void)
{
	return divide(1, 0);
}
MAYFLY_EXPORT(divide_by_zero, i32);

#define INSTRUCTION(name, text)                                                                \
	static void name(void)                                                                 \
	{                                                                                      \
		__asm__ volatile(text ::: "rax", "rcx", "rdx", "memory");                      \
	}                                                                                      \
	MAYFLY_EXPORT(name, void)

INSTRUCTION(undefined_instruction, "ud2");
INSTRUCTION(privileged_hlt, "hlt");
INSTRUCTION(privileged_cli, "cli");
INSTRUCTION(privileged_sti, "sti");
INSTRUCTION(privileged_wbinvd, "wbinvd");
INSTRUCTION(privileged_lgdt, "lgdt (%%rsp)");
INSTRUCTION(privileged_lidt, "lidt (%%rsp)");
INSTRUCTION(privileged_ltr, "xorl %%eax, %%eax\n\tltr %%ax");
INSTRUCTION(privileged_invlpg, "invlpg (%%rsp)");
INSTRUCTION(privileged_swapgs, "swapgs");
INSTRUCTION(privileged_iretq,
	    "pushq $0x10\n\tpushq $0\n\tpushq $2\n\tpushq $8\n\tpushq $0\n\tiretq");
INSTRUCTION(privileged_sysretq, "xorl %%ecx, %%ecx\n\tsysretq");
INSTRUCTION(privileged_xsetbv,
	    "xorl %%ecx, %%ecx\n\tmovl $7, %%eax\n\txorl %%edx, %%edx\n\txsetbv");
INSTRUCTION(mov_to_cr0, "xorl %%eax, %%eax\n\tmovq %%rax, %%cr0");
INSTRUCTION(mov_from_cr0, "movq %%cr0, %%rax");
INSTRUCTION(mov_to_cr3, "xorl %%eax, %%eax\n\tmovq %%rax, %%cr3");
INSTRUCTION(mov_from_cr3, "movq %%cr3, %%rax");
INSTRUCTION(mov_to_cr4, "xorl %%eax, %%eax\n\tmovq %%rax, %%cr4");
INSTRUCTION(mov_to_cr8, "xorl %%eax, %%eax\n\tmovq %%rax, %%cr8");
INSTRUCTION(mov_to_dr0, "xorl %%eax, %%eax\n\tmovq %%rax, %%dr0");
INSTRUCTION(mov_to_dr7, "xorl %%eax, %%eax\n\tmovq %%rax, %%dr7");
INSTRUCTION(mov_from_dr7, "movq %%dr7, %%rax");
INSTRUCTION(int3, "int3");
INSTRUCTION(int80, "xorl %%eax, %%eax\n\tint $0x80");
INSTRUCTION(int_double_fault, "int $8");
INSTRUCTION(int_page_fault, "int $14");
INSTRUCTION(int1, ".byte 0xf1");
INSTRUCTION(vmcall, "vmcall");
INSTRUCTION(vmmcall, "vmmcall");
INSTRUCTION(sysenter, "sysenter");
INSTRUCTION(read_tsc, "rdtsc");
INSTRUCTION(read_tscp, "rdtscp");
INSTRUCTION(read_pmc, "xorl %%ecx, %%ecx\n\trdpmc");
INSTRUCTION(far_call_null, "pushq $0\n\tpushq $0\n\tlcall *(%%rsp)");
INSTRUCTION(non_canonical_read, "movabsq $0x8000000000000000, %%rax\n\tmovb (%%rax), %%al");
INSTRUCTION(non_canonical_stack, "movabsq $0x8000000000000000, %%rsp\n\tpushq %%rax");

static uint64_t syscall_instruction(uint64_t number)
{
	uint64_t result;

	__asm__ volatile("syscall" : "=a"(result) : "0"(number) : "rcx", "r11", "memory");
	return result;
}
MAYFLY_EXPORT(syscall_instruction, u64, u64);

static uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}
MAYFLY_EXPORT(rdmsr, u64, u32);

static void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}
MAYFLY_EXPORT(wrmsr, void, u32, u64);

static uint32_t port_in(uint32_t port)
{
	uint8_t value;

	__asm__ volatile("inb %w1, %0" : "=a"(value) : "d"(port));
	return value;
}
MAYFLY_EXPORT(port_in, u32, u32);

static void port_out(uint32_t port)
{
	__asm__ volatile("outb %b0, %w1" : : "a"(0), "d"(port));
}
MAYFLY_EXPORT(port_out, void, u32);

/* A selector of any number into DS. */
static void load_ds(uint32_t selector)
{
	__asm__ volatile("movl %0, %%ds" : : "r"(selector));
}
MAYFLY_EXPORT(load_ds, void, u32);

/* --- flags -------------------------------------------------------------------------------- */

/*
 * Reads a misaligned word with alignment checks on: a fault where the host allows such checks.
 */
static uint64_t unaligned_with_ac(void)
{
	static uint64_t words[2]
		__attribute__((aligned(8))) = {0x0102030405060708, 0x0910111213141516};
	uint64_t value;

	__asm__ volatile("pushfq\n\t"
			 "orl $0x40000, (%%rsp)\n\t"
			 "popfq\n\t"
			 "movq 1(%1), %0\n\t"
			 "pushfq\n\t"
			 "andl $~0x40000, (%%rsp)\n\t"
			 "popfq"
			 : "=r"(value)
			 : "r"(words)
			 : "cc", "memory");
	return value;
}
MAYFLY_EXPORT(unaligned_with_ac, u64);

/* Single-steps itself. */
static void set_tf(void)
{
	__asm__ volatile("pushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\tnop\n\tnop" ::
				 : "cc", "memory");
}
MAYFLY_EXPORT(set_tf, void);

/* An exception of the vector unit, if its mask is taken off. */
static float unmasked_sse_division(float a, float b)
{
	uint32_t mxcsr = 0;

	__asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
	__asm__ volatile("divss %1, %0" : "+x"(a) : "x"(b));
	return a;
}
MAYFLY_EXPORT(unmasked_sse_division, f32, f32, f32);

static void unmasked_x87_division(void)
{
	uint16_t control = 0x340;

	__asm__ volatile("fninit\n\tfldcw %0\n\tfld1\n\tfldz\n\tfdivrp\n\tfwait"
			 :
			 : "m"(control));
}
MAYFLY_EXPORT(unmasked_x87_division, void);

/* --- ends that the SDK provides ----------------------------------------------------------- */

static void abort_with(int32_t code, const char *message)
{
	mayfly_abort(code, "%s", message);
}
MAYFLY_EXPORT(abort_with, void, i32, string);

static void abort_long(void)
{
	static char message[10001];

	for (size_t i = 0; i < sizeof(message) - 1; i++)
		message[i] = (char)('a' + i % 26);
	mayfly_abort(7, "%s", message);
}
MAYFLY_EXPORT(abort_long, void);

static void abort_plain(void)
{
	abort();
}
MAYFLY_EXPORT(abort_plain, void);

static int32_t assert_fails(int32_t v)
{
	mayfly_assert(v == 1234);
	return v;
}
MAYFLY_EXPORT(assert_fails, i32, i32);

/* --- the heap ----------------------------------------------------------------------------- */

/* How many MiB malloc gives, each touched. */
static uint64_t exhaust_heap(void)
{
	uint64_t n = 0;

	for (;; n++) {
		char *volatile p = malloc((1u << 20) - 64);

		if (!p)
			return n;
		for (size_t i = 0; i < (1u << 20) - 64; i += 4096)
			p[i] = 1;
	}
}
MAYFLY_EXPORT(exhaust_heap, u64);

/* Out of the compiler's sight, which would warn of it. */
static void (*volatile hidden_free)(void *) = free;

static void double_free(void)
{
	void *volatile p = malloc(100);

	hidden_free(p);
	hidden_free(p);
}
MAYFLY_EXPORT(double_free, void);

static void heap_overrun(void)
{
	char *volatile a = malloc(100), *volatile b = malloc(100);

	overrun(a, 120);
	hidden_free(b);
}
MAYFLY_EXPORT(heap_overrun, void);

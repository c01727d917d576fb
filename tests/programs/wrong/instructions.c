/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions that ring 3 may not execute, or that it may with values it should not. */
#include "wrong.h"

#define I(...) __asm__ volatile(__VA_ARGS__)

#define SIMPLE(name, ...)                                                                      \
	static void name(void)                                                                 \
	{                                                                                      \
		SHOW(I(__VA_ARGS__));                                                          \
	}
#define ANY_SIGNAL(name, ...)                                                                  \
	static void name(void)                                                                 \
	{                                                                                      \
		SHOW_ANY(I(__VA_ARGS__));                                                      \
	}
#define HARMLESS(name, text)                                                                   \
	static void name(void)                                                                 \
	{                                                                                      \
		SURVIVE(I(text ::: "rax", "rbx", "rcx", "rdx", "memory"));                     \
	}

/* --- Traps ------------------------------------------------------------------------------------ */

SIMPLE(int3, "int3")
SIMPLE(int_3, ".byte 0xcd, 3")
SIMPLE(int_4, "int $4")
ANY_SIGNAL(int_6, "int $6")
ANY_SIGNAL(int_8, "int $8")
ANY_SIGNAL(int_13, "int $13")
ANY_SIGNAL(int_14, "int $14")
ANY_SIGNAL(int_32, "int $32")
ANY_SIGNAL(int_64, "int $64")
ANY_SIGNAL(int_255, "int $255")
ANY_SIGNAL(int_128, "mov $20, %%eax; int $0x80" ::: "rax")
SIMPLE(ud2, "ud2")
SIMPLE(ud0, ".byte 0x0f, 0xff, 0xc0")
SIMPLE(into, ".byte 0xce")
SIMPLE(lock_of_nothing, ".byte 0xf0, 0x90")
SIMPLE(too_long, ".fill 15, 1, 0x66; nop")
SIMPLE(divide, "xor %%ecx, %%ecx; xor %%edx, %%edx; div %%ecx" ::: "rax", "rcx", "rdx")
HARMLESS(icebp, ".byte 0xf1")

/* --- Ring 0's --------------------------------------------------------------------------------- */

SIMPLE(hlt, "hlt")
SIMPLE(cli, "cli")
SIMPLE(sti, "sti")
SIMPLE(clts, "clts")
SIMPLE(wbinvd, "wbinvd")
SIMPLE(invd, "invd")
SIMPLE(invlpg, "invlpg (%%rsp)" ::: "memory")
SIMPLE(swapgs, "swapgs")
SIMPLE(sysretq, "sysretq" ::: "memory")
SIMPLE(lgdt, "lgdt -16(%%rsp)" ::: "memory")
SIMPLE(lidt, "lidt -16(%%rsp)" ::: "memory")
SIMPLE(lldt, "xor %%eax, %%eax; lldt %%ax" ::: "rax")
SIMPLE(ltr, "mov $0x40, %%eax; ltr %%ax" ::: "rax")
SIMPLE(lmsw, "mov $1, %%eax; lmsw %%ax" ::: "rax")
SIMPLE(read_cr0, "mov %%cr0, %%rax" ::: "rax")
SIMPLE(write_cr3, "mov %%rax, %%cr3" ::: "rax")
SIMPLE(write_cr4, "xor %%eax, %%eax; mov %%rax, %%cr4" ::: "rax")
SIMPLE(read_dr7, "mov %%dr7, %%rax" ::: "rax")
SIMPLE(write_dr0, "mov %%rax, %%dr0" ::: "rax")
SIMPLE(rdmsr, "mov $0xc0000080, %%ecx; rdmsr" ::: "rax", "rcx", "rdx")
SIMPLE(wrmsr, "mov $0xc0000082, %%ecx; wrmsr" ::: "rax", "rcx", "rdx")
SIMPLE(xsetbv, "xor %%ecx, %%ecx; xor %%edx, %%edx; mov $7, %%eax; xsetbv" ::
	       : "rax", "rcx", "rdx")
HARMLESS(rdpmc, "xor %%ecx, %%ecx; rdpmc")
HARMLESS(sysenter, "sysenter")
HARMLESS(vmcall, ".byte 0x0f, 0x01, 0xc1")
HARMLESS(vmmcall, ".byte 0x0f, 0x01, 0xd9")
HARMLESS(vmlaunch, ".byte 0x0f, 0x01, 0xc2")
HARMLESS(vmrun, ".byte 0x0f, 0x01, 0xd8")
HARMLESS(monitor, "xor %%ecx, %%ecx; xor %%edx, %%edx; mov %%rsp, %%rax; monitor")
HARMLESS(mwait, "xor %%ecx, %%ecx; xor %%eax, %%eax; mwait")
HARMLESS(xgetbv_0, "xor %%ecx, %%ecx; xgetbv")
HARMLESS(xgetbv_1, "mov $1, %%ecx; xgetbv")
HARMLESS(xgetbv_wild, "mov $0x7fffffff, %%ecx; xgetbv")
HARMLESS(rdpkru, "xor %%ecx, %%ecx; .byte 0x0f, 0x01, 0xee")
HARMLESS(encls, ".byte 0x0f, 0x01, 0xcf")
HARMLESS(cpuid_wild, "mov $0x40000000, %%eax; cpuid; mov $-1, %%eax; mov %%eax, %%ecx; cpuid")
HARMLESS(sgdt, "sub $32, %%rsp; sgdt (%%rsp); sidt 16(%%rsp); add $32, %%rsp")
HARMLESS(str, "str %%eax; sldt %%ecx; smsw %%edx")
HARMLESS(rdtsc, "rdtsc; rdtscp")

/* --- Ports ------------------------------------------------------------------------------------ */

SIMPLE(in_keyboard, "in $0x60, %%al" ::: "rax")
SIMPLE(out_delay, "out %%al, $0x80" ::: "memory")
SIMPLE(out_exception, "mov $0x4e, %%edx; out %%al, %%dx" ::: "rdx")
SIMPLE(out_function_call, "out %%al, $0x20" ::: "memory")
SIMPLE(out_last, "mov $0xffff, %%edx; out %%al, %%dx" ::: "rdx")
HARMLESS(outs, "mov $39, %%eax; mov $5, %%edx; lea (%%rsp), %%rsi; outsb")
SIMPLE(outs_elsewhere, "mov $6, %%edx; mov %%rsp, %%rsi; outsb" ::: "rdx", "rsi", "memory")
SIMPLE(ins, "mov $5, %%edx; lea -64(%%rsp), %%rdi; insb" ::: "rdx", "rdi", "memory")
SIMPLE(in_gate, "in $5, %%al" ::: "rax")
SIMPLE(out_gate_wide, "out %%eax, $5" ::: "memory")
SIMPLE(out_gate_16, "out %%ax, $5" ::: "memory")

/* The port of system calls: by itself it is one, or it faults; never more. */
static void out_gate(void)
{
	SURVIVE(({
		long result = SYS_getpid;

		I("out %%al, $5" : "+a"(result)::"rcx", "r11", "memory");
	}));
}

static void out_gate_with_wild_registers(void)
{
	static int i;

	for (i = 0; i < 64; i++)
		SURVIVE(({
			long result = SYS_getppid;

			I("mov %1, %%rcx; mov %1, %%r11; out %%al, $5"
			  : "+a"(result)
			  : "r"((uint64_t)1 << i)
			  : "rcx", "r11", "memory");
		}));
}

/* --- Segments --------------------------------------------------------------------------------- */

SIMPLE(ss_null, "xor %%eax, %%eax; mov %%eax, %%ss" ::: "rax")
SIMPLE(ss_wild, "mov $0x1234, %%eax; mov %%eax, %%ss" ::: "rax")
SIMPLE(ds_wild, "mov $0x7ff8, %%eax; mov %%eax, %%ds" ::: "rax")
SIMPLE(fs_wild, "mov $0x7ff8, %%eax; mov %%eax, %%fs" ::: "rax")
SIMPLE(cs_write, ".byte 0x8e, 0xc8")
SIMPLE(far_return_to_ring_0, "push $0x8; lea 1f(%%rip), %%rax; push %%rax; lretq; 1:" ::: "rax")
SIMPLE(far_return_to_nowhere, "push $0x7ff8; push $0; lretq")
SIMPLE(far_return_to_null, "push $0; push $0; lretq")
/* rex.W lcall *(%rsp), which not every assembler knows */
HARMLESS(far_call, "push $0x10; push $0; .byte 0x48, 0xff, 0x1c, 0x24; add $16, %%rsp")
HARMLESS(gs_selectors, "xor %%ebx, %%ebx; 1: mov %%ebx, %%eax; mov %%eax, %%gs; add $8, %%ebx; "
		       "cmp $0x80, %%ebx; jb 1b")
HARMLESS(lar_lsl,
	 "xor %%ebx, %%ebx; 1: lar %%ebx, %%eax; lsl %%ebx, %%ecx; verr %%bx; verw %%bx; "
	 "inc %%ebx; cmp $0x10000, %%ebx; jb 1b")

/* iretq: rip, cs, rflags, rsp, ss */
static void iret_to(uint64_t rip, uint64_t cs, uint64_t rflags, uint64_t ss)
{
	SHOW(I("mov %%rsp, %%rax; push %0; push %%rax; push %1; push %2; push %3; iretq"
	       :
	       : "r"(ss), "r"(rflags), "r"(cs), "r"(rip)
	       : "rax", "memory"));
}

static void iret_to_ring_0(void)
{
	iret_to((uint64_t)iret_to_ring_0, 0x10, 0x202, 0x18);
}

static void iret_to_null_selectors(void)
{
	iret_to((uint64_t)iret_to_ring_0, 0, 0x202, 0);
}

static void iret_not_canonical(void)
{
	iret_to(0x8000000000000000, 0x33, 0x202, 0x2b);
}

static void iret_nested(void)
{
	SHOW(I("pushfq; orl $0x4000, (%%rsp); popfq; iretq" ::: "memory"));
}

/* --- Flags ------------------------------------------------------------------------------------ */

static uint64_t flags_after(uint64_t set)
{
	uint64_t flags;

	I("pushfq; orq %1, (%%rsp); popfq; pushfq; popq %0; pushq $0x202; popfq"
	  : "=r"(flags)
	  : "r"(set)
	  : "memory", "cc");
	return flags;
}

static void popf_iopl(void)
{
	printf("0x%lx\n", flags_after(0x3000) & 0x3000);
}

static void popf_all(void)
{
	printf("0x%lx\n",
	       flags_after(0xfffffffffffffeff & ~(uint64_t)0x100) & ~(uint64_t)0xad7);
}

static void popf_without_if(void)
{
	uint64_t flags;

	I("pushq $2; popfq; pushfq; popq %0" : "=r"(flags)::"memory", "cc");
	printf("0x%lx\n", flags & 0x202);
}

static void single_step(void)
{
	SHOW(I("pushfq; orl $0x100, (%%rsp); popfq; nop; nop" ::: "memory", "cc"));
	printf("%s\n", flags_after(0) & 0x100 ? "still" : "over");
}

static void unaligned_with_ac(void)
{
	static uint32_t words[2];

	SHOW(I("pushfq; orl $0x40000, (%%rsp); popfq; movl %0, %%eax" ::"m"(
		       *((uint32_t *)((char *)words + 1)))
	       : "rax", "memory", "cc"));
}

static void calls_with_strange_flags(void)
{
	/* DF, ID, AC: SYSCALL hides them from the kernel and gives them back. */
	static const uint64_t flags[] = {0x400, 0x200000, 0x40000, 0x8d5};

	for (size_t i = 0; i < COUNT(flags); i++) {
		uint64_t after;
		long result = SYS_getppid;

		I("pushq %2; popfq; syscall; pushfq; popq %1; pushq $0x202; popfq"
		  : "+a"(result), "=&r"(after)
		  : "r"(flags[i] | 0x202)
		  : "rcx", "r11", "memory", "cc");
		printf("0x%lx %s\n", after, result > 0 ? "works" : "fails");
	}
}

/* --- Segment bases ---------------------------------------------------------------------------- */

static void wrgsbase(uint64_t base)
{
	static uint64_t is;

	is = 0;
	SHOW(I("wrgsbase %1; rdgsbase %0" : "=r"(is) : "r"(base)));
	if (is == base) {
		/* Through a system call, and as an address. */
		getppid();
		I("rdgsbase %0" : "=r"(is));
		printf("%s\n", is == base ? "kept" : "changed");
		SHOW(I("movq %%gs:0, %0" : "=r"(is)));
	}
	I("wrgsbase %0" ::"r"(0L));
}

static void gs_in_the_kernel(void)
{
	wrgsbase(0xffff800000000000);
	wrgsbase(0xffffffffffffff00);
}

static void gs_not_canonical(void)
{
	wrgsbase(0x800000000000);
	wrgsbase(0x8000000000000000);
}

static void gs_at_the_gate(void)
{
	wrgsbase(0x14000);
}

static void arch_prctl_wild(void)
{
	static const uint64_t wild[] = {0x7ffffffff000, 0x800000000000, 0xffff800000000000,
					UINT64_MAX};

	for (size_t i = 0; i < COUNT(wild); i++)
		CALL(syscall(SYS_arch_prctl, 0x1001, wild[i]));
	CALL(syscall(SYS_arch_prctl, 0x1001, 0x7fffffffe000));
	CALL(syscall(SYS_arch_prctl, 0x1004, 8));
	CALL(syscall(SYS_arch_prctl, 0x9999, 0));
}

static const struct test tests[] = {
	{"int3", int3, NULL},
	{"int-3", int_3, NULL},
	{"int-4", int_4, NULL},
	{"int-6", int_6, NULL},
	{"int-8", int_8, NULL},
	{"int-13", int_13, NULL},
	{"int-14", int_14, NULL},
	{"int-32", int_32, NULL},
	{"int-64", int_64, NULL},
	{"int-255", int_255, NULL},
	{"int-128", int_128, "a signal\n"},
	{"ud2", ud2, NULL},
	{"ud0", ud0, NULL},
	{"into", into, NULL},
	{"lock-of-nothing", lock_of_nothing, NULL},
	{"too-long", too_long, NULL},
	{"divide", divide, NULL},
	{"icebp", icebp, NULL},
	{"hlt", hlt, NULL},
	{"cli", cli, NULL},
	{"sti", sti, NULL},
	{"clts", clts, NULL},
	{"wbinvd", wbinvd, NULL},
	{"invd", invd, NULL},
	{"invlpg", invlpg, NULL},
	{"swapgs", swapgs, NULL},
	{"sysretq", sysretq, NULL},
	{"lgdt", lgdt, NULL},
	{"lidt", lidt, NULL},
	{"lldt", lldt, NULL},
	{"ltr", ltr, NULL},
	{"lmsw", lmsw, NULL},
	{"read-cr0", read_cr0, NULL},
	{"write-cr3", write_cr3, NULL},
	{"write-cr4", write_cr4, NULL},
	{"read-dr7", read_dr7, NULL},
	{"write-dr0", write_dr0, NULL},
	{"rdmsr", rdmsr, NULL},
	{"wrmsr", wrmsr, NULL},
	{"xsetbv", xsetbv, NULL},
	{"rdpmc", rdpmc, NULL},
	{"sysenter", sysenter, "survived\n"},
	{"vmcall", vmcall, NULL},
	{"vmmcall", vmmcall, NULL},
	{"vmlaunch", vmlaunch, NULL},
	{"vmrun", vmrun, NULL},
	{"monitor", monitor, NULL},
	{"mwait", mwait, NULL},
	{"xgetbv-0", xgetbv_0, NULL},
	{"xgetbv-1", xgetbv_1, NULL},
	{"xgetbv-wild", xgetbv_wild, NULL},
	{"rdpkru", rdpkru, NULL},
	{"encls", encls, NULL},
	{"cpuid-wild", cpuid_wild, NULL},
	{"sgdt", sgdt, NULL},
	{"str", str, NULL},
	{"rdtsc", rdtsc, NULL},
	{"in-keyboard", in_keyboard, NULL},
	{"out-delay", out_delay, NULL},
	{"out-exception", out_exception, NULL},
	{"out-function-call", out_function_call, NULL},
	{"out-last", out_last, NULL},
	{"outs", outs, NULL},
	{"outs-elsewhere", outs_elsewhere, NULL},
	{"ins", ins, "status 139\n"},
	{"in-gate", in_gate, "status 139\n"},
	{"out-gate-wide", out_gate_wide, NULL},
	{"out-gate-16", out_gate_16, NULL},
	{"out-gate", out_gate, NULL},
	{"out-gate-with-wild-registers", out_gate_with_wild_registers, NULL},
	{"ss-null", ss_null, NULL},
	{"ss-wild", ss_wild, NULL},
	{"ds-wild", ds_wild, NULL},
	{"fs-wild", fs_wild, NULL},
	{"cs-write", cs_write, NULL},
	{"far-return-to-ring-0", far_return_to_ring_0, NULL},
	{"far-return-to-nowhere", far_return_to_nowhere, NULL},
	{"far-return-to-null", far_return_to_null, NULL},
	{"far-call", far_call, NULL},
	{"gs-selectors", gs_selectors, NULL},
	{"lar-lsl", lar_lsl, NULL},
	{"iret-to-ring-0", iret_to_ring_0, NULL},
	{"iret-to-null-selectors", iret_to_null_selectors, NULL},
	{"iret-not-canonical", iret_not_canonical, NULL},
	{"iret-nested", iret_nested, NULL},
	{"popf-iopl", popf_iopl, NULL},
	{"popf-all", popf_all, NULL},
	{"popf-without-if", popf_without_if, NULL},
	{"single-step", single_step, NULL},
	{"unaligned-with-ac", unaligned_with_ac, NULL},
	{"calls-with-strange-flags", calls_with_strange_flags, NULL},
	{"gs-in-the-kernel", gs_in_the_kernel, NULL},
	{"gs-not-canonical", gs_not_canonical, NULL},
	{"gs-at-the-gate", gs_at_the_gate, NULL},
	{"arch-prctl-wild", arch_prctl_wild, NULL},
};

MAIN(tests)

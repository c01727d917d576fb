/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaves for the host in ways that no compiler would make up: the whole call block as the test
 * says, port instructions of each kind, flags that follow into ring 0.
 */
#include "abi/function.h"
#include "mayfly_guest.h"

static volatile struct fn_call *const call = (volatile struct fn_call *)(uintptr_t)FN_CALL_VA;

MAYFLY_IMPORT(host_sink, u64, string, bytes, u64);
MAYFLY_IMPORT(host_again, u64, u64);

/* Where the imports' notes are: noticed in true calls. */
static uint64_t note_of_sink(void)
{
	host_sink("", (mayfly_bytes){0}, 0);
	return call->arg[0];
}
MAYFLY_EXPORT(note_of_sink, u64);

static uint64_t note_of_again(void)
{
	host_again(0);
	return call->arg[0];
}
MAYFLY_EXPORT(note_of_again, u64);

/*
 * The block becomes `block`, byte for byte, then the host is asked to serve it. A block whose turn is 0
 * leaves the mailbox as it is: another one would be noticed before anything else.
 */
static void leave_with(mayfly_bytes block)
{
	bool keep = !((const struct fn_call *)block.data)->turn;
	const volatile uint32_t *from = block.data;
	volatile uint32_t *to = (volatile uint32_t *)(uintptr_t)FN_CALL_VA;

	for (size_t i = 0; i < sizeof(*call) / 4 && i < block.len / 4; i++)
		if (!keep || (i != FN_CALL_TURN / 4 && i != FN_CALL_ANSWER / 4))
			to[i] = from[i];
	((void (*)(void))(uintptr_t)FN_GATE_HOSTCALL)();
}
MAYFLY_EXPORT(leave_with, void, bytes);

#define IN_OUT(name, text)                                                                     \
	static uint64_t name(uint64_t count)                                                   \
	{                                                                                      \
		static uint8_t buffer[8192];                                                   \
		uint64_t a = 0x5ec3e75ec3e75ec3, c = count;                                    \
		void *d = buffer;                                                              \
		const void *s = buffer;                                                        \
                                                                                               \
		__asm__ volatile(text                                                          \
				 : "+a"(a), "+c"(c), "+D"(d), "+S"(s)                          \
				 : "d"(FN_PORT_GATE)                                           \
				 : "memory");                                                  \
		return a;                                                                      \
	}                                                                                      \
	MAYFLY_EXPORT(name, u64, u64)

IN_OUT(in8, "inb %%dx, %%al");
IN_OUT(in16, "inw %%dx, %%ax");
IN_OUT(in32, "inl %%dx, %%eax");
IN_OUT(ins8, "insb");
IN_OUT(ins32, "insl");
IN_OUT(rep_ins8, "rep insb");
IN_OUT(rep_ins32, "rep insl");
IN_OUT(outs8, "outsb");
IN_OUT(rep_outs8, "rep outsb");
IN_OUT(rep_outs32, "rep outsl");

/* SYSCALL with these flags set, which it must not carry into ring 0 to any effect. */
static void syscall_with_flags(uint64_t flags)
{
	__asm__ volatile("pushfq\n\t"
			 "orq %0, (%%rsp)\n\t"
			 "popfq\n\t"
			 "syscall"
			 :
			 : "r"(flags)
			 : "rax", "rcx", "r11", "memory", "cc");
}
MAYFLY_EXPORT(syscall_with_flags, void, u64);

/* SYSCALL with the stack anywhere. */
static void syscall_with_stack_at(uint64_t address)
{
	__asm__ volatile("movq %0, %%rsp\n\tsyscall" : : "r"(address) : "rcx", "r11", "memory");
}
MAYFLY_EXPORT(syscall_with_stack_at, void, u64);

/* As above, single-stepped: the trap after SYSCALL is taken in ring 0, on that stack. */
static void stepped_syscall_with_stack_at(uint64_t address)
{
	__asm__ volatile("pushfq\n\t"
			 "orl $0x100, (%%rsp)\n\t"
			 "movq %0, %%rax\n\t"
			 "popfq\n\t"
			 "movq %%rax, %%rsp\n\t"
			 "syscall"
			 :
			 : "r"(address)
			 : "rax", "rcx", "r11", "memory", "cc");
}
MAYFLY_EXPORT(stepped_syscall_with_stack_at, void, u64);

/* Takes and gives back; the host calls it from within host_again(). */
static uint64_t again(uint64_t depth)
{
	return depth ? host_again(depth - 1) + 1 : 0;
}
MAYFLY_EXPORT(again, u64, u64);

/* Nested: claims from within that the outer call has ended. */
static uint64_t claim_result(uint64_t op)
{
	call->op = (uint32_t)op;
	__asm__ volatile("outb %%al, %0" : : "i"(FN_PORT_GATE) : "memory");
	return 1;
}
MAYFLY_EXPORT(claim_result, u64, u64);

static uint64_t alive(void)
{
	return 0x600d;
}
MAYFLY_EXPORT(alive, u64);

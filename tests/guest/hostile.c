/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Breaks the calling protocol: leaves for the host with anything in the call block, gives
 * results that are no strings, writes wherever it is told. Uses the agreement directly, not the
 * SDK's functions.
 */
#include "abi/function.h"
#include "mayfly_guest.h"

static struct fn_call *const call = (struct fn_call *)(uintptr_t)FN_CALL_VA;

/* --- leaving ------------------------------------------------------------------------------ */

static void leave(void)
{
	((void (*)(void))(uintptr_t)FN_GATE_HOSTCALL)();
}

/* Leave with this operation and these arguments. Gives ret[0] if the host answers. */
static uint64_t raw_leave(uint32_t op, uint64_t arg0, uint64_t arg1, uint64_t arg2)
{
	call->arg[0] = arg0;
	call->arg[1] = arg1;
	call->arg[2] = arg2;
	call->op = op;
	leave();
	return call->ret[0];
}
MAYFLY_EXPORT(raw_leave, u64, u32, u64, u64, u64);

MAYFLY_IMPORT(host_sink, u64, string, bytes, u64);

/* Where the import's note is: noticed in a true call. */
static uint64_t note_address(void)
{
	host_sink("", (mayfly_bytes){0}, 0);
	return call->arg[0];
}
MAYFLY_EXPORT(note_address, u64);

/*
 * Call host_sink with the note at `note` and slots of any contents; the first import's is
 * right.
 */
static uint64_t raw_hostcall(uint64_t note, uint64_t string, uint64_t data, uint64_t len)
{
	call->arg[0] = note;
	call->arg[1] = string;
	call->arg[2] = data;
	call->arg[3] = len;
	call->arg[4] = 0;
	call->op = FN_OP_HOSTCALL;
	leave();
	return call->failed ? UINT64_MAX : call->ret[0];
}
MAYFLY_EXPORT(raw_hostcall, u64, u64, u64, u64, u64);

/* OUT to the gate's port from where no gate is, in each width. */
static void raw_out8(uint32_t op)
{
	call->op = op;
	__asm__ volatile("outb %%al, %1" : : "a"(op), "i"(FN_PORT_GATE) : "memory");
}
MAYFLY_EXPORT(raw_out8, void, u32);

static void raw_out32(uint32_t op)
{
	call->op = op;
	__asm__ volatile("outl %%eax, %1" : : "a"(op), "i"(FN_PORT_GATE) : "memory");
}
MAYFLY_EXPORT(raw_out32, void, u32);

static void raw_outs(uint32_t count)
{
	static char bytes[4096];
	const char *from = bytes;
	uint64_t n = count;

	__asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(FN_PORT_GATE) : "memory");
}
MAYFLY_EXPORT(raw_outs, void, u32);

static uint32_t raw_in(void)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "i"(FN_PORT_GATE));
	return v;
}
MAYFLY_EXPORT(raw_in, u32);

/* Go to any address. In the gate that may begin the same call anew, and so for ever. */
static void jump_to(uint64_t address)
{
	__asm__ volatile("jmp *%0" : : "r"(address) : "memory");
}
MAYFLY_EXPORT(jump_to, void, u64);

/* --- results ------------------------------------------------------------------------------ */

static const char *string_at(uint64_t address)
{
	return (const char *)address;
}
MAYFLY_EXPORT(string_at, string, u64);

static mayfly_bytes bytes_at(uint64_t address, uint64_t len)
{
	return (mayfly_bytes){(const void *)address, len};
}
MAYFLY_EXPORT(bytes_at, bytes, u64, u64);

/* A string that ends with the guest's memory: it has no terminator. */
static const char *unterminated_string(void)
{
	char *last = (char *)call->heap_end - 4096;

	memset(last, 'x', 4096);
	return last;
}
MAYFLY_EXPORT(unterminated_string, string);

/* A bool of a value other than 0 and 1; integers of 32 bits with rubbish above them. */
bool rubbish_bool(void);
int32_t rubbish_i32(void);
uint32_t rubbish_u32(void);
__asm__(".pushsection .text\n\t"
	".type rubbish_bool, @function\n\t"
	".type rubbish_i32, @function\n\t"
	".type rubbish_u32, @function\n"
	"rubbish_bool:\n"
	"rubbish_i32:\n"
	"rubbish_u32:\n\t"
	"movabsq $0xdeadbeefcafef00d, %rax\n\t"
	"ret\n\t"
	".popsection");
MAYFLY_EXPORT(rubbish_bool, bool);
MAYFLY_EXPORT(rubbish_i32, i32);
MAYFLY_EXPORT(rubbish_u32, u32);

/* --- the call block ----------------------------------------------------------------------- */

/* All of it, then a return as if nothing had happened. */
static void scribble_call_block(uint32_t byte)
{
	for (size_t i = 0; i < sizeof(*call); i++)
		((volatile uint8_t *)call)[i] = (uint8_t)byte;
}
MAYFLY_EXPORT(scribble_call_block, void, u32);

/* All of it, then leave with what operation that makes. */
static void scribble_and_leave(uint32_t byte)
{
	scribble_call_block(byte);
	leave();
}
MAYFLY_EXPORT(scribble_and_leave, void, u32);

static uint64_t peek(uint64_t address)
{
	return *(volatile uint64_t *)address;
}
MAYFLY_EXPORT(peek, u64, u64);

static void poke(uint64_t address, uint64_t value)
{
	*(volatile uint64_t *)address = value;
}
MAYFLY_EXPORT(poke, void, u64, u64);

/* --- where things are --------------------------------------------------------------------- */

static uint64_t heap_start(void)
{
	return call->heap_start;
}
MAYFLY_EXPORT(heap_start, u64);

static uint64_t heap_end(void)
{
	return call->heap_end;
}
MAYFLY_EXPORT(heap_end, u64);

static uint64_t stack_pointer(void)
{
	return (uintptr_t)__builtin_frame_address(0);
}
MAYFLY_EXPORT(stack_pointer, u64);

/* Where an argument was put. */
static uint64_t address_of(mayfly_bytes v)
{
	return (uintptr_t)v.data;
}
MAYFLY_EXPORT(address_of, u64, bytes);

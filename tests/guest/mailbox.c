/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uses the mailbox of hot dispatch by hand, and wrongly: out of turn, twice, never; or rightly, while
 * it goes on to change what the host was given.
 */
#include "abi/function.h"
#include "mayfly_guest.h"

static volatile struct fn_call *const call = (volatile struct fn_call *)(uintptr_t)FN_CALL_VA;

MAYFLY_IMPORT(host_look, void, bytes, string);

/* For ever: what the test sees of it is what it writes. */
static MAYFLY_GUEST_NORETURN void stay(void)
{
	for (;;)
		__asm__ volatile("pause");
}

static uint64_t alive(void)
{
	return 0x600d;
}
MAYFLY_EXPORT(alive, u64);

static void leave(void)
{
	__asm__ volatile("outb %%al, %0" : : "i"(FN_PORT_GATE) : "memory");
}

/* As the gate does it: to a host that waits, or has gone to sleep. */
static void answer(uint32_t op)
{
	const volatile struct fn_fresh *fresh = (const void *)(uintptr_t)FN_FRESH_VA;

	call->op = op;
	__atomic_store_n((uint32_t *)&call->answer, call->turn, __ATOMIC_SEQ_CST);
	if (fresh->spin <= 1)
		leave();
}

/* An answer to another turn than the one that is on. */
static void answer_for(int32_t offset)
{
	call->answer = call->turn + (uint32_t)offset;
	leave();
	stay();
}
MAYFLY_EXPORT(answer_for, void, i32);

static void change_turn(uint32_t flip)
{
	call->turn ^= flip;
}
MAYFLY_EXPORT(change_turn, void, u32);

/* The right answer, and then one in advance. */
static uint64_t answer_twice(void)
{
	uint32_t turn = call->turn;

	call->result[0] = 1;
	answer(FN_OP_RESULT);
	for (volatile int i = 0; i < 1000; i++)
		;
	call->answer = turn + 2;
	leave();
	stay();
}
MAYFLY_EXPORT(answer_twice, u64);

/* An answer, and then it stays where it is. */
static uint64_t answer_and_stay(void)
{
	call->result[0] = 2;
	answer(FN_OP_RESULT);
	stay();
}
MAYFLY_EXPORT(answer_and_stay, u64);

/* An answer, and then an exception: nobody is in a call. */
static uint64_t answer_and_fault(void)
{
	call->result[0] = 3;
	answer(FN_OP_RESULT);
	__asm__ volatile("ud2");
	return 0;
}
MAYFLY_EXPORT(answer_and_fault, u64);

static char changing[256];

/* What strings and bytes are made of: with its end here or there, from one moment to the next. */
static void change(void)
{
	static unsigned n;

	n++;
	changing[n % 100] = n & 128 ? 'x' : 0;
	changing[100 + n % 50] = (char)n;
}

/* Returns when told to by what no turn is, but answers each turn: with that string. */
static const char *serve_strings(void)
{
	uint32_t served = ~call->turn;

	memset(changing, 'y', sizeof(changing) - 1);
	while (call->turn != UINT32_MAX) {
		change();
		if (call->turn == served)
			continue;
		served = call->turn;
		call->result[0] = (uintptr_t)changing;
		answer(FN_OP_RESULT);
	}
	return changing;
}
MAYFLY_EXPORT(serve_strings, string);

static mayfly_bytes serve_bytes(void)
{
	uint32_t served = ~call->turn;

	while (call->turn != UINT32_MAX) {
		change();
		if (call->turn == served)
			continue;
		served = call->turn;
		call->result[0] = (uintptr_t)changing;
		call->result[1] = sizeof(changing);
		answer(FN_OP_RESULT);
	}
	return (mayfly_bytes){changing, sizeof(changing)};
}
MAYFLY_EXPORT(serve_bytes, bytes);

/* By turns a host function gets to see it, and the call ends. */
static void serve_host_calls(void)
{
	uint32_t served, note;
	bool calling = true;

	host_look((mayfly_bytes){0}, "");
	note = (uint32_t)call->arg[0];
	memset(changing, 'y', sizeof(changing) - 1);
	served = ~call->turn;
	for (;;) {
		change();
		if (call->turn == served)
			continue;
		served = call->turn;
		call->arg[0] = note;
		call->arg[1] = (uintptr_t)changing;
		call->arg[2] = sizeof(changing);
		call->arg[3] = (uintptr_t)changing;
		answer(calling ? FN_OP_HOSTCALL : FN_OP_RESULT);
		calling = !calling;
	}
}
MAYFLY_EXPORT(serve_host_calls, void);

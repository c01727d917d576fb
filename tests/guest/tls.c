/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thread-local variables, of the one thread: initialised, zeroed, aligned, and kept between
 * calls.
 */
#include "mayfly_guest.h"

static _Thread_local uint32_t initialised = 0x12345678;
static _Thread_local uint64_t zero;
static _Thread_local char aligned[64] __attribute__((aligned(64))) = "aligned";
static _Thread_local uint8_t array[1000];

/* True if all is as the image says. */
static bool as_initialised(void)
{
	for (size_t i = 0; i < sizeof(array); i++) {
		if (array[i])
			return false;
	}
	return initialised == 0x12345678 && zero == 0 && strcmp(aligned, "aligned") == 0 &&
	       (uintptr_t)aligned % 64 == 0;
}
MAYFLY_EXPORT(as_initialised, bool);

static uint64_t add_up(uint32_t v)
{
	initialised += v;
	array[v % sizeof(array)]++;
	aligned[0] = '!';
	zero += v;
	return zero;
}
MAYFLY_EXPORT(add_up, u64, u32);

/* The word at the thread pointer is its own address (the x86-64 TLS ABI). */
static bool self_pointer_is_right(void)
{
	uintptr_t self;

	__asm__ volatile("movq %%fs:0, %0" : "=r"(self));
	return self == *(volatile uintptr_t *)self && self > (uintptr_t)&zero;
}
MAYFLY_EXPORT(self_pointer_is_right, bool);

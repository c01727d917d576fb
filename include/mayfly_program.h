/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For Linux programs that know of Mayfly: what they can tell it. Header only; needs no library and
 * does nothing where the program runs without Mayfly. C99 and C++; exports are for C.
 *
 * Functions that are exported, as mayfly_export.h describes, can be called by the host while the
 * program waits in mayfly_ready():
 *
 *	#include <mayfly_program.h>
 *
 *	static const char *greet(const char *who)
 *	{
 *		static char text[100];
 *		snprintf(text, sizeof(text), "Hello %s, this is process %d", who, getpid());
 *		return text;
 *	}
 *	MAYFLY_EXPORT(greet, string, string);
 *
 *	int main(void)
 *	{
 *		mayfly_ready(NULL, NULL);
 *	}
 *
 * They run on the thread that called mayfly_ready(), on its stack, and may do what any function
 * of a program may. Strings and bytes that they return are read after they returned: from static
 * memory, or the heap. To leave one by longjmp() to before mayfly_ready() is to go on from there,
 * with the call not over.
 */
#ifndef MAYFLY_PROGRAM_H
#define MAYFLY_PROGRAM_H

#include "mayfly_export.h"

#ifdef __cplusplus
extern "C" {
#endif

/* That it is no function guest. */
__asm__(MAYFLY_P_NOTE(4, ".long 0"));

/* A system call of Mayfly's own; Linux answers it with ENOSYS. */
#define MAYFLY_SYSCALL_READY 0x4d590000L

/*
 * "I have started: whoever wants to go on from here may": a snapshot with `--when ready`, or
 * MAYFLY_PAUSE_READY, is taken at the first call. A process that goes on from the snapshot returns
 * from it with what it was given: *argc and *argv (both may be NULL) are then as main()'s, argv[0]
 * included; without arguments, or without Mayfly, they are left alone.
 *
 * 1: it goes on from a snapshot, or runs in Mayfly; 0: it does not.
 */
static inline int mayfly_ready(int *argc, char ***argv)
{
	uint64_t given[2] = {0, 0};
	long result;

	__asm__ __volatile__("syscall"
			     : "=a"(result)
			     : "a"(MAYFLY_SYSCALL_READY), "D"(given)
			     : "rcx", "r11", "memory");
	if (result != 0)
		return 0;
	if (given[0] && argc)
		*argc = (int)given[0];
	if (given[0] && argv)
		*argv = (char **)(uintptr_t)given[1];
	return 1;
}

#ifdef __cplusplus
}
#endif

#endif

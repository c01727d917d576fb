/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fuzz_syscalls makes of its input: numbers, arguments of system calls that are worth
 * something, and the guest memory that they point to.
 */
#ifndef MAYFLY_FUZZ_SYSCALL_INPUT_H
#define MAYFLY_FUZZ_SYSCALL_INPUT_H

#include "program_fixture.h"

/* Bytes to come. Where there are none, zero. */
struct input {
	const uint8_t *at;
	size_t left;
	uint64_t last; /* result of the last system call, for arguments */
};

static inline uint64_t input_take(struct input *in, size_t bytes)
{
	uint64_t v = 0;

	if (bytes > in->left)
		bytes = in->left;
	for (size_t i = 0; i < bytes; i++)
		v |= (uint64_t)in->at[i] << (8 * i);
	in->at += bytes;
	in->left -= bytes;
	return v;
}

/* A slot of the program's data for each structure; then paths, names, and room for results. */
#define SLOT_SIZE 256u
#define SLOTS 96u
#define PATHS_VA (PROGRAM_DATA + SLOTS * SLOT_SIZE)
#define PATH_SIZE 128u
#define PATHS 96u
#define ROOM_VA (PATHS_VA + PATHS * PATH_SIZE)

/* Write them all into the program's memory; what it wrote there itself is gone. */
void input_plant(struct mm *mm);

/*
 * An argument: one byte that says what, and what that needs. `kind` is the letter that the table
 * of system calls has for it, which most values follow; 0: anything.
 */
uint64_t input_argument(struct input *in, char kind);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest `state` plants and finds, for it and for the tests that call it. Included by C
 * of both and by assembly.
 */
#ifndef MAYFLY_TESTS_STATE_H
#define MAYFLY_TESTS_STATE_H

/* What plant_registers() plants the pattern in; the tests combine them. */
#define STATE_GENERAL 1 /* all general registers but RSP and RBP */
#define STATE_X87 2	/* MM0-7, which are the x87 mantissas; control word, last instruction */
#define STATE_MXCSR 4	/* every bit */
#define STATE_VECTOR 8	/* XMM, YMM, ZMM, opmask registers, as far as there are any */
#define STATE_FLAGS 16	/* DF and the arithmetic flags */
#define STATE_SYSTEM_FLAGS 32 /* AC, ID, NT */
#define STATE_SELECTORS 64    /* DS, ES, FS, GS become what SS is */
#define STATE_BASES 128 /* FS and GS base by WRFSBASE, WRGSBASE: the pattern's low 46 bits */
#define STATE_PKRU                                                                             \
	256 /* protection keys, where the guest may set them: all but those of key 0 */
#define STATE_NULL_SELECTORS 512 /* DS, ES, FS, GS become 0 */
#define STATE_FRAME_POINTER 1024 /* RBP: the gate relies on it, so the call ends in a fault */

/* Offsets in struct state_registers. */
#define STATE_AT_GENERAL 0
#define STATE_AT_RFLAGS 128
#define STATE_AT_SELECTORS 136
#define STATE_AT_FS_BASE 152
#define STATE_AT_GS_BASE 160
#define STATE_AT_LEVEL 168
#define STATE_AT_PKRU 176
#define STATE_AT_FXSAVE 192
#define STATE_AT_VECTOR 704
#define STATE_AT_OPMASK 2752
#define STATE_SIZE 2816

/* Where plant_memory() plants the pattern, and look_memory() looks for it. */
#define STATE_DATA 1
#define STATE_BSS 2
#define STATE_HEAP 4  /* all of it, also beyond what malloc gave */
#define STATE_STACK 8 /* far below the frame */
#define STATE_CALL_BLOCK 16
#define STATE_CALL_AREA 32 /* around the bytes argument */
#define STATE_TLS 64

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

/* What look_registers() gives: all registers as they are on entry to the function. */
struct state_registers {
	uint64_t general[16]; /* rax rbx rcx rdx rsi rdi rbp rsp r8-r15; rdi is the argument */
	uint64_t rflags;
	uint16_t selectors[8]; /* ds es fs gs ss cs, two of padding */
	uint64_t fs_base;      /* 0 unless asked for with STATE_BASES */
	uint64_t gs_base;
	uint64_t level; /* 0: XMM, 1: YMM too, 2: ZMM and opmask registers too */
	uint64_t pkru;	/* 0 where there is none */
	uint64_t reserved;
	uint8_t fxsave[512]; /* x87, MMX, MXCSR, XMM (SDM vol. 1, 10.5.1) */
	uint8_t vector[32][64];
	uint64_t opmask[8];
};

_Static_assert(offsetof(struct state_registers, rflags) == STATE_AT_RFLAGS, "state.h");
_Static_assert(offsetof(struct state_registers, selectors) == STATE_AT_SELECTORS, "state.h");
_Static_assert(offsetof(struct state_registers, fs_base) == STATE_AT_FS_BASE, "state.h");
_Static_assert(offsetof(struct state_registers, gs_base) == STATE_AT_GS_BASE, "state.h");
_Static_assert(offsetof(struct state_registers, level) == STATE_AT_LEVEL, "state.h");
_Static_assert(offsetof(struct state_registers, pkru) == STATE_AT_PKRU, "state.h");
_Static_assert(offsetof(struct state_registers, fxsave) == STATE_AT_FXSAVE, "state.h");
_Static_assert(offsetof(struct state_registers, vector) == STATE_AT_VECTOR, "state.h");
_Static_assert(offsetof(struct state_registers, opmask) == STATE_AT_OPMASK, "state.h");
_Static_assert(sizeof(struct state_registers) == STATE_SIZE, "state.h");
#endif

#endif

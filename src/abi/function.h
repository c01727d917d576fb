/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a function guest and the host agree on: fixed guest-virtual addresses, the call block
 * through which calls pass, and the ELF notes that declare exports and imports. Included by
 * host C, guest C and assembly; the offsets are pinned by the assertions at the end.
 *
 * A round trip. The vCPU waits behind an OUT to FN_PORT_GATE. The host writes `reply` (and for
 * a call the arguments) and enters the VM; the gate, or the guest's hostcall that left through
 * it, acts on `reply` and leaves again by OUT with `op` saying why. The whole block can be
 * written by the guest at any time: the host reads each field once and believes none.
 *
 * Without an exit (fn_fresh.spin is not 0): instead of leaving, the gate says that it is done by making
 * `answer` what `turn` is, and waits so many PAUSEs for the host to change `turn`. Then it puts
 * FN_TURN_LEFT into `turn`, which fails if the host was faster, and leaves by OUT after all. The
 * host changes `turn` last, by an exchange that tells it which of the two happened.
 */
#ifndef MAYFLY_ABI_FUNCTION_H
#define MAYFLY_ABI_FUNCTION_H

/*
 * Guest-virtual addresses. All below the lowest address an image may have, and within one
 * 2 MiB page table together with a stack of up to FN_LOW_STACK_MAX.
 */
#define FN_GATE_VA 0x10000	 /* ring 3, read and execute: the gate's code (gate.S) */
#define FN_FRESH_VA 0x11000	 /* ring 3, read only: state to begin from, struct fn_fresh */
#define FN_CALL_VA 0x12000	 /* ring 3, read and write: the call block, struct fn_call */
#define FN_SUPERVISOR_VA 0x14000 /* ring 0: descriptor tables, exception stubs, stack */
#define FN_LOW_STACK_TOP 0x1ff000
#define FN_LOW_STACK_MAX 0x100000
#define FN_IMAGE_MIN_VA                                                                        \
	0x200000 /* where a static-PIE image is put, and the least address of any */
#define FN_IMAGE_MAX_VA 0x4000000000 /* images end below this */

/* Entry points of the gate page. */
#define FN_GATE_ENTER (FN_GATE_VA + 0x000) /* the host sets RIP here after spawn and restore */
#define FN_GATE_HOSTCALL (FN_GATE_VA + 0x400) /* the guest calls here with `op` set */
#define FN_GATE_SYSCALL (FN_GATE_VA + 0x800)  /* LSTAR: where the SYSCALL instruction ends up */

#define FN_PORT_GATE 0x10      /* the one port ring 3 may write */
#define FN_PORT_EXCEPTION 0x40 /* + vector, from ring 0 only */

/* fn_call.op: why the guest left. */
#define FN_OP_READY 0  /* nothing to say: answer to FN_REPLY_PARK */
#define FN_OP_RESULT 1 /* the called function returned */
#define FN_OP_HOSTCALL                                                                         \
	2 /* call the host function arg[0] = address of its import note's descriptor */
#define FN_OP_ABORT 3 /* arg[0] code (i32), arg[1], arg[2]: message address, length */
#define FN_OP_PRINT 4 /* arg[0], arg[1]: text address, length. ret[0]: 1 printed, 0 denied */
#define FN_OP_RANDOM                                                                           \
	5 /* arg[0]: how many bytes, at most FN_MAX_RANDOM; the host puts them into stack[] */
#define FN_OP_SYSCALL 6 /* a SYSCALL instruction was executed */

/* fn_call.reply: what the host wants. */
#define FN_REPLY_RETURN 0 /* the hostcall is done, results in ret[] */
#define FN_REPLY_CALL 1	  /* call the function at `fn` with the arguments below */
#define FN_REPLY_PARK 2	  /* touch the pages in stack[0..nstack), then leave with FN_OP_READY */
#define FN_REPLY_BATCH 3  /* make the calls of the struct fn_batch at `fn` */

/* In fn_call.turn: the gate left by OUT, or is about to. The other bits count turns. */
#define FN_TURN_LEFT 0x80000000

/* fn_call.flags */
#define FN_FLAG_PRINT 1 /* printing is not denied */

/* In FN_REPLY_PARK's list: the page is to be touched by a write that changes nothing. */
#define FN_TOUCH_WRITE 1

#define FN_MAX_ARGS 16
#define FN_MAX_SLOTS 32 /* strings take one slot, bytes two */
#define FN_NEAR_SLOTS 5 /* the first ones, in arg[1] and on */
#define FN_MAX_STACK 64 /* eightbytes of stack arguments: 32 would do, padding included */
#define FN_MAX_TOUCH 160
#define FN_ERROR_SIZE 512
#define FN_MAX_RANDOM 1024

/*
 * ELF notes (SHT_NOTE, PT_NOTE) of the name "Mayfly". Descriptors:
 *   FN_NOTE_EXPORT: i64 address of the function minus the address of this field;
 *                   then "name\0" "result(type,type,...)\0"
 *   FN_NOTE_IMPORT: i64 0; then "name\0" "result(type,...)\0"
 *   FN_NOTE_ABI:    u32 FN_ABI_VERSION
 *   FN_NOTE_PROGRAM: u32 0: a Linux program (mayfly_program.h), no function guest
 */
#define FN_NOTE_NAME "Mayfly"
#define FN_NOTE_ABI 1
#define FN_NOTE_EXPORT 2
#define FN_NOTE_IMPORT 3
#define FN_NOTE_PROGRAM 4
#define FN_ABI_VERSION 1

/* fn_batch.flags */
#define FN_BATCH_FLOATS 1 /* arguments in vector registers */
#define FN_BATCH_FLOAT 2  /* the result is in one */

/* Offsets in struct fn_batch, for assembly. */
#define FN_BATCH_FN 0
#define FN_BATCH_COUNT 8
#define FN_BATCH_STRIDE 16
#define FN_BATCH_SREGS 24
#define FN_BATCH_STACK 32
#define FN_BATCH_NSTACK 40
#define FN_BATCH_FLAGS 48
#define FN_BATCH_DONE 56
#define FN_BATCH_SIZE 64
/* Behind the last entry of a batch: the gate loads all argument registers of it. */
#define FN_BATCH_TAIL 112

/* Offsets in struct fn_call, for assembly. */
#define FN_CALL_OP 0
#define FN_CALL_ANSWER 4
#define FN_CALL_TURN 8
#define FN_CALL_REPLY 12
#define FN_CALL_NSTACK 14
#define FN_CALL_FN 16
#define FN_CALL_IREGS 24
#define FN_CALL_RESULT 24
#define FN_CALL_RESULT_SSE 40
#define FN_CALL_SREGS 72
#define FN_CALL_SEED 256
#define FN_CALL_STACK 1024

/* Offsets in struct fn_fresh. */
#define FN_FRESH_FS_BASE 0
#define FN_FRESH_GS_BASE 8
#define FN_FRESH_STACK_TOP 16
#define FN_FRESH_FLAGS 24
#define FN_FRESH_SPIN 28
#define FN_FRESH_XSAVE 64

/*
 * State components that ring 3 can change (SDM vol. 1, 13.1): x87, SSE, AVX, MPX, AVX-512,
 * PKRU, TILECFG, APX. More than guests are given: PVM leaves the host's XCR0 in force. All lie
 * in the page; TILEDATA, which does not, needs a permission that no vCPU asks for.
 */
#define FN_FRESH_COMPONENTS 0xa02ff

/* fn_fresh.flags */
#define FN_FRESH_FSGSBASE 1   /* WRFSBASE and WRGSBASE may be used */
#define FN_FRESH_HAVE_XSAVE 2 /* XRSTOR may be used; else FXRSTOR */

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

/*
 * One page at FN_CALL_VA. Integer arguments and the like are passed by the System V ABI
 * (3.2.3).
 *
 * A call with up to five integers is one cache line, both ways, and so is the call of a host
 * function inside it: without an exit it costs what that line takes from one CPU to another and
 * back.
 */
struct fn_call {
	uint32_t op;	 /* guest to host: FN_OP_ */
	uint32_t answer; /* guest to host: the turn that `op` belongs to */
	uint32_t turn;	 /* host to guest: changes when it is the guest's turn */
	uint16_t reply;	 /* host to guest: FN_REPLY_ */
	uint16_t nstack; /* eightbytes in stack[] */
	union {
		/* Guest to host: of the operation. FN_OP_HOSTCALL: [1] and on are slots. */
		uint64_t arg[1 + FN_NEAR_SLOTS];
		struct {
			/* FN_REPLY_CALL: address of the function; _BATCH: of the batch */
			uint64_t fn;
			union {
				uint64_t iregs[6]; /* rdi, rsi, rdx, rcx, r8, r9 */
				struct {
					uint64_t result[2];  /* FN_OP_RESULT: rax, rdx */
					uint64_t result_sse; /* low half of xmm0 */
				};
				struct {
					/* FN_REPLY_RETURN: value, or address and length */
					uint64_t ret[2];
					/* 1: the host function failed, see error[] */
					uint64_t failed;
				};
			};
		};
	};
	uint64_t sregs[8]; /* low halves of xmm0 to xmm7 */
	uint64_t reserved0[11];
	uint64_t generation; /* differs after each spawn and restore */
	uint32_t flags;	     /* FN_FLAG_ */
	uint32_t heap_reserved;
	uint64_t heap_start; /* the guest's heap: [heap_start, heap_end) */
	uint64_t heap_end;
	uint8_t seed[32]; /* random, new after each spawn and restore */
	uint8_t reserved1[224];
	/* Arguments of a host function beyond FN_NEAR_SLOTS, each zero-extended bits. */
	uint64_t slots[FN_MAX_SLOTS - FN_NEAR_SLOTS];
	uint8_t reserved2[256 + 8 * FN_NEAR_SLOTS];
	uint64_t stack
		[FN_MAX_TOUCH]; /* stack arguments, lowest address first; or pages to touch */
	uint8_t reserved3[256];
	char error[FN_ERROR_SIZE]; /* NUL-terminated, see failed */
	uint8_t reserved4[1024];
};

/*
 * In the call area, followed by `count` entries: arguments for registers rdi and on, those for
 * xmm0 and on, those for the stack. The result takes the place of the first.
 */
struct fn_batch {
	uint64_t fn; /* address of the function */
	uint64_t count;
	uint64_t stride; /* of entries, in bytes */
	uint64_t sregs;	 /* offsets in an entry, in bytes */
	uint64_t stack;
	uint64_t nstack; /* eightbytes, an even number */
	uint64_t flags;	 /* FN_BATCH_ */
	uint64_t done;	 /* guest to host: how many have returned */
};

/*
 * One page at FN_FRESH_VA: what the gate loads on entry, so that nothing of an earlier call is
 * left; and how it leaves.
 */
struct fn_fresh {
	uint64_t fs_base;
	uint64_t gs_base;
	uint64_t stack_top; /* 16-byte aligned */
	uint32_t flags;	    /* FN_FRESH_ */
	uint32_t spin; /* how many PAUSEs the gate waits for the host; 0: it leaves at once */
	uint8_t reserved1[32];
	uint8_t xsave[4096 - 64]; /* standard format, 64-byte aligned (SDM vol. 1, 13.4) */
};

#define FN_PIN(type, field, offset)                                                            \
	_Static_assert(offsetof(type, field) == (offset), #type "." #field " moved")
FN_PIN(struct fn_call, op, FN_CALL_OP);
FN_PIN(struct fn_call, answer, FN_CALL_ANSWER);
FN_PIN(struct fn_call, turn, FN_CALL_TURN);
FN_PIN(struct fn_call, reply, FN_CALL_REPLY);
FN_PIN(struct fn_call, fn, FN_CALL_FN);
FN_PIN(struct fn_call, iregs, FN_CALL_IREGS);
FN_PIN(struct fn_call, sregs, FN_CALL_SREGS);
FN_PIN(struct fn_call, nstack, FN_CALL_NSTACK);
FN_PIN(struct fn_call, result, FN_CALL_RESULT);
FN_PIN(struct fn_call, result_sse, FN_CALL_RESULT_SSE);
FN_PIN(struct fn_call, arg, FN_CALL_FN); /* guests' code knows these and on */
FN_PIN(struct fn_call, ret, FN_CALL_RESULT);
FN_PIN(struct fn_call, failed, FN_CALL_RESULT_SSE);
FN_PIN(struct fn_call, generation, 224);
FN_PIN(struct fn_call, seed, FN_CALL_SEED);
FN_PIN(struct fn_call, stack, FN_CALL_STACK);
FN_PIN(struct fn_call, slots, 512);
FN_PIN(struct fn_batch, fn, FN_BATCH_FN);
FN_PIN(struct fn_batch, count, FN_BATCH_COUNT);
FN_PIN(struct fn_batch, stride, FN_BATCH_STRIDE);
FN_PIN(struct fn_batch, sregs, FN_BATCH_SREGS);
FN_PIN(struct fn_batch, stack, FN_BATCH_STACK);
FN_PIN(struct fn_batch, nstack, FN_BATCH_NSTACK);
FN_PIN(struct fn_batch, flags, FN_BATCH_FLAGS);
FN_PIN(struct fn_batch, done, FN_BATCH_DONE);
FN_PIN(struct fn_fresh, fs_base, FN_FRESH_FS_BASE);
FN_PIN(struct fn_fresh, gs_base, FN_FRESH_GS_BASE);
FN_PIN(struct fn_fresh, stack_top, FN_FRESH_STACK_TOP);
FN_PIN(struct fn_fresh, flags, FN_FRESH_FLAGS);
FN_PIN(struct fn_fresh, spin, FN_FRESH_SPIN);
FN_PIN(struct fn_fresh, xsave, FN_FRESH_XSAVE);
_Static_assert(sizeof(struct fn_call) == 4096, "the call block is one page");
_Static_assert(sizeof(struct fn_batch) == FN_BATCH_SIZE, "entries follow");
_Static_assert(sizeof(struct fn_fresh) == 4096, "the fresh state is one page");
#undef FN_PIN
#endif

#endif

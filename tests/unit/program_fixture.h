/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs for tests and fuzzers that drive them with the mock hypervisor: a directory of the host
 * to grant parts of, and a static ELF file whose code is never executed; what the program "does" is
 * up to the driver. A failure to set something up ends the test program.
 */
#ifndef MAYFLY_TESTS_PROGRAM_FIXTURE_H
#define MAYFLY_TESTS_PROGRAM_FIXTURE_H

#include "hv/mock.h"
#include "linux/task.h"

/* The program's segments: code, data that may be written, data that may not, nothing at all. */
#define PROGRAM_TEXT 0x400000u
#define PROGRAM_DATA 0x600000u
#define PROGRAM_DATA_SIZE 0x10000u
#define PROGRAM_DATA_END (PROGRAM_DATA + PROGRAM_DATA_SIZE) /* nothing is mapped there */
#define PROGRAM_READ_ONLY 0x620000u
#define PROGRAM_NONE 0x621000u /* PROT_NONE */

/* The program's bytes; gives their number. */
#define PROGRAM_FILE_SIZE 4096
size_t program_file(uint8_t file[PROGRAM_FILE_SIZE]);

/*
 * A temporary directory of the host:
 *
 *   granted/    to be granted with writing; its links lead to outside/, "..", "/" and to themselves
 *   read-only/  to be granted without
 *   overlay/    to be granted with writing in memory
 *   outside/    not to be granted: "secret" holds TREE_SECRET
 *   program     what program_file() gives, executable
 */
#define TREE_SECRET "what is outside of all grants 5d7c1f"

struct tree {
	char root[64];
	char program[96];
	char granted[96];
	mayfly_grant grants[3]; /* /rw, /ro, /ov */
	char paths[3][96];
};

void tree_make(struct tree *tree);
/* What is granted as it was at first, if something is different. */
void tree_reset(struct tree *tree);
/* Whether all but granted/ is as it was made. */
bool tree_is_sound(const struct tree *tree);
void tree_remove(struct tree *tree);

/* Its options: the tree's program with its grants, 16 MiB of memory, in /rw. */
mayfly_process_options program_options(const struct tree *tree);

/* A process from a snapshot of such a program, with the same grants, that can be restored. */
int program_continue(const struct tree *tree, struct mayfly_snapshot *snap,
		     struct process **out, mayfly_error *err);
/* The same, where nothing may go wrong; and its restore. */
struct process *program_continued(const struct tree *tree, struct mayfly_snapshot *snap);
void program_restore(struct process *p);

/*
 * Have the program make these system calls, the number before the arguments, then exit with 7;
 * none waits. Gives how it ended: at mayfly_ready() (PROG_SYS_READY) it pauses.
 */
mayfly_process_end program_run(struct process *p, const uint64_t (*calls)[7], size_t count);
/*
 * What program_open_much() uses: in PROGRAM_DATA, what calls are given, and what they give;
 * descriptors that are open then.
 */
#define FDS (PROGRAM_DATA)
#define UNIX_NAME (PROGRAM_DATA + 0x100)
#define UNIX_NAME_LEN (sizeof(sa_family_t) + 5)
#define INET_NAME (PROGRAM_DATA + 0x200)
#define HELLO (PROGRAM_DATA + 0x300)
#define MASK (PROGRAM_DATA + 0x400)
#define ITIMER (PROGRAM_DATA + 0x500)
#define TIMER_ID (PROGRAM_DATA + 0x640)
#define TIMERSPEC (PROGRAM_DATA + 0x680)
#define NAME (PROGRAM_DATA + 0x700)
#define LARGE (PROGRAM_DATA + 0x740)
#define EVENT (PROGRAM_DATA + 0x780)
#define RESULT (PROGRAM_DATA + 0x2000)

enum {
	SEMAPHORE = 3,
	PIPE_WRITE = 4,
	PAIR_A = 5,
	PAIR_B = 6,
	LISTENER = 7,
	CLIENT = 8,
	DATAGRAMS = 9,
	SENDER = 10,
	MEMFD = 11,
	SIGNALS = 12,
	EPOLL = 13,
	ACCEPTED = 14, /* the next one */
	PIPE_READ = 20
};

/*
 * Have a new program open one of each kind that a snapshot keeps, most of them with "hello" in
 * them; have signals wait, and timers run; and pause at mayfly_ready().
 */
void program_open_much(struct process *p);

/* Whether this string is in its memory. */
bool program_holds(struct process *p, uint64_t va, const char *text);

/* How many descriptors this process has open. */
unsigned program_open_fds(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of signals: a running process of linux_fixture.h, whose task has a vCPU with nothing
 * but vector state. A failure ends the test.
 */
#ifndef MAYFLY_TESTS_SIGNALS_FIXTURE_H
#define MAYFLY_TESTS_SIGNALS_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

#include "hv/hv.h"
#include "linux/process.h"
#include "linux_fixture.h"

/* Where the task is and what it has. */
#define CODE 0x401000u
#define HANDLER 0x402000u
#define RESTORER 0x403000u
#define STACK (FAKE_VA + 0x80000)
#define ALT_STACK (FAKE_VA + 0xc0000)
#define ALT_SIZE 0x4000u
/* Offsets in the memory: what calls are given, and what they give. */
#define ARGUMENTS 0x1000u
#define RESULTS 0x2000u

struct fake_vcpu {
	struct hv_vcpu base;
	uint8_t xsave[CPU_XSAVE_BUFFER];
	bool refused; /* the next states are */
};

struct sigtest {
	struct process *p;
	struct task *t; /* the first one, at CODE and on STACK */
	struct fake_vcpu vcpu;
};

/* cmocka's fixtures, for each test: the state is a struct sigtest. */
int sigtest_set_up(void **state);
int sigtest_tear_down(void **state);

/* As kill(2) of process 77, user 88, has it. */
struct guest_siginfo sigtest_info(int signo);
/* Sends that to the process. */
int sigtest_send(struct sigtest *f, int signo);

/* Have HANDLER handle it, with RESTORER; `flags` and `mask` as in sigaction(2). */
void sigtest_handle(struct sigtest *f, int signo, uint64_t flags, uint64_t mask);
/* An action of nothing but a handler; 0 and 1 are SIG_DFL and SIG_IGN. */
void sigtest_set_handler(struct sigtest *f, int signo, uint64_t handler);

/* Takes the task's next signal, blocked or not: its number, or 0. */
int sigtest_take(struct sigtest *f);
bool sigtest_pending(struct sigtest *f, int signo);
/* How many signals the process has in its queues. */
uint32_t sigtest_queued(struct sigtest *f);

/* In a handler: the frame's context as glibc's type, which is not ours. */
const ucontext_t *sigtest_context(struct sigtest *f);

/* A system call of up to four arguments: its result. */
int64_t sigtest_call(struct sigtest *f, syscall_fn *fn, uint64_t a0, uint64_t a1, uint64_t a2,
		     uint64_t a3);

#endif

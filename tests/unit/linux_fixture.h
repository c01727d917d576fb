/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process for tests of system calls that need no VM: one task, and 2 MiB of guest memory at
 * FAKE_VA, which is the host's memory at fake_memory(). No page tables, nothing runs. A failure
 * ends the test program.
 */
#ifndef MAYFLY_TESTS_LINUX_FIXTURE_H
#define MAYFLY_TESTS_LINUX_FIXTURE_H

#include "linux/process.h"

#define FAKE_VA 0x400000u
#define FAKE_SIZE (2u << 20)
/* The first address behind, and one that no one has anything at. */
#define FAKE_END (FAKE_VA + FAKE_SIZE)
#define FAKE_WILD 0x7f0000000000u

struct process *fake_process_new(void);
void fake_process_free(struct process *p);
/* A further task, not running; in the list until the process is freed. */
struct task *fake_task(struct process *p, int tid);

/* The host's view of FAKE_VA + offset. */
void *fake_memory(struct process *p, size_t offset);
/* Puts a string there and gives its guest address. */
uint64_t fake_string(struct process *p, size_t offset, const char *string);
/* Have the page of FAKE_VA + offset be inaccessible. */
void fake_protect(struct process *p, size_t offset);

#endif

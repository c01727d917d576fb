/* SPDX-License-Identifier: Apache-2.0 */
/* Program guests: what all VMs of one program have in common. */
#ifndef MAYFLY_LINUX_GUEST_H
#define MAYFLY_LINUX_GUEST_H

#include "function/manifest.h"
#include "snapshot/snapshot.h"

/* KVM keeps tables for each page of a slot, touched or not: those of 256 MiB take 0.2 ms to make. */
#define PROGRAM_SLOT_SPAN ((uint64_t)64 << 20)
#define PROGRAM_MIN_MEMORY ((uint64_t)1 << 20)
#define PROGRAM_MAX_MEMORY ((uint64_t)48 << 30)

struct program_guest {
	struct guest base;
	uint64_t memory; /* bytes that may be charged */
	/*
	 * What it exports, set when the program is loaded (functions.h): of it all processes
	 * descend that have this guest. Or what is wrong with what it declares, not saved.
	 */
	struct manifest functions;
	char *functions_problem;
};

extern const struct guest_kind program_guest_kind;

static inline struct program_guest *program_guest_of(struct guest *guest)
{
	return (struct program_guest *)guest;
}

/* An empty guest for so much memory; guest_put(). Errors: INVALID, NOMEM. */
int program_guest_new(uint64_t memory, struct guest **out, mayfly_error *err);

/* The setup of a vCPU of it. */
struct cpu_setup program_cpu_setup(const struct guest *guest, uint32_t number,
				   const struct hv_host *host);

/* A vCPU's TSS, in the tables part of a VM's private memory, before it first runs. */
void program_build_thread(uint8_t *private_mem, uint32_t number);
/*
 * Into the same of a new VM: the tables of the low 2 MiB. Gives the pages used of
 * PROG_TABLES_PAGES.
 */
uint32_t program_build_tables(const struct guest *guest, uint8_t *private_mem);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/guest.h"

#include <string.h>
#include <sys/mman.h>

#include "abi/program.h"
#include "arch/x86_64/descriptors.h"
#include "arch/x86_64/paging.h"
#include "linux/vdso.h"

#define KIND_PROGRAM 2
/* As function guests have it: above any private memory, below what any CPU can address. */
#define SHARED_GPA ((uint64_t)1 << 37)
#define CHUNK ((uint64_t)2 << 20)

/* Shared pages: the gate, ring 0's, the vDSO. */
#define SHARED_GATE 0
#define SHARED_SUPERVISOR 1
#define SHARED_VDSO 2
#define SHARED_PAGES (SHARED_VDSO + PROG_VDSO_PAGES)

/* In program_gate.S. */
extern const uint8_t program_gate_start[], program_gate_end[];

_Static_assert(PROG_THREADS_GPA >= PROG_TABLES_PAGES * 4096, "tables end below the threads");
_Static_assert(PROG_VVAR_GPA >= PROG_THREADS_GPA + PROG_MAX_VCPUS * 4096, "so do the threads");

static void free_guest(struct guest *guest)
{
	struct program_guest *g = program_guest_of(guest);

	manifest_fini(&g->functions);
	free(g->functions_problem);
	guest_fini(guest);
	free(guest);
}

/*
 * Guest-physical room for chunks: what may be charged twice over, since small mappings do not
 * fill theirs, and 4 GiB for files that are mapped, which are not charged.
 */
static uint64_t chunk_count(uint64_t memory)
{
	return 2 * (memory / CHUNK) + 2048;
}

int program_guest_new(uint64_t memory, struct guest **out, mayfly_error *err)
{
	uint64_t chunks = chunk_count(memory);
	struct program_guest *g;
	struct guest *base;
	int r;

	if (memory < PROGRAM_MIN_MEMORY || memory > PROGRAM_MAX_MEMORY)
		return fail(err, MAYFLY_E_INVALID,
			    "memory: %llu bytes; a program can have from 1 MiB to 48 GiB",
			    (unsigned long long)memory);
	g = calloc(1, sizeof(*g));
	if (!g)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a guest");
	g->memory = memory;
	base = &g->base;
	base->refs = 1;
	base->kind = &program_guest_kind;
	base->state_page = GUEST_NO_PAGE;
	base->slot_span = PROGRAM_SLOT_SPAN;
	base->tables_len = (PROG_LEAVES_GPA + chunks * PAGE_SIZE + CHUNK - 1) / CHUNK * CHUNK;
	base->map.private_len = base->tables_len + chunks * CHUNK;
	base->map.shared_gpa = SHARED_GPA;
	base->map.shared_len = SHARED_PAGES * PAGE_SIZE;
	base->system_len = base->map.shared_len;
	r = guest_map_shared(base, err);
	if (r < 0) {
		free_guest(base);
		return r;
	}
	memcpy(base->shared + SHARED_GATE * PAGE_SIZE, program_gate_start,
	       (size_t)(program_gate_end - program_gate_start));
	descriptors_build(base->shared + SHARED_SUPERVISOR * PAGE_SIZE, PROG_SUPERVISOR_VA, 0,
			  PROG_PORT_EXCEPTION, PROG_PORT_SYSCALL);
	memcpy(base->shared + SHARED_VDSO * PAGE_SIZE, vdso_start,
	       (size_t)(vdso_end - vdso_start));
	mprotect(base->shared, base->map.shared_len, PROT_READ);
	descriptors_setup(&base->setup, PROG_SUPERVISOR_VA);
	base->setup.syscall_entry = PROG_GATE_SYSCALL;
	base->setup.allow_tsc = true;
	base->setup.host_tsc = true;
	base->setup.sync_regs = true;
	*out = base;
	return 0;
}

struct cpu_setup program_cpu_setup(const struct guest *guest, uint32_t number,
				   const struct hv_host *host)
{
	struct cpu_setup setup = guest->setup;

	setup.tss = PROG_THREADS_VA + (uint64_t)number * PAGE_SIZE;
	setup.host_tsc = host->host_tsc;
	return setup;
}

uint32_t program_build_tables(const struct guest *guest, uint8_t *private_mem)
{
	struct paging pg = {.mem = private_mem, .used = 1, .capacity = PROG_TABLES_PAGES};

	(void)guest;
	/* There is room: these cannot fail. */
	paging_map(&pg, PROG_GATE_VA, SHARED_GPA + SHARED_GATE * PAGE_SIZE, PAGE_SIZE,
		   PAGING_USER | PAGING_EXEC, NULL);
	paging_map(&pg, PROG_SUPERVISOR_VA, SHARED_GPA + SHARED_SUPERVISOR * PAGE_SIZE,
		   PAGE_SIZE, PAGING_EXEC, NULL);
	paging_map(&pg, PROG_VVAR_VA, PROG_VVAR_GPA, PAGE_SIZE, PAGING_USER, NULL);
	paging_map(&pg, PROG_VDSO_VA, SHARED_GPA + SHARED_VDSO * PAGE_SIZE,
		   PROG_VDSO_PAGES * PAGE_SIZE, PAGING_USER | PAGING_EXEC, NULL);
	paging_map(&pg, PROG_THREADS_VA, PROG_THREADS_GPA, PROG_MAX_VCPUS * PAGE_SIZE,
		   PAGING_WRITE, NULL);
	return pg.used;
}

void program_build_thread(uint8_t *private_mem, uint32_t number)
{
	descriptors_build_tss(private_mem + PROG_THREADS_GPA + number * PAGE_SIZE,
			      PROG_THREADS_VA + (number + 1) * PAGE_SIZE, PROG_PORT_SYSCALL);
}

/* As bytes: the memory size; the table of functions, if there are any. */
static int encode(const struct guest *guest, uint8_t **out, size_t *len, mayfly_error *err)
{
	const struct program_guest *g = (const struct program_guest *)guest;
	_cleanup_free_ uint8_t *functions = NULL;
	size_t functions_len = 0;
	int r = 0;

	if (g->functions.nexports)
		r = manifest_encode(&g->functions, &functions, &functions_len, err);
	if (r < 0)
		return r;
	*len = sizeof(g->memory) + functions_len;
	*out = malloc(*len);
	if (!*out)
		return fail(err, MAYFLY_E_NOMEM, "no memory to save a snapshot");
	memcpy(*out, &g->memory, sizeof(g->memory));
	if (functions_len)
		memcpy(*out + sizeof(g->memory), functions, functions_len);
	return 0;
}

static int decode(const uint8_t *data, size_t len, struct guest **out, mayfly_error *err)
{
	struct guest *guest = NULL;
	uint64_t memory;
	int r;

	if (len < sizeof(memory))
		return fail(err, MAYFLY_E_FORMAT, "the description of the program is damaged");
	memcpy(&memory, data, sizeof(memory));
	if (memory < PROGRAM_MIN_MEMORY || memory > PROGRAM_MAX_MEMORY)
		return fail(err, MAYFLY_E_FORMAT, "the program's memory size makes no sense");
	r = program_guest_new(memory, &guest, err);
	if (r == 0 && len > sizeof(memory))
		r = manifest_decode(data + sizeof(memory), len - sizeof(memory), PROG_LOW_VA,
				    PROG_VA_END, &program_guest_of(guest)->functions, err);
	if (r == 0)
		*out = guest;
	else if (guest)
		guest_put(guest);
	return r;
}

const struct guest_kind program_guest_kind = {
	.id = KIND_PROGRAM,
	.encode = encode,
	.decode = decode,
	.large_images = true,
	.free = free_guest,
};

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mayfly bench: rows, measured in turn. A round takes each row once: it sets the row's subject up,
 * takes some samples that do not count, then a batch that does, and takes it down again.
 * So noise of the host hits all rows alike, and no row runs beside the VMs of another.
 */
#ifndef MAYFLY_CLI_BENCH_H
#define MAYFLY_CLI_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "mayfly.h"
#include "samples.h"

/* Memory of the guests of all rows that do not say otherwise. */
#define BENCH_MEMORY ((uint64_t)4 << 20)

struct bench_row {
	const char *name;
	const char *what; /* one line */
	uint32_t batch;	  /* samples a round */
	uint32_t warmup;  /* before them, not kept */
	bool needs_kvm;
	bool memory_used; /* what is measured is bytes, not ns */
	uint32_t pages;	  /* parameters of some rows */
	uint32_t threads;
	uint64_t memory;
	/*
	 * begin: once, makes *state; end frees it (NULL too). enter and leave: around each round; may
	 * be NULL; leave also after an enter that failed. sample: one timed operation.
	 */
	int (*begin)(const struct bench_row *row, void **state, mayfly_error *err);
	int (*enter)(void *state, mayfly_error *err);
	int (*sample)(void *state, uint64_t *ret_ns, mayfly_error *err);
	void (*leave)(void *state);
	void (*end)(void *state);
};

/* Each NULL-terminated by a row without a name. */
extern const struct bench_row bench_bare_rows[];    /* bench_bare.c */
extern const struct bench_row bench_call_rows[];    /* bench_calls.c */
extern const struct bench_row bench_hot_rows[];	    /* bench_hot.c */
extern const struct bench_row bench_spawn_rows[];   /* bench_spawn.c */
extern const struct bench_row bench_process_rows[]; /* bench_process.c */

/* Lists of rows of --programs, NULL-terminated, of what this host has (bench_programs.c). */
const struct bench_row *const *bench_program_rows(void);

/* --- Boots (bench_boot.c) -------------------------------------------------------------------- */

#define BENCH_UNTIL_MAX 40

struct bench_boot {
	const char *kernel; /* NULL: only the kernel that is built in */
	const char *initrd; /* may be NULL, as the others */
	const char *cmdline;
	const char
		*until; /* what its console shows when it has booted; with a kernel, not NULL */
};

/*
 * Lists of rows of --boot, NULL-terminated, of what this host has. `boot` is borrowed until the end
 * of the program.
 */
const struct bench_row *const *bench_boot_rows(const struct bench_boot *boot);

/* --- The guest (bench_guest.c) --------------------------------------------------------------- */

/* The guest that is built in, loaded, with its functions. Free with bench_guest_fini(). */
struct bench_guest {
	mayfly_snapshot *snap;
	const mayfly_function *add;   /* i64(i64,i64) */
	const mayfly_function *dirty; /* u32(u32): writes so many pages, gives their number */
	const mayfly_function *call_host; /* i64(i64): by way of the host function "host_add" */
	const mayfly_function
		*spin; /* void(): calls the host function "spinning", never ends */
};

int bench_guest_load(struct bench_guest *g, uint64_t memory, mayfly_error *err);
void bench_guest_fini(struct bench_guest *g);

/* Call add, dirty or call_host, and check the result. */
int bench_guest_add(const struct bench_guest *g, mayfly_sandbox *sb, mayfly_error *err);
int bench_guest_dirty(const struct bench_guest *g, mayfly_sandbox *sb, uint32_t pages,
		      mayfly_error *err);
int bench_guest_call_host(const struct bench_guest *g, mayfly_sandbox *sb, mayfly_error *err);

/* What call_host calls. */
extern const mayfly_host_function bench_host_add;

/* One such call of add or call_host, timed. */
int bench_sample_add(const struct bench_guest *g, mayfly_sandbox *sb, uint64_t *ret_ns,
		     mayfly_error *err);
int bench_sample_call_host(const struct bench_guest *g, mayfly_sandbox *sb, uint64_t *ret_ns,
			   mayfly_error *err);

/* --- Processes (bench_process.c) ------------------------------------------------------------- */

/*
 * Start the small process that measures processes: before this one has made mappings, which would
 * make its fork() dear and the comparison unfair. bench_processes_stop() ends it.
 */
int bench_processes_start(mayfly_error *err);
void bench_processes_stop(void);

/* Start argv with these streams (-1: /dev/null). Gives the process, or a negative errno. */
pid_t bench_command_start(char *const argv[], int in, int out, int err);

/* --- Bare VMs (bench_bare.c) ----------------------------------------------------------------- */

/* One cold start of a bare VM and its end, for bench_scale.c. */
int bench_bare_cold_start(uint64_t *ret_ns, mayfly_error *err);

/* --- Results (bench_report.c) ---------------------------------------------------------------- */

struct bench_result {
	const struct bench_row *row;
	struct distribution times;
};

/* Times are medians; memory is what a sandbox takes, on average of all that are live. */
struct bench_scale {
	uint64_t live;		/* sandboxes, at the time of measuring */
	uint64_t create_ns;	/* making one more */
	uint64_t start_ns;	/* the same, and its first call */
	uint64_t bare_ns;	/* a bare cold start beside them */
	uint64_t process_bytes; /* of the process, but for what KVM maps into it */
	uint64_t written_bytes; /* of these, pages that KVM's log has as written */
	uint64_t library_bytes; /* the others */
	uint64_t kernel_bytes;	/* of the kernel: slab, tables, vmalloc, and what KVM maps */
};

/* Names of the rows that a row is compared with, for --rows; NULL past the last. */
const char *bench_floor(const char *row, unsigned index);

/* `info` may be NULL. Gives the exit status. */
int bench_report_text(const mayfly_host_info *info, const struct bench_result *results,
		      size_t n);
int bench_report_scale(const mayfly_host_info *info, const struct bench_scale *scale, size_t n);
int bench_report_json(const mayfly_host_info *info, const struct bench_result *results,
		      size_t n, const struct bench_scale *scale, size_t nscale);

/* --- Scale (bench_scale.c) ------------------------------------------------------------------- */

#define BENCH_MAX_SCALE 8

/*
 * Measure up to `most` live sandboxes, in steps, into scale[BENCH_MAX_SCALE]. Gives the number of
 * steps; 0 after a complaint.
 */
size_t bench_scale_run(uint64_t most, struct bench_scale *scale);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of the verbs that boot kernels, and what they mean to the library. A verb that has
 * them begins its structure with struct boot_options.
 */
#ifndef MAYFLY_CLI_BOOT_OPTIONS_H
#define MAYFLY_CLI_BOOT_OPTIONS_H

#include "mayfly.h"
#include "options.h"
#include "texts.h"

struct verb;

/* --trace-boot without a file. */
#define TRACE_BOOT_TEXT "-"

struct boot_options {
	const char *cmdline;
	const char *initrd;
	uint64_t memory;
	uint64_t cpus;
	uint64_t timeout;
	struct option_list disks;
	struct option_list nets;
	struct option_list ports;
	struct option_list fw;
	const char *console;
	const char *shutdown;
	const char *trace;
	const char *acpi;
	bool rng;
	bool pty;
	bool quiet;
	bool plain_cmdline;
	bool legacy_virtio;
};

extern const struct option_table boot_option_table;

/* What the library is to be told; boot_setup_fini() frees what its pointers point to. */
struct boot_setup {
	mayfly_machine_options library;
	mayfly_disk *disks;
	mayfly_nic *nics;
	mayfly_forward **forwards; /* of each network */
	mayfly_port *ports;
	mayfly_fw_file *fw;
	struct texts texts; /* copies that were taken apart */
};

/*
 * Fill the setup, but for kernel, snapshot, console and callbacks. Zeroed before; to be freed also
 * on failure. Complains and gives STATUS_FAILED for what makes no sense.
 */
int boot_setup_init(struct boot_setup *s, const struct verb *verb,
		    const struct boot_options *o);
void boot_setup_fini(struct boot_setup *s);
void boot_options_fini(struct boot_options *o);

/* The first of the options given that are fixed in a snapshot, by its name; NULL: none. */
const char *boot_option_fixed(const struct boot_options *o);

/*
 * boot_net.c: --net's argument; *ret_forwards are the network's, to be freed. Errors: INVALID.
 * `text` is taken apart in place.
 */
int boot_net(char *text, mayfly_nic *nic, mayfly_forward **ret_forwards, mayfly_error *err);

#endif

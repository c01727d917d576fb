/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of the verbs that run programs, and what they mean to the library. A verb that has
 * them begins its structure with struct program_options.
 */
#ifndef MAYFLY_CLI_PROGRAM_OPTIONS_H
#define MAYFLY_CLI_PROGRAM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "mayfly.h"
#include "options.h"
#include "texts.h"

struct verb;

/* --trace without a file. */
#define TRACE_TO_STDERR "-"

struct program_options {
	struct option_list dirs;
	struct option_list env;
	struct option_list net;
	struct option_list publish;
	const char *root;
	const char *cwd;
	const char *trace;
	uint64_t memory;
	uint64_t timeout;
	uint64_t cpu_time;
	uint64_t max_output;
	uint64_t max_files;
	uint64_t threads;
	bool system;
	bool env_all;
	bool stats;
};

extern const struct option_table program_option_table;

/* What the library is to be told; program_setup_fini() frees what its pointers point to. */
struct program_setup {
	mayfly_process_options library;
	mayfly_grant *grants;
	mayfly_net_rule *rules;
	mayfly_publish *published;
	const char **envp;
	size_t nenv;
	struct texts texts; /* made up along the way */
};

/*
 * Fill the setup, but for program, snapshot, argv, streams and callbacks. Zeroed before; to be
 * freed also on failure. Complains and gives STATUS_FAILED for what makes no sense.
 */
int program_setup_init(struct program_setup *s, const struct verb *verb,
		       const struct program_options *o);
void program_setup_fini(struct program_setup *s);
void program_options_fini(struct program_options *o);

/* `path` as an absolute one, from where the command was started, without "." and "..". */
const char *program_setup_path(struct program_setup *s, const char *path);

/*
 * program_net.c: --net's and --publish's arguments, and what looking up names takes. Errors:
 * INVALID.
 */
int program_net_rules(struct program_setup *s, const struct program_options *o,
		      mayfly_error *err);
int program_publish(struct program_setup *s, const struct program_options *o,
		    mayfly_error *err);

/* Add to the setup's arrays. */
void program_setup_grant(struct program_setup *s, const char *host, const char *guest,
			 uint32_t flags);
void program_setup_rule(struct program_setup *s, const char *host, uint16_t first,
			uint16_t last);

#endif

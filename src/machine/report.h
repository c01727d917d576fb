/* SPDX-License-Identifier: Apache-2.0 */
/* What a machine did, for people and for tools. Not while it runs. */
#ifndef MAYFLY_MACHINE_REPORT_H
#define MAYFLY_MACHINE_REPORT_H

#include "core/error.h"

struct machine;

/*
 * The timeline as a table, or (chrome) as JSON in Chrome's trace event format; times from
 * `started_ns` on. The machine has a timeline. Errors: NOMEM.
 */
int machine_report(const struct machine *m, bool chrome, uint64_t started_ns,
		   mayfly_write_fn write, void *context, mayfly_error *err);

void machine_count(const struct machine *m, mayfly_machine_stats *stats);

#endif

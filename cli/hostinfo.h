/* SPDX-License-Identifier: Apache-2.0 */
/* The host, as the JSON of doctor and bench describes it. */
#ifndef MAYFLY_CLI_HOSTINFO_H
#define MAYFLY_CLI_HOSTINFO_H

#include <jansson.h>

#include "mayfly.h"

/* A new object; `info` may be NULL where there is no hypervisor. NULL when out of memory. */
json_t *hostinfo_json(const mayfly_host_info *info);

/* Print and free `all` (NULL: out of memory). Gives the exit status. */
int json_finish(json_t *all);

#endif

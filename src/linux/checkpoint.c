/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/checkpoint.h"

#include "linux/task.h"

int checkpoint_save(struct process *p, struct mayfly_snapshot **out, mayfly_error *err)
{
	(void)p;
	(void)out;
	return fail(err, MAYFLY_E_UNSUPPORTED, "not yet");
}

int checkpoint_load(struct process *p, struct mayfly_snapshot *snap, const char *const *argv,
		    mayfly_error *err)
{
	(void)p;
	(void)snap;
	(void)argv;
	return fail(err, MAYFLY_E_UNSUPPORTED, "not yet");
}

int checkpoint_restore(struct process *p, struct mayfly_snapshot *snap, const int fds[3],
		       mayfly_error *err)
{
	(void)p;
	(void)snap;
	(void)fds;
	return fail(err, MAYFLY_E_UNSUPPORTED, "not yet");
}

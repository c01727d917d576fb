/* SPDX-License-Identifier: Apache-2.0 */
/* Between the families of system calls on files: their arguments. */
#ifndef MAYFLY_LINUX_VFS_CALLS_H
#define MAYFLY_LINUX_VFS_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "linux/vfs.h"

struct task;

/* Where a call's path begins, and the path. */
struct call_place {
	struct file *dir; /* counted; NULL: it begins nowhere, or in the current directory */
	char path[VFS_PATH_MAX];
};

/* The path argument `which` of the call (see task_path()). -ENOENT for an empty one. */
int call_path(struct task *t, int which, uint64_t va, bool may_be_empty,
	      char path[VFS_PATH_MAX]);
/* The directory descriptor that goes with a path, counted *dir. -EBADF, -ENOTDIR. */
int call_directory(struct task *t, uint64_t fd, const char *path, struct file **dir);
/* Both, of at[] = {descriptor, address}. place->dir is set, on failure to NULL. */
int call_place(struct task *t, const uint64_t at[2], int which, bool may_be_empty,
	       struct call_place *place);

#endif

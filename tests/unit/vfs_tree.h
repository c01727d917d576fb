/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of the guest's file system: a process with one task, a tree on the host of which
 * parts are granted, and what must not change beside it.
 *
 *   BASE/grant      mounted on /g, writable, and on /r, read-only
 *   BASE/lower      mounted on /o, with changes in memory
 *   BASE/outside    not granted
 *
 * A failure ends the test program. In paths '@' stands for BASE.
 */
#ifndef MAYFLY_TESTS_VFS_TREE_H
#define MAYFLY_TESTS_VFS_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "linux_fixture.h"
#include "linux/vfs_internal.h"

#define TREE_SECRET "SECRET"

extern struct process *tree_p;
extern struct task *tree_t;
extern char tree_base[64];
/* The directory in which BASE is made: /tmp. */
extern const char *tree_where;

/* cmocka's fixtures, for each test. */
int tree_set_up(void **state);
int tree_tear_down(void **state);

/* A host path, BASE/ + format; static, good for a few calls. */
const char *tree_host(const char *format, ...) __attribute__((format(printf, 1, 2)));
void tree_write(const char *host_path, const char *text);
/* Whether everything outside is as it was made. */
bool tree_outside_is_whole(void);
/* `path` with '@' replaced; static, good for a few calls. */
const char *tree_expand(const char *path);

/* Put a path into guest memory: its address. Good for a few calls. */
uint64_t tree_path(const char *path);

#define SYS(name, ...) sys_##name(tree_t, (const uint64_t[6]){__VA_ARGS__})
#define CWD ((uint64_t)(int64_t)AT_FDCWD)

int64_t tree_open(const char *path, int flags);
int64_t tree_stat(const char *path, struct stat *st);
/* The first bytes of a file, by the guest's eyes; "" if it cannot be read. Static. */
const char *tree_read(const char *path);
/* Make or change a file as the guest: 0 or -errno. */
int64_t tree_put(const char *path, const char *text);
int64_t tree_write_fd(int64_t fd, const char *text);
void tree_close(int64_t fd);
/* The names in a directory, sorted, each with a blank behind; without the dots. Static. */
const char *tree_list(const char *path);

#endif

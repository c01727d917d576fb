/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/syscalls.h"

#define SYSCALL(number, name, args) __attribute__((weak)) syscall_fn sys_##name;
#define REFUSED(number, name, args)
#include "linux/syscalls.def"
#undef SYSCALL
#undef REFUSED

const struct syscall_entry syscall_table[SYSCALL_COUNT] = {
#define SYSCALL(number, name, args) [number] = {#name, sys_##name, args},
#define REFUSED(number, name, args) [number] = {#name, NULL, args},
#include "linux/syscalls.def"
#undef SYSCALL
#undef REFUSED
};

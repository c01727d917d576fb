/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which system calls a machine's threads can make: from their beginning on only those that
 * their work needs, each with a reason in jail.c. For any other the kernel kills the process
 * (SECCOMP_RET_KILL_PROCESS, seccomp(2)): by then the guest is in control of it.
 */
#ifndef MAYFLY_JAIL_JAIL_H
#define MAYFLY_JAIL_JAIL_H

#include "core/error.h"

enum jail_kind {
	JAIL_CPU,     /* runs a vCPU, and the register accesses of devices */
	JAIL_DEVICES, /* the devices' other work */
	JAIL_KINDS
};

/*
 * For the calling thread, once and for all; no other thread is affected. Where the kernel has
 * no seccomp, or under sanitizers, nothing happens. Errors: NOMEM, HYPERVISOR.
 */
int jail_enter(enum jail_kind kind, mayfly_error *err);

#endif

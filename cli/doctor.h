/* SPDX-License-Identifier: Apache-2.0 */
/* mayfly doctor: the findings, and where checks read from. */
#ifndef MAYFLY_CLI_DOCTOR_H
#define MAYFLY_CLI_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "mayfly.h"

enum level {
	LEVEL_OK,
	LEVEL_NOTE,   /* works, but is slower or less safe than it could be */
	LEVEL_PROBLEM /* Mayfly cannot work */
};

struct finding {
	enum level level;
	const char *name; /* static */
	char *text;
	char *advice; /* what to do, or NULL */
};

struct doctor {
	const char *sysroot; /* prefix of every path that is read; "" for the host itself */
	struct finding *findings;
	size_t nfindings;
	bool have_info;
	mayfly_host_info info;
};

/* Add a finding. */
void doctor_add(struct doctor *d, enum level level, const char *name, const char *text, ...)
	__attribute__((format(printf, 4, 5)));
/* Add what to do about the last finding. */
void doctor_advise(struct doctor *d, const char *advice, ...)
	__attribute__((format(printf, 2, 3)));

/* Where `path` is below the sysroot: into a buffer of PATH_MAX, which is given back. */
const char *doctor_path(const struct doctor *d, char *buf, const char *path);
/*
 * Read the beginning of a small file, without the newline at its end; what is not printable ASCII
 * becomes "?". False (and "") if it cannot be read.
 */
bool doctor_read(const struct doctor *d, const char *path, char *buf, size_t size);

/* Whether the kernel is at least this version. */
bool doctor_kernel_at_least(const struct doctor *d, unsigned long major, unsigned long minor);

/* doctor_kvm.c: whether there is a hypervisor for this user, and what it is. */
void doctor_check_kvm(struct doctor *d);
/* doctor_host.c: settings that cost time or safety, and limits. */
void doctor_check_host(struct doctor *d);
/* doctor_kernels.c: what booting kernels takes. After doctor_check_kvm(). */
void doctor_check_kernels(struct doctor *d);
/* doctor_programs.c: what running programs takes. */
void doctor_check_programs(struct doctor *d);

#endif

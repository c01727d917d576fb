/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzz targets share. */
#ifndef MAYFLY_FUZZ_FUZZ_H
#define MAYFLY_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "function/manifest.h"

/* A promise: broken, the fuzzer reports its input. */
#define CHECK(condition)                                                                       \
	do {                                                                                   \
		if (!(condition)) {                                                            \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__,             \
				#condition);                                                   \
			abort();                                                               \
		}                                                                              \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Printable, on one line. */
void fuzz_check_text(const char *text);
/* `err` says `code`, a code of those that hostile input can cause, and in one printable line why. */
void fuzz_check_error(int code, const mayfly_error *err);
/*
 * What manifest.h promises of any manifest: order, names, signatures, addresses within
 * [min_va, max_va), that everything is found, and that its bytes decode and encode to the same bytes.
 */
void fuzz_check_manifest(const struct manifest *m, uint64_t min_va, uint64_t max_va);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The guest kind "function": an ELF image with a manifest, laid out around the gate. */
#ifndef MAYFLY_FUNCTION_GUEST_H
#define MAYFLY_FUNCTION_GUEST_H

#include "abi/function.h"
#include "function/layout.h"
#include "function/manifest.h"
#include "snapshot/snapshot.h"

struct function_guest {
	struct guest base; /* first */
	struct manifest manifest;
	struct layout_plan plan;
	struct layout layout; /* without tables, which are the base's */
	uint64_t entry;	      /* for core files: the image's own, and where its headers are */
	uint64_t phdr_va;
	uint16_t phnum;
	bool pie;
};

extern const struct guest_kind function_guest_kind;

static inline const struct function_guest *function_guest_of(const struct guest *guest)
{
	return (const struct function_guest *)guest;
}

/* Sizes, with zeros replaced by the defaults, rounded up to pages. */
struct function_sizes {
	uint64_t memory;
	uint64_t stack;
	uint64_t call_area;
};

/* An ELF file's bytes; the name is for messages. */
struct function_source {
	const void *elf;
	size_t len;
	const char *name;
};

/* Load: the snapshot "at entry". */
int function_load(const struct function_source *source, const struct function_sizes *sizes,
		  const struct hv_host *host, struct mayfly_snapshot **out, mayfly_error *err);

/*
 * A guest that is all but its shared image: map, tables, ring-0 parts, setup. For load and
 * decode.
 */
int function_guest_new(const struct layout_plan *plan, struct function_guest **out,
		       mayfly_error *err);

#endif

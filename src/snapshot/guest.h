/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all snapshots and VMs of one loaded guest have in common and never changes: its memory
 * map, its page tables, the shared (read-only) part of its memory, how its vCPU starts.
 * Counted. A guest kind (functions, later programs and kernels) embeds struct guest at its
 * beginning.
 */
#ifndef MAYFLY_SNAPSHOT_GUEST_H
#define MAYFLY_SNAPSHOT_GUEST_H

#include "arch/x86_64/cpuid.h"
#include "core/gmem.h"
#include "hv/hv.h"

struct guest;

struct guest_kind {
	uint32_t id; /* in snapshot files */
	/* The kind's own part of a snapshot file; free(*out). Errors: NOMEM. */
	int (*encode)(const struct guest *guest, uint8_t **out, size_t *len, mayfly_error *err);
	/* The reverse, of hostile bytes: a whole guest, its shared image pages still zero. */
	int (*decode)(const uint8_t *data, size_t len, struct guest **out, mayfly_error *err);
	/*
	 * At a capture: put the vCPU's state into the state page, from which new VMs begin. NULL,
	 * like the next, for kinds without state page.
	 */
	int (*capture_cpu)(const struct guest *guest, struct hv_vcpu *vcpu, uint8_t *state_page,
			   mayfly_error *err);
	/*
	 * Whether a (hostile) state page may be used on this host. Errors: UNSUPPORTED, FORMAT.
	 */
	int (*check_state)(const uint8_t *state_page, const struct hv_host *host,
			   mayfly_error *err);
	/*
	 * Images are large: memory is not read when a file is opened, only mapped, and damage to
	 * it is not noticed. What is not a hole in the file counts as present.
	 */
	bool large_images;
	void (*free)(struct guest *guest);
};

/* Private pages [first, first + count). */
struct guest_pages {
	uint64_t first;
	uint64_t count;
};

#define GUEST_NO_PAGE UINT64_MAX

struct guest {
	uint32_t refs; /* atomic */
	const struct guest_kind *kind;
	struct gmem_map map;
	/*
	 * Page tables and what else ring 0 needs: private pages [0, tables_len), never taken from
	 * an image. The same in every VM; or NULL: the kind makes them for each.
	 */
	uint8_t *tables;
	uint64_t tables_len;
	uint8_t *shared;     /* map.shared_len bytes, mapped read-only once made */
	uint64_t system_len; /* of them, made by us rather than loaded: [0, system_len) */
	uint64_t state_page; /* the private page that holds the CPU's state, or GUEST_NO_PAGE */
	/*
	 * Private memory is a range of addresses of its own in each VM, 2 MiB-aligned, of which
	 * only what the snapshot holds is mapped; the kind maps the rest as it likes. KVM gets it
	 * in slots of this many bytes, as needed: see instance_reach(). 0: neither.
	 */
	uint64_t slot_span;
	struct guest_pages transient[2]; /* empty in every snapshot: what passes in calls */
	struct cpu_setup setup;
	uint32_t features[CPUID_WORDS]; /* of the CPU that the guest has been told of */
	uint64_t xcr0;
	char name[64]; /* for messages and core files */
};

/* Reserve the shared part, zero and writable. Errors: NOMEM. */
int guest_map_shared(struct guest *guest, mayfly_error *err);
struct guest *guest_get(struct guest *guest);
void guest_put(struct guest *guest);
/* Free what struct guest owns itself; for kinds. */
void guest_fini(struct guest *guest);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: the private memory of a guest at one moment, immutable and counted. A freshly
 * loaded guest is one as well. The image lies in a file (a sealed memory file, or the saved
 * file itself) of which page n of the private memory is page n, so that VMs can map it. Zero
 * pages are not stored.
 */
#ifndef MAYFLY_SNAPSHOT_SNAPSHOT_H
#define MAYFLY_SNAPSHOT_SNAPSHOT_H

#include "snapshot/guest.h"

/* What snapshot files begin with. */
#define SNAPSHOT_MAGIC "MAYFLY\r\n"

struct mayfly_snapshot {
	uint32_t refs; /* atomic */
	struct guest *guest;
	int fd;
	uint64_t offset;      /* of page 0 in fd */
	const uint8_t *image; /* private_len bytes; only pages that are present may be read */
	uint64_t *present;    /* bitmap: not zero */
	uint64_t npresent;
	uint64_t used; /* bytes of private memory up to the last page that is present */
	/* The kind's own part, beside memory: hostile bytes if it comes from a file. May be NULL. */
	uint8_t *extra;
	size_t extra_len;
	/*
	 * The guest's state page, a copy that was checked: what VMs get is this, not the
	 * image's, which another process could change in a mapped file.
	 */
	uint8_t *state;
	/*
	 * Pages that earlier VMs wrote, learnt from their dirty logs: new VMs get them written
	 * to before KVM sees them, because breaking copy-on-write later costs a walk of every
	 * VM in the process.
	 */
	uint64_t *hot;	  /* bitmap; words atomic */
	uint32_t learned; /* how many VMs taught; atomic */
};

/* Under construction: pages are put in, then it is finished. */
struct snapshot_builder {
	struct guest *guest; /* borrowed */
	int fd;
	uint64_t *present;
	uint64_t npresent;
	uint64_t end;	/* the page behind the last that is present */
	uint8_t *extra; /* owned: the kind's part, to be set before it is finished */
	size_t extra_len;
};

/* Errors: NOMEM. snapshot_builder_fini() after success and failure of what follows. */
int snapshot_builder_init(struct snapshot_builder *b, struct guest *guest, mayfly_error *err);
/* `count` pages from `first` on; zero pages are left out. Errors: NOMEM. */
int snapshot_builder_put(struct snapshot_builder *b, uint64_t first, const uint8_t *pages,
			 uint64_t count, mayfly_error *err);
int snapshot_builder_finish(struct snapshot_builder *b, struct mayfly_snapshot **out,
			    mayfly_error *err);
void snapshot_builder_fini(struct snapshot_builder *b);

struct snapshot_pages {
	int fd;
	uint64_t offset; /* of page 0 */
	uint64_t *present;
	uint64_t npresent;
	uint64_t limit; /* bytes of private memory behind which none is present */
	uint8_t *extra;
	size_t extra_len;
};

/*
 * From its parts: takes fd, present and extra on success. Maps the image. For the builder and file.c.
 */
int snapshot_new(struct guest *guest, const struct snapshot_pages *pages,
		 struct mayfly_snapshot **out, mayfly_error *err);

/* Add what a VM wrote to the hot set; only the first few VMs teach. */
void snapshot_learn(struct mayfly_snapshot *snap, const uint64_t *written);
bool snapshot_wants_to_learn(const struct mayfly_snapshot *snap);

/* Files (file.c). `kinds` ends with NULL. */
int snapshot_save(const struct mayfly_snapshot *snap, const char *path, mayfly_error *err);
int snapshot_open(const char *path, const struct guest_kind *const *kinds,
		  const struct hv_host *host, struct mayfly_snapshot **out, mayfly_error *err);

bool page_is_zero(const uint8_t *page);

#endif

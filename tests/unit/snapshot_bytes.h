/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot files as bytes in memory, to spoil and craft: what snapshot_save() wrote, changed, its
 * hashes made right again, given to snapshot_open(). A failure to set something up ends the program.
 */
#ifndef MAYFLY_TESTS_SNAPSHOT_BYTES_H
#define MAYFLY_TESTS_SNAPSHOT_BYTES_H

#include "arch/x86_64/cpuid.h"
#include "function/sandbox.h"

/* The format, written down a second time on purpose: a change to it must change its version. */
struct snapshot_header {
	char magic[8];
	uint32_t version;
	uint32_t kind;
	uint64_t file_len;
	uint64_t description_len;
	uint64_t shared_offset;
	uint64_t shared_len;
	uint64_t private_offset;
	uint64_t private_len;
	uint64_t private_used;
	uint64_t npresent;
	uint64_t xcr0;
	uint32_t features[CPUID_WORDS];
	uint64_t extra_len;
	uint64_t description_hash;
	uint64_t body_hash;
	uint64_t header_hash;
	uint8_t reserved[PAGE_SIZE - 152];
};

struct snapshot_bytes {
	uint8_t *data;
	size_t len;
	int fd; /* a memory file that holds them */
};

/* Of a snapshot; snapshot_bytes_free(). */
void snapshot_bytes_save(const struct mayfly_snapshot *snap, struct snapshot_bytes *out);
/* A copy of any bytes. */
void snapshot_bytes_copy(const void *data, size_t len, struct snapshot_bytes *out);
void snapshot_bytes_free(struct snapshot_bytes *b);

static inline struct snapshot_header *snapshot_bytes_header(struct snapshot_bytes *b)
{
	return (struct snapshot_header *)(void *)b->data;
}

/*
 * Make number of pages and hashes what they should be, as far as header and length allow: false if they
 * do not. Then only the header's own hash is right.
 */
bool snapshot_bytes_fix(struct snapshot_bytes *b);

/* Write them to the memory file and open that; nothing of it is needed afterwards. */
int snapshot_bytes_open(struct snapshot_bytes *b, struct mayfly_snapshot **out,
			mayfly_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes in and out, for the state of processes and machines in their snapshots. Reading is of hostile bytes: what
 * is not there reads as zero and sets `bad`, which is looked at once per group of fields.
 */
#ifndef MAYFLY_CORE_CODEC_H
#define MAYFLY_CORE_CODEC_H

#include <string.h>

#include "core/util.h"

struct writer {
	uint8_t *data; /* owned */
	size_t len, capacity;
	bool failed; /* memory is out */
};

struct reader {
	const uint8_t *data;
	size_t left;
	bool bad;
};

static inline void put_bytes(struct writer *w, const void *data, size_t len)
{
	if (w->failed)
		return;
	if (len > w->capacity - w->len) {
		size_t capacity = (w->capacity + len) * 2 + 4096;
		uint8_t *bigger = realloc(w->data, capacity);

		if (!bigger) {
			w->failed = true;
			return;
		}
		w->data = bigger;
		w->capacity = capacity;
	}
	if (len)
		memcpy(w->data + w->len, data, len);
	w->len += len;
}

static inline void put_u64(struct writer *w, uint64_t v)
{
	put_bytes(w, &v, sizeof(v));
}

static inline void put_block(struct writer *w, const void *data, size_t len)
{
	put_u64(w, len);
	put_bytes(w, data, len);
}

static inline void put_string(struct writer *w, const char *s)
{
	put_block(w, s ? s : "", s ? strlen(s) : 0);
}

static inline void get_bytes(struct reader *r, void *to, size_t len)
{
	if (r->bad || len > r->left) {
		r->bad = true;
		memset(to, 0, len);
		return;
	}
	if (len)
		memcpy(to, r->data, len);
	r->data += len;
	r->left -= len;
}

static inline uint64_t get_u64(struct reader *r)
{
	uint64_t v;

	get_bytes(r, &v, sizeof(v));
	return v;
}

/* A number that must not be above `max`. */
static inline uint64_t get_count(struct reader *r, uint64_t max)
{
	uint64_t v = get_u64(r);

	if (v > max) {
		r->bad = true;
		return 0;
	}
	return v;
}

/* Points into the reader's bytes; NULL if they are not there. */
static inline const uint8_t *get_block(struct reader *r, size_t *len)
{
	const uint8_t *at;

	*len = get_count(r, r->left);
	if (r->bad || *len > r->left) {
		r->bad = true;
		*len = 0;
		return NULL;
	}
	at = r->data;
	r->data += *len;
	r->left -= *len;
	return at;
}

/* A string of at most size-1 bytes, none of them NUL. */
static inline void get_string(struct reader *r, char *to, size_t size)
{
	size_t len;
	const uint8_t *at = get_block(r, &len);

	to[0] = '\0';
	if (!at || len >= size || memchr(at, 0, len)) {
		r->bad = r->bad || len != 0;
		return;
	}
	memcpy(to, at, len);
	to[len] = '\0';
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel or an initrd is loaded from: a file, or bytes in memory. Files are read, not
 * mapped, so nothing that happens to them meanwhile does more harm than a damaged file. Only one
 * of which the caller promises that it stays as it is may be mapped into guest memory.
 */
#ifndef MAYFLY_LOADER_IMAGE_H
#define MAYFLY_LOADER_IMAGE_H

#include "core/error.h"
#include "core/util.h"

struct image {
	const uint8_t *data; /* borrowed; NULL: it is a file */
	int fd;		     /* borrowed */
	uint64_t len;
	bool stays; /* the file neither changes nor shrinks as long as memory has parts of it */
	/* image_place(): what of the host's memory is mapped lies within these; or NULL. */
	uint8_t *mapped, *mapped_end;
};

/* Errors: FORMAT (beyond the end, or the file has become shorter), IO. */
int image_read(const struct image *image, uint64_t offset, void *to, uint64_t len,
	       mayfly_error *err);

/*
 * The same into memory of machines, which nothing has touched yet: whole pages of a file that
 * stays are mapped there, privately, if they lie alike in both. Errors: those, and NOMEM.
 */
int image_place(struct image *image, uint64_t offset, uint8_t *to, uint64_t len,
		mayfly_error *err);

/* Whether `text` occurs in it. What cannot be read does not. */
bool image_contains(const struct image *image, const char *text);

#endif

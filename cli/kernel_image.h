/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel as the library likes it best. A Linux bzImage unpacks itself in the guest, which takes
 * many times as long as unpacking it here, and cannot use PVH. So the ELF file inside is taken out
 * by a helper process, mayfly-unpack, and kept for the next time, in $XDG_CACHE_HOME/mayfly, else
 * ~/.cache/mayfly: private files of the user's, at most KERNEL_IMAGE_KEPT, each named for the file
 * that it came from (device, inode, size, times of change), so that a kernel is not even read to
 * find it. Where nothing can be kept, it is memory.
 *
 * In `mayfly boot`:
 *
 *	struct kernel_image image;
 *
 *	kernel_image_open(path, &image);
 *	options.kernel = image.path;
 *	mayfly_machine_new(&options, ...);
 *	kernel_image_close(&image);
 */
#ifndef MAYFLY_CLI_KERNEL_IMAGE_H
#define MAYFLY_CLI_KERNEL_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERNEL_IMAGE_KEPT 8

struct kernel_image {
	int fd;		  /* of the unpacked image; -1: the file is used as it is */
	const char *path; /* for mayfly_machine_options.kernel; good until closed */
	bool kept;	  /* it was found, unpacked already */
	char why[128]; /* why a bzImage is used as it is, for --trace-boot; "" if it is not */
	char fd_path[32];
};

/*
 * Never fails: what cannot be unpacked (see `why`), or is cut off, or no bzImage, or cannot be read,
 * is used as it is, and the library says what is wrong with it, if anything is.
 */
void kernel_image_open(const char *path, struct kernel_image *image);
void kernel_image_close(struct kernel_image *image);

/* Where the packed ELF file lies in a bzImage, and how large it says to be when unpacked. */
struct kernel_payload {
	size_t offset, len, size;
};

#define KERNEL_IMAGE_HEADER 0x270 /* bytes at a bzImage's beginning that matter */

/* Whether a bzImage of `len` bytes has all parts that its header tells of; it may be longer. */
bool kernel_image_is_whole(const uint8_t header[KERNEL_IMAGE_HEADER], uint64_t len);

/*
 * Of hostile bytes; `len` is the whole file's. False: it is no bzImage, one of before boot protocol
 * 2.08, or cut off. Leaves `size` alone: Linux puts it into the payload's last four bytes.
 */
bool kernel_image_payload(const uint8_t header[KERNEL_IMAGE_HEADER], uint64_t len,
			  struct kernel_payload *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Linux's Documentation/arch/x86/boot.rst; offsets are those of "The real-mode kernel header". */
#include "loader/kernel_file.h"

#define SECTOR 512u

#define SETUP_SECTS 0x1f1
#define SYSSIZE 0x1f4	/* of the protected-mode part, in units of 16 bytes */
#define BOOT_FLAG 0x1fe /* 0xaa55 */
#define JUMP 0x200	/* a short jump over the header: its second byte says how long it is */
#define HEADER 0x202	/* "HdrS" */
#define VERSION 0x206
#define LOADFLAGS 0x211
#define INITRD_ADDR_MAX 0x22c
#define XLOADFLAGS 0x236
#define CMDLINE_SIZE 0x238
#define PREF_ADDRESS 0x258
#define INIT_SIZE 0x260
#define HEADER_END BZIMAGE_HEADER

#define LOADED_HIGH 1u
#define XLF_KERNEL_64 1u
#define VERSION_2_12 0x020cu /* the first with XLF_KERNEL_64 */
#define ENTRY_64 0x200u	     /* from where the protected-mode kernel is loaded */

static uint16_t get16(const uint8_t *at)
{
	uint16_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

bool bzimage_is(const uint8_t *data, size_t len)
{
	return len >= HEADER_END && get16(data + BOOT_FLAG) == 0xaa55 &&
	       memcmp(data + HEADER, "HdrS", 4) == 0;
}

static int check(const uint8_t *data, mayfly_error *err)
{
	if (get16(data + VERSION) < VERSION_2_12)
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "kernel: a bzImage of boot protocol %u.%u; 2.12 (Linux 3.8) is the "
			    "oldest that can be entered in 64-bit mode",
			    data[VERSION + 1], data[VERSION]);
	if (!(data[LOADFLAGS] & LOADED_HIGH))
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "kernel: a zImage: it wants to lie in the first MiB");
	if (!(get16(data + XLOADFLAGS) & XLF_KERNEL_64))
		return fail(
			err, MAYFLY_E_UNSUPPORTED,
			"kernel: a bzImage without 64-bit entry; its vmlinux may have a PVH "
			"entry");
	return MAYFLY_OK;
}

/*
 * Entered at 0x200 of the protected-mode part, which moves itself out of its own way and unpacks
 * to its preferred address; init_size from there on must be memory.
 */
int bzimage_load(struct image *image, const uint8_t data[BZIMAGE_HEADER], const struct ram *ram,
		 struct kernel *out, mayfly_error *err)
{
	uint64_t sectors = data[SETUP_SECTS] ? data[SETUP_SECTS] : 4; /* 0 means 4 */
	uint64_t start = (sectors + 1) * SECTOR, size, said, span;
	uint32_t header_end = JUMP + 2u + data[JUMP + 1];
	uint8_t *to;
	int r;

	if ((r = check(data, err)))
		return r;
	if (start >= image->len || image->len - start <= ENTRY_64)
		return fail(
			err, MAYFLY_E_FORMAT,
			"kernel: the bzImage is cut off: its setup part has %llu bytes, the "
			"file %llu",
			(unsigned long long)start, (unsigned long long)image->len);
	size = image->len - start;
	said = 16 * (uint64_t)get32(data + SYSSIZE);
	if (size < said)
		return fail(
			err, MAYFLY_E_FORMAT,
			"kernel: the bzImage is cut off: its parts have %llu bytes, the file "
			"%llu",
			(unsigned long long)(start + said), (unsigned long long)image->len);
	span = get32(data + INIT_SIZE);
	if (span < size)
		span = size;
	out->kind = KERNEL_LINUX64;
	out->system = KERNEL_LINUX;
	out->start = get64(data + PREF_ADDRESS);
	if ((r = kernel_place(ram, out->start, span, &to, err)) ||
	    (r = image_place(image, start, to, size, err)))
		return r;
	out->end = out->start + span;
	out->entry = out->start + ENTRY_64;
	out->initrd_max = (uint64_t)get32(data + INITRD_ADDR_MAX) + 1;
	out->cmdline_max = get32(data + CMDLINE_SIZE);
	if (header_end > HEADER_END || header_end < INIT_SIZE + 4)
		header_end = HEADER_END;
	out->setup_len = header_end - KERNEL_SETUP;
	memcpy(out->setup, data + KERNEL_SETUP, out->setup_len);
	return MAYFLY_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack.h"

#include <string.h>

#ifdef HAVE_ZLIB
#include <zlib.h>
#endif
#ifdef HAVE_LZMA
#include <lzma.h>
#endif
#ifdef HAVE_LZ4
#include <lz4.h>
#endif
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#ifdef HAVE_ZLIB
#define GZIP_WINDOW (15 + 16) /* the largest, in gzip's format: inflateInit2() of zlib.h */

static bool unpack_gzip(const uint8_t *from, size_t len, uint8_t *to, size_t size)
{
	z_stream s = {.next_out = to, .avail_out = (uInt)size};
	int r;

	if (len > UINT32_MAX || size > UINT32_MAX || inflateInit2(&s, GZIP_WINDOW) != Z_OK)
		return false;
	s.next_in = (z_const Bytef *)from;
	s.avail_in = (uInt)len;
	r = inflate(&s, Z_FINISH);
	inflateEnd(&s);
	return r == Z_STREAM_END && s.avail_out == 0;
}
#else
#define unpack_gzip NULL
#endif

#ifdef HAVE_LZMA
#define LZMA_MEMORY ((uint64_t)256 << 20) /* dictionaries of kernels are up to 128 MiB */

static bool run_lzma(lzma_stream *s, const uint8_t *from, size_t len, uint8_t *to, size_t size)
{
	lzma_ret r;

	s->next_in = from;
	s->avail_in = len;
	s->next_out = to;
	s->avail_out = size;
	do
		r = lzma_code(s, LZMA_RUN);
	while (r == LZMA_OK && s->avail_in && s->avail_out);
	/* The end may be said by bytes that are still to come. */
	if (r == LZMA_OK)
		r = lzma_code(s, LZMA_RUN);
	lzma_end(s);
	return r == LZMA_STREAM_END && s->avail_out == 0;
}

static bool unpack_xz(const uint8_t *from, size_t len, uint8_t *to, size_t size)
{
	lzma_stream s = LZMA_STREAM_INIT;

	return lzma_stream_decoder(&s, LZMA_MEMORY, 0) == LZMA_OK &&
	       run_lzma(&s, from, len, to, size);
}

static bool unpack_lzma(const uint8_t *from, size_t len, uint8_t *to, size_t size)
{
	lzma_stream s = LZMA_STREAM_INIT;

	return lzma_alone_decoder(&s, LZMA_MEMORY) == LZMA_OK &&
	       run_lzma(&s, from, len, to, size);
}
#else
#define unpack_xz NULL
#define unpack_lzma NULL
#endif

#ifdef HAVE_LZ4
/*
 * The "legacy" format (lz4_Frame_format.md): a magic number, then blocks of up to 8 MiB, each
 * after its packed length. There is no end but the file's; here it is when all is there.
 */
static bool unpack_lz4(const uint8_t *from, size_t len, uint8_t *to, size_t size)
{
	const size_t block_max = (size_t)8 << 20;
	size_t at = 4, done = 0;

	while (done < size) {
		size_t room = size - done < block_max ? size - done : block_max;
		uint32_t packed;
		int r;

		if (len - at < sizeof(packed))
			return false;
		memcpy(&packed, from + at, sizeof(packed));
		at += sizeof(packed);
		if (packed > len - at || packed > INT32_MAX)
			return false;
		r = LZ4_decompress_safe((const char *)from + at, (char *)to + done, (int)packed,
					(int)room);
		if (r <= 0)
			return false;
		at += packed;
		done += (size_t)r;
	}
	return true;
}
#else
#define unpack_lz4 NULL
#endif

#ifdef HAVE_ZSTD
static bool unpack_zstd(const uint8_t *from, size_t len, uint8_t *to, size_t size)
{
	size_t frame = ZSTD_findFrameCompressedSize(from, len);

	return !ZSTD_isError(frame) && ZSTD_decompress(to, size, from, frame) == size;
}
#else
#define unpack_zstd NULL
#endif

/* Magic numbers: of each format's own description. */
static const struct {
	const char *name;
	const char *magic;
	size_t magic_len;
	bool (*unpack)(const uint8_t *from, size_t len, uint8_t *to, size_t size);
} methods[] = {
	{"gzip", "\x1f\x8b", 2, unpack_gzip},
	{"xz", "\xfd\x37zXZ", 6, unpack_xz},
	{"lzma", "\x5d\0\0", 3, unpack_lzma},
	{"lz4", "\x02\x21\x4c\x18", 4, unpack_lz4},
	{"zstd", "\x28\xb5\x2f\xfd", 4, unpack_zstd},
	{"bzip2", "BZh", 3, NULL},
	{"lzo", "\x89LZO", 4, NULL},
};

#define METHODS (sizeof(methods) / sizeof(methods[0]))

static size_t find(const uint8_t *from, size_t len)
{
	size_t i = 0;

	while (i < METHODS && (len < methods[i].magic_len ||
			       memcmp(from, methods[i].magic, methods[i].magic_len) != 0))
		i++;
	return i;
}

const char *unpack_method(const uint8_t *from, size_t len)
{
	size_t i = find(from, len);

	return i < METHODS ? methods[i].name : NULL;
}

bool unpack_possible(const char *method)
{
	for (size_t i = 0; i < METHODS; i++)
		if (strcmp(methods[i].name, method) == 0)
			return methods[i].unpack;
	return false;
}

bool unpack(const uint8_t *from, size_t len, uint8_t *to, size_t size)
{
	size_t i = find(from, len);

	return i < METHODS && methods[i].unpack && methods[i].unpack(from, len, to, size);
}

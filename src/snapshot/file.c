/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot files. One page of header; the kind's description of the guest; the shared part of
 * the image; the private memory, page n at its place, zero pages as holes. Everything is
 * page-aligned so that it can be mapped. Hashes tell damage, not malice (and of large images
 * only to the description, see struct guest_kind): a file is as hostile as a guest. So nothing that ring 0 or the host relies on is taken from it: page tables,
 * descriptor tables and gate are made anew, the state page is copied and checked, the rest is
 * the guest's own.
 *
 * Host byte order: x86-64 only.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/io.h"
#include "snapshot/snapshot.h"

#define VERSION 2
#define MAX_DESCRIPTION ((uint64_t)64 << 20)
#define CHUNK_PAGES 256
#define MAX_PRIVATE ((uint64_t)1 << 37) /* where guests have their shared part */

struct header {
	char magic[8];
	uint32_t version;
	uint32_t kind;
	uint64_t file_len;
	uint64_t
		description_len; /* at PAGE_SIZE: the guest's, then the kind's part of the snapshot */
	uint64_t shared_offset;
	uint64_t shared_len; /* without the system part */
	uint64_t private_offset;
	uint64_t private_len;
	uint64_t private_used; /* of it, in the file; what follows is zero */
	uint64_t npresent;
	uint64_t xcr0;
	uint32_t features[CPUID_WORDS];
	uint64_t extra_len; /* of the description: the latter */
	uint64_t description_hash;
	uint64_t body_hash;   /* of all but the header */
	uint64_t header_hash; /* of the page with this field zero */
	uint8_t reserved[PAGE_SIZE - 152];
};

_Static_assert(sizeof(struct header) == PAGE_SIZE, "the header is one page");

static uint64_t hash_header(const struct header *h)
{
	struct header copy = *h;

	copy.header_hash = 0;
	return XXH3_64bits(&copy, sizeof(copy));
}

/*
 * Ready for use; free(). NULL when memory is out. Not on the stack: it wants an alignment that not
 * every stack keeps (AddressSanitizer's does not).
 */
static XXH3_state_t *hash_new(void)
{
	XXH3_state_t *hash = aligned_alloc(_Alignof(XXH3_state_t), sizeof(*hash));

	if (hash) {
		memset(hash, 0, sizeof(*hash));
		XXH3_64bits_reset(hash);
	}
	return hash;
}

/* A page counts with its number, so that it cannot move. */
static void hash_page(XXH3_state_t *hash, uint64_t number, const uint8_t *page)
{
	XXH3_64bits_update(hash, &number, sizeof(number));
	XXH3_64bits_update(hash, page, PAGE_SIZE);
}

static void lay_out(struct header *h)
{
	h->shared_offset = PAGE_SIZE + page_up(h->description_len);
	h->private_offset = h->shared_offset + h->shared_len;
	h->file_len = h->private_offset + h->private_used;
}

static int write_body(const struct mayfly_snapshot *snap, const uint8_t *description, int fd,
		      struct header *h, mayfly_error *err)
{
	const struct guest *g = snap->guest;
	_cleanup_free_ XXH3_state_t *hash = hash_new();
	int r;

	if (!hash)
		return fail(err, MAYFLY_E_NOMEM, "no memory to save a snapshot");
	XXH3_64bits_update(hash, description, h->description_len);
	h->description_hash = XXH3_64bits_digest(hash);
	r = write_all(fd, description, h->description_len, PAGE_SIZE, err);
	XXH3_64bits_update(hash, g->shared + g->system_len, h->shared_len);
	if (r == 0)
		r = write_all(fd, g->shared + g->system_len, h->shared_len, h->shared_offset,
			      err);
	for (uint64_t page = 0; r == 0 && page < h->private_len / PAGE_SIZE; page++) {
		if (!bitmap_test(snap->present, page))
			continue;
		hash_page(hash, page, snap->image + page * PAGE_SIZE);
		r = write_all(fd, snap->image + page * PAGE_SIZE, PAGE_SIZE,
			      h->private_offset + page * PAGE_SIZE, err);
	}
	h->body_hash = XXH3_64bits_digest(hash);
	return r;
}

/* What the kind says of the guest, and of the snapshot. */
static int describe(const struct mayfly_snapshot *snap, uint8_t **out, size_t *len,
		    mayfly_error *err)
{
	uint8_t *whole;
	int r = snap->guest->kind->encode(snap->guest, out, len, err);

	if (r < 0 || !snap->extra_len)
		return r;
	if (snap->extra_len > MAX_DESCRIPTION - *len)
		return fail(err, MAYFLY_E_TOO_LARGE,
			    "its state has %zu bytes, too many to save (at most 64 MiB)",
			    snap->extra_len);
	whole = realloc(*out, *len + snap->extra_len);
	if (!whole)
		return fail(err, MAYFLY_E_NOMEM, "no memory to save a snapshot");
	memcpy(whole + *len, snap->extra, snap->extra_len);
	*out = whole;
	*len += snap->extra_len;
	return 0;
}

static int write_file(const struct mayfly_snapshot *snap, int fd, mayfly_error *err)
{
	const struct guest *g = snap->guest;
	_cleanup_free_ struct header *h = aligned_alloc(PAGE_SIZE, sizeof(*h));
	_cleanup_free_ uint8_t *description = NULL;
	size_t description_len;
	int r;

	if (!h)
		return fail(err, MAYFLY_E_NOMEM, "no memory to save a snapshot");
	r = describe(snap, &description, &description_len, err);
	if (r < 0)
		return r;
	memset(h, 0, sizeof(*h));
	memcpy(h->magic, SNAPSHOT_MAGIC, sizeof(h->magic));
	h->version = VERSION;
	h->kind = g->kind->id;
	h->description_len = description_len;
	h->extra_len = snap->extra_len;
	h->shared_len = g->map.shared_len - g->system_len;
	h->private_len = g->map.private_len;
	h->private_used = g->slot_span ? snap->used : g->map.private_len;
	h->npresent = snap->npresent;
	h->xcr0 = g->xcr0;
	memcpy(h->features, g->features, sizeof(h->features));
	lay_out(h);
	if (ftruncate(fd, (off_t)h->file_len) < 0)
		return fail_errno(err, MAYFLY_E_IO, errno, "making room for %llu bytes",
				  (unsigned long long)h->file_len);
	r = write_body(snap, description, fd, h, err);
	if (r < 0)
		return r;
	h->header_hash = hash_header(h);
	r = write_all(fd, h, sizeof(*h), 0, err);
	if (r == 0 && fsync(fd) < 0)
		r = fail_errno(err, MAYFLY_E_IO, errno, "fsync");
	return r;
}

int snapshot_save(const struct mayfly_snapshot *snap, const char *path, mayfly_error *err)
{
	_cleanup_free_ char *temporary = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	/* The rename would put a file in the place of a device; directories it leaves alone. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return fail(err, MAYFLY_E_IO,
			    "%s: there is something that is not a regular file", path);
	if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
		temporary = NULL;
		return fail(err, MAYFLY_E_NOMEM, "no memory to save a snapshot");
	}
	fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600: memory may hold secrets */
	if (fd < 0)
		return fail_errno(err, MAYFLY_E_IO, errno,
				  "%s: cannot make a temporary file beside it", path);
	r = write_file(snap, fd, err);
	if (r == 0 && rename(temporary, path) < 0)
		r = fail_errno(err, MAYFLY_E_IO, errno, "renaming to it");
	if (r < 0) {
		unlink(temporary);
		error_prefix(err, "%s", path);
	}
	return r;
}

static int check_header(const struct header *h, uint64_t file_len, const struct hv_host *host,
			mayfly_error *err)
{
	struct header expect = *h;
	const char *missing;

	if (memcmp(h->magic, ELFMAG, SELFMAG) == 0)
		return fail(err, MAYFLY_E_FORMAT,
			    "an ELF file, not a snapshot: mayfly_load_file() loads guests");
	if (memcmp(h->magic, SNAPSHOT_MAGIC, sizeof(h->magic)) != 0)
		return fail(err, MAYFLY_E_FORMAT,
			    "not a snapshot file (it does not begin with \"MAYFLY\")");
	if (h->version != VERSION)
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "format version %u, this library reads version %u: save it anew",
			    h->version, VERSION);
	if (hash_header(h) != h->header_hash)
		return fail(err, MAYFLY_E_FORMAT,
			    "the header is damaged (its checksum differs)");
	if (h->file_len != file_len)
		return fail(err, MAYFLY_E_FORMAT,
			    "the file is %s: %llu bytes long instead of %llu",
			    file_len < h->file_len ? "truncated" : "too long",
			    (unsigned long long)file_len, (unsigned long long)h->file_len);
	/* The rest holds for any file that we wrote; a crafted one is stopped here. */
	if (h->description_len > MAX_DESCRIPTION || h->extra_len > h->description_len ||
	    h->shared_len > file_len || h->private_used > file_len ||
	    h->private_used > h->private_len || h->private_len > MAX_PRIVATE ||
	    ((h->shared_len | h->private_len | h->private_used) & PAGE_MASK) || !h->private_len)
		return fail(err, MAYFLY_E_FORMAT, "the header's lengths make no sense");
	lay_out(&expect);
	if (expect.file_len != file_len || expect.shared_offset != h->shared_offset ||
	    expect.private_offset != h->private_offset)
		return fail(err, MAYFLY_E_FORMAT, "the header's offsets make no sense");
	missing = cpuid_missing(h->features, host->features);
	if (missing)
		return fail(
			err, MAYFLY_E_UNSUPPORTED,
			"it was made for a CPU with features that this one lacks (CPUID %s)",
			missing);
	if (h->xcr0 & ~host->xcr0)
		return fail(
			err, MAYFLY_E_UNSUPPORTED,
			"it uses vector state that this CPU lacks (XCR0 0x%llx, here 0x%llx)",
			(unsigned long long)h->xcr0, (unsigned long long)host->xcr0);
	return 0;
}

/* Read all private memory once: which pages are there, and their share of the hash. */
static int scan_private(int fd, const struct header *h, XXH3_state_t *hash, uint64_t *present,
			mayfly_error *err)
{
	_cleanup_free_ uint8_t *chunk = aligned_alloc(PAGE_SIZE, CHUNK_PAGES * PAGE_SIZE);
	uint64_t pos = 0, n = 0;

	if (!chunk)
		return fail(err, MAYFLY_E_NOMEM, "no memory to check a snapshot");
	while (pos < h->private_used) {
		off_t data = lseek(fd, (off_t)(h->private_offset + pos), SEEK_DATA);
		uint64_t len;
		int r;

		/*
		 * ENXIO: only a hole is left. Other failures: the file system knows no holes.
		 */
		if (data < 0 && errno == ENXIO)
			break;
		if (data >= 0)
			pos = page_down((uint64_t)data - h->private_offset);
		/* Data behind the end that the file had: somebody is writing to it. */
		if (pos >= h->private_used)
			break;
		len = h->private_used - pos;
		if (len > CHUNK_PAGES * PAGE_SIZE)
			len = CHUNK_PAGES * PAGE_SIZE;
		r = read_all(fd, chunk, len, h->private_offset + pos, err);
		if (r < 0)
			return r;
		for (uint64_t i = 0; i < len; i += PAGE_SIZE) {
			if (page_is_zero(chunk + i))
				continue;
			hash_page(hash, (pos + i) / PAGE_SIZE, chunk + i);
			bitmap_set(present, (pos + i) / PAGE_SIZE);
			n++;
		}
		pos += len;
	}
	if (n != h->npresent)
		return fail(err, MAYFLY_E_FORMAT,
			    "the memory is damaged (%llu pages instead of %llu)",
			    (unsigned long long)n, (unsigned long long)h->npresent);
	return 0;
}

/* Which pages of private memory may hold something, without reading them. */
static int find_private(int fd, const struct header *h, uint64_t *present, uint64_t *npresent)
{
	uint64_t pos = 0;

	*npresent = 0;
	while (pos < h->private_used) {
		off_t data = lseek(fd, (off_t)(h->private_offset + pos), SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)
			data = (off_t)(h->private_offset + pos);
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			hole = (off_t)(h->private_offset + h->private_used);
		pos = page_down((uint64_t)data - h->private_offset);
		for (; pos < h->private_used && h->private_offset + pos < (uint64_t)hole;
		     pos += PAGE_SIZE) {
			bitmap_set(present, pos / PAGE_SIZE);
			++*npresent;
		}
	}
	return 0;
}

static int check_description(int fd, const struct header *h, uint8_t *description,
			     XXH3_state_t *hash, mayfly_error *err)
{
	uint64_t padded = page_up(h->description_len);
	int r = read_all(fd, description, padded, PAGE_SIZE, err);

	if (r < 0)
		return r;
	for (uint64_t i = h->description_len; i < padded; i++)
		if (description[i])
			return fail(err, MAYFLY_E_FORMAT,
				    "the padding at offset %llu is damaged",
				    (unsigned long long)(PAGE_SIZE + i));
	XXH3_64bits_update(hash, description, h->description_len);
	if (XXH3_64bits_digest(hash) != h->description_hash)
		return fail(err, MAYFLY_E_FORMAT,
			    "the description is damaged (its checksum differs)");
	return 0;
}

static int check_body(int fd, const struct header *h, uint8_t *description, uint64_t *present,
		      mayfly_error *err)
{
	_cleanup_free_ uint8_t *chunk = malloc(CHUNK_PAGES * PAGE_SIZE);
	_cleanup_free_ XXH3_state_t *hash = hash_new();
	int r;

	if (!chunk || !hash)
		return fail(err, MAYFLY_E_NOMEM, "no memory to check a snapshot");
	r = check_description(fd, h, description, hash, err);
	if (r < 0)
		return r;
	for (uint64_t pos = 0; pos < h->shared_len;) {
		uint64_t len = h->shared_len - pos;

		if (len > CHUNK_PAGES * PAGE_SIZE)
			len = CHUNK_PAGES * PAGE_SIZE;
		r = read_all(fd, chunk, len, h->shared_offset + pos, err);
		if (r < 0)
			return r;
		XXH3_64bits_update(hash, chunk, len);
		pos += len;
	}
	r = scan_private(fd, h, hash, present, err);
	if (r < 0)
		return r;
	if (XXH3_64bits_digest(hash) != h->body_hash)
		return fail(err, MAYFLY_E_FORMAT,
			    "the memory is damaged (its checksum differs)");
	return 0;
}

/* Fills in h->npresent for large images: it only counts. */
static int check_contents(int fd, struct header *h, const struct guest_kind *kind,
			  uint8_t *description, uint64_t *present, mayfly_error *err)
{
	_cleanup_free_ XXH3_state_t *hash = NULL;
	int r;

	if (!kind->large_images)
		return check_body(fd, h, description, present, err);
	hash = hash_new();
	if (!hash)
		return fail(err, MAYFLY_E_NOMEM, "no memory to check a snapshot");
	r = check_description(fd, h, description, hash, err);
	return r < 0 ? r : find_private(fd, h, present, &h->npresent);
}

static const struct guest_kind *find_kind(const struct guest_kind *const *kinds, uint32_t id)
{
	for (; *kinds; kinds++)
		if ((*kinds)->id == id)
			return *kinds;
	return NULL;
}

/*
 * The guest from its description, with the file's shared part mapped behind the system pages.
 */
static int make_guest(int fd, const struct header *h, const struct guest_kind *kind,
		      const uint8_t *description, struct guest **out, mayfly_error *err)
{
	struct guest *g;
	int r = kind->decode(description, h->description_len - h->extra_len, &g, err);

	if (r < 0)
		return r;
	memcpy(g->features, h->features, sizeof(g->features));
	g->xcr0 = h->xcr0;
	if (g->map.private_len != h->private_len ||
	    (!g->slot_span && h->private_used != h->private_len) ||
	    g->map.shared_len - g->system_len != h->shared_len)
		r = fail(err, MAYFLY_E_FORMAT,
			 "its parts do not fit the description of the guest");
	else if (h->shared_len &&
		 mmap(g->shared + g->system_len, h->shared_len, PROT_READ,
		      MAP_PRIVATE | MAP_FIXED, fd, (off_t)h->shared_offset) == MAP_FAILED)
		r = fail_errno(err, MAYFLY_E_NOMEM, errno, "mapping the guest's code");
	else
		mprotect(g->shared, g->system_len, PROT_READ);
	if (r < 0)
		guest_put(g);
	else
		*out = g;
	return r;
}

static int copy_extra(const struct header *h, const uint8_t *description,
		      struct snapshot_pages *pages, mayfly_error *err)
{
	if (!h->extra_len)
		return 0;
	pages->extra = malloc(h->extra_len);
	if (!pages->extra)
		return fail(err, MAYFLY_E_NOMEM, "no memory to open a snapshot");
	memcpy(pages->extra, description + h->description_len - h->extra_len, h->extra_len);
	pages->extra_len = h->extra_len;
	return 0;
}

static int open_fd(int *fd, const struct guest_kind *const *kinds, const struct hv_host *host,
		   struct mayfly_snapshot **out, mayfly_error *err)
{
	_cleanup_free_ struct header *h = aligned_alloc(PAGE_SIZE, sizeof(*h));
	_cleanup_free_ uint8_t *description = NULL;
	_cleanup_free_ uint64_t *present = NULL;
	const struct guest_kind *kind;
	struct snapshot_pages pages;
	struct guest *g;
	struct stat st;
	int r;

	if (fstat(*fd, &st) < 0)
		return fail_errno(err, MAYFLY_E_IO, errno, "fstat");
	if (!S_ISREG(st.st_mode))
		return fail(err, MAYFLY_E_FORMAT, "not a regular file");
	if (!h)
		return fail(err, MAYFLY_E_NOMEM, "no memory to open a snapshot");
	if ((uint64_t)st.st_size < sizeof(*h))
		return fail(err, MAYFLY_E_FORMAT,
			    "not a snapshot file, or truncated: %llu bytes long",
			    (unsigned long long)st.st_size);
	r = read_all(*fd, h, sizeof(*h), 0, err);
	if (r == 0)
		r = check_header(h, (uint64_t)st.st_size, host, err);
	if (r < 0)
		return r;
	kind = find_kind(kinds, h->kind);
	if (!kind)
		return fail(err, MAYFLY_E_UNSUPPORTED,
			    "a kind of guest (%u) that this library does not know", h->kind);
	description = malloc(page_up(h->description_len) + 1);
	present = calloc(bitmap_words(h->private_len / PAGE_SIZE), sizeof(*present));
	if (!description || !present)
		return fail(err, MAYFLY_E_NOMEM, "no memory to open a snapshot");
	r = check_contents(*fd, h, kind, description, present, err);
	if (r == 0)
		r = make_guest(*fd, h, kind, description, &g, err);
	if (r < 0)
		return r;
	pages = (struct snapshot_pages){.fd = *fd,
					.offset = h->private_offset,
					.present = present,
					.npresent = h->npresent,
					.limit = h->private_used};
	r = copy_extra(h, description, &pages, err);
	if (r == 0)
		r = snapshot_new(g, &pages, out, err);
	guest_put(g);
	if (r < 0) {
		free(pages.extra);
		return r;
	}
	*fd = -1;
	present = NULL;
	if (kind->check_state)
		r = kind->check_state((*out)->state, host, err);
	if (r < 0)
		mayfly_snapshot_unref(*out);
	return r;
}

int snapshot_open(const char *path, const struct guest_kind *const *kinds,
		  const struct hv_host *host, struct mayfly_snapshot **out, mayfly_error *err)
{
	/* Non-blocking: a FIFO in the file's place must not hang us. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct mayfly_snapshot *snap;
	int r;

	if (fd < 0)
		return fail_errno(err, MAYFLY_E_IO, errno, "%s", path);
	r = open_fd(&fd, kinds, host, &snap, err);
	if (r < 0) {
		error_prefix(err, "%s", path);
		return r;
	}
	*out = snap;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/io.h"

/* After this many VMs the hot set is known well enough. */
#define TEACHERS 16
/* A VM that wrote more than this is no model for others. */
#define HOT_MAX 512

int guest_map_shared(struct guest *guest, mayfly_error *err)
{
	guest->shared = mmap(NULL, guest->map.shared_len, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (guest->shared != MAP_FAILED)
		return 0;
	guest->shared = NULL;
	return fail_errno(err, MAYFLY_E_NOMEM, errno, "no memory for the guest's image");
}

struct guest *guest_get(struct guest *guest)
{
	__atomic_add_fetch(&guest->refs, 1, __ATOMIC_RELAXED);
	return guest;
}

void guest_put(struct guest *guest)
{
	if (guest && !__atomic_sub_fetch(&guest->refs, 1, __ATOMIC_ACQ_REL))
		guest->kind->free(guest);
}

void guest_fini(struct guest *guest)
{
	if (guest->shared)
		munmap(guest->shared, guest->map.shared_len);
	free(guest->tables);
}

bool page_is_zero(const uint8_t *page)
{
	const uint64_t *w = (const uint64_t *)(const void *)page;
	uint64_t any = 0;

	for (size_t i = 0; i < PAGE_SIZE / 8; i += 8) {
		for (size_t j = 0; j < 8; j++)
			any |= w[i + j];
		if (any)
			return false;
	}
	return true;
}

int snapshot_builder_init(struct snapshot_builder *b, struct guest *guest, mayfly_error *err)
{
	uint64_t len = guest->map.private_len;
	int r;

	*b = (struct snapshot_builder){.guest = guest, .fd = -1};
	b->present = calloc(bitmap_words(len / PAGE_SIZE), sizeof(uint64_t));
	if (!b->present)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a snapshot");
	b->fd = memfd_create("mayfly-snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (b->fd < 0)
		return fail_errno(err, MAYFLY_E_NOMEM, errno, "memfd_create");
	r = set_file_size(b->fd, len);
	if (r < 0)
		return fail_errno(err, MAYFLY_E_NOMEM, -r,
				  "a memory file of %llu bytes (ulimit -f?)",
				  (unsigned long long)len);
	return 0;
}

int snapshot_builder_put(struct snapshot_builder *b, uint64_t first, const uint8_t *pages,
			 uint64_t count, mayfly_error *err)
{
	uint64_t i = 0;

	while (i < count) {
		uint64_t run = i;
		int r;

		while (run < count && !page_is_zero(pages + run * PAGE_SIZE)) {
			if (!bitmap_test(b->present, first + run))
				b->npresent++;
			bitmap_set(b->present, first + run);
			run++;
			if (b->end < first + run)
				b->end = first + run;
		}
		r = write_all(b->fd, pages + i * PAGE_SIZE, (run - i) * PAGE_SIZE,
			      (first + i) * PAGE_SIZE, err);
		if (r < 0)
			return r;
		i = run + 1;
	}
	return 0;
}

int snapshot_builder_finish(struct snapshot_builder *b, struct mayfly_snapshot **out,
			    mayfly_error *err)
{
	struct snapshot_pages pages = {.fd = b->fd,
				       .present = b->present,
				       .npresent = b->npresent,
				       .limit = b->end * PAGE_SIZE,
				       .extra = b->extra,
				       .extra_len = b->extra_len};
	int r;

	/* Nothing can change it from here on, not even we. */
	if (fcntl(b->fd, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return fail_errno(err, MAYFLY_E_NOMEM, errno, "sealing a snapshot's memory");
	r = snapshot_new(b->guest, &pages, out, err);
	if (r < 0)
		return r;
	b->fd = -1;
	b->present = NULL;
	b->extra = NULL;
	return 0;
}

void snapshot_builder_fini(struct snapshot_builder *b)
{
	if (b->fd >= 0)
		close(b->fd);
	free(b->present);
	free(b->extra);
}

/* One past the last bit that is set; 0: none. */
static uint64_t bitmap_end(const uint64_t *map, uint64_t bits)
{
	for (size_t w = bitmap_words(bits); w-- > 0;)
		if (map[w])
			return w * 64 + 64 - (uint64_t)__builtin_clzll(map[w]);
	return 0;
}

int snapshot_new(struct guest *guest, const struct snapshot_pages *pages,
		 struct mayfly_snapshot **out, mayfly_error *err)
{
	uint64_t len = guest->map.private_len;
	struct mayfly_snapshot *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a snapshot");
	s->hot = calloc(bitmap_words(len / PAGE_SIZE), sizeof(uint64_t));
	s->state = calloc(1, PAGE_SIZE);
	if (!s->hot || !s->state) {
		r = fail(err, MAYFLY_E_NOMEM, "no memory for a snapshot");
		goto failed;
	}
	if (guest->state_page != GUEST_NO_PAGE) {
		r = read_all(pages->fd, s->state, PAGE_SIZE,
			     pages->offset + guest->state_page * PAGE_SIZE, err);
		if (r < 0)
			goto failed;
	}
	s->image = mmap(NULL, len, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, pages->fd,
			(off_t)pages->offset);
	if (s->image == MAP_FAILED) {
		r = fail_errno(err, MAYFLY_E_NOMEM, errno, "mapping a snapshot");
		goto failed;
	}
	s->refs = 1;
	s->guest = guest_get(guest);
	s->fd = pages->fd;
	s->offset = pages->offset;
	s->present = pages->present;
	s->npresent = pages->npresent;
	s->used = bitmap_end(pages->present, pages->limit / PAGE_SIZE) * PAGE_SIZE;
	s->extra = pages->extra;
	s->extra_len = pages->extra_len;
	*out = s;
	return 0;
failed:
	free(s->state);
	free(s->hot);
	free(s);
	return r;
}

mayfly_snapshot *mayfly_snapshot_ref(mayfly_snapshot *snap)
{
	if (snap)
		__atomic_add_fetch(&snap->refs, 1, __ATOMIC_RELAXED);
	return snap;
}

void mayfly_snapshot_unref(mayfly_snapshot *snap)
{
	if (!snap || __atomic_sub_fetch(&snap->refs, 1, __ATOMIC_ACQ_REL))
		return;
	munmap((void *)(uintptr_t)snap->image, snap->guest->map.private_len);
	close(snap->fd);
	free(snap->present);
	free(snap->hot);
	free(snap->state);
	free(snap->extra);
	guest_put(snap->guest);
	free(snap);
}

bool snapshot_wants_to_learn(const struct mayfly_snapshot *snap)
{
	return __atomic_load_n(&snap->learned, __ATOMIC_RELAXED) < TEACHERS;
}

void snapshot_learn(struct mayfly_snapshot *snap, const uint64_t *written)
{
	size_t words = bitmap_words(snap->guest->map.private_len / PAGE_SIZE);
	uint64_t n = 0;

	for (size_t i = 0; i < words; i++)
		n += (uint64_t)__builtin_popcountll(written[i]);
	__atomic_add_fetch(&snap->learned, 1, __ATOMIC_RELAXED);
	if (n > HOT_MAX)
		return;
	for (size_t i = 0; i < words; i++)
		if (written[i])
			__atomic_or_fetch(&snap->hot[i], written[i], __ATOMIC_RELAXED);
}

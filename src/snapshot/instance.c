/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/instance.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/arena.h"

/*
 * A snapshot with at most this many pages is copied into each VM: cheaper than mapping it, and
 * VMs whose memory comes from few large mappings stay cheap to create by the thousand (see
 * arena.h).
 */
#define COPY_MAX_PAGES 24
/* Restores between two searches for pages that are logged but no longer written. */
#define SWEEP_INTERVAL 16
/* With more logged pages than this, every restore searches. */
#define SWEEP_ALWAYS 512

static uint64_t page_count(const struct instance *inst)
{
	return inst->guest->map.private_len / PAGE_SIZE;
}

static uint8_t *page_of(const struct instance *inst, uint64_t page)
{
	return inst->gm.private_mem + page * PAGE_SIZE;
}

static void copy_page(struct instance *inst, const struct mayfly_snapshot *snap, uint64_t page)
{
	if (bitmap_test(snap->present, page))
		memcpy(page_of(inst, page), snap->image + page * PAGE_SIZE, PAGE_SIZE);
	else
		memset(page_of(inst, page), 0, PAGE_SIZE);
}

static bool page_equals(const struct instance *inst, const struct mayfly_snapshot *snap,
			uint64_t page)
{
	if (bitmap_test(snap->present, page))
		return !memcmp(page_of(inst, page), snap->image + page * PAGE_SIZE, PAGE_SIZE);
	return page_is_zero(page_of(inst, page));
}

/* Two words of a bitmap; the compiler makes one instruction of each operation. */
typedef uint64_t word_pair __attribute__((vector_size(16), aligned(8)));
/* Bitmaps here are a whole number of these long. */
#define GROUP_WORDS 16

static bool group_is_zero(const uint64_t *words)
{
	const word_pair *p = (const word_pair *)words;
	word_pair any = ((p[0] | p[1]) | (p[2] | p[3])) | ((p[4] | p[5]) | (p[6] | p[7]));

	return !(any[0] | any[1]);
}

/* Logs are sparse: note which words are worth a look. Gives the number of pages. */
static uint64_t index_log(struct instance *inst)
{
	size_t words = bitmap_words(page_count(inst));
	uint64_t pages = 0;

	inst->nwords = 0;
	for (size_t group = 0; group < words; group += GROUP_WORDS) {
		if (__builtin_expect(group_is_zero(inst->log + group), true))
			continue;
		for (size_t i = group; i < group + GROUP_WORDS; i++) {
			if (!inst->log[i])
				continue;
			inst->words[inst->nwords++] = (uint32_t)i;
			pages += (uint64_t)__builtin_popcountll(inst->log[i]);
		}
	}
	return pages;
}

/* After index_log(). It declares `page`. */
/* NOLINTBEGIN(bugprone-macro-parentheses) */
#define for_each_logged(inst, page)                                                            \
	for (size_t at_ = 0; at_ < (inst)->nwords; at_++)                                      \
		for (uint64_t rest_ = (inst)->log[(inst)->words[at_]], page;                   \
		     rest_ && (page = (uint64_t)(inst)->words[at_] * 64 +                      \
				      (uint64_t)__builtin_ctzll(rest_),                        \
			      true);                                                           \
		     rest_ &= rest_ - 1)
/* NOLINTEND(bugprone-macro-parentheses) */

static int map_snapshot(struct instance *inst, const struct mayfly_snapshot *snap, void *at,
			mayfly_error *err)
{
	uint64_t len = inst->guest->map.private_len;
	void *mem = mmap(at, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_NORESERVE | (at ? MAP_FIXED : 0), snap->fd,
			 (off_t)snap->offset);

	if (mem == MAP_FAILED)
		return fail_errno(err, MAYFLY_E_NOMEM, errno,
				  "mapping %llu bytes of guest memory",
				  (unsigned long long)len);
	madvise(mem, len, MADV_DONTFORK);
	inst->gm.private_mem = mem;
	return 0;
}

/* For guests that map their memory themselves: addresses, tables, and what the snapshot holds. */
static int reserve_memory(struct instance *inst, mayfly_error *err)
{
	uint64_t len = inst->guest->map.private_len, align = (uint64_t)2 << 20;
	uint64_t tables = inst->guest->tables_len, used = inst->snap->used;
	uint8_t *mem = mmap(NULL, len + align, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t skip;

	if (mem == MAP_FAILED)
		return fail_errno(err, MAYFLY_E_NOMEM, errno,
				  "reserving %llu bytes of addresses for a guest",
				  (unsigned long long)len);
	skip = -(uint64_t)(uintptr_t)mem % align;
	if (skip)
		munmap(mem, skip);
	munmap(mem + skip + len, align - skip);
	inst->mapped = true;
	inst->gm.private_mem = mem + skip;
	madvise(inst->gm.private_mem, len, MADV_DONTFORK);
	if (mprotect(inst->gm.private_mem, tables, PROT_READ | PROT_WRITE) < 0 ||
	    (used > tables &&
	     mmap(inst->gm.private_mem + tables, used - tables, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, inst->snap->fd,
		  (off_t)(inst->snap->offset + tables)) == MAP_FAILED))
		return fail_errno(err, MAYFLY_E_NOMEM, errno, "mapping a guest's memory");
	return 0;
}

static int get_memory(struct instance *inst, mayfly_error *err)
{
	uint64_t len = inst->guest->map.private_len;

	if (inst->guest->slot_span)
		return reserve_memory(inst, err);
	inst->mapped = inst->snap->npresent > COPY_MAX_PAGES;
	if (inst->mapped)
		return map_snapshot(inst, inst->snap, NULL, err);
	inst->gm.private_mem = arena_alloc(len);
	if (!inst->gm.private_mem)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a VM of %llu bytes",
			    (unsigned long long)len);
	return 0;
}

/* What the guest cannot write and is never taken from an image: page tables and CPU state. */
static void write_fixed(struct instance *inst, const struct mayfly_snapshot *snap)
{
	if (inst->guest->tables)
		memcpy(inst->gm.private_mem, inst->guest->tables, inst->guest->tables_len);
	if (inst->guest->state_page == GUEST_NO_PAGE)
		return;
	memcpy(page_of(inst, inst->guest->state_page), snap->state, PAGE_SIZE);
}

/* Before KVM sees the memory: write what will be written, so that no page is mapped twice. */
static void fill_memory(struct instance *inst)
{
	const struct mayfly_snapshot *snap = inst->snap;
	bool learned = __atomic_load_n(&snap->learned, __ATOMIC_RELAXED);

	/* Large guests have large bitmaps, which cost more to look through than to do without. */
	if (inst->mapped && !learned) {
		write_fixed(inst, snap);
		return;
	}
	for (uint64_t w = 0; w < bitmap_words(page_count(inst)); w++) {
		uint64_t hot = __atomic_load_n(&snap->hot[w], __ATOMIC_RELAXED);

		if (inst->mapped)
			inst->log[w] = hot;
		else
			inst->log[w] = snap->present[w] | hot;
	}
	index_log(inst);
	for_each_logged(inst, page)
	{
		volatile uint8_t *p = page_of(inst, page);

		/* Not there yet, see reserve_memory(). */
		if (inst->guest->slot_span && page * PAGE_SIZE >= snap->used &&
		    page * PAGE_SIZE >= inst->guest->tables_len)
			continue;
		if (!inst->mapped && bitmap_test(snap->present, page))
			copy_page(inst, snap, page);
		else if (bitmap_test(snap->present, page))
			*p = snap->image[page * PAGE_SIZE];
		else
			*p = 0;
	}
	write_fixed(inst, snap);
}

int instance_reach(struct instance *inst, uint64_t end, mayfly_error *err)
{
	uint64_t span =
		inst->guest->slot_span ? inst->guest->slot_span : inst->guest->map.private_len;

	while (inst->reached < end) {
		uint64_t left = inst->guest->map.private_len - inst->reached;
		uint64_t number = inst->reached / span;
		struct hv_slot slot = {
			.id = number ? INSTANCE_SLOT_MORE + (uint32_t)number - 1
				     : INSTANCE_SLOT_PRIVATE,
			.gpa = inst->reached,
			.host = inst->gm.private_mem + inst->reached,
			.len = left < span ? left : span,
			.log_dirty = inst->logs,
		};
		int r = hv_vm_map(inst->vm, &slot, err);

		if (r < 0)
			return r;
		inst->reached += slot.len;
	}
	return 0;
}

static int map_slots(struct instance *inst, mayfly_error *err)
{
	const struct gmem_map *map = &inst->guest->map;
	uint64_t end = inst->snap->used > inst->guest->tables_len ? inst->snap->used
								  : inst->guest->tables_len;
	struct hv_slot shared_slot = {
		.id = INSTANCE_SLOT_SHARED,
		.gpa = map->shared_gpa,
		.host = inst->guest->shared,
		.len = map->shared_len,
		.readonly = true,
	};
	int r = instance_reach(inst, inst->guest->slot_span ? end + 1 : map->private_len, err);

	return r < 0 ? r : hv_vm_map(inst->vm, &shared_slot, err);
}

int instance_new(const struct hv_backend *hv, struct mayfly_snapshot *snap,
		 const struct cpu_setup *setup, struct instance *inst, mayfly_error *err)
{
	size_t words = bitmap_words(snap->guest->map.private_len / PAGE_SIZE);
	int r;

	words = (words + GROUP_WORDS - 1) / GROUP_WORDS * GROUP_WORDS;
	*inst = (struct instance){.guest = snap->guest,
				  .setup = *setup,
				  .owner = getpid(),
				  .mark = forks_mark(),
				  .logs = inst->logs || !snap->guest->slot_span};
	inst->snap = mayfly_snapshot_ref(snap);
	inst->gm.map = &snap->guest->map;
	inst->gm.shared_mem = snap->guest->shared;
	for (size_t i = 0; i < ARRAY_SIZE(inst->host_wrote); i++)
		inst->host_wrote[i].first = snap->guest->transient[i].first;
	inst->log = calloc(words, 2 * sizeof(uint64_t) + sizeof(uint32_t));
	if (!inst->log) {
		r = fail(err, MAYFLY_E_NOMEM, "no memory for a dirty log");
		goto failed;
	}
	inst->stale = inst->log + words;
	inst->words = (uint32_t *)(inst->stale + words);
	r = get_memory(inst, err);
	if (r < 0)
		goto failed;
	fill_memory(inst);
	r = hv_vm_new(hv, &inst->vm, err);
	if (r == 0)
		r = map_slots(inst, err);
	if (r == 0)
		r = hv_vcpu_new(inst->vm, 0, setup, &inst->vcpu, err);
	if (r == 0)
		return 0;
failed:
	instance_fini(inst);
	return r;
}

int instance_refuse_child(mayfly_error *err)
{
	return fail(err, MAYFLY_E_PROTOCOL,
		    "the VM belongs to another process, which forked this one: make a new one "
		    "from the snapshot");
}

/* What the guest wrote, all slots together, into inst->log. */
static int get_log(const struct instance *inst, mayfly_error *err)
{
	uint64_t span = inst->guest->slot_span;
	int r = hv_vm_dirty(inst->vm, INSTANCE_SLOT_PRIVATE, inst->log, err);

	for (uint64_t at = span; r == 0 && span && at < inst->reached; at += span)
		r = hv_vm_dirty(inst->vm, INSTANCE_SLOT_MORE + (uint32_t)(at / span) - 1,
				inst->log + at / PAGE_SIZE / 64, err);
	return r;
}

/* The reverse of being in the log, for the pages of `bitmap`. */
static int clean_log(struct instance *inst, uint64_t *bitmap, mayfly_error *err)
{
	uint64_t span =
		inst->guest->slot_span ? inst->guest->slot_span : inst->guest->map.private_len;
	int r = 0;

	for (uint64_t at = 0; r == 0 && at < inst->reached; at += span) {
		uint64_t len = inst->reached - at < span ? inst->reached - at : span;

		r = hv_vm_clean(inst->vm,
				at ? INSTANCE_SLOT_MORE + (uint32_t)(at / span) - 1
				   : INSTANCE_SLOT_PRIVATE,
				len / PAGE_SIZE, bitmap + at / PAGE_SIZE / 64, err);
	}
	return r;
}

void instance_fini(struct instance *inst)
{
	if (!inst->guest)
		return;
	if (inst->vm && inst->vcpu && inst->restores == 0 && inst->logs &&
	    snapshot_wants_to_learn(inst->snap) && get_log(inst, NULL) == 0)
		snapshot_learn(inst->snap, inst->log);
	hv_vcpu_free(inst->vcpu);
	hv_vm_free(inst->vm);
	/* In a forked child the memory is not there, and something else may be. */
	if (inst->owner != getpid())
		inst->gm.private_mem = NULL;
	if (inst->mapped && inst->gm.private_mem)
		munmap(inst->gm.private_mem, inst->guest->map.private_len);
	else
		arena_free(inst->gm.private_mem, inst->guest->map.private_len);
	free(inst->log);
	mayfly_snapshot_unref(inst->snap);
	*inst = (struct instance){.vm = NULL};
}

/* What the kind knows of pages that the host wrote or mapped. */
static void merge_kind_pages(struct instance *inst)
{
	uint64_t words = bitmap_words(page_count(inst));
	uint64_t first = inst->guest->tables_len / PAGE_SIZE / 64;

	for (uint64_t w = 0; inst->host_pages && w < words; w++)
		inst->log[w] |= inst->host_pages[w];
	/* 512 pages are 8 words. */
	for (uint64_t w = first; inst->skip_chunks && w < words; w += 8) {
		uint64_t chunk = (w - first) / 8;

		if (bitmap_test(inst->skip_chunks, chunk))
			memset(inst->log + w, 0, 8 * sizeof(*inst->log));
		else if (bitmap_test(inst->fixed_chunks, chunk))
			for (uint64_t i = 0; i < 8; i++)
				inst->log[w + i] &= ~inst->fixed_pages[w - first + i];
	}
}

/*
 * The log into inst->log, less the page tables, which ring 3 cannot reach and which hardware
 * only "writes" by walking them, plus what the host wrote. Gives the number of pages.
 */
static int collect(struct instance *inst, uint64_t *count, mayfly_error *err)
{
	uint64_t tables = inst->guest->tables_len / PAGE_SIZE;
	int r = get_log(inst, err);

	if (r < 0)
		return r;
	for (uint64_t page = 0; page < tables; page++)
		bitmap_clear(inst->log, page);
	for (size_t i = 0; i < ARRAY_SIZE(inst->host_wrote); i++) {
		const struct guest_pages *w = &inst->host_wrote[i];

		for (uint64_t page = w->first; page < w->first + w->count; page++)
			bitmap_set(inst->log, page);
	}
	merge_kind_pages(inst);
	*count = index_log(inst);
	return 0;
}

/*
 * Pages stay in the log until they are cleaned, so that writing them costs no exit; those that
 * are no longer written would be copied for ever. Clean the ones found unchanged.
 */
static int sweep(struct instance *inst, mayfly_error *err)
{
	uint64_t stale = 0;

	memset(inst->stale, 0, bitmap_words(page_count(inst)) * sizeof(uint64_t));
	for_each_logged(inst, page)
	{
		if (page_equals(inst, inst->snap, page)) {
			bitmap_set(inst->stale, page);
			stale++;
		} else {
			copy_page(inst, inst->snap, page);
		}
	}
	inst->since_sweep = 0;
	if (!stale)
		return 0;
	return clean_log(inst, inst->stale, err);
}

static int restore_same(struct instance *inst, mayfly_error *err)
{
	uint64_t count;
	int r = collect(inst, &count, err);

	if (r < 0)
		return r;
	if (inst->restores < 2 && snapshot_wants_to_learn(inst->snap))
		snapshot_learn(inst->snap, inst->log);
	inst->last_restored = count;
	if (count > SWEEP_ALWAYS || ++inst->since_sweep >= SWEEP_INTERVAL)
		return sweep(inst, err);
	for_each_logged(inst, page) copy_page(inst, inst->snap, page);
	return 0;
}

/* To another snapshot of the same guest: everything in which the two may differ. */
static int restore_other(struct instance *inst, struct mayfly_snapshot *snap, mayfly_error *err)
{
	uint64_t count;
	int r = collect(inst, &count, err);

	if (r < 0)
		return r;
	if (inst->mapped) {
		r = map_snapshot(inst, snap, inst->gm.private_mem, err);
		/* mmap() takes the old mapping away before it fails. */
		inst->lost = r < 0;
		if (r < 0)
			return r;
		inst->last_restored = count;
		r = clean_log(inst, inst->log, err);
	} else {
		inst->last_restored = 0;
		for (size_t i = 0; i < bitmap_words(page_count(inst)); i++)
			inst->log[i] |= inst->snap->present[i] | snap->present[i];
		index_log(inst);
		for_each_logged(inst, page)
		{
			if (page * PAGE_SIZE < inst->guest->tables_len)
				continue;
			copy_page(inst, snap, page);
			inst->last_restored++;
		}
	}
	write_fixed(inst, snap);
	mayfly_snapshot_ref(snap);
	mayfly_snapshot_unref(inst->snap);
	inst->snap = snap;
	return r;
}

int instance_restore(struct instance *inst, struct mayfly_snapshot *snap, bool full,
		     mayfly_error *err)
{
	int r = 0;

	if (inst->lost)
		return fail(
			err, MAYFLY_E_NOMEM,
			"the VM lost its memory in a failed restore: free it, make another");
	/* Before memory: an instruction that had left for the host may have it to write yet. */
	if (full)
		r = hv_vcpu_reset(inst->vcpu, &inst->setup, err);
	if (r < 0)
		return r;
	if (!snap)
		snap = inst->snap;
	if (snap == inst->snap && !inst->lost)
		r = restore_same(inst, err);
	else
		r = restore_other(inst, snap, err);
	if (r < 0)
		return r;
	/* Only now: a restore that failed may be tried again. */
	for (size_t i = 0; i < ARRAY_SIZE(inst->host_wrote); i++)
		inst->host_wrote[i].count = 0;
	inst->restores++;
	inst->pages_restored += inst->last_restored;
	return 0;
}

static bool is_transient(const struct guest *guest, uint64_t page)
{
	for (size_t i = 0; i < ARRAY_SIZE(guest->transient); i++)
		if (page - guest->transient[i].first < guest->transient[i].count)
			return true;
	return page * PAGE_SIZE < guest->tables_len;
}

static int capture_state(struct instance *inst, struct snapshot_builder *b, mayfly_error *err)
{
	uint64_t page = inst->guest->state_page;
	_cleanup_free_ uint8_t *state = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
	int r;

	if (!state)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a snapshot");
	memcpy(state, page_of(inst, page), PAGE_SIZE);
	r = inst->guest->kind->capture_cpu(inst->guest, inst->vcpu, state, err);
	return r < 0 ? r : snapshot_builder_put(b, page, state, 1, err);
}

int instance_capture(struct instance *inst, struct mayfly_snapshot **out, mayfly_error *err)
{
	const struct mayfly_snapshot *base = inst->snap;
	struct snapshot_builder b;
	int r = snapshot_builder_init(&b, inst->guest, err);

	if (r == 0)
		r = get_log(inst, err);
	if (r < 0)
		goto out;
	for (size_t i = 0; i < bitmap_words(page_count(inst)); i++)
		inst->log[i] |= base->present[i];
	index_log(inst);
	for_each_logged(inst, page)
	{
		if (is_transient(inst->guest, page) || page == inst->guest->state_page)
			continue;
		r = snapshot_builder_put(&b, page, page_of(inst, page), 1, err);
		if (r < 0)
			goto out;
	}
	r = capture_state(inst, &b, err);
	if (r == 0)
		r = snapshot_builder_finish(&b, out, err);
out:
	snapshot_builder_fini(&b);
	return r;
}

uint64_t instance_private_bytes(const struct instance *inst)
{
	uint64_t pages = inst->guest->tables_len / PAGE_SIZE + inst->host_wrote[0].count +
			 inst->host_wrote[1].count;

	if (get_log(inst, NULL) < 0)
		return 0;
	for (size_t i = 0; i < bitmap_words(page_count(inst)); i++) {
		uint64_t own =
			inst->log[i] | __atomic_load_n(&inst->snap->hot[i], __ATOMIC_RELAXED);

		if (!inst->mapped)
			own |= inst->snap->present[i];
		pages += (uint64_t)__builtin_popcountll(own);
	}
	return pages * PAGE_SIZE +
	       bitmap_words(page_count(inst)) * (2 * sizeof(uint64_t) + sizeof(uint32_t));
}

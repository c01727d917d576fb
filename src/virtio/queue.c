/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/queue.h"

#include <stdlib.h>
#include <string.h>

/* Guest memory. Little-endian, as the hosts and guests there are (virtio 1.2, 2.7.5-2.7.8). */
struct descriptor {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct used_element {
	uint32_t id;
	uint32_t len;
};

#define DESC_NEXT 1u
#define DESC_WRITE 2u
#define DESC_INDIRECT 4u

/* Both rings: flags, index, entries, and behind these the other side's event index. */
#define RING_FLAGS 0u
#define RING_INDEX 2u
#define RING_ENTRIES 4u
#define AVAIL_ENTRY 2u
#define AVAIL_NO_INTERRUPT 1u
#define USED_NOTIFY ((uint16_t)0)
#define USED_NO_NOTIFY ((uint16_t)1)

static uint64_t desc_bytes(uint32_t size)
{
	return sizeof(struct descriptor) * size;
}

static uint64_t avail_bytes(uint32_t size)
{
	return RING_ENTRIES + AVAIL_ENTRY * (uint64_t)size + sizeof(uint16_t);
}

static uint64_t used_bytes(uint32_t size)
{
	return RING_ENTRIES + sizeof(struct used_element) * size + sizeof(uint16_t);
}

/* --- access: virtq_enable() has seen that the three areas are memory and aligned ---------- */

static uint16_t load16(const struct virtq *q, uint64_t at)
{
	const uint16_t *p = ram_span(q->ram, gpa(at), sizeof(*p));

	return p ? __atomic_load_n(p, __ATOMIC_ACQUIRE) : 0;
}

static void store16(const struct virtq *q, uint64_t at, uint16_t v)
{
	uint16_t *p = ram_span(q->ram, gpa(at), sizeof(*p));

	if (p)
		__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/* Once: the compiler must not look at guest memory again, where the copy would do. */
static bool load_descriptor(const struct virtq *q, uint64_t at, struct descriptor *d)
{
	if (!ram_read(q->ram, gpa(at), d, sizeof(*d)))
		return false;
	__asm__ volatile("" : : : "memory");
	return true;
}

static uint64_t used_event_at(const struct virtq *q)
{
	return q->avail + RING_ENTRIES + AVAIL_ENTRY * (uint64_t)q->size;
}

static uint64_t avail_event_at(const struct virtq *q)
{
	return q->used + RING_ENTRIES + sizeof(struct used_element) * q->size;
}

/* --- life --------------------------------------------------------------------------------- */

int virtq_init(struct virtq *q, const struct ram *ram, uint16_t max_size, mayfly_error *err)
{
	*q = (struct virtq){.ram = ram, .max_size = max_size};
	q->iov = malloc(VIRTQ_MAX_IOV * sizeof(*q->iov));
	if (!q->iov)
		return fail(err, MAYFLY_E_NOMEM, "out of memory");
	return 0;
}

void virtq_fini(struct virtq *q)
{
	free(q->iov);
	*q = (struct virtq){0};
}

void virtq_reset(struct virtq *q)
{
	*q = (struct virtq){.ram = q->ram, .max_size = q->max_size, .iov = q->iov};
}

void virtq_break(struct virtq *q, const char *why)
{
	if (!q->broken)
		q->broken = why;
}

/* What is wrong with the driver's set-up, or NULL. */
static const char *check_setup(const struct virtq *q)
{
	if (!q->size || q->size > q->max_size || (q->size & (q->size - 1)))
		return "the queue's size is no power of two that is offered";
	if (q->desc % sizeof(struct descriptor) || q->avail % sizeof(uint16_t) ||
	    q->used % sizeof(uint32_t))
		return "a part of the queue is not aligned";
	if (!ram_span(q->ram, gpa(q->desc), desc_bytes(q->size)) ||
	    !ram_span(q->ram, gpa(q->avail), avail_bytes(q->size)) ||
	    !ram_span(q->ram, gpa(q->used), used_bytes(q->size)))
		return "a part of the queue is not in memory";
	return NULL;
}

bool virtq_enable(struct virtq *q)
{
	const char *wrong = check_setup(q);

	if (wrong) {
		virtq_break(q, wrong);
		return false;
	}
	q->ready = true;
	q->next_avail = 0;
	q->next_used = 0;
	q->signalled = 0;
	q->in_flight = 0;
	return true;
}

/* --- chains ------------------------------------------------------------------------------- */

/* Where a chain has got to: in the queue's own descriptors, or in an indirect table. */
struct walk {
	uint64_t table;
	uint32_t entries;
	uint32_t left; /* that may still come, unless they loop */
	bool indirect;
};

/* Each of these gives what is wrong, or NULL. */
static const char *enter_table(const struct virtq *q, struct walk *w,
			       const struct descriptor *d)
{
	if (w->indirect)
		return "an indirect table within an indirect table";
	if (d->flags & DESC_NEXT)
		return "an indirect table with descriptors behind it";
	if (!d->len || d->len % sizeof(struct descriptor))
		return "an indirect table is no whole number of descriptors long";
	if (!ram_span(q->ram, gpa(d->addr), d->len))
		return "an indirect table is not in memory";
	w->table = d->addr;
	w->entries = (uint32_t)(d->len / sizeof(struct descriptor));
	w->left = w->entries;
	w->indirect = true;
	return NULL;
}

static const char *add_piece(const struct virtq *q, struct virtq_chain *c,
			     const struct descriptor *d)
{
	uint32_t n = c->nin + c->nout;
	void *host;

	if (n == VIRTQ_MAX_IOV)
		return "a chain has too many descriptors";
	if (!d->len)
		return "a descriptor has no length";
	host = ram_span(q->ram, gpa(d->addr), d->len);
	if (!host)
		return "a descriptor points to what is not memory";
	if (d->flags & DESC_WRITE) {
		c->nout++;
		c->out_len += d->len;
	} else {
		if (c->nout)
			return "a descriptor to read lies behind one to write";
		c->nin++;
		c->in_len += d->len;
	}
	q->iov[n] = (struct iovec){host, d->len};
	return NULL;
}

static const char *read_chain(const struct virtq *q, struct virtq_chain *c)
{
	struct walk w = {.table = q->desc, .entries = q->size, .left = q->size};
	uint32_t index = c->head;
	struct descriptor d;
	const char *wrong;

	for (;;) {
		if (!w.left--)
			return "a chain of descriptors loops";
		if (!load_descriptor(q, w.table + sizeof(d) * index, &d))
			return "a descriptor is not in memory";
		if (d.flags & DESC_INDIRECT) {
			wrong = enter_table(q, &w, &d);
			if (wrong)
				return wrong;
			index = 0;
			continue;
		}
		wrong = add_piece(q, c, &d);
		if (wrong)
			return wrong;
		if (!(d.flags & DESC_NEXT))
			return NULL;
		if (d.next >= w.entries)
			return "a descriptor's successor does not exist";
		index = d.next;
	}
}

static uint16_t waiting(const struct virtq *q)
{
	return (uint16_t)(load16(q, q->avail + RING_INDEX) - q->next_avail);
}

bool virtq_pop(struct virtq *q, struct virtq_chain *chain)
{
	struct virtq_chain c = {.in = q->iov};
	const char *wrong;
	uint16_t n;

	if (!q->ready || q->broken)
		return false;
	n = waiting(q);
	if (!n)
		return false;
	/* Each chain has a descriptor of its own, until it was pushed. */
	if (n > q->size || q->in_flight >= q->size) {
		virtq_break(q, "more chains than there are descriptors");
		return false;
	}
	c.head = load16(q, q->avail + RING_ENTRIES +
				   AVAIL_ENTRY * (uint64_t)(q->next_avail & (q->size - 1u)));
	wrong = c.head < q->size ? read_chain(q, &c) : "a chain's head does not exist";
	if (wrong) {
		virtq_break(q, wrong);
		return false;
	}
	c.out = c.in + c.nin;
	q->next_avail++;
	q->in_flight++;
	*chain = c;
	return true;
}

void virtq_unpop(struct virtq *q)
{
	if (!q->in_flight)
		return;
	q->in_flight--;
	q->next_avail--;
}

void virtq_push_all(struct virtq *q, const struct virtq_used *used, uint32_t count)
{
	/* Of a queue that was reset meanwhile: the driver has forgotten them, too. */
	if (!count || count > q->in_flight)
		return;
	for (uint32_t i = 0; i < count; i++) {
		struct used_element e = {used[i].head, used[i].len};
		uint64_t slot = q->next_used & (q->size - 1u);

		ram_write(q->ram, gpa(q->used + RING_ENTRIES + sizeof(e) * slot), &e,
			  sizeof(e));
		q->next_used++;
	}
	q->in_flight -= count;
	/* Behind the elements and what was written to the chains: a release. */
	store16(q, q->used + RING_INDEX, q->next_used);
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t len)
{
	const struct virtq_used used = {head, len};

	virtq_push_all(q, &used, 1);
}

/* --- notifications (2.7.7, 2.7.10) -------------------------------------------------------- */

bool virtq_wants_interrupt(struct virtq *q)
{
	uint16_t old = q->signalled, now = q->next_used;

	if (!q->ready || old == now)
		return false;
	q->signalled = now;
	/* The driver sees the index, or we see what it wrote before it looked. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->event_idx)
		return !(load16(q, q->avail + RING_FLAGS) & AVAIL_NO_INTERRUPT);
	/*
	 * The driver's index is among those that were pushed: old <= event < now, modulo 2^16.
	 */
	return (uint16_t)(now - load16(q, used_event_at(q)) - 1) < (uint16_t)(now - old);
}

bool virtq_set_notify(struct virtq *q, bool on)
{
	if (!q->ready)
		return false;
	if (!q->event_idx)
		store16(q, q->used + RING_FLAGS, on ? USED_NOTIFY : USED_NO_NOTIFY);
	else if (on)
		store16(q, avail_event_at(q), q->next_avail);
	/* With event indices an old one is as good as off. */
	if (!on)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return virtq_pending(q);
}

bool virtq_pending(const struct virtq *q)
{
	return q->ready && !q->broken && waiting(q) != 0;
}

/* --- snapshots ---------------------------------------------------------------------------- */

void virtq_save(const struct virtq *q, struct writer *w)
{
	put_u64(w, q->size);
	put_u64(w, q->ready);
	put_u64(w, q->desc);
	put_u64(w, q->avail);
	put_u64(w, q->used);
	put_u64(w, q->event_idx);
	put_u64(w, q->next_avail);
	put_u64(w, q->next_used);
	put_u64(w, q->signalled);
	put_u64(w, q->broken != NULL);
}

bool virtq_load(struct virtq *q, struct reader *r)
{
	virtq_reset(q);
	/* Of a queue that is not ready it may be anything that the driver has written. */
	q->size = (uint16_t)get_count(r, UINT16_MAX);
	q->ready = get_count(r, 1);
	q->desc = get_u64(r);
	q->avail = get_u64(r);
	q->used = get_u64(r);
	q->event_idx = get_count(r, 1);
	q->next_avail = (uint16_t)get_count(r, UINT16_MAX);
	q->next_used = (uint16_t)get_count(r, UINT16_MAX);
	q->signalled = (uint16_t)get_count(r, UINT16_MAX);
	if (get_count(r, 1))
		q->broken = "the queue was broken when the snapshot was taken";
	if (!r->bad && (!q->ready || !check_setup(q)))
		return true;
	virtq_reset(q);
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio_driver.h"

#include <linux/virtio_mmio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "virtio_driver: %s\n", what);
	abort();
}

void driver_ram_init(struct driver_ram *m)
{
	uint8_t *mem = calloc(1, DRIVER_LOW + DRIVER_HIGH);

	check(mem, "out of memory");
	m->ram = (struct ram){mem, DRIVER_LOW, DRIVER_LOW + DRIVER_HIGH};
}

void driver_ram_fini(struct driver_ram *m)
{
	free(m->ram.mem);
	m->ram.mem = NULL;
}

void *driver_at(const struct ram *ram, uint64_t at, uint64_t len)
{
	void *p = ram_span(ram, gpa(at), len);

	check(p, "not memory");
	return p;
}

/* --- queues ------------------------------------------------------------------------------- */

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static uint16_t get16(const struct ram *ram, uint64_t at)
{
	return __atomic_load_n((uint16_t *)driver_at(ram, at, 2), __ATOMIC_ACQUIRE);
}

static void put16(const struct ram *ram, uint64_t at, uint16_t v)
{
	__atomic_store_n((uint16_t *)driver_at(ram, at, 2), v, __ATOMIC_RELEASE);
}

static uint64_t avail_len(uint16_t size)
{
	return 6 + 2 * (uint64_t)size;
}

static uint64_t used_len(uint16_t size)
{
	return 6 + 8 * (uint64_t)size;
}

static uint64_t round16(uint64_t v)
{
	return (v + 15) & ~(uint64_t)15;
}

uint64_t driver_queue_len(uint16_t size)
{
	return 16 * (uint64_t)size + round16(avail_len(size)) + used_len(size);
}

void driver_queue_init(struct driver_queue *q, const struct ram *ram, uint64_t at,
		       uint16_t size)
{
	*q = (struct driver_queue){.ram = ram, .desc = at, .size = size};
	q->avail = at + 16 * (uint64_t)size;
	q->used = q->avail + round16(avail_len(size));
	memset(driver_at(ram, at, driver_queue_len(size)), 0, driver_queue_len(size));
}

void driver_desc(const struct ram *ram, uint64_t table, uint32_t index,
		 const struct driver_piece *piece, uint32_t flags, uint16_t next)
{
	struct desc d = {.addr = piece->at, .len = piece->len, .next = next};

	d.flags = (uint16_t)(flags | (piece->write ? DESC_F_WRITE : 0));
	memcpy(driver_at(ram, table + 16 * (uint64_t)index, 16), &d, 16);
}

void driver_offer(struct driver_queue *q, uint16_t head)
{
	put16(q->ram, q->avail + 4 + 2 * (uint64_t)(q->avail_idx & (q->size - 1)), head);
	q->avail_idx++;
	put16(q->ram, q->avail + 2, q->avail_idx);
}

static uint16_t take_desc(struct driver_queue *q)
{
	uint16_t index = q->free;

	q->free = (uint16_t)((q->free + 1) & (q->size - 1));
	return index;
}

uint16_t driver_chain(struct driver_queue *q, const struct driver_piece *pieces, uint32_t n)
{
	uint16_t head = q->free;

	for (uint32_t i = 0; i < n; i++) {
		uint16_t index = take_desc(q);

		driver_desc(q->ram, q->desc, index, &pieces[i], i + 1 < n ? DESC_F_NEXT : 0,
			    q->free);
	}
	driver_offer(q, head);
	return head;
}

uint16_t driver_indirect(struct driver_queue *q, uint64_t table,
			 const struct driver_piece *pieces, uint32_t n)
{
	const struct driver_piece all = {table, 16 * n, false};
	uint16_t head = take_desc(q);

	for (uint32_t i = 0; i < n; i++)
		driver_desc(q->ram, table, i, &pieces[i], i + 1 < n ? DESC_F_NEXT : 0,
			    (uint16_t)(i + 1));
	driver_desc(q->ram, q->desc, head, &all, DESC_F_INDIRECT, 0);
	driver_offer(q, head);
	return head;
}

uint16_t driver_nused(const struct driver_queue *q)
{
	return (uint16_t)(get16(q->ram, q->used + 2) - q->used_idx);
}

bool driver_used(struct driver_queue *q, uint32_t *head, uint32_t *len)
{
	uint32_t e[2];

	if (!driver_nused(q))
		return false;
	memcpy(e,
	       driver_at(q->ram, q->used + 4 + 8 * (uint64_t)(q->used_idx & (q->size - 1)), 8),
	       8);
	q->used_idx++;
	*head = e[0];
	*len = e[1];
	return true;
}

void driver_set_flags(const struct driver_queue *q, uint16_t flags)
{
	put16(q->ram, q->avail, flags);
}

void driver_set_used_event(const struct driver_queue *q, uint16_t event)
{
	put16(q->ram, q->avail + 4 + 2 * (uint64_t)q->size, event);
}

uint16_t driver_used_flags(const struct driver_queue *q)
{
	return get16(q->ram, q->used);
}

uint16_t driver_avail_event(const struct driver_queue *q)
{
	return get16(q->ram, q->used + 4 + 8 * (uint64_t)q->size);
}

/* --- a device behind registers ------------------------------------------------------------ */

static void set_line(void *context, uint32_t irq, bool level)
{
	struct driver *d = context;

	(void)irq;
	d->level = level;
	d->changes++;
}

static void end_turn(void *context, uint32_t events)
{
	struct driver *d = context;

	(void)events;
	loop_stop(d->loop);
}

void driver_init(struct driver *d, struct virtio_device *dev, bool legacy)
{
	const struct virtio_place place = {&d->bus, DRIVER_BASE, legacy, {set_line, d, 5}};

	memset(d, 0, sizeof(*d));
	driver_ram_init(&d->memory);
	check(loop_new(&d->loop, NULL) == 0, "no loop");
	check(loop_add_timer(d->loop, end_turn, d, &d->timer, NULL) == 0, "no timer");
	d->dev = dev;
	dev->loop = d->loop;
	dev->ram = &d->memory.ram;
	check(virtio_mmio_new(dev, &place, &d->t, NULL) == 0, "no transport");
}

void driver_fini(struct driver *d)
{
	virtio_mmio_free(d->t);
	loop_remove(d->timer);
	loop_free(d->loop);
	driver_ram_fini(&d->memory);
}

uint32_t driver_read(struct driver *d, uint32_t reg)
{
	return (uint32_t)bus_read(&d->bus, DRIVER_BASE + reg, 4);
}

void driver_write(struct driver *d, uint32_t reg, uint32_t value)
{
	bus_write(&d->bus, DRIVER_BASE + reg, 4, value);
}

uint64_t driver_read_config(struct driver *d, uint32_t offset, uint32_t len)
{
	return bus_read(&d->bus, DRIVER_BASE + VIRTIO_MMIO_CONFIG + offset, len);
}

uint64_t driver_features(struct driver *d)
{
	uint64_t low;

	driver_write(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	low = driver_read(d, VIRTIO_MMIO_DEVICE_FEATURES);
	driver_write(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	return (uint64_t)driver_read(d, VIRTIO_MMIO_DEVICE_FEATURES) << 32 | low;
}

void driver_set_queue(struct driver *d, uint16_t n, const struct driver_queue *q)
{
	driver_write(d, VIRTIO_MMIO_QUEUE_SEL, n);
	driver_write(d, VIRTIO_MMIO_QUEUE_NUM, q->size);
	driver_write(d, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)q->desc);
	driver_write(d, VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(q->desc >> 32));
	driver_write(d, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)q->avail);
	driver_write(d, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(q->avail >> 32));
	driver_write(d, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)q->used);
	driver_write(d, VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(q->used >> 32));
	driver_write(d, VIRTIO_MMIO_QUEUE_READY, 1);
}

bool driver_negotiate(struct driver *d, uint64_t features)
{
	driver_write(d, VIRTIO_MMIO_STATUS, 0);
	driver_write(d, VIRTIO_MMIO_STATUS, VIRTIO_ACKNOWLEDGE);
	driver_write(d, VIRTIO_MMIO_STATUS, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	for (uint32_t i = 0; i < 2; i++) {
		driver_write(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		driver_write(d, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> (32 * i)));
	}
	driver_write(d, VIRTIO_MMIO_STATUS,
		     VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	return driver_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_FEATURES_OK;
}

void driver_go(struct driver *d)
{
	driver_write(d, VIRTIO_MMIO_STATUS,
		     driver_read(d, VIRTIO_MMIO_STATUS) | VIRTIO_DRIVER_OK);
}

void driver_turn(struct driver *d)
{
	loop_set_timer(d->timer, 0);
	loop_run(d->loop);
}

bool driver_due(const struct driver *d)
{
	struct pollfd fds[VIRTIO_MAX_QUEUES];
	uint16_t n = 0;

	for (; n < d->dev->nqueues; n++)
		fds[n] = (struct pollfd){virtio_mmio_notify_fd(d->t, n), POLLIN, 0};
	return poll(fds, n, 0) > 0;
}

void driver_run(struct driver *d)
{
	do {
		driver_turn(d);
	} while (driver_due(d));
}

void driver_notify(struct driver *d, uint16_t n)
{
	driver_write(d, VIRTIO_MMIO_QUEUE_NOTIFY, n);
	driver_run(d);
}

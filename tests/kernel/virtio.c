/* SPDX-License-Identifier: Apache-2.0 */
/* A driver for virtio-mmio (virtio 1.2, 4.2) of versions 1 and 2, as small as can be. */
#include "kernel.h"

#define PAGE 4096
#define FEATURE_VERSION_1 ((uint64_t)1 << 32)

#define ACKNOWLEDGE 1
#define DRIVER 2
#define FEATURES_OK 8

/* Descriptors and available ring in the first page, used ring in the second: legal in both. */
static uint8_t rings[2][2 * PAGE] __attribute__((aligned(PAGE)));

uint32_t reg_read(const struct device *d, uint32_t offset)
{
	return *(volatile uint32_t *)at(d->base + offset);
}

void reg_write(const struct device *d, uint32_t offset, uint32_t v)
{
	*(volatile uint32_t *)at(d->base + offset) = v;
}

uint8_t config8(const struct device *d, uint32_t offset)
{
	return *(volatile uint8_t *)at(d->base + REG_CONFIG + offset);
}

static uint64_t parse(const char **s)
{
	uint64_t v = 0, base = 10;

	if ((*s)[0] == '0' && (*s)[1] == 'x') {
		base = 16;
		*s += 2;
	}
	for (;; (*s)++) {
		char c = **s;

		if (c >= '0' && c <= '9')
			v = v * base + (uint64_t)(c - '0');
		else if (base == 16 && c >= 'a' && c <= 'f')
			v = v * base + (uint64_t)(c - 'a') + 10;
		else
			return v;
	}
}

/* virtio_mmio.device=512@0xfeb00000:5 */
struct device device_at(uint32_t n)
{
	static const char key[] = "virtio_mmio.device=";
	struct device d = {0};

	for (const char *s = command_line; *s; s++) {
		uint64_t size;

		if (*s != key[0] || !starts_with(s, key) || n-- > 0)
			continue;
		s += sizeof(key) - 1;
		size = parse(&s);
		CHECK(size == 512 && *s == '@');
		s++;
		d.base = parse(&s);
		CHECK(*s == ':');
		s++;
		d.irq = (uint32_t)parse(&s);
		CHECK(*s == ' ' || *s == '\0');
		EQUAL(reg_read(&d, REG_MAGIC), 0x74726976);
		d.version = reg_read(&d, REG_VERSION);
		d.type = reg_read(&d, REG_DEVICE);
		break;
	}
	return d;
}

struct device device_find(uint32_t type, uint32_t n)
{
	struct device d;

	for (uint32_t i = 0;; i++) {
		d = device_at(i);
		CHECK(d.base != 0); /* else there is no such device */
		if (d.type == type && n-- == 0)
			return d;
	}
}

void device_reset(struct device *d)
{
	reg_write(d, REG_STATUS, 0);
	while (reg_read(d, REG_STATUS))
		;
}

uint64_t device_features(const struct device *d)
{
	uint64_t v;

	reg_write(d, REG_FEATURES_SELECT, 1);
	v = (uint64_t)reg_read(d, REG_FEATURES) << 32;
	reg_write(d, REG_FEATURES_SELECT, 0);
	return v | reg_read(d, REG_FEATURES);
}

void device_agree(struct device *d, uint64_t features)
{
	uint64_t offered;

	device_reset(d);
	reg_write(d, REG_STATUS, ACKNOWLEDGE);
	reg_write(d, REG_STATUS, ACKNOWLEDGE | DRIVER);
	offered = device_features(d);
	if (d->version == 2) {
		CHECK(offered & FEATURE_VERSION_1);
		features |= FEATURE_VERSION_1;
	}
	features &= offered;
	reg_write(d, REG_DRIVER_SELECT, 0);
	reg_write(d, REG_DRIVER_FEATURES, (uint32_t)features);
	if (d->version == 2) {
		reg_write(d, REG_DRIVER_SELECT, 1);
		reg_write(d, REG_DRIVER_FEATURES, (uint32_t)(features >> 32));
		reg_write(d, REG_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
		CHECK(reg_read(d, REG_STATUS) & FEATURES_OK);
	} else {
		reg_write(d, REG_PAGE_SIZE, PAGE);
	}
}

static void set_address(const struct device *d, uint32_t reg, const volatile void *p)
{
	reg_write(d, reg, (uint32_t)(uint64_t)p);
	reg_write(d, reg + 4, (uint32_t)((uint64_t)p >> 32));
}

void queue_setup(struct device *d, uint32_t n)
{
	struct queue *q = &d->queues[n];

	memset(rings[n], 0, sizeof(rings[n]));
	*q = (struct queue){.desc = (void *)rings[n],
			    .avail = (void *)(rings[n] + QUEUE_SIZE * sizeof(struct desc)),
			    .used = (void *)(rings[n] + PAGE)};
	reg_write(d, REG_QUEUE, n);
	CHECK(reg_read(d, REG_QUEUE_MAX) >= QUEUE_SIZE);
	reg_write(d, REG_QUEUE_NUM, QUEUE_SIZE);
	if (d->version == 1) {
		reg_write(d, REG_QUEUE_ALIGN, PAGE);
		reg_write(d, REG_QUEUE_PFN, (uint32_t)((uint64_t)rings[n] / PAGE));
		return;
	}
	set_address(d, REG_DESC, q->desc);
	set_address(d, REG_AVAIL, q->avail);
	set_address(d, REG_USED, q->used);
	reg_write(d, REG_QUEUE_READY, 1);
	EQUAL(reg_read(d, REG_QUEUE_READY), 1);
}

void device_start(struct device *d, uint64_t features, uint32_t queues)
{
	device_agree(d, features);
	for (uint32_t i = 0; i < queues; i++)
		queue_setup(d, i);
	reg_write(d, REG_STATUS, reg_read(d, REG_STATUS) | STATUS_DRIVER_OK);
}

void set_desc(struct queue *q, uint16_t i, const volatile void *data, uint32_t len,
	      uint16_t flags)
{
	q->desc[i].address = (uint64_t)data;
	q->desc[i].len = len;
	q->desc[i].flags = flags;
	q->desc[i].next = (uint16_t)(i + 1);
}

void queue_offer(struct queue *q, uint16_t head)
{
	q->avail[2 + q->next_avail % QUEUE_SIZE] = head;
	BARRIER();
	q->avail[1] = ++q->next_avail;
}

void queue_notify(const struct device *d, uint32_t q)
{
	reg_write(d, REG_NOTIFY, q);
}

uint32_t queue_wait(struct device *d, uint32_t n, uint16_t head)
{
	struct queue *q = &d->queues[n];
	const volatile uint32_t *ring = (const volatile uint32_t *)(q->used + 2);
	uint64_t start = tsc();
	uint32_t i;

	while (q->used[1] == q->next_used) {
		CHECK(tsc() - start < 60000000000u); /* the device gave nothing back */
		__asm__ volatile("pause");
	}
	i = q->next_used++ % QUEUE_SIZE;
	EQUAL(ring[i * 2], head);
	return ring[i * 2 + 1];
}

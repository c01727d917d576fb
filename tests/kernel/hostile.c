/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver that breaks the rules. Nothing of it may harm the host; the device may ask for a reset
 * or go on, and after a reset it works as before, which each check ends with. They take the source
 * of random numbers or the block device, as "device=" says by its type.
 */
#include "kernel.h"

#define INDIRECT_FEATURE ((uint64_t)1 << 28)

static struct device device;
static uint8_t data[4096] __attribute__((aligned(4096)));
static struct desc table[QUEUE_SIZE];
static uint32_t blk_header[4]; /* a read of the first sector */

static void begin(uint64_t features)
{
	device = device_find((uint32_t)option_number("device", VIRTIO_RNG), 0);
	device_start(&device, features, 1);
}

/* Give the device the time to see what was offered: by an exit or some, and by waiting a little. */
static void pass(uint32_t ms)
{
	uint64_t khz = cpuid(0x40000010, 0).eax, from = tsc();

	while (tsc() - from < khz * ms)
		reg_read(&device, REG_STATUS);
}

/* Offer what is in descriptor 0, and give it time. */
static void offer(void)
{
	queue_offer(&device.queues[0], 0);
	queue_notify(&device, 0);
	pass(20);
}

/* As every driver would from the beginning: the device does its work. */
static void works(void)
{
	struct queue *q = &device.queues[0];

	device_start(&device, 0, 1);
	if (device.type == VIRTIO_BLK) {
		data[512] = 0xff;
		set_desc(q, 0, blk_header, sizeof(blk_header), DESC_NEXT);
		set_desc(q, 1, data, 512, DESC_NEXT | DESC_WRITE);
		set_desc(q, 2, data + 512, 1, DESC_WRITE);
	} else {
		set_desc(q, 0, data, 16, DESC_WRITE);
	}
	queue_offer(q, 0);
	queue_notify(&device, 0);
	CHECK(queue_wait(&device, 0, 0) > 0);
	if (device.type == VIRTIO_BLK)
		EQUAL(data[512], 0);
}

/* It asked for a reset, and did nothing for the chain. */
static void needs_reset(void)
{
	uint64_t start = tsc();

	while (!(reg_read(&device, REG_STATUS) & STATUS_NEEDS_RESET))
		CHECK(tsc() - start < 60000000000u);
	EQUAL(device.queues[0].used[1], 0);
}

/* --- descriptors --- */

static void loop(void)
{
	begin(0);
	set_desc(&device.queues[0], 0, data, 16, DESC_WRITE | DESC_NEXT);
	set_desc(&device.queues[0], 1, data, 16, DESC_WRITE | DESC_NEXT);
	device.queues[0].desc[1].next = 0;
	offer();
	needs_reset();
	works();
}

static void range(void)
{
	static const struct {
		uint64_t address;
		uint32_t len;
	} bad[] = {
		{0x7fffffffffff0000, 16}, {0xfffffffffffffff0, 32}, {0xffffffffffffffff, 1},
		{0xfeb00000, 16}, /* a device */
		{0xfee00000, 16},	  {0xbffffff0, 0x20},	    {0, 0xffffffff},
	};

	begin(0);
	for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set_desc(&device.queues[0], 0, at(bad[i].address), bad[i].len, DESC_WRITE);
		offer();
		needs_reset();
		works();
		device_start(&device, 0, 1);
	}
	works();
}

static void head(void)
{
	begin(0);
	queue_offer(&device.queues[0], QUEUE_SIZE);
	queue_notify(&device, 0);
	needs_reset();
	works();
	begin(0);
	queue_offer(&device.queues[0], 0xffff);
	queue_notify(&device, 0);
	needs_reset();
	works();
}

static void next(void)
{
	begin(0);
	set_desc(&device.queues[0], 0, data, 16, DESC_WRITE | DESC_NEXT);
	device.queues[0].desc[0].next = 0xffff;
	offer();
	needs_reset();
	works();
}

/* Nothing to write to, or to read from where something must be: answered, or a reset. */
static void zero(void)
{
	begin(0);
	set_desc(&device.queues[0], 0, data, 0, DESC_WRITE);
	offer();
	works();
	begin(0);
	set_desc(&device.queues[0], 0, data, 0, 0);
	offer();
	works();
	begin(0);
	set_desc(&device.queues[0], 0, at(0xffffffffffffffff), 0, DESC_WRITE);
	offer();
	works();
}

/* What the device is to write to comes before what it is to read. */
static void order(void)
{
	begin(0);
	set_desc(&device.queues[0], 0, data, 16, DESC_WRITE | DESC_NEXT);
	set_desc(&device.queues[0], 1, data, 16, 0);
	offer();
	works();
}

static void indirect(void)
{
	static const struct {
		uint32_t len;	 /* of the table */
		uint16_t flags;	 /* of the descriptor that names it */
		uint16_t inside; /* flags of the table's first entry */
		uint16_t next;
	} bad[] = {
		{16, DESC_INDIRECT, DESC_INDIRECT | DESC_WRITE, 0}, /* nested */
		{15, DESC_INDIRECT, DESC_WRITE, 0},
		{0, DESC_INDIRECT, DESC_WRITE, 0},
		{0xfffffff0, DESC_INDIRECT, DESC_WRITE, 0},
		{32, DESC_INDIRECT, DESC_WRITE | DESC_NEXT, 0}, /* a loop */
		{32, DESC_INDIRECT, DESC_WRITE | DESC_NEXT, 77},
		{16, DESC_INDIRECT | DESC_NEXT, DESC_WRITE, 0},
	};

	begin(INDIRECT_FEATURE);
	for (uint32_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		table[0].address = (uint64_t)data;
		table[0].len = 16;
		table[0].flags = bad[i].inside;
		table[0].next = bad[i].next;
		set_desc(&device.queues[0], 0, table, bad[i].len, bad[i].flags);
		offer();
		needs_reset();
		device_start(&device, INDIRECT_FEATURE, 1);
	}
	set_desc(&device.queues[0], 0, at(0xfffffffffffffff0), 64, DESC_INDIRECT);
	offer();
	needs_reset();
	works();
	/* Not agreed on, but used. */
	begin(0);
	table[0].flags = DESC_WRITE;
	set_desc(&device.queues[0], 0, table, 16, DESC_INDIRECT);
	offer();
	works();
}

/* --- rings --- */

/* More than the queue holds are said to be new. */
static void jump(void)
{
	begin(0);
	set_desc(&device.queues[0], 0, data, 16, DESC_WRITE);
	device.queues[0].avail[1] = QUEUE_SIZE + 1;
	queue_notify(&device, 0);
	needs_reset();
	works();
	begin(0);
	device.queues[0].avail[1] = 0xffff;
	queue_notify(&device, 0);
	needs_reset();
	works();
}

static void place_queue(uint64_t desc, uint64_t avail, uint64_t used, uint32_t size)
{
	device_agree(&device, 0);
	reg_write(&device, REG_QUEUE, 0);
	reg_write(&device, REG_QUEUE_NUM, size);
	reg_write(&device, REG_DESC, (uint32_t)desc);
	reg_write(&device, REG_DESC + 4, (uint32_t)(desc >> 32));
	reg_write(&device, REG_AVAIL, (uint32_t)avail);
	reg_write(&device, REG_AVAIL + 4, (uint32_t)(avail >> 32));
	reg_write(&device, REG_USED, (uint32_t)used);
	reg_write(&device, REG_USED + 4, (uint32_t)(used >> 32));
	reg_write(&device, REG_QUEUE_READY, 1);
	reg_write(&device, REG_STATUS, reg_read(&device, REG_STATUS) | STATUS_DRIVER_OK);
	queue_notify(&device, 0);
	pass(5);
}

/* Queues that are not in memory, misaligned, of impossible sizes: by version 2's registers. */
static void queue(void)
{
	uint64_t ok = (uint64_t)data;

	begin(0);
	CHECK(device.version == 2);
	place_queue(0xfffffffffffff000, ok, ok + 1024, QUEUE_SIZE);
	place_queue(ok, 0xfffffffffffffffe, ok + 1024, QUEUE_SIZE);
	place_queue(ok, ok + 512, 0xfffffffffffffffc, QUEUE_SIZE);
	place_queue(0xfeb00000, 0xfeb00000, 0xfeb00000, QUEUE_SIZE);
	place_queue(ok + 1, ok + 513, ok + 1025, QUEUE_SIZE);
	place_queue(ok, ok + 512, ok + 1024, 0);
	place_queue(ok, ok + 512, ok + 1024, 3);
	place_queue(ok, ok + 512, ok + 1024, 0x10000);
	place_queue(ok, ok + 512, ok + 1024, 0xffffffff);
	/* Rings on top of each other: what the device writes changes what it reads. */
	place_queue(ok, ok, ok, QUEUE_SIZE);
	works();
}

/* Changed while it is in use. */
static void resize(void)
{
	begin(0);
	reg_write(&device, REG_QUEUE, 0);
	reg_write(&device, REG_QUEUE_NUM, 2);
	reg_write(&device, REG_DESC, 0xfffff000);
	reg_write(&device, REG_USED, 0xfffff000);
	set_desc(&device.queues[0], 0, data, 16, DESC_WRITE);
	offer();
	reg_write(&device, REG_QUEUE_READY, 0);
	queue_notify(&device, 0);
	pass(5);
	works();
}

/* A chain whose length changes while the device looks at it. */
static void change(void)
{
	begin(0);
	for (uint32_t i = 0; i < 50; i++) {
		struct queue *q = &device.queues[0];

		set_desc(q, 0, data, 16, DESC_WRITE);
		queue_offer(q, 0);
		queue_notify(&device, 0);
		for (uint32_t j = 0; j < 20; j++) {
			q->desc[0].len = 0xffffffff;
			q->desc[0].address = ~(uint64_t)j;
			BARRIER();
			q->desc[0].len = 16;
			q->desc[0].address = (uint64_t)data;
			BARRIER();
		}
		if (reg_read(&device, REG_STATUS) & STATUS_NEEDS_RESET)
			device_start(&device, 0, 1);
	}
	works();
}

/* --- registers --- */

static void notify(void)
{
	device = device_find((uint32_t)option_number("device", VIRTIO_RNG), 0);
	device_reset(&device);
	queue_notify(&device, 0); /* nothing is set up */
	device_agree(&device, 0);
	queue_notify(&device, 0);
	queue_notify(&device, 1);
	queue_notify(&device, 0xffff);
	queue_notify(&device, 0xffffffff);
	device_start(&device, 0, 1);
	queue_notify(&device, 33);
	works();
}

static void flood(void)
{
	begin(0);
	for (uint32_t i = 0; i < 2000; i++)
		queue_notify(&device, 0);
	works();
	/* Nobody takes the interrupts of these. */
	for (uint32_t i = 0; i < 100; i++) {
		set_desc(&device.queues[0], 0, data, 16, DESC_WRITE);
		queue_offer(&device.queues[0], 0);
		queue_notify(&device, 0);
		if (device.type == VIRTIO_RNG)
			queue_wait(&device, 0, 0);
		else
			works();
	}
	works();
}

/* All registers, in all widths, with and without a device in use. */
static void registers(void)
{
	static const uint32_t values[] = {0, 1, 0xffffffff, 0x80000000};

	begin(0);
	for (uint32_t offset = 0; offset < 0x200; offset += 4) {
		(void)*(volatile uint8_t *)at(device.base + offset + 1);
		(void)*(volatile uint16_t *)at(device.base + offset + 2);
		(void)*(volatile uint64_t *)at(device.base + (offset & ~7u));
		(void)*(volatile uint32_t *)at(device.base + offset + 1);
		*(volatile uint8_t *)at(device.base + offset) = 0xff;
		*(volatile uint16_t *)at(device.base + offset) = 0xffff;
		*(volatile uint64_t *)at(device.base + (offset & ~7u)) = ~(uint64_t)0;
		for (uint32_t i = 0; i < 4; i++) {
			(void)reg_read(&device, offset);
			reg_write(&device, offset, values[i]);
		}
	}
	works();
}

static void status(void)
{
	begin(0);
	for (uint32_t v = 0; v < 256; v += 5)
		reg_write(&device, REG_STATUS, v);
	reg_write(&device, REG_STATUS, 0xffffffff);
	works();
}

/* Reset while it is at work. */
static void reset(void)
{
	begin(0);
	for (uint32_t i = 0; i < 30; i++) {
		set_desc(&device.queues[0], 0, data, sizeof(data), DESC_WRITE);
		queue_offer(&device.queues[0], 0);
		queue_notify(&device, 0);
		device_start(&device, 0, 1);
	}
	works();
}

const struct check hostile_checks[] = {
	{"hostile-loop", loop},
	{"hostile-range", range},
	{"hostile-head", head},
	{"hostile-next", next},
	{"hostile-zero", zero},
	{"hostile-order", order},
	{"hostile-indirect", indirect},
	{"hostile-jump", jump},
	{"hostile-queue", queue},
	{"hostile-resize", resize},
	{"hostile-change", change},
	{"hostile-notify", notify},
	{"hostile-flood", flood},
	{"hostile-registers", registers},
	{"hostile-status", status},
	{"hostile-reset", reset},
	{NULL, NULL},
};

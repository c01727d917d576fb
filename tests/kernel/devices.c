/* SPDX-License-Identifier: Apache-2.0 */
/* Virtio devices, used as they are meant to be. */
#include "kernel.h"

#define SECTOR 512

/* --- registers and interrupts --- */

static void widths_of(const struct device *d)
{
	uint8_t bytes[8];
	volatile uint8_t *config = at(d->base + REG_CONFIG);

	CHECK(d->version == option_number("version", 2));
	/* Registers are 32 bits wide and nothing else. */
	EQUAL(*(volatile uint8_t *)at(d->base), 0);
	EQUAL(*(volatile uint16_t *)at(d->base), 0);
	EQUAL(reg_read(d, REG_MAGIC), 0x74726976);
	/* Configuration is the same in all widths. */
	for (uint32_t i = 0; i < 8; i++)
		bytes[i] = config[i];
	for (uint32_t i = 0; i < 8; i += 2)
		EQUAL(*(volatile uint16_t *)(config + i), bytes[i] | bytes[i + 1] << 8);
	for (uint32_t i = 0; i < 8; i += 4)
		EQUAL(*(volatile uint32_t *)(config + i),
		      bytes[i] | (uint32_t)bytes[i + 1] << 8 | (uint32_t)bytes[i + 2] << 16 |
			      (uint32_t)bytes[i + 3] << 24);
}

static void widths(void)
{
	uint32_t n = 0;

	for (struct device d = device_at(0); d.base; d = device_at(++n))
		widths_of(&d);
	CHECK(n > 0);
}

static uint8_t random_data[64];

static void rng_ask(struct device *d, uint32_t len)
{
	set_desc(&d->queues[0], 0, random_data, len, DESC_WRITE);
	queue_offer(&d->queues[0], 0);
	queue_notify(d, 0);
}

static void rng(void)
{
	struct device d = device_find(VIRTIO_RNG, 0);
	uint64_t any = 0;
	uint32_t len;

	device_start(&d, 0, 1);
	for (uint32_t round = 0; round < 40; round++) {
		random_data[32] = 0x5a;
		rng_ask(&d, 32);
		len = queue_wait(&d, 0, 0);
		CHECK(len > 0 && len <= 32);
		EQUAL(random_data[32], 0x5a);
		any |= *(uint64_t *)random_data;
	}
	CHECK(any != 0);
	print_hex(*(uint64_t *)random_data);
	print("\n");
}

/* An interrupt whose cause is not acknowledged comes again: it is a level. */
static struct device level_device;
static uint32_t level_times;

static void level_handler(uint32_t pin)
{
	EQUAL(pin, level_device.irq);
	EQUAL(reg_read(&level_device, REG_INTERRUPT), 1);
	if (++level_times == 3)
		reg_write(&level_device, REG_ACK, 1);
}

static void level(void)
{
	struct device *d = &level_device;

	level_device = device_find(VIRTIO_RNG, 0);
	interrupts_init();
	irq_handler = level_handler;
	irq_route(d->irq, true);
	device_start(d, 0, 1);
	rng_ask(d, 8);
	for (uint32_t i = 0; i < 3; i++)
		CHECK(wait_change(&irq_count[d->irq], i));
	queue_wait(d, 0, 0);
	EQUAL(reg_read(d, REG_INTERRUPT), 0);
	/* Acknowledged: no more, until there is another. */
	__asm__ volatile("sti; nop; nop; cli");
	EQUAL(irq_count[d->irq], 3);
	level_times = 2;
	/* One that comes while the pin is masked comes when it no longer is. */
	irq_mask(d->irq);
	rng_ask(d, 8);
	queue_wait(d, 0, 0);
	EQUAL(irq_count[d->irq], 3);
	irq_route(d->irq, true);
	CHECK(wait_change(&irq_count[d->irq], 3));
}

/* --- console: 5.3.4, emergency write --- */

static void emerg(void)
{
	struct device d = device_find(VIRTIO_CONSOLE, 0);

	CHECK(device_features(&d) & 4);
	for (const char *s = "emergency\n"; *s; s++)
		reg_write(&d, REG_CONFIG + 8, (uint8_t)*s);
}

/* Port 0's output queue is the second. */
static void console(void)
{
	static char text[] = "by the queue\n";
	struct device d = device_find(VIRTIO_CONSOLE, 0);

	device_start(&d, 0, 2);
	set_desc(&d.queues[1], 0, text, sizeof(text) - 1, 0);
	queue_offer(&d.queues[1], 0);
	queue_notify(&d, 1);
	EQUAL(queue_wait(&d, 1, 0), 0);
}

/* --- block: 5.2 --- */

#define BLK_IN 0
#define BLK_OUT 1
#define BLK_FLUSH 4
#define BLK_GET_ID 8
#define BLK_FEATURE_SEG_MAX 0x4
#define BLK_FEATURE_RO 0x20
#define BLK_FEATURE_SIZE 0x40
#define BLK_FEATURE_FLUSH 0x200

static struct {
	uint32_t type, reserved;
	uint64_t sector;
} blk_header;
static uint8_t blk_data[4 * SECTOR] __attribute__((aligned(SECTOR)));
static volatile uint8_t blk_status;

static uint8_t blk_do(struct device *d, uint32_t type, uint64_t sector, uint32_t len)
{
	struct queue *q = &d->queues[0];
	uint16_t write = type == BLK_OUT ? 0 : DESC_WRITE;

	blk_header.type = type;
	blk_header.sector = sector;
	blk_status = 0xff;
	set_desc(q, 0, &blk_header, sizeof(blk_header), DESC_NEXT);
	set_desc(q, 1, blk_data, len, (uint16_t)(DESC_NEXT | write));
	set_desc(q, 2, &blk_status, 1, DESC_WRITE);
	if (len == 0)
		q->desc[0].next = 2;
	queue_offer(q, 0);
	queue_notify(d, 0);
	EQUAL(queue_wait(d, 0, 0), (write ? len : 0) + 1);
	return blk_status;
}

static uint64_t blk_capacity(const struct device *d)
{
	return *(volatile uint32_t *)at(d->base + REG_CONFIG) |
	       (uint64_t) * (volatile uint32_t *)at(d->base + REG_CONFIG + 4) << 32;
}

/* The disk's first sector begins with "mayfly"; its last is written, read back, and stays so. */
static void blk(void)
{
	struct device d = device_find(VIRTIO_BLK, 0);
	uint64_t capacity = blk_capacity(&d), features = device_features(&d);

	CHECK(features & BLK_FEATURE_SEG_MAX);
	CHECK(features & BLK_FEATURE_SIZE);
	CHECK(features & BLK_FEATURE_FLUSH);
	EQUAL(capacity, option_number("sectors", 0));
	device_start(&d, BLK_FEATURE_FLUSH, 1);
	EQUAL(blk_do(&d, BLK_IN, 0, SECTOR), 0);
	CHECK(starts_with((const char *)blk_data, "mayfly"));
	for (uint32_t i = 0; i < SECTOR; i++)
		blk_data[i] = (uint8_t)(i * 7);
	EQUAL(blk_do(&d, BLK_OUT, capacity - 1, SECTOR), 0);
	EQUAL(blk_do(&d, BLK_FLUSH, 0, 0), 0);
	memset(blk_data, 0, sizeof(blk_data));
	EQUAL(blk_do(&d, BLK_IN, capacity - 2, 2 * SECTOR), 0);
	for (uint32_t i = 0; i < SECTOR; i++)
		EQUAL(blk_data[SECTOR + i], (uint8_t)(i * 7));
	EQUAL(blk_do(&d, BLK_GET_ID, 0, 20), 0);
}

/* Writes to an overlay of `room` sectors fail once that is full; what was written stays. */
static void blk_overlay(void)
{
	struct device d = device_find(VIRTIO_BLK, 0);
	uint64_t capacity = blk_capacity(&d), room = option_number("room", 0), written = 0;

	device_start(&d, BLK_FEATURE_FLUSH, 1);
	while (written < capacity) {
		uint8_t status;

		memset(blk_data, (int)(written % 251), SECTOR);
		status = blk_do(&d, BLK_OUT, written, SECTOR);
		if (status != 0) {
			EQUAL(status, 1);
			break;
		}
		written++;
	}
	EQUAL(written, room);
	for (uint64_t i = 0; i < written; i++) {
		EQUAL(blk_do(&d, BLK_IN, i, SECTOR), 0);
		EQUAL(blk_data[SECTOR - 1], i % 251);
	}
}

static void blk_serial(void)
{
	struct device d = device_find(VIRTIO_BLK, 0);

	device_start(&d, BLK_FEATURE_FLUSH, 1);
	EQUAL(blk_do(&d, BLK_GET_ID, 0, 20), 0);
	CHECK(starts_with((const char *)blk_data, "number-5"));
}

/* Requests that cannot be served are answered with an error: 1, or 2 for what is not known. */
static void blk_errors(void)
{
	static const struct {
		uint32_t type;
		uint32_t len;
		uint64_t back, sector; /* from the end, or if that is 0 from the start */
		uint8_t status;
	} requests[] = {
		{BLK_IN, 2 * SECTOR, 1, 0, 1},
		{BLK_OUT, 2 * SECTOR, 1, 0, 1},
		{BLK_IN, SECTOR, 0, 0xffffffffffffffff, 1},
		{BLK_OUT, SECTOR, 0, 0xffffffffffffffff, 1},
		{BLK_OUT, SECTOR, 0, 0x80000000000000, 1},
		{BLK_OUT, 511, 0, 0, 1},
		{77, SECTOR, 0, 0, 2},
	};
	struct device d = device_find(VIRTIO_BLK, 0);
	uint64_t capacity = blk_capacity(&d);

	device_start(&d, BLK_FEATURE_FLUSH, 1);
	for (uint32_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		struct queue *q = &d.queues[0];
		uint16_t write = requests[i].type == BLK_OUT ? 0 : DESC_WRITE;

		blk_header.type = requests[i].type;
		blk_header.sector =
			requests[i].back ? capacity - requests[i].back : requests[i].sector;
		blk_status = 0xff;
		set_desc(q, 0, &blk_header, sizeof(blk_header), DESC_NEXT);
		set_desc(q, 1, blk_data, requests[i].len, (uint16_t)(DESC_NEXT | write));
		set_desc(q, 2, &blk_status, 1, DESC_WRITE);
		queue_offer(q, 0);
		queue_notify(&d, 0);
		queue_wait(&d, 0, 0);
		EQUAL(blk_status, requests[i].status);
	}
	EQUAL(blk_do(&d, BLK_IN, 0, SECTOR), 0);
}

static void blk_readonly(void)
{
	struct device d = device_find(VIRTIO_BLK, 0);

	CHECK(device_features(&d) & BLK_FEATURE_RO);
	device_start(&d, BLK_FEATURE_RO, 1);
	EQUAL(blk_do(&d, BLK_IN, 0, SECTOR), 0);
	CHECK(starts_with((const char *)blk_data, "mayfly"));
	blk_data[0] = 'x';
	EQUAL(blk_do(&d, BLK_OUT, 0, SECTOR), 1);
}

/* --- network: 5.1; asks the gateway 10.0.2.2 for its Ethernet address (RFC 826) --- */

static struct {
	uint8_t header[12];
	uint8_t frame[1514 + 6];
} __attribute__((packed)) net_in, net_out;

static void net(void)
{
	static const uint8_t request[] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0,	0, 0, 0,  0, 0, 8, 6, /* Ethernet */
		0,    1,    8,	  0,	6,    4,    0,	1,		      /* request */
		0,    0,    0,	  0,	0,    0,    10, 0, 2, 15,	      /* from */
		0,    0,    0,	  0,	0,    0,    10, 0, 2, 2};	      /* for */
	struct device d = device_find(VIRTIO_NET, 0);
	uint32_t header = d.version == 2 ? 12 : 10, len;
	uint8_t *sent = net_out.header + header, *got = net_in.header + header;

	device_start(&d, 1 << 5, 2); /* it says its address */
	memcpy(sent, request, sizeof(request));
	for (uint32_t i = 0; i < 6; i++)
		sent[6 + i] = sent[22 + i] = config8(&d, i);
	set_desc(&d.queues[0], 0, &net_in, sizeof(net_in), DESC_WRITE);
	queue_offer(&d.queues[0], 0);
	queue_notify(&d, 0);
	set_desc(&d.queues[1], 0, &net_out, header + 60, 0);
	queue_offer(&d.queues[1], 0);
	queue_notify(&d, 1);
	queue_wait(&d, 1, 0);
	len = queue_wait(&d, 0, 0);
	CHECK(len >= header + 42);
	CHECK(got[12] == 8 && got[13] == 6 && got[21] == 2); /* an answer */
	CHECK(got[28] == 10 && got[29] == 0 && got[30] == 2 && got[31] == 2);
	for (uint32_t i = 0; i < 6; i++)
		EQUAL(got[i], sent[6 + i]);
}

const struct check device_checks[] = {
	{"widths", widths},
	{"rng", rng},
	{"level", level},
	{"emerg", emerg},
	{"console", console},
	{"blk", blk},
	{"blk-errors", blk_errors},
	{"blk-readonly", blk_readonly},
	{"blk-overlay", blk_overlay},
	{"blk-serial", blk_serial},
	{"net", net},
	{NULL, NULL},
};

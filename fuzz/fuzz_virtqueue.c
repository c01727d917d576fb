/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile driver: registers, rings, notifications, snapshots of a disk or a random number
 * generator. Nothing outside of the guest's memory and of the disk is touched, each chain comes
 * back once, the interrupt line says what the status says, and every turn of the loop ends.
 */
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "virtio/blk.h"
#include "virtio/rng.h"
#include "virtio_driver.h"
#include "virtqueue_input.h"

#define MAX_STEPS 400
#define MAX_TURNS 100
#define QUEUE_SIZE 64
#define DISK ((uint64_t)60 * 512) /* no multiple of a page */

struct input {
	const uint8_t *data;
	size_t left;
};

static struct driver d;
static struct driver_queue q;
static uint8_t kind;
static bool forged; /* the indices of the rings may be the snapshot's */
static int disk = -1;
static uint8_t blank[DISK];

static uint8_t next(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->data++;
}

static uint32_t next_n(struct input *in, int bytes)
{
	uint32_t v = 0;

	for (int i = 0; i < bytes; i++)
		v |= (uint32_t)next(in) << (8 * i);
	return v;
}

static uint64_t next_place(struct input *in)
{
	static const uint64_t places[PLACES] = {[PLACE_RINGS] = 0x1000,
						[PLACE_HEADER] = 0x8000,
						[PLACE_STATUS] = 0x9000,
						[PLACE_TABLE] = 0xa000,
						[PLACE_DATA] = 0x20000,
						[PLACE_EDGE] = DRIVER_LOW - 8,
						[PLACE_HOLE] = RAM_HIGH - 8,
						[PLACE_HIGH] = RAM_HIGH,
						[PLACE_END] = RAM_HIGH + DRIVER_HIGH - 8,
						[PLACE_WRAP] = UINT64_MAX - 7};
	uint8_t byte = next(in);
	uint64_t place = places[(byte >> 4) % PLACES];

	return place + (byte & 15u) * (place % 16 ? 1 : 512);
}

/* --- the machine -------------------------------------------------------------------------- */

static void open_disk(void)
{
	disk = memfd_create("disk", MFD_CLOEXEC);
	CHECK(disk >= 0);
	for (uint64_t i = 0; i < DISK; i++)
		blank[i] = (uint8_t)(i * 7 + i / 512);
}

static void start_machine(void)
{
	char path[64];
	struct blk_config config = {.path = path, .overlay_limit = DISK / 2};
	struct virtio_device *dev;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
	config.flags =
		(kind & VQ_OVERLAY ? BLK_OVERLAY : 0) | (kind & VQ_READONLY ? BLK_READONLY : 0);
	CHECK((kind & VQ_RNG ? rng_new(&dev, NULL) : blk_new(&config, &dev, NULL)) == 0);
	driver_init(&d, dev, kind & VQ_LEGACY);
	q.ram = &d.memory.ram;
}

static void check_disk(void)
{
	uint8_t now[DISK];
	struct stat st;

	CHECK(fstat(disk, &st) == 0 && st.st_size == (off_t)DISK);
	if (!(kind & (VQ_OVERLAY | VQ_READONLY)))
		return;
	CHECK(pread(disk, now, DISK, 0) == (ssize_t)DISK);
	CHECK(memcmp(now, blank, DISK) == 0);
}

/* Between two turns. */
static void check_machine(void)
{
	const struct virtio_device *dev = d.dev;

	for (uint16_t i = 0; i < dev->nqueues; i++) {
		const struct virtq *v = &dev->queues[i];

		CHECK(v->in_flight == 0);
		if (v->ready) {
			CHECK(v->size && v->size <= v->max_size);
			CHECK(!(v->size & (v->size - 1)));
			CHECK(v->next_avail == v->next_used || v->broken || forged);
		}
		if (v->broken)
			CHECK(dev->status & VIRTIO_NEEDS_RESET);
	}
	CHECK(dev->started == ((dev->status & VIRTIO_DRIVER_OK) != 0));
	CHECK(d.level == (driver_read(&d, VIRTIO_MMIO_INTERRUPT_STATUS) != 0));
}

static void run(void)
{
	int turns = 0;

	/* A driver that offers nothing more is served in the end. */
	while (driver_due(&d) && turns++ < MAX_TURNS)
		driver_turn(&d);
	CHECK(turns <= MAX_TURNS);
}

/* A snapshot, with one byte changed by `damage`, and a new machine from it. */
static void save_and_load(size_t at, uint8_t damage)
{
	uint8_t *copy = malloc(d.memory.ram.len);
	struct writer w = {0}, again = {0};
	struct reader r;
	mayfly_error err;
	int result;

	CHECK(copy);
	virtio_mmio_save(d.t, &w);
	CHECK(!w.failed);
	w.data[at % w.len] ^= damage;
	memcpy(copy, d.memory.ram.mem, d.memory.ram.len);
	driver_fini(&d);
	start_machine();
	memcpy(d.memory.ram.mem, copy, d.memory.ram.len);
	free(copy);
	r = (struct reader){w.data, w.len, false};
	result = virtio_mmio_load(d.t, &r, &err);
	CHECK(damage || result == 0);
	if (result < 0) {
		CHECK(err.code == result && err.message[0]);
		fuzz_check_text(err.message);
		driver_fini(&d);
		start_machine();
	} else if (damage) {
		forged = true;
	} else {
		CHECK(r.left == 0);
		virtio_mmio_save(d.t, &again);
		CHECK(again.len == w.len && memcmp(again.data, w.data, w.len) == 0);
	}
	virtio_mmio_resume(d.t);
	free(again.data);
	free(w.data);
}

/* --- steps -------------------------------------------------------------------------------- */

static void start_driver(uint64_t features)
{
	driver_queue_init(&q, &d.memory.ram, 0x1000, QUEUE_SIZE);
	driver_negotiate(&d, features);
	if (kind & VQ_LEGACY) {
		driver_write(&d, VIRTIO_MMIO_GUEST_PAGE_SIZE, 4096);
		driver_write(&d, VIRTIO_MMIO_QUEUE_SEL, 0);
		driver_write(&d, VIRTIO_MMIO_QUEUE_NUM, QUEUE_SIZE);
		driver_write(&d, VIRTIO_MMIO_QUEUE_ALIGN, 16);
		driver_write(&d, VIRTIO_MMIO_QUEUE_PFN, 1);
	} else {
		driver_set_queue(&d, 0, &q);
	}
	driver_go(&d);
}

static void put_desc(struct input *in)
{
	uint64_t table = next(in) ? 0xa000 : 0x1000;
	uint8_t index = next(in);
	struct driver_piece piece = {.at = next_place(in)};
	uint8_t flags;

	piece.len = next_n(in, 2);
	flags = next(in);
	/* The highest ones stand for lengths of many bytes. */
	if (flags & 0x80)
		piece.len <<= 16;
	driver_desc(&d.memory.ram, table, index % QUEUE_SIZE, &piece, flags & 15u, next(in));
}

static void put_chain(struct input *in)
{
	uint32_t len = (next(in) % 64u) * 512u;
	uint8_t flags = next(in);
	struct driver_piece pieces[3] = {{0x8000, 16, false}};
	uint32_t n = 1;

	if (len)
		pieces[n++] = (struct driver_piece){0x20000, len, !(flags & 1)};
	pieces[n++] = (struct driver_piece){0x9000, 1, true};
	if (flags & 2)
		driver_indirect(&q, 0xa000, pieces, n);
	else
		driver_chain(&q, pieces, n);
}

static void put_header(struct input *in)
{
	struct virtio_blk_outhdr header = {.type = next(in)};
	uint8_t sector = next(in);

	header.sector = sector == 255 ? UINT64_MAX : sector;
	memcpy(driver_at(&d.memory.ram, 0x8000, sizeof(header)), &header, sizeof(header));
}

static void put_range(struct input *in)
{
	struct virtio_blk_discard_write_zeroes range = {.sector = next(in)};

	range.num_sectors = next(in);
	range.flags = next(in);
	memcpy(driver_at(&d.memory.ram, 0x20000, sizeof(range)), &range, sizeof(range));
}

static void poke(struct input *in)
{
	uint64_t at = next_place(in) + next(in);
	uint32_t value = next_n(in, 4);

	ram_write(&d.memory.ram, gpa(at), &value, sizeof(value));
}

static void access_bus(struct input *in, bool write)
{
	uint64_t at = DRIVER_BASE + next_n(in, 2) % VIRTIO_MMIO_LEN;
	uint32_t width = 1u << (next(in) % 4);

	if (write)
		bus_write(&d.bus, at, width, next_n(in, 4) * 0x100000001u);
	else
		bus_read(&d.bus, at, width);
}

static void step(struct input *in)
{
	uint8_t what = next(in) % STEPS, byte;
	size_t at;

	switch (what) {
	case STEP_WRITE:
		byte = next(in);
		driver_write(&d, byte % 64u * 4u, next_n(in, 4));
		break;
	case STEP_READ:
	case STEP_STORE:
		access_bus(in, what == STEP_STORE);
		break;
	case STEP_START:
		/* Of the device's own bits and the ring's, one each. */
		byte = next(in);
		start_driver(driver_features(&d) & ~((uint64_t)(byte & 15) << 8) &
			     ~((uint64_t)(byte >> 4) << 28));
		break;
	case STEP_DESC:
		put_desc(in);
		break;
	case STEP_OFFER:
		driver_offer(&q, next(in));
		break;
	case STEP_NOTIFY:
		driver_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, next(in));
		driver_turn(&d);
		break;
	case STEP_RUN:
		driver_write(&d, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
		run();
		break;
	case STEP_POKE:
		poke(in);
		break;
	case STEP_HEADER:
		put_header(in);
		break;
	case STEP_RANGE:
		put_range(in);
		break;
	case STEP_INDEX:
		q.avail_idx = (uint16_t)(next_n(in, 2) - 1);
		driver_offer(&q, q.avail_idx % QUEUE_SIZE);
		break;
	case STEP_CHAIN:
		put_chain(in);
		break;
	case STEP_SAVE:
		save_and_load(0, 0);
		break;
	default:
		at = next_n(in, 2);
		save_and_load(at, next(in));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	if (disk < 0)
		open_disk();
	CHECK(pwrite(disk, blank, DISK, 0) == (ssize_t)DISK);
	kind = next(&in);
	forged = false;
	start_machine();
	driver_queue_init(&q, &d.memory.ram, 0x1000, QUEUE_SIZE);
	for (int i = 0; i < MAX_STEPS && in.left; i++) {
		step(&in);
		check_machine();
	}
	driver_write(&d, VIRTIO_MMIO_STATUS, 0);
	check_machine();
	CHECK(!d.level && !d.dev->status);
	check_disk();
	driver_fini(&d);
	return 0;
}

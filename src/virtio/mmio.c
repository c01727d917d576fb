/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three locks, taken in this order: `control`, by a vCPU that changes the device's status or
 * whether a queue is ready, for as long as that takes; the device's `lock`; `line`, for the
 * interrupt. Where the device is started, such changes are made on the device thread
 * (loop_call()), so that it never sees a queue change that it works with; the vCPU that waits
 * for it holds `control` only, which the device thread never takes.
 */
#include "virtio/mmio.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAGIC 0x74726976u  /* "virt" */
#define VENDOR 0x4c46594du /* "MYFL" */

#define LEGACY_MIN_ALIGN 4u

struct notifier {
	struct virtio_mmio *t;
	uint16_t queue;
	int fd;
	struct loop_source *source;
};

struct virtio_mmio {
	struct virtio_device *dev; /* owned */
	bool legacy;
	pthread_mutex_t control;

	/* Under dev->lock. */
	uint32_t device_features_sel, driver_features_sel, queue_sel;
	uint64_t driver_features;
	uint32_t generation;
	uint32_t page_size; /* legacy: GuestPageSize, 0: not told */
	/* Legacy: QueueAlign and QueuePFN. */
	uint32_t align[VIRTIO_MAX_QUEUES], pfn[VIRTIO_MAX_QUEUES];

	struct irq_line irq;
	pthread_mutex_t line;
	_Atomic(uint32_t) interrupts; /* InterruptStatus; written under `line` */

	struct notifier notifiers[VIRTIO_MAX_QUEUES];
};

static uint64_t bit(unsigned int n)
{
	return (uint64_t)1 << n;
}

/* --- interrupts --------------------------------------------------------------------------- */

static void change_interrupts(struct virtio_mmio *t, uint32_t set, uint32_t clear)
{
	uint32_t old, now;

	pthread_mutex_lock(&t->line);
	old = atomic_load(&t->interrupts);
	now = (old | set) & ~clear;
	atomic_store(&t->interrupts, now);
	if (!old != !now)
		t->irq.set(t->irq.context, t->irq.irq, now != 0);
	pthread_mutex_unlock(&t->line);
}

static void interrupt_queue(struct virtio_device *dev, uint16_t queue)
{
	(void)queue;
	change_interrupts(dev->transport_state, VIRTIO_MMIO_INT_VRING, 0);
}

static void interrupt_config(struct virtio_device *dev)
{
	struct virtio_mmio *t = dev->transport_state;

	t->generation++;
	if (dev->status & VIRTIO_DRIVER_OK)
		change_interrupts(t, VIRTIO_MMIO_INT_CONFIG, 0);
}

/* --- notifications ------------------------------------------------------------------------ */

static void notify(struct virtio_mmio *t, uint32_t queue)
{
	uint64_t one = 1;

	/* EAGAIN: 2^64-2 of them are waiting. */
	if (queue < t->dev->nqueues)
		while (write(t->notifiers[queue].fd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
}

static void notify_again(struct virtio_device *dev, uint16_t queue)
{
	notify(dev->transport_state, queue);
}

static const struct virtio_transport_ops transport_ops = {
	.interrupt_queue = interrupt_queue,
	.interrupt_config = interrupt_config,
	.notify_again = notify_again,
};

static void on_notify(void *context, uint32_t events)
{
	struct notifier *n = context;
	struct virtio_device *dev = n->t->dev;
	uint64_t count;
	bool use;

	(void)events;
	if (read(n->fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&dev->lock);
	use = dev->started && dev->queues[n->queue].ready && !dev->queues[n->queue].broken;
	pthread_mutex_unlock(&dev->lock);
	if (!use)
		return;
	/* Still so: it is this thread that stops devices. */
	dev->ops->notify(dev, n->queue);
	pthread_mutex_lock(&dev->lock);
	virtio_device_check(dev);
	pthread_mutex_unlock(&dev->lock);
}

/* --- status (2.1, 3.1) -------------------------------------------------------------------- */

static uint64_t offered(const struct virtio_mmio *t)
{
	uint64_t all = t->dev->offered | VIRTIO_RING_INDIRECT | VIRTIO_RING_EVENT_IDX;

	/* 6.3: to drivers of old, that the parts of a request may be in any pieces. */
	if (t->legacy)
		return (all | bit(VIRTIO_F_ANY_LAYOUT)) & UINT32_MAX;
	return all | VIRTIO_VERSION_1;
}

static void use_features(struct virtio_device *dev)
{
	for (uint16_t i = 0; i < dev->nqueues; i++)
		dev->queues[i].event_idx = dev->features & VIRTIO_RING_EVENT_IDX;
}

/* On the device thread, like the next two. */
static void start(void *context, uint32_t events)
{
	struct virtio_mmio *t = context;
	struct virtio_device *dev = t->dev;

	(void)events;
	pthread_mutex_lock(&dev->lock);
	use_features(dev);
	dev->status |= VIRTIO_DRIVER_OK;
	dev->started = true;
	dev->ops->start(dev);
	virtio_device_check(dev);
	/* Some drivers have put chains there already; after a restore, so have all. */
	for (uint16_t i = 0; i < dev->nqueues; i++)
		if (virtq_pending(&dev->queues[i]))
			notify(t, i);
	pthread_mutex_unlock(&dev->lock);
}

static void reset(void *context, uint32_t events)
{
	struct virtio_mmio *t = context;
	struct virtio_device *dev = t->dev;

	(void)events;
	pthread_mutex_lock(&dev->lock);
	if (dev->started)
		dev->ops->stop(dev);
	dev->started = false;
	dev->status = 0;
	dev->broken = NULL;
	dev->features = 0;
	for (uint16_t i = 0; i < dev->nqueues; i++)
		virtq_reset(&dev->queues[i]);
	t->device_features_sel = 0;
	t->driver_features_sel = 0;
	t->queue_sel = 0;
	t->driver_features = 0;
	t->page_size = 0;
	memset(t->align, 0, sizeof(t->align));
	memset(t->pfn, 0, sizeof(t->pfn));
	change_interrupts(t, 0, UINT32_MAX);
	pthread_mutex_unlock(&dev->lock);
}

/* `control` held. Run it where nothing happens at the same time. */
static void control(struct virtio_mmio *t, loop_fn fn, void *context)
{
	bool started;

	pthread_mutex_lock(&t->dev->lock);
	started = t->dev->started;
	pthread_mutex_unlock(&t->dev->lock);
	if (started)
		loop_call(t->dev->loop, fn, context);
	else
		fn(context, 0);
}

/* 3.1.1, 6.1: whether the device can be driven with what the driver knows of. */
static bool features_fit(const struct virtio_mmio *t)
{
	if (t->driver_features & ~offered(t))
		return false;
	return t->legacy || t->driver_features & VIRTIO_VERSION_1;
}

/* Whether the device is to be started now. */
static bool add_status(struct virtio_mmio *t, uint32_t value)
{
	struct virtio_device *dev = t->dev;
	uint8_t add = (uint8_t)value & (uint8_t)~VIRTIO_NEEDS_RESET & (uint8_t)~dev->status;

	if (add & VIRTIO_FEATURES_OK) {
		if (features_fit(t))
			dev->features = t->driver_features;
		else
			add &= (uint8_t)~VIRTIO_FEATURES_OK;
	}
	dev->status |= add & (uint8_t)~VIRTIO_DRIVER_OK;
	if (!(add & VIRTIO_DRIVER_OK))
		return false;
	if (t->legacy)
		dev->features = t->driver_features & offered(t);
	return t->legacy || dev->status & VIRTIO_FEATURES_OK;
}

static void write_status(struct virtio_mmio *t, uint32_t value)
{
	bool begin;

	pthread_mutex_lock(&t->control);
	if (!(value & UINT8_MAX)) {
		control(t, reset, t);
	} else {
		pthread_mutex_lock(&t->dev->lock);
		begin = add_status(t, value);
		pthread_mutex_unlock(&t->dev->lock);
		if (begin)
			loop_call(t->dev->loop, start, t);
	}
	pthread_mutex_unlock(&t->control);
}

/* --- queues ------------------------------------------------------------------------------- */

/* The queue that is selected, or NULL. */
static struct virtq *selected(struct virtio_mmio *t)
{
	return t->queue_sel < t->dev->nqueues ? &t->dev->queues[t->queue_sel] : NULL;
}

/* The one whose set-up may be changed. */
static struct virtq *idle_queue(struct virtio_mmio *t)
{
	struct virtq *q = selected(t);

	return q && !q->ready ? q : NULL;
}

/* 2.7.2: how drivers of old lay out a queue in one piece. */
static void place_legacy(struct virtio_mmio *t, struct virtq *q)
{
	uint64_t align = t->align[t->queue_sel];
	uint64_t size = q->size;

	/* Both are less than 2^32. */
	q->desc = (uint64_t)t->pfn[t->queue_sel] * t->page_size;
	q->avail = q->desc + 16 * size;
	q->used = q->avail + 6 + 2 * size;
	if (align < LEGACY_MIN_ALIGN || align & (align - 1))
		virtq_break(q, "QueueAlign is no power of two");
	else
		q->used = (q->used + align - 1) & ~(align - 1);
}

struct readiness {
	struct virtio_mmio *t;
	uint32_t value; /* QueueReady's or QueuePFN's */
};

static void change_ready(void *context, uint32_t events)
{
	struct readiness *r = context;
	struct virtio_device *dev = r->t->dev;
	struct virtq *q;

	(void)events;
	pthread_mutex_lock(&dev->lock);
	q = selected(r->t);
	if (q && !r->value) {
		virtq_reset(q);
		r->t->pfn[r->t->queue_sel] = 0;
	} else if (q && !q->ready) {
		if (r->t->legacy) {
			r->t->pfn[r->t->queue_sel] = r->value;
			place_legacy(r->t, q);
		}
		use_features(dev);
		if (!q->broken)
			virtq_enable(q);
		virtio_device_check(dev);
		if (dev->started && virtq_pending(q))
			notify(r->t, r->t->queue_sel);
	}
	pthread_mutex_unlock(&dev->lock);
}

static void write_ready(struct virtio_mmio *t, uint32_t value)
{
	struct readiness r = {t, value};

	pthread_mutex_lock(&t->control);
	control(t, change_ready, &r);
	pthread_mutex_unlock(&t->control);
}

static void set_low(uint64_t *address, uint32_t value)
{
	*address = (*address & ~(uint64_t)UINT32_MAX) | value;
}

static void set_high(uint64_t *address, uint32_t value)
{
	*address = (*address & UINT32_MAX) | (uint64_t)value << 32;
}

/* Of the selected queue, which is not in use. */
static void write_queue(struct virtio_mmio *t, struct virtq *q, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		/* What does not fit, no check lets through. */
		q->size = value <= VIRTQ_MAX_SIZE ? (uint16_t)value : 0;
		return;
	case VIRTIO_MMIO_QUEUE_ALIGN:
		t->align[t->queue_sel] = value;
		return;
	default:
		break;
	}
	if (t->legacy)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
		set_low(&q->desc, value);
		break;
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_high(&q->desc, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
		set_low(&q->avail, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_high(&q->avail, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
		set_low(&q->used, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_high(&q->used, value);
		break;
	default:
		break;
	}
}

/* --- registers (4.2.2, 4.2.4) ------------------------------------------------------------- */

static void write_features(struct virtio_mmio *t, uint32_t value)
{
	uint8_t fixed = t->legacy ? VIRTIO_DRIVER_OK : VIRTIO_FEATURES_OK;

	if (t->dev->status & fixed)
		return;
	if (t->driver_features_sel == 0)
		set_low(&t->driver_features, value);
	else if (t->driver_features_sel == 1)
		set_high(&t->driver_features, value);
	if (t->legacy)
		t->dev->features = t->driver_features & offered(t);
}

/* dev->lock held. */
static void write_register(struct virtio_mmio *t, uint64_t offset, uint32_t value)
{
	struct virtq *q;

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		t->device_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		t->driver_features_sel = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		write_features(t, value);
		break;
	case VIRTIO_MMIO_GUEST_PAGE_SIZE:
		if (t->legacy)
			t->page_size = value;
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		t->queue_sel = value;
		break;
	default:
		q = idle_queue(t);
		if (q)
			write_queue(t, q, offset, value);
		break;
	}
}

static uint32_t read_features(const struct virtio_mmio *t)
{
	return t->device_features_sel < 2
		       ? (uint32_t)(offered(t) >> (32 * t->device_features_sel))
		       : 0;
}

/* dev->lock held. */
static uint32_t read_register(struct virtio_mmio *t, uint64_t offset)
{
	const struct virtq *q = selected(t);

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return read_features(t);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q ? q->max_size : 0;
	case VIRTIO_MMIO_QUEUE_PFN:
		return t->legacy && q ? t->pfn[t->queue_sel] : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return !t->legacy && q && q->ready;
	case VIRTIO_MMIO_STATUS:
		return t->dev->status;
	/* 4.2.2: regions of shared memory that do not exist are -1 long. */
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return t->legacy ? 0 : UINT32_MAX;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return t->legacy ? 0 : t->generation;
	default:
		return 0;
	}
}

/* What of [offset, offset+len) is configuration, from its beginning. */
static uint32_t config_part(const struct virtio_device *dev, uint64_t offset, uint32_t len)
{
	if (offset >= dev->config_len)
		return 0;
	return dev->config_len - offset < len ? dev->config_len - (uint32_t)offset : len;
}

static uint64_t read_config(struct virtio_device *dev, uint64_t offset, uint32_t len)
{
	uint32_t n = config_part(dev, offset, len);
	uint64_t value = 0;

	if (!n || !dev->ops->config_read)
		return 0;
	pthread_mutex_lock(&dev->lock);
	dev->ops->config_read(dev, (uint32_t)offset, (uint8_t *)&value, n);
	pthread_mutex_unlock(&dev->lock);
	return value;
}

static void write_config(struct virtio_device *dev, uint64_t offset, uint32_t len,
			 uint64_t value)
{
	uint32_t n = config_part(dev, offset, len);

	if (!n || !dev->ops->config_write)
		return;
	pthread_mutex_lock(&dev->lock);
	dev->ops->config_write(dev, (uint32_t)offset, (const uint8_t *)&value, n);
	pthread_mutex_unlock(&dev->lock);
}

static uint64_t mmio_read(void *device, uint64_t offset, uint32_t len)
{
	struct virtio_mmio *t = device;
	uint32_t value;

	if (offset >= VIRTIO_MMIO_CONFIG)
		return read_config(t->dev, offset - VIRTIO_MMIO_CONFIG, len);
	if (len != sizeof(value) || offset % sizeof(value))
		return 0;
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return t->legacy ? 1 : 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return t->dev->ops->type;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return atomic_load(&t->interrupts);
	default:
		pthread_mutex_lock(&t->dev->lock);
		value = read_register(t, offset);
		pthread_mutex_unlock(&t->dev->lock);
		return value;
	}
}

static void mmio_write(void *device, uint64_t offset, uint32_t len, uint64_t value)
{
	struct virtio_mmio *t = device;
	uint32_t v = (uint32_t)value;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		write_config(t->dev, offset - VIRTIO_MMIO_CONFIG, len, value);
		return;
	}
	if (len != sizeof(v) || offset % sizeof(v))
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		notify(t, v);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		change_interrupts(t, 0, v);
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(t, v);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		if (!t->legacy)
			write_ready(t, v & 1);
		break;
	case VIRTIO_MMIO_QUEUE_PFN:
		if (t->legacy)
			write_ready(t, v);
		break;
	default:
		pthread_mutex_lock(&t->dev->lock);
		write_register(t, offset, v);
		pthread_mutex_unlock(&t->dev->lock);
		break;
	}
}

/* --- life --------------------------------------------------------------------------------- */

static const struct bus_ops mmio_ops = {.read = mmio_read, .write = mmio_write};

/* Everything but the device. */
static void free_transport(struct virtio_mmio *t)
{
	for (uint16_t i = 0; i < t->dev->nqueues; i++) {
		loop_remove(t->notifiers[i].source);
		if (t->notifiers[i].fd >= 0)
			close(t->notifiers[i].fd);
	}
	pthread_mutex_destroy(&t->control);
	pthread_mutex_destroy(&t->line);
	free(t);
}

static int add_notifiers(struct virtio_mmio *t, mayfly_error *err)
{
	int r = 0;

	for (uint16_t i = 0; i < t->dev->nqueues; i++)
		t->notifiers[i] = (struct notifier){.t = t, .queue = i, .fd = -1};
	for (uint16_t i = 0; i < t->dev->nqueues && r == 0; i++) {
		struct notifier *n = &t->notifiers[i];

		n->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (n->fd < 0)
			return fail_errno(err, MAYFLY_E_NOMEM, errno, "%s: eventfd",
					  t->dev->ops->name);
		r = loop_add(t->dev->loop, n->fd, EPOLLIN, on_notify, n, &n->source, err);
	}
	return r;
}

int virtio_mmio_new(struct virtio_device *dev, const struct virtio_place *place,
		    struct virtio_mmio **out, mayfly_error *err)
{
	struct virtio_mmio *t = calloc(1, sizeof(*t));
	struct bus_range range;
	int r;

	if (!t)
		return fail(err, MAYFLY_E_NOMEM, "out of memory");
	t->dev = dev;
	t->legacy = place->legacy;
	t->irq = place->irq;
	pthread_mutex_init(&t->control, NULL);
	pthread_mutex_init(&t->line, NULL);
	range = (struct bus_range){.base = place->base,
				   .len = VIRTIO_MMIO_LEN,
				   .ops = &mmio_ops,
				   .device = t,
				   .name = dev->ops->name};
	r = add_notifiers(t, err);
	if (r == 0)
		r = bus_add(place->bus, &range, err);
	if (r < 0) {
		free_transport(t);
		return r;
	}
	dev->transport = &transport_ops;
	dev->transport_state = t;
	for (uint16_t i = 0; i < dev->nqueues; i++)
		dev->queues[i].ram = dev->ram;
	*out = t;
	return 0;
}

void virtio_mmio_free(struct virtio_mmio *t)
{
	struct virtio_device *dev;

	if (!t)
		return;
	dev = t->dev;
	pthread_mutex_lock(&dev->lock);
	if (dev->started)
		dev->ops->stop(dev);
	dev->started = false;
	pthread_mutex_unlock(&dev->lock);
	free_transport(t);
	dev->ops->free(dev);
}

int virtio_mmio_notify_fd(const struct virtio_mmio *t, uint16_t queue)
{
	return queue < t->dev->nqueues ? t->notifiers[queue].fd : -1;
}

struct virtio_device *virtio_mmio_device(struct virtio_mmio *t)
{
	return t->dev;
}

/* --- snapshots ---------------------------------------------------------------------------- */

void virtio_mmio_save(struct virtio_mmio *t, struct writer *w)
{
	struct virtio_device *dev = t->dev;

	pthread_mutex_lock(&dev->lock);
	put_u64(w, dev->ops->type);
	put_u64(w, t->legacy);
	put_u64(w, offered(t));
	put_u64(w, dev->nqueues);
	put_u64(w, dev->status);
	put_u64(w, dev->features);
	put_u64(w, t->driver_features);
	put_u64(w, t->device_features_sel);
	put_u64(w, t->driver_features_sel);
	put_u64(w, t->queue_sel);
	put_u64(w, t->generation);
	put_u64(w, t->page_size);
	put_u64(w, atomic_load(&t->interrupts));
	for (uint16_t i = 0; i < dev->nqueues; i++) {
		put_u64(w, t->align[i]);
		put_u64(w, t->pfn[i]);
		virtq_save(&dev->queues[i], w);
	}
	if (dev->ops->save)
		dev->ops->save(dev, w);
	pthread_mutex_unlock(&dev->lock);
}

/* That the device is what it was. */
static int load_kind(const struct virtio_mmio *t, struct reader *r, mayfly_error *err)
{
	const struct virtio_device *dev = t->dev;
	uint64_t type = get_u64(r), legacy = get_u64(r), had = get_u64(r), queues = get_u64(r);

	if (r->bad)
		return fail(err, MAYFLY_E_FORMAT, "%s: its saved state is cut", dev->ops->name);
	if (type != dev->ops->type || legacy != t->legacy || queues != dev->nqueues ||
	    had != offered(t))
		return fail(
			err, MAYFLY_E_INVALID,
			"%s: the snapshot had another device in its place, or one with other "
			"options: give the same devices in the same order",
			dev->ops->name);
	return 0;
}

static uint32_t get_u32(struct reader *r)
{
	return (uint32_t)get_count(r, UINT32_MAX);
}

static bool load_state(struct virtio_mmio *t, struct reader *r)
{
	struct virtio_device *dev = t->dev;
	uint32_t interrupts;
	bool good = true;

	dev->status = (uint8_t)get_count(r, UINT8_MAX);
	dev->features = get_u64(r);
	t->driver_features = get_u64(r);
	t->device_features_sel = get_u32(r);
	t->driver_features_sel = get_u32(r);
	t->queue_sel = get_u32(r);
	t->generation = get_u32(r);
	t->page_size = get_u32(r);
	interrupts = (uint32_t)get_count(r, VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG);
	atomic_store(&t->interrupts, interrupts);
	for (uint16_t i = 0; i < dev->nqueues && good; i++) {
		t->align[i] = get_u32(r);
		t->pfn[i] = get_u32(r);
		good = virtq_load(&dev->queues[i], r) &&
		       (!dev->queues[i].broken || dev->status & VIRTIO_NEEDS_RESET);
	}
	return good && !r->bad && !(dev->features & ~offered(t));
}

int virtio_mmio_load(struct virtio_mmio *t, struct reader *r, mayfly_error *err)
{
	struct virtio_device *dev = t->dev;
	int result;

	pthread_mutex_lock(&dev->lock);
	result = load_kind(t, r, err);
	if (result == 0 && !load_state(t, r)) {
		dev->status = 0;
		result = fail(err, MAYFLY_E_FORMAT, "%s: its saved state is damaged",
			      dev->ops->name);
	}
	if (result == 0 && dev->ops->load) {
		result = dev->ops->load(dev, r, err);
		if (result < 0)
			error_prefix(err, "%s", dev->ops->name);
	}
	pthread_mutex_unlock(&dev->lock);
	return result;
}

void virtio_mmio_resume(struct virtio_mmio *t)
{
	bool was_started;

	pthread_mutex_lock(&t->dev->lock);
	was_started = t->dev->status & VIRTIO_DRIVER_OK;
	pthread_mutex_unlock(&t->dev->lock);
	pthread_mutex_lock(&t->line);
	t->irq.set(t->irq.context, t->irq.irq, atomic_load(&t->interrupts) != 0);
	pthread_mutex_unlock(&t->line);
	if (!was_started)
		return;
	loop_call(t->dev->loop, start, t);
	/*
	 * A device that was to look at a queue once more may have switched its notifications off
	 * meanwhile: the driver would not notify ever again.
	 */
	for (uint16_t i = 0; i < t->dev->nqueues; i++)
		notify(t, i);
}

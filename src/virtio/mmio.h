/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mmio (virtio 1.2, 4.2): version 2 and, for drivers of old, version 1 (4.2.4). One
 * page's eighth per device: VIRTIO_MMIO_LEN bytes of registers. Registers are 32 bits wide:
 * other widths read as zero and are ignored; configuration is accessed with 1, 2, 4 or 8 bytes.
 *
 * Interrupts are a level: asserted while InterruptStatus is not zero.
 */
#ifndef MAYFLY_VIRTIO_MMIO_H
#define MAYFLY_VIRTIO_MMIO_H

#include "machine/bus.h"
#include "virtio/device.h"

#define VIRTIO_MMIO_BASE 0xfeb00000u /* where early consoles look for them: QEMU's microvm */
#define VIRTIO_MMIO_LEN 0x200u
#define VIRTIO_MMIO_NOTIFY 0x50u  /* offset of QueueNotify */
#define VIRTIO_MMIO_MAX_DEVICES 8 /* in one page */

/* The interrupt line, as the machine has it. Any thread. */
struct irq_line {
	void (*set)(void *context, uint32_t irq, bool level);
	void *context;
	uint32_t irq;
};

/* Where a device is. */
struct virtio_place {
	struct bus *bus;
	uint64_t base;
	bool legacy; /* version 1 */
	struct irq_line irq;
};

struct virtio_mmio;

/*
 * A transport around `dev`, which it owns from now on: adds itself to the bus. dev->loop and
 * dev->ram have been set. Notifications reach the device thread by an eventfd per queue, which
 * the machine may have the hypervisor write (virtio_mmio_notify_fd()); until then writes to
 * QueueNotify do. Errors: NOMEM, those of bus_add(); on failure `dev` is still the caller's.
 */
int virtio_mmio_new(struct virtio_device *dev, const struct virtio_place *place,
		    struct virtio_mmio **out, mayfly_error *err);
/* Frees the device too. The loop does not run. NULL is allowed. */
void virtio_mmio_free(struct virtio_mmio *t);

/* The eventfd that stands for a 4-byte write of `queue` to QueueNotify; -1: no such queue. */
int virtio_mmio_notify_fd(const struct virtio_mmio *t, uint16_t queue);
struct virtio_device *virtio_mmio_device(struct virtio_mmio *t);

/* With the loop stopped and all vCPUs out: registers, queues and the device itself. */
void virtio_mmio_save(struct virtio_mmio *t, struct writer *w);
int virtio_mmio_load(struct virtio_mmio *t, struct reader *r, mayfly_error *err);
/* Have a restored device go on: start it, put its interrupt line where it was. */
void virtio_mmio_resume(struct virtio_mmio *t);

#endif

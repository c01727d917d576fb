/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices a machine has, where, and with which interrupt lines. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "machine/machine.h"
#include "machine/platform.h"
#include "machine/slirp.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/net.h"
#include "virtio/rng.h"

/*
 * Of an AT's lines those that nothing else here has: not the timer (0), keyboard (1), cascade
 * (2), serial port (4), clock (8), and floating-point unit (13), which kernels keep for
 * themselves.
 */
static const uint8_t virtio_irqs[VIRTIO_MMIO_MAX_DEVICES] = {5, 6, 7, 9, 10, 11, 12, 14};

_Static_assert(MACHINE_FIRST_IRQ == 5, "the first of them");

static void set_irq(void *context, uint32_t irq, bool level)
{
	struct machine *m = context;
	mayfly_error err;

	if (hv_vm_irq(m->vm, irq, level, &err) < 0)
		machine_fail(m, &err);
}

static struct irq_line line_of(struct machine *m, uint32_t irq)
{
	return (struct irq_line){.set = set_irq, .context = m, .irq = irq};
}

uint32_t machine_device_irq(uint32_t number)
{
	return virtio_irqs[number];
}

/* Each queue's notifications by an eventfd: no exit to this process. */
static int connect_queues(struct machine *m, struct virtio_mmio *t, uint64_t base,
			  mayfly_error *err)
{
	struct virtio_device *dev = virtio_mmio_device(t);

	for (uint16_t q = 0; q < dev->nqueues; q++) {
		struct hv_notify notify = {
			.gpa = base + VIRTIO_MMIO_NOTIFY,
			.value = q,
			.fd = virtio_mmio_notify_fd(t, q),
		};
		int r = hv_vm_notify(m->vm, &notify, err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Takes the device, also on failure. */
static int attach(struct machine *m, struct virtio_device *dev, mayfly_error *err)
{
	uint32_t number = m->nvirtio;
	uint64_t base = VIRTIO_MMIO_BASE + (uint64_t)number * VIRTIO_MMIO_LEN;
	struct virtio_place place = {
		.bus = &m->memory,
		.base = base,
		.legacy = m->config.flags & MAYFLY_MACHINE_LEGACY_VIRTIO,
	};
	int r;

	dev->loop = m->loop;
	dev->ram = &m->ram;
	for (uint16_t q = 0; q < dev->nqueues; q++)
		dev->queues[q].ram = &m->ram;
	if (number == VIRTIO_MMIO_MAX_DEVICES) {
		dev->ops->free(dev);
		return fail(err, MAYFLY_E_LIMIT,
			    "a machine can have %d disks, networks and the like",
			    VIRTIO_MMIO_MAX_DEVICES);
	}
	place.irq = line_of(m, virtio_irqs[number]);
	r = virtio_mmio_new(dev, &place, &m->virtio[number], err);
	if (r < 0) {
		dev->ops->free(dev);
		return r;
	}
	m->nvirtio++;
	return connect_queues(m, m->virtio[number], base, err);
}

/* --- Disks -------------------------------------------------------------------------------- */

static int make_disks(struct machine *m, const mayfly_machine_options *o, mayfly_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < o->ndisks; i++) {
		const mayfly_disk *disk = &o->disks[i];
		struct blk_config config = {.path = disk->path,
					    .id = disk->serial,
					    .overlay_limit = disk->overlay_limit};
		struct virtio_device *dev;

		if (disk->flags & MAYFLY_DISK_READONLY)
			config.flags |= BLK_READONLY;
		if (disk->flags & MAYFLY_DISK_SNAPSHOT)
			config.flags |= BLK_OVERLAY;
		r = blk_new(&config, &dev, err);
		if (r == 0)
			r = attach(m, dev, err);
	}
	return r;
}

/* --- Networks ----------------------------------------------------------------------------- */

int machine_start_helpers(struct machine *m, const mayfly_machine_options *o, mayfly_error *err)
{
	int r = 0;

	if (!o->nnics)
		return 0;
	m->helpers = calloc(o->nnics, sizeof(struct slirp *));
	if (!m->helpers)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a machine");
	for (size_t i = 0; r == 0 && i < o->nnics; i++) {
		const mayfly_nic *nic = &o->nics[i];
		struct slirp_config config = {
			.helper = nic->helper,
			.forwards = nic->forwards,
			.nforwards = nic->nforwards,
			.host = nic->host,
		};

		if (nic->user)
			r = slirp_start(&config, &m->helpers[i], err);
	}
	return r;
}

/* The caller's descriptor, as one of ours. */
static int duplicate(int fd, int *out, mayfly_error *err)
{
	int flags, type = 0;
	socklen_t len = sizeof(type);

	*out = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (*out < 0)
		return fail_errno(err, errno == EBADF ? MAYFLY_E_INVALID : MAYFLY_E_NOMEM,
				  errno, "a network's descriptor %d", fd);
	if (getsockopt(*out, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    (type != SOCK_SEQPACKET && type != SOCK_DGRAM))
		return fail(err, MAYFLY_E_INVALID,
			    "a network's descriptor %d is no socket that keeps frames apart, "
			    "SOCK_SEQPACKET or SOCK_DGRAM",
			    fd);
	flags = fcntl(*out, F_GETFL);
	if (flags < 0 || fcntl(*out, F_SETFL, flags | O_NONBLOCK) < 0)
		return fail_errno(err, MAYFLY_E_INVALID, errno, "a network's descriptor %d",
				  fd);
	return 0;
}

static int make_nic(struct machine *m, const mayfly_nic *nic, struct slirp *helper,
		    mayfly_error *err)
{
	_cleanup_close_ int fd = -1;
	struct net_config config = {.tap = nic->tap};
	struct virtio_device *dev;
	int r;

	if (helper)
		r = slirp_ready(helper, &fd, err);
	else if (nic->tap)
		r = net_open_tap(nic->tap, &fd, err);
	else
		r = duplicate(nic->fd_plus_one - 1, &fd, err);
	if (r == 0 && helper)
		r = slirp_watch(helper, m->loop, err);
	if (r < 0)
		return r;
	config.fd = fd;
	memcpy(config.mac, nic->mac, sizeof(config.mac));
	r = net_new(&config, &dev, err);
	if (r < 0)
		return r;
	(void)take_fd(&fd);
	return attach(m, dev, err);
}

static int make_nics(struct machine *m, const mayfly_machine_options *o, mayfly_error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < o->nnics; i++)
		r = make_nic(m, &o->nics[i], m->helpers[i], err);
	return r;
}

/* --- Console and the rest -------------------------------------------------------------- */

static int make_console(struct machine *m, const mayfly_machine_options *o, mayfly_error *err)
{
	bool main = m->config.flags & MAYFLY_MACHINE_VIRTIO_CONSOLE;
	struct console_port ports[CONSOLE_MAX_PORTS];
	struct console_config config = {
		.stream = main ? m->console : NULL, .ports = ports, .nports = o->nports};
	int r;

	if (!main && !o->nports)
		return 0;
	if (o->nports > CONSOLE_MAX_PORTS)
		return fail(err, MAYFLY_E_LIMIT, "a machine can have %d ports, not %zu",
			    CONSOLE_MAX_PORTS, o->nports);
	for (size_t i = 0; i < o->nports; i++)
		ports[i] = (struct console_port){o->ports[i].name, o->ports[i].path};
	r = console_new(&config, &m->virtio_console, err);
	return r < 0 ? r : attach(m, m->virtio_console, err);
}

static int make_rng(struct machine *m, mayfly_error *err)
{
	struct virtio_device *dev;
	int r;

	if (!(m->config.flags & MAYFLY_MACHINE_RNG))
		return 0;
	r = rng_new(&dev, err);
	return r < 0 ? r : attach(m, dev, err);
}

static int make_fwcfg(struct machine *m, const mayfly_machine_options *o, mayfly_error *err)
{
	_cleanup_free_ struct fwcfg_file *files = calloc(o->nfw + 1, sizeof(*files));

	if (!files)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a machine");
	for (size_t i = 0; i < o->nfw; i++)
		files[i] = (struct fwcfg_file){o->fw[i].name, o->fw[i].data, o->fw[i].len};
	return fwcfg_new(&m->ports, &m->ram, files, o->nfw, &m->fwcfg, err);
}

static int make_platform(struct machine *m, const mayfly_machine_options *o, mayfly_error *err)
{
	bool serial = !(m->config.flags & MAYFLY_MACHINE_VIRTIO_CONSOLE);
	struct irq_line irq = line_of(m, SERIAL_IRQ);
	int r = stream_new(m->loop, o->console_in_plus_one - 1, o->console_out_plus_one - 1,
			   &m->console, err);

	if (r == 0)
		r = serial_new(&m->ports, serial ? m->console : NULL, &irq, &m->serial, err);
	if (r == 0)
		r = rtc_new(&m->ports, &m->rtc, err);
	if (r == 0)
		r = i8042_new(&m->ports, m, &m->i8042, err);
	if (r == 0)
		r = ports_new(&m->ports, m, &m->own_ports, err);
	return r < 0 ? r : make_fwcfg(m, o, err);
}

int machine_make_devices(struct machine *m, const mayfly_machine_options *o, mayfly_error *err)
{
	int r = make_platform(m, o, err);

	/* The order is the guest's: first disk, second disk, ... */
	if (r == 0)
		r = make_disks(m, o, err);
	if (r == 0)
		r = make_nics(m, o, err);
	if (r == 0)
		r = make_console(m, o, err);
	return r < 0 ? r : make_rng(m, err);
}

void machine_free_devices(struct machine *m)
{
	for (uint32_t i = 0; i < m->nvirtio; i++)
		virtio_mmio_free(m->virtio[i]);
	serial_free(m->serial);
	stream_free(m->console);
	rtc_free(m->rtc);
	i8042_free(m->i8042);
	ports_free(m->own_ports);
	fwcfg_free(m->fwcfg);
	for (size_t i = 0; m->helpers && i < m->config.nnics; i++)
		slirp_free(m->helpers[i]);
	free(m->helpers);
}

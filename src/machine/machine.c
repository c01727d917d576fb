/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "core/clock.h"
#include "core/random.h"
#include "core/thread.h"
#include "machine/boot.h"
#include "machine/platform.h"

#define DEFAULT_MEMORY ((uint64_t)256 << 20)

/* --- What it is to be --------------------------------------------------------------------- */

static struct machine_config config_of(const mayfly_machine_options *o)
{
	return (struct machine_config){
		.memory = o->memory ? o->memory : DEFAULT_MEMORY,
		.cpus = o->cpus ? o->cpus : 1,
		.flags = o->flags & MACHINE_CONFIG_FLAGS,
		.ndisks = o->ndisks,
		.nnics = o->nnics,
		.nports = o->nports,
	};
}

static int check_count(const char *what, uint64_t given, uint64_t saved, mayfly_error *err)
{
	if (given == saved)
		return 0;
	return fail(err, MAYFLY_E_INVALID,
		    "the snapshot's machine has %llu %s, this one is given %llu: they must be "
		    "the same",
		    (unsigned long long)saved, what, (unsigned long long)given);
}

static int check_snapshot(const mayfly_machine_options *o, const struct machine_config *saved,
			  mayfly_error *err)
{
	int r;

	if (o->cmdline || o->initrd)
		return fail(err, MAYFLY_E_INVALID,
			    "a snapshot goes on where it was: it takes no command line and no "
			    "initrd");
	if (o->memory)
		r = check_count("bytes of memory", o->memory, saved->memory, err);
	else
		r = 0;
	if (r == 0 && o->cpus)
		r = check_count("CPUs", o->cpus, saved->cpus, err);
	if (r == 0)
		r = check_count("disks", o->ndisks, saved->ndisks, err);
	if (r == 0)
		r = check_count("networks", o->nnics, saved->nnics, err);
	return r < 0 ? r : check_count("console ports", o->nports, saved->nports, err);
}

static int check_config(struct machine *m, mayfly_error *err)
{
	const struct machine_config *c = &m->config;
	uint32_t max =
		m->host->max_vcpus < MACHINE_MAX_CPUS ? m->host->max_vcpus : MACHINE_MAX_CPUS;

	if (c->memory < RAM_MIN || c->memory > RAM_MAX || (c->memory & PAGE_MASK))
		return fail(err, MAYFLY_E_INVALID,
			    "memory: %llu bytes; a machine can have from 2 MiB to 64 GiB, in "
			    "whole pages of 4 KiB",
			    (unsigned long long)c->memory);
	if (c->cpus < 1 || c->cpus > max)
		return fail(err, MAYFLY_E_INVALID, "%llu CPUs; a machine here can have 1 to %u",
			    (unsigned long long)c->cpus, max);
	if (!m->hv->machine)
		return fail(err, MAYFLY_E_UNSUPPORTED, "this hypervisor runs no machines");
	return 0;
}

/* --- Kernels ------------------------------------------------------------------------------ */

static int open_image(const char *path, const char *what, struct image *out, mayfly_error *err)
{
	/* Non-blocking: a FIFO in the file's place must not hang us. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_errno(err, MAYFLY_E_IO, errno, "%s %s", what, path);
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return fail(err, MAYFLY_E_IO, "%s %s: %s", what, path,
			    S_ISREG(st.st_mode) ? "the file is empty" : "not a regular file");
	*out = (struct image){.fd = take_fd(&fd), .len = (uint64_t)st.st_size};
	return 0;
}

/* How many devices there will be: they are made later, but the command line tells of them. */
static uint32_t list_devices(const struct machine_config *c, struct boot_device *devices)
{
	uint64_t n = c->ndisks + c->nnics;

	if ((c->flags & MAYFLY_MACHINE_VIRTIO_CONSOLE) || c->nports)
		n++;
	if (c->flags & MAYFLY_MACHINE_RNG)
		n++;
	if (n > VIRTIO_MMIO_MAX_DEVICES)
		n = VIRTIO_MMIO_MAX_DEVICES;
	for (uint32_t i = 0; i < n; i++)
		devices[i] = (struct boot_device){
			.base = VIRTIO_MMIO_BASE + (uint64_t)i * VIRTIO_MMIO_LEN,
			.irq = machine_device_irq(i),
		};
	return (uint32_t)n;
}

/*
 * Loading. What takes long is done by a thread of its own, while KVM makes the VM and waits for
 * grace periods of the kernel's.
 */
struct loading {
	struct machine *m;
	const mayfly_machine_options *o;
	struct image kernel, initrd;
	bool begun, apart;
	pthread_t thread;
	/* What comes of it. */
	struct cpu_boot boot;
	mayfly_error err;
	int r;
};

/* Bytes to be copied from which on a thread is worth its while. */
#define LOAD_APART ((uint64_t)1 << 20)
#define LOAD_STACK ((size_t)256 << 10)

static void *load(void *context)
{
	struct loading *l = context;
	struct machine *m = l->m;
	const mayfly_machine_options *o = l->o;
	struct boot_device devices[VIRTIO_MMIO_MAX_DEVICES];
	struct boot_config config = {
		.kernel = &l->kernel,
		.initrd = &l->initrd,
		.cmdline = o->cmdline ? o->cmdline : "",
		.devices = devices,
		.ndevices = list_devices(&m->config, devices),
		.bare = o->flags & MAYFLY_MACHINE_PLAIN_CMDLINE,
		.cpus = (uint32_t)m->config.cpus,
		.acpi = o->flags & MAYFLY_MACHINE_ACPI	    ? BOOT_ACPI_ON
			: o->flags & MAYFLY_MACHINE_NO_ACPI ? BOOT_ACPI_OFF
							    : BOOT_ACPI_AUTO,
		.console = o->flags & MAYFLY_MACHINE_VIRTIO_CONSOLE ? BOOT_CONSOLE_VIRTIO
								    : BOOT_CONSOLE_SERIAL,
	};

	l->r = boot_prepare(&config, &m->ram, &l->boot, &l->err);
	if (l->r < 0)
		error_prefix(&l->err, "%s", o->kernel);
	if (l->kernel.mapped) {
		m->mapped_first = (uint64_t)(l->kernel.mapped - m->ram.mem) / PAGE_SIZE;
		m->mapped_end = (uint64_t)(l->kernel.mapped_end - m->ram.mem) / PAGE_SIZE;
	}
	timeline_mark(m->timeline, "images loaded");
	return NULL;
}

/* Memory is there by now; load_end() is due whatever comes of it. */
static int load_begin(struct loading *l, mayfly_error *err)
{
	uint64_t len;
	int r = open_image(l->o->kernel, "the kernel", &l->kernel, err);

	if (r == 0 && l->o->initrd)
		r = open_image(l->o->initrd, "the initrd", &l->initrd, err);
	if (r < 0)
		return r;
	l->kernel.stays = l->o->flags & MAYFLY_MACHINE_MAP_KERNEL;
	len = l->initrd.len + (l->kernel.stays ? 0 : l->kernel.len);
	l->begun = true;
	l->apart = len >= LOAD_APART && thread_start(&l->thread, LOAD_STACK, load, l) == 0;
	return 0;
}

/* `r`: what came of the VM; if that failed, nothing is loaded that has not been. */
static int load_end(struct loading *l, int r, mayfly_error *err)
{
	if (l->apart)
		pthread_join(l->thread, NULL);
	else if (l->begun && r == 0)
		load(l);
	cleanup_close(&l->kernel.fd);
	cleanup_close(&l->initrd.fd);
	if (r < 0 || !l->begun)
		return r;
	if (l->r < 0 && err)
		*err = l->err;
	return l->r;
}

/* --- Life --------------------------------------------------------------------------------- */

static int init(struct machine *m, const struct hv_backend *hv, const mayfly_machine_options *o,
		mayfly_error *err)
{
	pthread_condattr_t attr;
	int r;

	m->hv = hv;
	m->owner = getpid();
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->save_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&m->changed, &attr);
	pthread_condattr_destroy(&attr);
	m->event = o->event;
	m->event_context = o->event_context;
	m->timeout = o->timeout_ns;
	m->no_seccomp = o->flags & MAYFLY_MACHINE_NO_SECCOMP;
	random_bytes(m->generation, sizeof(m->generation));
	r = o->flags & MAYFLY_MACHINE_TIMELINE ? timeline_new(&m->timeline, err) : 0;
	if (r == 0)
		r = hv_host_early(hv, &m->host, err);
	if (r < 0)
		return r;
	if (!m->host->ring0_native && o->notice)
		o->notice(o->notice_context,
			  "this host's KVM interprets ring 0 (PVM): kernels run, but slowly, "
			  "and some instructions cannot be run at all");
	m->config = config_of(o);
	if (!o->snapshot)
		return check_config(m, err);
	r = machine_read_config(o->snapshot, &m->config, err);
	if (r == 0)
		r = check_config(m, err);
	if (r == 0)
		r = check_snapshot(o, &m->config, err);
	if (r == 0)
		m->snap = mayfly_snapshot_ref(o->snapshot);
	return r;
}

/* In the order that costs least: slots before controllers, see hv_vm_platform(). */
static int make_vm(struct machine *m, mayfly_error *err)
{
	int r = hv_vm_new(m->hv, &m->vm, err);

	/* A snapshot's many mappings would make creating the VM slower. */
	if (r == 0 && m->snap)
		r = machine_map_memory(m, m->snap, err);
	if (r == 0)
		r = machine_map_slots(m, err);
	if (r == 0)
		r = hv_vm_platform(m->vm, err);
	if (r == 0)
		r = loop_new(&m->loop, err);
	timeline_mark(m->timeline, "VM created");
	return r;
}

static int make_cpus(struct machine *m, const struct cpu_boot *boot, mayfly_error *err)
{
	m->cpus = calloc(m->config.cpus, sizeof(*m->cpus));
	if (!m->cpus)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a machine");
	for (uint32_t i = 0; i < m->config.cpus; i++) {
		int r;

		m->cpus[i].machine = m;
		m->cpus[i].number = i;
		r = hv_machine_vcpu_new(m->vm, i, boot, &m->cpus[i].vcpu, err);
		if (r < 0)
			return r;
		m->ncpus++;
	}
	timeline_mark(m->timeline, "vCPUs created");
	return 0;
}

/* It takes a while the first time; whether it succeeds is seen when it is asked for again. */
static void get_host(void *context)
{
	struct machine *m = context;
	const struct hv_host *host;

	(void)hv_host(m->hv, &host, NULL);
}

static int start_first_worker(struct machine *m, mayfly_error *err)
{
	const struct worker_plan plan = {
		.kind = JAIL_CPU,
		.confined = !m->no_seccomp,
		.prepare = get_host,
		.context = m,
	};

	m->workers = calloc(m->config.cpus, sizeof(*m->workers));
	if (!m->workers)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a machine");
	return worker_start(&m->workers[0], &plan, err);
}

int machine_new(const struct hv_backend *hv, const mayfly_machine_options *o,
		struct machine **out, mayfly_error *err)
{
	struct machine *m = calloc(1, sizeof(*m));
	struct loading loading = {.m = m, .o = o, .kernel.fd = -1, .initrd.fd = -1};
	int r;

	if (!m)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a machine");
	loading.boot.mode = CPU_BOOT_PVH;
	r = init(m, hv, o, err);
	loading.boot.cpus = (uint32_t)m->config.cpus;
	/* They get ready on other CPUs meanwhile. */
	if (r == 0)
		r = start_first_worker(m, err);
	if (r == 0)
		r = machine_start_helpers(m, o, err);
	if (r == 0 && !m->snap)
		r = machine_map_memory(m, NULL, err);
	if (r == 0 && !m->snap)
		r = load_begin(&loading, err);
	if (r == 0)
		r = make_vm(m, err);
	r = load_end(&loading, r, err);
	if (r == 0)
		r = machine_make_devices(m, o, err);
	timeline_mark(m->timeline, "devices made");
	if (r == 0)
		r = hv_host(hv, &m->host, err);
	if (r == 0)
		r = make_cpus(m, &loading.boot, err);
	if (r == 0 && m->snap)
		r = machine_load(m, m->snap, err);
	if (r < 0) {
		machine_free(m);
		return r;
	}
	*out = m;
	return 0;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	/*
	 * In a forked child guest memory is not there, and something else may be; threads,
	 * helpers, sockets and locks are the parent's.
	 */
	if (m->owner == getpid()) {
		if (m->workers)
			worker_join(&m->workers[0]);
		machine_free_devices(m);
	}
	free(m->workers);
	loop_free(m->loop);
	for (uint32_t i = 0; i < m->ncpus; i++)
		hv_vcpu_free(m->cpus[i].vcpu);
	free(m->cpus);
	hv_vm_free(m->vm);
	if (m->owner == getpid())
		machine_unmap_memory(m);
	mayfly_snapshot_unref(m->snap);
	timeline_free(m->timeline);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	pthread_mutex_destroy(&m->save_lock);
	free(m);
}

void machine_event(struct machine *m, const char *name)
{
	mayfly_event event = {.size = sizeof(event), .name = name, .when_ns = clock_now()};

	timeline_mark_at(m->timeline, event.when_ns, name);
	if (m->event)
		m->event(m->event_context, &event);
}

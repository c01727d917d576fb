/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of machines. Memory is the image; everything else follows in `extra`, hostile when
 * it comes back: what the machine is made of; vCPUs; the hypervisor's controllers, timer and
 * clocks; each part at a port; each virtio device. A machine is restored by making it as any
 * other and loading that into its parts.
 */
#include "core/codec.h"
#include "machine/machine.h"
#include "machine/platform.h"

#define STATE_VERSION 1

static void save_platform(struct machine *m, struct writer *w)
{
	serial_save(m->serial, w);
	rtc_save(m->rtc, w);
	i8042_save(m->i8042, w);
	fwcfg_save(m->fwcfg, w);
}

static int save(struct machine *m, struct snapshot_builder *b, struct writer *w,
		mayfly_error *err)
{
	int r = 0;

	put_u64(w, STATE_VERSION);
	put_bytes(w, &m->config, sizeof(m->config));
	for (uint32_t i = 0; r == 0 && i < m->ncpus; i++)
		r = hv_vcpu_save(m->cpus[i].vcpu, w, err);
	if (r == 0)
		r = hv_vm_save(m->vm, w, err);
	if (r < 0)
		return r;
	save_platform(m, w);
	/* Devices may still write to memory here: what they finish lies in the image. */
	for (uint32_t i = 0; i < m->nvirtio; i++)
		virtio_mmio_save(m->virtio[i], w);
	if (w->failed)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a snapshot");
	return machine_save_memory(m, b, err);
}

int machine_snapshot(struct machine *m, struct mayfly_snapshot **out, mayfly_error *err)
{
	struct snapshot_builder b = {.fd = -1};
	struct writer w = {.data = NULL};
	struct guest *guest;
	int r;

	if (m->state != MACHINE_PAUSED)
		return fail(
			err, MAYFLY_E_INVALID,
			"only a machine that is paused can be saved (see mayfly_machine_run)");
	r = machine_guest_new(m->config.memory, m->host, &guest, err);
	if (r < 0)
		return r;
	r = snapshot_builder_init(&b, guest, err);
	if (r == 0) {
		pthread_mutex_lock(&m->save_lock);
		r = save(m, &b, &w, err);
		pthread_mutex_unlock(&m->save_lock);
	}
	if (r == 0) {
		b.extra = take_ptr(w.data);
		b.extra_len = w.len;
		r = snapshot_builder_finish(&b, out, err);
	}
	free(w.data);
	snapshot_builder_fini(&b);
	guest_put(guest);
	return r;
}

/* --- Loading ------------------------------------------------------------------------------ */

static int open_state(const struct mayfly_snapshot *snap, struct reader *r,
		      struct machine_config *config, mayfly_error *err)
{
	if (snap->guest->kind != &machine_guest_kind)
		return fail(err, MAYFLY_E_INVALID, "this is no snapshot of a machine");
	*r = (struct reader){.data = snap->extra, .left = snap->extra_len};
	if (get_u64(r) != STATE_VERSION)
		return fail(err, MAYFLY_E_FORMAT, "the snapshot holds no machine's state");
	get_bytes(r, config, sizeof(*config));
	if (r->bad || config->memory != snap->guest->map.private_len || !config->cpus ||
	    config->cpus > MACHINE_MAX_CPUS ||
	    (config->flags & ~(uint64_t)MACHINE_CONFIG_FLAGS))
		return fail(err, MAYFLY_E_FORMAT,
			    "the snapshot's description of its machine is damaged");
	return 0;
}

int machine_read_config(const struct mayfly_snapshot *snap, struct machine_config *out,
			mayfly_error *err)
{
	struct reader r;

	return open_state(snap, &r, out, err);
}

static int load_platform(struct machine *m, struct reader *r, mayfly_error *err)
{
	if (serial_load(m->serial, r) && rtc_load(m->rtc, r) && i8042_load(m->i8042, r) &&
	    fwcfg_load(m->fwcfg, r))
		return 0;
	return fail(err, MAYFLY_E_FORMAT, "the snapshot's state of the platform is damaged");
}

int machine_load(struct machine *m, const struct mayfly_snapshot *snap, mayfly_error *err)
{
	struct machine_config config;
	struct reader r;
	int e = open_state(snap, &r, &config, err);

	for (uint32_t i = 0; e == 0 && i < m->ncpus; i++)
		e = hv_vcpu_load(m->cpus[i].vcpu, &r, err);
	if (e == 0)
		e = hv_vm_load(m->vm, &r, err);
	if (e == 0)
		e = load_platform(m, &r, err);
	for (uint32_t i = 0; e == 0 && i < m->nvirtio; i++)
		e = virtio_mmio_load(m->virtio[i], &r, err);
	if (e == 0 && (r.bad || r.left))
		e = fail(err, MAYFLY_E_FORMAT,
			 "the snapshot's state of the machine is damaged");
	for (uint32_t i = 0; e == 0 && i < m->nvirtio; i++)
		virtio_mmio_resume(m->virtio[i]);
	timeline_mark(m->timeline, "snapshot loaded");
	return e;
}

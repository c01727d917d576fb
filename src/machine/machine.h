/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines: VMs in which an operating system runs. Files: machine.c (life), machine_run.c (vCPU
 * threads, exits, the end), machine_save.c (snapshots), guest.c (the guest kind "machine"),
 * boot.c (memory as the kernel finds it: start information, tables, command line), platform.c
 * with rtc.c, i8042.c, fwcfg.c, ports.c, serial.c (what answers at ports), timeline.c.
 *
 * Threads: one for each vCPU; the device thread (loop.h); the caller of machine_run(), who waits.
 */
#ifndef MAYFLY_MACHINE_MACHINE_H
#define MAYFLY_MACHINE_MACHINE_H

#include <pthread.h>

#include "loader/kernel.h"
#include "machine/bus.h"
#include "machine/loop.h"
#include "machine/stream.h"
#include "machine/timeline.h"
#include "snapshot/snapshot.h"
#include "virtio/mmio.h"

#define MACHINE_MAX_CPUS 32

/* Guest-physical, below 640 KiB; boot.c. */
#define MACHINE_GDT 0x500
#define MACHINE_START_INFO 0x6000 /* one page: struct hvm_start_info, modules */
#define MACHINE_MEMORY_MAP 0x7000 /* one page */
#define MACHINE_CMDLINE 0x8000	  /* up to MACHINE_CMDLINE_MAX */
#define MACHINE_CMDLINE_MAX 4096
#define MACHINE_ZERO_PAGE 0x9000 /* Linux's boot_params */
#define MACHINE_PAGE_TABLES 0xa000
#define MACHINE_MP_TABLE 0x9fc00 /* at 639 KiB, see field "MP table" of the Intel MP spec, 4 */

/* Interrupt lines of devices: 4 is the serial port, 8 the clock; these are nobody else's. */
#define MACHINE_FIRST_IRQ 5

struct machine_cpu {
	struct machine *machine;
	uint32_t number;
	struct hv_vcpu *vcpu;
	pthread_t thread;
	bool started;
};

enum machine_state { MACHINE_NEW, MACHINE_RUNNING, MACHINE_PAUSED, MACHINE_ENDED };

/* Why the vCPUs leave. */
enum machine_stop {
	STOP_NONE,
	STOP_PAUSE, /* for a snapshot: they may go on */
	STOP_RESET, /* the guest asked for a reset: 0xfe to 0x64, triple fault, 0xcf9, 0x92 */
	STOP_EXIT,  /* the guest wrote the exit port: `exit_status` */
	STOP_TIMEOUT,
	STOP_INTERRUPTED,
	STOP_FAILED /* `failure` */
};

struct machine {
	const struct hv_backend *hv;
	const struct hv_host *host;
	struct hv_vm *vm;
	struct machine_cpu *cpus;
	uint32_t ncpus;

	struct mayfly_snapshot *snap; /* counted: "at entry", or saved */
	struct ram ram;
	struct bus ports;
	struct bus memory; /* where there is no RAM */
	struct loop *loop;
	pthread_t loop_thread;

	/* Devices; owned. */
	struct stream *console;
	struct serial *serial;
	struct rtc *rtc;
	struct fwcfg *fwcfg;
	struct i8042 *i8042;
	struct virtio_mmio *virtio[VIRTIO_MMIO_MAX_DEVICES];
	uint32_t nvirtio;
	struct virtio_device *virtio_console; /* one of them, or NULL */

	/* Stopping: under `lock`. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum machine_state state;
	enum machine_stop stop;
	int exit_status;
	mayfly_error failure;
	uint32_t running; /* vCPUs in their loops */
	uint64_t deadline;

	struct timeline *timeline; /* or NULL */
	uint64_t memory_size;
	mayfly_machine_event_fn event;
	void *event_context;
};

int machine_new(const struct hv_backend *hv, const mayfly_machine_options *options,
		struct machine **out, mayfly_error *err);
void machine_free(struct machine *m);
int machine_run(struct machine *m, uint32_t pause_at, mayfly_machine_end *end,
		mayfly_error *err);
/* Any thread, vCPU threads too: the first reason counts. */
void machine_stop(struct machine *m, enum machine_stop why);
void machine_exit(struct machine *m, int status);
void machine_fail(struct machine *m, const mayfly_error *failure);

int machine_snapshot(struct machine *m, struct mayfly_snapshot **out, mayfly_error *err);

extern const struct guest_kind machine_guest_kind;

#endif

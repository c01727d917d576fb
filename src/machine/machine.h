/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines: VMs in which an operating system runs. Files: machine.c (life), devices.c (which
 * there are), machine_run.c (starting and stopping, the end), machine_cpu.c (vCPU threads,
 * exits), machine_save.c (snapshots), guest.c (the guest kind "machine"), memory.c, boot.c
 * (memory as the kernel finds it: start information, tables, command line), platform.c with
 * rtc.c, i8042.c, fwcfg.c, ports.c, serial.c (what answers at ports), timeline.c.
 *
 * Threads (worker.h): one for each vCPU; the device thread (loop.h); the caller of machine_run(),
 * who waits. The first vCPU's gets ready while the machine is made.
 */
#ifndef MAYFLY_MACHINE_MACHINE_H
#define MAYFLY_MACHINE_MACHINE_H

#include <pthread.h>

#include "loader/kernel.h"
#include "machine/bus.h"
#include "machine/loop.h"
#include "machine/stream.h"
#include "machine/timeline.h"
#include "machine/worker.h"
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

/* This byte to PORT_MARK is the snapshot mark: mayfly_machine_pause.port. */
#define MACHINE_MARK_SNAPSHOT 0xff

struct machine_cpu {
	struct machine *machine;
	uint32_t number;
	struct hv_vcpu *vcpu;
	_Atomic(uint64_t) exits;
};

enum machine_state { MACHINE_NEW, MACHINE_RUNNING, MACHINE_PAUSED, MACHINE_ENDED };

/* Why the vCPUs leave. */
enum machine_stop {
	STOP_NONE,
	STOP_PAUSE, /* for a snapshot: they may go on */
	/* The guest asked for a reset: 0xfe to 0x64, 0xcf9, 0x92; or faulted thrice: `fault` */
	STOP_RESET,
	STOP_OFF,  /* it powered itself off, by ACPI */
	STOP_EXIT, /* the guest wrote the exit port: `exit_status` */
	STOP_TIMEOUT,
	STOP_INTERRUPTED,
	STOP_FAILED /* `failure` */
};

/* A triple fault (SDM vol. 3, 6.15, interrupt 8), with which a CPU shuts down. */
struct machine_fault {
	bool happened;
	uint32_t cpu;
	bool has_ip; /* the hypervisor knows where it was */
	uint64_t ip;
};

/* The flags that say what a machine is made of. */
#define MACHINE_CONFIG_FLAGS                                                                   \
	(MAYFLY_MACHINE_RNG | MAYFLY_MACHINE_VIRTIO_CONSOLE | MAYFLY_MACHINE_LEGACY_VIRTIO)

/* What a machine is made of; kept in snapshots, whose machines have the same. */
struct machine_config {
	uint64_t memory;
	uint64_t cpus;
	uint64_t flags; /* of MACHINE_CONFIG_FLAGS */
	uint64_t ndisks, nnics, nports;
};

struct slirp;

struct machine {
	const struct hv_backend *hv;
	const struct hv_host *host;
	struct hv_vm *vm;
	struct machine_cpu *cpus;
	struct worker *workers; /* theirs */
	uint32_t ncpus;

	struct mayfly_snapshot *snap; /* counted: "at entry", or saved */
	struct machine_config config;
	struct ram ram;
	pid_t owner;   /* the process that made it */
	void *mapping; /* of ram.mem, with what is before it for the sake of alignment */
	uint64_t mapping_len;
	/* Pages of which some are the kernel's file: they hold something untouched, too. */
	uint64_t mapped_first, mapped_end;
	struct bus ports;
	struct bus memory; /* where there is no RAM */
	struct loop *loop;
	struct worker loop_worker;

	/* Devices; owned. */
	struct stream *console;
	struct serial *serial;
	struct rtc *rtc;
	struct fwcfg *fwcfg;
	struct i8042 *i8042;
	struct ports *own_ports;
	struct slirp **helpers; /* one for each network card; NULL where it needs none */
	struct virtio_mmio *virtio[VIRTIO_MMIO_MAX_DEVICES];
	uint32_t nvirtio;
	struct virtio_device *virtio_console; /* one of them, or NULL */
	/*
	 * While the machine is saved nobody makes its console write to memory. Comes before
	 * other locks.
	 */
	pthread_mutex_t save_lock;

	/* Stopping: under `lock`. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum machine_state state;
	enum machine_stop stop;
	int exit_status;
	struct machine_fault fault;
	mayfly_error failure;
	bool interrupted; /* the next run ends at once */
	bool pause_at_mark;
	uint64_t timeout; /* ns that all runs together may take; 0: any */
	uint64_t used;	  /* that they took */

	struct timeline *timeline; /* or NULL */
	uint8_t generation[16];	   /* random, new in each clone: what PORT_GENERATION reads */
	bool ran;
	bool no_seccomp;
	_Atomic(bool) console_seen;
	mayfly_machine_event_fn event;
	void *event_context;
};

/* As mayfly_machine_new() and so on have it; `options` as options_copy() gives them. */
int machine_new(const struct hv_backend *hv, const mayfly_machine_options *options,
		struct machine **out, mayfly_error *err);
void machine_free(struct machine *m);
/* Whatever comes of it, end->console_errno is set if it ran. */
int machine_run(struct machine *m, const mayfly_machine_pause *pause, mayfly_machine_end *end,
		mayfly_error *err);
void machine_interrupt(struct machine *m);
void machine_resize(struct machine *m, uint16_t columns, uint16_t rows);
int machine_snapshot(struct machine *m, struct mayfly_snapshot **out, mayfly_error *err);

/* Any thread, vCPU threads too: the first reason counts. */
void machine_stop(struct machine *m, enum machine_stop why);
void machine_exit(struct machine *m, int status);
void machine_triple_fault(struct machine *m, const struct machine_fault *fault);
void machine_fail(struct machine *m, const mayfly_error *failure);
/*
 * The guest wrote PORT_MARK, on a vCPU's thread: a point on the timeline, an event, or a pause.
 */
void machine_mark(struct machine *m, uint8_t value);
/* A point on the timeline and an event. Any thread. */
void machine_event(struct machine *m, const char *name);

/* memory.c: guest memory, zero, or (snap not NULL) as the snapshot has it. Errors: NOMEM. */
int machine_map_memory(struct machine *m, const struct mayfly_snapshot *snap,
		       mayfly_error *err);
void machine_unmap_memory(struct machine *m);
/* Have the hypervisor know it. */
int machine_map_slots(struct machine *m, mayfly_error *err);
/* Bytes of it that the host holds for this machine alone. */
uint64_t machine_own_memory(const struct machine *m);
/* Put all pages that may hold something into the snapshot. Errors: NOMEM. */
int machine_save_memory(struct machine *m, struct snapshot_builder *b, mayfly_error *err);

/* devices.c: start what takes long to get ready; then make all devices. */
int machine_start_helpers(struct machine *m, const mayfly_machine_options *o,
			  mayfly_error *err);
int machine_make_devices(struct machine *m, const mayfly_machine_options *o, mayfly_error *err);
/* The interrupt line of the virtio device with this number, below VIRTIO_MMIO_MAX_DEVICES. */
uint32_t machine_device_irq(uint32_t number);
/* Takes half-built machines. Nothing runs. */
void machine_free_devices(struct machine *m);

/* machine_cpu.c: a vCPU's thread; its context is a struct machine_cpu. */
void machine_cpu_main(void *cpu, const mayfly_error *failure);

/*
 * machine_save.c: what a snapshot was made with, and its state into a machine made like that.
 */
int machine_read_config(const struct mayfly_snapshot *snap, struct machine_config *out,
			mayfly_error *err);
int machine_load(struct machine *m, const struct mayfly_snapshot *snap, mayfly_error *err);

/* guest.c: what snapshots of machines with so much memory have in common. Errors: NOMEM. */
int machine_guest_new(uint64_t memory, const struct hv_host *host, struct guest **out,
		      mayfly_error *err);

extern const struct guest_kind machine_guest_kind;

#endif

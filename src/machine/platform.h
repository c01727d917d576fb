/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What answers at ports beside the hypervisor's own controllers and timer. Each part is one file:
 * made by _new, which adds it to the bus, saved and loaded by the codec.
 */
#ifndef MAYFLY_MACHINE_PLATFORM_H
#define MAYFLY_MACHINE_PLATFORM_H

#include "core/codec.h"
#include "machine/bus.h"
#include "machine/ram.h"
#include "machine/stream.h"
#include "virtio/mmio.h" /* struct irq_line */

struct machine;

/* --- serial.c: a 16550A at 0x3f8, IRQ 4 (National Semiconductor PC16550D) --- */
#define SERIAL_PORT 0x3f8
#define SERIAL_IRQ 4
struct serial;
/* `stream`: borrowed, and freed after the port; or NULL. Errors: NOMEM. */
int serial_new(struct bus *ports, struct stream *stream, const struct irq_line *irq,
	       struct serial **out, mayfly_error *err);
void serial_free(struct serial *s);
void serial_save(struct serial *s, struct writer *w);
bool serial_load(struct serial *s, struct reader *r);

/* --- rtc.c: an MC146818 clock at 0x70/0x71, UTC, without alarm interrupts --- */
struct rtc;
int rtc_new(struct bus *ports, struct rtc **out, mayfly_error *err);
void rtc_free(struct rtc *rtc);
void rtc_save(const struct rtc *rtc, struct writer *w);
bool rtc_load(struct rtc *rtc, struct reader *r);

/*
 * --- i8042.c: an 8042 at 0x60/0x64 that has no keyboard and whose command 0xfe resets; the reset
 * ports 0xcf9 and 0x92 ---
 */
struct i8042;
int i8042_new(struct bus *ports, struct machine *m, struct i8042 **out, mayfly_error *err);
void i8042_free(struct i8042 *k);
void i8042_save(const struct i8042 *k, struct writer *w);
bool i8042_load(struct i8042 *k, struct reader *r);

/* --- fwcfg.c: fw_cfg at 0x510/0x511 with DMA at 0x514 (QEMU's docs/specs/fw_cfg.rst) --- */
struct fwcfg;
struct fwcfg_file {
	const char *name; /* up to 55 bytes: "opt/..." */
	const void *data; /* copied */
	size_t len;
};
int fwcfg_new(struct bus *ports, const struct ram *ram, const struct fwcfg_file *files,
	      size_t nfiles, struct fwcfg **out, mayfly_error *err);
void fwcfg_free(struct fwcfg *f);
void fwcfg_save(const struct fwcfg *f, struct writer *w);
bool fwcfg_load(struct fwcfg *f, struct reader *r);

/*
 * --- ports.c: Mayfly's own: an exit port (outl of the status, 0-255), a mark port (outb: a point
 * on the timeline), a generation (inl at 4 offsets, 16 bytes: new in each clone) --- documented in
 * docs/kernels.md.
 */
#define PORT_EXIT 0xf4
#define PORT_MARK 0xf5
#define PORT_GENERATION 0x4d50 /* "MP": 16 ports */
struct ports;
int ports_new(struct bus *bus, struct machine *m, struct ports **out, mayfly_error *err);
void ports_free(struct ports *p);

#endif

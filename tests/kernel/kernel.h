/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test kernel: boots by PVH, runs the one check that its command line names by "test=", says
 * "ok NAME", or what is wrong, on the serial port, and leaves by the exit port with 0 or 1. Small
 * and free of vector code, since it must run where ring 0 is interpreted instruction by
 * instruction.
 */
#ifndef MAYFLY_TEST_KERNEL_H
#define MAYFLY_TEST_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- ports and the CPU ----------------------------------------------------------------------- */

static inline void out8(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t v)
{
	__asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint16_t in16(uint16_t port)
{
	uint16_t v;

	__asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline uint64_t tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline uint64_t read_msr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static inline void write_msr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t index)
{
	struct cpuid c;

	__asm__ volatile("cpuid"
			 : "=a"(c.eax), "=b"(c.ebx), "=c"(c.ecx), "=d"(c.edx)
			 : "a"(leaf), "c"(index));
	return c;
}

/* The address is hidden from the compiler, which takes low ones for null pointers. */
static inline void *at(uint64_t address)
{
	void *p = (void *)address; /* NOLINT: physical addresses are pointers here */

	__asm__("" : "+r"(p));
	return p;
}

#define BARRIER() __asm__ volatile("" ::: "memory")

/* --- what the loader left ---------------------------------------------------------------------- */

struct entry_state {
	uint32_t ebx, cr0, cr4, eflags;
	uint16_t cs, ds, es, ss, tr, unused;
	uint32_t efer;
};

struct start_info {
	uint32_t magic, version, flags, nmodules;
	uint64_t modules, cmdline, rsdp, memory_map;
	uint32_t memory_map_entries, reserved;
};

struct start_module {
	uint64_t address, size, cmdline, reserved;
};

struct start_memory {
	uint64_t address, size;
	uint32_t type, reserved;
};

extern struct entry_state entry_state;
extern const struct start_info *start_info;
extern const char *command_line;
extern uint8_t kernel_end[];

/* --- console, command line, ending --------------------------------------------------------------- */

void print(const char *s);
void print_number(uint64_t v);
void print_hex(uint64_t v);
/* The value of "key=value" on the command line, or NULL; up to a space or the end. */
const char *option(const char *key);
/* The same as a number, decimal or 0x; `otherwise` if it is not there. */
uint64_t option_number(const char *key, uint64_t otherwise);
bool starts_with(const char *s, const char *prefix);
/* What the compiler makes calls of too; defined in main.c. */
void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int v, size_t len);
void leave(uint8_t status) __attribute__((noreturn));
/* Say what is wrong, and where; leave with 1. */
void wrong(const char *what, const char *file, int line) __attribute__((noreturn));

#define CHECK(condition)                                                                       \
	do {                                                                                   \
		if (!(condition))                                                              \
			wrong(#condition, __FILE__, __LINE__);                                 \
	} while (0)
/* With both values in the message. */
void equal(uint64_t found, uint64_t wanted, const char *what, int line);
#define EQUAL(found, wanted) equal((found), (wanted), #found, __LINE__)

/* --- interrupts (interrupts.c) ------------------------------------------------------------------- */

#define IRQ_VECTOR 0x30 /* of IOAPIC pin 0 */
#define TIMER_VECTOR 0x4f

extern volatile uint32_t irq_count[32]; /* by IOAPIC pin */
extern volatile uint32_t timer_count;
/* Called for each interrupt of a pin, before its end is signalled. */
extern void (*irq_handler)(uint32_t pin);
void interrupts_init(void);
/* The pin's interrupts to this CPU; level-triggered, active high, or edge-triggered. */
void irq_route(uint32_t pin, bool level);
void irq_mask(uint32_t pin);
uint32_t lapic_read(uint32_t offset);
void lapic_write(uint32_t offset, uint32_t v);
/* Halt until *counter is not `was` any more. False: it did not change for ages. */
bool wait_change(const volatile uint32_t *counter, uint32_t was);

/* --- virtio-mmio (virtio.c) ---------------------------------------------------------------------- */

#define VIRTIO_NET 1
#define VIRTIO_BLK 2
#define VIRTIO_CONSOLE 3
#define VIRTIO_RNG 4

#define QUEUE_SIZE 16
#define DESC_NEXT 1
#define DESC_WRITE 2
#define DESC_INDIRECT 4

struct desc {
	uint64_t address;
	uint32_t len;
	uint16_t flags, next;
};

struct queue {
	volatile struct desc *desc;
	volatile uint16_t *avail; /* flags, index, ring */
	volatile uint16_t *used;  /* flags, index, then pairs of 32 bits */
	uint16_t next_avail, next_used;
};

struct device {
	uint64_t base;
	uint32_t irq;
	uint32_t version, type;
	struct queue queues[2];
};

enum {
	REG_MAGIC = 0x00,
	REG_VERSION = 0x04,
	REG_DEVICE = 0x08,
	REG_FEATURES = 0x10,
	REG_FEATURES_SELECT = 0x14,
	REG_DRIVER_FEATURES = 0x20,
	REG_DRIVER_SELECT = 0x24,
	REG_PAGE_SIZE = 0x28,
	REG_QUEUE = 0x30,
	REG_QUEUE_MAX = 0x34,
	REG_QUEUE_NUM = 0x38,
	REG_QUEUE_ALIGN = 0x3c,
	REG_QUEUE_PFN = 0x40,
	REG_QUEUE_READY = 0x44,
	REG_NOTIFY = 0x50,
	REG_INTERRUPT = 0x60,
	REG_ACK = 0x64,
	REG_STATUS = 0x70,
	REG_DESC = 0x80,
	REG_AVAIL = 0x90,
	REG_USED = 0xa0,
	REG_GENERATION = 0xfc,
	REG_CONFIG = 0x100
};

#define STATUS_DRIVER_OK 4
#define STATUS_NEEDS_RESET 64

uint32_t reg_read(const struct device *d, uint32_t offset);
void reg_write(const struct device *d, uint32_t offset, uint32_t v);
uint8_t config8(const struct device *d, uint32_t offset);

/* The n-th device (from 0) of the command line that is of this type; leaves if there is none. */
struct device device_find(uint32_t type, uint32_t n);
/* The n-th device at all; type 0 beyond the last. */
struct device device_at(uint32_t n);
/* Reset; agree on these features; set up `queues` queues; DRIVER_OK. */
void device_start(struct device *d, uint64_t features, uint32_t queues);
void device_reset(struct device *d);
/* Up to FEATURES_OK. */
void device_agree(struct device *d, uint64_t features);
uint64_t device_features(const struct device *d);
/* Set up the q-th queue. */
void queue_setup(struct device *d, uint32_t q);
/* Put a chain that begins at `head` up for the device. */
void queue_offer(struct queue *q, uint16_t head);
void queue_notify(const struct device *d, uint32_t q);
/* Wait for one used chain; gives the length that the device says it wrote. */
uint32_t queue_wait(struct device *d, uint32_t q, uint16_t head);
void set_desc(struct queue *q, uint16_t i, const volatile void *data, uint32_t len,
	      uint16_t flags);

/* --- checks, by file -------------------------------------------------------------------------------- */

struct check {
	const char *name;
	void (*run)(void);
};

extern const struct check platform_checks[], device_checks[], hostile_checks[];

#endif

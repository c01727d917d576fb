/* SPDX-License-Identifier: Apache-2.0 */
/* Intel MultiProcessor Specification 1.4, chapter 4; the numbers of fields are its tables'. */
#include "machine/boot.h"
#include "machine/machine.h"

#define SPEC_REVISION 4
#define LAPIC_ADDRESS 0xfee00000u
#define IOAPIC_ADDRESS 0xfec00000u
#define LAPIC_VERSION 0x14 /* as KVM's say */
#define IOAPIC_VERSION 0x11
#define ISA_BUS 0
#define ISA_IRQS 16
#define CLOCK_IRQ 8

enum entry_type { ENTRY_CPU, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_INTERRUPT, ENTRY_LOCAL };
enum interrupt_type { INTERRUPT_INT = 0, INTERRUPT_NMI = 1, INTERRUPT_EXTINT = 3 };

#define ACTIVE_HIGH_LEVEL 0x0d /* table 4-10: polarity 01, trigger 11; 0: as the bus has it */
#define CPU_ENABLED 1
#define CPU_BOOT 2
#define CPU_SIGNATURE 0x600 /* family 6; kernels ask CPUID */
#define CPU_FEATURES 0x201  /* FPU, APIC */
#define ALL_CPUS 0xff

struct floating_pointer {
	char signature[4];
	uint32_t table;
	uint8_t length; /* in 16 bytes */
	uint8_t revision;
	uint8_t checksum;
	uint8_t features[5]; /* all zero: a table is there, virtual wire mode */
};

struct header {
	char signature[4];
	uint16_t length; /* of all but extended entries, of which there are none */
	uint8_t revision;
	uint8_t checksum;
	char oem[8];
	char product[12];
	uint32_t oem_table;
	uint16_t oem_size;
	uint16_t entries;
	uint32_t lapic;
	uint16_t extended_length;
	uint8_t extended_checksum;
	uint8_t reserved;
};

struct cpu_entry {
	uint8_t type, apic, version, flags;
	uint32_t signature, features;
	uint32_t reserved[2];
};

struct bus_entry {
	uint8_t type, id;
	char name[6];
};

struct ioapic_entry {
	uint8_t type, id, version, flags;
	uint32_t address;
};

struct interrupt_entry {
	uint8_t type, kind;
	uint16_t flags;
	uint8_t bus, irq;
	uint8_t to, pin;
};

_Static_assert(sizeof(struct floating_pointer) == 16, "table 4-1");
_Static_assert(sizeof(struct header) == 44, "table 4-2");
_Static_assert(sizeof(struct cpu_entry) == 20, "table 4-4");
_Static_assert(sizeof(struct bus_entry) == 8, "table 4-7");
_Static_assert(sizeof(struct ioapic_entry) == 8, "table 4-9");
_Static_assert(sizeof(struct interrupt_entry) == 8, "table 4-10");
_Static_assert(sizeof(struct floating_pointer) + sizeof(struct header) +
			       MPTABLE_MAX_CPUS * sizeof(struct cpu_entry) +
			       (size_t)(2 + ISA_IRQS + 2) * 8 <=
		       MPTABLE_SIZE,
	       "there is room for all CPUs");

struct builder {
	uint8_t *table;
	size_t len;
	struct header header;
};

static void add(struct builder *b, const void *entry, size_t len)
{
	memcpy(b->table + b->len, entry, len);
	b->len += len;
	b->header.entries++;
}

static void add_interrupt(struct builder *b, const struct interrupt_entry *entry)
{
	add(b, entry, sizeof(*entry));
}

/* What makes the sum of all bytes zero. */
static uint8_t checksum(const uint8_t *data, size_t len)
{
	unsigned sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += data[i];
	return (uint8_t)(0x100 - (sum & 0xff));
}

static void add_cpus(struct builder *b, uint32_t cpus)
{
	for (uint32_t i = 0; i < cpus; i++) {
		const struct cpu_entry cpu = {
			.type = ENTRY_CPU,
			.apic = (uint8_t)i,
			.version = LAPIC_VERSION,
			.flags = CPU_ENABLED | (i == 0 ? CPU_BOOT : 0),
			.signature = CPU_SIGNATURE,
			.features = CPU_FEATURES,
		};

		add(b, &cpu, sizeof(cpu));
	}
}

static void add_interrupts(struct builder *b, uint8_t ioapic)
{
	for (uint8_t irq = 0; irq < ISA_IRQS; irq++) {
		bool level = irq >= MACHINE_FIRST_IRQ && irq != CLOCK_IRQ;

		add_interrupt(b, &(struct interrupt_entry){ENTRY_INTERRUPT, INTERRUPT_INT,
							   level ? ACTIVE_HIGH_LEVEL : 0,
							   ISA_BUS, irq, ioapic, irq});
	}
	add_interrupt(b, &(struct interrupt_entry){ENTRY_LOCAL, INTERRUPT_EXTINT, 0, ISA_BUS, 0,
						   0, 0});
	add_interrupt(b, &(struct interrupt_entry){ENTRY_LOCAL, INTERRUPT_NMI, 0, ISA_BUS, 0,
						   ALL_CPUS, 1});
}

void mptable_build(uint8_t table[MPTABLE_SIZE], uint32_t address, uint32_t cpus)
{
	struct floating_pointer pointer = {
		.signature = "_MP_",
		.table = address + (uint32_t)sizeof(pointer),
		.length = 1,
		.revision = SPEC_REVISION,
	};
	struct builder b = {
		.table = table,
		.len = sizeof(pointer) + sizeof(struct header),
		.header = {.signature = "PCMP",
			   .revision = SPEC_REVISION,
			   .lapic = LAPIC_ADDRESS},
	};
	const uint8_t ioapic = (uint8_t)cpus; /* an id that no LAPIC has */
	struct bus_entry bus = {.type = ENTRY_BUS, .id = ISA_BUS};

	memset(table, 0, MPTABLE_SIZE);
	memcpy(b.header.oem, "MAYFLY  ", sizeof(b.header.oem));
	memcpy(b.header.product, "MICROVM     ", sizeof(b.header.product));
	memcpy(bus.name, "ISA   ", sizeof(bus.name));
	add_cpus(&b, cpus);
	add(&b, &bus, sizeof(bus));
	add(&b, &(struct ioapic_entry){ENTRY_IOAPIC, ioapic, IOAPIC_VERSION, 1, IOAPIC_ADDRESS},
	    sizeof(struct ioapic_entry));
	add_interrupts(&b, ioapic);

	b.header.length = (uint16_t)(b.len - sizeof(pointer));
	memcpy(table + sizeof(pointer), &b.header, sizeof(b.header));
	b.header.checksum = checksum(table + sizeof(pointer), b.header.length);
	memcpy(table + sizeof(pointer), &b.header, sizeof(b.header));
	pointer.checksum = checksum((const uint8_t *)&pointer, sizeof(pointer));
	memcpy(table, &pointer, sizeof(pointer));
}

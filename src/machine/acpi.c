/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/acpi.h"

#include <string.h>

/* Addresses of the interrupt controllers, as KVM has them. */
#define LAPIC_ADDRESS 0xfee00000u
#define IOAPIC_ADDRESS 0xfec00000u

#define REVISION_XSDT 1
#define REVISION_FADT 6
#define REVISION_MADT 5
#define REVISION_DSDT 2

/* FADT (5.2.9) */
#define FADT_LEN 276
#define FADT_BOOT_ARCH 109 /* IAPC_BOOT_ARCH: no 8042, no VGA to probe for */
#define BOOT_ARCH_NO_VGA (1u << 2)
#define FADT_FLAGS 112
#define FLAG_WBINVD (1u << 0)
#define FLAG_PWR_BUTTON (1u << 4) /* none, or it would be a fixed one */
#define FLAG_SLP_BUTTON (1u << 5)
#define FLAG_RESET (1u << 10)
#define FLAG_HEADLESS (1u << 12)
#define FLAG_HW_REDUCED (1u << 20)
#define FADT_RESET_REG 116
#define FADT_RESET_VALUE 128
#define FADT_MINOR 131
#define FADT_X_DSDT 140
#define FADT_SLEEP_CONTROL 244
#define FADT_SLEEP_STATUS 256

/* AML (20.2) */
#define AML_ZERO 0x00
#define AML_ONE 0x01
#define AML_NAME 0x08
#define AML_BYTE 0x0a
#define AML_DWORD 0x0c
#define AML_STRING 0x0d
#define AML_SCOPE 0x10
#define AML_BUFFER 0x11
#define AML_PACKAGE 0x12
#define AML_EXT 0x5b
#define AML_EXT_DEVICE 0x82

/* Resources (6.4) */
#define RESOURCE_IRQ 0x22	/* short, two bytes of mask: edge, high */
#define RESOURCE_IO 0x47	/* short */
#define RESOURCE_MEMORY32 0x86	/* large: fixed */
#define RESOURCE_INTERRUPT 0x89 /* large: extended */
#define RESOURCE_END 0x79

struct table {
	uint8_t *at; /* of ACPI_SIZE bytes */
	uint32_t used;
	uint32_t start; /* of the table that is being written */
	bool full;
};

static void put(struct table *t, const void *data, uint32_t len)
{
	if (len > ACPI_SIZE - t->used) {
		t->full = true;
		return;
	}
	memcpy(t->at + t->used, data, len);
	t->used += len;
}

static void put8(struct table *t, uint32_t v)
{
	uint8_t byte = (uint8_t)v;

	put(t, &byte, 1);
}

static void put16(struct table *t, uint32_t v)
{
	uint16_t word = (uint16_t)v;

	put(t, &word, 2);
}

static void put32(struct table *t, uint32_t v)
{
	put(t, &v, 4);
}

static void put64(struct table *t, uint64_t v)
{
	put(t, &v, 8);
}

static uint8_t checksum(const uint8_t *data, uint32_t len)
{
	uint8_t sum = 0;

	for (uint32_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + data[i]);
	return (uint8_t)-sum;
}

/* The header of a table (5.2.6); length and checksum come at its end. */
static void begin_table(struct table *t, const char *signature, uint32_t revision)
{
	t->used = (t->used + 15) & ~15u;
	t->start = t->used;
	put(t, signature, 4);
	put32(t, 0);
	put8(t, revision);
	put8(t, 0);
	put(t, "MAYFLY", 6);
	put(t, "MICROVM ", 8);
	put32(t, 1);
	put(t, "MAYF", 4);
	put32(t, 1);
}

/* Gives the table's address. */
static uint32_t end_table(struct table *t)
{
	uint32_t len = t->used - t->start;

	if (t->full)
		return 0;
	memcpy(t->at + t->start + 4, &len, sizeof(len));
	t->at[t->start + 9] = checksum(t->at + t->start, len);
	return ACPI_ADDRESS + t->start;
}

/* --- AML ---------------------------------------------------------------------------------- */

/* A package whose length is filled in at its end: always two bytes of it (20.2.4). */
static uint32_t begin_package(struct table *t)
{
	uint32_t at = t->used;

	put16(t, 0);
	return at;
}

static void end_package(struct table *t, uint32_t at)
{
	uint32_t len = t->used - at;

	if (t->full)
		return;
	if (len >= 1u << 12) {
		t->full = true;
		return;
	}
	t->at[at] = (uint8_t)(1u << 6 | (len & 15));
	t->at[at + 1] = (uint8_t)(len >> 4);
}

static void put_string_name(struct table *t, const char *name, const char *value)
{
	put8(t, AML_NAME);
	put(t, name, 4);
	put8(t, AML_STRING);
	put(t, value, (uint32_t)strlen(value) + 1);
}

static void put_number_name(struct table *t, const char *name, uint32_t value)
{
	put8(t, AML_NAME);
	put(t, name, 4);
	put8(t, AML_DWORD);
	put32(t, value);
}

/* Name (_HID, EisaId ("PNP....")): the identifier in its packed form (19.3.4). */
static void put_eisa_name(struct table *t, uint32_t packed)
{
	put_number_name(t, "_HID", packed);
}

#define EISA_PNP0501 0x0105d041u /* a 16550A */
#define EISA_PNP0B00 0x000bd041u /* the CMOS clock */

/* Name (_CRS, Buffer (len) {...}): begins both packages. */
struct resources {
	uint32_t buffer;
	uint32_t len_at;
};

static struct resources begin_resources(struct table *t)
{
	struct resources r;

	put8(t, AML_NAME);
	put(t, "_CRS", 4);
	put8(t, AML_BUFFER);
	r.buffer = begin_package(t);
	put8(t, AML_BYTE);
	r.len_at = t->used;
	put8(t, 0);
	return r;
}

static void end_resources(struct table *t, struct resources r)
{
	put8(t, RESOURCE_END);
	put8(t, 0); /* no checksum */
	if (!t->full)
		t->at[r.len_at] = (uint8_t)(t->used - r.len_at - 1);
	end_package(t, r.buffer);
}

static void put_io(struct table *t, uint32_t port, uint32_t len)
{
	put8(t, RESOURCE_IO);
	put8(t, 1); /* 16 bits are decoded */
	put16(t, port);
	put16(t, port);
	put8(t, 1);
	put8(t, len);
}

static void put_irq(struct table *t, uint32_t irq)
{
	put8(t, RESOURCE_IRQ);
	put16(t, 1u << irq);
}

static void put_virtio(struct table *t, uint32_t number, const struct acpi_device *d)
{
	char name[] = "VR00";
	struct resources r;
	uint32_t device;

	name[2] = (char)('0' + number / 10 % 10);
	name[3] = (char)('0' + number % 10);
	put8(t, AML_EXT);
	put8(t, AML_EXT_DEVICE);
	device = begin_package(t);
	put(t, name, 4);
	/* What Linux's drivers/virtio/virtio_mmio.c answers to. */
	put_string_name(t, "_HID", "LNRO0005");
	put_number_name(t, "_UID", number);
	put_number_name(t, "_CCA", 1);
	r = begin_resources(t);
	put8(t, RESOURCE_MEMORY32);
	put16(t, 9);
	put8(t, 1); /* writable */
	put32(t, (uint32_t)d->base);
	put32(t, d->len);
	put8(t, RESOURCE_INTERRUPT);
	put16(t, 6);
	put8(t, 1); /* consumer, level, active high, exclusive */
	put8(t, 1);
	put32(t, d->irq);
	end_resources(t, r);
	end_package(t, device);
}

static void put_serial(struct table *t)
{
	struct resources r;
	uint32_t device;

	put8(t, AML_EXT);
	put8(t, AML_EXT_DEVICE);
	device = begin_package(t);
	put(t, "COM1", 4);
	put_eisa_name(t, EISA_PNP0501);
	put_number_name(t, "_UID", 1);
	r = begin_resources(t);
	put_io(t, 0x3f8, 8);
	put_irq(t, 4);
	end_resources(t, r);
	end_package(t, device);
}

static void put_clock(struct table *t)
{
	struct resources r;
	uint32_t device;

	put8(t, AML_EXT);
	put8(t, AML_EXT_DEVICE);
	device = begin_package(t);
	put(t, "RTC0", 4);
	put_eisa_name(t, EISA_PNP0B00);
	r = begin_resources(t);
	put_io(t, 0x70, 2);
	end_resources(t, r);
	end_package(t, device);
}

/* Name (\_S5, Package {5, 5, 0, 0}): SLP_TYP of power-off (7.4.2). */
static void put_s5(struct table *t)
{
	uint32_t package;

	put8(t, AML_NAME);
	put(t, "_S5_", 4);
	put8(t, AML_PACKAGE);
	package = begin_package(t);
	put8(t, 4);
	put8(t, AML_BYTE);
	put8(t, ACPI_SLEEP_OFF >> 2 & 7);
	put8(t, AML_BYTE);
	put8(t, ACPI_SLEEP_OFF >> 2 & 7);
	put8(t, AML_ZERO);
	put8(t, AML_ZERO);
	end_package(t, package);
}

static uint32_t build_dsdt(struct table *t, const struct acpi_config *config)
{
	uint32_t scope;

	begin_table(t, "DSDT", REVISION_DSDT);
	put_s5(t);
	put8(t, AML_SCOPE);
	scope = begin_package(t);
	put(t, "\\_SB_", 5);
	put_serial(t);
	put_clock(t);
	for (uint32_t i = 0; i < config->ndevices; i++)
		put_virtio(t, i, &config->devices[i]);
	end_package(t, scope);
	return end_table(t);
}

/* --- The other tables --------------------------------------------------------------------- */

/* MADT (5.2.12): a LAPIC for each CPU, the IOAPIC. */
static uint32_t build_madt(struct table *t, uint32_t cpus)
{
	begin_table(t, "APIC", REVISION_MADT);
	put32(t, LAPIC_ADDRESS);
	put32(t, 0); /* no 8259s to be switched off */
	for (uint32_t i = 0; i < cpus; i++) {
		put8(t, 0);
		put8(t, 8);
		put8(t, i);
		put8(t, i);
		put32(t, 1); /* enabled */
	}
	put8(t, 1);
	put8(t, 12);
	put8(t, 0); /* its id: as KVM's has it */
	put8(t, 0);
	put32(t, IOAPIC_ADDRESS);
	put32(t, 0);
	return end_table(t);
}

/* A register at a port, 8 bits wide, in the generic form (5.2.3.2). */
static void put_register(uint8_t *at, uint64_t port)
{
	at[0] = 1; /* system I/O */
	at[1] = 8;
	at[2] = 0;
	at[3] = 1; /* byte accesses */
	memcpy(at + 4, &port, sizeof(port));
}

static uint32_t build_fadt(struct table *t, uint32_t dsdt)
{
	uint8_t body[FADT_LEN] = {0};
	uint32_t flags = FLAG_WBINVD | FLAG_PWR_BUTTON | FLAG_SLP_BUTTON | FLAG_RESET |
			 FLAG_HEADLESS | FLAG_HW_REDUCED;
	uint64_t x_dsdt = dsdt;

	body[FADT_BOOT_ARCH] = BOOT_ARCH_NO_VGA;
	memcpy(body + FADT_FLAGS, &flags, sizeof(flags));
	put_register(body + FADT_RESET_REG, 0x64);
	body[FADT_RESET_VALUE] = 0xfe;
	body[FADT_MINOR] = 5;
	memcpy(body + FADT_X_DSDT, &x_dsdt, sizeof(x_dsdt));
	put_register(body + FADT_SLEEP_CONTROL, ACPI_PORT_SLEEP);
	put_register(body + FADT_SLEEP_STATUS, ACPI_PORT_SLEEP_STATUS);
	begin_table(t, "FACP", REVISION_FADT);
	put(t, body + (t->used - t->start), FADT_LEN - (t->used - t->start));
	return end_table(t);
}

static uint32_t build_xsdt(struct table *t, const uint32_t *tables, size_t count)
{
	begin_table(t, "XSDT", REVISION_XSDT);
	for (size_t i = 0; i < count; i++)
		put64(t, tables[i]);
	return end_table(t);
}

/* RSDP (5.2.5.3) */
struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t len;
	uint64_t xsdt;
	uint8_t extended_checksum; /* of all */
	uint8_t reserved[3];
} __attribute__((packed));

_Static_assert(sizeof(struct rsdp) == 36, "the RSDP has 36 bytes");

bool acpi_build(const struct acpi_config *config, uint8_t *to)
{
	struct table t = {.at = to, .used = sizeof(struct rsdp)};
	struct rsdp rsdp = {.revision = 2, .len = sizeof(rsdp)};
	uint32_t tables[2], dsdt = build_dsdt(&t, config);

	tables[0] = build_fadt(&t, dsdt);
	tables[1] = build_madt(&t, config->cpus);
	rsdp.xsdt = build_xsdt(&t, tables, ARRAY_SIZE(tables));
	if (t.full)
		return false;
	memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
	memcpy(rsdp.oem, "MAYFLY", sizeof(rsdp.oem));
	rsdp.checksum = checksum((const uint8_t *)&rsdp, 20);
	rsdp.extended_checksum = checksum((const uint8_t *)&rsdp, sizeof(rsdp));
	memcpy(to, &rsdp, sizeof(rsdp));
	return true;
}

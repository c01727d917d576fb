/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables (ACPI 6.5), for kernels that look for virtio-mmio devices nowhere else: Linux built
 * without VIRTIO_MMIO_CMDLINE_DEVICES, which is what distributions ship. Hardware-reduced: data in
 * memory, and two ports to power off by; nothing else of ACPI is there.
 */
#ifndef MAYFLY_MACHINE_ACPI_H
#define MAYFLY_MACHINE_ACPI_H

#include "core/util.h"

/* Where the tables lie: in the area in which firmware has its own, 16-byte aligned. */
#define ACPI_ADDRESS 0xe0000u
#define ACPI_SIZE 0x8000u

/* Sleep control and status registers (4.8.3.7): ports. */
#define ACPI_PORT_SLEEP 0x4d60
#define ACPI_PORT_SLEEP_STATUS 0x4d61
/* What is written to power off: SLP_EN, and the SLP_TYP that \_S5 names. */
#define ACPI_SLEEP_OFF (1u << 5 | 5u << 2)

struct acpi_device {
	uint64_t base; /* below 4 GiB */
	uint32_t len;
	uint32_t irq;
};

struct acpi_config {
	uint32_t cpus;
	const struct acpi_device *devices; /* virtio-mmio */
	uint32_t ndevices;
};

/*
 * Write all tables into `to`, ACPI_SIZE zero bytes that the guest sees at ACPI_ADDRESS; the root
 * pointer (RSDP) is at its beginning. False if they do not fit.
 */
bool acpi_build(const struct acpi_config *config, uint8_t *to);

#endif

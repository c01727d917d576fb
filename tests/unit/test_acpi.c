/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI tables of machines, read back as an operating system reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "machine/acpi.h"

static uint8_t tables[ACPI_SIZE];

static const struct acpi_device two[] = {{0xfeb00000, 0x200, 5}, {0xfeb00200, 0x200, 6}};

static uint8_t sum(const uint8_t *at, uint32_t len)
{
	uint8_t s = 0;

	while (len--)
		s = (uint8_t)(s + *at++);
	return s;
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

static uint64_t get64(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return v;
}

/* The table at a guest-physical address; checks that it lies within. */
static const uint8_t *table_at(uint64_t address)
{
	assert_in_range(address, ACPI_ADDRESS, ACPI_ADDRESS + ACPI_SIZE - 36);
	assert_int_equal(address % 16, 0);
	return tables + (address - ACPI_ADDRESS);
}

static const uint8_t *find_table(const char *signature)
{
	const uint8_t *xsdt = table_at(get64(tables + 24));

	assert_memory_equal(xsdt, "XSDT", 4);
	for (uint32_t at = 36; at < get32(xsdt + 4); at += 8) {
		const uint8_t *t = table_at(get64(xsdt + at));

		if (!memcmp(t, signature, 4))
			return t;
	}
	fail_msg("no table %s", signature);
	return NULL;
}

static void build(uint32_t cpus)
{
	const struct acpi_config config = {cpus, two, ARRAY_SIZE(two)};

	memset(tables, 0, sizeof(tables));
	assert_true(acpi_build(&config, tables));
}

static void each_checksum_is_zero(void **state)
{
	const uint8_t *t;

	(void)state;
	build(2);
	assert_memory_equal(tables, "RSD PTR ", 8);
	assert_int_equal(sum(tables, 20), 0);
	assert_int_equal(sum(tables, 36), 0);
	t = table_at(get64(tables + 24));
	assert_int_equal(sum(t, get32(t + 4)), 0);
	t = find_table("FACP");
	assert_int_equal(sum(t, get32(t + 4)), 0);
	t = table_at(get64(t + 140));
	assert_memory_equal(t, "DSDT", 4);
	assert_int_equal(sum(t, get32(t + 4)), 0);
	t = find_table("APIC");
	assert_int_equal(sum(t, get32(t + 4)), 0);
}

static void the_madt_has_each_cpu_and_one_ioapic(void **state)
{
	const uint8_t *madt;
	uint32_t cpus = 0, ioapics = 0;

	(void)state;
	build(3);
	madt = find_table("APIC");
	for (uint32_t at = 44; at < get32(madt + 4); at += madt[at + 1]) {
		assert_true(madt[at + 1] >= 8);
		if (madt[at] == 0)
			assert_int_equal(madt[at + 3], cpus++);
		else if (madt[at] == 1)
			ioapics++;
	}
	assert_int_equal(cpus, 3);
	assert_int_equal(ioapics, 1);
}

static void the_dsdt_names_each_device_and_its_interrupt(void **state)
{
	/* Memory32Fixed of the second device, then its interrupt (ACPI 6.5, 6.4.3.4, 6.4.3.6). */
	static const uint8_t second[] = {0x86, 9,    0, 1, 0, 2, 0xb0, 0xfe, 0, 2, 0,
					 0,    0x89, 6, 0, 1, 1, 6,    0,    0, 0};
	const uint8_t *dsdt;

	(void)state;
	build(1);
	dsdt = table_at(get64(find_table("FACP") + 140));
	assert_non_null(memmem(dsdt, get32(dsdt + 4), "LNRO0005", 9));
	assert_non_null(memmem(dsdt, get32(dsdt + 4), "VR01", 4));
	assert_non_null(memmem(dsdt, get32(dsdt + 4), second, sizeof(second)));
}

static void the_fadt_is_hardware_reduced_and_resets_by_port_64(void **state)
{
	const uint8_t *fadt;

	(void)state;
	build(1);
	fadt = find_table("FACP");
	assert_true(get32(fadt + 112) & 1u << 20);
	assert_int_equal(get64(fadt + 120), 0x64);
	assert_int_equal(fadt[128], 0xfe);
	assert_int_equal(get64(fadt + 248), ACPI_PORT_SLEEP);
}

static void too_many_devices_are_refused(void **state)
{
	static struct acpi_device many[200];
	const struct acpi_config config = {1, many, ARRAY_SIZE(many)};

	(void)state;
	memset(tables, 0, sizeof(tables));
	assert_false(acpi_build(&config, tables));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_checksum_is_zero),
		cmocka_unit_test(the_madt_has_each_cpu_and_one_ioapic),
		cmocka_unit_test(the_dsdt_names_each_device_and_its_interrupt),
		cmocka_unit_test(the_fadt_is_hardware_reduced_and_resets_by_port_64),
		cmocka_unit_test(too_many_devices_are_refused),
	};

	return cmocka_run_group_tests_name("acpi", tests, NULL, NULL);
}

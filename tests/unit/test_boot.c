/* SPDX-License-Identifier: Apache-2.0 */
/* Memory as a kernel finds it: start information, zero page, MP table, command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail /* core/error.h has its own */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernel_builder.h"
#include "machine/boot.h"
#include "machine/machine.h"

#define MEMORY ((uint64_t)16 << 20)

static struct kernel_file file;
static struct image kernel, initrd;
static struct boot_config config;
static struct cpu_boot boot;
static mayfly_error err;
static struct ram ram;

static int setup_of(uint64_t low, uint64_t len)
{
	void *mem = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ram = (struct ram){.mem = mem, .low = low, .len = len};
	kernel_file_elf(&file);
	kernel = (struct image){.data = file.data, .len = file.len};
	initrd = (struct image){.data = NULL};
	config = (struct boot_config){
		.kernel = &kernel, .initrd = &initrd, .cmdline = "", .cpus = 1};
	return mem == MAP_FAILED ? -1 : 0;
}

static int setup(void **state)
{
	(void)state;
	return setup_of(MEMORY, MEMORY);
}

static int teardown(void **state)
{
	(void)state;
	return munmap(ram.mem, ram.len);
}

static uint64_t get(uint64_t at, unsigned len)
{
	uint64_t v = 0;

	assert_true(ram_read(&ram, gpa(at), &v, len));
	return v;
}

static void prepare(void)
{
	int r = boot_prepare(&config, &ram, &boot, &err);

	if (r)
		print_error("%s\n", err.message);
	assert_int_equal(r, MAYFLY_OK);
}

/* --- PVH --------------------------------------------------------------------------------------- */

static void start_info_is_as_xen_says(void **state)
{
	(void)state;
	config.cmdline = "hello";
	prepare();
	assert_int_equal(boot.mode, CPU_BOOT_PVH);
	assert_int_equal(boot.entry, KERNEL_ADDRESS + 4);
	assert_int_equal(get(boot.info, 4), 0x336ec578);
	assert_int_equal(get(boot.info + 4, 4), 1);
	assert_int_equal(get(boot.info + 8, 4), 0);
	assert_int_equal(get(boot.info + 12, 4), 0); /* modules */
	assert_string_equal(ram_span(&ram, gpa(get(boot.info + 24, 8)), 6), "hello");
	assert_int_equal(get(boot.info + 32, 8), 0); /* RSDP */
	assert_int_equal(get(boot.info + 48, 4), 4); /* pieces of memory */
}

static void assert_memory(uint64_t map, unsigned i, uint64_t from, uint64_t len, uint32_t type)
{
	assert_int_equal(get(map + i * 24, 8), from);
	assert_int_equal(get(map + i * 24 + 8, 8), len);
	assert_int_equal(get(map + i * 24 + 16, 8), type);
}

static void memory_map_leaves_out_tables_and_hole(void **state)
{
	uint64_t map;

	(void)state;
	prepare();
	map = get(boot.info + 40, 8);
	assert_memory(map, 0, 0, 0x9fc00, 1);
	assert_memory(map, 1, 0x9fc00, 0x400, 2);
	assert_memory(map, 2, 0xf0000, 0x10000, 2);
	assert_memory(map, 3, 0x100000, MEMORY - 0x100000, 1);
}

static void memory_beyond_the_devices_is_listed(void **state)
{
	uint64_t map;

	(void)state;
	teardown(state);
	assert_int_equal(setup_of(RAM_LOW_MAX, RAM_LOW_MAX + MEMORY), 0);
	prepare();
	map = get(boot.info + 40, 8);
	assert_int_equal(get(boot.info + 48, 4), 5);
	assert_memory(map, 3, 0x100000, RAM_LOW_MAX - 0x100000, 1);
	assert_memory(map, 4, RAM_HIGH, MEMORY, 1);
}

static void initrd_is_a_module_at_the_top_of_memory(void **state)
{
	uint8_t bytes[5000];
	uint64_t module, address;

	(void)state;
	memset(bytes, 7, sizeof(bytes));
	initrd = (struct image){.data = bytes, .len = sizeof(bytes)};
	prepare();
	assert_int_equal(get(boot.info + 12, 4), 1);
	module = get(boot.info + 16, 8);
	address = get(module, 8);
	assert_int_equal(get(module + 8, 8), sizeof(bytes));
	assert_int_equal(address, MEMORY - 8192);
	assert_memory_equal(ram.mem + address, bytes, sizeof(bytes));
}

static void initrd_that_does_not_fit_is_refused(void **state)
{
	uint8_t *bytes = calloc(1, MEMORY);

	(void)state;
	initrd = (struct image){.data = bytes, .len = MEMORY - KERNEL_ADDRESS - KERNEL_MEMSZ};
	prepare();
	initrd.len++;
	assert_int_equal(boot_prepare(&config, &ram, &boot, &err), MAYFLY_E_TOO_LARGE);
	assert_non_null(strstr(err.message, "initrd"));
	initrd.len = SIZE_MAX;
	assert_int_equal(boot_prepare(&config, &ram, &boot, &err), MAYFLY_E_TOO_LARGE);
	free(bytes);
}

static void gdt_has_flat_segments_and_a_busy_task(void **state)
{
	(void)state;
	prepare();
	assert_int_equal(get(boot.gdt, 8), 0);
	assert_int_equal(get(boot.gdt + CPU_BOOT_CS, 8), 0x00cf9b000000ffff); /* 32 bits */
	assert_int_equal(get(boot.gdt + CPU_BOOT_DS, 8), 0x00cf93000000ffff);
	assert_int_equal(get(boot.gdt + CPU_BOOT_TSS, 8), 0x00008b0000000067);
	assert_int_equal(boot.gdt_limit, CPU_BOOT_TSS + 15);
}

static void numbers_of_cpus_that_cannot_be_are_refused(void **state)
{
	(void)state;
	config.cpus = 0;
	assert_int_equal(boot_prepare(&config, &ram, &boot, &err), MAYFLY_E_INVALID);
	config.cpus = MPTABLE_MAX_CPUS + 1;
	assert_int_equal(boot_prepare(&config, &ram, &boot, &err), MAYFLY_E_INVALID);
}

/* --- Linux's 64-bit protocol --------------------------------------------------------------------- */

static void zero_page_holds_the_header_and_what_a_loader_fills_in(void **state)
{
	uint8_t bytes[100] = {1};

	(void)state;
	kernel_file_bzimage(&file);
	kernel.len = file.len;
	config.cmdline = "root=/dev/vda";
	config.bare = true;
	initrd = (struct image){.data = bytes, .len = sizeof(bytes)};
	prepare();
	assert_int_equal(boot.mode, CPU_BOOT_LINUX64);
	assert_int_equal(boot.entry, KERNEL_ADDRESS + 0x200);
	assert_memory_equal(ram.mem + boot.info + 0x202, "HdrS", 4);
	assert_int_equal(get(boot.info + 0x1f1, 1), 4);
	assert_int_equal(get(boot.info + 0x210, 1), 0xff);
	assert_string_equal(ram_span(&ram, gpa(get(boot.info + 0x228, 4)), 14),
			    "root=/dev/vda");
	assert_int_equal(get(boot.info + 0x218, 4), MEMORY - 4096);
	assert_int_equal(get(boot.info + 0x21c, 4), sizeof(bytes));
	assert_int_equal(get(boot.info + 0x1e8, 1), 4);
	assert_int_equal(get(boot.info + 0x2d0 + 3 * 20, 8), 0x100000);
	assert_int_equal(get(boot.info + 0x2d0 + 3 * 20 + 16, 4), 1);
	assert_int_equal(get(boot.info + 0x1ef, 1), 0); /* sentinel */
}

/* As the CPU walks them (SDM vol. 3, 4.5). */
static void page_tables_map_four_gib_to_themselves(void **state)
{
	(void)state;
	kernel_file_bzimage(&file);
	kernel.len = file.len;
	prepare();
	for (uint64_t va = 0; va < (uint64_t)4 << 30; va += (uint64_t)77 << 21) {
		uint64_t e = get(boot.cr3 + (va >> 39) * 8, 8);

		assert_int_equal(e & 3, 3);
		e = get((e & ~0xfffull) + (va >> 30 & 511) * 8, 8);
		assert_int_equal(e & 0x83, 3);
		e = get((e & ~0xfffull) + (va >> 21 & 511) * 8, 8);
		assert_int_equal(e & 0x83, 0x83);
		assert_int_equal(e & ~0x1fffffull, va);
	}
	assert_int_equal(get(boot.gdt + CPU_BOOT_CS, 8), 0x00af9b000000ffff); /* 64 bits */
}

static void vmlinux_gets_a_header_that_is_enough(void **state)
{
	(void)state;
	file.note->p_type = PT_NULL;
	memcpy(file.data + KERNEL_CODE_OFFSET + 8, "Linux version 6", 15);
	prepare();
	assert_int_equal(boot.mode, CPU_BOOT_LINUX64);
	assert_int_equal(get(boot.info + 0x1fe, 2), 0xaa55);
	assert_memory_equal(ram.mem + boot.info + 0x202, "HdrS", 4);
}

/* --- MP table -------------------------------------------------------------------------------------- */

static uint8_t sum(const uint8_t *data, size_t len)
{
	uint8_t v = 0;

	while (len--)
		v = (uint8_t)(v + *data++);
	return v;
}

static void mptable_of_as_many_cpus_as_can_be_is_right(void **state)
{
	uint8_t table[MPTABLE_SIZE];

	(void)state;
	for (uint32_t cpus = 1; cpus <= MPTABLE_MAX_CPUS; cpus++) {
		const uint8_t *header = table + 16, *cpu = header + 44;
		uint16_t len;

		mptable_build(table, 0x9fc00, cpus);
		memcpy(&len, header + 4, sizeof(len));
		assert_memory_equal(table, "_MP_\x10\xfc\x09\x00\x01\x04", 10);
		assert_int_equal(sum(table, 16), 0);
		assert_memory_equal(header, "PCMP", 4);
		assert_true(16 + len <= MPTABLE_SIZE);
		assert_int_equal(sum(header, len), 0);
		assert_int_equal(len, 44 + cpus * 20 + 20 * 8);
		assert_int_equal(header[34], cpus + 20);
		for (uint32_t i = 0; i < cpus; i++, cpu += 20) {
			assert_int_equal(cpu[0], 0);
			assert_int_equal(cpu[1], i);
			assert_int_equal(cpu[3], i == 0 ? 3 : 1);
		}
	}
}

static void mptable_tells_devices_interrupts_as_levels(void **state)
{
	uint8_t table[MPTABLE_SIZE];
	const uint8_t *entry = table + 16 + 44 + 20 + 8 + 8;

	(void)state;
	mptable_build(table, 0x9fc00, 1);
	for (uint32_t irq = 0; irq < 16; irq++, entry += 8) {
		bool level = irq >= MACHINE_FIRST_IRQ && irq != 8;

		assert_int_equal(entry[0], 3);
		assert_int_equal(entry[2], level ? 0xd : 0); /* active high, level */
		assert_int_equal(entry[5], irq);
		assert_int_equal(entry[6], 1); /* the IOAPIC, whose id is no CPU's */
		assert_int_equal(entry[7], irq);
	}
	assert_int_equal(entry[0], 4);
	assert_int_equal(entry[1], 3); /* LINT0: ExtINT */
	assert_int_equal(entry[7], 0);
	assert_int_equal(entry[8 + 1], 1); /* LINT1: NMI */
	assert_int_equal(entry[8 + 7], 1);
}

static void mptable_is_found_by_the_bios_data_area(void **state)
{
	(void)state;
	prepare();
	assert_int_equal(get(0x40e, 2) << 4, 0x9fc00);
	assert_int_equal(get(0x413, 2), 639);
	assert_memory_equal(ram.mem + 0x9fc00, "_MP_", 4);
}

/* --- the command line -------------------------------------------------------------------------------- */

static const struct boot_device devices[] = {{0xfeb00000, 5}, {0xfeb00200, 6}};
static char line[4096];

static const char *cmdline(enum kernel_system system, const char *user)
{
	config.cmdline = user;
	assert_int_equal(boot_cmdline(&config, system, line, sizeof(line), &err), MAYFLY_OK);
	return line;
}

#define DEVICES "virtio_mmio.device=512@0xfeb00000:5 virtio_mmio.device=512@0xfeb00200:6"

static void devices_come_last_after_single_spaces(void **state)
{
	(void)state;
	config.devices = devices;
	config.ndevices = 2;
	assert_string_equal(cmdline(KERNEL_OTHER, ""), DEVICES);
	assert_string_equal(cmdline(KERNEL_OTHER, "a b"), "a b " DEVICES);
	assert_string_equal(cmdline(KERNEL_OTHER, "  a  "), "a " DEVICES);
}

static void netbsd_gets_its_console_first(void **state)
{
	(void)state;
	config.devices = devices;
	config.ndevices = 2;
	config.console = BOOT_CONSOLE_SERIAL;
	assert_string_equal(cmdline(KERNEL_NETBSD, "root=ld0a -z"),
			    "console=com root=ld0a -z " DEVICES);
	config.console = BOOT_CONSOLE_VIRTIO;
	assert_string_equal(cmdline(KERNEL_NETBSD, "-z"), "console=viocon -z " DEVICES);
	assert_string_equal(cmdline(KERNEL_NETBSD, "console=pc"), "console=pc " DEVICES);
}

static void linux_gets_what_makes_it_quick(void **state)
{
	(void)state;
	config.console = BOOT_CONSOLE_SERIAL;
	cmdline(KERNEL_LINUX, "quiet");
	assert_int_equal(strncmp(line, "quiet console=ttyS0 ", 20), 0);
	assert_non_null(strstr(line, " reboot=k"));
	assert_non_null(strstr(line, " panic=-1"));
	assert_non_null(strstr(line, " i8042.noaux"));
}

static void what_the_user_says_is_not_said_again(void **state)
{
	(void)state;
	config.console = BOOT_CONSOLE_VIRTIO;
	cmdline(KERNEL_LINUX, "panic=10 console=tty9 i8042.noaux");
	assert_null(strstr(line, "panic=-1"));
	assert_null(strstr(line, "hvc0"));
	assert_null(strstr(strstr(line, "i8042.noaux") + 1, "i8042.noaux"));
	/* A word that merely contains it is another. */
	cmdline(KERNEL_LINUX, "xpanic=10 netconsole=x");
	assert_non_null(strstr(line, "panic=-1"));
	assert_non_null(strstr(line, "console=hvc0"));
}

static void arguments_of_init_stay_last(void **state)
{
	(void)state;
	config.devices = devices;
	config.ndevices = 2;
	cmdline(KERNEL_LINUX, "quiet -- -x panic=7");
	assert_string_equal(line + strlen(line) - strlen(DEVICES " -- -x panic=7"),
			    DEVICES " -- -x panic=7");
	assert_non_null(strstr(line, "panic=-1"));
	cmdline(KERNEL_LINUX, "-- one");
	assert_string_equal(line + strlen(line) - strlen(DEVICES " -- one"), DEVICES " -- one");
	assert_string_equal(cmdline(KERNEL_NETBSD, "a -- b"), "a -- b " DEVICES);
}

static void plain_command_line_stays_as_it_is(void **state)
{
	(void)state;
	config.devices = devices;
	config.ndevices = 2;
	config.console = BOOT_CONSOLE_SERIAL;
	config.bare = true;
	assert_string_equal(cmdline(KERNEL_LINUX, " a  b "), " a  b ");
	assert_string_equal(cmdline(KERNEL_NETBSD, ""), "");
}

static void command_line_that_is_too_long_is_refused(void **state)
{
	char small[8];

	(void)state;
	config.cmdline = "1234567";
	assert_int_equal(boot_cmdline(&config, KERNEL_OTHER, small, sizeof(small), &err),
			 MAYFLY_OK);
	assert_string_equal(small, "1234567");
	config.cmdline = "12345678";
	assert_int_equal(boot_cmdline(&config, KERNEL_OTHER, small, sizeof(small), &err),
			 MAYFLY_E_TOO_LARGE);
	assert_non_null(strstr(err.message, "7 bytes"));
}

/* Linux would cut it off silently, and the devices with it. */
static void command_line_that_linux_would_cut_off_is_refused(void **state)
{
	char text[2049];

	(void)state;
	memset(text, 'a', sizeof(text));
	text[2048] = '\0';
	config.cmdline = text;
	config.bare = true;
	prepare(); /* a kernel of nobody we know */
	kernel_file_bzimage(&file);
	kernel.len = file.len;
	assert_int_equal(boot_prepare(&config, &ram, &boot, &err), MAYFLY_E_TOO_LARGE);
	text[2047] = '\0';
	prepare();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(start_info_is_as_xen_says),
		TEST(memory_map_leaves_out_tables_and_hole),
		TEST(memory_beyond_the_devices_is_listed),
		TEST(initrd_is_a_module_at_the_top_of_memory),
		TEST(initrd_that_does_not_fit_is_refused),
		TEST(gdt_has_flat_segments_and_a_busy_task),
		TEST(numbers_of_cpus_that_cannot_be_are_refused),
		TEST(zero_page_holds_the_header_and_what_a_loader_fills_in),
		TEST(page_tables_map_four_gib_to_themselves),
		TEST(vmlinux_gets_a_header_that_is_enough),
		TEST(mptable_of_as_many_cpus_as_can_be_is_right),
		TEST(mptable_tells_devices_interrupts_as_levels),
		TEST(mptable_is_found_by_the_bios_data_area),
		TEST(devices_come_last_after_single_spaces),
		TEST(netbsd_gets_its_console_first),
		TEST(linux_gets_what_makes_it_quick),
		TEST(what_the_user_says_is_not_said_again),
		TEST(arguments_of_init_stay_last),
		TEST(plain_command_line_stays_as_it_is),
		TEST(command_line_that_is_too_long_is_refused),
		TEST(command_line_that_linux_would_cut_off_is_refused),
	};

	return cmocka_run_group_tests_name("boot", tests, NULL, NULL);
}

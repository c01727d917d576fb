/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile kernel file into a machine's memory: the first byte says how the machine is, and how
 * much of the rest is an initrd; what is left is the kernel. Besides the sanitizers' findings, what
 * the headers promise is checked: all within memory, nothing on top of each other.
 */
#include <string.h>
#include <sys/mman.h>

#include "fuzz.h"
#include "machine/boot.h"
#include "machine/machine.h"

#define MEMORY ((uint64_t)4 << 20)

static const struct boot_device devices[] = {{0xfeb00000, 5}, {0xfeb00200, 6}};

static struct ram ram;

/* Zero again. */
static void clear_ram(void)
{
	if (!ram.mem) {
		ram = (struct ram){.low = MEMORY, .len = MEMORY};
		ram.mem = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(ram.mem != MAP_FAILED);
	}
	CHECK(madvise(ram.mem, MEMORY, MADV_DONTNEED) == 0);
}

static void check_kernel(const uint8_t *data, size_t len)
{
	struct kernel k;
	mayfly_error err;
	struct image image = {.data = data, .len = len};
	int r = kernel_load(&image, &ram, &k, &err);

	if (r) {
		fuzz_check_error(r, &err);
		return;
	}
	CHECK(k.start >= KERNEL_LOWEST && k.start < k.end && k.end <= MEMORY);
	CHECK(k.entry >= k.start && k.entry < k.end);
	CHECK(k.setup_len <= KERNEL_MAX_SETUP);
	/* Below is the place of others. */
	for (uint64_t i = 0; i < KERNEL_LOWEST; i += 4096)
		CHECK(ram.mem[i] == 0);
}

/* What a PVH kernel finds. */
static void check_start_info(const struct boot_config *config)
{
	uint64_t module, address, size;
	uint32_t nmodules;

	CHECK(ram_read(&ram, gpa(MACHINE_START_INFO + 12), &nmodules, 4));
	CHECK(nmodules == (config->initrd->len ? 1 : 0));
	if (!nmodules)
		return;
	CHECK(ram_read(&ram, gpa(MACHINE_START_INFO + 16), &module, 8));
	CHECK(ram_read(&ram, gpa(module), &address, 8));
	CHECK(ram_read(&ram, gpa(module + 8), &size, 8));
	CHECK(size == config->initrd->len && address >= KERNEL_LOWEST);
	CHECK(memcmp(ram_span(&ram, gpa(address), size), config->initrd, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image kernel = {.data = NULL}, initrd = {.data = NULL};
	struct boot_config config = {.kernel = &kernel,
				     .initrd = &initrd,
				     .cmdline = "a -- b",
				     .devices = devices,
				     .ndevices = 2};
	struct cpu_boot boot;
	mayfly_error err;
	uint8_t first;
	int r;

	if (size < 1)
		return 0;
	first = *data++;
	size--;
	config.cpus = 1 + (first & 3);
	config.console = (first >> 2 & 3) % 3;
	config.bare = first & 16;
	initrd.len = size * (first >> 5) / 16;
	initrd.data = data + size - initrd.len;
	kernel.data = data;
	kernel.len = size - initrd.len;
	clear_ram();
	check_kernel(data, kernel.len);
	clear_ram();
	r = boot_prepare(&config, &ram, &boot, &err);
	if (r) {
		fuzz_check_error(r, &err);
		return 0;
	}
	CHECK(boot.entry >= KERNEL_LOWEST && boot.entry < MEMORY);
	CHECK(boot.info < 640 << 10 && boot.gdt < 640 << 10);
	CHECK(memcmp(ram.mem + MACHINE_MP_TABLE, "_MP_", 4) == 0);
	if (boot.mode == CPU_BOOT_PVH)
		check_start_info(&config);
	return 0;
}

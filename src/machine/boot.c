/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/boot.h"

#include "machine/acpi.h"
#include "machine/machine.h"

/* Where the table below lies, and what is between it and 1 MiB. */
#define BASE_MEMORY_KIB 639
#define LEGACY_ROM 0xf0000u
#define MIB ((uint64_t)1 << 20)

/* BIOS data area: segment of the extended one, KiB of base memory (MP specification, 4). */
#define BDA_EBDA 0x40e
#define BDA_BASE_MEMORY 0x413

/* --- PVH: xen/include/public/arch-x86/hvm/start_info.h --- */

#define START_MAGIC 0x336ec578u

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

_Static_assert(sizeof(struct start_info) == 56, "start_info.h");
_Static_assert(sizeof(struct start_module) == 32, "start_info.h");
_Static_assert(sizeof(struct start_memory) == 24, "start_info.h");

#define MODULES (MACHINE_START_INFO + 0x100)

/* --- Linux's boot_params: Documentation/arch/x86/zero-page.rst, boot.rst --- */

#define ZP_ACPI_RSDP 0x070
#define ZP_E820_ENTRIES 0x1e8
#define ZP_BOOT_FLAG 0x1fe
#define ZP_HEADER 0x202
#define ZP_VERSION 0x206
#define ZP_LOADER 0x210
#define ZP_RAMDISK 0x218
#define ZP_RAMDISK_SIZE 0x21c
#define ZP_CMDLINE 0x228
#define ZP_E820 0x2d0
#define LOADER_UNDEFINED 0xff
#define LINUX_CMDLINE_MAX 2047 /* COMMAND_LINE_SIZE of arch/x86, less its zero */

struct e820 {
	uint64_t address, size;
	uint32_t type;
} __attribute__((packed));

/* Types of both (ACPI 6.5, 15: the same numbers). */
#define MEMORY_RAM 1
#define MEMORY_RESERVED 2
#define MEMORY_MAX 5

/* --- page tables: 4 GiB in pages of 2 MiB (SDM vol. 3, 4.5) --- */

#define TABLE_ENTRIES 512
#define PTE_PRESENT 1u
#define PTE_WRITE 2u
#define PTE_ACCESSED 0x20u
#define PTE_DIRTY 0x40u
#define PTE_LARGE 0x80u
#define MAPPED_GIB 4

struct boot {
	const struct boot_config *config;
	const struct ram *ram;
	struct kernel kernel;
	uint64_t initrd, initrd_len;
	uint64_t rsdp; /* 0: no ACPI */
	struct start_memory memory[MEMORY_MAX];
	uint32_t nmemory;
};

/* Ours, below 640 KiB, where there always is memory: RAM_MIN. */
static void put(const struct boot *b, uint64_t at, const void *data, size_t len)
{
	ram_write(b->ram, gpa(at), data, len);
}

static void put16(const struct boot *b, uint64_t at, uint16_t v)
{
	put(b, at, &v, sizeof(v));
}

static void put32(const struct boot *b, uint64_t at, uint32_t v)
{
	put(b, at, &v, sizeof(v));
}

static void add_memory(struct boot *b, uint64_t from, uint64_t to, uint32_t type)
{
	if (from < to)
		b->memory[b->nmemory++] = (struct start_memory){from, to - from, type, 0};
}

static void make_memory_map(struct boot *b)
{
	const uint64_t base = (uint64_t)BASE_MEMORY_KIB << 10;

	add_memory(b, 0, base, MEMORY_RAM);
	add_memory(b, base, (uint64_t)640 << 10, MEMORY_RESERVED);
	add_memory(b, b->rsdp ? ACPI_ADDRESS : LEGACY_ROM, MIB, MEMORY_RESERVED);
	add_memory(b, MIB, b->ram->low, MEMORY_RAM);
	add_memory(b, RAM_HIGH, RAM_HIGH + (b->ram->len - b->ram->low), MEMORY_RAM);
}

/* As high as it may be: out of the way of what the kernel puts behind itself. */
static int place_initrd(struct boot *b, mayfly_error *err)
{
	struct image *initrd = b->config->initrd;
	uint64_t top = b->ram->low;

	if (!initrd || initrd->len == 0)
		return MAYFLY_OK;
	if (top > b->kernel.initrd_max)
		top = b->kernel.initrd_max;
	top = page_down(top);
	if (top < b->kernel.end || initrd->len > top - page_up(b->kernel.end))
		return fail(
			err, MAYFLY_E_TOO_LARGE,
			"initrd: its %llu MiB do not fit between the kernel's end at %llu MiB "
			"and %llu MiB; give the machine more memory",
			(unsigned long long)(initrd->len >> 20),
			(unsigned long long)(b->kernel.end >> 20),
			(unsigned long long)(top >> 20));
	b->initrd = page_down(top - initrd->len);
	b->initrd_len = initrd->len;
	return image_place(initrd, 0, ram_span(b->ram, gpa(b->initrd), initrd->len),
			   initrd->len, err);
}

static int put_cmdline(const struct boot *b, mayfly_error *err)
{
	char line[MACHINE_CMDLINE_MAX];
	uint32_t max = b->kernel.cmdline_max;
	int r;

	if (b->kernel.system == KERNEL_LINUX && (max == 0 || max > LINUX_CMDLINE_MAX))
		max = LINUX_CMDLINE_MAX;
	r = boot_cmdline(b->config, b->kernel.system, line,
			 max && max < sizeof(line) ? max + 1 : sizeof(line), err);
	if (r)
		return r;
	put(b, MACHINE_CMDLINE, line, strlen(line) + 1);
	return MAYFLY_OK;
}

/* --- what all kernels find ---------------------------------------------------------------- */

static void put_mptable(const struct boot *b)
{
	uint8_t table[MPTABLE_SIZE];

	mptable_build(table, MACHINE_MP_TABLE, b->config->cpus);
	put(b, MACHINE_MP_TABLE, table, sizeof(table));
	put16(b, BDA_EBDA, MACHINE_MP_TABLE >> 4);
	put16(b, BDA_BASE_MEMORY, BASE_MEMORY_KIB);
}

static bool wants_acpi(const struct boot *b)
{
	const struct boot_config *c = b->config;

	if (c->acpi == BOOT_ACPI_AUTO)
		return b->kernel.system == KERNEL_LINUX && (c->ndevices || c->cpus > 1);
	return c->acpi == BOOT_ACPI_ON;
}

static int put_acpi(struct boot *b, mayfly_error *err)
{
	struct acpi_device devices[VIRTIO_MMIO_MAX_DEVICES];
	const struct boot_config *c = b->config;
	struct acpi_config acpi = {.cpus = c->cpus, .devices = devices};
	_cleanup_free_ uint8_t *tables = NULL;

	if (!wants_acpi(b))
		return MAYFLY_OK;
	for (; acpi.ndevices < c->ndevices && acpi.ndevices < ARRAY_SIZE(devices);
	     acpi.ndevices++)
		devices[acpi.ndevices] =
			(struct acpi_device){c->devices[acpi.ndevices].base, VIRTIO_MMIO_LEN,
					     c->devices[acpi.ndevices].irq};
	tables = calloc(1, ACPI_SIZE);
	if (!tables)
		return fail(err, MAYFLY_E_NOMEM, "no memory for ACPI tables");
	if (!acpi_build(&acpi, tables))
		return fail(err, MAYFLY_E_TOO_LARGE, "too many devices for the ACPI tables");
	put(b, ACPI_ADDRESS, tables, ACPI_SIZE);
	b->rsdp = ACPI_ADDRESS;
	return MAYFLY_OK;
}

/* Flat segments and a TSS (SDM vol. 3, 3.4.5, 7.2.2), accessed and busy already. */
static void put_gdt(const struct boot *b, struct cpu_boot *out)
{
	uint64_t gdt[6] = {
		[CPU_BOOT_CS / 8] =
			out->mode == CPU_BOOT_LINUX64 ? 0x00af9b000000ffff : 0x00cf9b000000ffff,
		[CPU_BOOT_DS / 8] = 0x00cf93000000ffff,
		[CPU_BOOT_TSS / 8] = 0x00008b0000000067,
	};

	put(b, MACHINE_GDT, gdt, sizeof(gdt));
	out->gdt = MACHINE_GDT;
	out->gdt_limit = sizeof(gdt) - 1;
}

/* --- PVH ----------------------------------------------------------------------------------- */

static void put_start_info(const struct boot *b)
{
	struct start_info info = {
		.magic = START_MAGIC,
		.version = 1,
		.cmdline = MACHINE_CMDLINE,
		.rsdp = b->rsdp,
		.memory_map = MACHINE_MEMORY_MAP,
		.memory_map_entries = b->nmemory,
	};
	struct start_module module = {.address = b->initrd, .size = b->initrd_len};

	if (b->initrd) {
		info.nmodules = 1;
		info.modules = MODULES;
		put(b, MODULES, &module, sizeof(module));
	}
	put(b, MACHINE_START_INFO, &info, sizeof(info));
	put(b, MACHINE_MEMORY_MAP, b->memory, b->nmemory * sizeof(b->memory[0]));
}

/* --- Linux's 64-bit protocol --------------------------------------------------------------- */

static void put_zero_page(const struct boot *b)
{
	const uint64_t page = MACHINE_ZERO_PAGE;
	const uint8_t entries = (uint8_t)b->nmemory, loader = LOADER_UNDEFINED;

	if (b->kernel.setup_len) {
		put(b, page + KERNEL_SETUP, b->kernel.setup, b->kernel.setup_len);
	} else { /* of a vmlinux: so that it does not take us for a boot loader of old */
		put16(b, page + ZP_BOOT_FLAG, 0xaa55);
		put(b, page + ZP_HEADER, "HdrS", 4);
		put16(b, page + ZP_VERSION, 0x20c);
	}
	put(b, page + ZP_LOADER, &loader, sizeof(loader));
	put(b, page + ZP_ACPI_RSDP, &b->rsdp, sizeof(b->rsdp));
	put32(b, page + ZP_CMDLINE, MACHINE_CMDLINE);
	put32(b, page + ZP_RAMDISK, (uint32_t)b->initrd);
	put32(b, page + ZP_RAMDISK_SIZE, (uint32_t)b->initrd_len);
	put(b, page + ZP_E820_ENTRIES, &entries, sizeof(entries));
	for (uint32_t i = 0; i < b->nmemory; i++) {
		const struct start_memory *m = &b->memory[i];

		put(b, page + ZP_E820 + i * sizeof(struct e820),
		    &(struct e820){m->address, m->size, m->type}, sizeof(struct e820));
	}
}

static uint64_t put_page_tables(const struct boot *b)
{
	const uint64_t pml4 = MACHINE_PAGE_TABLES, pdpt = pml4 + PAGE_SIZE;
	const uint64_t flags = PTE_PRESENT | PTE_WRITE | PTE_ACCESSED;
	uint64_t entry = pdpt | flags;

	put(b, pml4, &entry, sizeof(entry));
	for (uint64_t i = 0; i < MAPPED_GIB; i++) {
		uint64_t pd = pdpt + (i + 1) * PAGE_SIZE;

		entry = pd | flags;
		put(b, pdpt + i * sizeof(entry), &entry, sizeof(entry));
		for (uint64_t j = 0; j < TABLE_ENTRIES; j++) {
			entry = (i << 30 | j << 21) | flags | PTE_DIRTY | PTE_LARGE;
			put(b, pd + j * sizeof(entry), &entry, sizeof(entry));
		}
	}
	return pml4;
}

/* ------------------------------------------------------------------------------------------- */

int boot_prepare(const struct boot_config *config, const struct ram *ram, struct cpu_boot *out,
		 mayfly_error *err)
{
	struct boot b = {.config = config, .ram = ram};
	struct cpu_boot boot = {.cpus = config->cpus};
	int r;

	if (config->cpus == 0 || config->cpus > MPTABLE_MAX_CPUS)
		return fail(err, MAYFLY_E_INVALID, "%u CPUs; 1 to %d are possible",
			    config->cpus, MPTABLE_MAX_CPUS);
	if (ram->low < RAM_MIN)
		return fail(err, MAYFLY_E_INVALID, "less memory than %llu MiB",
			    (unsigned long long)(RAM_MIN >> 20));
	if ((r = kernel_load(config->kernel, ram, &b.kernel, err)) ||
	    (r = place_initrd(&b, err)) || (r = put_cmdline(&b, err)) ||
	    (r = put_acpi(&b, err)))
		return r;
	make_memory_map(&b);
	put_mptable(&b);
	boot.entry = b.kernel.entry;
	if (b.kernel.kind == KERNEL_PVH) {
		boot.mode = CPU_BOOT_PVH;
		boot.info = MACHINE_START_INFO;
		put_start_info(&b);
	} else {
		boot.mode = CPU_BOOT_LINUX64;
		boot.info = MACHINE_ZERO_PAGE;
		boot.cr3 = put_page_tables(&b);
		put_zero_page(&b);
	}
	put_gdt(&b, &boot);
	*out = boot;
	return MAYFLY_OK;
}

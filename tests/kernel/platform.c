/* SPDX-License-Identifier: Apache-2.0 */
/* What a kernel finds at its entry, and the platform's parts. */
#include "kernel.h"

#define PIT_HZ 1193182u
#define BDA_EBDA 0x40e
#define BDA_BASE_MEMORY 0x413
#define LEAF_FREQUENCIES 0x40000010u

#define PORT_MARK 0xf5
#define PORT_GENERATION 0x4d50

/* --- entry: xen/include/public/arch-x86/hvm/start_info.h --- */

static void entry(void)
{
	EQUAL(entry_state.cr0 & 0x80000001, 1); /* protected mode, no paging */
	EQUAL(entry_state.cr4, 0);
	EQUAL(entry_state.efer, 0);
	EQUAL(entry_state.eflags & 0x20300, 0); /* VM, IF, TF */
	CHECK(entry_state.cs != 0 && entry_state.ds != 0);
	EQUAL(entry_state.es, entry_state.ds);
	EQUAL(entry_state.ss, entry_state.ds);
	CHECK(entry_state.tr != 0);
}

static void start(void)
{
	EQUAL(start_info->magic, 0x336ec578);
	EQUAL(start_info->version, 1);
	EQUAL(start_info->flags, 0);
	CHECK(entry_state.ebx < 0xa0000);
	CHECK(start_info->cmdline != 0 && start_info->cmdline < 0xa0000);
	CHECK(start_info->memory_map != 0 && start_info->memory_map < 0xa0000);
	CHECK(start_info->memory_map_entries > 0);
	/* All of it clear of where kernels lie and of what they put behind themselves. */
	CHECK(start_info->modules < 0xa0000);
}

static bool is_ram(const struct start_memory *map, uint64_t address, uint64_t len)
{
	for (uint32_t i = 0; i < start_info->memory_map_entries; i++)
		if (map[i].type == 1 && address >= map[i].address &&
		    address - map[i].address + len <= map[i].size)
			return true;
	return false;
}

static void memory_map(void)
{
	const struct start_memory *map = at(start_info->memory_map);
	uint64_t total = 0, wanted = option_number("memory", 0);

	for (uint32_t i = 0; i < start_info->memory_map_entries; i++) {
		uint64_t end = map[i].address + map[i].size;

		EQUAL(map[i].reserved, 0);
		CHECK(map[i].size != 0 && end > map[i].address);
		if (i)
			CHECK(map[i - 1].address + map[i - 1].size <= map[i].address);
		if (map[i].type == 1)
			total += map[i].size;
	}
	CHECK(is_ram(map, 0, 0x10000));
	CHECK(is_ram(map, 0x100000, (uint64_t)kernel_end - 0x100000));
	/* The tables' place is not for others. */
	CHECK(!is_ram(map, 0x9fc00, 0x400));
	CHECK(!is_ram(map, 0xa0000, 1) && !is_ram(map, 0xfffff, 1));
	CHECK(!is_ram(map, 0xfeb00000, 1) && !is_ram(map, 0xfee00000, 1));
	if (wanted) { /* but for the hole below 1 MiB */
		CHECK(total <= wanted && wanted - total <= 0x100000);
	}
	/* Each piece is there: its last bytes can be written. */
	for (uint32_t i = 0; i < start_info->memory_map_entries; i++) {
		volatile uint64_t *last = at(map[i].address + map[i].size - 8);

		if (map[i].type != 1 || map[i].address >= 0x100000000)
			continue;
		*last = 0x0123456789abcdef;
		EQUAL(*last, 0x0123456789abcdef);
	}
}

static void cmdline(void)
{
	const char *s = command_line;
	uint32_t len = 0;

	CHECK(*s != ' ');
	for (; s[len]; len++)
		CHECK(!(s[len] == ' ' && (s[len + 1] == ' ' || s[len + 1] == '\0')));
	print(command_line);
	print("\n");
}

/* The module's bytes are 0, 1, 2...: the test gives such a file. */
static void module(void)
{
	const struct start_module *m = at(start_info->modules);
	const uint8_t *data;

	EQUAL(start_info->nmodules, 1);
	EQUAL(m->size, option_number("size", 0));
	EQUAL(m->address & 0xfff, 0);
	CHECK(m->address >= (uint64_t)kernel_end + 0x2000);
	data = at(m->address);
	for (uint64_t i = 0; i < m->size; i++)
		EQUAL(data[i], i & 0xff);
}

/* --- MP table: Intel MP specification 1.4, 4 --- */

static void sum_is_zero(const uint8_t *data, uint32_t len)
{
	uint8_t sum = 0;

	for (uint32_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + data[i]);
	EQUAL(sum, 0);
}

static void mptable(void)
{
	uint32_t ebda = (uint32_t) * (volatile uint16_t *)at(BDA_EBDA) << 4;
	uint32_t base = *(volatile uint16_t *)at(BDA_BASE_MEMORY);
	const uint8_t *p = at(ebda), *table;
	uint32_t counts[5] = {0}, ints = 0;

	EQUAL(base, 639);
	EQUAL(ebda, base << 10);
	CHECK(starts_with((const char *)p, "_MP_"));
	EQUAL(p[8], 1);
	EQUAL(p[9], 4);
	sum_is_zero(p, 16);
	table = at(*(const uint32_t *)(p + 4));
	CHECK(starts_with((const char *)table, "PCMP"));
	sum_is_zero(table, *(const uint16_t *)(table + 4));
	EQUAL(*(const uint32_t *)(table + 36), 0xfee00000);
	p = table + 44;
	for (uint32_t i = 0; i < *(const uint16_t *)(table + 34); i++) {
		CHECK(p[0] < 5);
		counts[p[0]]++;
		if (p[0] == 3) {
			EQUAL(p[5], p[7]); /* identity */
			ints |= 1u << p[5];
		}
		p += p[0] == 0 ? 20 : 8;
	}
	EQUAL((uint64_t)(p - table), *(const uint16_t *)(table + 4));
	EQUAL(counts[0], option_number("cpus", 1));
	EQUAL(counts[1], 1);
	EQUAL(counts[2], 1);
	EQUAL(ints, 0xffff);
	EQUAL(counts[4], 2);
}

/* --- CPUID and frequencies --- */

static uint32_t tsc_khz(void)
{
	CHECK(cpuid(0x40000000, 0).eax >= LEAF_FREQUENCIES);
	return cpuid(LEAF_FREQUENCIES, 0).eax;
}

static void cpuid_leaves(void)
{
	struct cpuid c = cpuid(0x40000000, 0);

	CHECK(c.ebx == 0x4b4d564b && c.ecx == 0x564b4d56 && c.edx == 0x4d); /* KVMKVMKVM */
	CHECK(tsc_khz() > 100000);					    /* 100 MHz */
	EQUAL(cpuid(LEAF_FREQUENCIES, 0).ebx, 1000000);
	c = cpuid(0, 0);
	CHECK(c.eax >= 0xb);
	c = cpuid(0x15, 0);
	CHECK(c.eax == 0 && c.ebx == 0 && c.ecx == 0);
	CHECK(cpuid(0x80000000, 0).eax >= 0x80000008);
	CHECK(cpuid(0x80000007, 0).edx & 0x100); /* invariant TSC */
	c = cpuid(1, 0);
	CHECK(c.ecx & 0x80000000);		      /* a hypervisor is there */
	CHECK((c.ecx & 0x200000) && (c.edx & 0x200)); /* x2APIC, APIC */
	CHECK(!(c.ecx & 0x28));			      /* no VMX, no MONITOR */
	EQUAL(c.ebx >> 24, 0);
	CHECK(!(cpuid(0x80000001, 0).ecx & 4)); /* no SVM */
	c = cpuid(0xb, 1);
	EQUAL(c.ebx, option_number("cpus", 1));
	EQUAL(c.edx, 0);
}

static uint32_t pit_count(void)
{
	uint32_t low;

	out8(0x43, 0x00); /* latch channel 0 */
	low = in8(0x40);
	return low | (uint32_t)in8(0x40) << 8;
}

/* Read a counter and the TSC so close together that it makes no difference. */
static uint32_t with_tsc(uint32_t (*read)(void), uint64_t *when)
{
	uint32_t limit = tsc_khz() / 10, v; /* 100 us, and longer where that does not do */

	for (;;) {
		uint64_t before = tsc(), after;

		v = read();
		after = tsc();
		*when = before;
		if (after - before < limit)
			return v;
		limit += limit / 4;
	}
}

/*
 * The frequency at which a counter counts down, in kHz, by the TSC's. Once more, if this CPU did not
 * run for so long that the counter may have come round.
 */
static uint64_t measure(uint32_t (*read)(void), uint32_t mask, uint32_t ms)
{
	uint64_t khz = tsc_khz(), from, to;
	uint32_t first, last;

	do {
		first = with_tsc(read, &from);
		while (tsc() - from < khz * ms)
			;
		last = with_tsc(read, &to);
	} while (to - from > khz * ms * 2);
	return (uint64_t)((first - last) & mask) * khz / (to - from);
}

static void near(uint64_t found, uint64_t wanted)
{
	print("kHz ");
	print_number(found);
	print(" wanted ");
	print_number(wanted);
	print("\n");
	CHECK(found > wanted - wanted / 10 && found < wanted + wanted / 10);
}

static void pit(void)
{
	out8(0x43, 0x34); /* channel 0, both bytes, rate generator */
	out8(0x40, 0);
	out8(0x40, 0); /* 65536 */
	near(measure(pit_count, 0xffff, 20), PIT_HZ / 1000);
}

static uint32_t lapic_count(void)
{
	return lapic_read(0x390);
}

static void lapic(void)
{
	EQUAL(read_msr(0x1b) & 0xfffff900, 0xfee00900); /* on, of the boot CPU */
	lapic_write(0xf0, 0x1ff);
	lapic_write(0x3e0, 0xb);     /* divide by 1 */
	lapic_write(0x320, 0x10000); /* masked, one shot */
	lapic_write(0x380, 0xffffffff);
	near(measure(lapic_count, 0xffffffff, 50), cpuid(LEAF_FREQUENCIES, 0).ebx);
}

static void timer(void)
{
	interrupts_init();
	lapic_write(0x3e0, 0xb);
	lapic_write(0x320, TIMER_VECTOR);
	lapic_write(0x380, 10000000); /* 10 ms */
	CHECK(wait_change(&timer_count, 0));
}

/* --- the clock --- */

static uint8_t cmos(uint8_t index)
{
	out8(0x70, index);
	return in8(0x71);
}

static uint32_t bcd(uint8_t v)
{
	CHECK((v & 0xf) < 10 && (v >> 4) < 10);
	return (v >> 4) * 10u + (v & 0xf);
}

static void two(uint32_t v)
{
	if (v < 10)
		print("0");
	print_number(v);
}

static void rtc(void)
{
	uint64_t start = tsc();
	uint32_t second;

	EQUAL(cmos(0x0e), 0);
	EQUAL(cmos(0x0d), 0x80);
	EQUAL(cmos(0x0b), 0x02); /* BCD, 24 hours */
	EQUAL(cmos(0x0c), 0);
	second = bcd(cmos(0));
	while (bcd(cmos(0)) == second)
		CHECK(tsc() - start < 60000000000u);
	while (cmos(0x0a) & 0x80)
		CHECK(tsc() - start < 60000000000u);
	two(bcd(cmos(0x32)));
	two(bcd(cmos(9)));
	print("-");
	two(bcd(cmos(8)));
	print("-");
	two(bcd(cmos(7)));
	print("T");
	two(bcd(cmos(4)));
	print(":");
	two(bcd(cmos(2)));
	print(":");
	two(bcd(cmos(0)));
	print("\n");
}

/* --- keyboard controller, reset ports --- */

static void i8042(void)
{
	EQUAL(in8(0x64) & 3, 0);
	out8(0x64, 0xaa);
	EQUAL(in8(0x64) & 3, 1);
	EQUAL(in8(0x60), 0x55);
	EQUAL(in8(0x64) & 3, 0);
	out8(0x64, 0x60);
	out8(0x60, 0x74);
	out8(0x64, 0x20);
	EQUAL(in8(0x60), 0x74);
	out8(0x60, 0xf2); /* which keyboard? None */
	EQUAL(in8(0x60), 0xfe);
}

static void ages(void)
{
	uint64_t start = tsc();

	while (tsc() - start < 60000000000u)
		__asm__ volatile("pause");
}

static void reset_8042(void)
{
	out8(0x64, 0xfe);
	ages();
}

static void reset_cf9(void)
{
	out8(0xcf9, 2);
	out8(0xcf9, 6);
	ages();
}

static void reset_92(void)
{
	out8(0x92, in8(0x92) | 1);
	ages();
}

static void triple_fault(void)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none;

	__asm__ volatile("lidt %0; ud2" ::"m"(none));
}

/* --- Mayfly's own ports --- */

static void mark(void)
{
	out8(PORT_MARK, 1);
	out8(PORT_MARK, 2);
}

static void generation(void)
{
	uint32_t any = 0;

	for (uint16_t i = 0; i < 16; i += 4) {
		uint32_t v = in32(PORT_GENERATION + i);

		EQUAL(in32(PORT_GENERATION + i), v);
		print_hex(v);
		print("\n");
		any |= v;
	}
	CHECK(any != 0);
	EQUAL(in8(PORT_GENERATION), in32(PORT_GENERATION) & 0xff);
}

/* A snapshot of this, restored, goes on from here. */
static void snapshot(void)
{
	print("before\n");
	out8(PORT_MARK, 0xff);
	print("after ");
	print_hex(in32(PORT_GENERATION));
	print("\n");
}

static void hang(void)
{
	print("hanging\n");
	for (;;)
		__asm__ volatile("pause");
}

static void halt(void)
{
	print("halted\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void unclaimed(void)
{
	EQUAL(in8(0x3ff0), 0xff);
	EQUAL(in32(0x3ff0), 0xffffffff);
	out32(0x3ff0, 1);
	EQUAL(*(volatile uint32_t *)at(0xfea00000), 0xffffffff);
	*(volatile uint32_t *)at(0xfea00000) = 1;
}

/* --- fw_cfg: QEMU's docs/specs/fw_cfg.rst --- */

static uint32_t big32(uint32_t v)
{
	return __builtin_bswap32(v);
}

static uint8_t fw_data[4096];

static bool fw_dma(uint32_t control, uint32_t len, uint64_t address)
{
	static volatile struct {
		uint32_t control, len;
		uint64_t address;
	} access;

	access.control = big32(control);
	access.len = big32(len);
	access.address = __builtin_bswap64(address);
	out32(0x514, big32((uint32_t)((uint64_t)&access >> 32)));
	out32(0x518, big32((uint32_t)(uint64_t)&access));
	while (access.control & ~big32(1))
		;
	return access.control == 0;
}

/* A file opt/test with the bytes "mayfly". */
static void fwcfg(void)
{
	static const char name[] = "opt/test";
	uint32_t count;
	const uint8_t *e;

	out16(0x510, 0);
	CHECK(in8(0x511) == 'Q' && in8(0x511) == 'E' && in8(0x511) == 'M' && in8(0x511) == 'U');
	EQUAL(in8(0x511), 0); /* past the end */
	out16(0x510, 1);
	EQUAL(in8(0x511), 3);		/* ports and DMA */
	EQUAL(in32(0x514), 0x554d4551); /* "QEMU CFG" */
	CHECK(fw_dma(0x0019000a, sizeof(fw_data), (uint64_t)fw_data));
	count = big32(*(uint32_t *)fw_data);
	for (e = fw_data + 4; count && !starts_with((const char *)e + 8, name); e += 64)
		count--;
	CHECK(count > 0);
	EQUAL(big32(*(const uint32_t *)e), 6);
	out16(0x510, (uint16_t)(e[4] << 8 | e[5]));
	CHECK(in8(0x511) == 'm' && in8(0x511) == 'a' && in8(0x511) == 'y');
	CHECK(fw_dma(4, 1, 0)); /* skip */
	CHECK(fw_dma(2, 4, (uint64_t)fw_data));
	CHECK(fw_data[0] == 'l' && fw_data[1] == 'y' && fw_data[2] == 0 && fw_data[3] == 0);
	/* What cannot be done is said to be an error, and harms nobody. */
	CHECK(!fw_dma(0x0000000a, 4, 0xfffffffffffffffe));
	CHECK(!fw_dma(0x0000000a, 0xffffffff, 0));
	CHECK(!fw_dma(0x00000018, 4, (uint64_t)fw_data));
}

/* --- a second CPU: SDM vol. 3, 8.4.4 --- */

extern uint8_t ap_start[], ap_end[];
static volatile uint32_t ap_alive, ap_id;
void ap_main(void);

void ap_main(void)
{
	ap_id = cpuid(1, 0).ebx >> 24;
	BARRIER();
	ap_alive = 1;
}

static void smp(void)
{
	uint64_t start = tsc();

	memcpy(at(0x20000), ap_start, (size_t)(ap_end - ap_start));
	lapic_write(0xf0, 0x1ff);
	lapic_write(0x310, 1 << 24);
	lapic_write(0x300, 0x4500); /* INIT */
	lapic_write(0x310, 1 << 24);
	lapic_write(0x300, 0x4620); /* SIPI, page 0x20 */
	while (!ap_alive)
		CHECK(tsc() - start < 60000000000u);
	EQUAL(ap_id, 1);
}

const struct check platform_checks[] = {
	{"entry", entry},
	{"start", start},
	{"memory", memory_map},
	{"cmdline", cmdline},
	{"module", module},
	{"mptable", mptable},
	{"cpuid", cpuid_leaves},
	{"pit", pit},
	{"lapic", lapic},
	{"timer", timer},
	{"rtc", rtc},
	{"i8042", i8042},
	{"reset-8042", reset_8042},
	{"reset-cf9", reset_cf9},
	{"reset-92", reset_92},
	{"triple-fault", triple_fault},
	{"mark", mark},
	{"generation", generation},
	{"snapshot", snapshot},
	{"hang", hang},
	{"halt", halt},
	{"unclaimed", unclaimed},
	{"fwcfg", fwcfg},
	{"smp", smp},
	{NULL, NULL},
};

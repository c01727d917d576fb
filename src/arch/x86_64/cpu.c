/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/x86_64/cpu.h"

#include <cpuid.h>
#include <stdio.h>
#include <string.h>

/* SDM vol. 3, table 6-1. */
static const char *const vector_names[CPU_VECTORS] = {
	[0] = "division error",
	[1] = "debug exception",
	[2] = "non-maskable interrupt",
	[3] = "breakpoint",
	[4] = "overflow",
	[5] = "bound range exceeded",
	[6] = "invalid opcode",
	[7] = "device not available",
	[8] = "double fault",
	[10] = "invalid TSS",
	[11] = "segment not present",
	[12] = "stack-segment fault",
	[13] = "general protection fault",
	[14] = "page fault",
	[16] = "x87 floating-point error",
	[17] = "alignment check",
	[18] = "machine check",
	[19] = "SIMD floating-point exception",
	[20] = "virtualization exception",
	[21] = "control protection exception",
};

const char *cpu_vector_name(uint32_t vector)
{
	if (vector >= CPU_VECTORS || !vector_names[vector])
		return "reserved exception";
	return vector_names[vector];
}

bool cpu_vector_has_error_code(uint32_t vector)
{
	/* 8, 10-14, 17, 21, 29, 30 */
	return vector < CPU_VECTORS && (0x60227d00u >> vector) & 1;
}

void cpu_brand(char *buffer, size_t size)
{
	unsigned regs[13] = {0};
	const char *text = (const char *)regs;

	/* SDM vol. 2, CPUID: the brand string in three leaves of four registers. */
	for (size_t i = 0; i < 3; i++)
		if (!__get_cpuid(0x80000002u + (unsigned)i, &regs[i * 4], &regs[i * 4 + 1],
				 &regs[i * 4 + 2], &regs[i * 4 + 3]))
			text = "unknown CPU";
	while (*text == ' ')
		text++;
	snprintf(buffer, size, "%s", text);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/x86_64/insn.h"

#include <stdio.h>
#include <string.h>

#include "core/util.h"

#define ANY 0xff

/* Of the two-byte opcodes (SDM vol. 2, A): which byte, which /r of its ModRM, if it matters. */
static const struct {
	uint8_t opcode;
	uint8_t prefix; /* 0x66, 0xf2, 0xf3, 0: none of them, or ANY */
	uint8_t reg;	/* or ANY */
	uint8_t mod3;	/* 1: register form only, 0: memory form only, ANY */
	const char *name;
} two_byte[] = {
	{0x0b, ANY, ANY, ANY, "ud2"},
	{0x0d, ANY, ANY, ANY, "prefetchw"},
	{0x30, ANY, ANY, ANY, "wrmsr"},
	{0x31, ANY, ANY, ANY, "rdtsc"},
	{0x32, ANY, ANY, ANY, "rdmsr"},
	{0x33, ANY, ANY, ANY, "rdpmc"},
	{0x6f, 0x66, ANY, ANY, "movdqa"},
	{0x6f, 0xf3, ANY, ANY, "movdqu"},
	{0x77, ANY, ANY, ANY, "emms"},
	{0x7f, 0x66, ANY, ANY, "movdqa"},
	{0x7f, 0xf3, ANY, ANY, "movdqu"},
	{0xa2, ANY, ANY, ANY, "cpuid"},
	{0xae, 0xf3, 0, 1, "rdfsbase"},
	{0xae, 0xf3, 1, 1, "rdgsbase"},
	{0xae, 0xf3, 2, 1, "wrfsbase"},
	{0xae, 0xf3, 3, 1, "wrgsbase"},
	{0xae, 0, 0, 0, "fxsave"},
	{0xae, 0, 1, 0, "fxrstor"},
	{0xae, 0, 2, 0, "ldmxcsr"},
	{0xae, 0, 3, 0, "stmxcsr"},
	{0xae, 0, 4, 0, "xsave"},
	{0xae, 0, 5, 0, "xrstor"},
	{0xae, 0, 6, 0, "xsaveopt"},
	{0xae, 0x66, 6, 0, "clwb"},
	{0xae, 0, 7, 0, "clflush"},
	{0xae, 0x66, 7, 0, "clflushopt"},
	{0xae, 0, 5, 1, "lfence"},
	{0xae, 0, 6, 1, "mfence"},
	{0xae, 0, 7, 1, "sfence"},
	{0xc7, ANY, 1, 0, "cmpxchg8b or cmpxchg16b"},
	{0xc7, ANY, 3, 0, "xrstors"},
	{0xc7, ANY, 4, 0, "xsavec"},
	{0xc7, ANY, 5, 0, "xsaves"},
	{0xc7, ANY, 6, 1, "rdrand"},
	{0xc7, ANY, 7, 1, "rdseed"},
	{0xe7, 0x66, ANY, ANY, "movntdq"},
	{0x38, ANY, ANY, ANY, "a vector instruction"},
	{0x3a, ANY, ANY, ANY, "a vector instruction"},
};

/* With 0x0f 0x01, by its third byte. */
static const struct {
	uint8_t byte;
	const char *name;
} group_7[] = {
	{0xc1, "vmcall"}, {0xc8, "monitor"}, {0xc9, "mwait"},  {0xca, "clac"},
	{0xcb, "stac"},	  {0xd0, "xgetbv"},  {0xd1, "xsetbv"}, {0xd9, "vmmcall"},
	{0xee, "rdpkru"}, {0xef, "wrpkru"},  {0xf8, "swapgs"}, {0xf9, "rdtscp"},
};

/* Ranges of two-byte opcodes that are nothing but MMX and SSE. */
static bool is_vector(uint8_t opcode)
{
	return (opcode >= 0x10 && opcode <= 0x17) || (opcode >= 0x28 && opcode <= 0x2f) ||
	       (opcode >= 0x50 && opcode <= 0x7f) || opcode == 0xc2 || opcode == 0xc4 ||
	       opcode == 0xc5 || opcode == 0xc6 || opcode >= 0xd0;
}

static const char *two_byte_name(const uint8_t *op, size_t len, uint8_t prefix)
{
	uint8_t modrm = len > 1 ? op[1] : 0;

	for (size_t i = 0; op[0] == 0x01 && len > 1 && i < ARRAY_SIZE(group_7); i++)
		if (group_7[i].byte == op[1])
			return group_7[i].name;
	for (size_t i = 0; i < ARRAY_SIZE(two_byte); i++) {
		bool needs_modrm = two_byte[i].reg != ANY || two_byte[i].mod3 != ANY;

		if (two_byte[i].opcode != op[0] || (needs_modrm && len < 2) ||
		    (two_byte[i].prefix != ANY && two_byte[i].prefix != prefix) ||
		    (two_byte[i].reg != ANY && two_byte[i].reg != (modrm >> 3 & 7)) ||
		    (two_byte[i].mod3 != ANY && two_byte[i].mod3 != (modrm >= 0xc0)))
			continue;
		return two_byte[i].name;
	}
	return is_vector(op[0]) ? "a vector instruction" : NULL;
}

static bool is_prefix(uint8_t byte, bool long_mode)
{
	static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
					   0x66, 0x67, 0xf0, 0xf2, 0xf3};

	return memchr(prefixes, byte, sizeof(prefixes)) || (long_mode && (byte & 0xf0) == 0x40);
}

static const char *find_name(const uint8_t *insn, size_t len, bool long_mode)
{
	uint8_t prefix = 0;
	size_t at = 0;

	for (; at < len && is_prefix(insn[at], long_mode); at++)
		if (insn[at] == 0x66 ? !prefix : insn[at] == 0xf2 || insn[at] == 0xf3)
			prefix = insn[at];
	if (at >= len)
		return NULL;
	/* LES, LDS and BOUND where these are no prefixes (SDM vol. 2, 2.3.5, 2.7.1). */
	if (insn[at] == 0xc4 || insn[at] == 0xc5 || insn[at] == 0x62) {
		if (!long_mode && (at + 1 >= len || insn[at + 1] < 0xc0))
			return NULL;
		return insn[at] == 0x62 ? "an AVX-512 instruction" : "an AVX instruction";
	}
	if (insn[at] >= 0xd8 && insn[at] <= 0xdf)
		return "an x87 instruction";
	if (insn[at] == 0x0f && at + 1 < len)
		return two_byte_name(insn + at + 1, len - at - 1, prefix);
	return NULL;
}

char *insn_name(const uint8_t *insn, size_t len, bool long_mode, char *text, size_t size)
{
	const char *name = find_name(insn, len, long_mode);
	size_t used = (size_t)snprintf(text, size, "%s", name ? name : "");

	for (size_t i = 0; i < len && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%02x",
					 i ? " " : (name ? " (" : "("), insn[i]);
	if (used < size)
		snprintf(text + used, size - used, "%s",
			 len ? ")" : "(its bytes cannot be read)");
	return text;
}

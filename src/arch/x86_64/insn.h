/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of instructions, for messages: of those that hypervisors commonly cannot emulate. No
 * disassembler.
 */
#ifndef MAYFLY_ARCH_INSN_H
#define MAYFLY_ARCH_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The name, if known, and the bytes of the instruction that `insn`, `len` hostile bytes, begins
 * with: "xrstor (0f ae 28)". long_mode: 64-bit code. Gives `text`.
 */
char *insn_name(const uint8_t *insn, size_t len, bool long_mode, char *text, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness from the host's kernel, and numbers that never come twice. */
#ifndef MAYFLY_CORE_RANDOM_H
#define MAYFLY_CORE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#define RANDOM_STOCK 512

/*
 * A stock of random bytes, so that small draws do not cost a system call each. Zeroed at first.
 */
struct random_stock {
	uint8_t bytes[RANDOM_STOCK];
	uint32_t left;
};

/* Fill `buffer`; blocks only before the host's generator is seeded, at its boot. */
void random_bytes(void *buffer, size_t len);
/* The same from a stock, for len <= RANDOM_STOCK; what was drawn is wiped from it. */
void random_draw(struct random_stock *stock, void *buffer, size_t len);
/*
 * Unique in this process, and in all likelihood elsewhere: begins at random, counts up. Never
 * 0.
 */
uint64_t random_generation(void);

#endif

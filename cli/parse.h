/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers with units, as the options take them. All give MAYFLY_OK, or MAYFLY_E_INVALID with a
 * message that says what was expected; the whole text must be used up.
 */
#ifndef MAYFLY_CLI_PARSE_H
#define MAYFLY_CLI_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "mayfly.h"

/* Digits, then optionally K, M or G (either case): powers of 1024. */
int parse_size(const char *text, uint64_t *ret_bytes, mayfly_error *err);

/* Digits, optionally a fraction, then us, ms, s or m. Rounded down to ns. 0 needs no unit. */
int parse_time(const char *text, uint64_t *ret_ns, mayfly_error *err);

/* Decimal digits; 1 to max. */
int parse_count(const char *text, uint64_t max, uint64_t *ret, mayfly_error *err);

/* Whether it is a numeric address, of IPv4 or IPv6. */
bool parse_is_address(const char *text);

/* A port of this host that leads to one of the guest's. */
struct forward {
	const char *address; /* NULL: not given */
	uint16_t host_port, guest_port;
};

/* "[ADDRESS:]HOSTPORT:GUESTPORT", an IPv6 address in brackets: taken apart in place. */
bool parse_forward(char *text, struct forward *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of the parser example: reads hostile data where it can do no harm. Whatever a
 * crafted file might make a parser do, it does it to this virtual machine.
 *
 *	mayfly call parser_guest describe @file.json
 */
#include <mayfly_guest.h>

#include "json_scan.h"

/* "valid: ..." with counts and a checksum, or "invalid at byte N: ..." */
static const char *describe(mayfly_bytes json)
{
	static char text[400];
	struct json_summary summary;

	json_scan(json.data, json.len, &summary);
	json_describe(text, sizeof(text), &summary);
	return text;
}
MAYFLY_EXPORT(describe, string, bytes);

static bool is_valid(mayfly_bytes json)
{
	struct json_summary summary;

	return json_scan(json.data, json.len, &summary);
}
MAYFLY_EXPORT(is_valid, bool, bytes);

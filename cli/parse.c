/* SPDX-License-Identifier: Apache-2.0 */
#include "parse.h"

#include <arpa/inet.h>
#include <string.h>

#define PORT_MAX 65535u

/* Digits at *text, which is moved past them. False if there are none or they overflow. */
static bool take_digits(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t v = 0;

	while (*p >= '0' && *p <= '9') {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
		p++;
	}
	if (p == *text)
		return false;
	*text = p;
	*ret = v;
	return true;
}

int parse_size(const char *text, uint64_t *ret_bytes, mayfly_error *err)
{
	static const char units[] = "kmg";
	const char *p = text;
	uint64_t v;

	if (!take_digits(&p, &v))
		goto bad;
	if (*p) {
		const char *unit = strchr(units, *p | 0x20);
		if (!unit || p[1])
			goto bad;
		if (__builtin_mul_overflow(v, (uint64_t)1 << (10 * (unit - units + 1)), &v))
			goto bad;
	}
	*ret_bytes = v;
	return MAYFLY_OK;
bad:
	return mayfly_error_set(
		err, MAYFLY_E_INVALID,
		"'%.60s' is not a size: write bytes, or a number with K, M or G, such as 64K "
		"or 16M",
		text);
}

struct time_unit {
	const char *name;
	uint64_t ns;
};

static const struct time_unit time_units[] = {
	{"us", 1000},
	{"ms", 1000000},
	{"s", 1000000000},
	{"m", 60000000000},
};

int parse_time(const char *text, uint64_t *ret_ns, mayfly_error *err)
{
	const char *p = text, *fraction = NULL;
	uint64_t whole, ns = 0, part;
	bool known = false;

	if (!take_digits(&p, &whole))
		goto bad;
	if (*p == '.') {
		fraction = ++p;
		p += strspn(p, "0123456789");
		if (p == fraction)
			goto bad;
	}
	for (size_t i = 0; i < sizeof(time_units) / sizeof(time_units[0]); i++) {
		if (strcmp(p, time_units[i].name) != 0)
			continue;
		known = true;
		if (__builtin_mul_overflow(whole, time_units[i].ns, &ns))
			goto bad;
		part = time_units[i].ns;
		for (; fraction && fraction < p; fraction++) {
			/* Digits beyond the nanosecond add nothing: part has become 0 by then. */
			part /= 10;
			if (__builtin_add_overflow(ns, part * (uint64_t)(*fraction - '0'), &ns))
				goto bad;
		}
	}
	if (!known && (*p || whole || fraction))
		goto bad;
	*ret_ns = ns;
	return MAYFLY_OK;
bad:
	return mayfly_error_set(
		err, MAYFLY_E_INVALID,
		"'%.60s' is not a time: write a number with us, ms, s or m, such as 250ms or "
		"1.5s",
		text);
}

int parse_count(const char *text, uint64_t max, uint64_t *ret, mayfly_error *err)
{
	const char *p = text;
	uint64_t v;

	if (!take_digits(&p, &v) || *p || v < 1 || v > max)
		return mayfly_error_set(err, MAYFLY_E_INVALID,
					"'%.60s' is not a whole number from 1 to %llu", text,
					(unsigned long long)max);
	*ret = v;
	return MAYFLY_OK;
}

bool parse_is_address(const char *text)
{
	struct in6_addr a;

	return inet_pton(AF_INET, text, &a) == 1 || inet_pton(AF_INET6, text, &a) == 1;
}

static bool take_port(const char *text, uint16_t *ret)
{
	uint64_t v = 0;

	if (parse_count(text, PORT_MAX, &v, NULL) != MAYFLY_OK)
		return false;
	*ret = (uint16_t)v;
	return true;
}

/* From the right: an address may have colons. */
bool parse_forward(char *text, struct forward *ret)
{
	char *guest = strrchr(text, ':'), *host;
	size_t len;

	*ret = (struct forward){.address = NULL};
	if (!guest)
		return false;
	*guest++ = '\0';
	host = strrchr(text, ':');
	if (host) {
		*host++ = '\0';
		len = strlen(text);
		if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
			text[len - 1] = '\0';
			text++;
		} else if (strchr(text, ':')) {
			return false;
		}
		if (!parse_is_address(text))
			return false;
		ret->address = text;
	} else {
		host = text;
	}
	return take_port(host, &ret->host_port) && take_port(guest, &ret->guest_port);
}

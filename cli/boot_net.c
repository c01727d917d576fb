/* SPDX-License-Identifier: Apache-2.0 */
/* --net of machines: user[,host][,publish=...] or tap=NAME, and for both mac=ADDRESS. */
#include <stdlib.h>
#include <string.h>

#include "boot_options.h"
#include "message.h"
#include "parse.h"

#define MAC_BYTES 6

static int digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c | 0x20) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* "02:00:00:00:00:01"; a group's, which has the lowest bit of the first byte, is nobody's own. */
static bool take_mac(const char *text, uint8_t mac[MAC_BYTES])
{
	uint8_t any = 0;

	for (int i = 0; i < MAC_BYTES; i++) {
		int high = digit(text[0]), low = high < 0 ? -1 : digit(text[1]);

		if (low < 0 || text[2] != (i < MAC_BYTES - 1 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)(high << 4 | low);
		any |= mac[i];
		text += 3;
	}
	return any && !(mac[0] & 1);
}

/* "[ADDRESS:]HOSTPORT:GUESTPORT[/udp]" */
static int add_forward(char *text, mayfly_nic *nic, mayfly_forward **forwards,
		       mayfly_error *err)
{
	char *protocol = strrchr(text, '/');
	struct forward f;
	bool udp = false;

	if (protocol) {
		udp = strcmp(protocol + 1, "udp") == 0;
		if (!udp && strcmp(protocol + 1, "tcp") != 0)
			goto bad;
		*protocol = '\0';
	}
	if (!parse_forward(text, &f))
		goto bad;
	*forwards = xrealloc(*forwards, nic->nforwards + 1, sizeof(**forwards));
	(*forwards)[nic->nforwards++] = (mayfly_forward){.address = f.address,
							 .host_port = f.host_port,
							 .guest_port = f.guest_port,
							 .udp = udp};
	nic->forwards = *forwards;
	return MAYFLY_OK;
bad:
	return mayfly_error_set(
		err, MAYFLY_E_INVALID,
		"publish takes [ADDRESS:]HOSTPORT:GUESTPORT[/udp]: ports from 1 to "
		"65535 and a numeric address, such as publish=8080:80");
}

static int take_word(char *word, mayfly_nic *nic, mayfly_forward **forwards, mayfly_error *err)
{
	char *value = strchr(word, '=');

	if (value)
		*value++ = '\0';
	if (strcmp(word, "mac") == 0 && value) {
		if (take_mac(value, nic->mac))
			return MAYFLY_OK;
		return mayfly_error_set(err, MAYFLY_E_INVALID,
					"'%.40s' is not the address of a network card, such as "
					"02:00:00:00:00:01",
					value);
	}
	if (nic->user && strcmp(word, "publish") == 0 && value)
		return add_forward(value, nic, forwards, err);
	if (nic->user && strcmp(word, "host") == 0 && !value) {
		nic->host = true;
		return MAYFLY_OK;
	}
	return mayfly_error_set(err, MAYFLY_E_INVALID,
				nic->user ? "'%.40s' is none of: host, publish=..., mac=..."
					  : "'%.40s' is not mac=...",
				word);
}

int boot_net(char *text, mayfly_nic *nic, mayfly_forward **ret_forwards, mayfly_error *err)
{
	char *rest = text, *word = strsep(&rest, ",");
	int r = MAYFLY_OK;

	*nic = (mayfly_nic){.user = strcmp(word, "user") == 0};
	*ret_forwards = NULL;
	if (strncmp(word, "tap=", 4) == 0 && word[4])
		nic->tap = word + 4;
	else if (!nic->user)
		return mayfly_error_set(err, MAYFLY_E_INVALID,
					"'%.40s' is neither user nor tap=NAME", word);
	while (r == MAYFLY_OK && (word = strsep(&rest, ",")))
		r = take_word(word, nic, ret_forwards, err);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "message.h"
#include "parse.h"
#include "program_options.h"

#define PORT_MAX 65535u

/* --- Hosts and ports -------------------------------------------------------------------------- */

/* "PORT" or "PORT-PORT". */
static bool take_ports(const char *text, uint16_t *ret_first, uint16_t *ret_last)
{
	char first[8];
	size_t n = strcspn(text, "-");
	uint64_t a, b;

	if (n >= sizeof(first))
		return false;
	memcpy(first, text, n);
	first[n] = '\0';
	if (parse_count(first, PORT_MAX, &a, NULL) != MAYFLY_OK)
		return false;
	b = a;
	if (text[n] && parse_count(text + n + 1, PORT_MAX, &b, NULL) != MAYFLY_OK)
		return false;
	*ret_first = (uint16_t)a;
	*ret_last = (uint16_t)b;
	return a <= b;
}

/* "ADDRESS" or "ADDRESS/BITS". */
static bool is_network(const char *text)
{
	char address[INET6_ADDRSTRLEN];
	size_t n = strcspn(text, "/");

	if (n >= sizeof(address))
		return false;
	memcpy(address, text, n);
	address[n] = '\0';
	return parse_is_address(address);
}

/*
 * Split "HOST[:PORTS]", in which an IPv6 address may, and if ports follow must, stand in brackets.
 * False if it is malformed. *ret_ports NULL: none.
 */
static bool split_host(struct program_setup *s, const char *text, const char **ret_host,
		       const char **ret_ports)
{
	const char *colon = strchr(text, ':');
	size_t len;

	if (text[0] == '[') {
		len = strcspn(++text, "]");
		if (!text[len] || (text[len + 1] && text[len + 1] != ':'))
			return false;
		colon = text[len + 1] ? text + len + 1 : NULL;
	} else if (colon && strchr(colon + 1, ':')) {
		/* Two colons: an IPv6 address, without ports. */
		len = strlen(text);
		colon = NULL;
	} else {
		len = colon ? (size_t)(colon - text) : strlen(text);
	}
	*ret_host = texts_copy(&s->texts, text, len);
	*ret_ports = colon ? colon + 1 : NULL;
	return len > 0 && (!strchr(*ret_host, ':') || is_network(*ret_host));
}

static int bad_rule(const char *text, mayfly_error *err)
{
	return mayfly_error_set(err, MAYFLY_E_INVALID,
				"'%.80s' is not HOST[:PORT[-PORT]]: write a name, an address, "
				"ADDRESS/BITS or *, such as example.org:443, 10.0.0.0/8 or "
				"[::1]:8000-8080",
				text);
}

/* --- Looking up names ------------------------------------------------------------------------- */

/* What the C library reads before it asks; those that this host has. */
static void grant_name_files(struct program_setup *s)
{
	static const char *const files[] = {"/etc/resolv.conf", "/etc/hosts",
					    "/etc/nsswitch.conf"};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (access(files[i], R_OK) == 0)
			program_setup_grant(s, files[i], files[i], 0);
}

int program_net_rules(struct program_setup *s, const struct program_options *o,
		      mayfly_error *err)
{
	const struct option_list *net = &o->net;
	bool names = false;

	for (size_t i = 0; i < net->n; i++) {
		const char *host, *ports;
		uint16_t first = 0, last = 0;

		if (!split_host(s, net->items[i], &host, &ports) ||
		    (ports && !take_ports(ports, &first, &last)))
			return bad_rule(net->items[i], err);
		program_setup_rule(s, host, first, last);
		names |= !is_network(host);
	}
	if (net->n)
		grant_name_files(s);
	/* Addresses alone need no look-up. "*" does not include the name servers of this host. */
	if (names)
		program_setup_rule(s, "@dns", 0, 0);
	return MAYFLY_OK;
}

/* --- Publishing ------------------------------------------------------------------------------- */

/* "[ADDRESS:]HOSTPORT:GUESTPORT" */
static bool take_publish(struct program_setup *s, const char *text, mayfly_publish *ret)
{
	char *copy = texts_copy(&s->texts, text, strlen(text));
	struct forward f;

	if (!parse_forward(copy, &f))
		return false;
	*ret = (mayfly_publish){
		.address = f.address, .host_port = f.host_port, .guest_port = f.guest_port};
	return true;
}

int program_publish(struct program_setup *s, const struct program_options *o, mayfly_error *err)
{
	const struct option_list *publish = &o->publish;

	if (!publish->n)
		return MAYFLY_OK;
	s->published = xrealloc(NULL, publish->n, sizeof(s->published[0]));
	for (size_t i = 0; i < publish->n; i++)
		if (!take_publish(s, publish->items[i], &s->published[i]))
			return mayfly_error_set(err, MAYFLY_E_INVALID,
						"'%.80s' is not [ADDRESS:]HOSTPORT:GUESTPORT: "
						"write ports from 1 to 65535 and a numeric "
						"address, such as 8080:80 or 0.0.0.0:8080:80",
						publish->items[i]);
	s->library.publish = s->published;
	s->library.npublish = publish->n;
	return MAYFLY_OK;
}

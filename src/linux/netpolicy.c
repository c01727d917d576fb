/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/netpolicy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/util.h"

#define DNS_PORT 53
#define RESOLV_CONF "/etc/resolv.conf"

/* What an address is; the ones before ORDINARY are not meant by "*". */
enum kind {
	KIND_UNSPECIFIED,
	KIND_LOOPBACK,
	KIND_LINK_LOCAL,
	KIND_MULTICAST,
	KIND_BROADCAST,
	KIND_ORDINARY
};

/* A host or network address: AF_INET in the first four bytes. */
struct address {
	int family;
	uint8_t bytes[16];
};

struct rule {
	bool any;
	struct address base;
	unsigned bits;
	enum kind kind; /* which all its addresses are, or KIND_ORDINARY */
	uint16_t first, last;
};

/* Sockets of the guest that are bound to a publication. */
struct live {
	uint32_t users;
	uint16_t port; /* the host's */
	bool ready;
};

struct publication {
	mayfly_publish publish;
	char *address;
	struct sockaddr_storage host;
	struct live live[2]; /* streams, datagrams; under lock */
};

struct netpolicy {
	struct rule *rules;
	size_t nrules, capacity;
	struct publication *publications;
	size_t npublications;
	/* This host's addresses, which "*" does not mean either. */
	struct address *own;
	size_t nown;
	pthread_mutex_t lock;
};

/* --- Addresses ---------------------------------------------------------------------------- */

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* Whether the first `bits` of both are the same. */
static bool prefix_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static void address_unmap(struct address *a)
{
	if (a->family != AF_INET6 || memcmp(a->bytes, mapped_prefix, 12) != 0)
		return;
	a->family = AF_INET;
	memmove(a->bytes, a->bytes + 12, 4);
	memset(a->bytes + 4, 0, 12);
}

/* The address in a socket address, IPv4-mapped ones as IPv4; its port. */
static bool address_of(const struct sockaddr_storage *from, struct address *to, uint16_t *port)
{
	memset(to, 0, sizeof(*to));
	to->family = from->ss_family;
	if (from->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)from;

		memcpy(to->bytes, &in->sin_addr, 4);
		*port = ntohs(in->sin_port);
		return true;
	}
	if (from->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;

		memcpy(to->bytes, &in6->sin6_addr, 16);
		*port = ntohs(in6->sin6_port);
		address_unmap(to);
		return true;
	}
	return false;
}

struct range {
	uint8_t bytes[16];
	unsigned bits;
	enum kind kind;
};

/* RFC 6890, RFC 4291; "this network" (0/8) is loopback to Linux only as 0.0.0.0. */
static const struct range ranges4[] = {
	{{0}, 32, KIND_UNSPECIFIED},
	{{127}, 8, KIND_LOOPBACK},
	{{169, 254}, 16, KIND_LINK_LOCAL},
	{{224}, 4, KIND_MULTICAST},
	{{255, 255, 255, 255}, 32, KIND_BROADCAST},
};
static const struct range ranges6[] = {
	{{0}, 128, KIND_UNSPECIFIED},
	{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, KIND_LOOPBACK},
	{{0xfe, 0x80}, 10, KIND_LINK_LOCAL},
	{{0xff}, 8, KIND_MULTICAST},
};

/* Of a network of `bits`: of all its addresses, else ORDINARY. */
static enum kind address_kind(const struct address *a, unsigned bits)
{
	const struct range *ranges = a->family == AF_INET ? ranges4 : ranges6;
	size_t n = a->family == AF_INET ? ARRAY_SIZE(ranges4) : ARRAY_SIZE(ranges6);

	for (size_t i = 0; i < n; i++) {
		if (bits >= ranges[i].bits &&
		    prefix_equal(a->bytes, ranges[i].bytes, ranges[i].bits))
			return ranges[i].kind;
	}
	return KIND_ORDINARY;
}

static unsigned address_bits(int family)
{
	return family == AF_INET ? 32 : 128;
}

/* --- Rules -------------------------------------------------------------------------------- */

static int add_rule(struct netpolicy *net, const struct rule *rule, mayfly_error *err)
{
	if (net->nrules == net->capacity) {
		size_t capacity = net->capacity ? net->capacity * 2 : 8;
		struct rule *rules = realloc(net->rules, capacity * sizeof(*rules));

		if (rules == NULL)
			return fail(err, MAYFLY_E_NOMEM, "out of memory for network rules");
		net->rules = rules;
		net->capacity = capacity;
	}
	net->rules[net->nrules++] = *rule;
	return 0;
}

/* An address in numbers, of `len` characters. */
static bool parse_address(const char *text, size_t len, struct address *out)
{
	char copy[INET6_ADDRSTRLEN];

	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
		if (memchr(text, ':', len) == NULL)
			return false;
	}
	if (len == 0 || len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	memset(out, 0, sizeof(*out));
	out->family = strchr(copy, ':') ? AF_INET6 : AF_INET;
	return inet_pton(out->family, copy, out->bytes) == 1;
}

static bool bits_set_beyond(const struct address *a, unsigned bits)
{
	for (unsigned i = bits; i < address_bits(a->family); i++) {
		if ((a->bytes[i / 8] >> (7 - i % 8)) & 1)
			return true;
	}
	return false;
}

static bool is_own(const struct netpolicy *net, const struct address *a)
{
	for (size_t i = 0; i < net->nown; i++)
		if (net->own[i].family == a->family &&
		    prefix_equal(net->own[i].bytes, a->bytes, address_bits(a->family)))
			return true;
	return false;
}

static int add_own(struct netpolicy *net, const struct sockaddr *from, mayfly_error *err)
{
	struct sockaddr_storage storage = {0};
	struct address a, *own;
	uint16_t port;

	if (from == NULL || (from->sa_family != AF_INET && from->sa_family != AF_INET6))
		return 0;
	memcpy(&storage, from,
	       from->sa_family == AF_INET ? sizeof(struct sockaddr_in)
					  : sizeof(struct sockaddr_in6));
	if (!address_of(&storage, &a, &port) || is_own(net, &a))
		return 0;
	own = reallocarray(net->own, net->nown + 1, sizeof(*own));
	if (own == NULL)
		return fail(err, MAYFLY_E_NOMEM, "out of memory for network rules");
	net->own = own;
	net->own[net->nown++] = a;
	return 0;
}

/* "*": any but those that this host has now. */
static int add_any(struct netpolicy *net, struct rule rule, mayfly_error *err)
{
	struct ifaddrs *all = NULL;
	int r = 0;

	/* Once for all such rules. */
	if (net->nown == 0 && getifaddrs(&all) < 0)
		return fail_errno(err, MAYFLY_E_IO, errno,
				  "network rule \"*\": this host's own addresses");
	for (const struct ifaddrs *i = all; i != NULL && r == 0; i = i->ifa_next)
		r = add_own(net, i->ifa_addr, err);
	if (all != NULL)
		freeifaddrs(all);
	rule.any = true;
	return r == 0 ? add_rule(net, &rule, err) : r;
}

/* "address/bits" */
static int parse_network(const char *host, const char *slash, struct rule *rule,
			 mayfly_error *err)
{
	unsigned bits = 0;
	size_t digits = strlen(slash + 1);

	if (!parse_address(host, (size_t)(slash - host), &rule->base))
		return fail(err, MAYFLY_E_INVALID,
			    "network rule \"%s\": what stands before \"/\" must be an IPv4 or "
			    "IPv6 address",
			    host);
	if (digits < 1 || digits > 3 || strspn(slash + 1, "0123456789") != digits)
		return fail(
			err, MAYFLY_E_INVALID,
			"network rule \"%s\": what stands after \"/\" must be a number of bits",
			host);
	for (const char *p = slash + 1; *p != '\0'; p++)
		bits = bits * 10 + (unsigned)(*p - '0');
	if (bits > address_bits(rule->base.family))
		return fail(err, MAYFLY_E_INVALID,
			    "network rule \"%s\": an IPv%d address has %u bits", host,
			    rule->base.family == AF_INET ? 4 : 6,
			    address_bits(rule->base.family));
	if (bits_set_beyond(&rule->base, bits))
		return fail(
			err, MAYFLY_E_INVALID,
			"network rule \"%s\": the address has bits set beyond the first %u; "
			"did you mean the address alone?",
			host, bits);
	/* ::ffff:0:0/96 and below are IPv4's. */
	if (rule->base.family == AF_INET6 && bits >= 96 &&
	    memcmp(rule->base.bytes, mapped_prefix, 12) == 0) {
		address_unmap(&rule->base);
		bits -= 96;
	}
	rule->bits = bits;
	return 0;
}

static int add_address(struct netpolicy *net, const struct address *a, struct rule rule,
		       mayfly_error *err)
{
	rule.base = *a;
	address_unmap(&rule.base);
	rule.bits = address_bits(rule.base.family);
	rule.kind = address_kind(&rule.base, rule.bits);
	if (rule.kind == KIND_UNSPECIFIED)
		return fail(
			err, MAYFLY_E_INVALID,
			"network rule: 0.0.0.0 and :: are no one's address; \"*\" stands for "
			"any beyond this host");
	return add_rule(net, &rule, err);
}

/* All addresses of a name. */
static int add_name(struct netpolicy *net, const char *host, const struct rule *rule,
		    mayfly_error *err)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	size_t before = net->nrules;
	int r = getaddrinfo(host, NULL, &hints, &list);

	if (r == EAI_MEMORY)
		return fail(err, MAYFLY_E_NOMEM, "out of memory for network rules");
	if (r != 0)
		return fail(err, MAYFLY_E_INVALID,
			    "network rule \"%s\": the name cannot be looked up: %s", host,
			    gai_strerror(r));
	r = 0;
	for (struct addrinfo *i = list; i != NULL && r == 0; i = i->ai_next) {
		struct sockaddr_storage storage = {0};
		struct address a;
		uint16_t port;

		if (i->ai_addrlen > sizeof(storage))
			continue;
		memcpy(&storage, i->ai_addr, i->ai_addrlen);
		if (address_of(&storage, &a, &port))
			r = add_address(net, &a, *rule, err);
	}
	freeaddrinfo(list);
	if (r == 0 && net->nrules == before)
		return fail(err, MAYFLY_E_INVALID,
			    "network rule \"%s\": the name has no address", host);
	return r;
}

/* The name servers of resolv.conf(5), which are 127.0.0.1 if it names none. */
static int add_resolvers(struct netpolicy *net, struct rule rule, mayfly_error *err)
{
	size_t before = net->nrules;
	char line[512];
	FILE *f = fopen(RESOLV_CONF, "re");
	int r = 0;

	if (rule.first == 0 && rule.last == UINT16_MAX)
		rule.first = rule.last = DNS_PORT;
	while (f != NULL && r == 0 && fgets(line, sizeof(line), f) != NULL) {
		struct address a;
		const char *p = line;

		if (strncmp(p, "nameserver", 10) != 0 || (p[10] != ' ' && p[10] != '\t'))
			continue;
		p += 10 + strspn(p + 10, " \t");
		if (parse_address(p, strcspn(p, " \t\r\n%#;"), &a))
			r = add_address(net, &a, rule, err);
	}
	if (f != NULL)
		fclose(f);
	if (r == 0 && net->nrules == before) {
		const struct address local = {AF_INET, {127, 0, 0, 1}};

		r = add_address(net, &local, rule, err);
	}
	return r;
}

static int parse_rule(struct netpolicy *net, const mayfly_net_rule *from, mayfly_error *err)
{
	struct rule rule = {
		.first = from->first_port, .last = from->last_port, .kind = KIND_ORDINARY};
	struct address a;
	const char *slash;
	int r;

	if (from->host == NULL || from->host[0] == '\0')
		return fail(err, MAYFLY_E_INVALID,
			    "network rule: no host; \"*\" stands for any beyond this one");
	if (rule.last == 0)
		rule.last = rule.first == 0 ? UINT16_MAX : rule.first;
	if (rule.first > rule.last)
		return fail(err, MAYFLY_E_INVALID,
			    "network rule \"%s\": the first port, %u, is after the last, %u",
			    from->host, rule.first, rule.last);
	if (strcmp(from->host, "*") == 0)
		return add_any(net, rule, err);
	if (strcmp(from->host, "@dns") == 0)
		return add_resolvers(net, rule, err);
	slash = strchr(from->host, '/');
	if (slash != NULL) {
		if ((r = parse_network(from->host, slash, &rule, err)) < 0)
			return r;
		rule.kind = address_kind(&rule.base, rule.bits);
		return add_rule(net, &rule, err);
	}
	if (parse_address(from->host, strlen(from->host), &a))
		return add_address(net, &a, rule, err);
	if (strpbrk(from->host, ":[]* ") != NULL)
		return fail(err, MAYFLY_E_INVALID,
			    "network rule \"%s\": neither a name nor an address", from->host);
	return add_name(net, from->host, &rule, err);
}

/* `foreign`: what "*" means. */
static bool rule_allows(const struct rule *rule, const struct address *to, uint16_t port,
			enum kind kind, bool foreign)
{
	if (port < rule->first || port > rule->last)
		return false;
	if (rule->any)
		return foreign;
	return rule->kind == kind && rule->base.family == to->family &&
	       prefix_equal(rule->base.bytes, to->bytes, rule->bits);
}

bool netpolicy_allows(const struct netpolicy *net, const struct sockaddr_storage *to)
{
	struct address a;
	uint16_t port;
	enum kind kind;
	bool foreign;

	if (net == NULL || !address_of(to, &a, &port))
		return false;
	kind = address_kind(&a, address_bits(a.family));
	if (kind == KIND_UNSPECIFIED)
		return false;
	foreign = kind == KIND_ORDINARY && !is_own(net, &a);
	for (size_t i = 0; i < net->nrules; i++) {
		if (rule_allows(&net->rules[i], &a, port, kind, foreign))
			return true;
	}
	return false;
}

bool netpolicy_allows_broadcast(const struct netpolicy *net)
{
	for (size_t i = 0; net != NULL && i < net->nrules; i++) {
		if (net->rules[i].kind == KIND_BROADCAST)
			return true;
	}
	return false;
}

/* --- Publications ------------------------------------------------------------------------- */

static int parse_publish(struct publication *to, const mayfly_publish *from, mayfly_error *err)
{
	const char *address = from->address != NULL ? from->address : "127.0.0.1";
	struct address a;

	if (from->guest_port == 0)
		return fail(err, MAYFLY_E_INVALID, "published port %u: no port of the guest",
			    from->host_port);
	if (!parse_address(address, strlen(address), &a))
		return fail(err, MAYFLY_E_INVALID,
			    "published port %u: \"%s\" is not an IPv4 or IPv6 address",
			    from->guest_port, address);
	to->publish = *from;
	to->address = strdup(address);
	if (to->address == NULL)
		return fail(err, MAYFLY_E_NOMEM, "out of memory for published ports");
	to->publish.address = to->address;
	if (a.family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)&to->host;

		in->sin_family = AF_INET;
		memcpy(&in->sin_addr, a.bytes, 4);
		in->sin_port = htons(from->host_port);
	} else {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&to->host;

		in6->sin6_family = AF_INET6;
		memcpy(&in6->sin6_addr, a.bytes, 16);
		in6->sin6_port = htons(from->host_port);
	}
	return 0;
}

static int parse_publications(struct netpolicy *net, const mayfly_publish *publish, size_t n,
			      mayfly_error *err)
{
	net->publications = calloc(n ? n : 1, sizeof(*net->publications));
	if (net->publications == NULL)
		return fail(err, MAYFLY_E_NOMEM, "out of memory for published ports");
	for (size_t i = 0; i < n; i++) {
		int r;

		if (netpolicy_published(net, publish[i].guest_port) != NULL)
			return fail(err, MAYFLY_E_INVALID,
				    "published port %u: published more than once",
				    publish[i].guest_port);
		r = parse_publish(&net->publications[i], &publish[i], err);
		if (r < 0)
			return r;
		net->npublications++;
	}
	return 0;
}

static struct publication *publication_of(const struct netpolicy *net, uint16_t guest_port)
{
	for (size_t i = 0; net != NULL && i < net->npublications; i++) {
		if (net->publications[i].publish.guest_port == guest_port)
			return &net->publications[i];
	}
	return NULL;
}

const mayfly_publish *netpolicy_published(const struct netpolicy *net, uint16_t guest_port)
{
	const struct publication *p = publication_of(net, guest_port);

	return p != NULL ? &p->publish : NULL;
}

/* What is known of a publication's live sockets. */
static void read_live(const struct netpolicy *net, uint16_t guest_port, int type,
		      struct live *out)
{
	const struct publication *p = publication_of(net, guest_port);

	memset(out, 0, sizeof(*out));
	if (p == NULL)
		return;
	pthread_mutex_lock((pthread_mutex_t *)&net->lock);
	*out = p->live[type == SOCK_DGRAM];
	pthread_mutex_unlock((pthread_mutex_t *)&net->lock);
}

bool netpolicy_is_bound(const struct netpolicy *net, uint16_t guest_port, int type)
{
	struct live live;

	read_live(net, guest_port, type, &live);
	return live.users > 0;
}

uint16_t netpolicy_ready_port(const struct netpolicy *net, uint16_t guest_port, int type)
{
	struct live live;

	read_live(net, guest_port, type, &live);
	return live.ready ? live.port : 0;
}

uint16_t netpolicy_bound_port(const struct netpolicy *net, uint16_t guest_port)
{
	uint16_t port = netpolicy_ready_port(net, guest_port, SOCK_STREAM);

	return port != 0 ? port : netpolicy_ready_port(net, guest_port, SOCK_DGRAM);
}

bool netpolicy_host_address(const struct netpolicy *net, uint16_t guest_port, int type,
			    struct sockaddr_storage *out)
{
	const struct publication *p = publication_of(net, guest_port);
	struct live live;
	uint16_t port;

	if (p == NULL)
		return false;
	*out = p->host;
	port = p->publish.host_port;
	if (port == 0) {
		read_live(net, guest_port, type, &live);
		port = live.port;
	}
	if (out->ss_family == AF_INET)
		((struct sockaddr_in *)out)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)out)->sin6_port = htons(port);
	return true;
}

void netpolicy_bound(struct netpolicy *net, uint16_t guest_port, int type, uint16_t port)
{
	struct publication *p = publication_of(net, guest_port);
	struct live *live;

	if (p == NULL)
		return;
	live = &p->live[type == SOCK_DGRAM];
	pthread_mutex_lock(&net->lock);
	live->users++;
	live->port = port;
	if (type == SOCK_DGRAM)
		live->ready = true;
	pthread_mutex_unlock(&net->lock);
}

void netpolicy_ready(struct netpolicy *net, uint16_t guest_port, int type)
{
	struct publication *p = publication_of(net, guest_port);
	struct live *live;

	if (p == NULL)
		return;
	live = &p->live[type == SOCK_DGRAM];
	pthread_mutex_lock(&net->lock);
	live->ready = live->users > 0;
	pthread_mutex_unlock(&net->lock);
}

void netpolicy_unbound(struct netpolicy *net, uint16_t guest_port, int type)
{
	struct publication *p = publication_of(net, guest_port);
	struct live *live;

	if (p == NULL)
		return;
	live = &p->live[type == SOCK_DGRAM];
	pthread_mutex_lock(&net->lock);
	if (live->users > 0 && --live->users == 0)
		*live = (struct live){0};
	pthread_mutex_unlock(&net->lock);
}

/* --- Life --------------------------------------------------------------------------------- */

int netpolicy_new(const mayfly_net_rule *rules, size_t nrules, const mayfly_publish *publish,
		  size_t npublish, struct netpolicy **out, mayfly_error *err)
{
	struct netpolicy *net = calloc(1, sizeof(*net));
	int r = 0;

	if (net == NULL)
		return fail(err, MAYFLY_E_NOMEM, "out of memory for network rules");
	pthread_mutex_init(&net->lock, NULL);
	for (size_t i = 0; i < nrules && r == 0; i++)
		r = parse_rule(net, &rules[i], err);
	if (r == 0)
		r = parse_publications(net, publish, npublish, err);
	if (r < 0) {
		netpolicy_free(net);
		return r;
	}
	*out = net;
	return 0;
}

void netpolicy_free(struct netpolicy *net)
{
	if (net == NULL)
		return;
	/* What is not a publication yet is zero. */
	for (size_t i = 0; i < net->npublications; i++)
		free(net->publications[i].address);
	free(net->publications);
	free(net->rules);
	free(net->own);
	pthread_mutex_destroy(&net->lock);
	free(net);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "linux/loopback.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "core/random.h"
#include "core/util.h"
#include "linux/socket_rights.h"

#define BUCKETS 256

struct pending {
	struct pending *next;
	struct loopback_accepted connection;
};

struct loopback {
	atomic_uint refs;
	atomic_ullong pairs;
	pthread_mutex_t lock;
	struct endpoint *buckets[BUCKETS];
	uint32_t npending;
	struct rights *rights;
};

struct loopback *loopback_new(void)
{
	struct loopback *lb = calloc(1, sizeof(*lb));

	if (lb == NULL)
		return NULL;
	lb->rights = rights_new();
	if (lb->rights == NULL) {
		free(lb);
		return NULL;
	}
	atomic_init(&lb->refs, 1);
	pthread_mutex_init(&lb->lock, NULL);
	return lb;
}

struct loopback *loopback_get(struct loopback *lb)
{
	atomic_fetch_add(&lb->refs, 1);
	return lb;
}

void loopback_put(struct loopback *lb)
{
	/* Endpoints belong to sockets, and these hold counts: there are none. */
	if (lb == NULL || atomic_fetch_sub(&lb->refs, 1) != 1)
		return;
	rights_free(lb->rights);
	pthread_mutex_destroy(&lb->lock);
	free(lb);
}

uint64_t loopback_pair(struct loopback *lb)
{
	return atomic_fetch_add(&lb->pairs, 1) + 1;
}

struct rights *loopback_rights(struct loopback *lb)
{
	return lb->rights;
}

/* --- Names -------------------------------------------------------------------------------- */

static unsigned bucket_of(const struct socket_name *name, uint64_t device, uint64_t inode)
{
	uint64_t hash = 14695981039346656037u; /* FNV-1a */
	const uint8_t *bytes = (const uint8_t *)&name->address;

	if (name->address.ss_family != AF_UNIX)
		return socket_name_port(name) % BUCKETS;
	if (device != 0 || inode != 0)
		return (unsigned)((device ^ inode) % BUCKETS);
	for (socklen_t i = 0; i < name->len; i++)
		hash = (hash ^ bytes[i]) * 1099511628211u;
	return (unsigned)(hash % BUCKETS);
}

static bool same_unix_name(const struct endpoint *ep, const struct socket_name *name,
			   uint64_t device, uint64_t inode)
{
	if (ep->device != device || ep->inode != inode)
		return false;
	return device != 0 || inode != 0 || socket_name_equal(&ep->name, name);
}

/* Which addresses a bound name gets: IPv4, IPv6, or both for [::]. */
static bool gets_ipv4(const struct endpoint *ep, struct in_addr *v4)
{
	if (socket_name_ipv4(&ep->name, v4))
		return true;
	*v4 = (struct in_addr){0};
	return !ep->v6only && socket_name_is_any(&ep->name);
}

static bool gets_ipv6(const struct endpoint *ep, struct in6_addr *v6)
{
	struct in_addr v4;

	if (socket_name_ipv4(&ep->name, &v4))
		return false;
	*v6 = name_in6(&ep->name)->sin6_addr;
	return true;
}

static bool overlap(const struct endpoint *a, const struct endpoint *b)
{
	struct in_addr a4, b4;
	struct in6_addr a6, b6;

	if (gets_ipv4(a, &a4) && gets_ipv4(b, &b4) &&
	    (a4.s_addr == 0 || b4.s_addr == 0 || a4.s_addr == b4.s_addr))
		return true;
	return gets_ipv6(a, &a6) && gets_ipv6(b, &b6) &&
	       (IN6_IS_ADDR_UNSPECIFIED(&a6) || IN6_IS_ADDR_UNSPECIFIED(&b6) ||
		IN6_ARE_ADDR_EQUAL(&a6, &b6));
}

/* As inet_csk_get_port(): who shares a port must have agreed. */
static bool may_share(const struct endpoint *there, const struct endpoint *want)
{
	if (there->reuse_port && want->reuse_port)
		return true;
	return there->reuse_address && want->reuse_address && !there->listening;
}

static bool taken(const struct loopback *lb, const struct endpoint *want, bool any_port)
{
	const struct endpoint *ep =
		lb->buckets[bucket_of(&want->name, want->device, want->inode)];

	for (; ep != NULL; ep = ep->next) {
		if (ep == want)
			continue;
		if (want->domain == AF_UNIX) {
			/* Types share one name space. */
			if (ep->domain == AF_UNIX &&
			    same_unix_name(ep, &want->name, want->device, want->inode))
				return true;
			continue;
		}
		if (ep->domain == AF_UNIX || ep->type != want->type ||
		    socket_name_port(&ep->name) != socket_name_port(&want->name))
			continue;
		if (overlap(ep, want) && (any_port || !may_share(ep, want)))
			return true;
	}
	return false;
}

static bool choose_port(const struct loopback *lb, struct endpoint *want)
{
	const uint32_t n = LOOPBACK_PORT_LAST - LOOPBACK_PORT_FIRST + 1;
	uint32_t start;

	random_bytes(&start, sizeof(start));
	for (uint32_t i = 0; i < n; i++) {
		socket_name_set_port(&want->name,
				     (uint16_t)(LOOPBACK_PORT_FIRST + (start % n + i) % n));
		if (!taken(lb, want, true))
			return true;
	}
	return false;
}

int loopback_bind(struct loopback *lb, const struct endpoint *want, struct endpoint **out)
{
	struct endpoint *ep = malloc(sizeof(*ep));
	bool ok;

	if (ep == NULL)
		return -ENOMEM;
	*ep = *want;
	atomic_init(&ep->refs, 1);
	ep->open = true;
	ep->listening = false;
	ep->wake = -1;
	ep->first = ep->last = NULL;
	ep->npending = ep->backlog = 0;

	pthread_mutex_lock(&lb->lock);
	if (ep->domain != AF_UNIX && socket_name_port(&ep->name) == 0)
		ok = choose_port(lb, ep);
	else
		ok = !taken(lb, ep, false);
	if (ok) {
		unsigned bucket = bucket_of(&ep->name, ep->device, ep->inode);

		ep->next = lb->buckets[bucket];
		lb->buckets[bucket] = ep;
	}
	pthread_mutex_unlock(&lb->lock);
	if (!ok) {
		free(ep);
		return -EADDRINUSE;
	}
	*out = ep;
	return 0;
}

void endpoint_put(struct endpoint *ep)
{
	if (ep == NULL || atomic_fetch_sub(&ep->refs, 1) != 1)
		return;
	if (ep->inject >= 0)
		close(ep->inject);
	free(ep);
}

/* Under the lock. Gives the queue, to be closed without it. */
static struct pending *stop_listening(struct loopback *lb, struct endpoint *ep)
{
	struct pending *queue = ep->first;

	lb->npending -= ep->npending;
	ep->npending = 0;
	ep->first = ep->last = NULL;
	ep->listening = false;
	if (ep->wake >= 0)
		close(ep->wake);
	ep->wake = -1;
	return queue;
}

static void discard(struct pending *queue)
{
	while (queue != NULL) {
		struct pending *next = queue->next;

		close(queue->connection.fd);
		free(queue);
		queue = next;
	}
}

void endpoint_close(struct loopback *lb, struct endpoint *ep)
{
	struct endpoint **p;
	struct pending *queue;

	if (ep == NULL)
		return;
	pthread_mutex_lock(&lb->lock);
	p = &lb->buckets[bucket_of(&ep->name, ep->device, ep->inode)];
	while (*p != NULL && *p != ep)
		p = &(*p)->next;
	if (*p == ep)
		*p = ep->next;
	ep->open = false;
	queue = stop_listening(lb, ep);
	pthread_mutex_unlock(&lb->lock);
	discard(queue);
	endpoint_put(ep);
}

void endpoint_stop(struct loopback *lb, struct endpoint *ep)
{
	struct pending *queue;

	pthread_mutex_lock(&lb->lock);
	queue = stop_listening(lb, ep);
	pthread_mutex_unlock(&lb->lock);
	discard(queue);
}

/* --- Finding ------------------------------------------------------------------------------ */

/* How well an endpoint fits a destination; 0: not at all. */
static int fits(const struct endpoint *ep, const struct loopback_target *to)
{
	struct in_addr want4, v4;
	struct in6_addr v6;

	if (ep->type != to->type || (ep->type != SOCK_DGRAM && !ep->listening))
		return 0;
	if (to->name.address.ss_family == AF_UNIX)
		return ep->domain == AF_UNIX &&
		       same_unix_name(ep, &to->name, to->device, to->inode);
	if (ep->domain == AF_UNIX || socket_name_port(&ep->name) != socket_name_port(&to->name))
		return 0;
	if (socket_name_ipv4(&to->name, &want4)) {
		if (!gets_ipv4(ep, &v4) || (v4.s_addr != 0 && v4.s_addr != want4.s_addr))
			return 0;
		return (v4.s_addr != 0 ? 4 : 0) + (ep->domain == AF_INET ? 2 : 1);
	}
	if (!gets_ipv6(ep, &v6))
		return 0;
	if (IN6_IS_ADDR_UNSPECIFIED(&v6))
		return 1;
	return IN6_ARE_ADDR_EQUAL(&v6, &name_in6(&to->name)->sin6_addr) ? 4 : 0;
}

/* Under the lock. Of those that share a port the one with the shortest queue. */
static struct endpoint *find(struct loopback *lb, const struct loopback_target *to)
{
	struct endpoint *best = NULL;
	struct endpoint *ep = lb->buckets[bucket_of(&to->name, to->device, to->inode)];
	int best_fit = 0;

	for (; ep != NULL; ep = ep->next) {
		int fit = fits(ep, to);

		if (fit > best_fit ||
		    (fit > 0 && fit == best_fit && ep->npending < best->npending)) {
			best = ep;
			best_fit = fit;
		}
	}
	return best;
}

struct endpoint *loopback_find(struct loopback *lb, const struct loopback_target *to)
{
	struct endpoint *ep;

	pthread_mutex_lock(&lb->lock);
	ep = find(lb, to);
	if (ep != NULL)
		atomic_fetch_add(&ep->refs, 1);
	pthread_mutex_unlock(&lb->lock);
	return ep;
}

bool loopback_listens(struct loopback *lb, const struct loopback_target *to)
{
	bool found;

	pthread_mutex_lock(&lb->lock);
	found = find(lb, to) != NULL;
	pthread_mutex_unlock(&lb->lock);
	return found;
}

/* --- Listening ---------------------------------------------------------------------------- */

int endpoint_listen(struct loopback *lb, struct endpoint *ep, int backlog, int *read_fd)
{
	int fds[2] = {-1, -1};
	int r = 0;

	*read_fd = -1;
	pthread_mutex_lock(&lb->lock);
	/* Two may have bound it with SO_REUSEADDR; only one may listen. */
	ep->listening = true;
	if (ep->domain != AF_UNIX && taken(lb, ep, false))
		r = -EADDRINUSE;
	else if (ep->wake < 0 && pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		r = -ENFILE;
	if (r < 0) {
		ep->listening = ep->wake >= 0;
	} else {
		if (fds[1] >= 0) {
			ep->wake = fds[1];
			*read_fd = fds[0];
		}
		/* Linux takes a negative one as the largest. */
		if (backlog < 0 || backlog > LOOPBACK_BACKLOG_MAX)
			backlog = LOOPBACK_BACKLOG_MAX;
		ep->backlog = (uint32_t)(backlog < LOOPBACK_BACKLOG_MIN ? LOOPBACK_BACKLOG_MIN
									: backlog);
	}
	pthread_mutex_unlock(&lb->lock);
	return r;
}

/* Takes `pending` on success. Under the lock. */
static int enqueue(struct loopback *lb, struct endpoint *ep, struct pending *pending)
{
	if (ep->npending >= ep->backlog || lb->npending >= LOOPBACK_PENDING_MAX ||
	    write(ep->wake, "", 1) != 1)
		return -EAGAIN;
	if (ep->last != NULL)
		ep->last->next = pending;
	else
		ep->first = pending;
	ep->last = pending;
	ep->npending++;
	lb->npending++;
	return 0;
}

/* The listener's view: IPv4 is mapped where it listens on IPv6. */
static void localise(struct socket_name *name, int domain)
{
	if (domain != AF_UNIX && name->len != 0)
		socket_name_convert(name, domain);
}

int loopback_connect(struct loopback *lb, const struct loopback_target *to,
		     const struct socket_name *from, int fd, uint64_t pair)
{
	struct pending *pending = malloc(sizeof(*pending));
	struct endpoint *ep;
	int r = -ECONNREFUSED;

	if (pending == NULL)
		return -ENOMEM;
	*pending = (struct pending){
		.connection = {.fd = fd, .pair = pair, .local = to->name, .peer = *from}};
	pthread_mutex_lock(&lb->lock);
	ep = find(lb, to);
	if (ep != NULL && ep->listening) {
		localise(&pending->connection.local, ep->domain);
		localise(&pending->connection.peer, ep->domain);
		r = enqueue(lb, ep, pending);
	}
	pthread_mutex_unlock(&lb->lock);
	if (r < 0)
		free(pending);
	return r;
}

int endpoint_queue(struct loopback *lb, struct endpoint *ep,
		   const struct loopback_accepted *waiting)
{
	struct pending *pending = malloc(sizeof(*pending));
	int r = -EINVAL;

	if (pending == NULL)
		return -ENOMEM;
	*pending = (struct pending){.connection = *waiting};
	pthread_mutex_lock(&lb->lock);
	if (ep->listening)
		r = enqueue(lb, ep, pending);
	pthread_mutex_unlock(&lb->lock);
	if (r < 0)
		free(pending);
	return r;
}

int endpoint_each(struct loopback *lb, struct endpoint *ep,
		  int (*each)(void *context, const struct loopback_accepted *waiting),
		  void *context)
{
	int r = 0;

	pthread_mutex_lock(&lb->lock);
	for (const struct pending *p = ep->first; p != NULL && r == 0; p = p->next)
		r = each(context, &p->connection);
	pthread_mutex_unlock(&lb->lock);
	return r;
}

int endpoint_accept(struct loopback *lb, struct endpoint *ep, int read_fd,
		    struct loopback_accepted *out)
{
	struct pending *pending = NULL;
	int r = 0;

	pthread_mutex_lock(&lb->lock);
	if (!ep->listening) {
		r = -EINVAL;
	} else if (ep->first == NULL) {
		r = -EAGAIN;
	} else {
		char byte;

		pending = ep->first;
		ep->first = pending->next;
		if (ep->first == NULL)
			ep->last = NULL;
		ep->npending--;
		lb->npending--;
		/* It is there: written before the queue's lock was given up. */
		if (read(read_fd, &byte, 1) < 0)
			r = 0;
	}
	pthread_mutex_unlock(&lb->lock);
	if (pending == NULL)
		return r;
	*out = pending->connection;
	free(pending);
	return 0;
}

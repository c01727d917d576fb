/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP and UDP: what is private, what is the host's, and what is refused. Every address that the
 * host's kernel gets to see passes permitted() or comes from a publication.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "linux/sockets.h"

int inet_denied(struct task *t, const struct socket_name *name)
{
	struct process *p = t->process;
	char text[INET6_ADDRSTRLEN] = "?";
	struct in_addr v4;

	/* Nobody listens on the guest's own loopback: nothing to tell the user about. */
	if (socket_name_is_loopback(name))
		return -ECONNREFUSED;
	if (socket_name_ipv4(name, &v4))
		inet_ntop(AF_INET, &v4, text, sizeof(text));
	else
		inet_ntop(AF_INET6, &name_in6(name)->sin6_addr, text, sizeof(text));
	process_notice(p, NOTICE_NET, "network: %s port %u is not granted (--net)", text,
		       socket_name_port(name));
	return p->net == NULL ? -ENETUNREACH : -EACCES;
}

static bool permitted(const struct socket *sock, const struct socket_name *name)
{
	return netpolicy_allows(sock->net, &name->address);
}

static void as_target(const struct file *file, const struct socket_name *name,
		      struct loopback_target *to)
{
	*to = (struct loopback_target){.type = file->type, .name = *name};
}

/* The address that a private socket has when it talks to `to`. */
static void source_name(const struct file *file, const struct socket_name *to,
			struct socket_name *from)
{
	const struct socket *sock = socket_of(file);
	uint16_t port = sock->endpoint != NULL ? socket_name_port(&sock->endpoint->name) : 0;
	struct in_addr v4;

	if (sock->endpoint != NULL && !socket_name_is_any(&sock->endpoint->name)) {
		*from = sock->endpoint->name;
		return;
	}
	socket_name_loopback(from, socket_name_ipv4(to, &v4) ? AF_INET : AF_INET6, port);
	if (file->domain == AF_INET6)
		socket_name_convert(from, AF_INET6);
}

/* --- Binding ------------------------------------------------------------------------------ */

int inet_take_name(struct file *file, const struct socket_name *name, int inject)
{
	struct socket *sock = socket_of(file);
	const struct endpoint want = {
		.domain = file->domain,
		.type = file->type,
		.name = *name,
		.v6only = socket_option(sock, IPPROTO_IPV6, IPV6_V6ONLY) != 0,
		.reuse_address = socket_option(sock, SOL_SOCKET, SO_REUSEADDR) != 0,
		.reuse_port = socket_option(sock, SOL_SOCKET, SO_REUSEPORT) != 0,
		.inject = inject,
	};

	return loopback_bind(sock->loopback, &want, &sock->endpoint);
}

static int bind_private(struct file *file, const struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	int r;

	/* A stream may still connect to the host; it has nothing to receive before. */
	if (file->type == SOCK_STREAM)
		return inet_take_name(file, name, -1);
	if ((r = socket_go_private(file)) < 0)
		return r;
	r = inet_take_name(file, name, sock->far);
	if (r == 0)
		sock->far = -1;
	return r;
}

static int autobind(struct file *file)
{
	struct socket *sock = socket_of(file);
	struct socket_name any;

	if (sock->endpoint != NULL)
		return 0;
	socket_name_any(&any, file->domain, 0);
	return bind_private(file, &any);
}

/* The host's port that fd is bound to. */
static uint16_t host_port(int fd)
{
	struct socket_name name = {.len = sizeof(name.address)};

	if (getsockname(fd, (struct sockaddr *)&name.address, &name.len) < 0)
		return 0;
	return socket_name_port(&name);
}

/*
 * Bind to where the guest's port is published. Its name is taken among the guest's own first,
 * so that two sockets of the guest quarrel as they would anywhere.
 */
static int bind_published(struct file *file, const struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	uint16_t port = socket_name_port(name);
	struct socket_name host = {0};
	int r;

	if (!netpolicy_host_address(sock->net, port, file->type, &host.address))
		return -EACCES;
	r = socket_go_host(file, host.address.ss_family);
	if (r < 0)
		return r;
	if ((r = inet_take_name(file, name, -1)) < 0)
		return r;
	host.len = host.address.ss_family == AF_INET ? sizeof(struct sockaddr_in)
						     : sizeof(struct sockaddr_in6);
	if (bind(file->fd, (const struct sockaddr *)&host.address, host.len) < 0) {
		r = -errno;
		endpoint_close(sock->loopback, sock->endpoint);
		sock->endpoint = NULL;
		return r;
	}
	sock->published = port;
	sock->bound_recorded = true;
	netpolicy_bound(sock->net, port, file->type, host_port(file->fd));
	return 0;
}

int inet_bind(struct file *file, const struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	uint16_t port = socket_name_port(name);
	bool any = socket_name_is_any(name);

	if (sock->endpoint != NULL || sock->state != SOCKET_FRESH)
		return -EINVAL;
	if (!any && !socket_name_is_loopback(name))
		return -EADDRNOTAVAIL;
	/* Programs listen on [::] and on 0.0.0.0; the first one gets the host's port. */
	if (netpolicy_published(sock->net, port) != NULL &&
	    (!netpolicy_is_bound(sock->net, port, file->type) ||
	     socket_option(sock, SOL_SOCKET, SO_REUSEPORT) != 0))
		return bind_published(file, name);
	return bind_private(file, name);
}

int inet_listen(struct file *file, int backlog)
{
	struct socket *sock = socket_of(file);
	int read_fd, r;

	if (sock->published != 0) {
		if (listen(file->fd, backlog) < 0)
			return -errno;
		netpolicy_ready(sock->net, sock->published, file->type);
		sock->state = SOCKET_LISTENING;
		return 0;
	}
	if (sock->state != SOCKET_FRESH && sock->state != SOCKET_LISTENING)
		return -EINVAL;
	if ((r = autobind(file)) < 0 ||
	    (r = endpoint_listen(sock->loopback, sock->endpoint, backlog, &read_fd)) < 0)
		return r;
	if (read_fd < 0)
		return 0;
	r = socket_replace(file, read_fd);
	if (r < 0) {
		endpoint_stop(sock->loopback, sock->endpoint);
		return r;
	}
	if (sock->far >= 0)
		close(sock->far);
	sock->far = -1;
	sock->host = false;
	sock->state = SOCKET_LISTENING;
	return 0;
}

/* --- Connecting streams ------------------------------------------------------------------- */

/* Whether the host's TCP socket is closed again: a connection failed. */
static bool host_closed(const struct file *file)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(file->fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
	       info.tcpi_state == TCP_CLOSE;
}

static int connect_private(struct file *file, const struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	struct loopback_target to;
	struct socket_name from;
	int r;

	as_target(file, name, &to);
	if (!loopback_listens(sock->loopback, &to))
		return -ECONNREFUSED;
	if ((r = socket_go_private(file)) < 0 || (r = autobind(file)) < 0)
		return r;
	if (sock->far < 0) /* it was connected once */
		return -EISCONN;
	source_name(file, name, &from);
	r = loopback_connect(sock->loopback, &to, &from, sock->far, sock->pair);
	if (r < 0)
		return r;
	sock->far = -1;
	sock->state = SOCKET_CONNECTED;
	sock->local = from;
	sock->peer = *name;
	return 0;
}

/* To `to`, which was checked; `name` is what the guest calls it. Under the lock; no wait. */
static int connect_host(struct file *file, const struct socket_name *to,
			const struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	int r;

	if (!sock->host ||
	    (sock->state == SOCKET_FRESH && sock->host_domain != socket_name_family(to))) {
		if ((r = socket_go_host(file, socket_name_family(to))) < 0)
			return r;
	}
	r = connect(file->fd, (const struct sockaddr *)&to->address, to->len) < 0 ? -errno : 0;
	if (r == 0) {
		sock->state = SOCKET_CONNECTED;
		file->connecting = false;
	} else if (r == -EINPROGRESS || r == -EALREADY) {
		sock->state = SOCKET_CONNECTING;
		file->connecting = true;
	} else if (r != -EISCONN) {
		sock->state = SOCKET_FRESH;
		file->connecting = false;
	}
	if (r == 0 || r == -EINPROGRESS)
		sock->peer = *name;
	return r;
}

/* The guest's own published port, seen from inside: *to is the host's. */
static bool own_publication(const struct file *file, const struct socket_name *name,
			    struct socket_name *to)
{
	const struct socket *sock = socket_of(file);
	uint16_t guest_port = socket_name_port(name);
	uint16_t port = netpolicy_ready_port(sock->net, guest_port, file->type);

	if (!socket_name_is_loopback(name) || port == 0)
		return false;
	memset(to, 0, sizeof(*to));
	netpolicy_host_address(sock->net, guest_port, file->type, &to->address);
	to->len = to->address.ss_family == AF_INET ? sizeof(struct sockaddr_in)
						   : sizeof(struct sockaddr_in6);
	socket_name_set_port(to, port);
	socket_name_normalise(to);
	return true;
}

/* One attempt, under the lock. -EAGAIN: a listener's queue is full. */
static int connect_stream(struct task *t, struct file *file, const struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	struct socket_name to, own;
	bool busy = sock->host && sock->state != SOCKET_FRESH && !host_closed(file);
	int r;

	if (sock->state == SOCKET_LISTENING || (!sock->host && sock->state != SOCKET_FRESH) ||
	    (sock->host && sock->published != 0))
		return -EISCONN;
	to = *name;
	socket_name_normalise(&to);
	if (!busy && socket_name_is_loopback(&to)) {
		if (sock->host)
			sock->state = SOCKET_FRESH;
		r = connect_private(file, &to);
		if (r != -ECONNREFUSED)
			return r;
	}
	if (own_publication(file, &to, &own))
		return connect_host(file, &own, &to);
	if (permitted(sock, &to))
		return connect_host(file, &to, &to);
	if (busy)
		return sock->state == SOCKET_CONNECTING ? -EALREADY : -EISCONN;
	return inet_denied(t, &to);
}

static int connect_stream_waiting(struct task *t, struct file *file,
				  const struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	struct socket_wait wait = {0};

	for (;;) {
		bool nonblocking = (file_flags(file) & O_NONBLOCK) != 0;
		int r, w;

		pthread_mutex_lock(&sock->lock);
		r = connect_stream(t, file, name);
		pthread_mutex_unlock(&sock->lock);
		/* Linux would try a full queue again for a while, in the background. */
		if (nonblocking)
			return r == -EAGAIN ? -ECONNREFUSED : r;
		if (r == -EAGAIN)
			w = socket_wait(t, -1, 0, sock->send_timeout, &wait);
		else if (r == -EINPROGRESS || r == -EALREADY)
			w = socket_wait(t, file->fd, POLLOUT, sock->send_timeout, &wait);
		else
			return r;
		if (w == -EAGAIN) /* SO_SNDTIMEO: socket(7) */
			return -EINPROGRESS;
		if (w < 0)
			return w;
	}
}

/* --- Datagrams ---------------------------------------------------------------------------- */

/* The peer of a private datagram socket. */
static int connect_datagram_private(struct file *file, const struct socket_name *to)
{
	struct socket *sock = socket_of(file);
	int r;

	if ((r = socket_go_private(file)) < 0 || (r = autobind(file)) < 0)
		return r;
	source_name(file, to, &sock->local);
	sock->peer = *to;
	sock->state = SOCKET_CONNECTED;
	return 0;
}

/* Unpublished names are given up for it; but not if they are in use. */
static int datagrams_to_host(struct file *file)
{
	struct socket *sock = socket_of(file);

	if (sock->host)
		return 0;
	return sock->used ? -ENETUNREACH : socket_go_host(file, file->domain);
}

static int connect_datagram(struct task *t, struct file *file, const struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	struct socket_name to = *name, own;
	struct loopback_target target;
	struct endpoint *ep;
	int r;

	socket_name_normalise(&to);
	as_target(file, &to, &target);
	ep = socket_name_is_loopback(&to) ? loopback_find(sock->loopback, &target) : NULL;
	if (ep != NULL) {
		bool published = ep->inject < 0;

		endpoint_put(ep);
		if (!published)
			return connect_datagram_private(file, &to);
	}
	if (!own_publication(file, &to, &own)) {
		own = to;
		if (!permitted(sock, &to)) {
			/* Nobody is there, which UDP finds out only when it sends. */
			if (socket_name_is_loopback(&to) && sock->published == 0)
				return connect_datagram_private(file, &to);
			return inet_denied(t, &to);
		}
	}
	if ((r = datagrams_to_host(file)) < 0)
		return r;
	socket_name_convert(&own, sock->host_domain);
	if (connect(file->fd, (const struct sockaddr *)&own.address, own.len) < 0)
		return -errno;
	sock->state = SOCKET_CONNECTED;
	sock->peer = to;
	sock->alone = false;
	return 0;
}

static bool is_recent_peer(const struct socket *sock, const struct socket_name *name)
{
	for (unsigned i = 0; i < sock->npeers; i++) {
		if (socket_name_equal(&sock->peers[i], name))
			return true;
	}
	return false;
}

static void remember_peer(struct socket *sock, const struct socket_name *name)
{
	if (sock->peers == NULL)
		sock->peers = calloc(SOCKET_PEERS, sizeof(*sock->peers));
	if (sock->peers == NULL || is_recent_peer(sock, name))
		return;
	sock->peers[sock->next_peer] = *name;
	sock->next_peer = (sock->next_peer + 1) % SOCKET_PEERS;
	if (sock->npeers < SOCKET_PEERS)
		sock->npeers++;
}

/* Whether the host's socket is connected to `name`: its own name of who is published here, too. */
static bool is_host_peer(const struct file *file, const struct socket_name *name)
{
	struct socket_name peer = {.len = sizeof(peer.address)};

	return getpeername(file->fd, (struct sockaddr *)&peer.address, &peer.len) == 0 &&
	       socket_name_equal(&peer, name);
}

bool inet_accepts_from(struct file *file, const struct socket_name *name)
{
	struct socket *sock = socket_of(file);

	if (name->len == 0)
		return false;
	if (sock->published != 0)
		remember_peer(sock, name);
	return sock->published != 0 || permitted(sock, name) ||
	       (sock->state == SOCKET_CONNECTED && is_host_peer(file, name));
}

/* Under the lock. */
static int route(struct task *t, struct file *file, struct socket_route *r)
{
	struct socket *sock = socket_of(file);
	bool to_peer = r->to.len == 0;
	struct socket_name own;
	struct loopback_target target;
	int e;

	if (to_peer && sock->state != SOCKET_CONNECTED)
		return -EDESTADDRREQ;
	if (to_peer && sock->host)
		return 0;
	if (to_peer)
		r->to = sock->peer;
	socket_name_normalise(&r->to);
	if (socket_name_port(&r->to) == 0)
		return -EINVAL;
	as_target(file, &r->to, &target);
	if (socket_name_is_loopback(&r->to))
		r->endpoint = loopback_find(sock->loopback, &target);
	if (r->endpoint != NULL && r->endpoint->inject < 0) {
		endpoint_put(r->endpoint);
		r->endpoint = NULL;
	}
	if (r->endpoint != NULL) {
		/* A published socket stays where it is; it is known by its port. */
		if (sock->published == 0 &&
		    ((e = socket_go_private(file)) < 0 || (e = autobind(file)) < 0)) {
			endpoint_put(r->endpoint);
			r->endpoint = NULL;
			return e;
		}
		source_name(file, &r->to, &r->from);
		sock->used = true;
		return 0;
	}
	if (own_publication(file, &r->to, &own))
		r->to = own;
	else if (is_recent_peer(sock, &r->to))
		own = r->to;
	else if (!permitted(sock, &r->to) && socket_name_is_loopback(&r->to))
		return to_peer ? -ECONNREFUSED : 1;
	else if (!permitted(sock, &r->to))
		return inet_denied(t, &r->to);
	if ((e = datagrams_to_host(file)) < 0)
		return e;
	socket_name_convert(&r->to, sock->host_domain);
	return 0;
}

int inet_route(struct task *t, struct file *file, struct socket_route *r)
{
	struct socket *sock = socket_of(file);
	int e;

	r->path_fd = -1;
	pthread_mutex_lock(&sock->lock);
	e = sock->shut_write ? -EPIPE : route(t, file, r);
	pthread_mutex_unlock(&sock->lock);
	return e;
}

/* --- connect(2) --------------------------------------------------------------------------- */

int inet_connect(struct task *t, struct file *file, const struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	int r;

	if (file->type == SOCK_STREAM)
		return connect_stream_waiting(t, file, name);
	pthread_mutex_lock(&sock->lock);
	r = connect_datagram(t, file, name);
	pthread_mutex_unlock(&sock->lock);
	return r;
}

static int disconnect_datagram(struct file *file)
{
	struct socket *sock = socket_of(file);
	const struct sockaddr none = {.sa_family = AF_UNSPEC};

	if (sock->host && connect(file->fd, &none, sizeof(none)) < 0)
		return -errno;
	sock->state = SOCKET_FRESH;
	sock->peer.len = sock->local.len = 0;
	return 0;
}

int inet_disconnect(struct file *file)
{
	struct socket *sock = socket_of(file);
	int fds[2];
	int r = 0;

	pthread_mutex_lock(&sock->lock);
	if (file->type == SOCK_DGRAM) {
		r = disconnect_datagram(file);
	} else if (sock->state == SOCKET_FRESH && sock->published == 0) {
		r = 0;
	} else if (sock->state == SOCKET_LISTENING || sock->published != 0) {
		/* Linux stops the listener; what is published stays so until it is closed. */
		r = -EINVAL;
	} else if (sock->host) {
		/* A new one, so that no port of the host's is left to it. */
		r = socket_go_host(file, file->domain);
	} else if ((r = socket_private_pair(SOCK_STREAM, fds)) == 0 &&
		   (r = socket_replace(file, fds[0])) < 0) {
		close(fds[1]);
	} else if (r == 0) {
		sock->far = fds[1];
		sock->pair = loopback_pair(sock->loopback);
		sock->state = SOCKET_FRESH;
		sock->local.len = sock->peer.len = 0;
		sock->shut_write = sock->lost = false;
	}
	file->connecting = false;
	pthread_mutex_unlock(&sock->lock);
	return r;
}

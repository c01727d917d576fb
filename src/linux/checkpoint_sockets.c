/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets of a process, as bytes and back: those that have nobody outside of it at the other
 * end. What waits in them is kept; only empty datagrams behind others may be lost, as the host's
 * kernel does not show them before they are taken. Nothing of the process runs meanwhile, so no
 * socket's lock is taken.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/codec.h"
#include "linux/checkpoint.h"
#include "linux/sockets.h"

/* A datagram of AF_UNIX is no larger than the sender's buffer, see BUFFER_MAX of sys_sockopt.c. */
#define DATAGRAM_MAX ((size_t)1 << 20)
/* What waits in a socket, at most: twice BUFFER_MAX, and what the kernel lets go beyond. */
#define QUEUE_MAX ((size_t)4 << 20)
#define QUEUE_MESSAGES 4096

enum {
	IS_FRAMED = 1,
	WAS_USED = 2,
	SHUT_WRITE = 4,
	LOST = 8,
	STOPPED = 16, /* a listener that was shut down */
	HAS_NAME = 32,
	ALL_BITS = 63
};

/* --- Saving ------------------------------------------------------------------------------- */

static int cannot(mayfly_error *err, const struct file *file, const char *why)
{
	return fail(err, MAYFLY_E_INVALID, "a snapshot cannot keep %s: %s",
		    file->path ? file->path : "a socket", why);
}

static void put_name(struct writer *w, const struct socket_name *name)
{
	put_block(w, &name->address, name->len);
}

static bool is_at_end(int fd)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};

	return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLRDHUP);
}

/* 0, or -errno: it cannot be looked at. */
static int put_stream(struct writer *w, int fd)
{
	_cleanup_free_ uint8_t *data = NULL;
	int waiting = 0;

	if (ioctl(fd, FIONREAD, &waiting) < 0)
		return -errno;
	if (waiting < 0 || (size_t)waiting > QUEUE_MAX)
		return -E2BIG;
	put_u64(w, waiting ? 1 : 0);
	if (!waiting)
		return 0;
	data = malloc((size_t)waiting);
	if (!data)
		return -ENOMEM;
	if (recv(fd, data, (size_t)waiting, MSG_PEEK | MSG_DONTWAIT) != waiting)
		return -EIO;
	put_block(w, data, (size_t)waiting);
	return 0;
}

/* One after the other, by an offset that the kernel keeps (SO_PEEK_OFF, socket(7)). */
static int put_datagrams(struct writer *w, int fd, bool ends)
{
	_cleanup_free_ uint8_t *data = malloc(DATAGRAM_MAX);
	int at = 0, none = -1, r = 0;
	size_t count_at, total = 0;
	uint64_t count = 0;

	if (!data)
		return -ENOMEM;
	count_at = w->len;
	put_u64(w, 0);
	if (setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &at, sizeof(at)) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(fd, data, DATAGRAM_MAX, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);

		/* Empty, as long as there is an end: it is that. */
		if ((n < 0 && errno == EAGAIN) || (n == 0 && ends))
			break;
		if (n < 0)
			r = -errno;
		else if ((size_t)n > DATAGRAM_MAX || (total += (size_t)n) > QUEUE_MAX ||
			 ++count > QUEUE_MESSAGES)
			r = -E2BIG;
		if (r < 0)
			break;
		put_block(w, data, (size_t)n);
	}
	setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &none, sizeof(none));
	if (!w->failed)
		memcpy(w->data + count_at, &count, sizeof(count));
	return r;
}

/* What waits in `fd`, and whether more may come. */
static int put_queue(struct writer *w, int fd, int type)
{
	bool ends = is_at_end(fd);

	put_u64(w, ends);
	return type == SOCK_STREAM ? put_stream(w, fd) : put_datagrams(w, fd, ends);
}

struct listener {
	struct writer *w;
	int type;
	uint64_t count;
};

static int count_waiting(void *context, const struct loopback_accepted *waiting)
{
	struct listener *l = context;

	(void)waiting;
	l->count++;
	return 0;
}

static int put_waiting(void *context, const struct loopback_accepted *waiting)
{
	struct listener *l = context;

	put_u64(l->w, waiting->pair);
	put_name(l->w, &waiting->local);
	put_name(l->w, &waiting->peer);
	return put_queue(l->w, waiting->fd, l->type);
}

static int put_endpoint(struct writer *w, const struct file *file)
{
	const struct socket *sock = socket_of(file);
	struct endpoint *ep = sock->endpoint;
	struct listener l = {.w = w, .type = file->type};

	put_name(w, &ep->name);
	put_u64(w, ep->device);
	put_u64(w, ep->inode);
	put_u64(w, ep->backlog);
	endpoint_each(sock->loopback, ep, count_waiting, &l);
	put_u64(w, l.count);
	return endpoint_each(sock->loopback, ep, put_waiting, &l);
}

static void put_options(struct writer *w, const struct socket *sock)
{
	put_u64(w, (uint64_t)sock->receive_timeout);
	put_u64(w, (uint64_t)sock->send_timeout);
	put_bytes(w, sock->linger, sizeof(sock->linger));
	put_u64(w, sock->options_set);
	for (unsigned i = 0; i < SOCKET_OPTIONS; i++)
		if (sock->options_set >> i & 1)
			put_bytes(w, &sock->options[i], sizeof(sock->options[i]));
}

/* Why not; NULL: it can be kept. */
static const char *obstacle(const struct socket *sock)
{
	if (sock->host && (sock->state == SOCKET_CONNECTED || sock->state == SOCKET_CONNECTING))
		return "it is connected to somebody outside of the program, who would not know";
	if (sock->host && sock->bound_path)
		return "it has a name in a directory of the host";
	if (rights_count(loopback_rights(sock->loopback)))
		return "descriptors that were sent by a Unix socket are not received yet";
	return NULL;
}

static bool is_stopped(const struct socket *sock)
{
	return sock->state == SOCKET_LISTENING && !sock->host && !sock->endpoint->listening;
}

int checkpoint_save_socket(const struct file *file, struct writer *w, mayfly_error *err)
{
	const struct socket *sock = socket_of(file);
	const char *why = sock ? obstacle(sock) : "what it is cannot be told";
	int r = 0;

	if (why)
		return cannot(err, file, why);
	put_u64(w, (uint64_t)file->domain);
	put_u64(w, (uint64_t)file->type);
	put_u64(w, (uint64_t)file->protocol);
	put_u64(w, sock->state);
	put_u64(w, (sock->framed ? IS_FRAMED : 0) | (sock->used ? WAS_USED : 0) |
			   (sock->shut_write ? SHUT_WRITE : 0) | (sock->lost ? LOST : 0) |
			   (is_stopped(sock) ? STOPPED : 0) | (sock->endpoint ? HAS_NAME : 0));
	put_u64(w, sock->pair);
	put_options(w, sock);
	put_name(w, &sock->local);
	put_name(w, &sock->peer);
	if (sock->endpoint)
		r = put_endpoint(w, file);
	/* Of the host's nothing can be kept: it is the host's answer that waits. */
	if (r == 0 && !sock->host && sock->state != SOCKET_LISTENING)
		r = put_queue(w, file->fd, file->type);
	else
		put_bytes(w, (const uint64_t[2]){0, 0}, 2 * sizeof(uint64_t));
	if (r == -ENOMEM)
		return fail(err, MAYFLY_E_NOMEM, "no memory for a snapshot");
	return r < 0 ? cannot(err, file, "what waits in it cannot be looked at") : 0;
}

/* --- Both ends ---------------------------------------------------------------------------- */

struct socket_pair {
	uint64_t number; /* in the snapshot */
	uint64_t pair;	 /* now */
	int type;
	int fds[2];
	unsigned given;
};

void socket_pairs_fini(struct socket_pairs *pairs)
{
	/* Ends that nobody asked for had been closed. */
	for (size_t i = 0; i < pairs->count; i++) {
		close(pairs->list[i].fds[0]);
		close(pairs->list[i].fds[1]);
	}
	free(pairs->list);
}

static int pair_new(struct process *p, struct socket_pairs *pairs, uint64_t number, int type)
{
	struct loopback *lb = socket_loopback(p);
	struct socket_pair *list, *pair;
	int r;

	if (!lb || pairs->count > (size_t)p->files.max + LOOPBACK_PENDING_MAX)
		return -ENOMEM;
	list = reallocarray(pairs->list, pairs->count + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	pairs->list = list;
	pair = &list[pairs->count];
	*pair = (struct socket_pair){.number = number, .type = type, .pair = loopback_pair(lb)};
	r = socket_private_pair(type, pair->fds);
	if (r == 0)
		pairs->count++;
	return r;
}

/* One end of a pair: *out, counted as given; `fds`: that end and the other, borrowed. */
static int pair_end(struct process *p, struct socket_pairs *pairs, uint64_t number, int type,
		    struct loopback_accepted *out, int *other)
{
	struct socket_pair *pair = NULL;
	int r = 0;

	for (size_t i = 0; i < pairs->count && !pair; i++)
		if (pairs->list[i].number == number)
			pair = &pairs->list[i];
	if (!pair) {
		r = pair_new(p, pairs, number, type);
		if (r < 0)
			return r;
		pair = &pairs->list[pairs->count - 1];
	}
	if (pair->given == 2 || pair->type != type)
		return -EINVAL;
	out->fd = fcntl(pair->fds[pair->given], F_DUPFD_CLOEXEC, 0);
	if (out->fd < 0)
		return -ENFILE;
	out->pair = pair->pair;
	*other = pair->fds[!pair->given];
	pair->given++;
	return 0;
}

/* --- Loading ------------------------------------------------------------------------------ */

struct loading {
	struct process *p;
	struct socket_pairs *pairs;
	struct reader *r;
	struct file *file;
	enum socket_state state;
	uint64_t flags, pair;
	struct socket_name local, peer;
};

static void get_name(struct reader *r, struct socket_name *name)
{
	size_t len;
	const uint8_t *data = get_block(r, &len);

	*name = (struct socket_name){.len = 0};
	if (!data)
		return;
	if (len > sizeof(name->address)) {
		r->bad = true;
		return;
	}
	memcpy(&name->address, data, len);
	name->len = (socklen_t)len;
}

/* A name of a socket's family, or none. */
static void get_checked_name(struct reader *r, int domain, struct socket_name *name)
{
	get_name(r, name);
	if (name->len != 0 && domain != AF_NETLINK && socket_name_check(name, domain) < 0)
		r->bad = true;
}

/* Of datagrams: what receive_welcome() believes. */
static bool header_is_sound(const uint8_t *data, size_t len)
{
	struct datagram_header header;

	if (len < sizeof(header))
		return false;
	memcpy(&header, data, sizeof(header));
	return header.from.len <= sizeof(header.from.address);
}

/*
 * Write by `other` what is to wait in `fd`; `other` -1: nothing can wait there any more.
 * -errno, or the bytes are bad.
 */
static int get_queue(struct reader *r, int fd, int other, bool framed)
{
	bool ends = get_count(r, 1);
	uint64_t count = get_count(r, QUEUE_MESSAGES);
	int room = QUEUE_MAX, before = 0;
	socklen_t len = sizeof(before);

	if (other >= 0 && count &&
	    (getsockopt(other, SOL_SOCKET, SO_SNDBUF, &before, &len) < 0 ||
	     setsockopt(other, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)) < 0))
		return -errno;
	for (uint64_t i = 0; i < count && !r->bad; i++) {
		size_t size;
		const uint8_t *data = get_block(r, &size);

		if (!data || (framed && !header_is_sound(data, size))) {
			r->bad = true;
			break;
		}
		if (other >= 0 &&
		    send(other, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size)
			return -ENOBUFS;
	}
	/* The kernel doubles what it is told, socket(7). */
	before /= 2;
	if (other >= 0 && count)
		setsockopt(other, SOL_SOCKET, SO_SNDBUF, &before, sizeof(before));
	if (other >= 0 && ends && !r->bad)
		shutdown(fd, SHUT_RD);
	return 0;
}

/* On its present descriptor. */
static bool set_options(struct file *file, uint64_t set)
{
	const struct socket *sock = socket_of(file);

	for (unsigned i = 0; i < SOCKET_OPTIONS; i++)
		if ((set >> i & 1) && !socket_restore_option(file, i, sock->options[i]))
			return false;
	if (sock->host && sock->linger[0])
		(void)socket_apply_linger(sock, file->fd);
	return true;
}

static void get_options(struct reader *r, struct file *file)
{
	struct socket *sock = socket_of(file);
	uint64_t set;

	sock->receive_timeout = (int64_t)get_count(r, INT64_MAX);
	sock->send_timeout = (int64_t)get_count(r, INT64_MAX);
	get_bytes(r, sock->linger, sizeof(sock->linger));
	set = get_u64(r);
	for (unsigned i = 0; i < SOCKET_OPTIONS; i++)
		if (set >> i & 1)
			get_bytes(r, &sock->options[i], sizeof(sock->options[i]));
	if (!r->bad && !set_options(file, set))
		r->bad = true;
}

/* The name that it had, taken again. */
static int take_name(struct loading *l, const struct socket_name *name, uint64_t device,
		     uint64_t inode)
{
	struct socket *sock = socket_of(l->file);
	bool datagram = l->file->type == SOCK_DGRAM;
	int r;

	if (l->file->domain == AF_UNIX)
		return unix_take_name(l->file, name, device, inode);
	/* It may be published now. */
	if (l->state == SOCKET_FRESH || l->state == SOCKET_LISTENING)
		return inet_bind(l->file, name);
	r = socket_go_private(l->file);
	if (r == 0)
		r = inet_take_name(l->file, name, datagram ? sock->far : -1);
	if (r == 0 && datagram)
		sock->far = -1;
	return r;
}

static int get_waiting(struct loading *l, int type)
{
	const struct socket *sock = socket_of(l->file);
	struct loopback_accepted waiting = {.fd = -1};
	uint64_t number = get_u64(l->r);
	int other, r;

	get_checked_name(l->r, l->file->domain, &waiting.local);
	get_checked_name(l->r, l->file->domain, &waiting.peer);
	if (l->r->bad)
		return 0;
	r = pair_end(l->p, l->pairs, number, type, &waiting, &other);
	if (r < 0)
		return r;
	r = get_queue(l->r, waiting.fd, other, false);
	/* Published, it is the host that has the queue: whoever waited here is turned away. */
	if (r == 0 && !l->r->bad && !sock->host) {
		r = endpoint_queue(sock->loopback, sock->endpoint, &waiting);
		if (r == 0)
			return 0;
	}
	close(waiting.fd);
	return r;
}

static int get_endpoint(struct loading *l)
{
	struct file *file = l->file;
	struct socket_name name;
	uint64_t device, inode, backlog, waiting;
	int r;

	get_checked_name(l->r, file->domain, &name);
	device = get_u64(l->r);
	inode = get_u64(l->r);
	backlog = get_count(l->r, LOOPBACK_BACKLOG_MAX);
	waiting = get_count(l->r, LOOPBACK_PENDING_MAX);
	if (l->r->bad || name.len == 0 || file->domain == AF_NETLINK ||
	    (waiting && l->state != SOCKET_LISTENING)) {
		l->r->bad = true;
		return 0;
	}
	r = take_name(l, &name, device, inode);
	if (r < 0 || l->state != SOCKET_LISTENING)
		return r;
	/* The host's was not kept. */
	r = file->domain == AF_UNIX
		    ? unix_listen(file, (int)backlog)
		    : inet_listen(file, backlog ? (int)backlog : LOOPBACK_BACKLOG_MAX);
	file->listening = r == 0;
	for (uint64_t i = 0; i < waiting && r == 0 && !l->r->bad; i++)
		r = get_waiting(l, file->type);
	if (r == 0 && (l->flags & STOPPED) && !socket_of(file)->host)
		endpoint_stop(socket_of(file)->loopback, socket_of(file)->endpoint);
	return r;
}

/* Streams, and datagrams of socketpair(2): an end of a pair in place of what it was made with. */
static int get_connection(struct loading *l)
{
	struct socket *sock = socket_of(l->file);
	struct loopback_accepted end = {.fd = -1};
	int other = -1, r = socket_go_private(l->file);

	if (r == 0)
		r = pair_end(l->p, l->pairs, l->pair, l->file->type, &end, &other);
	if (r == 0)
		r = socket_replace(l->file, end.fd);
	if (r < 0)
		return r;
	if (sock->far >= 0)
		close(sock->far);
	sock->far = -1;
	sock->pair = end.pair;
	sock->framed = false;
	set_options(l->file, sock->options_set);
	return get_queue(l->r, l->file->fd, other, false);
}

/* Its own other end is what writes to it; or the endpoint's. */
static int get_lone_queue(struct loading *l)
{
	const struct socket *sock = socket_of(l->file);
	int other = sock->far;

	if (other < 0 && sock->endpoint && l->state != SOCKET_LISTENING)
		other = sock->endpoint->inject;
	if (sock->host)
		other = -1;
	return get_queue(l->r, l->file->fd, other, sock->framed);
}

/* What connects: a stream, or a pair. Other datagram sockets only remember whom they talk to. */
static bool has_twin(const struct loading *l)
{
	if (l->state != SOCKET_CONNECTED)
		return false;
	return l->file->type != SOCK_DGRAM || !(l->flags & IS_FRAMED);
}

static int get_state(struct loading *l)
{
	struct socket *sock = socket_of(l->file);
	int r = 0;

	if (l->state == SOCKET_CONNECTED && l->file->type == SOCK_DGRAM)
		r = socket_go_private(l->file);
	if (r == 0 && (l->flags & HAS_NAME))
		r = get_endpoint(l);
	if (r == 0 && !l->r->bad)
		r = has_twin(l) ? get_connection(l) : get_lone_queue(l);
	if (r < 0 || l->r->bad)
		return r;
	if (l->state == SOCKET_CONNECTED)
		sock->state = SOCKET_CONNECTED;
	if (!sock->host) {
		sock->local = l->local;
		sock->peer = l->peer;
		sock->lost = l->flags & LOST;
		sock->used = l->flags & WAS_USED;
		sock->shut_write = l->flags & SHUT_WRITE;
		if (sock->shut_write && has_twin(l) && l->file->type == SOCK_DGRAM)
			shutdown(l->file->fd, SHUT_WR);
	}
	return 0;
}

/* Whether there can be such a socket. */
static bool is_sound(const struct loading *l)
{
	const struct file *file = l->file;
	bool stream = file->type != SOCK_DGRAM;

	if (file->domain == AF_NETLINK)
		return l->state == SOCKET_FRESH && !(l->flags & HAS_NAME);
	if (l->state == SOCKET_CONNECTING || (stream && (l->flags & IS_FRAMED)) ||
	    (l->state == SOCKET_LISTENING && (!stream || !(l->flags & HAS_NAME))))
		return false;
	/* Only Unix sockets come in pairs, which have no names. */
	if (l->state == SOCKET_CONNECTED && !stream)
		return l->flags & IS_FRAMED ? l->peer.len != 0
					    : file->domain == AF_UNIX && !(l->flags & HAS_NAME);
	return true;
}

int checkpoint_load_socket(struct process *p, struct socket_pairs *pairs, struct reader *r,
			   struct file **out, mayfly_error *err)
{
	int domain = (int)get_count(r, INT32_MAX), type = (int)get_count(r, INT32_MAX);
	int protocol = (int)get_count(r, INT32_MAX), e;
	struct loading l = {.p = p, .pairs = pairs, .r = r};

	l.state = (enum socket_state)get_count(r, SOCKET_CONNECTED);
	l.flags = get_count(r, ALL_BITS);
	l.pair = get_u64(r);
	if (r->bad)
		return 0;
	e = socket_new(p, domain, type, protocol, &l.file);
	if (e == -EAFNOSUPPORT || e == -EPROTONOSUPPORT || e == -ESOCKTNOSUPPORT || e == -EPERM)
		r->bad = true;
	if (e < 0)
		return r->bad ? 0 : fail_errno(err, MAYFLY_E_NOMEM, -e, "making a socket anew");
	*out = l.file;
	get_options(r, l.file);
	get_checked_name(r, l.file->domain, &l.local);
	get_checked_name(r, l.file->domain, &l.peer);
	if (r->bad || !is_sound(&l)) {
		r->bad = true;
		return 0;
	}
	e = get_state(&l);
	if (e == -EINVAL)
		r->bad = true;
	if (e == -EADDRINUSE || e == -EACCES)
		return fail_errno(err, MAYFLY_E_IO, -e,
				  "a socket of the program cannot have its name again");
	return e < 0 && !r->bad ? fail_errno(err, MAYFLY_E_NOMEM, -e, "making a socket anew")
				: 0;
}

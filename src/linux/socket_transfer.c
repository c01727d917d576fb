/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending and receiving. Never blocks the host's thread: each attempt has MSG_DONTWAIT, and
 * waits are the task's. What the socket is is looked at anew for each attempt, as another guest
 * thread may bind or connect it meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "linux/socket_message.h"

/* Of UDP: 65535 less the headers of IPv4 and UDP. */
#define UDP_MAX 65507
/* Datagrams from strangers that are thrown away in one go. */
#define STRANGERS_MAX 64

/* A moment's view of the socket. */
struct view {
	bool host, framed, own;
	bool filtered; /* datagrams: not from everyone */
	enum socket_state state;
	struct socket_name peer; /* of private INET datagram sockets */
	int64_t receive_timeout, send_timeout;
};

/* Under the lock. */
static void look_locked(const struct file *file, struct view *view)
{
	struct socket *sock = socket_of(file);

	view->host = sock->host;
	view->framed = sock->framed;
	view->own = sock->own;
	view->state = sock->state;
	view->peer.len = 0;
	if (sock->framed && file->domain != AF_UNIX && sock->state == SOCKET_CONNECTED)
		view->peer = sock->peer;
	/* The kernel sees to it that a socket of the host's hears its peer only, once connected. */
	view->filtered = file->type == SOCK_DGRAM && file->domain != AF_UNIX &&
			 (sock->host ? sock->state != SOCKET_CONNECTED || !sock->alone
				     : view->peer.len != 0);
	view->receive_timeout = sock->receive_timeout;
	view->send_timeout = sock->send_timeout;
}

static void look(const struct file *file, struct view *view)
{
	struct socket *sock = socket_of(file);

	pthread_mutex_lock(&sock->lock);
	look_locked(file, view);
	pthread_mutex_unlock(&sock->lock);
}

static bool nonblocking(const struct file *file, const struct message *m)
{
	return (m->flags & MSG_DONTWAIT) != 0 || (file_flags(file) & O_NONBLOCK) != 0;
}

/* --- Sending ------------------------------------------------------------------------------ */

/* A token in place of the files; they are back in m if it fails. */
static int attach_rights(const struct file *file, struct message *m, int *token)
{
	struct guest_cmsghdr *c = (struct guest_cmsghdr *)m->control;
	int r;

	*token = -1;
	if (m->nfiles == 0)
		return 0;
	r = rights_send(loopback_rights(socket_of(file)->loopback), m->files, m->nfiles, token);
	if (r < 0)
		return r;
	m->nfiles = 0;
	*c = (struct guest_cmsghdr){
		.len = CMSG_LEN(sizeof(int)),
		.level = SOL_SOCKET,
		.type = SCM_RIGHTS,
	};
	memcpy(m->control + sizeof(*c), token, sizeof(*token));
	m->control_len = CMSG_SPACE(sizeof(int));
	return 0;
}

/* The message left, or did not: then its files are taken back and dropped. */
static void settle_rights(const struct file *file, struct message *m, int token, bool sent)
{
	if (token < 0)
		return;
	if (!sent)
		m->nfiles = rights_receive(loopback_rights(socket_of(file)->loopback), token,
					   false, m->files);
	close(token);
}

static int send_flags(const struct message *m)
{
	return (m->flags & (MSG_OOB | MSG_EOR | MSG_MORE | MSG_CONFIRM | MSG_DONTROUTE)) |
	       MSG_DONTWAIT | MSG_NOSIGNAL;
}

/* Streams, and other connections. What is sent of iov[1...] from `done` on. */
static ssize_t stream_attempt(const struct file *file, struct message *m, uint64_t done)
{
	struct iovec part[MESSAGE_IOV];
	struct msghdr msg = {.msg_iov = m->iov + 1, .msg_iovlen = (size_t)m->n};
	ssize_t r;

	if (done > 0) {
		msg.msg_iov = part;
		msg.msg_iovlen = (size_t)iov_window(m->iov + 1, m->n, done, m->total - done,
						    part, MESSAGE_IOV);
	}
	if (done == 0 && m->control_len > 0) {
		msg.msg_control = m->control;
		msg.msg_controllen = m->control_len;
	}
	r = sendmsg(file->fd, &msg, send_flags(m));
	return r < 0 ? -errno : r;
}

/* Whether it is connected, in the words of the family. */
static int stream_ready(const struct file *file, const struct message *m,
			const struct view *view)
{
	if (view->host && !view->own &&
	    m->nfiles > 0) /* descriptors do not leave the process */
		return -EPERM;
	if (file->domain == AF_UNIX && file->type == SOCK_STREAM && m->name.len != 0)
		return view->state == SOCKET_CONNECTED ? -EISCONN : -EOPNOTSUPP;
	if (view->host || view->state == SOCKET_CONNECTED)
		return 0;
	return file->domain == AF_UNIX ? -ENOTCONN : -EPIPE;
}

/*
 * TCP finds out that its peer has closed the connection by sending something: that succeeds,
 * and the answer is a reset. Servers rely on it when a client has heard enough.
 */
static bool first_loss(const struct file *file)
{
	struct socket *sock = socket_of(file);
	bool first = false;

	pthread_mutex_lock(&sock->lock);
	if (file->domain != AF_UNIX && !sock->host && !sock->shut_write &&
	    sock->state == SOCKET_CONNECTED) {
		first = !sock->lost;
		sock->lost = true;
	}
	pthread_mutex_unlock(&sock->lock);
	return first;
}

static int64_t send_stream(struct task *t, struct file *file, struct message *m)
{
	struct socket_wait wait = {0};
	uint64_t done = 0;
	int token;
	struct view view;
	int64_t r;

	look(file, &view);
	r = stream_ready(file, m, &view);
	if (r == 0)
		r = attach_rights(file, m, &token);
	if (r < 0)
		return r;
	for (;;) {
		r = stream_attempt(file, m, done);
		if (r > 0) {
			done += (uint64_t)r;
			wait.spins = 0;
		}
		if (done >= m->total || (r < 0 && r != -EAGAIN))
			break;
		if (file->type != SOCK_STREAM && r >= 0)
			break;
		if (r >= 0 && done < m->total && !nonblocking(file, m))
			continue;
		if (nonblocking(file, m))
			break;
		r = socket_wait(t, file->fd, POLLOUT, view.send_timeout, &wait);
		if (r < 0)
			break;
	}
	/* Files go with the first byte; a packet may be empty. */
	if (r == -EPIPE && done == 0 && first_loss(file))
		done = m->total;
	settle_rights(file, m, token, done > 0 || (file->type != SOCK_STREAM && r >= 0));
	return done > 0 ? (int64_t)done : r;
}

/* One datagram, to where the route says. */
static ssize_t datagram_attempt(const struct file *file, struct message *m,
				struct socket_route *route)
{
	struct datagram_header header = {.from = route->from};
	struct msghdr msg = {.msg_iov = m->iov + 1, .msg_iovlen = (size_t)m->n};
	int fd = file->fd;
	ssize_t r;

	if (m->control_len > 0) {
		msg.msg_control = m->control;
		msg.msg_controllen = m->control_len;
	}
	if (route->endpoint != NULL) {
		m->iov[0] = (struct iovec){&header, sizeof(header)};
		msg.msg_iov = m->iov;
		msg.msg_iovlen++;
		fd = route->endpoint->inject;
		if (file->domain != AF_UNIX) /* IP's means nothing there */
			msg.msg_controllen = 0;
	} else if (route->to.len != 0) {
		msg.msg_name = &route->to.address;
		msg.msg_namelen = route->to.len;
	}
	r = sendmsg(fd, &msg, send_flags(m));
	if (r < 0)
		return -errno;
	return route->endpoint != NULL ? r - (ssize_t)sizeof(header) : r;
}

/* What became of a datagram to a private socket, in the words of the family. */
static int64_t private_result(const struct file *file, const struct message *m, int64_t r)
{
	if (r >= 0)
		return r;
	/* The receiver goes away at this moment. */
	if (r == -EPIPE || r == -ECONNRESET || r == -ENOTCONN)
		r = -ECONNREFUSED;
	/* UDP is free to lose it, if the receiver has no room above all. */
	if (file->domain != AF_UNIX && (r == -EAGAIN || r == -ENOBUFS || r == -ECONNREFUSED))
		return (int64_t)m->total;
	return r;
}

static int64_t route_and_send(struct task *t, struct file *file, struct message *m,
			      int *wait_fd)
{
	struct socket_route route = {.to = m->name, .path_fd = -1};
	int64_t r = file->domain == AF_UNIX ? unix_route(t, file, &route)
					    : inet_route(t, file, &route);
	int token = -1;

	*wait_fd = file->fd;
	if (r == 1)
		return (int64_t)m->total;
	if (r < 0)
		return r;
	if (route.endpoint == NULL && m->nfiles > 0)
		r = -EPERM;
	else
		r = attach_rights(file, m, &token);
	if (r == 0)
		r = datagram_attempt(file, m, &route);
	if (route.endpoint != NULL) {
		r = private_result(file, m, r);
		/* A full receiver: it is asked again soon. */
		*wait_fd = -1;
	}
	settle_rights(file, m, token, r >= 0);
	if (r < 0)
		m->control_len = token >= 0 ? 0 : m->control_len;
	endpoint_put(route.endpoint);
	if (route.path_fd >= 0)
		close(route.path_fd);
	return r;
}

/* Of socketpair(2). */
static int64_t send_to_twin(const struct file *file, struct message *m)
{
	struct socket_route route = {.path_fd = -1};
	int token;
	int64_t r;

	if (m->name.len != 0)
		return -EISCONN;
	r = attach_rights(file, m, &token);
	if (r < 0)
		return r;
	r = datagram_attempt(file, m, &route);
	settle_rights(file, m, token, r >= 0);
	if (r < 0 && token >= 0)
		m->control_len = 0;
	return r;
}

static int64_t send_datagram(struct task *t, struct file *file, struct message *m)
{
	struct socket_wait wait = {0};
	struct view view;

	if (!m->whole)
		return -EFAULT;
	if (file->domain != AF_UNIX && m->total > UDP_MAX)
		return -EMSGSIZE;
	if (file->domain != AF_UNIX && (m->flags & MSG_OOB) != 0)
		return -EOPNOTSUPP;
	for (;;) {
		int wait_fd = file->fd, w;
		int64_t r;

		look(file, &view);
		if (!view.host && !view.framed)
			r = send_to_twin(file, m);
		else
			r = route_and_send(t, file, m, &wait_fd);
		if (r != -EAGAIN || nonblocking(file, m))
			return r;
		w = socket_wait(t, wait_fd, POLLOUT, view.send_timeout, &wait);
		if (w < 0)
			return w;
	}
}

int64_t socket_send(struct task *t, struct file *file, struct message *m)
{
	int64_t r;

	if (file->domain == AF_NETLINK)
		return netlink_send(file, m);
	if (file->type == SOCK_DGRAM)
		return send_datagram(t, file, m);
	if (file->type == SOCK_SEQPACKET && !m->whole)
		return -EFAULT;
	/* tcp(7): an address is for MSG_FASTOPEN, which is to connect and then send. */
	if ((m->flags & MSG_FASTOPEN) != 0 && file->domain != AF_UNIX && m->name.len != 0) {
		r = inet_connect(t, file, &m->name);
		if (r < 0 && r != -EISCONN)
			return r;
	}
	r = send_stream(t, file, m);
	if (r == -EPIPE && file->type == SOCK_STREAM && (m->flags & MSG_NOSIGNAL) == 0)
		file_signal(t, SIGPIPE);
	return r;
}

/* --- Receiving ---------------------------------------------------------------------------- */

/* Descriptors that came: of tokens the files; anything else is closed. */
static void take_rights(const struct file *file, struct message *m, struct msghdr *msg)
{
	struct rights *rights = loopback_rights(socket_of(file)->loopback);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - sizeof(*c)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (m->nfiles == 0)
				m->nfiles = rights_receive(
					rights, fd, (m->flags & MSG_PEEK) != 0, m->files);
			if (m->nfiles == 0)
				msg->msg_flags |= MSG_CTRUNC;
			close(fd);
		}
	}
}

/* From fd, into `iov`; no wait. Fills m's name, control and out_flags. */
static ssize_t receive_attempt(const struct file *file, struct message *m, struct iovec *iov,
			       int n)
{
	struct msghdr msg = {
		.msg_name = &m->name.address,
		.msg_namelen = sizeof(m->name.address),
		.msg_iov = iov,
		.msg_iovlen = (size_t)n,
		.msg_control = m->control,
		.msg_controllen = m->control_len,
	};
	const int known = MSG_PEEK | MSG_TRUNC | MSG_OOB | MSG_ERRQUEUE;
	ssize_t r;

	if (file->domain == AF_UNIX) {
		/* Room for what anyone may send: nothing is left to be lost. */
		msg.msg_controllen = sizeof(m->control);
		msg.msg_name = NULL;
		msg.msg_namelen = 0;
	}
	memset(&m->name, 0, sizeof(m->name));
	r = recvmsg(file->fd, &msg, (m->flags & known) | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (r < 0)
		return -errno;
	if (file->domain == AF_UNIX)
		take_rights(file, m, &msg);
	else
		m->name.len = msg.msg_namelen;
	m->control_len = file->domain == AF_UNIX ? 0 : msg.msg_controllen;
	m->out_flags = msg.msg_flags & ~MSG_CMSG_CLOEXEC;
	return r;
}

/* Take the next datagram away. */
static void throw_away(const struct file *file)
{
	char byte;

	if (recv(file->fd, &byte, sizeof(byte), MSG_DONTWAIT) < 0)
		return;
}

/* Whether the guest may have the datagram that comes next; its sender is looked at, no more. */
static int next_is_welcome(struct file *file, const struct view *view)
{
	struct datagram_header header = {.from.len = 0};
	struct iovec iov = {&header, sizeof(header)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t r;

	if (!view->framed) {
		msg.msg_name = &header.from.address;
		msg.msg_namelen = sizeof(header.from.address);
		msg.msg_iovlen = 0;
	}
	r = recvmsg(file->fd, &msg, MSG_PEEK | MSG_DONTWAIT);
	if (r < 0)
		return -errno;
	if (view->framed) /* 0: shut down */
		return r == 0 || socket_name_equal(&header.from, &view->peer);
	header.from.len = msg.msg_namelen;
	return inet_accepts_from(file, &header.from);
}

/*
 * A datagram; those that are not for the guest are thrown away before it sees a byte of them.
 * Under the lock, so that what was looked at is what is taken, and from the same socket.
 */
static int64_t receive_welcome(struct file *file, struct message *m, const struct view *view)
{
	struct datagram_header header;
	ssize_t r;

	for (unsigned strangers = 0; view->filtered && strangers < STRANGERS_MAX; strangers++) {
		int welcome = next_is_welcome(file, view);

		if (welcome == -EAGAIN && view->host)
			socket_of(file)->alone = view->state == SOCKET_CONNECTED;
		if (welcome < 0)
			return welcome;
		if (welcome)
			break;
		throw_away(file);
		if (strangers == STRANGERS_MAX - 1)
			return -EAGAIN;
	}
	if (!view->framed) {
		r = receive_attempt(file, m, m->iov + 1, m->n);
		if (r >= 0 && m->name.len != 0)
			socket_name_convert(&m->name, file->domain);
		return r;
	}
	m->iov[0] = (struct iovec){&header, sizeof(header)};
	r = receive_attempt(file, m, m->iov, 1 + m->n);
	if (r < (ssize_t)sizeof(header))
		return r; /* or 0: shut down */
	m->name = header.from;
	m->control_len = 0;
	atomic_store(&socket_of(file)->used, true);
	return r - (ssize_t)sizeof(header);
}

static int64_t receive_datagram(struct task *t, struct file *file, struct message *m)
{
	struct socket *sock = socket_of(file);
	struct socket_wait wait = {0};
	const size_t room = m->control_len;
	struct view view;

	for (;;) {
		int64_t r;
		int w;

		pthread_mutex_lock(&sock->lock);
		look_locked(file, &view);
		m->control_len = room;
		if ((m->flags & MSG_ERRQUEUE) != 0)
			view.filtered = false;
		if ((m->flags & MSG_ERRQUEUE) != 0 && !view.host)
			r = -EAGAIN;
		else
			r = receive_welcome(file, m, &view);
		pthread_mutex_unlock(&sock->lock);
		if (r != -EAGAIN || nonblocking(file, m) || (m->flags & MSG_ERRQUEUE) != 0)
			return r;
		w = socket_wait(t, file->fd, POLLIN, view.receive_timeout, &wait);
		if (w < 0)
			return w;
	}
}

/* Whether there can be something, in the words of the family. */
static int receive_ready(const struct file *file, const struct view *view)
{
	if (view->host || view->state == SOCKET_CONNECTED)
		return 0;
	if (file->domain == AF_UNIX && file->type == SOCK_STREAM)
		return -EINVAL;
	return -ENOTCONN;
}

static int64_t receive_stream(struct task *t, struct file *file, struct message *m)
{
	struct socket_wait wait = {0};
	const size_t room = m->control_len;
	const bool all = (m->flags & MSG_WAITALL) != 0 && file->type == SOCK_STREAM &&
			 (m->flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB)) == 0;
	struct iovec part[MESSAGE_IOV];
	uint64_t done = 0;
	struct view view;
	int64_t r;

	look(file, &view);
	r = receive_ready(file, &view);
	if (r < 0)
		return r;
	for (;;) {
		struct iovec *iov = m->iov + 1;
		int n = m->n;

		if (done > 0) {
			iov = part;
			n = iov_window(m->iov + 1, m->n, done, m->total - done, part,
				       MESSAGE_IOV);
		}
		m->control_len = room;
		r = receive_attempt(file, m, iov, n);
		if (r > 0) {
			done += (uint64_t)r;
			wait.spins = 0;
		}
		if (r >= 0 && (r == 0 || !all || done >= m->total || m->nfiles > 0))
			break;
		if (r < 0 && r != -EAGAIN)
			break;
		if (r > 0)
			continue;
		if (nonblocking(file, m) || (m->flags & (MSG_ERRQUEUE | MSG_OOB)) != 0)
			break;
		r = socket_wait(t, file->fd, POLLIN, view.receive_timeout, &wait);
		if (r < 0)
			break;
	}
	m->name.len = 0; /* as tcp_recvmsg(): connections do not say it */
	return done > 0 ? (int64_t)done : r;
}

int64_t socket_receive(struct task *t, struct file *file, struct message *m)
{
	if (file->type == SOCK_DGRAM)
		return receive_datagram(t, file, m);
	return receive_stream(t, file, m);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets as objects: made, exchanged, freed. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "linux/sockets.h"

/* Ready, but then not, so often: not to be tried in a tight loop. */
#define SPINS_BEFORE_SLEEP 64
#define SPIN_SLEEP_NS 1000000

struct loopback *socket_loopback(struct process *p)
{
	struct loopback *lb = atomic_load(&p->loopback);
	struct loopback *none = NULL;

	if (lb != NULL)
		return lb;
	lb = loopback_new();
	if (lb == NULL)
		return NULL;
	if (atomic_compare_exchange_strong(&p->loopback, &none, lb))
		return lb;
	loopback_put(lb);
	return none;
}

void sockets_end(struct process *p)
{
	struct loopback *lb = atomic_exchange(&p->loopback, NULL);

	if (lb == NULL)
		return;
	rights_end(loopback_rights(lb));
	loopback_put(lb);
}

/* --- Made and freed ----------------------------------------------------------------------- */

static void socket_release(struct file *file)
{
	struct socket *sock = socket_of(file);

	if (sock == NULL)
		return;
	if (sock->bound_recorded)
		netpolicy_unbound(sock->net, sock->published, file->type);
	endpoint_close(sock->loopback, sock->endpoint);
	if (sock->far >= 0)
		close(sock->far);
	loopback_put(sock->loopback);
	free(sock->peers);
	pthread_mutex_destroy(&sock->lock);
	free(sock);
	file->private_data = NULL;
}

/* Takes `fd`, also on failure. */
static int socket_attach(struct process *p, int fd, struct file **out)
{
	struct loopback *lb = socket_loopback(p);
	struct socket *sock = calloc(1, sizeof(*sock));
	struct file *file;

	if (lb == NULL || sock == NULL) {
		free(sock);
		close(fd);
		return -ENOMEM;
	}
	file = file_new_numbered(&p->files, FILE_SOCKET, fd, O_RDWR, "socket");
	if (file == NULL) {
		free(sock);
		return -ENOMEM;
	}
	pthread_mutex_init(&sock->lock, NULL);
	sock->loopback = loopback_get(lb);
	sock->process = p;
	sock->net = p->net;
	sock->far = -1;
	file->private_data = sock;
	file->release = socket_release;
	*out = file;
	return 0;
}

int socket_private_pair(int type, int fds[2])
{
	if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return host_error(errno);
	return 0;
}

/* What may be made, and its protocol. */
static int check_kind(int domain, int *type, int *protocol)
{
	if (domain == AF_UNIX) {
		if (*type == SOCK_RAW) /* as unix_create() */
			*type = SOCK_DGRAM;
		if (*protocol != 0 && *protocol != PF_UNIX)
			return -EPROTONOSUPPORT;
		*protocol = 0;
		if (*type != SOCK_STREAM && *type != SOCK_DGRAM && *type != SOCK_SEQPACKET)
			return -ESOCKTNOSUPPORT;
		return 0;
	}
	if (domain == AF_NETLINK) {
		if (*type != SOCK_RAW && *type != SOCK_DGRAM)
			return -ESOCKTNOSUPPORT;
		*type = SOCK_DGRAM;
		return *protocol == 0 ? 0 : -EPROTONOSUPPORT; /* NETLINK_ROUTE */
	}
	if (domain != AF_INET && domain != AF_INET6)
		return domain == AF_PACKET ? -EPERM : -EAFNOSUPPORT;
	if (*type == SOCK_RAW || *type == SOCK_PACKET)
		return -EPERM;
	if (*type == SOCK_STREAM && (*protocol == 0 || *protocol == IPPROTO_TCP))
		*protocol = IPPROTO_TCP;
	else if (*type == SOCK_DGRAM && (*protocol == 0 || *protocol == IPPROTO_UDP))
		*protocol = IPPROTO_UDP;
	else if (*type == SOCK_STREAM || *type == SOCK_DGRAM)
		return -EPROTONOSUPPORT;
	else
		return -ESOCKTNOSUPPORT;
	return 0;
}

int socket_new(struct process *p, int domain, int type, int protocol, struct file **out)
{
	struct socket *sock;
	struct file *file;
	int fds[2] = {-1, -1};
	bool host = false;
	int r = check_kind(domain, &type, &protocol);

	if (r < 0)
		return r;
	/* On a host without IPv6 there is still ::1 of the process's own. */
	if ((domain == AF_INET || domain == AF_INET6) && p->net != NULL) {
		fds[0] = socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
		host = fds[0] >= 0;
	}
	if (!host && (r = socket_private_pair(type, fds)) < 0)
		return r;
	r = socket_attach(p, fds[0], &file);
	if (r < 0) {
		if (fds[1] >= 0)
			close(fds[1]);
		return r;
	}
	file->domain = domain;
	file->type = type;
	file->protocol = protocol;
	sock = socket_of(file);
	sock->host = host;
	sock->host_domain = domain;
	sock->framed = !host && type == SOCK_DGRAM;
	sock->far = fds[1];
	sock->pair = loopback_pair(sock->loopback);
	if (domain == AF_NETLINK)
		netlink_init(file);
	*out = file;
	return 0;
}

int socket_wrap(struct process *p, const struct file *like, int fd, bool host,
		struct file **out)
{
	const struct socket *from = socket_of(like);
	struct socket *sock;
	struct file *file;
	int r = socket_attach(p, fd, &file);

	if (r < 0)
		return r;
	file->domain = like->domain;
	file->type = like->type;
	file->protocol = like->protocol;
	sock = socket_of(file);
	sock->host = host;
	sock->state = SOCKET_CONNECTED;
	if (from != NULL) {
		/* As Linux clones a listener's options. */
		sock->host_domain = from->host_domain;
		sock->options_set = from->options_set;
		memcpy(sock->options, from->options, sizeof(sock->options));
		memcpy(sock->linger, from->linger, sizeof(sock->linger));
		sock->receive_timeout = from->receive_timeout;
		sock->send_timeout = from->send_timeout;
	}
	*out = file;
	return 0;
}

/* --- Exchanged ---------------------------------------------------------------------------- */

int socket_replace(struct file *file, int fd)
{
	struct process *p = socket_of(file)->process;
	int r = epoll_exchange(&p->files, file, fd);

	close(fd);
	/* Whoever waits for the old description would do so for ever. */
	if (r == 0)
		tasks_look_again(p, file->fd);
	return r == -EMFILE ? -ENFILE : r;
}

/*
 * It leaves where it is published, with all whom it could answer there. The name stays its own
 * among the guest's.
 */
static void leave_publication(struct file *file)
{
	struct socket *sock = socket_of(file);
	struct socket_name name;

	if (sock->published == 0)
		return;
	if (sock->bound_recorded)
		netpolicy_unbound(sock->net, sock->published, file->type);
	sock->bound_recorded = false;
	sock->published = 0;
	sock->npeers = sock->next_peer = 0;
	name = sock->endpoint->name;
	endpoint_close(sock->loopback, sock->endpoint);
	sock->endpoint = NULL;
	/* Else it is given another, as one that had none. */
	if (inet_take_name(file, &name, sock->far) == 0)
		sock->far = -1;
}

int socket_go_private(struct file *file)
{
	struct socket *sock = socket_of(file);
	int fds[2];
	int r;

	if (!sock->host)
		return 0;
	r = socket_private_pair(file->type, fds);
	if (r < 0)
		return r;
	sock->far = fds[1];
	sock->pair = loopback_pair(sock->loopback);
	r = socket_replace(file, fds[0]);
	if (r < 0) {
		close(sock->far);
		sock->far = -1;
		return r;
	}
	sock->host = false;
	sock->framed = file->type == SOCK_DGRAM;
	sock->state = SOCKET_FRESH;
	sock->shut_write = sock->lost = false;
	sock->local.len = sock->peer.len = 0;
	leave_publication(file);
	return 0;
}

/* Whatever it was, it is the host's then, with no name or peer. */
int socket_go_host(struct file *file, int domain)
{
	struct socket *sock = socket_of(file);
	int fd, r;

	if (sock->host && sock->host_domain == domain && sock->state == SOCKET_FRESH)
		return 0;
	fd = socket(domain, file->type | SOCK_NONBLOCK | SOCK_CLOEXEC, file->protocol);
	if (fd < 0)
		return errno == EAFNOSUPPORT ? -ENETUNREACH : host_error(errno);
	sock->host_domain = domain;
	socket_apply_options(file, fd);
	r = socket_replace(file, fd);
	if (r < 0)
		return r;
	if (sock->far >= 0)
		close(sock->far);
	sock->far = -1;
	endpoint_close(sock->loopback, sock->endpoint);
	sock->endpoint = NULL;
	sock->host = true;
	sock->framed = false;
	sock->state = SOCKET_FRESH;
	sock->shut_write = sock->lost = false;
	sock->local.len = sock->peer.len = 0;
	return 0;
}

/* --- Waiting ------------------------------------------------------------------------------ */

int socket_wait(struct task *t, int fd, short events, int64_t timeout, struct socket_wait *w)
{
	struct timespec relative = {timeout / 1000000000, timeout % 1000000000};
	int r = 1;

	if (!w->started && timeout != 0)
		deadline_after(&relative, &w->deadline);
	w->started = true;
	if (fd < 0 || w->spins++ >= SPINS_BEFORE_SLEEP) {
		struct timespec left = deadline_left(&w->deadline);

		if (timeout != 0 && !left.tv_sec && !left.tv_nsec)
			return -EAGAIN;
		r = task_pause(t, SPIN_SLEEP_NS);
		if (r == 0)
			r = 1;
	}
	if (fd >= 0 && r > 0)
		r = task_wait_fd(t, fd, events, timeout != 0 ? &w->deadline : NULL);
	if (r > 0)
		return 0;
	if (r == 0)
		return -EAGAIN;
	if (r != -EINTR)
		return r;
	/* sock_intr_errno(); what wakes the task without a signal for it is not to be seen. */
	return timeout != 0 && (signal_pending_set(t) & ~t->sig.mask) != 0 ? -EINTR
									   : -ERESTARTSYS;
}

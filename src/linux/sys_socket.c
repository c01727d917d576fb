/* SPDX-License-Identifier: Apache-2.0 */
/* Socket calls but those that transfer data (sys_message.c) and options (sys_sockopt.c). */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

#include "linux/sockets.h"

int socket_get(struct task *t, uint64_t fd, struct file **out)
{
	struct file *file = files_get(&t->process->files, fd);

	if (file == NULL)
		return -EBADF;
	if (file->kind != FILE_SOCKET || file->private_data == NULL) {
		file_put(file);
		return -ENOTSOCK;
	}
	*out = file;
	return 0;
}

int socket_read_name(struct task *t, uint64_t va, uint64_t len, struct socket_name *name)
{
	int size = (int)len; /* Linux's is an int, too */

	memset(name, 0, sizeof(*name));
	if (size < 0 || (size_t)size > sizeof(name->address))
		return -EINVAL;
	if (size > 0 && mm_read(&t->process->mm, &name->address, va, (size_t)size) < 0)
		return -EFAULT;
	name->len = (socklen_t)size;
	return 0;
}

int socket_write_name(struct task *t, const struct socket_name *name, uint64_t va,
		      uint64_t len_va)
{
	struct mm *mm = &t->process->mm;
	int room;
	int len = (int)name->len;

	if (mm_get(mm, &room, len_va) < 0)
		return -EFAULT;
	if (room < 0)
		return -EINVAL;
	if (room > len)
		room = len;
	if (room > 0 && mm_write(mm, va, &name->address, (size_t)room) < 0)
		return -EFAULT;
	return mm_put(mm, len_va, &len) < 0 ? -EFAULT : 0;
}

/* --- Made --------------------------------------------------------------------------------- */

/* socket(2)'s type: what it is, and the flags in it. */
static int split_type(uint64_t arg, int *type, int *flags)
{
	int value = (int)arg;

	*flags = value & ~0xf; /* SOCK_TYPE_MASK */
	*type = value & 0xf;
	return (*flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0 ? -EINVAL : 0;
}

static int install(struct task *t, struct file *file, int flags)
{
	file->flags = O_RDWR | ((flags & SOCK_NONBLOCK) != 0 ? O_NONBLOCK : 0);
	return files_install(&t->process->files, file, 0, (flags & SOCK_CLOEXEC) != 0);
}

int64_t sys_socket(struct task *t, const uint64_t a[6])
{
	struct file *file;
	int type, flags;
	int r = split_type(a[1], &type, &flags);

	if (r < 0 || (r = socket_new(t->process, (int)a[0], type, (int)a[2], &file)) < 0)
		return r;
	return install(t, file, flags);
}

/* Two connected files of a Unix pair. */
static int make_pair(struct task *t, int type, struct file *files[2])
{
	struct file like = {.domain = AF_UNIX, .type = type};
	int fds[2];
	int r = socket_private_pair(type, fds);

	if (r < 0)
		return r;
	r = socket_wrap(t->process, &like, fds[0], false, &files[0]);
	if (r < 0) {
		close(fds[1]);
		return r;
	}
	r = socket_wrap(t->process, &like, fds[1], false, &files[1]);
	if (r < 0) {
		file_put(files[0]);
		return r;
	}
	socket_of(files[0])->pair = loopback_pair(socket_of(files[0])->loopback);
	socket_of(files[1])->pair = socket_of(files[0])->pair;
	return 0;
}

int64_t sys_socketpair(struct task *t, const uint64_t a[6])
{
	struct files *table = &t->process->files;
	struct file *files[2] = {NULL, NULL};
	int domain = (int)a[0], protocol = (int)a[2];
	int type, flags, fds[2];
	int r = split_type(a[1], &type, &flags);

	if (r < 0)
		return r;
	if (domain == AF_INET || domain == AF_INET6)
		return -EOPNOTSUPP;
	if (domain != AF_UNIX)
		return -EAFNOSUPPORT;
	if (protocol != 0 && protocol != PF_UNIX)
		return -EPROTONOSUPPORT;
	if (type == SOCK_RAW)
		type = SOCK_DGRAM;
	if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
		return -ESOCKTNOSUPPORT;
	if ((r = make_pair(t, type, files)) < 0)
		return r;
	fds[0] = install(t, files[0], flags);
	if (fds[0] < 0) {
		file_put(files[1]);
		return fds[0];
	}
	fds[1] = install(t, files[1], flags);
	if (fds[1] < 0) {
		files_close(table, (uint64_t)fds[0]);
		return fds[1];
	}
	if (mm_put(&t->process->mm, a[3], &fds) < 0) {
		files_close(table, (uint64_t)fds[0]);
		files_close(table, (uint64_t)fds[1]);
		return -EFAULT;
	}
	return 0;
}

/* --- Named -------------------------------------------------------------------------------- */

static int bind_file(struct task *t, struct file *file, struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	int r;

	if (file->domain == AF_NETLINK) {
		pthread_mutex_lock(&sock->lock);
		r = netlink_bind(file, name);
		pthread_mutex_unlock(&sock->lock);
		return r;
	}
	r = socket_name_check(name, file->domain);
	/* inet_bind() takes AF_UNSPEC for AF_INET if the address is 0.0.0.0. */
	if (r == -EAFNOSUPPORT && file->domain == AF_INET &&
	    name->address.ss_family == AF_UNSPEC && name_in(name)->sin_addr.s_addr == 0) {
		name->address.ss_family = AF_INET;
		r = socket_name_check(name, file->domain);
	}
	/* Two bytes ask for a name of the system's choice. */
	if (file->domain == AF_UNIX && name->len == sizeof(sa_family_t) &&
	    name->address.ss_family == AF_UNIX)
		r = 0;
	if (r < 0)
		return r;
	pthread_mutex_lock(&sock->lock);
	r = file->domain == AF_UNIX ? unix_bind(t, file, name) : inet_bind(file, name);
	pthread_mutex_unlock(&sock->lock);
	return r;
}

/* A call of a socket and a name. */
static int64_t with_name(struct task *t, const uint64_t a[6],
			 int (*fn)(struct task *t, struct file *file, struct socket_name *name))
{
	struct socket_name name;
	struct file *file;
	int r = socket_get(t, a[0], &file);

	if (r < 0)
		return r;
	r = socket_read_name(t, a[1], a[2], &name);
	if (r == 0)
		r = fn(t, file, &name);
	file_put(file);
	return r;
}

int64_t sys_bind(struct task *t, const uint64_t a[6])
{
	return with_name(t, a, bind_file);
}

int64_t sys_listen(struct task *t, const uint64_t a[6])
{
	struct socket *sock;
	struct file *file;
	int r = socket_get(t, a[0], &file);

	if (r < 0)
		return r;
	sock = socket_of(file);
	if (file->type == SOCK_DGRAM) {
		r = -EOPNOTSUPP;
	} else {
		pthread_mutex_lock(&sock->lock);
		r = file->domain == AF_UNIX ? unix_listen(file, (int)a[1])
					    : inet_listen(file, (int)a[1]);
		if (r == 0)
			file->listening = true;
		pthread_mutex_unlock(&sock->lock);
	}
	file_put(file);
	return r;
}

/* What the host says fd's own or its peer's address is, as the guest's family has it. */
static int host_name(const struct file *file, bool peer, struct socket_name *name)
{
	socklen_t room = sizeof(name->address);
	struct sockaddr *to = (struct sockaddr *)&name->address;

	memset(name, 0, sizeof(*name));
	if ((peer ? getpeername(file->fd, to, &room) : getsockname(file->fd, to, &room)) < 0)
		return -errno;
	name->len = room;
	socket_name_convert(name, file->domain);
	return 0;
}

static void unix_unnamed(struct socket_name *name)
{
	memset(name, 0, sizeof(*name));
	name->address.ss_family = AF_UNIX;
	name->len = sizeof(sa_family_t);
}

/* Under the lock. */
static int own_name(const struct file *file, struct socket_name *name)
{
	const struct socket *sock = socket_of(file);
	int r = 0;

	if (sock->local.len != 0) {
		*name = sock->local;
	} else if (sock->endpoint != NULL &&
		   (!sock->host || sock->published != 0 || sock->state == SOCKET_FRESH)) {
		*name = sock->endpoint->name;
	} else if (file->domain == AF_UNIX) {
		unix_unnamed(name);
	} else if (sock->host) {
		r = host_name(file, false, name);
		if (r == 0 && sock->published != 0)
			socket_name_set_port(name, sock->published);
	} else {
		socket_name_any(name, file->domain, 0);
	}
	return r;
}

static int peer_name(const struct file *file, struct socket_name *name)
{
	const struct socket *sock = socket_of(file);

	if (sock->state != SOCKET_CONNECTED && sock->state != SOCKET_CONNECTING)
		return -ENOTCONN;
	if (file->domain == AF_UNIX) {
		if (sock->peer.len != 0)
			*name = sock->peer;
		else
			unix_unnamed(name);
		return 0;
	}
	if (sock->host) {
		/* Whether there is one is the kernel's to say; what it is called is not. */
		int r = host_name(file, true, name);

		if (r < 0)
			return r;
	}
	if (sock->peer.len != 0)
		*name = sock->peer;
	socket_name_convert(name, file->domain);
	return 0;
}

static int64_t tell_name(struct task *t, const uint64_t a[6], bool peer)
{
	struct socket_name name;
	struct file *file;
	int r = socket_get(t, a[0], &file);

	if (r < 0)
		return r;
	pthread_mutex_lock(&socket_of(file)->lock);
	r = peer ? peer_name(file, &name) : own_name(file, &name);
	pthread_mutex_unlock(&socket_of(file)->lock);
	file_put(file);
	return r < 0 ? r : socket_write_name(t, &name, a[1], a[2]);
}

int64_t sys_getsockname(struct task *t, const uint64_t a[6])
{
	return tell_name(t, a, false);
}

int64_t sys_getpeername(struct task *t, const uint64_t a[6])
{
	return tell_name(t, a, true);
}

/* --- Connected ---------------------------------------------------------------------------- */

static int connect_file(struct task *t, struct file *file, struct socket_name *name)
{
	int r;

	if (file->domain == AF_NETLINK)
		return -EOPNOTSUPP;
	if (name->len < sizeof(sa_family_t))
		return -EINVAL;
	if (name->address.ss_family == AF_UNSPEC && file->domain != AF_UNIX)
		return inet_disconnect(file);
	if (name->address.ss_family == AF_UNSPEC && file->type == SOCK_DGRAM) {
		pthread_mutex_lock(&socket_of(file)->lock);
		if (!socket_of(file)->host && socket_of(file)->framed)
			socket_of(file)->state = SOCKET_FRESH;
		pthread_mutex_unlock(&socket_of(file)->lock);
		return 0;
	}
	/* UDP over IPv6 takes IPv4 addresses. */
	if (file->domain == AF_INET6 && file->type == SOCK_DGRAM &&
	    name->address.ss_family == AF_INET) {
		if ((r = socket_name_check(name, AF_INET)) < 0)
			return r;
		socket_name_convert(name, AF_INET6);
	}
	if ((r = socket_name_check(name, file->domain)) < 0)
		return r;
	return file->domain == AF_UNIX ? unix_connect(t, file, name)
				       : inet_connect(t, file, name);
}

int64_t sys_connect(struct task *t, const uint64_t a[6])
{
	return with_name(t, a, connect_file);
}

/* From a listener of the host's. */
static int accept_host(struct task *t, struct file *file, struct file **out)
{
	struct socket *from = socket_of(file), *sock;
	int r, fd = accept4(file->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return host_error(errno);
	if ((r = socket_wrap(t->process, file, fd, true, out)) < 0)
		return r;
	sock = socket_of(*out);
	if (file->domain == AF_UNIX) {
		sock->local = from->local;
		sock->own = unix_is_own(fd);
		return 0;
	}
	if (host_name(*out, false, &sock->local) == 0)
		socket_name_set_port(&sock->local, from->published);
	if (host_name(*out, true, &sock->peer) < 0)
		sock->peer.len = 0;
	return 0;
}

int socket_accept(struct task *t, struct file *file, struct file **out)
{
	struct socket *sock = socket_of(file);
	struct loopback_accepted accepted = {.fd = -1};
	bool host;
	int r;

	pthread_mutex_lock(&sock->lock);
	host = sock->host;
	if (sock->state != SOCKET_LISTENING)
		r = -EINVAL;
	else if (host)
		r = accept_host(t, file, out);
	else
		r = endpoint_accept(sock->loopback, sock->endpoint, file->fd, &accepted);
	pthread_mutex_unlock(&sock->lock);
	if (r < 0 || host)
		return r;
	if ((r = socket_wrap(t->process, file, accepted.fd, false, out)) < 0)
		return r;
	sock = socket_of(*out);
	sock->pair = accepted.pair;
	sock->local = accepted.local;
	sock->peer = accepted.peer;
	return 0;
}

/* As Linux, which takes a descriptor first: a connection is not lost for want of one. */
static bool table_full(struct files *files)
{
	bool full;

	pthread_mutex_lock(&files->lock);
	full = files->open >= files->max;
	pthread_mutex_unlock(&files->lock);
	return full;
}

static int accept_waiting(struct task *t, struct file *file, struct file **out)
{
	struct socket *sock = socket_of(file);
	struct socket_wait wait = {0};

	for (;;) {
		int r = socket_accept(t, file, out);

		if (r != -EAGAIN || (file_flags(file) & O_NONBLOCK) != 0)
			return r;
		r = socket_wait(t, file->fd, POLLIN, sock->receive_timeout, &wait);
		if (r < 0)
			return r;
	}
}

static int64_t do_accept(struct task *t, const uint64_t a[6], int flags)
{
	struct file *file, *out = NULL;
	struct socket_name name;
	int r;

	if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0)
		return -EINVAL;
	if ((r = socket_get(t, a[0], &file)) < 0)
		return r;
	if (file->type == SOCK_DGRAM)
		r = -EOPNOTSUPP;
	else if (table_full(&t->process->files))
		r = -EMFILE;
	else
		r = accept_waiting(t, file, &out);
	file_put(file);
	if (out == NULL)
		return r;
	if (a[1] != 0) {
		r = peer_name(out, &name);
		if (r == 0)
			r = socket_write_name(t, &name, a[1], a[2]);
		if (r < 0 && r != -ENOTCONN) {
			file_put(out);
			return r;
		}
	}
	return install(t, out, flags);
}

int64_t sys_accept(struct task *t, const uint64_t a[6])
{
	return do_accept(t, a, 0);
}

int64_t sys_accept4(struct task *t, const uint64_t a[6])
{
	return do_accept(t, a, (int)a[3]);
}

/* Under the lock. */
static int shutdown_file(struct file *file, int how)
{
	struct socket *sock = socket_of(file);

	if (sock->state == SOCKET_LISTENING && !sock->host) {
		/* As inet_shutdown(): a listener that shall not receive listens no more. */
		if (how != SHUT_WR)
			endpoint_stop(sock->loopback, sock->endpoint);
		return 0;
	}
	if (!sock->host && sock->state != SOCKET_CONNECTED)
		return -ENOTCONN;
	if (!sock->host && sock->framed) {
		if (how != SHUT_RD)
			sock->shut_write = true;
		return how == SHUT_WR || shutdown(file->fd, SHUT_RD) == 0 ? 0 : -errno;
	}
	if (shutdown(file->fd, how) < 0)
		return -errno;
	if (how != SHUT_RD)
		sock->shut_write = true;
	return 0;
}

int64_t sys_shutdown(struct task *t, const uint64_t a[6])
{
	struct file *file;
	int how = (int)a[1];
	int r = socket_get(t, a[0], &file);

	if (r < 0)
		return r;
	if (how < SHUT_RD || how > SHUT_RDWR) {
		r = -EINVAL;
	} else {
		pthread_mutex_lock(&socket_of(file)->lock);
		r = shutdown_file(file, how);
		pthread_mutex_unlock(&socket_of(file)->lock);
	}
	file_put(file);
	return r;
}

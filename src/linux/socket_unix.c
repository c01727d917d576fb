/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets. Abstract names, and names in memory, are the guest's own: they are in
 * loopback's table, the latter by the inode that stands for them. A name in a directory of the
 * host that is writable to the guest is a socket of the host's, for programs outside to talk
 * to.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "linux/sockets.h"
#include "linux/vfs_internal.h"

#define PATH_AT offsetof(struct sockaddr_un, sun_path)

static bool is_abstract(const struct socket_name *name)
{
	return name->len > PATH_AT && name_un(name)->sun_path[0] == '\0';
}

/* A path, which may lack its NUL if it fills the address (unix(7)). */
static void path_of(const struct socket_name *name, char path[sizeof(struct sockaddr_un) + 1])
{
	size_t len = name->len - PATH_AT;

	memcpy(path, name_un(name)->sun_path, len);
	path[len] = '\0';
}

/* /proc/self/fd/N, and a name beneath. False: too long. */
static bool proc_name(int fd, const char *beneath, struct socket_name *out)
{
	struct sockaddr_un *un = name_un(out);
	int n;

	memset(out, 0, sizeof(*out));
	un->sun_family = AF_UNIX;
	n = snprintf(un->sun_path, sizeof(un->sun_path), "/proc/self/fd/%d%s%s", fd,
		     beneath[0] != '\0' ? "/" : "", beneath);
	out->len = sizeof(*un);
	return n > 0 && (size_t)n < sizeof(un->sun_path);
}

/* --- Binding ------------------------------------------------------------------------------ */

int unix_take_name(struct file *file, const struct socket_name *name, uint64_t device,
		   uint64_t inode)
{
	struct socket *sock = socket_of(file);
	const struct endpoint want = {
		.domain = AF_UNIX,
		.type = file->type,
		.name = *name,
		.device = device,
		.inode = inode,
		.inject = file->type == SOCK_DGRAM ? sock->far : -1,
	};
	int r = loopback_bind(sock->loopback, &want, &sock->endpoint);

	if (r == 0 && file->type == SOCK_DGRAM)
		sock->far = -1;
	return r;
}

/* As unix_autobind(): five hexadecimal digits. */
static int autobind(struct file *file)
{
	struct socket *sock = socket_of(file);

	for (unsigned i = 0; i < 1000 && sock->endpoint == NULL; i++) {
		struct socket_name name = {.len = PATH_AT + 6};
		struct sockaddr_un *un = name_un(&name);
		char digits[9];
		uint32_t number;
		int r;

		random_bytes(&number, sizeof(number));
		snprintf(digits, sizeof(digits), "%05x", number & 0xfffff);
		un->sun_family = AF_UNIX;
		memcpy(un->sun_path + 1, digits, 5);
		r = unix_take_name(file, &name, 0, 0);
		if (r < 0 && r != -EADDRINUSE)
			return r;
	}
	return sock->endpoint != NULL ? 0 : -ENOSPC;
}

static int bind_host(struct file *file, int dir, const char *base)
{
	struct socket *sock = socket_of(file);
	struct socket_name name;
	int r;

	if (!proc_name(dir, base, &name))
		return -ENAMETOOLONG;
	if ((r = socket_go_host(file, AF_UNIX)) < 0)
		return r;
	/* bind(2) makes the last component: it does not follow it. */
	if (bind(file->fd, (const struct sockaddr *)&name.address, name.len) < 0) {
		r = -errno;
		/* It may still get a name of the program's own, and talk to such. */
		(void)socket_go_private(file);
		return r;
	}
	sock->bound_path = true;
	return 0;
}

static int bind_path(struct task *t, struct file *file, const struct socket_name *name)
{
	struct process *p = t->process;
	char path[sizeof(struct sockaddr_un) + 1], base[VFS_NAME_MAX + 1];
	_cleanup_close_ int dir = -1;
	struct stat st;
	int r;

	path_of(name, path);
	r = vfs_parent(p->vfs, path, &dir, base);
	if (r == 0)
		return bind_host(file, dir, base);
	if (r != -EOPNOTSUPP && r != -EACCES)
		return r;
	/* In memory, perhaps over a directory of the host that is only read. */
	r = vfs_mknod(p->vfs, NULL, path, S_IFSOCK | (0777 & ~p->umask));
	if (r == 0 && (r = vfs_stat(p->vfs, NULL, path, AT_SYMLINK_NOFOLLOW, &st)) == 0)
		r = unix_take_name(file, name, st.st_dev, st.st_ino);
	return r == -EEXIST ? -EADDRINUSE : r;
}

int unix_bind(struct task *t, struct file *file, const struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	int r;

	/* A connected one may get a name: what its peer sees was told when it connected. */
	if (sock->endpoint != NULL || sock->bound_path || sock->local.len != 0 ||
	    sock->state == SOCKET_LISTENING)
		return -EINVAL;
	if (sock->far < 0 && !sock->host)
		return -EINVAL;
	if (name->len == PATH_AT)
		return autobind(file);
	if (is_abstract(name))
		return unix_take_name(file, name, 0, 0);
	r = bind_path(t, file, name);
	if (r == 0)
		sock->local = *name;
	return r;
}

int unix_listen(struct file *file, int backlog)
{
	struct socket *sock = socket_of(file);
	int read_fd, r;

	if (sock->bound_path) {
		if (listen(file->fd, backlog) < 0)
			return -errno;
		sock->state = SOCKET_LISTENING;
		return 0;
	}
	if (sock->endpoint == NULL ||
	    (sock->state != SOCKET_FRESH && sock->state != SOCKET_LISTENING))
		return -EINVAL;
	r = endpoint_listen(sock->loopback, sock->endpoint, backlog, &read_fd);
	if (r < 0 || read_fd < 0)
		return r;
	r = socket_replace(file, read_fd);
	if (r < 0) {
		endpoint_stop(sock->loopback, sock->endpoint);
		return r;
	}
	if (sock->far >= 0)
		close(sock->far);
	sock->far = -1;
	sock->state = SOCKET_LISTENING;
	return 0;
}

/* --- Connecting --------------------------------------------------------------------------- */

/*
 * Whom a name means: a target of loopback's; or *path_fd, O_PATH of a socket on the host, which
 * connect(2) reaches by /proc/self/fd and nothing else can be put in place of.
 */
static int resolve(struct task *t, const struct file *file, const struct socket_name *name,
		   struct loopback_target *to, int *path_fd)
{
	char path[sizeof(struct sockaddr_un) + 1];
	struct vfs_object o;
	struct stat st;
	int r;

	*path_fd = -1;
	*to = (struct loopback_target){.type = file->type, .name = *name};
	if (name->len == PATH_AT)
		return -EINVAL;
	if (is_abstract(name))
		return 0;
	path_of(name, path);
	if ((r = vfs_object_at(t->process->vfs, NULL, path, 0, &o)) < 0)
		return r;
	r = vfs_object_stat(&o, &st);
	if (r == 0 && !S_ISSOCK(st.st_mode))
		r = -ECONNREFUSED;
	to->device = st.st_dev;
	to->inode = st.st_ino;
	if (r == 0 && o.node == NULL && o.fd >= 0) {
		if (o.mount == NULL || o.mount->kind != VFS_HOST || !o.mount->writable)
			r = -EACCES;
		else if ((*path_fd = fcntl(o.fd, F_DUPFD_CLOEXEC, 0)) < 0)
			r = -ENFILE;
	}
	vfs_object_fini(&o);
	return r;
}

bool unix_is_own(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
	       cred.pid == getpid();
}

static int connect_host(struct file *file, int path_fd, const struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	struct socket_name to;
	int r;

	if (!proc_name(path_fd, "", &to))
		return -EINVAL;
	if (!sock->host && (r = socket_go_host(file, AF_UNIX)) < 0)
		return r;
	if (connect(file->fd, (const struct sockaddr *)&to.address, to.len) < 0)
		return -errno;
	sock->state = SOCKET_CONNECTED;
	sock->peer = *name;
	sock->own = unix_is_own(file->fd);
	return 0;
}

static int connect_private(struct file *file, const struct loopback_target *to)
{
	struct socket *sock = socket_of(file);
	struct socket_name from = {0};
	struct endpoint *ep;
	int r;

	if (file->type == SOCK_DGRAM) {
		if ((ep = loopback_find(sock->loopback, to)) == NULL)
			return -ECONNREFUSED;
		endpoint_put(ep);
	} else {
		if (sock->far < 0)
			return -EISCONN;
		if (sock->endpoint != NULL)
			from = sock->endpoint->name;
		r = loopback_connect(sock->loopback, to, &from, sock->far, sock->pair);
		if (r < 0)
			return r;
		sock->far = -1;
	}
	sock->state = SOCKET_CONNECTED;
	sock->peer = to->name;
	return 0;
}

static int connect_once(struct task *t, struct file *file, const struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	struct loopback_target to;
	_cleanup_close_ int path_fd = -1;
	int r;

	if (file->type != SOCK_DGRAM && sock->state == SOCKET_LISTENING)
		return -EINVAL;
	if (file->type != SOCK_DGRAM && sock->state != SOCKET_FRESH)
		return -EISCONN;
	if (file->type == SOCK_DGRAM && !sock->host && !sock->framed)
		return -EISCONN; /* of socketpair(2) */
	if ((r = resolve(t, file, name, &to, &path_fd)) < 0)
		return r;
	if (path_fd >= 0)
		return connect_host(file, path_fd, name);
	if (sock->host) /* bound on the host, it talks to the host */
		return -ECONNREFUSED;
	return connect_private(file, &to);
}

int unix_connect(struct task *t, struct file *file, const struct socket_name *name)
{
	struct socket *sock = socket_of(file);
	struct socket_wait wait = {0};

	for (;;) {
		int r, w;

		pthread_mutex_lock(&sock->lock);
		r = connect_once(t, file, name);
		pthread_mutex_unlock(&sock->lock);
		if (r != -EAGAIN || (file_flags(file) & O_NONBLOCK) != 0)
			return r;
		if ((w = socket_wait(t, -1, 0, sock->send_timeout, &wait)) < 0)
			return w;
	}
}

/* --- Datagrams ---------------------------------------------------------------------------- */

/* Under the lock. */
static int route(struct task *t, struct file *file, struct socket_route *r)
{
	struct socket *sock = socket_of(file);
	struct loopback_target target;
	int e;

	if (r->to.len == 0) {
		if (sock->state != SOCKET_CONNECTED)
			return -ENOTCONN;
		if (sock->host)
			return 0;
		r->to = sock->peer;
	}
	if ((e = resolve(t, file, &r->to, &target, &r->path_fd)) < 0)
		return e;
	if (r->path_fd >= 0) {
		if (!sock->host && (e = socket_go_host(file, AF_UNIX)) < 0)
			return e;
		return proc_name(r->path_fd, "", &r->to) ? 0 : -EINVAL;
	}
	r->endpoint = loopback_find(sock->loopback, &target);
	if (r->endpoint == NULL)
		return -ECONNREFUSED;
	if (sock->endpoint != NULL)
		r->from = sock->endpoint->name;
	return 0;
}

int unix_route(struct task *t, struct file *file, struct socket_route *r)
{
	struct socket *sock = socket_of(file);
	int e;

	r->path_fd = -1;
	pthread_mutex_lock(&sock->lock);
	e = sock->shut_write ? -EPIPE : route(t, file, r);
	pthread_mutex_unlock(&sock->lock);
	if (e < 0 && r->path_fd >= 0) {
		close(r->path_fd);
		r->path_fd = -1;
	}
	return e;
}

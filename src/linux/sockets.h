/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's sockets. Behind each is a descriptor of the host, file->fd, non-blocking, in one
 * of two forms:
 *
 *   of the host   a TCP or UDP socket of the host's (only with a policy), or a Unix socket with
 *                 a name in a directory of the host that the guest may write to
 *   private       one end of a socketpair(2), or a listener's pipe: see loopback.h
 *
 * What the guest calls AF_INET may be either, and what it turns out to be is decided when it
 * binds, connects or sends: then the descriptor is exchanged in place (dup3), under the same
 * number. A socket of the host connects and sends only to an address that was checked in the
 * very copy that the call gets, and is bound and listens only where the host's user published a
 * port, or granted a directory. Nothing else of the guest's makes a name on the host.
 *
 * Each socket has a lock, not held while waiting; order: it before loopback's and the files'.
 */
#ifndef MAYFLY_LINUX_SOCKETS_H
#define MAYFLY_LINUX_SOCKETS_H

#include <errno.h>
#include <sys/uio.h>

#include "linux/loopback.h"
#include "linux/netpolicy.h"
#include "linux/process.h"
#include "linux/socket_name.h"
#include "linux/socket_rights.h"

/* UDP, published: who sent something may be answered, the last so many. */
#define SOCKET_PEERS 64
/* Of those in the table of sys_sockopt.c, at most. */
#define SOCKET_OPTIONS 64

enum socket_state {
	SOCKET_FRESH, /* private datagram sockets without a peer, too */
	SOCKET_LISTENING,
	SOCKET_CONNECTING, /* of the host */
	SOCKET_CONNECTED
};

struct socket {
	pthread_mutex_t lock;
	struct process *process;   /* borrowed */
	struct loopback *loopback; /* counted */
	struct netpolicy *net;	   /* borrowed from the process; NULL: none */
	enum socket_state state;
	bool host;
	/* Private datagrams with a struct datagram_header, as opposed to socketpair(2)'s. */
	bool framed;
	atomic_bool used; /* private datagrams: it got or sent one */
	bool shut_write;
	bool lost; /* private TCP: it sent something after the other end was closed */
	/* Private: the other end of fd, until a listener or `endpoint` has it; else -1. */
	int far;
	uint64_t pair;		   /* private streams and pairs: loopback_pair() of both ends */
	struct endpoint *endpoint; /* owned; NULL: no private name */
	/* What the guest sees; len 0: nothing, or what the host says. */
	struct socket_name local, peer;
	int host_domain;     /* of the host: fd's; may differ from the guest's if published */
	uint16_t published;  /* of the host: bound to the publication of this port; 0: not */
	bool bound_recorded; /* netpolicy_bound() was called */
	bool bound_path;     /* of the host: bound to a name in a directory */
	bool alone; /* of the host, UDP, connected: all that came before was taken out */
	bool own;   /* of the host, Unix: the other end is this process's, too */

	int64_t receive_timeout, send_timeout; /* ns; 0: none */
	int linger[2];			       /* struct linger */
	uint64_t options_set;		       /* bits */
	int options[SOCKET_OPTIONS];

	/* Whom the published UDP socket may answer: a ring. NULL: not needed so far. */
	struct socket_name *peers;
	unsigned next_peer, npeers;
};

static inline struct socket *socket_of(const struct file *file)
{
	return file->private_data;
}

/* --- sys_socket.c ------------------------------------------------------------------------- */

/* The socket that a descriptor is, counted. -EBADF, -ENOTSOCK. */
int socket_get(struct task *t, uint64_t fd, struct file **out);
/* A socket address of the guest, not checked. -EINVAL, -EFAULT. */
int socket_read_name(struct task *t, uint64_t va, uint64_t len, struct socket_name *name);
/* As Linux's move_addr_to_user(). */
int socket_write_name(struct task *t, const struct socket_name *name, uint64_t va,
		      uint64_t len_va);

/* --- socket.c ----------------------------------------------------------------------------- */

/* The process's, made at its first use; NULL when memory is out. */
struct loopback *socket_loopback(struct process *p);

/* A new one. -EAFNOSUPPORT, -EPROTONOSUPPORT, ...: socket(2). `flags`: O_NONBLOCK. */
int socket_new(struct process *p, int domain, int type, int protocol, struct file **out);
/*
 * Around a host descriptor that goes over, also on failure; connected, private unless `host`.
 */
int socket_wrap(struct process *p, const struct file *like, int fd, bool host,
		struct file **out);

/* Two ends of the host's, of private sockets. -errno. */
int socket_private_pair(int type, int fds[2]);
/* Have fd be of that form; under the lock. -errno. */
int socket_go_private(struct file *file);
int socket_go_host(struct file *file, int domain);
/* Exchange fd's description for that of `fd`, which goes over. */
int socket_replace(struct file *file, int fd);

/* Wait for fd (or another), with a limit of `timeout` ns. 0: try again; -EAGAIN: time is up;
 * -EINTR, -ERESTARTSYS. */
struct socket_wait {
	bool started;
	unsigned spins;
	struct timespec deadline;
};
int socket_wait(struct task *t, int fd, short events, int64_t timeout, struct socket_wait *w);

/* --- socket_inet.c, socket_unix.c --------------------------------------------------------- */

/* Names are checked by socket_name_check(). bind and listen are called under the lock. */
int inet_bind(struct file *file, const struct socket_name *name);
int inet_listen(struct file *file, int backlog);
int inet_connect(struct task *t, struct file *file, const struct socket_name *name);
/* connect(2) to AF_UNSPEC. */
int inet_disconnect(struct file *file);
int unix_bind(struct task *t, struct file *file, const struct socket_name *name);
int unix_listen(struct file *file, int backlog);
int unix_connect(struct task *t, struct file *file, const struct socket_name *name);
/*
 * Whether the other end of a Unix socket of the host's is this process's. It may be another
 * guest's: what is sent there must mean nothing to it, as a token of socket_rights.h does not.
 */
bool unix_is_own(int fd);

/* socket_netlink.c: a new AF_NETLINK socket; bind(2), under the lock. */
void netlink_init(struct file *file);
int netlink_bind(struct file *file, const struct socket_name *name);

/* What accept(2) on it gives without waiting: counted. */
int socket_accept(struct task *t, struct file *file, struct file **out);

/*
 * Take a private name. Under the lock. `inject` of inet_take_name(): where to write datagrams for
 * it, or -1; goes over on success. unix_take_name(): device and inode of a name in the file
 * system, else 0, 0.
 */
int inet_take_name(struct file *file, const struct socket_name *name, int inject);
int unix_take_name(struct file *file, const struct socket_name *name, uint64_t device,
		   uint64_t inode);

/*
 * Where a datagram goes that is sent to `to` (len 0: its peer). On success *endpoint is counted
 * and gets it as from *from; or is NULL, and *to is for the host's kernel, checked (len 0: its
 * peer). 1: it goes nowhere, which is no error.
 */
struct socket_route {
	struct socket_name to, from;
	struct endpoint *endpoint;
	int path_fd; /* Unix, of the host: what `to` refers to, to be closed; else -1 */
};
int inet_route(struct task *t, struct file *file, struct socket_route *route);
int unix_route(struct task *t, struct file *file, struct socket_route *route);
/*
 * Under the lock: whether a datagram that the host's UDP socket got from there is meant for the
 * guest.
 */
bool inet_accepts_from(struct file *file, const struct socket_name *name);
/* Why an address is refused, with a word to the user. */
int inet_denied(struct task *t, const struct socket_name *name);

/* --- sys_sockopt.c ------------------------------------------------------------------------ */

/* Set on the host's `fd` what the guest set before. */
void socket_apply_options(const struct file *file, int fd);
/* SO_LINGER alone. -errno. */
int socket_apply_linger(const struct socket *sock, int fd);
/* One of sock->options again, for a socket made from a snapshot: false if it cannot have it. */
bool socket_restore_option(struct file *file, unsigned index, int value);
/* The value of an int option, of its table. */
int socket_option(const struct socket *sock, int level, int name);

#endif

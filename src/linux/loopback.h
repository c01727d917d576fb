/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network within a process: what its own sockets say to each other, by way of 127.0.0.1,
 * ::1 and Unix names that are not the host's. Nothing of it is visible outside: there is no
 * socket of the host with a name. A connection is a socketpair(2) of which the listener is
 * given the other end; a listener is a queue of such ends, and a pipe with a byte for each of
 * them, whose read end is what the guest waits for; a datagram socket is one end of a pair,
 * into whose other end all senders write, each datagram after a struct datagram_header that
 * tells from whom it comes. Only this process has these descriptors, so nobody else can take
 * part.
 *
 * An endpoint is a name that is taken. Thread-safe.
 */
#ifndef MAYFLY_LINUX_LOOPBACK_H
#define MAYFLY_LINUX_LOOPBACK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "linux/socket_name.h"

/* Connections that wait to be accepted, of a listener at most (net.core.somaxconn) ... */
#define LOOPBACK_BACKLOG_MAX 4096
/* ... and even if it asks for fewer, as nobody retries here ... */
#define LOOPBACK_BACKLOG_MIN 128
/*
 * ... and of all listeners: each is a descriptor of the host that no guest descriptor pays for.
 */
#define LOOPBACK_PENDING_MAX 256

/* As net.ipv4.ip_local_port_range. */
#define LOOPBACK_PORT_FIRST 32768
#define LOOPBACK_PORT_LAST 60999

struct pending;
struct rights;

struct endpoint {
	/* What is taken, as given to loopback_bind(). */
	int domain, type;
	struct socket_name name;
	uint64_t device, inode; /* of a Unix name in the file system; else 0, 0 */
	bool v6only, reuse_address, reuse_port;

	/* Datagrams: where to write what it shall receive; -1: none. */
	int inject;

	/* loopback.c's own, under its lock. */
	struct endpoint *next;
	atomic_uint refs;
	bool open; /* in the table */
	bool listening;
	int wake; /* write end of the listener's pipe */
	struct pending *first, *last;
	uint32_t npending, backlog;
};

struct datagram_header {
	struct socket_name from;
};

struct loopback;

/* Counted. NULL when memory is out. */
struct loopback *loopback_new(void);
struct loopback *loopback_get(struct loopback *lb);
void loopback_put(struct loopback *lb);
/* A number that no other connection within the process has, for both of its ends. */
uint64_t loopback_pair(struct loopback *lb);
/* SCM_RIGHTS under way within the process: socket_rights.h. */
struct rights *loopback_rights(struct loopback *lb);

/*
 * Take a name: `want` tells domain, type, name, device, inode, and the options; port 0 becomes
 * a free one. Takes want->inject on success. -EADDRINUSE, -ENOMEM.
 */
int loopback_bind(struct loopback *lb, const struct endpoint *want, struct endpoint **out);
/* Give the name up: connections that wait are closed. NULL is allowed. */
void endpoint_close(struct loopback *lb, struct endpoint *ep);
/* Drop a count of loopback_find(). */
void endpoint_put(struct endpoint *ep);

/*
 * Have it listen: *read_fd gets the read end of its pipe the first time, else -1. -EADDRINUSE:
 * another listens there. -ENFILE.
 */
int endpoint_listen(struct loopback *lb, struct endpoint *ep, int backlog, int *read_fd);
/* As shutdown(2) of a listener: it listens no more, the pipe reports POLLHUP. */
void endpoint_stop(struct loopback *lb, struct endpoint *ep);

struct loopback_accepted {
	int fd; /* the caller's */
	uint64_t pair;
	struct socket_name local, peer;
};
/* The next connection. `read_fd`: of the pipe. -EAGAIN; -EINVAL: it does not listen. */
int endpoint_accept(struct loopback *lb, struct endpoint *ep, int read_fd,
		    struct loopback_accepted *out);

/* For snapshots: each connection that waits, oldest first; what it has stays its own. */
int endpoint_each(struct loopback *lb, struct endpoint *ep,
		  int (*each)(void *context, const struct loopback_accepted *waiting),
		  void *context);
/* Have one wait; it goes over on success. -EINVAL: it does not listen; -EAGAIN, -ENOMEM. */
int endpoint_queue(struct loopback *lb, struct endpoint *ep,
		   const struct loopback_accepted *waiting);

/* Whom one asks for. */
struct loopback_target {
	int type;
	struct socket_name name;
	uint64_t device, inode;
};
/*
 * Connect: `fd` is the listener's end of the connection `pair` and goes over on success. `from`,
 * and `to->name`, are what it is told. -ECONNREFUSED; -EAGAIN: the queue is full. -ENOMEM.
 */
int loopback_connect(struct loopback *lb, const struct loopback_target *to,
		     const struct socket_name *from, int fd, uint64_t pair);
/* Whether somebody listens there. */
bool loopback_listens(struct loopback *lb, const struct loopback_target *to);
/* The endpoint that gets what is sent there, counted; or NULL. */
struct endpoint *loopback_find(struct loopback *lb, const struct loopback_target *to);

#endif

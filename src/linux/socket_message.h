/* SPDX-License-Identifier: Apache-2.0 */
/* A message of the guest's sockets on its way: what sys_message.c makes of a call's arguments,
 * socket_control.c of control data, and what socket_transfer.c does with it. */
#ifndef MAYFLY_LINUX_SOCKET_MESSAGE_H
#define MAYFLY_LINUX_SOCKET_MESSAGE_H

#include "linux/sockets.h"

/* With the header the host's UIO_MAXIOV. */
#define MESSAGE_IOV (MM_MAX_IOV - 1)
/* net.core.optmem_max: of control data at most, and what the host's kernel may give. */
#define CONTROL_MAX 20480
#define CONTROL_HOST_MAX 1536
/* musl's sendmsg(3) takes no more. */
#define CONTROL_SEND_MAX 1024

/* The kernel's struct cmsghdr, x86-64: a C library's may have the length in 32 bits. */
struct guest_cmsghdr {
	uint64_t len;
	int32_t level, type;
};
_Static_assert(sizeof(struct guest_cmsghdr) == sizeof(struct cmsghdr), "struct cmsghdr");

struct message {
	/* The guest's memory is iov[1] to iov[n]; [0] is for a struct datagram_header. */
	struct iovec iov[1 + MESSAGE_IOV];
	int n;
	uint64_t total; /* bytes of it */
	bool whole;	/* it is all that the guest named */
	int flags;	/* the guest's MSG_, checked */

	struct socket_name name; /* to whom (len 0: the peer); from whom (len 0: nobody said) */

	/* For the host's kernel, or from it. */
	_Alignas(8) uint8_t control[CONTROL_HOST_MAX];
	size_t control_len; /* to receive: the room, then what there is */
	bool want_rights;   /* to receive: the files are wanted */
	uint32_t nfiles;    /* SCM_RIGHTS: counted */
	struct file *files[RIGHTS_FILES_MAX];
	int out_flags; /* received: MSG_TRUNC, ... */
};

/* --- socket_control.c --------------------------------------------------------------------- */

/* Control data that the guest sends, at most CONTROL_MAX, into m. 0 or -errno. */
int control_parse(struct task *t, const struct file *file, struct message *m, uint64_t va,
		  uint64_t len);
/*
 * Control data that was received, to the guest: gives how many bytes it takes of the `room`
 * there; sets MSG_CTRUNC in m->out_flags. Files become descriptors.
 */
int64_t control_deliver(struct task *t, const struct file *file, struct message *m, uint64_t va,
			uint64_t room);
/* The files that are left in m. */
void control_drop(struct message *m);

/* --- socket_transfer.c -------------------------------------------------------------------- */

/* As sendmsg(2), recvmsg(2): bytes, or -errno. SIGPIPE is sent. */
int64_t socket_send(struct task *t, struct file *file, struct message *m);
int64_t socket_receive(struct task *t, struct file *file, struct message *m);

/* socket_netlink.c: the part of AF_NETLINK. */
int64_t netlink_send(struct file *file, struct message *m);

#endif

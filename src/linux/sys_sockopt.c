/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of sockets: those in the table are known, all others are refused. Values are kept, so
 * that private sockets have them too and that a socket which becomes the host's gets them then.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stddef.h>
#include <string.h>
#include <sys/time.h>

#include "linux/sockets.h"

/* asm-generic/socket.h: the same layout on 64-bit systems. */
#ifndef SO_RCVTIMEO_NEW
#define SO_RCVTIMEO_NEW 66
#define SO_SNDTIMEO_NEW 67
#endif

#define DEFAULT_CONGESTION "cubic"
/* No value of a known option is longer: struct tcp_info. */
#define VALUE_MAX 256
/* Beyond it needs CAP_NET_ADMIN, which the host's user may have and the guest has not. */
#define PRIORITY_MAX 6

/* Which sockets have an option ... */
#define ANY 1u
#define INET6 2u
#define INET (4u | INET6)
#define TCP 8u
/* ... and who is told: not the host's socket; the descriptor of private ones, too. */
#define KEPT 16u
#define ALWAYS 32u

#define CONGESTION_MAX 16 /* TCP_CA_NAME_MAX */
#define BUFFER_MAX 212992 /* Linux's net.core.wmem_max and rmem_max, unless told otherwise */

struct option {
	int level, name;
	int value; /* at first, of private sockets */
	unsigned flags;
};

/*
 * socket(7), tcp(7), ip(7), ipv6(7). What reaches beyond the socket is not among them: packet
 * filters, marks, devices, routes (IP_OPTIONS, IPV6_RTHDR), transparent proxies, memberships.
 */
static const struct option options[] = {
	{SOL_SOCKET, SO_DEBUG, 0, ANY | KEPT},
	{SOL_SOCKET, SO_REUSEADDR, 0, ANY},
	{SOL_SOCKET, SO_REUSEPORT, 0, ANY},
	{SOL_SOCKET, SO_DONTROUTE, 0, ANY | KEPT},
	{SOL_SOCKET, SO_BROADCAST, 0, ANY},
	{SOL_SOCKET, SO_SNDBUF, 212992, ANY | ALWAYS},
	{SOL_SOCKET, SO_RCVBUF, 212992, ANY | ALWAYS},
	{SOL_SOCKET, SO_RCVLOWAT, 1, ANY | ALWAYS},
	{SOL_SOCKET, SO_KEEPALIVE, 0, ANY},
	{SOL_SOCKET, SO_OOBINLINE, 0, ANY},
	{SOL_SOCKET, SO_PRIORITY, 0, ANY},
	{SOL_SOCKET, SO_PASSCRED, 0, ANY | KEPT},
	{SOL_SOCKET, SO_TIMESTAMP, 0, ANY},
	{SOL_SOCKET, SO_TIMESTAMPNS, 0, ANY},
	{SOL_SOCKET, SO_RXQ_OVFL, 0, ANY},
	{IPPROTO_TCP, TCP_NODELAY, 0, TCP},
	{IPPROTO_TCP, TCP_MAXSEG, 65483, TCP},
	{IPPROTO_TCP, TCP_CORK, 0, TCP},
	{IPPROTO_TCP, TCP_KEEPIDLE, 7200, TCP},
	{IPPROTO_TCP, TCP_KEEPINTVL, 75, TCP},
	{IPPROTO_TCP, TCP_KEEPCNT, 9, TCP},
	{IPPROTO_TCP, TCP_SYNCNT, 6, TCP},
	{IPPROTO_TCP, TCP_LINGER2, 60, TCP},
	{IPPROTO_TCP, TCP_DEFER_ACCEPT, 0, TCP},
	{IPPROTO_TCP, TCP_WINDOW_CLAMP, 0, TCP},
	{IPPROTO_TCP, TCP_QUICKACK, 1, TCP},
	{IPPROTO_TCP, TCP_USER_TIMEOUT, 0, TCP},
	{IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 0, TCP},
	{IPPROTO_TCP, TCP_FASTOPEN, 0, TCP},
	{IPPROTO_TCP, TCP_NOTSENT_LOWAT, -1, TCP},
	{IPPROTO_IP, IP_TOS, 0, INET},
	{IPPROTO_IP, IP_TTL, 64, INET},
	{IPPROTO_IP, IP_PKTINFO, 0, INET},
	{IPPROTO_IP, IP_MTU_DISCOVER, 1, INET},
	{IPPROTO_IP, IP_RECVERR, 0, INET},
	{IPPROTO_IP, IP_RECVTTL, 0, INET},
	{IPPROTO_IP, IP_RECVTOS, 0, INET},
	{IPPROTO_IP, IP_MULTICAST_TTL, 1, INET},
	{IPPROTO_IP, IP_MULTICAST_LOOP, 1, INET},
	{IPPROTO_IP, IP_MULTICAST_ALL, 1, INET},
	{IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 0, INET},
	{IPPROTO_IPV6, IPV6_V6ONLY, 0, INET6},
	{IPPROTO_IPV6, IPV6_UNICAST_HOPS, 64, INET6},
	{IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1, INET6},
	{IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1, INET6},
	{IPPROTO_IPV6, IPV6_MTU_DISCOVER, 1, INET6},
	{IPPROTO_IPV6, IPV6_RECVERR, 0, INET6},
	{IPPROTO_IPV6, IPV6_RECVPKTINFO, 0, INET6},
	{IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0, INET6},
	{IPPROTO_IPV6, IPV6_TCLASS, 0, INET6},
	{IPPROTO_IPV6, IPV6_RECVTCLASS, 0, INET6},
	{IPPROTO_IPV6, IPV6_DONTFRAG, 0, INET6},
};
_Static_assert(ARRAY_SIZE(options) <= SOCKET_OPTIONS, "struct socket has room for all");

static const struct option *find_option(int level, int name)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (options[i].level == level && options[i].name == name)
			return &options[i];
	}
	return NULL;
}

static bool has_option(const struct file *file, const struct option *o)
{
	if ((o->flags & TCP) != 0)
		return file->domain != AF_UNIX && file->type == SOCK_STREAM;
	return (o->flags & ANY) != 0 ||
	       (file->domain == AF_INET && (o->flags & INET & ~INET6) != 0) ||
	       (file->domain == AF_INET6 && (o->flags & INET6) != 0);
}

int socket_option(const struct socket *sock, int level, int name)
{
	const struct option *o = find_option(level, name);

	if (o == NULL)
		return 0;
	return (sock->options_set >> (o - options)) & 1 ? sock->options[o - options] : o->value;
}

static int host_setsockopt(const struct socket *sock, int fd, const struct option *o, int value)
{
	if ((o->flags & KEPT) != 0)
		return 0;
	/* What is under way is the host's memory; so it has a limit of its own. */
	if (o->level == SOL_SOCKET && (o->name == SO_SNDBUF || o->name == SO_RCVBUF) &&
	    (uint32_t)value > BUFFER_MAX)
		value = BUFFER_MAX;
	if (o->level == SOL_SOCKET && o->name == SO_BROADCAST &&
	    !netpolicy_allows_broadcast(sock->net))
		return 0;
	return setsockopt(fd, o->level, o->name, &value, sizeof(value)) < 0 ? -errno : 0;
}

void socket_apply_options(const struct file *file, int fd)
{
	const struct socket *sock = socket_of(file);

	/* What the host's socket does not take it does not have. */
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if ((sock->options_set >> i) & 1)
			host_setsockopt(sock, fd, &options[i], sock->options[i]);
	}
	if (sock->linger[0] != 0)
		(void)socket_apply_linger(sock, fd);
}

/*
 * Only the end by a reset, which takes no time: else close(2) would wait for the peer, and that
 * ends neither by a signal of the guest's nor with the process (tcp_close() of the kernel). What
 * is not sent yet is sent in the background.
 */
int socket_apply_linger(const struct socket *sock, int fd)
{
	const int at_once[2] = {sock->linger[0] != 0 && sock->linger[1] == 0, 0};

	return setsockopt(fd, SOL_SOCKET, SO_LINGER, at_once, sizeof(at_once)) < 0 ? -errno : 0;
}

/* --- Set ---------------------------------------------------------------------------------- */

/* Under the lock. */
static int set_int(struct file *file, const struct option *o, int value)
{
	struct socket *sock = socket_of(file);
	int r = 0;

	if (o->level == SOL_SOCKET && o->name == SO_PRIORITY &&
	    (value < 0 || value > PRIORITY_MAX))
		return -EPERM;
	if (o->level == IPPROTO_IPV6 && o->name == IPV6_V6ONLY &&
	    (sock->endpoint != NULL || sock->state != SOCKET_FRESH))
		return -EINVAL;
	if (sock->host) {
		r = host_setsockopt(sock, file->fd, o, value);
		/* It has the other family's options. */
		if (sock->host_domain != file->domain && o->level != SOL_SOCKET)
			r = 0;
	} else if ((o->flags & ALWAYS) != 0 && sock->state != SOCKET_LISTENING) {
		r = host_setsockopt(sock, file->fd, o, value);
	}
	if (r < 0)
		return r;
	sock->options[o - options] = value;
	sock->options_set |= (uint64_t)1 << (o - options);
	return 0;
}

bool socket_restore_option(struct file *file, unsigned index, int value)
{
	if (index >= ARRAY_SIZE(options) || !has_option(file, &options[index]))
		return false;
	/* What the host's socket does not take it does not have. */
	(void)set_int(file, &options[index], value);
	return true;
}

/* SO_RCVTIMEO, SO_SNDTIMEO: sock_set_timeout(). */
static int set_timeout(const uint8_t *value, size_t len, int64_t *timeout)
{
	struct timeval tv;

	if (len < sizeof(tv))
		return -EINVAL;
	memcpy(&tv, value, sizeof(tv));
	if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
		return -EDOM;
	if (tv.tv_sec < 0) /* at once */
		*timeout = 1;
	else if (tv.tv_sec >= INT64_MAX / 1000000000) /* never */
		*timeout = 0;
	else
		*timeout = (int64_t)tv.tv_sec * 1000000000 + tv.tv_usec * 1000;
	return 0;
}

static int set_linger(struct file *file, const uint8_t *value, size_t len)
{
	struct socket *sock = socket_of(file);

	if (len < sizeof(sock->linger))
		return -EINVAL;
	memcpy(sock->linger, value, sizeof(sock->linger));
	return sock->host ? socket_apply_linger(sock, file->fd) : 0;
}

/* The congestion control that it has; others could make the host load a module. */
static void congestion(const struct file *file, char name[CONGESTION_MAX])
{
	socklen_t len = CONGESTION_MAX;

	memset(name, 0, CONGESTION_MAX);
	if (!socket_of(file)->host ||
	    getsockopt(file->fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) < 0)
		memcpy(name, DEFAULT_CONGESTION, sizeof(DEFAULT_CONGESTION));
}

static int set_congestion(const struct file *file, const uint8_t *value, size_t len)
{
	char name[CONGESTION_MAX];

	congestion(file, name);
	if (len < 1)
		return -EINVAL;
	len = strnlen((const char *)value, len < CONGESTION_MAX - 1 ? len : CONGESTION_MAX - 1);
	return strlen(name) == len && memcmp(name, value, len) == 0 ? 0 : -ENOENT;
}

static bool is_membership(int level, int name)
{
	if (level == IPPROTO_IP)
		return name == IP_ADD_MEMBERSHIP || name == IP_ADD_SOURCE_MEMBERSHIP ||
		       name == MCAST_JOIN_GROUP || name == MCAST_JOIN_SOURCE_GROUP ||
		       name == IP_MULTICAST_IF;
	return level == IPPROTO_IPV6 && (name == IPV6_JOIN_GROUP || name == MCAST_JOIN_GROUP ||
					 name == IPV6_MULTICAST_IF);
}

/* What the table does not have: why not. */
static int refuse(const struct file *file, int level, int name)
{
	if (level == SOL_SOCKET) {
		switch (name) {
		case SO_BINDTODEVICE:
		case SO_MARK:
		case SO_ATTACH_FILTER:
		case SO_ATTACH_BPF:
		case SO_ATTACH_REUSEPORT_CBPF:
		case SO_ATTACH_REUSEPORT_EBPF:
		case SO_RCVBUFFORCE:
		case SO_SNDBUFFORCE:
		case SO_BUSY_POLL:
			return -EPERM;
		default:
			return -ENOPROTOOPT;
		}
	}
	if (file->domain == AF_UNIX)
		return -EOPNOTSUPP;
	return is_membership(level, name) ? -ENODEV : -ENOPROTOOPT;
}

/* Under the lock. */
static int set_option(struct file *file, int level, int name, const uint8_t *value, size_t len)
{
	struct socket *sock = socket_of(file);
	const struct option *o = find_option(level, name);
	int number;

	if (level == SOL_SOCKET) {
		if (name == SO_RCVTIMEO || name == SO_RCVTIMEO_NEW)
			return set_timeout(value, len, &sock->receive_timeout);
		if (name == SO_SNDTIMEO || name == SO_SNDTIMEO_NEW)
			return set_timeout(value, len, &sock->send_timeout);
		if (name == SO_LINGER)
			return set_linger(file, value, len);
	}
	if (level == IPPROTO_TCP && name == TCP_CONGESTION && file->domain != AF_UNIX &&
	    file->type == SOCK_STREAM)
		return set_congestion(file, value, len);
	if (o == NULL || !has_option(file, o))
		return refuse(file, level, name);
	if (len >= sizeof(number))
		memcpy(&number, value, sizeof(number));
	else if (level == IPPROTO_IP && len >= 1) /* ip(7) takes a byte */
		number = value[0];
	else
		return -EINVAL;
	return set_int(file, o, number);
}

int64_t sys_setsockopt(struct task *t, const uint64_t a[6])
{
	uint8_t value[VALUE_MAX] = {0};
	struct file *file;
	int len = (int)a[4];
	int r = socket_get(t, a[0], &file);

	if (r < 0)
		return r;
	/* Longer ones are of options that are refused; a part says which error it is. */
	if (len > VALUE_MAX)
		len = VALUE_MAX;
	if (len < 0) {
		r = -EINVAL;
	} else if (len > 0 && mm_read(&t->process->mm, value, a[3], (size_t)len) < 0) {
		r = -EFAULT;
	} else {
		pthread_mutex_lock(&socket_of(file)->lock);
		r = set_option(file, (int)a[1], (int)a[2], value, (size_t)len);
		pthread_mutex_unlock(&socket_of(file)->lock);
	}
	file_put(file);
	return r;
}

/* --- Got ---------------------------------------------------------------------------------- */

static int put_int(uint8_t *value, int number)
{
	memcpy(value, &number, sizeof(number));
	return sizeof(number);
}

static int put_timeout(uint8_t *value, int64_t timeout)
{
	const struct timeval tv = {timeout / 1000000000, timeout % 1000000000 / 1000};

	memcpy(value, &tv, sizeof(tv));
	return sizeof(tv);
}

/* unix(7): who connected; of the host's it is not told who they are. */
static int peer_credentials(struct task *t, const struct file *file, uint8_t *value)
{
	const struct socket *sock = socket_of(file);
	struct ucred cred = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};

	if (file->domain == AF_UNIX && (!sock->host || sock->own) &&
	    (sock->state == SOCKET_CONNECTED || sock->state == SOCKET_LISTENING))
		cred = (struct ucred){PROCESS_PID, t->process->uid, t->process->gid};
	else if (file->domain == AF_UNIX && sock->state == SOCKET_CONNECTED)
		cred.uid = cred.gid = 65534; /* as users that a name space does not map */
	memcpy(value, &cred, sizeof(cred));
	return sizeof(cred);
}

static int get_error(struct file *file)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(file->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return 0; /* a listener's pipe */
	if (file->connecting)
		file->connecting = false;
	return error;
}

/* Those of the socket itself. Gives the length; -ENOPROTOOPT: none of them. */
static int get_special(struct task *t, struct file *file, int name, uint8_t *value)
{
	struct socket *sock = socket_of(file);

	switch (name) {
	case SO_TYPE:
		return put_int(value, file->type);
	case SO_DOMAIN:
		return put_int(value, file->domain);
	case SO_PROTOCOL:
		return put_int(value, file->protocol);
	case SO_ACCEPTCONN:
		return put_int(value, sock->state == SOCKET_LISTENING);
	case SO_ERROR:
		return put_int(value, get_error(file));
	case SO_SNDLOWAT:
		return put_int(value, 1);
	case SO_MARK:
		return put_int(value, 0);
	case SO_INCOMING_CPU:
		return put_int(value, -1);
	case SO_LINGER:
		memcpy(value, sock->linger, sizeof(sock->linger));
		return sizeof(sock->linger);
	case SO_RCVTIMEO:
	case SO_RCVTIMEO_NEW:
		return put_timeout(value, sock->receive_timeout);
	case SO_SNDTIMEO:
	case SO_SNDTIMEO_NEW:
		return put_timeout(value, sock->send_timeout);
	case SO_PEERCRED:
		return peer_credentials(t, file, value);
	case SO_BINDTODEVICE:
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int get_tcp(struct file *file, int name, uint8_t *value)
{
	const struct socket *sock = socket_of(file);
	socklen_t len = VALUE_MAX;

	if (name == TCP_CONGESTION) {
		char text[CONGESTION_MAX];

		congestion(file, text);
		memcpy(value, text, sizeof(text));
		return sizeof(text);
	}
	if (name != TCP_INFO)
		return -ENOPROTOOPT;
	if (sock->host) {
		if (getsockopt(file->fd, IPPROTO_TCP, TCP_INFO, value, &len) < 0)
			return -errno;
		return (int)len;
	}
	value[offsetof(struct tcp_info, tcpi_state)] =
		sock->state == SOCKET_LISTENING	  ? TCP_LISTEN
		: sock->state == SOCKET_CONNECTED ? TCP_ESTABLISHED
						  : TCP_CLOSE;
	return sizeof(struct tcp_info);
}

/* Under the lock. The length in value[VALUE_MAX]. */
static int get_option(struct task *t, struct file *file, int level, int name, uint8_t *value)
{
	const struct socket *sock = socket_of(file);
	const struct option *o = find_option(level, name);
	int number;
	socklen_t len = sizeof(number);
	bool tcp = file->domain != AF_UNIX && file->type == SOCK_STREAM;
	int r = -ENOPROTOOPT;

	if (level == SOL_SOCKET)
		r = get_special(t, file, name, value);
	else if (level == IPPROTO_TCP && tcp)
		r = get_tcp(file, name, value);
	if (r != -ENOPROTOOPT)
		return r;
	if (o == NULL || !has_option(file, o))
		return file->domain == AF_UNIX && level != SOL_SOCKET ? -EOPNOTSUPP
								      : -ENOPROTOOPT;
	if (((sock->host && (o->flags & KEPT) == 0 && sock->host_domain == file->domain) ||
	     (o->flags & ALWAYS) != 0) &&
	    getsockopt(file->fd, level, name, &number, &len) == 0)
		return put_int(value, number);
	return put_int(value, socket_option(sock, level, name));
}

int64_t sys_getsockopt(struct task *t, const uint64_t a[6])
{
	struct mm *mm = &t->process->mm;
	uint8_t value[VALUE_MAX] = {0};
	struct file *file;
	int room, len;
	int r = socket_get(t, a[0], &file);

	if (r < 0)
		return r;
	pthread_mutex_lock(&socket_of(file)->lock);
	if (mm_get(mm, &room, a[4]) < 0)
		len = -EFAULT;
	else if (room < 0)
		len = -EINVAL;
	else
		len = get_option(t, file, (int)a[1], (int)a[2], value);
	pthread_mutex_unlock(&socket_of(file)->lock);
	file_put(file);
	if (len < 0)
		return len;
	if (len > room)
		len = room;
	if (len > 0 && mm_write(mm, a[3], value, (size_t)len) < 0)
		return -EFAULT;
	return mm_put(mm, a[4], &len) < 0 ? -EFAULT : 0;
}

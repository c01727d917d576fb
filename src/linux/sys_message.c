/* SPDX-License-Identifier: Apache-2.0 */
/* Socket calls that transfer data: their arguments, and what they give back. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "linux/socket_message.h"

#define MAX_RW_COUNT 0x7ffff000u /* the kernel's */

/* Flags that are looked at; Linux ignores others, too. */
#define SEND_FLAGS                                                                             \
	(MSG_OOB | MSG_DONTROUTE | MSG_DONTWAIT | MSG_EOR | MSG_MORE | MSG_NOSIGNAL |          \
	 MSG_CONFIRM | MSG_FASTOPEN)
#define RECEIVE_FLAGS                                                                          \
	(MSG_OOB | MSG_PEEK | MSG_WAITALL | MSG_TRUNC | MSG_DONTWAIT | MSG_ERRQUEUE |          \
	 MSG_CMSG_CLOEXEC)

/* The kernel's struct user_msghdr and struct mmsghdr, x86-64. */
struct guest_msghdr {
	uint64_t name;
	int32_t namelen;
	uint32_t pad;
	uint64_t iov, iovlen;
	uint64_t control, controllen;
	uint32_t flags;
	uint32_t pad2;
};

struct guest_mmsghdr {
	struct guest_msghdr header;
	uint32_t len;
	uint32_t pad;
};

_Static_assert(sizeof(struct guest_msghdr) == 56, "struct user_msghdr");
_Static_assert(sizeof(struct guest_mmsghdr) == 64, "struct mmsghdr");

/* Of a message that is only begun: not its big arrays. */
static void message_init(struct message *m, int flags)
{
	m->n = 0;
	m->total = 0;
	m->whole = true;
	m->flags = flags;
	m->name.len = 0;
	m->control_len = 0;
	m->nfiles = 0;
	m->out_flags = 0;
}

/* More of the guest's memory. -EFAULT if there is none at all. `read`: it is written to. */
static int message_add(struct mm *mm, struct message *m, uint64_t va, uint64_t len, bool read)
{
	uint64_t got = 0;
	int n;

	if (len > MAX_RW_COUNT - m->total)
		len = MAX_RW_COUNT - m->total;
	if (len == 0 || !m->whole)
		return 0;
	n = m->n < MESSAGE_IOV
		    ? mm_iov(mm, va, len, m->iov + 1 + m->n, MESSAGE_IOV - m->n, read)
		    : 0;
	for (int i = 0; i < n; i++)
		got += m->iov[1 + m->n + i].iov_len;
	if (n > 0)
		m->n += n;
	m->total += got;
	m->whole = got == len;
	return n < 0 && m->n == 0 ? -EFAULT : 0;
}

/* A buffer, as import_single_range(). */
static int message_buffer(struct task *t, struct message *m, uint64_t va, uint64_t len,
			  bool read)
{
	if (len > PROG_VA_END || va > PROG_VA_END - len)
		return -EFAULT;
	return message_add(&t->process->mm, m, va, len, read);
}

/* A vector, as import_iovec(). */
static int message_vector(struct task *t, struct message *m, uint64_t va, uint64_t count,
			  bool read)
{
	struct mm *mm = &t->process->mm;
	struct {
		uint64_t base, len;
	} part[64];

	if (count > MM_MAX_IOV)
		return -EMSGSIZE;
	for (uint64_t at = 0; at < count; at += ARRAY_SIZE(part)) {
		size_t n =
			(size_t)(count - at < ARRAY_SIZE(part) ? count - at : ARRAY_SIZE(part));

		if (mm_read(mm, part, va + at * sizeof(part[0]), n * sizeof(part[0])) < 0)
			return -EFAULT;
		for (size_t i = 0; i < n; i++) {
			int r;

			if (part[i].len > SSIZE_MAX)
				return -EINVAL;
			if (part[i].len > PROG_VA_END ||
			    part[i].base > PROG_VA_END - part[i].len)
				return -EFAULT;
			if ((r = message_add(mm, m, part[i].base, part[i].len, read)) < 0)
				return r;
		}
	}
	return 0;
}

/* To whom: only where the family looks at it. */
static int message_name(struct task *t, const struct file *file, struct message *m, uint64_t va,
			int64_t len)
{
	int r;

	if (va == 0 || len == 0)
		return 0;
	if (len < 0)
		return -EINVAL;
	if ((r = socket_read_name(t, va, (uint64_t)len, &m->name)) < 0)
		return r;
	if (file->domain == AF_NETLINK) { /* there is nobody but the kernel */
		m->name.len = 0;
		return 0;
	}
	/* Connections: Unix's complain of any, TCP's take no notice. */
	if (file->type != SOCK_DGRAM && (m->flags & MSG_FASTOPEN) == 0)
		return 0;
	if (m->name.len < sizeof(sa_family_t))
		return -EINVAL;
	/* As udp_sendmsg() and udpv6_sendmsg(). */
	if (file->domain == AF_INET && m->name.address.ss_family == AF_UNSPEC)
		m->name.address.ss_family = AF_INET;
	if (file->domain == AF_INET6 && m->name.address.ss_family == AF_UNSPEC) {
		m->name.len = 0;
		return 0;
	}
	if (file->domain == AF_INET6 && m->name.address.ss_family == AF_INET) {
		if ((r = socket_name_check(&m->name, AF_INET)) == 0)
			socket_name_convert(&m->name, AF_INET6);
		return r;
	}
	return socket_name_check(&m->name, file->domain);
}

/* --- Buffers ------------------------------------------------------------------------------ */

int64_t sys_sendto(struct task *t, const uint64_t a[6])
{
	struct message m;
	struct file *file;
	int64_t r;

	message_init(&m, (int)a[3] & SEND_FLAGS);
	/* The buffer's address is looked at before the descriptor, as by Linux. */
	if ((r = message_buffer(t, &m, a[1], a[2], false)) < 0 ||
	    (r = socket_get(t, a[0], &file)) < 0)
		return r;
	r = message_name(t, file, &m, a[4], (int)a[5]);
	if (r == 0)
		r = socket_send(t, file, &m);
	file_put(file);
	return r;
}

int64_t sys_recvfrom(struct task *t, const uint64_t a[6])
{
	struct message m;
	struct file *file;
	int64_t r;
	int e;

	message_init(&m, (int)a[3] & RECEIVE_FLAGS);
	if ((r = message_buffer(t, &m, a[1], a[2], true)) < 0 ||
	    (r = socket_get(t, a[0], &file)) < 0)
		return r;
	r = socket_receive(t, file, &m);
	control_drop(&m);
	file_put(file);
	if (r >= 0 && a[4] != 0 && (e = socket_write_name(t, &m.name, a[4], a[5])) < 0)
		return e;
	return r;
}

/* --- Message headers ---------------------------------------------------------------------- */

static int64_t send_message(struct task *t, struct file *file, const struct guest_msghdr *h,
			    int flags)
{
	struct message m;
	int64_t r;

	message_init(&m, flags & SEND_FLAGS);
	r = message_name(t, file, &m, h->name, h->namelen);
	if (r == 0)
		r = message_vector(t, &m, h->iov, h->iovlen, false);
	if (r == 0)
		r = control_parse(t, file, &m, h->control, h->controllen);
	if (r == 0)
		r = socket_send(t, file, &m);
	control_drop(&m);
	return r;
}

/* What is known of a received message, to the header at `va`. */
static int finish_receive(struct task *t, struct file *file, struct message *m,
			  const struct guest_msghdr *h, uint64_t va)
{
	struct mm *mm = &t->process->mm;
	const uint64_t namelen_va = va + offsetof(struct guest_msghdr, namelen);
	int64_t used;
	uint64_t controllen;
	uint32_t flags;

	if (h->name != 0) {
		socklen_t len = m->name.len, part = len;

		if (part > (socklen_t)h->namelen)
			part = (socklen_t)h->namelen;
		if (part > 0 && mm_write(mm, h->name, &m->name.address, part) < 0)
			return -EFAULT;
		if (mm_put(mm, namelen_va, &len) < 0)
			return -EFAULT;
	}
	used = control_deliver(t, file, m, h->control, h->controllen);
	if (used < 0)
		return (int)used;
	controllen = (uint64_t)used;
	flags = (uint32_t)(m->out_flags | (m->flags & MSG_CMSG_CLOEXEC));
	if (mm_put(mm, va + offsetof(struct guest_msghdr, flags), &flags) < 0 ||
	    mm_put(mm, va + offsetof(struct guest_msghdr, controllen), &controllen) < 0)
		return -EFAULT;
	return 0;
}

static int64_t receive_message(struct task *t, struct file *file, const struct guest_msghdr *h,
			       uint64_t va, int flags)
{
	struct message m;
	int64_t r;
	int e;

	message_init(&m, flags & RECEIVE_FLAGS);
	if (h->namelen < 0 && h->name != 0)
		return -EINVAL;
	r = message_vector(t, &m, h->iov, h->iovlen, true);
	if (r < 0)
		return r;
	m.control_len = h->control != 0 && h->controllen < CONTROL_HOST_MAX ? h->controllen
			: h->control != 0				    ? CONTROL_HOST_MAX
									    : 0;
	r = socket_receive(t, file, &m);
	if (r >= 0 && (e = finish_receive(t, file, &m, h, va)) < 0)
		r = e;
	control_drop(&m);
	return r;
}

int64_t sys_sendmsg(struct task *t, const uint64_t a[6])
{
	struct guest_msghdr h;
	struct file *file;
	int64_t r = socket_get(t, a[0], &file);

	if (r < 0)
		return r;
	if (mm_get(&t->process->mm, &h, a[1]) < 0)
		r = -EFAULT;
	else
		r = send_message(t, file, &h, (int)a[2]);
	file_put(file);
	return r;
}

int64_t sys_recvmsg(struct task *t, const uint64_t a[6])
{
	struct guest_msghdr h;
	struct file *file;
	int64_t r = socket_get(t, a[0], &file);

	if (r < 0)
		return r;
	if (mm_get(&t->process->mm, &h, a[1]) < 0)
		r = -EFAULT;
	else
		r = receive_message(t, file, &h, a[1], (int)a[2]);
	file_put(file);
	return r;
}

/* --- Many --------------------------------------------------------------------------------- */

/* How many were done, or the error of the first. */
static int64_t how_many(uint64_t done, int64_t r)
{
	return done > 0 ? (int64_t)done : r;
}

static int put_length(struct task *t, uint64_t va, int64_t len)
{
	uint32_t value = (uint32_t)len;

	return mm_put(&t->process->mm, va + offsetof(struct guest_mmsghdr, len), &value);
}

int64_t sys_sendmmsg(struct task *t, const uint64_t a[6])
{
	uint64_t count = (uint32_t)a[2], done = 0;
	struct file *file;
	int64_t r = socket_get(t, a[0], &file);

	if (r < 0)
		return r;
	if (count > MM_MAX_IOV)
		count = MM_MAX_IOV;
	while (done < count) {
		uint64_t va = a[1] + done * sizeof(struct guest_mmsghdr);
		struct guest_msghdr h;

		if (mm_get(&t->process->mm, &h, va) < 0) {
			r = -EFAULT;
			break;
		}
		r = send_message(t, file, &h, (int)a[3]);
		if (r >= 0 && put_length(t, va, r) < 0)
			r = -EFAULT;
		if (r < 0)
			break;
		done++;
	}
	file_put(file);
	return how_many(done, r < 0 ? r : 0);
}

/* recvmmsg(2)'s timeout: looked at after each message only, as its BUGS section says. */
static int read_deadline(struct task *t, uint64_t va, struct timespec *deadline)
{
	struct timespec relative;

	if (va == 0)
		return 0;
	if (mm_get(&t->process->mm, &relative, va) < 0)
		return -EFAULT;
	return deadline_after(&relative, deadline) ? 1 : -EINVAL;
}

/* What is left of it. */
static int write_left(struct task *t, uint64_t va, const struct timespec *deadline)
{
	struct timespec left = deadline_left(deadline);

	return mm_put(&t->process->mm, va, &left) < 0 ? -EFAULT
						      : left.tv_sec == 0 && left.tv_nsec == 0;
}

static int64_t receive_many(struct task *t, struct file *file, const uint64_t a[6],
			    const struct timespec *deadline)
{
	uint64_t count = (uint32_t)a[2] < MM_MAX_IOV ? (uint32_t)a[2] : MM_MAX_IOV, done = 0;
	int flags = (int)a[3];
	int64_t r = 0;

	while (done < count) {
		uint64_t va = a[1] + done * sizeof(struct guest_mmsghdr);
		struct guest_msghdr h;
		int over;

		if (mm_get(&t->process->mm, &h, va) < 0) {
			r = -EFAULT;
			break;
		}
		r = receive_message(t, file, &h, va, flags);
		if (r >= 0 && put_length(t, va, r) < 0)
			r = -EFAULT;
		if (r < 0)
			break;
		done++;
		if ((flags & MSG_WAITFORONE) != 0)
			flags |= MSG_DONTWAIT;
		over = deadline != NULL ? write_left(t, a[4], deadline) : 0;
		if (over < 0)
			r = over;
		if (over != 0)
			break;
	}
	return how_many(done, r < 0 ? r : 0);
}

int64_t sys_recvmmsg(struct task *t, const uint64_t a[6])
{
	struct timespec deadline;
	struct file *file;
	int64_t r;
	int timed = read_deadline(t, a[4], &deadline);

	if (timed < 0)
		return timed;
	if ((r = socket_get(t, a[0], &file)) < 0)
		return r;
	r = receive_many(t, file, a, timed > 0 ? &deadline : NULL);
	file_put(file);
	return r;
}

/* --- read(2), write(2), ioctl(2) ---------------------------------------------------------- */

/* Vectors of the host's: of guest memory, by file_read() and file_write(). */
static void message_iov(struct message *m, const struct iovec *iov, int n, int flags)
{
	message_init(m, flags);
	m->whole = n <= MESSAGE_IOV;
	for (int i = 0; i < n && m->n < MESSAGE_IOV; i++) {
		m->iov[1 + m->n++] = iov[i];
		m->total += iov[i].iov_len;
	}
}

int64_t socket_file_read(struct task *t, struct file *file, const struct iovec *iov, int n,
			 int flags)
{
	struct message m;
	int64_t r;

	message_iov(&m, iov, n, flags);
	if (m.total == 0) /* as sock_read_iter() */
		return 0;
	r = socket_receive(t, file, &m);
	control_drop(&m);
	return r;
}

int64_t socket_file_write(struct task *t, struct file *file, const struct iovec *iov, int n,
			  int flags)
{
	struct message m;

	message_iov(&m, iov, n, flags);
	return socket_send(t, file, &m);
}

size_t socket_overhead(const struct file *file)
{
	struct socket *sock = socket_of(file);
	size_t overhead;

	if (sock == NULL)
		return 0;
	pthread_mutex_lock(&sock->lock);
	overhead = sock->framed ? sizeof(struct datagram_header) : 0;
	pthread_mutex_unlock(&sock->lock);
	return overhead;
}

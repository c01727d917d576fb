/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control data (cmsg(3)). What is sent: a few harmless kinds of IP's go to the host's kernel,
 * rights and credentials are the process's own affair. What is received: of the host's IP
 * sockets all, since only what the guest asked for by an option is there; of Unix sockets what
 * is made here.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "linux/socket_message.h"

void control_drop(struct message *m)
{
	while (m->nfiles > 0)
		file_put(m->files[--m->nfiles]);
}

/* --- Sent --------------------------------------------------------------------------------- */

static int parse_rights(struct task *t, struct message *m, const uint8_t *data, size_t len)
{
	size_t n = len / sizeof(int);

	if (n > RIGHTS_FILES_MAX - m->nfiles)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		struct file *file;
		int fd;

		memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
		file = fd >= 0 ? files_get_any(&t->process->files, (uint64_t)fd) : NULL;
		if (file == NULL)
			return -EBADF;
		m->files[m->nfiles++] = file;
	}
	return 0;
}

/* Who it is is known anyway; it may only say the truth. */
static int check_credentials(const struct task *t, const uint8_t *data, size_t len)
{
	struct ucred cred;

	if (len != sizeof(cred))
		return -EINVAL;
	memcpy(&cred, data, sizeof(cred));
	return cred.pid == PROCESS_PID && cred.uid == t->process->uid &&
			       cred.gid == t->process->gid
		       ? 0
		       : -EPERM;
}

/* Kinds that change nothing about where a datagram goes; packet information: the source. */
static bool harmless(const struct guest_cmsghdr *c, size_t len)
{
	if (c->level == IPPROTO_IP)
		return c->type == IP_TTL || c->type == IP_TOS ||
		       (c->type == IP_PKTINFO && len == sizeof(struct in_pktinfo));
	if (c->level == IPPROTO_IPV6)
		return c->type == IPV6_HOPLIMIT || c->type == IPV6_TCLASS ||
		       (c->type == IPV6_PKTINFO && len == sizeof(struct in6_pktinfo));
	return false;
}

static int pass_on(struct message *m, const struct guest_cmsghdr *c, const uint8_t *data,
		   size_t len)
{
	size_t space = CMSG_SPACE(len);
	uint8_t *to = m->control + m->control_len;

	if (!harmless(c, len))
		return -EINVAL;
	if (space > CONTROL_SEND_MAX - m->control_len)
		return -ENOBUFS;
	memset(to, 0, space);
	memcpy(to, c, sizeof(*c));
	memcpy(to + sizeof(*c), data, len);
	/* No choice of the host's interface. */
	if (c->level == IPPROTO_IP && c->type == IP_PKTINFO)
		memset(to + sizeof(*c) + offsetof(struct in_pktinfo, ipi_ifindex), 0,
		       sizeof(int));
	if (c->level == IPPROTO_IPV6 && c->type == IPV6_PKTINFO)
		memset(to + sizeof(*c) + offsetof(struct in6_pktinfo, ipi6_ifindex), 0,
		       sizeof(int));
	m->control_len += space;
	return 0;
}

static int parse_one(struct task *t, const struct file *file, struct message *m,
		     const struct guest_cmsghdr *c, const uint8_t *data)
{
	size_t len = c->len - sizeof(*c);

	if (file->domain == AF_UNIX) {
		if (c->level != SOL_SOCKET) /* as __scm_send() */
			return 0;
		if (c->type == SCM_RIGHTS)
			return parse_rights(t, m, data, len);
		if (c->type == SCM_CREDENTIALS)
			return check_credentials(t, data, len);
		return -EINVAL;
	}
	/* TCP has no use for IP's. */
	if (file->type == SOCK_STREAM)
		return c->level == SOL_SOCKET ? -EINVAL : 0;
	return pass_on(m, c, data, len);
}

int control_parse(struct task *t, const struct file *file, struct message *m, uint64_t va,
		  uint64_t len)
{
	_cleanup_free_ uint8_t *data = NULL;
	struct guest_cmsghdr c;
	size_t at = 0;
	int r = 0;

	m->control_len = 0;
	if (len > CONTROL_MAX)
		return -ENOBUFS;
	if (va == 0 || len < sizeof(c)) /* CMSG_FIRSTHDR() */
		return 0;
	data = malloc(len);
	if (data == NULL)
		return -ENOMEM;
	if (mm_read(&t->process->mm, data, va, len) < 0)
		return -EFAULT;
	while (r == 0 && len - at >= sizeof(c)) {
		size_t step;

		memcpy(&c, data + at, sizeof(c));
		if (c.len < sizeof(c) || c.len > len - at) /* CMSG_OK() */
			return -EINVAL;
		r = parse_one(t, file, m, &c, data + at + sizeof(c));
		step = CMSG_ALIGN(c.len);
		if (step >= len - at)
			break;
		at += step;
	}
	return r;
}

/* --- Received ----------------------------------------------------------------------------- */

/* The guest's buffer. */
struct sink {
	struct mm *mm;
	uint64_t va, room, used;
	bool cut;
};

/* As put_cmsg(): what fits. */
static int sink_put(struct sink *s, int level, int type, const void *data, size_t len)
{
	_Alignas(8) uint8_t buffer[CMSG_SPACE(RIGHTS_FILES_MAX * sizeof(int))] = {0};
	struct guest_cmsghdr *c = (struct guest_cmsghdr *)buffer;
	uint64_t left = s->room - s->used;
	size_t size = CMSG_LEN(len), space = CMSG_SPACE(len);

	if (left < sizeof(*c) || space > sizeof(buffer)) {
		s->cut = true;
		return 0;
	}
	if (left < size) {
		s->cut = true;
		size = (size_t)left;
	}
	*c = (struct guest_cmsghdr){.len = size, .level = level, .type = type};
	memcpy(buffer + sizeof(*c), data, len);
	if (mm_write(s->mm, s->va + s->used, buffer, size) < 0)
		return -EFAULT;
	s->used += space < left ? space : left;
	return 0;
}

/* As scm_detach_fds(): as many as there is room for. */
static int sink_rights(struct task *t, struct sink *s, struct message *m)
{
	uint64_t left = s->room - s->used;
	bool cloexec = (m->flags & MSG_CMSG_CLOEXEC) != 0;
	int fds[RIGHTS_FILES_MAX];
	uint32_t n = 0, fit = 0;
	int r = 0;

	if (left > sizeof(struct guest_cmsghdr))
		fit = (uint32_t)((left - sizeof(struct guest_cmsghdr)) / sizeof(int));
	for (; n < m->nfiles && n < fit; n++) {
		int fd = files_install(&t->process->files, file_get(m->files[n]), 0, cloexec);

		if (fd < 0)
			break;
		fds[n] = fd;
	}
	if (n < m->nfiles)
		s->cut = true;
	if (n > 0)
		r = sink_put(s, SOL_SOCKET, SCM_RIGHTS, fds, n * sizeof(int));
	return r;
}

int64_t control_deliver(struct task *t, const struct file *file, struct message *m, uint64_t va,
			uint64_t room)
{
	const struct socket *sock = socket_of(file);
	struct sink s = {.mm = &t->process->mm, .va = va, .room = va != 0 ? room : 0};
	int r = 0;

	if (file->domain != AF_UNIX) {
		size_t len = m->control_len < s.room ? m->control_len : (size_t)s.room;

		if (len < m->control_len)
			m->out_flags |= MSG_CTRUNC;
		if (len > 0 && mm_write(s.mm, va, m->control, len) < 0)
			return -EFAULT;
		return (int64_t)len;
	}
	if (socket_option(sock, SOL_SOCKET, SO_PASSCRED) != 0) {
		struct ucred cred = {PROCESS_PID, t->process->uid, t->process->gid};

		if (sock->host && !sock->own) /* as users that a name space does not map */
			cred = (struct ucred){0, 65534, 65534};
		r = sink_put(&s, SOL_SOCKET, SCM_CREDENTIALS, &cred, sizeof(cred));
	}
	if (r == 0 && m->nfiles > 0)
		r = sink_rights(t, &s, m);
	if (s.cut)
		m->out_flags |= MSG_CTRUNC;
	return r < 0 ? r : (int64_t)s.used;
}

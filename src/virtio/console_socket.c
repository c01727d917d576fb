/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/console_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/util.h"

#define BACKLOG 4

/* Whether it is a socket, of a process that has ended without removing it. */
static bool is_left_over(const struct sockaddr_un *name)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(name->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd >= 0 && connect(fd, (const struct sockaddr *)name, sizeof(*name)) != 0 &&
	       errno == ECONNREFUSED;
}

static int bind_name(int fd, const struct sockaddr_un *name)
{
	if (bind(fd, (const struct sockaddr *)name, sizeof(*name)) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return errno;
	if (!is_left_over(name) || unlink(name->sun_path) != 0)
		return EADDRINUSE;
	return bind(fd, (const struct sockaddr *)name, sizeof(*name)) == 0 ? 0 : errno;
}

int console_socket_open(struct console_socket *s, const char *path, mayfly_error *err)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	struct stat st;
	int e;

	s->fd = -1;
	s->path = NULL;
	if (!path || !*path || strlen(path) >= sizeof(name.sun_path))
		return fail(err, MAYFLY_E_INVALID,
			    "'%s' is no path for a socket: 1 to %zu bytes", path ? path : "",
			    sizeof(name.sun_path) - 1);
	memcpy(name.sun_path, path, strlen(path));
	s->path = strdup(path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (!s->path || s->fd < 0) {
		e = s->path ? errno : ENOMEM;
		goto failed;
	}
	e = bind_name(s->fd, &name);
	if (e)
		goto failed;
	/* From here on it is ours to remove. */
	if (lstat(path, &st) == 0) {
		s->dev = st.st_dev;
		s->ino = st.st_ino;
	}
	if (listen(s->fd, BACKLOG) == 0)
		return MAYFLY_OK;
	e = errno;
failed:
	console_socket_close(s);
	if (e == EADDRINUSE)
		return fail_errno(
			err, MAYFLY_E_IO, e,
			"cannot listen at %s: another process does, or it is no socket", path);
	return fail_errno(err, e == ENOMEM ? MAYFLY_E_NOMEM : MAYFLY_E_IO, e,
			  "cannot listen at %s", path);
}

void console_socket_close(struct console_socket *s)
{
	struct stat st;

	if (s->path && s->ino && lstat(s->path, &st) == 0 && st.st_dev == s->dev &&
	    st.st_ino == s->ino)
		unlink(s->path);
	if (s->path && s->fd >= 0)
		close(s->fd);
	free(s->path);
	*s = (struct console_socket){.fd = -1};
}

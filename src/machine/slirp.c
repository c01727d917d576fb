/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/slirp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "core/clock.h"
#include "installed.h"
#include "machine/slirp_protocol.h"

#define HELPER "mayfly-slirp"
#define HELPER_FD 3 /* where the helper finds its socket */
#define HELPER_FD_TEXT "3"
#define MAX_FORWARDS 256 /* as many as the helper takes */
#define FORWARD_SIZE 40	 /* "--tcp=255.255.255.255:65535:65535" */
#define START_MS 10000	 /* until it must be ready; it takes some ms */
#define END_MS 2000	 /* until it is killed, where its socket's end does not end it */

struct slirp {
	int socket; /* our end, until the caller has it */
	int pidfd;
	struct loop_source *source;
	char path[512]; /* for messages */
};

/* --- which program ------------------------------------------------------------------------------ */

/*
 * The helper beside the running executable. Not if somebody else than the owner of that, or root,
 * may have put it there: everybody can in /tmp.
 */
static bool find_beside(char *path, size_t size)
{
	struct stat program, helper;
	ssize_t len = readlink("/proc/self/exe", path, size);
	char *slash;

	if (len <= 0 || (size_t)len >= size)
		return false;
	path[len] = '\0';
	slash = strrchr(path, '/');
	if (!slash || (size_t)(slash + 1 - path) + sizeof(HELPER) > size)
		return false;
	memcpy(slash + 1, HELPER, sizeof(HELPER));
	return stat("/proc/self/exe", &program) == 0 && stat(path, &helper) == 0 &&
	       S_ISREG(helper.st_mode) &&
	       (helper.st_uid == program.st_uid || helper.st_uid == 0);
}

static int find_helper(struct slirp *s, const char *given, mayfly_error *err)
{
	int len;

	if (!given && find_beside(s->path, sizeof(s->path)))
		return 0;
	len = snprintf(s->path, sizeof(s->path), "%s", given ? given : MAYFLY_SLIRP_PATH);
	if (len < 0 || (size_t)len >= sizeof(s->path))
		return fail(err, MAYFLY_E_INVALID, "the path of " HELPER " is too long");
	return 0;
}

/* --- arguments ---------------------------------------------------------------------------------- */

static int format_forward(const mayfly_forward *f, char text[FORWARD_SIZE], mayfly_error *err)
{
	const char *address = f->address ? f->address : "127.0.0.1";
	struct in_addr in;

	if (inet_pton(AF_INET, address, &in) != 1)
		return fail(err, MAYFLY_E_INVALID,
			    "\"%.64s\" is no numeric IPv4 address to forward a port from",
			    address);
	if (!f->host_port || !f->guest_port)
		return fail(err, MAYFLY_E_INVALID,
			    "port %u of this host to port %u of the guest: ports begin at 1",
			    f->host_port, f->guest_port);
	/* Now that it is one, the address is short. */
	snprintf(text, FORWARD_SIZE, "--%s=%s:%u:%u", f->udp ? "udp" : "tcp", address,
		 f->host_port, f->guest_port);
	return 0;
}

struct arguments {
	char forwards[MAX_FORWARDS][FORWARD_SIZE];
	char *argv[MAX_FORWARDS + 4];
};

static int format_arguments(const struct slirp_config *config, struct arguments *a,
			    mayfly_error *err)
{
	static char name[] = HELPER, host[] = "--host", fd[] = HELPER_FD_TEXT;
	size_t n = 0;

	if (config->nforwards > MAX_FORWARDS)
		return fail(err, MAYFLY_E_INVALID, "%zu ports to forward; at most %d can be",
			    config->nforwards, MAX_FORWARDS);
	a->argv[n++] = name;
	if (config->host)
		a->argv[n++] = host;
	for (size_t i = 0; i < config->nforwards; i++) {
		int r = format_forward(&config->forwards[i], a->forwards[i], err);

		if (r < 0)
			return r;
		a->argv[n++] = a->forwards[i];
	}
	a->argv[n++] = fd;
	a->argv[n] = NULL;
	return 0;
}

/* --- start -------------------------------------------------------------------------------------- */

/* A process with a clean state: no signals blocked or ignored, no terminal that could send any. */
static int set_attributes(posix_spawnattr_t *attributes)
{
	sigset_t all, none;

	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_setsigdefault(attributes, &all);
	posix_spawnattr_setsigmask(attributes, &none);
	return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF |
							    POSIX_SPAWN_SETSIGMASK |
							    POSIX_SPAWN_SETSID);
}

/*
 * The socket first: it may be among those that the others replace. The helper itself closes what
 * else it has inherited.
 */
static int set_files(posix_spawn_file_actions_t *files, int socket)
{
	int r = posix_spawn_file_actions_adddup2(files, socket, HELPER_FD);

	for (int fd = 0; fd <= 2 && !r; fd++)
		r = posix_spawn_file_actions_addopen(files, fd, "/dev/null", O_RDWR, 0);
	return r;
}

/* 0 or an errno. */
static int spawn(const char *path, char **argv, int socket, pid_t *pid)
{
	char *environment[] = {NULL};
	posix_spawnattr_t attributes;
	posix_spawn_file_actions_t files;
	int r = posix_spawnattr_init(&attributes);

	if (r)
		return r;
	r = posix_spawn_file_actions_init(&files);
	if (r)
		goto no_files;
	r = set_attributes(&attributes);
	if (!r)
		r = set_files(&files, socket);
	if (!r)
		r = posix_spawn(pid, path, &files, &attributes, argv, environment);
	posix_spawn_file_actions_destroy(&files);
no_files:
	posix_spawnattr_destroy(&attributes);
	return r;
}

static int start(struct slirp *s, char **argv, mayfly_error *err)
{
	_cleanup_close_ int theirs = -1;
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return fail_errno(err, MAYFLY_E_NOMEM, errno, "cannot make a pair of sockets");
	s->socket = pair[0];
	theirs = pair[1];
	r = spawn(s->path, argv, theirs, &pid);
	if (r == ENOENT)
		return fail_errno(err, MAYFLY_E_IO, r,
				  "there is no %s, which user networking needs: install it, or "
				  "build Mayfly where libslirp and libseccomp are",
				  s->path);
	if (r)
		return fail_errno(err, MAYFLY_E_IO, r, "cannot start %s", s->path);
	s->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (s->pidfd >= 0)
		return 0;
	r = errno;
	/* Its end is near: the socket closes. */
	close(s->socket);
	s->socket = -1;
	close(take_fd(&theirs));
	(void)waitpid(pid, NULL, 0);
	return fail_errno(err, MAYFLY_E_NOMEM, r, "pidfd_open of %s", s->path);
}

int slirp_start(const struct slirp_config *config, struct slirp **out, mayfly_error *err)
{
	_cleanup_free_ struct arguments *arguments = calloc(1, sizeof(*arguments));
	struct slirp *s = calloc(1, sizeof(*s));
	int r;

	if (!s || !arguments) {
		free(s);
		return fail(err, MAYFLY_E_NOMEM, "out of memory");
	}
	s->socket = s->pidfd = -1;
	r = find_helper(s, config->helper, err);
	if (r == 0)
		r = format_arguments(config, arguments, err);
	if (r == 0)
		r = start(s, arguments->argv, err);
	if (r < 0) {
		slirp_free(s);
		return r;
	}
	*out = s;
	return 0;
}

/* --- its word, and its end ---------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	return (int64_t)(clock_now() / 1000000);
}

/* Whether `fd` gets readable in time. */
static bool wait_for(int fd, int64_t ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int64_t end = now_ms() + ms;
	int r;

	do {
		ms = end - now_ms();
		r = poll(&p, 1, ms > 0 ? (int)ms : 0);
	} while (r < 0 && errno == EINTR);
	return r > 0;
}

/*
 * Leave no dead process behind. The host process may have done it itself, with its own wait(2) or
 * by ignoring SIGCHLD: then there is nothing left to do.
 */
static void reap(struct slirp *s, siginfo_t *info)
{
	*info = (siginfo_t){0};
	while (waitid(P_PIDFD, (id_t)s->pidfd, info, WEXITED) < 0 && errno == EINTR)
		;
	close(s->pidfd);
	s->pidfd = -1;
}

/* It has closed its socket without a word. */
static int died(struct slirp *s, mayfly_error *err)
{
	siginfo_t info;

	if (!wait_for(s->pidfd, END_MS))
		return fail(err, MAYFLY_E_IO, "%s does not start", s->path);
	reap(s, &info);
	if (info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED)
		return fail(err, MAYFLY_E_IO, "%s was killed by signal %d when it started",
			    s->path, info.si_status);
	return fail(err, MAYFLY_E_IO, "%s ended when it started, with status %d", s->path,
		    info.si_status);
}

int slirp_ready(struct slirp *s, int *fd, mayfly_error *err)
{
	struct slirp_hello hello;
	char text[sizeof(hello.message) + 1];
	ssize_t len;

	if (!wait_for(s->socket, START_MS))
		return fail(err, MAYFLY_E_IO, "%s does not get ready", s->path);
	len = recv(s->socket, &hello, sizeof(hello), MSG_DONTWAIT);
	if (len <= 0)
		return died(s, err);
	if (len != sizeof(hello) || hello.protocol != SLIRP_PROTOCOL)
		return fail(err, MAYFLY_E_UNSUPPORTED, "%s is of another version of Mayfly",
			    s->path);
	if (hello.message[0]) {
		error_printable(text, sizeof(text), hello.message,
				strnlen(hello.message, sizeof(hello.message)));
		(void)fail(err, MAYFLY_E_IO, "user networking: %s", text);
		if (err)
			err->sys_errno = hello.errnum;
		return MAYFLY_E_IO;
	}
	*fd = take_fd(&s->socket);
	return 0;
}

static void ended(void *context, uint32_t events)
{
	struct slirp *s = context;
	siginfo_t info;

	(void)events;
	loop_remove(s->source);
	s->source = NULL;
	reap(s, &info);
}

int slirp_watch(struct slirp *s, struct loop *loop, mayfly_error *err)
{
	return loop_add(loop, s->pidfd, EPOLLIN, ended, s, &s->source, err);
}

void slirp_free(struct slirp *s)
{
	siginfo_t info;

	if (!s)
		return;
	loop_remove(s->source);
	if (s->socket >= 0)
		close(s->socket);
	if (s->pidfd >= 0) {
		if (!wait_for(s->pidfd, END_MS))
			(void)syscall(SYS_pidfd_send_signal, s->pidfd, SIGKILL, NULL, 0);
		reap(s, &info);
	}
	free(s);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "terminal.h"

#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cli.h"
#include "message.h"

#define ESCAPE 0x01 /* Ctrl-A, as other monitors have it */
#define STACK ((size_t)64 << 10)
/* What may be pasted while the guest is busy: as much as Linux lets a pipe hold (pipe(7)). */
#define RELAY_SIZE (1 << 20)

static struct termios cooked, raw;
static bool is_raw;

/* The process that looks after the terminal, and our end of the pipe that it reads. */
static pid_t guard;
static int guard_pipe = -1;

static struct {
	int to; /* the pipe's write end */
	bool keys;
	pthread_mutex_t lock;	    /* for what follows */
	void (*end)(void *context); /* NULL: not any more */
	void *context;
} relay = {.to = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

/* --- Raw mode --------------------------------------------------------------------------------- */

static bool same(const struct termios *a, const struct termios *b)
{
	return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag &&
	       a->c_cflag == b->c_cflag && a->c_lflag == b->c_lflag;
}

/*
 * The other process: waits until the pipe has no writer any more, and puts the terminal back if it
 * is still as we set it. By then a shell may have taken it, which is to be left alone.
 */
static void look_after(int from)
{
	struct termios now;
	sigset_t all;
	char c;

	prctl(PR_SET_NAME, "mayfly-tty");
	sigfillset(&all);
	/* From the background, too: with SIGTTOU blocked that is allowed, tty_ioctl(4). */
	sigprocmask(SIG_SETMASK, &all, NULL);
	/* Of its files only these two: it must not keep a pipe open that the guest writes to. */
	dup2(from, STDOUT_FILENO);
	syscall(__NR_close_range, STDERR_FILENO, ~0u, 0);
	while (read(STDOUT_FILENO, &c, 1) < 0 && errno == EINTR)
		;
	if (tcgetattr(STDIN_FILENO, &now) == 0 && same(&now, &raw))
		tcsetattr(STDIN_FILENO, TCSANOW, &cooked);
	_exit(0);
}

static void start_guard(void)
{
	int fd[2];

	if (guard || pipe2(fd, O_CLOEXEC) != 0)
		return;
	guard = fork();
	if (guard == 0) {
		close(fd[1]);
		look_after(fd[0]);
	}
	close(fd[0]);
	guard_pipe = fd[1];
}

void terminal_raw(void)
{
	struct termios now;

	if (is_raw || tcgetattr(STDIN_FILENO, &now) != 0 ||
	    tcgetpgrp(STDIN_FILENO) != getpgrp())
		return;
	cooked = raw = now;
	raw.c_iflag &=
		(tcflag_t) ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	raw.c_lflag &= (tcflag_t) ~(ECHO | ECHONL | ICANON | IEXTEN | ISIG);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	start_guard();
	is_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

void terminal_restore(void)
{
	/* The thread goes on reading; what it would end may be gone soon. */
	pthread_mutex_lock(&relay.lock);
	relay.end = NULL;
	pthread_mutex_unlock(&relay.lock);
	if (is_raw && tcgetpgrp(STDIN_FILENO) == getpgrp())
		tcsetattr(STDIN_FILENO, TCSADRAIN, &cooked);
	is_raw = false;
	if (guard_pipe >= 0)
		close(guard_pipe);
	guard_pipe = -1;
	if (guard > 0)
		waitpid(guard, NULL, 0);
	guard = 0;
}

bool terminal_size(uint16_t *ret_columns, uint16_t *ret_rows)
{
	static const int fds[] = {STDOUT_FILENO, STDIN_FILENO};
	struct winsize size;

	for (size_t i = 0; i < COUNT_OF(fds); i++) {
		if (ioctl(fds[i], TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row) {
			*ret_columns = size.ws_col;
			*ret_rows = size.ws_row;
			return true;
		}
	}
	return false;
}

/* --- The relay -------------------------------------------------------------------------------- */

/*
 * Keys must never wait for the guest, or the escape key would: what it does not take, of so much,
 * is lost. Other input waits.
 */
static bool pass_on(const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(relay.to, data, len);

		if (n < 0 && errno == EAGAIN && relay.keys)
			return true;
		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = {.fd = relay.to, .events = POLLOUT};

			poll(&p, 1, -1);
			continue;
		}
		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return true;
}

static void escape(char key)
{
	static const char ctrl_a = ESCAPE;

	switch (key) {
	case 'x':
	case 'X':
		pthread_mutex_lock(&relay.lock);
		if (relay.end)
			relay.end(relay.context);
		pthread_mutex_unlock(&relay.lock);
		break;
	case 'z':
	case 'Z':
		/* The whole job, as the key that the terminal would have had for it. */
		kill(0, SIGTSTP);
		break;
	case 'a':
	case ESCAPE:
		pass_on(&ctrl_a, 1);
		break;
	default:
		complain("%s", TERMINAL_KEYS);
	}
}

static void *copy_input(void *unused)
{
	bool escaped = false;
	char buffer[4096];
	ssize_t n;

	(void)unused;
	for (;;) {
		ssize_t begin = 0;

		n = read(STDIN_FILENO, buffer, sizeof(buffer));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		for (ssize_t i = 0; relay.keys && i < n; i++) {
			if (escaped) {
				escape(buffer[i]);
				escaped = false;
				begin = i + 1;
			} else if (buffer[i] == ESCAPE) {
				pass_on(buffer + begin, (size_t)(i - begin));
				escaped = true;
				begin = i + 1;
			}
		}
		if (!pass_on(buffer + begin, (size_t)(n - begin)))
			break;
	}
	/* The write end stays: text may still be typed. */
	return NULL;
}

int terminal_relay(bool keys, void (*end)(void *context), void *context)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int fd[2], e;

	if (pipe2(fd, O_CLOEXEC) != 0) {
		complain("no pipe for the console: %s", strerror(errno));
		return -1;
	}
	fcntl(fd[1], F_SETPIPE_SZ, RELAY_SIZE);
	fcntl(fd[1], F_SETFL, O_NONBLOCK);
	relay.to = fd[1];
	relay.keys = keys;
	relay.end = end;
	relay.context = context;
	/* Signals are for the thread that waits for them. */
	sigfillset(&all);
	sigdelset(&all, SIGTTIN);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	e = pthread_create(&thread, &attr, copy_input, NULL);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!e)
		return fd[0];
	complain("no thread for the console: %s", strerror(e));
	close(fd[0]);
	return -1;
}

void terminal_type(const char *text)
{
	size_t len = strlen(text);

	if (relay.to >= 0 && write(relay.to, text, len) != (ssize_t)len)
		complain("the guest takes no input: '%s' could not be typed", text);
}

/* --- Pseudoterminals -------------------------------------------------------------------------- */

/* Without echo, above all: each side would hear itself. */
static bool make_raw(const char *name)
{
	int fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios t;
	bool ok;

	if (fd < 0)
		return false;
	ok = tcgetattr(fd, &t) == 0;
	cfmakeraw(&t);
	ok = ok && tcsetattr(fd, TCSANOW, &t) == 0;
	close(fd);
	return ok;
}

int terminal_pty(char *name, int size)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0 && grantpt(fd) == 0 && unlockpt(fd) == 0 &&
	    ptsname_r(fd, name, (size_t)size) == 0 && make_raw(name))
		return fd;
	complain("no pseudoterminal for the console: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

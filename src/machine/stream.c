/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locking: `lock` is for the output side, which any thread may use. The input side, the user and
 * the loop's sources belong to the loop's thread, whom the others wake by the timers.
 */
#include "machine/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>

#include "core/clock.h"

/* How long a byte may wait for others: far below what anybody notices, and longer than a line. */
#define HOLD_NS 1000000u
/* What is written whatever the time. */
#define HOLD_MAX 1024
/* How often to look whether somebody has opened the other end of a pseudoterminal. */
#define AWAY_NS 100000000u
/* Memory was short for a source of the loop. */
#define AGAIN_NS 10000000u

#define INPUT_SIZE 4096
/* Reads in a row; then others have their turn. */
#define INPUT_ROUNDS 16

/* What a descriptor is: that decides how not to wait for it. */
enum kind {
	KIND_NONE,
	KIND_SOCKET,
	KIND_PIPE,
	KIND_TERMINAL,
	KIND_MASTER, /* of a pseudoterminal */
	KIND_FILE,   /* never waits */
	KIND_OTHER   /* devices, such as /dev/null */
};

struct end {
	int fd; /* ours */
	enum kind kind;
	bool nonblocking; /* by itself: then nothing must be asked before */
	struct loop_source *source;
};

struct watch {
	char *text;	/* NULL: none */
	size_t *border; /* of each beginning of text: its longest border (Knuth, Morris, Pratt) */
	size_t len;
	size_t seen; /* so much of it has been put out just now */
	void (*fn)(void *context);
	void *context;
};

struct stream {
	struct loop *loop;
	struct end in, out;
	struct loop_source *kick;  /* timers: there is something to do on the loop's thread; */
	struct loop_source *hold;  /* what was held back is due; */
	struct loop_source *retry; /* something may have become possible */

	const struct stream_ops *ops;
	void *context;
	atomic_bool wanted;
	uint8_t input[INPUT_SIZE];
	size_t input_at, input_len; /* what the user has not taken */

	pthread_mutex_t lock;
	uint8_t *buffer; /* a ring of STREAM_BUFFER */
	size_t head, used;
	bool blocked; /* the host takes no more: the loop waits for it */
	bool away;    /* nobody is at the other end of the pseudoterminal */
	bool refused; /* the user waits for writable() */
	bool held;    /* the timer is set */
	int lost;     /* errno: output was lost by it, the first time */
	uint64_t last_write;
	struct watch watch;
	_Atomic(uint64_t) first_output;
};

/* --- Descriptors ------------------------------------------------------------------------------ */

static enum kind kind_of(int fd, mode_t mode)
{
	unsigned int number;
	struct termios t;

	if (S_ISSOCK(mode))
		return KIND_SOCKET;
	if (S_ISFIFO(mode))
		return KIND_PIPE;
	if (S_ISCHR(mode) && tcgetattr(fd, &t) == 0)
		return ioctl(fd, TIOCGPTN, &number) == 0 ? KIND_MASTER : KIND_TERMINAL;
	return S_ISREG(mode) || S_ISBLK(mode) ? KIND_FILE : KIND_OTHER;
}

/*
 * Pipes and terminals are opened once more, as a file description of our own: that one may be
 * non-blocking, whoever shares the other. Where that is not allowed, a duplicate does, with care.
 * (Opening a pseudoterminal's master again would make another one.)
 */
static int end_open(struct end *end, int fd, int access, mayfly_error *err)
{
	char path[32];
	struct stat st;

	end->fd = -1;
	end->kind = KIND_NONE;
	if (fd < 0)
		return MAYFLY_OK;
	if (fstat(fd, &st) != 0)
		return fail_errno(err, MAYFLY_E_IO, errno, "descriptor %d of the console", fd);
	end->kind = kind_of(fd, st.st_mode);
	if (end->kind == KIND_PIPE || end->kind == KIND_TERMINAL) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		end->fd = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		end->nonblocking = end->fd >= 0;
	}
	if (end->fd < 0)
		end->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (end->fd < 0)
		return fail_errno(err, MAYFLY_E_NOMEM, errno, "no descriptor for the console");
	if (end->kind == KIND_MASTER)
		end->nonblocking = (fcntl(end->fd, F_GETFL) & O_NONBLOCK) != 0;
	return MAYFLY_OK;
}

static void end_close(struct end *end)
{
	loop_remove(end->source);
	end->source = NULL;
	if (end->fd >= 0)
		close(end->fd);
	end->fd = -1;
}

static int ready(const struct end *end, short events)
{
	struct pollfd p = {.fd = end->fd, .events = events};

	return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

/*
 * A pipe that nobody reads, or a file that is as large as it may be, sends a signal to the thread
 * that writes, which may be a host's that has plans of its own for it: it gets the error only.
 */
static ssize_t write_quietly(int fd, const void *data, size_t len)
{
	static const struct timespec now;
	sigset_t set, old;
	int signal, e;
	ssize_t n;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	sigaddset(&set, SIGXFSZ);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	n = write(fd, data, len);
	e = errno;
	signal = n >= 0 ? 0 : e == EPIPE ? SIGPIPE : e == EFBIG ? SIGXFSZ : 0;
	if (signal) {
		/* The thread's own, before one that the process was sent: signal(7). */
		sigemptyset(&set);
		sigaddset(&set, signal);
		sigtimedwait(&set, NULL, &now);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = e;
	return n;
}

/* Write without waiting; -1 with EAGAIN where that would be. */
static ssize_t end_write(const struct end *end, const void *data, size_t len)
{
	bool may_wait = !end->nonblocking && end->kind != KIND_FILE;

	if (end->kind == KIND_SOCKET)
		return send(end->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (may_wait && !(ready(end, POLLOUT) & (POLLOUT | POLLERR | POLLHUP))) {
		errno = EAGAIN;
		return -1;
	}
	/* What there is room for for certain: pipe(7), PIPE_BUF; of terminals poll(2) says no more. */
	if (may_wait && end->kind == KIND_PIPE && len > PIPE_BUF)
		len = PIPE_BUF;
	if (may_wait && (end->kind == KIND_TERMINAL || end->kind == KIND_MASTER))
		len = 1;
	return end->kind == KIND_PIPE || end->kind == KIND_FILE
		       ? write_quietly(end->fd, data, len)
		       : write(end->fd, data, len);
}

static ssize_t end_read(const struct end *end, void *to, size_t len)
{
	if (end->kind == KIND_SOCKET)
		return recv(end->fd, to, len, MSG_DONTWAIT);
	if (!end->nonblocking && end->kind != KIND_FILE &&
	    !(ready(end, POLLIN) & (POLLIN | POLLERR | POLLHUP))) {
		errno = EAGAIN;
		return -1;
	}
	return read(end->fd, to, len);
}

static bool would_block(int e)
{
	return e == EAGAIN || e == EWOULDBLOCK;
}

/* --- Output ----------------------------------------------------------------------------------- */

static void kick(struct stream *s)
{
	/* Any time in the past. */
	loop_set_timer(s->kick, 1);
}

/* Under lock, as all up to flush(). */
static size_t append(struct stream *s, const uint8_t *data, size_t len)
{
	size_t room = STREAM_BUFFER - s->used;
	size_t at = (s->head + s->used) % STREAM_BUFFER;
	size_t first = STREAM_BUFFER - at;

	if (len > room)
		len = room;
	if (first > len)
		first = len;
	memcpy(s->buffer + at, data, first);
	memcpy(s->buffer, data + first, len - first);
	s->used += len;
	return len;
}

static void drop(struct stream *s, size_t len)
{
	s->head = (s->head + len) % STREAM_BUFFER;
	s->used -= len;
}

/*
 * There is nobody to write to, and there never will be. Its descriptor stays until the end. A
 * reader that has left wanted no more: nothing is lost.
 */
static void output_over(struct stream *s, int e)
{
	s->lost = e == EPIPE ? 0 : e;
	s->out.kind = KIND_NONE;
	s->used = 0;
	s->blocked = false;
}

/* Put out what is there, as far as the host takes it. */
static void flush(struct stream *s)
{
	s->away = s->out.kind == KIND_MASTER && (ready(&s->out, 0) & POLLHUP);
	s->blocked = s->away;
	while (s->used > 0 && !s->blocked) {
		size_t len = STREAM_BUFFER - s->head;
		ssize_t n =
			end_write(&s->out, s->buffer + s->head, len < s->used ? len : s->used);

		if (n > 0)
			drop(s, (size_t)n);
		else if (n < 0 && would_block(errno))
			s->blocked = true;
		else if (n == 0 || errno != EINTR)
			output_over(s, n == 0 ? EIO : errno);
	}
	s->last_write = clock_now();
}

/* Take what is possible; what comes within HOLD_NS of the last write may wait for more. */
static size_t put(struct stream *s, const uint8_t *data, size_t len)
{
	bool line = memchr(data, '\n', len) != NULL;
	size_t taken = append(s, data, len);

	while (s->used && !s->blocked &&
	       (line || s->used >= HOLD_MAX || clock_now() - s->last_write >= HOLD_NS)) {
		flush(s);
		if (taken == len)
			break;
		taken += append(s, data + taken, len - taken);
	}
	if (taken < len && s->away) {
		/* The latest counts. */
		size_t rest = len - taken < STREAM_BUFFER ? len - taken : STREAM_BUFFER;

		drop(s, rest);
		append(s, data + len - rest, rest);
		taken = len;
	}
	return s->out.kind == KIND_NONE ? len : taken;
}

/* Follow the text through what was put out; true: it was there, for the first time. */
static bool watch_sees(struct watch *w, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		while (w->seen > 0 && (uint8_t)w->text[w->seen] != data[i])
			w->seen = w->border[w->seen - 1];
		if ((uint8_t)w->text[w->seen] == data[i])
			w->seen++;
		if (w->seen == w->len)
			return true;
	}
	return false;
}

static void watch_fini(struct watch *w)
{
	free(w->text);
	free(w->border);
	*w = (struct watch){.text = NULL};
}

size_t stream_write(struct stream *s, const uint8_t *data, size_t len)
{
	struct watch seen = {.text = NULL};
	bool was_blocked, blocked, hold = false;
	uint64_t due;
	size_t taken;

	if (!len)
		return 0;
	if (!atomic_load_explicit(&s->first_output, memory_order_relaxed))
		atomic_store(&s->first_output, clock_now());
	pthread_mutex_lock(&s->lock);
	was_blocked = s->blocked;
	taken = s->out.kind == KIND_NONE ? len : put(s, data, len);
	if (s->watch.text && watch_sees(&s->watch, data, taken)) {
		seen = s->watch;
		s->watch = (struct watch){.text = NULL};
	}
	s->refused = s->refused || taken < len;
	blocked = s->blocked;
	if (s->used && !blocked && !s->held)
		s->held = hold = true;
	due = s->last_write + HOLD_NS;
	pthread_mutex_unlock(&s->lock);
	if (blocked && !was_blocked)
		kick(s);
	if (hold)
		loop_set_timer(s->hold, due);
	if (seen.text)
		seen.fn(seen.context);
	watch_fini(&seen);
	return taken;
}

void stream_drain(struct stream *s, uint64_t timeout_ns)
{
	uint64_t now = clock_now(), end;

	if (add_overflows(now, timeout_ns, &end))
		end = UINT64_MAX;
	for (;;) {
		struct pollfd p = {.events = POLLOUT};
		struct timespec left;
		bool done;

		pthread_mutex_lock(&s->lock);
		if (s->used)
			flush(s);
		done = !s->used || s->away;
		p.fd = s->out.fd;
		pthread_mutex_unlock(&s->lock);
		now = clock_now();
		if (done || now >= end)
			break;
		left = clock_timespec(end - now);
		ppoll(&p, 1, &left, NULL);
	}
	/* The loop's thread takes note of what changed. */
	kick(s);
}

int stream_lost(struct stream *s)
{
	int lost;

	pthread_mutex_lock(&s->lock);
	lost = s->lost;
	pthread_mutex_unlock(&s->lock);
	return lost;
}

uint64_t stream_first_output(const struct stream *s)
{
	return atomic_load(&s->first_output);
}

int stream_watch(struct stream *s, const char *text, void (*fn)(void *context), void *context,
		 mayfly_error *err)
{
	struct watch w = {.fn = fn, .context = context}, old;

	if (text && *text) {
		w.len = strlen(text);
		w.text = strdup(text);
		w.border = calloc(w.len, sizeof(*w.border));
		if (!w.text || !w.border) {
			watch_fini(&w);
			return fail(err, MAYFLY_E_NOMEM, "no memory");
		}
		for (size_t i = 1, k = 0; i < w.len; i++) {
			while (k > 0 && text[i] != text[k])
				k = w.border[k - 1];
			if (text[i] == text[k])
				k++;
			w.border[i] = k;
		}
	}
	pthread_mutex_lock(&s->lock);
	old = s->watch;
	s->watch = w;
	pthread_mutex_unlock(&s->lock);
	watch_fini(&old);
	return MAYFLY_OK;
}

/* --- The loop's thread: output ---------------------------------------------------------------- */

static void on_out(void *context, uint32_t events);

/* Only while there is something to wait for: that the other end is gone would be told for ever. */
static void watch(struct stream *s, struct end *end, uint32_t events, loop_fn fn)
{
	if (end->source)
		loop_change(end->source, events);
	else if (events && loop_add(s->loop, end->fd, events, fn, s, &end->source, NULL) < 0)
		loop_set_timer(s->retry, clock_now() + AGAIN_NS);
}

static void flush_on_loop(struct stream *s)
{
	bool blocked, away, writable;

	pthread_mutex_lock(&s->lock);
	if (s->used)
		flush(s);
	blocked = s->blocked;
	away = s->away;
	writable = s->refused && s->used <= STREAM_BUFFER / 2;
	if (writable)
		s->refused = false;
	pthread_mutex_unlock(&s->lock);
	watch(s, &s->out, blocked && !away ? EPOLLOUT : 0, on_out);
	if (away)
		loop_set_timer(s->retry, clock_now() + AWAY_NS);
	if (writable && s->ops)
		s->ops->writable(s->context);
}

static void on_out(void *context, uint32_t events)
{
	(void)events;
	flush_on_loop(context);
}

static void on_hold(void *context, uint32_t events)
{
	struct stream *s = context;

	(void)events;
	pthread_mutex_lock(&s->lock);
	s->held = false;
	pthread_mutex_unlock(&s->lock);
	flush_on_loop(s);
}

/* --- The loop's thread: input ----------------------------------------------------------------- */

static void on_in(void *context, uint32_t events);

/* Hand over what is there; false: the user wants no more. */
static bool hand_over(struct stream *s)
{
	size_t left = s->input_len - s->input_at, n;

	if (!left)
		return true;
	/* Before: the user may ask again while it is being given this. */
	atomic_store(&s->wanted, false);
	n = s->ops->input(s->context, s->input + s->input_at, left);
	s->input_at += n < left ? n : left;
	if (n < left)
		return false;
	atomic_store(&s->wanted, true);
	return true;
}

/* Nothing could be read, for the reason `e`; 0: the end. */
static void no_input(struct stream *s, int e)
{
	if (would_block(e) || e == EINTR) {
		watch(s, &s->in, EPOLLIN, on_in);
		return;
	}
	watch(s, &s->in, 0, on_in);
	/*
	 * A pseudoterminal that nobody has open, or a terminal whose foreground we are not in
	 * (tty_ioctl(4): with SIGTTIN blocked, reading fails): later, perhaps.
	 */
	if (e == EIO && (s->in.kind == KIND_MASTER ||
			 (s->in.kind == KIND_TERMINAL && !(ready(&s->in, POLLIN) & POLLHUP))))
		loop_set_timer(s->retry, clock_now() + AWAY_NS);
	else
		end_close(&s->in);
}

static void pump(struct stream *s)
{
	for (int i = 0; i < INPUT_ROUNDS; i++) {
		ssize_t n;

		if (!s->ops || !atomic_load(&s->wanted) || !hand_over(s)) {
			watch(s, &s->in, 0, on_in);
			return;
		}
		if (s->in.fd < 0)
			return;
		n = end_read(&s->in, s->input, sizeof(s->input));
		if (n <= 0) {
			no_input(s, n < 0 ? errno : 0);
			return;
		}
		s->input_at = 0;
		s->input_len = (size_t)n;
	}
	kick(s);
}

static void on_in(void *context, uint32_t events)
{
	(void)events;
	pump(context);
}

/* Of kick and retry. */
static void on_timer(void *context, uint32_t events)
{
	(void)events;
	flush_on_loop(context);
	pump(context);
}

void stream_want_input(struct stream *s)
{
	if (!atomic_exchange(&s->wanted, true))
		kick(s);
}

void stream_set_user(struct stream *s, const struct stream_ops *ops, void *context)
{
	s->ops = ops;
	s->context = context;
	atomic_store(&s->wanted, false);
}

/* --- Life ------------------------------------------------------------------------------------- */

int stream_new(struct loop *loop, int in, int out, struct stream **ret, mayfly_error *err)
{
	struct stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return fail(err, MAYFLY_E_NOMEM, "no memory");
	s->loop = loop;
	s->in.fd = s->out.fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	s->buffer = malloc(STREAM_BUFFER);
	r = s->buffer ? MAYFLY_OK : fail(err, MAYFLY_E_NOMEM, "no memory");
	if (r == MAYFLY_OK)
		r = end_open(&s->in, in, O_RDONLY, err);
	if (r == MAYFLY_OK)
		r = end_open(&s->out, out, O_WRONLY, err);
	if (r == MAYFLY_OK)
		r = loop_add_timer(loop, on_timer, s, &s->kick, err);
	if (r == MAYFLY_OK)
		r = loop_add_timer(loop, on_hold, s, &s->hold, err);
	if (r == MAYFLY_OK)
		r = loop_add_timer(loop, on_timer, s, &s->retry, err);
	if (r != MAYFLY_OK) {
		stream_free(s);
		return r;
	}
	*ret = s;
	return MAYFLY_OK;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	end_close(&s->in);
	end_close(&s->out);
	loop_remove(s->kick);
	loop_remove(s->hold);
	loop_remove(s->retry);
	watch_fini(&s->watch);
	pthread_mutex_destroy(&s->lock);
	free(s->buffer);
	free(s);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arguments and results as strace(1) prints them. Guest memory is read for display only, by
 * copies; it may have changed since the call used it, except for paths (see task_path()).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <linux/futex.h>

#include "linux/process.h"
#include "linux/trace.h"
#include "linux/trace_format.h"

#define SHOWN_BYTES 32	/* of a buffer, as strace's -s */
#define SHOWN_PATH 1024 /* of a path or name */
#define SHOWN_IOV 4	/* of a vector's elements */

/* --- Text --------------------------------------------------------------------------------- */

void text_print(struct text *text, const char *format, ...)
{
	size_t room = text->size - text->len;
	va_list args;
	int n;

	if (text->cut)
		return;
	va_start(args, format);
	n = vsnprintf(text->buf + text->len, room, format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= room) {
		text->cut = true;
		text->buf[text->len] = '\0';
	} else {
		text->len += (size_t)n;
	}
}

static void text_put(struct text *text, const char *bytes, size_t len)
{
	if (text->cut)
		return;
	if (len >= text->size - text->len) {
		text->cut = true;
		return;
	}
	memcpy(text->buf + text->len, bytes, len);
	text->len += len;
	text->buf[text->len] = '\0';
}

/* One byte as it stands in a C string; `next` decides how short an octal escape may be. */
static size_t escape(char out[5], unsigned char c, unsigned char next)
{
	static const char plain[] = "\a\b\t\n\v\f\r";
	static const char letters[] = "abtnvfr";
	const char *at = c ? strchr(plain, c) : NULL;

	if (at && c != '\a' && c != '\b') {
		out[0] = '\\';
		out[1] = letters[at - plain];
		return 2;
	}
	if (c == '"' || c == '\\') {
		out[0] = '\\';
		out[1] = (char)c;
		return 2;
	}
	if (c >= 0x20 && c < 0x7f) {
		out[0] = (char)c;
		return 1;
	}
	return (size_t)snprintf(out, 5, next >= '0' && next <= '9' ? "\\%03o" : "\\%o", c);
}

void text_quote(struct text *text, const char *bytes, size_t len, bool cut)
{
	text_print(text, "\"");
	for (size_t i = 0; i < len && !text->cut; i++) {
		char out[5];
		unsigned char next = i + 1 < len ? (unsigned char)bytes[i + 1] : 0;
		size_t n = escape(out, (unsigned char)bytes[i], next);

		text_put(text, out, n);
	}
	text_print(text, cut ? "\"..." : "\"");
}

/* --- Arguments ---------------------------------------------------------------------------- */

struct arguments {
	struct task *t;
	const uint64_t *a;
	const int64_t *result; /* NULL: before the call */
};

static void put_address(struct text *out, uint64_t va)
{
	if (va)
		text_print(out, "0x%" PRIx64, va);
	else
		text_print(out, "NULL");
}

/* The `which`th path or name: what the call itself gets, or got. */
static void put_path(struct text *out, struct task *t, int which, uint64_t va)
{
	char path[VFS_PATH_MAX];
	ssize_t len = va ? task_path(t, which, va, path) : -EFAULT;

	if (len >= 0)
		text_quote(out, path, (size_t)(len > SHOWN_PATH ? SHOWN_PATH : len),
			   len > SHOWN_PATH);
	else
		put_address(out, va);
}

static void put_bytes(struct text *out, struct task *t, uint64_t va, uint64_t len)
{
	char bytes[SHOWN_BYTES];
	size_t shown = len < sizeof(bytes) ? (size_t)len : sizeof(bytes);

	if (!va || mm_read(&t->process->mm, bytes, va, shown) < 0)
		put_address(out, va);
	else
		text_quote(out, bytes, shown, len > shown);
}

/* `filled`: what the call put there, in all elements together; UINT64_MAX: they are full. */
static void put_vector(struct text *out, struct task *t, uint64_t va, uint64_t count,
		       uint64_t filled)
{
	struct {
		uint64_t base, len;
	} iov[SHOWN_IOV];
	size_t shown = count < SHOWN_IOV ? (size_t)count : SHOWN_IOV;

	if (!va || mm_read(&t->process->mm, iov, va, shown * sizeof(iov[0])) < 0) {
		put_address(out, va);
		return;
	}
	text_print(out, "[");
	for (size_t i = 0; i < shown; i++) {
		uint64_t len = iov[i].len < filled ? iov[i].len : filled;

		text_print(out, "%s{iov_base=", i ? ", " : "");
		put_bytes(out, t, iov[i].base, len);
		text_print(out, ", iov_len=%" PRIu64 "}", iov[i].len);
		if (filled != UINT64_MAX)
			filled -= len;
	}
	text_print(out, count > shown ? ", ...]" : "]");
}

static void put_timespec(struct text *out, struct task *t, uint64_t va)
{
	int64_t ts[2];

	if (!va || mm_get(&t->process->mm, &ts, va) < 0)
		put_address(out, va);
	else
		text_print(out, "{tv_sec=%" PRId64 ", tv_nsec=%" PRId64 "}", ts[0], ts[1]);
}

static void put_signal(struct text *out, int signal)
{
	const char *name = signal_name(signal);

	if (name)
		text_print(out, "%s", name);
	else
		text_print(out, "%d", signal);
}

/* What the call fills, once it is over. */
static void put_output(struct text *out, const struct arguments *args, char letter, unsigned i)
{
	uint64_t next = i < 5 ? args->a[i + 1] : 0;
	uint64_t done;

	if (!args->result || *args->result < 0) {
		put_address(out, args->a[i]);
		return;
	}
	done = (uint64_t)*args->result;
	if (letter == 'B')
		put_bytes(out, args->t, args->a[i], done < next ? done : next);
	else if (letter == 'I')
		put_vector(out, args->t, args->a[i], next, done);
	else
		put_timespec(out, args->t, args->a[i]);
}

static void put_argument(struct text *out, const struct arguments *args, const char *letters,
			 unsigned i)
{
	const struct constants *of = constants_find(letters[i]);
	uint64_t v = args->a[i];
	int which = 0;

	if (of) {
		format_constants(out, of, (uint32_t)v);
		return;
	}
	switch (letters[i]) {
	case 'd':
	case 'f':
		text_print(out, "%d", (int)v);
		break;
	case 'D':
		if ((int)v == AT_FDCWD)
			text_print(out, "AT_FDCWD");
		else
			text_print(out, "%d", (int)v);
		break;
	case 'l':
		text_print(out, "%" PRId64, (int64_t)v);
		break;
	case 'u':
		text_print(out, "%" PRIu64, v);
		break;
	case 'o':
		text_print(out, "%#03o", (uint32_t)v);
		break;
	case 'p':
		put_address(out, v);
		break;
	case 'S':
		put_signal(out, (int)v);
		break;
	case 's':
	case 'n':
		for (unsigned j = 0; j < i; j++)
			which += letters[j] == 's' || letters[j] == 'n';
		put_path(out, args->t, which, v);
		break;
	case 'b':
		put_bytes(out, args->t, v, i < 5 ? args->a[i + 1] : 0);
		break;
	case 'i':
		put_vector(out, args->t, v, i < 5 ? args->a[i + 1] : 0, UINT64_MAX);
		break;
	case 't':
		put_timespec(out, args->t, v);
		break;
	case 'B':
	case 'I':
	case 'T':
		put_output(out, args, letters[i], i);
		break;
	default: /* x */
		text_print(out, "%#" PRIx64, v);
		break;
	}
}

/* Without the last ones where what stands before them says that they mean nothing. */
static unsigned argument_count(uint64_t number, const char *letters, const uint64_t a[6])
{
	unsigned n = (unsigned)strlen(letters);

	switch (number) {
	case SYS_open:
		return a[1] & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? n : 2;
	case SYS_openat:
		return a[2] & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? n : 3;
	case SYS_mremap:
		return a[3] & (MREMAP_FIXED | MREMAP_DONTUNMAP) ? n : 4;
	case SYS_fcntl:
		return a[1] == F_GETFD || a[1] == F_GETFL || a[1] == F_GETOWN ? 2 : n;
	case SYS_futex:
		switch ((int)a[1] & FUTEX_CMD_MASK) {
		case FUTEX_WAKE:
			return 3;
		case FUTEX_WAIT:
			return 4;
		case FUTEX_UNLOCK_PI:
		case FUTEX_TRYLOCK_PI:
			return 2;
		default:
			return n;
		}
	default:
		return n;
	}
}

unsigned format_arguments(struct text *out, struct task *t, uint64_t number,
			  const uint64_t a[6], unsigned from, const int64_t *result)
{
	const struct arguments args = {t, a, result};
	const char *letters = syscall_name(number) ? syscall_args(number) : "xxxxxx";
	unsigned count;

	count = argument_count(number, letters, a);
	for (unsigned i = from; i < count; i++) {
		if (!result && (letters[i] == 'B' || letters[i] == 'I' || letters[i] == 'T'))
			return i;
		put_argument(out, &args, letters, i);
		if (i + 1 < count)
			text_print(out, ", ");
	}
	return count;
}

/* --- Results ------------------------------------------------------------------------------ */

static const char *restart_text(int64_t result)
{
	switch (-result) {
	case ERESTARTSYS:
		return "ERESTARTSYS (To be restarted if SA_RESTART is set)";
	case ERESTARTNOINTR:
		return "ERESTARTNOINTR (To be restarted)";
	case ERESTARTNOHAND:
		return "ERESTARTNOHAND (To be restarted if no handler)";
	case ERESTART_RESTARTBLOCK:
		return "ERESTART_RESTARTBLOCK (Interrupted by signal)";
	default:
		return NULL;
	}
}

void format_result(struct text *out, uint64_t number, int64_t result)
{
	const char *name = errno_name(result);
	const char *restart = restart_text(result);

	if (restart)
		text_print(out, "= ? %s", restart);
	else if (name)
		text_print(out, "= -1 %s (%s)", name, errno_text(result));
	else if (number == SYS_mmap || number == SYS_mremap || number == SYS_brk)
		text_print(out, "= 0x%" PRIx64, (uint64_t)result);
	else
		text_print(out, "= %" PRId64, result);
}

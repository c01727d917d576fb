/* SPDX-License-Identifier: Apache-2.0 */
#include "message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define LINE_WIDTH 80

void complain(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("mayfly: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* Edit distance with neighbours swapped as one step; words longer than the rows never match. */
static size_t distance(const char *a, const char *b)
{
	enum { MAX = 63 };
	size_t la = strlen(a), lb = strlen(b);
	size_t row[3][MAX + 1];

	if (la > MAX || lb > MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
		now[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
	}
	return row[la % 3][lb];
}

const char *closest_name(const char *word, const char *const *names, size_t n)
{
	const char *best = NULL;
	size_t best_distance = SIZE_MAX;
	size_t len = strlen(word);

	for (size_t i = 0; i < n; i++) {
		size_t d = distance(word, names[i]);
		/* The beginning of a name is as good as one wrong letter. */
		if (len >= 2 && d > 1 && strncmp(word, names[i], len) == 0)
			d = 1;
		if (d < best_distance && d <= 1 + len / 4) {
			best_distance = d;
			best = names[i];
		}
	}
	return best;
}

/* Characters that are well-formed but reorder, join or hide others (Unicode's "Cf" and kin). */
static bool is_deceptive(uint32_t c)
{
	return c == 0xad || c == 0x61c || c == 0x180e || (c >= 0x200b && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
	       (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe0fff);
}

/* Length of the displayable non-ASCII character at s, 0 if there is none (RFC 3629, 4). */
static size_t utf8_length(const unsigned char *s, size_t len)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	uint32_t c;

	if (s[0] < 0xc2 || s[0] > 0xf4 || n > len)
		return 0;
	c = s[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (c < least[n] || c < 0xa0 || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff ||
	    is_deceptive(c))
		return 0;
	return n;
}

void print_visible(FILE *out, const char *s, size_t len, bool lines)
{
	const unsigned char *p = (const unsigned char *)s;

	for (size_t i = 0; i < len;) {
		size_t n = 1;
		bool plain = p[i] >= 0x20 && p[i] < 0x7f;

		if (lines && (p[i] == '\n' || p[i] == '\t'))
			plain = true;
		if (p[i] >= 0x80) {
			size_t length = utf8_length(p + i, len - i);
			plain = length != 0;
			n = plain ? length : 1;
		}
		if (plain)
			fwrite(p + i, 1, n, out);
		else
			fprintf(out, "\\x%02x", p[i]);
		i += n;
	}
}

void print_wrapped(FILE *out, int indent, const char *text)
{
	int column = indent;

	while (*text) {
		int len = (int)strcspn(text, " \n");

		if (column > indent && column + 1 + len > LINE_WIDTH) {
			fprintf(out, "\n%*s", indent, "");
			column = indent;
		}
		if (column > indent) {
			fputc(' ', out);
			column++;
		}
		fprintf(out, "%.*s", len, text);
		column += len;
		text += len;
		if (*text == '\n') {
			fprintf(out, "\n%*s", text[1] ? indent : 0, "");
			column = indent;
		}
		if (*text)
			text++;
	}
	fputc('\n', out);
}

char *grouped(char buf[GROUPED_SIZE], uint64_t v)
{
	char digits[GROUPED_SIZE];
	int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)v);
	char *p = buf;

	for (int i = 0; i < n; i++) {
		if (i > 0 && (n - i) % 3 == 0)
			*p++ = ',';
		*p++ = digits[i];
	}
	*p = '\0';
	return buf;
}

char *bytes_text(char buf[GROUPED_SIZE], double bytes)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	size_t u = 0;

	while ((bytes >= 1024 || bytes <= -1024) && u + 1 < COUNT_OF(units)) {
		bytes /= 1024;
		u++;
	}
	snprintf(buf, GROUPED_SIZE, "%.*f %s", bytes == (double)(long)bytes ? 0 : 1, bytes,
		 units[u]);
	return buf;
}

bool stdout_is_complete(void)
{
	static bool said;

	if (fflush(stdout) == 0 && !ferror(stdout))
		return true;
	if (!said)
		complain("cannot write to standard output: %s", strerror(errno));
	said = true;
	return false;
}

int write_whole(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

void *xrealloc(void *p, size_t n, size_t size)
{
	void *r = reallocarray(p, n ? n : 1, size);

	if (!r) {
		complain("out of memory");
		exit(STATUS_FAILED);
	}
	return r;
}

void print_note(const char *line)
{
	flockfile(stderr);
	fputs("mayfly: note: ", stderr);
	print_visible(stderr, line, strlen(line), false);
	fputc('\n', stderr);
	funlockfile(stderr);
}

bool streams_are_open(void)
{
	for (int fd = 0; fd < 3; fd++) {
		/* Used the wrong way round it is as good as closed: EBADF. */
		int mode = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;

		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", mode) != fd) {
			complain("cannot open /dev/null: %s", strerror(errno));
			return false;
		}
	}
	return true;
}
